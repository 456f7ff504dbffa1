//! WhatsApp Business: text, files, places and templates to a phone number, or to the id that WhatsApp gave a person.
//!
//! Within 24 h of the person's own message anything may be sent; before and after that only a
//! template that WhatsApp approved. Whether the window is open only the provider knows, so it is
//! not checked here.

use dispatch_contract::{
    AddressForm, AddressPattern, Capabilities, Content, ContentKind, Correlation, Endpoint, Field,
    Limits, Message, Status, Violation, is_blank,
};

mod adapter;
mod options;

pub use adapter::WhatsAppAdapter;
pub use options::{PARAMETER_NAMES, WhatsAppOptions, WhatsAppPolicy};

/// Characters of a template's body with its blanks filled in, so that no parameter can have more.
const BODY_CHARS: usize = 1_024;

/// A person as a business knows them whose number WhatsApp does not show: a business-scoped user id. `ENT.`
/// stands in that which the businesses of one parent share.
static PERSON: AddressPattern = AddressPattern {
    name: "whatsapp_user",
    wanted: "an id that WhatsApp gave the person: two capital letters, a period, perhaps ENT. and up to 128 letters and digits",
    admits: |endpoint| matches!(endpoint, Endpoint::Id(id) if is_person(id)),
};

fn is_person(id: &str) -> bool {
    let Some((country, person)) = id.split_once('.') else { return false };
    let person = person.strip_prefix("ENT.").unwrap_or(person);
    country.len() == 2
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && (1..=128).contains(&person.len())
        && person.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// What WhatsApp can do at most, through any provider; a provider may do less. Idempotence, correlation by our
/// id and recall are a provider's to promise, and are not among it. People may turn read receipts off:
/// `read` then never comes, and a rule that waits for it fails over. `replied` is who quotes the message, or taps a
/// button under it: who writes back without that has answered nothing that anybody could name.
pub fn capabilities() -> Capabilities {
    use ContentKind::{Audio, Code, Custom, File, Image, Location, Template, Text, Video};

    Capabilities {
        condition_statuses: vec![
            Status::Submitted,
            Status::Delivered,
            Status::Read,
            Status::Replied,
        ],
        content: vec![Text, Image, Audio, Video, File, Location, Template, Code, Custom],
        captions: vec![Image, Video, File],
        // As the Messages API has them.
        limits: Limits { text_chars: 4_096, caption_chars: 3_000, url_bytes: 2_000 },
        to: vec![AddressForm::E164, AddressForm::Pattern(&PERSON)],
        from: vec![AddressForm::E164],
        idempotent_for: None,
        correlation: Correlation::ProviderId,
        options: options::FORM,
        recall: false,
        parts: false,
        watermarks: false,
        ids_name_recipients: false,
    }
}

/// Adds what is wrong with a message beyond the capabilities: a template needs a language where the provider
/// asks for it apart from the template, and its
/// parameters the form that WhatsApp takes them in; a code goes out in a template of its own, and to numbers alone.
pub(crate) fn rules(can: &Capabilities, message: &Message, found: &mut Vec<Violation>) {
    if let Content::Template { parameters, .. } = &message.content {
        for (index, text) in parameters.iter().enumerate() {
            if let Some(problem) = wrong_parameter(text) {
                found.push(Violation::new(Field::Parameter(index), problem));
            }
        }
    }
    let Some(options) = message.options.read::<WhatsAppOptions>() else { return };
    let mut wrong = |field, problem| found.push(Violation::new(field, problem));
    let is_code = matches!(message.content, Content::Code { .. });
    let is_template = is_code || matches!(message.content, Content::Template { .. });
    if is_code && matches!(&message.to, Endpoint::Id(id) if is_person(id)) {
        wrong(Field::To, "must be a number: WhatsApp takes authentication templates to no id");
    }
    let asks_for_language = can.options.0.iter().any(|field| field.path == "locale");
    if is_template && asks_for_language && options.locale.is_none() {
        wrong(Field::Option("locale"), "must name the template's language, such as en-GB");
    }
    if options.file_name.is_some() && message.content.kind() != ContentKind::File {
        wrong(Field::Option("file_name"), "belongs to a file; leave it out");
    }
    if let Some(names) = &options.parameter_names {
        let fit = matches!(&message.content, Content::Template { parameters, .. } if parameters.len() == names.len());
        if !fit {
            wrong(
                Field::Option("parameter_names"),
                "must have a name for each parameter of the template",
            );
        }
    }
    match (&options.code_template, &message.content) {
        (None, Content::Code { .. }) => wrong(
            Field::Option("code_template"),
            "must name the authentication template that carries the code",
        ),
        (Some(_), Content::Code { text: Some(_), .. }) => wrong(
            Field::Within("code.text"),
            "must be left out: the sentence is the authentication template's",
        ),
        (Some(_), _) if !is_code => {
            wrong(Field::Option("code_template"), "belongs to a code; leave it out");
        }
        (None | Some(_), _) => {}
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
