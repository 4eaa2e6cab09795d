//! Reads the clauses of an ALTER TABLE.

use super::reader::Reader;
use super::{AlterStatement, ConstraintAction, ConstraintKind, NamedConstraint, element};
use crate::error::{Error, Result};
use crate::schema::lexer::{Token, TokenKind, unquote};

const OUTSIDE: &str = "Run this statement on the table by itself, without replank.";

/// Words that begin other statements and no clause.
const STATEMENTS: [&str; 9] =
    ["CREATE", "INSERT", "UPDATE", "DELETE", "REPLACE", "SELECT", "SET", "USE", "CALL"];

/// Words that begin maintenance of single partitions, when PARTITION follows.
const ON_PARTITIONS: [&str; 9] = [
    "DROP",
    "TRUNCATE",
    "REORGANIZE",
    "COALESCE",
    "REBUILD",
    "OPTIMIZE",
    "ANALYZE",
    "CHECK",
    "REPAIR",
];

/// Reads all clauses into `alter`. `base` is where they begin in the text.
pub(super) fn read_all(
    text: &str,
    base: usize,
    tokens: &[Token<'_>],
    alter: &mut AlterStatement,
) -> Result<()> {
    let reader = without_partition_options(Reader::new(text, tokens), alter)?;
    if reader.is_at_end() {
        return Ok(());
    }
    for clause in reader.split_at_commas()? {
        if clause.is_at_end() {
            return Err(Error::refused("the ALTER has an empty clause: a comma too many")
                .remedy("Remove the comma."));
        }
        // The columns after ORDER BY are separated by commas too. The server's grammar takes
        // everything after it as one of them, so no clause can follow.
        if clause.at_sequence(&["ORDER", "BY"]) {
            alter.facts.order_by = true;
            return Ok(());
        }
        Clause { alter, base }.read(clause)?;
    }
    Ok(())
}

/// Cuts off `PARTITION BY …` and `REMOVE PARTITIONING`, which follow the last clause without a
/// comma and end the statement.
fn without_partition_options<'t, 'a>(
    reader: Reader<'t, 'a>,
    alter: &mut AlterStatement,
) -> Result<Reader<'t, 'a>> {
    let tokens = reader.rest();
    for at in reader.outside_parentheses()? {
        let rest = reader.over(tokens.get(at..).unwrap_or_default());
        if rest.at_sequence(&["PARTITION", "BY"]) || rest.at_sequence(&["REMOVE", "PARTITIONING"]) {
            alter.facts.changes_partitioning = true;
            return Ok(reader.over(tokens.get(..at).unwrap_or_default()));
        }
    }
    Ok(reader)
}

struct Clause<'f> {
    alter: &'f mut AlterStatement,
    base: usize,
}

impl Clause<'_> {
    fn read(&mut self, mut reader: Reader<'_, '_>) -> Result<()> {
        refuse_what_replank_does_not_do(&reader)?;
        if reader.eat("ADD") {
            self.add(reader)
        } else if reader.eat("DROP") {
            self.drop(reader)
        } else if reader.eat("CHANGE") {
            self.change(reader)
        } else if reader.eat("MODIFY") {
            reader.eat("COLUMN");
            reader.name("the name of the column")?;
            element::definition(reader, self.base, self.alter)
        } else if reader.eat("RENAME") {
            self.rename(reader)
        } else if reader.eat("ALTER") {
            self.alter(reader)
        } else if reader.eat("CONVERT") {
            if !reader.eat("TO") {
                return Err(reader.unreadable("TO CHARACTER SET is missing"));
            }
            self.alter.facts.convert_charset = true;
            Ok(())
        } else if reader.eat("FORCE") {
            self.alter.facts.force = true;
            reader.end()
        } else if reader.at_sequence(&["WITH", "VALIDATION"])
            || reader.at_sequence(&["WITHOUT", "VALIDATION"])
        {
            // Every row is written anew, so there is nothing to validate or to skip.
            Ok(())
        } else {
            self.table_options(reader)
        }
    }

    fn add(&mut self, mut reader: Reader<'_, '_>) -> Result<()> {
        if reader.eat("PARTITION") {
            self.alter.facts.changes_partitioning = true;
            return Ok(());
        }
        reader.eat("COLUMN");
        if !reader.at_punct("(") {
            return element::read(reader, self.base, self.alter);
        }
        let elements = reader.parenthesised()?;
        for element in reader.over(elements).split_at_commas()? {
            element::read(element, self.base, self.alter)?;
        }
        reader.end()
    }

    fn drop(&mut self, mut reader: Reader<'_, '_>) -> Result<()> {
        let facts = &mut self.alter.facts;
        if reader.eat("PRIMARY") {
            facts.drops_primary = true;
        } else if reader.eat_one_of(&["INDEX", "KEY"]) {
            let name = reader.name("the name of the index")?;
            if name.eq_ignore_ascii_case("PRIMARY") {
                facts.drops_primary = true;
            } else {
                facts.dropped_indexes.push(name);
            }
        } else if reader.eat("FOREIGN") {
            if !reader.eat("KEY") {
                return Err(reader.unreadable("KEY is missing"));
            }
            facts.drops_foreign_key = true;
            self.constraint(reader, ConstraintKind::ForeignKey, ConstraintAction::Drop)?;
        } else if reader.eat("CHECK") {
            self.constraint(reader, ConstraintKind::Check, ConstraintAction::Drop)?;
        } else if reader.eat("CONSTRAINT") {
            let name = self.constraint(reader, ConstraintKind::Any, ConstraintAction::Drop)?;
            let facts = &mut self.alter.facts;
            // DROP CONSTRAINT `PRIMARY` drops the primary key.
            if name.eq_ignore_ascii_case("PRIMARY") {
                facts.drops_primary = true;
                facts.constraints.pop();
            } else {
                facts.drops_foreign_key = true;
            }
        } else {
            reader.eat("COLUMN");
            let name = reader.name("the name of the column")?;
            reader.eat_one_of(&["RESTRICT", "CASCADE"]);
            reader.end()?;
            facts.dropped_columns.push(name);
        }
        Ok(())
    }

    fn change(&mut self, mut reader: Reader<'_, '_>) -> Result<()> {
        reader.eat("COLUMN");
        let old = reader.name("the old name of the column")?;
        let new = reader.name("the new name of the column")?;
        self.rename_column(old, new);
        element::definition(reader, self.base, self.alter)
    }

    fn rename(&mut self, mut reader: Reader<'_, '_>) -> Result<()> {
        let column = reader.eat("COLUMN");
        if !column && !reader.eat_one_of(&["INDEX", "KEY"]) {
            return Err(Error::refused("the ALTER renames the table").remedy(
                "Remove the RENAME clause, and rename the table by itself before or after.",
            ));
        }
        let old = reader.name("the old name")?;
        if !reader.eat("TO") {
            return Err(reader.unreadable("TO is missing"));
        }
        let new = reader.name("the new name")?;
        reader.end()?;
        if column {
            self.rename_column(old, new);
        } else {
            self.alter.facts.renamed_indexes.push((old, new));
        }
        Ok(())
    }

    fn rename_column(&mut self, old: String, new: String) {
        if old != new {
            self.alter.renames.push((old, new));
        }
    }

    fn alter(&mut self, mut reader: Reader<'_, '_>) -> Result<()> {
        let kind = if reader.eat("CHECK") {
            ConstraintKind::Check
        } else if reader.eat("CONSTRAINT") {
            ConstraintKind::Any
        } else {
            // Defaults and visibility are read back from the server.
            return Ok(());
        };
        self.constraint(reader, kind, ConstraintAction::Alter)?;
        Ok(())
    }

    /// Reads and records the name of a constraint.
    fn constraint(
        &mut self,
        mut reader: Reader<'_, '_>,
        kind: ConstraintKind,
        action: ConstraintAction,
    ) -> Result<String> {
        let (name, token) = reader.name_token("the name of the constraint")?;
        let span = token.start - self.base..token.end() - self.base;
        let constraint = NamedConstraint { name: name.clone(), kind, action, span };
        self.alter.facts.constraints.push(constraint);
        Ok(name)
    }

    /// Reads table options, `NAME [=] value`, which need no commas between them.
    fn table_options(&mut self, mut reader: Reader<'_, '_>) -> Result<()> {
        let facts = &mut self.alter.facts;
        while !reader.is_at_end() {
            refuse_what_replank_does_not_do(&reader)?;
            reader.eat("DEFAULT");
            let Some(option) = reader.peek().filter(|token| token.kind == TokenKind::Word) else {
                return Err(reader.unreadable("neither a clause nor a table option"));
            };
            reader.next();
            if option.is_one_of(&["CHARACTER", "CHAR"]) {
                reader.eat("SET");
            } else if option.is_one_of(&["DATA", "INDEX"]) {
                reader.eat("DIRECTORY");
            }
            reader.eat_punct("=");
            if option.is_word("UNION") && reader.at_punct("(") {
                reader.parenthesised()?;
                continue;
            }
            let value = reader.peek().filter(|token| token.kind != TokenKind::Punct);
            let Some(value) = value else {
                return Err(reader.unreadable(&format!("{} has no value", option.text)));
            };
            reader.next();
            facts.sets_auto_increment |= option.is_word("AUTO_INCREMENT");
            facts.sets_comment |= option.is_word("COMMENT");
            if option.is_word("ENGINE") {
                facts.engine = Some(unquote(value.text).into_owned());
            }
        }
        Ok(())
    }
}

fn refuse_what_replank_does_not_do(reader: &Reader<'_, '_>) -> Result<()> {
    let Some(first) = reader.peek() else { return Ok(()) };
    let keyword = first.text.to_ascii_uppercase();
    let refuse = |why: &str, remedy: &str| Err(Error::refused(why).remedy(remedy));
    if reader.at(&["ALGORITHM", "LOCK"]) {
        return refuse(
            &format!("the ALTER gives {keyword}, which is for MySQL's own ALTER TABLE"),
            &format!("Remove {keyword}: replank decides how the change is made."),
        );
    }
    if ON_PARTITIONS.iter().any(|word| reader.at_sequence(&[word, "PARTITION"])) {
        return refuse(
            &format!("{keyword} PARTITION works on single partitions and rebuilds no table"),
            OUTSIDE,
        );
    }
    if reader.at_sequence(&["EXCHANGE", "PARTITION"]) {
        return refuse("EXCHANGE PARTITION swaps rows with another table", OUTSIDE);
    }
    if reader.at(&["DISCARD", "IMPORT"]) {
        return refuse(&format!("{keyword} TABLESPACE replaces the files of the table"), OUTSIDE);
    }
    if reader.at_sequence(&["ENABLE", "KEYS"]) || reader.at_sequence(&["DISABLE", "KEYS"]) {
        return refuse(
            &format!("{keyword} KEYS is for MyISAM and rebuilds no table"),
            "Remove the clause.",
        );
    }
    if reader.at(&["SECONDARY_LOAD", "SECONDARY_UNLOAD"]) {
        return refuse(&format!("{keyword} rebuilds no table"), OUTSIDE);
    }
    if reader.at_sequence(&["CREATE"]) && reader.rest().iter().any(|t| t.is_word("INDEX")) {
        return refuse(
            "CREATE INDEX is no clause of ALTER TABLE",
            "Write ADD INDEX name (columns).",
        );
    }
    if reader.at(&STATEMENTS) {
        return refuse(
            &format!("{keyword} begins another statement, not a clause of ALTER TABLE"),
            super::WANTED,
        );
    }
    Ok(())
}
