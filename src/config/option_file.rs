//! MySQL option files (`~/.my.cnf`): the groups `[client]` and `[replank]`.
//!
//! The rules are those of the MySQL manual ("Using Option Files") and, where it is silent, of
//! MySQL's own programs: comments start with `#` or `;` at the start of a line and with `#` after
//! an unquoted value; a value may stand in single or double quotes; the escapes are
//! `\b \t \n \r \\ \s \" \'`, and a backslash before anything else stays; dashes and underscores in
//! option names are the same; the last value of an option wins, in the order of the file, whichever
//! of the two groups it stands in.
//!
//! `!include` and `!includedir` (files ending in `.cnf`, by name) are followed ten deep. Where
//! MySQL ignores a world-writable option file or an included one that is missing, both are refused.
//!
//! `[client]` is shared with MySQL's programs, so options that are not replank's are passed over
//! there, with a warning if they are about TLS or the transport. In `[replank]` they are refused,
//! unless they have the prefix `loose_`. No message quotes a value.

use std::io;
use std::path::{Path, PathBuf};

use super::Env;
use super::Secret;
use super::settings::{Given, Password, Settings, port, text};
use crate::error::{Error, Result};

/// How deep includes may nest, as in MySQL.
const MAX_DEPTH: usize = 10;

/// Reads the option file at `path`, adding to `warnings` what the operator should know.
pub(super) fn read(path: &Path, env: &dyn Env, warnings: &mut Vec<String>) -> Result<Settings> {
    let mut reader = Reader { settings: Settings::default(), env, warnings };
    reader.file(path, 0)?;
    Ok(reader.settings)
}

struct Reader<'a> {
    settings: Settings,
    env: &'a dyn Env,
    warnings: &'a mut Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Client,
    Replank,
    Other,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, depth: usize) -> Result<()> {
        let name = path.display();
        let unreadable = |e: io::Error| {
            Error::refused(format!("cannot read the option file {name}"))
                .remedy("Check its path and permissions, or name another with --defaults-file.")
                .caused_by(e)
        };
        let mode = self.env.mode(path).map_err(unreadable)?.unwrap_or(0);
        if mode & 0o002 != 0 {
            return Err(Error::refused(format!(
                "the option file {name} can be written by everyone"
            ))
            .remedy(format!("chmod o-w {name}, or name another file with --defaults-file.")));
        }
        let content = self.env.read(path).map_err(unreadable)?;

        let mut group = None;
        let mut holds_password = false;
        for (n, line) in content.split(|byte| *byte == b'\n').enumerate() {
            let place = format!("{name} line {}", n + 1);
            let broken = |why: &str| Error::refused(format!("{place} {why}"));
            let line = line.trim_ascii();
            match line.first() {
                None | Some(b'#' | b';') => {}
                Some(b'!') => self.directive(&utf8(&line[1..], &place)?, &place, depth)?,
                Some(b'[') => {
                    let line = utf8(line, &place)?;
                    let (name, _) = line[1..].split_once(']').ok_or_else(|| {
                        broken("opens a group and does not close it").remedy("Write it as [group].")
                    })?;
                    group = Some(match name.trim_end() {
                        "client" => Group::Client,
                        "replank" => Group::Replank,
                        _ => Group::Other,
                    });
                }
                Some(_) => match group {
                    None => {
                        return Err(broken("gives an option before the first group")
                            .remedy("Put [client] or [replank] above it."));
                    }
                    Some(Group::Other) => {}
                    Some(group) => {
                        let (option, value) = split_option(&utf8(line, &place)?);
                        holds_password |= option == "password" && value.is_some();
                        self.option(group, &option, value, &place)?;
                    }
                },
            }
        }
        if holds_password && mode & 0o004 != 0 {
            self.warnings.push(format!("{name} holds a password and everyone can read it"));
        }
        Ok(())
    }

    fn directive(&mut self, text: &str, place: &str, depth: usize) -> Result<()> {
        if depth == MAX_DEPTH {
            return Err(Error::refused(format!("{place}: includes nest too deep"))
                .remedy("Look for option files that include each other."));
        }
        let (directive, argument) =
            text.trim_start().split_once(|c: char| c.is_ascii_whitespace()).unwrap_or_default();
        let target = Path::new(argument.trim());
        let files = match directive {
            _ if argument.trim().is_empty() => None,
            "include" => Some(vec![target.to_owned()]),
            "includedir" => Some(self.option_files_in(target, place)?),
            _ => None,
        };
        let files = files.ok_or_else(|| {
            Error::refused(format!("{place} is neither !include FILE nor !includedir DIRECTORY"))
                .remedy("Correct the line or turn it into a comment.")
        })?;
        for file in files {
            self.file(&file, depth + 1).map_err(|e| e.during(place))?;
        }
        Ok(())
    }

    fn option_files_in(&self, dir: &Path, place: &str) -> Result<Vec<PathBuf>> {
        let mut files = self.env.list(dir).map_err(|e| {
            Error::refused(format!("{place}: cannot list {}", dir.display()))
                .remedy("Correct the line or turn it into a comment.")
                .caused_by(e)
        })?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "cnf"));
        files.sort();
        Ok(files)
    }

    fn option(
        &mut self,
        group: Group,
        option: &str,
        value: Option<String>,
        place: &str,
    ) -> Result<()> {
        let (name, loose) = match option.strip_prefix("loose-") {
            Some(name) => (name, true),
            None => (option, false),
        };
        let origin = format!("{name} in {place}");
        let given = value.as_deref().unwrap_or_default();
        let words = || Ok::<_, Error>(Some(Given::new(text(given, &origin)?, &origin)));
        let settings = &mut self.settings;
        match name {
            "host" => settings.host = words()?,
            "user" => settings.user = words()?,
            "database" => settings.database = words()?,
            "port" => settings.port = Some(Given::new(port(given, &origin)?, &origin)),
            "socket" => {
                settings.socket = Some(Given::new(PathBuf::from(text(given, &origin)?), &origin));
            }
            // Without a value it asks for the password, as in MySQL's programs.
            "password" => {
                let password =
                    value.map_or(Password::Ask, |value| Password::Value(Secret::new(value)));
                settings.password = Some(Given::new(password, &origin));
            }
            _ => {
                if !settings.set_tls(name, given, &origin)? && !loose {
                    self.foreign(group, name, value.is_some(), place)?;
                }
            }
        }
        Ok(())
    }

    /// An option that is not one of replank's. A name without `=` may be anything: not quoted.
    fn foreign(&mut self, group: Group, name: &str, has_value: bool, place: &str) -> Result<()> {
        if group == Group::Replank {
            let which = if has_value { format!("the option {name}") } else { "an option".into() };
            return Err(Error::refused(format!(
                "{place} gives {which} that replank does not have"
            ))
            .remedy("Remove the line, or write loose_ in front of the option."));
        }
        let matters = ["ssl", "tls", "skip-ssl", "protocol"];
        if matters.iter().any(|prefix| name.starts_with(prefix)) {
            self.warnings.push(format!("{place}: ignored {name}, which replank does not have"));
        }
        Ok(())
    }
}

fn utf8(bytes: &[u8], place: &str) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| {
        Error::refused(format!("{place} is not UTF-8")).remedy("Save the file as UTF-8.")
    })
}

/// The option's name with dashes, and its value with quotes and escapes undone.
fn split_option(line: &str) -> (String, Option<String>) {
    let line = without_comment(line);
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name, Some(unescape(unquote(value.trim_ascii())))),
        None => (line, None),
    };
    (name.trim_ascii().replace('_', "-"), value)
}

/// Cuts at the first `#` that is not in quotes; a backslash protects a quote inside quotes only.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            '\'' | '"' if !escaped => match quote {
                None => quote = Some(c),
                Some(open) if open == c => quote = None,
                Some(_) => {}
            },
            '#' if quote.is_none() => return &line[..at],
            _ => {}
        }
        escaped = quote.is_some() && c == '\\' && !escaped;
    }
    line
}

fn unquote(value: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value)
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('s') => out.push(' '),
            Some(c @ ('\\' | '"' | '\'')) => out.push(c),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TlsMode;
    use crate::config::env::fake::FakeEnv;

    const PATH: &str = "/etc/my.cnf";

    fn read_with(env: FakeEnv) -> Result<(Settings, Vec<String>)> {
        let mut warnings = Vec::new();
        read(Path::new(PATH), &env, &mut warnings).map(|settings| (settings, warnings))
    }

    fn read_text(content: &str) -> Result<(Settings, Vec<String>)> {
        read_with(FakeEnv::new().with_file(PATH, content))
    }

    fn password(line: &str) -> String {
        let (settings, _) = read_text(&format!("[client]\n{line}\n")).unwrap();
        match settings.password.unwrap().value {
            Password::Value(secret) => secret.expose().to_owned(),
            Password::Ask => panic!("asked"),
        }
    }

    #[test]
    fn both_groups_are_read_and_others_are_passed_over() {
        let (s, warnings) = read_text(
            "# top\n; also\n[mysqld]\nport=1\nbare\n[client]\nhost = db1 # main\nport=3307\r\n\
             prompt=x\n[ replank]\nuser=no\n[replank ]\nuser=ann\nssl_mode=REQUIRED\n\
             loose_ssl_ca=/ca.pem\nloose-shiny=1\nsocket=/s.sock\ndatabase=shop\n",
        )
        .unwrap();
        assert_eq!(s.host.unwrap().value, "db1");
        assert_eq!(s.port.unwrap().value, 3307);
        let user = s.user.unwrap();
        assert_eq!(
            (user.value.as_str(), user.origin.as_str()),
            ("ann", "user in /etc/my.cnf line 13")
        );
        assert_eq!(s.database.unwrap().value, "shop");
        assert_eq!(s.socket.unwrap().value, PathBuf::from("/s.sock"));
        assert_eq!(s.tls_mode.unwrap().value, TlsMode::Required);
        assert_eq!(s.tls_ca.unwrap().value, PathBuf::from("/ca.pem"));
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn the_last_value_in_the_file_wins() {
        let (s, _) = read_text("[replank]\nhost=a\n[client]\nhost=b\n").unwrap();
        assert_eq!(s.host.unwrap().value, "b");
    }

    #[test]
    fn values_are_unquoted_and_unescaped_as_mysql_does() {
        let cases = [
            (r"password=plain", "plain"),
            (r"password = a b ", "a b"),
            (r"password=a=b", "a=b"),
            (r#"password="a#b" # comment"#, "a#b"),
            (r"password='a#b'", "a#b"),
            (r"password=a#b", "a"),
            (r##"password="a\"#b""##, r##"a"#b"##),
            (r#"password="it's""#, "it's"),
            (r#"password="open"#, r#""open"#),
            (r#"password=""#, r#"""#),
            (r#"password="""#, ""),
            (r"password=", ""),
            (r"password=\s\t\n\r\b\\\'\q", " \t\n\r\u{8}\\'\\q"),
            (r"password=a\", r"a\"),
            (r#"password=" a ""#, " a "),
        ];
        for (line, expected) in cases {
            assert_eq!(password(line), expected, "{line}");
        }
    }

    #[test]
    fn a_password_without_value_asks() {
        let (s, _) = read_text("[client]\npassword\n").unwrap();
        assert_eq!(s.password.unwrap().value, Password::Ask);
    }

    #[test]
    fn a_broken_line_is_named_and_no_value_is_shown() {
        for bad in [
            "hunter2\n",
            "[client\nhunter2",
            "[client]\nport=hunter2",
            "[client]\nssl-mode=hunter2",
            "[client]\nhost=\npassword=hunter2",
            "[replank]\npasswrd=hunter2",
            "[replank]\nhunter2",
            "!hunter2\n",
        ] {
            let error = read_text(bad).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("/etc/my.cnf line "), "{shown}");
            assert!(error.next_step().is_some(), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_transport_option_that_is_not_ours_is_warned_about() {
        let (_, warnings) =
            read_text("[client]\nssl-capath=/d\nprompt=x\nloose_tls_x=1\n").unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("ssl-capath") && warnings[0].contains("line 2"));
    }

    #[test]
    fn includes_are_followed_in_order() {
        let env = FakeEnv::new()
            .with_file(
                PATH,
                "[client]\nuser=top\nhost=top\n!include /a.cnf\n!includedir /d\ndatabase=top",
            )
            .with_file("/a.cnf", "[client]\nuser=included\nport=1\n")
            .with_file("/d/2.cnf", "[client]\nport=2\n")
            .with_file("/d/1.cnf", "[client]\nport=3\n")
            .with_file("/d/notes.txt", "not an option file");
        let (s, _) = read_with(env).unwrap();
        assert_eq!(s.user.unwrap().value, "included");
        assert_eq!(s.host.unwrap().value, "top");
        assert_eq!(s.port.unwrap().value, 2);
        assert_eq!(s.database.unwrap().value, "top");
    }

    #[test]
    fn an_include_that_is_missing_or_circular_is_refused() {
        assert!(read_text("!include /missing.cnf").unwrap_err().what().contains("line 1"));
        assert!(read_text("!includedir /missing").is_err());
        let error = read_text("!include /etc/my.cnf").unwrap_err();
        assert!(error.what().contains("nest too deep"), "{error}");
    }

    #[test]
    fn permissions_are_judged() {
        let open = |mode| FakeEnv::new().with_file_mode(PATH, "[client]\npassword=x", mode);
        assert!(read_with(open(0o646)).unwrap_err().what().contains("written by everyone"));
        assert_eq!(read_with(open(0o644)).unwrap().1.len(), 1);
        assert_eq!(read_with(open(0o600)).unwrap().1.len(), 0);
        let harmless = FakeEnv::new().with_file_mode(PATH, "[client]\nhost=x", 0o644);
        assert_eq!(read_with(harmless).unwrap().1.len(), 0);
    }
}
