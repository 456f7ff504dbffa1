//! Keys that are ready to be given out, and who waits for more.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Family, SlotError, SlotKey, key_segment::PageKeys, segment_header::PAGES};
use crate::store::KeySlot;

/// How long after a failure pages are made beforehand again. Who waits for one is not kept so long.
const REST: Duration = Duration::from_secs(1);

/// Keys that are ready, by family.
pub(super) struct KeyStock {
    state: Mutex<StockState>,
    /// There is something to make, or to end.
    wanted: Condvar,
    /// There is something to take, or there will be nothing.
    made: Condvar,
}

struct StockState {
    families: [FamilyStock; Family::ALL.len()],
    /// Why nothing is given out any more.
    closed: Option<SlotError>,
}

struct FamilyStock {
    ready: VecDeque<PageKeys>,
    /// Slots are given out in order: this one was not, and none behind it.
    not_given: KeySlot,
    /// How many pages are to be ready at least, and how many now, with the one that is in use.
    least: usize,
    target: usize,
    /// Somebody took a key, or will.
    is_used: bool,
    /// Somebody waits for one that is yet to be begun.
    is_awaited: bool,
    /// Somebody had to wait since pages were made last.
    has_waited: bool,
    waits: u64,
    /// How often making was begun.
    begun: u64,
    failed: Option<Failed>,
}

/// The last time that pages could not be made.
struct Failed {
    at: Instant,
    /// Which attempt it was.
    number: u64,
    why: SlotError,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyTask {
    /// So many pages are to be made.
    Make(Family, u8),
    /// It is time to write.
    Write,
    /// Nothing any more.
    Stop,
}

impl FamilyStock {
    /// Workflows come by the thousand; of opt-outs and days a page lasts for long, and waits a few
    /// milliseconds to be made.
    fn new(family: Family, not_given: KeySlot) -> FamilyStock {
        let least = match family {
            Family::Workflow => 3,
            Family::Inbound => 2,
            Family::OptOut | Family::Day => 0,
        };
        FamilyStock {
            ready: VecDeque::new(),
            not_given,
            least,
            target: least,
            is_used: family == Family::Workflow,
            is_awaited: false,
            has_waited: false,
            waits: 0,
            begun: 0,
            failed: None,
        }
    }

    /// The next key, and whether that was the last of its page.
    fn next(&mut self) -> Option<((KeySlot, SlotKey), bool)> {
        let page = self.ready.front_mut()?;
        let taken = page.take()?;
        let is_last = page.left() == 0;
        self.not_given = KeySlot(taken.0.0 + 1);
        if is_last {
            self.ready.pop_front();
        }
        self.is_used = true;
        Some((taken, is_last))
    }

    /// How many pages are to be made now.
    fn missing(&self, now: Instant) -> u8 {
        let is_resting =
            self.failed.as_ref().is_some_and(|failed| now.duration_since(failed.at) < REST);
        let wanted = if self.is_awaited {
            self.target.max(1)
        } else if is_resting || !self.is_used {
            0
        } else {
            self.target
        };
        wanted.saturating_sub(self.ready.len()).min(usize::from(PAGES)) as u8
    }
}

impl KeyStock {
    /// One that gives out slots of each family from these on.
    pub(super) fn new(first: [KeySlot; Family::ALL.len()]) -> KeyStock {
        KeyStock::of(first, None)
    }

    /// One that gives out nothing, for this reason.
    pub(super) fn closed(why: SlotError) -> KeyStock {
        KeyStock::of([KeySlot(u64::MAX); Family::ALL.len()], Some(why))
    }

    fn of(first: [KeySlot; Family::ALL.len()], closed: Option<SlotError>) -> KeyStock {
        let families = Family::ALL.map(|family| FamilyStock::new(family, first[family.position()]));
        KeyStock {
            state: Mutex::new(StockState { families, closed }),
            wanted: Condvar::new(),
            made: Condvar::new(),
        }
    }

    /// The next key, if one is ready.
    pub(super) fn try_take(&self, family: Family) -> Option<(KeySlot, SlotKey)> {
        let mut state = self.state();
        let (taken, is_last) = state.families[family.position()].next()?;
        drop(state);
        if is_last {
            self.wanted.notify_one();
        }
        Some(taken)
    }

    /// The next key; waits until one is ready, or could not be made.
    pub(super) fn take(&self, family: Family) -> Result<(KeySlot, SlotKey), SlotError> {
        if let Some(taken) = self.try_take(family) {
            return Ok(taken);
        }
        let mut state = self.state();
        let stock = &mut state.families[family.position()];
        stock.waits += 1;
        stock.has_waited = true;
        let begun = stock.begun;
        loop {
            if let Some(why) = &state.closed {
                return Err(why.clone());
            }
            let stock = &mut state.families[family.position()];
            if let Some((taken, is_last)) = stock.next() {
                if is_last {
                    self.wanted.notify_one();
                }
                return Ok(taken);
            }
            // One that was begun before says nothing of now.
            if let Some(failed) = stock.failed.as_ref().filter(|failed| failed.number > begun) {
                return Err(failed.why.clone());
            }
            stock.is_used = true;
            stock.is_awaited = true;
            self.wanted.notify_one();
            state = self.made.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What is to be done, once there is something; writing at `write_at` at the latest.
    pub(super) fn next_task(&self, write_at: Instant) -> KeyTask {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            if state.closed.is_some() {
                return KeyTask::Stop;
            }
            if now >= write_at {
                return KeyTask::Write;
            }
            // Who waits comes first.
            let families = Family::ALL.into_iter().zip(&mut state.families);
            let missing = families.filter(|(_, stock)| stock.missing(now) > 0);
            if let Some((family, stock)) = missing.max_by_key(|(_, stock)| stock.is_awaited) {
                let count = stock.missing(now);
                stock.is_awaited = false;
                stock.begun += 1;
                return KeyTask::Make(family, count);
            }
            let waited = self.wanted.wait_timeout(state, write_at - now);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes in what was made, or why it was not.
    pub(super) fn made(&self, family: Family, made: Result<Vec<PageKeys>, SlotError>) {
        let mut state = self.state();
        let stock = &mut state.families[family.position()];
        match made {
            Ok(pages) => {
                stock.ready.extend(pages.into_iter().filter(|page| page.left() > 0));
                stock.failed = None;
                // The more at once the fewer syncs, for as long as they are needed so quickly.
                let target = if stock.has_waited {
                    stock.target * 2
                } else {
                    stock.target.saturating_sub(1)
                };
                stock.target = target
                    .clamp(stock.least, stock.least.max(usize::from(PAGES).min(stock.least * 4)));
                stock.has_waited = false;
            }
            Err(error) => {
                let number = stock.begun;
                stock.failed = Some(Failed { at: Instant::now(), number, why: error });
            }
        }
        self.made.notify_all();
    }

    /// Whether a slot is ready and was not given out.
    pub(super) fn holds(&self, family: Family, slot: KeySlot) -> bool {
        self.state().families[family.position()].ready.iter().any(|page| page.holds(slot))
    }

    /// The slot from which on none was given out.
    pub(super) fn not_given(&self, family: Family) -> KeySlot {
        self.state().families[family.position()].not_given
    }

    /// How often a key was waited for.
    pub(super) fn waits(&self) -> u64 {
        self.state().families.iter().map(|stock| stock.waits).sum()
    }

    /// Gives out nothing more; who waits hears of it.
    pub(super) fn close(&self) {
        self.state().closed.get_or_insert(SlotError::Closed);
        self.wanted.notify_all();
        self.made.notify_all();
    }

    // What is held is whole, whatever panicked.
    fn state(&self) -> MutexGuard<'_, StockState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
