//! What the surroundings need of a ledger, so that a ledger that breaks one rule can take the place of
//! the real one.

use std::fmt::Debug;
use std::hash::Hash;

use replank::ledger::{BatchId, ChunkId, Ledger, Range, Seq};

/// A key of the modelled table.
pub(crate) type Key = u8;

/// The real ledger, or one that differs from it in one method.
pub(crate) trait Bookkeeper:
    Clone + Debug + Hash + PartialEq + Send + Sync + 'static
{
    /// A ledger for a run that finds these ranges not copied.
    fn with_unstarted(unstarted: Vec<Range<Key>>) -> Self;
    /// The real ledger.
    fn ledger(&self) -> &Ledger<Key>;
    /// The real ledger.
    fn ledger_mut(&mut self) -> &mut Ledger<Key>;

    fn change(&mut self, key: Key, seq: Seq) {
        self.ledger_mut().change(key, seq);
    }
    fn transaction_end(&mut self, seq: Seq) {
        self.ledger_mut().transaction_end(seq);
    }
    fn heartbeat_seen(&mut self, id: u64, seq: Seq) {
        self.ledger_mut().heartbeat_seen(id, seq);
    }
    fn start_chunk(&mut self, range: Range<Key>) -> Option<ChunkId> {
        self.ledger_mut().start_chunk(range)
    }
    fn next_batch(&mut self, limit: usize) -> Option<(BatchId, Vec<Key>)> {
        self.ledger_mut().next_batch(limit).map(|batch| (batch.id, batch.keys))
    }
    fn batch_done(&mut self, id: BatchId) {
        self.ledger_mut().batch_done(id);
    }
    fn batch_failed(&mut self, id: BatchId) {
        self.ledger_mut().batch_failed(id);
    }
    fn condense(&mut self, run: usize) {
        self.ledger_mut().forget_ahead();
        self.ledger_mut().condense(run);
    }
    fn next_stretch(&mut self) -> Option<Range<Key>> {
        self.ledger_mut().next_stretch()
    }
    fn stretch_listed(&mut self, lists: [Vec<Key>; 2], limit: usize) {
        self.ledger_mut().stretch_listed(lists, limit);
    }
    fn is_drained(&self, seq: Seq) -> bool {
        self.ledger().is_drained(seq)
    }
    fn safe_position(&self) -> Seq {
        self.ledger().safe_position()
    }
}

impl Bookkeeper for Ledger<Key> {
    fn with_unstarted(unstarted: Vec<Range<Key>>) -> Self {
        Ledger::with_unstarted(unstarted, 0)
    }
    fn ledger(&self) -> &Ledger<Key> {
        self
    }
    fn ledger_mut(&mut self) -> &mut Ledger<Key> {
        self
    }
}
