//! A message in several parts: it is as far as the last of them, and failed when one did.

use dispatch_contract::Usage;

use super::*;

const IN_PARTS: RouteProperties = RouteProperties { in_parts: true, ..PLAIN };
const DELIVERED: Report = Report::Reached(Status::Delivered);
const READ: Report = Report::Reached(Status::Read);

fn three() -> SendResult {
    SendResult::Accepted { provider_ids: ["a", "b", "c"].map(str::to_owned).to_vec() }
}

/// Accepted in three parts.
fn sent() -> DrivenWorkflow {
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![IN_PARTS]);
    driven.start().answer(three());
    driven
}

fn tell(driven: &mut DrivenWorkflow, part: u16, report: Report) -> usize {
    let update = Update { part: Some(part), ..update(report) };
    driven.handle(Event::Update { attempt: 1, update, up_since: UnixMillis(0) })
}

fn status(driven: &DrivenWorkflow) -> Status {
    driven.workflow.attempts[0].status
}

#[test]
fn it_reaches_what_all_parts_have() {
    let mut driven = sent();
    assert_eq!(driven.workflow.attempts[0].parts, [Status::Submitted; 3]);
    tell(&mut driven, 3, READ);
    tell(&mut driven, 1, DELIVERED);
    assert_eq!(status(&driven), Status::Submitted);
    tell(&mut driven, 2, READ);
    assert_eq!(status(&driven), Status::Delivered);
    assert_eq!(tell(&mut driven, 2, READ), 0, "once is enough");
    assert_eq!(tell(&mut driven, 3, DELIVERED), 0, "it only climbs");
    assert_eq!(driven.ended(), None);
    tell(&mut driven, 1, READ);
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
}

#[test]
fn it_fails_when_one_part_does() {
    let mut driven = sent();
    tell(&mut driven, 1, DELIVERED);
    tell(&mut driven, 3, Report::Failed(Failure::Undeliverable));
    assert_eq!(driven.step(), Some(1));
    assert_eq!(tell(&mut driven, 2, Report::Failed(Failure::Undeliverable)), 0);
    let mut driven = sent();
    tell(&mut driven, 1, DELIVERED);
    assert_eq!(tell(&mut driven, 1, Report::Failed(Failure::Undeliverable)), 0, "it was there");
}

#[test]
fn what_a_part_costs_is_told_with_it() {
    let mut driven = sent();
    let usage = Some(Usage { currency: "EUR".to_owned(), price: "0.02".to_owned() });
    for part in 1..=3 {
        let update = Update { part: Some(part), usage: usage.clone(), ..update(DELIVERED) };
        driven.handle(Event::Update { attempt: 1, update, up_since: UnixMillis(0) });
    }
    let told = driven.journal.iter().filter_map(|(_, fact)| match fact {
        Fact::PartReached { part, usage, .. } => Some((*part, usage.clone())),
        Fact::StatusReached { usage, .. } => Some((0, usage.clone())),
        _ => None,
    });
    let all = [(1, usage.clone()), (2, usage.clone()), (3, usage), (0, None)];
    assert_eq!(told.collect::<Vec<_>>(), all);
}

#[test]
fn what_is_told_of_the_whole_counts_for_all_parts() {
    let mut driven = sent();
    driven.update(1, DELIVERED);
    assert_eq!(driven.workflow.attempts[0].parts, [Status::Delivered; 3]);
    assert_eq!(tell(&mut driven, 1, DELIVERED), 0);
    let mut driven = sent();
    assert_ne!(tell(&mut driven, 4, READ), 0, "no such part: it is the whole");
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));
}

#[test]
fn the_answer_tells_the_parts_though_a_receipt_came_first() {
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![IN_PARTS]);
    driven.start().update(1, Report::Reached(Status::Submitted));
    assert!(driven.workflow.attempts[0].parts.is_empty());
    driven.answer(three());
    assert_eq!(driven.workflow.attempts[0].parts, [Status::Submitted; 3]);
    let facts = driven.journal.len();
    driven.answer(three());
    assert_eq!(driven.journal.len(), facts, "one answer is enough");
}

#[test]
fn an_answer_that_puts_a_message_into_a_conversation_is_noted_though_a_receipt_came_first() {
    let told = RouteProperties { watermarks: true, ..PLAIN };
    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![told]);
    driven
        .start()
        .update(1, DELIVERED)
        .answer(SendResult::Accepted { provider_ids: vec!["a".to_owned()] });
    let accepted = |fact: &Fact| matches!(fact, Fact::AttemptAccepted { .. });
    assert_eq!(driven.journal.iter().filter(|(_, fact)| accepted(fact)).count(), 2);
    assert_eq!(status(&driven), Status::Delivered);
}

#[test]
fn after_the_end_parts_are_noted_and_change_nothing() {
    let mut driven = sent();
    driven.handle(Event::Cancel);
    let end = driven.ended();
    for part in 1..=3 {
        tell(&mut driven, part, READ);
    }
    assert_eq!((driven.ended(), status(&driven)), (end, Status::Read));
    let kinds: Vec<_> = driven.journal.iter().rev().take(4).map(|(_, fact)| fact.kind()).collect();
    assert_eq!(kinds, ["LATE_STATUS", "PART_REACHED", "PART_REACHED", "PART_REACHED"]);
    let late = |fact: &Fact| matches!(fact, Fact::PartReached { late: true, .. });
    assert_eq!(driven.journal.iter().filter(|(_, fact)| late(fact)).count(), 3);
}
