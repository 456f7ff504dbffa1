//! Whether the keys beside a store are sound, and lead to what they sealed: for `dispatch check`.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::lost_keys;
use crate::{
    access::{MasterKeys, Vault},
    contents::{
        ContentKeys, ContentsKeeper, Family, KeyRing, LookOnly, SlotError, Wrap, day_key_slots,
    },
    engine::{inbound_keys, opt_out_keys},
    store::{
        CheckReport, Cursor, JournalStore, KEY_FOLDER, KeyFiles, KeyFolderOnDisk, KeySlot, Reader,
        Record, SledOptions, Store, StoreError, StoreLives,
    },
};

/// How many workflows are read at once.
const PAGE: usize = 256;

/// What could be looked at of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckedKeys {
    /// All: what is open was opened.
    All,
    /// Whether files and keys are there, and not whether they open anything: there is no master key.
    WithoutMasterKey,
    /// Nothing, because the store does not open.
    Nothing(StoreError),
}

/// Looks at the keys beside a store that no service has open, and notes in `report` what is wrong: with their files, and
/// with the keys of what is kept. What has not ended is opened with the master key in the file `master_key`, if there is
/// one. The folder is opened as a start opens it: it should be a copy.
pub fn check_keys(
    options: &SledOptions,
    master_key: &Path,
    report: &mut CheckReport,
) -> CheckedKeys {
    let store = match options.open_to_read() {
        Ok(store) => store,
        Err(error) => return CheckedKeys::Nothing(error),
    };
    let folder = KeyFolderOnDisk::at(options.folder.join(KEY_FOLDER));
    if matches!(folder.names(), Ok(None)) {
        if store.reader().newest() > Cursor(0) {
            report.found(KEY_FOLDER, "it is missing, and with it all keys of contents");
        }
        return CheckedKeys::All;
    }
    let vault = match vault(master_key) {
        Ok(vault) => vault,
        Err(problem) => {
            report.found("the master key", problem);
            None
        }
    };
    let has_key = vault.is_some();
    let wrap = vault.unwrap_or_else(|| Arc::new(LookOnly));
    let ring = match KeyRing::open_to_read(folder, &StoreLives::of(&*store.reader()), wrap) {
        Ok(ring) => Arc::new(ring),
        Err(error) => {
            report.found(KEY_FOLDER, error.problem());
            return CheckedKeys::All;
        }
    };
    if let Err(error) = look(&store, &ring, has_key, report) {
        report.found("the keys of contents", error.to_string());
    }
    if has_key { CheckedKeys::All } else { CheckedKeys::WithoutMasterKey }
}

/// What opens the secrets of files, if there is a master key.
fn vault(master_key: &Path) -> Result<Option<Arc<dyn Wrap>>, String> {
    if !master_key.is_file() {
        return Ok(None);
    }
    let keys = MasterKeys::kept_in(master_key)?;
    let vault = Vault::with(&keys.current, &keys.previous).map_err(|error| error.to_string())?;
    Ok(Some(Arc::new(vault)))
}

fn look(
    store: &JournalStore,
    ring: &Arc<KeyRing>,
    has_master_key: bool,
    report: &mut CheckReport,
) -> Result<(), StoreError> {
    report.key_files = ring.names()?.len() as u64;
    let unreadable = ring.expect(&lost_keys::expected(store)?);
    let files = unreadable.into_iter().map(|(at, error)| (at, LostFile::of(&error)));
    let contents = has_master_key.then(|| ContentsKeeper::new(Arc::clone(ring) as Arc<_>));
    let mut check = KeyCheck { ring, contents, files: files.collect(), report };
    let (reader, mut after) = (store.reader(), None);
    loop {
        let entries = reader.entries(after, PAGE)?;
        let Some(last) = entries.last() else { break };
        after = Some(last.record.id);
        for entry in &entries {
            check.workflow(&*reader, &entry.record)?;
        }
    }
    let settings = store.settings();
    for slot in opt_out_keys(&*settings) {
        check.row(Family::OptOut, slot?);
    }
    for slot in inbound_keys(&*settings) {
        check.row(Family::Inbound, slot?);
    }
    for slot in day_key_slots(&*settings)? {
        check.row(Family::Day, slot);
    }
    check.tell_files();
    Ok(())
}

struct KeyCheck<'a> {
    ring: &'a KeyRing,
    /// Opens what is open, if there is a master key.
    contents: Option<ContentsKeeper>,
    files: BTreeMap<(Family, u32), LostFile>,
    report: &'a mut CheckReport,
}

/// A file whose keys nobody has, and how much was sealed with them.
struct LostFile {
    problem: String,
    is_there: bool,
    open: usize,
    others: usize,
}

impl LostFile {
    fn of(error: &SlotError) -> LostFile {
        let is_there = !matches!(error, SlotError::Lost(..));
        LostFile { problem: error.problem(), is_there, open: 0, others: 0 }
    }
}

impl KeyCheck<'_> {
    fn workflow(&mut self, reader: &dyn Reader, record: &Record) -> Result<(), StoreError> {
        let needs_contents = lost_keys::needs_contents(reader, record.id)?;
        let problem = match self.ring.key(Family::Workflow, record.contents.slot) {
            Ok(Some(_)) if needs_contents => match &self.contents {
                Some(contents) => contents.open(record).err().map(|error| error.to_string()),
                None => None,
            },
            Ok(None) if needs_contents => Some("its key was destroyed".to_owned()),
            Ok(_) => None,
            Err(error) => self.lost(Family::Workflow, record.contents.slot, &error, needs_contents),
        };
        if let Some(problem) = problem {
            let problem = format!("what it is to send cannot be opened: {problem}");
            self.report.found(format!("workflow {}", record.id), problem);
        }
        Ok(())
    }

    /// One whose key was destroyed is forgotten.
    fn row(&mut self, family: Family, slot: KeySlot) {
        if let Err(error) = self.ring.key(family, slot)
            && let Some(problem) = self.lost(family, slot, &error, false)
        {
            self.report.found(format!("a row of {family}"), problem);
        }
    }

    /// Counts what is lost with its whole file there; what is wrong with a key alone is returned.
    fn lost(
        &mut self,
        family: Family,
        slot: KeySlot,
        error: &SlotError,
        is_open: bool,
    ) -> Option<String> {
        match error {
            SlotError::Lost(..) | SlotError::Damaged { .. } | SlotError::Sealed { .. } => {
                let file = self.files.entry((family, slot.segment()));
                let file = file.or_insert_with(|| LostFile::of(error));
                if is_open {
                    file.open += 1
                } else {
                    file.others += 1
                }
                None
            }
            SlotError::Io(_)
            | SlotError::NotGiven(..)
            | SlotError::Refused(_)
            | SlotError::ReadOnly
            | SlotError::Closed => Some(error.problem()),
        }
    }

    fn tell_files(self) {
        for ((family, segment), LostFile { problem, is_there, open, others }) in self.files {
            // One that nothing is kept of is missed by nobody.
            if !is_there && open + others == 0 {
                continue;
            }
            let kept = match family {
                Family::Workflow => {
                    format!("{open} open workflows wait for its keys, {others} have ended")
                }
                Family::OptOut | Family::Inbound => {
                    format!("{others} {family} were sealed with its keys")
                }
                Family::Day => format!("conversations of {others} days are not found"),
            };
            let place = format!("{KEY_FOLDER}/{}", family.file_name(segment));
            self.report.found(place, format!("{problem}; {kept}"));
        }
    }
}
