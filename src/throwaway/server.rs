//! The handle of a throwaway server and its builder.
//!
//! The port is the handle's from the first start to the drop, restarts included: a socket of the
//! handle is bound to it, with SO_REUSEADDR and without listening. The kernel then gives the port to
//! nobody who asks for any port and takes it for no outgoing connection, but lets mysqld, which sets
//! SO_REUSEADDR too, bind and listen. So there is no moment at which the port could be lost, and a
//! client that retries while the server is down cannot meet another one there.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mysql_async::{Conn, OptsBuilder};
use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::find::{self, Mysqld};
use super::home::{self, Home};
use super::process::{Process, State};
use crate::error::{Error, Result};

/// How long a server may take to start, recovery after a crash included.
const START: Duration = Duration::from_secs(120);

/// How long an orderly shutdown may take.
const STOP: Duration = Duration::from_secs(120);

/// Options that belong to the handle: it would lose the server, or the promise to end it.
const OWN: [&str; 9] = [
    "bind-address",
    "daemonize",
    "datadir",
    "defaults-file",
    "log-error",
    "pid-file",
    "port",
    "socket",
    "user",
];

/// How to start a [`ThrowawayServer`].
#[derive(Debug, Clone, Default)]
pub struct ThrowawayServerBuilder {
    mysqld: Option<PathBuf>,
    options: Vec<String>,
    gtid: bool,
}

impl ThrowawayServerBuilder {
    /// Runs this mysqld, of MySQL 8.0.13 or later, instead of looking for one.
    #[must_use]
    pub fn mysqld(mut self, path: impl Into<PathBuf>) -> Self {
        self.mysqld = Some(path.into());
        self
    }

    /// Adds a server option in the form `--name=value`; it wins over the defaults given here, and
    /// of two with the same name the later one wins.
    #[must_use]
    pub fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Whether transactions get GTIDs; the server's default is that they do not.
    #[must_use]
    pub fn gtid(mut self, on: bool) -> Self {
        self.gtid = on;
        self
    }

    /// Starts the server and waits until it accepts connections.
    ///
    /// This takes about a second; a few seconds more when the data directory's template is made, and
    /// however long the download takes when Debian's packages are fetched. Dropping the future ends
    /// the server as dropping the handle does.
    ///
    /// # Errors
    /// Refused if no usable mysqld is found, an option is none or belongs to the handle, or no
    /// folder can be made; failed, with the end of the server's log, if the server does not start.
    pub async fn start(self) -> Result<ThrowawayServer> {
        self.options.iter().try_for_each(|option| check(option))?;
        let reserved = reserve_port();
        let (_port, port) = reserved.map_err(|error| {
            Error::refused("cannot reserve a port of 127.0.0.1").caused_by(error)
        })?;
        let Self { mysqld, mut options, gtid } = self;
        let (mysqld, home, options) = in_a_thread(move || {
            let mysqld = find::locate(mysqld.as_deref())?;
            let home = Home::create()?;
            home.fill(&mysqld, &options)?;
            let defaults = if gtid { GTID.as_slice() } else { &[] };
            options.splice(0..0, defaults.iter().map(|option| (*option).to_owned()));
            Ok((mysqld, home, options))
        })
        .await?;
        let mut server = ThrowawayServer { process: None, mysqld, options, home, port, _port };
        server.launch().await?;
        Ok(server)
    }
}

const GTID: [&str; 2] = ["--gtid-mode=ON", "--enforce-gtid-consistency=ON"];

/// Runs blocking work in a thread of its own.
///
/// Not in the runtime's blocking pool, because a runtime that shuts down waits for that: an owner
/// who gives up during a download would hang.
async fn in_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("mysqld-setup".to_owned())
        // A caller that has gone lets the result drop here, which cleans up.
        .spawn(move || drop(sender.send(work())))
        .map_err(|error| Error::failed("cannot start a thread").caused_by(error))?;
    receiver.await.map_err(|_| Error::failed("preparing a MySQL server ended in a panic"))?
}

/// A socket that holds a free port of 127.0.0.1 for as long as it lives, and that port.
fn reserve_port() -> std::io::Result<(TcpSocket, u16)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let port = socket.local_addr()?.port();
    Ok((socket, port))
}

fn check(option: &str) -> Result<()> {
    if !option.starts_with("--") || option.len() < 3 {
        return Err(Error::refused(format!("server option {option:?} is none"))
            .remedy("give server options in the form --name=value"));
    }
    if OWN.contains(&home::name_of(option).as_str()) {
        return Err(Error::refused(format!("server option {option} cannot be chosen"))
            .remedy(format!("leave it out; a throwaway server sets {} itself", OWN.join(", "))));
    }
    Ok(())
}

/// A MySQL server with a data directory of its own, which ends with this value.
///
/// It listens on 127.0.0.1 and on a Unix socket, has a binary log, and flushes as durably as a
/// server does by default. Its root account has no password.
#[derive(Debug)]
pub struct ThrowawayServer {
    // Fields are dropped in order: the server is gone before its folder and its port are.
    process: Option<Process>,
    mysqld: Mysqld,
    options: Vec<String>,
    home: Home,
    port: u16,
    _port: TcpSocket,
}

impl ThrowawayServer {
    /// A builder that looks for a mysqld and starts it with the defaults of this module.
    pub fn builder() -> ThrowawayServerBuilder {
        ThrowawayServerBuilder::default()
    }

    /// The port of 127.0.0.1 that the server listens on; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of the Unix socket that the server listens on.
    pub fn socket(&self) -> PathBuf {
        self.home.socket()
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.home.data()
    }

    /// The server's version as `mysqld --version` says it, for example `9.7.4-2`.
    pub fn version(&self) -> &str {
        self.mysqld.version()
    }

    /// Options for a connection as root over TCP; the caller may add to them.
    pub fn root_opts(&self) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname(Ipv4Addr::LOCALHOST.to_string())
            .tcp_port(self.port)
            .user(Some("root"))
            // mysql_async would leave TCP for the socket after connecting.
            .prefer_socket(false)
    }

    /// Connects as root.
    ///
    /// # Errors
    /// Failed if the server does not run or turns the connection away.
    pub async fn connect(&self) -> Result<Conn> {
        Conn::new(self.root_opts()).await.map_err(|error| {
            Error::failed(format!("cannot connect to 127.0.0.1:{}", self.port)).caused_by(error)
        })
    }

    /// Shuts the server down in order, and returns when it is gone; [`restart`](Self::restart)
    /// brings it back. Does nothing if it does not run.
    ///
    /// # Errors
    /// Failed if it had to be killed after two minutes.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        process.terminate();
        if timeout(STOP, process.exited()).await.is_err() {
            let log = process.log_tail();
            self.kill().await;
            return Err(Error::failed(format!("mysqld did not shut down and was killed:\n{log}")));
        }
        Ok(())
    }

    /// Kills the server (SIGKILL), as a crash does, and returns when it is gone;
    /// [`restart`](Self::restart) brings it back. Does nothing if it does not run.
    pub async fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
            process.exited().await;
        }
    }

    /// Starts the server again on the same data directory and port, after [`stop`](Self::stop),
    /// [`kill`](Self::kill) or a crash; one that still runs is stopped in order first.
    ///
    /// # Errors
    /// Failed, with the end of the server's log, if the server does not stop or does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.launch().await
    }

    /// The last lines of the server's error log, at most 50; of the last run if it was restarted.
    pub fn error_log_tail(&self) -> String {
        self.process.as_ref().map(Process::log_tail).unwrap_or_default()
    }

    async fn launch(&mut self) -> Result<()> {
        let version = self.version().to_owned();
        let failed = move |what: &str, log: &str| {
            Error::failed(format!("mysqld {version} {what}; the end of its log:\n{log}")).remedy(
                "read the log above; if it says permission denied, a security profile such as \
                 AppArmor's for mysqld may forbid the folder, and a mysqld elsewhere is not bound",
            )
        };
        let process = Process::spawn(self.command()).map_err(|error| {
            Error::failed(format!("mysqld {} cannot be run", self.version())).caused_by(error)
        })?;
        let process = self.process.insert(process);
        match timeout(START, process.started()).await {
            Ok(State::Ready) => Ok(()),
            Ok(_) => Err(failed("ended before it accepted connections", &process.log_tail())),
            Err(_) => {
                let log = process.log_tail();
                self.kill().await;
                Err(failed("did not accept connections within two minutes", &log))
            }
        }
    }

    /// The command line: what may be overridden, the caller's options, what may not.
    ///
    /// Names are resolved, though no client needs it: without that, a client on 127.0.0.1 would not
    /// be `localhost`, and root's account is for `localhost`. The loopback address is never looked
    /// up, so it costs nothing.
    fn command(&self) -> Command {
        let mut command = self.mysqld.command();
        command
            .args([
                "--server-id=1",
                "--log-bin=binlog",
                "--performance-schema=ON",
                "--innodb-buffer-pool-size=1G",
                "--secure-file-priv=",
                // Unknown to the older servers that are supported.
                "--loose-innodb-redo-log-capacity=1G",
                "--loose-mysqlx=OFF",
            ])
            .arg(with_path("--tmpdir=", &self.home.temporary()))
            .args(&self.options)
            .arg(with_path("--datadir=", &self.home.data()))
            .arg(with_path("--socket=", &self.home.socket()))
            .arg(with_path("--pid-file=", &self.home.data().join("mysqld.pid")))
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--port={}", self.port));
        if home::owned_by_root(&self.home.data()) {
            command.arg("--user=root");
        }
        command
    }
}

fn with_path(name: &str, path: &Path) -> OsString {
    let mut option = OsStr::new(name).to_owned();
    option.push(path);
    option
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_are_the_handles_are_refused_however_they_are_spelled() {
        for option in ["--port=3306", "--log_error=x", "--loose-datadir=/x", "--user=mysql"] {
            let error = check(option).unwrap_err();
            assert!(error.what().contains(option), "{error}");
        }
        for option in ["innodb-buffer-pool-size=2G", "-P3306", "--", ""] {
            assert!(check(option).unwrap_err().next_step().unwrap().contains("--name=value"));
        }
        assert!(check("--report-port=3306").is_ok());
        assert!(check("--skip-log-bin").is_ok());
    }

    #[test]
    fn a_reserved_port_is_given_to_no_one_who_asks_for_any() {
        let (_held, port) = reserve_port().unwrap();
        let others: Vec<_> = (0..200).map(|_| reserve_port().unwrap()).collect();
        assert!(others.iter().all(|(_, other)| *other != port));
        let plain = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        assert!(plain.is_ok(), "a listener with SO_REUSEADDR, like mysqld's, may have it");
    }
}
