//! The scratch table: a temporary table of the shadow table's structure, private to a session.
//!
//! The exact reference for a converted value is the server's own conversion on INSERT; no CAST is
//! right for every pair of types. So rows that have to be compared are inserted into a table of the
//! new structure first. A temporary table is not replicated, takes no part in the binlog's row format,
//! and is gone with its session.

use mysql_async::prelude::Queryable;

use crate::error::Error;
use crate::server::Session;
use crate::sql::{Ident, TableName, list};
use crate::work::{Context, Work};

/// Its name, in the source's schema. A temporary table hides a permanent one of that name from its own
/// session only.
const NAME: &str = "replank_scratch";

/// The name of the scratch table of a context.
pub fn name(context: &Context) -> TableName {
    context.plan.names.source.sibling(NAME)
}

/// Creates the session's scratch table afresh and fills it with the rows of the source for which
/// `predicate` holds, as the shadow table would hold them. Secondary indexes are left off.
pub async fn fill(session: &mut Session, context: &Context, predicate: &str) -> Work<()> {
    let plan = &context.plan;
    let scratch = name(context);
    session.query_drop(format!("DROP TEMPORARY TABLE IF EXISTS {scratch}")).await?;
    let create: Option<(String, String)> =
        session.query_first(format!("SHOW CREATE TABLE {}", plan.names.shadow)).await?;
    let (_, create) = create
        .ok_or_else(|| Error::failed(format!("{} has no CREATE statement", plan.names.shadow)))?;
    session.query_drop(temporary(&create, &plan.names.shadow.table, &scratch)?).await?;
    let others: Vec<&Ident> = plan
        .shadow
        .indexes
        .iter()
        .map(|index| &index.name)
        .filter(|name| **name != plan.key.shadow_index)
        .collect();
    if !others.is_empty() {
        let drops = list(others.iter().map(|name| format!("DROP INDEX {name}")));
        session.query_drop(format!("ALTER TABLE {scratch} {drops}")).await?;
    }
    session
        .query_drop(format!("{}{predicate}", plan.insert_select("INSERT", &scratch.to_string())))
        .await?;
    Ok(())
}

/// Drops the session's scratch table.
pub async fn discard(session: &mut Session, context: &Context) -> Work<()> {
    session.query_drop(format!("DROP TEMPORARY TABLE IF EXISTS {}", name(context))).await?;
    Ok(())
}

/// Turns the answer of SHOW CREATE TABLE into the statement for the scratch table. Partitions are cut
/// off, as a temporary table cannot have them: they are always last, in a version comment of a line
/// of their own.
fn temporary(create: &str, table: &Ident, scratch: &TableName) -> Result<String, Error> {
    let head = format!("CREATE TABLE {table} ");
    let body = create.strip_prefix(&head).ok_or_else(|| {
        Error::failed(format!("unexpected answer of SHOW CREATE TABLE for {table}"))
    })?;
    let end = body.rfind("\n/*!50100 PARTITION").or_else(|| body.rfind("\n/*!50500 PARTITION"));
    Ok(format!("CREATE TEMPORARY TABLE {scratch} {}", &body[..end.unwrap_or(body.len())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_cut_off_and_the_rest_is_kept() {
        let create = "CREATE TABLE `a` (\n  `id` int NOT NULL\n) ENGINE=InnoDB COMMENT='x'\n\
                      /*!50100 PARTITION BY HASH (`id`)\nPARTITIONS 4 */";
        let scratch = TableName::new("d", "s");
        assert_eq!(
            temporary(create, &Ident::new("a"), &scratch).unwrap(),
            "CREATE TEMPORARY TABLE `d`.`s` (\n  `id` int NOT NULL\n) ENGINE=InnoDB COMMENT='x'"
        );
    }
}
