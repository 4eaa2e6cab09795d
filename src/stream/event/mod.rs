//! Decoding of raw binlog events: the bytes after the 19-byte header, without the checksum.
//!
//! Only what replank needs is decoded: which table a row event is about, and the key columns of its
//! rows. All other columns are stepped over by their length. Nothing here trusts the bytes: every
//! read is checked, and bytes that are cut short or make no sense are an error.

mod cell;
pub mod codes;
mod layout;
pub mod query;
mod reader;
pub mod rows;
pub mod table_map;

pub use codes::EventClass;
pub use layout::KeyLayout;
pub use query::QueryEvent;
pub use rows::{RowChange, RowsEvent};
pub use table_map::TableMap;

use crate::error::Error;

fn corrupt(what: &str) -> Error {
    Error::failed(format!("the binlog has a {what} event that is cut short or makes no sense"))
        .remedy("Check the server's binlog with mysqlbinlog --verify-binlog-checksum, then start again.")
}

#[cfg(test)]
mod tests;
