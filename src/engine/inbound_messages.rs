//! What persons wrote to our senders: rows beside the journal, in the order in which they came.
//!
//! What is acknowledged is durable, and there once, however often its provider tells it. Readers follow by number: what
//! is new comes behind what they have seen, and whoever comes too late is told so. Each tenant reads its own. Who wrote and
//! what is sealed, each message's under a key of its own: what is taken away, or erased, nobody opens any more.

mod row;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dispatch_contract::UnixMillis;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use uuid::Uuid;

use row::InboundRow;
pub use row::{HeardMessage, QuotedMessage, ReceivedMessage, inbound_keys};

use super::ErasedSome;
use crate::{
    contents::{KeyState, RowKeeper, Unopened, Unreadable, normal_form},
    machine::Moment,
    store::{Cursor, KeySlot, Kind, SettingChange, Settings, StoreError, decode, encode},
};

/// The row that says which messages are kept.
const KEPT: &[u8] = b"inbound";
/// How many rows are looked at once.
const ROWS: usize = 64;
/// How many rows one call of [`InboundMessages::trim`] takes away.
const MOST_TRIMMED: usize = 4096;
/// How many of the newest a start notes once more: whose their keys are may not have been written.
const NOTED_AGAIN: u64 = 4096;
/// How many wait for the disk at once, each on a thread of its own.
const PLACES: usize = 64;

/// How messages are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundOptions {
    /// Whose a message is where nothing tells one tenant.
    pub tenant: Arc<str>,
    /// How long it is kept.
    pub retention: Duration,
    /// How many are kept, of all tenants; above that the oldest go first.
    pub most: u64,
}

/// Which messages are kept, by their numbers, which begin with 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptNumbers {
    /// The newest that is gone.
    pub gone: u64,
    /// The newest.
    pub last: u64,
}

/// Some of a tenant's messages.
#[derive(Clone, Debug, Default)]
pub struct InboundPage {
    /// The messages, each with its number.
    pub messages: Vec<(u64, ReceivedMessage)>,
    /// Up to which number it was looked: go on behind that.
    pub until: u64,
}

/// What a person wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessagesOfPerson {
    /// The ids of the messages.
    pub ids: Vec<Uuid>,
    /// What could not be looked at, and may be theirs.
    pub unreadable: Unreadable,
}

/// Some of all messages, looked at for an erasure.
#[derive(Default)]
struct SomeOfAll {
    /// What each is to become, with its number and where its key is.
    emptied: Vec<(u64, InboundRow, KeySlot)>,
    unreadable: usize,
    next: Option<u64>,
}

/// What persons wrote.
pub struct InboundMessages {
    settings: Arc<dyn Settings>,
    keys: RowKeeper,
    /// Of how many notes that there was no room for those behind are made again.
    lost_notes: AtomicU64,
    options: InboundOptions,
    /// What is durable.
    kept: watch::Sender<KeptNumbers>,
    /// One change at a time.
    changing: Mutex<()>,
    on_kept: OnceLock<Box<dyn Fn() + Send + Sync>>,
    places: Semaphore,
}

impl InboundMessages {
    /// Those in `settings`, sealed by `keys`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(
        settings: Arc<dyn Settings>,
        keys: RowKeeper,
        options: InboundOptions,
    ) -> Result<Self, StoreError> {
        let kept = settings.get(Kind::Service, KEPT)?;
        let kept = kept.map(|row| decode(&row, || "the numbers of inbound messages".to_owned()));
        let kept = watch::Sender::new(kept.transpose()?.unwrap_or_default());
        let (changing, on_kept) = (Mutex::new(()), OnceLock::new());
        let places = Semaphore::new(PLACES);
        let lost_notes = AtomicU64::new(0);
        let messages = InboundMessages {
            settings,
            keys,
            lost_notes,
            options,
            kept,
            changing,
            on_kept,
            places,
        };
        let KeptNumbers { gone, last } = *messages.kept.borrow();
        messages.note_behind(gone.max(last.saturating_sub(NOTED_AGAIN)))?;
        Ok(messages)
    }

    /// Notes whose those behind this number are: what the last moment before a crash noted may be lost, and what there was
    /// no room for, and then nobody would find them.
    fn note_behind(&self, number: u64) -> Result<(), StoreError> {
        let (last, mut after) = (self.kept.borrow().last, number);
        while after < last {
            let some =
                self.settings.list(Kind::InboundMessage, Some(&after.to_be_bytes()), ROWS)?;
            let Some((newest, _)) = some.last() else { break };
            after = number_of(newest)?;
            for (key, row) in &some {
                let Some(row) = readable(number_of(key)?, row) else { continue };
                let Some((slot, message)) = row.slot().zip(self.opened(&row)) else { continue };
                self.keys.note(slot, *row.id.as_bytes(), &[message.from.value()]);
            }
        }
        Ok(())
    }

    /// A place among those that wait for the disk, if there is one: more are told to come again.
    pub(super) fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// Whose a message is where nothing tells one tenant.
    pub(super) fn usual_tenant(&self) -> &Arc<str> {
        &self.options.tenant
    }

    /// Changes with every message, and when some go.
    pub fn kept(&self) -> watch::Receiver<KeptNumbers> {
        self.kept.subscribe()
    }

    /// Calls `hook` whenever messages became durable, before whoever told them is answered. There is room for one; a
    /// second is not called.
    pub fn on_kept(&self, hook: Box<dyn Fn() + Send + Sync>) {
        let _ = self.on_kept.set(hook);
    }

    /// Keeps what was heard, durably, all or none, but for what is there already and what no provider can have told.
    /// Returns how many are new, and how many were there.
    ///
    /// # Errors
    /// If it could not be made durable; then it may be told again.
    pub fn keep(
        &self,
        heard: Vec<HeardMessage>,
        now: Moment,
    ) -> Result<(usize, usize), StoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let durable = *self.kept.borrow();
        let (mut kept, mut repeated) = (durable, 0);
        let mut new: HashMap<Uuid, (u64, ReceivedMessage)> = HashMap::new();
        for message in heard.into_iter().filter(HeardMessage::is_within_bounds) {
            let id = message.id_under(&self.keys, &message.account);
            let is_kept = |id| -> Result<bool, StoreError> {
                // One that could not be made durable may still be seen here, and one that a backup read before its
                // message went.
                let kept = durable.gone + 1..=durable.last;
                Ok(self.number(id)?.is_some_and(|number| kept.contains(&number)))
            };
            let was_kept = |account: &Arc<str>| is_kept(message.id_under(&self.keys, account));
            let was_told = message.former_accounts.iter().map(was_kept).find(|it| *it != Ok(false));
            if new.contains_key(&id) || is_kept(id)? || was_told.transpose()?.is_some() {
                repeated += 1;
                continue;
            }
            kept.last += 1;
            new.insert(id, (kept.last, ReceivedMessage::new(id, message, now)));
        }
        if new.is_empty() {
            return Ok((0, repeated));
        }
        let mut changes = vec![SettingChange::put(Kind::Service, KEPT, encode(&kept)?)];
        let mut sealed = Vec::with_capacity(new.len());
        for (id, (number, message)) in new {
            let (row, from) = InboundRow::of(message, &self.keys)?;
            let value = encode(&row)?;
            changes.push(SettingChange::put(Kind::InboundMessage, number.to_be_bytes(), value));
            changes.push(SettingChange::put(Kind::InboundId, *id.as_bytes(), encode(&number)?));
            sealed.extend(row.slot().map(|slot| (slot, id, from)));
        }
        let newest = sealed.iter().map(|(slot, ..)| *slot).max();
        changes.extend(newest.map(|slot| self.keys.used(slot)).transpose()?);
        self.settings.write(changes)?;
        let count = sealed.len();
        for (slot, id, from) in sealed {
            self.keys.note(slot, *id.as_bytes(), &[from.value()]);
        }
        self.kept.send_replace(kept);
        if let Some(hook) = self.on_kept.get() {
            hook();
        }
        Ok((count, repeated))
    }

    /// Up to `limit` messages behind number `after`, of this tenant, or of everybody; none that was erased. Looks at a bounded number of
    /// rows: a page may be empty and not the end, which is where [`until`](InboundPage::until) is the newest number.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`] if some behind `after` are gone, or if the store cannot be read.
    pub fn after(
        &self,
        whose: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<InboundPage, StoreError> {
        let last = self.kept.borrow().last;
        let mut page = InboundPage { messages: Vec::new(), until: after };
        let rows = self.settings.list(Kind::InboundMessage, Some(&after.to_be_bytes()), ROWS)?;
        for (key, row) in &rows {
            let number = number_of(key)?;
            // What is behind that may not be durable yet.
            if number > last || page.messages.len() == limit {
                break;
            }
            page.until = number;
            let row = readable(number, row);
            let Some(row) = row.filter(|row| whose.is_none_or(|it| *row.tenant == *it)) else {
                continue;
            };
            page.messages.extend(self.opened(&row).map(|message| (number, message)));
        }
        // Looked at behind the read: what went meanwhile was not seen, either.
        let gone = self.kept.borrow().gone;
        if after < gone { Err(StoreError::Trimmed(Cursor(gone))) } else { Ok(page) }
    }

    /// A message; `None` if there is none, or it was erased.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn get(&self, id: Uuid) -> Result<Option<ReceivedMessage>, StoreError> {
        Ok(self.row(id)?.and_then(|(_, row)| self.opened(&row)))
    }

    /// What a person wrote under one of these addresses, however they are written: of one tenant's messages, or of all.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn of_person(
        &self,
        whose: Option<&str>,
        addresses: &[&str],
    ) -> Result<MessagesOfPerson, StoreError> {
        let lost = self.keys.lost_notes();
        if self.lost_notes.load(Ordering::Relaxed) != lost {
            let KeptNumbers { gone, .. } = *self.kept.borrow();
            self.note_behind(gone)?;
            self.lost_notes.store(lost, Ordering::Relaxed);
        }
        let mut found = MessagesOfPerson::default();
        found.unreadable.key_files = self.keys.unreadable_files();
        for (slot, owner) in self.keys.find(addresses)? {
            let row = match self.row(Uuid::from_bytes(owner)) {
                Ok(Some((_, row))) => row,
                Ok(None) => continue,
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(%error, "whether a person wrote this is not known");
                    found.unreadable.items += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if row.slot() != Some(slot) || whose.is_some_and(|whose| whose != &*row.tenant) {
                continue;
            }
            // Others have the same tag.
            let Some(message) = self.opened(&row) else {
                found.unreadable.items += usize::from(self.keys.state(slot) != KeyState::Gone);
                continue;
            };
            let from = normal_form(message.from.value());
            if addresses.iter().any(|address| normal_form(address) == from) {
                found.ids.push(row.id);
            }
        }
        Ok(found)
    }

    /// Erases some of a tenant's messages, or of everybody's, that came by `until`, in engine time: those behind number
    /// `after`, and a bounded number. Durable when this returns.
    ///
    /// # Errors
    /// As [`erase`](Self::erase).
    pub fn erase_some(
        &self,
        whose: Option<&str>,
        until: UnixMillis,
        after: u64,
    ) -> Result<ErasedSome<u64>, StoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let SomeOfAll { emptied, unreadable, next } = self.some_of_all(whose, until, after)?;
        let slots: Vec<_> = emptied.iter().map(|(.., slot)| *slot).collect();
        let change = |(number, row, _): (u64, InboundRow, KeySlot)| {
            Ok(SettingChange::put(Kind::InboundMessage, number.to_be_bytes(), encode(&row)?))
        };
        let changes: Vec<_> = emptied.into_iter().map(change).collect::<Result<_, StoreError>>()?;
        self.keys.destroy(&slots)?;
        if !changes.is_empty() {
            self.settings.write(changes)?;
        }
        Ok(ErasedSome { count: slots.len(), unreadable, next })
    }

    /// How many of them there are.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn count_some(
        &self,
        whose: Option<&str>,
        until: UnixMillis,
        after: u64,
    ) -> Result<ErasedSome<u64>, StoreError> {
        let SomeOfAll { emptied, unreadable, next } = self.some_of_all(whose, until, after)?;
        Ok(ErasedSome { count: emptied.len(), unreadable, next })
    }

    fn some_of_all(
        &self,
        whose: Option<&str>,
        until: UnixMillis,
        after: u64,
    ) -> Result<SomeOfAll, StoreError> {
        let (mut some, mut from) = (SomeOfAll::default(), after);
        for _ in 0..MOST_TRIMMED / ROWS {
            let rows = self.settings.list(Kind::InboundMessage, Some(&from.to_be_bytes()), ROWS)?;
            let Some((newest, _)) = rows.last() else { return Ok(some) };
            from = number_of(newest)?;
            for (key, row) in &rows {
                let number = number_of(key)?;
                let Some(row) = readable(number, row) else {
                    some.unreadable += 1;
                    continue;
                };
                let is_meant =
                    row.kept_since <= until && whose.is_none_or(|whose| whose == &*row.tenant);
                let Some(slot) = row.slot().filter(|_| is_meant) else { continue };
                if self.keys.state(slot) == KeyState::Unreadable {
                    some.unreadable += 1;
                    continue;
                }
                some.emptied.push((number, InboundRow { sealed: None, ..row }, slot));
            }
        }
        some.next = Some(from);
        Ok(some)
    }

    /// Erases these messages, durably when this returns: nobody opens them any more, and their providers may tell them
    /// again in vain. Returns how many there were.
    ///
    /// # Errors
    /// If the store cannot be read or written, or keys not be destroyed; to be done again then.
    pub fn erase(&self, ids: &[Uuid]) -> Result<usize, StoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut changes, mut slots) = (Vec::new(), Vec::new());
        for id in ids {
            let Some((number, row)) = self.row(*id)? else { continue };
            let Some(slot) = row.slot() else { continue };
            slots.push(slot);
            let value = encode(&InboundRow { sealed: None, ..row })?;
            changes.push(SettingChange::put(Kind::InboundMessage, number.to_be_bytes(), value));
        }
        self.keys.destroy(&slots)?;
        if !changes.is_empty() {
            self.settings.write(changes)?;
        }
        Ok(slots.len())
    }

    /// Takes away what is older than is kept, or more, some of it: what is left goes the next time. `now` is engine
    /// time: a wrong wall clock takes nothing away.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn trim(&self, now: UnixMillis) -> Result<(), StoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = now.minus(self.options.retention);
        let mut kept = *self.kept.borrow();
        let most_gone = kept.last.saturating_sub(self.options.most);
        let (mut changes, mut slots) = (Vec::new(), Vec::new());
        let mut may_be_more = true;
        while may_be_more && changes.len() < 2 * MOST_TRIMMED {
            let from = kept.gone.to_be_bytes();
            let rows = self.settings.list(Kind::InboundMessage, Some(&from), ROWS)?;
            may_be_more = !rows.is_empty();
            for (key, row) in rows {
                let number = number_of(&key)?;
                let row = readable(number, &row);
                let is_young = row.as_ref().is_some_and(|it| it.kept_since >= before);
                if is_young && number > most_gone {
                    may_be_more = false;
                    break;
                }
                kept.gone = number;
                changes.push(SettingChange::remove(Kind::InboundMessage, key));
                slots.extend(row.as_ref().and_then(InboundRow::slot));
                let id = row.map(|row| *row.id.as_bytes());
                changes.extend(id.map(|id| SettingChange::remove(Kind::InboundId, id)));
            }
        }
        // What the store removes lies in its file for long.
        self.keys.destroy(&slots)?;
        if !changes.is_empty() {
            changes.push(SettingChange::put(Kind::Service, KEPT, encode(&kept)?));
            // Said first: whoever reads meanwhile must not take a gap for the end.
            self.kept.send_replace(kept);
            // Done again if it is lost.
            self.settings.note(changes)?;
        }
        Ok(())
    }

    /// Where the key is of the oldest that is kept: keys are given out in the order of messages, but for what comes at once.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn oldest_key(&self) -> Result<Option<KeySlot>, StoreError> {
        let from = self.kept.borrow().gone.to_be_bytes();
        let rows = self.settings.list(Kind::InboundMessage, Some(&from), ROWS)?;
        Ok(rows.iter().find_map(|(_, row)| InboundRow::decode(row).ok()?.slot()))
    }

    /// The row of a message, with its number.
    fn row(&self, id: Uuid) -> Result<Option<(u64, InboundRow)>, StoreError> {
        let Some(number) = self.number(id)? else { return Ok(None) };
        let row = self.settings.get(Kind::InboundMessage, &number.to_be_bytes())?;
        let row = row.map(|row| InboundRow::decode(&row)).transpose()?;
        Ok(row.filter(|row| row.id == id).map(|row| (number, row)))
    }

    /// What a row says, unless it was erased; where its key is lost the log says so.
    fn opened(&self, row: &InboundRow) -> Option<ReceivedMessage> {
        match self.keys.open(row.id.as_bytes(), row.sealed.as_ref()?) {
            Ok(message) => Some(message),
            Err(Unopened::Gone) => None,
            Err(Unopened::Unreadable(why)) => {
                tracing::error!(message = %row.id, why, "an inbound message could not be opened");
                None
            }
        }
    }

    fn number(&self, id: Uuid) -> Result<Option<u64>, StoreError> {
        let row = self.settings.get(Kind::InboundId, id.as_bytes())?;
        row.map(|row| decode(&row, || format!("inbound message {id}"))).transpose()
    }
}

/// A row, if it can be read: one that cannot must not stand in the way of all others.
fn readable(number: u64, row: &[u8]) -> Option<InboundRow> {
    let row = InboundRow::decode(row);
    row.inspect_err(|error| tracing::error!(number, %error, "an inbound message cannot be read"))
        .ok()
}

fn number_of(key: &[u8]) -> Result<u64, StoreError> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| StoreError::Corrupt {
        place: format!("an inbound message under a key of {} bytes", key.len()),
        problem: "the key has not the 8 bytes of a number".to_owned(),
    })
}

impl fmt::Debug for InboundMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InboundMessages")
    }
}
