//! How much a tenant may ask for, and have.
//!
//! What a tenant asked for lately is in memory, a few dozen bytes a tenant: a restart gives everybody a
//! full bucket.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use dispatch_contract::UnixMillis;

use super::Exceeded;
use crate::current::Current;

/// How many tenants are counted. Tenants come from keys and applications, so this is not reached by
/// whoever has none.
const TENANTS_MOST: usize = 100_000;

/// A tenant's limits; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// How many creates a second are let through in the long run.
    pub creates_per_s: u32,
    /// How many may come at once after a quiet time; 0 is as many as in one second.
    pub creates_burst: u32,
    /// How many workflows may be open.
    pub open_workflows: u64,
    /// How many status streams may be open.
    pub open_streams: usize,
    /// How many keys it may have.
    pub keys: usize,
    /// How many applications it may have.
    pub applications: usize,
    /// How many external accounts it may have.
    pub accounts: usize,
    /// How many opt-outs callers may put on its list.
    pub opt_outs: usize,
}

/// Every tenant's limits. Cheap to clone; all clones change together.
#[derive(Clone, Debug)]
pub struct LimitsByTenant(Arc<Current<Limited>>);

/// The usual limits, and those of a few, by name, instead.
type Limited = (TenantLimits, BTreeMap<String, TenantLimits>);

impl LimitsByTenant {
    /// `usual`, and those of a few, by name, instead.
    pub fn new(usual: TenantLimits, others: BTreeMap<String, TenantLimits>) -> Self {
        LimitsByTenant(Arc::new(Current::new((usual, others))))
    }

    /// A tenant's.
    pub fn of(&self, tenant: &str) -> TenantLimits {
        let limited = self.0.get();
        *limited.1.get(tenant).unwrap_or(&limited.0)
    }

    /// These become those of `others`, for all who share them.
    pub(super) fn reload(&self, others: &LimitsByTenant) {
        self.0.set(others.0.get());
    }
}

impl Default for LimitsByTenant {
    fn default() -> Self {
        LimitsByTenant::new(TenantLimits::default(), BTreeMap::new())
    }
}

/// Whether one more is too many, where there are `count` and may be `most`; 0 is no limit.
pub(super) fn is_full(count: usize, most: usize) -> bool {
    most > 0 && count >= most
}

/// Each tenant's limits, and what it used of them lately.
pub(super) struct Quotas {
    by_tenant: LimitsByTenant,
    used: Arc<Mutex<HashMap<Arc<str>, TenantUsage>>>,
}

#[derive(Default)]
struct TenantUsage {
    /// Creates that may come now, in thousandths, and as of when; `None` if the bucket is full.
    bucket: Option<(u64, UnixMillis)>,
    /// Creates that were admitted and are not answered.
    under_way: u64,
}

/// A create that was admitted; dropped when it is answered.
#[must_use = "the create counts as open until this is dropped"]
pub struct Admitted {
    _pending: Option<PendingCreate>,
}

struct PendingCreate {
    used: Arc<Mutex<HashMap<Arc<str>, TenantUsage>>>,
    tenant: Arc<str>,
}

impl Quotas {
    pub(super) fn new(by_tenant: LimitsByTenant) -> Self {
        Quotas { by_tenant, used: Arc::default() }
    }

    /// How many tenants asked for something lately.
    pub(super) fn len(&self) -> usize {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Every tenant's.
    pub(super) fn by_tenant(&self) -> &LimitsByTenant {
        &self.by_tenant
    }

    /// Admits one create of a tenant. `open` counts its open workflows, if that matters.
    pub(super) fn admit(
        &self,
        tenant: &Arc<str>,
        now: UnixMillis,
        open: impl FnOnce() -> u64,
    ) -> Result<Admitted, Exceeded> {
        let limits = self.by_tenant.of(tenant);
        if limits.creates_per_s == 0 && limits.open_workflows == 0 {
            return Ok(Admitted { _pending: None });
        }
        let mut all = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= TENANTS_MOST && !all.contains_key(tenant) {
            all.retain(|_, used| used.under_way > 0);
        }
        let used = all.entry(Arc::clone(tenant)).or_default();
        // Counted under the lock: what ends meanwhile makes room, and what is created is counted as
        // under way until it is seen as open.
        if limits.open_workflows > 0 && open() + used.under_way >= limits.open_workflows {
            return Err(Exceeded::Open { most: limits.open_workflows });
        }
        if limits.creates_per_s > 0 {
            used.take(limits, now)?;
        }
        used.under_way += 1;
        let (used, tenant) = (Arc::clone(&self.used), Arc::clone(tenant));
        Ok(Admitted { _pending: Some(PendingCreate { used, tenant }) })
    }
}

impl TenantUsage {
    /// Takes one create from the bucket.
    fn take(&mut self, limits: TenantLimits, now: UnixMillis) -> Result<(), Exceeded> {
        let per_s = u64::from(limits.creates_per_s);
        let burst = if limits.creates_burst == 0 { per_s } else { limits.creates_burst.into() };
        let full = burst * 1000;
        let (there, since) = self.bucket.unwrap_or((full, now));
        // A clock that was set back gives nothing twice.
        let now = now.max(since);
        // `per_s` a second are `per_s` thousandths a millisecond.
        let grown = (now.0 - since.0).saturating_mul(per_s);
        let there = there.saturating_add(grown).min(full);
        let Some(rest) = there.checked_sub(1000) else {
            self.bucket = Some((there, now));
            let retry_after_ms = (1000 - there).div_ceil(per_s);
            return Err(Exceeded::Rate { per_s: limits.creates_per_s, retry_after_ms });
        };
        self.bucket = Some((rest, now));
        Ok(())
    }
}

impl Drop for PendingCreate {
    fn drop(&mut self) {
        let mut all = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = all.get_mut(&self.tenant) {
            used.under_way = used.under_way.saturating_sub(1);
        }
    }
}

impl std::fmt::Debug for Admitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admitted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(creates_per_s: u32, creates_burst: u32, open_workflows: u64) -> Quotas {
        let none = TenantLimits::default();
        let usual = TenantLimits { creates_per_s, creates_burst, open_workflows, ..none };
        Quotas::new(LimitsByTenant::new(usual, BTreeMap::from([("free".to_owned(), none)])))
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_and_the_hint_is_enough() {
        let (quotas, tenant) = (quotas(10, 3, 0), Arc::from("a"));
        let ask = |ms| quotas.admit(&tenant, UnixMillis(ms), || 0).map(|_| ());
        assert_eq!([ask(1000), ask(1000), ask(1000)], [Ok(()), Ok(()), Ok(())]);
        assert_eq!(ask(1000), Err(Exceeded::Rate { per_s: 10, retry_after_ms: 100 }));
        assert_eq!(ask(1099), Err(Exceeded::Rate { per_s: 10, retry_after_ms: 1 }));
        assert_eq!(ask(1100), Ok(()));
        assert_eq!(ask(900), Err(Exceeded::Rate { per_s: 10, retry_after_ms: 100 }), "set back");
    }

    #[test]
    fn one_tenant_s_creates_take_nothing_from_another_s() {
        let quotas = quotas(1, 1, 0);
        let ask = |tenant: &str| quotas.admit(&Arc::from(tenant), UnixMillis(5), || 0).is_ok();
        assert_eq!(
            [ask("a"), ask("a"), ask("b"), ask("free"), ask("free")],
            [true, false, true, true, true]
        );
    }

    #[test]
    fn what_is_under_way_counts_as_open() {
        let (quotas, tenant) = (quotas(0, 0, 2), Arc::from("a"));
        let first = quotas.admit(&tenant, UnixMillis(0), || 1).unwrap();
        assert_eq!(
            quotas.admit(&tenant, UnixMillis(0), || 1).map(|_| ()),
            Err(Exceeded::Open { most: 2 })
        );
        drop(first);
        assert!(quotas.admit(&tenant, UnixMillis(0), || 1).is_ok());
    }
}
