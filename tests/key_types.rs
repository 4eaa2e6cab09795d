//! Keys of every type under writers that insert, change, move and delete rows by that key.

mod common;

use common::Database;
use common::scenario::Scenario;

/// A key: the definition of its columns, their names, and their values for number `{v}`, different
/// for different numbers up to a million.
struct Key {
    name: &'static str,
    columns: &'static str,
    index: &'static str,
    parts: &'static [(&'static str, &'static str)],
}

impl Key {
    fn scenario(&self) -> Scenario {
        let mut scenario =
            Scenario::new(self.name, "", "ADD COLUMN z INT NOT NULL DEFAULT 7, ADD INDEX (a, z)");
        scenario.ids = 4_000;
        scenario.create = format!(
            "CREATE TABLE {{t}} ({}, a INT NOT NULL, b VARCHAR(40) DEFAULT 'x', {})",
            self.columns, self.index
        );
        let pairs = |number: &str, glue: &str| {
            let value = |(column, value): &(&str, &str)| {
                format!("{column} = {}", value.replace("{v}", number))
            };
            self.parts.iter().map(value).collect::<Vec<_>>().join(glue)
        };
        let row = |number: &str| {
            let values = self.parts.iter().map(|(_, value)| value.replace("{v}", number));
            values.collect::<Vec<_>>().join(", ")
        };
        let names = self.parts.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let here = pairs("{id}", " AND ");
        scenario.seed = vec![format!(
            "INSERT INTO {{t}} ({names}, a) SELECT {}, n FROM numbers WHERE n <= {}",
            row("n"),
            scenario.ids
        )];
        scenario.writes = vec![
            format!("DELETE FROM {{t}} WHERE {here}"),
            format!("UPDATE {{t}} SET a = {{n}} WHERE {here}"),
            format!("UPDATE {{t}} SET {} WHERE {here}", pairs("{new}", ", ")),
            format!("INSERT INTO {{t}} ({names}, a) VALUES ({}, {{n}})", row("{new}")),
            // An old number may come back as another row.
            format!("REPLACE INTO {{t}} ({names}, a) VALUES ({}, {{n}})", row("{id}")),
        ];
        scenario
    }
}

async fn passes(scenario: Scenario) {
    let db = Database::new(scenario.name).await;
    let outcome = scenario.succeeds(&db).await;
    assert!(outcome.tally.keys_replayed > 0, "{}: nothing was written meanwhile", scenario.name);
    assert!(outcome.tally.chunks > 1, "{}: only one chunk", scenario.name);
    assert_eq!(outcome.tally.rows_repaired, 0, "{}: the replay missed a row", scenario.name);
}

async fn all_pass(keys: &[Key]) {
    for key in keys {
        passes(key.scenario()).await;
    }
}

const PRIMARY: &str = "PRIMARY KEY (k)";

const fn single(
    name: &'static str,
    columns: &'static str,
    parts: &'static [(&'static str, &'static str)],
) -> Key {
    Key { name, columns, index: PRIMARY, parts }
}

#[tokio::test]
async fn numbers() {
    all_pass(&[
        single("key_mediumint", "k MEDIUMINT", &[("k", "{v} - 100000")]),
        single("key_bigint", "k BIGINT UNSIGNED", &[("k", "18446744073709551615 - {v}")]),
        single("key_negative", "k BIGINT", &[("k", "{v} * 3 - 9223372036854775807")]),
        single("key_decimal", "k DECIMAL(20,5)", &[("k", "({v} - 1500) * 7.12345")]),
        single("key_bit", "k BIT(33)", &[("k", "8589934591 - {v}")]),
        Key {
            name: "key_small_parts",
            columns: "x TINYINT UNSIGNED, y SMALLINT, w YEAR",
            index: "PRIMARY KEY (w, y, x)",
            parts: &[("x", "{v} % 256"), ("y", "{v} DIV 256 - 500"), ("w", "1950 + {v} % 7")],
        },
    ])
    .await;
}

#[tokio::test]
async fn times() {
    all_pass(&[
        single("key_date", "k DATE", &[("k", "DATE('1200-01-01' + INTERVAL {v} DAY)")]),
        single("key_time", "k TIME(3)", &[("k", "TIMEDIFF(SEC_TO_TIME({v} / 1000), '00:00:02')")]),
        single(
            "key_datetime",
            "k DATETIME(6)",
            &[("k", "'2020-02-29 23:59:59.9' + INTERVAL {v} * 777 MICROSECOND")],
        ),
        single("key_timestamp", "k TIMESTAMP(2)", &[("k", "FROM_UNIXTIME(1698530000 + {v} / 2)")]),
        Key {
            name: "key_year_and_more",
            columns: "y YEAR, e ENUM('z','y','x') , n INT",
            index: "PRIMARY KEY (e, y, n)",
            parts: &[("y", "2000 + {v} % 9"), ("e", "1 + {v} % 3"), ("n", "{v}")],
        },
    ])
    .await;
}

#[tokio::test]
async fn bytes() {
    all_pass(&[
        single("key_uuid", "k BINARY(16)", &[("k", "LEFT(UNHEX(SHA2({v}, 256)), 16)")]),
        single("key_varbinary", "k VARBINARY(40)", &[("k", "CONCAT({v}, REPEAT(0x00, {v} % 4))")]),
        single(
            "key_binary_text",
            "k VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            &[("k", "CONCAT('Ä', SHA2({v}, 256))")],
        ),
        Key {
            name: "key_set",
            columns: "s SET('a','b','c'), n INT",
            index: "PRIMARY KEY (s, n)",
            parts: &[("s", "{v} % 8"), ("n", "{v} DIV 8")],
        },
    ])
    .await;
}

/// A key whose collation takes different texts for the same one; the writers change one into the other.
fn respelled(
    name: &'static str,
    column: &'static str,
    value: &'static str,
    updates: &[&str],
) -> Scenario {
    let parts: &'static [(&'static str, &'static str)] = Box::leak(Box::new([("k", value)]));
    let mut scenario = single(name, column, parts).scenario();
    for update in updates {
        scenario.writes.push(format!(
            "UPDATE {{t}} SET k = {update} WHERE k = {}",
            value.replace("{v}", "{id}")
        ));
    }
    scenario
}

#[tokio::test]
async fn text_that_is_equal_in_other_letters() {
    for scenario in [
        respelled(
            "key_ai_ci",
            "k VARCHAR(40) COLLATE utf8mb4_0900_ai_ci",
            "CONCAT('straße é ', {v}, 'x')",
            &["UPPER(k)", "LOWER(k)", "REPLACE(k, 'é', 'E')"],
        ),
        respelled(
            "key_pad_space",
            "k VARCHAR(40) COLLATE utf8mb4_general_ci",
            "CONCAT('Key ', {v})",
            &["UPPER(k)", "CONCAT(RTRIM(k), REPEAT(' ', {n} % 4))"],
        ),
        respelled(
            "key_latin1",
            "k CHAR(40) CHARACTER SET latin1 COLLATE latin1_german2_ci",
            "CONCAT('ä', {v})",
            &["UPPER(k)", "REPLACE(k, 'ä', 'ae')"],
        ),
        respelled(
            "key_sjis",
            "k VARCHAR(30) CHARACTER SET sjis",
            "CONCAT('表ソ', {v}, 'a')",
            &["UPPER(k)", "LOWER(k)"],
        ),
        respelled(
            "key_utf16",
            "k VARCHAR(30) CHARACTER SET utf16",
            "CONCAT('😀', {v}, 'a')",
            &["UPPER(k)"],
        ),
        respelled(
            "key_gbk",
            "k VARCHAR(30) CHARACTER SET gbk",
            "CONCAT('中', {v}, 'a')",
            &["UPPER(k)"],
        ),
    ] {
        passes(scenario).await;
    }
}

#[tokio::test]
async fn composites_and_a_unique_index_instead_of_a_primary_key() {
    all_pass(&[
        Key {
            name: "key_composite",
            columns: "t TINYINT, v VARCHAR(10) CHARACTER SET latin1, d DATETIME(3), n DECIMAL(6,1)",
            index: "PRIMARY KEY (v, d, t, n)",
            parts: &[
                ("t", "{v} % 9 - 4"),
                ("v", "CONCAT('v', {v} % 11)"),
                ("d", "'2024-01-01' + INTERVAL {v} DIV 100 SECOND"),
                ("n", "{v} % 100 - 50.5"),
            ],
        },
        Key {
            name: "key_unique",
            columns: "o INT, s VARCHAR(30) NOT NULL, n BIGINT NOT NULL",
            index: "UNIQUE KEY nullable (o), UNIQUE KEY both_parts (s, n)",
            parts: &[("s", "CONCAT('s', {v} % 5)"), ("n", "-{v}")],
        },
    ])
    .await;
}
