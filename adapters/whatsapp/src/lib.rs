//! WhatsApp Business: text, files and templates to a phone number.
//!
//! Within 24 h of the person's own message anything may be sent; before and after that only a
//! template that WhatsApp approved. Whether the window is open only the provider knows, so it is
//! not checked here.

use dispatch_contract::{
    AddressForm, Capabilities, Content, ContentKind, Correlation, Field, Limits, Message, Status,
    Violation, is_blank,
};

mod adapter;

pub use adapter::WhatsAppAdapter;

const LOCALE: Field = Field::Options("whatsapp.locale");

/// Characters of a template's body with its blanks filled in, so that no parameter can have more.
const BODY_CHARS: usize = 1_024;

/// What WhatsApp can do at most, through any provider; a provider may do less. Idempotence, correlation by our
/// id and recall are a provider's to promise, and are not among it. People may turn read receipts off:
/// `read` then never comes, and a rule that waits for it fails over.
pub fn capabilities() -> Capabilities {
    use ContentKind::{Audio, Custom, File, Image, Template, Text, Video};

    Capabilities {
        condition_statuses: vec![Status::Submitted, Status::Delivered, Status::Read],
        content: vec![Text, Image, Audio, Video, File, Template, Custom],
        captions: vec![Image, Video, File],
        // As the Messages API has them.
        limits: Limits { text_chars: 4_096, caption_chars: 3_000, url_bytes: 2_000 },
        to: vec![AddressForm::E164],
        from: vec![AddressForm::E164],
        idempotent_for: None,
        correlation: Correlation::ProviderId,
        recall: false,
        batch: 1,
    }
}

/// Adds what is wrong with a message beyond the capabilities: a template needs a language, and its
/// parameters the form that WhatsApp takes them in.
pub(crate) fn rules(message: &Message, found: &mut Vec<Violation>) {
    if let Content::Template { parameters, .. } = &message.content {
        for (index, text) in parameters.iter().enumerate() {
            if let Some(problem) = wrong_parameter(text) {
                found.push(Violation::new(Field::Parameter(index), problem));
            }
        }
    }
    let locale = message.options.whatsapp.as_ref().and_then(|options| options.locale.as_deref());
    let is_template = matches!(message.content, Content::Template { .. });
    match locale {
        None if is_template => {
            found.push(Violation::new(LOCALE, "must name the template's language, such as en-GB"));
        }
        Some(locale) if !is_locale(locale) => {
            found.push(Violation::new(LOCALE, "must be a language tag, such as en-GB"));
        }
        None | Some(_) => {}
    }
}

/// WhatsApp refuses a send with one of these (its codes 131008, 132005 and 132018).
fn wrong_parameter(text: &str) -> Option<String> {
    let count = text.chars().count();
    if is_blank(text) {
        Some("must hold something to read: WhatsApp takes no empty parameter".to_owned())
    } else if count > BODY_CHARS {
        Some(format!("must have 1 to {BODY_CHARS} characters, and has {count}"))
    } else if text.contains(['\n', '\r', '\t']) {
        Some("must hold no line break and no tab; those belong into the template".to_owned())
    } else if text.contains("     ") {
        Some("must hold at most four blanks in a row".to_owned())
    } else {
        None
    }
}

/// BCP 47 as far as its alphabet, with WhatsApp's own underscore (`en_GB`); 35 characters hold every
/// tag that BCP 47 §4.4.1 asks for.
fn is_locale(text: &str) -> bool {
    (2..=35).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
