//! `replank run`.

use std::time::Duration;

use clap::Args;

use super::output::{OutputArgs, outcome_json, outcome_text};
use super::plan::{PlanArgs, plan};
use super::target::{AlterArgs, HistoryArgs};
use crate::error::Result;
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
    /// How long one chunk should take, in milliseconds; its rows follow from that
    #[arg(long, value_name = "MS", default_value_t = 250,
          value_parser = clap::value_parser!(u64).range(10..=60_000))]
    chunk_time: u64,
    /// Connections that copy and compare
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
}

pub(super) async fn run(args: RunArgs) -> Result<()> {
    if args.dry_run {
        return plan(PlanArgs { alter: args.alter, output: args.output }).await;
    }
    let options = Options {
        workers: args.workers as usize,
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
