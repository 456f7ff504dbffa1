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
    collections::{BTreeMap, HashMap, HashSet},
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
/// How many rows there may be of everybody's.
const MOST_LISTED: usize = 20_000_000;
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
    by_tenant: HashMap<Arc<str>, RowCount>,
}

#[derive(Clone, Copy, Default)]
struct RowCount {
    all: usize,
    /// Those that callers put there.
    callers: usize,
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
    /// Whose; an empty one: those that count for every tenant; anybody's if there is none.
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

    /// How many rows callers of a tenant put there.
    pub fn count(&self, tenant: &str) -> usize {
        let listed = self.listed.read().unwrap_or_else(PoisonError::into_inner);
        listed.by_tenant.get(tenant).map_or(0, |count| count.callers)
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

    /// Keeps what persons said, heard by an account, in its order. Returns how many rows are new, and how many gone.
    ///
    /// It counts for whoever sends from that sender under that account, now or later; where the sender's own account
    /// heard it, for its tenants. Of a sender that nobody sends from there, nothing is kept.
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
        let mut last_word: BTreeMap<Vec<u8>, Option<ListedOptOut>> = BTreeMap::new();
        for OptOut { sender, recipient, is_lifted } in told {
            let fits = sender.id.len().max(recipient.value().len()) <= MOST_ADDRESS_BYTES;
            let is_heard = match scope {
                Some(scope) => scope.is_of(sender),
                None => routes.has_sender(account, &sender.channel, &sender.id),
            };
            if !fits || !is_heard {
                continue;
            }
            let row = |tenant: Arc<str>| ListedOptOut {
                tenant,
                channel: sender.channel.clone(),
                sender: Some(sender.id.clone()),
                recipient: recipient.clone(),
                account: Some(Arc::clone(account)),
                source: OptOutSource::Person,
                create_time: now,
            };
            if *is_lifted {
                let names = std::iter::once(account).chain(routes.former_names().former(account));
                let names: Vec<_> = names.collect();
                for row in self.tenants(scope).into_iter().map(row) {
                    last_word.extend(names.iter().map(|name| (row.key_under(name), None)));
                }
            } else {
                let tenants =
                    scope.map_or(vec![Arc::from(EVERY_TENANT)], |it| it.tenants().to_vec());
                for row in tenants.into_iter().map(row) {
                    last_word.insert(row.key(), Some(row));
                }
            }
        }
        self.change(last_word)
    }

    /// Whose rows a person who heard of a sender lifts: all that are about it, or those of the sender's own account.
    fn tenants(&self, scope: Option<&ReceiptScope>) -> Vec<Arc<str>> {
        if let Some(scope) = scope {
            return scope.tenants().to_vec();
        }
        let listed = self.listed.read().unwrap_or_else(PoisonError::into_inner);
        listed.by_tenant.keys().cloned().collect()
    }

    /// Keeps that a provider refused a message because its recipient wants none: for whoever sends from that sender
    /// under that account, or, under an account of the sender's own (`is_own`), for that tenant.
    ///
    /// # Errors
    /// If it could not be made durable; the provider says so again.
    pub fn refused(
        &self,
        of: Addressed<'_>,
        is_own: bool,
        now: UnixMillis,
    ) -> Result<usize, StoreError> {
        let Addressed { tenant, channel, sender, recipient, account } = of;
        let row = ListedOptOut {
            tenant: Arc::from(if is_own { tenant } else { EVERY_TENANT }),
            channel: channel.clone(),
            sender: Some(sender.value().to_owned()),
            recipient: recipient.clone(),
            account: Some(Arc::from(account)),
            source: OptOutSource::Provider,
            create_time: now,
        };
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.change([(row.key(), Some(row))].into()).map(|(new, _)| new)
    }

    /// Puts a tenant's rows on the list, durably, all or none. Returns how many are new: one that is there already
    /// stays as it is. `None` if the tenant would have more than `most` (0: no limit), and nothing was done.
    ///
    /// # Errors
    /// If they could not be made durable.
    pub fn add(&self, rows: Vec<ListedOptOut>, most: usize) -> Result<Option<usize>, StoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let has = rows.first().map_or(0, |row| self.count(&row.tenant));
        let rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.key(), Some(row))).collect();
        let new = rows.keys().filter(|key| !self.has(key)).count();
        if most > 0 && new > 0 && has + new > most {
            return Ok(None);
        }
        self.change(rows).map(|(new, _)| Some(new))
    }

    /// Takes what matches off the list, durably. Returns how many rows that were.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn lift(&self, filter: &OptOutFilter) -> Result<usize, StoreError> {
        // Looked for without the lock: others go on meanwhile, and what is gone by then is gone.
        let (mut gone, mut after) = (BTreeMap::new(), None);
        loop {
            let page = self.list(filter, after, ROWS)?;
            gone.extend(page.rows.into_iter().map(|(key, _)| (key, None)));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.change(gone).map(|(_, gone)| gone)
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

    /// Makes rows what they are to be from now on, durably, all or none; `None` takes one away. One that is there
    /// stays as it is. Returns how many are new, and how many gone. To be called by one at a time.
    fn change(
        &self,
        mut rows: BTreeMap<Vec<u8>, Option<ListedOptOut>>,
    ) -> Result<(usize, usize), StoreError> {
        rows.retain(|key, row| self.has(key) == row.is_none());
        let new = rows.values().flatten().count();
        let held = self.listed.read().unwrap_or_else(PoisonError::into_inner).keys.len();
        if held + new > MOST_LISTED {
            return Err(StoreError::Io(format!(
                "the list of opt-outs has {held} rows, and is full"
            )));
        }
        let change = |(key, row): (&Vec<u8>, &Option<ListedOptOut>)| match row {
            Some(row) => Ok(SettingChange::put(Kind::OptOut, key.clone(), encode(row)?)),
            None => Ok(SettingChange::remove(Kind::OptOut, key.clone())),
        };
        if !rows.is_empty() {
            self.settings.write(rows.iter().map(change).collect::<Result<_, StoreError>>()?)?;
        }
        let mut listed = self.listed.write().unwrap_or_else(PoisonError::into_inner);
        for (key, row) in &rows {
            match row {
                Some(_) => listed.insert(key),
                None => listed.remove(key),
            }
        }
        Ok((new, rows.len() - new))
    }
}

impl Listed {
    fn insert(&mut self, key: &[u8]) {
        if self.keys.insert(short(key)) {
            let count = self.by_tenant.entry(Arc::from(row::tenant_of(key))).or_default();
            count.all += 1;
            count.callers += usize::from(row::is_callers(key));
        }
    }

    fn remove(&mut self, key: &[u8]) {
        let tenant = row::tenant_of(key);
        if self.keys.remove(&short(key))
            && let Some(count) = self.by_tenant.get_mut(tenant)
        {
            count.all = count.all.saturating_sub(1);
            count.callers = count.callers.saturating_sub(usize::from(row::is_callers(key)));
            if count.all == 0 {
                self.by_tenant.remove(tenant);
            }
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
