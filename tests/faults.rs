//! Lost connections, killed sessions, a crashing server, a full disk: the run goes on, or stops and
//! leaves nothing.

mod common;

use std::time::Duration;

use common::scenario::{Scenario, Writers};
use common::{Database, Lookout, replanks_connections};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use replank::error::Kind;
use replank::progress::Phase;
use replank::throwaway::ThrowawayServer;

/// A server of a test's own, since the sessions of other tests are not to be hit.
async fn own_server() -> ThrowawayServer {
    ThrowawayServer::builder()
        .option("--innodb-buffer-pool-size=128M")
        .start()
        .await
        .expect("a server")
}

/// Kills replank's sessions, one every few milliseconds, until the run tries to cut over for the third time. On a
/// slow machine hardly an attempt would come through without a kill, and the pauses between attempts grow.
async fn kill_all_the_time(server: &ThrowawayServer, what: &str, run: &Lookout) -> u32 {
    let mut conn = server.connect().await.expect("connect");
    let mut killed = 0;
    let mut ticker = tokio::time::interval(Duration::from_millis(25));
    run.reaches(Phase::Copy).await;
    while run.goes_on() && run.progress.snapshot().cut_over_attempts < 3 {
        ticker.tick().await;
        if let Some(victim) = replanks_connections(&mut conn).await.first() {
            // It may have gone by itself.
            killed += u32::from(conn.query_drop(format!("{what} {victim}")).await.is_ok());
        }
    }
    killed
}

async fn survives_kills(name: &'static str, what: &'static str) {
    let server = own_server().await;
    let db = Database::on(server.root_opts(), name).await;
    let scenario = Scenario::plain(name);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let request = db.request("t", &scenario.alter);
    let mut options = common::options();
    options.chunk_time = Duration::from_millis(20);
    let beside = async |run: &Lookout| kill_all_the_time(&server, what, run).await;
    let (outcome, killed) = db.alter_beside(&request, &options, beside).await;
    writers.stop(&scenario).await;
    match &outcome {
        Ok(outcome) => println!("done, {killed} killed: {:?}", outcome.tally),
        Err(error) => println!("stopped, {killed} killed: {error}"),
    }
    assert!(killed > 5, "only {killed} were killed");
    scenario.assert_right(&db, &outcome).await;
}

#[tokio::test]
async fn statements_are_killed_all_the_time() {
    Box::pin(survives_kills("kill_query", "KILL QUERY")).await;
}

#[tokio::test]
async fn connections_are_killed_all_the_time() {
    Box::pin(survives_kills("kill_connection", "KILL CONNECTION")).await;
}

/// The server is killed as soon as `moment` has come, and started again.
async fn survives_a_crash(name: &'static str, moment: impl AsyncFn(&Lookout) -> bool) {
    let mut server = own_server().await;
    let db = Database::on(server.root_opts(), name).await;
    let scenario = Scenario::plain(name).rows(60_000);
    scenario.prepare(&db).await;
    let beside = async |run: &Lookout| {
        assert!(moment(run).await, "the run ended too early");
        server.kill().await;
        server.restart().await.expect("it comes back");
        // Changes of after the crash have to arrive as well, in whichever table is `t` then.
        db.sql(&[
            "UPDATE t x, twin y SET x.a = -7, y.a = -7 WHERE x.id = 5 AND y.id = 5",
            "DELETE x, y FROM t x JOIN twin y USING (id) WHERE x.id BETWEEN 100 AND 120",
        ])
        .await;
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, ()) = db.alter_beside(&request, &common::options(), beside).await;
    outcome.unwrap_or_else(|error| panic!("{name}: the run did not go on: {error}"));
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn the_server_crashes_in_each_phase_and_comes_back() {
    survives_a_crash("crash_copy", async |run| run.copied(5_000).await).await;
    survives_a_crash("crash_copied", async |run| run.copied(55_000).await).await;
    survives_a_crash("crash_verify", async |run| {
        run.until(|run| run.progress.snapshot().rows_verified > 10_000).await
    })
    .await;
    survives_a_crash("crash_swap", async |run| run.reaches(Phase::CutOver).await).await;
}

/// What the server had acknowledged may be gone after the crash: the run must not go on with what it
/// remembers.
#[tokio::test]
async fn a_server_that_does_not_sync_its_commits_crashes() {
    let mut server = ThrowawayServer::builder()
        .option("--innodb-flush-log-at-trx-commit=0")
        .option("--sync-binlog=0")
        .start()
        .await
        .expect("a server");
    let db = Database::on(server.root_opts(), "lazy").await;
    let scenario = Scenario::plain("lazy").rows(60_000);
    scenario.prepare(&db).await;
    // Whatever was written so far is on disk.
    db.sql(&[
        "SET GLOBAL innodb_flush_log_at_trx_commit = 1",
        "UPDATE t SET a = a + 1 WHERE id = 1",
        "UPDATE twin SET a = a + 1 WHERE id = 1",
        "SET GLOBAL innodb_flush_log_at_trx_commit = 0",
    ])
    .await;
    let beside = async |run: &Lookout| {
        assert!(run.copied(5_000).await, "the run ended too early");
        server.kill().await;
        server.restart().await.expect("it comes back");
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, ()) = db.alter_beside(&request, &common::options(), beside).await;
    let error = outcome.as_ref().expect_err("it cannot know what is left");
    assert!(error.keeps_progress(), "{error}");
    assert!(error.to_string().contains("started again"), "{error}");
    scenario.assert_right(&db, &outcome).await;
}

/// A server that was started again numbers its connections from the beginning: a number that replank remembers
/// may be the application's now.
#[tokio::test]
async fn a_lost_connections_number_that_another_client_has_got_is_left_alone() {
    let db = Database::new("numbers_again").await;
    let mut application = db.conn().await;
    let mut other = db.server().connect().await.expect("connect");
    let mine = db.server().connect().await.expect("connect");
    let lost = replank::server::ConnectionId::of(&mine);
    assert!(lost.end(&mut other).await.expect("asked"), "it is this process's own");
    let number: Option<u32> =
        application.query_first("SELECT CONNECTION_ID()").await.expect("a number");
    let reused = replank::server::ConnectionId::with_number(lost, number.expect("a number"));
    assert!(!reused.end(&mut other).await.expect("asked"));
    application.ping().await.expect("it lives");
}

#[tokio::test]
async fn a_stop_in_each_phase_leaves_nothing_behind() {
    for (name, phase) in [
        ("stop_prepare", Phase::Prepare),
        ("stop_copy", Phase::Copy),
        ("stop_verify", Phase::Verify),
        ("stop_swap", Phase::CutOver),
    ] {
        let db = Database::new(name).await;
        let mut scenario = Scenario::plain(name);
        scenario.writers = 0;
        scenario.prepare(&db).await;
        let before = db.fingerprint().await;
        // The cut-over has to be met while it goes on.
        let mut holder = db.conn().await;
        holder.query_drop("START TRANSACTION").await.expect("begin");
        holder.query_drop("SELECT COUNT(*) FROM t").await.expect("a metadata lock");
        let beside = async |run: &Lookout| {
            assert!(run.reaches(phase).await, "{name}: the run ended too early");
            run.stop();
        };
        let request = db.request("t", &scenario.alter);
        let (outcome, ()) = db.alter_beside(&request, &common::options(), beside).await;
        let error = outcome.expect_err("it was stopped");
        assert_eq!(error.kind(), Kind::Interrupted, "{name}: {error}");
        holder.query_drop("COMMIT").await.expect("commit");
        assert_eq!(db.fingerprint().await, before, "{name}: something is left behind");
        let locks: Option<i64> = holder
            .exec_first(
                "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OBJECT_SCHEMA = ?",
                (name,),
            )
            .await
            .expect("locks");
        assert_eq!(locks, Some(0), "{name}: a lock is left behind");
    }
}

#[tokio::test]
async fn rows_of_the_shadow_table_that_are_locked_only_delay_the_run() {
    let db = Database::new("row_held").await;
    let scenario = Scenario::plain("row_held");
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let hold = async {
        let mut conn = db.conn().await;
        conn.query_drop("START TRANSACTION").await.expect("begin");
        let rows: Vec<i64> = conn
            .query("SELECT id FROM _t_replank_new WHERE id < 500 FOR UPDATE")
            .await
            .expect("lock");
        assert!(!rows.is_empty());
        conn.query_drop("DO SLEEP(2)").await.expect("hold");
        conn.query_drop("COMMIT").await.expect("commit");
    };
    let outcome = db.alter_and_meddle("t", &scenario.alter, 3_000, hold).await.expect("done");
    assert_eq!(outcome.tally.rows_repaired, 0);
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}

/// Another session locks rows of the shadow table from high to low, as replay does from low to high.
#[tokio::test]
async fn replay_is_made_to_deadlock_all_the_time() {
    let server = own_server().await;
    let db = Database::on(server.root_opts(), "deadlocks").await;
    let scenario = Scenario::plain("deadlocks");
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    // The run cannot end before there was a deadlock, for the swap has to wait for this transaction.
    let mut holder = db.conn().await;
    holder.query_drop("START TRANSACTION").await.expect("begin");
    holder.query_drop("SELECT COUNT(*) FROM t").await.expect("a metadata lock");
    let beside = async |run: &Lookout| {
        let mut conn = db.conn().await;
        assert!(run.copied(5_000).await, "the run ended too early");
        while !shadow_deadlocked(&mut holder).await {
            assert!(run.goes_on(), "the run ended without a deadlock");
            conn.query_drop("SET autocommit = 0").await.expect("a transaction");
            // The hot rows of the writers are the low ones.
            for range in ["BETWEEN 11 AND 20", "BETWEEN 1 AND 10"] {
                let held = conn
                    .query_drop(format!(
                        "UPDATE _t_replank_new SET c = c + 0 WHERE id {range} ORDER BY id DESC"
                    ))
                    .await;
                if held.is_err() {
                    break;
                }
                conn.query_drop("DO SLEEP(0.02)").await.expect("a while");
            }
            conn.query_drop("ROLLBACK").await.expect("rollback");
        }
        // Its metadata lock on the shadow table would keep the swap waiting.
        conn.disconnect().await.expect("disconnect");
        holder.query_drop("COMMIT").await.expect("commit");
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, ()) = db.alter_beside(&request, &common::options(), beside).await;
    let outcome = outcome.expect("done");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
    assert_eq!(outcome.tally.rows_repaired, 0);
}

/// Whether the server's latest deadlock was about rows of the shadow table, not one of the writers among themselves.
async fn shadow_deadlocked(conn: &mut Conn) -> bool {
    let status: Option<(String, String, String)> =
        conn.query_first("SHOW ENGINE INNODB STATUS").await.expect("the status");
    let (_, _, status) = status.expect("a row");
    let latest = status.split_once("LATEST DETECTED DEADLOCK").map_or("", |(_, latest)| latest);
    latest.split("\nTRANSACTIONS\n").next().is_some_and(|latest| latest.contains("_t_replank_new"))
}

/// No file may grow beyond that any more, as on a full disk: the shadow table does not fit.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_stops_the_run() {
    const LIMIT: u64 = 48 << 20;
    // What is ignored here is ignored by the server as well: its write fails instead of ending it.
    #[expect(unsafe_code, reason = "there is no safe call for it")]
    // SAFETY: SIG_IGN runs no handler.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
    let server = ThrowawayServer::builder()
        .option("--innodb-buffer-pool-size=128M")
        // The limit is meant for the shadow table: a binlog of the same rows would meet it as well.
        .option("--max-binlog-size=16M")
        .start()
        .await
        .expect("a server");
    let db = Database::on(server.root_opts(), "full").await;
    let mut scenario = Scenario::plain("full");
    scenario.alter = "ADD COLUMN c VARCHAR(4000) NOT NULL DEFAULT (REPEAT('y', 4000))".to_owned();
    scenario.prepare(&db).await;
    let pid = std::fs::read_to_string(server.data_dir().join("mysqld.pid")).expect("its pid file");
    let limited = std::process::Command::new("prlimit")
        .arg(format!("--pid={}", pid.trim()))
        .arg(format!("--fsize={LIMIT}:{LIMIT}"))
        .status()
        .expect("prlimit is a part of util-linux");
    assert!(limited.success());
    let writers = Writers::start(&scenario, &db).await;
    let outcome = db.alter("t", &scenario.alter).await;
    writers.wait_for(50).await;
    writers.stop(&scenario).await;
    let error = outcome.as_ref().expect_err("it does not fit");
    assert_eq!(error.kind(), Kind::Failed, "{error}");
    assert!(error.to_string().contains("_t_replank_new' is full"), "{error}");
    scenario.assert_right(&db, &outcome).await;
}
