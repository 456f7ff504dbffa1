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
    Attempt, AttemptState, Fact, Need, Priority, Reason, Refusal, RouteTraits, Workflow,
};

/// Which routes serve a need, best first. Handed in: routes are data, and change.
pub trait RouteBook {
    /// The routes that serve `need` now.
    fn offers(&self, need: &Need) -> Vec<RouteOffer>;

    /// The route of that name, if it serves `need` now.
    fn offer(&self, route: &str, need: &Need) -> Option<RouteOffer> {
        self.offers(need).into_iter().find(|offer| &*offer.route == route)
    }

    /// What an account is known by now that was known by `account` when something was STARTED under it.
    fn present<'a>(&'a self, account: &'a Arc<str>) -> &'a Arc<str> {
        account
    }

    /// How long a newcomer with that need would wait for a place on `route`, in milliseconds, as far as
    /// can be told.
    fn wait_ms(&self, _route: &Arc<str>, _need: &Need, _priority: Priority) -> u64 {
        0
    }
}

/// A route that would take a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteOffer {
    /// Its name.
    pub route: Arc<str>,
    /// The account that it sends under, as `provider/name`.
    pub account: Arc<str>,
    /// What it promises.
    pub traits: RouteTraits,
}

/// Serves nothing; for tests, and for replays, which never ask.
#[derive(Clone, Copy, Debug)]
pub struct NoRoutes;

impl RouteBook for NoRoutes {
    fn offers(&self, _: &Need) -> Vec<RouteOffer> {
        Vec::new()
    }
}

/// The route that an attempt is planned on, and what that promises.
type Way = (Arc<str>, RouteTraits);

impl RouteOffer {
    pub(super) fn way(self) -> Way {
        (self.route, self.traits)
    }
}

impl Transition<'_> {
    /// The routes may be others than when its attempt was planned.
    pub(super) fn rerouted(&mut self) {
        let Some(step) = self.workflow.active_step() else { return };
        let Some((number, attempt)) = self.pending(step) else { return };
        if self.way_of(attempt).is_none() {
            self.route_gone(number);
        }
    }

    /// The route that an attempt may be called by: that of its name, if it serves the step's need, and as
    /// it was promised. Once something of the step may have gone out, only the account that it may have
    /// gone out under will do.
    pub(super) fn way_of(&self, attempt: &Attempt) -> Option<RouteOffer> {
        let need = &self.workflow.steps.get(usize::from(attempt.step))?.need;
        let offer = self.routes.offer(&attempt.route, need)?;
        let may_be_out =
            |it: &Attempt| it.is_uncertain || matches!(it.state, AttemptState::Unknown { .. });
        let mut out = self.workflow.attempts_of(attempt.step).filter(|(_, it)| may_be_out(it));
        let is_it = offer.traits == attempt.traits
            && out.all(|(_, it)| self.went_under(it, &offer.account));
        is_it.then_some(offer)
    }

    /// An attempt that waits for a call has no route any more. What certainly was not sent is planned on
    /// another, however little time is left, or the step ends; it does not wait in vain.
    pub(super) fn route_gone(&mut self, number: u16) {
        let Some(attempt) = self.workflow.attempt(number) else { return };
        let (step, route) = (attempt.step, Arc::clone(&attempt.route));
        let refusal = Refusal {
            kind: ErrorKind::Forbidden,
            fault: Fault::Account,
            code: None,
            detail: format!("route {route} is gone, or another one now"),
            cause: None,
        };
        if attempt.is_uncertain {
            // Rule 6: an earlier call may have gone out, so no other route may be tried.
            return self.give_up_on(number, Some(refusal));
        }
        self.emit(Fact::AttemptRefused { attempt: number, refusal });
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
        let may_be_out = self.workflow.attempts_of(step).any(|(_, attempt)| attempt.is_uncertain);
        match self.best_route(step).filter(|_| !may_be_out) {
            Some(offer) => self.plan_attempt(step, offer.way(), false),
            None => self.fail_unserved(step),
        }
    }

    /// No route serves what the step needs.
    pub(super) fn fail_unserved(&mut self, step: u8) {
        let channel = &self.workflow.steps[usize::from(step)].need.channel;
        let detail = format!("no route serves {channel} for this sender any more");
        self.fail_step(step, Reason::NoRoute, None, detail);
    }

    pub(super) fn plan_attempt(&mut self, step: u8, way: Way, may_double: bool) {
        let attempt = u16::try_from(self.workflow.attempts.len() + 1).unwrap_or(u16::MAX);
        let (route, traits) = way;
        self.emit(Fact::AttemptPlanned { attempt, step, route, traits, may_double });
    }

    /// Rule 3: another route of the channel, if a quarter of the time for sending is left.
    pub(super) fn another_route(&self, index: u8) -> Option<RouteOffer> {
        let end = self.window_end(index)?;
        let quarter = self.workflow.send_within(index) / 4;
        if self.after(quarter) > end {
            return None;
        }
        self.best_route(index)
    }

    /// Of the routes that were not tried, the first that has a place in time; if none has, the one that
    /// has it soonest.
    pub(super) fn best_route(&self, index: u8) -> Option<RouteOffer> {
        let Workflow { steps, priority, .. } = &*self.workflow;
        let need = &steps[usize::from(index)].need;
        let left = self.window_end(index).map_or(0, |end| end.0.saturating_sub(self.now.engine.0));
        let is_untried = |offer: &RouteOffer| {
            !self.workflow.attempts_of(index).any(|(_, attempt)| self.has_tried(attempt, offer))
        };
        let untried = self.routes.offers(need).into_iter().filter(is_untried);
        // Of several that are equal this is the first.
        untried.min_by_key(|offer| {
            self.routes.wait_ms(&offer.route, need, *priority).saturating_sub(left)
        })
    }

    /// Whether an attempt was called by this route; what bore its name before was another one.
    fn has_tried(&self, attempt: &Attempt, offer: &RouteOffer) -> bool {
        attempt.route == offer.route
            && attempt.traits == offer.traits
            && self.went_under(attempt, &offer.account)
    }

    /// Whether the newest call of an attempt was under this account.
    fn went_under(&self, attempt: &Attempt, account: &Arc<str>) -> bool {
        attempt.account.as_ref().is_some_and(|it| self.routes.present(it) == account)
    }
}
