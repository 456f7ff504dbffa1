//! What a broken connection makes of a send: temporary only where nothing left, unknown wherever
//! something may have; and no double that is not counted.

use dispatch::pb::v1::{CallErrorKind, EventKind, Workflow, WorkflowState};

use super::Between;
use crate::{
    ALONE,
    chance::{Chance, setting},
    proxy::Fault,
    report,
    support::messenger_sms,
};

/// What may go wrong with a send, what it must be called, and whether the provider has it.
fn fault(chance: &mut Chance) -> (Fault, EventKind, bool) {
    use EventKind::{AttemptAccepted as Accepted, AttemptUnknown as Unknown};
    let cut = chance.within(1..200) as usize;
    // Within the head, so that no answer is whole.
    let cut_answer = chance.within(1..60) as usize;
    match chance.within(0..9) {
        0 => (Fault::None, Accepted, true),
        1 => {
            (Fault::Delay(std::time::Duration::from_millis(chance.within(1..200))), Accepted, true)
        }
        2 => (Fault::Trickle, Accepted, true),
        3 => (Fault::CutRequest(cut), Unknown, false),
        4 => (Fault::CutAnswer(cut_answer), Unknown, true),
        5 if chance.one_in(3) => (Fault::Swallow, Unknown, false),
        6 if chance.one_in(3) => (Fault::SwallowAnswer, Unknown, true),
        7 => (Fault::ResetAnswer, Unknown, true),
        _ => (Fault::Reset, Unknown, false),
    }
}

/// The first thing that is known of the first call.
fn outcome(workflow: &Workflow) -> EventKind {
    let kinds = workflow.timeline.iter().map(|event| event.kind());
    let mut outcomes = kinds.filter(|kind| {
        matches!(
            kind,
            EventKind::AttemptAccepted
                | EventKind::AttemptRejected
                | EventKind::AttemptRetryScheduled
                | EventKind::AttemptUnknown
                | EventKind::AttemptRepeated
        )
    });
    outcomes.next().unwrap_or_else(|| panic!("no outcome: {workflow:#?}"))
}

/// No more messages of a step than its attempts account for.
fn no_uncounted_double(between: &Between, workflow: &Workflow) -> u64 {
    let mut counted = 0;
    for channel in ["messenger", "sms"] {
        let planned = workflow.timeline.iter().filter(|event| {
            event.kind() == EventKind::AttemptPlanned
                && event.channel == channel
                && event.possible_duplicate()
        });
        let possible = planned.count();
        let sent = between.sent(&workflow.workflow_id, channel);
        assert!(sent <= 1 + possible, "{sent} by {channel}, {possible} counted: {workflow:#?}");
        counted += possible as u64;
    }
    counted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_after_bytes_left_is_unknown_and_no_double_goes_uncounted() {
    let _alone = ALONE.lock().await;
    let (sends, seed) = (setting("DISPATCH_NET_EXCHANGES", 40), setting("DISPATCH_NET_SEED", 1));
    let mut chance = Chance::new(seed);
    let between = Between::start("accept; deliver 1s; read 2s", |_| {}).await;
    let (mut unknown, mut doubles) = (0, 0);
    for number in 0..sends {
        let (fault, called, is_sent) = fault(&mut chance);
        // A person whose receipts never come leaves the outcome unknown for good.
        let tells = !chance.one_in(3);
        let person = format!("person-{number}");
        // Vonage's receipts echo our id: with them even an unknown is settled.
        let phone = format!("4477009{number:05}");
        if !tells {
            between.provider.set_script(&person, "accept; never".parse().unwrap());
        }
        between.sends.spoil([fault]);
        let what = format!("seed {seed}, send {number}: {fault:?}, {tells}");
        let id = between.create(messenger_sms(&person, &phone, "600s")).await;
        between.advance(1).await;
        let workflow = between.get(&id).await;
        assert_eq!(outcome(&workflow), called, "{what}: {workflow:#?}");
        assert_eq!(between.sent(&id, "messenger"), usize::from(is_sent), "{what}");
        unknown += u64::from(called == EventKind::AttemptUnknown);
        between.advance(700).await;
        let workflow = between.get(&id).await;
        assert_eq!(workflow.state(), WorkflowState::Succeeded, "{what}: {workflow:#?}");
        let by_sms = between.sent(&id, "sms");
        // Read by messenger where it went out and is told of; by SMS else, once.
        assert_eq!(by_sms, usize::from(!(is_sent && tells)), "{what}: {workflow:#?}");
        assert_eq!(between.sent(&id, "messenger"), usize::from(is_sent), "{what}");
        doubles += no_uncounted_double(&between, &workflow);
        assert_eq!(between.sends.faults_left(), 0, "{what}: the fault did not happen");
    }
    let (exchanges, _) = between.sends.seen();
    between.stop().await;
    assert!(unknown > sends / 4, "too little went wrong");
    report::row(&report::Tried {
        name: "70-network-sends",
        what: "sends through a proxy that cuts, resets, stalls, trickles",
        counts: vec![
            (sends, "workflows"),
            (exchanges, "exchanges"),
            (unknown, "unknown outcomes"),
            (doubles, "possible doubles"),
        ],
        found: "each called what it was, no uncounted double".to_owned(),
        seed: format!("DISPATCH_NET_SEED={seed}"),
    });
}

/// On the last step an unknown without a receipt is sent once more, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_step_is_sent_once_more_after_an_unknown_and_counted() {
    let _alone = ALONE.lock().await;
    let between = Between::start("accept; never", |_| {}).await;
    for fault in [Fault::CutAnswer(20), Fault::ResetAnswer, Fault::Reset, Fault::CutRequest(90)] {
        between.sends.spoil([Fault::None, fault]);
        let id = between.create(messenger_sms("a person", "447700900001", "60s")).await;
        between.advance(200).await;
        let workflow = between.get(&id).await;
        assert_eq!(no_uncounted_double(&between, &workflow), 1, "{fault:?}: {workflow:#?}");
        let arrived = matches!(fault, Fault::CutAnswer(_) | Fault::ResetAnswer);
        assert_eq!(between.sent(&id, "sms"), 1 + usize::from(arrived), "{fault:?}");
    }
    between.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_temporary_and_the_message_goes_out_once() {
    let _alone = ALONE.lock().await;
    let mut between = Between::start("accept; deliver 1s; read 2s", |_| {}).await;
    between.sends.close().await;
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(
            between
                .create(messenger_sms(&format!("person-{number}"), "447700900001", "600s"))
                .await,
        );
    }
    between.advance(5).await;
    for id in &ids {
        let workflow = between.get(id).await;
        assert_eq!(outcome(&workflow), EventKind::AttemptRetryScheduled, "{workflow:#?}");
        let errors = workflow
            .timeline
            .iter()
            .filter(|event| event.kind() == EventKind::AttemptRetryScheduled);
        assert!(
            errors
                .clone()
                .all(|event| event.call_failure().unwrap().error() == CallErrorKind::Unreachable),
            "{workflow:#?}"
        );
    }
    assert_eq!(between.provider.sent_count(), 0);
    between.sends.open().await;
    between.advance(200).await;
    for id in &ids {
        let workflow = between.get(id).await;
        assert_eq!(workflow.state(), WorkflowState::Succeeded, "{workflow:#?}");
        assert_eq!((between.sent(id, "messenger"), between.sent(id, "sms")), (1, 0));
        assert_eq!(no_uncounted_double(&between, &workflow), 0);
    }
    between.stop().await;
}
