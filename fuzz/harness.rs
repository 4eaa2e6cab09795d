//! What is fuzzed: shared by the fuzz targets and by the test that runs the corpus.
//!
//! The row-event decoder and the ALTER lexer read bytes that others have written. Neither may panic on
//! any of them, and what they accept has to be consistent.

use replank::key::{KeyPart, KeySpec, PartType};
use replank::schema::alter::AlterStatement;
use replank::schema::lexer::Dialect;
use replank::schema::mention::{mentions_table, statement_kind};
use replank::sql::Ident;
use replank::stream::event::{KeyLayout, RowChange, RowsEvent, TableMap};

/// A table of the corpus: its definition, its key, its number of columns, and statements on it.
pub(crate) struct FuzzTable {
    /// The columns and the key.
    pub definition: &'static str,
    /// The key as replank sees it.
    pub key: KeySpec,
    /// How many columns there are.
    pub columns: usize,
    /// What is recorded; `{t}` is the table.
    pub statements: &'static [&'static str],
}

/// The tables that row events of the corpus are about; the first byte of an input is the place here.
pub(crate) fn tables() -> Vec<FuzzTable> {
    let part = |name: &str, ordinal, ty| KeyPart { name: Ident::new(name), ordinal, ty };
    let int = |bytes, unsigned| PartType::Int { bytes, unsigned };
    let text = PartType::Text {
        charset: "latin1".into(),
        collation: "latin1_swedish_ci".into(),
        pad_space: true,
        chars: 20,
        fixed: false,
    };
    vec![
        FuzzTable {
            definition: "x JSON, a INT PRIMARY KEY, b BLOB, c VARCHAR(300)",
            key: KeySpec::new(vec![part("a", 1, int(4, false))]),
            columns: 4,
            statements: &[
                "INSERT INTO {t} VALUES ('{\"n\": [1, 2]}', 1, 'blob', 'text'), (NULL, -2, NULL, NULL)",
                "UPDATE {t} SET a = a + 10, c = REPEAT('x', 300)",
                "SET SESSION binlog_row_image = MINIMAL",
                "UPDATE {t} SET b = 'new' WHERE a = 11",
                "SET SESSION binlog_row_value_options = PARTIAL_JSON",
                "UPDATE {t} SET x = JSON_SET(x, '$.n[0]', 9), a = 12 WHERE a = 11",
                "DELETE FROM {t}",
            ],
        },
        FuzzTable {
            definition: "d DECIMAL(12,3) NOT NULL, t DATETIME(3) NOT NULL, e ENUM('a','b') NOT NULL, \
                         s SET('x','y') NOT NULL, u BIT(12) NOT NULL, v VARBINARY(9) NOT NULL, \
                         PRIMARY KEY (d, t, e, s, u, v)",
            key: KeySpec::new(vec![
                part("d", 0, PartType::Decimal { precision: 12, scale: 3 }),
                part("t", 1, PartType::DateTime { fsp: 3 }),
                part("e", 2, PartType::Enum { members: 2 }),
                part("s", 3, PartType::Set { members: 2 }),
                part("u", 4, PartType::Bit { bits: 12 }),
                part("v", 5, PartType::VarBinary),
            ]),
            columns: 6,
            statements: &[
                "INSERT INTO {t} VALUES (-1.5, '2026-11-23 01:02:03.456', 'a', 'x,y', 4095, 'v')",
                "INSERT INTO {t} VALUES (99999999.999, '0000-00-00', 'b', '', 0, '')",
                "UPDATE {t} SET d = d / 2, v = CONCAT(v, X'00')",
                "DELETE FROM {t}",
            ],
        },
        FuzzTable {
            definition: "y YEAR NOT NULL, k VARCHAR(20) CHARACTER SET latin1 NOT NULL, m TIME(2) NOT NULL, \
                         f CHAR(30) CHARACTER SET utf8mb4, g GEOMETRY, w VECTOR(2), PRIMARY KEY (k, m, y)",
            key: KeySpec::new(vec![
                part("k", 1, text),
                part("m", 2, PartType::Time { fsp: 2 }),
                part("y", 0, PartType::Year),
            ]),
            columns: 6,
            statements: &[
                "INSERT INTO {t} VALUES (2026, 'Größe ', '-01:02:03.45', 'ж', POINT(1, 2), TO_VECTOR('[1,2]'))",
                "INSERT INTO {t} VALUES (0, '', '838:59:59', NULL, NULL, NULL)",
                "UPDATE {t} SET y = 1901, f = 'x'",
                "DELETE FROM {t}",
            ],
        },
        FuzzTable {
            definition: "h BIGINT UNSIGNED NOT NULL, p TIMESTAMP(6) NOT NULL DEFAULT '2020-01-01', q DATE NOT \
                         NULL DEFAULT '2020-01-01', r BINARY(16) NOT NULL, UNIQUE KEY (r, h, p, q)",
            key: KeySpec::new(vec![
                part("r", 3, PartType::Binary { len: 16 }),
                part("h", 0, int(8, true)),
                part("p", 1, PartType::Timestamp { fsp: 6 }),
                part("q", 2, PartType::Date),
            ]),
            columns: 4,
            statements: &[
                "INSERT INTO {t} (h, r) VALUES (18446744073709551615, X'00FF'), (0, 'abc')",
                "UPDATE {t} SET p = '2038-01-19 03:14:07.999999', q = '9999-12-31'",
                "DELETE FROM {t}",
            ],
        },
    ]
}

/// An input: the table's place, the length of the TABLE_MAP event's body in two bytes, that body, the type
/// code of the rows event, its body.
pub(crate) fn row_event(data: &[u8]) {
    let Some((&place, rest)) = data.split_first() else { return };
    let Some((length, rest)) = rest.split_first_chunk::<2>() else { return };
    let Some((map, rest)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))) else {
        return;
    };
    let Some((&code, body)) = rest.split_first() else { return };
    let tables = tables();
    let Some(FuzzTable { key, columns, .. }) = tables.get(usize::from(place)) else { return };
    let Ok(map) = TableMap::parse(map) else { return };
    let Ok(layout) = KeyLayout::new(&map, key, *columns) else { return };
    let Ok(event) = RowsEvent::parse(code, body) else { return };
    let mut raw = Vec::new();
    let whole = event.each_raw_key(&layout, |change| {
        match change {
            RowChange::Insert(key) | RowChange::Delete(key) => raw.push(key),
            RowChange::Update { before, after } => raw.extend([before, after]),
        }
        Ok(())
    });
    if key.needs_weights() {
        return;
    }
    // The other way of reading finds the same keys, and each gives its values back.
    let mut keys = Vec::new();
    let again = event.each_key(&layout, |change| {
        match change {
            RowChange::Insert(key) | RowChange::Delete(key) => keys.push(key),
            RowChange::Update { before, after } => keys.extend([before, after]),
        }
        Ok(())
    });
    if whole.is_err() || again.is_err() {
        return;
    }
    assert_eq!(raw.len(), keys.len());
    for (raw, read) in raw.iter().zip(&keys) {
        let made = key.key_from_values(raw).expect("decoded values make a key");
        assert_eq!(made, *read);
        let values = key.values(read).expect("a key gives its values back");
        let again = key.key_from_values(&values).expect("values of a key make a key");
        assert_eq!(again, *read);
    }
}

/// An input: how the server reads statements, in one byte, and a statement.
pub(crate) fn alter_text(data: &[u8]) {
    let Some((&how, text)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let modes = ["", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"];
    let version = if how & 4 == 0 { 80_013 } else { 90_704 };
    let dialect = Dialect::new(modes[usize::from(how & 3)], version);
    statement_kind(&text, dialect);
    mentions_table(&text, "shop", "shop", "users", dialect);
    for parse in [AlterStatement::parse, AlterStatement::parse_clauses] {
        if let Ok(statement) = parse(&text, dialect) {
            // What is run on the shadow table is read in the same way.
            let again = AlterStatement::parse_clauses(&statement.clauses, dialect)
                .expect("the clauses of a statement that was read can be read");
            assert_eq!(again.renames, statement.renames);
            assert_eq!(again.facts, statement.facts);
        }
    }
}
