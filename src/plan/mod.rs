//! From the source's structure and the shadow table's to what has to be done: pure, no I/O.
//!
//! The shadow table was made with the user's ALTER, so the server itself has said what the new
//! structure is. What it cannot say is which old column a new one stems from: that is read from the
//! ALTER text ([`crate::schema::alter`]).

mod columns;
mod key;
mod names;

pub use columns::{ColumnMap, MappedColumn};
pub use key::ChosenKey;
pub use names::Names;

use crate::error::Result;
use crate::schema::alter::AlterStatement;
use crate::schema::table::{Index, Table};
use crate::sql::list;

/// Everything that copy, replay, verification and cut-over need to know about the two tables.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The tables of the run.
    pub names: Names,
    /// The structure of the source.
    pub source: Table,
    /// The structure of the shadow table.
    pub shadow: Table,
    /// Which column of the source feeds which column of the shadow table.
    pub columns: ColumnMap,
    /// The key by which rows are found.
    pub key: ChosenKey,
    /// Unique indexes of the shadow table other than the key.
    pub other_uniques: Vec<Index>,
    /// Whether the source's AUTO_INCREMENT value goes over to the new table.
    pub carries_auto_increment: bool,
    /// Things the operator should know before the run.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Compares the structures.
    ///
    /// # Errors
    /// Refused when no key is common to both, or when a new column cannot be filled.
    pub fn new(
        names: Names,
        source: Table,
        shadow: Table,
        alter: &AlterStatement,
        started_at: &str,
    ) -> Result<Plan> {
        let columns = ColumnMap::new(&source, &shadow, alter, started_at)?;
        let key = ChosenKey::choose(&source, &shadow, &columns)?;
        let other_uniques = shadow
            .indexes
            .iter()
            .filter(|index| index.unique && index.name != key.shadow_index)
            .cloned()
            .collect();
        let mut warnings = columns.warnings();
        if !key.primary {
            warnings.push(format!(
                "{} has no PRIMARY KEY that is kept; rows are found by the unique index {}",
                source.name, key.source_index
            ));
        }
        let carries_auto_increment =
            shadow.columns.iter().any(|c| c.extra.contains("auto_increment"))
                && !alter.facts.sets_auto_increment;
        Ok(Plan {
            names,
            source,
            shadow,
            columns,
            key,
            other_uniques,
            carries_auto_increment,
            warnings,
        })
    }

    /// `INSERT INTO shadow (…) SELECT … FROM source` up to and including `WHERE`.
    ///
    /// `verb` is `INSERT` or `REPLACE`, `into` the shadow table or a scratch table of its structure.
    pub fn insert_select(&self, verb: &str, into: &str) -> String {
        let targets = list(self.columns.written().map(|(target, _)| target.clone()));
        let values = list(self.columns.written().map(|(_, value)| value));
        format!(
            "{verb} INTO {into} ({targets}) SELECT {values} FROM {} FORCE INDEX ({}) WHERE ",
            self.names.source, self.key.source_index
        )
    }

    /// Whether a row may be written with REPLACE: where the key is the shadow table's one unique
    /// index, REPLACE can remove no other row than the one it replaces.
    pub fn key_is_only_unique(&self) -> bool {
        self.other_uniques.is_empty()
    }
}
