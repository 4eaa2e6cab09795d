//! From the ledger's safe position, which is the number of a transaction, to the place in the binlog
//! that a later process may read from (I5).
//!
//! Only ends of transactions that were delivered whole are such places. Two things hold the place back
//! behind the ledger's safe position: no end may be known exactly there; and an XA transaction's rows
//! stand in the binlog where it was prepared, while the ledger counts them from its commit. So no place is
//! given between the two: whoever reads the commit has to have read the rows.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::ledger::Seq;
use crate::stream::{Position, XaSpan};

/// Between two checkpoints.
const EVERY: Duration = Duration::from_secs(1);

/// More ends of transactions are not kept: every other one is forgotten then.
const MOST_ENDS: usize = 4_096;

/// Known ends of transactions, from the last one that was given on.
#[derive(Debug)]
pub(crate) struct Checkpointing {
    /// In ascending order; never empty.
    ends: VecDeque<(Seq, Position)>,
    /// Where each XA transaction was prepared and where it ended.
    xa: BTreeMap<Seq, Option<Seq>>,
    /// The transaction that swapped the tables, once the stream has delivered it; 0 if it began behind it.
    swap: Option<Seq>,
    written: Option<Instant>,
}

/// A place that a later process may read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: Position,
    /// Whether it is known to be behind the swap of the tables.
    pub(crate) behind_swap: bool,
}

impl Checkpointing {
    /// Transaction 0 ends where the stream begins.
    pub(crate) fn new(start: Position, behind_swap: bool) -> Self {
        Checkpointing {
            ends: VecDeque::from([(0, start)]),
            xa: BTreeMap::new(),
            swap: behind_swap.then_some(0),
            written: None,
        }
    }

    /// The stream has delivered the swap of the tables.
    pub(crate) fn swapped(&mut self, seq: Seq) {
        self.swap.get_or_insert(seq);
    }

    /// Whether the swap of the tables has been delivered, or lies before the beginning.
    pub(crate) fn knows_swap(&self) -> bool {
        self.swap.is_some()
    }

    /// Whether it is time for another one.
    pub(crate) fn is_due(&self) -> bool {
        self.written.is_none_or(|written| written.elapsed() >= EVERY)
    }

    /// One is being written.
    pub(crate) fn begun(&mut self) {
        self.written = Some(Instant::now());
    }

    /// The stream has delivered a transaction's end, and XA transactions.
    pub(crate) fn delivered(&mut self, (seq, at): (Seq, Position), xa: &[XaSpan]) {
        for span in xa {
            self.xa.insert(span.prepared, span.ended);
        }
        match self.ends.back_mut() {
            // The next file begins where the last transaction ended.
            Some(last) if last.0 == seq => last.1 = at,
            Some(last) if last.0 > seq => {}
            _ => self.ends.push_back((seq, at)),
        }
        if self.ends.len() > MOST_ENDS {
            let mut place = 0;
            self.ends.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
    }

    /// The place for a safe position of the ledger. Later calls give the same place or a later one.
    pub(crate) fn place(&mut self, safe: Seq) -> Place {
        let mut safe = safe;
        // A transaction within another one may hold it back further.
        while let Some(prepared) = self.holding(safe) {
            safe = prepared.saturating_sub(1);
        }
        while self.ends.get(1).is_some_and(|(seq, _)| *seq <= safe) {
            self.ends.pop_front();
        }
        let given = self.ends.front().map_or(0, |(seq, _)| *seq);
        self.xa.retain(|_, ended| ended.is_none_or(|ended| ended > given));
        Place {
            position: self.ends[0].1.clone(),
            behind_swap: self.swap.is_some_and(|swap| swap <= given),
        }
    }

    /// An XA transaction that was prepared at or before this transaction and ended behind it.
    fn holding(&self, safe: Seq) -> Option<Seq> {
        let spans = self.xa.range(..=safe);
        spans
            .filter(|(_, ended)| ended.is_none_or(|ended| ended > safe))
            .map(|(prepared, _)| *prepared)
            .next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { file: "binlog.000001".to_owned(), offset }
    }

    fn checkpointing(ends: &[u64]) -> Checkpointing {
        let mut found = Checkpointing::new(at(0), false);
        for seq in ends {
            found.delivered((*seq, at(*seq * 10)), &[]);
        }
        found
    }

    #[test]
    fn the_place_is_the_last_known_end_that_is_not_behind_the_safe_position() {
        let mut found = checkpointing(&[3, 5, 9]);
        assert_eq!(found.place(2).position, at(0));
        assert_eq!(found.place(5).position, at(50));
        assert_eq!(found.place(8).position, at(50));
        assert_eq!(found.place(100).position, at(90));
    }

    #[test]
    fn a_new_file_moves_the_place_although_no_transaction_ended() {
        let mut found = checkpointing(&[3]);
        let next = Position { file: "binlog.000002".to_owned(), offset: 4 };
        found.delivered((3, next.clone()), &[]);
        assert_eq!(found.place(3).position, next);
    }

    #[test]
    fn the_place_stays_before_an_xa_transaction_until_its_commit_is_settled() {
        let mut found = checkpointing(&[1, 2, 3, 4, 5, 6, 7]);
        let span = |prepared, ended| XaSpan { prepared, ended };
        found.delivered((7, at(70)), &[span(3, None)]);
        assert_eq!(found.place(7).position, at(20));
        found.delivered((8, at(80)), &[span(3, Some(8))]);
        assert_eq!(
            found.place(7).position,
            at(20),
            "the commit is to be read, so the rows are as well"
        );
        assert_eq!(found.place(8).position, at(80));
    }

    #[test]
    fn xa_transactions_that_overlap_hold_the_place_before_the_first_of_them() {
        let mut found = checkpointing(&[1, 2, 3, 4, 5, 6]);
        let span = |prepared, ended| XaSpan { prepared, ended: Some(ended) };
        found.delivered((6, at(60)), &[span(2, 4), span(3, 6)]);
        assert_eq!(found.place(5).position, at(10));
        assert_eq!(found.place(6).position, at(60));
    }

    #[test]
    fn the_place_says_whether_it_is_behind_the_swap() {
        let mut found = checkpointing(&[1, 2, 3]);
        assert!(!found.place(3).behind_swap, "no swap has been delivered");
        let mut found = checkpointing(&[1, 2, 3]);
        found.swapped(2);
        assert!(!found.place(1).behind_swap && found.place(2).behind_swap);
        assert!(Checkpointing::new(at(0), true).place(0).behind_swap);
    }

    #[test]
    fn ends_are_thinned_out_and_the_first_one_is_kept() {
        let mut found = Checkpointing::new(at(0), false);
        for seq in 1..20_000 {
            found.delivered((seq, at(seq)), &[]);
        }
        assert!(found.ends.len() <= MOST_ENDS);
        assert_eq!(found.place(0).position, at(0));
        assert!(found.place(19_000).position.offset > 10_000);
    }
}
