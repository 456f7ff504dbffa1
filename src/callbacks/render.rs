//! A callback's body, in the words that its receiver knows.
//!
//! What a person wrote has a body of its own (`inbound.rs`). Of what happened
//! there are two versions. The old one is the Messages v0.1 status object with `_links.workflow`, and the
//! Dispatch final report; the other is the Messages v1 status object with `workflow`. The final report
//! has one version only, because Messages v1 has none: there it names channels as v1 does.
//!
//! Pure: the same notification gives the same bytes.

mod error;
mod inbound;
#[cfg(test)]
mod tests;
mod words;

use dispatch_contract::Usage;
use serde_json::{Map, Value, json};

pub(super) use inbound::inbound;

use self::words::{endpoint, object, timestamp, v1_channel};
use super::notification::{MessageStatus, MessageSummary, Notification, NotificationKind};
use crate::{
    access::PayloadVersion,
    contents::Contents,
    machine::{EndState, Outcome, message_uuid},
    store::{ApiDialect, Record},
};

/// The body of `notification` about the workflow of `record` with `contents`: compact JSON.
///
/// `None` if there is nothing to say in this version, or the plan has no such step.
pub(super) fn body(
    record: &Record,
    contents: &Contents,
    notification: &Notification,
    version: PayloadVersion,
) -> Option<Vec<u8>> {
    let at = timestamp(notification.at);
    let body = match &notification.kind {
        NotificationKind::Status { step, status, usage } => {
            let mut body = match version {
                PayloadVersion::V01 => status_v01(record, contents, *step, status)?,
                PayloadVersion::V1 => status_v1(record, contents, *step, status)?,
            };
            body.insert("timestamp".to_owned(), at.into());
            if let Some(usage) = usage {
                body.insert("usage".to_owned(), priced(usage));
            }
            body
        }
        NotificationKind::Report { outcome, messages, usage } => {
            let mut body = report(record, contents, outcome, messages, version);
            body.insert("timestamp".to_owned(), at.into());
            if let Some(usage) = usage {
                body.insert("usage".to_owned(), priced(usage));
            }
            body
        }
    };
    serde_json::to_vec(&body).ok()
}

/// Whether whoever asked through `dialect` gets a final report. The Messages API never had one, and its
/// clients would take it for a status without a message.
pub(super) fn wants_report(dialect: ApiDialect) -> bool {
    match dialect {
        ApiDialect::Grpc | ApiDialect::DispatchV01 | ApiDialect::WorkflowsBeta => true,
        ApiDialect::MessagesV1 | ApiDialect::MessagesV01 => false,
    }
}

/// The words for a workflow that was asked for through `dialect`, for an application that wants
/// `version`.
pub(super) fn version_for(dialect: ApiDialect, version: PayloadVersion) -> PayloadVersion {
    match dialect {
        ApiDialect::MessagesV1 => PayloadVersion::V1,
        ApiDialect::MessagesV01 => PayloadVersion::V01,
        ApiDialect::Grpc | ApiDialect::DispatchV01 | ApiDialect::WorkflowsBeta => version,
    }
}

fn status_v01(
    record: &Record,
    contents: &Contents,
    step: u8,
    status: &MessageStatus,
) -> Option<Map<String, Value>> {
    let plan = record.plan.steps.get(usize::from(step))?;
    let mut body = object(json!({
        "message_uuid": message_uuid(record.id, step).to_string(),
        "to": endpoint(&plan.channel, contents.recipient(step)?),
        "from": endpoint(&plan.channel, &plan.sender),
        "status": status.as_str(),
    }));
    // A message by itself had no workflow.
    let is_alone =
        record.requester.dialect == ApiDialect::MessagesV01 && record.plan.steps.len() == 1;
    if !is_alone {
        let id = record.id.to_string();
        let mut link = Map::new();
        link.insert(id_name(record).to_owned(), id.clone().into());
        link.insert("href".to_owned(), format!("/v0.1/dispatch/{id}").into());
        body.insert("_links".to_owned(), json!({ "workflow": link }));
    }
    if let Some(failure) = status.failure() {
        body.insert("error".to_owned(), error::v01(failure));
    }
    refer(&mut body, record, contents);
    Some(body)
}

fn status_v1(
    record: &Record,
    contents: &Contents,
    step: u8,
    status: &MessageStatus,
) -> Option<Map<String, Value>> {
    let plan = record.plan.steps.get(usize::from(step))?;
    let uuid = message_uuid(record.id, step).to_string();
    let number = (u16::from(step) + 1).to_string();
    let total = record.plan.steps.len().to_string();
    let id = record.id.to_string();
    let mut body = object(json!({
        "message_uuid": uuid,
        "channel": v1_channel(&plan.channel),
        "to": contents.recipient(step)?.value(),
        "from": plan.sender.value(),
        "status": status.as_str(),
        // The specification's names, and those that the Java SDK reads instead of them.
        "workflow": {
            "workflow_id": id, "items_number": number, "items_total": total,
            "id": id, "item_number": number,
        },
    }));
    if let Some(failure) = status.failure() {
        body.insert("error".to_owned(), error::v1(failure, &uuid));
    }
    refer(&mut body, record, contents);
    Some(body)
}

fn report(
    record: &Record,
    contents: &Contents,
    outcome: &Outcome,
    messages: &[MessageSummary],
    version: PayloadVersion,
) -> Map<String, Value> {
    let messages: Vec<_> =
        messages.iter().filter_map(|message| summary_body(record, message, version)).collect();
    let mut body = object(json!({
        "template": "failover",
        "_links": { "messages": messages },
    }));
    body.insert(id_name(record).to_owned(), record.id.to_string().into());
    let status = match outcome.state {
        EndState::Succeeded => "completed",
        EndState::Failed | EndState::Unconfirmed | EndState::Canceled => {
            // The old API had one word for these; ours says which.
            body.insert("reason".to_owned(), outcome.reason.as_str().into());
            "error"
        }
    };
    body.insert("status".to_owned(), status.into());
    refer(&mut body, record, contents);
    body
}

fn summary_body(
    record: &Record,
    summary: &MessageSummary,
    version: PayloadVersion,
) -> Option<Value> {
    let channel = &record.plan.steps.get(usize::from(summary.step))?.channel;
    let uuid = message_uuid(record.id, summary.step).to_string();
    let mut message = object(json!({
        "message_uuid": uuid,
        // A bare id, as the old API's own.
        "href": uuid,
        "channel": match version {
            PayloadVersion::V01 => channel.as_str(),
            PayloadVersion::V1 => v1_channel(channel),
        },
        "status": summary.status.as_str(),
    }));
    if let Some(usage) = &summary.usage {
        message.insert("usage".to_owned(), priced(usage));
    }
    Some(message.into())
}

/// What the dialect calls a workflow's id.
fn id_name(record: &Record) -> &'static str {
    match record.requester.dialect {
        ApiDialect::WorkflowsBeta => "workflow_uuid",
        ApiDialect::Grpc
        | ApiDialect::DispatchV01
        | ApiDialect::MessagesV1
        | ApiDialect::MessagesV01 => "dispatch_uuid",
    }
}

fn refer(body: &mut Map<String, Value>, record: &Record, contents: &Contents) {
    if let Some(client_ref) = record.plan.client_ref.as_ref().or(contents.client_ref.as_ref()) {
        body.insert("client_ref".to_owned(), client_ref.as_str().into());
    }
}

fn priced(usage: &Usage) -> Value {
    json!({ "currency": usage.currency, "price": usage.price })
}
