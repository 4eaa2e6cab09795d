//! Every type of key column with its edge values.

use replank::key::PartType;

/// Columns of every type, nullable, to be stepped over.
pub(crate) const FILLERS: &[(&str, &str)] = &[
    ("INT", "-5"),
    ("VARCHAR(300)", "REPEAT('é', 200)"),
    ("JSON", "'{\"a\": [1, 2, 3]}'"),
    ("GEOMETRY", "ST_GeomFromText('POINT(1 2)')"),
    ("VECTOR(3)", "TO_VECTOR('[1,2,3]')"),
    ("BLOB", "REPEAT('b', 300)"),
    ("LONGTEXT", "REPEAT('t', 70000)"),
    ("DECIMAL(30,10)", "-12345.678"),
    ("TIME(3)", "'-12:34:56.789'"),
    ("DATETIME(6)", "'2020-02-29 12:00:00.123456'"),
    ("TIMESTAMP(1) NULL", "'2020-02-29 12:00:00.1'"),
    ("BIT(17)", "65537"),
    ("ENUM('x','y')", "'y'"),
    ("SET('a','b','c','d','e','f','g','h','i')", "'a,i'"),
    ("CHAR(200)", "'char'"),
    ("FLOAT", "1.5"),
    ("DOUBLE", "2.5"),
    ("YEAR", "2020"),
    ("DATE", "'2020-02-29'"),
    ("MEDIUMINT", "-1"),
    ("BINARY(20)", "'bin'"),
    ("TINYBLOB", "'tiny'"),
    ("MEDIUMBLOB", "'medium'"),
    ("BIGINT UNSIGNED", "18446744073709551615"),
    ("VARBINARY(20)", "''"),
    ("CHAR(10) CHARACTER SET latin1", "'é'"),
    ("SMALLINT", "7"),
    ("TINYINT", "7"),
    ("TIME", "'00:00:01'"),
    ("DATETIME", "'2020-02-29 12:00:00'"),
];

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The key's columns: declaration and type.
    pub(crate) key: Vec<(String, PartType)>,
    /// One literal per key column.
    pub(crate) rows: Vec<Vec<String>>,
    /// Whether all rows differ for the server.
    pub(crate) distinct: bool,
    /// Whether `<` and `>` can use the index.
    pub(crate) ranges: bool,
}

pub(crate) fn case(name: &'static str, declaration: &str, ty: PartType, values: &[&str]) -> Case {
    Case {
        name,
        key: vec![(declaration.to_owned(), ty)],
        rows: values.iter().map(|value| vec![(*value).to_owned()]).collect(),
        distinct: true,
        ranges: true,
    }
}

pub(crate) fn text_type(
    collation: &str,
    pad_space: bool,
    chars: u32,
    fixed: bool,
) -> (String, PartType) {
    let charset = collation.split('_').next().unwrap().to_owned();
    let kind = if fixed { "CHAR" } else { "VARCHAR" };
    let declaration = format!("{kind}({chars}) CHARACTER SET {charset} COLLATE {collation}");
    (
        declaration,
        PartType::Text { charset, collation: collation.to_owned(), pad_space, chars, fixed },
    )
}

pub(crate) const WORDS: &[&str] = &[
    "''",
    "' '",
    "'a'",
    "'A'",
    "'a '",
    "'a  '",
    "' a'",
    "'á'",
    "'ä'",
    "'ß'",
    "'ss'",
    "'s'",
    "'sz'",
    "'ae'",
    "'b'",
    "'aa'",
    "'a b'",
    "'a  b'",
    "'a\\tb'",
    "'a\\t'",
    "'\\t'",
    "X'00'",
    "X'6100'",
    "'日本'",
    "'日'",
    "'カ'",
    "'か'",
    "'ก'",
    "'เก'",
    "'ПРИВЕТ'",
    "'привет'",
    "'ch'",
    "'cz'",
    "'h'",
    "'i'",
    "'ij'",
    "'\\''",
    "'\\\\'",
    "'`'",
    "'😀'",
    "'😁'",
    "'zzzzzzzz'",
    "'ﷺ'",
    "'a!'",
    "'a~'",
];

pub(crate) const COLLATIONS: &[(&str, bool)] = &[
    ("utf8mb4_0900_ai_ci", false),
    ("utf8mb4_0900_bin", false),
    ("utf8mb4_0900_as_cs", false),
    ("utf8mb4_ja_0900_as_cs_ks", false),
    ("utf8mb4_general_ci", true),
    ("utf8mb4_bin", true),
    ("utf8mb4_unicode_ci", true),
    ("utf8mb3_general_ci", true),
    ("latin1_swedish_ci", true),
    ("latin1_german2_ci", true),
    ("latin2_czech_cs", true),
    ("cp1250_czech_cs", true),
    ("latin7_estonian_cs", true),
    ("gbk_chinese_ci", true),
    ("sjis_japanese_ci", true),
    ("utf16_general_ci", true),
    ("utf32_bin", true),
    ("ucs2_general_ci", true),
    ("tis620_thai_ci", true),
    ("gb18030_chinese_ci", true),
    ("ascii_bin", true),
];

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (name, bytes) in
        [("TINYINT", 1u8), ("SMALLINT", 2), ("MEDIUMINT", 3), ("INT", 4), ("BIGINT", 8)]
    {
        let max = i64::MAX >> (64 - 8 * u32::from(bytes));
        let signed = [-max - 1, -max, -2, -1, 0, 1, 100, max - 1, max].map(|v| v.to_string());
        let unsigned =
            [0, 1, max as u64, max as u64 + 1, 2 * max as u64 + 1].map(|v| v.to_string());
        let int = |unsigned| PartType::Int { bytes, unsigned };
        all.push(case(name, name, int(false), &signed.each_ref().map(|v| &**v)));
        let declaration = format!("{name} UNSIGNED ZEROFILL");
        all.push(case(name, &declaration, int(true), &unsigned.each_ref().map(|v| &**v)));
    }
    let decimal = |precision, scale| PartType::Decimal { precision, scale };
    all.push(case(
        "decimal",
        "DECIMAL(10,3)",
        decimal(10, 3),
        &[
            "-9999999.999",
            "-1.5",
            "-1.499",
            "-0.001",
            "0",
            "0.001",
            "0.01",
            "1",
            "9.9",
            "10",
            "123456.789",
            "9999999.999",
        ],
    ));
    all.push(case(
        "decimal",
        "DECIMAL(65,30)",
        decimal(65, 30),
        &[
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "-1",
            "0",
            "0.000000000000000000000000000001",
            "1000000000",
            "999999999",
            "12345678901234567890123456789012345.5",
        ],
    ));
    all.push(case(
        "decimal",
        "DECIMAL(18,0)",
        decimal(18, 0),
        &["-999999999999999999", "-1000000000", "-999999999", "0", "7", "999999999999999999"],
    ));
    all.push(case(
        "decimal",
        "DECIMAL(5,5)",
        decimal(5, 5),
        &["-0.99999", "-0.1", "0", "0.00001", "0.99999"],
    ));
    all.push(case(
        "decimal",
        "DECIMAL(9,2) ZEROFILL",
        decimal(9, 2),
        &["0", "0.01", "12.5", "9999999.99"],
    ));
    all.push(case(
        "date",
        "DATE",
        PartType::Date,
        &[
            "'0000-00-00'",
            "'0000-00-01'",
            "'0001-01-01'",
            "'1969-12-31'",
            "'2020-00-00'",
            "'2020-02-00'",
            "'2020-02-29'",
            "'2020-02-31'",
            "'9999-12-31'",
        ],
    ));
    for fsp in 0..=6u8 {
        let declaration = format!("DATETIME({fsp})");
        all.push(case(
            "datetime",
            &declaration,
            PartType::DateTime { fsp },
            &[
                "'0000-00-00 00:00:00'",
                "'0000-01-01 00:00:01'",
                "'1000-01-01 00:00:00'",
                "'2019-12-31 23:59:59'",
                "'2020-02-31 12:34:56'",
                "'2020-06-00 01:02:03'",
                "'9999-12-31 23:59:59'",
            ],
        ));
        let declaration = format!("TIMESTAMP({fsp})");
        all.push(case(
            "timestamp",
            &declaration,
            PartType::Timestamp { fsp },
            &[
                "'0000-00-00 00:00:00'",
                "'1970-01-01 00:00:01'",
                "'2000-02-29 23:59:59'",
                "'2020-03-29 01:30:00'",
                "'2038-01-19 03:14:07'",
            ],
        ));
        let declaration = format!("TIME({fsp})");
        all.push(case(
            "time",
            &declaration,
            PartType::Time { fsp },
            &[
                "'-838:59:59'",
                "'-100:00:00'",
                "'-12:34:56'",
                "'-00:00:01'",
                "'00:00:00'",
                "'00:00:01'",
                "'23:59:59'",
                "'100:00:00'",
                "'838:59:59'",
            ],
        ));
        if fsp > 0 {
            let f = "123456"[..usize::from(fsp)].to_owned();
            let last = "000002"[6 - usize::from(fsp)..].to_owned();
            let datetimes = [&f, &last].map(|f| format!("'2020-01-02 03:04:05.{f}'"));
            all.push(case(
                "datetime",
                &format!("DATETIME({fsp})"),
                PartType::DateTime { fsp },
                &datetimes.each_ref().map(|v| &**v),
            ));
            all.push(case(
                "timestamp",
                &format!("TIMESTAMP({fsp})"),
                PartType::Timestamp { fsp },
                &datetimes.each_ref().map(|v| &**v),
            ));
            let times: Vec<String> =
                ["-838:59:58", "-00:00:01", "-00:00:00", "00:00:00", "01:02:03"]
                    .iter()
                    .flat_map(|time| [&f, &last].map(|f| format!("'{time}.{f}'")))
                    .collect();
            let times: Vec<&str> = times.iter().map(|v| &**v).collect();
            all.push(case("time", &format!("TIME({fsp})"), PartType::Time { fsp }, &times));
        }
    }
    all.push(case(
        "year",
        "YEAR",
        PartType::Year,
        &["0", "'1901'", "'1970'", "'2000'", "'2069'", "'2155'"],
    ));
    all.push(case(
        "enum",
        "ENUM('z','é','','y','ü')",
        PartType::Enum { members: 5 },
        &["1", "2", "3", "4", "5", "'bogus'"],
    ));
    let wide: Vec<String> = (0..300).map(|n| format!("'m{n}'")).collect();
    all.push(case(
        "enum",
        &format!("ENUM({})", wide.join(",")),
        PartType::Enum { members: 300 },
        &["1", "255", "256", "300"],
    ));
    all.push(case(
        "set",
        "SET('c','b','é')",
        PartType::Set { members: 3 },
        &["0", "1", "2", "3", "4", "5", "7"],
    ));
    let wide: Vec<String> = (0..64).map(|n| format!("'m{n}'")).collect();
    all.push(Case {
        ranges: false,
        ..case(
            "set",
            &format!("SET({})", wide.join(",")),
            PartType::Set { members: 64 },
            &["0", "1", "9007199254740993", "9223372036854775808", "18446744073709551615"],
        )
    });
    for (bits, values) in [
        (1u8, &["0", "1"][..]),
        (10, &["0", "1", "255", "256", "1023"]),
        (64, &["0", "1", "9223372036854775808", "18446744073709551615"]),
    ] {
        all.push(case("bit", &format!("BIT({bits})"), PartType::Bit { bits }, values));
    }
    let bytes = [
        "''",
        "X'00'",
        "X'0000'",
        "X'0001'",
        "X'01'",
        "X'20'",
        "X'61'",
        "X'6100'",
        "X'610001'",
        "X'6120'",
        "X'6161'",
        "X'FF'",
        "X'FFFF00'",
        "X'C3A9'",
        "X'2727'",
        "X'5C'",
    ];
    let padded: Vec<&str> =
        bytes.into_iter().filter(|v| !matches!(*v, "X'00'" | "X'0000'" | "X'6100'")).collect();
    all.push(case("binary", "BINARY(5)", PartType::Binary { len: 5 }, &padded));
    all.push(case("binary", "BINARY(255)", PartType::Binary { len: 255 }, &padded));
    all.push(case("varbinary", "VARBINARY(5)", PartType::VarBinary, &bytes));
    all.push(case(
        "varbinary",
        "VARBINARY(3000)",
        PartType::VarBinary,
        &[&bytes[..], &["REPEAT('x', 2999)"]].concat(),
    ));
    for (collation, pad_space) in COLLATIONS {
        for fixed in [false, true] {
            all.push(Case {
                name: "text",
                key: vec![text_type(collation, *pad_space, 20, fixed)],
                rows: WORDS
                    .iter()
                    .filter(|word| !(collation.starts_with("tis620") && word.contains("00")))
                    .map(|word| vec![(*word).to_owned()])
                    .collect(),
                distinct: false,
                ranges: true,
            });
        }
    }
    all.push(Case {
        name: "long text",
        key: vec![text_type("utf8mb4_0900_ai_ci", false, 255, true)],
        rows: [1, 10, 63, 64, 255].iter().map(|n| vec![format!("REPEAT('é', {n})")]).collect(),
        distinct: true,
        ranges: true,
    });
    let pairs = |a: &[&str], b: &[&str]| -> Vec<Vec<String>> {
        a.iter()
            .flat_map(|a| b.iter().map(move |b| vec![(*a).to_owned(), (*b).to_owned()]))
            .collect()
    };
    let words = &WORDS[..24];
    let int = ("INT".to_owned(), PartType::Int { bytes: 4, unsigned: false });
    let varbinary = ("VARBINARY(5)".to_owned(), PartType::VarBinary);
    for (collation, pad_space) in [
        ("utf8mb4_0900_ai_ci", false),
        ("latin1_swedish_ci", true),
        ("latin2_czech_cs", true),
        ("utf8mb4_bin", true),
    ] {
        let text = text_type(collation, pad_space, 10, false);
        let both = |key, rows| Case { name: "composite", key, rows, distinct: false, ranges: true };
        all.push(both(vec![int.clone(), text.clone()], pairs(&["-1", "0", "7"], words)));
        all.push(both(vec![text.clone(), int.clone()], pairs(words, &["-1", "0", "7"])));
        all.push(both(vec![text.clone(), varbinary.clone()], pairs(&words[..8], &bytes)));
        all.push(both(vec![varbinary.clone(), text], pairs(&bytes, &words[..8])));
    }
    let exact = |key, rows| Case { name: "composite", key, rows, distinct: true, ranges: true };
    all.push(exact(vec![varbinary.clone(), varbinary], pairs(&bytes, &bytes)));
    all.push(exact(
        vec![
            ("ENUM('b','a','c')".into(), PartType::Enum { members: 3 }),
            ("TIME(2)".into(), PartType::Time { fsp: 2 }),
        ],
        pairs(&["1", "2", "3", "'bogus'"], &["'-00:00:00.01'", "'00:00:00'", "'10:00:00.5'"]),
    ));
    all.push(exact(
        vec![
            ("SET('b','a')".into(), PartType::Set { members: 2 }),
            ("BIT(9)".into(), PartType::Bit { bits: 9 }),
            ("DATE".into(), PartType::Date),
        ],
        pairs(&["0", "1", "3"], &["0", "256", "511"])
            .into_iter()
            .map(|mut row| {
                row.push("'2020-02-31'".into());
                row
            })
            .collect(),
    ));
    all.push(exact(
        vec![
            ("TIMESTAMP(3)".into(), PartType::Timestamp { fsp: 3 }),
            ("DATETIME(2)".into(), PartType::DateTime { fsp: 2 }),
        ],
        pairs(
            &["'0000-00-00 00:00:00'", "'2020-01-01 00:00:00.001'"],
            &["'0000-00-00 00:00:00'", "'2020-02-00 00:00:00.01'", "'9999-12-31 23:59:59.99'"],
        ),
    ));
    all.push(exact(
        vec![("DECIMAL(9,4)".into(), decimal(9, 4)), ("YEAR".into(), PartType::Year)],
        pairs(&["-1.0001", "0", "3"], &["0", "1901", "2155"]),
    ));
    let mut triple = exact(vec![int.clone(), int.clone(), int], Vec::new());
    for n in 0..27 {
        triple.rows.push(vec![
            (n / 9 - 1).to_string(),
            (n / 3 % 3).to_string(),
            (n % 3).to_string(),
        ]);
    }
    all.push(triple);
    all
}
