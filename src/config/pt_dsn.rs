//! The DSN of Percona Toolkit, for operators who know it: `h=db1,P=3306,u=ann,D=shop,t=orders`.
//!
//! As there, parts are separated by commas and a comma inside a value is written `\,`; a backslash
//! before anything else stays. Unlike there, a part without `key=` is refused instead of being
//! taken for the host: it is more often the rest of a password whose comma was not escaped. For the
//! same reason no message quotes the text of a part.

use std::path::PathBuf;

use super::Secret;
use super::settings::{Given, Password, Settings, agree, port, text};
use crate::error::{Error, Result};

/// A parsed Percona Toolkit DSN.
///
/// Take the argument from the command line as a [`Secret`] and parse it afterwards: clap quotes the
/// value of an argument that it cannot parse, and this one may hold a password.
#[derive(Debug, Clone, Default)]
pub struct PtDsn {
    pub(super) settings: Settings,
    pub(super) defaults_file: Option<Given<PathBuf>>,
    table: Option<Given<String>>,
}

impl PtDsn {
    /// Whether a text is meant as such a DSN: it begins with a letter and `=`.
    pub fn is_one(text: &str) -> bool {
        matches!(text.as_bytes(), [key, b'=', ..] if key.is_ascii_alphabetic())
    }

    /// Parses `key=value[,key=value…]`.
    ///
    /// Keys: `h` host, `P` port, `u` user, `p` password, `D` database, `t` table, `S` socket,
    /// `F` option file. Refused are other keys, empty values (but an empty password is one), and
    /// one key with two values.
    pub fn parse(dsn: &str) -> Result<PtDsn> {
        let mut parsed = PtDsn::default();
        for (n, part) in split(dsn).iter().enumerate() {
            parsed = parsed.join(one_part(n + 1, part)?)?;
        }
        Ok(parsed)
    }

    /// The table, if the DSN names one (`t=`).
    pub fn table(&self) -> Option<&str> {
        self.table.as_ref().map(|table| table.value.as_str())
    }

    fn join(self, other: PtDsn) -> Result<PtDsn> {
        Ok(PtDsn {
            settings: self.settings.join(other.settings)?,
            defaults_file: agree("option file", self.defaults_file, other.defaults_file)?,
            table: agree("table", self.table, other.table)?,
        })
    }
}

/// Cuts at the commas that no backslash precedes, and removes the backslash from the others.
fn split(dsn: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in dsn.chars() {
        match parts.last_mut() {
            Some(part) if c == ',' && part.ends_with('\\') => {
                part.pop();
                part.push(',');
            }
            Some(part) if c != ',' => part.push(c),
            _ => parts.push(String::new()),
        }
    }
    parts
}

fn one_part(n: usize, part: &str) -> Result<PtDsn> {
    let unknown = || {
        Error::refused(format!("part {n} of the positional DSN has none of the known keys")).remedy(
            "Write it as h=host,P=port,u=user,D=database,t=table; further keys are p= password, \
             S= socket and F= option file. A comma inside a value is written \\,.",
        )
    };
    let (key, value) = part.split_once('=').ok_or_else(unknown)?;
    let origin = format!("{key}= of the positional DSN");
    let words = || Ok::<_, Error>(Some(Given::new(text(value, &origin)?, &origin)));
    let path = || Ok::<_, Error>(Some(Given::new(PathBuf::from(text(value, &origin)?), &origin)));

    let mut dsn = PtDsn::default();
    match key {
        "h" => dsn.settings.host = words()?,
        "P" => dsn.settings.port = Some(Given::new(port(value, &origin)?, &origin)),
        "u" => dsn.settings.user = words()?,
        "p" => {
            let password = Password::Value(Secret::new(value));
            dsn.settings.password = Some(Given::new(password, &origin));
        }
        "D" => dsn.settings.database = words()?,
        "t" => dsn.table = words()?,
        "S" => dsn.settings.socket = path()?,
        "F" => dsn.defaults_file = path()?,
        _ => return Err(unknown()),
    }
    Ok(dsn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let dsn = PtDsn::parse("h=db1,P=3307,u=ann,p=x=y,D=shop,t=orders,S=/s,F=/f.cnf").unwrap();
        assert_eq!(dsn.table(), Some("orders"));
        assert_eq!(dsn.defaults_file.unwrap().value, PathBuf::from("/f.cnf"));
        let s = dsn.settings;
        assert_eq!(s.host.unwrap().value, "db1");
        assert_eq!(s.port.unwrap().value, 3307);
        assert_eq!(s.user.unwrap().value, "ann");
        assert_eq!(s.password.unwrap().value, Password::Value(Secret::new("x=y")));
        assert_eq!(s.database.unwrap().value, "shop");
        assert_eq!(s.socket.unwrap().value, PathBuf::from("/s"));
    }

    #[test]
    fn a_backslash_keeps_a_comma_and_nothing_else() {
        let password = |dsn| match PtDsn::parse(dsn).unwrap().settings.password.unwrap().value {
            Password::Value(secret) => secret.expose().to_owned(),
            Password::Ask => panic!("asked"),
        };
        assert_eq!(password(r"p=a\,b,h=db1"), "a,b");
        assert_eq!(password(r"p=a\b\\c,h=db1"), r"a\b\\c");
        assert_eq!(password(r"p=a\\,b"), r"a\,b");
        assert_eq!(password(r"p=\,\,"), ",,");
        assert_eq!(password("p=,h=db1"), "");
    }

    #[test]
    fn one_key_with_two_values_is_refused() {
        let error = PtDsn::parse("h=db1,h=db2").unwrap_err();
        assert!(error.what().contains("h= of the positional DSN"), "{error}");
        assert!(PtDsn::parse("t=a,t=b").is_err());
        assert!(PtDsn::parse("h=db1,h=db1").is_ok());
    }

    #[test]
    fn the_rest_of_an_unescaped_password_is_refused_and_not_shown() {
        for dsn in [
            "h=db1,p=a,hunter2",
            "h=db1,p=a,hunter2=x",
            "h=db1,p=a,P=hunter2",
            "h=db1,p=hunter2,",
            "h=db1,p=hunter2,p=a",
            "h=,p=hunter2",
            "p=hunter2,A=utf8",
            "",
        ] {
            let error = PtDsn::parse(dsn).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let parsed = PtDsn::parse("p=hunter2").unwrap();
        assert!(!format!("{parsed:?}").contains("hunter2"));
    }

    #[test]
    fn a_dsn_is_told_from_a_statement() {
        assert!(PtDsn::is_one("h=127.0.0.1,P=3306,D=shop,t=users"));
        assert!(!PtDsn::is_one("ALTER TABLE users ADD c INT DEFAULT 1"));
    }
}
