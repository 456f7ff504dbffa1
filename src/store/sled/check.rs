//! Checks a data folder that no service has open.

use std::{
    collections::HashSet,
    path::Path,
    sync::{Mutex, RwLock, atomic::AtomicU64},
};

use super::{
    EndedLocation, JournalEntry, LowWaterMark, RestoreOrigin, SledInner, SledOptions, SledStore,
    checkpoint, folder,
    high_water_mark::HighWaterMark,
    journal::{Chunk, ChunkCache},
    keys,
    rebuild::{Rebuilt, catch_panics, edge, follows, rebuild},
    settings, tree,
    tree::SledTree,
};
use crate::{
    machine::WorkflowId,
    store::{
        CheckReport, Cursor, ExistingRequest, HeldReceipt, Incarnation, MessagePart, Reader,
        RestoreLock, StoreError, codec,
    },
};

/// How many workflows are read at once.
const PAGE: usize = 256;

impl SledStore {
    /// Reads all that is in a folder, and says what is not as it should be.
    ///
    /// # Errors
    /// If there is no store in it, or a service has it open.
    pub fn check(options: &SledOptions) -> Result<CheckReport, StoreError> {
        if !options.folder.join("db").is_file() {
            return Err(StoreError::Refused(format!(
                "{} is no data folder: there is no file db in it",
                options.folder.display()
            )));
        }
        catch_panics(options, || look(options))
    }
}

fn look(options: &SledOptions) -> Result<CheckReport, StoreError> {
    let lock = folder::lock(&options.folder)?;
    let marked = HighWaterMark::read(&options.folder)?;
    folder::prepare(&options.folder, marked)?;
    let tree = SledTree::open(&options.folder, options.cache_bytes, lock)?;
    let mut checked = CheckReport::default();
    let newest = rows(&tree, &mut checked);
    rows_beside(&tree, &mut checked);
    let changes = settings::changes(&tree).unwrap_or_default();
    if let Some(was) = marked.map(|marked| marked.settings).filter(|was| *was > changes) {
        checked.found("settings", format!("{} changes of them are lost", was - changes));
    }
    let noted = marked.map(|marked| marked.newest);
    let life = tree.decode(keys::INCARNATION).ok().flatten();
    let seen = checkpoint::of_this_life(&options.folder, life).map(|checkpoint| checkpoint.seen());
    if let Some(seen) = noted.max(seen).filter(|seen| *seen > newest) {
        let problem = format!("row {} was there once", seen.0);
        checked.found(format!("the journal's end, row {}", newest.0), problem);
    }
    if noted.is_none() {
        let problem = "it is missing: whether the newest rows are lost cannot be told";
        checked.found("dispatch.mark", problem);
    }
    // What does not decode would only be found again.
    if checked.is_sound()
        && let Err(error) = all_together(tree, &options.folder, &mut checked)
    {
        checked.failed(error);
    }
    checked.is_whole = true;
    Ok(checked)
}

/// What only shows when everything is looked at together.
fn all_together(
    tree: SledTree,
    folder: &Path,
    checked: &mut CheckReport,
) -> Result<(), StoreError> {
    let Rebuilt { open, newest, .. } = rebuild(&tree, None)?;
    // Whether a start from the checkpoint would give what the whole journal gives.
    let life = tree.decode(keys::INCARNATION)?;
    if let Some(checkpoint) = checkpoint::of_this_life(folder, life) {
        let shortcut = rebuild(&tree, Some(checkpoint))?;
        if let Some(id) = shortcut.open.difference(&open)? {
            let place = checkpoint::path(folder).display().to_string();
            checked.found(place, format!("a start from it would see workflow {id} differently"));
        }
    }
    let shared = SledInner {
        incarnation: life.unwrap_or(Incarnation(uuid::Uuid::nil())),
        former: Vec::new(),
        gone: AtomicU64::new(edge(&tree)?.gone.0),
        tree,
        chunks: ChunkCache::default(),
        open: RwLock::new(open),
        durable: AtomicU64::new(newest.0),
        setting_changes: Mutex::new(0),
        mark: None,
    };
    workflows(&shared, checked)
}

/// Every row that is kept beside workflows.
fn rows_beside(tree: &SledTree, checked: &mut CheckReport) {
    for row in tree.settings(Vec::new(), vec![u8::MAX]) {
        let sound = row.and_then(|(key, value)| {
            codec::payload(&value, || format!("settings, {}", tree::place(&key))).map(drop)
        });
        if let Err(error) = sound {
            let is_a_row_s = matches!(error, StoreError::Corrupt { .. });
            checked.failed(error);
            if !is_a_row_s {
                break;
            }
        }
    }
}

/// Every row by itself, and the journal's numbering. Returns the newest row's cursor.
fn rows(tree: &SledTree, checked: &mut CheckReport) -> Cursor {
    let edge = edge(tree).unwrap_or_default().swept;
    let origin = tree.decode::<RestoreOrigin>(keys::ORIGIN).ok().flatten();
    let mut newest = edge;
    for row in tree.range(Vec::new(), vec![u8::MAX]) {
        let (key, value) = match row {
            Ok(row) => row,
            Err(error @ StoreError::Corrupt { .. }) => {
                checked.failed(error);
                continue;
            }
            // The tree itself cannot be read further.
            Err(error) => {
                checked.failed(error);
                break;
            }
        };
        if key.first() != Some(&b'j') {
            if let Err(error) = one(&key, &value) {
                checked.failed(error);
            }
            continue;
        }
        if let Err(error) = chunk(&key, value, edge, origin, &mut newest, checked) {
            checked.failed(error);
        }
    }
    newest
}

/// Every row of a chunk of the journal.
fn chunk(
    key: &[u8],
    value: sled::IVec,
    edge: Cursor,
    origin: Option<RestoreOrigin>,
    newest: &mut Cursor,
    checked: &mut CheckReport,
) -> Result<(), StoreError> {
    let chunk = Chunk::of(key, &value)?;
    if chunk.first <= edge {
        checked.found(tree::place(key), "it lies before the journal's edge");
        return Ok(());
    }
    if !follows(*newest, chunk.first, origin) {
        let (from, to) = (newest.0 + 1, chunk.first.0 - 1);
        checked.found(tree::place(key), format!("the rows {from} to {to} before it are missing"));
    }
    for entry in chunk.rows() {
        let (cursor, entry) = entry?;
        *newest = cursor;
        if let JournalEntry::Row { row, .. } = entry
            && row.cursor != cursor
        {
            let problem = format!("row {} stands where row {} should", row.cursor.0, cursor.0);
            checked.found(tree::place(key), problem);
        }
    }
    Ok(())
}

/// Whether the row is what its key says.
fn one(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let place = || tree::place(key);
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
            _ => return Err(wrong("this program knows no such row")),
        },
        Some(b'p') => codec::decode::<(WorkflowId, MessagePart)>(value, place).map(|_| true),
        Some(b'w') => codec::decode::<(WorkflowId, MessagePart)>(value, place)
            .map(|(id, part)| keys::conversation_of(key) == Some((id, part.attempt))),
        Some(b'q') => codec::decode::<ExistingRequest>(value, place).map(|_| true),
        // Read with the value that it is a piece of.
        Some(b'x') => return Ok(()),
        _ => return Err(wrong("this program knows no such row")),
    };
    if fits? { Ok(()) } else { Err(wrong("it holds what belongs under another key")) }
}

/// Every workflow with its indexes, and every index row with its workflow.
fn workflows(shared: &SledInner, checked: &mut CheckReport) -> Result<(), StoreError> {
    let tree = &shared.tree;
    let mut known = HashSet::new();
    let mut after = None;
    loop {
        let entries = shared.entries(after, PAGE)?;
        let Some(last) = entries.last() else { break };
        after = Some(last.record.id);
        for entry in entries {
            let record = &entry.record;
            known.insert(record.id);
            checked.entry(&entry);
            let ended: Option<EndedLocation> = tree.decode(&keys::ended(record.id))?;
            let last = entry.rows.last().map(|row| row.sequence + row.facts.len() as u32 - 1);
            if ended.is_some_and(|ended| Some(ended.sequence) != last) {
                let place = tree::place(&keys::ended(record.id));
                checked.found(place, format!("it is not where workflow {} ends", record.id));
            }
            if let Some(request_id) = record.request_id()
                && tree.decode(&keys::request(&record.tenant, request_id))?
                    != record.existing_request()
            {
                let place = format!("workflow {}", record.id);
                checked.found(place, "its request_id does not lead to it");
            }
        }
    }
    let leads = |key: &[u8], id: WorkflowId, checked: &mut CheckReport| {
        if !known.contains(&id) {
            checked
                .found(tree::place(key), format!("it leads to workflow {id}, which is not there"));
        }
    };
    for kind in [b'p', b'q', b'w'] {
        for row in tree.range(vec![kind], vec![kind + 1]) {
            let (key, value) = row?;
            let id = match kind {
                b'p' | b'w' => {
                    codec::decode::<(WorkflowId, MessagePart)>(&value, || tree::place(&key))?.0
                }
                _ => codec::decode::<ExistingRequest>(&value, || tree::place(&key))?.id,
            };
            leads(&key, id, checked);
        }
    }
    for row in tree.range(vec![b'e'], vec![b'e' + 1]) {
        let (key, _) = row?;
        let Some(id) = keys::ended_of(&key) else { continue };
        leads(&key, id, checked);
        if shared.active().get(id).is_some() {
            checked.found(tree::place(&key), format!("workflow {id} has not ended"));
        }
    }
    Ok(())
}
