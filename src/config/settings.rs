//! The settings that one source gives, each with the place it was given at.
//!
//! Every source (flags, DSN, option file) is reduced to a [`Settings`]. Two sources of the same
//! strength are joined, and must not contradict each other; sources of different strength are
//! layered by `resolve`. Messages name the place of a setting and never its value: what stands at
//! the place of a host may be part of a password that was not escaped.

use std::path::PathBuf;

use super::{Secret, TlsMode};
use crate::error::{Error, Result};
use clap::ValueEnum;

/// A value and where it was given, in words that the operator finds again: `--host`.
#[derive(Debug, Clone)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) origin: String,
}

impl<T> Given<T> {
    pub(super) fn new(value: T, origin: impl Into<String>) -> Self {
        Given { value, origin: origin.into() }
    }
}

/// A password, or the wish to be asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Password {
    Value(Secret),
    Ask,
}

/// What one source says about the connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) host: Option<Given<String>>,
    pub(super) port: Option<Given<u16>>,
    pub(super) socket: Option<Given<PathBuf>>,
    pub(super) user: Option<Given<String>>,
    pub(super) password: Option<Given<Password>>,
    pub(super) database: Option<Given<String>>,
    pub(super) tls_mode: Option<Given<TlsMode>>,
    pub(super) tls_ca: Option<Given<PathBuf>>,
    pub(super) tls_cert: Option<Given<PathBuf>>,
    pub(super) tls_key: Option<Given<PathBuf>>,
}

impl Settings {
    /// Joins two sources of the same strength; a setting that both give must be the same in both.
    pub(super) fn join(self, other: Settings) -> Result<Settings> {
        Ok(Settings {
            host: agree("host", self.host, other.host)?,
            port: agree("port", self.port, other.port)?,
            socket: agree("socket", self.socket, other.socket)?,
            user: agree("user", self.user, other.user)?,
            password: agree("password", self.password, other.password)?,
            database: agree("database", self.database, other.database)?,
            tls_mode: agree("TLS mode", self.tls_mode, other.tls_mode)?,
            tls_ca: agree("TLS authority file", self.tls_ca, other.tls_ca)?,
            tls_cert: agree("TLS certificate file", self.tls_cert, other.tls_cert)?,
            tls_key: agree("TLS key file", self.tls_key, other.tls_key)?,
        })
    }

    /// Sets the TLS setting `name` (`ssl-ca` and `tls-ca` are one name), replacing an earlier
    /// value. Says false if there is no TLS setting of that name.
    pub(super) fn set_tls(&mut self, name: &str, value: &str, origin: &str) -> Result<bool> {
        let Some(name) = name.strip_prefix("ssl-").or(name.strip_prefix("tls-")) else {
            return Ok(false);
        };
        let path = || text(value, origin).map(|v| Some(Given::new(PathBuf::from(v), origin)));
        match name {
            "mode" => self.tls_mode = Some(Given::new(tls_mode(value, origin)?, origin)),
            "ca" => self.tls_ca = path()?,
            "cert" => self.tls_cert = path()?,
            "key" => self.tls_key = path()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The value that either place gives; refused if both give one and they differ.
pub(super) fn agree<T: PartialEq>(
    what: &str,
    one: Option<Given<T>>,
    other: Option<Given<T>>,
) -> Result<Option<Given<T>>> {
    match (one, other) {
        (Some(a), Some(b)) if a.value != b.value => {
            Err(Error::refused(format!("{} and {} disagree about the {what}", a.origin, b.origin))
                .remedy(format!("Give the {what} once.")))
        }
        (one, other) => Ok(one.or(other)),
    }
}

/// A port number from 1 to 65535.
pub(super) fn port(value: &str, origin: &str) -> Result<u16> {
    value.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
        Error::refused(format!("{origin} is not a port number"))
            .remedy("Give a number from 1 to 65535.")
    })
}

/// A text that is not empty.
pub(super) fn text(value: &str, origin: &str) -> Result<String> {
    if value.is_empty() {
        return Err(
            Error::refused(format!("{origin} is empty")).remedy("Give it a value or leave it out.")
        );
    }
    Ok(value.to_owned())
}

/// A TLS mode by replank's name or by MySQL's (`VERIFY_CA`), in any case.
fn tls_mode(value: &str, origin: &str) -> Result<TlsMode> {
    TlsMode::from_str(&value.replace('_', "-"), true).map_err(|_| {
        Error::refused(format!("{origin} is not a TLS mode"))
            .remedy("Use disabled, preferred, required, verify-ca or verify-identity.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, origin: &str) -> Settings {
        Settings { host: Some(Given::new(name.to_owned(), origin)), ..Settings::default() }
    }

    #[test]
    fn a_contradiction_names_both_places_and_neither_value() {
        let error = host("db1", "--dsn").join(host("db2", "h= of the DSN")).unwrap_err();
        assert_eq!(error.what(), "--dsn and h= of the DSN disagree about the host");
        assert!(host("db1", "--dsn").join(host("db1", "h= of the DSN")).is_ok());
    }

    #[test]
    fn mysql_and_replank_names_mean_the_same_tls_setting() {
        let mut settings = Settings::default();
        assert!(settings.set_tls("ssl-mode", "VERIFY_IDENTITY", "a").unwrap());
        assert!(settings.set_tls("tls-ca", "/ca.pem", "b").unwrap());
        assert!(!settings.set_tls("ssl-cipher", "x", "c").unwrap());
        assert_eq!(settings.tls_mode.unwrap().value, TlsMode::VerifyIdentity);
        assert_eq!(settings.tls_ca.unwrap().value, PathBuf::from("/ca.pem"));
        assert!(Settings::default().set_tls("ssl-mode", "maybe", "a").is_err());
    }

    #[test]
    fn a_port_is_a_number_from_1_to_65535() {
        assert_eq!(port("65535", "port").unwrap(), 65535);
        for bad in ["0", "65536", "", "x", "-1"] {
            assert!(port(bad, "port").is_err(), "{bad}");
        }
    }
}
