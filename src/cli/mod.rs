//! The command line: arguments, logging, exit codes. One file per command.

mod back;
mod cleanup;
mod config;
mod demo;
mod display;
mod generate;
mod layers;
mod logging;
mod operate;
mod output;
mod plan;
mod run;
mod status;
mod steer;
mod target;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::SystemEnv;
use crate::control::Control;
use crate::error::{Error, Kind};
use layers::LayerError;
use logging::LogArgs;

const EXIT_CODES: &str = "Exit codes:
  0    done
  1    failed; the source table is untouched
  2    refused, or bad arguments; nothing was created or changed
  3    the outcome of the swap is unknown; the message says how to find out
  130  interrupted; what was copied is kept for the same command to go on with (see --stop-keeps)";

/// Online schema change for MySQL: an ALTER TABLE on a large table that is in use.
#[derive(Debug, Parser)]
#[command(name = "replank", version, about, long_about = None, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    log: LogArgs,
    /// File with options, which are weaker than $REPLANK_NAME and than the command line [default: ./replank.toml if
    /// it exists]
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Carry out an ALTER TABLE while the table is in use
    Run(run::RunArgs),
    /// Say what `run` would do, and how long it would take: a sample is copied into a shadow table, and removed again
    Plan(plan::PlanArgs),
    /// Swap a run's tables back: the old structure, with every row that was written meanwhile
    Revert(back::RevertArgs),
    /// Keep the old table of a run in step, so that it can be reverted: takes over from `run --revertible`
    Guard(back::GuardArgs),
    /// Show the whole story on a throwaway server
    Demo(demo::DemoArgs),
    /// Show the runs on a server's tables that have not come to their end
    Status(status::StatusNowArgs),
    /// List all runs, those that have come to their end included
    List(status::StatusArgs),
    /// Hold the copy of a run that goes on; changes are still replayed
    Pause(steer::SteerRunArgs),
    /// Let a paused run go on
    Resume(steer::SteerRunArgs),
    /// Change how much a run that goes on may slow the application down
    Pace(steer::PaceArgs),
    /// Change settings of a run that goes on
    Set(steer::SetArgs),
    /// End a run that goes on, and keep what there is to go on with
    Stop(steer::SteerRunArgs),
    /// Swap the tables of a run that has postponed it, as soon as they are verified
    CutOver(steer::SteerRunArgs),
    /// Remove what an abandoned run left, and only that
    Cleanup(cleanup::CleanupArgs),
    /// Undo a run on a table, stopped or going on
    Abort(cleanup::AbortArgs),
    /// The configuration file
    Config(config::ConfigArgs),
    /// Write the completions of a shell to stdout
    Completions(generate::CompletionsArgs),
    /// Write the manual pages to stdout
    Man,
}

impl Command {
    /// The form of the result on stdout.
    fn output(&self) -> output::Output {
        match self {
            Command::Run(args) => args.output.output,
            Command::Plan(args) => args.output.output,
            Command::Revert(args) => args.output.output,
            Command::Guard(args) => args.output.output,
            Command::Demo(args) => args.output.output,
            Command::Status(args) => args.status.output.output,
            Command::List(args) => args.output.output,
            Command::Pause(args)
            | Command::Resume(args)
            | Command::Stop(args)
            | Command::CutOver(args) => args.output.output,
            Command::Pace(args) => args.run.output.output,
            Command::Set(args) => args.output.output,
            Command::Config(_) | Command::Completions(_) | Command::Man => output::Output::Text,
            Command::Cleanup(args) => args.output.output,
            Command::Abort(args) => args.output.output,
        }
    }
}

/// Parses the arguments, carries out the command, and reports an error as the documentation says.
pub fn main() -> ExitCode {
    let given: Vec<OsString> = std::env::args_os().collect();
    let arguments = match layers::layered(Cli::command(), given.clone(), &SystemEnv) {
        Ok(arguments) => arguments,
        Err(LayerError::Usage(error)) => return usage(&error),
        Err(LayerError::Refused(error)) => {
            report(&error);
            // Only the command line itself can say here that JSON is wanted.
            let cli = Cli::try_parse_from(given);
            if cli.is_ok_and(|cli| cli.command.output() == output::Output::Json) {
                output::print_error(&error);
            }
            return ExitCode::from(error.kind().exit_code());
        }
    };
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let json = cli.command.output() == output::Output::Json;
    logging::start(&cli.log);
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed("starting the runtime").caused_by(error))
        .and_then(|runtime| runtime.block_on(execute(cli.command, cli.config)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            if json {
                output::print_error(&error);
            }
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// clap prints help and version to stdout, errors to stderr, and exits with 0 or 2.
fn usage(error: &clap::Error) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    match error.print() {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::from(2),
    }
}

async fn execute(command: Command, config: Option<PathBuf>) -> Result<(), Error> {
    match command {
        Command::Run(args) => Box::pin(run::run(args)).await,
        Command::Plan(args) => plan::plan(args).await,
        Command::Revert(args) => back::revert(args).await,
        Command::Guard(args) => back::guard(args).await,
        Command::Demo(args) => demo::demo(args).await,
        Command::Status(args) => status::status(args).await,
        Command::List(args) => status::list(args).await,
        Command::Pause(args) => steer::pause(args).await,
        Command::Resume(args) => steer::resume(args).await,
        Command::Pace(args) => steer::pace(args).await,
        Command::Set(args) => steer::set(args).await,
        Command::Stop(args) => steer::stop(args).await,
        Command::CutOver(args) => steer::cut_over(args).await,
        Command::Cleanup(args) => cleanup::cleanup(args).await,
        Command::Abort(args) => cleanup::abort(args).await,
        Command::Config(args) => config::config(args, config),
        Command::Completions(args) => generate::completions(&args, Cli::command()),
        Command::Man => generate::man(Cli::command()),
    }
}

/// What happened, in what state the tables are, what to do next.
fn report(error: &Error) {
    let word = match error.kind() {
        Kind::Refused => "refused",
        Kind::Interrupted => "interrupted",
        Kind::Ambiguous => "outcome unknown",
        Kind::Transient | Kind::Failed => "failed",
    };
    eprintln!("replank: {word}: {error}");
    eprintln!("  State: {}", error.kind().state());
    if let Some(remedy) = error.next_step() {
        eprintln!("  Next:  {remedy}");
    }
}

/// The operator's wish to stop: the first Ctrl-C, or SIGTERM. The second one ends the process at once.
pub(crate) fn stop_on_signal(control: &Control) {
    let control = control.clone();
    tokio::spawn(async move {
        let mut terminate =
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(terminate) => terminate,
                Err(error) => {
                    tracing::warn!(%error, "SIGTERM cannot be caught");
                    return;
                }
            };
        for attempt in 0.. {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            if attempt > 0 {
                eprintln!(
                    "replank: ended at once; the same command goes on, `replank abort` removes what is left"
                );
                std::process::exit(i32::from(Kind::Interrupted.exit_code()));
            }
            tracing::warn!("stopping; once more to end at once");
            control.stop();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
