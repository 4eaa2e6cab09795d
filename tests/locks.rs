//! Neither copy nor replay locks a row of the source, and the cut-over gives up rather than making the
//! application queue.

mod common;

use std::cell::Cell;
use std::time::{Duration, Instant};

use common::scenario::{Scenario, Writers, compare};
use common::{Database, Lookout};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use replank::control::{Command, Control};
use replank::progress::{Phase, Progress};
use replank::run::{BackOptions, Options, Request};
use replank::sql::TableName;

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
    let mut options = common::options();
    options.chunk_time = Duration::from_millis(20);
    options.rows_per_second = Some(5_000);
    let sample = async |run: &Lookout| {
        let mut conn = db.conn().await;
        let (mut samples, mut shadow_locks, mut slow) = (0, 0, true);
        while run.goes_on() {
            // Locks of connections that are replank's by their program name. Under the cut-over's table
            // lock reads do lock rows, of a table that nobody else can reach.
            let phase = run.phase();
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
                (phase, run.phase()),
                (Phase::Copy, Phase::Copy | Phase::Verify) | (Phase::Verify, Phase::Verify)
            ) {
                continue;
            }
            samples += 1;
            for (table, kind, mode) in locks {
                assert!(table != "t" || kind == "TABLE", "a {mode} lock on a row of the source");
                shadow_locks += i32::from(table == "_t_replank_new");
            }
            // Slowly until there are enough of them, however long each one takes.
            if slow && samples > 20 && shadow_locks > 0 {
                run.set("max-rows-per-sec", "none");
                slow = false;
            }
        }
        conn.disconnect().await.expect("disconnect");
        (samples, shadow_locks)
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, (samples, shadow_locks)) = db.alter_beside(&request, &options, sample).await;
    outcome.expect("done");
    writers.stop(&scenario).await;
    assert!(samples > 20, "only {samples} samples");
    assert!(shadow_locks > 0, "the samples never met the copy at work");
    scenario.assert_equal(&db).await;
}

/// Whether an attempt at the cut-over has been given up, and the next one is to come.
fn pauses(run: &Lookout) -> bool {
    run.progress.snapshot().waiting.is_some_and(|waiting| waiting.contains("pausing"))
}

#[tokio::test]
async fn the_cut_over_gives_up_behind_a_long_transaction_and_succeeds_after_it() {
    let db = Database::new("cut_over_waits").await;
    let scenario = scenario("cut_over_waits");
    scenario.prepare(&db).await;
    let mut holder = db.conn().await;
    holder.query_drop("START TRANSACTION").await.expect("begin");
    let _: Option<i64> = holder.query_first("SELECT COUNT(*) FROM t").await.expect("read");
    let mut application = db.conn().await;
    let writers = Writers::start(&scenario, &db).await;
    let meddle = async |run: &Lookout| {
        // Attempts fail for as long as the metadata lock is held. The application is not blocked between them: a
        // write comes through within one of the pauses, of which each is longer than the one before.
        loop {
            let attempts = run.progress.snapshot().cut_over_attempts;
            assert!(attempts < 6, "no write came through between two attempts");
            assert!(run.until(pauses).await, "the cut-over did not wait");
            application
                .query_drop(
                    "UPDATE t x, twin y SET x.b = 'free', y.b = 'free' WHERE x.id = 1 AND y.id = 1",
                )
                .await
                .expect("a write");
            if run.progress.snapshot().cut_over_attempts == attempts {
                break;
            }
        }
        holder.query_drop("COMMIT").await.expect("commit");
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, ()) = db.alter_beside(&request, &common::options(), meddle).await;
    let outcome = outcome.expect("done");
    assert!(outcome.tally.attempts >= 2, "{} attempts", outcome.tally.attempts);
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}

/// The connection whose attempt at the cut-over, the n-th or a later one, waits for its lock.
async fn who_waits_to_lock(run: &Lookout, conn: &mut Conn, attempt: u32) -> u64 {
    loop {
        let asked = run.until(|run| run.progress.snapshot().cut_over_attempts >= attempt).await;
        assert!(asked && run.goes_on(), "no attempt {attempt} has waited");
        let waiting: Option<u64> = conn
            .query_first(
                "SELECT PROCESSLIST_ID FROM performance_schema.metadata_locks l \
                 JOIN performance_schema.threads t ON t.THREAD_ID = l.OWNER_THREAD_ID \
                 WHERE OBJECT_SCHEMA = DATABASE() AND OBJECT_NAME = 't' \
                 AND LOCK_TYPE = 'SHARED_NO_READ_WRITE' AND LOCK_STATUS = 'PENDING'",
            )
            .await
            .expect("metadata_locks");
        if let Some(waiting) = waiting {
            return waiting;
        }
    }
}

/// What waits behind LOCK TABLES waits for as long as that: never longer than --lock-wait.
#[tokio::test]
async fn the_application_never_waits_longer_than_lock_wait_behind_a_long_select() {
    let db = Database::new("long_select").await;
    let scenario = scenario("long_select");
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let beside = async |run: &Lookout| {
        assert!(run.reaches(Phase::Copy).await);
        // It begins long before the cut-over, and goes on until the fourth attempt is behind it, which comes after a
        // pause of four seconds.
        let mut reader = db.conn().await;
        let select = reader.id();
        let select_ended = async move {
            let ended: Option<i64> = reader
                .query_first("SELECT SLEEP(300) FROM t LIMIT 1")
                .await
                .expect("a long SELECT");
            assert_eq!(ended, Some(1), "the SELECT was not interrupted, but slept to its end");
        };
        let longest = Cell::new(Duration::ZERO);
        let attempts = async {
            let mut conn = db.conn().await;
            let first = who_waits_to_lock(run, &mut conn, 1).await;
            let fourth = who_waits_to_lock(run, &mut conn, 4).await;
            // Behind the attempt that succeeds a write waits for the rename as well.
            let longest = longest.get();
            conn.query_drop(format!("KILL QUERY {select}")).await.expect("kill");
            // The server ends a connection that holds the locks and falls silent, but not one that was refused them.
            assert_eq!(first, fourth, "the connection was lost between two attempts");
            longest
        };
        let write = async {
            let mut conn = db.conn().await;
            while run.goes_on() {
                let began = Instant::now();
                conn.query_drop("UPDATE t SET a = a WHERE id = -1").await.expect("a write");
                longest.set(longest.get().max(began.elapsed()));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let ((), longest, ()) = tokio::join!(select_ended, attempts, write);
        longest
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, longest) = db.alter_beside(&request, &common::options(), beside).await;
    let outcome = outcome.expect("done");
    assert!(outcome.tally.attempts >= 4, "{} attempts", outcome.tally.attempts);
    assert!(longest > Duration::from_millis(500), "no attempt was behind the SELECT: {longest:?}");
    // --lock-wait is one second for each of the two tables, of which the second is never contended: an attempt that
    // waited twice would take two.
    assert!(longest < Duration::from_millis(1_900), "a write waited {longest:?}");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}

/// A transaction of very many rows keeps the lock waiting and then leaves more than can be replayed in a moment: the
/// application does not wait for that.
#[tokio::test]
async fn the_lock_is_given_back_where_too_much_is_left_to_replay() {
    let db = Database::new("too_much_left").await;
    let scenario = Scenario { writers: 0, ..scenario("too_much_left").rows(60_000) };
    scenario.prepare(&db).await;
    let beside = async |run: &Lookout| {
        let (mut giant, mut conn) = (db.conn().await, db.conn().await);
        assert!(run.reaches(Phase::Copy).await, "the run ended too early");
        giant.query_drop("START TRANSACTION").await.expect("begin");
        let sql = "UPDATE t x JOIN twin y USING (id) SET x.b = 'giant', y.b = 'giant'";
        giant.query_drop(sql).await.expect("very many rows");
        run.control.obey(&Command::CutOver, "test").expect("the swap may come");
        who_waits_to_lock(run, &mut conn, 1).await;
        let before = run.progress.snapshot();
        giant.query_drop("COMMIT").await.expect("commit");
        assert!(run.until(pauses).await, "the attempt was not given up");
        let after = run.progress.snapshot();
        assert_eq!(after.cut_over_attempts, before.cut_over_attempts, "another attempt");
        after.keys_replayed - before.keys_replayed
    };
    let request = db.request("t", &scenario.alter);
    // Not before that transaction has its rows.
    let options = Options { postpone_cut_over: true, ..common::options() };
    let (outcome, replayed) = db.alter_beside(&request, &options, beside).await;
    outcome.expect("done");
    assert!(replayed < 20_000, "{replayed} rows were replayed under the lock");
    scenario.assert_equal(&db).await;
}

/// A revert brings over what was written since the swap. While it waits for its lock, rows that nobody has touched
/// keep what only the old structure can hold.
#[tokio::test]
async fn a_revert_that_waits_for_its_lock_touches_no_other_row() {
    let db = Database::new("revert_waits").await;
    let mut scenario =
        Scenario::new("revert_waits", "a DATETIME(6) NOT NULL", "MODIFY a DATETIME NOT NULL")
            .seed("a", "'2026-01-02 03:04:05.250000'")
            .rows(1_000);
    scenario.writers = 0;
    scenario.prepare(&db).await;
    let request = Request { revertible_for: Some(3600), ..db.request("t", &scenario.alter) };
    let (outcome, ()) = db.alter_beside(&request, &common::options(), async |_| {}).await;
    outcome.expect("swapped");
    let rounded = "UPDATE t SET a = '2026-05-05 05:05:05' WHERE id = 7";
    db.sql(&[rounded, &rounded.replace("UPDATE t ", "UPDATE twin ")]).await;

    let mut holder = db.conn().await;
    holder.query_drop("START TRANSACTION").await.expect("begin");
    let _: Option<i64> = holder.query_first("SELECT COUNT(*) FROM t").await.expect("read");
    let run = Lookout { progress: Progress::new(), control: Control::new() };
    let options = BackOptions { lock_wait: 1, accept_loss: false, keep_old: true, history_days: 1 };
    let (server, table) = (db.server(), TableName::new(db.name.clone(), "t"));
    let revert = replank::run::revert(&server, &table, &options, &run.progress, &run.control);
    let release = async {
        who_waits_to_lock(&run, &mut db.conn().await, 2).await;
        holder.query_drop("COMMIT").await.expect("commit");
    };
    let (outcome, ()) = Box::pin(async { tokio::join!(revert, release) }).await;
    outcome.expect("reverted");
    let mut conn = db.conn().await;
    compare(&mut conn, "revert_waits", "t", "twin", true).await;
}
