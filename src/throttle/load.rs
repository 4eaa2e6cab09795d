//! The server's load: status variables, the length of InnoDB's history list, the operator's own statement.

use std::collections::HashMap;
use std::fmt;

use mysql_async::Value;
use mysql_async::prelude::Queryable;

use crate::error::{Error, Result};
use crate::server::{Session, to_error};
use crate::sql::{list, text};

/// A status variable and the most that it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// A variable of SHOW GLOBAL STATUS.
    pub variable: String,
    /// Beyond this it is too much.
    pub most: u64,
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.variable, self.most)
    }
}

impl Threshold {
    /// Reads `Threads_running=50`.
    ///
    /// # Errors
    /// Refused, with the option's name, when it is written in another way.
    pub fn parse(flag: &str, given: &str) -> Result<Threshold> {
        let parts = given.trim().split_once('=');
        let parsed = parts.and_then(|(name, most)| Some((name.trim(), most.trim().parse().ok()?)));
        match parsed {
            Some((name, most)) if !name.is_empty() => {
                Ok(Threshold { variable: name.to_owned(), most })
            }
            _ => Err(Error::refused(format!(
                "{flag} {given} is not a status variable and its limit"
            ))
            .remedy("Write it as Threads_running=50.")),
        }
    }
}

/// The values of the variables that these thresholds are about, by lower-case name.
///
/// # Errors
/// As the server's; refused when a variable does not exist or is not a number.
pub(super) async fn status(
    session: &mut Session,
    thresholds: &[&Threshold],
) -> Result<HashMap<String, u64>> {
    if thresholds.is_empty() {
        return Ok(HashMap::new());
    }
    let names = list(thresholds.iter().map(|threshold| text(&threshold.variable)));
    let rows: Vec<(String, String)> = session
        .query(format!("SHOW GLOBAL STATUS WHERE Variable_name IN ({names})"))
        .await
        .map_err(|e| to_error(e, "reading status variables"))?;
    let mut values = HashMap::new();
    for (name, value) in rows {
        // Some are decimals.
        if let Ok(number) = value.parse::<f64>() {
            values.insert(name.to_lowercase(), number.ceil() as u64);
        }
    }
    for Threshold { variable, .. } in thresholds {
        if !values.contains_key(&variable.to_lowercase()) {
            return Err(Error::refused(format!(
                "the server has no status variable {variable} that is a number"
            ))
            .remedy("Choose one of SHOW GLOBAL STATUS, such as Threads_running."));
        }
    }
    Ok(values)
}

/// The first threshold that is passed, in words.
pub(super) fn passed(thresholds: &[Threshold], values: &HashMap<String, u64>) -> Option<String> {
    thresholds.iter().find_map(|Threshold { variable, most }| {
        let value = values.get(&variable.to_lowercase()).copied()?;
        (value > *most).then(|| format!("{variable} is {value}, more than {most}"))
    })
}

/// The length of InnoDB's history list: undo records that are not purged yet, in transactions.
///
/// # Errors
/// As the server's; refused when the account lacks the privilege PROCESS, or the server does not count it.
pub(super) async fn history_list(session: &mut Session) -> Result<u64> {
    let length: Option<u64> = session
        .query_first(
            "SELECT `COUNT` FROM information_schema.INNODB_METRICS \
             WHERE NAME = 'trx_rseg_history_len' AND STATUS = 'enabled'",
        )
        .await
        .map_err(|e| {
            to_error(e, "reading the length of the history list (--max-history-list)")
                .remedy("GRANT PROCESS ON *.* to the account of replank.")
        })?;
    length.ok_or_else(|| {
        Error::refused("the server does not count its history list (--max-history-list)")
            .remedy("SET GLOBAL innodb_monitor_enable = 'trx_rseg_history_len'.")
    })
}

/// The one number that the operator's statement returns.
///
/// # Errors
/// As the server's; refused when it returns something else.
pub(super) async fn ask(session: &mut Session, statement: &str) -> Result<f64> {
    let answer: Option<mysql_async::Row> = session
        .query_first(statement)
        .await
        .map_err(|e| to_error(e, "asking what --throttle-query asks"))?;
    let value = answer.and_then(|row| row.unwrap().into_iter().next());
    let number = match &value {
        Some(Value::Int(number)) => Some(*number as f64),
        Some(Value::UInt(number)) => Some(*number as f64),
        Some(Value::Float(number)) => Some(f64::from(*number)),
        Some(Value::Double(number)) => Some(*number),
        Some(Value::Bytes(bytes)) => std::str::from_utf8(bytes).ok().and_then(|s| s.parse().ok()),
        _ => None,
    };
    number.ok_or_else(|| {
        Error::refused("the statement of --throttle-query does not return a number")
            .remedy("Write a SELECT of one number; more than 0 holds the copy.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_threshold_that_is_passed_is_named() {
        let limits = ["Threads_running=5", "Threads_connected=10"]
            .map(|text| Threshold::parse("--max-load", text).expect("right"));
        let values = |running, connected| {
            HashMap::from([
                ("threads_running".to_owned(), running),
                ("threads_connected".to_owned(), connected),
            ])
        };
        assert_eq!(passed(&limits, &values(5, 10)), None, "the limit itself is allowed");
        let why = passed(&limits, &values(5, 11)).expect("passed");
        assert_eq!(why, "Threads_connected is 11, more than 10");
    }
}
