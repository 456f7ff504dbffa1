//! What comes after a step was left.

use super::*;

#[test]
fn a_late_read_stops_what_came_after_and_is_counted_as_an_unnecessary_failover() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted().after(10 * MINUTE).start();
    driven.update(1, Report::Reached(Status::Read));
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::LateConditionMet)));
    assert_eq!(driven.unnecessary_failovers(), 1);
}

#[test]
fn a_late_read_before_the_next_send_is_no_unnecessary_failover_and_stops_it() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted().after(10 * MINUTE).update(1, Report::Reached(Status::Read));
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::LateConditionMet)));
    assert_eq!(driven.unnecessary_failovers(), 0);
    assert_eq!(driven.workflow.wants_permit(), None);
}

#[test]
fn with_continue_a_late_success_counts_at_the_end() {
    let mut driven = DrivenWorkflow::of(Plan {
        on_late_success: OnLateSuccess::Continue,
        ..messenger_then_sms()
    });
    driven.accepted().after(10 * MINUTE).update(1, Report::Reached(Status::Read));
    assert_eq!(driven.step(), Some(1));
    driven.start().answer(SendResult::Rejected(failure(Fault::Recipient)));
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::LateConditionMet)));
}

#[test]
fn a_failure_receipt_fails_over_and_a_later_delivery_still_counts() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.accepted().update(1, Report::Failed(Failure::Undeliverable));
    assert_eq!(driven.step(), Some(1));
    driven.update(1, Report::Reached(Status::Read));
    assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::LateConditionMet)));
}
