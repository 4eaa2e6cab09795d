//! Keys from SELECTs: the list that exports them, and the row that comes back.

use super::statement::weight_string;
use super::{Key, KeyPart, KeySpec, PartType, PartValue};
use crate::error::{Error, Result};
use mysql_async::Value;
use std::borrow::Cow;

impl KeySpec {
    /// The SELECT list that [`from_row`](Self::from_row) reads.
    ///
    /// ENUM and SET are cast rather than added to 0, which makes a DOUBLE of them and loses bits of
    /// SETs with more than 53 members. A cast of text to BINARY gives the bytes in the column's own
    /// character set, whatever the connection's is.
    pub fn export_list(&self) -> String {
        let mut columns = Vec::with_capacity(self.export_width());
        for part in &self.parts {
            let name = &part.name;
            match &part.ty {
                PartType::Int { .. }
                | PartType::Year
                | PartType::Binary { .. }
                | PartType::VarBinary => columns.push(name.to_string()),
                PartType::Enum { .. } | PartType::Set { .. } | PartType::Bit { .. } => {
                    columns.push(format!("CAST({name} AS UNSIGNED)"));
                }
                PartType::Decimal { .. }
                | PartType::Date
                | PartType::DateTime { .. }
                | PartType::Timestamp { .. }
                | PartType::Time { .. } => columns.push(format!("CAST({name} AS CHAR)")),
                PartType::Text { collation, pad_space, .. } => {
                    columns.push(format!("CAST({name} AS BINARY)"));
                    columns.push(weight_string(&name.to_string(), collation, *pad_space));
                }
            }
        }
        columns.join(", ")
    }

    /// How many columns [`export_list`](Self::export_list) has.
    pub fn export_width(&self) -> usize {
        self.parts.iter().map(|part| if part.ty.is_text() { 2 } else { 1 }).sum()
    }

    /// The key in a row that was selected with [`export_list`](Self::export_list).
    ///
    /// Fails if a value is NULL or not of its column's type.
    pub fn from_row(&self, row: &[Value]) -> Result<Key> {
        self.check_width(row.len(), self.export_width())?;
        let mut columns = row.iter();
        let mut next = || columns.next().unwrap_or(&Value::NULL);
        let mut values = Vec::with_capacity(self.parts.len());
        let mut weights = Vec::new();
        for part in &self.parts {
            values.push(parse(part, next())?);
            if part.ty.is_text() {
                match next() {
                    Value::Bytes(bytes) => weights.push(bytes.clone()),
                    _ => return Err(unreadable(part)),
                }
            }
        }
        // Without text parts there are no weights, and nothing has to be kept beside the rank.
        self.key_with_weights(&values, weights)
    }
}

fn unreadable(part: &KeyPart) -> Error {
    // The value itself stays out of the message: it may be NULL, or anything.
    Error::failed(format!("key column {}: the server returned no value of its type", part.name))
        .remedy("The table's structure may have changed during the migration; start again.")
}

fn parse(part: &KeyPart, value: &Value) -> Result<PartValue<'static>> {
    let parsed = match (&part.ty, value) {
        (PartType::Int { unsigned: false, .. }, Value::Int(value)) => Some(PartValue::Int(*value)),
        (PartType::Int { unsigned: false, .. }, Value::UInt(value)) => {
            i64::try_from(*value).ok().map(PartValue::Int)
        }
        (PartType::Int { unsigned: false, .. }, Value::Bytes(bytes)) => {
            number(bytes).map(PartValue::Int)
        }
        (
            PartType::Int { .. }
            | PartType::Year
            | PartType::Enum { .. }
            | PartType::Set { .. }
            | PartType::Bit { .. },
            value,
        ) => match value {
            Value::UInt(value) => Some(*value),
            Value::Int(value) => u64::try_from(*value).ok(),
            Value::Bytes(bytes) => number(bytes),
            _ => None,
        }
        .map(PartValue::UInt),
        (
            PartType::Binary { .. } | PartType::VarBinary | PartType::Text { .. },
            Value::Bytes(bytes),
        ) => Some(PartValue::Bytes(Cow::Owned(bytes.clone()))),
        (_, Value::Bytes(bytes)) => String::from_utf8(bytes.clone()).ok().map(PartValue::Text),
        _ => None,
    };
    parsed.ok_or_else(|| unreadable(part))
}

fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_row_of_the_text_protocol_gives_the_same_key_as_decoded_values() {
        let spec = spec(&[
            PartType::Int { bytes: 3, unsigned: false },
            PartType::Set { members: 64 },
            PartType::Decimal { precision: 5, scale: 2 },
            PartType::Time { fsp: 0 },
        ]);
        let row = ["-8388608", "9223372036854775809", "-001.50", "-838:59:59"]
            .map(|text| Value::Bytes(text.into()));
        let values = [
            PartValue::Int(-8_388_608),
            PartValue::UInt(9_223_372_036_854_775_809),
            text("-1.50"),
            text("-838:59:59"),
        ];
        assert_eq!(spec.from_row(&row).unwrap(), spec.key_from_values(&values).unwrap());
    }

    #[test]
    fn a_row_of_the_binary_protocol_gives_the_same_key_as_decoded_values() {
        let int = |unsigned| PartType::Int { bytes: 4, unsigned };
        let spec = spec(&[int(false), int(false), int(true)]);
        let row = [Value::Int(-5), Value::UInt(7), Value::Int(9)];
        let values = [PartValue::Int(-5), PartValue::Int(7), PartValue::UInt(9)];
        assert_eq!(spec.from_row(&row).unwrap(), spec.key_from_values(&values).unwrap());
    }

    #[test]
    fn text_is_exported_as_bytes_and_weights() {
        let spec = spec(&[general_ci(), PartType::Enum { members: 3 }]);
        assert_eq!(
            spec.export_list(),
            "CAST(`a` AS BINARY), WEIGHT_STRING(`a`), CAST(`b` AS UNSIGNED)"
        );
        assert_eq!(spec.export_width(), 3);
        let row = [Value::Bytes(b"a".into()), Value::Bytes(b"\0A".into()), Value::UInt(2)];
        let key = spec.from_row(&row).unwrap();
        assert_eq!(spec.values(&key).unwrap(), vec![bytes(b"a"), PartValue::UInt(2)]);
    }

    #[test]
    fn null_and_rows_of_another_width_are_refused() {
        let spec = spec(&[PartType::Int { bytes: 8, unsigned: true }]);
        assert!(spec.from_row(&[Value::NULL]).is_err());
        assert!(spec.from_row(&[]).is_err());
        assert!(spec.from_row(&[Value::Int(-1)]).is_err());
    }
}
