//! What keeps personal data: the header of a file of keys, and sealed bytes.

use dispatch::{
    fuzzing::{key_header, key_header_again, seal, unpacked, unseal},
    machine::WorkflowId,
};
use uuid::Uuid;

const WORKFLOW: WorkflowId = WorkflowId(Uuid::from_u128(1));
const ANOTHER: WorkflowId = WorkflowId(Uuid::from_u128(2));

/// The first byte chooses what the rest is: a file, the fields of a header, sealed bytes, what they hold, or a
/// text.
pub fn keys(data: &[u8]) {
    let [choice, rest @ ..] = data else { return };
    match choice % 5 {
        0 => header(rest),
        1 => {
            let Some((fields, sealed)) = rest.split_first_chunk() else { return };
            header(&key_header(fields, &sealed[..sealed.len().min(usize::from(u16::MAX))]));
        }
        2 => assert!(unseal(WORKFLOW, rest).is_err(), "nobody sealed it"),
        3 => {
            if let Ok(text) = unpacked(rest) {
                round(&text);
            }
        }
        _ => round(rest),
    }
}

fn header(file: &[u8]) {
    if let Some(again) = key_header_again(file) {
        assert_eq!(key_header_again(&again), Some(again.clone()), "an equal header");
        let mut torn = again;
        torn[20] ^= 1;
        assert_eq!(key_header_again(&torn), None, "one copy alone, and that is torn");
    }
}

fn round(text: &[u8]) {
    let Ok(mut sealed) = seal(WORKFLOW, text) else { return };
    assert_eq!(unseal(WORKFLOW, &sealed).as_deref(), Ok(text));
    assert!(unseal(ANOTHER, &sealed).is_err(), "it is another's");
    assert!(sealed.len() <= text.len() + 18, "never longer than as it is");
    let at = text.first().map_or(0, |it| usize::from(*it)) % sealed.len();
    sealed[at] ^= 1;
    assert!(unseal(WORKFLOW, &sealed).is_err(), "a bit of it is another");
}
