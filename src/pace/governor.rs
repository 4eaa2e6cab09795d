//! How much of the server the copy may have: a controller that goes by what the application feels.
//!
//! It is pure: measurements of a window of time go in, a share comes out. A share of 2 is two workers without a
//! pause, a share of 0.4 one worker that works 40 % of the time. Two things tell what the application
//! feels, and both are compared with what they were before the copy began:
//!
//! - how long replank's own heartbeats take to commit: they are transactions like the application's;
//! - how many transactions of others the binlog brings in a second.
//!
//! A window in which one of them is worse than the [`Pace`] allows takes away a part of the share; a good one
//! adds a little (additive increase, multiplicative decrease). Another worker is only kept if it brings
//! more rows: on few processors it does not.
//!
//! The second measure cannot tell an application that is held up from one that has less to do. So the rate it
//! is compared with is forgotten slowly, and is taken anew whenever the share is at its lowest and that has not
//! helped.

use std::time::Duration;

/// How much the application may be slowed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// It should not notice.
    Gentle,
    /// Its latency may rise by half or by 10 ms, whichever is more; it keeps most of its throughput.
    #[default]
    Balanced,
    /// The copy takes what it can get.
    Fast,
}

/// Workers to begin with where nobody is disturbed: one works while the other one's commit is written, or its answer
/// on its way.
const FIRST: f64 = 2.0;
/// The lowest share: a busy table has to come to its end as well.
const LOWEST: f64 = 0.1;
/// What a good window adds below one worker.
const STEP: f64 = 0.1;
/// What a bad window leaves.
const BACK: f64 = 0.7;
/// So many good windows tell how many rows some workers bring. The first one with another number of workers
/// tells nothing.
const PATIENCE: u32 = 3;
/// Another worker has to bring this much more.
const WORTH: f64 = 1.1;
/// For so many windows another worker is not tried again after it was not worth it; doubled every time.
const COOL_DOWN: u32 = 20;
/// Rates below this say nothing, in transactions per second.
const FEW: f64 = 20.0;
/// After so many windows without a complaint the application is not disturbed.
const CALM: u32 = 10;
/// What a window takes from the remembered rate: half of it in twelve minutes of half-second windows.
const FORGET: f64 = 0.9995;
/// The part of what a window has more than the remembered rate that is added to it: a stream that was held up for a
/// moment delivers two windows' transactions in one.
const LEARN: f64 = 0.1;

impl Pace {
    /// Its name on the command line, in status and logs.
    pub fn name(self) -> &'static str {
        match self {
            Pace::Gentle => "gentle",
            Pace::Balanced => "balanced",
            Pace::Fast => "fast",
        }
    }

    /// The longest commit that is accepted, given that before the copy.
    fn longest_commit(self, before: Duration) -> Duration {
        match self {
            Pace::Gentle => before.mul_f64(1.25).max(before + Duration::from_millis(3)),
            Pace::Balanced => before.mul_f64(1.5).max(before + Duration::from_millis(10)),
            Pace::Fast => Duration::MAX,
        }
    }

    /// The part of its transactions that the application has to keep.
    fn least_kept(self) -> f64 {
        match self {
            Pace::Gentle => 0.95,
            Pace::Balanced => 0.75,
            Pace::Fast => 0.0,
        }
    }
}

/// What was measured in a window of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Window {
    /// Nine of ten heartbeats were committed within this; None if too few were sent.
    pub commit: Option<Duration>,
    /// Transactions of others per second.
    pub others: f64,
    /// Rows copied or compared per second.
    pub rows: f64,
    /// Whether changed keys pile up faster than they are replayed.
    pub falling_behind: bool,
    /// What else the server or its replicas suffer from.
    pub strain: Option<&'static str>,
}

/// Rows per second, on average over some windows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rate {
    sum: f64,
    /// Windows since the number of workers changed, of which the first is not in the sum.
    windows: u32,
}

impl Rate {
    fn count(&mut self, rows: f64) {
        if self.windows > 0 {
            self.sum += rows;
        }
        self.windows += 1;
    }

    /// None as long as too few windows were seen.
    fn average(&self) -> Option<f64> {
        (self.windows > PATIENCE).then(|| self.sum / f64::from(self.windows - 1))
    }
}

/// Says how much of the server the copy may have, window by window: additive increase, multiplicative decrease,
/// by what the application's transactions and replank's own commits feel.
#[derive(Debug, Clone, PartialEq)]
pub struct Governor {
    pace: Pace,
    most: f64,
    share: f64,
    commit_before: Duration,
    others_before: f64,
    /// Rows per second with the present number of workers.
    here: Rate,
    /// Rows per second with one worker less, while the last one is on trial.
    trial: Option<f64>,
    cool_down: u32,
    next_cool_down: u32,
    lowest_for: u32,
    since_complaint: u32,
    why: Option<&'static str>,
}

impl Governor {
    /// Begins after a window in which nothing was copied.
    pub fn new(pace: Pace, most_workers: usize, before: Window) -> Self {
        let most = most_workers.max(1) as f64;
        let idle = before.others < FEW;
        Governor {
            pace,
            most,
            share: if idle || pace == Pace::Fast { most.min(FIRST) } else { 1.0 },
            commit_before: before.commit.unwrap_or(Duration::from_millis(5)),
            others_before: before.others,
            here: Rate::default(),
            trial: None,
            cool_down: 0,
            next_cool_down: COOL_DOWN,
            lowest_for: 0,
            since_complaint: 0,
            why: None,
        }
    }

    /// Workers that may work at once.
    pub fn workers(&self) -> usize {
        self.share.ceil() as usize
    }

    /// The share.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Changes how many workers there may be at most.
    pub fn limit(&mut self, most_workers: usize) {
        self.most = most_workers.max(1) as f64;
        if self.share > self.most {
            self.settle(self.most);
            self.trial = None;
        }
    }

    /// How long a single worker rests after work that took this long.
    pub fn rest(&self, took: Duration) -> Duration {
        if self.share >= 1.0 { Duration::ZERO } else { took.mul_f64(1.0 / self.share - 1.0) }
    }

    /// Why the share is below one worker, in words.
    pub fn why(&self) -> Option<&'static str> {
        self.why.filter(|_| self.share < 1.0)
    }

    /// Whether others work on the server.
    pub fn is_shared(&self) -> bool {
        self.others_before >= FEW
    }

    /// A window has passed.
    pub fn observe(&mut self, window: Window) {
        let complaint = self.complaint(&window);
        self.remember(&window);
        match complaint {
            Some(why) => self.give_way(why),
            None => self.go_on(&window),
        }
    }

    fn complaint(&self, window: &Window) -> Option<&'static str> {
        let limit = self.pace.longest_commit(self.commit_before);
        if window.falling_behind {
            Some("replay has to catch up")
        } else if window.strain.is_some() && self.pace != Pace::Fast {
            window.strain
        } else if !self.is_shared() {
            // Nobody is there to be disturbed.
            None
        } else if window.commit.is_some_and(|commit| commit > limit) {
            Some("commits take longer than before the copy")
        } else if window.others < self.others_before * self.pace.least_kept() {
            Some("the application gets less done than before the copy")
        } else {
            None
        }
    }

    fn remember(&mut self, window: &Window) {
        let more = (window.others - self.others_before).max(0.0);
        self.others_before = self.others_before * FORGET + more * LEARN;
        self.lowest_for = if self.share <= LOWEST { self.lowest_for + 1 } else { 0 };
        if self.lowest_for >= 4 {
            // It is not the copy that keeps the application from doing more.
            self.others_before = window.others;
            self.lowest_for = 0;
        }
    }

    /// Another kind of work begins, whose rows cannot be compared with those of before.
    pub fn turn_to_other_work(&mut self) {
        let on_trial = self.trial.take().is_some();
        let share = if on_trial { self.share - 1.0 } else { self.share };
        // A worker that brought nothing there may do so here, if it was not the application that sent it away.
        let may_begin = share == 1.0 && self.pace != Pace::Gentle && self.since_complaint > CALM;
        self.settle(if may_begin { self.most.min(FIRST) } else { share });
        // Every trial costs the application something.
        if !self.is_shared() {
            (self.cool_down, self.next_cool_down) = (0, COOL_DOWN);
        }
    }

    fn give_way(&mut self, why: &'static str) {
        self.why = Some(why);
        self.since_complaint = 0;
        if self.trial.take().is_some() {
            self.wait_before_another_trial();
        }
        self.settle(if self.share > 1.0 {
            (self.share * BACK).floor().max(1.0)
        } else {
            (self.share * BACK).max(LOWEST)
        });
    }

    fn go_on(&mut self, window: &Window) {
        self.since_complaint += 1;
        self.cool_down = self.cool_down.saturating_sub(1);
        if self.share < 1.0 {
            return self.settle((self.share + STEP).min(1.0));
        }
        // An index build, or a copy that is held, tells nothing about workers.
        if window.rows == 0.0 {
            return;
        }
        self.here.count(window.rows);
        let Some(average) = self.here.average() else { return };
        if self.trial.take().is_some_and(|before| average < before * WORTH) {
            self.settle((self.share - 1.0).max(1.0));
            self.wait_before_another_trial();
        } else if self.share < self.most && self.cool_down == 0 {
            self.settle(self.share + 1.0);
            self.trial = Some(average);
        }
    }

    fn settle(&mut self, share: f64) {
        self.share = share;
        self.here = Rate::default();
    }

    fn wait_before_another_trial(&mut self) {
        self.cool_down = self.next_cool_down;
        self.next_cool_down = self.next_cool_down.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server on which an application wants `wanted` transactions a second.
    struct Simulated {
        /// What the server can do for one worker, in rows per second, and for all of them at most.
        one: f64,
        all: f64,
        wanted: f64,
        /// What the application loses with each share.
        cost: f64,
        commit: fn(f64) -> u64,
    }

    impl Simulated {
        fn window(&self, share: f64) -> Window {
            Window {
                commit: Some(Duration::from_millis((self.commit)(share))),
                others: self.wanted * (1.0 - self.cost * share).max(0.0),
                rows: (self.one * share).min(self.all),
                falling_behind: false,
                strain: None,
            }
        }

        /// The share after each of some windows.
        fn run(&self, pace: Pace, workers: usize, windows: usize) -> Vec<f64> {
            let mut governor = Governor::new(pace, workers, self.window(0.0));
            (0..windows)
                .map(|_| {
                    governor.observe(self.window(governor.share()));
                    governor.share()
                })
                .collect()
        }
    }

    fn mean(shares: &[f64]) -> f64 {
        shares.iter().sum::<f64>() / shares.len() as f64
    }

    const IDLE: Simulated =
        Simulated { one: 100.0, all: 190.0, wanted: 0.0, cost: 0.0, commit: |_| 2 };

    #[test]
    fn an_idle_server_gets_as_many_workers_as_bring_something() {
        let shares = IDLE.run(Pace::Balanced, 8, 60);
        let two = shares.iter().filter(|share| **share == 2.0).count();
        assert!(two > 50, "two processors are worth two workers: {shares:?}");
        let many = Simulated { all: 10_000.0, ..IDLE }.run(Pace::Balanced, 8, 60);
        assert_eq!(many.last(), Some(&8.0), "{many:?}");
        assert!(IDLE.run(Pace::Balanced, 1, 60).iter().all(|share| *share == 1.0));
    }

    #[test]
    fn one_odd_window_does_not_decide_about_a_worker() {
        // The second worker brings 40 %; the first window of each has few rows, and one has many.
        let mut governor =
            Governor::new(Pace::Balanced, 2, Simulated { wanted: 300.0, ..IDLE }.window(0.0));
        for rows in [20.0, 100.0, 130.0, 100.0, 60.0, 140.0, 150.0, 130.0] {
            governor.observe(Window { rows, others: 300.0, ..Window::default() });
        }
        assert_eq!((governor.share(), governor.trial), (2.0, None));
    }

    #[test]
    fn work_of_another_kind_is_tried_anew_and_an_index_build_says_nothing() {
        let mut governor = Governor::new(Pace::Balanced, 8, IDLE.window(0.0));
        let some = |governor: &mut Governor, windows: usize| {
            (0..windows).for_each(|_| governor.observe(IDLE.window(governor.share())));
        };
        some(&mut governor, 10);
        assert_eq!(governor.share(), 2.0, "a third was tried and sent away");
        for _ in 0..30 {
            governor.observe(Window { rows: 0.0, ..IDLE.window(2.0) });
        }
        assert_eq!(governor.share(), 2.0);
        governor.turn_to_other_work();
        some(&mut governor, 4);
        assert_eq!(governor.share(), 3.0, "on trial");
        governor.turn_to_other_work();
        assert_eq!(governor.share(), 2.0);
    }

    #[test]
    fn beside_an_application_what_a_worker_brought_is_remembered() {
        let busy = Simulated { wanted: 300.0, ..IDLE };
        let mut governor = Governor::new(Pace::Balanced, 8, busy.window(0.0));
        let some = |governor: &mut Governor, windows: usize| -> f64 {
            let shares = (0..windows).map(|_| {
                governor.observe(busy.window(governor.share()));
                governor.share()
            });
            shares.fold(0.0, f64::max)
        };
        assert_eq!(some(&mut governor, 14), 3.0, "a third was tried");
        assert_eq!(governor.share(), 2.0, "and sent away");
        governor.turn_to_other_work();
        assert_eq!(some(&mut governor, 10), 2.0);
    }

    #[test]
    fn an_application_that_takes_all_it_can_get_keeps_its_part() {
        // One worker without a pause takes 60 % of its throughput.
        let busy = Simulated { wanted: 1000.0, cost: 0.6, ..IDLE };
        let balanced = busy.run(Pace::Balanced, 4, 200);
        let share = mean(&balanced[50..]);
        assert!((0.3..0.5).contains(&share), "three quarters are kept: {share}");
        let gentle = mean(&busy.run(Pace::Gentle, 4, 200)[50..]);
        assert!(gentle < 0.3 && gentle < share, "{gentle}");
        assert!(busy.run(Pace::Fast, 4, 200).iter().all(|share| *share >= 1.0));
    }

    #[test]
    fn slow_commits_take_a_part_away_and_the_lowest_share_stays() {
        let slow = Simulated { wanted: 300.0, commit: |share| 2 + (share * 40.0) as u64, ..IDLE };
        let shares = slow.run(Pace::Balanced, 4, 100);
        assert!((0.15..0.35).contains(&mean(&shares[20..])), "{shares:?}");
        let dead = Simulated { commit: |share| if share > 0.0 { 500 } else { 2 }, ..slow };
        assert_eq!(dead.run(Pace::Balanced, 4, 100).last(), Some(&LOWEST));
    }

    #[test]
    fn transactions_that_arrive_late_and_together_are_not_what_the_application_wants() {
        let steady = Simulated { wanted: 600.0, ..IDLE };
        let mut governor = Governor::new(Pace::Balanced, 1, steady.window(0.0));
        governor.observe(Window { others: 500.0, ..steady.window(1.0) });
        governor.observe(Window { others: 1000.0, ..steady.window(1.0) });
        for _ in 0..20 {
            governor.observe(steady.window(1.0));
            assert_eq!(governor.share(), 1.0);
        }
    }

    #[test]
    fn an_application_that_goes_home_is_not_waited_for() {
        let mut governor =
            Governor::new(Pace::Balanced, 1, Simulated { wanted: 1000.0, ..IDLE }.window(0.0));
        let evening = Simulated { wanted: 100.0, ..IDLE };
        for _ in 0..60 {
            governor.observe(evening.window(governor.share()));
        }
        assert_eq!(governor.share(), 1.0, "what it did before is forgotten");
    }

    #[test]
    fn a_backlog_that_grows_slows_the_copy_and_a_single_worker_rests() {
        let mut governor = Governor::new(Pace::Fast, 1, IDLE.window(0.0));
        assert_eq!(governor.rest(Duration::from_millis(50)), Duration::ZERO);
        for _ in 0..3 {
            governor.observe(Window { falling_behind: true, ..IDLE.window(1.0) });
        }
        assert!(governor.share() < 0.4 && governor.why().is_some());
        assert!(governor.rest(Duration::from_millis(50)) > Duration::from_millis(75));
    }
}
