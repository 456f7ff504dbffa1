//! The keys of the one tree.
//!
//! One tree, because a sled batch is atomic per tree only; a first byte tells the kinds apart.
//! Keys grow to the right where they can: ids are UUIDv7, cursors count.
//!
//! | first byte | then | holds |
//! |---|---|---|
//! | `e` | workflow id | where the rows of an ended workflow stand |
//! | `j` | cursor | the journal: a chunk of its rows, under the cursor of the first |
//! | `k` | number | a held receipt |
//! | `m` | name | about the store itself |
//! | `p` | hash of account and provider id | which attempt a provider's id means |
//! | `q` | hash of tenant and request id | which workflow a request id made |
//! | `x` | another key, number | a piece of a value too large for one row |

use crate::{
    machine::WorkflowId,
    store::{Cursor, MessageKey, types::id_hash},
};

pub(super) const INCARNATION: &[u8] = b"mincarnation";
/// How far retention has come.
pub(super) const LOW_WATER_MARK: &[u8] = b"medge";
/// There if the store was restored: where it came from.
pub(super) const ORIGIN: &[u8] = b"morigin";
/// There while the store has a restore lock.
pub(super) const RESTORE_LOCK: &[u8] = b"mheld";
/// For how long overdue waits for receipts have been held, in milliseconds.
pub(super) const GRACE_GIVEN: &[u8] = b"mgrace";

pub(super) fn ended(id: WorkflowId) -> Vec<u8> {
    with(b'e', id.as_bytes())
}

pub(super) fn journal(cursor: Cursor) -> Vec<u8> {
    with(b'j', &cursor.0.to_be_bytes())
}

pub(super) fn held_receipt(number: u64) -> Vec<u8> {
    with(b'k', &number.to_be_bytes())
}

pub(super) fn request(tenant: &str, request_id: &str) -> Vec<u8> {
    with(b'q', &id_hash(tenant, request_id))
}

pub(super) fn message(account: &str, provider_id: &str) -> MessageKey {
    id_hash(account, provider_id)
}

/// Under which a message is found.
pub(super) fn found_by(message: MessageKey) -> Vec<u8> {
    with(b'p', &message)
}

pub(super) fn piece(key: &[u8], number: u32) -> Vec<u8> {
    let mut piece = with(b'x', key);
    piece.extend(number.to_be_bytes());
    piece
}

/// The cursor in a journal key.
pub(super) fn cursor_of(key: &[u8]) -> Option<Cursor> {
    let bytes = key.strip_prefix(b"j")?;
    Some(Cursor(u64::from_be_bytes(bytes.try_into().ok()?)))
}

/// The workflow in the key of an ended one.
pub(super) fn ended_of(key: &[u8]) -> Option<WorkflowId> {
    let bytes = key.strip_prefix(b"e")?;
    Some(WorkflowId(uuid::Uuid::from_bytes(bytes.try_into().ok()?)))
}

fn with(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len() + 8);
    key.push(kind);
    key.extend(rest);
    key
}
