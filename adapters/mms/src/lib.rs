//! MMS: text, pictures, sounds and films to a phone number, mostly in the USA.
//!
//! Receipts end at `delivered`, as with SMS, and are rarer.

use dispatch_contract::{AddressForm, Capabilities, ContentKind, Echo, Limits, Status};

pub mod vonage;

/// What MMS can do through any of this crate's providers.
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
        echo: Echo::AttemptId,
        recall: false,
        batch: 1,
    }
}
