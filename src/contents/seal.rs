//! How contents are sealed: with the key of their slot, for their place.
//!
//! ```text
//! version (1) · ciphertext · tag (16)
//! ```
//!
//! AES-256-GCM under a key that is derived from the slot's, and one nonce, zeros: a slot's key seals one text
//! and never another, so there is nothing that a nonce would tell apart. What the sealed bytes belong to is
//! authenticated with them: copied to another place they do not open. Within stands how the text is packed,
//! since sealed bytes cannot be compressed any more:
//!
//! ```text
//! packing 0 · text as it is
//! packing 1 · its length, a varint · LZ4
//! packing 2 · in phrases (phrases.rs)
//! ```

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use lz4_flex::block;

use super::{Family, SlotKey, phrases};
use crate::{machine::WorkflowId, store::KeySlot};

/// The version of sealed bytes that is written.
pub const SEALED: u8 = 1;
/// The longest text that is sealed or opened, in bytes: four times what a workflow may weigh.
pub const TEXT_BYTES: usize = 1 << 20;
/// A text of this length may repeat itself. One that phrases make shorter by a quarter is a sentence, and hardly does before
/// it is long.
const COMPRESSED_FROM: usize = 128;
const SENTENCE_UP_TO: usize = 400;
const TAG: usize = 16;

/// How a text is packed.
const AS_IT_IS: u8 = 0;
const LZ4: u8 = 1;
const IN_PHRASES: u8 = 2;

/// Why something could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// It is of a version, or packed in a way, that this program does not know.
    Unknown(u8),
    /// It is damaged, or belongs to another workflow or under another key.
    Damaged,
    /// It is longer than anything that is sealed.
    TooLong,
    /// The cryptographic library failed.
    Failed,
}

/// Seals the contents of a workflow with the key of its slot. To be done once with a key, with one text.
///
/// # Errors
/// If the text is longer than [`TEXT_BYTES`], or the cryptographic library fails.
pub(crate) fn seal(
    key: &SlotKey,
    slot: KeySlot,
    workflow: WorkflowId,
    text: &[u8],
) -> Result<Box<[u8]>, SealError> {
    sealed(key, b"contents 1", &of_workflow(slot, workflow), text)
}

/// What was sealed for this workflow with the key of this slot.
///
/// # Errors
/// If it was not, or is damaged.
pub(crate) fn open(
    key: &SlotKey,
    slot: KeySlot,
    workflow: WorkflowId,
    sealed: &[u8],
) -> Result<Vec<u8>, SealError> {
    opened(key, b"contents 1", &of_workflow(slot, workflow), sealed)
}

/// Seals a row of the settings, for the place that its key names. To be done once with a key, with one text.
///
/// # Errors
/// If the text is longer than [`TEXT_BYTES`], or the cryptographic library fails.
pub fn seal_row(
    key: &SlotKey,
    at: (Family, KeySlot),
    row: &[u8],
    text: &[u8],
) -> Result<Box<[u8]>, SealError> {
    sealed(key, b"row 1", &of_row(at, row), text)
}

/// What was sealed for this row.
///
/// # Errors
/// If it was not, or is damaged.
pub fn open_row(
    key: &SlotKey,
    at: (Family, KeySlot),
    row: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, SealError> {
    opened(key, b"row 1", &of_row(at, row), sealed)
}

/// Tells whether two requests ask for the same, to whoever has the key: without it nobody can find out what
/// was asked for by trying.
pub(super) fn fingerprint(key: &SlotKey, asked: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&key.derived(b"fingerprint 2", asked)[..16]);
    short
}

fn of_workflow(slot: KeySlot, workflow: WorkflowId) -> Vec<u8> {
    let slot = slot.0.to_le_bytes();
    [b"dispatch contents", &[SEALED][..], &slot, workflow.0.as_bytes()].concat()
}

fn of_row((family, slot): (Family, KeySlot), row: &[u8]) -> Vec<u8> {
    let slot = slot.0.to_le_bytes();
    [b"dispatch row", &[SEALED, family.letter() as u8][..], &slot, row].concat()
}

fn sealed(
    key: &SlotKey,
    purpose: &[u8],
    place: &[u8],
    text: &[u8],
) -> Result<Box<[u8]>, SealError> {
    if text.len() > TEXT_BYTES {
        return Err(SealError::TooLong);
    }
    let mut bytes = Vec::with_capacity(1 + 1 + text.len() + TAG);
    bytes.push(SEALED);
    pack(text, &mut bytes);
    let tag = cipher(key, purpose)?
        .seal_in_place_separate_tag(nonce(), Aad::from(place), &mut bytes[1..])
        .map_err(|_| SealError::Failed)?;
    bytes.extend_from_slice(tag.as_ref());
    Ok(bytes.into_boxed_slice())
}

fn opened(
    key: &SlotKey,
    purpose: &[u8],
    place: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, SealError> {
    let (version, sealed) = sealed.split_first().ok_or(SealError::Damaged)?;
    if *version != SEALED {
        return Err(SealError::Unknown(*version));
    }
    if sealed.len() > TEXT_BYTES + 1 + TAG {
        return Err(SealError::TooLong);
    }
    let mut bytes = sealed.to_vec();
    let packed = cipher(key, purpose)?
        .open_in_place(nonce(), Aad::from(place), &mut bytes)
        .map_err(|_| SealError::Damaged)?;
    unpack(packed)
}

fn cipher(key: &SlotKey, purpose: &[u8]) -> Result<LessSafeKey, SealError> {
    let key = key.derived(purpose, &[]);
    let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| SealError::Failed)?;
    Ok(LessSafeKey::new(key))
}

/// Always the same one: a key seals one text.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// The text behind how it is packed: as it takes the least room.
fn pack(text: &[u8], into: &mut Vec<u8>) {
    let begin = into.len();
    into.push(IN_PHRASES);
    phrases::write(text, into);
    let mut packed = into.len() - begin - 1;
    let is_sentence = text.len() < SENTENCE_UP_TO && 4 * packed < 3 * text.len();
    if text.len() >= COMPRESSED_FROM && !is_sentence {
        let block = block::compress(text);
        let mut length = [0; 4];
        let length = varint(text.len(), &mut length);
        if length.len() + block.len() < packed {
            packed = length.len() + block.len();
            into.truncate(begin);
            into.push(LZ4);
            into.extend_from_slice(length);
            into.extend_from_slice(&block);
        }
    }
    if text.len() <= packed {
        into.truncate(begin);
        into.push(AS_IT_IS);
        into.extend_from_slice(text);
    }
}

/// The text of what [`pack`] made. Its bytes are authentic; what they say of their length is believed up to a
/// bound all the same.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, SealError> {
    match packed.split_first().ok_or(SealError::Damaged)? {
        (&AS_IT_IS, text) => Ok(text.to_vec()),
        (&LZ4, rest) => {
            let (length, block) = read_varint(rest).ok_or(SealError::Damaged)?;
            if length > TEXT_BYTES {
                return Err(SealError::TooLong);
            }
            let text = block::decompress(block, length).map_err(|_| SealError::Damaged)?;
            if text.len() == length { Ok(text) } else { Err(SealError::Damaged) }
        }
        (&IN_PHRASES, written) => phrases::read(written, TEXT_BYTES).ok_or(SealError::Damaged),
        (&other, _) => Err(SealError::Unknown(other)),
    }
}

/// What stands in sealed bytes, as it is when they were opened, unpacked.
#[cfg(any(test, fuzzing))]
pub(crate) fn unpacked(packed: &[u8]) -> Result<Vec<u8>, SealError> {
    unpack(packed)
}

/// Seven bits a byte, the lowest first.
fn varint(mut number: usize, into: &mut [u8; 4]) -> &[u8] {
    for at in 0..into.len() {
        into[at] = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            return &into[..=at];
        }
        into[at] |= 0x80;
    }
    into
}

fn read_varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(4) {
        number |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::Unknown(version) => {
                write!(f, "it is of version {version}, which this program does not know")
            }
            SealError::Damaged => f.write_str("it does not decrypt: it is damaged"),
            SealError::TooLong => write!(f, "it is longer than {TEXT_BYTES} bytes"),
            SealError::Failed => f.write_str("the cryptographic library failed"),
        }
    }
}

impl std::error::Error for SealError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const SLOT: KeySlot = KeySlot(7);

    fn key(byte: u8) -> SlotKey {
        SlotKey::new([byte; 32])
    }

    fn workflow(number: u128) -> WorkflowId {
        WorkflowId(Uuid::from_u128(number))
    }

    fn sealed(text: &[u8]) -> Box<[u8]> {
        seal(&key(1), SLOT, workflow(1), text).unwrap()
    }

    /// Half of them repeat themselves, so that they are compressed.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let part = proptest::collection::vec(any::<u8>(), 0..200);
        (part, 1..20_usize, any::<bool>())
            .prop_map(|(part, times, repeats)| if repeats { part.repeat(times) } else { part })
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(text in texts()) {
            prop_assert_eq!(open(&key(1), SLOT, workflow(1), &sealed(&text)), Ok(text.clone()));
            let at = (Family::OptOut, SLOT);
            let row = seal_row(&key(1), at, b"a row", &text).unwrap();
            prop_assert_eq!(open_row(&key(1), at, b"a row", &row), Ok(text));
        }

        #[test]
        fn junk_opens_nowhere_and_never_panics(junk: Vec<u8>) {
            prop_assert!(open(&key(1), SLOT, workflow(1), &junk).is_err());
            let versioned = [&[SEALED], &junk[..]].concat();
            prop_assert!(open(&key(1), SLOT, workflow(1), &versioned).is_err());
        }

        /// As if it had been sealed so: authentic, and no packing that this program makes.
        #[test]
        fn junk_that_is_packed_is_bounded_and_never_a_panic(junk: Vec<u8>) {
            for packing in 0..4 {
                let packed = [&[packing], &junk[..]].concat();
                match unpack(&packed) {
                    Ok(text) => prop_assert!(text.len() <= TEXT_BYTES),
                    Err(error) => prop_assert!(!error.to_string().is_empty()),
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_does_not_open() {
        let whole = sealed(b"your code is 123456");
        assert!(!whole.windows(6).any(|part| part == b"123456"));
        for at in 0..whole.len() {
            let mut torn = whole.clone();
            torn[at] ^= 4;
            assert!(open(&key(1), SLOT, workflow(1), &torn).is_err(), "byte {at}");
            assert!(open(&key(1), SLOT, workflow(1), &whole[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn what_was_sealed_for_one_opens_for_no_other() {
        let whole = sealed(b"a text");
        let damaged = Err(SealError::Damaged);
        assert_eq!(open(&key(2), SLOT, workflow(1), &whole), damaged);
        assert_eq!(open(&key(1), KeySlot(8), workflow(1), &whole), damaged);
        assert_eq!(open(&key(1), SLOT, workflow(2), &whole), damaged);
        let at = (Family::Inbound, SLOT);
        let row = seal_row(&key(1), at, b"a row", b"a text").unwrap();
        assert_eq!(open_row(&key(1), at, b"another", &row), damaged);
        assert_eq!(open_row(&key(1), (Family::OptOut, SLOT), b"a row", &row), damaged);
        assert_eq!(open(&key(1), SLOT, workflow(1), &row), damaged);
    }

    /// Reckoned by another library from what the head of this file says.
    #[test]
    fn the_bytes_stay_as_they_are_written_today() {
        let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
        assert_eq!(hex(&sealed(b"a text")), "01353976b33e651ff7872f6149b48b5554ae14cd5378");
        assert_eq!(
            hex(&fingerprint(&key(1), b"what was asked for")),
            "f2028cdbf8e5db843a77018d4156b428"
        );
    }

    #[test]
    fn a_text_that_repeats_itself_takes_less_and_one_that_does_not_two_bytes_and_the_tag() {
        let text = "Your parcel comes today. ".repeat(20);
        assert!(sealed(text.as_bytes()).len() < 60);
        let random: Vec<u8> = (0..100_u8).map(|it| it.wrapping_mul(151) ^ 0x5a).collect();
        assert_eq!(sealed(&random).len(), random.len() + 2 + TAG);
    }

    #[test]
    fn what_is_too_long_or_of_another_version_is_said() {
        let long = vec![0; TEXT_BYTES + 1];
        assert_eq!(seal(&key(1), SLOT, workflow(1), &long), Err(SealError::TooLong));
        assert!(seal(&key(1), SLOT, workflow(1), &long[1..]).is_ok());
        let mut other = sealed(b"a text");
        other[0] = 9;
        assert_eq!(open(&key(1), SLOT, workflow(1), &other), Err(SealError::Unknown(9)));
        assert_eq!(unpack(&[LZ4, 0xff, 0xff, 0xff, 0x7f]), Err(SealError::TooLong));
        assert_eq!(unpack(&[7]), Err(SealError::Unknown(7)));
    }

    #[test]
    fn a_fingerprint_is_the_key_s() {
        assert_eq!(fingerprint(&key(1), b"a"), fingerprint(&key(1), b"a"));
        assert_ne!(fingerprint(&key(1), b"a"), fingerprint(&key(2), b"a"));
        assert_ne!(fingerprint(&key(1), b"a"), fingerprint(&key(1), b"b"));
    }
}
