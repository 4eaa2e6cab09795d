//! Three collations whose index order is not that of their weights.
//!
//! Comparing every collation of MySQL 9.7.4 with its `WEIGHT_STRING` found three that differ. All would
//! give different keys the same weights, so they are corrected here from the bytes of the text:
//!
//! - `big5_chinese_ci` compares characters of two bytes by their codes, while its weights are stroke
//!   counts, many of them the same. So the code is taken as the weight. Single bytes have the weights
//!   that the server says, some of them odd: '~' is equal to 'Y'.
//! - `gb18030_chinese_ci` puts every character of several bytes behind all of one byte, while the
//!   weight of one that folds to an ASCII letter (the dotless i) is that letter's.
//! - `tis620_thai_ci` has no weights behind a zero byte. As such a text is hardly a key, it is refused.

use std::borrow::Cow;

/// The weights in the order of the index; `None` if the weights do not say all about the text.
pub(super) fn corrected<'w>(
    collation: &str,
    text: &[u8],
    weights: &'w [u8],
) -> Option<Cow<'w, [u8]>> {
    match collation {
        "big5_chinese_ci" => big5(text, weights).map(Cow::Owned),
        "gb18030_chinese_ci" => gb18030(text, weights).map(Cow::Owned),
        "tis620_thai_ci" if text.contains(&0) => None,
        _ => Some(Cow::Borrowed(weights)),
    }
}

fn big5(mut text: &[u8], mut weights: &[u8]) -> Option<Vec<u8>> {
    let mut corrected = Vec::with_capacity(weights.len());
    while !text.is_empty() {
        let bytes = match text {
            [0xA1..=0xF9, 0x40..=0x7E | 0xA1..=0xFE, ..] => 2,
            _ => 1,
        };
        let (character, rest) = text.split_at_checked(bytes)?;
        text = rest;
        let (weight, rest) = weights.split_at_checked(bytes)?;
        weights = rest;
        corrected.extend_from_slice(if bytes == 2 { character } else { weight });
    }
    weights.is_empty().then_some(corrected)
}

/// Marks the weights of one byte that belong to characters of several. The mark is above all ASCII and
/// below the first byte of all longer weights.
const WIDE: u8 = 0x80;

fn gb18030(mut text: &[u8], mut weights: &[u8]) -> Option<Vec<u8>> {
    let mut corrected = Vec::with_capacity(weights.len());
    while !text.is_empty() {
        let bytes = match text {
            [0x81..=0xFE, 0x30..=0x39, _, _, ..] => 4,
            [0x81..=0xFE, _, ..] => 2,
            _ => 1,
        };
        let weight = match weights.first()? {
            0..0x80 => 1,
            0xFF if bytes > 1 => 4,
            _ if bytes > 1 => 2,
            _ => 1,
        };
        let (taken, rest) = weights.split_at_checked(weight)?;
        if bytes > 1 && weight == 1 {
            corrected.push(WIDE);
        }
        corrected.extend_from_slice(taken);
        weights = rest;
        text = text.get(bytes..)?;
    }
    weights.is_empty().then_some(corrected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn big5_characters_are_weighed_by_their_codes_and_single_bytes_by_the_server() {
        assert_eq!(big5(b"a\xC7\x61~", b"A\xA1\x40Y").unwrap(), b"A\xC7\x61Y");
    }

    #[test]
    fn a_wide_character_with_the_weight_of_a_letter_sorts_behind_all_letters() {
        let dotless = gb18030(b"\x81\x30\x90\x33", b"I").unwrap();
        assert!(dotless > gb18030(b"z", b"Z").unwrap());
        assert!(dotless < gb18030(b"\xA8\xA6", b"\xA8\xA6").unwrap());
    }

    #[test]
    fn each_collation_is_corrected_in_its_own_way() {
        let with = |collation, text: &[u8], weights: &[u8]| {
            corrected(collation, text, weights).map(Cow::into_owned)
        };
        assert_eq!(with("big5_chinese_ci", b"\xC7\x61", b"\x01\x02"), Some(b"\xC7\x61".to_vec()));
        let wide = with("gb18030_chinese_ci", b"\x81\x30\x90\x33", b"I");
        assert_eq!(wide, Some(vec![WIDE, b'I']));
        assert_eq!(with("tis620_thai_ci", b"ab", b"AB"), Some(b"AB".to_vec()));
        assert_eq!(with("utf8mb4_bin", b"\0", b"x"), Some(b"x".to_vec()));
    }

    #[test]
    fn gb18030_weights_are_as_long_as_their_first_byte_says() {
        // A character of two bytes with a weight of two, one of four with a weight of four, and single bytes, of
        // which one has a weight that looks like the beginning of a longer one.
        assert_eq!(gb18030(b"\xA8\xA6", b"\xA8\xA6").unwrap(), b"\xA8\xA6");
        assert_eq!(gb18030(b"\x81\x30\x81\x30", b"\xFF\x01\x02\x03").unwrap(), b"\xFF\x01\x02\x03");
        assert_eq!(gb18030(b"\xA8\xBB", b"\xFF\x01\x02\x03").unwrap(), b"\xFF\x01\x02\x03");
        assert_eq!(gb18030(b"\xFFa", b"\xFFA").unwrap(), b"\xFFA");
        assert_eq!(gb18030(b"\x80a", b"\x80A").unwrap(), b"\x80A");
        assert!(gb18030(b"\xA8\xA6", b"\xA8").is_none());
    }

    #[test]
    fn weights_of_another_text_are_refused() {
        assert!(gb18030(b"ab", b"A").is_none());
        assert!(gb18030(b"a", b"AB").is_none());
        assert!(big5(b"\xC7\x61", b"A").is_none());
        assert!(corrected("tis620_thai_ci", b"a\0b", b"A").is_none());
    }
}
