//! Rows by which another process asks something of the one that works on the run, and gets an answer.
//!
//! They share the kind of [commands](super::Command), above the commands' own numbers. A request is a row with a random
//! number; the answer takes its place, and whoever asked removes it.

use mysql_async::prelude::Queryable;
use serde::{Deserialize, Serialize};

use super::{Row, StateTable};
use crate::error::Result;
use crate::server::{Session, to_error};
use crate::sql;

/// The least number of a request.
const FIRST: u64 = 16;

/// What stands in such a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Letter {
    /// A request, and the account that asks.
    Request {
        /// Who asks.
        by: String,
        /// What, as JSON.
        text: String,
    },
    /// The answer, as JSON.
    Answer(String),
}

impl StateTable {
    /// Writes a request; returns its number.
    ///
    /// # Errors
    /// As the server's.
    pub async fn ask(&self, session: &mut Session, by: &str, text: &str) -> Result<u64> {
        let id = rand::random_range(FIRST..u64::from(u32::MAX));
        let letter = Letter::Request { by: by.to_owned(), text: text.to_owned() };
        let values =
            format!("({}, {id}, {})", Row::Command as u8, sql::text(&self.write(&letter)?));
        let sql = format!("INSERT INTO {} (kind, id, body) VALUES {values}", self.name);
        self.execute(session, sql).await?;
        Ok(id)
    }

    /// The requests that have no answer yet.
    ///
    /// # Errors
    /// As the server's. What cannot be read is left out.
    pub async fn requests(&self, session: &mut Session) -> Result<Vec<(u64, String, String)>> {
        let rows: Vec<(u64, String)> = session
            .query(format!(
                "SELECT id, body FROM {} WHERE kind = {} AND id >= {FIRST} ORDER BY id",
                self.name,
                Row::Command as u8
            ))
            .await
            .map_err(|e| to_error(e, &format!("reading the requests in {}", self.name)))?;
        let requests =
            rows.into_iter().filter_map(|(id, body)| match serde_json::from_str(&body) {
                Ok(Letter::Request { by, text }) => Some((id, by, text)),
                _ => None,
            });
        Ok(requests.collect())
    }

    /// Puts an answer in a request's place.
    ///
    /// # Errors
    /// As the server's.
    pub async fn reply(&self, session: &mut Session, id: u64, answer: &str) -> Result<()> {
        let body = sql::text(&self.write(&Letter::Answer(answer.to_owned()))?);
        let table = &self.name;
        let kind = Row::Command as u8;
        let sql = format!("UPDATE {table} SET body = {body} WHERE kind = {kind} AND id = {id}");
        self.execute(session, sql).await
    }

    /// The answer to a request, if it has come.
    ///
    /// # Errors
    /// As the server's.
    pub async fn answer(&self, session: &mut Session, id: u64) -> Result<Option<String>> {
        let (table, kind) = (&self.name, Row::Command as u8);
        let body: Option<String> = session
            .query_first(format!("SELECT body FROM {table} WHERE kind = {kind} AND id = {id}"))
            .await
            .map_err(|e| to_error(e, &format!("waiting for an answer in {}", self.name)))?;
        Ok(match body.map(|body| serde_json::from_str(&body)) {
            Some(Ok(Letter::Answer(answer))) => Some(answer),
            _ => None,
        })
    }

    /// Removes a request with its answer.
    ///
    /// # Errors
    /// As the server's.
    pub async fn forget(&self, session: &mut Session, id: u64) -> Result<()> {
        let (table, kind) = (&self.name, Row::Command as u8);
        self.execute(session, format!("DELETE FROM {table} WHERE kind = {kind} AND id = {id}"))
            .await
    }

    /// Whether anything asked or answered is still there.
    ///
    /// # Errors
    /// As the server's.
    pub async fn has_letters(&self, session: &mut Session) -> Result<bool> {
        let (table, kind) = (&self.name, Row::Command as u8);
        let sql = format!("SELECT 1 FROM {table} WHERE kind = {kind} AND id >= {FIRST} LIMIT 1");
        let found: Option<u8> = session
            .query_first(sql)
            .await
            .map_err(|e| to_error(e, &format!("reading the requests in {}", self.name)))?;
        Ok(found.is_some())
    }

    /// Removes all requests: they were meant for an earlier process.
    ///
    /// # Errors
    /// As the server's.
    pub async fn forget_all(&self, session: &mut Session) -> Result<()> {
        let (table, kind) = (&self.name, Row::Command as u8);
        let sql = format!("DELETE FROM {table} WHERE kind = {kind} AND id >= {FIRST}");
        self.execute(session, sql).await
    }

    /// The number of the last heartbeat, as this server has it.
    ///
    /// # Errors
    /// As the server's.
    pub async fn last_heartbeat(&self, session: &mut Session) -> Result<Option<u64>> {
        let sql = format!("SELECT id FROM {} WHERE kind = {}", self.name, Row::Heartbeat as u8);
        session.query_first(sql).await.map_err(|e| to_error(e, &format!("reading {}", self.name)))
    }

    async fn execute(&self, session: &mut Session, sql: String) -> Result<()> {
        session.query_drop(sql).await.map_err(|e| to_error(e, &format!("writing to {}", self.name)))
    }
}
