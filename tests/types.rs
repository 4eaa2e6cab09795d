//! Every column type as data, unchanged and converted to another type, under writers.
//!
//! The oracle is the twin that the server itself alters; CHECKSUM TABLE sees every stored byte.

mod common;

use common::Database;
use common::scenario::Scenario;

/// A column: its definition, and its value as an expression over `{v}`, a number from 0 to 10 000.
type Column = (&'static str, &'static str);

/// A column that the ALTER turns into another type: definition, value, new definition.
type Conversion = (&'static str, &'static str, &'static str);

/// A table of these columns, named `c0`, `c1` and so on; every one is NULL now and then.
fn family(name: &'static str, columns: &[Column], alter: &str) -> Scenario {
    let definitions: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(i, (definition, _))| format!("c{i} {definition}"))
        .collect();
    let mut scenario = Scenario::new(name, &definitions.join(", "), alter);
    scenario.ids = 4_000;
    let value = |i: usize, v: &str| {
        format!("IF(({v}) % 13 = {}, NULL, {})", i % 13, columns[i].1.replace("{v}", v))
    };
    let row = |v: &str| (0..columns.len()).map(|i| value(i, v)).collect::<Vec<_>>().join(", ");
    let names = (0..columns.len()).map(|i| format!("c{i}")).collect::<Vec<_>>().join(", ");
    let updates: Vec<String> =
        (0..columns.len()).map(|i| format!("c{i} = {}", value(i, "{n}"))).collect();
    let updates: Vec<&str> = updates.iter().map(String::as_str).collect();
    scenario
        .seed(&names, &row("n"))
        .writes(&names, &row("{n}"), &updates)
        .write("UPDATE {t} SET id = {new} WHERE id = {id}")
}

async fn check(scenario: Scenario) {
    let db = Database::new(scenario.name).await;
    let outcome = scenario.succeeds(&db).await;
    assert!(outcome.tally.keys_replayed > 0, "{}: nothing was written meanwhile", scenario.name);
    assert_eq!(outcome.tally.rows_repaired, 0, "{}: the replay missed a row", scenario.name);
}

/// The types stay as they are: source and shadow table are compared directly.
async fn keeps(name: &'static str, columns: &[Column]) {
    check(family(name, columns, "ADD COLUMN z INT NOT NULL DEFAULT 7 FIRST")).await;
}

fn conversion(name: &'static str, conversions: &[Conversion]) -> Scenario {
    let columns: Vec<Column> = conversions.iter().map(|(from, value, _)| (*from, *value)).collect();
    let modify: Vec<String> =
        conversions.iter().enumerate().map(|(i, (.., to))| format!("MODIFY c{i} {to}")).collect();
    let mut scenario = family(name, &columns, &modify.join(", "));
    // A new value would be converted by the statement after the swap, but by the ALTER in the twin, and
    // the server's own rules differ between the two. So values only move between rows.
    let names = |alias: &str| {
        (0..columns.len()).map(|i| format!("{alias}c{i}")).collect::<Vec<_>>().join(", ")
    };
    let all = names("");
    scenario.writes = vec![
        "DELETE FROM {t} WHERE id = {id}".to_owned(),
        "UPDATE {t} SET id = {new} WHERE id = {id}".to_owned(),
        format!("INSERT INTO {{t}} (id, {all}) SELECT {{new}}, {all} FROM {{t}} WHERE id = {{id}}"),
    ];
    for column in 0..columns.len() {
        scenario.writes.push(format!(
            "UPDATE {{t}} a JOIN {{t}} b ON b.id = 1 + {{id}} * 7 % 4000 \
             SET a.c{column} = b.c{column} WHERE a.id = {{id}}"
        ));
    }
    scenario
}

async fn converts(name: &'static str, conversions: &[Conversion]) {
    check(conversion(name, conversions)).await;
}

#[tokio::test]
async fn integers() {
    keeps(
        "integers",
        &[
            ("TINYINT", "CAST({v} % 256 AS SIGNED) - 128"),
            ("TINYINT UNSIGNED", "{v} % 256"),
            ("SMALLINT", "CAST({v} AS SIGNED) * 6 - 32768"),
            ("SMALLINT UNSIGNED ZEROFILL", "{v} * 6"),
            ("MEDIUMINT", "CAST({v} AS SIGNED) * 1600 - 8388608"),
            ("MEDIUMINT UNSIGNED", "{v} * 1600"),
            ("INT", "2147483647 - {v}"),
            ("INT(9) UNSIGNED ZEROFILL", "4294967295 - {v}"),
            ("BIGINT", "-9223372036854775808 + {v}"),
            ("BIGINT UNSIGNED", "18446744073709551615 - {v}"),
            ("BOOLEAN", "{v} % 2"),
            ("BIT(1)", "{v} % 2"),
            ("BIT(9)", "{v} % 512"),
            ("BIT(64)", "18446744073709551615 - {v}"),
        ],
    )
    .await;
}

#[tokio::test]
async fn numbers_with_fractions() {
    keeps(
        "fractions",
        &[
            ("DECIMAL(65,30)", "{v} * 12345678901234567890.123456789012345678901234567891"),
            ("DECIMAL(5,0)", "-{v}"),
            ("DECIMAL(12,2) UNSIGNED ZEROFILL", "{v} / 4"),
            // 16777217 and its neighbours show the same six digits as text.
            ("FLOAT", "16777216 + {v} * 2"),
            ("FLOAT", "1 / ({v} + 3)"),
            ("FLOAT(7,3)", "{v} / 7"),
            ("FLOAT UNSIGNED", "3.4e38 / ({v} + 1)"),
            ("DOUBLE", "1.7976931348623157e308 / ({v} + 1)"),
            ("DOUBLE", "{v} * 0.1e0 + 0.2e0"),
            ("DOUBLE", "IF({v} % 2, -0e0, 4.9406564584124654e-324 * {v})"),
            ("DOUBLE(12,4)", "-{v} / 3"),
        ],
    )
    .await;
}

#[tokio::test]
async fn times_and_dates() {
    keeps(
        "times",
        &[
            ("DATE", "'1000-01-01' + INTERVAL {v} * 300 DAY"),
            ("TIME", "SEC_TO_TIME(CAST({v} AS SIGNED) * 300 - 1500000)"),
            ("TIME(6)", "TIMEDIFF('00:00:00.000001', SEC_TO_TIME({v}))"),
            ("DATETIME", "'9999-12-31 23:59:59' - INTERVAL {v} SECOND"),
            ("DATETIME(6)", "'2020-02-29 23:59:59.999999' + INTERVAL {v} MICROSECOND"),
            ("DATETIME(1)", "'2020-02-29 23:59:59' + INTERVAL {v} * 100000 MICROSECOND"),
            ("TIMESTAMP(6) NULL", "'2038-01-19 03:14:07.999999' - INTERVAL {v} MICROSECOND"),
            // Hours that a change to winter time has twice.
            ("TIMESTAMP NULL", "FROM_UNIXTIME(1698532200 + {v} * 10)"),
            ("YEAR", "1901 + {v} % 255"),
            (
                "TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP",
                "'2021-01-01'",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn dates_that_a_strict_mode_would_refuse() {
    let loose = "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'";
    let scenario = family(
        "loose_dates",
        &[
            ("DATE", "ELT(1 + {v} % 4, '0000-00-00', '2021-00-00', '2021-02-00', '2021-02-31')"),
            (
                "DATETIME(3)",
                "ELT(1 + {v} % 3, '0000-00-00', '2021-11-31 10:00:00.5', '1999-00-01')",
            ),
            ("TIMESTAMP NULL", "IF({v} % 2, '0000-00-00 00:00:00', '2021-05-05')"),
            ("YEAR", "0"),
        ],
        "ADD COLUMN z INT NOT NULL DEFAULT 7, ADD INDEX (c0)",
    );
    check(scenario.session(loose).setup(loose)).await;
}

#[tokio::test]
async fn enums_and_sets() {
    let empty = "SET SESSION sql_mode = ''";
    let scenario = family(
        "enums",
        &[
            ("ENUM('grün','日本','кот','') CHARACTER SET utf8mb4", "1 + {v} % 4"),
            // An invalid member is stored as number 0, apart from a member that is empty.
            ("ENUM('a','b','') CHARACTER SET latin1", "{v} % 4"),
            ("SET('ä','ö','ü','ß') CHARACTER SET latin1", "{v} % 16"),
            (
                "SET('a','b','c','d','e','f','g','h','i','j','k','l','m','n','o','p','q','r','s',\
                 't','u','v','w','x','y','z','1','2','3','4','5','6','7','8','9','0','!','?','$',\
                 '%','&','/','(',')','=','+','*','~','#','-','_','.',';',':','<','>','|','^','@',\
                 'aa','bb','cc','dd','ee')",
                "18446744073709551615 - {v} * 1844674407370",
            ),
            ("ENUM('x','y') CHARACTER SET utf16", "1 + {v} % 2"),
            ("ENUM('a','A') COLLATE utf8mb4_bin", "1 + {v} % 2"),
        ],
        "ADD COLUMN z INT NOT NULL DEFAULT 7",
    );
    check(scenario.session(empty).setup(empty)).await;
}

#[tokio::test]
async fn text_of_many_character_sets() {
    keeps(
        "charsets",
        &[
            ("VARCHAR(30) CHARACTER SET latin1", "CONCAT('é ', {v}, REPEAT(' ', {v} % 4))"),
            ("CHAR(30) CHARACTER SET latin1", "CONCAT('é ', {v}, REPEAT(' ', {v} % 4))"),
            ("VARCHAR(30) CHARACTER SET gbk", "CONCAT('中文', {v})"),
            ("VARCHAR(30) CHARACTER SET gb18030", "CONCAT('中文€', {v})"),
            ("VARCHAR(30) CHARACTER SET sjis", "CONCAT('表ソ', {v})"),
            ("VARCHAR(30) CHARACTER SET eucjpms", "CONCAT('表ソ①', {v})"),
            ("VARCHAR(30) CHARACTER SET utf16", "CONCAT('😀', {v})"),
            ("VARCHAR(30) CHARACTER SET utf32", "CONCAT('😀', {v})"),
            ("VARCHAR(30) CHARACTER SET ucs2", "CONCAT('ß', {v})"),
            ("VARCHAR(30) CHARACTER SET utf8mb3", "CONCAT('ß ', {v})"),
            ("CHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "CONCAT('😀', {v}, '  ')"),
            ("VARCHAR(30) CHARACTER SET cp1251", "CONCAT('кот ', {v})"),
            ("TEXT CHARACTER SET koi8r", "REPEAT('кот ', {v} % 90)"),
            ("VARCHAR(30) CHARACTER SET ascii", "CONCAT(CHAR({v} % 128 USING ascii), {v})"),
        ],
    )
    .await;
}

#[tokio::test]
async fn bytes_and_long_values() {
    keeps(
        "bytes",
        &[
            ("BINARY(8)", "UNHEX(HEX({v} * 256))"),
            ("VARBINARY(300)", "CONCAT(LEFT(UNHEX(SHA2({v}, 256)), 16), REPEAT(0x00, {v} % 5))"),
            ("TINYBLOB", "REPEAT(0x00FF, {v} % 120)"),
            ("BLOB", "REPEAT(UNHEX(SHA2({v}, 256)), {v} % 90)"),
            ("MEDIUMBLOB", "REPEAT(0x27, IF({v} % 200 = 0, 100000, 3))"),
            ("LONGBLOB", "UNHEX('')"),
            ("TINYTEXT", "REPEAT('\\\\', {v} % 63)"),
            ("TEXT", "CONCAT('line\\n', CHAR(0, 26, 39, 34 USING utf8mb4), {v})"),
            ("MEDIUMTEXT", "REPEAT('😀', {v} % 80)"),
            ("LONGTEXT", "IF({v} % 3, '', REPEAT(' ', {v} % 9))"),
            ("VARBINARY(16)", "INET6_ATON(CONCAT('::', {v} % 9999))"),
        ],
    )
    .await;
}

#[tokio::test]
async fn json_with_values_of_every_kind() {
    keeps(
        "json",
        &[
            ("JSON", "JSON_OBJECT('n', {v}, 'd', {v} / 3, 'f', {v} * 0.1e0, 'deep', JSON_ARRAY(NULL, TRUE, 'x'))"),
            ("JSON", "CAST({v} / 10.0 AS JSON)"),
            ("JSON", "CAST({v} * 1e0 AS JSON)"),
            ("JSON", "CAST(18446744073709551615 - {v} AS JSON)"),
            ("JSON", "CAST(CAST('2020-01-01 10:10:10.123456' AS DATETIME(6)) AS JSON)"),
            ("JSON", "CAST(CAST('-838:59:59' AS TIME) AS JSON)"),
            ("JSON", "JSON_ARRAY(CAST('2020-02-02' AS DATE), x'00ff27', b'101')"),
            ("JSON", "CAST(POINT({v}, 2) AS JSON)"),
            ("JSON", "JSON_QUOTE(CONCAT('ünï \\\"', CHAR({v} % 32 USING utf8mb4)))"),
            ("JSON", "CAST('null' AS JSON)"),
            ("JSON", "JSON_OBJECT(REPEAT('key', {v} % 90), REPEAT('value', {v} % 200))"),
        ],
    )
    .await;
}

#[tokio::test]
async fn geometries_and_vectors() {
    keeps(
        "spatial",
        &[
            ("GEOMETRY", "POINT({v}, -{v} / 3)"),
            ("POINT SRID 4326", "ST_SRID(POINT({v} % 180, {v} % 90), 4326)"),
            ("POINT", "ST_SRID(POINT({v}, 1), 3857)"),
            ("LINESTRING", "LINESTRING(POINT(0, 0), POINT({v}, 1))"),
            ("POLYGON", "ST_GEOMFROMTEXT(CONCAT('POLYGON((0 0,', {v} + 1, ' 0,1 1,0 0))'))"),
            ("MULTIPOINT", "MULTIPOINT(POINT({v}, 1), POINT(2, 3))"),
            ("MULTILINESTRING", "MULTILINESTRING(LINESTRING(POINT(0, 0), POINT({v}, 1)))"),
            (
                "MULTIPOLYGON",
                "ST_GEOMFROMTEXT(CONCAT('MULTIPOLYGON(((0 0,', {v} + 1, ' 0,1 1,0 0)))'))",
            ),
            ("GEOMETRYCOLLECTION", "GEOMETRYCOLLECTION(POINT({v}, 1))"),
            ("VECTOR(3)", "TO_VECTOR(CONCAT('[', {v} / 7, ',1e-30,-3]'))"),
            ("VECTOR", "TO_VECTOR(CONCAT('[', REPEAT('1.5,', {v} % 40), {v}, ']'))"),
        ],
    )
    .await;
}

#[tokio::test]
async fn generated_and_invisible_columns_defaults_and_checks() {
    let scenario = Scenario::new(
        "generated",
        "a INT NOT NULL, b VARCHAR(20) INVISIBLE, \
         s VARCHAR(40) GENERATED ALWAYS AS (CONCAT(a, '-', b)) STORED, \
         v INT GENERATED ALWAYS AS (a % 1000) VIRTUAL INVISIBLE, \
         j JSON, e INT GENERATED ALWAYS AS (j->'$.n') VIRTUAL, \
         d VARCHAR(40) NOT NULL DEFAULT (CONCAT('default ', a)), \
         p DECIMAL(6,2) DEFAULT 1.5, \
         KEY (v), UNIQUE KEY (s, id), KEY ((LOWER(b))), KEY many ((CAST(j->'$.m' AS UNSIGNED ARRAY))), \
         CHECK (a >= 0), CHECK (p > 0) NOT ENFORCED",
        "MODIFY p DECIMAL(10,4) DEFAULT 2, ADD COLUMN w BIGINT GENERATED ALWAYS AS (a * 2) STORED, \
         ADD COLUMN x VARCHAR(60) NOT NULL DEFAULT ('new'), ADD INDEX (w)",
    )
    .seed("a, b, j", "n, CONCAT('b', n % 99), JSON_OBJECT('n', n, 'm', JSON_ARRAY(n % 7, n % 5))")
    .writes(
        "a, b, j, p",
        "{n}, 'new', NULL, 3",
        &["a = a + 1", "b = 'B{n}'", "j = JSON_SET(j, '$.n', {n})", "d = DEFAULT", "p = -{n}"],
    );
    let db = Database::new(scenario.name).await;
    let outcome = scenario.run(&db).await.expect("done");
    assert!(outcome.tally.keys_replayed > 0);
    // With a multi-valued index CHECKSUM TABLE gives another sum every time (MySQL 9.7.4).
    let both = ["t", "twin"].map(|table| format!("ALTER TABLE {table} DROP INDEX many"));
    db.sql(&both.each_ref().map(String::as_str)).await;
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn a_generated_column_is_part_of_the_key() {
    let mut scenario =
        Scenario::new("generated_key", "", "ADD COLUMN z INT, MODIFY a BIGINT NOT NULL");
    scenario.create = "CREATE TABLE {t} (id INT NOT NULL, a INT NOT NULL, \
         shard INT GENERATED ALWAYS AS (id % 16) STORED NOT NULL, PRIMARY KEY (shard, id))"
        .to_owned();
    check(scenario.seed("a", "n").writes("a", "{n}", &["a = {n}", "id = {new}"])).await;
}

#[tokio::test]
async fn an_invisible_primary_key_that_the_server_made() {
    let setup = "SET SESSION sql_generate_invisible_primary_key = ON, \
                 show_gipk_in_create_table_and_information_schema = ON";
    let mut scenario = Scenario::new("gipk", "", "ADD COLUMN z INT NOT NULL DEFAULT 3");
    scenario.create = "CREATE TABLE {t} (a INT NOT NULL, b VARCHAR(20))".to_owned();
    scenario.seed =
        vec!["INSERT INTO {t} (a, b) SELECT n, 'x' FROM numbers WHERE n <= 9000".to_owned()];
    scenario.writes = vec![
        "INSERT INTO {t} (my_row_id, a, b) VALUES ({new}, {n}, 'new')".to_owned(),
        "UPDATE {t} SET a = {n} WHERE my_row_id = {id}".to_owned(),
        "DELETE FROM {t} WHERE my_row_id = {id}".to_owned(),
    ];
    check(scenario.setup(setup)).await;
}

#[tokio::test]
async fn numbers_become_other_numbers_and_text() {
    converts(
        "convert_numbers",
        &[
            ("TINYINT", "{v} % 128", "BIGINT UNSIGNED"),
            ("INT UNSIGNED", "4294967295 - {v}", "BIGINT"),
            ("BIGINT UNSIGNED", "18446744073709551615 - {v}", "DECIMAL(30,2)"),
            ("INT", "-{v}", "VARCHAR(12)"),
            ("INT(8) ZEROFILL", "{v}", "VARCHAR(12)"),
            ("BIGINT", "{v} * 7", "INT"),
            ("INT", "{v} * 7", "DOUBLE"),
            ("INT", "16777217 + {v}", "FLOAT"),
            ("FLOAT", "1 / ({v} + 3)", "DOUBLE"),
            ("DOUBLE", "1e0 / ({v} + 3)", "FLOAT"),
            ("FLOAT", "{v} * 0.25", "DECIMAL(20,6)"),
            ("FLOAT", "1e0 / ({v} + 3)", "VARCHAR(30)"),
            ("DOUBLE", "1e0 / ({v} + 3)", "VARCHAR(30)"),
            ("DOUBLE", "{v} + 0.5e0", "INT"),
            ("DECIMAL(20,4)", "-{v} / 8", "DOUBLE"),
            ("DECIMAL(20,4)", "{v} * 1.25", "VARCHAR(30) CHARACTER SET utf16"),
            ("YEAR", "1901 + {v} % 200", "INT"),
            ("INT", "1901 + {v} % 200", "YEAR"),
            ("BIT(16)", "{v}", "INT"),
            ("INT", "{v}", "BIT(16)"),
            ("BOOLEAN", "{v} % 2", "VARCHAR(1)"),
        ],
    )
    .await;
}

#[tokio::test]
async fn text_becomes_other_types() {
    converts(
        "convert_text",
        &[
            ("VARCHAR(12)", "CONCAT('-', {v})", "INT"),
            ("VARCHAR(12)", "{v} / 7", "DOUBLE"),
            ("VARCHAR(12)", "CONCAT({v}, '.25')", "DECIMAL(10,2)"),
            ("VARCHAR(30)", "'2021-05-05' + INTERVAL {v} SECOND", "DATETIME"),
            ("VARCHAR(30)", "'2021-05-05' + INTERVAL {v} DAY", "DATE"),
            ("VARCHAR(30)", "SEC_TO_TIME({v})", "TIME"),
            ("VARCHAR(30)", "ELT(1 + {v} % 2, 'red', 'green')", "ENUM('green','blue','red')"),
            ("VARCHAR(30)", "ELT(1 + {v} % 3, '', 'x', 'y,x')", "SET('x','y')"),
            ("VARCHAR(90)", "JSON_ARRAY({v}, 'x')", "JSON"),
            ("CHAR(9)", "CONCAT({v}, '  ')", "VARCHAR(20)"),
            ("VARCHAR(9)", "CONCAT({v}, '  ')", "CHAR(20)"),
            ("VARCHAR(9)", "CONCAT({v}, '  ')", "VARBINARY(20)"),
            ("VARCHAR(20)", "CONCAT('😀', {v})", "VARBINARY(40)"),
            (
                "VARBINARY(20)",
                "CONVERT(CONCAT('é', {v}) USING utf8mb4)",
                "VARCHAR(20) CHARACTER SET utf8mb4",
            ),
            ("BINARY(6)", "CONCAT({v}, 0x00)", "VARBINARY(9)"),
            ("VARBINARY(6)", "CONCAT({v}, 0x20)", "BINARY(9)"),
            ("TEXT", "REPEAT('text', {v} % 50)", "LONGBLOB"),
            ("BLOB", "REPEAT('blob', {v} % 50)", "MEDIUMTEXT"),
            (
                "VARCHAR(20) COLLATE utf8mb4_bin",
                "CONCAT('Aä', {v})",
                "VARCHAR(20) COLLATE utf8mb4_0900_ai_ci",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn text_changes_its_character_set() {
    converts(
        "convert_charsets",
        &[
            (
                "VARCHAR(20) CHARACTER SET latin1",
                "CONCAT('Grüße €', {v})",
                "VARCHAR(20) CHARACTER SET utf8mb4",
            ),
            (
                "VARCHAR(20) CHARACTER SET gbk",
                "CONCAT('中文', {v})",
                "VARCHAR(20) CHARACTER SET utf8mb4",
            ),
            (
                "VARCHAR(20) CHARACTER SET sjis",
                "CONCAT('表ソ', {v})",
                "VARCHAR(20) CHARACTER SET utf16",
            ),
            (
                "VARCHAR(20) CHARACTER SET utf8mb4",
                "CONCAT('ü', {v})",
                "VARCHAR(20) CHARACTER SET latin1",
            ),
            (
                "CHAR(20) CHARACTER SET utf8mb3",
                "CONCAT('ü ', {v})",
                "CHAR(20) CHARACTER SET utf8mb4",
            ),
            (
                "TEXT CHARACTER SET latin1",
                "REPEAT('é', {v} % 900)",
                "LONGTEXT CHARACTER SET utf8mb4",
            ),
            (
                "ENUM('ä','ö') CHARACTER SET latin1",
                "1 + {v} % 2",
                "ENUM('ö','ä') CHARACTER SET utf8mb4",
            ),
            (
                "SET('ä','ö') CHARACTER SET utf8mb4",
                "{v} % 4",
                "SET('ö','x','ä') CHARACTER SET latin1",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn times_and_the_rest_become_other_types() {
    converts(
        "convert_times",
        &[
            ("DATE", "'2000-01-01' + INTERVAL {v} DAY", "DATETIME(3)"),
            ("DATE", "'2000-01-01' + INTERVAL {v} DAY", "VARCHAR(10)"),
            ("DATE", "'2000-01-01' + INTERVAL {v} DAY", "INT"),
            (
                "DATETIME(6)",
                "'2020-02-29 23:59:59.999999' + INTERVAL {v} MICROSECOND",
                "DATETIME(2)",
            ),
            ("DATETIME", "'2000-01-01' + INTERVAL {v} DAY", "DATE"),
            ("DATETIME", "'2000-01-01' + INTERVAL {v} SECOND", "BIGINT"),
            ("DATETIME", "'2000-01-01' + INTERVAL {v} SECOND", "TIMESTAMP NULL"),
            (
                "TIMESTAMP(6) NULL",
                "'2000-01-01 00:00:00.123456' + INTERVAL {v} SECOND",
                "DATETIME(6)",
            ),
            ("TIMESTAMP NULL", "'2000-01-01' + INTERVAL {v} SECOND", "VARCHAR(30)"),
            ("TIME(3)", "SEC_TO_TIME({v} / 8)", "TIME"),
            ("TIME", "SEC_TO_TIME(-CAST({v} AS SIGNED))", "VARCHAR(12)"),
            ("BIGINT", "20210101000000 + {v} % 60", "DATETIME"),
            ("ENUM('c','b','a')", "1 + {v} % 3", "VARCHAR(5)"),
            ("ENUM('c','b','a')", "1 + {v} % 3", "INT"),
            ("SET('c','b','a')", "{v} % 8", "VARCHAR(9)"),
            ("SET('c','b','a')", "{v} % 8", "BIGINT"),
            ("JSON", "JSON_OBJECT('n', {v}, 'd', {v} / 3)", "LONGTEXT"),
            ("GEOMETRY", "POINT({v}, 1)", "POINT"),
            ("POINT", "POINT({v}, 1)", "GEOMETRY"),
            ("VECTOR(3)", "TO_VECTOR(CONCAT('[', {v} / 7, ',1,2]'))", "VECTOR(9)"),
            ("VARBINARY(40)", "LEFT(UNHEX(SHA2({v}, 256)), 16)", "BLOB"),
        ],
    )
    .await;
}
