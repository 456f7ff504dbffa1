//! Joins the keys of contents to the vault that seals their files: neither room knows the other.

use crate::{
    access::{SealedElsewhere, Vault, VaultError},
    contents::{KeyRing, SlotError, Wrap, WrapError},
};

impl Wrap for Vault {
    fn seal(
        &self,
        place: &str,
        plain: &[u8],
        keep: &mut dyn FnMut(&[u8]) -> Result<(), SlotError>,
    ) -> Result<(), SlotError> {
        let sealing = self.sealing();
        let sealed = sealing
            .seal_bytes(place.as_bytes(), plain)
            .map_err(|error| SlotError::Sealed { place: place.to_owned(), why: why(&error) })?;
        keep(&sealed)
    }

    fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, WrapError> {
        self.open_bytes(place.as_bytes(), sealed).map_err(|error| why(&error))
    }
}

impl SealedElsewhere for KeyRing {
    fn sealed(&self) -> u64 {
        KeyRing::sealed(self)
    }

    fn seal_anew(&self, tell: &dyn Fn(bool)) -> Result<(), String> {
        KeyRing::seal_anew(self, tell).map_err(|error| error.to_string())
    }
}

fn why(error: &VaultError) -> WrapError {
    match error {
        VaultError::OtherKey => WrapError::OtherKey,
        VaultError::Damaged => WrapError::Damaged,
        VaultError::Failed => WrapError::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use dispatch_contract::UnixMillis;

    use crate::{
        access::{
            Access, Accounts, Applications, Caller, LimitsByTenant, MasterKeys, Rotation,
            SealedHolders, Vault,
        },
        contents::{ContentKeys, Family, KeyRing, SlotKey},
        store::{KeyFolderOnDisk, KeySlot, MemoryStore, Settings, Store, StoreLives},
    };

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    /// One life of a service: the keys, and the changes of what seals them.
    struct RunningService {
        ring: Arc<KeyRing>,
        rotation: Rotation,
    }

    impl RunningService {
        fn new(folder: &Path, lives: &StoreLives, settings: &Arc<dyn Settings>) -> RunningService {
            let file = folder.join("master.key");
            let keys = MasterKeys::kept_in(&file).unwrap();
            let vault = Arc::new(Vault::with(&keys.current, &keys.previous).unwrap());
            let wrap = Arc::clone(&vault);
            let ring =
                KeyRing::open(KeyFolderOnDisk::at(folder.join("contents")), lives, wrap).unwrap();
            assert!(ring.expect(&[]).is_empty());
            let ring = Arc::new(ring.begin(&[]).unwrap());
            let (held, limits) = (Arc::clone(settings), LimitsByTenant::default);
            let applications = Applications::open(held, Arc::clone(&vault), limits());
            let applications = Arc::new(applications.unwrap());
            let (held, told) = (Arc::clone(settings), Arc::clone(&applications));
            let accounts = Accounts::open(held, Arc::clone(&vault), told, limits()).unwrap();
            let holders = SealedHolders {
                applications,
                accounts: Arc::new(accounts),
                elsewhere: Some(Arc::clone(&ring) as Arc<_>),
            };
            let access = Access::new(Arc::clone(settings));
            let rotation = Rotation::new(vault, holders, access, Some(file), keys);
            RunningService { ring, rotation }
        }

        fn opens(&self, slot: KeySlot) -> Option<SlotKey> {
            self.ring.key(Family::Workflow, slot).unwrap()
        }
    }

    #[test]
    fn keys_open_under_the_next_master_key_and_the_one_before_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store = MemoryStore::new();
        let (lives, settings) = (StoreLives::of(&*store.reader()), store.settings());
        let file = folder.path().join("master.key");
        let life = RunningService::new(folder.path(), &lives, &settings);
        let (slot, key) = life.ring.take(Family::Workflow).unwrap();
        let before = MasterKeys::kept_in(&file).unwrap();
        // It ends as soon as the next one seals: the next life goes on.
        life.rotation.begin(&Caller::anonymous(), NOW).unwrap();
        let (made_between, _) = life.ring.take(Family::OptOut).unwrap();
        drop(life);
        let life = RunningService::new(folder.path(), &lives, &settings);
        assert_eq!(life.opens(slot).as_ref(), Some(&key));
        life.rotation.run(NOW).unwrap();
        // The index, and a file of each family at least: more are made as they are needed.
        let progress = life.rotation.progress();
        assert!(progress.done >= 3 && progress.unreadable == 0, "{progress:?}");
        drop(life);
        let after = MasterKeys::kept_in(&file).unwrap();
        assert!(after.previous.is_empty() && after.current != before.current);
        let life = RunningService::new(folder.path(), &lives, &settings);
        assert_eq!(life.opens(slot).as_ref(), Some(&key));
        assert!(life.ring.key(Family::OptOut, made_between).unwrap().is_some());
        drop(life);
        let old = Arc::new(Vault::new(&before.current).unwrap());
        assert!(
            KeyRing::open(KeyFolderOnDisk::at(folder.path().join("contents")), &lives, old)
                .is_err()
        );
    }
}
