//! The name of one step's message, for callers who know messages by a UUID.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::WorkflowId;

/// What sets these names apart from whatever else is hashed.
const SCOPE: &[u8] = b"dispatch message";

/// The `message_uuid` of the message of step `step` (counted from 0): the same each time it is asked
/// for, so that nobody needs to keep it. A UUIDv8 over SHA-256.
pub fn message_uuid(workflow: WorkflowId, step: u8) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(SCOPE);
    hash.update(workflow.as_bytes());
    hash.update([step]);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_one_name_for_ever_and_it_is_a_uuid_of_version_8() {
        let workflow = WorkflowId(Uuid::from_u128(0x0190_a1b2_0000_7000_8000_0000_0000_0000));
        let name = message_uuid(workflow, 0);
        assert_eq!(name, message_uuid(workflow, 0));
        assert_ne!(name, message_uuid(workflow, 1));
        assert_eq!(name.get_version_num(), 8);
    }
}
