//! Facebook Messenger: text and files from a page to a person who wrote to it.
//!
//! People and pages have ids that Facebook gave out; a phone number reaches nobody here. A page may
//! answer for 24 h after the person's own message, and later only under a message tag.

use dispatch_contract::{
    AddressForm, Capabilities, ContentKind, Echo, Field, Limits, Message, MessengerCategory,
    Status, Violation,
};

pub mod vonage;

const TAG: Field = Field::Options("messenger.tag");

/// What Messenger can do through any of this crate's providers.
pub fn capabilities() -> Capabilities {
    use ContentKind::{Audio, File, Image, Text, Video};

    Capabilities {
        condition_statuses: vec![Status::Submitted, Status::Delivered, Status::Read],
        content: vec![Text, Image, Audio, Video, File],
        captions: vec![],
        // Text as the Messages API has it, URLs as the old Dispatch API.
        limits: Limits { text_chars: 640, caption_chars: 0, url_bytes: 2_000 },
        to: vec![AddressForm::Id],
        from: vec![AddressForm::Id],
        idempotent_for: None,
        echo: Echo::AttemptId,
        recall: false,
        batch: 1,
    }
}

/// Adds what is wrong with a message beyond the capabilities: a tag is given exactly when the
/// category is `message_tag`.
///
/// Which tags there are is not checked: Facebook changes the list.
pub fn rules(message: &Message, found: &mut Vec<Violation>) {
    let Some(options) = &message.options.messenger else { return };
    let tag = options.tag.as_deref();
    match options.category {
        MessengerCategory::MessageTag if tag.is_none_or(str::is_empty) => {
            found.push(Violation::new(TAG, "must name a message tag with category message_tag"));
        }
        MessengerCategory::Response | MessengerCategory::Update if tag.is_some() => {
            found.push(Violation::new(TAG, "belongs to category message_tag; leave it out"));
        }
        MessengerCategory::MessageTag | MessengerCategory::Response | MessengerCategory::Update => {
        }
    }
}
