//! A second opinion: another decoder reads the same binlog file, and sees the same keys.
//!
//! It does not understand everything that MySQL can write, so this test has a server of its own.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod common;
#[allow(dead_code, reason = "shared with the tests of keys")]
#[path = "keys/server.rs"]
mod server;

use std::fs::File;

use mysql_cdc::binlog_reader::BinlogReader;
use mysql_cdc::events::binlog_event::BinlogEvent;
use mysql_cdc::events::row_events::mysql_value::MySqlValue;
use mysql_cdc::events::row_events::row_data::RowData;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replank::key::{KeyPart, KeySpec, PartType, PartValue, RawKey};
use replank::sql::Ident;
use replank::stream::event::RowChange;

use crate::server::*;

/// A change as both decoders describe it: the keys before and after.
type Seen = (Option<String>, Option<String>);

fn ours(change: RowChange<RawKey>) -> Seen {
    let show = |key: RawKey| {
        let parts: Vec<String> = key
            .into_iter()
            .map(|part| match part {
                PartValue::Int(value) => value.to_string(),
                PartValue::UInt(value) => value.to_string(),
                PartValue::Text(value) => value,
                PartValue::Bytes(bytes) => String::from_utf8(bytes.into_owned()).unwrap(),
            })
            .collect();
        Some(parts.join("|"))
    };
    match change {
        RowChange::Insert(key) => (None, show(key)),
        RowChange::Update { before, after } => (show(before), show(after)),
        RowChange::Delete(key) => (show(key), None),
    }
}

/// The oracle's row: `pad` first, then the key's columns. It gives integers without their sign.
fn theirs(row: &RowData) -> Option<String> {
    let cell = |at: usize| row.cells[at].as_ref().unwrap();
    let id = match cell(1) {
        MySqlValue::Int(value) => (*value as i32).to_string(),
        other => panic!("{other:?}"),
    };
    let big = match cell(2) {
        MySqlValue::BigInt(value) => value.to_string(),
        other => panic!("{other:?}"),
    };
    let name = match cell(3) {
        MySqlValue::String(value) => value.clone(),
        other => panic!("{other:?}"),
    };
    Some(format!("{id}|{big}|{name}"))
}

fn oracle(file: &std::path::Path) -> Vec<Seen> {
    let mut ours = false;
    let mut seen = Vec::new();
    for event in BinlogReader::new(File::open(file).unwrap()).unwrap().read_events() {
        match event.unwrap().1 {
            BinlogEvent::TableMapEvent(map) => {
                ours = map.database_name == SCHEMA && map.table_name == "second_opinion";
            }
            BinlogEvent::WriteRowsEvent(event) if ours => {
                seen.extend(event.rows.iter().map(|row| (None, theirs(row))));
            }
            BinlogEvent::UpdateRowsEvent(event) if ours => seen.extend(
                event
                    .rows
                    .iter()
                    .map(|row| (theirs(&row.before_update), theirs(&row.after_update))),
            ),
            BinlogEvent::DeleteRowsEvent(event) if ours => {
                seen.extend(event.rows.iter().map(|row| (theirs(row), None)));
            }
            _ => {}
        }
    }
    seen
}

#[tokio::test]
async fn another_decoder_sees_the_same_keys() {
    let mut conn = connect().await;
    exec(&mut conn, "DROP TABLE IF EXISTS second_opinion").await;
    exec(
        &mut conn,
        "CREATE TABLE second_opinion (pad TEXT, id INT, big BIGINT UNSIGNED, \
         name VARCHAR(300) CHARACTER SET utf8mb4, more DOUBLE, PRIMARY KEY (id, big, name))",
    )
    .await;
    exec(&mut conn, "FLUSH BINARY LOGS").await;
    let start = binlog_end(&mut conn).await;
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..1_000 {
        let id = random.random_range(-40..40);
        let big: u64 = if random.random_bool(0.5) { random.random() } else { 3 };
        let name = "né".repeat(random.random_range(0..3) * random.random_range(1..40));
        exec(
            &mut conn,
            match random.random_range(0..5) {
                0 | 1 => format!("INSERT INTO second_opinion VALUES (REPEAT('p', 3), {id}, {big}, '{name}', 1e10) ON DUPLICATE KEY UPDATE more = more + 1"),
                2 => format!("UPDATE second_opinion SET pad = NULL, big = {big} WHERE id = {id} ORDER BY big, name LIMIT 1"),
                3 => format!("UPDATE IGNORE second_opinion SET id = {id} + 1, more = {id} WHERE id = {id}"),
                _ => format!("DELETE FROM second_opinion WHERE id = {id} AND more < 2e10 LIMIT 2"),
            }
            .replace("UPDATE second_opinion", "UPDATE IGNORE second_opinion"),
        )
        .await;
    }
    let part = |name: &str, ordinal, ty| KeyPart { name: Ident::new(name), ordinal, ty };
    let text = PartType::Text {
        charset: "utf8mb4".to_owned(),
        collation: "utf8mb4_0900_ai_ci".to_owned(),
        pad_space: false,
        chars: 300,
        fixed: false,
    };
    let spec = KeySpec::new(vec![
        part("id", 1, PartType::Int { bytes: 4, unsigned: false }),
        part("big", 2, PartType::Int { bytes: 8, unsigned: true }),
        part("name", 3, text),
    ]);
    let events = binlog_since(&start).await;
    // The file is complete when the next one has begun.
    exec(&mut conn, "FLUSH BINARY LOGS").await;
    let mine: Vec<Seen> =
        changes(&events, "second_opinion", &spec, 5).unwrap().into_iter().map(ours).collect();
    let file = crate::common::server().data_dir().join(&start.0);
    let other = oracle(&file);
    assert!(mine.len() > 500, "only {} changes", mine.len());
    assert_eq!(mine, other);
}
