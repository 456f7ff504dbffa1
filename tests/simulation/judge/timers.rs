//! What is due when, and who waits for a place: reckoned from the plan and the facts, and held
//! against what the writer would sleep through.

use dispatch::{
    engine::Wake,
    machine::{OnUnknown, WorkflowId},
};

use std::sync::Arc;

use super::{BatchSeen, Case, Fine, IDLE_PLACE, Judge, LATE, TryState, want};
use crate::routes::Names;

impl Judge {
    /// A new life has begun: what awaits a receipt may be held now.
    pub fn begun(&mut self, batch: &BatchSeen, names: Names, grace_ms: u64) -> Fine {
        self.grace.begun(batch, grace_ms)?;
        self.rerouted(batch, &Arc::new(names));
        Ok(())
    }

    /// The life is over.
    pub fn died(&mut self) {
        self.grace.died();
        self.conversations.died();
    }

    pub(super) fn reckon(&mut self, id: WorkflowId, batch: &BatchSeen) {
        let Some(case) = self.cases.get_mut(&id) else { return };
        if let Some(before) = case.timer {
            self.timers.remove(&(before, id));
        }
        if let Some(before) = case.waits_on {
            self.waiting.remove(&(before, id));
        }
        if let Some(before) = case.appointment {
            self.appointments.remove(&(before, id));
        }
        let Dues { timer, appointment, is_held } = case.due(batch);
        (case.timer, case.appointment, case.waits_on) = (timer, appointment, case.waits_on());
        if is_held {
            self.held.insert(id);
        } else {
            self.held.remove(&id);
        }
        self.timers.extend(case.timer.map(|due| (due, id)));
        self.appointments.extend(case.appointment.map(|due| (due, id)));
        self.waiting.extend(case.waits_on.map(|route| (route, id)));
    }

    /// The writer goes to sleep until `wakes`.
    pub fn sleeps(&mut self, wakes: Wake) -> Fine {
        self.grace.sleeps(!self.held.is_empty());
        for (firsts, wakes) in [(&self.timers, wakes.engine), (&self.appointments, wakes.wall)] {
            let Some((due, id)) = firsts.first() else { continue };
            want(wakes.is_some_and(|wakes| wakes.0 <= *due), LATE, *id, || {
                format!("something is due at {due}, and the writer sleeps until {wakes:?}")
            })?;
        }
        Ok(())
    }

    /// Places are free on `route`.
    pub fn is_free(&self, route: usize) -> Fine {
        let first = WorkflowId(uuid::Uuid::nil());
        match self.waiting.range((route, first)..).next() {
            Some((of, id)) if *of == route => {
                let name = &self.routes[route].name;
                want(false, IDLE_PLACE, *id, || format!("it waits for one on {name}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// When something must happen by itself.
#[derive(Default)]
struct Dues {
    /// In engine time.
    timer: Option<u64>,
    /// By the wall clock.
    appointment: Option<u64>,
    /// A wait for a receipt was over before the service started.
    is_held: bool,
}

impl Case {
    fn due(&self, batch: &BatchSeen) -> Dues {
        let plan = &self.record.plan;
        let valid_until = plan.valid_until.map(|at| at.0);
        if self.ended.is_some() {
            return Dues::default();
        }
        let Some(index) = self.running else {
            let send_at = plan.send_at.map(|at| at.0);
            let appointment = send_at.into_iter().chain(valid_until).min();
            return Dues { appointment, ..Dues::default() };
        };
        let step = &self.steps[usize::from(index)];
        let wait = plan.steps[usize::from(index)].failover.and_then(|failover| failover.expiry_ms);
        let wait = wait.unwrap_or(self.record.policy.unconfirmed_after_ms);
        let over = step.clock.map(|clock| clock + wait);
        let held = over.is_some_and(|over| over < batch.started_at);

        if let Some(until) = self.recalling_until(index) {
            // Its time is over; it goes on when that is.
            return Dues { timer: Some(until), ..Dues::default() };
        }
        let mut dues = Vec::new();
        let (mut waits, mut is_alive) = (false, false);
        for of in self.tries.iter().filter(|of| of.step == index) {
            match of.state {
                TryState::Planned => waits = true,
                TryState::Later { at } => {
                    waits = true;
                    dues.push(at);
                }
                TryState::Out { .. } => is_alive = true,
                TryState::Taken => is_alive |= !of.has_failed,
                TryState::Unknown { .. } | TryState::Refused => {}
            }
        }
        let has_resent = self.tries.iter().any(|of| of.step == index && of.is_double);
        let is_settled = has_resent || plan.on_unknown == OnUnknown::FailOver;
        let unknown = self.unknown_until(index).map(|(until, _)| until);
        let unknown = unknown.filter(|_| !(waits || is_alive || self.is_last(index) && is_settled));
        let is_held = [over, unknown].into_iter().flatten().any(|until| until < batch.started_at);
        let unknown = unknown.map(|until| {
            if until < batch.started_at { until.max(batch.grace_until) } else { until }
        });
        if waits {
            let window = step.begun.map(|begun| begun + self.send_within(index));
            dues.extend(window.filter(|_| step.clock.is_none()));
        }
        let over = over.map(|over| if held { over.max(batch.grace_until) } else { over });
        let timer = dues.into_iter().chain(over).chain(unknown).min();
        Dues { timer, appointment: valid_until.filter(|_| waits), is_held }
    }

    /// Whether the running step has nothing left that could still reach its condition.
    pub(super) fn is_lost(&self) -> bool {
        let Some(index) = self.running else { return false };
        self.tries.iter().filter(|of| of.step == index).all(|of| match of.state {
            TryState::Refused => true,
            TryState::Taken => of.has_failed,
            TryState::Planned
            | TryState::Out { .. }
            | TryState::Later { .. }
            | TryState::Unknown { .. } => false,
        })
    }

    pub(super) fn waits_on(&self) -> Option<usize> {
        let index = self.running.filter(|index| self.recalling_until(*index).is_none())?;
        let planned = |of: &&super::Try| of.step == index && of.state == TryState::Planned;
        self.tries.iter().find(planned).map(|of| of.route)
    }
}
