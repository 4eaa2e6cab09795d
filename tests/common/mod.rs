//! What the scenarios share: one throwaway server for each test binary, and a database for each test.

// Every test binary compiles this module for itself and uses another part of it.
#![allow(dead_code)]

pub(crate) mod proxy;
pub(crate) mod scenario;
pub(crate) mod voyage;

use std::sync::OnceLock;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use replank::control::{Command, Control, MAX_CHANGED_KEYS};
use replank::error::Result;
use replank::pace::Pace;
use replank::progress::{Phase, Progress};
use replank::run::{Options, Outcome, Request};
use replank::server::Server;
use replank::throttle::Throttle;
use replank::throwaway::ThrowawayServer;

/// The binary's server. It is never dropped: it dies with the process, by its parent-death signal.
pub(crate) fn server() -> &'static ThrowawayServer {
    static SERVER: OnceLock<ThrowawayServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        // A thread of its own, because a runtime cannot be started within another one.
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime
                .block_on(
                    ThrowawayServer::builder()
                        .option("--innodb-buffer-pool-size=512M")
                        .option("--max-allowed-packet=1G")
                        .start(),
                )
                .unwrap_or_else(|error| panic!("{error}\n{}", error.next_step().unwrap_or("")))
        })
        .join()
        .expect("the server starts")
    })
}

/// A database of a test's own.
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) opts: OptsBuilder,
}

impl Database {
    /// Creates it afresh on the binary's server.
    pub(crate) async fn new(name: &str) -> Database {
        Database::on(server().root_opts(), name).await
    }

    /// Creates it afresh on another server.
    pub(crate) async fn on(opts: OptsBuilder, name: &str) -> Database {
        let mut conn = Conn::new(opts.clone()).await.expect("connect");
        let quoted = format!("`{}`", name.replace('`', "``"));
        conn.query_drop(format!("DROP DATABASE IF EXISTS {quoted}")).await.expect("drop");
        conn.query_drop(format!("CREATE DATABASE {quoted}")).await.expect("create");
        conn.disconnect().await.expect("disconnect");
        Database { name: name.to_owned(), opts: opts.db_name(Some(name)) }
    }

    pub(crate) async fn conn(&self) -> Conn {
        Conn::new(self.opts.clone()).await.expect("connect")
    }

    /// Runs statements, one after the other, on a connection of their own.
    pub(crate) async fn sql(&self, statements: &[&str]) {
        let mut conn = self.conn().await;
        for statement in statements {
            conn.query_drop(*statement)
                .await
                .unwrap_or_else(|error| panic!("{error}\n{statement:.400}"));
        }
        conn.disconnect().await.expect("disconnect");
    }

    pub(crate) fn server(&self) -> Server {
        Server::from_opts(self.opts.clone())
    }

    /// Runs replank on a table with test-sized options.
    pub(crate) async fn alter(&self, table: &str, clauses: &str) -> Result<Outcome> {
        self.alter_with(table, clauses, &options()).await
    }

    pub(crate) async fn alter_with(
        &self,
        table: &str,
        clauses: &str,
        options: &Options,
    ) -> Result<Outcome> {
        let request = self.request(table, clauses);
        self.alter_beside(&request, options, async |_: &Lookout| {}).await.0
    }

    /// Runs replank slowly, and does something else as soon as it has copied that many rows. Until that is done, the
    /// copy hardly goes on.
    pub(crate) async fn alter_and_meddle(
        &self,
        table: &str,
        clauses: &str,
        after_rows: u64,
        meddle: impl Future<Output = ()>,
    ) -> Result<Outcome> {
        let mut options = options();
        options.chunk_time = Duration::from_millis(10);
        options.workers = 1;
        let beside = async |run: &Lookout| {
            if run.copied(after_rows).await {
                run.set("max-rows-per-sec", "1000");
                meddle.await;
                run.set("max-rows-per-sec", "none");
            }
        };
        self.alter_beside(&self.request(table, clauses), &options, beside).await.0
    }

    /// Runs replank, and beside it something that may watch the run. Both have to end.
    pub(crate) async fn alter_beside<T>(
        &self,
        request: &Request,
        options: &Options,
        beside: impl AsyncFnOnce(&Lookout) -> T,
    ) -> (Result<Outcome>, T) {
        self.alter_steered(request, options, Control::new(), beside).await
    }

    /// The same with a control of the test's own.
    pub(crate) async fn alter_steered<T>(
        &self,
        request: &Request,
        options: &Options,
        control: Control,
        beside: impl AsyncFnOnce(&Lookout) -> T,
    ) -> (Result<Outcome>, T) {
        let run = Lookout { progress: Progress::new(), control };
        let server = self.server();
        let migration = async {
            let outcome =
                replank::run::run(&server, request, options, &run.progress, &run.control).await;
            run.progress.update(|snapshot| snapshot.phase = Phase::Done);
            outcome
        };
        // Boxed, since the scenarios build larger futures around it.
        let both = Box::pin(async { tokio::join!(migration, beside(&run)) });
        // A stream that never gets through is given up after two minutes without progress.
        tokio::time::timeout(Duration::from_secs(400), both).await.expect("it hangs")
    }

    pub(crate) fn request(&self, table: &str, clauses: &str) -> Request {
        Request {
            schema: Some(self.name.clone()),
            table: Some(table.to_owned()),
            statement: clauses.to_owned(),
            lock_wait: 1,
            time_zone: None,
            revertible_for: None,
            defer_indexes: Default::default(),
        }
    }

    /// Everything that a failed or refused run must leave as it was: all tables with their structure
    /// and contents, but for the history of runs.
    pub(crate) async fn fingerprint(&self) -> Vec<(String, String, String)> {
        let mut conn = self.conn().await;
        let tables: Vec<String> = conn
            .query(
                "SELECT TABLE_NAME FROM information_schema.TABLES \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME <> '_replank_history' ORDER BY 1",
            )
            .await
            .expect("tables");
        let mut prints = Vec::new();
        for table in tables {
            let quoted = format!("`{}`", table.replace('`', "``"));
            let row: mysql_async::Row = conn
                .query_first(format!("SHOW CREATE TABLE {quoted}"))
                .await
                .expect("show create")
                .expect("a row");
            let create: String = row.get(1).expect("text");
            let sum: mysql_async::Row = conn
                .query_first(format!("CHECKSUM TABLE {quoted} EXTENDED"))
                .await
                .expect("checksum")
                .expect("a row");
            let sum: Option<u64> = sum.get(1).expect("a number");
            prints.push((table, create, format!("{sum:?}")));
        }
        conn.disconnect().await.expect("disconnect");
        prints
    }
}

/// What may be known of a run, and done to it, while it goes on.
pub(crate) struct Lookout {
    pub(crate) progress: Progress,
    pub(crate) control: Control,
}

impl Lookout {
    pub(crate) fn phase(&self) -> Phase {
        self.progress.snapshot().phase
    }

    pub(crate) fn goes_on(&self) -> bool {
        self.phase() < Phase::Done
    }

    /// Waits until the run has come to that phase. False if it ended before.
    pub(crate) async fn reaches(&self, phase: Phase) -> bool {
        self.until(|run| run.phase() >= phase).await
    }

    /// Waits until that many rows are copied. False if the run ended before.
    pub(crate) async fn copied(&self, rows: u64) -> bool {
        self.until(|run| run.progress.snapshot().rows_copied >= rows).await
    }

    /// Waits until something holds. False if the run ended before.
    pub(crate) async fn until(&self, holds: impl Fn(&Lookout) -> bool) -> bool {
        let mut ticker = tokio::time::interval(Duration::from_millis(1));
        loop {
            ticker.tick().await;
            if holds(self) {
                return true;
            }
            if !self.goes_on() {
                return false;
            }
        }
    }

    /// Waits until a statement finds something. False if the run ended before.
    pub(crate) async fn finds(&self, conn: &mut Conn, statement: &str) -> bool {
        let mut ticker = tokio::time::interval(Duration::from_millis(5));
        loop {
            ticker.tick().await;
            let found: Option<i64> = conn
                .query_first(statement)
                .await
                .unwrap_or_else(|error| panic!("{error}\n{statement}"));
            if found.is_some() {
                return true;
            }
            if !self.goes_on() {
                return false;
            }
        }
    }

    /// Asserts that nothing is copied while changes are replayed.
    pub(crate) async fn stands_still_but_replays(&self) {
        // A chunk that was under way may end; it takes some milliseconds, several replays longer.
        let replayed = self.progress.snapshot().keys_replayed;
        assert!(self.until(|run| run.progress.snapshot().keys_replayed >= replayed + 300).await);
        let before = self.progress.snapshot();
        let enough = before.keys_replayed + 50;
        assert!(self.until(|run| run.progress.snapshot().keys_replayed >= enough).await);
        let after = self.progress.snapshot();
        assert_eq!((after.phase, after.rows_copied), (before.phase, before.rows_copied));
    }

    /// What Ctrl-C does.
    pub(crate) fn stop(&self) {
        self.control.stop();
    }

    /// What `replank set` does.
    pub(crate) fn set(&self, name: &str, value: &str) {
        let command = Command::Set { name: name.to_owned(), value: value.to_owned() };
        self.control.obey(&command, "test").expect("a right value");
    }
}

/// The connections that are replank's on a server, in no order.
pub(crate) async fn replanks_connections(conn: &mut Conn) -> Vec<u64> {
    conn.query(
        "SELECT PROCESSLIST_ID FROM performance_schema.session_connect_attrs \
         WHERE ATTR_NAME = 'program_name' AND ATTR_VALUE = 'replank' ORDER BY RAND()",
    )
    .await
    .expect("the sessions")
}

/// Options that make several chunks of a small table.
pub(crate) fn options() -> Options {
    Options {
        pace: Pace::Fast,
        workers: 2,
        rows_per_second: None,
        chunk_time: Duration::from_millis(50),
        max_changed_keys: MAX_CHANGED_KEYS,
        keep_old: true,
        restart: false,
        stop_keeps: false,
        history_days: 1,
        throttle: Throttle::default(),
        postpone_cut_over: false,
        hooks: None,
    }
}
