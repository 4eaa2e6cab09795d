//! A run from beginning to end: check, create, copy and replay, verify, cut over, tidy up.

mod back;
mod broom;
mod checkpointing;
mod conductor;
mod copying;
mod crew;
mod engine;
mod guarding;
mod hand;
mod hands;
mod heart;
mod indexing;
mod job;
mod pacing;
mod prepare;
mod resume;
mod sampling;
mod start;
mod swapping;
mod tally;
mod verifying;

use std::time::{Duration, Instant};

pub use back::{BackOptions, Reverted, guard, revert};
pub use broom::Broom;
pub use prepare::{Aim, DeferIndexes, Prepared, Request, aim, check, create, open};
pub use resume::{Earlier, earlier_run, look};
pub(crate) use sampling::Sampling;
pub use tally::Tally;

use engine::Engine;
use guarding::Guarding;
use prepare::show_structure;
use start::Start;

use crate::control::{self, Control, Settings, Status};
use crate::error::{Error, Kind, Result};
use crate::hooks::{Hooks, Point};
use crate::pace::Pace;
use crate::plan::Names;
use crate::preflight;
use crate::progress::Progress;
use crate::server::{PATIENCE, RunLock, Server, Session};
use crate::sql::TableName;
use crate::state::history::{Ending, Record};
use crate::state::{Part, StateTable, old_mark, quoted_comment};
use crate::stream::current_position;
use crate::throttle::{self, Throttle};
use crate::work::Context;

/// How a run is to be carried out.
#[derive(Debug, Clone)]
pub struct Options {
    /// How much the application may be slowed down.
    pub pace: Pace,
    /// Connections that copy and compare, at most.
    pub workers: usize,
    /// Rows copied or compared in a second, at most.
    pub rows_per_second: Option<u64>,
    /// How long one chunk should take.
    pub chunk_time: Duration,
    /// Changed keys that are held in memory one by one, at most.
    pub max_changed_keys: usize,
    /// Whether the old table is kept after the cut-over.
    pub keep_old: bool,
    /// Whether a stopped run on the table is removed instead of being continued.
    pub restart: bool,
    /// Whether a run that is stopped on request keeps what it has copied, so that it can be continued.
    pub stop_keeps: bool,
    /// For how many days the history remembers a run; 0 for no record at all.
    pub history_days: u32,
    /// What holds the copy.
    pub throttle: Throttle,
    /// Whether the cut-over waits for the operator, or for the calendar.
    pub postpone_cut_over: bool,
    /// The operator's own programs.
    pub hooks: Option<Hooks>,
}

impl Options {
    fn settings(&self, throttle: Throttle) -> Settings {
        Settings {
            pace: self.pace,
            workers: self.workers,
            rows_per_second: self.rows_per_second,
            chunk_time: self.chunk_time,
            max_changed_keys: self.max_changed_keys,
            throttle,
            postpone_cut_over: self.postpone_cut_over,
        }
    }
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
    /// For how many seconds after the swap the old table is to be kept in step by [`guard`]. None if the run
    /// has come to its end.
    pub revertible_for: Option<u64>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// The table that a request is about.
///
/// # Errors
/// Refused when the server cannot be reached, or the request contradicts itself.
pub async fn table(server: &Server, request: &Request) -> Result<TableName> {
    let mut session = open(server).await?;
    let aim = aim(&mut session, request).await?;
    session.close().await;
    Ok(aim.source)
}

/// Carries out an ALTER.
///
/// `control` steers it; [`Control::stop`] ends it cleanly at the next possible moment.
///
/// # Errors
/// See [`crate::error::Kind`]. Nothing is left behind, except for an ambiguous outcome and for errors that
/// [keep their progress](Error::keeps_progress): then the same request goes on where this one ended.
pub async fn run(
    server: &Server,
    request: &Request,
    options: &Options,
    progress: &Progress,
    control: &Control,
) -> Result<Outcome> {
    let began = Instant::now();
    let mut session = open(server).await?;
    let aim = aim(&mut session, request).await?;
    let mut lock = RunLock::acquire_within(PATIENCE, server, &aim.source).await?;
    let result =
        run_locked(server, session, aim, request, options, progress, control, &mut lock).await;
    lock.release().await;
    if let Some(hooks) = &options.hooks {
        let (point, why) = match &result {
            Ok(_) => (Point::Done, None),
            Err(error) if error.kind() == Kind::Interrupted => (Point::Interrupted, None),
            Err(error) => (Point::Failed, Some(error.to_string())),
        };
        let status = Status::of(progress, control);
        // A run that was refused has not begun.
        if !status.run.is_empty() {
            hooks.tell(point, why.as_deref(), &status).await;
        }
    }
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
    control: &Control,
    lock: &mut RunLock,
) -> Result<Outcome> {
    let mut earlier = look(server, &mut session, &aim.source).await?;
    if let Some(swapped) = earlier.take_if(|earlier| earlier.swapped) {
        let outcome = after_the_swap(server, &swapped, &aim, options).await?;
        if swapped.alter() == aim.alter.clauses {
            session.close().await;
            return Ok(outcome);
        }
        // The earlier run has come to its end; this one has another ALTER.
    }
    let source = check(&mut session, &aim).await?;
    let mut throttle = options.throttle.clone();
    throttle::prepare(server, &mut session, &aim.facts, &mut throttle).await?;
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
    let taken_up = start.is_some();
    let outcome = match start {
        Some(start) => Ok(start),
        None => begin(&mut session, &prepared).await,
    };
    let engine = Engine {
        server,
        prepared: &prepared,
        settings: options.settings(throttle),
        lock_wait: request.lock_wait,
        progress,
        control,
        hooks: options.hooks.as_ref(),
    };
    let outcome = match outcome {
        Ok(start) => engine.execute(start, Guarding::none(), lock).await,
        Err(error) => Err(error),
    };
    let mut broom = Broom::new(server, session).await;
    let error = match outcome {
        Ok(tally) => {
            if let Some(hooks) = &options.hooks {
                hooks.tell(Point::AfterCutOver, None, &Status::of(progress, control)).await;
            }
            let (mark, warnings) = (&prepared.context.mark, plan.warnings.clone());
            let record = Record {
                rows: progress.snapshot().rows_copied,
                keys_replayed: progress.snapshot().keys_replayed,
                ..Record::of(&prepared.registry, Ending::Done)
            };
            broom.record(&names.source, &record, options.history_days).await;
            if let Some(time) = prepared.registry.revertible_for {
                broom.put_away().await;
                let took = Duration::ZERO;
                let revertible_for = Some(time);
                return Ok(Outcome {
                    tally,
                    names,
                    took,
                    old_kept: true,
                    revertible_for,
                    warnings,
                });
            }
            return Ok(finish(broom, tally, &names, mark, warnings, options.keep_old).await);
        }
        Err(error) => error,
    };
    // The last chunk may have been committed without anybody having heard of it.
    let stopped = error.kind() == Kind::Interrupted
        && options.stop_keeps
        && control.ending() != Some(control::Ending::Abort)
        && (taken_up || has_copied(server, &prepared.context.state).await);
    let error = match error.kind() {
        // The next run finds out.
        Kind::Ambiguous => error.keeping_progress(),
        _ if stopped => error
            .remedy("The same command goes on from here; `replank abort` removes what is kept.")
            .keeping_progress(),
        _ if error.keeps_progress() => error,
        _ => {
            let ending = match error.kind() {
                Kind::Interrupted if control.ending() == Some(control::Ending::Abort) => {
                    Ending::Aborted
                }
                Kind::Interrupted => Ending::Interrupted,
                _ => Ending::Failed,
            };
            let record = Record {
                rows: progress.snapshot().rows_copied,
                keys_replayed: progress.snapshot().keys_replayed,
                error: Some(error.to_string()),
                ..Record::of(&prepared.registry, ending)
            };
            let source = names.source;
            if let Err(left) = broom.drop(&[names.shadow, names.state]).await {
                tracing::error!(error = %left, "helper tables are left; `replank abort` removes them");
            }
            broom.record(&source, &record, options.history_days).await;
            error
        }
    };
    broom.put_away().await;
    Err(error)
}

/// Whether the shadow table holds anything. If that cannot be found out, it is kept.
async fn has_copied(server: &Server, state: &StateTable) -> bool {
    match open(server).await {
        Ok(mut session) => {
            let chunks = state.chunk_count(&mut session).await;
            session.close().await;
            chunks.unwrap_or(1) > 0
        }
        Err(_) => true,
    }
}

/// Where the stream of a new run begins. What another session has done to the table's structure since it was
/// read, the stream would not show.
///
/// # Errors
/// Failed when the structure has changed.
async fn begin(session: &mut Session, prepared: &Prepared) -> Result<Start> {
    let position = current_position(session, prepared.facts.version_number).await?;
    let Context { plan, state, .. } = &prepared.context;
    let agreed = state.terms(session, Part::Migration).await?;
    let now = show_structure(session, &plan.names.source).await?;
    let triggers = preflight::triggers(session, &plan.source).await?;
    if agreed.is_none_or(|agreed| agreed.source != now) || !triggers.is_empty() {
        return Err(Error::failed(format!(
            "the structure of {} has changed while the run was being prepared",
            plan.names.source
        ))
        .remedy("Start again when the other session has ended its DDL."));
    }
    Ok(Start::afresh(position))
}

/// An earlier process has swapped the tables: what it had still to do is done.
///
/// # Errors
/// Refused when the old table is being kept in step, and this is another ALTER.
async fn after_the_swap(
    server: &Server,
    earlier: &Earlier,
    aim: &Aim,
    options: &Options,
) -> Result<Outcome> {
    let names = earlier.names.clone();
    let same = earlier.alter() == aim.alter.clauses;
    if let Some(time) = earlier.revertible_for() {
        if !same {
            return Err(Error::refused(format!(
                "the last run on {} can still be reverted: {} is kept in step with it",
                aim.source, names.old
            ))
            .remedy(
                "Wait until its time is over (`replank guard`), revert it (`replank revert`), or give the \
                 revert up with `replank cleanup`.",
            ));
        }
        tracing::info!("an earlier process has swapped the tables; the old one is kept in step");
        let (tally, took, warnings) = (Tally::default(), Duration::ZERO, Vec::new());
        let revertible_for = Some(time);
        return Ok(Outcome { tally, names, took, old_kept: true, revertible_for, warnings });
    }
    tracing::info!("an earlier run has swapped the tables; what it has left is put in order");
    let broom = Broom::new(server, open(server).await?).await;
    let (tally, mark) = (Tally::default(), earlier.mark());
    // Another command does not decide about this one's old table.
    let keep_old = options.keep_old || !same;
    Ok(finish(broom, tally, &names, &mark, Vec::new(), keep_old).await)
}

/// After the swap: what is left of the run goes, the old table is marked or dropped. A failure here
/// changes nothing about the success of the run.
async fn finish(
    mut broom: Broom<'_>,
    tally: Tally,
    names: &Names,
    mark: &str,
    warnings: Vec<String>,
    keep_old: bool,
) -> Outcome {
    // In this order, so that wherever this process is killed the tables tell what has happened.
    let mut old = mark_old(&mut broom, names, mark).await;
    if let Err(error) = broom.drop(std::slice::from_ref(&names.state)).await {
        tracing::error!(%error, "the new table is in place, but the state table is left");
    } else if !keep_old {
        old = broom.drop(std::slice::from_ref(&names.old)).await;
    }
    if let Err(error) = &old {
        tracing::error!(%error, "the new table is in place, but the old one could not be marked or dropped");
    }
    broom.put_away().await;
    let (names, took) = (names.clone(), Duration::ZERO);
    let old_kept = keep_old || old.is_err();
    Outcome { tally, names, took, old_kept, revertible_for: None, warnings }
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
