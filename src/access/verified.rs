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

use super::token::{Claims, Known};

/// How many are held.
const MOST: usize = 4096;

/// By the token's hash, so that no token lies in memory.
#[derive(Default)]
pub(super) struct Verified(Mutex<HashMap<[u8; 32], Checked>>);

/// What a token was checked against, and what it claims.
type Checked = (Arc<Known>, Arc<Claims>);

/// A token, as it is looked for.
pub(super) struct Digested([u8; 32]);

impl Digested {
    pub(super) fn of(token: &str) -> Self {
        Digested(Sha256::digest(token.as_bytes()).into())
    }
}

impl Verified {
    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A token that fitted.
    pub(super) fn get(&self, token: &Digested) -> Option<Checked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&token.0).cloned()
    }

    /// Takes one that fits.
    pub(super) fn put(&self, token: Digested, known: Arc<Known>, claims: Arc<Claims>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= MOST {
            held.clear();
        }
        held.insert(token.0, (known, claims));
    }
}
