//! Quoted identifiers and literals: the only way a name or a value gets into a statement.
//!
//! A name is wrapped in backticks with inner backticks doubled (MySQL manual, "Schema Object
//! Names"), which is right in every `sql_mode`, `ANSI_QUOTES` included. A value that is not bound is
//! written as a hexadecimal literal, which no `sql_mode` and no character set can reinterpret.

use std::fmt;

/// The longest identifier that MySQL accepts, in characters.
pub const MAX_IDENT_CHARS: usize = 64;

/// One identifier: a column, index, table or schema name. Displays quoted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ident(String);

impl Ident {
    /// Wraps a raw name.
    pub fn new(name: impl Into<String>) -> Self {
        Ident(name.into())
    }

    /// The raw name, unquoted, for comparisons and for bound parameters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0.replace('`', "``"))
    }
}

/// A table with its schema. Displays as `` `schema`.`table` ``.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The schema (database) that holds the table.
    pub schema: Ident,
    /// The table itself.
    pub table: Ident,
}

impl TableName {
    /// Joins raw names.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        TableName { schema: Ident::new(schema), table: Ident::new(table) }
    }

    /// Another table of the same schema.
    pub fn sibling(&self, table: impl Into<String>) -> Self {
        TableName { schema: self.schema.clone(), table: Ident::new(table) }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// A byte string as `X'…'`.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut out = String::with_capacity(bytes.len() * 2 + 3);
    out.push_str("X'");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02X}");
    }
    out.push('\'');
    out
}

/// A string literal in utf8mb4 that is safe in every `sql_mode`.
pub fn text(value: &str) -> String {
    if value.is_empty() { "''".to_owned() } else { format!("_utf8mb4 {}", hex(value.as_bytes())) }
}

/// A quoted string, for statements that take no other literal: of a session whose `sql_mode` is replank's own, which
/// has backslashes escape.
pub fn quoted(value: &str) -> String {
    mysql_async::Value::from(value).as_sql(false)
}

/// A hash of a name that is the same in every version and on every machine (FNV-1a, 64 bits), unlike
/// the standard library's: it becomes part of names on the server.
pub fn stable_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Joins the displayed items with commas.
pub fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtick_in_a_name_cannot_end_the_quotes() {
        assert_eq!(Ident::new("a`; DROP TABLE b").to_string(), "`a``; DROP TABLE b`");
        assert_eq!(TableName::new("my`db", "select").to_string(), "`my``db`.`select`");
    }

    #[test]
    fn a_quote_or_a_backslash_cannot_end_a_string() {
        assert_eq!(quoted(r#"{"a": "it's \\"}"#), r#"'{\"a\": \"it\'s \\\\\"}'"#);
    }

    #[test]
    fn text_is_written_as_bytes() {
        assert_eq!(text("a'\\"), "_utf8mb4 X'61275C'");
        assert_eq!(text(""), "''");
    }
}
