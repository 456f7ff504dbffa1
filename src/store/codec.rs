//! How rows are written: `format version · checksum · postcard`; [`BatchEncoder`] values of one row are
//! compressed together.
//!
//! The checksum (CRC-32 of the payload) tells a torn or rotten row from a sound one. Types are
//! stored by position; a format that changes gets a new version here, and the old one stays
//! readable.

use lz4_flex::block::{compress_prepend_size, decompress};
use serde::{Serialize, de::DeserializeOwned};

use super::StoreError;

const VERSION: u8 = 1;
const HEAD: usize = 5;
/// The bytes of a length.
const LENGTH: usize = 4;

/// `value` as a row.
///
/// # Errors
/// If it cannot be told in the format.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    extended(value, vec![VERSION, 0, 0, 0, 0]).map(with_checksum)
}

/// How many bytes `value` takes, before it is compressed.
pub(crate) fn weight<T: Serialize>(value: &T) -> usize {
    postcard::serialize_with_flavor(value, postcard::ser_flavors::Size::default())
        .unwrap_or(usize::MAX)
}

fn extended<T: Serialize>(value: &T, row: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(value, row)
        .map_err(|error| StoreError::Io(format!("a row could not be encoded: {error}")))
}

/// `payload` as a row.
pub(crate) fn framed(payload: &[u8]) -> Vec<u8> {
    with_checksum([&[VERSION, 0, 0, 0, 0], payload].concat())
}

fn with_checksum(mut row: Vec<u8>) -> Vec<u8> {
    let sum = crc32fast::hash(&row[HEAD..]);
    row[1..HEAD].copy_from_slice(&sum.to_le_bytes());
    row
}

/// A value as it stands among others of a row.
///
/// # Errors
/// If it cannot be told in the format.
pub(crate) fn bare<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    extended(value, Vec::new())
}

/// Several values in one row, compressed together. Each stands behind its length (u32,
/// little-endian) and its number, so that one can be read without the others.
#[derive(Default)]
pub(crate) struct BatchEncoder(Vec<u8>);

impl BatchEncoder {
    /// Adds a [`bare`] value under a number, which is greater than those before.
    ///
    /// # Errors
    /// If its number cannot be told in the format.
    pub(crate) fn add(&mut self, number: u32, value: &[u8]) -> Result<(), StoreError> {
        let at = self.0.len();
        self.0.extend([0; LENGTH]);
        self.0 = extended(&number, std::mem::take(&mut self.0))?;
        self.0.extend(value);
        let length = (self.0.len() - at - LENGTH) as u32;
        self.0[at..at + LENGTH].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// The row: behind the header, how long the values are (u32, little-endian), and a block of LZ4.
    pub(crate) fn row(self) -> Vec<u8> {
        framed(&compress_prepend_size(&self.0))
    }
}

/// The values of a row, still encoded.
pub(crate) struct BatchDecoder(Vec<u8>);

/// No block of LZ4 grows by more than this when it is read.
const MOST_GROWTH: usize = 255;

impl BatchDecoder {
    /// Of a row.
    ///
    /// # Errors
    /// If it is torn, rotten or of another format.
    pub(crate) fn of(row: &[u8], place: impl Fn() -> String) -> Result<Self, StoreError> {
        let corrupt = |problem: String| StoreError::Corrupt { place: place(), problem };
        let (length, block) = payload(row, &place)?
            .split_first_chunk::<LENGTH>()
            .ok_or_else(|| corrupt("it does not say how long it is".to_owned()))?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > block.len().saturating_mul(MOST_GROWTH) {
            return Err(corrupt(format!("{} bytes cannot be {length}", block.len())));
        }
        let values = decompress(block, length).map_err(|error| corrupt(error.to_string()))?;
        if values.len() != length {
            return Err(corrupt(format!("it says {length} bytes, and has {}", values.len())));
        }
        Ok(BatchDecoder(values))
    }

    /// How many bytes they are.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// One after the other. `place` names them in an error.
    pub(crate) fn iter<P: Fn() -> String + Clone>(
        &self,
        place: P,
    ) -> impl Iterator<Item = Result<Encoded<'_, P>, StoreError>> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let split = rest.split_first_chunk::<LENGTH>().and_then(|(length, behind)| {
                behind.split_at_checked(u32::from_le_bytes(*length) as usize)
            });
            let Some((value, behind)) = split else {
                rest = &[];
                let problem = "a value in it is cut off".to_owned();
                return Some(Err(StoreError::Corrupt { place: place(), problem }));
            };
            rest = behind;
            let numbered = postcard::take_from_bytes(value);
            Some(match numbered {
                Ok((number, value)) => Ok(Encoded { number, value, place: place.clone() }),
                Err(error) => {
                    rest = &[];
                    Err(StoreError::Corrupt { place: place(), problem: error.to_string() })
                }
            })
        })
    }
}

/// One of several [`BatchDecoder`].
pub(crate) struct Encoded<'a, P> {
    /// Under which it was added.
    pub(crate) number: u32,
    value: &'a [u8],
    place: P,
}

impl<P: Fn() -> String> Encoded<'_, P> {
    /// The value.
    ///
    /// # Errors
    /// If it is of another type.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        decoded(self.value, &self.place)
    }
}

/// The value of a row. `place` names it in an error.
///
/// # Errors
/// If it is torn, rotten or of another format.
pub fn decode<T: DeserializeOwned>(
    row: &[u8],
    place: impl Fn() -> String,
) -> Result<T, StoreError> {
    decoded(payload(row, &place)?, &place)
}

fn decoded<T: DeserializeOwned>(
    payload: &[u8],
    place: impl Fn() -> String,
) -> Result<T, StoreError> {
    let corrupt =
        |error: postcard::Error| StoreError::Corrupt { place: place(), problem: error.to_string() };
    postcard::from_bytes(payload).map_err(corrupt)
}

/// What a row holds, if it is whole and of a format that is known.
pub(super) fn payload(row: &[u8], place: impl Fn() -> String) -> Result<&[u8], StoreError> {
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
    fn several_values_are_read_one_by_one_under_their_numbers() {
        let mut values = BatchEncoder::default();
        for number in 0..10_u32 {
            values.add(number * 100, &bare(&("a value", number)).unwrap()).unwrap();
        }
        let row = BatchDecoder::of(&values.row(), String::new).unwrap();
        let read = row.iter(String::new).map(|value| {
            let value = value.unwrap();
            (value.number, value.decode::<(String, u32)>().unwrap().1)
        });
        let wanted = (0..10).map(|number| (number * 100, number));
        assert_eq!(read.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    }

    #[test]
    fn values_that_are_not_what_they_say_are_noticed() {
        let mut values = BatchEncoder::default();
        values.add(7, &bare(&"a value, a value, a value, a value").unwrap()).unwrap();
        let problem = |row: &[u8]| match BatchDecoder::of(row, String::new) {
            Ok(values) => values.iter(String::new).find_map(Result::err).map(|it| it.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let cut = BatchEncoder(values.0[..values.0.len() - 1].to_vec()).row();
        assert!(problem(&cut).unwrap().contains("a value in it is cut off"));
        let row = values.row();
        assert_eq!(problem(&row), None);
        let payload = &row[HEAD..];
        let length = u32::from_le_bytes(payload[..LENGTH].try_into().unwrap());
        for wrong in [0, length - 1, length + 1, 4096, u32::MAX] {
            let row = framed(&[&wrong.to_le_bytes(), &payload[LENGTH..]].concat());
            assert!(problem(&row).is_some(), "{wrong} bytes instead of {length}");
        }
        assert!(problem(&framed(&payload[..2])).unwrap().contains("how long"));
        assert!(problem(&framed(&payload[..payload.len() - 2])).is_some());
    }

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
