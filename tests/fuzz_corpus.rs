//! The inputs that the fuzzers start from and have found, and a short burst of changed ones: nothing may
//! panic, and what is accepted has to be consistent.
//!
//! `cargo fuzz run row_event` and `cargo fuzz run alter_text` in `fuzz/` go on from here for as long as
//! they are let; what they find is added to the corpus.

mod common;
#[path = "../fuzz/harness.rs"]
mod harness;

use std::path::PathBuf;

use futures_util::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStreamRequest, Row};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use replank::stream::event::EventClass;

use common::Database;

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(folder(target)).expect("the corpus");
    let mut inputs: Vec<(PathBuf, Vec<u8>)> = files
        .map(|file| {
            let path = file.expect("a file").path();
            let input = std::fs::read(&path).expect("an input");
            (path, input)
        })
        .collect();
    // The burst below is the same in every run.
    inputs.sort();
    inputs.into_iter().map(|(_, input)| input).collect()
}

/// Changes an input in one of the ways of a fuzzer.
fn changed(input: &[u8], other: &[u8], dice: &mut StdRng) -> Vec<u8> {
    let mut input = input.to_vec();
    for _ in 0..dice.random_range(1..=4) {
        let at = dice.random_range(0..=input.len());
        match dice.random_range(0..5) {
            0 if at < input.len() => input[at] ^= 1 << dice.random_range(0..8),
            1 if at < input.len() => input[at] = *[0, 1, 127, 128, 255].choose(dice).expect("one"),
            2 => input.truncate(at),
            3 => input.insert(at, dice.random()),
            _ => {
                let from = dice.random_range(0..=other.len());
                let to = dice.random_range(from..=other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    input
}

fn burst(target: &str, run: fn(&[u8])) {
    let corpus = corpus(target);
    assert!(corpus.len() >= 10, "{target}: the corpus is lost");
    corpus.iter().for_each(|input| run(input));
    let mut dice = StdRng::seed_from_u64(1);
    for _ in 0..20_000 {
        let (input, other) =
            (corpus.choose(&mut dice).expect("one"), corpus.choose(&mut dice).expect("one"));
        run(&changed(input, other, &mut dice));
    }
}

#[test]
fn row_events() {
    burst("row_event", harness::row_event);
}

#[test]
fn alter_texts() {
    burst("alter_text", harness::alter_text);
}

/// Writes the row events of the harness's tables to the corpus.
#[tokio::test]
#[ignore = "writes to the source tree"]
async fn record_row_events() {
    let db = Database::new("fuzz").await;
    for (place, table) in harness::tables().iter().enumerate() {
        let mut conn = db.conn().await;
        conn.query_drop("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'").await.expect("sql_mode");
        let name = format!("t{place}");
        conn.query_drop(format!("CREATE TABLE {name} ({})", table.definition))
            .await
            .expect("a table");
        let status: Row =
            conn.query_first("SHOW BINARY LOG STATUS").await.expect("status").expect("a row");
        let (file, offset): (String, u64) =
            (status.get(0).expect("file"), status.get(1).expect("at"));
        for statement in table.statements {
            conn.query_drop(statement.replace("{t}", &name)).await.expect("a statement");
        }
        let request = BinlogStreamRequest::new(80_000)
            .with_filename(file.as_bytes())
            .with_pos(offset)
            .with_non_blocking();
        let mut stream = db.conn().await.get_binlog_stream(request).await.expect("the stream");
        let (mut map, mut number) = (Vec::new(), 0);
        while let Some(event) = stream.next().await {
            let event = event.expect("an event");
            let code = event.header().event_type_raw();
            match EventClass::of(code) {
                EventClass::TableMap => map = event.data().to_vec(),
                EventClass::Rows => {
                    let mut input = vec![u8::try_from(place).expect("few tables")];
                    input.extend(u16::try_from(map.len()).expect("short").to_le_bytes());
                    input.extend(&map);
                    input.push(code);
                    input.extend(event.data());
                    number += 1;
                    let path = folder("row_event").join(format!("{name}_{number:02}"));
                    std::fs::write(path, input).expect("written");
                }
                _ => {}
            }
        }
    }
}
