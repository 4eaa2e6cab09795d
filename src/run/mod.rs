//! A run from beginning to end: check, create, copy and replay, verify, cut over, tidy up.

mod broom;
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

pub use broom::Broom;
use crossbeam_channel::Receiver;
pub use prepare::{Checked, Prepared, Request, check, create, open};
pub use tally::Tally;

use conductor::{Conductor, Inputs, Limits};
use crew::{Crew, Strength};
use job::{Message, Report, Role};

use crate::error::{Error, Kind, Result};
use crate::plan::Names;
use crate::progress::{Phase, Progress};
use crate::server::{RunLock, Server, Session};
use crate::state::{old_mark, quoted_comment};
use crate::stream::{Stream, StreamConfig, Watch, current_position};

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
    let (mut session, prepared) = create(server, session, checked, request, &lock).await?;
    let warnings = prepared.context.plan.warnings.clone();
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let outcome =
        execute(server, &mut session, &prepared, options, request, progress, stop, &mut lock).await;
    let mut broom = Broom::new(server, session).await;
    let result = match outcome {
        Ok(tally) => {
            let old_kept = tidy_up(&mut broom, &prepared, options).await;
            Ok(Outcome { tally, names, took: began.elapsed(), old_kept, warnings })
        }
        Err(error) if error.kind() == Kind::Ambiguous => Err(error),
        Err(error) => {
            if let Err(left) = broom.drop(&[names.shadow, names.state]).await {
                tracing::error!(error = %left, "helper tables are left; `replank cleanup` removes them");
            }
            Err(error)
        }
    };
    broom.put_away().await;
    lock.release().await;
    result
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
async fn tidy_up(broom: &mut Broom<'_>, prepared: &Prepared, options: &Options) -> bool {
    let names = &prepared.context.plan.names;
    let old = if options.keep_old {
        let comment = format!(
            "{}{}, until {}. {}",
            old_mark(names.source.table.as_str()),
            prepared.context.mark,
            jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            prepared.context.plan.source.comment
        );
        let sql = format!("ALTER TABLE {} COMMENT = {}", names.old, quoted_comment(&comment));
        broom.sweep(&sql, &format!("marking {}", names.old)).await
    } else {
        broom.drop(std::slice::from_ref(&names.old)).await
    };
    if let Err(error) = &old {
        tracing::error!(%error, "the new table is in place, but the old one could not be marked or dropped");
    }
    if let Err(error) = broom.drop(std::slice::from_ref(&names.state)).await {
        tracing::error!(%error, "the new table is in place, but the state table is left");
    }
    options.keep_old || old.is_err()
}
