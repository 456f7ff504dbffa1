//! Receipts on their way to us: cut, doubled, turned away, and told again until they are taken.

use dispatch::pb::v1::{EventKind, WorkflowState};

use super::Between;
use crate::{
    ALONE,
    chance::{Chance, setting},
    proxy::Fault,
    report,
    support::messenger_sms,
};

/// What may go wrong with a webhook. None takes longer than a moment: a provider that hangs is
/// [`super::slow_callers`]' matter.
fn fault(chance: &mut Chance) -> Fault {
    match chance.within(0..6) {
        0 => Fault::CutRequest(chance.within(1..300) as usize),
        // The receipt was taken, and the provider does not know: it comes again.
        1 => Fault::CutAnswer(chance.within(1..12) as usize),
        2 => Fault::Reset,
        3 => Fault::ResetAnswer,
        4 => Fault::Trickle,
        _ => Fault::Delay(std::time::Duration::from_millis(chance.within(1..50))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_come_through_whatever_the_network_does_and_count_once() {
    let _alone = ALONE.lock().await;
    let (people, seed) = (setting("DISPATCH_NET_EXCHANGES", 40), setting("DISPATCH_NET_SEED", 1));
    let mut chance = Chance::new(seed ^ 0x7265_6365);
    let mut between = Between::start("accept; deliver 1s; read 2s", |_| {}).await;
    let mut ids = Vec::new();
    let mut faults = 0;
    for number in 0..people {
        let spoiled: Vec<_> = (0..chance.within(0..5)).map(|_| fault(&mut chance)).collect();
        faults += spoiled.len() as u64;
        between.receipts.spoil(spoiled);
        if number == people / 2 {
            between.receipts.close().await;
        }
        if number == people / 2 + 5 {
            // A few retries were in vain.
            between.receipts.open().await;
        }
        ids.push(
            between
                .create(messenger_sms(&format!("person-{number}"), "447700900001", "3000s"))
                .await,
        );
        between.advance(3).await;
    }
    between.advance(2500).await;
    for id in &ids {
        let workflow = between.get(id).await;
        assert_eq!(workflow.state(), WorkflowState::Succeeded, "seed {seed}: {workflow:#?}");
        let told = workflow.timeline.iter();
        let told = told.filter(|event| event.kind() == EventKind::StatusReached);
        let told: Vec<_> = told.map(|event| event.status()).collect();
        // Retries may overtake: then the higher one implies the lower.
        let in_order = ["delivered", "read"].ends_with(&told);
        assert!(in_order && !told.is_empty(), "seed {seed}: {told:?} {workflow:#?}");
        assert_eq!((between.sent(id, "messenger"), between.sent(id, "sms")), (1, 0), "seed {seed}");
    }
    let (exchanges, answers) = between.receipts.seen();
    assert_eq!(between.receipts.faults_left(), 0);
    assert!(answers.iter().all(|status| status == "200"), "seed {seed}: {answers:?}");
    between.stop().await;
    report::row(&report::Tried {
        name: "70-network-receipts",
        what: "receipts through a proxy that cuts, resets, trickles, refuses",
        counts: vec![(people, "workflows"), (faults, "faults"), (exchanges, "exchanges")],
        found: "each came through and counted once".to_owned(),
        seed: format!("DISPATCH_NET_SEED={seed}"),
    });
}

/// A receipt for which there is no room is not taken, and comes again: one that was answered 2xx is
/// never asked for twice, so it must be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_without_room_is_turned_away_and_taken_later() {
    let _alone = ALONE.lock().await;
    const PEOPLE: usize = 200;
    let between = Between::start("accept; deliver 1s; read 2s", |config| {
        config.engine.receipt_queue_capacity = 1;
        config.routes.iter_mut().for_each(|route| route.concurrency = 64);
    })
    .await;
    let mut ids = Vec::new();
    for number in 0..PEOPLE {
        ids.push(
            between
                .create(messenger_sms(&format!("person-{number}"), "447700900001", "86400s"))
                .await,
        );
    }
    // Long enough for dozens of repeats: on a busy machine one or the other finds no room seven
    // times in a row, which is all there are in ten minutes.
    between.advance(80_000).await;
    for id in &ids {
        let workflow = between.get(id).await;
        assert_eq!(workflow.state(), WorkflowState::Succeeded, "{workflow:#?}");
        assert_eq!(between.sent(id, "sms"), 0, "{workflow:#?}");
    }
    let (_, answers) = between.receipts.seen();
    let turned_away = answers.iter().filter(|status| *status == "503").count();
    println!("{turned_away} of {} webhooks were turned away", answers.len());
    assert!(turned_away > 0, "there was always room: {}", answers.len());
    between.stop().await;
}
