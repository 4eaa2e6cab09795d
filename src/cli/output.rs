//! The result on stdout: text, or one JSON document.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::display::grouped;
use crate::error::{Error, Kind};
use crate::run::Outcome;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    Text,
    /// One JSON document
    Json,
}

#[derive(Debug, Clone, Args)]
pub(super) struct OutputArgs {
    /// How the result is written to stdout
    #[arg(long, value_enum, default_value = "text")]
    pub(super) output: Output,
}

impl OutputArgs {
    /// Whether it is for people.
    pub(super) fn is_text(&self) -> bool {
        self.output == Output::Text
    }

    /// Prints a result in the chosen form.
    pub(super) fn print(&self, text: impl FnOnce() -> String, document: impl FnOnce() -> Value) {
        match self.output {
            Output::Text => println!("{}", text()),
            Output::Json => println!("{:#}", document()),
        }
    }
}

/// An error as a JSON document, with the same parts as the message on stderr.
pub(super) fn print_error(error: &Error) {
    let result = match error.kind() {
        Kind::Refused => "refused",
        Kind::Transient | Kind::Failed => "failed",
        Kind::Ambiguous => "unknown",
        Kind::Interrupted => "interrupted",
    };
    println!(
        "{:#}",
        json!({
            "result": result,
            "error": error.to_string(),
            "state": error.kind().state(),
            "next": error.next_step(),
        })
    );
}

/// A finished run as text.
pub(super) fn outcome_text(outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    let seconds = |d: std::time::Duration| d.as_secs_f64();
    let mut lines = vec![
        format!("{} has its new structure.", outcome.names.source),
        format!(
            "  copied     {} rows in {} chunks, {:.1} s",
            grouped(tally.rows_copied),
            grouped(tally.chunks),
            seconds(tally.copy)
        ),
        format!("  replayed   {} changed keys", grouped(tally.keys_replayed)),
        format!("  indexes    built in {:.1} s after the copy", seconds(tally.index)),
        format!(
            "  verified   {} rows, {:.1} s, {} repaired",
            grouped(tally.rows_verified),
            seconds(tally.verify),
            grouped(tally.rows_repaired)
        ),
        format!(
            "  cut over   at attempt {}, lock held {:.0} ms after {:.0} ms of waiting for it",
            tally.attempts,
            seconds(tally.lock_held) * 1e3,
            seconds(tally.lock_queued) * 1e3
        ),
        format!("  in all     {:.1} s", seconds(outcome.took)),
    ];
    if let Some(seconds) = outcome.revertible_for {
        lines.push(format!(
            "The old table {} is kept in step for {}: `replank revert` swaps back, also from another \
             machine.",
            outcome.names.old,
            humantime::format_duration(std::time::Duration::from_secs(seconds))
        ));
    } else if outcome.old_kept {
        lines.push(format!(
            "The old table is kept as {}; drop it when you are sure: DROP TABLE {};",
            outcome.names.old, outcome.names.old
        ));
    }
    lines.join("\n")
}

/// A finished run as JSON. Times are in seconds unless the name says otherwise.
pub(super) fn outcome_json(outcome: &Outcome) -> Value {
    let tally = &outcome.tally;
    json!({
        "result": "done",
        "schema": outcome.names.source.schema.as_str(),
        "table": outcome.names.source.table.as_str(),
        "old_table": outcome.old_kept.then(|| outcome.names.old.table.as_str()),
        "revertible_seconds": outcome.revertible_for,
        "seconds": outcome.took.as_secs_f64(),
        "copy_seconds": tally.copy.as_secs_f64(),
        "index_seconds": tally.index.as_secs_f64(),
        "verify_seconds": tally.verify.as_secs_f64(),
        "cut_over_seconds": tally.cut_over.as_secs_f64(),
        "rows_copied": tally.rows_copied,
        "chunks": tally.chunks,
        "rows_verified": tally.rows_verified,
        "rows_repaired": tally.rows_repaired,
        "keys_replayed": tally.keys_replayed,
        "cut_over_attempts": tally.attempts,
        "lock_queued_ms": tally.lock_queued.as_secs_f64() * 1e3,
        "lock_held_ms": tally.lock_held.as_secs_f64() * 1e3,
        "warnings": outcome.warnings,
    })
}
