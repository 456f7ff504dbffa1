//! By which route an attempt goes, and whether it may still go by it.
//!
//! Routes are data, and may be others after a restart or a reload: the name of one may be gone, or stand
//! for another channel, sender or account. So what an attempt was planned on is asked again each time the
//! routes may have changed, and once more when it starts. What certainly was not sent is planned anew on
//! a route that serves it; what may have been is bound to where it may have gone (rule 6).

use std::sync::Arc;

use dispatch_contract::{ErrorKind, Fault};

use super::Transition;
use crate::machine::{
    Attempt, AttemptState, CallFailure, Fact, Priority, Reason, RouteProperties, RouteRequirement,
    Workflow,
};

/// Which routes serve a requirement, best first. Handed in: routes are data, and change.
pub trait Router {
    /// The routes that serve `need` now.
    fn candidates(&self, requirement: &RouteRequirement) -> Vec<RouteCandidate>;

    /// The route of that name, if it serves `need` now.
    fn candidate(&self, route: &str, requirement: &RouteRequirement) -> Option<RouteCandidate> {
        self.candidates(requirement).into_iter().find(|candidate| &*candidate.route == route)
    }

    /// What an account is known by now that was known by `account` when something was STARTED under it.
    fn current_account<'a>(&'a self, account: &'a Arc<str>) -> &'a Arc<str> {
        account
    }

    /// How long a newcomer with that need would wait for a place on `route`, in milliseconds, as far as
    /// can be told.
    fn wait_ms(&self, _route: &Arc<str>, _need: &RouteRequirement, _priority: Priority) -> u64 {
        0
    }
}

/// A route that would take a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteCandidate {
    /// Its name.
    pub route: Arc<str>,
    /// The account that it sends under, as `provider/name`.
    pub account: Arc<str>,
    /// What it promises.
    pub properties: RouteProperties,
}

/// Serves nothing; for tests, and for replays, which never ask.
#[derive(Clone, Copy, Debug)]
pub struct NoRoutes;

impl Router for NoRoutes {
    fn candidates(&self, _: &RouteRequirement) -> Vec<RouteCandidate> {
        Vec::new()
    }
}

/// The route that an attempt is planned on, and what that promises.
type PlannedRoute = (Arc<str>, RouteProperties);

impl RouteCandidate {
    pub(super) fn into_planned(self) -> PlannedRoute {
        (self.route, self.properties)
    }
}

impl Transition<'_> {
    /// The routes may be others than when its attempt was planned.
    pub(super) fn rerouted(&mut self) {
        let Some(step) = self.workflow.active_step() else { return };
        let Some((number, attempt)) = self.pending(step) else { return };
        if self.serving(attempt).is_none() {
            self.route_gone(number);
        }
    }

    /// The route that an attempt may be called by: that of its name, if it serves the step's requirement, and as
    /// it was promised. Once something of the step may have gone out, only the account that it may have
    /// gone out under will do.
    pub(super) fn serving(&self, attempt: &Attempt) -> Option<RouteCandidate> {
        let requirement = &self.workflow.steps.get(usize::from(attempt.step))?.requirement;
        let candidate = self.routes.candidate(&attempt.route, requirement)?;
        let may_be_out =
            |it: &Attempt| it.is_uncertain || matches!(it.state, AttemptState::Unknown { .. });
        let mut out = self.workflow.attempts_of(attempt.step).filter(|(_, it)| may_be_out(it));
        let is_it = candidate.properties == attempt.properties
            && out.all(|(_, it)| self.went_under(it, &candidate.account));
        is_it.then_some(candidate)
    }

    /// An attempt that waits for a call has no route any more. What certainly was not sent is planned on
    /// another, however little time is left, or the step ends; it does not wait in vain.
    pub(super) fn route_gone(&mut self, number: u16) {
        let Some(attempt) = self.workflow.attempt(number) else { return };
        let (step, route) = (attempt.step, Arc::clone(&attempt.route));
        let failure = CallFailure {
            kind: ErrorKind::Forbidden,
            fault: Fault::Account,
            code: None,
            detail: format!("route {route} is gone, or another one now"),
            cause: None,
        };
        if attempt.is_uncertain {
            // Rule 6: an earlier call may have gone out, so no other route may be tried.
            return self.leave_unknown(number, Some(failure));
        }
        self.emit(Fact::AttemptRejected { attempt: number, failure });
        if self
            .workflow
            .attempts_of(step)
            .any(|(_, a)| matches!(a.state, AttemptState::Unknown { .. }))
        {
            // This was the second send; the first may still be out.
            return self.decide_unknown(step);
        }
        if self.has_alive(step) {
            return;
        }
        // Once something was accepted or is unknown, a message that failed after all among it, the clock runs, and no
        // other route is tried.
        let may_be_out = self.workflow.steps[usize::from(step)].clock_at.is_some()
            || self.workflow.attempts_of(step).any(|(_, attempt)| attempt.is_uncertain);
        match self.best_route(step).filter(|_| !may_be_out) {
            Some(candidate) => self.plan_attempt(step, candidate.into_planned(), false),
            None => self.fail_unserved(step),
        }
    }

    /// No route serves what the step needs.
    pub(super) fn fail_unserved(&mut self, step: u8) {
        let channel = &self.workflow.steps[usize::from(step)].requirement.channel;
        let detail = format!("no route serves {channel} for this sender any more");
        self.fail_step(step, Reason::NoRoute, None, detail);
    }

    pub(super) fn plan_attempt(
        &mut self,
        step: u8,
        planned: PlannedRoute,
        possible_duplicate: bool,
    ) {
        let attempt = u16::try_from(self.workflow.attempts.len() + 1).unwrap_or(u16::MAX);
        let (route, properties) = planned;
        self.emit(Fact::AttemptPlanned { attempt, step, route, properties, possible_duplicate });
    }

    /// Rule 3: another route of the channel, if a quarter of the time for sending is left.
    pub(super) fn another_route(&self, index: u8) -> Option<RouteCandidate> {
        let end = self.window_end(index)?;
        let quarter = self.workflow.send_within(index) / 4;
        if self.after(quarter) > end {
            return None;
        }
        self.best_route(index)
    }

    /// Of the routes that were not tried, the first that has a place in time; if none has, the one that
    /// has it soonest.
    pub(super) fn best_route(&self, index: u8) -> Option<RouteCandidate> {
        let Workflow { steps, priority, .. } = &*self.workflow;
        let requirement = &steps[usize::from(index)].requirement;
        let left = self.window_end(index).map_or(0, |end| end.0.saturating_sub(self.now.engine.0));
        let is_untried = |candidate: &RouteCandidate| {
            !self.workflow.attempts_of(index).any(|(_, attempt)| self.has_tried(attempt, candidate))
        };
        let untried = self.routes.candidates(requirement).into_iter().filter(is_untried);
        // Of several that are equal this is the first.
        untried.min_by_key(|candidate| {
            self.routes.wait_ms(&candidate.route, requirement, *priority).saturating_sub(left)
        })
    }

    /// Whether an attempt was called by this route; what bore its name before was another one.
    fn has_tried(&self, attempt: &Attempt, candidate: &RouteCandidate) -> bool {
        attempt.route == candidate.route
            && attempt.properties == candidate.properties
            && self.went_under(attempt, &candidate.account)
    }

    /// Whether the newest call of an attempt was under this account.
    fn went_under(&self, attempt: &Attempt, account: &Arc<str>) -> bool {
        attempt.account.as_ref().is_some_and(|it| self.routes.current_account(it) == account)
    }
}
