//! The history table: one row for each run that has come to its end, in the schema of its table.
//!
//! It is written after everything else, and nothing depends on it: a run whose record cannot be written
//! has succeeded all the same.

use mysql_async::prelude::Queryable;
use serde::{Deserialize, Serialize};

use super::{MARK, Registry, now, quoted_comment};
use crate::error::{Error, Result};
use crate::server::{Session, to_error};
use crate::sql::{self, TableName};

/// Its name in every schema.
const NAME: &str = "_replank_history";

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The tables were swapped.
    Done,
    /// They were swapped, and swapped back.
    Reverted,
    /// An error ended it; the source was untouched.
    Failed,
    /// The operator stopped it, and kept nothing.
    Interrupted,
    /// The operator undid it.
    Aborted,
}

impl Ending {
    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::Reverted => "reverted",
            Ending::Failed => "failed",
            Ending::Interrupted => "interrupted",
            Ending::Aborted => "aborted",
        }
    }
}

/// A run that has come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its identifier.
    pub run: String,
    /// The table.
    pub table: String,
    /// The clauses of its ALTER.
    pub alter: String,
    /// The account that began it.
    pub by: String,
    /// When it began, UTC.
    pub started: String,
    /// When it ended, UTC.
    pub ended: String,
    /// How it ended.
    pub ending: Ending,
    /// Rows copied.
    pub rows: u64,
    /// Changed keys replayed.
    pub keys_replayed: u64,
    /// The error, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Record {
    /// The record of a run that ends now.
    pub fn of(registry: &Registry, ending: Ending) -> Self {
        Record {
            run: registry.run.clone(),
            table: registry.source.clone(),
            alter: registry.alter.clone(),
            by: registry.by.clone(),
            started: registry.started.clone(),
            ended: now(),
            ending,
            rows: 0,
            keys_replayed: 0,
            error: None,
        }
    }
}

/// The statements that write a record and forget those that are older than `days`, to be run in this order;
/// running them again changes nothing.
///
/// # Errors
/// Failed if the record cannot be written as text, which does not happen.
pub fn record_sql(source: &TableName, record: &Record, days: u32) -> Result<Vec<String>> {
    let table = source.sibling(NAME);
    let body = serde_json::to_string(record)
        .map_err(|e| Error::failed(format!("writing to {table}")).caused_by(e))?;
    let (run, body) = (sql::text(&record.run), sql::text(&body));
    Ok(vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (run VARCHAR(16) CHARACTER SET ascii NOT NULL PRIMARY KEY, \
             ended DATETIME NOT NULL, body MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL) \
             ENGINE = InnoDB COMMENT = {}",
            quoted_comment(&comment())
        ),
        format!(
            "INSERT INTO {table} (run, ended, body) VALUES ({run}, UTC_TIMESTAMP(), {body}) \
             ON DUPLICATE KEY UPDATE ended = UTC_TIMESTAMP(), body = {body}"
        ),
        format!("DELETE FROM {table} WHERE ended < UTC_TIMESTAMP() - INTERVAL {days} DAY"),
    ])
}

/// Whether the history table's name is free in the schema of `source`, or the table there is replank's.
///
/// # Errors
/// As the server's.
pub async fn is_ours(session: &mut Session, source: &TableName) -> Result<bool> {
    let found: Option<String> = session
        .exec_first(
            "SELECT TABLE_COMMENT FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
            (source.schema.as_str(), NAME),
        )
        .await
        .map_err(|e| to_error(e, "looking for the history"))?;
    Ok(found.is_none_or(|found| found == comment()))
}

/// The runs that have come to their end, on a server's tables, on those of a schema, or on one of them, the
/// latest first.
///
/// # Errors
/// As the server's.
pub async fn past_runs(
    session: &mut Session,
    schema: Option<&str>,
    table: Option<&str>,
) -> Result<Vec<(String, Record)>> {
    let doing = "reading the history";
    let schemas: Vec<String> = session
        .exec(
            "SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_NAME = ? \
             AND TABLE_COMMENT = ? AND TABLE_SCHEMA = COALESCE(?, TABLE_SCHEMA)",
            (NAME, comment(), schema),
        )
        .await
        .map_err(|e| to_error(e, doing))?;
    let mut found = Vec::new();
    for schema in schemas {
        let history = TableName::new(schema.clone(), NAME);
        let bodies: Vec<String> = session
            .query(format!("SELECT body FROM {history} ORDER BY ended DESC, run"))
            .await
            .map_err(|e| to_error(e, doing))?;
        for body in bodies {
            let record: Record = serde_json::from_str(&body).map_err(|e| {
                Error::refused(format!("what {history} holds cannot be read"))
                    .remedy("It was written by another version of replank; use that version.")
                    .caused_by(e)
            })?;
            if table.is_none_or(|table| table == record.table) {
                found.push((schema.clone(), record));
            }
        }
    }
    found.sort_by(|(_, a), (_, b)| b.ended.cmp(&a.ended));
    Ok(found)
}

fn comment() -> String {
    format!("{MARK} history")
}
