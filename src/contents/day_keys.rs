//! What conversations are called: hashes under the key of the day on which a call began.
//!
//! A provider that tells of a whole conversation names the person, so what was sent is found by them. What stands for
//! them in the store is keyed, and each day has a key of its own, which is destroyed once nothing of that day is kept:
//! then nobody can try any more whether it was a certain person, in old bytes of the store's file neither.
//!
//! The writer has no part in keys: hashes are made by whoever hands it something.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use dispatch_contract::{ChannelSender, Endpoint, UnixMillis};

use super::{Family, LastingKey, RowKeeper, SlotError, SlotKey, row_keeper};
use crate::{
    machine::MAX_PLANNED_LIFE,
    store::{KeySlot, Kind, NameHash, Reader, SettingChange, Settings, StoreError, decode, encode},
};

/// A day, in milliseconds of engine time.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// No call is out for longer (`routes.timeout_s`).
pub const LONGEST_CALL: Duration = Duration::from_secs(310);
/// For how many days a day's key is kept at most: what is open waits for nothing older.
const MOST_DAYS: u64 = MAX_PLANNED_LIFE.as_secs() / (24 * 60 * 60) + 10;
/// The row that says where the key of each day is.
const ROW: &[u8] = b"days of conversations";

/// The keys of days.
pub struct DayKeys {
    settings: Arc<dyn Settings>,
    rows: RowKeeper,
    /// By number: whole days of engine time.
    days: RwLock<BTreeMap<u64, DayKey>>,
    /// One change at a time.
    changing: Mutex<()>,
}

/// The key of a day.
#[derive(Clone)]
struct DayKey {
    slot: KeySlot,
    /// `None` if it cannot be read. It may come back, and is to be destroyed in its time all the same.
    key: Option<SlotKey>,
}

/// What a conversation is called, for a call that began on a certain day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallConversation {
    /// As it is remembered while the process lives; never stored.
    pub remembered: NameHash,
    /// As it is stored.
    pub stored: NameHash,
}

/// What a conversation is called, whenever its calls began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyConversation {
    /// As it is remembered while the process lives; never stored.
    pub remembered: NameHash,
    /// As it is stored, by days, the newest first.
    pub stored: Vec<StoredOnDay>,
}

/// What a conversation is called in the store, for calls that began on a certain day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredOnDay {
    /// When that day began, in engine time.
    pub from: UnixMillis,
    /// When it is over, in engine time.
    pub until: UnixMillis,
    /// The hash.
    pub hash: NameHash,
}

impl DayKeys {
    /// Those that `settings` name, of `rows`, which is of [`Family::Day`].
    ///
    /// # Errors
    /// If the store or the disk cannot be read.
    pub fn open(settings: Arc<dyn Settings>, rows: RowKeeper) -> Result<DayKeys, StoreError> {
        let listed = listed(&*settings)?;
        let (mut days, mut lost) = (BTreeMap::new(), None);
        for (day, slot) in listed {
            let key = match rows.keys.key(Family::Day, slot) {
                Ok(Some(key)) => Some(key),
                // A death came between its end and that this was written down.
                Ok(None) => continue,
                Err(SlotError::Io(problem)) => return Err(StoreError::Io(problem)),
                Err(error) => {
                    let (_, count) = lost.unwrap_or((error.clone(), 0));
                    lost = Some((error, count + 1));
                    None
                }
            };
            days.insert(day, DayKey { slot, key });
        }
        if let Some((error, days)) = lost {
            tracing::error!(
                days, %error,
                "what conversations were called on some days cannot be read; what providers tell of whole conversations \
                 does not reach the messages of those days"
            );
        }
        let (days, changing) = (RwLock::new(days), Mutex::new(()));
        Ok(DayKeys { settings, rows, days, changing })
    }

    /// What a conversation is called for a call that began then, if there is a key of that day.
    pub fn known(
        &self,
        sender: &ChannelSender,
        recipient: &Endpoint,
        began: UnixMillis,
    ) -> Option<CallConversation> {
        let stored = hash(self.days().get(&day_of(began))?.key.as_ref()?, sender, recipient);
        Some(CallConversation { remembered: self.remembered(sender, recipient), stored })
    }

    /// The same. Waits for the disk where the day has no key yet.
    ///
    /// # Errors
    /// If none could be made.
    pub fn of_call(
        &self,
        sender: &ChannelSender,
        recipient: &Endpoint,
        began: UnixMillis,
    ) -> Result<CallConversation, StoreError> {
        let stored = hash(&self.make(began)?, sender, recipient);
        Ok(CallConversation { remembered: self.remembered(sender, recipient), stored })
    }

    /// Whether there is a key of each day on which a call may have begun that is out now.
    pub fn has_those_of_calls_out(&self, now: UnixMillis) -> bool {
        let days = self.days();
        let has = |at| days.get(&day_of(at)).is_some_and(|day: &DayKey| day.key.is_some());
        days_of_calls_out(now).into_iter().all(has)
    }

    /// Makes those that there are none of. Waits for the disk.
    ///
    /// # Errors
    /// If one could not be made.
    pub fn make_those_of_calls_out(&self, now: UnixMillis) -> Result<(), StoreError> {
        days_of_calls_out(now).into_iter().try_for_each(|at| self.make(at).map(drop))
    }

    /// The key of the day; made, if there is none.
    fn make(&self, at: UnixMillis) -> Result<SlotKey, StoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (day, mut days) = (day_of(at), self.days().clone());
        if let Some(key) = days.get(&day).and_then(|day| day.key.as_ref()) {
            return Ok(key.clone());
        }
        let taken = self.rows.keys.take(Family::Day);
        let (slot, key) = taken.map_err(|error| StoreError::Io(error.to_string()))?;
        days.insert(day, DayKey { slot, key: Some(key.clone()) });
        self.settings.write(vec![listing(&days)?, self.rows.used(slot)?])?;
        self.put(days);
        Ok(key)
    }

    /// What a conversation is called on each day that has a key. Whoever hands it on has seen to
    /// [those of calls that are out](Self::make_those_of_calls_out): their answers may come before it.
    pub fn of_any(&self, sender: &ChannelSender, recipient: &Endpoint) -> AnyConversation {
        let days = self.days();
        let stored = days.iter().rev().filter_map(|(day, of_day)| {
            let hash = hash(of_day.key.as_ref()?, sender, recipient);
            let (from, until) = (UnixMillis(day * DAY_MS), UnixMillis((day + 1) * DAY_MS));
            Some(StoredOnDay { from, until, hash })
        });
        AnyConversation { remembered: self.remembered(sender, recipient), stored: stored.collect() }
    }

    /// Destroys the keys of days that were over before anything began that is kept: nobody looks under them any more. A key
    /// goes as well when it is older than whatever an open workflow may wait for. Returns how many.
    ///
    /// # Errors
    /// If the store cannot be read or written, or keys not be destroyed; to be done again then.
    pub fn trim(&self, reader: &dyn Reader, now: UnixMillis) -> Result<usize, StoreError> {
        let oldest = self.days().keys().next().copied();
        if oldest.is_none_or(|oldest| oldest >= day_of(now)) {
            return Ok(0);
        }
        let before = match reader.entries(None, 1) {
            Ok(kept) => kept.first().map_or(now, |kept| kept.record.created_at.engine.min(now)),
            // What is damaged keeps them no longer than anything else may.
            Err(StoreError::Corrupt { .. }) => UnixMillis(0),
            Err(error) => return Err(error),
        };
        let before = day_of(before).max(day_of(now).saturating_sub(MOST_DAYS));
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = self.days().clone();
        let kept = gone.split_off(&before);
        let gone: Vec<_> = gone.values().map(|day| day.slot).collect();
        if gone.is_empty() {
            return Ok(0);
        }
        self.rows.destroy(&gone)?;
        self.settings.write(vec![listing(&kept)?])?;
        self.put(kept);
        Ok(gone.len())
    }

    /// Where the oldest key is.
    pub fn oldest_key(&self) -> Option<KeySlot> {
        self.days().values().map(|day| day.slot).min()
    }

    /// What it holds, by what it is called: for a metric.
    pub fn tables(&self) -> [(&'static str, usize); 1] {
        [("conversation_days", self.days().len())]
    }

    fn days(&self) -> RwLockReadGuard<'_, BTreeMap<u64, DayKey>> {
        self.days.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, days: BTreeMap<u64, DayKey>) {
        *self.days.write().unwrap_or_else(PoisonError::into_inner) = days;
    }

    fn remembered(&self, sender: &ChannelSender, recipient: &Endpoint) -> NameHash {
        let names = ["conversation", sender.channel.as_str(), &sender.id, recipient.value()];
        self.rows.hash(LastingKey::Pseudonyms, &names)
    }
}

/// A call that is out now began on one of these days, which are mostly the same.
fn days_of_calls_out(now: UnixMillis) -> [UnixMillis; 2] {
    [now.minus(LONGEST_CALL), now]
}

fn day_of(at: UnixMillis) -> u64 {
    at.0 / DAY_MS
}

/// Where the keys of days are, the oldest first.
///
/// # Errors
/// If the store cannot be read.
pub fn day_key_slots(settings: &dyn Settings) -> Result<Vec<KeySlot>, StoreError> {
    Ok(listed(settings)?.into_iter().map(|(_, slot)| slot).collect())
}

/// Each day that has a key, and where that is.
fn listed(settings: &dyn Settings) -> Result<Vec<(u64, KeySlot)>, StoreError> {
    let row = settings.get(Kind::Service, ROW)?;
    let row = row.map(|row| decode(&row, || "the days of conversations".to_owned()));
    Ok(row.transpose()?.unwrap_or_default())
}

fn listing(days: &BTreeMap<u64, DayKey>) -> Result<SettingChange, StoreError> {
    let listed: Vec<_> = days.iter().map(|(day, DayKey { slot, .. })| (*day, *slot)).collect();
    Ok(SettingChange::put(Kind::Service, ROW, encode(&listed)?))
}

fn hash(key: &SlotKey, sender: &ChannelSender, recipient: &Endpoint) -> NameHash {
    let names = row_keeper::framed(&[sender.channel.as_str(), &sender.id, recipient.value()]);
    row_keeper::shortened(&key.derived(b"conversation 1", &names))
}

impl fmt::Debug for DayKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DayKeys({})", self.days().len())
    }
}
