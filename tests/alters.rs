//! ALTERs of all kinds, each under four writers, each compared with a natively altered twin.

mod common;

use common::Database;
use common::scenario::Scenario;

const COLUMNS: &str =
    "a INT NOT NULL, b VARCHAR(40) NULL, c DECIMAL(10,2) NOT NULL DEFAULT 1, KEY (a)";

fn plain(name: &'static str, alter: &str) -> Scenario {
    Scenario::new(name, COLUMNS, alter).seed("a, b, c", "n % 97, CONCAT('row ', n), n / 7").writes(
        "a, b",
        "{n}, 'new'",
        &["a = {n}", "b = 'changed {n}', c = {n} / 3", "b = NULL", "id = {new}"],
    )
}

async fn check(scenario: Scenario) {
    let db = Database::new(scenario.name).await;
    let outcome = scenario.succeeds(&db).await;
    assert!(outcome.tally.keys_replayed > 0, "{}: nothing was written meanwhile", scenario.name);
}

#[tokio::test]
async fn a_column_is_added() {
    check(plain("add_column", "ADD COLUMN d VARCHAR(20) NOT NULL DEFAULT 'x' AFTER a")).await;
}

#[tokio::test]
async fn several_clauses_at_once() {
    let scenario = Scenario::new(
        "several",
        COLUMNS,
        "DROP COLUMN b, ADD COLUMN e DATETIME DEFAULT '2020-01-01 00:00:00', \
         MODIFY c DECIMAL(20,4) NOT NULL FIRST, ADD INDEX ca (c, a), DROP INDEX a, \
         COMMENT 'several, clauses', ROW_FORMAT = DYNAMIC",
    )
    .seed("a, b, c", "n % 97, CONCAT('row ', n), n / 7")
    .writes("a, c", "{n}, 4", &["a = {n}", "c = {n}"]);
    check(scenario).await;
}

#[tokio::test]
async fn columns_are_renamed_and_swapped() {
    let swap = Scenario::new(
        "swap_names",
        "a INT NOT NULL, b INT NOT NULL",
        "RENAME COLUMN a TO b, RENAME COLUMN b TO a",
    )
    .seed("a, b", "n, -n")
    .writes("a, b", "{n}, -{n}", &["a = {n}", "b = {n} + 5"]);
    // After the swap the names mean the other column, so the writers stop before it: the writes below
    // treat both alike.
    let swap = Scenario {
        writes: vec![
            "INSERT INTO {t} (id, a, b) VALUES ({new}, {n}, {n})".to_owned(),
            "UPDATE {t} SET a = {n}, b = {n} WHERE id = {id}".to_owned(),
            "DELETE FROM {t} WHERE id = {id}".to_owned(),
        ],
        ..swap
    };
    let db = Database::new("swap_names").await;
    swap.prepare(&db).await;
    let writers = common::scenario::Writers::start(&swap, &db).await;
    db.alter("t", &swap.alter).await.expect("done");
    writers.stop(&swap).await;
    swap.assert_equal(&db).await;
}

#[tokio::test]
async fn a_stored_generated_column_becomes_a_plain_one_and_keeps_its_values() {
    let scenario = Scenario::new(
        "generated_to_plain",
        "a INT NOT NULL, g INT GENERATED ALWAYS AS (a * 3 + 1) STORED",
        "MODIFY g INT",
    )
    .seed("a", "n");
    let scenario = Scenario {
        writes: vec![
            "DELETE FROM {t} WHERE id = {id}".to_owned(),
            "DELETE FROM {t} WHERE id = {id} + 1".to_owned(),
        ],
        ..scenario
    };
    check(scenario).await;
}

#[tokio::test]
async fn a_plain_column_becomes_a_generated_one() {
    let scenario = Scenario::new(
        "plain_to_generated",
        "a INT NOT NULL, g INT",
        "DROP COLUMN g, ADD COLUMN g INT GENERATED ALWAYS AS (a * 2) STORED, ADD COLUMN v INT GENERATED ALWAYS AS (a + 1) VIRTUAL, ADD INDEX (v)",
    )
    .seed("a, g", "n, n")
    .writes("a", "{n}", &["a = {n}"]);
    check(scenario).await;
}

#[tokio::test]
async fn the_key_is_widened() {
    check(plain("widen_key", "MODIFY id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT")).await;
}

#[tokio::test]
async fn text_is_converted_to_another_character_set() {
    let scenario = Scenario::new(
        "convert_charset",
        "b VARCHAR(40) CHARACTER SET latin1, c TEXT CHARACTER SET latin1",
        "CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
    )
    .seed("b, c", "CONCAT('Grüße ', n), REPEAT('é', n % 50)")
    .writes("b, c", "'äöü {n}', 'ß'", &["b = 'çà {n}'", "c = CONCAT(c, 'é')"])
    .tolerate(1406);
    check(scenario).await;
}

#[tokio::test]
async fn members_are_added_to_and_moved_in_an_enum() {
    let scenario = Scenario::new(
        "enum_reorder",
        "e ENUM('new','paid','sent') NOT NULL, s SET('x','y','z') NOT NULL",
        "MODIFY e ENUM('lost','sent','paid','new') NOT NULL, MODIFY s SET('z','w','y','x') NOT NULL",
    )
    .seed("e, s", "ELT(1 + n % 3, 'new', 'paid', 'sent'), n % 8")
    .writes("e, s", "'paid', 'x,z'", &["e = 'sent'", "s = 'y'", "e = 'new', s = ''"]);
    check(scenario).await;
}

#[tokio::test]
async fn a_unique_index_is_added_over_values_that_move_between_rows() {
    let scenario = Scenario::new("add_unique", "u INT NULL, a INT NOT NULL", "ADD UNIQUE uq (u)")
        .seed("u, a", "n, n")
        .tolerate(1062);
    let scenario = Scenario {
        // The twin has the unique index from the start, so that no duplicate is ever written; the
        // values wander between rows by way of NULL.
        create: scenario.create.clone(),
        writes: vec![
            "UPDATE {t} SET u = NULL WHERE id = {id}".to_owned(),
            "UPDATE {t} SET a = {n} WHERE id = {id}".to_owned(),
            "DELETE FROM {t} WHERE id = {id}".to_owned(),
            "INSERT INTO {t} (id, u, a) VALUES ({new}, {new} + 1000000, {n})".to_owned(),
        ],
        ..scenario
    };
    check(scenario).await;
}

#[tokio::test]
async fn values_of_a_unique_index_swap_between_rows() {
    let mut scenario = Scenario::new(
        "unique_swap",
        "u INT NULL, a INT NOT NULL, UNIQUE uq (u)",
        "ADD COLUMN z INT NOT NULL DEFAULT 5",
    )
    .seed("u, a", "n, n")
    .tolerate(1062);
    // Two statements cannot swap two values in one UPDATE, so a row gives its value up and another one
    // takes it, in different transactions and in any order; the unique index rejects what would clash.
    scenario.writes = vec![
        "UPDATE {t} SET u = NULL WHERE id = {id}".to_owned(),
        "UPDATE {t} SET u = {n} WHERE id = {id}".to_owned(),
        "UPDATE {t} SET u = {n} + 19000 WHERE id = {id}".to_owned(),
        "DELETE FROM {t} WHERE id = {id}".to_owned(),
        "INSERT INTO {t} (id, u, a) VALUES ({new}, {n}, 1)".to_owned(),
        "UPDATE {t} SET id = {new} WHERE id = {id}".to_owned(),
    ];
    check(scenario).await;
}

#[tokio::test]
async fn a_unique_index_is_dropped() {
    let scenario = Scenario::new("drop_unique", "u INT NULL, UNIQUE uq (u)", "DROP INDEX uq")
        .seed("u", "n")
        .writes("u", "NULL", &["u = NULL"]);
    check(scenario).await;
}

#[tokio::test]
async fn a_table_is_partitioned_and_made_whole_again() {
    check(plain("partition", "PARTITION BY HASH (id) PARTITIONS 4")).await;
    let mut whole = plain("unpartition", "REMOVE PARTITIONING");
    whole.create.push_str(" PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (5000), PARTITION p1 VALUES LESS THAN MAXVALUE)");
    check(whole).await;
}

#[tokio::test]
async fn timestamps_become_datetimes_in_the_servers_time_zone() {
    let scenario = Scenario::new(
        "timestamp_to_datetime",
        "ts TIMESTAMP(3) NOT NULL",
        "MODIFY ts DATETIME(3) NOT NULL",
    )
    .seed("ts", "FROM_UNIXTIME(1700000000 + n * 1000)")
    .writes("ts", "'2021-05-05 05:05:05.555'", &["ts = '2022-02-02 02:02:02'"]);
    check(scenario).await;
}

#[tokio::test]
async fn a_table_without_a_primary_key_is_altered_by_its_unique_key() {
    let mut scenario = plain("unique_key", "ADD COLUMN d INT");
    scenario.create =
        format!("CREATE TABLE {{t}} (id INT NOT NULL, {COLUMNS}, UNIQUE KEY uid (id))");
    check(scenario).await;
}

/// Verification compares converted rows by way of a temporary table, which can have none of this.
#[tokio::test]
async fn a_type_changes_in_a_table_with_fulltext_compression_and_a_counter_beside_the_key() {
    let mut scenario =
        plain("odd_parts", "MODIFY c DECIMAL(20,4) NOT NULL DEFAULT 1, ADD COLUMN d INT");
    scenario.create = format!(
        "CREATE TABLE {{t}} (id INT NOT NULL PRIMARY KEY, {COLUMNS}, n INT NOT NULL AUTO_INCREMENT, p POINT \
         NOT NULL SRID 0 DEFAULT (POINT(1, 1)), KEY (n, a), FULLTEXT KEY (b), SPATIAL KEY (p)) \
         ROW_FORMAT = COMPRESSED KEY_BLOCK_SIZE = 8 COMMENT = 'odd) parts'"
    );
    // A counter that each table runs for itself would give the twin other numbers.
    scenario.seed = vec![
        "INSERT INTO {t} (id, a, b, c, n) SELECT n, n % 97, CONCAT('row ', n), n / 7, n \
         FROM numbers WHERE n <= 5000"
            .to_owned(),
    ];
    scenario.ids = 5_000;
    // Nor would a fraction that is written after the swap be rounded.
    scenario.writes.retain(|write| !write.starts_with("INSERT") && !write.contains("/ 3"));
    scenario
        .writes
        .push("INSERT INTO {t} (id, a, b, n) VALUES ({new}, {n}, 'new words', {new})".to_owned());
    check(scenario).await;
}

#[tokio::test]
async fn a_check_constraint_is_dropped_by_the_name_that_the_source_gives_it() {
    let db = Database::new("drop_check").await;
    db.sql(&[
        "CREATE TABLE t (id INT PRIMARY KEY, a INT, CONSTRAINT low CHECK (a > 0), CONSTRAINT high CHECK (a < 100))",
        "INSERT INTO t VALUES (1, 5)",
    ])
    .await;
    let outcome = db.alter("t", "DROP CHECK low, ADD COLUMN c INT").await.expect("done");
    assert!(outcome.warnings.iter().any(|warning| warning.contains("constraint high")));
    db.sql(&["INSERT INTO t (id, a) VALUES (2, -5)"]).await;
    let mut conn = db.conn().await;
    use mysql_async::prelude::Queryable;
    let refused = conn.query_drop("INSERT INTO t (id, a) VALUES (3, 500)").await;
    assert!(refused.is_err_and(|error| error.to_string().contains("t_chk_")));
}

/// Generated columns, and the time in a new column, are computed in the server's time zone, as the
/// application and a native ALTER compute them.
#[tokio::test]
async fn values_that_depend_on_the_time_zone_are_computed_in_the_servers() {
    use mysql_async::prelude::Queryable;
    let server = replank::throwaway::ThrowawayServer::builder()
        .option("--default-time-zone=+09:30")
        .start()
        .await
        .expect("a server");
    let db = Database::on(server.root_opts(), "zone").await;
    let scenario = Scenario::new(
        "zone",
        "ts TIMESTAMP NOT NULL, d DATE AS (DATE(ts)) STORED, v VARCHAR(20) AS (DATE_FORMAT(ts, '%H')) VIRTUAL, \
         KEY (v)",
        "ADD COLUMN c INT, ADD COLUMN e VARCHAR(30) AS (CONCAT(ts, '')) STORED",
    )
    .seed("ts", "FROM_UNIXTIME(1700000000 + n * 1000)")
    .writes("ts", "'2021-05-05 23:05:05'", &["ts = '2022-02-02 00:02:02'", "id = {new}"]);
    scenario.succeeds(&db).await;
    db.alter("t", "ADD COLUMN made DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP")
        .await
        .expect("done");
    let off: Option<i64> = db
        .conn()
        .await
        .query_first("SELECT MAX(ABS(TIMESTAMPDIFF(MINUTE, made, NOW()))) FROM t")
        .await
        .expect("the difference");
    assert!(off.is_some_and(|minutes| minutes < 10), "{off:?} minutes");
}

#[tokio::test]
async fn null_is_forbidden_or_allowed_without_another_change() {
    let forbidden = Scenario::new(
        "not_null",
        "a INT NULL, b VARCHAR(20) NOT NULL",
        "MODIFY a INT NOT NULL, MODIFY b VARCHAR(20) NULL",
    )
    .seed("a, b", "n, 'b'")
    .writes("a, b", "{n}, '{n}'", &["a = {n}", "b = '{n}'", "id = {new}"]);
    check(forbidden).await;
}
