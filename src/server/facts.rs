//! What the server is and how it is set up, read once at the start.

use mysql_async::Row;
use mysql_async::prelude::Queryable;

use super::{Session, to_error};
use crate::error::{Error, Result};

/// The replicas that are connected to a server of that version, as it lists them.
///
/// # Errors
/// As the server's; `doing` says what it was about.
pub async fn replicas(session: &mut Session, version: u32, doing: &str) -> Result<Vec<Row>> {
    let statement = if version >= 80_022 { "SHOW REPLICAS" } else { "SHOW SLAVE HOSTS" };
    session.query(statement).await.map_err(|e| to_error(e, doing))
}

/// Version and settings of the server.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    /// `server_uuid`.
    pub uuid: String,
    /// As `VERSION()` prints it.
    pub version: String,
    /// `major * 10000 + minor * 100 + patch`, as in version comments.
    pub version_number: u32,
    /// `log_bin`.
    pub log_bin: bool,
    /// `binlog_format` of the server.
    pub binlog_format: String,
    /// `binlog_order_commits`.
    pub binlog_order_commits: bool,
    /// `read_only` or `super_read_only`.
    pub read_only: bool,
    /// `sql_mode` of new sessions, under which the ALTER is read.
    pub sql_mode: String,
    /// `time_zone` of new sessions; `+00:00` for all names of UTC.
    pub time_zone: String,
    /// Whether a commit that was acknowledged survives a crash of the server and of its machine, in InnoDB and
    /// in the binlog alike (`innodb_flush_log_at_trx_commit` and `sync_binlog` are 1).
    pub durable: bool,
}

impl ServerFacts {
    /// Reads the facts.
    ///
    /// # Errors
    /// Transient when the connection breaks; refused on a flavour or version without these settings.
    pub async fn read(session: &mut Session) -> Result<Self> {
        let doing = "reading the server's settings";
        let version: String = session
            .query_first("SELECT VERSION()")
            .await
            .map_err(|e| to_error(e, doing))?
            .unwrap_or_default();
        let mariadb = version.to_lowercase().contains("mariadb");
        let version_number = parse_version(&version);
        if mariadb || version_number < 80_013 {
            return Err(Error::refused(format!("{version} is not supported")).remedy(
                "replank needs MySQL 8.0.13 or later: its cut-over renames under LOCK TABLES.",
            ));
        }
        let row: Row = session
            .query_first(
                "SELECT @@GLOBAL.log_bin, CONCAT(@@GLOBAL.binlog_format, ''), \
                 @@GLOBAL.binlog_order_commits, \
                 @@GLOBAL.read_only OR @@GLOBAL.super_read_only, \
                 CONCAT(@@GLOBAL.sql_mode, ''), \
                 CONCAT(IF(@@GLOBAL.time_zone = 'SYSTEM' AND @@system_time_zone = 'UTC' \
                 OR @@GLOBAL.time_zone IN ('UTC', 'Etc/UTC'), '+00:00', @@GLOBAL.time_zone), ''), \
                 @@GLOBAL.server_uuid, \
                 @@GLOBAL.innodb_flush_log_at_trx_commit = 1 AND @@GLOBAL.sync_binlog = 1",
            )
            .await
            .map_err(|e| to_error(e, doing))?
            .ok_or_else(|| Error::failed(format!("{doing}: empty answer")))?;
        let text = |i: usize| row.get_opt::<String, _>(i).and_then(|v| v.ok()).unwrap_or_default();
        let flag =
            |i: usize| row.get_opt::<i64, _>(i).and_then(|v| v.ok()).unwrap_or_default() != 0;
        Ok(ServerFacts {
            version_number,
            log_bin: flag(0),
            binlog_format: text(1),
            binlog_order_commits: flag(2),
            read_only: flag(3),
            sql_mode: text(4),
            time_zone: text(5),
            uuid: text(6),
            durable: flag(7),
            version,
        })
    }

    /// How statement text is to be read on this server.
    pub fn dialect(&self) -> crate::schema::lexer::Dialect {
        crate::schema::lexer::Dialect::new(&self.sql_mode, self.version_number)
    }
}

/// `9.7.4-2` → 90704; what cannot be read counts as 0.
fn parse_version(version: &str) -> u32 {
    let mut numbers =
        version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0).min(99);
    next() * 10_000 + next() * 100 + next()
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_are_read_as_version_comments_write_them() {
        assert_eq!(parse_version("9.7.4-2"), 90_704);
        assert_eq!(parse_version("8.0.13"), 80_013);
        assert_eq!(parse_version("rubbish"), 0);
    }
}
