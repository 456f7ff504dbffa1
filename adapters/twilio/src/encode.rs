//! Writes a message as a form for `Messages`.

use dispatch_contract::{Channel, Content, Endpoint, Message, SendContext};
use dispatch_whatsapp::WhatsAppOptions;
use serde_json::{Map, Value};

use super::{TwilioAccount, form, validity::validity_s};

/// Numbers of up to so many digits are short codes, and stand without a `+`.
const SHORT_CODE_DIGITS: usize = 6;

/// The field of the query in which a status webhook names our attempt.
pub(crate) const ATTEMPT: &str = "attempt";

/// The form that is posted for `message`, as it stands in the body.
pub fn encode(context: &SendContext<'_>, account: &TwilioAccount<'_>, message: &Message) -> String {
    let mut fields = vec![
        ("To", address(&message.channel, &message.to)),
        ("From", address(&message.channel, &message.from)),
    ];
    fields.extend(account.messaging_service_sid.map(|sid| ("MessagingServiceSid", sid.to_owned())));
    content(message, &mut fields);
    if let Some(seconds) = validity_s(context, message) {
        fields.push(("ValidityPeriod", seconds.to_string()));
    }
    if let Some(url) = context.callback_url {
        fields.push(("StatusCallback", status_url(url, context, account)));
    }
    form::encoded(&fields)
}

fn content(message: &Message, fields: &mut Vec<(&str, String)>) {
    let options = || message.options.read::<WhatsAppOptions>().unwrap_or_default();
    match &message.content {
        Content::Template { name, parameters } => {
            template(name, parameters, options().parameter_names, fields);
        }
        Content::Code { code, .. } if message.channel == Channel::WHATSAPP => {
            // That it is there was checked when the workflow was created.
            let name = options().code_template.unwrap_or_default();
            template(&name, std::slice::from_ref(code), None, fields);
        }
        Content::Image(media)
        | Content::Audio(media)
        | Content::Video(media)
        | Content::File(media) => {
            fields.extend(media.caption.iter().map(|caption| ("Body", caption.clone())));
            fields.push(("MediaUrl", media.url.clone()));
        }
        Content::Location { latitude, longitude, name, address } => {
            location((latitude, longitude), name.as_deref(), address.as_deref(), fields);
        }
        Content::Text(_) | Content::Code { .. } | Content::Custom(_) => {
            fields.extend(message.content.spoken().map(|text| ("Body", text.into_owned())));
            if message.channel == Channel::MMS {
                // Without a file it would go out as SMS.
                fields.push(("SendAsMms", "true".to_owned()));
            }
        }
    }
}

/// A place is shown on a map, with a text beneath that must be there, and a label.
fn location(
    (latitude, longitude): (&str, &str),
    name: Option<&str>,
    address: Option<&str>,
    fields: &mut Vec<(&str, String)>,
) {
    let degrees = format!("{latitude},{longitude}");
    fields.push(("Body", name.or(address).unwrap_or(&degrees).to_owned()));
    let label = address.or(name).map(|label| format!("|{label}")).unwrap_or_default();
    fields.push(("PersistentAction", format!("geo:{degrees}{label}")));
}

/// The template's blanks have names, or are numbered from 1.
fn template(
    name: &str,
    parameters: &[String],
    names: Option<Vec<String>>,
    fields: &mut Vec<(&str, String)>,
) {
    fields.push(("ContentSid", name.to_owned()));
    if !parameters.is_empty() {
        let names = names.unwrap_or_default().into_iter();
        let names = names.chain((1..).map(|number: u32| number.to_string()));
        let texts = parameters.iter().map(|text| Value::String(text.clone()));
        let variables: Map<_, _> = names.zip(texts).collect();
        fields.push(("ContentVariables", Value::Object(variables).to_string()));
    }
}

/// An address as Twilio writes it.
pub(crate) fn address(channel: &Channel, endpoint: &Endpoint) -> String {
    let address = match endpoint {
        Endpoint::Number(number) if is_phone_number(number) => format!("+{number}"),
        Endpoint::Number(text) | Endpoint::Id(text) => text.clone(),
    };
    match channel {
        _ if *channel == Channel::WHATSAPP => format!("whatsapp:{address}"),
        _ if *channel == Channel::RCS => format!("rcs:{address}"),
        _ => address,
    }
}

fn is_phone_number(text: &str) -> bool {
    text.len() > SHORT_CODE_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where statuses go: our URL, with our attempt in its query, and behind the `#`, which is never sent, how
/// Twilio repeats what is not taken.
fn status_url(url: &str, context: &SendContext<'_>, account: &TwilioAccount<'_>) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    let mut url = format!("{url}{separator}{ATTEMPT}={}", context.attempt);
    if !account.webhook_overrides.is_empty() {
        url.push('#');
        url.push_str(account.webhook_overrides);
    }
    url
}
