//! The log: to stderr, as text or as JSON lines.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// Log more; -vv logs everything replank knows
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Logging")]
    verbose: u8,
    /// Log errors only, and show no progress
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Logging")]
    pub(super) quiet: bool,
    /// How log lines are written to stderr
    #[arg(long, global = true, value_enum, default_value = "text", help_heading = "Logging")]
    log_format: LogFormat,
}

/// Starts logging. `RUST_LOG`, if set, decides in place of the flags.
pub(super) fn start(args: &LogArgs) {
    let level = match (args.quiet, args.verbose) {
        (true, _) => "error",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,replank={level}")));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(super::display::LogWriter)
        .with_target(args.verbose > 0);
    match args.log_format {
        LogFormat::Text => builder.with_ansi(super::display::is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
    super::display::set_quiet(args.quiet);
}
