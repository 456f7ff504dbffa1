//! What a person answers, where a script has them answer: a message of theirs that quotes ours.

use dispatch_contract::{Receipt, Report, Status};
use uuid::Uuid;

use crate::seed::Seed;

/// What they write. No word by which messages are ended or begun again.
pub(crate) const TEXT: &str = "Thank you.";

/// The provider's id of the answer that `receipt` tells of; the same however often that comes. `None` where it tells of
/// no answer.
pub(crate) fn id(seed: Seed, receipt: &Receipt) -> Option<Uuid> {
    let Receipt { provider_id, report, provider_time, .. } = receipt;
    let parts = ["reply", provider_id.as_deref()?];
    (*report == Report::Reached(Status::Replied))
        .then(|| seed.id(provider_time.unwrap_or_default().0, &parts))
}
