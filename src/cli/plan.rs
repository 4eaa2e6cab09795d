//! `replank plan`: everything that `run` does before it moves the first row, and then back.

use clap::Args;
use serde_json::json;

use super::display::grouped;
use super::output::OutputArgs;
use super::target::AlterArgs;
use crate::error::Result;
use crate::plan::Plan;
use crate::run::{Broom, aim, check, create, open};
use crate::server::RunLock;

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) alter: AlterArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) async fn plan(args: PlanArgs) -> Result<()> {
    let (server, request) = args.alter.resolve()?;
    let mut session = open(&server).await?;
    let aim = aim(&mut session, &request).await?;
    let clauses = aim.alter.clauses.clone();
    let source = check(&mut session, &aim).await?;
    let lock = RunLock::acquire(&server, &aim.source).await?;
    let (session, prepared) = create(&server, session, aim, source, &request, &lock).await?;
    let names = prepared.context.plan.names.clone();
    let mut broom = Broom::new(&server, session).await;
    broom.drop(&[names.shadow, names.state]).await?;
    broom.put_away().await;
    lock.release().await;
    let plan = &prepared.context.plan;
    args.output.print(
        || text(plan, &clauses, &prepared.facts.version, request.lock_wait),
        || document(plan, &clauses, &prepared.facts.version),
    );
    Ok(())
}

fn text(plan: &Plan, clauses: &str, version: &str, lock_wait: u32) -> String {
    let names = &plan.names;
    let mut lines = vec![
        format!("ALTER TABLE {} {clauses}", names.source),
        format!("  server     MySQL {version}"),
        format!(
            "  table      ~{} rows, {} MiB of data, {} MiB of indexes (estimated by the server)",
            grouped(plan.source.rows),
            grouped(plan.source.data_bytes >> 20),
            grouped(plan.source.index_bytes >> 20)
        ),
        format!("  key        {} ({})", plan.key.source_index, plan.key.source.column_list()),
        "What `run` would do:".to_owned(),
        format!("  1. create {} with the new structure, and {}", names.shadow, names.state),
        format!("  2. copy {} in chunks while changes are replayed from the binlog", names.source),
        "  3. compare all rows of both tables".to_owned(),
        format!(
            "  4. lock {} for at most {lock_wait} s, replay the last changes, and swap",
            names.source
        ),
        format!("  5. keep the old table as {}, and drop {}", names.old, names.state),
    ];
    if !plan.warnings.is_empty() {
        lines.push("Mind:".to_owned());
        lines.extend(plan.warnings.iter().map(|warning| format!("  - {warning}")));
    }
    lines.push("The ALTER was tried on an empty shadow table, which is gone again.".to_owned());
    lines.join("\n")
}

fn document(plan: &Plan, clauses: &str, version: &str) -> serde_json::Value {
    let names = &plan.names;
    json!({
        "result": "planned",
        "schema": names.source.schema.as_str(),
        "table": names.source.table.as_str(),
        "alter": clauses,
        "server_version": version,
        "rows_estimated": plan.source.rows,
        "data_bytes": plan.source.data_bytes,
        "index_bytes": plan.source.index_bytes,
        "key_index": plan.key.source_index.as_str(),
        "key_columns": plan.key.source.parts.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
        "shadow_table": names.shadow.table.as_str(),
        "state_table": names.state.table.as_str(),
        "old_table": names.old.table.as_str(),
        "columns_dropped": plan.columns.dropped.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        "columns_added": plan.columns.added.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        "warnings": plan.warnings,
    })
}
