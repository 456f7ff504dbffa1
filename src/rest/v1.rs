//! The body of `POST /v1/messages`: one message of the Messages API, and others to fall back to.
//!
//! There, failover follows a rejection and nothing else. Here a message may add `expiry_time` and
//! `condition_status`, which mean what they mean in a Dispatch workflow; without them it keeps the
//! Messages API's meaning. A `ttl` goes to the provider, and where another message follows it is the
//! time in which this one must be delivered.

use dispatch_contract::Channel;
use prost_types::Duration;
use serde_json::Value;

use super::{
    InvalidParameter,
    asked::{Asked, EXPIRY_S, is_bounded, rule, webhook_url},
    content,
    diagnostics::Diagnostics,
    json_cursor::JsonCursor,
};
use crate::{
    api::{
        PathSegment::{self, Index, Key},
        Phrase, RequestViolation, path_behind,
    },
    pb::v1::{
        Address, Failover, Message, MmsOptions, Step as SpecStep, ViberServiceMsgOptions,
        WhatsAppOptions, WorkflowSpec, address::Endpoint,
    },
    store::ApiDialect,
};

/// How long a message waits for its first acceptance at most, in seconds; see `PolicySnapshot`.
const SEND_WITHIN_S: i64 = 15 * 60;

/// The keys of a message, beside those of its content.
const KEYS: [&str; 17] = [
    "channel",
    "message_type",
    "to",
    "from",
    "client_ref",
    "webhook_url",
    "webhook_version",
    "ttl",
    "sms",
    "messenger",
    "viber_service",
    "whatsapp",
    "rcs",
    "context",
    "failover",
    "expiry_time",
    "condition_status",
];

/// What a body asks for, as far as it can be read.
pub(super) fn asked(body: &Value, diagnostics: &mut Diagnostics) -> Option<Asked> {
    let first = JsonCursor::body(body, diagnostics)?;
    let others = first.items("failover", diagnostics);
    if others.is_some_and(<[Value]>::is_empty) {
        diagnostics.wrong("failover", "must hold at least one message, or be left out");
    }
    let others = others.unwrap_or_default();
    if !is_bounded("failover", others.len() + 1, diagnostics) {
        return None;
    }
    let mut cursors = vec![first.clone()];
    for (index, item) in others.iter().enumerate() {
        let cursor = JsonCursor::at(item, format!("failover[{index}]"), diagnostics)?;
        if cursor.get("failover").is_some() {
            let wanted = "must not be given within failover: the messages stand in one list";
            diagnostics.wrong(cursor.name("failover"), wanted);
        }
        cursors.push(cursor);
    }
    let last = cursors.len() - 1;
    let numbered = cursors.iter().enumerate();
    let steps: Vec<_> =
        numbered.map(|(index, cursor)| step(cursor, index == last, diagnostics)).collect();
    let client_ref = first.text("client_ref", diagnostics).unwrap_or_default().to_owned();
    let url = webhook_url(&first, diagnostics);
    for cursor in cursors.iter().skip(1) {
        for key in ["client_ref", "webhook_url", "webhook_version"] {
            let usual = (key == "webhook_version").then_some("v1");
            let stands = first.get(key).and_then(Value::as_str).or(usual);
            let other = cursor.text(key, diagnostics);
            if other.is_some() && other != stands {
                diagnostics
                    .coerced(&cursor.name(key), "was left out: the first message's stands for all");
            }
        }
    }
    let versions = [("v1", ApiDialect::MessagesV1), ("v0.1", ApiDialect::MessagesV01)];
    let dialect = first.one_of("webhook_version", &versions, diagnostics);
    let send_within = send_within(&steps);
    let spec = WorkflowSpec { steps, client_ref, send_within, ..WorkflowSpec::default() };
    Some(Asked { spec, webhook_url: url, dialect })
}

/// A message by itself that waited for as long as it would live is of no use any more.
fn send_within(steps: &[SpecStep]) -> Option<Duration> {
    let [alone] = steps else { return None };
    let ttl = ttl(alone.message.as_ref()?)?;
    (1..SEND_WITHIN_S).contains(&ttl.seconds).then_some(ttl)
}

/// How long the provider is to try.
fn ttl(message: &Message) -> Option<Duration> {
    let sms = message.sms.as_ref().and_then(|options| options.ttl);
    let mms = message.mms.as_ref().and_then(|options| options.ttl);
    let viber = message.viber_service_msg.as_ref().and_then(|options| options.ttl);
    let rcs = message.rcs.as_ref().and_then(|options| options.ttl);
    sms.or(mms).or(viber).or(rcs)
}

fn step(cursor: &JsonCursor<'_>, is_last: bool, diagnostics: &mut Diagnostics) -> SpecStep {
    cursor.only(&[&KEYS[..], &content::KINDS].concat(), diagnostics);
    let named = cursor.text("channel", diagnostics).unwrap_or_default();
    let channel = match named {
        "viber_service" => "viber_service_msg",
        "viber_service_msg" => {
            diagnostics.coerced(&cursor.name("channel"), "names Viber; write viber_service");
            named
        }
        _ => named,
    };
    let is_id = |key: &str, value: &str| match channel {
        "messenger" => true,
        // An id that WhatsApp gave a person begins with the letters of a country.
        "whatsapp" => key == "to" && value.starts_with(|c: char| c.is_ascii_alphabetic()),
        "viber_service_msg" | "rcs" => key == "from",
        _ => false,
    };
    let mut address = |key: &str| {
        let value = cursor.id(key, diagnostics)?;
        let endpoint =
            if is_id(key, &value) { Endpoint::Id(value) } else { Endpoint::Number(value) };
        Some(Address { channel: channel.to_owned(), endpoint: Some(endpoint) })
    };
    // Without a recipient the channel would not be judged.
    let nobody = || Address { channel: channel.to_owned(), endpoint: None };
    let (from, to) = (address("from"), address("to").unwrap_or_else(nobody));
    // Viber's stands among its options.
    let ttl_s = match channel {
        "sms" | "mms" | "rcs" => cursor.seconds("ttl", None, diagnostics),
        _ => {
            cursor.without_effect(&["ttl"], diagnostics);
            None
        }
    };
    let mut sms = content::sms(cursor, diagnostics);
    if let ("sms", Some(ttl_s)) = (channel, ttl_s) {
        sms.get_or_insert_default().ttl = Some(content::seconds(ttl_s));
    }
    let mut rcs = content::rcs(cursor, diagnostics);
    if let ("rcs", Some(ttl_s)) = (channel, ttl_s) {
        rcs.get_or_insert_default().ttl = Some(content::seconds(ttl_s));
    }
    let mms = ttl_s.filter(|_| channel == "mms");
    let message = Message {
        content: content::content(cursor, "message_type", channel, diagnostics),
        sms,
        mms: mms.map(|ttl_s| MmsOptions { ttl: Some(content::seconds(ttl_s)) }),
        messenger: content::messenger(cursor, diagnostics),
        whatsapp: whatsapp(cursor, channel, diagnostics),
        viber_service_msg: viber(cursor, channel, diagnostics),
        rcs,
        options: None,
    };
    let failover = failover(cursor, channel, ttl(&message), is_last, diagnostics);
    SpecStep { sender: from, recipient: Some(to), message: Some(message), failover }
}

/// WhatsApp's options, some of which stand elsewhere in the message.
fn whatsapp(
    cursor: &JsonCursor<'_>,
    channel: &str,
    diagnostics: &mut Diagnostics,
) -> Option<WhatsAppOptions> {
    let mut options = content::whatsapp(cursor, diagnostics);
    if let Some(answered) = answered(cursor, channel, diagnostics) {
        options.get_or_insert_default().reply_to = answered;
    }
    if channel == "whatsapp"
        && let Some(name) = content::file_name(cursor, diagnostics)
    {
        options.get_or_insert_default().file_name = name;
    }
    options
}

/// Viber's options, some of which stand elsewhere in the message.
fn viber(
    cursor: &JsonCursor<'_>,
    channel: &str,
    diagnostics: &mut Diagnostics,
) -> Option<ViberServiceMsgOptions> {
    let mut options = content::viber(cursor, "viber_service", diagnostics);
    if channel != "viber_service_msg" {
        return options;
    }
    if let Some(name) = content::file_name(cursor, diagnostics) {
        options.get_or_insert_default().file_name = name;
    }
    if let Some(video) = content::viber_video(cursor, diagnostics) {
        options.get_or_insert_default().video = Some(video);
    }
    options
}

/// The message that is answered; WhatsApp alone quotes one.
fn answered(
    cursor: &JsonCursor<'_>,
    channel: &str,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    if channel != "whatsapp" {
        cursor.without_effect(&["context"], diagnostics);
        return None;
    }
    let context = cursor.object("context", diagnostics)?;
    context.only(&["message_uuid"], diagnostics);
    if context.get("message_uuid").is_none() {
        diagnostics
            .wrong(context.name("message_uuid"), "must be given: the message that is answered");
    }
    context.text("message_uuid", diagnostics).map(str::to_owned)
}

/// When the next message is sent; nothing follows the last.
fn failover(
    cursor: &JsonCursor<'_>,
    channel: &str,
    ttl: Option<Duration>,
    is_last: bool,
    diagnostics: &mut Diagnostics,
) -> Option<Failover> {
    if is_last {
        for key in ["expiry_time", "condition_status"] {
            if cursor.get(key).is_some() {
                let wanted = "must not be given on the last message: nothing follows it";
                diagnostics.wrong(cursor.name(key), wanted);
            }
        }
        return None;
    }
    let expiry_s = cursor.seconds("expiry_time", Some(EXPIRY_S), diagnostics);
    let ttl_s = ttl.and_then(|ttl| u64::try_from(ttl.seconds).ok());
    if let (Some(expiry_s), Some(ttl_s)) = (expiry_s, ttl_s)
        && ttl_s > expiry_s
    {
        let name = if channel == "viber_service_msg" { "viber_service.ttl" } else { "ttl" };
        let advice = "is longer than expiry_time; the provider is told what is left of that";
        diagnostics.coerced(&cursor.name(name), advice);
    }
    // A message that is not delivered within its ttl is rejected, and that is what failover follows in
    // the Messages API.
    let is_given = cursor.get("expiry_time").is_some();
    let expiry_s = expiry_s.or(ttl_s.filter(|_| !is_given));
    Some(rule(cursor, channel, expiry_s, "delivered", diagnostics))
}

/// What the parser found, in the words of this API.
pub(super) fn parameter(found: &RequestViolation, spec: &WorkflowSpec) -> Option<InvalidParameter> {
    let name = match found.field.segments() {
        [Key("steps")] => "failover".to_owned(),
        [Key("request_id")] => "Idempotency-Key".to_owned(),
        [Key("steps"), Index(index), rest @ ..] => {
            let message = spec.steps.get(*index).and_then(|step| step.message.as_ref());
            // Content that could not be read was noted under its own name.
            if rest == [Key("message")] && message.is_some_and(|it| it.content.is_none()) {
                return None;
            }
            let within = within(rest);
            match index.checked_sub(1) {
                None => within,
                Some(index) => format!("failover[{index}].{within}"),
            }
        }
        other => path_behind("", other),
    };
    let reason = found.wanted.written(|phrase| match phrase {
        Phrase::Channel(channel) if *channel == Channel::VIBER => Some("viber_service"),
        Phrase::Channel(_) | Phrase::Field(_) | Phrase::Text(_) => None,
    });
    Some(InvalidParameter { name, reason })
}

/// A path within a message.
fn within(path: &[PathSegment]) -> String {
    match path {
        [Key("recipient" | "sender"), Key("channel")] => "channel".to_owned(),
        [Key("recipient")] => "to".to_owned(),
        [Key("sender")] => "from".to_owned(),
        [Key("message")] => "message_type".to_owned(),
        [Key("message"), Key("sms"), Key("encoding")] => "sms.encoding_type".to_owned(),
        [Key("message"), Key("sms" | "mms" | "rcs"), Key("ttl")] => "ttl".to_owned(),
        [Key("message"), Key("viber_service_msg" | "whatsapp"), Key("file_name")] => {
            "file.name".to_owned()
        }
        [Key("message"), Key("whatsapp"), Key("reply_to")] => "context.message_uuid".to_owned(),
        [Key("message"), Key("viber_service_msg"), Key("video"), rest @ ..] => match rest {
            [Key("preview_url")] => "video.thumb_url".to_owned(),
            [Key("duration")] => "viber_service.duration".to_owned(),
            [Key("size_mb")] => "viber_service.file_size".to_owned(),
            _ => "viber_service".to_owned(),
        },
        [Key("message"), Key("viber_service_msg"), rest @ ..] => path_behind("viber_service", rest),
        [Key("message" | "failover"), rest @ ..] if !rest.is_empty() => path_behind("", rest),
        other => path_behind("", other),
    }
}
