//! Neither copy nor replay locks a row of the source, and the cut-over gives up rather than making the
//! application queue.

mod common;

use std::time::{Duration, Instant};

use common::Database;
use common::scenario::{Scenario, Writers};
use mysql_async::prelude::Queryable;
use replank::progress::{Phase, Progress};

fn scenario(name: &'static str) -> Scenario {
    Scenario::new(
        name,
        "a INT NOT NULL, b VARCHAR(200) NOT NULL, UNIQUE u (a)",
        "ADD COLUMN c INT NOT NULL DEFAULT 1",
    )
    .seed("a, b", "n, REPEAT('x', 150)")
    .writes("a, b", "{new}, 'new'", &["b = 'changed {n}'"])
}

#[tokio::test]
async fn copy_and_replay_hold_no_row_lock_on_the_source() {
    let db = Database::new("row_locks").await;
    let scenario = scenario("row_locks");
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let progress = Progress::new();
    let (_keep, stop) = crossbeam_channel::bounded(1);
    let (server, request) = (db.server(), db.request("t", &scenario.alter));
    let mut options = common::options();
    options.chunk_time = Duration::from_millis(20);
    let run = replank::run::run(&server, &request, &options, &progress, &stop);
    let sample = async {
        let mut conn = db.conn().await;
        let (mut samples, mut shadow_locks) = (0, 0);
        while progress.snapshot().phase != Phase::Done {
            // Locks of connections that are replank's by their program name. Under the cut-over's table
            // lock reads do lock rows, of a table that nobody else can reach.
            let phase = progress.snapshot().phase;
            let locks: Vec<(String, String, String)> = conn
                .query(
                    "SELECT l.OBJECT_NAME, l.LOCK_TYPE, l.LOCK_MODE FROM performance_schema.data_locks l \
                     JOIN performance_schema.threads t USING (THREAD_ID) \
                     JOIN performance_schema.session_connect_attrs a ON a.PROCESSLIST_ID = t.PROCESSLIST_ID \
                     AND a.ATTR_NAME = 'program_name' AND a.ATTR_VALUE = 'replank' \
                     WHERE l.OBJECT_SCHEMA = DATABASE()",
                )
                .await
                .expect("data_locks");
            if !matches!(
                (phase, progress.snapshot().phase),
                (Phase::Copy, Phase::Copy | Phase::Verify) | (Phase::Verify, Phase::Verify)
            ) {
                continue;
            }
            samples += 1;
            for (table, kind, mode) in locks {
                assert!(table != "t" || kind == "TABLE", "a {mode} lock on a row of the source");
                shadow_locks += i32::from(table == "_t_replank_new");
            }
        }
        conn.disconnect().await.expect("disconnect");
        (samples, shadow_locks)
    };
    let (outcome, (samples, shadow_locks)) = tokio::join!(run, sample);
    outcome.expect("done");
    writers.stop(&scenario).await;
    assert!(samples > 20, "only {samples} samples");
    assert!(shadow_locks > 0, "the samples never met the copy at work");
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn the_cut_over_gives_up_behind_a_long_transaction_and_succeeds_after_it() {
    let db = Database::new("cut_over_waits").await;
    let scenario = scenario("cut_over_waits");
    scenario.prepare(&db).await;
    let mut holder = db.conn().await;
    holder.query_drop("START TRANSACTION").await.expect("begin");
    let _: Option<i64> = holder.query_first("SELECT COUNT(*) FROM t").await.expect("read");
    let writers = Writers::start(&scenario, &db).await;
    let progress = Progress::new();
    let (_keep, stop) = crossbeam_channel::bounded(1);
    let (server, request) = (db.server(), db.request("t", &scenario.alter));
    let options = common::options();
    let run = replank::run::run(&server, &request, &options, &progress, &stop);
    let meddle = async {
        // The first attempt fails for as long as the metadata lock is held.
        let mut ticker = tokio::time::interval(Duration::from_millis(5));
        let waited =
            |text: &str| progress.snapshot().waiting.is_some_and(|waiting| waiting.contains(text));
        while !waited("pausing") {
            ticker.tick().await;
        }
        // The application is not blocked meanwhile.
        let began = Instant::now();
        db.sql(&["UPDATE t x, twin y SET x.b = 'free', y.b = 'free' WHERE x.id = 1 AND y.id = 1"])
            .await;
        let took = began.elapsed();
        holder.query_drop("COMMIT").await.expect("commit");
        took
    };
    let (outcome, took) = tokio::join!(run, meddle);
    let outcome = outcome.expect("done");
    assert!(outcome.tally.attempts >= 2, "{} attempts", outcome.tally.attempts);
    assert!(took < Duration::from_millis(500), "the application waited {took:?} between attempts");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}
