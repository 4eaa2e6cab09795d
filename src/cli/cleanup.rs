//! `replank cleanup` and `replank abort`.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::operate::SocketArg;
use super::output::OutputArgs;
use super::steer::{accepted, tell};
use super::target::{HistoryArgs, TableArgs};
use crate::cleanup::{abort as undo, cleanup as remove_leftovers};
use crate::control::Command;
use crate::error::{Error, Result};
use crate::removal::Removal;
use crate::run::{earlier_run, open};
use crate::server::RunLock;
use crate::sql::TableName;
use crate::status::{Condition, runs};

/// How long a run that was told to abort may take to remove what it has made.
const UNDONE_WITHIN: Duration = Duration::from_secs(60);

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
    socket: SocketArg,
    /// The table's name once more, for the abort of a run that goes on, where nobody can be asked for it
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) async fn abort(args: AbortArgs) -> Result<()> {
    let (server, table) = args.table.resolve()?;
    let mut session = open(&server).await?;
    let (schema, name) = (Some(table.schema.as_str()), Some(table.table.as_str()));
    let found = runs(&mut session, schema, name).await?;
    if let Some(run) = found.first()
        && let Condition::Running(holder) = &run.condition
    {
        confirm(&table, holder, args.confirm)?;
        let command = Command::Abort { table: table.table.as_str().to_owned() };
        accepted(tell(&server, &table, &args.socket, &command).await?)?;
        // The lock is there when the run has ended.
        RunLock::acquire_within(UNDONE_WITHIN, &server, &table).await?.release().await;
        if earlier_run(&mut session, &table).await?.is_none() {
            session.close().await;
            let names = &run.names;
            let dropped =
                [(names.shadow.clone(), "shadow table"), (names.state.clone(), "state of a run")];
            print(&args.output, table.schema.as_str(), &dropped);
            return Ok(());
        }
    }
    session.close().await;
    let removed = undo(&server, &table, args.history.days).await?;
    print(&args.output, table.schema.as_str(), &removed);
    Ok(())
}

/// Asks for the table's name, on a terminal.
///
/// # Errors
/// Refused when another name is given, or none.
fn confirm(table: &TableName, holder: &str, given: Option<String>) -> Result<()> {
    let name = table.table.as_str();
    let given = match given {
        Some(given) => given,
        None if std::io::stdin().is_terminal() => {
            eprint!("A run on {table} goes on ({holder}). Give the table's name to undo it: ");
            let mut line = String::new();
            std::io::stdin()
                .read_line(&mut line)
                .map_err(|e| Error::refused("reading the table's name").caused_by(e))?;
            line.trim().to_owned()
        }
        None => {
            return Err(Error::refused(format!("a run on {table} goes on: {holder}"))
                .remedy(format!("Give --confirm {name} to undo it.")));
        }
    };
    match given == name {
        true => Ok(()),
        false => Err(Error::refused(format!("{given} is not the table's name, {name}"))),
    }
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
