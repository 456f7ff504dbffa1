//! The body of `POST /v0.1/dispatch`, and of `POST /beta/workflows` before it; and of
//! `POST /v0.1/messages`, which is one step of it.

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
        Address, Failover, Message, Step as SpecStep, WorkflowSpec, WorkflowTemplate, address,
    },
};

/// What a body asks for, as far as it can be read.
pub(super) fn asked(body: &Value, diagnostics: &mut Diagnostics) -> Option<Asked> {
    let body = JsonCursor::body(body, diagnostics)?;
    body.only(&["template", "workflow", "client_ref", "webhook_url"], diagnostics);
    let template =
        body.one_of("template", &[("failover", WorkflowTemplate::Failover)], diagnostics);
    if body.get("template").is_none() {
        diagnostics.coerced("template", "is missing and was taken as failover; write it");
    }
    if body.get("workflow").is_none() {
        diagnostics.wrong("workflow", "must be given: the steps to try, 1 to 20 of them");
    }
    let mut items = body.items("workflow", diagnostics)?;
    // The old Node snippets had their callback function within the array.
    if let [steps @ .., Value::Null] = items
        && !steps.is_empty()
    {
        diagnostics.coerced(
            &format!("workflow[{}]", steps.len()),
            "is null and was left out; give the callback function after the array",
        );
        items = steps;
    }
    if !is_bounded("workflow", items.len(), diagnostics) {
        return None;
    }
    let last = items.len().saturating_sub(1);
    let numbered = items.iter().enumerate();
    let steps =
        numbered.map(|(index, item)| step(item, index, index == last, diagnostics)).collect();
    let spec = WorkflowSpec {
        template: template.unwrap_or_default() as i32,
        steps,
        client_ref: body.text("client_ref", diagnostics).unwrap_or_default().to_owned(),
        ..WorkflowSpec::default()
    };
    Some(Asked { spec, webhook_url: webhook_url(&body, diagnostics), dialect: None })
}

/// What the body of a single message asks for, as far as it can be read: a workflow of one step.
pub(super) fn message(body: &Value, diagnostics: &mut Diagnostics) -> Option<Asked> {
    let body = JsonCursor::body(body, diagnostics)?;
    body.only(&["from", "to", "message", "client_ref", "webhook_url"], diagnostics);
    let spec = WorkflowSpec {
        steps: vec![said(&body, None, diagnostics)],
        client_ref: body.text("client_ref", diagnostics).unwrap_or_default().to_owned(),
        ..WorkflowSpec::default()
    };
    Some(Asked { spec, webhook_url: webhook_url(&body, diagnostics), dialect: None })
}

fn step(item: &Value, index: usize, is_last: bool, diagnostics: &mut Diagnostics) -> SpecStep {
    let Some(step) = JsonCursor::at(item, format!("workflow[{index}]"), diagnostics) else {
        return SpecStep::default();
    };
    step.only(&["from", "to", "message", "failover"], diagnostics);
    said(&step, Some(is_last), diagnostics)
}

/// The step in `step`: one of a workflow, of which it is the last or not, or a message by itself.
fn said(step: &JsonCursor<'_>, is_last: Option<bool>, diagnostics: &mut Diagnostics) -> SpecStep {
    let mut from = endpoint(step, "from", diagnostics);
    let to = endpoint(step, "to", diagnostics);
    // Where the recipient has none it is asked for there, once.
    if let (Some(from), Some(to)) = (&mut from, &to)
        && to.channel.is_empty()
    {
        from.channel.clear();
    }
    let channel = to.as_ref().map(|to| to.channel.as_str()).unwrap_or_default();
    let failover = is_last.and_then(|is_last| failover(step, channel, is_last, diagnostics));
    let message = content_of(step, diagnostics);
    SpecStep { sender: from, recipient: to, message, failover }
}

/// When the next step starts; nothing follows the last.
fn failover(
    step: &JsonCursor<'_>,
    channel: &str,
    is_last: bool,
    diagnostics: &mut Diagnostics,
) -> Option<Failover> {
    match step.object("failover", diagnostics) {
        Some(failover) if is_last => {
            let wanted = "must not be given on the last step: nothing follows it";
            diagnostics.wrong(&failover.path, wanted);
            None
        }
        Some(failover) => {
            failover.only(&["expiry_time", "condition_status"], diagnostics);
            if failover.get("expiry_time").is_none() {
                diagnostics.wrong(
                    failover.name("expiry_time"),
                    "must be given: a whole number of seconds, 15 to 86400",
                );
            }
            let expiry_s = failover.seconds("expiry_time", Some(EXPIRY_S), diagnostics);
            Some(rule(&failover, channel, expiry_s, "", diagnostics))
        }
        None => {
            if !is_last && step.get("failover").is_none() {
                diagnostics.wrong(
                    step.name("failover"),
                    "must be given on every step but the last: an expiry_time of 15 to 86400 and a \
                     condition_status",
                );
            }
            None
        }
    }
}

fn endpoint(step: &JsonCursor<'_>, key: &str, diagnostics: &mut Diagnostics) -> Option<Address> {
    let cursor = step.object(key, diagnostics)?;
    cursor.only(&["type", "id", "number"], diagnostics);
    let named = cursor.text("type", diagnostics).unwrap_or_default();
    let channel = match named {
        "viber_service_message" | "viber_service" => {
            diagnostics.coerced(&cursor.name("type"), "names Viber; write viber_service_msg");
            "viber_service_msg"
        }
        other => other,
    };
    let endpoint = match (cursor.id("id", diagnostics), cursor.id("number", diagnostics)) {
        (Some(_), Some(_)) => {
            diagnostics.wrong(&cursor.path, "must hold either an id or a number, and holds both");
            None
        }
        (Some(id), None) => {
            let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
            if key == "to" && channel == "viber_service_msg" && is_number {
                diagnostics
                    .coerced(&cursor.name("id"), "is a phone number on Viber; write it as number");
                Some(address::Endpoint::Number(id))
            } else {
                Some(address::Endpoint::Id(id))
            }
        }
        (None, Some(number)) => Some(address::Endpoint::Number(number)),
        (None, None) => None,
    };
    Some(Address { channel: channel.to_owned(), endpoint })
}

fn content_of(step: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Message> {
    let message = step.object("message", diagnostics)?;
    message.only(&["content", "messenger", "whatsapp", "viber_service_msg"], diagnostics);
    let content = message.object("content", diagnostics).and_then(|content| {
        content.only(&[&["type"][..], &content::KINDS].concat(), diagnostics);
        // The options that files have of v1 are not known to it.
        content::content(&content, "type", "", diagnostics)
    });
    Some(Message {
        content,
        sms: None,
        mms: None,
        messenger: content::messenger(&message, diagnostics),
        whatsapp: content::whatsapp(&message, diagnostics),
        viber_service_msg: content::viber(&message, "viber_service_msg", diagnostics),
        rcs: None,
        options: None,
    })
}

/// What the parser found in a single message, in the words of this API.
pub(super) fn message_parameter(
    found: &RequestViolation,
    spec: &WorkflowSpec,
) -> Option<InvalidParameter> {
    match found.field.segments() {
        [Key("steps"), Index(index), rest @ ..] => Some(InvalidParameter {
            name: within(rest, spec.steps.get(*index)),
            reason: reason(found),
        }),
        _ => parameter(found, spec),
    }
}

/// What the parser found, in the words of this API.
pub(super) fn parameter(found: &RequestViolation, spec: &WorkflowSpec) -> Option<InvalidParameter> {
    let name = match found.field.segments() {
        [Key("steps")] => "workflow".to_owned(),
        [Key("request_id")] => "Idempotency-Key".to_owned(),
        [Key("steps"), Index(index), rest @ ..] => {
            let within = within(rest, spec.steps.get(*index));
            let dot = if within.is_empty() { "" } else { "." };
            format!("workflow[{index}]{dot}{within}")
        }
        other => path_behind("", other),
    };
    Some(InvalidParameter { name, reason: reason(found) })
}

fn reason(found: &RequestViolation) -> String {
    found.wanted.written(|phrase| match phrase {
        Phrase::Field(path) if path.segments() == [Key("recipient"), Key("channel")] => {
            Some("to.type")
        }
        Phrase::Field(_) | Phrase::Channel(_) | Phrase::Text(_) => None,
    })
}

/// A path within a step.
fn within(path: &[PathSegment], step: Option<&SpecStep>) -> String {
    let key = |address: Option<&Address>| match address.and_then(|it| it.endpoint.as_ref()) {
        Some(address::Endpoint::Id(_)) => ".id",
        Some(address::Endpoint::Number(_)) => ".number",
        None => "",
    };
    match path {
        [Key("recipient"), Key("channel")] => "to.type".to_owned(),
        [Key("sender"), Key("channel")] => "from.type".to_owned(),
        [Key("recipient")] => format!("to{}", key(step.and_then(|step| step.recipient.as_ref()))),
        [Key("sender")] => format!("from{}", key(step.and_then(|step| step.sender.as_ref()))),
        [Key("message")] => {
            let has_content = step.and_then(|step| step.message.as_ref()?.content.as_ref());
            if has_content.is_some() { "message.content.type" } else { "message.content" }
                .to_owned()
        }
        [Key("message"), content @ ..] if matches!(content, [Key(kind), ..] if content::KINDS.contains(kind)) => {
            path_behind("message.content", content)
        }
        other => path_behind("", other),
    }
}
