//! The body of `POST /v1/messages`: one message of the Messages API, and others to fall back to.
//!
//! There, failover follows a rejection and nothing else. Here a message may add `expiry_time` and
//! `condition_status`, which mean what they mean in a Dispatch workflow; without them it keeps the
//! Messages API's meaning. A `ttl` goes to the provider, and where another message follows it is the
//! time in which this one must be delivered.

use prost_types::Duration;
use serde_json::Value;
use tonic_types::FieldViolation;

use super::{
    InvalidParameter,
    asked::{Asked, EXPIRY_S, is_bounded, rule, webhook_url},
    content,
    names::{self, StepPath},
    notes::Notes,
    place::Place,
};
use crate::{
    pb::v1::{
        Address, Failover, Message, MmsOptions, Step as SpecStep, WorkflowSpec, address::Endpoint,
    },
    store::ApiDialect,
};

/// How long a message waits for its first acceptance at most, in seconds; see `PolicySnapshot`.
const SEND_WITHIN_S: i64 = 15 * 60;

/// The keys of a message, beside those of its content.
const KEYS: [&str; 16] = [
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
    "context",
    "failover",
    "expiry_time",
    "condition_status",
];

/// What a body asks for, as far as it can be read.
pub(super) fn asked(body: &Value, notes: &mut Notes) -> Option<Asked> {
    let first = Place::body(body, notes)?;
    let others = first.items("failover", notes);
    if others.is_some_and(<[Value]>::is_empty) {
        notes.wrong("failover", "must hold at least one message, or be left out");
    }
    let others = others.unwrap_or_default();
    if !is_bounded("failover", others.len() + 1, notes) {
        return None;
    }
    let mut places = vec![first.clone()];
    for (index, item) in others.iter().enumerate() {
        let place = Place::at(item, format!("failover[{index}]"), notes)?;
        if place.get("failover").is_some() {
            let wanted = "must not be given within failover: the messages stand in one list";
            notes.wrong(place.name("failover"), wanted);
        }
        places.push(place);
    }
    let last = places.len() - 1;
    let numbered = places.iter().enumerate();
    let steps: Vec<_> = numbered.map(|(index, place)| step(place, index == last, notes)).collect();
    let client_ref = first.text("client_ref", notes).unwrap_or_default().to_owned();
    let url = webhook_url(&first, notes);
    for place in places.iter().skip(1) {
        for key in ["client_ref", "webhook_url", "webhook_version"] {
            let usual = (key == "webhook_version").then_some("v1");
            let stands = first.get(key).and_then(Value::as_str).or(usual);
            let other = place.text(key, notes);
            if other.is_some() && other != stands {
                notes.bent(&place.name(key), "was left out: the first message's stands for all");
            }
        }
    }
    let versions = [("v1", ApiDialect::MessagesV1), ("v0.1", ApiDialect::MessagesV01)];
    let facade = first.one_of("webhook_version", &versions, notes);
    let send_within = send_within(&steps);
    let spec = WorkflowSpec { steps, client_ref, send_within, ..WorkflowSpec::default() };
    Some(Asked { spec, webhook_url: url, facade })
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
    sms.or(mms).or(viber)
}

fn step(place: &Place<'_>, is_last: bool, notes: &mut Notes) -> SpecStep {
    place.only(&[&KEYS[..], &content::KINDS].concat(), notes);
    place.without_effect(&["context"], notes);
    let named = place.text("channel", notes).unwrap_or_default();
    let channel = match named {
        "viber_service" => "viber_service_msg",
        "viber_service_msg" => {
            notes.bent(&place.name("channel"), "names Viber; write viber_service");
            named
        }
        _ => named,
    };
    let is_id = |key: &str| match channel {
        "messenger" => true,
        "viber_service_msg" => key == "from",
        _ => false,
    };
    let mut address = |key: &str| {
        let value = place.id(key, notes)?;
        let endpoint = if is_id(key) { Endpoint::Id(value) } else { Endpoint::Number(value) };
        Some(Address { channel: channel.to_owned(), endpoint: Some(endpoint) })
    };
    // Without a recipient the channel would not be judged.
    let nobody = || Address { channel: channel.to_owned(), endpoint: None };
    let (from, to) = (address("from"), address("to").unwrap_or_else(nobody));
    // Viber's stands among its options.
    let ttl_s = match channel {
        "sms" | "mms" => place.seconds("ttl", None, notes),
        _ => {
            place.without_effect(&["ttl"], notes);
            None
        }
    };
    let mut sms = content::sms(place, notes);
    if let ("sms", Some(ttl_s)) = (channel, ttl_s) {
        sms.get_or_insert_default().ttl = Some(content::seconds(ttl_s));
    }
    let mms = ttl_s.filter(|_| channel == "mms");
    let message = Message {
        content: content::content(place, "message_type", notes),
        sms,
        mms: mms.map(|ttl_s| MmsOptions { ttl: Some(content::seconds(ttl_s)) }),
        messenger: content::messenger(place, notes),
        whatsapp: content::whatsapp(place, notes),
        viber_service_msg: content::viber(place, "viber_service", notes),
    };
    let failover = failover(place, channel, ttl(&message), is_last, notes);
    SpecStep { sender: from, recipient: Some(to), message: Some(message), failover }
}

/// When the next message is sent; nothing follows the last.
fn failover(
    place: &Place<'_>,
    channel: &str,
    ttl: Option<Duration>,
    is_last: bool,
    notes: &mut Notes,
) -> Option<Failover> {
    if is_last {
        for key in ["expiry_time", "condition_status"] {
            if place.get(key).is_some() {
                let wanted = "must not be given on the last message: nothing follows it";
                notes.wrong(place.name(key), wanted);
            }
        }
        return None;
    }
    let expiry_s = place.seconds("expiry_time", Some(EXPIRY_S), notes);
    let ttl_s = ttl.and_then(|ttl| u64::try_from(ttl.seconds).ok());
    if let (Some(expiry_s), Some(ttl_s)) = (expiry_s, ttl_s)
        && ttl_s > expiry_s
    {
        let name = if channel == "viber_service_msg" { "viber_service.ttl" } else { "ttl" };
        let advice = "is longer than expiry_time; the provider is told what is left of that";
        notes.bent(&place.name(name), advice);
    }
    // A message that is not delivered within its ttl is rejected, and that is what failover follows in
    // the Messages API.
    let is_given = place.get("expiry_time").is_some();
    let expiry_s = expiry_s.or(ttl_s.filter(|_| !is_given));
    Some(rule(place, channel, expiry_s, "delivered", notes))
}

/// What the parser found, in the words of this API.
pub(super) fn parameter(found: &FieldViolation, spec: &WorkflowSpec) -> Option<InvalidParameter> {
    let name = match names::step(&found.field) {
        None => match found.field.as_str() {
            "steps" => "failover".to_owned(),
            "request_id" => "Idempotency-Key".to_owned(),
            other => other.to_owned(),
        },
        Some(StepPath { index, rest }) => {
            let message = spec.steps.get(index).and_then(|step| step.message.as_ref());
            // Content that could not be read was noted under its own name.
            if rest == "message" && message.is_some_and(|message| message.content.is_none()) {
                return None;
            }
            let within = within(rest);
            match index.checked_sub(1) {
                None => within,
                Some(index) => format!("failover[{index}].{within}"),
            }
        }
    };
    let reason = found.description.replace("viber_service_msg", "viber_service");
    Some(InvalidParameter { name, reason })
}

/// A path within a message.
fn within(path: &str) -> String {
    match path {
        "recipient.channel" | "sender.channel" => "channel".to_owned(),
        "recipient" => "to".to_owned(),
        "sender" => "from".to_owned(),
        "message" => "message_type".to_owned(),
        "message.sms.encoding" => "sms.encoding_type".to_owned(),
        "message.sms.ttl" | "message.mms.ttl" => "ttl".to_owned(),
        _ => {
            let path = path.strip_prefix("message.").unwrap_or(path);
            let path = path.strip_prefix("failover.").unwrap_or(path);
            path.replacen("viber_service_msg", "viber_service", 1)
        }
    }
}
