//! Bounds to the millisecond, and what is told to the word: what a rule says of the very last moment.

use std::collections::BTreeSet;

use super::*;

const UNKNOWN: fn() -> SendResult = || SendResult::Unknown(failure(Fault::Provider));

fn deferred(after_ms: u64) -> SendResult {
    SendResult::RetryLater { failure: failure(Fault::Provider), after_ms: Some(after_ms) }
}

fn honouring(ms: u64) -> RouteProperties {
    RouteProperties { idempotent_for_ms: Some(ms), ..PLAIN }
}

/// How long the first repeat of the first attempt is put off.
fn first_delay() -> u64 {
    retry_delay(&PolicySnapshot::default(), WorkflowId(Uuid::from_u128(7)), 1, 1)
}

fn told(driven: &DrivenWorkflow) -> Vec<String> {
    driven.journal.iter().map(|(_, fact)| describe(fact)).collect()
}

#[test]
fn a_retry_waits_for_half_of_its_delay_at_least_and_no_two_wait_alike() {
    let policy = PolicySnapshot::default();
    for call in 1..20_u16 {
        let whole = (1000_u64 << (call - 1)).min(60_000);
        let delays =
            (0..200).map(|id| retry_delay(&policy, WorkflowId(Uuid::from_u128(id)), 1, call));
        let delays: BTreeSet<_> = delays.collect();
        let (least, most) = (delays.first().unwrap(), delays.last().unwrap());
        assert!((whole / 2..=whole / 2 + whole / 50).contains(least), "{call}: {least}");
        assert!((whole - whole / 50..=whole).contains(most), "{call}: {most}");
        assert!(delays.len() > 100, "{call}: {}", delays.len());
    }
    for id in [7, u128::MAX] {
        let id = WorkflowId(Uuid::from_u128(id));
        let by_attempt: BTreeSet<_> = (1..50).map(|it| retry_delay(&policy, id, it, 1)).collect();
        let by_call: BTreeSet<_> = (7..50).map(|it| retry_delay(&policy, id, 1, it)).collect();
        assert!(by_attempt.len() > 30 && by_call.len() > 30, "{by_attempt:?} {by_call:?}");
    }
}

#[test]
fn silence_is_unconfirmed_after_72_hours_and_not_before() {
    let mut driven = DrivenWorkflow::of(plan(&[None]));
    driven.accepted().after(72 * 3_600_000 - 1);
    assert_eq!(driven.ended(), None);
    driven.after(1);
    assert_eq!(driven.ended(), Some((EndState::Unconfirmed, Reason::NoConfirmation)));
}

#[test]
fn what_is_over_at_the_very_start_was_not_over_before_it() {
    let wake = |up_since, hold| Event::Wake { up_since, hold };
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted().pass(10 * MINUTE);
    let (due, now) = (driven.now.engine, driven.now.engine.0);
    assert_eq!(driven.handle(wake(UnixMillis(now + 1), true)), 0, "it is held");
    assert!(driven.handle(wake(due, true)) > 0, "it was not over before the start");
    let is_late = |driven: &DrivenWorkflow| {
        driven.journal.iter().any(|(_, fact)| match fact {
            Fact::StepExpired { while_down, .. } => *while_down,
            _ => false,
        })
    };
    assert!(!is_late(&driven));

    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted().pass(10 * MINUTE);
    driven.handle(wake(UnixMillis(now + 1), false));
    assert!(is_late(&driven), "nothing is held, and it is said that it was over before");

    let mut driven = DrivenWorkflow::of(plan(&[None]));
    driven.pass(15 * MINUTE);
    driven.handle(wake(driven.now.engine, false));
    assert_eq!(driven.ended(), Some((EndState::Failed, Reason::RouteSaturated)));
    assert!(told(&driven).iter().any(|it| it.contains("not sent within 900 s")));
}

#[test]
fn the_last_moment_of_valid_until_and_of_the_provider_s_time_for_our_id_still_counts() {
    let until = UnixMillis(START + 5 * MINUTE);
    let mut driven = DrivenWorkflow::of(Plan { valid_until: Some(until), ..messenger_then_sms() });
    driven.pass(5 * MINUTE);
    driven.start();
    assert_eq!(driven.workflow.attempts[0].calls, 1);
    let rejected = SendResult::Rejected(failure(Fault::Recipient));
    driven.answer(rejected);
    assert_eq!(driven.step(), Some(1), "the next step may still begin");

    for (honoured_ms, calls) in [(5000, 2), (4999, 1)] {
        let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![honouring(honoured_ms)]);
        driven.start().answer(UNKNOWN()).after(first_delay());
        driven.pass(5000 - first_delay());
        driven.start();
        assert_eq!(driven.workflow.attempts[0].calls, calls, "{honoured_ms}");
    }
}

#[test]
fn a_call_is_repeated_only_if_the_repeat_comes_in_time_for_all_that_bounds_it() {
    let delay = first_delay();
    // Within the provider's time for our id, valid_until, and the time for sending.
    let cases = [
        (delay, None, None, true),
        (delay - 1, None, None, false),
        (MINUTE, Some(START + delay), None, true),
        (MINUTE, Some(START + delay - 1), None, false),
        (MINUTE, None, Some(delay), true),
        (MINUTE, None, Some(delay - 1), false),
    ];
    for (honoured_ms, valid_until, send_within_ms, is_repeated) in cases {
        let plan = Plan {
            valid_until: valid_until.map(UnixMillis),
            send_within_ms,
            ..messenger_then_sms()
        };
        let mut driven = DrivenWorkflow::by(plan, vec![honouring(honoured_ms)]);
        driven.start().answer(UNKNOWN());
        let is_uncertain = driven.workflow.attempts[0].is_uncertain;
        assert_eq!(is_uncertain, is_repeated, "{honoured_ms} {valid_until:?} {send_within_ms:?}");
    }
}

#[test]
fn a_repeat_that_finds_no_place_in_its_time_is_as_unknown_as_before() {
    for valid_until in [None, Some(UnixMillis(START + MINUTE))] {
        let plan = Plan { valid_until, ..messenger_then_sms() };
        let mut driven = DrivenWorkflow::by(plan, vec![honouring(60 * MINUTE)]);
        driven.start().answer(UNKNOWN()).after(10 * MINUTE).after(10 * MINUTE);
        let state = driven.workflow.attempts[0].state;
        assert!(matches!(state, AttemptState::Unknown { .. }), "{state:?}");
        assert_eq!(driven.workflow.attempts[0].calls, 1);
    }
}

#[test]
fn what_the_provider_puts_off_past_the_time_for_sending_is_not_waited_for() {
    for (after_ms, step) in [(10 * MINUTE, 0), (10 * MINUTE + 1, 1)] {
        let mut driven = DrivenWorkflow::of(messenger_then_sms());
        driven.start().answer(deferred(after_ms));
        assert_eq!(driven.step(), Some(step), "{after_ms}");
        let is_told = told(&driven).iter().any(|it| it.contains("send_within (600 s): it said no"));
        assert_eq!(is_told, step == 1);
    }
}

#[test]
fn another_route_is_tried_at_the_last_moment_that_leaves_it_a_quarter_of_the_time() {
    let on_second = |fault, after_ms, passed| {
        let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![PLAIN, PLAIN]);
        driven.pass(passed);
        let failure = failure(fault);
        driven.start().answer(SendResult::RetryLater { failure, after_ms: Some(after_ms) });
        driven.workflow.attempts.len() == 2 && driven.step() == Some(0)
    };
    let three_quarters = 10 * MINUTE / 4 * 3;
    assert!(!on_second(Fault::Provider, three_quarters, 0), "there is time for it after the retry");
    assert!(on_second(Fault::Provider, three_quarters + 1, 0));
    assert!(!on_second(Fault::Recipient, three_quarters + 1, 0), "it would refuse that too");
    assert!(on_second(Fault::Provider, 10 * MINUTE, three_quarters), "a quarter is left");
    assert!(!on_second(Fault::Provider, 10 * MINUTE, three_quarters + 1));
}

#[test]
fn a_step_that_was_called_and_gets_no_place_again_says_that_its_retries_are_exhausted() {
    let mut driven = DrivenWorkflow::of(plan(&[None]));
    driven.start().answer(deferred(1000)).after(MINUTE).after(15 * MINUTE);
    assert_eq!(driven.ended(), Some((EndState::Failed, Reason::RetriesExhausted)));
    let wanted = "no provider accepted it within 900 s";
    assert!(told(&driven).iter().any(|it| it.contains(wanted)), "{:#?}", told(&driven));
}

#[test]
fn a_second_send_that_is_refused_leaves_the_first_unknown_and_a_failed_one_too() {
    for fails_later in [false, true] {
        let plan = Plan { on_unknown: OnUnknown::Resend, ..messenger_then_sms() };
        let mut driven = DrivenWorkflow::of(plan);
        driven.start().answer(UNKNOWN());
        if fails_later {
            driven.accepted().after(MINUTE);
            assert_eq!(driven.step(), Some(0), "the second may still be read");
            driven.update(2, Report::Failed(Failure::Undeliverable)).after(MINUTE);
        } else {
            driven.start().answer(SendResult::Rejected(failure(Fault::Recipient)));
        }
        assert_eq!(driven.step(), Some(1));
        let reason = driven.journal.iter().find_map(|(_, fact)| match fact {
            Fact::StepFailed { reason, .. } => Some(*reason),
            _ => None,
        });
        assert_eq!(reason, Some(Reason::OutcomeUnknown));
    }
}

#[test]
fn what_comes_back_for_a_step_that_was_left_changes_nothing_of_the_one_that_runs() {
    let plan = Plan { on_unknown: OnUnknown::Resend, ..messenger_then_sms() };
    let refused = SendResult::Rejected(failure(Fault::Provider));
    for result in [refused, UNKNOWN(), deferred(1000)] {
        let mut driven = DrivenWorkflow::by(plan.clone(), vec![PLAIN, PLAIN]);
        driven.start().answer(UNKNOWN()).start().after(10 * MINUTE);
        assert_eq!((driven.step(), driven.workflow.attempts.len()), (Some(1), 3));
        let count = driven.handle(Event::SendResult { attempt: 2, call: 1, result });
        assert_eq!((count, driven.step(), driven.workflow.attempts.len()), (1, Some(1), 3));
    }
}

#[test]
fn a_call_that_is_lost_after_the_end_is_recorded_as_unknown() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.start();
    driven.handle(Event::Cancel);
    let before = driven.workflow.sequence;
    assert_eq!(driven.handle(Event::Cancel), 0);
    driven.handle(Event::Lost { attempt: 1 });
    let late = Fact::LateSendResult { attempt: 1, provider_ids: None, unknown: true };
    assert_eq!(driven.journal.last().map(|(_, fact)| fact), Some(&late));
    assert!(matches!(driven.workflow.attempts[0].state, AttemptState::Unknown { .. }));
    assert_eq!(driven.workflow.sequence, before + 1);

    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.start();
    driven.handle(Event::Cancel);
    driven.answer(SendResult::Accepted { provider_ids: vec!["p".to_owned()] });
    assert_eq!(driven.workflow.attempts[0].state, AttemptState::Accepted);
    assert!(matches!(driven.journal.last(), Some((_, Fact::LateSendResult { .. }))));
}

#[test]
fn a_late_status_is_an_unnecessary_failover_only_if_it_meets_the_step_s_condition_anew() {
    let late = |before: &[Status], late: Status, sent: bool| {
        let mut driven = DrivenWorkflow::of(messenger_then_sms());
        driven.accepted();
        before.iter().for_each(|status| {
            driven.update(1, Report::Reached(*status));
        });
        driven.after(10 * MINUTE);
        if sent {
            driven.start();
        }
        driven.handle(Event::Cancel);
        driven.update(1, Report::Reached(late));
        driven.unnecessary_failovers()
    };
    assert_eq!(late(&[], Status::Read, true), 1);
    assert_eq!(late(&[Status::Delivered], Status::Replied, true), 1);
    assert_eq!(late(&[], Status::Delivered, true), 0);
    assert_eq!(late(&[], Status::Read, false), 0);
}

#[test]
fn a_channel_that_tells_nothing_still_waits_where_a_condition_was_asked_for() {
    let mute = RouteProperties { reports_delivered: false, ..PLAIN };
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![mute]);
    driven.accepted();
    assert_eq!(driven.ended(), None);
    let mut driven = DrivenWorkflow::of(plan(&[None]));
    driven.accepted();
    assert_eq!(driven.ended(), None, "and so does one that tells");
}

#[test]
fn a_status_outlives_a_failure_and_a_failure_does_not_outlive_a_delivery() {
    let mut driven = DrivenWorkflow::of(plan(&[read_in(MINUTE), None, None]));
    driven.accepted().update(1, Report::Failed(Failure::Undeliverable));
    assert_eq!(driven.workflow.attempts[0].failure, Some(Failure::Undeliverable));
    driven.update(1, Report::Failed(Failure::Rejected));
    assert_eq!(driven.workflow.attempts[0].failure, Some(Failure::Undeliverable), "told once");
    driven.pass(1000);
    let reached_at = driven.now;
    driven.update(1, Report::Reached(Status::Delivered)).pass(1000);
    let attempt = &driven.workflow.attempts[0];
    assert_eq!((attempt.failure, attempt.status), (None, Status::Delivered));
    assert_eq!(
        driven.update(1, Report::Failed(Failure::Rejected)).workflow.attempts[0].failure,
        None
    );
    assert_eq!(driven.workflow.steps[0].reached_at, Some(reached_at));
}

#[test]
fn a_message_is_of_use_until_the_next_step_or_valid_until_whichever_is_first() {
    let until = |ms| Some(UnixMillis(START + ms));
    let useful = |valid_until, step, passed| {
        let mut driven = DrivenWorkflow::of(Plan { valid_until, ..messenger_then_sms() });
        driven.accepted().pass(passed);
        driven.workflow.useful_for_ms(step, driven.now)
    };
    assert_eq!(useful(None, 0, 1000), Some(10 * MINUTE - 1000));
    assert_eq!(useful(until(MINUTE), 0, 1000), Some(MINUTE - 1000));
    assert_eq!(useful(None, 1, 1000), None, "after the last nothing goes out in its place");
    assert_eq!(useful(until(MINUTE), 1, 2 * MINUTE), Some(0));
    assert_eq!(messenger_then_sms().planned_life_ms(), 10 * MINUTE);
}

#[test]
fn every_invariant_notices_what_it_forbids() {
    type Harm = fn(&mut Workflow);
    let harms: [(&str, Harm); 9] = [
        ("M1", |w| w.steps[0].status = StepStatus::Failed),
        ("M2", |w| {
            (w.phase, w.steps[0].status) = (Phase::Running(1), StepStatus::Waiting);
        }),
        ("M3", |w| w.attempts.push(w.attempts[0].clone())),
        ("M4", |w| (w.attempts[0].calls, w.attempts[0].state) = (0, AttemptState::Started)),
        ("M5", |w| {
            w.steps.truncate(1);
            w.attempts[0].possible_duplicate = true;
            w.attempts.push(w.attempts[0].clone());
        }),
        ("M6", |w| (w.attempts[0].state, w.attempts[0].calls) = (AttemptState::Rejected, 1)),
        ("M7", |w| w.steps[0].status = StepStatus::Met),
        ("M8", |w| w.steps[0].reached = Status::Delivered),
        ("M9", |w| w.attempts[0].state = AttemptState::Accepted),
    ];
    for (id, harm) in harms {
        let mut driven = DrivenWorkflow::of(messenger_then_sms());
        driven.start();
        assert_eq!(check(&driven.workflow), []);
        harm(&mut driven.workflow);
        let found = check(&driven.workflow);
        assert!(found.iter().any(|it| it.id == id), "{id}: {found:?}");
    }
    // Untouched and not pending is not untouched.
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.workflow.attempts[0].status = Status::Submitted;
    assert!(check(&driven.workflow).iter().any(|it| it.id == "M4"));
}

#[test]
fn the_later_of_two_moments_is_that_of_engine_time() {
    let (early, late) = (Moment::skewed(UnixMillis(1), 50), Moment::skewed(UnixMillis(2), 0));
    assert_eq!((early.later(late), late.later(early)), (late, late));
    let same = Moment::skewed(UnixMillis(1), 0);
    assert_eq!(early.later(same), early, "of two at once the first");
    assert_eq!(early.at_least(UnixMillis(9)), Moment::skewed(UnixMillis(9), 50));
    assert_eq!(late.at_least(UnixMillis(1)), late);
}

#[test]
fn what_is_told_names_steps_codes_and_reasons() {
    let code = || Some("1320".to_owned());
    let failure = CallFailure { code: code(), ..super::failure(Fault::Recipient) };
    let failed = Fact::StepFailed {
        step: 1,
        reason: Reason::Rejected,
        code: code(),
        detail: "it said no".to_owned(),
    };
    assert_eq!((failed.step(), failed.attempt()), (Some(1), None));
    let double = |possible_duplicate| Fact::AttemptPlanned {
        attempt: 2,
        step: 0,
        route: Arc::from("a"),
        properties: PLAIN,
        possible_duplicate,
    };
    let late = |unnecessary_failover| Fact::LateSuccess {
        step: 0,
        attempt: 1,
        status: Status::Read,
        unnecessary_failover,
    };
    let expired = |last_after_ms, while_down| Fact::StepExpired {
        step: 0,
        condition: Status::Read,
        expiry_ms: 1500,
        last: Status::Submitted,
        last_after_ms: Some(last_after_ms),
        late_ms: 2000,
        while_down,
    };
    let said = [
        (failed, "step 2 failed, REJECTED: it said no (provider code 1320)"),
        (
            Fact::AttemptRejected { attempt: 1, failure },
            "attempt 1 refused: it said no (provider code 1320)",
        ),
        (double(false), "attempt 2 planned by route a"),
        (
            double(true),
            "attempt 2 planned by route a; a possible double, the earlier outcome is unknown",
        ),
        (late(false), "step 1 was read after it had been given up"),
        (
            late(true),
            "step 1 was read after it had been given up; a further message had been sent by then",
        ),
        (expired(0, false), "not read within 1.5 s; last status submitted"),
        (
            expired(40, true),
            "not read within 1.5 s; last status submitted, 0.04 s after submission; decided 2 s late, the \
             service was down",
        ),
    ];
    for (fact, wanted) in said {
        assert_eq!(describe(&fact), wanted);
    }
}

#[test]
fn an_earlier_step_s_late_success_hides_no_later_step_s_reason() {
    let plan = Plan {
        on_late_success: OnLateSuccess::Continue,
        ..plan(&[read_in(MINUTE), read_in(MINUTE), None])
    };
    let mut driven = DrivenWorkflow::of(plan);
    driven.accepted().after(MINUTE);
    let next = driven.workflow.deadlines().next(driven.now);
    assert!(next.is_some());
    driven.start().answer(SendResult::Rejected(failure(Fault::Recipient)));
    driven.update(1, Report::Reached(Status::Read));
    let progress = Progress::of(&driven.workflow, driven.journal.iter().map(|(_, fact)| fact));
    let reasons: Vec<_> = progress.steps().map(|step| step.reason).collect();
    assert_eq!(reasons, [Some(Reason::LateConditionMet), Some(Reason::Rejected), None]);

    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted().after(10 * MINUTE);
    let progress = Progress::of(&driven.workflow, []);
    let reasons: Vec<_> = progress.steps().map(|step| step.reason).collect();
    assert_eq!(reasons, [Some(Reason::Expired), None], "the state alone tells an expiry");
}
