//! The thread that reads the binlog, and goes on where it was when the connection is lost.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use futures_util::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Row};
use rand::Rng;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::Delivery;
use super::event::EventClass;
use super::follow::{Findings, Follower, Found, Watch};
use crate::error::{Error, Kind, Result};
use crate::key::{Key, KeySpec, RawKey};
use crate::ledger::Seq;
use crate::server::{RECONNECT_FOR, Server, Session, SessionSettings, back_off, to_error};

/// The server is asked to send a heartbeat event when it has nothing else to send for this long.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// When nothing at all came for this long, the connection is taken for lost.
const SILENCE: Duration = Duration::from_secs(6);
/// Deliveries that may wait for the conductor; each holds at most about [`BATCH`] changes.
const CHANNEL: usize = 64;
/// Changes after which a delivery is sent even if more are at hand.
const BATCH: usize = 4_000;
/// Keys whose weights are asked for in one statement.
const WEIGHTS: usize = 500;

/// A place in the binlog between two transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The file's name.
    pub file: String,
    /// The offset in the file, in bytes.
    pub offset: u64,
}

/// What the stream needs to know.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// The server.
    pub server: Server,
    /// Where to begin.
    pub start: Position,
    /// What to look for.
    pub watch: Watch,
}

/// The running stream. Dropping it ends the thread.
#[derive(Debug)]
pub struct Stream {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The end of the binlog as the server has written it.
///
/// # Errors
/// Refused without the privilege REPLICATION CLIENT, or without a binlog.
pub async fn current_position(session: &mut Session, version: u32) -> Result<Position> {
    // SHOW MASTER STATUS was renamed in 8.2 and is gone in 8.4.
    let statement = if version >= 80_200 { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let row: Option<Row> = session
        .query_first(statement)
        .await
        .map_err(|e| to_error(e, "reading the binlog position"))?;
    let filters = [("Binlog_Do_DB", 2), ("Binlog_Ignore_DB", 3)];
    for (filter, column) in filters {
        let schemas: Option<String> = row.as_ref().and_then(|row| row.get_opt(column)?.ok());
        if let Some(schemas) = schemas.filter(|schemas| !schemas.is_empty()) {
            return Err(Error::refused(format!(
                "the server leaves schemas out of its binlog ({filter}: {schemas})"
            ))
            .remedy("Start the server without binlog_do_db and binlog_ignore_db."));
        }
    }
    row.and_then(|row| {
        Some(Position { file: row.get_opt(0)?.ok()?, offset: row.get_opt(1)?.ok()? })
    })
    .ok_or_else(|| {
        Error::refused("the server writes no binlog").remedy("Set log_bin and restart it.")
    })
}

impl Stream {
    /// Starts the thread. Its deliveries come through the channel; an error is the last of them.
    pub fn start(config: StreamConfig) -> Result<(Stream, Receiver<Result<Delivery>>)> {
        let (sender, receiver) = bounded(CHANNEL);
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::failed("starting the stream's runtime").caused_by(e))?;
        let thread = std::thread::Builder::new()
            .name("binlog-stream".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        outcome = Reader::new(config, sender.clone()).read() => {
                            if let Err(error) = outcome {
                                // The conductor may have ended already.
                                let _ = sender.send(Err(error));
                            }
                        }
                        _ = stopped => {}
                    }
                });
            })
            .map_err(|e| Error::failed("starting the stream's thread").caused_by(e))?;
        Ok((Stream { stop: Some(stop), thread: Some(thread) }, receiver))
    }

    /// Ends the thread and waits for it. The receiver has to be dropped before, or the thread may
    /// wait for room in the channel.
    pub fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the stream's thread panicked");
        }
    }
}

/// Why reading from one connection ended.
enum End {
    /// The connection is lost, or silent.
    Lost(String),
    /// The conductor has gone.
    Unwanted,
}

struct Reader {
    config: StreamConfig,
    follower: Follower,
    deliveries: Sender<Result<Delivery>>,
    weigher: Option<Session>,
    /// Where the last complete transaction ended, and its number.
    boundary: (Position, Seq),
    file: String,
    /// The end of the last event that is in the file, in bytes.
    offset: u64,
    /// Whether this connection has sent its format description.
    checksums_known: bool,
}

/// The last offset at which a stream can be asked to begin: the request has 32 bits for it. Transactions that end
/// behind it leave the boundary where it was, until the next file.
const MOST_OFFSET: u64 = u32::MAX as u64;

/// Where an event ends of which the header says `log_pos`, when the one before it ended at `before`. A header has the
/// lower 32 bits of it only, and a file may be longer: a transaction is never divided (MySQL manual,
/// `max_binlog_size`). Events that the server makes up for the stream have no place in the file, and no `log_pos`.
fn end_of_event(before: u64, log_pos: u32) -> u64 {
    const HALF: u64 = 1 << 31;
    if log_pos == 0 {
        return before;
    }
    let end = (before & !MOST_OFFSET) | u64::from(log_pos);
    if end + HALF < before { end + MOST_OFFSET + 1 } else { end }
}

impl Reader {
    fn new(config: StreamConfig, deliveries: Sender<Result<Delivery>>) -> Self {
        Reader {
            follower: Follower::new(config.watch.clone()),
            deliveries,
            weigher: None,
            boundary: (config.start.clone(), 0),
            file: config.start.file.clone(),
            offset: 0,
            checksums_known: false,
            config,
        }
    }

    async fn read(mut self) -> Result<()> {
        let mut lost_since: Option<Instant> = None;
        let mut attempt = 0;
        loop {
            let before = self.boundary.clone();
            let why = match self.connect().await {
                Ok(mut stream) => match self.read_from(&mut stream).await? {
                    End::Lost(why) => why,
                    End::Unwanted => return Ok(()),
                },
                Err(error) if error.kind() == Kind::Transient => error.to_string(),
                Err(error) => return Err(error),
            };
            if self.boundary != before {
                lost_since = None;
                attempt = 0;
            }
            let since = *lost_since.get_or_insert_with(Instant::now);
            if since.elapsed() > RECONNECT_FOR {
                return Err(
                    Error::failed(format!("the binlog stream is lost: {why}")).keeping_progress()
                );
            }
            tracing::warn!(why, position = ?self.boundary.0, "binlog stream lost; connecting again");
            self.follower.rewind(self.boundary.1);
            self.checksums_known = false;
            self.file.clone_from(&self.boundary.0.file);
            attempt += 1;
            back_off(attempt).await;
        }
    }

    async fn connect(&mut self) -> Result<BinlogStream> {
        let mut session = self.config.server.connect().await?;
        let doing = "starting the binlog stream";
        // The names with `master` are those of servers before 8.0.26.
        let period = HEARTBEAT.as_nanos();
        session
            .query_drop(format!(
                "SET @source_heartbeat_period = {period}, @master_heartbeat_period = {period}, \
                 @source_binlog_checksum = 'CRC32'"
            ))
            .await
            .map_err(|e| to_error(e, doing))?;
        let Position { file, offset } = &self.boundary.0;
        // Two replicas with one server_id would throw each other out; a random one of 2^31 meets
        // another by accident only.
        let server_id = rand::rng().random_range(1 << 30..u32::MAX);
        let request =
            BinlogStreamRequest::new(server_id).with_filename(file.as_bytes()).with_pos(*offset);
        let stream =
            session.into_conn().get_binlog_stream(request).await.map_err(|e| to_error(e, doing))?;
        tracing::debug!(file, offset, server_id, "binlog stream open");
        self.offset = *offset;
        Ok(stream)
    }

    async fn read_from(&mut self, stream: &mut BinlogStream) -> Result<End> {
        loop {
            let event = tokio::select! {
                biased;
                event = tokio::time::timeout(SILENCE, stream.next()) => event,
                () = std::future::ready(()), if self.follower.waiting() > 0 => {
                    if !self.deliver().await? {
                        return Ok(End::Unwanted);
                    }
                    continue;
                }
            };
            let event = match event {
                Err(_) => return Ok(End::Lost(format!("silent for {} s", SILENCE.as_secs()))),
                Ok(None) => return Ok(End::Lost("the server closed the stream".to_owned())),
                Ok(Some(Err(error))) => return self.broken(error),
                Ok(Some(Ok(event))) => event,
            };
            let header = event.header();
            let code = header.event_type_raw();
            match EventClass::of(code) {
                EventClass::FormatDescription => self.checksums_known = true,
                // Before the format description the driver does not know that events end with a
                // checksum. All that comes before it is the name of the file that was asked for.
                EventClass::Rotate if self.checksums_known => self.rotate(event.data())?,
                _ => {}
            }
            // A ROTATE event has its place in the file that it ends.
            if !self.follower.in_payload() && EventClass::of(code) != EventClass::Rotate {
                self.offset = end_of_event(self.offset, header.log_pos());
            }
            let ended = self.follower.event(code, u64::from(header.event_size()), event.data())?;
            if ended && self.offset <= MOST_OFFSET {
                let at = Position { file: self.file.clone(), offset: self.offset };
                self.boundary = (at, self.follower.seq());
            }
            if self.follower.waiting() >= BATCH && !self.deliver().await? {
                return Ok(End::Unwanted);
            }
        }
    }

    /// An error in the stream: of the connection, which is opened again, or of the server, which is not.
    fn broken(&self, error: mysql_async::Error) -> Result<End> {
        match &error {
            mysql_async::Error::Server(server) if server.code == 1236 => Err(Error::failed(
                format!(
                    "the server cannot send the binlog from {} at {} on, as when it was purged: {}",
                    self.boundary.0.file, self.boundary.0.offset, server.message
                ),
            )
            .remedy("Raise binlog_expire_logs_seconds if binlogs were purged; then start again.")),
            mysql_async::Error::Server(_) => {
                let error = to_error(error, "reading the binlog");
                match error.kind() {
                    Kind::Transient => Ok(End::Lost(error.to_string())),
                    _ => Err(error),
                }
            }
            _ => Ok(End::Lost(error.to_string())),
        }
    }

    /// A ROTATE event names the file that the following events are from.
    fn rotate(&mut self, body: &[u8]) -> Result<()> {
        let (position, name) = body
            .split_first_chunk::<8>()
            .ok_or_else(|| Error::failed("the binlog has a ROTATE event that is cut short"))?;
        let file = String::from_utf8_lossy(name).into_owned();
        if file != self.file {
            tracing::debug!(file, "binlog file");
            let offset = u64::from_le_bytes(*position);
            // A file ends between transactions.
            self.boundary = (Position { file: file.clone(), offset }, self.follower.seq());
            (self.file, self.offset) = (file, offset);
        }
        Ok(())
    }

    /// Sends what was found. `false` when nobody listens any more.
    async fn deliver(&mut self) -> Result<bool> {
        let Findings { changes, heartbeats, xa, unknown, statement, commands, swapped } =
            self.follower.take();
        let received = self.follower.seq();
        let (at, seq) = self.boundary.clone();
        let changes = self.weigh(changes).await?;
        let boundary = (seq, at);
        let delivery = Delivery {
            changes,
            heartbeats,
            received,
            boundary,
            xa,
            unknown,
            statement,
            commands,
            swapped,
        };
        Ok(self.deliveries.send(Ok(delivery)).is_ok())
    }

    /// Completes keys with text parts by the weights that the server gives them (I6).
    async fn weigh(&mut self, changes: Vec<(Found, Seq)>) -> Result<Vec<(Key, Seq)>> {
        let mut complete = Vec::with_capacity(changes.len());
        let mut raw: Vec<(RawKey, Seq)> = Vec::new();
        for (found, seq) in changes {
            match found {
                Found::Key(key) => complete.push((key, seq)),
                Found::Raw(key) => raw.push((key, seq)),
            }
        }
        for batch in raw.chunks(WEIGHTS) {
            let (keys, seqs): (Vec<RawKey>, Vec<Seq>) = batch.iter().cloned().unzip();
            let weighed = self.ask_weights(&keys).await?;
            complete.extend(weighed.into_iter().zip(seqs));
        }
        Ok(complete)
    }

    async fn ask_weights(&mut self, keys: &[RawKey]) -> Result<Vec<Key>> {
        let spec: KeySpec = self.config.watch.key.clone();
        let query = spec.weights_sql(keys)?;
        let began = Instant::now();
        loop {
            let mut session = match self.weigher.take() {
                Some(session) => session,
                None => self
                    .config
                    .server
                    .session_within(&SessionSettings::default(), RECONNECT_FOR)
                    .await
                    .map_err(|error| error.into_kind(Kind::Failed).keeping_progress())?,
            };
            let rows: Vec<Row> = match session.query(&query).await {
                Ok(rows) => rows,
                Err(error) => {
                    let error = to_error(error, "asking for the order of text keys");
                    if error.kind() == Kind::Transient && began.elapsed() < RECONNECT_FOR {
                        continue;
                    }
                    return Err(error.into_kind(Kind::Failed).keeping_progress());
                }
            };
            self.weigher = Some(session);
            if rows.len() != keys.len() {
                return Err(Error::failed("the server weighed another number of keys than asked"));
            }
            return rows
                .into_iter()
                .zip(keys)
                .map(|(row, key)| {
                    let weights = row
                        .unwrap()
                        .into_iter()
                        .map(|value| match value {
                            mysql_async::Value::Bytes(bytes) => Ok(bytes),
                            other => {
                                Err(Error::failed(format!("the server weighed a key as {other:?}")))
                            }
                        })
                        .collect::<Result<Vec<_>>>()?;
                    spec.key_with_weights(key, weights)
                })
                .collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_go_on_behind_four_gibibytes() {
        const GIB: u64 = 1 << 30;
        let mut end = 4;
        for step in 1..24 {
            let (before, real) = (end, step * GIB / 2);
            end = end_of_event(before, real as u32);
            // An event that ends at a multiple of 4 GiB looks like one without a place.
            assert_eq!(end, if step % 8 == 0 { before } else { real });
        }
        assert_eq!(end_of_event(5 * GIB, 0), 5 * GIB);
        // What the server repeats is no sign of a longer file.
        assert_eq!(end_of_event(900, 126), 126);
    }
}
