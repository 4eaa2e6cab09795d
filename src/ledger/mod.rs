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
//! # More keys than memory should hold
//!
//! A transaction of very many rows is received as a whole before `V` can pass it. Two things keep the ledger small:
//!
//! - [`Ledger::forget_ahead`] forgets the changes of keys in unstarted ranges, and lets no chunk start until `V` has
//!   passed the last of them: what I2 asks of a change that is forgotten.
//! - [`Ledger::condense`] puts *stretches* in the place of due keys in copied ranges: a range, and a few bits of each key
//!   that has changed in it. When `V` has passed the stretch's last change, the range's keys are listed from both
//!   tables, and those with such bits are due again, each at the stretch's positions, so that I1, I3 and I5 hold for
//!   them as for every other key (see the module `stretches`).
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
mod stretches;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hash;

use region::Regions;
pub use region::{ChunkId, Edge, Range, gaps};
use stretches::{Stretch, Stretches};

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
    /// What was condensed of `due`.
    stretches: Stretches<K>,
    /// No chunk starts before `V` has come here.
    closed: Seq,
    /// Batches in flight, with the visible position at which each was handed out.
    batches: BTreeMap<u64, (Seq, Vec<K>)>,
    next_batch: u64,
    /// Whether the last search for due keys has found none that may be replayed, and nothing has happened since that
    /// could have made one ready: with very many of them, every search takes its time.
    is_barren: bool,
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

impl<K: Ord + Clone + Hash> Ledger<K> {
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
            stretches: Stretches::new(),
            closed: 0,
            batches: BTreeMap::new(),
            next_batch: 0,
            is_barren: false,
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
        self.is_barren &= seq > self.visible;
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
            self.is_barren = false;
            self.ahead.retain(|_, change| change.last > visible);
        }
    }

    // ---- the copy -----------------------------------------------------------------------------

    /// A chunk over `range` is about to open its read view. `range` must begin where an unstarted
    /// range begins and must not reach beyond it; anything else is refused with `None`.
    ///
    /// Changes of the range that are not visible yet become due. While [`Self::may_start`] says no, it is refused as
    /// well.
    pub fn start_chunk(&mut self, range: Range<K>) -> Option<ChunkId> {
        if !self.may_start() {
            return None;
        }
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

    /// Whether a chunk may start: changes ahead of the copy were forgotten that are not visible yet.
    pub fn may_start(&self) -> bool {
        self.visible >= self.closed
    }

    /// The chunk's transaction has committed.
    pub fn finish_chunk(&mut self, id: ChunkId) {
        self.regions.finish(id);
        self.is_barren = false;
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
        if self.is_barren {
            return None;
        }
        let keys = self.collect_ready(limit);
        self.is_barren = keys.is_empty();
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
        self.is_barren = false;
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
        self.is_barren = false;
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

    // ---- few keys in the place of many ------------------------------------------------------------

    /// Forgets the changes of keys in unstarted ranges: no chunk starts until they are visible.
    pub fn forget_ahead(&mut self) {
        let last = self.ahead.values().map(|change| change.last).max();
        self.closed = self.closed.max(last.unwrap_or(0));
        self.ahead.clear();
    }

    /// Condenses due keys in copied ranges: of every `run` neighbours the first one is kept, and the others are left to
    /// a stretch, which is [listed](Self::next_stretch) when their changes are visible.
    pub fn condense(&mut self, run: usize) {
        let mut kept = BTreeMap::new();
        let mut open: Option<(K, Stretch<K>)> = None;
        for (key, change) in std::mem::take(&mut self.due) {
            let stays = change.in_batch
                || !self.regions.is_copied_key(&key)
                || self.stretches.is_listing(&key);
            if stays {
                kept.insert(key, change);
                continue;
            }
            if self.stretches.absorb(&key, &change) {
                continue;
            }
            match &mut open {
                Some((from, stretch))
                    if stretch.len() + 1 < run
                        && self.regions.is_copied_between(from, &key)
                        && !self.stretches.begins_between(from, &key) =>
                {
                    stretch.extend(key, &change);
                }
                _ => {
                    self.close(open.replace((key.clone(), Stretch::above(key.clone()))));
                    kept.insert(key, change);
                }
            }
        }
        self.close(open);
        self.due = kept;
    }

    fn close(&mut self, run: Option<(K, Stretch<K>)>) {
        if let Some((_, stretch)) = run.filter(|(_, stretch)| stretch.len() > 0) {
            self.stretches.add(stretch);
        }
    }

    /// A range whose keys are to be listed now, by views of both tables that are opened from now on: every key that
    /// either of them holds. One at a time is handed out.
    pub fn next_stretch(&mut self) -> Option<Range<K>> {
        self.stretches.next(self.visible)
    }

    /// The range that was handed out could not be listed now.
    pub fn stretch_deferred(&mut self) {
        self.stretches.defer();
    }

    /// The range that was handed out holds these keys, in ascending order, in the one table and in the other one. Each was
    /// asked for `limit` keys: what is behind the last one of a full list is not known, and is handed out again.
    pub fn stretch_listed(&mut self, lists: [Vec<K>; 2], limit: usize) {
        let full = lists.iter().filter(|list| list.len() >= limit);
        let reached = full.filter_map(|list| list.last()).min().cloned();
        let keys: BTreeSet<K> = lists
            .into_iter()
            .flatten()
            .filter(|key| reached.as_ref().is_none_or(|reached| key <= reached))
            .collect();
        let Some((changed, first, last)) = self.stretches.listed(keys, reached) else { return };
        self.is_barren = false;
        for key in changed {
            let listed = Change { first, last, in_batch: false };
            self.due
                .entry(key)
                .and_modify(|change| {
                    change.first = change.first.min(first);
                    change.last = change.last.max(last);
                })
                .or_insert(listed);
        }
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
        self.due.len() + self.stretches.keys()
    }

    /// Whether some of them were [condensed](Self::condense).
    pub fn is_condensed(&self) -> bool {
        !self.stretches.is_empty()
    }

    /// Keys that are held one by one: those that are due, and those ahead of the copy.
    pub fn held(&self) -> (usize, usize) {
        (self.due.len(), self.ahead.len())
    }

    /// Whether a change waits for `V` to move.
    pub fn wants_heartbeat(&self) -> bool {
        (self.backlog() > 0 || !self.may_start()) && self.visible < self.received
    }

    /// Whether the key has a change that is not settled, or may have one.
    pub fn is_due(&self, key: &K) -> bool {
        self.due.contains_key(key) || self.stretches.contains(key)
    }

    /// Whether the shadow table equals the source once no more changes arrive: all is copied, every
    /// change up to `seq` is visible, and none is left to replay.
    pub fn is_drained(&self, seq: Seq) -> bool {
        let is_replayed =
            self.due.is_empty() && self.stretches.is_empty() && self.batches.is_empty();
        self.is_copied() && self.visible >= seq && is_replayed
    }

    /// Every change at or before this position is settled, or visible and in a range that no chunk has
    /// started: see the [module documentation](self).
    pub fn safe_position(&self) -> Seq {
        self.due
            .values()
            .map(|change| change.first)
            .chain(self.stretches.first())
            .min()
            .map_or(self.visible, |first| first.saturating_sub(1).min(self.visible))
    }
}

impl<K: Ord + Clone + Hash> Default for Ledger<K> {
    fn default() -> Self {
        Ledger::new()
    }
}
