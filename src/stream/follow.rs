//! Following the binlog: from events to changed keys, transaction by transaction.
//!
//! Transactions are numbered by their GTID events, which precede every transaction also when GTIDs are
//! off (as ANONYMOUS_GTID). A transaction that was prepared by XA is not visible until its XA COMMIT,
//! which is a transaction of its own in the binlog: its keys are kept until then.

use std::collections::HashMap;

use super::XaSpan;
use super::event::{EventClass, KeyLayout, QueryEvent, RowChange, RowsEvent, TableMap};
use super::payload::{broken_payload, payload_size};
use crate::error::{Error, Result};
use crate::key::{Key, KeySpec, PartValue, RawKey};
use crate::ledger::Seq;
use crate::schema::lexer::Dialect;
use crate::schema::mention::{StatementKind, mentions_table, statement_kind};
use crate::sql::TableName;
use crate::state::{Command, Said, StateTable};

/// The table ids that MySQL uses for rows events without a table (`~0` in six bytes, and the dummy
/// with which a statement is ended).
const NO_TABLE: [u64; 2] = [0xFFFF_FFFF_FFFF, 0x00FF_FFFF];

/// What the stream is watched for.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The source.
    pub source: TableName,
    /// Its key.
    pub key: KeySpec,
    /// How many columns its rows have in the binlog.
    pub columns: usize,
    /// The shadow table: DDL on it ends the run.
    pub shadow: TableName,
    /// The state table, whose rows are the heartbeats.
    pub state: TableName,
    /// How the server reads statements.
    pub dialect: Dialect,
    /// A comment that the run's own DDL carries.
    pub own_mark: String,
    /// Whether rows of the source count only behind the run's own RENAME: before it, that name was
    /// another table's.
    pub swap: bool,
}

/// A changed key: complete, or still without the weights of its text parts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    Key(Key),
    Raw(RawKey),
}

/// What has been found since it was last taken.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Findings {
    pub(super) changes: Vec<(Found, Seq)>,
    pub(super) heartbeats: Vec<(u64, Seq)>,
    pub(super) xa: Vec<XaSpan>,
    /// The last transaction of which it is not known what it changed.
    pub(super) unknown: Option<Seq>,
    pub(super) statement: bool,
    pub(super) commands: Vec<Command>,
    pub(super) swapped: Option<Seq>,
}

#[derive(Debug)]
enum Role {
    Source(Box<KeyLayout>),
    State(Box<KeyLayout>),
    Other,
}

/// The bytes of a compressed transaction that have not been accounted for by its inner events.
#[derive(Debug, Clone, Copy)]
struct Payload {
    left: u64,
}

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct Follower {
    watch: Watch,
    state_key: KeySpec,
    seq: Seq,
    in_transaction: bool,
    tables: HashMap<u64, Role>,
    payload: Option<Payload>,
    /// The XA transaction whose changes are being read.
    xa: Option<String>,
    xa_changes: Vec<Found>,
    /// Prepared XA transactions: where they were prepared, and what they change.
    prepared: HashMap<String, (Seq, Vec<Found>)>,
    /// Whether the source's name stands for the source already.
    named: bool,
    findings: Findings,
}

impl Follower {
    pub(super) fn new(watch: Watch) -> Self {
        Follower {
            named: !watch.swap,
            watch,
            state_key: StateTable::key(),
            seq: 0,
            in_transaction: false,
            tables: HashMap::new(),
            payload: None,
            xa: None,
            xa_changes: Vec::new(),
            prepared: HashMap::new(),
            findings: Findings::default(),
        }
    }

    /// The number of the last transaction that began.
    pub(super) fn seq(&self) -> Seq {
        self.seq
    }

    /// Goes back to the end of transaction `seq`, because the stream begins again after it.
    pub(super) fn rewind(&mut self, seq: Seq) {
        self.seq = seq;
        self.in_transaction = false;
        self.payload = None;
        self.xa = None;
        self.xa_changes.clear();
        self.tables.clear();
    }

    /// Whether the events of a compressed transaction are being read: they have no position of their
    /// own in the binlog.
    pub(super) fn in_payload(&self) -> bool {
        self.payload.is_some()
    }

    /// Takes what has been found.
    pub(super) fn take(&mut self) -> Findings {
        std::mem::take(&mut self.findings)
    }

    /// How many changes wait to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.findings.changes.len()
            + self.findings.heartbeats.len()
            + self.findings.xa.len()
            + self.findings.commands.len()
            + usize::from(self.findings.unknown.is_some() || self.findings.swapped.is_some())
    }

    /// Reads one event: its type code, its size with header, its body. Returns whether a transaction
    /// ended with it.
    pub(super) fn event(&mut self, code: u8, size: u64, body: &[u8]) -> Result<bool> {
        let class = EventClass::of(code);
        let ended = self.event_of(class, code, size, body)?;
        if let Some(payload) = &mut self.payload
            && class != EventClass::TransactionPayload
        {
            payload.left = payload.left.checked_sub(size).ok_or_else(broken_payload)?;
            if payload.left == 0 {
                self.payload = None;
            }
        }
        Ok(ended && self.payload.is_none())
    }

    fn event_of(&mut self, class: EventClass, code: u8, size: u64, body: &[u8]) -> Result<bool> {
        // A compressed transaction has to be followed by all of its events, whatever went wrong in
        // decompressing it.
        let inner = matches!(
            class,
            EventClass::Query
                | EventClass::TableMap
                | EventClass::Rows
                | EventClass::Xid
                | EventClass::Harmless
                | EventClass::XaPrepare
        );
        if self.payload.is_some() && !inner {
            return Err(broken_payload());
        }
        match class {
            EventClass::Harmless
            | EventClass::FormatDescription
            | EventClass::Rotate
            | EventClass::Heartbeat => Ok(false),
            EventClass::Gtid => {
                self.seq += 1;
                self.in_transaction = false;
                self.tables.clear();
                Ok(false)
            }
            EventClass::TableMap => self.table_map(body).map(|()| false),
            EventClass::Rows => self.rows(code, body).map(|()| false),
            EventClass::Query => self.query(body),
            EventClass::Xid => {
                self.in_transaction = false;
                Ok(true)
            }
            EventClass::XaPrepare => self.xa_prepare(body).map(|()| true),
            EventClass::TransactionPayload => {
                self.payload =
                    Some(Payload { left: payload_size(body).ok_or_else(broken_payload)? });
                Ok(false)
            }
            EventClass::Incident => Err(Error::failed(
                "the server wrote an incident to its binlog: events may be missing",
            )
            .remedy("Look into the server's error log, and start again.")),
            EventClass::LoadStatement => Err(Error::failed(
                "a session loads data in STATEMENT format: its rows are not in the binlog",
            )
            .remedy("Set binlog_format=ROW for every session that writes, and start again.")),
            EventClass::Unknown => Err(Error::failed(format!(
                "the binlog has an event of the unknown type {code} ({size} bytes)"
            ))
            .remedy(
                "This version of replank does not know this server's events; nothing is guessed.",
            )),
        }
    }

    fn table_map(&mut self, body: &[u8]) -> Result<()> {
        let (id, schema, table) = TableMap::parse_names(body)?;
        let is = |name: &TableName| name.schema.as_str() == schema && name.table.as_str() == table;
        let role = if is(&self.watch.source) && !self.named {
            Role::Other
        } else if is(&self.watch.source) {
            let map = TableMap::parse(body)?;
            Role::Source(Box::new(KeyLayout::new(&map, &self.watch.key, self.watch.columns)?))
        } else if is(&self.watch.state) {
            const STATE_COLUMNS: usize = 3;
            let map = TableMap::parse(body)?;
            Role::State(Box::new(KeyLayout::new(&map, &self.state_key, STATE_COLUMNS)?))
        } else {
            Role::Other
        };
        self.tables.insert(id, role);
        Ok(())
    }

    fn rows(&mut self, code: u8, body: &[u8]) -> Result<()> {
        let event = RowsEvent::parse(code, body)?;
        let seq = self.seq;
        match self.tables.get(&event.table_id) {
            Some(Role::Other) => Ok(()),
            Some(Role::Source(layout)) => {
                let found = match &self.xa {
                    Some(_) => Sink::Held(&mut self.xa_changes),
                    None => Sink::Open(&mut self.findings.changes, seq),
                };
                collect(&event, layout, self.watch.key.needs_weights(), found)
            }
            Some(Role::State(layout)) => {
                let Findings { heartbeats, commands, .. } = &mut self.findings;
                event.each_raw_key(layout, |change| {
                    let (RowChange::Update { after, .. } | RowChange::Insert(after)) = change
                    else {
                        return Ok(());
                    };
                    if let [PartValue::UInt(kind), PartValue::UInt(id)] = after[..] {
                        match StateTable::says(kind, id) {
                            // The row is there from the beginning, with the number 0.
                            Some(Said::Heartbeat(0)) | None => {}
                            Some(Said::Heartbeat(id)) => heartbeats.push((id, seq)),
                            Some(Said::Command(command)) => commands.push(command),
                        }
                    }
                    Ok(())
                })?;
                Ok(())
            }
            None if NO_TABLE.contains(&event.table_id) => Ok(()),
            None => Err(Error::failed(format!(
                "a row event came for table id {} without its table map",
                event.table_id
            ))),
        }
    }

    fn query(&mut self, body: &[u8]) -> Result<bool> {
        let query = QueryEvent::parse(body)?;
        let kind = statement_kind(&query.sql, self.watch.dialect);
        match kind {
            StatementKind::Begin => self.in_transaction = true,
            StatementKind::Savepoint | StatementKind::XaEnd(_) | StatementKind::XaPrepare(_) => {}
            StatementKind::Commit | StatementKind::Rollback => {
                self.in_transaction = false;
                return Ok(true);
            }
            StatementKind::XaStart(xid) => {
                self.in_transaction = true;
                self.xa = Some(xid);
                self.xa_changes.clear();
            }
            StatementKind::XaCommit(xid) => {
                let seq = self.seq;
                match self.prepared.remove(&xid) {
                    Some((prepared, changes)) => {
                        let changes = changes.into_iter().map(|change| (change, seq));
                        self.findings.changes.extend(changes);
                        self.findings.xa.push(XaSpan { prepared, ended: Some(seq) });
                    }
                    // It was prepared before the stream began.
                    None => self.findings.unknown = Some(seq),
                }
                return Ok(true);
            }
            StatementKind::XaRollback(xid) => {
                if let Some((prepared, _)) = self.prepared.remove(&xid) {
                    self.findings.xa.push(XaSpan { prepared, ended: Some(self.seq) });
                }
                return Ok(true);
            }
            StatementKind::OtherDdl => return Ok(!self.in_transaction),
            StatementKind::SchemaDdl(name) => {
                let ours = name.is_none_or(|name| {
                    name.to_lowercase() == self.watch.source.schema.as_str().to_lowercase()
                });
                let drops =
                    query.sql.trim_start().get(..4).is_some_and(|w| w.eq_ignore_ascii_case("drop"));
                if ours && drops {
                    return Err(self.foreign(&query));
                }
                return Ok(true);
            }
            StatementKind::TableDdl | StatementKind::Other => {
                self.refuse_mention(&query)?;
                if kind == StatementKind::Other {
                    self.statement();
                }
                if self.is_own_rename(&query) {
                    self.named = true;
                    self.findings.swapped = Some(self.seq);
                }
                return Ok(!self.in_transaction);
            }
            StatementKind::Dml => {
                self.refuse_mention(&query)?;
                self.statement();
            }
        }
        Ok(false)
    }

    /// A statement in the binlog that names one of the run's tables, and is not the run's own: a
    /// change of structure, or rows that changed without row events.
    fn refuse_mention(&self, query: &QueryEvent) -> Result<()> {
        if query.sql.contains(&self.watch.own_mark) {
            return Ok(());
        }
        let watch = &self.watch;
        // Text in another character set than UTF-8 may hold any name that is not ASCII.
        let garbled = query.sql.contains('\u{FFFD}') && !watch.source.table.as_str().is_ascii();
        let mentioned = garbled
            || [&watch.source, &watch.shadow, &watch.state].into_iter().any(|name| {
                mentions_table(
                    &query.sql,
                    &query.schema,
                    name.schema.as_str(),
                    name.table.as_str(),
                    watch.dialect,
                )
            });
        if mentioned { Err(self.foreign(query)) } else { Ok(()) }
    }

    /// A statement that changes rows without row events. It may reach the source through a view, a trigger or
    /// a function; before the swap that the stream waits for, the name was another table's.
    fn statement(&mut self) {
        if self.named {
            self.findings.unknown = Some(self.seq);
            self.findings.statement = true;
        }
    }

    fn is_own_rename(&self, query: &QueryEvent) -> bool {
        query.sql.starts_with("RENAME") && query.sql.contains(&self.watch.own_mark)
    }

    fn foreign(&self, query: &QueryEvent) -> Error {
        let shown: String = query.sql.chars().take(200).collect();
        Error::failed(format!(
            "another session ran a statement that the run cannot follow on {} or its helper tables: {shown}",
            self.watch.source
        ))
        .remedy(
            "A change of structure during the run, or a write in STATEMENT format: let it end, and \
             start again.",
        )
    }

    fn xa_prepare(&mut self, body: &[u8]) -> Result<()> {
        let one_phase = body.first().is_some_and(|flag| *flag != 0);
        self.in_transaction = false;
        let changes = std::mem::take(&mut self.xa_changes);
        let xid = self
            .xa
            .take()
            .ok_or_else(|| Error::failed("the binlog has an XA PREPARE without its XA START"))?;
        if one_phase {
            let seq = self.seq;
            self.findings.changes.extend(changes.into_iter().map(|change| (change, seq)));
        } else {
            self.findings.xa.push(XaSpan { prepared: self.seq, ended: None });
            self.prepared.insert(xid, (self.seq, changes));
        }
        Ok(())
    }
}

/// Where changed keys go: to the conductor, or to the XA transaction that they wait with.
enum Sink<'a> {
    Open(&'a mut Vec<(Found, Seq)>, Seq),
    Held(&'a mut Vec<Found>),
}

impl Sink<'_> {
    fn push(&mut self, found: Found) {
        match self {
            Sink::Open(changes, seq) => changes.push((found, *seq)),
            Sink::Held(changes) => changes.push(found),
        }
    }
}

fn collect(
    event: &RowsEvent<'_>,
    layout: &KeyLayout,
    needs_weights: bool,
    mut sink: Sink<'_>,
) -> Result<()> {
    if needs_weights {
        event.each_raw_key(layout, |change| {
            each(change, |key| sink.push(Found::Raw(key)));
            Ok(())
        })?;
    } else {
        event.each_key(layout, |change| {
            each(change, |key| sink.push(Found::Key(key)));
            Ok(())
        })?;
    }
    Ok(())
}

/// The keys that a change touches: one, or two where it changes the key itself.
fn each<K: PartialEq>(change: RowChange<K>, mut push: impl FnMut(K)) {
    match change {
        RowChange::Insert(key) | RowChange::Delete(key) => push(key),
        RowChange::Update { before, after } => {
            if before != after {
                push(before);
            }
            push(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_of_the_key_touches_two_keys() {
        let mut keys = Vec::new();
        each(RowChange::Update { before: 1, after: 2 }, |key| keys.push(key));
        each(RowChange::Update { before: 3, after: 3 }, |key| keys.push(key));
        assert_eq!(keys, [1, 2, 3]);
    }
}
