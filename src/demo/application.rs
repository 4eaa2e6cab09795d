//! What an application writes: the part of the workload that depends on the table.

use std::fmt;

use rand::Rng;
use rand::rngs::StdRng;

use crate::sql::text;

/// The statements of an application, as far as they depend on the table.
///
/// An implementation names only columns that exist before and after the ALTER that is tried, under the
/// same name. Everything it writes is a literal or depends on the row alone: no `NOW()`, no
/// `UUID()`, and a column that the server would fill with the time is written explicitly. Then the
/// same statement does the same to the table and, later in the transaction, to its twin.
///
/// Rows are told apart by a *key number*; the implementation says what key a number stands for.
pub trait Application: fmt::Debug + Send + Sync {
    /// The columns of the key by which rows are addressed, unquoted.
    fn key_columns(&self) -> Vec<&str>;

    /// The key with this number: one SQL literal for each of [`key_columns`](Self::key_columns).
    /// Different numbers have different keys.
    fn key(&self, number: u64) -> Vec<String>;

    /// Whether the server gives new rows their key, which is then the number itself.
    fn auto_increment(&self) -> bool;

    /// The other columns that an INSERT names, unquoted.
    fn columns(&self) -> Vec<&str>;

    /// One SQL literal for each of [`columns`](Self::columns).
    fn values(&self, random: &mut StdRng) -> Vec<String>;

    /// The SET list of an UPDATE, without the key.
    fn assignments(&self, random: &mut StdRng) -> String;
}

/// The application of the demo: a shop with its orders. Its table is that of [`super::fill`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Orders;

/// The states of an order.
const STATUS: [&str; 5] = ["new", "paid", "packed", "sent", "returned"];

impl Application for Orders {
    fn key_columns(&self) -> Vec<&str> {
        vec!["id"]
    }

    fn key(&self, number: u64) -> Vec<String> {
        vec![number.to_string()]
    }

    fn auto_increment(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<&str> {
        vec![
            "customer_id",
            "status",
            "total",
            "email",
            "note",
            "details",
            "created_at",
            "updated_at",
        ]
    }

    fn values(&self, random: &mut StdRng) -> Vec<String> {
        let created = time(random);
        vec![
            random.random_range(1..=100_000).to_string(),
            status(random),
            money(random),
            format!("'user{}@example.com'", random.random_range(0..500_000)),
            note(random),
            details(random),
            created.clone(),
            created,
        ]
    }

    fn assignments(&self, random: &mut StdRng) -> String {
        let mut set = vec![format!("updated_at = {}", time(random))];
        match random.random_range(0..5) {
            0 => set.push(format!("status = {}", status(random))),
            // Depends on the row: an update that is lost or done twice cannot be hidden by a later one.
            1 => set.push("total = total + 0.01".to_owned()),
            2 => set.push(format!("note = {}", note(random))),
            3 => set.push(format!("details = {}", details(random))),
            _ => set.extend([
                format!("customer_id = {}", random.random_range(1..=100_000)),
                format!("status = {}", status(random)),
                format!("total = {}", money(random)),
            ]),
        }
        set.join(", ")
    }
}

fn status(random: &mut StdRng) -> String {
    format!("'{}'", STATUS[random.random_range(0..STATUS.len())])
}

fn money(random: &mut StdRng) -> String {
    format!("{}.{:02}", random.random_range(0..10_000), random.random_range(0..100))
}

/// A time of 2026 in UTC, in milliseconds.
fn time(random: &mut StdRng) -> String {
    format!(
        "'2026-{:02}-{:02} {:02}:{:02}:{:02}.{:03}'",
        random.random_range(1..=12),
        random.random_range(1..=28),
        random.random_range(0..24),
        random.random_range(0..60),
        random.random_range(0..60),
        random.random_range(0..1000)
    )
}

fn note(random: &mut StdRng) -> String {
    if random.random_bool(0.3) {
        return "NULL".to_owned();
    }
    text(
        &format!("ring the bell, größe {} ✓ ", random.random::<u16>())
            .repeat(random.random_range(1..4)),
    )
}

fn details(random: &mut StdRng) -> String {
    if random.random_bool(0.1) {
        return "NULL".to_owned();
    }
    text(&format!(
        r#"{{"gift": {}, "items": [{}, {}], "weight": {}.5}}"#,
        random.random_bool(0.2),
        random.random_range(1..1000),
        random.random_range(1..1000),
        random.random_range(0..100)
    ))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn an_insert_has_a_value_for_every_column() {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..100 {
            assert_eq!(Orders.values(&mut random).len(), Orders.columns().len());
        }
    }

    #[test]
    fn nothing_is_written_that_could_differ_between_table_and_twin() {
        let mut random = StdRng::seed_from_u64(2);
        for _ in 0..200 {
            let set = Orders.assignments(&mut random);
            assert!(set.contains("updated_at = '2026-"), "the server would set the time: {set}");
            assert!(!set.contains('('), "no functions: {set}");
        }
    }
}
