//! How a run stands, as one document for the socket, for HTTP and for hooks.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::{Control, Event};
use crate::progress::Progress;

/// How far ahead the calendar is shown.
const AHEAD: SignedDuration = SignedDuration::from_hours(48);

/// A run's status. Times are in seconds unless the name says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is what its name says, in the unit that it ends with")]
pub struct Status {
    pub schema: String,
    pub table: String,
    pub alter: String,
    pub run: String,
    pub server: String,
    pub version: String,
    pub phase: String,
    pub phase_seconds: f64,
    pub seconds: f64,
    pub rows_estimated: u64,
    pub rows_copied: u64,
    pub rows_verified: u64,
    pub rows_done: Option<u64>,
    pub rows_total: u64,
    pub rows_per_second: f64,
    pub eta_seconds: Option<f64>,
    pub keys_replayed: u64,
    pub backlog: u64,
    pub stream_lag_seconds: f64,
    pub commit_ms: Option<f64>,
    pub others_per_second: Option<f64>,
    pub share: Option<f64>,
    pub pace: Option<String>,
    pub pace_why: Option<String>,
    pub waiting: Option<String>,
    pub workers: Option<usize>,
    pub chunk_time_ms: Option<u64>,
    pub max_rows_per_sec: Option<u64>,
    pub holds: Vec<HoldStatus>,
    pub postponed: bool,
    pub cut_over_attempts: u32,
    pub replicas: Vec<ReplicaStatus>,
    pub windows: Vec<WindowStatus>,
    pub events: Vec<Event>,
}

/// One reason to hold the copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HoldStatus {
    /// Where it comes from: the name of a [`Source`](super::Source).
    pub source: String,
    /// The reason.
    pub why: String,
    /// For how long it has held.
    pub since_seconds: f64,
}

/// A watched replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Its host and port.
    pub name: String,
    /// Its lag; None while it cannot be read.
    pub lag_seconds: Option<f64>,
}

/// A window that opens or closes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowStatus {
    /// When, in UTC.
    pub at: String,
    /// What happens then.
    pub what: String,
}

impl Status {
    /// The present status.
    pub fn of(progress: &Progress, control: &Control) -> Status {
        let shown = progress.snapshot();
        let now = control.now();
        let orders = control.orders();
        let state = control.state();
        let settings = state.settings.as_ref();
        let subject = state.subject.clone();
        let windows = settings.map(|settings| settings.throttle.calendar.ahead(now, AHEAD));
        Status {
            schema: subject.schema,
            table: subject.table,
            alter: subject.alter,
            run: subject.run,
            server: subject.server,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            phase: shown.phase.name().to_owned(),
            phase_seconds: shown.phase_began.elapsed().as_secs_f64(),
            seconds: shown.began.elapsed().as_secs_f64(),
            rows_estimated: shown.rows_estimated,
            rows_copied: shown.rows_copied,
            rows_verified: shown.rows_verified,
            rows_done: shown.rows_done(),
            rows_total: shown.rows_total(),
            rows_per_second: shown.rate(),
            eta_seconds: shown.eta().map(|eta| eta.as_secs_f64()),
            keys_replayed: shown.keys_replayed,
            backlog: shown.backlog,
            stream_lag_seconds: shown.stream_lag.as_secs_f64(),
            commit_ms: shown.felt.commit.map(|commit| commit.as_secs_f64() * 1e3),
            others_per_second: shown.felt.others,
            share: shown.felt.share,
            pace: orders.as_ref().map(|orders| orders.pace.name().to_owned()),
            pace_why: shown.felt.why.map(str::to_owned),
            waiting: shown.waiting,
            workers: orders.as_ref().map(|orders| orders.workers),
            chunk_time_ms: orders.as_ref().map(|orders| millis(orders.chunk_time)),
            max_rows_per_sec: orders.as_ref().and_then(|orders| orders.rows_per_second),
            holds: state
                .holds
                .iter()
                .map(|(source, hold)| HoldStatus {
                    source: source.name().to_owned(),
                    why: hold.why.clone(),
                    since_seconds: hold.since.elapsed().as_secs_f64(),
                })
                .collect(),
            postponed: orders.is_some_and(|orders| orders.cut_over_waits.is_some()),
            cut_over_attempts: shown.cut_over_attempts,
            replicas: state.replicas.clone(),
            windows: windows
                .unwrap_or_default()
                .into_iter()
                .map(|(at, what)| WindowStatus { at: at.to_string(), what })
                .collect(),
            events: state.journal.events(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
