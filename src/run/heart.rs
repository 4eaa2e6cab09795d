//! When to send a heartbeat, and what the heartbeats that came back say.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Between heartbeats while nothing waits for one.
const IDLE: Duration = Duration::from_millis(1000);
/// Between heartbeats while changed keys wait to become visible.
const WANTED: Duration = Duration::from_millis(100);
/// Between heartbeats while the run itself waits for one.
const URGENT: Duration = Duration::from_millis(2);

/// How eagerly the next heartbeat is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Idle,
    Wanted,
    Urgent,
}

/// The heartbeats of a run.
#[derive(Debug)]
pub(crate) struct Heart {
    sent: u64,
    sent_at: Instant,
    /// When each heartbeat was sent that has not come back.
    waiting: VecDeque<(u64, Instant)>,
    seen: u64,
}

impl Heart {
    pub(crate) fn new() -> Self {
        Heart { sent: 0, sent_at: Instant::now(), waiting: VecDeque::new(), seen: 0 }
    }

    /// The number that the next heartbeat will have: what is committed before it is sent has been
    /// delivered once it has been [seen](Self::seen).
    pub(crate) fn next(&self) -> u64 {
        self.sent + 1
    }

    /// How long until a heartbeat is due; zero when it is.
    pub(crate) fn due_in(&self, need: Need) -> Duration {
        if self.sent == 0 {
            return Duration::ZERO;
        }
        let pause = match need {
            Need::Idle => IDLE,
            Need::Wanted => WANTED,
            Need::Urgent => URGENT,
        };
        pause.saturating_sub(self.sent_at.elapsed())
    }

    /// Takes the next number, to be sent now.
    pub(crate) fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent_at = Instant::now();
        self.waiting.push_back((self.sent, self.sent_at));
        self.sent
    }

    /// Heartbeat `id` came back through the stream.
    pub(crate) fn came_back(&mut self, id: u64) {
        self.seen = self.seen.max(id);
        while self.waiting.front().is_some_and(|(waiting, _)| *waiting <= id) {
            self.waiting.pop_front();
        }
    }

    /// The highest heartbeat that has come back.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// For how long the oldest heartbeat has been on its way.
    pub(crate) fn lag(&self) -> Duration {
        self.waiting.front().map_or(Duration::ZERO, |(_, sent)| sent.elapsed())
    }
}
