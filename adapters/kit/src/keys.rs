//! Our attempt id in the form that many providers want of an idempotency key.

use aws_lc_rs::digest::{SHA256, digest};
use dispatch_contract::AttemptId;
use uuid::{Builder, Uuid};

/// A UUID of an attempt: the same one for each repeat of its call, on every node and after every restart,
/// and another for every other attempt. A UUIDv8: the first sixteen bytes of SHA-256 over the attempt's
/// text, with version and variant set.
pub fn uuid(attempt: AttemptId) -> Uuid {
    let hash = digest(&SHA256, attempt.to_string().as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_s_key_never_changes_and_is_its_own() {
        let attempt = |number| AttemptId { workflow: Uuid::from_u128(7), number };
        assert_eq!(uuid(attempt(1)).get_version_num(), 8);
        assert_eq!(uuid(attempt(1)), uuid(attempt(1)));
        assert_ne!(uuid(attempt(1)), uuid(attempt(2)));
    }
}
