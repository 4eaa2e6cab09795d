//! A run is steered while it goes on: by its socket, through the database, by HTTP; its hooks are called. In the end
//! the table equals its twin.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use common::scenario::{Scenario, Writers};
use common::{Database, Lookout};
use mysql_async::prelude::Queryable;
use replank::control::socket::{Answer, Socket, ask};
use replank::control::{Command, mailbox};
use replank::error::Kind;
use replank::hooks::Hooks;
use replank::http::{Http, read_token};
use replank::progress::Phase;
use replank::run::{Options, open};
use replank::sql::TableName;
use replank::state::StateTable;

/// Slow enough to be met.
fn slow() -> Options {
    Options {
        rows_per_second: Some(20_000),
        chunk_time: Duration::from_millis(10),
        stop_keeps: true,
        ..common::options()
    }
}

async fn begin(name: &'static str) -> (Database, Scenario, Writers) {
    let db = Database::new(name).await;
    let scenario = Scenario::plain(name).rows(40_000);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    (db, scenario, writers)
}

fn set(name: &str, value: &str) -> Command {
    Command::Set { name: name.to_owned(), value: value.to_owned() }
}

async fn is_paused(run: &Lookout) {
    let paused = |run: &Lookout| {
        run.progress.snapshot().waiting.is_some_and(|waiting| waiting.starts_with("paused"))
    };
    assert!(run.until(paused).await, "it is not paused");
}

#[tokio::test]
async fn a_run_is_paused_changed_and_resumed_by_its_socket() {
    let (db, scenario, writers) = begin("by_socket").await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.sock");
    let beside = async |run: &Lookout| {
        let socket = Socket::listen(&path, &run.progress, &run.control).await.expect("it listens");
        let mode = std::fs::metadata(&path).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o077, 0, "others may not speak");
        let again = Socket::listen(&path, &run.progress, &run.control).await;
        assert!(again.expect_err("taken").to_string().contains("another process listens"));
        assert!(run.copied(2_000).await, "the run ended too early");
        let tell =
            async |command: Command| ask(&path, &command).await.expect("asked").expect("an answer");
        assert!(tell(Command::Pause).await.ok);
        is_paused(run).await;
        run.stands_still_but_replays().await;
        let status = tell(Command::Status).await.status.expect("a status");
        assert_eq!((status.phase.as_str(), status.table.as_str()), ("copy", "t"));
        assert_eq!(status.holds[0].source, "operator");
        for (name, value) in [("pace", "balanced"), ("workers", "3"), ("chunk-time", "20")] {
            assert!(tell(set(name, value)).await.ok);
        }
        assert!(tell(set("max-rows-per-sec", "none")).await.ok);
        assert!(!tell(set("pace", "reckless")).await.ok);
        assert!(!tell(Command::Abort { table: "users".to_owned() }).await.ok);
        assert!(tell(Command::Resume).await.ok);
        drop(socket);
        assert!(!path.exists(), "the socket is gone with the run");
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, ()) = db.alter_beside(&request, &slow(), beside).await;
    outcome.expect("done");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn a_socket_that_a_killed_process_left_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists());
    let (progress, control) =
        (replank::progress::Progress::new(), replank::control::Control::new());
    let _socket = Socket::listen(&path, &progress, &control).await.expect("taken over");
    assert!(ask(&path, &Command::Status).await.expect("asked").expect("an answer").ok);
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").expect("a file");
    Socket::listen(&file, &progress, &control).await.expect_err("a file of somebody's");
    assert_eq!(std::fs::read(&file).expect("it is there"), b"mine");
}

#[tokio::test]
async fn a_run_is_steered_through_the_database_from_any_machine() {
    let (db, scenario, writers) = begin("by_mail").await;
    let beside = async |run: &Lookout| {
        assert!(run.copied(2_000).await, "the run ended too early");
        let mut session = open(&db.server()).await.expect("a session");
        let state = StateTable::at(TableName::new("by_mail", "_t_replank_state"));
        let mut tell = async |command: Command| -> Answer {
            mailbox::send(&mut session, &state, &command, "somebody").await.expect("an answer")
        };
        assert!(tell(Command::Pause).await.ok);
        is_paused(run).await;
        let status = tell(Command::Status).await.status.expect("a status");
        assert!(status.events.iter().any(|event| event.text == "somebody: pause"), "{status:?}");
        assert!(!tell(set("pace", "reckless")).await.ok);
        assert!(tell(Command::Resume).await.ok);
        let mut conn = db.conn().await;
        let letters: Option<u64> = conn
            .query_first("SELECT COUNT(*) FROM _t_replank_state WHERE kind = 4")
            .await
            .expect("counted");
        assert_eq!(letters, Some(0), "nothing is left of the commands");
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, ()) = db.alter_beside(&request, &slow(), beside).await;
    outcome.expect("done");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn a_postponed_swap_stays_verified_and_in_step_until_it_is_told() {
    let (db, scenario, writers) = begin("postponed").await;
    let options = Options { postpone_cut_over: true, ..common::options() };
    let beside = async |run: &Lookout| {
        assert!(run.reaches(Phase::CutOver).await, "the run ended too early");
        let waits = |run: &Lookout| {
            run.progress
                .snapshot()
                .waiting
                .is_some_and(|waiting| waiting.contains("replank cut-over"))
        };
        assert!(run.until(waits).await, "it does not wait");
        let replayed = run.progress.snapshot().keys_replayed;
        assert!(run.until(|run| run.progress.snapshot().keys_replayed > replayed + 300).await);
        assert_eq!(run.phase(), Phase::CutOver);
        let tables: Vec<String> =
            db.fingerprint().await.into_iter().map(|(name, ..)| name).collect();
        assert!(tables.contains(&"_t_replank_new".to_owned()), "{tables:?}");
        run.control.obey(&Command::CutOver, "test").expect("told");
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, ()) = db.alter_beside(&request, &options, beside).await;
    outcome.expect("done");
    writers.wait_for(50).await;
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn an_abort_removes_everything_where_a_stop_keeps_it() {
    let db = Database::new("aborted").await;
    let scenario = Scenario::plain("aborted").rows(40_000);
    scenario.prepare(&db).await;
    let before = db.fingerprint().await;
    for (command, left) in
        [(Command::Stop, true), (Command::Abort { table: "t".to_owned() }, false)]
    {
        let beside = async |run: &Lookout| {
            assert!(run.copied(2_000).await, "the run ended too early");
            // Through the database: the answer has to come although the run ends.
            let mut session = open(&db.server()).await.expect("a session");
            let state = StateTable::at(TableName::new("aborted", "_t_replank_state"));
            let answer = mailbox::send(&mut session, &state, &command, "somebody").await;
            assert!(answer.expect("an answer").ok);
        };
        let request = db.request("t", &scenario.alter);
        let (outcome, ()) = db.alter_beside(&request, &slow(), beside).await;
        let error = outcome.expect_err("it was ended");
        assert_eq!(error.kind(), Kind::Interrupted);
        assert_eq!(db.fingerprint().await != before, left, "{command}");
    }
}

/// Writes an executable.
fn hook(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
}

#[tokio::test]
async fn hooks_are_called_at_their_points_and_may_put_the_swap_off() {
    let (db, scenario, writers) = begin("hooked").await;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let permission = folder.path().join("permission");
    let hooks = folder.path().join("hooks");
    std::fs::create_dir(&hooks).expect("a folder");
    let note = format!(
        "echo \"$REPLANK_HOOK $REPLANK_HOOK_TABLE $REPLANK_HOOK_PHASE\" >> '{}'; cat > '{}'/status.$REPLANK_HOOK",
        log.display(),
        folder.path().display()
    );
    for point in
        ["before-copy", "copy-done", "after-cut-over", "throttled", "resumed", "failed", "done"]
    {
        hook(&hooks, &format!("{point}.log"), &note);
    }
    hook(
        &hooks,
        "before-cut-over",
        &format!("{note}; echo no >&2; test -e '{}'", permission.display()),
    );
    let options = Options {
        hooks: Some(Hooks::open(&hooks, Duration::from_secs(10)).expect("hooks")),
        ..slow()
    };
    let beside = async |run: &Lookout| {
        assert!(run.copied(2_000).await, "the run ended too early");
        run.control.obey(&Command::Pause, "test").expect("paused");
        assert!(run.until(|_| read(&log).contains("throttled")).await);
        run.control.obey(&Command::Resume, "test").expect("resumed");
        let refused = |run: &Lookout| {
            run.progress
                .snapshot()
                .waiting
                .is_some_and(|waiting| waiting.contains("before-cut-over ended"))
        };
        assert!(run.until(refused).await, "the hook has no say");
        std::fs::write(&permission, "").expect("a file");
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, ()) = db.alter_beside(&request, &options, beside).await;
    outcome.expect("done");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
    let lines = read(&log);
    let mut points: Vec<&str> = lines.lines().collect();
    points.dedup();
    assert_eq!(
        points,
        [
            "before-copy t prepare",
            "throttled t copy",
            "resumed t copy",
            "copy-done t index",
            "before-cut-over t cut-over",
            "after-cut-over t done",
            "done t done"
        ]
    );
    let told: serde_json::Value =
        serde_json::from_str(&read(&folder.path().join("status.throttled"))).expect("JSON");
    assert_eq!(told["status"]["phase"], "copy");
    assert!(told["why"].as_str().expect("a reason").starts_with("paused"), "{told}");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn a_hook_before_the_copy_may_refuse_and_one_that_hangs_is_killed() {
    let db = Database::new("unhooked").await;
    let scenario = Scenario::plain("unhooked").rows(1_000);
    scenario.prepare(&db).await;
    let before = db.fingerprint().await;
    for (script, seconds, says) in
        [("echo not today >&2; exit 3", 60, "not today"), ("exec sleep 600", 1, "was killed")]
    {
        let folder = tempfile::tempdir().expect("a folder");
        hook(folder.path(), "before-copy", script);
        let hooks = Hooks::open(folder.path(), Duration::from_secs(seconds)).expect("hooks");
        let options = Options { hooks: Some(hooks), ..common::options() };
        let error = db.alter_with("t", &scenario.alter, &options).await.expect_err("refused");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(db.fingerprint().await, before);
    }
    let folder = tempfile::tempdir().expect("a folder");
    hook(folder.path(), "before-cutover", "true");
    let error = Hooks::open(folder.path(), Duration::from_secs(1)).expect_err("a slip of the pen");
    assert!(error.next_step().expect("a remedy").contains("before-cut-over"), "{error}");
}

/// One request over HTTP: the status and the body.
async fn http(address: std::net::SocketAddr, head: &str, body: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connect");
    let request =
        format!("{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, body.to_owned())
}

#[tokio::test]
async fn a_run_is_watched_and_with_the_token_steered_by_http() {
    let (db, scenario, writers) = begin("by_http_page").await;
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("token");
    std::fs::write(&secret, "open sesame\n").expect("a file");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).expect("mode");
    assert!(
        read_token(&secret).expect_err("others may read it").to_string().contains("other users")
    );
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("mode");
    let beside = async |run: &Lookout| {
        let token = Some(read_token(&secret).expect("a token"));
        let any = "127.0.0.1:0".parse().expect("an address");
        let server = Http::serve(any, token, &run.progress, &run.control).await.expect("it serves");
        let address = server.address();
        let get = async |path: &str| {
            http(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n"), "").await
        };
        let post = async |auth: &str, body: &str| {
            http(address, &format!("POST /command HTTP/1.1\r\nHost: localhost\r\n{auth}"), body)
                .await
        };
        assert!(run.copied(2_000).await, "the run ended too early");
        assert_eq!(get("/healthz").await, (200, "ok\n".to_owned()));
        assert!(get("/").await.1.contains("<title>replank"));
        let (_, metrics) = get("/metrics").await;
        for line in [
            "replank_info{schema=\"by_http_page\",table=\"t\"",
            "replank_phase{phase=\"copy\"} 1",
            "replank_rows_copied_total ",
            "replank_backlog_keys ",
            "# EOF",
        ] {
            assert!(metrics.contains(line), "{line}\n{metrics}");
        }
        let pause = r#"{"command":"pause"}"#;
        assert_eq!(post("", pause).await.0, 401);
        assert_eq!(post("Authorization: Bearer open\r\n", pause).await.0, 401);
        let right = "Authorization: Bearer open sesame\r\n";
        assert_eq!(post(right, pause).await.0, 200);
        is_paused(run).await;
        let (_, status) = get("/status").await;
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        assert_eq!(status["holds"][0]["source"], "operator");
        assert!(get("/metrics").await.1.contains("replank_held{source=\"operator\"} 1"));
        assert_eq!(post(right, r#"{"command":"sing"}"#).await.0, 400);
        assert_eq!(post(right, r#"{"command":"resume"}"#).await.0, 200);
        let foreign = http(address, "GET /status HTTP/1.1\r\nHost: evil.example\r\n", "").await;
        assert_eq!(foreign.0, 403);
        let open = Http::serve(any, None, &run.progress, &run.control).await.expect("it serves");
        let head = format!("POST /command HTTP/1.1\r\nHost: localhost\r\n{right}");
        assert_eq!(
            http(open.address(), &head, pause).await.0,
            403,
            "without a token nobody steers"
        );
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, ()) = db.alter_beside(&request, &slow(), beside).await;
    outcome.expect("done");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}
