//! The key space, cut into ranges that are unstarted, being copied, or copied.

use std::collections::BTreeMap;
use std::ops::Bound;

/// One end of a range of keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edge<K> {
    /// Before every key.
    Start,
    /// At this key.
    At(K),
    /// After every key.
    End,
}

/// A half-open range of keys: above `lo`, up to and including `hi`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Range<K> {
    /// The highest key that is not part of the range.
    pub lo: Edge<K>,
    /// The highest key that is part of the range.
    pub hi: Edge<K>,
}

impl<K: Ord> Range<K> {
    /// Whether the range holds the key.
    pub fn contains(&self, key: &K) -> bool {
        let above = match &self.lo {
            Edge::Start => true,
            Edge::At(lo) => key > lo,
            Edge::End => false,
        };
        let below = match &self.hi {
            Edge::Start => false,
            Edge::At(hi) => key <= hi,
            Edge::End => true,
        };
        above && below
    }

    /// The keys of a map that lie in the range.
    pub(super) fn keys_in<'a, V>(
        &self,
        map: &'a BTreeMap<K, V>,
    ) -> Box<dyn Iterator<Item = &'a K> + 'a> {
        let lo = match &self.lo {
            Edge::Start => Bound::Unbounded,
            Edge::At(lo) => Bound::Excluded(lo),
            Edge::End => return Box::new(std::iter::empty()),
        };
        let hi = match &self.hi {
            Edge::Start => return Box::new(std::iter::empty()),
            Edge::At(hi) => Bound::Included(hi),
            Edge::End => Bound::Unbounded,
        };
        Box::new(map.range((lo, hi)).map(|(key, _)| key))
    }
}

/// What is left of the key space when these ranges are taken from it, in ascending order.
pub fn gaps<K: Ord + Clone>(mut taken: Vec<Range<K>>) -> Vec<Range<K>> {
    taken.sort_by(|a, b| a.lo.cmp(&b.lo));
    let mut free = Vec::new();
    let mut reached = Edge::Start;
    for range in taken {
        if reached < range.lo {
            free.push(Range { lo: reached.clone(), hi: range.lo });
        }
        reached = reached.max(range.hi);
    }
    if reached < Edge::End {
        free.push(Range { lo: reached, hi: Edge::End });
    }
    free
}

/// Identifies a chunk that has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId(u64);

impl ChunkId {
    /// The number of the chunk, counted from 1 in the order of starting, over all processes of a run.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What is neither unstarted nor copying is copied. Both lists are short: one entry per worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Regions<K> {
    unstarted: Vec<Range<K>>,
    copying: BTreeMap<u64, Range<K>>,
    last_chunk: u64,
}

impl<K: Ord + Clone> Regions<K> {
    pub(super) fn new(mut unstarted: Vec<Range<K>>, last_chunk: u64) -> Self {
        unstarted.sort_by(|a, b| a.lo.cmp(&b.lo));
        Regions { unstarted, copying: BTreeMap::new(), last_chunk }
    }

    pub(super) fn is_unstarted(&self, key: &K) -> bool {
        self.unstarted.iter().any(|range| range.contains(key))
    }

    pub(super) fn is_copied_key(&self, key: &K) -> bool {
        !self.is_unstarted(key) && !self.copying.values().any(|range| range.contains(key))
    }

    /// Whether a chunk has copied every key from `lo` to `hi`.
    pub(super) fn is_copied_between(&self, lo: &K, hi: &K) -> bool {
        let lies_between =
            |range: &Range<K>| range.lo >= Edge::At(lo.clone()) && range.hi <= Edge::At(hi.clone());
        let meets =
            |range: &Range<K>| range.contains(lo) || range.contains(hi) || lies_between(range);
        !self.unstarted.iter().chain(self.copying.values()).any(meets)
    }

    pub(super) fn is_copied(&self) -> bool {
        self.unstarted.is_empty() && self.copying.is_empty()
    }

    pub(super) fn next_unstarted(&self) -> Option<&Range<K>> {
        self.unstarted.first()
    }

    pub(super) fn start(&mut self, range: Range<K>) -> Option<ChunkId> {
        let at = self
            .unstarted
            .iter()
            .position(|free| free.lo == range.lo && range.lo < range.hi && range.hi <= free.hi)?;
        if self.unstarted[at].hi == range.hi {
            self.unstarted.remove(at);
        } else {
            self.unstarted[at].lo = range.hi.clone();
        }
        self.last_chunk += 1;
        self.copying.insert(self.last_chunk, range);
        Some(ChunkId(self.last_chunk))
    }

    pub(super) fn finish(&mut self, id: ChunkId) {
        self.copying.remove(&id.0);
    }

    pub(super) fn abort(&mut self, id: ChunkId) {
        if let Some(range) = self.copying.remove(&id.0) {
            let at = self.unstarted.partition_point(|free| free.lo < range.lo);
            self.unstarted.insert(at, range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_must_begin_where_an_unstarted_range_begins() {
        let mut regions = Regions::new(vec![Range { lo: Edge::Start, hi: Edge::End }], 0);
        assert!(regions.start(Range { lo: Edge::At(3), hi: Edge::At(5) }).is_none());
        assert!(regions.start(Range { lo: Edge::Start, hi: Edge::At(5) }).is_some());
        assert!(regions.start(Range { lo: Edge::Start, hi: Edge::At(5) }).is_none());
        assert!(regions.start(Range { lo: Edge::At(5), hi: Edge::At(4) }).is_none());
        assert!(regions.start(Range { lo: Edge::At(5), hi: Edge::At(5) }).is_none());
        assert!(regions.start(Range { lo: Edge::At(5), hi: Edge::End }).is_some());
        assert!(regions.next_unstarted().is_none());
    }

    #[test]
    fn an_aborted_range_is_offered_before_the_ranges_above_it() {
        let mut regions = Regions::new(vec![Range { lo: Edge::Start, hi: Edge::End }], 0);
        let first = regions.start(Range { lo: Edge::Start, hi: Edge::At(5) }).unwrap();
        regions.abort(first);
        assert_eq!(regions.next_unstarted(), Some(&Range { lo: Edge::Start, hi: Edge::At(5) }));
        assert!(regions.is_unstarted(&4) && regions.is_unstarted(&6));
    }

    #[test]
    fn aborted_ranges_come_back_in_the_order_of_their_keys() {
        let mut regions = Regions::new(vec![Range { lo: Edge::Start, hi: Edge::End }], 0);
        let ranges = [
            Range { lo: Edge::Start, hi: Edge::At(5) },
            Range { lo: Edge::At(5), hi: Edge::At(9) },
        ];
        let ids = ranges.clone().map(|range| regions.start(range).unwrap());
        ids.into_iter().for_each(|id| regions.abort(id));
        assert_eq!(regions.unstarted[..2], ranges);
    }

    #[test]
    fn gaps_are_what_the_chunks_left() {
        let at = |lo, hi| Range { lo: Edge::At(lo), hi: Edge::At(hi) };
        assert_eq!(gaps::<i32>(vec![]), [Range { lo: Edge::Start, hi: Edge::End }]);
        assert_eq!(gaps::<i32>(vec![Range { lo: Edge::Start, hi: Edge::End }]), []);
        assert_eq!(
            gaps(vec![at(5, 7), Range { lo: Edge::Start, hi: Edge::At(3) }, at(7, 9)]),
            [at(3, 5), Range { lo: Edge::At(9), hi: Edge::End }]
        );
    }

    #[test]
    fn numbers_go_on_where_an_earlier_process_ended() {
        let mut regions = Regions::new(vec![Range { lo: Edge::At(3), hi: Edge::End }], 17);
        let id = regions.start(Range { lo: Edge::At(3), hi: Edge::End }).unwrap();
        assert_eq!(id.number(), 18);
    }

    #[test]
    fn the_upper_edge_belongs_to_the_range_and_the_lower_does_not() {
        let range = Range { lo: Edge::At(1), hi: Edge::At(2) };
        assert!(!range.contains(&1) && range.contains(&2) && !range.contains(&3));
    }
}
