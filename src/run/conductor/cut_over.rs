//! The decisions of the cut-over: when the lock is asked for, what is done under it, when it is given
//! up. What each step means for correctness is told in [`crate::cutover`].

use std::time::Instant;

use super::{Conductor, MAX_BATCH};
use crate::error::{Error, Result};
use crate::progress::Phase;
use crate::run::job::{Job, Role};
use crate::run::swapping::Step;

impl Conductor {
    pub(super) fn lock_answered(&mut self, granted: bool) -> Result<()> {
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
            has_mended: false,
        };
        Ok(())
    }

    pub(super) fn attempt_ended(&mut self, why: &str) -> Result<()> {
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
                     raise --lock-wait; the same command goes on from here.",
            )
            .keeping_progress()),
        }
    }

    pub(super) fn advance_cut_over(&mut self) {
        match &self.swapping.step {
            Step::Pausing { until } if Instant::now() >= *until => {
                self.swapping.step = Step::CatchingUp { since: Instant::now() };
            }
            // A swap that is put off is prepared when its time has come.
            Step::CatchingUp { .. } if self.is_put_off() => {
                self.swapping.step = Step::CatchingUp { since: Instant::now() };
                self.swapping.prepared = false;
            }
            Step::CatchingUp { .. }
                if !self.swapping.prepared && self.hands.is_idle(Role::Cutter) =>
            {
                let statistics = self.swapping.wants_statistics();
                if statistics {
                    self.swapping.counted = Some(Instant::now());
                }
                self.swapping.prepared = true;
                self.hands.give(Role::Cutter, Job::PrepareSwap { statistics });
            }
            Step::CatchingUp { .. } if self.is_ready_to_lock() && self.is_quiet() => {
                self.swapping.begin();
                let wait =
                    u32::try_from(self.limits.lock_wait.as_secs()).unwrap_or(u32::MAX).max(1);
                self.hands.give(Role::Cutter, Job::Lock { wait });
            }
            _ => {}
        }
    }

    /// Whether the operator, the calendar, a hook or the load does not let the tables be swapped yet.
    pub(super) fn is_put_off(&self) -> bool {
        self.orders.held.is_some() || self.orders.cut_over_waits.is_some()
    }

    /// Whether so little is left, and the server so calm, that the lock may be asked for. Then no
    /// replay is begun any more, and those under way come to their end.
    pub(super) fn is_ready_to_lock(&self) -> bool {
        self.phase == Phase::CutOver
            && !self.is_put_off()
            && matches!(self.swapping.step, Step::CatchingUp { .. })
            && self.swapping.prepared
            && self.hands.is_idle(Role::Cutter)
            && self.ledger.backlog() <= self.swapping.tolerated_backlog()
            && !self.ledger.is_condensed()
            && (self.heart.is_calm() || self.swapping.is_impatient())
    }

    /// Whether nothing is under way that the locks, or the heartbeat under them, would have to wait for.
    fn is_quiet(&self) -> bool {
        self.replays == 0 && self.verifying.is_at_rest() && self.hands.is_idle(Role::Heart)
    }

    /// Why the attempt under the locks is not worth going on with, if it is not.
    fn why_futile(&self) -> Option<&'static str> {
        if self.unknown.is_some() {
            return Some(
                "a statement changed the table in a way of which it is not known what it changes",
            );
        }
        if self.ledger.is_condensed() || self.ledger.backlog() > self.swapping.most_under_lock {
            return Some("very many rows were changed while the lock was waited for");
        }
        self.swapping.is_overdue().then_some("the last changes did not arrive in time")
    }

    pub(super) fn hand_out_cut_over(&mut self) {
        if !self.hands.is_idle(Role::Cutter) {
            return;
        }
        let futile = self.why_futile();
        let Step::Draining { asked, granted, heartbeat, looking, .. } = &self.swapping.step else {
            return;
        };
        if let Some(why) = futile {
            self.swapping.step = Step::Unlocking { why };
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
}
