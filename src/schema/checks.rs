//! Names of CHECK constraints, which belong to the schema and not to the table.
//!
//! So `CREATE TABLE … LIKE` cannot give the copy the same names: it calls them `<copy>_chk_1`, `_chk_2`, … in
//! the order in which SHOW CREATE TABLE prints them (MySQL manual, "CREATE TABLE ... LIKE Statement"). An
//! ALTER that names a constraint of the source means its counterpart in the shadow table. RENAME TABLE turns
//! names of the form `<table>_chk_<n>` into those of the new table name; other names are lost.

use super::alter::{AlterStatement, ConstraintAction, ConstraintKind, same_name};
use crate::sql::Ident;

/// The names of the CHECK constraints in an answer of SHOW CREATE TABLE, in order.
pub fn check_names(create: &str) -> Vec<String> {
    create
        .lines()
        .filter_map(|line| {
            let rest = line.trim_start().strip_prefix("CONSTRAINT `")?;
            // A backtick within a name is printed doubled, so the first "` " ends the name.
            let (name, rest) = rest.split_once("` ")?;
            rest.starts_with("CHECK ").then(|| name.replace("``", "`"))
        })
        .collect()
}

/// The clauses of an ALTER with the names of the source's constraints replaced by those of the shadow
/// table's, where the ALTER drops or alters one.
pub fn for_shadow(alter: &AlterStatement, source: &[String], shadow: &[String]) -> String {
    let mut clauses = alter.clauses.clone();
    let mut named: Vec<_> = alter
        .facts
        .constraints
        .iter()
        .filter(|constraint| {
            constraint.kind != ConstraintKind::ForeignKey
                && constraint.action != ConstraintAction::Add
        })
        .collect();
    // From the end, so that the places of the others stay right.
    named.sort_by_key(|constraint| std::cmp::Reverse(constraint.span.start));
    for constraint in named {
        let at = source.iter().position(|name| same_name(name, &constraint.name));
        if let Some(name) = at.and_then(|at| shadow.get(at)) {
            clauses.replace_range(constraint.span.clone(), &Ident::new(name).to_string());
        }
    }
    clauses
}

/// Names that a swap cannot keep: all but those that MySQL itself gives to a table's constraints.
pub fn lost_names<'a>(table: &Ident, names: &'a [String]) -> Vec<&'a String> {
    let own = format!("{}_chk_", table.as_str());
    names.iter().filter(|name| !name.starts_with(&own)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::lexer::Dialect;

    const CREATE: &str = "CREATE TABLE `t` (\n  `a` int DEFAULT NULL,\n  \
        CONSTRAINT `fk` FOREIGN KEY (`a`) REFERENCES `p` (`id`),\n  \
        CONSTRAINT `posi``tive` CHECK ((`a` > 0)),\n  CONSTRAINT `t_chk_1` CHECK ((`a` < 9))\n)";

    #[test]
    fn names_are_read_in_order_and_foreign_keys_passed_over() {
        assert_eq!(check_names(CREATE), ["posi`tive", "t_chk_1"]);
        assert_eq!(lost_names(&Ident::new("t"), &check_names(CREATE)), ["posi`tive"]);
    }

    #[test]
    fn a_dropped_constraint_is_named_as_the_shadow_table_names_it() {
        let dialect = Dialect::new("", 90_704);
        let text = "ADD c INT, DROP CHECK t_chk_1, ADD CONSTRAINT fresh CHECK (c > 1)";
        let alter = AlterStatement::parse_clauses(text, dialect).unwrap();
        let shadow = ["n_chk_1".to_owned(), "n_chk_2".to_owned()];
        assert_eq!(
            for_shadow(&alter, &check_names(CREATE), &shadow),
            "ADD c INT, DROP CHECK `n_chk_2`, ADD CONSTRAINT fresh CHECK (c > 1)"
        );
    }
}
