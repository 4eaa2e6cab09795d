//! The task that looks at everything which may hold the copy, and at the mailbox.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tokio::sync::oneshot;

use super::calendar::CopyRule;
use super::lag::{Beats, Watched};
use super::{PeakPace, Threshold, Throttle, load, outside};
use crate::control::{Control, Ending, ReplicaStatus, Source, mailbox};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::server::{Server, Session, SessionSettings, to_error};
use crate::state::StateTable;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// How long the server may take to answer one question.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long answers are left to be read when the run has ended.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// See the [module documentation](super).
pub(crate) struct Watcher {
    server: Server,
    state: StateTable,
    control: Control,
    progress: Progress,
    beats: Beats,
    session: Option<Session>,
    /// Whether requests to an earlier process have been removed.
    swept: bool,
    replicas: Vec<Watched>,
    http: outside::Http,
    datadir: Option<PathBuf>,
    resting_until: Option<Instant>,
}

impl Watcher {
    /// Watches for a run with this state table. The control has its settings by now.
    pub(crate) fn new(
        server: &Server,
        state: &StateTable,
        control: &Control,
        progress: &Progress,
        beats: &Beats,
    ) -> Self {
        let settings = control.settings();
        let replicas = settings.map(|settings| settings.throttle.replicas).unwrap_or_default();
        Watcher {
            server: server.clone(),
            state: state.clone(),
            control: control.clone(),
            progress: progress.clone(),
            beats: beats.clone(),
            session: None,
            swept: false,
            replicas: replicas.into_iter().map(Watched::new).collect(),
            http: outside::Http::new(),
            datadir: None,
            resting_until: None,
        }
    }

    /// Looks until the run has ended: `ended` is dropped then. A look that is under way comes to its end, and what was
    /// answered is left for those who asked to be read.
    pub(crate) async fn watch(mut self, mut ended: oneshot::Receiver<()>) {
        let mut ticker = tokio::time::interval(EVERY);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticker.tick() => {}
                _ = &mut ended => break,
            }
            self.look().await;
        }
        if let Err(error) = self.leave().await {
            tracing::debug!(%error, "waiting until answers have been read");
        }
    }

    /// Looks at everything once.
    pub(crate) async fn look(&mut self) {
        let Some(settings) = self.control.settings() else { return };
        let throttle = settings.throttle;
        self.look_at_calendar(&throttle);
        self.control.hold(Source::File, throttle.file.as_deref().and_then(outside::file));
        // Commands before anything that may be broken: they are how it is mended.
        if let Err(error) = in_time(self.read_mail()).await {
            self.session = None;
            tracing::debug!(%error, "reading commands in the database");
        }
        let (load, query, history, disk) = (
            in_time(self.look_at_load(&throttle)).await,
            in_time(self.look_at_query(&throttle)).await,
            in_time(self.look_at_history(&throttle)).await,
            in_time(self.look_at_disk(&throttle)).await,
        );
        let near = load.as_ref().is_ok_and(|(_, near)| *near);
        let long = history.as_ref().is_ok_and(|(_, long)| *long);
        self.conclude(Source::MaxLoad, load.map(|(why, _)| why));
        self.conclude(Source::Query, query);
        self.conclude(Source::HistoryList, history.map(|(why, _)| why));
        self.conclude(Source::Disk, disk);
        let http = match &throttle.http {
            Some(address) => self.http.ask(address).await,
            None => None,
        };
        self.control.hold(Source::Http, http);
        let lagging = self.look_at_replicas(&throttle).await;
        self.control.set_strain(match (lagging, near, long) {
            (true, ..) => Some("a replica falls behind"),
            (_, true, _) => Some("the load nears its limit"),
            (.., true) => Some("InnoDB's history list grows"),
            _ => None,
        });
    }

    /// What cannot be read holds the copy as well.
    fn conclude(&mut self, source: Source, found: Result<Option<String>>) {
        let why = found.unwrap_or_else(|error| {
            self.session = None;
            Some(format!("it cannot be read: {error}"))
        });
        self.control.hold(source, why);
    }

    async fn session(&mut self) -> Result<&mut Session> {
        if self.session.is_none() {
            let mut session = self.server.session(&SessionSettings::default()).await?;
            // What is not waited for any more would go on at the server.
            session
                .query_drop(format!("SET SESSION max_execution_time = {}", PATIENCE.as_millis()))
                .await
                .map_err(|e| to_error(e, "setting up a session"))?;
            self.session = Some(session);
        }
        self.session.as_mut().ok_or_else(|| Error::transient("there is no connection"))
    }

    async fn read_mail(&mut self) -> Result<()> {
        let (state, progress, control) =
            (self.state.clone(), self.progress.clone(), self.control.clone());
        let swept = std::mem::replace(&mut self.swept, true);
        let session = self.session().await?;
        if !swept {
            state.forget_all(session).await?;
        }
        mailbox::answer(session, &state, &progress, &control).await
    }

    /// Waits for a moment until nobody waits for an answer any more; then says goodbye.
    async fn leave(mut self) -> Result<()> {
        self.read_mail().await?;
        let state = self.state.clone();
        let mut ticker = tokio::time::interval(Duration::from_millis(20));
        let began = Instant::now();
        let session = self.session().await?;
        while state.has_letters(session).await? && began.elapsed() < READ_WITHIN {
            ticker.tick().await;
        }
        if let Some(session) = self.session.take() {
            session.close().await;
        }
        Ok(())
    }

    /// Why the load holds the copy, and whether it is near its limit.
    async fn look_at_load(&mut self, throttle: &Throttle) -> Result<(Option<String>, bool)> {
        let thresholds: Vec<_> = throttle.max_load.iter().chain(&throttle.critical_load).collect();
        if thresholds.is_empty() {
            self.critical(throttle, None);
            return Ok((None, false));
        }
        let values = load::status(self.session().await?, &thresholds).await?;
        self.critical(throttle, load::passed(&throttle.critical_load, &values));
        let near = throttle.max_load.iter().any(|Threshold { variable, most }| {
            values.get(&variable.to_lowercase()).is_some_and(|value| value * 10 > most * 8)
        });
        Ok((load::passed(&throttle.max_load, &values), near))
    }

    async fn look_at_query(&mut self, throttle: &Throttle) -> Result<Option<String>> {
        let Some(statement) = &throttle.query else { return Ok(None) };
        let answer = load::ask(self.session().await?, statement).await?;
        Ok((answer > 0.0).then(|| format!("the statement returns {answer}")))
    }

    /// Why the history list holds the copy, and whether it is long.
    async fn look_at_history(&mut self, throttle: &Throttle) -> Result<(Option<String>, bool)> {
        let Some(most) = throttle.max_history_list else { return Ok((None, false)) };
        let length = load::history_list(self.session().await?).await?;
        let why = || format!("the history list has {length} entries, more than {most}");
        Ok(((length > most).then(why), length > most / 2))
    }

    async fn look_at_disk(&mut self, throttle: &Throttle) -> Result<Option<String>> {
        let Some(least) = throttle.min_free_disk else { return Ok(None) };
        if self.datadir.is_none() {
            self.datadir = super::disk_is_here(self.session().await?).await?;
        }
        Ok(match &self.datadir {
            Some(path) => outside::disk(path, least),
            None => Some("the server's disk is not on this machine".to_owned()),
        })
    }

    fn look_at_calendar(&self, throttle: &Throttle) {
        let calendar = &throttle.calendar;
        let now = self.control.now();
        let until = |at: Option<jiff::Timestamp>| match at {
            Some(at) => format!("until {}", at.strftime("%Y-%m-%d %H:%M UTC")),
            None => "and no window opens within a year".to_owned(),
        };
        let (mut peak, mut outside, mut slow) = (None, None, None);
        match calendar.copy_at(now) {
            CopyRule::Free => {}
            CopyRule::Peak { window, until: end } => match throttle.peak_pace {
                PeakPace::Pause => peak = Some(format!("{window}, {}", until(Some(end)))),
                pace => slow = Some(pace),
            },
            CopyRule::Outside { until: begin } => {
                outside = Some(format!("the copy has to rest {}", until(begin)));
            }
        }
        self.control.hold(Source::Peak, peak);
        self.control.hold(Source::OnlyWithin, outside);
        self.control.set_peak(slow);
        self.control.close_cut_over(
            calendar
                .cut_over_at(now)
                .map(|closed| format!("the swap has to wait {}", until(closed.until))),
        );
    }

    /// At a critical load the run ends, or rests.
    fn critical(&mut self, throttle: &Throttle, passed: Option<String>) {
        let now = Instant::now();
        match (passed, throttle.hibernate) {
            (Some(why), None) => self.control.end(Ending::Critical(why)),
            (Some(why), Some(time)) => {
                self.resting_until = Some(now + time);
                let time = humantime::format_duration(time);
                self.control
                    .hold(Source::CriticalLoad, Some(format!("{why}; it rests for {time}")));
            }
            (None, _) => {
                if self.resting_until.is_some_and(|until| now >= until) {
                    self.resting_until = None;
                    self.control.hold(Source::CriticalLoad, None);
                }
            }
        }
    }

    /// Whether a replica has come half the way to the lag that holds the copy.
    async fn look_at_replicas(&mut self, throttle: &Throttle) -> bool {
        let (state, beats) = (&self.state, &self.beats);
        let looks = self.replicas.iter_mut().map(async |watched| {
            let lag = watched.lag(state, beats).await;
            (watched.replica.name.clone(), lag)
        });
        let found = futures_util::future::join_all(looks).await;
        let (mut behind, mut near, mut statuses) = (None, false, Vec::new());
        for (name, lag) in found {
            let seconds = lag.as_ref().ok().map(Duration::as_secs_f64);
            match lag {
                Ok(lag) if lag > throttle.max_lag => {
                    behind = Some(format!(
                        "{name} is {:.1} s behind, more than {:.1} s",
                        lag.as_secs_f64(),
                        throttle.max_lag.as_secs_f64()
                    ));
                }
                Ok(lag) => near |= lag > throttle.max_lag / 2,
                Err(error) => behind = Some(format!("the lag of {name} cannot be read: {error}")),
            }
            statuses.push(ReplicaStatus { name, lag_seconds: seconds });
        }
        self.control.set_replicas(statuses);
        self.control.hold(Source::ReplicaLag, behind);
        near
    }
}

/// Gives up what takes too long.
async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| {
        Err(Error::transient(format!("no answer within {} s", PATIENCE.as_secs())))
    })
}
