//! Checks a journal and what leads to it: every row by itself, then all together.

use std::{
    collections::HashSet,
    sync::{Arc, RwLock, atomic::AtomicU64},
};

use super::{
    EndedLocation, JournalEntry, LowWaterMark, RestoreOrigin,
    checkpoint::Checkpoint,
    chunk::{Chunk, ChunkCache},
    keys,
    read::JournalReader,
    rebuild::{Rebuilt, edge, follows, rebuild},
};
use crate::{
    machine::WorkflowId,
    store::{
        CheckReport, Cursor, ExistingRequest, HeldReceipt, Incarnation, MessagePart, Reader,
        RestoreLock, StoreError,
        backend::{Backend, RawChunk, Scanned, chunk_place, place},
        codec,
    },
};

/// How many workflows are read at once.
const PAGE: usize = 64;

/// Looks at every row by itself, and at the journal's numbering. Returns the newest row's cursor.
pub(in crate::store) fn rows(backend: &dyn Backend, checked: &mut CheckReport) -> Cursor {
    let edge = edge(backend).unwrap_or_default().swept;
    let origin = backend.decode::<RestoreOrigin>(keys::ORIGIN).ok().flatten();
    let mut newest = edge;
    backend.scan(&mut |scanned| {
        let sound = match scanned {
            Scanned::Chunk(raw) => chunk(&raw, edge, origin, &mut newest, checked),
            Scanned::Row((key, value)) => one(&key, &value),
            Scanned::Unreadable(error) => Err(error),
        };
        if let Err(error) = sound {
            checked.failed(error);
        }
    });
    newest
}

/// Looks at what only shows when everything is looked at together. `checkpoint_place` names the checkpoint.
///
/// # Errors
/// If something cannot be read.
pub(in crate::store) fn all_together(
    backend: Arc<dyn Backend>,
    checkpoint_place: &str,
    checked: &mut CheckReport,
) -> Result<(), StoreError> {
    let Rebuilt { open, newest, .. } = rebuild(&*backend, None)?;
    // Whether a start from the checkpoint would give what the whole journal gives.
    let life = backend.decode(keys::INCARNATION)?;
    if let Some(checkpoint) = Checkpoint::of_this_life(&*backend, life) {
        let shortcut = rebuild(&*backend, Some(checkpoint))?;
        if let Some(id) = shortcut.open.difference(&open)? {
            let problem = format!("a start from it would see workflow {id} differently");
            checked.found(checkpoint_place, problem);
        }
    }
    let shared = JournalReader {
        incarnation: life.unwrap_or(Incarnation(uuid::Uuid::nil())),
        former: Vec::new(),
        gone: AtomicU64::new(edge(&*backend)?.gone.0),
        sweeping: RwLock::default(),
        backend,
        chunks: ChunkCache::default(),
        open: RwLock::new(open),
        durable: AtomicU64::new(newest.0),
    };
    workflows(&shared, checked)
}

/// Every row of a chunk of the journal.
fn chunk(
    raw: &RawChunk,
    edge: Cursor,
    origin: Option<RestoreOrigin>,
    newest: &mut Cursor,
    checked: &mut CheckReport,
) -> Result<(), StoreError> {
    let chunk = Chunk::of(raw)?;
    let place = || chunk_place(raw.first);
    if chunk.first <= edge {
        checked.found(place(), "it lies before the journal's edge");
        return Ok(());
    }
    for entry in chunk.entries() {
        let (cursor, entry) = entry?;
        if !follows(*newest, cursor, origin) {
            let (from, to) = (newest.0 + 1, cursor.0 - 1);
            let before = match cursor == chunk.first {
                true => "it".to_owned(),
                false => format!("row {} in it", cursor.0),
            };
            checked.found(place(), format!("the rows {from} to {to} before {before} are missing"));
        }
        *newest = cursor;
        if let JournalEntry::Row { row, .. } = entry
            && row.cursor != cursor
        {
            let problem = format!("row {} stands where row {} should", row.cursor.0, cursor.0);
            checked.found(place(), problem);
        }
    }
    Ok(())
}

/// Whether the row is what its key says.
fn one(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let place = || place(key);
    let wrong = |problem: &str| StoreError::Corrupt { place: place(), problem: problem.to_owned() };
    let fits = match key.first() {
        Some(b'e') => {
            codec::decode::<EndedLocation>(value, place).map(|_| keys::ended_of(key).is_some())
        }
        Some(b'k') => {
            codec::decode(value, place).map(|row: HeldReceipt| keys::held_receipt(row.key) == key)
        }
        Some(b'm') => match key {
            keys::LOW_WATER_MARK => codec::decode::<LowWaterMark>(value, place).map(|_| true),
            keys::RESTORE_LOCK => codec::decode::<RestoreLock>(value, place).map(|_| true),
            keys::INCARNATION => codec::decode::<Incarnation>(value, place).map(|_| true),
            keys::FORMER => codec::decode::<Vec<Incarnation>>(value, place).map(|_| true),
            keys::ORIGIN => codec::decode::<RestoreOrigin>(value, place).map(|_| true),
            keys::GRACE_GIVEN => codec::decode::<u64>(value, place).map(|_| true),
            _ => return Err(wrong("this program knows no such row")),
        },
        Some(b'p') => codec::decode::<(WorkflowId, MessagePart)>(value, place).map(|_| true),
        Some(b'w') => codec::decode::<(WorkflowId, MessagePart)>(value, place)
            .map(|(id, part)| keys::conversation_of(key) == Some((id, part.attempt))),
        Some(b'q') => codec::decode::<ExistingRequest>(value, place).map(|_| true),
        _ => return Err(wrong("this program knows no such row")),
    };
    if fits? { Ok(()) } else { Err(wrong("it holds what belongs under another key")) }
}

/// Every workflow with its indexes, and every index row with its workflow.
fn workflows(shared: &JournalReader, checked: &mut CheckReport) -> Result<(), StoreError> {
    let backend = &shared.backend;
    let mut known = HashSet::new();
    let mut after = None;
    loop {
        let entries = shared.entries(after, PAGE)?;
        let Some(last) = entries.last() else { break };
        after = Some(last.record.id);
        let ids: Vec<_> = entries.iter().map(|entry| entry.record.id).collect();
        let ended = shared.all_ended(&ids)?;
        let requests = entries.iter().filter_map(|entry| {
            let record = &entry.record;
            Some((record, keys::request(&record.tenant, record.request_id()?)))
        });
        let (requested, request_keys): (Vec<_>, Vec<_>) = requests.unzip();
        for (record, made) in requested.into_iter().zip(backend.decode_all(&request_keys)?) {
            if made != record.existing_request() {
                let place = format!("workflow {}", record.id);
                checked.found(place, "its request_id does not lead to it");
            }
        }
        for (entry, ended) in entries.iter().zip(ended) {
            let id = entry.record.id;
            known.insert(id);
            checked.entry(entry);
            let last = entry.rows.last().map(|row| row.sequence + row.facts.len() as u32 - 1);
            if ended.is_some_and(|ended| Some(ended.sequence) != last) {
                let place = place(&keys::ended(id));
                checked.found(place, format!("it is not where workflow {id} ends"));
            }
        }
    }
    let leads = |key: &[u8], id: WorkflowId, checked: &mut CheckReport| {
        if !known.contains(&id) {
            checked.found(place(key), format!("it leads to workflow {id}, which is not there"));
        }
    };
    for kind in [b'p', b'q', b'w'] {
        for row in backend.rows(keys::all_of(kind)) {
            let (key, value) = row?;
            let id = match kind {
                b'p' | b'w' => {
                    codec::decode::<(WorkflowId, MessagePart)>(&value, || place(&key))?.0
                }
                _ => codec::decode::<ExistingRequest>(&value, || place(&key))?.id,
            };
            leads(&key, id, checked);
        }
    }
    for row in backend.rows(keys::all_of(b'e')) {
        let (key, _) = row?;
        let Some(id) = keys::ended_of(&key) else { continue };
        leads(&key, id, checked);
        if shared.active().get(id).is_some() {
            checked.found(place(&key), format!("workflow {id} has not ended"));
        }
    }
    Ok(())
}
