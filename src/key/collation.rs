//! Weights of text as part of a rank.
//!
//! In a PAD SPACE collation a text compares as if it were followed by endless spaces. Padding every
//! weight string to the column's length would say so too, at hundreds of bytes per key. Instead each
//! run of pad weights is written as: one pad weight, then a byte for what comes after the run (1: a
//! weight below the pad, 2: only spaces to the end, 3: a weight above it), then the run's length. Where
//! what follows is below the pad, the longer run is the greater text; where it is above, the smaller
//! one, so there the length is complemented. Every text ends with a run of kind 2. Two texts first
//! differ either in a weight, which decides; or in the kind of run, ordered below < end < above as the
//! endless texts are; or in the length, which decides as said. So memcmp agrees with the server, and no
//! encoding is a prefix of another.
//!
//! Where the pad weight is one byte, weights of other characters may have two bytes and a second byte
//! that looks like the pad. The argument holds for them as well: it is about sequences of bytes that
//! are padded with endless pad bytes, and both have the same order.

use crate::error::{Error, Result};

/// How the weights of a collation are encoded.
#[derive(Debug, PartialEq, Eq)]
enum Padding {
    /// The weights say everything.
    None,
    /// Endless repetitions of this weight are implied.
    Weight(&'static [u8]),
}

/// Collations whose weights come in several passes over the text. Trailing spaces are removed before
/// the first pass, so they cannot be expressed in the weights.
pub(super) fn is_multi_pass(collation: &str) -> bool {
    matches!(collation, "latin2_czech_cs" | "cp1250_czech_cs")
}

/// The weight of a space, as `WEIGHT_STRING(' ')` has it in every PAD SPACE collation of MySQL 9.7.
fn padding(charset: &str, collation: &str, pad_space: bool) -> Padding {
    if !pad_space || is_multi_pass(collation) {
        return Padding::None;
    }
    let unicode =
        matches!(charset, "utf8mb4" | "utf8mb3" | "utf8" | "ucs2" | "utf16" | "utf16le" | "utf32");
    Padding::Weight(match collation {
        "latin7_general_ci" | "latin7_general_cs" => &[0x30],
        "latin7_estonian_cs" => &[0x2C],
        "utf8mb3_bin" | "utf8_bin" | "ucs2_bin" => &[0x00, 0x20],
        _ if collation.ends_with("_unicode_520_ci") => &[0x02, 0x0A],
        _ if !unicode => &[0x20],
        _ if collation.ends_with("_bin") => &[0x00, 0x00, 0x20],
        _ if collation.ends_with("_general_ci")
            || collation.ends_with("_general_mysql500_ci")
            || collation.ends_with("_tolower_ci") =>
        {
            &[0x00, 0x20]
        }
        _ => &[0x02, 0x09],
    })
}

/// Writes the weights of one text part to a rank.
pub(super) fn put(
    charset: &str,
    collation: &str,
    pad_space: bool,
    weights: &[u8],
    last: bool,
    out: &mut Vec<u8>,
) -> Result<()> {
    match padding(charset, collation, pad_space) {
        Padding::None if last => out.extend_from_slice(weights),
        Padding::None => super::rank::escape(weights, out),
        Padding::Weight(pad) => put_padded(weights, pad, out)
            .ok_or_else(|| Error::failed("a key holds more than 65535 spaces in a row"))?,
    }
    Ok(())
}

fn put_padded(weights: &[u8], pad: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut units = weights.chunks(pad.len()).peekable();
    while let Some(unit) = units.next() {
        out.extend_from_slice(unit);
        if unit != pad {
            continue;
        }
        let mut run = 1u16;
        while units.next_if(|next| *next == pad).is_some() {
            run = run.checked_add(1)?;
        }
        match units.peek() {
            None => {
                out.push(2);
                return Some(());
            }
            Some(next) if *next < pad => {
                out.push(1);
                put_run(run, 0x00, out);
            }
            Some(_) => {
                out.push(3);
                put_run(run, 0xFF, out);
            }
        }
    }
    out.extend_from_slice(pad);
    out.push(2);
    Some(())
}

/// One byte for the usual short run, three for a long one, in ascending order.
fn put_run(run: u16, flip: u8, out: &mut Vec<u8>) {
    match u8::try_from(run) {
        Ok(short) if short < 0xFF => out.push(short ^ flip),
        _ => {
            let [high, low] = run.to_be_bytes();
            out.extend_from_slice(&[0xFF ^ flip, high ^ flip, low ^ flip]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    /// The definition: compare as if both were followed by endless pads.
    fn endless(a: &[u8], b: &[u8], pad: &[u8]) -> Ordering {
        let len = a.len().max(b.len()) / pad.len() + 1;
        let fill = |text: &[u8]| {
            let mut text = text.to_vec();
            while text.len() < len * pad.len() {
                text.extend_from_slice(pad);
            }
            text
        };
        fill(a).cmp(&fill(b))
    }

    fn encoded(weights: &[u8], pad: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_padded(weights, pad, &mut out).unwrap();
        out
    }

    proptest! {
        #[test]
        fn encoded_runs_sort_as_endless_padding_does(
            a in proptest::collection::vec(prop_oneof![Just(0x1Fu8), Just(0x20), Just(0x20), Just(0x21)], 0..12),
            b in proptest::collection::vec(prop_oneof![Just(0x1Fu8), Just(0x20), Just(0x20), Just(0x21)], 0..12),
        ) {
            prop_assert_eq!(encoded(&a, b" ").cmp(&encoded(&b, b" ")), endless(&a, &b, b" "));
            let wide = |text: &[u8]| text.iter().flat_map(|byte| [0, *byte]).collect::<Vec<_>>();
            prop_assert_eq!(
                encoded(&wide(&a), b"\0 ").cmp(&encoded(&wide(&b), b"\0 ")),
                endless(&wide(&a), &wide(&b), b"\0 ")
            );
        }
    }

    /// What the server says about every collation is compared in `tests/keys`; this holds one of each kind.
    #[test]
    fn each_kind_of_collation_has_the_weight_of_its_space() {
        let pad = |charset, collation| match padding(charset, collation, true) {
            Padding::Weight(weight) => weight.to_vec(),
            Padding::None => Vec::new(),
        };
        for (charset, collation, weight) in [
            ("latin7", "latin7_general_ci", &[0x30][..]),
            ("latin7", "latin7_general_cs", &[0x30]),
            ("latin7", "latin7_estonian_cs", &[0x2C]),
            ("latin7", "latin7_bin", &[0x20]),
            ("utf8mb3", "utf8mb3_bin", &[0x00, 0x20]),
            ("ucs2", "ucs2_bin", &[0x00, 0x20]),
            ("utf8mb4", "utf8mb4_bin", &[0x00, 0x00, 0x20]),
            ("utf8mb4", "utf8mb4_unicode_520_ci", &[0x02, 0x0A]),
            ("utf8mb4", "utf8mb4_unicode_ci", &[0x02, 0x09]),
            ("utf8mb4", "utf8mb4_general_ci", &[0x00, 0x20]),
            ("utf8mb3", "utf8mb3_general_mysql500_ci", &[0x00, 0x20]),
            ("utf8mb3", "utf8mb3_tolower_ci", &[0x00, 0x20]),
            ("latin1", "latin1_swedish_ci", &[0x20]),
            ("latin2", "latin2_czech_cs", &[]),
            ("cp1250", "cp1250_czech_cs", &[]),
        ] {
            assert_eq!(pad(charset, collation), weight, "{collation}");
        }
        assert_eq!(padding("utf8mb4", "utf8mb4_0900_ai_ci", false), Padding::None);
        assert!(is_multi_pass("latin2_czech_cs") && !is_multi_pass("latin2_general_ci"));
    }

    #[test]
    fn weights_without_padding_are_escaped_unless_they_come_last() {
        let written = |last| {
            let mut out = Vec::new();
            put("utf8mb4", "utf8mb4_0900_ai_ci", false, &[1, 0, 2], last, &mut out).unwrap();
            out
        };
        assert_eq!(written(true), [1, 0, 2]);
        assert_ne!(written(false), [1, 0, 2]);
        let mut escaped = Vec::new();
        super::super::rank::escape(&[1, 0, 2], &mut escaped);
        assert_eq!(written(false), escaped);
    }

    #[test]
    fn runs_are_written_in_one_byte_or_in_three() {
        let run = |length| {
            let mut out = Vec::new();
            put_run(length, 0, &mut out);
            out
        };
        assert_eq!(run(1), [1]);
        assert_eq!(run(254), [254]);
        assert_eq!(run(255), [0xFF, 0, 255]);
        assert_eq!(run(256), [0xFF, 1, 0]);
    }

    #[test]
    fn long_runs_keep_their_order() {
        let text = |spaces: usize, end: u8| [vec![0x20; spaces], vec![end]].concat();
        for (short, long) in [(1, 2), (254, 255), (255, 256), (300, 301)] {
            let above = |n| encoded(&text(n, b'x'), b" ");
            let below = |n| encoded(&text(n, b'\t'), b" ");
            assert!(above(short) > above(long) && below(short) < below(long));
        }
        assert!(put_padded(&text(70_000, b'x'), b" ", &mut Vec::new()).is_none());
    }
}
