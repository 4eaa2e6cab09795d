//! Options from the configuration file and from the environment, put among the arguments as if they
//! had been given there.
//!
//! The layers, strongest first: the command line; the environment, where `REPLANK_CHUNK_TIME` is
//! `--chunk-time`; the command's own table in the file; the file's top level. A layer's option is
//! left out if a stronger layer gives the option, says that it is not given, or gives one that it
//! conflicts with: by clap's rules, or by [`Stronger::give`]'s where clap knows none.
//!
//! Only arguments are written here, and clap remains the only judge of a value. It cannot know where
//! an argument came from, so each is tried alone before, and what clap says is reported with the
//! place. No message shows the value of an option that may hold a password.

use std::any::TypeId;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::iter;
use std::ops::Range;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::config::{CONFIG, ConfigFile};
use crate::config::{Env, PtDsn, Secret};
use crate::error::{Error, Result};

#[cfg(test)]
pub(super) mod tests;

/// Variables that are more, or other, than the option of that name.
const RESERVED: [&str; 3] = ["REPLANK_PASSWORD", "REPLANK_MYSQLD", "REPLANK_CACHE"];

/// The heading of the options that name the server.
const CONNECTION: &str = "Connection";

/// The options that say what the password is; at one strength they contradict each other.
const PASSWORD: [&str; 3] = ["password", "password-file", "ask-password"];

/// Why there is no list of arguments to go on with.
#[derive(Debug)]
pub(super) enum LayerError {
    /// The command line alone: help, version, or a usage error, as clap has it.
    Usage(clap::Error),
    /// The file or a variable is wrong.
    Refused(Error),
}

impl From<Error> for LayerError {
    fn from(error: Error) -> Self {
        LayerError::Refused(error)
    }
}

/// The arguments with everything that the file and the environment add to them.
///
/// `command` is the whole command line, whose global option `--config` (with that id, and a
/// [`PathBuf`]) names the file. A command that has commands of its own gets nothing.
pub(super) fn layered(
    command: Command,
    arguments: Vec<OsString>,
    env: &dyn Env,
) -> Result<Vec<OsString>, LayerError> {
    match command.clone().try_get_matches_from(&arguments) {
        Ok(matches) => completed(command, arguments, &matches, env),
        // A weaker layer may give what is missing. If none does, the command line is at fault.
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
            let given = arguments.len();
            let partly = command.clone().ignore_errors(true).try_get_matches_from(&arguments);
            partly
                .ok()
                .and_then(|matches| completed(command, arguments, &matches, env).ok())
                .filter(|all| all.len() > given)
                .ok_or(LayerError::Usage(error))
        }
        Err(error) => Err(LayerError::Usage(error)),
    }
}

/// The arguments and what the weaker layers add; `matches` is what clap made of them alone.
fn completed(
    command: Command,
    mut arguments: Vec<OsString>,
    matches: &ArgMatches,
    env: &dyn Env,
) -> Result<Vec<OsString>, LayerError> {
    let model = model(command.clone());
    let Some((name, matches)) = matches.subcommand() else { return Ok(arguments) };
    let Some(target) = commands(&model).find(|command| command.get_name() == name) else {
        return Ok(arguments);
    };
    let settings = settings(&model, target, matches, env)?;
    let wrong: Vec<String> = settings.iter().filter_map(|one| one.wrong(target)).collect();
    if !wrong.is_empty() {
        return Err(refused(&wrong).into());
    }
    let added: Vec<OsString> =
        settings.iter().flat_map(|setting| setting.arguments.iter().cloned()).collect();
    if added.is_empty() {
        return Ok(arguments);
    }
    let at = position(&model, &arguments)
        .ok_or_else(|| Error::refused("the command's name is not found among the arguments"))?;
    arguments.splice(at + 1..at + 1, added);
    // Each of them may be right, and still not go with the rest.
    match command.try_get_matches_from(&arguments) {
        Ok(_) => Ok(arguments),
        Err(error) => Err(refused(&[blame(&settings, &plain(&error))]).into()),
    }
}

/// What the file and the environment give to a command, without what is put out by a stronger layer.
fn settings<'a>(
    model: &Command,
    command: &'a Command,
    matches: &ArgMatches,
    env: &dyn Env,
) -> Result<Vec<Setting<'a>>> {
    let set = |name| env.var(name).is_some_and(|value| !value.is_empty());
    let (own, theirs) = (set("REPLANK_PASSWORD"), set("MYSQL_PWD"));
    let mut kept = Vec::new();
    let mut stronger = Stronger::new(command);
    stronger.parsed(matches, ValueSource::CommandLine);
    stronger.parsed(matches, ValueSource::EnvVariable);
    // The connection reads these two by itself. In the environment the first is the strongest of
    // the passwords, and the second, which is not for replank alone, the weakest.
    if own {
        stronger.close(&PASSWORD);
    }
    stronger.admit(environment(command, env)?, &mut kept);
    if theirs {
        stronger.close(&PASSWORD);
    }
    let named = matches.try_get_one::<PathBuf>(CONFIG).ok().flatten().cloned();
    if let Some(path) = ConfigFile::find(named, env) {
        let file = ConfigFile::read(path, model, env)?;
        if !file.problems().is_empty() {
            return Err(refused(file.problems()));
        }
        for mut layer in file.layers(command) {
            if own || theirs {
                layer.iter_mut().for_each(Setting::forget_password);
            }
            stronger.admit(layer, &mut kept);
        }
    }
    Ok(kept)
}

/// What is left of layers, strongest first, if nothing else is given.
pub(super) fn alone<'a>(command: &'a Command, layers: [Vec<Setting<'a>>; 2]) -> Vec<Setting<'a>> {
    let mut kept = Vec::new();
    let mut stronger = Stronger::new(command);
    for layer in layers {
        stronger.admit(layer, &mut kept);
    }
    kept
}

/// The variables that are options of the command. An empty one counts as not set.
fn environment<'a>(command: &'a Command, env: &dyn Env) -> Result<Vec<Setting<'a>>> {
    let mut settings = Vec::new();
    for (name, arg) in options(command) {
        let variable = variable(name);
        // clap itself reads the variable of an option that names one.
        if RESERVED.contains(&variable.as_str()) || arg.get_env().is_some() {
            continue;
        }
        let Some(value) = env.var(&variable).filter(|value| !value.is_empty()) else { continue };
        let value = value.into_string().map_err(|_| {
            Error::refused(format!("{variable} is not UTF-8"))
                .remedy(format!("Unset {variable} and give the value with --{name}."))
        })?;
        let arguments = from_text(name, arg, &value).map_err(|why| {
            Error::refused(format!("{variable} {why}"))
                .remedy(format!("Correct {variable}, or unset it."))
        })?;
        settings.push(Setting { name, arg, origin: variable, arguments });
    }
    Ok(settings)
}

/// The variable for an option.
fn variable(option: &str) -> String {
    format!("REPLANK_{}", option.replace('-', "_").to_ascii_uppercase())
}

fn from_text(name: &str, arg: &Arg, value: &str) -> Result<Vec<OsString>, &'static str> {
    let word = || match value.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(1),
        "0" | "false" | "no" | "off" => Some(0),
        _ => None,
    };
    let number = || value.trim().parse::<u8>().ok().map(usize::from);
    match Shape::of(arg) {
        Shape::Flag => word()
            .map(|times| flag(name, times))
            .ok_or("is none of 1, true, yes, on and none of 0, false, no, off"),
        Shape::Count => word()
            .or_else(number)
            .map(|times| flag(name, times))
            .ok_or("is neither true, nor false, nor a small number"),
        Shape::One => Ok(vec![assigned(name, value)]),
        Shape::Many => Ok(value
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| assigned(name, line))
            .collect()),
    }
}

/// An option as one layer gives it. Without `Debug`: it may hold a password.
pub(super) struct Setting<'a> {
    /// The option's long name.
    pub(super) name: &'a str,
    /// The option.
    pub(super) arg: &'a Arg,
    /// Where it is written: a variable, or a file and a key.
    pub(super) origin: String,
    /// The arguments that give it; none if it is said not to be given.
    pub(super) arguments: Vec<OsString>,
}

impl Setting<'_> {
    /// What is wrong with it by itself, and where it is written.
    pub(super) fn wrong(&self, command: &Command) -> Option<String> {
        if self.arguments.is_empty() {
            return None;
        }
        let error = parse(command, &self.arguments)?;
        // What else the command needs is given elsewhere.
        if error.kind() == ErrorKind::MissingRequiredArgument {
            return None;
        }
        Some(match may_hold_password(self.name, self.arg) {
            true => format!("{}: the value is not what --{} takes", self.origin, self.name),
            false => format!("{}: {}", self.origin, plain(&error)),
        })
    }

    fn value(&self) -> Option<&OsStr> {
        let (_, value) = self.arguments.first()?.to_str()?.split_once('=')?;
        Some(OsStr::new(value))
    }

    /// Takes the password out of a DSN. The connection takes a DSN's before a variable's, but the
    /// file, where this one comes from, is weaker than both.
    fn forget_password(&mut self) {
        if self.name != "dsn" {
            return;
        }
        for argument in &mut self.arguments {
            let Some(text) = argument.to_str() else { continue };
            if let Some(range) = password_in_url(text) {
                let rest = [&text[..range.start], &text[range.end..]].concat();
                *argument = rest.into();
            }
        }
    }
}

/// What is wrong with settings that are each right, if they are given at once.
pub(super) fn contradiction(command: &Command, settings: &[Setting<'_>]) -> Option<String> {
    let arguments: Vec<OsString> =
        settings.iter().flat_map(|setting| setting.arguments.iter().cloned()).collect();
    let error = parse(command, &arguments)?;
    (error.kind() == ErrorKind::ArgumentConflict).then(|| blame(settings, &plain(&error)))
}

fn parse(command: &Command, arguments: &[OsString]) -> Option<clap::Error> {
    let name = OsString::from(command.get_name());
    let all = iter::once(name).chain(arguments.iter().cloned());
    command.clone().try_get_matches_from(all).err()
}

/// Puts the places before what clap says about several arguments: of those that it names, or else of
/// all.
fn blame(settings: &[Setting<'_>], text: &str) -> String {
    let mut given: Vec<&Setting<'_>> =
        settings.iter().filter(|setting| !setting.arguments.is_empty()).collect();
    let named = |setting: &&Setting<'_>| text.contains(&format!("--{}", setting.name));
    if given.iter().any(named) {
        given.retain(named);
    }
    let places: Vec<&str> = given.iter().map(|setting| setting.origin.as_str()).collect();
    format!("{}: {text}", places.join(" and "))
}

/// clap's message in one line, without its advice.
fn plain(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.split("\n\n").next().unwrap_or_default();
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// An error for all that is wrong at once.
pub(super) fn refused(problems: &[String]) -> Error {
    let what = match problems {
        [one] => one.clone(),
        all => format!("{} errors\n  - {}", all.len(), all.join("\n  - ")),
    };
    Error::refused(what)
        .remedy("Correct it where it is written; `replank config check` reads the whole file.")
}

/// What the layers that were read so far leave to weaker ones.
struct Stronger<'a> {
    command: &'a Command,
    /// What is given.
    given: Vec<&'a Arg>,
    /// Options that no weaker layer may give.
    closed: HashSet<&'a str>,
}

impl<'a> Stronger<'a> {
    fn new(command: &'a Command) -> Self {
        Stronger { command, given: Vec::new(), closed: HashSet::new() }
    }

    /// Takes in what clap has found in one place.
    fn parsed(&mut self, matches: &ArgMatches, source: ValueSource) {
        for id in matches.ids().filter(|id| matches.value_source(id.as_str()) == Some(source)) {
            // What is no argument is a group of them.
            let Some(arg) = self.command.get_arguments().find(|arg| arg.get_id() == id) else {
                continue;
            };
            let values: Vec<&OsStr> = matches.get_raw(id.as_str()).into_iter().flatten().collect();
            if arg.is_positional() {
                self.given.push(arg);
                values.iter().for_each(|value| self.positional(&value.to_string_lossy()));
            } else {
                self.give(arg, values.first().copied());
            }
        }
    }

    /// Keeps what a layer may give. Inside the layer nothing puts out anything.
    fn admit(&mut self, layer: Vec<Setting<'a>>, kept: &mut Vec<Setting<'a>>) {
        let admitted: Vec<Setting<'a>> =
            layer.into_iter().filter(|setting| self.leaves(setting)).collect();
        for setting in &admitted {
            if setting.arguments.is_empty() {
                self.closed.insert(setting.name);
            } else {
                self.give(setting.arg, setting.value());
            }
        }
        kept.extend(admitted);
    }

    fn leaves(&self, setting: &Setting<'_>) -> bool {
        let forbids = |one: &Arg, other: &Arg| {
            let conflicts = self.command.get_arg_conflicts_with(one);
            conflicts.iter().any(|arg| arg.get_id() == other.get_id())
        };
        let conflicts = |given: &Arg| forbids(given, setting.arg) || forbids(setting.arg, given);
        !self.closed.contains(setting.name) && !self.given.iter().any(|&given| conflicts(given))
    }

    /// Takes in an option. The connection refuses some that contradict each other at one strength,
    /// and as arguments all have one strength: so the weaker must not become one.
    fn give(&mut self, arg: &'a Arg, value: Option<&OsStr>) {
        self.given.push(arg);
        let Some(name) = arg.get_long() else { return };
        self.closed.insert(name);
        match name {
            "dsn" => self.close_connection(),
            // It means the socket, if one is given.
            "host" if value.is_some_and(|host| host.eq_ignore_ascii_case("localhost")) => {}
            "host" | "port" => self.close(&["socket"]),
            "socket" => self.close(&["host", "port"]),
            name if PASSWORD.contains(&name) => self.close(&PASSWORD),
            _ => {}
        }
    }

    /// Takes in an argument that is no option: a DSN names the server as a whole and maybe the
    /// table, a statement names the table. A weaker `--table` would be taken before the DSN's.
    fn positional(&mut self, text: &str) {
        if PtDsn::is_one(text) {
            self.close_connection();
            // One that cannot be read is refused by the command.
            if PtDsn::parse(text).is_ok_and(|dsn| dsn.table().is_some()) {
                self.close(&["table"]);
            }
        } else if options(self.command).any(|(name, _)| name == "alter") {
            self.close(&["alter", "table"]);
        }
    }

    fn close(&mut self, names: &[&'static str]) {
        self.closed.extend(names);
    }

    fn close_connection(&mut self) {
        let connection =
            options(self.command).filter(|(_, arg)| arg.get_help_heading() == Some(CONNECTION));
        self.closed.extend(connection.map(|(name, _)| name));
    }
}

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// No value.
    Flag,
    /// No value, but it counts how often it is given.
    Count,
    /// One value.
    One,
    /// A value each time it is given.
    Many,
}

impl Shape {
    /// The shape of an option.
    pub(super) fn of(arg: &Arg) -> Self {
        match arg.get_action() {
            ArgAction::Set => Shape::One,
            ArgAction::Append => Shape::Many,
            ArgAction::Count => Shape::Count,
            _ => Shape::Flag,
        }
    }
}

/// An option without a value, so many times.
pub(super) fn flag(name: &str, times: usize) -> Vec<OsString> {
    vec![format!("--{name}").into(); times]
}

/// An option with its value.
pub(super) fn assigned(name: &str, value: &str) -> OsString {
    format!("--{name}={value}").into()
}

/// The whole command line, to be asked about its commands and their options.
pub(super) fn model(mut command: Command) -> Command {
    command.build();
    command
}

/// The commands that may be given options.
pub(super) fn commands(model: &Command) -> impl Iterator<Item = &Command> {
    model.get_subcommands().filter(|one| one.get_name() != "help" && !one.has_subcommands())
}

/// The options of a command that a layer may give, with their long names.
pub(super) fn options(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    command.get_arguments().filter_map(|arg| {
        let name = arg.get_long().filter(|name| *name != CONFIG)?;
        let shows = matches!(
            arg.get_action(),
            ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
        );
        (!shows).then_some((name, arg))
    })
}

/// Whether a value must not be shown.
pub(super) fn may_hold_password(name: &str, arg: &Arg) -> bool {
    ["password", "dsn", "replica", "throttle-http"].iter().any(|start| name.starts_with(start))
        || arg.get_value_parser().type_id() == TypeId::of::<Secret>()
}

/// Where the password stands in a URL, with the colon before it.
pub(super) fn password_in_url(text: &str) -> Option<Range<usize>> {
    let start = text.find("://")? + 3;
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |length| start + length);
    let at = start + text[start..end].rfind('@')?;
    let colon = start + text[start..at].find(':')?;
    Some(colon..at)
}

/// Where the command's name stands. Options may come before it, and take values that look like it.
fn position(model: &Command, arguments: &[OsString]) -> Option<usize> {
    let takes_value = |is: &dyn Fn(&Arg) -> bool| {
        model.get_arguments().any(|arg| is(arg) && arg.get_action().takes_values())
    };
    let mut at = 1;
    while let Some(argument) = arguments.get(at) {
        let text = argument.to_string_lossy();
        if let Some(long) = text.strip_prefix("--") {
            // With its value in the same argument it has another name than any option.
            at += usize::from(takes_value(&|arg| arg.get_long() == Some(long)));
        } else if let Some(shorts) = text.strip_prefix('-') {
            // The first that takes a value takes the rest of the argument, or else the next one.
            let first = shorts.chars().position(|c| takes_value(&|arg| arg.get_short() == Some(c)));
            at += usize::from(first.is_some_and(|first| first + 1 == shorts.chars().count()));
        } else if model.find_subcommand(argument).is_some() {
            return Some(at);
        }
        at += 1;
    }
    None
}
