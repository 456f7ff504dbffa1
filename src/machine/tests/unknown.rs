//! Unknown outcomes: a receipt resolves them, a repeat under the same id may, and else a policy does.

use super::*;

#[test]
fn an_unknown_outcome_waits_for_its_receipt_and_then_fails_over() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider)));
    driven.after(29_999);
    assert_eq!(driven.step(), Some(0));
    driven.after(1);
    assert_eq!(driven.step(), Some(1));
}

#[test]
fn a_receipt_resolves_an_unknown_outcome() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider)));
    driven.after(1000).update(1, Report::Reached(Status::Delivered)).after(MINUTE);
    assert_eq!(driven.step(), Some(0), "it is out, and may still be read");
    driven.update(1, Report::Reached(Status::Read));
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
}

#[test]
fn an_unknown_outcome_of_the_last_step_is_sent_once_more_and_counted() {
    let mut driven = DrivenWorkflow::of(plan(&[None]));
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider)));
    driven.after(30_000).start().answer(SendResult::Unknown(failure(Fault::Provider)));
    driven.after(MINUTE);
    let doubles =
        driven.workflow.attempts.iter().filter(|attempt| attempt.possible_duplicate).count();
    assert_eq!((driven.workflow.attempts.len(), doubles), (2, 1));
    driven.after(72 * 3_600_000);
    assert_eq!(driven.ended(), Some((EndState::Unconfirmed, Reason::OutcomeUnknown)));
}

#[test]
fn the_second_unknown_outcome_is_waited_for_as_long_as_the_first() {
    let mut driven =
        DrivenWorkflow::of(Plan { on_unknown: OnUnknown::Resend, ..messenger_then_sms() });
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider)));
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider)));
    driven.after(29_999);
    assert_eq!(driven.step(), Some(0));
    driven.after(1);
    assert_eq!(driven.step(), Some(1));
}

#[test]
fn without_an_echo_there_is_no_receipt_to_wait_for() {
    let silent = RouteProperties { correlates_receipts: false, ..PLAIN };
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![silent]);
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider)));
    assert_eq!(driven.step(), Some(1));
}

#[test]
fn where_the_provider_honours_our_id_an_unknown_outcome_is_repeated_under_it() {
    let idempotent = RouteProperties { idempotent_for_ms: Some(5 * MINUTE), ..PLAIN };
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![idempotent]);
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider)));
    driven.after(2000).accepted();
    assert_eq!(driven.workflow.attempts.len(), 1, "one attempt, two calls");
    assert_eq!(driven.workflow.attempts[0].calls, 2);
    assert!(!driven.workflow.attempts[0].possible_duplicate);
}

#[test]
fn after_an_unknown_outcome_no_other_route_of_the_step_is_tried() {
    let idempotent = RouteProperties { idempotent_for_ms: Some(5 * MINUTE), ..PLAIN };
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![idempotent, PLAIN]);
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider)));
    driven.after(2000).start().answer(SendResult::Rejected(failure(Fault::Provider)));
    assert_eq!(driven.step(), Some(1));
}

#[test]
fn a_repeat_that_gets_its_place_after_the_provider_forgot_the_id_is_not_made() {
    let idempotent = RouteProperties { idempotent_for_ms: Some(5000), ..PLAIN };
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![idempotent]);
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider)));
    driven.after(5001).start();
    assert_eq!(driven.workflow.attempts[0].calls, 1, "a second call would be a second message");
    assert!(matches!(driven.workflow.attempts[0].state, AttemptState::Unknown { .. }));
    driven.after(30_000);
    assert_eq!(driven.step(), Some(1), "and then it is as with any unknown outcome");
}

#[test]
fn a_repeat_that_is_put_off_for_longer_than_the_provider_knows_the_id_is_not_made() {
    let idempotent = RouteProperties { idempotent_for_ms: Some(5000), ..PLAIN };
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![idempotent]);
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider)));
    let deferred =
        SendResult::RetryLater { failure: failure(Fault::Provider), after_ms: Some(10_000) };
    driven.after(2000).start().answer(deferred).after(10_000).start();
    assert_eq!(driven.workflow.attempts[0].calls, 2, "the third would be a second message");
}

#[test]
fn two_calls_may_be_out_at_once_and_both_are_owed() {
    let mut driven =
        DrivenWorkflow::of(Plan { on_unknown: OnUnknown::Resend, ..messenger_then_sms() });
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider)));
    driven.start().after(10 * MINUTE).start();
    assert_eq!(driven.workflow.unanswered(), [2, 3]);
}

#[test]
fn a_crash_between_started_and_the_answer_leaves_the_outcome_unknown() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.start();
    assert_eq!(driven.workflow.unanswered(), [1]);
    driven.handle(Event::Lost { attempt: 1 });
    driven.answer(SendResult::Accepted { provider_ids: vec!["p".to_owned()] });
    assert!(matches!(driven.workflow.attempts[0].state, AttemptState::Unknown { .. }), "stale");
}
