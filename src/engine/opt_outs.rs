//! Who wants no messages from whom: a list that every call looks into before it leaves.
//!
//! It grows by what persons tell ([`OptOut`]), by providers that refuse a message because of it
//! ([`ErrorKind::OptedOut`](dispatch_contract::ErrorKind::OptedOut)), and by callers. What is acknowledged is durable,
//! and no call begins after it that it is about. Rows are settings; of each, 16 bytes are in memory, so that a call
//! waits for no disk.

mod row;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use dispatch_contract::{Channel, Endpoint, OptOut, UnixMillis};
use sha2::{Digest, Sha256};

pub use row::{ListedOptOut, OptOutSource};

use super::{FormerNames, ReceiptScope, RouteTable};
use crate::store::{Kind, NameHash, SettingChange, Settings, StoreError, decode, encode};

/// How many rows are read at once.
const ROWS: usize = 512;
/// How many rows one call of a list looks at.
const MOST_SEEN: usize = 20_000;
/// The longest address that is kept; no message has a longer one.
const MOST_ADDRESS_BYTES: usize = 256;
/// The tenant of a row that counts for every tenant.
const EVERY_TENANT: &str = "";

/// The list.
pub struct OptOuts {
    settings: Arc<dyn Settings>,
    /// What is durable.
    listed: RwLock<Listed>,
    /// One change at a time, so that none is lost under another.
    changing: Mutex<()>,
}

/// What is on the list, by the hashes of its rows' keys, and how many rows each tenant has.
#[derive(Default)]
struct Listed {
    keys: HashSet<NameHash>,
    by_tenant: HashMap<Arc<str>, usize>,
}

/// A message that is about to go out, as far as the list is about it.
#[derive(Clone, Copy, Debug)]
pub struct Addressed<'a> {
    /// Whose message it is.
    pub tenant: &'a str,
    /// The channel.
    pub channel: &'a Channel,
    /// From whom.
    pub sender: &'a Endpoint,
    /// To whom.
    pub recipient: &'a Endpoint,
    /// The account that it goes out under, as `provider/name`.
    pub account: &'a str,
}

/// Which rows to list or to lift.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptOutFilter {
    /// Whose; anybody's, and those that count for every tenant, if there is none.
    pub tenant: Option<Arc<str>>,
    /// On this channel.
    pub channel: Option<Channel>,
    /// From this sender, or from every one.
    pub sender: Option<String>,
    /// Of this recipient.
    pub recipient: Option<Endpoint>,
}

/// Some of the rows that match.
#[derive(Clone, Debug, Default)]
pub struct OptOutPage {
    /// The rows, each with its key.
    pub rows: Vec<(Vec<u8>, ListedOptOut)>,
    /// Behind which key to go on; `None` at the end.
    pub next: Option<Vec<u8>>,
}

impl OptOuts {
    /// The list in `settings`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(settings: Arc<dyn Settings>) -> Result<Self, StoreError> {
        let mut listed = Listed::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let some = settings.list(Kind::OptOut, after.as_deref(), ROWS)?;
            for (key, _) in &some {
                listed.insert(key);
            }
            match some.last() {
                Some((key, _)) if some.len() == ROWS => after = Some(key.clone()),
                Some(_) | None => break,
            }
        }
        Ok(OptOuts { settings, listed: RwLock::new(listed), changing: Mutex::new(()) })
    }

    /// How many entries its tables in memory have.
    pub fn tables(&self) -> Vec<(&'static str, usize)> {
        let listed = self.listed.read().unwrap_or_else(PoisonError::into_inner);
        vec![("opt_outs", listed.keys.len())]
    }

    /// How many rows a tenant has of its own.
    pub fn count(&self, tenant: &str) -> usize {
        let listed = self.listed.read().unwrap_or_else(PoisonError::into_inner);
        listed.by_tenant.get(tenant).copied().unwrap_or(0)
    }

    /// Whether the person that a message is for wants none from its sender. `names` knows what the account was
    /// called when it was told.
    pub fn forbids(&self, of: Addressed<'_>, names: &FormerNames) -> bool {
        let listed = self.listed.read().unwrap_or_else(PoisonError::into_inner);
        if listed.keys.is_empty() {
            return false;
        }
        let Addressed { tenant, channel, sender, recipient, account } = of;
        let has = |tenant: &str, sender: &str, account: &str| {
            let key = row::key(tenant, channel, recipient.value(), sender, account);
            listed.keys.contains(&short(&key))
        };
        let sender = sender.value();
        let accounts = std::iter::once(account);
        let mut accounts = accounts.chain(names.former(account).iter().map(|name| &**name));
        has(tenant, "", "")
            || has(tenant, sender, "")
            || accounts
                .any(|account| has(tenant, sender, account) || has(EVERY_TENANT, sender, account))
    }

    /// Keeps what a person or a provider told, heard by an account. Returns how many rows are new, and how many gone.
    ///
    /// It counts for the tenants that send from that sender under that account, or those of `scope`. Of a sender that
    /// nobody sends from there, nothing is kept.
    ///
    /// # Errors
    /// If it could not be made durable; then it may be told again.
    pub fn told(
        &self,
        account: &Arc<str>,
        scope: Option<&ReceiptScope>,
        routes: &RouteTable,
        told: &[OptOut],
        now: UnixMillis,
    ) -> Result<(usize, usize), StoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let account = routes.former_names().present(account);
        let names = std::iter::once(account).chain(routes.former_names().former(account));
        let names: Vec<_> = names.collect();
        let (mut new, mut gone) = (Vec::new(), Vec::new());
        for OptOut { sender, recipient, is_lifted } in told {
            if sender.id.len() > MOST_ADDRESS_BYTES || recipient.value().len() > MOST_ADDRESS_BYTES
            {
                continue;
            }
            let tenants = match scope {
                Some(scope) if scope.is_of(sender) => scope.tenants().to_vec(),
                Some(_) => Vec::new(),
                None => match routes.senders_tenants(account, &sender.channel, &sender.id) {
                    Some(tenants) => tenants.into_iter().collect(),
                    None => vec![Arc::from(EVERY_TENANT)],
                },
            };
            for tenant in tenants {
                let listed = ListedOptOut {
                    tenant,
                    channel: sender.channel.clone(),
                    sender: Some(sender.id.clone()),
                    recipient: recipient.clone(),
                    account: Some(Arc::clone(account)),
                    source: OptOutSource::Person,
                    create_time: now,
                };
                if *is_lifted {
                    gone.extend(names.iter().map(|name| listed.key_under(name)));
                } else {
                    new.push(listed);
                }
            }
        }
        Ok((self.put(new)?, self.take(gone)?))
    }

    /// Keeps that a provider refused a message because its recipient wants none. Durable with whatever is next: where
    /// that is lost the provider says so again.
    ///
    /// # Errors
    /// If the disk failed.
    pub fn refused(&self, of: Addressed<'_>, now: UnixMillis) -> Result<bool, StoreError> {
        let Addressed { tenant, channel, sender, recipient, account } = of;
        let row = ListedOptOut {
            tenant: Arc::from(tenant),
            channel: channel.clone(),
            sender: Some(sender.value().to_owned()),
            recipient: recipient.clone(),
            account: Some(Arc::from(account)),
            source: OptOutSource::Provider,
            create_time: now,
        };
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = row.key();
        if self.has(&key) {
            return Ok(false);
        }
        let value = encode(&row)?;
        self.settings.note(vec![SettingChange::put(Kind::OptOut, key.clone(), value)])?;
        self.listed.write().unwrap_or_else(PoisonError::into_inner).insert(&key);
        Ok(true)
    }

    /// Puts a tenant's rows on the list, durably, all or none. Returns how many are new: one that is there already
    /// stays as it is. `None` if the tenant would have more than `most` (0: no limit), and nothing was done.
    ///
    /// # Errors
    /// If they could not be made durable.
    pub fn add(&self, rows: Vec<ListedOptOut>, most: usize) -> Result<Option<usize>, StoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new: Vec<_> =
            rows.iter().map(ListedOptOut::key).filter(|key| !self.has(key)).collect();
        new.sort();
        new.dedup();
        let has = rows.first().map_or(0, |row| self.count(&row.tenant));
        if most > 0 && !new.is_empty() && has + new.len() > most {
            return Ok(None);
        }
        self.put(rows).map(Some)
    }

    /// Takes what matches off the list, durably. Returns how many rows that were.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn lift(&self, filter: &OptOutFilter) -> Result<usize, StoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = self.list(filter, after, ROWS)?;
            keys.extend(page.rows.into_iter().map(|(key, _)| key));
            match page.next {
                Some(next) => after = Some(next),
                None => return self.take(keys),
            }
        }
    }

    /// Up to `limit` rows that match, in the order of their keys, behind `after`. A page may be short or empty and
    /// still have a `next`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn list(
        &self,
        filter: &OptOutFilter,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<OptOutPage, StoreError> {
        let prefix = filter.prefix();
        let mut page = OptOutPage { rows: Vec::new(), next: after };
        let mut seen = 0;
        loop {
            let from = page.next.as_deref().or((!prefix.is_empty()).then_some(&*prefix));
            let some = self.settings.list(Kind::OptOut, from, ROWS)?;
            let is_last = some.len() < ROWS;
            for (key, value) in some {
                if !key.starts_with(&prefix) {
                    page.next = None;
                    return Ok(page);
                }
                seen += 1;
                page.next = Some(key.clone());
                let row: ListedOptOut = decode(&value, || "an opt-out".to_owned())?;
                if filter.admits(&row) {
                    page.rows.push((key, row));
                }
                if page.rows.len() == limit || seen == MOST_SEEN {
                    return Ok(page);
                }
            }
            if is_last {
                page.next = None;
                return Ok(page);
            }
        }
    }

    fn has(&self, key: &[u8]) -> bool {
        self.listed.read().unwrap_or_else(PoisonError::into_inner).keys.contains(&short(key))
    }

    fn put(&self, rows: Vec<ListedOptOut>) -> Result<usize, StoreError> {
        let (mut keys, mut changes) = (HashSet::new(), Vec::new());
        for row in rows {
            let key = row.key();
            if !self.has(&key) && keys.insert(key.clone()) {
                changes.push(SettingChange::put(Kind::OptOut, key, encode(&row)?));
            }
        }
        if !changes.is_empty() {
            self.settings.write(changes)?;
        }
        let mut listed = self.listed.write().unwrap_or_else(PoisonError::into_inner);
        keys.iter().for_each(|key| listed.insert(key));
        Ok(keys.len())
    }

    fn take(&self, mut keys: Vec<Vec<u8>>) -> Result<usize, StoreError> {
        keys.retain(|key| self.has(key));
        keys.sort();
        keys.dedup();
        if !keys.is_empty() {
            let gone = keys.iter().map(|key| SettingChange::remove(Kind::OptOut, key.clone()));
            self.settings.write(gone.collect())?;
        }
        let mut listed = self.listed.write().unwrap_or_else(PoisonError::into_inner);
        keys.iter().for_each(|key| listed.remove(key));
        Ok(keys.len())
    }
}

impl Listed {
    fn insert(&mut self, key: &[u8]) {
        if self.keys.insert(short(key)) {
            *self.by_tenant.entry(Arc::from(row::tenant_of(key))).or_default() += 1;
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if self.keys.remove(&short(key))
            && let Some(count) = self.by_tenant.get_mut(row::tenant_of(key))
        {
            *count = count.saturating_sub(1);
        }
    }
}

impl OptOutFilter {
    /// How the keys of all that matches begin.
    fn prefix(&self) -> Vec<u8> {
        row::prefix(self.tenant.as_deref(), self.channel.as_ref(), self.recipient.as_ref())
    }

    fn admits(&self, row: &ListedOptOut) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == row.tenant)
            && self.channel.as_ref().is_none_or(|channel| *channel == row.channel)
            && self.sender.as_ref().is_none_or(|sender| row.sender.as_ref() == Some(sender))
            && self.recipient.as_ref().is_none_or(|it| it.value() == row.recipient.value())
    }
}

/// What is in memory of a row's key.
fn short(key: &[u8]) -> NameHash {
    let digest: [u8; 32] = Sha256::digest(key).into();
    let mut short = NameHash::default();
    short.copy_from_slice(&digest[..size_of::<NameHash>()]);
    short
}

impl fmt::Debug for OptOuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OptOuts")
    }
}
