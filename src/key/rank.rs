//! Ranks of the types whose order the client knows, and the way back.

use super::{KeyPart, PartType, PartValue};
use crate::error::{Error, Result};
use std::borrow::Cow;

/// The error for a value that is not one of its column's type.
pub(super) fn misfit(part: &KeyPart, value: &PartValue<'_>) -> Error {
    Error::failed(format!("key column {}: {value:?} is not a value of {:?}", part.name, part.ty))
        .remedy("The table's structure may have changed during the migration; start again.")
}

/// The bytes of a string value.
pub(super) fn bytes_of<'v>(part: &KeyPart, value: &'v PartValue<'_>) -> Result<&'v [u8]> {
    match value {
        PartValue::Bytes(bytes) => Ok(bytes),
        _ => Err(misfit(part, value)),
    }
}

/// Writes one part of a rank. `last` says that nothing follows, so no terminator is needed.
pub(super) fn put(
    part: &KeyPart,
    value: &PartValue<'_>,
    last: bool,
    out: &mut Vec<u8>,
) -> Result<()> {
    try_put(&part.ty, value, last, out).ok_or_else(|| misfit(part, value))
}

fn try_put(ty: &PartType, value: &PartValue<'_>, last: bool, out: &mut Vec<u8>) -> Option<()> {
    match (ty, value) {
        (PartType::Int { bytes, unsigned: false }, PartValue::Int(value)) => {
            let spare = 64u32.checked_sub(u32::from(*bytes) * 8)?;
            // Shifted to the top, the value loses nothing if it fits, and its sign bit is the first.
            let top = value.checked_shl(spare)?;
            (top >> spare == *value).then_some(())?;
            out.extend_from_slice((top as u64 ^ 1 << 63).to_be_bytes().get(..usize::from(*bytes))?);
        }
        (PartType::Int { bytes, unsigned: true }, PartValue::UInt(value)) => {
            put_uint(*value, usize::from(*bytes), out)?;
        }
        (PartType::Year, PartValue::UInt(value)) => put_uint(*value, 2, out)?,
        (
            PartType::Enum { .. } | PartType::Set { .. } | PartType::Bit { .. },
            PartValue::UInt(value),
        ) => put_uint(*value, 8, out)?,
        (PartType::Decimal { precision, scale }, PartValue::Text(text)) => {
            put_decimal(text, *precision, *scale, out)?;
        }
        (PartType::Date, PartValue::Text(text)) => put_temporal(text, "0000-00-00", 0, out)?,
        (PartType::DateTime { fsp } | PartType::Timestamp { fsp }, PartValue::Text(text)) => {
            put_temporal(text, "0000-00-00 00:00:00", *fsp, out)?;
        }
        (PartType::Time { .. }, PartValue::Text(text)) => {
            let micros = parse_time(text)?;
            out.extend_from_slice(&(micros as u64 ^ 1 << 63).to_be_bytes());
        }
        (PartType::Binary { len }, PartValue::Bytes(bytes)) => {
            let missing = usize::try_from(*len).ok()?.checked_sub(bytes.len())?;
            out.extend_from_slice(bytes);
            out.resize(out.len() + missing, 0);
        }
        (PartType::VarBinary, PartValue::Bytes(bytes)) if last => out.extend_from_slice(bytes),
        (PartType::VarBinary, PartValue::Bytes(bytes)) => escape(bytes, out),
        _ => return None,
    }
    Some(())
}

/// Reads one part back from the front of `rank`. `None` if `rank` is not one of this type.
pub(super) fn take(ty: &PartType, last: bool, rank: &mut &[u8]) -> Option<PartValue<'static>> {
    Some(match ty {
        PartType::Int { bytes, unsigned: false } => {
            let spare = 64u32.checked_sub(u32::from(*bytes) * 8)?;
            let top = take_uint(usize::from(*bytes), rank)?.checked_shl(spare)? ^ 1 << 63;
            PartValue::Int(top as i64 >> spare)
        }
        PartType::Int { bytes, unsigned: true } => {
            PartValue::UInt(take_uint(usize::from(*bytes), rank)?)
        }
        PartType::Year => PartValue::UInt(take_uint(2, rank)?),
        PartType::Enum { .. } | PartType::Set { .. } | PartType::Bit { .. } => {
            PartValue::UInt(take_uint(8, rank)?)
        }
        PartType::Decimal { precision, scale } => {
            PartValue::Text(take_decimal(*precision, *scale, rank)?)
        }
        PartType::Date => PartValue::Text(take_temporal("0000-00-00", 0, rank)?),
        PartType::DateTime { fsp } | PartType::Timestamp { fsp } => {
            PartValue::Text(take_temporal("0000-00-00 00:00:00", *fsp, rank)?)
        }
        PartType::Time { fsp } => {
            PartValue::Text(format_time((take_uint(8, rank)? ^ 1 << 63) as i64, *fsp))
        }
        PartType::Binary { len } => {
            let (bytes, rest) = rank.split_at_checked(usize::try_from(*len).ok()?)?;
            *rank = rest;
            PartValue::Bytes(Cow::Owned(bytes.to_vec()))
        }
        PartType::VarBinary if last => PartValue::Bytes(Cow::Owned(std::mem::take(rank).to_vec())),
        PartType::VarBinary => PartValue::Bytes(Cow::Owned(unescape(rank)?)),
        PartType::Text { .. } => return None,
    })
}

fn put_uint(value: u64, bytes: usize, out: &mut Vec<u8>) -> Option<()> {
    let all = value.to_be_bytes();
    let (spare, used) = all.split_at_checked(8usize.checked_sub(bytes)?)?;
    spare.iter().all(|byte| *byte == 0).then_some(())?;
    out.extend_from_slice(used);
    Some(())
}

fn take_uint(bytes: usize, rank: &mut &[u8]) -> Option<u64> {
    let (used, rest) = rank.split_at_checked(bytes)?;
    *rank = rest;
    Some(used.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Writes bytes so that the end sorts before every continuation: a zero byte becomes 00 FF, the end
/// is 00 00.
pub(super) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xFF);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

fn unescape(rank: &mut &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        match **rank {
            [0, 0, ref rest @ ..] => {
                *rank = rest;
                return Some(bytes);
            }
            [0, 0xFF, ref rest @ ..] => {
                bytes.push(0);
                *rank = rest;
            }
            [byte, ref rest @ ..] if byte != 0 => {
                bytes.push(byte);
                *rank = rest;
            }
            _ => return None,
        }
    }
}

/// Digits are packed by two, so a byte is 0 to 99; a negative decimal is complemented to 99.
fn put_digits(digits: impl Iterator<Item = u8>, flip: bool, out: &mut Vec<u8>) -> Option<()> {
    let mut high = None;
    for digit in digits.map(|digit| digit.wrapping_sub(b'0')) {
        (digit <= 9).then_some(())?;
        match high.take() {
            None => high = Some(digit),
            Some(high) => {
                let pair = high * 10 + digit;
                out.push(if flip { 99 - pair } else { pair });
            }
        }
    }
    high.is_none().then_some(())
}

fn take_digits(pairs: usize, flip: bool, rank: &mut &[u8]) -> Option<String> {
    let (used, rest) = rank.split_at_checked(pairs)?;
    *rank = rest;
    let mut digits = String::with_capacity(pairs * 2);
    for pair in used {
        let pair = if flip { 99u8.checked_sub(*pair)? } else { *pair };
        (pair <= 99).then_some(())?;
        digits.push(char::from(b'0' + pair / 10));
        digits.push(char::from(b'0' + pair % 10));
    }
    Some(digits)
}

/// A sign byte (0 below zero), then all digits at fixed places.
fn put_decimal(text: &str, precision: u8, scale: u8, out: &mut Vec<u8>) -> Option<()> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (digits.bytes().any(|digit| matches!(digit, b'1'..=b'9')), digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let (places, scale) = (usize::from(precision.checked_sub(scale)?), usize::from(scale));
    (whole.len() <= places && fraction.len() <= scale).then_some(())?;
    let zeros = |count: usize| std::iter::repeat_n(b'0', count);
    out.push(u8::from(!negative));
    put_digits(
        zeros((places + scale) % 2 + places - whole.len())
            .chain(whole.bytes())
            .chain(fraction.bytes())
            .chain(zeros(scale - fraction.len())),
        negative,
        out,
    )
}

fn take_decimal(precision: u8, scale: u8, rank: &mut &[u8]) -> Option<String> {
    let (sign, rest) = rank.split_first()?;
    *rank = rest;
    let digits = take_digits(usize::from(precision).div_ceil(2), *sign == 0, rank)?;
    let (whole, fraction) =
        digits.split_at_checked(digits.len().checked_sub(usize::from(scale))?)?;
    let whole = whole.trim_start_matches('0');
    let minus = if *sign == 0 { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{minus}{whole}{point}{fraction}"))
}

/// Temporals with a fixed width: their digits, most significant first. `shape` has a `0` for every
/// digit before the fraction.
fn put_temporal(text: &str, shape: &str, fsp: u8, out: &mut Vec<u8>) -> Option<()> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let shaped = whole.len() == shape.len()
        && whole.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            _ => byte == shape,
        });
    let fsp = usize::from(fsp);
    (shaped && fraction.len() == fsp).then_some(())?;
    let padding = if fsp.is_multiple_of(2) { "" } else { "0" };
    let digits = whole.bytes().filter(u8::is_ascii_digit);
    put_digits(digits.chain(fraction.bytes()).chain(padding.bytes()), false, out)
}

fn take_temporal(shape: &str, fsp: u8, rank: &mut &[u8]) -> Option<String> {
    let places = shape.bytes().filter(|byte| *byte == b'0').count();
    let digits = take_digits((places + usize::from(fsp)).div_ceil(2), false, rank)?;
    let (whole, fraction) = digits.split_at_checked(places)?;
    let mut whole = whole.chars();
    let mut text = String::with_capacity(shape.len() + 7);
    for place in shape.chars() {
        text.push(if place == '0' { whole.next()? } else { place });
    }
    if fsp > 0 {
        text.push('.');
        text.push_str(fraction.get(..usize::from(fsp))?);
    }
    Some(text)
}

/// `[-]H…HH:MM:SS[.f…]` in microseconds.
fn parse_time(text: &str) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut fields = whole.split(':').map(|field| {
        let digits = !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| field.parse::<u32>().ok()).flatten()
    });
    let (hours, minutes, seconds) = (fields.next()??, fields.next()??, fields.next()??);
    let fine = fraction.bytes().all(|byte| byte.is_ascii_digit()) && fraction.len() <= 6;
    (fields.next().is_none() && hours < 1000 && minutes < 60 && seconds < 60 && fine)
        .then_some(())?;
    let micros = format!("{fraction:0<6}").parse::<i64>().ok()?;
    let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
    let total = seconds * 1_000_000 + micros;
    Some(if negative { -total } else { total })
}

fn format_time(micros: i64, fsp: u8) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (seconds, micros) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{sign}{hours:02}:{minutes:02}:{seconds:02}");
    if fsp > 0 {
        text.push('.');
        text.extend(format!("{micros:06}").chars().take(usize::from(fsp)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use proptest::prelude::*;

    /// Each list is in the server's order; ranks must be too, and lead back to the value.
    fn ascends(ty: PartType, values: &[PartValue<'static>]) {
        for types in [vec![ty.clone()], vec![ty.clone(), ty]] {
            let spec = spec(&types);
            let keys: Vec<_> = values
                .iter()
                .map(|value| vec![value.clone(); types.len()])
                .map(|values| (spec.key_from_values(&values).unwrap(), values))
                .collect();
            for (key, values) in &keys {
                assert_eq!(spec.values(key).unwrap(), *values);
            }
            for pair in keys.windows(2) {
                assert!(pair[0].0 < pair[1].0, "{:?} < {:?}", pair[0].1, pair[1].1);
            }
        }
    }

    #[test]
    fn ranks_sort_as_their_values_and_lead_back_to_them() {
        for bytes in [1u8, 2, 3, 4, 8] {
            let max = i64::MAX >> (64 - 8 * u32::from(bytes));
            let ints = [-max - 1, -1, 0, 1, max].map(PartValue::Int);
            ascends(PartType::Int { bytes, unsigned: false }, &ints);
            let uints = [0, 1, max as u64, 2 * max as u64 + 1].map(PartValue::UInt);
            ascends(PartType::Int { bytes, unsigned: true }, &uints);
        }
        ascends(
            PartType::Decimal { precision: 10, scale: 3 },
            &["-9999999.999", "-1.500", "-0.001", "0.000", "0.001", "2.000", "10.000"].map(text),
        );
        ascends(
            PartType::Decimal { precision: 3, scale: 3 },
            &["-0.999", "0.000", "0.5"].map(text)[..2],
        );
        ascends(
            PartType::Decimal { precision: 65, scale: 0 },
            &["-10", "-9", "0", "123"].map(text),
        );
        ascends(
            PartType::Date,
            &["0000-00-00", "0000-01-01", "2020-02-31", "9999-12-31"].map(text),
        );
        ascends(
            PartType::DateTime { fsp: 3 },
            &["0000-00-00 00:00:00.000", "2020-01-01 00:00:00.000", "2020-01-01 00:00:00.001"]
                .map(text),
        );
        ascends(
            PartType::Time { fsp: 2 },
            &["-838:59:59.00", "-00:00:00.01", "00:00:00.00", "100:00:00.50", "838:59:59.00"]
                .map(text),
        );
        ascends(PartType::Year, &[0, 1901, 2155].map(PartValue::UInt));
        ascends(PartType::Set { members: 64 }, &[0, 5, 1 << 63].map(PartValue::UInt));
        ascends(PartType::Binary { len: 3 }, &[b"\0\0\0", b"a\0\0", b"a\0\x01"].map(|b| bytes(b)));
        let var: &[&[u8]] =
            &[b"", b"\0", b"\0\0", b"\0\x01", b"\x01", b"a", b"a\0", b"aa", b"\xFF"];
        ascends(PartType::VarBinary, &var.iter().map(|b| bytes(b)).collect::<Vec<_>>());
    }

    #[test]
    fn binary_is_padded_again_after_the_binlog_has_stripped_it() {
        let spec = spec(&[PartType::Binary { len: 4 }]);
        let stripped = spec.key_from_values(&[bytes(b"a")]).unwrap();
        assert_eq!(stripped, spec.key_from_values(&[bytes(b"a\0\0\0")]).unwrap());
    }

    #[test]
    fn notations_of_one_decimal_are_one_key() {
        let spec = spec(&[PartType::Decimal { precision: 6, scale: 2 }]);
        let key = |value: &str| spec.key_from_values(&[text(value)]).unwrap();
        assert_eq!(key("-0.00"), key("0"));
        assert_eq!(key("0012.5"), key("12.50"));
        assert!(spec.key_from_values(&[text("12345.00")]).is_err(), "too many digits");
        assert!(spec.key_from_values(&[text("1e3")]).is_err());
    }

    #[test]
    fn values_of_another_type_are_refused() {
        let refused = |ty: PartType, value| spec(&[ty]).key_from_values(&[value]).is_err();
        assert!(refused(PartType::Int { bytes: 1, unsigned: false }, PartValue::Int(128)));
        assert!(refused(PartType::Int { bytes: 3, unsigned: true }, PartValue::UInt(1 << 24)));
        assert!(refused(PartType::Int { bytes: 4, unsigned: false }, PartValue::UInt(1)));
        assert!(refused(PartType::Date, text("2020-1-1")));
        assert!(refused(PartType::DateTime { fsp: 3 }, text("2020-01-01 00:00:00")));
        assert!(refused(PartType::Time { fsp: 0 }, text("12:60:00")));
        assert!(refused(PartType::Binary { len: 2 }, bytes(b"abc")));
        for date in ["2020-01-0", "2020-01-011", "2020x01-01"] {
            assert!(refused(PartType::Date, text(date)), "{date}");
        }
        assert_eq!(unescape(&mut &[0, 5, 0, 0][..]), None, "a zero byte is followed by 00 or FF");
    }

    #[test]
    fn a_time_has_three_fields_within_their_bounds() {
        assert_eq!(parse_time("999:59:59.000001"), Some(3_599_999_000_001));
        assert_eq!(parse_time("-00:00:01"), Some(-1_000_000));
        for wrong in [
            "12:00",
            "12:00:00:00",
            "1000:00:00",
            "12:60:00",
            "12:00:60",
            "1::1",
            "+1:00:00",
            "12:00:00.12345x",
            "12:00:00.1234567",
        ] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
        assert_eq!(format_time(3_723_500_000, 0), "01:02:03");
        assert_eq!(format_time(-3_723_500_000, 2), "-01:02:03.50");
    }

    proptest! {
        #[test]
        fn composite_variable_parts_sort_part_by_part(
            a in (proptest::collection::vec(0u8..3, 0..5), proptest::collection::vec(0u8..3, 0..5)),
            b in (proptest::collection::vec(0u8..3, 0..5), proptest::collection::vec(0u8..3, 0..5)),
        ) {
            let spec = spec(&[PartType::VarBinary, PartType::VarBinary]);
            let key = |v: &(Vec<u8>, Vec<u8>)| spec.key_from_values(&[bytes(&v.0), bytes(&v.1)]).unwrap();
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }

        #[test]
        fn a_foreign_rank_is_an_error_and_never_a_panic(
            rank in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            for ty in [
                PartType::Int { bytes: 3, unsigned: false },
                PartType::Decimal { precision: 9, scale: 9 },
                PartType::Time { fsp: 6 },
                PartType::DateTime { fsp: 5 },
                PartType::VarBinary,
                PartType::Binary { len: 5 },
            ] {
                let mut rest = &rank[..];
                let _ = take(&ty, false, &mut rest);
            }
        }
    }
}
