//! The rules as sentences, by subject; here the workflow that they drive by hand.

use std::sync::Arc;

use dispatch_contract::{Channel, ErrorKind, Failure, Fault, Report, Status, UnixMillis};
use uuid::Uuid;

use super::*;
use crate::shared::plans;

mod any;
mod bounds;
mod calls;
mod conditions;
mod ends;
mod erased;
mod late;
mod orders;
mod parts;
mod permits;
mod progress;
mod properties;
mod recall;
mod rerouted;
mod unknown;

const START: u64 = 1_700_000_000_000;
const MINUTE: u64 = 60_000;

/// Offers these routes for whatever is needed; each has one name a channel.
struct Offers(Vec<RouteCandidate>);

impl Offers {
    fn of(properties: &[RouteProperties]) -> Offers {
        let numbered = (0..).zip(properties);
        Offers(
            numbered
                .map(|(at, properties)| candidate(&format!("{at}"), "p/main", *properties))
                .collect(),
        )
    }
}

impl Router for Offers {
    fn candidates(&self, requirement: &RouteRequirement) -> Vec<RouteCandidate> {
        let named = |candidate: &RouteCandidate| {
            let route = Arc::from(format!("{}-{}", requirement.channel, candidate.route));
            RouteCandidate { route, ..candidate.clone() }
        };
        self.0.iter().map(named).collect()
    }

    fn current_account<'a>(&'a self, account: &'a Arc<str>) -> &'a Arc<str> {
        let renamed =
            self.0.iter().map(|candidate| &candidate.account).find(|it| &***it == "p/renamed");
        renamed.filter(|_| &**account == "p/main").unwrap_or(account)
    }
}

fn candidate(name: &str, account: &str, properties: RouteProperties) -> RouteCandidate {
    RouteCandidate { route: Arc::from(name), account: Arc::from(account), properties }
}

const WAKE: Event = Event::Wake { up_since: UnixMillis(0), hold: false };

const PLAIN: RouteProperties = RouteProperties {
    idempotent_for_ms: None,
    correlates_receipts: true,
    reports_delivered: true,
    recalls: false,
    in_parts: false,
    watermarks: false,
};

/// A workflow and the time, driven by hand.
struct DrivenWorkflow {
    plan: Plan,
    workflow: Workflow,
    now: Moment,
    journal: Vec<(Moment, Fact)>,
    routes: Offers,
}

impl DrivenWorkflow {
    fn of(plan: Plan) -> DrivenWorkflow {
        DrivenWorkflow::by(plan, vec![PLAIN])
    }

    fn by(plan: Plan, routes: Vec<RouteProperties>) -> DrivenWorkflow {
        let now = Moment::both(UnixMillis(START));
        let workflow = fresh(&plan);
        let routes = Offers::of(&routes);
        let mut driven = DrivenWorkflow { plan, workflow, now, journal: Vec::new(), routes };
        let facts = create(&mut driven.workflow, now, &driven.routes);
        driven.keep(facts);
        driven
    }

    fn keep(&mut self, facts: Vec<Fact>) {
        self.journal.extend(facts.into_iter().map(|fact| (self.now, fact)));
        assert_eq!(check(&self.workflow), [], "after {:?}", self.journal);
    }

    fn handle(&mut self, event: Event) -> usize {
        let facts = handle(&mut self.workflow, self.now, event, &self.routes);
        let count = facts.len();
        self.keep(facts);
        count
    }

    fn after(&mut self, ms: u64) -> &mut DrivenWorkflow {
        self.pass(ms);
        self.handle(WAKE);
        self
    }

    /// Time passes, and nobody looks.
    fn pass(&mut self, ms: u64) {
        self.now = Moment::skewed(UnixMillis(self.now.engine.0 + ms), self.now.skew_ms());
    }

    /// The wall clock is set.
    fn set_wall(&mut self, by_ms: i64) -> &mut DrivenWorkflow {
        self.now.wall = UnixMillis(self.now.wall.0.saturating_add_signed(by_ms));
        self.handle(WAKE);
        self
    }

    fn start(&mut self) -> &mut DrivenWorkflow {
        let attempt = self.workflow.wants_permit().expect("an attempt is planned");
        self.handle(Event::PermitGranted { attempt });
        self
    }

    fn answer(&mut self, answer: SendResult) -> &mut DrivenWorkflow {
        let attempt = self.workflow.attempts.len() as u16;
        let call = self.workflow.attempts.last().map_or(0, |attempt| attempt.calls);
        self.handle(Event::SendResult { attempt, call, result: answer });
        self
    }

    fn accepted(&mut self) -> &mut DrivenWorkflow {
        self.start().answer(SendResult::Accepted { provider_ids: vec!["p".to_owned()] })
    }

    fn update(&mut self, attempt: u16, report: Report) -> &mut DrivenWorkflow {
        self.handle(Event::Update { attempt, update: update(report), up_since: UnixMillis(0) });
        self
    }

    fn ended(&self) -> Option<(EndState, Reason)> {
        match self.workflow.phase {
            Phase::Ended(state, reason) => Some((state, reason)),
            Phase::Scheduled | Phase::Running(_) => None,
        }
    }

    fn step(&self) -> Option<u8> {
        self.workflow.active_step()
    }

    fn unnecessary_failovers(&self) -> usize {
        let is_unnecessary = |fact: &Fact| match fact {
            Fact::LateSuccess { unnecessary_failover, .. }
            | Fact::LateStatus { unnecessary_failover, .. } => *unnecessary_failover,
            _ => false,
        };
        self.journal.iter().filter(|(_, fact)| is_unnecessary(fact)).count()
    }
}

fn fresh(plan: &Plan) -> Workflow {
    let tenant: Arc<str> = Arc::from("default");
    let requirements =
        (0..plan.steps.len()).filter_map(|at| plan.route_requirement(&tenant, at)).map(Arc::new);
    let requirements: Vec<_> = requirements.collect();
    let id = WorkflowId(Uuid::from_u128(7));
    Workflow::new(
        id,
        Moment::both(UnixMillis(START)),
        plan,
        requirements,
        PolicySnapshot::default(),
    )
}

fn update(report: Report) -> Update {
    Update {
        report,
        provider_id: None,
        part: None,
        provider_time: None,
        code: None,
        detail: None,
        usage: None,
    }
}

fn failure(fault: Fault) -> CallFailure {
    let detail = "it said no".to_owned();
    CallFailure { kind: ErrorKind::InvalidRequest, fault, code: None, detail, cause: None }
}

fn plan(rules: &[Option<FailoverCondition>]) -> Plan {
    let step = |rule: &Option<FailoverCondition>| {
        plans::step(if rule.is_some() { Channel::MESSENGER } else { Channel::SMS }, *rule)
    };
    plans::plan(rules.iter().map(step).collect())
}

fn read_in(ms: u64) -> Option<FailoverCondition> {
    Some(FailoverCondition { condition: Status::Read, expiry_ms: Some(ms) })
}

/// Messenger, read within ten minutes, else SMS.
fn messenger_then_sms() -> Plan {
    plan(&[read_in(10 * MINUTE), None])
}
