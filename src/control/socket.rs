//! Commands through a Unix socket: one JSON object a line, one answer a line. `nc -U` will do.
//!
//! Only the owner of the process may speak: the socket's folder is closed to others, and the peer is asked for its
//! user as well.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::{Command, Control, Status};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::sql::{TableName, stable_hash};

/// The longest line that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was carried out.
    pub ok: bool,
    /// What happens now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why it was not carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How the run stands, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<Status>>,
}

impl Answer {
    /// Why the command was not carried out.
    pub fn no(error: impl ToString) -> Answer {
        Answer { ok: false, text: None, error: Some(error.to_string()), status: None }
    }
}

/// Carries out a command as it was received.
pub fn respond(line: &str, by: &str, progress: &Progress, control: &Control) -> Answer {
    let command: Command = match serde_json::from_str(line) {
        Ok(command) => command,
        Err(error) => return Answer::no(format!("this is no command: {error}")),
    };
    match control.obey(&command, by) {
        Ok(text) => {
            let asked = command == Command::Status;
            let status = asked.then(|| Box::new(Status::of(progress, control)));
            Answer { ok: true, text: Some(text).filter(|_| !asked), error: None, status }
        }
        Err(error) => Answer::no(match error.next_step() {
            Some(next) => format!("{error} {next}"),
            None => error.to_string(),
        }),
    }
}

/// Where the socket of a run on this table is by default. `endpoint` tells servers apart: `host:port`.
///
/// # Errors
/// Refused when the folder is not this user's own.
pub fn default_path(endpoint: &str, table: &TableName) -> Result<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let folder = match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder).join("replank"),
        None => std::env::temp_dir().join(format!("replank-{uid}")),
    };
    let trouble = |what: &str| {
        Error::refused(format!("the folder for the control socket, {}, {what}", folder.display()))
            .remedy("Name another place with --control-socket, or give --control-socket none.")
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|e| trouble("cannot be made").caused_by(e))?;
    let about = std::fs::symlink_metadata(&folder).map_err(|e| trouble("is gone").caused_by(e))?;
    if !about.is_dir() || about.uid() != uid || about.mode() & 0o077 != 0 {
        return Err(trouble("is not a folder that is this user's alone"));
    }
    // The path of a socket has to be shorter than 108 bytes.
    let readable: String =
        table.table.as_str().chars().filter(char::is_ascii_alphanumeric).take(24).collect();
    let hash = stable_hash(&format!("{endpoint} {table}"));
    Ok(folder.join(format!("{readable}-{hash:016x}.sock")))
}

/// A socket that is being listened at; it is removed with this value.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    listening: JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.listening.abort();
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "removing the control socket");
        }
    }
}

impl Socket {
    /// Listens for commands.
    ///
    /// # Errors
    /// Refused when another process listens there already, or the socket cannot be made.
    pub async fn listen(path: &Path, progress: &Progress, control: &Control) -> Result<Socket> {
        let trouble =
            |what: &str| Error::refused(format!("the control socket {}: {what}", path.display()));
        if path.exists() {
            if UnixStream::connect(path).await.is_ok() {
                return Err(trouble("another process listens there")
                    .remedy("Name another place with --control-socket."));
            }
            // It was left by a process that was killed.
            let about =
                std::fs::symlink_metadata(path).map_err(|e| trouble("is gone").caused_by(e))?;
            if !std::os::unix::fs::FileTypeExt::is_socket(&about.file_type()) {
                return Err(trouble("there is a file of that name")
                    .remedy("Name another place with --control-socket."));
            }
            std::fs::remove_file(path).map_err(|e| trouble("cannot be removed").caused_by(e))?;
        }
        let listener =
            UnixListener::bind(path).map_err(|e| trouble("cannot be made").caused_by(e))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(|e| trouble("cannot be closed to others").caused_by(e))?;
        let (progress, control) = (progress.clone(), control.clone());
        let listening = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        tokio::spawn(converse(stream, progress.clone(), control.clone()));
                    }
                    Err(error) => {
                        // Out of file descriptors, for instance: that passes.
                        tracing::warn!(%error, "accepting at the control socket");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        });
        Ok(Socket { path: path.to_owned(), listening })
    }
}

async fn converse(stream: UnixStream, progress: Progress, control: Control) {
    let own = rustix::process::getuid().as_raw();
    let peer = stream.peer_cred().map(|peer| peer.uid());
    if !peer.as_ref().is_ok_and(|uid| *uid == own || *uid == 0) {
        tracing::warn!(?peer, "somebody else spoke to the control socket, and was not heard");
        return;
    }
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        match (&mut reader).take(LONGEST).read_line(&mut line).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "reading from the control socket");
                return;
            }
        }
        if line.trim().is_empty() {
            continue;
        }
        let answer = respond(&line, "socket", &progress, &control);
        let Ok(mut answer) = serde_json::to_string(&answer) else { return };
        answer.push('\n');
        if let Err(error) = writer.write_all(answer.as_bytes()).await {
            tracing::debug!(%error, "answering at the control socket");
            return;
        }
    }
}

/// Asks something of the process that listens at a socket. None if nobody does, or if it is silent: it may have been
/// suspended.
///
/// # Errors
/// Refused when the answer cannot be read.
pub async fn ask(path: &Path, command: &Command) -> Result<Option<Answer>> {
    tokio::time::timeout(PATIENCE, converse_once(path, command)).await.unwrap_or(Ok(None))
}

async fn converse_once(path: &Path, command: &Command) -> Result<Option<Answer>> {
    let Ok(mut stream) = UnixStream::connect(path).await else { return Ok(None) };
    let trouble =
        |what: &str| Error::refused(format!("the control socket {}: {what}", path.display()));
    let mut line =
        serde_json::to_string(command).map_err(|e| trouble("writing the command").caused_by(e))?;
    line.push('\n');
    stream.write_all(line.as_bytes()).await.map_err(|e| trouble("writing").caused_by(e))?;
    let mut answer = String::new();
    let read = BufReader::new(stream).read_line(&mut answer).await;
    if read.map_err(|e| trouble("reading the answer").caused_by(e))? == 0 {
        return Err(trouble("no answer: it belongs to another user, or the run has just ended"));
    }
    let answer = serde_json::from_str(&answer);
    answer.map(Some).map_err(|e| trouble("the answer cannot be read").caused_by(e))
}
