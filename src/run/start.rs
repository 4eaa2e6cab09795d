//! Where a run begins: afresh, or where an earlier process of it ended.

use crate::key::Key;
use crate::ledger::{Edge, Ledger, Range};
use crate::stream::Position;

/// What the conductor begins with.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// Where the stream begins.
    pub(crate) position: Position,
    /// Whether that is known to be behind the swap of the tables.
    pub(crate) behind_swap: bool,
    /// The ranges that no chunk has copied.
    pub(crate) unstarted: Vec<Range<Key>>,
    /// The highest number of a chunk so far.
    pub(crate) last_chunk: u64,
    /// The number of the last heartbeat so far. The stream has to deliver it, as proof that it is the
    /// binlog that the earlier process read.
    pub(crate) last_heartbeat: u64,
    /// Rows copied so far.
    pub(crate) rows_copied: u64,
    /// Changed keys replayed so far.
    pub(crate) keys_replayed: u64,
}

impl Start {
    /// The beginning of a new run.
    pub(crate) fn afresh(position: Position) -> Self {
        Start {
            position,
            behind_swap: false,
            unstarted: vec![Range { lo: Edge::Start, hi: Edge::End }],
            last_chunk: 0,
            last_heartbeat: 0,
            rows_copied: 0,
            keys_replayed: 0,
        }
    }

    pub(crate) fn ledger(&self) -> Ledger<Key> {
        Ledger::with_unstarted(self.unstarted.clone(), self.last_chunk)
    }
}
