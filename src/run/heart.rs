//! When to send a heartbeat, and what the heartbeats that came back say.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ledger::Seq;
use crate::throttle::Beats;

/// Between heartbeats while nothing waits for one.
const IDLE: Duration = Duration::from_millis(1000);
/// Between heartbeats while changed keys wait to become visible.
const WANTED: Duration = Duration::from_millis(100);
/// Between heartbeats while the cut-over waits for a quiet moment.
const WATCHFUL: Duration = Duration::from_millis(20);
/// Between heartbeats while the run itself waits for one.
const URGENT: Duration = Duration::from_millis(2);

/// How eagerly the next heartbeat is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Idle,
    Wanted,
    Watchful,
    Urgent,
}

/// How many of the last commits tell whether the server is calm.
const RECENT: usize = 5;

/// The heartbeats of a run.
#[derive(Debug)]
pub(crate) struct Heart {
    /// The last heartbeat of an earlier process of the run.
    last: u64,
    sent: u64,
    sent_at: Instant,
    /// When each heartbeat was sent that has not come back.
    waiting: VecDeque<(u64, Instant)>,
    /// The last heartbeat that has come back, and its transaction.
    seen: (u64, Seq),
    /// How long the commits of the last heartbeats took, and the shortest of all.
    commits: VecDeque<Duration>,
    shortest: Duration,
    /// For those who measure how far replicas are behind.
    beats: Beats,
}

impl Heart {
    /// The heart of a run whose last heartbeat so far has this number; 0 for a new run.
    pub(crate) fn after(last: u64, beats: Beats) -> Self {
        Heart {
            beats,
            last,
            sent: last,
            sent_at: Instant::now(),
            waiting: VecDeque::new(),
            seen: (0, 0),
            commits: VecDeque::new(),
            shortest: Duration::MAX,
        }
    }

    /// The number that the next heartbeat will have: what is committed before it is sent has been
    /// delivered once it has been [seen](Self::seen).
    pub(crate) fn next(&self) -> u64 {
        self.sent + 1
    }

    /// How long until a heartbeat is due; zero when it is.
    pub(crate) fn due_in(&self, need: Need) -> Duration {
        if self.sent == self.last {
            return Duration::ZERO;
        }
        let pause = match need {
            Need::Idle => IDLE,
            Need::Wanted => WANTED,
            Need::Watchful => WATCHFUL,
            Need::Urgent => URGENT,
        };
        pause.saturating_sub(self.sent_at.elapsed())
    }

    /// Takes the next number, to be sent now.
    pub(crate) fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent_at = Instant::now();
        self.beats.sent(self.sent, self.sent_at);
        self.waiting.push_back((self.sent, self.sent_at));
        self.sent
    }

    /// The server has acknowledged the last heartbeat that was sent. Returns how long that took.
    pub(crate) fn committed(&mut self) -> Duration {
        let took = self.sent_at.elapsed();
        self.shortest = self.shortest.min(took);
        self.commits.push_back(took);
        if self.commits.len() > RECENT {
            self.commits.pop_front();
        }
        took
    }

    /// Whether the last commits were as quick as commits are on this server: then the few commits
    /// that a rename consists of will be quick as well. After a bulk load the server writes dirty pages
    /// back for a while, and every sync to disk waits behind them.
    pub(crate) fn is_calm(&self) -> bool {
        const ALWAYS_QUICK: Duration = Duration::from_millis(5);
        if self.commits.len() < RECENT {
            return false;
        }
        let usual = (self.shortest * 3).max(ALWAYS_QUICK);
        self.commits.iter().all(|took| *took <= usual)
    }

    /// Heartbeat `id` came back through the stream, in transaction `seq`.
    pub(crate) fn came_back(&mut self, id: u64, seq: Seq) {
        self.seen = self.seen.max((id, seq));
        while self.waiting.front().is_some_and(|(waiting, _)| *waiting <= id) {
            self.waiting.pop_front();
        }
    }

    /// The highest heartbeat that has come back.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.0
    }

    /// The transaction of the highest heartbeat that has come back, if that is `id` or a later one.
    pub(crate) fn seen_since(&self, id: u64) -> Option<Seq> {
        (self.seen.0 >= id).then_some(self.seen.1)
    }

    /// For how long the oldest heartbeat has been on its way.
    pub(crate) fn lag(&self) -> Duration {
        self.waiting.front().map_or(Duration::ZERO, |(_, sent)| sent.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heart_is_calm_after_some_quick_commits_and_not_before() {
        let mut heart = Heart::after(0, Beats::default());
        for _ in 0..RECENT {
            assert!(!heart.is_calm(), "nothing is known yet");
            heart.send();
            heart.committed();
        }
        assert!(heart.is_calm());
    }
}
