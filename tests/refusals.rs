//! What replank refuses, it refuses before anything is created: the message names the object and the
//! remedy, and the server is as it was.

mod common;

use common::Database;
use replank::error::Kind;

/// Expects a refusal whose message has all of these words, and an untouched database.
async fn refused(db: &Database, table: &str, clauses: &str, words: &[&str]) {
    let before = db.fingerprint().await;
    let error = db.alter(table, clauses).await.expect_err("it has to be refused");
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
    assert!(error.next_step().is_some_and(|step| !step.is_empty()), "no remedy for: {error}");
    assert_eq!(db.fingerprint().await, before);
}

#[tokio::test]
async fn a_foreign_key_from_or_to_the_table() {
    let db = Database::new("refuse_fk").await;
    db.sql(&[
        "CREATE TABLE parent (id INT PRIMARY KEY)",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, CONSTRAINT fk_p FOREIGN KEY (p) REFERENCES parent (id))",
    ])
    .await;
    refused(&db, "parent", "ADD c INT", &["fk_p", "refuse_fk.child", "refuse_fk.parent"]).await;
    refused(&db, "child", "ADD c INT", &["fk_p"]).await;
    db.sql(&["CREATE TABLE free (id INT PRIMARY KEY, p INT)"]).await;
    refused(&db, "free", "ADD FOREIGN KEY (p) REFERENCES parent (id)", &["foreign key"]).await;
}

#[tokio::test]
async fn a_trigger_on_the_table() {
    let db = Database::new("refuse_trigger").await;
    db.sql(&[
        "CREATE TABLE t (id INT PRIMARY KEY, n INT)",
        "CREATE TRIGGER t_before BEFORE INSERT ON t FOR EACH ROW SET NEW.n = 1",
    ])
    .await;
    refused(&db, "t", "ADD c INT", &["t_before", "triggers"]).await;
}

#[tokio::test]
async fn a_view_on_a_column_that_goes_but_not_on_one_that_stays() {
    let db = Database::new("refuse_view").await;
    db.sql(&[
        "CREATE TABLE t (id INT PRIMARY KEY, n INT, m INT)",
        "CREATE VIEW v AS SELECT id, n FROM t",
    ])
    .await;
    refused(&db, "t", "RENAME COLUMN n TO o", &["refuse_view.v", "n"]).await;
    refused(&db, "t", "DROP COLUMN n", &["refuse_view.v"]).await;
    db.alter("t", "DROP COLUMN m").await.expect("the view does not use m");
}

#[tokio::test]
async fn a_table_without_a_key_that_both_structures_share() {
    let db = Database::new("refuse_key").await;
    db.sql(&[
        "CREATE TABLE none (n INT)",
        "CREATE TABLE nullable (n INT, UNIQUE (n))",
        "CREATE TABLE prefix (c VARCHAR(100) NOT NULL, UNIQUE u (c(10)))",
        "CREATE TABLE changed (id INT PRIMARY KEY, c VARCHAR(10) CHARACTER SET latin1 NOT NULL)",
        "CREATE TABLE text_key (c VARCHAR(10) PRIMARY KEY)",
        "CREATE TABLE fraction (f DOUBLE PRIMARY KEY)",
        "CREATE TABLE mixed (a INT, b INT, PRIMARY KEY (a ASC, b DESC))",
    ])
    .await;
    refused(&db, "none", "ADD c INT", &["no PRIMARY KEY"]).await;
    refused(&db, "nullable", "ADD c INT", &["allows NULL in `n`"]).await;
    refused(&db, "prefix", "ADD d INT", &["prefix"]).await;
    refused(&db, "changed", "DROP PRIMARY KEY, ADD PRIMARY KEY (c)", &["no counterpart"]).await;
    refused(&db, "changed", "DROP COLUMN id, ADD PRIMARY KEY (c)", &["loses the column `id`"])
        .await;
    refused(&db, "text_key", "MODIFY c VARCHAR(10) COLLATE utf8mb4_bin", &["changes `c`"]).await;
    refused(&db, "fraction", "ADD c INT", &["double cannot serve as a key"]).await;
    refused(&db, "mixed", "ADD c INT", &["ascending and descending"]).await;
}

#[tokio::test]
async fn an_engine_other_than_innodb() {
    let db = Database::new("refuse_engine").await;
    db.sql(&[
        "CREATE TABLE m (id INT PRIMARY KEY) ENGINE = MyISAM",
        "CREATE TABLE i (id INT PRIMARY KEY)",
    ])
    .await;
    refused(&db, "m", "ADD c INT", &["MyISAM"]).await;
    refused(&db, "i", "ENGINE = MyISAM", &["MyISAM"]).await;
}

#[tokio::test]
async fn a_statement_that_is_not_what_it_should_be() {
    let db = Database::new("refuse_statement").await;
    db.sql(&["CREATE TABLE t (id INT PRIMARY KEY)", "CREATE VIEW v AS SELECT 1"]).await;
    refused(&db, "absent", "ADD c INT", &["there is no table", "absent"]).await;
    refused(&db, "v", "ADD c INT", &["view"]).await;
    refused(&db, "t", "ADD c NONSENSE", &["the server refuses the ALTER"]).await;
    refused(&db, "t", "ADD c INT, ALGORITHM=INPLACE", &["ALGORITHM"]).await;
    refused(&db, "t", "RENAME TO u", &["renames the table"]).await;
    refused(&db, "t", "ADD c INT AUTO_INCREMENT UNIQUE", &["AUTO_INCREMENT"]).await;
    refused(&db, "t", "ALTER TABLE u ADD c INT", &["--table says t", "u"]).await;
    refused(&db, "t", "", &["no clauses"]).await;
}

#[tokio::test]
async fn a_name_that_is_taken() {
    let db = Database::new("refuse_taken").await;
    db.sql(&["CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE _t_replank_new (mine INT)"])
        .await;
    refused(&db, "t", "ADD c INT", &["_t_replank_new", "exists already"]).await;
}

#[tokio::test]
async fn a_second_run_on_the_same_table() {
    let db = Database::new("refuse_second").await;
    db.sql(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let name = replank::sql::TableName::new("refuse_second", "t");
    let lock = replank::server::RunLock::acquire(&db.server(), &name).await.expect("free");
    refused(&db, "t", "ADD c INT", &["another replank", "connection"]).await;
    lock.release().await;
    db.alter("t", "ADD c INT").await.expect("free again");
}

#[tokio::test]
async fn an_account_without_the_privileges_is_told_each_one() {
    let db = Database::new("refuse_grants").await;
    db.sql(&[
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "DROP USER IF EXISTS poor@localhost",
        "CREATE USER poor@localhost IDENTIFIED BY 'secret-word'",
        "GRANT SELECT, INSERT ON refuse_grants.* TO poor@localhost",
    ])
    .await;
    let poor = Database {
        name: db.name.clone(),
        opts: db.opts.clone().user(Some("poor")).pass(Some("secret-word")),
    };
    let before = db.fingerprint().await;
    let error = poor.alter("t", "ADD c INT").await.expect_err("it has to be refused");
    assert_eq!(error.kind(), Kind::Refused);
    let remedy = error.next_step().unwrap_or_default();

    assert!(remedy.contains("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.*"), "{remedy}");
    assert!(
        remedy.contains("LOCK TABLES") && remedy.contains("CREATE TEMPORARY TABLES"),
        "{remedy}"
    );
    assert!(!remedy.contains("SELECT,"), "it has SELECT: {remedy}");
    assert!(!format!("{error} {remedy}").contains("secret-word"));
    assert_eq!(db.fingerprint().await, before);

    // With exactly what was named, the run works.
    for grant in remedy.split_inclusive(';') {
        db.sql(&[grant.trim().trim_end_matches(';')]).await;
    }
    poor.alter("t", "ADD c INT").await.expect("the grants that were named are enough");
}

/// Whoever was cut off before the end of a run gives the command once more.
#[tokio::test]
async fn a_statement_that_was_carried_out_already_is_said_to_be() {
    let db = Database::new("refuse_again").await;
    db.sql(&["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)"]).await;
    db.alter("t", "ADD COLUMN c INT").await.expect("done");
    let again = db.alter("t", "ADD COLUMN c INT").await.expect_err("there is such a column");
    assert_eq!(again.kind(), Kind::Refused);
    let remedy = again.next_step().unwrap_or_default();
    assert!(remedy.contains("carried out this very statement"), "{remedy}");
    let other = db.alter("t", "ADD COLUMN c BIGINT").await.expect_err("there is such a column");
    let remedy = other.next_step().unwrap_or_default();
    assert!(remedy.contains("Mend the statement"), "{remedy}");
}
