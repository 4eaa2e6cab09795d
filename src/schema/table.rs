//! A table as the server describes it: columns, indexes, options.

use mysql_async::Row;
use mysql_async::prelude::{FromValue, Queryable};

use crate::error::{Error, Result};
use crate::server::{Session, to_error};
use crate::sql::{Ident, TableName};

/// How a column gets its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Written by the application.
    Plain,
    /// Computed when the row is written.
    Stored,
    /// Computed when the row is read.
    Virtual,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Ident,
    /// 0-based position in the table, which is also its position in a row event.
    pub ordinal: usize,
    /// `DATA_TYPE`: the bare type in lower case.
    pub data_type: String,
    /// `COLUMN_TYPE`: the type with length, sign and members.
    pub column_type: String,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Character set, for text.
    pub charset: Option<String>,
    /// Collation, for text.
    pub collation: Option<String>,
    /// Whether the collation ignores trailing spaces (`PAD_ATTRIBUTE = 'PAD SPACE'`).
    pub pad_space: bool,
    /// Declared length in characters, for text and binary.
    pub chars: u64,
    /// Precision of a number, or 0.
    pub precision: u32,
    /// Digits after the point, or 0.
    pub scale: u32,
    /// Digits of fractional seconds, or 0.
    pub fsp: u8,
    /// Plain or generated.
    pub generation: Generation,
    /// Expression of a generated column.
    pub expression: String,
    /// `COLUMN_DEFAULT`: the default as the server prints it.
    pub default: Option<String>,
    /// Spatial reference system, where one is fixed.
    pub srs_id: Option<u32>,
    /// `EXTRA`, for instance `auto_increment`.
    pub extra: String,
}

impl Column {
    /// The type with its collation, for messages.
    pub fn full_type(&self) -> String {
        match &self.collation {
            Some(collation) => format!("{} {collation}", self.column_type),
            None => self.column_type.clone(),
        }
    }

    /// Whether its values are numbers or times.
    pub fn is_measure(&self) -> bool {
        matches!(
            &*self.data_type,
            "tinyint"
                | "smallint"
                | "mediumint"
                | "int"
                | "bigint"
                | "decimal"
                | "float"
                | "double"
                | "date"
                | "datetime"
                | "timestamp"
                | "time"
                | "year"
        )
    }

    /// Whether both columns store a value in the same bytes and print it as the same text.
    pub fn same_type(&self, other: &Column) -> bool {
        self.column_type == other.column_type
            && self.charset == other.charset
            && self.collation == other.collation
    }
}

/// One part of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexPart {
    /// The column, or `None` for an expression.
    pub column: Option<Ident>,
    /// The expression of a functional part.
    pub expression: Option<String>,
    /// Characters or bytes indexed, where only a prefix is.
    pub prefix: Option<u64>,
    /// Whether the part is stored in descending order.
    pub descending: bool,
    /// Whether the indexed column may be NULL.
    pub nullable: bool,
}

/// One index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name; `PRIMARY` for the primary key.
    pub name: Ident,
    /// Whether it forbids duplicates.
    pub unique: bool,
    /// `BTREE`, `FULLTEXT`, `SPATIAL`, …
    pub kind: String,
    /// Its parts in order.
    pub parts: Vec<IndexPart>,
}

impl Index {
    /// Whether this is the primary key.
    pub fn is_primary(&self) -> bool {
        self.name.as_str() == "PRIMARY"
    }
}

/// A table with its columns, indexes and options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name as the server spells it.
    pub name: TableName,
    /// Storage engine.
    pub engine: String,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// Indexes, the primary key first.
    pub indexes: Vec<Index>,
    /// Estimated rows (InnoDB statistics).
    pub rows: u64,
    /// Bytes of the clustered index.
    pub data_bytes: u64,
    /// Bytes of the secondary indexes.
    pub index_bytes: u64,
    /// The next AUTO_INCREMENT value, where the table has such a column.
    pub auto_increment: Option<u64>,
    /// The table's comment.
    pub comment: String,
    /// Whether the table is partitioned.
    pub partitioned: bool,
}

impl Table {
    /// The column of that name; MySQL compares column names without regard to case.
    pub fn column(&self, name: &Ident) -> Option<&Column> {
        let wanted = name.as_str().to_lowercase();
        self.columns.iter().find(|column| column.name.as_str().to_lowercase() == wanted)
    }

    /// Whether a table or view of that name exists.
    ///
    /// # Errors
    /// Transient when the connection breaks.
    pub async fn exists(session: &mut Session, name: &TableName) -> Result<bool> {
        let found: Option<u64> = session
            .exec_first(
                "SELECT COUNT(*) FROM information_schema.TABLES \
                 WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
                (name.schema.as_str(), name.table.as_str()),
            )
            .await
            .map_err(|e| to_error(e, &format!("looking for {name}")))?;
        Ok(found.unwrap_or(0) > 0)
    }

    /// Reads a table, or `None` if there is no table or view of that name.
    ///
    /// # Errors
    /// Refused when it is a view; transient when the connection breaks.
    pub async fn read(session: &mut Session, name: &TableName) -> Result<Option<Table>> {
        let doing = format!("reading the structure of {name}");
        let fail = |e| to_error(e, &doing);
        let names = (name.schema.as_str(), name.table.as_str());
        let row: Option<Row> = session
            .exec_first(
                "SELECT t.TABLE_TYPE, t.TABLE_SCHEMA, t.TABLE_NAME, t.ENGINE, t.TABLE_ROWS, \
                 t.DATA_LENGTH, t.INDEX_LENGTH, t.AUTO_INCREMENT, t.TABLE_COMMENT, \
                 t.CREATE_OPTIONS LIKE '%partitioned%' \
                 FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA = ? AND t.TABLE_NAME = ?",
                names,
            )
            .await
            .map_err(fail)?;
        let Some(row) = row else { return Ok(None) };
        let table_type: String = cell(&row, 0)?;
        if table_type != "BASE TABLE" {
            return Err(Error::refused(format!("{name} is a {}", table_type.to_lowercase()))
                .remedy("Name the base table with --table."));
        }
        let name = TableName::new(cell::<String>(&row, 1)?, cell::<String>(&row, 2)?);
        Ok(Some(Table {
            engine: cell::<Option<String>>(&row, 3)?.unwrap_or_default(),
            rows: cell::<Option<u64>>(&row, 4)?.unwrap_or_default(),
            data_bytes: cell::<Option<u64>>(&row, 5)?.unwrap_or_default(),
            index_bytes: cell::<Option<u64>>(&row, 6)?.unwrap_or_default(),
            auto_increment: cell(&row, 7)?,
            comment: cell(&row, 8)?,
            partitioned: cell::<Option<i64>>(&row, 9)?.unwrap_or_default() != 0,
            columns: read_columns(session, &name).await?,
            indexes: read_indexes(session, &name).await?,
            name,
        }))
    }
}

/// One cell of a row of information_schema.
fn cell<T: FromValue>(row: &Row, at: usize) -> Result<T> {
    row.get_opt::<T, _>(at).and_then(|value| value.ok()).ok_or_else(|| {
        Error::failed(format!(
            "information_schema answered with an unexpected value in column {at}"
        ))
    })
}

async fn read_columns(session: &mut Session, name: &TableName) -> Result<Vec<Column>> {
    let rows: Vec<Row> = session
        .exec(
            "SELECT c.COLUMN_NAME, c.DATA_TYPE, c.COLUMN_TYPE, c.IS_NULLABLE = 'YES', \
             c.CHARACTER_SET_NAME, c.COLLATION_NAME, \
             (SELECT l.PAD_ATTRIBUTE = 'PAD SPACE' FROM information_schema.COLLATIONS l \
              WHERE l.COLLATION_NAME = c.COLLATION_NAME), \
             c.CHARACTER_MAXIMUM_LENGTH, c.NUMERIC_PRECISION, c.NUMERIC_SCALE, \
             c.DATETIME_PRECISION, c.EXTRA, c.GENERATION_EXPRESSION, c.SRS_ID, c.COLUMN_DEFAULT \
             FROM information_schema.COLUMNS c \
             WHERE c.TABLE_SCHEMA = ? AND c.TABLE_NAME = ? ORDER BY c.ORDINAL_POSITION",
            (name.schema.as_str(), name.table.as_str()),
        )
        .await
        .map_err(|e| to_error(e, &format!("reading the columns of {name}")))?;
    rows.iter()
        .enumerate()
        .map(|(ordinal, row)| {
            let extra: String = cell(row, 11)?;
            let generation = if extra.contains("STORED GENERATED") {
                Generation::Stored
            } else if extra.contains("VIRTUAL GENERATED") {
                Generation::Virtual
            } else {
                Generation::Plain
            };
            Ok(Column {
                name: Ident::new(cell::<String>(row, 0)?),
                ordinal,
                data_type: cell::<String>(row, 1)?.to_lowercase(),
                column_type: cell(row, 2)?,
                nullable: cell::<i64>(row, 3)? != 0,
                charset: cell(row, 4)?,
                collation: cell(row, 5)?,
                pad_space: cell::<Option<i64>>(row, 6)?.unwrap_or_default() != 0,
                chars: cell::<Option<u64>>(row, 7)?.unwrap_or_default(),
                precision: cell::<Option<u32>>(row, 8)?.unwrap_or_default(),
                scale: cell::<Option<u32>>(row, 9)?.unwrap_or_default(),
                fsp: cell::<Option<u8>>(row, 10)?.unwrap_or_default(),
                generation,
                expression: cell::<Option<String>>(row, 12)?.unwrap_or_default(),
                srs_id: cell(row, 13)?,
                default: cell(row, 14)?,
                extra,
            })
        })
        .collect()
}

async fn read_indexes(session: &mut Session, name: &TableName) -> Result<Vec<Index>> {
    let rows: Vec<Row> = session
        .exec(
            "SELECT INDEX_NAME, NON_UNIQUE = 0, INDEX_TYPE, COLUMN_NAME, EXPRESSION, SUB_PART, \
             COLLATION = 'D', NULLABLE = 'YES' FROM information_schema.STATISTICS \
             WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? \
             ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX",
            (name.schema.as_str(), name.table.as_str()),
        )
        .await
        .map_err(|e| to_error(e, &format!("reading the indexes of {name}")))?;
    let mut indexes: Vec<Index> = Vec::new();
    for row in &rows {
        let index_name = Ident::new(cell::<String>(row, 0)?);
        let part = IndexPart {
            column: cell::<Option<String>>(row, 3)?.map(Ident::new),
            expression: cell(row, 4)?,
            prefix: cell(row, 5)?,
            descending: cell::<Option<i64>>(row, 6)?.unwrap_or_default() != 0,
            nullable: cell::<Option<i64>>(row, 7)?.unwrap_or_default() != 0,
        };
        match indexes.last_mut() {
            Some(index) if index.name == index_name => index.parts.push(part),
            _ => indexes.push(Index {
                name: index_name,
                unique: cell::<i64>(row, 1)? != 0,
                kind: cell(row, 2)?,
                parts: vec![part],
            }),
        }
    }
    Ok(indexes)
}
