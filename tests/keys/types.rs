//! Every type is checked in a table that has columns of all other types around the key.

use crate::cases::{Case, FILLERS, cases};
use crate::server::*;
use mysql_async::{Conn, Value};
use replank::key::{Key, KeyPart, KeySpec, RawKey};
use replank::sql::Ident;
use replank::stream::event::RowChange;

/// Fails unless the server reads `predicate` through the index.
async fn assert_index(conn: &mut Conn, what: &str, table: &str, predicate: &str, ranges: bool) {
    let plan = cells(conn, format!("EXPLAIN FORMAT=TRADITIONAL SELECT * FROM {table} FORCE INDEX (PRIMARY) WHERE {predicate}")).await;
    let text = |cell: &Value| match cell {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let (access, extra) = (text(&plan[0][4]), text(&plan[0][11]));
    let impossible =
        ["Impossible WHERE", "no matching row in const table"].iter().any(|m| extra.contains(m));
    let indexed = matches!(&*access, "const" | "range" | "ref" | "eq_ref");
    assert!(indexed || impossible || !ranges, "{what}: {access:?} {extra:?} for {predicate}");
}

async fn check(conn: &mut Conn, number: usize, case: &Case) {
    let what = format!(
        "{} {:?}",
        case.name,
        case.key
            .iter()
            .map(|(ddl, _)| ddl.chars().take(70).collect::<String>())
            .collect::<Vec<_>>()
    );
    let table = format!("t{number}");
    let half = FILLERS.len() / 2;
    let filler = |range: std::ops::Range<usize>| {
        range.map(|n| format!("f{n} {}", FILLERS[n].0)).collect::<Vec<_>>().join(", ")
    };
    let parts: Vec<KeyPart> = case
        .key
        .iter()
        .enumerate()
        .map(|(n, (_, ty))| KeyPart {
            name: Ident::new(format!("k`{n}")),
            ordinal: half + n,
            ty: ty.clone(),
        })
        .collect();
    let spec = KeySpec::new(parts);
    let declared: Vec<String> = spec
        .parts
        .iter()
        .zip(&case.key)
        .map(|(part, (ddl, _))| format!("{} {ddl} NOT NULL", part.name))
        .collect();
    exec(conn, format!("DROP TABLE IF EXISTS {table}")).await;
    exec(
        conn,
        format!(
            "CREATE TABLE {table} ({}, {}, {}, PRIMARY KEY ({}))",
            filler(0..half),
            declared.join(", "),
            filler(half..FILLERS.len()),
            spec.column_list()
        ),
    )
    .await;
    let start = binlog_end(conn).await;
    for (n, row) in case.rows.iter().enumerate() {
        let names: Vec<String> = (0..FILLERS.len()).map(|n| format!("f{n}")).collect();
        let values: Vec<&str> = FILLERS
            .iter()
            .enumerate()
            .map(|(f, (_, value))| if (f + n) % 2 == 0 { *value } else { "NULL" })
            .collect();
        exec(
            conn,
            format!(
                "INSERT IGNORE INTO {table} ({}, {}) VALUES ({}, {})",
                spec.column_list(),
                names.join(", "),
                row.join(", "),
                values.join(", ")
            ),
        )
        .await;
    }
    let (list, order) = (spec.export_list(), spec.order_by());
    let selected = keys(
        conn,
        &spec,
        format!("SELECT {list} FROM {table} FORCE INDEX (PRIMARY) ORDER BY {order}"),
    )
    .await;
    assert!(
        !selected.is_empty() && (!case.distinct || selected.len() == case.rows.len()),
        "{what}: {} rows",
        selected.len()
    );
    let raw: Vec<RawKey> = selected.iter().map(|key| spec.values(key).unwrap()).collect();
    for pair in selected.windows(2) {
        assert!(
            pair[0] < pair[1],
            "{what}: {} {:?} before {} {:?}",
            spec.describe(&pair[0]),
            pair[0],
            spec.describe(&pair[1]),
            pair[1]
        );
    }
    assert_eq!(with_weights(conn, &spec, &raw).await, selected, "{what}: weights of literals");

    for (n, key) in selected.iter().enumerate() {
        let find = spec.in_list(std::slice::from_ref(key)).unwrap();
        let found = keys(conn, &spec, format!("SELECT {list} FROM {table} WHERE {find}")).await;
        assert_eq!(found, std::slice::from_ref(key), "{what}: {find}");
        for (predicate, expected) in [
            (spec.after(key).unwrap(), &selected[n + 1..]),
            (spec.up_to(key).unwrap(), &selected[..=n]),
        ] {
            let found = keys(
                conn,
                &spec,
                format!("SELECT {list} FROM {table} WHERE {predicate} ORDER BY {order}"),
            )
            .await;
            assert_eq!(found, expected, "{what}: {predicate}");
            // A side that holds every row may be read as the whole table.
            if expected.len() < selected.len() {
                assert_index(conn, &what, &table, &predicate, case.ranges).await;
            }
        }
        assert_index(conn, &what, &table, &find, true).await;
        let literal = spec.literal(key).unwrap();
        let columns = if spec.parts.len() == 1 {
            spec.column_list()
        } else {
            format!("({})", spec.column_list())
        };
        let found =
            keys(conn, &spec, format!("SELECT {list} FROM {table} WHERE {columns} = {literal}"))
                .await;
        assert_eq!(found, std::slice::from_ref(key), "{what}: = {literal}");
    }
    let some: Vec<Key> = selected.iter().step_by(2).cloned().collect();
    let find = spec.in_list(&some).unwrap();
    let found =
        keys(conn, &spec, format!("SELECT {list} FROM {table} WHERE {find} ORDER BY {order}"))
            .await;
    assert_eq!(found, some, "{what}: {find}");
    assert_index(conn, &what, &table, &find, true).await;
    if selected.len() > 2 {
        let (lo, hi) = (&selected[0], &selected[selected.len() - 2]);
        let range = format!("({}) AND ({})", spec.after(lo).unwrap(), spec.up_to(hi).unwrap());
        let found =
            keys(conn, &spec, format!("SELECT {list} FROM {table} WHERE {range} ORDER BY {order}"))
                .await;
        assert_eq!(found, &selected[1..selected.len() - 1], "{what}: {range}");
        assert_index(conn, &what, &table, &range, case.ranges).await;
    }

    exec(conn, format!("UPDATE {table} SET f0 = COALESCE(f0, 0) + 1")).await;
    exec(conn, format!("DELETE FROM {table}")).await;
    let events = binlog_since(&start).await;
    let columns = FILLERS.len() + spec.parts.len();
    let (mut inserted, mut updated, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes(&events, &table, &spec, columns).unwrap() {
        match change {
            RowChange::Insert(key) => inserted.push(key),
            RowChange::Update { before, after } => {
                assert_eq!(before, after);
                updated.push(after);
            }
            RowChange::Delete(key) => deleted.push(key),
        }
    }
    for (verb, mut changed) in [("inserted", inserted), ("updated", updated), ("deleted", deleted)]
    {
        let ranked = with_weights(conn, &spec, &changed).await;
        let mut order: Vec<usize> = (0..ranked.len()).collect();
        order.sort_by(|a, b| ranked[*a].cmp(&ranked[*b]));
        let sorted: Vec<Key> = order.iter().map(|n| ranked[*n].clone()).collect();
        assert_eq!(sorted, selected, "{what}: {verb}");
        changed = order.iter().map(|n| spec.values(&ranked[*n]).unwrap()).collect();
        assert_eq!(changed, raw, "{what}: raw values {verb}");
    }
    exec(conn, format!("DROP TABLE {table}")).await;
}

#[tokio::test]
async fn keys_of_every_type_sort_and_match_as_the_server_says() {
    let mut conn = connect().await;
    for (number, case) in cases().iter().enumerate() {
        check(&mut conn, number, case).await;
    }
}
