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
/// With so many, one that took long is told from several; a window has about half of them.
const PLENTY: usize = 10;
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
    /// Those of the window before, unless it was a bad one: it has been answered.
    commits_before: Vec<Duration>,
    rows: u64,
    /// The run's own transactions that the binlog has not brought yet; below zero where it was faster than the
    /// answer.
    own: i64,
    /// Batches replayed in this window: one that changes nothing is not in the binlog.
    replayed: i64,
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
            commits_before: Vec::new(),
            rows: 0,
            own: 0,
            replayed: 0,
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
        self.replayed += 1;
    }

    /// Rows were copied, in a transaction, or compared.
    pub(crate) fn worked(&mut self, rows: u64, took: Duration, transactions: u64) {
        self.rows += rows;
        self.own += transactions as i64;
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

    /// Whether others work on the server; it counts as such until it was watched.
    pub(crate) fn is_shared(&self) -> bool {
        self.governor.as_ref().is_none_or(Governor::is_shared)
    }

    /// Whether an index build has to be modest, for the sake of others.
    pub(crate) fn is_modest(&self) -> bool {
        self.allowance.pace != Pace::Fast && self.is_shared()
    }

    /// Another phase begins.
    pub(crate) fn turn_to_other_work(&mut self) {
        if let Some(governor) = &mut self.governor {
            governor.turn_to_other_work();
        }
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
                if share < before {
                    self.commits_before.clear();
                }
                if (before < 1.0) != (share < 1.0) || before.ceil() != share.ceil() {
                    tracing::info!(share = format!("{share:.2}"), why, "pace");
                }
                tracing::debug!(?window, share, why, "pace");
            }
        }
    }

    fn window(&mut self, took: Duration, received: Seq, backlog: usize) -> Window {
        let seconds = took.as_secs_f64();
        // What is on its way between the binlog and the answer is counted in the next window.
        let not_own = (received - self.received) as i64 - self.own;
        self.own = (-not_own).max(0);
        let others = (not_own - std::mem::take(&mut self.replayed)).max(0);
        self.growing = if backlog > self.backlog.max(SMALL_BACKLOG) { self.growing + 1 } else { 0 };
        let commits = std::mem::take(&mut self.commits);
        let mut all = commits.clone();
        if commits.len() < PLENTY {
            all.extend_from_slice(&self.commits_before);
        }
        self.commits_before = commits;
        all.sort_unstable();
        let commit = (all.len() >= ENOUGH).then(|| all[(all.len() * 9).div_ceil(10) - 1]);
        let window = Window {
            commit,
            others: others as f64 / seconds,
            rows: self.rows as f64 / seconds,
            falling_behind: self.growing >= 2,
            strain: None,
        };
        (self.began, self.rows) = (Instant::now(), 0);
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pacing() -> Pacing {
        Pacing::new(Allowance { pace: Pace::Balanced, workers: 4, rows_per_second: None })
    }

    #[test]
    fn the_runs_own_transactions_are_not_taken_for_an_applications() {
        let mut pacing = pacing();
        let mut received = 0;
        // The answers come before the binlog in one window, and behind it in the next.
        for ahead in [5, -3, 0, 4, -6, 2] {
            received += 80;
            pacing.worked(80_000, SECOND, (80 + ahead) as u64);
            let window = pacing.window(SECOND, received, 0);
            assert!(window.others <= 6.0, "{window:?}");
        }
        // Batches that change nothing are in no binlog, and take nothing away from others.
        for _ in 0..10 {
            (0..20).for_each(|_| pacing.replayed());
            received += 10;
            pacing.window(SECOND, received, 0);
        }
        assert_eq!(pacing.window(SECOND, received + 30, 0).others, 30.0);
    }

    #[test]
    fn one_slow_heartbeat_of_ten_says_nothing_and_two_do() {
        let mut pacing = pacing();
        let (quick, slow) = (Duration::from_millis(2), Duration::from_millis(40));
        let mut window = |commits: [Duration; 5]| {
            commits.into_iter().for_each(|took| pacing.committed(took));
            pacing.window(SECOND, 0, 0).commit
        };
        window([quick; 5]);
        assert_eq!(window([quick, slow, quick, quick, quick]), Some(quick));
        assert_eq!(window([quick, quick, quick, quick, slow]), Some(slow), "the second of ten");
        assert_eq!(window([quick; 5]), Some(quick));
    }
}
