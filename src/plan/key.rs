//! The key by which rows are found: one unique index over NOT NULL columns that both tables have.

use crate::error::{Error, Result};
use crate::key::{KeyPart, KeySpec, PartType};
use crate::plan::ColumnMap;
use crate::schema::table::{Column, Generation, Index, Table};
use crate::sql::Ident;

/// The server never uses an index for `<` and `>` on a SET, so a range is written as the list of its
/// values, of which there are few enough only up to this number of members.
const MAX_SET_MEMBERS: u8 = 9;

/// The chosen key, as the source and as the shadow table name it.
#[derive(Debug, Clone)]
pub struct ChosenKey {
    /// Whether it is the source's primary key.
    pub primary: bool,
    /// The index of the source.
    pub source_index: Ident,
    /// The index of the shadow table over the same columns.
    pub shadow_index: Ident,
    /// The key's parts under their names in the source.
    pub source: KeySpec,
    /// The same parts under their names in the shadow table.
    pub shadow: KeySpec,
}

impl ChosenKey {
    /// Chooses the primary key if it can serve, else the first unique index that can.
    ///
    /// # Errors
    /// Refused when none can, with the reason for each candidate.
    pub fn choose(source: &Table, shadow: &Table, columns: &ColumnMap) -> Result<ChosenKey> {
        let mut reasons = Vec::new();
        for index in source.indexes.iter().filter(|index| index.unique) {
            match candidate(source, shadow, columns, index) {
                Ok(key) => return Ok(key),
                Err(reason) => reasons.push(format!("{} {reason}", index.name)),
            }
        }
        let what = if reasons.is_empty() {
            format!("{} has no PRIMARY KEY and no UNIQUE index", source.name)
        } else {
            format!("{} has no key that both tables share: {}", source.name, reasons.join("; "))
        };
        Err(Error::refused(what).remedy(
            "Rows must be told apart by the same unique NOT NULL columns before and after: add such \
             an index first, or change the key in a second ALTER.",
        ))
    }
}

fn candidate(
    source: &Table,
    shadow: &Table,
    columns: &ColumnMap,
    index: &Index,
) -> std::result::Result<ChosenKey, String> {
    let mut source_parts = Vec::new();
    let mut shadow_parts = Vec::new();
    for part in &index.parts {
        let Some(name) = &part.column else {
            return Err("has an expression as a part".to_owned());
        };
        if part.prefix.is_some() {
            return Err(format!("covers only a prefix of {name}"));
        }
        if part.nullable {
            return Err(format!("allows NULL in {name}"));
        }
        if part.descending != index.parts[0].descending {
            return Err("mixes ascending and descending parts".to_owned());
        }
        let column =
            source.column(name).ok_or_else(|| format!("names the unknown column {name}"))?;
        if column.generation == Generation::Virtual {
            return Err(format!("has the virtual column {name}, which row events do not carry"));
        }
        let target = match columns.target_of(name) {
            Some(target) => target,
            // A generated column that stays generated is computed in both tables alike.
            None => shadow
                .column(name)
                .filter(|target| {
                    target.generation == Generation::Stored
                        && target.expression == column.expression
                })
                .ok_or_else(|| format!("loses the column {name}"))?,
        };
        if !keeps_identity(column, target) {
            return Err(format!(
                "changes {name} from {} to {}",
                column.full_type(),
                target.full_type()
            ));
        }
        let ty = part_type(column)?;
        if matches!(ty, PartType::Set { members } if members > MAX_SET_MEMBERS) {
            return Err(format!("has the SET {name}, which the server cannot search by range"));
        }
        source_parts.push(KeyPart {
            name: column.name.clone(),
            ordinal: column.ordinal,
            ty: ty.clone(),
        });
        shadow_parts.push(KeyPart { name: target.name.clone(), ordinal: target.ordinal, ty });
    }
    let wanted: Vec<&Ident> = shadow_parts.iter().map(|part| &part.name).collect();
    let shadow_index = shadow
        .indexes
        .iter()
        .find(|candidate| {
            let names = candidate.parts.iter().filter_map(|part| part.column.as_ref());
            candidate.unique
                && candidate.parts.iter().all(|part| part.prefix.is_none() && !part.nullable)
                && candidate.parts.len() == wanted.len()
                && names.eq(wanted.iter().copied())
        })
        .ok_or("has no counterpart in the new structure")?;
    Ok(ChosenKey {
        primary: index.is_primary(),
        source_index: index.name.clone(),
        shadow_index: shadow_index.name.clone(),
        source: KeySpec { parts: source_parts },
        shadow: KeySpec { parts: shadow_parts },
    })
}

/// Whether equal values stay equal and different ones different, and a literal of the old type finds
/// the row in the new table: the same type, a wider text or binary of the same collation, or another
/// integer type (a value that does not fit is an error, not a change).
fn keeps_identity(source: &Column, target: &Column) -> bool {
    let integer = |c: &Column| {
        matches!(&*c.data_type, "tinyint" | "smallint" | "mediumint" | "int" | "bigint")
    };
    let wider_text = matches!(&*source.data_type, "varchar" | "varbinary")
        && source.data_type == target.data_type
        && source.collation == target.collation
        && source.chars <= target.chars;
    source.same_type(target) || (integer(source) && integer(target)) || wider_text
}

/// The type of a key part.
pub(super) fn part_type(column: &Column) -> std::result::Result<PartType, String> {
    let unsigned = column.column_type.contains("unsigned");
    let int = |bytes| PartType::Int { bytes, unsigned };
    Ok(match &*column.data_type {
        "tinyint" => int(1),
        "smallint" => int(2),
        "mediumint" => int(3),
        "int" => int(4),
        "bigint" => int(8),
        "decimal" => PartType::Decimal {
            precision: u8::try_from(column.precision).map_err(|e| e.to_string())?,
            scale: u8::try_from(column.scale).map_err(|e| e.to_string())?,
        },
        "date" => PartType::Date,
        "datetime" => PartType::DateTime { fsp: column.fsp },
        "timestamp" => PartType::Timestamp { fsp: column.fsp },
        "time" => PartType::Time { fsp: column.fsp },
        "year" => PartType::Year,
        "enum" => PartType::Enum {
            members: u16::try_from(PartType::count_members(&column.column_type))
                .map_err(|e| e.to_string())?,
        },
        "set" => PartType::Set {
            members: u8::try_from(PartType::count_members(&column.column_type))
                .map_err(|e| e.to_string())?,
        },
        "bit" => PartType::Bit { bits: u8::try_from(column.precision).map_err(|e| e.to_string())? },
        "binary" => {
            PartType::Binary { len: column.chars.try_into().map_err(|_| "is too long".to_owned())? }
        }
        "varbinary" => PartType::VarBinary,
        "char" | "varchar" => match (&column.charset, &column.collation) {
            (Some(charset), Some(collation)) => PartType::Text {
                charset: charset.clone(),
                collation: collation.clone(),
                pad_space: column.pad_space,
                chars: u32::try_from(column.chars).map_err(|e| e.to_string())?,
                fixed: column.data_type == "char",
            },
            _ => return Err(format!("has {}, whose character set is unknown", column.name)),
        },
        other => return Err(format!("has {}, and {other} cannot serve as a key", column.name)),
    })
}
