//! `replank cleanup` and `replank abort`.

use clap::Args;
use serde_json::json;

use super::output::OutputArgs;
use super::target::{HistoryArgs, TableArgs};
use crate::cleanup::{abort as undo, cleanup as remove_leftovers};
use crate::error::{Error, Result};
use crate::removal::Removal;
use crate::sql::TableName;

#[derive(Debug, Args)]
pub(super) struct CleanupArgs {
    #[command(flatten)]
    table: TableArgs,
    /// Also remove old tables that finished runs have kept; large ones in slices, so that the server does not
    /// stall
    #[arg(long)]
    old: bool,
    /// Drop these in one statement each, however large they are
    #[arg(long, requires = "old")]
    at_once: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) async fn cleanup(args: CleanupArgs) -> Result<()> {
    let (target, table) = args.table.resolve_some()?;
    let schema = target
        .schema
        .ok_or_else(|| Error::refused("no database is named").remedy("Give --database."))?;
    let removal = if args.at_once { Removal::AT_ONCE } else { Removal::default() };
    let old = args.old.then_some(removal);
    let removed = remove_leftovers(&target.server, &schema, table.as_deref(), old).await?;
    print(&args.output, &schema, &removed);
    Ok(())
}

#[derive(Debug, Args)]
pub(super) struct AbortArgs {
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    history: HistoryArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) async fn abort(args: AbortArgs) -> Result<()> {
    let (server, table) = args.table.resolve()?;
    let removed = undo(&server, &table, args.history.days).await?;
    print(&args.output, table.schema.as_str(), &removed);
    Ok(())
}

fn print(output: &OutputArgs, schema: &str, removed: &[(TableName, &'static str)]) {
    output.print(
        || match removed {
            [] => format!("Nothing is left of any run in {schema}."),
            removed => removed
                .iter()
                .map(|(table, what)| format!("dropped {table}: {what}"))
                .collect::<Vec<_>>()
                .join("\n"),
        },
        || {
            json!({
                "result": "done",
                "dropped": removed
                    .iter()
                    .map(|(table, what)| json!({ "table": table.table.as_str(), "what": what }))
                    .collect::<Vec<_>>(),
            })
        },
    );
}
