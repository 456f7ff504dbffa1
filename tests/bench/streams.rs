//! `streams`: many subscribers, each on its own workflow, and ten that follow everything.
//!
//! Events come from signed webhooks at a pace (`--rate`), one for each workflow. Measured from when
//! a webhook was to be posted until a subscriber has the event: verification, commit and fan-out.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::JoinSet};
use tonic::Status;
use uuid::Uuid;

use super::{
    Bench,
    latency::Latencies,
    load::{self, Outcome},
    pace::Pace,
    progress::Progress,
    provider::Arrival,
    report::mib,
    waiting::{SILENCE, waiting},
    webhooks::Webhooks,
};
use crate::CommandFailure;
use dispatch::{
    client::Known,
    pb::v1::{
        AllWorkflows, EventKind, StreamStart, StreamStatusRequest,
        dispatch_service_client::DispatchServiceClient,
        stream_status_request::{Start, Target},
        stream_status_response::Kind,
    },
};

/// How many follow everything.
const FOLLOWERS: usize = 10;
/// Streams that share a connection: servers take some 200 at once on each.
const STREAMS_A_CONNECTION: usize = 100;

/// An event reached a subscriber.
struct Reached {
    number: u64,
    at: Instant,
    follows_everything: bool,
}

pub(super) async fn run(bench: &mut Bench) -> Result<(), CommandFailure> {
    let count = bench.args.count.unwrap_or(1000).max(1);
    let rate = bench.args.rate.unwrap_or(1000.0);
    let waiting = Arc::new(waiting(bench, count).await?);
    let in_flight = bench.in_flight();
    let channels = bench.channels(in_flight).await?;
    let empty = bench.empty_rpc(&channels, in_flight).await;

    let memory_before = bench.server.usage();
    let (sender, mut reached) = mpsc::unbounded_channel();
    let _streams = subscribe(bench, &waiting, &sender).await?;
    drop(sender);
    let memory_after = bench.server.usage();

    let webhooks = Webhooks::new(&bench.server.webhooks, &bench.server.secret);
    let webhooks = webhooks.map_err(|error| CommandFailure::new(error.to_string()))?;
    let asked: Arc<Vec<OnceLock<Instant>>> =
        Arc::new((0..count).map(|_| OnceLock::new()).collect());
    let post = {
        let asked = Arc::clone(&asked);
        move |number: u64, from: Instant| {
            let (webhooks, waiting, asked) =
                (webhooks.clone(), Arc::clone(&waiting), Arc::clone(&asked));
            async move {
                // Set once: each number is told once.
                let _ = asked[number as usize].set(from);
                webhooks.tell(&waiting[number as usize], "delivered").await
            }
        }
    };
    let wanted = count * (1 + FOLLOWERS as u64);
    let began = Instant::now();
    let before = bench.server.usage();
    let (posted, all) = tokio::join!(
        load::open("streams: webhooks", Pace::new(rate, count), post),
        collect(&mut reached, wanted),
    );
    let elapsed = began.elapsed();
    let used = before.zip(bench.server.usage());
    let posted = bench.report.measured("webhook to its 2xx", posted, used);
    let of = |follows_everything| {
        let mut latencies = Latencies::default();
        for one in all.iter().filter(|one| one.follows_everything == follows_everything) {
            if let Some(asked) = asked[one.number as usize].get() {
                latencies.record(one.at.saturating_duration_since(*asked));
            }
        }
        Outcome { latencies, elapsed, ..Outcome::default() }
    };
    bench.report.measured("webhook to the workflow's subscriber", of(false), None);
    bench.report.measured("webhook to a follower of everything", of(true), None);
    bench.report.failed(wanted.abs_diff(all.len() as u64), "events did not reach a subscriber");
    if let Some((before, after)) = memory_before.zip(memory_after) {
        let grown = after.pss_bytes.saturating_sub(before.pss_bytes);
        bench.report.figure("server memory for all streams, PSS", mib(grown), "MiB");
        let streams = count + FOLLOWERS as u64;
        bench.report.figure("server memory per stream", grown as f64 / streams as f64, "bytes");
    }
    bench.report.ratio("webhooks / empty RPC", posted.per_second / empty.per_second);
    bench.provider_ceiling().await;
    Ok(())
}

/// Opens all streams. They end when what is returned is dropped.
async fn subscribe(
    bench: &Bench,
    waiting: &[Arrival],
    reached: &mpsc::UnboundedSender<Reached>,
) -> Result<JoinSet<()>, CommandFailure> {
    let mut numbers = HashMap::new();
    for arrival in waiting {
        // An attempt's name begins with its workflow's.
        let id = arrival.client_ref.split('.').next().and_then(|id| Uuid::try_parse(id).ok());
        let id =
            id.ok_or_else(|| CommandFailure::new("a message came without its attempt's name"))?;
        numbers.insert(id.hyphenated().to_string(), arrival.number);
    }
    let mut targets: Vec<_> = numbers.keys().cloned().map(Target::WorkflowId).collect();
    // Far apart, so that they do not share a connection.
    let every = (targets.len() / FOLLOWERS).max(1);
    for follower in 0..FOLLOWERS {
        targets.insert((follower * (every + 1)).min(targets.len()), Target::All(AllWorkflows {}));
    }
    let numbers = Arc::new(numbers);
    let channels = bench.server.connect(targets.len().div_ceil(STREAMS_A_CONNECTION)).await?;
    let progress = Progress::of("streams: subscribed");
    let counter = progress.counter();
    let mut streams = JoinSet::new();
    for (index, target) in targets.into_iter().enumerate() {
        let channel = channels[index / STREAMS_A_CONNECTION].clone();
        let (numbers, reached) = (Arc::clone(&numbers), reached.clone());
        let stream = open(channel, target).await;
        let stream = stream.map_err(|status| CommandFailure::new(format!("a stream: {status}")))?;
        streams.spawn(stream(numbers, reached));
        counter.one();
    }
    Ok(streams)
}

/// Opens a stream; what it returns then reads it to its end.
async fn open(
    channel: Known,
    target: Target,
) -> Result<
    impl FnOnce(
        Arc<HashMap<String, u64>>,
        mpsc::UnboundedSender<Reached>,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    Status,
> {
    let follows_everything = matches!(target, Target::All(_));
    let request = StreamStatusRequest {
        tenant: String::new(),
        target: Some(target),
        start: Some(Start::Position(StreamStart::Now as i32)),
        follow_late_receipts: false,
    };
    let mut client = DispatchServiceClient::new(channel);
    let mut events = client.stream_status(request).await?.into_inner();
    Ok(move |numbers: Arc<HashMap<String, u64>>, reached: mpsc::UnboundedSender<Reached>| {
        Box::pin(async move {
            while let Ok(Some(told)) = events.message().await {
                let at = Instant::now();
                let Some(Kind::Event(event)) = told.kind else { continue };
                if event.kind() != EventKind::StatusReached {
                    continue;
                }
                if let Some(number) = numbers.get(&event.workflow_id) {
                    // Nobody listens any more at the end of a run.
                    let _ = reached.send(Reached { number: *number, at, follows_everything });
                }
            }
        }) as _
    })
}

async fn collect(reached: &mut mpsc::UnboundedReceiver<Reached>, wanted: u64) -> Vec<Reached> {
    let mut all = Vec::new();
    while (all.len() as u64) < wanted {
        match tokio::time::timeout(SILENCE, reached.recv()).await {
            Ok(Some(one)) => all.push(one),
            Ok(None) | Err(_) => break,
        }
    }
    // What came too often would come about now.
    tokio::time::sleep(Duration::from_millis(200)).await;
    while let Ok(one) = reached.try_recv() {
        all.push(one);
    }
    all
}
