//! A network that breaks at the worst moment: between a statement and its answer, in the middle of a
//! packet, or for everybody at once.
//!
//! replank speaks to the server through a proxy of the test's own; the application does not. Every run
//! ends in one of two ways: the table equals its twin, or it is untouched and nothing is left behind.

mod common;

use std::time::{Duration, Instant};

use common::proxy::{Loss, Proxy};
use common::scenario::{Scenario, Writers};
use common::{Database, Lookout};
use mysql_async::prelude::Queryable;
use replank::error::Error;
use replank::progress::Phase;
use replank::run::Outcome;
use replank::throwaway::ThrowawayServer;

/// One run that goes through a proxy.
struct Voyage {
    server: ThrowawayServer,
    db: Database,
    scenario: Scenario,
    proxy: Proxy,
}

impl Voyage {
    async fn new(name: &'static str) -> Voyage {
        Voyage::of(Scenario::plain(name)).await
    }

    async fn of(scenario: Scenario) -> Voyage {
        let server = ThrowawayServer::builder()
            .option("--innodb-buffer-pool-size=128M")
            .start()
            .await
            .expect("a server");
        let db = Database::on(server.root_opts(), scenario.name).await;
        scenario.prepare(&db).await;
        let proxy = Proxy::to(server.port()).await;
        Voyage { server, db, scenario, proxy }
    }

    /// Runs replank through the proxy under writers; `beside` happens beside it.
    async fn sail(&self, beside: impl AsyncFnOnce(&Lookout)) -> Result<Outcome, Error> {
        let through = Database {
            name: self.db.name.clone(),
            opts: self.proxy.through(self.server.root_opts()),
        };
        let writers = Writers::start(&self.scenario, &self.db).await;
        let mut options = common::options();
        options.chunk_time = Duration::from_millis(20);
        let request = through.request("t", &self.scenario.alter);
        let (outcome, ()) = through.alter_beside(&request, &options, beside).await;
        writers.stop(&self.scenario).await;
        outcome
    }

    /// Nothing happens beside the run, which has to come to a good end.
    async fn arrives(&self) -> Outcome {
        let outcome = self.sail(async |_: &Lookout| {}).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{}: {error}", self.scenario.name));
        self.scenario.assert_equal(&self.db).await;
        outcome
    }
}

#[tokio::test]
async fn answers_to_commits_are_lost() {
    let voyage = Voyage::new("lost_commit").await;
    voyage.proxy.lose(Loss::Answer, "COMMIT", 4, 40);
    let outcome = voyage.arrives().await;
    assert!(voyage.proxy.losses() >= 10, "only {} were lost", voyage.proxy.losses());
    assert_eq!(outcome.tally.rows_repaired, 0);
}

#[tokio::test]
async fn statements_are_lost_before_and_after_they_were_carried_out() {
    for (name, loss, words) in [
        ("lost_insert", Loss::Answer, "INSERT INTO"),
        ("no_insert", Loss::Request, "INSERT INTO"),
        ("lost_replay", Loss::Answer, "REPLACE INTO"),
        ("no_delete", Loss::Request, "DELETE FROM"),
        ("lost_delete", Loss::Answer, "DELETE FROM"),
        ("lost_heartbeat", Loss::Answer, "UPDATE `"),
        ("lost_digest", Loss::Answer, "SHA2("),
    ] {
        let voyage = Voyage::new(name).await;
        voyage.proxy.lose(loss, words, 5, 10);
        voyage.arrives().await;
        assert!(voyage.proxy.losses() > 0, "{name}: nothing was lost");
    }
}

#[tokio::test]
async fn what_is_created_or_dropped_is_swept_up_although_the_connection_is_lost() {
    for (name, loss, words) in [
        ("no_create", Loss::Request, "CREATE TABLE"),
        ("lost_create", Loss::Answer, "CREATE TABLE"),
        ("lost_like", Loss::Answer, "_new` LIKE"),
        ("lost_alter", Loss::Answer, "ADD COLUMN c INT"),
        ("lost_registry", Loss::Answer, "INSERT INTO"),
    ] {
        let voyage = Voyage::new(name).await;
        voyage.proxy.lose(loss, words, 1, 1);
        voyage.proxy.lose(Loss::Answer, "DROP TABLE", 1, 2);
        let outcome = voyage.sail(async |_: &Lookout| {}).await;
        assert!(outcome.is_err(), "{name}");
        voyage.scenario.assert_right(&voyage.db, &outcome).await;
    }
    for (name, words) in [("lost_drop", "DROP TABLE"), ("lost_comment", "replank old table")] {
        let voyage = Voyage::new(name).await;
        voyage.proxy.lose(Loss::Answer, words, 1, 2);
        voyage.arrives().await;
        assert_eq!(voyage.proxy.losses(), 2, "{name}");
        let tables: Vec<String> =
            voyage.db.fingerprint().await.into_iter().map(|(name, ..)| name).collect();
        assert_eq!(tables, ["_t_replank_old", "numbers", "t", "twin"], "{name}");
    }
}

#[tokio::test]
async fn the_answer_to_the_rename_is_lost() {
    let voyage = Voyage::new("lost_rename").await;
    voyage.proxy.lose(Loss::Answer, "RENAME /*", 1, 1);
    let outcome = voyage.arrives().await;
    assert_eq!((voyage.proxy.losses(), outcome.tally.attempts), (1, 1));
}

#[tokio::test]
async fn the_rename_itself_is_lost_and_the_cut_over_is_tried_again() {
    let voyage = Voyage::new("no_rename").await;
    voyage.proxy.lose(Loss::Request, "RENAME /*", 1, 2);
    let outcome = voyage.arrives().await;
    assert_eq!((voyage.proxy.losses(), outcome.tally.attempts), (2, 3));
}

#[tokio::test]
async fn connections_are_lost_around_the_lock() {
    for (name, loss, words) in [
        ("no_lock", Loss::Request, "LOCK TABLES `"),
        ("lost_lock", Loss::Answer, "LOCK TABLES `"),
        ("lost_unlock", Loss::Answer, "UNLOCK TABLES"),
        ("no_unlock", Loss::Request, "UNLOCK TABLES"),
    ] {
        let voyage = Voyage::new(name).await;
        voyage.proxy.lose(loss, words, 1, 1);
        voyage.arrives().await;
        assert_eq!(voyage.proxy.losses(), 1, "{name}");
    }
}

/// The connection that holds the locks falls silent: nobody closes it, nobody answers.
#[tokio::test]
async fn a_silent_network_does_not_keep_the_application_waiting() {
    for (name, words) in [("silent_lock", "LOCK TABLES `"), ("silent_rename", "RENAME /*")] {
        let voyage = Voyage::new(name).await;
        voyage.proxy.lose(Loss::Silence, words, 1, 1);
        let db = &voyage.db;
        let mut longest = Duration::ZERO;
        let outcome = voyage
            .sail(async |run: &Lookout| {
                let mut conn = db.conn().await;
                while run.goes_on() {
                    let began = Instant::now();
                    conn.query_drop("UPDATE t SET a = a WHERE id = -1").await.expect("a write");
                    longest = longest.max(began.elapsed());
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
            .await;
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        voyage.scenario.assert_equal(db).await;
        assert_eq!(voyage.proxy.losses(), 1, "{name}");
        // One second for the lock, one for the server's own patience, and slack.
        assert!(longest < Duration::from_millis(4_000), "{name}: a write waited {longest:?}");
    }
}

/// From the beginning, where one lost connection ends the run before anything is created, and from
/// the copy on, where the run goes on as long as connections live long enough for one statement.
#[tokio::test]
async fn every_connection_breaks_after_some_bytes() {
    for (seed, from, most) in [
        (1, Phase::Prepare, 9_000),
        (2, Phase::Prepare, 60_000),
        (3, Phase::Copy, 9_000),
        (4, Phase::Copy, 60_000),
        (5, Phase::Copy, 200_000),
    ] {
        let voyage = Voyage::new("bytes").await;
        let proxy = &voyage.proxy;
        let outcome = voyage
            .sail(async |run: &Lookout| {
                run.reaches(from).await;
                proxy.break_after(2_500, most, seed);
            })
            .await;
        let ending = outcome.as_ref().map_or_else(ToString::to_string, |_| "done".to_owned());
        println!("{most} bytes from {from:?} on: {} cuts, {ending}", proxy.cuts());
        assert!(proxy.cuts() > 0, "{most} bytes");
        proxy.mend();
        voyage.scenario.assert_right(&voyage.db, &outcome).await;
    }
}

#[tokio::test]
async fn the_server_cannot_be_reached_for_some_seconds_in_each_phase() {
    for (name, phase) in
        [("away_copy", Phase::Copy), ("away_verify", Phase::Verify), ("away_swap", Phase::CutOver)]
    {
        let voyage = Voyage::new(name).await;
        let (proxy, db) = (&voyage.proxy, &voyage.db);
        let outcome = voyage
            .sail(async |run: &Lookout| {
                assert!(run.reaches(phase).await);
                proxy.reachable(false);
                // Long enough for the application to write something that has to be caught up with.
                db.sql(&["DO SLEEP(2)"]).await;
                proxy.reachable(true);
            })
            .await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(outcome.tally.keys_replayed > 0);
        voyage.scenario.assert_equal(db).await;
    }
}
