//! The Query event: statements that are logged as text.

use super::corrupt;
use super::reader::Reader;
use crate::error::Result;

/// The body of a Query event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryEvent {
    /// The connection that ran the statement.
    pub thread_id: u32,
    /// The connection's default schema; empty if it had none.
    pub schema: String,
    /// The statement. Bytes that are not UTF-8 are replaced.
    pub sql: String,
    /// The error that the statement ended with on the source; 0 for none.
    pub error_code: u16,
}

impl QueryEvent {
    /// Parses the body of an event of type [`QUERY`](super::codes::QUERY).
    pub fn parse(body: &[u8]) -> Result<QueryEvent> {
        QueryEvent::read(body).ok_or_else(|| corrupt("Query"))
    }

    fn read(body: &[u8]) -> Option<QueryEvent> {
        let mut reader = Reader::new(body);
        let thread_id = reader.uint(4)? as u32;
        let _seconds_taken = reader.uint(4)?;
        let schema_len = reader.uint(1)? as usize;
        let error_code = reader.uint(2)? as u16;
        let status_len = reader.uint(2)? as usize;
        let _status = reader.take(status_len)?;
        let schema = String::from_utf8_lossy(reader.take(schema_len)?).into_owned();
        if reader.uint(1)? != 0 {
            return None;
        }
        let sql = String::from_utf8_lossy(reader.rest()).into_owned();
        Some(QueryEvent { thread_id, schema, sql, error_code })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Vec<u8> {
        let head = [7, 0, 0, 0, 1, 0, 0, 0, 4, 0x23, 0x04, 3, 0];
        [&head[..], b"\x01\x02\x03", b"shop\0", b"BEGIN \xFF"].concat()
    }

    #[test]
    fn a_statement_comes_with_its_session_and_error() {
        let event = QueryEvent::parse(&body()).unwrap();
        assert_eq!((event.thread_id, event.error_code), (7, 1059));
        assert_eq!((&*event.schema, &*event.sql), ("shop", "BEGIN \u{FFFD}"));
    }

    #[test]
    fn a_body_cut_before_the_statement_is_an_error() {
        let body = body();
        for len in 0..body.len() - 7 {
            assert!(QueryEvent::parse(&body[..len]).is_err(), "{len} bytes");
        }
    }
}
