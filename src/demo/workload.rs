//! Writers that change a table and its twin as an application would.
//!
//! Every transaction does the same to both tables (see `transaction.rs` for why they stay
//! equal), so the twin tells what the table must hold after it has been rebuilt. What an
//! application would put up with, a deadlock or a lock wait timeout, is rolled back and tried again;
//! everything else is an application error, and it is kept with its text.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::application::Application;
use super::latency::{Latencies, LatencySummary};
use super::transaction::{Dialogue, Mix, Planner};
use super::writer::{Writer, Written};
use crate::error::{Error, Result};
use crate::server::Server;
use crate::sql::TableName;

/// What the writers do.
#[derive(Debug, Clone)]
pub struct WorkloadConfig {
    /// The table, filled with the key numbers 2, 4, …, 2 × [`rows`](Self::rows).
    pub table: TableName,
    /// A table with the same rows that is written along, if there is one.
    pub twin: Option<TableName>,
    /// What the statements are made of.
    pub application: Arc<dyn Application>,
    /// Rows that the table was filled with.
    pub rows: u64,
    /// How many writers there are, each with a connection of its own.
    pub writers: usize,
    /// Transactions that each writer begins per second; as many as it can if not given. A writer that
    /// was held up makes up for it afterwards.
    pub rate: Option<f64>,
    /// What is done how often.
    pub mix: Mix,
    /// Where the dice begin. The order in which transactions meet is up to the server.
    pub seed: u64,
}

impl WorkloadConfig {
    /// Four writers with 100 transactions per second each, and the default mix.
    pub fn new(
        table: TableName,
        twin: Option<TableName>,
        application: Arc<dyn Application>,
        rows: u64,
    ) -> Self {
        let mix = Mix::default();
        let rate = Some(100.0);
        WorkloadConfig { table, twin, application, rows, writers: 4, rate, mix, seed: 1 }
    }
}

/// Writers at work. Dropping it ends them where they are.
#[derive(Debug)]
pub struct Workload {
    began: Instant,
    stop: watch::Sender<bool>,
    committed: watch::Receiver<u64>,
    writers: JoinSet<Written>,
}

/// What the writers have done.
#[derive(Debug, Clone)]
pub struct WorkloadReport {
    /// Transactions that were committed, or rolled back on purpose.
    pub transactions: u64,
    /// Statements of all transactions, COMMIT and ROLLBACK included.
    pub statements: u64,
    /// Transactions that were tried again after a deadlock or a lock wait timeout, each time.
    pub retries: u64,
    /// Application errors.
    pub error_count: u64,
    /// The texts of the first of them, at most 20 from each writer.
    pub errors: Vec<String>,
    /// How long the transactions took.
    pub latencies: Latencies,
}

impl Workload {
    /// Connects the writers, all of them before the first one begins. One workload per filled table:
    /// another would take the same free keys.
    ///
    /// # Errors
    /// As [`Server::connect`].
    pub async fn start(server: &Server, config: WorkloadConfig) -> Result<Workload> {
        let (stop, stopping) = watch::channel(false);
        let (counter, committed) = watch::channel(0);
        let dialogue = Arc::new(Dialogue::new(config.application.clone()));
        let fresh = Arc::new(AtomicU64::new(2 * config.rows + 1));
        let period = config.rate.map(period).transpose()?;
        let mut ready = Vec::with_capacity(config.writers);
        let count = config.writers as u64;
        for number in 0..count {
            let planner = Planner::new(
                config.application.clone(),
                config.mix,
                config.rows,
                (number, count),
                fresh.clone(),
                config.seed,
            );
            let tables = (config.table.clone(), config.twin.clone());
            ready.push(Writer::connect(server, tables, dialogue.clone(), planner).await?);
        }
        let began = Instant::now();
        let mut writers = JoinSet::new();
        for (number, writer) in ready.into_iter().enumerate() {
            // Spread over the period, so that they do not begin all at once each time.
            let pace = period.map(|period| {
                let offset = period.mul_f64(number as f64 / config.writers as f64);
                let mut pace = tokio::time::interval_at((began + offset).into(), period);
                pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
                pace
            });
            writers.spawn(writer.write(began, pace, stopping.clone(), counter.clone()));
        }
        Ok(Workload { began, stop, committed, writers })
    }

    /// When the writers began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// How many transactions have ended so far.
    pub fn transactions(&self) -> u64 {
        *self.committed.borrow()
    }

    /// Waits until `count` transactions have ended since the beginning, or all writers have.
    pub async fn reach(&self, count: u64) {
        // An error says that no writer is left to count.
        let _ = self.committed.clone().wait_for(|done| *done >= count).await;
    }

    /// Lets every writer end its transaction, and returns what they have done.
    ///
    /// # Errors
    /// Failed if a writer panicked.
    pub async fn stop(mut self) -> Result<WorkloadReport> {
        // Without receivers all writers have ended by themselves.
        let _ = self.stop.send(true);
        let mut report = WorkloadReport {
            transactions: 0,
            statements: 0,
            retries: 0,
            error_count: 0,
            errors: Vec::new(),
            latencies: Latencies::new(self.began),
        };
        while let Some(ended) = self.writers.join_next().await {
            let written =
                ended.map_err(|panic| Error::failed("a writer panicked").caused_by(panic))?;
            report.transactions += written.transactions;
            report.statements += written.statements;
            report.retries += written.retries;
            report.error_count += written.error_count;
            report.errors.extend(written.errors);
            report.latencies.merge(written.latencies);
        }
        Ok(report)
    }
}

impl WorkloadReport {
    /// How long the transactions took, all of them.
    pub fn latency(&self) -> LatencySummary {
        self.latencies.all()
    }

    /// The longest transaction that ended from `since` on and before `until`.
    pub fn worst(&self, since: Instant, until: Instant) -> Duration {
        Duration::from_secs_f64(self.latencies.between(since, until).max_ms / 1000.0)
    }
}

impl fmt::Display for WorkloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.latency();
        write!(
            f,
            "{} transactions ({:.0}/s), p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms, {} retries, \
             {} application errors",
            self.transactions,
            all.per_second,
            all.p50_ms,
            all.p99_ms,
            all.max_ms,
            self.retries,
            self.error_count
        )?;
        self.errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// The time between two transactions of a writer.
fn period(rate: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(1.0 / rate)
        .ok()
        .filter(|period| !period.is_zero() && *period <= Duration::from_secs(86_400))
        .ok_or_else(|| {
            Error::refused(format!("a writer cannot begin {rate} transactions per second"))
                .remedy("give --rate a number above 0, for example 100")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_that_are_none_are_refused() {
        assert_eq!(period(100.0).unwrap(), Duration::from_millis(10));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9] {
            assert!(period(rate).is_err(), "{rate}");
        }
    }
}
