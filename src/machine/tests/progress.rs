//! What is told of a workflow: from its state and its timeline, and from nothing that was rendered.

use super::*;

fn progress(driven: &DrivenWorkflow) -> Progress<'_> {
    Progress::of(&driven.workflow, driven.journal.iter().map(|(_, fact)| fact))
}

fn events(driven: &DrivenWorkflow) -> Vec<TimelineEvent<'_>> {
    let numbered = (1..).zip(&driven.journal);
    numbered
        .map(|(sequence, (at, fact))| TimelineEvent::of(&driven.workflow, sequence, *at, fact))
        .collect()
}

#[test]
fn a_failover_tells_why_each_step_was_left_and_which_decided() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted().after(10 * MINUTE).accepted();
    driven.update(2, Report::Reached(Status::Delivered));
    let progress = progress(&driven);
    assert_eq!(progress.state, ProgressState::Ended(EndState::Succeeded));
    let outcome = progress.outcome.clone().unwrap();
    assert_eq!((outcome.reason, outcome.step), (Reason::ConditionMet, Some(1)));
    assert_eq!(outcome.detail, "the message was delivered");
    let reasons: Vec<_> = progress.steps().map(|step| step.reason).collect();
    assert_eq!(reasons, [Some(Reason::Expired), Some(Reason::ConditionMet)]);
    let first = progress.steps().next().unwrap();
    assert_eq!(*first.channel, Channel::MESSENGER);
    assert_eq!(first.expires_at, Some(UnixMillis(START + 10 * MINUTE)));
    let attempt = first.attempts().next().unwrap();
    assert_eq!((attempt.provider_ids.concat(), attempt.calls), ("p".to_owned(), 1));
    assert_eq!(progress.next_deadline, None);
}

#[test]
fn a_rejection_tells_the_provider_s_code_in_the_outcome() {
    let mut driven = DrivenWorkflow::of(plan(&[None]));
    let failure = CallFailure { code: Some("1320".to_owned()), ..failure(Fault::Recipient) };
    driven.start().answer(SendResult::Rejected(failure));
    let progress = progress(&driven);
    let outcome = progress.outcome.clone().unwrap();
    assert_eq!((outcome.reason, outcome.step), (Reason::Rejected, Some(0)));
    assert_eq!(outcome.provider_code, Some("1320"));
    let attempt = progress.steps().next().unwrap().attempts().next().unwrap();
    assert_eq!(attempt.failure, Some(Failure::Rejected));
}

#[test]
fn a_cancel_is_decided_by_no_step_and_its_reason_is_that_of_the_step_it_ended() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted().after(10 * MINUTE);
    driven.handle(Event::Cancel);
    let progress = progress(&driven);
    assert_eq!(progress.outcome.clone().unwrap().step, None);
    let reasons: Vec<_> = progress.steps().map(|step| step.reason).collect();
    assert_eq!(reasons, [Some(Reason::Expired), Some(Reason::Canceled)]);
}

#[test]
fn a_retry_tells_when_it_is_due_by_the_wall_clock() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.set_wall(3_600_000);
    let throttled = failure(Fault::Provider);
    driven.start().answer(SendResult::RetryLater { failure: throttled, after_ms: Some(30_000) });
    let due = Some(UnixMillis(START + 3_600_000 + 30_000));
    let progress = progress(&driven);
    let attempt = progress.steps().next().unwrap().attempts().next().unwrap();
    assert_eq!(attempt.retry_at, due);
    assert_eq!(events(&driven).last().unwrap().wait_until, due);
}

#[test]
fn an_event_of_an_attempt_tells_its_step_and_one_after_the_end_how_it_had_ended() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted().after(10 * MINUTE).accepted();
    driven.update(2, Report::Reached(Status::Delivered)).update(1, Report::Reached(Status::Read));
    let events = events(&driven);
    let late = events.last().unwrap();
    assert!(matches!(late.fact, Fact::LateStatus { .. }));
    assert_eq!((late.step, late.attempt), (Some(0), Some(1)));
    assert_eq!(late.channel, Some(&Channel::MESSENGER));
    assert_eq!(late.state, ProgressState::Ended(EndState::Succeeded));
    assert_eq!(late.description(), "message of attempt 1 read, after the end");
    let states: Vec<_> = events.iter().map(|event| event.state).take(2).collect();
    assert_eq!(states, [ProgressState::Scheduled, ProgressState::Running]);
}

#[test]
fn a_scheduled_workflow_that_is_canceled_never_ran() {
    let mut plan = messenger_then_sms();
    plan.send_at = Some(UnixMillis(START + MINUTE));
    let mut driven = DrivenWorkflow::of(plan);
    driven.handle(Event::Cancel);
    let states: Vec<_> = events(&driven).iter().map(|event| event.state).collect();
    let (scheduled, canceled) =
        (ProgressState::Scheduled, ProgressState::Ended(EndState::Canceled));
    assert_eq!(states, [scheduled, scheduled, scheduled, canceled]);
    assert!(progress(&driven).steps().all(|step| step.reason.is_none()));
}

#[test]
fn until_a_step_was_left_or_a_call_answered_the_facts_add_nothing() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.start();
    assert_eq!(progress(&driven), Progress::of(&driven.workflow, []));
}
