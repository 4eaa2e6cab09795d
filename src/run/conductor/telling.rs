//! What the conductor tells: the progress, and the checkpoint that goes with a heartbeat.

use crate::progress::Phase;
use crate::run::checkpointing::Place;
use crate::run::swapping::Step;
use crate::state::{Checkpoint, now};

use super::Conductor;

impl Conductor {
    /// A checkpoint, if one is due. There is none under the cut-over's lock, where every byte of a commit
    /// is waited for.
    pub(super) fn checkpoint(&mut self) -> Option<Checkpoint> {
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

    pub(super) fn waiting(&self) -> Option<String> {
        if self.phase < Phase::Guard && self.orders.held.is_some() {
            return self.orders.held.clone();
        }
        if self.phase == Phase::Guard {
            return self.guarding.words();
        }
        if self.phase == Phase::Index {
            return Some(self.indexing.words());
        }
        if self.phase == Phase::Copy && !self.ledger.may_start() {
            return Some("waiting for a transaction of very many rows to be visible".to_owned());
        }
        let goes_on = match self.phase {
            Phase::Verify => true,
            Phase::CutOver => self.orders.cut_over_waits.is_none(),
            _ => false,
        };
        if goes_on && self.is_behind() {
            return Some("waiting for replay to catch up".to_owned());
        }
        match &self.swapping.step {
            Step::Pausing { .. } => Some("pausing before the next cut-over attempt".to_owned()),
            Step::CatchingUp { .. } if self.phase == Phase::CutOver => {
                let quiet = || "waiting for a quiet moment".to_owned();
                Some(self.orders.cut_over_waits.clone().unwrap_or_else(quiet))
            }
            Step::Locking { .. } => Some("waiting for the table lock".to_owned()),
            _ => None,
        }
    }

    pub(super) fn publish(&self) {
        self.control.set_swapping(self.swapping.is_swapping());
        self.progress.update(|snapshot| {
            snapshot.rows_copied = self.start.rows_copied + self.tally.rows_copied;
            snapshot.rows_verified = self.tally.rows_verified;
            snapshot.keys_replayed = self.start.keys_replayed + self.tally.keys_replayed;
            snapshot.backlog = self.ledger.backlog() as u64;
            snapshot.stream_lag = self.heart.lag();
            snapshot.waiting = self.waiting();
            snapshot.pace = self.pacing.words();
            snapshot.felt = self.pacing.felt();
            snapshot.cut_over_attempts = self.swapping.attempts;
        });
    }
}
