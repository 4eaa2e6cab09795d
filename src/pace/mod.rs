//! How much work is given out at a time, and how much of the time: [`Sizer`] and [`Governor`].

mod governor;

pub use governor::{Governor, Pace, Window};

use std::time::Duration;

/// The fewest rows of a chunk: below this the commit costs more than the rows.
const MIN_ROWS: u64 = 50;

/// Chooses the number of rows so that a statement takes about a given time.
///
/// A chunk's duration is what a row lock in the shadow table, a read view and a gap in the replica's
/// applier last, so it is time that is kept constant, not rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizer {
    target: Duration,
    rows: u64,
    max: u64,
}

impl Sizer {
    /// Begins with `rows` and goes up to `max`, aiming at `target`.
    pub fn new(target: Duration, rows: u64, max: u64) -> Self {
        Sizer { target, rows: rows.clamp(MIN_ROWS, max), max }
    }

    /// Aims at another time from now on.
    pub fn aim(&mut self, target: Duration) {
        self.target = target;
    }

    /// The number of rows to ask for.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// A statement over `rows` rows took `took`. One measurement at most doubles or halves the size,
    /// so that a single hiccup does not throw it off.
    pub fn observe(&mut self, rows: u64, took: Duration) {
        // The table's last, short chunk says little about the speed.
        if rows * 2 < self.rows {
            return;
        }
        let per_row = took.as_secs_f64() / rows as f64;
        let wanted = self.target.as_secs_f64() / per_row.max(1e-9);
        let low = self.rows as f64 / 2.0;
        let high = self.rows as f64 * 2.0;
        self.rows = (wanted.clamp(low, high) as u64).clamp(MIN_ROWS, self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_settles_where_a_statement_takes_the_target_time() {
        let mut sizer = Sizer::new(Duration::from_millis(250), 1000, 100_000);
        for _ in 0..20 {
            let rows = sizer.rows();
            sizer.observe(rows, Duration::from_micros(rows * 50));
        }
        assert!((4_900..=5_100).contains(&sizer.rows()), "{}", sizer.rows());
    }

    #[test]
    fn one_slow_statement_halves_at_most_and_a_short_chunk_changes_nothing() {
        let mut sizer = Sizer::new(Duration::from_millis(250), 1000, 100_000);
        sizer.observe(1000, Duration::from_secs(60));
        assert_eq!(sizer.rows(), 500);
        sizer.observe(3, Duration::from_secs(60));
        assert_eq!(sizer.rows(), 500);
    }
}
