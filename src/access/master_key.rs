//! The master key, and the file that keeps it.
//!
//! The file holds one key a line: the first seals, those behind it only open what was sealed before them.

use std::{
    fmt,
    fs::File,
    io::{ErrorKind, Read, Write},
    path::Path,
};

use aws_lc_rs::rand;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use super::VaultError;
use crate::owned_files;

/// The length of a master key, in bytes.
const KEY_BYTES: usize = 32;

/// What everything is sealed with: 32 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey([u8; KEY_BYTES]);

/// The master keys that are in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterKeys {
    /// The one that seals.
    pub current: MasterKey,
    /// Those that still open, the newest first.
    pub previous: Vec<MasterKey>,
}

impl MasterKey {
    /// A new one.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn random() -> Result<MasterKey, VaultError> {
        let mut key = [0; KEY_BYTES];
        rand::fill(&mut key).map_err(|_| VaultError::Failed)?;
        Ok(MasterKey(key))
    }

    /// Reads one as people write it: 32 bytes in base64, as `openssl rand -base64 32` prints.
    ///
    /// # Errors
    /// If it is none. The text never shows it.
    pub fn parse(text: &str) -> Result<MasterKey, String> {
        let bytes = BASE64_STANDARD.decode(text.trim()).unwrap_or_default();
        bytes.try_into().map(MasterKey).map_err(|_| {
            "a master key is 32 bytes in base64; `openssl rand -base64 32` makes one".to_owned()
        })
    }

    /// Stands before what it sealed.
    pub(super) fn mark(&self) -> u8 {
        Sha256::digest(self.0)[0]
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl MasterKeys {
    /// What the file is called in a data folder.
    pub const FILE: &str = "master.key";

    /// This one alone.
    pub fn one(current: MasterKey) -> MasterKeys {
        MasterKeys { current, previous: Vec::new() }
    }

    /// Those in the file `path`, which is made, durably and for its owner only, if it is not there.
    ///
    /// # Errors
    /// If the file holds none, or cannot be read or made.
    pub fn kept_in(path: &Path) -> Result<MasterKeys, String> {
        let shown = path.display();
        match File::open(path) {
            Ok(mut file) => {
                let mut text = String::new();
                file.read_to_string(&mut text)
                    .map_err(|error| format!("cannot read the master key {shown}: {error}"))?;
                let mut keys = text.trim().lines().map(MasterKey::parse);
                let current = keys.next().unwrap_or_else(|| MasterKey::parse(""));
                let previous = keys.collect::<Result<_, _>>();
                current
                    .and_then(|current| Ok(MasterKeys { current, previous: previous? }))
                    .map_err(|problem| format!("{shown}: {problem}"))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let keys = MasterKeys::one(MasterKey::random().map_err(|error| error.to_string())?);
                keys.keep_in(path)
                    .map_err(|error| format!("cannot make the master key {shown}: {error}"))?;
                Ok(keys)
            }
            Err(error) => Err(format!("cannot read the master key {shown}: {error}")),
        }
    }

    /// Whole or not at all: what was sealed with a key that a power cut took never opens again.
    pub(super) fn keep_in(&self, path: &Path) -> std::io::Result<()> {
        let part = path.with_extension("part");
        // What is there is a rest of a start that was cut off; nothing was sealed with it.
        let mut file = owned_files::replace(&part)?;
        for key in std::iter::once(&self.current).chain(&self.previous) {
            writeln!(file, "{}", BASE64_STANDARD.encode(key.0))?;
        }
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_only_and_then_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let first = MasterKeys::kept_in(&path).unwrap();
        assert_eq!(MasterKeys::kept_in(&path).unwrap(), first);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let two = MasterKeys {
            current: MasterKey::random().unwrap(),
            previous: vec![first.current.clone()],
        };
        two.keep_in(&path).unwrap();
        assert_eq!(MasterKeys::kept_in(&path).unwrap(), two);
        for wrong in ["not a key", "", "\n"] {
            std::fs::write(&path, wrong).unwrap();
            let refused = MasterKeys::kept_in(&path).unwrap_err();
            assert!(refused.contains("32 bytes in base64") && !refused.contains("not a key"));
        }
    }
}
