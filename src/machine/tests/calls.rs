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

/// Its answer is still out, and a receipt that names our attempt alone has told this much.
fn told_before_its_answer(properties: RouteProperties, report: Report) -> DrivenWorkflow {
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![properties]);
    driven.start().update(1, report);
    driven
}

/// Hands in the answer to the first call, and returns the only fact of it.
fn answered(driven: &mut DrivenWorkflow) -> Fact {
    let known = driven.journal.len();
    let result = SendResult::Accepted { provider_ids: vec!["p".to_owned()] };
    driven.handle(Event::SendResult { attempt: 1, call: 1, result: result.clone() });
    assert_eq!(driven.journal.len(), known + 1, "{:?}", driven.journal);
    assert_eq!(driven.handle(Event::SendResult { attempt: 1, call: 1, result }), 0, "it is known");
    driven.journal[known].1.clone()
}

#[test]
fn an_answer_behind_a_receipt_tells_what_the_message_is_called_and_changes_nothing_else() {
    for report in [
        Report::Reached(Status::Submitted),
        Report::Reached(Status::Delivered),
        Report::Failed(Failure::Undeliverable),
    ] {
        let mut driven = told_before_its_answer(PLAIN, report);
        driven.after(MINUTE);
        let before = driven.workflow.clone();
        let named = Fact::AttemptAccepted {
            attempt: 1,
            provider_ids: vec!["p".to_owned()],
            by: AcceptedBy::Response,
        };
        assert_eq!(answered(&mut driven), named);
        let mut expected = before;
        expected.attempts[0].is_answered = true;
        (expected.sequence, expected.updated_at) = (expected.sequence + 1, driven.now);
        assert_eq!(driven.workflow, expected, "after {report:?}");
    }
}

#[test]
fn an_answer_that_comes_while_its_message_is_asked_back_ends_no_wait() {
    let recalls = RouteProperties { recalls: true, ..PLAIN };
    let mut driven = told_before_its_answer(recalls, Report::Reached(Status::Delivered));
    driven.after(10 * MINUTE);
    let waits = driven.workflow.recalling_until(0);
    assert!(waits.is_some());
    answered(&mut driven);
    assert_eq!(driven.workflow.recalling_until(0), waits);
    driven.handle(Event::Cancel);
    assert_eq!(driven.ended(), Some((EndState::Canceled, Reason::Canceled)));
}

#[test]
fn an_answer_behind_a_receipt_and_the_end_is_noted_and_leaves_its_message_where_it_is() {
    for report in [Report::Reached(Status::Read), Report::Failed(Failure::Rejected)] {
        let mut driven = told_before_its_answer(PLAIN, report);
        driven.handle(Event::Cancel);
        let before = driven.workflow.attempts[0].clone();
        let provider_ids = Some(vec!["p".to_owned()]);
        let named = Fact::LateSendResult { attempt: 1, provider_ids, unknown: false };
        assert_eq!(answered(&mut driven), named);
        assert_eq!(driven.workflow.attempts[0], Attempt { is_answered: true, ..before });
    }
}
