//! Plans and records as they are behind the edges.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

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
    let contents = Contents { steps: vec![contents; plan.steps.len()], ..Contents::default() };
    WorkflowRequest { plan, contents }
}

/// A text of that many bytes in which nothing repeats itself: what does would take little room.
pub fn noise(bytes: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state >> 32) as u8 % 94)
    };
    (0..bytes).map(|_| letter()).collect()
}

/// What the tenant `default` asked for at `at`, without a request id.
pub fn record(id: WorkflowId, at: Moment, plan: Plan) -> Record {
    record_of(id, at, request(plan, "your code is 1234"))
}

/// The same of a request.
pub fn record_of(id: WorkflowId, at: Moment, request: WorkflowRequest) -> Record {
    sealed(&KEEPER, id, at, request, None)
}

/// The same of a request that a caller may repeat as `request_id`.
pub fn named(id: WorkflowId, at: Moment, request: WorkflowRequest, request_id: &str) -> Record {
    sealed(&KEEPER, id, at, request, Some(request_id))
}

/// The same, sealed by a keeper of the caller's.
pub fn sealed(
    keeper: &ContentsKeeper,
    id: WorkflowId,
    at: Moment,
    request: WorkflowRequest,
    request_id: Option<&str>,
) -> Record {
    let key = keeper.take().expect("keys in memory are always at hand");
    let request_key = |request_id: &str| {
        let fingerprint = key.fingerprint(&request.digest());
        RequestKey { id: request_id.to_owned(), fingerprint }
    };
    Record {
        id,
        tenant: Arc::from("default"),
        created_at: at,
        request: request_id.map(request_key),
        contents: keeper.seal(key, id, &request.contents).expect("it can be sealed"),
        plan: request.plan,
        policy: PolicySnapshot::default(),
        requester: Requester::default(),
    }
}

/// Opens what these records hold.
pub static KEEPER: LazyLock<Arc<ContentsKeeper>> =
    LazyLock::new(|| Arc::new(ContentsKeeper::in_memory([7; 32])));
