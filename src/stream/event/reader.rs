//! A checked reader over the bytes of an event. Every method returns `None` where bytes are missing.

pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A little-endian unsigned integer of `bytes` (at most 8) bytes.
    #[inline]
    pub(super) fn uint(&mut self, bytes: usize) -> Option<u64> {
        self.take(bytes).map(little_endian)
    }

    /// A length as in "Protocol::LengthEncodedInteger" of the MySQL protocol documentation.
    pub(super) fn packed(&mut self) -> Option<u64> {
        match self.uint(1)? {
            small @ 0..=0xFA => Some(small),
            0xFC => self.uint(2),
            0xFD => self.uint(3),
            0xFE => self.uint(8),
            _ => None,
        }
    }

    /// A length-encoded count of things that are at least a bit each, so it is bounded by the event.
    pub(super) fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.packed()?).ok()?;
        (count / 8 <= self.0.len()).then_some(count)
    }

    /// A name with its length before it and a zero byte behind.
    pub(super) fn name(&mut self) -> Option<String> {
        let len = usize::try_from(self.packed()?).ok()?;
        let name = String::from_utf8_lossy(self.take(len)?).into_owned();
        (self.uint(1)? == 0).then_some(name)
    }

    pub(super) fn bitmap(&mut self, bits: usize) -> Option<Bitmap<'a>> {
        self.take(bits.div_ceil(8)).map(Bitmap)
    }
}

/// Bits in the order of the columns, least significant first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bitmap<'a>(&'a [u8]);

impl Bitmap<'_> {
    #[inline]
    pub(super) fn get(&self, bit: usize) -> bool {
        self.0.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }

    /// How many of the first `bits` bits are set.
    pub(super) fn ones(&self, bits: usize) -> usize {
        (0..bits).filter(|bit| self.get(*bit)).count()
    }
}

/// An unsigned integer of at most 8 bytes.
#[inline]
pub(super) fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// An unsigned integer of at most 8 bytes.
#[inline]
pub(super) fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_number_has_one_of_five_forms() {
        let read = |bytes: &[u8]| Reader::new(bytes).packed();
        assert_eq!(read(&[0xFA]), Some(250));
        assert_eq!(read(&[0xFC, 1, 2]), Some(0x0201));
        assert_eq!(read(&[0xFD, 1, 2, 3]), Some(0x03_0201));
        assert_eq!(read(&[0xFE, 1, 2, 3, 4, 5, 6, 7, 8]), Some(0x0807_0605_0403_0201));
        assert_eq!(read(&[0xFB]), None, "that is NULL");
        assert_eq!(read(&[0xFC, 1]), None);
    }

    #[test]
    fn a_count_has_at_least_a_bit_for_each_thing() {
        let count = |number: u8, rest: usize| {
            Reader::new(&[&[number][..], &vec![0; rest]].concat()).count()
        };
        assert_eq!(count(17, 2), Some(17), "two bytes and a bit are rounded down");
        assert_eq!(count(24, 2), None);
        assert_eq!(count(16, 2), Some(16));
    }
}
