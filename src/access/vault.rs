//! Encryption at rest: what is secret in a row is sealed with AES-256-GCM before the store sees it.
//!
//! A sealed text is bound to its place, the row's key: copied into another row it does not open. It
//! begins with a byte that tells keys apart, so that a second one can be added for a rotation:
//!
//! ```text
//! key's mark (1) · nonce (12, random) · ciphertext · tag (16)
//! ```
//!
//! It guards what lies on a disk. Whoever can read the process's memory, or the folder together with
//! the file that holds the master key, reads everything.

use std::{
    fmt,
    fs::File,
    io::{ErrorKind, Read, Write},
    path::Path,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    rand,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use dispatch_contract::Secret;
use sha2::{Digest, Sha256};

use crate::owned_files;

/// The length of a master key, in bytes.
const KEY_BYTES: usize = 32;

/// Seals and opens.
pub struct Vault {
    /// Tells this key from others; no check of it.
    mark: u8,
    key: RandomizedNonceKey,
}

/// What everything is sealed with: 32 random bytes.
pub struct MasterKey([u8; KEY_BYTES]);

/// Why something could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultError {
    /// It was sealed with another master key.
    OtherKey,
    /// It is damaged, or was sealed for another row.
    Damaged,
    /// The cryptographic library failed.
    Failed,
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

    /// The one in the file `path`, which is made, durably and for its owner only, if it is not there.
    ///
    /// # Errors
    /// If the file holds none, or cannot be read or made.
    pub fn kept_in(path: &Path) -> Result<MasterKey, String> {
        let shown = path.display();
        match File::open(path) {
            Ok(mut file) => {
                let mut text = String::new();
                file.read_to_string(&mut text)
                    .map_err(|error| format!("cannot read the master key {shown}: {error}"))?;
                MasterKey::parse(&text).map_err(|problem| format!("{shown}: {problem}"))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = MasterKey::random().map_err(|error| error.to_string())?;
                key.keep_in(path)
                    .map_err(|error| format!("cannot make the master key {shown}: {error}"))?;
                Ok(key)
            }
            Err(error) => Err(format!("cannot read the master key {shown}: {error}")),
        }
    }

    /// Whole or not at all: what was sealed with a key that a power cut took never opens again.
    fn keep_in(&self, path: &Path) -> std::io::Result<()> {
        let part = path.with_extension("part");
        // What is there is a rest of a start that was cut off; nothing was sealed with it.
        let mut file = owned_files::replace(&part)?;
        writeln!(file, "{}", BASE64_STANDARD.encode(self.0))?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Vault {
    /// One that seals with `key`.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn new(key: &MasterKey) -> Result<Vault, VaultError> {
        let mark = Sha256::digest(key.0)[0];
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key.0).map_err(|_| VaultError::Failed)?;
        Ok(Vault { mark, key })
    }

    /// Seals `text` for the row at `place`.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn seal(&self, place: &[u8], text: &Secret) -> Result<Vec<u8>, VaultError> {
        let mut sealed = text.expose().as_bytes().to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(place), &mut sealed)
            .map_err(|_| VaultError::Failed)?;
        Ok([&[self.mark], &nonce.as_ref()[..], &sealed].concat())
    }

    /// Opens what was sealed for the row at `place`.
    ///
    /// # Errors
    /// If it was sealed with another key or for another place, or is damaged.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Secret, VaultError> {
        let (mark, rest) = sealed.split_first().ok_or(VaultError::Damaged)?;
        if *mark != self.mark {
            return Err(VaultError::OtherKey);
        }
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Damaged)?;
        let mut text = text.to_vec();
        let opened = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place), &mut text)
            .map_err(|_| VaultError::Damaged)?;
        std::str::from_utf8(opened).map(Secret::new).map_err(|_| VaultError::Damaged)
    }
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VaultError::OtherKey => {
                "it was encrypted with another master key; give that one as access.master_key"
            }
            VaultError::Damaged => {
                "it does not decrypt: it is damaged, or access.master_key is not the one it was \
                 encrypted with"
            }
            VaultError::Failed => "the cryptographic library failed",
        })
    }
}

impl std::error::Error for VaultError {}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn vault() -> Vault {
        Vault::new(&MasterKey::random().unwrap()).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_in_its_place_and_in_no_other() {
        let vault = vault();
        let sealed = vault.seal(b"here", &Secret::new("s3cret")).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"s3cret"));
        assert_eq!(vault.open(b"here", &sealed).unwrap().expose(), "s3cret");
        assert_eq!(vault.open(b"there", &sealed), Err(VaultError::Damaged));
    }

    #[test]
    fn the_same_text_is_never_sealed_the_same_way() {
        let vault = vault();
        let twice = [0, 1].map(|_| vault.seal(b"here", &Secret::new("s3cret")).unwrap());
        assert_ne!(twice[0], twice[1]);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let vault = vault();
        let sealed = vault.seal(b"here", &Secret::new("s3cret")).unwrap();
        for at in 0..sealed.len() {
            let mut torn = sealed.clone();
            torn[at] ^= 4;
            assert!(vault.open(b"here", &torn).is_err(), "byte {at}");
            assert!(vault.open(b"here", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_only_and_then_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let first = MasterKey::kept_in(&path).unwrap();
        assert_eq!(MasterKey::kept_in(&path).unwrap().0, first.0);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        std::fs::write(&path, "not a key").unwrap();
        let refused = MasterKey::kept_in(&path).unwrap_err();
        assert!(refused.contains("32 bytes in base64") && !refused.contains("not a key"));
    }
}
