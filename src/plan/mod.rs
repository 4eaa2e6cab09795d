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
use crate::schema::table::{Column, Generation, Index, Table};
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
    /// Columns of the shadow table that no column of the source feeds, and whose values are kept when a row
    /// is replayed. There are none in a migration, where such a column has the same value in every row; on
    /// the way back these are the columns that the ALTER had dropped.
    pub preserved: Vec<Column>,
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
        let warnings = columns.warnings();
        let mut plan = Plan::of(names, source, shadow, columns, warnings)?;
        plan.carries_auto_increment &= !alter.facts.sets_auto_increment;
        Ok(plan)
    }

    /// The plan of the way back after the swap: `new` is the table that has the source's name now, `old` the
    /// one that had it before.
    ///
    /// # Errors
    /// Refused when no key is common to both.
    pub fn back(names: Names, new: Table, old: Table, alter: &AlterStatement) -> Result<Plan> {
        let columns = ColumnMap::inverse(&new, &old, alter);
        let lost = columns.dropped.iter().filter(|column| column.generation == Generation::Plain);
        let mut warnings: Vec<String> = lost
            .map(|column| {
                format!("a revert loses the column {}: only the new table has it", column.name)
            })
            .collect();
        warnings.extend(columns.mapped.iter().filter(|column| column.converts()).map(|column| {
            format!(
                "a revert converts {} from {} to {} in rows that were changed since the swap",
                column.target.name,
                column.source.full_type(),
                column.target.full_type()
            )
        }));
        let preserved = columns.added.clone();
        if !preserved.is_empty() {
            warnings.push(format!(
                "a revert gives {} their defaults in rows that are new, or whose key was changed, since the swap",
                list(preserved.iter().map(|column| &column.name))
            ));
        }
        let plan = Plan::of(names, new, old, columns, warnings)?;
        Ok(Plan { preserved, ..plan })
    }

    fn of(
        names: Names,
        source: Table,
        shadow: Table,
        columns: ColumnMap,
        mut warnings: Vec<String>,
    ) -> Result<Plan> {
        let key = ChosenKey::choose(&source, &shadow, &columns)?;
        let other_uniques = shadow
            .indexes
            .iter()
            .filter(|index| index.unique && index.name != key.shadow_index)
            .cloned()
            .collect();
        if !key.primary {
            warnings.push(format!(
                "{} has no PRIMARY KEY that is kept; rows are found by the unique index {}",
                source.name, key.source_index
            ));
        }
        let carries_auto_increment =
            shadow.columns.iter().any(|c| c.extra.contains("auto_increment"));
        Ok(Plan {
            names,
            source,
            shadow,
            columns,
            key,
            other_uniques,
            preserved: Vec::new(),
            carries_auto_increment,
            warnings,
        })
    }

    /// `INSERT INTO shadow (…) SELECT … FROM source` up to and including `WHERE`.
    ///
    /// `verb` is `INSERT` or `REPLACE`, `into` the shadow table or a scratch table of its structure.
    pub fn insert_select(&self, verb: &str, into: &str) -> String {
        let targets = list(self.columns.written().map(|(target, _)| target));
        format!("{verb} INTO {into} ({targets}) {}", self.select())
    }

    /// `SELECT … FROM source` up to and including `WHERE`: the rows as the shadow table is to hold them, each
    /// value under its name there.
    pub fn select(&self) -> String {
        let values =
            list(self.columns.written().map(|(target, value)| format!("{value} AS {target}")));
        format!(
            "SELECT {values} FROM {} FORCE INDEX ({}) WHERE ",
            self.names.source, self.key.source_index
        )
    }

    /// Whether the server computes values of the shadow table's rows when they are written: generated columns,
    /// functional indexes, defaults that are expressions. All of these may depend on the session's time
    /// zone, as in `DATE(created)` of a TIMESTAMP.
    pub fn computes(&self) -> bool {
        let generated = |table: &Table| {
            table.columns.iter().any(|column| column.generation != Generation::Plain)
        };
        let functional = self.shadow.indexes.iter().flat_map(|index| &index.parts);
        let mut defaults = self.columns.added.iter().chain(&self.preserved);
        generated(&self.source)
            || generated(&self.shadow)
            || functional.clone().any(|part| part.expression.is_some())
            || defaults.any(|column| column.extra.contains("DEFAULT_GENERATED"))
    }

    /// The columns whose values are numbers or times, and may be rounded when they are converted: the server
    /// says nothing then.
    pub fn rounded(&self) -> impl Iterator<Item = &MappedColumn> {
        self.columns.mapped.iter().filter(|column| {
            column.converts() && column.source.is_measure() && column.target.is_measure()
        })
    }

    /// Whether a row may be written with REPLACE: where the key is the shadow table's one unique
    /// index, REPLACE can remove no other row than the one it replaces.
    pub fn key_is_only_unique(&self) -> bool {
        self.other_uniques.is_empty()
    }
}
