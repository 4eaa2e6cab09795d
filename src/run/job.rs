//! What the conductor asks of its hands, and what they answer.

use std::time::Duration;

use crate::error::Error;
use crate::indexes::Built;
use crate::key::Key;
use crate::ledger::{BatchId, ChunkId, Edge, Range};
use crate::state::{Checkpoint, Misfit};
use crate::verify::Compared;

/// A piece of work for a hand.
#[derive(Debug)]
pub(crate) enum Job {
    /// Find the upper edge of the next chunk.
    FindEdge { lo: Edge<Key>, within: Edge<Key>, rows: u64 },
    /// Copy a chunk.
    Copy { chunk: ChunkId, range: Range<Key> },
    /// Replay a batch and commit.
    Replay { batch: BatchId, keys: Vec<Key> },
    /// List the keys that source and shadow table hold in a range.
    ListKeys { range: Range<Key>, limit: usize },
    /// Build the indexes that were left off.
    BuildIndexes { modest: bool },
    /// See how far that is.
    LookAtBuild,
    /// Compare a range of both tables.
    CompareRange { ticket: u64, range: Range<Key> },
    /// Compare single rows of both tables.
    CompareKeys { keys: Vec<Key> },
    /// Commit a heartbeat, with a checkpoint if one is due.
    Heartbeat { id: u64, checkpoint: Option<Box<Checkpoint>> },
    /// Do ahead of the locks what would take long under them: bring the shadow table's AUTO_INCREMENT to the
    /// source's, and refresh its statistics where that has not been done.
    PrepareSwap { statistics: bool },
    /// Take the cut-over's locks.
    Lock { wait: u32 },
    /// Give them back.
    Unlock,
    /// Swap the tables.
    Swap,
}

/// The answer to a job.
#[derive(Debug)]
pub(crate) enum Report {
    Edge(Edge<Key>),
    Copied {
        chunk: ChunkId,
        range: Range<Key>,
        rows: u64,
        took: Duration,
    },
    CopyConflicts {
        chunk: ChunkId,
        range: Range<Key>,
        keys: Vec<Key>,
    },
    Replayed {
        batch: BatchId,
        keys: usize,
        took: Duration,
        /// Rows that do not fit, on the way back.
        misfits: Vec<Misfit>,
    },
    /// A batch was rolled back for a reason that passes; its keys stay due.
    ReplayDeferred {
        batch: BatchId,
    },
    /// Keys in the source and in the shadow table, in ascending order, each as many as `limit` at most.
    KeysListed {
        lists: [Vec<Key>; 2],
        limit: usize,
    },
    /// They could not be listed for a reason that passes.
    ListingDeferred,
    IndexesBuilt(Built),
    ShareBuilt(Option<f64>),
    RangeCompared {
        ticket: u64,
        compared: Compared,
        took: Duration,
    },
    KeysCompared {
        keys: Vec<Key>,
        compared: Compared,
    },
    Heartbeat {
        id: u64,
    },
    SwapPrepared,
    /// Whether the locks were granted.
    Lock(bool),
    Unlocked,
    /// What was tried under the cut-over's locks did not work, and the locks are gone.
    AttemptFailed {
        batch: Option<BatchId>,
        error: Error,
    },
    Swapped,
    /// The job cannot be done; the run has to end.
    Failed(Error),
}

impl Report {
    /// What was done, for the log.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Report::Edge(_) => "edge found",
            Report::Copied { .. } => "chunk copied",
            Report::CopyConflicts { .. } => "chunk met conflicts",
            Report::Replayed { .. } => "batch replayed",
            Report::ReplayDeferred { .. } => "batch deferred",
            Report::KeysListed { .. } => "keys listed",
            Report::ListingDeferred => "listing deferred",
            Report::IndexesBuilt(_) => "indexes built",
            Report::ShareBuilt(_) => "build looked at",
            Report::RangeCompared { .. } => "range compared",
            Report::KeysCompared { .. } => "keys compared",
            Report::Heartbeat { .. } => "heartbeat committed",
            Report::SwapPrepared => "swap prepared",
            Report::Lock(_) => "lock answered",
            Report::Unlocked => "unlocked",
            Report::AttemptFailed { .. } => "attempt failed",
            Report::Swapped => "swapped",
            Report::Failed(_) => "failed",
        }
    }
}

/// The kinds of hands: each has its own connection and does one job at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Finds the edges of chunks.
    Scout,
    /// Copies chunks and compares ranges.
    Copier(usize),
    /// Builds indexes.
    Builder,
    /// Replays batches and compares rows.
    Replayer(usize),
    /// Commits heartbeats.
    Heart,
    /// Holds the cut-over's locks.
    Cutter,
    /// Watches that the run lock is still held; takes no jobs.
    Guard,
}

/// A report with the hand that it comes from.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) from: Role,
    pub(crate) report: Report,
}
