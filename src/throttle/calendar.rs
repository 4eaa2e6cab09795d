//! The hours at which the copy has to make room or to rest, and those at which the swap may happen.
//!
//! It is pure: a moment goes in, what holds then comes out. Windows are given in local time, so every day is
//! resolved by itself in the window's zone, and a day may have 23 or 25 hours.

use crate::error::{Error, Result};
use jiff::civil::Date;
use jiff::tz::{Disambiguation, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};
use std::collections::BTreeSet;
use std::fmt;

/// How far ahead something is looked for.
const SEARCHED_DAYS: usize = 400;
const DAY_MINUTES: i64 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
static NO_HOLIDAYS: BTreeSet<Date> = BTreeSet::new();

/// Hours of some days of the week, such as `Mon-Fri 08:00-20:00 Europe/Berlin`. It belongs to the day on which
/// it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    text: String,
    /// From Monday on.
    days: [bool; 7],
    /// In minutes from the midnight that begins the day; the end may be on the next day.
    begin: i64,
    end: i64,
    zone: TimeZone,
}

/// A window on one day.
#[derive(Clone, Copy)]
struct Period<'a> {
    window: &'a Window,
    begin: Timestamp,
    end: Timestamp,
}

impl Window {
    /// Reads `[DAYS] HH:MM-HH:MM [ZONE]`; an error names `flag`. Without days it is every day, without a zone
    /// the machine's.
    pub fn parse(flag: &str, text: &str) -> Result<Window> {
        let text = text.trim();
        let refuse = |why: &str| {
            Error::refused(format!("{flag} {text:?}: {why}")).remedy(
                "Write it as [DAYS] HH:MM-HH:MM [ZONE]: for example Mon-Fri 08:00-20:00 Europe/Berlin.",
            )
        };
        let mut words = text.split_whitespace().peekable();
        let days = match words.next_if(|word| !word.starts_with(|c: char| c.is_ascii_digit())) {
            Some(word) => {
                parse_days(word).ok_or_else(|| refuse(&format!("{word} names no days")))?
            }
            None => [true; 7],
        };
        let times = words.next().ok_or_else(|| refuse("the times are missing"))?;
        let (begin, end) = times
            .split_once('-')
            .and_then(|(begin, end)| Some((parse_clock(begin)?, parse_clock(end)?)))
            // Of a window that begins at 24:00 it would not be clear to which day it belongs.
            .filter(|(begin, _)| *begin < DAY_MINUTES)
            .ok_or_else(|| refuse(&format!("{times} does not go from one time to another")))?;
        if begin == end {
            return Err(refuse("it begins and ends at the same time")
                .remedy("Give 00:00-24:00 for the whole day."));
        }
        let zone = match words.collect::<Vec<_>>().join(" ").as_str() {
            "" => TimeZone::system(),
            name => TimeZone::get(name)
                .map_err(|e| refuse(&format!("{name} is not a known time zone")).caused_by(e))?,
        };
        let end = if end > begin { end } else { end + DAY_MINUTES };
        Ok(Window { text: text.to_owned(), days, begin, end, zone })
    }

    /// The window on the day that is `date` in its zone. None if it is not for that day, or if nothing is left
    /// of it because the clocks are put forward.
    fn occurrence(&self, date: Date) -> Option<Period<'_>> {
        if !self.days[date.weekday().to_monday_zero_offset() as usize] {
            return None;
        }
        let resolve = |minutes: i64| {
            let local = date.at(0, 0, 0, 0).checked_add(SignedDuration::from_mins(minutes)).ok()?;
            Some(self.zone.to_ambiguous_timestamp(local))
        };
        let begin = resolve(self.begin)?.compatible().ok()?;
        // If the clocks show its last minute twice, the window lasts until that is over for the second time.
        // Where they skip that minute, both ways are the same.
        let twice = resolve(self.end - 1)?.is_ambiguous();
        let way = if twice { Disambiguation::Later } else { Disambiguation::Compatible };
        let end = resolve(self.end)?.disambiguate(way).ok()?;
        (begin < end).then_some(Period { window: self, begin, end })
    }

    /// Its periods that end after `now` and begin on none of the dates `except`, in order of time.
    fn periods<'a>(
        &'a self,
        now: Timestamp,
        except: &'a BTreeSet<Date>,
    ) -> impl Iterator<Item = Period<'a>> {
        // Yesterday's may last into today, older ones may not.
        let yesterday = self.zone.to_datetime(now).date().saturating_sub(1.day());
        yesterday
            .series(1.day())
            .take(SEARCHED_DAYS + 2)
            .filter(move |date| !except.contains(date))
            .filter_map(move |date| self.occurrence(date))
            .filter(move |period| period.end > now)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_days(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        for step in 0..=(last + 7 - first) % 7 {
            days[(first + step) % 7] = true;
        }
    }
    Some(days)
}

/// The minutes from midnight to `HH:MM`.
fn parse_clock(text: &str) -> Option<i64> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (hour.parse::<u8>().ok()?, minute.parse::<u8>().ok()?);
    let minutes = i64::from(hour) * 60 + i64::from(minute);
    let valid = minute < 60 && minutes <= DAY_MINUTES;
    (valid && text == format!("{hour:02}:{minute:02}")).then_some(minutes)
}

/// Reads a date as `YYYY-MM-DD`; an error names `flag`.
pub fn parse_holiday(flag: &str, text: &str) -> Result<Date> {
    let text = text.trim();
    // Other notations, which jiff reads as well, do not come out as they went in.
    text.parse::<Date>().ok().filter(|date| date.to_string() == text).ok_or_else(|| {
        Error::refused(format!("{flag} {text:?}: it is not a date"))
            .remedy("Write it as YYYY-MM-DD, for example 2026-12-25.")
    })
}

/// What the copy may do at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyRule {
    /// The calendar says nothing against it.
    Free,
    /// It is peak hours.
    Peak {
        /// The window that is open; of several the one that ends last.
        window: String,
        /// When peak hours end, windows that overlap or touch taken together.
        until: Timestamp,
    },
    /// None of the windows within which the copy may run is open.
    Outside {
        /// When the next one opens; None if that is too far away.
        until: Option<Timestamp>,
    },
}

/// The swap may not happen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// When the next window for it opens; None if that is too far away.
    pub until: Option<Timestamp>,
}

/// All windows of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Peak hours.
    pub peak: Vec<Window>,
    /// Peak windows that begin on these dates do not count.
    pub holidays: BTreeSet<Date>,
    /// If there are any: outside of these the copy is held.
    pub only_within: Vec<Window>,
    /// If there are any: outside of these the swap waits.
    pub cut_over_within: Vec<Window>,
}

impl Calendar {
    /// What the copy may do at `now`. That it has to rest outweighs that it is peak hours.
    pub fn copy_at(&self, now: Timestamp) -> CopyRule {
        let [peak, copy, _] = self.groups();
        if !copy.windows.is_empty() && copy.open(now).is_none() {
            return CopyRule::Outside { until: copy.opens(now) };
        }
        peak.open(now).map_or(CopyRule::Free, |open| CopyRule::Peak {
            window: open.window.to_string(),
            until: peak.closes(open.end),
        })
    }

    /// Whether the swap is bound to windows.
    pub fn cut_over_is_scheduled(&self) -> bool {
        !self.cut_over_within.is_empty()
    }

    /// Whether the swap has to wait at `now`; None if it may happen.
    pub fn cut_over_at(&self, now: Timestamp) -> Option<Closed> {
        let [_, _, swap] = self.groups();
        let closed = self.cut_over_is_scheduled() && swap.open(now).is_none();
        closed.then(|| Closed { until: swap.opens(now) })
    }

    /// The next moment after `now` at which another answer is possible: a window begins or ends.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let next = |group: Group<'_>| {
            group.periods(now, now).map(|open| open.end).chain(group.opens(now)).min()
        };
        self.groups().into_iter().filter_map(next).min()
    }

    /// What changes within `horizon` after `now`, in order of time and in words; the first 50. Windows of a kind
    /// that overlap or touch are taken together.
    pub fn ahead(&self, now: Timestamp, horizon: SignedDuration) -> Vec<(Timestamp, String)> {
        let last = now.checked_add(horizon).unwrap_or(Timestamp::MAX);
        let mut edges = Vec::new();
        for group in self.groups() {
            let [begins, ends] = group.words;
            for Period { window, begin, end } in group.periods(now, last) {
                if begin > now && group.open(begin - SignedDuration::from_nanos(1)).is_none() {
                    edges.push((begin, format!("{begins}: {window}")));
                }
                if end <= last && group.open(end).is_none() {
                    edges.push((end, format!("{ends}: {window}")));
                }
            }
        }
        edges.sort_by_key(|(at, _)| *at);
        edges.truncate(50);
        edges
    }

    /// Peak hours, the windows of the copy, and those of the swap.
    fn groups(&self) -> [Group<'_>; 3] {
        let group = |windows, words| Group { windows, except: &NO_HOLIDAYS, words };
        [
            Group { except: &self.holidays, ..group(&self.peak[..], ["peak begins", "peak ends"]) },
            group(&self.only_within[..], ["the copy may run", "the copy has to rest"]),
            group(&self.cut_over_within[..], ["the swap may happen", "the swap has to wait"]),
        ]
    }
}

/// Windows that mean the same.
#[derive(Clone, Copy)]
struct Group<'a> {
    windows: &'a [Window],
    /// Periods that begin on these dates do not count.
    except: &'a BTreeSet<Date>,
    /// What it means that a window begins, and that it ends.
    words: [&'static str; 2],
}

impl<'a> Group<'a> {
    /// The periods that end after `now` and begin by `last`, window by window.
    fn periods(self, now: Timestamp, last: Timestamp) -> impl Iterator<Item = Period<'a>> {
        self.windows.iter().flat_map(move |window| {
            window.periods(now, self.except).take_while(move |period| period.begin <= last)
        })
    }

    /// The open period that ends last.
    fn open(self, now: Timestamp) -> Option<Period<'a>> {
        self.periods(now, now).max_by_key(|period| period.end)
    }

    /// When the next period begins.
    fn opens(self, now: Timestamp) -> Option<Timestamp> {
        let begins = |window: &Window| {
            window.periods(now, self.except).map(|period| period.begin).find(|at| *at > now)
        };
        self.windows.iter().filter_map(begins).min()
    }

    /// When nothing is open any more, given that something is until `end`.
    fn closes(self, mut end: Timestamp) -> Timestamp {
        // Windows without a gap between them never close.
        for _ in 0..SEARCHED_DAYS {
            let Some(next) = self.open(end) else { break };
            end = next.end;
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Window {
        Window::parse("--peak", text).unwrap()
    }

    fn windows(texts: &[&str]) -> Vec<Window> {
        texts.iter().map(|text| window(text)).collect()
    }

    fn peaks(texts: &[&str]) -> Calendar {
        Calendar { peak: windows(texts), ..Calendar::default() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// When the peak ends that is on at a moment.
    fn peak_until(calendar: &Calendar, now: &str) -> Option<Timestamp> {
        match calendar.copy_at(at(now)) {
            CopyRule::Peak { until, .. } => Some(until),
            _ => None,
        }
    }

    #[test]
    fn peak_hours_of_the_week_end_in_the_evening_and_leave_the_weekend_free() {
        let week = peaks(&["Mon-Fri 08:00-20:00 Europe/Berlin"]);
        for (now, until) in [
            ("2026-11-25T07:59:59+01", None),
            ("2026-11-25T08:00+01", Some(at("2026-11-25T20:00+01"))),
            ("2026-11-25T20:00+01", None),
            ("2026-11-28T12:00+01", None),
        ] {
            assert_eq!(peak_until(&week, now), until, "{now}");
        }
        let monday = at("2026-11-30T08:00+01");
        assert_eq!(week.next_change(at("2026-11-27T20:00+01")), Some(monday));
        assert_eq!(week.next_change(monday), Some(at("2026-11-30T20:00+01")));
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins_and_so_does_a_holiday() {
        let mut nights = peaks(&["Mon-Fri 22:00-05:00 Europe/Berlin"]);
        let [thursday, friday, saturday] =
            ["2026-12-25T04:00+01", "2026-12-26T04:00+01", "2026-12-26T23:00+01"];
        assert_eq!(peak_until(&nights, friday), Some(at("2026-12-26T05:00+01")));
        assert_eq!(peak_until(&nights, saturday), None);
        nights.holidays.insert(parse_holiday("--holiday", "2026-12-25").unwrap());
        assert_eq!(peak_until(&nights, thursday), Some(at("2026-12-25T05:00+01")));
        assert_eq!(peak_until(&nights, friday), None);
        let monday = at("2026-12-28T22:00+01");
        assert_eq!(nights.next_change(at("2026-12-25T05:00+01")), Some(monday));
    }

    #[test]
    fn days_on_which_the_clocks_are_changed_are_shorter_and_longer() {
        for (date, hours, minutes) in [
            ("2026-03-29", "00:00-24:00", Some(23 * 60)),
            ("2026-03-28", "22:00-05:00", Some(6 * 60)),
            ("2026-03-29", "01:00-03:00", Some(60)),
            ("2026-03-29", "02:00-04:00", Some(60)),
            ("2026-03-29", "02:00-03:00", None),
            ("2026-03-29", "02:30-03:00", None),
            ("2026-10-25", "00:00-24:00", Some(25 * 60)),
            ("2026-10-25", "01:00-02:00", Some(60)),
            ("2026-10-25", "01:30-02:30", Some(2 * 60)),
            ("2026-10-25", "02:00-03:00", Some(2 * 60)),
        ] {
            let window = window(&format!("{hours} Europe/Berlin"));
            let period = window.occurrence(date.parse().unwrap());
            let lasts = period.map(|p| (p.end.as_second() - p.begin.as_second()) / 60);
            assert_eq!(lasts, minutes, "{hours} on {date}");
        }
    }

    #[test]
    fn every_window_has_its_zone_and_those_that_overlap_or_touch_are_one_peak() {
        let world = peaks(&["09:00-17:00 Asia/Tokyo", "09:00-17:00 America/New_York"]);
        assert_eq!(peak_until(&world, "2026-11-25T00:00Z"), Some(at("2026-11-25T08:00Z")));
        assert_eq!(peak_until(&world, "2026-11-25T14:00Z"), Some(at("2026-11-25T22:00Z")));
        let day = peaks(&["08:00-12:00 utc", "11:00-14:00 UTC", "14:00-15:00 UTC"]);
        let (nine, until) = (at("2026-11-25T09:00Z"), at("2026-11-25T15:00Z"));
        let window = "08:00-12:00 utc".to_owned();
        assert_eq!(day.copy_at(nine), CopyRule::Peak { window, until });
        assert_eq!(day.next_change(nine), Some(at("2026-11-25T11:00Z")));
        let edges = day.ahead(nine, SignedDuration::from_hours(23));
        let tomorrow = at("2026-11-26T08:00Z");
        let texts = ["peak ends: 14:00-15:00 UTC", "peak begins: 08:00-12:00 utc"];
        assert_eq!(edges, [(until, texts[0].to_owned()), (tomorrow, texts[1].to_owned())]);
    }

    #[test]
    fn the_copy_rests_outside_its_windows_and_the_swap_waits_for_its_own() {
        let calendar = Calendar {
            peak: windows(&["00:00-24:00 UTC"]),
            only_within: windows(&["Mon-Fri 20:00-06:00 UTC", "Sat,Sun 00:00-24:00 UTC"]),
            cut_over_within: windows(&["Sun 03:00-04:00 UTC"]),
            ..Calendar::default()
        };
        let opens = |text| CopyRule::Outside { until: Some(at(text)) };
        assert_eq!(calendar.copy_at(at("2026-11-27T12:00Z")), opens("2026-11-27T20:00Z"));
        assert_eq!(calendar.copy_at(at("2026-11-30T00:00Z")), opens("2026-11-30T20:00Z"));
        let far = peak_until(&calendar, "2026-11-28T12:00Z").unwrap();
        assert!(far > at("2027-11-28T12:00Z"), "a peak without a gap: {far}");
        let sunday = at("2026-11-29T03:00Z");
        let closed = calendar.cut_over_at(at("2026-11-27T12:00Z"));
        assert_eq!(closed, Some(Closed { until: Some(sunday) }));
        assert_eq!(calendar.cut_over_at(sunday), None);
        let edges = calendar.ahead(at("2026-11-27T12:00Z"), SignedDuration::from_hours(72));
        let edges: Vec<_> = edges.iter().map(|(at, text)| format!("{at} {text}")).collect();
        let expected = [
            "2026-11-27T20:00:00Z the copy may run: Mon-Fri 20:00-06:00 UTC",
            "2026-11-29T03:00:00Z the swap may happen: Sun 03:00-04:00 UTC",
            "2026-11-29T04:00:00Z the swap has to wait: Sun 03:00-04:00 UTC",
            "2026-11-30T00:00:00Z the copy has to rest: Sat,Sun 00:00-24:00 UTC",
        ];
        assert_eq!(edges, expected);
    }

    #[test]
    fn windows_are_read_as_people_write_them_and_errors_name_the_flag() {
        let days = |text: &str| window(&format!("{text} 22:00-05:00")).days;
        assert_eq!(days("Fri-Mon"), [true, false, false, false, true, true, true]);
        assert_eq!(days("mon-WED,fri"), [true, true, true, false, true, false, false]);
        assert_eq!(window(" Mon  00:00-24:00 ").to_string(), "Mon  00:00-24:00");
        let broken = "|Mon|8:00-9:00|08:00-24:01|08:60-09:00|24:00-06:00|Mon-Fry 08:00-20:00|\
                      Mon, Tue 08:00-20:00|08:00|08:00-09:00 Europe/Atlantis|08:00-09:00 UTC now";
        for text in broken.split('|') {
            let error = Window::parse("--only-within", text).unwrap_err();
            assert!(error.what().starts_with("--only-within \""), "{error}");
        }
        let error = Window::parse("--peak", "Mon 08:00-08:00").unwrap_err();
        assert!(error.next_step().unwrap().contains("00:00-24:00"), "{error}");
        for text in ["25.12.2026", "20261225", "2026-02-30", ""] {
            let error = parse_holiday("--holiday", text).unwrap_err();
            assert!(error.what().starts_with("--holiday \""), "{error}");
        }
    }
}
