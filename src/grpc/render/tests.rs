use std::{collections::BTreeSet, sync::Arc};

use dispatch_contract::{
    Channel, ContentKind, Endpoint, ErrorKind, Failure, Fault, Status, UnixMillis, Usage,
};
use uuid::Uuid;

use super::{enums, event, fresh, state, summary, workflow};
use crate::{
    access::{Caller, Scope},
    api::ShownContents,
    machine::{
        AcceptedBy, CallFailure, EndState, Fact, FailoverCondition, Moment, Outcome, Plan,
        Progress, ProgressState, Reason, RecallResult, RouteProperties, StepPlan, StepStatus,
        TimelineEvent, Workflow, WorkflowId,
    },
    pb::v1::{
        self, ContentsState, EventKind, OutcomeReason, StepState, WorkflowState, event::Attributes,
    },
    shared::plans,
    store::Record,
};

const START: u64 = 1_893_456_000_000;

/// The wall clock is an hour ahead of engine time, and what is told is its.
fn at(wall_ms: u64) -> Moment {
    Moment { engine: UnixMillis(wall_ms - 3_600_000), wall: UnixMillis(wall_ms) }
}

fn plan() -> Plan {
    let step = |channel, from: &str, failover| StepPlan {
        channel,
        sender: Endpoint::Id(from.to_owned()),
        content: ContentKind::Text,
        failover,
    };
    let read = FailoverCondition { condition: Status::Read, expiry_ms: Some(600_000) };
    plans::plan(vec![
        step(Channel::VIBER, "16273", Some(read)),
        step(Channel::SMS, "Dispatch", None),
    ])
}

fn record() -> Record {
    let request = plans::request(plan(), "hello");
    plans::named(WorkflowId(Uuid::from_u128(7)), at(START), request, "r-1")
}

/// The workflow after these facts, one a second, and their events.
fn after(facts: &[Fact]) -> (Record, Workflow, Vec<v1::Event>) {
    let record = record();
    let needs =
        (0..2).filter_map(|step| record.plan.route_requirement(&record.tenant, step)).map(Arc::new);
    let created = record.created_at;
    let mut state = Workflow::new(record.id, created, &record.plan, needs, record.policy);
    let times = || (0_u64..).map(|second| at(START + second * 1000));
    for (at, fact) in times().zip(facts) {
        state.apply(at, fact);
    }
    let events = (1..).zip(times().zip(facts)).map(|(sequence, (at, fact))| {
        event(&TimelineEvent::of(&state, sequence, at, fact), format!("t{sequence}"))
    });
    let events = events.collect();
    (record, state, events)
}

fn planned(attempt: u16, step: u8) -> Fact {
    let properties = RouteProperties {
        idempotent_for_ms: None,
        correlates_receipts: false,
        reports_delivered: true,
        recalls: false,
        in_parts: false,
        watermarks: false,
    };
    Fact::AttemptPlanned { attempt, step, route: "r".into(), properties, possible_duplicate: false }
}

fn accepted(attempt: u16) -> Fact {
    let provider_id = format!("p{attempt}");
    Fact::AttemptAccepted { attempt, provider_ids: vec![provider_id], by: AcceptedBy::Response }
}

fn reached(attempt: u16, status: Status) -> Fact {
    let usage = Some(Usage { currency: "EUR".to_owned(), price: "0.03".to_owned() });
    Fact::StatusReached { attempt, status, provider_time: Some(UnixMillis(START + 1)), usage }
}

fn ended(state: EndState, reason: Reason) -> Fact {
    Fact::Ended(Outcome { state, reason, code: None, detail: "because".to_owned() })
}

/// Viber expires, the SMS is delivered.
fn failed_over() -> Vec<Fact> {
    vec![
        Fact::Created,
        Fact::StepStarted { step: 0 },
        planned(1, 0),
        Fact::AttemptStarted { attempt: 1, call: 1, account: "vonage/main".into() },
        accepted(1),
        reached(1, Status::Delivered),
        Fact::StepExpired {
            step: 0,
            condition: Status::Read,
            expiry_ms: 600_000,
            last: Status::Delivered,
            last_after_ms: Some(1000),
            late_ms: 2500,
            while_down: true,
        },
        Fact::StepStarted { step: 1 },
        planned(2, 1),
        Fact::AttemptStarted { attempt: 2, call: 1, account: "vonage/main".into() },
        accepted(2),
        reached(2, Status::Delivered),
        Fact::StepMet { step: 1 },
        ended(EndState::Succeeded, Reason::ConditionMet),
    ]
}

#[test]
fn a_workflow_that_failed_over_is_shown_whole() {
    let facts = failed_over();
    let (record, state, events) = after(&facts);
    let shown = workflow(&record, &ShownContents::Dropped, &Progress::of(&state, &facts), events);
    assert_eq!(shown.state(), WorkflowState::Succeeded);
    assert_eq!((shown.revision, shown.request_id.as_str()), (14, "r-1"));
    let outcome = shown.outcome.unwrap();
    assert_eq!((outcome.reason(), outcome.step), (OutcomeReason::ConditionMet, 2));
    assert_eq!(shown.end_time.unwrap().seconds, START as i64 / 1000 + 13);
    assert_eq!(shown.next_deadline, None);
    assert_eq!(shown.timeline.len(), facts.len());

    let [viber, sms] = shown.steps.as_slice() else { panic!("two steps") };
    assert_eq!((viber.number, viber.state()), (1, StepState::Expired));
    assert_eq!((viber.reason(), viber.status.as_str()), (OutcomeReason::Expired, "delivered"));
    assert_eq!(viber.expire_time.unwrap().seconds, START as i64 / 1000 + 4 + 600);
    assert_eq!((viber.channel.as_str(), viber.attempts.len()), ("viber_service_msg", 1));
    assert_eq!((sms.state(), sms.reason()), (StepState::Met, OutcomeReason::ConditionMet));
    assert_eq!(
        (sms.attempts[0].number, sms.attempts[0].provider_message_ids.concat()),
        (2, "p2".to_owned())
    );
    assert_eq!(sms.expire_time, None);
}

#[test]
fn a_timeline_tells_step_and_channel_of_every_attempt_and_where_to_go_on() {
    let facts = failed_over();
    let (record, state, events) = after(&facts);
    assert_eq!((events[3].step, events[3].resume_token.as_str()), (1, "t4"));
    let shown = workflow(&record, &ShownContents::Dropped, &Progress::of(&state, &facts), events);
    let of = |index: usize| &shown.timeline[index];
    assert_eq!((of(3).step, of(3).channel.as_str()), (1, "viber_service_msg"));
    assert_eq!((of(11).step, of(11).channel.as_str()), (2, "sms"));
    assert_eq!((of(0).step, of(13).step), (0, 0));
    assert!(shown.timeline.iter().all(|event| !event.resume_token.is_empty()));
    assert!(shown.timeline.iter().all(|event| !event.description.is_empty()));
    let Some(Attributes::StepEnd(expired)) = &of(6).attributes else { panic!("{:?}", of(6)) };
    assert!(expired.while_down);
    assert_eq!(expired.late_by.unwrap().nanos, 500_000_000);
    let Some(Attributes::StatusReport(report)) = &of(5).attributes else { panic!("{:?}", of(5)) };
    assert_eq!(report.usage.as_ref().unwrap().price, "0.03");
}

#[test]
fn a_summary_has_of_the_spec_only_what_a_caller_knows_it_by() {
    let (record, state, _) = after(&failed_over());
    let shown = summary(&record, &state, &ShownContents::Dropped);
    let wanted = v1::WorkflowSpec {
        labels: record.plan.labels.clone(),
        client_ref: record.plan.client_ref.clone().unwrap_or_default(),
        ..v1::WorkflowSpec::default()
    };
    assert_eq!(shown.spec.unwrap_or_default(), wanted);
    assert!(shown.timeline.is_empty());
    assert_eq!(shown.outcome.unwrap().reason(), OutcomeReason::ConditionMet);
    assert_eq!(shown.steps.len(), 2);
}

#[test]
fn a_workflow_says_how_much_is_shown_of_who_is_reached_and_what_is_said() {
    let (record, state, _) = after(&failed_over());
    let asked = plans::request(plan(), "hello").contents;
    for (contents, wanted) in [
        (ShownContents::Shown(asked), ContentsState::Shown),
        (ShownContents::Dropped, ContentsState::Dropped),
        (ShownContents::Unreadable, ContentsState::Unreadable),
    ] {
        let shown = workflow(&record, &contents, &Progress::of(&state, []), Vec::new());
        assert_eq!(shown.contents(), wanted);
        assert_eq!(summary(&record, &state, &contents).contents(), wanted);
        let is_shown = wanted == ContentsState::Shown;
        for step in shown.spec.unwrap().steps {
            assert_eq!(step.recipient.is_some(), is_shown);
            assert_eq!(step.message.is_some(), is_shown);
            assert!(step.sender.is_some(), "what is not personal is always shown");
        }
    }
}

#[test]
fn a_workflow_under_way_says_what_happens_next() {
    let facts = &failed_over()[..5];
    let (record, state, _) = after(facts);
    let shown =
        workflow(&record, &ShownContents::Dropped, &Progress::of(&state, facts), Vec::new());
    let next = shown.next_deadline.unwrap();
    assert_eq!(next.kind(), v1::DeadlineKind::ExpiryTime);
    assert_eq!(Some(next.time), shown.steps.first().map(|step| step.expire_time));
    assert_eq!((shown.outcome, shown.end_time), (None, None));
    assert_eq!(shown.state, WorkflowState::Running as i32);
    assert!(shown.timeline.is_empty());
}

#[test]
fn what_comes_after_the_end_tells_how_it_had_ended() {
    let mut facts = failed_over();
    facts.push(Fact::LateFailure {
        attempt: 1,
        failure: Failure::Undeliverable,
        code: Some("1300".to_owned()),
        provider_time: None,
        detail: Some("not on this channel".to_owned()),
        usage: Some(Usage { currency: "EUR".to_owned(), price: "0.05".to_owned() }),
    });
    let (_, _, events) = after(&facts);
    assert_eq!(events[14].state(), WorkflowState::Succeeded);
    assert_eq!(events[14].step, 1);
    let report = events[14].failure_report().unwrap();
    assert_eq!(report.failure(), v1::MessageFailure::Undeliverable);
    assert_eq!(report.detail, "not on this channel");
    assert_eq!(report.usage.as_ref().map(|usage| usage.price.as_str()), Some("0.05"));
    assert_eq!(report.provider_code, "1300");
}

#[test]
fn a_scheduled_workflow_that_is_canceled_never_ran() {
    let facts = [
        Fact::Created,
        Fact::StepSkipped { step: 0 },
        Fact::StepSkipped { step: 1 },
        ended(EndState::Canceled, Reason::Canceled),
    ];
    let (record, state, events) = after(&facts);
    let shown = workflow(&record, &ShownContents::Dropped, &Progress::of(&state, &facts), events);
    let states: Vec<_> = shown.timeline.iter().map(v1::Event::state).collect();
    use WorkflowState::{Canceled, Scheduled};
    assert_eq!(states, [Scheduled, Scheduled, Scheduled, Canceled]);
    assert_eq!(shown.outcome.unwrap().step, 0);
}

#[test]
fn a_refused_call_says_what_happened_and_whose_fault_it_was() {
    let failure = CallFailure {
        kind: ErrorKind::InvalidRecipient,
        fault: Fault::Recipient,
        code: Some("1300".to_owned()),
        detail: "not on this channel".to_owned(),
        cause: None,
    };
    let fact = Fact::AttemptRejected { attempt: 1, failure };
    let (_, state, _) = after(&failed_over()[..4]);
    let event = event(&TimelineEvent::of(&state, 5, at(START), &fact), String::new());
    assert_eq!(event.kind(), EventKind::AttemptRejected);
    let failure = event.call_failure().unwrap();
    assert_eq!(failure.error(), v1::CallErrorKind::InvalidRecipient);
    assert_eq!(failure.fault(), v1::Fault::Recipient);
    assert_eq!(failure.provider_code, "1300");
    assert_eq!(event.attempt_id, "00000000000000000000000000000007.1");
}

#[test]
fn a_workflow_is_fresh_as_long_as_its_events_add_nothing() {
    let facts = failed_over();
    let mut counted = 0;
    for count in 1..=facts.len() {
        let facts = &facts[..count];
        let (record, state, _) = after(facts);
        if let Some(shown) = fresh(&record, &ShownContents::Dropped, &state) {
            let whole = workflow(
                &record,
                &ShownContents::Dropped,
                &Progress::of(&state, facts),
                Vec::new(),
            );
            assert_eq!(shown, whole, "after {count}");
            counted += 1;
        }
    }
    assert_eq!(counted, 4);
}

/// One of each kind that can be told apart.
fn one_of_each() -> Vec<Fact> {
    let call_failure = || CallFailure {
        kind: ErrorKind::Throttled,
        fault: Fault::Provider,
        code: None,
        detail: "busy".to_owned(),
        cause: None,
    };
    let (attempt, step, status) = (1, 0, Status::Read);
    let (code, detail, provider_time, usage) = (None, None, None, None);
    let failure = Failure::Undeliverable;
    let (retry_at, unnecessary_failover) = (UnixMillis(START), false);
    let mut facts = failed_over();
    facts.extend([
        Fact::AttemptRejected { attempt, failure: call_failure() },
        Fact::AttemptRetryScheduled { attempt, failure: call_failure(), retry_at },
        Fact::AttemptUnknown { attempt, failure: None, wait_until: retry_at },
        Fact::AttemptRepeated { attempt, failure: None, retry_at },
        Fact::AttemptDue { attempt },
        Fact::StatusFailed { attempt, failure, code, detail, provider_time, usage },
        Fact::StepFailed {
            step,
            reason: Reason::Rejected,
            code: None,
            detail: "no such person".to_owned(),
        },
        Fact::StepSkipped { step },
        Fact::StepCanceled { step },
        Fact::LateSuccess { step, attempt, status, unnecessary_failover },
        Fact::LateStatus {
            attempt,
            status,
            provider_time: None,
            usage: None,
            unnecessary_failover,
        },
        Fact::LateFailure {
            attempt,
            failure,
            code: None,
            provider_time: None,
            detail: None,
            usage: None,
        },
        Fact::LateSendResult { attempt, provider_ids: None, unknown: false },
        Fact::RecallStarted { attempt, wait_until: retry_at },
        Fact::RecallEnded { attempt, result: RecallResult::Recalled },
        Fact::PartReached {
            attempt,
            part: 2,
            status,
            provider_time: None,
            usage: None,
            late: true,
        },
        Fact::ContentsErased { erasure: Uuid::from_u128(1) },
    ]);
    facts
}

#[test]
fn what_the_old_apis_call_by_the_machine_s_names_has_the_same_names_here() {
    let facts = one_of_each();
    let (_, _, events) = after(&facts);
    let kinds: BTreeSet<_> = events.iter().map(|event| event.kind() as i32).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), (1..=26).collect::<Vec<_>>(), "all kinds");
    for (fact, event) in facts.iter().zip(&events) {
        assert_eq!(fact.kind(), event.kind().short_name());
    }
    for reason in Reason::ALL {
        assert_eq!(reason.as_str(), enums::reason(reason).short_name());
    }
    let ended = EndState::ALL.map(ProgressState::Ended);
    for it in [ProgressState::Scheduled, ProgressState::Running].into_iter().chain(ended) {
        assert_eq!(it.as_str(), state(it).short_name());
    }
    use StepStatus::{Active, Canceled, Expired, Failed, Met, Skipped, Waiting};
    for it in [Waiting, Active, Met, Failed, Expired, Skipped, Canceled] {
        assert_eq!(it.as_str(), enums::step_state(it).short_name());
    }
}

#[test]
fn personal_words_are_shown_with_contents_and_only_named_without() {
    let mut request = plans::request(plan(), "hello");
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    request.plan.labels = [label("kind", "reminder")].into();
    request.contents.labels = [label("customer", "Ann")].into();
    request.contents.client_ref = Some("for Ann".to_owned());
    let record = plans::record_of(WorkflowId(Uuid::from_u128(7)), at(START), request.clone());
    let (_, state, _) = after(&failed_over());
    let to = |scopes: &[Scope]| {
        let caller = Caller { scopes: scopes.to_vec(), ..Caller::anonymous() };
        ShownContents::to(&caller, request.contents.clone(), false)
    };
    for (contents, is_shown, is_named) in [
        (to(&[Scope::Contents]), true, true),
        (to(&Scope::FIRST), false, true),
        (ShownContents::Dropped, false, false),
    ] {
        let whole = workflow(&record, &contents, &Progress::of(&state, []), Vec::new());
        for spec in [whole.spec.unwrap(), summary(&record, &state, &contents).spec.unwrap()] {
            assert_eq!(spec.labels["kind"], "reminder");
            assert_eq!(spec.labels.get("customer").is_some_and(|it| it == "Ann"), is_shown);
            assert_eq!(spec.client_ref == "for Ann", is_shown);
            assert_eq!(spec.personal_labels == ["customer"], is_named);
            assert_eq!(spec.personal_client_ref, is_named);
        }
    }
}

#[test]
fn a_request_shown_and_parsed_again_is_the_same_request() {
    for asked in crate::api::parse::tests::asked() {
        let shown = super::spec(&asked.plan, &ShownContents::Shown(asked.contents.clone()));
        assert_eq!(crate::api::parse::tests::parsed(&shown), asked);
    }
}
