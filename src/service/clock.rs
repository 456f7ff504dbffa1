//! The clock of a service: the machine's, or one that moves on demand.

use std::sync::Arc;

use dispatch_contract::{Clock, UnixMillis};

use crate::{
    engine::{EngineClock, SystemClock, TestClock},
    machine::Moment,
    store::Store,
};

/// The clock that a service runs on.
#[derive(Clone)]
pub enum ServiceClock {
    /// The real one.
    System(Arc<SystemClock>),
    /// One that moves on demand.
    Test(Arc<TestClock>),
}

impl ServiceClock {
    /// Goes on where the last life of the store ended.
    pub(super) fn go_on(is_virtual: bool, store: &dyn Store) -> ServiceClock {
        if is_virtual {
            // Not zero: ids and signatures should look like times.
            let start = Moment::both(UnixMillis(1_800_000_000_000)).later(store.last_time());
            return ServiceClock::Test(Arc::new(TestClock::at(start)));
        }
        ServiceClock::System(Arc::new(SystemClock::go_on(store.clock(), store.last_time())))
    }

    pub(super) fn engine_clock(&self) -> Arc<dyn EngineClock> {
        match self {
            ServiceClock::System(clock) => Arc::clone(clock) as _,
            ServiceClock::Test(clock) => Arc::clone(clock) as _,
        }
    }

    /// The clock as adapters see it.
    pub fn contract_clock(&self) -> Arc<dyn Clock> {
        match self {
            ServiceClock::System(clock) => Arc::clone(clock) as _,
            ServiceClock::Test(clock) => Arc::clone(clock) as _,
        }
    }
}
