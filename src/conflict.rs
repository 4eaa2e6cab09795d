//! Duplicates under a unique index other than the key: who holds the value, and is it real?
//!
//! A value can move from row A to row B on the source while the shadow table still holds it at A. Then
//! B's row meets a duplicate although the source has none. The remedy is to replay A together with, or
//! before, B. A duplicate is real only when one read view of the source shows both rows with the value.

use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};

use crate::error::Error;
use crate::key::Key;
use crate::schema::table::Index;
use crate::scratch;
use crate::server::Session;
use crate::sql::{self, list};
use crate::work::{Context, HELD, Work, fetch_keys};

/// The most conflicting rows that are looked up at once; the rest comes with the next attempt.
const LIMIT: usize = 1000;

/// Looks for the rows of the shadow table that stand in the way of the source's rows for which
/// `predicate` holds. Rows with a key in `batch` are not in the way, as they are replaced themselves.
///
/// An empty answer means that the conflict has passed meanwhile.
///
/// # Errors
/// Stops when the rows hold equal values among themselves: then the source has real duplicates.
pub async fn find(
    session: &mut Session,
    context: &Context,
    predicate: &str,
    batch: &[Key],
    index: &str,
) -> Work<Vec<Key>> {
    refuse_functional(context, index)?;
    scratch::fill(session, context, predicate).await?;
    refuse_real_duplicates(session, context).await?;
    let mut found = Vec::new();
    for unique in by_column(context) {
        found.extend(holders(session, context, unique).await?);
    }
    found.sort_unstable();
    found.dedup();
    found.retain(|key| batch.binary_search(key).is_err());
    tracing::debug!(index, conflicts = found.len(), "duplicate under a unique index");
    if !found.is_empty() {
        // Both rows of each conflict, in one read view of the source.
        let both = format!("({predicate}) OR {}", context.plan.key.source.in_list(&found)?);
        scratch::fill(session, context, &both).await?;
        refuse_real_duplicates(session, context).await?;
    }
    scratch::discard(session, context).await?;
    Ok(found)
}

/// Stops at a duplicate under a functional index: who holds the value cannot be looked up by column.
fn refuse_functional(context: &Context, index: &str) -> Work<()> {
    let name = index.rsplit('.').next().unwrap_or(index);
    let functional = |unique: &&Index| unique.parts.iter().any(|part| part.column.is_none());
    let met =
        context.plan.other_uniques.iter().filter(functional).find(|i| i.name.as_str() == name);
    match met {
        None => Ok(()),
        Some(index) => Err(Error::failed(format!(
            "rows of {} met equal values in the functional unique index {}",
            context.plan.names.source, index.name
        ))
        .remedy(
            "If no two rows are equal under it, put the expression into a generated column and index that; \
             or start again at a time when these values do not move from row to row.",
        )
        .into()),
    }
}

async fn refuse_real_duplicates(session: &mut Session, context: &Context) -> Work<()> {
    for unique in by_column(context) {
        refuse_real_duplicate(session, context, unique).await?;
    }
    Ok(())
}

/// The unique indexes whose values are columns.
fn by_column(context: &Context) -> impl Iterator<Item = &Index> {
    let uniques = context.plan.other_uniques.iter();
    uniques.filter(|index| index.parts.iter().all(|part| part.column.is_some()))
}

/// The values of an index as expressions over the table alias.
fn values(index: &Index, alias: &str) -> Vec<String> {
    index
        .parts
        .iter()
        .filter_map(|part| {
            let column = part.column.as_ref()?;
            Some(match part.prefix {
                Some(length) => format!("LEFT({alias}.{column}, {length})"),
                None => format!("{alias}.{column}"),
            })
        })
        .collect()
}

/// Keys of the shadow table's rows that hold a value of a scratch row under another key.
async fn holders(session: &mut Session, context: &Context, index: &Index) -> Work<Vec<Key>> {
    let plan = &context.plan;
    let key = &plan.key.shadow;
    let pairs = values(index, HELD).into_iter().zip(values(index, "wanted"));
    let equal: Vec<String> = pairs.map(|(a, b)| format!("{a} = {b}")).collect();
    let columns = || key.parts.iter().map(|part| &part.name);
    let same: Vec<String> = columns().map(|c| format!("{HELD}.{c} = wanted.{c}")).collect();
    let query = format!(
        "SELECT {export} FROM (SELECT DISTINCT {distinct} FROM {scratch} wanted STRAIGHT_JOIN {shadow} {HELD} \
         ON {equal} WHERE NOT ({same}) LIMIT {LIMIT}) conflicts",
        export = key.export_list(),
        distinct = list(columns().map(|c| format!("{HELD}.{c}"))),
        scratch = scratch::name(context),
        shadow = plan.names.shadow,
        equal = equal.join(" AND "),
        same = same.join(" AND "),
    );
    fetch_keys(session, key, &query).await
}

/// Stops if two scratch rows hold the same value: they were read in one read view of the source.
async fn refuse_real_duplicate(
    session: &mut Session,
    context: &Context,
    index: &Index,
) -> Work<()> {
    let key = &context.plan.key.shadow;
    let values = values(index, "rows_read");
    let named: Vec<String> =
        values.iter().enumerate().map(|(i, v)| format!("{v} AS replank_value_{i}")).collect();
    let names = list((0..values.len()).map(|i| format!("replank_value_{i}")));
    let not_null: Vec<String> = values.iter().map(|v| format!("{v} IS NOT NULL")).collect();
    // Rows with equal values stand together, so the first two hold the same one.
    let query = format!(
        "SELECT {export}, CONCAT_WS('-', {names}) FROM (SELECT {columns}, {named}, \
         COUNT(*) OVER (PARTITION BY {values}) AS replank_count FROM {scratch} rows_read \
         WHERE {not_null}) twins WHERE replank_count > 1 ORDER BY {names} LIMIT 2",
        export = key.export_list(),
        columns = list(key.parts.iter().map(|part| &part.name)),
        named = list(&named),
        values = list(&values),
        scratch = scratch::name(context),
        not_null = not_null.join(" AND "),
    );
    let rows: Vec<Row> = session.query(query).await?;
    let mut holders = Vec::new();
    let mut value = String::new();
    for row in rows {
        let mut row = row.unwrap();
        if let Some(Value::Bytes(bytes)) = row.pop() {
            let text = String::from_utf8(bytes);
            value = text.map_or_else(|e| sql::hex(e.as_bytes()), |text| format!("'{text}'"));
        }
        holders.push(context.plan.key.source.describe(&key.from_row(&row)?));
    }
    if holders.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{} holds the value {value} twice, which the new unique index {} forbids: rows {}",
        context.plan.names.source,
        index.name,
        holders.join(" and "),
    ))
    .remedy("Change or delete one of the rows, and start again.")
    .into())
}
