//! Every order of everything that can happen to a workflow, with nothing left to chance.
//!
//! [stateright](https://docs.rs/stateright) drives the production functions themselves:
//! [`create`](dispatch::machine::create), [`handle`](dispatch::machine::handle) and
//! [`apply`](dispatch::machine::Workflow::apply). Around them stands a small world (`world.rs`):
//! which calls are out, what is durable, what the providers really did with each call, and the time.
//! It knows what the machine cannot know, and so it can say whether a message went out twice.
//!
//! In every state each of these may be next (`model.rs`): the time runs to the next moment at which
//! anything depends on it; the workflow is woken, waits held or not; its route has a place, or has
//! none for as long as the time runs on; the provider takes a call or does not; the call is answered
//! in any way, or its answer is lost; a receipt of any rung comes, before the answer too; the caller
//! cancels; the service dies, and what was durable is replayed. In each state all that was true
//! earlier is told again, and must change nothing.
//!
//! Workflows of one step and of two are looked at in every run, of three by
//! `DISPATCH_EXHAUSTIVE_STEPS=3` (alone; long, and best with `--release`), under every policy
//! (`setting.rs`).
//!
//! # What is bounded, and so not covered
//!
//! - Durations are one set of a few milliseconds: their order counts, and only one order is tried for
//!   each policy. Two to four retries fit. Time stops at every moment the machine or the provider
//!   knows, not at each millisecond.
//! - Both clocks show the same: what a wall clock does that is set, the machine's own properties and the
//!   simulator try.
//! - The service dies once in a life, and time runs past something due once, after that. A commit is
//!   one step: dying before it is dying without the event, dying after it is the death here.
//! - Of each kind of answer and receipt there is one for every class that the rules tell apart; with
//!   several steps only those that lead to a state of their own, one route, and one receipt after the
//!   end. A call that was given up may still reach the provider later; with several steps it reaches
//!   it before it is given up or not at all, which differs only in when a receipt may come.
//! - Routes do not change while a workflow lives. Slots, lanes and parking belong to the engine, and
//!   matching a receipt to its attempt too: a receipt here knows its attempt.
//! - States are told apart by 64-bit fingerprints; what decides nothing is not part of them
//!   (`world.rs` says what that is). Among millions of states two fall together with a chance of less
//!   than one in a million.

#![expect(unreachable_pub, reason = "nothing of a test binary is reachable")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and stands outside of the service"
)]

mod model;
mod promise;
mod property;
#[path = "../report/mod.rs"]
mod report;
mod setting;
#[path = "../shared/mod.rs"]
mod shared;
mod world;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Path, Property};

use model::{Action, Workflows};
use setting::START;
use world::World;

/// How far a checker went.
struct Explored {
    settings: u64,
    states: u64,
    unique: u64,
    depth: u64,
}

/// Looks at every state of workflows of `steps` steps.
fn explore(steps: usize) -> Explored {
    let began = Instant::now();
    let model = Workflows::of(steps);
    let settings = model.settings.len() as u64;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let until = HasDiscoveries::AnyFailures;
    let checker = model.checker().threads(threads).finish_when(until).spawn_bfs().join();
    let explored = Explored {
        settings,
        states: checker.state_count() as u64,
        unique: checker.unique_state_count() as u64,
        depth: checker.max_depth() as u64,
    };
    let Explored { states, unique, depth, .. } = explored;
    println!(
        "{steps} steps: {settings} settings, {states} states, {unique} of them different, \
         depth {depth}, {:.1} s",
        began.elapsed().as_secs_f32()
    );
    let found = checker.discoveries();
    let is_failure = |property: &Property<Workflows>| property.expectation.discovery_is_failure();
    let properties = checker.model().properties();
    for property in properties.iter().filter(|property| is_failure(property)) {
        if let Some(path) = found.get(property.name) {
            panic!("broken: {}\n{}", property.name, told(path));
        }
    }
    for property in properties.iter().filter(|property| !is_failure(property)) {
        assert!(found.contains_key(property.name), "never seen: {}", property.name);
    }
    explored
}

/// What was asked for, what happened, and what the machine made of it.
fn told(path: &Path<World, Action>) -> String {
    let last = path.last_state();
    let plan = &last.setting.plan;
    let rules: Vec<_> = plan.steps.iter().map(|step| step.failover).collect();
    let mut told = format!(
        "setting {}: {:?}, {:?}, {rules:?}, {:?}\n",
        last.setting.number, plan.on_unknown, plan.on_late_success, last.setting.routes
    );
    let mut known = 0;
    for (world, action) in path.clone().into_vec() {
        let rows = world.rows();
        for row in &rows[known..] {
            let at = row.at.0 - START.0;
            told +=
                &row.facts.iter().map(|fact| format!("    {at} {fact:?}\n")).collect::<String>();
        }
        known = rows.len();
        told += &action.map_or(String::new(), |action| format!("  {action:?}\n"));
    }
    told
}

#[test]
fn every_order_of_events_keeps_every_promise() {
    let steps = match std::env::var("DISPATCH_EXHAUSTIVE_STEPS") {
        Ok(steps) => vec![steps.parse().expect("a number of steps")],
        Err(_) => vec![1, 2],
    };
    let mut sum = [0; 3];
    let mut deepest = 0;
    for &steps in &steps {
        let Explored { settings, states, unique, depth } = explore(steps);
        for (sum, count) in sum.iter_mut().zip([settings, states, unique]) {
            *sum += count;
        }
        deepest = deepest.max(depth);
    }
    report::row(&report::Tried {
        name: "20-exhaustive",
        what: match steps[..] {
            [1, 2] => {
                "every order of events in workflows of one step and of two, under every policy"
            }
            _ => "every order of events in workflows of as many steps as were asked for",
        },
        counts: vec![
            (sum[0], "policies"),
            (sum[1], "transitions"),
            (sum[2], "different states"),
            (deepest, "events in the longest life"),
        ],
        found: "no promise is broken".to_owned(),
        seed: "none: nothing is left to chance".to_owned(),
    });
}
