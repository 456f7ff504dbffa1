//! The key of one slot, and what is derived from it.

use std::fmt;

use aws_lc_rs::hmac::{self, HMAC_SHA256};

/// The length of a key, in bytes.
pub(super) const KEY_BYTES: usize = 32;

/// What stands on the disk of a key: the same length, masked; or nothing but zeros.
pub(super) type Masked = [u8; KEY_BYTES];

/// The key of one slot, which seals one workflow's contents, or one row. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotKey([u8; KEY_BYTES]);

impl SlotKey {
    /// Of these bytes.
    pub(super) fn new(bytes: [u8; KEY_BYTES]) -> SlotKey {
        SlotKey(bytes)
    }

    /// What follows from this key, a purpose and what else distinguishes it.
    pub(super) fn derived(&self, purpose: &[u8], data: &[u8]) -> [u8; KEY_BYTES] {
        mac(&hmac::Key::new(HMAC_SHA256, &self.0), &[purpose, data])
    }
}

impl fmt::Debug for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotKey(…)")
    }
}

/// HMAC-SHA256 of the parts, one after the other.
pub(super) fn mac(key: &hmac::Key, parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    let mut whole = [0; KEY_BYTES];
    whole.copy_from_slice(context.sign().as_ref());
    whole
}
