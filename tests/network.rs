//! A network that breaks at the worst moment: between a statement and its answer, in the middle of a
//! packet, or for everybody at once.
//!
//! replank speaks to the server through a proxy of the test's own; the application does not. Every run
//! ends in one of three ways: the table equals its twin; it is untouched and nothing is left behind; or the
//! same command goes on where it ended, to a good end.

mod common;

use std::time::{Duration, Instant};

use common::Lookout;
use common::proxy::Loss;
use common::voyage::Voyage;
use mysql_async::prelude::Queryable;
use replank::progress::Phase;
use replank::throwaway::ThrowawayServer;

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
    voyage.arrives().await;
    assert_eq!((voyage.proxy.losses(), voyage.proxy.sent("RENAME /*")), (1, 1));
}

#[tokio::test]
async fn the_rename_itself_is_lost_and_the_cut_over_is_tried_again() {
    let voyage = Voyage::new("no_rename").await;
    voyage.proxy.lose(Loss::Request, "RENAME /*", 1, 2);
    let outcome = voyage.arrives().await;
    // There may be attempts that were given up before it was sent, but two were lost and one came through.
    assert_eq!((voyage.proxy.losses(), voyage.proxy.sent("RENAME /*")), (2, 3));
    assert!(outcome.tally.attempts >= 3, "{} attempts", outcome.tally.attempts);
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
    // One second for the lock, one for the server's own patience, and slack; the answer to the rename is awaited for
    // half a minute.
    for (name, words, most) in
        [("silent_lock", "LOCK TABLES `", 4), ("silent_rename", "RENAME /*", 8)]
    {
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
        assert!(longest < Duration::from_secs(most), "{name}: a write waited {longest:?}");
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
        (5, Phase::Copy, 300_000),
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

/// A name, or an address that moves, leads to another server after a failover. That one may have a binlog of the same
/// name and all heartbeats of the run, and lack changes all the same.
#[tokio::test]
async fn an_address_that_leads_to_another_server_ends_the_run() {
    let voyage = Voyage::new("other_server").await;
    let other = ThrowawayServer::builder().start().await.expect("another server");
    let beside = async |run: &Lookout| {
        assert!(run.copied(2_000).await, "the run ended too early");
        voyage.proxy.lead_to(other.port());
        voyage.proxy.reachable(false);
        voyage.proxy.all_closed().await;
        voyage.proxy.reachable(true);
    };
    let outcome = voyage.sail(beside).await;
    let error = outcome.as_ref().expect_err("it must not go on there");
    assert!(error.to_string().contains("another server answers"), "{error}");
    assert!(error.keeps_progress());
    voyage.proxy.lead_to(voyage.server.port());
    voyage.scenario.assert_right(&voyage.db, &outcome).await;
}
