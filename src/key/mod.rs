//! The key of a row as bytes: one value that identifies a row and sorts as the server's index does.
//!
//! A changed key reaches replank from two places, the binlog and SELECTs, and both must give the same
//! [`Key`]. Why they do:
//!
//! - Both are brought to the same [`PartValue`]s first, and only those are encoded. The binlog's
//!   omissions (trailing zero bytes of BINARY, signedness, YEAR 0) are repaired before that.
//! - Encoding is injective up to equality under the server's rules, and monotone: memcmp on
//!   [`Key::rank`] is the order of the index. Numbers and temporals have a fixed width, so parts can
//!   be joined; a variable part that is not the last is escaped and terminated, so no encoding is a
//!   prefix of another.
//! - Only the server knows how text compares. Its `WEIGHT_STRING` is asked without a padding length:
//!   `AS CHAR(n)` pads with the wrong weight in the latin7 collations and cuts off weights where one
//!   character has two (latin1_german2_ci). That trailing spaces do not count in PAD SPACE collations
//!   is expressed in the encoding of the weights instead (see the module `collation`).

mod collation;
mod compact;
mod corrections;
mod export;
mod rank;
mod statement;

use crate::error::{Error, Result};
use crate::sql::Ident;
use std::borrow::Cow;

pub use compact::Key;

/// The type of one key column, with what decoding and comparing it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartType {
    /// An integer of 1, 2, 3, 4 or 8 bytes.
    Int {
        /// The storage size.
        bytes: u8,
        /// UNSIGNED in the schema; the binlog event is not asked.
        unsigned: bool,
    },
    /// DECIMAL(precision, scale).
    Decimal {
        /// All digits, 1 to 65.
        precision: u8,
        /// The digits after the point, 0 to 30.
        scale: u8,
    },
    /// DATE.
    Date,
    /// DATETIME.
    DateTime {
        /// Digits of the fraction of a second, 0 to 6.
        fsp: u8,
    },
    /// TIMESTAMP, always as UTC.
    Timestamp {
        /// Digits of the fraction of a second, 0 to 6.
        fsp: u8,
    },
    /// TIME.
    Time {
        /// Digits of the fraction of a second, 0 to 6.
        fsp: u8,
    },
    /// YEAR: 0, or 1901 to 2155.
    Year,
    /// ENUM, as the member's number; 0 is the error value ''.
    Enum {
        /// How many members the column declares.
        members: u16,
    },
    /// SET, as its bits.
    Set {
        /// How many members the column declares, 1 to 64.
        members: u8,
    },
    /// BIT.
    Bit {
        /// The declared width, 1 to 64.
        bits: u8,
    },
    /// BINARY(len).
    Binary {
        /// The declared length in bytes.
        len: u32,
    },
    /// VARBINARY.
    VarBinary,
    /// CHAR or VARCHAR with a character set other than `binary`.
    Text {
        /// The column's character set.
        charset: String,
        /// The column's collation.
        collation: String,
        /// Whether information_schema.COLLATIONS calls the collation PAD SPACE.
        pad_space: bool,
        /// The declared length in characters.
        chars: u32,
        /// CHAR rather than VARCHAR.
        fixed: bool,
    },
}

/// One column of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart {
    /// The column's name.
    pub name: Ident,
    /// The column's position among the columns of a binlog row, from 0.
    pub ordinal: usize,
    /// The column's type.
    pub ty: PartType,
}

/// The columns of the key, in the order of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpec {
    /// At least one part.
    pub parts: Vec<KeyPart>,
}

/// The value of one key column as decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartValue<'a> {
    /// A signed integer.
    Int(i64),
    /// An unsigned integer, a YEAR, an ENUM's number, a SET's or a BIT's bits.
    UInt(u64),
    /// A decimal, or a temporal in the server's own notation (a TIMESTAMP in UTC).
    Text(String),
    /// The bytes of a string, in the column's character set.
    Bytes(Cow<'a, [u8]>),
}

impl PartValue<'_> {
    /// The same value without a borrow.
    pub fn into_owned(self) -> PartValue<'static> {
        match self {
            PartValue::Int(value) => PartValue::Int(value),
            PartValue::UInt(value) => PartValue::UInt(value),
            PartValue::Text(value) => PartValue::Text(value),
            PartValue::Bytes(value) => PartValue::Bytes(Cow::Owned(value.into_owned())),
        }
    }
}

/// A decoded key whose text parts have no weights yet.
pub type RawKey = Vec<PartValue<'static>>;

impl PartType {
    /// How many members the `COLUMN_TYPE` of an ENUM or SET (`enum('a','b')`) declares.
    pub fn count_members(column_type: &str) -> usize {
        // A quote inside a member is doubled, so it leaves and enters the quotes at once.
        let mut quoted = false;
        let commas = column_type.bytes().filter(|byte| {
            quoted ^= *byte == b'\'';
            *byte == b',' && !quoted
        });
        commas.count() + 1
    }

    /// Whether values of this type compare by a collation, so that the server has to be asked.
    pub fn is_text(&self) -> bool {
        matches!(self, PartType::Text { .. })
    }
}

impl KeySpec {
    /// The key made of `parts`, in the order of the index; at least one.
    pub fn new(parts: Vec<KeyPart>) -> KeySpec {
        KeySpec { parts }
    }

    /// Whether a key needs the server's weights before it can be compared.
    pub fn needs_weights(&self) -> bool {
        self.parts.iter().any(|part| part.ty.is_text())
    }

    /// The key with these values.
    ///
    /// Fails if the key has text parts, or if a value does not fit its column.
    pub fn key_from_values(&self, values: &[PartValue<'_>]) -> Result<Key> {
        self.key_from_values_in(values, &mut Vec::with_capacity(32))
    }

    /// The same, with a buffer that the caller keeps between calls.
    pub(crate) fn key_from_values_in(
        &self,
        values: &[PartValue<'_>],
        rank: &mut Vec<u8>,
    ) -> Result<Key> {
        self.check_width(values.len(), self.parts.len())?;
        rank.clear();
        for (index, (part, value)) in self.parts.iter().zip(values).enumerate() {
            rank::put(part, value, index + 1 == self.parts.len(), rank)?;
        }
        Ok(Key::new(rank, None))
    }

    /// The key with these values and the weights of its text parts, in order, as the statement of
    /// [`weights_sql`](Self::weights_sql) returned them.
    pub fn key_with_weights(&self, values: &RawKey, weights: Vec<Vec<u8>>) -> Result<Key> {
        self.check_width(values.len(), self.parts.len())?;
        let texts = self.parts.iter().filter(|part| part.ty.is_text()).count();
        self.check_width(weights.len(), texts)?;
        if texts == 0 {
            return self.key_from_values(values);
        }
        let mut weights = weights.into_iter();
        let (mut ranks, mut raw, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (part, value)) in self.parts.iter().zip(values).enumerate() {
            let last = index + 1 == self.parts.len();
            scratch.clear();
            if let PartType::Text { charset, collation, pad_space, .. } = &part.ty {
                let text = rank::bytes_of(part, value)?;
                let weights = weights.next().unwrap_or_default();
                let weights =
                    corrections::corrected(collation, text, &weights).ok_or_else(|| {
                        Error::failed(format!(
                            "key column {}: the server's weights do not tell {} from other texts",
                            part.name,
                            crate::sql::hex(text)
                        ))
                    })?;
                collation::put(charset, collation, *pad_space, &weights, last, &mut ranks)?;
                scratch.extend_from_slice(text);
            } else {
                rank::put(part, value, last, &mut ranks)?;
                rank::put(part, value, true, &mut scratch)?;
            }
            let len = u16::try_from(scratch.len()).map_err(|_| {
                Error::failed(format!("key column {}: value of {} bytes", part.name, scratch.len()))
            })?;
            raw.extend_from_slice(&len.to_be_bytes());
            raw.extend_from_slice(&scratch);
        }
        Ok(Key::new(&ranks, Some(&raw)))
    }

    /// The values that `key` was made of.
    ///
    /// Fails if the key belongs to another specification.
    pub fn values(&self, key: &Key) -> Result<RawKey> {
        let foreign = || Error::failed("a row key does not have the columns of this table's key");
        let mut values = Vec::with_capacity(self.parts.len());
        if let Some(mut raw) = key.raw() {
            for part in &self.parts {
                let (len, rest) = raw.split_first_chunk::<2>().ok_or_else(foreign)?;
                let len = usize::from(u16::from_be_bytes(*len));
                let (mut bytes, rest) = rest.split_at_checked(len).ok_or_else(foreign)?;
                raw = rest;
                values.push(match part.ty {
                    PartType::Text { .. } => PartValue::Bytes(Cow::Owned(bytes.to_vec())),
                    _ => rank::take(&part.ty, true, &mut bytes).ok_or_else(foreign)?,
                });
            }
            return if raw.is_empty() { Ok(values) } else { Err(foreign()) };
        }
        let mut rest = key.rank();
        for (index, part) in self.parts.iter().enumerate() {
            let last = index + 1 == self.parts.len();
            values.push(rank::take(&part.ty, last, &mut rest).ok_or_else(foreign)?);
        }
        if rest.is_empty() { Ok(values) } else { Err(foreign()) }
    }

    fn check_width(&self, got: usize, expected: usize) -> Result<()> {
        if got == expected {
            return Ok(());
        }
        Err(Error::failed(format!(
            "a row key came with {got} values where {expected} were expected"
        )))
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A specification with columns `a`, `b`, … of the given types at ordinals 0, 1, ….
    pub(crate) fn spec(types: &[PartType]) -> KeySpec {
        let part = |(ordinal, ty): (usize, &PartType)| KeyPart {
            name: Ident::new(char::from(b'a' + ordinal as u8)),
            ordinal,
            ty: ty.clone(),
        };
        KeySpec { parts: types.iter().enumerate().map(part).collect() }
    }

    pub(crate) fn bytes(value: &[u8]) -> PartValue<'static> {
        PartValue::Bytes(Cow::Owned(value.to_vec()))
    }

    pub(crate) fn text(value: &str) -> PartValue<'static> {
        PartValue::Text(value.to_owned())
    }

    pub(crate) fn general_ci() -> PartType {
        PartType::Text {
            charset: "utf8mb4".into(),
            collation: "utf8mb4_general_ci".into(),
            pad_space: true,
            chars: 10,
            fixed: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;

    const INT: PartType = PartType::Int { bytes: 4, unsigned: false };

    #[test]
    fn only_text_needs_weights_and_only_the_last_part_has_no_end() {
        assert!(!spec(&[INT, PartType::VarBinary]).needs_weights());
        assert!(spec(&[INT, general_ci()]).needs_weights());
        let weights = || vec![b"\0A".to_vec()];
        let first = spec(&[PartType::VarBinary, general_ci()]);
        let key = first.key_with_weights(&vec![bytes(b"\0"), bytes(b"a")], weights()).unwrap();
        assert_eq!(key.rank()[..4], [0, 0xFF, 0, 0], "escaped, and ended");
        let last = spec(&[general_ci(), PartType::VarBinary]);
        let key = last.key_with_weights(&vec![bytes(b"a"), bytes(b"\x07\0")], weights()).unwrap();
        assert!(key.rank().ends_with(&[7, 0]), "as it is");
        assert!(!key.rank().ends_with(&[0, 0]));
    }

    #[test]
    fn equal_weights_are_one_key_though_the_bytes_differ() {
        let spec = spec(&[INT, general_ci()]);
        let key = |text: &[u8], weights: &[u8]| {
            spec.key_with_weights(&vec![PartValue::Int(1), bytes(text)], vec![weights.to_vec()])
                .unwrap()
        };
        let (lower, upper) = (key(b"a", b"\0A"), key(b"A ", b"\0A\0 "));
        assert_eq!(lower, upper);
        assert_eq!(spec.values(&upper).unwrap(), vec![PartValue::Int(1), bytes(b"A ")]);
        assert!(key(b"a\t", b"\0A\0\t") < lower, "TAB sorts before the implied space");
        assert!(key(b"a  b", b"\0A\0 \0 \0B") < key(b"a b", b"\0A\0 \0B"));
    }

    #[test]
    fn a_key_of_the_wrong_width_is_refused() {
        let spec = spec(&[INT, INT]);
        assert!(spec.key_from_values(&[PartValue::Int(1)]).is_err());
        assert!(spec.key_with_weights(&vec![PartValue::Int(1)], vec![]).is_err());
        let narrow = self::testing::spec(&[INT]).key_from_values(&[PartValue::Int(1)]).unwrap();
        assert!(spec.values(&narrow).is_err());
    }

    #[test]
    fn members_are_counted_outside_of_their_quotes() {
        assert_eq!(PartType::count_members("enum('a','b,''c','')"), 3);
        assert_eq!(PartType::count_members("set('x')"), 1);
    }

    #[test]
    fn a_text_part_without_weights_is_refused() {
        assert!(spec(&[general_ci()]).key_from_values(&[bytes(b"a")]).is_err());
    }
}
