//! Measuring windows of time for the governor, and holding the copiers to what it says.

use std::time::{Duration, Instant};

use crate::ledger::Seq;
use crate::pace::{Governor, Pace, Window};
use crate::progress::Felt;

/// How long a window is.
const WINDOW: Duration = Duration::from_millis(500);
/// How long the server is watched before the copy begins, at least.
const BEFORE: Duration = Duration::from_millis(200);
/// So many heartbeats say something.
const ENOUGH: usize = 3;
/// A backlog below this is not worth slowing the copy for.
const SMALL_BACKLOG: usize = 20_000;

/// What the operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) pace: Pace,
    /// Connections that copy and compare, at most.
    pub(crate) workers: usize,
    /// Rows copied or compared in a second, at most.
    pub(crate) rows_per_second: Option<u64>,
}

/// See the [module documentation](self).
#[derive(Debug)]
pub(crate) struct Pacing {
    allowance: Allowance,
    /// None until it is known what the server does without the copy.
    governor: Option<Governor>,
    began: Instant,
    commits: Vec<Duration>,
    rows: u64,
    /// The run's own transactions.
    own: u64,
    received: Seq,
    backlog: usize,
    growing: u32,
    rest_until: Instant,
    felt: Felt,
}

impl Pacing {
    pub(crate) fn new(allowance: Allowance) -> Self {
        let now = Instant::now();
        let Allowance { pace, workers, .. } = allowance;
        let nothing = Window::default();
        Pacing {
            allowance,
            governor: (pace == Pace::Fast).then(|| Governor::new(pace, workers, nothing)),
            began: now,
            commits: Vec::new(),
            rows: 0,
            own: 0,
            received: 0,
            backlog: 0,
            growing: 0,
            rest_until: now,
            felt: Felt::default(),
        }
    }

    /// The operator allows something else from now on; `received` is the ledger's.
    pub(crate) fn allow(&mut self, allowance: Allowance, received: Seq) {
        if allowance.pace != self.allowance.pace {
            // What the server does without the copy has to be seen anew.
            *self = Pacing { rest_until: self.rest_until, received, ..Pacing::new(allowance) };
        } else if let Some(governor) =
            self.governor.as_mut().filter(|_| allowance != self.allowance)
        {
            governor.limit(allowance.workers);
            self.rest_until = Instant::now();
        }
        self.allowance = allowance;
    }

    /// Workers that there may be at most.
    pub(crate) fn most_workers(&self) -> usize {
        self.allowance.workers
    }

    /// Whether the server is still being watched as it is without the copy.
    pub(crate) fn is_watching(&self) -> bool {
        self.governor.is_none()
    }

    /// A heartbeat was committed.
    pub(crate) fn committed(&mut self, took: Duration) {
        self.commits.push(took);
        self.own += 1;
    }

    /// A batch was replayed.
    pub(crate) fn replayed(&mut self) {
        self.own += 1;
    }

    /// Rows were copied, in a transaction, or compared.
    pub(crate) fn worked(&mut self, rows: u64, took: Duration, transactions: u64) {
        self.rows += rows;
        self.own += transactions;
        let now = Instant::now();
        let rest = self.governor.as_ref().map_or(Duration::ZERO, |governor| governor.rest(took));
        let limit = self.allowance.rows_per_second.map_or(Duration::ZERO, |most| {
            Duration::from_secs_f64(rows as f64 / most.max(1) as f64)
        });
        // The limit counts from the end of the last rest, for several workers share it; but what was not used while
        // the copy was held is not saved up.
        let began = now.checked_sub(took).unwrap_or(now);
        let limited = self.rest_until.max(began) + limit;
        self.rest_until = limited.max(now + rest);
    }

    /// Whether one more copier may begin while so many are busy.
    pub(crate) fn allows(&self, busy: usize) -> bool {
        self.governor.as_ref().is_some_and(|governor| busy < governor.workers())
            && Instant::now() >= self.rest_until
    }

    /// How long the copiers rest.
    pub(crate) fn rest(&self) -> Duration {
        self.rest_until.saturating_duration_since(Instant::now())
    }

    /// Whether others work on the server, so that an index build has to be modest.
    pub(crate) fn is_modest(&self) -> bool {
        self.allowance.pace != Pace::Fast && self.governor.as_ref().is_some_and(Governor::is_shared)
    }

    /// Ends the window if it is time; `received` and `backlog` are the ledger's. A window in which the copy was held says
    /// nothing about it.
    pub(crate) fn tick(
        &mut self,
        received: Seq,
        backlog: usize,
        held: bool,
        strain: Option<&'static str>,
    ) {
        let took = self.began.elapsed();
        let watched = self.is_watching() && took >= BEFORE && self.commits.len() >= ENOUGH;
        if !watched && took < WINDOW {
            return;
        }
        let window = Window { strain, ..self.window(took, received, backlog) };
        (self.felt.commit, self.felt.others) =
            (window.commit.or(self.felt.commit), Some(window.others));
        match &mut self.governor {
            Some(_) if held => {}
            None => {
                let governor = Governor::new(self.allowance.pace, self.allowance.workers, window);
                tracing::debug!(?window, share = governor.share(), "the server without the copy");
                self.governor = Some(governor);
            }
            Some(governor) => {
                let before = governor.share();
                governor.observe(window);
                let (share, why) = (governor.share(), governor.why());
                if (before < 1.0) != (share < 1.0) || before.ceil() != share.ceil() {
                    tracing::info!(share = format!("{share:.2}"), why, "pace");
                }
                tracing::debug!(?window, share, why, "pace");
            }
        }
    }

    fn window(&mut self, took: Duration, received: Seq, backlog: usize) -> Window {
        let seconds = took.as_secs_f64();
        let others = (received - self.received).saturating_sub(self.own);
        self.growing = if backlog > self.backlog.max(SMALL_BACKLOG) { self.growing + 1 } else { 0 };
        let mut commits = std::mem::take(&mut self.commits);
        commits.sort_unstable();
        let commit = (commits.len() >= ENOUGH)
            .then(|| commits[(commits.len() * 9 / 10).min(commits.len() - 1)]);
        let window = Window {
            commit,
            others: others as f64 / seconds,
            rows: self.rows as f64 / seconds,
            falling_behind: self.growing >= 2,
            strain: None,
        };
        (self.began, self.rows, self.own) = (Instant::now(), 0, 0);
        (self.received, self.backlog) = (received, backlog);
        window
    }

    /// What the pace goes by.
    pub(crate) fn felt(&self) -> Felt {
        let governor = self.governor.as_ref();
        Felt {
            share: governor.map(Governor::share),
            why: governor.and_then(Governor::why),
            ..self.felt
        }
    }

    /// The pace in words.
    pub(crate) fn words(&self) -> Option<String> {
        let governor = self.governor.as_ref()?;
        Some(match (governor.share(), governor.why()) {
            (share, Some(why)) => format!("{:.0} % of the time, since {why}", share * 100.0),
            (share, None) if share < 1.0 => format!("{:.0} % of the time", share * 100.0),
            (share, None) if share < 2.0 => "1 worker".to_owned(),
            (share, None) => format!("{share:.0} workers"),
        })
    }
}
