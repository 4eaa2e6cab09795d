//! What random tables are made of.

/// A type: its definition, a value for the number `{v}`, whether values of different numbers differ, and
/// what it may be converted to without losing one of these values.
pub(crate) struct Type {
    pub(crate) definition: &'static str,
    pub(crate) value: &'static str,
    pub(crate) distinct: bool,
    pub(crate) into: &'static [&'static str],
}

const fn ty(
    definition: &'static str,
    value: &'static str,
    distinct: bool,
    into: &'static [&'static str],
) -> Type {
    Type { definition, value, distinct, into }
}

pub(crate) const TYPES: &[Type] = &[
    ty(
        "INT",
        "{v}",
        true,
        &["BIGINT", "VARCHAR(20)", "DOUBLE", "DECIMAL(20,3)", "MEDIUMINT UNSIGNED"],
    ),
    ty("INT UNSIGNED", "{v} * 3", true, &["BIGINT", "INT", "VARCHAR(12) CHARACTER SET latin1"]),
    ty("BIGINT", "-{v}", true, &["DECIMAL(30,0)", "VARCHAR(30)", "INT"]),
    ty("TINYINT", "{v} % 100", false, &["INT", "SMALLINT UNSIGNED", "VARCHAR(4)"]),
    ty(
        "DECIMAL(12,4)",
        "{v} / 7",
        true,
        &["DECIMAL(20,6)", "DECIMAL(9,1)", "DOUBLE", "VARCHAR(30)"],
    ),
    ty("FLOAT", "{v} / 7", false, &["DOUBLE", "VARCHAR(30)", "DECIMAL(30,10)"]),
    ty("DOUBLE", "{v} * 0.1e0", false, &["FLOAT", "VARCHAR(40)", "INT"]),
    ty("DATE", "'2000-02-28' + INTERVAL {v} DAY", true, &["DATETIME", "VARCHAR(20)", "INT"]),
    ty(
        "DATETIME(3)",
        "'2020-01-01' + INTERVAL {v} SECOND",
        true,
        &["DATETIME", "DATE", "TIMESTAMP NULL", "VARCHAR(30)"],
    ),
    ty(
        "TIMESTAMP(2) NULL",
        "'2020-01-01' + INTERVAL {v} SECOND",
        true,
        &["DATETIME(2)", "VARCHAR(30)"],
    ),
    ty("TIME(2)", "SEC_TO_TIME({v} / 4)", true, &["TIME", "VARCHAR(20)"]),
    ty("YEAR", "1901 + {v} % 200", false, &["INT", "VARCHAR(4)"]),
    ty(
        "VARCHAR(40)",
        "CONCAT('text ', {v})",
        true,
        &["TEXT", "VARCHAR(60) CHARACTER SET utf16", "VARBINARY(200)", "CHAR(40)"],
    ),
    ty(
        "VARCHAR(40) CHARACTER SET latin1",
        "CONCAT('Größe ', {v}, ' ')",
        true,
        &["VARCHAR(50) CHARACTER SET utf8mb4", "TEXT"],
    ),
    ty(
        "CHAR(12) COLLATE utf8mb4_bin",
        "CONCAT('c', {v})",
        true,
        &["VARCHAR(12)", "CHAR(20)", "BINARY(60)"],
    ),
    ty("TEXT", "REPEAT('text ', {v} % 40)", false, &["MEDIUMTEXT", "LONGBLOB", "VARCHAR(900)"]),
    ty("BLOB", "UNHEX(SHA2({v}, 256))", false, &["LONGBLOB", "VARBINARY(40)"]),
    ty("VARBINARY(20)", "LEFT(UNHEX(SHA2({v}, 256)), 16)", true, &["VARBINARY(30)", "BLOB"]),
    ty("ENUM('a','b','c')", "1 + {v} % 3", false, &["ENUM('c','x','b','a')", "VARCHAR(3)", "INT"]),
    ty("SET('a','b','c')", "{v} % 8", false, &["SET('c','x','b','a')", "VARCHAR(9)", "INT"]),
    ty("BIT(12)", "{v} % 4096", false, &["BIT(20)", "INT"]),
    ty(
        "JSON",
        "JSON_OBJECT('n', {v}, 'list', JSON_ARRAY({v} / 8, NULL, 'x'))",
        false,
        &["LONGTEXT"],
    ),
    ty("POINT", "POINT({v}, 1)", false, &["GEOMETRY"]),
    ty("VECTOR(2)", "TO_VECTOR(CONCAT('[', {v}, ',0.1]'))", false, &["VECTOR(5)"]),
];

/// A key: definitions, index, names and values of its columns, and what its one column may become.
pub(crate) type KeyKind =
    (&'static str, &'static str, &'static [(&'static str, &'static str)], Option<&'static str>);

pub(crate) const KEYS: &[KeyKind] = &[
    ("k INT AUTO_INCREMENT", "PRIMARY KEY (k)", &[("k", "{v}")], Some("BIGINT AUTO_INCREMENT")),
    ("k BIGINT UNSIGNED", "PRIMARY KEY (k)", &[("k", "18446744073709551615 - {v}")], None),
    ("k INT", "PRIMARY KEY (k)", &[("k", "{v} - 700")], Some("BIGINT")),
    ("k VARCHAR(30)", "PRIMARY KEY (k)", &[("k", "CONCAT('Key ', {v})")], Some("VARCHAR(60)")),
    ("k CHAR(20) CHARACTER SET latin1", "PRIMARY KEY (k)", &[("k", "CONCAT('ä', {v})")], None),
    ("k BINARY(16)", "PRIMARY KEY (k)", &[("k", "LEFT(UNHEX(SHA2({v}, 256)), 16)")], None),
    ("k DATETIME(6)", "PRIMARY KEY (k)", &[("k", "'2020-01-01' + INTERVAL {v} MICROSECOND")], None),
    ("k DECIMAL(12,3)", "PRIMARY KEY (k)", &[("k", "{v} / 8")], None),
    (
        "k INT, l VARCHAR(9)",
        "PRIMARY KEY (l, k)",
        &[("k", "{v}"), ("l", "CONCAT('l', {v} % 4)")],
        None,
    ),
    ("k ENUM('x','y'), l INT", "PRIMARY KEY (k, l)", &[("k", "1 + {v} % 2"), ("l", "{v}")], None),
    ("k BIGINT NOT NULL", "UNIQUE KEY uk (k)", &[("k", "{v} * 5")], None),
];

/// What a writer's session may have set.
pub(crate) const SESSIONS: &[&str] = &[
    "SET SESSION binlog_row_image = MINIMAL",
    "SET SESSION binlog_row_image = NOBLOB",
    "SET SESSION binlog_row_value_options = PARTIAL_JSON",
    "SET SESSION binlog_transaction_compression = ON",
    "SET SESSION binlog_rows_query_log_events = ON",
    "SET SESSION transaction_isolation = 'READ-COMMITTED'",
    "SET SESSION sql_mode = ''",
    "SET SESSION time_zone = '+05:30'",
];
