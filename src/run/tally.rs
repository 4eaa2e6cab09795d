//! The figures of a run.

use std::time::Duration;

/// What a run measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Chunks copied.
    pub chunks: u64,
    /// Rows copied.
    pub rows_copied: u64,
    /// Rows compared.
    pub rows_verified: u64,
    /// Rows that differed without a change to explain it, and were repaired.
    pub rows_repaired: u64,
    /// Changed keys replayed.
    pub keys_replayed: u64,
    /// Changed keys that were too many to be held one by one.
    pub keys_condensed: u64,
    /// Attempts at the cut-over.
    pub attempts: u32,
    /// How long the cut-over's lock was waited for, when it was granted.
    pub lock_queued: Duration,
    /// How long it was held.
    pub lock_held: Duration,
    /// Seconds copying, verifying, cutting over.
    pub copy: Duration,
    /// Building indexes.
    pub index: Duration,
    /// How often that was begun: more than once if it had to be done without replay meanwhile.
    pub index_builds: u32,
    /// See [`copy`](Self::copy).
    pub verify: Duration,
    /// See [`copy`](Self::copy).
    pub cut_over: Duration,
}
