//! Sessions and servers with settings that have misled other tools.

mod common;

use common::scenario::{Scenario, Writers};
use common::{Database, Lookout};
use mysql_async::prelude::Queryable;
use replank::error::{Error, Kind};
use replank::progress::Phase;
use replank::throwaway::ThrowawayServer;

async fn passes(db: &Database, scenario: &Scenario) {
    let outcome = scenario.succeeds(db).await;
    assert!(outcome.tally.keys_replayed > 0, "{}: nothing was written meanwhile", scenario.name);
    assert_eq!(outcome.tally.rows_repaired, 0, "{}: the replay missed a row", scenario.name);
}

#[tokio::test]
async fn row_images_partial_json_and_compression_by_session() {
    for (name, session) in [
        ("image_minimal", &["SET SESSION binlog_row_image = MINIMAL"][..]),
        ("image_noblob", &["SET SESSION binlog_row_image = NOBLOB"]),
        ("partial_json", &["SET SESSION binlog_row_value_options = PARTIAL_JSON"]),
        ("compressed", &["SET SESSION binlog_transaction_compression = ON"]),
        (
            "everything",
            &[
                "SET SESSION binlog_row_image = MINIMAL",
                "SET SESSION binlog_row_value_options = PARTIAL_JSON",
                "SET SESSION binlog_transaction_compression = ON",
                "SET SESSION binlog_rows_query_log_events = ON",
            ],
        ),
    ] {
        let db = Database::new(name).await;
        passes(&db, &Scenario::with_documents(name, session)).await;
    }
}

async fn server_with(options: &[&str], gtid: bool) -> ThrowawayServer {
    let mut builder =
        ThrowawayServer::builder().option("--innodb-buffer-pool-size=128M").gtid(gtid);
    for option in options {
        builder = builder.option(*option);
    }
    builder.start().await.expect("the server starts")
}

#[tokio::test]
async fn gtids_small_binlogs_and_no_checksum() {
    let server = server_with(&["--binlog-checksum=NONE", "--max-binlog-size=4096"], true).await;
    let db = Database::on(server.root_opts(), "gtid").await;
    passes(&db, &Scenario::with_documents("gtid", &["SET SESSION gtid_next = 'AUTOMATIC:tag'"]))
        .await;
}

#[tokio::test]
async fn a_global_sql_mode_with_ansi_quotes_and_another_time_zone() {
    let server = server_with(
        &[
            "--sql-mode=ANSI,NO_BACKSLASH_ESCAPES",
            "--default-time-zone=+05:30",
            "--character-set-server=latin1",
        ],
        false,
    )
    .await;
    let db = Database::on(server.root_opts(), "ansi").await;
    let scenario = Scenario::new(
        "ansi",
        "a INT NOT NULL, ts TIMESTAMP(2) NULL, keep TIMESTAMP NULL",
        "MODIFY \"ts\" DATETIME(2) NULL /* to 'DATETIME' */, ADD COLUMN \"new one\" VARCHAR(20) DEFAULT 'back\\slash'",
    )
    .seed("a, ts, keep", "n, FROM_UNIXTIME(1600000000 + n), FROM_UNIXTIME(1600000000 + n * 7)")
    .writes("a, ts", "{n}, '2023-03-03 03:03:03.33'", &["keep = '2024-04-04 04:04:04'", "a = {n}"]);
    passes(&db, &scenario).await;
}

#[tokio::test]
async fn table_names_without_case() {
    let server = server_with(&["--lower-case-table-names=1"], false).await;
    let db = Database::on(server.root_opts(), "lower").await;
    let scenario = Scenario::with_documents("lower", &[]);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    db.alter("T", &scenario.alter).await.expect("done");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn writes_that_are_not_in_the_binlog_are_found_and_repaired() {
    let db = Database::new("no_log").await;
    let scenario = Scenario::with_documents("no_log", &[]);
    scenario.prepare(&db).await;
    let both =
        |statement: &str| ["t", "twin"].map(|table| statement.replace("{t}", table)).to_vec();
    let mut statements = vec!["SET SESSION sql_log_bin = 0".to_owned()];
    statements.extend(both("UPDATE {t} SET a = -1 WHERE id = 100"));
    statements.extend(both("DELETE FROM {t} WHERE id = 200"));
    statements.extend(both("INSERT INTO {t} (id, a) VALUES (-300, 3)"));
    let meddle = async {
        let mut conn = db.conn().await;
        for statement in &statements {
            conn.query_drop(statement).await.expect("a silent write");
        }
    };
    let outcome = db.alter_and_meddle("t", &scenario.alter, 3_000, meddle).await.expect("done");
    assert_eq!(outcome.tally.rows_repaired, 3);
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn xa_transactions_in_one_and_two_phases() {
    let db = Database::new("xa").await;
    let scenario = Scenario::with_documents("xa", &[]);
    scenario.prepare(&db).await;
    let xa = |xid: &str, statement: &str, end: &[&str]| {
        let mut steps = vec![format!("XA START '{xid}'")];
        steps.extend(["t", "twin"].map(|table| statement.replace("{t}", table)));
        steps.push(format!("XA END '{xid}'"));
        steps.extend(end.iter().map(|end| end.replace("{x}", &format!("'{xid}'"))));
        steps
    };
    let statements = [
        xa("two", "UPDATE {t} SET a = -2 WHERE id = 50", &["XA PREPARE {x}", "XA COMMIT {x}"]),
        xa("back", "UPDATE {t} SET a = -3 WHERE id = 60", &["XA PREPARE {x}", "XA ROLLBACK {x}"]),
        xa("one", "DELETE FROM {t} WHERE id = 70", &["XA COMMIT {x} ONE PHASE"]),
    ]
    .concat();
    let meddle = async {
        let mut conn = db.conn().await;
        for statement in &statements {
            conn.query_drop(statement).await.unwrap_or_else(|error| panic!("{error}: {statement}"));
        }
    };
    let outcome = db.alter_and_meddle("t", &scenario.alter, 3_000, meddle).await.expect("done");
    assert_eq!(outcome.tally.rows_repaired, 0);
    scenario.assert_equal(&db).await;
}

#[tokio::test]
async fn xa_transactions_all_the_time() {
    let db = Database::new("xa_all").await;
    let scenario = Scenario::with_documents("xa_all", &[]);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let beside = async |run: &Lookout| {
        let mut conn = db.conn().await;
        let (mut committed, mut rolled_back) = (0, 0);
        let mut number = 0;
        while run.goes_on() {
            number += 1;
            let id = 1 + number * 37 % 20_000;
            let steps = [
                "XA START 'all'".to_owned(),
                format!("UPDATE t SET a = -{number} WHERE id = {id}"),
                format!("UPDATE twin SET a = -{number} WHERE id = {id}"),
                "XA END 'all'".to_owned(),
                "XA PREPARE 'all'".to_owned(),
            ];
            let mut prepared = Ok(());
            for step in &steps {
                prepared = prepared.and(conn.query_drop(step).await);
            }
            if prepared.is_err() {
                // A deadlock with a writer: whatever state it has left the transaction in.
                let _ = conn.query_drop("XA END 'all'").await;
                conn.query_drop("XA ROLLBACK 'all'").await.expect("rolled back");
            } else if number % 3 == 0 {
                conn.query_drop("XA ROLLBACK 'all'").await.expect("rolled back");
                rolled_back += 1;
            } else {
                conn.query_drop("XA COMMIT 'all'").await.expect("committed");
                committed += 1;
            }
        }
        (committed, rolled_back)
    };
    let mut options = common::options();
    options.chunk_time = std::time::Duration::from_millis(10);
    let request = db.request("t", &scenario.alter);
    let (outcome, xa) = db.alter_beside(&request, &options, beside).await;
    let outcome = outcome.expect("done");
    writers.stop(&scenario).await;
    assert!(xa.0 > 10 && xa.1 > 5, "{xa:?} XA transactions");
    assert_eq!(outcome.tally.rows_repaired, 0);
    scenario.assert_equal(&db).await;
}

/// What it has changed stands in the binlog before the run's first position: verification has to find it,
/// also when it is committed after the verification.
#[tokio::test]
async fn an_xa_transaction_that_was_prepared_before_the_run_arrives() {
    for (name, phase) in [("xa_before_copy", Phase::Copy), ("xa_before_swap", Phase::CutOver)] {
        let db = Database::new(name).await;
        let scenario = Scenario::with_documents(name, &[]);
        scenario.prepare(&db).await;
        db.sql(&[
            &format!("XA START '{name}'"),
            "UPDATE t SET a = -1 WHERE id = 10",
            "UPDATE twin SET a = -1 WHERE id = 10",
            &format!("XA END '{name}'"),
            &format!("XA PREPARE '{name}'"),
        ])
        .await;
        let commit = async |run: &Lookout| {
            // It holds a metadata lock, so that the cut-over has to wait for it.
            assert!(run.reaches(Phase::Copy).await, "{name}: the run ended too early");
            let row = "SELECT 1 FROM _t_replank_new WHERE id = 10";
            let copied = run.finds(&mut db.conn().await, row).await;
            assert!(copied && run.reaches(phase).await, "{name}: the run ended too early");
            db.sql(&[&format!("XA COMMIT '{name}'")]).await;
        };
        let request = db.request("t", &scenario.alter);
        let (outcome, ()) = db.alter_beside(&request, &common::options(), commit).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(outcome.tally.rows_repaired, 1, "{name}");
        scenario.assert_equal(&db).await;
    }
}

/// Something else that happens midway; the run has to stop and to leave nothing behind.
async fn stops(name: &'static str, statement: &str, words: &[&str]) -> Error {
    let db = Database::new(name).await;
    let scenario = Scenario::with_documents(name, &[]);
    scenario.prepare(&db).await;
    let meddle = async {
        let mut conn = db.conn().await;
        for statement in statement.split(';') {
            conn.query_drop(statement).await.unwrap_or_else(|error| panic!("{error}: {statement}"));
        }
    };
    let error = db
        .alter_and_meddle("t", &scenario.alter, 3_000, meddle)
        .await
        .expect_err("the run has to stop");
    assert_eq!(error.kind(), Kind::Failed, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
    let tables: Vec<String> = db.fingerprint().await.into_iter().map(|(name, ..)| name).collect();
    assert_eq!(tables, ["numbers", "t", "twin"], "something is left behind");
    error
}

#[tokio::test]
async fn a_change_of_structure_by_another_session_stops_the_run() {
    stops("ddl_source", "ALTER TABLE t COMMENT = 'changed'", &["ALTER TABLE t COMMENT"]).await;
    stops("ddl_truncate", "TRUNCATE TABLE t", &["TRUNCATE"]).await;
    stops(
        "ddl_trigger",
        "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
        &["TRIGGER"],
    )
    .await;
    stops("ddl_shadow", "DROP TABLE _t_replank_new", &["_t_replank_new"]).await;
    stops("ddl_state", "DROP TABLE _t_replank_state", &["_t_replank_state"]).await;
}

#[tokio::test]
async fn a_write_in_statement_format_stops_the_run() {
    stops(
        "statement_format",
        "SET SESSION binlog_format = STATEMENT;UPDATE t SET a = 1 WHERE id = 5",
        &["UPDATE t SET a = 1"],
    )
    .await;
}

/// The statement does not name the table: the verification has to find what it did.
#[tokio::test]
async fn a_write_in_statement_format_through_a_view_arrives() {
    for (name, phase) in [("view_copy", Phase::Copy), ("view_swap", Phase::CutOver)] {
        let db = Database::new(name).await;
        let scenario = Scenario::with_documents(name, &[]);
        scenario.prepare(&db).await;
        db.sql(&[
            "CREATE VIEW v AS SELECT id, a FROM t",
            "CREATE VIEW w AS SELECT id, a FROM twin",
        ])
        .await;
        let mut holder = db.conn().await;
        holder.query_drop("START TRANSACTION").await.expect("begin");
        holder.query_drop("SELECT COUNT(*) FROM t").await.expect("a metadata lock");
        let beside = async |run: &Lookout| {
            assert!(run.copied(3_000).await && run.reaches(phase).await, "{name}: ended too early");
            db.sql(&[
                "SET SESSION binlog_format = STATEMENT",
                "UPDATE v SET a = -1 WHERE id IN (10, 19000)",
                "UPDATE w SET a = -1 WHERE id IN (10, 19000)",
            ])
            .await;
            holder.query_drop("COMMIT").await.expect("commit");
        };
        let request = db.request("t", &scenario.alter);
        let (outcome, ()) = db.alter_beside(&request, &common::options(), beside).await;
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        db.sql(&["DROP VIEW v, w"]).await;
        scenario.assert_equal(&db).await;
    }
}

/// With chained transactions, a COMMIT under LOCK TABLES would give the locks back.
#[tokio::test]
async fn sessions_that_chain_their_transactions_by_default() {
    let server = ThrowawayServer::builder()
        .option("--completion-type=CHAIN")
        .start()
        .await
        .expect("a server");
    let db = Database::on(server.root_opts(), "chain").await;
    Scenario::plain("chain").session("SET SESSION completion_type = NO_CHAIN").succeeds(&db).await;
}

#[tokio::test]
async fn unrelated_ddl_does_not_stop_the_run() {
    let db = Database::new("ddl_other").await;
    let scenario = Scenario::with_documents("ddl_other", &[]);
    scenario.prepare(&db).await;
    let statements = [
        "CREATE TABLE other (id INT PRIMARY KEY)",
        "CREATE VIEW v AS SELECT id, a FROM t",
        "ALTER TABLE other ADD COLUMN c INT",
        "ANALYZE TABLE t",
        "DROP TABLE other",
        "FLUSH BINARY LOGS",
    ];
    db.alter_and_meddle("t", &scenario.alter, 3_000, db.sql(&statements)).await.expect("done");
    db.sql(&["DROP VIEW v"]).await;
    scenario.assert_equal(&db).await;
}
