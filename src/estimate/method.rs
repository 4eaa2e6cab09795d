//! What the server itself could do about an ALTER: it is asked, on an empty table.

use mysql_async::prelude::Queryable;

use crate::error::Result;
use crate::server::{Fault, Session, fault_of, to_error};
use crate::sql::TableName;

/// The way in which the server would carry an ALTER out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// In the dictionary alone.
    Instant,
    /// In place: writers may go on, but replicas stand still, and it cannot be paused. The reason why it is not instant.
    InPlace(String),
    /// By copying the table while writers wait. The reason why it is not in place.
    Rebuild(String),
    /// It was not asked.
    Unknown(String),
}

impl Method {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Method::Instant => "instant",
            Method::InPlace(_) => "in place",
            Method::Rebuild(_) => "rebuild",
            Method::Unknown(_) => "unknown",
        }
    }

    /// Why it is no better one.
    pub fn why(&self) -> Option<&str> {
        match self {
            Method::Instant => None,
            Method::InPlace(why) | Method::Rebuild(why) | Method::Unknown(why) => Some(why),
        }
    }
}

/// Asks with a table like the source under that name, where there is none, and leaves it there.
///
/// # Errors
/// As the server's.
pub async fn method(
    session: &mut Session,
    source: &TableName,
    scratch: &TableName,
    clauses: &str,
) -> Result<Method> {
    // Names of constraints are others in the scratch table.
    let upper = clauses.to_uppercase();
    let mut words = upper.split(|c: char| !c.is_alphanumeric() && c != '_');
    if words.any(|word| matches!(word, "PARTITION" | "PARTITIONING" | "CONSTRAINT" | "CHECK")) {
        let why = "the statement is about partitions or constraints";
        return Ok(Method::Unknown(why.to_owned()));
    }
    session
        .query_drop(format!("CREATE TABLE {scratch} LIKE {source}"))
        .await
        .map_err(|e| to_error(e, &format!("creating {scratch}")))?;
    let not_instant = match try_one(session, scratch, clauses, "INSTANT").await? {
        None => return Ok(Method::Instant),
        Some(why) => why,
    };
    Ok(match try_one(session, scratch, clauses, "INPLACE").await? {
        None => Method::InPlace(not_instant),
        Some(why) => Method::Rebuild(why),
    })
}

/// Why the server does not do it in this way; None if it does.
async fn try_one(
    session: &mut Session,
    scratch: &TableName,
    clauses: &str,
    algorithm: &str,
) -> Result<Option<String>> {
    match session
        .query_drop(format!("ALTER TABLE {scratch} {clauses}, ALGORITHM = {algorithm}"))
        .await
    {
        Ok(()) => Ok(None),
        Err(error) if fault_of(&error) == Fault::Connection => {
            Err(to_error(error, &format!("trying the ALTER on {scratch}")))
        }
        Err(mysql_async::Error::Server(error)) => Ok(Some(error.message)),
        Err(error) => Ok(Some(error.to_string())),
    }
}
