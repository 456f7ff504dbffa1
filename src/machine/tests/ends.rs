//! How workflows end, and what times bound them.

use super::*;

#[test]
fn silence_after_the_last_step_is_unconfirmed() {
    let mut driven = DrivenWorkflow::of(plan(&[None]));
    driven.accepted().after(72 * 3_600_000);
    assert_eq!(driven.ended(), Some((EndState::Unconfirmed, Reason::NoConfirmation)));
}

#[test]
fn a_channel_that_tells_nothing_ends_unconfirmed_at_acceptance() {
    let mute = RouteProperties { reports_delivered: false, ..PLAIN };
    let mut driven = DrivenWorkflow::by(plan(&[None]), vec![mute]);
    driven.accepted();
    assert_eq!(driven.ended(), Some((EndState::Unconfirmed, Reason::NoReceipts)));
}

#[test]
fn nothing_starts_after_a_cancel() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.handle(Event::Cancel);
    assert_eq!(driven.ended(), Some((EndState::Canceled, Reason::Canceled)));
    assert_eq!(driven.handle(Event::PermitGranted { attempt: 1 }), 0);
    assert_eq!(driven.workflow.attempts[0].calls, 0);
}

#[test]
fn an_answer_after_a_cancel_is_recorded_and_changes_nothing() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.start();
    driven.handle(Event::Cancel);
    driven.answer(SendResult::Accepted { provider_ids: vec!["p".to_owned()] });
    driven.update(1, Report::Reached(Status::Read));
    assert_eq!(driven.ended(), Some((EndState::Canceled, Reason::Canceled)));
    assert!(matches!(driven.journal.last(), Some((_, Fact::LateStatus { .. }))));
}

#[test]
fn nothing_starts_after_valid_until() {
    let mut plan = messenger_then_sms();
    plan.valid_until = Some(UnixMillis(START + 5 * MINUTE));
    let mut driven = DrivenWorkflow::of(plan.clone());
    driven.accepted().after(10 * MINUTE);
    assert_eq!(driven.ended(), Some((EndState::Failed, Reason::DeadlineExceeded)));
    assert_eq!(driven.workflow.attempts.len(), 1);

    let mut driven = DrivenWorkflow::of(plan);
    driven.pass(5 * MINUTE + 1);
    driven.start();
    assert_eq!(driven.ended(), Some((EndState::Failed, Reason::DeadlineExceeded)));
    assert_eq!(driven.workflow.attempts[0].calls, 0, "its place came too late");
}

#[test]
fn a_scheduled_workflow_starts_at_its_time() {
    let mut plan = messenger_then_sms();
    plan.send_at = Some(UnixMillis(START + MINUTE));
    let mut driven = DrivenWorkflow::of(plan);
    assert_eq!(driven.workflow.phase, Phase::Scheduled);
    driven.after(MINUTE - 1);
    assert_eq!(driven.workflow.phase, Phase::Scheduled);
    driven.after(1);
    assert_eq!(driven.step(), Some(0));
}

#[test]
fn a_place_that_never_comes_fails_the_step_in_its_time() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.after(10 * MINUTE);
    assert_eq!(driven.step(), Some(1));
}

#[test]
fn a_held_wait_for_a_receipt_is_not_given_up() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted();
    driven.pass(11 * MINUTE);
    assert_eq!(driven.handle(Event::Wake { up_since: driven.now.engine, hold: true }), 0);
    driven.update(1, Report::Reached(Status::Read));
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
}

#[test]
fn an_expiry_says_what_was_waited_for_and_what_was_reached() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven
        .accepted()
        .after(41_000)
        .update(1, Report::Reached(Status::Delivered))
        .after(10 * MINUTE);
    let told: Vec<_> = driven.journal.iter().map(|(_, fact)| describe(fact)).collect();
    let wanted = "not read within 600 s; last status delivered, 41 s after submission";
    assert!(told.iter().any(|told| told == wanted), "{told:#?}");
}
