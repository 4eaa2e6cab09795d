//! `replank guard` and `replank revert`.

use clap::Args;
use serde_json::{Value, json};

use super::display::grouped;
use super::output::OutputArgs;
use super::target::{HistoryArgs, TableArgs};
use crate::control::Control;
use crate::error::Result;
use crate::progress::Progress;
use crate::run::{BackOptions, Reverted, guard as keep, revert as swap_back};
use crate::server::Server;
use crate::sql::TableName;

#[derive(Debug, Args)]
pub(super) struct GuardArgs {
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Drop the old table when its time is over, instead of keeping it
    #[arg(long)]
    drop_old: bool,
}

#[derive(Debug, Args)]
pub(super) struct RevertArgs {
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    history: HistoryArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Revert although the old structure cannot hold some rows: they stay as they last fitted, and are named
    #[arg(long)]
    accept_loss: bool,
    /// Seconds that one attempt at the cut-over may wait for, and hold, its lock
    #[arg(long, value_name = "SECONDS", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    lock_wait: u32,
}

pub(super) async fn guard(args: GuardArgs) -> Result<()> {
    let (server, table) = args.table.resolve()?;
    let (lock_wait, keep_old) = (1, !args.drop_old);
    let options = BackOptions { lock_wait, accept_loss: false, keep_old, history_days: 0 };
    let control = Control::new();
    super::stop_on_signal(&control);
    let progress = Progress::new();
    let shown = super::display::show(&progress);
    let outcome = keep(&server, &table, &options, &progress, &control).await;
    drop(shown);
    outcome?;
    args.output.print(
        || format!("The swap of {table} can no longer be reverted; what the run had left is put in order."),
        || json!({ "result": "done", "schema": table.schema.as_str(), "table": table.table.as_str() }),
    );
    Ok(())
}

/// What `replank run --revertible` does after the swap.
pub(super) async fn keep_in_step(
    server: &Server,
    table: &TableName,
    lock_wait: u32,
    progress: &Progress,
    control: &Control,
) -> Result<()> {
    let options = BackOptions { lock_wait, accept_loss: false, keep_old: true, history_days: 0 };
    let _shown = super::display::show(progress);
    keep(server, table, &options, progress, control).await
}

pub(super) async fn revert(args: RevertArgs) -> Result<()> {
    let (server, table) = args.table.resolve()?;
    let (lock_wait, accept_loss) = (args.lock_wait, args.accept_loss);
    let options =
        BackOptions { lock_wait, accept_loss, keep_old: true, history_days: args.history.days };
    let control = Control::new();
    super::stop_on_signal(&control);
    let progress = Progress::new();
    let shown = super::display::show(&progress);
    let outcome = swap_back(&server, &table, &options, &progress, &control).await;
    drop(shown);
    let reverted = outcome?;
    args.output.print(|| text(&reverted), || document(&reverted));
    Ok(())
}

fn text(reverted: &Reverted) -> String {
    let Reverted { names, tally, took, lost } = reverted;
    let mut lines = vec![
        format!("{} has its old structure again.", names.source),
        format!("  replayed   {} changed keys", grouped(tally.keys_replayed)),
        format!(
            "  cut over   at attempt {}, lock held {:.0} ms after {:.0} ms of waiting for it",
            tally.attempts,
            tally.lock_held.as_secs_f64() * 1e3,
            tally.lock_queued.as_secs_f64() * 1e3
        ),
        format!("  in all     {:.1} s", took.as_secs_f64()),
    ];
    if lost.is_empty() {
        lines.push("Nothing that was written meanwhile is lost.".to_owned());
    } else {
        lines.push("Lost, but still in the table that was set aside:".to_owned());
        lines.extend(lost.iter().map(|lost| format!("  - {lost}")));
    }
    lines.push(format!(
        "The new table is set aside as {}; drop it when you are sure: DROP TABLE {};",
        names.old, names.old
    ));
    lines.join("\n")
}

fn document(reverted: &Reverted) -> Value {
    let Reverted { names, tally, took, lost } = reverted;
    json!({
        "result": "reverted",
        "schema": names.source.schema.as_str(),
        "table": names.source.table.as_str(),
        "set_aside": names.old.table.as_str(),
        "seconds": took.as_secs_f64(),
        "keys_replayed": tally.keys_replayed,
        "cut_over_attempts": tally.attempts,
        "lock_queued_ms": tally.lock_queued.as_secs_f64() * 1e3,
        "lock_held_ms": tally.lock_held.as_secs_f64() * 1e3,
        "lost": lost,
    })
}
