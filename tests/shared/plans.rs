//! Plans and records as they are behind the edges.

use std::{collections::BTreeMap, sync::Arc};

use dispatch::{
    machine::{
        FailoverCondition, Moment, OnLateSuccess, OnUnknown, Plan, PolicySnapshot, Priority,
        StepPlan, Template, WorkflowId,
    },
    store::{Record, Requester},
};
use dispatch_contract::{Channel, Content, Endpoint, Message, Options};

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

/// A text on `channel`, from one number to another.
pub fn step(channel: Channel, text: &str, failover: Option<FailoverCondition>) -> StepPlan {
    let message = Message {
        channel,
        from: Endpoint::Number("12345".to_owned()),
        to: Endpoint::Number("447700900000".to_owned()),
        content: Content::Text(text.to_owned()),
        options: Options::default(),
    };
    StepPlan { message, failover }
}

/// What the tenant `default` asked for at `at`, without a request id.
pub fn record(id: WorkflowId, at: Moment, plan: Plan) -> Record {
    Record {
        id,
        tenant: Arc::from("default"),
        created_at: at,
        fingerprint: plan.fingerprint(),
        requester: Requester::default(),
        plan,
        policy: PolicySnapshot::default(),
        request_id: None,
    }
}
