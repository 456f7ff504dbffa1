//! Plans and records as they are behind the edges.

use std::{collections::BTreeMap, sync::Arc};

use dispatch::{
    contents::{Contents, ContentsKeeper, StepContents, WorkflowRequest},
    machine::{
        FailoverCondition, Moment, OnLateSuccess, OnUnknown, Plan, PolicySnapshot, Priority,
        StepPlan, Template, WorkflowId,
    },
    store::{Record, RequestKey, Requester},
};
use dispatch_contract::{Channel, Content, ContentKind, Endpoint, Options};

/// These steps, and nothing else asked for.
pub fn plan(steps: Vec<StepPlan>) -> Plan {
    Plan {
        template: Template::Failover,
        steps,
        send_at: None,
        valid_until: None,
        send_within_ms: None,
        on_late_success: OnLateSuccess::Stop,
        on_unknown: OnUnknown::WaitReceipt,
        priority: Priority::Normal,
        labels: BTreeMap::new(),
        client_ref: None,
    }
}

/// A text on `channel`, from a number.
pub fn step(channel: Channel, failover: Option<FailoverCondition>) -> StepPlan {
    let sender = Endpoint::Number("12345".to_owned());
    StepPlan { channel, sender, content: ContentKind::Text, failover }
}

/// This text on every step of a plan, to one number.
pub fn request(plan: Plan, text: &str) -> WorkflowRequest {
    let contents = StepContents {
        recipient: Endpoint::Number("447700900000".to_owned()),
        content: Content::Text(text.to_owned()),
        options: Options::default(),
    };
    let contents = Contents { steps: vec![contents; plan.steps.len()], webhook_url: None };
    WorkflowRequest { plan, contents }
}

/// What the tenant `default` asked for at `at`, without a request id.
pub fn record(id: WorkflowId, at: Moment, plan: Plan) -> Record {
    record_of(id, at, request(plan, "your code is 1234"))
}

/// The same of a request.
pub fn record_of(id: WorkflowId, at: Moment, request: WorkflowRequest) -> Record {
    Record {
        id,
        tenant: Arc::from("default"),
        created_at: at,
        contents: ContentsKeeper::default().seal(&request.contents),
        plan: request.plan,
        policy: PolicySnapshot::default(),
        request: None,
        requester: Requester::default(),
    }
}

/// By what a repeat of `request`, which `record` is of, is known as `id`.
pub fn named(id: &str, record: Record, request: &WorkflowRequest) -> Record {
    let fingerprint =
        ContentsKeeper::default().fingerprint(record.contents.slot, &request.digest());
    Record { request: Some(RequestKey { id: id.to_owned(), fingerprint }), ..record }
}
