//! What is kept beside workflows, in a tree of its own: nothing of it changes together with a workflow.

use std::sync::PoisonError;

use super::{SledBackend, tree::SledTree};
use crate::store::{
    Kind, SettingChange, Settings, StoreError, codec,
    settings::{stored_key, stored_range},
};

/// Where the number of durable changes is kept: the key of no setting begins so.
const CHANGES: &[u8] = b"#";

impl Settings for SledBackend {
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
        let mut batch = batch(changes)?;
        // One after the other, so that the count grows as they become durable.
        let mut count = self.setting_changes.lock().unwrap_or_else(PoisonError::into_inner);
        let next = *count + 1;
        batch.insert(CHANGES, codec::encode(&next)?);
        self.tree.apply_settings(batch)?;
        self.tree.sync()?;
        *count = next;
        self.mark.as_ref().map_or(Ok(()), |mark| mark.note_settings(next))
    }

    fn note(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        self.tree.apply_settings(batch(changes)?)
    }
}

/// How many durable changes there were, in a folder.
pub(super) fn changes(tree: &SledTree) -> Result<u64, StoreError> {
    let row = tree.setting(CHANGES)?;
    let count = row.map(|row| codec::decode(&row, || "the count of settings".to_owned()));
    count.transpose().map(Option::unwrap_or_default)
}

fn batch(changes: Vec<SettingChange>) -> Result<sled::Batch, StoreError> {
    changes.iter().try_for_each(SettingChange::check)?;
    let mut batch = sled::Batch::default();
    for change in changes {
        let key = change.stored_key();
        match change.value {
            Some(value) => batch.insert(key, value),
            None => batch.remove(key),
        }
    }
    Ok(batch)
}
