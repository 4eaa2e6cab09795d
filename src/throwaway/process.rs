//! A server process that cannot outlive its owner.
//!
//! Linux delivers a parent-death signal (prctl(2), `PR_SET_PDEATHSIG`) when the *thread* that forked
//! the child ends, not when its process does. A server that was started from a worker of an async
//! runtime would die with that worker. So each server has a thread of its own, which forks it, reads
//! its log, and ends only when the server has ended:
//!
//! - The thread waits for the end of the server's standard error, which comes when the server dies.
//!   So while the server lives the thread lives, and no signal is sent early.
//! - When the owner's process dies by whatever means, the thread dies with it, and the kernel sends
//!   SIGKILL. A death between fork and prctl is noticed by comparing the parent's id.
//! - Nothing after that takes the signal away: it survives exec, and is lost only by a change of
//!   user, which is why mysqld is never told to change it (`--user` is not a caller's option).
//!
//! The server is killed and reaped through the same `Child`, under one lock, so a signal cannot
//! reach another process that was given the same id.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use tokio::sync::watch;
use tracing::debug;

/// How many lines of the server's log are kept.
const LOG_LINES: usize = 50;

/// What mysqld writes when it accepts connections (MY-010931). Other parts of the server say the
/// first three words too.
const READY: &str = "ready for connections. Version";

/// Where a server process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It has not said yet that it accepts connections.
    Starting,
    /// It accepts connections.
    Ready,
    /// It has ended and was reaped; nothing is known of its status if waiting for it failed.
    Exited(Option<ExitStatus>),
}

/// A running server; dropping it kills and reaps it.
#[derive(Debug)]
pub(super) struct Process {
    child: Arc<Mutex<Child>>,
    state: watch::Receiver<State>,
    log: Arc<Mutex<VecDeque<String>>>,
    owner: Option<JoinHandle<()>>,
}

/// Arranges that the child of `command` is killed when the thread that spawns it ends.
///
/// The spawning thread has to outlive the child: it waits for it, as `Command::output` does.
#[allow(unsafe_code)]
pub(super) fn die_with_this_thread(command: &mut Command) -> &mut Command {
    let parent = std::process::id();
    // SAFETY: between fork and exec the closure calls prctl and getppid only, plain system calls
    // that neither allocate nor take a lock; the errors it makes do not allocate either.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) == -1 {
                return Err(io::Error::last_os_error());
            }
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        })
    }
}

impl Process {
    /// Starts `command` from a thread of its own.
    ///
    /// # Errors
    /// If the thread or the process cannot be created.
    pub(super) fn spawn(mut command: Command) -> io::Result<Process> {
        // A process group of its own: Ctrl-C is for the owner, who then decides about the server.
        die_with_this_thread(&mut command)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let (state_writer, state) = watch::channel(State::Starting);
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let log_writer = Arc::clone(&log);
        let (spawned_writer, spawned) = mpsc::channel();
        let owner =
            std::thread::Builder::new().name("mysqld-owner".to_owned()).spawn(move || {
                let child = match command.spawn() {
                    Ok(child) => Arc::new(Mutex::new(child)),
                    Err(error) => {
                        let _ = spawned_writer.send(Err(error));
                        return;
                    }
                };
                // The receiver waits right below, so it is there.
                let _ = spawned_writer.send(Ok(Arc::clone(&child)));
                own(&child, &state_writer, &log_writer);
            })?;
        let child = spawned.recv().map_err(io::Error::other)??;
        Ok(Process { child, state, log, owner: Some(owner) })
    }

    /// Waits until the server accepts connections or has ended.
    pub(super) async fn started(&mut self) -> State {
        self.reached(|state| *state != State::Starting).await
    }

    /// Waits until the server has ended.
    pub(super) async fn exited(&mut self) -> State {
        self.reached(|state| matches!(state, State::Exited(_))).await
    }

    async fn reached(&mut self, wanted: impl FnMut(&State) -> bool) -> State {
        // The sender is gone only after it has said Exited, or if the owner thread panicked.
        self.state.wait_for(wanted).await.map_or(State::Exited(None), |state| *state)
    }

    /// Asks the server to shut down in order (SIGTERM); it takes a second or two.
    #[allow(unsafe_code)]
    pub(super) fn terminate(&self) {
        let mut child = lock(&self.child);
        if let (Ok(None), Ok(pid)) = (child.try_wait(), libc::pid_t::try_from(child.id())) {
            // SAFETY: kill takes no pointer. The child has not been reaped, and cannot be while
            // its lock is held, so the id is still its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }

    /// Kills the server (SIGKILL); [`Process::exited`] tells when it is gone.
    pub(super) fn kill(&self) {
        // It fails for a child that has ended and was reaped, which is what is wanted.
        let _ = lock(&self.child).kill();
    }

    /// The last lines that the server wrote to its log.
    pub(super) fn log_tail(&self) -> String {
        lock(&self.log).iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if let Some(owner) = self.owner.take() {
            // An owner that panicked has nothing more to tell.
            let _ = owner.join();
        }
    }
}

/// The body of the owner thread: follows the server's log to its end, then reaps the server.
fn own(child: &Mutex<Child>, state: &watch::Sender<State>, log: &Mutex<VecDeque<String>>) {
    let stderr = lock(child).stderr.take();
    if let Some(stderr) = stderr {
        follow(BufReader::new(stderr), log, || {
            state.send_replace(State::Ready);
        });
    }
    let status = lock(child).wait().ok();
    state.send_replace(State::Exited(status));
}

/// Reads lines until the end; calls `ready` at the line that says so.
fn follow(mut stderr: impl BufRead, log: &Mutex<VecDeque<String>>, mut ready: impl FnMut()) {
    let mut line = Vec::new();
    // An error on reading a pipe is as final as its end.
    while stderr.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        debug!(target: "replank::mysqld", "{text}");
        let is_ready = text.contains(READY);
        {
            let mut log = lock(log);
            if log.len() == LOG_LINES {
                log.pop_front();
            }
            log.push_back(text);
        }
        if is_ready {
            ready();
        }
        line.clear();
    }
}

/// A panic elsewhere does not make a child or a log line less valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn(command).unwrap()
    }

    #[test]
    fn only_the_line_of_the_server_itself_makes_it_ready() {
        let text = b"X Plugin ready for connections. Bind-address: '::'\n\
            mysqld: ready for connections. Version: '9.7.4'\nlast words \xff";
        let log = Mutex::new(VecDeque::new());
        let mut lines_when_ready = Vec::new();
        follow(text.as_slice(), &log, || lines_when_ready.push(lock(&log).len()));
        assert_eq!(lines_when_ready, [2]);
        assert_eq!(lock(&log).len(), 3);
    }

    #[tokio::test]
    async fn a_ready_server_runs_until_it_is_killed() {
        let mut server = shell("echo 'ready for connections. Version: 9' >&2; exec sleep 600");
        assert_eq!(server.started().await, State::Ready);
        server.kill();
        let State::Exited(Some(status)) = server.exited().await else {
            panic!("it has ended");
        };
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }

    #[tokio::test]
    async fn a_server_that_dies_early_is_reaped_and_its_last_words_are_kept() {
        let mut server = shell("for i in $(seq 80); do echo line $i >&2; done; exit 3");
        let State::Exited(Some(status)) = server.started().await else {
            panic!("it has ended");
        };
        assert_eq!(status.code(), Some(3));
        let tail = server.log_tail();
        assert!(tail.starts_with("line 31\n") && tail.ends_with("\nline 80"), "{tail}");
    }

    #[test]
    fn a_command_that_cannot_be_run_is_an_error() {
        let error = Process::spawn(Command::new("replank-no-such-tool")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_child_dies_with_the_thread_that_spawned_it() {
        let mut child = std::thread::spawn(|| {
            let mut command = Command::new("sleep");
            die_with_this_thread(command.arg("600")).spawn().unwrap()
        })
        .join()
        .unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
}
