//! The crash contract, on the real program and real files: SIGKILL at random points while workflows
//! are created, canceled and finished.
//!
//! The simulated provider lives in this process, survives every kill, and remembers what it really
//! sent: it is the oracle. `DISPATCH_KILL_ROUNDS` sets the rounds; the default suits a developer.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dispatch::{
    client::Client,
    engine::SystemClock,
    pb::v1::{EventKind, Workflow, WorkflowState},
};
use dispatch_contract::{Secret, UnixMillis};
use dispatch_sandbox::{Provider, ProviderConfig, SandboxServer, ServerConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::support::{FREE, Process, eventually, free_port, messenger_sms, request};

const SECRET: &str = "a secret of thirty-two characters";

/// A provider that outlives the service.
async fn provider(stop: &CancellationToken) -> (Arc<Provider>, SocketAddr) {
    let clock = Arc::new(SystemClock::new(UnixMillis(0)));
    let default_script = "accept; deliver 60ms; jitter 100ms".parse().unwrap();
    let config = ProviderConfig { default_script, ..ProviderConfig::default() };
    let provider = Arc::new(Provider::new(clock, config));
    let server = ServerConfig {
        api_key: "abcd1234".to_owned(),
        api_secret: Some(Secret::new(SECRET)),
        signature_secret: Some(Secret::new(SECRET)),
        ..ServerConfig::default()
    };
    let server = SandboxServer::new(Arc::clone(&provider), server).unwrap();
    let listener = TcpListener::bind(FREE).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server.serve(listener, stop.clone()));
    (provider, address)
}

fn configure(file: &Path, provider: SocketAddr, http: SocketAddr) {
    let text = format!(
        r#"
[listen]
public_url = "http://{http}"
[engine]
recovery_grace_s = 0
unknown_wait_s = 1
final_wait_s = 8
[log]
level = "warn"
[[accounts]]
name = "main"
provider = "vonage"
settings = {{ base_url = "http://{provider}", api_key = "abcd1234" }}
secrets = {{ api_secret = "{SECRET}", signature_secret = "{SECRET}" }}
[[routes]]
name = "messenger"
adapter = "vonage-messenger"
account = "main"
[[routes]]
name = "sms"
adapter = "vonage-sms"
account = "main"
"#
    );
    std::fs::write(file, text).unwrap();
}

/// What the service acknowledged: the other side of the contract.
#[derive(Default)]
struct Promised {
    /// By request id.
    created: BTreeMap<String, String>,
    /// Attempts that had started when the cancel was acknowledged, by workflow.
    canceled: BTreeMap<String, BTreeSet<String>>,
    /// The longest timeline that was ever shown, by workflow: each event's sequence and sentence.
    shown: BTreeMap<String, Vec<(u32, String)>>,
}

/// Creates, cancels and looks, until told to stop or the service is gone.
async fn customer(
    client: Client,
    promised: Arc<Mutex<Promised>>,
    stop: Arc<AtomicBool>,
    name: String,
) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let request_id = format!("{name}-{number}");
        let person = format!("person-{request_id}");
        let mut asked = request(messenger_sms(&person, "447700900001", "1s"));
        asked.request_id = request_id.clone();
        let Ok(created) = client.create(asked).await else { return };
        let id = created.workflow.unwrap().id;
        promised.lock().unwrap().created.insert(request_id, id.clone());
        if number % 4 == 0 {
            match client.cancel(&id).await {
                Ok(canceled) => {
                    let started = canceled.started_attempt_ids.into_iter().collect();
                    promised.lock().unwrap().canceled.insert(id.clone(), started);
                }
                Err(status) if status.code() == Code::FailedPrecondition => {}
                Err(_) => return,
            }
        }
        if number % 3 == 0 {
            let Ok(workflow) = client.get(&id).await else { return };
            promised.lock().unwrap().shown.insert(id, timeline(&workflow));
        }
    }
}

fn timeline(workflow: &Workflow) -> Vec<(u32, String)> {
    workflow.timeline.iter().map(|event| (event.sequence, event.sentence.clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_every_possible_double_is_counted() {
    let rounds: u32 =
        std::env::var("DISPATCH_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let (provider, address) = provider(&stop).await;
    let (grpc, http) = (free_port().await, free_port().await);
    let config = folder.path().join("dispatch.toml");
    let data = folder.path().join("data");
    configure(&config, address, http);
    let promised = Arc::new(Mutex::new(Promised::default()));

    for round in 0..rounds {
        let process = Process::serve(&config, &data, grpc, http).await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut customers = Vec::new();
        for name in 0..4 {
            let client = Client::connect(format!("http://{grpc}")).await.unwrap();
            let name = format!("{round}-{name}");
            customers.push(tokio::spawn(customer(
                client,
                Arc::clone(&promised),
                Arc::clone(&stop),
                name,
            )));
        }
        // Spread over creates, first sends, expiries and second sends.
        let pause = 40 + u64::from(round * 7919 % 61) * 25;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        process.kill().await;
        stop.store(true, Ordering::Relaxed);
        for customer in customers {
            customer.await.unwrap();
        }
    }

    let process = Process::serve(&config, &data, grpc, http).await;
    let client = Client::connect(format!("http://{grpc}")).await.unwrap();
    let promised = std::mem::take(&mut *promised.lock().unwrap());
    let mut workflows = BTreeMap::new();
    for (request_id, id) in &promised.created {
        let all_ended = eventually(Duration::from_secs(60), || async {
            let workflow = client.get(id).await.unwrap_or_else(|status| {
                panic!("the acknowledged workflow of {request_id} is lost: {status}")
            });
            !matches!(workflow.state(), WorkflowState::Running | WorkflowState::Scheduled)
        });
        assert!(all_ended.await, "a timer of {id} is lost: {:#?}", client.get(id).await);
    }
    // Everything there is, the unacknowledged too: a create that died in between may be kept.
    let mut page_token = String::new();
    loop {
        let request = dispatch::pb::v1::ListWorkflowsRequest {
            page_size: 500,
            page_token,
            ..Default::default()
        };
        let page = client.list(request).await.unwrap();
        for workflow in page.workflows {
            let id = workflow.id;
            workflows.insert(id.clone(), client.get(id).await.unwrap());
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }

    for (id, workflow) in &workflows {
        let told = timeline(workflow);
        let sequences: Vec<_> = told.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(sequences, (1..=told.len() as u32).collect::<Vec<_>>(), "a gap in {id}");
        if let Some(shown) = promised.shown.get(id) {
            assert!(told.starts_with(shown), "an event of {id} that was shown is lost");
        }
    }
    let mut sent_by_step: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut sent_attempts = BTreeMap::new();
    for sent in provider.sent() {
        let attempt = sent.attempt().expect("only this service sends");
        let id = attempt.workflow.hyphenated().to_string();
        assert!(workflows.contains_key(&id), "sent for {id}, which was never durable");
        if let Some(started) = promised.canceled.get(&id) {
            let name = attempt.to_string();
            assert!(started.contains(&name), "{name} started after the cancel was acknowledged");
        }
        *sent_attempts.entry(attempt.to_string()).or_insert(0) += 1;
        *sent_by_step.entry((id, sent.channel.to_string())).or_insert(0) += 1;
    }
    for (attempt, times) in &sent_attempts {
        assert_eq!(*times, 1, "{attempt} was sent twice");
    }
    let mut doubles = 0;
    for ((id, channel), times) in &sent_by_step {
        let events = workflows[id].timeline.iter();
        let counted = events.filter(|event| event.possible_double && event.channel == *channel);
        let counted =
            counted.filter(|event| event.kind() == EventKind::AttemptPlanned).count() as u32;
        assert!(*times <= 1 + counted, "an uncounted double of {id} on {channel}");
        doubles += times - 1;
    }
    let possible: usize = workflows
        .values()
        .flat_map(|workflow| &workflow.timeline)
        .filter(|event| event.kind() == EventKind::AttemptPlanned && event.possible_double)
        .count();
    println!(
        "{rounds} kills: {} workflows kept, {} of them acknowledged, {} cancels, {} messages sent, \
         {possible} possible doubles counted, {doubles} real",
        workflows.len(),
        promised.created.len(),
        promised.canceled.len(),
        provider.sent_count(),
    );
    assert!(promised.created.len() > rounds as usize, "there was too little to lose");
    assert_eq!(process.terminate().await, Some(0));
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_across_a_restart_without_gap_or_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let (_provider, address) = provider(&stop).await;
    let (grpc, http) = (free_port().await, free_port().await);
    let config = folder.path().join("dispatch.toml");
    let data = folder.path().join("data");
    configure(&config, address, http);

    let process = Process::serve(&config, &data, grpc, http).await;
    let client = Client::connect(format!("http://{grpc}")).await.unwrap();
    let created = client.create(request(messenger_sms("a person", "447700900001", "2s"))).await;
    let id = created.unwrap().workflow.unwrap().id;
    let watching = tokio::spawn({
        let (client, id) = (client.clone(), id.clone());
        async move {
            let mut seen = Vec::new();
            let see = |event: dispatch::pb::v1::Event| {
                seen.push(event);
                true
            };
            client.watch(dispatch::client::Watch::Workflow(id), None, false, see).await.unwrap();
            seen
        }
    });
    tokio::time::sleep(Duration::from_millis(600)).await;
    process.kill().await;
    let process = Process::serve(&config, &data, grpc, http).await;
    let seen = tokio::time::timeout(Duration::from_secs(20), watching).await.unwrap().unwrap();
    let kept = client.get(&id).await.unwrap().timeline;
    assert_eq!(seen, kept);
    assert_eq!(process.terminate().await, Some(0));
    stop.cancel();
}
