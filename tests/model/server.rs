//! The server: a source table whose commits are received before they are visible, a shadow table, and
//! what a run wrote down to survive a crash.

use std::collections::BTreeMap;

use replank::ledger::{Edge, Range, Seq};

use super::bookkeeper::Key;

/// The rows of a table: each key with the version that was written last.
pub(crate) type Rows = BTreeMap<Key, u8>;

/// A transaction in the binlog. Its number, counted from 1, is also the version that it writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// Inserts the row or updates it.
    Put(Key),
    /// Deletes the row.
    Delete(Key),
    /// Gives the row another key: the one transaction that the stream delivers in two parts.
    Move(Key, Key),
    /// Writes a heartbeat.
    Heartbeat(u64),
}

impl Entry {
    /// The keys that the stream reports as changed, in order.
    pub(crate) fn keys(&self) -> Vec<Key> {
        match *self {
            Entry::Put(key) | Entry::Delete(key) => vec![key],
            Entry::Move(from, to) => vec![from, to],
            Entry::Heartbeat(_) => Vec::new(),
        }
    }

    fn apply(&self, rows: &mut Rows, version: u8) {
        match *self {
            Entry::Put(key) => {
                rows.insert(key, version);
            }
            Entry::Delete(key) => {
                rows.remove(&key);
            }
            Entry::Move(from, to) => {
                rows.remove(&from);
                rows.insert(to, version);
            }
            Entry::Heartbeat(_) => {}
        }
    }
}

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// The tables were swapped while they differed.
    Lost,
    /// A chunk met a row of its own range in the shadow table (I1).
    Duplicate,
    /// A key was replayed into a range that no chunk had copied (I1).
    OpenRange,
    /// Two replays of one key at once, of which the older reading could win.
    Overlap,
}

/// The server's state. A crash of the client leaves it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    initial: Rows,
    pub(crate) binlog: Vec<Entry>,
    /// How many transactions of the binlog InnoDB has committed.
    pub(crate) visible: u8,
    pub(crate) shadow: Rows,
    /// The state table's chunks by their number, each written in the transaction that copied it (I4).
    pub(crate) chunks: BTreeMap<u64, Range<Key>>,
    /// The state table's safe position.
    pub(crate) checkpoint: Seq,
}

impl Server {
    /// A server whose source holds these keys.
    pub(crate) fn new(present: &[Key]) -> Self {
        Server {
            initial: present.iter().map(|&key| (key, 0)).collect(),
            binlog: Vec::new(),
            visible: 0,
            shadow: Rows::new(),
            chunks: BTreeMap::new(),
            checkpoint: 0,
        }
    }

    /// The source as a read view shows it that sees the first `seen` transactions.
    pub(crate) fn source_at(&self, seen: u8) -> Rows {
        let mut rows = self.initial.clone();
        for (version, entry) in (1..=seen).zip(&self.binlog) {
            entry.apply(&mut rows, version);
        }
        rows
    }

    /// The writes that are possible now. Writers meet each other's row locks, which last until the
    /// commit is visible: with `locks`, a key is written again only when nothing of it is hidden.
    pub(crate) fn writes(&self, keys: Key, locks: bool) -> Vec<Entry> {
        let rows = self.source_at(self.binlog.len() as u8);
        let hidden: Vec<Key> = match locks {
            true => self.binlog[self.visible as usize..].iter().flat_map(Entry::keys).collect(),
            false => Vec::new(),
        };
        let mut writes = Vec::new();
        let free = |key: &Key| !hidden.contains(key);
        for key in (1..=keys).filter(free) {
            writes.push(Entry::Put(key));
            if rows.contains_key(&key) {
                writes.push(Entry::Delete(key));
                let absent = (1..=keys).filter(free).filter(|to| !rows.contains_key(to));
                writes.extend(absent.map(|to| Entry::Move(key, to)));
            }
        }
        writes
    }

    /// Commits a transaction into the binlog, which is the first half of a commit; returns its number.
    pub(crate) fn write(&mut self, entry: Entry) -> Seq {
        self.binlog.push(entry);
        self.binlog.len() as Seq
    }

    /// The last heartbeat that was written.
    pub(crate) fn last_heartbeat(&self) -> u64 {
        let id = |entry: &Entry| if let Entry::Heartbeat(id) = entry { Some(*id) } else { None };
        self.binlog.iter().rev().find_map(id).unwrap_or(0)
    }

    /// Whether every write of the application is visible.
    pub(crate) fn is_settled(&self) -> bool {
        self.binlog[self.visible as usize..].iter().all(|entry| entry.keys().is_empty())
    }

    /// Whether a chunk that holds the key has committed.
    pub(crate) fn is_copied(&self, key: Key) -> bool {
        self.chunks.values().any(|range| range.contains(&key))
    }

    /// Commits a chunk that was read in a view of `seen` transactions.
    pub(crate) fn commit_chunk(
        &mut self,
        number: u64,
        range: &Range<Key>,
        seen: u8,
    ) -> Result<(), Fault> {
        for (key, version) in self.source_at(seen) {
            if range.contains(&key) && self.shadow.insert(key, version).is_some() {
                return Err(Fault::Duplicate);
            }
        }
        self.chunks.insert(number, range.clone());
        Ok(())
    }

    /// Commits a replay. As `replay::replace` does it: the first view tells which keys are gone, the
    /// second one serves REPLACE … SELECT, which is not sent when all are gone.
    pub(crate) fn commit_replay(
        &mut self,
        keys: &[Key],
        first: u8,
        second: u8,
    ) -> Result<(), Fault> {
        let (first, second) = (self.source_at(first), self.source_at(second));
        for key in keys {
            if !self.is_copied(*key) {
                return Err(Fault::OpenRange);
            }
            if !first.contains_key(key) {
                self.shadow.remove(key);
            }
        }
        if keys.iter().any(|key| first.contains_key(key)) {
            for key in keys {
                self.shadow.extend(second.get(key).map(|version| (*key, *version)));
            }
        }
        Ok(())
    }

    /// What the state table says of the ranges that are not copied, given where chunks may end.
    pub(crate) fn unstarted(&self, edges: &[Key]) -> Vec<Range<Key>> {
        let mut ranges: Vec<Range<Key>> = Vec::new();
        for range in pieces(edges) {
            if self.chunks.values().any(|chunk| *chunk == range) {
                continue;
            }
            match ranges.last_mut() {
                Some(last) if last.hi == range.lo => last.hi = range.hi,
                _ => ranges.push(range),
            }
        }
        ranges
    }
}

/// The chunks of a table that is cut at these keys.
pub(crate) fn pieces(edges: &[Key]) -> Vec<Range<Key>> {
    let mut all = vec![Edge::Start];
    all.extend(edges.iter().map(|&key| Edge::At(key)));
    all.push(Edge::End);
    all.windows(2).map(|pair| Range { lo: pair[0].clone(), hi: pair[1].clone() }).collect()
}
