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
                self.swapping.carried = false;
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
            && self.swapping.carried
            && self.hands.is_idle(Role::Cutter)
            && self.ledger.backlog() <= self.swapping.tolerated_backlog()
            && !self.ledger.is_condensed()
            && (self.heart.is_calm() || self.swapping.is_impatient())
    }

    pub(super) fn hand_out_cut_over(&mut self) {
        if !self.hands.is_idle(Role::Cutter) {
            return;
        }
        let overdue = self.swapping.is_overdue() || self.unknown.is_some();
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
}
