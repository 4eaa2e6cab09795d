//! A plan as text and as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::Findings;
use crate::cli::display::grouped;
use crate::estimate::{Forecast, Stretch};

/// The plan for people.
pub(super) fn text(found: &Findings) -> String {
    let plan = &found.plan;
    let names = &plan.names;
    let mut lines = vec![
        format!("ALTER TABLE {} {}", names.source, found.clauses),
        format!("  server     MySQL {}", found.version),
        format!(
            "  table      {}{} rows, {} MiB of data, {} MiB of indexes",
            if found.exact { "" } else { "~" },
            grouped(found.rows),
            grouped(plan.source.data_bytes >> 20),
            grouped(plan.source.index_bytes >> 20)
        ),
        format!("  key        {} ({})", plan.key.source_index, plan.key.source.column_list()),
        format!(
            "  by MySQL   {}{}",
            found.method.name(),
            found.method.why().map(|why| format!(": {why}")).unwrap_or_default()
        ),
        format!(
            "  disk       {} MiB more for the new table, about as much for the binlog of its rows{}",
            grouped(found.new_bytes >> 20),
            match found.free_bytes {
                Some(free) => format!("; {} MiB are free", grouped(free >> 20)),
                None => String::new(),
            }
        ),
        "What `run` would do:".to_owned(),
        format!("  1. create {} with the new structure, and {}", names.shadow, names.state),
        format!("  2. copy {} in chunks while changes are replayed from the binlog", names.source),
        "  3. build the indexes that are not unique, and compare all rows of both tables"
            .to_owned(),
        format!(
            "  4. lock {} for at most {} s, replay the last changes, and swap",
            names.source, found.lock_wait
        ),
        format!("  5. keep the old table as {}, and drop {}", names.old, names.state),
    ];
    lines.extend(times(found));
    if let crate::estimate::Method::Instant = found.method {
        lines.push(
            "MySQL can do this at once, without a copy: run the ALTER itself, with ALGORITHM=INSTANT.".to_owned(),
        );
    }
    if !found.warnings.is_empty() {
        lines.push("Mind:".to_owned());
        lines.extend(found.warnings.iter().map(|warning| format!("  - {warning}")));
    }
    lines.push("The ALTER was tried on a shadow table, which is gone again.".to_owned());
    lines.join("\n")
}

fn times(found: &Findings) -> Vec<String> {
    let (Some(sampled), Some(estimate)) = (&found.sampled, &found.estimate) else {
        return match &found.sampled {
            Some(_) => vec!["No time can be estimated: no row could be copied.".to_owned()],
            None => Vec::new(),
        };
    };
    let (low, high) = estimate.range();
    let mut lines = vec![
        format!(
            "How long that would take, by {} rows that were copied, indexed and compared in {:.0} s:",
            grouped(sampled.rows),
            sampled.took.as_secs_f64()
        ),
        format!(
            "  copy       {} at {} rows/s",
            long(estimate.copy),
            grouped(sampled.copied_per_second as u64)
        ),
        format!("  indexes    {}", long(estimate.index)),
        format!("  verify     {}", long(estimate.verify)),
        format!("  cut over   {}", long(estimate.cut_over)),
        format!(
            "  in all     {}, probably {} to {}",
            long(estimate.total()),
            long(low),
            long(high)
        ),
    ];
    if let Some(others) = sampled.others_per_second.filter(|others| *others >= 1.0) {
        lines.push(format!("  beside     {others:.0} transactions/s of the application"));
    }
    if let Some(forecast) = &found.forecast {
        lines.push(format!("  course     {}", course(forecast)));
    }
    lines
}

/// `begins 14:00, rests 18:00 to 22:00 (peak …), done about 03:40`, in this machine's zone.
fn course(forecast: &Forecast) -> String {
    let clock = |at: jiff::Timestamp| {
        at.to_zoned(jiff::tz::TimeZone::system()).strftime("%a %H:%M").to_string()
    };
    let mut parts = Vec::new();
    if let Some(first) = forecast.stretches.first() {
        parts.push(format!("begins {}", clock(first.from)));
    }
    for Stretch { from, until, held } in &forecast.stretches {
        if let Some(why) = held {
            parts.push(format!("{} to {}: {why}", clock(*from), clock(*until)));
        }
    }
    parts.push(match forecast.done {
        Some(done) => format!("done about {}", clock(done)),
        None => "never done: its windows leave no time".to_owned(),
    });
    parts.join(", ")
}

/// A duration as people say it, in its two largest units.
fn long(time: Duration) -> String {
    let rounded = match time.as_secs() {
        0..10 => Duration::from_millis((time.as_millis() as u64).div_ceil(100) * 100),
        10..3600 => Duration::from_secs(time.as_secs_f64().round() as u64),
        seconds => Duration::from_secs(seconds / 60 * 60),
    };
    humantime::format_duration(rounded).to_string()
}

/// The plan for programs. Times are in seconds.
pub(super) fn document(found: &Findings) -> Value {
    let plan = &found.plan;
    let names = &plan.names;
    json!({
        "result": "planned",
        "schema": names.source.schema.as_str(),
        "table": names.source.table.as_str(),
        "alter": found.clauses,
        "server_version": found.version,
        "method": found.method.name(),
        "method_why": found.method.why(),
        "rows": found.rows,
        "rows_are_exact": found.exact,
        "data_bytes": plan.source.data_bytes,
        "index_bytes": plan.source.index_bytes,
        "new_bytes": found.new_bytes,
        "free_bytes": found.free_bytes,
        "key_index": plan.key.source_index.as_str(),
        "key_columns": plan.key.source.parts.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
        "shadow_table": names.shadow.table.as_str(),
        "state_table": names.state.table.as_str(),
        "old_table": names.old.table.as_str(),
        "columns_dropped": plan.columns.dropped.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        "columns_added": plan.columns.added.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        "sample": found.sampled.as_ref().map(|sampled| json!({
            "rows": sampled.rows,
            "spread": sampled.spread,
            "copied_per_second": sampled.copied_per_second,
            "verified_per_second": sampled.verified_per_second,
            "others_per_second": sampled.others_per_second,
            "commit_ms": sampled.commit.map(|commit| commit.as_secs_f64() * 1e3),
            "seconds": sampled.took.as_secs_f64(),
            "held": sampled.held,
        })),
        "estimate": found.estimate.as_ref().map(|estimate| json!({
            "prepare_seconds": estimate.prepare.as_secs_f64(),
            "copy_seconds": estimate.copy.as_secs_f64(),
            "index_seconds": estimate.index.as_secs_f64(),
            "verify_seconds": estimate.verify.as_secs_f64(),
            "cut_over_seconds": estimate.cut_over.as_secs_f64(),
            "seconds": estimate.total().as_secs_f64(),
            "seconds_low": estimate.range().0.as_secs_f64(),
            "seconds_high": estimate.range().1.as_secs_f64(),
        })),
        "course": found.forecast.as_ref().map(|forecast| json!({
            "stretches": forecast.stretches.iter().map(|stretch| json!({
                "from": stretch.from.to_string(),
                "until": stretch.until.to_string(),
                "held": stretch.held,
            })).collect::<Vec<_>>(),
            "done": forecast.done.map(|done| done.to_string()),
        })),
        "warnings": found.warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_the_units_that_matter() {
        assert_eq!(long(Duration::from_millis(1234)), "1s 300ms");
        assert_eq!(long(Duration::from_millis(83_400)), "1m 23s");
        assert_eq!(long(Duration::from_secs(7_290)), "2h 1m");
    }
}
