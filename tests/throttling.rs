//! Everything that holds the copy holds it, says why, and lets it go again; meanwhile changes are replayed, and in the
//! end the table equals its twin.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::scenario::{Scenario, Writers};
use common::{Database, Lookout};
use jiff::{SignedDuration, Timestamp};
use mysql_async::prelude::Queryable;
use replank::control::{Control, Source};
use replank::error::Kind;
use replank::progress::Phase;
use replank::run::Options;
use replank::throttle::{Replica, Throttle};
use replank::throwaway::ThrowawayServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn throttled(settings: &[(&str, &str)]) -> Options {
    let mut throttle = Throttle::default();
    for (name, value) in settings {
        assert!(throttle.set(name, value).expect("a right value"), "{name}");
    }
    Options { throttle, stop_keeps: true, ..common::options() }
}

impl LookoutExt for Lookout {}
trait LookoutExt {
    /// Waits until the run is held by this source, and returns why.
    async fn held_by(&self, source: Source) -> String
    where
        Self: std::borrow::Borrow<Lookout>,
    {
        let run: &Lookout = self.borrow();
        let why = || run.control.holds().into_iter().find(|(by, _)| *by == source);
        assert!(run.until(|_| why().is_some()).await, "it ended without being held by {source:?}");
        why().map(|(_, why)| why).unwrap_or_default()
    }
}

/// Whether the run is held for a reason with these words.
fn is_held_for(run: &Lookout, words: &str) -> bool {
    run.control.holds().iter().any(|(_, why)| why.contains(words))
}

/// Runs a migration under writers that is held and let go by `hold` and `release` once it has copied something.
async fn is_held(
    name: &'static str,
    options: Options,
    source: Source,
    hold: impl AsyncFnOnce(&Database),
    release: impl AsyncFnOnce(&Database),
) -> String {
    let db = Database::new(name).await;
    let scenario = Scenario::plain(name).rows(60_000);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let options = Options { chunk_time: Duration::from_millis(10), ..options };
    let beside = async |run: &Lookout| {
        assert!(run.copied(2_000).await, "the run ended too early");
        hold(&db).await;
        let why = run.held_by(source).await;
        run.stands_still_but_replays().await;
        release(&db).await;
        why
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, why) = db.alter_beside(&request, &slow(options), beside).await;
    outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
    why
}

/// So slow that it is met in the copy.
fn slow(options: Options) -> Options {
    Options { rows_per_second: Some(20_000), ..options }
}

#[tokio::test]
async fn a_flag_file_holds_the_copy_while_it_exists() {
    let folder = tempfile::tempdir().expect("a folder");
    let flag = folder.path().join("hold");
    let options = throttled(&[("throttle-file", flag.to_str().expect("UTF-8"))]);
    let why = is_held(
        "by_file",
        options,
        Source::File,
        async |_| std::fs::write(&flag, "").expect("a file"),
        async |_| std::fs::remove_file(&flag).expect("no file"),
    )
    .await;
    assert!(why.ends_with("hold exists"), "{why}");
}

#[tokio::test]
async fn the_operators_statement_holds_the_copy() {
    let setup = Database::new("by_query_flag").await;
    setup.sql(&["CREATE TABLE flags (hold INT)", "INSERT INTO flags VALUES (0)"]).await;
    let options = throttled(&[("throttle-query", "SELECT SUM(hold) FROM by_query_flag.flags")]);
    let why = is_held(
        "by_query",
        options,
        Source::Query,
        async |_| setup.sql(&["UPDATE flags SET hold = 2"]).await,
        async |_| setup.sql(&["UPDATE flags SET hold = 0"]).await,
    )
    .await;
    assert_eq!(why, "the statement returns 2");
}

#[tokio::test]
async fn a_statement_that_breaks_holds_the_copy() {
    let setup = Database::new("by_broken_flag").await;
    setup.sql(&["CREATE TABLE flags (hold INT)", "INSERT INTO flags VALUES (0)"]).await;
    let options = throttled(&[("throttle-query", "SELECT SUM(hold) FROM by_broken_flag.flags")]);
    let why = is_held(
        "by_broken",
        options,
        Source::Query,
        async |_| setup.sql(&["RENAME TABLE flags TO away"]).await,
        async |_| setup.sql(&["RENAME TABLE away TO flags"]).await,
    )
    .await;
    assert!(why.contains("cannot be read") && why.contains("flags"), "{why}");
}

#[tokio::test]
async fn load_beyond_the_limit_holds_the_copy() {
    let server = ThrowawayServer::builder().start().await.expect("a server of its own");
    let db = Database::on(server.root_opts(), "by_load").await;
    let scenario = Scenario::plain("by_load").rows(60_000);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let options = slow(throttled(&[("max-load", "Threads_connected=60")]));
    let mut crowd = Vec::new();
    let beside = async |run: &Lookout| {
        assert!(run.copied(2_000).await, "the run ended too early");
        for _ in 0..60 {
            crowd.push(db.conn().await);
        }
        let why = run.held_by(Source::MaxLoad).await;
        run.stands_still_but_replays().await;
        for conn in crowd.drain(..) {
            conn.disconnect().await.expect("disconnect");
        }
        why
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, why) = db.alter_beside(&request, &options, beside).await;
    outcome.expect("done");
    assert!(why.starts_with("Threads_connected is") && why.ends_with("more than 60"), "{why}");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn a_critical_load_stops_the_run_and_the_same_command_goes_on() {
    let db = Database::new("critical").await;
    let scenario = Scenario::plain("critical").rows(40_000);
    scenario.prepare(&db).await;
    db.sql(&["CREATE TABLE flags (hold INT)"]).await;
    let options = slow(throttled(&[("critical-load", "Com_create_function=0")]));
    let beside = async |run: &Lookout| {
        assert!(run.copied(2_000).await, "the run ended too early");
        // A counter that nothing else moves.
        let mut conn = db.conn().await;
        conn.query_drop("CREATE FUNCTION nothing() RETURNS INT DETERMINISTIC RETURN 0")
            .await
            .expect("a function");
    };
    let counter = async || {
        let mut conn = db.conn().await;
        let row: Option<(String, u64)> = conn
            .query_first("SHOW GLOBAL STATUS LIKE 'Com_create_function'")
            .await
            .expect("status");
        row.expect("a row").1
    };
    let most = counter().await;
    let critical = format!("Com_create_function={most}");
    let mut options = options;
    options.throttle.set("critical-load", &critical).expect("right");
    let request = db.request("t", &scenario.alter);
    let (outcome, ()) = db.alter_beside(&request, &options, beside).await;
    let error = outcome.expect_err("it was stopped");
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.keeps_progress() && error.to_string().contains("Com_create_function"), "{error}");
    db.sql(&["DROP TABLE flags"]).await;
    db.alter("t", &scenario.alter).await.expect("it goes on");
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn a_run_rests_at_a_critical_load_if_that_is_wanted() {
    let db = Database::new("hibernates").await;
    let scenario = Scenario::plain("hibernates").rows(40_000);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let options = slow(throttled(&[
        ("critical-load", "Threads_connected=100000"),
        ("critical-load-hibernate", "10m"),
    ]));
    let beside = async |run: &Lookout| {
        assert!(run.copied(2_000).await, "the run ended too early");
        run.set("critical-load", "Threads_connected=1");
        let why = run.held_by(Source::CriticalLoad).await;
        run.set("critical-load", "none");
        run.stands_still_but_replays().await;
        // Once more, for a second: the test does not wait for the end of the first rest.
        run.set("critical-load-hibernate", "1s");
        run.set("critical-load", "Threads_connected=1");
        assert!(
            run.until(|run| is_held_for(run, "it rests for 1s")).await,
            "it does not rest for a second"
        );
        run.set("critical-load", "none");
        why
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, why) = db.alter_beside(&request, &options, beside).await;
    outcome.expect("done");
    assert!(why.contains("it rests for 10m"), "{why}");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}

/// Answers every request with the status that is set.
async fn health(status: Arc<Mutex<&'static str>>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await;
            let status = *status.lock().expect("no panic");
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

#[tokio::test]
async fn an_address_that_does_not_answer_200_holds_the_copy() {
    let status = Arc::new(Mutex::new("200 OK"));
    let port = health(status.clone()).await;
    let options = throttled(&[("throttle-http", &format!("http://127.0.0.1:{port}/may-i"))]);
    let set = async |to: &'static str| *status.lock().expect("no panic") = to;
    let why = is_held(
        "by_http",
        options,
        Source::Http,
        async |_| set("503 Service Unavailable").await,
        async |_| set("200 OK").await,
    )
    .await;
    assert!(why.ends_with("/may-i answers 503"), "{why}");
}

#[tokio::test]
async fn a_full_disk_and_a_long_history_list_hold_the_copy() {
    let db = Database::new("by_disk").await;
    let scenario = Scenario::plain("by_disk").rows(40_000);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let options = slow(throttled(&[("min-free-disk", "1"), ("max-history-list", "100000000")]));
    let beside = async |run: &Lookout| {
        assert!(run.copied(2_000).await, "the run ended too early");
        run.set("min-free-disk", "1000000T");
        let disk = run.held_by(Source::Disk).await;
        run.stands_still_but_replays().await;
        run.set("min-free-disk", "none");
        // A read view that is kept open keeps what is deleted and changed from being purged.
        let mut reader = db.conn().await;
        reader.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT").await.expect("a read view");
        run.set("max-history-list", "20");
        let history = run.held_by(Source::HistoryList).await;
        run.stands_still_but_replays().await;
        reader.query_drop("COMMIT").await.expect("commit");
        run.set("max-history-list", "none");
        (disk, history)
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, (disk, history)) = db.alter_beside(&request, &options, beside).await;
    outcome.expect("done");
    assert!(disk.contains("MiB are free at"), "{disk}");
    assert!(history.ends_with("more than 20"), "{history}");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn a_replica_that_lags_holds_the_copy_and_so_does_one_that_cannot_be_read() {
    let source =
        ThrowawayServer::builder().option("--server-id=1").start().await.expect("a source");
    let mut replica = ThrowawayServer::builder()
        .option("--server-id=2")
        .option("--report-host=127.0.0.1")
        .start()
        .await
        .expect("a replica");
    let db = Database::on(source.root_opts(), "lagging").await;
    let mut there = mysql_async::Conn::new(replica.root_opts()).await.expect("connect");
    let position: mysql_async::Row = db
        .conn()
        .await
        .query_first("SHOW BINARY LOG STATUS")
        .await
        .expect("a position")
        .expect("a row");
    let (file, offset): (String, u64) =
        (position.get(0).expect("a file"), position.get(1).expect("an offset"));
    there
        .query_drop(format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, SOURCE_USER = 'root', \
             SOURCE_LOG_FILE = '{file}', SOURCE_LOG_POS = {offset}, GET_SOURCE_PUBLIC_KEY = 1",
            source.port()
        ))
        .await
        .expect("a source");
    // The schema itself was created before that position.
    there.query_drop("CREATE DATABASE lagging").await.expect("a schema");
    there.query_drop("START REPLICA").await.expect("it replicates");
    let scenario = Scenario::plain("lagging").rows(40_000);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let mut options = throttled(&[("max-lag", "1s")]);
    options.rows_per_second = Some(5_000);
    options.chunk_time = Duration::from_millis(10);
    options.throttle.discover_replicas = true;
    let beside = async |run: &Lookout| {
        assert!(run.copied(2_000).await, "the run ended too early");
        there.query_drop("STOP REPLICA SQL_THREAD").await.expect("stopped");
        let lag = run.held_by(Source::ReplicaLag).await;
        run.stands_still_but_replays().await;
        // So that the replica does not have to be quicker than they are to catch up.
        writers.stop(&scenario).await;
        there.query_drop("START REPLICA SQL_THREAD").await.expect("started");
        assert!(run.until(|run| run.control.holds().is_empty()).await, "it was not let go");
        replica.kill().await;
        assert!(run.until(|run| is_held_for(run, "cannot be read")).await, "it was not missed");
        // It goes on replicating where it was.
        replica.restart().await.expect("it comes back");
        run.set("max-rows-per-sec", "none");
        lag
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, lag) = db.alter_beside(&request, &options, beside).await;
    outcome.expect("done");
    assert!(lag.contains("s behind, more than 1.0 s"), "{lag}");
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn probes_that_cannot_work_are_refused_before_anything_is_created() {
    let db = Database::new("bad_probes").await;
    Scenario::plain("bad_probes").rows(100).prepare(&db).await;
    let before = db.fingerprint().await;
    for (settings, says) in [
        (("max-load", "Threads_runing=5"), "Threads_runing"),
        (("throttle-query", "SELECT 'much'"), "does not return a number"),
        (("throttle-query", "SELECT * FROM nowhere.at_all"), "throttle-query"),
    ] {
        let error = db.alter_with("t", "ADD COLUMN z INT", &throttled(&[settings])).await;
        let error = error.expect_err("refused");
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    let mut options = throttled(&[]);
    let nowhere = db.server().at("127.0.0.1", 1);
    options.throttle.replicas.push(Replica { name: "nowhere:1".to_owned(), server: nowhere });
    let error = db.alter_with("t", "ADD COLUMN z INT", &options).await.expect_err("refused");
    assert!(error.to_string().contains("nowhere:1"), "{error}");
    assert_eq!(db.fingerprint().await, before);
}

/// A clock that a test sets.
fn clock(begin: &str) -> (Arc<Mutex<Timestamp>>, Control) {
    let now: Timestamp = begin.parse().expect("a time");
    let now = Arc::new(Mutex::new(now));
    let shown = now.clone();
    (now, Control::with_clock(Arc::new(move || *shown.lock().expect("no panic"))))
}

#[tokio::test]
async fn a_run_begun_at_noon_pauses_in_peak_hours_replays_on_and_ends_right() {
    let db = Database::new("noon").await;
    let scenario = Scenario::plain("noon").rows(60_000);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    // A Wednesday; Berlin is an hour ahead of UTC in November.
    let (now, control) = clock("2026-11-25T11:00:00Z");
    let options = slow(throttled(&[
        ("peak", "Mon-Fri 14:00-20:00 Europe/Berlin"),
        ("cut-over-within", "22:00-23:00 Europe/Berlin"),
    ]));
    let set = |time: &str| *now.lock().expect("no panic") = time.parse().expect("a time");
    let beside = async |run: &Lookout| {
        assert!(run.copied(2_000).await, "noon is no peak hour");
        set("2026-11-25T12:59:59Z");
        let copied = run.progress.snapshot().rows_copied;
        assert!(run.copied(copied + 1_000).await, "the last second before the peak");
        set("2026-11-25T13:00:00Z");
        let why = run.held_by(Source::Peak).await;
        run.stands_still_but_replays().await;
        set("2026-11-25T19:00:00Z");
        assert!(run.reaches(Phase::CutOver).await, "the peak is over");
        assert!(
            run.until(|run| is_waiting(run, "the swap has to wait until 2026-11-25 21:00")).await
        );
        set("2026-11-25T21:00:00Z");
        why
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, why) = db.alter_steered(&request, &options, control, beside).await;
    outcome.expect("done");
    assert_eq!(why, "Mon-Fri 14:00-20:00 Europe/Berlin, until 2026-11-25 19:00 UTC");
    writers.wait_for(50).await;
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}

fn is_waiting(run: &Lookout, text: &str) -> bool {
    run.progress.snapshot().waiting.is_some_and(|waiting| waiting.contains(text))
}

#[tokio::test]
async fn a_window_moves_with_the_clocks_of_its_zone() {
    let db = Database::new("summer").await;
    let scenario = Scenario::plain("summer").rows(20_000);
    scenario.prepare(&db).await;
    // The night in which Berlin's clocks go from 2 to 3: half past two does not exist, four is two hours UTC.
    let (now, control) = clock("2026-03-29T00:30:00Z");
    let options = slow(throttled(&[("only-within", "04:00-05:00 Europe/Berlin")]));
    let set = |time: &str| *now.lock().expect("no panic") = time.parse().expect("a time");
    let beside = async |run: &Lookout| {
        let why = run.held_by(Source::OnlyWithin).await;
        assert_eq!(run.progress.snapshot().rows_copied, 0, "nothing is copied before it is known");
        set("2026-03-29T02:00:00Z");
        why
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, why) = db.alter_steered(&request, &options, control, beside).await;
    outcome.expect("done");
    assert_eq!(why, "the copy has to rest until 2026-03-29 02:00 UTC");
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn peak_hours_may_slow_the_copy_instead_of_pausing_it() {
    let db = Database::new("slow_peak").await;
    let scenario = Scenario::plain("slow_peak").rows(30_000);
    scenario.prepare(&db).await;
    let (now, control) = clock("2026-12-25T09:00:00Z");
    let mut options = throttled(&[
        ("peak", "08:00-20:00 UTC"),
        ("peak-pace", "3000"),
        // On a holiday there is no peak.
        ("holiday", "2026-12-26"),
    ]);
    (options.chunk_time, options.workers) = (Duration::from_millis(10), 1);
    let beside = async |run: &Lookout| {
        assert!(run.copied(3_000).await, "it goes on");
        let (began, before) = (std::time::Instant::now(), run.progress.snapshot().rows_copied);
        assert!(run.copied(before + 6_000).await, "it goes on");
        let rate =
            (run.progress.snapshot().rows_copied - before) as f64 / began.elapsed().as_secs_f64();
        let step = SignedDuration::from_hours(24);
        let mut now = now.lock().expect("no panic");
        *now = now.checked_add(step).expect("a day later");
        rate
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, rate) = db.alter_steered(&request, &options, control, beside).await;
    outcome.expect("done");
    assert!(rate < 5_000.0, "{rate} rows/s");
    scenario.assert_equal(&db).await;
}
