//! Which column of the source feeds which column of the shadow table.

use crate::error::{Error, Result};
use crate::schema::alter::AlterStatement;
use crate::schema::table::{Column, Generation, Table};
use crate::sql::{self, Ident};

/// A column of the shadow table that takes its values from a column of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedColumn {
    /// The column of the shadow table.
    pub target: Column,
    /// The column of the source, possibly of another name, possibly a generated one.
    pub source: Column,
}

impl MappedColumn {
    /// Whether the server may have to convert the value on its way.
    pub fn converts(&self) -> bool {
        !self.source.same_type(&self.target)
    }

    /// The expression over the source that gives the target the value that the server's own ALTER
    /// would give it.
    ///
    /// INSERT … SELECT converts most pairs of types as ALTER does, but not all (tests/conversions.rs
    /// tries every pair). ALTER turns a number into text as the column displays it: FLOAT with six
    /// digits, DOUBLE(12,4) with four decimals, ZEROFILL with its zeros. Into ENUM, SET and JSON it goes
    /// by way of that text, and not by number. And what becomes a BIT is taken as a whole number, while
    /// INSERT would store the bytes of a text and cut off fractions.
    fn value(&self) -> String {
        let name = &self.source.name;
        let (from, to) = (&*self.source.data_type, &*self.target.data_type);
        if !self.converts() {
            return name.to_string();
        }
        if is_number(from) && goes_by_text(to) {
            format!("CAST({name} AS CHAR)")
        } else if to == "bit" && has_whole_number(from) {
            format!("CAST({name} AS SIGNED)")
        } else {
            name.to_string()
        }
    }
}

fn is_integer(data_type: &str) -> bool {
    matches!(data_type, "tinyint" | "smallint" | "mediumint" | "int" | "bigint")
}

/// Types other than integers whose values ALTER takes as whole numbers.
fn has_whole_number(data_type: &str) -> bool {
    matches!(data_type, "decimal" | "float" | "double" | "date" | "time" | "datetime" | "timestamp")
        || matches!(data_type, "char" | "varchar" | "binary" | "varbinary" | "json")
        || data_type.ends_with("text")
        || data_type.ends_with("blob")
}

fn is_number(data_type: &str) -> bool {
    is_integer(data_type) || matches!(data_type, "decimal" | "float" | "double" | "year")
}

/// Types into which ALTER converts a number by way of its text. TEXT and BLOB do so in INSERT as well.
fn goes_by_text(data_type: &str) -> bool {
    matches!(data_type, "char" | "varchar" | "binary" | "varbinary" | "enum" | "set" | "json")
}

/// The mapping of all columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMap {
    /// Plain columns of the shadow table that exist in the source.
    pub mapped: Vec<MappedColumn>,
    /// Plain columns that are new, filled by their default.
    pub added: Vec<Column>,
    /// New columns whose default is the current time, with the time at which the run began: the same
    /// for every row, as a native ALTER has it, however often a row is replayed.
    pub stamped: Vec<(Ident, String)>,
    /// Columns of the source that the shadow table does not have.
    pub dropped: Vec<Column>,
}

impl ColumnMap {
    /// Matches columns by name, after renames.
    ///
    /// All renames of one ALTER take effect together (MySQL manual, "ALTER TABLE Statement"), so
    /// `RENAME COLUMN a TO b, RENAME COLUMN b TO a` swaps two columns. A column that the ALTER both
    /// drops and adds is a new one.
    ///
    /// # Errors
    /// Refused when an added column is AUTO_INCREMENT: the numbers would depend on the copy's order.
    ///
    /// `started_at` is the time of the run's beginning in the session's time zone.
    pub fn new(
        source: &Table,
        shadow: &Table,
        alter: &AlterStatement,
        started_at: &str,
    ) -> Result<ColumnMap> {
        let origin = |target: &Ident| -> Option<&Column> {
            source.column(&Ident::new(alter.source_column(target.as_str())?))
        };
        let map = ColumnMap::of(source, shadow, origin, started_at);
        if let Some(column) = map.added.iter().find(|c| c.extra.contains("auto_increment")) {
            return Err(Error::refused(format!(
                "the new column {} is AUTO_INCREMENT: its numbers would depend on the order of the copy",
                column.name
            ))
            .remedy("Add the column without AUTO_INCREMENT, fill it, and then change it."));
        }
        Ok(map)
    }

    /// The way back after the swap: which column of the new table feeds which one of the old table.
    pub fn inverse(new: &Table, old: &Table, alter: &AlterStatement) -> ColumnMap {
        let origin = |target: &Ident| -> Option<&Column> {
            new.columns.iter().find(|column| {
                alter
                    .source_column(column.name.as_str())
                    .and_then(|name| old.column(&Ident::new(name)))
                    .is_some_and(|column| column.name == *target)
            })
        };
        // A row that is new gets the time at which it comes to the old table, as it would have there.
        ColumnMap { stamped: Vec::new(), ..ColumnMap::of(new, old, origin, "") }
    }

    fn of<'a>(
        source: &'a Table,
        shadow: &Table,
        origin: impl Fn(&Ident) -> Option<&'a Column>,
        started_at: &str,
    ) -> ColumnMap {
        let mut map = ColumnMap {
            mapped: Vec::new(),
            added: Vec::new(),
            stamped: Vec::new(),
            dropped: Vec::new(),
        };
        let mut kept = vec![false; source.columns.len()];
        for target in &shadow.columns {
            let from = origin(&target.name);
            if let Some(column) = from {
                kept[column.ordinal] = true;
            }
            match (target.generation, from) {
                (Generation::Plain, Some(column)) => {
                    map.mapped.push(MappedColumn { target: target.clone(), source: column.clone() })
                }
                (Generation::Plain, None) => map.added.push(target.clone()),
                (Generation::Stored | Generation::Virtual, _) => {}
            }
        }
        map.dropped = source
            .columns
            .iter()
            .zip(&kept)
            .filter(|(_, kept)| !**kept)
            .map(|(column, _)| column.clone())
            .collect();
        map.stamped = map
            .added
            .iter()
            .filter(|c| c.default.as_deref().is_some_and(|d| d.starts_with("CURRENT_TIMESTAMP")))
            .map(|column| (column.name.clone(), sql::text(started_at)))
            .collect();
        map
    }

    /// Columns that an INSERT into the shadow table names, each with the column or expression that
    /// gives its value.
    pub fn written(&self) -> impl Iterator<Item = (&Ident, String)> {
        let mapped = self.mapped.iter().map(|column| (&column.target.name, column.value()));
        mapped.chain(self.stamped.iter().map(|(name, value)| (name, value.clone())))
    }

    /// Whether any value may be converted.
    pub fn converts(&self) -> bool {
        self.mapped.iter().any(MappedColumn::converts)
    }

    /// Whether a conversion depends on the session's time zone: TIMESTAMP to or from another type.
    pub fn depends_on_time_zone(&self) -> bool {
        self.mapped.iter().any(|column| {
            let timestamps = [&column.source, &column.target]
                .into_iter()
                .filter(|c| c.data_type == "timestamp")
                .count();
            timestamps == 1
        })
    }

    /// The shadow table's column that a column of the source feeds under an unchanged meaning.
    pub fn target_of(&self, source: &Ident) -> Option<&Column> {
        self.mapped.iter().find(|column| &column.source.name == source).map(|column| &column.target)
    }

    /// What the operator should know.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self
            .dropped
            .iter()
            .map(|column| {
                format!("the data of column {} will be gone from the new table", column.name)
            })
            .collect();
        for column in self.mapped.iter().filter(|column| column.converts()) {
            warnings.push(format!(
                "column {} changes from {} to {}; a value that does not fit stops the run",
                column.target.name,
                column.source.full_type(),
                column.target.full_type()
            ));
        }
        warnings
    }
}
