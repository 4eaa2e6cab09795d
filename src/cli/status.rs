//! `replank status`.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::display::grouped;
use super::operate::SocketArg;
use super::output::OutputArgs;
use super::steer::status_by_socket;
use super::target::TableArgs;
use crate::control::{HoldStatus, ReplicaStatus, Status, WindowStatus};
use crate::error::Result;
use crate::run::open;
use crate::sql::TableName;
use crate::state::Checkpoint;
use crate::state::history::{Record, past_runs};
use crate::status::{Condition, RunStatus, runs};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct StatusNowArgs {
    #[command(flatten)]
    pub(super) status: StatusArgs,
    #[command(flatten)]
    socket: SocketArg,
    /// Show it again and again, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

pub(super) async fn status(args: StatusNowArgs) -> Result<()> {
    let StatusNowArgs { status: StatusArgs { table, output }, socket, watch } = args;
    let (target, table) = table.resolve_some()?;
    let mut session = open(&target.server).await?;
    let mut ticker = tokio::time::interval(EVERY);
    loop {
        ticker.tick().await;
        let found = runs(&mut session, target.schema.as_deref(), table.as_deref()).await?;
        let mut live = Vec::new();
        for run in &found {
            live.push(match run.condition {
                Condition::Running(_) => {
                    status_by_socket(&target.server, &run.names.source, &socket)
                        .await
                        .unwrap_or_else(|error| {
                            tracing::debug!(%error, "asking the socket");
                            None
                        })
                }
                _ => None,
            });
        }
        // A socket that was named may belong to another run.
        for (run, live) in found.iter().zip(&mut live) {
            live.take_if(|live| live.run != run.registry.run);
        }
        let runs = || found.iter().zip(&live).map(|(run, live)| (run, live.as_deref()));
        if watch && output.is_text() {
            // Home, and clear what was there.
            print!("\x1b[H\x1b[J");
        }
        if watch && !output.is_text() {
            // One document a line, for programs that read them as they come.
            let runs: Vec<Value> = runs().map(|(run, live)| document(run, live)).collect();
            println!("{}", json!({ "result": "done", "runs": runs }));
            continue;
        }
        output.print(
            || match &found[..] {
                [] => "There is no run that has not come to its end.".to_owned(),
                _ => runs().map(|(run, live)| text(run, live)).collect::<Vec<_>>().join("\n\n"),
            },
            || {
                let runs: Vec<Value> = runs().map(|(run, live)| document(run, live)).collect();
                json!({ "result": "done", "runs": runs })
            },
        );
        if !watch {
            break;
        }
    }
    session.close().await;
    Ok(())
}

pub(super) async fn list(args: StatusArgs) -> Result<()> {
    let (target, table) = args.table.resolve_some()?;
    let (schema, table) = (target.schema.as_deref(), table.as_deref());
    let mut session = open(&target.server).await?;
    let found = runs(&mut session, schema, table).await?;
    let past = past_runs(&mut session, schema, table).await?;
    session.close().await;
    args.output.print(
        || {
            let lines: Vec<String> =
                found.iter().map(line).chain(past.iter().map(past_line)).collect();
            match lines.is_empty() {
                true => "There are no runs.".to_owned(),
                false => lines.join("\n"),
            }
        },
        || {
            json!({
                "result": "done",
                "runs": found.iter().map(|run| document(run, None)).collect::<Vec<_>>(),
                "history": past.iter().map(past_document).collect::<Vec<_>>(),
            })
        },
    );
    Ok(())
}

/// `begun  ended  state  table  ALTER` of a run that goes on or can be continued.
fn line(run: &RunStatus) -> String {
    let RunStatus { names, registry, condition, .. } = run;
    let state = condition.name();
    format!("{}  {:20}  {state:11}  {}  {}", registry.started, "", names.source, registry.alter)
}

/// The same of a run that has come to its end.
fn past_line((schema, record): &(String, Record)) -> String {
    let Record { started, ended, ending, table, alter, error, .. } = record;
    let table = TableName::new(schema.clone(), table.clone());
    let error = error.as_ref().map(|error| format!("  ({error})")).unwrap_or_default();
    format!("{started}  {ended:20}  {:11}  {table}  {alter}{error}", ending.name())
}

fn past_document((schema, record): &(String, Record)) -> Value {
    let mut document = json!(record);
    document["schema"] = json!(schema);
    document
}

/// What is known from the database, and what the process itself says if it could be asked.
fn text(run: &RunStatus, live: Option<&Status>) -> String {
    let RunStatus { names, registry, condition, checkpoint, chunks, misfits } = run;
    let state = match condition {
        Condition::Running(holder) => format!("running: {holder}"),
        other => other.name().to_owned(),
    };
    let mut lines = vec![
        format!("ALTER TABLE {} {}", names.source, registry.alter),
        format!("  state      {state}"),
        format!("  run        {}, begun {} by {}", registry.run, registry.started, registry.by),
    ];
    if let Some(checkpoint) = checkpoint {
        let (done, total) = rows(checkpoint);
        let waiting = checkpoint.waiting.as_ref().map(|why| format!(", {why}")).unwrap_or_default();
        lines.extend([
            format!("  phase      {}{waiting}", checkpoint.phase.name()),
            format!(
                "  rows       {} of ~{} ({:.1} %), {} chunks copied",
                grouped(done),
                grouped(total),
                done as f64 * 100.0 / total as f64,
                grouped(*chunks)
            ),
            format!(
                "  replay     {} changed keys, {} waiting",
                grouped(checkpoint.keys_replayed),
                grouped(checkpoint.backlog)
            ),
            format!("  pace       {}", checkpoint.pace.as_deref().unwrap_or("not known")),
            format!(
                "  checkpoint {}, binlog {} at {}",
                checkpoint.written, checkpoint.position.file, checkpoint.position.offset
            ),
        ]);
    }
    lines.extend(live.map(live_lines).unwrap_or_default());
    for misfit in misfits {
        lines.push(format!("  misfit     row {}: {}", misfit.row, misfit.why));
    }
    lines.push(format!("  next       {}", condition.next()));
    lines.join("\n")
}

fn live_lines(live: &Status) -> Vec<String> {
    let mut lines = vec![format!(
        "  now        {}: {} of ~{} rows, {} rows/s{}",
        live.phase,
        grouped(live.rows_done.unwrap_or_default()),
        grouped(live.rows_total),
        grouped(live.rows_per_second as u64),
        live.eta_seconds.map(|eta| format!(", {eta:.0} s left")).unwrap_or_default()
    )];
    let felt = [
        live.commit_ms.map(|ms| format!("heartbeats commit in {ms:.1} ms")),
        live.others_per_second.map(|others| format!("{others:.0} transactions/s of others")),
        Some(format!("stream {:.1} s behind", live.stream_lag_seconds)),
    ];
    let felt: Vec<String> = felt.into_iter().flatten().collect();
    lines.push(format!("  server     {}", felt.join(", ")));
    for hold in &live.holds {
        let HoldStatus { source, why, since_seconds } = hold;
        lines.push(format!("  held       by {source} for {since_seconds:.0} s: {why}"));
    }
    for ReplicaStatus { name, lag_seconds } in &live.replicas {
        let lag =
            lag_seconds.map_or("cannot be read".to_owned(), |lag| format!("{lag:.1} s behind"));
        lines.push(format!("  replica    {name}: {lag}"));
    }
    for WindowStatus { at, what } in live.windows.iter().take(3) {
        lines.push(format!("  ahead      {at}: {what}"));
    }
    lines
}

/// Rows done and rows in all, of the phase.
fn rows(checkpoint: &Checkpoint) -> (u64, u64) {
    use crate::progress::Phase;
    match checkpoint.phase {
        Phase::Verify => (checkpoint.rows_verified, checkpoint.rows_copied.max(1)),
        _ => (checkpoint.rows_copied, checkpoint.rows_estimated.max(checkpoint.rows_copied).max(1)),
    }
}

fn document(run: &RunStatus, live: Option<&Status>) -> Value {
    let RunStatus { names, registry, condition, checkpoint, chunks, misfits } = run;
    json!({
        "schema": names.source.schema.as_str(),
        "table": names.source.table.as_str(),
        "alter": registry.alter,
        "run": registry.run,
        "started": registry.started,
        "by": registry.by,
        "state": condition.name(),
        "held_by": match condition {
            Condition::Running(holder) => Some(holder),
            _ => None,
        },
        "chunks": chunks,
        "now": live,
        "checkpoint": checkpoint,
        "revertible_seconds": registry.revertible_for,
        "misfits": misfits.iter().map(|m| json!({ "row": m.row, "why": m.why })).collect::<Vec<_>>(),
        "next": condition.next(),
    })
}
