//! A row that does not fit the new structure stops the run: the message names the row, the source is
//! untouched, and nothing is left behind.

mod common;

use common::Database;
use common::scenario::{Scenario, Writers};
use replank::error::Kind;

/// A table of 20 000 rows with `a INT NULL, b VARCHAR(40)`.
fn scenario(name: &'static str, alter: &str) -> Scenario {
    Scenario::new(name, "a INT NULL, b VARCHAR(40) NOT NULL", alter)
        .seed("a, b", "n, CONCAT('row ', n)")
        .writes("a, b", "{new}, 'new'", &["b = 'changed'"])
}

/// A misfit that is there from the start.
async fn stops_at_start(name: &'static str, alter: &str, misfit: &str, words: &[&str]) {
    let db = Database::new(name).await;
    let mut scenario = scenario(name, alter);
    scenario.seed.push(misfit.to_owned());
    // The writers leave the row alone.
    scenario.writes.retain(|write| !write.starts_with("DELETE") && !write.starts_with("UPDATE"));
    let error = scenario.run(&db).await.expect_err("it has to stop");
    assert_stopped(&db, &error, words).await;
}

/// A misfit that arrives when the copy has passed its place.
async fn stops_midway(name: &'static str, alter: &str, misfit: &str, words: &[&str]) {
    let db = Database::new(name).await;
    let mut scenario = scenario(name, alter);
    scenario.writes.retain(|write| !write.starts_with("DELETE") && !write.starts_with("UPDATE"));
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let outcome = db.alter_and_meddle("t", alter, 3_000, db.sql(&[misfit])).await;
    writers.stop(&scenario).await;
    assert_stopped(&db, &outcome.expect_err("it has to stop"), words).await;
}

async fn assert_stopped(db: &Database, error: &replank::error::Error, words: &[&str]) {
    assert_eq!(error.kind(), Kind::Failed, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
    assert!(error.next_step().is_some(), "no remedy for: {error}");
    let tables: Vec<String> = db.fingerprint().await.into_iter().map(|(name, ..)| name).collect();
    assert_eq!(tables, ["numbers", "t", "twin"], "something is left behind");
    // Both were written in the same transactions, so the source lost nothing.
    let mut conn = db.conn().await;
    common::scenario::compare(&mut conn, "the source", "t", "twin", false).await;
}

#[tokio::test]
async fn null_where_the_new_column_forbids_it() {
    let alter = "MODIFY a INT NOT NULL";
    stops_at_start(
        "null_start",
        alter,
        "UPDATE {t} SET a = NULL WHERE id = 15000",
        &["'a' cannot be null", "id=15000"],
    )
    .await
}

#[tokio::test]
async fn null_that_arrives_midway() {
    stops_midway(
        "null_mid",
        "MODIFY a INT NOT NULL",
        "UPDATE t x, twin y SET x.a = NULL, y.a = NULL WHERE x.id = 777 AND y.id = 777",
        &["cannot be null", "id=777"],
    )
    .await;
}

#[tokio::test]
async fn text_that_is_too_long() {
    let alter = "MODIFY b VARCHAR(12) NOT NULL";
    stops_at_start(
        "long_start",
        alter,
        "UPDATE {t} SET b = REPEAT('x', 13) WHERE id = 9",
        &["column 'b'", "id=9"],
    )
    .await;
    stops_midway("long_mid", alter, "UPDATE t x, twin y SET x.b = REPEAT('x', 13), y.b = REPEAT('x', 13) WHERE x.id = 508 AND y.id = 508", &["column 'b'", "id=508"]).await;
}

#[tokio::test]
async fn a_number_out_of_range() {
    stops_at_start(
        "range_start",
        "MODIFY a SMALLINT",
        "UPDATE {t} SET a = 40000 WHERE id = 11111",
        &["Out of range", "id=11111"],
    )
    .await;
}

#[tokio::test]
async fn a_value_that_is_no_date() {
    stops_at_start(
        "date_start",
        "MODIFY b DATE",
        "DELETE FROM {t} WHERE id <> 19999",
        &["Incorrect date", "id=19999"],
    )
    .await;
}

#[tokio::test]
async fn a_duplicate_under_a_new_unique_index() {
    let alter = "ADD UNIQUE uq (a)";
    stops_at_start(
        "dup_start",
        alter,
        "UPDATE {t} SET a = 5 WHERE id = 16000",
        &["uq", "'5'", "16000"],
    )
    .await;
    stops_midway(
        "dup_mid",
        alter,
        "UPDATE t x, twin y SET x.a = 6, y.a = 6 WHERE x.id = 612 AND y.id = 612",
        &["uq", "'6'", "612"],
    )
    .await;
}

#[tokio::test]
async fn a_row_that_no_partition_takes() {
    stops_at_start(
        "partition_start",
        "PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (1000000))",
        "UPDATE {t} SET id = 5000000 WHERE id = 3",
        &["partition", "id=5000000"],
    )
    .await;
}
