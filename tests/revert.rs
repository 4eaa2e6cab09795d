//! After the swap the old table is kept in step, and the swap can be reverted without losing a row.
//!
//! The twin is never altered here: the writers change it in the same transactions as the table, and once
//! the tables are swapped back, both must be equal again.

mod common;

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::scenario::{Scenario, Writers, compare};
use common::{Database, Lookout, options, server};
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replank::control::Control;
use replank::error::{Error, Kind, Result};
use replank::progress::{Phase, Progress};
use replank::removal::Removal;
use replank::run::{BackOptions, Request, Reverted};
use replank::sql::TableName;
use replank::throwaway::ThrowawayServer;

fn back_options() -> BackOptions {
    BackOptions { lock_wait: 1, accept_loss: false, keep_old: true, history_days: 1 }
}

fn request(db: &Database, alter: &str) -> Request {
    Request { revertible_for: Some(3600), ..db.request("t", alter) }
}

fn table(db: &Database) -> TableName {
    TableName::new(db.name.clone(), "t")
}

/// Carries the ALTER out, and leaves the way back open.
async fn swapped(db: &Database, alter: &str) {
    let request = request(db, alter);
    let (outcome, ()) = db.alter_beside(&request, &options(), async |_: &Lookout| {}).await;
    let outcome = outcome.expect("swapped");
    assert_eq!(outcome.revertible_for, Some(3600));
}

async fn reverted(db: &Database, accept_loss: bool) -> Result<Reverted> {
    let control = Control::new();
    let options = BackOptions { accept_loss, ..back_options() };
    let (server, table) = (db.server(), table(db));
    Box::pin(replank::run::revert(&server, &table, &options, &Progress::new(), &control)).await
}

/// A guard beside which something else happens; it has to end by being asked to stop.
async fn guarded<T>(db: &Database, beside: impl AsyncFnOnce(&Progress) -> T) -> T {
    let control = Control::new();
    let (server, table, options, progress) =
        (db.server(), table(db), back_options(), Progress::new());
    let guard = replank::run::guard(&server, &table, &options, &progress, &control);
    let beside = async {
        until(async || progress.snapshot().phase == Phase::Guard).await;
        beside(&progress).await
    };
    let (ended, value) = Box::pin(tokio::time::timeout(Duration::from_secs(120), async {
        tokio::join!(guard, beside)
    }))
    .await
    .expect("it hangs");
    let error = ended.expect_err("it was asked to stop");
    assert_eq!(error.kind(), Kind::Interrupted, "{error}");
    assert!(error.keeps_progress());
    value
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        let mut ticker = tokio::time::interval(Duration::from_millis(5));
        loop {
            ticker.tick().await;
            if holds().await {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it does not come");
}

/// Whether two tables hold the same rows; the comment is the mark's.
async fn assert_same(db: &Database, a: &str, b: &str) {
    let mut conn = db.conn().await;
    compare(&mut conn, &db.name, a, b, false).await;
}

/// Swap, guard, revert, all under writers: equal in the end, and once in between.
async fn there_and_back(name: &'static str, scenario: Scenario) {
    let db = Database::new(name).await;
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    swapped(&db, &scenario.alter).await;
    writers.wait_for(100).await;
    guarded(&db, async |progress| {
        writers.wait_for(100).await;
        let replayed = progress.snapshot().keys_replayed;
        writers.wait_for(100).await;
        writers.stop(&scenario).await;
        // Everything that was written has come to the old table: it equals the twin, which was never altered.
        let mut conn = db.conn().await;
        until(async || {
            let sums: Vec<(String, Option<u64>)> = conn
                .query("CHECKSUM TABLE _t_replank_old, twin EXTENDED")
                .await
                .expect("checksums");
            sums[0].1 == sums[1].1
        })
        .await;
        until(async || progress.snapshot().keys_replayed > replayed).await;
        let writers = Writers::start(&more(&scenario), &db).await;
        writers.wait_for(100).await;
        let outcome = reverted(&db, false).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        writers.wait_for(100).await;
        writers.stop(&scenario).await;
        assert_eq!(outcome.names.old.table.as_str(), "_t_replank_reverted");
    })
    .await;
    assert_same(&db, "t", "twin").await;
    let tables: Vec<String> = db.fingerprint().await.into_iter().map(|(t, ..)| t).collect();
    assert_eq!(tables, ["_t_replank_reverted", "numbers", "t", "twin"], "{name}");
    let left = replank::cleanup::cleanup(&db.server(), name, Some("t"), Some(Removal::default()))
        .await
        .expect("cleaned");
    assert_eq!(left.len(), 1, "the table that was set aside can be removed: {left:?}");
}

/// The same writers, whose new ids do not meet those of before.
fn more(scenario: &Scenario) -> Scenario {
    Scenario { ids: scenario.ids + 1_000_000, ..scenario.clone() }
}

fn scenario(name: &'static str, columns: &str, alter: &str) -> Scenario {
    Scenario::new(name, columns, alter).rows(20_000)
}

#[tokio::test]
async fn an_added_column_and_index() {
    there_and_back("back_add", Scenario::plain("back_add")).await;
}

#[tokio::test]
async fn dropped_columns_keep_their_values() {
    let columns = "a INT NOT NULL, b VARCHAR(50) NOT NULL DEFAULT 'none', c INT, \
                   d TIMESTAMP NOT NULL DEFAULT '2020-01-01', e VARCHAR(80) NOT NULL DEFAULT (CONCAT('x', 'y'))";
    let scenario =
        scenario("back_drop", columns, "DROP COLUMN b, DROP COLUMN d, DROP COLUMN e, ADD f INT")
            .seed("a, b, c, d, e", "n, CONCAT('b', n), n, '2021-02-03 04:05:06', CONCAT('e', n)")
            .writes("a, c", "{n}, {n}", &["a = {n}", "c = {n}"]);
    there_and_back("back_drop", scenario).await;
}

#[tokio::test]
async fn dropped_columns_keep_their_values_beside_a_unique_index() {
    let columns = "a INT NOT NULL, b VARCHAR(50) NOT NULL DEFAULT 'none', u BIGINT, UNIQUE KEY (u)";
    let scenario = scenario("back_unique", columns, "DROP COLUMN b")
        .seed("a, b, u", "n, CONCAT('b', n), n")
        .writes("a, u", "{n}, {new}", &["a = {n}"])
        // Values move from row to row.
        .write("UPDATE {t} SET u = u + 1 WHERE id IN (10, 11, 12) ORDER BY u DESC")
        .write("UPDATE {t} SET u = u - 1 WHERE id IN (10, 11, 12) ORDER BY u")
        .tolerate(1062);
    there_and_back("back_unique", scenario).await;
}

#[tokio::test]
async fn renamed_widened_and_generated_columns() {
    let columns = "a INT NOT NULL, b INT NOT NULL, w VARCHAR(20) NOT NULL, g INT AS (a * 2) STORED, k INT NOT NULL";
    let alter = "RENAME COLUMN a TO x, RENAME COLUMN b TO a, MODIFY w VARCHAR(200) NOT NULL, DROP COLUMN g, \
                 MODIFY id BIGINT NOT NULL AUTO_INCREMENT, CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    // What is written has the same name in both.
    let scenario = scenario("back_rename", columns, alter)
        .seed("a, b, w, k", "n, n * 7, CONCAT('w', n), n")
        .write("UPDATE {t} SET k = {n} WHERE id = {id}")
        .write("UPDATE {t} SET w = 'w{n}', id = {new} WHERE id = {id}");
    there_and_back("back_rename", scenario).await;
}

#[tokio::test]
async fn a_row_that_no_longer_fits_is_named_and_stands_in_the_way_until_it_fits() {
    let db = Database::new("back_misfit").await;
    let mut scenario = scenario(
        "back_misfit",
        "a INT NOT NULL, b VARCHAR(20) NOT NULL, u INT, UNIQUE KEY u (u)",
        "MODIFY b VARCHAR(200) NOT NULL, MODIFY a INT, DROP INDEX u",
    )
    .seed("a, b, u", "n, 'short', n");
    scenario.writers = 0;
    scenario.prepare(&db).await;
    swapped(&db, &scenario.alter).await;
    let both = async |sql: &str| {
        db.sql(&[&sql.replace("{t}", "t"), &sql.replace("{t}", "twin")]).await;
    };
    db.sql(&[
        "UPDATE t SET b = REPEAT('long', 10) WHERE id = 7",
        "UPDATE t SET a = NULL WHERE id = 8",
        // The old structure forbids that two rows hold it.
        "UPDATE t SET u = 20 WHERE id = 9",
    ])
    .await;
    // The rest is followed all the same.
    both("UPDATE {t} SET a = -1 WHERE id BETWEEN 100 AND 5000").await;
    let mut conn = db.conn().await;
    let noted = "SELECT COUNT(*) FROM _t_replank_state WHERE kind = 5";
    guarded(&db, async |_| {
        until(async || conn.query_first(noted).await.expect("notes") == Some(3)).await;
        let mut session = db.server().connect().await.expect("connect");
        let runs = replank::status::runs(&mut session, Some("back_misfit"), Some("t"))
            .await
            .expect("runs");
        assert_eq!(runs[0].condition.name(), "running");
        let rows: Vec<&str> = runs[0].misfits.iter().map(|m| m.row.as_str()).collect();
        assert!(["id=7", "id=8", "id=9"].iter().all(|row| rows.contains(row)), "{rows:?}");
        let error = reverted(&db, false).await.expect_err("it would lose rows");
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        for words in ["id=7", "id=8", "id=9", "too long", "3 rows"] {
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
    })
    .await;
    // A row that arrives while the tables are being swapped back counts as well.
    db.sql(&[
        "UPDATE t SET b = 'fits' WHERE id IN (7, 8)",
        "UPDATE t SET a = 0, u = 9 WHERE id IN (8, 9)",
    ])
    .await;
    db.sql(&[
        "UPDATE t SET u = 8 WHERE id = 8",
        "UPDATE twin SET b = 'fits' WHERE id IN (7, 8)",
        "UPDATE twin SET a = 0 WHERE id IN (8, 9)",
        "UPDATE t SET b = REPEAT('long', 10) WHERE id = 30",
    ])
    .await;
    guarded(&db, async |_| {
        let only = "SELECT GROUP_CONCAT(body) FROM _t_replank_state WHERE kind = 5";
        until(async || {
            let notes: Option<Option<String>> = conn.query_first(only).await.expect("notes");
            notes
                .flatten()
                .is_some_and(|n| n.contains("id=30") && !n.contains("id=7") && !n.contains("id=9"))
        })
        .await;
        let outcome = reverted(&db, true).await.expect("the loss is accepted");
        assert!(outcome.lost.iter().any(|lost| lost.contains("id=30")), "{:?}", outcome.lost);
    })
    .await;
    assert_same(&db, "t", "twin").await;
}

#[tokio::test]
async fn what_cannot_be_reverted_is_refused_and_the_way_back_can_be_given_up() {
    let db = Database::new("back_refused").await;
    let mut plain = Scenario::plain("back_refused");
    plain.writers = 0;
    plain.prepare(&db).await;
    db.sql(&["CREATE TABLE v (k VARCHAR(10) PRIMARY KEY, a INT)"]).await;
    let before = db.fingerprint().await;
    let wider = Request { revertible_for: Some(60), ..db.request("v", "MODIFY k VARCHAR(20)") };
    let refused = async |request: &Request, words: &str| {
        let (outcome, ()) = db.alter_beside(request, &options(), async |_: &Lookout| {}).await;
        let error: Error = outcome.expect_err("refused");
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(&wider, "cannot be reverted").await;
    let error = reverted(&db, false).await.expect_err("there was no run");
    assert!(error.to_string().contains("nothing to revert"), "{error}");
    assert_eq!(db.fingerprint().await, before);

    swapped(&db, &plain.alter).await;
    // Another ALTER would take the table that the guard follows away from it.
    refused(&request(&db, "ADD COLUMN z INT"), "can still be reverted").await;
    let error = replank::cleanup::abort(&db.server(), &table(&db), 1).await.expect_err("too late");
    assert!(error.next_step().is_some_and(|next| next.contains("revert")), "{error:?}");
    replank::cleanup::cleanup(&db.server(), "back_refused", Some("t"), None)
        .await
        .expect("given up");
    let error = reverted(&db, false).await.expect_err("it was given up");
    assert!(error.to_string().contains("nothing to revert"), "{error}");
    plain.assert_equal(&db).await;
}

#[tokio::test]
async fn when_the_time_is_over_the_run_comes_to_its_end() {
    let db = Database::new("back_over").await;
    let scenario = Scenario::plain("back_over");
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let request = Request { revertible_for: Some(2), ..db.request("t", &scenario.alter) };
    let (outcome, ()) = db.alter_beside(&request, &options(), async |_: &Lookout| {}).await;
    outcome.expect("swapped");
    let control = Control::new();
    let (server, name, progress) = (db.server(), table(&db), Progress::new());
    Box::pin(replank::run::guard(&server, &name, &back_options(), &progress, &control))
        .await
        .expect("its time is over");
    writers.stop(&scenario).await;
    let tables: Vec<String> = db.fingerprint().await.into_iter().map(|(t, ..)| t).collect();
    assert_eq!(tables, ["_t_replank_old", "numbers", "t", "twin"]);
    scenario.assert_equal(&db).await;
}

/// The command, for a process that can be killed.
fn command(database: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replank"));
    command
        .args(&arguments[..1])
        .args(["--host", "127.0.0.1", "--port", &server().port().to_string(), "--user", "root"])
        .args(["--database", database, "--table", "t"])
        .args(&arguments[1..])
        .env("HOME", "/nonexistent")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Starts the command and kills it after that long, unless it ends before.
async fn killed_after(time: Duration, mut command: Command) -> Option<Output> {
    let mut child = command.spawn().expect("it starts");
    let ended = async {
        let mut ticker = tokio::time::interval(Duration::from_millis(1));
        while child.try_wait().expect("its status").is_none() {
            ticker.tick().await;
        }
    };
    if tokio::time::timeout(time, ended).await.is_err() {
        child.kill().expect("killed");
        child.wait().expect("ended");
        return None;
    }
    Some(child.wait_with_output().expect("its output"))
}

#[tokio::test]
async fn guard_and_revert_that_are_killed_at_random_moments_go_on() {
    let mut reverts_killed = 0;
    for seed in 1.. {
        let name: &'static str = Box::leak(format!("back_killed_{seed}").into_boxed_str());
        let mut dice = StdRng::seed_from_u64(seed);
        let db = Database::new(name).await;
        let scenario = Scenario::plain(name);
        scenario.prepare(&db).await;
        let writers = Writers::start(&scenario, &db).await;
        swapped(&db, &scenario.alter).await;
        for _ in 0..3 {
            let life = Duration::from_millis(dice.random_range(100..900));
            assert!(killed_after(life, command(name, &["guard"])).await.is_none(), "{name}");
        }
        let mut kills = 0;
        loop {
            // One that is to come to its end may take longer than those that are killed.
            let millis = if kills < 6 { dice.random_range(50..600) } else { 60_000 };
            let life = Duration::from_millis(millis);
            let Some(output) = killed_after(life, command(name, &["revert"])).await else {
                kills += 1;
                assert!(kills <= 6, "{name}: it does not come to an end");
                continue;
            };
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => break,
                // One that was killed had swapped them back already.
                Some(2) if said.contains("nothing to revert") => break,
                code => panic!("{name}: exit code {code:?}\n{said}"),
            }
        }
        writers.wait_for(50).await;
        writers.stop(&scenario).await;
        assert_same(&db, "t", "twin").await;
        let tables: Vec<String> = db.fingerprint().await.into_iter().map(|(t, ..)| t).collect();
        assert_eq!(tables, ["_t_replank_reverted", "numbers", "t", "twin"], "{name}");
        reverts_killed += kills;
        if seed >= 3 && reverts_killed > 0 {
            break;
        }
    }
}

/// The server rounds numbers and times without a word.
#[tokio::test]
async fn a_value_that_the_old_structure_would_round_is_a_row_that_does_not_fit() {
    let db = Database::new("back_rounded").await;
    let mut scenario = scenario(
        "back_rounded",
        "a DATETIME NOT NULL, b DECIMAL(10,2) NOT NULL, c INT NOT NULL",
        "MODIFY a DATETIME(6) NOT NULL, MODIFY b DECIMAL(12,4) NOT NULL, MODIFY c BIGINT NOT NULL",
    )
    .seed("a, b, c", "'2026-01-02 03:04:05', n, n");
    scenario.writers = 0;
    scenario.prepare(&db).await;
    swapped(&db, &scenario.alter).await;
    db.sql(&[
        "UPDATE t SET a = '2026-01-02 03:04:05.600000' WHERE id = 7",
        "UPDATE t SET b = 1.2345 WHERE id = 8",
        "UPDATE t SET a = '2026-05-05 05:05:05', b = 9.25, c = -1 WHERE id = 9",
        "UPDATE twin SET a = '2026-05-05 05:05:05', b = 9.25, c = -1 WHERE id = 9",
    ])
    .await;
    let mut conn = db.conn().await;
    let noted = "SELECT COUNT(*) FROM _t_replank_state WHERE kind = 5";
    guarded(&db, async |_| {
        until(async || conn.query_first(noted).await.expect("notes") == Some(2)).await;
        let error = reverted(&db, false).await.expect_err("it would lose fractions");
        for words in ["id=7", "id=8", "rounded", "2 rows"] {
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
    })
    .await;
    db.sql(&[
        "UPDATE t SET a = '2026-01-02 03:04:05' WHERE id = 7",
        "UPDATE t SET b = 8 WHERE id = 8",
    ])
    .await;
    guarded(&db, async |_| {
        until(async || conn.query_first(noted).await.expect("notes") == Some(0)).await;
        let outcome = reverted(&db, false).await.expect("everything fits again");
        assert!(
            outcome.lost.iter().any(|lost| lost.contains("converts `a`")),
            "{:?}",
            outcome.lost
        );
    })
    .await;
    assert_same(&db, "t", "twin").await;
}

#[tokio::test]
async fn a_write_in_statement_format_ends_the_guard() {
    // Of its own, since every guard on the server has to give such a write its due.
    let server = ThrowawayServer::builder().start().await.expect("a server");
    let db = Database::on(server.root_opts(), "back_statement").await;
    let mut scenario = Scenario::plain("back_statement");
    scenario.writers = 0;
    scenario.prepare(&db).await;
    db.sql(&["CREATE VIEW v AS SELECT id, a FROM t"]).await;
    swapped(&db, &scenario.alter).await;
    db.sql(&["SET SESSION binlog_format = STATEMENT", "UPDATE v SET a = -1 WHERE id = 10"]).await;
    let error = reverted(&db, false).await.expect_err("the old table may lack it");
    assert!(error.to_string().contains("STATEMENT format"), "{error}");
    reverted(&db, true).await.expect("the loss is accepted");
}

/// Wherever the last steps are cut off, the tables tell what has happened.
#[tokio::test]
async fn a_guard_that_was_killed_in_its_last_steps_comes_to_its_end() {
    let db = Database::new("back_last").await;
    let mut scenario = Scenario::plain("back_last");
    scenario.writers = 0;
    scenario.prepare(&db).await;
    swapped(&db, &scenario.alter).await;
    // The old table had been marked when the process was killed.
    let names = replank::plan::Names::of(&table(&db));
    let mut broom = replank::run::Broom::new(
        &*Box::leak(Box::new(db.server())),
        db.server().connect().await.expect("connect"),
    )
    .await;
    replank::run::mark_old(&mut broom, &names, "replank run 0123").await.expect("marked");
    broom.put_away().await;
    let error = reverted(&db, false).await.expect_err("too late");
    assert!(error.to_string().contains("is over"), "{error}");
    let control = Control::new();
    let (server, name, progress) = (db.server(), table(&db), Progress::new());
    Box::pin(replank::run::guard(&server, &name, &back_options(), &progress, &control))
        .await
        .expect("it comes to its end");
    let tables: Vec<String> = db.fingerprint().await.into_iter().map(|(t, ..)| t).collect();
    assert_eq!(tables, ["_t_replank_old", "numbers", "t", "twin"]);
}

#[tokio::test]
async fn a_stopped_run_is_not_continued_with_another_way_back() {
    let db = Database::new("back_other").await;
    let mut scenario = Scenario::plain("back_other");
    scenario.writers = 0;
    scenario.prepare(&db).await;
    let slow = replank::run::Options {
        stop_keeps: true,
        chunk_time: Duration::from_millis(10),
        ..options()
    };
    let stop = async |run: &Lookout| {
        if run.copied(5_000).await {
            run.stop();
        }
    };
    let (outcome, ()) = db.alter_beside(&db.request("t", &scenario.alter), &slow, stop).await;
    outcome.expect_err("it was stopped");
    let request = request(&db, &scenario.alter);
    let (outcome, ()) = db.alter_beside(&request, &slow, async |_: &Lookout| {}).await;
    let error = outcome.expect_err("refused");
    assert!(error.to_string().contains("--revertible"), "{error}");
}
