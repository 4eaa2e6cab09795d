//! Servers whose settings break the protocol are refused; those that only look unusual are not.

mod common;

use common::Database;
use replank::error::Kind;
use replank::throwaway::ThrowawayServer;

async fn server_with(options: &[&str]) -> ThrowawayServer {
    let mut builder = ThrowawayServer::builder().option("--innodb-buffer-pool-size=128M");
    for option in options {
        builder = builder.option(*option);
    }
    builder.start().await.expect("the server starts")
}

#[tokio::test]
async fn binlog_settings_that_break_the_protocol_are_refused() {
    for (options, word) in [
        (&["--skip-log-bin"][..], "no binlog"),
        (&["--binlog-format=MIXED"][..], "MIXED"),
        (&["--binlog-order-commits=OFF"][..], "binlog_order_commits"),
        (&["--super-read-only=ON"][..], "read-only"),
        (&["--binlog-ignore-db=d"][..], "Binlog_Ignore_DB: d"),
    ] {
        let read_only = options.iter().any(|option| option.contains("read-only"));
        let server = server_with(if read_only { &[] } else { options }).await;
        let db = Database::on(server.root_opts(), "d").await;
        db.sql(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
        if read_only {
            db.sql(&["SET GLOBAL super_read_only = ON"]).await;
        }
        let before = db.fingerprint().await;
        let error = db.alter("t", "ADD c INT").await.expect_err("it has to be refused");
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(db.fingerprint().await, before);
    }
}
