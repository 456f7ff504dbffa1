//! The keys in files: segments beside the store, in a [folder](KeyFolder) of their own, on the disk or in rows.
//!
//! A thread of its own makes pages before they are needed, and writes once a second whose the slots are. A key
//! is given out from memory, and read from its file.
//!
//! **No slot twice.** A start begins a new page: it does not know which slots of the last pages were given out
//! for work that a crash undid, and whose sealed bytes may still lie somewhere. A number of a segment is never
//! used again either. What cannot be seen from here is whether the folder is older than the store; the
//! caller tells which slots records use ([`OpenedKeys::begin`]), and a folder that knows less is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aws_lc_rs::hmac::{self, HMAC_SHA256};

use super::{
    ContentKeys, Family, LastingKey, PersonTag, SlotError, SlotKey, Wrap, WrapError,
    index_file::{self, IndexFile, LastingKeys},
    key_segment::{KeySegment, OwnerId, PageKeys, SlotNote},
    key_stock::{KeyStock, KeyTask},
    segment_header::PAGES,
    slot_key::mac,
};
use crate::store::{Cursor, FileAccess, KeyFolder, KeySlot, StoreLives};

/// How often owners and traces are written.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// So many notes wait in memory: of what the store can create in some seconds. What is more is lost, and made again of
/// the journal.
const NOTES: usize = 1 << 17;
/// So many files of each family stay open, the newest.
const OPEN_FILES: u32 = 16;
/// So many files are told of as missing; of more, too, no key can be had.
const MOST_MISSING: usize = 4096;

/// Which files of keys are missing or cannot be read, and why.
pub type UnreadableKeys = BTreeMap<(Family, u32), SlotError>;

/// The keys in files. Dropped, it writes what it still has.
pub struct KeyRing {
    shared: Arc<SharedKeys>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

/// A folder of keys that was opened and gives out none yet.
pub struct OpenedKeys {
    shared: SharedKeys,
    maker: SegmentMaker,
    cursor: Cursor,
    is_new: bool,
}

/// What a [`KeyRing`] has to tell of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFigures {
    /// How many segments there are, with those that are missing or cannot be read.
    pub segments: usize,
    /// How many of them are missing or cannot be read.
    pub unreadable: usize,
    /// How often a key was waited for.
    pub waits: u64,
    /// How often pages could not be made, or notes not written.
    pub failures: u64,
    /// How many notes wait to be written.
    pub notes: usize,
    /// How many notes there was no room for.
    pub lost_notes: u64,
}

struct SharedKeys {
    folder: Arc<dyn KeyFolder>,
    wrap: Arc<dyn Wrap>,
    segments: RwLock<BTreeMap<(Family, u32), FoundSegment>>,
    stock: KeyStock,
    notes: Mutex<WaitingNotes>,
    /// Held by whoever writes notes. `None` if nothing is written.
    index: Option<Mutex<IndexFile>>,
    lasting: [hmac::Key; 2],
    /// Held while a segment is made, until it is among the others.
    making: Mutex<()>,
    /// When the folder was opened: of each family, behind the numbers of all segments that were ever made.
    made_before: [u32; Family::ALL.len()],
    failures: AtomicU64,
}

#[derive(Clone)]
pub(super) enum FoundSegment {
    Open(Arc<KeySegment>),
    Unreadable(SlotError),
}

impl FoundSegment {
    /// Whether it is missing or cannot be read, also since it was opened: these files are there.
    fn is_unreadable(&self, names: Option<&BTreeSet<String>>) -> bool {
        match self {
            FoundSegment::Open(segment) => names.is_some_and(|it| segment.is_lost(it)),
            FoundSegment::Unreadable(_) => true,
        }
    }
}

#[derive(Default)]
struct WaitingNotes {
    notes: Vec<(Family, SlotNote)>,
    /// Up to where the journal is noted with them.
    through: Option<Cursor>,
    lost: u64,
}

/// What there is in a folder.
struct FoundFolder {
    index: Option<(IndexFile, LastingKeys)>,
    segments: BTreeMap<(Family, u32), FoundSegment>,
}

/// Of the thread that makes pages: which segment of each family has room, and what the next will be called.
struct SegmentMaker {
    filling: [Option<Arc<KeySegment>>; Family::ALL.len()],
    next: [u32; Family::ALL.len()],
}

impl KeyRing {
    /// Opens the folder, or makes it, for this store. One that belongs to a former life of the store
    /// belongs to this one from then on.
    ///
    /// # Errors
    /// If the master key does not open it, it belongs to another store, its index is missing or damaged, or what keeps it
    /// fails. A segment that cannot be read is none: see [`OpenedKeys::expect`].
    pub fn open(
        folder: Arc<dyn KeyFolder>,
        store: &StoreLives,
        wrap: Arc<dyn Wrap>,
    ) -> Result<OpenedKeys, SlotError> {
        folder
            .prepare()
            .map_err(|error| SlotError::io("cannot make the folder", &folder.place(), &error))?;
        let mut found = FoundFolder::read(&folder, store, &*wrap, FileAccess::Overwrite)?;
        let is_new = found.index.is_none();
        let (mut index, lasting) = match found.index.take() {
            Some(opened) => opened,
            None => IndexFile::create(&*folder, store.incarnation, &*wrap)?,
        };
        if index.state().incarnation != store.incarnation {
            index.change(true, |state| {
                state.incarnation = store.incarnation;
                // What the former life did later is not here, and other rows will have its numbers.
                state.cursor = state.cursor.min(store.newest);
            })?;
        }
        let cursor = index.state().cursor;
        let maker = SegmentMaker::of(&found.segments, index.state().next);
        let stock = KeyStock::new(maker.first_slots());
        let index = Some(Mutex::new(index));
        let found = (found.segments, maker.next);
        let shared = SharedKeys::new(folder, wrap, found, (stock, index), &lasting);
        Ok(OpenedKeys { shared, maker, cursor, is_new })
    }

    /// Opens the folder to read it, on a disk that may be full: nothing is written, no key is given out and none is
    /// destroyed. One that is not there has no keys.
    ///
    /// # Errors
    /// As [`KeyRing::open`].
    pub fn open_to_read(
        folder: Arc<dyn KeyFolder>,
        store: &StoreLives,
        wrap: Arc<dyn Wrap>,
    ) -> Result<KeyRing, SlotError> {
        let found = FoundFolder::read(&folder, store, &*wrap, FileAccess::Read)?;
        let (next, lasting) = match found.index {
            Some((index, lasting)) => (index.state().next, lasting),
            None => (Default::default(), index_file::no_lasting_keys()?),
        };
        let stock = KeyStock::closed(SlotError::ReadOnly);
        let made_before = SegmentMaker::of(&found.segments, next).next;
        let found = (found.segments, made_before);
        let shared = SharedKeys::new(folder, wrap, found, (stock, None), &lasting);
        Ok(KeyRing { shared: Arc::new(shared), worker: Mutex::new(None) })
    }

    /// As [`OpenedKeys::expect`].
    pub fn expect(&self, from: &[(Family, u32)]) -> UnreadableKeys {
        self.shared.expect(from)
    }

    /// How many files there are whose secrets are sealed.
    pub fn sealed(&self) -> u64 {
        let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.len() as u64 + u64::from(!self.shared.is_read_only())
    }

    /// Seals the secret of each file anew, with the master key that is current now, and tells of each whether it
    /// could be opened. Cut off anywhere, each file opens with the key of before or the one of now; to be done
    /// again is no error.
    ///
    /// # Errors
    /// The first failure, if a file may still need the key of before; the others were sealed anew all the same.
    pub fn seal_anew(&self, tell: &dyn Fn(bool)) -> Result<(), SlotError> {
        let wrap = &*self.shared.wrap;
        let mut failed = self.shared.index()?.seal_anew(wrap);
        tell(failed.is_ok());
        // One that is being made may be sealed with the key of before, and is not among them yet.
        drop(lock(&self.shared.making));
        for ((family, number), segment) in self.shared.all_segments() {
            let sealed = match segment {
                FoundSegment::Open(segment) => segment.seal_anew(wrap),
                FoundSegment::Unreadable(_) => {
                    KeySegment::seal_file_anew(&self.shared.folder, (family, number), wrap)
                }
            };
            tell(sealed.is_ok());
            match sealed {
                // Nothing in it that a key would open.
                Ok(()) | Err(SlotError::Lost(..) | SlotError::Damaged { .. }) => {}
                Err(SlotError::Sealed {
                    why: WrapError::OtherKey | WrapError::Damaged, ..
                }) => {}
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed
    }

    /// Retires the segments of a family before this one: nothing that is kept was sealed with a key of theirs. Returns
    /// how many. A file that cannot be read stays; one that is missing is not missed any more.
    ///
    /// # Errors
    /// The first failure; the others were retired all the same.
    pub fn retire_before(&self, family: Family, segment: u32) -> Result<usize, SlotError> {
        let shared = &self.shared;
        drop(shared.index()?);
        let (mut retired, mut failed) = (0, Ok(()));
        let is_missing =
            |found: &FoundSegment| matches!(found, FoundSegment::Unreadable(SlotError::Lost(..)));
        let mut segments = shared.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.retain(|(of, number), found| {
            *of != family || *number >= segment || !is_missing(found)
        });
        drop(segments);
        for segment in shared.open_segments(family).into_iter().filter(|it| it.number() < segment) {
            match segment.retire() {
                Ok(()) | Err(SlotError::Lost(..)) => {
                    let at = (family, segment.number());
                    let mut segments =
                        shared.segments.write().unwrap_or_else(PoisonError::into_inner);
                    segments.remove(&at);
                    retired += 1;
                }
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed.map(|()| retired)
    }

    pub(super) fn folder(&self) -> &dyn KeyFolder {
        &*self.shared.folder
    }

    pub(super) fn found(&self, family: Family, segment: u32) -> Option<FoundSegment> {
        let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.get(&(family, segment)).cloned()
    }

    /// The slot from which on none was given out.
    pub(super) fn not_given(&self, family: Family) -> KeySlot {
        self.shared.stock.not_given(family)
    }

    /// The index as it stands in its file.
    pub(super) fn index_image(&self) -> Result<Vec<u8>, SlotError> {
        let _writing = self.shared.index.as_ref().map(lock);
        index_file::image(&*self.shared.folder)
    }

    /// What there is to tell of it.
    pub fn figures(&self) -> KeyFigures {
        let shared = &self.shared;
        let names = shared.names();
        let segments = shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        let notes = shared.notes();
        KeyFigures {
            segments: segments.len(),
            unreadable: segments
                .values()
                .filter(|found| found.is_unreadable(names.as_ref()))
                .count(),
            waits: shared.stock.waits(),
            failures: shared.failures.load(Ordering::Relaxed),
            notes: notes.notes.len(),
            lost_notes: notes.lost,
        }
    }

    /// What it holds, by what it is called: for a metric.
    pub fn tables(&self) -> [(&'static str, usize); 3] {
        let KeyFigures { segments, unreadable, notes, .. } = self.figures();
        [("key_segments", segments), ("unreadable_key_segments", unreadable), ("key_notes", notes)]
    }

    /// Gives out nothing more, and writes durably what it still has. Without it the next start reads more of
    /// the journal.
    ///
    /// # Errors
    /// If that could not be written.
    pub fn close(&self) -> Result<(), SlotError> {
        self.shared.stock.close();
        let worker = lock(&self.worker).take();
        // It panics nowhere; if it did, its panic was told.
        let has_ended = worker.is_some_and(|worker| worker.join().is_ok());
        if has_ended { self.shared.write_notes(true) } else { Ok(()) }
    }

    /// Ends as a killed process does: what is not written stays so.
    #[cfg(test)]
    pub(super) fn kill(self) {
        self.shared.stock.close();
        let worker = self.worker.lock().unwrap().take();
        worker.unwrap().join().unwrap();
    }
}

impl Drop for KeyRing {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "whose keys are was not written; the next start finds out");
        }
    }
}

impl OpenedKeys {
    /// Up to where in the journal it is written whose the slots are: what records behind it use, [`OpenedKeys::begin`] is
    /// to be told, and they are to be noted once more.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Whether there was none before.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Of these families, all files from these numbers on should be there: they are made one after the other, and taken
    /// away from the oldest on. Returns which of the folder are missing, and which cannot be read: what their keys sealed
    /// cannot be opened.
    pub fn expect(&self, from: &[(Family, u32)]) -> UnreadableKeys {
        self.shared.expect(from)
    }

    /// Whether a key is there: not if it was destroyed.
    ///
    /// # Errors
    /// If its file is missing or cannot be read.
    pub fn has_key(&self, family: Family, slot: KeySlot) -> Result<bool, SlotError> {
        Ok(self.shared.segment(family, slot)?.key(slot)?.is_some())
    }

    /// Begins to give out keys. `used` are the highest slots that records and rows have, of those behind
    /// [`OpenedKeys::cursor`] at least.
    ///
    /// # Errors
    /// If one of them is of a page that this folder does not have: then the folder is older than the store.
    pub fn begin(self, used: &[(Family, KeySlot)]) -> Result<KeyRing, SlotError> {
        for (family, slot) in used {
            self.is_known(*family, *slot)?;
        }
        let shared = Arc::new(self.shared);
        let of_worker = Arc::clone(&shared);
        let mut maker = self.maker;
        let worker = thread::Builder::new()
            .name("content-keys".to_owned())
            .spawn(move || of_worker.work(&mut maker))
            .map_err(|error| SlotError::Io(format!("cannot start a thread: {error}")))?;
        Ok(KeyRing { shared, worker: Mutex::new(Some(worker)) })
    }

    fn is_known(&self, family: Family, slot: KeySlot) -> Result<(), SlotError> {
        let is_known = match self.shared.segment(family, slot) {
            Ok(segment) => segment.counts(slot),
            // One that is lost or damaged is known, and told elsewhere.
            Err(SlotError::Lost(..)) => slot.segment() < self.maker.next[family.position()],
            Err(SlotError::NotGiven(..)) => false,
            Err(_) => true,
        };
        if is_known {
            return Ok(());
        }
        Err(SlotError::Refused(format!(
            "{} is older than the store beside it: it lacks the key at {} {}. Put back the folder that \
             belongs to the store, or restore a backup",
            self.shared.folder.place(),
            family.letter(),
            slot.0
        )))
    }
}

impl ContentKeys for KeyRing {
    fn try_take(&self, family: Family) -> Option<(KeySlot, SlotKey)> {
        self.shared.stock.try_take(family)
    }

    fn take(&self, family: Family) -> Result<(KeySlot, SlotKey), SlotError> {
        self.shared.stock.take(family)
    }

    fn key(&self, family: Family, slot: KeySlot) -> Result<Option<SlotKey>, SlotError> {
        self.shared.segment(family, slot)?.key(slot)
    }

    fn destroy(&self, family: Family, slots: &[KeySlot]) -> Result<(), SlotError> {
        self.shared.destroy(family, slots)
    }

    fn tags(
        &self,
        family: Family,
        slot: KeySlot,
        addresses: &[&str],
    ) -> Result<Box<[PersonTag]>, SlotError> {
        let segment = self.shared.segment(family, slot)?;
        let tags: BTreeSet<_> = addresses.iter().map(|address| segment.tag(address)).collect();
        Ok(tags.into_iter().collect())
    }

    fn note(&self, family: Family, slot: KeySlot, owner: OwnerId, tags: Box<[PersonTag]>) {
        self.shared.add_note(family, SlotNote { slot, owner, tags });
    }

    fn noted_through(&self, cursor: Cursor) {
        let mut waiting = self.shared.notes();
        waiting.through = waiting.through.max(Some(cursor));
    }

    fn noted(&self) -> Cursor {
        self.shared.index().map_or(Cursor(0), |index| index.state().cursor)
    }

    fn lost_notes(&self) -> u64 {
        self.shared.notes().lost
    }

    fn segments(&self, family: Family) -> Vec<u32> {
        let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.range((family, 0)..=(family, u32::MAX)).map(|((_, number), _)| *number).collect()
    }

    fn owned(&self, family: Family, segment: u32) -> Result<Vec<(KeySlot, OwnerId)>, SlotError> {
        self.shared.segment(family, KeySlot::new(segment, 0))?.owned()
    }

    fn unreadable_segments(&self, family: Family) -> usize {
        let names = self.shared.names();
        let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        let of_family = segments.range((family, 0)..=(family, u32::MAX));
        of_family.filter(|(_, found)| found.is_unreadable(names.as_ref())).count()
    }

    fn find(
        &self,
        family: Family,
        addresses: &[&str],
    ) -> Result<Vec<(KeySlot, OwnerId)>, SlotError> {
        if !self.shared.is_read_only() {
            self.shared.write_notes(false)?;
        }
        let mut found = Vec::new();
        for segment in self.shared.open_segments(family) {
            found.extend(segment.find(addresses)?);
        }
        Ok(found)
    }

    fn lasting_hash(&self, key: LastingKey, data: &[u8]) -> [u8; 32] {
        let position = match key {
            LastingKey::OptOuts => 0,
            LastingKey::Pseudonyms => 1,
        };
        mac(&self.shared.lasting[position], &[data])
    }
}

impl SharedKeys {
    fn new(
        folder: Arc<dyn KeyFolder>,
        wrap: Arc<dyn Wrap>,
        (segments, made_before): (BTreeMap<(Family, u32), FoundSegment>, [u32; Family::ALL.len()]),
        (stock, index): (KeyStock, Option<Mutex<IndexFile>>),
        lasting: &LastingKeys,
    ) -> SharedKeys {
        SharedKeys {
            folder,
            wrap,
            segments: RwLock::new(segments),
            stock,
            notes: Mutex::default(),
            index,
            lasting: lasting.map(|key| hmac::Key::new(HMAC_SHA256, &key)),
            making: Mutex::default(),
            made_before,
            failures: AtomicU64::new(0),
        }
    }

    fn expect(&self, from: &[(Family, u32)]) -> UnreadableKeys {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        for (family, from) in from {
            let numbers = *from..self.made_before[family.position()];
            let missing = numbers.filter(|number| !segments.contains_key(&(*family, *number)));
            for number in missing.take(MOST_MISSING).collect::<Vec<_>>() {
                let lost = SlotError::Lost(*family, KeySlot::new(number, 0));
                segments.insert((*family, number), FoundSegment::Unreadable(lost));
            }
        }
        let unreadable = segments.iter().filter_map(|(at, found)| match found {
            FoundSegment::Unreadable(error) => Some((*at, error.clone())),
            FoundSegment::Open(_) => None,
        });
        unreadable.collect()
    }

    /// Makes pages and writes notes, until it is closed.
    fn work(&self, maker: &mut SegmentMaker) {
        let mut write_at = Instant::now() + WRITE_EVERY;
        loop {
            match self.stock.next_task(write_at) {
                KeyTask::Make(family, count) => {
                    let made = self.make(maker, family, count);
                    if let Err(error) = &made {
                        self.failures.fetch_add(1, Ordering::Relaxed);
                        tracing::error!(%error, "no keys could be made");
                    }
                    self.stock.made(family, made);
                }
                KeyTask::Write => {
                    if let Err(error) = self.write_notes(false) {
                        self.failures.fetch_add(1, Ordering::Relaxed);
                        tracing::error!(%error, "whose keys are could not be written");
                    }
                    write_at = Instant::now() + WRITE_EVERY;
                }
                KeyTask::Stop => return,
            }
        }
    }

    /// Makes up to so many pages, at least one.
    fn make(
        &self,
        maker: &mut SegmentMaker,
        family: Family,
        count: u8,
    ) -> Result<Vec<PageKeys>, SlotError> {
        let position = family.position();
        let filling = maker.filling[position].take().filter(|segment| segment.pages() < PAGES);
        let (segment, keys) = match filling {
            // Where it fails, no more is written to that file.
            Some(segment) => {
                let keys = segment.add_pages(count)?;
                (segment, keys)
            }
            None => {
                let number = maker.next[position];
                let next = number.checked_add(1).ok_or_else(|| {
                    SlotError::Refused("there is no number left for a file of keys".to_owned())
                })?;
                let at = (family, number);
                let _making = lock(&self.making);
                // Where it fails the next try has the same number: none that was made is ever missing.
                let (segment, keys) = KeySegment::create(&self.folder, at, &*self.wrap, count)?;
                // Whatever fails from now on: this one is used.
                maker.next[position] = next;
                let segment = Arc::new(segment);
                {
                    // Known from now on, whatever fails: a change of the master key must find it.
                    let mut segments =
                        self.segments.write().unwrap_or_else(PoisonError::into_inner);
                    segments.insert(at, FoundSegment::Open(Arc::clone(&segment)));
                    rest_before(&segments, family, number);
                }
                self.index()?.change(true, |state| state.next[position] = next)?;
                (segment, keys)
            }
        };
        maker.filling[position] = Some(segment);
        Ok(keys)
    }

    fn add_note(&self, family: Family, note: SlotNote) {
        if self.is_read_only() {
            return;
        }
        let mut waiting = self.notes();
        if waiting.notes.len() >= NOTES {
            waiting.lost += 1;
            return;
        }
        waiting.notes.push((family, note));
    }

    /// Writes what waits, then up to where that is complete.
    fn write_notes(&self, is_last: bool) -> Result<(), SlotError> {
        let mut index = self.index()?;
        let (notes, through) = {
            let mut waiting = self.notes();
            (std::mem::take(&mut waiting.notes), waiting.through.take())
        };
        let mut by_segment: BTreeMap<(Family, u32), Vec<SlotNote>> = BTreeMap::new();
        for (family, note) in notes {
            by_segment.entry((family, note.slot.segment())).or_default().push(note);
        }
        let mut failed = Ok(());
        let mut left = Vec::new();
        for ((family, number), notes) in by_segment {
            // What is lost or cannot be read is found by nobody.
            let Ok(segment) = self.segment(family, KeySlot::new(number, 0)) else { continue };
            match segment.note(&notes) {
                Ok(()) => {}
                // A file that is gone since it was opened is lost too.
                Err(SlotError::Lost(..)) => {}
                Err(error) => {
                    failed = Err(error);
                    left.extend(notes.into_iter().map(|note| (family, note)));
                }
            }
        }
        if failed.is_err() {
            let mut waiting = self.notes();
            waiting.notes.splice(0..0, left);
            waiting.through = waiting.through.max(through);
            return failed;
        }
        let Some(cursor) = through.or(is_last.then_some(Cursor(0))) else { return Ok(()) };
        index.change(is_last, |state| state.cursor = state.cursor.max(cursor))
    }

    fn destroy(&self, family: Family, slots: &[KeySlot]) -> Result<(), SlotError> {
        if self.is_read_only() {
            return Err(SlotError::ReadOnly);
        }
        let mut by_segment: BTreeMap<u32, BTreeSet<KeySlot>> = BTreeMap::new();
        let mut failed = Ok(());
        for slot in slots {
            // A key that is yet to be given out must not be dead then.
            if self.stock.holds(family, *slot) {
                failed = Err(SlotError::NotGiven(family, *slot));
            } else {
                by_segment.entry(slot.segment()).or_default().insert(*slot);
            }
        }
        // What is being written now looks whether its slot is there.
        self.notes().notes.retain(|(of, note)| {
            let slots = by_segment.get(&note.slot.segment());
            *of != family || !slots.is_some_and(|slots| slots.contains(&note.slot))
        });
        for slots in by_segment.values() {
            let Some(first) = slots.first() else { continue };
            let destroyed = match self.segment(family, *first) {
                Ok(segment) => segment.destroy(slots),
                Err(error) => Err(error),
            };
            match destroyed {
                Ok(()) | Err(SlotError::Lost(..)) => {}
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed
    }

    fn segment(&self, family: Family, slot: KeySlot) -> Result<Arc<KeySegment>, SlotError> {
        if KeySlot::new(slot.segment(), slot.index()) != slot {
            return Err(SlotError::NotGiven(family, slot));
        }
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        match segments.get(&(family, slot.segment())) {
            Some(FoundSegment::Open(segment)) => Ok(Arc::clone(segment)),
            Some(FoundSegment::Unreadable(error)) => Err(error.clone()),
            None => Err(SlotError::Lost(family, slot)),
        }
    }

    fn all_segments(&self) -> BTreeMap<(Family, u32), FoundSegment> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn open_segments(&self, family: Family) -> Vec<Arc<KeySegment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let of_family = segments.range((family, 0)..=(family, u32::MAX));
        of_family
            .filter_map(|(_, found)| match found {
                FoundSegment::Open(segment) => Some(Arc::clone(segment)),
                FoundSegment::Unreadable(_) => None,
            })
            .collect()
    }

    /// The files that are there; `None` if that cannot be told now.
    fn names(&self) -> Option<BTreeSet<String>> {
        self.folder.names().ok().map(Option::unwrap_or_default)
    }

    fn notes(&self) -> MutexGuard<'_, WaitingNotes> {
        lock(&self.notes)
    }

    fn index(&self) -> Result<MutexGuard<'_, IndexFile>, SlotError> {
        let index = self.index.as_ref().ok_or(SlotError::ReadOnly)?;
        Ok(lock(index))
    }

    fn is_read_only(&self) -> bool {
        self.index.is_none()
    }
}

impl FoundFolder {
    /// One that is not there has nothing.
    fn read(
        folder: &Arc<dyn KeyFolder>,
        store: &StoreLives,
        wrap: &dyn Wrap,
        access: FileAccess,
    ) -> Result<FoundFolder, SlotError> {
        let names = folder
            .names()
            .map_err(|error| SlotError::io("cannot read", &folder.place(), &error))?;
        let names: BTreeSet<_> =
            names.iter().flatten().filter_map(|it| Family::of_file_name(it)).collect();
        let index = IndexFile::open(&**folder, wrap, access)?;
        if let (None, Some((family, segment))) = (&index, names.first()) {
            return Err(SlotError::Refused(format!(
                "{} has {} and no index: put the whole folder back, as it was, or restore a backup",
                folder.place(),
                family.file_name(*segment)
            )));
        }
        let of = index.as_ref().map_or(store.incarnation, |(index, _)| index.state().incarnation);
        if of != store.incarnation && !store.former.contains(&of) {
            return Err(SlotError::Refused(format!(
                "{} holds the keys of another store: put back the folder that belongs to this one",
                folder.place()
            )));
        }
        let mut segments = BTreeMap::new();
        for (family, number) in names {
            let found = match KeySegment::open(folder, (family, number), wrap, access) {
                Ok(segment) => FoundSegment::Open(Arc::new(segment)),
                // What may be mended from outside is not to cost every message that it seals.
                Err(error @ SlotError::Io(_)) if access == FileAccess::Overwrite => {
                    return Err(error);
                }
                Err(error) => FoundSegment::Unreadable(error),
            };
            segments.insert((family, number), found);
            rest_before(&segments, family, number);
        }
        Ok(FoundFolder { index, segments })
    }
}

impl SegmentMaker {
    /// Where these are there, and the index says that so many were made.
    fn of(
        found: &BTreeMap<(Family, u32), FoundSegment>,
        next: [u32; Family::ALL.len()],
    ) -> SegmentMaker {
        let mut maker = SegmentMaker { filling: Default::default(), next };
        for ((family, number), segment) in found {
            maker.found(*family, *number, segment);
        }
        maker
    }

    /// Takes a segment that is there into account; the newest of a family is the last to be told.
    fn found(&mut self, family: Family, number: u32, found: &FoundSegment) {
        let position = family.position();
        self.next[position] = self.next[position].max(number.saturating_add(1));
        self.filling[position] = match found {
            FoundSegment::Open(segment) if !segment.is_gone() => Some(Arc::clone(segment)),
            FoundSegment::Open(_) | FoundSegment::Unreadable(_) => None,
        };
    }

    /// From which slot of each family on keys will be made.
    fn first_slots(&self) -> [KeySlot; Family::ALL.len()] {
        Family::ALL.map(|family| match &self.filling[family.position()] {
            Some(segment) => segment.behind(),
            None => KeySlot::new(self.next[family.position()], 0),
        })
    }
}

// What is held is whole, whatever panicked.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes the file of the one that is no longer among the newest.
fn rest_before(segments: &BTreeMap<(Family, u32), FoundSegment>, family: Family, newest: u32) {
    let oldest = newest.checked_sub(OPEN_FILES);
    if let Some(FoundSegment::Open(segment)) =
        oldest.and_then(|number| segments.get(&(family, number)))
    {
        segment.rest();
    }
}
