//! Where a stopped run goes on, and how far it has come.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::key::Key;
use crate::ledger::{Edge, Range};
use crate::progress::Phase;
use crate::stream::Position;

/// Written with heartbeats, about once a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The safe position (I5): a run that goes on reads the binlog from here.
    #[serde(flatten)]
    pub position: Position,
    /// Whether the position is known to be behind the swap of the tables.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub behind_swap: bool,
    /// The phase.
    pub phase: Phase,
    /// Rows copied by all processes of the run.
    pub rows_copied: u64,
    /// Estimated rows of the table.
    pub rows_estimated: u64,
    /// Rows compared in this phase.
    pub rows_verified: u64,
    /// Changed keys replayed by all processes of the run.
    pub keys_replayed: u64,
    /// Changed keys that wait for replay.
    pub backlog: u64,
    /// What the run waits for, if it waits.
    pub waiting: Option<String>,
    /// How much of the server the copy takes, and why.
    #[serde(default)]
    pub pace: Option<String>,
    /// When this was written, UTC.
    pub written: String,
}

/// A chunk as it is noted in the transaction that copies it (I4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkNote {
    /// The edges, exactly: see [`ChunkNote::of`].
    lo: String,
    hi: String,
    /// The edges in words.
    range: String,
}

/// The texts of the edges that are no keys.
const START: &str = "<";
const END: &str = ">";

impl ChunkNote {
    /// The note of a chunk; `words` says to people which one it is.
    pub fn of(range: &Range<Key>, words: &str) -> Self {
        let edge = |edge: &Edge<Key>| match edge {
            Edge::Start => START.to_owned(),
            Edge::At(key) => key.to_digits(),
            Edge::End => END.to_owned(),
        };
        ChunkNote { lo: edge(&range.lo), hi: edge(&range.hi), range: words.to_owned() }
    }

    /// The chunk's range.
    ///
    /// # Errors
    /// Failed if the note is not one of [`of`](Self::of).
    pub fn range(&self) -> Result<Range<Key>> {
        let edge = |text: &str| match text {
            START => Some(Edge::Start),
            END => Some(Edge::End),
            digits => Key::from_digits(digits).map(Edge::At),
        };
        match (edge(&self.lo), edge(&self.hi)) {
            (Some(lo), Some(hi)) => Ok(Range { lo, hi }),
            _ => Err(Error::failed(format!("the note of chunk {} cannot be read", self.range))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyPart, KeySpec, PartType, PartValue};
    use crate::sql::Ident;

    #[test]
    fn a_chunk_note_gives_its_range_back() {
        let ty = PartType::Int { bytes: 8, unsigned: false };
        let spec = KeySpec::new(vec![KeyPart { name: Ident::new("id"), ordinal: 0, ty }]);
        let key = |value| Edge::At(spec.key_from_values(&[PartValue::Int(value)]).unwrap());
        for range in [
            Range { lo: Edge::Start, hi: key(-5) },
            Range { lo: key(-5), hi: key(i64::MAX) },
            Range { lo: key(0), hi: Edge::End },
        ] {
            let note = ChunkNote::of(&range, "in words");
            let text = serde_json::to_string(&note).unwrap();
            let read: ChunkNote = serde_json::from_str(&text).unwrap();
            assert_eq!(read.range().unwrap(), range);
        }
        let broken = ChunkNote { lo: "zz".into(), hi: END.into(), range: "x".into() };
        assert!(broken.range().is_err());
    }

    #[test]
    fn a_checkpoint_is_one_flat_record() {
        let checkpoint = Checkpoint {
            position: Position { file: "binlog.000007".into(), offset: 1234 },
            behind_swap: false,
            phase: Phase::Copy,
            rows_copied: 5,
            rows_estimated: 10,
            rows_verified: 0,
            keys_replayed: 3,
            backlog: 1,
            waiting: None,
            pace: None,
            written: "2026-11-23T09:00:00Z".into(),
        };
        let text = serde_json::to_string(&checkpoint).unwrap();
        assert!(text.contains(r#""file":"binlog.000007","offset":1234,"phase":"copy""#), "{text}");
        assert_eq!(serde_json::from_str::<Checkpoint>(&text).unwrap(), checkpoint);
    }
}
