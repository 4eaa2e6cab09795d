//! The decoder against bytes that MySQL 9.7.4 wrote.
//!
//! They are of the table
//! `orders (j JSON, m MEDIUMINT, d DECIMAL(12,3), dt DATE, dtm DATETIME(3), ts TIMESTAMP(6),
//! t TIME(3), y YEAR, e ENUM('x','y'), s SET('a',…,'i'), bi BIT(10), bn BINARY(4),
//! vb VARBINARY(300), c CHAR(100), g GEOMETRY, v VECTOR(2), k JSON)` whose primary key is `m` to `vb`.

use super::*;
use crate::error::Result;
use crate::key::{Key, KeyPart, KeySpec, PartType, PartValue, RawKey};
use crate::sql::Ident;
use proptest::prelude::*;

/// Announces the table.
const TABLE_MAP: &str = "\
    6c120000000001000473686f7000066f72646572730011f509f60a1211130dfefe10fe0ffefff2f515040c0303\
    0603f701f8020201fe042c01ee9004040401e00101012002053f02fcff000701000d0102\
";
/// Inserts a row with extreme values, and one with zero dates and all else NULL.
const WRITE: &str = "\
    6c12000000001100020011ffffff00000031000000000200300012000100130001000501000c140061621b7878\
    7878787878787878787878787878787878787878787878787800008078a432eafe0b5fc80f9963ff7efb27065e\
    0d5da50000067ffffffff60002010102010161020000ff01006319000000000000000101000000000000000000\
    f03f0000000000000040080000000000803f0000004029000000000200280012000100130001000501000c1400\
    6162137878787878787878787878787878787878787801e001ffffff8000000000010000008000000000000000\
    000000000000b46efb0000ff0100000000000000\
";
/// `UPDATE … SET j = JSON_SET(j, …), m = m + 1, c = 'd'` with the row image MINIMAL and PARTIAL_JSON.
const PARTIAL_MINIMAL: &str = "\
    6c12000000001100020011fe1f00032000000000008078a432eafe0b5fc80f9963ff7efb27065e0d5da5000006\
    7ffffffff60002010102010161020000ff010100090000000003242e6103050200010080010064\
";
/// Changes `j`, `k` and `c` with the row image FULL and PARTIAL_JSON.
const PARTIAL_FULL: &str = "\
    6c12000000001100020011ffffffffffff00000031000000000200300012000100130001000502000c14006162\
    1b78787878787878787878787878787878787878787878787878787801008078a432eafe0b5fc80f9963ff7efb\
    27065e0d5da50000067ffffffff60002010102010161020000ff01006419000000000000000101000000000000\
    000000f03f0000000000000040080000000000803f000000402900000000020028001200010013000100050100\
    0c1400616213787878787878787878787878787878787878780103000000090000000003242e61030503000100\
    8078a432eafe0b5fc80f9963ff7efb27065e0d5da50000067ffffffff60002010102010161020000ff01006419\
    000000000000000101000000000000000000f03f0000000000000040080000000000803f000000400900000000\
    03242e6103050200\
";
/// Deletes the second row.
const DELETE: &str = "\
    6c12000000001100020011ffffff01e001ffffff8000000000010000008000000000000000000000000000b46e\
    fb0000ff0100000000000000\
";
/// The Query event before the rows.
const BEGIN: &str = "\
    6a0500000000000004000025000000000000010000400200000000060373746404ff00ff00ff0005062b30303a\
    303012ff0073686f7000424547494e\
";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().map(|c| char::from(c).to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn spec() -> KeySpec {
    let types = [
        ("m", PartType::Int { bytes: 3, unsigned: false }),
        ("d", PartType::Decimal { precision: 12, scale: 3 }),
        ("dt", PartType::Date),
        ("dtm", PartType::DateTime { fsp: 3 }),
        ("ts", PartType::Timestamp { fsp: 6 }),
        ("t", PartType::Time { fsp: 3 }),
        ("y", PartType::Year),
        ("e", PartType::Enum { members: 2 }),
        ("s", PartType::Set { members: 9 }),
        ("bi", PartType::Bit { bits: 10 }),
        ("bn", PartType::Binary { len: 4 }),
        ("vb", PartType::VarBinary),
    ];
    let part = |(n, (name, ty))| KeyPart { name: Ident::new(name), ordinal: n + 1, ty };
    KeySpec::new(types.into_iter().enumerate().map(part).collect())
}

fn layout() -> KeyLayout {
    KeyLayout::new(&TableMap::parse(&unhex(TABLE_MAP)).unwrap(), &spec(), 17).unwrap()
}

fn decode(code: u8, body: &[u8], layout: &KeyLayout) -> Result<Vec<RowChange<RawKey>>> {
    let event = RowsEvent::parse(code, body)?;
    let mut raw = Vec::new();
    event.each_raw_key(layout, |change| {
        raw.push(change);
        Ok(())
    })?;
    let mut keys: Vec<RowChange<Key>> = Vec::new();
    let rows = event.each_key(layout, |change| {
        keys.push(change);
        Ok(())
    })?;
    assert_eq!((rows, keys.len()), (raw.len(), raw.len()));
    Ok(raw)
}

fn first_row(m: i64) -> RawKey {
    let text = |value: &str| PartValue::Text(value.to_owned());
    vec![
        PartValue::Int(m),
        text("-123456789.500"),
        text("2020-02-31"),
        text("1999-12-31 23:59:59.999"),
        text("2020-01-02 03:04:05.000006"),
        text("-00:00:00.001"),
        PartValue::UInt(0),
        PartValue::UInt(2),
        PartValue::UInt(0x101),
        PartValue::UInt(513),
        PartValue::Bytes(b"a".into()),
        PartValue::Bytes(b"\0\xFF".into()),
    ]
}

fn second_row() -> RawKey {
    let text = |value: &str| PartValue::Text(value.to_owned());
    vec![
        PartValue::Int(-1),
        text("0.001"),
        text("0000-00-00"),
        text("0000-00-00 00:00:00.000"),
        text("0000-00-00 00:00:00.000000"),
        text("838:59:59.000"),
        PartValue::UInt(2155),
        PartValue::UInt(1),
        PartValue::UInt(0),
        PartValue::UInt(0),
        PartValue::Bytes(b"".into()),
        PartValue::Bytes(b"".into()),
    ]
}

#[test]
fn a_table_map_names_the_table_and_its_columns() {
    let map = TableMap::parse(&unhex(TABLE_MAP)).unwrap();
    assert_eq!((&*map.schema, &*map.table, map.columns.len()), ("shop", "orders", 17));
    assert_eq!(map.columns[13].meta, 400, "CHAR(100) in utf8mb4 has up to 400 bytes");
    let nullable: Vec<usize> = (0..17).filter(|n| map.nullable[*n]).collect();
    assert_eq!(nullable, [0, 13, 14, 15, 16]);
    let names = TableMap::parse_names(&unhex(TABLE_MAP)).unwrap();
    assert_eq!(names, (map.table_id, map.schema, map.table));
}

#[test]
fn inserted_keys_are_decoded_among_columns_of_all_types() {
    let changes = decode(codes::WRITE_ROWS, &unhex(WRITE), &layout()).unwrap();
    let expected = [RowChange::Insert(first_row(-8_388_608)), RowChange::Insert(second_row())];
    assert_eq!(changes, expected);
}

#[test]
fn the_old_form_of_rows_events_has_the_same_rows() {
    let mut body = unhex(WRITE);
    // The old form has no length of extra data behind the table id and flags.
    body.drain(8..10);
    let changes = decode(codes::WRITE_ROWS_V1, &body, &layout()).unwrap();
    assert_eq!(changes, decode(codes::WRITE_ROWS, &unhex(WRITE), &layout()).unwrap());
    let mut body = unhex(DELETE);
    body.drain(8..10);
    let changes = decode(codes::DELETE_ROWS_V1, &body, &layout()).unwrap();
    assert_eq!(changes, decode(codes::DELETE_ROWS, &unhex(DELETE), &layout()).unwrap());
}

#[test]
fn an_update_has_two_images_in_both_forms() {
    // The two rows of an insert, read as one row before and after.
    let mut body = unhex(WRITE);
    let bitmap = body[11..14].to_vec();
    body.splice(14..14, bitmap);
    let new = decode(codes::UPDATE_ROWS, &body, &layout()).unwrap();
    let (before, after) = (first_row(-8_388_608), second_row());
    assert_eq!(new, [RowChange::Update { before, after }]);
    body.drain(8..10);
    assert_eq!(new, decode(codes::UPDATE_ROWS_V1, &body, &layout()).unwrap());
}

#[test]
fn a_key_column_missing_after_an_update_keeps_its_value() {
    let changes = decode(codes::PARTIAL_UPDATE_ROWS, &unhex(PARTIAL_MINIMAL), &layout()).unwrap();
    let (before, after) = (first_row(-8_388_608), first_row(-8_388_607));
    assert_eq!(changes, [RowChange::Update { before, after }]);
}

#[test]
fn json_differences_are_stepped_over() {
    let changes = decode(codes::PARTIAL_UPDATE_ROWS, &unhex(PARTIAL_FULL), &layout()).unwrap();
    let row = first_row(-8_388_607);
    assert_eq!(changes, [RowChange::Update { before: row.clone(), after: row }]);
}

#[test]
fn deleted_keys_are_those_before() {
    let changes = decode(codes::DELETE_ROWS, &unhex(DELETE), &layout()).unwrap();
    assert_eq!(changes, [RowChange::Delete(second_row())]);
}

#[test]
fn a_statement_is_found_behind_the_session_variables() {
    let event = QueryEvent::parse(&unhex(BEGIN)).unwrap();
    assert_eq!((&*event.schema, &*event.sql, event.error_code), ("shop", "BEGIN", 0));
}

#[test]
fn a_row_image_without_the_key_says_which_column_and_what_to_do() {
    // The image before the update has the primary key, but not the column `j`.
    let spec = KeySpec::new(vec![KeyPart {
        name: Ident::new("c"),
        ordinal: 13,
        ty: PartType::Text {
            charset: "utf8mb4".into(),
            collation: "utf8mb4_bin".into(),
            pad_space: true,
            chars: 100,
            fixed: true,
        },
    }]);
    let map = TableMap::parse(&unhex(TABLE_MAP)).unwrap();
    let layout = KeyLayout::new(&map, &spec, 17).unwrap();
    let body = unhex(PARTIAL_MINIMAL);
    let error = decode(codes::PARTIAL_UPDATE_ROWS, &body, &layout).unwrap_err();
    assert!(error.what().contains("`shop`.`orders`") && error.what().contains("`c`"), "{error}");
    assert!(error.next_step().unwrap().contains("binlog_row_image"));
    let error = decode(codes::DELETE_ROWS, &unhex(DELETE), &layout).unwrap_err();
    assert!(error.what().contains("NULL"), "{error}");
}

#[test]
fn a_changed_structure_is_refused() {
    let map = TableMap::parse(&unhex(TABLE_MAP)).unwrap();
    assert!(KeyLayout::new(&map, &spec(), 16).is_err(), "another number of columns");
    let mut wider = spec();
    wider.parts[0].ty = PartType::Int { bytes: 4, unsigned: false };
    assert!(KeyLayout::new(&map, &wider, 17).is_err(), "another type");
    let mut beyond = spec();
    beyond.parts[0].ordinal = 17;
    assert!(KeyLayout::new(&map, &beyond, 17).is_err(), "no such column");
    let mut other = layout();
    other.table_id += 1;
    assert!(decode(codes::DELETE_ROWS, &unhex(DELETE), &other).is_err(), "another table");
}

#[test]
fn every_cut_of_an_event_is_an_error() {
    for (code, text) in [
        (codes::WRITE_ROWS, WRITE),
        (codes::PARTIAL_UPDATE_ROWS, PARTIAL_MINIMAL),
        (codes::PARTIAL_UPDATE_ROWS, PARTIAL_FULL),
        (codes::DELETE_ROWS, DELETE),
    ] {
        let body = unhex(text);
        let layout = layout();
        // A cut between two rows leaves a shorter event that is right in itself.
        let whole = decode(code, &body, &layout).unwrap().len();
        for len in 0..body.len() {
            if let Ok(changes) = decode(code, &body[..len], &layout) {
                assert!(!changes.is_empty() && changes.len() < whole, "{code} cut at {len}");
            }
        }
    }
    // What follows the null bits of a table map (its last 5 bytes here) is optional.
    let map = unhex(TABLE_MAP);
    for len in 0..map.len() - 7 {
        if let Ok(short) = TableMap::parse(&map[..len]) {
            assert_eq!(short, TableMap::parse(&map).unwrap(), "cut at {len}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Nothing is claimed of what comes out, only that it comes out without a panic.
    #[test]
    fn corrupt_bytes_never_panic(
        which in 0usize..4,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        map_edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let (code, text) = [
            (codes::WRITE_ROWS, WRITE),
            (codes::PARTIAL_UPDATE_ROWS, PARTIAL_MINIMAL),
            (codes::PARTIAL_UPDATE_ROWS, PARTIAL_FULL),
            (codes::DELETE_ROWS, DELETE),
        ][which];
        let (mut body, mut map) = (unhex(text), unhex(TABLE_MAP));
        for (at, byte) in edits {
            let at = at.index(body.len());
            body[at] = byte;
        }
        for (at, byte) in map_edits {
            let at = at.index(map.len());
            map[at] = byte;
        }
        let body = &body[..body.len() - cut.index(body.len()) / 8];
        let _ = decode(code, body, &layout());
        let _ = QueryEvent::parse(body);
        if let Ok(map) = TableMap::parse(&map)
            && let Ok(layout) = KeyLayout::new(&map, &spec(), map.columns.len())
        {
            let _ = decode(code, body, &layout);
        }
    }

    #[test]
    fn random_bytes_never_panic(code in 23u8..40, body in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = TableMap::parse(&body);
        let _ = QueryEvent::parse(&body);
        let _ = decode(code, &body, &layout());
    }
}
