//! MMS: text, pictures, sounds and films to a phone number, mostly in the USA.
//!
//! Receipts end at `delivered`, as with SMS, and are rarer.

use dispatch_contract::{
    AddressForm, Capabilities, ContentKind, Correlation, Field, Limits, Message, Status, Violation,
};

mod adapter;

pub use adapter::MmsAdapter;

/// Seconds a carrier may be asked to try for; Messages API v1.
const TTL_S: std::ops::RangeInclusive<u32> = 300..=259_200;

/// What MMS can do at most, through any provider; a provider may do less. Idempotence, correlation by our
/// id and recall are a provider's to promise, and are not among it.
pub fn capabilities() -> Capabilities {
    use ContentKind::{Audio, File, Image, Text, Video};

    Capabilities {
        condition_statuses: vec![Status::Submitted, Status::Delivered],
        content: vec![Text, Image, Audio, Video, File],
        captions: vec![Image, Audio, Video, File],
        // Captions as the Messages API v1 has them. It gives no limit for MMS text and for URLs, so
        // these two are the general ones of the Messages API v0.1.
        limits: Limits { text_chars: 4_096, caption_chars: 3_000, url_bytes: 2_000 },
        to: vec![AddressForm::E164],
        from: vec![AddressForm::E164, AddressForm::ShortCode],
        idempotent_for: None,
        correlation: Correlation::ProviderId,
        recall: false,
        batch: 1,
    }
}

/// Adds what is wrong with a message beyond the capabilities: the time to live.
pub(crate) fn rules(message: &Message, found: &mut Vec<Violation>) {
    let ttl_s = message.options.mms.as_ref().and_then(|options| options.ttl_s);
    if ttl_s.is_some_and(|ttl_s| !TTL_S.contains(&ttl_s)) {
        let problem = format!("must be {} to {} seconds", TTL_S.start(), TTL_S.end());
        found.push(Violation::new(Field::Options("mms.ttl"), problem));
    }
}
