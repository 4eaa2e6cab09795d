//! Whether two tables are equal: an oracle that shares nothing with replank's own verification.
//!
//! Every row of both tables travels to the client, where the values are compared as bytes. For that
//! to see every difference, the session turns off all conversions: strings arrive in their own
//! character set, times in UTC. Two kinds of values are selected in another form: FLOAT is printed by
//! the server with six digits only, so it is cast to DOUBLE, which holds every FLOAT exactly and is
//! printed exactly; BIT arrives as bytes anyway.
//!
//! Both streams come in the order of the key's bytes, or of its numbers where it is an integer, so
//! the client can tell a row that is missing from one that is different, whatever the collation.

use std::cmp::Ordering;
use std::fmt;

use mysql_async::prelude::Queryable;
use mysql_async::{Row, TextProtocol, Value};

use crate::error::{Error, Result};
use crate::server::{Server, Session, to_error};
use crate::sql::{Ident, TableName, list, text};

/// How many differences are described.
const DESCRIBED: usize = 10;

/// How much of a value is shown, in bytes.
const SHOWN: usize = 60;

/// What two tables have in common, and what not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Rows of each table.
    pub rows: [u64; 2],
    /// How many keys have different rows, or a row in one table only.
    pub different: u64,
    /// The first of them, each with its key, at most ten.
    pub differences: Vec<String>,
    /// What `SHOW CREATE TABLE` says of each table, without its name and its AUTO_INCREMENT.
    pub definitions: [String; 2],
}

impl Comparison {
    /// Whether the tables have the same rows.
    pub fn same_rows(&self) -> bool {
        self.different == 0 && self.rows[0] == self.rows[1]
    }

    /// Whether the tables have the same definition.
    pub fn same_definition(&self) -> bool {
        self.definitions[0] == self.definitions[1]
    }

    /// Whether the tables are equal in both.
    pub fn equal(&self) -> bool {
        self.same_rows() && self.same_definition()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.rows;
        if self.same_rows() {
            write!(f, "{a} rows compared, no difference")?;
        } else {
            write!(f, "{a} and {b} rows compared, {} are different:", self.different)?;
            self.differences.iter().try_for_each(|difference| write!(f, "\n  {difference}"))?;
        }
        if self.same_definition() {
            return Ok(());
        }
        let [a, b] = &self.definitions;
        write!(f, "\nthe definitions are different:")?;
        let missing = |from: &str, line: &&str| !from.lines().any(|other| other == *line);
        a.lines()
            .filter(|line| missing(b, line))
            .try_for_each(|line| write!(f, "\n  first: {line}"))?;
        b.lines()
            .filter(|line| missing(a, line))
            .try_for_each(|line| write!(f, "\n  second: {line}"))
    }
}

/// Compares two tables row by row. Nobody may write to them meanwhile.
///
/// # Errors
/// Failed if they cannot be read or have other columns than each other.
pub async fn compare_tables(server: &Server, a: &TableName, b: &TableName) -> Result<Comparison> {
    let mut left = session(server).await?;
    let mut right = session(server).await?;
    let definitions = [definition(&mut left, a).await?, definition(&mut right, b).await?];
    let reading = Reading::of(&mut left, a).await?;
    let other = Reading::of(&mut right, b).await?;
    if reading.columns != other.columns {
        return Err(Error::failed(format!(
            "{a} and {b} cannot be compared, their columns are not the same: {} and {}",
            list(&reading.columns),
            list(&other.columns)
        )));
    }
    let doing = |table: &TableName| format!("reading all rows of {table}");
    let mut left_rows =
        left.query_iter(reading.select(a)).await.map_err(|e| to_error(e, &doing(a)))?;
    let mut right_rows =
        right.query_iter(reading.select(b)).await.map_err(|e| to_error(e, &doing(b)))?;
    let mut merge =
        Merge { reading: &reading, rows: [0, 0], different: 0, differences: Vec::new() };
    let (mut x, mut y) = (None, None);
    let (mut take_x, mut take_y) = (true, true);
    loop {
        if take_x {
            x = next(&mut left_rows).await.map_err(|e| to_error(e, &doing(a)))?;
            merge.rows[0] += u64::from(x.is_some());
        }
        if take_y {
            y = next(&mut right_rows).await.map_err(|e| to_error(e, &doing(b)))?;
            merge.rows[1] += u64::from(y.is_some());
        }
        match merge.meet(x.as_deref(), y.as_deref()) {
            None => break,
            Some(order) => (take_x, take_y) = (order.is_le(), order.is_ge()),
        }
    }
    drop((left_rows, right_rows));
    let Merge { rows, different, differences, .. } = merge;
    left.close().await;
    right.close().await;
    Ok(Comparison { rows, different, differences, definitions })
}

type Rows<'a> = mysql_async::QueryResult<'a, 'static, TextProtocol>;

/// The next row: its columns in order, then its key.
async fn next(rows: &mut Rows<'_>) -> mysql_async::Result<Option<Vec<Value>>> {
    Ok(rows.next().await?.map(Row::unwrap))
}

/// How the rows of two tables are read.
#[derive(Debug)]
struct Reading {
    /// All columns, invisible and generated ones included.
    columns: Vec<Ident>,
    /// What is selected of each.
    expressions: Vec<String>,
    /// The columns that tell rows apart, and whether they are ordered as numbers.
    key: Vec<(Ident, bool)>,
}

impl Reading {
    async fn of(session: &mut Session, table: &TableName) -> Result<Reading> {
        let doing = format!("reading the columns of {table}");
        let place = format!(
            "TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            text(table.schema.as_str()),
            text(table.table.as_str())
        );
        // CONCAT makes them strings whatever information_schema's own types are.
        let columns: Vec<(String, String)> = session
            .query(format!(
                "SELECT CONCAT(COLUMN_NAME, ''), CONCAT(LOWER(DATA_TYPE), '') \
                 FROM information_schema.COLUMNS WHERE {place} ORDER BY ORDINAL_POSITION"
            ))
            .await
            .map_err(|e| to_error(e, &doing))?;
        // The primary key, else the first unique index without NULLs, prefixes and expressions.
        let key: Vec<String> = session
            .query(format!(
                "SELECT CONCAT(COLUMN_NAME, '') FROM information_schema.STATISTICS \
                 WHERE {place} AND INDEX_NAME = (\
                   SELECT INDEX_NAME FROM information_schema.STATISTICS \
                   WHERE {place} AND NON_UNIQUE = 0 GROUP BY INDEX_NAME \
                   HAVING SUM(NULLABLE = 'YES' OR SUB_PART IS NOT NULL OR COLUMN_NAME IS NULL) = 0 \
                   ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME LIMIT 1) \
                 ORDER BY SEQ_IN_INDEX"
            ))
            .await
            .map_err(|e| to_error(e, &doing))?;
        if columns.is_empty() {
            return Err(Error::failed(format!("there is no table {table}")));
        }
        let numeric = |name: &String| {
            columns.iter().any(|(column, kind)| column == name && kind.ends_with("int"))
        };
        let key = match key.is_empty() {
            false => key.iter().map(|name| (Ident::new(name), numeric(name))).collect(),
            true => columns.iter().map(|(name, _)| (Ident::new(name), false)).collect(),
        };
        let expressions = columns
            .iter()
            .map(|(name, kind)| match kind.as_str() {
                "float" => format!("CAST({} AS DOUBLE)", Ident::new(name)),
                _ => Ident::new(name).to_string(),
            })
            .collect();
        let columns = columns.into_iter().map(|(name, _)| Ident::new(name)).collect();
        Ok(Reading { columns, expressions, key })
    }

    /// The query for the rows of `table`: its columns, then the key as it is ordered.
    fn select(&self, table: &TableName) -> String {
        let key: Vec<String> = self
            .key
            .iter()
            .map(|(name, numeric)| match numeric {
                true => name.to_string(),
                false => format!("CAST({name} AS BINARY)"),
            })
            .collect();
        format!(
            "SELECT {}, {} FROM {table} ORDER BY {}",
            list(&self.expressions),
            list(&key),
            list(&key)
        )
    }

    /// Which of two rows comes first.
    fn order(&self, x: &[Value], y: &[Value]) -> Ordering {
        let at = self.columns.len();
        let pairs = x.iter().skip(at).zip(y.iter().skip(at)).zip(&self.key);
        pairs
            .map(|((x, y), (_, numeric))| match (bytes(x), bytes(y)) {
                (Some(x), Some(y)) if *numeric => number(x).cmp(&number(y)),
                // NULL comes first, as in ORDER BY.
                (x, y) => x.cmp(&y),
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    fn describe_key(&self, row: &[Value]) -> String {
        let key = self.key.iter().zip(row.iter().skip(self.columns.len()));
        list(key.map(|((name, _), value)| format!("{} = {}", name.as_str(), show(value))))
    }
}

/// Two ordered streams of rows coming together.
struct Merge<'a> {
    reading: &'a Reading,
    rows: [u64; 2],
    different: u64,
    differences: Vec<String>,
}

impl Merge<'_> {
    /// Compares the foremost rows. Less means that only the first stream is to move on, greater only
    /// the second; `None` means that both have ended.
    fn meet(&mut self, x: Option<&[Value]>, y: Option<&[Value]>) -> Option<Ordering> {
        let reading = self.reading;
        let order = match (x, y) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(x), Some(y)) => reading.order(x, y),
        };
        match (order, x, y) {
            (Ordering::Less, Some(x), _) => {
                self.note(|| format!("{}: only in the first table", reading.describe_key(x)));
            }
            (Ordering::Greater, _, Some(y)) => {
                self.note(|| format!("{}: only in the second table", reading.describe_key(y)));
            }
            (Ordering::Equal, Some(x), Some(y)) => {
                let count = reading.columns.len();
                let (x_values, y_values) = (&x[..count.min(x.len())], &y[..count.min(y.len())]);
                if x_values != y_values {
                    let columns = reading.columns.iter().zip(x_values.iter().zip(y_values));
                    let unequal = columns.filter(|(_, (x, y))| x != y).map(|(name, (x, y))| {
                        format!("{} is {} and {}", name.as_str(), show(x), show(y))
                    });
                    self.note(|| format!("{}: {}", reading.describe_key(x), list(unequal)));
                }
            }
            _ => {}
        }
        Some(order)
    }

    fn note(&mut self, describe: impl FnOnce() -> String) {
        self.different += 1;
        if self.differences.len() < DESCRIBED {
            self.differences.push(describe());
        }
    }
}

/// The bytes of a value; the text protocol knows nothing else but NULL.
fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// An integer as the server prints it. 128 bits hold every BIGINT, signed or not.
fn number(digits: &[u8]) -> Option<i128> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A value for people: its beginning, with what cannot be printed escaped.
fn show(value: &Value) -> String {
    let Some(bytes) = bytes(value) else { return "NULL".to_owned() };
    let shown = &bytes[..bytes.len().min(SHOWN)];
    let more =
        if bytes.len() > SHOWN { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("'{}'{more}", shown.escape_ascii())
}

/// A session that converts nothing, and sorts by all of a value.
async fn session(server: &Server) -> Result<Session> {
    let mut session = server.connect().await?;
    session
        .query_drop(
            "SET SESSION character_set_results = NULL, time_zone = '+00:00', \
             sql_quote_show_create = 1, net_write_timeout = 600, \
             max_sort_length = 8388608, sort_buffer_size = 67108864, \
             show_gipk_in_create_table_and_information_schema = 1",
        )
        .await
        .map_err(|e| to_error(e, "setting up a session for the comparison"))?;
    Ok(session)
}

async fn definition(session: &mut Session, table: &TableName) -> Result<String> {
    let created: Option<(String, String)> = session
        .query_first(format!("SHOW CREATE TABLE {table}"))
        .await
        .map_err(|e| to_error(e, &format!("reading the definition of {table}")))?;
    Ok(normalised(&created.map(|(_, text)| text).unwrap_or_default(), &table.table))
}

/// A definition without the table's name, also where the server has made names of constraints from it,
/// and without the AUTO_INCREMENT of the table.
fn normalised(definition: &str, table: &Ident) -> String {
    let own = table.to_string();
    let stem = own.trim_end_matches('`');
    let mut lines: Vec<String> = definition
        .replacen(&format!("CREATE TABLE {own}"), "CREATE TABLE", 1)
        .lines()
        .map(|line| {
            line.replacen(&format!("CONSTRAINT {stem}_chk_"), "CONSTRAINT `_chk_", 1).replacen(
                &format!("CONSTRAINT {stem}_ibfk_"),
                "CONSTRAINT `_ibfk_",
                1,
            )
        })
        .collect();
    // The options follow the columns, in a line that begins with the parenthesis.
    if let Some(options) = lines.iter_mut().find(|line| line.starts_with(") ")) {
        let words = options.split(' ').take_while(|word| !word.starts_with("COMMENT="));
        let number = words.into_iter().find(|word| {
            word.strip_prefix("AUTO_INCREMENT=")
                .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        });
        if let Some(number) = number.map(|word| format!(" {word}")) {
            *options = options.replacen(&number, "", 1);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(numeric: bool) -> Reading {
        Reading {
            columns: vec![Ident::new("id"), Ident::new("name")],
            expressions: vec!["`id`".to_owned(), "`name`".to_owned()],
            key: vec![(Ident::new("id"), numeric)],
        }
    }

    fn row(id: &str, name: Option<&str>) -> Vec<Value> {
        let value = |text: &str| Value::Bytes(text.as_bytes().to_vec());
        vec![value(id), name.map_or(Value::NULL, value), value(id)]
    }

    fn merge(reading: &Reading, a: &[Vec<Value>], b: &[Vec<Value>]) -> (u64, Vec<String>) {
        let mut merge = Merge { reading, rows: [0, 0], different: 0, differences: Vec::new() };
        let (mut i, mut j) = (0, 0);
        while let Some(order) = merge.meet(a.get(i).map(|r| &r[..]), b.get(j).map(|r| &r[..])) {
            i += usize::from(order.is_le());
            j += usize::from(order.is_ge());
        }
        (merge.different, merge.differences)
    }

    #[test]
    fn missing_rows_and_other_values_are_told_apart_and_the_streams_stay_in_step() {
        let a = [row("-1", Some("x")), row("2", None), row("10", Some("z")), row("11", Some("z"))];
        let b =
            [row("2", Some("")), row("9", Some("n")), row("10", Some("z")), row("11", Some("z "))];
        let (different, described) = merge(&reading(true), &a, &b);
        assert_eq!(different, 4);
        assert_eq!(
            described,
            [
                "id = '-1': only in the first table",
                "id = '2': name is NULL and ''",
                "id = '9': only in the second table",
                "id = '11': name is 'z' and 'z '",
            ]
        );
        assert_eq!(merge(&reading(true), &a, &a), (0, Vec::new()));
    }

    #[test]
    fn keys_that_are_no_integers_are_ordered_by_their_bytes() {
        let a = [row("B", Some("1")), row("a", Some("2"))];
        let b = [row("a", Some("2"))];
        let (different, described) = merge(&reading(false), &a, &b);
        assert_eq!((different, described[0].as_str()), (1, "id = 'B': only in the first table"));
    }

    #[test]
    fn definitions_are_equal_whatever_the_tables_are_called() {
        let definition = |name: &str, number: u32| {
            format!(
                "CREATE TABLE `{name}` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  \
                 PRIMARY KEY (`id`),\n  CONSTRAINT `{name}_chk_1` CHECK ((`id` > 0))\n\
                 ) ENGINE=InnoDB AUTO_INCREMENT={number} COMMENT='AUTO_INCREMENT=5 {{}}'"
            )
        };
        let a = normalised(&definition("orders", 7), &Ident::new("orders"));
        let b = normalised(&definition("orders_twin", 9), &Ident::new("orders_twin"));
        assert_eq!(a, b);
        assert!(a.contains("COMMENT='AUTO_INCREMENT=5 {}'"), "{a}");
        assert!(a.contains("`id` int NOT NULL AUTO_INCREMENT,"), "{a}");
    }

    #[test]
    fn a_difference_that_cannot_be_printed_is_shown_escaped_and_cut() {
        assert_eq!(show(&Value::Bytes(vec![0, b'a', 0xFF])), r"'\x00a\xff'");
        assert!(show(&Value::Bytes(vec![b'x'; 100])).ends_with("… (100 bytes)"));
    }
}
