//! The entrance: failed logins are slowed, counted and written down.
//!
//! Failures are counted for the address they come from (of IPv6, its /64). After a few, an address waits
//! before its next try is looked at, twice as long each time: refused at once, whatever it brings. Two
//! things keep a rightful caller from being locked out. What an address opened before, it may go on opening
//! while somebody behind the same address fails with something else: that pair is counted for itself. And
//! while somebody guesses at one key from many addresses, an address waits after its first failure with it
//! already, and never before it.
//!
//! Tables have a fixed size. Times are the monotonic clock's. What was counted is written down once in a
//! [`WINDOW`], by [`Access::report`].

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use dispatch_contract::UnixMillis;

use super::{
    Access, AuditEntry, Caller, Denied, audit::Owner, claims, credential::Credential, token,
};
use crate::store::StoreError;

/// How often what failed is to be written down.
pub const WINDOW: Duration = Duration::from_secs(60);
/// After how long without a failure all is forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// The longest wait.
const WAIT_MOST: Duration = Duration::from_secs(300);
/// So many failures with one key, from wherever, are an attack on it.
const ATTACK: u32 = 50;
/// How many addresses (and pairs, and keys) are counted: so many in each of two halves.
const COUNTED: usize = 8_192;
/// How many pairs of an address and what it opened are remembered; more overwrite each other.
const OPENED: usize = 4_096;
/// How many sources are told apart in one window, and how many of them get a line of their own.
const SOURCES: usize = 1_000;
const LINES: usize = 50;

/// What is known of those who come.
pub(super) struct Entrance {
    /// How many failures in a row an address has before it waits; 0: it never does.
    free: u32,
    hasher: RandomState,
    failures: Mutex<FailureCounts>,
    /// Whether anything failed lately; most of the time nothing did.
    has_failures: AtomicBool,
    opened: Box<[AtomicU64]>,
    window: Mutex<Window>,
}

/// Counted failures, in two halves: when one is full, the other, which is older, is forgotten.
#[derive(Default)]
struct FailureCounts {
    new: HashMap<u64, FailureCount>,
    old: HashMap<u64, FailureCount>,
}

#[derive(Clone, Copy)]
struct FailureCount {
    count: u32,
    last: Instant,
}

/// The failures since the last report.
#[derive(Default)]
struct Window {
    by_source: HashMap<Source, u64>,
    /// Those of further sources.
    others: u64,
}

/// From where, and as whom; `None` where that was not looked at, because the address had to wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Source {
    address: IpAddr,
    claimed: Option<String>,
}

/// Who a request says it is, unproved: enough to count by.
#[derive(Default)]
struct ClaimedIdentity(String);

impl Entrance {
    pub(super) fn new(free: u32) -> Self {
        Entrance {
            free,
            hasher: RandomState::new(),
            failures: Mutex::default(),
            has_failures: AtomicBool::new(false),
            opened: (0..OPENED).map(|_| AtomicU64::new(0)).collect(),
            window: Mutex::default(),
        }
    }

    /// How many failures are counted, and of how many sources in this window.
    pub(super) fn len(&self) -> (usize, usize) {
        let failures = self.failures();
        (failures.new.len() + failures.old.len(), self.window().by_source.len())
    }

    /// How long a try must wait, if it must.
    fn wait(&self, from: IpAddr, claim: &ClaimedIdentity, now: Instant) -> Option<Duration> {
        if self.free == 0 {
            return None;
        }
        let (counted, has_opened) = self.counted(from, claim);
        let failures = self.failures();
        let failure = failures.of(counted, now)?;
        let is_attacked = !has_opened
            && failures.of(self.claimed(claim), now).is_some_and(|it| it.count >= ATTACK);
        let free = if is_attacked { 1 } else { self.free };
        let over = failure.count.checked_sub(free)?;
        let wait = Duration::from_secs(1 << over.min(16)).min(WAIT_MOST);
        wait.checked_sub(now.duration_since(failure.last)).filter(|left| !left.is_zero())
    }

    fn failed(&self, from: IpAddr, claim: &ClaimedIdentity, now: Instant) {
        let (counted, _) = self.counted(from, claim);
        let mut failures = self.failures();
        self.has_failures.store(true, Ordering::Relaxed);
        failures.add(counted, now);
        if !claim.0.is_empty() {
            failures.add(self.claimed(claim), now);
        }
    }

    fn opened(&self, from: IpAddr, name: &str) {
        let (hash, place) = self.pair(from, name);
        // Most calls open what was opened before.
        if place.load(Ordering::Relaxed) != hash {
            place.store(hash, Ordering::Relaxed);
        }
    }

    /// What a failure is counted under, and whether that is a pair that was opened before.
    fn counted(&self, from: IpAddr, claim: &ClaimedIdentity) -> (u64, bool) {
        let (hash, place) = self.pair(from, &claim.0);
        let has_opened = place.load(Ordering::Relaxed) == hash;
        (if has_opened { hash } else { self.hasher.hash_one(("address", from)) }, has_opened)
    }

    fn pair(&self, from: IpAddr, name: &str) -> (u64, &AtomicU64) {
        let hash = self.hasher.hash_one(("pair", from, name)) | 1;
        (hash, &self.opened[(hash >> 1) as usize % OPENED])
    }

    fn claimed(&self, claim: &ClaimedIdentity) -> u64 {
        self.hasher.hash_one(("claim", &claim.0))
    }

    /// Counts a failure for the next report; the first of a source is told at once.
    fn count(&self, source: Source) {
        let mut window = self.window();
        let known = window.by_source.len();
        if let Some(count) = window.by_source.get_mut(&source) {
            *count += 1;
            return;
        }
        if known >= SOURCES {
            window.others += 1;
            return;
        }
        if known < LINES
            && let Source { address, claimed: Some(claimed) } = &source
        {
            tracing::warn!(source = %address, %claimed, "a login failed; more of them are counted, and told once a minute");
        }
        window.by_source.insert(source, 1);
    }

    fn failures(&self) -> MutexGuard<'_, FailureCounts> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is over.
    fn forget(&self, now: Instant) {
        let mut failures = self.failures();
        let FailureCounts { new, old } = &mut *failures;
        for half in [new, old] {
            half.retain(|_, failure| now.duration_since(failure.last) < FORGET);
        }
        let has_any = !(failures.new.is_empty() && failures.old.is_empty());
        self.has_failures.store(has_any, Ordering::Relaxed);
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FailureCounts {
    fn of(&self, key: u64, now: Instant) -> Option<FailureCount> {
        let failure = self.new.get(&key).or_else(|| self.old.get(&key)).copied();
        failure.filter(|failure| now.duration_since(failure.last) < FORGET)
    }

    fn add(&mut self, key: u64, now: Instant) {
        let count = self.of(key, now).map_or(0, |failure| failure.count).saturating_add(1);
        if self.new.len() >= COUNTED && !self.new.contains_key(&key) {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(key, FailureCount { count, last: now });
    }
}

impl ClaimedIdentity {
    fn of(authorization: Option<&str>) -> ClaimedIdentity {
        ClaimedIdentity(match authorization.map(Credential::parse) {
            Some(Ok(Credential::Key { id, .. })) => id,
            Some(Ok(Credential::Token(text))) => {
                claims::claimed(text).map_or(String::new(), |id| id.to_string())
            }
            Some(Err(_)) | None => String::new(),
        })
    }
}

impl Access {
    /// As [`authenticate`](Self::authenticate), for a request that comes from an address: whoever fails
    /// there again and again waits. The caller knows where it came from.
    ///
    /// # Errors
    /// If it is not let in.
    pub fn enter(
        &self,
        authorization: Option<&str>,
        from: Option<IpAddr>,
        now: UnixMillis,
    ) -> Result<Caller, Denied> {
        self.enter_at(authorization, from, now, Instant::now())
    }

    fn enter_at(
        &self,
        authorization: Option<&str>,
        from: Option<IpAddr>,
        now: UnixMillis,
        clock: Instant,
    ) -> Result<Caller, Denied> {
        let entrance = &self.inner.entrance;
        let Some(from) = from else { return self.authenticate(authorization, now) };
        if authorization.is_none() {
            return self.authenticate(None, now).map(|caller| caller.from(from));
        }
        let network = network(from);
        if entrance.has_failures.load(Ordering::Relaxed)
            && let Some(wait) = entrance.wait(network, &ClaimedIdentity::of(authorization), clock)
        {
            entrance.count(Source { address: from.to_canonical(), claimed: None });
            return Err(Denied::Slowed { retry_after_ms: wait.as_millis().max(1) as u64 });
        }
        match self.authenticate(authorization, now) {
            Ok(caller) => {
                // Its name is what it claimed to be.
                entrance.opened(network, &caller.name);
                Ok(caller.from(from))
            }
            // A token that fitted and came too late, or twice, is no guess.
            Err(Denied::Invalid(why)) if !token::is_of_its_own(why) => {
                let claim = ClaimedIdentity::of(authorization);
                entrance.failed(network, &claim, clock);
                // Only what exists is repeated: a secret may stand where the id belongs.
                let (claimed, _) = self.known_claim(&claim);
                entrance.count(Source { address: from.to_canonical(), claimed: Some(claimed) });
                Err(Denied::Invalid(why))
            }
            Err(denied) => Err(denied),
        }
    }

    /// The key or application that is claimed, if there is one, and its tenant.
    fn known_claim(&self, claim: &ClaimedIdentity) -> (String, String) {
        let key = super::KeyId::parse(&claim.0).and_then(|id| self.key(&id).ok().flatten());
        let tenant = match key {
            Some(key) => Some(key.tenant),
            None => self.tenant_of_application(&claim.0),
        };
        match tenant {
            Some(tenant) => (claim.0.clone(), tenant),
            None => ("unknown".to_owned(), String::new()),
        }
    }

    /// Writes down what failed since it was last asked to, durably.
    pub(super) fn report_failures(&self, now: UnixMillis) -> Result<(), StoreError> {
        self.inner.entrance.forget(Instant::now());
        let Window { by_source, mut others } = std::mem::take(&mut *self.inner.entrance.window());
        let mut counts: Vec<_> = by_source.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        others += counts.iter().skip(LINES).map(|(_, count)| count).sum::<u64>();
        counts.truncate(LINES);
        let entry_of = |action: &str, source: String, count: u64| AuditEntry {
            at_ms: now.0,
            tenant: String::new(),
            actor: "various".to_owned(),
            action: action.to_owned(),
            target: String::new(),
            source,
            result: format!("denied {count} times"),
            owner: Owner::FailedLogins,
        };
        let mut entries = Vec::new();
        for (Source { address, claimed }, count) in counts {
            let action = if claimed.is_some() { "login.failed" } else { "login.slowed" };
            let entry = entry_of(action, address.to_string(), count);
            entries.push(match claimed {
                Some(claimed) => {
                    let (actor, tenant) = self.known_claim(&ClaimedIdentity(claimed));
                    AuditEntry { actor, tenant, ..entry }
                }
                None => entry,
            });
        }
        if others > 0 {
            entries.push(entry_of("login.failed", String::new(), others));
        }
        if entries.is_empty() {
            return Ok(());
        }
        let mut audit = self.writing();
        let mut changes = Vec::new();
        for entry in &entries {
            changes.extend(audit.changes(&*self.inner.settings, entry)?);
        }
        self.inner.settings.write(changes)?;
        entries.iter().for_each(AuditEntry::log);
        Ok(())
    }
}

/// What failures are counted for: an IPv6 caller has a whole /64 to choose its addresses from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;
    use crate::{
        access::{AccessOptions, AuditFilter, ConfiguredKey, KeyId, NewKey},
        store::{MemoryStore, Store},
    };

    const SECRET: &str = "a secret of the tests";
    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn access(free: u32) -> Access {
        let key = |id: &str| {
            let new = NewKey::parse(id, "", ["read"]).unwrap();
            ConfiguredKey::new(KeyId::parse(id).unwrap(), new, SECRET)
        };
        let keys = vec![key("acme"), key("beta")];
        let options = AccessOptions { keys, failed_logins: free, ..AccessOptions::default() };
        Access::with(MemoryStore::new().settings(), options)
    }

    fn basic(id: &str, secret: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{secret}")))
    }

    struct Door {
        access: Access,
        clock: Instant,
    }

    impl Door {
        fn new() -> Door {
            Door { access: access(3), clock: Instant::now() }
        }

        /// `None` if it was let in, or if not, whether it must wait.
        fn tries(&self, from: &str, id: &str, secret: &str) -> Option<bool> {
            let from: IpAddr = from.parse().unwrap();
            match self.access.enter_at(Some(&basic(id, secret)), Some(from), NOW, self.clock) {
                Ok(caller) => {
                    assert_eq!(caller.source, Some(from.to_canonical()));
                    None
                }
                Err(Denied::Slowed { retry_after_ms }) => {
                    assert!((1..=300_000).contains(&retry_after_ms));
                    Some(true)
                }
                Err(Denied::Invalid(_)) => Some(false),
                Err(other) => panic!("{other:?}"),
            }
        }

        fn later(&mut self, s: u64) {
            self.clock += Duration::from_secs(s);
        }
    }

    const GUEST: &str = "192.0.2.1";

    #[test]
    fn an_address_that_fails_again_and_again_waits_longer_each_time() {
        let mut door = Door::new();
        for _ in 0..3 {
            assert_eq!(door.tries(GUEST, "acme", "wrong"), Some(false));
        }
        // 1 s, 2 s, 4 s …, and nothing is looked at meanwhile.
        for wait in [1, 2, 4, 8, 16] {
            assert_eq!(door.tries(GUEST, "acme", "wrong"), Some(true));
            assert_eq!(door.tries(GUEST, "beta", SECRET), Some(true), "not looked at");
            door.later(wait - 1);
            assert_eq!(door.tries(GUEST, "acme", "wrong"), Some(true), "not before {wait} s");
            door.later(1);
            assert_eq!(door.tries(GUEST, "acme", "wrong"), Some(false), "{wait}");
        }
        assert_eq!(door.tries("192.0.2.2", "acme", SECRET), None, "from elsewhere");
        door.later(300);
        assert_eq!(door.tries(GUEST, "acme", SECRET), None, "never longer than five minutes");
        door.later(600);
        for _ in 0..3 {
            assert_eq!(door.tries(GUEST, "acme", "wrong"), Some(false), "all is forgotten");
        }
    }

    #[test]
    fn who_was_let_in_before_goes_on_behind_an_address_where_somebody_else_fails() {
        let door = Door::new();
        assert_eq!(door.tries(GUEST, "acme", SECRET), None);
        for _ in 0..3 {
            assert_eq!(door.tries(GUEST, "other", "wrong"), Some(false));
        }
        assert_eq!(door.tries(GUEST, "other", "wrong"), Some(true));
        assert_eq!(door.tries(GUEST, "acme", SECRET), None);
        // It is no way to guess on, either.
        for _ in 0..3 {
            assert_eq!(door.tries(GUEST, "acme", "wrong"), Some(false));
        }
        assert_eq!(door.tries(GUEST, "acme", "wrong"), Some(true));
    }

    #[test]
    fn a_key_that_many_addresses_guess_at_still_opens_from_a_new_one() {
        let door = Door::new();
        for host in 0..30 {
            for _ in 0..2 {
                door.tries(&format!("198.51.100.{host}"), "acme", "wrong");
            }
        }
        assert_eq!(door.tries("203.0.113.1", "acme", "wrong"), Some(false));
        assert_eq!(door.tries("203.0.113.1", "acme", "wrong"), Some(true), "after one already");
        assert_eq!(door.tries("203.0.113.2", "acme", SECRET), None);
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_a_mapped_one_is_its_ipv4() {
        let door = Door::new();
        for host in 1..=3 {
            assert_eq!(door.tries(&format!("2001:db8::{host}"), "acme", "wrong"), Some(false));
            assert_eq!(door.tries("::ffff:192.0.2.1", "acme", "wrong"), Some(false));
        }
        assert_eq!(door.tries("2001:db8::ffff:1", "acme", SECRET), Some(true));
        assert_eq!(door.tries("2001:db8:0:1::1", "acme", SECRET), None);
        assert_eq!(door.tries(GUEST, "acme", SECRET), Some(true));
    }

    #[test]
    fn what_is_counted_is_bounded_and_switched_off_by_zero() {
        let door = Door::new();
        for at in 0..3 * COUNTED as u32 {
            let from = IpAddr::from(at.to_be_bytes());
            door.access.enter_at(Some("Basic eDp5"), Some(from), NOW, door.clock).unwrap_err();
        }
        let failures = door.access.inner.entrance.failures();
        assert!(failures.new.len() <= COUNTED && failures.old.len() <= COUNTED);
        drop(failures);
        assert_eq!(door.access.inner.entrance.window().by_source.len(), SOURCES);
        let door = Door { access: access(0), clock: Instant::now() };
        for _ in 0..100 {
            assert_eq!(door.tries(GUEST, "acme", "wrong"), Some(false));
        }
    }

    #[test]
    fn what_failed_is_written_down_once_a_window_with_its_source_and_no_secret() {
        let door = Door::new();
        for _ in 0..10 {
            door.tries(GUEST, "acme", "wrong");
        }
        // A secret where the id belongs.
        door.tries("192.0.2.9", SECRET, "acme");
        door.access.report_failures(NOW).unwrap();
        door.access.report_failures(NOW).unwrap();
        let all = door.access.audit_page(&AuditFilter::default(), None, 100).unwrap().entries;
        let mut told: Vec<_> = all
            .iter()
            .map(|it| [&it.action, &it.actor, &it.tenant, &it.source, &it.result].map(|it| &**it))
            .collect();
        told.sort();
        let wanted = [
            ["login.failed", "acme", "acme", GUEST, "denied 3 times"],
            ["login.failed", "unknown", "", "192.0.2.9", "denied 1 times"],
            ["login.slowed", "various", "", GUEST, "denied 7 times"],
        ];
        assert_eq!(told, wanted);
        let own = AuditFilter { tenant: Some(Arc::from("acme")), ..AuditFilter::default() };
        assert_eq!(
            door.access.audit_page(&own, None, 100).unwrap().entries.len(),
            1,
            "a tenant sees its own"
        );
    }
}
