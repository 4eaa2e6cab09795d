//! The last things that happened to a run, for those who begin to look at it later.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// So many are kept.
const KEPT: usize = 200;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, in UTC.
    pub at: String,
    /// What.
    pub text: String,
}

/// The journal of a run.
#[derive(Debug, Default)]
pub(super) struct Journal(VecDeque<Event>);

impl Journal {
    pub(super) fn write(&mut self, at: Timestamp, text: &str) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        // Seconds are enough for reading.
        let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        self.0.push_back(Event { at, text: text.to_owned() });
    }

    /// The events, the oldest first.
    pub(super) fn events(&self) -> Vec<Event> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_events_are_kept() {
        let mut journal = Journal::default();
        for number in 0..KEPT + 5 {
            journal.write(Timestamp::UNIX_EPOCH, &number.to_string());
        }
        let events = journal.events();
        assert_eq!((events.len(), events[0].text.as_str()), (KEPT, "5"));
        assert_eq!(events[0].at, "1970-01-01T00:00:00Z");
    }
}
