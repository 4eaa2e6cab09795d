//! Large rows and large transactions pass through the stream.

mod common;

use std::time::Duration;

use common::scenario::compare;
use common::{Database, Lookout};
use mysql_async::prelude::Queryable;
use replank::control::Command;
use replank::progress::Phase;
use replank::run::{Options, Tally};
use replank::throwaway::ThrowawayServer;

/// Runs a migration of `t`, and a statement on it when the copy has begun.
async fn with_statements(db: &Database, statements: &[&str]) {
    let alter = "ADD COLUMN z INT NOT NULL DEFAULT 9";
    let outcome = db.alter_and_meddle("t", alter, 1_000, db.sql(statements)).await;
    let outcome = outcome.expect("done");
    assert!(outcome.tally.keys_replayed > 0, "the writes came too late");
    db.sql(&["ALTER TABLE twin ADD COLUMN z INT NOT NULL DEFAULT 9"]).await;
    let mut conn = db.conn().await;
    compare(&mut conn, &db.name, "t", "twin", false).await;
}

#[tokio::test]
async fn a_row_of_17_mb() {
    let db = Database::new("large_row").await;
    db.sql(&[
        "SET GLOBAL max_allowed_packet = 1073741824",
        "CREATE TABLE t (id INT PRIMARY KEY, body LONGBLOB)",
        "SET SESSION cte_max_recursion_depth = 100000",
    ])
    .await;
    let fill = "INSERT INTO t WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 60000) SELECT /*+ SET_VAR(cte_max_recursion_depth = 100000) */ n, REPEAT('x', n % 500) FROM s";
    db.sql(&[fill, "CREATE TABLE twin LIKE t", "INSERT INTO twin SELECT * FROM t"]).await;
    with_statements(
        &db,
        &[
            "INSERT INTO t VALUES (-5, REPEAT('large', 3565158))",
            "INSERT INTO twin VALUES (-5, REPEAT('large', 3565158))",
            "UPDATE t SET body = REPEAT('other', 3565159) WHERE id = 17",
            "UPDATE twin SET body = REPEAT('other', 3565159) WHERE id = 17",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_transaction_of_200_000_rows() {
    let db = Database::new("large_transaction").await;
    db.sql(&["CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT NOT NULL, b VARCHAR(50))"])
        .await;
    let fill = "INSERT INTO t (a, b) WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 200000) SELECT /*+ SET_VAR(cte_max_recursion_depth = 1000000) */ n, 'row' FROM s";
    db.sql(&[fill, "CREATE TABLE twin LIKE t", "INSERT INTO twin SELECT * FROM t"]).await;
    with_statements(
        &db,
        &["UPDATE t SET a = -a, b = 'changed'", "UPDATE twin SET a = -a, b = 'changed'"],
    )
    .await;
}

/// Changes rows in every way there is.
const UPHEAVAL: [&str; 5] = [
    "UPDATE {t} SET a = -a WHERE id % 2 = 0",
    "DELETE FROM {t} WHERE id % 7 = 0",
    "UPDATE {t} SET id = id + 1000000 WHERE id % 11 = 0",
    "INSERT INTO {t} (id, a, b) SELECT -id, a, 'new' FROM {t} WHERE id % 5 = 0 AND id < 1000000",
    "UPDATE {t} SET b = 'again' WHERE id % 3 = 0",
];

/// A run that holds a thousand changed keys one by one meets a transaction that changes far more of them.
async fn with_an_upheaval(name: &str, alter: &str, when: impl AsyncFn(&Lookout) -> bool) -> Tally {
    let db = Database::new(name).await;
    db.sql(&["CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL, b VARCHAR(50), KEY (a))"]).await;
    let fill = "INSERT INTO t (id, a, b) WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 40000) SELECT /*+ SET_VAR(cte_max_recursion_depth = 1000000) */ n, n, 'row' FROM s";
    db.sql(&[fill, "CREATE TABLE twin LIKE t", "INSERT INTO twin SELECT * FROM t"]).await;
    let options = Options {
        max_changed_keys: 1_000,
        rows_per_second: Some(40_000),
        chunk_time: Duration::from_millis(10),
        postpone_cut_over: true,
        ..common::options()
    };
    let beside = async |run: &Lookout| {
        assert!(when(run).await, "the run ended too early");
        let mut conn = db.conn().await;
        conn.query_drop("START TRANSACTION").await.expect("begin");
        for table in ["t", "twin"] {
            for statement in UPHEAVAL {
                let statement = statement.replace("{t}", table);
                conn.query_drop(&statement).await.unwrap_or_else(|e| panic!("{e}: {statement}"));
            }
        }
        conn.query_drop("COMMIT").await.expect("commit");
        // Some of those rows change once more while the others are being listed.
        for id in 0..200 {
            for table in ["t", "twin"] {
                let change = format!("UPDATE {table} SET a = a + 1 WHERE id = {}", id * 198 + 1);
                conn.query_drop(change).await.expect("a change");
            }
        }
        run.control.obey(&Command::CutOver, "test").expect("told");
    };
    let (outcome, ()) = db.alter_beside(&db.request("t", alter), &options, beside).await;
    let outcome = outcome.expect("done");
    db.sql(&[&format!("ALTER TABLE twin {alter}")]).await;
    compare(&mut db.conn().await, &db.name, "t", "twin", false).await;
    outcome.tally
}

#[tokio::test]
async fn a_transaction_with_more_keys_than_are_held_before_the_swap() {
    let when = async |run: &Lookout| run.reaches(Phase::CutOver).await;
    let tally = with_an_upheaval("giant_late", "ADD COLUMN z INT NOT NULL DEFAULT 9", when).await;
    assert!(tally.keys_condensed > 20_000, "{tally:?}");
}

#[tokio::test]
async fn a_transaction_with_more_keys_than_are_held_during_the_copy() {
    let when = async |run: &Lookout| run.copied(15_000).await;
    let tally = with_an_upheaval("giant_early", "ADD COLUMN z INT NOT NULL DEFAULT 9", when).await;
    assert!(tally.keys_condensed > 1_000, "{tally:?}");
}

#[tokio::test]
async fn a_transaction_with_more_keys_than_are_held_where_values_are_unique() {
    // Every batch deletes and inserts, and pulls in the rows that stand in its way.
    let when = async |run: &Lookout| run.reaches(Phase::Verify).await;
    let alter = "ADD COLUMN z INT NOT NULL DEFAULT 9, ADD UNIQUE KEY u (a, id)";
    let tally = with_an_upheaval("giant_unique", alter, when).await;
    assert!(tally.keys_condensed > 20_000, "{tally:?}");
}

#[tokio::test]
async fn a_row_whose_values_are_too_long_to_be_compared() {
    let server = ThrowawayServer::builder()
        .option("--innodb-buffer-pool-size=128M")
        .option("--max-allowed-packet=1M");
    let server = server.start().await.expect("the server starts");
    let db = Database::on(server.root_opts(), "too_long").await;
    db.sql(&[
        "CREATE TABLE t (id INT PRIMARY KEY, a LONGBLOB NOT NULL, b LONGBLOB NOT NULL)",
        "INSERT INTO t VALUES (1, 'short', 'short'), (2, REPEAT('a', 700000), REPEAT('b', 700000)), (3, '', '')",
    ])
    .await;
    let before = db.fingerprint().await;
    let error = db.alter("t", "ADD COLUMN z INT NOT NULL DEFAULT 9").await.expect_err("too long");
    assert!(error.to_string().contains("cannot be compared"), "{error}");
    assert!(error.next_step().expect("a remedy").contains("max_allowed_packet"), "{error}");
    let mut conn = db.conn().await;
    conn.query_drop("SET GLOBAL max_allowed_packet = 16777216").await.expect("raised");
    assert!(db.fingerprint().await.iter().any(|table| before.contains(table)), "it is as it was");
    db.alter("t", "ADD COLUMN z INT NOT NULL DEFAULT 9").await.expect("the same command goes on");
    let sums: Option<(u64, u64)> =
        conn.query_first("SELECT SUM(z), SUM(LENGTH(a) + LENGTH(b)) FROM t").await.expect("sums");
    assert_eq!(sums, Some((27, 1_400_010)));
}
