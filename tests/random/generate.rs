//! A case from a seed.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use crate::case::{Case, Clause, Column, Key};
use crate::catalogue::{KEYS, SESSIONS, TYPES, Type};

/// The case of a seed.
pub(crate) fn case(seed: u64) -> Case {
    let mut dice = StdRng::seed_from_u64(seed);
    let (columns, index, parts, wider) = *KEYS.choose(&mut dice).expect("keys");
    let key = Key {
        columns: columns.to_owned(),
        index: index.to_owned(),
        parts: parts.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
    };
    let mut made: Vec<(Column, &Type)> =
        (0..dice.random_range(2..=8)).map(|i| column(format!("c{i}"), &mut dice)).collect();
    let indexes = indexes(&made, &mut dice);
    let mut clauses = Vec::new();
    let mut free: Vec<usize> = (0..made.len()).collect();
    free.shuffle(&mut dice);
    for i in 0..dice.random_range(1..=4) {
        clauses.push(clause(i, &mut made, &mut free, &indexes, &mut dice));
    }
    if let Some(wider) = wider
        && dice.random_bool(0.25)
    {
        clauses.push(Clause { text: format!("MODIFY k {wider} NOT NULL"), uses: Vec::new() });
    }
    // Two clauses about one index or one option contradict each other.
    let mut seen = std::collections::HashSet::new();
    clauses
        .retain(|clause| seen.insert(clause.text.split(' ').take(3).collect::<Vec<_>>().join(" ")));
    let session =
        SESSIONS.iter().filter(|_| dice.random_bool(0.15)).map(|s| (*s).to_owned()).collect();
    let options = ["", "", "ROW_FORMAT = COMPRESSED", "COMMENT = 'it''s'", "CHARSET = latin1"];
    Case {
        seed,
        key,
        columns: made.into_iter().map(|(column, _)| column).collect(),
        indexes,
        options: (*options.choose(&mut dice).expect("options")).to_owned(),
        clauses,
        session,
        rows: *[0, 1, 300, 3_000, 6_000].choose(&mut dice).expect("rows"),
        writers: dice.random_range(0..=4),
        workers: dice.random_range(1..=3),
    }
}

fn column(name: String, dice: &mut StdRng) -> (Column, &'static Type) {
    let ty = TYPES.choose(dice).expect("types");
    let value = match dice.random_bool(0.3) {
        true => format!("IF({{v}} % 5 = 3, NULL, {})", ty.value),
        false => ty.value.to_owned(),
    };
    let definition = match ty.definition {
        "TIMESTAMP(2) NULL" => ty.definition.to_owned(),
        definition if dice.random_bool(0.1) => format!("{definition} INVISIBLE"),
        definition => definition.to_owned(),
    };
    (Column { name, definition, value, written: true, moved: false }, ty)
}

/// Types that an index can take whole.
fn indexable(ty: &Type) -> bool {
    !matches!(ty.definition, "TEXT" | "BLOB" | "JSON" | "POINT" | "VECTOR(2)")
}

fn indexes(columns: &[(Column, &Type)], dice: &mut StdRng) -> Vec<Clause> {
    let mut made = Vec::new();
    for (i, (column, ty)) in columns.iter().enumerate() {
        if indexable(ty) && dice.random_bool(0.3) {
            let unique = if ty.distinct && dice.random_bool(0.4) { "UNIQUE " } else { "" };
            made.push(Clause {
                text: format!("{unique}KEY i{i} ({})", column.name),
                uses: vec![column.name.clone()],
            });
        }
    }
    made
}

/// One clause of the ALTER. A column that it drops, converts or renames is taken off `free`, so that no
/// other clause speaks of it.
fn clause(
    number: usize,
    columns: &mut [(Column, &'static Type)],
    free: &mut Vec<usize>,
    indexes: &[Clause],
    dice: &mut StdRng,
) -> Clause {
    let indexed =
        |name: &str| indexes.iter().any(|index| index.uses.iter().any(|used| used == name));
    let plain = |text: String| Clause { text, uses: Vec::new() };
    match dice.random_range(0..13) {
        0 => {
            if let Some(i) = free.pop() {
                columns[i].0.written = false;
                let name = columns[i].0.name.clone();
                return Clause { text: format!("DROP COLUMN {name}"), uses: vec![name] };
            }
        }
        1..=3 => {
            if let Some(i) = free.pop()
                && !indexed(&columns[i].0.name)
            {
                let (column, ty) = &mut columns[i];
                let into = ty.into.choose(dice).expect("conversions");
                (column.written, column.moved) = (false, true);
                let name = column.name.clone();
                return Clause { text: format!("MODIFY {name} {into}"), uses: vec![name] };
            }
        }
        4 => {
            if let Some(i) = free.pop() {
                let (column, ty) = &mut columns[i];
                column.written = false;
                let name = column.name.clone();
                let text = match dice.random_bool(0.5) {
                    true => format!("CHANGE {name} renamed{number} {}", ty.definition),
                    false => format!("RENAME COLUMN {name} TO renamed{number}"),
                };
                return Clause { text, uses: vec![name] };
            }
        }
        5 | 6 => {
            if let Some(i) = free.pop()
                && indexable(columns[i].1)
            {
                let unique =
                    if columns[i].1.distinct && dice.random_bool(0.4) { "UNIQUE" } else { "INDEX" };
                let name = columns[i].0.name.clone();
                return Clause {
                    text: format!("ADD {unique} added{number} ({name})"),
                    uses: vec![name],
                };
            }
        }
        7 => {
            if let Some(index) = indexes.choose(dice) {
                let name = index
                    .text
                    .split_once("KEY ")
                    .expect("a key")
                    .1
                    .split(' ')
                    .next()
                    .expect("a name");
                let text = match dice.random_bool(0.5) {
                    true => format!("DROP INDEX {name}"),
                    false => format!("RENAME INDEX {name} TO renamed_{name}"),
                };
                return Clause { text, uses: index.uses.clone() };
            }
        }
        8 => return plain("ROW_FORMAT = DYNAMIC".to_owned()),
        9 => return plain("COMMENT = 'changed, by /* an */ ALTER'".to_owned()),
        10 => {
            if let Some(i) = free.pop() {
                let name = columns[i].0.name.clone();
                let definition = columns[i].0.definition.clone();
                return Clause {
                    text: format!("MODIFY {name} {definition} FIRST"),
                    uses: vec![name],
                };
            }
        }
        11 => {
            return plain("CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci".to_owned());
        }
        _ => {}
    }
    let ty = TYPES.choose(dice).expect("types");
    let place = match dice.random_bool(0.3) {
        true => free.pop().map(|i| columns[i].0.name.clone()),
        false => None,
    };
    Clause {
        text: format!(
            "ADD COLUMN new{number} {}{}",
            ty.definition,
            place.as_ref().map(|name| format!(" AFTER {name}")).unwrap_or_default()
        ),
        uses: place.into_iter().collect(),
    }
}
