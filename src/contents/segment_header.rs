//! The head of a segment's file: what the segment is, how many of its pages count, and its sealed secret.
//!
//! ```text
//! "dispatch keys\n" · version (1) · family (1) · segment (4) · generation (4) · pages (1) · is gone (1)
//! · length of what is sealed (2) · sealed · CRC-32 of all before it (4)
//! ```
//!
//! Numbers are little-endian. Two copies in sectors of their own take turns, so that one is always whole: the
//! one of the higher generation counts.

use super::Family;

/// One copy; a disk writes a sector whole or not at all.
pub(super) const SECTOR: usize = 512;
const MAGIC: &[u8] = b"dispatch keys\n";
const VERSION: u8 = 1;
/// What is sealed may be so long, in bytes: enough for other vaults than ours.
pub(super) const SEALED_BYTES: usize = 384;
/// How many pages a segment has at most.
pub(super) const PAGES: u8 = 8;

/// What a segment's file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) family: Family,
    pub(super) segment: u32,
    /// Grows with each copy that is written.
    pub(super) generation: u32,
    /// How many pages were made durable. Behind them may stand what was not.
    pub(super) pages: u8,
    /// All its slots are gone, and so is its secret.
    pub(super) is_gone: bool,
    /// The secrets of its mask and of its tags, sealed for this segment.
    pub(super) sealed: Vec<u8>,
}

impl SegmentHeader {
    /// One copy; `None` if what is sealed is too long for it.
    pub(super) fn encode(&self) -> Option<[u8; SECTOR]> {
        if self.sealed.len() > SEALED_BYTES {
            return None;
        }
        let mut bytes = Vec::with_capacity(SECTOR);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, self.family.letter() as u8]);
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&[self.pages, u8::from(self.is_gone)]);
        bytes.extend_from_slice(&(self.sealed.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&self.sealed);
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        let mut copy = [0; SECTOR];
        copy[..bytes.len()].copy_from_slice(&bytes);
        Some(copy)
    }

    /// Where in the file the copy of this generation stands.
    pub(super) fn place(&self) -> u64 {
        if self.generation.is_multiple_of(2) { 0 } else { SECTOR as u64 }
    }

    /// Whether a copy at the beginning of a file is whole, and of a version that this program does not know.
    pub(super) fn is_of_another_version(file: &[u8]) -> bool {
        let copies = file.chunks(SECTOR).take(2);
        copies.map(decode).any(|copy| matches!(copy, Err(Unread::OtherVersion(_))))
    }

    /// What the copies at the beginning of a file say.
    ///
    /// # Errors
    /// In a sentence, if neither is whole, or they are another file's.
    pub(super) fn read(file: &[u8], family: Family, segment: u32) -> Result<Self, String> {
        let (first, second) = file.split_at(file.len().min(SECTOR));
        let copies = [decode(first), decode(&second[..second.len().min(SECTOR)])];
        if let Some(Err(Unread::OtherVersion(version))) =
            copies.iter().find(|copy| matches!(copy, Err(Unread::OtherVersion(_))))
        {
            return Err(format!(
                "it is of version {version}, and this program knows {VERSION}; take a newer one"
            ));
        }
        let newest = copies.into_iter().flatten().max_by_key(|header| header.generation);
        let header = newest.ok_or("neither of the two copies of its header can be read")?;
        if (header.family, header.segment) != (family, segment) {
            return Err(format!(
                "it is {} under another name",
                header.family.file_name(header.segment)
            ));
        }
        Ok(header)
    }
}

/// The header at the beginning of a file, read and written again; `None` if there is none.
#[cfg(any(test, fuzzing))]
pub(crate) fn header_again(file: &[u8]) -> Option<Vec<u8>> {
    let header = SegmentHeader::read(file, Family::Workflow, 0).ok()?;
    header.encode().map(|copy| copy.to_vec())
}

/// What a header holds behind its version and before its sealed secret, and that, as a header whose checksum fits.
#[cfg(any(test, fuzzing))]
pub(crate) fn header_of(fields: &[u8; 11], sealed: &[u8]) -> Vec<u8> {
    let length = (sealed.len() as u16).to_le_bytes();
    let bytes = [MAGIC, &[VERSION], fields, &length, sealed].concat();
    [&bytes[..], &crc32fast::hash(&bytes).to_le_bytes()].concat()
}

/// Why a copy says nothing.
enum Unread {
    Torn,
    OtherVersion(u8),
}

fn decode(copy: &[u8]) -> Result<SegmentHeader, Unread> {
    whole(copy).ok_or(Unread::Torn)?.and_then(|body| fields(body).ok_or(Unread::Torn))
}

/// What stands between the version and the checksum of a copy, if that fits.
fn whole(copy: &[u8]) -> Option<Result<&[u8], Unread>> {
    // The length stands at the same place in every version, so that a newer one is told from a torn one.
    const LENGTH_AT: usize = MAGIC.len() + 12;
    let length = u16::from_le_bytes(*copy.get(LENGTH_AT..)?.first_chunk()?);
    let (bytes, rest) = copy.split_at_checked(LENGTH_AT + 2 + usize::from(length))?;
    if !bytes.starts_with(MAGIC) || *rest.first_chunk()? != crc32fast::hash(bytes).to_le_bytes() {
        return None;
    }
    let (version, body) = bytes.get(MAGIC.len()..)?.split_first()?;
    Some(if *version == VERSION { Ok(body) } else { Err(Unread::OtherVersion(*version)) })
}

fn fields(body: &[u8]) -> Option<SegmentHeader> {
    let (letter, rest) = body.split_first()?;
    let (segment, rest) = rest.split_first_chunk()?;
    let (generation, rest) = rest.split_first_chunk()?;
    let ([pages, is_gone, _, _], sealed) = rest.split_first_chunk()?;
    let family = Family::ALL.into_iter().find(|it| it.letter() as u8 == *letter)?;
    if *pages > PAGES || *is_gone > 1 || sealed.len() > SEALED_BYTES {
        return None;
    }
    Some(SegmentHeader {
        family,
        segment: u32::from_le_bytes(*segment),
        generation: u32::from_le_bytes(*generation),
        pages: *pages,
        is_gone: *is_gone == 1,
        sealed: sealed.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(generation: u32, pages: u8) -> SegmentHeader {
        let sealed = (0..93).collect();
        let family = Family::Workflow;
        SegmentHeader { family, segment: 42, generation, pages, is_gone: false, sealed }
    }

    fn file(one: &SegmentHeader, other: &SegmentHeader) -> Vec<u8> {
        let mut file = vec![0; 4096];
        for header in [one, other] {
            let at = header.place() as usize;
            file[at..at + SECTOR].copy_from_slice(&header.encode().unwrap());
        }
        file
    }

    fn read(file: &[u8]) -> Result<SegmentHeader, String> {
        SegmentHeader::read(file, Family::Workflow, 42)
    }

    #[test]
    fn the_newer_copy_counts_and_a_torn_one_leaves_the_other() {
        let (older, newer) = (header(6, 2), header(7, 3));
        let whole = file(&older, &newer);
        assert_eq!(read(&whole), Ok(newer.clone()));
        // Every byte that a copy has, and not the zeros behind it.
        let length = MAGIC.len() + 14 + 93 + 4;
        for at in 0..length {
            let mut torn = whole.clone();
            torn[at] ^= 4;
            assert_eq!(read(&torn), Ok(newer.clone()), "byte {at} of the older copy");
            torn[SECTOR + at] ^= 4;
            assert!(read(&torn).unwrap_err().contains("neither"), "byte {at} of both");
            torn[at] ^= 4;
            assert_eq!(read(&torn), Ok(older.clone()), "byte {at} of the newer copy");
            let cut = read(&whole[..SECTOR + at]);
            assert_eq!(cut, Ok(older.clone()), "cut behind byte {at} of the newer copy");
            assert!(read(&whole[..at]).is_err(), "cut behind byte {at} of the older copy");
        }
    }

    #[test]
    fn a_header_of_another_file_or_a_newer_version_is_refused_in_words() {
        let whole = file(&header(6, 2), &header(7, 3));
        let moved = SegmentHeader::read(&whole, Family::OptOut, 42).unwrap_err();
        assert_eq!(moved, "it is w.00000042 under another name");
        assert!(SegmentHeader::read(&whole, Family::Workflow, 41).is_err());
        let mut newer = header(8, 3).encode().unwrap();
        newer[MAGIC.len()] = 2;
        let end = MAGIC.len() + 14 + 93;
        let sum = crc32fast::hash(&newer[..end]).to_le_bytes();
        newer[end..end + 4].copy_from_slice(&sum);
        let mut file = whole;
        file[..SECTOR].copy_from_slice(&newer);
        assert!(read(&file).unwrap_err().contains("version 2"));
        let long = SegmentHeader { sealed: vec![0; SEALED_BYTES + 1], ..header(1, 1) };
        assert_eq!(long.encode(), None);
        let longest = SegmentHeader { sealed: vec![0; SEALED_BYTES], ..header(1, 1) };
        assert!(longest.encode().is_some());
    }

    proptest! {
        #[test]
        fn junk_is_no_header_and_never_a_panic(
            junk in proptest::collection::vec(any::<u8>(), 0..1200),
            length: u16,
        ) {
            prop_assert!(read(&junk).is_err());
            // Junk that begins as a header does, with any length.
            let mut file = junk;
            file.splice(0..0, MAGIC.iter().copied());
            file.resize(file.len().max(MAGIC.len() + 14), 0);
            file[MAGIC.len() + 12..MAGIC.len() + 14].copy_from_slice(&length.to_le_bytes());
            prop_assert!(read(&file).is_err());
        }
    }
}
