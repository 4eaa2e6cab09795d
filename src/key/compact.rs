//! [`Key`] itself: ten million of them are held at once, so short ones live without an allocation.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

const INLINE: usize = 22;

/// The key of a row. Compares, hashes and orders by [`rank`](Key::rank) alone.
///
/// Takes 24 bytes; a rank of up to 22 bytes without raw bytes needs no allocation, any other key one.
#[derive(Clone)]
pub struct Key(Repr);

#[derive(Clone)]
enum Repr {
    Inline {
        len: u8,
        bytes: [u8; INLINE],
    },
    /// `bytes` is the rank, then the raw bytes; a key of a specification with text parts always has
    /// raw bytes, since each part's length is among them.
    Heap {
        rank: u32,
        bytes: Box<[u8]>,
    },
}

impl Key {
    pub(super) fn new(rank: &[u8], raw: Option<&[u8]>) -> Key {
        match raw {
            None if rank.len() <= INLINE => {
                let mut bytes = [0; INLINE];
                bytes[..rank.len()].copy_from_slice(rank);
                Key(Repr::Inline { len: rank.len() as u8, bytes })
            }
            // An index entry is at most 3072 bytes, so its rank is far below 4 GiB.
            raw => Key(Repr::Heap {
                rank: rank.len() as u32,
                bytes: [rank, raw.unwrap_or_default()].concat().into_boxed_slice(),
            }),
        }
    }

    /// The bytes that sort as the index does, and are equal where the server calls keys equal.
    pub fn rank(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap { rank, bytes } => &bytes[..*rank as usize],
        }
    }

    /// The values as bytes, where the rank cannot be turned back into them (text parts).
    pub(super) fn raw(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::Heap { rank, bytes } if bytes.len() > *rank as usize => {
                Some(&bytes[*rank as usize..])
            }
            _ => None,
        }
    }

    /// The key as text that [`from_digits`](Self::from_digits) reads: hexadecimal digits of the rank and,
    /// after a colon, of the raw bytes where there are any.
    pub fn to_digits(&self) -> String {
        let digits =
            |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match self.raw() {
            Some(raw) => format!("{}:{}", digits(self.rank()), digits(raw)),
            None => digits(self.rank()),
        }
    }

    /// The key that [`to_digits`](Self::to_digits) wrote; `None` for any other text.
    pub fn from_digits(text: &str) -> Option<Key> {
        let bytes = |digits: &str| -> Option<Vec<u8>> {
            let pairs = digits.as_bytes().chunks(2);
            pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
        };
        let readable = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        if text.is_empty() || !readable || text.split(':').any(|digits| digits.len() % 2 != 0) {
            return None;
        }
        match text.split_once(':') {
            Some((rank, raw)) => Some(Key::new(&bytes(rank)?, Some(&bytes(raw)?))),
            None => Some(Key::new(&bytes(text)?, None)),
        }
    }

    /// The memory that this key holds beyond its own 24 bytes, in bytes.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Inline { .. } => 0,
            Repr::Heap { bytes, .. } => bytes.len(),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        self.rank().cmp(other.rank())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", crate::sql::hex(self.rank()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_takes_24_bytes_and_short_ones_nothing_more() {
        assert_eq!(std::mem::size_of::<Key>(), 24);
        assert_eq!(Key::new(&[7; 22], None).heap_bytes(), 0);
        assert_eq!(Key::new(&[7; 23], None).heap_bytes(), 23);
    }

    #[test]
    fn digits_give_the_key_back_and_nothing_else_is_read() {
        for key in [
            Key::new(b"\x00\xff", None),
            Key::new(&[7; 40], None),
            Key::new(b"ab", Some(b"raw\x00")),
        ] {
            let read = Key::from_digits(&key.to_digits()).unwrap();
            assert_eq!((read.rank(), read.raw()), (key.rank(), key.raw()));
        }
        for text in ["", "a", "zz", "ab:c", "ab:cd:ef", "+1", "é"] {
            assert!(Key::from_digits(text).is_none(), "{text}");
        }
    }

    #[test]
    fn inline_and_allocated_keys_compare_by_rank_alone() {
        let (bare, with_raw) = (Key::new(b"ab", None), Key::new(b"ab", Some(b"raw")));
        assert_eq!(bare, with_raw);
        assert_eq!((bare.raw(), with_raw.raw()), (None, Some(&b"raw"[..])));
        assert!(Key::new(&[1; 30], None) > Key::new(&[1; 22], None));
        assert_ne!(bare, Key::new(b"ac", None));
        assert_eq!(format!("{bare:?}"), "Key(X'6162')");
        let set: std::collections::HashSet<Key> = [bare, with_raw, Key::new(b"ac", None)].into();
        assert_eq!(set.len(), 2);
        let hash = |key: &Key| {
            use std::hash::BuildHasher;
            std::hash::BuildHasherDefault::<std::collections::hash_map::DefaultHasher>::default()
                .hash_one(key)
        };
        assert_ne!(hash(&Key::new(b"ab", None)), hash(&Key::new(b"ac", None)));
    }
}
