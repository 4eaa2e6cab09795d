//! The conductor: one thread that owns the ledger, hears from the stream and from the hands, and
//! decides what each hand does next.
//!
//! It is a loop of two steps: hand out work to whoever is idle, then wait for the next event. All state
//! of the run lives here, so nothing needs a lock; all I/O is done by the hands and the stream. The
//! decisions of the cut-over are in the module `cut_over`, those about who does what in `hand_out`.

mod cut_over;
mod hand_out;
mod hearing;
mod telling;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};

use super::checkpointing::Checkpointing;
use super::copying::Copying;
use super::guarding::{Goal, Guarding};
use super::hands::Hands;
use super::heart::{Heart, Need};
use super::indexing::Indexing;
use super::job::{Message, Role};
use super::pacing::{Allowance, Pacing};
use super::start::Start;
use super::swapping::{Step, Swapping};
use super::tally::Tally;
use super::verifying::Verifying;
use crate::control::{Control, Ending, Orders};
use crate::error::{Error, Kind, Result};
use crate::key::Key;
use crate::ledger::{Ledger, Range, Seq};
use crate::pace::Sizer;
use crate::progress::{Phase, Progress};
use crate::stream::Delivery;
use crate::throttle::Beats;

/// The least time between two replays, in which changes of one row collapse into one.
const COALESCE: Duration = Duration::from_millis(50);
/// The most changed keys in one batch.
const MAX_BATCH: u64 = 2_000;
/// The comparison of a range takes half as long as a chunk's copy: it needs no commit, and where all processors are
/// busy, a transaction of the application waits for a statement that has one of them. Where rows are converted it
/// takes longer: each one costs a scratch table, whatever its size.
const COMPARED: f64 = 0.5;
const CONVERTED: f64 = 6.0;
/// How much longer a chunk takes on a server that nobody else works on: its commit, and the answers in between, cost
/// the same whatever its size (measured: copying in chunks of 20 ms takes a third longer than in chunks of 80 ms).
const ALONE: u32 = 2;
/// The largest chunk, in rows.
const MAX_CHUNK: u64 = 200_000;
/// How long the first heartbeat may take to come back: the stream may have a long way to go after a stop, but
/// heartbeats of before count as well.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(300);
/// Of so many changed keys that are neighbours, one is kept when they are condensed.
const RUN: usize = 500;
/// Keys that are listed of each table in one statement.
const LISTED: usize = 5_000;
/// So many condensed keys take no more room than one that is held by itself.
const CONDENSED_TO: usize = 10;
/// With more changed keys than this, comparisons wait.
const FAR_BEHIND: usize = 100_000;
/// Edges to know ahead of the copiers.
const EDGES_AHEAD: usize = 2;

/// What the conductor listens to.
pub(crate) struct Inputs {
    pub(crate) deliveries: Receiver<Result<Delivery>>,
    pub(crate) messages: Receiver<Message>,
}

/// What does not change while a run goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) lock_wait: Duration,
    /// How many indexes are to be built after the copy.
    pub(crate) deferred: usize,
    /// Replaying several batches at once is right only where rows cannot stand in each other's way.
    pub(crate) parallel_replay: bool,
    /// Whether rows are converted to be compared.
    pub(crate) converts: bool,
}

impl Limits {
    /// How long the comparison of a range should take.
    fn compare_time(&self, chunk_time: Duration) -> Duration {
        chunk_time.mul_f64(if self.converts { CONVERTED } else { COMPARED })
    }
}

/// What the conductor shares with those who watch and steer the run.
pub(crate) struct Shared {
    pub(crate) progress: Progress,
    pub(crate) control: Control,
    /// The orders that the run begins with.
    pub(crate) orders: Orders,
    pub(crate) beats: Beats,
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
    /// The chunks that a sample has copied.
    sampled: VecDeque<Range<Key>>,
    batch_sizer: Sizer,
    last_replay: Instant,
    replays: usize,
    /// Whether the last job for replay was a listing.
    has_listed: bool,
    /// Keys that were left when they were condensed the last time.
    condensed_to: usize,
    limits: Limits,
    guarding: Guarding,
    pacing: Pacing,
    control: Control,
    orders: Orders,
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
}

impl Conductor {
    pub(crate) fn new(
        start: Start,
        hands: Hands,
        limits: Limits,
        guarding: Guarding,
        shared: Shared,
    ) -> Self {
        let Shared { progress, control, orders, beats } = shared;
        let chunk_time = orders.chunk_time;
        Conductor {
            ledger: start.ledger(),
            hands,
            heart: Heart::after(start.last_heartbeat, beats),
            phase: Phase::Copy,
            copying: Copying::new(Sizer::new(chunk_time, 1_000, MAX_CHUNK)),
            indexing: Indexing::new(limits.deferred),
            verifying: Verifying::new(Sizer::new(
                limits.compare_time(chunk_time),
                1_000,
                MAX_CHUNK,
            )),
            swapping: Swapping::new(limits.lock_wait),
            sampled: VecDeque::new(),
            batch_sizer: Sizer::new(chunk_time, 200, MAX_BATCH),
            last_replay: Instant::now(),
            replays: 0,
            has_listed: false,
            condensed_to: 0,
            limits,
            guarding,
            pacing: Pacing::new(allowance(&orders)),
            control,
            orders,
            progress,
            tally: Tally::default(),
            phase_began: Instant::now(),
            checkpointing: Checkpointing::new(start.position.clone(), start.behind_swap),
            proof: Some(start.last_heartbeat).filter(|last| *last > 0),
            unknown: None,
            start,
        }
    }

    /// Runs until the tables are swapped, or the guard's time is over.
    ///
    /// # Errors
    /// Interrupted on a stop; otherwise as the hand or the stream that failed reported it.
    pub(crate) fn conduct(mut self, inputs: Inputs) -> Result<Tally> {
        self.progress.enter(Phase::Copy);
        self.control.remember("copy begins");
        let unwanted = crossbeam_channel::never();
        let bell = self.control.bell().clone();
        while self.swapping.step != Step::Swapped && !self.is_enough() {
            self.follow_orders()?;
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
                recv(bell) -> _ => {}
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

    /// Does what the operator, and what watches the server, have asked for meanwhile.
    fn follow_orders(&mut self) -> Result<()> {
        let Some(orders) = self.control.orders() else { return Ok(()) };
        self.pacing.allow(allowance(&orders), self.ledger.received());
        self.orders = orders;
        if self.swapping.is_swapping() {
            return Ok(());
        }
        match &self.orders.ending {
            None => Ok(()),
            Some(Ending::Stop | Ending::Abort) => {
                Err(Error::new(Kind::Interrupted, "stopped on request"))
            }
            Some(Ending::Critical(why)) => Err(Error::failed(format!(
                "the load of the server is critical (--critical-load): {why}"
            ))
            .remedy("Give the same command again when the server is at ease: it goes on from here.")
            .keeping_progress()),
        }
    }

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
            Phase::Copy if self.guarding.goes_back() => {
                let phase = match self.guarding.goal() {
                    Goal::Revert { .. } => Phase::CutOver,
                    _ => Phase::Guard,
                };
                self.enter(phase);
            }
            // The swap waited for every transaction on the new table to end, so what was prepared before it
            // has changed other tables.
            Phase::Guard | Phase::CutOver if self.guarding.goes_back() => {
                self.unknown = None;
                self.prove_swap()?;
                if !self.swapping.reserves_replay() {
                    self.guarding.permit_revert()?;
                }
                if self.phase == Phase::CutOver {
                    self.advance_cut_over();
                }
            }
            // A sample ends between two chunks, and compares what it has copied.
            Phase::Copy if self.is_sampled() => {
                let sampled = std::mem::take(&mut self.sampled);
                self.verifying = self.verifying.of(sampled);
                self.enter(if self.indexing.is_done() { Phase::Verify } else { Phase::Index });
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
                self.verifying.begin_again(&mut self.ledger)?;
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

    /// Chunks and comparisons take as long as was ordered; longer where nobody waits for them.
    fn aim(&mut self) {
        let time = self.orders.chunk_time * if self.pacing.is_shared() { 1 } else { ALONE };
        self.copying.sizer.aim(time);
        self.verifying.sizer.aim(self.limits.compare_time(time));
    }

    fn enter(&mut self, phase: Phase) {
        self.close_phase();
        self.phase = phase;
        self.phase_began = Instant::now();
        self.pacing.turn_to_other_work();
        self.progress.enter(phase);
        self.control.remember(&format!("{} begins", phase.name()));
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
        let waits = || self.replays == 0 && self.ledger.backlog() > 0;
        match &self.swapping.step {
            // The heartbeat under the locks would have to wait for one that is under way.
            Step::Locking { .. } => return Need::Idle,
            // One heartbeat says it all: more of them would only compete with the last replays, and with the few syncs
            // to disk that a rename consists of. Rows that a last look found to differ are the exception.
            Step::Draining { heartbeat, has_mended, .. } => {
                return match self.heart.seen_since(*heartbeat) {
                    None if self.heart.next() <= *heartbeat => Need::Urgent,
                    Some(seq) if *has_mended && self.ledger.visible() >= seq && waits() => {
                        Need::Urgent
                    }
                    _ => Need::Idle,
                };
            }
            Step::Unlocking { .. } | Step::Swapping { .. } => return Need::Idle,
            Step::Pausing { .. } | Step::CatchingUp { .. } | Step::Swapped => {}
        }
        if self.ledger.visible() == 0 || self.unknown.is_some() || self.verifying.wants_heartbeat()
        {
            Need::Urgent
        } else if (self.phase == Phase::CutOver && !self.is_put_off()) || self.pacing.is_watching()
        {
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

    /// Whether so many changed keys wait that no more are taken from the stream: it waits then, and memory stays
    /// bounded. While nothing is being replayed it goes on, for what is due may wait for a heartbeat.
    fn is_full(&self) -> bool {
        let most = self.orders.max_changed_keys;
        let is_much = self.ledger.held().0 >= most || self.ledger.backlog() / CONDENSED_TO >= most;
        is_much && self.replays > 0
    }

    /// Whether comparisons wait for replay: every row that waits for it would be a suspect.
    fn is_behind(&self) -> bool {
        self.ledger.backlog() > FAR_BEHIND
    }

    /// Keeps few keys in the place of many where the stream cannot wait: the end of the transaction that they belong to
    /// is still to come.
    fn bound_memory(&mut self) {
        let (due, ahead) = self.ledger.held();
        if ahead >= self.orders.max_changed_keys {
            tracing::info!(
                keys = ahead,
                "a large transaction: no chunk starts until it is visible"
            );
            self.ledger.forget_ahead();
        }
        // What is kept of each run, and what cannot be condensed, is not gone through again and again.
        let most = self.orders.max_changed_keys.max(2 * self.condensed_to);
        // Going through them takes a while, and under the locks the application waits for it.
        if due >= most && self.replays == 0 && !self.swapping.holds_locks() {
            self.ledger.condense(RUN);
            let left = self.ledger.held().0;
            self.condensed_to = left;
            self.tally.keys_condensed += (due - left) as u64;
            tracing::info!(keys = due, left, "a large transaction: its changed keys are condensed");
        }
    }

    /// Whether a guard's or a sample's end has come.
    fn is_enough(&self) -> bool {
        match self.guarding.goal() {
            Goal::Guard { .. } => self.phase == Phase::Guard && self.guarding.is_over(),
            // A build that has begun is waited for, so that it is not left to the server alone.
            Goal::Sample { until: None, .. } => self.is_sampled(),
            Goal::Sample { .. } => {
                (self.phase != Phase::Index && self.guarding.has_seen_enough())
                    || (self.phase == Phase::Verify && self.verifying.has_compared_all())
            }
            Goal::Migrate | Goal::Revert { .. } => false,
        }
    }

    /// Whether a sample has copied all that it is to copy, and no chunk is under way.
    fn is_sampled(&self) -> bool {
        matches!(self.guarding.goal(), Goal::Sample { .. })
            && self.hands.busy_copiers() == 0
            && self.hands.is_idle(Role::Scout)
            && (self.guarding.has_copied_enough() || self.ledger.is_copied())
    }
}

fn allowance(orders: &Orders) -> Allowance {
    Allowance {
        pace: orders.pace,
        workers: orders.workers,
        rows_per_second: orders.rows_per_second,
    }
}
