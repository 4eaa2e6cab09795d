//! Says of a statement from the binary log what kind it is, and whether it touches a table.
//!
//! The answers err to the safe side. A statement mentions a table if a name in it may mean the
//! table, wherever it stands: a column or an alias of the same name counts too, and so does text
//! that cannot be cut into tokens but contains the name. The reverse cannot happen: MySQL has no
//! way to write a table's name but as an identifier, bare or quoted. Only a statement that works on
//! a table without naming it goes unseen: `DROP TRIGGER`, `DROP DATABASE`, and a call of a routine.

use std::borrow::Cow;

use crate::schema::alter::same_name;
use crate::schema::lexer::{Dialect, Pieces, Token, TokenKind, tokens, unquote};

/// What a statement of the binary log is, as far as replication of a table is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementKind {
    /// `BEGIN`, `START TRANSACTION`.
    Begin,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK` of the whole transaction.
    Rollback,
    /// `SAVEPOINT`, `ROLLBACK TO`, `RELEASE SAVEPOINT`: the transaction goes on.
    Savepoint,
    /// `XA START` or `XA BEGIN`, with the xid as it was written (`X'61',X'',1`), as for all of XA.
    XaStart(String),
    /// `XA END`.
    XaEnd(String),
    /// `XA PREPARE`.
    XaPrepare(String),
    /// `XA COMMIT`, in one phase or after a prepare.
    XaCommit(String),
    /// `XA ROLLBACK`.
    XaRollback(String),
    /// CREATE, ALTER, DROP, RENAME or TRUNCATE TABLE; CREATE or DROP INDEX or TRIGGER.
    TableDdl,
    /// DDL and administration that changes no base table: views, users, grants, routines, events,
    /// temporary tables, ANALYZE, OPTIMIZE, FLUSH and the like.
    OtherDdl,
    /// CREATE, ALTER or DROP DATABASE, with its name where it is given (ALTER may omit it).
    SchemaDdl(Option<String>),
    /// INSERT, UPDATE, DELETE, REPLACE, LOAD, CALL, WITH.
    Dml,
    /// Anything else, and text that cannot be read.
    Other,
}

/// What kind of statement this is, by its first words. Text after them need not be readable.
pub fn statement_kind(sql: &str, dialect: Dialect) -> StatementKind {
    let mut words = Words::new(sql, dialect);
    let Some(first) = words.next().filter(|token| token.kind == TokenKind::Word) else {
        return StatementKind::Other;
    };
    match first.text.to_ascii_uppercase().as_str() {
        "BEGIN" => StatementKind::Begin,
        "START" if words.take_word(&["TRANSACTION"]) => StatementKind::Begin,
        "COMMIT" => StatementKind::Commit,
        "ROLLBACK" => {
            words.take_word(&["WORK"]);
            if words.take_word(&["TO"]) {
                StatementKind::Savepoint
            } else {
                StatementKind::Rollback
            }
        }
        "SAVEPOINT" => StatementKind::Savepoint,
        "RELEASE" if words.take_word(&["SAVEPOINT"]) => StatementKind::Savepoint,
        "XA" => xa(sql, words),
        "CREATE" | "ALTER" | "DROP" => ddl(words),
        "RENAME" if words.take_word(&["USER"]) => StatementKind::OtherDdl,
        "RENAME" | "TRUNCATE" => StatementKind::TableDdl,
        "GRANT" | "REVOKE" | "ANALYZE" | "OPTIMIZE" | "REPAIR" | "CHECK" | "FLUSH" | "INSTALL"
        | "UNINSTALL" => StatementKind::OtherDdl,
        "SET" if words.take_word(&["PASSWORD", "DEFAULT"]) => StatementKind::OtherDdl,
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "CALL" | "WITH" => StatementKind::Dml,
        _ => StatementKind::Other,
    }
}

/// Whether a statement may work on `schema`.`table`, where `default_schema` is the one that it ran
/// in. Names are compared without regard to case.
pub fn mentions_table(
    sql: &str,
    default_schema: &str,
    schema: &str,
    table: &str,
    dialect: Dialect,
) -> bool {
    let Ok(tokens) = tokens(sql, dialect) else {
        let (sql, table) = (sql.to_lowercase(), table.to_lowercase());
        return sql.contains(&table) || sql.contains(&table.replace('`', "``"));
    };
    let is = |token: &Token<'_>, wanted: &str| {
        possible_name(token).is_some_and(|name| same_name(&name, wanted))
    };
    // A statement that names the schema anywhere may mean it for other names too: the table after
    // REFERENCES, for one, is looked for in the schema of the table that is created.
    let schema_at_hand =
        same_name(default_schema, schema) || tokens.iter().any(|token| is(token, schema));
    tokens.iter().enumerate().any(|(at, token)| {
        is(token, table)
            && match qualifier(&tokens, at) {
                Some(qualifier) => is(qualifier, schema),
                None => schema_at_hand,
            }
    })
}

/// The name before the dot before this token.
fn qualifier<'t, 'a>(tokens: &'t [Token<'a>], at: usize) -> Option<&'t Token<'a>> {
    tokens.get(at.checked_sub(1)?).filter(|dot| dot.is_punct("."))?;
    tokens.get(at.checked_sub(2)?).filter(|token| possible_name(token).is_some())
}

/// The name that a token may stand for. The flags in an event may not be those under which the
/// statement's author wrote it, so a string in double quotes is taken for a name as well.
fn possible_name<'a>(token: &Token<'a>) -> Option<Cow<'a, str>> {
    let quoted = token.kind == TokenKind::Text && token.text.starts_with('"');
    if quoted { Some(unquote(token.text)) } else { token.name() }
}

/// The first tokens of a statement, which can be read even if a later one cannot.
struct Words<'a> {
    pieces: Pieces<'a>,
    ahead: Option<Token<'a>>,
}

impl<'a> Words<'a> {
    fn new(sql: &'a str, dialect: Dialect) -> Self {
        Words { pieces: Pieces::new(sql, dialect), ahead: None }
    }

    fn peek(&mut self) -> Option<Token<'a>> {
        self.ahead = self.next();
        self.ahead
    }

    /// Takes one of these keywords if it comes next.
    fn take_word(&mut self, keywords: &[&str]) -> bool {
        self.peek().is_some_and(|token| token.is_one_of(keywords)) && self.next().is_some()
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if let Some(token) = self.ahead.take() {
            return Some(token);
        }
        self.pieces.by_ref().map_while(Result::ok).find_map(|piece| piece.token())
    }
}

fn xa(sql: &str, mut words: Words<'_>) -> StatementKind {
    let kind = match words.next().map(|token| token.text.to_ascii_uppercase()).as_deref() {
        Some("START" | "BEGIN") => StatementKind::XaStart,
        Some("END") => StatementKind::XaEnd,
        Some("PREPARE") => StatementKind::XaPrepare,
        Some("COMMIT") => StatementKind::XaCommit,
        Some("ROLLBACK") => StatementKind::XaRollback,
        _ => return StatementKind::Other,
    };
    // What follows the xid (ONE PHASE, JOIN, RESUME, SUSPEND) is not part of it.
    let of_xid = |token: &Token<'_>| {
        matches!(token.kind, TokenKind::Text | TokenKind::Number) || token.is_punct(",")
    };
    let xid: Vec<_> = words.take_while(of_xid).collect();
    let span = xid.first().zip(xid.last()).map(|(first, last)| first.start..last.end());
    kind(span.and_then(|span| sql.get(span)).unwrap_or_default().to_owned())
}

/// Objects that are no base tables, as far as words of their definitions could mislead [`ddl`].
const OTHER_OBJECTS: [&str; 11] = [
    "VIEW",
    "PROCEDURE",
    "FUNCTION",
    "LIBRARY",
    "EVENT",
    "USER",
    "ROLE",
    "SERVER",
    "TABLESPACE",
    "INSTANCE",
    "RESOURCE",
];

/// CREATE, ALTER or DROP: the first word that is a kind of object decides, after options such as
/// OR REPLACE, UNIQUE, ALGORITHM = …, DEFINER = … and SQL SECURITY ….
fn ddl(mut words: Words<'_>) -> StatementKind {
    let mut temporary = false;
    while let Some(token) = words.next() {
        if token.is_punct("=") {
            // The value of an option, such as the account of a definer, is no kind of object.
            words.next();
        } else if token.is_word("TEMPORARY") {
            temporary = true;
        } else if token.is_one_of(&["TABLE", "TABLES"]) && temporary {
            return StatementKind::OtherDdl;
        } else if token.is_one_of(&["TABLE", "TABLES", "INDEX", "TRIGGER"]) {
            return StatementKind::TableDdl;
        } else if token.is_one_of(&["DATABASE", "SCHEMA"]) {
            return StatementKind::SchemaDdl(schema_name(words));
        } else if token.is_one_of(&OTHER_OBJECTS) {
            return StatementKind::OtherDdl;
        }
    }
    StatementKind::OtherDdl
}

fn schema_name(mut words: Words<'_>) -> Option<String> {
    const OPTIONS: [&str; 6] = ["DEFAULT", "CHARACTER", "CHARSET", "COLLATE", "ENCRYPTION", "READ"];
    while words.take_word(&["IF", "NOT", "EXISTS"]) {}
    let name = words.next().filter(|token| !token.is_one_of(&OPTIONS))?;
    possible_name(&name).map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::lexer::tests::{any_dialect, sql_like};

    const MYSQL: Dialect =
        Dialect { ansi_quotes: false, no_backslash_escapes: false, server_version: 90704 };

    fn kind(sql: &str) -> StatementKind {
        statement_kind(sql, MYSQL)
    }

    /// Whether a statement that ran in schema app mentions shop.users.
    fn mentions(sql: &str) -> bool {
        mentions_table(sql, "app", "shop", "users", MYSQL)
    }

    fn mentions_at_home(sql: &str) -> bool {
        mentions_table(sql, "shop", "shop", "users", MYSQL)
    }

    #[test]
    fn a_rollback_to_a_savepoint_does_not_end_the_transaction() {
        for sql in ["ROLLBACK TO sp", "ROLLBACK WORK TO SAVEPOINT sp", "SAVEPOINT `a`"] {
            assert_eq!(kind(sql), StatementKind::Savepoint, "{sql}");
        }
        assert_eq!(kind("release /* x */ savepoint sp"), StatementKind::Savepoint);
        assert_eq!(kind("ROLLBACK"), StatementKind::Rollback);
        assert_eq!(kind("/* app */ rollback work"), StatementKind::Rollback);
        assert_eq!(kind("COMMIT"), StatementKind::Commit);
        assert_eq!(kind("BEGIN"), StatementKind::Begin);
        assert_eq!(kind("start transaction read only"), StatementKind::Begin);
        assert_eq!(kind("START REPLICA"), StatementKind::Other);
    }

    #[test]
    fn xa_statements_carry_their_xid_as_written() {
        let xid = || "X'7831',X'62',1".to_owned();
        assert_eq!(kind("XA START X'7831',X'62',1"), StatementKind::XaStart(xid()));
        assert_eq!(kind("xa begin X'7831',X'62',1 JOIN"), StatementKind::XaStart(xid()));
        assert_eq!(kind("XA END X'7831',X'62',1 SUSPEND"), StatementKind::XaEnd(xid()));
        assert_eq!(kind("XA PREPARE X'7831',X'62',1"), StatementKind::XaPrepare(xid()));
        assert_eq!(kind("XA COMMIT X'7831',X'62',1 ONE PHASE"), StatementKind::XaCommit(xid()));
        assert_eq!(kind("XA ROLLBACK 'a'"), StatementKind::XaRollback("'a'".to_owned()));
        assert_eq!(kind("XA RECOVER"), StatementKind::Other);
    }

    #[test]
    fn ddl_is_sorted_by_the_object_it_works_on() {
        for sql in [
            "CREATE TABLE t (a INT)",
            "ALTER /* x */ TABLE t ADD a INT",
            "DROP TABLE IF EXISTS `t` /* generated by server */",
            "RENAME TABLE a TO b",
            "TRUNCATE t",
            "create unique index i on t (a)",
            "DROP INDEX i ON t",
            "CREATE DEFINER=`root`@`localhost` TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @a=1",
            "DROP TRIGGER shop.tr",
            "CREATE /*!50100 TABLE */ t LIKE u",
        ] {
            assert_eq!(kind(sql), StatementKind::TableDdl, "{sql}");
        }
        for sql in [
            "CREATE DEFINER=event@localhost VIEW v AS SELECT * FROM `table`",
            "CREATE OR REPLACE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW v AS TABLE t",
            "CREATE USER 'a'@'b'",
            "CREATE PROCEDURE p() DROP TABLE t",
            "DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `t`",
            "CREATE TEMPORARY TABLE t (a INT)",
            "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (DATABASE 'd')",
            "RENAME USER a TO b",
            "SET PASSWORD FOR a = 'x'",
            "GRANT ALL ON t TO u",
            "FLUSH TABLES",
            "ANALYZE TABLE t",
        ] {
            assert_eq!(kind(sql), StatementKind::OtherDdl, "{sql}");
        }
    }

    #[test]
    fn a_schema_change_names_its_schema() {
        let named = |name: &str| StatementKind::SchemaDdl(Some(name.to_owned()));
        assert_eq!(kind("DROP DATABASE IF EXISTS `my``db`"), named("my`db"));
        assert_eq!(kind("create schema if not exists shop charset latin1"), named("shop"));
        assert_eq!(kind("DROP DATABASE \"shop\""), named("shop"));
        assert_eq!(
            kind("ALTER DATABASE DEFAULT CHARACTER SET utf8mb4"),
            StatementKind::SchemaDdl(None)
        );
    }

    #[test]
    fn dml_is_known_even_if_the_rest_cannot_be_read() {
        for sql in [
            "INSERT INTO t VALUES ('",
            "/*!80000 update */ t SET a=1",
            "with a as (select 1) delete from t",
        ] {
            assert_eq!(kind(sql), StatementKind::Dml, "{sql}");
        }
        for sql in ["", "'INSERT'", "`INSERT` x", "/* INSERT", "SELECT 1", "SET @a = 1"] {
            assert_eq!(kind(sql), StatementKind::Other, "{sql}");
        }
    }

    #[test]
    fn a_bare_table_name_is_looked_for_in_the_default_schema() {
        assert!(mentions_at_home("ALTER TABLE users ADD a INT"));
        assert!(mentions_at_home("ALTER TABLE `Users` ADD a INT"));
        assert!(!mentions("ALTER TABLE users ADD a INT"));
        assert!(!mentions_at_home("ALTER TABLE users_old ADD users2 INT"));
    }

    #[test]
    fn a_qualified_name_is_compared_with_its_schema() {
        assert!(mentions("RENAME TABLE a TO SHOP . /* x */ `users`"));
        assert!(mentions("DELETE FROM shop.users WHERE users.id = 1"));
        assert!(!mentions("DROP TABLE other.users"));
        assert!(!mentions_at_home("DROP TABLE other.users"));
    }

    #[test]
    fn a_bare_name_counts_if_the_schema_is_named_elsewhere() {
        assert!(mentions("ALTER TABLE shop.orders ADD FOREIGN KEY (u) REFERENCES users (id)"));
        assert!(mentions("CREATE TRIGGER shop.tr BEFORE INSERT ON users FOR EACH ROW SET @a = 1"));
    }

    #[test]
    fn strings_and_comments_mention_nothing() {
        assert!(!mentions_at_home("ALTER TABLE t COMMENT 'users' /* users */ -- users"));
        assert!(mentions_at_home("ALTER TABLE \"users\" ADD a INT"));
        assert!(mentions_at_home("/*!80000 DROP TABLE users */"));
    }

    #[test]
    fn text_that_cannot_be_cut_mentions_what_it_contains() {
        assert!(mentions("INSERT INTO other.myUSERS VALUES ('"));
        assert!(!mentions("INSERT INTO t VALUES ('"));
        assert!(mentions_table("DROP TABLE `a``b`, `", "x", "shop", "a`b", MYSQL));
    }

    proptest! {
        #[test]
        fn no_statement_panics(sql in sql_like(), head in "(XA |CREATE |DROP |)", dialect in any_dialect()) {
            let sql = head + &sql;
            statement_kind(&sql, dialect);
            mentions_table(&sql, "app", "shop", "t", dialect);
        }

        #[test]
        fn a_quoted_table_is_always_found(name in "\\PC{1,12}", rest in sql_like()) {
            let sql = format!("DROP TABLE `{}` {rest}", name.replace('`', "``"));
            prop_assert!(mentions_table(&sql, "shop", "shop", &name, MYSQL));
        }
    }
}
