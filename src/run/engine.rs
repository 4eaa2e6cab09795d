//! What carries a run out once everything is prepared: the stream, the hands and the conductor, started
//! together and ended together.

use std::time::Duration;

use super::conductor::{Conductor, Inputs, Limits, Shared};
use super::crew::{Crew, Strength};
use super::guarding::Guarding;
use super::job::{Message, Report, Role};
use super::prepare::{Prepared, open};
use super::start::Start;
use super::tally::Tally;
use crate::control::{Control, Settings, Status, Subject};
use crate::error::{Error, Kind, Result};
use crate::hooks::{Hooks, NOT_ASKED, Point, herald};
use crate::progress::{Phase, Progress};
use crate::server::{RunLock, Server, end_marked, to_error};
use crate::state::Part;
use crate::stream::{Stream, StreamConfig, Watch};
use crate::throttle::{Beats, Watcher};

/// See the [module documentation](self).
pub(crate) struct Engine<'a> {
    pub(crate) server: &'a Server,
    pub(crate) prepared: &'a Prepared,
    /// What it keeps to when nothing else has been said.
    pub(crate) settings: Settings,
    /// Seconds that one attempt at the cut-over may keep the application waiting.
    pub(crate) lock_wait: u32,
    pub(crate) progress: &'a Progress,
    /// How it is steered.
    pub(crate) control: &'a Control,
    /// The operator's own programs.
    pub(crate) hooks: Option<&'a Hooks>,
}

/// How long the watcher may take to answer what was asked last.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// Hands that copy are there for as many workers as the operator may ask for later; those that are not needed have
/// no connection.
const MOST_WORKERS: usize = 64;

impl Engine<'_> {
    /// Runs until the goal is reached.
    ///
    /// # Errors
    /// As the conductor's; never refused, since there are tables by now.
    pub(crate) async fn execute(
        &self,
        start: Start,
        guarding: Guarding,
        lock: &mut RunLock,
    ) -> Result<Tally> {
        let Prepared { context, registry, .. } = self.prepared;
        let source = &context.plan.names.source;
        let subject = Subject {
            schema: source.schema.as_str().to_owned(),
            table: source.table.as_str().to_owned(),
            alter: registry.alter.clone(),
            run: registry.run.clone(),
            server: self.server.display().to_owned(),
            goes_back: guarding.goes_back(),
        };
        self.control.begin(self.settings.clone(), subject);
        if self.control.ending().is_some() {
            return Err(Error::new(Kind::Interrupted, "stopped on request"));
        }
        // Nothing is copied before it is known whether it may be.
        let beats = Beats::default();
        let mut watcher =
            Watcher::new(self.server, &context.state, self.control, self.progress, &beats);
        watcher.look().await;
        if let Some(hooks) = self.hooks {
            let status = Status::of(self.progress, self.control);
            let asked = tokio::select! {
                asked = hooks.call(Point::BeforeCopy, None, &status) => asked,
                () = self.control.ends() => {
                    Err(Error::new(Kind::Interrupted, "stopped on request"))
                }
            };
            // A run that is taken up keeps what it has copied, whatever the hook says.
            let begun = start.last_chunk > 0;
            asked.map_err(|error| if begun { error.keeping_progress() } else { error })?;
            self.control.hook_cut_over(Some(NOT_ASKED.to_owned()));
        }
        let plan = &self.prepared.context.plan;
        let (stream, deliveries) = Stream::start(StreamConfig {
            server: self.server.clone(),
            start: start.position.clone(),
            watch: self.watch(start.behind_swap),
        })?;
        let parallel_replay = plan.key_is_only_unique();
        let strength =
            Strength { copiers: MOST_WORKERS, replayers: if parallel_replay { 2 } else { 1 } };
        let lock_wait = Duration::from_secs(u64::from(self.lock_wait));
        let (crew, hands, reports, messages) =
            Crew::start(self.server, self.prepared, strength, lock_wait);
        let deferred = self.prepared.context.deferred.len();
        let converts = plan.columns.converts();
        let limits = Limits { lock_wait, deferred, parallel_replay, converts };
        let orders = self.control.orders();
        let shared = Shared {
            progress: self.progress.clone(),
            control: self.control.clone(),
            orders: orders.ok_or_else(|| Error::failed("the run has no settings"))?,
            beats,
        };
        let conductor = Conductor::new(start, hands, limits, guarding, shared);
        let inputs = Inputs { deliveries, messages };
        let (running, ended) = tokio::sync::oneshot::channel::<()>();
        let mut watching = tokio::spawn(watcher.watch(ended));
        let heralding = self.hooks.map(|hooks| {
            tokio::spawn(herald(hooks.clone(), self.progress.clone(), self.control.clone()))
        });
        let mut conducting = tokio::task::spawn_blocking(move || conductor.conduct(inputs));
        let ended = tokio::select! {
            ended = &mut conducting => ended,
            error = lock.watch(self.server) => {
                // The conductor ends by itself if it has gone already.
                let _ = reports.send(Message { from: Role::Guard, report: Report::Failed(error) });
                conducting.await
            }
        };
        let outcome = ended.unwrap_or_else(|panic| {
            Err(Error::failed("the conductor panicked").caused_by(panic).keeping_progress())
        });
        stream.stop();
        drop(running);
        if tokio::time::timeout(LAST_LOOK, &mut watching).await.is_err() {
            tracing::debug!("the last look at the server's load is given up");
            watching.abort();
        }
        if let Some(heralding) = heralding {
            heralding.abort();
        }
        if outcome.is_err() {
            self.end_build().await;
        }
        crew.dismiss().await;
        self.progress.update(|snapshot| snapshot.phase = Phase::Done);
        // Once tables were created, nothing is a mere refusal.
        outcome.map_err(|error| match error.kind() {
            Kind::Refused | Kind::Transient => error.into_kind(Kind::Failed),
            _ => error,
        })
    }

    /// Ends an index build that is still under way: it would go on at the server without anybody to wait for it.
    async fn end_build(&self) {
        let ended = async {
            let mut session = open(self.server).await?;
            let mark = &self.prepared.context.mark;
            end_marked(&mut session, mark)
                .await
                .map_err(|e| to_error(e, "ending statements of the run"))?;
            session.close().await;
            Ok::<(), Error>(())
        };
        if let Err(error) = ended.await {
            tracing::debug!(%error, "ending what is under way");
        }
    }

    fn watch(&self, behind_swap: bool) -> Watch {
        let context = &self.prepared.context;
        let plan = &context.plan;
        Watch {
            source: plan.names.source.clone(),
            key: plan.key.source.clone(),
            columns: plan.source.columns.len(),
            shadow: plan.names.shadow.clone(),
            state: plan.names.state.clone(),
            dialect: self.prepared.facts.dialect(),
            own_mark: context.mark.clone(),
            swap: context.part == Part::Guard && !behind_swap,
        }
    }
}
