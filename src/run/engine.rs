//! What carries a run out once everything is prepared: the stream, the hands and the conductor, started
//! together and ended together.

use std::time::Duration;

use crossbeam_channel::Receiver;

use super::conductor::{Conductor, Inputs, Limits};
use super::crew::{Crew, Strength};
use super::guarding::Guarding;
use super::job::{Message, Report, Role};
use super::pacing::Allowance;
use super::prepare::{Prepared, open};
use super::start::Start;
use super::tally::Tally;
use crate::error::{Error, Kind, Result};
use crate::progress::{Phase, Progress};
use crate::server::{RunLock, Server, end_marked, to_error};
use crate::state::Part;
use crate::stream::{Stream, StreamConfig, Watch};

/// See the [module documentation](self).
pub(crate) struct Engine<'a> {
    pub(crate) server: &'a Server,
    pub(crate) prepared: &'a Prepared,
    /// How much of the server it may take.
    pub(crate) allowance: Allowance,
    /// How long one chunk should take.
    pub(crate) chunk_time: Duration,
    /// Seconds that one attempt at the cut-over may keep the application waiting.
    pub(crate) lock_wait: u32,
    pub(crate) progress: &'a Progress,
    /// A message through it ends the run.
    pub(crate) stop: &'a Receiver<()>,
}

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
        if self.stop.try_recv().is_ok() {
            return Err(Error::new(Kind::Interrupted, "stopped on request"));
        }
        let plan = &self.prepared.context.plan;
        let (stream, deliveries) = Stream::start(StreamConfig {
            server: self.server.clone(),
            start: start.position.clone(),
            watch: self.watch(start.behind_swap),
        })?;
        let parallel_replay = plan.key_is_only_unique();
        let strength = Strength {
            copiers: self.allowance.workers,
            replayers: if parallel_replay { 2 } else { 1 },
        };
        let lock_wait = Duration::from_secs(u64::from(self.lock_wait));
        let (crew, hands, reports, messages) =
            Crew::start(self.server, self.prepared, strength, lock_wait);
        let deferred = self.prepared.context.deferred.len();
        let (chunk_time, allowance) = (self.chunk_time, self.allowance);
        let limits = Limits { chunk_time, lock_wait, allowance, deferred, parallel_replay };
        let conductor = Conductor::new(start, hands, limits, guarding, self.progress.clone());
        let inputs = Inputs { deliveries, messages, stop: self.stop.clone() };
        let mut conducting = tokio::task::spawn_blocking(move || conductor.conduct(inputs));
        let ended = tokio::select! {
            ended = &mut conducting => ended,
            error = lock.watch(self.server) => {
                // The conductor ends by itself if it has gone already.
                let _ = reports.send(Message { from: Role::Guard, report: Report::Failed(error) });
                conducting.await
            }
        };
        let outcome = ended
            .unwrap_or_else(|panic| Err(Error::failed("the conductor panicked").caused_by(panic)));
        stream.stop();
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
