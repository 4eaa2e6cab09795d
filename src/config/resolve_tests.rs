//! Stories about sources that meet: precedence, contradictions, defaults, secrecy.

use std::path::PathBuf;

use clap::Parser;

use super::env::fake::FakeEnv;
use super::{Connection, ConnectionArgs, Endpoint, PtDsn, Resolved, TlsMode};
use crate::error::{Kind, Result};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Resolves a command line; a word with `=` that is no flag is the positional DSN.
fn resolve(line: &str, env: &FakeEnv) -> Result<Resolved> {
    let (pt, flags): (Vec<&str>, Vec<&str>) =
        line.split_whitespace().partition(|word| word.chars().nth(1) == Some('='));
    let cli = Cli::try_parse_from(["x"].into_iter().chain(flags)).unwrap();
    let pt = pt.first().map(|dsn| PtDsn::parse(dsn)).transpose()?;
    cli.connection.resolve(pt.as_ref(), env)
}

fn connection(line: &str, env: &FakeEnv) -> Connection {
    resolve(line, env).unwrap().connection
}

fn display(line: &str, env: &FakeEnv) -> String {
    connection(line, env).display()
}

fn password(line: &str, env: &FakeEnv) -> Option<String> {
    connection(line, env).password.map(|secret| secret.expose().to_owned())
}

fn refusal(line: &str, env: &FakeEnv) -> String {
    let error = resolve(line, env).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.next_step().is_some(), "{error}");
    error.to_string()
}

fn with_my_cnf(client: &str) -> FakeEnv {
    FakeEnv::new().with_file("/home/ann/.my.cnf", format!("[client]\n{client}\n"))
}

#[test]
fn with_nothing_given_the_defaults_apply() {
    let resolved = resolve("", &FakeEnv::new()).unwrap();
    assert_eq!(resolved.connection.display(), "ann@127.0.0.1:3306");
    assert_eq!(resolved.connection.password, None);
    assert_eq!(resolved.connection.tls.mode, TlsMode::Preferred);
    assert!(resolved.warnings.is_empty() && resolved.table.is_none());
}

#[test]
fn the_user_name_falls_back_to_the_login_and_is_required() {
    let nobody = FakeEnv::new().without_var("USER");
    assert!(refusal("", &nobody).contains("user name"));
    assert_eq!(display("--user bob", &nobody), "bob@127.0.0.1:3306");
    assert_eq!(display("", &nobody.with_var("LOGNAME", "cid")), "cid@127.0.0.1:3306");
}

#[test]
fn every_setting_comes_from_the_strongest_source_that_gives_it() {
    let env = with_my_cnf("host=file\nport=1\nuser=file\ndatabase=file\nssl-mode=REQUIRED");
    assert_eq!(display("", &env), "file@file:1/file");
    assert_eq!(display("--dsn mysql://dsn:2/dsn", &env), "file@dsn:2/dsn");
    assert_eq!(display("h=pt,u=pt", &env), "pt@pt:1/file");
    assert_eq!(display("--host flag --dsn mysql://u@dsn:2", &env), "u@flag:2/file");
    assert_eq!(display("--database flag h=pt,D=pt", &env), "file@pt:1/flag");
    assert_eq!(connection("", &env).tls.mode, TlsMode::Required);
    assert_eq!(connection("--tls-mode disabled", &env).tls.mode, TlsMode::Disabled);
    let dsn = "--dsn mysql://h/?tls-mode=verify-identity";
    assert_eq!(connection(dsn, &env).tls.mode, TlsMode::VerifyIdentity);
}

#[test]
fn the_password_follows_the_same_order() {
    let file = with_my_cnf("password=file");
    assert_eq!(password("", &file).as_deref(), Some("file"));
    let env = file.with_var("MYSQL_PWD", "env").with_file("/pw", "from-file\n");
    assert_eq!(password("", &env).as_deref(), Some("env"));
    assert_eq!(password("--dsn mysql://u:dsn@h", &env).as_deref(), Some("dsn"));
    assert_eq!(password("u=u,p=pt", &env).as_deref(), Some("pt"));
    assert_eq!(password("p=pt --password-file /pw", &env).as_deref(), Some("from-file"));
    assert_eq!(password("p=pt --password flag", &env).as_deref(), Some("flag"));
    let own = FakeEnv::new().with_var("REPLANK_PASSWORD", "own").with_var("MYSQL_PWD", "");
    assert_eq!(password("", &own).as_deref(), Some("own"));
}

#[test]
fn contradictions_of_one_strength_are_refused_by_both_names() {
    let env = FakeEnv::new().with_file("/pw", "one").answering("asked");
    let both = |line: &str, a: &str, b: &str| {
        let message = refusal(line, &env);
        assert!(message.contains(a) && message.contains(b), "{message}");
    };
    both("--dsn mysql://db1 h=db2", "--dsn", "h= of the positional DSN");
    both("--password two --password-file /pw", "--password ", "--password-file");
    both("--password two --ask-password", "--password ", "--ask-password");
    both("--host db1 --socket /s", "--host", "--socket");
    both("--port 3307 --socket /s", "--port", "--socket");
    both("h=db1,S=/s", "h= of", "S= of");
    assert_eq!(password("--password one --password-file /pw", &env).as_deref(), Some("one"));
    assert_eq!(display("--dsn mysql://db1 h=db1,t=x", &env), "ann@db1:3306");

    let variables = FakeEnv::new().with_var("REPLANK_PASSWORD", "a").with_var("MYSQL_PWD", "b");
    let message = refusal("", &variables);
    assert!(message.contains("REPLANK_PASSWORD and MYSQL_PWD"), "{message}");
    assert_eq!(password("--password flag", &variables).as_deref(), Some("flag"));
}

#[test]
fn localhost_means_the_socket_if_there_is_one_and_no_port() {
    let none = FakeEnv::new();
    assert_eq!(display("--host localhost", &none), "ann@127.0.0.1:3306");
    assert_eq!(display("--host LOCALHOST --port 3307", &none), "ann@127.0.0.1:3307");
    assert_eq!(display("--host localhost --socket /s", &none), "ann@unix(/s)");
    assert_eq!(display("--socket /s --database d", &none), "ann@unix(/s)/d");
    let usual = with_my_cnf("port=3306\nsocket=/s");
    assert_eq!(display("", &usual), "ann@unix(/s)");
    assert_eq!(display("--host localhost", &usual), "ann@unix(/s)");
    assert_eq!(display("--port 3307", &usual), "ann@127.0.0.1:3307");
    assert_eq!(display("--host 127.0.0.1", &usual), "ann@127.0.0.1:3306");
    assert_eq!(display("--host db1", &usual), "ann@db1:3306");
    assert_eq!(display("--host db1", &with_my_cnf("socket=/s\nport=3310")), "ann@db1:3310");
    assert_eq!(display("", &with_my_cnf("socket=/s\nhost=db1")), "ann@db1:3306");
    assert_eq!(display("--socket /t", &with_my_cnf("host=db1\nport=1")), "ann@unix(/t)");
    let socket = connection("S=/t,h=localhost", &none).endpoint;
    assert_eq!(socket, Endpoint::Socket(PathBuf::from("/t")));
}

#[test]
fn a_host_is_a_name_or_an_address_without_port() {
    let env = FakeEnv::new();
    assert_eq!(display("--host [::1]", &env), "ann@[::1]:3306");
    assert_eq!(display("--host fe80::1%eth0 --port 1", &env), "ann@[fe80::1%eth0]:1");
    for bad in ["db1:3307", "ann@db1", "/run/s.sock", "[db1]", "db1/x"] {
        assert!(refusal(&format!("--host {bad}"), &env).contains("--host"), "{bad}");
    }
    for flag in ["--host=", "--user=", "--database="] {
        let message = refusal(flag, &env);
        assert!(message.contains(flag.trim_end_matches('=')), "{message}");
    }
}

#[test]
fn a_named_option_file_replaces_the_users_own_and_must_exist() {
    let env = with_my_cnf("host=own").with_file("/f.cnf", "[client]\nhost=named");
    assert_eq!(display("--defaults-file /f.cnf", &env), "ann@named:3306");
    assert_eq!(display("F=/f.cnf", &env), "ann@named:3306");
    assert_eq!(display("--defaults-file /f.cnf F=/missing", &env), "ann@named:3306");
    assert!(refusal("--defaults-file /missing", &env).contains("--defaults-file"));
    assert!(refusal("F=/missing", &env).contains("F= of the positional DSN"));
    assert_eq!(display("", &env.without_var("HOME")), "ann@127.0.0.1:3306");
}

#[test]
fn the_password_is_asked_for_once_everything_else_is_known() {
    let env = with_my_cnf("host=db1\npassword").answering("typed");
    assert_eq!(password("", &env).as_deref(), Some("typed"));
    assert_eq!(*env.prompts.borrow(), ["Password for ann@db1:3306: "]);
    assert_eq!(password("--password flag", &env).as_deref(), Some("flag"));
    assert_eq!(env.prompts.borrow().len(), 1);
    assert!(refusal("--ask-password", &FakeEnv::new()).contains("--ask-password"));
}

#[test]
fn a_password_file_holds_one_line_and_is_private() {
    let env = FakeEnv::new()
        .with_file("/dos", "a b \r\n")
        .with_file("/bare", "x")
        .with_file("/empty", "\n")
        .with_file("/two", "hunter2\nb\n")
        .with_file("/latin1", b"hunter2\xe9")
        .with_file_mode("/open", "x", 0o644)
        .with_file_mode("/group", "x", 0o640);
    assert_eq!(password("--password-file /dos", &env).as_deref(), Some("a b "));
    assert_eq!(password("--password-file /bare", &env).as_deref(), Some("x"));
    for bad in ["/empty", "/two", "/latin1", "/missing"] {
        let message = refusal(&format!("--password-file {bad}"), &env);
        assert!(message.contains("--password-file") && message.contains(bad), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    let warnings = |path| resolve(&format!("--password-file {path}"), &env).unwrap().warnings;
    assert!(warnings("/open")[0].contains("everyone can read /open"));
    assert!(warnings("/group").is_empty() && warnings("/bare").is_empty());
}

#[test]
fn a_password_on_the_command_line_works_and_is_warned_about() {
    for (line, name) in [
        ("--password hunter2", "--password is visible"),
        ("--dsn mysql://u:hunter2@h", "the password in --dsn is visible"),
        ("h=h,p=hunter2", "the password in p= of the positional DSN is visible"),
    ] {
        let resolved = resolve(line, &FakeEnv::new()).unwrap();
        assert_eq!(resolved.connection.password.as_ref().unwrap().expose(), "hunter2");
        assert!(resolved.warnings[0].contains(name), "{:?}", resolved.warnings);
        assert!(!format!("{resolved:?}").contains("hunter2"));
        assert!(!resolved.connection.display().contains("hunter2"));
    }
}

#[test]
fn an_authority_file_is_checked_unless_the_mode_says_otherwise() {
    let env = with_my_cnf("ssl-ca=/ca.pem");
    assert_eq!(connection("", &env).tls.mode, TlsMode::VerifyCa);
    let resolved = resolve("--tls-mode required", &env).unwrap();
    assert_eq!(resolved.connection.tls.mode, TlsMode::Required);
    assert!(resolved.warnings[0].contains("ssl-ca in /home/ann/.my.cnf line 2 has no effect"));
    let message = refusal("--tls-cert /c.pem", &env);
    assert!(message.contains("--tls-cert needs --tls-key"), "{message}");
    let tls = connection("--tls-cert /c.pem --tls-key /k.pem", &env).tls;
    assert_eq!((tls.cert, tls.key), (Some("/c.pem".into()), Some("/k.pem".into())));
}

#[test]
fn the_table_of_a_positional_dsn_is_handed_on() {
    let resolved = resolve("D=shop,t=orders", &FakeEnv::new()).unwrap();
    assert_eq!(resolved.table.as_deref(), Some("orders"));
    assert_eq!(resolved.connection.display(), "ann@127.0.0.1:3306/shop");
}
