//! The audit log: who did which administrative act to what, and when.
//!
//! Rows in place whose keys grow with time. Each owner has a bound of its own, so that nobody pushes out
//! another's rows: operators, failed logins, and each tenant; and where all tenants together have too many,
//! the one with the most gives way. Every act also goes to the log stream, as `audit`, once it is durable.
//! No secret, no recipient's number and no text of a message stands in it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use dispatch_contract::UnixMillis;
use serde::{Deserialize, Serialize};

use super::Caller;
use crate::store::{Kind, SettingChange, Settings, StoreError, decode, encode};

/// How many acts of one tenant's callers are kept, of all tenants' together, of operators, and how many
/// rows of failed logins.
pub const ACTS_OF_TENANT: usize = 2_000;
const ACTS_OF_TENANTS: usize = 50_000;
const ACTS_OF_OPERATORS: usize = 10_000;
const FAILED_LOGINS: usize = 5_000;
/// The most acts of a page.
pub const ACTS_MOST: usize = 1_000;
/// How many rows are looked through for a page at most.
const LOOKED_THROUGH: usize = 5_000;
/// How many rows are read at once.
const ROWS: usize = 1_000;

/// An act. Kept as a setting of [`Kind::Audit`], under its time and a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// When, in milliseconds of the Unix epoch, by the wall clock.
    pub at_ms: u64,
    /// Whose data it concerned; empty for nobody's.
    pub tenant: String,
    /// Who did it: a key's id, an application's, or `anonymous`.
    pub who: String,
    /// What, in the past tense, as in `key.created`.
    pub what: String,
    /// To what: an id, mostly.
    pub target: String,
    /// The address that it was asked from; empty for the service itself.
    pub source: String,
    /// What came of it: `done`, or what else.
    pub result: String,
    /// Within whose bound it is kept.
    pub(super) owner: Owner,
}

/// Within whose bound an act is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Owner {
    /// The operators'.
    Operators,
    /// That of [`Act::tenant`].
    Tenant,
    /// That of failed logins.
    FailedLogins,
}

/// Which acts are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActFilter {
    /// Those that concern this tenant.
    pub tenant: Option<Arc<str>>,
    /// Those of this actor.
    pub who: Option<String>,
    /// Those at or after this time, in milliseconds of the Unix epoch.
    pub since_ms: u64,
}

/// A time in milliseconds and a number, both big-endian, so that keys sort as the acts came.
pub(super) type Key = [u8; 12];

/// A page of acts, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acts {
    /// The acts.
    pub acts: Vec<Act>,
    /// Behind which row the next page begins; `None` at the end.
    pub next: Option<[u8; 12]>,
}

/// Which rows there are.
#[derive(Default)]
pub(super) struct Audit {
    /// Once they were read.
    known: Option<Known>,
}

#[derive(Default)]
struct Known {
    rows: BTreeMap<Key, Whose>,
    of: HashMap<Whose, VecDeque<Key>>,
    /// How many rows all tenants have.
    tenants: usize,
}

/// An owner, and which tenant it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Operators,
    Tenant(Arc<str>),
    FailedLogins,
}

impl Act {
    /// An act that is done.
    pub(super) fn done(
        caller: &Caller,
        tenant: &str,
        (what, target): (&str, &str),
        now: UnixMillis,
    ) -> Act {
        Act {
            at_ms: now.0,
            tenant: tenant.to_owned(),
            who: caller.name.to_string(),
            what: what.to_owned(),
            target: target.to_owned(),
            source: caller.source.map_or(String::new(), |address| address.to_string()),
            result: "done".to_owned(),
            owner: if caller.is_operator() { Owner::Operators } else { Owner::Tenant },
        }
    }

    /// An act of the service itself, which goes on after the call that began it.
    pub(super) fn of_service(who: &str, what: &str, result: String, now: UnixMillis) -> Act {
        Act {
            at_ms: now.0,
            tenant: String::new(),
            who: who.to_owned(),
            what: what.to_owned(),
            target: String::new(),
            source: String::new(),
            result,
            owner: Owner::Operators,
        }
    }

    /// Says it on the log stream.
    pub(super) fn log(&self) {
        let Act { tenant, who, what, target, source, result, .. } = self;
        tracing::info!(target: "audit", %tenant, %who, %what, on = ?target, %source, %result);
    }

    fn whose(&self) -> Whose {
        match self.owner {
            Owner::Operators => Whose::Operators,
            Owner::Tenant => Whose::Tenant(self.tenant.as_str().into()),
            Owner::FailedLogins => Whose::FailedLogins,
        }
    }
}

impl ActFilter {
    fn takes(&self, act: &Act) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| **tenant == *act.tenant)
            && self.who.as_ref().is_none_or(|who| *who == act.who)
    }

    /// Whether a row of that owner may be one.
    fn may_take(&self, whose: &Whose) -> bool {
        match (&self.tenant, whose) {
            (Some(wanted), Whose::Tenant(tenant)) => wanted == tenant,
            (Some(_) | None, _) => true,
        }
    }
}

impl Audit {
    /// How many rows are known.
    pub(super) fn len(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.rows.len())
    }

    /// The changes that write an act down; they belong into one write with what it changed.
    pub(super) fn changes(
        &mut self,
        settings: &dyn Settings,
        act: &Act,
    ) -> Result<Vec<SettingChange>, StoreError> {
        let known = self.known(settings)?;
        let newest = known.rows.last_key_value().map_or(Key::default(), |(key, _)| *key);
        let key = behind(newest, UnixMillis(act.at_ms));
        let mut changes = vec![SettingChange::put(Kind::Audit, key, encode(act)?)];
        let dropped = known.put(key, act.whose());
        changes.extend(dropped.into_iter().map(|key| SettingChange::remove(Kind::Audit, key)));
        Ok(changes)
    }

    /// The keys of rows that may be asked for, newest first, behind `before`; and whether there are more.
    pub(super) fn newest(
        &mut self,
        settings: &dyn Settings,
        filter: &ActFilter,
        before: Option<Key>,
    ) -> Result<(Vec<Key>, bool), StoreError> {
        let known = self.known(settings)?;
        let mut since = Key::default();
        since[..8].copy_from_slice(&filter.since_ms.to_be_bytes());
        let before = before.unwrap_or([u8::MAX; 12]);
        if before <= since {
            return Ok((Vec::new(), false));
        }
        let rows = known.rows.range(since..before).rev();
        let mut keys: Vec<_> = rows
            .filter(|(_, whose)| filter.may_take(whose))
            .map(|(key, _)| *key)
            .take(LOOKED_THROUGH + 1)
            .collect();
        let has_more = keys.len() > LOOKED_THROUGH;
        keys.truncate(LOOKED_THROUGH);
        Ok((keys, has_more))
    }

    fn known(&mut self, settings: &dyn Settings) -> Result<&mut Known, StoreError> {
        let known = match self.known.take() {
            Some(known) => known,
            None => Known::read(settings)?,
        };
        Ok(self.known.insert(known))
    }
}

impl Known {
    fn read(settings: &dyn Settings) -> Result<Known, StoreError> {
        let mut known = Known::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = settings.list(Kind::Audit, after.as_deref(), ROWS)?;
            for (key, row) in &rows {
                let act: Act = read(key, row)?;
                if let Ok(key) = Key::try_from(key.as_slice()) {
                    known.insert(key, act.whose());
                }
            }
            match rows.into_iter().nth(ROWS - 1) {
                Some((last, _)) => after = Some(last),
                None => return Ok(known),
            }
        }
    }

    /// Takes a row that is newer than all others; the keys of those that give way to it.
    fn put(&mut self, key: Key, whose: Whose) -> Vec<Key> {
        let most = match whose {
            Whose::Operators => ACTS_OF_OPERATORS,
            Whose::Tenant(_) => ACTS_OF_TENANT,
            Whose::FailedLogins => FAILED_LOGINS,
        };
        self.insert(key, whose.clone());
        let mut dropped = Vec::new();
        while self.of.get(&whose).is_some_and(|rows| rows.len() > most) {
            dropped.extend(self.drop_oldest(&whose));
        }
        while self.tenants > ACTS_OF_TENANTS {
            let tenants = self.of.iter().filter(|(whose, _)| matches!(whose, Whose::Tenant(_)));
            let largest =
                tenants.max_by_key(|(_, rows)| rows.len()).map(|(whose, _)| whose.clone());
            let Some(largest) = largest else { break };
            dropped.extend(self.drop_oldest(&largest));
        }
        dropped
    }

    fn insert(&mut self, key: Key, whose: Whose) {
        self.tenants += usize::from(matches!(whose, Whose::Tenant(_)));
        self.of.entry(whose.clone()).or_default().push_back(key);
        self.rows.insert(key, whose);
    }

    fn drop_oldest(&mut self, whose: &Whose) -> Option<Key> {
        let rows = self.of.get_mut(whose)?;
        let oldest = rows.pop_front()?;
        if rows.is_empty() {
            self.of.remove(whose);
        }
        self.tenants -= usize::from(matches!(whose, Whose::Tenant(_)));
        self.rows.remove(&oldest);
        Some(oldest)
    }
}

/// The acts of those rows that are asked for, at most `limit`; and the last row that was looked at.
pub(super) fn page(
    settings: &dyn Settings,
    filter: &ActFilter,
    (keys, has_more): (Vec<Key>, bool),
    limit: usize,
) -> Result<Acts, StoreError> {
    let (mut acts, last) = (Vec::new(), keys.last().copied());
    for key in keys {
        // What gave way meanwhile is gone.
        let Some(row) = settings.get(Kind::Audit, &key)? else { continue };
        let act: Act = read(&key, &row)?;
        if filter.takes(&act) {
            acts.push(act);
            if acts.len() == limit {
                let next = (has_more || Some(key) != last).then_some(key);
                return Ok(Acts { acts, next });
            }
        }
    }
    Ok(Acts { acts, next: last.filter(|_| has_more) })
}

fn read(key: &[u8], row: &[u8]) -> Result<Act, StoreError> {
    decode(row, || format!("audit row {key:02x?}"))
}

/// The least key that is of `now` and behind `newest`; a clock that was set back moves nothing.
fn behind(newest: Key, now: UnixMillis) -> Key {
    let mut key = Key::default();
    key[..8].copy_from_slice(&now.0.to_be_bytes());
    if key > newest {
        return key;
    }
    let mut next = [0; 16];
    next[4..].copy_from_slice(&newest);
    let next = (u128::from_be_bytes(next) + 1).to_be_bytes();
    std::array::from_fn(|at| next[at + 4])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{Access, Scope},
        store::{MemoryStore, Store},
    };

    fn caller(tenant: &str) -> Caller {
        Caller { tenant: tenant.into(), scopes: vec![Scope::Admin], ..Caller::anonymous() }
    }

    fn note(audit: &mut Audit, settings: &dyn Settings, caller: &Caller, target: &str, ms: u64) {
        let act = Act::done(caller, &caller.tenant, ("key.created", target), UnixMillis(ms));
        settings.note(audit.changes(settings, &act).unwrap()).unwrap();
    }

    fn acts(settings: &Arc<dyn Settings>, tenant: Option<&str>) -> Vec<Act> {
        let access = Access::new(Arc::clone(settings));
        let filter = ActFilter { tenant: tenant.map(Arc::from), ..ActFilter::default() };
        let (mut acts, mut before) = (Vec::new(), None);
        loop {
            let page = access.acts(&filter, before, ACTS_MOST).unwrap();
            acts.extend(page.acts);
            match page.next {
                Some(next) => before = Some(next),
                None => return acts,
            }
        }
    }

    #[test]
    fn the_oldest_of_its_own_give_way_and_a_clock_set_back_changes_no_order() {
        let settings = MemoryStore::new().settings();
        let mut audit = Audit::default();
        for at in 0..ACTS_OF_TENANT + 5 {
            note(&mut audit, &*settings, &caller("acme"), &at.to_string(), 1000);
        }
        // As after a restart.
        let mut audit = Audit::default();
        note(&mut audit, &*settings, &caller("acme"), "late", 5);
        let acts = acts(&settings, None);
        assert_eq!(acts.len(), ACTS_OF_TENANT);
        assert_eq!(acts[0].target, "late");
        assert_eq!(acts.last().unwrap().target, "6");
    }

    #[test]
    fn no_tenant_pushes_out_another_s_rows_or_an_operator_s() {
        let settings = MemoryStore::new().settings();
        let mut audit = Audit::default();
        let operator = Caller::anonymous();
        note(&mut audit, &*settings, &operator, "the operator's", 1);
        note(&mut audit, &*settings, &caller("quiet"), "the quiet one's", 2);
        for at in 0..ACTS_OF_TENANT * 2 {
            note(&mut audit, &*settings, &caller("loud"), &at.to_string(), 3);
        }
        let all = acts(&settings, None);
        assert_eq!(all.len(), ACTS_OF_TENANT + 2);
        assert_eq!(all[all.len() - 2].target, "the quiet one's");
        assert_eq!(acts(&settings, Some("quiet")).len(), 1);
        assert_eq!(acts(&settings, Some("loud")).len(), ACTS_OF_TENANT);
    }

    #[test]
    fn where_all_tenants_have_too_many_the_largest_gives_way() {
        let mut known = Known::default();
        let tenant = |name: &str| Whose::Tenant(name.into());
        let mut at = 0_u128;
        let mut key = || {
            at += 1;
            let bytes = at.to_be_bytes();
            std::array::from_fn(|at| bytes[at + 4])
        };
        let mut dropped = known.put(key(), tenant("small"));
        for _ in 0..ACTS_OF_TENANTS / ACTS_OF_TENANT + 1 {
            let name = key();
            for _ in 0..ACTS_OF_TENANT {
                dropped.extend(known.put(key(), tenant(&format!("{name:?}"))));
            }
        }
        assert_eq!(known.tenants, ACTS_OF_TENANTS);
        assert_eq!(known.rows.len(), ACTS_OF_TENANTS);
        assert_eq!(known.of[&tenant("small")].len(), 1);
        assert_eq!(dropped.len(), ACTS_OF_TENANT + 1);
    }
}
