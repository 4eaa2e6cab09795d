//! A run from beginning to end: check, create, copy and replay, verify, cut over, tidy up.

mod broom;
mod checkpointing;
mod conductor;
mod copying;
mod crew;
mod hand;
mod hands;
mod heart;
mod job;
mod prepare;
mod resume;
mod start;
mod swapping;
mod tally;
mod verifying;

use std::time::{Duration, Instant};

pub use broom::Broom;
use crossbeam_channel::Receiver;
pub use prepare::{Aim, Prepared, Request, aim, check, create, open};
pub use resume::{Earlier, earlier_run, look};
pub use tally::Tally;

use conductor::{Conductor, Inputs, Limits};
use crew::{Crew, Strength};
use job::{Message, Report, Role};
use start::Start;

use crate::error::{Error, Kind, Result};
use crate::plan::Names;
use crate::progress::{Phase, Progress};
use crate::server::{PATIENCE, RunLock, Server, Session};
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
    /// Whether a stopped run on the table is removed instead of being continued.
    pub restart: bool,
    /// Whether a run that is stopped on request keeps what it has copied, so that it can be continued.
    pub stop_keeps: bool,
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
/// See [`crate::error::Kind`]. Nothing is left behind, except for an ambiguous outcome and for errors that
/// [keep their progress](Error::keeps_progress): then the same request goes on where this one ended.
pub async fn run(
    server: &Server,
    request: &Request,
    options: &Options,
    progress: &Progress,
    stop: &Receiver<()>,
) -> Result<Outcome> {
    let began = Instant::now();
    let mut session = open(server).await?;
    let aim = aim(&mut session, request).await?;
    let mut lock = RunLock::acquire_within(PATIENCE, server, &aim.source).await?;
    let result =
        run_locked(server, session, aim, request, options, progress, stop, &mut lock).await;
    lock.release().await;
    result.map(|outcome| Outcome { took: began.elapsed(), ..outcome })
}

#[expect(clippy::too_many_arguments, reason = "everything that a run was given, used once")]
async fn run_locked(
    server: &Server,
    mut session: Session,
    aim: Aim,
    request: &Request,
    options: &Options,
    progress: &Progress,
    stop: &Receiver<()>,
    lock: &mut RunLock,
) -> Result<Outcome> {
    let earlier = look(server, &mut session, &aim.source).await?;
    if let Some(earlier) = earlier.as_ref().filter(|earlier| earlier.swapped) {
        tracing::info!("an earlier run has swapped the tables; what it has left is put in order");
        let broom = Broom::new(server, session).await;
        let names = earlier.names.clone();
        return Ok(
            finish(broom, Tally::default(), &names, &earlier.mark(), Vec::new(), options).await
        );
    }
    let source = check(&mut session, &aim).await?;
    progress.update(|snapshot| snapshot.rows_estimated = source.rows);
    let taken_up = match earlier {
        Some(earlier) => {
            resume::take_up(server, &mut session, earlier, &aim, &source, options.restart, lock)
                .await?
        }
        None => None,
    };
    let (mut session, prepared, start) = match taken_up {
        Some((prepared, start)) => (session, prepared, Some(start)),
        None => {
            let (session, prepared) = create(server, session, aim, source, request, lock).await?;
            (session, prepared, None)
        }
    };
    let plan = prepared.context.plan.clone();
    let names = plan.names.clone();
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    let outcome =
        execute(server, &mut session, &prepared, start, options, request, progress, stop, lock)
            .await;
    let mut broom = Broom::new(server, session).await;
    let error = match outcome {
        Ok(tally) => {
            let (mark, warnings) = (&prepared.context.mark, plan.warnings.clone());
            return Ok(finish(broom, tally, &names, mark, warnings, options).await);
        }
        Err(error) => error,
    };
    let stopped = error.kind() == Kind::Interrupted
        && options.stop_keeps
        && progress.snapshot().rows_copied > 0;
    let error = match error.kind() {
        // The next run finds out.
        Kind::Ambiguous => error.keeping_progress(),
        _ if stopped => error
            .remedy("The same command goes on from here; `replank abort` removes what is kept.")
            .keeping_progress(),
        _ if error.keeps_progress() => error,
        _ => {
            if let Err(left) = broom.drop(&[names.shadow, names.state]).await {
                tracing::error!(error = %left, "helper tables are left; `replank abort` removes them");
            }
            error
        }
    };
    broom.put_away().await;
    Err(error)
}

#[expect(clippy::too_many_arguments, reason = "everything that a run was given, used once")]
async fn execute(
    server: &Server,
    session: &mut Session,
    prepared: &Prepared,
    start: Option<Start>,
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
    let start = match start {
        Some(start) => start,
        None => Start::afresh(current_position(session, prepared.facts.version_number).await?),
    };
    let (stream, deliveries) = Stream::start(StreamConfig {
        server: server.clone(),
        start: start.position.clone(),
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
    let conductor = Conductor::new(start, hands, limits, progress.clone());
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
/// changes nothing about the success of the run.
async fn finish(
    mut broom: Broom<'_>,
    tally: Tally,
    names: &Names,
    mark: &str,
    warnings: Vec<String>,
    options: &Options,
) -> Outcome {
    let old = if options.keep_old {
        mark_old(&mut broom, names, mark).await
    } else {
        broom.drop(std::slice::from_ref(&names.old)).await
    };
    if let Err(error) = &old {
        tracing::error!(%error, "the new table is in place, but the old one could not be marked or dropped");
    }
    if let Err(error) = broom.drop(std::slice::from_ref(&names.state)).await {
        tracing::error!(%error, "the new table is in place, but the state table is left");
    }
    broom.put_away().await;
    let old_kept = options.keep_old || old.is_err();
    Outcome { tally, names: names.clone(), took: Duration::ZERO, old_kept, warnings }
}

/// Puts replank's mark before the old table's own comment.
///
/// # Errors
/// As [`Broom::sweep`].
pub async fn mark_old(broom: &mut Broom<'_>, names: &Names, mark: &str) -> Result<()> {
    let own = broom.comment(&names.old).await?;
    let begins = old_mark(names.source.table.as_str());
    if own.starts_with(&begins) {
        return Ok(());
    }
    let until = crate::state::now();
    let comment = format!("{begins}{mark}, until {until}. {own}");
    let sql = format!("ALTER TABLE {} COMMENT = {}", names.old, quoted_comment(&comment));
    broom.sweep(&sql, &format!("marking {}", names.old)).await
}
