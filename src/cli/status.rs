//! `replank status`.

use clap::Args;
use serde_json::{Value, json};

use super::display::grouped;
use super::output::OutputArgs;
use super::target::TableArgs;
use crate::error::Result;
use crate::run::open;
use crate::sql::TableName;
use crate::state::Checkpoint;
use crate::state::history::{Record, past_runs};
use crate::status::{Condition, RunStatus, runs};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) async fn status(args: StatusArgs) -> Result<()> {
    let (target, table) = args.table.resolve_some()?;
    let mut session = open(&target.server).await?;
    let found = runs(&mut session, target.schema.as_deref(), table.as_deref()).await?;
    session.close().await;
    args.output.print(
        || match &found[..] {
            [] => "There is no run that has not come to its end.".to_owned(),
            found => found.iter().map(text).collect::<Vec<_>>().join("\n\n"),
        },
        || json!({ "result": "done", "runs": found.iter().map(document).collect::<Vec<_>>() }),
    );
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
                "runs": found.iter().map(document).collect::<Vec<_>>(),
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

fn text(run: &RunStatus) -> String {
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
    for misfit in misfits {
        lines.push(format!("  misfit     row {}: {}", misfit.row, misfit.why));
    }
    lines.push(format!("  next       {}", condition.next()));
    lines.join("\n")
}

/// Rows done and rows in all, of the phase.
fn rows(checkpoint: &Checkpoint) -> (u64, u64) {
    use crate::progress::Phase;
    match checkpoint.phase {
        Phase::Verify => (checkpoint.rows_verified, checkpoint.rows_copied.max(1)),
        _ => (checkpoint.rows_copied, checkpoint.rows_estimated.max(checkpoint.rows_copied).max(1)),
    }
}

fn document(run: &RunStatus) -> Value {
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
        "checkpoint": checkpoint,
        "revertible_seconds": registry.revertible_for,
        "misfits": misfits.iter().map(|m| json!({ "row": m.row, "why": m.why })).collect::<Vec<_>>(),
        "next": condition.next(),
    })
}
