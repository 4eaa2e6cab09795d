//! Reads an ALTER TABLE statement for what information_schema cannot tell afterwards.
//!
//! MySQL judges whether the statement is legal: its clauses are run as given on the shadow table,
//! and the result is read back. Two things are lost on that way, and they decide whether data is
//! kept: which column was renamed to which, and whether a column was dropped and another one of the
//! same name added (MySQL fills that one with its default). [`AlterStatement::source_column`]
//! answers both.
//!
//! Why reading a part is safe: the text is cut into tokens by the server's rules and into clauses
//! at top-level commas, as the server's grammar does. The clauses that decide where a column's
//! data comes from (DROP, CHANGE, RENAME COLUMN) must have exactly the form that is known here, and
//! a clause that begins like none of the known ones must be a list of table options; everything
//! else is refused instead of being guessed at. What is known here but illegal is left to the
//! server's own error.
//!
//! All names in the clauses refer to the table as it was before: the renames of one ALTER happen
//! at once, so `RENAME COLUMN a TO b, RENAME COLUMN b TO a` swaps two columns, and
//! `DROP COLUMN a, RENAME COLUMN b TO a` puts b's data under the name a (seen on MySQL 9.7.4).

use std::ops::Range;

use crate::error::{Error, Result};
use crate::schema::lexer::{Dialect, PieceKind, Pieces, Token};

mod clause;
mod element;
mod reader;
#[cfg(test)]
mod tests;

use reader::Reader;

/// An ALTER TABLE statement, or only its clauses, as far as it has to be understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlterStatement {
    /// The schema, if it was named, and the table; `None` if only clauses were given.
    pub table: Option<(Option<String>, String)>,
    /// The text to be put after ``ALTER TABLE `shadow` ``: the clauses as they were given, without
    /// what follows the last token. The marks of version comments that are code on this server
    /// are replaced by spaces, since such a comment may have begun before the clauses.
    /// Nothing may be appended after partition options.
    pub clauses: String,
    /// Columns that get another name, as (old, new). One that changes only in case is included;
    /// one that keeps its name (`CHANGE a a INT`) is not.
    pub renames: Vec<(String, String)>,
    /// What else the clauses do.
    pub facts: Facts,
}

/// What the clauses of an ALTER do, apart from renaming columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The table option AUTO_INCREMENT is given (not the attribute of a column).
    pub sets_auto_increment: bool,
    /// The table option COMMENT is given (not the attribute of a column).
    pub sets_comment: bool,
    /// The table option ENGINE, as it was written.
    pub engine: Option<String>,
    /// `ORDER BY`: rows are to be stored in another order (InnoDB with a primary key ignores it).
    pub order_by: bool,
    /// `FORCE`: the table is to be rebuilt even if nothing changes.
    pub force: bool,
    /// `CONVERT TO CHARACTER SET`: the strings of all columns are converted.
    pub convert_charset: bool,
    /// `PARTITION BY`, `REMOVE PARTITIONING` or `ADD PARTITION`.
    pub changes_partitioning: bool,
    /// Columns that are created, including those that take the name of a dropped one.
    pub added_columns: Vec<String>,
    /// Columns that are dropped.
    pub dropped_columns: Vec<String>,
    /// A unique index is added, named or not, also by the attribute UNIQUE of a column.
    pub added_unique: bool,
    /// A primary key is added, also by the attribute KEY of a column.
    pub adds_primary: bool,
    /// The primary key is dropped, by whatever clause can do it.
    pub drops_primary: bool,
    /// Indexes that are added under a given name, without primary and foreign keys.
    pub added_indexes: Vec<String>,
    /// Indexes that are dropped by name, without the primary key.
    pub dropped_indexes: Vec<String>,
    /// Indexes that get another name, as (old, new).
    pub renamed_indexes: Vec<(String, String)>,
    /// A foreign key is added, also by the attribute REFERENCES of a column.
    pub adds_foreign_key: bool,
    /// A foreign key is dropped, or a constraint of any kind that may be one.
    pub drops_foreign_key: bool,
    /// The foreign keys and checks that are named. Their names belong to the schema, not to the
    /// table, so the shadow table has others than the source.
    pub constraints: Vec<NamedConstraint>,
}

/// The name of a foreign key or check in the clauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedConstraint {
    /// The name, without quotes.
    pub name: String,
    /// What is named, as far as the clause tells.
    pub kind: ConstraintKind,
    /// What is done to it.
    pub action: ConstraintAction,
    /// Where the name stands in [`AlterStatement::clauses`], in bytes, quotes included.
    pub span: Range<usize>,
}

/// A kind of constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstraintKind {
    /// A foreign key.
    ForeignKey,
    /// A CHECK.
    Check,
    /// `DROP CONSTRAINT` and `ALTER CONSTRAINT` do not say which: it may be an index as well.
    Any,
}

/// What a clause does to a constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstraintAction {
    /// `ADD CONSTRAINT name …`, or `CONSTRAINT name CHECK …` in the definition of a column.
    Add,
    /// `DROP FOREIGN KEY name`, `DROP CHECK name`, `DROP CONSTRAINT name`.
    Drop,
    /// `ALTER CHECK name …`, `ALTER CONSTRAINT name …`.
    Alter,
}

const WANTED: &str = "Give one statement such as ALTER TABLE shop.users ADD COLUMN age INT, \
                      or only its clauses with --alter 'ADD COLUMN age INT'.";

impl AlterStatement {
    /// Reads one whole statement, `ALTER TABLE [schema.]table clauses`; a semicolon may end it.
    ///
    /// # Errors
    /// Refused if the text cannot be cut into tokens, if it is anything but one ALTER TABLE
    /// statement, or if a clause cannot be carried out by rebuilding the table.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Self> {
        let script = Script::read(text, dialect)?;
        let mut reader = Reader::new(text, script.statement()?);
        let Some(table) = table(&mut reader)? else {
            let found = script.tokens.first().map_or("nothing", |token| token.text);
            return Err(Error::refused(format!(
                "the statement is no ALTER TABLE: it begins with {found}"
            ))
            .remedy(WANTED));
        };
        script.alter(text, Some(table), reader.rest())
    }

    /// Reads the clauses of an ALTER TABLE, as after `--alter`. A whole statement is taken too;
    /// then `table` says which table it names.
    ///
    /// # Errors
    /// As [`AlterStatement::parse`], but for clauses.
    pub fn parse_clauses(text: &str, dialect: Dialect) -> Result<Self> {
        let script = Script::read(text, dialect)?;
        let mut reader = Reader::new(text, script.statement()?);
        let table = table(&mut reader)?;
        script.alter(text, table, reader.rest())
    }

    /// The name in the old table of the column that is called `name` in the new one, if its data
    /// is kept; `None` if the old column of that name is dropped or renamed away, so that the new
    /// one begins with its default. That the old table has the returned column is for the caller
    /// to check: a column that is simply added has no counterpart there.
    pub fn source_column<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        if let Some((old, _)) = self.renames.iter().find(|(_, new)| same_name(new, name)) {
            return Some(old);
        }
        let mut gone = self.renames.iter().map(|(old, _)| old).chain(&self.facts.dropped_columns);
        (!gone.any(|old| same_name(old, name))).then_some(name)
    }
}

/// Whether two names are the same column or index: MySQL compares them without regard to case.
pub fn same_name(a: &str, b: &str) -> bool {
    let fold = |name: &str| name.chars().flat_map(char::to_lowercase).collect::<String>();
    a == b || fold(a) == fold(b)
}

/// A text cut into tokens, and the same text with the marks of version comments blanked out.
struct Script<'a> {
    tokens: Vec<Token<'a>>,
    plain: String,
}

impl<'a> Script<'a> {
    fn read(text: &'a str, dialect: Dialect) -> Result<Self> {
        let mut script = Script { tokens: Vec::new(), plain: String::with_capacity(text.len()) };
        for piece in Pieces::new(text, dialect) {
            let piece = piece.map_err(|error| error.during("ALTER statement"))?;
            script.tokens.extend(piece.token());
            if piece.kind == PieceKind::Marker {
                script.plain.extend(std::iter::repeat_n(' ', piece.text.len()));
            } else {
                script.plain.push_str(piece.text);
            }
        }
        Ok(script)
    }

    /// The tokens of the one statement, without the semicolons that end it.
    fn statement(&self) -> Result<&[Token<'a>]> {
        let end = self.tokens.iter().rposition(|token| !token.is_punct(";"));
        let tokens = self.tokens.get(..end.map_or(0, |last| last + 1)).unwrap_or_default();
        if tokens.iter().any(|token| token.is_punct(";")) {
            return Err(Error::refused("the text holds several statements")
                .remedy("Give one ALTER TABLE statement at a time."));
        }
        Ok(tokens)
    }

    fn alter(
        &self,
        text: &str,
        table: Option<(Option<String>, String)>,
        clauses: &[Token<'a>],
    ) -> Result<AlterStatement> {
        let (Some(first), Some(last)) = (clauses.first(), clauses.last()) else {
            return Err(Error::refused("the ALTER has no clauses")
                .remedy("Say what to change, or give FORCE to rebuild the table as it is."));
        };
        // Blanking keeps every offset, so the text's offsets are those of `plain`.
        let plain = self.plain.get(first.start..last.end()).unwrap_or_default();
        let mut alter =
            AlterStatement { table, clauses: plain.to_owned(), ..AlterStatement::default() };
        clause::read_all(text, first.start, clauses, &mut alter)?;
        Ok(alter)
    }
}

/// Reads `ALTER [ONLINE|OFFLINE] TABLE [schema.]table`; reads nothing and returns `None` if the
/// text begins otherwise.
fn table(reader: &mut Reader<'_, '_>) -> Result<Option<(Option<String>, String)>> {
    let start = *reader;
    if !reader.eat("ALTER") {
        return Ok(None);
    }
    let ignore = reader.eat("IGNORE");
    if !ignore && !reader.eat("ONLINE") {
        reader.eat("OFFLINE");
    }
    if !reader.eat("TABLE") {
        *reader = start;
        return Ok(None);
    }
    if ignore {
        return Err(Error::refused("ALTER IGNORE drops the rows that do not fit")
            .remedy("Remove IGNORE, and the duplicate rows before a unique index is added."));
    }
    let first = reader.name("the name of the table")?;
    if !reader.eat_punct(".") {
        return Ok(Some((None, first)));
    }
    let second = reader.name("the name of the table")?;
    Ok(Some((Some(first), second)))
}
