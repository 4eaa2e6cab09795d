//! One key column's bytes in a row image, as the value that a SELECT would give.

use super::layout::decimal_bytes;
use super::reader::{big_endian, little_endian};
use crate::key::{PartType, PartValue};
use std::borrow::Cow;

/// Decodes one value. `None` if the bytes cannot be of this type.
pub(super) fn decode<'a>(ty: &PartType, cell: &'a [u8]) -> Option<PartValue<'a>> {
    Some(match ty {
        PartType::Int { unsigned: true, .. } => PartValue::UInt(little_endian(cell)),
        PartType::Int { bytes, unsigned: false } => {
            let spare = 64u32.checked_sub(u32::from(*bytes) * 8)?;
            PartValue::Int((little_endian(cell).checked_shl(spare)? as i64) >> spare)
        }
        // The year 0 is a value of its own; all others count from 1900.
        PartType::Year => PartValue::UInt(match little_endian(cell) {
            0 => 0,
            year => 1900 + year,
        }),
        PartType::Enum { .. } | PartType::Set { .. } => PartValue::UInt(little_endian(cell)),
        PartType::Bit { .. } => PartValue::UInt(big_endian(cell)),
        PartType::Binary { .. } | PartType::VarBinary | PartType::Text { .. } => {
            PartValue::Bytes(Cow::Borrowed(cell))
        }
        PartType::Decimal { precision, scale } => {
            PartValue::Text(decimal(cell, usize::from(*precision), usize::from(*scale))?)
        }
        PartType::Date => PartValue::Text(date(cell)),
        PartType::DateTime { fsp } => PartValue::Text(datetime(cell, *fsp)?),
        PartType::Timestamp { fsp } => PartValue::Text(timestamp(cell, *fsp)?),
        PartType::Time { fsp } => PartValue::Text(time(cell, *fsp)?),
    })
}

/// The first bit is set for numbers that are not negative; a negative number has all bits inverted.
/// Digits are grouped by nine away from the point.
fn decimal(cell: &[u8], precision: usize, scale: usize) -> Option<String> {
    let negative = cell.first()? & 0x80 == 0;
    let mut bytes = cell.to_vec();
    bytes[0] ^= 0x80;
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let whole = precision.checked_sub(scale)?;
    let mut rest = &bytes[..];
    let mut digits = String::with_capacity(precision + 2);
    let mut group = |count: usize| {
        let (taken, left) = rest.split_at_checked(decimal_bytes(count))?;
        rest = left;
        if count > 0 {
            let text = format!("{:0count$}", big_endian(taken));
            (text.len() == count).then_some(())?;
            digits.push_str(&text);
        }
        Some(())
    };
    group(whole % 9)?;
    for _ in 0..whole / 9 {
        group(9)?;
    }
    for _ in 0..scale / 9 {
        group(9)?;
    }
    group(scale % 9)?;
    let (whole, fraction) = digits.split_at_checked(whole)?;
    let whole = whole.trim_start_matches('0');
    let sign = if negative { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    Some(format!("{sign}{}{point}{fraction}", if whole.is_empty() { "0" } else { whole }))
}

fn date(cell: &[u8]) -> String {
    let packed = little_endian(cell);
    format!("{:04}-{:02}-{:02}", packed >> 9, packed >> 5 & 0xF, packed & 0x1F)
}

/// The fraction behind a whole value: as many bytes as pairs of digits.
fn fraction(bytes: &[u8], fsp: u8) -> Option<String> {
    if fsp == 0 {
        return Some(String::new());
    }
    let width = bytes.len() * 2;
    let digits = format!("{:0width$}", big_endian(bytes));
    (digits.len() == width).then_some(())?;
    Some(format!(".{}", digits.get(..usize::from(fsp))?))
}

fn datetime(cell: &[u8], fsp: u8) -> Option<String> {
    let (whole, tail) = cell.split_at_checked(5)?;
    let packed = big_endian(whole).checked_sub(0x80_0000_0000)?;
    let (day, clock) = (packed >> 17 & 0x1F, packed & 0x1_FFFF);
    let months = packed >> 22;
    Some(format!(
        "{:04}-{:02}-{day:02} {:02}:{:02}:{:02}{}",
        months / 13,
        months % 13,
        clock >> 12,
        clock >> 6 & 0x3F,
        clock & 0x3F,
        fraction(tail, fsp)?
    ))
}

fn timestamp(cell: &[u8], fsp: u8) -> Option<String> {
    let (whole, tail) = cell.split_at_checked(4)?;
    let seconds = big_endian(whole);
    let tail = fraction(tail, fsp)?;
    // The zero timestamp is no point in time.
    if seconds == 0 {
        return Some(format!("0000-00-00 00:00:00{tail}"));
    }
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{tail}"))
}

/// The Gregorian date that is `days` after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        u64::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)))
    };
    let (mut year, mut left) = (1970, days);
    // 32 bits of seconds reach 2106, so this takes at most 136 steps.
    while left >= 365 + leap(year) {
        left -= 365 + leap(year);
        year += 1;
    }
    let lengths = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

/// A time is one biased number of 24 bits for the clock, followed by the fraction. A negative one
/// borrows across the two, so both are put together before the sign is taken off.
fn time(cell: &[u8], fsp: u8) -> Option<String> {
    let bits = 8 * u32::try_from(cell.len()).ok()?;
    let bias = 1i64.checked_shl(bits.checked_sub(1)?)?;
    let packed = i64::try_from(big_endian(cell)).ok()?.checked_sub(bias)?;
    let tail_bits = bits.checked_sub(24)?;
    let sign = if packed < 0 { "-" } else { "" };
    let magnitude = packed.unsigned_abs();
    let clock = magnitude.checked_shr(tail_bits)?;
    let tail = (magnitude & ((1u64 << tail_bits) - 1)).to_be_bytes();
    let tail = tail.get(8 - tail_bits as usize / 8..)?;
    let (hour, minute, second) = (clock >> 12 & 0x3FF, clock >> 6 & 0x3F, clock & 0x3F);
    Some(format!("{sign}{hour:02}:{minute:02}:{second:02}{}", fraction(tail, fsp)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ty: PartType, cell: &[u8]) -> String {
        match decode(&ty, cell) {
            Some(PartValue::Int(value)) => value.to_string(),
            Some(PartValue::UInt(value)) => value.to_string(),
            Some(PartValue::Text(value)) => value,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_negative_mediumint_keeps_its_sign() {
        let int = |unsigned| PartType::Int { bytes: 3, unsigned };
        assert_eq!(shown(int(false), &[0xFF, 0xFF, 0xFF]), "-1");
        assert_eq!(shown(int(false), &[0, 0, 0x80]), "-8388608");
        assert_eq!(shown(int(true), &[0xFF, 0xFF, 0xFF]), "16777215");
    }

    #[test]
    fn year_0_is_not_1900() {
        assert_eq!(shown(PartType::Year, &[0]), "0");
        assert_eq!(shown(PartType::Year, &[255]), "2155");
    }

    #[test]
    fn timestamps_are_utc_across_leap_years() {
        let at = |seconds: u32| shown(PartType::Timestamp { fsp: 0 }, &seconds.to_be_bytes());
        assert_eq!(at(0), "0000-00-00 00:00:00");
        assert_eq!(at(1), "1970-01-01 00:00:01");
        assert_eq!(at(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(at(1_609_459_199), "2020-12-31 23:59:59");
        assert_eq!(at(4_107_542_400), "2100-03-01 00:00:00");
        assert_eq!(at(u32::MAX), "2106-02-07 06:28:15");
    }

    #[test]
    fn bytes_that_cannot_be_of_the_type_are_refused() {
        assert!(decode(&PartType::Decimal { precision: 4, scale: 2 }, &[0xFF]).is_none());
        assert!(decode(&PartType::Decimal { precision: 4, scale: 2 }, &[0xFF, 0xFF]).is_none());
        assert!(decode(&PartType::DateTime { fsp: 0 }, &[0, 0, 0, 0, 0]).is_none());
        assert!(decode(&PartType::Timestamp { fsp: 2 }, &[0, 0, 0, 1, 100]).is_none());
    }
}
