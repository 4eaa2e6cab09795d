//! `replank plan`: everything that `run` does before it moves the first row, a sample of what it does then, and back.

use std::time::{Duration, Instant};

use clap::Args;
use mysql_async::prelude::Queryable;

use super::operate::ThrottleArgs;
use super::output::OutputArgs;
use super::run::PaceOptions;
use super::target::{AlterArgs, AlterTarget};
use crate::control::{Control, Settings};
use crate::error::{Error, Kind, Result};
use crate::estimate::{Estimate, Forecast, Method, Sampled, forecast, measure, method};
use crate::plan::Plan;
use crate::run::{Broom, aim, check, create, open};
use crate::server::{RunLock, Server, Session, to_error};
use crate::throttle::calendar::Calendar;
use crate::throttle::{Throttle, disk_is_here, free_bytes, prepare};

mod report;

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) alter: AlterArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) throttle: ThrottleArgs,
    #[command(flatten)]
    pub(super) sample: SampleArgs,
    #[command(flatten)]
    pub(super) pace: PaceOptions,
}

/// How the estimate is made.
#[derive(Debug, Args)]
pub(super) struct SampleArgs {
    /// In a plan, count the rows instead of asking for the server's estimate: reads an index of the whole table
    #[arg(long)]
    exact: bool,
    /// In a plan, do not copy a sample: no times are estimated
    #[arg(long)]
    no_sample: bool,
    /// How long the sample of a plan may take
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = humantime::parse_duration)]
    sample_time: Duration,
}

/// What there is to say.
struct Findings {
    plan: std::sync::Arc<Plan>,
    clauses: String,
    version: String,
    lock_wait: u32,
    rows: u64,
    exact: bool,
    method: Method,
    sampled: Option<Sampled>,
    estimate: Option<Estimate>,
    forecast: Option<Forecast>,
    /// Bytes that the shadow table will need.
    new_bytes: u64,
    /// Bytes that are free on the server's disk, where that is this machine's.
    free_bytes: Option<u64>,
    /// For how long the server keeps its binlogs; None for ever.
    binlogs_kept: Option<Duration>,
    warnings: Vec<String>,
}

pub(super) async fn plan(args: PlanArgs) -> Result<()> {
    let AlterTarget { server, connection, request } = args.alter.resolve()?;
    let mut throttle = args.throttle.resolve(&connection)?;
    let control = Control::new();
    super::stop_on_signal(&control);
    let mut session = open(&server).await?;
    let aim = aim(&mut session, &request).await?;
    let clauses = aim.alter.clauses.clone();
    let source = check(&mut session, &aim).await?;
    prepare(&server, &mut session, &aim.facts, &mut throttle).await?;
    let mut lock = RunLock::acquire(&server, &aim.source).await?;
    let began = Instant::now();
    let (mut session, prepared) = create(&server, session, aim, source, &request, &lock).await?;
    let prepare_took = began.elapsed();
    let plan = prepared.context.plan.clone();
    let names = plan.names.clone();
    let measured = async {
        let rows = match args.sample.exact {
            true => tokio::select! {
                rows = count(&server, &plan) => rows?,
                () = control.ends() => return Err(Error::new(Kind::Interrupted, "stopped on request")),
            },
            false => plan.source.rows,
        };
        // The hours do not keep from a short sample: it is what they will be that is to be known.
        let within = Throttle { calendar: Calendar::default(), ..throttle.clone() };
        let settings = Settings {
            pace: args.pace.pace.into(),
            workers: args.pace.workers as usize,
            rows_per_second: args.pace.max_rows_per_sec,
            chunk_time: Duration::from_millis(args.pace.chunk_time),
            max_changed_keys: args.pace.max_changed_keys as usize,
            throttle: within,
            postpone_cut_over: false,
        };
        let sampled = match args.sample.no_sample {
            true => None,
            false => {
                let time = args.sample.sample_time;
                Some(
                    measure(&server, &mut session, &prepared, settings, time, &mut lock, &control)
                        .await?,
                )
            }
        };
        let mut broom = Broom::new(&server, open(&server).await?).await;
        broom.drop(std::slice::from_ref(&names.shadow)).await?;
        broom.put_away().await;
        let method = method(&mut session, &names.source, &names.shadow, &clauses).await?;
        if control.ending().is_some() {
            return Err(Error::new(Kind::Interrupted, "stopped on request"));
        }
        Ok::<_, Error>((rows, sampled, method))
    };
    let measured = measured.await;
    let facts = async {
        let free = disk_is_here(&mut session).await?.and_then(|path| free_bytes(&path).ok());
        Ok::<_, Error>((free, binlogs_kept(&mut session).await?))
    };
    let facts = facts.await;
    let mut broom = Broom::new(&server, session).await;
    broom.drop(&[names.shadow.clone(), names.state.clone()]).await?;
    broom.put_away().await;
    lock.release().await;
    let (rows, sampled, method) = measured?;
    let (free_bytes, binlogs_kept) = facts?;
    let estimate = sampled.as_ref().and_then(|sampled| Estimate::of(sampled, rows, prepare_took));
    let forecast = estimate.as_ref().zip(sampled.as_ref()).map(|(estimate, sampled)| {
        let (work, rate) = (estimate.total(), sampled.copied_per_second);
        forecast(&throttle.calendar, throttle.peak_pace, control.now(), work, rate)
    });
    let new_bytes = match &sampled {
        Some(sampled) if sampled.rows > 0 => {
            (sampled.bytes as f64 * rows as f64 / sampled.rows as f64) as u64
        }
        _ => plan.source.data_bytes + plan.source.index_bytes,
    };
    let mut findings = Findings {
        clauses,
        version: prepared.facts.version.clone(),
        lock_wait: request.lock_wait,
        rows,
        exact: args.sample.exact,
        method,
        sampled,
        estimate,
        forecast,
        new_bytes,
        free_bytes,
        binlogs_kept,
        warnings: plan.warnings.clone(),
        plan,
    };
    findings.warn();
    args.output.print(|| report::text(&findings), || report::document(&findings));
    Ok(())
}

impl Findings {
    /// Adds what the figures warn of.
    fn warn(&mut self) {
        let needed = self.new_bytes + self.plan.source.data_bytes;
        if self.free_bytes.is_some_and(|free| free < needed) {
            self.warnings.push(
                "the disk has no room for the new table and the binlog of its rows".to_owned(),
            );
        }
        let lasts = self.forecast.as_ref().map(|forecast| {
            match (forecast.stretches.first(), forecast.done) {
                (Some(first), Some(done)) => done.duration_since(first.from).unsigned_abs(),
                _ => Duration::MAX,
            }
        });
        if let (Some(lasts), Some(kept)) = (lasts, self.binlogs_kept)
            && lasts > kept / 2
        {
            self.warnings.push(
                "binlogs are not kept for much longer than the run lasts (binlog_expire_logs_seconds): a run that \
                 is stopped could not go on"
                    .to_owned(),
            );
        }
        if self.sampled.as_ref().is_some_and(|sampled| !sampled.spread) {
            self.warnings.push(
                "the sample is from the beginning of the key alone, whose type cannot be guessed across".to_owned(),
            );
        }
        if let Some(held) = self.sampled.as_ref().and_then(|sampled| sampled.held.clone()) {
            self.warnings.push(format!("the copy would be held now: {held}"));
        }
    }
}

/// Counts with a connection of its own, which ends with the count if nobody waits for it any more.
async fn count(server: &Server, plan: &Plan) -> Result<u64> {
    let mut session = open(server).await?;
    let rows: Option<u64> = session
        .query_first(format!("SELECT COUNT(*) FROM {}", plan.names.source))
        .await
        .map_err(|e| to_error(e, &format!("counting the rows of {}", plan.names.source)))?;
    Ok(rows.unwrap_or_default())
}

async fn binlogs_kept(session: &mut Session) -> Result<Option<Duration>> {
    let kept: Option<u64> = session
        .query_first("SELECT @@GLOBAL.binlog_expire_logs_seconds")
        .await
        .map_err(|e| to_error(e, "reading how long binlogs are kept"))?;
    Ok(kept.filter(|seconds| *seconds > 0).map(Duration::from_secs))
}
