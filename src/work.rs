//! What the statements of copy, replay and verification have in common: the context they run in and
//! how they fail.

use std::sync::Arc;

use mysql_async::Row;
use mysql_async::prelude::Queryable;

use crate::error::{Error, Result};
use crate::key::{Key, KeySpec};
use crate::ledger::{Edge, Range};
use crate::plan::Plan;
use crate::server::{Fault, Owner, Session, fault_of, to_error};
use crate::sql::{Ident, TableName};
use crate::state::{Part, StateTable};

/// Aliases of the shadow table in the statements that replay changes, which have to run under the
/// cut-over's lock as well: for its rows that hold a wanted value, and for those whose values are kept.
pub const HELD: &str = "held";
/// See [`HELD`].
pub const KEPT: &str = "kept";

/// What every worker knows.
#[derive(Debug, Clone)]
pub struct Context {
    /// The tables and how they correspond.
    pub plan: Arc<Plan>,
    /// The run's state table.
    pub state: StateTable,
    /// Who may write to the shadow table.
    pub owner: Owner,
    /// What the run is at: on the way there, or on the way back.
    pub part: Part,
    /// Definitions of the indexes that the shadow table gets when it is filled.
    pub deferred: Arc<Vec<String>>,
    /// A comment that the run's own DDL carries, so that the stream knows it from another session's.
    pub mark: String,
}

/// Why a piece of work did not get done.
#[derive(Debug)]
pub enum Failure {
    /// The server or the connection answered with an error; [`fault_of`] says whether to try again.
    Driver(mysql_async::Error),
    /// The run has to stop.
    Stop(Error),
    /// The run lock was not this process's own when the work was to be committed.
    NotOwner,
}

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Self {
        Failure::Driver(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Stop(error)
    }
}

impl Failure {
    /// What an error of the driver means; a decision to stop is permanent.
    pub fn fault(&self) -> Fault {
        match self {
            Failure::Driver(error) => fault_of(error),
            Failure::Stop(_) => Fault::Permanent,
            // It is taken again if nobody else has it; if somebody has, the run ends.
            Failure::NotOwner => Fault::Retry,
        }
    }

    /// The error to report.
    pub fn into_error(self, doing: &str) -> Error {
        match self {
            Failure::Driver(error) => to_error(error, doing),
            Failure::Stop(error) => error,
            Failure::NotOwner => Error::transient(format!(
                "{doing}: the run lock is not held by this process any more"
            ))
            .keeping_progress(),
        }
    }
}

/// The outcome of a piece of work.
pub type Work<T> = std::result::Result<T, Failure>;

/// The predicate that holds for the keys of a range.
pub fn range_predicate(key: &KeySpec, range: &Range<Key>) -> Result<String> {
    let lo = match &range.lo {
        Edge::At(lo) => Some(key.after(lo)?),
        Edge::Start | Edge::End => None,
    };
    let hi = match &range.hi {
        Edge::At(hi) => Some(key.up_to(hi)?),
        Edge::Start | Edge::End => None,
    };
    Ok(match (lo, hi) {
        (Some(lo), Some(hi)) => format!("({lo}) AND ({hi})"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "TRUE".to_owned(),
    })
}

/// A range in words, for messages.
pub fn describe_range(key: &KeySpec, range: &Range<Key>) -> String {
    let edge = |edge: &Edge<Key>| match edge {
        Edge::Start => "the first row".to_owned(),
        Edge::At(at) => key.describe(at),
        Edge::End => "the last row".to_owned(),
    };
    format!("{} .. {}", edge(&range.lo), edge(&range.hi))
}

/// The keys that a statement returns in the form of [`KeySpec::export_list`].
pub async fn fetch_keys(session: &mut Session, key: &KeySpec, query: &str) -> Work<Vec<Key>> {
    let rows: Vec<Row> = session.query(query).await?;
    rows.into_iter().map(|row| Ok(key.from_row(&row.unwrap())?)).collect()
}

/// The upper edge of the next chunk of a table within a range: the key `rows` rows above its lower edge, or
/// its end. `index` is the one over `key`.
pub async fn next_edge(
    session: &mut Session,
    table: &TableName,
    index: &Ident,
    key: &KeySpec,
    within: &Range<Key>,
    rows: u64,
) -> Work<Edge<Key>> {
    let query = format!(
        "SELECT {} FROM {table} FORCE INDEX ({index}) WHERE {} ORDER BY {} LIMIT 1 OFFSET {}",
        key.export_list(),
        range_predicate(key, within)?,
        key.order_by(),
        rows.saturating_sub(1)
    );
    let found = fetch_keys(session, key, &query).await?;
    Ok(found.into_iter().next().map_or_else(|| within.hi.clone(), Edge::At))
}

/// The structure of a table, as SHOW CREATE TABLE prints it.
pub async fn show_create(session: &mut Session, table: &TableName) -> Work<String> {
    let row: Option<(String, String)> =
        session.query_first(format!("SHOW CREATE TABLE {table}")).await?;
    let create = row.map(|(_, create)| create);
    Ok(create.ok_or_else(|| Error::failed(format!("{table} has no CREATE statement")))?)
}

/// Commits, if this process still holds the run lock.
pub async fn commit(session: &mut Session, context: &Context) -> Work<()> {
    if !context.owner.confirm(session).await? {
        return Err(Failure::NotOwner);
    }
    session.query_drop("COMMIT").await?;
    Ok(())
}

/// Ends a transaction that failed. A connection that is gone has rolled back by itself.
pub async fn rollback(session: &mut Session) {
    if let Err(error) = session.query_drop("ROLLBACK").await {
        tracing::debug!(%error, "rolling back");
    }
}
