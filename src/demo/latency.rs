//! How long the application's transactions took, and when.
//!
//! Every transaction is kept (24 bytes each) instead of being counted in a histogram, because the
//! questions come afterwards: how it was before a migration, during it, and around the cut-over.
//! That also makes every percentile exact.

use std::ops::Range;
use std::time::{Duration, Instant};

use serde::Serialize;

/// One transaction.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// When it ended, counted from [`Latencies::began`].
    ended: Duration,
    /// From its first statement to the answer to its COMMIT or ROLLBACK, retries included, in µs.
    took: u32,
    /// The longest wait for the answer to one of its statements, in µs.
    statement: u32,
}

/// The transactions of a workload in time.
#[derive(Debug, Clone)]
pub struct Latencies {
    began: Instant,
    samples: Vec<Sample>,
}

/// The transactions that ended in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencySummary {
    /// How many there were.
    pub transactions: u64,
    /// How many there were per second.
    pub per_second: f64,
    /// Half of them took no longer than this, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took no longer than this, in milliseconds.
    pub p99_ms: f64,
    /// The longest, in milliseconds.
    pub max_ms: f64,
    /// The longest wait for one statement, in milliseconds.
    pub worst_statement_ms: f64,
}

impl Latencies {
    /// No transactions yet; `began` is before all of them.
    pub(crate) fn new(began: Instant) -> Self {
        Latencies { began, samples: Vec::new() }
    }

    /// A transaction has ended now.
    pub(crate) fn record(&mut self, took: Duration, statement: Duration) {
        self.record_at(Instant::now(), took, statement);
    }

    fn record_at(&mut self, ended: Instant, took: Duration, statement: Duration) {
        self.samples.push(Sample {
            ended: ended.saturating_duration_since(self.began),
            took: micros(took),
            statement: micros(statement),
        });
    }

    /// Adds the transactions of another writer of the same workload.
    pub(crate) fn merge(&mut self, other: Latencies) {
        self.samples.extend(other.samples);
    }

    /// The transactions that ended from `since` on and before `until`.
    pub fn between(&self, since: Instant, until: Instant) -> LatencySummary {
        let span = self.offset(since)..self.offset(until);
        self.summary(span.clone(), |sample| span.contains(&sample.ended))
    }

    /// The transactions that were under way at some moment from `since` on and before `until`.
    pub fn across(&self, since: Instant, until: Instant) -> LatencySummary {
        let span = self.offset(since)..self.offset(until);
        self.summary(span.clone(), |sample| {
            let took = Duration::from_micros(u64::from(sample.took));
            sample.ended >= span.start && sample.ended.saturating_sub(took) < span.end
        })
    }

    fn offset(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.began)
    }

    fn summary(&self, span: Range<Duration>, within: impl Fn(&Sample) -> bool) -> LatencySummary {
        let samples: Vec<&Sample> = self.samples.iter().filter(|sample| within(sample)).collect();
        let mut took: Vec<u32> = samples.iter().map(|sample| sample.took).collect();
        took.sort_unstable();
        let seconds = (span.end.saturating_sub(span.start)).as_secs_f64().max(0.001);
        LatencySummary {
            transactions: took.len() as u64,
            per_second: took.len() as f64 / seconds,
            p50_ms: millis(percentile(&took, 50)),
            p99_ms: millis(percentile(&took, 99)),
            max_ms: millis(percentile(&took, 100)),
            worst_statement_ms: millis(samples.iter().map(|s| s.statement).max().unwrap_or(0)),
        }
    }

    /// The `count` longest transactions, in the order of time, in words: when each ended, counted from
    /// `from`, how long it took, and its longest statement.
    pub(crate) fn slowest(&self, count: usize, from: Instant) -> Vec<String> {
        let mut samples: Vec<&Sample> = self.samples.iter().collect();
        samples.sort_unstable_by_key(|sample| std::cmp::Reverse(sample.took));
        samples.truncate(count);
        samples.sort_unstable_by_key(|sample| sample.ended);
        let from = self.offset(from).as_secs_f64();
        samples
            .into_iter()
            .map(|sample| {
                format!(
                    "{:+.3} s: {:.1} ms, one statement {:.1} ms",
                    sample.ended.as_secs_f64() - from,
                    millis(sample.took),
                    millis(sample.statement)
                )
            })
            .collect()
    }

    /// The transactions that ended before `until`.
    pub fn until(&self, until: Instant) -> LatencySummary {
        self.between(self.began, until)
    }

    /// All transactions.
    pub fn all(&self) -> LatencySummary {
        self.between(self.began, self.end())
    }

    /// Just after the last transaction.
    fn end(&self) -> Instant {
        let last = self.samples.iter().map(|sample| sample.ended).max().unwrap_or_default();
        self.began + last + Duration::from_nanos(1)
    }
}

/// The smallest value that at least `percent` of the sorted values do not exceed; 0 of none.
fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// Microseconds, at most the 71 minutes that fit.
fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

fn millis(micros: u32) -> f64 {
    f64::from(micros) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_stall_shows_in_its_own_window_and_in_no_other() {
        let began = Instant::now();
        let mut latencies = Latencies::new(began);
        for i in 1..=100 {
            latencies.record_at(began + ms(10 * i), ms(i), ms(1));
        }
        latencies.record_at(began + ms(1500), ms(400), ms(390));

        let before = latencies.until(began + ms(1001));
        assert_eq!((before.transactions, before.p50_ms, before.p99_ms), (100, 50.0, 99.0));
        assert_eq!((before.max_ms, before.worst_statement_ms), (100.0, 1.0));
        assert!((before.per_second - 100.0).abs() < 0.2, "{}", before.per_second);

        let stall = latencies.between(began + ms(1001), began + ms(2000));
        assert_eq!((stall.transactions, stall.max_ms), (1, 400.0));
        assert_eq!(stall.worst_statement_ms, 390.0);
        assert_eq!(latencies.all().transactions, 101);

        // It was under way from 1100 to 1500 ms.
        let across = |since, until| latencies.across(began + ms(since), began + ms(until));
        assert_eq!(across(1200, 1300).max_ms, 400.0);
        assert_eq!(across(1050, 1100).transactions, 0);
        assert_eq!(across(1501, 1600).transactions, 0);
    }

    #[test]
    fn an_empty_window_is_all_zeros() {
        let began = Instant::now();
        let summary = Latencies::new(began).between(began, began + ms(10));
        assert_eq!((summary.transactions, summary.max_ms, summary.per_second), (0, 0.0, 0.0));
    }

    #[test]
    fn percentiles_are_exact_values_that_occurred() {
        assert_eq!(percentile(&[], 99), 0);
        assert_eq!(percentile(&[7], 50), 7);
        assert_eq!([50, 99, 100].map(|p| percentile(&[1, 2, 3, 4], p)), [2, 4, 4]);
    }
}
