//! The tools that are compared.

use std::process::{Command, Stdio};

use crate::shapes::ALTER;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Half a minute in which nothing is altered: what the application does by itself.
    Nothing,
    Copy,
    Inplace,
    PtOsc,
    Replank,
    /// `replank plan` first, whose estimate is compared with the run that follows.
    Planned,
}

impl Tool {
    /// The tool of that name; None if it is not installed.
    pub(crate) fn of(name: &str) -> Option<Tool> {
        match name {
            "nothing" => Some(Tool::Nothing),
            "copy" => Some(Tool::Copy),
            "inplace" => Some(Tool::Inplace),
            "replank" => Some(Tool::Replank),
            "planned" => Some(Tool::Planned),
            "pt-osc" => {
                let there = Command::new("pt-online-schema-change")
                    .arg("--version")
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .is_ok_and(|status| status.success());
                if !there {
                    eprintln!(
                        "pt-online-schema-change is not installed (Debian: percona-toolkit); left out"
                    );
                }
                there.then_some(Tool::PtOsc)
            }
            other => {
                panic!("--tool {other} is none of nothing, copy, inplace, pt-osc, replank, planned")
            }
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Tool::Nothing => "nothing",
            Tool::Copy => "native COPY",
            Tool::Inplace => "native INPLACE",
            Tool::PtOsc => "pt-osc",
            Tool::Replank => "replank",
            Tool::Planned => "replank, planned",
        }
    }

    /// The statement, where the server does it itself.
    pub(crate) fn statement(self) -> Option<String> {
        match self {
            Tool::Nothing => Some("DO SLEEP(30)".to_owned()),
            Tool::Copy => Some(format!("ALTER TABLE t {ALTER}, ALGORITHM=COPY")),
            // An added column would be instant; a rebuild is what is compared.
            Tool::Inplace => {
                Some(format!("ALTER TABLE t FORCE, {ALTER}, ALGORITHM=INPLACE, LOCK=NONE"))
            }
            Tool::PtOsc | Tool::Replank | Tool::Planned => None,
        }
    }

    /// The command, where it is one.
    pub(crate) fn command(self, port: u16, arguments: &[String]) -> Option<Command> {
        let mut command = match self {
            Tool::Replank | Tool::Planned => {
                let mut command = replank("run", port);
                command.args(["--keep-old", "--history-retention", "0"]).args(arguments);
                if !arguments.iter().any(|argument| argument.starts_with("-v")) {
                    command.arg("-q");
                }
                command
            }
            Tool::PtOsc => {
                let mut command = Command::new("pt-online-schema-change");
                command
                    .args([
                        "--alter",
                        ALTER,
                        "--execute",
                        "--no-check-alter",
                        // Its search for replicas uses a statement that the server no longer has.
                        "--recursion-method",
                        "none",
                        // It reads the number of rows from EXPLAIN, whose default is a tree on this server: without
                        // that, it takes the whole table for one chunk.
                        "--set-vars",
                        "lock_wait_timeout=60,explain_format=TRADITIONAL",
                    ])
                    .arg(format!("h=127.0.0.1,P={port},u=root,D=bench,t=t"));
                command
            }
            Tool::Nothing | Tool::Copy | Tool::Inplace => return None,
        };
        command.env("HOME", "/nonexistent").stdin(Stdio::null());
        Some(command)
    }
}

/// A command of replank's about the benchmark's table, whose result is JSON.
pub(crate) fn replank(name: &str, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replank"));
    command
        .args([name, "--host", "127.0.0.1", "--port", &port.to_string(), "--user", "root"])
        .args(["--database", "bench", "--table", "t", "--alter", ALTER])
        .args(["--output", "json"])
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null());
    command
}
