//! The keys of the one tree.
//!
//! One tree, because a sled batch is atomic per tree only; a first byte tells the kinds apart.
//! Keys grow to the right where they can: ids are UUIDv7, cursors count.
//!
//! | first byte | then | holds |
//! |---|---|---|
//! | `c` | workflow id | the closing row: the timeline of an ended workflow, in one piece |
//! | `j` | cursor | the journal: one row a transition |
//! | `k` | number | a parked receipt |
//! | `l` | workflow id, cursor | a row that came after the closing row |
//! | `m` | name | about the store itself |
//! | `p` | hash of account and provider id | which attempt a provider's id means |
//! | `q` | hash of tenant and request id | which workflow a request id made |
//! | `r` | workflow id | the record: what was asked for |
//! | `x` | another key, number | a piece of a value too large for one row |

use crate::{
    machine::WorkflowId,
    store::{Cursor, MessageKey, types::id_hash},
};

pub(super) const INCARNATION: &[u8] = b"mincarnation";
/// The cursor behind which all journal rows are kept.
pub(super) const EDGE: &[u8] = b"medge";
/// There if the store was restored: where it came from.
pub(super) const ORIGIN: &[u8] = b"morigin";
/// There if the store is held after a restore.
pub(super) const HELD: &[u8] = b"mheld";

pub(super) fn record(id: WorkflowId) -> Vec<u8> {
    with(b'r', id.as_bytes())
}

pub(super) fn closing(id: WorkflowId) -> Vec<u8> {
    with(b'c', id.as_bytes())
}

pub(super) fn journal(cursor: Cursor) -> Vec<u8> {
    with(b'j', &cursor.0.to_be_bytes())
}

pub(super) fn late(id: WorkflowId, cursor: Cursor) -> Vec<u8> {
    let mut key = with(b'l', id.as_bytes());
    key.extend(cursor.0.to_be_bytes());
    key
}

/// Before every late row of the workflow.
pub(super) fn late_prefix(id: WorkflowId) -> Vec<u8> {
    with(b'l', id.as_bytes())
}

pub(super) fn parked(number: u64) -> Vec<u8> {
    with(b'k', &number.to_be_bytes())
}

pub(super) fn request(tenant: &str, request_id: &str) -> Vec<u8> {
    hashed(b'q', tenant, request_id)
}

pub(super) fn message(account: &str, provider_id: &str) -> Vec<u8> {
    hashed(b'p', account, provider_id)
}

pub(super) fn message_of(key: MessageKey) -> Vec<u8> {
    with(b'p', &key)
}

/// The hash in a message key.
pub(super) fn message_key(key: &[u8]) -> Option<MessageKey> {
    key.strip_prefix(b"p")?.try_into().ok()
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

/// The workflow in a record key.
pub(super) fn workflow_of(key: &[u8]) -> Option<WorkflowId> {
    if key.first() == Some(&b'r') { any_workflow_of(key) } else { None }
}

/// The workflow in a key that begins with its kind and a workflow.
pub(super) fn any_workflow_of(key: &[u8]) -> Option<WorkflowId> {
    let bytes: [u8; 16] = key.get(1..17)?.try_into().ok()?;
    Some(WorkflowId(uuid::Uuid::from_bytes(bytes)))
}

fn with(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len() + 8);
    key.push(kind);
    key.extend(rest);
    key
}

fn hashed(kind: u8, scope: &str, id: &str) -> Vec<u8> {
    with(kind, &id_hash(scope, id))
}
