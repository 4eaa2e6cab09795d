//! What an error of the server or of the connection means for the statement that met it.
//!
//! Numbers are those of the MySQL manual's "Server Error Message Reference".

use mysql_async::Error as DriverError;

use crate::error::{Error, Kind};

/// What to do after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is gone; open another one.
    Connection,
    /// The transaction met a lock or was interrupted; roll back and run it again.
    Retry,
    /// A row met an equal value in a unique index.
    Duplicate,
    /// A row does not fit the new structure.
    Data,
    /// Nothing that a retry would mend.
    Permanent,
}

/// Sorts an error of the driver.
pub fn fault_of(error: &DriverError) -> Fault {
    match error {
        DriverError::Server(server) => match server.code {
            // Too many connections, shutdown in progress, connection killed, aborted, net errors.
            1040 | 1053 | 1077 | 1079 | 1152 | 1156..=1161 | 1184 | 1203 | 3169 | 4031 => {
                Fault::Connection
            }
            // Lock wait timeout, deadlock, query interrupted, lock not available, execution time,
            // read-only during failover.
            1205 | 1213 | 1317 | 3024 | 3572 => Fault::Retry,
            1062 | 1586 => Fault::Duplicate,
            // NULL into NOT NULL, out of range, too long, incorrect value, truncation, JSON,
            // geometry, CHECK, no partition for the row, no default, not a vector.
            1048 | 1263 | 1264 | 1265 | 1292 | 1364 | 1366 | 1367 | 1406 | 1416 | 1526 | 1690
            | 3140 | 3141 | 3156 | 3643 | 3819 | 3903 | 3904 | 3907 | 6136 => Fault::Data,
            _ => Fault::Permanent,
        },
        DriverError::Io(_) => Fault::Connection,
        DriverError::Driver(mysql_async::DriverError::ConnectionClosed) => Fault::Connection,
        _ => Fault::Permanent,
    }
}

/// The name of the index that a duplicate-key error speaks of, as the server prints it.
pub fn duplicate_of(error: &DriverError) -> Option<&str> {
    let DriverError::Server(server) = error else { return None };
    let name = server.message.rsplit_once("for key '")?.1;
    Some(name.strip_suffix('\'').unwrap_or(name))
}

/// The error to report, with its kind and the step that was under way.
pub fn to_error(error: DriverError, doing: &str) -> Error {
    if let DriverError::Server(server) = &error {
        let refusal = match server.code {
            1044 | 1045 | 1698 => Some(
                "Check the user name and the password, and that the user may connect from here.",
            ),
            1049 | 1146 => Some("Check the names given with --database and --table."),
            1142 | 1143 | 1227 | 1370 | 1410 => Some(
                "Grant the privilege that the message names; the README lists all that are needed.",
            ),
            1129 | 1130 => Some("Allow this host to connect, see the manual on FLUSH HOSTS."),
            _ => None,
        };
        if let Some(remedy) = refusal {
            return Error::new(Kind::Refused, format!("{doing}: {}", server.message))
                .remedy(remedy);
        }
    }
    let kind = match fault_of(&error) {
        Fault::Connection | Fault::Retry => Kind::Transient,
        Fault::Duplicate | Fault::Data | Fault::Permanent => Kind::Failed,
    };
    match error {
        DriverError::Server(server) => {
            Error::new(kind, format!("{doing}: {} (error {})", server.message, server.code))
        }
        other => Error::new(kind, format!("{doing}: {}", root_cause(&other))),
    }
}

/// The innermost error: the driver's own layers repeat its text.
fn root_cause(error: &dyn std::error::Error) -> &dyn std::error::Error {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(code: u16, message: &str) -> DriverError {
        mysql_async::ServerError { code, message: message.to_owned(), state: "HY000".to_owned() }
            .into()
    }

    #[test]
    fn deadlocks_are_retried_and_data_errors_are_not() {
        assert_eq!(fault_of(&server_error(1213, "Deadlock found")), Fault::Retry);
        assert_eq!(fault_of(&server_error(1406, "Data too long")), Fault::Data);
        assert_eq!(to_error(server_error(1406, "Data too long"), "copying").kind(), Kind::Failed);
    }

    #[test]
    fn a_duplicate_names_its_index() {
        let error = server_error(1062, "Duplicate entry 'a' for key '_t_replank_new.uq'");
        assert_eq!(fault_of(&error), Fault::Duplicate);
        assert_eq!(duplicate_of(&error), Some("_t_replank_new.uq"));
    }

    #[test]
    fn a_missing_privilege_is_a_refusal_with_a_remedy() {
        let error = to_error(server_error(1142, "SELECT command denied"), "reading the table");
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.next_step().unwrap().contains("Grant"));
    }
}
