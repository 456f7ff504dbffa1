//! Viber Business Messages: text, a picture, a film or a file from a service to a phone number.
//!
//! Not Viber's public bot API, which reaches only people who subscribed to a bot, by an id of its
//! own. The first message to a person has to be of category `transaction`; whether one is the first
//! only the provider knows.

use dispatch_contract::{
    AddressForm, Capabilities, ContentKind, Correlation, Field, Limits, Message, Status, Violation,
};

mod adapter;
mod options;

pub use adapter::ViberAdapter;
pub use options::{ViberAction, ViberCategory, ViberOptions, ViberVideo};

/// Bytes of a URL. The Messages API v1 gives none for a button's, so it is that of the files'.
const URL_BYTES: u32 = 2_000;

/// What Viber can do at most, through any provider; a provider may do less. Idempotence, correlation by our
/// id and recall are a provider's to promise, and are not among it.
pub fn capabilities() -> Capabilities {
    use ContentKind::{Code, File, Image, Text, Video};

    Capabilities {
        condition_statuses: vec![Status::Submitted, Status::Delivered, Status::Read],
        content: vec![Text, Image, Video, File, Code],
        captions: vec![Image, Video],
        // A caption is the text of its message, so it gets a text's limit.
        limits: Limits { text_chars: 1_000, caption_chars: 1_000, url_bytes: URL_BYTES },
        to: vec![AddressForm::E164],
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

/// Adds what is wrong with a message beyond the capabilities: a button where none stands, a film without
/// what Viber has to know of it, and what belongs to content of another kind.
pub(crate) fn rules(message: &Message, found: &mut Vec<Violation>) {
    let Some(options) = message.options.read::<ViberOptions>() else { return };
    let mut wrong = |field, problem| found.push(Violation::new(Field::Option(field), problem));
    let is = |kind| message.content.kind() == kind;
    match &options.video {
        None if is(ContentKind::Video) => {
            wrong("video", "must be given with a video: its preview, its length and its size");
        }
        Some(_) if !is(ContentKind::Video) => wrong("video", "belongs to a video; leave it out"),
        None | Some(_) => {}
    }
    if options.file_name.is_some() && !is(ContentKind::File) {
        wrong("file_name", "belongs to a file; leave it out");
    }
    if options.action.is_some() {
        button(message, found);
    }
}

/// A button stands under a text, or under a picture with a caption.
fn button(message: &Message, found: &mut Vec<Violation>) {
    let has_caption = message.content.media().is_some_and(|media| media.caption.is_some());
    let mut wrong = |field, problem| found.push(Violation::new(field, problem));
    match message.content.kind() {
        ContentKind::Text | ContentKind::Code => {}
        ContentKind::Image if has_caption => {}
        ContentKind::Image => {
            wrong(Field::Within("image.caption"), "must be given where the picture has a button");
        }
        ContentKind::Audio
        | ContentKind::Video
        | ContentKind::File
        | ContentKind::Location
        | ContentKind::Template
        | ContentKind::Custom => {
            wrong(Field::Option("action"), "stands under text or image only; leave it out");
        }
    }
}
