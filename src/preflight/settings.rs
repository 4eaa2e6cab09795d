//! Settings of the server on which the protocol rests.

use super::Finding;
use crate::server::ServerFacts;

/// Checks the server's settings.
pub fn settings(facts: &ServerFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !facts.log_bin {
        findings.push(Finding::new(
            "the server writes no binlog (log_bin=OFF)",
            "Set log_bin and restart the server.",
        ));
    }
    if !facts.binlog_format.eq_ignore_ascii_case("ROW") {
        findings.push(Finding::new(
            format!("binlog_format is {}", facts.binlog_format),
            "SET GLOBAL binlog_format = 'ROW', and let sessions that are open connect again.",
        ));
    }
    if !facts.binlog_order_commits {
        findings.push(Finding::new(
            "binlog_order_commits is OFF, so that the binlog does not tell which transactions are visible",
            "SET GLOBAL binlog_order_commits = ON.",
        ));
    }
    if facts.read_only {
        findings.push(Finding::new(
            "the server is read-only",
            "Run replank on the source of the replication, not on a replica.",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_that_breaks_the_protocol_is_found() {
        let facts = ServerFacts {
            uuid: String::new(),
            version: "9.7.4".to_owned(),
            version_number: 90_704,
            log_bin: false,
            binlog_format: "MIXED".to_owned(),
            binlog_order_commits: false,
            read_only: true,
            sql_mode: String::new(),
            time_zone: "SYSTEM".to_owned(),
            durable: true,
        };
        assert_eq!(settings(&facts).len(), 4);
        let good = ServerFacts {
            log_bin: true,
            binlog_format: "row".to_owned(),
            binlog_order_commits: true,
            read_only: false,
            ..facts
        };
        assert!(settings(&good).is_empty());
    }
}
