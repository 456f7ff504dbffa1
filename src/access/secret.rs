//! Secrets of keys: made here, shown once, and kept as hashes.
//!
//! A secret is 32 random bytes, so that its SHA-256 is as hard to turn back as it is to guess: a slow
//! password hash would only make every request slow.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dispatch_contract::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The random part of a secret, in bytes.
const SECRET_BYTES: usize = 32;

/// What is kept of a secret.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SecretHash([u8; 32]);

/// A new secret, to be shown once.
///
/// # Errors
/// If the system has no randomness to give.
pub(super) fn random_secret() -> Result<Secret, NoRandomness> {
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(random::<SECRET_BYTES>()?)))
}

impl SecretHash {
    /// Of a secret in clear.
    pub(super) fn of(secret: &str) -> Self {
        SecretHash(Sha256::digest(secret.as_bytes()).into())
    }

    /// Fits no secret that anybody knows.
    pub(super) const NONE: SecretHash = SecretHash([0; 32]);

    /// Whether both are of one secret. Takes as long whether or not they are.
    pub(super) fn is_of_the_same(&self, other: &SecretHash) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// The system has no randomness to give.
#[derive(Debug)]
pub(super) struct NoRandomness;

/// Bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}
