//! The value of `--dsn`: `mysql://user:password@host:port/database?tls-mode=required`.
//!
//! A reserved character that was not percent-encoded moves the borders between the parts, so that
//! part of a password may stand where the host or the database is expected. Such a DSN is refused
//! where it can be recognised, and no message quotes any text of a DSN.

use url::{Host, Url};

use super::Secret;
use super::settings::{Given, Password, Settings, port, text};
use crate::error::{Error, Result};

const ORIGIN: &str = "--dsn";

/// Reads the settings out of a DSN.
pub(super) fn parse(dsn: &str) -> Result<Settings> {
    // The URL standard drops tabs and newlines and trims blanks: a password would change silently.
    if dsn.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(refused("it contains white space or a control character"));
    }
    let after_scheme = dsn.strip_prefix("mysql://").ok_or_else(|| {
        Error::refused("--dsn does not start with mysql://")
            .remedy("Write it as mysql://user@host:port/database.")
    })?;
    let authority_end = after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len());
    let (_, rest) = after_scheme.split_at(authority_end);
    if rest.contains(['@', '#']) {
        return Err(refused("it has an @ or a # after the host"));
    }
    // The URL standard resolves dot segments, encoded ones too: that would change the database.
    let path = rest.split('?').next().unwrap_or_default().to_ascii_lowercase();
    if path.replace("%2e", ".").contains("/.") {
        return Err(refused("the database name starts with a dot"));
    }
    let url = Url::parse(dsn).map_err(|e| refused("it is not a valid URL").caused_by(e))?;

    let mut settings = Settings {
        user: non_empty(decode(url.username())?),
        host: host(&url)?,
        port: url.port().map(|p| port(&p.to_string(), "the port in --dsn")).transpose()?.map(given),
        database: non_empty(decode(url.path().strip_prefix('/').unwrap_or_default())?),
        ..Settings::default()
    };
    if url.path().matches('/').count() > 1 {
        return Err(refused("it has more than one / after the host"));
    }
    if let Some(password) = url.password() {
        settings.password = Some(given(Password::Value(Secret::new(decode(password)?))));
    }
    query(url.query().unwrap_or_default(), settings)
}

fn host(url: &Url) -> Result<Option<Given<String>>> {
    Ok(match url.host() {
        Some(Host::Domain(name)) => non_empty(decode(name)?),
        Some(Host::Ipv4(address)) => Some(given(address.to_string())),
        Some(Host::Ipv6(address)) => Some(given(address.to_string())),
        None => None,
    })
}

/// Adds the parameters of the query; only the TLS ones exist, and none may contradict another.
fn query(query: &str, mut settings: Settings) -> Result<Settings> {
    for (n, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name)?.replace('_', "-");
        let value = text(&decode(value)?, &format!("parameter {} of --dsn", n + 1))?;
        let mut one = Settings::default();
        if !one.set_tls(&name, &value, &format!("parameter {} of --dsn", n + 1))? {
            return Err(Error::refused(format!("parameter {} of --dsn is not known", n + 1))
                .remedy("Known are tls-mode, tls-ca, tls-cert and tls-key."));
        }
        settings = settings.join(one)?;
    }
    Ok(settings)
}

/// Undoes percent-encoding. Unlike in a web form, a plus sign stays a plus sign.
fn decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let byte = tail
            .split_at_checked(2)
            .filter(|(hex, _)| hex.iter().all(u8::is_ascii_hexdigit))
            .and_then(|(hex, after)| {
                let hex = std::str::from_utf8(hex).ok()?;
                Some((u8::from_str_radix(hex, 16).ok()?, after))
            });
        let Some((byte, after)) = byte else {
            return Err(refused("a % is not followed by two hexadecimal digits"));
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| refused("what it percent-encodes is not UTF-8"))
}

fn given<T>(value: T) -> Given<T> {
    Given::new(value, ORIGIN)
}

fn non_empty(value: String) -> Option<Given<String>> {
    (!value.is_empty()).then(|| given(value))
}

fn refused(why: &str) -> Error {
    Error::refused(format!("--dsn: {why}")).remedy(
        "Percent-encode special characters in the user name, the password and the database: \
         @ is %40, / is %2F, : is %3A, # is %23, ? is %3F, % is %25.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TlsMode;

    #[test]
    fn every_part_is_percent_decoded() {
        let s = parse("mysql://a%40b:p%2Fw%25+%C3%A9@db-1.example:3307/my%2Fdb").unwrap();
        assert_eq!(s.user.unwrap().value, "a@b");
        assert_eq!(s.password.unwrap().value, Password::Value(Secret::new("p/w%+é")));
        assert_eq!(s.host.unwrap().value, "db-1.example");
        assert_eq!(s.port.unwrap().value, 3307);
        assert_eq!(s.database.unwrap().value, "my/db");
    }

    #[test]
    fn absent_parts_stay_open_for_weaker_sources() {
        for dsn in ["mysql://db1", "mysql://db1/"] {
            let s = parse(dsn).unwrap();
            assert_eq!(s.host.unwrap().value, "db1");
            assert!(s.user.is_none() && s.password.is_none() && s.port.is_none());
            assert!(s.database.is_none());
        }
        let s = parse("mysql:///shop").unwrap();
        assert!(s.host.is_none());
        assert_eq!(s.database.unwrap().value, "shop");
    }

    #[test]
    fn an_ipv6_host_loses_its_brackets() {
        assert_eq!(parse("mysql://[::1]:3307/").unwrap().host.unwrap().value, "::1");
    }

    #[test]
    fn only_tls_parameters_are_known() {
        let s = parse("mysql://h/d?ssl-mode=REQUIRED&tls_ca=%2Fetc/.ca.pem").unwrap();
        assert_eq!(s.tls_mode.unwrap().value, TlsMode::Required);
        assert_eq!(s.tls_ca.unwrap().value.to_str(), Some("/etc/.ca.pem"));
        for bad in ["?charset=utf8", "?tls-mode", "?tls-ca=/a&ssl-ca=/b"] {
            assert!(parse(&format!("mysql://h/d{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_error_quotes_any_part_of_a_password() {
        let dsns = [
            "mysql://ann:hunter2/x@db1/shop",
            "mysql://ann:12/hunter2@db1/shop",
            "mysql://ann:12#hunter2@db1/shop",
            "mysql://ann:12?hunter2@db1/shop",
            "mysql://ann:12?hunter2=x",
            "mysql://ann:hunter2%zz@db1/shop",
            "mysql://ann:hunter2%FF@db1/shop",
            "mysql://ann:hunter2%2",
            "mysql://ann:hunter2%2@db1",
            "mysql://ann:hunter2 @db1/shop",
            "mysql://ann:hunter2@db1:99999/shop",
            "mysql://ann:hunter2@db1:0/shop",
            "mysql://ann:hunter2@[db1/shop",
            "mysql://ann:hunter2@/shop",
            "mysql://ann:hunter2@db1/a/b",
            "mysql://ann:hunter2@db1/..",
            "mysql://ann:hunter2@db1/%2E%2e",
            "mysql://ann:hunter2@db1/shop?x=hunter2",
            "mysql://ann:hunter2@db1/shop?tls-mode=hunter2",
            "mysql:ann:hunter2@db1",
            "postgres://ann:hunter2@db1/shop",
        ];
        for dsn in dsns {
            let error = parse(dsn).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("--dsn"), "{shown}");
        }
    }
}
