//! Binlogs that are rotated, compressed, encrypted or purged under the stream.

mod common;

use std::time::Duration;

use common::proxy::Proxy;
use common::scenario::{Scenario, Writers};
use common::{Database, Lookout};
use mysql_async::prelude::Queryable;
use replank::error::Kind;
use replank::progress::Phase;
use replank::throwaway::ThrowawayServer;

async fn server_with(options: &[&str]) -> ThrowawayServer {
    let mut builder = ThrowawayServer::builder().option("--innodb-buffer-pool-size=128M");
    for option in options {
        builder = builder.option(*option);
    }
    builder.start().await.expect("the server starts")
}

#[tokio::test]
async fn reduced_and_compressed_for_every_session() {
    let server = server_with(&[
        "--binlog-row-image=MINIMAL",
        "--binlog-row-value-options=PARTIAL_JSON",
        "--binlog-transaction-compression=ON",
        "--binlog-row-metadata=FULL",
    ])
    .await;
    let db = Database::on(server.root_opts(), "global").await;
    let outcome = Scenario::with_documents("global", &[]).succeeds(&db).await;
    assert!(outcome.tally.keys_replayed > 0);
    assert_eq!(outcome.tally.rows_repaired, 0);
}

#[tokio::test]
async fn rotated_all_the_time() {
    let server = server_with(&[]).await;
    let db = Database::on(server.root_opts(), "rotated").await;
    let scenario = Scenario::with_documents("rotated", &[]);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let mut options = common::options();
    options.chunk_time = Duration::from_millis(10);
    let rotate = async |run: &Lookout| {
        let mut conn = db.conn().await;
        let mut ticker = tokio::time::interval(Duration::from_millis(100));
        let mut rotations = 0;
        while run.goes_on() {
            ticker.tick().await;
            conn.query_drop("FLUSH BINARY LOGS").await.expect("rotate");
            rotations += 1;
        }
        rotations
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, rotations) = db.alter_beside(&request, &options, rotate).await;
    let outcome = outcome.expect("done");
    writers.stop(&scenario).await;
    assert!(rotations > 5, "only {rotations} rotations");
    assert_eq!(outcome.tally.rows_repaired, 0);
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn encrypted() {
    let mut server = server_with(&[]).await;
    // A keyring that the server finds through its data directory.
    let keyring = server.data_dir().join("keyring");
    let write = |name: &str, text: String| {
        std::fs::write(server.data_dir().join(name), text).expect("a file");
    };
    write("mysqld.my", r#"{"components": "file://component_keyring_file"}"#.to_owned());
    write(
        "component_keyring_file.cnf",
        serde_json::json!({ "path": keyring, "read_only": false }).to_string(),
    );
    server.stop().await.expect("stopped");
    server.restart().await.expect("started");
    let db = Database::on(server.root_opts(), "encrypted").await;
    db.sql(&["SET GLOBAL binlog_encryption = ON"]).await;
    let outcome = Scenario::with_documents("encrypted", &[]).succeeds(&db).await;
    assert!(outcome.tally.keys_replayed > 0);
    let logs: Vec<(String, u64, String)> =
        db.conn().await.query("SHOW BINARY LOGS").await.expect("the binlogs");
    assert_eq!(logs.last().map(|(.., encrypted)| encrypted.as_str()), Some("Yes"));
}

#[tokio::test]
async fn purged_before_they_were_read() {
    let server = server_with(&[]).await;
    let db = Database::on(server.root_opts(), "purged").await;
    let scenario = Scenario::with_documents("purged", &[]);
    scenario.prepare(&db).await;
    let proxy = Proxy::to(server.port()).await;
    let through = Database {
        name: db.name.clone(),
        opts: proxy.through(server.root_opts()).db_name(Some("purged")),
    };
    let purge = async |run: &Lookout| {
        assert!(run.reaches(Phase::Copy).await);
        proxy.reachable(false);
        db.sql(&[
            "UPDATE t SET a = -9 WHERE id = 5",
            "UPDATE twin SET a = -9 WHERE id = 5",
            "FLUSH BINARY LOGS",
        ])
        .await;
        let mut conn = db.conn().await;
        let last: mysql_async::Row =
            conn.query_first("SHOW BINARY LOG STATUS").await.expect("status").expect("a row");
        let last: String = last.get(0).expect("a file");
        // The server's end of the broken stream may hold the file for a moment.
        let mut ticker = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticker.tick().await;
            conn.query_drop(format!("PURGE BINARY LOGS TO '{last}'")).await.expect("purge");
            let logs: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await.expect("logs");
            if logs.len() == 1 {
                break;
            }
        }
        proxy.reachable(true);
    };
    let request = through.request("t", &scenario.alter);
    let (outcome, ()) = through.alter_beside(&request, &common::options(), purge).await;
    let error = outcome.as_ref().expect_err("what was changed meanwhile is not known");
    assert_eq!(error.kind(), Kind::Failed, "{error}");
    assert!(error.to_string().contains("purged"), "{error}");
    scenario.assert_right(&db, &outcome).await;
}
