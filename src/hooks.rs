//! The operator's own programs at named points of a run.
//!
//! A hook is an executable file in a folder, named after its [`Point`], with or without something after a dot:
//! `before-cut-over`, `throttled.page-me`. Several for one point run one after another, in order of name. Each gets the
//! run's status as JSON on its standard input, and the most important of it in its environment.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::control::{Control, Heard, Status};
use crate::error::{Error, Result};
use crate::progress::{Phase, Progress};

/// When a hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Everything is prepared; the first chunk comes next. A failure ends the run before it has copied anything.
    BeforeCopy,
    /// All rows are copied.
    CopyDone,
    /// The tables are verified and in step. A failure postpones the swap; the hook is asked again.
    BeforeCutOver,
    /// The tables are swapped.
    AfterCutOver,
    /// The copy is held.
    Throttled,
    /// The copy goes on.
    Resumed,
    /// The run was interrupted.
    Interrupted,
    /// The run has failed.
    Failed,
    /// The run has come to its end.
    Done,
}

impl Point {
    /// All of them.
    pub const ALL: [Point; 9] = [
        Point::BeforeCopy,
        Point::CopyDone,
        Point::BeforeCutOver,
        Point::AfterCutOver,
        Point::Throttled,
        Point::Resumed,
        Point::Interrupted,
        Point::Failed,
        Point::Done,
    ];

    /// Its name, with which the names of its hooks begin.
    pub fn name(self) -> &'static str {
        match self {
            Point::BeforeCopy => "before-copy",
            Point::CopyDone => "copy-done",
            Point::BeforeCutOver => "before-cut-over",
            Point::AfterCutOver => "after-cut-over",
            Point::Throttled => "throttled",
            Point::Resumed => "resumed",
            Point::Interrupted => "interrupted",
            Point::Failed => "failed",
            Point::Done => "done",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the swap waits for until the hook was asked.
pub(crate) const NOT_ASKED: &str = "the hook before-cut-over has not been asked yet";

/// Between two questions whether the tables may be swapped.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A folder of hooks.
#[derive(Debug, Clone)]
pub struct Hooks {
    folder: PathBuf,
    timeout: Duration,
}

impl Hooks {
    /// The hooks in a folder; each may take that long.
    ///
    /// # Errors
    /// Refused when it is no folder, or holds an executable that is named after no point.
    pub fn open(folder: &Path, timeout: Duration) -> Result<Hooks> {
        let hooks = Hooks { folder: folder.to_owned(), timeout };
        for name in hooks.executables()? {
            let point = name.split('.').next().unwrap_or_default();
            if !Point::ALL.iter().any(|known| known.name() == point) {
                let known: Vec<&str> = Point::ALL.iter().map(|point| point.name()).collect();
                return Err(Error::refused(format!(
                    "the hook {} in {} is called at no point",
                    name,
                    folder.display()
                ))
                .remedy(format!("Name it after one of: {}.", known.join(", "))));
            }
        }
        Ok(hooks)
    }

    /// The names of the executable files, in order.
    fn executables(&self) -> Result<Vec<String>> {
        let trouble = |e: std::io::Error| {
            Error::refused(format!("the folder {} (--hooks) cannot be read", self.folder.display()))
                .caused_by(e)
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(trouble)? {
            let entry = entry.map_err(trouble)?;
            // A link to a program is a hook as well.
            let about = std::fs::metadata(entry.path()).map_err(trouble)?;
            if about.is_file()
                && about.permissions().mode() & 0o111 != 0
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Calls the hooks of a point, until one fails. `why` is what there is to say besides the status.
    ///
    /// # Errors
    /// Failed with what the hook wrote to its standard error.
    pub async fn call(&self, point: Point, why: Option<&str>, status: &Status) -> Result<()> {
        for name in self.executables()? {
            if name.split('.').next() == Some(point.name()) {
                self.execute(&name, point, why, status).await?;
            }
        }
        Ok(())
    }

    /// Calls hooks whose failure changes nothing.
    pub async fn tell(&self, point: Point, why: Option<&str>, status: &Status) {
        if let Err(error) = self.call(point, why, status).await {
            tracing::warn!("{error}");
        }
    }

    async fn execute(
        &self,
        name: &str,
        point: Point,
        why: Option<&str>,
        status: &Status,
    ) -> Result<()> {
        let trouble = |what: String| Error::failed(format!("the hook {name} {what}"));
        let mut command = Command::new(self.folder.join(name));
        // Options may stand there, and passwords in them; they are no business of the hook's.
        for (variable, _) in std::env::vars_os() {
            let own = variable.to_string_lossy();
            if own.starts_with("REPLANK_") || own == "MYSQL_PWD" {
                command.env_remove(variable);
            }
        }
        let mut child = command
            .env("REPLANK_HOOK", point.name())
            .env("REPLANK_HOOK_WHY", why.unwrap_or_default())
            .env("REPLANK_HOOK_SCHEMA", &status.schema)
            .env("REPLANK_HOOK_TABLE", &status.table)
            .env("REPLANK_HOOK_RUN", &status.run)
            .env("REPLANK_HOOK_PHASE", &status.phase)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| trouble("cannot be started".to_owned()).caused_by(e))?;
        let document = json!({ "hook": point.name(), "why": why, "status": status }).to_string();
        let input = child.stdin.take();
        let feed = async move {
            if let Some(mut input) = input
                && let Err(error) = input.write_all(document.as_bytes()).await
            {
                // A hook need not read it.
                tracing::debug!(%error, "telling a hook");
            }
        };
        let both = async { tokio::join!(feed, child.wait_with_output()).1 };
        let output = tokio::time::timeout(self.timeout, both).await.map_err(|_| {
            trouble(format!(
                "has not ended within {} and was killed",
                humantime::format_duration(self.timeout)
            ))
        })?;
        let output = output.map_err(|e| trouble("cannot be waited for".to_owned()).caused_by(e))?;
        let said = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).trim().chars().take(500).collect::<String>()
        };
        let (out, err) = (said(&output.stdout), said(&output.stderr));
        tracing::info!(hook = name, status = %output.status, out, err, "hook");
        match output.status.success() {
            true => Ok(()),
            false => Err(trouble(format!("ended with {}: {err}", output.status))),
        }
    }
}

/// Calls hooks while a run goes on: at its phases, when it is held, and before its cut-over.
pub(crate) async fn herald(hooks: Hooks, progress: Progress, control: Control) {
    let mut phases = progress.phases();
    let mut changes = control.changes();
    let (mut copied, mut was_held, mut agreed) = (false, false, false);
    loop {
        let phase = *phases.borrow_and_update();
        let Heard { held, may_cut_over } = changes.borrow_and_update().clone();
        if phase > Phase::Copy && phase < Phase::Guard && !copied {
            copied = true;
            hooks.tell(Point::CopyDone, None, &Status::of(&progress, &control)).await;
        }
        if held.is_some() != was_held {
            was_held = held.is_some();
            let point = if was_held { Point::Throttled } else { Point::Resumed };
            hooks.tell(point, held.as_deref(), &Status::of(&progress, &control)).await;
        }
        // A yes holds for this moment: when something else puts the swap off, it is asked for anew.
        let is_due = phase == Phase::CutOver && may_cut_over;
        if agreed && !is_due && phase < Phase::Guard {
            agreed = false;
            control.hook_cut_over(Some(NOT_ASKED.to_owned()));
        }
        let wait = if is_due && !agreed {
            let status = Status::of(&progress, &control);
            let asked = hooks.call(Point::BeforeCutOver, None, &status).await;
            agreed = asked.is_ok();
            control.hook_cut_over(asked.err().map(|error| error.to_string()));
            ASK_AGAIN
        } else {
            Duration::MAX
        };
        tokio::select! {
            // The progress and the control end with the run, and this task before them.
            changed = phases.changed() => if changed.is_err() { return },
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait), if wait < Duration::MAX => {}
        }
    }
}
