//! One run of the client: everything that a crash forgets.

use replank::ledger::{BatchId, ChunkId, Range, Seq};

use super::bookkeeper::{Bookkeeper, Key};
use super::server::{Entry, Fault, Server, pieces};
use super::world::Bounds;

/// A chunk that has started.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Copying {
    pub(crate) id: ChunkId,
    pub(crate) range: Range<Key>,
    /// How many transactions its read view sees, once that is open.
    pub(crate) view: Option<u8>,
    pub(crate) committed: bool,
}

/// A batch that was handed out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Replaying {
    pub(crate) id: BatchId,
    pub(crate) keys: Vec<Key>,
    /// How many transactions each of its read views sees.
    pub(crate) views: Vec<u8>,
    pub(crate) committed: bool,
}

/// A stretch whose keys are being listed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Listing {
    pub(crate) range: Range<Key>,
    /// Its keys in the source, once they were read.
    pub(crate) source: Option<Vec<Key>>,
}

/// A run: the ledger, and what the conductor knows beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Client<B> {
    pub(crate) ledger: B,
    /// The binlog position at which the run began: the ledger's positions count from there.
    base: Seq,
    /// What is added to the ledger's chunk numbers, so that no number is used twice.
    first_chunk: u64,
    /// Transactions that the stream has delivered in full, counted from the beginning of the binlog.
    pub(crate) delivered: usize,
    /// Keys of the next transaction that it has delivered.
    pub(crate) parts: usize,
    /// The last heartbeat that was sent, and that before the run's first one.
    pub(crate) sent: u64,
    pub(crate) sent_before: u64,
    /// The heartbeat whose OK is awaited, and its place in the binlog.
    pub(crate) beating: Option<(u64, Seq)>,
    /// The highest heartbeat that came back, and its position in the ledger.
    pub(crate) back: (u64, Seq),
    pub(crate) copying: Vec<Copying>,
    pub(crate) replaying: Vec<Replaying>,
    pub(crate) listing: Option<Listing>,
    /// The first heartbeat of the cut-over, from the moment the locks are held.
    pub(crate) lock: Option<u64>,
}

impl<B: Bookkeeper> Client<B> {
    /// A run that goes on from what the server's state table says.
    pub(crate) fn start(server: &Server, bounds: &Bounds) -> Self {
        let unstarted = server.unstarted(bounds.edges);
        let sent = if bounds.reuse_heartbeats { 0 } else { server.last_heartbeat() };
        let used = server.chunks.keys().max().copied().unwrap_or(0);
        Client {
            ledger: B::with_unstarted(unstarted),
            base: server.checkpoint,
            first_chunk: if bounds.reuse_chunk_numbers { 0 } else { used },
            delivered: server.checkpoint as usize,
            parts: 0,
            sent,
            sent_before: sent,
            beating: None,
            back: (0, 0),
            copying: Vec::new(),
            replaying: Vec::new(),
            listing: None,
            lock: None,
        }
    }

    /// Whether work is handed out: from the first heartbeat on.
    pub(crate) fn is_awake(&self) -> bool {
        self.ledger.ledger().visible() > 0
    }

    /// The binlog position up to which the ledger takes everything for visible.
    pub(crate) fn believed(&self) -> Seq {
        match self.ledger.ledger().visible() {
            0 => 0,
            visible => self.base + visible,
        }
    }

    /// The position from which a later run may go on.
    pub(crate) fn safe(&self) -> Seq {
        self.base + self.ledger.safe_position()
    }

    /// The stream delivers the next part of the binlog: one changed key, or a heartbeat. The end of a
    /// transaction comes with its last part.
    pub(crate) fn deliver(&mut self, server: &Server) -> Option<()> {
        let entry = server.binlog.get(self.delivered)?;
        let seq = (self.delivered + 1) as Seq - self.base;
        if let Entry::Heartbeat(id) = *entry {
            self.ledger.heartbeat_seen(id, seq);
            self.back = self.back.max((id, seq));
        }
        let keys = entry.keys();
        if let Some(key) = keys.get(self.parts) {
            self.ledger.change(*key, seq);
            self.parts += 1;
        }
        if self.parts >= keys.len() {
            self.ledger.transaction_end(seq);
            self.delivered += 1;
            self.parts = 0;
        }
        Some(())
    }

    /// Whether the stream is still to deliver a change of the key.
    pub(crate) fn is_coming(&self, server: &Server, key: Key) -> bool {
        let keys = server.binlog[self.delivered..].iter().flat_map(Entry::keys);
        keys.skip(self.parts).any(|coming| coming == key)
    }

    /// Sends a heartbeat, which is in the binlog at once.
    pub(crate) fn beat(&mut self, server: &mut Server) {
        self.sent += 1;
        let seq = server.write(Entry::Heartbeat(self.sent));
        self.beating = Some((self.sent, seq));
    }

    /// Hears the OK of the heartbeat.
    pub(crate) fn hear_ok(&mut self) -> Option<()> {
        let (id, _) = self.beating.take()?;
        self.ledger.ledger_mut().heartbeat_acked(id);
        Some(())
    }

    /// Starts the lowest chunk.
    pub(crate) fn start_chunk(&mut self, edges: &[Key]) -> Option<()> {
        let free = self.ledger.ledger().next_unstarted()?.clone();
        let range = pieces(edges).into_iter().find(|piece| piece.lo == free.lo)?;
        let id = self.ledger.start_chunk(range.clone())?;
        self.copying.push(Copying { id, range, view: None, committed: false });
        Some(())
    }

    /// Commits a chunk, or finds its number taken, which is read as: it committed before.
    pub(crate) fn commit_chunk(
        &mut self,
        at: usize,
        server: &mut Server,
    ) -> Option<Result<(), Fault>> {
        let chunk = self.copying.get_mut(at)?;
        let view = chunk.view?;
        chunk.committed = true;
        let number = self.first_chunk + chunk.id.number();
        if server.chunks.contains_key(&number) {
            return Some(Ok(()));
        }
        Some(server.commit_chunk(number, &chunk.range, view))
    }

    /// Takes a batch.
    pub(crate) fn take_batch(&mut self, limit: usize) -> Option<Result<(), Fault>> {
        let (id, keys) = self.ledger.next_batch(limit)?;
        let busy = |key: &Key| self.replaying.iter().any(|batch| batch.keys.contains(key));
        if keys.iter().any(busy) {
            return Some(Err(Fault::Overlap));
        }
        self.replaying.push(Replaying { id, keys, views: Vec::new(), committed: false });
        Some(Ok(()))
    }

    /// Takes a stretch, to list its keys.
    pub(crate) fn take_stretch(&mut self) -> Option<()> {
        let range = self.ledger.next_stretch()?;
        self.listing = Some(Listing { range, source: None });
        Some(())
    }

    /// Lists the source's keys, as a read view shows them that is opened now.
    pub(crate) fn list_source(&mut self, server: &Server, limit: usize) -> Option<()> {
        let listing = self.listing.as_mut()?;
        let rows = server.source_at(server.visible);
        let keys = rows.into_keys().filter(|key| listing.range.contains(key));
        listing.source = Some(keys.take(limit).collect());
        Some(())
    }

    /// Lists the shadow table's keys.
    pub(crate) fn list_shadow(&mut self, server: &Server, bounds: &Bounds) -> Option<()> {
        let Listing { range, source } = self.listing.take()?;
        let rows = server.shadow.keys().copied().filter(|key| range.contains(key));
        let shadow = match bounds.list_source_alone {
            true => Vec::new(),
            false => rows.take(bounds.batch).collect(),
        };
        self.ledger.stretch_listed([source?, shadow], bounds.batch);
        Some(())
    }

    /// Whether the tables may be swapped: the conductor's last look under the locks. It asks for no
    /// more than the heartbeat's own position; a higher one only makes the question stricter.
    pub(crate) fn may_swap(&self) -> bool {
        let (id, seq) = self.back;
        self.lock.is_some_and(|heartbeat| id >= heartbeat) && self.ledger.is_drained(seq)
    }
}
