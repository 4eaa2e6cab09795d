//! The conductor's view of its hands: who is idle, and how to give them work.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc::UnboundedSender;

use super::job::{Job, Role};

/// The hands of a run.
#[derive(Debug)]
pub(crate) struct Hands {
    senders: BTreeMap<Role, UnboundedSender<Job>>,
    idle: BTreeSet<Role>,
}

impl Hands {
    /// All hands, idle.
    pub(crate) fn new(senders: BTreeMap<Role, UnboundedSender<Job>>) -> Self {
        let idle = senders.keys().copied().collect();
        Hands { senders, idle }
    }

    /// Whether the hand waits for work.
    pub(crate) fn is_idle(&self, role: Role) -> bool {
        self.idle.contains(&role)
    }

    /// An idle hand that copies and compares.
    pub(crate) fn idle_copier(&self) -> Option<Role> {
        self.idle.iter().copied().find(|role| matches!(role, Role::Copier(_)))
    }

    /// An idle hand that replays.
    pub(crate) fn idle_replayer(&self) -> Option<Role> {
        self.idle.iter().copied().find(|role| matches!(role, Role::Replayer(_)))
    }

    /// How many of these are at work.
    pub(crate) fn busy_copiers(&self) -> usize {
        let idle = self.idle.iter().filter(|role| matches!(role, Role::Copier(_))).count();
        self.copiers() - idle
    }

    /// How many hands copy and compare.
    pub(crate) fn copiers(&self) -> usize {
        self.senders.keys().filter(|role| matches!(role, Role::Copier(_))).count()
    }

    /// Gives a job to an idle hand. A hand that has ended reports nothing more; its failure has been
    /// reported before.
    pub(crate) fn give(&mut self, role: Role, job: Job) {
        self.idle.remove(&role);
        if let Some(sender) = self.senders.get(&role)
            && sender.send(job).is_err()
        {
            tracing::debug!(?role, "the hand has ended");
        }
    }

    /// The hand has reported.
    pub(crate) fn done(&mut self, role: Role) {
        self.idle.insert(role);
    }
}
