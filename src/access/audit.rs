//! The audit log: who did which administrative action to what, and when.
//!
//! Rows in place whose keys grow with time. Each owner has a bound of its own, so that nobody pushes out
//! another's rows: operators, failed logins, and each tenant; and where all tenants together have too many,
//! the one with the most gives way. Every entry also goes to the log stream, as `audit`, once it is durable.
//! No secret, no recipient's number and no text of a message stands in it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use dispatch_contract::UnixMillis;
use serde::{Deserialize, Serialize};

use super::Caller;
use crate::store::{Kind, SettingChange, Settings, StoreError, decode, encode};

/// How many entries of one tenant's callers are kept, of all tenants' together, of operators, and of
/// failed logins.
pub const AUDIT_OF_TENANT: usize = 2_000;
const AUDIT_OF_TENANTS: usize = 50_000;
const AUDIT_OF_OPERATORS: usize = 10_000;
const AUDIT_OF_FAILED_LOGINS: usize = 5_000;
/// The most entries of a page.
pub const AUDIT_PAGE_MOST: usize = 1_000;
/// How many rows are looked through for a page at most.
const LOOKED_THROUGH: usize = 5_000;
/// How many rows are read at once.
const ROWS: usize = 1_000;

/// One administrative action. Kept as a setting of [`Kind::Audit`], under its time and a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When it was done, in milliseconds of the Unix epoch, by the wall clock.
    pub at_ms: u64,
    /// The tenant whose data it concerned; empty for none's.
    pub tenant: String,
    /// Who did it: a key's id, an application's, or `anonymous`.
    pub actor: String,
    /// In the past tense, as in `key.created`.
    pub action: String,
    /// What it was done to: an id, mostly.
    pub target: String,
    /// The address that it was asked from; empty for the service itself.
    pub source: String,
    /// What came of it: `done`, or what else.
    pub result: String,
    /// Within whose bound it is kept.
    pub(super) owner: Owner,
}

/// Who had something done, as it was written down when they asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author<'a> {
    /// A key's id, an application's, or `anonymous`.
    pub name: &'a str,
    /// The address that it was asked from; empty for none.
    pub source: &'a str,
    /// Whether it was an operator.
    pub is_operator: bool,
}

/// Within whose bound an entry is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Owner {
    /// The operators'.
    Operators,
    /// That of [`AuditEntry::tenant`].
    Tenant,
    /// That of failed logins.
    FailedLogins,
}

/// Which entries are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Those that concern this tenant.
    pub tenant: Option<Arc<str>>,
    /// Those of this actor.
    pub actor: Option<String>,
    /// Those at or after this time, in milliseconds of the Unix epoch.
    pub since_ms: u64,
}

/// A time in milliseconds and a number, both big-endian, so that keys sort as the entries came.
pub(super) type AuditKey = [u8; 12];

/// A page of entries, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// Behind which row the next page begins; `None` at the end.
    pub next: Option<[u8; 12]>,
}

/// Writes entries, and keeps each owner within its bound.
#[derive(Default)]
pub(super) struct AuditLog {
    /// `None` until the rows were read.
    index: Option<AuditIndex>,
}

/// Which rows there are, and whose.
#[derive(Default)]
struct AuditIndex {
    rows: BTreeMap<AuditKey, OwnerKey>,
    of: HashMap<OwnerKey, VecDeque<AuditKey>>,
    /// How many rows all tenants have.
    tenants: usize,
}

/// An owner, and which tenant it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum OwnerKey {
    Operators,
    Tenant(Arc<str>),
    FailedLogins,
}

impl AuditEntry {
    /// An action of a caller's that is done.
    pub(super) fn done(
        caller: &Caller,
        tenant: &str,
        (action, target): (&str, &str),
        now: UnixMillis,
    ) -> AuditEntry {
        AuditEntry {
            at_ms: now.0,
            tenant: tenant.to_owned(),
            actor: caller.name.to_string(),
            action: action.to_owned(),
            target: target.to_owned(),
            source: caller.source.map_or(String::new(), |address| address.to_string()),
            result: "done".to_owned(),
            owner: if caller.is_operator() { Owner::Operators } else { Owner::Tenant },
        }
    }

    /// What came of an action that may have been asked for in an earlier life.
    pub(super) fn finished(
        by: &Author<'_>,
        tenant: &str,
        (action, target): (&str, &str),
        result: String,
        now: UnixMillis,
    ) -> AuditEntry {
        AuditEntry {
            at_ms: now.0,
            tenant: tenant.to_owned(),
            actor: by.name.to_owned(),
            action: action.to_owned(),
            target: target.to_owned(),
            source: by.source.to_owned(),
            result,
            owner: if by.is_operator { Owner::Operators } else { Owner::Tenant },
        }
    }

    /// An action of the service itself, which goes on after the call that began it.
    pub(super) fn of_service(
        actor: &str,
        action: &str,
        result: String,
        now: UnixMillis,
    ) -> AuditEntry {
        AuditEntry {
            at_ms: now.0,
            tenant: String::new(),
            actor: actor.to_owned(),
            action: action.to_owned(),
            target: String::new(),
            source: String::new(),
            result,
            owner: Owner::Operators,
        }
    }

    /// Writes it to the log stream.
    pub(super) fn log(&self) {
        let AuditEntry { tenant, actor, action, target, source, result, .. } = self;
        tracing::info!(target: "audit", %tenant, %actor, %action, on = ?target, %source, %result);
    }

    fn owner_key(&self) -> OwnerKey {
        match self.owner {
            Owner::Operators => OwnerKey::Operators,
            Owner::Tenant => OwnerKey::Tenant(self.tenant.as_str().into()),
            Owner::FailedLogins => OwnerKey::FailedLogins,
        }
    }
}

impl AuditFilter {
    fn takes(&self, entry: &AuditEntry) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| **tenant == *entry.tenant)
            && self.actor.as_ref().is_none_or(|actor| *actor == entry.actor)
    }

    /// Whether a row of that owner may be one.
    fn may_take(&self, owner_key: &OwnerKey) -> bool {
        match (&self.tenant, owner_key) {
            (Some(wanted), OwnerKey::Tenant(tenant)) => wanted == tenant,
            (Some(_) | None, _) => true,
        }
    }
}

impl AuditLog {
    /// How many rows are indexed.
    pub(super) fn len(&self) -> usize {
        self.index.as_ref().map_or(0, |index| index.rows.len())
    }

    /// The changes that write an entry; they belong into one write with what it records.
    pub(super) fn changes(
        &mut self,
        settings: &dyn Settings,
        entry: &AuditEntry,
    ) -> Result<Vec<SettingChange>, StoreError> {
        let index = self.index(settings)?;
        let newest = index.rows.last_key_value().map_or(AuditKey::default(), |(key, _)| *key);
        let key = behind(newest, UnixMillis(entry.at_ms));
        let mut changes = vec![SettingChange::put(Kind::Audit, key, encode(entry)?)];
        let dropped = index.put(key, entry.owner_key());
        changes.extend(dropped.into_iter().map(|key| SettingChange::remove(Kind::Audit, key)));
        Ok(changes)
    }

    /// The keys of rows that may be asked for, newest first, behind `before`; and whether there are more.
    pub(super) fn newest(
        &mut self,
        settings: &dyn Settings,
        filter: &AuditFilter,
        before: Option<AuditKey>,
    ) -> Result<(Vec<AuditKey>, bool), StoreError> {
        let index = self.index(settings)?;
        let mut since = AuditKey::default();
        since[..8].copy_from_slice(&filter.since_ms.to_be_bytes());
        let before = before.unwrap_or([u8::MAX; 12]);
        if before <= since {
            return Ok((Vec::new(), false));
        }
        let rows = index.rows.range(since..before).rev();
        let mut keys: Vec<_> = rows
            .filter(|(_, owner_key)| filter.may_take(owner_key))
            .map(|(key, _)| *key)
            .take(LOOKED_THROUGH + 1)
            .collect();
        let has_more = keys.len() > LOOKED_THROUGH;
        keys.truncate(LOOKED_THROUGH);
        Ok((keys, has_more))
    }

    fn index(&mut self, settings: &dyn Settings) -> Result<&mut AuditIndex, StoreError> {
        let index = match self.index.take() {
            Some(index) => index,
            None => AuditIndex::read(settings)?,
        };
        Ok(self.index.insert(index))
    }
}

impl AuditIndex {
    fn read(settings: &dyn Settings) -> Result<AuditIndex, StoreError> {
        let mut index = AuditIndex::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = settings.list(Kind::Audit, after.as_deref(), ROWS)?;
            for (key, row) in &rows {
                let entry: AuditEntry = read(key, row)?;
                if let Ok(key) = AuditKey::try_from(key.as_slice()) {
                    index.insert(key, entry.owner_key());
                }
            }
            match rows.into_iter().nth(ROWS - 1) {
                Some((last, _)) => after = Some(last),
                None => return Ok(index),
            }
        }
    }

    /// Takes a row that is newer than all others; the keys of those that give way to it.
    fn put(&mut self, key: AuditKey, owner_key: OwnerKey) -> Vec<AuditKey> {
        let most = match owner_key {
            OwnerKey::Operators => AUDIT_OF_OPERATORS,
            OwnerKey::Tenant(_) => AUDIT_OF_TENANT,
            OwnerKey::FailedLogins => AUDIT_OF_FAILED_LOGINS,
        };
        self.insert(key, owner_key.clone());
        let mut dropped = Vec::new();
        while self.of.get(&owner_key).is_some_and(|rows| rows.len() > most) {
            dropped.extend(self.drop_oldest(&owner_key));
        }
        while self.tenants > AUDIT_OF_TENANTS {
            let tenants =
                self.of.iter().filter(|(owner_key, _)| matches!(owner_key, OwnerKey::Tenant(_)));
            let largest =
                tenants.max_by_key(|(_, rows)| rows.len()).map(|(owner_key, _)| owner_key.clone());
            let Some(largest) = largest else { break };
            dropped.extend(self.drop_oldest(&largest));
        }
        dropped
    }

    fn insert(&mut self, key: AuditKey, owner_key: OwnerKey) {
        self.tenants += usize::from(matches!(owner_key, OwnerKey::Tenant(_)));
        self.of.entry(owner_key.clone()).or_default().push_back(key);
        self.rows.insert(key, owner_key);
    }

    fn drop_oldest(&mut self, owner_key: &OwnerKey) -> Option<AuditKey> {
        let rows = self.of.get_mut(owner_key)?;
        let oldest = rows.pop_front()?;
        if rows.is_empty() {
            self.of.remove(owner_key);
        }
        self.tenants -= usize::from(matches!(owner_key, OwnerKey::Tenant(_)));
        self.rows.remove(&oldest);
        Some(oldest)
    }
}

/// The entries of those rows that are asked for, at most `limit`; and the last row that was looked at.
pub(super) fn page(
    settings: &dyn Settings,
    filter: &AuditFilter,
    (keys, has_more): (Vec<AuditKey>, bool),
    limit: usize,
) -> Result<AuditPage, StoreError> {
    let (mut entries, last) = (Vec::new(), keys.last().copied());
    for key in keys {
        // What gave way meanwhile is gone.
        let Some(row) = settings.get(Kind::Audit, &key)? else { continue };
        let entry: AuditEntry = read(&key, &row)?;
        if filter.takes(&entry) {
            entries.push(entry);
            if entries.len() == limit {
                let next = (has_more || Some(key) != last).then_some(key);
                return Ok(AuditPage { entries, next });
            }
        }
    }
    Ok(AuditPage { entries, next: last.filter(|_| has_more) })
}

fn read(key: &[u8], row: &[u8]) -> Result<AuditEntry, StoreError> {
    decode(row, || format!("audit row {key:02x?}"))
}

/// The least key that is of `now` and behind `newest`; a clock that was set back moves nothing.
fn behind(newest: AuditKey, now: UnixMillis) -> AuditKey {
    let mut key = AuditKey::default();
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

    fn note(audit: &mut AuditLog, settings: &dyn Settings, caller: &Caller, target: &str, ms: u64) {
        let entry =
            AuditEntry::done(caller, &caller.tenant, ("key.created", target), UnixMillis(ms));
        settings.note(audit.changes(settings, &entry).unwrap()).unwrap();
    }

    fn entries(settings: &Arc<dyn Settings>, tenant: Option<&str>) -> Vec<AuditEntry> {
        let access = Access::new(Arc::clone(settings));
        let filter = AuditFilter { tenant: tenant.map(Arc::from), ..AuditFilter::default() };
        let (mut entries, mut before) = (Vec::new(), None);
        loop {
            let page = access.audit_page(&filter, before, AUDIT_PAGE_MOST).unwrap();
            entries.extend(page.entries);
            match page.next {
                Some(next) => before = Some(next),
                None => return entries,
            }
        }
    }

    #[test]
    fn the_oldest_of_its_own_give_way_and_a_clock_set_back_changes_no_order() {
        let settings = MemoryStore::new().settings();
        let mut audit = AuditLog::default();
        for at in 0..AUDIT_OF_TENANT + 5 {
            note(&mut audit, &*settings, &caller("acme"), &at.to_string(), 1000);
        }
        // As after a restart.
        let mut audit = AuditLog::default();
        note(&mut audit, &*settings, &caller("acme"), "late", 5);
        let entries = entries(&settings, None);
        assert_eq!(entries.len(), AUDIT_OF_TENANT);
        assert_eq!(entries[0].target, "late");
        assert_eq!(entries.last().unwrap().target, "6");
    }

    #[test]
    fn no_tenant_pushes_out_another_s_rows_or_an_operator_s() {
        let settings = MemoryStore::new().settings();
        let mut audit = AuditLog::default();
        let operator = Caller::anonymous();
        note(&mut audit, &*settings, &operator, "the operator's", 1);
        note(&mut audit, &*settings, &caller("quiet"), "the quiet one's", 2);
        for at in 0..AUDIT_OF_TENANT * 2 {
            note(&mut audit, &*settings, &caller("loud"), &at.to_string(), 3);
        }
        let all = entries(&settings, None);
        assert_eq!(all.len(), AUDIT_OF_TENANT + 2);
        assert_eq!(all[all.len() - 2].target, "the quiet one's");
        assert_eq!(entries(&settings, Some("quiet")).len(), 1);
        assert_eq!(entries(&settings, Some("loud")).len(), AUDIT_OF_TENANT);
    }

    #[test]
    fn where_all_tenants_have_too_many_the_largest_gives_way() {
        let mut index = AuditIndex::default();
        let tenant = |name: &str| OwnerKey::Tenant(name.into());
        let mut at = 0_u128;
        let mut key = || {
            at += 1;
            let bytes = at.to_be_bytes();
            std::array::from_fn(|at| bytes[at + 4])
        };
        let mut dropped = index.put(key(), tenant("small"));
        for _ in 0..AUDIT_OF_TENANTS / AUDIT_OF_TENANT + 1 {
            let name = key();
            for _ in 0..AUDIT_OF_TENANT {
                dropped.extend(index.put(key(), tenant(&format!("{name:?}"))));
            }
        }
        assert_eq!(index.tenants, AUDIT_OF_TENANTS);
        assert_eq!(index.rows.len(), AUDIT_OF_TENANTS);
        assert_eq!(index.of[&tenant("small")].len(), 1);
        assert_eq!(dropped.len(), AUDIT_OF_TENANT + 1);
    }
}
