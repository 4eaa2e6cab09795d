use proptest::prelude::*;

use super::*;
use crate::error::Kind;
use crate::schema::lexer::tests::{any_dialect, sql_like};

const MYSQL: Dialect =
    Dialect { ansi_quotes: false, no_backslash_escapes: false, server_version: 90704 };

fn clauses(text: &str) -> AlterStatement {
    AlterStatement::parse_clauses(text, MYSQL).unwrap()
}

fn facts(text: &str) -> Facts {
    clauses(text).facts
}

fn renames(text: &str) -> Vec<(String, String)> {
    clauses(text).renames
}

fn refusal(text: &str) -> String {
    let error = AlterStatement::parse_clauses(text, MYSQL).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.next_step().is_some(), "{error} has no remedy");
    error.to_string()
}

fn pair(old: &str, new: &str) -> (String, String) {
    (old.to_owned(), new.to_owned())
}

#[test]
fn a_statement_is_parted_into_its_table_and_its_clauses() {
    let alter = AlterStatement::parse("alter table `my db`.t ADD a INT ; ", MYSQL).unwrap();
    assert_eq!(alter.table, Some((Some("my db".to_owned()), "t".to_owned())));
    assert_eq!(alter.clauses, "ADD a INT");
    let alter = AlterStatement::parse("ALTER ONLINE TABLE t FORCE", MYSQL).unwrap();
    assert_eq!(alter.table, Some((None, "t".to_owned())));
    assert!(alter.facts.force);
}

#[test]
fn clauses_alone_name_no_table_but_a_whole_statement_does() {
    assert_eq!(clauses("ADD a INT").table, None);
    let alter = clauses("/* x */ ALTER TABLE shop.t ADD a INT");
    assert_eq!(alter.table, Some((Some("shop".to_owned()), "t".to_owned())));
    assert_eq!(alter.clauses, "ADD a INT");
    assert_eq!(clauses("ALTER a SET DEFAULT 1").table, None);
    assert_eq!(clauses("ALTER online SET DEFAULT 1").table, None);
}

#[test]
fn clauses_are_kept_as_given_up_to_their_last_token() {
    let text = " ADD a INT /* why */ ,\n  DROP b -- because\n ; -- done";
    assert_eq!(clauses(text).clauses, "ADD a INT /* why */ ,\n  DROP b");
}

#[test]
fn marks_of_version_comments_become_spaces_of_the_same_length() {
    let alter = clauses("/*!80000 ALTER TABLE t ADD a INT */ /*!99999 , DROP b */");
    assert_eq!(alter.clauses, "ADD a INT");
    let alter =
        clauses("ADD a INT /*!080000 , RENAME COLUMN b TO c */, DROP d /*!99999 x */, FORCE");
    assert_eq!(
        alter.clauses,
        "ADD a INT           , RENAME COLUMN b TO c   , DROP d /*!99999 x */, FORCE"
    );
    assert_eq!(alter.renames, [pair("b", "c")]);
    assert_eq!(alter.facts.dropped_columns, ["d"]);
}

#[test]
fn renames_of_one_alter_happen_at_once_so_columns_swap() {
    let swap = clauses("RENAME COLUMN a TO b, CHANGE COLUMN `b` a INT NOT NULL");
    assert_eq!(swap.renames, [pair("a", "b"), pair("b", "a")]);
    assert_eq!(swap.source_column("A"), Some("b"));
    assert_eq!(swap.source_column("b"), Some("a"));
    assert_eq!(swap.source_column("c"), Some("c"));
}

#[test]
fn a_column_that_is_dropped_and_added_again_begins_anew() {
    let again = clauses("DROP a, ADD COLUMN A INT DEFAULT 7");
    assert_eq!(again.source_column("a"), None);
    let moved = clauses("RENAME COLUMN a TO z, ADD COLUMN a INT");
    assert_eq!((moved.source_column("a"), moved.source_column("z")), (None, Some("a")));
    let taken_over = clauses("DROP a, RENAME COLUMN b TO a");
    assert_eq!((taken_over.source_column("a"), taken_over.source_column("b")), (Some("b"), None));
}

#[test]
fn a_change_that_keeps_the_name_is_no_rename_but_one_of_its_case_is() {
    assert_eq!(
        renames("CHANGE a a BIGINT, CHANGE b B INT, RENAME COLUMN c TO `c`"),
        [pair("b", "B")]
    );
    assert_eq!(clauses("CHANGE b B INT").source_column("b"), Some("b"));
}

#[test]
fn a_quoted_name_is_never_a_keyword() {
    let alter = clauses("DROP COLUMN `primary`, DROP `index`, RENAME COLUMN `to` TO `column`");
    assert_eq!(alter.facts.dropped_columns, ["primary", "index"]);
    assert!(!alter.facts.drops_primary);
    assert_eq!(alter.renames, [pair("to", "column")]);
    let facts = facts("ADD `key` INT, ADD `unique` INT AFTER `primary`, DROP `partition`");
    assert_eq!(facts.added_columns, ["key", "unique"]);
    assert!(!facts.adds_primary && !facts.added_unique && !facts.changes_partitioning);
    assert_eq!(renames("CHANGE `column` `rename column a to b` INT").len(), 1);
}

#[test]
fn double_quotes_name_columns_under_ansi_quotes() {
    let ansi = Dialect { ansi_quotes: true, ..MYSQL };
    let text = "RENAME COLUMN \"a\"\"b\" TO \"to\", ADD c INT COMMENT 'x'";
    let alter = AlterStatement::parse_clauses(text, ansi).unwrap();
    assert_eq!(alter.renames, [pair("a\"b", "to")]);
    assert!(refusal(text).contains("the old name is missing"));
}

#[test]
fn comments_may_stand_between_any_tokens() {
    let text = "/*a*/RENAME/*b*/COLUMN#c\na--\td\nTO/**/b/*,DROP x*/,/*!80000 DROP*/COLUMN c";
    assert_eq!(renames(text), [pair("a", "b")]);
    assert_eq!(facts(text).dropped_columns, ["c"]);
}

#[test]
fn strings_and_expressions_that_look_like_clauses_are_none() {
    let text = "ADD a ENUM('a,b','RENAME COLUMN x TO y') COMMENT ', DROP COLUMN b, UNIQUE', \
                ADD g INT GENERATED ALWAYS AS (IF(a, 1, `drop`)) STORED, \
                ADD u VARCHAR(36) DEFAULT (CONCAT('a', ',', UUID())) CHECK (u <> ', KEY'), \
                MODIFY h DECIMAL(10, 2)";
    let alter = clauses(text);
    assert_eq!(
        alter.facts,
        Facts { added_columns: ["a", "g", "u"].map(str::to_owned).to_vec(), ..Facts::default() }
    );
    assert!(alter.renames.is_empty());
}

#[test]
fn add_takes_several_elements_in_parentheses() {
    let text = "ADD COLUMN (a INT, b DECIMAL(5, 2) UNIQUE), ADD (c INT, KEY kc (c), \
                CONSTRAINT u UNIQUE (c, a), PRIMARY KEY (c))";
    let facts = facts(text);
    assert_eq!(facts.added_columns, ["a", "b", "c"]);
    assert_eq!(facts.added_indexes, ["kc", "u"]);
    assert!(facts.added_unique && facts.adds_primary);
}

#[test]
fn indexes_are_listed_by_name() {
    let facts = facts(
        "ADD INDEX (a), ADD KEY USING BTREE (a), ADD INDEX i (a), ADD FULLTEXT f (b), \
         ADD SPATIAL INDEX s (g), ADD CONSTRAINT c UNIQUE KEY `k` (a), ADD CONSTRAINT UNIQUE (b), \
         DROP INDEX d, DROP KEY e, RENAME INDEX x TO y, RENAME KEY y TO x",
    );
    assert_eq!(facts.added_indexes, ["i", "f", "s", "k"]);
    assert_eq!(facts.dropped_indexes, ["d", "e"]);
    assert_eq!(facts.renamed_indexes, [pair("x", "y"), pair("y", "x")]);
    assert!(facts.added_unique && !facts.adds_primary && !facts.drops_primary);
}

#[test]
fn the_attributes_of_a_column_may_make_keys() {
    assert!(facts("ADD a INT KEY").adds_primary);
    assert!(facts("MODIFY a INT PRIMARY KEY").adds_primary);
    let unique = facts("CHANGE a b INT UNIQUE KEY");
    assert!(unique.added_unique && !unique.adds_primary);
    assert!(facts("ADD a INT REFERENCES shop.key (id)").adds_foreign_key);
    assert!(!facts("ADD a INT REFERENCES shop.key (id)").adds_primary);
    assert!(!facts("ADD a INT COMMENT 'KEY' AFTER b").adds_primary);
}

#[test]
fn the_primary_key_may_be_dropped_in_three_ways() {
    for text in ["DROP PRIMARY KEY", "DROP INDEX `PRIMARY`", "DROP CONSTRAINT `primary`"] {
        let facts = facts(text);
        assert!(facts.drops_primary && !facts.drops_foreign_key, "{text}");
        assert!(facts.dropped_indexes.is_empty() && facts.constraints.is_empty(), "{text}");
    }
}

#[test]
fn named_foreign_keys_and_checks_are_found_with_their_place() {
    use ConstraintAction::{Add, Alter, Drop};
    use ConstraintKind::{Any, Check, ForeignKey};
    let alter = clauses(
        "  ADD CONSTRAINT `f``1` FOREIGN KEY i (a) REFERENCES t (id), DROP FOREIGN KEY f2, \
         ADD CONSTRAINT c1 CHECK (a > 0), ADD b INT CONSTRAINT c2 CHECK (b > 0), DROP CHECK c3, \
         DROP CONSTRAINT x, ALTER CHECK c4 NOT ENFORCED, ADD CHECK (a > 1), \
         ADD CONSTRAINT FOREIGN KEY (a) REFERENCES t (id)",
    );
    let found: Vec<_> = alter
        .facts
        .constraints
        .iter()
        .map(|c| (c.action, c.kind, c.name.as_str(), &alter.clauses[c.span.clone()]))
        .collect();
    assert_eq!(
        found,
        [
            (Add, ForeignKey, "f`1", "`f``1`"),
            (Drop, ForeignKey, "f2", "f2"),
            (Add, Check, "c1", "c1"),
            (Add, Check, "c2", "c2"),
            (Drop, Check, "c3", "c3"),
            (Drop, Any, "x", "x"),
            (Alter, Check, "c4", "c4"),
        ]
    );
    assert!(alter.facts.adds_foreign_key && alter.facts.drops_foreign_key);
    assert!(!facts("DROP CHECK c").drops_foreign_key);
    assert!(facts("DROP CONSTRAINT c").drops_foreign_key);
}

#[test]
fn table_options_need_no_commas_and_no_equals_signs() {
    let all = facts(
        "COMMENT 'ENGINE=MyISAM' ROW_FORMAT=DYNAMIC AUTO_INCREMENT=5, UNION=(a, b) \
         DEFAULT CHARACTER SET = utf8mb4 COLLATE utf8mb4_bin DATA DIRECTORY '/d' \
         TABLESPACE s STORAGE DISK ENGINE 'InnoDB' STATS_PERSISTENT=DEFAULT",
    );
    assert_eq!(
        all,
        Facts {
            sets_auto_increment: true,
            sets_comment: true,
            engine: Some("InnoDB".to_owned()),
            ..Facts::default()
        }
    );
    assert_eq!(facts("engine=innodb").engine.as_deref(), Some("innodb"));
    assert_eq!(facts("ROW_FORMAT=COMPRESSED, KEY_BLOCK_SIZE 8"), Facts::default());
}

#[test]
fn attributes_of_columns_are_no_table_options() {
    let text =
        "MODIFY a INT AUTO_INCREMENT COMMENT 'x', ADD b INT COMMENT 'y' ENGINE_ATTRIBUTE='{}'";
    assert!(!facts(text).sets_auto_increment && !facts(text).sets_comment);
    let options = facts("CONVERT TO CHARACTER SET utf8mb4, ALTER COLUMN a SET DEFAULT (1 + 1)");
    assert_eq!(options, Facts { convert_charset: true, ..Facts::default() });
}

#[test]
fn partition_options_end_the_statement_without_a_comma() {
    let alter = clauses(
        "ADD a INT, ENGINE=InnoDB PARTITION BY RANGE (a) \
         (PARTITION p0 VALUES LESS THAN (1) COMMENT = 'x', PARTITION p1 VALUES LESS THAN MAXVALUE)",
    );
    assert!(alter.facts.changes_partitioning && !alter.facts.sets_comment);
    assert_eq!(alter.facts.added_columns, ["a"]);
    for text in [
        "PARTITION BY KEY (a) PARTITIONS 4",
        "DROP a REMOVE PARTITIONING",
        "ADD PARTITION (PARTITION p VALUES LESS THAN (9))",
    ] {
        assert!(facts(text).changes_partitioning, "{text}");
    }
}

#[test]
fn order_by_takes_everything_after_it() {
    let facts = facts("DROP x, ORDER BY a, b DESC, c PARTITION BY HASH (a)");
    assert!(facts.order_by && facts.changes_partitioning);
    assert_eq!(facts.dropped_columns, ["x"]);
}

#[test]
fn clauses_that_rebuild_no_rows_are_refused() {
    for (text, why) in [
        ("ADD a INT, ALGORITHM=INPLACE", "ALGORITHM"),
        ("lock none, ADD a INT", "LOCK"),
        ("RENAME TO u", "renames the table"),
        ("RENAME u", "renames the table"),
        ("RENAME AS x.u", "renames the table"),
        ("RENAME `column`", "renames the table"),
        ("DISCARD TABLESPACE", "DISCARD TABLESPACE"),
        ("IMPORT PARTITION p TABLESPACE", "IMPORT TABLESPACE"),
        ("ENABLE KEYS", "ENABLE KEYS"),
        ("DISABLE KEYS", "DISABLE KEYS"),
        ("EXCHANGE PARTITION p WITH TABLE t", "EXCHANGE PARTITION"),
        ("DROP PARTITION p", "DROP PARTITION"),
        ("TRUNCATE PARTITION ALL", "TRUNCATE PARTITION"),
        ("REORGANIZE PARTITION p INTO (PARTITION q VALUES IN (1))", "REORGANIZE PARTITION"),
        ("COALESCE PARTITION 2", "COALESCE PARTITION"),
        ("REBUILD PARTITION p", "REBUILD PARTITION"),
        ("OPTIMIZE PARTITION p", "OPTIMIZE PARTITION"),
        ("ANALYZE PARTITION p", "ANALYZE PARTITION"),
        ("CHECK PARTITION p", "CHECK PARTITION"),
        ("REPAIR PARTITION p", "REPAIR PARTITION"),
        ("SECONDARY_LOAD", "SECONDARY_LOAD"),
        ("ALTER IGNORE TABLE t ADD UNIQUE (a)", "ALTER IGNORE"),
    ] {
        assert!(refusal(text).contains(why), "{text}: {}", refusal(text));
    }
}

#[test]
fn what_cannot_be_read_for_certain_is_refused() {
    for text in [
        "",
        " /* nothing */ ;",
        "ALTER TABLE t",
        "ADD a INT; DROP b",
        "ADD a INT, ",
        "ADD a INT,, DROP b",
        "ADD a",
        "ADD a INT (",
        "ADD a INT)",
        "ADD (a INT) FIRST",
        "DROP t.a",
        "DROP COLUMN",
        "DROP SYSTEM VERSIONING",
        "DROP IF EXISTS a",
        "DROP FOREIGN f",
        "CHANGE t.a b INT",
        "CHANGE a 'b' INT",
        "RENAME COLUMN a b",
        "RENAME COLUMN a TO b c",
        "RENAME COLUMN t.a TO b",
        "CONVERT PARTITION p TO TABLE t",
        "ADD CONSTRAINT c (a)",
        "FORCE now",
        "ENGINE",
        "COMMENT = , DROP a",
        "'a'",
        "CREATE INDEX i ON t (a)",
        "SELECT 1",
        "ADD a ENUM('x",
    ] {
        refusal(text);
    }
}

#[test]
fn another_statement_is_refused_with_what_is_wanted() {
    for text in
        ["CREATE TABLE t (a INT)", "DROP TABLE t", "ADD a INT", "ALTER VIEW v AS SELECT 1", ""]
    {
        let error = AlterStatement::parse(text, MYSQL).unwrap_err();
        assert!(error.to_string().contains("no ALTER TABLE"), "{error}");
        assert!(error.next_step().is_some_and(|step| step.contains("--alter")));
    }
    assert!(AlterStatement::parse("ALTER TABLE 't' FORCE", MYSQL).is_err());
    assert!(AlterStatement::parse("ALTER TABLE a.b.c FORCE", MYSQL).is_err());
}

#[test]
fn a_refusal_says_where() {
    assert_eq!(
        refusal("ADD a INT,\n  DROP b c"),
        "the ALTER cannot be read at line 2, column 10 near c: this was not expected"
    );
}

/// Clauses made of words that the reader knows, in any order.
fn clause_like() -> impl Strategy<Value = String> {
    let words = "ADD DROP CHANGE MODIFY RENAME ALTER COLUMN INDEX KEY PRIMARY UNIQUE FOREIGN CHECK \
                 CONSTRAINT TO a b `to` 'x' ( ) , , = . INT PARTITION BY REMOVE PARTITIONING ORDER \
                 ENGINE COMMENT UNION REFERENCES DEFAULT TABLE /*!80000 */ ;";
    let words: Vec<&str> = words.split_whitespace().collect();
    proptest::collection::vec(proptest::sample::select(words), 0..20)
        .prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_text_panics(text in sql_like(), dialect in any_dialect()) {
        let _ = AlterStatement::parse(&text, dialect);
        let _ = AlterStatement::parse_clauses(&text, dialect);
    }

    #[test]
    fn what_is_read_reads_the_same_again(text in clause_like()) {
        if let Ok(alter) = AlterStatement::parse_clauses(&text, MYSQL) {
            for constraint in &alter.facts.constraints {
                prop_assert!(alter.clauses.get(constraint.span.clone()).is_some());
            }
            let whole = format!("ALTER TABLE `s`.`t` {}", alter.clauses);
            let again = AlterStatement::parse(&whole, MYSQL).unwrap();
            prop_assert_eq!(&again.clauses, &alter.clauses);
            prop_assert_eq!(again.renames, alter.renames);
            prop_assert_eq!(again.facts, alter.facts);
        }
    }

    #[test]
    fn any_pair_of_quoted_names_is_a_rename(old in "\\PC{1,9}", new in "\\PC{1,9}") {
        let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
        let text = format!("RENAME COLUMN {} TO {}", quoted(&old), quoted(&new));
        let expected = if old == new { vec![] } else { vec![(old, new)] };
        prop_assert_eq!(renames(&text), expected);
    }
}
