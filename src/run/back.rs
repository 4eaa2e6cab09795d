//! The way back: after the swap the old table is kept in step with the new one, so that the swap can be
//! reverted without losing what was written meanwhile.
//!
//! It is the migration once more, with the tables in each other's place and nothing left to copy: the
//! binlog of the new table is replayed by key into the old one, and a revert is the same cut-over. Why no
//! row is lost is argued in [`crate::ledger`] and [`crate::cutover`]; three things are different.
//!
//! - **Where the stream begins.** At the migration's last checkpoint, which lies before its RENAME. Up to
//!   there the source's name stood for the old table, so rows count only behind the run's own RENAME
//!   ([`crate::stream::Watch::swap`]). At the RENAME both tables held the same rows, which was verified.
//! - **Columns that the ALTER had dropped** keep their values in the old table's rows
//!   (`replay/preserving.rs`).
//! - **Rows that the old structure cannot hold** do not end the guard. They are noted, and a revert is
//!   refused while there are any, unless their loss is accepted (`replay/fitting.rs`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

use super::broom::Broom;
use super::engine::Engine;
use super::guarding::{Goal, Guarding, not_lossless};
use super::prepare::{Prepared, open, settings, terms};
use super::resume::{Earlier, earlier_run, has_binlog, look};
use super::start::Start;
use super::tally::Tally;
use super::{finish, mark_old};
use crate::control::{Control, MAX_CHANGED_KEYS, Settings};
use crate::error::{Error, Kind, Result};
use crate::pace::Pace;
use crate::plan::{Names, Plan};
use crate::progress::Progress;
use crate::schema::alter::AlterStatement;
use crate::schema::table::Table;
use crate::server::{PATIENCE, RunLock, Server, ServerFacts, Session, to_error};
use crate::sql::TableName;
use crate::state::history::{Ending, Record};
use crate::state::{Command, Misfit, Part, StateTable, Terms, marked_source};
use crate::throttle::Throttle;
use crate::work::Context;

/// How long the process that guards is given to stop for a revert.
const HANDOVER: Duration = Duration::from_secs(60);
/// Between two requests.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// How long one statement of the replay should take.
const BATCH_TIME: Duration = Duration::from_millis(250);

/// How the way back is to be gone.
#[derive(Debug, Clone)]
pub struct BackOptions {
    /// Seconds that one attempt at the cut-over may keep the application waiting.
    pub lock_wait: u32,
    /// Whether a revert may lose changes that the old structure cannot hold.
    pub accept_loss: bool,
    /// Whether the old table is kept when the guard's time is over.
    pub keep_old: bool,
    /// For how many days the history remembers a run; 0 for no record at all.
    pub history_days: u32,
}

/// What a revert has done.
#[derive(Debug, Clone)]
pub struct Reverted {
    /// The tables: the new one is set aside as `old`.
    pub names: Names,
    /// What was measured.
    pub tally: Tally,
    /// The whole time.
    pub took: Duration,
    /// What was lost: columns, and rows that stand as they last fitted.
    pub lost: Vec<String>,
}

/// Everything that is needed to go back.
struct Way {
    session: Session,
    prepared: Prepared,
    start: Start,
    noted: Vec<Misfit>,
    /// Rows that the migration had copied.
    start_rows: u64,
    /// How much longer the old table is to be kept in step.
    left: Duration,
}

/// Keeps the old table of a swapped run in step until its time is over; then what is left of the run
/// goes. True when it came so far.
///
/// # Errors
/// Refused when there is no such run, or another process works on it. Interrupted on a stop, from this or
/// another process; then, and on every failure, the guard can be taken up again.
pub async fn guard(
    server: &Server,
    table: &TableName,
    options: &BackOptions,
    progress: &Progress,
    control: &Control,
) -> Result<()> {
    let mut session = open(server).await?;
    let mut lock = RunLock::acquire_within(PATIENCE, server, table).await?;
    let outcome = async {
        let earlier = look(server, &mut session, table).await?;
        // A guard whose time was over, and that was killed in the midst of its last steps.
        if let Some(earlier) = earlier.as_ref().filter(|earlier| earlier.swapped)
            && is_marked(&mut session, &earlier.names.old).await?
        {
            let broom = Broom::new(server, session).await;
            let (names, mark) = (&earlier.names, earlier.mark());
            let tally = Tally::default();
            finish(broom, tally, names, &mark, Vec::new(), options.keep_old).await;
            return Ok(());
        }
        let way = take_over(session, earlier, table, &lock).await?;
        let until = Instant::now() + way.left;
        let guarding = Guarding::new(Goal::Guard { until }, way.noted)?;
        let minutes = way.left.as_secs().div_ceil(60);
        let names = &way.prepared.context.plan.names;
        tracing::info!(minutes, "{} is kept in step with {}", names.shadow, names.source);
        let engine = engine(server, &way.prepared, options, progress, control);
        engine.execute(way.start, guarding, &mut lock).await.map_err(|error| {
            error
                .remedy(
                    "`replank guard` goes on; `replank revert` swaps back; `replank cleanup` gives the \
                     revert up.",
                )
                .keeping_progress()
        })?;
        tracing::info!("the time in which the swap could be reverted is over");
        let broom = Broom::new(server, way.session).await;
        let names = earlier_names(names);
        let mark = &way.prepared.context.mark;
        finish(broom, Tally::default(), &names, mark, Vec::new(), options.keep_old).await;
        Ok(())
    }
    .await;
    lock.release().await;
    outcome
}

/// Swaps the tables of a run back. A process that guards is asked to stop first.
///
/// # Errors
/// Refused when there is no such run, or when a revert would lose rows and that was not accepted. After a
/// failure the new table still serves the application, and the guard can be taken up again.
pub async fn revert(
    server: &Server,
    table: &TableName,
    options: &BackOptions,
    progress: &Progress,
    control: &Control,
) -> Result<Reverted> {
    let began = Instant::now();
    let mut session = open(server).await?;
    let mut lock = relieve(server, &mut session, table).await?;
    let outcome = async {
        let earlier = look(server, &mut session, table).await?;
        let way = take_over(session, earlier, table, &lock).await?;
        if !options.accept_loss && !way.noted.is_empty() {
            return Err(not_lossless(way.noted.iter()).into_kind(Kind::Refused));
        }
        let plan = way.prepared.context.plan.clone();
        if Table::exists(&mut open(server).await?, &plan.names.old).await? {
            return Err(Error::refused(format!(
                "{} exists already, and the new table has to be set aside under that name",
                plan.names.old
            ))
            .remedy("Rename it, or remove what earlier reverts have left with `replank cleanup --old`."));
        }
        let guarding = Guarding::new(Goal::Revert { accept_loss: options.accept_loss }, way.noted)?;
        let engine = engine(server, &way.prepared, options, progress, control);
        let tally = engine.execute(way.start, guarding, &mut lock).await.map_err(|error| {
            error
                .remedy("The new table still serves the application. Revert again, or go on with `replank guard`.")
                .keeping_progress()
        })?;
        let mut session = way.session;
        let left = way.prepared.context.state.misfits(&mut session).await.unwrap_or_default();
        let stale = left.into_iter().map(|misfit| format!("row {}: {}", misfit.row, misfit.why));
        let lost = plan.warnings.iter().cloned().chain(stale).collect();
        let mut broom = Broom::new(server, session).await;
        let record = Record {
            rows: way.start_rows,
            keys_replayed: tally.keys_replayed,
            ..Record::of(&way.prepared.registry, Ending::Reverted)
        };
        broom.record(table, &record, options.history_days).await;
        if let Err(error) = tidy_up(broom, &plan.names, &way.prepared.context.mark).await {
            tracing::error!(%error, "the tables are swapped back, but something is left; `replank cleanup` \
                removes it");
        }
        Ok(Reverted { names: plan.names.clone(), tally, took: began.elapsed(), lost })
    }
    .await;
    lock.release().await;
    outcome
}

/// After the way back: the new table, set aside, is marked as one that may be dropped; the state table goes.
///
/// # Errors
/// The last attempt's.
pub(super) async fn tidy_up(mut broom: Broom<'_>, names: &Names, mark: &str) -> Result<()> {
    mark_old(&mut broom, names, mark).await?;
    broom.drop(std::slice::from_ref(&names.state)).await?;
    broom.put_away().await;
    Ok(())
}

/// The names of the way there, given those of the way back.
fn earlier_names(back: &Names) -> Names {
    Names { old: back.shadow.clone(), ..back.clone() }
}

fn engine<'a>(
    server: &'a Server,
    prepared: &'a Prepared,
    options: &BackOptions,
    progress: &'a Progress,
    control: &'a Control,
) -> Engine<'a> {
    let lock_wait = options.lock_wait;
    // Nothing is copied, so nothing has to be held back.
    let settings = Settings {
        pace: Pace::Fast,
        workers: 1,
        rows_per_second: None,
        chunk_time: BATCH_TIME,
        max_changed_keys: MAX_CHANGED_KEYS,
        throttle: Throttle::default(),
        postpone_cut_over: false,
    };
    Engine { server, prepared, settings, lock_wait, progress, control, hooks: None }
}

/// Whether a table carries the mark of one that has been set aside for good.
async fn is_marked(session: &mut Session, name: &TableName) -> Result<bool> {
    let table = Table::read(session, name).await?;
    Ok(table.is_some_and(|table| marked_source(&table.comment).is_some()))
}

/// Takes the run lock, from a process that guards if there is one.
async fn relieve(server: &Server, session: &mut Session, table: &TableName) -> Result<RunLock> {
    match RunLock::acquire(server, table).await {
        Err(error) if error.kind() == Kind::Refused => {}
        taken => return taken,
    }
    let registry = earlier_run(session, table).await?;
    let state = StateTable::at(Names::of(table).state);
    // A migration that is under way is not to be stopped by a revert.
    let guarded = match &registry {
        Some(registry) if registry.revertible_for.is_some() => {
            let names = registry.names(state.name());
            !Table::exists(session, &names.shadow).await?
                && Table::exists(session, &names.old).await?
        }
        _ => false,
    };
    if !guarded {
        return RunLock::acquire(server, table).await;
    }
    tracing::info!("asking the process that guards {table} to stop");
    let began = Instant::now();
    loop {
        // A process that is just beginning takes no notice of what was asked before.
        state.command(session, Command::Stop, "revert").await?;
        match RunLock::acquire_within(ASK_AGAIN, server, table).await {
            Err(error) if error.kind() == Kind::Refused && began.elapsed() < HANDOVER => {}
            taken => return taken,
        }
    }
}

/// Reads what an earlier process has left of a swapped run, and checks that it can be gone on with.
async fn take_over(
    mut session: Session,
    earlier: Option<Earlier>,
    table: &TableName,
    lock: &RunLock,
) -> Result<Way> {
    let none = |why: &str| {
        Error::refused(format!("there is nothing to revert on {table}: {why}")).remedy(
            "A run can be reverted that was begun with --revertible, until that time is over.",
        )
    };
    let Some(Earlier { registry, names, agreed, swapped, .. }) = earlier else {
        return Err(none("no run has left its state"));
    };
    let (Some(agreed), true) = (agreed, swapped) else {
        return Err(none("the run has not swapped the tables yet; `replank abort` undoes it"));
    };
    let Some(seconds) = registry.revertible_for else {
        return Err(none("the run was not begun with --revertible"));
    };
    if is_marked(&mut session, &names.old).await? {
        return Err(none("the time in which it could be reverted is over"));
    }
    let state = StateTable::at(names.state.clone());
    let facts = ServerFacts::read(&mut session).await?;
    let back = names.back();
    let began = guarded_since(&mut session, &state, &facts, &back, &agreed).await?;
    let Some((last_heartbeat, checkpoint)) = state.checkpoint(&mut session).await? else {
        return Err(none("its checkpoint is gone"));
    };
    if !has_binlog(&mut session, &checkpoint.position).await? {
        return Err(none(&format!(
            "the binlog {} that it has to read is purged",
            checkpoint.position.file
        )));
    }
    let noted = state.misfits(&mut session).await?;
    let read = async |session: &mut Session, name: &TableName| {
        Table::read(session, name).await?.ok_or_else(|| Error::refused(format!("{name} is gone")))
    };
    let new = read(&mut session, &back.source).await?;
    let old = read(&mut session, &back.shadow).await?;
    let alter = AlterStatement::parse_clauses(&registry.alter, facts.dialect())?;
    let mut plan = Plan::back(back, new, old, &alter)?;
    let settings = settings(&mut plan, &agreed)?;
    let elapsed: Option<u64> = session
        .exec_first("SELECT GREATEST(TIMESTAMPDIFF(SECOND, ?, UTC_TIMESTAMP(6)), 0)", (began,))
        .await
        .map_err(|e| to_error(e, "reading the time"))?;
    let left = Duration::from_secs(seconds.saturating_sub(elapsed.unwrap_or_default()));
    let start_rows = checkpoint.rows_copied;
    let start = Start {
        position: checkpoint.position,
        behind_swap: checkpoint.behind_swap,
        unstarted: Vec::new(),
        last_chunk: 0,
        last_heartbeat,
        rows_copied: checkpoint.rows_copied,
        keys_replayed: checkpoint.keys_replayed,
    };
    let mark = crate::state::run_mark(&registry.run);
    let context = Context {
        plan: Arc::new(plan),
        state,
        owner: lock.owner(),
        part: Part::Guard,
        deferred: Arc::default(),
        mark,
    };
    let prepared = Prepared { facts, registry, context, settings };
    Ok(Way { session, prepared, start, noted, start_rows, left })
}

/// When the guard began (UTC), by the terms that it then wrote down; the first one writes them.
async fn guarded_since(
    session: &mut Session,
    state: &StateTable,
    facts: &ServerFacts,
    back: &Names,
    there: &Terms,
) -> Result<String> {
    let earlier = state.terms(session, Part::Guard).await?;
    let began = match &earlier {
        Some(terms) => terms.started_at.clone(),
        None => session
            .query_first("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%d %H:%i:%s.%f')")
            .await
            .map_err(|e| to_error(e, "reading the time"))?
            .unwrap_or_default(),
    };
    let now = terms(session, facts, back, &began, &there.time_zone).await?;
    match earlier {
        None => state.agree(session, Part::Guard, &now).await?,
        Some(earlier) => {
            if let Some(why) = earlier.broken_by(&now) {
                return Err(Error::refused(format!("{} cannot be reverted: {why}", back.source))
                    .remedy(
                        "`replank cleanup` gives the revert up and keeps both tables as they are.",
                    ));
            }
        }
    }
    Ok(began)
}
