//! Row images: reduced, partial, and with columns that a SELECT does not show.

use crate::server::*;
use replank::error::Result;
use replank::key::{KeyPart, KeySpec, PartType, RawKey};
use replank::sql::Ident;
use replank::stream::event::RowChange;

/// A table `name` of int key `a` and what else it has; the statements; the changes, as `(before, after)`.
async fn int_changes(
    name: &str,
    ordinal: usize,
    columns: usize,
    statements: &[&str],
) -> Result<Vec<(Option<i64>, Option<i64>)>> {
    let mut conn = connect().await;
    let ty = PartType::Int { bytes: 4, unsigned: false };
    let spec = KeySpec::new(vec![KeyPart { name: Ident::new("a"), ordinal, ty }]);
    exec(&mut conn, format!("DROP TABLE IF EXISTS {name}")).await;
    let start = binlog_end(&mut conn).await;
    for statement in statements {
        exec(&mut conn, statement).await;
    }
    let value = |key: RawKey| match key[0] {
        replank::key::PartValue::Int(value) => Some(value),
        _ => None,
    };
    let found = changes(&binlog_since(&start).await, name, &spec, columns)?;
    Ok(found
        .into_iter()
        .map(|change| match change {
            RowChange::Insert(key) => (None, value(key)),
            RowChange::Update { before, after } => (value(before), value(after)),
            RowChange::Delete(key) => (value(key), None),
        })
        .collect())
}

#[tokio::test]
async fn a_minimal_row_image_keeps_the_old_key_where_it_does_not_change() {
    let found = int_changes(
        "minimal",
        1,
        4,
        &[
            "CREATE TABLE minimal (x JSON, a INT PRIMARY KEY, b INT, c LONGTEXT)",
            "SET SESSION binlog_row_image = MINIMAL",
            "INSERT INTO minimal (a, c) VALUES (1, 'x'), (2, 'y')",
            "UPDATE minimal SET b = 5 WHERE a = 1",
            "UPDATE minimal SET a = 20, b = 6 WHERE a = 2",
            "UPDATE minimal SET b = a",
            "DELETE FROM minimal",
        ],
    )
    .await
    .unwrap();
    assert_eq!(
        found,
        [
            (None, Some(1)),
            (None, Some(2)),
            (Some(1), Some(1)),
            (Some(2), Some(20)),
            (Some(1), Some(1)),
            (Some(20), Some(20)),
            (Some(1), None),
            (Some(20), None),
        ]
    );
}

#[tokio::test]
async fn a_default_key_is_missing_in_the_minimal_image_unless_it_is_computed() {
    let error = int_changes(
        "defaults",
        0,
        2,
        &[
            "CREATE TABLE defaults (a INT NOT NULL DEFAULT 7 PRIMARY KEY, b INT)",
            "SET SESSION binlog_row_image = MINIMAL",
            "INSERT INTO defaults (b) VALUES (1)",
        ],
    )
    .await
    .unwrap_err();
    assert!(error.what().contains("does not say which `a`"), "{error}");
    let found = int_changes(
        "computed",
        0,
        2,
        &[
            "CREATE TABLE computed (a INT NOT NULL DEFAULT (3 + 4) PRIMARY KEY, b INT)",
            "SET SESSION binlog_row_image = MINIMAL",
            "INSERT INTO computed (b) VALUES (1)",
            "REPLACE INTO computed (b) VALUES (6)",
            "INSERT INTO computed (b) VALUES (8) ON DUPLICATE KEY UPDATE a = 9",
        ],
    )
    .await;
    assert_eq!(found.unwrap(), [(None, Some(7)), (Some(7), Some(7)), (Some(7), Some(9))]);
    let found = int_changes(
        "counted",
        0,
        2,
        &[
            "CREATE TABLE counted (a INT AUTO_INCREMENT PRIMARY KEY, b INT)",
            "SET SESSION binlog_row_image = MINIMAL",
            "INSERT INTO counted (b) VALUES (1), (2)",
        ],
    )
    .await;
    assert_eq!(found.unwrap(), [(None, Some(1)), (None, Some(2))]);
}

#[tokio::test]
async fn a_before_image_without_the_chosen_key_is_an_error_with_a_remedy() {
    let error = int_changes(
        "other_key",
        1,
        3,
        &[
            "CREATE TABLE other_key (p INT PRIMARY KEY, a INT NOT NULL UNIQUE, b INT)",
            "SET SESSION binlog_row_image = MINIMAL",
            "INSERT INTO other_key VALUES (1, 2, 3)",
            "UPDATE other_key SET b = 5",
        ],
    )
    .await
    .unwrap_err();
    assert!(error.what().contains("`other_key`") && error.what().contains("`a`"), "{error}");
    assert!(error.next_step().unwrap().contains("binlog_row_image"));
}

#[tokio::test]
async fn partial_json_updates_are_walked() {
    for image in ["FULL", "MINIMAL", "NOBLOB"] {
        let found = int_changes("partial", 2, 6, &[
            "CREATE TABLE partial (j JSON, t TEXT, a INT PRIMARY KEY, k JSON, b BLOB, l JSON)",
            &format!("SET SESSION binlog_row_image = {image}, binlog_row_value_options = PARTIAL_JSON"),
            r#"INSERT INTO partial VALUES ('{"a": 1, "b": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}', 't', 1, '{"a": 1, "b": "xxxxxxxxxxxxxxxxxxx"}', 'b', NULL), (NULL, 't', 2, '[1, 2, 3]', 'b', '[]')"#,
            "UPDATE partial SET j = JSON_SET(j, '$.a', 2)",
            "UPDATE partial SET k = JSON_REPLACE(k, '$.a', 3), j = '[]'",
            "UPDATE partial SET k = JSON_REMOVE(k, '$.a'), a = a + 10 ORDER BY a DESC",
            "UPDATE partial SET t = 'u'",
            "UPDATE partial SET k = NULL, j = JSON_SET(j, '$[0]', 1)",
        ]).await.unwrap();
        let pairs = found.iter().map(|(b, a)| (b.unwrap_or(0), a.unwrap_or(0))).collect::<Vec<_>>();
        assert!(
            pairs.contains(&(2, 12)) && pairs.contains(&(1, 11)) && pairs.contains(&(12, 12)),
            "{image} {pairs:?}"
        );
        assert_eq!(pairs.len(), 11, "{image} {pairs:?}");
    }
}

#[tokio::test]
async fn generated_hidden_and_invisible_columns_have_their_place_in_rows() {
    let statements = [
        "CREATE TABLE places (v INT AS (b + 1) VIRTUAL, b INT, s INT AS (b + 2) STORED, i INT INVISIBLE, \
         a INT PRIMARY KEY, w VARCHAR(10) AS (CONCAT('w', b)) VIRTUAL, KEY ((b * 2)), KEY (w))",
        "INSERT INTO places (b, i, a) VALUES (1, 2, 3)",
        "UPDATE places SET b = 7",
        "SET SESSION binlog_row_image = MINIMAL",
        "UPDATE places SET b = 8",
        "UPDATE places SET a = 4",
    ];
    let found = int_changes("places", 4, 6, &statements).await;
    assert_eq!(
        found.unwrap(),
        [(None, Some(3)), (Some(3), Some(3)), (Some(3), Some(3)), (Some(3), Some(4))]
    );
}

#[tokio::test]
async fn a_changed_structure_is_an_error() {
    let error = int_changes(
        "wider",
        0,
        1,
        &["CREATE TABLE wider (a INT PRIMARY KEY, b INT)", "INSERT INTO wider VALUES (1, 2)"],
    )
    .await
    .unwrap_err();
    assert!(error.what().contains("2 columns where 1"), "{error}");
    let error = int_changes(
        "big",
        0,
        1,
        &["CREATE TABLE big (a BIGINT PRIMARY KEY)", "INSERT INTO big VALUES (1)"],
    )
    .await
    .unwrap_err();
    assert!(error.what().contains("key column `a`"), "{error}");
}
