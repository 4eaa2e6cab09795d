//! What connects a run with whoever steers it: the operator's orders, and what holds the copy.
//!
//! A [`Control`] is shared by the run, by what watches the server for it ([`crate::throttle`]), and by the
//! ways in which an operator speaks to it: signals, the [socket](mod@socket), the [mailbox] in the database,
//! HTTP. The conductor reads its orders before it hands out work; nothing here waits for anything.
//!
//! A hold stops what burdens the server: no chunk, comparison, index build or cut-over is begun. What is under
//! way ends, and replay and heartbeats go on, so that nothing is lost to purged binlogs however long it lasts.

mod command;
mod journal;
pub mod mailbox;
pub mod socket;
mod status;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use jiff::Timestamp;
use tokio::sync::watch;

pub use command::Command;
pub use journal::Event;
pub use status::{HoldStatus, ReplicaStatus, Status, WindowStatus};

use crate::error::Result;
use crate::pace::Pace;
use crate::throttle::{PeakPace, Throttle};
use journal::Journal;

/// Why the copy is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The operator has paused it.
    Operator,
    /// A peak window is open.
    Peak,
    /// No window is open in which the copy may run.
    OnlyWithin,
    /// A replica lags, or its lag cannot be read.
    ReplicaLag,
    /// A status variable is beyond its limit.
    MaxLoad,
    /// A status variable was beyond its critical limit, and the run rests.
    CriticalLoad,
    /// The operator's statement says so.
    Query,
    /// The flag file exists.
    File,
    /// The HTTP address does not answer 200.
    Http,
    /// InnoDB's history list is too long.
    HistoryList,
    /// The disk is nearly full.
    Disk,
}

impl Source {
    /// Its name in logs, status and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Source::Operator => "operator",
            Source::Peak => "peak",
            Source::OnlyWithin => "only-within",
            Source::ReplicaLag => "replica-lag",
            Source::MaxLoad => "max-load",
            Source::CriticalLoad => "critical-load",
            Source::Query => "query",
            Source::File => "file",
            Source::Http => "http",
            Source::HistoryList => "history-list",
            Source::Disk => "disk",
        }
    }
}

/// Changed keys that a run holds one by one unless it is told otherwise: about 110 bytes each.
pub const MAX_CHANGED_KEYS: usize = 500_000;

/// The settings of a run that can be changed while it goes on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How much the application may be slowed down.
    pub pace: Pace,
    /// Connections that copy and compare, at most.
    pub workers: usize,
    /// Rows copied or compared in a second, at most.
    pub rows_per_second: Option<u64>,
    /// How long one chunk should take.
    pub chunk_time: Duration,
    /// Changed keys that are held in memory one by one, at most.
    pub max_changed_keys: usize,
    /// What holds the copy.
    pub throttle: Throttle,
    /// Whether the cut-over waits for the operator or for its window.
    pub postpone_cut_over: bool,
}

/// What a run is about, for those who look at it.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// The schema of the table.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The clauses of the ALTER.
    pub alter: String,
    /// The run's id.
    pub run: String,
    /// The server, as `user@host:port`.
    pub server: String,
    /// Whether the tables have been swapped, and this is the way back.
    pub goes_back: bool,
}

/// How the operator, or a critical load, ends a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It stops, and keeps what there is to go on with.
    Stop,
    /// It stops, and removes everything.
    Abort,
    /// The load was critical; it stops, and keeps what there is to go on with.
    Critical(String),
}

/// What the conductor has to keep to at the moment.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    /// Why nothing may be begun.
    pub(crate) held: Option<String>,
    pub(crate) pace: Pace,
    pub(crate) workers: usize,
    pub(crate) rows_per_second: Option<u64>,
    pub(crate) chunk_time: Duration,
    pub(crate) max_changed_keys: usize,
    /// What the governor is to give way to.
    pub(crate) strain: Option<&'static str>,
    /// Why the tables may not be swapped yet.
    pub(crate) cut_over_waits: Option<String>,
    pub(crate) ending: Option<Ending>,
}

#[derive(Debug, Clone)]
struct Hold {
    why: String,
    since: Instant,
}

struct State {
    settings: Option<Settings>,
    subject: Subject,
    holds: BTreeMap<Source, Hold>,
    /// What is left of the speed within a peak window that does not pause the copy.
    peak: Option<PeakPace>,
    strain: Option<&'static str>,
    /// Why the calendar does not let the tables be swapped.
    cut_over_closed: Option<String>,
    /// Why a hook does not let the tables be swapped.
    cut_over_hooked: Option<String>,
    /// Whether the operator has asked for the cut-over.
    told_to_cut_over: bool,
    ending: Option<Ending>,
    /// Whether the rename was sent, which nothing can call back.
    swapping: bool,
    replicas: Vec<ReplicaStatus>,
    journal: Journal,
}

/// What hooks hear of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Why the copy is held.
    pub(crate) held: Option<String>,
    /// Whether operator and calendar let the tables be swapped.
    pub(crate) may_cut_over: bool,
}

/// The time, so that tests can set it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

struct Shared {
    state: Mutex<State>,
    bell: (Sender<()>, Receiver<()>),
    heard: watch::Sender<Heard>,
    /// Whether the run is to end.
    ends: watch::Sender<bool>,
    clock: Clock,
}

/// See the [module documentation](self).
#[derive(Clone)]
pub struct Control(Arc<Shared>);

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("holds", &self.holds()).finish_non_exhaustive()
    }
}

impl Default for Control {
    fn default() -> Self {
        Control::new()
    }
}

impl Control {
    /// Nothing is held.
    pub fn new() -> Self {
        Control::with_clock(Arc::new(Timestamp::now))
    }

    /// The same with another clock for calendar and journal.
    pub fn with_clock(clock: Clock) -> Self {
        let state = State {
            settings: None,
            subject: Subject::default(),
            holds: BTreeMap::new(),
            peak: None,
            strain: None,
            cut_over_closed: None,
            cut_over_hooked: None,
            told_to_cut_over: false,
            ending: None,
            swapping: false,
            replicas: Vec::new(),
            journal: Journal::default(),
        };
        Control(Arc::new(Shared {
            state: Mutex::new(state),
            bell: bounded(1),
            heard: watch::Sender::default(),
            ends: watch::Sender::new(false),
            clock,
        }))
    }

    /// The time by this control's clock.
    pub fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    // ---- the operator -------------------------------------------------------------------------

    /// Carries out a command. The answer says what happens now.
    ///
    /// # Errors
    /// Refused when it does not fit the run, or a value is not right.
    pub fn obey(&self, command: &Command, by: &str) -> Result<String> {
        let answer = command.carry_out(&mut self.state())?;
        if !matches!(command, Command::Status) {
            self.note(&format!("{by}: {command}"));
        }
        self.ring();
        Ok(answer)
    }

    /// Ends the run as Ctrl-C does.
    pub fn stop(&self) {
        self.end(Ending::Stop);
    }

    /// Ends the run; the first ending counts, but for an abort.
    pub(crate) fn end(&self, ending: Ending) {
        let mut state = self.state();
        if state.ending.is_none() || ending == Ending::Abort {
            state.ending = Some(ending);
        }
        drop(state);
        self.ring();
    }

    // ---- the run ------------------------------------------------------------------------------

    /// A run, or its guard, begins with these settings.
    pub(crate) fn begin(&self, settings: Settings, subject: Subject) {
        let mut state = self.state();
        state.settings = Some(settings);
        state.subject = subject;
        state.holds.clear();
        (state.peak, state.strain, state.told_to_cut_over) = (None, None, false);
        (state.cut_over_closed, state.cut_over_hooked, state.swapping) = (None, None, false);
        // What ended the run before does not end its guard.
        state.ending.take_if(|ending| matches!(ending, Ending::Critical(_)));
    }

    /// What the run has to keep to. [`begin`](Self::begin) has come before.
    pub(crate) fn orders(&self) -> Option<Orders> {
        let state = self.state();
        let settings = state.settings.as_ref()?;
        let (mut pace, mut rows_per_second) = (settings.pace, settings.rows_per_second);
        match state.peak {
            Some(PeakPace::Gentle) => pace = Pace::Gentle,
            Some(PeakPace::Rows(most)) => {
                rows_per_second = Some(rows_per_second.map_or(most, |own| own.min(most)));
            }
            Some(PeakPace::Pause) | None => {}
        }
        Some(Orders {
            held: state.held(),
            pace,
            workers: settings.workers,
            rows_per_second,
            chunk_time: settings.chunk_time,
            max_changed_keys: settings.max_changed_keys,
            strain: state.strain,
            cut_over_waits: state.cut_over_waits(settings),
            ending: state.ending.clone(),
        })
    }

    /// Rings when the orders have changed.
    pub(crate) fn bell(&self) -> &Receiver<()> {
        &self.0.bell.1
    }

    /// How the run is to end, if it is.
    pub fn ending(&self) -> Option<Ending> {
        self.state().ending.clone()
    }

    /// Waits until the run is to end.
    pub async fn ends(&self) {
        // The sender lives as long as this value.
        let _ = self.0.ends.subscribe().wait_for(|ends| *ends).await;
    }

    // ---- what watches the server --------------------------------------------------------------

    /// The settings as they are now.
    pub fn settings(&self) -> Option<Settings> {
        self.state().settings.clone()
    }

    /// Sets or takes away one reason to hold the copy.
    pub(crate) fn hold(&self, source: Source, why: Option<String>) {
        let mut state = self.state();
        let before = state.holds.get(&source).map(|hold| hold.since);
        match why {
            Some(why) => {
                let since = before.unwrap_or_else(Instant::now);
                state.holds.insert(source, Hold { why: why.clone(), since });
                if before.is_none() {
                    drop(state);
                    self.note(&format!("held by {}: {why}", source.name()));
                    self.ring();
                }
            }
            None => {
                if state.holds.remove(&source).is_some() {
                    drop(state);
                    self.note(&format!("no longer held by {}", source.name()));
                    self.ring();
                }
            }
        }
    }

    /// Says whether the rename was sent.
    pub(crate) fn set_swapping(&self, swapping: bool) {
        self.state().swapping = swapping;
    }

    /// Says what is left of the speed within the open peak window.
    pub(crate) fn set_peak(&self, peak: Option<PeakPace>) {
        let mut state = self.state();
        if state.peak != peak {
            state.peak = peak;
            drop(state);
            self.note(match peak {
                Some(_) => "peak hours: the copy goes slowly",
                None => "the peak hours are over",
            });
            self.ring();
        }
    }

    /// Says what the governor is to give way to.
    pub(crate) fn set_strain(&self, strain: Option<&'static str>) {
        self.state().strain = strain;
    }

    /// Says why the calendar does not let the tables be swapped.
    pub(crate) fn close_cut_over(&self, why: Option<String>) {
        self.state().cut_over_closed = why;
        self.ring();
    }

    /// Says why a hook does not let the tables be swapped.
    pub(crate) fn hook_cut_over(&self, why: Option<String>) {
        self.state().cut_over_hooked = why;
        self.ring();
    }

    /// What hooks hear of, whenever it changes.
    pub(crate) fn changes(&self) -> watch::Receiver<Heard> {
        self.0.heard.subscribe()
    }

    /// Says what was read from the replicas.
    pub(crate) fn set_replicas(&self, replicas: Vec<ReplicaStatus>) {
        self.state().replicas = replicas;
    }

    // ---- whoever looks ------------------------------------------------------------------------

    /// Writes to the journal and to the log.
    pub(crate) fn note(&self, text: &str) {
        tracing::info!("{text}");
        self.remember(text);
    }

    /// Writes to the journal what the log has already.
    pub(crate) fn remember(&self, text: &str) {
        let now = self.now();
        self.state().journal.write(now, text);
    }

    /// Why the copy is held: the sources' names and their reasons.
    pub fn holds(&self) -> Vec<(Source, String)> {
        self.state().holds.iter().map(|(source, hold)| (*source, hold.why.clone())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        // Under the lock, so that what was said last is heard last.
        let state = self.state();
        let ends = state.ending.is_some();
        self.0.ends.send_if_modified(|before| std::mem::replace(before, ends) != ends);
        let held = state.held();
        let waits = state.settings.as_ref().map(|settings| state.put_off(settings).is_some());
        let may_cut_over = held.is_none() && waits == Some(false);
        let heard = Heard { held, may_cut_over };
        self.0.heard.send_if_modified(|before| std::mem::replace(before, heard.clone()) != heard);
        drop(state);
        // A full channel means that it will be looked at already.
        let _ = self.0.bell.0.try_send(());
    }
}

impl State {
    fn held(&self) -> Option<String> {
        if self.holds.is_empty() {
            return None;
        }
        let reasons: Vec<String> = self
            .holds
            .iter()
            .map(|(source, hold)| match source {
                Source::Operator => hold.why.clone(),
                source => format!("held by {}: {}", source.name(), hold.why),
            })
            .collect();
        Some(reasons.join("; "))
    }

    /// Why the tables may not be swapped yet.
    fn cut_over_waits(&self, settings: &Settings) -> Option<String> {
        self.put_off(settings).or_else(|| self.cut_over_hooked.clone())
    }

    /// The same as far as operator and calendar are concerned; the operator's word is the last.
    fn put_off(&self, settings: &Settings) -> Option<String> {
        if self.told_to_cut_over {
            return None;
        }
        let scheduled = settings.throttle.calendar.cut_over_is_scheduled();
        let postponed = settings.postpone_cut_over && !scheduled;
        self.cut_over_closed.clone().or_else(|| {
            postponed
                .then(|| "verified and in step; `replank cut-over` swaps the tables".to_owned())
        })
    }
}

#[cfg(test)]
mod tests;
