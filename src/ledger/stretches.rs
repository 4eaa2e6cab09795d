//! Changed keys that are too many to be kept one by one.
//!
//! A transaction of ten million rows is received as a whole before any of its changes may be replayed. Its keys in
//! copied ranges are condensed to *stretches*: from one changed key to another one, every key between them may have
//! changed. When the last change of a stretch is visible, its keys are listed, from both tables, and are due as if
//! each had changed at the stretch's positions: a row that was deleted is still in the shadow table, every other one
//! is in the source. Keys that did not change are read again as well, which is harmless.
//!
//! Changes that arrive later are kept one by one again, also those within a stretch.

use std::collections::{BTreeSet, VecDeque};

use super::Seq;
use super::region::{Edge, Range};

/// Keys of a copied range, some of which have changed between two positions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stretch<K> {
    pub(super) range: Range<K>,
    /// How many changed keys it stands for.
    pub(super) keys: usize,
    /// The first position at which one of them changed, and the last one.
    pub(super) first: Seq,
    pub(super) last: Seq,
}

impl<K: Ord + Clone> Stretch<K> {
    /// An empty one, which begins above this key.
    pub(super) fn above(key: K) -> Self {
        let edge = Edge::At(key);
        let range = Range { lo: edge.clone(), hi: edge };
        Stretch { range, keys: 0, first: Seq::MAX, last: 0 }
    }

    /// Takes in the next changed key.
    pub(super) fn extend(&mut self, key: K, first: Seq, last: Seq) {
        self.range.hi = Edge::At(key);
        self.keys += 1;
        self.first = self.first.min(first);
        self.last = self.last.max(last);
    }
}

/// All stretches, of which one at a time is being listed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stretches<K> {
    waiting: VecDeque<Stretch<K>>,
    listing: Option<Stretch<K>>,
    keys: usize,
}

impl<K: Ord + Clone> Stretches<K> {
    pub(super) fn new() -> Self {
        Stretches { waiting: VecDeque::new(), listing: None, keys: 0 }
    }

    pub(super) fn add(&mut self, stretch: Stretch<K>) {
        self.keys += stretch.keys;
        self.waiting.push_back(stretch);
    }

    /// How many changed keys they stand for.
    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.listing.is_none()
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.all().any(|stretch| stretch.range.contains(key))
    }

    /// Where each begins.
    pub(super) fn beginnings(&self) -> BTreeSet<Edge<K>> {
        self.all().map(|stretch| stretch.range.lo.clone()).collect()
    }

    /// The first position at which a key of any of them changed.
    pub(super) fn first(&self) -> Option<Seq> {
        self.all().map(|stretch| stretch.first).min()
    }

    /// A stretch whose changes are all visible, to be listed now; none while another one is.
    pub(super) fn next(&mut self, visible: Seq) -> Option<Range<K>> {
        if self.listing.is_some() {
            return None;
        }
        let at = self.waiting.iter().position(|stretch| stretch.last <= visible)?;
        self.listing = self.waiting.remove(at);
        self.listing.as_ref().map(|stretch| stretch.range.clone())
    }

    /// So many keys were listed, up to `reached` where that is not the end; what is above it waits to be listed. Returns
    /// the positions of their changes.
    pub(super) fn listed(&mut self, keys: usize, reached: Option<K>) -> Option<(Seq, Seq)> {
        let mut stretch = self.listing.take()?;
        let (first, last) = (stretch.first, stretch.last);
        self.keys -= stretch.keys;
        if let Some(reached) = reached.map(Edge::At).filter(|edge| *edge < stretch.range.hi) {
            stretch.range.lo = reached;
            stretch.keys = stretch.keys.saturating_sub(keys).max(1);
            self.keys += stretch.keys;
            self.waiting.push_front(stretch);
        }
        Some((first, last))
    }

    fn all(&self) -> impl Iterator<Item = &Stretch<K>> {
        self.waiting.iter().chain(&self.listing)
    }
}
