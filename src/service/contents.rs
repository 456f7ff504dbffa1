//! Joins the keys of contents to the vault that seals their secrets, and opens them beside the store.

use std::sync::Arc;

use super::{
    StartError,
    lost_keys::{self, OnLostKeys},
};
use crate::{
    access::Vault,
    config::{Config, ConfigError},
    contents::{
        ContentKeys, ContentsKeeper, DayKeys, Family, KeyRing, MemoryKeys, SlotError, WrapError,
        newest_row_slot,
    },
    engine::InboundMessages,
    store::{Cursor, Filter, KeyFolder, KeySlot, Reader, Store, StoreError, StoreLives},
};

/// So many of the newest workflows are looked at for the slots that they use.
const LOOKED_AT: usize = 500;

/// What opens contents, and the files that hold its keys, if they are in files.
pub(super) struct OpenedContents {
    pub(super) keeper: Arc<ContentsKeeper>,
    pub(super) ring: Option<Arc<KeyRing>>,
}

/// The keys of the contents in `store`, in this folder if they are kept.
pub(super) fn open(
    config: &Config,
    vault: &Arc<Vault>,
    store: &dyn Store,
    folder: Option<Arc<dyn KeyFolder>>,
) -> Result<OpenedContents, StartError> {
    let Some(folder) = folder else { return in_memory() };
    let reader = store.reader();
    let lives = StoreLives::of(&*reader);
    let wrap = Arc::clone(vault);
    let ring = if config.store.read_only {
        match KeyRing::open_to_read(folder, &lives, wrap) {
            Ok(ring) => {
                let unreadable =
                    ring.expect(&lost_keys::expected(store).map_err(StartError::Store)?);
                let has_key = |slot| Ok(ring.key(Family::Workflow, slot)?.is_some());
                lost_keys::judge(store, &unreadable, has_key, OnLostKeys::OnlyRead)?;
                ring
            }
            Err(error) => {
                // Timelines can be looked at without.
                tracing::error!(
                    %error,
                    "READ ONLY, and without contents: nobody is shown who was reached and what was said"
                );
                return in_memory();
            }
        }
    } else {
        let names = folder.names().map_err(|error| {
            StartError::Store(StoreError::Io(format!("cannot read {}: {error}", folder.place())))
        })?;
        if names.is_none() && reader.newest() > Cursor(0) {
            return Err(refused(SlotError::Refused(format!(
                "{} is missing, and with it the keys of all that the store holds: put it back, restore a \
                 backup, or look at the timelines with --read-only",
                folder.place()
            ))));
        }
        let opened = KeyRing::open(folder, &lives, wrap).map_err(refused)?;
        let unreadable = opened.expect(&lost_keys::expected(store).map_err(StartError::Store)?);
        let has_key = |slot| opened.has_key(Family::Workflow, slot);
        let on_lost = match config.store.accept_lost_keys {
            true => OnLostKeys::Accept,
            false => OnLostKeys::Refuse,
        };
        lost_keys::judge(store, &unreadable, has_key, on_lost)?;
        opened.begin(&used_slots(store).map_err(StartError::Store)?).map_err(refused)?
    };
    let ring = Arc::new(ring);
    let keeper = Arc::new(ContentsKeeper::new(Arc::clone(&ring) as Arc<_>));
    Ok(OpenedContents { keeper, ring: Some(ring) })
}

/// Keys that open what they sealed in this life, and nothing else.
fn in_memory() -> Result<OpenedContents, StartError> {
    let keys = MemoryKeys::random().map_err(refused)?;
    let keeper = Arc::new(ContentsKeeper::new(Arc::new(keys)));
    Ok(OpenedContents { keeper, ring: None })
}

/// The highest slots that are used.
fn used_slots(store: &dyn Store) -> Result<Vec<(Family, KeySlot)>, StoreError> {
    let settings = store.settings();
    let newest = |family: Family| match family {
        Family::Workflow => newest_slot(&*store.reader()),
        Family::OptOut | Family::Inbound | Family::Day => newest_row_slot(&*settings, family),
    };
    let mut used = Vec::new();
    for family in Family::ALL {
        used.extend(newest(family)?.map(|slot| (family, slot)));
    }
    Ok(used)
}

/// The highest slot that the newest workflows use: keys that lack it are older than the store. Slots are given out
/// in order, and ids are made in order, but for what is made at the same time.
fn newest_slot(reader: &dyn Reader) -> Result<Option<KeySlot>, StoreError> {
    match reader.list(&Filter::default(), None, LOOKED_AT) {
        Ok(page) => Ok(page.workflows.iter().map(|(record, _)| record.contents.slot).max()),
        // What is damaged is told where it is asked for, and by `dispatch check`.
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::error!(%error, "whether the keys of contents are as new as the store is not known");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Takes away the keys of workflows that are past retention, as far as whole files of them are. Returns how many files.
/// One file more than need be is kept: what is made at the same time may have its id and its slot in another order.
pub(super) fn retire(ring: &KeyRing, reader: &dyn Reader) -> Result<usize, String> {
    let oldest = lost_keys::oldest_key(reader).map_err(|error| error.to_string())?;
    let Some(oldest) = oldest else { return Ok(0) };
    let before = lost_keys::kept_from(oldest);
    ring.retire_before(Family::Workflow, before).map_err(|error| error.to_string())
}

/// The same for inbound messages.
pub(super) fn retire_inbound(ring: &KeyRing, messages: &InboundMessages) -> Result<usize, String> {
    let oldest = messages.oldest_key().map_err(|error| error.to_string())?;
    let Some(oldest) = oldest else { return Ok(0) };
    let before = lost_keys::kept_from(oldest);
    ring.retire_before(Family::Inbound, before).map_err(|error| error.to_string())
}

/// The same for days.
pub(super) fn retire_days(ring: &KeyRing, days: &DayKeys) -> Result<usize, String> {
    let Some(oldest) = days.oldest_key() else { return Ok(0) };
    ring.retire_before(Family::Day, oldest.segment()).map_err(|error| error.to_string())
}

/// Why the service does not start without its keys.
fn refused(error: SlotError) -> StartError {
    match error {
        SlotError::Sealed { why: WrapError::OtherKey | WrapError::Damaged, .. } => {
            StartError::Config(ConfigError(format!(
                "access.master_key: {error}. A restored folder needs the master.key of the one that its backup \
                 was taken of; --read-only shows the timelines without"
            )))
        }
        SlotError::Io(problem) => StartError::Store(StoreError::Io(problem)),
        error => StartError::Store(StoreError::Refused(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dispatch_contract::{Channel, UnixMillis};
    use uuid::Uuid;

    use super::*;
    use crate::{
        access::MasterKey,
        contents::ContentKeys,
        engine::{Command, Grace, Processor},
        machine::{Moment, WorkflowId},
        shared::{engines::sms_route, plans},
        store::{KEY_FOLDER, KeyFolderOnDisk, MemoryStore},
    };

    /// Whole files go that are older than all that is kept, but for one; the key of what is kept stays.
    #[test]
    fn keys_of_what_is_past_retention_are_taken_away_and_no_others() {
        let (folder, mut store) = (tempfile::tempdir().unwrap(), MemoryStore::new());
        let vault = Arc::new(Vault::new(&MasterKey::random().unwrap()).unwrap());
        let lives = StoreLives::of(&*store.reader());
        let begun = || {
            let at = KeyFolderOnDisk::at(folder.path().join(KEY_FOLDER));
            let opened = KeyRing::open(at, &lives, Arc::clone(&vault) as Arc<_>).unwrap();
            Arc::new(opened.begin(&[]).unwrap())
        };
        let mut ring = begun();
        assert_eq!(retire(&ring, &*store.reader()), Ok(0), "nothing is kept: nobody knows");
        // Each life begins another page.
        while ring.take(Family::Workflow).unwrap().0.segment() < 3 {
            ring.close().unwrap();
            ring = begun();
        }
        let keeper = ContentsKeeper::new(Arc::clone(&ring) as Arc<_>);
        let now = Moment::both(UnixMillis(1_800_000_000_000));
        let request = plans::request(plans::plan(vec![plans::step(Channel::SMS, None)]), "x");
        let id = WorkflowId(Uuid::from_u128(1));
        let record = plans::sealed(&keeper, id, now, request, None);
        let create = Command::Create { record: Box::new(record), reply: Box::new(drop) };
        let grace = Grace::new(now.engine, Duration::ZERO, 0);
        let mut processor = Processor::new(&store, Arc::new(sms_route("sms", 1)), grace);
        let effects = processor.run(&store, now, vec![create]).unwrap();
        store.commit(effects.change_set).unwrap();

        let record = store.reader().record(id).unwrap().unwrap();
        let oldest = record.contents.slot.segment();
        assert_eq!(retire(&ring, &*store.reader()), Ok(oldest as usize - 1));
        assert_eq!(retire(&ring, &*store.reader()), Ok(0));
        assert!(keeper.open(&record).is_ok());
        let gone = KeySlot::new(oldest - 2, 0);
        assert_eq!(ring.key(Family::Workflow, gone), Err(SlotError::Lost(Family::Workflow, gone)));
        assert!(ring.key(Family::Workflow, KeySlot::new(oldest - 1, 0)).is_ok(), "one to spare");
    }
}
