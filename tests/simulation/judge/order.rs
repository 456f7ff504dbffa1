//! Who goes first on a busy route: while somebody waits, no more go before it than the contract allows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dispatch::{
    machine::{Fact, Priority, WorkflowId},
    store::Row,
};

use super::{BatchSeen, Case, FAIR, Fine, Judge, want};

/// Of this many places in a row each lower priority that waits gets one.
const RESERVE: u64 = 10;

/// What happened on a route while a workflow waited there, in this life of the service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    since: u64,
    /// Since when it waits there without a break, for whichever attempt.
    at_first: u64,
    /// How many of each priority started, the highest first, and of its own those of other tenants.
    started: [u64; Priority::ALL.len()],
    others: u64,
    /// How many of its own line went, and of each priority; some without a start, because their time was
    /// over.
    line: u64,
    gone: [u64; Priority::ALL.len()],
}

impl Passed {
    fn since(now: u64) -> Passed {
        let [started, gone] = [[0; Priority::ALL.len()]; 2];
        Passed { since: now, at_first: now, started, others: 0, line: 0, gone }
    }

    /// Whether so many may go before one of `rank`, by the reserve: nine higher ones for each that went of
    /// its own priority and those above, and of each lower priority one for nine that went of those above it.
    fn keeps_the_reserve(&self, rank: usize) -> bool {
        let above = |rank: usize| self.gone[..rank].iter().sum::<u64>();
        let higher: u64 = self.started[..rank].iter().sum();
        let ahead = above(rank + 1);
        let own = ahead - ahead.min(higher);
        let mut lower_ones = rank + 1..Priority::ALL.len();
        higher <= (RESERVE - 1) * (own + 1)
            && lower_ones.all(|lower| self.started[lower] <= above(lower) / (RESERVE - 1) + 1)
    }
}

type Places = BTreeSet<(usize, WorkflowId)>;

impl Judge {
    /// Counts what this batch gave to whom, for everybody who waits on. `before` waited before it.
    pub(super) fn order(&mut self, batch: &BatchSeen, before: &Places, rows: &[Arc<Row>]) -> Fine {
        if before.is_empty() && self.waiting.is_empty() {
            return Ok(());
        }
        // A wait is an attempt's: who gave one up, at its turn perhaps, may have to begin anew with the
        // next; who did not come to its turn keeps its place in the line.
        let is_planned = |fact: &Fact| matches!(fact, Fact::AttemptPlanned { .. });
        let planned = rows.iter().filter(|row| row.facts.iter().any(is_planned));
        let anew: BTreeSet<_> = planned.map(|row| row.workflow).collect();
        let mut started: BTreeMap<usize, Vec<WorkflowId>> = BTreeMap::new();
        // How often it began to wait in this batch.
        let mut begun: BTreeMap<(usize, WorkflowId), usize> = BTreeMap::new();
        for row in rows {
            for fact in &row.facts {
                let attempt = fact.attempt();
                let of = self.cases.get(&row.workflow).and_then(|case| case.at(attempt?));
                let Some(of) = of else { continue };
                match fact {
                    Fact::AttemptStarted { .. } => {
                        started.entry(of.route).or_default().push(row.workflow);
                    }
                    Fact::AttemptPlanned { .. } | Fact::AttemptDue { .. } => {
                        *begun.entry((of.route, row.workflow)).or_default() += 1;
                    }
                    _ => {}
                }
            }
        }
        // Whoever came to its turn has had it, also if it had no use for it any more: it left the line in
        // this batch, though it may stand there again by now.
        let has_left = |of: &(usize, WorkflowId)| {
            let waits = usize::from(self.waiting.contains(of));
            usize::from(before.contains(of)) + begun.get(of).copied().unwrap_or(0) > waits
        };
        let left: Places = before.iter().chain(begun.keys()).copied().filter(has_left).collect();
        let at_first = |passed: &BTreeMap<_, Passed>, of| {
            passed.get(&of).map_or(batch.now, |passed| passed.at_first)
        };
        for &(route, id) in self.waiting.iter().filter(|(_, id)| !anew.contains(id)) {
            let Some(mut passed) = self.passed.get(&(route, id)).copied() else { continue };
            let Some(of) = self.cases.get(&id).map(line) else { continue };
            let started = started.get(&route).map_or(&[][..], Vec::as_slice);
            for other in started {
                let Some(theirs) = self.cases.get(other).map(line) else { continue };
                passed.started[theirs.0.rank()] += 1;
                passed.others += u64::from(theirs.0 == of.0 && theirs.1 != of.1);
                let is_newer = at_first(&self.passed, (route, *other)) > passed.since;
                want(theirs != of || !is_newer, FAIR, id, || {
                    format!("{other} of the same tenant came later, and went first")
                })?;
            }
            let gone = left.iter().filter(|(of, _)| *of == route);
            let gone = gone.map(|(_, other)| other).chain(started).collect::<BTreeSet<_>>();
            for theirs in gone.into_iter().filter_map(|other| self.cases.get(other).map(line)) {
                passed.gone[theirs.0.rank()] += 1;
                passed.line += u64::from(theirs == of);
            }
            let is_fair = passed.keeps_the_reserve(of.0.rank()) && passed.others <= passed.line + 1;
            want(is_fair, FAIR, id, || format!("{of:?} waits on {route}: {passed:?}"))?;
            self.passed.insert((route, id), passed);
        }
        self.passed.retain(|of, _| self.waiting.contains(of));
        for of in &self.waiting {
            let at_first = at_first(&self.passed, *of);
            let new = Passed { at_first, ..Passed::since(batch.now) };
            let passed = self.passed.entry(*of).or_insert(new);
            if anew.contains(&of.1) {
                *passed = new;
            }
        }
        Ok(())
    }
}

/// Whose line of a queue a workflow stands in.
fn line(case: &Case) -> (Priority, Arc<str>) {
    (case.record.plan.priority, Arc::clone(&case.record.tenant))
}
