//! The Table_map event: the columns of the rows that follow.

use super::corrupt;
use super::reader::Reader;
use crate::error::Result;

/// Type codes of columns (`enum_field_types`), as far as row events have them.
pub(super) mod types {
    pub(crate) const TINY: u8 = 1;
    pub(crate) const SHORT: u8 = 2;
    pub(crate) const LONG: u8 = 3;
    pub(crate) const FLOAT: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const NULL: u8 = 6;
    pub(crate) const TIMESTAMP: u8 = 7;
    pub(crate) const LONGLONG: u8 = 8;
    pub(crate) const INT24: u8 = 9;
    pub(crate) const DATE: u8 = 10;
    pub(crate) const TIME: u8 = 11;
    pub(crate) const DATETIME: u8 = 12;
    pub(crate) const YEAR: u8 = 13;
    pub(crate) const NEWDATE: u8 = 14;
    pub(crate) const VARCHAR: u8 = 15;
    pub(crate) const BIT: u8 = 16;
    pub(crate) const TIMESTAMP2: u8 = 17;
    pub(crate) const DATETIME2: u8 = 18;
    pub(crate) const TIME2: u8 = 19;
    pub(crate) const VECTOR: u8 = 242;
    pub(crate) const JSON: u8 = 245;
    pub(crate) const NEWDECIMAL: u8 = 246;
    pub(crate) const ENUM: u8 = 247;
    pub(crate) const SET: u8 = 248;
    pub(crate) const TINY_BLOB: u8 = 249;
    pub(crate) const MEDIUM_BLOB: u8 = 250;
    pub(crate) const LONG_BLOB: u8 = 251;
    pub(crate) const BLOB: u8 = 252;
    pub(crate) const VAR_STRING: u8 = 253;
    pub(crate) const STRING: u8 = 254;
    pub(crate) const GEOMETRY: u8 = 255;
}
use types::*;

/// What a Table_map event says about one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnMeta {
    /// The type code; for columns that are logged as STRING the real one (STRING, ENUM or SET).
    pub type_code: u8,
    /// What the type needs beside its code: a length in bytes, a number of length bytes, digits of the
    /// fraction of a second, `precision << 8 | scale`, or the number of bits.
    pub meta: u16,
}

/// A Table_map event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMap {
    /// The id that the row events refer to.
    pub table_id: u64,
    /// The schema's name.
    pub schema: String,
    /// The table's name.
    pub table: String,
    /// The columns in the order of the rows.
    pub columns: Vec<ColumnMeta>,
    /// Whether each column may be NULL.
    pub nullable: Vec<bool>,
}

impl TableMap {
    /// Parses the body of an event of type [`TABLE_MAP`](super::codes::TABLE_MAP).
    pub fn parse(body: &[u8]) -> Result<TableMap> {
        TableMap::read(body).ok_or_else(|| corrupt("Table_map"))
    }

    /// The id and the names alone, for skipping tables that are of no interest at little cost.
    pub fn parse_names(body: &[u8]) -> Result<(u64, String, String)> {
        TableMap::read_names(&mut Reader::new(body)).ok_or_else(|| corrupt("Table_map"))
    }

    fn read_names(reader: &mut Reader<'_>) -> Option<(u64, String, String)> {
        let table_id = reader.uint(6)?;
        let _flags = reader.uint(2)?;
        Some((table_id, reader.name()?, reader.name()?))
    }

    fn read(body: &[u8]) -> Option<TableMap> {
        let mut reader = Reader::new(body);
        let (table_id, schema, table) = TableMap::read_names(&mut reader)?;
        let count = reader.count()?;
        let codes = reader.take(count)?;
        let meta_len = usize::try_from(reader.packed()?).ok()?;
        let mut meta = Reader::new(reader.take(meta_len)?);
        let mut columns = Vec::with_capacity(count);
        for code in codes {
            columns.push(column(*code, &mut meta)?);
        }
        let nullable = reader.bitmap(count)?;
        let nullable = (0..count).map(|bit| nullable.get(bit)).collect();
        // Optional metadata (signedness, names, character sets) follows; the schema knows better.
        meta.is_empty().then_some(TableMap { table_id, schema, table, columns, nullable })
    }
}

/// Reads the metadata of one column, whose form depends on the type (`Table_map_event` in
/// `rows_event.h` of the server has the table).
fn column(type_code: u8, meta: &mut Reader<'_>) -> Option<ColumnMeta> {
    let (type_code, meta) = match type_code {
        TINY | SHORT | LONG | LONGLONG | INT24 | NULL | DATE | NEWDATE | YEAR | TIMESTAMP
        | TIME | DATETIME => (type_code, 0),
        FLOAT | DOUBLE | TIMESTAMP2 | DATETIME2 | TIME2 | VECTOR | JSON | BLOB | GEOMETRY
        | TINY_BLOB | MEDIUM_BLOB | LONG_BLOB => (type_code, meta.uint(1)? as u16),
        VARCHAR | VAR_STRING => (type_code, meta.uint(2)? as u16),
        NEWDECIMAL => (type_code, (meta.uint(1)? << 8 | meta.uint(1)?) as u16),
        BIT => {
            let (bits, bytes) = (meta.uint(1)?, meta.uint(1)?);
            (type_code, (bytes * 8 + bits) as u16)
        }
        STRING | ENUM | SET => {
            let (code, len) = (meta.uint(1)?, meta.uint(1)?);
            // Two bits of a CHAR's length are kept, inverted, in two bits that every real type has.
            let high = (code & 0x30) ^ 0x30;
            let real = (code | 0x30) as u8;
            let len = len | high << 4;
            let known = matches!((real, high), (ENUM | SET, 0) | (STRING, _));
            known.then_some((real, len as u16))?
        }
        _ => return None,
    };
    Some(ColumnMeta { type_code, meta })
}
