//! What `send` is answered, and what the provider remembers.

use dispatch_contract::{
    ChannelAdapter, ErrorKind, Fault, Provider, Recall, Registry, Retry, Status, UnixMillis,
    Verdict, WebhookRequest,
};
use dispatch_sandbox::{CallResult, ProviderConfig, SandboxProvider};

use super::{PERSON, ProcessWorld, account, attempt};
use crate::clock::{ms, secs};

#[tokio::test]
async fn a_rejection_is_permanent_and_names_the_code_and_whose_fault_it_was() {
    for (code, kind, fault) in [
        ("1340", ErrorKind::OutsideWindow, Fault::Recipient),
        ("1022", ErrorKind::ContentRejected, Fault::Content),
        ("1070", ErrorKind::InsufficientFunds, Fault::Account),
        ("9999", ErrorKind::InvalidRequest, Fault::Content),
    ] {
        let world = ProcessWorld::scripted(&format!("reject {code}")).await;
        let error = world.send(1).await.unwrap_err();
        assert_eq!((error.kind, error.fault, error.retry), (kind, fault, Retry::Permanent));
        assert_eq!(error.code.as_deref(), Some(code));
        assert_eq!(world.provider.sent_count(), 0);
    }
}

/// A run against the sandbox decides as one against the provider does.
#[tokio::test]
async fn every_code_means_here_what_it_means_to_the_provider_s_adapter() {
    use dispatch_vonage::errors::{CodeSource, meaning};
    let mut known = 0;
    for code in (1000..1500).map(|code| code.to_string()) {
        let Some(meaning) = meaning(&code, CodeSource::SendResponse) else { continue };
        let world = ProcessWorld::scripted(&format!("reject {code}")).await;
        let error = world.send(1).await.unwrap_err();
        let wanted = (meaning.kind, meaning.fault, meaning.retry, meaning.sentence);
        assert_eq!((error.kind, error.fault, error.retry, &*error.detail), wanted, "{code}");
        known += 1;
    }
    assert!(known > 60, "{known}");
}

#[tokio::test]
async fn throttled_sends_are_certainly_not_sent_and_then_the_scene_goes_on() {
    let world = ProcessWorld::scripted("throttle 2 1500ms; accept; never").await;
    for _ in 0..2 {
        let error = world.send(1).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Throttled);
        assert_eq!(error.retry, Retry::Temporary { after: Some(ms(1500)) });
    }
    assert_eq!(world.provider.sent_count(), 0);
    world.send(1).await.unwrap();
    world.send(2).await.unwrap();
    assert_eq!(world.provider.sent_count(), 2);
    let answered: Vec<_> = world.provider.calls().into_iter().map(|call| call.answered).collect();
    let after = Some(ms(1500));
    assert_eq!(answered[..2], [CallResult::Throttled { after }, CallResult::Throttled { after }]);
    assert!(matches!(answered[2], CallResult::Accepted { .. }));
}

#[tokio::test]
async fn what_a_silent_or_failing_provider_did_is_unknown_to_the_caller_alone() {
    for (script, kind, sent) in [
        ("no-answer", ErrorKind::Timeout, 1),
        ("hang", ErrorKind::Timeout, 0),
        ("500 after acting", ErrorKind::ProviderFailure, 1),
        ("500 before acting", ErrorKind::ProviderFailure, 0),
    ] {
        let world = ProcessWorld::scripted(script).await;
        let error = world.send(1).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (kind, Retry::Unknown), "{script}");
        world.clock.advance(secs(60)).await;
        assert_eq!(world.provider.sent_count(), sent, "{script}");
        let attempts: Vec<_> =
            world.receipts().into_iter().filter_map(|(_, receipt)| receipt.attempt).collect();
        assert_eq!(attempts, vec![attempt(1); 2 * sent as usize], "{script}");
    }
}

#[tokio::test]
async fn scenes_serve_successive_sends_and_the_last_one_repeats() {
    let world = ProcessWorld::scripted("hang | throttle 1; reject 1340 | never").await;
    let kinds = [
        Some(ErrorKind::Timeout),
        Some(ErrorKind::Throttled),
        Some(ErrorKind::OutsideWindow),
        None,
        None,
    ];
    for kind in kinds {
        assert_eq!(world.send(1).await.err().map(|error| error.kind), kind);
    }
    // Others are where they were.
    world.provider.set_default("reject 1050 | never".parse().unwrap());
    assert!(world.send_to(1, "447700900002").await.is_err());
    assert!(world.send_to(1, "447700900003").await.is_err());
    assert!(world.send_to(1, "447700900002").await.is_ok());
}

#[tokio::test]
async fn a_script_set_again_starts_again_and_one_for_the_channel_goes_first() {
    let world = ProcessWorld::scripted("hang | never").await;
    assert!(world.send(1).await.is_err());
    world.provider.set_script(PERSON, "hang | never".parse().unwrap());
    assert!(world.send(2).await.is_err());
    let on_channel = format!("whatsapp:{PERSON}");
    world.provider.set_script(&on_channel, "reject 1340".parse().unwrap());
    assert_eq!(world.send(3).await.unwrap_err().kind, ErrorKind::OutsideWindow);
    world.provider.set_script(format!("sms:{PERSON}"), "reject 1050".parse().unwrap());
    assert_eq!(world.provider.scripts().len(), 3);
    assert!(world.provider.clear_script(&on_channel));
    assert!(!world.provider.clear_script(&on_channel));
    assert!(world.send(4).await.is_ok());
    world.provider.clear();
    assert!(world.provider.scripts().is_empty());
    assert!(world.send(5).await.is_ok());
}

#[tokio::test]
async fn an_idempotent_provider_sends_once_under_one_reference() {
    let config = ProviderConfig { idempotent_for: Some(secs(60)), ..ProviderConfig::default() };
    let world = ProcessWorld::new(config).await;
    assert_eq!(world.adapter.capabilities().idempotent_for, Some(secs(60)));
    world.provider.set_script(PERSON, "no-answer; deliver 1s | accept; never".parse().unwrap());
    world.send(1).await.unwrap_err();
    world.clock.advance(secs(59)).await;
    let again = world.send(1).await.unwrap();
    assert_eq!(world.provider.sent().len(), 1);
    assert_eq!(world.provider.sent()[0].provider_id, again.provider_ids[0]);
    assert_eq!(world.reports().len(), 1);
    world.clock.advance(secs(1)).await;
    assert_ne!(world.send(1).await.unwrap().provider_ids[0], again.provider_ids[0]);
    assert_eq!(world.provider.sent_count(), 2);
}

#[tokio::test]
async fn a_provider_that_is_not_idempotent_sends_twice_and_says_so() {
    let world = ProcessWorld::new(ProviderConfig::default()).await;
    assert_eq!(world.adapter.capabilities().idempotent_for, None);
    let first = world.send(1).await.unwrap();
    assert_ne!(world.send(1).await.unwrap(), first);
    let attempts: Vec<_> = world.provider.sent().iter().map(|sent| sent.attempt()).collect();
    assert_eq!(attempts, [Some(attempt(1)), Some(attempt(1))]);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_ids_and_another_seed_others() {
    let mut ids = Vec::new();
    for seed in [7, 7, 8] {
        let world = ProcessWorld::new(ProviderConfig { seed, ..ProviderConfig::default() }).await;
        ids.push([world.send(1).await.unwrap(), world.send(2).await.unwrap()]);
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}

#[tokio::test]
async fn the_logs_forget_what_is_oldest_but_count_everything() {
    let world =
        ProcessWorld::new(ProviderConfig { log_limit: 2, ..ProviderConfig::default() }).await;
    for number in 1..=3 {
        world.send(number).await.unwrap();
    }
    let numbers: Vec<_> =
        world.provider.sent().iter().map(|sent| sent.attempt().unwrap().number).collect();
    assert_eq!(numbers, [2, 3]);
    assert_eq!((world.provider.calls().len(), world.provider.sent_count()), (2, 3));
}

#[tokio::test]
async fn it_has_a_name_of_its_own_and_takes_no_webhooks() {
    let world = ProcessWorld::new(ProviderConfig::default()).await;
    assert_eq!(world.adapter.name(), "sandbox-whatsapp");
    assert_eq!(world.adapter.provider(), "sandbox");
    let request =
        WebhookRequest { method: "POST", url: "https://a.b/", query: "", headers: &[], body: b"" };
    let provider = SandboxProvider::in_place_of(&Registry::new(), &world.provider);
    let outcome = provider.webhook(&request, &account(), UnixMillis(0));
    assert_eq!((outcome.status, outcome.verdict), (401, Verdict::Forged));
}

#[tokio::test]
async fn a_message_is_taken_back_until_it_is_delivered() {
    let world = ProcessWorld::scripted("deliver 2s; read 4s").await;
    let running = world.run().await;
    let taken_back = world.send(1).await.unwrap().provider_ids.concat();
    world.clock.advance(secs(1)).await;
    assert_eq!(world.recall(&taken_back).await, Ok(Recall::Recalled));
    world.clock.advance(secs(10)).await;
    assert_eq!(world.receipts(), [], "nothing more is told of it");

    let delivered = world.send(2).await.unwrap().provider_ids.concat();
    world.clock.advance(secs(3)).await;
    assert_eq!(world.recall(&delivered).await, Ok(Recall::TooLate(Some(Status::Delivered))));
    world.clock.advance(secs(3)).await;
    assert_eq!(world.receipts().len(), 2);
    assert_eq!(world.recall("nobody's").await, Ok(Recall::TooLate(None)));
    world.stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn no_debug_form_shows_a_number() {
    let world = ProcessWorld::scripted("never").await;
    world.send(1).await.unwrap();
    let shown = format!("{:?} {:?} {:?}", world.provider, world.adapter, world.provider.sent());
    assert!(!shown.contains(PERSON), "{shown}");
}
