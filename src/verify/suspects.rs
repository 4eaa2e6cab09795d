//! Keys that a comparison found to differ, until they are cleared.
//!
//! A suspect is replayed, and compared again once that is done. It is cleared as soon as one read view
//! shows both rows equal: what changes afterwards is the ledger's business. While the application
//! keeps changing the row, a difference says nothing, as replay is always a moment behind; such a
//! suspect stays, at the latest until the cut-over's lock, under which nothing changes.
//!
//! A difference that outlives a replay without any change of the row in between is a real one, which
//! the replay should have mended: the run stops.

use std::collections::BTreeMap;

use crate::ledger::Seq;

/// What the next look at a suspect says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Equal in one read view.
    Cleared,
    /// Different, but the row has changed since its replay, or may have.
    Undecided,
    /// Different although the row was replayed and has not changed since.
    Divergent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Suspect {
    /// Position of the last change that the stream delivered for this key.
    changed: Seq,
    /// The visible position at which the last look at it began, if its replay had been done then.
    looked: Option<Seq>,
    /// Whether a change explains the first difference.
    explained: bool,
}

/// The suspects of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suspects<K: Ord> {
    keys: BTreeMap<K, Suspect>,
    repaired: u64,
}

impl<K: Ord + Clone> Suspects<K> {
    /// No suspects.
    pub fn new() -> Self {
        Suspects { keys: BTreeMap::new(), repaired: 0 }
    }

    /// A comparison found `key` to differ. `explained` says whether a change of it was waiting.
    pub fn add(&mut self, key: K, explained: bool) {
        self.keys.entry(key).or_insert(Suspect { changed: 0, looked: None, explained });
    }

    /// The stream delivered a change of `key` at `seq`.
    pub fn change(&mut self, key: &K, seq: Seq) {
        if self.keys.is_empty() {
            return;
        }
        if let Some(suspect) = self.keys.get_mut(key) {
            suspect.changed = seq;
            suspect.explained = true;
        }
    }

    /// Up to `limit` suspects for which `settled` holds, to be looked at now, when the visible
    /// position is `visible`.
    pub fn next_look(
        &mut self,
        limit: usize,
        visible: Seq,
        settled: impl Fn(&K) -> bool,
    ) -> Vec<K> {
        let mut keys = Vec::new();
        for (key, suspect) in &mut self.keys {
            if keys.len() == limit {
                break;
            }
            if settled(key) {
                suspect.looked = Some(visible);
                keys.push(key.clone());
            }
        }
        keys
    }

    /// The look has ended and the stream has delivered everything that was committed before its end.
    ///
    /// Returns what it says of `key`; a cleared key is forgotten.
    pub fn looked(&mut self, key: &K, equal: bool) -> Verdict {
        let Some(suspect) = self.keys.get_mut(key) else { return Verdict::Cleared };
        if equal {
            self.repaired += u64::from(!suspect.explained);
            self.keys.remove(key);
            return Verdict::Cleared;
        }
        match suspect.looked.take() {
            Some(looked) if suspect.changed <= looked => Verdict::Divergent,
            _ => Verdict::Undecided,
        }
    }

    /// Suspects that are not cleared.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no suspect.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// All suspects in ascending order.
    pub fn keys(&self) -> Vec<K> {
        self.keys.keys().cloned().collect()
    }

    /// Rows that differed without any change to explain it, and were repaired by a replay.
    pub fn repaired(&self) -> u64 {
        self.repaired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_that_outlives_a_replay_without_a_change_is_real() {
        let mut suspects = Suspects::new();
        suspects.add(7, true);
        assert_eq!(suspects.next_look(9, 5, |_| true), [7]);
        assert_eq!(suspects.looked(&7, false), Verdict::Divergent);
    }

    #[test]
    fn a_change_since_the_replay_leaves_the_question_open() {
        let mut suspects = Suspects::new();
        suspects.add(7, true);
        suspects.next_look(9, 5, |_| true);
        suspects.change(&7, 6);
        assert_eq!(suspects.looked(&7, false), Verdict::Undecided);
        suspects.next_look(9, 8, |_| true);
        assert_eq!(suspects.looked(&7, true), Verdict::Cleared);
        assert!(suspects.is_empty());
    }

    #[test]
    fn a_key_that_waits_for_its_replay_is_not_looked_at() {
        let mut suspects = Suspects::new();
        suspects.add(7, true);
        assert!(suspects.next_look(9, 5, |_| false).is_empty());
    }

    #[test]
    fn a_repair_without_a_change_is_counted() {
        let mut suspects = Suspects::new();
        suspects.add(1, false);
        suspects.add(2, true);
        suspects.next_look(9, 5, |_| true);
        suspects.looked(&1, true);
        suspects.looked(&2, true);
        assert_eq!(suspects.repaired(), 1);
    }
}
