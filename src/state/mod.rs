//! The state table: one small InnoDB table beside the source that holds the run's heartbeat, its chunk
//! progress and the registry of what the run created.
//!
//! Its comment carries replank's mark; the registry in it names the shadow table and the old table.
//! Nothing is ever dropped that is not marked or registered.

use mysql_async::prelude::Queryable;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::key::{KeyPart, KeySpec, PartType};
use crate::plan::Names;
use crate::server::{Session, to_error};
use crate::sql::{self, Ident, TableName};

/// The words with which the comment of every table begins that replank may drop.
pub const MARK: &str = "replank";

/// The format of the registry; a later one is not read.
const FORMAT: u32 = 1;

/// What a row of the state table is: the first column of its primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Row {
    Registry = 0,
    Heartbeat = 1,
    Chunk = 2,
}

/// What a run wrote down about itself before it created anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// Version of this record.
    pub format: u32,
    /// Random identifier of the run.
    pub run: String,
    /// Name of the source, without its schema.
    pub source: String,
    /// Name of the shadow table.
    pub shadow: String,
    /// Name that the source takes at the cut-over.
    pub old: String,
    /// The clauses of the ALTER.
    pub alter: String,
    /// When the run began, UTC.
    pub started: String,
}

impl Registry {
    /// The registry of a new run.
    pub fn new(names: &Names, run: &str, alter: &str) -> Self {
        Registry {
            format: FORMAT,
            run: run.to_owned(),
            source: names.source.table.as_str().to_owned(),
            shadow: names.shadow.table.as_str().to_owned(),
            old: names.old.table.as_str().to_owned(),
            alter: alter.to_owned(),
            started: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }
    }
}

/// The state table of one run.
#[derive(Debug, Clone)]
pub struct StateTable {
    name: TableName,
}

impl StateTable {
    /// The state table of that name, whether or not it exists.
    pub fn at(name: TableName) -> Self {
        StateTable { name }
    }

    /// Its name.
    pub fn name(&self) -> &TableName {
        &self.name
    }

    /// The key of its rows as row events carry it: kind and number.
    pub fn key() -> KeySpec {
        let int = |bytes| PartType::Int { bytes, unsigned: true };
        KeySpec {
            parts: vec![
                KeyPart { name: Ident::new("kind"), ordinal: 0, ty: int(1) },
                KeyPart { name: Ident::new("id"), ordinal: 1, ty: int(8) },
            ],
        }
    }

    /// Whether a row of this kind is the heartbeat.
    pub fn is_heartbeat(kind: u64) -> bool {
        kind == Row::Heartbeat as u64
    }

    /// The statement that creates the table.
    pub fn create_sql(&self, registry: &Registry) -> String {
        let comment = format!("{MARK} state of {}, run {}", registry.source, registry.run);
        format!(
            "CREATE TABLE {} (kind TINYINT UNSIGNED NOT NULL, id BIGINT UNSIGNED NOT NULL, \
             body MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL, PRIMARY KEY (kind, id)) \
             ENGINE = InnoDB COMMENT = {}",
            self.name,
            quoted_comment(&comment)
        )
    }

    /// Writes the registry and heartbeat 0.
    ///
    /// # Errors
    /// As the server's.
    pub async fn register(&self, session: &mut Session, registry: &Registry) -> Result<()> {
        let doing = format!("writing the registry to {}", self.name);
        let body = serde_json::to_string(registry)
            .map_err(|e| Error::failed(doing.clone()).caused_by(e))?;
        session
            .query_drop(format!(
                "INSERT INTO {} (kind, id, body) VALUES ({}, 0, {}), ({}, 0, '')",
                self.name,
                Row::Registry as u8,
                sql::text(&body),
                Row::Heartbeat as u8
            ))
            .await
            .map_err(|e| to_error(e, &doing))
    }

    /// Reads the registry.
    ///
    /// # Errors
    /// Refused when it was written by a later version of replank.
    pub async fn registry(&self, session: &mut Session) -> Result<Option<Registry>> {
        let body: Option<String> = session
            .query_first(format!(
                "SELECT body FROM {} WHERE kind = {} AND id = 0",
                self.name,
                Row::Registry as u8
            ))
            .await
            .map_err(|e| to_error(e, &format!("reading the registry in {}", self.name)))?;
        let Some(body) = body else { return Ok(None) };
        let unreadable = || {
            Error::refused(format!("the registry in {} cannot be read", self.name))
                .remedy("It was written by another version of replank; use that version.")
        };
        let registry: Registry =
            serde_json::from_str(&body).map_err(|e| unreadable().caused_by(e))?;
        if registry.format > FORMAT { Err(unreadable()) } else { Ok(Some(registry)) }
    }

    /// The statement that commits heartbeat `id`. It changes the row's key, so that the number is in
    /// the row event whatever the row image.
    pub fn heartbeat_sql(&self, id: u64) -> String {
        format!("UPDATE {} SET id = {id} WHERE kind = {}", self.name, Row::Heartbeat as u8)
    }

    /// The statement that notes a chunk, to be run first in the transaction that copies it (I4).
    ///
    /// As the chunk's number is the key, a second attempt after a lost connection waits for the
    /// first one's transaction to end and meets a duplicate if that one committed after all.
    pub fn chunk_sql(&self, number: u64, from: &str, to: &str) -> String {
        let body = serde_json::json!({ "above": from, "to": to }).to_string();
        format!(
            "INSERT INTO {} (kind, id, body) VALUES ({}, {number}, {})",
            self.name,
            Row::Chunk as u8,
            sql::text(&body)
        )
    }
}

/// What the run's own DDL carries as a comment.
pub fn run_mark(run: &str) -> String {
    format!("{MARK} run {run}")
}

/// How the comment of a kept old table of `source` begins.
pub fn old_mark(source: &str) -> String {
    format!("{MARK} old table of {}, ", plain(source))
}

/// A table comment as a literal: COMMENT takes a plain string only, no hexadecimal. Characters that
/// a `sql_mode` could read as something else are left out, and the length is kept to 2048 characters.
pub fn quoted_comment(comment: &str) -> String {
    let safe: String = plain(comment).chars().take(2048).collect();
    format!("'{}'", safe.replace('\'', "''"))
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\\' | '\0')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_cannot_leave_its_quotes() {
        assert_eq!(quoted_comment("a'b\\"), "'a''b'");
    }
}
