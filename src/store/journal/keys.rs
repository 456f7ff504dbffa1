//! The keys of what a backend keeps: a first byte tells the kinds apart.
//!
//! Keys grow to the right where they can: ids are UUIDv7, cursors count.
//!
//! | first byte | then | holds |
//! |---|---|---|
//! | `e` | workflow id | where the rows of an ended workflow stand |
//! | `k` | number | a held receipt |
//! | `m` | name | about the store itself |
//! | `p` | hash of account and provider id | which attempt a provider's id means, and which part |
//! | `q` | hash of tenant and request id | which workflow a request id made |
//! | `w` | hash of a conversation, engine time, workflow id, attempt | an accepted attempt of that conversation |

use std::ops::Range;

use dispatch_contract::UnixMillis;

use crate::{
    machine::WorkflowId,
    store::{NameHash, ReceiptKey, backend::behind, types::id_hash},
};

pub(in crate::store) const INCARNATION: &[u8] = b"mincarnation";
/// How far retention has come.
pub(super) const LOW_WATER_MARK: &[u8] = b"medge";
/// There if the store was restored: where it came from.
pub(super) const ORIGIN: &[u8] = b"morigin";
/// There if the store lost something: the lives before that, oldest first.
pub(in crate::store) const FORMER: &[u8] = b"mformer";
/// There while the store has a restore lock.
pub(super) const RESTORE_LOCK: &[u8] = b"mheld";
/// For how long overdue waits for receipts have been held, in milliseconds.
pub(super) const GRACE_GIVEN: &[u8] = b"mgrace";

pub(super) fn ended(id: WorkflowId) -> Vec<u8> {
    with(b'e', id.as_bytes())
}

pub(super) fn held_receipt(number: u64) -> Vec<u8> {
    with(b'k', &number.to_be_bytes())
}

pub(super) fn request(tenant: &str, request_id: &str) -> Vec<u8> {
    with(b'q', &id_hash(tenant, request_id))
}

/// Under which a receipt finds its message.
pub(super) fn found_by(key: ReceiptKey) -> Vec<u8> {
    match key {
        ReceiptKey::ProviderId(hash) => with(b'p', &hash),
        ReceiptKey::Conversation(hash, began, workflow, attempt) => {
            let mut key = conversation(hash, began);
            key.extend(workflow.as_bytes());
            key.extend(attempt.to_be_bytes());
            key
        }
    }
}

/// The workflow and the attempt in the key of a conversation's row.
pub(super) fn conversation_of(key: &[u8]) -> Option<(WorkflowId, u16)> {
    let rest = key.strip_prefix(b"w")?.get(size_of::<NameHash>() + size_of::<UnixMillis>()..)?;
    let (workflow, attempt) = rest.split_at_checked(16)?;
    let workflow = uuid::Uuid::from_bytes(workflow.try_into().ok()?);
    Some((WorkflowId(workflow), u16::from_be_bytes(attempt.try_into().ok()?)))
}

/// Before everything of a conversation that began at or after a time.
pub(super) fn conversation(hash: NameHash, began: UnixMillis) -> Vec<u8> {
    let mut key = with(b'w', &hash);
    key.extend(began.0.to_be_bytes());
    key
}

/// Of where the workflows of a range have ended; without an end, from the first or to the last.
pub(super) fn ended_between(from: Option<WorkflowId>, to: Option<WorkflowId>) -> Range<Vec<u8>> {
    from.map_or(vec![b'e'], |id| behind(&ended(id)))..to.map_or(vec![b'e' + 1], ended)
}

/// Of all rows of a kind.
pub(super) fn all_of(kind: u8) -> Range<Vec<u8>> {
    vec![kind]..vec![kind + 1]
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
