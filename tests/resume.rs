//! A run that is killed, stopped, or loses its server goes on where it was.

mod common;

use std::ops::RangeFrom;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::scenario::{Scenario, Writers};
use common::{Database, Lookout, server};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replank::error::{Error, Kind};
use replank::progress::Phase;
use replank::run::{DeferIndexes, Options, Outcome, Request};
use replank::throwaway::ThrowawayServer;

/// What a killed process had come to, by the phases that it had logged.
const PHASES: [&str; 6] = ["prepare", "copy", "index", "verify", "cut-over", "done"];

/// A process of the command on a scenario's table.
struct Process {
    child: std::process::Child,
    log: tempfile::NamedTempFile,
}

impl Process {
    fn start(port: u16, scenario: &Scenario, arguments: &[&str]) -> Process {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_replank"))
            .args(["run", "--host", "127.0.0.1", "--user", "root", "--database", scenario.name])
            .args(["--port", &port.to_string(), "--table", scenario.table])
            .args(["--alter", &scenario.alter, "--chunk-time", "20", "--workers", "2"])
            .args(arguments)
            .env("HOME", "/nonexistent")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen().expect("the file"))
            .spawn()
            .expect("it starts");
        Process { child, log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("the log")
    }

    /// The phase that it has come to, as a place in [`PHASES`].
    fn phase(&self) -> usize {
        let said = self.said();
        let reached = |phase: &&str| said.contains(&format!("phase=\"{phase}\""));
        PHASES.iter().rposition(reached).unwrap_or(0)
    }

    /// Waits that long for its end. The exit code, if it has ended.
    async fn ends_within(&mut self, time: Duration) -> Option<i32> {
        let ended = async {
            let mut ticker = tokio::time::interval(Duration::from_millis(1));
            loop {
                ticker.tick().await;
                if let Some(status) = self.child.try_wait().expect("its status") {
                    return status.code().expect("an exit code");
                }
            }
        };
        tokio::time::timeout(time, ended).await.ok()
    }

    /// Waits until it cuts over, and that long after. The exit code, if it has ended before.
    async fn ends_in_cut_over(&mut self, later: Duration) -> Option<i32> {
        const CUT_OVER: usize = 4;
        let mut ticker = tokio::time::interval(Duration::from_millis(1));
        while self.phase() < CUT_OVER {
            ticker.tick().await;
            if let Some(status) = self.child.try_wait().expect("its status") {
                return status.code();
            }
        }
        self.ends_within(later).await
    }

    fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

/// No two chunks may begin at one place.
async fn assert_no_chunk_twice(conn: &mut Conn) {
    let twice: Result<Option<i64>, _> = conn
        .query_first(
            "SELECT COUNT(*) - COUNT(DISTINCT JSON_VALUE(body, '$.lo')) \
             FROM _t_replank_state WHERE kind = 2",
        )
        .await;
    // There is no state table before a run has begun, and after it has ended.
    assert!(!matches!(twice, Ok(Some(1..))), "{twice:?} chunks were copied twice");
}

/// Runs a migration under writers and kills it at random moments, up to that many times; then it may
/// come to its end. Returns how often it was killed in which phase.
async fn killed_at_random(seed: u64, kills: usize) -> [usize; PHASES.len()] {
    let name: &'static str = Box::leak(format!("kills_{seed}").into_boxed_str());
    let mut dice = StdRng::seed_from_u64(seed);
    let db = Database::new(name).await;
    let scenario = Scenario::plain(name).rows(60_000);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let mut conn = db.conn().await;
    let mut killed = [0; PHASES.len()];
    let mut processes = 0;
    loop {
        processes += 1;
        assert!(processes < 200, "{name}: it does not come to an end");
        let mut process = Process::start(server().port(), &scenario, &[]);
        let may_be_killed = killed.iter().sum::<usize>() < kills;
        let life = match may_be_killed {
            // A run that is not killed takes about a second.
            true => Duration::from_millis(dice.random_range(50..900)),
            false => Duration::from_secs(60),
        };
        let ended = if may_be_killed && dice.random_bool(0.3) {
            process.ends_in_cut_over(Duration::from_millis(dice.random_range(0..40))).await
        } else {
            process.ends_within(life).await
        };
        match ended {
            None => {
                process.kill();
                killed[process.phase()] += 1;
            }
            Some(0) => break,
            // The one before was killed when everything was done, and its record written.
            Some(2) if process.said().contains("carried out this very statement") => break,
            Some(code) => panic!("{name}: exit code {code}\n{}", process.said()),
        }
        assert_no_chunk_twice(&mut conn).await;
    }
    writers.wait_for(50).await;
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
    let tables: Vec<String> = db.fingerprint().await.into_iter().map(|(t, ..)| t).collect();
    assert_eq!(tables, ["_t_replank_old", "numbers", "t", "twin"], "{name}");
    killed
}

/// The same with one migration after the other, of `each` kills at most, until there were `kills` in all.
async fn killed_so_often(
    seeds: RangeFrom<u64>,
    each: usize,
    kills: usize,
) -> [usize; PHASES.len()] {
    let mut sums = [0; PHASES.len()];
    for seed in seeds {
        let killed = killed_at_random(seed, each).await;
        println!("seed {seed}: killed in {PHASES:?}: {killed:?}");
        sums.iter_mut().zip(killed).for_each(|(sum, killed)| *sum += killed);
        if sums.iter().sum::<usize>() >= kills {
            break;
        }
    }
    sums
}

#[tokio::test]
async fn a_run_that_is_killed_at_random_moments_goes_on() {
    killed_so_often(1.., 6, 7).await;
}

#[tokio::test]
#[ignore = "long: about twenty minutes"]
async fn two_hundred_kills() {
    let sums = killed_so_often(100.., 8, 200).await;
    println!("in all: killed in {PHASES:?}: {sums:?}");
    assert!(sums[1..5].iter().all(|killed| *killed > 0), "a phase was never met: {sums:?}");
}

/// What follows is not written to the binlog, where it would be met as well.
const SILENTLY: &str = "SET SESSION sql_log_bin = 0";

/// Options that keep what was copied.
fn keeping() -> Options {
    Options { stop_keeps: true, chunk_time: Duration::from_millis(20), ..common::options() }
}

/// Starts a run and stops it when it has copied half of the rows.
async fn stopped_halfway(db: &Database, scenario: &Scenario) -> Error {
    let request = db.request("t", &scenario.alter);
    let beside = async |run: &Lookout| {
        if run.copied(10_000).await {
            run.stop();
        }
    };
    let (outcome, ()) = db.alter_beside(&request, &keeping(), beside).await;
    let error = outcome.expect_err("it was stopped");
    assert_eq!(error.kind(), Kind::Interrupted, "{error}");
    assert!(error.keeps_progress());
    error
}

async fn prepared(name: &'static str) -> (Database, Scenario) {
    let db = Database::new(name).await;
    let scenario = Scenario::plain(name);
    scenario.prepare(&db).await;
    (db, scenario)
}

async fn goes_on(db: &Database, scenario: &Scenario) -> Outcome {
    let outcome = db.alter_with("t", &scenario.alter, &keeping()).await;
    outcome.unwrap_or_else(|error| panic!("{}: {error}", scenario.name))
}

#[tokio::test]
async fn a_stopped_run_goes_on_and_copies_no_row_twice() {
    let (db, scenario) = prepared("stopped").await;
    let writers = Writers::start(&scenario, &db).await;
    stopped_halfway(&db, &scenario).await;
    // What is written while nobody looks has to arrive as well.
    writers.wait_for(200).await;
    let mut conn = db.conn().await;
    let kept: i64 = conn
        .query_first("SELECT COUNT(*) FROM _t_replank_new")
        .await
        .expect("the shadow table")
        .expect("a row");
    let outcome = goes_on(&db, &scenario).await;
    writers.stop(&scenario).await;
    assert!(kept >= 10_000, "{kept}");
    assert!(outcome.tally.rows_copied < 15_000, "{} rows again", outcome.tally.rows_copied);
    assert!(outcome.tally.keys_replayed > 30, "{}", outcome.tally.keys_replayed);
    assert_eq!(outcome.tally.rows_repaired, 0);
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn a_run_over_text_keys_goes_on() {
    let db = Database::new("text_keys").await;
    let mut scenario = Scenario::plain("text_keys");
    scenario.create = "CREATE TABLE {t} (k VARCHAR(40) COLLATE utf8mb4_0900_ai_ci NOT NULL, \
        id INT NOT NULL, a INT NOT NULL, b VARCHAR(200) NOT NULL, PRIMARY KEY (k, id), KEY (id))"
        .to_owned();
    scenario.seed = vec![
        "INSERT INTO {t} SELECT CONCAT('Näme ', n % 977), n, n, REPEAT('x', 150) FROM numbers WHERE n <= 20000"
            .to_owned(),
    ];
    scenario.writes = vec![
        "UPDATE {t} SET a = {n} WHERE id = {id}".to_owned(),
        "DELETE FROM {t} WHERE id = {id}".to_owned(),
        "INSERT INTO {t} (k, id, a, b) VALUES ('NAME {n}', {new}, 1, 'new')".to_owned(),
        "UPDATE {t} SET k = CONCAT('other ', {n}) WHERE id = {id}".to_owned(),
    ];
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    stopped_halfway(&db, &scenario).await;
    writers.wait_for(100).await;
    let outcome = goes_on(&db, &scenario).await;
    writers.stop(&scenario).await;
    assert_eq!(outcome.tally.rows_repaired, 0);
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn an_xa_transaction_that_spans_the_stop_arrives() {
    let (db, scenario) = prepared("xa_spans").await;
    let request = db.request("t", &scenario.alter);
    let beside = async |run: &Lookout| {
        assert!(run.copied(10_000).await);
        db.sql(&[
            "XA START 'spans'",
            "UPDATE t SET a = -1 WHERE id = 10",
            "UPDATE twin SET a = -1 WHERE id = 10",
            "XA END 'spans'",
            "XA PREPARE 'spans'",
        ])
        .await;
        // It is the only change that is replayed, so a checkpoint that counts it comes after both.
        db.sql(&["UPDATE t x, twin y SET x.a = -2, y.a = -2 WHERE x.id = 20 AND y.id = 20"]).await;
        let checkpoint = "SELECT 1 FROM _t_replank_state WHERE kind = 1 AND JSON_VALUE(body, '$.keys_replayed') > 0";
        assert!(run.finds(&mut db.conn().await, checkpoint).await, "the run ended too early");
        run.stop();
    };
    // So slow that it is still copying then.
    let slow = Options { chunk_time: Duration::from_millis(1), workers: 1, ..keeping() };
    let mut holder = db.conn().await;
    holder.query_drop("START TRANSACTION").await.expect("begin");
    holder.query_drop("SELECT COUNT(*) FROM t").await.expect("a metadata lock");
    let (outcome, ()) = db.alter_beside(&request, &slow, beside).await;
    assert!(outcome.expect_err("it was stopped").keeps_progress());
    holder.query_drop("COMMIT").await.expect("commit");
    db.sql(&["XA COMMIT 'spans'"]).await;
    let outcome = goes_on(&db, &scenario).await;
    assert_eq!(outcome.tally.rows_repaired, 0);
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn what_has_changed_meanwhile_is_refused_with_the_reason() {
    let (db, scenario) = prepared("changed").await;
    stopped_halfway(&db, &scenario).await;
    let refused = async |alter: &str, words: &str| {
        let before = db.fingerprint().await;
        let error = db.alter_with("t", alter, &keeping()).await.expect_err("refused");
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
        assert!(error.next_step().is_some_and(|next| next.contains("--restart")));
        assert_eq!(db.fingerprint().await, before);
    };
    refused("ADD COLUMN other INT", "another ALTER").await;
    for (table, words) in [
        ("t", "structure of the table has changed"),
        ("_t_replank_new", "structure of the shadow table"),
    ] {
        db.sql(&[SILENTLY, &format!("ALTER TABLE {table} COMMENT = 'changed'")]).await;
        refused(&scenario.alter, words).await;
        db.sql(&[SILENTLY, &format!("ALTER TABLE {table} COMMENT = ''")]).await;
    }
    for (term, words) in [("version", "upgraded"), ("server", "another server")] {
        db.sql(&[
            SILENTLY,
            "CREATE TABLE kept AS SELECT * FROM _t_replank_state",
            &format!(
                "UPDATE _t_replank_state SET body = JSON_SET(body, '$.{term}', 'x') WHERE kind = 3"
            ),
        ])
        .await;
        refused(&scenario.alter, words).await;
        db.sql(&[SILENTLY, "REPLACE INTO _t_replank_state SELECT * FROM kept", "DROP TABLE kept"])
            .await;
    }
    // Nothing of this has spoilt the run.
    goes_on(&db, &scenario).await;
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn a_run_whose_binlog_is_purged_or_reset_is_refused() {
    let server = ThrowawayServer::builder()
        .option("--innodb-buffer-pool-size=128M")
        .start()
        .await
        .expect("a server");
    for (name, statements, words) in [
        // The stream begins at an event, but of another binlog.
        (
            "reset_log",
            &[
                "RESET BINARY LOGS AND GTIDS",
                // Not in the binlog, where it would pass for that heartbeat.
                SILENTLY,
                "UPDATE _t_replank_state SET body = JSON_SET(body, '$.file', 'binlog.000001', \
                 '$.offset', 4) WHERE kind = 1",
            ][..],
            "does not hold heartbeat",
        ),
        (
            "purged_log",
            &[
                "FLUSH BINARY LOGS",
                "DO SLEEP(1.1)",
                // Files that were written to before this second.
                "PURGE BINARY LOGS BEFORE NOW()",
            ],
            "is purged",
        ),
    ] {
        let db = Database::on(server.root_opts(), name).await;
        let scenario = Scenario::plain(name);
        scenario.prepare(&db).await;
        stopped_halfway(&db, &scenario).await;
        db.sql(statements).await;
        let error = db.alter_with("t", &scenario.alter, &keeping()).await.expect_err("refused");
        assert!(error.to_string().contains(words), "{name}: {error}");
        assert!(error.next_step().is_some_and(|next| next.contains("--restart")), "{error:?}");
        let over = Options { restart: true, ..keeping() };
        db.alter_with("t", &scenario.alter, &over).await.expect("started over");
        scenario.assert_equal(&db).await;
    }
}

#[tokio::test]
async fn restart_starts_over_and_abort_undoes() {
    let (db, scenario) = prepared("over").await;
    let before = db.fingerprint().await;
    stopped_halfway(&db, &scenario).await;
    let source = replank::sql::TableName::new("over", "t");
    replank::cleanup::abort(&db.server(), &source, 1).await.expect("undone");
    assert_eq!(db.fingerprint().await, before);
    let error =
        replank::cleanup::abort(&db.server(), &source, 1).await.expect_err("nothing to undo");
    assert!(error.to_string().contains("no run"), "{error}");

    stopped_halfway(&db, &scenario).await;
    let over = Options { restart: true, ..keeping() };
    let outcome = db.alter_with("t", &scenario.alter, &over).await.expect("started over");
    assert_eq!(outcome.tally.rows_copied, 20_000);
    scenario.assert_equal(&db).await;
}

/// As the first version of replank wrote it.
#[tokio::test]
async fn what_an_earlier_version_left_is_refused_and_can_be_removed() {
    let (db, scenario) = prepared("version_1").await;
    let before = db.fingerprint().await;
    db.sql(&[
        "CREATE TABLE _t_replank_state (kind TINYINT UNSIGNED NOT NULL, id BIGINT UNSIGNED NOT NULL, \
         body MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL, PRIMARY KEY (kind, id)) \
         ENGINE = InnoDB COMMENT = 'replank state of t, run 0123456789ab'",
        r#"INSERT INTO _t_replank_state VALUES (0, 0, '{"format":1,"run":"0123456789ab","source":"t","shadow":"_t_replank_new","old":"_t_replank_old","alter":"ADD COLUMN c INT NOT NULL DEFAULT 1, ADD INDEX ab (a, b)","started":"2026-11-22T10:00:00Z"}'), (1, 17, ''), (2, 1, '{"above":"the first row .. id=1000","to":"(`id` <= 1000)"}')"#,
        "CREATE TABLE _t_replank_new LIKE t",
    ])
    .await;
    let error = db.alter_with("t", &scenario.alter, &keeping()).await.expect_err("refused");
    assert!(error.to_string().contains("another version"), "{error}");
    replank::cleanup::abort(&db.server(), &replank::sql::TableName::new("version_1", "t"), 1)
        .await
        .expect("undone");
    assert_eq!(db.fingerprint().await, before);
}

/// Records of the present format may lack what later versions have added to it.
#[tokio::test]
async fn a_run_goes_on_that_was_stopped_before_indexes_were_deferred_and_the_pace_was_noted() {
    let (db, scenario) = prepared("older").await;
    let request =
        Request { defer_indexes: DeferIndexes::Never, ..db.request("t", &scenario.alter) };
    let beside = async |run: &Lookout| {
        if run.copied(10_000).await {
            run.stop();
        }
    };
    let (outcome, ()) = db.alter_beside(&request, &keeping(), beside).await;
    assert_eq!(outcome.expect_err("it was stopped").kind(), Kind::Interrupted);
    let mut conn = db.conn().await;
    conn.query_drop(SILENTLY).await.expect("silently");
    conn.query_drop(
        "UPDATE _t_replank_state SET body = JSON_REMOVE(body, '$.deferred', '$.pace', '$.behind_swap', \
         '$.revertible_for') WHERE kind IN (0, 1, 3)",
    )
    .await
    .expect("as they were");
    let records: Vec<String> = conn
        .query("SELECT JSON_KEYS(body) FROM _t_replank_state WHERE kind IN (0, 1, 3) ORDER BY kind")
        .await
        .expect("the records");
    assert!(records[1].contains("rows_copied") && !records[1].contains("pace"), "{records:?}");
    assert!(records[2].contains("started_at") && !records[2].contains("deferred"), "{records:?}");
    let outcome = goes_on(&db, &scenario).await;
    assert!(outcome.tally.rows_copied < 20_000, "it has begun again");
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn a_swap_whose_end_was_cut_off_is_brought_to_its_end() {
    let (db, scenario) = prepared("cut_off").await;
    let mut conn = db.conn().await;
    // Everything but what comes after the swap: the old table's mark, and the end of the state table.
    let beside = async |run: &Lookout| {
        assert!(run.reaches(Phase::Verify).await);
        conn.query_drop("CREATE TABLE kept AS SELECT * FROM _t_replank_state").await.expect("kept");
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, ()) = db.alter_beside(&request, &keeping(), beside).await;
    outcome.expect("done");
    db.sql(&[
        "CREATE TABLE _t_replank_state (PRIMARY KEY (kind, id)) \
         COMMENT = 'replank state of t, run 0123456789ab' AS SELECT * FROM kept",
        "RENAME TABLE kept TO saved",
        "ALTER TABLE _t_replank_old COMMENT = 'its own'",
    ])
    .await;
    let outcome = goes_on(&db, &scenario).await;
    assert_eq!(outcome.tally.rows_copied, 0);
    let tables: Vec<String> = db.fingerprint().await.into_iter().map(|(t, ..)| t).collect();
    assert_eq!(tables, ["_t_replank_old", "numbers", "saved", "t", "twin"]);
    // Once more, and then another ALTER: it is not taken for the one that has happened.
    db.sql(&[
        "CREATE TABLE _t_replank_state (PRIMARY KEY (kind, id)) \
         COMMENT = 'replank state of t, run 0123456789ab' AS SELECT * FROM saved",
        "DROP TABLE saved",
    ])
    .await;
    let other = db.alter_with("t", "ADD COLUMN other INT", &keeping()).await.expect("done");
    assert_eq!(other.tally.rows_copied, 20_000);
    assert_eq!(other.names.old.table.as_str(), "_t_replank_old2");
    db.sql(&["ALTER TABLE t DROP COLUMN other, ALGORITHM = COPY"]).await;
    let comment: Option<String> = conn
        .query_first(
            "SELECT TABLE_COMMENT FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '_t_replank_old'",
        )
        .await
        .expect("the comment");
    assert!(
        comment.is_some_and(|c| c.starts_with("replank old table of t") && c.ends_with("its own"))
    );
    scenario.assert_equal(&db).await;
}
