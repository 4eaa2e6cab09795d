//! Names of the tables that a run creates beside the source.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::sql::{MAX_IDENT_CHARS, TableName, stable_hash};

/// How many old tables of earlier runs may be kept before a run asks for a clean-up.
const MAX_KEPT_OLD: u32 = 9;

/// The tables of one run, all in the source's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The table being altered.
    pub source: TableName,
    /// The new table, until it takes the source's name.
    pub shadow: TableName,
    /// What the source is called after the cut-over.
    pub old: TableName,
    /// Heartbeat, chunk progress and the registry of what the run created.
    pub state: TableName,
}

impl Names {
    /// Chooses names, given the tables that exist in the schema.
    ///
    /// # Errors
    /// Refused when the shadow's or the state table's name is taken, or too many old tables are kept.
    pub fn choose(source: &TableName, existing: &HashSet<String>) -> Result<Names> {
        let names = Names::of(source);
        for taken in [&names.shadow, &names.state] {
            if existing.contains(&taken.table.as_str().to_lowercase()) {
                return Err(Error::refused(format!("{taken} exists already")).remedy(format!(
                    "If it is left from a stopped run, the same `replank run` goes on with it, and `replank abort \
                     --database {} --table {}` undoes it; a table of your own must be renamed.",
                    source.schema.as_str(),
                    source.table.as_str()
                )));
            }
        }
        for old in old_names(source) {
            if !existing.contains(&old.table.as_str().to_lowercase()) {
                return Ok(Names { old, ..names });
            }
        }
        Err(Error::refused(format!("{MAX_KEPT_OLD} old tables of {source} are kept already"))
            .remedy(format!(
                "Drop those that are not needed: `replank cleanup --database {} --table {} --old`.",
                source.schema.as_str(),
                source.table.as_str()
            )))
    }

    /// Whether this is a name under which a run sets a table of that source aside.
    pub fn is_set_aside(source: &TableName, name: &TableName) -> bool {
        old_names(source).any(|old| old == *name) || Names::of(source).back().old == *name
    }

    /// The names on the way back: the source is the new table, the shadow table the old one, and the new
    /// table is set aside under a name of its own.
    pub fn back(&self) -> Names {
        Names {
            source: self.source.clone(),
            shadow: self.old.clone(),
            old: self.source.sibling(derived(&self.source, "replank_reverted")),
            state: self.state.clone(),
        }
    }

    /// The names as they are when nothing is in the way.
    pub fn of(source: &TableName) -> Names {
        Names {
            source: source.clone(),
            shadow: source.sibling(derived(source, "replank_new")),
            old: source.sibling(derived(source, "replank_old")),
            state: source.sibling(derived(source, "replank_state")),
        }
    }
}

/// The names that the source may take at the cut-over, in order of preference.
fn old_names(source: &TableName) -> impl Iterator<Item = TableName> {
    (1..=MAX_KEPT_OLD).map(|n| match n {
        1 => source.sibling(derived(source, "replank_old")),
        n => source.sibling(derived(source, &format!("replank_old{n}"))),
    })
}

/// `_<table>_<suffix>`, shortened to 64 characters with a hash of the whole name where it must be.
fn derived(source: &TableName, suffix: &str) -> String {
    let table = source.table.as_str();
    let name = format!("_{table}_{suffix}");
    if name.chars().count() <= MAX_IDENT_CHARS {
        return name;
    }
    let tail = format!("_{:08x}_{suffix}", stable_hash(table) >> 32);
    let head: String = table.chars().take(MAX_IDENT_CHARS - 1 - tail.chars().count()).collect();
    format!("_{head}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_64_characters_gets_helper_names_that_fit_and_differ() {
        let a = TableName::new("shop", format!("{}a", "ü".repeat(63)));
        let b = TableName::new("shop", format!("{}b", "ü".repeat(63)));
        let (a, b) = (Names::of(&a), Names::of(&b));
        for name in [&a.shadow, &a.old, &a.state] {
            assert!(name.table.as_str().chars().count() <= 64);
        }
        assert_ne!(a.shadow, b.shadow);
        assert_ne!(a.shadow, a.old);
    }

    #[test]
    fn a_taken_shadow_name_is_refused_and_a_kept_old_table_is_stepped_over() {
        let source = TableName::new("shop", "users");
        let taken = HashSet::from(["_users_replank_new".to_owned()]);
        assert!(Names::choose(&source, &taken).unwrap_err().what().contains("exists already"));
        let kept = HashSet::from(["_users_replank_old".to_owned()]);
        let names = Names::choose(&source, &kept).unwrap();
        assert_eq!(names.old.table.as_str(), "_users_replank_old2");
    }
}
