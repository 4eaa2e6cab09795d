//! The demo: a server of its own, an application that writes, a migration, and the proof that
//! nothing was lost.
//!
//! The proof is a *twin*: a second table that the application's transactions change along with the
//! first. After the migration the twin is altered by MySQL itself, when nobody writes, and must then
//! equal the migrated table in every row and in its definition. The parts serve tests and benches
//! as well: [`workload`] and its [`application`], [`fill`](mod@fill), [`compare`].

pub mod application;
pub mod compare;
pub mod fill;
pub mod latency;
mod report;
mod transaction;
pub mod workload;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tracing::{debug, info};

pub use report::DemoReport;
pub use transaction::Mix;

use application::Orders;
use compare::{Comparison, compare_tables};
use workload::{Workload, WorkloadConfig, WorkloadReport};

use crate::control::{Control, MAX_CHANGED_KEYS};
use crate::error::{Error, Kind, Result};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::run::{Options, Outcome, Request, run};
use crate::schema::alter::AlterStatement;
use crate::server::{Server, ServerFacts, to_error};
use crate::sql::TableName;
use crate::throttle::Throttle;
use crate::throwaway::ThrowawayServer;

/// The demo's ALTER: MySQL itself can only do it by rebuilding the table while writes are blocked.
const ALTER: &str = "ADD COLUMN phone VARCHAR(20), MODIFY total DECIMAL(14,2) NOT NULL, \
                     ADD INDEX idx_status_created (status, created_at)";

/// After the writers have begun: until their connections and the caches are warm, and how long the
/// latency without a migration is measured.
const WARM_UP: Duration = Duration::from_millis(500);
const BASELINE: Duration = Duration::from_secs(2);

/// How long the application goes on with the new table.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// How many application errors an error of the demo quotes.
const ERRORS_SHOWN: usize = 5;

/// How many of the slowest transactions the log tells of, at its debug level.
const SLOWEST_SHOWN: usize = 20;

/// What the demo shows.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Rows of the table.
    pub rows: u64,
    /// Connections of the application.
    pub writers: usize,
    /// Transactions per second of each; as many as it can if not given.
    pub rate: Option<f64>,
    /// The mysqld to run; one is looked for if not given.
    pub mysqld: Option<PathBuf>,
    /// Options of the server in the form `--name=value`.
    pub mysqld_options: Vec<String>,
    /// Clauses of an ALTER TABLE for the table of [`fill`](mod@fill), instead of the demo's own. The
    /// application writes all of that table's columns under their names, so they have to stay.
    pub alter: Option<String>,
}

impl Default for DemoOptions {
    fn default() -> Self {
        DemoOptions {
            rows: 1_000_000,
            writers: 4,
            rate: Some(100.0),
            mysqld: None,
            mysqld_options: Vec::new(),
            alter: None,
        }
    }
}

/// Runs the demo. What it does is logged step by step; `progress` follows the migration. `control` ends
/// it.
///
/// # Errors
/// As [`ThrowawayServer`] and [`run`]; failed if a statement of the application failed
/// or the tables are not equal in the end, with the first errors or differences.
pub async fn demo(
    options: DemoOptions,
    progress: &Progress,
    control: &Control,
) -> Result<DemoReport> {
    let table = TableName::new("demo", "orders");
    let twin = table.sibling("orders_twin");

    let (throwaway, server) = unless_stopped(control, start(&options)).await?;
    info!("MySQL {} runs on port {}", throwaway.version(), throwaway.port());
    let statement = options.alter.clone().unwrap_or_else(|| ALTER.to_owned());
    let clauses = unless_stopped(control, clauses(&server, &statement)).await?;

    info!("filling {table} and its twin with {} rows each", options.rows);
    let began = Instant::now();
    unless_stopped(control, fill::fill(&server, &table, &twin, options.rows)).await?;
    info!("filled in {:.1} s", began.elapsed().as_secs_f64());

    let mut config =
        WorkloadConfig::new(table.clone(), Some(twin.clone()), Arc::new(Orders), options.rows);
    (config.writers, config.rate) = (options.writers, options.rate);
    info!("starting {} writers, each changing both tables in its transactions", options.writers);
    let workload = unless_stopped(control, Workload::start(&server, config)).await?;
    unless_stopped(control, pass(WARM_UP + BASELINE)).await?;

    info!("ALTER TABLE {table} {clauses}");
    let request = Request {
        schema: Some(table.schema.as_str().to_owned()),
        table: Some(table.table.as_str().to_owned()),
        statement: clauses.clone(),
        lock_wait: 1,
        time_zone: None,
        revertible_for: None,
        defer_indexes: Default::default(),
    };
    let how = Options {
        pace: Pace::default(),
        workers: 4,
        rows_per_second: None,
        chunk_time: Duration::from_millis(40),
        max_changed_keys: MAX_CHANGED_KEYS,
        keep_old: true,
        restart: false,
        stop_keeps: false,
        history_days: 0,
        throttle: Throttle::default(),
        postpone_cut_over: false,
        hooks: None,
    };
    let migration_began = Instant::now();
    let outcome = Box::pin(run(&server, &request, &how, progress, control)).await?;
    let migration_ended = Instant::now();
    // The run enters its last phase with the swap.
    let cut_over_began = progress.snapshot().phase_began - outcome.tally.cut_over;

    info!("swapped after {:.1} s; the application goes on", outcome.took.as_secs_f64());
    unless_stopped(control, pass(AFTERWARDS)).await?;
    let baseline = workload.began() + WARM_UP..migration_began;
    let written = workload.stop().await?;
    refuse_errors(&written)?;

    info!("the application has stopped without an error; altering the twin with MySQL's own ALTER");
    let began = Instant::now();
    unless_stopped(control, alter_natively(&server, &twin, &clauses)).await?;
    let native = began.elapsed();
    info!("altered in {:.1} s; comparing {table} with its twin row by row", native.as_secs_f64());
    let comparison = unless_stopped(control, compare_tables(&server, &table, &twin)).await?;
    refuse_difference(&comparison)?;

    let Outcome { tally, took, .. } = outcome;
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let latencies = &written.latencies;
    for slow in latencies.slowest(SLOWEST_SHOWN, cut_over_began) {
        debug!("slow transaction, counted from the cut-over, {slow}");
    }
    Ok(DemoReport {
        server: throwaway.version().to_owned(),
        alter: clauses,
        rows: comparison.rows[0],
        seconds: took.as_secs_f64(),
        copy_seconds: tally.copy.as_secs_f64(),
        verify_seconds: tally.verify.as_secs_f64(),
        cut_over_seconds: tally.cut_over.as_secs_f64(),
        rows_per_second: tally.rows_copied as f64 / took.as_secs_f64().max(0.001),
        native_seconds: native.as_secs_f64(),
        writers: options.writers,
        wanted_per_second: options.rate.map(|rate| rate * options.writers as f64),
        before: latencies.between(baseline.start, baseline.end),
        during: latencies.between(migration_began, migration_ended),
        worst_stall_ms: latencies.across(cut_over_began, migration_ended).max_ms,
        lock_held_ms: millis(tally.lock_held),
        attempts: tally.attempts,
        keys_replayed: tally.keys_replayed,
        application_errors: written.error_count,
        application_retries: written.retries,
        rows_compared: comparison.rows[0],
    })
}

async fn start(options: &DemoOptions) -> Result<(ThrowawayServer, Server)> {
    info!("starting a MySQL server for the demo; where there is none, it is downloaded once");
    // MySQL switches these threads off on small machines, where commits then wait 100 ms now and then, with and
    // without a migration (docs/performance.md).
    // The log's threads do not spin: on few processors that takes one of them from everybody else.
    let mut builder = ThrowawayServer::builder()
        .option("--innodb-log-writer-threads=ON")
        .option("--innodb-log-spin-cpu-abs-lwm=1000000");
    if let Some(mysqld) = &options.mysqld {
        builder = builder.mysqld(mysqld);
    }
    for option in &options.mysqld_options {
        builder = builder.option(option);
    }
    let throwaway = builder.start().await?;
    let server = Server::from_opts(throwaway.root_opts());
    Ok((throwaway, server))
}

/// The clauses of the ALTER as they can be put after the twin's name; what cannot be used is refused
/// before the table is filled.
async fn clauses(server: &Server, statement: &str) -> Result<String> {
    let mut session = server.connect().await?;
    let dialect = ServerFacts::read(&mut session).await?.dialect();
    session.close().await;
    Ok(AlterStatement::parse_clauses(statement, dialect)?.clauses)
}

async fn alter_natively(server: &Server, twin: &TableName, clauses: &str) -> Result<()> {
    let mut session = server.connect().await?;
    let altered = session.query_drop(format!("ALTER TABLE {twin} {clauses}")).await;
    altered.map_err(|error| to_error(error, &format!("MySQL's own ALTER of {twin}")))?;
    session.close().await;
    Ok(())
}

fn refuse_errors(written: &WorkloadReport) -> Result<()> {
    match written.error_count {
        0 => Ok(()),
        count => {
            let first: Vec<&str> =
                written.errors.iter().take(ERRORS_SHOWN).map(String::as_str).collect();
            Err(Error::failed(format!(
                "{count} statements of the application failed during the demo, the first of them:\n  {}",
                first.join("\n  ")
            )))
        }
    }
}

fn refuse_difference(comparison: &Comparison) -> Result<()> {
    match comparison.equal() {
        true => Ok(()),
        false => Err(Error::failed(format!(
            "the migrated table (first) is not equal to its twin (second): {comparison}"
        ))),
    }
}

async fn pass(time: Duration) -> Result<()> {
    tokio::time::sleep(time).await;
    Ok(())
}

/// Does `work`, but gives it up when the demo is to stop.
async fn unless_stopped<T>(control: &Control, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = work => result,
        () = control.ends() => Err(Error::new(Kind::Interrupted, "the demo was stopped on request")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_ends_work_that_would_not_end() {
        let control = Control::new();
        assert!(unless_stopped(&control, std::future::ready(Ok(()))).await.is_ok());
        control.stop();
        let error =
            unless_stopped(&control, std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
    }

    #[test]
    fn an_application_error_fails_the_demo_with_its_text() {
        let written = WorkloadReport {
            transactions: 10,
            statements: 30,
            retries: 0,
            error_count: 1,
            errors: vec!["Table 'orders' doesn't exist".to_owned()],
            latencies: latency::Latencies::new(Instant::now()),
        };
        assert!(refuse_errors(&written).unwrap_err().what().contains("doesn't exist"));
    }
}
