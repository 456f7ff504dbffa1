//! MMS: text, pictures, sounds and films to a phone number, mostly in the USA.
//!
//! Receipts end at `delivered`, as with SMS, and are rarer.

use dispatch_contract::{AddressForm, Capabilities, ContentKind, Correlation, Limits, Status};

mod adapter;
mod options;

pub use adapter::MmsAdapter;
pub use options::MmsOptions;

/// What MMS can do at most, through any provider; a provider may do less. Idempotence, correlation by our
/// id and recall are a provider's to promise, and are not among it.
pub fn capabilities() -> Capabilities {
    use ContentKind::{Audio, Code, File, Image, Text, Video};

    Capabilities {
        condition_statuses: vec![Status::Submitted, Status::Delivered],
        content: vec![Text, Image, Audio, Video, File, Code],
        captions: vec![Image, Audio, Video, File],
        // Captions as the Messages API v1 has them. It gives no limit for MMS text and for URLs, so
        // these two are the general ones of the Messages API v0.1.
        limits: Limits { text_chars: 4_096, caption_chars: 3_000, url_bytes: 2_000 },
        to: vec![AddressForm::E164],
        from: vec![AddressForm::E164, AddressForm::ShortCode],
        idempotent_for: None,
        correlation: Correlation::ProviderId,
        options: options::FORM,
        recall: false,
        parts: false,
        watermarks: false,
        ids_name_recipients: false,
    }
}
