//! Every type turned into every other type.
//!
//! For each pair the server says by an ALTER of its own whether the values can be converted. Those that
//! can are then converted by replank, all of one source type in one table, and have to come out as they
//! come out of the server's ALTER. Where that ALTER silently makes something else of a value, replank
//! may stop instead, and has to name the row; it may not come out with a third thing.

mod common;

use common::{Database, options};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

/// A type and values of it that are worth converting.
type Source = (&'static str, &'static [&'static str]);

const NUMBERS: &[Source] = &[
    ("TINYINT", &["0", "1", "-128", "127", "99"]),
    ("SMALLINT UNSIGNED ZEROFILL", &["0", "7", "65535", "2024"]),
    ("INT", &["0", "-1", "2147483647", "1999", "123456789"]),
    ("INT(5) ZEROFILL", &["0", "7", "12345", "1234567"]),
    ("BIGINT", &["0", "-9223372036854775808", "9223372036854775807"]),
    ("BIGINT UNSIGNED", &["0", "18446744073709551615", "20240229123456", "20240229"]),
    ("DECIMAL(20,6)", &["0", "-0.5", "1.5", "2.5", "12345678901234.567891", "0.000001"]),
    ("DECIMAL(5,2) ZEROFILL", &["0", "1.5", "999.99"]),
    (
        "FLOAT",
        &["0", "-0e0", "0.1", "1.5", "2.5", "1e20", "16777216", "1.23456789", "1e-20", "123456"],
    ),
    ("FLOAT(9,3)", &["0", "0.1", "-2.5", "123456.789", "16777.217"]),
    (
        "DOUBLE",
        &["0", "-0e0", "0.1", "0.5", "1.5", "1e15", "1e16", "123456789.123456789", "3.3e-7"],
    ),
    ("DOUBLE(12,4)", &["0", "0.1", "-12345.67895"]),
    ("BIT(1)", &["0", "1"]),
    ("BIT(20)", &["0", "1", "65", "1048575"]),
    ("YEAR", &["0", "1901", "2000", "2155"]),
    ("BOOLEAN", &["0", "1"]),
];

const TIMES: &[Source] = &[
    ("DATE", &["'2000-02-29'", "'1970-01-01'", "'9999-12-31'"]),
    ("TIME", &["'00:00:00'", "'-838:59:59'", "'12:34:56'"]),
    ("TIME(6)", &["'00:00:00.000001'", "'12:34:56.999999'", "'-00:00:00.5'"]),
    ("DATETIME", &["'2000-02-29 12:34:56'", "'1970-01-02 00:00:00'"]),
    ("DATETIME(6)", &["'2000-02-29 23:59:59.999999'", "'2024-01-01 00:00:00.5'"]),
    ("TIMESTAMP NULL", &["'2000-02-29 12:34:56'", "'2038-01-01 00:00:00'"]),
    ("TIMESTAMP(3) NULL", &["'2000-02-29 23:59:59.999'", "'2024-03-31 01:30:00.5'"]),
];

const TEXTS: &[Source] = &[
    ("VARCHAR(20) CHARACTER SET utf8mb4", &["''", "' a '", "'Größe'", "'😀'"]),
    ("VARCHAR(20) CHARACTER SET latin1", &["''", "'é '", "'€uro'"]),
    ("VARCHAR(20) CHARACTER SET utf16", &["''", "'é '", "'ab'"]),
    ("VARCHAR(20)", &["'0'", "'12'", "'-7'", "'007'"]),
    ("VARCHAR(30)", &["'1.5'", "'-2.5e3'", "'0.1'", "'.5'"]),
    ("VARCHAR(30)", &["'2024-02-29'", "'2024-02-29 12:34:56.789'"]),
    ("VARCHAR(30)", &["'12:34:56.789'", "'-01:00'"]),
    ("VARCHAR(60)", &["'null'", "'[1, 2.50, \"x\"]'", "'{\"b\": 1, \"a\": 1e2}'"]),
    ("CHAR(10)", &["'a'", "'a  b'", "''"]),
    ("CHAR(10) CHARACTER SET latin1", &["'é'", "''"]),
    ("BINARY(5)", &["'a'", "0x00FF", "'12345'"]),
    ("VARBINARY(20)", &["'a'", "0x0041", "'12'", "''"]),
    ("TEXT", &["'text'", "' '", "''"]),
    ("BLOB", &["'text'", "'5'", "''"]),
    ("ENUM('a','1','7','2024')", &["'a'", "'1'", "'7'", "'2024'"]),
    ("SET('a','1','b')", &["''", "'a'", "'1'", "'a,b'"]),
    ("ENUM('ä','ö') CHARACTER SET latin1", &["'ä'", "'ö'"]),
    ("JSON", &["'null'", "'1'", "'1.50'", "'\"text\"'", "'[1, {\"a\": null}]'"]),
    ("JSON", &["'12'", "'7'"]),
    ("JSON", &["CAST(CAST('2024-02-29' AS DATE) AS JSON)"]),
];

const OTHERS: &[Source] = &[
    ("GEOMETRY", &["POINT(1, 2)", "POINT(-1, 0.5)"]),
    ("POINT SRID 4326", &["ST_SRID(POINT(1, 2), 4326)"]),
    ("LINESTRING", &["LINESTRING(POINT(0, 0), POINT(1, 1))"]),
    ("VECTOR(3)", &["TO_VECTOR('[1,2.5,-3e-3]')"]),
    ("VARBINARY(12)", &["TO_VECTOR('[1,2.5,-3e-3]')"]),
];

const TARGETS: &[&str] = &[
    "TINYINT",
    "TINYINT UNSIGNED",
    "SMALLINT",
    "MEDIUMINT UNSIGNED",
    "INT",
    "INT UNSIGNED",
    "INT(8) ZEROFILL",
    "BIGINT",
    "BIGINT UNSIGNED",
    "DECIMAL(30,0)",
    "DECIMAL(30,1)",
    "DECIMAL(40,12)",
    "DECIMAL(30,4) ZEROFILL",
    "FLOAT",
    "FLOAT(12,2)",
    "DOUBLE",
    "DOUBLE(20,3)",
    "BIT(1)",
    "BIT(8)",
    "BIT(64)",
    "YEAR",
    "DATE",
    "TIME",
    "TIME(3)",
    "DATETIME",
    "DATETIME(3)",
    "DATETIME(6)",
    "TIMESTAMP NULL",
    "TIMESTAMP(6) NULL",
    "CHAR(60)",
    "CHAR(60) CHARACTER SET latin1",
    "VARCHAR(60)",
    "VARCHAR(60) CHARACTER SET latin1",
    "VARCHAR(60) CHARACTER SET utf16",
    "VARCHAR(60) COLLATE utf8mb4_bin",
    "BINARY(60)",
    "VARBINARY(60)",
    "TINYTEXT",
    "TEXT",
    "LONGTEXT CHARACTER SET latin1",
    "BLOB",
    "LONGBLOB",
    "ENUM('x','1','a','7','2024','text')",
    "SET('x','b','1','a')",
    "ENUM('ö','ä')",
    "JSON",
    "GEOMETRY",
    "POINT",
    "POINT SRID 4326",
    "GEOMETRYCOLLECTION",
    "VECTOR(3)",
    "VECTOR(9)",
];

async fn ok(conn: &mut Conn, sql: &str) {
    conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{error}: {sql:.300}"));
}

/// What the server converts values of `source` into without an error.
async fn legal(conn: &mut Conn, (definition, values): Source) -> Vec<&'static str> {
    let rows: Vec<String> = values.iter().enumerate().map(|(i, v)| format!("({i}, {v})")).collect();
    ok(conn, "DROP TABLE IF EXISTS probe, attempt").await;
    ok(conn, &format!("CREATE TABLE probe (id INT PRIMARY KEY, c {definition})")).await;
    ok(conn, &format!("INSERT INTO probe VALUES {}, (-1, NULL)", rows.join(", "))).await;
    let mut legal = Vec::new();
    for target in TARGETS {
        ok(conn, "CREATE TABLE attempt LIKE probe").await;
        ok(conn, "INSERT INTO attempt SELECT * FROM probe").await;
        if conn.query_drop(format!("ALTER TABLE attempt MODIFY c {target}")).await.is_ok() {
            legal.push(*target);
        }
        ok(conn, "DROP TABLE attempt").await;
    }
    legal
}

/// Pairs in which the server's own ALTER loses values without an error: text, geometry or a large number
/// becomes a number that it is not, bytes become a vector. replank stops there.
fn may_stop(source: &str, target: &str) -> bool {
    target.starts_with("BIT")
        || target.starts_with("VECTOR")
        || (source == "FLOAT" && target == "BIGINT")
        || (source == "JSON" && target.starts_with("TIME"))
}

/// Converts a table with a column for each target, by replank and natively. What went wrong, if anything.
async fn convert(db: &Database, source: Source, targets: &[&str]) -> Option<String> {
    let mut conn = db.conn().await;
    let (definition, values) = source;
    let columns: Vec<String> = (0..targets.len()).map(|i| format!("c{i} {definition}")).collect();
    let row =
        |(i, value): (usize, &&str)| format!("({i}{})", format!(", {value}").repeat(targets.len()));
    let rows: Vec<String> = values.iter().enumerate().map(row).collect();
    let nulls = ", NULL".repeat(targets.len());
    let modify: Vec<String> =
        targets.iter().enumerate().map(|(i, target)| format!("MODIFY c{i} {target}")).collect();
    for table in ["t", "twin"] {
        ok(&mut conn, &format!("DROP TABLE IF EXISTS {table}, _{table}_replank_old")).await;
        ok(
            &mut conn,
            &format!("CREATE TABLE {table} (id INT PRIMARY KEY, {})", columns.join(", ")),
        )
        .await;
        ok(&mut conn, &format!("INSERT INTO {table} VALUES {}, (-1{nulls})", rows.join(", ")))
            .await;
    }
    let outcome = db.alter_with("t", &modify.join(", "), &options()).await;
    if let Err(error) = outcome {
        return Some(error.to_string());
    }
    ok(&mut conn, &format!("ALTER TABLE twin {}", modify.join(", "))).await;
    let sums: Vec<(String, Option<u64>)> =
        conn.query("CHECKSUM TABLE t, twin EXTENDED").await.expect("checksum");
    if sums[0].1 == sums[1].1 {
        return None;
    }
    let hex = |i: usize| {
        format!(
            "HEX(IF(a.c{i} IS NULL, 'NULL', a.c{i})), HEX(IF(b.c{i} IS NULL, 'NULL', b.c{i})), a.c{i}, b.c{i}"
        )
    };
    let shown: Vec<String> = (0..targets.len()).map(hex).collect();
    let rows: Vec<mysql_async::Row> = conn
        .query(format!("SELECT {} FROM t a JOIN twin b USING (id) ORDER BY id", shown.join(", ")))
        .await
        .expect("rows");
    let text = |row: mysql_async::Row| {
        row.unwrap().iter().map(|value| value.as_sql(true)).collect::<Vec<_>>().join(" ")
    };
    Some(format!("differs: {}", rows.into_iter().map(text).collect::<Vec<_>>().join(" / ")))
}

async fn all_equal(name: &str, sources: &[Source]) {
    let db = Database::new(name).await;
    let mut conn = db.conn().await;
    let mut wrong = Vec::new();
    let (mut pairs, mut stopped) = (0, 0);
    for source in sources {
        let targets = legal(&mut conn, *source).await;
        assert!(!targets.is_empty(), "{}: nothing is legal", source.0);
        pairs += targets.len();
        if convert(&db, *source, &targets).await.is_some() {
            // Which of them?
            for target in targets {
                let Some(why) = convert(&db, *source, &[target]).await else { continue };
                if may_stop(source.0, target) && why.contains("does not fit the new structure") {
                    stopped += 1;
                } else {
                    wrong.push(format!("{} -> {target}: {why}", source.0));
                }
            }
        }
    }
    println!("{name}: {pairs} pairs, {stopped} stopped");
    assert!(wrong.is_empty(), "{} of {pairs} pairs:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn numbers() {
    all_equal("convert_from_numbers", NUMBERS).await;
}

#[tokio::test]
async fn times() {
    all_equal("convert_from_times", TIMES).await;
}

#[tokio::test]
async fn texts() {
    all_equal("convert_from_texts", TEXTS).await;
}

#[tokio::test]
async fn others() {
    all_equal("convert_from_others", OTHERS).await;
}
