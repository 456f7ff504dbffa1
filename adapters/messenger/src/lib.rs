//! Facebook Messenger: text and files from a page to a person who wrote to it.
//!
//! People and pages have ids that Facebook gave out; a phone number reaches nobody here. A page may
//! answer for 24 h after the person's own message, and later only under a message tag.

use dispatch_contract::{
    AddressForm, Capabilities, ContentKind, Correlation, Field, Limits, Message, Status,
    UnixMillis, Violation,
};

mod adapter;
mod options;

pub use adapter::MessengerAdapter;
pub use options::{MessengerCategory, MessengerOptions};

const TAG: Field = Field::Option("tag");

/// A message tag that Messenger stops taking.
struct Retired {
    tag: &'static str,
    /// From when on, and how people write that day.
    from: UnixMillis,
    day: &'static str,
    /// What does its work instead.
    instead: &'static str,
}

/// The tags that Messenger gave up, and what is left: a person's own answer, or another channel.
const RETIRED: [Retired; 3] = [
    Retired { tag: "CONFIRMED_EVENT_UPDATE", ..NOTICE },
    Retired { tag: "ACCOUNT_UPDATE", ..NOTICE },
    Retired { tag: "POST_PURCHASE_UPDATE", ..NOTICE },
];
/// All three went on one day.
const NOTICE: Retired = Retired {
    tag: "",
    from: UnixMillis(1_777_248_000_000),
    day: "2026-04-27",
    instead: "send within 24 h of the person's own message with category response, use HUMAN_AGENT for \
              what a person answers within 7 days, or another channel",
};

/// What Messenger can do at most, through any provider; a provider may do less. Idempotence, correlation by our
/// id and recall are a provider's to promise, and are not among it.
pub fn capabilities() -> Capabilities {
    use ContentKind::{Audio, Code, File, Image, Text, Video};

    Capabilities {
        condition_statuses: vec![Status::Submitted, Status::Delivered, Status::Read],
        content: vec![Text, Image, Audio, Video, File, Code],
        captions: vec![],
        // Text as Messenger itself takes it, URLs as the old Dispatch API.
        limits: Limits { text_chars: 2_000, caption_chars: 0, url_bytes: 2_000 },
        to: vec![AddressForm::Id],
        from: vec![AddressForm::Id],
        idempotent_for: None,
        correlation: Correlation::ProviderId,
        options: options::FORM,
        recall: false,
        parts: false,
        watermarks: false,
        ids_name_recipients: false,
    }
}

/// Adds what is wrong with a message beyond the capabilities: a tag is given exactly when the
/// category is `message_tag`.
///
/// Which tags there are is not checked, because Facebook changes the list; only what no tag is made of,
/// and those that it has retired by `now`, are refused.
pub(crate) fn rules(message: &Message, now: UnixMillis, found: &mut Vec<Violation>) {
    let Some(MessengerOptions { category, tag }) = message.options.read() else { return };
    let (category, tag) = (category.unwrap_or_default(), tag.as_deref());
    match category {
        MessengerCategory::MessageTag if tag.is_none_or(str::is_empty) => {
            found.push(Violation::new(TAG, "must name a message tag with category message_tag"));
        }
        MessengerCategory::Response | MessengerCategory::Update if tag.is_some() => {
            found.push(Violation::new(TAG, "belongs to category message_tag; leave it out"));
        }
        MessengerCategory::MessageTag | MessengerCategory::Response | MessengerCategory::Update => {
        }
    }
    if let Some(Retired { from, day, instead, .. }) = tag.and_then(retired)
        && *from <= now
    {
        let problem = format!("is refused by Messenger since {day}: {instead}");
        found.push(Violation::new(TAG, problem));
    }
}

/// Adds what Messenger takes at `now`, and will not much longer.
pub(crate) fn warnings(message: &Message, now: UnixMillis, found: &mut Vec<Violation>) {
    let tag = message.options.read().and_then(|options: MessengerOptions| options.tag);
    if let Some(Retired { from, day, instead, .. }) = tag.as_deref().and_then(retired)
        && *from > now
    {
        let problem = format!("will be refused by Messenger from {day} on: {instead}");
        found.push(Violation::new(TAG, problem));
    }
}

fn retired(tag: &str) -> Option<&'static Retired> {
    RETIRED.iter().find(|retired| retired.tag == tag)
}
