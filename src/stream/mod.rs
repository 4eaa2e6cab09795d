//! The binlog stream: which keys of the source have changed, and which heartbeats came back.
//!
//! A thread of its own reads the binlog as a replica would, takes the keys out of the row events of the
//! source ([`event`]), and hands them to the conductor in the order of the binlog. The channel between
//! them is bounded, so that a conductor that cannot follow slows the stream down and memory stays
//! bounded.
//!
//! Nothing is passed over in silence: an event that is not known to be harmless ends the run.

pub mod event;
mod follow;
mod payload;
mod transport;

pub use follow::Watch;
pub use transport::{Position, Stream, StreamConfig, current_position};

use crate::key::Key;
use crate::ledger::Seq;
use crate::state::Command;

/// A part of the stream, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delivery {
    /// Changed keys of the source, with the number of their transaction.
    pub changes: Vec<(Key, Seq)>,
    /// Heartbeats, with the number of their transaction.
    pub heartbeats: Vec<(u64, Seq)>,
    /// The last transaction of which the stream has delivered anything.
    pub received: Seq,
    /// The last transaction that was delivered whole, and where it ends in the binlog.
    pub boundary: (Seq, Position),
    /// XA transactions that were prepared, or came to their end.
    pub xa: Vec<XaSpan>,
    /// A transaction of which it is not known what it changed, the source perhaps: the XA COMMIT of what
    /// was prepared before the stream began.
    pub unknown: Option<Seq>,
    /// Whether a session wrote in STATEMENT format, so that it is not known what it changed.
    pub statement: bool,
    /// What other processes ask of this one.
    pub commands: Vec<Command>,
    /// The transaction that swapped the tables, where the stream waits for it ([`Watch::swap`]).
    pub swapped: Option<Seq>,
}

/// An XA transaction that changed the source: its rows stand where it was prepared, but count from where
/// it was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XaSpan {
    /// The transaction that prepared it.
    pub prepared: Seq,
    /// The transaction that committed it or rolled it back, once there is one.
    pub ended: Option<Seq>,
}
