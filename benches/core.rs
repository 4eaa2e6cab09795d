//! The core without a server: how many row images a second the decoder reads, and how many changes a second the ledger
//! takes. `cargo bench --bench core`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use replank::key::{Key, KeyPart, KeySpec, PartType};
use replank::ledger::{Edge, Ledger, Range};
use replank::sql::Ident;
use replank::stream::event::{KeyLayout, RowChange, RowsEvent, TableMap};

/// Rows of one event; the server begins another one at 8 KiB, which is about so many.
const ROWS: u32 = 40;
/// Events of one measurement.
const EVENTS: u32 = 250;
const WRITE_ROWS: u8 = 30;

/// Announces `sbtest1 (id INT, k INT, c CHAR(120), pad CHAR(60))`.
fn table_map() -> Vec<u8> {
    let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0];
    for name in ["bench", "sbtest1"] {
        body.push(name.len() as u8);
        body.extend(name.as_bytes());
        body.push(0);
    }
    // Columns: LONG, LONG, STRING, STRING; the metadata of the strings; none may be NULL.
    body.extend([4, 3, 3, 254, 254, 4, 0xfe, 120, 0xfe, 60, 0]);
    body
}

/// Inserts rows from that id on, as sysbench fills them.
fn rows(first: u32) -> Vec<u8> {
    let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0, 2, 0, 4, 0x0f];
    for id in first..first + ROWS {
        body.push(0);
        body.extend(id.to_le_bytes());
        body.extend((id * 7).to_le_bytes());
        body.push(119);
        body.extend([b'c'; 119]);
        body.push(59);
        body.extend([b'p'; 59]);
    }
    body
}

fn layout() -> KeyLayout {
    let ty = PartType::Int { bytes: 4, unsigned: false };
    let part = KeyPart { name: Ident::new("id"), ordinal: 0, ty };
    let spec = KeySpec::new(vec![part]);
    let map = TableMap::parse(&table_map()).expect("a table map");
    KeyLayout::new(&map, &spec, 4).expect("a layout")
}

fn keys(layout: &KeyLayout, body: &[u8], mut take: impl FnMut(Key)) {
    let event = RowsEvent::parse(WRITE_ROWS, body).expect("an event");
    let each = |change: RowChange<Key>| {
        match change {
            RowChange::Insert(key) | RowChange::Delete(key) => take(key),
            RowChange::Update { before, after } => {
                take(before);
                take(after);
            }
        }
        Ok(())
    };
    event.each_key(layout, each).expect("rows");
}

fn decoder(c: &mut Criterion) {
    let layout = layout();
    let events: Vec<Vec<u8>> = (0..EVENTS).map(|n| rows(n * ROWS)).collect();
    let mut group = c.benchmark_group("decoder");
    group.throughput(Throughput::Elements(u64::from(ROWS * EVENTS)));
    group.bench_function("keys of sysbench rows", |b| {
        b.iter(|| {
            for event in &events {
                keys(&layout, event, |key| {
                    black_box(key);
                });
            }
        });
    });
    group.finish();
}

fn ledger(c: &mut Criterion) {
    let layout = layout();
    let mut all = Vec::new();
    for n in 0..EVENTS {
        keys(&layout, &rows(n * ROWS), |key| all.push(key));
    }
    let mut group = c.benchmark_group("ledger");
    group.throughput(Throughput::Elements(all.len() as u64));
    group.bench_function("changes in, batches out", |b| {
        let copied = || {
            let mut ledger = Ledger::new();
            ledger.heartbeat_seen(1, 1);
            ledger.heartbeat_acked(1);
            let chunk = ledger.start_chunk(Range { lo: Edge::Start, hi: Edge::End });
            ledger.finish_chunk(chunk.expect("the whole key is free"));
            ledger
        };
        b.iter_batched(
            copied,
            |mut ledger| {
                for (seq, key) in (2..).zip(&all) {
                    ledger.change(key.clone(), seq);
                    ledger.transaction_end(seq);
                }
                let last = all.len() as u64 + 2;
                ledger.heartbeat_seen(2, last);
                ledger.transaction_end(last);
                ledger.heartbeat_acked(2);
                while let Some(batch) = ledger.next_batch(2_000) {
                    ledger.batch_done(batch.id);
                }
                assert_eq!(ledger.backlog(), 0);
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decoder(&mut criterion);
    ledger(&mut criterion);
    criterion.final_summary();
}
