//! Which call an answer belongs to, and from when a condition has its time.

use super::*;

#[test]
fn an_answer_counts_for_the_call_that_it_answers_and_for_no_later_one() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    let deferred =
        SendResult::RetryLater { failure: failure(Fault::Provider), after_ms: Some(30_000) };
    driven.start().answer(deferred).after(30_000).start();
    assert_eq!(driven.workflow.attempts[0].calls, 2);
    let late = SendResult::Accepted { provider_ids: vec!["of the first call".to_owned()] };
    assert_eq!(driven.handle(Event::SendResult { attempt: 1, call: 1, result: late }), 0);
    assert_eq!(driven.workflow.attempts[0].state, AttemptState::Started);
}

#[test]
fn the_time_for_a_condition_runs_from_the_first_outcome_and_a_second_does_not_restart_it() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider)));
    // Within the wait for it a receipt says that it was accepted.
    driven.after(20_000).update(1, Report::Reached(Status::Submitted));
    assert_eq!(driven.workflow.attempts[0].state, AttemptState::Accepted);
    let deadline = driven.workflow.deadlines().timer.expect("its time runs");
    assert_eq!(
        (deadline.kind, deadline.at),
        (DeadlineKind::Expiry, UnixMillis(START + 10 * MINUTE))
    );
}
