//! How rows are written: `format version · checksum · postcard`.
//!
//! The checksum (CRC-32 of the payload) tells a torn or rotten row from a sound one. Types are
//! stored by position; a format that changes gets a new version here, and the old one stays
//! readable.

use serde::{Serialize, de::DeserializeOwned};

use super::StoreError;

const VERSION: u8 = 1;
const HEAD: usize = 5;

/// `value` as a row.
///
/// # Errors
/// If it cannot be told in the format.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    let row = postcard::to_extend(value, vec![VERSION, 0, 0, 0, 0])
        .map_err(|error| StoreError::Io(format!("a row could not be encoded: {error}")))?;
    Ok(sealed(row))
}

/// `payload` as a row.
pub(crate) fn around(payload: &[u8]) -> Vec<u8> {
    sealed([&[VERSION, 0, 0, 0, 0], payload].concat())
}

fn sealed(mut row: Vec<u8>) -> Vec<u8> {
    let sum = crc32fast::hash(&row[HEAD..]);
    row[1..HEAD].copy_from_slice(&sum.to_le_bytes());
    row
}

/// The value of a row. `place` names it in an error.
///
/// # Errors
/// If it is torn, rotten or of another format.
pub fn decode<T: DeserializeOwned>(
    row: &[u8],
    place: impl Fn() -> String,
) -> Result<T, StoreError> {
    let payload = sound(row, &place)?;
    let corrupt =
        |error: postcard::Error| StoreError::Corrupt { place: place(), problem: error.to_string() };
    postcard::from_bytes(payload).map_err(corrupt)
}

/// What a row holds, if it is whole and of a format that is known.
pub(super) fn sound(row: &[u8], place: impl Fn() -> String) -> Result<&[u8], StoreError> {
    let corrupt = |problem: String| StoreError::Corrupt { place: place(), problem };
    let Some((head, payload)) = row.split_at_checked(HEAD) else {
        return Err(corrupt(format!("{} bytes are too few for a row", row.len())));
    };
    if head[0] != VERSION {
        return Err(corrupt(format!(
            "format version {} is not known; this program writes {VERSION}",
            head[0]
        )));
    }
    if head[1..] != crc32fast::hash(payload).to_le_bytes() {
        return Err(corrupt("its checksum does not fit".to_owned()));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let row = encode(&("a workflow", 7_u32)).unwrap();
        assert_eq!(decode::<(String, u32)>(&row, String::new), Ok(("a workflow".to_owned(), 7)));
        for at in 0..row.len() {
            let mut torn = row.clone();
            torn[at] ^= 4;
            assert!(decode::<(String, u32)>(&torn, String::new).is_err(), "byte {at}");
            assert!(decode::<(String, u32)>(&row[..at], String::new).is_err(), "cut at {at}");
        }
    }
}
