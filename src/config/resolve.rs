//! From the sources to one [`Connection`]: precedence, contradictions, defaults.
//!
//! The layers, strongest first: flags; `--dsn` and the positional DSN; environment; option file.
//! A setting comes from the strongest layer that gives it, each setting for itself. Inside a layer
//! two different values are refused; inside the option file the last one wins, as MySQL has it.
//!
//! Host, port and socket exclude each other, and are decided together by [`endpoint`].

use std::io;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use super::env::Env;
use super::settings::{Given, Password, Settings, text};
use super::{
    Connection, ConnectionArgs, Endpoint, PtDsn, Resolved, Secret, Tls, TlsMode, dsn, option_file,
};
use crate::error::{Error, Result};

/// The port that MySQL listens on unless told otherwise.
const DEFAULT_PORT: u16 = 3306;

/// The layers up to this one were written by the operator for this run.
const DSN_LAYER: usize = 1;

impl ConnectionArgs {
    /// Brings all sources together; `pt` is the positional Percona Toolkit DSN, if there was one.
    ///
    /// May read files and ask on the terminal, through `env`. Every error is
    /// [`Refused`](crate::error::Kind::Refused), names the flag or the line it is about, and shows
    /// no password.
    pub fn resolve(self, pt: Option<&PtDsn>, env: &dyn Env) -> Result<Resolved> {
        let mut warnings = Vec::new();
        let flags = self.flag_layer(env, &mut warnings)?;
        let dsn = self.dsn_layer(pt, &mut warnings)?;
        // Variables that nobody will look at cannot contradict each other.
        let environment = match flags.password.as_ref().or(dsn.password.as_ref()) {
            Some(_) => Settings::default(),
            None => environment_layer(env)?,
        };
        let file = match self.option_file(pt, env)? {
            Some(path) => option_file::read(&path, env, &mut warnings)?,
            None => Settings::default(),
        };
        let layers = [flags, dsn, environment, file];

        let mut connection = Connection {
            endpoint: endpoint(&layers)?,
            user: match strongest(&layers, |s| s.user.as_ref()) {
                Some((_, user)) => text(&user.value, &user.origin)?,
                None => login_name(env)?,
            },
            password: None,
            database: strongest(&layers, |s| s.database.as_ref())
                .map(|(_, database)| text(&database.value, &database.origin))
                .transpose()?,
            tls: tls(&layers, &mut warnings)?,
        };
        if let Some((_, password)) = strongest(&layers, |s| s.password.as_ref()) {
            connection.password = Some(match &password.value {
                Password::Value(secret) => secret.clone(),
                Password::Ask => ask(&password.origin, &connection, env)?,
            });
        }
        let table = pt.and_then(PtDsn::table).map(str::to_owned);
        Ok(Resolved { connection, warnings, table })
    }

    fn flag_layer(&self, env: &dyn Env, warnings: &mut Vec<String>) -> Result<Settings> {
        let alone = |value, flag| Settings {
            password: Some(Given::new(value, flag)),
            ..Settings::default()
        };
        let mut settings = self.settings();
        if let Some(password) = &self.password {
            warnings.push(visible("--password"));
            settings = settings.join(alone(Password::Value(password.clone()), "--password"))?;
        }
        if let Some(path) = &self.password_file {
            let password = Password::Value(password_file(path, env, warnings)?);
            settings = settings.join(alone(password, "--password-file"))?;
        }
        if self.ask_password {
            settings = settings.join(alone(Password::Ask, "--ask-password"))?;
        }
        Ok(settings)
    }

    fn dsn_layer(&self, pt: Option<&PtDsn>, warnings: &mut Vec<String>) -> Result<Settings> {
        let url = self.dsn.as_ref().map(|dsn| dsn::parse(dsn.expose())).transpose()?;
        let pt = pt.map(|pt| pt.settings.clone());
        for settings in [&url, &pt].into_iter().flatten() {
            if let Some(password) = &settings.password {
                warnings.push(visible(&format!("the password in {}", password.origin)));
            }
        }
        url.unwrap_or_default().join(pt.unwrap_or_default())
    }

    /// The option file to read: the one that was named, which must exist, or the user's own.
    fn option_file(&self, pt: Option<&PtDsn>, env: &dyn Env) -> Result<Option<PathBuf>> {
        let flag = self.defaults_file.clone().map(|path| Given::new(path, "--defaults-file"));
        if let Some(named) = flag.or_else(|| pt.and_then(|pt| pt.defaults_file.clone())) {
            return match env.mode(&named.value) {
                Ok(_) => Ok(Some(named.value)),
                Err(e) => Err(unreadable(&named.origin, &named.value, e)),
            };
        }
        let Some(home) = env.var("HOME").filter(|home| !home.is_empty()) else {
            return Ok(None);
        };
        let path = Path::new(&home).join(".my.cnf");
        match env.mode(&path) {
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            _ => Ok(Some(path)),
        }
    }
}

/// The strongest layer that gives a setting, by its index, and what it gives.
fn strongest<'a, T>(
    layers: &'a [Settings],
    setting: impl Fn(&'a Settings) -> Option<&'a Given<T>>,
) -> Option<(usize, &'a Given<T>)> {
    layers.iter().enumerate().find_map(|(layer, s)| Some((layer, setting(s)?)))
}

/// The passwords in the environment. An empty variable counts as not set.
fn environment_layer(env: &dyn Env) -> Result<Settings> {
    let mut settings = Settings::default();
    for name in ["REPLANK_PASSWORD", "MYSQL_PWD"] {
        if let Some(value) = variable(name, env)? {
            let password = Given::new(Password::Value(Secret::new(value)), name);
            let one = Settings { password: Some(password), ..Settings::default() };
            settings = settings.join(one)?;
        }
    }
    Ok(settings)
}

fn variable(name: &str, env: &dyn Env) -> Result<Option<String>> {
    match env.var(name).filter(|value| !value.is_empty()).map(|value| value.into_string()) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => Err(Error::refused(format!("{name} is not UTF-8"))
            .remedy(format!("Unset {name} and give the value with a flag."))),
    }
}

fn login_name(env: &dyn Env) -> Result<String> {
    for name in ["USER", "LOGNAME"] {
        if let Some(user) = variable(name, env)? {
            return Ok(user);
        }
    }
    Err(Error::refused("no user name: no source gives one, and $USER is not set")
        .remedy("Give it with --user."))
}

/// TCP or socket.
///
/// A host other than `localhost` means TCP. `localhost`, the default, means what it means to the
/// `mysql` client: the socket, if one is given; but here only if no port is given as strongly, and
/// without a socket it means 127.0.0.1. Whatever was given more strongly decides. At one strength a
/// host or port and a socket contradict each other and are refused, except in the option file: it
/// usually holds all of them, and there the `mysql` client's reading applies (a host that is not
/// local means TCP, otherwise the socket).
pub(super) fn endpoint(layers: &[Settings]) -> Result<Endpoint> {
    let host = strongest(layers, |s| s.host.as_ref());
    let port = strongest(layers, |s| s.port.as_ref());
    let socket = strongest(layers, |s| s.socket.as_ref());
    let address = host.map(|(_, host)| address(host)).transpose()?;
    let remote = address.filter(|address| !address.eq_ignore_ascii_case("localhost"));

    // What speaks for TCP: the host if it is not local, else the port.
    let tcp = match (&remote, host) {
        (Some(_), Some((layer, host))) => Some((layer, host.origin.as_str())),
        _ => port.map(|(layer, port)| (layer, port.origin.as_str())),
    };
    if let Some((socket_layer, socket)) = socket {
        let use_socket = match tcp {
            None => true,
            Some((layer, origin)) if layer == socket_layer => {
                if layer <= DSN_LAYER {
                    return Err(Error::refused(format!(
                        "{origin} asks for TCP and {} for a socket",
                        socket.origin
                    ))
                    .remedy("Give one of them."));
                }
                remote.is_none()
            }
            Some((layer, _)) => socket_layer < layer,
        };
        if use_socket {
            return Ok(Endpoint::Socket(socket.value.clone()));
        }
    }
    Ok(Endpoint::Tcp {
        host: remote.unwrap_or_else(|| "127.0.0.1".to_owned()),
        port: port.map_or(DEFAULT_PORT, |(_, port)| port.value),
    })
}

/// Checks a host name or address, and takes the brackets off an IPv6 address.
fn address(host: &Given<String>) -> Result<String> {
    let name = text(&host.value, &host.origin)?;
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(&name);
    let (ip, zone) = bare.split_once('%').unwrap_or((bare, "x"));
    if ip.parse::<Ipv6Addr>().is_ok() && zone.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Ok(bare.to_owned());
    }
    if name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_')) {
        return Ok(name);
    }
    Err(Error::refused(format!("{} is not a host name or an address", host.origin))
        .remedy("Give the port with --port, and the path of a socket with --socket."))
}

fn tls(layers: &[Settings], warnings: &mut Vec<String>) -> Result<Tls> {
    let file = |setting: fn(&Settings) -> Option<&Given<PathBuf>>| {
        strongest(layers, setting).map(|(_, file)| file)
    };
    let ca = file(|s| s.tls_ca.as_ref());
    let cert = file(|s| s.tls_cert.as_ref());
    let key = file(|s| s.tls_key.as_ref());
    let lonely = |one: &Given<PathBuf>, missing: &str| {
        Err(Error::refused(format!("{} needs {missing}", one.origin))
            .remedy("A client certificate and its key go together."))
    };
    match (cert, key) {
        (Some(cert), None) => return lonely(cert, "--tls-key"),
        (None, Some(key)) => return lonely(key, "--tls-cert"),
        _ => {}
    }
    // As in MySQL's programs: who names an authority wants it checked.
    let default = if ca.is_some() { TlsMode::VerifyCa } else { TlsMode::Preferred };
    let mode = strongest(layers, |s| s.tls_mode.as_ref()).map_or(default, |(_, mode)| mode.value);
    if let Some(ca) = ca.filter(|_| mode < TlsMode::VerifyCa) {
        warnings.push(format!(
            "{} has no effect: TLS mode {mode} does not verify the server's certificate",
            ca.origin
        ));
    }
    let path = |file: Option<&Given<PathBuf>>| file.map(|file| file.value.clone());
    Ok(Tls { mode, ca: path(ca), cert: path(cert), key: path(key) })
}

/// The content of a password file, without the line end that editors add.
fn password_file(path: &Path, env: &dyn Env, warnings: &mut Vec<String>) -> Result<Secret> {
    let name = path.display();
    let mode = env.mode(path).map_err(|e| unreadable("--password-file", path, e))?;
    let content = env.read(path).map_err(|e| unreadable("--password-file", path, e))?;
    if mode.unwrap_or(0) & 0o004 != 0 {
        warnings.push(format!("--password-file: everyone can read {name}; chmod o-r {name}"));
    }
    let refused = |why| {
        Error::refused(format!("--password-file: {name} {why}"))
            .remedy("Put the password alone on the first line.")
    };
    let content = String::from_utf8(content).map_err(|_| refused("is not UTF-8"))?;
    let line = content.strip_suffix('\n').map_or(&*content, |l| l.strip_suffix('\r').unwrap_or(l));
    match line {
        "" => Err(refused("is empty")),
        line if line.contains('\n') => Err(refused("has more than one line")),
        line => Ok(Secret::new(line)),
    }
}

fn ask(origin: &str, connection: &Connection, env: &dyn Env) -> Result<Secret> {
    let prompt = format!("Password for {}: ", connection.display());
    env.ask_password(&prompt).map(Secret::new).map_err(|e| {
        Error::refused(format!("{origin}: cannot ask for the password"))
            .remedy("Without a terminal, use --password-file or REPLANK_PASSWORD.")
            .caused_by(e)
    })
}

fn unreadable(origin: &str, path: &Path, cause: io::Error) -> Error {
    Error::refused(format!("{origin}: cannot read {}", path.display()))
        .remedy("Check the path and its permissions.")
        .caused_by(cause)
}

fn visible(what: &str) -> String {
    format!(
        "{what} is visible to other users of this machine; use --password-file or REPLANK_PASSWORD"
    )
}
