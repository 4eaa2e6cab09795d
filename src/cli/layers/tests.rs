use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use clap::{Args, CommandFactory, value_parser};

use super::*;
use crate::cli::logging::LogArgs;
use crate::config::ConnectionArgs;

/// Files and variables that a test puts in.
#[derive(Default)]
pub(in crate::cli) struct Fake {
    variables: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, (String, u32)>,
}

impl Fake {
    pub(in crate::cli) fn new() -> Self {
        Fake::default()
    }

    /// With this text in the file that is read unless another is named.
    pub(in crate::cli) fn file(text: &str) -> Self {
        Fake::new().at("./replank.toml", text, 0o600)
    }

    pub(in crate::cli) fn at(mut self, path: &str, text: &str, mode: u32) -> Self {
        self.files.insert(path.into(), (text.to_owned(), mode));
        self
    }

    pub(in crate::cli) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl Env for Fake {
    fn var(&self, name: &str) -> Option<OsString> {
        self.variables.get(name).map(OsString::from)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(file.0.clone().into_bytes())
    }

    fn mode(&self, path: &Path) -> io::Result<Option<u32>> {
        let file = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Some(file.1))
    }

    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn ask_password(&self, _: &str) -> io::Result<String> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

/// A command line in the manner of replank's own.
pub(in crate::cli) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let value = |name: &'static str| Arg::new(name).long(name).action(ArgAction::Set);
    let secrets = Arg::new("positional")
        .num_args(1..)
        .action(ArgAction::Append)
        .value_parser(value_parser!(Secret));
    let run = ConnectionArgs::augment_args(Command::new("run")).arg(secrets.clone()).args([
        value("table"),
        value("alter"),
        flag("dry-run").conflicts_with("execute"),
        flag("execute"),
        flag("keep-old").conflicts_with("drop-old"),
        flag("drop-old"),
        value("chunk-time").value_parser(value_parser!(u64).range(10..=60_000)),
        value("pace").value_parser(["gentle", "balanced", "fast"]),
        value("stop-keeps").num_args(0..=1).require_equals(true).value_parser(value_parser!(bool)),
        value("peak").action(ArgAction::Append),
        value("replica").action(ArgAction::Append),
    ]);
    let cleanup = ConnectionArgs::augment_args(Command::new("cleanup")).arg(secrets).args([
        value("table"),
        flag("old"),
        flag("at-once").requires("old"),
    ]);
    let demo = Command::new("demo").args([
        value("rows").value_parser(value_parser!(u64)),
        // Instead of a variable that may be set or not where the tests run.
        value("mysqld").env("PATH"),
    ]);
    let config = Command::new("config").subcommand_required(true).subcommand(Command::new("check"));
    let file = value("config").global(true).value_parser(value_parser!(PathBuf));
    LogArgs::augment_args(Command::new("replank").version("0"))
        .arg(file)
        .subcommand_required(true)
        .subcommands([run, cleanup, demo, config])
}

/// All arguments, or the message.
fn list(line: &[&str], fake: &Fake) -> Result<Vec<String>, String> {
    let arguments = line.iter().map(OsString::from).collect();
    match layered(command(), arguments, fake) {
        Ok(list) => Ok(list.into_iter().map(|one| one.into_string().unwrap()).collect()),
        Err(LayerError::Refused(error)) => Err(error.to_string()),
        Err(LayerError::Usage(error)) => Err(format!("usage: {error}")),
    }
}

/// The arguments that are added after the command's name.
fn added(line: &[&str], fake: &Fake) -> Vec<String> {
    let list = list(line, fake).unwrap();
    let at = line.iter().position(|one| ["run", "cleanup", "demo"].contains(one)).unwrap() + 1;
    let end = at + list.len() - line.len();
    assert_eq!(list[..at], line[..at]);
    assert_eq!(list[end..], line[at..]);
    list[at..end].to_vec()
}

fn refusal(line: &[&str], fake: &Fake) -> String {
    let message = list(line, fake).unwrap_err();
    assert!(!message.starts_with("usage: "), "{message}");
    message
}

const RUN: &[&str] = &["replank", "run"];

/// What is added to `run` with these arguments after it.
fn with(rest: &[&str], fake: &Fake) -> Vec<String> {
    added(&[RUN, rest].concat(), fake)
}

#[test]
fn of_each_two_layers_the_stronger_decides() {
    for strong in 1..4 {
        for weak in 0..strong {
            let gives = |layer| layer == strong || layer == weak;
            let top = if gives(0) { "chunk-time = 100\n" } else { "" };
            let table = if gives(1) { "[run]\nchunk-time = 200\n" } else { "" };
            let mut fake = Fake::file(&format!("{top}{table}"));
            if gives(2) {
                fake = fake.variable("REPLANK_CHUNK_TIME", "300");
            }
            let line: &[&str] = if gives(3) { &["--chunk-time", "400"] } else { &[] };
            let expected: &[&str] = match strong {
                1 => &["--chunk-time=200"],
                2 => &["--chunk-time=300"],
                _ => &[],
            };
            assert_eq!(with(line, &fake), expected, "{strong} over {weak}");
        }
    }
}

#[test]
fn each_layer_adds_what_the_stronger_do_not_give() {
    let file = "peak = [\"a\", \"b\"]\nrows = 7\n[run]\npace = \"gentle\"\n[cleanup]\nold = true\n";
    let fake = Fake::file(file).variable("REPLANK_TABLE", "users").variable("REPLANK_NOSUCH", "1");
    let rest = ["--alter", "ADD c INT"];
    assert_eq!(with(&rest, &fake), ["--table=users", "--pace=gentle", "--peak=a", "--peak=b"]);
    assert_eq!(added(&["replank", "cleanup"], &fake), ["--table=users", "--old"]);
    assert_eq!(added(&["replank", "demo"], &fake), ["--rows=7"]);
    assert_eq!(list(RUN, &Fake::new()).unwrap(), RUN);
}

#[test]
fn a_flag_that_is_said_not_to_be_given_is_not() {
    let top = "drop-old = true\n";
    assert_eq!(with(&[], &Fake::file(top)), ["--drop-old"]);
    assert!(with(&[], &Fake::file("drop-old = false")).is_empty());
    assert!(with(&[], &Fake::file(&format!("{top}[run]\ndrop-old = false\n"))).is_empty());
    for word in ["0", "false", "No", "off"] {
        let fake = Fake::file(top).variable("REPLANK_DROP_OLD", word);
        assert!(with(&[], &fake).is_empty(), "{word}");
    }
    for word in ["1", "TRUE", "yes", "on"] {
        let fake = Fake::new().variable("REPLANK_DROP_OLD", word);
        assert_eq!(with(&[], &fake), ["--drop-old"], "{word}");
    }
    let message = refusal(RUN, &Fake::new().variable("REPLANK_DROP_OLD", "maybe"));
    assert!(message.contains("REPLANK_DROP_OLD"), "{message}");
    assert_eq!(with(&[], &Fake::file(top).variable("REPLANK_DROP_OLD", "")), ["--drop-old"]);
}

#[test]
fn a_count_takes_a_number_and_an_option_with_a_value_a_boolean() {
    assert_eq!(with(&[], &Fake::file("verbose = 2")), ["--verbose", "--verbose"]);
    assert_eq!(with(&[], &Fake::new().variable("REPLANK_VERBOSE", "2")).len(), 2);
    assert_eq!(with(&[], &Fake::file("stop-keeps = false")), ["--stop-keeps=false"]);
}

#[test]
fn repeatable_options_come_from_arrays_and_lines() {
    let fake = Fake::new().variable("REPLANK_PEAK", "Mon-Fri 08:00-20:00, or so\nSat\n");
    assert_eq!(with(&[], &fake), ["--peak=Mon-Fri 08:00-20:00, or so", "--peak=Sat"]);
    assert_eq!(with(&[], &Fake::file("peak = 'Sun'")), ["--peak=Sun"]);
    assert_eq!(with(&[], &Fake::file("peak = 2026-12-25")), ["--peak=2026-12-25"]);
    // A stronger layer replaces the whole list.
    let fake = Fake::file("peak = ['a', 'b']").variable("REPLANK_PEAK", "c");
    assert_eq!(with(&[], &fake), ["--peak=c"]);
    assert!(with(&["--peak=d"], &fake).is_empty());
}

#[test]
fn what_conflicts_with_a_stronger_layer_is_left_out() {
    let file = "drop-old = true\nexecute = true\n";
    assert_eq!(with(&["--keep-old"], &Fake::file(file)), ["--execute"]);
    assert_eq!(with(&["--dry-run"], &Fake::file(file)), ["--drop-old"]);
    let file = Fake::file("drop-old = true").variable("REPLANK_KEEP_OLD", "1");
    assert_eq!(with(&[], &file), ["--keep-old"]);
    let file = Fake::file("drop-old = true\n[run]\nkeep-old = true\n");
    assert_eq!(with(&[], &file), ["--keep-old"]);
    // Global options, and the one that says nothing of the other.
    let line = ["replank", "-v", "run"];
    assert!(added(&line, &Fake::file("quiet = true")).is_empty());
    assert!(with(&["-q"], &Fake::file("verbose = true")).is_empty());
    assert!(with(&["--drop-old"], &Fake::file("keep-old = true")).is_empty());
}

#[test]
fn a_conflict_inside_a_layer_is_refused_with_both_places() {
    let message = refusal(
        RUN,
        &Fake::file("drop-old = true\n[run]\npace = 'fast'\nalter = 'x'\n")
            .variable("REPLANK_KEEP_OLD", "1")
            .variable("REPLANK_DROP_OLD", "1"),
    );
    assert!(message.starts_with("REPLANK_KEEP_OLD and REPLANK_DROP_OLD: "), "{message}");
    let message = refusal(RUN, &Fake::file("drop-old = true\nkeep-old = true\n"));
    assert!(message.contains("./replank.toml: drop-old"), "{message}");
    assert!(message.contains("./replank.toml: keep-old"), "{message}");
    // What an option needs, the command line may give.
    let fake = Fake::file("[cleanup]\nat-once = true\n");
    assert_eq!(added(&["replank", "cleanup", "--old"], &fake), ["--at-once"]);
    let message = refusal(&["replank", "cleanup"], &fake);
    assert!(message.starts_with("./replank.toml: [cleanup] at-once: "), "{message}");
}

#[test]
fn what_the_command_line_needs_may_come_from_a_weaker_layer() {
    let line = ["replank", "cleanup", "--at-once"];
    assert_eq!(added(&line, &Fake::file("old = true")), ["--old"]);
    assert_eq!(added(&line, &Fake::new().variable("REPLANK_OLD", "1")), ["--old"]);
    for fake in [Fake::new(), Fake::file("table = 't'"), Fake::file("old = 1")] {
        let message = list(&line, &fake).unwrap_err();
        assert!(message.starts_with("usage: "), "{message}");
        assert!(message.contains("required arguments were not provided"), "{message}");
    }
}

#[test]
fn a_server_that_is_named_as_a_whole_takes_nothing_from_weaker_layers() {
    let file = "host = 'a'\nuser = 'b'\ntls-mode = 'required'\npassword-file = '/p'\ntable = 't'\n";
    let all = ["--host=a", "--password-file=/p", "--table=t", "--tls-mode=required", "--user=b"];
    assert_eq!(with(&[], &Fake::file(file)), all);
    assert_eq!(with(&["--dsn", "mysql://x@y/z"], &Fake::file(file)), ["--table=t"]);
    assert_eq!(with(&["h=y,D=z"], &Fake::file(file)), ["--table=t"]);
    // The file's table would be taken before the DSN's.
    assert!(with(&["h=y,D=z,t=u"], &Fake::file(file)).is_empty());
    let fake = Fake::file(file).variable("REPLANK_DSN", "mysql://x@y/z");
    assert_eq!(with(&[], &fake), ["--dsn=mysql://x@y/z", "--table=t"]);
    assert!(with(&["h=y,t=u"], &fake).is_empty());
    // The connection itself takes a host before a DSN.
    let fake = Fake::file("dsn = 'mysql://x@y/z'");
    assert_eq!(with(&["--host", "c"], &fake), ["--dsn=mysql://x@y/z"]);
}

#[test]
fn a_statement_replaces_clauses_and_table() {
    let fake = Fake::file("host = 'h'\ntable = 't'\nalter = 'ADD c INT'\n");
    assert_eq!(with(&["ALTER TABLE u ADD d INT"], &fake), ["--host=h"]);
    assert_eq!(with(&["--alter", "ADD d INT"], &fake), ["--host=h", "--table=t"]);
}

#[test]
fn what_the_connection_would_refuse_at_one_strength_is_left_out() {
    let socket = Fake::file("socket = '/s'");
    assert!(with(&["--host", "db"], &socket).is_empty());
    assert!(with(&["--port", "3307"], &socket).is_empty());
    assert_eq!(with(&["--host", "localhost"], &socket), ["--socket=/s"]);
    let address = Fake::file("host = 'db'\nport = 3307\n");
    assert!(with(&["--socket", "/s"], &address).is_empty());
    assert_eq!(with(&["--host", "other"], &address), ["--port=3307"]);
    assert!(with(&["--ask-password"], &Fake::file("password-file = '/p'")).is_empty());
}

#[test]
fn the_password_variables_keep_their_meaning() {
    let file = || Fake::file("password = 'hunter2'");
    assert_eq!(with(&[], &file()), ["--password=hunter2"]);
    assert!(with(&[], &file().variable("REPLANK_PASSWORD", "x")).is_empty());
    assert!(with(&[], &file().variable("MYSQL_PWD", "x")).is_empty());
    let own = Fake::new().variable("REPLANK_PASSWORD_FILE", "/p");
    assert_eq!(with(&[], &own), ["--password-file=/p"]);
    let both = Fake::new().variable("REPLANK_PASSWORD_FILE", "/p").variable("MYSQL_PWD", "x");
    assert_eq!(with(&[], &both), ["--password-file=/p"]);
    assert!(with(&[], &own.variable("REPLANK_PASSWORD", "x")).is_empty());
    let dsn = Fake::file("dsn = 'mysql://a:hunter2@h/d'");
    assert_eq!(with(&[], &dsn), ["--dsn=mysql://a:hunter2@h/d"]);
    let dsn = dsn.variable("REPLANK_PASSWORD", "x");
    assert_eq!(with(&[], &dsn), ["--dsn=mysql://a@h/d"]);
}

#[test]
fn a_variable_that_clap_reads_is_stronger_than_the_file() {
    assert!(added(&["replank", "demo"], &Fake::file("mysqld = '/m'")).is_empty());
}

#[test]
fn a_wrong_value_is_refused_with_its_place() {
    let message = refusal(RUN, &Fake::file("pace = 'fats'"));
    assert!(message.starts_with("./replank.toml: pace: invalid value 'fats'"), "{message}");
    assert!(message.contains("[possible values: gentle, balanced, fast]"), "{message}");
    let message = refusal(RUN, &Fake::file("[run]\nchunk-time = 5\n"));
    assert!(message.starts_with("./replank.toml: [run] chunk-time: invalid value"), "{message}");
    let message = refusal(RUN, &Fake::new().variable("REPLANK_CHUNK_TIME", "soon"));
    assert!(message.starts_with("REPLANK_CHUNK_TIME: invalid value 'soon'"), "{message}");
    // One that is not used is no hindrance.
    assert!(with(&["--pace=fast"], &Fake::file("pace = 'fats'")).is_empty());
}

#[test]
fn no_message_shows_a_password() {
    let wrong = [
        "password = ['hunter2']",
        "password = 'hunter2",
        "password = hunter2",
        "pasword = 'hunter2'",
        "password-file = ['hunter2']",
        "dsn = { url = 'hunter2' }",
        "replica = [['hunter2']]",
        "password = 'hunter2'\nkeep-old = true\ndrop-old = true\n",
        "password = 'hunter2'\npace = 'x'\n",
    ];
    for text in wrong {
        let message = refusal(RUN, &Fake::file(text));
        assert!(!message.contains("hunter2"), "{message}");
        let message = refusal(RUN, &Fake::new().at("./replank.toml", text, 0o644));
        assert!(!message.contains("hunter2"), "{message}");
    }
    for name in ["REPLANK_DSN", "REPLANK_REPLICA"] {
        let fake = Fake::new().variable(name, "hunter2").variable("REPLANK_PACE", "x");
        let message = refusal(RUN, &fake);
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn options_may_come_before_the_command() {
    let fake = Fake::file("drop-old = true").at("run", "keep-old = true", 0o644);
    assert_eq!(added(&["replank", "-v", "run"], &fake), ["--drop-old"]);
    for config in [&["--config", "run"][..], &["--config=run"][..]] {
        let line = [&["replank", "-v"][..], config, &["run", "--alter", "run"]].concat();
        let list = list(&line, &fake).unwrap();
        let at = line.len() - 3;
        assert_eq!(list[at..], ["run", "--keep-old", "--alter", "run"], "{line:?}");
    }
    // After it as well, and by a variable.
    assert_eq!(with(&["--config", "run"], &fake), ["--keep-old"]);
    assert_eq!(with(&[], &fake.variable("REPLANK_CONFIG", "run")), ["--keep-old"]);
}

#[test]
fn help_version_and_usage_errors_are_claps_own() {
    let fake = Fake::file("nonsense").variable("REPLANK_DROP_OLD", "maybe");
    for (line, kind) in [
        (&["replank", "--help"][..], ErrorKind::DisplayHelp),
        (&["replank", "run", "--help"][..], ErrorKind::DisplayHelp),
        (&["replank", "help", "run"][..], ErrorKind::DisplayHelp),
        (&["replank", "--version"][..], ErrorKind::DisplayVersion),
        (&["replank", "run", "--nosuch"][..], ErrorKind::UnknownArgument),
        (&["replank"][..], ErrorKind::MissingSubcommand),
    ] {
        let arguments = line.iter().map(OsString::from).collect();
        match layered(command(), arguments, &fake) {
            Err(LayerError::Usage(error)) => assert_eq!(error.kind(), kind, "{line:?}"),
            other => panic!("{line:?}: {other:?}"),
        }
    }
    let line = ["replank", "config", "check"];
    assert_eq!(list(&line, &fake).unwrap(), line);
}

#[test]
fn the_rules_are_about_options_that_replank_has() {
    let model = model(super::super::Cli::command());
    let run = model.find_subcommand("run").unwrap();
    let heading = |wanted: &str| {
        let (_, arg) = options(run).find(|(name, _)| *name == wanted).unwrap();
        arg.get_help_heading()
    };
    for name in ["dsn", "host", "port", "socket"].into_iter().chain(PASSWORD) {
        assert_eq!(heading(name), Some(CONNECTION), "{name}");
    }
    assert_eq!((heading("table"), heading("alter")), (None, None));
    // No other option's variable has a meaning of its own.
    for (name, _) in commands(&model).flat_map(options) {
        let reserved = RESERVED.contains(&variable(name).as_str());
        assert_eq!(reserved, ["password", "mysqld"].contains(&name), "{name}");
    }
    let fake = Fake::file("drop-old = true\nchunk-time = 100\nhost = 'db'\n");
    let line = ["replank", "run", "--keep-old"].map(OsString::from).to_vec();
    let list = layered(super::super::Cli::command(), line, &fake).unwrap();
    assert_eq!(list, ["replank", "run", "--chunk-time=100", "--host=db", "--keep-old"]);
}

#[test]
fn a_password_is_found_in_a_url() {
    let cut = |text: &str| password_in_url(text).map(|range| text[range].to_owned());
    assert_eq!(cut("mysql://a:b@h:1/d").as_deref(), Some(":b"));
    assert_eq!(cut("mysql://a:b:c@d@[::1]/d").as_deref(), Some(":b:c@d"));
    for none in ["mysql://a@h:1/d", "mysql://h:1", "h=a", "http://h/a:b@c"] {
        assert_eq!(cut(none), None, "{none}");
    }
}
