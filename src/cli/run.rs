//! `replank run`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::output::{OutputArgs, outcome_json, outcome_text};
use super::plan::{PlanArgs, plan};
use super::target::{AlterArgs, HistoryArgs};
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
    /// How much the application may be slowed down: the number of workers, and their rests, follow from what
    /// its transactions and replank's own commits feel
    #[arg(long, value_enum, default_value = "balanced")]
    pace: PaceArg,
    /// Rows copied or compared in a second, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_rows_per_sec: Option<u64>,
    /// How long one chunk should take, in milliseconds; its rows follow from that
    #[arg(long, value_name = "MS", default_value_t = 50,
          value_parser = clap::value_parser!(u64).range(10..=60_000))]
    chunk_time: u64,
    /// Connections that copy and compare, at most
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PaceArg {
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
        return plan(PlanArgs { alter: args.alter, output: args.output }).await;
    }
    let options = Options {
        pace: args.pace.into(),
        workers: args.workers as usize,
        rows_per_second: args.max_rows_per_sec,
        chunk_time: Duration::from_millis(args.chunk_time),
        keep_old: args.keep_old || !args.drop_old,
        restart: args.restart,
        stop_keeps: args.stop_keeps,
        history_days: args.history.days,
    };
    let (server, mut request) = args.alter.resolve()?;
    request.revertible_for = args.revertible.map(|time| time.as_secs());
    let stop = super::stop_on_signal();
    let progress = Progress::new();
    let shown = super::display::show(&progress);
    let outcome = crate::run::run(&server, &request, &options, &progress, &stop).await;
    drop(shown);
    let outcome = outcome?;
    args.output.print(|| outcome_text(&outcome), || outcome_json(&outcome));
    if outcome.revertible_for.is_some() {
        super::back::keep_in_step(&server, &outcome.names.source, request.lock_wait, &stop).await?;
    }
    Ok(())
}
