//! Row events: which keys changed.
//!
//! A rows event is a table id, the columns that its images contain, and the images one after another
//! without lengths; so every column has to be stepped over, but only those of the key are decoded.
//! An update has two images per row. With a reduced row image the second one contains only what
//! changed, so a key column that is missing there has its old value; the first one always identifies
//! the row on the source, but possibly by columns other than the chosen key, which is an error.

use super::codes::{
    DELETE_ROWS, DELETE_ROWS_V1, PARTIAL_UPDATE_ROWS, UPDATE_ROWS, UPDATE_ROWS_V1, WRITE_ROWS,
    WRITE_ROWS_V1,
};
use super::layout::{KeyLayout, changed};
use super::reader::{Bitmap, Reader};
use super::{cell, corrupt};
use crate::error::{Error, Result};
use crate::key::{Key, PartValue, RawKey};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Insert,
    Update,
    Delete,
}

/// One changed row: its key before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowChange<K> {
    /// The row with this key was inserted.
    Insert(K),
    /// The row was updated, and its key with it or not.
    Update {
        /// The key that the row had.
        before: K,
        /// The key that it has now.
        after: K,
    },
    /// The row with this key was deleted.
    Delete(K),
}

/// A WRITE_ROWS, UPDATE_ROWS, DELETE_ROWS or PARTIAL_UPDATE_ROWS event.
#[derive(Debug, Clone)]
pub struct RowsEvent<'a> {
    /// The id of the Table_map event that describes the columns.
    pub table_id: u64,
    operation: Operation,
    partial: bool,
    columns: usize,
    /// The columns of the only image, or of the one before an update.
    first: Bitmap<'a>,
    /// The columns of the image after an update.
    second: Option<Bitmap<'a>>,
    images: &'a [u8],
}

impl<'a> RowsEvent<'a> {
    /// Parses the head of the body of an event of class [`Rows`](super::EventClass::Rows).
    pub fn parse(type_code: u8, body: &'a [u8]) -> Result<RowsEvent<'a>> {
        RowsEvent::read(type_code, body).ok_or_else(|| corrupt("rows"))
    }

    fn read(type_code: u8, body: &'a [u8]) -> Option<RowsEvent<'a>> {
        let (operation, old_form) = match type_code {
            WRITE_ROWS_V1 => (Operation::Insert, true),
            UPDATE_ROWS_V1 => (Operation::Update, true),
            DELETE_ROWS_V1 => (Operation::Delete, true),
            WRITE_ROWS => (Operation::Insert, false),
            UPDATE_ROWS | PARTIAL_UPDATE_ROWS => (Operation::Update, false),
            DELETE_ROWS => (Operation::Delete, false),
            _ => return None,
        };
        let mut reader = Reader::new(body);
        let table_id = reader.uint(6)?;
        let _flags = reader.uint(2)?;
        if !old_form {
            // The length of what a plugin may have added counts itself.
            let extra = reader.uint(2)?.checked_sub(2)?;
            reader.take(extra as usize)?;
        }
        let columns = reader.count()?;
        let first = reader.bitmap(columns)?;
        let second = match operation {
            Operation::Update => Some(reader.bitmap(columns)?),
            _ => None,
        };
        Some(RowsEvent {
            table_id,
            operation,
            partial: type_code == PARTIAL_UPDATE_ROWS,
            columns,
            first,
            second,
            images: reader.rest(),
        })
    }

    /// Calls `each` with the key of every changed row, and returns how many rows there were.
    ///
    /// Fails if the key has text parts (their weights are the server's to tell, see
    /// [`each_raw_key`](Self::each_raw_key)), if the event does not fit `layout`, if a key column is
    /// NULL or missing, if bytes are missing, or with the error of `each`.
    pub fn each_key(
        &self,
        layout: &KeyLayout,
        each: impl FnMut(RowChange<Key>) -> Result<()>,
    ) -> Result<usize> {
        let (mut values, mut rank) = (Vec::with_capacity(layout.spec.parts.len()), Vec::new());
        self.walk(
            layout,
            |cells| {
                values.clear();
                for index in 0..cells.len() {
                    values.push(decode(layout, cells, index)?);
                }
                layout.spec.key_from_values_in(&values, &mut rank)
            },
            each,
        )
    }

    /// Calls `each` with the undecided key of every changed row, and returns how many rows there
    /// were. Fails as [`each_key`](Self::each_key) does, but takes keys with text parts.
    pub fn each_raw_key(
        &self,
        layout: &KeyLayout,
        each: impl FnMut(RowChange<RawKey>) -> Result<()>,
    ) -> Result<usize> {
        let raw = |cells: &[Option<&'a [u8]>]| -> Result<RawKey> {
            (0..cells.len()).map(|index| Ok(decode(layout, cells, index)?.into_owned())).collect()
        };
        self.walk(layout, raw, each)
    }

    fn walk<K>(
        &self,
        layout: &KeyLayout,
        mut key: impl FnMut(&[Option<&'a [u8]>]) -> Result<K>,
        mut each: impl FnMut(RowChange<K>) -> Result<()>,
    ) -> Result<usize> {
        self.check(layout)?;
        let mut reader = Reader::new(self.images);
        let mut before = vec![None; layout.spec.parts.len()];
        let mut after = before.clone();
        let first = Image { present: self.first, size: self.first.ones(self.columns) };
        let second =
            self.second.map(|second| Image { present: second, size: second.ones(self.columns) });
        let mut rows = 0;
        while !reader.is_empty() {
            before.fill(None);
            first.read(layout, &mut reader, &mut before)?;
            let old = key(&before)?;
            rows += 1;
            each(match (self.operation, second) {
                (Operation::Insert, _) => RowChange::Insert(old),
                (Operation::Update, Some(second)) => {
                    if self.partial {
                        skip_value_options(layout, &mut reader).ok_or_else(|| corrupt("rows"))?;
                    }
                    after.copy_from_slice(&before);
                    second.read(layout, &mut reader, &mut after)?;
                    RowChange::Update { before: old, after: key(&after)? }
                }
                (Operation::Update | Operation::Delete, _) => RowChange::Delete(old),
            })?;
        }
        Ok(rows)
    }

    /// What can be said once for all rows.
    fn check(&self, layout: &KeyLayout) -> Result<()> {
        let table = &layout.table;
        if self.table_id != layout.table_id {
            return Err(Error::failed(format!(
                "{table}: a row event for table id {} came where {} was expected",
                self.table_id, layout.table_id
            )));
        }
        if self.columns != layout.columns.len() {
            return Err(changed(format!(
                "{table}: a row event has {} columns where {} were expected",
                self.columns,
                layout.columns.len()
            )));
        }
        if self.images.is_empty() {
            return Err(corrupt("rows"));
        }
        // An image without any bytes would never end.
        if self.first.ones(self.columns) == 0 {
            return Err(missing(layout, 0));
        }
        match layout.spec.parts.iter().position(|part| !self.first.get(part.ordinal)) {
            Some(part) => Err(missing(layout, part)),
            None => Ok(()),
        }
    }
}

/// The columns of one of an event's images.
#[derive(Clone, Copy)]
struct Image<'a> {
    present: Bitmap<'a>,
    /// How many columns are present.
    size: usize,
}

impl Image<'_> {
    /// Steps over one image and leaves the bytes of the key columns in `cells`.
    fn read<'a>(
        &self,
        layout: &KeyLayout,
        reader: &mut Reader<'a>,
        cells: &mut [Option<&'a [u8]>],
    ) -> Result<()> {
        let nulls = reader.bitmap(self.size).ok_or_else(|| corrupt("rows"))?;
        let mut seen = 0;
        for (ordinal, column) in layout.columns.iter().enumerate() {
            if !self.present.get(ordinal) {
                continue;
            }
            let null = nulls.get(seen);
            seen += 1;
            if null {
                match column.part {
                    Some(part) => return Err(null_key(layout, part)),
                    None => continue,
                }
            }
            let cell = column.length.take(reader).ok_or_else(|| corrupt("rows"))?;
            if let Some(part) = column.part {
                cells[part] = Some(cell);
            }
        }
        Ok(())
    }
}

/// Before the null bits of an after image, PARTIAL_UPDATE_ROWS has a packed number of options, and if
/// its lowest bit (PARTIAL_JSON_UPDATES) is set, one bit for each JSON column of the table, whether or
/// not the image has that column. A JSON difference has a length just as a document has, so the bits
/// themselves do not matter here.
fn skip_value_options(layout: &KeyLayout, reader: &mut Reader<'_>) -> Option<()> {
    match reader.packed()? {
        0 => Some(()),
        1 => reader.bitmap(layout.json_columns).map(|_| ()),
        // An option that is not known may change the form of what follows.
        _ => None,
    }
}

fn decode<'a>(
    layout: &KeyLayout,
    cells: &[Option<&'a [u8]>],
    index: usize,
) -> Result<PartValue<'a>> {
    let cell = cells[index].ok_or_else(|| missing(layout, index))?;
    cell::decode(&layout.spec.parts[index].ty, cell).ok_or_else(|| {
        Error::failed(format!(
            "{}: a row event has bytes in key column {} that are no value of {:?}",
            layout.table, layout.spec.parts[index].name, layout.spec.parts[index].ty
        ))
    })
}

fn missing(layout: &KeyLayout, part: usize) -> Error {
    let name = &layout.spec.parts[part].name;
    Error::failed(format!("{}: a row event does not say which {name} its rows have", layout.table))
        .remedy(format!(
            "Use a row image that has the key columns ({}): set binlog_row_image=FULL for the sessions \
             that write to the table, then start again.",
            layout.spec.column_list()
        ))
}

fn null_key(layout: &KeyLayout, part: usize) -> Error {
    let name = &layout.spec.parts[part].name;
    changed(format!("{}: a row event has NULL in key column {name}", layout.table))
}
