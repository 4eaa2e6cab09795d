//! How the user names the server: from arguments to one validated [`Connection`].
//!
//! Sources, strongest first: flags; the DSN (`--dsn` or a positional one in Percona Toolkit's
//! form); the environment (`REPLANK_PASSWORD`, `MYSQL_PWD`: passwords only); the option file;
//! defaults. Note that MySQL's own programs prefer the option file's password to `MYSQL_PWD`.
//!
//! This room knows nothing of MySQL's protocol and opens no connection. Files, variables and the
//! terminal are reached through [`Env`] only.
//!
//! Invariant: no password reaches a log, a `Debug` output or an error. A password is a [`Secret`]
//! from the moment it is read, which has no way to be shown but [`Secret::expose`]; and messages
//! about a text that may hold a password name its place instead of quoting it.

mod args;
mod dsn;
mod env;
mod option_file;
mod pt_dsn;
mod replica;
mod resolve;
#[cfg(test)]
mod resolve_tests;
mod secret;
mod settings;

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;

pub use args::ConnectionArgs;
pub use env::{Env, SystemEnv};
pub use pt_dsn::PtDsn;
pub use secret::Secret;

/// Where the server is, who connects, and how the connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Where the server listens.
    pub endpoint: Endpoint,
    /// The account's user name; never empty.
    pub user: String,
    /// The account's password; `None` if no source gives one.
    pub password: Option<Secret>,
    /// The default database, if one is given; never empty.
    pub database: Option<String>,
    /// How the connection is protected.
    pub tls: Tls,
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP port.
    Tcp {
        /// Host name, IPv4 address, or IPv6 address without brackets; never `localhost`.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// A Unix socket on this machine.
    Socket(PathBuf),
}

/// How the connection is protected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// How far TLS is insisted on.
    pub mode: TlsMode,
    /// PEM file of authorities; `None` means that the operator named none.
    pub ca: Option<PathBuf>,
    /// PEM file of the client's certificate; given exactly if `key` is.
    pub cert: Option<PathBuf>,
    /// PEM file of the client's private key; given exactly if `cert` is.
    pub key: Option<PathBuf>,
}

/// How far TLS is insisted on, in rising order; the meanings are those of MySQL's `--ssl-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, ValueEnum)]
pub enum TlsMode {
    /// Never use TLS.
    Disabled,
    /// Use TLS if the server offers it.
    #[default]
    Preferred,
    /// Refuse to connect without TLS; the server's certificate is not verified.
    Required,
    /// Also verify that an authority signed the server's certificate.
    VerifyCa,
    /// Also verify that the certificate is for this host.
    VerifyIdentity,
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsMode::Disabled => "disabled",
            TlsMode::Preferred => "preferred",
            TlsMode::Required => "required",
            TlsMode::VerifyCa => "verify-ca",
            TlsMode::VerifyIdentity => "verify-identity",
        })
    }
}

/// What [`ConnectionArgs::resolve`] found.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The connection to make.
    pub connection: Connection,
    /// What the operator should know, each a sentence without secrets.
    pub warnings: Vec<String>,
    /// The table, if a positional DSN named one.
    pub table: Option<String>,
}

impl Connection {
    /// The connection for logs, without secrets: `user@host:port/database`, and for a socket
    /// `user@unix(/path)/database`.
    pub fn display(&self) -> String {
        let endpoint = match &self.endpoint {
            Endpoint::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Endpoint::Tcp { host, port } => format!("{host}:{port}"),
            Endpoint::Socket(path) => format!("unix({})", path.display()),
        };
        let database = self.database.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
        format!("{}@{endpoint}{database}", self.user)
    }
}
