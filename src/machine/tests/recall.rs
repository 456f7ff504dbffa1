//! A message whose time is over is asked back before the next one goes out.

use super::*;

const RECALLING: RouteProperties = RouteProperties { recalls: true, ..PLAIN };

/// Ten minutes after its message was accepted by a provider that can take it back.
fn expiring() -> DrivenWorkflow {
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![RECALLING]);
    driven.accepted().after(10 * MINUTE);
    driven
}

fn told(driven: &mut DrivenWorkflow, result: RecallResult) -> usize {
    driven.handle(Event::RecallResult { attempt: 1, result, up_since: UnixMillis(0) })
}

fn kinds(driven: &DrivenWorkflow) -> Vec<&'static str> {
    driven.journal.iter().map(|(_, fact)| fact.kind()).skip(5).collect()
}

#[test]
fn the_next_step_waits_for_the_answer() {
    let mut driven = expiring();
    assert_eq!(kinds(&driven), ["RECALL_STARTED"]);
    assert_eq!((driven.step(), driven.workflow.wants_permit()), (Some(0), None));
    driven.after(RECALL_WAIT_MS - 1);
    assert_eq!(driven.step(), Some(0));
    let failed = RecallResult::Failed(failure(Fault::Provider));
    for result in [RecallResult::Recalled, RecallResult::TooLate(None), failed] {
        let mut driven = expiring();
        told(&mut driven, result.clone());
        let then = ["RECALL_STARTED", "RECALL_ENDED", "STEP_EXPIRED", "STEP_STARTED"];
        assert_eq!(kinds(&driven)[..4], then);
        assert_eq!(driven.step(), Some(1));
        assert_eq!(told(&mut driven, result), 0, "once is enough");
    }
}

#[test]
fn a_step_whose_message_was_taken_back_expired_also_where_that_is_told_as_a_failure() {
    let mut driven = expiring();
    driven.update(1, Report::Failed(Failure::Undeliverable));
    let at_once =
        ["RECALL_STARTED", "STATUS_FAILED", "STEP_EXPIRED", "STEP_STARTED", "ATTEMPT_PLANNED"];
    assert_eq!(kinds(&driven), at_once, "there is nothing to be asked back any more");
    assert_eq!(told(&mut driven, RecallResult::Recalled), 1);
    assert_eq!(driven.step(), Some(1));
}

#[test]
fn a_step_says_that_its_time_passed_while_the_service_was_down_whatever_ends_its_recall() {
    for ended_by in [
        Event::RecallResult {
            attempt: 1,
            result: RecallResult::Recalled,
            up_since: UnixMillis(START + 11 * MINUTE),
        },
        Event::Update {
            attempt: 1,
            update: update(Report::Failed(Failure::Undeliverable)),
            up_since: UnixMillis(START + 11 * MINUTE),
        },
    ] {
        let mut driven = expiring();
        driven.pass(MINUTE);
        driven.handle(ended_by);
        let expired = |fact: &Fact| matches!(fact, Fact::StepExpired { while_down: true, .. });
        assert!(driven.journal.iter().any(|(_, fact)| expired(fact)), "{:?}", driven.journal);
    }
}

#[test]
fn it_waits_no_longer_than_it_says_and_asks_nobody_twice() {
    let mut driven = expiring();
    driven.after(RECALL_WAIT_MS);
    let then =
        ["RECALL_STARTED", "RECALL_ENDED", "STEP_EXPIRED", "STEP_STARTED", "ATTEMPT_PLANNED"];
    assert_eq!(kinds(&driven), then);
    assert_eq!(told(&mut driven, RecallResult::Recalled), 0, "an answer that comes too late");
}

#[test]
fn what_was_too_late_may_have_met_the_condition() {
    let mut driven = expiring();
    told(&mut driven, RecallResult::TooLate(Some(Status::Read)));
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
    let mut driven = expiring();
    told(&mut driven, RecallResult::TooLate(Some(Status::Delivered)));
    assert_eq!((driven.step(), driven.workflow.steps[0].reached), (Some(1), Status::Delivered));
}

#[test]
fn a_receipt_or_a_cancel_that_comes_meanwhile_is_first() {
    let mut driven = expiring();
    driven.update(1, Report::Reached(Status::Read));
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
    assert_eq!(told(&mut driven, RecallResult::Recalled), 0);

    let mut driven = expiring();
    driven.handle(Event::Cancel);
    assert_eq!(told(&mut driven, RecallResult::Recalled), 0);
    assert_eq!(driven.ended(), Some((EndState::Canceled, Reason::Canceled)));
}

#[test]
fn only_what_was_accepted_and_is_followed_is_asked_back() {
    // By a provider that cannot.
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted().after(10 * MINUTE);
    assert_eq!(driven.step(), Some(1));
    // Whose outcome is unknown: nobody knows by what name to ask for it.
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![RECALLING]);
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider))).after(10 * MINUTE);
    assert_eq!(driven.step(), Some(1));
    // Of the last step: nothing goes out in its place.
    let mut driven = DrivenWorkflow::by(plan(&[read_in(MINUTE)]), vec![RECALLING]);
    driven.accepted().after(MINUTE);
    assert_eq!(driven.ended(), Some((EndState::Failed, Reason::Expired)));
    // Where the next step may not start any more.
    let until = Some(UnixMillis(START + 9 * MINUTE));
    let late = Plan { valid_until: until, ..messenger_then_sms() };
    let mut driven = DrivenWorkflow::by(late, vec![RECALLING]);
    driven.accepted().after(10 * MINUTE);
    assert_eq!(driven.ended(), Some((EndState::Failed, Reason::DeadlineExceeded)));
}

#[test]
fn nothing_more_of_the_step_goes_out_while_its_message_is_asked_back() {
    // A second send waits for its permit when the first turns out to be accepted.
    let resending = Plan { on_unknown: OnUnknown::Resend, ..messenger_then_sms() };
    let mut driven = DrivenWorkflow::by(resending, vec![RECALLING]);
    driven.start().answer(SendResult::Unknown(failure(Fault::Provider)));
    driven.update(1, Report::Reached(Status::Submitted)).after(10 * MINUTE);
    assert_eq!(driven.workflow.attempts[1].state, AttemptState::Planned);
    assert!(driven.workflow.recalling_until(0).is_some());
    assert_eq!(driven.workflow.wants_permit(), None);
    assert_eq!(driven.handle(Event::PermitGranted { attempt: 2 }), 0);
    told(&mut driven, RecallResult::Recalled);
    assert_eq!((driven.step(), driven.workflow.wants_permit()), (Some(1), Some(3)));
}
