//! Checks a data folder that no service has open.

use std::sync::Arc;

use super::{
    SledBackend, SledOptions, checkpoint, folder, high_water_mark::HighWaterMark,
    open::catch_panics, settings, tree::SledTree,
};
use crate::store::{
    CheckReport, StoreError,
    backend::{Backend, place},
    codec,
    journal::{self, Checkpoint},
};

impl SledOptions {
    /// Reads all that is in a folder, and says what is not as it should be.
    ///
    /// # Errors
    /// If there is no store in it, or a service has it open.
    pub fn check(&self) -> Result<CheckReport, StoreError> {
        if !self.folder.join("db").is_file() {
            return Err(StoreError::Refused(format!(
                "{} is no data folder: there is no file db in it",
                self.folder.display()
            )));
        }
        catch_panics(self, || look(self))
    }
}

fn look(options: &SledOptions) -> Result<CheckReport, StoreError> {
    let lock = folder::lock(&options.folder)?;
    let marked = HighWaterMark::read(&options.folder)?;
    folder::prepare(&options.folder, marked)?;
    let tree = SledTree::open(&options.folder, options.cache_bytes, lock)?;
    let backend = SledBackend::unmarked(tree, &options.folder);
    let mut checked = CheckReport::default();
    let newest = journal::rows(&backend, &mut checked);
    rows_beside(&backend.tree, &mut checked);
    let changes = settings::changes(&backend.tree).unwrap_or_default();
    if let Some(was) = marked.map(|marked| marked.settings).filter(|was| *was > changes) {
        checked.found("settings", format!("{} changes of them are lost", was - changes));
    }
    let noted = marked.map(|marked| marked.newest);
    let life = (&backend as &dyn Backend).decode(journal::INCARNATION).ok().flatten();
    let seen = Checkpoint::of_this_life(&backend, life).map(|checkpoint| checkpoint.seen());
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
        && let Err(error) = {
            let checkpoint = checkpoint::path(&options.folder).display().to_string();
            journal::all_together(Arc::new(backend), &checkpoint, &mut checked)
        }
    {
        checked.failed(error);
    }
    checked.is_whole = true;
    Ok(checked)
}

/// Every row that is kept beside workflows.
fn rows_beside(tree: &SledTree, checked: &mut CheckReport) {
    for row in tree.settings(Vec::new(), vec![u8::MAX]) {
        let sound = row.and_then(|(key, value)| {
            codec::payload(&value, || format!("settings, {}", place(&key))).map(drop)
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
