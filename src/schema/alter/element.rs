//! Reads what ADD, MODIFY and CHANGE define: a column, an index or a constraint.
//!
//! PRIMARY, UNIQUE, KEY, REFERENCES, CONSTRAINT, CHECK and the like are reserved words: outside
//! parentheses, unquoted and not after a dot, each of them is the keyword and cannot be a name.

use super::reader::Reader;
use super::{AlterStatement, ConstraintAction, ConstraintKind, NamedConstraint};
use crate::error::Result;
use crate::schema::lexer::Token;

/// Reads one element of `ADD` or `ADD (…)`. `base` is where the clauses begin in the text.
pub(super) fn read(
    mut reader: Reader<'_, '_>,
    base: usize,
    alter: &mut AlterStatement,
) -> Result<()> {
    let mut symbol = None;
    let constraint = reader.eat("CONSTRAINT");
    if constraint && !reader.at(&["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]) {
        symbol = Some(reader.name_token("the name of the constraint")?);
    }
    let facts = &mut alter.facts;
    if reader.eat("PRIMARY") {
        facts.adds_primary = true;
    } else if reader.eat("UNIQUE") {
        reader.eat_one_of(&["INDEX", "KEY"]);
        facts.added_unique = true;
        facts.added_indexes.extend(index_name(&reader).or(symbol.map(|(name, _)| name)));
    } else if reader.eat("FOREIGN") {
        facts.adds_foreign_key = true;
        let added = |(name, token)| named(name, token, ConstraintKind::ForeignKey, base);
        facts.constraints.extend(symbol.map(added));
    } else if reader.eat("CHECK") {
        let added = |(name, token)| named(name, token, ConstraintKind::Check, base);
        facts.constraints.extend(symbol.map(added));
    } else if constraint {
        return Err(reader.unreadable("the kind of the constraint is missing"));
    } else if reader.eat_one_of(&["INDEX", "KEY"]) {
        facts.added_indexes.extend(index_name(&reader));
    } else if reader.eat_one_of(&["FULLTEXT", "SPATIAL"]) {
        reader.eat_one_of(&["INDEX", "KEY"]);
        facts.added_indexes.extend(index_name(&reader));
    } else {
        let name = reader.name("the name of the column")?;
        facts.added_columns.push(name);
        definition(reader, base, alter)?;
    }
    Ok(())
}

/// Reads the definition of a column, after its name.
pub(super) fn definition(
    reader: Reader<'_, '_>,
    base: usize,
    alter: &mut AlterStatement,
) -> Result<()> {
    let facts = &mut alter.facts;
    if reader.is_at_end() || reader.peek().is_some_and(|token| token.name().is_none()) {
        return Err(reader.unreadable("the type of the column is missing"));
    }
    let tokens = reader.rest();
    let mut previous: Option<&Token<'_>> = None;
    for at in reader.outside_parentheses()? {
        let Some(token) = tokens.get(at) else { continue };
        // KEY by itself means PRIMARY KEY.
        let of_unique = previous.is_some_and(|p| p.is_word("UNIQUE"));
        if previous.is_some_and(|p| p.is_punct(".")) {
            // A name, whatever it looks like.
        } else if token.is_word("UNIQUE") {
            facts.added_unique = true;
        } else if token.is_one_of(&["PRIMARY", "KEY"]) && !of_unique {
            facts.adds_primary = true;
        } else if token.is_word("REFERENCES") {
            facts.adds_foreign_key = true;
        } else if token.is_word("CONSTRAINT") {
            let mut rest = reader.over(tokens.get(at + 1..).unwrap_or_default());
            if !rest.at(&["CHECK"]) {
                let (name, token) = rest.name_token("the name of the constraint")?;
                facts.constraints.push(named(name, token, ConstraintKind::Check, base));
            }
        }
        previous = Some(token);
    }
    Ok(())
}

/// The name of an index, which is optional: what comes instead is its type or its columns.
fn index_name(reader: &Reader<'_, '_>) -> Option<String> {
    let token = reader.peek().filter(|token| !token.is_word("USING"))?;
    token.name().map(|name| name.into_owned())
}

fn named(name: String, token: Token<'_>, kind: ConstraintKind, base: usize) -> NamedConstraint {
    let span = token.start - base..token.end() - base;
    NamedConstraint { name, kind, action: ConstraintAction::Add, span }
}
