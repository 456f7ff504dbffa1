//! Other routes than those that attempts were planned on, or the same under other names.

use std::sync::Arc;

use dispatch_contract::Status;

use super::{
    BatchSeen, Case, Fine, Judge, ROUTES, Try, TryState,
    facts::{Here, serves},
    want,
};
use crate::{routes::Names, scenario::RouteSpec};

impl Judge {
    /// What the routes are called now.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Whoever waits does so where its route's name leads now.
    pub(super) fn rerouted(&mut self, batch: &BatchSeen, names: &Arc<Names>) {
        self.names = Arc::clone(names);
        // Queues are built anew, and counted anew.
        self.passed.clear();
        let ids: Vec<_> = self.cases.keys().copied().collect();
        for id in ids {
            if let Some(case) = self.cases.get_mut(&id) {
                case.rerouted(&self.routes, names);
            }
            self.reckon(id, batch);
        }
    }

    /// Nobody waits for a route that it could not go by.
    pub fn all_on_their_way(&self) -> Fine {
        let waiting = self.cases.iter().filter(|(_, case)| case.ended.is_none());
        for (id, case) in waiting {
            let lost = case.pending().find(|of| case.way(of, &self.routes, &self.names).is_none());
            want(lost.is_none(), ROUTES, *id, || format!("it waits: {lost:?}"))?;
        }
        Ok(())
    }
}

impl Here<'_> {
    /// Whether an attempt that waits has no route any more.
    pub(super) fn has_lost_its_route(&self, number: u16) -> bool {
        self.case.at(number).is_some_and(|of| {
            matches!(of.state, TryState::Planned | TryState::Later { .. })
                && self.case.way(of, self.routes, self.names).is_none()
        })
    }

    /// An attempt waits again: where its name leads by now, if it may go there.
    pub(super) fn waits_again(&mut self, number: u16) {
        let Some(of) = self.case.at(number) else { return };
        if let Some(route) = self.case.way(of, self.routes, self.names) {
            self.attempt(number).route = route;
        }
    }

    /// An attempt started under this account.
    pub(super) fn goes_by(&mut self, number: u16, account: &str) -> Fine {
        let Some(of) = self.case.at(number) else { return Ok(()) };
        let way = self.case.way(of, self.routes, self.names);
        let its = way.map(|route| &self.routes[route]);
        let is_its = its.is_some_and(|its| account == format!("{}/{}", its.provider, its.account));
        self.want(is_its, ROUTES, || format!("attempt {number} starts under {account}: {its:?}"))?;
        if let Some(route) = way {
            self.attempt(number).route = route;
        }
        Ok(())
    }
}

impl Case {
    /// What waits to be called.
    fn pending(&self) -> impl Iterator<Item = &Try> {
        self.tries.iter().filter(|of| {
            self.running == Some(of.step)
                && matches!(of.state, TryState::Planned | TryState::Later { .. })
        })
    }

    /// The route that an attempt may go by: that of its name, if it serves the step as was promised; and,
    /// if something of the step may be out already, under the account under which that is.
    pub(super) fn way(&self, of: &Try, routes: &[RouteSpec], names: &Names) -> Option<usize> {
        let promise = |spec: &RouteSpec| {
            let tells = spec.tells.contains(&Status::Delivered);
            let told_by = (spec.in_parts, spec.watermarks.is_some());
            (spec.idempotent_ms, spec.echoes, tells, spec.recalls, told_by)
        };
        let account = |route: usize| (routes[route].provider, routes[route].account);
        let route = names.route(&of.name)?;
        let serves = serves(&routes[route], &self.record.plan.steps[usize::from(of.step)])
            && promise(&routes[route]) == promise(&routes[of.planned_on]);
        let mut out = self.tries.iter().filter(|other| other.step == of.step && other.is_uncertain);
        (serves && out.all(|out| account(out.route) == account(route))).then_some(route)
    }

    fn rerouted(&mut self, routes: &[RouteSpec], names: &Names) {
        for index in 0..self.tries.len() {
            let of = &self.tries[index];
            let waits = matches!(of.state, TryState::Planned | TryState::Later { .. });
            // What may be out waits where its name leads, too, if that is the account under which it is.
            if waits && let Some(route) = self.way(of, routes, names) {
                self.tries[index].route = route;
            }
        }
    }
}
