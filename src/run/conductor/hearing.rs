//! What the conductor hears: deliveries of the stream, and reports of the hands.

use std::time::Instant;

use crate::error::{Error, Result};
use crate::indexes::Built;
use crate::key::Key;
use crate::progress::Phase;
use crate::run::guarding::Goal;
use crate::run::job::{Message, Report, Role};
use crate::run::swapping::Step;
use crate::run::verifying::divergent;
use crate::state::Command;
use crate::stream::Delivery;
use crate::verify::Compared;

use super::Conductor;

impl Conductor {
    pub(super) fn delivered(&mut self, delivery: Delivery) -> Result<()> {
        for (key, seq) in delivery.changes {
            self.verifying.change(&key, seq);
            self.ledger.change(key, seq);
        }
        // What stands before this process's first heartbeat was meant for an earlier one.
        let addressed = self.heart.seen() > self.start.last_heartbeat;
        if addressed && delivery.commands.contains(&Command::Stop) {
            tracing::warn!("another process asks this one to stop");
            self.control.stop();
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
        self.bound_memory();
        self.checkpointing.delivered(delivery.boundary, &delivery.xa);
        if delivery.statement {
            self.guarding.permit_statement()?;
        }
        if !matches!(self.guarding.goal(), Goal::Sample { .. }) {
            self.unknown = delivery.unknown.or(self.unknown);
        }
        self.verifying.judge(&mut self.ledger, self.heart.seen(), self.unknown.is_none())
    }

    /// A run that goes on has to find the last heartbeat of before in the binlog: else this is not the
    /// binlog that it was reading, and changes may be missing from it.
    pub(super) fn prove(&mut self, id: u64) -> Result<()> {
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
    pub(super) fn prove_swap(&self) -> Result<()> {
        if self.heart.seen() <= self.start.last_heartbeat || self.checkpointing.knows_swap() {
            return Ok(());
        }
        Err(Error::failed("the binlog does not hold the swap of the tables where it has to be")
            .remedy(
                "`replank cleanup` gives the revert up; please report this with the output of -vv.",
            )
            .keeping_progress())
    }

    pub(super) fn reported(&mut self, message: Message) -> Result<()> {
        self.hands.done(message.from);
        if let Step::Draining { granted, .. } | Step::Swapping { granted, .. } = &self.swapping.step
        {
            tracing::debug!(under_lock = ?granted.elapsed(), backlog = self.ledger.backlog(),
                from = ?message.from, report = message.report.name(), "cut-over");
        }
        match message.report {
            Report::Edge(edge) if self.phase == Phase::Copy => self.copying.found(edge),
            Report::Edge(edge) => self.verifying.found(edge),
            Report::Copied { chunk, range, rows, took } => {
                if matches!(self.guarding.goal(), Goal::Sample { .. }) {
                    self.sampled.push_back(range);
                }
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
            Report::KeysListed { lists, limit } => {
                self.ledger.stretch_listed(lists, limit);
                self.replays -= 1;
            }
            Report::ListingDeferred => {
                self.ledger.stretch_deferred();
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
            Report::KeysCompared { keys, compared } => self.keys_compared(keys, compared)?,
            Report::Heartbeat { id } => {
                let took = self.heart.committed();
                self.pacing.committed(took);
                self.ledger.heartbeat_acked(id);
            }
            Report::Lock(granted) => self.lock_answered(granted)?,
            Report::SwapPrepared => {
                // However long that took, it is no reason to be impatient.
                self.swapping.step = Step::CatchingUp { since: Instant::now() };
            }
            Report::Unlocked => {
                if let Step::Unlocking { why } = self.swapping.step {
                    self.attempt_ended(why)?;
                }
            }
            Report::AttemptFailed { batch, error } => {
                if matches!(self.swapping.step, Step::CatchingUp { .. }) {
                    self.swapping.prepare_again();
                }
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

    fn keys_compared(&mut self, keys: Vec<Key>, compared: Compared) -> Result<()> {
        let Step::Draining { looking, has_mended, .. } = &mut self.swapping.step else {
            self.verifying.looked(keys, compared, self.heart.next());
            return Ok(());
        };
        // Under the lock nothing changes: what differs now is replayed and looked at once more.
        *looking = None;
        if let Some(differing) = compared.differing.first() {
            if *has_mended {
                return Err(divergent(differing));
            }
            (*looking, *has_mended) = (Some(keys), true);
        }
        for key in compared.differing {
            self.ledger.touch(key);
        }
        Ok(())
    }
}
