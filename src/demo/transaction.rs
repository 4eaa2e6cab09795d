//! What a writer does next: transactions as values, made from a seed, without a server.
//!
//! # Why table and twin stay equal
//!
//! Every operation changes the table first and then, in the same transaction, the twin, with the
//! same statement. Whoever changes a row holds its lock on the table until the end of the
//! transaction, so two transactions change the twin's row in the order in which they changed the
//! table's. Where the table has no such row, no lock protects the twin's, so it is not touched.
//!
//! # Why no key is taken twice
//!
//! The table is filled with the key numbers 2, 4, …, 2n. The odd numbers below 2n are the free keys
//! that rows move to; each belongs to one writer, which uses it once. New rows get numbers above 2n.
//! So a duplicate key is never the application's own doing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::application::Application;
use crate::sql::{Ident, TableName, list};

/// How many keys of its own a writer remembers, to come back to them.
const REMEMBERED: usize = 256;

/// How often each operation is done, relative to the others; and how transactions are made of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// New rows, one to three in a statement.
    pub insert: u32,
    /// Updates of a random row that leave its key alone.
    pub update: u32,
    /// The same of one of a few rows that all writers update.
    pub hot: u32,
    /// Deletions of a random row.
    pub delete: u32,
    /// Changes of a row's key, half of them to the number just before it, half to anywhere.
    pub key_change: u32,
    /// A row deleted and another inserted with its key, in one transaction.
    pub replace: u32,
    /// Of 100 transactions, how many have several operations.
    pub several: u32,
    /// Of 100 transactions, how many are rolled back.
    pub rollback: u32,
}

impl Default for Mix {
    fn default() -> Self {
        Mix {
            insert: 25,
            update: 30,
            hot: 15,
            delete: 10,
            key_change: 15,
            replace: 5,
            several: 20,
            rollback: 5,
        }
    }
}

/// One operation. Rows are named by key number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operation {
    /// Rows whose keys the server gives.
    InsertUnnumbered { values: Vec<Vec<String>> },
    /// Rows with these keys.
    Insert { rows: Vec<(u64, Vec<String>)> },
    /// An update that leaves the key alone.
    Update { number: u64, set: String },
    /// A deletion.
    Delete { number: u64 },
    /// A change of the key and of other columns.
    KeyChange { from: u64, to: u64, set: String },
    /// A deletion and, if there was such a row, an insertion with the same key.
    Replace { number: u64, values: Vec<String> },
}

/// Operations that are committed or rolled back together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Transaction {
    pub(crate) operations: Vec<Operation>,
    pub(crate) commit: bool,
}

/// Decides what one writer does next.
#[derive(Debug)]
pub(crate) struct Planner {
    random: StdRng,
    application: Arc<dyn Application>,
    mix: Mix,
    /// Rows that the table was filled with.
    rows: u64,
    /// This writer, counted from 0, of how many.
    writer: u64,
    writers: u64,
    /// The next key number above 2n, shared by the writers.
    fresh: Arc<AtomicU64>,
    /// Odd numbers that this writer has used.
    taken: HashSet<u64>,
    /// Keys of rows that this writer inserted or moved.
    own: Vec<u64>,
    hot: Vec<u64>,
}

impl Planner {
    pub(crate) fn new(
        application: Arc<dyn Application>,
        mix: Mix,
        rows: u64,
        (writer, writers): (u64, u64),
        fresh: Arc<AtomicU64>,
        seed: u64,
    ) -> Self {
        let rows = rows.max(1);
        let hot = (0..8u64.min(rows)).map(|i| 2 * (1 + i * rows / 8).min(rows)).collect();
        Planner {
            // Any two writers, and the same writer under another seed, differ.
            random: StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(writer)),
            application,
            mix,
            rows,
            writer,
            writers: writers.max(1),
            fresh,
            taken: HashSet::new(),
            own: Vec::new(),
            hot,
        }
    }

    /// The next transaction.
    pub(crate) fn next(&mut self) -> Transaction {
        let several = self.random.random_range(0..100) < self.mix.several;
        let count = if several { self.random.random_range(2..=6) } else { 1 };
        Transaction {
            operations: (0..count).map(|_| self.operation()).collect(),
            commit: self.random.random_range(0..100) >= self.mix.rollback,
        }
    }

    /// Rows with these keys were committed.
    pub(crate) fn remember(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            if self.own.len() < REMEMBERED {
                self.own.push(number);
            } else {
                let at = self.random.random_range(0..REMEMBERED);
                self.own[at] = number;
            }
        }
    }

    fn operation(&mut self) -> Operation {
        let mix = self.mix;
        let kinds = [mix.insert, mix.update, mix.hot, mix.delete, mix.key_change, mix.replace];
        let mut pick = self.random.random_range(0..kinds.iter().sum::<u32>().max(1));
        let kind = kinds.iter().position(|weight| {
            let hit = pick < *weight;
            pick = pick.saturating_sub(*weight);
            hit
        });
        match kind {
            Some(0) => self.insert(),
            Some(2) => {
                let at = self.random.random_range(0..self.hot.len());
                self.update(self.hot[at])
            }
            Some(3) => Operation::Delete { number: self.cold() },
            Some(4) => self.key_change(),
            Some(5) => {
                let number = self.cold();
                Operation::Replace { number, values: self.application.values(&mut self.random) }
            }
            _ => {
                let number = self.any();
                self.update(number)
            }
        }
    }

    fn insert(&mut self) -> Operation {
        let count = *[1, 1, 1, 2, 3].get(self.random.random_range(0..5)).unwrap_or(&1);
        let values: Vec<_> =
            (0..count).map(|_| self.application.values(&mut self.random)).collect();
        if self.application.auto_increment() {
            return Operation::InsertUnnumbered { values };
        }
        let first = self.fresh.fetch_add(count, Ordering::Relaxed);
        Operation::Insert { rows: (first..).zip(values).collect() }
    }

    fn update(&mut self, number: u64) -> Operation {
        Operation::Update { number, set: self.application.assignments(&mut self.random) }
    }

    fn key_change(&mut self) -> Operation {
        let near = self.random.random_bool(0.5);
        for _ in 0..8 {
            // The writer's own free keys: the odd number before every even one of its share.
            let share = self.rows.div_ceil(self.writers);
            let even = 2 * (self.random.random_range(0..share) * self.writers + self.writer + 1);
            let from = if near { even } else { self.cold() };
            let to = even - 1;
            if even <= 2 * self.rows && !self.hot.contains(&from) && self.taken.insert(to) {
                let set = self.application.assignments(&mut self.random);
                return Operation::KeyChange { from, to, set };
            }
        }
        // Of a small table all free keys are taken one day.
        let number = self.any();
        self.update(number)
    }

    /// A key that probably has a row: one the table was filled with, or one of the writer's own.
    fn any(&mut self) -> u64 {
        if !self.own.is_empty() && self.random.random_bool(0.2) {
            return self.own[self.random.random_range(0..self.own.len())];
        }
        2 * self.random.random_range(1..=self.rows)
    }

    /// The same, but no hot row, so that these stay.
    fn cold(&mut self) -> u64 {
        let number = self.any();
        // The next number is odd: a row that was moved there, or none.
        if self.hot.contains(&number) { number + 1 } else { number }
    }
}

/// The SQL text of operations.
#[derive(Debug, Clone)]
pub(crate) struct Dialogue {
    application: Arc<dyn Application>,
    keys: Vec<Ident>,
    columns: Vec<Ident>,
}

impl Dialogue {
    pub(crate) fn new(application: Arc<dyn Application>) -> Self {
        let quoted = |names: Vec<&str>| names.into_iter().map(Ident::new).collect();
        let keys = quoted(application.key_columns());
        let columns = quoted(application.columns());
        Dialogue { keys, columns, application }
    }

    /// An INSERT that leaves the keys to the server.
    pub(crate) fn insert_unnumbered(&self, table: &TableName, values: &[Vec<String>]) -> String {
        let rows = list(values.iter().map(|row| format!("({})", list(row))));
        format!("INSERT INTO {table} ({}) VALUES {rows}", list(&self.columns))
    }

    /// An INSERT with keys.
    pub(crate) fn insert(&self, table: &TableName, rows: &[(u64, &[String])]) -> String {
        let columns = list(self.keys.iter().chain(&self.columns));
        let rows = list(rows.iter().map(|(number, values)| {
            format!("({})", list(self.application.key(*number).iter().chain(*values)))
        }));
        format!("INSERT INTO {table} ({columns}) VALUES {rows}")
    }

    /// An UPDATE of the row with this key.
    pub(crate) fn update(&self, table: &TableName, number: u64, set: &str) -> String {
        format!("UPDATE {table} SET {set} WHERE {}", self.condition(number))
    }

    /// An UPDATE of the key, and of what `set` says; without that, the server would update a column
    /// with ON UPDATE CURRENT_TIMESTAMP, at another time in the table than in the twin.
    pub(crate) fn key_change(&self, table: &TableName, from: u64, to: u64, set: &str) -> String {
        let key = list(self.equations(to));
        format!("UPDATE {table} SET {key}, {set} WHERE {}", self.condition(from))
    }

    /// A DELETE of the row with this key.
    pub(crate) fn delete(&self, table: &TableName, number: u64) -> String {
        format!("DELETE FROM {table} WHERE {}", self.condition(number))
    }

    fn condition(&self, number: u64) -> String {
        self.equations(number).collect::<Vec<_>>().join(" AND ")
    }

    fn equations(&self, number: u64) -> impl Iterator<Item = String> {
        let key = self.application.key(number);
        self.keys.iter().zip(key).map(|(column, value)| format!("{column} = {value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::application::Orders;
    use super::*;

    fn planner(rows: u64, writer: (u64, u64), seed: u64) -> Planner {
        let fresh = Arc::new(AtomicU64::new(2 * rows + 1));
        Planner::new(Arc::new(Orders), Mix::default(), rows, writer, fresh, seed)
    }

    fn targets_of_moves(planner: &mut Planner, transactions: usize) -> Vec<u64> {
        let operations = (0..transactions).flat_map(|_| planner.next().operations);
        operations
            .filter_map(|operation| match operation {
                Operation::KeyChange { to, .. } => Some(to),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_transactions_and_another_seed_others() {
        let take = |seed| -> Vec<_> {
            let mut planner = planner(1000, (0, 4), seed);
            (0..50).map(|_| planner.next()).collect()
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
    }

    #[test]
    fn rows_move_to_free_keys_only_and_no_two_writers_choose_the_same() {
        let mut seen = HashSet::new();
        for writer in 0..3 {
            let targets = targets_of_moves(&mut planner(100, (writer, 3), 5), 2000);
            assert!(targets.len() > 20, "{}", targets.len());
            for to in targets {
                assert!(to % 2 == 1 && to < 200, "{to} is not free");
                assert!(seen.insert(to), "{to} is taken twice");
            }
        }
    }

    #[test]
    fn hot_rows_are_neither_deleted_nor_moved() {
        let mut planner = planner(50, (0, 1), 3);
        let hot = planner.hot.clone();
        let mut updates_of_hot_rows = 0;
        for operation in (0..2000).flat_map(|_| planner.next().operations) {
            match operation {
                Operation::Delete { number } | Operation::Replace { number, .. } => {
                    assert!(!hot.contains(&number));
                }
                Operation::KeyChange { from, .. } => assert!(!hot.contains(&from)),
                Operation::Update { number, .. } if hot.contains(&number) => {
                    updates_of_hot_rows += 1;
                }
                _ => {}
            }
        }
        assert!(updates_of_hot_rows > 300, "{updates_of_hot_rows}");
    }

    #[test]
    fn a_table_of_one_row_is_enough_to_plan_with() {
        let mut planner = planner(0, (3, 4), 1);
        let kinds = (0..500).flat_map(|_| planner.next().operations).count();
        assert!(kinds >= 500);
    }

    #[test]
    fn statements_quote_names_and_address_rows_by_key() {
        let dialogue = Dialogue::new(Arc::new(Orders));
        let table = TableName::new("shop", "orders");
        assert_eq!(
            dialogue.key_change(&table, 4, 3, "total = 5"),
            "UPDATE `shop`.`orders` SET `id` = 3, total = 5 WHERE `id` = 4"
        );
        assert_eq!(dialogue.delete(&table, 9), "DELETE FROM `shop`.`orders` WHERE `id` = 9");
        let values = vec!["1".to_owned(); 8];
        let insert = dialogue.insert(&table, &[(5, &values), (6, &values)]);
        assert!(insert.contains("(`id`, `customer_id`,"), "{insert}");
        assert!(
            insert.ends_with("VALUES (5, 1, 1, 1, 1, 1, 1, 1, 1), (6, 1, 1, 1, 1, 1, 1, 1, 1)")
        );
    }
}
