//! What an operator may ask of a run that goes on.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Ending, Hold, Settings, Source, State};
use crate::error::{Error, Result};
use crate::pace::Pace;

/// A command, as the socket, the mailbox and HTTP carry it: `{"command":"pause"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Say how the run stands.
    Status,
    /// Hold the copy.
    Pause,
    /// Let it go on.
    Resume,
    /// Change a setting.
    Set {
        /// The option's name without dashes.
        name: String,
        /// The value as on the command line; several values of one option are separated by `;`.
        value: String,
    },
    /// Swap the tables as soon as they are verified, whatever was postponed.
    CutOver,
    /// End, and keep what there is to go on with.
    Stop,
    /// End, and remove everything.
    Abort {
        /// The table's name, as a proof that it is meant.
        table: String,
    },
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Status => write!(f, "status"),
            Command::Pause => write!(f, "pause"),
            Command::Resume => write!(f, "resume"),
            Command::Set { name, value } => write!(f, "set {name}={value}"),
            Command::CutOver => write!(f, "cut-over"),
            Command::Stop => write!(f, "stop"),
            Command::Abort { .. } => write!(f, "abort"),
        }
    }
}

impl Command {
    /// Changes the state as the command says, and says what happens now.
    pub(super) fn carry_out(&self, state: &mut State) -> Result<String> {
        if let (Some(ending), false) =
            (&state.ending, matches!(self, Command::Status | Command::Abort { .. }))
        {
            return Err(Error::refused(format!("the run is ending already ({ending:?})")));
        }
        if matches!(
            self,
            Command::Pause | Command::Resume | Command::CutOver | Command::Abort { .. }
        ) {
            state.settings.as_ref().ok_or_else(not_yet)?;
        }
        if state.swapping && matches!(self, Command::Stop | Command::Abort { .. }) {
            return Err(Error::refused("the tables are being swapped at this moment"));
        }
        match self {
            Command::Status => Ok("see the status".to_owned()),
            Command::Pause => {
                let why = "paused; `replank resume` lets it go on".to_owned();
                let hold = Hold { why, since: std::time::Instant::now() };
                state.holds.entry(Source::Operator).or_insert(hold);
                Ok("No chunk is begun any more; changes are still replayed.".to_owned())
            }
            Command::Resume => {
                let paused = state.holds.remove(&Source::Operator).is_some();
                Ok(match (paused, state.held()) {
                    (_, Some(held)) => format!("It is not paused by you any more, but {held}."),
                    (true, None) => "It goes on.".to_owned(),
                    (false, None) => "It was not paused.".to_owned(),
                })
            }
            Command::Set { name, value } => {
                let settings = state.settings.as_mut().ok_or_else(not_yet)?;
                let mut changed = settings.clone();
                changed.set(name, value)?;
                *settings = changed;
                Ok(format!("{name} is {value} now."))
            }
            Command::CutOver => {
                state.told_to_cut_over = true;
                Ok(match state.held() {
                    Some(held) => format!("The tables are swapped when it is not {held} any more."),
                    None => "The tables are swapped as soon as they are verified.".to_owned(),
                })
            }
            Command::Stop => {
                state.ending = Some(Ending::Stop);
                Ok("It stops, and keeps what it has copied.".to_owned())
            }
            Command::Abort { .. } if state.subject.goes_back => {
                Err(Error::refused("the tables have been swapped: there is nothing to abort")
                    .remedy("`replank revert` swaps back; `replank cleanup` gives the revert up."))
            }
            Command::Abort { table } if *table == state.subject.table => {
                state.ending = Some(Ending::Abort);
                Ok("It stops, and removes everything.".to_owned())
            }
            Command::Abort { table } => Err(Error::refused(format!(
                "an abort has to name the table, {}, not {table}",
                state.subject.table
            ))),
        }
    }
}

fn not_yet() -> Error {
    Error::refused("the run has not begun yet").remedy("Try again in a moment.")
}

impl Settings {
    /// Changes a setting by the name of its option; `none` takes a limit away.
    ///
    /// # Errors
    /// Refused when there is no such setting, or the value is not right.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let value = value.trim();
        match name {
            "pace" => self.pace = value.parse()?,
            "workers" => self.workers = number(name, value, 1..=64)? as usize,
            "max-rows-per-sec" => {
                self.rows_per_second = match value {
                    "none" => None,
                    value => Some(number(name, value, 1..=u64::MAX)?),
                }
            }
            "chunk-time" => {
                self.chunk_time = Duration::from_millis(number(name, value, 10..=60_000)?);
            }
            "max-changed-keys" => {
                self.max_changed_keys = number(name, value, 1_000..=1_000_000_000)? as usize;
            }
            name if self.throttle.set(name, value)? => {}
            _ => {
                return Err(Error::refused(format!("{name} cannot be set while a run goes on")).remedy(
                    "These can: pace, workers, max-rows-per-sec, chunk-time, max-changed-keys, and what holds the \
                     copy, such as max-load, max-lag, peak, throttle-file.",
                ));
            }
        }
        Ok(())
    }
}

fn number(name: &str, value: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64> {
    value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        Error::refused(format!("{name} cannot be {value}")).remedy(match range.end() {
            &u64::MAX => format!("Give a number of {} or more.", range.start()),
            end => format!("Give a number from {} to {end}.", range.start()),
        })
    })
}

impl std::str::FromStr for Pace {
    type Err = Error;

    fn from_str(text: &str) -> Result<Pace> {
        match text {
            "gentle" => Ok(Pace::Gentle),
            "balanced" => Ok(Pace::Balanced),
            "fast" => Ok(Pace::Fast),
            other => Err(Error::refused(format!("{other} is not a pace"))
                .remedy("Give gentle, balanced or fast.")),
        }
    }
}
