//! The command as an operator meets it: exit codes, streams, interruption, clean-up.

mod common;

use std::process::{Command, Output, Stdio};

use common::{Database, server};
use mysql_async::prelude::Queryable;

/// The command with a connection to the binary's server, and no password file of the user's.
fn replank(arguments: &[&str], database: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replank"));
    command
        .args(&arguments[..1])
        .args(["--host", "127.0.0.1", "--port", &server().port().to_string(), "--user", "root"])
        .args(["--database", database])
        .args(&arguments[1..])
        .env_remove("REPLANK_PASSWORD")
        .env_remove("MYSQL_PWD")
        .env_remove("RUST_LOG")
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null());
    command
}

fn output(arguments: &[&str], database: &str) -> Output {
    replank(arguments, database).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn small(name: &str) -> Database {
    let db = Database::new(name).await;
    db.sql(&[
        "CREATE TABLE users (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(30))",
        "INSERT INTO users (name) VALUES ('a'), ('b'), ('c')",
    ])
    .await;
    db
}

/// A table that takes a while to copy.
async fn large(name: &str) -> Database {
    let db = Database::new(name).await;
    db.sql(&[
        "CREATE TABLE users (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(300))",
        "INSERT INTO users (name) WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100000) SELECT /*+ SET_VAR(cte_max_recursion_depth = 1000000) */ REPEAT('x', 250) FROM s",
    ])
    .await;
    db
}

/// A run on that table, in small steps.
fn slow_run(database: &str) -> Command {
    let steps = ["--chunk-time", "10", "--workers", "1"];
    replank(&[&["run", "--table", "users", "--alter", "ADD c INT"][..], &steps].concat(), database)
}

async fn tables(db: &Database) -> Vec<String> {
    db.fingerprint().await.into_iter().map(|(name, ..)| name).collect()
}

#[tokio::test]
async fn run_prints_its_result_to_stdout_and_its_log_to_stderr() {
    let db = small("cli_run").await;
    let done = output(
        &["run", "--table", "users", "--alter", "ADD COLUMN phone VARCHAR(20)", "--execute"],
        "cli_run",
    );
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("has its new structure"));
    assert!(text(&done.stderr).contains("cut-over"));
    assert_eq!(tables(&db).await, ["_users_replank_old", "users"]);

    let whole = output(
        &[
            "run",
            "ALTER TABLE users ADD COLUMN fax VARCHAR(20);",
            "--output",
            "json",
            "--drop-old",
            "-q",
        ],
        "cli_run",
    );
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stderr));
    let document: serde_json::Value = serde_json::from_slice(&whole.stdout).expect("JSON");
    assert_eq!(document["result"], "done");
    assert_eq!(document["rows_copied"], 3);
    assert_eq!(text(&whole.stderr), "", "-q is quiet");
    assert_eq!(tables(&db).await, ["_users_replank_old", "users"]);

    let cleaned = output(&["cleanup", "--table", "users", "--old"], "cli_run");
    assert!(text(&cleaned.stdout).contains("_users_replank_old"));
    assert_eq!(tables(&db).await, ["users"]);
}

#[tokio::test]
async fn plan_and_dry_run_leave_everything_as_it_was() {
    let db = small("cli_plan").await;
    let before = db.fingerprint().await;
    for arguments in [
        &["plan", "--table", "users", "--alter", "DROP COLUMN name"][..],
        &["run", "--dry-run", "ALTER TABLE cli_plan.users DROP COLUMN name"],
    ] {
        let planned = output(arguments, "cli_plan");
        assert_eq!(planned.status.code(), Some(0), "{}", text(&planned.stderr));
        let said = text(&planned.stdout);
        assert!(
            said.contains("_users_replank_new") && said.contains("`name` will be gone"),
            "{said}"
        );
    }
    assert_eq!(db.fingerprint().await, before);
}

#[tokio::test]
async fn what_is_wrong_is_told_with_exit_code_2() {
    small("cli_wrong").await;
    for (arguments, word) in [
        (&["run", "--table", "users"][..], "--alter"),
        (&["run", "--alter", "ADD c INT"], "--table"),
        (&["run", "DROP TABLE users"], "ALTER TABLE"),
        (&["run", "--table", "nobody", "--alter", "ADD c INT"], "nobody"),
        (&["run", "--table", "users", "--alter", "ADD c INT", "--lock-wait", "0"], "--lock-wait"),
        (
            &["run", "--table", "users", "--alter", "ADD c INT", "--chunk-time", "soon"],
            "--chunk-time",
        ),
        (&["run", "--no-verify", "ALTER TABLE users ADD c INT"], "--no-verify"),
    ] {
        let refused = output(arguments, "cli_wrong");
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains(word), "{word}: {}", text(&refused.stderr));
        assert_eq!(text(&refused.stdout), "");
    }
    let json = output(
        &["run", "--table", "nobody", "--alter", "ADD c INT", "--output", "json"],
        "cli_wrong",
    );
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(document["result"], "refused");
}

#[tokio::test]
async fn a_password_on_the_command_line_is_warned_about_and_never_shown() {
    let db = small("cli_password").await;
    db.sql(&[
        "DROP USER IF EXISTS keeper@localhost",
        "CREATE USER keeper@localhost IDENTIFIED BY 'open-sesame'",
        "GRANT ALL ON *.* TO keeper@localhost",
    ])
    .await;
    let port = server().port().to_string();
    let mut by_dsn = Command::new(env!("CARGO_BIN_EXE_replank"));
    by_dsn
        .args(["run", "-vv", "--alter", "ADD c INT"])
        .arg(format!("h=127.0.0.1,P={port},u=keeper,p=open-sesame,D=cli_password,t=users"));
    let done = by_dsn.env("HOME", "/nonexistent").output().expect("it runs");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(!text(&done.stderr).contains("open-sesame"));
    assert!(text(&done.stderr).contains("password"), "no warning: {}", text(&done.stderr));

    let mut wrong = Command::new(env!("CARGO_BIN_EXE_replank"));
    wrong
        .args(["run", "ALTER TABLE users ADD d INT", "--database", "cli_password"])
        .args(["--host", "127.0.0.1", "--port", &port, "--user", "keeper"])
        .env_remove("MYSQL_PWD")
        .env("REPLANK_PASSWORD", "not-it-at-all")
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null());
    let wrong = wrong.output().expect("it runs");
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong.stderr));
    assert!(text(&wrong.stderr).contains("Access denied"), "{}", text(&wrong.stderr));
    assert!(!text(&wrong.stderr).contains("not-it-at-all"));
}

#[tokio::test]
async fn ctrl_c_keeps_what_was_copied_and_the_same_command_goes_on() {
    let db = large("cli_keep").await;
    let said = interrupted(slow_run("cli_keep"), &db).await;
    assert!(said.contains("The same command goes on"), "{said}");
    assert_eq!(
        tables(&db).await,
        ["_users_replank_new", "_users_replank_state", "users"],
        "the progress is kept"
    );
    let done = slow_run("cli_keep").args(["--output", "json"]).output().expect("it runs");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("going on where the run was stopped"));
    let document: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert!(document["rows_copied"].as_u64() < Some(100_000), "{document}");
}

#[tokio::test]
async fn ctrl_c_stops_cleanly_if_nothing_is_to_be_kept() {
    let db = large("cli_stop").await;
    let before = db.fingerprint().await;
    let mut command = slow_run("cli_stop");
    command.arg("--stop-keeps=false");
    interrupted(command, &db).await;
    assert_eq!(db.fingerprint().await, before, "nothing is left behind");
    let mut conn = db.conn().await;
    let locked: Option<i64> = conn
        .query_first("SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OBJECT_SCHEMA = 'cli_stop'")
        .await
        .expect("locks");
    assert_eq!(locked, Some(0));
}

/// Starts a run, and presses Ctrl-C when the first chunk has been copied. Returns what it said.
async fn interrupted(mut command: Command, db: &Database) -> String {
    let child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut conn = db.conn().await;
    // The first chunk has been copied.
    let mut ticker = tokio::time::interval(std::time::Duration::from_millis(5));
    loop {
        ticker.tick().await;
        let copied: Result<Option<i64>, _> =
            conn.query_first("SELECT COUNT(*) FROM _users_replank_state WHERE kind = 2").await;
        if copied.is_ok_and(|count| count.unwrap_or(0) > 0) {
            break;
        }
    }
    let killed =
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(130), "{}", text(&ended.stderr));
    text(&ended.stderr)
}

#[tokio::test]
async fn cleanup_removes_what_an_abandoned_run_left_and_nothing_else() {
    let db = large("cli_cleanup").await;
    db.sql(&[
        "CREATE TABLE _other_replank_new (mine INT)",
        "CREATE TABLE _other_replank_state (mine INT)",
    ])
    .await;
    let before = db.fingerprint().await;
    let mut child = slow_run("cli_cleanup")
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut conn = db.conn().await;
    let mut ticker = tokio::time::interval(std::time::Duration::from_millis(5));
    while tables(&db).await.len() < 5 {
        ticker.tick().await;
    }
    // While it lives, it is left alone.
    let busy = output(&["cleanup"], "cli_cleanup");
    assert_eq!(busy.status.code(), Some(2), "{}", text(&busy.stdout));
    assert!(text(&busy.stderr).contains("another replank"));
    child.kill().expect("killed");
    child.wait().expect("ended");
    // The server lets the lock go when it notices that the connection is gone.
    loop {
        let lock: Option<Option<u64>> = conn
            .query_first(
                "SELECT MAX(OWNER_THREAD_ID) FROM performance_schema.metadata_locks \
                 WHERE OBJECT_TYPE = 'USER LEVEL LOCK' AND OBJECT_NAME LIKE 'replank:users:%'",
            )
            .await
            .expect("locks");
        if lock.flatten().is_none() {
            break;
        }
        ticker.tick().await;
    }
    let cleaned = output(&["cleanup"], "cli_cleanup");
    assert_eq!(cleaned.status.code(), Some(0), "{}", text(&cleaned.stderr));
    assert!(text(&cleaned.stdout).contains("_users_replank_new"));
    assert_eq!(db.fingerprint().await, before);
}

/// Who swaps the tables back by hand has replank's mark on the table in use.
#[tokio::test]
async fn cleanup_leaves_a_table_in_use_alone_whatever_its_comment_says() {
    let db = small("cli_by_hand").await;
    db.alter("users", "ADD COLUMN phone VARCHAR(20)").await.expect("done");
    db.sql(&["RENAME TABLE users TO users_bad, _users_replank_old TO users"]).await;
    let cleaned = output(&["cleanup", "--old"], "cli_by_hand");
    assert_eq!(cleaned.status.code(), Some(0), "{}", text(&cleaned.stderr));
    assert_eq!(tables(&db).await, ["users", "users_bad"]);
    // The mark goes along into the next run's tables.
    db.alter("users", "ADD COLUMN fax VARCHAR(20)").await.expect("done");
    let cleaned = output(&["cleanup", "--old"], "cli_by_hand");
    assert!(text(&cleaned.stdout).contains("_users_replank_old"), "{}", text(&cleaned.stdout));
    assert_eq!(tables(&db).await, ["users", "users_bad"]);
}

#[tokio::test]
async fn status_tells_of_a_stopped_run_from_anywhere() {
    let db = large("cli_status").await;
    let none = output(&["status"], "cli_status");
    assert!(text(&none.stdout).contains("no run"), "{}", text(&none.stdout));
    interrupted(slow_run("cli_status"), &db).await;
    let shown = output(&["status"], "cli_status");
    let said = text(&shown.stdout);
    for words in
        ["state      stopped", "phase      copy", "rows       ", "checkpoint ", "replank abort"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    let json = output(&["status", "--output", "json", "--table", "users"], "cli_status");
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(document["runs"][0]["state"], "stopped");
    assert!(document["runs"][0]["chunks"].as_u64() > Some(0), "{document}");
}

#[tokio::test]
async fn list_shows_the_runs_of_before_and_the_history_forgets() {
    let db = large("cli_list").await;
    interrupted(slow_run("cli_list"), &db).await;
    let listed = text(&output(&["list"], "cli_list").stdout);
    assert!(listed.contains("  stopped  ") && listed.contains("ADD c INT"), "{listed}");
    let aborted = output(&["abort", "--table", "users"], "cli_list");
    assert_eq!(aborted.status.code(), Some(0), "{}", text(&aborted.stderr));
    let alter = ["run", "--table", "users", "--alter"];
    output(&[&alter[..], &["ADD COLUMN phone VARCHAR(20)"]].concat(), "cli_list");
    let failed = output(&[&alter[..], &["MODIFY name VARCHAR(10)"]].concat(), "cli_list");
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed.stderr));
    let listed = text(&output(&["list"], "cli_list").stdout);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 3, "{listed}");
    for word in ["aborted", "done", "failed"] {
        assert!(lines.iter().any(|line| line.contains(word)), "{word}: {listed}");
    }
    let json = output(&["list", "--output", "json"], "cli_list");
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(document["history"].as_array().map(Vec::len), Some(3));
    assert_eq!(document["runs"].as_array().map(Vec::len), Some(0));

    db.sql(&["UPDATE _replank_history SET ended = ended - INTERVAL 31 DAY"]).await;
    let keep = ["DROP COLUMN phone", "--history-retention", "30"];
    output(&[&alter[..], &keep].concat(), "cli_list");
    let listed = text(&output(&["list"], "cli_list").stdout);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    let none = ["ADD COLUMN phone INT", "--history-retention", "0"];
    output(&[&alter[..], &none].concat(), "cli_list");
    assert_eq!(text(&output(&["list"], "cli_list").stdout), listed, "this one is not remembered");
}

#[tokio::test]
async fn revert_swaps_back_and_says_what_it_loses() {
    let db = small("cli_revert").await;
    let mut guard = replank(
        &[
            "run",
            "--table",
            "users",
            "--alter",
            "ADD COLUMN phone VARCHAR(20)",
            "--revertible",
            "1h",
        ],
        "cli_revert",
    );
    let guard = guard.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut conn = db.conn().await;
    let mut ticker = tokio::time::interval(std::time::Duration::from_millis(5));
    loop {
        ticker.tick().await;
        let guarded = conn
            .query_first("SELECT COUNT(*) FROM _users_replank_state WHERE kind = 3 AND id = 1")
            .await;
        if guarded.is_ok_and(|terms: Option<i64>| terms == Some(1)) {
            break;
        }
    }
    conn.query_drop("INSERT INTO users (name, phone) VALUES ('new', '1')").await.expect("inserted");
    let status = text(&output(&["status"], "cli_revert").stdout);
    assert!(status.contains("running"), "{status}");
    let reverted = output(&["revert", "--table", "users"], "cli_revert");
    assert_eq!(reverted.status.code(), Some(0), "{}", text(&reverted.stderr));
    let said = text(&reverted.stdout);
    assert!(
        said.contains("old structure again") && said.contains("loses the column `phone`"),
        "{said}"
    );
    let ended = guard.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(130), "{}", text(&ended.stderr));
    let names: Vec<String> =
        conn.query("SELECT name FROM users ORDER BY id").await.expect("the rows");
    assert_eq!(names, ["a", "b", "c", "new"]);
    assert_eq!(tables(&db).await, ["_users_replank_reverted", "users"]);
    assert!(text(&output(&["list"], "cli_revert").stdout).contains("reverted"));
}
