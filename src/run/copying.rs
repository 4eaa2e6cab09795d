//! The copy phase: which chunk is next.

use std::collections::VecDeque;

use crate::key::Key;
use crate::ledger::{ChunkId, Edge, Ledger, Range};
use crate::pace::Sizer;

use super::job::Job;

/// Chunks that are known, and those that wait to be tried again.
#[derive(Debug)]
pub(crate) struct Copying {
    /// Ranges whose edges are known but which have not started, in order.
    planned: VecDeque<Range<Key>>,
    /// Chunks that met a conflict, with the keys to be replayed before they are tried again.
    blocked: Vec<(ChunkId, Range<Key>, Vec<Key>)>,
    seeking: Option<Range<Key>>,
    pub(crate) sizer: Sizer,
    pub(crate) chunks: u64,
}

impl Copying {
    pub(crate) fn new(sizer: Sizer) -> Self {
        Copying { planned: VecDeque::new(), blocked: Vec::new(), seeking: None, sizer, chunks: 0 }
    }

    /// The search for the next edge, if there is one to be found and fewer than `ahead` are known.
    pub(crate) fn seek(&mut self, ledger: &Ledger<Key>, ahead: usize) -> Option<Job> {
        if self.seeking.is_some() || self.planned.len() >= ahead {
            return None;
        }
        let free = ledger.next_unstarted()?;
        let lo = match self.planned.back() {
            Some(last) if last.hi == free.hi => return None,
            Some(last) => last.hi.clone(),
            None => free.lo.clone(),
        };
        self.seeking = Some(Range { lo: lo.clone(), hi: free.hi.clone() });
        Some(Job::FindEdge { lo, within: free.hi.clone(), rows: self.sizer.rows() })
    }

    /// The search has found an edge.
    pub(crate) fn found(&mut self, hi: Edge<Key>) {
        if let Some(range) = self.seeking.take() {
            self.planned.push_back(Range { lo: range.lo, hi });
        }
    }

    /// The next chunk to copy: one that can be tried again, or a new one, which starts now.
    pub(crate) fn next(&mut self, ledger: &mut Ledger<Key>) -> Option<Job> {
        let free =
            self.blocked.iter().position(|(_, _, keys)| !keys.iter().any(|k| ledger.is_due(k)));
        if let Some(at) = free {
            let (chunk, range, _) = self.blocked.swap_remove(at);
            return Some(Job::Copy { chunk, range });
        }
        if !ledger.may_start() {
            return None;
        }
        let range = self.planned.pop_front()?;
        let chunk = ledger.start_chunk(range.clone())?;
        self.chunks += 1;
        Some(Job::Copy { chunk, range })
    }

    /// A chunk met rows that hold its values; they are replayed first.
    pub(crate) fn block(
        &mut self,
        ledger: &mut Ledger<Key>,
        chunk: ChunkId,
        range: Range<Key>,
        keys: Vec<Key>,
    ) {
        for key in &keys {
            ledger.touch(key.clone());
        }
        self.blocked.push((chunk, range, keys));
    }

    /// Whether a chunk waits for a replay.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }
}
