//! Who does what next: one function for each kind of work. What is allowed when is decided by the ledger
//! (replay), the pacing (copy and verification) and the cut-over's steps.

use std::time::Instant;

use super::{COALESCE, Conductor, EDGES_AHEAD, LISTED};
use crate::key::Key;
use crate::ledger::Ledger;
use crate::progress::Phase;
use crate::run::job::{Job, Role};

impl Conductor {
    pub(super) fn hand_out(&mut self) {
        if self.hands.is_idle(Role::Heart) && self.heart.due_in(self.need()).is_zero() {
            let checkpoint = self.checkpoint().map(Box::new);
            let id = self.heart.send();
            self.hands.give(Role::Heart, Job::Heartbeat { id, checkpoint });
        }
        // The first heartbeat proves that the stream works, and that everything before it is visible.
        if self.ledger.visible() == 0 {
            return;
        }
        let (held, strain) = (self.orders.held.is_some(), self.orders.strain);
        self.pacing.tick(self.ledger.received(), self.ledger.backlog(), held, strain);
        self.aim();
        if !self.swapping.reserves_replay() && !self.is_ready_to_lock() && !self.indexing.quiet {
            self.hand_out_replay();
        }
        match self.phase {
            Phase::Copy | Phase::Index | Phase::Verify if held => {}
            Phase::Copy if self.guarding.has_copied_enough() => {}
            Phase::Copy => self.hand_out_copy(),
            Phase::Index => self.hand_out_index(),
            Phase::Verify => self.hand_out_verify(),
            Phase::CutOver => {
                // Suspects that are cleared in a pause need not be looked at under the locks.
                if self.swapping.is_pausing()
                    && !held
                    && let Some(hand) = self.hands.idle_copier()
                    && let Some(job) = self.verifying.next_look(&self.ledger)
                {
                    self.hands.give(hand, job);
                }
                self.hand_out_cut_over();
            }
            Phase::Prepare | Phase::Guard | Phase::Done => {}
        }
    }

    fn hand_out_replay(&mut self) {
        let nears_its_end = self.phase == Phase::CutOver && !self.is_put_off();
        let eager = nears_its_end || self.copying.is_blocked();
        let limit = self.batch_sizer.rows() as usize;
        if !eager && self.ledger.backlog() < limit && self.last_replay.elapsed() < COALESCE {
            return;
        }
        while let Some(hand) = self.hands.idle_replayer() {
            if self.replays > 0 && !self.limits.parallel_replay {
                break;
            }
            let Some(job) = self.next_replay(limit) else { break };
            self.last_replay = Instant::now();
            self.replays += 1;
            self.hands.give(hand, job);
        }
    }

    /// A batch or a listing, in turn where there are both: neither can keep the other one waiting.
    fn next_replay(&mut self, limit: usize) -> Option<Job> {
        let listing = |ledger: &mut Ledger<Key>| {
            ledger.next_stretch().map(|range| Job::ListKeys { range, limit: LISTED })
        };
        let batch = |ledger: &mut Ledger<Key>| {
            let batch = ledger.next_batch(limit)?;
            Some(Job::Replay { batch: batch.id, keys: batch.keys })
        };
        let ledger = &mut self.ledger;
        // What is listed is held one by one again.
        let has_many = ledger.held().0 >= self.orders.max_changed_keys / 2;
        let job = match self.has_listed || has_many {
            true => batch(ledger).or_else(|| listing(ledger)),
            false => listing(ledger).or_else(|| batch(ledger)),
        };
        self.has_listed = matches!(job, Some(Job::ListKeys { .. }));
        job
    }

    fn hand_out_copy(&mut self) {
        while self.pacing.allows(self.hands.busy_copiers())
            && let Some(hand) = self.hands.idle_copier()
        {
            let Some(job) = self.copying.next(&mut self.ledger) else { break };
            self.hands.give(hand, job);
        }
        if self.hands.is_idle(Role::Scout)
            && let Some(job) =
                self.copying.seek(&self.ledger, self.pacing.most_workers() + EDGES_AHEAD)
        {
            self.hands.give(Role::Scout, job);
        }
    }

    fn hand_out_index(&mut self) {
        // What was being replayed when the build has to be done without is waited for.
        let may_begin = !self.indexing.quiet || self.replays == 0;
        if self.hands.is_idle(Role::Builder)
            && may_begin
            && let Some(job) = self.indexing.next(self.pacing.is_modest())
        {
            self.tally.index_builds += 1;
            self.hands.give(Role::Builder, job);
        }
        if self.hands.is_idle(Role::Scout)
            && let Some(job) = self.indexing.look()
        {
            self.hands.give(Role::Scout, job);
        }
    }

    fn hand_out_verify(&mut self) {
        if self.is_behind() {
            return;
        }
        while self.pacing.allows(self.hands.busy_copiers())
            && let Some(hand) = self.hands.idle_copier()
        {
            let Some(job) = self.verifying.next(&self.ledger) else { break };
            self.hands.give(hand, job);
        }
        if self.hands.is_idle(Role::Scout)
            && let Some(job) = self.verifying.seek(self.pacing.most_workers() + EDGES_AHEAD)
        {
            self.hands.give(Role::Scout, job);
        }
    }
}
