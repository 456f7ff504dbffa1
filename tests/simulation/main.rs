//! Dispatch in a small world of its own, on virtual time: a store that dies between any two writes,
//! providers that fail in every way, callers that ask twice, are told what becomes of it and follow it, persons who want
//! no messages, and a judge who knows only the contract.
//!
//! One seed determines everything: there is no thread, no socket and no clock in a world. Worlds are
//! independent of each other, so that cores can share them. `DISPATCH_SIM_WORKFLOWS` says how many
//! workflows to live through, `DISPATCH_SIM_SEED` where to begin (`random` for somewhere new), and
//! `DISPATCH_SIM_OUTAGE` how many wait for a provider that is down. One world in a hundred is on real
//! files; `DISPATCH_SIM_SLED=1` puts all of them there. `DISPATCH_SIM_CORES` is for measuring.
//!
//! It does not try the disk, the network or the edges: the crash, service and webhook tests do.

#![expect(unreachable_pub, reason = "nothing of a test binary is reachable")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and stands outside of the service"
)]

mod dice;
mod found;
mod judge;
mod outage;
mod provider;
mod readers;
#[path = "../report/mod.rs"]
mod report;
mod routes;
mod scenario;
#[path = "../shared/mod.rs"]
mod shared;
mod shrink;
mod world;

use std::{
    collections::BTreeSet,
    env,
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use dice::Dice;
use judge::Broken;
use report::Tried;
use scenario::Scenario;
use world::{Figures, World};

/// Where to begin if nobody says otherwise.
const SEED: u64 = 20_260_801;

/// Worlds in which something was once found, and what. They are lived through in every run.
const FOUND: &[(u64, &str)] = &[
    (3194705909085968613, "a workflow whose end passed retention while its call was out"),
    (2472714222184522825, "a repeat that got its place after the provider's time for our id"),
    (3433553788144256732, "an expiry that stood behind the held wait for an unknown outcome"),
    (67955977822230444, "a send_within that had passed before the start of the present life"),
    (8136205391188032372, "a place given back by a workflow that queued for it again meanwhile"),
    (16395381093399647515, "a start by routes that others replaced in the same batch"),
    (8099267464214433360, "a boot at an earlier time, which the judge took for the end of a grace"),
    (
        2852679368386511335,
        "a route that took the name of one which had refused, by which the judge knew it",
    ),
    (
        11288100493280241446,
        "two routes of one account that changed names, which the judge told apart",
    ),
    (
        6864071811032087187,
        "a failure that ended a recall after a start, and hid that the time passed before it",
    ),
];

/// The worlds still to come, and what those that are over did.
struct Queue {
    index: u64,
    figures: Figures,
    failed: Option<(u64, Scenario, Box<Broken>)>,
}

fn seed() -> u64 {
    match env::var("DISPATCH_SIM_SEED").as_deref() {
        Ok("random") => uuid::Uuid::now_v7().as_u128() as u64,
        Ok(given) => given.parse().expect("DISPATCH_SIM_SEED is a number or `random`"),
        Err(_) => SEED,
    }
}

fn number(name: &str, usual: u64) -> u64 {
    env::var(name)
        .map_or(usual, |given| given.parse().unwrap_or_else(|_| panic!("{name}: {given}")))
}

/// A world, on files if that is asked for.
fn scenario(seed: u64) -> Scenario {
    let mut scenario = Scenario::new(seed);
    scenario.on_sled |= number("DISPATCH_SIM_SLED", 0) > 0;
    scenario
}

/// The first world has the seed itself, so that a world can be seen again by its own.
fn world_seed(seed: u64, index: u64) -> u64 {
    if index == 0 { seed } else { Dice::of(seed, &[index]).any() }
}

fn live_through(seed: u64, workflows: u64) -> Figures {
    let queue = Mutex::new(Queue { index: 0, figures: Figures::default(), failed: None });
    let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
    let next = || {
        let mut queue = lock();
        if queue.figures.workflows >= workflows || queue.failed.is_some() {
            return None;
        }
        let index = queue.index;
        let scenario = scenario(world_seed(seed, index));
        queue.index += 1;
        Some((index, scenario))
    };
    let work = || {
        while let Some((index, scenario)) = next() {
            let lived = shrink::live(&scenario);
            let mut queue = lock();
            match lived {
                Ok(figures) => queue.figures.add(&figures),
                Err(broken) => {
                    // The first, whichever core was quicker.
                    if queue.failed.as_ref().is_none_or(|(before, ..)| index < *before) {
                        queue.failed = Some((index, scenario, broken));
                    }
                }
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let cores = number("DISPATCH_SIM_CORES", cores as u64);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let Queue { figures, failed, .. } = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, scenario, broken)) = failed {
        panic!("{}", shrink::story(&scenario, &broken));
    }
    figures
}

#[test]
fn every_promise_is_kept_whatever_breaks_and_whenever() {
    let seed = seed();
    println!("DISPATCH_SIM_SEED={seed}");
    let began = Instant::now();
    let figures = live_through(seed, number("DISPATCH_SIM_WORKFLOWS", 5000));
    println!("{} batches in {:?}", figures.batches, began.elapsed());
    let left: BTreeSet<_> = figures.left.iter().map(|reason| reason.as_str()).collect();
    let ends: BTreeSet<_> =
        figures.ends.iter().map(|(state, reason)| (state.as_str(), reason.as_str())).collect();
    let recalled: BTreeSet<_> = figures.recalled.iter().copied().collect();
    println!("{} kinds of facts; {left:?}; {ends:?}; {recalled:?}", figures.kinds.len());
    if seed == SEED && figures.worlds > 90 {
        // A simulation that no longer reaches something would find nothing wrong with it.
        assert_eq!((figures.kinds.len(), left.len(), ends.len()), (26, 9, 16));
        let recalled: Vec<_> = recalled.into_iter().collect();
        assert_eq!(recalled, ["failed", "recalled", "too_late", "unanswered"]);
        assert!(figures.wishes > 0 && figures.held_back > 0, "{figures:?}");
        assert!(figures.covered > 1000 && figures.covered_early > 100, "{figures:?}");
        assert!(figures.callbacks > 1000 && figures.letters > 100, "{figures:?}");
        assert!(figures.streamed > 1000 && figures.resumed > 100, "{figures:?}");
        assert!(figures.too_old > 10, "{figures:?}");
        assert!(figures.erased > 100 && figures.aged > 1000, "{figures:?}");
    }
    report::row(&Tried {
        name: "10-simulation",
        what: "Small worlds on virtual time: deaths between any two writes, faulty providers, late \
               and doubled receipts, callers that repeat, cancel and have erased; judged by the contract alone",
        counts: vec![
            (figures.workflows, "workflows"),
            (figures.worlds, "worlds"),
            (figures.deaths, "deaths of the service"),
            (figures.calls, "calls"),
            (figures.receipts, "receipts"),
            (figures.events, "events"),
            (figures.doubles, "counted doubles"),
            (figures.recalls, "recalls"),
            (figures.wishes, "opt-outs made or lifted"),
            (figures.held_back, "calls held back by them"),
            (figures.covered, "messages told of by their conversation"),
            (figures.covered_early, "of those before their answer"),
            (figures.callbacks, "callbacks"),
            (figures.letters, "messages that persons wrote"),
            (figures.streamed, "streamed events"),
            (figures.resumed, "streams taken up again"),
            (figures.too_old, "of those too late"),
            (figures.erased, "workflows erased"),
            (figures.aged, "contents gone by age"),
            (figures.virtual_ms / 86_400_000, "virtual days"),
        ],
        found: "no promise broken".to_owned(),
        seed: format!("`DISPATCH_SIM_SEED={seed}`"),
    });
}

#[test]
fn what_was_once_found_stays_mended() {
    for (seed, what) in FOUND {
        let scenario = Scenario::new(*seed).made_plain();
        if let Err(broken) = shrink::live(&scenario) {
            panic!("{what}: {}", shrink::story(&scenario, &broken));
        }
    }
}

#[test]
fn many_wait_for_a_provider_that_is_down_and_all_go_out_in_order() {
    let many = number("DISPATCH_SIM_OUTAGE", 5000);
    let few = outage::live(many / 8);
    let all = outage::live(many);
    println!("{few:?}\n{all:?}");
    // A batch that looked at everybody who waits would cost eight times as much a call.
    let ratio = all.call_costs.as_secs_f64() / few.call_costs.as_secs_f64();
    assert!(ratio < 5.0, "with eight times as many a call costs {ratio:.1} times as much");
    report::row(&Tried {
        name: "11-outage",
        what: "A provider is down for ten virtual minutes and comes back, with many waiting",
        counts: vec![
            (all.workflows, "workflows"),
            (all.calls, "calls"),
            (all.batches, "batches"),
            (all.call_costs.as_micros() as u64, "µs of batches a call"),
        ],
        found: format!(
            "nobody lost, places kept, first come first served; all sent {} s after its return",
            all.done_after_ms / 1000
        ),
        seed: "none: nothing is left to chance".to_owned(),
    });
}

#[test]
fn the_same_seed_is_the_same_world_to_the_last_event() {
    for seed in 0..10 {
        let scenario = Scenario::new(seed);
        let lived = || {
            let mut world = World::new(&scenario, true);
            world.run().map(|()| world.log).map_err(|broken| broken.to_string())
        };
        assert_eq!(lived(), lived(), "seed {seed}");
    }
}
