//! The key in statements: literals, predicates that keep the index usable, and order.
//!
//! Found on MySQL 9.7.4 by EXPLAIN:
//!
//! - A row constructor in IN uses the index for every type, but `(a, b) > (x, y)` never does, so
//!   [`KeySpec::after`] and [`KeySpec::up_to`] are written out with AND and OR.
//! - A row constructor with an ENUM or SET finds nothing as soon as IN has a second row
//!   (`(e, i) IN ((1, 1), (2, 2))` with e an ENUM is false for both), though it is right with one. So
//!   such keys are written out with AND and OR as well.
//! - `<` and `>` on ENUM and SET columns never use an index, neither with numbers nor with strings
//!   (and with strings they compare alphabetically). With few members, the values on one side are
//!   listed instead; IN with numbers does use the index.
//! - A SET is a signed number to `=`, IN, `<` and `>`: a literal above 2^63 never finds a row whose
//!   64th member is set, its two's complement does. Only a cast to UNSIGNED orders such values right.
//! - A literal in the column's own character set leaves the column alone; another one may convert it.

use super::{Key, KeyPart, KeySpec, PartType, PartValue, RawKey, rank};
use crate::error::Result;
use crate::sql;

/// The most values of an ENUM or SET that are listed where a comparison would scan the table.
const LISTED: u64 = 1024;

impl KeySpec {
    /// The key columns, quoted and separated by commas.
    pub fn column_list(&self) -> String {
        sql::list(self.parts.iter().map(|part| &part.name))
    }

    /// The ORDER BY list that sorts as [`Key`] does.
    pub fn order_by(&self) -> String {
        self.column_list()
    }

    /// The key as a row constructor, or bare if it has one part.
    pub fn literal(&self, key: &Key) -> Result<String> {
        let literals = self.literals(key)?;
        Ok(if literals.len() == 1 {
            literals.concat()
        } else {
            format!("({})", literals.join(", "))
        })
    }

    /// The predicate that is true for the rows with these keys; false for an empty list.
    pub fn in_list(&self, keys: &[Key]) -> Result<String> {
        if keys.is_empty() {
            return Ok("FALSE".to_owned());
        }
        if self.parts.len() > 1 && self.parts.iter().any(|part| is_enumerated(&part.ty)) {
            return self.any_of(keys);
        }
        let mut literals = Vec::with_capacity(keys.len());
        for key in keys {
            literals.push(self.literal(key)?);
        }
        let columns = self.column_list();
        let columns = if self.parts.len() == 1 { columns } else { format!("({columns})") };
        Ok(format!("{columns} IN ({})", literals.join(", ")))
    }

    fn any_of(&self, keys: &[Key]) -> Result<String> {
        let mut alternatives = Vec::with_capacity(keys.len());
        for key in keys {
            let literals = self.literals(key)?;
            let parts = self.parts.iter().zip(&literals);
            let equal: Vec<_> =
                parts.map(|(part, literal)| format!("{} = {literal}", part.name)).collect();
            alternatives.push(equal.join(" AND "));
        }
        Ok(format!("(({}))", alternatives.join(") OR (")))
    }

    /// The predicate that is true for the rows behind `key` in the order of the key.
    pub fn after(&self, key: &Key) -> Result<String> {
        self.side(key, Side::Above)
    }

    /// The predicate that is true for the row of `key` and those before it in the order of the key.
    pub fn up_to(&self, key: &Key) -> Result<String> {
        self.side(key, Side::UpTo)
    }

    /// One alternative per part: the parts before it equal, and it on the asked side.
    fn side(&self, key: &Key, side: Side) -> Result<String> {
        let values = self.values(key)?;
        let literals = self.literals(key)?;
        let mut equal = String::new();
        let mut alternatives = Vec::with_capacity(self.parts.len());
        for (index, (part, value)) in self.parts.iter().zip(&values).enumerate() {
            let literal = &literals[index];
            let side = match side {
                Side::UpTo if index + 1 < self.parts.len() => Side::Below,
                side => side,
            };
            alternatives.push(format!("{equal}{}", compare(part, value, literal, side)));
            equal.push_str(&format!("{} = {literal} AND ", part.name));
        }
        Ok(match alternatives.len() {
            1 => alternatives.concat(),
            _ => format!("(({}))", alternatives.join(") OR (")),
        })
    }

    /// The key for a message: `id=5, name='abc'`.
    pub fn describe(&self, key: &Key) -> String {
        match self.values(key) {
            Ok(values) => self.describe_values(&values),
            Err(_) => format!("{key:?}"),
        }
    }

    /// Decoded values for a message: `id=5, name='abc'`.
    pub fn describe_values(&self, values: &RawKey) -> String {
        let named = self.parts.iter().zip(values);
        let described =
            named.map(|(part, value)| format!("{}={}", part.name.as_str(), shown(value)));
        described.collect::<Vec<_>>().join(", ")
    }

    /// One statement that returns a row for each key, with the weights of each text part in order.
    ///
    /// The rows come in the order of `keys`: VALUES without ORDER BY keeps it. `keys` must not be empty.
    pub fn weights_sql(&self, keys: &[RawKey]) -> Result<String> {
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            let mut columns = Vec::new();
            for (part, value) in self.parts.iter().zip(key) {
                if let PartType::Text { charset, collation, pad_space, .. } = &part.ty {
                    let bytes = sql::hex(rank::bytes_of(part, value)?);
                    let literal = format!("_{charset} {bytes} COLLATE {collation}");
                    columns.push(weight_string(&literal, collation, *pad_space));
                }
            }
            rows.push(format!("ROW({})", columns.join(", ")));
        }
        Ok(format!("VALUES {}", rows.join(", ")))
    }

    fn literals(&self, key: &Key) -> Result<Vec<String>> {
        let values = self.values(key)?;
        Ok(self.parts.iter().zip(&values).map(|(part, value)| literal(&part.ty, value)).collect())
    }
}

/// The expression for the weights of a text expression; the length is left to the encoding of ranks.
pub(super) fn weight_string(expr: &str, collation: &str, pad_space: bool) -> String {
    if pad_space && super::collation::is_multi_pass(collation) {
        format!("WEIGHT_STRING(TRIM(TRAILING ' ' FROM {expr}))")
    } else {
        format!("WEIGHT_STRING({expr})")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Below,
    UpTo,
    Above,
}

fn compare(part: &KeyPart, value: &PartValue<'_>, literal: &str, side: Side) -> String {
    let last = match part.ty {
        PartType::Enum { members } => Some(u64::from(members)),
        PartType::Set { members } => 1u64.checked_shl(u32::from(members)).map(|count| count - 1),
        _ => None,
    };
    if let (Some(last), PartValue::UInt(value)) = (last.filter(|last| *last < LISTED), value) {
        let values = match side {
            Side::Below => 0..*value,
            Side::UpTo => 0..value + 1,
            Side::Above => value + 1..last + 1,
        };
        if values.is_empty() {
            return "FALSE".to_owned();
        }
        return format!("{} IN ({})", part.name, sql::list(values));
    }
    let operator = match side {
        Side::Below => "<",
        Side::UpTo => "<=",
        Side::Above => ">",
    };
    if is_enumerated(&part.ty) {
        // Bare, a SET compares as a signed number: its last member would sort first.
        return format!("CAST({} AS UNSIGNED) {operator} {}", part.name, shown(value));
    }
    format!("{} {operator} {literal}", part.name)
}

fn is_enumerated(ty: &PartType) -> bool {
    matches!(ty, PartType::Enum { .. } | PartType::Set { .. })
}

fn literal(ty: &PartType, value: &PartValue<'_>) -> String {
    match (ty, value) {
        (_, PartValue::Int(value)) => value.to_string(),
        (PartType::Set { .. }, PartValue::UInt(bits)) => (*bits as i64).to_string(),
        (_, PartValue::UInt(value)) => value.to_string(),
        (PartType::Decimal { .. }, PartValue::Text(value)) => value.clone(),
        // Digits and their separators, from a decoded rank: nothing in it can end the quotes.
        (_, PartValue::Text(value)) => format!("'{value}'"),
        (PartType::Text { charset, .. }, PartValue::Bytes(bytes)) => {
            format!("_{charset} {}", sql::hex(bytes))
        }
        (_, PartValue::Bytes(bytes)) => format!("_binary {}", sql::hex(bytes)),
    }
}

fn shown(value: &PartValue<'_>) -> String {
    match value {
        PartValue::Int(value) => value.to_string(),
        PartValue::UInt(value) => value.to_string(),
        PartValue::Text(value) => format!("'{value}'"),
        PartValue::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(char::is_control) => {
                format!("'{}'", text.replace('\'', "''"))
            }
            _ => sql::hex(bytes),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const INT: PartType = PartType::Int { bytes: 4, unsigned: false };

    fn key(spec: &KeySpec, values: Vec<PartValue<'static>>) -> Key {
        let texts = spec.parts.iter().filter(|part| part.ty.is_text()).count();
        spec.key_with_weights(&values, vec![b"\0A".to_vec(); texts]).unwrap()
    }

    #[test]
    fn a_key_of_one_part_is_bare_and_a_composite_one_a_row() {
        let one = spec(&[INT]);
        let five = key(&one, vec![PartValue::Int(-5)]);
        assert_eq!(one.literal(&five).unwrap(), "-5");
        assert_eq!(one.in_list(&[five.clone(), five.clone()]).unwrap(), "`a` IN (-5, -5)");
        assert_eq!(one.after(&five).unwrap(), "`a` > -5");
        let two = spec(&[INT, general_ci()]);
        let both = key(&two, vec![PartValue::Int(1), bytes(b"a")]);
        assert_eq!(two.literal(&both).unwrap(), "(1, _utf8mb4 X'61')");
        assert_eq!(two.in_list(&[both]).unwrap(), "(`a`, `b`) IN ((1, _utf8mb4 X'61'))");
    }

    #[test]
    fn sides_of_a_composite_key_are_written_out() {
        let spec = spec(&[INT, INT, INT]);
        let key = key(&spec, [1, 2, 3].map(PartValue::Int).to_vec());
        assert_eq!(
            spec.after(&key).unwrap(),
            "((`a` > 1) OR (`a` = 1 AND `b` > 2) OR (`a` = 1 AND `b` = 2 AND `c` > 3))"
        );
        assert_eq!(
            spec.up_to(&key).unwrap(),
            "((`a` < 1) OR (`a` = 1 AND `b` < 2) OR (`a` = 1 AND `b` = 2 AND `c` <= 3))"
        );
    }

    #[test]
    fn a_side_of_an_enum_is_listed() {
        let spec = spec(&[PartType::Enum { members: 4 }]);
        let at = |value| key(&spec, vec![PartValue::UInt(value)]);
        assert_eq!(spec.after(&at(2)).unwrap(), "`a` IN (3, 4)");
        assert_eq!(spec.up_to(&at(2)).unwrap(), "`a` IN (0, 1, 2)");
        assert_eq!(spec.after(&at(4)).unwrap(), "FALSE");
        let wide = self::spec(&[PartType::Set { members: 64 }]);
        let last = key(&wide, vec![PartValue::UInt(1 << 63)]);
        let after = wide.after(&last).unwrap();
        assert_eq!(after, "CAST(`a` AS UNSIGNED) > 9223372036854775808");
        assert_eq!(wide.literal(&last).unwrap(), "-9223372036854775808");
    }

    #[test]
    fn composite_keys_with_an_enum_are_not_written_as_rows() {
        let spec = spec(&[PartType::Enum { members: 4 }, INT]);
        let at = |e, i| key(&spec, vec![PartValue::UInt(e), PartValue::Int(i)]);
        assert_eq!(
            spec.in_list(&[at(1, 7), at(2, -8)]).unwrap(),
            "((`a` = 1 AND `b` = 7) OR (`a` = 2 AND `b` = -8))"
        );
    }

    #[test]
    fn few_members_are_listed_and_many_are_cast() {
        let at = |spec: &KeySpec, value| key(spec, vec![PartValue::UInt(value)]);
        let set = spec(&[PartType::Set { members: 2 }]);
        assert_eq!(set.after(&at(&set, 1)).unwrap(), "`a` IN (2, 3)");
        assert_eq!(set.after(&at(&set, 3)).unwrap(), "FALSE");
        assert_eq!(set.in_list(&[at(&set, 1), at(&set, 2)]).unwrap(), "`a` IN (1, 2)");
        let many = |members| spec(&[PartType::Enum { members }]);
        let (listed, cast) = (many(1023), many(1024));
        assert!(listed.after(&at(&listed, 1022)).unwrap().starts_with("`a` IN ("));
        assert!(cast.after(&at(&cast, 1022)).unwrap().starts_with("CAST("));
        assert_eq!(spec(&[INT, INT]).order_by(), "`a`, `b`");
    }

    #[test]
    fn an_empty_list_matches_nothing() {
        assert_eq!(spec(&[INT]).in_list(&[]).unwrap(), "FALSE");
    }

    #[test]
    fn a_message_shows_text_as_text_and_the_rest_as_bytes() {
        let spec = spec(&[INT, general_ci(), PartType::VarBinary]);
        let key = key(&spec, vec![PartValue::Int(5), bytes(b"it's"), bytes(b"\xFF\0")]);
        assert_eq!(spec.describe(&key), "a=5, b='it''s', c=X'FF00'");
        let control = self::key(&spec, vec![PartValue::Int(5), bytes(b"a\nb"), bytes(b"")]);
        assert_eq!(spec.describe(&control), "a=5, b=X'610A62', c=''");
    }

    #[test]
    fn weights_are_asked_for_text_parts_alone() {
        let spec = spec(&[INT, general_ci()]);
        let keys = [vec![PartValue::Int(1), bytes(b"a")], vec![PartValue::Int(2), bytes(b"")]];
        assert_eq!(
            spec.weights_sql(&keys).unwrap(),
            "VALUES ROW(WEIGHT_STRING(_utf8mb4 X'61' COLLATE utf8mb4_general_ci)), \
             ROW(WEIGHT_STRING(_utf8mb4 X'' COLLATE utf8mb4_general_ci))"
        );
    }
}
