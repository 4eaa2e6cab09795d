//! Reading the answer of SHOW GRANTS.

use std::collections::BTreeSet;

/// What one GRANT line covers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    Global,
    /// A schema, as a pattern in which `_` and `%` stand for any character unless escaped.
    Schema(String),
    Table(String, String),
}

/// The privileges of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Grants {
    lines: Vec<(Scope, BTreeSet<String>)>,
    /// Privileges that `partial_revokes` takes back from single schemas.
    revoked: Vec<(String, BTreeSet<String>)>,
}

impl Grants {
    /// Reads the lines; one that grants a role or PROXY says nothing about privileges.
    pub(super) fn parse(lines: &[String]) -> Grants {
        let mut grants = Grants::default();
        for line in lines {
            let (revoke, rest) = match (line.strip_prefix("GRANT "), line.strip_prefix("REVOKE ")) {
                (Some(rest), _) => (false, rest),
                (_, Some(rest)) => (true, rest),
                _ => continue,
            };
            let Some((names, rest)) = rest.split_once(" ON ") else { continue };
            let Some(scope) = scope(rest) else { continue };
            let names = names
                .split(',')
                // A column privilege such as `SELECT (a)` does not cover the table.
                .filter(|name| !name.contains('('))
                .map(|name| name.trim().to_uppercase())
                .collect();
            match (revoke, scope) {
                (false, scope) => grants.lines.push((scope, names)),
                (true, Scope::Schema(schema)) => grants.revoked.push((schema, names)),
                (true, _) => {}
            }
        }
        grants
    }

    /// Whether the privilege holds on everything.
    pub(super) fn global(&self, privilege: &str) -> bool {
        self.lines.iter().any(|(scope, names)| *scope == Scope::Global && holds(names, privilege))
    }

    /// Whether the privilege holds on all tables of the schema, those that do not exist yet included.
    pub(super) fn schema(&self, privilege: &str, schema: &str) -> bool {
        let revoked =
            self.revoked.iter().any(|(name, names)| name == schema && holds(names, privilege));
        !revoked
            && self.lines.iter().any(|(scope, names)| {
                holds(names, privilege)
                    && match scope {
                        Scope::Global => true,
                        Scope::Schema(pattern) => matches(pattern, schema),
                        Scope::Table(..) => false,
                    }
            })
    }
}

fn holds(names: &BTreeSet<String>, privilege: &str) -> bool {
    names.contains(privilege) || names.contains("ALL PRIVILEGES")
}

/// `*.* TO …`, `` `db`.* TO …`` or `` `db`.`table` TO …``.
fn scope(text: &str) -> Option<Scope> {
    if text.starts_with("*.*") {
        return Some(Scope::Global);
    }
    let (schema, rest) = quoted(text)?;
    let rest = rest.strip_prefix('.')?;
    if rest.starts_with('*') {
        return Some(Scope::Schema(schema));
    }
    Some(Scope::Table(schema, quoted(rest)?.0))
}

/// A name in backticks, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('`')?;
    let mut name = String::new();
    let mut chars = inner.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '`' {
            name.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == '`') {
            name.push('`');
            chars.next();
        } else {
            return Some((name, &inner[at + 1..]));
        }
    }
    None
}

/// Whether a schema pattern of a GRANT covers a name.
fn matches(pattern: &str, name: &str) -> bool {
    fn step(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['\\', wanted, rest @ ..], [c, name @ ..]) if wanted == c => step(rest, name),
            (['\\', _, ..], _) => false,
            (['%', rest @ ..], _) => (0..=name.len()).any(|skip| step(rest, &name[skip..])),
            (['_', rest @ ..], [_, name @ ..]) => step(rest, name),
            ([wanted, rest @ ..], [c, name @ ..]) if wanted == c => step(rest, name),
            _ => false,
        }
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    step(&pattern, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(lines: &[&str]) -> Grants {
        Grants::parse(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_schema_grant_covers_its_schema_only() {
        let grants = grants(&[
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `u`@`%`",
            "GRANT SELECT, INSERT ON `shop\\_1`.* TO `u`@`%`",
            "GRANT `role`@`%` TO `u`@`%`",
        ]);
        assert!(grants.global("REPLICATION SLAVE") && !grants.global("SELECT"));
        assert!(grants.schema("INSERT", "shop_1"));
        assert!(!grants.schema("INSERT", "shopx1"), "an escaped underscore is no wildcard");
        assert!(!grants.schema("DELETE", "shop_1"));
    }

    #[test]
    fn wildcards_all_privileges_and_partial_revokes_are_understood() {
        let grants = grants(&[
            "GRANT ALL PRIVILEGES ON `sh%`.* TO `u`@`%`",
            "GRANT SELECT, DELETE ON *.* TO `u`@`%`",
            "REVOKE DELETE ON `vault`.* FROM `u`@`%`",
        ]);
        assert!(grants.schema("DROP", "shop") && !grants.schema("DROP", "vault"));
        assert!(grants.schema("SELECT", "vault") && !grants.schema("DELETE", "vault"));
    }

    #[test]
    fn a_privilege_on_columns_or_on_one_table_is_not_enough() {
        let grants = grants(&["GRANT SELECT (`a`, `b`), INSERT ON `shop`.`users` TO `u`@`%`"]);
        assert!(!grants.schema("SELECT", "shop") && !grants.schema("INSERT", "shop"));
    }
}
