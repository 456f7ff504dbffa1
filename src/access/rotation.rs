//! Another master key in place of the one there is.
//!
//! First both keys are kept, durably, the new one before the old; from then on the new one seals. Then each
//! secret that the old one sealed is sealed anew, one row at a time. Last the old key is dropped from the file.
//! Whenever that is cut off, every secret opens with one of the keys that are kept, and the next start goes on.
//!
//! A key that the configuration gives is changed there: the new one as `access.master_key`, the old one as
//! `access.master_key_previous`, which this then tells to be needed no longer.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dispatch_contract::UnixMillis;

use super::{
    Access, Accounts, Applications, AuditEntry, Caller, MasterKey, MasterKeys, Vault, VaultError,
};
use crate::store::StoreError;

/// What the vault sealed and is kept beside the store.
pub trait SealedElsewhere: Send + Sync {
    /// How many secrets there are.
    fn sealed(&self) -> u64;

    /// Seals each anew with the current key, durably, and tells of each whether it could be opened; one that no
    /// key opens stays as it is. Goes through all of them, whatever becomes of one.
    ///
    /// # Errors
    /// In a sentence, if an old key may still be needed. To be done again is no error.
    fn seal_anew(&self, tell: &dyn Fn(bool)) -> Result<(), String>;
}

/// Who keeps what the vault sealed.
pub struct SealedHolders {
    /// The callback secrets.
    pub applications: Arc<Applications>,
    /// The tokens.
    pub accounts: Arc<Accounts>,
    /// What is kept beside the store, if anything is.
    pub elsewhere: Option<Arc<dyn SealedElsewhere>>,
}

/// Stands in the audit log for what goes on after the call that began it.
const SERVICE: &str = "service";

/// Changes the master key.
pub struct Rotation {
    vault: Arc<Vault>,
    holders: SealedHolders,
    access: Access,
    /// The file that keeps the keys; `None` if the configuration gives them.
    file: Option<PathBuf>,
    /// Those in the file.
    keys: Mutex<MasterKeys>,
    progress: Mutex<RotationProgress>,
    /// One at a time.
    running: Mutex<()>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RotationProgress {
    /// Whether there is a secret that an old key may have sealed.
    pub is_under_way: bool,
    /// How many secrets were looked at, of those there were at the beginning.
    pub done: u64,
    /// How many there were.
    pub total: u64,
    /// How many of them no key opens: they were lost before.
    pub unreadable: u64,
}

/// Why the master key was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotationError {
    /// The configuration gives the key.
    Configured,
    /// The file could not be written.
    File(String),
    /// The store failed.
    Store(StoreError),
    /// What is kept beside the store could not all be sealed anew.
    Elsewhere(String),
    /// The cryptographic library failed.
    Vault(VaultError),
}

impl Rotation {
    /// Of the secrets of `holders`, which are sealed in `vault`. `keys` are those in `file`.
    pub fn new(
        vault: Arc<Vault>,
        holders: SealedHolders,
        access: Access,
        file: Option<PathBuf>,
        keys: MasterKeys,
    ) -> Rotation {
        let is_under_way = vault.has_previous();
        let progress = Mutex::new(RotationProgress { is_under_way, ..RotationProgress::default() });
        let (keys, running) = (Mutex::new(keys), Mutex::new(()));
        Rotation { vault, holders, access, file, keys, progress, running }
    }

    /// How far it is.
    pub fn progress(&self) -> RotationProgress {
        *lock(&self.progress)
    }

    /// Makes a new key the one that seals; [`run`](Self::run) does the rest. Does nothing while an earlier
    /// change is under way. Blocks.
    ///
    /// # Errors
    /// [`RotationError`]; then nothing has changed.
    pub fn begin(
        &self,
        caller: &Caller,
        now: UnixMillis,
    ) -> Result<RotationProgress, RotationError> {
        let Some(file) = &self.file else { return Err(RotationError::Configured) };
        let mut keys = lock(&self.keys);
        if self.progress().is_under_way {
            return Ok(self.progress());
        }
        // Before it is done, so that none is missing.
        self.access.audit(caller, "master_key.rotation_begun", "", now)?;
        let current = MasterKey::random()?;
        let mut previous = keys.previous.clone();
        previous.insert(0, keys.current.clone());
        let both = MasterKeys { current, previous };
        self.vault.turn(&both.current, || {
            both.keep_in(file).map_err(|error| RotationError::File(error.to_string()))
        })?;
        *keys = both;
        let progress = RotationProgress { is_under_way: true, ..RotationProgress::default() };
        *lock(&self.progress) = progress;
        tracing::info!("the master key is another now; secrets are encrypted anew");
        Ok(progress)
    }

    /// Seals anew what an old key sealed, and drops the old keys. Does nothing if there are none. Blocks.
    ///
    /// # Errors
    /// [`RotationError`]; the next call goes on.
    pub fn run(&self, now: UnixMillis) -> Result<(), RotationError> {
        let _one = lock(&self.running);
        if !self.vault.has_previous() {
            return Ok(());
        }
        let SealedHolders { applications, accounts, elsewhere } = &self.holders;
        let beside = elsewhere.as_ref().map_or(0, |elsewhere| elsewhere.sealed());
        let total = applications.sealed()? + accounts.sealed() + beside;
        *lock(&self.progress) =
            RotationProgress { is_under_way: true, total, ..RotationProgress::default() };
        let step = |is_readable: bool| {
            let mut progress = lock(&self.progress);
            progress.done += 1;
            progress.unreadable += u64::from(!is_readable);
        };
        applications.reseal(&step)?;
        accounts.reseal(&step)?;
        if let Some(elsewhere) = elsewhere {
            elsewhere.seal_anew(&step).map_err(RotationError::Elsewhere)?;
        }
        self.finish(now)
    }

    fn finish(&self, now: UnixMillis) -> Result<(), RotationError> {
        let RotationProgress { done, unreadable, .. } = self.progress();
        let result = match unreadable {
            0 => format!("done: {done} secrets"),
            _ => format!("done: {done} secrets, {unreadable} of which no key opens"),
        };
        // Before the old key is gone, so that it is never gone without a word.
        self.access.note_entry(&AuditEntry::of_service(
            SERVICE,
            "master_key.rotated",
            result,
            now,
        ))?;
        if let Some(file) = &self.file {
            let mut keys = lock(&self.keys);
            let one = MasterKeys::one(keys.current.clone());
            if !keys.previous.is_empty() {
                one.keep_in(file).map_err(|error| RotationError::File(error.to_string()))?;
                *keys = one;
            }
        }
        self.vault.forget_previous();
        tracing::info!(
            done,
            unreadable,
            "no secret is encrypted with an old master key any more; a backup that was taken before still is"
        );
        lock(&self.progress).is_under_way = false;
        Ok(())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<StoreError> for RotationError {
    fn from(error: StoreError) -> Self {
        RotationError::Store(error)
    }
}

impl From<VaultError> for RotationError {
    fn from(error: VaultError) -> Self {
        RotationError::Vault(error)
    }
}

impl fmt::Display for RotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RotationError::Configured => f.write_str(
                "the master key is not kept in a file of the data folder: where the configuration gives it, \
                 set access.master_key to a new one and access.master_key_previous to the present one, \
                 and start the service again",
            ),
            RotationError::File(error) => write!(f, "the file of the master key: {error}"),
            RotationError::Elsewhere(error) => write!(f, "the old master key is kept: {error}"),
            RotationError::Store(error) => error.fmt(f),
            RotationError::Vault(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RotationError {}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rotation(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use dispatch_contract::{Channel, Secret};
    use uuid::Uuid;

    use super::*;
    use crate::{
        access::{
            AccountToken, ApplicationSpec, ExternalId, LimitsByTenant, MessagesSpec, Name,
            NewAccount, PublicKey,
        },
        store::{KeyAndValue, Kind, MemoryStore, SettingChange, Settings, Store},
    };

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const ACCOUNTS: [&str; 2] = ["447700900001", "447700900002"];

    /// A store that fails after so many writes, as if the process had died there.
    struct Mortal {
        settings: Arc<dyn Settings>,
        writes_left: AtomicUsize,
    }

    impl Settings for Mortal {
        fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.settings.get(kind, key)
        }

        fn list(
            &self,
            kind: Kind,
            after: Option<&[u8]>,
            limit: usize,
        ) -> Result<Vec<KeyAndValue>, StoreError> {
            self.settings.list(kind, after, limit)
        }

        fn write(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
            let left = self.writes_left.load(Ordering::Relaxed);
            let left = left.checked_sub(1).ok_or_else(|| StoreError::Io("dead".to_owned()))?;
            self.writes_left.store(left, Ordering::Relaxed);
            self.settings.write(changes)
        }

        fn note(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
            self.write(changes)
        }
    }

    /// Something beside the store that a failing disk keeps from being sealed anew, as often as that is said.
    struct Beside(AtomicUsize);

    impl SealedElsewhere for Beside {
        fn sealed(&self) -> u64 {
            2
        }

        fn seal_anew(&self, tell: &dyn Fn(bool)) -> Result<(), String> {
            tell(true);
            tell(false);
            let fails = self.0.load(Ordering::Relaxed);
            self.0.store(fails.saturating_sub(1), Ordering::Relaxed);
            if fails == 0 { Ok(()) } else { Err("the disk failed".to_owned()) }
        }
    }

    /// One life of a service.
    struct RunningService {
        rotation: Rotation,
        applications: Arc<Applications>,
        accounts: Arc<Accounts>,
    }

    impl RunningService {
        fn new(settings: &Arc<dyn Settings>, file: &Path, writes: usize) -> RunningService {
            let writes_left = AtomicUsize::new(writes);
            let settings = Mortal { settings: Arc::clone(settings), writes_left };
            let settings: Arc<dyn Settings> = Arc::new(settings);
            let keys = MasterKeys::kept_in(file).unwrap();
            let vault = Arc::new(Vault::with(&keys.current, &keys.previous).unwrap());
            let limits = LimitsByTenant::default;
            let applications =
                Applications::open(Arc::clone(&settings), Arc::clone(&vault), limits());
            let applications = Arc::new(applications.unwrap());
            let accounts = Accounts::open(
                Arc::clone(&settings),
                Arc::clone(&vault),
                Arc::clone(&applications),
                limits(),
            );
            let accounts = Arc::new(accounts.unwrap());
            let holders = SealedHolders {
                applications: Arc::clone(&applications),
                accounts: Arc::clone(&accounts),
                elsewhere: None,
            };
            let access = Access::new(settings);
            let rotation = Rotation::new(vault, holders, access, Some(file.to_owned()), keys);
            RunningService { rotation, applications, accounts }
        }

        fn fill(&self) -> Vec<(Uuid, Secret)> {
            let public_key =
                include_str!("../../adapters/sandbox/tests/sandbox/http/public_key.pem");
            let application = |name: &str| {
                let spec = ApplicationSpec {
                    name: Name::parse(name).unwrap(),
                    public_key: Some(PublicKey::parse(public_key).unwrap()),
                    renew_key: false,
                    messages: Some(MessagesSpec::default()),
                    other_capabilities: None,
                    improve_ai: None,
                    is_default: None,
                };
                let written = self.applications.create("acme", spec, NOW).unwrap();
                (written.application.id, written.callback_secret.unwrap())
            };
            let made = ["one", "two", "three"].map(application).to_vec();
            for id in ACCOUNTS {
                let channel = Channel::WHATSAPP;
                let new = NewAccount {
                    external_id: ExternalId::parse(&channel, id).unwrap(),
                    channel,
                    name: None,
                    token: Some(AccountToken::parse(&format!("token-of-{id}")).unwrap()),
                    application: None,
                };
                self.accounts.create("acme", new, NOW).unwrap();
            }
            made
        }

        fn assert_all_open(&self, made: &[(Uuid, Secret)]) {
            for (id, secret) in made {
                let application = self.applications.get("acme", *id).unwrap();
                let opened = self.applications.callback_secret(&application).unwrap().unwrap();
                assert_eq!(opened.expose(), secret.expose());
            }
            for id in ACCOUNTS {
                let account = self.accounts.get("acme", &Channel::WHATSAPP, id).unwrap();
                let token = self.accounts.token(&account).unwrap().unwrap();
                assert_eq!(token.expose(), format!("token-of-{id}"));
            }
        }
    }

    #[test]
    fn wherever_it_is_cut_off_every_secret_opens_and_the_next_life_ends_it() {
        // The audit row, five secrets, the last audit row; and once nothing is in the way.
        for writes in 0..=8 {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("master.key");
            let settings = MemoryStore::new().settings();
            let life = RunningService::new(&settings, &file, usize::MAX);
            let made = life.fill();
            let before = MasterKeys::kept_in(&file).unwrap().current;

            let dying = RunningService::new(&settings, &file, writes);
            let begun = dying.rotation.begin(&Caller::anonymous(), NOW);
            assert_eq!(begun.is_ok(), writes > 0);
            let ended = dying.rotation.run(NOW);
            assert_eq!(ended.is_ok(), writes == 0 || writes >= 7, "after {writes}: {ended:?}");
            dying.assert_all_open(&made);

            let next = RunningService::new(&settings, &file, usize::MAX);
            next.assert_all_open(&made);
            next.rotation.run(NOW).unwrap();
            next.assert_all_open(&made);
            assert!(!next.rotation.progress().is_under_way);
            let kept = MasterKeys::kept_in(&file).unwrap();
            assert!(kept.previous.is_empty(), "nothing needs the old key any more");
            assert_eq!(kept.current == before, writes == 0);
            RunningService::new(&settings, &file, 0).assert_all_open(&made);
            if writes > 0 {
                assert!(Vault::new(&before).is_ok_and(|old| {
                    made.iter().all(|(id, _)| {
                        let application = next.applications.get("acme", *id).unwrap();
                        let sealed = application.messages.unwrap().secret;
                        old.open(&crate::access::Application::secret_place(*id), &sealed).is_err()
                    })
                }));
            }
        }
    }

    #[test]
    fn the_old_key_is_kept_until_what_is_kept_beside_the_store_is_sealed_anew_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.key");
        let settings = MemoryStore::new().settings();
        let mut life = RunningService::new(&settings, &file, usize::MAX);
        life.fill();
        life.rotation.holders.elsewhere = Some(Arc::new(Beside(AtomicUsize::new(1))));
        life.rotation.begin(&Caller::anonymous(), NOW).unwrap();
        let failed = life.rotation.run(NOW).unwrap_err();
        assert_eq!(failed.to_string(), "the old master key is kept: the disk failed");
        assert!(life.rotation.progress().is_under_way && life.rotation.vault.has_previous());
        assert_eq!(MasterKeys::kept_in(&file).unwrap().previous.len(), 1);
        life.rotation.run(NOW).unwrap();
        let wanted = RotationProgress { is_under_way: false, done: 7, total: 7, unreadable: 1 };
        assert_eq!(life.rotation.progress(), wanted);
        assert!(MasterKeys::kept_in(&file).unwrap().previous.is_empty());
    }

    #[test]
    fn what_no_key_opens_is_told_and_stands_in_nobody_s_way() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.key");
        let settings = MemoryStore::new().settings();
        RunningService::new(&settings, &file, usize::MAX).fill();
        std::fs::remove_file(&file).unwrap();
        let life = RunningService::new(&settings, &file, usize::MAX);
        life.rotation.begin(&Caller::anonymous(), NOW).unwrap();
        assert!(
            life.rotation.begin(&Caller::anonymous(), NOW).unwrap().is_under_way,
            "one at a time"
        );
        life.rotation.run(NOW).unwrap();
        let wanted = RotationProgress { is_under_way: false, done: 5, total: 5, unreadable: 5 };
        assert_eq!(life.rotation.progress(), wanted);
    }
}
