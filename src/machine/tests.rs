//! The rules as sentences, and the properties that hold whatever comes in whatever order.

use std::sync::Arc;

use dispatch_contract::{
    Channel, Content, Endpoint, ErrorKind, Failure, Fault, Message, Options, Report, Status,
    UnixMillis,
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use uuid::Uuid;

use super::*;

mod calls;
mod places;
mod rerouted;

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

const PLAIN: RouteProperties =
    RouteProperties { idempotent_for_ms: None, correlates_receipts: true, reports_delivered: true };

/// A workflow and the time, driven by hand.
struct Life {
    plan: Plan,
    workflow: Workflow,
    now: Moment,
    journal: Vec<(Moment, Fact)>,
    routes: Offers,
}

impl Life {
    fn of(plan: Plan) -> Life {
        Life::by(plan, vec![PLAIN])
    }

    fn by(plan: Plan, routes: Vec<RouteProperties>) -> Life {
        let now = Moment::both(UnixMillis(START));
        let workflow = fresh(&plan);
        let routes = Offers::of(&routes);
        let mut life = Life { plan, workflow, now, journal: Vec::new(), routes };
        let facts = create(&mut life.workflow, now, &life.routes);
        life.keep(facts);
        life
    }

    fn keep(&mut self, facts: Vec<Fact>) {
        self.journal.extend(facts.into_iter().map(|fact| (self.now, fact)));
        assert_eq!(check(&self.workflow), [], "after {:?}", self.journal);
    }

    fn tell(&mut self, event: Event) -> usize {
        let facts = handle(&mut self.workflow, self.now, event, &self.routes);
        let count = facts.len();
        self.keep(facts);
        count
    }

    fn after(&mut self, ms: u64) -> &mut Life {
        self.pass(ms);
        self.tell(WAKE);
        self
    }

    /// Time passes, and nobody looks.
    fn pass(&mut self, ms: u64) {
        self.now = Moment::skewed(UnixMillis(self.now.engine.0 + ms), self.now.skew_ms());
    }

    /// The wall clock is set.
    fn set_wall(&mut self, by_ms: i64) -> &mut Life {
        self.now.wall = UnixMillis(self.now.wall.0.saturating_add_signed(by_ms));
        self.tell(WAKE);
        self
    }

    fn start(&mut self) -> &mut Life {
        let attempt = self.workflow.wants_permit().expect("an attempt is planned");
        self.tell(Event::PermitGranted { attempt });
        self
    }

    fn answer(&mut self, answer: SendResult) -> &mut Life {
        let attempt = self.workflow.attempts.len() as u16;
        let call = self.workflow.attempts.last().map_or(0, |attempt| attempt.calls);
        self.tell(Event::SendResult { attempt, call, result: answer });
        self
    }

    fn accepted(&mut self) -> &mut Life {
        self.start().answer(SendResult::Accepted { provider_id: "p".to_owned() })
    }

    fn update(&mut self, attempt: u16, report: Report) -> &mut Life {
        self.tell(Event::Update { attempt, update: update(report) });
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

    fn regrets(&self) -> usize {
        let is_regret = |fact: &Fact| match fact {
            Fact::LateSuccess { unnecessary_failover, .. }
            | Fact::LateStatus { unnecessary_failover, .. } => *unnecessary_failover,
            _ => false,
        };
        self.journal.iter().filter(|(_, fact)| is_regret(fact)).count()
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
    Update { report, provider_id: None, provider_time: None, code: None, detail: None, usage: None }
}

fn rejection(fault: Fault) -> Rejection {
    let detail = "it said no".to_owned();
    Rejection { kind: ErrorKind::InvalidRequest, fault, code: None, detail, cause: None }
}

fn plan(rules: &[Option<FailoverCondition>]) -> Plan {
    let step = |rule: &Option<FailoverCondition>| StepPlan {
        message: Message {
            channel: if rule.is_some() { Channel::MESSENGER } else { Channel::SMS },
            from: Endpoint::Number("12345".to_owned()),
            to: Endpoint::Number("447700900000".to_owned()),
            content: Content::Text("your code is 1234".to_owned()),
            options: Options::default(),
        },
        failover: *rule,
    };
    Plan {
        template: Template::Failover,
        steps: rules.iter().map(step).collect(),
        send_at: None,
        valid_until: None,
        send_within_ms: None,
        on_late_success: OnLateSuccess::Stop,
        on_unknown: OnUnknown::WaitReceipt,
        priority: Priority::Normal,
        labels: Default::default(),
        client_ref: None,
    }
}

fn read_in(ms: u64) -> Option<FailoverCondition> {
    Some(FailoverCondition { condition: Status::Read, expiry_ms: Some(ms) })
}

/// Messenger, read within ten minutes, else SMS.
fn messenger_then_sms() -> Plan {
    plan(&[read_in(10 * MINUTE), None])
}

#[test]
fn read_in_time_succeeds_and_skips_the_rest() {
    let mut life = Life::of(messenger_then_sms());
    life.accepted().after(MINUTE).update(1, Report::Reached(Status::Delivered));
    assert_eq!(life.step(), Some(0), "delivered does not meet read");
    life.update(1, Report::Reached(Status::Read));
    assert_eq!(life.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
    assert_eq!(life.workflow.steps[1].status, StepStatus::Skipped);
}

#[test]
fn read_implies_delivered() {
    let rule = Some(FailoverCondition { condition: Status::Delivered, expiry_ms: Some(MINUTE) });
    let mut life = Life::of(plan(&[rule, None]));
    life.accepted().update(1, Report::Reached(Status::Read));
    assert_eq!(life.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
}

#[test]
fn not_read_in_time_goes_on_to_the_next_step_and_never_early() {
    let mut life = Life::of(messenger_then_sms());
    life.after(5000).accepted();
    life.after(10 * MINUTE - 1);
    assert_eq!(life.step(), Some(0), "the clock runs from the acceptance");
    life.after(1);
    assert_eq!(life.step(), Some(1));
    life.accepted().update(2, Report::Reached(Status::Delivered));
    assert_eq!(life.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
}

#[test]
fn a_refusal_fails_over_at_once() {
    let mut life = Life::of(messenger_then_sms());
    life.start().answer(SendResult::Rejected(rejection(Fault::Recipient)));
    assert_eq!(life.step(), Some(1));
    life.start().answer(SendResult::Rejected(rejection(Fault::Content)));
    assert_eq!(life.ended(), Some((EndState::Failed, Reason::Rejected)));
}

#[test]
fn the_provider_s_fault_is_worth_another_route_while_a_quarter_of_the_time_is_left() {
    let mut life = Life::by(messenger_then_sms(), vec![PLAIN, PLAIN]);
    life.start().answer(SendResult::Rejected(rejection(Fault::Provider)));
    assert_eq!(life.step(), Some(0));
    assert_eq!(&*life.workflow.attempts[1].route, "messenger-1");

    let mut late = Life::by(messenger_then_sms(), vec![PLAIN, PLAIN]);
    late.after(8 * MINUTE).start().answer(SendResult::Rejected(rejection(Fault::Provider)));
    assert_eq!(late.step(), Some(1));
}

#[test]
fn temporary_errors_are_retried_inside_send_within_and_then_fail() {
    let mut life = Life::of(messenger_then_sms());
    let deferred = SendResult::RetryLater { rejection: rejection(Fault::Provider), after_ms: None };
    let mut calls = 0;
    while life.step() == Some(0) {
        life.start().answer(deferred.clone());
        calls += 1;
        if life.step() == Some(0) {
            let due = life.workflow.deadlines().timer.expect("a retry is due").at;
            life.after(due.0 - life.now.engine.0);
        }
    }
    assert!((10..40).contains(&calls), "{calls} calls in ten minutes");
    assert!(life.now.engine.0 <= START + 10 * MINUTE);
    let left = life
        .journal
        .iter()
        .any(|(_, fact)| matches!(fact, Fact::StepFailed { reason: Reason::RetriesExhausted, .. }));
    assert!(left);
}

#[test]
fn retry_after_is_honoured() {
    let mut life = Life::of(messenger_then_sms());
    let deferred =
        SendResult::RetryLater { rejection: rejection(Fault::Provider), after_ms: Some(30_000) };
    life.start().answer(deferred);
    let deadline = life.workflow.deadlines().timer.expect("a retry is due");
    assert_eq!((deadline.kind, deadline.at), (DeadlineKind::Retry, UnixMillis(START + 30_000)));
}

#[test]
fn an_unknown_outcome_waits_for_its_receipt_and_then_fails_over() {
    let mut life = Life::of(messenger_then_sms());
    life.start().answer(SendResult::Unknown(rejection(Fault::Provider)));
    life.after(29_999);
    assert_eq!(life.step(), Some(0));
    life.after(1);
    assert_eq!(life.step(), Some(1));
}

#[test]
fn a_receipt_resolves_an_unknown_outcome() {
    let mut life = Life::of(messenger_then_sms());
    life.start().answer(SendResult::Unknown(rejection(Fault::Provider)));
    life.after(1000).update(1, Report::Reached(Status::Delivered)).after(MINUTE);
    assert_eq!(life.step(), Some(0), "it is out, and may still be read");
    life.update(1, Report::Reached(Status::Read));
    assert_eq!(life.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
}

#[test]
fn an_unknown_outcome_of_the_last_step_is_sent_once_more_and_counted() {
    let mut life = Life::of(plan(&[None]));
    life.start().answer(SendResult::Unknown(rejection(Fault::Provider)));
    life.after(30_000).start().answer(SendResult::Unknown(rejection(Fault::Provider)));
    life.after(MINUTE);
    let doubles =
        life.workflow.attempts.iter().filter(|attempt| attempt.possible_duplicate).count();
    assert_eq!((life.workflow.attempts.len(), doubles), (2, 1));
    life.after(72 * 3_600_000);
    assert_eq!(life.ended(), Some((EndState::Unconfirmed, Reason::OutcomeUnknown)));
}

#[test]
fn the_second_unknown_outcome_is_waited_for_as_long_as_the_first() {
    let mut life = Life::of(Plan { on_unknown: OnUnknown::Resend, ..messenger_then_sms() });
    life.start().answer(SendResult::Unknown(rejection(Fault::Provider)));
    life.start().answer(SendResult::Unknown(rejection(Fault::Provider)));
    life.after(29_999);
    assert_eq!(life.step(), Some(0));
    life.after(1);
    assert_eq!(life.step(), Some(1));
}

#[test]
fn without_an_echo_there_is_no_receipt_to_wait_for() {
    let silent = RouteProperties { correlates_receipts: false, ..PLAIN };
    let mut life = Life::by(messenger_then_sms(), vec![silent]);
    life.start().answer(SendResult::Unknown(rejection(Fault::Provider)));
    assert_eq!(life.step(), Some(1));
}

#[test]
fn where_the_provider_honours_our_id_an_unknown_outcome_is_repeated_under_it() {
    let idempotent = RouteProperties { idempotent_for_ms: Some(5 * MINUTE), ..PLAIN };
    let mut life = Life::by(messenger_then_sms(), vec![idempotent]);
    life.start().answer(SendResult::Unknown(rejection(Fault::Provider)));
    life.after(2000).accepted();
    assert_eq!(life.workflow.attempts.len(), 1, "one attempt, two calls");
    assert_eq!(life.workflow.attempts[0].calls, 2);
    assert!(!life.workflow.attempts[0].possible_duplicate);
}

#[test]
fn after_an_unknown_outcome_no_other_route_of_the_step_is_tried() {
    let idempotent = RouteProperties { idempotent_for_ms: Some(5 * MINUTE), ..PLAIN };
    let mut life = Life::by(messenger_then_sms(), vec![idempotent, PLAIN]);
    life.start().answer(SendResult::Unknown(rejection(Fault::Provider)));
    life.after(2000).start().answer(SendResult::Rejected(rejection(Fault::Provider)));
    assert_eq!(life.step(), Some(1));
}

#[test]
fn a_repeat_that_gets_its_place_after_the_provider_forgot_the_id_is_not_made() {
    let idempotent = RouteProperties { idempotent_for_ms: Some(5000), ..PLAIN };
    let mut life = Life::by(messenger_then_sms(), vec![idempotent]);
    life.start().answer(SendResult::Unknown(rejection(Fault::Provider)));
    life.after(5001).start();
    assert_eq!(life.workflow.attempts[0].calls, 1, "a second call would be a second message");
    assert!(matches!(life.workflow.attempts[0].state, AttemptState::Unknown { .. }));
    life.after(30_000);
    assert_eq!(life.step(), Some(1), "and then it is as with any unknown outcome");
}

#[test]
fn a_repeat_that_is_put_off_for_longer_than_the_provider_knows_the_id_is_not_made() {
    let idempotent = RouteProperties { idempotent_for_ms: Some(5000), ..PLAIN };
    let mut life = Life::by(messenger_then_sms(), vec![idempotent]);
    life.start().answer(SendResult::Unknown(rejection(Fault::Provider)));
    let deferred =
        SendResult::RetryLater { rejection: rejection(Fault::Provider), after_ms: Some(10_000) };
    life.after(2000).start().answer(deferred).after(10_000).start();
    assert_eq!(life.workflow.attempts[0].calls, 2, "the third would be a second message");
}

#[test]
fn two_calls_may_be_out_at_once_and_both_are_owed() {
    let mut life = Life::of(Plan { on_unknown: OnUnknown::Resend, ..messenger_then_sms() });
    life.start().answer(SendResult::Unknown(rejection(Fault::Provider)));
    life.start().after(10 * MINUTE).start();
    assert_eq!(life.workflow.unanswered(), [2, 3]);
}

#[test]
fn a_crash_between_started_and_the_answer_leaves_the_outcome_unknown() {
    let mut life = Life::of(messenger_then_sms());
    life.start();
    assert_eq!(life.workflow.unanswered(), [1]);
    life.tell(Event::Lost { attempt: 1 });
    life.answer(SendResult::Accepted { provider_id: "p".to_owned() });
    assert!(matches!(life.workflow.attempts[0].state, AttemptState::Unknown { .. }), "stale");
}

#[test]
fn a_late_read_stops_what_came_after_and_is_counted_as_regret() {
    let mut life = Life::of(messenger_then_sms());
    life.accepted().after(10 * MINUTE).start();
    life.update(1, Report::Reached(Status::Read));
    assert_eq!(life.ended(), Some((EndState::Succeeded, Reason::LateConditionMet)));
    assert_eq!(life.regrets(), 1);
}

#[test]
fn a_late_read_before_the_next_send_is_no_regret_and_stops_it() {
    let mut life = Life::of(messenger_then_sms());
    life.accepted().after(10 * MINUTE).update(1, Report::Reached(Status::Read));
    assert_eq!(life.ended(), Some((EndState::Succeeded, Reason::LateConditionMet)));
    assert_eq!(life.regrets(), 0);
    assert_eq!(life.workflow.wants_permit(), None);
}

#[test]
fn with_continue_a_late_success_counts_at_the_end() {
    let mut life =
        Life::of(Plan { on_late_success: OnLateSuccess::Continue, ..messenger_then_sms() });
    life.accepted().after(10 * MINUTE).update(1, Report::Reached(Status::Read));
    assert_eq!(life.step(), Some(1));
    life.start().answer(SendResult::Rejected(rejection(Fault::Recipient)));
    assert_eq!(life.ended(), Some((EndState::Succeeded, Reason::LateConditionMet)));
}

#[test]
fn a_failure_receipt_fails_over_and_a_later_delivery_still_counts() {
    let mut life = Life::of(messenger_then_sms());
    life.accepted().update(1, Report::Failed(Failure::Undeliverable));
    assert_eq!(life.step(), Some(1));
    life.update(1, Report::Reached(Status::Read));
    assert_eq!(life.ended(), Some((EndState::Succeeded, Reason::LateConditionMet)));
}

#[test]
fn silence_after_the_last_step_is_unconfirmed() {
    let mut life = Life::of(plan(&[None]));
    life.accepted().after(72 * 3_600_000);
    assert_eq!(life.ended(), Some((EndState::Unconfirmed, Reason::NoConfirmation)));
}

#[test]
fn a_channel_that_tells_nothing_ends_unconfirmed_at_acceptance() {
    let mute = RouteProperties { reports_delivered: false, ..PLAIN };
    let mut life = Life::by(plan(&[None]), vec![mute]);
    life.accepted();
    assert_eq!(life.ended(), Some((EndState::Unconfirmed, Reason::NoReceipts)));
}

#[test]
fn nothing_starts_after_a_cancel() {
    let mut life = Life::of(messenger_then_sms());
    life.tell(Event::Cancel);
    assert_eq!(life.ended(), Some((EndState::Canceled, Reason::Canceled)));
    assert_eq!(life.tell(Event::PermitGranted { attempt: 1 }), 0);
    assert_eq!(life.workflow.attempts[0].calls, 0);
}

#[test]
fn an_answer_after_a_cancel_is_recorded_and_changes_nothing() {
    let mut life = Life::of(messenger_then_sms());
    life.start();
    life.tell(Event::Cancel);
    life.answer(SendResult::Accepted { provider_id: "p".to_owned() });
    life.update(1, Report::Reached(Status::Read));
    assert_eq!(life.ended(), Some((EndState::Canceled, Reason::Canceled)));
    assert!(matches!(life.journal.last(), Some((_, Fact::LateStatus { .. }))));
}

#[test]
fn nothing_starts_after_valid_until() {
    let mut plan = messenger_then_sms();
    plan.valid_until = Some(UnixMillis(START + 5 * MINUTE));
    let mut life = Life::of(plan.clone());
    life.accepted().after(10 * MINUTE);
    assert_eq!(life.ended(), Some((EndState::Failed, Reason::DeadlineExceeded)));
    assert_eq!(life.workflow.attempts.len(), 1);

    let mut life = Life::of(plan);
    life.pass(5 * MINUTE + 1);
    life.start();
    assert_eq!(life.ended(), Some((EndState::Failed, Reason::DeadlineExceeded)));
    assert_eq!(life.workflow.attempts[0].calls, 0, "its place came too late");
}

#[test]
fn a_scheduled_workflow_starts_at_its_time() {
    let mut plan = messenger_then_sms();
    plan.send_at = Some(UnixMillis(START + MINUTE));
    let mut life = Life::of(plan);
    assert_eq!(life.workflow.phase, Phase::Scheduled);
    life.after(MINUTE - 1);
    assert_eq!(life.workflow.phase, Phase::Scheduled);
    life.after(1);
    assert_eq!(life.step(), Some(0));
}

#[test]
fn a_place_that_never_comes_fails_the_step_in_its_time() {
    let mut life = Life::of(messenger_then_sms());
    life.after(10 * MINUTE);
    assert_eq!(life.step(), Some(1));
}

#[test]
fn a_held_wait_for_a_receipt_is_not_given_up() {
    let mut life = Life::of(messenger_then_sms());
    life.accepted();
    life.pass(11 * MINUTE);
    assert_eq!(life.tell(Event::Wake { up_since: life.now.engine, hold: true }), 0);
    life.update(1, Report::Reached(Status::Read));
    assert_eq!(life.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
}

#[test]
fn an_expiry_says_what_was_waited_for_and_what_was_reached() {
    let mut life = Life::of(messenger_then_sms());
    life.accepted().after(41_000).update(1, Report::Reached(Status::Delivered)).after(10 * MINUTE);
    let told: Vec<_> = life.journal.iter().map(|(_, fact)| describe(fact)).collect();
    let wanted = "not read within 600 s; last status delivered, 41 s after submission";
    assert!(told.iter().any(|told| told == wanted), "{told:#?}");
}

fn report() -> impl Strategy<Value = Report> {
    prop_oneof![
        prop::sample::select(&Status::ALL[1..]).prop_map(Report::Reached),
        Just(Report::Failed(Failure::Rejected)),
        Just(Report::Failed(Failure::Undeliverable)),
    ]
}

fn any_answer() -> impl Strategy<Value = SendResult> {
    let fault = prop::sample::select(&[Fault::Provider, Fault::Recipient][..]);
    prop_oneof![
        3 => Just(SendResult::Accepted { provider_id: "p".to_owned() }),
        1 => fault.clone().prop_map(|fault| SendResult::Rejected(rejection(fault))),
        2 => (fault.clone(), prop::option::of(0..120_000_u64)).prop_map(|(fault, after_ms)| {
            SendResult::RetryLater { rejection: rejection(fault), after_ms }
        }),
        2 => fault.prop_map(|fault| SendResult::Unknown(rejection(fault))),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(WAKE),
        2 => (0..60 * MINUTE, any::<bool>())
            .prop_map(|(ms, hold)| Event::Wake { up_since: UnixMillis(START + ms), hold }),
        6 => (0..6_u16).prop_map(|attempt| Event::PermitGranted { attempt }),
        6 => (0..6_u16, 0..4_u16, any_answer())
            .prop_map(|(attempt, call, answer)| Event::SendResult { attempt, call, result: answer }),
        1 => (0..6_u16).prop_map(|attempt| Event::Lost { attempt }),
        4 => (0..6_u16, report())
            .prop_map(|(attempt, report)| Event::Update { attempt, update: update(report) }),
        1 => Just(Event::Rerouted),
        1 => Just(Event::Cancel),
    ]
}

/// How far the wall clock is set before an event: mostly not at all.
fn any_step() -> impl Strategy<Value = i64> {
    let far = [1000, 3_600_000, 30 * 86_400_000].map(|most: i64| -most..=most);
    prop_oneof![8 => Just(0), 1 => far[0].clone(), 1 => far[1].clone(), 1 => far[2].clone()]
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let expiry = prop::option::weighted(0.8, 1000..20 * MINUTE);
    let status = prop::sample::select(&[Status::Submitted, Status::Delivered, Status::Read][..]);
    let rule = (status, expiry)
        .prop_map(|(condition, expiry_ms)| FailoverCondition { condition, expiry_ms });
    let last = prop::option::of(rule.clone());
    let options = (
        prop::option::of(0..30 * MINUTE),
        prop::option::of(0..30 * MINUTE),
        prop::option::of(1000..20 * MINUTE),
        any::<bool>(),
        0..3,
    );
    (prop::collection::vec(rule, 0..3), last, options).prop_map(|(rules, last, options)| {
        let (send_at, valid_until, send_within_ms, stop, on_unknown) = options;
        let rules: Vec<_> = rules.into_iter().map(Some).chain([last]).collect();
        Plan {
            send_at: send_at.map(|ms| UnixMillis(START + ms)),
            valid_until: valid_until.map(|ms| UnixMillis(START + ms)),
            send_within_ms,
            on_late_success: if stop { OnLateSuccess::Stop } else { OnLateSuccess::Continue },
            on_unknown: [OnUnknown::WaitReceipt, OnUnknown::Resend, OnUnknown::FailOver]
                [on_unknown as usize],
            ..plan(&rules)
        }
    })
}

fn any_routes() -> impl Strategy<Value = Vec<RouteProperties>> {
    let properties = (prop::option::of(0..10 * MINUTE), any::<bool>(), any::<bool>()).prop_map(
        |(idempotent_for_ms, correlates_receipts, reports_delivered)| RouteProperties {
            idempotent_for_ms,
            correlates_receipts,
            reports_delivered,
        },
    );
    prop::collection::vec(properties, 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        // Found cases are kept beside this file, and tried first.
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    /// Whatever comes in whatever order: every invariant holds after every event, the end is
    /// final, a repeat changes nothing, and the journal replayed gives the same state.
    #[test]
    fn any_order_of_anything_keeps_every_promise(
        plan in any_plan(),
        routes in any_routes(),
        events in prop::collection::vec((any_event(), 0..4 * MINUTE, any_step()), 0..60),
    ) {
        let mut life = Life::by(plan, routes);
        for (event, pause, step) in events {
            life.now.wall = UnixMillis(life.now.wall.0.saturating_add_signed(step));
            life.pass(pause);
            let (end, sequence) = (life.ended(), life.workflow.sequence);
            let starts = |life: &Life| life.workflow.attempts.iter().map(|a| u32::from(a.calls)).sum::<u32>();
            let before = starts(&life);
            life.tell(event.clone());
            if end.is_some() {
                prop_assert_eq!(life.ended(), end, "an end is final");
                prop_assert_eq!(starts(&life), before, "nothing starts after the end");
            }
            if let Some(until) = life.plan.valid_until && life.now.wall > until {
                prop_assert_eq!(starts(&life), before, "nothing starts after valid_until");
            }
            prop_assert!(life.workflow.sequence >= sequence);
            if !matches!(event, Event::PermitGranted { .. }) {
                prop_assert_eq!(life.tell(event), 0, "a repeat changes nothing");
            }
        }
        let mut replayed = fresh(&life.plan);
        for (at, fact) in &life.journal {
            replayed.apply(*at, fact);
        }
        prop_assert_eq!(&replayed, &life.workflow);
    }

    /// Left alone with a provider that always answers, every workflow ends, and no deadline that
    /// has passed is left standing.
    #[test]
    fn every_workflow_ends(
        plan in any_plan(),
        routes in any_routes(),
        answers in prop::collection::vec(any_answer(), 1..20),
    ) {
        let mut life = Life::by(plan, routes);
        let mut answers = answers.into_iter().cycle();
        for _ in 0..5000 {
            if life.ended().is_some() {
                break;
            }
            if life.workflow.wants_permit().is_some() {
                life.start();
                if life.ended().is_none() && !life.workflow.unanswered().is_empty() {
                    let answer = answers.next().expect("endless");
                    life.answer(answer);
                }
                continue;
            }
            let deadline = life.workflow.deadlines().next(life.now).expect("it waits for something");
            prop_assert!(deadline.at > life.now.wall, "{deadline:?} was left standing");
            let wait = deadline.at.0 - life.now.wall.0;
            life.after(wait);
        }
        prop_assert!(life.ended().is_some(), "{:?}", life.workflow);
    }

    /// Two lives of one plan, told the same at the same engine times; in one of them somebody sets the
    /// wall clock now and then. Without appointments nobody can tell them apart.
    #[test]
    fn a_wall_clock_that_is_set_moves_no_duration(
        plan in any_plan(),
        routes in any_routes(),
        events in prop::collection::vec((any_event(), 0..4 * MINUTE, any_step()), 0..60),
    ) {
        let plan = Plan { send_at: None, valid_until: None, ..plan };
        let (mut steady, mut set) = (Life::by(plan.clone(), routes.clone()), Life::by(plan, routes));
        for (event, pause, step) in events {
            steady.pass(pause);
            set.pass(pause);
            set.now.wall = UnixMillis(set.now.wall.0.saturating_add_signed(step));
            prop_assert_eq!(steady.tell(event.clone()), set.tell(event));
            prop_assert_eq!(steady.workflow.deadlines(), set.workflow.deadlines());
        }
        let told = |life: &Life| -> Vec<_> {
            life.journal.iter().map(|(at, fact)| (at.engine, fact.clone())).collect()
        };
        prop_assert_eq!(told(&steady), told(&set));
    }

    /// Whatever the wall clock does: before it shows `send_at` nothing is planned, when it does
    /// something is, and once it shows more than `valid_until` nothing starts.
    #[test]
    fn appointments_are_kept_by_the_wall_clock(
        send_in in 0..90 * MINUTE,
        valid_for in 0..60 * MINUTE,
        moves in prop::collection::vec((0..20 * MINUTE, any_step()), 1..40),
    ) {
        let mut plan = messenger_then_sms();
        let (send_at, valid_until) = (START + send_in, START + send_in + valid_for);
        (plan.send_at, plan.valid_until) = (Some(UnixMillis(send_at)), Some(UnixMillis(valid_until)));
        let mut life = Life::of(plan);
        for (pause, step) in moves {
            let was_scheduled = life.workflow.phase == Phase::Scheduled;
            life.after(pause).set_wall(step);
            let wall = life.now.wall.0;
            let calls = life.workflow.attempts.iter().map(|attempt| attempt.calls).sum::<u16>();
            prop_assert!(wall < send_at || life.workflow.phase != Phase::Scheduled);
            if was_scheduled && life.workflow.phase != Phase::Scheduled {
                // Either before the clock was set or after it, it showed that time.
                prop_assert!(wall.max(wall.saturating_add_signed(-step)) >= send_at);
            }
            if let Some(attempt) = life.workflow.wants_permit() {
                life.tell(Event::PermitGranted { attempt });
                let now = life.workflow.attempts.iter().map(|attempt| attempt.calls).sum::<u16>();
                prop_assert_eq!(now > calls, wall <= valid_until, "{} and {}", wall, valid_until);
                life.answer(SendResult::RetryLater { rejection: rejection(Fault::Recipient), after_ms: None });
            }
        }
    }
}
