//! Where the key is in the rows of one table: made once per Table_map event, used for all its rows.

use super::reader::Reader;
use super::table_map::types::*;
use super::table_map::{ColumnMeta, TableMap};
use crate::error::{Error, Result};
use crate::key::{KeySpec, PartType};
use crate::sql::TableName;

/// How long a value of a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Fixed(usize),
    /// The value's length comes first, in this many bytes.
    Prefixed(usize),
}

impl Length {
    /// Takes one value off the reader, without its length.
    #[inline]
    pub(super) fn take<'a>(self, reader: &mut Reader<'a>) -> Option<&'a [u8]> {
        match self {
            Length::Fixed(len) => reader.take(len),
            Length::Prefixed(bytes) => {
                let len = usize::try_from(reader.uint(bytes)?).ok()?;
                reader.take(len)
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnLayout {
    pub(super) length: Length,
    /// The part of the key that this column is.
    pub(super) part: Option<usize>,
}

/// A [`KeySpec`] applied to a [`TableMap`].
#[derive(Debug, Clone)]
pub struct KeyLayout {
    pub(super) table_id: u64,
    pub(super) table: TableName,
    pub(super) spec: KeySpec,
    pub(super) columns: Vec<ColumnLayout>,
    /// How many columns are JSON: the after image of a partial update has a bit for each.
    pub(super) json_columns: usize,
}

impl KeyLayout {
    /// Applies `spec` to the rows that `map` announces. `expected_columns` is how many columns a row
    /// had when the table's structure was read.
    ///
    /// Fails if the number of columns or the type of a key column differs: the structure has changed.
    pub fn new(map: &TableMap, spec: &KeySpec, expected_columns: usize) -> Result<KeyLayout> {
        let table = TableName::new(&*map.schema, &*map.table);
        if map.columns.len() != expected_columns {
            let count = map.columns.len();
            return Err(changed(format!(
                "{table}: a row event has {count} columns where {expected_columns} were expected"
            )));
        }
        let mut columns = Vec::with_capacity(map.columns.len());
        for (ordinal, meta) in map.columns.iter().enumerate() {
            let length = length(*meta).ok_or_else(|| {
                Error::failed(format!(
                    "{table}: column {} of a row event has the unknown type {}",
                    ordinal + 1,
                    meta.type_code
                ))
            })?;
            columns.push(ColumnLayout { length, part: None });
        }
        for (index, part) in spec.parts.iter().enumerate() {
            let (Some(column), Some(meta)) =
                (columns.get_mut(part.ordinal), map.columns.get(part.ordinal))
            else {
                return Err(changed(format!("{table}: row events have no column {}", part.name)));
            };
            if !fits(&part.ty, *meta) {
                return Err(changed(format!(
                    "{table}: key column {} is {:?}, but row events have type {} ({})",
                    part.name, part.ty, meta.type_code, meta.meta
                )));
            }
            column.part = Some(index);
        }
        Ok(KeyLayout {
            table_id: map.table_id,
            table,
            spec: spec.clone(),
            columns,
            json_columns: map.columns.iter().filter(|meta| meta.type_code == JSON).count(),
        })
    }
}

pub(super) fn changed(what: String) -> Error {
    Error::failed(what).remedy("The table's structure changed during the migration; start again.")
}

/// The length of a value in a row image; `None` for types that no stored column has.
fn length(column: ColumnMeta) -> Option<Length> {
    let meta = usize::from(column.meta);
    Some(match column.type_code {
        TINY | YEAR => Length::Fixed(1),
        SHORT => Length::Fixed(2),
        INT24 | DATE | NEWDATE | TIME => Length::Fixed(3),
        LONG | FLOAT | TIMESTAMP => Length::Fixed(4),
        LONGLONG | DOUBLE | DATETIME => Length::Fixed(8),
        NULL => Length::Fixed(0),
        TIMESTAMP2 => Length::Fixed(4 + fraction_bytes(meta)?),
        DATETIME2 => Length::Fixed(5 + fraction_bytes(meta)?),
        TIME2 => Length::Fixed(3 + fraction_bytes(meta)?),
        NEWDECIMAL => {
            let (precision, scale) = (meta >> 8, meta & 0xFF);
            Length::Fixed(decimal_bytes(precision.checked_sub(scale)?) + decimal_bytes(scale))
        }
        BIT => Length::Fixed(meta.div_ceil(8)),
        ENUM | SET => match meta {
            1..=8 => Length::Fixed(meta),
            _ => return None,
        },
        VARCHAR | VAR_STRING | STRING => Length::Prefixed(if meta > 255 { 2 } else { 1 }),
        BLOB | JSON | GEOMETRY | VECTOR | TINY_BLOB | MEDIUM_BLOB | LONG_BLOB => match meta {
            1..=4 => Length::Prefixed(meta),
            _ => return None,
        },
        _ => return None,
    })
}

fn fraction_bytes(fsp: usize) -> Option<usize> {
    (fsp <= 6).then_some(fsp.div_ceil(2))
}

/// Nine digits take four bytes; fewer take as many as they need.
pub(super) fn decimal_bytes(digits: usize) -> usize {
    const LEFTOVER: [usize; 9] = [0, 1, 1, 2, 2, 3, 3, 4, 4];
    digits / 9 * 4 + LEFTOVER[digits % 9]
}

/// Whether a column of the binlog can be the key column that the schema describes.
fn fits(ty: &PartType, column: ColumnMeta) -> bool {
    let meta = column.meta;
    match (ty, column.type_code) {
        (PartType::Int { bytes, .. }, code) => {
            matches!((bytes, code), (1, TINY) | (2, SHORT) | (3, INT24) | (4, LONG) | (8, LONGLONG))
        }
        (PartType::Decimal { precision, scale }, NEWDECIMAL) => {
            meta == u16::from_be_bytes([*precision, *scale])
        }
        (PartType::Date, DATE | NEWDATE) | (PartType::Year, YEAR) => true,
        (PartType::DateTime { fsp }, DATETIME2)
        | (PartType::Timestamp { fsp }, TIMESTAMP2)
        | (PartType::Time { fsp }, TIME2) => meta == u16::from(*fsp),
        (PartType::Enum { .. }, ENUM) | (PartType::Set { .. }, SET) => true,
        (PartType::Bit { bits }, BIT) => meta == u16::from(*bits),
        (PartType::Binary { len }, STRING) => u32::from(meta) == *len,
        (PartType::VarBinary, VARCHAR | VAR_STRING) => true,
        (PartType::Text { fixed: true, .. }, STRING) => true,
        (PartType::Text { fixed: false, .. }, VARCHAR | VAR_STRING) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_under_the_type_that_its_column_has() {
        let text = |fixed| PartType::Text {
            charset: "latin1".into(),
            collation: "latin1_bin".into(),
            pad_space: true,
            chars: 9,
            fixed,
        };
        let of = |type_code| ColumnMeta { type_code, meta: 9 };
        assert!(fits(&text(false), of(VARCHAR)) && fits(&text(false), of(VAR_STRING)));
        assert!(fits(&text(true), of(STRING)) && !fits(&text(true), of(VARCHAR)));
        assert!(!fits(&text(false), of(STRING)) && !fits(&text(false), of(BLOB)));
    }

    #[test]
    fn lengths_follow_the_types() {
        let of = |type_code, meta| length(ColumnMeta { type_code, meta });
        assert_eq!(of(NEWDECIMAL, 10 << 8 | 3), Some(Length::Fixed(4 + 2)));
        assert_eq!(of(NEWDECIMAL, 65 << 8 | 30), Some(Length::Fixed(16 + 14)));
        assert_eq!(of(TIME2, 5), Some(Length::Fixed(6)));
        for (codes, bytes) in [
            (&[TINY, YEAR][..], 1),
            (&[SHORT], 2),
            (&[INT24, DATE, NEWDATE, TIME], 3),
            (&[LONG, FLOAT, TIMESTAMP], 4),
            (&[LONGLONG, DOUBLE, DATETIME], 8),
            (&[NULL], 0),
        ] {
            for code in codes {
                assert_eq!(of(*code, 0), Some(Length::Fixed(bytes)), "type {code}");
            }
        }
        assert_eq!(of(BIT, 9), Some(Length::Fixed(2)));
        assert_eq!(of(STRING, 255), Some(Length::Prefixed(1)));
        assert_eq!(of(STRING, 1020), Some(Length::Prefixed(2)));
        assert_eq!(of(VECTOR, 4), Some(Length::Prefixed(4)));
        let nonsense = [(20, 0), (243, 0), (BLOB, 5), (TIME2, 7), (SET, 9), (NEWDECIMAL, 1)];
        for (type_code, meta) in nonsense {
            assert_eq!(of(type_code, meta), None, "type {type_code} with {meta}");
        }
    }
}
