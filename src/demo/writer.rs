//! One writer of a workload: a connection, and what is done with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::sync::watch;
use tokio::time::Interval;

use super::latency::Latencies;
use super::transaction::{Dialogue, Operation, Planner, Transaction};
use crate::error::Result;
use crate::server::{Fault, Server, fault_of, to_error};
use crate::sql::TableName;

/// From when on the log tells of a statement, at its debug level.
const SLOW: Duration = Duration::from_millis(50);

/// How many error texts a writer keeps.
const ERRORS_KEPT: usize = 20;

/// How much of a statement an error text quotes, in characters.
const QUOTED: usize = 160;

/// What a writer has done.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) transactions: u64,
    pub(crate) statements: u64,
    pub(crate) retries: u64,
    pub(crate) error_count: u64,
    pub(crate) errors: Vec<String>,
    pub(crate) latencies: Latencies,
}

/// A connected writer.
#[derive(Debug)]
pub(crate) struct Writer {
    opts: Opts,
    conn: Conn,
    /// Between the numbers that the server gives to the rows of one INSERT.
    increment: u64,
    table: TableName,
    twin: Option<TableName>,
    dialogue: Arc<Dialogue>,
    planner: Planner,
    /// The longest wait for one statement of the present transaction.
    longest: Duration,
    statements: u64,
}

/// Why a transaction was not done.
#[derive(Debug)]
enum Trouble {
    /// The server's answer to this statement, or none.
    Server(mysql_async::Error, String),
    /// A statement met other rows in the twin than in the table.
    Unequal(String),
}

impl Writer {
    /// Connects.
    pub(crate) async fn connect(
        server: &Server,
        (table, twin): (TableName, Option<TableName>),
        dialogue: Arc<Dialogue>,
        planner: Planner,
    ) -> Result<Writer> {
        // Rows that an UPDATE met, not only those it changed: to compare table and twin.
        let opts: Opts =
            OptsBuilder::from_opts(server.opts().clone()).client_found_rows(true).into();
        let (conn, increment) =
            open(&opts).await.map_err(|e| to_error(e, "connecting a writer of the workload"))?;
        let (longest, statements) = (Duration::ZERO, 0);
        Ok(Writer { opts, conn, increment, table, twin, dialogue, planner, longest, statements })
    }

    /// Writes until `stop` says so, or its sender is gone.
    pub(crate) async fn write(
        mut self,
        began: Instant,
        mut pace: Option<Interval>,
        mut stop: watch::Receiver<bool>,
        counter: watch::Sender<u64>,
    ) -> Written {
        let mut written = Written {
            transactions: 0,
            statements: 0,
            retries: 0,
            error_count: 0,
            errors: Vec::new(),
            latencies: Latencies::new(began),
        };
        while !is_stopping(&stop) {
            if let Some(pace) = &mut pace {
                tokio::select! {
                    biased;
                    _ = stop.changed() => break,
                    _ = pace.tick() => {}
                }
            }
            if !self.perform(&mut written, &stop).await {
                break;
            }
            counter.send_modify(|count| *count += 1);
        }
        written.statements = self.statements;
        // What has not been answered does not count any more.
        let _ = self.conn.disconnect().await;
        written
    }

    /// Does the next transaction, as often as it takes. False when the connection cannot be had any more.
    async fn perform(&mut self, written: &mut Written, stop: &watch::Receiver<bool>) -> bool {
        let transaction = self.planner.next();
        let began = Instant::now();
        self.longest = Duration::ZERO;
        loop {
            let trouble = match self.attempt(&transaction).await {
                Ok(numbers) => {
                    if transaction.commit {
                        self.planner.remember(numbers);
                    }
                    written.transactions += 1;
                    written.latencies.record(began.elapsed(), self.longest);
                    return true;
                }
                Err(trouble) => trouble,
            };
            let again = matches!(&trouble, Trouble::Server(e, _) if fault_of(e) == Fault::Retry);
            if !again {
                written.error(&trouble);
            }
            // A lock wait timeout undoes only the statement.
            if self.conn.query_drop("ROLLBACK").await.is_err() {
                match open(&self.opts).await {
                    Ok((conn, increment)) => (self.conn, self.increment) = (conn, increment),
                    Err(error) => {
                        written.error(&Trouble::Server(error, "connecting again".to_owned()));
                        return false;
                    }
                }
            }
            if !again || is_stopping(stop) {
                return true;
            }
            written.retries += 1;
        }
    }

    /// Tries a transaction once. Returns the keys of rows that it inserted or moved.
    async fn attempt(&mut self, transaction: &Transaction) -> Result<Vec<u64>, Trouble> {
        let mut numbers = Vec::new();
        self.statement("START TRANSACTION").await?;
        for operation in &transaction.operations {
            self.operate(operation, &mut numbers).await?;
        }
        self.statement(if transaction.commit { "COMMIT" } else { "ROLLBACK" }).await?;
        Ok(numbers)
    }

    async fn operate(
        &mut self,
        operation: &Operation,
        numbers: &mut Vec<u64>,
    ) -> Result<(), Trouble> {
        let dialogue = self.dialogue.clone();
        match operation {
            Operation::InsertUnnumbered { values } => {
                self.statement(&dialogue.insert_unnumbered(&self.table, values)).await?;
                let first = self.conn.last_insert_id().unwrap_or(0);
                // One statement's numbers are consecutive (manual, "AUTO_INCREMENT Handling in
                // InnoDB": simple inserts).
                let given = (0..).map(|i| first + i * self.increment);
                let rows: Vec<_> = given.zip(values.iter().map(Vec::as_slice)).collect();
                numbers.extend(rows.iter().map(|(number, _)| *number));
                let met = rows.len() as u64;
                self.follow(met, |twin| dialogue.insert(twin, &rows)).await
            }
            Operation::Insert { rows } => {
                let rows: Vec<_> = rows.iter().map(|(n, values)| (*n, values.as_slice())).collect();
                numbers.extend(rows.iter().map(|(number, _)| *number));
                self.both(|table| dialogue.insert(table, &rows)).await.map(drop)
            }
            Operation::Update { number, set } => {
                self.both(|table| dialogue.update(table, *number, set)).await.map(drop)
            }
            Operation::Delete { number } => {
                self.both(|table| dialogue.delete(table, *number)).await.map(drop)
            }
            Operation::KeyChange { from, to, set } => {
                if self.both(|table| dialogue.key_change(table, *from, *to, set)).await? > 0 {
                    numbers.push(*to);
                }
                Ok(())
            }
            Operation::Replace { number, values } => {
                if self.both(|table| dialogue.delete(table, *number)).await? > 0 {
                    let rows = [(*number, values.as_slice())];
                    self.both(|table| dialogue.insert(table, &rows)).await?;
                }
                Ok(())
            }
        }
    }

    /// A statement on the table and then on the twin. Returns how many rows it met.
    async fn both(&mut self, sql: impl Fn(&TableName) -> String) -> Result<u64, Trouble> {
        let met = self.statement(&sql(&self.table)).await?;
        self.follow(met, sql).await?;
        Ok(met)
    }

    /// The twin's half of a statement that met `met` rows of the table.
    async fn follow(
        &mut self,
        met: u64,
        sql: impl Fn(&TableName) -> String,
    ) -> Result<(), Trouble> {
        let Some(twin) = self.twin.clone().filter(|_| met > 0) else { return Ok(()) };
        let sql = sql(&twin);
        let there = self.statement(&sql).await?;
        if there == met {
            return Ok(());
        }
        Err(Trouble::Unequal(format!(
            "the table has {met} and the twin {there} of the rows of {}",
            shortened(&sql)
        )))
    }

    /// Sends a statement. Returns how many rows it met.
    async fn statement(&mut self, sql: &str) -> Result<u64, Trouble> {
        let sent = Instant::now();
        let answer = self.conn.query_drop(sql).await;
        let took = sent.elapsed();
        self.longest = self.longest.max(took);
        if took > SLOW {
            tracing::debug!(?took, statement = shortened(sql), "slow statement");
        }
        self.statements += 1;
        answer.map_err(|error| Trouble::Server(error, shortened(sql)))?;
        Ok(self.conn.affected_rows())
    }
}

impl Written {
    fn error(&mut self, trouble: &Trouble) {
        self.error_count += 1;
        if self.errors.len() < ERRORS_KEPT {
            self.errors.push(match trouble {
                Trouble::Server(error, statement) => format!("{error}: {statement}"),
                Trouble::Unequal(what) => what.clone(),
            });
        }
    }
}

/// Whether the writers are to end; a workload that was dropped says so by its absence.
fn is_stopping(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

/// A connection for a writer, and `auto_increment_increment`.
///
/// Times are written in UTC, where none is missing or doubled. A wait for a metadata lock ends after a
/// minute, not after a year, so that a lock that is never released becomes visible as a latency and
/// the writer can be stopped.
async fn open(opts: &Opts) -> mysql_async::Result<(Conn, u64)> {
    let mut conn = Conn::new(opts.clone()).await?;
    conn.query_drop("SET SESSION time_zone = '+00:00', lock_wait_timeout = 60").await?;
    let increment = conn.query_first("SELECT @@auto_increment_increment").await?;
    Ok((conn, increment.unwrap_or(1)))
}

fn shortened(sql: &str) -> String {
    match sql.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &sql[..end]),
        None => sql.to_owned(),
    }
}
