//! Starting the hands of a run, and sending them home.

use std::collections::BTreeMap;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;

use super::hand::Hand;
use super::hands::Hands;
use super::job::{Message, Role};
use super::prepare::Prepared;
use crate::server::Server;

/// How long a hand may take to end its statement before its connection is cut.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tasks of a run's hands.
#[derive(Debug)]
pub(crate) struct Crew {
    tasks: JoinSet<()>,
}

/// How many hands of each kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strength {
    pub(crate) copiers: usize,
    pub(crate) replayers: usize,
}

impl Crew {
    /// Starts the hands.
    pub(crate) fn start(
        server: &Server,
        prepared: &Prepared,
        strength: Strength,
        lock_wait: Duration,
    ) -> (Crew, Hands, Sender<Message>, Receiver<Message>) {
        let roles = [Role::Scout, Role::Heart, Role::Cutter, Role::Builder]
            .into_iter()
            .chain((0..strength.copiers).map(Role::Copier))
            .chain((0..strength.replayers).map(Role::Replayer));
        let (reports, messages) = unbounded();
        let mut tasks = JoinSet::new();
        let mut senders = BTreeMap::new();
        for role in roles {
            let (sender, jobs) = unbounded_channel();
            senders.insert(role, sender);
            let hand = Hand {
                role,
                server: server.clone(),
                settings: prepared.settings.clone(),
                context: prepared.context.clone(),
                reports: reports.clone(),
                lock_wait,
            };
            tasks.spawn(hand.work(jobs));
        }
        (Crew { tasks }, Hands::new(senders), reports, messages)
    }

    /// Waits until every hand has ended its statement and closed its connection. The conductor, who
    /// holds the channels, has to be gone.
    pub(crate) async fn dismiss(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("a statement is still running; its connection is cut");
            self.tasks.abort_all();
            while self.tasks.join_next().await.is_some() {}
        }
    }
}
