//! What was erased, and how far that is: rows beside the journal.
//!
//! An erasure is written down before anything of it is done, and once more when all is done. Whatever cuts it off in
//! between, the next start finds what it had begun. No address stands in a row: what was found, by which the work can
//! be done again, as often as need be. Rows are kept as long as what they tell of, so that keys which were put back
//! from an older copy are destroyed again.
//!
//! ```text
//! erasure (16) ‖ 0 (2)      who has it erased, when, and in how many parts stands what
//! erasure (16) ‖ part (2)   the next 60,000 bytes of that: slots, and the workflows whose they were
//! ```

use std::sync::Arc;

use dispatch_contract::UnixMillis;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    machine::WorkflowId,
    store::{KeySlot, Kind, SettingChange, Settings, StoreError, decode, encode},
};

/// How many bytes of what is erased stand in a row.
const PART: usize = 60_000;
/// How many rows are read at once.
const ROWS: usize = 64;
const KEY: usize = 18;

/// A slot that was found, and the workflow whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedSlot {
    /// The slot.
    pub slot: KeySlot,
    /// Whose it is.
    pub workflow: WorkflowId,
}

/// What there is of a person, as far as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonTraces {
    /// The workflows in which they are reached.
    pub slots: Vec<ErasedSlot>,
    /// The ids of what they wrote.
    pub messages: Vec<Uuid>,
    /// The keys of their rows on the list of opt-outs: who it is is forgotten, and they go on counting.
    pub opt_outs: Vec<Vec<u8>>,
    /// What could not be looked at, and may be theirs.
    pub unreadable: Unreadable,
}

/// What an erasure could not look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// How many workflows, messages and opt-outs.
    pub items: usize,
    /// How many files of keys: what they seal nobody can open just now, or find.
    pub key_files: usize,
}

/// Up to where an erasure of all reaches: what comes later is not meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllUntil {
    /// What was created, or was written by a person, by then, in engine time.
    pub time: UnixMillis,
    /// Up to this key it is forgotten who stands on the list of opt-outs: keys are given out in order. `None`: of nobody.
    pub opt_out: Option<KeySlot>,
}

/// Which workflows are erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErasureExtent {
    /// Those of a person, and what else there is of them.
    Person(PersonTraces),
    /// Those that were named.
    Named(Vec<ErasedSlot>),
    /// All of a tenant's, or everybody's, and what persons wrote, and who stands on the list of opt-outs.
    All(AllUntil),
}

/// Who has something erased, as the audit log names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureAuthor {
    /// A key's id, an application's, or `anonymous`.
    pub name: String,
    /// The address that it was asked from; empty for none.
    pub source: String,
    /// Whether it was an operator.
    pub is_operator: bool,
}

/// An erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Its id, a UUIDv7.
    pub id: Uuid,
    /// Whose data; `None`: everybody's.
    pub tenant: Option<Arc<str>>,
    /// When it was begun, by the wall clock: to be shown.
    pub begun_at: UnixMillis,
    /// The same in engine time: how long it is kept.
    pub kept_since: UnixMillis,
    /// Who asked for it.
    pub author: ErasureAuthor,
    /// Which workflows.
    pub extent: ErasureExtent,
    /// The digest of its certificate; `None` until all is done.
    pub certificate: Option<[u8; 32]>,
}

/// The first row of an erasure.
#[derive(Serialize, Deserialize)]
struct ErasureHead {
    tenant: Option<Arc<str>>,
    begun_at: UnixMillis,
    kept_since: UnixMillis,
    author: ErasureAuthor,
    parts: u16,
    certificate: Option<[u8; 32]>,
}

impl Erasure {
    /// The slots that it is about, where they are known one by one.
    pub fn slots(&self) -> &[ErasedSlot] {
        match &self.extent {
            ErasureExtent::Person(PersonTraces { slots, .. }) | ErasureExtent::Named(slots) => {
                slots
            }
            ErasureExtent::All(_) => &[],
        }
    }

    fn head(&self, parts: usize) -> ErasureHead {
        ErasureHead {
            tenant: self.tenant.clone(),
            begun_at: self.begun_at,
            kept_since: self.kept_since,
            author: self.author.clone(),
            parts: parts as u16,
            certificate: self.certificate,
        }
    }

    fn body(&self) -> Result<Vec<u8>, StoreError> {
        encode(&self.extent)
    }
}

/// Writes down what is about to be erased, durably.
///
/// # Errors
/// If it could not be made durable: then it is not to be done.
pub fn keep_erasure(settings: &dyn Settings, erasure: &Erasure) -> Result<(), StoreError> {
    let body = erasure.body()?;
    let parts = body.chunks(PART);
    let head = encode(&erasure.head(parts.len()))?;
    let mut changes = vec![SettingChange::put(Kind::Erasure, key(erasure.id, 0), head)];
    let part = |(part, bytes): (u16, &[u8])| {
        SettingChange::put(Kind::Erasure, key(erasure.id, part), bytes.to_vec())
    };
    changes.extend((1..).zip(parts).map(part));
    settings.write(changes)
}

/// The change that says that all of it is done, with the digest of its certificate.
///
/// # Errors
/// If it cannot be encoded.
pub fn erasure_done(erasure: &Erasure, certificate: [u8; 32]) -> Result<SettingChange, StoreError> {
    let parts = erasure.body()?.chunks(PART).len();
    let head = ErasureHead { certificate: Some(certificate), ..erasure.head(parts) };
    Ok(SettingChange::put(Kind::Erasure, key(erasure.id, 0), encode(&head)?))
}

/// An erasure that is kept.
///
/// # Errors
/// If it cannot be read.
pub fn kept_erasure(settings: &dyn Settings, id: Uuid) -> Result<Option<Erasure>, StoreError> {
    let Some(head) = head(settings, id)? else { return Ok(None) };
    let mut body = Vec::new();
    for part in 1..=head.parts {
        let row = settings.get(Kind::Erasure, &key(id, part))?.ok_or_else(|| {
            let place = format!("part {part} of erasure {id}");
            StoreError::Corrupt { place, problem: "it is missing".to_owned() }
        })?;
        body.extend(row);
    }
    let extent = decode(&body, || format!("what erasure {id} erases"))?;
    let ErasureHead { tenant, begun_at, kept_since, author, certificate, .. } = head;
    Ok(Some(Erasure { id, tenant, begun_at, kept_since, author, extent, certificate }))
}

/// The ids of all that are kept, in the order in which they were begun.
///
/// # Errors
/// If the store cannot be read.
pub fn erasures(settings: &dyn Settings) -> Result<Vec<Uuid>, StoreError> {
    let (mut ids, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let rows = settings.list(Kind::Erasure, after.as_deref(), ROWS)?;
        let is_last = rows.len() < ROWS;
        for (key, _) in &rows {
            ids.extend(id_of_head(key)?);
        }
        match rows.into_iter().last() {
            Some((key, _)) if !is_last => after = Some(key),
            Some(_) | None => return Ok(ids),
        }
    }
}

/// Takes away the rows of those that are done and were begun before `before`, in engine time: nothing is kept any
/// more of what they tell of. Returns how many.
///
/// # Errors
/// If the store cannot be read or written.
pub fn forget_erasures(settings: &dyn Settings, before: UnixMillis) -> Result<usize, StoreError> {
    let mut forgotten = 0;
    for id in erasures(settings)? {
        let Some(head) = head(settings, id)? else { continue };
        if head.certificate.is_none() || head.kept_since >= before {
            continue;
        }
        let keys = (0..=head.parts).map(|part| SettingChange::remove(Kind::Erasure, key(id, part)));
        settings.write(keys.collect())?;
        forgotten += 1;
    }
    Ok(forgotten)
}

fn head(settings: &dyn Settings, id: Uuid) -> Result<Option<ErasureHead>, StoreError> {
    let row = settings.get(Kind::Erasure, &key(id, 0))?;
    row.map(|row| decode(&row, || format!("erasure {id}"))).transpose()
}

fn key(id: Uuid, part: u16) -> [u8; KEY] {
    let mut key = [0; KEY];
    key[..16].copy_from_slice(id.as_bytes());
    key[16..].copy_from_slice(&part.to_be_bytes());
    key
}

/// Whose first row this is; `None` if it is another of its rows.
fn id_of_head(key: &[u8]) -> Result<Option<Uuid>, StoreError> {
    let whole: Result<[u8; KEY], _> = key.try_into();
    let whole = whole.map_err(|_| StoreError::Corrupt {
        place: "an erasure".to_owned(),
        problem: format!("its key has {} bytes and not {KEY}", key.len()),
    })?;
    let (id, part) = whole.split_at(16);
    let id = Uuid::from_slice(id).ok();
    Ok(id.filter(|_| part == [0, 0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, Store};

    fn erasure(id: u128, extent: ErasureExtent) -> Erasure {
        Erasure {
            id: Uuid::from_u128(id),
            tenant: Some(Arc::from("acme")),
            begun_at: UnixMillis(2_000),
            kept_since: UnixMillis(1_000),
            author: ErasureAuthor {
                name: "k1".to_owned(),
                source: "127.0.0.1".to_owned(),
                is_operator: false,
            },
            extent,
            certificate: None,
        }
    }

    fn slots(count: u64) -> Vec<ErasedSlot> {
        let slot = |at: u64| KeySlot((1 << 46) - 1 - at);
        let workflow = |at: u64| WorkflowId(Uuid::from_u128(u128::MAX - u128::from(at)));
        (0..count).map(|at| ErasedSlot { slot: slot(at), workflow: workflow(at) }).collect()
    }

    #[test]
    fn what_was_written_down_is_read_again_however_much_it_is() {
        let settings = MemoryStore::new().settings();
        for (id, count) in [(3, 0), (1, 1), (2, 2_000), (4, 20_000)] {
            let traces = PersonTraces {
                slots: slots(count),
                messages: (0..count).map(|at| Uuid::from_u128(u128::from(at))).collect(),
                opt_outs: vec![vec![7; 90]; 3],
                unreadable: Unreadable { items: 1, key_files: 2 },
            };
            let kept = erasure(id, ErasureExtent::Person(traces));
            keep_erasure(&*settings, &kept).unwrap();
            assert_eq!(kept_erasure(&*settings, kept.id), Ok(Some(kept)));
        }
        let until = AllUntil { time: UnixMillis(7), opt_out: Some(KeySlot(8)) };
        let all = erasure(5, ErasureExtent::All(until));
        keep_erasure(&*settings, &all).unwrap();
        assert_eq!(kept_erasure(&*settings, all.id), Ok(Some(all)));
        assert_eq!(erasures(&*settings).unwrap(), [1, 2, 3, 4, 5].map(Uuid::from_u128));
        assert_eq!(kept_erasure(&*settings, Uuid::from_u128(6)), Ok(None));
    }

    #[test]
    fn more_rows_than_are_read_at_once_are_all_found() {
        let settings = MemoryStore::new().settings();
        for id in 0..2 * ROWS as u128 {
            keep_erasure(&*settings, &erasure(id, ErasureExtent::Named(slots(1)))).unwrap();
        }
        assert_eq!(erasures(&*settings).unwrap().len(), 2 * ROWS);
    }

    #[test]
    fn what_is_done_and_past_retention_is_forgotten_and_nothing_else() {
        let settings = MemoryStore::new().settings();
        for id in [1, 2] {
            let kept = erasure(id, ErasureExtent::Named(slots(3)));
            keep_erasure(&*settings, &kept).unwrap();
        }
        let done = kept_erasure(&*settings, Uuid::from_u128(1)).unwrap().unwrap();
        settings.write(vec![erasure_done(&done, [7; 32]).unwrap()]).unwrap();
        let kept = kept_erasure(&*settings, done.id).unwrap().unwrap();
        assert_eq!(kept, Erasure { certificate: Some([7; 32]), ..done });

        assert_eq!(forget_erasures(&*settings, UnixMillis(1_000)), Ok(0), "as old as is kept");
        assert_eq!(forget_erasures(&*settings, UnixMillis(1_001)), Ok(1));
        let left = erasures(&*settings).unwrap();
        assert_eq!(left, [Uuid::from_u128(2)], "it is not done");
        assert_eq!(settings.list(Kind::Erasure, None, 10).unwrap().len(), 2, "no part is left");
    }

    #[test]
    fn a_part_that_is_missing_is_damage_and_not_a_smaller_erasure() {
        let settings = MemoryStore::new().settings();
        let kept = erasure(1, ErasureExtent::Named(slots(5_000)));
        keep_erasure(&*settings, &kept).unwrap();
        let missing = SettingChange::remove(Kind::Erasure, key(kept.id, 2));
        settings.write(vec![missing]).unwrap();
        assert!(matches!(kept_erasure(&*settings, kept.id), Err(StoreError::Corrupt { .. })));
    }
}
