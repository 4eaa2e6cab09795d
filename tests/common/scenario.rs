//! One migration under writers, compared with a twin.
//!
//! The writers change the table and its twin in the same transactions, with the same values. While they
//! write, replank alters the table; when they have stopped, the server itself alters the twin. Then both
//! must hold the same rows and have the same structure. replank takes no part in the comparison: it is
//! `CHECKSUM TABLE`, which the server computes over the stored bytes of every row.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replank::error::{Error, Kind};
use replank::run::{Options, Outcome};

use super::{Database, options};

/// A migration to be tried. In the texts `{t}` stands for the table; in writes also `{new}` for an id
/// that no other write uses, `{id}` for an id that may exist, `{n}` for a small random number.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) table: &'static str,
    pub(crate) create: String,
    pub(crate) seed: Vec<String>,
    pub(crate) alter: String,
    pub(crate) writes: Vec<String>,
    pub(crate) writers: usize,
    /// What every writer sets for its session.
    pub(crate) session: Vec<String>,
    /// Ids of the seeded rows lie between 1 and this.
    pub(crate) ids: i64,
    /// Errors that a write may meet by its nature, for instance a duplicate.
    pub(crate) tolerated: Vec<u16>,
    /// `sql_mode` and the like for the seed and for the twin's ALTER.
    pub(crate) setup: Vec<String>,
}

/// 1 to 100 000, for seeds.
pub(crate) const NUMBERS: &str = "CREATE TABLE IF NOT EXISTS numbers (n INT PRIMARY KEY) AS \
    WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000) \
    SELECT (a.n - 1) * 1000 + b.n AS n FROM s a JOIN s b WHERE a.n <= 100";

impl Scenario {
    /// A table `t (id INT AUTO_INCREMENT PRIMARY KEY, <columns>)`, seeded with 20 000 rows.
    pub(crate) fn new(name: &'static str, columns: &str, alter: &str) -> Scenario {
        Scenario {
            name,
            table: "t",
            create: format!(
                "CREATE TABLE {{t}} (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, {columns})"
            ),
            seed: Vec::new(),
            alter: alter.to_owned(),
            writes: vec!["DELETE FROM {t} WHERE id = {id}".to_owned()],
            writers: 4,
            session: Vec::new(),
            ids: 20_000,
            tolerated: Vec::new(),
            setup: Vec::new(),
        }
    }

    /// A table with JSON and a BLOB, of which row images may leave out much, and writers with these
    /// session settings.
    pub(crate) fn with_documents(name: &'static str, session: &[&str]) -> Scenario {
        let mut scenario = Scenario::new(
            name,
            "a INT NOT NULL, j JSON, b BLOB, c VARCHAR(30) NOT NULL DEFAULT 'x', KEY (a)",
            "ADD COLUMN d INT NOT NULL DEFAULT 4, MODIFY c VARCHAR(60) NOT NULL DEFAULT 'x'",
        )
        .seed(
            "a, j, b",
            "n, JSON_OBJECT('n', n, 'deep', JSON_ARRAY(n, 'text')), REPEAT('b', n % 300)",
        )
        .writes(
            "a, j, b",
            "{n}, JSON_OBJECT('n', {n}), 'new'",
            &[
                "a = {n}",
                "j = JSON_SET(j, '$.n', {n}, '$.deep[1]', 'short')",
                "j = JSON_REMOVE(j, '$.deep'), a = {n}",
                "b = REPEAT('c', {n})",
                "c = '{n}'",
                "id = {new}",
            ],
        );
        scenario.session = session.iter().map(|statement| (*statement).to_owned()).collect();
        scenario
    }

    /// A plain table with 150 bytes in each row, for tests of what happens around it.
    pub(crate) fn plain(name: &'static str) -> Scenario {
        Scenario::new(
            name,
            "a INT NOT NULL, b VARCHAR(200) NOT NULL",
            "ADD COLUMN c INT NOT NULL DEFAULT 1, ADD INDEX ab (a, b)",
        )
        .seed("a, b", "n, REPEAT('x', 150)")
        .writes("a, b", "{n}, 'new'", &["b = 'changed {n}'", "a = {n}", "id = {new}"])
        // Hot rows that are deleted come again, so that there is always something to replay.
        .write("REPLACE INTO {t} (id, a, b) VALUES (1 + {n} % 20, {n}, 'hot')")
    }

    /// Seeds another number of rows.
    pub(crate) fn rows(mut self, rows: i64) -> Self {
        for seed in &mut self.seed {
            *seed = seed.replace(&format!("n <= {}", self.ids), &format!("n <= {rows}"));
        }
        self.ids = rows;
        self
    }

    /// Seeds every number up to `ids` with these columns and expressions over `n`.
    pub(crate) fn seed(mut self, columns: &str, values: &str) -> Self {
        self.seed.push(format!(
            "INSERT INTO {{t}} (id, {columns}) SELECT n, {values} FROM numbers WHERE n <= {}",
            self.ids
        ));
        self
    }

    /// Adds an insert, and an update of each of these assignments.
    pub(crate) fn writes(mut self, columns: &str, values: &str, updates: &[&str]) -> Self {
        self.writes.push(format!("INSERT INTO {{t}} (id, {columns}) VALUES ({{new}}, {values})"));
        for update in updates {
            self.writes.push(format!("UPDATE {{t}} SET {update} WHERE id = {{id}}"));
        }
        self
    }

    pub(crate) fn write(mut self, statement: &str) -> Self {
        self.writes.push(statement.to_owned());
        self
    }

    pub(crate) fn session(mut self, statement: &str) -> Self {
        self.session.push(statement.to_owned());
        self
    }

    pub(crate) fn tolerate(mut self, code: u16) -> Self {
        self.tolerated.push(code);
        self
    }

    pub(crate) fn setup(mut self, statement: &str) -> Self {
        self.setup.push(statement.to_owned());
        self
    }

    fn twin(&self) -> &'static str {
        "twin"
    }

    fn on(&self, text: &str, table: &str) -> String {
        text.replace("{t}", &format!("`{}`", table.replace('`', "``")))
    }

    /// Creates and seeds the table and its twin.
    pub(crate) async fn prepare(&self, db: &Database) {
        let mut conn = db.conn().await;
        let run = async |conn: &mut Conn, sql: String| {
            conn.query_drop(&sql)
                .await
                .unwrap_or_else(|error| panic!("{}: {error}\n{sql:.600}", self.name));
        };
        run(&mut conn, "SET SESSION cte_max_recursion_depth = 1000000".to_owned()).await;
        run(&mut conn, NUMBERS.to_owned()).await;
        for statement in &self.setup {
            run(&mut conn, statement.clone()).await;
        }
        for table in [self.table, self.twin()] {
            run(&mut conn, self.on(&self.create, table)).await;
            for seed in &self.seed {
                run(&mut conn, self.on(seed, table)).await;
            }
        }
        run(&mut conn, format!("ANALYZE TABLE `{}`", self.table.replace('`', "``"))).await;
        conn.disconnect().await.expect("disconnect");
    }

    /// Runs the migration under the writers, and the same ALTER on the twin.
    pub(crate) async fn run(&self, db: &Database) -> Result<Outcome, Error> {
        self.run_with(db, options().workers).await
    }

    /// [`run`](Self::run) with another number of workers.
    pub(crate) async fn run_with(&self, db: &Database, workers: usize) -> Result<Outcome, Error> {
        self.prepare(db).await;
        let writers = Writers::start(self, db).await;
        let options = Options { workers, ..options() };
        let outcome = db.alter_with(self.table, &self.alter, &options).await;
        // What is written to the new table counts as well.
        if outcome.is_ok() && self.writers > 0 {
            writers.wait_for(50).await;
        }
        writers.stop(self).await;
        outcome
    }

    /// [`run`](Self::run), to a good end.
    pub(crate) async fn succeeds(&self, db: &Database) -> Outcome {
        let outcome = self.run(db).await.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        self.assert_equal(db).await;
        outcome
    }

    /// Asserts one of the three good ends: done, and equal to the twin; ended with everything as it was;
    /// or ended in a way that lets the same command go on to a good end.
    pub(crate) async fn assert_right(&self, db: &Database, outcome: &Result<Outcome, Error>) {
        let Err(error) = outcome else { return self.assert_equal(db).await };
        if error.keeps_progress() {
            let again = Box::pin(db.alter(self.table, &self.alter)).await;
            again.unwrap_or_else(|again| panic!("{}: {again} after: {error}", self.name));
            return self.assert_equal(db).await;
        }
        assert_ne!(error.kind(), Kind::Ambiguous, "{}: {error}", self.name);
        let tables: Vec<String> = db.fingerprint().await.into_iter().map(|(t, ..)| t).collect();
        assert_eq!(tables, ["numbers", "t", "twin"], "{}: left behind after: {error}", self.name);
        let mut conn = db.conn().await;
        compare(&mut conn, self.name, self.table, self.twin(), false).await;
    }

    /// Alters the twin natively and compares.
    pub(crate) async fn assert_equal(&self, db: &Database) {
        let mut conn = db.conn().await;
        for statement in &self.setup {
            conn.query_drop(statement).await.expect("setup");
        }
        conn.query_drop(format!("ALTER TABLE `{}` {}", self.twin(), self.alter))
            .await
            .unwrap_or_else(|error| panic!("{}: the twin: {error}", self.name));
        // An insert that fails uses up a number in the table and never comes to the twin.
        let counters = self.tolerated.is_empty();
        compare(&mut conn, self.name, self.table, self.twin(), counters).await;
        conn.disconnect().await.expect("disconnect");
    }
}

/// Asserts that two tables hold the same rows and have the same structure, with or without the
/// AUTO_INCREMENT counter.
pub(crate) async fn compare(conn: &mut Conn, name: &str, table: &str, twin: &str, counters: bool) {
    // Whatever the server's mode, names are printed in backticks.
    conn.query_drop("SET SESSION sql_mode = ''").await.expect("sql_mode");
    let quoted = |table: &str| format!("`{}`", table.replace('`', "``"));
    let structure = async |conn: &mut Conn, table: &str| -> String {
        let row: mysql_async::Row = conn
            .query_first(format!("SHOW CREATE TABLE {}", quoted(table)))
            .await
            .expect("show create")
            .expect("a row");
        let text: String = row.get(1).expect("text");
        // The server names CHECK constraints after the table.
        let text =
            text.replacen(&quoted(table), "T", 1).replace(&format!("`{table}_chk_"), "`T_chk_");
        match text.split_once(" AUTO_INCREMENT=") {
            Some((head, tail)) if !counters => {
                format!("{head}{}", tail.trim_start_matches(|c: char| c.is_ascii_digit()))
            }
            _ => text,
        }
    };
    let (a, b) = (structure(conn, table).await, structure(conn, twin).await);
    assert_eq!(a, b, "{name}: the structures differ");
    let rows: Vec<(String, Option<u64>)> = conn
        .query(format!("CHECKSUM TABLE {}, {} EXTENDED", quoted(table), quoted(twin)))
        .await
        .expect("checksum");
    assert!(rows[0].1.is_some(), "{name}: no checksum");
    if rows[0].1 != rows[1].1 {
        // By name, since `*` leaves out invisible columns.
        let columns: Vec<String> = conn
            .exec(
                "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() \
                 AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
                (table,),
            )
            .await
            .expect("columns");
        let columns = columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        let side = |table: &str| format!("SELECT {columns} FROM {}", quoted(table));
        let only = |whose: &str, a: &str, b: &str| {
            format!("(SELECT '{whose}', d.* FROM ({} EXCEPT ALL {}) d LIMIT 5)", side(a), side(b))
        };
        let differing: Vec<mysql_async::Row> = conn
            .query(format!(
                "{} UNION ALL {}",
                only("only migrated", table, twin),
                only("only twin", twin, table)
            ))
            .await
            .unwrap_or_default();
        let shown: Vec<String> = differing
            .into_iter()
            .map(|row| row.unwrap().iter().map(|v| v.as_sql(true)).collect::<Vec<_>>().join("|"))
            .collect();
        panic!("{name}: the rows differ: {rows:?}\n{}", shown.join("\n"));
    }
}

/// Writers that run until they are stopped.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicI64>,
    tasks: Vec<tokio::task::JoinHandle<Vec<String>>>,
    progress: Arc<tokio::sync::Notify>,
}

impl Writers {
    pub(crate) async fn start(scenario: &Scenario, db: &Database) -> Writers {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicI64::new(0));
        let progress = Arc::new(tokio::sync::Notify::new());
        let fresh = Arc::new(AtomicI64::new(scenario.ids + 1_000));
        let mut tasks = Vec::new();
        for seed in 0..scenario.writers {
            let mut conn = db.conn().await;
            for statement in &scenario.session {
                conn.query_drop(statement).await.expect("a session setting");
            }
            let scenario = scenario.clone();
            let (stop, done, fresh, progress) =
                (stop.clone(), done.clone(), fresh.clone(), progress.clone());
            tasks.push(tokio::spawn(async move {
                let mut random = StdRng::seed_from_u64(seed as u64);
                let mut errors = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let template = &scenario.writes[random.random_range(0..scenario.writes.len())];
                    // Every fourth write goes to one of a few hot rows.
                    let top =
                        if random.random_bool(0.25) { 20 } else { fresh.load(Ordering::Relaxed) };
                    let statement = template
                        .replace("{new}", &fresh.fetch_add(1, Ordering::Relaxed).to_string())
                        .replace("{id}", &random.random_range(1..=top).to_string())
                        .replace("{n}", &random.random_range(0..1000).to_string());
                    match transaction(&mut conn, &scenario, &statement).await {
                        Ok(()) => {
                            done.fetch_add(1, Ordering::Relaxed);
                            progress.notify_waiters();
                        }
                        Err(mysql_async::Error::Server(error))
                            if matches!(error.code, 1205 | 1213)
                                || scenario.tolerated.contains(&error.code) =>
                        {
                            conn.query_drop("ROLLBACK").await.expect("rollback");
                        }
                        Err(error) => {
                            errors.push(format!("{error}: {statement}"));
                            break;
                        }
                    }
                    // About 250 transactions a second for each writer.
                    tokio::time::sleep(Duration::from_millis(random.random_range(1..5))).await;
                }
                conn.disconnect().await.ok();
                errors
            }));
        }
        Writers { stop, done, tasks, progress }
    }

    /// Waits for that many more transactions.
    pub(crate) async fn wait_for(&self, more: i64) {
        let target = self.done.load(Ordering::Relaxed) + more;
        let reached = async {
            while self.done.load(Ordering::Relaxed) < target {
                let _ = tokio::time::timeout(Duration::from_millis(100), self.progress.notified())
                    .await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect("the writers go on");
    }

    /// Stops the writers; none may have met an error.
    pub(crate) async fn stop(self, scenario: &Scenario) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut errors = Vec::new();
        for task in self.tasks {
            errors.extend(task.await.expect("a writer"));
        }
        assert!(errors.is_empty(), "{}: application errors: {errors:#?}", scenario.name);
        self.done.load(Ordering::Relaxed)
    }
}

/// The same statement on the table and on its twin, or on neither.
async fn transaction(
    conn: &mut Conn,
    scenario: &Scenario,
    statement: &str,
) -> Result<(), mysql_async::Error> {
    // NOW() is the same in both statements.
    conn.query_drop("SET SESSION timestamp = UNIX_TIMESTAMP(SYSDATE(6))").await?;
    conn.query_drop("START TRANSACTION").await?;
    conn.query_drop(scenario.on(statement, scenario.table)).await?;
    conn.query_drop(scenario.on(statement, scenario.twin())).await?;
    conn.query_drop("COMMIT").await
}
