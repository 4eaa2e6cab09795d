//! What the demo has shown.

use std::fmt;

use serde::Serialize;

use super::latency::LatencySummary;

/// The result of a demo in which everything was right.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DemoReport {
    /// The server's version.
    pub server: String,
    /// The clauses of the ALTER.
    pub alter: String,
    /// Rows of the table in the end.
    pub rows: u64,
    /// The whole migration, in seconds.
    pub seconds: f64,
    /// Of these, copying, comparing and cutting over.
    pub copy_seconds: f64,
    /// See [`copy_seconds`](Self::copy_seconds).
    pub verify_seconds: f64,
    /// See [`copy_seconds`](Self::copy_seconds).
    pub cut_over_seconds: f64,
    /// Rows copied per second of the whole migration.
    pub rows_per_second: f64,
    /// The same ALTER by the server itself, on the twin, when nobody wrote any more, in seconds.
    pub native_seconds: f64,
    /// Connections of the application.
    pub writers: usize,
    /// Transactions per second that the application began, all writers together, if there was a limit.
    pub wanted_per_second: Option<f64>,
    /// The application's transactions before the migration.
    pub before: LatencySummary,
    /// The application's transactions during the migration.
    pub during: LatencySummary,
    /// The longest transaction of those that were under way at some moment between the beginning of the
    /// cut-over and the end of the run, in milliseconds.
    pub worst_stall_ms: f64,
    /// How long the tables were locked for the swap, in milliseconds.
    pub lock_held_ms: f64,
    /// Attempts at the cut-over.
    pub attempts: u32,
    /// Changed keys that were replayed.
    pub keys_replayed: u64,
    /// Statements that failed in the application; a demo with any is not reported but fails.
    pub application_errors: u64,
    /// Transactions that the application tried again after a deadlock or a lock wait timeout.
    pub application_retries: u64,
    /// Rows that were compared with the twin's, all columns of each; all were equal.
    pub rows_compared: u64,
}

impl fmt::Display for DemoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = match self.wanted_per_second {
            Some(wanted) => format!("of {wanted:.0}/s wanted"),
            None => "without a limit".to_owned(),
        };
        let latency = |f: &mut fmt::Formatter<'_>, title: &str, summary: &LatencySummary| {
            writeln!(
                f,
                "{title:<13}{:.0} transactions/s {wanted}; p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
                summary.per_second, summary.p50_ms, summary.p99_ms, summary.max_ms
            )
        };
        writeln!(f, "{:<13}{}", "server", self.server)?;
        writeln!(f, "{:<13}{}", "alter", self.alter)?;
        writeln!(
            f,
            "{:<13}{:.1} s for {} rows, {:.0} rows/s (copy {:.1} s, verify {:.1} s, cut-over {:.1} s)",
            "migration",
            self.seconds,
            self.rows,
            self.rows_per_second,
            self.copy_seconds,
            self.verify_seconds,
            self.cut_over_seconds
        )?;
        writeln!(
            f,
            "{:<13}{:.1} s, idle, without the application",
            "native ALTER", self.native_seconds
        )?;
        writeln!(
            f,
            "{:<13}{} transactions of {} writers, {} changed keys replayed",
            "meanwhile", self.during.transactions, self.writers, self.keys_replayed
        )?;
        latency(f, "before", &self.before)?;
        latency(f, "during", &self.during)?;
        writeln!(
            f,
            "{:<13}worst stall of a transaction {:.1} ms, lock held {:.1} ms, {}",
            "cut-over",
            self.worst_stall_ms,
            self.lock_held_ms,
            match self.attempts {
                1 => "1 attempt".to_owned(),
                attempts => format!("{attempts} attempts"),
            }
        )?;
        writeln!(
            f,
            "{:<13}{} errors, {} retries after a deadlock or lock wait",
            "application", self.application_errors, self.application_retries
        )?;
        write!(
            f,
            "{:<13}all {} rows and the definition equal those of the twin that MySQL altered",
            "result", self.rows_compared
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> DemoReport {
        let before = LatencySummary {
            transactions: 800,
            per_second: 400.0,
            p50_ms: 2.0,
            p99_ms: 9.04,
            max_ms: 20.0,
            worst_statement_ms: 18.0,
        };
        DemoReport {
            server: "9.7.4".to_owned(),
            alter: "ADD COLUMN phone VARCHAR(20)".to_owned(),
            rows: 1_000_100,
            seconds: 20.0,
            copy_seconds: 12.0,
            verify_seconds: 7.0,
            cut_over_seconds: 0.5,
            rows_per_second: 50_000.0,
            native_seconds: 9.0,
            writers: 4,
            wanted_per_second: Some(400.0),
            before,
            during: LatencySummary { transactions: 8000, max_ms: 80.0, ..before },
            worst_stall_ms: 61.25,
            lock_held_ms: 30.0,
            attempts: 1,
            keys_replayed: 9000,
            application_errors: 0,
            application_retries: 3,
            rows_compared: 1_000_100,
        }
    }

    #[test]
    fn the_text_is_aligned_and_says_what_was_measured() {
        let text = report().to_string();
        for line in text.lines() {
            let (title, rest) = line.split_at(13);
            assert!(title.ends_with(' ') && !rest.starts_with(' '), "{line}");
        }
        for fact in ["of 400/s wanted", "p99 9.0 ms", "61.2 ms", "1 attempt\n", "1000100 rows and"]
        {
            assert!(text.contains(fact), "{fact} in:\n{text}");
        }
    }

    #[test]
    fn it_serializes_with_units_in_the_names() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["during"]["max_ms"], 80.0);
        assert_eq!(json["worst_stall_ms"], 61.25);
    }
}
