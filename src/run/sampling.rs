//! A run over a part of the table that ends before the cut-over, to see how long the whole would take.

use std::time::{Duration, Instant};

use super::engine::Engine;
use super::guarding::Guarding;
use super::prepare::Prepared;
use super::start::Start;
use super::tally::Tally;
use crate::control::{Control, Settings};
use crate::error::Result;
use crate::key::Key;
use crate::ledger::Range;
use crate::progress::Progress;
use crate::server::{RunLock, Server, Session};
use crate::stream::current_position;

/// See the [module documentation](self).
pub(crate) struct Sampling<'a> {
    pub(crate) server: &'a Server,
    /// The shadow table; it is of no use for a run afterwards.
    pub(crate) prepared: &'a Prepared,
    pub(crate) settings: Settings,
    /// What is copied: disjoint, in ascending order.
    pub(crate) ranges: Vec<Range<Key>>,
    /// How long copying may take.
    pub(crate) copy_for: Duration,
    /// How long all of it may take, but for an index build that is under way. None if it is only about copying.
    pub(crate) all_for: Option<Duration>,
    pub(crate) progress: &'a Progress,
    pub(crate) control: &'a Control,
}

impl Sampling<'_> {
    /// Runs, until everything is compared or the time is over.
    ///
    /// # Errors
    /// As a run's.
    pub(crate) async fn run(self, session: &mut Session, lock: &mut RunLock) -> Result<Tally> {
        let position = current_position(session, self.prepared.facts.version_number).await?;
        // An earlier round has chunks in the state table.
        let (last_chunk, _) = self.prepared.context.state.chunks(session).await?;
        let start = Start { unstarted: self.ranges, last_chunk, ..Start::afresh(position) };
        let now = Instant::now();
        let guarding = Guarding::sample(now + self.copy_for, self.all_for.map(|time| now + time));
        let engine = Engine {
            server: self.server,
            prepared: self.prepared,
            settings: self.settings,
            lock_wait: 1,
            progress: self.progress,
            control: self.control,
            hooks: None,
        };
        engine.execute(start, guarding, lock).await
    }
}
