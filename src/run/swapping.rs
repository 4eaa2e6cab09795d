//! The cut-over phase, step by step. What each step means for correctness is told in [`crate::cutover`].

use std::time::{Duration, Instant};

use crate::key::Key;

/// After a failed attempt: first pause, longest pause, and how many attempts there are.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const MAX_ATTEMPTS: u32 = 60;

/// How long a quiet moment is waited for before the lock is asked for in any case.
const LONGEST_CALM: Duration = Duration::from_secs(20);

/// How small the backlog has to be for an attempt, doubled every second that it is not reached.
const SMALL_BACKLOG: usize = 50;

/// So many rows can be replayed in a second (measured: 30 000). An attempt with more left under the locks than can be
/// replayed within --lock-wait is given up; later attempts try harder.
const REPLAYED_PER_SECOND: usize = 20_000;

/// For how long the shadow table's statistics are good enough.
const COUNTED_FOR: Duration = Duration::from_secs(600);

/// Where the cut-over stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Pausing after a failed attempt.
    Pausing { until: Instant },
    /// Replaying until little is left.
    CatchingUp { since: Instant },
    /// The locks were asked for.
    Locking { asked: Instant },
    /// The locks are held; the last changes arrive and are replayed. `heartbeat` is the first one sent
    /// under the lock. The keys in `looking` are still to be compared; `has_mended` says that some of them
    /// differed before and were replayed.
    Draining {
        asked: Instant,
        granted: Instant,
        heartbeat: u64,
        looking: Option<Vec<Key>>,
        has_mended: bool,
    },
    /// Giving the locks back.
    Unlocking { why: &'static str },
    /// The rename was sent.
    Swapping { asked: Instant, granted: Instant },
    /// The tables are swapped.
    Swapped,
}

/// The cut-over of a run.
#[derive(Debug)]
pub(crate) struct Swapping {
    pub(crate) step: Step,
    pub(crate) attempts: u32,
    /// Whether the coming attempt is prepared. The AUTO_INCREMENT value seldom has to be carried over again under
    /// the locks then: it takes an ALTER, which costs as much as the rename.
    pub(crate) prepared: bool,
    /// When the shadow table was counted, or was to be.
    pub(crate) counted: Option<Instant>,
    /// More changed keys than this under the locks are not replayed there.
    pub(crate) most_under_lock: usize,
    /// How long one attempt may keep the application waiting.
    pub(crate) lock_wait: Duration,
    /// How long the application waited: for the lock behind it, and while it was held.
    pub(crate) lock_queued: Duration,
    pub(crate) lock_held: Duration,
}

impl Swapping {
    pub(crate) fn new(lock_wait: Duration) -> Self {
        Swapping {
            step: Step::CatchingUp { since: Instant::now() },
            attempts: 0,
            prepared: false,
            counted: None,
            most_under_lock: REPLAYED_PER_SECOND,
            lock_wait,
            lock_queued: Duration::ZERO,
            lock_held: Duration::ZERO,
        }
    }

    /// The backlog with which the lock may be asked for.
    pub(crate) fn tolerated_backlog(&self) -> usize {
        match self.step {
            Step::CatchingUp { since } => {
                let doublings = since.elapsed().as_secs().min(16) as u32;
                SMALL_BACKLOG.saturating_mul(1 << doublings)
            }
            _ => SMALL_BACKLOG,
        }
    }

    /// Whether a quiet moment has been waited for long enough.
    pub(crate) fn is_impatient(&self) -> bool {
        matches!(self.step, Step::CatchingUp { since } if since.elapsed() > LONGEST_CALM)
    }

    /// Whether replay is left to the connection that holds the locks. From the moment they are asked
    /// for, since a transaction on the shadow table would make them wait.
    pub(crate) fn reserves_replay(&self) -> bool {
        matches!(
            self.step,
            Step::Locking { .. }
                | Step::Draining { .. }
                | Step::Unlocking { .. }
                | Step::Swapping { .. }
        )
    }

    /// Whether a failed attempt is being got over.
    pub(crate) fn is_pausing(&self) -> bool {
        matches!(self.step, Step::Pausing { .. })
    }

    /// Whether the locks are held, so that the application waits for whatever is done.
    pub(crate) fn holds_locks(&self) -> bool {
        matches!(self.step, Step::Draining { .. } | Step::Unlocking { .. } | Step::Swapping { .. })
    }

    /// Whether the shadow table is to be counted ahead of the coming attempt.
    pub(crate) fn wants_statistics(&self) -> bool {
        self.counted.is_none_or(|counted| counted.elapsed() > COUNTED_FOR)
    }

    /// The preparation of the coming attempt has failed. Where that is the statistics' fault, it is not
    /// so for ever.
    pub(crate) fn prepare_again(&mut self) {
        const OFTEN: u32 = 3;
        self.attempts += 1;
        self.prepared = false;
        if self.attempts < OFTEN {
            self.counted = None;
        }
    }

    /// Begins an attempt.
    pub(crate) fn begin(&mut self) {
        self.attempts += 1;
        self.prepared = false;
        let replayed = REPLAYED_PER_SECOND
            .saturating_mul(self.lock_wait.as_secs().max(1) as usize)
            .saturating_mul(self.attempts as usize);
        self.most_under_lock = replayed.max(2 * self.tolerated_backlog());
        self.step = Step::Locking { asked: Instant::now() };
    }

    /// Whether the rename was sent and has not been answered.
    pub(crate) fn is_swapping(&self) -> bool {
        matches!(self.step, Step::Swapping { .. })
    }

    /// An attempt has ended without a swap. `None` when there have been enough.
    pub(crate) fn back_off(&mut self) -> Option<Duration> {
        if self.attempts >= MAX_ATTEMPTS {
            return None;
        }
        let doublings = self.attempts.saturating_sub(1).min(10);
        let pause = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
        self.step = Step::Pausing { until: Instant::now() + pause };
        Some(pause)
    }

    /// Whether the present attempt has kept the application waiting long enough.
    pub(crate) fn is_overdue(&self) -> bool {
        match &self.step {
            Step::Draining { asked, .. } => asked.elapsed() >= self.lock_wait,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_back_off_and_come_to_an_end() {
        let mut swapping = Swapping::new(Duration::from_secs(1));
        swapping.attempts = 1;
        assert_eq!(swapping.back_off(), Some(Duration::from_secs(1)));
        swapping.attempts = 3;
        assert_eq!(swapping.back_off(), Some(Duration::from_secs(4)));
        swapping.attempts = 40;
        assert_eq!(swapping.back_off(), Some(Duration::from_secs(60)));
        swapping.attempts = MAX_ATTEMPTS;
        assert_eq!(swapping.back_off(), None);
    }
}
