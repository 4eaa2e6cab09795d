//! The configuration file, `replank.toml`, and `replank config check`.
//!
//! A key is an option's long name without the dashes. At the top level it holds for every command
//! that has the option, in a table of a command's name for that command. Like an option file of
//! MySQL's it is refused if everyone can write it; with a password in it, also if others can read
//! it. No message quotes a line, and none shows a value that may hold a password.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, Args, Command, CommandFactory, Subcommand};
use toml::{Table, Value};

use super::layers::{
    Setting, Shape, alone, assigned, commands, contradiction, flag, may_hold_password, model,
    options, password_in_url, refused,
};
use crate::config::{Env, SystemEnv};
use crate::error::{Error, Result};

/// The option that names the file, and its id.
pub(super) const CONFIG: &str = "config";

/// The file that is read if it is there and none is named.
const DEFAULT: &str = "./replank.toml";

/// The arguments of `replank config`.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check every name and every value in the configuration file, for every command they hold for
    Check,
}

/// Carries out `replank config`; `path` is what `--config` says.
pub(super) fn config(args: ConfigArgs, path: Option<PathBuf>) -> Result<()> {
    match args.command {
        ConfigCommand::Check => check(path),
    }
}

/// Checks the file and prints what it gives, or says all that is wrong with it.
pub(super) fn check(path: Option<PathBuf>) -> Result<()> {
    println!("{}", examine(super::Cli::command(), path, &SystemEnv)?);
    Ok(())
}

fn examine(command: Command, path: Option<PathBuf>, env: &dyn Env) -> Result<String> {
    let path = ConfigFile::find(path, env).ok_or_else(|| {
        Error::refused(format!("there is no {DEFAULT}")).remedy("Name the file with --config.")
    })?;
    let model = model(command);
    let mut file = ConfigFile::read(path, &model, env)?;
    for command in commands(&model) {
        let layers = file.layers(command);
        let mut wrong: Vec<String> =
            layers.iter().flatten().filter_map(|setting| setting.wrong(command)).collect();
        // clap says nothing of contradictions while a value is wrong.
        let mut right = alone(command, layers);
        right.retain(|setting| setting.wrong(command).is_none());
        wrong.extend(contradiction(command, &right));
        wrong.into_iter().for_each(|problem| file.problem(problem));
    }
    match file.problems() {
        [] => Ok(file.report(&model)),
        problems => Err(refused(problems)),
    }
}

/// What a configuration file says. Without `Debug`: it may hold a password.
pub(super) struct ConfigFile {
    path: PathBuf,
    entries: Vec<Entry>,
    problems: Vec<String>,
}

struct Entry {
    /// The command in whose table it stands; `None` at the top level.
    table: Option<String>,
    key: String,
    value: Value,
}

impl ConfigFile {
    /// The file to read: the one that is named on the command line or by `REPLANK_CONFIG`, or the
    /// one in this directory, if there is one.
    pub(super) fn find(named: Option<PathBuf>, env: &dyn Env) -> Option<PathBuf> {
        let variable = || env.var("REPLANK_CONFIG").filter(|path| !path.is_empty());
        let default = || {
            let absent = |error: io::Error| {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            };
            let path = PathBuf::from(DEFAULT);
            (!env.mode(&path).is_err_and(absent)).then_some(path)
        };
        named.or_else(|| variable().map(PathBuf::from)).or_else(default)
    }

    /// Reads a file. An error says why it cannot be read; what is wrong in it is told by
    /// [`problems`](Self::problems). Values are looked at no further than what shape they have.
    pub(super) fn read(path: PathBuf, model: &Command, env: &dyn Env) -> Result<Self> {
        let (table, mode) = table(&path, env)?;
        let mut file = ConfigFile { path, entries: Vec::new(), problems: Vec::new() };
        for (key, value) in table {
            match value {
                Value::Table(table) => match commands(model).find(|one| one.get_name() == key) {
                    Some(command) => {
                        for (key, value) in table {
                            file.take(Some(command), key, value, model);
                        }
                    }
                    None => {
                        let advice = nearest(&key, commands(model).map(Command::get_name));
                        let name = file.path.display().to_string();
                        file.problem(format!("{name}: [{key}]: there is no such command{advice}"));
                    }
                },
                value => file.take(None, key, value, model),
            }
        }
        file.entries.sort_by(|one, other| one.table.cmp(&other.table));
        if mode & 0o077 != 0 && file.holds_password(model) {
            let name = file.path.display().to_string();
            file.problem(format!(
                "{name} holds a password and is not for its owner alone; chmod 600 {name}"
            ));
        }
        Ok(file)
    }

    /// What is wrong with the file, each with its place.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// What the file gives to a command: in the command's own table, and at the top level.
    pub(super) fn layers<'a>(&self, command: &'a Command) -> [Vec<Setting<'a>>; 2] {
        [Some(command.get_name()), None].map(|table| {
            let entries = self.entries.iter().filter(|entry| entry.table.as_deref() == table);
            entries.filter_map(|entry| self.setting(entry, command)).collect()
        })
    }

    fn setting<'a>(&self, entry: &Entry, command: &'a Command) -> Option<Setting<'a>> {
        let (name, arg) = options(command).find(|(name, _)| *name == entry.key)?;
        let arguments = arguments(name, arg, &entry.value).ok()?;
        let origin = self.place(entry.table.as_deref(), &entry.key);
        Some(Setting { name, arg, origin, arguments })
    }

    /// Notes an entry, and what is wrong with its name or shape.
    fn take(&mut self, table: Option<&Command>, key: String, value: Value, model: &Command) {
        let owner = table.map(Command::get_name);
        let place = self.place(owner, &key);
        let holders =
            || commands(model).filter(move |one| owner.is_none_or(|name| name == one.get_name()));
        let mut known = false;
        for (name, arg) in holders().flat_map(options).filter(|(name, _)| *name == key) {
            known = true;
            if let Err(why) = arguments(name, arg, &value) {
                self.problem(format!("{place}: {why}"));
            }
        }
        if known {
            self.entries.push(Entry { table: owner.map(str::to_owned), key, value });
            return;
        }
        let has = match owner {
            Some(name) => format!("{name} has no option"),
            None => "no command has an option".to_owned(),
        };
        let advice = if owner.is_none() && commands(model).any(|one| one.get_name() == key) {
            format!("; the options of {key} go under [{key}]")
        } else {
            nearest(&key, holders().flat_map(options).map(|(name, _)| name))
        };
        self.problem(format!("{place}: {has} of this name{advice}"));
    }

    /// Notes something that is wrong, once: what stands at the top level is met in many commands.
    fn problem(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn place(&self, table: Option<&str>, key: &str) -> String {
        let table = table.map(|table| format!("[{table}] ")).unwrap_or_default();
        format!("{}: {table}{key}", self.path.display())
    }

    fn holds_password(&self, model: &Command) -> bool {
        self.entries.iter().any(|entry| {
            let texts: Vec<String> = match &entry.value {
                Value::Array(values) => values.iter().filter_map(text).collect(),
                value => text(value).into_iter().collect(),
            };
            // In Percona Toolkit's form it is a part of its own.
            let part = |dsn: &str| dsn.split(',').any(|part| part.starts_with("p="));
            let inside = texts.iter().any(|dsn| password_in_url(dsn).is_some() || part(dsn));
            entry.key == "password" || (inside && is_secret(&entry.key, model))
        })
    }

    /// One line for each entry, with the commands that it holds for.
    fn report(&self, model: &Command) -> String {
        let mut lines: Vec<String> =
            self.entries.iter().map(|entry| self.line(entry, model)).collect();
        let options = if self.entries.len() == 1 { "option" } else { "options" };
        lines.push(format!("{} is right: {} {options}", self.path.display(), self.entries.len()));
        lines.join("\n")
    }

    fn line(&self, entry: &Entry, model: &Command) -> String {
        let whom = match &entry.table {
            Some(table) => table.clone(),
            None => {
                let same = |other: &Entry, table: &str| {
                    other.table.as_deref() == Some(table) && other.key == entry.key
                };
                let names: Vec<&str> = commands(model)
                    .filter(|one| options(one).any(|(name, _)| name == entry.key))
                    .map(Command::get_name)
                    .filter(|&name| !self.entries.iter().any(|other| same(other, name)))
                    .collect();
                match names.len() {
                    0 => "no command".to_owned(),
                    all if all == commands(model).count() => "every command".to_owned(),
                    _ => names.join(", "),
                }
            }
        };
        let value = match is_secret(&entry.key, model) {
            true => "…".to_owned(),
            false => shown(&entry.value),
        };
        format!("{whom}: {} = {value}", entry.key)
    }
}

/// The file's content, and its permissions.
fn table(path: &Path, env: &dyn Env) -> Result<(Table, u32)> {
    let name = path.display();
    let unreadable = |error: io::Error| {
        Error::refused(format!("cannot read the configuration file {name}"))
            .remedy("Check its path and permissions, or name another with --config.")
            .caused_by(error)
    };
    let mode = env.mode(path).map_err(unreadable)?.unwrap_or(0);
    if mode & 0o002 != 0 {
        return Err(Error::refused(format!(
            "the configuration file {name} can be written by everyone"
        ))
        .remedy(format!("chmod o-w {name}, or name another file with --config.")));
    }
    let content = env.read(path).map_err(unreadable)?;
    let content = String::from_utf8(content)
        .map_err(|_| Error::refused(format!("the configuration file {name} is not UTF-8")))?;
    let table = content.parse::<Table>().map_err(|error| {
        // The error's own text shows the line, which may hold a password.
        let before = error.span().map_or(0, |span| span.start);
        let line = content.bytes().take(before).filter(|byte| *byte == b'\n').count() + 1;
        let why = error.message().replace('\n', " ");
        Error::refused(format!("{name} line {line} is not TOML: {why}"))
            .remedy("Write it as name = \"text\", name = 100 or name = true.")
    })?;
    Ok((table, mode))
}

/// An entry as arguments, if its value has the right shape.
fn arguments(name: &str, arg: &Arg, value: &Value) -> Result<Vec<OsString>, &'static str> {
    let one = |value: &Value| text(value).map(|text| assigned(name, &text));
    match (Shape::of(arg), value) {
        (Shape::Flag | Shape::Count, Value::Boolean(given)) => Ok(flag(name, usize::from(*given))),
        (Shape::Flag, _) => Err("takes true or false"),
        (Shape::Count, Value::Integer(times)) => u8::try_from(*times)
            .map(|times| flag(name, times.into()))
            .map_err(|_| "takes a small number"),
        (Shape::Count, _) => Err("takes true, false or a number"),
        (Shape::Many, Value::Array(values)) => values
            .iter()
            .map(one)
            .collect::<Option<Vec<OsString>>>()
            .ok_or("takes texts and numbers, no tables and no arrays in the array"),
        (Shape::Many, value) => {
            one(value).map(|one| vec![one]).ok_or("takes a text, a number, or an array of them")
        }
        (Shape::One, value) => {
            one(value).map(|one| vec![one]).ok_or("takes one text, number, true or false")
        }
    }
}

/// A value as it would be written on the command line.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Datetime(date) => Some(date.to_string()),
        Value::Array(_) | Value::Table(_) => None,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        value => text(value).unwrap_or_default(),
    }
}

fn is_secret(key: &str, model: &Command) -> bool {
    let mut all = commands(model).flat_map(options).filter(|(name, _)| *name == key);
    all.any(|(name, arg)| may_hold_password(name, arg))
}

/// Advice to take the name that is most like the word, if one is.
fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> String {
    let enough = word.chars().count() / 3 + 1;
    names
        .map(|name| (distance(word, name), name))
        .filter(|(distance, name)| *distance <= enough || name.starts_with(word))
        .min()
        .map(|(_, name)| format!("; did you mean {name}?"))
        .unwrap_or_default()
}

/// How many letters have to be put in, left out or changed to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    // For the letters of `one` so far: the distance to each beginning of `other`.
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, letter) in one.chars().enumerate() {
        let mut left_above = n;
        let mut left = n + 1;
        row[0] = left;
        for (cell, wanted) in row[1..].iter_mut().zip(&other) {
            let changed = left_above + usize::from(letter != *wanted);
            left_above = *cell;
            left = changed.min(left + 1).min(left_above + 1);
            *cell = left;
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::super::layers::tests::{Fake, command};
    use super::*;

    fn checked(fake: &Fake) -> Result<String, String> {
        examine(command(), None, fake).map_err(|error| error.to_string())
    }

    #[test]
    fn a_right_file_is_told_option_by_option() {
        let text = "
            pace = 'fast'
            chunk-time = 100
            table = 'users'
            verbose = true
            password = 'hunter2'
            dsn = 'mysql://a:hunter2@h'
            [run]
            chunk-time = 200
            peak = ['Mon', 'Tue']
            [cleanup]
            old = false
        ";
        let report = checked(&Fake::file(text)).unwrap();
        assert!(!report.contains("hunter2"));
        for line in [
            "run: pace = \"fast\"",
            "no command: chunk-time = 100",
            "run, cleanup: table = \"users\"",
            "every command: verbose = true",
            "run, cleanup: password = …",
            "run: chunk-time = 200",
            "run: peak = [\"Mon\", \"Tue\"]",
            "cleanup: old = false",
            "./replank.toml is right: 9 options",
        ] {
            assert!(report.lines().any(|one| one == line), "{line}\n{report}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let text = "
            chunk-tiem = 100
            discover_pace = 1
            pace = 'fats'
            keep-old = 'yes'
            table = ['users']
            execute = true
            dry-run = true
            cleanup = true
            [rnu]
            pace = 'fast'
            [run]
            rows = 7
            drop_old = true
            verbose = -1
            peak = [['Mon']]
            [demo]
            rows = 'many'
        ";
        let message = checked(&Fake::file(text)).unwrap_err();
        for part in [
            "chunk-tiem: no command has an option of this name; did you mean chunk-time?",
            "discover_pace: no command has an option of this name\n",
            "./replank.toml: pace: invalid value 'fats'",
            "keep-old: takes true or false",
            "table: takes one text, number, true or false",
            "dry-run and ./replank.toml: execute: the argument '--dry-run' cannot be used with",
            "cleanup: no command has an option of this name; the options of cleanup go under",
            "[rnu]: there is no such command; did you mean run?",
            "[run] rows: run has no option of this name\n",
            "[run] drop_old: run has no option of this name; did you mean drop-old?",
            "[run] verbose: takes a small number",
            "[run] peak: takes texts",
            "[demo] rows: invalid value 'many'",
        ] {
            assert!(message.contains(part), "{part}\n{message}");
        }
        assert!(message.starts_with("13 errors\n"), "{message}");
        assert_eq!(message.matches("table: takes").count(), 1, "{message}");
    }

    #[test]
    fn contradictions_are_found_where_nothing_resolves_them() {
        let both = "keep-old = true\ndrop-old = true\n";
        let message = checked(&Fake::file(both)).unwrap_err();
        assert!(message.contains("cannot be used with"), "{message}");
        checked(&Fake::file(&format!("{both}[run]\nkeep-old = true\n"))).unwrap();
        // What it needs may be given on the command line.
        checked(&Fake::file("at-once = true")).unwrap();
    }

    #[test]
    fn a_file_with_a_password_is_for_its_owner_alone() {
        let secret = [
            "password = 'hunter2'",
            "[run]\npassword = 'hunter2'\n",
            "dsn = 'mysql://a:hunter2@h'",
            "[run]\nreplica = ['h=a', 'h=b,p=hunter2']\n",
        ];
        for text in secret {
            checked(&Fake::file(text)).unwrap();
            for mode in [0o640, 0o604, 0o100_644] {
                let fake = Fake::new().at("./replank.toml", text, mode);
                let message = checked(&fake).unwrap_err();
                assert!(message.contains("chmod 600 ./replank.toml"), "{message}");
            }
        }
        for text in ["password-file = '/p'", "dsn = 'mysql://a@h:1/d'", "replica = 'h=b,P=1'"] {
            checked(&Fake::new().at("./replank.toml", text, 0o644)).unwrap();
        }
        let message = checked(&Fake::new().at("./replank.toml", "", 0o666)).unwrap_err();
        assert!(message.contains("written by everyone"), "{message}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_refused() {
        let message = checked(&Fake::new()).unwrap_err();
        assert_eq!(message, "there is no ./replank.toml");
        let named = examine(command(), Some("other.toml".into()), &Fake::file(""));
        let message = named.unwrap_err().to_string();
        assert!(message.contains("cannot read the configuration file other.toml"), "{message}");
        let message = checked(&Fake::file("pace = 'fast'\n\npassword = hunter2\n")).unwrap_err();
        assert!(message.starts_with("./replank.toml line 3 is not TOML: "), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn distances() {
        for (one, other, expected) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("pace", "pcae", 2), ("a-b", "a_b", 1)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(
            nearest("chunk", ["workers", "chunk-time"].into_iter()),
            "; did you mean chunk-time?"
        );
        assert_eq!(nearest("nonsense", ["workers", "pace"].into_iter()), "");
    }
}
