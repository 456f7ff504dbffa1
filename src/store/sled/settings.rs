//! What is kept beside workflows, in a tree of its own: nothing of it changes together with a workflow.

use super::Shared;
use crate::store::{
    Kind, SettingChange, Settings, StoreError,
    settings::{stored_key, stored_range},
};

impl Settings for Shared {
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.tree.setting(&stored_key(kind, key))
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let (from, to) = stored_range(kind, after);
        let rows = self.tree.settings(from, to).take(limit);
        rows.map(|row| row.map(|(key, value)| (key[1..].to_vec(), value))).collect()
    }

    fn write(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        self.note(changes)?;
        self.tree.sync()
    }

    fn note(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        changes.iter().try_for_each(SettingChange::check)?;
        let mut batch = sled::Batch::default();
        for change in changes {
            let key = change.stored_key();
            match change.value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.tree.apply_settings(batch)
    }
}
