//! Indexes that are not unique are built after the copy, while replay goes on.

mod common;

use std::time::Duration;

use common::scenario::{Scenario, Writers};
use common::{Database, Lookout, options};
use mysql_async::prelude::Queryable;
use replank::error::Kind;
use replank::progress::Phase;
use replank::run::{DeferIndexes, Options, Request};
use replank::throwaway::ThrowawayServer;

/// Eight indexes of all kinds, one of them new.
fn many(name: &'static str) -> Scenario {
    Scenario::new(
        name,
        "a INT NOT NULL, b VARCHAR(60) NOT NULL, c INT NOT NULL DEFAULT 3, p POINT NOT NULL SRID 0 DEFAULT (POINT(1, 1)), \
         u INT NULL, KEY ka (a), UNIQUE KEY ku (u), KEY `kb``x` (b(10), a DESC) COMMENT 'x, y', \
         KEY kf ((a + c)), KEY ki (c) INVISIBLE, FULLTEXT KEY kt (b), FULLTEXT KEY kt2 (b), SPATIAL KEY ks (p)",
        "ADD COLUMN d INT NOT NULL DEFAULT 4, ADD INDEX kd (d, a), DROP INDEX ki",
    )
    .seed("a, b, u", "n % 97, CONCAT('some words ', n), n")
    .writes("a, b", "{n}, 'new words {n}'", &["a = {n}", "b = 'other words {n}'", "id = {new}"])
}

#[tokio::test]
async fn indexes_of_all_kinds_are_the_twins() {
    for (name, wish) in [
        ("defer_auto", DeferIndexes::Auto),
        ("defer_always", DeferIndexes::Always),
        ("defer_never", DeferIndexes::Never),
    ] {
        let db = Database::new(name).await;
        let scenario = many(name);
        scenario.prepare(&db).await;
        let writers = Writers::start(&scenario, &db).await;
        let request = Request { defer_indexes: wish, ..db.request("t", &scenario.alter) };
        let beside =
            async |run: &Lookout| run.reaches(Phase::Index).await && run.phase() == Phase::Index;
        let (outcome, seen) = db.alter_beside(&request, &options(), beside).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        writers.stop(&scenario).await;
        scenario.assert_equal(&db).await;
        let deferred = wish != DeferIndexes::Never;
        assert_eq!((outcome.tally.index > Duration::ZERO, seen), (deferred, deferred), "{name}");
    }
}

/// The build is held up by a transaction on the shadow table, so that it is met while it goes on.
#[tokio::test]
async fn a_run_that_is_stopped_while_indexes_are_built_goes_on() {
    let db = Database::new("defer_stop").await;
    let scenario = many("defer_stop");
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let keeping = Options { stop_keeps: true, ..options() };
    let request = db.request("t", &scenario.alter);
    let mut holder = db.conn().await;
    let stop = async |run: &Lookout| {
        // The lock hinders the build alone, so it may be taken long before.
        assert!(run.copied(1).await, "the run ended too early");
        holder.query_drop("START TRANSACTION").await.expect("begin");
        holder.query_drop("SELECT COUNT(*) FROM _t_replank_new").await.expect("a metadata lock");
        assert!(run.reaches(Phase::Index).await, "the run ended too early");
        let building = "SELECT 1 FROM information_schema.processlist \
             WHERE info LIKE 'ALTER /* replank%' AND state LIKE 'Waiting for table metadata%'";
        assert!(run.finds(&mut db.conn().await, building).await, "the build did not wait");
        run.stop();
    };
    let (outcome, ()) = db.alter_beside(&request, &keeping, stop).await;
    let error = outcome.expect_err("it was stopped");
    assert_eq!(error.kind(), Kind::Interrupted, "{error}");
    assert!(error.keeps_progress());
    holder.query_drop("COMMIT").await.expect("commit");
    let outcome = db.alter_with("t", &scenario.alter, &keeping).await.expect("it goes on");
    assert_eq!(outcome.tally.rows_copied, 0, "everything was copied");
    assert!(outcome.tally.index > Duration::ZERO, "no index was there");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn more_is_replayed_than_the_server_can_keep_beside_a_build() {
    let server = ThrowawayServer::builder()
        .option("--innodb-online-alter-log-max-size=65536")
        .option("--innodb-sort-buffer-size=65536")
        .start()
        .await
        .expect("a server");
    let db = Database::on(server.root_opts(), "defer_log").await;
    let scenario = Scenario::plain("defer_log").rows(100_000);
    scenario.prepare(&db).await;
    let beside = async |run: &Lookout| {
        let mut conn = db.conn().await;
        // So few rows that they are replayed all the time, and so many that the log is full when they have been
        // replayed once.
        while run.phase() < Phase::Verify && run.goes_on() {
            conn.query_drop("UPDATE t x, twin y SET x.a = x.a + 1, y.a = y.a + 1 WHERE x.id <= 2000 AND y.id = x.id")
                .await
                .expect("updated");
        }
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, ()) = db.alter_beside(&request, &options(), beside).await;
    let outcome = outcome.expect("done");
    assert!(outcome.tally.index_builds > 1, "the log was never full");
    scenario.assert_equal(&db).await;
}
