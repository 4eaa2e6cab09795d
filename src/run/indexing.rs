//! The index phase: the indexes that were left off are built while replay goes on.

use std::time::{Duration, Instant};

use super::job::Job;

/// Between two looks at how far the build is.
const LOOK: Duration = Duration::from_secs(1);

/// The state of the phase.
#[derive(Debug)]
pub(crate) struct Indexing {
    /// How many indexes were left off.
    count: usize,
    asked: bool,
    built: bool,
    /// Whether replay has to wait until the build is done.
    pub(crate) quiet: bool,
    share: Option<f64>,
    looked: Instant,
}

impl Indexing {
    pub(crate) fn new(count: usize) -> Self {
        Indexing {
            count,
            asked: false,
            built: count == 0,
            quiet: false,
            share: None,
            looked: Instant::now(),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.built
    }

    /// The build, once; a modest one leaves processors to others.
    pub(crate) fn next(&mut self, modest: bool) -> Option<Job> {
        (!std::mem::replace(&mut self.asked, true)).then_some(Job::BuildIndexes { modest })
    }

    /// A look at how far the build is, if one is due.
    pub(crate) fn look(&mut self) -> Option<Job> {
        if self.built || self.looked.elapsed() < LOOK {
            return None;
        }
        self.looked = Instant::now();
        Some(Job::LookAtBuild)
    }

    /// How far it is, where that is known.
    pub(crate) fn looked(&mut self, share: Option<f64>) {
        self.share = share.or(self.share);
    }

    pub(crate) fn done(&mut self) {
        self.built = true;
        self.quiet = false;
    }

    /// It has to be done again, without replay meanwhile.
    pub(crate) fn begin_again_quietly(&mut self) {
        tracing::info!(
            "more was replayed than innodb_online_alter_log_max_size holds; replay waits while the indexes \
             are built"
        );
        self.quiet = true;
        self.asked = false;
    }

    pub(crate) fn words(&self) -> String {
        let share = self.share.map(|share| format!(", {:.0} %", share * 100.0)).unwrap_or_default();
        let s = if self.count == 1 { "index" } else { "indexes" };
        format!("building {} {s}{share}", self.count)
    }
}
