//! A request as the spec that asks for it, with defaults written out: parsed again it is the same request.

use dispatch_contract::{Channel, Content, Endpoint, Media};

use super::{duration, json::object, options, status, timestamp};
use crate::{
    api::{ContentOutline, ShownContents, ShownStep},
    machine::{FailoverCondition, OnLateSuccess, OnUnknown, Plan, Priority, StepPlan, Template},
    pb::v1::{self, message},
};

/// The spec that asks for this plan with these contents, as far as they are shown.
pub(crate) fn spec(plan: &Plan, contents: &ShownContents) -> v1::WorkflowSpec {
    let template = match plan.template {
        Template::Failover => v1::WorkflowTemplate::Failover,
    };
    let on_late_success = match plan.on_late_success {
        OnLateSuccess::Stop => v1::OnLateSuccess::Stop,
        OnLateSuccess::Continue => v1::OnLateSuccess::Continue,
    };
    let on_unknown = match plan.on_unknown {
        OnUnknown::WaitReceipt => v1::OnUnknown::WaitReceipt,
        OnUnknown::Resend => v1::OnUnknown::Resend,
        OnUnknown::FailOver => v1::OnUnknown::FailOver,
    };
    let priority = match plan.priority {
        Priority::High => v1::Priority::High,
        Priority::Normal => v1::Priority::Normal,
        Priority::Low => v1::Priority::Low,
    };
    let steps = plan.steps.iter().enumerate();
    let steps = steps.map(|(index, plan)| step(plan, contents.step(index)));
    v1::WorkflowSpec {
        template: template as i32,
        steps: steps.collect(),
        send_at: plan.send_at.map(timestamp),
        valid_until: plan.valid_until.map(timestamp),
        send_within: plan.send_within_ms.map(duration),
        on_late_success: on_late_success as i32,
        on_unknown: on_unknown as i32,
        priority: priority as i32,
        ..words(plan, contents)
    }
}

/// The caller's own words, and which of them are personal: those that are not shown are only named.
pub(super) fn words(plan: &Plan, contents: &ShownContents) -> v1::WorkflowSpec {
    let (mut labels, mut client_ref) = (plan.labels.clone(), plan.client_ref.as_deref());
    if let Some((personal, reference)) = contents.words() {
        labels.extend(personal.clone());
        client_ref = client_ref.or(reference);
    }
    v1::WorkflowSpec {
        labels,
        client_ref: client_ref.unwrap_or_default().to_owned(),
        personal_labels: contents.personal_labels(),
        personal_client_ref: contents.is_client_ref_personal(),
        ..v1::WorkflowSpec::default()
    }
}

fn step(step: &StepPlan, contents: Option<ShownStep<'_>>) -> v1::Step {
    let channel = &step.channel;
    let (recipient, message) = match contents {
        Some(ShownStep::Whole(it)) => {
            let message = options::with(content(&it.content), channel, &it.options);
            (Some(address(channel, &it.recipient)), Some(message))
        }
        Some(ShownStep::Masked(recipient, said)) => {
            let message = v1::Message { content: Some(masked(said)), ..v1::Message::default() };
            (Some(address(channel, recipient)), Some(message))
        }
        None => (None, None),
    };
    v1::Step {
        sender: Some(address(channel, &step.sender)),
        recipient,
        message,
        failover: step.failover.as_ref().map(failover),
    }
}

fn failover(rule: &FailoverCondition) -> v1::Failover {
    v1::Failover {
        expiry_time: rule.expiry_ms.map(duration),
        condition_status: status(rule.condition),
    }
}

pub(super) fn address(channel: &Channel, endpoint: &Endpoint) -> v1::Address {
    v1::Address {
        channel: channel.as_str().to_owned(),
        endpoint: Some(match endpoint {
            Endpoint::Id(id) => v1::address::Endpoint::Id(id.clone()),
            Endpoint::Number(number) => v1::address::Endpoint::Number(number.clone()),
        }),
    }
}

pub(super) fn masked(ContentOutline { kind, characters }: ContentOutline) -> message::Content {
    message::Content::Masked(v1::Masked { kind: kind.to_string(), characters })
}

pub(super) fn content(content: &Content) -> message::Content {
    let parts = |media: &Media| (media.url.clone(), media.caption.clone().unwrap_or_default());
    match content {
        Content::Text(text) => message::Content::Text(text.clone()),
        Content::Image(media) => {
            let (url, caption) = parts(media);
            message::Content::Image(v1::Image { url, caption })
        }
        Content::Audio(media) => {
            let (url, caption) = parts(media);
            message::Content::Audio(v1::Audio { url, caption })
        }
        Content::Video(media) => {
            let (url, caption) = parts(media);
            message::Content::Video(v1::Video { url, caption })
        }
        Content::File(media) => {
            let (url, caption) = parts(media);
            message::Content::File(v1::File { url, caption })
        }
        Content::Location { latitude, longitude, name, address } => {
            message::Content::Location(v1::Location {
                // Parsed from numbers, so they are numbers.
                latitude: latitude.parse().unwrap_or_default(),
                longitude: longitude.parse().unwrap_or_default(),
                name: name.clone().unwrap_or_default(),
                address: address.clone().unwrap_or_default(),
            })
        }
        Content::Template { name, parameters } => message::Content::Template(v1::Template {
            name: name.clone(),
            parameters: parameters.clone(),
        }),
        Content::Code { code, text } => message::Content::Code(v1::Code {
            code: code.clone(),
            text: text.clone().unwrap_or_default(),
        }),
        Content::Custom(text) => {
            message::Content::Custom(object(serde_json::from_str(text).unwrap_or_default()))
        }
    }
}
