//! Large rows and large transactions pass through the stream.

mod common;

use common::Database;
use common::scenario::compare;

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
