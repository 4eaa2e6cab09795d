//! What the optimizer knows of the shadow table when it becomes the table.
//!
//! InnoDB counts a table anew some ten seconds after a tenth of it has changed, and with
//! `STATS_AUTO_RECALC=0` not at all (MySQL manual, "Configuring Persistent Optimizer Statistics Parameters").
//! A table that gets its name before that looks almost empty to the optimizer, and the application's
//! first queries on it may be full scans (github/gh-ost, issues 875 and 1418). A count that is under way when
//! the tables are swapped holds a metadata lock, which the rename has to wait for.
//!
//! Histograms do not go over with `CREATE TABLE … LIKE`. The server's own ALTER keeps those of columns that
//! it does not change (measured with 9.7), and so does a run.
//!
//! All of it is written to the binlog, since replicas read the same tables.

use mysql_async::prelude::Queryable;

use crate::plan::Plan;
use crate::schema::table::{Column, Generation};
use crate::server::{Fault, Session, fault_of};
use crate::sql::{self, Ident};
use crate::state::Part;
use crate::work::{Context, Work};

/// Counts the shadow table, and gives it the source's histograms. What the server refuses is a warning: rows
/// are not concerned.
///
/// # Errors
/// Those of a lost connection.
pub async fn refresh(session: &mut Session, context: &Context) -> Work<()> {
    match bring_up_to_date(session, context).await {
        Err(error) if fault_of(&error) != Fault::Connection => {
            tracing::warn!(%error, "the new table's statistics; ANALYZE TABLE it after the swap");
            Ok(())
        }
        outcome => Ok(outcome?),
    }
}

async fn bring_up_to_date(session: &mut Session, context: &Context) -> mysql_async::Result<()> {
    let names = &context.plan.names;
    analyze(session, context, "").await?;
    // On the way back the old table still has its own.
    if context.part == Part::Guard {
        return Ok(());
    }
    let histograms: Vec<(String, String)> = session
        .query(format!(
            "SELECT COLUMN_NAME, HISTOGRAM FROM information_schema.COLUMN_STATISTICS \
             WHERE SCHEMA_NAME = {} AND TABLE_NAME = {}",
            sql::text(names.source.schema.as_str()),
            sql::text(names.source.table.as_str())
        ))
        .await?;
    for (column, histogram) in histograms {
        if let Some(column) = heir(&context.plan, &Ident::new(column)) {
            let histogram = sql::quoted(&histogram);
            let clause = format!(" UPDATE HISTOGRAM ON {column} USING DATA {histogram}");
            match analyze(session, context, &clause).await {
                // MySQL before 8.0.31 does not know USING DATA.
                Err(error) if fault_of(&error) != Fault::Connection => {
                    tracing::warn!(%column, %error, "the column's histogram does not go over");
                }
                outcome => outcome?,
            }
        }
    }
    Ok(())
}

/// ANALYZE TABLE of the shadow table. It reports errors in its rows, while the statement succeeds.
async fn analyze(
    session: &mut Session,
    context: &Context,
    clause: &str,
) -> mysql_async::Result<()> {
    let shadow = &context.plan.names.shadow;
    let said: Vec<(String, String, String, String)> =
        session.query(format!("ANALYZE TABLE {shadow}{clause}")).await?;
    for (_, _, kind, text) in said {
        if !matches!(&*kind, "status" | "note") {
            tracing::warn!(table = %shadow, text, "ANALYZE TABLE; do it by hand after the swap");
        }
    }
    Ok(())
}

/// The column of the shadow table for which a histogram of the source's column holds: it has the same values. A
/// column that is a unique index by itself cannot have one.
fn heir<'a>(plan: &'a Plan, column: &Ident) -> Option<&'a Ident> {
    let mapped = plan.columns.mapped.iter().find(|mapped| mapped.source.name == *column);
    let heir = match mapped {
        Some(mapped) if mapped.converts() => None,
        Some(mapped) => Some(&mapped.target.name),
        None => {
            let (old, new) = (plan.source.column(column)?, plan.shadow.column(column)?);
            is_computed_alike(old, new).then_some(&new.name)
        }
    }?;
    let is_unique = plan.shadow.indexes.iter().any(|index| {
        index.unique && index.parts.len() == 1 && index.parts[0].column.as_ref() == Some(heir)
    });
    (!is_unique).then_some(heir)
}

fn is_computed_alike(old: &Column, new: &Column) -> bool {
    old.generation != Generation::Plain
        && new.generation != Generation::Plain
        && old.expression == new.expression
        && old.same_type(new)
}
