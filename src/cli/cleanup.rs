//! `replank cleanup` and `replank abort`.

use clap::Args;
use serde_json::json;

use super::output::OutputArgs;
use super::target::resolve;
use crate::cleanup::{abort as undo, cleanup as remove_leftovers};
use crate::config::{ConnectionArgs, PtDsn, Secret};
use crate::error::{Error, Result};
use crate::sql::TableName;

#[derive(Debug, Args)]
pub(super) struct CleanupArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// A connection as `h=host,P=port,u=user,p=password,D=db,t=table`
    #[arg(value_name = "DSN")]
    positional: Option<Secret>,
    /// Only what was left by runs on this table
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Also drop old tables that finished runs have kept
    #[arg(long)]
    old: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn cleanup(args: CleanupArgs) -> Result<()> {
    let pt = args.positional.as_ref().map(|dsn| PtDsn::parse(dsn.expose())).transpose()?;
    let target = resolve(args.connection, pt.as_ref())?;
    let schema = target
        .schema
        .ok_or_else(|| Error::refused("no database is named").remedy("Give --database."))?;
    let table = args.table.or(target.table);
    let removed = remove_leftovers(&target.server, &schema, table.as_deref(), args.old).await?;
    print(&args.output, &schema, &removed);
    Ok(())
}

#[derive(Debug, Args)]
pub(super) struct AbortArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// A connection as `h=host,P=port,u=user,p=password,D=db,t=table`
    #[arg(value_name = "DSN")]
    positional: Option<Secret>,
    /// The table
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn abort(args: AbortArgs) -> Result<()> {
    let pt = args.positional.as_ref().map(|dsn| PtDsn::parse(dsn.expose())).transpose()?;
    let target = resolve(args.connection, pt.as_ref())?;
    let schema = target
        .schema
        .ok_or_else(|| Error::refused("no database is named").remedy("Give --database."))?;
    let table = args
        .table
        .or(target.table)
        .ok_or_else(|| Error::refused("no table is named").remedy("Give --table."))?;
    let removed = undo(&target.server, &TableName::new(schema.clone(), table)).await?;
    print(&args.output, &schema, &removed);
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
