//! Which route a newcomer goes by, and whether it is let in at all.
//!
//! Both hang on one estimate: how long it would wait for a permit, counting only what goes before it.
//! A create is refused before any promise where no route that serves it could start it in time; what is
//! let in is never thrown out again. If a provider becomes slower than was reckoned with, what is crowded
//! out of its time fails over, ROUTE_SATURATED.

use std::sync::Arc;

use dispatch_contract::UnixMillis;

use super::BatchContext;
use crate::{
    engine::{EngineError, RouteTable, permits::Permits},
    machine::{Priority, RouteCandidate, RouteRequirement, Router, Workflow},
};

/// The routes, and how full they are.
pub(super) struct LoadAwareRouter<'a> {
    pub(super) routes: &'a RouteTable,
    pub(super) permits: &'a Permits,
    pub(super) now: UnixMillis,
}

impl Router for LoadAwareRouter<'_> {
    fn candidates(&self, requirement: &RouteRequirement) -> Vec<RouteCandidate> {
        self.routes.candidates(requirement)
    }

    fn candidate(&self, route: &str, requirement: &RouteRequirement) -> Option<RouteCandidate> {
        self.routes.candidate(route, requirement)
    }

    fn current_account<'a>(&'a self, account: &'a Arc<str>) -> &'a Arc<str> {
        self.routes.current_account(account)
    }

    fn wait_ms(&self, route: &Arc<str>, requirement: &RouteRequirement, priority: Priority) -> u64 {
        self.permits.expected_wait_ms(route, &requirement.tenant, priority, self.now)
    }
}

impl BatchContext<'_> {
    /// Why a new workflow is refused, if no route could start its first step in time.
    pub(super) fn overload(&self, workflow: &Workflow) -> Option<EngineError> {
        if workflow.send_at.is_some_and(|at| at > self.now.wall) {
            return None;
        }
        let router = LoadAwareRouter {
            routes: &self.processor.routes,
            permits: &self.processor.permits,
            now: self.now.engine,
        };
        let requirement = &workflow.steps.first()?.requirement;
        let within_ms = workflow.send_within(0);
        let too_long = |candidate: RouteCandidate| {
            let wait_ms = router.wait_ms(&candidate.route, requirement, workflow.priority);
            (wait_ms.saturating_sub(within_ms), candidate.route)
        };
        let best = router
            .candidates(requirement)
            .into_iter()
            .map(too_long)
            .min_by_key(|(too_long, _)| *too_long);
        let (retry_after_ms, route) = best.filter(|(too_long, _)| *too_long > 0)?;
        Some(EngineError::RouteSaturated { route, retry_after_ms })
    }
}
