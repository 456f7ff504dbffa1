//! Ten times the creates that the service can take, while others cancel and providers report.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use dispatch::client::Client;
use prost_types::Timestamp;
use serde_json::json;
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::sleep,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{Server, Times, create_sms, sign, sms};
use crate::{
    ALONE,
    chance::setting,
    report,
    support::{eventually, request},
};

const CONNECTIONS: usize = 32;
/// How many cancel, and how many post receipts, at once.
const CALLERS: usize = 8;
/// How many calls a connection may have. A quarter of what is usual: it bounds how much is in
/// flight, and so how long anybody waits.
const CALLS: usize = 256;
/// The most memory, in MiB: the store's cache and its buffers, and what is in flight.
const MEMORY_MIB: u64 = 450;
/// The most memory for each accepted workflow, in KiB: all of them may be open at once, and a storm
/// of a minute leaves half a million.
const ACCEPTED_KIB: u64 = 1;
/// Creates that may wait for the writer: more than come in peace, and so few that a storm exceeds
/// it on a machine, too, whose processors are all taken before its writer is.
const WAITING: u64 = 32;

fn config() -> String {
    let (key, secret) = (sign::KEY, sign::SECRET);
    format!(
        r#"
[listen]
max_concurrent_streams = {CALLS}
[store]
cache_mib = 32
[engine]
create_queue_capacity = {WAITING}
[sandbox]
default_script = "accept; deliver 50ms"
{}[[accounts]]
name = "main"
provider = "vonage"
settings = {{ api_key = "{key}", base_url = "http://127.0.0.1:9" }}
secrets = {{ api_secret = "{secret}", signature_secret = "{secret}" }}
[[routes]]
name = "sms"
adapter = "sandbox-sms"
account = "sandbox"
"#,
        sign::access_key()
    )
}

/// What became of the creates.
#[derive(Default)]
struct Creates {
    offered: u64,
    refused: u64,
    accepted: BTreeSet<String>,
    accepted_in: Times,
    refused_in: Times,
    others: Vec<Status>,
}

async fn create(client: Client, creates: Arc<Mutex<Creates>>) {
    creates.lock().unwrap().offered += 1;
    let asked = Instant::now();
    let answer = client.create(create_sms()).await;
    let mut creates = creates.lock().unwrap();
    match answer {
        Ok(created) => {
            creates.accepted_in.add(asked);
            creates.accepted.insert(created.workflow.unwrap().workflow_id);
        }
        Err(status) if status.code() == Code::ResourceExhausted => {
            assert!(status.get_details_retry_info().is_some(), "no hint when to retry: {status}");
            creates.refused_in.add(asked);
            creates.refused += 1;
        }
        Err(status) => creates.others.push(status),
    }
}

/// What the service takes in peace: a few callers, each waiting for its answer.
async fn capacity(server: &Server) -> (u64, Times) {
    let creates = Arc::<Mutex<Creates>>::default();
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (client, creates) = (server.connect().await, Arc::clone(&creates));
        callers.spawn(async move {
            while began.elapsed() < Duration::from_millis(1500) {
                create(client.clone(), Arc::clone(&creates)).await;
            }
        });
    }
    callers.join_all().await;
    let creates = std::mem::take(&mut *creates.lock().unwrap());
    assert!(creates.others.is_empty(), "{:?}", creates.others.first());
    let a_second = creates.accepted.len() as f64 / began.elapsed().as_secs_f64();
    (a_second as u64, creates.accepted_in)
}

/// Cancels workflows that wait for their time, a few callers at once.
async fn cancels(server: &Server, ids: Vec<String>, over: Arc<AtomicBool>) -> JoinHandle<Times> {
    let mut callers = JoinSet::new();
    for ids in ids.chunks(ids.len() / CALLERS) {
        let (client, ids, over) = (server.connect().await, ids.to_vec(), Arc::clone(&over));
        callers.spawn(async move {
            let mut times = Times::default();
            for id in ids {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let asked = Instant::now();
                client.cancel(id).await.expect("a cancel is not refused");
                times.add(asked);
            }
            times
        });
    }
    together(callers)
}

/// Posts signed receipts, one after the other.
async fn receipts_of(caller: usize, http: SocketAddr, over: Arc<AtomicBool>) -> Times {
    let client = reqwest::Client::new();
    let url = format!("http://{http}/receipts/vonage/main");
    let mut times = Times::default();
    while !over.load(Ordering::Relaxed) {
        let id = format!("0190a1b2-c3d4-4e5f-{caller:04}-{:012}", times.0.len());
        let body = json!({
            "channel": "sms", "to": "447700900001", "from": "Dispatch", "status": "delivered",
            "timestamp": "2027-01-15T08:00:02Z", "message_uuid": id,
        });
        let body = body.to_string();
        let asked = Instant::now();
        let call = client.post(&url).header("content-type", "application/json");
        let call = call.header("authorization", sign::signed(body.as_bytes())).body(body);
        let status = call.send().await.expect("an answer").status();
        assert_eq!(status, 200, "a receipt is not turned away by creates");
        times.add(asked);
    }
    times
}

/// A few providers at once.
fn receipts(http: SocketAddr, over: &Arc<AtomicBool>) -> JoinHandle<Times> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(receipts_of(caller, http, Arc::clone(over)));
    }
    together(callers)
}

fn together(callers: JoinSet<Times>) -> JoinHandle<Times> {
    tokio::spawn(async move {
        let times = callers.join_all().await;
        Times(times.into_iter().flat_map(|times| times.0).collect())
    })
}

/// Workflows of tomorrow, to be canceled.
async fn scheduled(server: &Server, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let mut spec = sms("447700900002");
        let tomorrow = std::time::SystemTime::now() + Duration::from_secs(86_400);
        spec.send_at = Some(Timestamp::from(tomorrow));
        ids.push(server.client.create(request(spec)).await.unwrap().workflow.unwrap().workflow_id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_too_much_is_refused_early_and_what_is_accepted_is_done() {
    let _alone = ALONE.lock().await;
    let storm_s = setting("DISPATCH_OVERLOAD_S", 3);
    let server = Server::start(&config()).await;
    let to_cancel = scheduled(&server, 200 * storm_s as usize).await;
    let (capacity, mut calm) = capacity(&server).await;
    let before_mib = server.rss_mib();

    let creates = Arc::<Mutex<Creates>>::default();
    let over = Arc::new(AtomicBool::new(false));
    let canceling = cancels(&server, to_cancel.clone(), Arc::clone(&over)).await;
    let reporting = receipts(server.process.http, &over);
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push((server.connect().await, Arc::new(Semaphore::new(CALLS))));
    }
    let mut calls = JoinSet::new();
    let began = Instant::now();
    let (mut begun, mut held_back) = (0, 0_u64);
    while began.elapsed() < Duration::from_secs(storm_s) {
        // Whoever is late makes up for it: offered is ten times what is taken, whatever comes of it.
        let due = (began.elapsed().as_secs_f64() * 10.0 * capacity as f64) as u64;
        for number in begun..due {
            // What a connection has no room for waits at its client, and is none of the service's.
            let (client, room) = &clients[number as usize % CONNECTIONS];
            let Ok(place) = Arc::clone(room).try_acquire_owned() else {
                held_back += 1;
                continue;
            };
            let created = create(client.clone(), Arc::clone(&creates));
            calls.spawn(async move {
                created.await;
                drop(place);
            });
        }
        begun = due;
        while calls.try_join_next().is_some() {}
        sleep(Duration::from_millis(5)).await;
    }
    let storm = began.elapsed();
    let in_flight = calls.len();
    over.store(true, Ordering::Relaxed);
    let mut cancels = canceling.await.unwrap();
    let mut receipts = reporting.await.unwrap();
    let storm_over = Instant::now();
    calls.join_all().await;
    // Recovered: twenty in a row as quick as in peace.
    let quick = calm.at(99).max(Duration::from_millis(20)) * 2;
    let mut in_a_row = 0;
    while in_a_row < 20 {
        let asked = Instant::now();
        let is_accepted = server.client.create(create_sms()).await.is_ok();
        in_a_row = if is_accepted && asked.elapsed() <= quick { in_a_row + 1 } else { 0 };
        assert!(storm_over.elapsed() < Duration::from_secs(60), "it does not recover");
    }
    let recovered = storm_over.elapsed();
    let done = eventually(Duration::from_secs(60 + 10 * storm_s), || async {
        // The scheduled ones that were not canceled wait for tomorrow.
        server.metric("dispatch_workflows_open").await <= (to_cancel.len() - cancels.0.len()) as u64
    });
    assert!(
        done.await,
        "accepted work is not done: {} open",
        server.metric("dispatch_workflows_open").await
    );
    let all_done = storm_over.elapsed();
    let creates = std::mem::take(&mut *creates.lock().unwrap());
    let (kept, _) = server.all().await;
    let lost = creates.accepted.iter().filter(|id| !kept.contains(*id)).count();
    let Creates { offered, refused, accepted, mut accepted_in, mut refused_in, others } = creates;
    let peak_mib = server.peak_mib();
    println!(
        "capacity {capacity}/s, calm p99 {:?}; storm {storm:?}: offered {offered}, accepted {}, \
         refused {refused}, other {}; held back {held_back}, in flight at its end {in_flight}; accepted p50 {:?} p99 {:?}, refused p50 {:?} p99 \
         {:?}; {} cancels p50 {:?} p99 {:?}; {} receipts p50 {:?} p99 {:?}; RSS {before_mib} to {peak_mib} MiB; \
         recovered {recovered:?}, all done {all_done:?}",
        calm.at(99),
        accepted.len(),
        others.len(),
        accepted_in.at(50),
        accepted_in.at(99),
        refused_in.at(50),
        refused_in.at(99),
        cancels.0.len(),
        cancels.at(50),
        cancels.at(99),
        receipts.0.len(),
        receipts.at(50),
        receipts.at(99),
    );
    assert!(others.is_empty(), "{:?}", others.first());
    assert_eq!(lost, 0, "accepted and not kept");
    assert!(refused > 0, "it was no storm: {offered} offered");
    // All that may be in flight, at the speed of peace: nobody waits in a queue without end.
    let all_in_flight = Duration::from_secs_f64((CONNECTIONS * CALLS) as f64 / capacity as f64);
    let worst = all_in_flight + Duration::from_secs(2);
    assert!(accepted_in.at(99) < worst, "{:?}, {worst:?}", accepted_in.at(99));
    assert!(recovered < worst + Duration::from_secs(5), "{recovered:?}");
    // Others' lanes are not behind those of creates. What is in flight is shared, and so are the
    // processors: the worst of them may wait as long as a create, the usual one does not.
    for (whose, times) in [("cancels", &mut cancels), ("receipts", &mut receipts)] {
        let (usual, worst) = (times.at(50), times.at(99));
        assert!(usual < accepted_in.at(50), "{whose}: {usual:?}, {:?}", accepted_in.at(50));
        let not_worse = accepted_in.at(99) + Duration::from_secs(1);
        assert!(worst < not_worse, "{whose}: {worst:?}, {not_worse:?}");
    }
    let most_mib = MEMORY_MIB + accepted.len() as u64 * ACCEPTED_KIB / 1024;
    assert!(peak_mib < most_mib, "{peak_mib} MiB, and {most_mib} at most");
    report::row(&report::Tried {
        name: "80-overload-storm",
        what: "ten times the creates that can be taken",
        counts: vec![
            (capacity, "creates/s in peace"),
            (offered, "offered"),
            (accepted.len() as u64, "accepted"),
            (refused, "refused"),
            (accepted_in.p99_ms(), "ms p99 of accepted"),
            (cancels.p99_ms(), "ms p99 of cancels"),
            (receipts.p99_ms(), "ms p99 of receipts"),
            (peak_mib, "MiB peak RSS"),
            (recovered.as_millis() as u64, "ms to recover"),
        ],
        found: "every accepted one done, the rest refused with a hint".to_owned(),
        seed: format!("DISPATCH_OVERLOAD_S={storm_s}"),
    });
    server.stop().await;
}
