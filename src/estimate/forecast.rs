//! When a run would end that begins now, with the windows of its calendar.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::throttle::PeakPace;
use crate::throttle::calendar::{Calendar, CopyRule};

/// A stretch of time in which the copy goes on, or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Its begin.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// Why the copy does not go at its speed meanwhile.
    pub held: Option<String>,
}

/// The course of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// Its stretches, up to the moment when everything is verified.
    pub stretches: Vec<Stretch>,
    /// When the tables are swapped. None if no window ever opens.
    pub done: Option<Timestamp>,
}

/// A run that would last for more stretches than this has a calendar that hardly ever lets it run.
const MOST_STRETCHES: usize = 1_000;

/// Foretells a run that begins at `now` and needs `work` at its full speed of so many rows per second.
///
/// A gentle pace counts as a pause: it cannot be known how fast it will be.
pub fn forecast(
    calendar: &Calendar,
    peak_pace: PeakPace,
    now: Timestamp,
    work: Duration,
    rows_per_second: f64,
) -> Forecast {
    let (mut at, mut left) = (now, work.as_secs_f64());
    let mut stretches: Vec<Stretch> = Vec::new();
    for _ in 0..MOST_STRETCHES {
        let (speed, held) = match calendar.copy_at(at) {
            CopyRule::Free => (1.0, None),
            CopyRule::Outside { .. } => (0.0, Some("outside of --only-within".to_owned())),
            CopyRule::Peak { window, .. } => {
                let speed = match peak_pace {
                    PeakPace::Rows(rows) => (rows as f64 / rows_per_second.max(1.0)).min(1.0),
                    PeakPace::Pause | PeakPace::Gentle => 0.0,
                };
                (speed, Some(format!("peak {window}")))
            }
        };
        let needed = (speed > 0.0).then(|| later(at, left / speed));
        let change = calendar.next_change(at);
        let until = match (needed, change) {
            (Some(end), Some(change)) => end.min(change),
            (Some(end), None) => end,
            (None, Some(change)) => change,
            (None, None) => return Forecast { stretches, done: None },
        };
        left -= until.duration_since(at).as_secs_f64() * speed;
        match stretches.last_mut() {
            Some(last) if last.held == held => last.until = until,
            _ => stretches.push(Stretch { from: at, until, held }),
        }
        if needed == Some(until) || left <= 0.0 {
            return Forecast { stretches, done: swapped(calendar, peak_pace, until) };
        }
        at = until;
    }
    Forecast { stretches, done: None }
}

/// The first moment from `at` on in which the tables may be swapped: neither the windows of the swap nor those of the
/// copy are against it.
fn swapped(calendar: &Calendar, peak_pace: PeakPace, mut at: Timestamp) -> Option<Timestamp> {
    for _ in 0..MOST_STRETCHES {
        let held = match calendar.copy_at(at) {
            CopyRule::Free => false,
            CopyRule::Peak { .. } => peak_pace == PeakPace::Pause,
            CopyRule::Outside { .. } => true,
        };
        if !held && calendar.cut_over_at(at).is_none() {
            return Some(at);
        }
        at = calendar.next_change(at)?;
    }
    None
}

fn later(at: Timestamp, seconds: f64) -> Timestamp {
    // No calendar looks further than a year ahead.
    let seconds = SignedDuration::from_secs_f64(seconds.clamp(0.0, 4e8));
    at.checked_add(seconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::calendar::Window;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn windows(text: &str) -> Vec<Window> {
        vec![Window::parse("--peak", text).expect("a window")]
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_run_pauses_in_peak_hours_and_waits_for_its_cut_over_window() {
        let calendar = Calendar {
            peak: windows("18:00-22:00 UTC"),
            cut_over_within: windows("05:00-06:00 UTC"),
            ..Calendar::default()
        };
        let begin = at("2026-11-25T14:00:00Z");
        let found = forecast(&calendar, PeakPace::Pause, begin, HOUR * 6, 1000.0);
        let stretch = |from: &str, until: &str, held: Option<&str>| Stretch {
            from: at(from),
            until: at(until),
            held: held.map(str::to_owned),
        };
        assert_eq!(
            found.stretches,
            [
                stretch("2026-11-25T14:00:00Z", "2026-11-25T18:00:00Z", None),
                stretch(
                    "2026-11-25T18:00:00Z",
                    "2026-11-25T22:00:00Z",
                    Some("peak 18:00-22:00 UTC")
                ),
                stretch("2026-11-25T22:00:00Z", "2026-11-26T00:00:00Z", None),
            ]
        );
        assert_eq!(found.done, Some(at("2026-11-26T05:00:00Z")));
    }

    #[test]
    fn a_peak_of_so_many_rows_slows_it_down() {
        let calendar = Calendar { peak: windows("00:00-24:00 UTC"), ..Calendar::default() };
        let begin = at("2026-11-25T14:00:00Z");
        let found = forecast(&calendar, PeakPace::Rows(500), begin, HOUR, 1000.0);
        assert_eq!(found.done, Some(at("2026-11-25T16:00:00Z")));
        assert_eq!(forecast(&calendar, PeakPace::Pause, begin, HOUR, 1.0).done, None);
    }
}
