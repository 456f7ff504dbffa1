//! Contents that are old enough: their keys are destroyed so long after their workflow's end.
//!
//! Nothing is written to the journal for it. A pass goes through the files of keys, one after the other, and looks of each
//! key that is left at whose it is, and whether that has ended and when. Each file remembers when its next key can be due.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use dispatch_contract::UnixMillis;

use super::{ContentsKeeper, Family, NoteError, SlotError, owners};
use crate::{
    machine::WorkflowId,
    store::{KeySlot, Reader, TenantTag, WorkflowEnd},
};

/// A workflow that the store does not know, and whose id is so old, was never made, or is forgotten. A younger one may be on
/// its way into the journal.
const UNKNOWN_FOR: Duration = Duration::from_secs(3600);
/// A file is looked at no oftener than this, and than each hundredth of the shortest time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Keys are given out of the newest file; what was made at the same time may have its key in the one before.
const FILLING: usize = 2;

/// How long contents are kept after their workflow's end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentsRetention {
    /// Of tenants without a time of their own.
    pub usual: Duration,
    /// Of a tenant, by name.
    pub tenants: BTreeMap<Arc<str>, Duration>,
}

/// Goes through the keys of workflows, and destroys those that are due.
#[derive(Debug, Default)]
pub struct AgePass {
    kept: ContentsRetention,
    /// When each file is to be looked at again; at once, if it is not there.
    next_look: BTreeMap<u32, UnixMillis>,
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgedOut {
    /// How many keys it destroyed.
    pub keys: usize,
    /// Whether there may be more to do already: its time was up.
    pub has_more: bool,
    /// The first failure, of the disk or of a store that could not be read. Nothing else waits for it, and it is tried again.
    pub failed: Option<NoteError>,
}

impl ContentsRetention {
    fn shortest(&self) -> Duration {
        self.tenants.values().copied().fold(self.usual, Duration::min)
    }

    /// How long those of a workflow are kept, that is of a tenant with this tag. `None` if it is forgotten meanwhile.
    fn of(
        &self,
        tenant: TenantTag,
        id: WorkflowId,
        reader: &dyn Reader,
    ) -> Result<Option<Duration>, NoteError> {
        if !self.tenants.keys().any(|name| TenantTag::of(name) == tenant) {
            return Ok(Some(self.usual));
        }
        // Two tenants may have one tag.
        let record = reader.record(id)?;
        Ok(record.map(|record| self.tenants.get(&record.tenant).copied().unwrap_or(self.usual)))
    }
}

impl AgePass {
    /// Looks at the files whose time it is, until that has taken as long as `budget`; at one file at least.
    pub fn run(
        &mut self,
        keeper: &ContentsKeeper,
        reader: &dyn Reader,
        now: UnixMillis,
        kept: &ContentsRetention,
        budget: Duration,
    ) -> AgedOut {
        if self.kept != *kept {
            *self = AgePass { kept: kept.clone(), next_look: BTreeMap::new() };
        }
        let (began, mut looked, mut aged) = (Instant::now(), 0, AgedOut::default());
        let segments = keeper.keys.segments(Family::Workflow);
        self.next_look.retain(|segment, _| segments.contains(segment));
        for (place, segment) in segments.iter().enumerate() {
            if self.next_look.get(segment).is_some_and(|next| now < *next) {
                continue;
            }
            if looked > 0 && began.elapsed() >= budget {
                aged.has_more = true;
                break;
            }
            looked += 1;
            let is_filling = place + FILLING >= segments.len();
            let look = Look { keeper, reader, now, kept: &self.kept };
            let Seen { due, next, failed } = look.at(*segment, is_filling);
            let destroyed = keeper.keys.destroy(Family::Workflow, &due);
            let soon = now.plus(look.rest());
            let next = if destroyed.is_ok() { next } else { soon };
            aged.keys += if destroyed.is_ok() { due.len() } else { 0 };
            aged.failed = aged.failed.or(failed).or(destroyed.err().map(NoteError::Keys));
            self.next_look.insert(*segment, next);
        }
        aged
    }
}

struct Look<'a> {
    keeper: &'a ContentsKeeper,
    reader: &'a dyn Reader,
    now: UnixMillis,
    kept: &'a ContentsRetention,
}

/// What was seen in a segment.
struct Seen {
    /// The keys that are due.
    due: Vec<KeySlot>,
    /// When it is to be looked at again.
    next: UnixMillis,
    failed: Option<NoteError>,
}

impl Look<'_> {
    /// For so long a segment is left alone.
    fn rest(&self) -> Duration {
        LOOK_EVERY.max(self.kept.shortest() / 100)
    }

    fn at(&self, segment: u32, is_filling: bool) -> Seen {
        let never = UnixMillis(u64::MAX);
        let soon = self.now.plus(self.rest());
        let owned = match self.keeper.keys.owned(Family::Workflow, segment) {
            Ok(owned) => owned,
            Err(error @ SlotError::Io(_)) => {
                return Seen { due: Vec::new(), next: soon, failed: Some(error.into()) };
            }
            // Told at the start; nothing in it can be destroyed.
            Err(_) => return Seen { due: Vec::new(), next: never, failed: None },
        };
        let (mut due, mut failed) = (Vec::new(), None);
        // What has not ended yet is due so much later at the earliest.
        let not_before = self.now.plus(self.kept.shortest());
        let mut next = if is_filling { not_before } else { never };
        for (slot, owner) in owned {
            match self.due_at(owners::workflow(owner)) {
                Ok(Some(due_at)) if due_at <= self.now => due.push(slot),
                Ok(due_at) => next = next.min(due_at.unwrap_or(not_before)),
                // One that is damaged keeps its own contents alone.
                Err(error) => {
                    next = next.min(not_before);
                    failed = failed.or(Some(error));
                }
            }
        }
        Seen { due, next: next.max(soon), failed }
    }

    /// When a workflow's contents are due; `None` if it has not ended.
    fn due_at(&self, id: WorkflowId) -> Result<Option<UnixMillis>, NoteError> {
        let forgotten = id.made_at().plus(UNKNOWN_FOR);
        match self.reader.end_of(id)? {
            WorkflowEnd::Open => Ok(None),
            WorkflowEnd::Ended { at, tenant } => {
                let kept = self.kept.of(tenant, id, self.reader)?;
                Ok(Some(kept.map_or(forgotten, |kept| at.plus(kept))))
            }
            WorkflowEnd::Unknown => Ok(Some(forgotten)),
        }
    }
}

#[cfg(test)]
mod tests;
