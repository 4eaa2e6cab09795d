//! Event type codes, and what replank does with an event of each.
//!
//! The codes are those of MySQL 9.7 (`Log_event_type` in `binlog_event.h`). Codes that MySQL does not
//! define, MariaDB's among them, are unknown: an event that is not understood may hold changes, so the
//! stream stops there.

/// A statement, and with it BEGIN, COMMIT and DDL.
pub const QUERY: u8 = 2;
/// The server shut down in order; the next file follows.
pub const STOP: u8 = 3;
/// The next file.
pub const ROTATE: u8 = 4;
/// The first event of a file.
pub const FORMAT_DESCRIPTION: u8 = 15;
/// The commit of a transaction.
pub const XID: u8 = 16;
/// The table that row events with the same id are about.
pub const TABLE_MAP: u8 = 19;
/// Inserted rows, as written before MySQL 5.6 and with `log_bin_use_v1_row_events`.
pub const WRITE_ROWS_V1: u8 = 23;
/// Updated rows, in the old form.
pub const UPDATE_ROWS_V1: u8 = 24;
/// Deleted rows, in the old form.
pub const DELETE_ROWS_V1: u8 = 25;
/// Changes may be missing from the binlog.
pub const INCIDENT: u8 = 26;
/// The stream is alive.
pub const HEARTBEAT: u8 = 27;
/// Inserted rows.
pub const WRITE_ROWS: u8 = 30;
/// Updated rows.
pub const UPDATE_ROWS: u8 = 31;
/// Deleted rows.
pub const DELETE_ROWS: u8 = 32;
/// The GTID of the transaction that follows.
pub const GTID: u8 = 33;
/// The start of a transaction without a GTID.
pub const ANONYMOUS_GTID: u8 = 34;
/// The end of a transaction that XA PREPARE has ended.
pub const XA_PREPARE: u8 = 38;
/// Updated rows, with differences of JSON documents.
pub const PARTIAL_UPDATE_ROWS: u8 = 39;
/// A compressed transaction.
pub const TRANSACTION_PAYLOAD: u8 = 40;
/// The stream is alive, with a position of 64 bits.
pub const HEARTBEAT_V2: u8 = 41;
/// The GTID of the transaction that follows, with a tag.
pub const GTID_TAGGED: u8 = 42;

/// What an event means to replank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventClass {
    /// Says nothing about rows: STOP, INTVAR, RAND, USER_VAR (they prepare the statement of a Query
    /// event, which is judged itself), IGNORABLE, ROWS_QUERY, PREVIOUS_GTIDS, TRANSACTION_CONTEXT,
    /// VIEW_CHANGE.
    Harmless,
    /// [`FORMAT_DESCRIPTION`].
    FormatDescription,
    /// [`ROTATE`].
    Rotate,
    /// [`HEARTBEAT`] and [`HEARTBEAT_V2`].
    Heartbeat,
    /// [`GTID`], [`ANONYMOUS_GTID`] and [`GTID_TAGGED`].
    Gtid,
    /// [`QUERY`].
    Query,
    /// [`TABLE_MAP`].
    TableMap,
    /// Changed rows: 23 to 25, 30 to 32, 39.
    Rows,
    /// [`XID`].
    Xid,
    /// [`XA_PREPARE`].
    XaPrepare,
    /// [`TRANSACTION_PAYLOAD`].
    TransactionPayload,
    /// [`INCIDENT`]: stop.
    Incident,
    /// LOAD DATA logged as a statement (APPEND_BLOCK, DELETE_FILE, BEGIN_LOAD_QUERY,
    /// EXECUTE_LOAD_QUERY): rows change without row events, so stop.
    LoadStatement,
    /// Not an event of MySQL 9.7: stop.
    Unknown,
}

impl EventClass {
    /// The class of an event with this type code.
    pub fn of(type_code: u8) -> EventClass {
        match type_code {
            // 5 INTVAR, 13 RAND, 14 USER_VAR, 28 IGNORABLE, 29 ROWS_QUERY, 35 PREVIOUS_GTIDS,
            // 36 TRANSACTION_CONTEXT, 37 VIEW_CHANGE
            STOP | 5 | 13 | 14 | 28 | 29 | 35 | 36 | 37 => EventClass::Harmless,
            FORMAT_DESCRIPTION => EventClass::FormatDescription,
            ROTATE => EventClass::Rotate,
            HEARTBEAT | HEARTBEAT_V2 => EventClass::Heartbeat,
            GTID | ANONYMOUS_GTID | GTID_TAGGED => EventClass::Gtid,
            QUERY => EventClass::Query,
            TABLE_MAP => EventClass::TableMap,
            WRITE_ROWS_V1 | UPDATE_ROWS_V1 | DELETE_ROWS_V1 | WRITE_ROWS | UPDATE_ROWS
            | DELETE_ROWS | PARTIAL_UPDATE_ROWS => EventClass::Rows,
            XID => EventClass::Xid,
            XA_PREPARE => EventClass::XaPrepare,
            TRANSACTION_PAYLOAD => EventClass::TransactionPayload,
            INCIDENT => EventClass::Incident,
            // 9 APPEND_BLOCK, 11 DELETE_FILE, 17 BEGIN_LOAD_QUERY, 18 EXECUTE_LOAD_QUERY
            9 | 11 | 17 | 18 => EventClass::LoadStatement,
            _ => EventClass::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_mysql_does_not_define_stop_the_stream() {
        // 160 to 171 are MariaDB's: ANNOTATE_ROWS, GTID, START_ENCRYPTION, compressed rows, …
        for code in (160..=171).chain([0, 1, 6, 7, 8, 10, 12, 20, 21, 22, 43, 255]) {
            assert_eq!(EventClass::of(code), EventClass::Unknown, "code {code}");
        }
    }

    /// By the numbers of the MySQL manual's list of event types, so that no name can be mixed up.
    #[test]
    fn every_event_that_mysql_defines_has_its_class() {
        for (codes, class) in [
            (&[3, 5, 13, 14, 28, 29, 35, 36, 37][..], EventClass::Harmless),
            (&[15], EventClass::FormatDescription),
            (&[4], EventClass::Rotate),
            (&[27, 41], EventClass::Heartbeat),
            (&[33, 34, 42], EventClass::Gtid),
            (&[2], EventClass::Query),
            (&[19], EventClass::TableMap),
            (&[16], EventClass::Xid),
            (&[38], EventClass::XaPrepare),
            (&[40], EventClass::TransactionPayload),
            (&[26], EventClass::Incident),
            (&[9, 11, 17, 18], EventClass::LoadStatement),
        ] {
            for code in codes {
                assert_eq!(EventClass::of(*code), class, "code {code}");
            }
        }
    }

    #[test]
    fn every_form_of_changed_rows_is_recognized() {
        let rows: Vec<u8> =
            (0..=255).filter(|code| EventClass::of(*code) == EventClass::Rows).collect();
        assert_eq!(rows, [23, 24, 25, 30, 31, 32, 39]);
    }
}
