//! Removing what an abandoned run left, and only that.
//!
//! A table is dropped for one of three reasons: its comment carries replank's mark as a state table;
//! the registry in such a table names it as the shadow table; or, if asked for, its comment carries the
//! mark as an old table, and it has the name of one. The run lock is taken first, and transactions of the dead run are waited for,
//! so that nothing is taken from a run that lives.
//!
//! A run that had swapped the tables when it ended is brought to its end instead: the old table gets its
//! mark, and only the state table goes.

use mysql_async::prelude::Queryable;

use crate::error::{Error, Result};
use crate::plan::Names;
use crate::removal::Removal;
use crate::run::{Broom, Earlier, earlier_run, look, mark_old};
use crate::schema::table::Table;
use crate::server::{RunLock, Server, Session, SessionSettings, to_error};
use crate::sql::TableName;
use crate::state::history::{Ending, Record};
use crate::state::{MARK, StateTable, marked_source};

/// Drops what runs on a schema's tables, or on one of them, have left, and the old tables that they have kept
/// if it is said how. Returns what was dropped, and what it was.
///
/// # Errors
/// Refused when a run on one of the tables is alive.
pub async fn cleanup(
    server: &Server,
    schema: &str,
    table: Option<&str>,
    old: Option<Removal>,
) -> Result<Vec<(TableName, &'static str)>> {
    let mut session = server.session(&SessionSettings::default()).await?;
    let mut dropped = Vec::new();
    for (name, _) in marked(&mut session, schema, "state of").await? {
        let state = StateTable::at(name.clone());
        let Some(registry) = state.registry(&mut session).await? else {
            // The run ended before it wrote anything down, so there is nothing else.
            if table.is_none() {
                drop_table(&mut session, &name, "state of a run", &mut dropped).await?;
            }
            continue;
        };
        if table.is_some_and(|table| table != registry.source) {
            continue;
        }
        let source = name.sibling(&registry.source);
        let lock = RunLock::acquire(server, &source).await?;
        if let Some(earlier) = look(server, &mut session, &source).await? {
            let Earlier { names, .. } = &earlier;
            if earlier.swapped {
                let broom = server.session(&SessionSettings::default()).await?;
                let mut broom = Broom::new(server, broom).await;
                mark_old(&mut broom, names, &earlier.mark()).await?;
                broom.put_away().await;
            } else if Table::exists(&mut session, &names.shadow).await? {
                drop_table(&mut session, &names.shadow, "shadow table", &mut dropped).await?;
            }
            drop_table(&mut session, &names.state, "state of a run", &mut dropped).await?;
        }
        lock.release().await;
    }
    if let Some(removal) = old {
        for (name, comment) in marked(&mut session, schema, "old table of").await? {
            // The name decides together with the mark: who swaps the tables back by hand has the mark on the
            // table that the application uses.
            let Some(source) = marked_source(&comment).map(|source| name.sibling(source)) else {
                continue;
            };
            let wanted = table.is_none_or(|table| table == source.table.as_str());
            if wanted && Names::is_set_aside(&source, &name) {
                let lock = RunLock::acquire(server, &source).await?;
                // Another run may have taken the name since the list was made.
                let registered = earlier_run(&mut session, &source)
                    .await?
                    .is_some_and(|registry| registry.old == name.table.as_str());
                let now = Table::read(&mut session, &name).await?;
                let marked = now.is_some_and(|table| {
                    marked_source(&table.comment) == Some(source.table.as_str())
                });
                if registered || !marked {
                    lock.release().await;
                    continue;
                }
                let slices = removal.remove(&mut session, &name).await?;
                tracing::debug!(slices, "{name} is removed");
                dropped.push((name, "old table"));
                lock.release().await;
            }
        }
    }
    session.close().await;
    Ok(dropped)
}

/// Undoes a stopped run on a table: the shadow table and the state table go. Returns what was dropped.
///
/// # Errors
/// Refused when there is no such run, or when it is alive.
pub async fn abort(
    server: &Server,
    table: &TableName,
    history_days: u32,
) -> Result<Vec<(TableName, &'static str)>> {
    let mut session = server.session(&SessionSettings::default()).await?;
    let found = earlier_run(&mut session, table).await?;
    let Some(registry) = found else {
        session.close().await;
        return Err(Error::refused(format!("there is no run on {table}"))
            .remedy("`replank status` shows which runs there are."));
    };
    let names = registry.names(&Names::of(table).state);
    let swapped = !Table::exists(&mut session, &names.shadow).await?
        && Table::exists(&mut session, &names.old).await?;
    session.close().await;
    if swapped {
        return Err(Error::refused(format!("the run on {table} has swapped the tables already"))
            .remedy(match registry.revertible_for {
                Some(_) => "`replank revert` swaps them back.",
                None => "Give the same `replank run` command to bring it to its end.",
            }));
    }
    let dropped = cleanup(server, table.schema.as_str(), Some(table.table.as_str()), None).await?;
    let mut broom = Broom::new(server, server.session(&SessionSettings::default()).await?).await;
    broom.record(table, &Record::of(&registry, Ending::Aborted), history_days).await;
    broom.put_away().await;
    Ok(dropped)
}

/// Tables of the schema whose comment begins with the mark and these words, with their comments.
async fn marked(
    session: &mut Session,
    schema: &str,
    words: &str,
) -> Result<Vec<(TableName, String)>> {
    let tables: Vec<(String, String)> = session
        .exec(
            "SELECT TABLE_NAME, TABLE_COMMENT FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = ? AND TABLE_TYPE = 'BASE TABLE' AND TABLE_COMMENT LIKE ? \
             ORDER BY TABLE_NAME",
            (schema, format!("{MARK} {words} %")),
        )
        .await
        .map_err(|e| to_error(e, "looking for what runs have left"))?;
    Ok(tables.into_iter().map(|(name, comment)| (TableName::new(schema, name), comment)).collect())
}

async fn drop_table(
    session: &mut Session,
    name: &TableName,
    what: &'static str,
    dropped: &mut Vec<(TableName, &'static str)>,
) -> Result<()> {
    session
        .query_drop(format!("DROP TABLE {name}"))
        .await
        .map_err(|e| to_error(e, &format!("dropping {name}")))?;
    dropped.push((name.clone(), what));
    Ok(())
}
