//! The server: connections, keys and row changes.

use futures_util::StreamExt;
use mysql_async::prelude::*;
use mysql_async::{BinlogStreamRequest, Conn, Opts, Row, Value};
use replank::error::Result;
use replank::key::{Key, KeySpec, RawKey};
use replank::stream::event::{EventClass, KeyLayout, RowChange, RowsEvent, TableMap};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) const SCHEMA: &str = "replank_key";

/// The server to test against, as root.
pub(crate) fn server() -> Opts {
    Opts::from(crate::common::server().root_opts())
}

pub(crate) async fn connect() -> Conn {
    let mut conn = Conn::new(server()).await.unwrap();
    conn.query_drop(
        "SET NAMES utf8mb4, time_zone = '+00:00', \
         sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'",
    )
    .await
    .unwrap();
    conn.query_drop(format!("CREATE DATABASE IF NOT EXISTS {SCHEMA}")).await.unwrap();
    conn.query_drop(format!("USE {SCHEMA}")).await.unwrap();
    conn
}

pub(crate) async fn cells(conn: &mut Conn, query: impl AsRef<str>) -> Vec<Vec<Value>> {
    let rows: Vec<Row> = conn.query(query.as_ref()).await.unwrap_or_else(|error| {
        panic!("{error}: {}", query.as_ref().chars().take(600).collect::<String>())
    });
    rows.into_iter().map(Row::unwrap).collect()
}

pub(crate) async fn exec(conn: &mut Conn, query: impl AsRef<str>) {
    cells(conn, query).await;
}

pub(crate) async fn keys(conn: &mut Conn, spec: &KeySpec, query: String) -> Vec<Key> {
    cells(conn, query).await.iter().map(|row| spec.from_row(row).unwrap()).collect()
}

/// One event: its type code and body.
pub(crate) type RawEvent = (u8, Vec<u8>);

pub(crate) async fn binlog_end(conn: &mut Conn) -> (String, u64) {
    let row: Row = conn.query_first("SHOW BINARY LOG STATUS").await.unwrap().unwrap();
    (row.get(0).unwrap(), row.get(1).unwrap())
}

/// The events from a position to the end of the binlog.
pub(crate) async fn binlog_since(start: &(String, u64)) -> Vec<RawEvent> {
    static SERVER_ID: AtomicU32 = AtomicU32::new(70_000);
    let id = SERVER_ID.fetch_add(1, Ordering::Relaxed);
    let request = BinlogStreamRequest::new(id)
        .with_filename(start.0.as_bytes())
        .with_pos(start.1)
        .with_non_blocking();
    let mut stream = connect().await.get_binlog_stream(request).await.unwrap();
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        let event = event.unwrap();
        events.push((event.header().event_type_raw(), event.data().to_vec()));
    }
    events
}

/// The changes of one table, in order. Every event has to be of a known class.
pub(crate) fn changes(
    events: &[RawEvent],
    table: &str,
    spec: &KeySpec,
    columns: usize,
) -> Result<Vec<RowChange<RawKey>>> {
    let mut layout = None;
    let mut found = Vec::new();
    for (code, body) in events {
        match EventClass::of(*code) {
            EventClass::TableMap => {
                let map = TableMap::parse(body)?;
                let ours = map.schema == SCHEMA && map.table == table;
                layout = ours.then(|| KeyLayout::new(&map, spec, columns)).transpose()?;
            }
            EventClass::Rows => {
                if let Some(layout) = &layout {
                    let event = RowsEvent::parse(*code, body)?;
                    event.each_raw_key(layout, |change| {
                        found.push(change);
                        Ok(())
                    })?;
                    if !spec.needs_weights() {
                        let mut at = found.len() - event.each_key(layout, |_| Ok(()))?;
                        event.each_key(layout, |change| {
                            let same = match (&found[at], &change) {
                                (RowChange::Insert(raw), RowChange::Insert(key))
                                | (RowChange::Delete(raw), RowChange::Delete(key)) => {
                                    spec.key_from_values(raw)? == *key
                                }
                                (
                                    RowChange::Update { before, after },
                                    RowChange::Update { before: b, after: a },
                                ) => {
                                    spec.key_from_values(before)? == *b
                                        && spec.key_from_values(after)? == *a
                                }
                                _ => false,
                            };
                            assert!(same);
                            at += 1;
                            Ok(())
                        })?;
                    }
                }
            }
            EventClass::Unknown => panic!("unknown event {code}"),
            _ => {}
        }
    }
    Ok(found)
}

/// Decoded keys with the server's weights.
pub(crate) async fn with_weights(conn: &mut Conn, spec: &KeySpec, raw: &[RawKey]) -> Vec<Key> {
    if !spec.needs_weights() {
        return raw.iter().map(|key| spec.key_from_values(key).unwrap()).collect();
    }
    let rows = cells(conn, spec.weights_sql(raw).unwrap()).await;
    assert_eq!(rows.len(), raw.len());
    let weights = |row: Vec<Value>| {
        row.into_iter()
            .map(|value| match value {
                Value::Bytes(bytes) => bytes,
                other => panic!("weights {other:?}"),
            })
            .collect()
    };
    raw.iter()
        .zip(rows)
        .map(|(key, row)| spec.key_with_weights(key, weights(row)).unwrap())
        .collect()
}
