//! RCS Business Messaging: text, files and cards from a registered sender to a phone number.
//!
//! Whether a phone and its carrier take RCS at all only the provider knows, so it is not checked here: where
//! they do not, the message is rejected, and the next step starts.

use dispatch_contract::{
    AddressForm, AddressPattern, Capabilities, ContentKind, Correlation, Endpoint, Limits, Status,
};

mod adapter;
mod options;

pub use adapter::RcsAdapter;
pub use options::{RcsCategory, RcsOptions};

/// The sender that a provider registered. The Messages API v1 wants it letter by letter, and no blank in it.
static SENDER: AddressPattern = AddressPattern {
    name: "rcs_sender",
    wanted: "an id: the registered sender, 1 to 50 ASCII letters, digits, - _ and .",
    admits: |endpoint| {
        let is_part = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        matches!(endpoint, Endpoint::Id(id) if (1..=50).contains(&id.len()) && id.bytes().all(is_part))
    },
};

/// What RCS can do at most, through any provider; a provider may do less. Idempotence, correlation by our
/// id and recall are a provider's to promise, and are not among it. People may turn read receipts off:
/// `read` then never comes, and a rule that waits for it fails over.
///
/// Cards, buttons and suggestions are custom content.
pub fn capabilities() -> Capabilities {
    use ContentKind::{Code, Custom, File, Image, Text, Video};

    Capabilities {
        condition_statuses: vec![Status::Submitted, Status::Delivered, Status::Read],
        content: vec![Text, Image, Video, File, Code, Custom],
        captions: vec![],
        // Text as the Messages API v1 has it, which bounds no URL.
        limits: Limits { text_chars: 3_072, caption_chars: 0, url_bytes: 2_000 },
        to: vec![AddressForm::E164],
        from: vec![AddressForm::Pattern(&SENDER)],
        idempotent_for: None,
        correlation: Correlation::ProviderId,
        options: options::FORM,
        recall: false,
        parts: false,
        watermarks: false,
        ids_name_recipients: false,
    }
}
