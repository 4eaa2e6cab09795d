//! A row of the new table that the old structure cannot hold: while there is one, a revert would lose data.

use serde::{Deserialize, Serialize};

use crate::key::Key;
use crate::sql::stable_hash;

/// Such a row, as it is noted in the transaction that replays its neighbours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misfit {
    /// The row's key, exactly.
    key: String,
    /// The row's key in words.
    pub row: String,
    /// Why it does not fit, as the server says.
    pub why: String,
}

impl Misfit {
    /// A row that does not fit; `row` says to people which one it is.
    pub fn new(key: &Key, row: String, why: String) -> Self {
        Misfit { key: key.to_digits(), row, why }
    }

    /// The row's key; None if the note is not one of [`new`](Self::new).
    pub fn key(&self) -> Option<Key> {
        Key::from_digits(&self.key)
    }

    /// The number of its row in the state table. Two keys have the same one with a probability of 2^-64.
    pub(super) fn number(&self) -> u64 {
        number(&self.key)
    }

    pub(super) fn number_of(key: &Key) -> u64 {
        number(&key.to_digits())
    }
}

/// Equal keys may differ in the bytes that stand behind the colon, so these do not count.
fn number(digits: &str) -> u64 {
    stable_hash(digits.split(':').next().unwrap_or(digits))
}
