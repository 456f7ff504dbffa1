//! SMS: plain text to a phone number.
//!
//! Receipts end at `delivered`: a phone does not tell that a text was read. Some carriers never
//! send one, so a rule that waits for `delivered` may fail over although the text arrived.

use dispatch_contract::{AddressForm, Capabilities, ContentKind, Echo, Limits, Status};

pub mod vonage;

/// What SMS can do through any of this crate's providers.
pub fn capabilities() -> Capabilities {
    Capabilities {
        condition_statuses: vec![Status::Submitted, Status::Delivered],
        content: vec![ContentKind::Text],
        captions: vec![],
        // 1,000 characters (Messages API v0.1 and v1) go out as up to 7 GSM or 15 UCS-2 segments.
        limits: Limits { text_chars: 1_000, caption_chars: 0, url_bytes: 0 },
        to: vec![AddressForm::E164],
        from: vec![AddressForm::E164, AddressForm::ShortCode, AddressForm::Alphanumeric],
        idempotent_for: None,
        echo: Echo::AttemptId,
        recall: false,
        batch: 1,
    }
}
