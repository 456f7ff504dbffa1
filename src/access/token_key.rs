//! What a caller is to bring back, and neither to read nor to make: the key that page tokens and resume
//! tokens are sealed with.
//!
//! AES-256-GCM-SIV under one nonce: equal places have equal tokens, and nothing else shows. The key is random,
//! kept in the store and backed up with it, so that tokens outlive restarts. It guards no secret of a caller's:
//! whoever has the store reads the places themselves.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::{Access, secret::random};
use crate::store::{Kind, SettingChange, Settings, StoreError, decode, encode};

/// The row that the key is kept in.
const ROW: &[u8] = b"token-key";
const KEY_BYTES: usize = 32;

/// Seals places in lists and streams.
pub struct TokenKey(LessSafeKey);

impl TokenKey {
    /// A key of these bytes; `None` if the cryptographic library fails.
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Option<TokenKey> {
        let key = UnboundKey::new(&AES_256_GCM_SIV, bytes).ok()?;
        Some(TokenKey(LessSafeKey::new(key)))
    }

    /// Seals `place` for whoever, and whatever list, `bound_to` names.
    pub fn seal(&self, bound_to: &[u8], place: &[u8]) -> Vec<u8> {
        let mut sealed = place.to_vec();
        // It fails on gigabytes only. An empty token opens as none.
        match self.0.seal_in_place_append_tag(nonce(), Aad::from(bound_to), &mut sealed) {
            Ok(()) => sealed,
            Err(_) => Vec::new(),
        }
    }

    /// Opens what was sealed for the very same.
    pub fn open(&self, bound_to: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut place = sealed.to_vec();
        let opened = self.0.open_in_place(nonce(), Aad::from(bound_to), &mut place).ok()?;
        Some(opened.to_vec())
    }
}

/// Always the same one, which this cipher allows.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

impl Access {
    /// What tokens are sealed with. It is made when it is first asked for, which waits for the disk.
    ///
    /// # Errors
    /// If the store failed.
    pub fn token_key(&self) -> Result<Arc<TokenKey>, StoreError> {
        if let Some(key) = self.inner.token_key.get() {
            return Ok(Arc::clone(key));
        }
        // One at a time, so that all seal with what is kept.
        let _one = self.writing();
        let key = Arc::new(kept(&*self.inner.settings)?);
        Ok(Arc::clone(self.inner.token_key.get_or_init(|| key)))
    }
}

fn kept(settings: &dyn Settings) -> Result<TokenKey, StoreError> {
    let failed = |problem: &str| StoreError::Io(format!("the key of tokens: {problem}"));
    let bytes: [u8; KEY_BYTES] = match settings.get(Kind::Service, ROW)? {
        Some(row) => decode(&row, || "the key of tokens".to_owned())?,
        None => {
            let bytes = random().map_err(|_| failed("there is no randomness"))?;
            settings.write(vec![SettingChange::put(Kind::Service, ROW, encode(&bytes)?)])?;
            bytes
        }
    };
    TokenKey::new(&bytes).ok_or_else(|| failed("the cryptographic library failed"))
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, Store};

    #[test]
    fn a_place_opens_for_whom_it_was_sealed_and_says_nothing() {
        let key = TokenKey::new(&[7; 32]).unwrap();
        let sealed = key.seal(b"acme", b"a place of acme's");
        assert_eq!(sealed, key.seal(b"acme", b"a place of acme's"), "one spelling");
        assert!(!sealed.windows(5).any(|part| part == b"place"));
        assert_eq!(key.open(b"acme", &sealed).as_deref(), Some(&b"a place of acme's"[..]));
        assert_eq!(key.open(b"beta", &sealed), None);
        assert_eq!(TokenKey::new(&[8; 32]).unwrap().open(b"acme", &sealed), None);
        for at in 0..sealed.len() {
            let mut torn = sealed.clone();
            torn[at] ^= 1;
            assert_eq!(key.open(b"acme", &torn), None, "byte {at}");
            assert_eq!(key.open(b"acme", &sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn the_key_is_made_once_and_outlives_a_restart() {
        let settings = MemoryStore::new().settings();
        let sealed = Access::new(Arc::clone(&settings)).token_key().unwrap().seal(b"", b"x");
        let later = Access::new(settings).token_key().unwrap();
        assert_eq!(later.open(b"", &sealed).as_deref(), Some(&b"x"[..]));
    }
}
