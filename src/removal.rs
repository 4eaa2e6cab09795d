//! Removing a large table that nobody uses any more without a stall of the server.
//!
//! `DROP TABLE` is one statement: it takes the table's pages out of the buffer pool and its file from the disk
//! while others wait behind it. So the rows go first, in slices by key, each as short as a chunk of a copy and
//! followed by a pause of the same length; of a partitioned table one partition goes after the other. What
//! is dropped at last is empty.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

use crate::error::{Error, Result};
use crate::key::Key;
use crate::ledger::{Edge, Range};
use crate::pace::Sizer;
use crate::plan::{ChosenKey, ColumnMap};
use crate::schema::alter::AlterStatement;
use crate::schema::table::Table;
use crate::server::{Session, to_error};
use crate::sql::{Ident, TableName};
use crate::work::{next_edge, range_predicate};

/// How long one slice should take.
const SLICE: Duration = Duration::from_millis(100);

/// The most rows of a slice.
const MAX_ROWS: u64 = 20_000;

/// How a table is removed.
#[derive(Debug, Clone, Copy)]
pub struct Removal {
    /// A table with fewer bytes than this, data and indexes, goes in one statement.
    pub at_once_below: u64,
}

impl Default for Removal {
    fn default() -> Self {
        Removal { at_once_below: 256 << 20 }
    }
}

impl Removal {
    /// Everything in one statement.
    pub const AT_ONCE: Removal = Removal { at_once_below: u64::MAX };

    /// Removes the table. Stopped at any moment, it can be begun again. Returns how many slices it took before
    /// the DROP.
    ///
    /// # Errors
    /// As the server's.
    pub async fn remove(self, session: &mut Session, name: &TableName) -> Result<u64> {
        let Some(table) = Table::read(session, name).await? else { return Ok(0) };
        let mut slices = 0;
        if table.data_bytes + table.index_bytes >= self.at_once_below {
            slices = if table.partitioned {
                empty_by_partition(session, name).await?
            } else {
                empty_by_key(session, &table).await?
            };
        }
        session
            .query_drop(format!("DROP TABLE {name}"))
            .await
            .map_err(|e| to_error(e, &format!("dropping {name}")))?;
        Ok(slices)
    }
}

async fn empty_by_partition(session: &mut Session, name: &TableName) -> Result<u64> {
    let doing = format!("emptying {name}");
    let partitions: Vec<String> = session
        .exec(
            "SELECT DISTINCT PARTITION_NAME FROM information_schema.PARTITIONS \
             WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
            (name.schema.as_str(), name.table.as_str()),
        )
        .await
        .map_err(|e| to_error(e, &doing))?;
    let mut slices = 0;
    for partition in partitions {
        let began = Instant::now();
        let partition = Ident::new(partition);
        session
            .query_drop(format!("ALTER TABLE {name} TRUNCATE PARTITION {partition}"))
            .await
            .map_err(|e| to_error(e, &doing))?;
        slices += 1;
        tokio::time::sleep(began.elapsed()).await;
    }
    Ok(slices)
}

async fn empty_by_key(session: &mut Session, table: &Table) -> Result<u64> {
    let doing = format!("emptying {}", table.name);
    let same = AlterStatement::default();
    let key = ColumnMap::new(table, table, &same, "")
        .and_then(|columns| ChosenKey::choose(table, table, &columns));
    let key = match key {
        Ok(key) => key,
        Err(error) => {
            tracing::info!(%error, "{} is dropped at once, since it has no key to cut it by", table.name);
            return Ok(0);
        }
    };
    let mut sizer = Sizer::new(SLICE, 1_000, MAX_ROWS);
    let mut slices = 0;
    let mut lo = Edge::Start;
    while lo != Edge::End {
        let began = Instant::now();
        let within = Range { lo: lo.clone(), hi: Edge::End };
        let rows = sizer.rows();
        let hi: Edge<Key> =
            next_edge(session, &table.name, &key.source_index, &key.source, &within, rows)
                .await
                .map_err(|failure| failure.into_error(&doing))?;
        let slice = range_predicate(&key.source, &Range { lo, hi: hi.clone() })?;
        session
            .query_drop(format!("DELETE FROM {} WHERE {slice}", table.name))
            .await
            .map_err(|e| to_error(e, &doing))?;
        let deleted = session.affected_rows();
        if deleted == 0 && hi != Edge::End {
            return Err(Error::failed(format!("{doing}: rows stay although they were deleted")));
        }
        let took = began.elapsed();
        sizer.observe(deleted.max(1), took);
        slices += 1;
        lo = hi;
        tokio::time::sleep(took).await;
    }
    Ok(slices)
}
