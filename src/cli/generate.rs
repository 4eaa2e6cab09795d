//! `replank completions` and `replank man`: made from the arguments themselves.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::{Error, Result};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell: `source <(replank completions bash)`
    #[arg(value_enum)]
    shell: Shell,
}

/// Writes the shell's completions to stdout.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "replank", &mut text);
    print(&text)
}

/// Writes the manual page to stdout: of replank, followed by those of its commands.
pub(super) fn man(mut command: Command) -> Result<()> {
    command.build();
    let mut text = Vec::new();
    let trouble = |e| Error::failed("writing the manual page").caused_by(e);
    clap_mangen::Man::new(command.clone()).render(&mut text).map_err(trouble)?;
    for one in command.get_subcommands().filter(|one| one.get_name() != "help") {
        clap_mangen::Man::new(one.clone()).render(&mut text).map_err(trouble)?;
    }
    print(&text)
}

fn print(text: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)
        .and_then(|()| out.flush())
        .map_err(|e| Error::failed("writing to stdout").caused_by(e))
}
