//! What `run` hears, and when.

use dispatch_contract::{
    Channel, ChannelSender, Correlation, Endpoint, Failure, Recall, Report, Status,
};
use dispatch_sandbox::ProviderConfig;

use super::{DELIVERED, PERSON, ProcessWorld, READ, attempt};
use crate::clock::{START, ms, secs};

#[tokio::test]
async fn by_default_a_message_is_delivered_after_1_s_and_read_after_3_s() {
    let world = ProcessWorld::new(ProviderConfig::default()).await;
    let accepted = world.send(1).await.unwrap();
    world.clock.advance(secs(60)).await;
    assert_eq!(world.reports(), [(secs(1), DELIVERED), (secs(3), READ)]);
    let (_, receipt) = world.receipts().remove(0);
    assert_eq!(receipt.attempt, Some(attempt(1)));
    assert_eq!(receipt.provider_id, Some(accepted.provider_ids[0].clone()));
    assert_eq!(receipt.provider_time, Some(START + secs(1)));
    assert_eq!(receipt.usage.unwrap().currency, "EUR");
    let sent = world.provider.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].attempt(), Some(attempt(1)));
    assert_eq!(sent[0].recipient, Endpoint::Number(PERSON.into()));
    assert_eq!((sent[0].at, &sent[0].provider_id), (START, &accepted.provider_ids[0]));
}

#[tokio::test]
async fn an_sms_is_never_reported_as_read() {
    let world =
        ProcessWorld::with(Channel::SMS, Correlation::AttemptId, ProviderConfig::default()).await;
    world.provider.set_script(PERSON, "deliver 1s; read 2s".parse().unwrap());
    assert_eq!(world.play().await, [(secs(1), DELIVERED)]);
}

#[tokio::test]
async fn who_answers_quotes_the_message_and_each_answer_has_an_id_of_its_own() {
    let world = ProcessWorld::scripted("deliver 1s; reply 4s; reply 9s; twice").await;
    let accepted = world.send(1).await.unwrap();
    world.clock.advance(secs(60)).await;
    assert_eq!(world.reports(), [(secs(1), DELIVERED); 2]);
    let messages = world.heard.messages.lock().unwrap().clone();
    let [(first_at, first), (_, again), (second_at, second), _] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert_eq!((*first_at, *second_at), (secs(4), secs(9)));
    assert_eq!(first, again);
    assert_ne!(first.id, second.id);
    assert_eq!(first.from, Endpoint::Number(PERSON.into()));
    let ours = ChannelSender { channel: Channel::WHATSAPP, id: "447700900000".into() };
    assert_eq!(first.to, ours);
    assert_eq!(first.quoted_id, Some(accepted.provider_ids[0].clone()));
    assert_eq!(first.provider_time, Some(START + secs(4)));
    assert!(!first.content.is_empty());
}

#[tokio::test]
async fn nobody_quotes_an_sms_and_nobody_answers_what_was_taken_back() {
    let world =
        ProcessWorld::with(Channel::SMS, Correlation::AttemptId, ProviderConfig::default()).await;
    world.provider.set_script(PERSON, "deliver 1s; reply 2s".parse().unwrap());
    assert_eq!(world.play().await, [(secs(1), DELIVERED)]);
    assert_eq!(*world.heard.messages.lock().unwrap(), []);

    let world = ProcessWorld::scripted("submitted 0s; reply 10s").await;
    let accepted = world.send(1).await.unwrap();
    assert_eq!(world.recall(&accepted.provider_ids[0]).await.unwrap(), Recall::Recalled);
    world.clock.advance(secs(60)).await;
    assert_eq!(*world.heard.messages.lock().unwrap(), []);
}

#[tokio::test]
async fn a_message_can_fail_later_with_a_code_or_without() {
    let world = ProcessWorld::scripted("undeliverable 2s 1260 | rejected 2s").await;
    world.send(1).await.unwrap();
    world.send(2).await.unwrap();
    world.clock.advance(secs(60)).await;
    let [(_, first), (_, second)] = world.receipts().try_into().unwrap();
    assert_eq!(first.report, Report::Failed(Failure::Undeliverable));
    assert_eq!(first.code.as_deref(), Some("1260"));
    assert!(first.detail.is_some());
    assert_eq!(second.report, Report::Failed(Failure::Rejected));
    assert_eq!((second.code, second.detail), (None, None));
}

#[tokio::test]
async fn receipts_come_as_the_script_has_them() {
    let submitted = Report::Reached(Status::Submitted);
    for (script, expected) in [
        ("never", vec![]),
        (
            "submitted 0s; deliver 1s; read 2s",
            vec![(secs(0), submitted), (secs(1), DELIVERED), (secs(2), READ)],
        ),
        ("read 4s; deliver 1s", vec![(secs(1), DELIVERED), (secs(4), READ)]),
        ("deliver 10m", vec![(secs(600), DELIVERED)]),
        ("deliver 1s; twice", vec![(secs(1), DELIVERED), (secs(1), DELIVERED)]),
        ("deliver 1s; read 3s; out-of-order", vec![(secs(1), READ), (secs(3), DELIVERED)]),
        (
            "undeliverable 1s; deliver 3s",
            vec![(secs(1), Report::Failed(Failure::Undeliverable)), (secs(3), DELIVERED)],
        ),
        ("deliver 1s; unsigned", vec![]),
        ("deliver 1s; unsigned first", vec![(secs(6), DELIVERED)]),
    ] {
        assert_eq!(ProcessWorld::scripted(script).await.play().await, expected, "{script}");
    }
}

#[tokio::test]
async fn a_late_receipt_says_when_it_really_happened() {
    let world = ProcessWorld::scripted("deliver 1s; late 30m").await;
    assert_eq!(world.play().await, [(secs(1801), DELIVERED)]);
    assert_eq!(world.receipts()[0].1.provider_time, Some(START + secs(1)));
}

#[tokio::test]
async fn jitter_comes_from_the_seed_and_stays_within_its_bounds() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let default_script = "deliver 1s; jitter 500ms".parse().unwrap();
        let world =
            ProcessWorld::new(ProviderConfig { seed, default_script, ..ProviderConfig::default() })
                .await;
        for number in 1..=5 {
            world.send(number).await.unwrap();
        }
        world.clock.advance(secs(10)).await;
        let times: Vec<_> = world.reports().into_iter().map(|(at, _)| at).collect();
        assert!(times.iter().all(|at| (secs(1)..=ms(1500)).contains(at)), "{times:?}");
        runs.push(times);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn an_early_receipt_is_there_before_the_answer() {
    let world = ProcessWorld::scripted("deliver 5s; read 9s; early").await;
    world.send(1).await.unwrap();
    assert_eq!(world.reports(), [(secs(0), DELIVERED)]);
    assert_eq!(world.receipts()[0].1.provider_time, Some(START));
    world.clock.advance(secs(60)).await;
    assert_eq!(world.reports(), [(secs(0), DELIVERED), (secs(9), READ)]);
}

#[tokio::test]
async fn an_early_receipt_holds_up_no_send_once_the_service_stops() {
    let world = ProcessWorld::scripted("early").await;
    *world.heard.closed.lock().unwrap() = true;
    world.send(1).await.unwrap();
    world.send(2).await.unwrap();
    assert_eq!(world.reports(), []);
}

#[tokio::test]
async fn run_ends_when_the_service_stops() {
    let world = ProcessWorld::new(ProviderConfig::default()).await;
    world.stop.cancel();
    let again = world.run().await;
    again.await.unwrap();
}

#[tokio::test]
async fn something_due_earlier_wakes_whoever_waits_for_something_later() {
    let world = ProcessWorld::scripted("deliver 1h | deliver 10s | deliver 10s").await;
    for number in 1..=3 {
        world.send(number).await.unwrap();
        world.clock.advance(secs(1)).await;
    }
    world.clock.advance(secs(3600)).await;
    let order: Vec<_> = world
        .receipts()
        .into_iter()
        .map(|(at, receipt)| (at, receipt.attempt.unwrap().number))
        .collect();
    assert_eq!(order, [(secs(11), 2), (secs(12), 3), (secs(3600), 1)]);
}

#[tokio::test]
async fn a_channel_that_echoes_nothing_gets_only_the_providers_id_back() {
    let world =
        ProcessWorld::with(Channel::SMS, Correlation::ProviderId, ProviderConfig::default()).await;
    let accepted = world.send(1).await.unwrap();
    world.clock.advance(secs(2)).await;
    let (_, receipt) = world.receipts().remove(0);
    assert_eq!(receipt.attempt, None);
    assert_eq!(receipt.provider_id, Some(accepted.provider_ids[0].clone()));
}
