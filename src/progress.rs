//! What a run is doing, as one value that everything which shows it shares.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The phases of a run, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Checking, and creating the shadow table.
    Prepare,
    /// Copying chunks while changes are replayed.
    Copy,
    /// Building the indexes that were left off, while changes are replayed.
    Index,
    /// Comparing the tables.
    Verify,
    /// Catching up, then swapping under lock.
    CutOver,
    /// Keeping the old table in step with the new one, so that the swap can be reverted.
    Guard,
    /// Ended.
    Done,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 7] = [
        Phase::Prepare,
        Phase::Copy,
        Phase::Index,
        Phase::Verify,
        Phase::CutOver,
        Phase::Guard,
        Phase::Done,
    ];

    /// The phase's name in logs and displays.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Prepare => "prepare",
            Phase::Copy => "copy",
            Phase::Index => "index",
            Phase::Verify => "verify",
            Phase::CutOver => "cut-over",
            Phase::Guard => "guard",
            Phase::Done => "done",
        }
    }
}

/// A moment of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The phase.
    pub phase: Phase,
    /// When the phase began.
    pub phase_began: Instant,
    /// When the run began.
    pub began: Instant,
    /// Estimated rows of the table.
    pub rows_estimated: u64,
    /// Rows copied.
    pub rows_copied: u64,
    /// Rows compared.
    pub rows_verified: u64,
    /// Changed keys that were replayed; a key counts each time.
    pub keys_replayed: u64,
    /// Changed keys that wait for replay.
    pub backlog: u64,
    /// How long ago the last transaction that the stream delivered was known to be current: the age
    /// of the last heartbeat that came back.
    pub stream_lag: Duration,
    /// What the run waits for, if it waits.
    pub waiting: Option<String>,
    /// How much of the server the copy takes, and why.
    pub pace: Option<String>,
    /// What the pace goes by.
    pub felt: Felt,
    /// How often the cut-over has been tried.
    pub cut_over_attempts: u32,
}

/// What the pace goes by, as last measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Felt {
    /// How long a heartbeat takes to commit: nine of ten are quicker.
    pub commit: Option<Duration>,
    /// Transactions of others per second.
    pub others: Option<f64>,
    /// The copy's share of the server: 2 is two workers without a pause, 0.4 one that works 40 % of the time.
    pub share: Option<f64>,
    /// Why it is below one worker.
    pub why: Option<&'static str>,
}

impl Snapshot {
    /// Rows done in this phase, where the phase counts rows.
    pub fn rows_done(&self) -> Option<u64> {
        match self.phase {
            Phase::Copy => Some(self.rows_copied),
            Phase::Verify => Some(self.rows_verified),
            Phase::Prepare | Phase::Index | Phase::CutOver | Phase::Guard | Phase::Done => None,
        }
    }

    /// Rows of this phase in all, as far as is known.
    pub fn rows_total(&self) -> u64 {
        match self.phase {
            Phase::Verify => self.rows_copied.max(1),
            _ => self.rows_estimated.max(self.rows_copied).max(1),
        }
    }

    /// Rows per second since the phase began.
    pub fn rate(&self) -> f64 {
        let seconds = self.phase_began.elapsed().as_secs_f64().max(0.001);
        self.rows_done().unwrap_or(0) as f64 / seconds
    }

    /// Time until the phase ends at the present rate.
    pub fn eta(&self) -> Option<Duration> {
        let left = self.rows_total().saturating_sub(self.rows_done()?) as f64;
        let rate = self.rate();
        (rate > 0.0).then(|| Duration::from_secs_f64((left / rate).min(1e9)))
    }
}

/// The shared, current [`Snapshot`].
#[derive(Debug, Clone)]
pub struct Progress {
    snapshot: Arc<Mutex<Snapshot>>,
    phase: Arc<watch::Sender<Phase>>,
}

impl Progress {
    /// A run that begins now.
    pub fn new() -> Self {
        let now = Instant::now();
        let snapshot = Snapshot {
            phase: Phase::Prepare,
            phase_began: now,
            began: now,
            rows_estimated: 0,
            rows_copied: 0,
            rows_verified: 0,
            keys_replayed: 0,
            backlog: 0,
            stream_lag: Duration::ZERO,
            waiting: None,
            pace: None,
            felt: Felt::default(),
            cut_over_attempts: 0,
        };
        Progress {
            snapshot: Arc::new(Mutex::new(snapshot)),
            phase: Arc::new(watch::Sender::new(Phase::Prepare)),
        }
    }

    /// The phases, as they are entered.
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// The present moment.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the present moment.
    pub fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.snapshot.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        tracing::info!(phase = phase.name(), "phase");
        self.update(|snapshot| {
            snapshot.phase = phase;
            snapshot.phase_began = Instant::now();
            snapshot.waiting = None;
        });
        self.phase.send_replace(phase);
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}
