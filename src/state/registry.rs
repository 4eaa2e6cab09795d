//! What a run writes down about itself: what it is, and what must not change while it is stopped.

use serde::{Deserialize, Serialize};

use crate::plan::Names;
use crate::schema::indexes::without;

/// The format of the records in a state table. A later one is not read; of an earlier one as much as is
/// needed to remove what the run created.
///
/// 1: the first. 2: chunks with their exact edges, terms, checkpoints.
pub(super) const FORMAT: u32 = 2;

/// What a run wrote down about itself before it created anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// Version of this record.
    pub format: u32,
    /// Random identifier of the run.
    pub run: String,
    /// Name of the source, without its schema.
    pub source: String,
    /// Name of the shadow table.
    pub shadow: String,
    /// Name that the source takes at the cut-over.
    pub old: String,
    /// The clauses of the ALTER.
    pub alter: String,
    /// When the run began, UTC.
    pub started: String,
    /// The account and host that began it, as the server sees them.
    #[serde(default)]
    pub by: String,
    /// For how many seconds after the swap the old table is kept in step, so that it can be reverted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revertible_for: Option<u64>,
}

impl Registry {
    /// The registry of a new run.
    pub fn new(
        names: &Names,
        run: &str,
        alter: &str,
        by: &str,
        revertible_for: Option<u64>,
    ) -> Self {
        Registry {
            format: FORMAT,
            run: run.to_owned(),
            source: names.source.table.as_str().to_owned(),
            shadow: names.shadow.table.as_str().to_owned(),
            old: names.old.table.as_str().to_owned(),
            alter: alter.to_owned(),
            started: now(),
            by: by.to_owned(),
            revertible_for,
        }
    }

    /// The names of the run's tables; `state` is where the registry was read.
    pub fn names(&self, state: &crate::sql::TableName) -> Names {
        Names {
            source: state.sibling(&self.source),
            shadow: state.sibling(&self.shadow),
            old: state.sibling(&self.old),
            state: state.clone(),
        }
    }

    /// Whether a stopped run with this registry can be continued by this version.
    pub fn can_be_continued(&self) -> bool {
        self.format == FORMAT
    }
}

/// What has to be as it was for a stopped run to be continued, and what the shadow table's contents
/// depend on besides the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// `@@server_uuid`.
    pub server: String,
    /// `VERSION()`: keys are kept in the order that this version's collations give.
    pub version: String,
    /// The structure of the source, as SHOW CREATE TABLE prints it, without its AUTO_INCREMENT.
    pub source: String,
    /// The structure of the shadow table, likewise.
    pub shadow: String,
    /// The time that NOW() stands for in defaults of new columns, in the session's time zone.
    pub started_at: String,
    /// The time zone in which TIMESTAMP is converted.
    pub time_zone: String,
    /// Definitions of the indexes that the shadow table gets when it is filled.
    #[serde(default)]
    pub deferred: Vec<String>,
}

impl Terms {
    /// What differs, in words: nothing if a run under these terms can be continued under `now`.
    pub fn broken_by(&self, now: &Terms) -> Option<String> {
        if self.server != now.server {
            return Some(
                "this is another server than the one that the run was stopped on".to_owned(),
            );
        }
        if self.version != now.version {
            return Some(format!(
                "the server was upgraded from {} to {}, and text may sort in another way",
                self.version, now.version
            ));
        }
        if self.source != now.source {
            return Some(
                "the structure of the table has changed since the run was stopped".to_owned(),
            );
        }
        if without(&self.shadow, &self.deferred) != without(&now.shadow, &self.deferred) {
            return Some(
                "the structure of the shadow table has changed since the run was stopped"
                    .to_owned(),
            );
        }
        None
    }
}

/// SHOW CREATE TABLE without what changes with every insert: the AUTO_INCREMENT counter.
pub fn structure(create: &str) -> String {
    // The option stands behind the closing parenthesis, where no name or text comes before it but the
    // engine's; a column's comment may hold the same words.
    let Some((columns, options)) = create.rsplit_once("\n)") else { return create.to_owned() };
    let Some((before, counter)) = options.split_once(" AUTO_INCREMENT=") else {
        return create.to_owned();
    };
    let after = counter.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{columns}\n){before}{after}")
}

/// The time, UTC, to the second.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_no_part_of_the_structure() {
        let create = |options: &str| {
            format!("CREATE TABLE `t` (\n  `id` int COMMENT ' AUTO_INCREMENT=5'\n) {options}")
        };
        assert_eq!(
            structure(&create("ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4")),
            create("ENGINE=InnoDB DEFAULT CHARSET=utf8mb4")
        );
        assert_eq!(structure(&create("ENGINE=InnoDB")), create("ENGINE=InnoDB"));
    }

    #[test]
    fn a_registry_of_the_first_format_is_read_and_cannot_be_continued() {
        let first = r#"{"format":1,"run":"0123456789ab","source":"users","shadow":"_users_replank_new",
            "old":"_users_replank_old","alter":"ADD COLUMN c INT","started":"2026-11-22T10:00:00Z"}"#;
        let registry: Registry = serde_json::from_str(first).unwrap();
        assert_eq!(registry.shadow, "_users_replank_new");
        assert!(!registry.can_be_continued());
    }

    #[test]
    fn each_broken_term_is_named() {
        let terms = Terms {
            server: "a".into(),
            version: "9.7.4".into(),
            source: "x".into(),
            shadow: "y".into(),
            started_at: String::new(),
            time_zone: "+00:00".into(),
            deferred: Vec::new(),
        };
        assert_eq!(terms.broken_by(&terms.clone()), None);
        let said = |now: Terms| terms.broken_by(&now).unwrap();
        assert!(said(Terms { server: "b".into(), ..terms.clone() }).contains("another server"));
        assert!(
            said(Terms { version: "9.8".into(), ..terms.clone() }).contains("from 9.7.4 to 9.8")
        );
        assert!(said(Terms { source: "z".into(), ..terms.clone() }).contains("the table has"));
        assert!(said(Terms { shadow: "z".into(), ..terms.clone() }).contains("shadow table has"));
    }
}
