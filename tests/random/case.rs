//! A case: everything that makes up one random migration, in parts that can be left out one by one.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use replank::error::Kind;
use serde::{Deserialize, Serialize};

use crate::common::Database;
use crate::common::scenario::{Scenario, compare};

/// A column of the table besides its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) definition: String,
    /// Its value for the number `{v}`.
    pub(crate) value: String,
    /// Whether the writers may write it: it has the same name and type before and after.
    pub(crate) written: bool,
    /// Whether the writers may only move its values between rows, since the ALTER converts them.
    pub(crate) moved: bool,
}

/// A part of the table or of the ALTER, and the columns without which it makes no sense.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Clause {
    pub(crate) text: String,
    pub(crate) uses: Vec<String>,
}

/// The key: definitions of its columns, the index, names and values of the columns.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) columns: String,
    pub(crate) index: String,
    pub(crate) parts: Vec<(String, String)>,
}

/// One random migration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) key: Key,
    pub(crate) columns: Vec<Column>,
    pub(crate) indexes: Vec<Clause>,
    pub(crate) options: String,
    pub(crate) clauses: Vec<Clause>,
    pub(crate) session: Vec<String>,
    pub(crate) rows: i64,
    pub(crate) writers: usize,
    pub(crate) workers: usize,
}

/// How a case ended.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// Done, and right.
    Done,
    /// Refused or failed, with everything as it was.
    Stopped(String),
    /// Neither.
    Wrong(String),
}

impl Ending {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::Stopped(_) => "stopped",
            Ending::Wrong(_) => "wrong",
        }
    }
}

/// Duplicates and deadlocks are part of the workload, and so are a value that only the new structure
/// refuses: after the swap its CHECK constraint or its lack of a partition.
const TOLERATED: [u16; 2] = [1062, 3819];

impl Case {
    /// Leaves out what needs a column that is not there.
    pub(crate) fn consistent(mut self) -> Case {
        let names: Vec<String> = self
            .columns
            .iter()
            .map(|column| column.name.clone())
            .chain(self.key.parts.iter().map(|(name, _)| name.clone()))
            .collect();
        let whole = |clause: &Clause| clause.uses.iter().all(|name| names.contains(name));
        self.indexes.retain(whole);
        self.clauses.retain(whole);
        self
    }

    /// The table, the ALTER and the writes as texts.
    pub(crate) fn scenario(&self) -> Scenario {
        let name: &'static str = Box::leak(format!("random_{}", self.seed).into_boxed_str());
        let texts = |clauses: &[Clause]| clauses.iter().map(|c| c.text.clone()).collect::<Vec<_>>();
        let mut scenario = Scenario::new(name, "", &texts(&self.clauses).join(", "));
        scenario.ids = self.rows;
        scenario.writers = self.writers;
        scenario.session = self.session.clone();
        scenario.tolerated = TOLERATED.to_vec();
        let mut definition = vec![self.key.columns.clone()];
        definition.extend(self.columns.iter().map(|c| format!("{} {}", c.name, c.definition)));
        definition.push(self.key.index.clone());
        definition.extend(texts(&self.indexes));
        scenario.create =
            format!("CREATE TABLE {{t}} ({}) {}", definition.join(", "), self.options);
        let key_values = |v: &str, glue: &str| {
            let parts = self.key.parts.iter();
            parts
                .map(|(name, value)| format!("{name} = {}", value.replace("{v}", v)))
                .collect::<Vec<_>>()
                .join(glue)
        };
        let row = |v: &str, columns: &[&Column]| {
            let keys = self.key.parts.iter().map(|(_, value)| value.replace("{v}", v));
            let values = columns.iter().map(|column| column.value.replace("{v}", v));
            keys.chain(values).collect::<Vec<_>>().join(", ")
        };
        let names = |columns: &[&Column]| {
            let keys = self.key.parts.iter().map(|(name, _)| name.clone());
            keys.chain(columns.iter().map(|column| column.name.clone()))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let all: Vec<&Column> = self.columns.iter().collect();
        let written: Vec<&Column> = all.iter().copied().filter(|column| column.written).collect();
        let moved: Vec<&Column> =
            all.iter().copied().filter(|column| column.written || column.moved).collect();
        scenario.seed = vec![format!(
            "INSERT INTO {{t}} ({}) SELECT {} FROM numbers WHERE n <= {}",
            names(&all),
            row("n", &all),
            self.rows
        )];
        let here = key_values("{id}", " AND ");
        scenario.writes = vec![
            format!("DELETE FROM {{t}} WHERE {here}"),
            format!("UPDATE {{t}} SET {} WHERE {here}", key_values("{new}", ", ")),
            format!("INSERT INTO {{t}} ({}) VALUES ({})", names(&written), row("{new}", &written)),
        ];
        for column in &written {
            let value = column.value.replace("{v}", "{n}");
            scenario
                .writes
                .push(format!("UPDATE {{t}} SET {} = {value} WHERE {here}", column.name));
        }
        let other = key_values("(1 + {id} * 7 % 500)", " AND b.");
        let this = key_values("{id}", " AND a.");
        for column in &moved {
            scenario.writes.push(format!(
                "UPDATE {{t}} a JOIN {{t}} b ON b.{other} SET a.{c} = b.{c} WHERE a.{this}",
                c = column.name
            ));
        }
        scenario
    }

    /// Runs the migration and judges it.
    pub(crate) async fn sail(&self) -> Ending {
        let scenario = self.scenario();
        let verdict = AssertUnwindSafe(self.judge(&scenario)).catch_unwind();
        match tokio::time::timeout(Duration::from_secs(120), verdict).await {
            Ok(Ok(ending)) => ending,
            Ok(Err(panic)) => Ending::Wrong(words(&*panic)),
            Err(_) => Ending::Wrong("it hangs".to_owned()),
        }
    }

    async fn judge(&self, scenario: &Scenario) -> Ending {
        let db = Database::new(scenario.name).await;
        let outcome = scenario.run_with(&db, self.workers).await;
        match outcome {
            Ok(_) => {
                scenario.assert_equal(&db).await;
                Ending::Done
            }
            Err(error) if matches!(error.kind(), Kind::Refused | Kind::Failed) => {
                let tables: Vec<String> =
                    db.fingerprint().await.into_iter().map(|(name, ..)| name).collect();
                if tables != ["numbers", "t", "twin"] {
                    return Ending::Wrong(format!("left behind: {tables:?} after {error}"));
                }
                let mut conn = db.conn().await;
                compare(&mut conn, scenario.name, "t", "twin", false).await;
                Ending::Stopped(format!("{error}"))
            }
            Err(error) => Ending::Wrong(format!("{:?}: {error}", error.kind())),
        }
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
