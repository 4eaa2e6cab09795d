//! Ranges from across a table's key, without reading the table: where a range begins is found by guessing values of
//! the key's first column between its least and its greatest.

use mysql_async::Value;
use mysql_async::prelude::Queryable;

use crate::error::Result;
use crate::key::{Key, KeySpec, PartType};
use crate::ledger::{Edge, Range};
use crate::plan::Plan;
use crate::server::{Session, to_error};
use crate::sql::text;
use crate::work::{Work, fetch_keys, next_edge};

/// So many ranges.
pub(super) const RANGES: usize = 64;
/// The bytes of one, roughly.
const BYTES: u64 = 1 << 20;
/// The digits of text keys, in the order of every collation that orders them at all.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// So many rows are about a range's bytes.
pub(super) fn rows_of_a_range(plan: &Plan) -> u64 {
    let row_bytes = plan.source.data_bytes / plan.source.rows.max(1);
    (BYTES / row_bytes.max(1)).clamp(50, 5_000)
}

/// Chooses ranges of so many rows each. Says as well whether they come from across the key; otherwise it is all of the
/// key, from its beginning on. A table that has hardly more rows than that is sampled as a whole.
///
/// # Errors
/// As the server's.
pub(super) async fn choose(
    session: &mut Session,
    plan: &Plan,
    rows: u64,
) -> Result<(Vec<Range<Key>>, bool)> {
    let all = vec![Range { lo: Edge::Start, hi: Edge::End }];
    if plan.source.rows <= rows.saturating_mul(RANGES as u64) {
        return Ok((all, true));
    }
    let doing = format!("choosing a sample of {}", plan.names.source);
    let found = spread(session, plan, rows).await.map_err(|failure| failure.into_error(&doing))?;
    Ok(if found.len() > 1 { (found, true) } else { (all, false) })
}

async fn spread(session: &mut Session, plan: &Plan, rows: u64) -> Work<Vec<Range<Key>>> {
    let (source, key, index) = (&plan.names.source, &plan.key.source, &plan.key.source_index);
    let mut ranges: Vec<Range<Key>> = Vec::new();
    for least in guesses(session, plan).await? {
        let first = format!(
            "SELECT {} FROM {source} FORCE INDEX ({index}) WHERE {least} ORDER BY {} LIMIT 1",
            key.export_list(),
            key.order_by()
        );
        let Some(lo) = fetch_keys(session, key, &first).await?.pop() else { continue };
        let lo = Edge::At(lo);
        // A guess between two of the table's values finds the next one, which may be behind the next guess.
        if ranges.last().is_some_and(|last| last.hi > lo) {
            continue;
        }
        let within = Range { lo: lo.clone(), hi: Edge::End };
        let hi = next_edge(session, source, index, key, &within, rows).await?;
        let last = hi == Edge::End;
        ranges.push(Range { lo, hi });
        if last {
            break;
        }
    }
    Ok(ranges)
}

/// Predicates that begin further and further up the key; none if its first column's type is not one of those that
/// are guessed.
async fn guesses(session: &mut Session, plan: &Plan) -> Work<Vec<String>> {
    let KeySpec { parts } = &plan.key.source;
    let Some(part) = parts.first() else { return Ok(Vec::new()) };
    let bounds: Option<(Value, Value)> = session
        .query_first(format!("SELECT MIN({0}), MAX({0}) FROM {1}", part.name, plan.names.source))
        .await
        .map_err(|e| to_error(e, "reading the least and the greatest key"))?;
    let Some((least, greatest)) = bounds else { return Ok(Vec::new()) };
    let literals: Vec<String> = match (&part.ty, &least, &greatest) {
        (PartType::Int { .. }, least, greatest) => match (integer(least), integer(greatest)) {
            (Some(least), Some(greatest)) => {
                between(least, greatest).map(|value| value.to_string()).collect()
            }
            _ => Vec::new(),
        },
        (
            PartType::Binary { .. } | PartType::VarBinary,
            Value::Bytes(least),
            Value::Bytes(greatest),
        ) => {
            let head = |bytes: &[u8]| {
                let mut head = [0; 8];
                let length = bytes.len().min(8);
                head[..length].copy_from_slice(&bytes[..length]);
                i128::from(u64::from_be_bytes(head))
            };
            between(head(least), head(greatest)).map(|value| format!("0x{value:016x}")).collect()
        }
        (PartType::Text { .. }, Value::Bytes(least), Value::Bytes(greatest)) => {
            words(least, greatest).iter().map(|word| text(word)).collect()
        }
        _ => Vec::new(),
    };
    Ok(literals.iter().map(|literal| format!("{} >= {literal}", part.name)).collect())
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Int(value) => Some(i128::from(*value)),
        Value::UInt(value) => Some(i128::from(*value)),
        Value::Bytes(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

/// Values at equal distances, from the least on.
fn between(least: i128, greatest: i128) -> impl Iterator<Item = i128> {
    let span = greatest.saturating_sub(least).max(0);
    (0..RANGES as i128).map(move |n| least + span * n / RANGES as i128)
}

/// Words between two: what they have in common, and two digits after it.
fn words(least: &[u8], greatest: &[u8]) -> Vec<String> {
    let (least, greatest) = (least.to_ascii_lowercase(), greatest.to_ascii_lowercase());
    let common = least.iter().zip(&greatest).take_while(|(a, b)| a == b).count();
    let Ok(prefix) = std::str::from_utf8(&least[..common]) else { return Vec::new() };
    // What is no digit counts as the one before or behind all of them.
    let digit = |word: &[u8], at: usize, otherwise: usize| {
        let found = word.get(at).and_then(|byte| DIGITS.iter().position(|digit| digit == byte));
        found.unwrap_or(otherwise) as i128
    };
    let number = |word: &[u8], otherwise: usize| {
        digit(word, common, otherwise) * 36 + digit(word, common + 1, otherwise)
    };
    let (low, high) = (number(&least, 0), number(&greatest, 35));
    between(low, high)
        .filter_map(|value| {
            let digits = [usize::try_from(value / 36).ok()?, usize::try_from(value % 36).ok()?];
            let tail: String = digits.iter().map(|d| DIGITS[(*d).min(35)] as char).collect();
            Some(format!("{prefix}{tail}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spread_from_the_least_to_near_the_greatest() {
        let values: Vec<i128> = between(-100, 6300).collect();
        assert_eq!((values[0], values[1], values[RANGES - 1]), (-100, 0, 6200));
        assert!(between(5, 5).all(|value| value == 5));
    }

    #[test]
    fn words_share_the_common_beginning() {
        let uuids = words(b"0003a1-x", b"fffe00-x");
        assert_eq!(uuids.first().map(String::as_str), Some("00"));
        assert!(uuids.iter().any(|word| word.starts_with('8')), "{uuids:?}");
        let users = words(b"user-0a", b"user-zz");
        assert!(users.iter().all(|word| word.starts_with("user-")), "{users:?}");
        assert!(words(b"\xff\xfe", b"\xff\xff").is_empty(), "no text");
    }
}
