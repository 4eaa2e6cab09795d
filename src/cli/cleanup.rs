//! `replank cleanup`.

use clap::Args;
use serde_json::json;

use super::output::OutputArgs;
use super::target::resolve;
use crate::cleanup::cleanup as remove_leftovers;
use crate::config::{ConnectionArgs, PtDsn, Secret};
use crate::error::{Error, Result};

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
    args.output.print(
        || match &removed[..] {
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
    Ok(())
}
