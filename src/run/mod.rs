//! A run from beginning to end: check, create, copy and replay, verify, cut over, tidy up.

mod conductor;
mod copying;
mod crew;
mod hand;
mod hands;
mod heart;
mod job;
mod prepare;
mod swapping;
mod tally;
mod verifying;

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mysql_async::prelude::Queryable;

pub use prepare::{Checked, Prepared, Request, check, create, open, remove};
pub use tally::Tally;

use conductor::{Conductor, Inputs, Limits};
use crew::{Crew, Strength};
use job::{Message, Report, Role};

use crate::error::{Error, Kind, Result};
use crate::plan::Names;
use crate::progress::{Phase, Progress};
use crate::server::{RECONNECT_FOR, RunLock, Server, Session, SessionSettings, to_error};
use crate::state::{old_mark, quoted_comment};
use crate::stream::{Stream, StreamConfig, Watch, current_position};

/// How long a connection that has been idle during the run may take to answer.
const PING: Duration = Duration::from_secs(5);

/// How a run is to be carried out.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections that copy and compare.
    pub workers: usize,
    /// How long one chunk should take.
    pub chunk_time: Duration,
    /// Whether the old table is kept after the cut-over.
    pub keep_old: bool,
}

/// What a run has done.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was measured.
    pub tally: Tally,
    /// The tables; the shadow table has the source's name now.
    pub names: Names,
    /// The whole time.
    pub took: Duration,
    /// Whether the old table is still there.
    pub old_kept: bool,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// Carries out an ALTER.
///
/// A message through `stop` ends the run cleanly at the next possible moment.
///
/// # Errors
/// See [`crate::error::Kind`]; except for an ambiguous outcome, nothing is left behind.
pub async fn run(
    server: &Server,
    request: &Request,
    options: &Options,
    progress: &Progress,
    stop: &Receiver<()>,
) -> Result<Outcome> {
    let began = Instant::now();
    let mut session = open(server).await?;
    let checked = check(&mut session, request).await?;
    progress.update(|snapshot| snapshot.rows_estimated = checked.source.rows);
    let mut lock = RunLock::acquire(server, &checked.source.name).await?;
    let names = checked.names.clone();
    let prepared = create(&mut session, checked, request, &lock).await?;
    let warnings = prepared.context.plan.warnings.clone();
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let outcome =
        execute(server, &mut session, &prepared, options, request, progress, stop, &mut lock).await;
    let reopened = reopen(server, session).await;
    let result = match (outcome, reopened) {
        (Ok(tally), reopened) => {
            let old_kept = match reopened {
                Ok(mut session) => tidy_up(&mut session, &prepared, options).await,
                Err(error) => {
                    tracing::error!(%error, "the new table is in place; `replank cleanup` removes what is left");
                    true
                }
            };
            Ok(Outcome { tally, names, took: began.elapsed(), old_kept, warnings })
        }
        (Err(error), _) if error.kind() == Kind::Ambiguous => Err(error),
        (Err(error), Ok(mut session)) => {
            if let Err(left) = remove(&mut session, &names).await {
                tracing::error!(error = %left, "helper tables are left; `replank cleanup` removes them");
            }
            session.close().await;
            Err(error)
        }
        (Err(error), Err(left)) => {
            tracing::error!(error = %left, "helper tables are left; `replank cleanup` removes them");
            Err(error)
        }
    };
    lock.release().await;
    result
}

/// The session for the DDL of the end: the one of the beginning, or another if that is lost. A server
/// that is away is waited for.
async fn reopen(server: &Server, mut session: Session) -> Result<Session> {
    if let Ok(Ok(())) = tokio::time::timeout(PING, session.ping()).await {
        return Ok(session);
    }
    server.session_within(&SessionSettings::default(), RECONNECT_FOR).await
}

#[expect(clippy::too_many_arguments, reason = "everything that a run was given, used once")]
async fn execute(
    server: &Server,
    session: &mut Session,
    prepared: &Prepared,
    options: &Options,
    request: &Request,
    progress: &Progress,
    stop: &Receiver<()>,
    lock: &mut RunLock,
) -> Result<Tally> {
    if stop.try_recv().is_ok() {
        return Err(Error::new(Kind::Interrupted, "stopped on request"));
    }
    let plan = &prepared.context.plan;
    let start = current_position(session, prepared.facts.version_number).await?;
    let (stream, deliveries) = Stream::start(StreamConfig {
        server: server.clone(),
        start,
        watch: Watch {
            source: plan.names.source.clone(),
            key: plan.key.source.clone(),
            columns: plan.source.columns.len(),
            shadow: plan.names.shadow.clone(),
            state: plan.names.state.clone(),
            dialect: prepared.facts.dialect(),
            own_mark: prepared.context.mark.clone(),
        },
    })?;
    let parallel_replay = plan.key_is_only_unique();
    let strength =
        Strength { copiers: options.workers, replayers: if parallel_replay { 2 } else { 1 } };
    let lock_wait = Duration::from_secs(u64::from(request.lock_wait));
    let (crew, hands, reports, messages) = Crew::start(server, prepared, strength, lock_wait);
    let limits = Limits { chunk_time: options.chunk_time, lock_wait, parallel_replay };
    let conductor = Conductor::new(hands, limits, progress.clone());
    let inputs = Inputs { deliveries, messages, stop: stop.clone() };
    let mut conducting = tokio::task::spawn_blocking(move || conductor.conduct(inputs));
    let ended = tokio::select! {
        ended = &mut conducting => ended,
        error = lock.watch(server) => {
            // The conductor ends by itself if it has gone already.
            let _ = reports.send(Message { from: Role::Guard, report: Report::Failed(error) });
            conducting.await
        }
    };
    let outcome =
        ended.unwrap_or_else(|panic| Err(Error::failed("the conductor panicked").caused_by(panic)));
    stream.stop();
    crew.dismiss().await;
    progress.update(|snapshot| snapshot.phase = Phase::Done);
    // Once tables were created, nothing is a mere refusal.
    outcome.map_err(|error| match error.kind() {
        Kind::Refused | Kind::Transient => error.into_kind(Kind::Failed),
        _ => error,
    })
}

/// After the swap: what is left of the run goes, the old table is marked or dropped. A failure here
/// changes nothing about the success of the run. Returns whether the old table is still there.
async fn tidy_up(session: &mut Session, prepared: &Prepared, options: &Options) -> bool {
    let names = &prepared.context.plan.names;
    let old = if options.keep_old {
        let comment = format!(
            "{}{}, until {}. {}",
            old_mark(names.source.table.as_str()),
            prepared.context.mark,
            jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            prepared.context.plan.source.comment
        );
        format!("ALTER TABLE {} COMMENT = {}", names.old, quoted_comment(&comment))
    } else {
        format!("DROP TABLE {}", names.old)
    };
    let old = session
        .query_drop(old)
        .await
        .map_err(|e| to_error(e, &format!("after the swap: {}", names.old)));
    if let Err(error) = &old {
        tracing::error!(%error, "the new table is in place, but the old one could not be marked or dropped");
    }
    if let Err(error) = prepared.context.state.drop(session).await {
        tracing::error!(%error, "the new table is in place, but the state table is left");
    }
    options.keep_old || old.is_err()
}
