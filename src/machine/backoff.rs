//! How long to wait before the next try.

use super::{PolicySnapshot, WorkflowId};

/// The delay before the call after `call`, in milliseconds: it doubles from `retry_base_ms` up to
/// `retry_max_ms`, and lies between half of that and the whole.
///
/// The jitter is a function of the workflow, the attempt and the call, not of chance: a replay
/// waits as long as the original did, and workflows that failed together do not return together.
pub fn retry_delay(policy: &PolicySnapshot, id: WorkflowId, attempt: u16, call: u16) -> u64 {
    let doublings = u32::from(call.saturating_sub(1)).min(32);
    let whole = policy.retry_base_ms.saturating_mul(1 << doublings).min(policy.retry_max_ms).max(1);
    let half = whole / 2;
    let seed = id.0.as_u128() as u64 ^ (u64::from(attempt) << 16) ^ u64::from(call);
    // Never nothing: a retry at the same instant would be a loop.
    (half + scatter(seed) % (whole - half + 1)).max(1)
}

/// Spreads neighbouring numbers over the whole range (the finaliser of SplitMix64).
fn scatter(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
