//! `replank pause`, `resume`, `pace`, `set`, `stop`, `cut-over`: steering a run that goes on.
//!
//! By its socket if it can be reached, else through the database; from any machine.

use clap::Args;
use serde_json::json;

use super::operate::SocketArg;
use super::output::OutputArgs;
use super::run::PaceArg;
use super::target::TableArgs;
use crate::config::{ConnectionArgs, PtDsn, Secret};
use crate::control::socket::{Answer, ask};
use crate::control::{Command, Status, mailbox};
use crate::error::{Error, Result};
use crate::pace::Pace;
use crate::run::open;
use crate::server::Server;
use crate::sql::TableName;
use crate::state::StateTable;
use crate::status::{Condition, runs};

#[derive(Debug, Args)]
pub(super) struct SteerRunArgs {
    #[command(flatten)]
    pub(super) table: TableArgs,
    #[command(flatten)]
    pub(super) socket: SocketArg,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct PaceArgs {
    /// How much the application may be slowed down
    #[arg(value_enum)]
    pace: PaceArg,
    #[command(flatten)]
    pub(super) run: SteerRunArgs,
}

#[derive(Debug, Args)]
pub(super) struct SetArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// What is to be changed, as NAME=VALUE with the name of an option of `run`: chunk-time=100,
    /// max-load=Threads_running=80, peak=none; several values of one option are separated by ";". And a connection
    /// as `h=host,P=port,u=user,p=password,D=db,t=table`, if it is named in this way
    #[arg(value_name = "NAME=VALUE | DSN", required = true)]
    given: Vec<Secret>,
    /// The table
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    #[command(flatten)]
    socket: SocketArg,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// The command that changes a setting.
///
/// # Errors
/// Refused when it is written in another way.
fn setting(text: &str) -> Result<Command> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok(Command::Set {
            name: name.trim_start_matches('-').to_owned(),
            value: value.to_owned(),
        }),
        _ => Err(Error::refused(format!("{text} is not NAME=VALUE"))
            .remedy("Write it as chunk-time=100; the value `none` takes a limit away.")),
    }
}

pub(super) async fn pause(args: SteerRunArgs) -> Result<()> {
    steer(args, vec![Command::Pause]).await
}

pub(super) async fn resume(args: SteerRunArgs) -> Result<()> {
    steer(args, vec![Command::Resume]).await
}

pub(super) async fn stop(args: SteerRunArgs) -> Result<()> {
    steer(args, vec![Command::Stop]).await
}

pub(super) async fn cut_over(args: SteerRunArgs) -> Result<()> {
    steer(args, vec![Command::CutOver]).await
}

pub(super) async fn pace(args: PaceArgs) -> Result<()> {
    let value = Pace::from(args.pace).name().to_owned();
    steer(args.run, vec![Command::Set { name: "pace".to_owned(), value }]).await
}

pub(super) async fn set(args: SetArgs) -> Result<()> {
    let SetArgs { connection, given, table, socket, output } = args;
    let (mut dsns, settings): (Vec<Secret>, Vec<Secret>) =
        given.into_iter().partition(|text| PtDsn::is_one(text.expose()));
    let commands =
        settings.iter().map(|text| setting(text.expose())).collect::<Result<Vec<_>>>()?;
    if commands.is_empty() || dsns.len() > 1 {
        return Err(Error::refused("one setting at least is to be given, and one DSN at most"));
    }
    let table = TableArgs::new(connection, dsns.pop(), table);
    steer(SteerRunArgs { table, socket, output }, commands).await
}

async fn steer(args: SteerRunArgs, commands: Vec<Command>) -> Result<()> {
    let (server, table) = args.table.resolve()?;
    let mut texts = Vec::new();
    for command in &commands {
        let answer = tell(&server, &table, &args.socket, command).await?;
        texts.extend(accepted(answer)?.text);
    }
    args.output.print(|| texts.join("\n"), || json!({ "result": "done", "answers": texts }));
    Ok(())
}

/// The answer, unless it is a no.
///
/// # Errors
/// Refused with the reason.
pub(super) fn accepted(answer: Answer) -> Result<Answer> {
    match answer {
        Answer { ok: true, .. } => Ok(answer),
        Answer { error, .. } => Err(Error::refused(format!(
            "the run refuses: {}",
            error.as_deref().unwrap_or("it does not say why")
        ))),
    }
}

/// How a run stands, by its own word. None if its socket cannot be reached from here.
pub(super) async fn status_by_socket(
    server: &Server,
    table: &TableName,
    socket: &SocketArg,
) -> Result<Option<Box<Status>>> {
    let Some((path, _)) = socket.path(server, table) else { return Ok(None) };
    Ok(ask(&path, &Command::Status).await?.and_then(|answer| answer.status))
}

/// Tells the process that works on a table something, and returns its answer.
///
/// # Errors
/// Refused when no process works on it, or none answers.
pub(super) async fn tell(
    server: &Server,
    table: &TableName,
    socket: &SocketArg,
    command: &Command,
) -> Result<Answer> {
    if let Some((path, named)) = socket.path(server, table) {
        match ask(&path, command).await? {
            Some(answer) => return Ok(answer),
            None if named => {
                return Err(Error::refused(format!("nobody listens at {}", path.display()))
                    .remedy("Leave --control-socket out: then it is asked through the database."));
            }
            None => {}
        }
    }
    let mut session = open(server).await?;
    let found = runs(&mut session, Some(table.schema.as_str()), Some(table.table.as_str())).await?;
    let run = found.first().ok_or_else(|| {
        Error::refused(format!("there is no run on {table}"))
            .remedy("`replank list` shows all there are, and those of before.")
    })?;
    if !matches!(run.condition, Condition::Running(_)) {
        return Err(Error::refused(format!(
            "no process works on {table}: its run is {}",
            run.condition.name()
        ))
        .remedy(run.condition.next()));
    }
    let by: Option<String> =
        mysql_async::prelude::Queryable::query_first(&mut *session, "SELECT USER()")
            .await
            .map_err(|e| crate::server::to_error(e, "reading the name of the account"))?;
    let state = StateTable::at(run.names.state.clone());
    let answer = mailbox::send(&mut session, &state, command, &by.unwrap_or_default()).await;
    session.close().await;
    answer
}
