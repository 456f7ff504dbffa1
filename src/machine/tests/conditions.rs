//! Conditions, rejections and retries: what a step waits for, and what it does when a provider says no.

use super::*;

#[test]
fn read_in_time_succeeds_and_skips_the_rest() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted().after(MINUTE).update(1, Report::Reached(Status::Delivered));
    assert_eq!(driven.step(), Some(0), "delivered does not meet read");
    driven.update(1, Report::Reached(Status::Read));
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
    assert_eq!(driven.workflow.steps[1].status, StepStatus::Skipped);
}

#[test]
fn read_implies_delivered() {
    let rule = Some(FailoverCondition { condition: Status::Delivered, expiry_ms: Some(MINUTE) });
    let mut driven = DrivenWorkflow::of(plan(&[rule, None]));
    driven.accepted().update(1, Report::Reached(Status::Read));
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
}

#[test]
fn not_read_in_time_goes_on_to_the_next_step_and_never_early() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.after(5000).accepted();
    driven.after(10 * MINUTE - 1);
    assert_eq!(driven.step(), Some(0), "the clock runs from the acceptance");
    driven.after(1);
    assert_eq!(driven.step(), Some(1));
    driven.accepted().update(2, Report::Reached(Status::Delivered));
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
}

#[test]
fn a_rejection_fails_over_at_once() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.start().answer(SendResult::Rejected(failure(Fault::Recipient)));
    assert_eq!(driven.step(), Some(1));
    driven.start().answer(SendResult::Rejected(failure(Fault::Content)));
    assert_eq!(driven.ended(), Some((EndState::Failed, Reason::Rejected)));
}

#[test]
fn the_provider_s_fault_is_worth_another_route_while_a_quarter_of_the_time_is_left() {
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![PLAIN, PLAIN]);
    driven.start().answer(SendResult::Rejected(failure(Fault::Provider)));
    assert_eq!(driven.step(), Some(0));
    assert_eq!(&*driven.workflow.attempts[1].route, "messenger-1");

    let mut late = DrivenWorkflow::by(messenger_then_sms(), vec![PLAIN, PLAIN]);
    late.after(8 * MINUTE).start().answer(SendResult::Rejected(failure(Fault::Provider)));
    assert_eq!(late.step(), Some(1));
}

#[test]
fn temporary_errors_are_retried_inside_send_within_and_then_fail() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    let deferred = SendResult::RetryLater { failure: failure(Fault::Provider), after_ms: None };
    let mut calls = 0;
    while driven.step() == Some(0) {
        driven.start().answer(deferred.clone());
        calls += 1;
        if driven.step() == Some(0) {
            let due = driven.workflow.deadlines().timer.expect("a retry is due").at;
            driven.after(due.0 - driven.now.engine.0);
        }
    }
    assert!((10..40).contains(&calls), "{calls} calls in ten minutes");
    assert!(driven.now.engine.0 <= START + 10 * MINUTE);
    let left = driven
        .journal
        .iter()
        .any(|(_, fact)| matches!(fact, Fact::StepFailed { reason: Reason::RetriesExhausted, .. }));
    assert!(left);
}

#[test]
fn retry_after_is_honoured() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    let deferred =
        SendResult::RetryLater { failure: failure(Fault::Provider), after_ms: Some(30_000) };
    driven.start().answer(deferred);
    let deadline = driven.workflow.deadlines().timer.expect("a retry is due");
    assert_eq!((deadline.kind, deadline.at), (DeadlineKind::Retry, UnixMillis(START + 30_000)));
}
