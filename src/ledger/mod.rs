//! The ledger: which keys have changed, which of them may be replayed now, which may be forgotten.
//!
//! This is the functional core of replank. It is pure and synchronous: events go in (a change was
//! received, a heartbeat was seen, a chunk committed, a batch was replayed) and decisions come out
//! (replay these keys, this position is safe). It knows no clock, no thread and no server, and it is
//! generic over the key so that tests explore it with small integers.
//!
//! # Positions
//!
//! A [`Seq`] numbers the transactions in the order in which the binlog delivers them. Every change of
//! a transaction carries the transaction's number.
//!
//! # Why no change is lost
//!
//! The table's key space is cut into ranges, each in one of three states: *unstarted* (no chunk has
//! begun to read it), *copying* (a chunk is reading and inserting it) and *copied* (its chunk has
//! committed). A transaction can be received before it is visible, because the server sends the
//! binlog before it commits in InnoDB. The visible position `V` closes this gap: replank commits a
//! heartbeat and waits for its OK; as InnoDB commits in binlog order (`binlog_order_commits=ON`), every
//! transaction that stands before that heartbeat is visible to every read view opened after the OK.
//! So once a heartbeat has been both acknowledged and received back, `V` moves to it.
//!
//! For a change of key `k` at position `p`:
//!
//! 1. It is received while `k` lies in an unstarted range. If `V ≥ p` at some moment before the
//!    range's chunk starts, that chunk opens its read view later, sees the change, and the change can
//!    be forgotten. Otherwise it is kept and becomes due when the chunk has started (invariant I2).
//! 2. It is received while `k` is being copied or has been copied. It is kept as due.
//! 3. A due change is handed out only when its range is copied (I1) and `V ≥ p` (I3); the read that
//!    serves it is opened after that, so it sees the change or a later one. When the batch is done with
//!    read position `v`, everything up to `v` is settled, and what is newer stays due.
//!
//! Nothing else removes a change. At the end every range is copied, every due change is replayed,
//! and with the writers locked out the source and the shadow table hold the same rows.
//!
//! # The safe position
//!
//! [`Ledger::safe_position`] is the highest position `≤ V` at which every earlier change is either
//! settled or lies in an unstarted range, where the chunk to come will see it (I5). It must not pass
//! `V`: a change that was received ahead of the copy and is not visible yet can be missed by the chunk
//! to come, which may have committed when a later run resumes; and the last transaction received
//! may have been delivered in part only. A run that resumes from there re-reads some keys, which is
//! harmless.

mod region;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use region::Regions;
pub use region::{ChunkId, Edge, Range, gaps};

/// The number of a transaction in the order of the binlog stream; 0 stands before the first one.
pub type Seq = u64;

/// Identifies a batch that [`Ledger::next_batch`] handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(u64);

/// Keys to be read again from the source and written to the shadow table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<K> {
    /// To be given back with [`Ledger::batch_done`] or [`Ledger::batch_failed`].
    pub id: BatchId,
    /// Distinct keys in ascending order.
    pub keys: Vec<K>,
}

/// What is known of a changed key: the first position that is not yet replayed, and the last received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Change {
    first: Seq,
    last: Seq,
    in_batch: bool,
}

/// See the [module documentation](self).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ledger<K> {
    regions: Regions<K>,
    /// Changes of keys in unstarted ranges that were not visible when `V` last moved.
    ahead: BTreeMap<K, Change>,
    /// Changes of keys whose chunk has started.
    due: BTreeMap<K, Change>,
    /// Batches in flight, with the visible position at which each was handed out.
    batches: BTreeMap<u64, (Seq, Vec<K>)>,
    next_batch: u64,
    /// Where the next search for due keys begins, so that low keys cannot starve high ones.
    cursor: Option<K>,
    received: Seq,
    visible: Seq,
    /// The highest acknowledged heartbeat.
    acked: u64,
    /// Heartbeats received back from the stream but not yet acknowledged, in order.
    seen: VecDeque<(u64, Seq)>,
    /// The highest heartbeat received back.
    last_seen: u64,
}

impl<K: Ord + Clone> Ledger<K> {
    /// A ledger for a table of which no chunk has been copied.
    pub fn new() -> Self {
        Ledger::with_unstarted(vec![Range { lo: Edge::Start, hi: Edge::End }], 0)
    }

    /// A ledger for a table of which everything outside the given ranges has been copied, by chunks
    /// with numbers up to `last_chunk`.
    pub fn with_unstarted(unstarted: Vec<Range<K>>, last_chunk: u64) -> Self {
        Ledger {
            regions: Regions::new(unstarted, last_chunk),
            ahead: BTreeMap::new(),
            due: BTreeMap::new(),
            batches: BTreeMap::new(),
            next_batch: 0,
            cursor: None,
            received: 0,
            visible: 0,
            acked: 0,
            seen: VecDeque::new(),
            last_seen: 0,
        }
    }

    // ---- the stream ---------------------------------------------------------------------------

    /// The stream delivered a change of `key` in transaction `seq`.
    pub fn change(&mut self, key: K, seq: Seq) {
        self.received = self.received.max(seq);
        let map = if self.regions.is_unstarted(&key) { &mut self.ahead } else { &mut self.due };
        map.entry(key).and_modify(|change| change.last = seq).or_insert(Change {
            first: seq,
            last: seq,
            in_batch: false,
        });
    }

    /// The stream delivered the end of transaction `seq`.
    pub fn transaction_end(&mut self, seq: Seq) {
        self.received = self.received.max(seq);
    }

    /// The stream delivered heartbeat `id`, committed in transaction `seq`.
    pub fn heartbeat_seen(&mut self, id: u64, seq: Seq) {
        self.received = self.received.max(seq);
        // A process that does not know that it has lost the run repeats numbers that its successor has used:
        // that one's commit says nothing about this one's.
        if id > self.last_seen {
            self.last_seen = id;
            self.seen.push_back((id, seq));
        }
        self.advance_visible();
    }

    /// The server acknowledged the commit of heartbeat `id`.
    pub fn heartbeat_acked(&mut self, id: u64) {
        self.acked = self.acked.max(id);
        self.advance_visible();
    }

    fn advance_visible(&mut self) {
        let before = self.visible;
        while let Some(&(id, seq)) = self.seen.front()
            && id <= self.acked
        {
            self.visible = seq;
            self.seen.pop_front();
        }
        if self.visible > before {
            // I2: no chunk has started over these keys, and every later read view sees their change.
            let visible = self.visible;
            self.ahead.retain(|_, change| change.last > visible);
        }
    }

    // ---- the copy -----------------------------------------------------------------------------

    /// A chunk over `range` is about to open its read view. `range` must begin where an unstarted
    /// range begins and must not reach beyond it; anything else is refused with `None`.
    ///
    /// Changes of the range that are not visible yet become due.
    pub fn start_chunk(&mut self, range: Range<K>) -> Option<ChunkId> {
        let id = self.regions.start(range.clone())?;
        let visible = self.visible;
        let moved: Vec<K> = range.keys_in(&self.ahead).cloned().collect();
        for key in moved {
            if let Some(change) = self.ahead.remove(&key)
                && change.last > visible
            {
                let first = change.first.max(visible + 1);
                self.due
                    .entry(key)
                    .and_modify(|old| old.last = old.last.max(change.last))
                    .or_insert(Change { first, ..change });
            }
        }
        Some(id)
    }

    /// The chunk's transaction has committed.
    pub fn finish_chunk(&mut self, id: ChunkId) {
        self.regions.finish(id);
    }

    /// The chunk was rolled back; its range is unstarted again.
    pub fn abort_chunk(&mut self, id: ChunkId) {
        self.regions.abort(id);
    }

    /// The lowest range that no chunk has started, if any.
    pub fn next_unstarted(&self) -> Option<&Range<K>> {
        self.regions.next_unstarted()
    }

    /// Whether every range has been copied.
    pub fn is_copied(&self) -> bool {
        self.regions.is_copied()
    }

    // ---- the replay ---------------------------------------------------------------------------

    /// Keys that may be replayed now, at most `limit`, or `None` if there are none.
    pub fn next_batch(&mut self, limit: usize) -> Option<Batch<K>> {
        let keys = self.collect_ready(limit);
        let cursor = keys.last().cloned()?;
        self.cursor = Some(cursor);
        for key in &keys {
            if let Some(change) = self.due.get_mut(key) {
                change.in_batch = true;
            }
        }
        self.next_batch += 1;
        self.batches.insert(self.next_batch, (self.visible, keys.clone()));
        Some(Batch { id: BatchId(self.next_batch), keys })
    }

    fn collect_ready(&self, limit: usize) -> Vec<K> {
        let ready = |(key, change): &(&K, &Change)| {
            !change.in_batch && change.first <= self.visible && self.regions.is_copied_key(key)
        };
        let mut keys: Vec<K> = match &self.cursor {
            Some(cursor) => {
                use std::ops::Bound::{Excluded, Unbounded};
                let above = self.due.range((Excluded(cursor), Unbounded));
                let below = self.due.range(..=cursor);
                above.chain(below).filter(ready).take(limit).map(|(key, _)| key.clone()).collect()
            }
            None => self.due.iter().filter(ready).take(limit).map(|(key, _)| key.clone()).collect(),
        };
        keys.sort_unstable();
        keys
    }

    /// The batch has been replayed and committed: changes up to its read position are settled. Returns
    /// its keys.
    pub fn batch_done(&mut self, id: BatchId) -> Vec<K> {
        let Some((view, keys)) = self.batches.remove(&id.0) else { return Vec::new() };
        for key in &keys {
            let Some(change) = self.due.get_mut(key) else { continue };
            change.in_batch = false;
            if change.last <= view {
                self.due.remove(key);
            } else {
                change.first = change.first.max(view + 1);
            }
        }
        keys
    }

    /// The batch was rolled back; its keys stay due.
    pub fn batch_failed(&mut self, id: BatchId) {
        let Some((_, keys)) = self.batches.remove(&id.0) else { return };
        for key in keys {
            if let Some(change) = self.due.get_mut(&key) {
                change.in_batch = false;
            }
        }
    }

    /// Asks for `key` to be read again as if it had changed in the last received transaction: for
    /// keys that verification or a duplicate found to differ.
    pub fn touch(&mut self, key: K) {
        self.change(key, self.received);
    }

    // ---- questions ----------------------------------------------------------------------------

    /// Every transaction up to here is visible to a read view opened from now on.
    pub fn visible(&self) -> Seq {
        self.visible
    }

    /// The last transaction that the stream has delivered.
    pub fn received(&self) -> Seq {
        self.received
    }

    /// Keys that wait for replay or for visibility.
    pub fn backlog(&self) -> usize {
        self.due.len()
    }

    /// Whether a change waits for `V` to move.
    pub fn wants_heartbeat(&self) -> bool {
        !self.due.is_empty() && self.visible < self.received
    }

    /// Whether the key has a change that is not settled.
    pub fn is_due(&self, key: &K) -> bool {
        self.due.contains_key(key)
    }

    /// Whether the shadow table equals the source once no more changes arrive: all is copied, every
    /// change up to `seq` is visible, and none is left to replay.
    pub fn is_drained(&self, seq: Seq) -> bool {
        self.is_copied() && self.visible >= seq && self.due.is_empty() && self.batches.is_empty()
    }

    /// Every change at or before this position is settled, or visible and in a range that no chunk has
    /// started: see the [module documentation](self).
    pub fn safe_position(&self) -> Seq {
        self.due
            .values()
            .map(|change| change.first.saturating_sub(1))
            .min()
            .map_or(self.visible, |position| position.min(self.visible))
    }
}

impl<K: Ord + Clone> Default for Ledger<K> {
    fn default() -> Self {
        Ledger::new()
    }
}
