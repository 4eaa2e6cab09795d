//! After the swap: what the run is for now, and which rows the old structure cannot hold.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::key::Key;
use crate::state::Misfit;

/// What a process works towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Copy, verify, swap.
    Migrate,
    /// Keep the old table in step until then.
    Guard { until: Instant },
    /// Copy, index and verify a part of the table, to see how long the whole takes: copying ends then, and everything
    /// ends by the second moment; or with the copy, if there is none.
    Sample { copy_until: Instant, until: Option<Instant> },
    /// Swap back; with rows that the old structure cannot hold only if their loss is accepted.
    Revert { accept_loss: bool },
}

/// See the [module documentation](self).
#[derive(Debug)]
pub(crate) struct Guarding {
    goal: Goal,
    misfits: BTreeMap<Key, Misfit>,
}

/// So many rows are named in an error.
const NAMED: usize = 5;

impl Guarding {
    /// The way there: there is nothing to guard yet.
    pub(crate) fn none() -> Self {
        Guarding { goal: Goal::Migrate, misfits: BTreeMap::new() }
    }

    /// A part of the way there.
    pub(crate) fn sample(copy_until: Instant, until: Option<Instant>) -> Self {
        Guarding { goal: Goal::Sample { copy_until, until }, misfits: BTreeMap::new() }
    }

    /// The way back, with the rows that were noted by earlier processes.
    ///
    /// # Errors
    /// Failed if a note cannot be read.
    pub(crate) fn new(goal: Goal, noted: Vec<Misfit>) -> Result<Self> {
        let misfits = noted
            .into_iter()
            .map(|misfit| {
                let key = misfit.key().ok_or_else(|| {
                    Error::failed(format!("the note of row {} cannot be read", misfit.row))
                })?;
                Ok((key, misfit))
            })
            .collect::<Result<_>>()?;
        Ok(Guarding { goal, misfits })
    }

    /// Whether this is the way back.
    pub(crate) fn goes_back(&self) -> bool {
        matches!(self.goal, Goal::Guard { .. } | Goal::Revert { .. })
    }

    pub(crate) fn goal(&self) -> Goal {
        self.goal
    }

    /// Whether a sample has copied for long enough.
    pub(crate) fn has_copied_enough(&self) -> bool {
        matches!(self.goal, Goal::Sample { copy_until, .. } if Instant::now() >= copy_until)
    }

    /// Whether a sample's time is over.
    pub(crate) fn has_seen_enough(&self) -> bool {
        matches!(self.goal, Goal::Sample { until: Some(until), .. } if Instant::now() >= until)
    }

    /// Whether the guard's time is over.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.goal, Goal::Guard { until } if Instant::now() >= until)
    }

    /// A batch was replayed but for these rows.
    pub(crate) fn replayed(&mut self, keys: &[Key], misfits: Vec<Misfit>) {
        if self.misfits.is_empty() && misfits.is_empty() {
            return;
        }
        let lossless = self.misfits.is_empty();
        let mut news = Vec::new();
        for misfit in misfits {
            if let Some(key) = misfit.key() {
                news.push((key, misfit));
            }
        }
        for key in keys {
            self.misfits.remove(key);
        }
        if let Some((_, misfit)) = news.first() {
            if lossless {
                tracing::warn!("a revert is no longer lossless: row {} {}", misfit.row, misfit.why);
            } else {
                tracing::debug!(row = misfit.row, why = misfit.why, "a row does not fit");
            }
        }
        self.misfits.extend(news);
        if !lossless && self.misfits.is_empty() {
            tracing::info!("every row fits the old structure again: a revert is lossless");
        }
    }

    /// Whether the tables may be swapped back.
    ///
    /// # Errors
    /// Failed when that would lose rows and nobody has accepted it.
    pub(crate) fn permit_revert(&self) -> Result<()> {
        match self.goal {
            Goal::Revert { accept_loss: false } if !self.misfits.is_empty() => {
                Err(not_lossless(self.misfits.values()).keeping_progress())
            }
            _ => Ok(()),
        }
    }

    /// Whether a session may write in STATEMENT format: on the way there the verification finds what it
    /// changed, on the way back nothing does.
    ///
    /// # Errors
    /// Failed on the way back, unless losses are accepted.
    pub(crate) fn permit_statement(&self) -> Result<()> {
        match self.goal {
            Goal::Migrate | Goal::Sample { .. } | Goal::Revert { accept_loss: true } => Ok(()),
            Goal::Guard { .. } | Goal::Revert { accept_loss: false } => Err(Error::failed(
                "a session has written in STATEMENT format since the swap: the old table may lack what it changed",
            )
            .remedy(
                "`replank revert --accept-loss` swaps back all the same; `replank cleanup` gives the revert up.",
            )
            .keeping_progress()),
        }
    }

    /// How it stands, in words.
    pub(crate) fn words(&self) -> Option<String> {
        match self.misfits.len() {
            0 => Some("a revert is lossless".to_owned()),
            n => Some(format!("a revert would lose changes of {n} rows")),
        }
    }
}

/// The error of a revert that would lose these rows.
pub(crate) fn not_lossless<'a>(misfits: impl ExactSizeIterator<Item = &'a Misfit>) -> Error {
    let count = misfits.len();
    let named: Vec<String> =
        misfits.take(NAMED).map(|misfit| format!("row {}: {}", misfit.row, misfit.why)).collect();
    let more = if count > NAMED { format!(" (and {} more)", count - NAMED) } else { String::new() };
    Error::failed(format!(
        "a revert would lose changes of {count} rows that the old structure cannot hold: {}{more}",
        named.join("; ")
    ))
    .remedy(
        "Change these rows so that they fit, and revert then; or give --accept-loss: they stay as they \
         last fitted.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misfit(key: &Key) -> Misfit {
        Misfit::new(key, "id=1".to_owned(), "is too long".to_owned())
    }

    #[test]
    fn a_revert_is_permitted_when_every_row_fits_again_or_the_loss_is_accepted() {
        let (a, b) = (Key::from_digits("01").unwrap(), Key::from_digits("02").unwrap());
        let goal = Goal::Revert { accept_loss: false };
        let mut guarding = Guarding::new(goal, vec![misfit(&a)]).unwrap();
        let error = guarding.permit_revert().unwrap_err();
        assert!(error.what().contains("id=1: is too long") && error.keeps_progress());
        guarding.replayed(&[a.clone(), b.clone()], vec![misfit(&b)]);
        assert!(guarding.permit_revert().is_err(), "another row does not fit");
        guarding.replayed(std::slice::from_ref(&b), Vec::new());
        assert!(guarding.permit_revert().is_ok());
        let goal = Goal::Revert { accept_loss: true };
        let guarding = Guarding::new(goal, vec![misfit(&a)]).unwrap();
        assert!(guarding.permit_revert().is_ok() && guarding.permit_statement().is_ok());
        let goal = Goal::Guard { until: Instant::now() };
        assert!(Guarding::new(goal, Vec::new()).unwrap().permit_statement().is_err());
        assert!(Guarding::none().permit_statement().is_ok());
    }
}
