//! The state table: one small InnoDB table beside the source that holds what a run has to remember: what
//! it is (registry), what must not change (terms), its chunks, and a heartbeat that carries the checkpoint.
//!
//! Its comment carries replank's mark; the registry in it names the shadow table and the old table.
//! Nothing is ever dropped that is not marked or registered.
//!
//! A chunk's note is written in the transaction that copies the chunk (I4), so the notes are the truth
//! about what the shadow table holds. A checkpoint may be older than the last chunk: its position is safe
//! at any later time as well ([`crate::ledger::Ledger::safe_position`]).

mod checkpoint;
pub mod history;
mod misfit;
mod registry;
mod requests;

use mysql_async::prelude::Queryable;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use checkpoint::{Checkpoint, ChunkNote};
pub use misfit::Misfit;
pub use registry::{Registry, Terms, now, structure};
pub use requests::Letter;

use crate::error::{Error, Result};
use crate::key::{Key, KeyPart, KeySpec, PartType};
use crate::ledger::Range;
use crate::server::{Session, to_error};
use crate::sql::{self, Ident, TableName};

/// The words with which the comment of every table begins that replank may drop.
pub const MARK: &str = "replank";

/// What a row of the state table is: the first column of its primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Row {
    Registry = 0,
    Heartbeat = 1,
    Chunk = 2,
    Terms = 3,
    Command = 4,
    Misfit = 5,
}

/// Which part of a run the terms are about: the number of their row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// Up to the swap.
    Migration = 0,
    /// After it: the old table is kept in step.
    Guard = 1,
}

/// What another process asks of the one that works on the run, through the binlog: the row's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Stop, and keep what there is to go on with.
    Stop = 1,
}

impl Command {
    fn of(number: u64) -> Option<Command> {
        (number == Command::Stop as u64).then_some(Command::Stop)
    }
}

/// What a row event of the state table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A heartbeat, with its number.
    Heartbeat(u64),
    /// A command.
    Command(Command),
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

    /// Whether the table exists and carries replank's mark.
    ///
    /// # Errors
    /// As the server's.
    pub async fn is_marked(&self, session: &mut Session) -> Result<bool> {
        let comment: Option<String> = session
            .exec_first(
                "SELECT TABLE_COMMENT FROM information_schema.TABLES \
                 WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
                (self.name.schema.as_str(), self.name.table.as_str()),
            )
            .await
            .map_err(|e| to_error(e, &format!("looking for {}", self.name)))?;
        Ok(comment.is_some_and(|comment| comment.starts_with(&format!("{MARK} state of "))))
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

    /// What a row with this key says, where it says anything to the stream.
    pub fn says(kind: u64, id: u64) -> Option<Said> {
        if kind == Row::Heartbeat as u64 {
            Some(Said::Heartbeat(id))
        } else if kind == Row::Command as u64 {
            Command::of(id).map(Said::Command)
        } else {
            None
        }
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
        session
            .query_drop(format!(
                "INSERT INTO {} (kind, id, body) VALUES ({}, 0, {}), ({}, 0, '')",
                self.name,
                Row::Registry as u8,
                sql::text(&self.write(registry)?),
                Row::Heartbeat as u8
            ))
            .await
            .map_err(|e| to_error(e, &doing))
    }

    /// Writes the terms, when the shadow table is ready to be filled.
    ///
    /// # Errors
    /// As the server's.
    pub async fn agree(&self, session: &mut Session, part: Part, terms: &Terms) -> Result<()> {
        session
            .query_drop(format!(
                "INSERT INTO {} (kind, id, body) VALUES ({}, {}, {})",
                self.name,
                Row::Terms as u8,
                part as u8,
                sql::text(&self.write(terms)?)
            ))
            .await
            .map_err(|e| to_error(e, &format!("writing the terms to {}", self.name)))
    }

    /// Reads the registry.
    ///
    /// # Errors
    /// Refused when it was written by a later version of replank.
    pub async fn registry(&self, session: &mut Session) -> Result<Option<Registry>> {
        let Some(body) = self.body(session, Row::Registry, 0).await? else { return Ok(None) };
        let registry: Registry = self.read(&body)?;
        if registry.format > registry::FORMAT { Err(self.unreadable()) } else { Ok(Some(registry)) }
    }

    /// Asks something of the process that works on the run.
    ///
    /// # Errors
    /// As the server's.
    pub async fn command(&self, session: &mut Session, command: Command, by: &str) -> Result<()> {
        // A row that stays as it is would not be in the binlog.
        let body = format!("{by}, {}, {:08x}", now(), rand::random::<u32>());
        session
            .query_drop(format!(
                "REPLACE INTO {} (kind, id, body) VALUES ({}, {}, {})",
                self.name,
                Row::Command as u8,
                command as u8,
                sql::text(&body)
            ))
            .await
            .map_err(|e| to_error(e, &format!("writing a command to {}", self.name)))
    }

    /// Reads the terms; there are none while the shadow table is being made, or before there is a guard.
    ///
    /// # Errors
    /// Refused when they were written by another version of replank.
    pub async fn terms(&self, session: &mut Session, part: Part) -> Result<Option<Terms>> {
        match self.body(session, Row::Terms, part as u8).await? {
            Some(body) => self.read(&body).map(Some),
            None => Ok(None),
        }
    }

    /// Reads the number of the last heartbeat and the last checkpoint; there is none before the first
    /// heartbeat.
    ///
    /// # Errors
    /// Refused when it was written by another version of replank.
    pub async fn checkpoint(&self, session: &mut Session) -> Result<Option<(u64, Checkpoint)>> {
        let row: Option<(u64, String)> = session
            .query_first(format!(
                "SELECT id, body FROM {} WHERE kind = {}",
                self.name,
                Row::Heartbeat as u8
            ))
            .await
            .map_err(|e| to_error(e, &format!("reading the checkpoint in {}", self.name)))?;
        match row {
            Some((id, body)) if !body.is_empty() => Ok(Some((id, self.read(&body)?))),
            _ => Ok(None),
        }
    }

    /// Reads the committed chunks: the highest number, and all ranges.
    ///
    /// # Errors
    /// Refused when they were written by another version of replank.
    pub async fn chunks(&self, session: &mut Session) -> Result<(u64, Vec<Range<Key>>)> {
        let rows: Vec<(u64, String)> = session
            .query(format!(
                "SELECT id, body FROM {} WHERE kind = {} ORDER BY id",
                self.name,
                Row::Chunk as u8
            ))
            .await
            .map_err(|e| to_error(e, &format!("reading the chunks in {}", self.name)))?;
        let last = rows.last().map_or(0, |(id, _)| *id);
        let ranges = rows.iter().map(|(_, body)| self.read::<ChunkNote>(body)?.range());
        Ok((last, ranges.collect::<Result<Vec<_>>>()?))
    }

    /// How many chunks have been committed.
    ///
    /// # Errors
    /// As the server's.
    pub async fn chunk_count(&self, session: &mut Session) -> Result<u64> {
        let count: Option<u64> = session
            .query_first(format!(
                "SELECT COUNT(*) FROM {} WHERE kind = {}",
                self.name,
                Row::Chunk as u8
            ))
            .await
            .map_err(|e| to_error(e, &format!("counting the chunks in {}", self.name)))?;
        Ok(count.unwrap_or_default())
    }

    /// The statement that commits heartbeat `id`, with a checkpoint if there is one to be written. It
    /// changes the row's key, so that the number is in the row event whatever the row image.
    ///
    /// # Errors
    /// Failed if the checkpoint cannot be written as text, which does not happen.
    pub fn heartbeat_sql(&self, id: u64, checkpoint: Option<&Checkpoint>) -> Result<String> {
        let body = match checkpoint {
            Some(checkpoint) => format!(", body = {}", sql::text(&self.write(checkpoint)?)),
            None => String::new(),
        };
        Ok(format!(
            "UPDATE {} SET id = {id}{body} WHERE kind = {}",
            self.name,
            Row::Heartbeat as u8
        ))
    }

    /// The statement that notes a chunk, to be run first in the transaction that copies it (I4).
    ///
    /// As the chunk's number is the key, a second attempt after a lost connection waits for the
    /// first one's transaction to end and meets a duplicate if that one committed after all.
    ///
    /// # Errors
    /// Failed if the note cannot be written as text, which does not happen.
    pub fn chunk_sql(&self, number: u64, note: &ChunkNote) -> Result<String> {
        Ok(format!(
            "INSERT INTO {} (kind, id, body) VALUES ({}, {number}, {})",
            self.name,
            Row::Chunk as u8,
            sql::text(&self.write(note)?)
        ))
    }

    /// The statement that notes rows that do not fit the old structure; a later note of a row takes the
    /// place of an earlier one.
    ///
    /// # Errors
    /// Failed if the note cannot be written as text, which does not happen.
    pub fn misfit_sql(&self, misfit: &Misfit) -> Result<String> {
        Ok(format!(
            "REPLACE INTO {} (kind, id, body) VALUES ({}, {}, {})",
            self.name,
            Row::Misfit as u8,
            misfit.number(),
            sql::text(&self.write(misfit)?)
        ))
    }

    /// The statement that takes the notes of rows back which fit now.
    pub fn fits_sql(&self, keys: &[Key]) -> String {
        format!(
            "DELETE FROM {} WHERE kind = {} AND id IN ({})",
            self.name,
            Row::Misfit as u8,
            sql::list(keys.iter().map(Misfit::number_of))
        )
    }

    /// Reads the rows that do not fit the old structure.
    ///
    /// # Errors
    /// As the server's; refused when another version of replank wrote them.
    pub async fn misfits(&self, session: &mut Session) -> Result<Vec<Misfit>> {
        let bodies: Vec<String> = session
            .query(format!(
                "SELECT body FROM {} WHERE kind = {} ORDER BY id",
                self.name,
                Row::Misfit as u8
            ))
            .await
            .map_err(|e| to_error(e, &format!("reading the rows noted in {}", self.name)))?;
        bodies.iter().map(|body| self.read(body)).collect()
    }

    async fn body(&self, session: &mut Session, row: Row, id: u8) -> Result<Option<String>> {
        session
            .query_first(format!(
                "SELECT body FROM {} WHERE kind = {} AND id = {id}",
                self.name, row as u8
            ))
            .await
            .map_err(|e| to_error(e, &format!("reading {}", self.name)))
    }

    fn write<T: Serialize>(&self, record: &T) -> Result<String> {
        serde_json::to_string(record)
            .map_err(|e| Error::failed(format!("writing to {}", self.name)).caused_by(e))
    }

    fn read<T: DeserializeOwned>(&self, body: &str) -> Result<T> {
        serde_json::from_str(body).map_err(|e| self.unreadable().caused_by(e))
    }

    fn unreadable(&self) -> Error {
        Error::refused(format!("what {} holds cannot be read", self.name))
            .remedy("It was written by another version of replank; use that version.")
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

/// The table that the old table with this comment belongs to; None if it carries no mark.
pub fn marked_source(comment: &str) -> Option<&str> {
    let rest = comment.strip_prefix(MARK)?.strip_prefix(" old table of ")?;
    Some(rest.split_once(&format!(", {MARK} run "))?.0)
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
    fn the_mark_names_its_source() {
        let comment = format!("{}{}, until now. its own", old_mark("a, b"), run_mark("0123"));
        assert_eq!(marked_source(&comment), Some("a, b"));
        assert_eq!(marked_source("old table of a"), None);
    }

    #[test]
    fn a_comment_cannot_leave_its_quotes() {
        assert_eq!(quoted_comment("a'b\\"), "'a''b'");
    }
}
