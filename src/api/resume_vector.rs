//! Where a stream goes on, for each partition: what is sealed in a resume token.
//!
//! A node follows one journal for all the partitions that it owns, and several nodes have a journal each. So a
//! token holds a vector: for each range of partitions, the position in the journal that has them. Together the
//! ranges are all partitions, in order. A node on sled owns every partition: its vectors have one entry.

use crate::{
    machine::PARTITIONS,
    store::{Cursor, Row},
};

/// A place in the journal: behind the first `seen` facts of the row at `cursor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Of the row that was begun last.
    pub cursor: Cursor,
    /// How many of its facts were seen; `u32::MAX`: all of them.
    pub seen: u32,
}

impl Position {
    /// Behind everything up to `cursor`.
    pub fn behind(cursor: Cursor) -> Position {
        Position { cursor, seen: u32::MAX }
    }

    /// Behind the first `seen` of a row's facts.
    pub(crate) fn within(row: &Row, seen: u32) -> Position {
        let is_all = seen as usize >= row.facts.len();
        Position { cursor: row.cursor, seen: if is_all { u32::MAX } else { seen } }
    }
}

/// The bytes of an entry: first and last partition, cursor, facts seen.
const ENTRY: usize = 1 + 1 + 8 + 4;

/// One journal's part of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VectorEntry {
    /// The first partition of the range.
    pub(super) first: u8,
    /// The last, which is in it.
    pub(super) last: u8,
    /// How far a reader has come in the journal of these.
    pub(super) position: Position,
}

/// Where a stream of all partitions goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResumeVector(Vec<VectorEntry>);

impl ResumeVector {
    /// Of a node that has all partitions in one journal.
    pub(super) fn of_one_journal(position: Position) -> Self {
        ResumeVector(vec![VectorEntry { first: 0, last: PARTITIONS - 1, position }])
    }

    /// Of entries whose ranges are all partitions, in order, each once.
    pub(super) fn new(entries: Vec<VectorEntry>) -> Option<Self> {
        let mut next = 0;
        for entry in &entries {
            if entry.first != next || entry.last < entry.first {
                return None;
            }
            next = entry.last.checked_add(1)?;
        }
        (next == PARTITIONS).then_some(ResumeVector(entries))
    }

    /// The position in the one journal; `None` where there are several.
    pub(super) fn in_one_journal(&self) -> Option<Position> {
        match &*self.0 {
            [entry] => Some(entry.position),
            _ => None,
        }
    }

    /// As it is sealed.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * ENTRY);
        for VectorEntry { first, last, position } in &self.0 {
            bytes.extend([*first, *last]);
            bytes.extend(position.cursor.0.to_be_bytes());
            bytes.extend(position.seen.to_be_bytes());
        }
        bytes
    }

    /// What was sealed.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (entries, []) = bytes.as_chunks::<ENTRY>() else { return None };
        let entry = |bytes: &[u8; ENTRY]| -> Option<VectorEntry> {
            let cursor = bytes[2..10].try_into().map(u64::from_be_bytes).ok()?;
            let seen = bytes[10..].try_into().map(u32::from_be_bytes).ok()?;
            let position = Position { cursor: Cursor(cursor), seen };
            Some(VectorEntry { first: bytes[0], last: bytes[1], position })
        };
        ResumeVector::new(entries.iter().map(entry).collect::<Option<_>>()?)
    }

    /// Whether so many bytes may be a vector.
    pub(super) fn is_length(bytes: usize) -> bool {
        bytes > 0 && bytes.is_multiple_of(ENTRY) && bytes / ENTRY <= usize::from(PARTITIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(first: u8, last: u8) -> VectorEntry {
        let position = Position { cursor: Cursor(1000 + u64::from(first)), seen: u32::from(last) };
        VectorEntry { first, last, position }
    }

    #[test]
    fn a_vector_comes_back_with_one_journal_or_one_for_each_partition() {
        let position = Position { cursor: Cursor(u64::MAX), seen: u32::MAX };
        let one = ResumeVector::of_one_journal(position);
        assert_eq!(ResumeVector::decode(&one.encode()), Some(one.clone()));
        assert_eq!(one.in_one_journal(), Some(position));
        let each = (0..PARTITIONS).map(|partition| entry(partition, partition)).collect();
        let each = ResumeVector::new(each).unwrap();
        assert_eq!(ResumeVector::decode(&each.encode()), Some(each.clone()));
        assert_eq!(each.in_one_journal(), None);
        assert!([one, each].iter().all(|vector| ResumeVector::is_length(vector.encode().len())));
    }

    #[test]
    fn a_vector_has_every_partition_once_and_in_order() {
        let wrong = [
            vec![],
            vec![entry(0, 14)],
            vec![entry(1, 15)],
            vec![entry(0, 16)],
            vec![entry(0, u8::MAX)],
            vec![entry(0, 7), entry(7, 15)],
            vec![entry(0, 7), entry(9, 15)],
            vec![entry(8, 15), entry(0, 7)],
            vec![entry(0, 15), entry(16, 15)],
        ];
        for entries in wrong {
            assert_eq!(ResumeVector::decode(&ResumeVector(entries.clone()).encode()), None);
            assert_eq!(ResumeVector::new(entries), None);
        }
        let whole = ResumeVector::new(vec![entry(0, 7), entry(8, 15)]).unwrap().encode();
        assert_eq!(ResumeVector::decode(&whole[..whole.len() - 1]), None);
    }
}
