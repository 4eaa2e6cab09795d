//! What the optimizer knows of the new table: as many rows as there are, and the histograms that the server's own
//! ALTER would have kept. The twin tells which these are.

mod common;

use std::collections::BTreeMap;

use common::Database;
use common::scenario::{Scenario, Writers};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::Value;

/// The histograms of a table by column, but for the time at which they were written.
async fn histograms(conn: &mut Conn, table: &str) -> BTreeMap<String, Value> {
    let rows: Vec<(String, String)> = conn
        .exec(
            "SELECT COLUMN_NAME, HISTOGRAM FROM information_schema.COLUMN_STATISTICS \
             WHERE SCHEMA_NAME = DATABASE() AND TABLE_NAME = ?",
            (table,),
        )
        .await
        .expect("COLUMN_STATISTICS");
    let parse = |(column, histogram): (String, String)| {
        let mut histogram: Value = serde_json::from_str(&histogram).expect("JSON");
        histogram.as_object_mut().expect("an object").remove("last-updated");
        (column, histogram)
    };
    rows.into_iter().map(parse).collect()
}

/// The rows of a table as its statistics have them.
async fn counted(conn: &mut Conn, table: &str) -> u64 {
    let sql = "SELECT n_rows FROM mysql.innodb_table_stats WHERE database_name = DATABASE() AND table_name = ?";
    conn.exec_first(sql, (table,)).await.expect("the statistics").expect("the table has some")
}

#[tokio::test]
async fn the_new_table_is_counted_before_it_is_swapped_in() {
    let db = Database::new("counted").await;
    let mut scenario = Scenario::plain("counted");
    // Nobody else counts this table, and no index is built of which the rows would be counted.
    scenario.create.push_str(" STATS_AUTO_RECALC=0");
    scenario.alter = "ADD COLUMN c INT NOT NULL DEFAULT 1".to_owned();
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    db.alter("t", &scenario.alter).await.expect("done");
    let mut conn = db.conn().await;
    let rows = counted(&mut conn, "t").await;
    assert!((15_000..=25_000).contains(&rows), "{rows} rows");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn histograms_go_over_as_the_servers_own_alter_keeps_them() {
    let db = Database::new("histograms").await;
    let scenario = Scenario::new(
        "histograms",
        "same INT NOT NULL, text VARCHAR(40) NOT NULL, widened DECIMAL(8,2) NOT NULL, dropped INT NOT NULL DEFAULT 0, \
         made INT AS (same + 1) STORED, alone INT NOT NULL",
        "MODIFY widened DECIMAL(12,2) NOT NULL, DROP COLUMN dropped, ADD COLUMN c INT NOT NULL DEFAULT 1, \
         ADD UNIQUE INDEX (alone)",
    )
    .seed(
        "same, text, widened, dropped, alone",
        "n % 7, CONCAT('it''s a \\\\ and \"', n % 30), n / 3, n % 5, n",
    )
    .writes("same, text, widened, alone", "{n}, 'new', 1, {new}", &["same = {n}"]);
    scenario.prepare(&db).await;
    let mut conn = db.conn().await;
    for table in ["t", "twin"] {
        for (columns, how) in
            [("same, text, widened", "16 BUCKETS"), ("dropped, made, alone", "4 BUCKETS")]
        {
            let sql = format!("ANALYZE TABLE {table} UPDATE HISTOGRAM ON {columns} WITH {how}");
            conn.query_drop(sql).await.expect("histograms");
        }
    }
    let writers = Writers::start(&scenario, &db).await;
    db.alter("t", &scenario.alter).await.expect("done");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
    let (new, twin) = (histograms(&mut conn, "t").await, histograms(&mut conn, "twin").await);
    assert_eq!(new, twin);
    assert_eq!(new.keys().collect::<Vec<_>>(), ["made", "same", "text"]);
}

/// A column that got another name holds the same values, though the server's own ALTER forgets its histogram.
#[tokio::test]
async fn the_histogram_of_a_renamed_column_goes_over() {
    let db = Database::new("renamed_histogram").await;
    db.sql(&[
        "CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)",
        "INSERT INTO t VALUES (1, 1, 5), (2, 1, 6), (3, 2, 6)",
        "ANALYZE TABLE t UPDATE HISTOGRAM ON a, b WITH 8 BUCKETS",
    ])
    .await;
    let mut conn = db.conn().await;
    let before = histograms(&mut conn, "t").await;
    db.alter("t", "RENAME COLUMN a TO b, RENAME COLUMN b TO a").await.expect("done");
    let after = histograms(&mut conn, "t").await;
    assert_eq!((&after["a"], &after["b"]), (&before["b"], &before["a"]));
}
