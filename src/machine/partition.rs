//! Which partition a workflow belongs to. Its id says so.
//!
//! Workflows are divided into [`PARTITIONS`], so that several nodes can share them: each partition has one
//! owner. An id carries its partition whatever the store is, and however many nodes there are, so that nothing
//! changes when a store is moved. `docs/decisions/partitions.md` tells why it stands where it does.
//!
//! The last byte of an id is its *slot*, and the slot's upper four bits are the partition: in an id's text, the
//! last character but one. The time in an id stands before it, so that ids sort as they were made.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::WorkflowId;

/// How many partitions there are.
pub const PARTITIONS: u8 = 16;

/// How many slots one partition has: there are 256 of them.
const SLOTS: u8 = (256 / PARTITIONS as u16) as u8;

/// Sets slots apart from any other hash of the same bytes.
const LABEL: &[u8] = b"dispatch slot";

/// One of the [`PARTITIONS`] that workflows are divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u8);

impl Partition {
    /// The one in which a tenant's `request_id` is created, however often and wherever it is asked for: only
    /// there can a repeat meet what the first request made.
    pub fn of_request(tenant: &str, request_id: &str) -> Partition {
        Partition(slot_of_request(tenant, request_id) / SLOTS)
    }

    /// The one with this number; `None` if there is none.
    pub fn new(number: u8) -> Option<Partition> {
        (number < PARTITIONS).then_some(Partition(number))
    }

    /// Counted from 0.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl WorkflowId {
    /// The id of a new workflow, made of a UUIDv7: in the partition of its `request_id`, or where there is none
    /// in whichever its random bits name.
    pub fn new(uuid: Uuid, tenant: &str, request_id: Option<&str>) -> WorkflowId {
        let mut bytes = uuid.into_bytes();
        if let Some(request_id) = request_id {
            bytes[15] = slot_of_request(tenant, request_id);
        }
        WorkflowId(Uuid::from_bytes(bytes))
    }

    /// Whether a repeat of the request would meet it: it has the slot of its `request_id`, or has none to have.
    pub fn has_slot_of(self, tenant: &str, request_id: Option<&str>) -> bool {
        request_id
            .is_none_or(|request_id| self.as_bytes()[15] == slot_of_request(tenant, request_id))
    }

    /// The partition that it belongs to.
    pub fn partition(self) -> Partition {
        Partition(self.as_bytes()[15] / SLOTS)
    }
}

/// No tenant's name with a request id is another's: the name's length is hashed with it.
fn slot_of_request(tenant: &str, request_id: &str) -> u8 {
    let mut hash = Sha256::new();
    hash.update(LABEL);
    hash.update((tenant.len() as u64).to_be_bytes());
    hash.update(tenant);
    hash.update(request_id);
    hash.finalize()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(ms: u64, number: u64) -> Uuid {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
    }

    #[test]
    fn ids_of_one_request_id_lie_in_one_partition_whenever_they_are_made() {
        for request in 0..200 {
            let request_id = format!("order-{request}");
            let partition = Partition::of_request("acme", &request_id);
            for number in 0..20 {
                let id = WorkflowId::new(uuid(1000 + number, number), "acme", Some(&request_id));
                assert_eq!(id.partition(), partition);
                assert!(id.has_slot_of("acme", Some(&request_id)) && id.has_slot_of("acme", None));
            }
        }
    }

    #[test]
    fn ids_lie_evenly_in_all_partitions_with_a_request_id_and_without() {
        for has_request_id in [true, false] {
            let mut counts = [0_u32; PARTITIONS as usize];
            for number in 0..16_000 {
                let request_id = has_request_id.then(|| number.to_string());
                let id = WorkflowId::new(uuid(1000, number), "acme", request_id.as_deref());
                counts[usize::from(id.partition().number())] += 1;
            }
            assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        }
    }

    #[test]
    fn a_partition_is_the_last_character_but_one_and_the_id_stays_a_uuid_v7() {
        let id = WorkflowId::new(uuid(1000, 3), "acme", Some("order-1"));
        let text = id.to_string();
        assert_eq!(u8::from_str_radix(&text[34..35], 16), Ok(id.partition().number()));
        assert_eq!((id.0.get_version_num(), id.0.get_variant()), (7, uuid::Variant::RFC4122));
    }

    #[test]
    fn ids_sort_as_they_were_made_whatever_their_partitions() {
        let made: Vec<_> = (0..500)
            .map(|ms| WorkflowId::new(uuid(ms, 500 - ms), "acme", Some(&ms.to_string())))
            .collect();
        assert!(made.is_sorted());
    }

    #[test]
    fn a_request_s_partition_never_changes() {
        // It is in the ids of everything that is kept.
        assert_eq!(slot_of_request("acme", "order-1"), 242);
        assert_ne!(slot_of_request("acme", "order-1"), slot_of_request("acmeo", "rder-1"));
    }
}
