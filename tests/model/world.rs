//! Server and client together, and every step that either may take.

use replank::ledger::Seq;

use super::bookkeeper::{Bookkeeper, Key};
use super::client::Client;
use super::server::{Entry, Fault, Server};

/// How much may happen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Keys are 1 to this.
    pub(crate) keys: Key,
    /// Those that exist at the beginning.
    pub(crate) present: &'static [Key],
    /// Where chunks end.
    pub(crate) edges: &'static [Key],
    /// Transactions of the application.
    pub(crate) writes: u8,
    /// Whether a transaction may give a row another key.
    pub(crate) moves: bool,
    /// Whether writers wait for the row locks of commits that are not visible yet.
    pub(crate) row_locks: bool,
    /// Keys in a batch.
    pub(crate) batch: usize,
    /// Chunks, and batches, at a time.
    pub(crate) workers: usize,
    /// Read views of a replay.
    pub(crate) views: usize,
    /// Heartbeats that nobody asked for.
    pub(crate) beats: u8,
    /// How often a chunk or a batch is rolled back.
    pub(crate) failures: u8,
    /// How often a comparison asks for a key to be read again.
    pub(crate) touches: u8,
    /// How often the stream is lost, and begins again after the last complete transaction.
    pub(crate) reconnects: u8,
    /// How often the cut-over gives up.
    pub(crate) retreats: u8,
    /// How often the client dies.
    pub(crate) crashes: u8,
    /// How many neighbours become one stretch when the client condenses what it remembers, and how often it does.
    pub(crate) run: usize,
    pub(crate) condenses: u8,
    /// A mistake: a stretch is listed from the source alone.
    pub(crate) list_source_alone: bool,
    /// A mistake: a resumed run counts its chunks from 1 again.
    pub(crate) reuse_chunk_numbers: bool,
    /// A mistake: a resumed run counts its heartbeats from 1 again.
    pub(crate) reuse_heartbeats: bool,
}

impl Bounds {
    /// Two keys in two chunks, and nothing goes wrong.
    pub(crate) const QUIET: Bounds = Bounds {
        keys: 2,
        present: &[1],
        edges: &[1],
        writes: 2,
        moves: false,
        row_locks: true,
        batch: 1,
        workers: 1,
        views: 1,
        beats: 0,
        failures: 0,
        touches: 0,
        reconnects: 0,
        retreats: 0,
        crashes: 0,
        run: 2,
        condenses: 0,
        list_source_alone: false,
        reuse_chunk_numbers: false,
        reuse_heartbeats: false,
    };
}

/// How much has happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Spent {
    pub(crate) writes: u8,
    pub(crate) beats: u8,
    pub(crate) failures: u8,
    pub(crate) touches: u8,
    pub(crate) reconnects: u8,
    pub(crate) retreats: u8,
    pub(crate) crashes: u8,
    pub(crate) condenses: u8,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World<B> {
    pub(crate) server: Server,
    pub(crate) client: Client<B>,
    pub(crate) spent: Spent,
    /// How often each key was replayed, up to twice; a witness that hot keys occur.
    pub(crate) replays: Vec<u8>,
    pub(crate) swapped: bool,
    pub(crate) fault: Option<Fault>,
}

/// A step. Numbers are places in the client's lists of chunks and batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// The stream delivers.
    Deliver,
    /// InnoDB commits the next transaction of the binlog.
    Show,
    Beat,
    HearOk,
    StartChunk,
    ReadChunk(usize),
    CommitChunk(usize),
    ChunkDone(usize),
    TakeBatch,
    ReadBatch(usize),
    CommitBatch(usize),
    BatchDone(usize),
    TakeStretch,
    ListSource,
    ListShadow,
    Lock,
    Swap,
    /// The safe position is written to the state table.
    Checkpoint,
    /// The application commits into the binlog.
    Write(Entry),
    IdleBeat,
    AbortChunk(usize),
    FailBatch(usize),
    Touch(Key),
    Condense,
    Reconnect,
    Unlock,
    Crash,
}

impl<B: Bookkeeper> World<B> {
    /// The beginning of the first run.
    pub(crate) fn new(bounds: &Bounds) -> Self {
        let server = Server::new(bounds.present);
        let client = Client::start(&server, bounds);
        let replays = vec![0; bounds.keys as usize];
        World { server, client, spent: Spent::default(), replays, swapped: false, fault: None }
    }

    /// Whether nothing happens any more.
    pub(crate) fn is_over(&self) -> bool {
        self.swapped || self.fault.is_some()
    }

    /// Whether everything that the ledger takes for visible is visible (I3).
    pub(crate) fn is_honest(&self) -> bool {
        self.client.believed() <= Seq::from(self.server.visible)
    }

    /// Whether every row that a chunk has copied, and that is not as in the source, is going to be read
    /// again: its change is due or still to be delivered. Right after a crash this is what a safe
    /// position has to achieve (I5).
    pub(crate) fn is_remembered(&self) -> bool {
        let (server, client) = (&self.server, &self.client);
        let source = server.source_at(server.binlog.len() as u8);
        let stale = |key: &Key| server.is_copied(*key) && source.get(key) != server.shadow.get(key);
        (1..=self.replays.len() as Key)
            .filter(stale)
            .all(|key| client.ledger.ledger().is_due(&key) || client.is_coming(server, key))
    }

    /// The steps that lead on to the swap, whichever is taken.
    pub(crate) fn progress(&self, bounds: &Bounds) -> Vec<Action> {
        let (server, client) = (&self.server, &self.client);
        let ledger = client.ledger.ledger();
        let mut steps = Vec::new();
        if self.is_over() {
            return steps;
        }
        let mut offer = |possible: bool, action: Action| {
            if possible {
                steps.push(action);
            }
        };
        offer(client.may_swap(), Action::Swap);
        offer(client.delivered < server.binlog.len(), Action::Deliver);
        offer((server.visible as usize) < server.binlog.len(), Action::Show);
        let shown = |seq: Seq| Seq::from(server.visible) >= seq;
        offer(client.beating.is_some_and(|(_, seq)| shown(seq)), Action::HearOk);
        for (at, chunk) in client.copying.iter().enumerate() {
            offer(chunk.committed, Action::ChunkDone(at));
            offer(chunk.view.is_some() && !chunk.committed, Action::CommitChunk(at));
            offer(chunk.view.is_none(), Action::ReadChunk(at));
        }
        for (at, batch) in client.replaying.iter().enumerate() {
            let read = batch.views.len() == bounds.views;
            offer(batch.committed, Action::BatchDone(at));
            offer(read && !batch.committed, Action::CommitBatch(at));
            offer(!read, Action::ReadBatch(at));
        }
        let idle = client.replaying.len() < bounds.workers && client.is_awake();
        offer(idle && ledger.backlog() > 0, Action::TakeBatch);
        let listing = client.listing.as_ref().map(|listing| listing.source.is_some());
        offer(idle && listing.is_none() && ledger.is_condensed(), Action::TakeStretch);
        offer(listing == Some(false), Action::ListSource);
        offer(listing == Some(true), Action::ListShadow);
        let free = client.copying.len() < bounds.workers && client.is_awake();
        offer(free && ledger.next_unstarted().is_some(), Action::StartChunk);
        let quiet = client.replaying.is_empty() && !ledger.is_condensed();
        let ready = ledger.is_copied() && quiet && client.lock.is_none();
        offer(ready && client.is_awake() && server.is_settled(), Action::Lock);
        offer(client.beating.is_none() && self.wants_heartbeat(), Action::Beat);
        steps
    }

    /// Whether a heartbeat would tell something: the first of a run, one after a write, the cut-over's
    /// own. The conductor sends more of them, on a timer.
    fn wants_heartbeat(&self) -> bool {
        let client = &self.client;
        let news = self.server.binlog.last().is_some_and(|entry| !entry.keys().is_empty());
        let own = client.lock.is_some_and(|heartbeat| client.sent < heartbeat);
        client.sent == client.sent_before || news || own
    }

    /// What the application and bad luck may do.
    pub(crate) fn trouble(&self, bounds: &Bounds) -> Vec<Action> {
        let (client, spent) = (&self.client, &self.spent);
        let mut steps = Vec::new();
        if self.is_over() {
            return steps;
        }
        if spent.writes < bounds.writes && client.lock.is_none() {
            let writes = self.server.writes(bounds.keys, bounds.row_locks);
            let allowed = |entry: &Entry| bounds.moves || !matches!(entry, Entry::Move(..));
            steps.extend(writes.into_iter().filter(allowed).map(Action::Write));
        }
        if spent.beats < bounds.beats && client.beating.is_none() {
            steps.push(Action::IdleBeat);
        }
        if spent.failures < bounds.failures {
            let open = client.copying.iter().enumerate().filter(|(_, chunk)| !chunk.committed);
            steps.extend(open.map(|(at, _)| Action::AbortChunk(at)));
            let open = client.replaying.iter().enumerate().filter(|(_, batch)| !batch.committed);
            steps.extend(open.map(|(at, _)| Action::FailBatch(at)));
        }
        if spent.touches < bounds.touches {
            steps.extend((1..=bounds.keys).map(Action::Touch));
        }
        if spent.condenses < bounds.condenses && client.lock.is_none() {
            steps.push(Action::Condense);
        }
        if spent.reconnects < bounds.reconnects && client.parts > 0 {
            steps.push(Action::Reconnect);
        }
        let idle = client.replaying.is_empty();
        if spent.retreats < bounds.retreats && client.lock.is_some() && idle {
            steps.push(Action::Unlock);
        }
        if spent.crashes < bounds.crashes {
            if client.safe() > self.server.checkpoint {
                steps.push(Action::Checkpoint);
            }
            steps.push(Action::Crash);
        }
        steps
    }

    /// Takes a step. `None` when there is nothing to it, as when no batch is ready.
    pub(crate) fn step(&self, bounds: &Bounds, action: &Action) -> Option<Self> {
        let mut next = self.clone();
        let outcome = next.take(bounds, action)?;
        next.fault = outcome.err();
        Some(next)
    }

    fn take(&mut self, bounds: &Bounds, action: &Action) -> Option<Result<(), Fault>> {
        let (server, client, spent) = (&mut self.server, &mut self.client, &mut self.spent);
        match *action {
            Action::Deliver => client.deliver(server)?,
            Action::Show => server.visible += 1,
            Action::Beat => client.beat(server),
            Action::HearOk => client.hear_ok()?,
            Action::StartChunk => client.start_chunk(bounds.edges)?,
            Action::ReadChunk(at) => client.copying.get_mut(at)?.view = Some(server.visible),
            Action::CommitChunk(at) => return client.commit_chunk(at, server),
            Action::ChunkDone(at) => {
                let chunk = client.copying.remove(at);
                client.ledger.ledger_mut().finish_chunk(chunk.id);
            }
            Action::TakeBatch => return client.take_batch(bounds.batch),
            Action::ReadBatch(at) => client.replaying.get_mut(at)?.views.push(server.visible),
            Action::CommitBatch(at) => {
                let batch = client.replaying.get_mut(at)?;
                batch.committed = true;
                for key in &batch.keys {
                    let count = &mut self.replays[usize::from(*key) - 1];
                    *count = (*count + 1).min(2);
                }
                let (first, last) = (*batch.views.first()?, *batch.views.last()?);
                return Some(server.commit_replay(&batch.keys, first, last));
            }
            Action::BatchDone(at) => {
                let batch = client.replaying.remove(at);
                client.ledger.batch_done(batch.id);
            }
            Action::TakeStretch => client.take_stretch()?,
            Action::ListSource => client.list_source(server, bounds.batch)?,
            Action::ListShadow => client.list_shadow(server, bounds)?,
            Action::Lock => client.lock = Some(client.sent + 1),
            Action::Swap => {
                self.swapped = true;
                let source = server.source_at(server.binlog.len() as u8);
                return Some(if server.shadow == source { Ok(()) } else { Err(Fault::Lost) });
            }
            Action::Checkpoint => server.checkpoint = client.safe(),
            Action::Write(ref entry) => {
                spent.writes += 1;
                server.write(entry.clone());
            }
            Action::IdleBeat => {
                spent.beats += 1;
                client.beat(server);
            }
            Action::AbortChunk(at) => {
                spent.failures += 1;
                let chunk = client.copying.remove(at);
                client.ledger.ledger_mut().abort_chunk(chunk.id);
            }
            Action::FailBatch(at) => {
                spent.failures += 1;
                let batch = client.replaying.remove(at);
                client.ledger.batch_failed(batch.id);
            }
            Action::Touch(key) => {
                spent.touches += 1;
                client.ledger.ledger_mut().touch(key);
            }
            Action::Condense => {
                spent.condenses += 1;
                client.ledger.condense(bounds.run);
            }
            Action::Reconnect => {
                spent.reconnects += 1;
                client.parts = 0;
            }
            Action::Unlock => {
                spent.retreats += 1;
                client.lock = None;
            }
            Action::Crash => {
                spent.crashes += 1;
                *client = Client::start(server, bounds);
            }
        }
        Some(Ok(()))
    }
}
