//! Who wants no messages from whom: a list that every call looks into before it leaves.
//!
//! It grows by what persons tell ([`OptOut`]), by providers that refuse a message because of it
//! ([`ErrorKind::OptedOut`](dispatch_contract::ErrorKind::OptedOut)), and by callers. What is acknowledged is durable,
//! and no call begins after it that it is about. Rows are settings; of each, 16 bytes are in memory, so that a call
//! waits for no disk, and opens nothing. Who a row is of is sealed in it: forgotten, it holds messages back all the same.

mod row;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use dispatch_contract::{Channel, Endpoint, OptOut, UnixMillis};
use sha2::{Digest, Sha256};

pub use row::{ListedOptOut, NewOptOut, OptOutRow, OptOutSource, opt_out_keys};

use super::{ErasedSome, FormerNames, ReceiptScope, RouteTable};
use crate::{
    contents::{KeyState, LastingKey, RowKeeper, Unopened, normal_form},
    store::{KeySlot, Kind, NameHash, SettingChange, Settings, StoreError, decode, encode},
};

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
    keys: RowKeeper,
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
    /// The list in `settings`, with its recipients sealed by `keys`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(settings: Arc<dyn Settings>, keys: RowKeeper) -> Result<Self, StoreError> {
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
        Ok(OptOuts { settings, keys, listed: RwLock::new(listed), changing: Mutex::new(()) })
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
        let person = self.person(channel, recipient.value());
        let has = |tenant: &str, sender: &str, account: &str| {
            let key = row::key(tenant, channel, &person, sender, account);
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
        let mut last_word: BTreeMap<Vec<u8>, Option<NewOptOut>> = BTreeMap::new();
        for OptOut { sender, recipient, is_lifted } in told {
            let fits = sender.id.len().max(recipient.value().len()) <= MOST_ADDRESS_BYTES;
            let is_heard = match scope {
                Some(scope) => scope.is_of(sender),
                None => routes.has_sender(account, &sender.channel, &sender.id),
            };
            if !fits || !is_heard {
                continue;
            }
            let person = self.person(&sender.channel, recipient.value());
            let row = |tenant: Arc<str>| NewOptOut {
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
                    last_word.extend(names.iter().map(|name| (row.key_under(name, &person), None)));
                }
            } else {
                let tenants =
                    scope.map_or(vec![Arc::from(EVERY_TENANT)], |it| it.tenants().to_vec());
                for row in tenants.into_iter().map(row) {
                    last_word.insert(row.key(&person), Some(row));
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
        let row = NewOptOut {
            tenant: Arc::from(if is_own { tenant } else { EVERY_TENANT }),
            channel: channel.clone(),
            sender: Some(sender.value().to_owned()),
            recipient: recipient.clone(),
            account: Some(Arc::from(account)),
            source: OptOutSource::Provider,
            create_time: now,
        };
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = row.key(&self.person(channel, recipient.value()));
        self.change([(key, Some(row))].into()).map(|(new, _)| new)
    }

    /// Puts a tenant's rows on the list, durably, all or none. Returns how many are new: one that is there already
    /// stays as it is. `None` if the tenant would have more than `most` (0: no limit), and nothing was done.
    ///
    /// # Errors
    /// If they could not be made durable.
    pub fn add(&self, rows: Vec<NewOptOut>, most: usize) -> Result<Option<usize>, StoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let has = rows.first().map_or(0, |row| self.count(&row.tenant));
        let keyed = |row: NewOptOut| {
            let person = self.person(&row.channel, row.recipient.value());
            (row.key(&person), Some(row))
        };
        let rows: BTreeMap<_, _> = rows.into_iter().map(keyed).collect();
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
        let (mut gone, mut after) = (Vec::new(), None);
        loop {
            let FoundRows { rows, next } = self.scan(filter, after, ROWS)?;
            gone.extend(rows.into_iter().map(|(key, _)| key));
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        self.remove(gone)
    }

    /// The keys of a person's rows, under whichever of these addresses and however they are written: on the list of one
    /// tenant (an empty one: those that count for every tenant), or on all of them if there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn of_person(
        &self,
        whose: Option<&str>,
        addresses: &[&str],
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut after = row::prefix(whose, None, None);
        let mut found = BTreeSet::new();
        // A tenant's rows stand by channel, and the person's on a channel side by side.
        while let Some((first, _)) = self.settings.list(Kind::OptOut, Some(&after), 1)?.pop() {
            let Some((tenant, channel)) = row::channel_of(&first) else { break };
            if whose.is_some_and(|whose| whose != tenant) {
                break;
            }
            after = row::behind_channel(tenant, &channel);
            for address in addresses {
                let person = self.person(&channel, address);
                let prefix = row::prefix(Some(tenant), Some(&channel), Some(&person));
                let mut from = prefix.clone();
                loop {
                    let some = self.settings.list(Kind::OptOut, Some(&from), ROWS)?;
                    let its = some.into_iter().map(|(key, _)| key);
                    let its: Vec<_> = its.take_while(|key| key.starts_with(&prefix)).collect();
                    let Some(last) = its.last() else { break };
                    from.clone_from(last);
                    found.extend(its);
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Those of these keys in whose rows it is not forgotten who stands there.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn not_forgotten(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut known = Vec::with_capacity(keys.len());
        for key in keys {
            let slots = self.slots(std::slice::from_ref(&key))?;
            if slots.first().is_none_or(|slot| self.keys.state(*slot) != KeyState::Gone) {
                known.push(key);
            }
        }
        Ok(known)
    }

    /// Forgets who stands in the rows of these keys, durably when this returns. They go on holding messages back, and are
    /// lifted as before by whoever knows the address.
    ///
    /// # Errors
    /// If the store cannot be read, or keys not be destroyed.
    pub fn forget(&self, keys: &[Vec<u8>]) -> Result<(), StoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.keys.destroy(&self.slots(keys)?)
    }

    /// The same for some of a tenant's rows, or of everybody's: those behind `after` whose keys are `newest` and older, and a
    /// bounded number.
    ///
    /// # Errors
    /// As [`forget`](Self::forget).
    pub fn forget_some(
        &self,
        whose: Option<&str>,
        newest: KeySlot,
        after: Option<Vec<u8>>,
    ) -> Result<ErasedSome<Vec<u8>>, StoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (slots, some) = self.some_of_all(whose, newest, after)?;
        self.keys.destroy(&slots)?;
        Ok(some)
    }

    /// How many of them there are.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn count_some(
        &self,
        whose: Option<&str>,
        newest: KeySlot,
        after: Option<Vec<u8>>,
    ) -> Result<ErasedSome<Vec<u8>>, StoreError> {
        self.some_of_all(whose, newest, after).map(|(_, some)| some)
    }

    /// Where the keys are of who is not forgotten yet in some of the rows.
    fn some_of_all(
        &self,
        whose: Option<&str>,
        newest: KeySlot,
        after: Option<Vec<u8>>,
    ) -> Result<(Vec<KeySlot>, ErasedSome<Vec<u8>>), StoreError> {
        let prefix = row::prefix(whose, None, None);
        let from = after.as_deref().or((!prefix.is_empty()).then_some(&*prefix));
        let rows = self.settings.list(Kind::OptOut, from, ROWS)?;
        let (mut slots, mut some) = (Vec::new(), ErasedSome::default());
        let mut is_last = rows.len() < ROWS;
        for (key, value) in rows {
            if !key.starts_with(&prefix) {
                is_last = true;
                break;
            }
            some.next = Some(key);
            let row = decode::<OptOutRow>(&value, || "an opt-out".to_owned());
            let slot = row.map(|row| row.recipient.slot);
            let state = slot.as_ref().map_or(KeyState::Unreadable, |slot| self.keys.state(*slot));
            match (slot, state) {
                (Ok(slot), _) if slot > newest => {}
                (Ok(slot), KeyState::There) => slots.push(slot),
                (Ok(_), KeyState::Gone) => {}
                (Ok(_), KeyState::Unreadable) | (Err(_), _) => some.unreadable += 1,
            }
        }
        some.count = slots.len();
        some.next = some.next.filter(|_| !is_last);
        Ok((slots, some))
    }

    /// Takes the rows of these keys off the list, durably. Returns how many there were.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn remove(&self, keys: impl IntoIterator<Item = Vec<u8>>) -> Result<usize, StoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = keys.into_iter().map(|key| (key, None)).collect();
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
        let FoundRows { rows, next } = self.scan(filter, after, limit)?;
        let mut unreadable = 0;
        let mut opened = |(key, row): (Vec<u8>, OptOutRow)| {
            let recipient = self.keys.open(&key, &row.recipient);
            unreadable += usize::from(matches!(recipient, Err(Unopened::Unreadable(_))));
            (key, ListedOptOut { recipient: recipient.ok(), row })
        };
        let rows = rows.into_iter().map(&mut opened).collect();
        if unreadable > 0 {
            tracing::error!(unreadable, "who stands on the list of opt-outs could not be opened");
        }
        Ok(OptOutPage { rows, next })
    }

    /// The same without who they are of.
    fn scan(
        &self,
        filter: &OptOutFilter,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<FoundRows, StoreError> {
        let prefix = self.prefix(filter);
        let (mut rows, mut next, mut seen) = (Vec::new(), after, 0);
        loop {
            let from = next.as_deref().or((!prefix.is_empty()).then_some(&*prefix));
            let some = self.settings.list(Kind::OptOut, from, ROWS)?;
            let is_last = some.len() < ROWS;
            for (key, value) in some {
                if !key.starts_with(&prefix) {
                    return Ok(FoundRows { rows, next: None });
                }
                seen += 1;
                next = Some(key.clone());
                let row: OptOutRow = decode(&value, || "an opt-out".to_owned())?;
                if self.admits(filter, &key, &row) {
                    rows.push((key, row));
                }
                if rows.len() == limit || seen == MOST_SEEN {
                    return Ok(FoundRows { rows, next });
                }
            }
            if is_last {
                return Ok(FoundRows { rows, next: None });
            }
        }
    }

    /// How the keys of all that matches begin.
    fn prefix(&self, filter: &OptOutFilter) -> Vec<u8> {
        let OptOutFilter { tenant, channel, recipient, .. } = filter;
        let of_channel = channel.as_ref().zip(recipient.as_ref());
        let person = of_channel.map(|(channel, it)| self.person(channel, it.value()));
        row::prefix(tenant.as_deref(), channel.as_ref(), person.as_ref())
    }

    fn admits(&self, filter: &OptOutFilter, key: &[u8], row: &OptOutRow) -> bool {
        let is_of = |recipient: &Endpoint| {
            row::person_of(key) == Some(&self.person(&row.channel, recipient.value()))
        };
        filter.tenant.as_ref().is_none_or(|tenant| *tenant == row.tenant)
            && filter.channel.as_ref().is_none_or(|channel| *channel == row.channel)
            && filter.sender.as_ref().is_none_or(|sender| row.sender.as_ref() == Some(sender))
            && filter.recipient.as_ref().is_none_or(is_of)
    }

    /// Who an address is in keys, however it is written.
    fn person(&self, channel: &Channel, address: &str) -> NameHash {
        self.keys.hash(LastingKey::OptOuts, &[channel.as_str(), &normal_form(address)])
    }

    /// Where the keys are of who stands in the rows of these keys. A row that cannot be read has none.
    fn slots(&self, keys: &[Vec<u8>]) -> Result<Vec<KeySlot>, StoreError> {
        let mut slots = Vec::with_capacity(keys.len());
        for key in keys {
            let row = self.settings.get(Kind::OptOut, key)?;
            let row = row.map(|row| decode::<OptOutRow>(&row, || "an opt-out".to_owned()));
            slots.extend(row.and_then(Result::ok).map(|row| row.recipient.slot));
        }
        Ok(slots)
    }

    fn has(&self, key: &[u8]) -> bool {
        self.listed.read().unwrap_or_else(PoisonError::into_inner).keys.contains(&short(key))
    }

    /// Makes rows what they are to be from now on, durably, all or none; `None` takes one away. One that is there
    /// stays as it is. Returns how many are new, and how many gone. To be called by one at a time.
    fn change(
        &self,
        mut rows: BTreeMap<Vec<u8>, Option<NewOptOut>>,
    ) -> Result<(usize, usize), StoreError> {
        rows.retain(|key, row| self.has(key) == row.is_none());
        if rows.is_empty() {
            return Ok((0, 0));
        }
        let new = rows.values().flatten().count();
        let held = self.listed.read().unwrap_or_else(PoisonError::into_inner).keys.len();
        if held + new > MOST_LISTED {
            return Err(StoreError::Io(format!(
                "the list of opt-outs has {held} rows, and is full"
            )));
        }
        let gone = rows.iter().filter(|(_, row)| row.is_none());
        let gone: Vec<_> = gone.map(|(key, _)| key.clone()).collect();
        // First of all: what is cut off behind it holds messages back, and says of nobody.
        self.keys.destroy(&self.slots(&gone)?)?;
        let mut sealed = Vec::with_capacity(new);
        let mut change = |(key, row): (&Vec<u8>, &Option<NewOptOut>)| match row {
            Some(row) => {
                let recipient = self.keys.seal(key, &row.recipient)?;
                sealed.push((recipient.slot, key.clone(), row.recipient.value().to_owned()));
                Ok(SettingChange::put(Kind::OptOut, key.clone(), encode(&row.row(recipient))?))
            }
            None => Ok(SettingChange::remove(Kind::OptOut, key.clone())),
        };
        let mut changes: Vec<_> =
            rows.iter().map(&mut change).collect::<Result<_, StoreError>>()?;
        if let Some((newest, ..)) = sealed.last() {
            changes.push(self.keys.used(*newest)?);
        }
        self.settings.write(changes)?;
        for (slot, key, address) in sealed {
            let owner = row::person_of(&key).copied().unwrap_or_default();
            self.keys.note(slot, owner, &[&address]);
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

/// Some of the rows that match, each with its key, and behind which key to go on.
struct FoundRows {
    rows: Vec<(Vec<u8>, OptOutRow)>,
    next: Option<Vec<u8>>,
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
