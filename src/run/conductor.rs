//! The conductor: one thread that owns the ledger, hears from the stream and from the hands, and
//! decides what each hand does next.
//!
//! It is a loop of two steps: hand out work to whoever is idle, then wait for the next event. All state
//! of the run lives here, so nothing needs a lock; all I/O is done by the hands and the stream. The
//! decisions of the cut-over are in the module `cut_over`.

mod cut_over;
mod hand_out;

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};

use super::checkpointing::{Checkpointing, Place};
use super::copying::Copying;
use super::guarding::{Goal, Guarding};
use super::hands::Hands;
use super::heart::{Heart, Need};
use super::indexing::Indexing;
use super::job::{Message, Report, Role};
use super::pacing::{Allowance, Pacing};
use super::start::Start;
use super::swapping::{Step, Swapping};
use super::tally::Tally;
use super::verifying::Verifying;
use crate::error::{Error, Kind, Result};
use crate::indexes::Built;
use crate::key::Key;
use crate::ledger::{Ledger, Seq};
use crate::pace::Sizer;
use crate::progress::{Phase, Progress};
use crate::state::{Checkpoint, Command, now};
use crate::stream::Delivery;

/// The least time between two replays, in which changes of one row collapse into one.
const COALESCE: Duration = Duration::from_millis(50);
/// The most changed keys in one batch.
const MAX_BATCH: u64 = 2_000;
/// How much longer than a chunk's copy the comparison of a range may take: it holds no locks, and each one costs
/// a few statements whatever its size.
const COMPARED: u32 = 5;
/// The largest chunk, in rows.
const MAX_CHUNK: u64 = 200_000;
/// How long the first heartbeat may take to come back: the stream may have a long way to go after a stop, but
/// heartbeats of before count as well.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(300);
/// So many changed keys may wait before the stream has to: about 110 bytes each.
const MAX_BACKLOG: usize = 1_000_000;
/// Edges to know ahead of the copiers.
const EDGES_AHEAD: usize = 2;

/// What the conductor listens to.
pub(crate) struct Inputs {
    pub(crate) deliveries: Receiver<Result<Delivery>>,
    pub(crate) messages: Receiver<Message>,
    pub(crate) stop: Receiver<()>,
}

/// Limits that the operator set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) chunk_time: Duration,
    pub(crate) lock_wait: Duration,
    pub(crate) allowance: Allowance,
    /// How many indexes are to be built after the copy.
    pub(crate) deferred: usize,
    /// Replaying several batches at once is right only where rows cannot stand in each other's way.
    pub(crate) parallel_replay: bool,
}

pub(crate) struct Conductor {
    ledger: Ledger<Key>,
    hands: Hands,
    heart: Heart,
    phase: Phase,
    copying: Copying,
    indexing: Indexing,
    verifying: Verifying,
    swapping: Swapping,
    batch_sizer: Sizer,
    last_replay: Instant,
    replays: usize,
    limits: Limits,
    guarding: Guarding,
    pacing: Pacing,
    progress: Progress,
    tally: Tally,
    phase_began: Instant,
    checkpointing: Checkpointing,
    start: Start,
    /// The heartbeat of an earlier process that has to come back before any of this one's.
    proof: Option<u64>,
    /// A transaction that may have changed any row: a verification that begins when it is visible finds
    /// them.
    unknown: Option<Seq>,
    /// Whether another process asked this one to stop.
    told_to_stop: bool,
}

impl Conductor {
    pub(crate) fn new(
        start: Start,
        hands: Hands,
        limits: Limits,
        guarding: Guarding,
        progress: Progress,
    ) -> Self {
        let chunk = Sizer::new(limits.chunk_time, 1_000, MAX_CHUNK);
        Conductor {
            ledger: start.ledger(),
            hands,
            heart: Heart::after(start.last_heartbeat),
            phase: Phase::Copy,
            copying: Copying::new(chunk),
            indexing: Indexing::new(limits.deferred),
            verifying: Verifying::new(Sizer::new(limits.chunk_time * COMPARED, 1_000, MAX_CHUNK)),
            swapping: Swapping::new(limits.lock_wait),
            batch_sizer: Sizer::new(limits.chunk_time, 200, MAX_BATCH),
            last_replay: Instant::now(),
            replays: 0,
            limits,
            guarding,
            pacing: Pacing::new(limits.allowance),
            progress,
            tally: Tally::default(),
            phase_began: Instant::now(),
            checkpointing: Checkpointing::new(start.position.clone(), start.behind_swap),
            proof: Some(start.last_heartbeat).filter(|last| *last > 0),
            unknown: None,
            told_to_stop: false,
            start,
        }
    }

    /// Runs until the tables are swapped, or the guard's time is over.
    ///
    /// # Errors
    /// Interrupted on a stop; otherwise as the hand or the stream that failed reported it.
    pub(crate) fn conduct(mut self, inputs: Inputs) -> Result<Tally> {
        self.progress.enter(Phase::Copy);
        let mut stopping = false;
        let unwanted = crossbeam_channel::never();
        while self.swapping.step != Step::Swapped && !self.is_guarded_enough() {
            if stopping && !self.swapping.is_swapping() {
                return Err(Error::new(Kind::Interrupted, "stopped on request"));
            }
            self.advance()?;
            self.hand_out();
            self.publish();
            let pause = self.pause();
            // A rename that was sent cannot be called back: its answer is awaited, whatever else
            // happens. What the stream says meanwhile is about the new table already.
            let deliveries = if self.swapping.is_swapping() || self.is_full() {
                &unwanted
            } else {
                &inputs.deliveries
            };
            select! {
                recv(deliveries) -> delivery => match delivery {
                    Ok(delivery) => self.delivered(delivery?)?,
                    Err(_) => return Err(Error::failed("the binlog stream ended")),
                },
                recv(inputs.messages) -> message => match message {
                    Ok(message) => self.reported(message)?,
                    Err(_) => return Err(Error::failed("every connection to the server has ended")),
                },
                recv(inputs.stop) -> _ => stopping = true,
                default(pause) => {}
            }
            stopping |= self.told_to_stop;
        }
        self.close_phase();
        self.progress.enter(Phase::Done);
        self.tally.chunks = self.copying.chunks;
        self.tally.attempts = self.swapping.attempts;
        self.tally.lock_queued = self.swapping.lock_queued;
        self.tally.lock_held = self.swapping.lock_held;
        self.tally.rows_repaired = self.verifying.suspects.repaired();
        Ok(self.tally)
    }

    // ---- events -------------------------------------------------------------------------------

    fn delivered(&mut self, delivery: Delivery) -> Result<()> {
        for (key, seq) in delivery.changes {
            self.verifying.change(&key, seq);
            self.ledger.change(key, seq);
        }
        // What stands before this process's first heartbeat was meant for an earlier one.
        let addressed = self.heart.seen() > self.start.last_heartbeat;
        if addressed && delivery.commands.contains(&Command::Stop) {
            tracing::warn!("another process asks this one to stop");
            self.told_to_stop = true;
        }
        if let Some(seq) = delivery.swapped {
            self.checkpointing.swapped(seq);
        }
        for (id, seq) in delivery.heartbeats {
            self.prove(id)?;
            self.ledger.heartbeat_seen(id, seq);
            self.heart.came_back(id, seq);
        }
        self.ledger.transaction_end(delivery.received);
        self.checkpointing.delivered(delivery.boundary, &delivery.xa);
        if delivery.statement {
            self.guarding.permit_statement()?;
        }
        self.unknown = delivery.unknown.or(self.unknown);
        self.verifying.judge(&mut self.ledger, self.heart.seen())
    }

    /// A run that goes on has to find the last heartbeat of before in the binlog: else this is not the
    /// binlog that it was reading, and changes may be missing from it.
    fn prove(&mut self, id: u64) -> Result<()> {
        match self.proof {
            Some(last) if id == last => self.proof = None,
            Some(last) if id > last => {
                return Err(Error::failed(format!(
                    "the binlog does not hold heartbeat {last}, which the stopped run had written: it \
                     was reset, or this is another server"
                ))
                .remedy("Start over with --restart.")
                .keeping_progress());
            }
            _ => {}
        }
        Ok(())
    }

    /// On the way back, the run's own RENAME has to have come before this process's heartbeats: up to there,
    /// no row of the source counts.
    fn prove_swap(&self) -> Result<()> {
        if self.heart.seen() <= self.start.last_heartbeat || self.checkpointing.knows_swap() {
            return Ok(());
        }
        Err(Error::failed("the binlog does not hold the swap of the tables where it has to be")
            .remedy(
                "`replank cleanup` gives the revert up; please report this with the output of -vv.",
            )
            .keeping_progress())
    }

    fn reported(&mut self, message: Message) -> Result<()> {
        self.hands.done(message.from);
        if let Step::Draining { granted, .. } | Step::Swapping { granted, .. } = &self.swapping.step
        {
            tracing::debug!(under_lock = ?granted.elapsed(), backlog = self.ledger.backlog(),
                from = ?message.from, report = message.report.name(), "cut-over");
        }
        match message.report {
            Report::Edge(edge) if self.phase == Phase::Copy => self.copying.found(edge),
            Report::Edge(edge) => self.verifying.found(edge),
            Report::Copied { chunk, rows, took } => {
                self.pacing.worked(rows, took, 1);
                self.ledger.finish_chunk(chunk);
                self.copying.sizer.observe(rows, took);
                self.tally.rows_copied += rows;
            }
            Report::CopyConflicts { chunk, range, keys } => {
                self.copying.block(&mut self.ledger, chunk, range, keys);
            }
            Report::Replayed { batch, keys, took, misfits } => {
                let replayed = self.ledger.batch_done(batch);
                self.guarding.replayed(&replayed, misfits);
                self.verifying.replayed(replayed);
                self.batch_sizer.observe(keys as u64, took);
                self.pacing.replayed();
                self.tally.keys_replayed += keys as u64;
                self.replays -= 1;
            }
            Report::ReplayDeferred { batch } => {
                self.ledger.batch_failed(batch);
                self.replays -= 1;
            }
            Report::IndexesBuilt(Built::All) => self.indexing.done(),
            Report::IndexesBuilt(Built::LogFull) => self.indexing.begin_again_quietly(),
            Report::ShareBuilt(share) => self.indexing.looked(share),
            Report::RangeCompared { ticket, compared, took } => {
                self.pacing.worked(compared.rows, took, 0);
                self.verifying.sizer.observe(compared.rows, took);
                self.tally.rows_verified += compared.rows;
                self.verifying.compared(&mut self.ledger, ticket, compared);
            }
            Report::KeysCompared { keys, compared } => self.keys_compared(keys, compared),
            Report::Heartbeat { id } => {
                let took = self.heart.committed();
                self.pacing.committed(took);
                self.ledger.heartbeat_acked(id);
            }
            Report::Lock(granted) => self.lock_answered(granted)?,
            Report::AutoIncrementCarried => {}
            Report::Unlocked => self.attempt_ended("the last changes did not arrive in time")?,
            Report::AttemptFailed { batch, error } => {
                if let Some(batch) = batch {
                    self.ledger.batch_failed(batch);
                    self.replays -= 1;
                }
                self.attempt_ended(&error.to_string())?;
            }
            Report::Swapped => {
                if let Step::Swapping { asked, granted } = self.swapping.step {
                    self.swapping.lock_queued = granted - asked;
                    self.swapping.lock_held = granted.elapsed();
                }
                self.swapping.step = Step::Swapped;
            }
            // While the rename is under way only its own answer counts.
            Report::Failed(error)
                if self.swapping.is_swapping() && message.from != Role::Cutter =>
            {
                tracing::warn!(%error, "during the swap");
            }
            Report::Failed(error) => return Err(error),
        }
        Ok(())
    }

    fn keys_compared(&mut self, keys: Vec<Key>, compared: crate::verify::Compared) {
        if let Step::Draining { looking, .. } = &mut self.swapping.step {
            // Under the lock nothing changes: what differs now is replayed and looked at again.
            *looking = (!compared.differing.is_empty()).then_some(keys);
            for key in compared.differing {
                self.ledger.touch(key);
            }
        } else {
            self.verifying.looked(keys, compared, self.heart.next());
        }
    }

    // ---- decisions ----------------------------------------------------------------------------

    /// Goes on to the next phase or step where the present one is complete.
    fn advance(&mut self) -> Result<()> {
        if self.ledger.visible() == 0 && self.phase_began.elapsed() > FIRST_HEARTBEAT {
            return Err(Error::failed(format!(
                "no heartbeat has come back through the binlog within {} s",
                FIRST_HEARTBEAT.as_secs()
            ))
            .remedy(
                "Look whether the server filters its binlog (SHOW BINARY LOG STATUS: Binlog_Do_DB, \
                 Binlog_Ignore_DB), and whether it is far behind in sending it.",
            )
            .keeping_progress());
        }
        let certain = self.unknown.is_none_or(|seq| seq <= self.ledger.visible());
        match self.phase {
            Phase::Copy if self.guarding.goal() != Goal::Migrate => {
                let phase = match self.guarding.goal() {
                    Goal::Revert { .. } => Phase::CutOver,
                    _ => Phase::Guard,
                };
                self.enter(phase);
            }
            // The swap waited for every transaction on the new table to end, so what was prepared before it
            // has changed other tables.
            Phase::Guard | Phase::CutOver if self.guarding.goal() != Goal::Migrate => {
                self.unknown = None;
                self.prove_swap()?;
                if !self.swapping.reserves_replay() {
                    self.guarding.permit_revert()?;
                }
                if self.phase == Phase::CutOver {
                    self.advance_cut_over();
                }
            }
            Phase::Copy if certain && self.ledger.is_copied() && !self.copying.is_blocked() => {
                self.unknown = None;
                self.enter(if self.indexing.is_done() { Phase::Verify } else { Phase::Index });
            }
            Phase::Index if self.indexing.is_done() => self.enter(Phase::Verify),
            Phase::Verify | Phase::CutOver
                if certain && self.unknown.is_some() && !self.swapping.reserves_replay() =>
            {
                tracing::warn!(
                    "a transaction of which it is not known what it changed was committed (XA, prepared \
                     before the run began, or a statement in STATEMENT format): the verification begins again"
                );
                self.unknown = None;
                self.verifying.begin_again()?;
                self.enter(Phase::Verify);
            }
            _ if self.unknown.is_some() => {}
            Phase::Verify if self.verifying.is_done() => {
                self.enter(Phase::CutOver);
                self.swapping.step = Step::CatchingUp { since: Instant::now() };
            }
            Phase::CutOver => self.advance_cut_over(),
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, phase: Phase) {
        self.close_phase();
        self.phase = phase;
        self.phase_began = Instant::now();
        self.progress.enter(phase);
    }

    fn close_phase(&mut self) {
        let took = self.phase_began.elapsed();
        match self.phase {
            Phase::Copy => self.tally.copy = took,
            Phase::Index => self.tally.index = took,
            Phase::Verify => self.tally.verify = took,
            Phase::CutOver => self.tally.cut_over = took,
            Phase::Prepare | Phase::Guard | Phase::Done => {}
        }
    }

    /// How eagerly the next heartbeat is awaited.
    fn need(&self) -> Need {
        let waiting = match &self.swapping.step {
            // One heartbeat says it all; more of them would only compete with the last replays. Rows
            // that a last look found to differ are the exception.
            Step::Draining { heartbeat, .. } => match self.heart.seen_since(*heartbeat) {
                Some(seq) => {
                    self.ledger.visible() < seq || (self.replays == 0 && self.ledger.backlog() > 0)
                }
                None => true,
            },
            _ => false,
        };
        if self.swapping.is_swapping() {
            // The rename consists of a few syncs to disk, and every commit beside it makes them wait.
            Need::Idle
        } else if waiting
            || self.ledger.visible() == 0
            || self.unknown.is_some()
            || self.verifying.wants_heartbeat()
        {
            Need::Urgent
        } else if self.phase == Phase::CutOver || self.pacing.is_watching() {
            Need::Watchful
        } else if self.ledger.wants_heartbeat() || self.phase < Phase::CutOver {
            Need::Wanted
        } else {
            Need::Idle
        }
    }

    /// How long to wait for an event before looking at the clock again.
    fn pause(&self) -> Duration {
        let heartbeat = if self.hands.is_idle(Role::Heart) {
            self.heart.due_in(self.need())
        } else {
            Duration::from_millis(100)
        };
        let rest = match self.pacing.rest() {
            Duration::ZERO => COALESCE,
            rest => rest,
        };
        heartbeat.min(rest).clamp(Duration::from_millis(1), COALESCE)
    }

    /// A checkpoint, if one is due. There is none under the cut-over's lock, where every byte of a commit
    /// is waited for.
    fn checkpoint(&mut self) -> Option<Checkpoint> {
        if !self.checkpointing.is_due() || self.swapping.reserves_replay() {
            return None;
        }
        self.checkpointing.begun();
        let Place { position, behind_swap } = self.checkpointing.place(self.ledger.safe_position());
        let shown = self.progress.snapshot();
        Some(Checkpoint {
            position,
            behind_swap,
            phase: self.phase,
            rows_copied: shown.rows_copied,
            rows_estimated: shown.rows_estimated,
            rows_verified: shown.rows_verified,
            keys_replayed: shown.keys_replayed,
            backlog: shown.backlog,
            waiting: self.waiting(),
            pace: self.pacing.words(),
            written: now(),
        })
    }

    /// Whether so many changed keys wait that no more are taken from the stream: it waits then, and memory stays
    /// bounded. While nothing is being replayed it goes on, for what is due may wait for a heartbeat.
    fn is_full(&self) -> bool {
        self.ledger.backlog() >= MAX_BACKLOG && self.replays > 0
    }

    fn is_guarded_enough(&self) -> bool {
        self.phase == Phase::Guard && self.guarding.is_over()
    }

    fn waiting(&self) -> Option<String> {
        if self.phase == Phase::Guard {
            return self.guarding.words();
        }
        if self.phase == Phase::Index {
            return Some(self.indexing.words());
        }
        match &self.swapping.step {
            Step::Pausing { .. } => Some("pausing before the next cut-over attempt".to_owned()),
            Step::CatchingUp { .. } if self.phase == Phase::CutOver => {
                Some("waiting for a quiet moment".to_owned())
            }
            Step::Locking { .. } => Some("waiting for the table lock".to_owned()),
            _ => None,
        }
    }

    fn publish(&self) {
        self.progress.update(|snapshot| {
            snapshot.rows_copied = self.start.rows_copied + self.tally.rows_copied;
            snapshot.rows_verified = self.tally.rows_verified;
            snapshot.keys_replayed = self.start.keys_replayed + self.tally.keys_replayed;
            snapshot.backlog = self.ledger.backlog() as u64;
            snapshot.stream_lag = self.heart.lag();
            snapshot.waiting = self.waiting();
            snapshot.pace = self.pacing.words();
        });
    }
}
