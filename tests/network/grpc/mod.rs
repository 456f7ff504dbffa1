//! The gRPC network, simulated: partitions, delays, dead connections, restarts, over many seeds.
//!
//! Virtual: the network and the clients' time (turmoil), and the engine's time, which is moved on in
//! step with it. Real: the engine, its writer's thread, sled and its files, tonic on both sides, and
//! the project's own client. So a seed fixes what goes wrong when, and not how the threads
//! interleave.
//!
//! `DISPATCH_NET_SEEDS` sets how many seeds, `DISPATCH_NET_SEED` the first of them.

mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use dispatch::{
    client::Watch,
    pb::v1::{Event, EventKind},
};
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::{
    ALONE,
    chance::{Chance, setting},
    report,
    support::{messenger_sms, request},
};
use world::{SERVER, World, connect};

const CUSTOMERS: u64 = 3;
const WORKFLOWS: u64 = 8;
/// For how long things go wrong, in virtual milliseconds.
const TROUBLE_MS: u64 = 120_000;

/// What the clients were told: what the service is held to.
#[derive(Default)]
struct Told {
    /// By request id: every workflow id it was ever answered with.
    created: BTreeMap<String, BTreeSet<String>>,
    /// Those whose watch ended.
    watched: BTreeMap<String, Vec<Event>>,
    /// What each follower of many heard, by workflow.
    followed: Vec<BTreeMap<String, Vec<Event>>>,
    /// Calls that had to be made again.
    retries: u64,
}

type Shared = Arc<Mutex<Told>>;

/// Creates workflows, each until it is answered, and now and then once more; cancels some; watches
/// others to their end.
async fn customer(name: u64, seed: u64, told: Shared) -> turmoil::Result {
    let mut chance = Chance::new(seed ^ (name << 32));
    // The followers begin first.
    sleep(Duration::from_millis(3000)).await;
    let mut client = connect().await;
    let mut watches = tokio::task::JoinSet::new();
    for number in 0..WORKFLOWS {
        sleep(Duration::from_millis(chance.within(0..15_000))).await;
        let request_id = format!("{name}-{number}");
        let mut asked =
            request(messenger_sms(&format!("person-{request_id}"), "447700900001", "4s"));
        asked.request_id = request_id.clone();
        asked.workflow.as_mut().unwrap().labels =
            [("customer".to_owned(), name.to_string())].into();
        let mut again = 1 + u32::from(chance.one_in(3));
        while again > 0 {
            // An impatient caller: its call may have been done all the same.
            let within = Duration::from_millis(chance.within(300..20_000));
            match timeout(within, client.create(asked.clone())).await {
                Ok(Ok(created)) => {
                    let id = created.workflow.unwrap().workflow_id;
                    told.lock().unwrap().created.entry(request_id.clone()).or_default().insert(id);
                    again -= 1;
                }
                Ok(Err(status)) => {
                    let is_passing = matches!(
                        status.code(),
                        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
                    );
                    assert!(is_passing, "{request_id}: {status}");
                    told.lock().unwrap().retries += 1;
                    sleep(Duration::from_millis(500)).await;
                }
                Err(_) => {
                    told.lock().unwrap().retries += 1;
                    client = connect().await;
                }
            }
        }
        let id = told.lock().unwrap().created[&request_id].first().unwrap().clone();
        if chance.one_in(5) {
            let _ = timeout(Duration::from_secs(5), client.cancel(&id)).await;
        }
        if chance.one_in(2) {
            let (client, told) = (client.clone(), Arc::clone(&told));
            watches.spawn(async move {
                let mut seen = Vec::new();
                let mut token: Option<String> = None;
                // A watch gives up after a minute without the service; its caller goes on.
                loop {
                    let see = |event: Event| {
                        seen.push(event);
                        true
                    };
                    match client.watch(Watch::Workflow(id.clone()), token.take(), false, see).await
                    {
                        Ok(()) => break,
                        Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
                    }
                    token = seen.last().map(|event| event.resume_token.clone());
                }
                told.lock().unwrap().watched.insert(id, seen);
            });
        }
    }
    while let Some(watch) = watches.join_next().await {
        watch.unwrap();
    }
    Ok(())
}

/// Follows many workflows from before the first until `wanted` of them have ended.
async fn follower(what: Watch, wanted: u64, told: Shared) -> turmoil::Result {
    let client = connect().await;
    let mut seen: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    let mut ended = 0;
    let mut token = None;
    loop {
        let behind = token.clone();
        let see = |event: Event| {
            token = Some(event.resume_token.clone());
            ended += u64::from(event.kind() == EventKind::Ended);
            seen.entry(event.workflow_id.clone()).or_default().push(event);
            ended < wanted
        };
        match client.watch(what.clone(), behind, false, see).await {
            Ok(()) => break,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
        }
    }
    told.lock().unwrap().followed.push(seen);
    Ok(())
}

/// What went wrong in one run.
#[derive(Default)]
struct Troubles {
    partitions: u64,
    delays: u64,
    restarts: u64,
}

fn run(seed: u64) -> (Told, Troubles, u64) {
    let world = World::start(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(20))
        .simulation_duration(Duration::from_secs(900))
        .max_message_latency(Duration::from_millis(60))
        // Frames that wait for a slow reader; turmoil's 64 is below one HTTP/2 window.
        .tcp_capacity(4096)
        .enable_random_order()
        .build();
    let told = Shared::default();
    sim.host(SERVER, {
        let world = Arc::clone(&world);
        move || world.serve()
    });
    let all = CUSTOMERS * WORKFLOWS;
    let mut names = vec!["everything".to_owned(), "labels".to_owned()];
    sim.client("everything", follower(Watch::All, all, Arc::clone(&told)));
    let labels = Watch::Labels([("customer".to_owned(), "0".to_owned())].into());
    sim.client("labels", follower(labels, WORKFLOWS, Arc::clone(&told)));
    for name in 0..CUSTOMERS {
        let host = format!("customer-{name}");
        sim.client(host.as_str(), customer(name, seed, Arc::clone(&told)));
        names.push(host);
    }

    let mut chance = Chance::new(seed.wrapping_mul(31).wrapping_add(7));
    let mut troubles = Troubles::default();
    // When what is cut is mended, by host.
    let mut cut: BTreeMap<String, u64> = BTreeMap::new();
    // The followers begin in peace: what they are owed begins with their first answer.
    let mut next_trouble = 2500;
    loop {
        let is_over = sim.step().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        if is_over {
            break;
        }
        world.advance(Duration::from_millis(20));
        let now = sim.elapsed().as_millis() as u64;
        cut.retain(|name, until| {
            if *until <= now || now >= TROUBLE_MS {
                sim.repair(name.as_str(), SERVER);
                sim.set_link_max_message_latency(name.as_str(), SERVER, Duration::from_millis(60));
                return false;
            }
            true
        });
        if now < next_trouble || now >= TROUBLE_MS {
            continue;
        }
        next_trouble = now + chance.within(200..8000);
        let name = names[chance.within(0..names.len() as u64) as usize].clone();
        let until = now + chance.within(100..30_000);
        match chance.within(0..8) {
            0..=3 if !cut.contains_key(&name) => {
                sim.partition(name.as_str(), SERVER);
                cut.insert(name, until);
                troubles.partitions += 1;
            }
            4 if !cut.contains_key(&name) => {
                // One direction only: requests arrive and answers do not, or the other way round.
                if chance.one_in(2) {
                    sim.partition_oneway(name.as_str(), SERVER);
                } else {
                    sim.partition_oneway(SERVER, name.as_str());
                }
                cut.insert(name, until);
                troubles.partitions += 1;
            }
            5 | 6 if !cut.contains_key(&name) => {
                let latency = Duration::from_millis(chance.within(500..5000));
                sim.set_link_max_message_latency(name.as_str(), SERVER, latency);
                cut.insert(name, until);
                troubles.delays += 1;
            }
            7 => {
                sim.crash(SERVER);
                world.restart();
                sim.bounce(SERVER);
                troubles.restarts += 1;
            }
            _ => {}
        }
    }
    world.stop();
    let told = std::mem::take(&mut *told.lock().unwrap());
    check(seed, &world, &told);
    let virtual_s = sim.elapsed().as_secs();
    (told, troubles, virtual_s)
}

fn check(seed: u64, world: &World, told: &Told) {
    let all = CUSTOMERS * WORKFLOWS;
    let kept = world.kept();
    assert_eq!(told.created.len() as u64, all, "seed {seed}");
    for (request_id, ids) in &told.created {
        assert_eq!(ids.len(), 1, "seed {seed}: {request_id} was created more than once: {ids:?}");
    }
    assert_eq!(kept.len() as u64, all, "seed {seed}: as many workflows as request ids");
    let everything = told.followed.iter().find(|seen| seen.len() as u64 == all);
    let everything = everything.unwrap_or_else(|| panic!("seed {seed}: nobody heard of all"));
    for seen in told.followed.iter().chain([everything]) {
        for (id, events) in seen {
            same(seed, id, events, &kept[id]);
        }
    }
    for (id, events) in &told.watched {
        same(seed, id, events, &kept[id]);
    }
    // Nobody was written to twice.
    let mut sent: BTreeMap<(String, String), u32> = BTreeMap::new();
    for message in world.sent() {
        let workflow = message.attempt_id.split_once('.').unwrap().0.to_owned();
        *sent.entry((workflow, message.channel)).or_default() += 1;
    }
    assert!(sent.len() as u64 > all / 2, "seed {seed}: too little was sent: {}", sent.len());
    for ((id, channel), times) in sent {
        assert_eq!(times, 1, "seed {seed}: {id} sent {times} times by {channel}");
    }
}

/// What was heard is what is kept, from the first event on: no gap, no repeat. Receipts that came
/// after a follower had left may be missing at the end.
fn same(seed: u64, id: &str, heard: &[Event], kept: &[Event]) {
    let numbers: Vec<_> = heard.iter().map(|event| event.sequence).collect();
    let wanted: Vec<_> = (1..=heard.len() as u32).collect();
    assert_eq!(numbers, wanted, "seed {seed}: a gap or a repeat in what was heard of {id}");
    assert!(heard.len() <= kept.len(), "seed {seed}: more of {id} than is kept");
    assert_eq!(heard, &kept[..heard.len()], "seed {seed}: {id}");
    assert!(heard.iter().any(|event| event.kind() == EventKind::Ended), "seed {seed}: {id}");
}

#[test]
fn streams_have_no_gap_and_no_repeat_and_creates_no_double_whatever_the_network_does() {
    let _alone = ALONE.blocking_lock();
    let (seeds, first) = (setting("DISPATCH_NET_SEEDS", 3), setting("DISPATCH_NET_SEED", 1));
    let began = Instant::now();
    let mut sums = [0; 8];
    for seed in first..first + seeds {
        let run_began = Instant::now();
        let (told, troubles, virtual_s) = run(seed);
        let heard =
            |seen: &BTreeMap<String, Vec<Event>>| seen.values().map(Vec::len).sum::<usize>();
        let followed: usize = told.followed.iter().map(heard).sum();
        let watched = heard(&told.watched);
        let of_this = [
            1,
            told.created.len() as u64,
            (followed + watched) as u64,
            troubles.partitions,
            troubles.delays,
            troubles.restarts,
            told.retries,
            virtual_s,
        ];
        println!("seed {seed}: {of_this:?}, {:?}", run_began.elapsed());
        for (sum, one) in sums.iter_mut().zip(of_this) {
            *sum += one;
        }
    }
    assert!(sums[3] > seeds && sums[6] > 0, "too little went wrong: {sums:?}");
    let nouns = [
        "seeds",
        "workflows",
        "streamed events",
        "partitions",
        "slow links",
        "restarts",
        "calls made again",
        "virtual seconds",
    ];
    report::row(&report::Tried {
        name: "70-network-grpc",
        what: "gRPC over a simulated network: partitions, slow links, restarts",
        counts: sums.into_iter().zip(nouns).collect(),
        found: format!("no gap, no repeat, no double; {} s", began.elapsed().as_secs()),
        seed: format!("DISPATCH_NET_SEED={first} DISPATCH_NET_SEEDS={seeds}"),
    });
}
