//! From the API's messages to types that cannot be wrong.
//!
//! Every function here either returns the parsed thing or *all* that is wrong with it: for each
//! wrong field its path (relative to the WorkflowSpec, counted from 0: `steps[1].recipient.channel`), what
//! is wrong and what would be right. No text repeats a number, an address or a message's text.
//!
//! What a channel can do is asked through [`Rules`] and nowhere written here. Nothing is stored,
//! sent or counted, and no clock is read.

mod address;
mod content;
mod options;
mod personal;
mod routes;
mod step;
mod time;
mod values;
mod workflow;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use super::violation::{FieldAt, FieldPath, RequestViolation, Wanted};
use crate::{contents::WorkflowRequest, machine::WorkflowId, pb::v1};
use dispatch_contract::{Channel, ChannelAdapter, Endpoint, UnixMillis};
use prost::Message;

pub(crate) use routes::TenantRoutes;
pub(crate) use step::warnings;
pub(crate) use workflow::parse_spec;

/// The longest create as a whole, in bytes.
const CREATE_MOST_BYTES: usize = 256 * 1024;
/// The longest idempotency key, in characters.
const REQUEST_ID_MOST: usize = 128;

/// What workflows are checked against: who can send what, as configured for a tenant.
pub(crate) trait Rules {
    /// The channels that the tenant reaches.
    fn channels(&self) -> Vec<Channel>;

    /// The adapters behind the routes that serve this sender, in the order they are tried.
    fn serving(&self, channel: &Channel, sender: &Endpoint) -> Vec<Arc<dyn ChannelAdapter>>;

    /// The senders that the tenant's routes of this channel are configured for.
    fn senders(&self, channel: &Channel) -> Vec<String>;

    /// Whether labels of this key are personal without being said to be.
    fn is_personal_label(&self, _key: &str) -> bool {
        false
    }

    /// Whether client references are personal without being said to be.
    fn is_client_ref_personal(&self) -> bool {
        false
    }

    /// Whether what is asked for is held against them at all.
    fn judge(&self) -> bool {
        true
    }
}

/// Nothing is held against what can be sent.
struct Unjudged;

impl Rules for Unjudged {
    fn channels(&self) -> Vec<Channel> {
        Vec::new()
    }

    fn serving(&self, _: &Channel, _: &Endpoint) -> Vec<Arc<dyn ChannelAdapter>> {
        Vec::new()
    }

    fn senders(&self, _: &Channel) -> Vec<String> {
        Vec::new()
    }

    fn judge(&self) -> bool {
        false
    }
}

/// What is wrong so far.
#[derive(Debug, Default)]
struct Found(Vec<RequestViolation>);

impl Found {
    /// Notes that `field` is wrong, and what would be right.
    fn note(&mut self, field: impl Into<FieldPath>, wanted: impl Into<Wanted>) {
        self.0.push(RequestViolation::new(field, wanted));
    }

    /// Whether something is known to be wrong with this very field.
    fn has(&self, field: &FieldPath) -> bool {
        self.0.iter().any(|violation| violation.field == *field)
    }

    /// `value`, if nothing is wrong.
    fn or<T>(self, value: Option<T>) -> Result<T, Vec<RequestViolation>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) | None => Err(self.0),
        }
    }
}

/// What a request asks for.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn create_request(
    request: &v1::CreateWorkflowRequest,
    rules: &dyn Rules,
    now: UnixMillis,
) -> Result<WorkflowRequest, Vec<RequestViolation>> {
    let mut found = Found::default();
    let size = request.encoded_len();
    if size > CREATE_MOST_BYTES {
        // Nothing else is looked at: a flood should cost little.
        let most = CREATE_MOST_BYTES / 1024;
        found.note(
            "workflow",
            format!("a request must have at most {most} KiB in all, and has {size} bytes"),
        );
        return Err(found.0);
    }
    let id = &request.request_id;
    if id.len() > REQUEST_ID_MOST || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        found.note(
            "request_id",
            format!("must have at most {REQUEST_ID_MOST} printable ASCII characters, no spaces"),
        );
    }
    let asked = match &request.workflow {
        None => {
            found.note("workflow", "must be given: the steps to try, 1 to 20 of them");
            None
        }
        Some(spec) => match parse_spec(spec, rules, now) {
            Ok(asked) => Some(asked),
            Err(violations) => {
                found.0.extend(violations);
                None
            }
        },
    };
    if let Some(asked) = &asked {
        personal::check_request_id(id, asked, &mut found);
    }
    found.or(asked)
}

/// What a request asks for which was accepted before, and is repeated: it is read for what it
/// asks, whoever could send that by now, and is the same as by the rules that it was accepted by.
/// `None` if it can never have been accepted.
pub(crate) fn repeated(request: &v1::CreateWorkflowRequest) -> Option<WorkflowRequest> {
    // Nothing is too far ahead of this; what was not, then, is not now.
    create_request(request, &Unjudged, UnixMillis(u64::MAX)).ok()
}

/// The id of a workflow that a request names in `field`.
///
/// # Errors
/// If it is none.
pub(crate) fn workflow_id(
    field: &'static str,
    text: &str,
) -> Result<WorkflowId, Vec<RequestViolation>> {
    let wanted = "must be a workflow's id as CreateWorkflow answered it, a UUID";
    text.parse().map_err(|_| vec![RequestViolation::new(field, wanted)])
}

/// The names of the states that a list asks for.
///
/// # Errors
/// For each that there is not.
pub(crate) fn states(states: &[i32]) -> Result<Vec<&'static str>, Vec<RequestViolation>> {
    let mut found = Found::default();
    let mut names = Vec::new();
    for (index, state) in states.iter().enumerate() {
        let name = v1::WorkflowState::try_from(*state).ok().and_then(values::state_name);
        if name.is_none() {
            let known = "SCHEDULED, RUNNING, SUCCEEDED, FAILED, UNCONFIRMED or CANCELED";
            found.note(
                FieldAt::of("states").index(index),
                format!("must be WORKFLOW_STATE_ and one of {known}"),
            );
        }
        names.extend(name);
    }
    found.or(Some(names))
}
