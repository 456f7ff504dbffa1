//! A provider that is away: first it refuses connections, then it takes them and never answers, then
//! it is back. Those who wait cost little, hold nobody up, and are served.

use std::{sync::Arc, time::Duration, time::Instant};

use dispatch::{
    engine::SystemClock,
    pb::v1::{EventKind, WorkflowState},
};
use dispatch_contract::Secret;
use dispatch_sandbox::{ProviderConfig, SandboxServer, ServerConfig, SimulatedProvider};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Server, Times, sign};
use crate::{
    ALONE,
    chance::setting,
    proxy::{Fault, Proxy},
    report,
    support::{FREE, eventually, free_port, messenger_sms, request},
};

fn config(proxy: &Proxy, http: std::net::SocketAddr) -> String {
    let (key, secret, base_url) = (sign::KEY, sign::SECRET, proxy.address);
    let route = |name: &str| {
        format!(
            "[[routes]]\nname = \"{name}\"\nadapter = \"vonage-{name}\"\naccount = \"main\"\n\
             concurrency = 16\ntimeout_s = 1\n"
        )
    };
    format!(
        r#"
[listen]
public_url = "http://{http}"
[engine]
retry_base_ms = 200
retry_max_ms = 1000
unknown_wait_s = 1
unconfirmed_after_s = 10
{}[[accounts]]
name = "main"
provider = "vonage"
settings = {{ api_key = "{key}", base_url = "http://{base_url}" }}
secrets = {{ api_secret = "{secret}", signature_secret = "{secret}" }}
{}{}"#,
        sign::access_key(),
        route("messenger"),
        route("sms")
    )
}

/// A provider in this process, whose receipts go to `to`.
async fn provider(stop: &CancellationToken) -> (Arc<SimulatedProvider>, std::net::SocketAddr) {
    let clock = Arc::new(SystemClock::new());
    let default_script = "accept; deliver 20ms; read 40ms".parse().unwrap();
    let config = ProviderConfig { default_script, ..ProviderConfig::default() };
    let provider = Arc::new(SimulatedProvider::new(clock, config));
    let server = ServerConfig {
        api_key: sign::KEY.to_owned(),
        api_secret: Some(Secret::new(sign::SECRET)),
        signature_secret: Some(Secret::new(sign::SECRET)),
        ..ServerConfig::default()
    };
    let server = SandboxServer::new(Arc::clone(&provider), server).unwrap();
    let listener = TcpListener::bind(FREE).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server.serve(listener, stop.clone()));
    (provider, address)
}

/// Creates `count` workflows; how long each took.
async fn create(server: &Server, name: &str, count: u64, ids: &mut Vec<String>) -> Times {
    let mut times = Times::default();
    for number in 0..count {
        let spec = messenger_sms(&format!("{name}-{number}"), "447700900001", "600s");
        let asked = Instant::now();
        let created = server.client.create(request(spec)).await.unwrap();
        times.add(asked);
        ids.push(created.workflow.unwrap().workflow_id);
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_away_costs_the_others_nothing_and_is_served_when_it_is_back() {
    let _alone = ALONE.lock().await;
    let waiting = setting("DISPATCH_WAITING", 200);
    let stop = CancellationToken::new();
    let (provider, address) = provider(&stop).await;
    let mut proxy = Proxy::start().await;
    proxy.lead_to(address);
    let http = free_port().await;
    let server = Server::start_at(&config(&proxy, http), http).await;
    let before_mib = server.rss_mib();

    // Refusing: certainly nothing was sent, so everybody waits for a retry.
    proxy.close().await;
    let mut ids = Vec::new();
    let mut took = create(&server, "refused", waiting / 2, &mut ids).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(provider.sent_count(), 0);
    // A canceled one never goes out, however long it waited.
    let canceled = ids.swap_remove(0);
    let asked = Instant::now();
    server.client.cancel(&canceled).await.unwrap();
    let cancel_took = asked.elapsed();

    // Stalling: a call takes its whole timeout, and its outcome is unknown.
    proxy.spoil_all(Fault::Swallow);
    proxy.open().await;
    let stalled = create(&server, "stalled", waiting / 2, &mut ids).await;
    took.0.extend(stalled.0);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(provider.sent_count(), 0);
    let peak_mib = server.peak_mib();

    proxy.spoil_all(Fault::None);
    let back = Instant::now();
    let timeout = Duration::from_secs(60 + waiting / 10);
    let done =
        eventually(timeout, || async { server.metric("dispatch_workflows_open").await == 0 });
    assert!(done.await, "{} are still open", server.metric("dispatch_workflows_open").await);
    let served_in = back.elapsed();

    let (mut deferred, mut unknown, mut doubles, mut succeeded) = (0, 0, 0, 0);
    let sent = provider.sent();
    for id in &ids {
        let workflow = server.client.get(id).await.unwrap();
        let count = |kind| workflow.timeline.iter().filter(|event| event.kind() == kind).count();
        deferred += count(EventKind::AttemptRetryScheduled) as u64;
        unknown += count(EventKind::AttemptUnknown) as u64;
        succeeded += u64::from(workflow.state() == WorkflowState::Succeeded);
        for channel in ["messenger", "sms"] {
            let possible = workflow.timeline.iter().filter(|event| {
                event.kind() == EventKind::AttemptPlanned
                    && event.channel == channel
                    && event.possible_duplicate()
            });
            let possible = possible.count();
            let of_it = sent.iter().filter(|sent| {
                let of = sent.attempt().expect("only this service sends").workflow;
                of.hyphenated().to_string() == *id && sent.channel.as_str() == channel
            });
            assert!(of_it.count() <= 1 + possible, "an uncounted double: {workflow:#?}");
            doubles += possible as u64;
        }
    }
    let of_canceled = sent.iter().any(|sent| {
        sent.attempt().is_some_and(|attempt| attempt.workflow.hyphenated().to_string() == canceled)
    });
    assert!(!of_canceled, "the canceled one went out");
    println!(
        "{waiting} waiting: create p99 {:?}, cancel {cancel_took:?}; {deferred} deferred, {unknown} \
         unknown, {doubles} possible doubles, {succeeded} succeeded; RSS {before_mib} to {peak_mib} \
         MiB; served {served_in:?} after it was back",
        took.at(99)
    );
    assert!(deferred >= waiting / 2 && unknown > 0, "the provider was not away");
    // A refusal is never taken for a failure: whoever met only that was served.
    assert!(succeeded >= waiting / 4, "{succeeded}");
    assert!(took.at(99) < Duration::from_secs(2), "{:?}", took.at(99));
    assert!(cancel_took < Duration::from_secs(2), "{cancel_took:?}");
    // 64 KiB for each that waits would be a leak.
    assert!(peak_mib < before_mib + 200 + waiting / 16, "{before_mib} to {peak_mib} MiB");
    report::row(&report::Tried {
        name: "80-overload-provider",
        what: "a provider that refuses, then stalls, then is back",
        counts: vec![
            (waiting, "waiting"),
            (deferred, "deferred calls"),
            (unknown, "unknown"),
            (doubles, "possible doubles"),
            (took.p99_ms(), "ms p99 of creates meanwhile"),
            (peak_mib, "MiB peak RSS"),
            (served_in.as_millis() as u64, "ms until all were served"),
        ],
        found: "all ended, no uncounted double".to_owned(),
        seed: format!("DISPATCH_WAITING={waiting}"),
    });
    stop.cancel();
    server.stop().await;
}
