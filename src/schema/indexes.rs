//! Index definitions as SHOW CREATE TABLE prints them: which can be left off a table while it is filled, and
//! be added later word by word.
//!
//! The server prints every index on a line of its own, in a form that it reads again, with everything that
//! belongs to it (comment, parser, visibility). So nothing of it has to be understood here but its kind.

use crate::schema::table::Table;
use crate::sql::Ident;

/// How a definition begins.
const PLAIN: &str = "KEY `";
const FULLTEXT: &str = "FULLTEXT KEY `";
const SPATIAL: &str = "SPATIAL KEY `";

/// A definition line, if this line is one of an index that is not unique: without indentation and comma.
fn definition(line: &str) -> Option<&str> {
    // Behind a parser's name the server leaves a space, before a comma or without one.
    let line = line.trim().trim_end_matches(',').trim_end();
    [PLAIN, FULLTEXT, SPATIAL].iter().any(|begin| line.starts_with(begin)).then_some(line)
}

/// The definitions of the indexes that can be added when the table is filled: those that are not unique.
/// An AUTO_INCREMENT column needs one that begins with it; then those before that one stay as well, since the
/// server lists indexes in the order in which they were added.
pub fn deferrable(create: &str, table: &Table) -> Vec<String> {
    let counter = table.columns.iter().find(|column| column.extra.contains("auto_increment"));
    let begins_with =
        |name: &Ident, unique: bool| {
            table.indexes.iter().filter(move |index| index.unique == unique).find(|index| {
                index.parts.first().and_then(|part| part.column.as_ref()) == Some(name)
            })
        };
    // The one that has to stay, unless a unique one serves the counter.
    let needed = counter
        .filter(|counter| begins_with(&counter.name, true).is_none())
        .and_then(|counter| begins_with(&counter.name, false))
        .map(|index| format!("{PLAIN}{}", &index.name.to_string()[1..]));
    let all: Vec<&str> = create.lines().filter_map(definition).collect();
    let stays = needed.and_then(|needed| all.iter().rposition(|line| line.starts_with(&needed)));
    all[stays.map_or(0, |at| at + 1)..].iter().map(|line| (*line).to_owned()).collect()
}

/// The name of the index that a definition is of, quoted.
pub fn name_of(definition: &str) -> String {
    let begin = definition.find('`').unwrap_or_default();
    let mut end = begin + 1;
    let bytes = definition.as_bytes();
    while end < bytes.len() {
        match (bytes[end], bytes.get(end + 1)) {
            (b'`', Some(b'`')) => end += 2,
            (b'`', _) => break,
            _ => end += 1,
        }
    }
    definition.get(begin..=end).unwrap_or(definition).to_owned()
}

/// Those of the definitions that a table does not have yet.
pub fn missing(create: &str, definitions: &[String]) -> Vec<String> {
    let present: Vec<&str> = create.lines().filter_map(definition).collect();
    definitions.iter().filter(|wanted| !present.contains(&wanted.as_str())).cloned().collect()
}

/// The structure that SHOW CREATE TABLE prints, without these indexes: two tables are alike if they differ in
/// these alone.
pub fn without(create: &str, definitions: &[String]) -> String {
    let kept = create
        .lines()
        .filter(|line| {
            definition(line).is_none_or(|line| !definitions.iter().any(|wanted| wanted == line))
        })
        // The last line of the columns and indexes has no comma, whichever it is.
        .map(|line| line.trim_end_matches(',').trim_end());
    kept.collect::<Vec<_>>().join("\n")
}

/// The clauses of the ALTERs that add the indexes: all at once, since that reads the table once, but for
/// FULLTEXT ones, of which InnoDB builds only one at a time (error 1795), and which the server lists last.
pub fn alters(definitions: &[String]) -> Vec<String> {
    let (fulltext, others): (Vec<_>, Vec<_>) =
        definitions.iter().partition(|definition| definition.starts_with(FULLTEXT));
    let together = others.iter().map(|definition| format!("ADD {definition}")).collect::<Vec<_>>();
    let together = (!together.is_empty()).then(|| together.join(", "));
    together.into_iter().chain(fulltext.iter().map(|d| format!("ADD {d}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: &str = "CREATE TABLE `t` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  `a``b` int,\n  \
        `KEY `` int DEFAULT NULL,\n  PRIMARY KEY (`id`),\n  UNIQUE KEY `u` (`a``b`),\n  KEY `a``b` (`a``b`),\n  \
        KEY `k` (`id`,`a``b` DESC) COMMENT 'x, y',\n  FULLTEXT KEY `f` (`c`) /*!50100 WITH PARSER `ngram` */ ,\n  \
        SPATIAL KEY `s` (`p`)\n) ENGINE=InnoDB";

    fn lines() -> Vec<String> {
        CREATE.lines().filter_map(definition).map(str::to_owned).collect()
    }

    #[test]
    fn indexes_that_are_not_unique_are_found_word_by_word() {
        assert_eq!(
            lines(),
            [
                "KEY `a``b` (`a``b`)",
                "KEY `k` (`id`,`a``b` DESC) COMMENT 'x, y'",
                "FULLTEXT KEY `f` (`c`) /*!50100 WITH PARSER `ngram` */",
                "SPATIAL KEY `s` (`p`)"
            ]
        );
        assert_eq!(name_of(&lines()[0]), "`a``b`");
        assert_eq!(name_of(&lines()[2]), "`f`");
    }

    #[test]
    fn a_table_without_them_is_alike_and_lacks_them() {
        let (some, all) = (lines()[2..].to_vec(), lines());
        let stripped = without(CREATE, &all);
        assert!(!stripped.contains("FULLTEXT") && stripped.contains("UNIQUE KEY `u` (`a``b`)\n)"));
        assert_eq!(without(&stripped, &all), stripped);
        assert_eq!(missing(&stripped, &all), all);
        assert_eq!(missing(CREATE, &all), Vec::<String>::new());
        assert_eq!(without(CREATE, &some), without(&without(CREATE, &some), &some));
    }

    #[test]
    fn indexes_are_added_at_once_and_fulltext_ones_one_by_one() {
        let alters = alters(&lines());
        assert_eq!(alters.len(), 2);
        assert!(alters[0].starts_with("ADD KEY `a``b`") && alters[0].contains(", ADD SPATIAL"));
        assert!(alters[1].starts_with("ADD FULLTEXT"));
    }
}
