//! A failing world, made as small as it fails, and shown.

use std::{
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{
    judge::{Broken, PANIC},
    scenario::Scenario,
    world::{Figures, World},
};

/// How many smaller worlds are tried.
const TRIES: u32 = 400;

/// Lives through a world.
///
/// # Errors
/// The first promise that was broken.
pub fn live(scenario: &Scenario) -> Result<Figures, Box<Broken>> {
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(scenario, false);
        world.run().map(|()| world.figures)
    }));
    match lived {
        Ok(lived) => lived.map_err(Box::new),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let detail = text.unwrap_or_default();
            Err(Box::new(Broken { rule: PANIC, detail, workflow: None }))
        }
    }
}

/// The shortest story of the same broken rule that was found, with how to see it again.
pub fn story(scenario: &Scenario, broken: &Broken) -> String {
    let (small, broken) = smaller(scenario.clone(), broken.clone());
    let mut text = String::new();
    let _ = writeln!(text, "\n{broken}");
    let _ = writeln!(
        text,
        "seed {}: of {} callers {} are needed, of {} deaths {}",
        scenario.seed,
        scenario.callers.len(),
        small.callers.len(),
        scenario.deaths.len(),
        small.deaths.len()
    );
    let _ = writeln!(
        text,
        "grace {} ms, retention {} ms, commits up to {} ms, {:?}",
        small.grace_ms, small.retention_ms, small.commit_ms, small.policy
    );
    let mut world = World::new(&small, true);
    let _ = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Some(case) = broken.workflow.and_then(|id| world.judge.cases.get(&id)) {
        let plan = &case.record.plan;
        let rules: Vec<_> =
            plan.steps.iter().map(|step| (step.channel.as_str(), step.failover)).collect();
        let _ = writeln!(
            text,
            "the plan: {:?}, {:?}, send_at {:?}, valid_until {:?}, send_within {:?} ms\n  {rules:?}",
            plan.on_late_success,
            plan.on_unknown,
            plan.send_at,
            plan.valid_until,
            plan.send_within_ms
        );
        for attempt in &case.told {
            if let dispatch::machine::Fact::AttemptPlanned { route, properties, .. } = &attempt.1 {
                let _ = writeln!(text, "  {route}: {properties:?}");
            }
        }
    }
    let log = world.log.unwrap_or_default();
    let concerns =
        |id: &Option<_>| broken.workflow.is_none() || id.is_none() || *id == broken.workflow;
    let lines: Vec<_> = log.iter().filter(|(_, id, _)| concerns(id)).collect();
    for (at, _, line) in &lines[lines.len().saturating_sub(120)..] {
        let _ = writeln!(text, "{:>14.3} s  {line}", *at as f64 / 1000.0);
    }
    let seed = scenario.seed;
    let _ =
        writeln!(text, "\n  DISPATCH_SIM_SEED={seed} cargo test --test simulation -- --nocapture");
    text
}

fn smaller(mut scenario: Scenario, mut broken: Broken) -> (Scenario, Broken) {
    let mut tries = 0;
    let mut fails = |candidate: &Scenario| {
        tries += 1;
        if tries > TRIES {
            return None;
        }
        let found = live(candidate).err()?;
        (found.rule == broken.rule).then(|| broken = *found)
    };
    let mut again = true;
    while again {
        again = false;
        let mut chunk = scenario.callers.len().div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            while from < scenario.callers.len() && scenario.callers.len() > 1 {
                let mut candidate = scenario.clone();
                candidate.callers.drain(from..(from + chunk).min(candidate.callers.len()));
                if fails(&candidate).is_some() {
                    (scenario, again) = (candidate, true);
                } else {
                    from += chunk;
                }
            }
            chunk /= 2;
        }
        for index in (0..scenario.deaths.len()).rev() {
            let mut candidate = scenario.clone();
            candidate.deaths.remove(index);
            if fails(&candidate).is_some() {
                (scenario, again) = (candidate, true);
            }
        }
        for index in (0..scenario.wishes.len()).rev() {
            let mut candidate = scenario.clone();
            candidate.wishes.remove(index);
            if fails(&candidate).is_some() {
                (scenario, again) = (candidate, true);
            }
        }
        let simpler: [fn(&mut Scenario); 15] = [
            |world| world.callbacks_every = 0,
            |world| world.erases = false,
            |world| world.watchers = 0,
            |world| world.routes.iter_mut().for_each(|route| route.watermarks = None),
            |world| world.routes.iter_mut().for_each(|route| route.in_parts = false),
            |world| world.trouble = 0,
            |world| world.commit_ms = 0,
            |world| world.grace_ms = 0,
            |world| world.spread_ms = 1,
            |world| world.deaths.iter_mut().for_each(|death| death.wall_step_ms = 0),
            |world| world.deaths.iter_mut().for_each(|death| death.reboots = false),
            |world| world.deaths.iter_mut().for_each(|death| death.rewinds_ms = 0),
            |world| world.wall_sets.clear(),
            |world| world.suspends.clear(),
            |world| world.reloads.clear(),
        ];
        for simplify in simpler {
            let mut candidate = scenario.clone();
            simplify(&mut candidate);
            if format!("{candidate:?}") != format!("{scenario:?}") && fails(&candidate).is_some() {
                (scenario, again) = (candidate, true);
            }
        }
    }
    (scenario, broken)
}
