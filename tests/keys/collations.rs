//! Order and equality in every collation of the server.

use crate::server::*;
use mysql_async::prelude::*;
use replank::key::{KeyPart, KeySpec, PartType, RawKey};
use replank::sql::Ident;

/// Order and equality in every collation of the server, with strings that try to confuse padding.
#[tokio::test]
async fn ranks_agree_with_every_collation() {
    let mut conn = connect().await;
    let collations: Vec<(String, String, String)> = conn
        .query("SELECT COLLATION_NAME, CHARACTER_SET_NAME, PAD_ATTRIBUTE FROM information_schema.COLLATIONS WHERE COLLATION_NAME <> 'binary'")
        .await
        .unwrap();
    assert!(collations.len() > 200);
    // A fixed linear congruence: the same strings in every run.
    let mut state = 12345u32;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize % below
    };
    let alphabet: Vec<char> =
        "aAbBcChHsSzZ  \t!~09_-'éäßÄšžłıİжЖאกเโ日本語カか가ﷺæœ\u{301}\u{a0}\u{1}😀"
            .chars()
            .collect();
    let mut strings: Vec<String> = vec![
        String::new(),
        " ".into(),
        "a".into(),
        "a ".into(),
        "ß".into(),
        "ss".into(),
        "ı".into(),
        "i".into(),
        "I".into(),
        "İ".into(),
    ];
    strings.extend((1..128u8).map(|byte| char::from(byte).to_string()));
    for _ in 0..300 {
        let len = random(7);
        strings.push((0..len).map(|_| alphabet[random(alphabet.len())]).collect());
    }
    let rows: Vec<String> = strings
        .iter()
        .map(|text| format!("(_utf8mb4 {})", replank::sql::hex(text.as_bytes())))
        .collect();
    let mut wrong = Vec::new();
    for (collation, charset, pad) in collations {
        let ty = PartType::Text {
            charset: charset.clone(),
            collation: collation.clone(),
            pad_space: pad == "PAD SPACE",
            chars: 20,
            fixed: false,
        };
        let spec = KeySpec::new(vec![KeyPart { name: Ident::new("v"), ordinal: 0, ty }]);
        for (table, key) in [("c_all", "KEY (v)"), ("c_unique", "UNIQUE KEY (v)")] {
            exec(&mut conn, format!("DROP TABLE IF EXISTS {table}")).await;
            exec(&mut conn, format!("CREATE TABLE {table} (v VARCHAR(20) CHARACTER SET {charset} COLLATE {collation} NOT NULL, {key})")).await;
            exec(&mut conn, format!("INSERT IGNORE INTO {table} VALUES {}", rows.join(", "))).await;
        }
        let list = spec.export_list();
        let sorted = keys(
            &mut conn,
            &spec,
            format!("SELECT {list} FROM c_unique FORCE INDEX (v) ORDER BY v"),
        )
        .await;
        for pair in sorted.windows(2) {
            if pair[0] >= pair[1] {
                wrong.push(format!(
                    "{collation}: {} before {}: {pair:?}",
                    spec.describe(&pair[0]),
                    spec.describe(&pair[1])
                ));
            }
        }
        let raw: Vec<RawKey> = sorted.iter().map(|key| spec.values(key).unwrap()).collect();
        if with_weights(&mut conn, &spec, &raw).await != sorted {
            wrong.push(format!("{collation}: literals and columns have other weights"));
        }
        let of = |alias: &str| list.replace("`v`", &format!("{alias}.v"));
        let matched = cells(
            &mut conn,
            format!("SELECT {}, {} FROM c_all a JOIN c_unique u ON u.v = a.v", of("a"), of("u")),
        )
        .await;
        if matched.len() != strings.len() {
            wrong.push(format!(
                "{collation}: {} representatives of {} strings",
                matched.len(),
                strings.len()
            ));
        }
        for row in &matched {
            let (left, right) =
                (spec.from_row(&row[..2]).unwrap(), spec.from_row(&row[2..]).unwrap());
            if left != right {
                wrong.push(format!(
                    "{collation}: {} = {}",
                    spec.describe(&left),
                    spec.describe(&right)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences: {:#?}", wrong.len(), &wrong[..wrong.len().min(60)]);
}
