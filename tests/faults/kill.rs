//! The crash contract, on the real program and real files: SIGKILL at random and at named points
//! while workflows are created, canceled and finished, and while it starts.
//!
//! The simulated provider lives in this process, survives every kill, and remembers what it really
//! sent: it is the oracle.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dispatch::client::{Client, Watch};
use tokio_util::sync::CancellationToken;

use crate::{
    honouring,
    oracle::{self, Kept, Promised},
    report,
    server::{Place, Program, Server},
    shim::Faults,
    world::{self, Dice, credential, messenger_sms, provider, provider_that, request, setting},
};

/// Where a life ends. Each with how often it may be passed before.
const POINTS: &[(&str, u64)] = &[
    // In the commit: before the sync, behind it and before the ack, and at the mark.
    ("write/db", 60),
    ("sync/db", 40),
    ("synced/db", 40),
    ("write/dispatch.mark", 40),
    // STARTED is durable; before the first byte, behind it, and with the answer at hand.
    ("call", 40),
    ("called", 40),
    ("answered", 40),
];

/// The same while a receipt is committed.
const RECEIPTS: &[&str] = &["sync/db 1", "synced/db 1"];

/// Where a start ends.
const STARTS: &[(&str, u64)] = &[
    ("open/db", 1),
    ("open/snap", 1),
    ("write/snap", 3),
    ("wrote/snap", 2),
    ("sync/snap", 1),
    ("rename/snap", 1),
    ("renamed/snap", 1),
    ("unlink/snap", 1),
    ("unlinked/snap", 1),
    ("write/db", 4),
    ("sync/db", 4),
    ("synced/db", 4),
    ("open/dispatch.mark", 2),
    ("write/dispatch.mark", 2),
    ("rename/dispatch.mark", 1),
    ("renamed/dispatch.mark", 1),
    ("sync/.", 2),
];

/// A life with customers, until it is killed; says whether it came to its point.
async fn life(
    place: &Place,
    faults: Option<&Faults>,
    promised: &Arc<Mutex<Promised>>,
    name: &str,
    dice: &mut Dice,
) -> bool {
    // It may be killed before it serves.
    let Ok(server) = place.start_with(faults, &[]).await else { return true };
    let stop = Arc::new(AtomicBool::new(false));
    let mut customers = Vec::new();
    for number in 0..4 {
        let Ok(client) = Client::connect(format!("http://{}", server.grpc)).await else { break };
        let client = client.with(credential());
        customers.push(tokio::spawn(oracle::customer(
            client,
            Arc::clone(promised),
            Arc::clone(&stop),
            format!("{name}-{number}"),
            Dice::new(dice.next(), number),
        )));
    }
    // Spread over creates, first sends, receipts, expiries and second sends. A life that is to end
    // at a point ends here if it does not come there.
    tokio::time::sleep(Duration::from_millis(40 + dice.below(800))).await;
    let came_to_its_point = server.kill().await;
    stop.store(true, Ordering::Relaxed);
    for customer in customers {
        customer.await.unwrap();
    }
    came_to_its_point
}

/// How the life of a round ends.
fn ending(round: u64, dice: &mut Dice, ports: (SocketAddr, SocketAddr)) -> Option<Faults> {
    let at = match round % 4 {
        0 => return None,
        1 | 2 => {
            let (point, most) = dice.pick(POINTS);
            format!("{point} {}", 1 + dice.below(most))
        }
        _ => format!("hook {}, {}", 1 + dice.below(20), dice.pick(RECEIPTS)),
    };
    Some(Faults { ports: Some(ports), ..Faults::kill(at) })
}

/// How lives ended.
#[derive(Debug, Default)]
struct Kills {
    at_a_point: u64,
    at_random: u64,
    /// While it started.
    starts: u64,
}

/// So many lives, then one in which everything ends.
async fn lives(program: Program, rounds: u64, mut dice: Dice) -> (Kept, Kills) {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let honours = (program == Program::Honouring).then_some(honouring::FOR);
    let (provider, address) =
        provider_that("accept; deliver 60ms; jitter 100ms", honours, &stop).await;
    let mut place = Place::new(folder.path(), "").await;
    place.program = program;
    std::fs::write(&place.config, world::config(address, place.http)).unwrap();
    let promised = Arc::new(Mutex::new(Promised::default()));

    let first = place.start().await;
    let seen = oracle::watch(&first.client().await).await;
    first.kill().await;
    let mut kills = Kills::default();
    for round in 0..rounds {
        let faults = ending(round, &mut dice, (address, place.http));
        match life(&place, faults.as_ref(), &promised, &round.to_string(), &mut dice).await {
            true => kills.at_a_point += 1,
            false => kills.at_random += 1,
        }
        // Kills in quick succession: the start that would repair is killed, and so is the next.
        while dice.one_in(3) {
            let (point, most) = dice.pick(STARTS);
            let faults = Faults::kill(format!("{point} {}", 1 + dice.below(most)));
            match place.start_with(Some(&faults), &[]).await {
                Ok(server) => kills.at_random += u64::from(!server.kill().await),
                Err(_) => kills.starts += 1,
            }
        }
        if dice.one_in(8) {
            // Timers come due while it is down, and webhooks find nobody.
            tokio::time::sleep(Duration::from_millis(1200)).await;
        }
    }

    let server = place.start().await;
    let promised = std::mem::take(&mut *promised.lock().unwrap());
    let kept = oracle::check(&server.client().await, || provider.sent(), promised, seen).await;
    assert!(kept.acknowledged > rounds, "there was too little to lose: {kept:?}");
    assert_eq!(server.terminate().await, Some(0));
    stop.cancel();
    (kept, kills)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_every_possible_double_is_counted() {
    let seed = Dice::seed();
    let rounds = setting("DISPATCH_KILL_ROUNDS").unwrap_or(8);
    let (kept, kills) = lives(Program::Real, rounds, Dice::new(seed, 1)).await;
    report::row(&report::Tried {
        name: "30-kill",
        what: "SIGKILL of the real program at random and named points, and while it starts",
        counts: vec![
            (kills.at_a_point, "kills at a named point under load"),
            (kills.at_random, "kills at random"),
            (kills.starts, "kills of a start"),
            (kept.workflows, "workflows kept"),
            (kept.acknowledged, "acknowledged"),
            (kept.unacknowledged_kept, "kept without an acknowledgement"),
            (kept.cancels, "cancels"),
            (kept.sent, "messages sent"),
            (kept.unknown, "unknown outcomes"),
            (kept.possible_doubles, "possible doubles counted"),
            (kept.watched, "events streamed"),
        ],
        found: format!("nothing lost, {} real doubles, all counted", kept.doubles),
        seed: format!("DISPATCH_SEED={seed}"),
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_provider_honours_our_id_a_kill_doubles_nothing() {
    let seed = Dice::seed();
    let rounds = setting("DISPATCH_KILL_ROUNDS").unwrap_or(8).div_ceil(2).max(4);
    let (kept, kills) = lives(Program::Honouring, rounds, Dice::new(seed, 4)).await;
    assert_eq!((kept.possible_doubles, kept.doubles), (0, 0), "{kept:?}");
    report::row(&report::Tried {
        name: "31-kill-honoured",
        what: "the same with a provider that honours our id",
        counts: vec![
            (kills.at_a_point, "kills at a named point under load"),
            (kills.at_random, "kills at random"),
            (kills.starts, "kills of a start"),
            (kept.acknowledged, "acknowledged"),
            (kept.sent, "messages sent"),
            (kept.repeated, "calls repeated under the same id"),
        ],
        found: "nothing lost, nothing doubled".to_owned(),
        seed: format!("DISPATCH_SEED={seed}"),
    });
}

/// Creates `count` workflows and cancels them.
async fn ended(client: &Client, name: &str, count: u32) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..count {
        let asked = request(&format!("{name}-{number}"), messenger_sms("somebody"));
        let id = client.create(asked).await.unwrap().workflow.unwrap().workflow_id;
        client.cancel(&id).await.unwrap();
        ids.push(id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_that_is_killed_drops_what_is_over_and_keeps_what_is_open() {
    let mut dice = Dice::new(Dice::seed(), 2);
    let folder = tempfile::tempdir().unwrap();
    let text = world::config_without_provider() + "[store]\nretention_s = 86400\n";
    let place = Place::new(folder.path(), &text).await;
    let mut open = Vec::new();
    let mut over = Vec::new();
    // Each life is two days after the last: all that ended before is due to be dropped.
    let days = |life: u64| Faults { ahead_ms: life * 2 * 86_400_000, ..Faults::default() };
    let rounds = setting("DISPATCH_KILL_ROUNDS").unwrap_or(8).div_ceil(4);
    for round in 0..rounds {
        let server = place.start_with(Some(&days(round)), &[]).await.unwrap();
        let client = server.client().await;
        let mut asked = request(&format!("open-{round}"), messenger_sms("later"));
        let mut later = std::time::SystemTime::now() + Duration::from_secs(80 * 86_400);
        later += Duration::from_secs(round);
        asked.workflow.as_mut().unwrap().send_at = Some(later.into());
        let id = client.create(asked).await.unwrap().workflow.unwrap().workflow_id;
        open.push(client.get(id).await.unwrap());
        over = ended(&client, &round.to_string(), 10).await;
        server.kill().await;
        // The sweep is the first thing that the next life commits.
        let point = dice.pick(&["write/db", "sync/db", "synced/db", "write/dispatch.mark"]);
        let at = format!("{point} {}", 1 + dice.below(6));
        let faults = Faults { ahead_ms: days(round + 1).ahead_ms, ..Faults::kill(at) };
        if let Ok(server) = place.start_with(Some(&faults), &[]).await {
            server.kill().await;
        }
    }
    let server = place.start_with(Some(&days(rounds)), &[]).await.unwrap();
    let client = server.client().await;
    for workflow in &open {
        let kept = client.get(&workflow.workflow_id).await.unwrap();
        assert_eq!(kept.timeline, workflow.timeline, "an open workflow lost its beginning");
        client.cancel(&workflow.workflow_id).await.unwrap();
    }
    let gone = world::eventually(Duration::from_secs(30), || async {
        let code = client.get(&over[0]).await.err().map(|status| status.code());
        code == Some(tonic::Code::NotFound)
    });
    assert!(gone.await, "what is over is kept beyond retention");
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_across_a_restart_without_gap_or_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let (_provider, address) = provider("accept; deliver 60ms; jitter 100ms", &stop).await;
    let place = Place::new(folder.path(), "").await;
    std::fs::write(&place.config, world::config(address, place.http)).unwrap();

    let server: Server = place.start().await;
    let client = server.client().await;
    let created = client.create(request("", messenger_sms("a person"))).await;
    let id = created.unwrap().workflow.unwrap().workflow_id;
    let watching = tokio::spawn({
        let (client, id) = (client.clone(), id.clone());
        async move {
            let mut seen = Vec::new();
            let see = |event: dispatch::pb::v1::Event| {
                seen.push(event);
                true
            };
            client.watch(Watch::Workflow(id), None, false, see).await.unwrap();
            seen
        }
    });
    tokio::time::sleep(Duration::from_millis(600)).await;
    server.kill().await;
    let server = place.start().await;
    let seen = tokio::time::timeout(Duration::from_secs(20), watching).await.unwrap().unwrap();
    let kept = client.get(&id).await.unwrap().timeline;
    assert_eq!(seen, kept);
    assert_eq!(server.terminate().await, Some(0));
    stop.cancel();
}
