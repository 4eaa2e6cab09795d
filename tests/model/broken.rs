//! Ledgers that break one rule each. The checker and the histories have to find every one of them, or
//! they prove nothing about the real one.

use replank::ledger::{BatchId, ChunkId, Ledger, Range, Seq};

use super::bookkeeper::{Bookkeeper, Key};

/// Declares a ledger that is the real one but for the given methods.
macro_rules! broken {
    ($(#[$doc:meta])* $name:ident { $($method:item)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub(crate) struct $name(Ledger<Key>);

        impl Bookkeeper for $name {
            fn with_unstarted(unstarted: Vec<Range<Key>>) -> Self {
                $name(Ledger::with_unstarted(unstarted, 0))
            }
            fn ledger(&self) -> &Ledger<Key> {
                &self.0
            }
            fn ledger_mut(&mut self) -> &mut Ledger<Key> {
                &mut self.0
            }
            $($method)*
        }
    };
}

/// Whether a change of the key would wait in an unstarted range.
fn is_ahead(ledger: &Ledger<Key>, key: Key, seq: Seq) -> bool {
    let mut probe = ledger.clone();
    probe.change(key, seq);
    !probe.is_due(&key)
}

broken! {
    /// Breaks I2: forgets every change ahead of the copy, as if the chunk to come had to see it.
    ForgetsAhead {
        fn change(&mut self, key: Key, seq: Seq) {
            if is_ahead(&self.0, key, seq) {
                self.0.transaction_end(seq);
            } else {
                self.0.change(key, seq);
            }
        }
    }
}

broken! {
    /// Breaks I3: hands out what it received without waiting for V.
    ReplaysUnseen {
        fn change(&mut self, key: Key, seq: Seq) {
            let claimed = if is_ahead(&self.0, key, seq) { seq } else { self.0.visible() };
            self.0.change(key, claimed);
            self.0.transaction_end(seq);
        }
    }
}

broken! {
    /// Breaks I1: takes a range for copied as soon as its chunk has started.
    OpensRanges {
        fn start_chunk(&mut self, range: Range<Key>) -> Option<ChunkId> {
            let id = self.0.start_chunk(range)?;
            self.0.finish_chunk(id);
            Some(id)
        }
    }
}

broken! {
    /// Counts a heartbeat when it came back, although its commit is not acknowledged.
    TrustsTheStream {
        fn heartbeat_seen(&mut self, id: u64, seq: Seq) {
            self.0.heartbeat_acked(id);
            self.0.heartbeat_seen(id, seq);
        }
    }
}

broken! {
    /// Breaks I5: takes a position for safe that was received, without asking whether it is visible.
    /// What waits ahead of the copy can then be left out by a chunk *and* by the run that goes on from
    /// there; so can the second half of a transaction that was delivered in parts.
    SafeWhenReceived {
        fn safe_position(&self) -> Seq {
            if self.0.backlog() == 0 { self.0.received() } else { self.0.safe_position() }
        }
    }
}

broken! {
    /// Breaks I5: a position too new by one.
    SafeTooNew {
        fn safe_position(&self) -> Seq {
            (self.0.safe_position() + 1).min(self.0.received())
        }
    }
}

broken! {
    /// Takes a stretch for listed as a whole when a part of it was.
    ListsOnce {
        fn stretch_listed(&mut self, lists: [Vec<Key>; 2], _: usize) {
            self.0.stretch_listed(lists, usize::MAX);
        }
    }
}

broken! {
    /// Breaks I5: a position behind which keys wait in stretches.
    #[allow(dead_code, reason = "random histories hardly ever meet it, the exploration does")]
    SafeBesideStretches {
        fn safe_position(&self) -> Seq {
            if self.0.is_condensed() { self.0.visible() } else { self.0.safe_position() }
        }
    }
}

broken! {
    /// Calls itself drained while changes wait.
    DrainedTooEarly {
        fn is_drained(&self, seq: Seq) -> bool {
            self.0.is_copied() && self.0.visible() >= seq
        }
    }
}

broken! {
    /// Hands out a key again that is in a batch.
    HandsOutTwice {
        fn next_batch(&mut self, limit: usize) -> Option<(BatchId, Vec<Key>)> {
            let batch = self.0.next_batch(limit)?;
            self.0.batch_failed(batch.id);
            Some((batch.id, batch.keys))
        }
    }
}

/// Breaks I4: begins from nothing, whatever earlier runs have copied.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StartsOver(Ledger<Key>);

impl Bookkeeper for StartsOver {
    fn with_unstarted(_: Vec<Range<Key>>) -> Self {
        StartsOver(Ledger::new())
    }
    fn ledger(&self) -> &Ledger<Key> {
        &self.0
    }
    fn ledger_mut(&mut self) -> &mut Ledger<Key> {
        &mut self.0
    }
}

/// Forgets a change that arrives while its key is being replayed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SettlesUnread {
    ledger: Ledger<Key>,
    handed: Vec<(BatchId, Vec<Key>)>,
}

impl Bookkeeper for SettlesUnread {
    fn with_unstarted(unstarted: Vec<Range<Key>>) -> Self {
        SettlesUnread { ledger: Ledger::with_unstarted(unstarted, 0), handed: Vec::new() }
    }
    fn ledger(&self) -> &Ledger<Key> {
        &self.ledger
    }
    fn ledger_mut(&mut self) -> &mut Ledger<Key> {
        &mut self.ledger
    }
    fn change(&mut self, key: Key, seq: Seq) {
        if self.handed.iter().any(|(_, keys)| keys.contains(&key)) {
            self.ledger.transaction_end(seq);
        } else {
            self.ledger.change(key, seq);
        }
    }
    fn next_batch(&mut self, limit: usize) -> Option<(BatchId, Vec<Key>)> {
        let batch = self.ledger.next_batch(limit)?;
        self.handed.push((batch.id, batch.keys.clone()));
        Some((batch.id, batch.keys))
    }
    fn batch_done(&mut self, id: BatchId) {
        self.handed.retain(|(handed, _)| *handed != id);
        self.ledger.batch_done(id);
    }
    fn batch_failed(&mut self, id: BatchId) {
        self.handed.retain(|(handed, _)| *handed != id);
        self.ledger.batch_failed(id);
    }
}
