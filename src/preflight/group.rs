//! Several servers that all take writes: there a lock of one of them locks nothing on the others.

use mysql_async::prelude::Queryable;

use super::Finding;
use crate::error::Result;
use crate::server::{Session, to_error};

/// Finds group replication in its multi-primary mode, and Galera. The cut-over's LOCK TABLES, and the lock that makes
/// runs exclusive, are local to one member (MySQL manual, "Group Replication Limitations").
///
/// # Errors
/// Transient when the connection breaks.
pub async fn group(session: &mut Session) -> Result<Vec<Finding>> {
    let settings: Vec<(String, String)> = session
        .query(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('group_replication_single_primary_mode', \
             'group_replication_group_name', 'wsrep_on')",
        )
        .await
        .map_err(|e| to_error(e, "looking for a group of servers"))?;
    Ok(judge(&settings))
}

fn judge(settings: &[(String, String)]) -> Vec<Finding> {
    let value = |name: &str| settings.iter().find(|(n, _)| n == name).map(|(_, value)| &**value);
    let mut findings = Vec::new();
    let in_group = value("group_replication_group_name").is_some_and(|name| !name.is_empty());
    if in_group && value("group_replication_single_primary_mode") == Some("OFF") {
        findings.push(Finding::new(
            "the server is in a group of which every member takes writes",
            "Switch the group to one primary: SELECT group_replication_switch_to_single_primary_mode().",
        ));
    }
    if value("wsrep_on") == Some("ON") {
        findings.push(Finding::new(
            "the server is in a Galera cluster, of which every member takes writes",
            "replank cannot lock a table on all of them; use the cluster's own way to alter tables.",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(settings: &[(&str, &str)]) -> usize {
        let owned: Vec<(String, String)> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        judge(&owned).len()
    }

    #[test]
    fn only_groups_with_several_primaries_are_found() {
        let mode = "group_replication_single_primary_mode";
        let name = "group_replication_group_name";
        assert_eq!(found(&[]), 0);
        assert_eq!(found(&[(name, "aaaa"), (mode, "ON")]), 0);
        assert_eq!(found(&[(name, ""), (mode, "OFF")]), 0, "the plugin is there, but no group");
        assert_eq!(found(&[(name, "aaaa"), (mode, "OFF")]), 1);
        assert_eq!(found(&[("wsrep_on", "ON")]), 1);
    }
}
