//! What a run would take: measured on a part of the table, under the pace that the run would have.
//!
//! A sample is a run that ends early. It has a shadow table, a stream, replay and pace control like any run; it copies
//! ranges from across the key, builds the indexes on what it has copied, compares it, and ends. So whatever slows a run
//! on this server at this hour slows the sample as well. The figures are scaled to all rows.

mod forecast;
mod method;
mod ranges;

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

pub use forecast::{Forecast, Stretch, forecast};
pub use method::{Method, method};

use crate::control::{Control, Settings};
use crate::error::Result;
use crate::progress::{Phase, Progress};
use crate::run::{Prepared, Sampling};
use crate::server::{RunLock, Server, Session, to_error};

/// The part of the time that is for copying; the rest is for indexes and comparison.
const FOR_COPY: f64 = 0.6;
/// The part of the time that the first round of copying may take.
const FIRST_ROUND: f64 = 0.12;
/// The copy is measured from here on, when the pace has had time to settle.
const SETTLED: f64 = 0.3;
/// Between two looks at the progress.
const LOOK: Duration = Duration::from_millis(100);
/// A total is never surer than this.
const LEAST_DOUBT: f64 = 0.15;

/// What a sample has shown.
#[derive(Debug, Clone)]
pub struct Sampled {
    /// Rows copied.
    pub rows: u64,
    /// Whether they come from across the key, or from its beginning alone.
    pub spread: bool,
    /// Rows copied per second, once the pace had settled.
    pub copied_per_second: f64,
    /// The slowest and the fastest second of that.
    pub slowest: f64,
    /// See [`slowest`](Self::slowest).
    pub fastest: f64,
    /// How long the indexes took on these rows.
    pub index: Duration,
    /// Rows compared per second.
    pub verified_per_second: f64,
    /// How long a heartbeat takes to commit.
    pub commit: Option<Duration>,
    /// Transactions of others per second.
    pub others_per_second: Option<f64>,
    /// Why nothing could be measured, if the copy was held.
    pub held: Option<String>,
    /// Bytes of the shadow table and its indexes for these rows.
    pub bytes: u64,
    /// The whole time of the sample.
    pub took: Duration,
}

/// How long a run would take, in its parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Creating the shadow table.
    pub prepare: Duration,
    /// Copying.
    pub copy: Duration,
    /// Building indexes.
    pub index: Duration,
    /// Comparing.
    pub verify: Duration,
    /// Swapping, at a quiet moment.
    pub cut_over: Duration,
    /// The total may be off by this part of it.
    pub doubt: f64,
}

impl Estimate {
    /// All of it.
    pub fn total(&self) -> Duration {
        self.prepare + self.copy + self.index + self.verify + self.cut_over
    }

    /// The range in which the total probably is.
    pub fn range(&self) -> (Duration, Duration) {
        let total = self.total();
        (total.mul_f64(1.0 - self.doubt), total.mul_f64(1.0 + self.doubt))
    }

    /// Scales a sample to so many rows. None if the sample has shown nothing.
    pub fn of(sampled: &Sampled, rows: u64, prepare: Duration) -> Option<Estimate> {
        let all = rows.max(sampled.rows) as f64;
        if sampled.rows == 0 || sampled.copied_per_second <= 0.0 {
            return None;
        }
        let seconds = |rate: f64| Duration::from_secs_f64((all / rate.max(1e-3)).min(1e9));
        let part = sampled.rows as f64;
        // Sorting takes a little more than its share with more rows.
        let sorting = (all.max(2.0).ln() / part.max(2.0).ln()).max(1.0);
        let spread = (sampled.fastest - sampled.slowest) / (2.0 * sampled.copied_per_second);
        // A mean of several seconds is surer than each of them.
        let doubt = (spread / 2.0).clamp(LEAST_DOUBT, 0.9);
        Some(Estimate {
            prepare,
            copy: seconds(sampled.copied_per_second),
            index: sampled.index.mul_f64((all / part * sorting).min(1e6)),
            verify: match sampled.verified_per_second > 0.0 {
                true => seconds(sampled.verified_per_second),
                // There was no time for it; it is about as fast as the copy.
                false => seconds(sampled.copied_per_second),
            },
            // A handful of commits and a moment to wait for.
            cut_over: sampled.commit.unwrap_or_default() * 20,
            doubt,
        })
    }
}

/// Copies, indexes and compares a part of the table into the shadow table that was prepared for it.
///
/// In two rounds: the first is short, and shows how much there is time for; the second begins again with an empty shadow
/// table, has ranges as large as that, and is what is scaled. So the sample is as long as it may be, and still comes from
/// across the key.
///
/// # Errors
/// As a run's.
pub async fn measure(
    server: &Server,
    session: &mut Session,
    prepared: &Prepared,
    settings: Settings,
    time: Duration,
    lock: &mut RunLock,
    control: &Control,
) -> Result<Sampled> {
    let began = Instant::now();
    let plan = &prepared.context.plan;
    let per_second = |rows: u64, took: Duration| rows as f64 / took.as_secs_f64().max(1e-3);
    let (short_progress, progress) = (Progress::new(), Progress::new());
    let sampling = |ranges, copy_for, all_for, progress| Sampling {
        server,
        prepared,
        settings: settings.clone(),
        ranges,
        copy_for,
        all_for,
        progress,
        control,
    };
    let (mut copy_for, mut rows) = (time.mul_f64(FOR_COPY), ranges::rows_of_a_range(plan));
    let (mut ranges, mut spread) = ranges::choose(session, plan, rows).await?;
    if ranges.len() > 1 {
        let short = time.mul_f64(FIRST_ROUND);
        let first = sampling(ranges, short, None, &short_progress);
        let first = first.run(session, lock).await?;
        copy_for -= short;
        let most = per_second(first.rows_copied, first.copy) * copy_for.as_secs_f64();
        rows = rows.max(most as u64 / ranges::RANGES as u64);
        (ranges, spread) = ranges::choose(session, plan, rows).await?;
        empty(session, &plan.names.shadow).await?;
    }
    let left = time.saturating_sub(began.elapsed());
    let run = async {
        let outcome = sampling(ranges, copy_for, Some(left), &progress).run(session, lock).await;
        // The watch ends when the run has entered its last phase.
        progress.update(|snapshot| snapshot.phase = Phase::Done);
        outcome
    };
    let (outcome, steps) = tokio::join!(run, watch(&progress));
    let tally = outcome?;
    tracing::debug!(?steps, "the copy of the sample");
    let rates = rates(&steps);
    let (slowest, fastest) = rates
        .iter()
        .fold((f64::MAX, 0.0_f64), |(low, high), rate| (low.min(*rate), high.max(*rate)));
    let overall = per_second(tally.rows_copied, tally.copy);
    let settled = settled_rate(&steps).unwrap_or(overall);
    let shown = progress.snapshot();
    Ok(Sampled {
        rows: tally.rows_copied,
        spread,
        copied_per_second: settled,
        slowest: if rates.is_empty() { settled } else { slowest },
        fastest: if rates.is_empty() { settled } else { fastest },
        index: tally.index,
        verified_per_second: match tally.rows_verified {
            0 => 0.0,
            rows => per_second(rows, tally.verify),
        },
        commit: shown.felt.commit,
        others_per_second: shown.felt.others,
        held: control.holds().first().map(|(source, why)| format!("{}: {why}", source.name())),
        bytes: size(session, &plan.names.shadow).await?,
        took: began.elapsed(),
    })
}

/// A step of the copy: how long it had gone on, and how many rows it had copied.
type Step = (Duration, u64);

async fn watch(progress: &Progress) -> Vec<Step> {
    let mut ticker = tokio::time::interval(LOOK);
    let mut steps = Vec::new();
    loop {
        ticker.tick().await;
        let shown = progress.snapshot();
        match shown.phase {
            Phase::Prepare => {}
            Phase::Copy => steps.push((shown.phase_began.elapsed(), shown.rows_copied)),
            Phase::Done => return steps,
            _ => {}
        }
    }
}

/// The rate from the moment on when the pace had settled.
fn settled_rate(steps: &[Step]) -> Option<f64> {
    let (end, last) = steps.last()?;
    let (begin, first) = steps.iter().find(|(at, _)| *at >= end.mul_f64(SETTLED))?;
    let took = (*end - *begin).as_secs_f64();
    (took > 0.5 && last > first).then(|| (last - first) as f64 / took)
}

/// The rates of the single seconds.
fn rates(steps: &[Step]) -> Vec<f64> {
    let mut rates = Vec::new();
    let Some((end, _)) = steps.last() else { return rates };
    let mut from: Option<Step> = None;
    for &(at, rows) in steps.iter().filter(|(at, _)| *at >= end.mul_f64(SETTLED)) {
        match from {
            Some((begin, before)) if at - begin >= Duration::from_secs(1) => {
                rates.push((rows - before) as f64 / (at - begin).as_secs_f64());
                from = Some((at, rows));
            }
            Some(_) => {}
            None => from = Some((at, rows)),
        }
    }
    rates
}

async fn empty(session: &mut Session, table: &crate::sql::TableName) -> Result<()> {
    session
        .query_drop(format!("TRUNCATE TABLE {table}"))
        .await
        .map_err(|e| to_error(e, &format!("emptying {table}")))
}

/// Bytes of a table with its indexes, by statistics that are made anew.
async fn size(session: &mut Session, table: &crate::sql::TableName) -> Result<u64> {
    let doing = format!("reading the size of {table}");
    session
        .query_drop(format!("ANALYZE NO_WRITE_TO_BINLOG TABLE {table}"))
        .await
        .map_err(|e| to_error(e, &doing))?;
    // The dictionary keeps statistics for a day otherwise.
    session
        .query_drop("SET SESSION information_schema_stats_expiry = 0")
        .await
        .map_err(|e| to_error(e, &doing))?;
    let bytes: Option<Option<u64>> = session
        .exec_first(
            "SELECT DATA_LENGTH + INDEX_LENGTH FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
            (table.schema.as_str(), table.table.as_str()),
        )
        .await
        .map_err(|e| to_error(e, &doing))?;
    Ok(bytes.flatten().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled() -> Sampled {
        Sampled {
            rows: 10_000,
            spread: true,
            copied_per_second: 1_000.0,
            slowest: 900.0,
            fastest: 1_100.0,
            index: Duration::from_secs(1),
            verified_per_second: 2_000.0,
            commit: Some(Duration::from_millis(5)),
            others_per_second: None,
            held: None,
            bytes: 0,
            took: Duration::from_secs(10),
        }
    }

    #[test]
    fn a_sample_is_scaled_to_all_rows() {
        let estimate = Estimate::of(&sampled(), 100_000, Duration::ZERO).expect("it was measured");
        assert_eq!(estimate.copy, Duration::from_secs(100));
        assert_eq!(estimate.verify, Duration::from_secs(50));
        let index = estimate.index.as_secs_f64();
        assert!((12.4..12.6).contains(&index), "ten times the rows, sorted: {index}");
        let (low, high) = estimate.range();
        assert!(low < estimate.total() && estimate.total() < high);
        let nothing = Sampled { rows: 0, ..sampled() };
        assert_eq!(Estimate::of(&nothing, 100_000, Duration::ZERO), None);
    }

    #[test]
    fn the_rate_is_that_of_the_time_after_the_pace_has_settled() {
        // One second of nothing, then 1000 rows a second.
        let step =
            |tenth: u64| (Duration::from_millis(tenth * 100), tenth.saturating_sub(10) * 100);
        let steps: Vec<Step> = (0..=100).map(step).collect();
        assert_eq!(settled_rate(&steps), Some(1_000.0));
        assert!(rates(&steps).iter().all(|rate| (*rate - 1_000.0).abs() < 1.0));
        assert_eq!(settled_rate(&[]), None);
    }
}
