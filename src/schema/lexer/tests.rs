use proptest::prelude::*;

use super::TokenKind::{Number, Punct, Quoted, Text, Variable, Word};
use super::*;

const MYSQL: Dialect =
    Dialect { ansi_quotes: false, no_backslash_escapes: false, server_version: 90704 };
const ANSI: Dialect = Dialect { ansi_quotes: true, ..MYSQL };

fn cut(text: &str) -> Vec<(TokenKind, &str)> {
    cut_in(text, MYSQL)
}

fn cut_in(text: &str, dialect: Dialect) -> Vec<(TokenKind, &str)> {
    tokens(text, dialect).unwrap().into_iter().map(|token| (token.kind, token.text)).collect()
}

fn words(text: &str) -> Vec<&str> {
    cut(text).into_iter().map(|(_, text)| text).collect()
}

fn refusal(text: &str) -> String {
    tokens(text, MYSQL).unwrap_err().to_string()
}

#[test]
fn bare_names_hold_dollars_digits_and_everything_beyond_ascii() {
    assert_eq!(
        cut("a$b _x straße \u{a0} 😀 1a"),
        [
            (Word, "a$b"),
            (Word, "_x"),
            (Word, "straße"),
            (Word, "\u{a0}"),
            (Word, "😀"),
            (Word, "1a"),
        ]
    );
}

#[test]
fn numbers_are_told_from_names_that_begin_with_a_digit() {
    for number in ["0", "1e5", "1E+5", "1.5e-3", ".5", "1.", "0x1F", "0b01", "X'0aFF'", "b'01'"] {
        assert_eq!(cut(number), [(Number, number)]);
    }
    for name in ["1e", "0X1F", "0x1Fg", "0b12", "0x", "00x1", "1_000"] {
        assert_eq!(cut(name), [(Word, name)]);
    }
    assert_eq!(cut("1e5abc"), [(Number, "1e5"), (Word, "abc")]);
    assert_eq!(cut("1.2.3"), [(Number, "1.2"), (Number, ".3")]);
}

#[test]
fn after_a_name_and_a_dot_a_number_is_a_name() {
    assert_eq!(cut("db.1e5"), [(Word, "db"), (Punct, "."), (Word, "1e5")]);
    assert_eq!(
        cut("db.5.0x1"),
        [(Word, "db"), (Punct, "."), (Word, "5"), (Punct, "."), (Word, "0x1")]
    );
    assert_eq!(cut("db .5"), [(Word, "db"), (Number, ".5")]);
    assert_eq!(cut("db.x'41'"), [(Word, "db"), (Punct, "."), (Word, "x"), (Text, "'41'")]);
}

#[test]
fn a_doubled_quote_does_not_end_a_name_or_a_string() {
    assert_eq!(
        cut("`a``b` 'it''s' \"a\"\"b\""),
        [(Quoted, "`a``b`"), (Text, "'it''s'"), (Text, "\"a\"\"b\"")]
    );
    let names = tokens("`a``b` `` \u{e4} 'x'", MYSQL).unwrap();
    let names: Vec<_> = names.iter().map(Token::name).collect();
    assert_eq!(names, [Some("a`b".into()), Some("".into()), Some("ä".into()), None]);
}

#[test]
fn a_backslash_escapes_only_in_strings_and_only_if_the_mode_says_so() {
    assert_eq!(words(r"'a\'b' c"), [r"'a\'b'", "c"]);
    assert_eq!(words(r"'a\\' c"), [r"'a\\'", "c"]);
    assert_eq!(words(r"`a\` c"), [r"`a\`", "c"]);
    assert_eq!(words("'\\ä' c"), ["'\\ä'", "c"]);
    let plain = Dialect { no_backslash_escapes: true, ..MYSQL };
    assert_eq!(cut_in(r"'a\' c", plain), [(Text, r"'a\'"), (Word, "c")]);
}

#[test]
fn double_quotes_make_a_name_under_ansi_quotes() {
    assert_eq!(cut_in("\"a\"\"b\"", ANSI), [(Quoted, "\"a\"\"b\"")]);
    assert_eq!(tokens("\"a\"\"b\"", ANSI).unwrap()[0].name(), Some("a\"b".into()));
    assert_eq!(cut_in("\"a\\\" x", ANSI), [(Quoted, "\"a\\\""), (Word, "x")]);
}

#[test]
fn introducers_stay_beside_their_strings() {
    assert_eq!(
        cut("_utf8mb4'a' N'b' n'c' N\"d\" 'e' 'f'"),
        [
            (Word, "_utf8mb4"),
            (Text, "'a'"),
            (Text, "N'b'"),
            (Text, "n'c'"),
            (Word, "N"),
            (Text, "\"d\""),
            (Text, "'e'"),
            (Text, "'f'"),
        ]
    );
}

#[test]
fn variables_include_their_quoted_names() {
    let text = "@ @a.b @`a b` @'c' @@x @@global.y @@`z`";
    let expected = ["@", "@a.b", "@`a b`", "@'c'", "@@x", "@@global.y", "@@`z`"];
    assert_eq!(cut(text), expected.map(|variable| (Variable, variable)));
    assert_eq!(cut("root@localhost"), [(Word, "root"), (Variable, "@localhost")]);
}

#[test]
fn operators_are_cut_as_long_as_they_go() {
    assert_eq!(
        words("a<=>b->>'$.x'->c:=d!=e\\;"),
        ["a", "<=>", "b", "->>", "'$.x'", "->", "c", ":=", "d", "!=", "e", "\\", ";"]
    );
    assert_eq!(words("1--1"), ["1", "-", "-", "1"]);
}

#[test]
fn comments_are_no_tokens() {
    assert_eq!(
        words("a -- b ' `\nc # d \"\ne /* f ' */ g /**/ /*+ hint */ h"),
        ["a", "c", "e", "g", "h"]
    );
    assert_eq!(words("a --"), ["a"]);
    assert_eq!(words("a --\u{1}b\nc"), ["a", "c"]);
    assert_eq!(words("a # b\r c"), ["a"]);
    assert_eq!(words("a # b\0c"), ["a", "\0", "c"]);
}

#[test]
fn a_version_comment_is_code_from_its_version_on() {
    assert_eq!(words("a /*!80000 b */ c"), ["a", "b", "c"]);
    assert_eq!(words("a /*!080000b*/ c"), ["a", "b", "c"]);
    assert_eq!(words("a /*!90705 b */ c"), ["a", "c"]);
    assert_eq!(words("a /*!800001 b */ c"), ["a", "c"]);
    assert_eq!(words("a /*! b */ c"), ["a", "b", "c"]);
    assert_eq!(words("a /*!8000 b */ c"), ["a", "8000", "b", "c"]);
}

#[test]
fn comments_inside_version_comments_nest_as_in_the_server() {
    assert_eq!(words("/*!80000 a /* x */ b */ c"), ["a", "b", "c"]);
    assert_eq!(words("/*!99999 a /* x */ b */ c"), ["c"]);
    assert_eq!(words("/*!80000 /*/ */ */ c"), ["c"]);
    assert_eq!(words("/*!80000 a /*!80000 b */ c */"), ["a", "b", "c", "*", "/"]);
    assert_eq!(words("/*!80000 -- */\na */ b"), ["a", "b"]);
    assert_eq!(words("a */ b"), ["a", "*", "/", "b"]);
}

#[test]
fn dollar_quotes_are_strings_in_new_servers() {
    assert_eq!(
        cut("$$a ' b$$ $t$ $$ $t$ $"),
        [(Text, "$$a ' b$$"), (Text, "$t$ $$ $t$"), (Word, "$")]
    );
    let old = Dialect { server_version: 80028, ..MYSQL };
    assert_eq!(cut_in("$a$b", old), [(Word, "$a$b")]);
    assert!(refusal("$a$b").contains("dollar-quoted string"));
}

#[test]
fn what_is_not_closed_is_refused_with_its_place() {
    assert_eq!(refusal("a,\n  ü'b"), "the string that begins at line 2, column 4 is not closed");
    for (text, what) in [
        ("a `b``", "quoted name"),
        ("N'a", "string"),
        ("X'a", "hexadecimal literal"),
        ("b'0", "bit literal"),
        ("@`a", "name of a variable"),
        ("/* a", "comment"),
        ("/*/", "comment"),
        ("/*!80000 a", "version comment"),
        ("/*!99999 a /* b */", "version comment"),
        ("/*!99999 a /* b", "version comment"),
    ] {
        let expected = format!("the {what} that begins at line 1");
        assert!(refusal(text).starts_with(&expected), "{text}: {}", refusal(text));
    }
    assert!(refusal("X'abc'").contains("malformed hexadecimal literal"));
    assert!(refusal("b'2'").contains("malformed bit literal"));
}

#[test]
fn sql_mode_and_version_make_the_dialect() {
    let dialect = Dialect::new("REAL_AS_FLOAT,ANSI_QUOTES,NO_BACKSLASH_ESCAPES", 80043);
    assert_eq!(
        dialect,
        Dialect { ansi_quotes: true, no_backslash_escapes: true, server_version: 80043 }
    );
    assert!(!Dialect::new("STRICT_TRANS_TABLES", 80043).ansi_quotes);
}

/// Text in which quotes, comments and non-ASCII characters meet often.
pub(crate) fn sql_like() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[\"'`\\\\$@#*/!;,.()\\-0-9exXnNbB \n\t\0äß😀]{0,4}",
        "/\\*![0-9]{4,6}",
        "\\PC{0,3}",
        Just("--".to_owned()),
        Just("*/".to_owned()),
        Just("ALTER TABLE t ADD COLUMN a INT".to_owned()),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

pub(crate) fn any_dialect() -> impl Strategy<Value = Dialect> {
    (any::<bool>(), any::<bool>(), prop_oneof![Just(50700), Just(90704)]).prop_map(
        |(ansi_quotes, no_backslash_escapes, server_version)| Dialect {
            ansi_quotes,
            no_backslash_escapes,
            server_version,
        },
    )
}

fn check_tiling(text: &str, dialect: Dialect) {
    let mut at = 0;
    let mut failed = false;
    for piece in Pieces::new(text, dialect) {
        assert!(!failed, "a piece after an error");
        let Ok(piece) = piece else {
            failed = true;
            continue;
        };
        assert_eq!(piece.start, at);
        assert!(!piece.text.is_empty());
        at += piece.text.len();
        assert_eq!(&text[piece.start..at], piece.text);
    }
    assert!(failed || at == text.len());
    assert_eq!(failed, tokens(text, dialect).is_err());
}

proptest! {
    #[test]
    fn pieces_tile_any_text(text in any::<String>(), dialect in any_dialect()) {
        check_tiling(&text, dialect);
    }

    #[test]
    fn pieces_tile_text_full_of_quotes_and_comments(
        text in sql_like(),
        dialect in any_dialect(),
    ) {
        check_tiling(&text, dialect);
    }

    #[test]
    fn a_quoted_name_comes_back(name in any::<String>()) {
        let quoted = format!("`{}`", name.replace('`', "``"));
        let found = tokens(&quoted, MYSQL).unwrap();
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(found[0].name(), Some(name.into()));
    }
}
