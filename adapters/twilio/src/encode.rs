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
    let code_template =
        || message.options.read::<WhatsAppOptions>().and_then(|options| options.code_template);
    match &message.content {
        Content::Template { name, parameters } => template(name, parameters, fields),
        Content::Code { code, .. } if message.channel == Channel::WHATSAPP => {
            // That it is there was checked when the workflow was created.
            let name = code_template().unwrap_or_default();
            template(&name, std::slice::from_ref(code), fields);
        }
        Content::Image(media)
        | Content::Audio(media)
        | Content::Video(media)
        | Content::File(media) => {
            fields.extend(media.caption.iter().map(|caption| ("Body", caption.clone())));
            fields.push(("MediaUrl", media.url.clone()));
        }
        Content::Text(_) | Content::Code { .. } | Content::Location { .. } | Content::Custom(_) => {
            fields.extend(message.content.spoken().map(|text| ("Body", text.into_owned())));
            if message.channel == Channel::MMS {
                // Without a file it would go out as SMS.
                fields.push(("SendAsMms", "true".to_owned()));
            }
        }
    }
}

/// The template's blanks are numbered from 1.
fn template(name: &str, parameters: &[String], fields: &mut Vec<(&str, String)>) {
    fields.push(("ContentSid", name.to_owned()));
    if !parameters.is_empty() {
        let numbered = (1..).zip(parameters);
        let variables: Map<_, _> = numbered
            .map(|(number, text)| (number.to_string(), Value::String(text.clone())))
            .collect();
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
