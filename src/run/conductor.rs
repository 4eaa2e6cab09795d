//! The conductor: one thread that owns the ledger, hears from the stream and from the hands, and
//! decides what each hand does next.
//!
//! It is a loop of two steps: hand out work to whoever is idle, then wait for the next event. All state
//! of the run lives here, so nothing needs a lock; all I/O is done by the hands and the stream.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};

use super::copying::Copying;
use super::hands::Hands;
use super::heart::{Heart, Need};
use super::job::{Job, Message, Report, Role};
use super::swapping::{Step, Swapping};
use super::tally::Tally;
use super::verifying::Verifying;
use crate::error::{Error, Kind, Result};
use crate::key::Key;
use crate::ledger::Ledger;
use crate::pace::Sizer;
use crate::progress::{Phase, Progress};
use crate::stream::Delivery;

/// The least time between two replays, in which changes of one row collapse into one.
const COALESCE: Duration = Duration::from_millis(50);
/// The most changed keys in one batch.
const MAX_BATCH: u64 = 2_000;
/// The largest chunk, in rows.
const MAX_CHUNK: u64 = 200_000;
/// Edges to know ahead of the copiers.
const EDGES_AHEAD: usize = 2;

/// What the conductor listens to.
pub(crate) struct Inputs {
    pub(crate) deliveries: Receiver<Result<Delivery>>,
    pub(crate) messages: Receiver<Message>,
    pub(crate) stop: Receiver<()>,
}

/// Limits that the operator set.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) chunk_time: Duration,
    pub(crate) lock_wait: Duration,
    /// Replaying several batches at once is right only where rows cannot stand in each other's way.
    pub(crate) parallel_replay: bool,
}

pub(crate) struct Conductor {
    ledger: Ledger<Key>,
    hands: Hands,
    heart: Heart,
    phase: Phase,
    copying: Copying,
    verifying: Verifying,
    swapping: Swapping,
    batch_sizer: Sizer,
    last_replay: Instant,
    replays: usize,
    limits: Limits,
    progress: Progress,
    tally: Tally,
    phase_began: Instant,
}

impl Conductor {
    pub(crate) fn new(hands: Hands, limits: Limits, progress: Progress) -> Self {
        let chunk = Sizer::new(limits.chunk_time, 1_000, MAX_CHUNK);
        Conductor {
            ledger: Ledger::new(),
            hands,
            heart: Heart::new(),
            phase: Phase::Copy,
            copying: Copying::new(chunk.clone()),
            verifying: Verifying::new(chunk),
            swapping: Swapping::new(limits.lock_wait),
            batch_sizer: Sizer::new(limits.chunk_time, 200, MAX_BATCH),
            last_replay: Instant::now(),
            replays: 0,
            limits,
            progress,
            tally: Tally::default(),
            phase_began: Instant::now(),
        }
    }

    /// Runs until the tables are swapped.
    ///
    /// # Errors
    /// Interrupted on a stop; otherwise as the hand or the stream that failed reported it.
    pub(crate) fn conduct(mut self, inputs: Inputs) -> Result<Tally> {
        self.progress.enter(Phase::Copy);
        let mut stopping = false;
        let unwanted = crossbeam_channel::never();
        while self.swapping.step != Step::Swapped {
            if stopping && !self.swapping.is_swapping() {
                return Err(Error::new(Kind::Interrupted, "stopped on request"));
            }
            self.advance()?;
            self.hand_out();
            self.publish();
            let pause = self.pause();
            // A rename that was sent cannot be called back: its answer is awaited, whatever else
            // happens. What the stream says meanwhile is about the new table already.
            let deliveries =
                if self.swapping.is_swapping() { &unwanted } else { &inputs.deliveries };
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
        for (id, seq) in delivery.heartbeats {
            self.ledger.heartbeat_seen(id, seq);
            self.heart.came_back(id, seq);
        }
        self.ledger.transaction_end(delivery.received);
        self.verifying.judge(&mut self.ledger, self.heart.seen())
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
                self.ledger.finish_chunk(chunk);
                self.copying.sizer.observe(rows, took);
                self.tally.rows_copied += rows;
            }
            Report::CopyConflicts { chunk, range, keys } => {
                self.copying.block(&mut self.ledger, chunk, range, keys);
            }
            Report::Replayed { batch, keys, took } => {
                let replayed = self.ledger.batch_done(batch);
                self.verifying.replayed(replayed);
                self.batch_sizer.observe(keys as u64, took);
                self.tally.keys_replayed += keys as u64;
                self.replays -= 1;
            }
            Report::ReplayDeferred { batch } => {
                self.ledger.batch_failed(batch);
                self.replays -= 1;
            }
            Report::RangeCompared { ticket, compared, took } => {
                self.verifying.sizer.observe(compared.rows, took);
                self.tally.rows_verified += compared.rows;
                self.verifying.compared(&mut self.ledger, ticket, compared);
            }
            Report::KeysCompared { keys, compared } => self.keys_compared(keys, compared),
            Report::Heartbeat { id } => {
                self.heart.committed();
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

    fn lock_answered(&mut self, granted: bool) -> Result<()> {
        let Step::Locking { asked } = self.swapping.step else { return Ok(()) };
        if !granted {
            return self.attempt_ended(
                "a transaction or a long statement on the table held it; the lock was given up",
            );
        }
        let suspects = self.verifying.suspects.keys();
        self.swapping.step = Step::Draining {
            asked,
            granted: Instant::now(),
            heartbeat: self.heart.next(),
            looking: (!suspects.is_empty()).then_some(suspects),
        };
        Ok(())
    }

    fn attempt_ended(&mut self, why: &str) -> Result<()> {
        let attempts = self.swapping.attempts;
        match self.swapping.back_off() {
            Some(pause) => {
                tracing::warn!(
                    attempts,
                    ?pause,
                    why,
                    "cut-over given up for now; it will be tried again"
                );
                Ok(())
            }
            None => Err(Error::failed(format!(
                "the cut-over failed {attempts} times, at last: {why}"
            ))
            .remedy(
                "Look for long transactions on the table (information_schema.innodb_trx), or \
                     raise --lock-wait, and start again.",
            )),
        }
    }

    // ---- decisions ----------------------------------------------------------------------------

    /// Goes on to the next phase or step where the present one is complete.
    fn advance(&mut self) -> Result<()> {
        match self.phase {
            Phase::Copy if self.ledger.is_copied() && !self.copying.is_blocked() => {
                self.enter(Phase::Verify);
            }
            Phase::Verify if self.verifying.is_done() => {
                self.enter(Phase::CutOver);
                self.swapping.step = Step::CatchingUp { since: Instant::now() };
            }
            Phase::CutOver => self.advance_cut_over(),
            _ => {}
        }
        Ok(())
    }

    fn advance_cut_over(&mut self) {
        match &self.swapping.step {
            Step::Pausing { until } if Instant::now() >= *until => {
                self.swapping.step = Step::CatchingUp { since: Instant::now() };
            }
            Step::CatchingUp { .. }
                if !self.swapping.carried && self.hands.is_idle(Role::Cutter) =>
            {
                self.swapping.carried = true;
                self.hands.give(Role::Cutter, Job::CarryAutoIncrement);
            }
            Step::CatchingUp { .. } if self.is_ready_to_lock() && self.replays == 0 => {
                self.swapping.attempts += 1;
                self.swapping.carried = false;
                self.swapping.step = Step::Locking { asked: Instant::now() };
                let wait =
                    u32::try_from(self.limits.lock_wait.as_secs()).unwrap_or(u32::MAX).max(1);
                self.hands.give(Role::Cutter, Job::Lock { wait });
            }
            _ => {}
        }
    }

    /// Whether so little is left, and the server so calm, that the lock may be asked for. Then no
    /// replay is begun any more, and those under way come to their end.
    fn is_ready_to_lock(&self) -> bool {
        self.phase == Phase::CutOver
            && matches!(self.swapping.step, Step::CatchingUp { .. })
            && self.swapping.carried
            && self.hands.is_idle(Role::Cutter)
            && self.ledger.backlog() <= self.swapping.tolerated_backlog()
            && (self.heart.is_calm() || self.swapping.is_impatient())
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
            Phase::Verify => self.tally.verify = took,
            Phase::CutOver => self.tally.cut_over = took,
            Phase::Prepare | Phase::Done => {}
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
        } else if waiting || self.ledger.visible() == 0 || self.verifying.wants_heartbeat() {
            Need::Urgent
        } else if self.phase == Phase::CutOver {
            Need::Watchful
        } else if self.ledger.wants_heartbeat() {
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
        heartbeat.clamp(Duration::from_millis(1), COALESCE)
    }

    fn hand_out(&mut self) {
        if self.hands.is_idle(Role::Heart) && self.heart.due_in(self.need()).is_zero() {
            let id = self.heart.send();
            self.hands.give(Role::Heart, Job::Heartbeat { id });
        }
        // The first heartbeat proves that the stream works, and that everything before it is visible.
        if self.ledger.visible() == 0 {
            return;
        }
        if !self.swapping.reserves_replay() && !self.is_ready_to_lock() {
            self.hand_out_replay();
        }
        match self.phase {
            Phase::Copy => self.hand_out_copy(),
            Phase::Verify => self.hand_out_verify(),
            Phase::CutOver => self.hand_out_cut_over(),
            Phase::Prepare | Phase::Done => {}
        }
    }

    fn hand_out_replay(&mut self) {
        let eager = self.phase == Phase::CutOver || self.copying.is_blocked();
        let limit = self.batch_sizer.rows() as usize;
        if !eager && self.ledger.backlog() < limit && self.last_replay.elapsed() < COALESCE {
            return;
        }
        while let Some(hand) = self.hands.idle_replayer() {
            if self.replays > 0 && !self.limits.parallel_replay {
                break;
            }
            let Some(batch) = self.ledger.next_batch(limit) else { break };
            self.last_replay = Instant::now();
            self.replays += 1;
            self.hands.give(hand, Job::Replay { batch: batch.id, keys: batch.keys });
        }
    }

    fn hand_out_copy(&mut self) {
        while let Some(hand) = self.hands.idle_copier() {
            let Some(job) = self.copying.next(&mut self.ledger) else { break };
            self.hands.give(hand, job);
        }
        if self.hands.is_idle(Role::Scout)
            && let Some(job) = self.copying.seek(&self.ledger, self.hands.copiers() + EDGES_AHEAD)
        {
            self.hands.give(Role::Scout, job);
        }
    }

    fn hand_out_verify(&mut self) {
        while let Some(hand) = self.hands.idle_copier() {
            let Some(job) = self.verifying.next(&self.ledger) else { break };
            self.hands.give(hand, job);
        }
        if self.hands.is_idle(Role::Scout)
            && let Some(job) = self.verifying.seek(self.hands.copiers() + EDGES_AHEAD)
        {
            self.hands.give(Role::Scout, job);
        }
    }

    fn hand_out_cut_over(&mut self) {
        if !self.hands.is_idle(Role::Cutter) {
            return;
        }
        let overdue = self.swapping.is_overdue();
        let Step::Draining { asked, granted, heartbeat, looking } = &mut self.swapping.step else {
            return;
        };
        if overdue {
            self.swapping.step = Step::Unlocking;
            self.hands.give(Role::Cutter, Job::Unlock);
            return;
        }
        if let Some(batch) = self.ledger.next_batch(MAX_BATCH as usize) {
            self.replays += 1;
            self.hands.give(Role::Cutter, Job::Replay { batch: batch.id, keys: batch.keys });
            return;
        }
        // Everything was delivered that was written before the lock, it is visible, and nothing is
        // left to replay.
        let delivered = self.heart.seen_since(*heartbeat);
        if !delivered.is_some_and(|seq| self.ledger.is_drained(seq)) {
            return;
        }
        if let Some(keys) = looking.clone() {
            self.hands.give(Role::Cutter, Job::CompareKeys { keys });
            return;
        }
        self.swapping.step = Step::Swapping { asked: *asked, granted: *granted };
        self.hands.give(Role::Cutter, Job::Swap);
    }

    fn publish(&self) {
        let waiting = match &self.swapping.step {
            Step::Pausing { .. } => Some("pausing before the next cut-over attempt".to_owned()),
            Step::CatchingUp { .. } if self.phase == Phase::CutOver => {
                Some("waiting for a quiet moment".to_owned())
            }
            Step::Locking { .. } => Some("waiting for the table lock".to_owned()),
            _ => None,
        };
        self.progress.update(|snapshot| {
            snapshot.rows_copied = self.tally.rows_copied;
            snapshot.rows_verified = self.tally.rows_verified;
            snapshot.keys_replayed = self.tally.keys_replayed;
            snapshot.backlog = self.ledger.backlog() as u64;
            snapshot.stream_lag = self.heart.lag();
            snapshot.waiting = waiting;
        });
    }
}
