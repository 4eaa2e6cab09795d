//! The head of a compressed transaction (TRANSACTION_PAYLOAD_EVENT): how many bytes it unpacks to.

use crate::error::Error;

/// The uncompressed size that the head of a TRANSACTION_PAYLOAD event announces: fields of type,
/// length and value, each number packed, ended by type 0 (MySQL manual, "Transaction_payload_event").
pub(super) fn payload_size(body: &[u8]) -> Option<u64> {
    const END: u64 = 0;
    const COMPRESSION: u64 = 2;
    const UNCOMPRESSED_SIZE: u64 = 3;
    const PAYLOAD_SIZE: u64 = 1;
    const NOT_COMPRESSED: u64 = 255;
    let mut rest = body;
    let (mut size, mut plain_size, mut compression) = (None, None, None);
    loop {
        match packed(&mut rest)? {
            END => break,
            field => {
                let length = usize::try_from(packed(&mut rest)?).ok()?;
                let (mut value, after) = rest.split_at_checked(length)?;
                rest = after;
                match field {
                    COMPRESSION => compression = Some(packed(&mut value)?),
                    UNCOMPRESSED_SIZE => size = Some(packed(&mut value)?),
                    PAYLOAD_SIZE => plain_size = Some(packed(&mut value)?),
                    _ => {}
                }
            }
        }
    }
    if compression == Some(NOT_COMPRESSED) { size.or(plain_size) } else { size }
}

/// A length-encoded integer (MySQL manual, "Protocol::LengthEncodedInteger").
fn packed(rest: &mut &[u8]) -> Option<u64> {
    let (&first, after) = rest.split_first()?;
    let bytes = match first {
        0..=250 => {
            *rest = after;
            return Some(u64::from(first));
        }
        252 => 2,
        253 => 3,
        254 => 8,
        _ => return None,
    };
    let (value, after) = after.split_at_checked(bytes)?;
    *rest = after;
    Some(value.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}

pub(super) fn broken_payload() -> Error {
    Error::failed("a compressed transaction in the binlog did not yield all of its events")
        .remedy("Set binlog_transaction_compression=OFF for the run, and start again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_payload_is_read_from_its_head() {
        // compression type zstd (0), uncompressed size 300, payload size 7, end, payload
        let body = [2, 1, 0, 3, 3, 252, 44, 1, 1, 1, 7, 0, 9, 9];
        assert_eq!(payload_size(&body), Some(300));
        assert_eq!(payload_size(&body[..4]), None);
    }
}
