//! A large table that nobody uses any more is removed in slices.

mod common;

use std::time::Duration;

use common::Database;
use common::scenario::NUMBERS;
use mysql_async::prelude::Queryable;
use replank::removal::Removal;
use replank::sql::TableName;

/// Removes the table as if it were large. Returns how many slices it took.
async fn removed(db: &Database, create: &str, fill: &str) -> u64 {
    db.sql(&[NUMBERS, create, fill, "ANALYZE TABLE big"]).await;
    let mut session = db.server().session(&Default::default()).await.expect("a session");
    let name = TableName::new(db.name.clone(), "big");
    let removal = Removal { at_once_below: 0 };
    let slices = removal.remove(&mut session, &name).await.expect("removed");
    let tables: Vec<String> = db.fingerprint().await.into_iter().map(|(t, ..)| t).collect();
    assert_eq!(tables, ["numbers"]);
    slices
}

#[tokio::test]
async fn the_rows_go_first_in_slices_by_key() {
    let db = Database::new("removal").await;
    let fill = "INSERT INTO big SELECT n, n, REPEAT('x', 200) FROM numbers WHERE n <= 50000";
    for key in ["PRIMARY KEY (id)", "PRIMARY KEY (b, id)", "UNIQUE KEY (id)"] {
        let create =
            format!("CREATE TABLE big (id INT NOT NULL, b VARCHAR(30) NOT NULL, c TEXT, {key})");
        let slices = removed(&db, &create, fill).await;
        assert!(slices > 3, "{key}: {slices} slices");
    }
    let without = "CREATE TABLE big (id INT, b VARCHAR(30), c TEXT)";
    assert_eq!(removed(&db, without, fill).await, 0, "there is no key to cut it by");
}

#[tokio::test]
async fn a_partitioned_table_goes_by_partition() {
    let db = Database::new("removal_parts").await;
    let fill = "INSERT INTO big SELECT n, 'b' FROM numbers WHERE n <= 10000";
    let create =
        "CREATE TABLE big (id INT PRIMARY KEY, b TEXT) PARTITION BY HASH (id) PARTITIONS 5";
    assert_eq!(removed(&db, create, fill).await, 5);
    let create = "CREATE TABLE big (id INT PRIMARY KEY, b TEXT) PARTITION BY RANGE (id) SUBPARTITION BY HASH (id) \
                  SUBPARTITIONS 2 (PARTITION p0 VALUES LESS THAN (5000), PARTITION p1 VALUES LESS THAN MAXVALUE)";
    assert_eq!(removed(&db, create, fill).await, 2);
}

/// Each DELETE is a short one, by the account of the server itself.
#[tokio::test]
async fn no_slice_takes_long() {
    let db = Database::new("removal_slices").await;
    let mut watcher = db.conn().await;
    let create = "CREATE TABLE big (id INT PRIMARY KEY, c TEXT, KEY (c(50)))";
    let fill = "INSERT INTO big SELECT n, REPEAT(n, 100) FROM numbers WHERE n <= 100000";
    removed(&db, create, fill).await;
    let longest: Option<f64> = watcher
        .query_first(
            "SELECT MAX(MAX_TIMER_WAIT) / 1e12 FROM performance_schema.events_statements_summary_by_digest \
             WHERE DIGEST_TEXT LIKE 'DELETE FROM `removal_slices` . `big`%'",
        )
        .await
        .expect("the times");
    assert!(
        longest.is_some_and(|seconds| seconds < Duration::from_secs(2).as_secs_f64()),
        "{longest:?}"
    );
}
