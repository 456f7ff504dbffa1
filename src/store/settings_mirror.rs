//! Settings that every call asks for, in memory: what keeps the bytes is asked at a start and told of changes, and
//! not asked again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{
    KeyAndValue, Kind, SettingChange, Settings, StoreError, all_rows,
    settings::{stored_key, stored_range},
};

/// What is mirrored: who may call, and for whom. What a tenant may have of it is bounded.
const MIRRORED: [Kind; 4] =
    [Kind::Key, Kind::Application, Kind::ExternalAccount, Kind::DefaultApplication];

/// Settings of which some are mirrored in memory. Nobody else may change them meanwhile.
pub(super) struct SettingsMirror {
    inner: Arc<dyn Settings>,
    rows: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Held by whoever changes them, so that they come to be in the same order here as below.
    changing: Mutex<()>,
}

impl SettingsMirror {
    /// Reads what is mirrored.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn of(inner: Arc<dyn Settings>) -> Result<SettingsMirror, StoreError> {
        let mut rows = BTreeMap::new();
        for kind in MIRRORED {
            for row in all_rows(&*inner, kind) {
                let (key, value) = row?;
                rows.insert(stored_key(kind, &key), value);
            }
        }
        Ok(SettingsMirror { inner, rows: RwLock::new(rows), changing: Mutex::default() })
    }

    /// Has `change` done below, and then here.
    fn change(
        &self,
        changes: Vec<SettingChange>,
        change: impl FnOnce(&dyn Settings, Vec<SettingChange>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let is_mirrored = |change: &&SettingChange| MIRRORED.contains(&change.kind);
        let mirrored: Vec<_> = changes.iter().filter(is_mirrored).cloned().collect();
        if mirrored.is_empty() {
            return change(&*self.inner, changes);
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let done = change(&*self.inner, changes);
        for change in mirrored {
            let value = match done {
                Ok(()) => change.value.clone(),
                // Nobody knows how far it came. What cannot be read is not there: better shut out than let in.
                Err(_) => self.inner.get(change.kind, &change.key).ok().flatten(),
            };
            match value {
                Some(value) => self.rows_mut().insert(change.stored_key(), value),
                None => self.rows_mut().remove(&change.stored_key()),
            };
        }
        done
    }

    /// How many rows are mirrored.
    pub(super) fn len(&self) -> usize {
        self.rows().len()
    }

    // One row after the other: whole whatever panicked.
    fn rows(&self) -> RwLockReadGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settings for SettingsMirror {
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match MIRRORED.contains(&kind) {
            true => Ok(self.rows().get(&stored_key(kind, key)).cloned()),
            false => self.inner.get(kind, key),
        }
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyAndValue>, StoreError> {
        if !MIRRORED.contains(&kind) {
            return self.inner.list(kind, after, limit);
        }
        let (from, to) = stored_range(kind, after);
        let rows = self.rows();
        let rows = rows.range(from..to).take(limit);
        Ok(rows.map(|(key, value)| (key[1..].to_vec(), value.clone())).collect())
    }

    fn write(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        self.change(changes, |inner, changes| inner.write(changes))
    }

    fn note(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        self.change(changes, |inner, changes| inner.note(changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, Store, VALUE_BYTES};

    fn put(kind: Kind, key: &[u8], value: &[u8]) -> SettingChange {
        SettingChange::put(kind, key, value.to_vec())
    }

    /// Settings of which none can be got by itself.
    struct Unreadable(Arc<dyn Settings>);

    /// Settings whose changes are made, and said to have failed.
    struct FailsLate(Arc<dyn Settings>);

    impl Settings for FailsLate {
        fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.get(kind, key)
        }

        fn list(
            &self,
            kind: Kind,
            after: Option<&[u8]>,
            limit: usize,
        ) -> Result<Vec<KeyAndValue>, StoreError> {
            self.0.list(kind, after, limit)
        }

        fn write(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
            self.0.write(changes)?;
            Err(StoreError::Io("the mark cannot be written".to_owned()))
        }

        fn note(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
            self.write(changes)
        }
    }

    impl Settings for Unreadable {
        fn get(&self, _: Kind, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            Err(StoreError::Io("it was asked".to_owned()))
        }

        fn list(
            &self,
            _: Kind,
            after: Option<&[u8]>,
            limit: usize,
        ) -> Result<Vec<KeyAndValue>, StoreError> {
            self.0.list(Kind::Key, after, limit)
        }

        fn write(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
            self.0.write(changes)
        }

        fn note(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
            self.0.note(changes)
        }
    }

    #[test]
    fn what_calls_ask_for_is_asked_below_once_and_shows_every_change() {
        let below = MemoryStore::new().settings();
        below.write(vec![put(Kind::Key, b"a", b"1")]).unwrap();
        let mirror = SettingsMirror::of(Arc::new(Unreadable(Arc::clone(&below)))).unwrap();
        assert_eq!(mirror.get(Kind::Key, b"a").unwrap(), Some(b"1".to_vec()));
        assert!(mirror.get(Kind::Audit, b"a").is_err(), "it is not mirrored");
        mirror.write(vec![put(Kind::Key, b"b", b"2"), put(Kind::Audit, b"c", b"3")]).unwrap();
        mirror.note(vec![SettingChange::remove(Kind::Key, b"a".as_slice())]).unwrap();
        assert_eq!(mirror.get(Kind::Key, b"a").unwrap(), None);
        assert_eq!(mirror.list(Kind::Key, None, 9).unwrap(), [(b"b".to_vec(), b"2".to_vec())]);
        assert_eq!(below.list(Kind::Key, None, 9).unwrap(), [(b"b".to_vec(), b"2".to_vec())]);
        assert_eq!(below.get(Kind::Audit, b"c").unwrap(), Some(b"3".to_vec()));
    }

    #[test]
    fn what_is_refused_below_is_not_shown() {
        let mirror = SettingsMirror::of(MemoryStore::new().settings()).unwrap();
        let large = vec![0; VALUE_BYTES + 1];
        let refused = mirror.write(vec![put(Kind::Key, b"a", b"1"), put(Kind::Key, b"b", &large)]);
        assert!(refused.is_err());
        assert_eq!(mirror.list(Kind::Key, None, 9).unwrap(), []);
    }

    #[test]
    fn a_change_that_was_made_and_failed_is_shown_as_it_is_below() {
        let below = MemoryStore::new().settings();
        below.write(vec![put(Kind::Key, b"a", b"1"), put(Kind::Key, b"b", b"2")]).unwrap();
        let mirror = SettingsMirror::of(Arc::new(FailsLate(Arc::clone(&below)))).unwrap();
        let revoked = SettingChange::remove(Kind::Key, b"a".as_slice());
        assert!(mirror.write(vec![revoked, put(Kind::Key, b"b", b"3")]).is_err());
        assert_eq!(mirror.list(Kind::Key, None, 9).unwrap(), [(b"b".to_vec(), b"3".to_vec())]);
        // Where it cannot be read, either, nobody is let in by what stood there.
        let mirror = SettingsMirror::of(Arc::new(Unreadable(below))).unwrap();
        let large = vec![0; VALUE_BYTES + 1];
        assert!(mirror.write(vec![put(Kind::Key, b"b", &large)]).is_err());
        assert_eq!(mirror.get(Kind::Key, b"b").unwrap(), None);
    }
}
