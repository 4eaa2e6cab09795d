//! `replank run`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::operate::{SteerArgs, ThrottleArgs};
use super::output::{OutputArgs, outcome_json, outcome_text};
use super::plan::{PlanArgs, SampleArgs, plan};
use super::target::{AlterArgs, AlterTarget, HistoryArgs};
use crate::control::{Control, MAX_CHANGED_KEYS};
use crate::error::Result;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::run::Options;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    alter: AlterArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    history: HistoryArgs,
    #[command(flatten)]
    throttle: ThrottleArgs,
    #[command(flatten)]
    steer: SteerArgs,
    #[command(flatten)]
    pub(super) sample: SampleArgs,
    /// Say what would be done, as `replank plan` does
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
    /// Accepted for the habit from other tools; `run` always executes
    #[arg(long)]
    execute: bool,
    /// Keep the old table as _NAME_replank_old after the cut-over (the default)
    #[arg(long, conflicts_with = "drop_old")]
    keep_old: bool,
    /// Drop the old table after the cut-over
    #[arg(long)]
    drop_old: bool,
    /// Keep the old table in step for that long after the swap ("24h"), so that `replank revert` can swap
    /// back without losing a row
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "drop_old")]
    revertible: Option<Duration>,
    /// Remove what a stopped run on the table has left and start over, instead of going on with it
    #[arg(long)]
    restart: bool,
    /// Whether a run that is stopped by Ctrl-C or SIGTERM keeps what it has copied, for the same command
    /// to go on with
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    stop_keeps: bool,
    #[command(flatten)]
    pace: PaceOptions,
}

/// How fast the copy goes.
#[derive(Debug, Clone, Args)]
pub(super) struct PaceOptions {
    /// How much the application may be slowed down: the number of workers, and their rests, follow from what
    /// its transactions and replank's own commits feel
    #[arg(long, value_enum, default_value = "balanced")]
    pub(super) pace: PaceArg,
    /// Rows copied or compared in a second, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) max_rows_per_sec: Option<u64>,
    /// How long one chunk should take, in milliseconds, its commit not counted; its rows follow from that. On a
    /// server that nobody else works on chunks take twice as long
    #[arg(long, value_name = "MS", default_value_t = 40,
          value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub(super) chunk_time: u64,
    /// Connections that copy and compare, at most
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) workers: u32,
    /// Keys of changed rows that are held in memory, at most, some 110 bytes each: with more of them the stream
    /// waits, and those of a transaction that has more than that are condensed
    #[arg(long, value_name = "N", default_value_t = MAX_CHANGED_KEYS as u64,
          value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    pub(super) max_changed_keys: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum PaceArg {
    /// It should not notice
    Gentle,
    /// Its latency may rise by half or by 10 ms, whichever is more
    Balanced,
    /// The copy takes what it can get
    Fast,
}

impl From<PaceArg> for Pace {
    fn from(pace: PaceArg) -> Self {
        match pace {
            PaceArg::Gentle => Pace::Gentle,
            PaceArg::Balanced => Pace::Balanced,
            PaceArg::Fast => Pace::Fast,
        }
    }
}

pub(super) async fn run(args: RunArgs) -> Result<()> {
    if args.dry_run {
        let RunArgs { alter, output, throttle, sample, pace, .. } = args;
        return plan(PlanArgs { alter, output, throttle, sample, pace }).await;
    }
    let AlterTarget { server, connection, mut request } = args.alter.resolve()?;
    let options = Options {
        pace: args.pace.pace.into(),
        workers: args.pace.workers as usize,
        rows_per_second: args.pace.max_rows_per_sec,
        chunk_time: Duration::from_millis(args.pace.chunk_time),
        max_changed_keys: args.pace.max_changed_keys as usize,
        keep_old: args.keep_old || !args.drop_old,
        restart: args.restart,
        stop_keeps: args.stop_keeps,
        history_days: args.history.days,
        throttle: args.throttle.resolve(&connection)?,
        postpone_cut_over: args.steer.postpones_cut_over(),
        hooks: args.steer.hooks()?,
    };
    request.revertible_for = args.revertible.map(|time| time.as_secs());
    let control = Control::new();
    super::stop_on_signal(&control);
    let progress = Progress::new();
    let table = crate::run::table(&server, &request).await?;
    let listening = args.steer.listen(&server, &table, &progress, &control).await?;
    let shown = super::display::show(&progress);
    let outcome = crate::run::run(&server, &request, &options, &progress, &control).await;
    drop(shown);
    let outcome = outcome?;
    args.output.print(|| outcome_text(&outcome), || outcome_json(&outcome));
    if outcome.revertible_for.is_some() {
        let table = &outcome.names.source;
        super::back::keep_in_step(&server, table, request.lock_wait, &progress, &control).await?;
    }
    drop(listening);
    Ok(())
}
