//! What runs there are on a server, read from their state tables: from any machine, also when no process
//! works on them.

use mysql_async::prelude::Queryable;

use crate::error::Result;
use crate::plan::Names;
use crate::schema::table::Table;
use crate::server::{RunLock, Session, to_error};
use crate::sql::TableName;
use crate::state::{Checkpoint, MARK, Misfit, Registry, StateTable};

/// What can be said of a run at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// A process works on it: the connection that holds the run lock.
    Running(String),
    /// Nobody works on it; the same command goes on.
    Stopped,
    /// Nobody works on it, and it had not begun to copy.
    Prepared,
    /// The tables are swapped; the end of the run is missing.
    Swapped,
    /// The tables are swapped, and nobody keeps the old one in step, but that can be taken up again.
    Unguarded,
    /// Nobody works on it, and it cannot be continued: an earlier version of replank began it.
    Outdated,
}

impl Condition {
    /// One word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Condition::Running(_) => "running",
            Condition::Stopped => "stopped",
            Condition::Prepared => "prepared",
            Condition::Swapped => "swapped",
            Condition::Unguarded => "unguarded",
            Condition::Outdated => "outdated",
        }
    }

    /// What the operator can do.
    pub fn next(&self) -> &'static str {
        match self {
            Condition::Running(_) => {
                "Wait; or steer it with `replank pause`, `resume`, `pace`, `set`, `cut-over`, `abort`."
            }
            Condition::Stopped => {
                "Give the same `replank run` command to go on, or undo it with `replank abort`."
            }
            Condition::Prepared => {
                "Give the same `replank run` command to begin again, or undo it with `replank abort`."
            }
            Condition::Swapped => {
                "The new table is in place. Give the same `replank run` command to tidy up."
            }
            Condition::Unguarded => {
                "The new table is in place. `replank guard` keeps the old one in step, `replank revert` swaps \
                 back, `replank cleanup` gives the revert up."
            }
            Condition::Outdated => "Undo it with `replank abort`, or start over with --restart.",
        }
    }
}

/// A run that has not come to its end.
#[derive(Debug, Clone)]
pub struct RunStatus {
    /// Its tables.
    pub names: Names,
    /// What it is.
    pub registry: Registry,
    /// How it stands.
    pub condition: Condition,
    /// How far it had come, about a second ago if it is running. None before it began to copy.
    pub checkpoint: Option<Checkpoint>,
    /// How many chunks have been copied.
    pub chunks: u64,
    /// Rows that the old structure cannot hold: a revert would lose changes of them.
    pub misfits: Vec<Misfit>,
}

/// The runs on a server's tables, on those of a schema, or on one of them.
///
/// # Errors
/// As the server's; refused when a later version of replank began one of them.
pub async fn runs(
    session: &mut Session,
    schema: Option<&str>,
    table: Option<&str>,
) -> Result<Vec<RunStatus>> {
    let states: Vec<(String, String)> = session
        .exec(
            "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES \
             WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_COMMENT LIKE ? \
             AND TABLE_SCHEMA = COALESCE(?, TABLE_SCHEMA) ORDER BY 1, 2",
            (format!("{MARK} state of %"), schema),
        )
        .await
        .map_err(|e| to_error(e, "looking for runs"))?;
    let mut found = Vec::new();
    for (schema, name) in states {
        let state = StateTable::at(TableName::new(schema, name));
        let Some(registry) = state.registry(session).await? else { continue };
        if table.is_none_or(|table| table == registry.source) {
            found.push(run(session, &state, registry).await?);
        }
    }
    Ok(found)
}

async fn run(session: &mut Session, state: &StateTable, registry: Registry) -> Result<RunStatus> {
    let names = registry.names(state.name());
    let continues = registry.can_be_continued();
    let checkpoint = match continues {
        true => state.checkpoint(session).await?.map(|(_, checkpoint)| checkpoint),
        false => None,
    };
    let chunks = state.chunk_count(session).await?;
    let condition = match RunLock::holder(session, &names.source).await? {
        Some(holder) => Condition::Running(holder),
        None if !continues => Condition::Outdated,
        None if Table::exists(session, &names.shadow).await? => match checkpoint {
            Some(_) => Condition::Stopped,
            None => Condition::Prepared,
        },
        None if Table::exists(session, &names.old).await? => match registry.revertible_for {
            Some(_) => Condition::Unguarded,
            None => Condition::Swapped,
        },
        None => Condition::Prepared,
    };
    let misfits = state.misfits(session).await?;
    Ok(RunStatus { names, registry, condition, checkpoint, chunks, misfits })
}
