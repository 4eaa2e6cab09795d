//! Lost connections, killed sessions, a crashing server: the run goes on, or stops and leaves nothing.

mod common;

use std::time::Duration;

use common::Database;
use common::scenario::{Scenario, Writers};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use replank::progress::{Phase, Progress};
use replank::throwaway::ThrowawayServer;

fn scenario(name: &'static str) -> Scenario {
    Scenario::new(
        name,
        "a INT NOT NULL, b VARCHAR(200) NOT NULL",
        "ADD COLUMN c INT NOT NULL DEFAULT 1, ADD INDEX ab (a, b)",
    )
    .seed("a, b", "n, REPEAT('x', 150)")
    .writes("a, b", "{n}, 'new'", &["b = 'changed {n}'", "a = {n}", "id = {new}"])
}

/// The connections that are replank's and work on this test's tables, in no order.
async fn replanks_connections(conn: &mut Conn) -> Vec<u64> {
    conn.query(
        "SELECT PROCESSLIST_ID FROM performance_schema.session_connect_attrs \
         WHERE ATTR_NAME = 'program_name' AND ATTR_VALUE = 'replank' ORDER BY RAND()",
    )
    .await
    .expect("the sessions")
}

/// Kills replank's sessions, one every few milliseconds, until the run has ended.
async fn kill_all_the_time(server: &ThrowawayServer, what: &str, progress: &Progress) -> u32 {
    let mut conn = server.connect().await.expect("connect");
    let mut killed = 0;
    let mut ticker = tokio::time::interval(Duration::from_millis(25));
    while progress.snapshot().phase == Phase::Prepare {
        ticker.tick().await;
    }
    while progress.snapshot().phase != Phase::Done {
        ticker.tick().await;
        if let Some(victim) = replanks_connections(&mut conn).await.first() {
            // It may have gone by itself.
            killed += u32::from(conn.query_drop(format!("{what} {victim}")).await.is_ok());
        }
    }
    killed
}

async fn survives_kills(name: &'static str, what: &'static str) {
    // A server of its own: the sessions of other tests are not to be killed.
    let server = ThrowawayServer::builder()
        .option("--innodb-buffer-pool-size=128M")
        .start()
        .await
        .expect("a server");
    let db = Database::on(server.root_opts(), name).await;
    let scenario = scenario(name);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let progress = Progress::new();
    let (_keep, stop) = crossbeam_channel::bounded(1);
    let (target, request) = (db.server(), db.request("t", &scenario.alter));
    let mut options = common::options();
    options.chunk_time = Duration::from_millis(20);
    let run = async {
        let outcome = replank::run::run(&target, &request, &options, &progress, &stop).await;
        progress.update(|snapshot| snapshot.phase = Phase::Done);
        outcome
    };
    let both = async { tokio::join!(run, kill_all_the_time(&server, what, &progress)) };
    let (outcome, killed) =
        tokio::time::timeout(Duration::from_secs(120), both).await.expect("it hangs");
    writers.stop(&scenario).await;
    match &outcome {
        Ok(outcome) => println!("done, {killed} killed: {:?}", outcome.tally),
        Err(error) => println!("stopped, {killed} killed: {error}"),
    }
    assert!(killed > 5, "only {killed} were killed");
    match outcome {
        Ok(_) => scenario.assert_equal(&db).await,
        Err(error) => {
            let tables: Vec<String> =
                db.fingerprint().await.into_iter().map(|(name, ..)| name).collect();
            assert_eq!(tables, ["numbers", "t", "twin"], "left behind after: {error}");
            let mut conn = db.conn().await;
            common::scenario::compare(&mut conn, name, "t", "twin", false).await;
        }
    }
}

#[tokio::test]
async fn statements_are_killed_all_the_time() {
    Box::pin(survives_kills("kill_query", "KILL QUERY")).await;
}

#[tokio::test]
async fn connections_are_killed_all_the_time() {
    Box::pin(survives_kills("kill_connection", "KILL CONNECTION")).await;
}

#[tokio::test]
async fn the_server_crashes_during_the_copy_and_comes_back() {
    let mut server = ThrowawayServer::builder()
        .option("--innodb-buffer-pool-size=128M")
        .start()
        .await
        .expect("a server");
    let db = Database::on(server.root_opts(), "crash").await;
    let mut scenario = scenario("crash");
    scenario.ids = 60_000;
    scenario.seed.clear();
    let scenario = scenario.seed("a, b", "n, REPEAT('x', 150)");
    scenario.prepare(&db).await;
    let crash = async {
        server.kill().await;
        server.restart().await.expect("it comes back");
        // Changes of after the crash have to arrive as well.
        db.sql(&[
            "UPDATE t x, twin y SET x.a = -7, y.a = -7 WHERE x.id = 5 AND y.id = 5",
            "DELETE x, y FROM t x JOIN twin y USING (id) WHERE x.id BETWEEN 100 AND 120",
        ])
        .await;
    };
    let run = db.alter_and_meddle("t", &scenario.alter, 5_000, crash);
    let outcome = tokio::time::timeout(Duration::from_secs(120), run).await.expect("it hangs");
    let outcome = outcome.expect("the run goes on after the restart");
    assert!(outcome.tally.keys_replayed >= 22, "{}", outcome.tally.keys_replayed);
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn rows_of_the_shadow_table_that_are_locked_only_delay_the_run() {
    let db = Database::new("row_held").await;
    let scenario = scenario("row_held");
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
