//! The verification phase: which range to compare next, and what became of the keys that differed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::error::{Error, Result};
use crate::key::Key;
use crate::ledger::{Edge, Ledger, Range, Seq};
use crate::pace::Sizer;
use crate::verify::{Compared, Suspects, Verdict};

use super::job::Job;

/// With so many suspects no more ranges are compared until some are cleared.
const MOST_SUSPECTS: usize = 50_000;
/// The most suspects that are compared in one statement.
const LOOK: usize = 500;

/// A comparison of suspects whose verdict waits until the stream has delivered what came before its end.
#[derive(Debug)]
struct Look {
    keys: Vec<Key>,
    differing: Vec<Key>,
    /// The heartbeat that was sent after it.
    after: u64,
}

/// The state of the verification.
#[derive(Debug)]
pub(crate) struct Verifying {
    /// The upper edge up to which ranges are known.
    known: Edge<Key>,
    seeking: bool,
    planned: VecDeque<Range<Key>>,
    /// Comparisons under way, by ticket.
    comparing: BTreeSet<u64>,
    tickets: u64,
    /// Keys that were replayed while a comparison was under way, with the last ticket given out then:
    /// the comparison may have met them before their replay.
    replayed: BTreeMap<Key, u64>,
    looking: bool,
    look: Option<Look>,
    /// Whether that look may have met a change which the stream did not tell of.
    is_doubtful: bool,
    pub(crate) suspects: Suspects<Key>,
    pub(crate) sizer: Sizer,
    /// Looks since the last suspect was added that ended without clearing all.
    rounds: u32,
    begun_again: u32,
}

impl Verifying {
    pub(crate) fn new(sizer: Sizer) -> Self {
        Verifying {
            known: Edge::Start,
            seeking: false,
            planned: VecDeque::new(),
            comparing: BTreeSet::new(),
            tickets: 0,
            replayed: BTreeMap::new(),
            looking: false,
            look: None,
            is_doubtful: false,
            suspects: Suspects::new(),
            sizer,
            rounds: 0,
            begun_again: 0,
        }
    }

    /// The verification of these ranges alone.
    pub(crate) fn of(&self, ranges: VecDeque<Range<Key>>) -> Self {
        Verifying { known: Edge::End, planned: ranges, ..Verifying::new(self.sizer.clone()) }
    }

    /// Whether every range was compared, whatever was found.
    pub(crate) fn has_compared_all(&self) -> bool {
        self.known == Edge::End
            && !self.seeking
            && self.planned.is_empty()
            && self.comparing.is_empty()
    }

    /// Begins again with the first row. Suspects stay suspects and are replayed again: what was not told of may have
    /// changed them, also while they were looked at.
    ///
    /// # Errors
    /// Failed when it has begun too often.
    pub(crate) fn begin_again(&mut self, ledger: &mut Ledger<Key>) -> Result<()> {
        const OFTEN: u32 = 20;
        self.begun_again += 1;
        if self.begun_again > OFTEN {
            return Err(Error::failed(format!(
                "the verification had to begin again {OFTEN} times, since sessions kept writing in a way of \
                 which it is not known what it changes"
            ))
            .remedy("Set binlog_format=ROW for every session that writes; the same command goes on.")
            .keeping_progress());
        }
        self.known = Edge::Start;
        self.planned.clear();
        self.rounds = 0;
        self.is_doubtful = !self.is_at_rest();
        for key in self.suspects.keys() {
            ledger.touch(key);
        }
        Ok(())
    }

    /// The search for the next edge, if one is needed.
    pub(crate) fn seek(&mut self, ahead: usize) -> Option<Job> {
        if self.seeking || self.known == Edge::End || self.planned.len() >= ahead {
            return None;
        }
        self.seeking = true;
        Some(Job::FindEdge { lo: self.known.clone(), within: Edge::End, rows: self.sizer.rows() })
    }

    /// The search has found an edge.
    pub(crate) fn found(&mut self, hi: Edge<Key>) {
        self.seeking = false;
        let lo = std::mem::replace(&mut self.known, hi.clone());
        self.planned.push_back(Range { lo, hi });
    }

    /// The next comparison: of a range, or of suspects whose replay is done.
    pub(crate) fn next(&mut self, ledger: &Ledger<Key>) -> Option<Job> {
        if self.suspects.len() < MOST_SUSPECTS
            && let Some(range) = self.planned.pop_front()
        {
            self.tickets += 1;
            self.comparing.insert(self.tickets);
            return Some(Job::CompareRange { ticket: self.tickets, range });
        }
        self.next_look(ledger)
    }

    /// The next comparison of suspects whose replay is done.
    pub(crate) fn next_look(&mut self, ledger: &Ledger<Key>) -> Option<Job> {
        if !self.is_at_rest() {
            return None;
        }
        let keys = self.suspects.next_look(LOOK, ledger.visible(), |key| !ledger.is_due(key));
        if keys.is_empty() {
            return None;
        }
        self.looking = true;
        Some(Job::CompareKeys { keys })
    }

    /// A range was compared: its differing keys are replayed and looked at again.
    pub(crate) fn compared(&mut self, ledger: &mut Ledger<Key>, ticket: u64, compared: Compared) {
        self.comparing.remove(&ticket);
        for key in compared.differing {
            let replayed = self.replayed.get(&key).is_some_and(|during| *during >= ticket);
            self.suspects.add(key.clone(), replayed || ledger.is_due(&key));
            ledger.touch(key);
            self.rounds = 0;
        }
        match self.comparing.first() {
            None => self.replayed.clear(),
            Some(&oldest) => self.replayed.retain(|_, during| *during >= oldest),
        }
    }

    /// A batch was replayed.
    pub(crate) fn replayed(&mut self, keys: Vec<Key>) {
        if !self.comparing.is_empty() {
            let during = self.tickets;
            self.replayed.extend(keys.into_iter().map(|key| (key, during)));
        }
    }

    /// Suspects were compared; `heartbeat` is the next one to be sent.
    pub(crate) fn looked(&mut self, keys: Vec<Key>, compared: Compared, heartbeat: u64) {
        self.looking = false;
        self.look = Some(Look { keys, differing: compared.differing, after: heartbeat });
    }

    /// Whether no suspects are being looked at, and no verdict is awaited.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.looking && self.look.is_none()
    }

    /// Whether a verdict waits for a heartbeat.
    pub(crate) fn wants_heartbeat(&self) -> bool {
        self.look.is_some()
    }

    /// The stream delivered a change.
    pub(crate) fn change(&mut self, key: &Key, seq: Seq) {
        self.suspects.change(key, seq);
    }

    /// Heartbeat `seen` has come back: gives the verdicts that waited for it. `knows_all` says whether the stream
    /// has told of every row that was changed.
    ///
    /// # Errors
    /// Failed when a row differs although it was replayed and has not changed since.
    pub(crate) fn judge(
        &mut self,
        ledger: &mut Ledger<Key>,
        seen: u64,
        knows_all: bool,
    ) -> Result<()> {
        if self.look.as_ref().is_none_or(|look| look.after > seen) {
            return Ok(());
        }
        let Some(look) = self.look.take() else { return Ok(()) };
        let knows_all = !std::mem::take(&mut self.is_doubtful) && knows_all;
        for key in &look.keys {
            let equal = look.differing.binary_search(key).is_err();
            match self.suspects.looked(key, equal) {
                Verdict::Cleared => {}
                Verdict::Divergent if knows_all => return Err(divergent(key)),
                Verdict::Undecided | Verdict::Divergent => ledger.touch(key.clone()),
            }
        }
        self.rounds += 1;
        Ok(())
    }

    /// Whether every range was compared and no suspect is left, but for rows that the application
    /// changes so often that only the cut-over's lock can tell.
    pub(crate) fn is_done(&self) -> bool {
        const ENOUGH_ROUNDS: u32 = 5;
        // The longer it takes, the more rows are left to the lock.
        let few = (200_usize << (self.rounds / 20).min(4)).min(2_000);
        self.known == Edge::End
            && !self.seeking
            && self.planned.is_empty()
            && self.comparing.is_empty()
            && self.is_at_rest()
            && (self.suspects.is_empty()
                || (self.rounds >= ENOUGH_ROUNDS && self.suspects.len() <= few))
    }
}

/// A row that is not the same in both tables, for which nothing accounts.
pub(crate) fn divergent(key: &Key) -> Error {
    Error::failed(format!(
        "a row differs between source and shadow table although it was replayed and has not changed since: {key:?}"
    ))
    .remedy(
        "It was written without the binlog (sql_log_bin=0), or this is a fault of replank: please report it then, \
         with the output of -vv. The shadow table is kept: the same command goes on from here, and compares all rows \
         again; `replank abort` removes it.",
    )
    .keeping_progress()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A ledger in which everything is copied and visible up to transaction 1, and the one key that a comparison found
    /// to differ; it has been replayed.
    fn with_suspect() -> (Ledger<Key>, Verifying, Key) {
        let key = Key::from_digits("07").unwrap();
        let mut ledger = Ledger::new();
        see(&mut ledger, 1);
        let all = Range { lo: Edge::Start, hi: Edge::End };
        let chunk = ledger.start_chunk(all.clone()).unwrap();
        ledger.finish_chunk(chunk);
        let mut verifying = Verifying::new(Sizer::new(Duration::from_millis(50), 1_000, 1_000))
            .of(VecDeque::from([all]));
        assert!(matches!(verifying.next(&ledger), Some(Job::CompareRange { ticket: 1, .. })));
        verifying.compared(&mut ledger, 1, differing(&key));
        assert!(verifying.next(&ledger).is_none(), "it is to be replayed first");
        replay(&mut ledger);
        (ledger, verifying, key)
    }

    fn see(ledger: &mut Ledger<Key>, heartbeat: u64) {
        ledger.heartbeat_seen(heartbeat, heartbeat);
        ledger.heartbeat_acked(heartbeat);
    }

    fn replay(ledger: &mut Ledger<Key>) {
        let batch = ledger.next_batch(10).expect("something is due");
        ledger.batch_done(batch.id);
    }

    fn differing(key: &Key) -> Compared {
        Compared { rows: 1, differing: vec![key.clone()] }
    }

    #[test]
    fn a_row_that_differs_after_its_replay_ends_the_run_and_is_kept() {
        let (mut ledger, mut verifying, key) = with_suspect();
        assert!(verifying.next(&ledger).is_some(), "a look");
        verifying.looked(vec![key.clone()], differing(&key), 2);
        assert!(verifying.judge(&mut ledger, 1, true).is_ok(), "its heartbeat has not come back");
        let error = verifying.judge(&mut ledger, 2, true).expect_err("it differs");
        assert!(error.keeps_progress());
    }

    #[test]
    fn a_look_beside_a_statement_of_unknown_effect_says_nothing() {
        let (mut ledger, mut verifying, key) = with_suspect();
        assert!(verifying.next(&ledger).is_some(), "a look");
        verifying.looked(vec![key.clone()], differing(&key), 3);
        // The statement is visible with heartbeat 2, and no longer unknown by the time of the verdict.
        see(&mut ledger, 2);
        verifying.begin_again(&mut ledger).unwrap();
        assert!(verifying.judge(&mut ledger, 3, true).is_ok());
        replay(&mut ledger);
        assert!(verifying.next(&ledger).is_some(), "another look");
        verifying.looked(vec![key.clone()], differing(&key), 4);
        assert!(verifying.judge(&mut ledger, 4, true).is_err(), "now it says something");
    }

    #[test]
    fn suspects_are_replayed_when_the_verification_begins_again() {
        let (mut ledger, mut verifying, key) = with_suspect();
        verifying.begin_again(&mut ledger).unwrap();
        assert!(ledger.is_due(&key));
        assert!(verifying.next(&ledger).is_none(), "not before its replay");
    }
}
