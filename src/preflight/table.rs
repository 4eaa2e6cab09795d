//! Properties of the table that are not supported yet, each refused with its reason.

use mysql_async::prelude::Queryable;

use super::Finding;
use crate::error::Result;
use crate::schema::alter::AlterStatement;
use crate::schema::table::Table;
use crate::server::{Session, to_error};
use crate::sql::list;

/// Checks what the structure itself tells.
pub fn structure(table: &Table, alter: &AlterStatement) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !table.engine.eq_ignore_ascii_case("InnoDB") {
        findings.push(Finding::new(
            format!("{} uses the engine {}", table.name, table.engine),
            "replank needs consistent reads, which only InnoDB has: use a native ALTER TABLE.",
        ));
    }
    if let Some(engine) =
        alter.facts.engine.as_deref().filter(|e| !e.eq_ignore_ascii_case("InnoDB"))
    {
        findings.push(Finding::new(
            format!("the ALTER changes the engine to {engine}"),
            "Only InnoDB is supported for the new table.",
        ));
    }
    if alter.facts.adds_foreign_key || alter.facts.drops_foreign_key {
        findings.push(Finding::new(
            "the ALTER adds or drops a foreign key",
            "Foreign keys are not supported yet: leave that clause to a native ALTER TABLE.",
        ));
    }
    findings
}

/// Checks for foreign keys from and to the table.
///
/// # Errors
/// Transient when the connection breaks.
pub async fn foreign_keys(session: &mut Session, table: &Table) -> Result<Vec<Finding>> {
    let (schema, name) = (table.name.schema.as_str(), table.name.table.as_str());
    let rows: Vec<(String, String, String)> = session
        .exec(
            "SELECT CONSTRAINT_NAME, CONCAT(CONSTRAINT_SCHEMA, '.', TABLE_NAME), \
             CONCAT(UNIQUE_CONSTRAINT_SCHEMA, '.', REFERENCED_TABLE_NAME) \
             FROM information_schema.REFERENTIAL_CONSTRAINTS \
             WHERE (CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ?) \
             OR (UNIQUE_CONSTRAINT_SCHEMA = ? AND REFERENCED_TABLE_NAME = ?)",
            (schema, name, schema, name),
        )
        .await
        .map_err(|e| to_error(e, "reading the foreign keys"))?;
    let mut rows = rows;
    for (constraint, from) in hidden_children(session, table).await? {
        let known =
            |(name, other, _): &(String, String, String)| *name == constraint && *other == from;
        if !rows.iter().any(known) {
            rows.push((constraint, from, format!("{schema}.{name}")));
        }
    }
    Ok(rows
        .into_iter()
        .map(|(constraint, from, to)| {
            Finding::new(
                format!("the foreign key {constraint} goes from {from} to {to}"),
                "Foreign keys from or to the table are not supported yet: drop them for the run, or \
                 use a native ALTER TABLE.",
            )
        })
        .collect())
}

/// Foreign keys to the table from tables that the account has no privilege on, each with its table:
/// REFERENTIAL_CONSTRAINTS does not show them. InnoDB's own dictionary does, to accounts with PROCESS.
async fn hidden_children(session: &mut Session, table: &Table) -> Result<Vec<(String, String)>> {
    let name = format!("{}/{}", table.name.schema.as_str(), table.name.table.as_str());
    let rows: mysql_async::Result<Vec<(String, String)>> = session
        .exec(
            "SELECT SUBSTRING_INDEX(ID, '/', -1), REPLACE(FOR_NAME, '/', '.') \
             FROM information_schema.INNODB_FOREIGN WHERE REF_NAME = ?",
            (name,),
        )
        .await;
    match rows {
        Ok(rows) => Ok(rows),
        Err(mysql_async::Error::Server(error)) if error.code == PROCESS_NEEDED => {
            tracing::info!(
                "foreign keys from tables that the account cannot see would not be noticed; the privilege \
                 PROCESS shows them"
            );
            Ok(Vec::new())
        }
        Err(error) => Err(to_error(error, "reading the foreign keys")),
    }
}

const PROCESS_NEEDED: u16 = 1227;

/// Checks for triggers on the table.
///
/// # Errors
/// Transient when the connection breaks.
pub async fn triggers(session: &mut Session, table: &Table) -> Result<Vec<Finding>> {
    let names: Vec<String> = session
        .exec(
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS \
             WHERE EVENT_OBJECT_SCHEMA = ? AND EVENT_OBJECT_TABLE = ? ORDER BY TRIGGER_NAME",
            (table.name.schema.as_str(), table.name.table.as_str()),
        )
        .await
        .map_err(|e| to_error(e, "reading the triggers"))?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Finding::new(
        format!("{} has triggers: {}", table.name, list(names)),
        "Triggers would stay with the old table and are not supported yet: drop them for the run, or \
         use a native ALTER TABLE.",
    )])
}

/// Checks for views that use the table while the ALTER renames or drops columns, as such a view may
/// break with the cut-over.
///
/// # Errors
/// Transient when the connection breaks.
pub async fn views(
    session: &mut Session,
    table: &Table,
    alter: &AlterStatement,
) -> Result<Vec<Finding>> {
    if alter.renames.is_empty() && alter.facts.dropped_columns.is_empty() {
        return Ok(Vec::new());
    }
    let views: Vec<String> = session
        .exec(
            "SELECT CONCAT(VIEW_SCHEMA, '.', VIEW_NAME) FROM information_schema.VIEW_TABLE_USAGE \
             WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY 1",
            (table.name.schema.as_str(), table.name.table.as_str()),
        )
        .await
        .map_err(|e| to_error(e, "reading the views"))?;
    let columns: Vec<&String> =
        alter.renames.iter().map(|(old, _)| old).chain(&alter.facts.dropped_columns).collect();
    let mut findings = Vec::new();
    for view in views {
        let Some((schema, name)) = view.split_once('.') else { continue };
        let definition: Option<Option<String>> = session
            .exec_first(
                "SELECT VIEW_DEFINITION FROM information_schema.VIEWS \
                 WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
                (schema, name),
            )
            .await
            .map_err(|e| to_error(e, "reading the views"))?;
        // An empty definition is one that the account may not see.
        let definition = definition.flatten().unwrap_or_default().to_lowercase();
        let used: Vec<&&String> = columns
            .iter()
            .filter(|column| {
                definition.is_empty()
                    || definition
                        .contains(&format!("`{}`", column.to_lowercase().replace('`', "``")))
            })
            .collect();
        if !used.is_empty() {
            findings.push(Finding::new(
                format!("the view {view} may use {}, which the ALTER renames or drops", list(used)),
                "Change or drop the view first.",
            ));
        }
    }
    Ok(findings)
}
