//! The privileges that a run needs, one by one.

use mysql_async::prelude::Queryable;

use super::Finding;
use super::grants::Grants;
use crate::error::Result;
use crate::server::{Session, to_error};
use crate::sql::Ident;

/// Needed on all tables of the source's schema, since the run creates tables there.
/// TRIGGER, because an account without it does not see which triggers there are.
pub(super) const ON_SCHEMA: [&str; 11] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "ALTER",
    "INDEX",
    "LOCK TABLES",
    "TRIGGER",
    "CREATE TEMPORARY TABLES",
];

/// Needed on the server, to read the binlog.
pub(super) const ON_SERVER: [&str; 2] = ["REPLICATION SLAVE", "REPLICATION CLIENT"];

/// Checks the privileges of the session's account, its active roles included.
///
/// # Errors
/// Transient when the connection breaks.
pub async fn privileges(session: &mut Session, schema: &Ident) -> Result<Vec<Finding>> {
    let doing = "reading the account's privileges";
    let roles: Option<String> =
        session.query_first("SELECT CURRENT_ROLE()").await.map_err(|e| to_error(e, doing))?;
    let statement = match roles.as_deref() {
        None | Some("NONE" | "") => "SHOW GRANTS FOR CURRENT_USER()".to_owned(),
        Some(roles) => format!("SHOW GRANTS FOR CURRENT_USER() USING {roles}"),
    };
    let lines: Vec<String> = session.query(statement).await.map_err(|e| to_error(e, doing))?;
    let account: String = session
        .query_first("SELECT CURRENT_USER()")
        .await
        .map_err(|e| to_error(e, doing))?
        .unwrap_or_default();
    Ok(missing(&Grants::parse(&lines), schema, &account))
}

fn missing(grants: &Grants, schema: &Ident, account: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |names: Vec<&str>, on: &str| {
        if !names.is_empty() {
            let names = names.join(", ");
            findings.push(Finding::new(
                format!("{account} lacks {names} on {on}"),
                format!("GRANT {names} ON {on} TO {};", quoted_account(account)),
            ));
        }
    };
    let server: Vec<&str> =
        ON_SERVER.into_iter().filter(|privilege| !grants.global(privilege)).collect();
    report(server, "*.*");
    let tables: Vec<&str> = ON_SCHEMA
        .into_iter()
        .filter(|privilege| !grants.schema(privilege, schema.as_str()))
        .collect();
    report(tables, &format!("{schema}.*"));
    findings
}

/// `user@host` as a GRANT writes it.
fn quoted_account(account: &str) -> String {
    match account.rsplit_once('@') {
        Some((user, host)) => format!("{}@{}", Ident::new(user), Ident::new(host)),
        None => Ident::new(account).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_as_the_grant_that_mends_it() {
        let grants = Grants::parse(&["GRANT SELECT ON `shop`.* TO `app`@`%`".to_owned()]);
        let findings = missing(&grants, &Ident::new("shop"), "app@%");
        assert_eq!(findings.len(), 2);
        assert_eq!(
            findings[0].remedy,
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `app`@`%`;"
        );
        assert!(!findings[1].what.contains("SELECT"));
    }
}
