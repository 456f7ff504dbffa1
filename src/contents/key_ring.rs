//! The keys in files: segments beside the store, in a folder of their own.
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
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aws_lc_rs::hmac::{self, HMAC_SHA256};

use super::{
    ContentKeys, Family, LastingKey, PersonTag, SlotError, SlotKey, Wrap,
    index_file::{self, IndexFile, LastingKeys},
    key_segment::{KeySegment, OwnerId, PageKeys, SlotNote},
    key_stock::{KeyStock, KeyTask},
    segment_header::PAGES,
    slot_key::mac,
};
use crate::{
    owned_files,
    store::{Cursor, Incarnation, KeySlot},
};

/// How often owners and traces are written.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// So many notes wait in memory; who brings another writes them first.
const NOTES: usize = 1 << 16;
/// So many files of each family stay open, the newest.
const OPEN_FILES: u32 = 16;

/// The keys in files. Dropped, it writes what it still has.
pub struct KeyRing {
    shared: Arc<SharedKeys>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

/// A folder of keys that was opened and gives out none yet.
pub struct OpenedKeys {
    shared: SharedKeys,
    maker: SegmentMaker,
    is_new: bool,
}

/// What a [`KeyRing`] has to tell of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFigures {
    /// How many segments there are, with those that cannot be read.
    pub segments: usize,
    /// How many of them cannot be read.
    pub unreadable: usize,
    /// How many pages were made.
    pub pages: u64,
    /// How often a key was waited for.
    pub waits: u64,
    /// How often pages could not be made, or notes not written.
    pub failures: u64,
    /// How many notes wait to be written.
    pub notes: usize,
    /// How many notes there was no room for: what is theirs is found once the next start has read the journal.
    pub lost_notes: u64,
}

struct SharedKeys {
    folder: PathBuf,
    wrap: Arc<dyn Wrap>,
    segments: RwLock<BTreeMap<(Family, u32), FoundSegment>>,
    stock: KeyStock,
    notes: Mutex<WaitingNotes>,
    /// Held by whoever writes notes.
    index: Mutex<IndexFile>,
    lasting: [hmac::Key; 2],
    pages: AtomicU64,
    failures: AtomicU64,
}

#[derive(Clone)]
enum FoundSegment {
    Open(Arc<KeySegment>),
    Unreadable(SlotError),
}

#[derive(Default)]
struct WaitingNotes {
    notes: Vec<(Family, SlotNote)>,
    /// Up to where the journal is noted with them.
    through: Option<Cursor>,
    lost: u64,
}

/// Of the thread that makes pages: which segment of each family has room, and what the next will be called.
struct SegmentMaker {
    filling: [Option<Arc<KeySegment>>; Family::ALL.len()],
    next: [u32; Family::ALL.len()],
}

impl KeyRing {
    /// Opens the folder at `folder`, or makes it, for a store of this incarnation.
    ///
    /// # Errors
    /// If the master key does not open it, it belongs to another store, its index is missing or damaged, or the disk
    /// fails. A segment that cannot be read is none: see [`OpenedKeys::unreadable`].
    pub fn open(
        folder: &Path,
        incarnation: Incarnation,
        wrap: Arc<dyn Wrap>,
    ) -> Result<OpenedKeys, SlotError> {
        make_folder(folder)?;
        let names = segment_names(folder)?;
        let opened = IndexFile::open(folder, &*wrap)?;
        let is_new = opened.is_none();
        if is_new && let Some((family, segment)) = names.first() {
            return Err(SlotError::Refused(format!(
                "{} has {} and no index: put the whole folder back, as it was, or restore a backup",
                folder.display(),
                family.file_name(*segment)
            )));
        }
        let (index, lasting) = match opened {
            Some(opened) => opened,
            None => IndexFile::create(folder, incarnation, &*wrap)?,
        };
        if index.state().incarnation != incarnation {
            return Err(SlotError::Refused(format!(
                "{} holds the keys of another store: put back the folder that belongs to this one",
                folder.display()
            )));
        }
        let mut maker = SegmentMaker { filling: Default::default(), next: index.state().next };
        let mut segments = BTreeMap::new();
        for (family, number) in names {
            let found = match KeySegment::open(folder, (family, number), &*wrap) {
                Ok(segment) => FoundSegment::Open(Arc::new(segment)),
                Err(error) => FoundSegment::Unreadable(error),
            };
            maker.found(family, number, &found);
            segments.insert((family, number), found);
            rest_before(&segments, family, number);
        }
        let shared = SharedKeys::new(folder, wrap, segments, index, &lasting);
        Ok(OpenedKeys { shared, maker, is_new })
    }

    /// What there is to tell of it.
    pub fn figures(&self) -> KeyFigures {
        let shared = &self.shared;
        let segments = shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        let is_unreadable = |found: &&FoundSegment| matches!(found, FoundSegment::Unreadable(_));
        let notes = shared.notes();
        KeyFigures {
            segments: segments.len(),
            unreadable: segments.values().filter(is_unreadable).count(),
            pages: shared.pages.load(Ordering::Relaxed),
            waits: shared.stock.waits(),
            failures: shared.failures.load(Ordering::Relaxed),
            notes: notes.notes.len(),
            lost_notes: notes.lost,
        }
    }

    /// Gives out nothing more, and writes durably what it still has. Without it the next start reads more of
    /// the journal.
    ///
    /// # Errors
    /// If that could not be written.
    pub fn close(&self) -> Result<(), SlotError> {
        self.shared.stock.close();
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
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
        self.shared.index().state().cursor
    }

    /// Whether there was none before.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The segments that cannot be read, and why. What their keys sealed cannot be opened.
    pub fn unreadable(&self) -> Vec<SlotError> {
        let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        let unreadable = segments.values().filter_map(|found| match found {
            FoundSegment::Unreadable(error) => Some(error.clone()),
            FoundSegment::Open(_) => None,
        });
        unreadable.collect()
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
            self.shared.folder.display(),
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
        self.shared.notes().through = Some(cursor);
    }

    fn find(
        &self,
        family: Family,
        addresses: &[&str],
    ) -> Result<Vec<(KeySlot, OwnerId)>, SlotError> {
        self.shared.write_notes(false)?;
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
        folder: &Path,
        wrap: Arc<dyn Wrap>,
        segments: BTreeMap<(Family, u32), FoundSegment>,
        index: IndexFile,
        lasting: &LastingKeys,
    ) -> SharedKeys {
        SharedKeys {
            folder: folder.to_owned(),
            wrap,
            segments: RwLock::new(segments),
            stock: KeyStock::new(),
            notes: Mutex::default(),
            index: Mutex::new(index),
            lasting: lasting.map(|key| hmac::Key::new(HMAC_SHA256, &key)),
            pages: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
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
                // Whatever fails: this number is used.
                maker.next[position] = next;
                let at = (family, number);
                let (segment, keys) = KeySegment::create(&self.folder, at, &*self.wrap, count)?;
                self.index().change(true, |state| state.next[position] = next)?;
                let segment = Arc::new(segment);
                let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
                segments.insert(at, FoundSegment::Open(Arc::clone(&segment)));
                rest_before(&segments, family, number);
                (segment, keys)
            }
        };
        self.pages.fetch_add(keys.len() as u64, Ordering::Relaxed);
        maker.filling[position] = Some(segment);
        Ok(keys)
    }

    fn add_note(&self, family: Family, note: SlotNote) {
        let mut waiting = self.notes();
        if waiting.notes.len() >= NOTES {
            drop(waiting);
            // Told where it is tried each second.
            let _ = self.write_notes(false);
            waiting = self.notes();
            if waiting.notes.len() >= NOTES {
                waiting.lost += 1;
                return;
            }
        }
        waiting.notes.push((family, note));
    }

    /// Writes what waits, then up to where that is complete.
    fn write_notes(&self, is_last: bool) -> Result<(), SlotError> {
        let mut index = self.index();
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
            match segment.note(&notes).and_then(|()| segment.sync()) {
                Ok(()) => {}
                // A file that is gone since it was opened is lost too.
                Err(SlotError::Lost(..)) => {}
                Err(error) => {
                    failed = Err(error);
                    left.extend(notes.into_iter().map(|note| (family, note)));
                }
            }
        }
        let mut waiting = self.notes();
        if failed.is_err() {
            waiting.notes.splice(0..0, left);
            waiting.through = waiting.through.or(through);
            return failed;
        }
        let is_complete = waiting.lost == 0;
        drop(waiting);
        let cursor = through.filter(|_| is_complete).unwrap_or(index.state().cursor);
        index.change(is_last, |state| state.cursor = state.cursor.max(cursor))
    }

    fn destroy(&self, family: Family, slots: &[KeySlot]) -> Result<(), SlotError> {
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

    // What is held is whole, whatever panicked.
    fn notes(&self) -> MutexGuard<'_, WaitingNotes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> MutexGuard<'_, IndexFile> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SegmentMaker {
    /// Takes a segment that is there into account; the newest of a family is the last to be told.
    fn found(&mut self, family: Family, number: u32, found: &FoundSegment) {
        let position = family.position();
        self.next[position] = self.next[position].max(number.saturating_add(1));
        self.filling[position] = match found {
            FoundSegment::Open(segment) => Some(Arc::clone(segment)),
            FoundSegment::Unreadable(_) => None,
        };
    }
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

fn make_folder(folder: &Path) -> Result<(), SlotError> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    owned_files::make_folder(folder)
        .and_then(|()| File::open(parent.unwrap_or(Path::new(".")))?.sync_all())
        .map_err(|error| SlotError::io("cannot make the folder", folder, &error))
}

/// The segments in a folder, in order; rests of what was cut off are removed.
fn segment_names(folder: &Path) -> Result<BTreeSet<(Family, u32)>, SlotError> {
    let failed = |error: io::Error| SlotError::io("cannot read", folder, &error);
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        match name.strip_suffix(".new") {
            Some(of) if of == index_file::NAME || Family::of_file_name(of).is_some() => {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
            Some(_) | None => found.extend(Family::of_file_name(name)),
        }
    }
    Ok(found)
}
