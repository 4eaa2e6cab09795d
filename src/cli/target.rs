//! Which server, which table, which ALTER: what `run`, `plan` and `cleanup` have in common.

use clap::{Args, ValueEnum};

use crate::config::{Connection, ConnectionArgs, PtDsn, Secret, SystemEnv};
use crate::error::{Error, Result};
use crate::run::{DeferIndexes, Request};
use crate::server::Server;
use crate::sql::TableName;

/// A server and, where it was named with it, a table.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) server: Server,
    pub(super) connection: Connection,
    pub(super) schema: Option<String>,
    pub(super) table: Option<String>,
}

/// Resolves the connection.
pub(super) fn resolve(connection: ConnectionArgs, pt: Option<&PtDsn>) -> Result<Target> {
    let resolved = connection.resolve(pt, &SystemEnv)?;
    for warning in &resolved.warnings {
        tracing::warn!("{warning}");
    }
    Ok(Target {
        server: Server::new(&resolved.connection),
        schema: resolved.connection.database.clone(),
        connection: resolved.connection,
        table: resolved.table,
    })
}

/// How long runs are remembered.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// For how many days _replank_history, in the table's schema, remembers how this run ended (see `replank
    /// list`); 0 writes nothing
    #[arg(long = "history-retention", value_name = "DAYS", default_value_t = 90)]
    pub(super) days: u32,
}

/// The arguments that say which table is meant.
#[derive(Debug, Args)]
pub(super) struct TableArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// A connection as `h=host,P=port,u=user,p=password,D=db,t=table`
    #[arg(value_name = "DSN")]
    positional: Option<Secret>,
    /// The table
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
}

impl TableArgs {
    pub(super) fn new(
        connection: ConnectionArgs,
        positional: Option<Secret>,
        table: Option<String>,
    ) -> Self {
        TableArgs { connection, positional, table }
    }

    /// The server and the table.
    pub(super) fn resolve(self) -> Result<(Server, TableName)> {
        let (target, table) = self.resolve_some()?;
        let schema = target
            .schema
            .ok_or_else(|| Error::refused("no database is named").remedy("Give --database."))?;
        let table =
            table.ok_or_else(|| Error::refused("no table is named").remedy("Give --table."))?;
        Ok((target.server, TableName::new(schema, table)))
    }

    /// The server, and a table if one is named.
    pub(super) fn resolve_some(self) -> Result<(Target, Option<String>)> {
        let pt = self.positional.as_ref().map(|dsn| PtDsn::parse(dsn.expose())).transpose()?;
        let target = resolve(self.connection, pt.as_ref())?;
        let table = self.table.or_else(|| target.table.clone());
        Ok((target, table))
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Defer {
    Auto,
    Always,
    Never,
}

impl From<Defer> for DeferIndexes {
    fn from(defer: Defer) -> Self {
        match defer {
            Defer::Auto => DeferIndexes::Auto,
            Defer::Always => DeferIndexes::Always,
            Defer::Never => DeferIndexes::Never,
        }
    }
}

/// The arguments that say what is to be altered.
#[derive(Debug, Args)]
pub(super) struct AlterArgs {
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    /// A whole ALTER TABLE statement, or a connection as `h=host,P=port,u=user,p=password,D=db,t=table`
    #[arg(value_name = "STATEMENT | DSN")]
    // A DSN may hold a password, so that the text must not be shown by an error of the parser.
    positional: Vec<Secret>,
    /// The table
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// What follows ALTER TABLE name: "ADD COLUMN phone VARCHAR(20)"
    #[arg(long, value_name = "CLAUSES")]
    alter: Option<String>,
    /// Seconds that one attempt at the cut-over may wait for, and hold, its lock
    #[arg(long, value_name = "SECONDS", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    lock_wait: u32,
    /// When indexes that are not unique are built: after the copy, which is faster, or with it; "auto" builds
    /// them after the copy unless connected replicas would stand still for long
    #[arg(long, value_enum, default_value = "auto")]
    defer_indexes: Defer,
    /// Time zone in which TIMESTAMP is converted to or from another type; the server's by default
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
}

/// What is to be altered, and where.
#[derive(Debug)]
pub(super) struct AlterTarget {
    pub(super) server: Server,
    pub(super) connection: Connection,
    pub(super) request: Request,
}

impl AlterArgs {
    /// The server and what is to be done on it.
    pub(super) fn resolve(self) -> Result<AlterTarget> {
        let mut dsn = None;
        let mut statement = None;
        for positional in &self.positional {
            let text = positional.expose();
            let slot = if PtDsn::is_one(text) { &mut dsn } else { &mut statement };
            if slot.replace(text).is_some() {
                return Err(Error::refused(
                    "more than one statement, or more than one DSN, is given",
                )
                .remedy("Put the statement in quotes, so that it is one argument."));
            }
        }
        let pt = dsn.map(PtDsn::parse).transpose()?;
        let target = resolve(self.connection, pt.as_ref())?;
        let table = match (self.table, target.table) {
            (Some(flag), Some(dsn)) if flag != dsn => {
                return Err(Error::refused(format!(
                    "--table says {flag}, but t= in the DSN says {dsn}"
                ))
                .remedy("Leave one of them out."));
            }
            (flag, dsn) => flag.or(dsn),
        };
        let statement = match (self.alter, statement) {
            (Some(_), Some(_)) => {
                return Err(Error::refused("both --alter and a statement are given")
                    .remedy("Give one of them."));
            }
            (Some(clauses), None) => {
                if table.is_none() {
                    return Err(Error::refused("--alter is given, but no table")
                        .remedy("Give --table as well."));
                }
                clauses
            }
            (None, Some(statement)) => statement.to_owned(),
            (None, None) => {
                return Err(Error::refused("no ALTER is given").remedy(
                    "Give --table and --alter, or a whole ALTER TABLE statement in quotes.",
                ));
            }
        };
        let request = Request {
            schema: target.schema,
            table,
            statement,
            lock_wait: self.lock_wait,
            time_zone: self.time_zone,
            revertible_for: None,
            defer_indexes: self.defer_indexes.into(),
        };
        let Target { server, connection, .. } = target;
        Ok(AlterTarget { server, connection, request })
    }
}
