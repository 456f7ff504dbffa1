//! The audit log: who did which administrative act to what, and when.
//!
//! Rows in place whose keys grow with time; the oldest give way to the newest. No secret, no
//! recipient's number and no text of a message stands in it.

use dispatch_contract::UnixMillis;
use serde::{Deserialize, Serialize};

use super::Caller;
use crate::store::{Kind, SettingChange, Settings, StoreError, decode, encode};

/// How many acts are kept.
pub const AUDIT_MOST: usize = 10_000;
/// How many rows are read at once.
const ROWS: usize = 1000;

/// An act. Kept as a setting of [`Kind::Audit`], under its time and a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// When, in milliseconds of the Unix epoch, by the wall clock.
    pub at_ms: u64,
    /// Whose data it concerned.
    pub tenant: String,
    /// Who did it: a key's id, an application's, or `anonymous`.
    pub who: String,
    /// What, in the past tense, as in `key.created`.
    pub what: String,
    /// To what: an id, mostly.
    pub target: String,
}

/// Where the log ends.
#[derive(Default)]
pub(super) struct Audit {
    /// How many rows there are and the newest's key, once they were counted.
    counted: Option<(usize, Key)>,
}

/// A time in milliseconds and a number, both big-endian, so that keys sort as the acts came.
type Key = [u8; 12];

impl Audit {
    /// The changes that write an act down; they belong into one write with what it changed.
    pub(super) fn changes(
        &mut self,
        settings: &dyn Settings,
        caller: &Caller,
        tenant: &str,
        (what, target): (&'static str, &str),
        now: UnixMillis,
    ) -> Result<Vec<SettingChange>, StoreError> {
        let (count, newest) = match self.counted {
            Some(counted) => counted,
            None => count(settings)?,
        };
        let key = behind(newest, now);
        let act = Act {
            at_ms: now.0,
            tenant: tenant.to_owned(),
            who: caller.name.to_string(),
            what: what.to_owned(),
            target: target.to_owned(),
        };
        let mut changes = vec![SettingChange::put(Kind::Audit, key, encode(&act)?)];
        let too_many = (count + 1).saturating_sub(AUDIT_MOST);
        let oldest = settings.list(Kind::Audit, None, too_many)?;
        let dropped = oldest.len();
        changes.extend(oldest.into_iter().map(|(key, _)| SettingChange::remove(Kind::Audit, key)));
        self.counted = Some((count + 1 - dropped, key));
        Ok(changes)
    }
}

/// Acts, newest first, of one tenant or of all; at most `limit`.
pub(super) fn newest(
    settings: &dyn Settings,
    tenant: Option<&str>,
    limit: usize,
) -> Result<Vec<Act>, StoreError> {
    let mut acts = Vec::new();
    each_page(settings, |rows| {
        for (key, row) in rows {
            let act: Act = decode(row, || format!("audit row {key:02x?}"))?;
            if tenant.is_none_or(|tenant| tenant == act.tenant) {
                acts.push(act);
            }
        }
        Ok(())
    })?;
    acts.reverse();
    acts.truncate(limit);
    Ok(acts)
}

fn count(settings: &dyn Settings) -> Result<(usize, Key), StoreError> {
    let (mut count, mut newest) = (0, Key::default());
    each_page(settings, |rows| {
        count += rows.len();
        if let Some((last, _)) = rows.last() {
            newest = last.as_slice().try_into().unwrap_or(newest);
        }
        Ok(())
    })?;
    Ok((count, newest))
}

fn each_page(
    settings: &dyn Settings,
    mut see: impl FnMut(&[(Vec<u8>, Vec<u8>)]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = settings.list(Kind::Audit, after.as_deref(), ROWS)?;
        see(&rows)?;
        match rows.last() {
            Some((last, _)) if rows.len() == ROWS => after = Some(last.clone()),
            Some(_) | None => return Ok(()),
        }
    }
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
    use crate::store::{MemoryStore, Store};

    #[test]
    fn the_oldest_give_way_and_a_clock_set_back_changes_no_order() {
        let settings = MemoryStore::new().settings();
        let mut audit = Audit::default();
        let note = |audit: &mut Audit, target: &str, ms| {
            let caller = Caller::anonymous();
            let what = ("key.created", target);
            let changes = audit.changes(&*settings, &caller, "default", what, UnixMillis(ms));
            settings.note(changes.unwrap()).unwrap();
        };
        for at in 0..AUDIT_MOST + 5 {
            note(&mut audit, &at.to_string(), 1000);
        }
        // As after a restart.
        let mut audit = Audit::default();
        note(&mut audit, "late", 5);
        let acts = newest(&*settings, None, AUDIT_MOST * 2).unwrap();
        assert_eq!(acts.len(), AUDIT_MOST);
        assert_eq!(acts[0].target, "late");
        assert_eq!(acts.last().unwrap().target, "6");
        assert_eq!(newest(&*settings, Some("other"), 10), Ok(Vec::new()));
    }
}
