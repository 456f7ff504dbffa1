//! Encryption at rest: what is secret in a row is sealed with AES-256-GCM before the store sees it,
//! and so are the secrets of files beside it.
//!
//! A sealed text is bound to its place, the row's key: copied into another row it does not open. It
//! begins with a byte that tells keys apart:
//!
//! ```text
//! key's mark (1) · nonce (12, random) · ciphertext · tag (16)
//! ```
//!
//! Several keys may open, the current one alone seals. Whoever seals holds [`Sealing`] until what was sealed
//! is durable: so once another key is current, nothing more appears that an older one sealed, and the older
//! can be dropped as soon as all there is was sealed anew (`access/rotation.rs`).
//!
//! It guards what lies on a disk. Whoever can read the process's memory, or the folder together with
//! the file that holds the master key, reads everything.

use std::{
    fmt,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use dispatch_contract::Secret;

use super::{MasterKey, VaultError};

/// Seals and opens.
pub struct Vault(RwLock<SealingKeys>);

/// Leave to seal, for as long as this is held. Not to be held while something else opens or seals: another
/// key may be waiting to become current.
pub struct Sealing<'a>(RwLockReadGuard<'a, SealingKeys>);

struct SealingKeys {
    current: SealingKey,
    /// The newest first.
    previous: Vec<SealingKey>,
}

struct SealingKey {
    /// Tells this key from others; no check of it.
    mark: u8,
    key: RandomizedNonceKey,
}

impl Vault {
    /// One that seals with `key`.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn new(key: &MasterKey) -> Result<Vault, VaultError> {
        Vault::with(key, &[])
    }

    /// One that seals with `current`, and opens what was sealed with `previous` ones too.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn with(current: &MasterKey, previous: &[MasterKey]) -> Result<Vault, VaultError> {
        let previous = previous.iter().map(SealingKey::new).collect::<Result<_, _>>()?;
        Ok(Vault(RwLock::new(SealingKeys { current: SealingKey::new(current)?, previous })))
    }

    /// Leave to seal.
    pub fn sealing(&self) -> Sealing<'_> {
        Sealing(self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens what was sealed for the row at `place`.
    ///
    /// # Errors
    /// If it was sealed with another key or for another place, or is damaged.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Secret, VaultError> {
        self.sealing().open(place, sealed)
    }

    /// Opens the bytes that were sealed for `place`.
    ///
    /// # Errors
    /// If they were sealed with another key or for another place, or are damaged.
    pub fn open_bytes(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.sealing().open_bytes(place, sealed)
    }

    /// Whether there are keys beside the current one.
    pub fn has_previous(&self) -> bool {
        !self.sealing().0.previous.is_empty()
    }

    /// Makes `key` the current one, once nobody seals; `kept` is done before that, and prevents it if it
    /// fails.
    ///
    /// # Errors
    /// What `kept` says, or that the cryptographic library fails.
    pub(super) fn turn<E: From<VaultError>>(
        &self,
        key: &MasterKey,
        kept: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let new = SealingKey::new(key)?;
        kept()?;
        let before = std::mem::replace(&mut keys.current, new);
        keys.previous.insert(0, before);
        Ok(())
    }

    /// Drops all keys but the current one.
    pub(super) fn forget_previous(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).previous.clear();
    }
}

impl Sealing<'_> {
    /// Seals `text` for the row at `place`.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn seal(&self, place: &[u8], text: &Secret) -> Result<Vec<u8>, VaultError> {
        self.seal_bytes(place, text.expose().as_bytes())
    }

    /// Seals bytes for `place`; a place is of texts or of bytes.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn seal_bytes(&self, place: &[u8], bytes: &[u8]) -> Result<Vec<u8>, VaultError> {
        let SealingKey { mark, key } = &self.0.current;
        let mut sealed = bytes.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(place), &mut sealed)
            .map_err(|_| VaultError::Failed)?;
        Ok([&[*mark], &nonce.as_ref()[..], &sealed].concat())
    }

    /// As [`Vault::open`].
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Secret, VaultError> {
        let text = self.open_bytes(place, sealed)?;
        std::str::from_utf8(&text).map(Secret::new).map_err(|_| VaultError::Damaged)
    }

    /// As [`Vault::open_bytes`].
    ///
    /// # Errors
    /// As [`Vault::open_bytes`].
    pub fn open_bytes(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let SealingKeys { current, previous } = &*self.0;
        let mut why = VaultError::OtherKey;
        // Marks are a byte: two keys may have the same.
        for key in std::iter::once(current).chain(previous) {
            match key.open(place, sealed) {
                Err(VaultError::OtherKey) => {}
                Err(error) => why = error,
                Ok(bytes) => return Ok(bytes),
            }
        }
        Err(why)
    }

    /// What was sealed with a previous key, sealed with the current one; `None` if it is already.
    ///
    /// # Errors
    /// If no key opens it.
    pub fn reseal(&self, place: &[u8], sealed: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        match self.0.current.open(place, sealed) {
            Ok(_) => Ok(None),
            Err(_) => Ok(Some(self.seal(place, &self.open(place, sealed)?)?)),
        }
    }
}

impl SealingKey {
    fn new(key: &MasterKey) -> Result<SealingKey, VaultError> {
        let bytes = key.bytes();
        let sealer =
            RandomizedNonceKey::new(&AES_256_GCM, bytes).map_err(|_| VaultError::Failed)?;
        Ok(SealingKey { mark: key.mark(), key: sealer })
    }

    fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
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
        Ok(opened.to_vec())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

impl fmt::Debug for Sealing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealing(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::new(&MasterKey::random().unwrap()).unwrap()
    }

    fn seal(vault: &Vault, place: &[u8]) -> Vec<u8> {
        vault.sealing().seal(place, &Secret::new("s3cret")).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_in_its_place_and_in_no_other() {
        let vault = vault();
        let sealed = seal(&vault, b"here");
        assert!(!sealed.windows(6).any(|part| part == b"s3cret"));
        assert_eq!(vault.open(b"here", &sealed).unwrap().expose(), "s3cret");
        assert_eq!(vault.open(b"there", &sealed), Err(VaultError::Damaged));
    }

    #[test]
    fn bytes_that_are_no_text_are_sealed_as_they_are() {
        let vault = vault();
        let bytes = [0xff, 0, 0xfe];
        let sealed = vault.sealing().seal_bytes(b"here", &bytes).unwrap();
        assert_eq!(vault.open_bytes(b"here", &sealed), Ok(bytes.to_vec()));
        assert_eq!(vault.open_bytes(b"there", &sealed), Err(VaultError::Damaged));
        assert!(matches!(vault.open(b"here", &sealed), Err(VaultError::Damaged)), "no text");
        assert_eq!(vault.open_bytes(b"here", &seal(&vault, b"here")).unwrap(), b"s3cret");
    }

    #[test]
    fn the_same_text_is_never_sealed_the_same_way() {
        let vault = vault();
        assert_ne!(seal(&vault, b"here"), seal(&vault, b"here"));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let vault = vault();
        let sealed = seal(&vault, b"here");
        for at in 0..sealed.len() {
            let mut torn = sealed.clone();
            torn[at] ^= 4;
            assert!(vault.open(b"here", &torn).is_err(), "byte {at}");
            assert!(vault.open(b"here", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn keys_with_the_same_mark_are_told_apart_all_the_same() {
        let [old, new] = {
            let old = MasterKey::random().unwrap();
            let twin = || MasterKey::random().unwrap();
            let new = std::iter::repeat_with(twin).find(|key| key.mark() == old.mark());
            [old, new.unwrap()]
        };
        let sealed = seal(&Vault::new(&old).unwrap(), b"here");
        let both = Vault::with(&new, &[old]).unwrap();
        assert_eq!(both.open(b"here", &sealed).unwrap().expose(), "s3cret");
        let again = both.sealing().reseal(b"here", &sealed).unwrap().unwrap();
        assert_eq!(both.sealing().reseal(b"here", &again), Ok(None));
        let only_new = Vault::new(&new).unwrap();
        assert!(only_new.open(b"here", &again).is_ok() && only_new.open(b"here", &sealed).is_err());
    }
}
