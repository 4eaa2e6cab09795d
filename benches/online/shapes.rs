//! The tables that are measured, and what an application writes to each.

use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;
use replank::demo::application::Application;

/// A table of the benchmark.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// The definition, without `CREATE TABLE name`.
    pub(crate) definition: String,
    /// The columns, with expressions over `n` that fill them.
    pub(crate) fill: &'static str,
    pub(crate) application: Arc<dyn Application>,
    /// Options that its server is started with.
    pub(crate) server: &'static [&'static str],
    /// Its rows, as a share of what is asked for: rows may be large.
    pub(crate) share: f64,
}

/// What every tool is to do.
pub(crate) const ALTER: &str =
    "ADD COLUMN added INT NOT NULL DEFAULT 7, ADD INDEX k_added (k, added)";

/// Text as sysbench writes it: groups of eleven digits.
const GROUPS: &str = "CONCAT_WS('-', LPAD(CRC32(n), 11, 0), LPAD(CRC32(n + 1), 11, 1), LPAD(CRC32(n + 2), 11, 2), \
                      LPAD(CRC32(n + 3), 11, 3), LPAD(CRC32(n + 4), 11, 4))";

pub(crate) fn all() -> Vec<Shape> {
    let sysbench = |name, indexes: &str, server| Shape {
        name,
        definition: format!(
            "(id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, c CHAR(120) NOT NULL DEFAULT '', \
             pad CHAR(60) NOT NULL DEFAULT '', KEY k_1 (k){indexes})"
        ),
        fill: "n, CRC32(n * 7) % 2000000, CONCAT(GROUPS, '-', GROUPS), GROUPS",
        application: Arc::new(Sysbench { random_key: false }),
        server,
        share: 1.0,
    };
    vec![
        sysbench("sysbench", "", &["--innodb-buffer-pool-size=4G"][..]),
        sysbench(
            "eight",
            ", KEY k_2 (k, id), KEY k_3 (c(20)), KEY k_4 (pad(20)), KEY k_5 (k, c(10)), KEY k_6 (pad(10), k), \
             KEY k_7 (c(30), k), KEY k_8 (pad(30), c(10))",
            &["--innodb-buffer-pool-size=4G"],
        ),
        Shape {
            name: "wide",
            definition: "(id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, c TEXT NOT NULL, \
                         pad BLOB NOT NULL, KEY k_1 (k))"
                .to_owned(),
            fill: "n, CRC32(n * 7) % 2000000, REPEAT(GROUPS, 20), REPEAT(CRC32(n), 100 + n % 1000)",
            application: Arc::new(Sysbench { random_key: false }),
            server: &["--innodb-buffer-pool-size=4G"],
            share: 0.1,
        },
        Shape {
            name: "uuid",
            definition: "(id CHAR(32) CHARACTER SET ascii NOT NULL PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
                         c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', KEY k_1 (k))"
                .to_owned(),
            fill: "LEFT(SHA2(n, 256), 32), CRC32(n * 7) % 2000000, CONCAT(GROUPS, '-', GROUPS), GROUPS",
            application: Arc::new(Sysbench { random_key: true }),
            server: &["--innodb-buffer-pool-size=4G"],
            share: 0.5,
        },
        sysbench("small-pool", "", &["--innodb-buffer-pool-size=256M"]),
    ]
}

impl Shape {
    /// The expressions that fill a row, over `n`.
    pub(crate) fn values(&self) -> String {
        self.fill.replace("GROUPS", GROUPS)
    }
}

/// Inserts, updates of an indexed and of another column, deletes: by a number as key, or by its digest.
#[derive(Debug)]
struct Sysbench {
    random_key: bool,
}

impl Application for Sysbench {
    fn key_columns(&self) -> Vec<&str> {
        vec!["id"]
    }

    fn key(&self, number: u64) -> Vec<String> {
        vec![if self.random_key {
            format!("LEFT(SHA2({number}, 256), 32)")
        } else {
            number.to_string()
        }]
    }

    fn auto_increment(&self) -> bool {
        !self.random_key
    }

    fn columns(&self) -> Vec<&str> {
        vec!["k", "c", "pad"]
    }

    fn values(&self, random: &mut StdRng) -> Vec<String> {
        let text = |random: &mut StdRng| format!("'{:060}'", random.random::<u64>());
        vec![random.random_range(0..2_000_000).to_string(), text(random), text(random)]
    }

    fn assignments(&self, random: &mut StdRng) -> String {
        match random.random_bool(0.5) {
            true => format!("k = {}", random.random_range(0..2_000_000)),
            false => format!("c = '{:060}'", random.random::<u64>()),
        }
    }
}
