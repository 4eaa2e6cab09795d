//! What holds the copy besides the operator: lagging replicas, load, the operator's own probes, the calendar.
//!
//! A task (`watcher.rs`) looks at all of them twice a second, with a connection of its own, and tells the run's
//! [`Control`](crate::control::Control). What cannot be read holds the copy as well: a probe that is broken must not
//! look like a server at ease.

pub mod calendar;
mod lag;
mod load;
mod outside;
mod preflight;
mod watcher;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub(crate) use lag::Beats;
pub use lag::Replica;
pub use load::Threshold;
pub use outside::free_bytes;
pub use preflight::{disk_is_here, prepare};
pub(crate) use watcher::Watcher;

use crate::error::{Error, Result};
use calendar::{Calendar, Window, parse_holiday};

/// The default of `--max-lag`.
pub const MAX_LAG: Duration = Duration::from_secs(1);

/// What is left of the speed within a peak window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PeakPace {
    /// Nothing.
    #[default]
    Pause,
    /// As much as `--pace gentle` takes.
    Gentle,
    /// So many rows per second.
    Rows(u64),
}

impl FromStr for PeakPace {
    type Err = Error;

    fn from_str(text: &str) -> Result<PeakPace> {
        match text {
            "pause" => Ok(PeakPace::Pause),
            "gentle" => Ok(PeakPace::Gentle),
            rows => {
                rows.parse().ok().filter(|rows| *rows > 0).map(PeakPace::Rows).ok_or_else(|| {
                    Error::refused(format!("--peak-pace {text} is not right"))
                        .remedy("Give pause, gentle, or a number of rows per second.")
                })
            }
        }
    }
}

/// Everything that may hold the copy.
#[derive(Debug, Clone)]
pub struct Throttle {
    /// Replicas whose lag is watched.
    pub replicas: Vec<Replica>,
    /// Whether the replicas that the server knows are watched too.
    pub discover_replicas: bool,
    /// The lag beyond which the copy is held.
    pub max_lag: Duration,
    /// Status variables beyond which the copy is held.
    pub max_load: Vec<Threshold>,
    /// Status variables beyond which the run ends or rests.
    pub critical_load: Vec<Threshold>,
    /// For how long the run rests at a critical load instead of ending.
    pub hibernate: Option<Duration>,
    /// A statement that returns one number: more than 0 holds the copy.
    pub query: Option<String>,
    /// The copy is held while this file exists.
    pub file: Option<PathBuf>,
    /// The copy is held unless this address answers 200.
    pub http: Option<String>,
    /// The longest history list that is accepted.
    pub max_history_list: Option<u64>,
    /// Bytes that have to be free on the disk of the data directory.
    pub min_free_disk: Option<u64>,
    /// Peak hours, and windows for the copy and for the swap.
    pub calendar: Calendar,
    /// What happens within peak hours.
    pub peak_pace: PeakPace,
}

impl Default for Throttle {
    fn default() -> Self {
        Throttle {
            replicas: Vec::new(),
            discover_replicas: false,
            max_lag: MAX_LAG,
            max_load: Vec::new(),
            critical_load: Vec::new(),
            hibernate: None,
            query: None,
            file: None,
            http: None,
            max_history_list: None,
            min_free_disk: None,
            calendar: Calendar::default(),
            peak_pace: PeakPace::default(),
        }
    }
}

impl Throttle {
    /// Sets what the option of this name says; several values are separated by `;`, and `none` takes it away.
    /// False if there is no such setting.
    ///
    /// # Errors
    /// Refused when the value is not right.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool> {
        let given = (value != "none").then_some(value);
        let values = || given.into_iter().flat_map(|value| value.split(';')).map(str::trim);
        let flag = format!("--{name}");
        let windows =
            || values().map(|text| Window::parse(&flag, text)).collect::<Result<Vec<_>>>();
        let thresholds = || {
            let each = values().flat_map(|text| text.split(','));
            each.map(|text| Threshold::parse(&flag, text)).collect::<Result<Vec<_>>>()
        };
        match name {
            "max-lag" => self.max_lag = time(&flag, value)?,
            "max-load" => self.max_load = thresholds()?,
            "critical-load" => self.critical_load = thresholds()?,
            "critical-load-hibernate" => {
                self.hibernate = given.map(|value| time(&flag, value)).transpose()?;
            }
            "throttle-query" => self.query = given.map(str::to_owned),
            "throttle-file" => self.file = given.map(PathBuf::from),
            "throttle-http" => {
                self.http = given.map(|value| outside::address(&flag, value)).transpose()?
            }
            "max-history-list" => {
                self.max_history_list = given.map(|value| count(&flag, value)).transpose()?;
            }
            "min-free-disk" => {
                self.min_free_disk = given.map(|value| bytes(&flag, value)).transpose()?
            }
            "peak" => self.calendar.peak = windows()?,
            "only-within" => self.calendar.only_within = windows()?,
            "cut-over-within" => self.calendar.cut_over_within = windows()?,
            "holiday" => {
                self.calendar.holidays =
                    values().map(|text| parse_holiday(&flag, text)).collect::<Result<_>>()?;
            }
            "peak-pace" => self.peak_pace = value.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn time(flag: &str, value: &str) -> Result<Duration> {
    humantime::parse_duration(value).map_err(|error| {
        Error::refused(format!("{flag} {value} is not a time: {error}"))
            .remedy("Write it as 500ms, 30s or 2h.")
    })
}

fn count(flag: &str, value: &str) -> Result<u64> {
    value.parse().map_err(|_| {
        Error::refused(format!("{flag} {value} is not a number"))
            .remedy("Give a number of 0 or more.")
    })
}

/// Bytes, with the suffixes of the server's own options: K, M, G, T are powers of 1024.
fn bytes(flag: &str, value: &str) -> Result<u64> {
    let upper = value.to_ascii_uppercase();
    let (digits, shift) = match upper.as_bytes().last() {
        Some(b'K') => (&upper[..upper.len() - 1], 10),
        Some(b'M') => (&upper[..upper.len() - 1], 20),
        Some(b'G') => (&upper[..upper.len() - 1], 30),
        Some(b'T') => (&upper[..upper.len() - 1], 40),
        _ => (&upper[..], 0),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or_else(|| {
        Error::refused(format!("{flag} {value} is not a size"))
            .remedy("Give bytes, or a number with K, M, G or T.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_the_names_of_their_options_and_several_values() {
        let mut throttle = Throttle::default();
        assert!(
            throttle.set("max-load", "Threads_running=50, Threads_connected=900").expect("right")
        );
        assert_eq!(throttle.max_load.len(), 2);
        assert!(
            throttle.set("peak", "Mon-Fri 08:00-12:00 UTC; Sat 09:00-10:00 UTC").expect("right")
        );
        assert_eq!(throttle.calendar.peak.len(), 2);
        assert!(throttle.set("peak", "none").expect("right") && throttle.calendar.peak.is_empty());
        assert!(throttle.set("min-free-disk", "20g").expect("right"));
        assert_eq!(throttle.min_free_disk, Some(20 << 30));
        assert!(throttle.set("peak-pace", "2000").expect("right"));
        assert_eq!(throttle.peak_pace, PeakPace::Rows(2000));
        assert!(!throttle.set("lock-wait", "3").expect("no error"));
    }

    #[test]
    fn a_wrong_value_names_its_option() {
        for (name, value) in [
            ("max-load", "Threads_running"),
            ("max-lag", "soon"),
            ("min-free-disk", "20X"),
            ("min-free-disk", "99999999999T"),
            ("peak", "Caturday 08:00-20:00"),
            ("holiday", "tomorrow"),
            ("peak-pace", "0"),
            ("throttle-http", "ftp://x"),
            ("max-history-list", "-1"),
        ] {
            let error = Throttle::default().set(name, value).expect_err(name);
            assert!(error.to_string().contains(&format!("--{name}")), "{name}: {error}");
        }
    }
}
