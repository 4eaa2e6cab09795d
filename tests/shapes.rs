//! Tables of unusual shape and name.

mod common;

use common::Database;
use common::scenario::{Scenario, compare};

/// Makes the same table twice, migrates one, alters the other natively, compares.
async fn quiet(db: &Database, table: &str, create: &str, seed: &[&str], alter: &str) {
    let quote = |name: &str| format!("`{}`", name.replace('`', "``"));
    let twin = format!("{:.50}_twin", table.replace('`', "_"));
    let mut conn = db.conn().await;
    use mysql_async::prelude::Queryable;
    conn.query_drop("SET SESSION cte_max_recursion_depth = 1000000, sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')").await.expect("mode");
    for name in [table, &twin] {
        for statement in std::iter::once(&create).chain(seed) {
            let sql = statement.replace("{t}", &quote(name));
            conn.query_drop(&sql).await.unwrap_or_else(|e| panic!("{e}: {sql:.300}"));
        }
    }
    db.alter(table, alter).await.unwrap_or_else(|error| panic!("{table}: {error}"));
    conn.query_drop(format!("ALTER TABLE {} {alter}", quote(&twin))).await.expect("the twin");
    compare(&mut conn, table, table, &twin, true).await;
    conn.disconnect().await.expect("disconnect");
}

#[tokio::test]
async fn names_with_backticks_spaces_and_reserved_words() {
    let db = Database::new("odd `names` select").await;
    let create = "CREATE TABLE {t} (`key` INT, `from``x` VARCHAR(9), `ü b` INT, PRIMARY KEY (`key`, `from``x`))";
    let seed = "INSERT INTO {t} VALUES (1, 'a`b', 1), (2, '', NULL), (2, 'x''y', 3)";
    quiet(&db, "select", create, &[seed], "ADD COLUMN `group` INT, RENAME COLUMN `ü b` TO `order`")
        .await;
    quiet(&db, "a`b c\"d", create, &[seed], "ADD COLUMN `group` INT").await;
}

#[tokio::test]
async fn a_table_name_of_64_characters() {
    let db = Database::new("long_name").await;
    let name = "ä".repeat(64);
    quiet(
        &db,
        &name,
        "CREATE TABLE {t} (id INT PRIMARY KEY, c INT)",
        &["INSERT INTO {t} VALUES (1, 1), (2, 2)"],
        "ADD COLUMN d INT DEFAULT 4",
    )
    .await;
}

#[tokio::test]
async fn two_hundred_columns() {
    let db = Database::new("wide").await;
    let columns: String = (0..199).map(|n| format!(", c{n} VARCHAR(6) DEFAULT 'v{n}'")).collect();
    let mut scenario = Scenario::new(
        "wide",
        &columns[1..],
        "ADD COLUMN last INT NOT NULL DEFAULT 3, DROP COLUMN c7",
    )
    .writes("c5", "'{n}'", &["c198 = '{n}'", "c0 = NULL"]);
    scenario.ids = 3_000;
    let scenario = scenario.seed("c1, c198", "n, n * 2");
    scenario.succeeds(&db).await;
}

#[tokio::test]
async fn an_empty_table_and_one_of_a_single_row() {
    let db = Database::new("tiny").await;
    let create = "CREATE TABLE {t} (id INT AUTO_INCREMENT PRIMARY KEY, c INT) AUTO_INCREMENT = 77";
    quiet(&db, "empty", create, &[], "ADD COLUMN d INT").await;
    quiet(&db, "single", create, &["INSERT INTO {t} (c) VALUES (5)"], "ADD COLUMN d INT").await;
    // The counter stays ahead of rows that are deleted at the end.
    quiet(
        &db,
        "tail",
        create,
        &["INSERT INTO {t} (c) VALUES (5), (6), (7)", "DELETE FROM {t} WHERE c > 5"],
        "ADD COLUMN d INT",
    )
    .await;
    quiet(&db, "counter", create, &["INSERT INTO {t} (c) VALUES (5)"], "AUTO_INCREMENT = 5000")
        .await;
}

#[tokio::test]
async fn ids_that_are_zero_negative_or_far_apart() {
    let db = Database::new("odd_ids").await;
    quiet(
        &db,
        "odd",
        "CREATE TABLE {t} (id BIGINT AUTO_INCREMENT PRIMARY KEY, c INT)",
        &[
            "INSERT INTO {t} VALUES (0, 0), (-1, 1), (-9223372036854775808, 2), (9223372036854775806, 3), (7, 4)",
            "INSERT INTO {t} SELECT n * 1099511627776, n FROM (WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 3000) SELECT n FROM s) numbers",
        ],
        "ADD COLUMN d INT NOT NULL DEFAULT 1",
    )
    .await;
    quiet(
        &db,
        "unsigned",
        "CREATE TABLE {t} (id BIGINT UNSIGNED PRIMARY KEY, c INT)",
        &["INSERT INTO {t} VALUES (0, 0), (18446744073709551615, 1), (9223372036854775808, 2)"],
        "ADD COLUMN d INT NOT NULL DEFAULT 1",
    )
    .await;
}
