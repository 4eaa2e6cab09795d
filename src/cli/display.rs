//! Showing a run while it goes on: one live line on a terminal, otherwise a line every ten seconds.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::progress::{Phase, Progress, Snapshot};

/// Between two updates of the live line.
const REFRESH: Duration = Duration::from_millis(200);
/// Between two plain lines.
const PLAIN: Duration = Duration::from_secs(10);

static QUIET: AtomicBool = AtomicBool::new(false);

/// No progress is shown from now on.
pub(super) fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Whether stderr is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(MultiProgress::new)
}

/// Writes log lines to stderr without tearing the live line apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bars().suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for LogWriter {
    type Writer = LogWriter;
    fn make_writer(&'a self) -> LogWriter {
        LogWriter
    }
}

/// Shows the progress until the returned handle is dropped.
pub(super) fn show(progress: &Progress) -> Shown {
    if QUIET.load(Ordering::Relaxed) {
        return Shown { task: None };
    }
    let progress = progress.clone();
    let task =
        if is_terminal() { tokio::spawn(live(progress)) } else { tokio::spawn(plain(progress)) };
    Shown { task: Some(task) }
}

/// A display that is being shown.
pub(super) struct Shown {
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        if let Err(error) = bars().clear() {
            tracing::debug!(%error, "clearing the display");
        }
    }
}

async fn live(progress: Progress) {
    let bar = bars().add(ProgressBar::new(1));
    let style = ProgressStyle::with_template("{prefix:>8} {bar:24} {wide_msg}");
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut ticker = tokio::time::interval(REFRESH);
    loop {
        ticker.tick().await;
        let snapshot = progress.snapshot();
        bar.set_prefix(snapshot.phase.name());
        bar.set_length(snapshot.rows_total());
        bar.set_position(snapshot.rows_done().unwrap_or_default().min(snapshot.rows_total()));
        bar.set_message(message(&snapshot));
    }
}

async fn plain(progress: Progress) {
    let mut ticker = tokio::time::interval(PLAIN);
    // The first tick comes at once.
    ticker.tick().await;
    loop {
        ticker.tick().await;
        let snapshot = progress.snapshot();
        if !matches!(snapshot.phase, Phase::Prepare | Phase::Done) {
            tracing::info!("{}: {}", snapshot.phase.name(), message(&snapshot));
        }
    }
}

/// Rows, percent, speed, time left, backlog and lag, and what is waited for.
fn message(snapshot: &Snapshot) -> String {
    let mut parts = Vec::new();
    if let Some(done) = snapshot.rows_done() {
        let total = snapshot.rows_total();
        parts.push(format!(
            "{} of ~{} rows ({:.1} %), {} rows/s",
            grouped(done),
            grouped(total),
            100.0 * done as f64 / total as f64,
            grouped(snapshot.rate() as u64)
        ));
        if let Some(eta) = snapshot.eta() {
            parts.push(format!("ETA {}", clock(eta)));
        }
    }
    parts.push(format!(
        "backlog {} keys, lag {:.1} s",
        grouped(snapshot.backlog),
        snapshot.stream_lag.as_secs_f64()
    ));
    if snapshot.rows_done().is_some() {
        parts.extend(snapshot.pace.clone());
    }
    parts.extend(snapshot.waiting.clone());
    parts.join(", ")
}

/// 1234567 → 1 234 567.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// `1:02:03` or `2:03`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(grouped(123), "123");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
        assert_eq!(clock(Duration::from_secs(63)), "1:03");
    }
}
