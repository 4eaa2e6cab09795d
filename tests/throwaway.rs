//! The throwaway server against a real mysqld.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use replank::error::Kind;
use replank::throwaway::ThrowawayServer;

#[tokio::test]
async fn it_starts_serves_survives_a_crash_and_leaves_nothing() {
    let mut server = ThrowawayServer::builder()
        .gtid(true)
        .option("--innodb-buffer-pool-size=256M")
        .start()
        .await
        .unwrap();
    let mut conn = server.connect().await.unwrap();
    let (version, pool, gtid, sync, flush, ps, uuid): (String, u64, String, u32, u32, u32, String) = conn
        .query_first("SELECT VERSION(), @@innodb_buffer_pool_size, @@gtid_mode, @@sync_binlog, @@innodb_flush_log_at_trx_commit, @@performance_schema, @@server_uuid")
        .await.unwrap().unwrap();
    assert_eq!(version, server.version());
    assert_eq!((pool, gtid.as_str(), sync, flush, ps), (256 << 20, "ON", 1, 1, 1));
    conn.query_drop("CREATE DATABASE shop; CREATE TABLE shop.t (a INT PRIMARY KEY); INSERT INTO shop.t VALUES (7)").await.unwrap();
    let (port, data) = (server.port(), server.data_dir());
    assert!(server.socket().exists() && data.join("ibdata1").exists());

    server.kill().await;
    assert!(conn.query_drop("SELECT 1").await.is_err());
    let refused = server.connect().await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Failed);
    server.restart().await.unwrap();
    assert_eq!(server.port(), port);
    let mut conn = server.connect().await.unwrap();
    let row: Option<u32> = conn.query_first("SELECT a FROM shop.t").await.unwrap();
    assert_eq!(row, Some(7));

    server.restart().await.unwrap();
    let mut conn = server.connect().await.unwrap();
    let same: Option<String> = conn.query_first("SELECT @@server_uuid").await.unwrap();
    assert_eq!(same, Some(uuid.clone()));
    let other = ThrowawayServer::builder().start().await.unwrap();
    let differs: Option<String> =
        other.connect().await.unwrap().query_first("SELECT @@server_uuid").await.unwrap();
    assert_ne!(differs, Some(uuid));

    server.stop().await.unwrap();
    server.stop().await.unwrap();
    server.kill().await;
    assert!(server.error_log_tail().contains("Shutdown complete"), "{}", server.error_log_tail());
    drop(server);
    assert!(!data.parent().unwrap().exists());
    let data = other.data_dir();
    drop(other);
    assert!(!data.parent().unwrap().exists());
}

#[tokio::test]
async fn an_option_that_mysqld_rejects_is_quoted_from_its_log() {
    let error = ThrowawayServer::builder().option("--no-such-option=1").start().await.unwrap_err();
    assert!(error.what().contains("unknown variable 'no-such-option=1'"), "{error}");
}

#[tokio::test]
async fn options_that_shape_the_data_directory_work() {
    let server = ThrowawayServer::builder()
        .option("--lower_case_table_names=1")
        .option("--innodb-page-size=32k")
        .start()
        .await
        .unwrap();
    let got: Option<(u32, u32)> = server
        .connect()
        .await
        .unwrap()
        .query_first("SELECT @@lower_case_table_names, @@innodb_page_size")
        .await
        .unwrap();
    assert_eq!(got, Some((1, 32768)));
}

/// Not a test: what this binary does when [`owner`] starts it. It owns a server and waits to be killed.
#[tokio::test]
async fn owner_process() {
    if std::env::var_os("REPLANK_TEST_OWNER").is_none() {
        return;
    }
    let server = ThrowawayServer::builder().start().await.unwrap();
    println!("\nOWNER {} {}", server.port(), server.data_dir().display());
    std::future::pending::<()>().await;
}

/// Starts a process that owns a server, and reads the server's port and data directory from it.
fn owner() -> (std::process::Child, u16, PathBuf) {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner_process", "--nocapture"])
        .env("REPLANK_TEST_OWNER", "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let line = lines.map(|line| line.unwrap()).find(|line| line.starts_with("OWNER ")).unwrap();
    let mut words = line.split_whitespace().skip(1);
    (owner, words.next().unwrap().parse().unwrap(), words.next().unwrap().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_dies_with_its_killed_owner_and_the_next_start_clears_up() {
    let (mut owner, port, data) = owner();
    let opts = OptsBuilder::default().tcp_port(port).user(Some("root")).prefer_socket(false);
    let mut conn = Conn::new(opts.ip_or_hostname("127.0.0.1")).await.unwrap();
    let pid = std::fs::read_to_string(data.join("mysqld.pid")).unwrap();
    let cmdline = PathBuf::from(format!("/proc/{}/cmdline", pid.trim()));
    assert!(!std::fs::read(&cmdline).unwrap().is_empty());

    let sleeping = tokio::spawn(async move { conn.query_drop("DO SLEEP(600)").await });
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(sleeping.await.unwrap().is_err(), "the connection ends with the server");
    assert!(std::fs::read(&cmdline).unwrap_or_default().is_empty(), "dead, or a zombie");

    // Another test's start may have cleared up before; this one does in any case.
    let _next = ThrowawayServer::builder().start().await.unwrap();
    assert!(!data.parent().unwrap().exists());
}
