//! Viber Business Messages: text, a picture or a file from a service to a phone number.
//!
//! Not Viber's public bot API, which reaches only people who subscribed to a bot, by an id of its
//! own. The first message to a person has to be of category `transaction`; whether one is the first
//! only the provider knows.

use dispatch_contract::{
    Action, AddressForm, Capabilities, ContentKind, Correlation, Field, Limits, Media, Message,
    Status, UrlRules, Violation, check_url, has_control, is_blank,
};

mod adapter;

pub use adapter::ViberAdapter;

const TTL: Field = Field::Options("viber_service_msg.ttl");
const ACTION: Field = Field::Options("viber_service_msg.action");
const ACTION_URL: Field = Field::Options("viber_service_msg.action.url");
const ACTION_TEXT: Field = Field::Options("viber_service_msg.action.text");

/// Seconds; Messages API v0.1 (0.4.0) and v1. The old Dispatch API stopped at 86,400.
const TTL_S: std::ops::RangeInclusive<u32> = 30..=259_200;

/// Characters on a button; Messages API v1.
const ACTION_TEXT_CHARS: usize = 30;

/// Bytes of a URL. The Messages API v1 gives none for a button's, so it is that of the files'.
const URL_BYTES: u32 = 2_000;

/// What Viber can do at most, through any provider; a provider may do less. Idempotence, correlation by our
/// id and recall are a provider's to promise, and are not among it.
///
/// No video: it needs a preview picture, a length and a size, which a message here does not have.
pub fn capabilities() -> Capabilities {
    use ContentKind::{File, Image, Text};

    Capabilities {
        condition_statuses: vec![Status::Submitted, Status::Delivered, Status::Read],
        content: vec![Text, Image, File],
        captions: vec![Image],
        // A caption is the text of its message, so it gets a text's limit.
        limits: Limits { text_chars: 1_000, caption_chars: 1_000, url_bytes: URL_BYTES },
        to: vec![AddressForm::E164],
        from: vec![AddressForm::Id],
        idempotent_for: None,
        correlation: Correlation::ProviderId,
        recall: false,
        batch: 1,
    }
}

/// Adds what is wrong with a message beyond the capabilities: the time to live and the button.
pub(crate) fn rules(message: &Message, found: &mut Vec<Violation>) {
    let Some(options) = &message.options.viber else { return };
    if options.ttl_s.is_some_and(|ttl_s| !TTL_S.contains(&ttl_s)) {
        let problem = format!("must be {} to {} seconds", TTL_S.start(), TTL_S.end());
        found.push(Violation::new(TTL, problem));
    }
    if let Some(action) = &options.action {
        button(action, message, found);
    }
}

fn button(action: &Action, message: &Message, found: &mut Vec<Violation>) {
    let mut wrong = |field, problem: String| found.push(Violation::new(field, problem));
    match message.content.kind() {
        ContentKind::Text => {}
        ContentKind::Image => {
            let caption =
                message.content.media().and_then(|Media { caption, .. }| caption.as_ref());
            if caption.is_none() {
                let field = Field::Within("image.caption");
                wrong(field, "must be given where the picture has a button".to_owned());
            }
        }
        ContentKind::Audio
        | ContentKind::Video
        | ContentKind::File
        | ContentKind::Location
        | ContentKind::Template
        | ContentKind::Custom => {
            wrong(ACTION, "stands under text or image only; leave it out".to_owned());
        }
    }
    let fits = (1..=ACTION_TEXT_CHARS).contains(&action.text.chars().count());
    if !fits || is_blank(&action.text) || has_control(&action.text) {
        let wanted = "must have 1 to 30 characters, something to read and no control characters";
        wrong(ACTION_TEXT, wanted.to_owned());
    }
    let rules = UrlRules { most_bytes: URL_BYTES as usize, ..UrlRules::PUBLIC };
    if let Err(problem) = check_url(&action.url, rules) {
        wrong(ACTION_URL, problem.to_string());
    }
}
