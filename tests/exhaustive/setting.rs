//! What a workflow is asked to do, and by which routes: the space of policies.

use std::sync::Arc;

use dispatch::machine::{
    FailoverCondition, Moment, OnLateSuccess, OnUnknown, Plan, PolicySnapshot, RECALL_WAIT_MS,
    RouteCandidate, RouteProperties, RouteRequirement, Router, Workflow, WorkflowId,
};
use dispatch_contract::{Channel, Status, UnixMillis};
use uuid::Uuid;

use crate::shared::plans;

/// When every workflow here is created.
pub const START: UnixMillis = UnixMillis(1_700_000_000_000);

/// The durations of a life. They are a few milliseconds each, because only their order counts: the
/// fewer there are, the more states are the same. Two or three retries fit in the time for sending.
#[derive(Clone, Copy, Debug)]
struct Times {
    policy: PolicySnapshot,
    expiry_ms: u64,
    /// For how long a provider that knows our ids knows them; shorter than the time for sending.
    idempotent_for_ms: u64,
}

impl Times {
    fn of(steps: usize) -> Times {
        let [send_within_ms, unknown_wait_ms, unconfirmed_after_ms, expiry_ms, idempotent_for_ms] =
            if steps == 1 { [4, 2, 6, 5, 3] } else { [2, 1, 3, 2, 2] };
        let policy = PolicySnapshot {
            send_within_ms,
            last_send_within_ms: send_within_ms,
            unknown_wait_ms,
            unconfirmed_after_ms,
            retry_base_ms: 2,
            retry_max_ms: 2,
        };
        Times { policy, expiry_ms, idempotent_for_ms }
    }
}

/// One point of the space.
#[derive(Debug)]
pub struct Setting {
    /// Its place in the list, which names it.
    pub number: u32,
    pub plan: Plan,
    pub routes: Routes,
    requirements: Vec<Arc<RouteRequirement>>,
    policy: PolicySnapshot,
}

/// Offers these routes for whatever is needed.
#[derive(Clone, Debug)]
pub struct Routes(Vec<RouteCandidate>);

impl Router for Routes {
    fn candidates(&self, _: &RouteRequirement) -> Vec<RouteCandidate> {
        self.0.clone()
    }
}

impl Routes {
    /// Whether a step may be tried on a second route.
    pub fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// Whether a message can be taken back.
    pub fn recall(&self) -> bool {
        self.0.iter().any(|route| route.properties.recalls)
    }
}

impl Setting {
    /// The workflow before its first fact.
    pub fn workflow(&self) -> Workflow {
        let id = WorkflowId(Uuid::from_u128(7));
        Workflow::new(
            id,
            Moment::both(START),
            &self.plan,
            self.requirements.iter().cloned(),
            self.policy,
        )
    }

    /// The rung that meets a step, read from the plan and not from the machine.
    pub fn target(&self, step: u8) -> Status {
        self.plan.steps[usize::from(step)]
            .failover
            .map_or(Status::Delivered, |failover| failover.condition)
    }

    /// How long a step's condition is waited for.
    pub fn patience_ms(&self, step: u8) -> u64 {
        let rule = self.plan.steps[usize::from(step)].failover;
        rule.and_then(|failover| failover.expiry_ms).unwrap_or(self.policy.unconfirmed_after_ms)
    }
}

/// Every policy for workflows of `steps` steps. Of one step also: two routes, a channel whose
/// receipts cannot be matched, and a time after which nothing may start.
pub fn settings(steps: usize) -> Vec<Setting> {
    let times = Times::of(steps);
    let expiries = [Some(times.expiry_ms), None];
    let rules =
        expiries.map(|expiry_ms| FailoverCondition { condition: Status::Delivered, expiry_ms });
    let is_single = steps == 1;
    let (lates, firsts, lasts) = if is_single {
        let submitted = FailoverCondition { condition: Status::Submitted, ..rules[0] };
        let lasts = vec![None, Some(rules[0]), Some(rules[1]), Some(submitted)];
        // There is no earlier step to be late or to expire.
        (&[OnLateSuccess::Stop][..], &expiries[..1], lasts)
    } else {
        let lates = &[OnLateSuccess::Stop, OnLateSuccess::Continue][..];
        (lates, &expiries[..], vec![None, Some(rules[0])])
    };
    let mut found = Vec::new();
    for on_unknown in [OnUnknown::WaitReceipt, OnUnknown::Resend, OnUnknown::FailOver] {
        for idempotent_for_ms in [None, Some(times.idempotent_for_ms)] {
            let properties = RouteProperties {
                idempotent_for_ms,
                correlates_receipts: true,
                reports_delivered: true,
                recalls: false,
                in_parts: false,
                watermarks: false,
            };
            let routes = vec![properties; if is_single { 2 } else { 1 }];
            for &on_late_success in lates {
                for (&first, &last) in firsts.iter().flat_map(|a| lasts.iter().map(move |b| (a, b)))
                {
                    let plan = plan(steps, first, last);
                    let plan = Plan { on_unknown, on_late_success, ..plan };
                    found.push((plan, routes.clone()));
                }
            }
            if is_single {
                let plan = Plan { on_unknown, ..plan(1, None, None) };
                let valid_until = Some(UnixMillis(START.0 + 6));
                found.push((Plan { valid_until, ..plan.clone() }, routes.clone()));
                found.push((
                    plan,
                    vec![RouteProperties { correlates_receipts: false, ..properties }; 2],
                ));
            }
        }
    }
    if !is_single {
        found.extend(recalled(steps, times));
    }
    found.extend(corners(steps, times));
    let numbered = (0..).zip(found);
    let setting = |(number, (plan, routes))| setting(number, plan, routes, times.policy);
    numbered.map(setting).collect()
}

/// By a provider that takes messages back. It asks for its own time, and so for states of their own: as many as
/// tell each policy apart in which a second message of a step may be out.
fn recalled(steps: usize, times: Times) -> Vec<(Plan, Vec<RouteProperties>)> {
    let properties = RouteProperties {
        idempotent_for_ms: None,
        correlates_receipts: true,
        reports_delivered: true,
        recalls: true,
        in_parts: false,
        watermarks: false,
    };
    let usual = || plan(steps, Some(times.expiry_ms), None);
    let mut found = Vec::new();
    for on_unknown in [OnUnknown::WaitReceipt, OnUnknown::Resend] {
        for on_late_success in [OnLateSuccess::Stop, OnLateSuccess::Continue] {
            found.push((Plan { on_unknown, on_late_success, ..usual() }, vec![properties]));
        }
    }
    // While it is asked back, and before.
    for ms in [times.expiry_ms, times.expiry_ms + RECALL_WAIT_MS] {
        let valid_until = Some(UnixMillis(START.0 + ms));
        found.push((Plan { valid_until, ..usual() }, vec![properties]));
    }
    found
}

/// What is not worth a dimension of its own.
fn corners(steps: usize, times: Times) -> Vec<(Plan, Vec<RouteProperties>)> {
    let usual = || plan(steps, Some(times.expiry_ms), None);
    let properties = RouteProperties {
        idempotent_for_ms: None,
        correlates_receipts: true,
        reports_delivered: true,
        recalls: false,
        in_parts: false,
        watermarks: false,
    };
    let mute = RouteProperties { reports_delivered: false, ..properties };
    let later = Plan { send_at: Some(UnixMillis(START.0 + 1)), ..usual() };
    let bounded = Plan { valid_until: Some(UnixMillis(START.0 + times.expiry_ms)), ..usual() };
    vec![
        (usual(), vec![mute]),
        (usual(), vec![]),
        (later, vec![properties]),
        (bounded, vec![properties]),
    ]
}

fn setting(
    number: u32,
    plan: Plan,
    properties: Vec<RouteProperties>,
    policy: PolicySnapshot,
) -> Setting {
    let offer = |(at, properties)| {
        let (route, account) = (Arc::from(format!("route-{at}")), Arc::from("p/main"));
        RouteCandidate { route, account, properties }
    };
    let routes = Routes(properties.into_iter().enumerate().map(offer).collect());
    let tenant: Arc<str> = Arc::from("default");
    let requirements =
        (0..plan.steps.len()).filter_map(|at| plan.route_requirement(&tenant, at)).map(Arc::new);
    let requirements = requirements.collect();
    Setting { number, plan, routes, requirements, policy }
}

/// Every step but the last waits to be read.
fn plan(steps: usize, first: Option<u64>, last: Option<FailoverCondition>) -> Plan {
    let earlier = FailoverCondition { condition: Status::Read, expiry_ms: first };
    let rules = (1..steps).map(|_| Some(earlier)).chain([last]);
    let step = |rule| plans::step(Channel::MESSENGER, rule);
    plans::plan(rules.map(step).collect())
}
