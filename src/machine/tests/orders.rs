//! Answers and receipts that come in an order of their own, and facts that do not fit.

use super::*;

fn unknown() -> SendResult {
    SendResult::Unknown(failure(Fault::Provider))
}

fn refused() -> SendResult {
    SendResult::Rejected(failure(Fault::Provider))
}

fn resending() -> Plan {
    Plan { on_unknown: OnUnknown::Resend, ..messenger_then_sms() }
}

/// Sent twice, the first known to be accepted by its receipt, the second still out.
fn two_out() -> DrivenWorkflow {
    let mut driven = DrivenWorkflow::by(resending(), vec![PLAIN, PLAIN]);
    driven.start().answer(unknown()).start().pass(1000);
    driven.update(1, Report::Reached(Status::Submitted));
    driven
}

#[test]
fn a_second_send_that_is_refused_ends_no_step_whose_first_is_accepted() {
    let mut driven = two_out();
    driven.answer(refused());
    assert_eq!((driven.step(), driven.workflow.attempts.len()), (Some(0), 2));
}

#[test]
fn a_second_send_that_is_refused_after_its_step_was_left_starts_nothing_anew() {
    let mut driven = two_out();
    driven.after(10 * MINUTE).update(1, Report::Failed(Failure::Undeliverable));
    assert_eq!((driven.step(), driven.workflow.attempts.len()), (Some(1), 3));
    let late = Event::SendResult { attempt: 2, call: 1, result: refused() };
    assert_eq!((driven.handle(late), driven.workflow.attempts.len()), (1, 3));
}

#[test]
fn a_second_send_whose_route_goes_leaves_the_first_as_it_is() {
    let mut driven = DrivenWorkflow::of(resending());
    driven.start().answer(unknown());
    driven.routes = Offers(Vec::new());
    driven.handle(Event::Rerouted);
    assert_ne!(driven.step(), Some(0), "nothing more can be sent, and nothing is waited for");

    let mut driven = DrivenWorkflow::of(resending());
    driven.start().answer(unknown()).update(1, Report::Reached(Status::Submitted));
    driven.routes = Offers(Vec::new());
    driven.handle(Event::Rerouted);
    assert_eq!(driven.step(), Some(0), "it is accepted, and may still be read");
}

#[test]
fn a_step_reached_its_status_when_the_first_of_its_messages_did() {
    let mut driven = DrivenWorkflow::of(resending());
    driven.start().answer(unknown()).accepted();
    let reached_at = driven.now;
    driven.pass(1000);
    driven.update(1, Report::Reached(Status::Submitted));
    assert_eq!(driven.workflow.steps[0].reached_at, Some(reached_at));
}

#[test]
fn only_what_was_started_can_be_lost() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    assert_eq!(driven.handle(Event::Lost { attempt: 1 }), 0);
}

#[test]
fn a_receipt_is_an_acceptance_once_and_says_no_more_than_it_does() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.start();
    let submitted = || update(Report::Reached(Status::Submitted));
    assert_eq!(
        driven.handle(Event::Update { attempt: 1, update: submitted(), up_since: UnixMillis(0) }),
        1
    );
    assert!(matches!(driven.journal.last(), Some((_, Fact::AttemptAccepted { .. }))));
    let delivered = update(Report::Reached(Status::Delivered));
    assert_eq!(
        driven.handle(Event::Update { attempt: 1, update: delivered, up_since: UnixMillis(0) }),
        1
    );
    driven.handle(Event::Cancel);
    assert_eq!(
        driven.handle(Event::Update { attempt: 1, update: submitted(), up_since: UnixMillis(0) }),
        0
    );

    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    assert_eq!(
        driven.handle(Event::Update { attempt: 1, update: submitted(), up_since: UnixMillis(0) }),
        0,
        "not sent yet"
    );

    // The acceptance that a receipt shows may end it; the rest of the receipt is late news then.
    let mute = RouteProperties { reports_delivered: false, ..PLAIN };
    let mut driven = DrivenWorkflow::by(plan(&[None]), vec![mute]);
    driven.start().update(1, Report::Reached(Status::Delivered));
    assert_eq!(driven.ended(), Some((EndState::Unconfirmed, Reason::NoReceipts)));
    assert!(matches!(driven.journal.last(), Some((_, Fact::LateStatus { .. }))));

    let mut driven = DrivenWorkflow::by(plan(&[read_in(MINUTE)]), vec![mute]);
    driven.accepted();
    assert_eq!(driven.ended(), None, "a condition was asked for");
}

#[test]
fn a_late_success_is_one_however_much_more_is_told() {
    let mut driven = DrivenWorkflow::of(Plan {
        on_late_success: OnLateSuccess::Continue,
        ..plan(&[read_in(MINUTE), None])
    });
    driven.accepted().after(MINUTE).start();
    driven.update(1, Report::Reached(Status::Read));
    assert_eq!(driven.unnecessary_failovers(), 1);
    let mut ended = DrivenWorkflow { journal: driven.journal.clone(), ..driven };
    ended.handle(Event::Cancel);
    ended.update(1, Report::Reached(Status::Replied));
    assert_eq!(ended.unnecessary_failovers(), 1, "counted already");

    let mut running = DrivenWorkflow::of(ended.plan.clone());
    running.accepted().after(MINUTE).start();
    running.update(1, Report::Reached(Status::Read)).update(1, Report::Reached(Status::Replied));
    assert_eq!(running.unnecessary_failovers(), 1);
}

#[test]
fn a_repeat_that_the_provider_puts_off_past_the_time_for_sending_is_no_other_message() {
    let honouring = RouteProperties { idempotent_for_ms: Some(60 * MINUTE), ..PLAIN };
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![honouring, PLAIN]);
    driven.start().answer(unknown()).after(2000).start();
    let failure = failure(Fault::Provider);
    driven.answer(SendResult::RetryLater { failure, after_ms: Some(11 * MINUTE) });
    assert_eq!((driven.step(), driven.workflow.attempts.len()), (Some(0), 1));
}

#[test]
fn a_second_send_may_begin_until_valid_until_and_after_it_nobody_knows_how_it_went() {
    let valid_until = Some(UnixMillis(START + MINUTE));
    for (passed, attempts) in [(MINUTE, 2), (MINUTE + 1, 1)] {
        let mut driven = DrivenWorkflow::of(Plan { valid_until, ..resending() });
        driven.start().pass(passed);
        driven.answer(unknown());
        let is_double = driven.workflow.attempts.last().is_some_and(|it| it.possible_duplicate);
        assert_eq!((driven.workflow.attempts.len(), is_double), (attempts, attempts == 2));
    }
    // It waited for its place until then: the first may be out, and FAILED would say too much.
    let mut driven = DrivenWorkflow::of(Plan { valid_until, ..resending() });
    driven.start().answer(unknown()).after(MINUTE + 1);
    assert_eq!(driven.ended(), Some((EndState::Unconfirmed, Reason::DeadlineExceeded)));
}

#[test]
fn an_unknown_outcome_of_the_last_step_ends_it_if_nothing_more_can_be_sent_or_heard() {
    let valid_until = Some(UnixMillis(START + MINUTE));
    let mut driven = DrivenWorkflow::of(Plan { valid_until, ..plan(&[None]) });
    driven.start().pass(MINUTE + 1);
    driven.answer(unknown()).after(30_000);
    let is_unknown = Some((EndState::Unconfirmed, Reason::OutcomeUnknown));
    assert_eq!(driven.ended(), is_unknown, "too late to send it once more");

    let silent = RouteProperties { correlates_receipts: false, ..PLAIN };
    let fail_over = Plan { on_unknown: OnUnknown::FailOver, ..plan(&[None]) };
    let mut driven = DrivenWorkflow::by(fail_over.clone(), vec![silent]);
    driven.start().answer(unknown());
    assert_eq!(driven.ended(), is_unknown, "no receipt could be matched");
    let mut driven = DrivenWorkflow::of(fail_over);
    driven.start().answer(unknown());
    assert_eq!(driven.ended(), None, "its receipt may come");
}

#[test]
fn the_last_step_has_a_time_for_sending_of_its_own() {
    let mut workflow = fresh(&messenger_then_sms());
    (workflow.policy.send_within_ms, workflow.policy.last_send_within_ms) = (1000, 2000);
    assert_eq!((workflow.send_within(0), workflow.send_within(1)), (1000, 2000));
}

#[test]
fn a_fact_that_does_not_fit_changes_nothing_but_the_count() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted();
    let before = driven.workflow.clone();
    let at = before.updated_at;
    let reached =
        |status| Fact::StatusReached { attempt: 1, status, provider_time: None, usage: None };
    driven.workflow.apply(
        at,
        &Fact::AttemptPlanned {
            attempt: 7,
            step: 0,
            route: Arc::from("a"),
            properties: PLAIN,
            possible_duplicate: false,
        },
    );
    driven.workflow.apply(at, &reached(Status::Pending));
    assert_eq!(driven.workflow, Workflow { sequence: before.sequence + 2, ..before });
}
