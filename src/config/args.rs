//! The flags that name the server, as clap sees them. Nothing is judged here but their shape.

use std::path::PathBuf;

use clap::Args;

use super::Secret;
use super::TlsMode;
use super::settings::{Given, Settings};

// Set on each flag: a heading set on the struct would spread to the flags that follow it.
const HEADING: &str = "Connection";

/// How to reach the server. Each setting comes from the first of: flags, DSN, environment, option
/// file, default.
// A value that may hold a password is a `Secret`, which always parses: clap quotes a value that it
// cannot parse.
#[derive(Args, Debug, Clone, Default)]
pub struct ConnectionArgs {
    /// Host name or address of the server [default: localhost, which means the socket if one is
    /// given and no port, else 127.0.0.1].
    #[arg(long, help_heading = HEADING)]
    pub host: Option<String>,

    /// TCP port of the server [default: 3306].
    #[arg(long, help_heading = HEADING, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// Account to connect as [default: the name in $USER].
    #[arg(long, help_heading = HEADING)]
    pub user: Option<String>,

    /// Unix socket of a server on this machine, instead of host and port.
    #[arg(long, help_heading = HEADING, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Database that holds the table.
    #[arg(long, help_heading = HEADING, value_name = "NAME")]
    pub database: Option<String>,

    /// All of it in one URL: mysql://user@host:port/database, percent-encoded, with the parameters
    /// tls-mode, tls-ca, tls-cert and tls-key if needed.
    #[arg(long, help_heading = HEADING, value_name = "URL")]
    pub dsn: Option<Secret>,

    /// MySQL option file to read; of its groups client and replank [default: ~/.my.cnf if it
    /// exists].
    #[arg(long, help_heading = HEADING, value_name = "PATH")]
    pub defaults_file: Option<PathBuf>,

    /// File that holds the password and nothing else.
    ///
    /// The password may also come from $REPLANK_PASSWORD, $MYSQL_PWD or the option file.
    #[arg(long, help_heading = HEADING, value_name = "PATH")]
    pub password_file: Option<PathBuf>,

    /// Ask for the password on the terminal.
    #[arg(long, help_heading = HEADING)]
    pub ask_password: bool,

    /// The password itself; other users of this machine can see it in the process list.
    #[arg(long, help_heading = HEADING)]
    pub password: Option<Secret>,

    /// How far to insist on TLS [default: preferred, or verify-ca if an authority file is given].
    #[arg(long, help_heading = HEADING, value_enum, ignore_case = true, value_name = "MODE")]
    pub tls_mode: Option<TlsMode>,

    /// PEM file of the authorities that may have signed the server's certificate.
    #[arg(long, help_heading = HEADING, value_name = "PATH")]
    pub tls_ca: Option<PathBuf>,

    /// PEM file of the client's certificate; needs --tls-key.
    #[arg(long, help_heading = HEADING, value_name = "PATH")]
    pub tls_cert: Option<PathBuf>,

    /// PEM file of the client certificate's private key; needs --tls-cert.
    #[arg(long, help_heading = HEADING, value_name = "PATH")]
    pub tls_key: Option<PathBuf>,
}

impl ConnectionArgs {
    /// What the flags say, except about the password.
    pub(super) fn settings(&self) -> Settings {
        fn given<T: Clone>(value: &Option<T>, flag: &str) -> Option<Given<T>> {
            value.clone().map(|value| Given::new(value, flag))
        }
        Settings {
            host: given(&self.host, "--host"),
            port: given(&self.port, "--port"),
            socket: given(&self.socket, "--socket"),
            user: given(&self.user, "--user"),
            password: None,
            database: given(&self.database, "--database"),
            tls_mode: given(&self.tls_mode, "--tls-mode"),
            tls_ca: given(&self.tls_ca, "--tls-ca"),
            tls_cert: given(&self.tls_cert, "--tls-cert"),
            tls_key: given(&self.tls_key, "--tls-key"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    /// Rebuild a table.
    #[derive(Parser, Debug)]
    struct Cli {
        #[command(flatten)]
        connection: ConnectionArgs,
        #[arg(long)]
        other: bool,
    }

    #[test]
    fn the_flags_are_consistent_and_grouped_in_the_help() {
        Cli::command().debug_assert();
        let help = Cli::command().render_help().to_string();
        let (_, connection) = help.split_once("Connection:").unwrap();
        assert!(connection.contains("--tls-mode") && !connection.contains("--other"), "{help}");
        assert!(help.starts_with("Rebuild a table"), "{help}");
    }

    #[test]
    fn neither_debug_nor_a_usage_error_shows_a_password() {
        let cli = Cli::try_parse_from([
            "x",
            "--password",
            "hunter2",
            "--dsn",
            "mysql://a:hunter2@h/d",
            "--tls-mode",
            "VERIFY-CA",
        ])
        .unwrap();
        assert_eq!(cli.connection.tls_mode, Some(TlsMode::VerifyCa));
        assert!(!format!("{cli:?}").contains("hunter2"));

        for wrong in [["--port", "0"], ["--password", "hunter2"], ["--dsn", "hunter2"]] {
            let args = ["x", "--password=hunter2", "--dsn=mysql://a:hunter2@h"];
            let error = Cli::try_parse_from(args.into_iter().chain(wrong)).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
