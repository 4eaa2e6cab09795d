//! Changed keys that are too many to be held one by one.
//!
//! A transaction of ten million rows is received as a whole before any of its changes may be replayed. Of its keys in
//! copied ranges, neighbours are condensed to a *stretch*: a range, and 64 bits of each key that has changed in it. When
//! the last change of a stretch is visible, the keys in its range are listed from both tables, and those whose bits are
//! in the stretch are due, as if each had changed at the stretch's positions: a row that was deleted is still in the
//! shadow table, every other one is in the source. A key that did not change and has the same bits is read again as
//! well: one of 10^19, and harmless.
//!
//! Stretches are disjoint: what changes later within one is absorbed by it when the next keys are condensed.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

use super::region::{Edge, Range};
use super::{Change, Seq};

/// Keys of a copied range, some of which have changed between two positions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stretch<K> {
    range: Range<K>,
    /// 64 bits of each changed key, sorted before they are searched.
    bits: Vec<u64>,
    /// The first position at which one of them changed, and the last one.
    first: Seq,
    last: Seq,
}

impl<K: Ord + Clone + Hash> Stretch<K> {
    /// An empty one, which begins above this key.
    pub(super) fn above(key: K) -> Self {
        let edge = Edge::At(key);
        let range = Range { lo: edge.clone(), hi: edge };
        Stretch { range, bits: Vec::new(), first: Seq::MAX, last: 0 }
    }

    /// How many changed keys it stands for.
    pub(super) fn len(&self) -> usize {
        self.bits.len()
    }

    /// Takes in the next changed key.
    pub(super) fn extend(&mut self, key: K, change: &Change) {
        self.absorb(&key, change);
        self.range.hi = Edge::At(key);
    }

    fn absorb(&mut self, key: &K, change: &Change) {
        self.bits.push(bits_of(key));
        self.first = self.first.min(change.first);
        self.last = self.last.max(change.last);
    }
}

fn bits_of(key: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key)
}

/// All stretches, of which one at a time is being listed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stretches<K> {
    /// Those that wait, by their lower edge.
    waiting: BTreeMap<Edge<K>, Stretch<K>>,
    listing: Option<Stretch<K>>,
    keys: usize,
    /// No stretch that waits has its last change before this.
    soonest: Seq,
}

impl<K: Ord + Clone + Hash> Stretches<K> {
    pub(super) fn new() -> Self {
        Stretches { waiting: BTreeMap::new(), listing: None, keys: 0, soonest: Seq::MAX }
    }

    /// Adds one that is disjoint from all others.
    pub(super) fn add(&mut self, mut stretch: Stretch<K>) {
        stretch.bits.shrink_to_fit();
        self.keys += stretch.len();
        self.soonest = self.soonest.min(stretch.last);
        self.waiting.insert(stretch.range.lo.clone(), stretch);
    }

    /// Leaves a changed key to the stretch that it lies in, if one waits there.
    pub(super) fn absorb(&mut self, key: &K, change: &Change) -> bool {
        let below = self.waiting.range_mut(..Edge::At(key.clone())).next_back();
        match below.filter(|(_, stretch)| stretch.range.contains(key)) {
            Some((_, stretch)) => {
                let before = stretch.len();
                stretch.absorb(key, change);
                // A key that changes again and again is to be there once.
                if stretch.len().is_power_of_two() {
                    stretch.bits.sort_unstable();
                    stretch.bits.dedup();
                }
                self.keys = self.keys + stretch.len() - before;
                true
            }
            None => false,
        }
    }

    /// How many changed keys they stand for.
    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.listing.is_none()
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        let below = self.waiting.range(..Edge::At(key.clone())).next_back();
        below.is_some_and(|(_, stretch)| stretch.range.contains(key)) || self.is_listing(key)
    }

    /// Whether the key lies in the stretch that is being listed.
    pub(super) fn is_listing(&self, key: &K) -> bool {
        self.listing.as_ref().is_some_and(|stretch| stretch.range.contains(key))
    }

    /// Whether a stretch begins between two keys.
    pub(super) fn begins_between(&self, lo: &K, hi: &K) -> bool {
        let between = Edge::At(lo.clone())..Edge::At(hi.clone());
        let listed = self.listing.as_ref().map(|stretch| &stretch.range.lo);
        self.waiting.range(between.clone()).next().is_some()
            || listed.is_some_and(|lo| between.contains(lo))
    }

    /// The first position at which a key of any of them changed.
    pub(super) fn first(&self) -> Option<Seq> {
        self.waiting.values().chain(&self.listing).map(|stretch| stretch.first).min()
    }

    /// A stretch whose changes are all visible, to be listed now; none while another one is.
    pub(super) fn next(&mut self, visible: Seq) -> Option<Range<K>> {
        if self.listing.is_some() || self.soonest > visible {
            return None;
        }
        let ready = self.waiting.iter().find(|(_, stretch)| stretch.last <= visible);
        let Some(lo) = ready.map(|(lo, _)| lo.clone()) else {
            let last = self.waiting.values().map(|stretch| stretch.last);
            self.soonest = last.min().unwrap_or(Seq::MAX);
            return None;
        };
        self.listing = self.waiting.remove(&lo);
        self.listing.as_ref().map(|stretch| stretch.range.clone())
    }

    /// The one that is being listed will be listed later.
    pub(super) fn defer(&mut self) {
        if let Some(stretch) = self.listing.take() {
            self.keys -= stretch.len();
            self.add(stretch);
        }
    }

    /// These keys were listed, up to `reached` where that is not the end; what is above it waits to be listed. Returns
    /// those that have changed, and the positions of their changes.
    pub(super) fn listed(
        &mut self,
        keys: impl IntoIterator<Item = K>,
        reached: Option<K>,
    ) -> Option<(Vec<K>, Seq, Seq)> {
        let mut stretch = self.listing.take()?;
        let (first, last) = (stretch.first, stretch.last);
        self.keys -= stretch.len();
        stretch.bits.sort_unstable();
        stretch.bits.dedup();
        let has_changed = |key: &K| stretch.bits.binary_search(&bits_of(key)).is_ok();
        let changed: Vec<K> = keys.into_iter().filter(has_changed).collect();
        if let Some(reached) = reached.map(Edge::At).filter(|edge| *edge < stretch.range.hi) {
            stretch.range.lo = reached;
            self.add(stretch);
        }
        Some((changed, first, last))
    }
}
