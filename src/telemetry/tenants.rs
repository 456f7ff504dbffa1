//! Metrics by tenant: how many workflows each created, has open and ended, and how often they failed over.
//!
//! Whoever makes keys makes tenants, so labels are bounded: the tenants beyond the first
//! [`TENANTS_MOST`] that are seen share one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::machine::{EndState, Fact};

/// How many tenants have a label of their own.
const TENANTS_MOST: usize = 100;
/// The label of all others. No tenant may be called so.
const OTHERS: &str = "(other)";

/// What is counted of tenants.
#[derive(Debug)]
pub(super) struct Tenants {
    created: Family<OfTenant, Counter>,
    failed_over: Family<OfTenant, Counter>,
    ended: Family<EndedOf, Counter>,
    open: Family<OfTenant, Gauge>,
    known: Mutex<HashMap<Arc<str>, One>>,
}

/// One label's.
#[derive(Clone, Debug)]
struct One {
    created: Counter,
    failed_over: Counter,
    ended: [Counter; EndState::ALL.len()],
    open: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTenant {
    tenant: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndedOf {
    tenant: String,
    state: &'static str,
}

impl Tenants {
    pub(super) fn new(registry: &mut Registry) -> Self {
        macro_rules! metric {
            ($name:literal, $help:literal) => {{
                let metric = Default::default();
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
        }
        Tenants {
            created: metric!("tenant_workflows_created", "Workflows created, by tenant"),
            failed_over: metric!(
                "tenant_failovers",
                "Steps started because the one before failed or expired, by tenant"
            ),
            ended: metric!("tenant_workflows_ended", "Workflows ended, by tenant and state"),
            open: metric!("tenant_workflows_open", "Workflows that have not ended, by tenant"),
            known: Mutex::default(),
        }
    }

    /// Counts what a fact of this tenant's workflow tells.
    pub(super) fn fact(&self, fact: &Fact, tenant: &Arc<str>) {
        let is_counted = match fact {
            Fact::Created | Fact::Ended(_) => true,
            Fact::StepStarted { step } => *step > 0,
            _ => false,
        };
        if !is_counted {
            return;
        }
        self.of(tenant, |one| match fact {
            Fact::Created => {
                one.created.inc();
                one.open.inc();
            }
            Fact::Ended(outcome) => {
                let at = EndState::ALL.iter().position(|state| *state == outcome.state);
                if let Some(ended) = at.and_then(|at| one.ended.get(at)) {
                    ended.inc();
                }
                one.open.dec();
            }
            _ => {
                one.failed_over.inc();
            }
        });
    }

    /// Notes how many workflows of a tenant were open at the start.
    pub(super) fn open_at_start(&self, tenant: &Arc<str>, count: usize) {
        self.of(tenant, |one| {
            one.open.inc_by(i64::try_from(count).unwrap_or(i64::MAX));
        });
    }

    fn of(&self, tenant: &Arc<str>, count: impl FnOnce(&One)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = known.get(tenant) {
            return count(one);
        }
        let label = if known.len() < TENANTS_MOST { Arc::clone(tenant) } else { OTHERS.into() };
        let one = known.entry(Arc::clone(&label)).or_insert_with(|| self.one(&label));
        count(one);
    }

    fn one(&self, label: &str) -> One {
        let of = OfTenant { tenant: label.to_owned() };
        let ended = |state: EndState| {
            let of = EndedOf { tenant: label.to_owned(), state: state.as_str() };
            self.ended.get_or_create(&of).clone()
        };
        One {
            created: self.created.get_or_create(&of).clone(),
            failed_over: self.failed_over.get_or_create(&of).clone(),
            ended: EndState::ALL.map(ended),
            open: self.open.get_or_create(&of).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_beyond_the_first_share_a_label() {
        let mut registry = Registry::default();
        let tenants = Tenants::new(&mut registry);
        for number in 0..TENANTS_MOST + 50 {
            tenants.open_at_start(&Arc::from(format!("tenant-{number}")), 2);
        }
        tenants.open_at_start(&Arc::from("tenant-3"), 1);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let open: Vec<_> =
            text.lines().filter(|line| line.starts_with("tenant_workflows_open{")).collect();
        assert_eq!(open.len(), TENANTS_MOST + 1);
        assert!(open.contains(&"tenant_workflows_open{tenant=\"(other)\"} 100"), "{open:?}");
        assert!(open.contains(&"tenant_workflows_open{tenant=\"tenant-3\"} 3"), "{open:?}");
    }
}
