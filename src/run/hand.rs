//! A hand: a task with a connection of its own that does one job at a time, and tries again where an
//! error says that it may.

use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc::UnboundedReceiver;

use super::job::{Job, Message, Report, Role};
use crate::copy::{self, Copied};
use crate::cutover;
use crate::error::{Error, Kind, Result};
use crate::indexes;
use crate::ledger::Range;
use crate::replay::{self, Fitted, Transaction};
use crate::server::{
    ConnectionId, Fault, RECONNECT_FOR, Server, Session, SessionSettings, back_off, to_error,
};
use crate::state::Part;
use crate::verify;
use crate::work::{Context, Failure, Work, describe_range, next_edge, range_predicate, rollback};

/// How often one job may lose its connection: more often, and it is the job that ends it.
const MAX_LOSSES: u32 = 50;

/// How much longer than its lock wait a statement of the cut-over may take to be answered.
const LATE: Duration = Duration::from_secs(1);

/// How long the answer to the rename is waited for before it is found out in another way.
const RENAME_ANSWER: Duration = Duration::from_secs(30);

/// How often a statement that met a deadlock or a lock wait timeout is tried again.
const MAX_RETRIES: u32 = 20;

/// A hand before it starts.
pub(crate) struct Hand {
    pub(crate) role: Role,
    pub(crate) server: Server,
    pub(crate) settings: SessionSettings,
    pub(crate) context: Context,
    pub(crate) reports: Sender<Message>,
    /// How long one attempt at the cut-over may keep the application waiting.
    pub(crate) lock_wait: Duration,
}

impl Hand {
    /// Works until the conductor closes the channel. Connects first, so that a missing connection is
    /// noticed before the work begins.
    pub(crate) async fn work(self, mut jobs: UnboundedReceiver<Job>) {
        let mut session: Option<Session> = None;
        while let Some(job) = jobs.recv().await {
            let report = match self.perform(&mut session, job).await {
                Ok(report) => report,
                Err(error) => Report::Failed(error),
            };
            if self.reports.send(Message { from: self.role, report }).is_err() {
                break;
            }
        }
        if let Some(session) = session {
            session.close().await;
        }
    }

    /// Does a job, with as many attempts as its errors allow.
    async fn perform(&self, session: &mut Option<Session>, job: Job) -> Result<Report> {
        let (mut retries, mut losses) = (0, 0);
        loop {
            let mut open = match session.take() {
                Some(open) => open,
                None => self.connect().await?,
            };
            let failure = match self.attempt_in_time(&mut open, &job).await {
                Ok(report) => {
                    *session = Some(open);
                    return Ok(report);
                }
                Err(failure) => failure,
            };
            let fault = failure.fault();
            // A connection that broke while it was idle shows only now; nothing was held by it.
            let idle_until_now = fault == Fault::Connection
                && matches!(job, Job::Lock { .. } | Job::PrepareSwap { statistics: false });
            if self.role == Role::Cutter && !idle_until_now {
                return self.abandon(open, &job, failure).await;
            }
            match (fault, failure) {
                (Fault::Connection, failure) => {
                    losses += 1;
                    if losses > MAX_LOSSES {
                        return Err(failure
                            .into_error(&self.describe(&job))
                            .into_kind(Kind::Failed)
                            .remedy(format!(
                                "The connection was lost {losses} times over this. Look at the network, and at what \
                                 stands between here and the server; the same command goes on from here."
                            ))
                            .keeping_progress());
                    }
                    tracing::warn!(role = ?self.role, error = %failure.into_error(&self.describe(&job)),
                        "connection lost; connecting again");
                    if let Err(error) = self.end(ConnectionId::of(&open)).await {
                        tracing::debug!(%error, "ending the lost connection");
                    }
                }
                (Fault::Retry, failure) => {
                    rollback(&mut open).await;
                    *session = Some(open);
                    match job {
                        Job::Replay { batch, .. } => return Ok(Report::ReplayDeferred { batch }),
                        Job::ListKeys { .. } => return Ok(Report::ListingDeferred),
                        _ => {}
                    }
                    retries += 1;
                    let error = failure.into_error(&self.describe(&job));
                    if retries > MAX_RETRIES {
                        return Err(error.into_kind(Kind::Failed).keeping_progress());
                    }
                    tracing::debug!(role = ?self.role, %error, retries, "trying again");
                    back_off(retries).await;
                }
                (Fault::Data, Failure::Driver(error)) => {
                    rollback(&mut open).await;
                    return Err(self.explain(&mut open, &job, error).await);
                }
                (_, failure) => {
                    rollback(&mut open).await;
                    return Err(failure.into_error(&self.describe(&job)));
                }
            }
        }
    }

    /// Ends an attempt at the cut-over that met an error: the connection is closed, and its locks with
    /// it, so that the application goes on. Only a swap that failed for good ends the run.
    async fn abandon(&self, session: Session, job: &Job, failure: Failure) -> Result<Report> {
        let lost = ConnectionId::of(&session);
        // A connection that has fallen silent does not answer to a goodbye either.
        if tokio::time::timeout(LATE, session.close()).await.is_err()
            && let Err(error) = self.end(lost).await
        {
            tracing::warn!(%error, "the connection that may hold the locks could not be ended");
        }
        let error = failure.into_error(&self.describe(job));
        if matches!(job, Job::Swap) && error.kind() != Kind::Transient {
            return Err(error);
        }
        let batch = match job {
            Job::Replay { batch, .. } => Some(*batch),
            _ => None,
        };
        Ok(Report::AttemptFailed { batch, error })
    }

    /// [`attempt`](Self::attempt), with a limit where the application waits behind the job: a
    /// connection that has fallen silent is given up then.
    async fn attempt_in_time(&self, session: &mut Session, job: &Job) -> Work<Report> {
        // The lock may be waited for once for each table.
        let limit = match job {
            Job::Lock { .. } => self.lock_wait * 2 + LATE,
            Job::Replay { .. } | Job::CompareKeys { .. } | Job::Unlock
                if self.role == Role::Cutter =>
            {
                self.lock_wait + LATE
            }
            _ => return self.attempt(session, job).await,
        };
        match tokio::time::timeout(limit, self.attempt(session, job)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::new(
                Kind::Transient,
                format!("{}: no answer within {} s", self.describe(job), limit.as_secs()),
            )
            .into()),
        }
    }

    async fn attempt(&self, session: &mut Session, job: &Job) -> Work<Report> {
        let context = &self.context;
        let began = Instant::now();
        Ok(match job {
            Job::FindEdge { lo, within, rows } => {
                let plan = &context.plan;
                let within = Range { lo: lo.clone(), hi: within.clone() };
                let (table, index) = (&plan.names.source, &plan.key.source_index);
                let edge = next_edge(session, table, index, &plan.key.source, &within, *rows);
                Report::Edge(edge.await?)
            }
            Job::Copy { chunk, range } => {
                let (number, chunk, range) = (chunk.number(), *chunk, range.clone());
                match copy::copy_chunk(session, context, number, &range).await? {
                    Copied::Rows(rows, took) => Report::Copied { chunk, range, rows, took },
                    Copied::Already => {
                        Report::Copied { chunk, range, rows: 0, took: began.elapsed() }
                    }
                    Copied::Conflicts(keys) => Report::CopyConflicts { chunk, range, keys },
                }
            }
            Job::Replay { batch, keys } => {
                let fitted = match (self.role, context.part) {
                    // A row that does not fit ends the attempt, and is noted when the lock is gone.
                    (Role::Cutter, _) => {
                        replay::replay(session, context, keys, Transaction::UnderLock).await?.into()
                    }
                    (_, Part::Migration) => {
                        replay::replay(session, context, keys, Transaction::Own).await?.into()
                    }
                    (_, Part::Guard) => replay::replay_fitting(session, context, keys).await?,
                };
                let Fitted { took, misfits } = fitted;
                Report::Replayed { batch: *batch, keys: keys.len(), took, misfits }
            }
            Job::ListKeys { range, limit } => {
                let lists = replay::list_keys(session, context, range, *limit).await?;
                Report::KeysListed { lists, limit: *limit }
            }
            Job::BuildIndexes { modest } => {
                Report::IndexesBuilt(indexes::build(session, context, *modest).await?)
            }
            Job::LookAtBuild => Report::ShareBuilt(indexes::share_built(session, context).await),
            Job::CompareRange { ticket, range } => {
                let compared = verify::compare_range(session, context, range).await?;
                Report::RangeCompared { ticket: *ticket, compared, took: began.elapsed() }
            }
            Job::CompareKeys { keys } => {
                let compared =
                    verify::compare_keys(session, context, keys, self.role == Role::Cutter).await?;
                Report::KeysCompared { keys: keys.clone(), compared }
            }
            Job::Heartbeat { id, checkpoint } => {
                let beat = context.state.heartbeat_sql(*id, checkpoint.as_deref())?;
                session.query_drop(beat).await?;
                // A second attempt, after a lost answer to the first, matches the row and changes nothing.
                if session.affected_rows() != 1 && !session.info().contains("matched: 1") {
                    return Err(Error::failed(format!(
                        "the heartbeat row is gone from {}",
                        context.state.name()
                    ))
                    .remedy("Something else has changed the state table; start again.")
                    .into());
                }
                Report::Heartbeat { id: *id }
            }
            Job::PrepareSwap { statistics } => {
                if *statistics {
                    cutover::refresh_statistics(session, context).await?;
                }
                cutover::carry_auto_increment(session, context).await?;
                Report::SwapPrepared
            }
            Job::Lock { wait } => Report::Lock(cutover::lock(session, context, *wait).await?),
            Job::Unlock => {
                cutover::unlock(session).await?;
                Report::Unlocked
            }
            Job::Swap => {
                cutover::carry_auto_increment(session, context).await?;
                if !context.owner.confirm(session).await? {
                    return Err(Failure::NotOwner);
                }
                cutover::swap(session, context, &self.server, RENAME_ANSWER).await?;
                Report::Swapped
            }
        })
    }

    async fn connect(&self) -> Result<Session> {
        let session = self.server.session_within(&self.settings, RECONNECT_FOR).await;
        session.map_err(|error| error.into_kind(Kind::Failed).keeping_progress())
    }

    /// Ends a lost connection at the server, where its transaction may hold rows that the next attempt
    /// needs.
    async fn end(&self, lost: ConnectionId) -> Result<()> {
        let mut session = self.connect().await?;
        let ended = lost.end(&mut session).await;
        session.close().await;
        ended.map(drop).map_err(|error| to_error(error, "ending a lost connection"))
    }

    /// Names the row that does not fit (I7).
    async fn explain(&self, session: &mut Session, job: &Job, cause: mysql_async::Error) -> Error {
        let key = &self.context.plan.key.source;
        let predicate = match job {
            Job::Copy { range, .. } | Job::CompareRange { range, .. } => {
                range_predicate(key, range)
            }
            Job::Replay { keys, .. } | Job::CompareKeys { keys } => key.in_list(keys),
            _ => return to_error(cause, &self.describe(job)),
        };
        let found = match predicate {
            Ok(predicate) => copy::explain_misfit(session, &self.context, &predicate, cause).await,
            Err(error) => return error,
        };
        found.unwrap_or_else(|failure| failure.into_error(&self.describe(job)))
    }

    fn describe(&self, job: &Job) -> String {
        let plan = &self.context.plan;
        let range = |range| describe_range(&plan.key.source, range);
        match job {
            Job::FindEdge { .. } => format!("finding the next chunk of {}", plan.names.source),
            Job::Copy { range: r, .. } => format!("copying {} ({})", plan.names.source, range(r)),
            Job::Replay { keys, .. } => {
                format!("replaying {} changed rows of {}", keys.len(), plan.names.source)
            }
            Job::ListKeys { range: r, .. } => {
                format!("listing changed rows of {} ({})", plan.names.source, range(r))
            }
            Job::CompareRange { range: r, .. } => {
                format!("verifying {} ({})", plan.names.source, range(r))
            }
            Job::CompareKeys { keys } => {
                format!("verifying {} rows of {}", keys.len(), plan.names.source)
            }
            Job::BuildIndexes { .. } => format!("building the indexes of {}", plan.names.shadow),
            Job::LookAtBuild => "looking how far the indexes are".to_owned(),
            Job::Heartbeat { .. } => {
                format!("writing the heartbeat to {}", self.context.state.name())
            }
            Job::PrepareSwap { .. } => format!("preparing the swap of {}", plan.names.source),
            Job::Lock { .. } => format!("locking {} for the cut-over", plan.names.source),
            Job::Unlock => format!("unlocking {}", plan.names.source),
            Job::Swap => format!("swapping {}", plan.names.source),
        }
    }
}
