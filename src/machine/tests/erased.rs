//! What was personal of a workflow is erased: it ends, and nothing is kept of it from then on.

use super::*;

const ERASE: Event = Event::Erase { erasure: Uuid::from_u128(1) };

fn kinds(driven: &DrivenWorkflow, behind: usize) -> Vec<&'static str> {
    driven.journal.iter().map(|(_, fact)| fact.kind()).skip(behind).collect()
}

#[test]
fn what_is_open_is_canceled_first() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    let before = driven.journal.len();
    driven.handle(ERASE);
    let then = ["STEP_CANCELED", "STEP_SKIPPED", "ENDED", "CONTENTS_ERASED"];
    assert_eq!(kinds(&driven, before), then);
    assert_eq!(driven.ended(), Some((EndState::Canceled, Reason::Canceled)));
    assert!(driven.workflow.is_erased && driven.workflow.wants_permit().is_none());
    let why: Vec<_> = driven.journal.iter().map(|(_, fact)| describe(fact)).collect();
    assert_eq!(why.last().unwrap(), "contents erased");
    let ended = "workflow CANCELED, CANCELED: canceled, because its contents are erased";
    assert!(why.iter().any(|it| it == ended), "{why:?}");
}

#[test]
fn what_has_ended_stays_as_it_ended() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted().update(1, Report::Reached(Status::Read));
    let (before, ended_at) = (driven.journal.len(), driven.workflow.ended_at);
    driven.pass(MINUTE);
    driven.handle(ERASE);
    assert_eq!(kinds(&driven, before), ["CONTENTS_ERASED"]);
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
    assert_eq!(driven.workflow.ended_at, ended_at);
}

#[test]
fn twice_is_once() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.handle(ERASE);
    assert_eq!(driven.handle(ERASE), 0);
    assert_eq!(driven.handle(Event::Erase { erasure: Uuid::from_u128(2) }), 0);
    assert_eq!(driven.handle(Event::Cancel), 0);
}

#[test]
fn what_providers_tell_is_not_kept() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted().handle(ERASE);
    let erased = driven.workflow.clone();
    for report in [
        Report::Reached(Status::Delivered),
        Report::Reached(Status::Read),
        Report::Reached(Status::Replied),
        Report::Failed(Failure::Undeliverable),
    ] {
        let told = Update {
            provider_id: Some("+447700900001".to_owned()),
            code: Some("447700900001".to_owned()),
            detail: Some("no such person: 447700900001".to_owned()),
            ..update(report)
        };
        for part in [None, Some(1)] {
            let update = Update { part, ..told.clone() };
            let up_since = UnixMillis(0);
            assert_eq!(driven.handle(Event::Update { attempt: 1, update, up_since }), 0);
        }
    }
    assert_eq!(driven.workflow, erased);
}

#[test]
fn the_answer_of_a_call_that_was_out_closes_it_and_names_nothing() {
    let failure = CallFailure {
        code: Some("447700900001".to_owned()),
        detail: "no such person: 447700900001".to_owned(),
        ..failure(Fault::Recipient)
    };
    let ids = vec!["447700900001".to_owned(), "447700900001-2".to_owned()];
    let answers = [
        (SendResult::Accepted { provider_ids: ids }, AttemptState::Accepted),
        (SendResult::Rejected(failure.clone()), AttemptState::Rejected),
        (
            SendResult::RetryLater { failure: failure.clone(), after_ms: None },
            AttemptState::Rejected,
        ),
        (SendResult::Unknown(failure), AttemptState::Unknown { wait_until: UnixMillis(START) }),
    ];
    for (answer, closed) in answers {
        let mut driven = DrivenWorkflow::of(messenger_then_sms());
        driven.start().handle(ERASE);
        let before = driven.journal.len();
        driven.answer(answer);
        assert_eq!(kinds(&driven, before), ["LATE_ANSWER"]);
        assert_eq!(driven.workflow.attempts[0].state, closed);
        assert!(driven.workflow.attempts[0].parts.is_empty());
        let kept = format!("{:?}", driven.journal);
        assert!(!kept.contains("447700900001"), "{kept}");
    }
}

#[test]
fn the_answer_behind_a_receipt_names_nothing_either() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.start().update(1, Report::Reached(Status::Delivered)).handle(ERASE);
    let before = driven.journal.len();
    driven.answer(SendResult::Accepted { provider_ids: vec!["447700900001".to_owned()] });
    assert_eq!(kinds(&driven, before), ["LATE_ANSWER"]);
    let kept = format!("{:?}", &driven.journal[before..]);
    assert!(!kept.contains("447700900001"), "{kept}");
}

#[test]
fn a_message_that_is_asked_back_is_waited_for_no_longer() {
    let recalling = RouteProperties { recalls: true, ..PLAIN };
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![recalling]);
    driven.accepted().after(10 * MINUTE).handle(ERASE);
    assert_eq!(driven.ended(), Some((EndState::Canceled, Reason::Canceled)));
    let told = Event::RecallResult {
        attempt: 1,
        result: RecallResult::Failed(failure(Fault::Provider)),
        up_since: UnixMillis(0),
    };
    assert_eq!(driven.handle(told), 0);
}
