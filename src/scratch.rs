//! The scratch table: a temporary table of the shadow table's structure, private to a session.
//!
//! The exact reference for a converted value is the server's own conversion on INSERT; no CAST is
//! right for every pair of types. So rows that have to be compared are inserted into a table of the
//! new structure first. A temporary table is not replicated, takes no part in the binlog's row format,
//! and is gone with its session.

use mysql_async::prelude::Queryable;

use crate::plan::Plan;
use crate::server::Session;
use crate::sql::{TableName, list};
use crate::work::{Context, Work, show_create};

/// Its name, in the source's schema. A temporary table hides a permanent one of that name from its own
/// session only.
const NAME: &str = "replank_scratch";

/// The name of the scratch table of a context.
pub fn name(context: &Context) -> TableName {
    context.plan.names.source.sibling(NAME)
}

/// Creates the session's scratch table afresh and fills it with the rows of the source for which
/// `predicate` holds, as the shadow table would hold them.
pub async fn fill(session: &mut Session, context: &Context, predicate: &str) -> Work<()> {
    create(session, context).await?;
    let into = name(context).to_string();
    session
        .query_drop(format!("{}{predicate}", context.plan.insert_select("INSERT", &into)))
        .await?;
    Ok(())
}

/// Creates the session's scratch table afresh.
pub async fn create(session: &mut Session, context: &Context) -> Work<()> {
    let plan = &context.plan;
    let scratch = name(context);
    session.query_drop(format!("DROP TEMPORARY TABLE IF EXISTS {scratch}")).await?;
    let create = show_create(session, &plan.names.shadow).await?;
    session.query_drop(temporary(&create, &keys(plan), &scratch)).await?;
    Ok(())
}

/// The keys of the scratch table: that of the run, and what an AUTO_INCREMENT column needs.
fn keys(plan: &Plan) -> Vec<String> {
    let parts = &plan.key.shadow.parts;
    let unique = list(parts.iter().map(|part| &part.name));
    let mut keys = vec![format!("UNIQUE KEY ({unique})")];
    let counter = plan.shadow.columns.iter().find(|c| c.extra.contains("auto_increment"));
    keys.extend(
        counter
            .filter(|counter| parts[0].name != counter.name)
            .map(|counter| format!("KEY ({})", counter.name)),
    );
    keys
}

/// Drops the session's scratch table.
pub async fn discard(session: &mut Session, context: &Context) -> Work<()> {
    session.query_drop(format!("DROP TEMPORARY TABLE IF EXISTS {}", name(context))).await?;
    Ok(())
}

/// Turns the answer of SHOW CREATE TABLE into the statement for the scratch table: its columns and its
/// default character set. Everything else is left out, since a temporary table can have no partitions,
/// no compression, no FULLTEXT index and no tablespace of its own, and its rows passed the constraints.
///
/// The server prints each column on a line that begins with its quoted name, and the options on the
/// line that begins with the closing parenthesis; line breaks within comments are escaped.
fn temporary(create: &str, keys: &[String], scratch: &TableName) -> String {
    let columns = create
        .lines()
        .filter(|line| line.starts_with("  `"))
        .map(|line| line.trim().trim_end_matches(',').to_owned());
    let definitions = columns.chain(keys.iter().cloned()).collect::<Vec<_>>().join(", ");
    let options = create.lines().find(|line| line.starts_with(')')).unwrap_or_default();
    let words = |option: &str| {
        let value = options.split_once(option)?.1.split(' ').next()?;
        Some(format!("{option}{value}"))
    };
    let charset: Vec<String> =
        [" DEFAULT CHARSET=", " COLLATE="].into_iter().filter_map(words).collect();
    format!("CREATE TEMPORARY TABLE {scratch} ({definitions}) ENGINE=InnoDB{}", charset.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_character_set_are_kept_and_the_rest_is_not() {
        let create = "CREATE TABLE `a` (\n  `id` int NOT NULL,\n  `k,` text COMMENT 'x\\n) y',\n  \
                      PRIMARY KEY (`id`),\n  FULLTEXT KEY `k` (`k,`),\n  CONSTRAINT `c` CHECK (1)\n\
                      ) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=latin1 COLLATE=latin1_bin \
                      ROW_FORMAT=COMPRESSED COMMENT='x'\n\
                      /*!50100 PARTITION BY HASH (`id`)\nPARTITIONS 4 */";
        let scratch = TableName::new("d", "s");
        assert_eq!(
            temporary(create, &["UNIQUE KEY (`id`)".to_owned()], &scratch),
            "CREATE TEMPORARY TABLE `d`.`s` (`id` int NOT NULL, `k,` text COMMENT 'x\\n) y', \
             UNIQUE KEY (`id`)) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_bin"
        );
    }
}
