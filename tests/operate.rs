//! Operating a run by the command: estimating it, steering it from another terminal, the configuration file, what the
//! help says.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use common::{Database, server};
use mysql_async::prelude::Queryable;
use serde_json::Value;

/// The command on the binary's server, with sockets in a folder of the test's own.
fn replank(folder: &Path, arguments: &[&str], database: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replank"));
    command
        .args(arguments)
        .args(["--host", "127.0.0.1", "--port", &server().port().to_string(), "--user", "root"])
        .args(["--database", database])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("XDG_RUNTIME_DIR", folder)
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

async fn table(name: &str, rows: u64) -> Database {
    let db = Database::new(name).await;
    db.sql(&[
        "CREATE TABLE users (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(300), KEY (name(20)))",
        &format!(
            "INSERT INTO users (name) WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s \
             WHERE n < {rows}) SELECT /*+ SET_VAR(cte_max_recursion_depth = 1000000) */ \
             CONCAT(n, REPEAT('x', 200)) FROM s"
        ),
        "ANALYZE TABLE users",
    ])
    .await;
    db
}

const ALTER: [&str; 4] =
    ["--table", "users", "--alter", "ADD COLUMN phone VARCHAR(20), ENGINE = InnoDB"];

/// A run that takes at least ten seconds, after its first chunk.
async fn run(folder: &Path, db: &Database, database: &str, more: &[&str]) -> Child {
    let slow = ["--chunk-time", "10", "--max-rows-per-sec", "20000"];
    let arguments = [&["run"][..], &ALTER, &slow, more].concat();
    let child = replank(folder, &arguments, database)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    has_rows(db, "_users_replank_state WHERE kind = 2").await;
    child
}

/// Waits until a table that may not exist yet has rows.
async fn has_rows(db: &Database, table: &str) {
    let mut conn = db.conn().await;
    let mut ticker = tokio::time::interval(Duration::from_millis(5));
    loop {
        ticker.tick().await;
        let rows: Result<Option<i64>, _> =
            conn.query_first(format!("SELECT COUNT(*) FROM {table}")).await;
        if rows.is_ok_and(|rows| rows.unwrap_or(0) > 0) {
            return;
        }
    }
}

fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), text(&output.stderr))
}

async fn tables(db: &Database) -> Vec<String> {
    db.fingerprint().await.into_iter().map(|(name, ..)| name).collect()
}

#[tokio::test]
async fn a_plan_measures_a_sample_and_leaves_nothing() {
    let db = table("op_plan", 400_000).await;
    let before = db.fingerprint().await;
    let folder = tempfile::tempdir().expect("a folder");
    let plan = |more: &[&str]| {
        let arguments = [&["plan", "--output", "json"][..], &ALTER, more].concat();
        json(&replank(folder.path(), &arguments, "op_plan").output().expect("it runs"))
    };
    let measured = plan(&[
        "--sample-time",
        "15s",
        "--exact",
        "--peak",
        "00:00-24:00 UTC",
        "--peak-pace",
        "100",
    ]);
    assert_eq!((&measured["rows"], &measured["rows_are_exact"]), (&400_000.into(), &true.into()));
    assert_eq!(measured["method"], "in place", "{measured}");
    let sample = &measured["sample"];
    assert_eq!(sample["spread"], true, "{sample}");
    let rows = sample["rows"].as_u64().expect("a number");
    assert!((1_000..=400_000).contains(&rows), "{sample}");
    let estimate = &measured["estimate"];
    let seconds = |name: &str| estimate[name].as_f64().expect("seconds");
    assert!(seconds("copy_seconds") > 0.1 && seconds("verify_seconds") > 0.1, "{estimate}");
    assert!(seconds("index_seconds") > 0.01, "{estimate}");
    assert!(
        seconds("seconds_low") < seconds("seconds") && seconds("seconds") < seconds("seconds_high")
    );
    assert!(measured["course"]["done"].is_string(), "a peak at 100 rows/s ends too: {measured}");
    assert!(measured["new_bytes"].as_u64() > Some(50_000_000), "{measured}");
    assert!(measured["free_bytes"].as_u64() > Some(0), "the server is on this machine: {measured}");

    let quick = plan(&["--no-sample"]);
    assert!(quick["estimate"].is_null() && quick["sample"].is_null(), "{quick}");
    assert_eq!(db.fingerprint().await, before);

    for (clauses, method) in [
        ("ADD COLUMN c INT", "instant"),
        ("MODIFY name VARCHAR(500) NOT NULL, ALGORITHM = COPY", "unknown"),
        ("MODIFY id BIGINT AUTO_INCREMENT, ADD COLUMN c INT", "rebuild"),
    ] {
        let arguments =
            ["plan", "--no-sample", "--output", "json", "--table", "users", "--alter", clauses];
        let output = replank(folder.path(), &arguments, "op_plan").output().expect("it runs");
        if method == "unknown" && output.status.code() == Some(2) {
            continue;
        }
        assert_eq!(json(&output)["method"], method, "{clauses}");
    }
    assert_eq!(db.fingerprint().await, before);
}

#[tokio::test]
async fn a_plan_that_is_interrupted_leaves_nothing() {
    let db = table("op_plan_stop", 200_000).await;
    let before = db.fingerprint().await;
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = [&["plan", "--max-rows-per-sec", "1000"][..], &ALTER].concat();
    let child = replank(folder.path(), &arguments, "op_plan_stop")
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    has_rows(&db, "_users_replank_new").await;
    let killed =
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    let (code, said) = ended(child);
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(db.fingerprint().await, before);
}

#[tokio::test]
async fn a_run_is_steered_from_another_terminal_and_from_another_machine() {
    let db = table("op_steer", 200_000).await;
    let (here, elsewhere) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let child = run(here.path(), &db, "op_steer", &["--postpone-cut-over"]).await;
    let steer = |folder: &Path, arguments: &[&str]| {
        let arguments = [arguments, &["--table", "users"]].concat();
        replank(folder, &arguments, "op_steer").output().expect("it runs")
    };
    let paused = steer(here.path(), &["pause"]);
    assert!(text(&paused.stdout).contains("No chunk is begun"), "{}", text(&paused.stderr));
    let status = steer(here.path(), &["status"]);
    let said = text(&status.stdout);
    for words in ["state      running", "now        copy", "held       by operator", "server     "]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    // From where there is no socket.
    let set = steer(elsewhere.path(), &["set", "max-rows-per-sec=none", "chunk-time=100"]);
    assert_eq!(set.status.code(), Some(0), "{}", text(&set.stderr));
    let wrong = steer(elsewhere.path(), &["set", "chunk-time=1"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("chunk-time cannot be 1"), "{}", text(&wrong.stderr));
    assert_eq!(steer(elsewhere.path(), &["pace", "fast"]).status.code(), Some(0));
    assert_eq!(steer(elsewhere.path(), &["resume"]).status.code(), Some(0));
    assert_eq!(steer(here.path(), &["cut-over"]).status.code(), Some(0));
    let (code, said) = ended(child);
    assert_eq!(code, Some(0), "{said}");
    let nobody = steer(here.path(), &["pause"]);
    assert_eq!(nobody.status.code(), Some(2));
    assert!(text(&nobody.stderr).contains("there is no run on"), "{}", text(&nobody.stderr));
}

#[tokio::test]
async fn an_abort_of_a_run_that_goes_on_asks_for_the_tables_name() {
    let db = table("op_abort", 200_000).await;
    let before = db.fingerprint().await;
    let folder = tempfile::tempdir().expect("a folder");
    let child = run(folder.path(), &db, "op_abort", &[]).await;
    let abort = |more: &[&str]| {
        let arguments = [&["abort", "--table", "users"][..], more].concat();
        replank(folder.path(), &arguments, "op_abort").output().expect("it runs")
    };
    let unsure = abort(&[]);
    assert_eq!(unsure.status.code(), Some(2));
    assert!(text(&unsure.stderr).contains("--confirm users"), "{}", text(&unsure.stderr));
    assert_eq!(abort(&["--confirm", "orders"]).status.code(), Some(2));
    assert!(tables(&db).await.contains(&"_users_replank_new".to_owned()), "it goes on");
    let sure = abort(&["--confirm", "users"]);
    assert_eq!(sure.status.code(), Some(0), "{}", text(&sure.stderr));
    assert_eq!(ended(child).0, Some(130));
    assert_eq!(db.fingerprint().await, before);
}

#[tokio::test]
async fn options_come_from_the_file_the_environment_and_the_command_line() {
    let db = table("op_config", 2_000).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("replank.toml");
    let hold = folder.path().join("hold");
    std::fs::write(
        &file,
        format!(
            "throttle-file = {:?}\npeak = [\"Mon-Fri 08:00-20:00 Europe/Berlin\"]\n[run]\ndrop-old = true\nworkers = 1\n",
            hold.display().to_string()
        ),
    )
    .expect("written");
    let checked = Command::new(env!("CARGO_BIN_EXE_replank"))
        .args(["config", "check", "--config"])
        .arg(&file)
        .output()
        .expect("it runs");
    let said = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    assert!(said.contains("run: workers = 1") && said.contains("is right"), "{said}");

    std::fs::write(&file, "[run]\ndrop-old = true\nworkers = 1\npace = \"fast\"\n")
        .expect("written");
    let arguments = [&["run"][..], &ALTER].concat();
    let done = replank(folder.path(), &arguments, "op_config")
        .env("REPLANK_DROP_OLD", "false")
        .output()
        .expect("it runs");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert_eq!(tables(&db).await, ["_users_replank_old", "users"], "the environment is stronger");
    db.sql(&["DROP TABLE _users_replank_old"]).await;
    let done = replank(
        folder.path(),
        &["run", "--table", "users", "--alter", "DROP COLUMN phone"],
        "op_config",
    )
    .output()
    .expect("it runs");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert_eq!(tables(&db).await, ["users"], "the file says so");

    std::fs::write(&file, "[run]\nworkrs = 1\n").expect("written");
    let wrong = replank(folder.path(), &arguments, "op_config").output().expect("it runs");
    let said = text(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(2), "{said}");
    assert!(
        said.contains("replank.toml") && said.contains("workrs") && said.contains("workers"),
        "{said}"
    );

    std::fs::write(&file, "password = \"hunter2\"\n").expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("mode");
    let open = replank(folder.path(), &arguments, "op_config").output().expect("it runs");
    assert_eq!(open.status.code(), Some(2));
    assert!(!text(&open.stderr).contains("hunter2"), "{}", text(&open.stderr));
}

#[test]
fn wrong_options_of_operation_are_told_with_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    for (option, value) in [
        ("--peak", "Caturday 08:00-20:00"),
        ("--max-load", "Threads_running"),
        ("--max-lag", "soon"),
        ("--min-free-disk", "much"),
        ("--throttle-http", "gopher://x"),
        ("--replica", "u=bob"),
        ("--hooks", "/nowhere/at/all"),
        ("--holiday", "2026-02-30"),
        ("--only-within", "22:00-22:00"),
    ] {
        let arguments = [&["run"][..], &ALTER, &[option, value]].concat();
        let wrong = replank(folder.path(), &arguments, "mysql").output().expect("it runs");
        let said = text(&wrong.stderr);
        assert_eq!(wrong.status.code(), Some(2), "{option}: {said}");
        assert!(said.contains(option), "{option}: {said}");
    }
}

#[test]
fn every_option_of_the_help_is_in_the_guide() {
    let guide: String = ["guide.md", "moving.md", "managed.md"]
        .iter()
        .filter_map(|name| std::fs::read_to_string(Path::new("docs").join(name)).ok())
        .collect();
    let help = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_replank"))
            .args(arguments)
            .arg("--help")
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{arguments:?}");
        text(&output.stdout)
    };
    let all = help(&[]);
    let commands: Vec<&str> = all
        .split("Commands:")
        .nth(1)
        .and_then(|rest| rest.split("Options:").next())
        .expect("a list of commands")
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() > 12, "{commands:?}");
    let mut missing = Vec::new();
    for command in &commands {
        if !guide.contains(&format!("replank {command}")) {
            missing.push(format!("replank {command}"));
        }
        for line in help(&[command]).lines() {
            let line = line.trim_start();
            let option = line.split_whitespace().find(|word| word.starts_with("--"));
            let Some(option) = option.filter(|_| line.starts_with('-')) else { continue };
            let option: String =
                option.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            if !guide.contains(&format!("`{option}")) && !guide.contains(&format!(" {option}")) {
                missing.push(format!("{command}: {option}"));
            }
        }
    }
    assert!(missing.is_empty(), "the guide lacks {missing:#?}");
}

#[test]
fn completions_and_manual_pages_are_made_from_the_arguments() {
    for shell in ["bash", "zsh", "fish"] {
        let made = Command::new(env!("CARGO_BIN_EXE_replank"))
            .args(["completions", shell])
            .output()
            .expect("it runs");
        assert!(text(&made.stdout).contains("throttle-query"), "{shell}");
    }
    let man = Command::new(env!("CARGO_BIN_EXE_replank")).arg("man").output().expect("it runs");
    let page = text(&man.stdout);
    assert!(
        page.contains(".TH replank") && page.contains("replank\\-run")
            || page.contains("replank-run"),
        "{page:.400}"
    );
}
