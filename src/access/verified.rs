//! Tokens whose signature fitted a moment ago: checking one costs about as much as all the rest of a
//! request, and one token is sent with many.
//!
//! What is held is only ever a shortcut: it counts for the very key that it was checked against, and the
//! token's times are judged anew each time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use super::{claims::AccessTokenClaims, key_cache::KeyCacheEntry};

/// How many are held.
const MOST: usize = 4096;

/// By the token's hash, so that no token lies in memory.
#[derive(Default)]
pub(super) struct VerifiedTokens(Mutex<HashMap<[u8; 32], VerifiedToken>>);

/// What a token was checked against, and what it claims.
type VerifiedToken = (Arc<KeyCacheEntry>, Arc<AccessTokenClaims>);

/// A token, as it is looked for.
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        TokenDigest(Sha256::digest(token.as_bytes()).into())
    }
}

impl VerifiedTokens {
    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A token that fitted.
    pub(super) fn get(&self, token: &TokenDigest) -> Option<VerifiedToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&token.0).cloned()
    }

    /// Takes one that fits.
    pub(super) fn put(
        &self,
        token: TokenDigest,
        entry: Arc<KeyCacheEntry>,
        claims: Arc<AccessTokenClaims>,
    ) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= MOST {
            held.clear();
        }
        held.insert(token.0, (entry, claims));
    }
}
