//! What a step's message is called outside.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::WorkflowId;

/// Sets these ids apart from any other hash of the same bytes.
const LABEL: &[u8] = b"dispatch message";

/// The id of the message of one step, as the REST edge and callbacks tell it.
///
/// The old APIs name messages, and this service workflows and attempts; so a message's name is made
/// of what it is: the workflow, and the step's index, counted from 0. It is known before anything is
/// sent, the same for every attempt of the step, and the same after a restart. A UUIDv8: the first
/// sixteen bytes of SHA-256 over a label, the workflow's id and the index, with version and variant
/// set.
pub fn message_uuid(workflow: WorkflowId, step: u8) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(LABEL);
    hash.update(workflow.as_bytes());
    hash.update([step]);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_called_the_same_for_ever() {
        let workflow: WorkflowId = "0190a1b2-c3d4-7e5f-8a6b-0123456789ab".parse().unwrap();
        let first = message_uuid(workflow, 0);
        assert_eq!(first.get_version_num(), 8);
        assert_eq!(first.get_variant(), uuid::Variant::RFC4122);
        assert_ne!(first, message_uuid(workflow, 1));
        assert_eq!(first.to_string(), "8cbfeeb5-3aaa-85e3-8285-3346bf64bf3b");
    }
}
