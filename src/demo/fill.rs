//! The demo's table: a million orders of a shop, and their twin.
//!
//! Values are functions of the row's number, so that two fills are equal. They are written by the
//! server itself, by two connections at a time, without binlog, and indexes are built afterwards.

use futures_util::future::try_join_all;
use mysql_async::prelude::Queryable;

use crate::error::{Error, Result};
use crate::server::{Server, Session, to_error};
use crate::sql::TableName;

/// Rows that one statement writes.
const BATCH: u64 = 25_000;

/// Connections that write.
const FILLERS: u64 = 2;

/// The table without its secondary indexes.
const COLUMNS: &str = "\
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, \
    customer_id INT NOT NULL, \
    status ENUM('new', 'paid', 'packed', 'sent', 'returned') NOT NULL DEFAULT 'new', \
    total DECIMAL(12,2) NOT NULL, \
    email VARCHAR(120) NOT NULL, \
    note TEXT NULL, \
    details JSON NULL, \
    created_at DATETIME(3) NOT NULL, \
    updated_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) \
        ON UPDATE CURRENT_TIMESTAMP(3)";

/// Its secondary indexes.
const INDEXES: &str = "ADD INDEX idx_customer (customer_id), ADD INDEX idx_created (created_at)";

/// Row `n`; its id is 2n, so that every odd id is free (see [`super::workload`]).
const ROW: &str = "\
    2 * n, \
    1 + CRC32(CONCAT('customer', n)) % 100000, \
    1 + n % 5, \
    (CRC32(n) % 1000000) / 100, \
    CONCAT('user', CRC32(n) % 500000, '@example.', ELT(1 + n % 3, 'com', 'org', 'net')), \
    IF(n % 3 = 0, NULL, REPEAT(CONCAT('ring the bell, größe ', n, ' ✓ '), 1 + n % 4)), \
    IF(n % 10 = 0, NULL, \
       JSON_OBJECT('items', JSON_ARRAY(n % 97, n % 89), 'weight', (n % 977) / 10, \
                   'gift', n % 11 = 0)), \
    '2024-01-01' + INTERVAL 1000 * (n * 7919 % 63072000000) MICROSECOND, \
    '2024-01-01' + INTERVAL 1000 * (n * 7907 % 63072000000) MICROSECOND";

/// Creates `table` and `twin` in a schema that is created too if need be, with `rows` equal rows.
/// For a server of one's own: the statements that write the rows are not in its binlog.
///
/// # Errors
/// Failed if one of the tables exists or cannot be written.
pub async fn fill(server: &Server, table: &TableName, twin: &TableName, rows: u64) -> Result<()> {
    if rows > 1 << 40 {
        return Err(Error::refused(format!("{rows} rows are more than the demo can make"))
            .remedy("give --rows a smaller number"));
    }
    let mut session = session(server).await?;
    for statement in [
        format!("CREATE SCHEMA IF NOT EXISTS {}", table.schema),
        format!("CREATE TABLE {table} ({COLUMNS}) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4"),
        format!("CREATE TABLE {twin} LIKE {table}"),
    ] {
        execute(&mut session, &statement).await?;
    }
    let share = rows.div_ceil(FILLERS).max(1);
    let shares = (0..FILLERS).map(|i| (i * share, ((i + 1) * share).min(rows)));
    try_join_all(shares.map(|share| fill_share(server, table, twin, share))).await?;
    try_join_all([table, twin].map(|table| index(server, table))).await?;
    session.close().await;
    Ok(())
}

/// Writes the rows after the first number up to the second.
async fn fill_share(
    server: &Server,
    table: &TableName,
    twin: &TableName,
    (mut after, last): (u64, u64),
) -> Result<()> {
    let mut session = session(server).await?;
    while after < last {
        let until = (after + BATCH).min(last);
        let first = after + 1;
        let made = format!(
            "INSERT INTO {table} \
             WITH RECURSIVE numbers (n) AS \
             (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {until}) \
             SELECT {ROW} FROM numbers"
        );
        execute(&mut session, &made).await?;
        let copied = format!(
            "INSERT INTO {twin} SELECT * FROM {table} WHERE id BETWEEN {} AND {}",
            2 * first,
            2 * until
        );
        execute(&mut session, &copied).await?;
        after = until;
    }
    session.close().await;
    Ok(())
}

async fn index(server: &Server, table: &TableName) -> Result<()> {
    let mut session = session(server).await?;
    execute(&mut session, &format!("ALTER TABLE {table} {INDEXES}")).await?;
    // A result set with the verdict; the estimates matter, the verdict does not.
    execute(&mut session, &format!("ANALYZE TABLE {table}")).await?;
    session.close().await;
    Ok(())
}

async fn session(server: &Server) -> Result<Session> {
    let mut session = server.connect().await?;
    let settings = format!(
        "SET SESSION sql_log_bin = 0, time_zone = '+00:00', unique_checks = 0, \
         cte_max_recursion_depth = {}, transaction_isolation = 'READ-COMMITTED'",
        BATCH + 1
    );
    execute(&mut session, &settings).await?;
    Ok(session)
}

async fn execute(session: &mut Session, sql: &str) -> Result<()> {
    session.query_drop(sql).await.map_err(|error| to_error(error, "filling the demo's table"))
}
