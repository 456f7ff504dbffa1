//! A key segment: a file of up to 16,384 slots, each of which holds the key of one workflow or one row.
//!
//! ```text
//!        0  header, in two copies                                        segment_header.rs
//!    4,096  page 0, and each 122,880 bytes the next, up to eight:
//!      +      0  slots    2,048 × 32   random when made, and masked; zeros: gone
//!      + 65,536  owners   2,048 × 16   whose the slot is; zeros: nobody's, or gone
//!      + 98,304  traces   4,096 × 6    index + 1 (u16) · tag (u32) of one address; zeros: free
//!  987,136  traces that found no room in their page, 4,096 × 6 at a time
//! ```
//!
//! A slot on the disk is masked: `key = slot XOR HMAC(secret, family ‖ segment ‖ index)`. The secret stands in
//! the header, sealed with the master key: who has the file alone has no key.
//!
//! **Order.** A page is written and synced, then the header that counts it is written and synced, and only then
//! is one of its slots given out. So a key that something was sealed with is on the disk. What stands behind the
//! pages that count was never given out, and is overwritten.
//!
//! **Gone.** A slot is destroyed by zeros, in place, and a sync; so are its owner and its traces. Owners and
//! traces are notes for finding slots: nothing is opened with them, and they are written a little later.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use aws_lc_rs::{
    hmac::{self, HMAC_SHA256},
    rand,
};

use super::{
    Family, PersonTag, SlotError, SlotKey, Wrap, WrapError,
    segment_file::SegmentFile,
    segment_header::{PAGES, SECTOR, SegmentHeader},
    slot_key::{KEY_BYTES, Masked, mac},
};
use crate::store::{FileAccess, KEY_BLOCK, KEY_FILE_BYTES, KeyFolder, KeySlot};

/// How many slots a page has.
pub(super) const PAGE_SLOTS: usize = 2048;
/// Whose a slot is: the id of a workflow, or of a row.
pub type OwnerId = [u8; OWNER];

const OWNER: usize = 16;
const TRACE: usize = 6;
const PAGE_TRACES: usize = 4096;
/// Where the columns of a page begin, and how long it is.
const OWNERS_AT: usize = PAGE_SLOTS * KEY_BYTES;
const TRACES_AT: usize = OWNERS_AT + PAGE_SLOTS * OWNER;
const TRACES_BYTES: usize = PAGE_TRACES * TRACE;
const PAGE_BYTES: usize = TRACES_AT + TRACES_BYTES;
const PAGES_AT: u64 = 4096;
const MORE_TRACES_AT: u64 = PAGES_AT + PAGES as u64 * PAGE_BYTES as u64;
/// Room for 32 addresses of each slot.
const MOST_MORE_TRACES: u64 = 120;
// In rows each block holds slots alone, or owners, or traces; and both headers are in one.
const _: () = assert!(
    PAGES_AT as usize == KEY_BLOCK
        && PAGE_BYTES.is_multiple_of(KEY_BLOCK)
        && OWNERS_AT.is_multiple_of(KEY_BLOCK)
        && TRACES_AT.is_multiple_of(KEY_BLOCK)
        && KEY_BLOCK.is_multiple_of(KEY_BYTES)
        && KEY_BLOCK.is_multiple_of(OWNER)
);

/// One segment's file.
pub(super) struct KeySegment {
    at: SegmentPlace,
    secrets: Secrets,
    /// Held by whoever writes.
    header: Mutex<SegmentHeader>,
    /// As the header says; read without waiting for whoever writes.
    pages: AtomicU8,
    /// As the header said when it was opened.
    is_gone: bool,
    access: FileAccess,
    /// `None` while it rests: then it is opened for each use.
    file: Mutex<Option<SegmentFile>>,
}

/// Which file a segment is.
#[derive(Clone)]
struct SegmentPlace {
    folder: Arc<dyn KeyFolder>,
    family: Family,
    number: u32,
}

/// The keys of a page that was made, to be given out in order.
pub(super) struct PageKeys {
    first: KeySlot,
    keys: Vec<Masked>,
    next: usize,
}

/// Whose a slot is, and which addresses belong to it.
#[derive(Clone)]
pub(super) struct SlotNote {
    pub(super) slot: KeySlot,
    pub(super) owner: OwnerId,
    pub(super) tags: Box<[PersonTag]>,
}

/// What the header has sealed: the keys of the mask and of the tags.
struct Secrets {
    mask: hmac::Key,
    tags: hmac::Key,
}

impl Secrets {
    const BYTES: usize = 2 * KEY_BYTES;

    fn of(bytes: &[u8; Secrets::BYTES]) -> Secrets {
        let key = |bytes: &[u8]| hmac::Key::new(HMAC_SHA256, bytes);
        Secrets { mask: key(&bytes[..KEY_BYTES]), tags: key(&bytes[KEY_BYTES..]) }
    }

    /// The key of what stands in a slot, or what stands there of the key: either way.
    fn masked(&self, family: Family, slot: KeySlot, of: &Masked) -> Masked {
        let (segment, index) = (slot.segment().to_le_bytes(), slot.index().to_le_bytes());
        let mut masked = mac(&self.mask, &[&[family.letter() as u8], &segment, &index]);
        for (byte, other) in masked.iter_mut().zip(of) {
            *byte ^= other;
        }
        masked
    }

    /// Fills new pages with what is random, the first of them of this number.
    fn new_pages(
        &self,
        at: &SegmentPlace,
        first: u8,
        pages: &mut [u8],
    ) -> Result<Vec<PageKeys>, SlotError> {
        let mut made = Vec::with_capacity(pages.len() / PAGE_BYTES);
        for (page, image) in (first..).zip(pages.chunks_exact_mut(PAGE_BYTES)) {
            let slots = &mut image[..OWNERS_AT];
            rand::fill(slots).map_err(|_| at.sealed(WrapError::Failed))?;
            let first = KeySlot::new(at.number, u16::from(page) * PAGE_SLOTS as u16);
            let keys = slots
                .as_chunks()
                .0
                .iter()
                .zip(first.0..)
                .map(|(masked, slot)| self.masked(at.family, KeySlot(slot), masked));
            made.push(PageKeys { first, keys: keys.collect(), next: 0 });
        }
        Ok(made)
    }
}

impl SegmentPlace {
    fn new(folder: &Arc<dyn KeyFolder>, (family, number): (Family, u32)) -> SegmentPlace {
        SegmentPlace { folder: Arc::clone(folder), family, number }
    }

    fn name(&self) -> String {
        self.family.file_name(self.number)
    }

    /// What it is called in messages.
    fn called(&self) -> String {
        self.folder.place_of(&self.name())
    }

    fn open(&self, access: FileAccess) -> io::Result<SegmentFile> {
        SegmentFile::open(&*self.folder, &self.name(), access)
    }

    fn io(&self, what: &str, error: &io::Error) -> SlotError {
        SlotError::io(what, &self.called(), error)
    }

    /// What a failure says of a file that was there.
    fn failed(&self, what: &str, error: &io::Error) -> SlotError {
        match error.kind() {
            io::ErrorKind::NotFound => SlotError::Lost(self.family, KeySlot::new(self.number, 0)),
            _ => self.io(what, error),
        }
    }

    fn sealed(&self, why: WrapError) -> SlotError {
        SlotError::sealed(&self.called(), why)
    }

    fn damaged(&self, problem: impl Into<String>) -> SlotError {
        SlotError::damaged(&self.called(), problem)
    }
}

impl PageKeys {
    /// The next that was not given out. It is not kept here.
    pub(super) fn take(&mut self) -> Option<(KeySlot, SlotKey)> {
        let key = std::mem::take(self.keys.get_mut(self.next)?);
        let slot = KeySlot(self.first.0 + self.next as u64);
        self.next += 1;
        Some((slot, SlotKey::new(key)))
    }

    /// How many there are still.
    pub(super) fn left(&self) -> usize {
        self.keys.len() - self.next
    }

    /// Whether the slot is one of those that were not given out.
    pub(super) fn holds(&self, slot: KeySlot) -> bool {
        let range = self.first.0 + self.next as u64..self.first.0 + self.keys.len() as u64;
        range.contains(&slot.0)
    }
}

impl KeySegment {
    /// A new one with so many pages, durable when this returns.
    pub(super) fn create(
        folder: &Arc<dyn KeyFolder>,
        (family, number): (Family, u32),
        wrap: &dyn Wrap,
        pages: u8,
    ) -> Result<(KeySegment, Vec<PageKeys>), SlotError> {
        let at = SegmentPlace::new(folder, (family, number));
        let mut secrets = [0; Secrets::BYTES];
        rand::fill(&mut secrets).map_err(|_| at.sealed(WrapError::Failed))?;
        let mut made = None;
        wrap.seal(&place(family, number), &secrets, &mut |sealed| {
            let sealed = sealed.to_vec();
            let header = SegmentHeader {
                family,
                segment: number,
                generation: 0,
                pages,
                is_gone: false,
                sealed,
            };
            made = Some(KeySegment::put(at.clone(), header, Secrets::of(&secrets))?);
            Ok(())
        })?;
        made.ok_or_else(|| at.sealed(WrapError::Failed))
    }

    fn put(
        at: SegmentPlace,
        header: SegmentHeader,
        secrets: Secrets,
    ) -> Result<(KeySegment, Vec<PageKeys>), SlotError> {
        let copy = header.encode().ok_or_else(|| at.sealed(WrapError::Failed))?;
        let pages = header.pages;
        let mut image = vec![0; page_at(pages) as usize];
        image[..2 * SECTOR].copy_from_slice(&[copy, copy].concat());
        let keys = secrets.new_pages(&at, 0, &mut image[PAGES_AT as usize..])?;
        let file = SegmentFile::put(&*at.folder, &at.name(), &image)
            .map_err(|error| at.io("cannot make", &error))?;
        let segment = KeySegment {
            at,
            secrets,
            header: Mutex::new(header),
            pages: AtomicU8::new(pages),
            is_gone: false,
            access: FileAccess::Overwrite,
            file: Mutex::new(Some(file)),
        };
        Ok((segment, keys))
    }

    /// The one that the file holds.
    ///
    /// # Errors
    /// If it is no segment, or another's, or its secret does not open.
    pub(super) fn open(
        folder: &Arc<dyn KeyFolder>,
        (family, number): (Family, u32),
        wrap: &dyn Wrap,
        access: FileAccess,
    ) -> Result<KeySegment, SlotError> {
        let at = SegmentPlace::new(folder, (family, number));
        let failed = |error: io::Error| at.io("cannot read", &error);
        let file = at.open(access).map_err(failed)?;
        let head = file.read_up_to(2 * SECTOR, 0).map_err(failed)?;
        let header =
            SegmentHeader::read(&head, family, number).map_err(|problem| at.damaged(problem))?;
        let length = file.length().map_err(failed)?;
        if length < page_at(header.pages) && !header.is_gone {
            let problem = format!("it is cut off: {length} bytes for {} pages", header.pages);
            return Err(at.damaged(problem));
        }
        let secrets = if header.is_gone {
            vec![0; Secrets::BYTES]
        } else {
            wrap.open(&place(family, number), &header.sealed).map_err(|why| at.sealed(why))?
        };
        let secrets = secrets
            .as_slice()
            .try_into()
            .map_err(|_| at.damaged("its secret has another length"))?;
        Ok(KeySegment {
            at,
            secrets: Secrets::of(secrets),
            pages: AtomicU8::new(header.pages),
            is_gone: header.is_gone,
            header: Mutex::new(header),
            access,
            file: Mutex::new(Some(file)),
        })
    }

    /// So many more pages, or as many as there is room for, durable when this returns. After an error this
    /// segment is not to be given another: nobody knows what the disk holds of it.
    pub(super) fn add_pages(&self, count: u8) -> Result<Vec<PageKeys>, SlotError> {
        let file = self.file()?;
        let mut header = self.header();
        let failed = |error: io::Error| self.at.failed("cannot write", &error);
        let pages = header.pages.saturating_add(count).min(PAGES);
        let first = header.pages;
        let mut image = vec![0; usize::from(pages - first) * PAGE_BYTES];
        let keys = self.secrets.new_pages(&self.at, first, &mut image)?;
        file.write(&image, page_at(first)).and_then(|()| file.sync()).map_err(failed)?;
        let counted = SegmentHeader { pages, generation: header.generation + 1, ..header.clone() };
        let copy = counted.encode().ok_or_else(|| self.at.sealed(WrapError::Failed))?;
        file.write(&copy, counted.place()).and_then(|()| file.sync()).map_err(failed)?;
        *header = counted;
        self.pages.store(pages, Ordering::Release);
        Ok(keys)
    }

    /// How many pages count.
    pub(super) fn pages(&self) -> u8 {
        self.pages.load(Ordering::Acquire)
    }

    /// Whether a slot may have been given out, or may be later: it stands in a page that counts.
    pub(super) fn counts(&self, slot: KeySlot) -> bool {
        page_of(slot) < self.pages()
    }

    /// The key of a slot; `None` if it is gone.
    pub(super) fn key(&self, slot: KeySlot) -> Result<Option<SlotKey>, SlotError> {
        if !self.counts(slot) {
            return Err(SlotError::NotGiven(self.at.family, slot));
        }
        if self.is_gone {
            return Ok(None);
        }
        let mut masked = [0; KEY_BYTES];
        self.file()?
            .read(&mut masked, slot_at(slot))
            .map_err(|error| self.at.failed("cannot read", &error))?;
        if masked == [0; KEY_BYTES] {
            return Ok(None);
        }
        Ok(Some(SlotKey::new(self.secrets.masked(self.at.family, slot, &masked))))
    }

    /// The tag of an address in this segment.
    pub(super) fn tag(&self, address: &str) -> PersonTag {
        PersonTag::of(&self.secrets.tags, address)
    }

    /// Destroys slots with their owners and traces, durably when this returns.
    pub(super) fn destroy(&self, slots: &BTreeSet<KeySlot>) -> Result<(), SlotError> {
        if let Some(slot) = slots.iter().find(|slot| !self.counts(**slot)) {
            return Err(SlotError::NotGiven(self.at.family, *slot));
        }
        let file = self.file()?;
        let _writing = self.header();
        if self.is_gone {
            return Ok(());
        }
        self.zero(&file, slots)
            .and_then(|()| file.sync())
            .map_err(|error| self.at.failed("cannot destroy keys in", &error))
    }

    fn zero(&self, file: &SegmentFile, slots: &BTreeSet<KeySlot>) -> io::Result<()> {
        for (first, count) in runs(slots) {
            file.write(&vec![0; count * KEY_BYTES], slot_at(first))?;
            file.write(&vec![0; count * OWNER], owner_at(first))?;
        }
        let pages: BTreeSet<u8> = slots.iter().map(|slot| page_of(*slot)).collect();
        let of_pages = pages.into_iter().map(traces_at);
        for at in of_pages.chain(self.more_traces(file)?) {
            rewrite(file, at, TRACES_BYTES, |traces| forget(traces, self.at.number, slots))?;
        }
        Ok(())
    }

    /// Writes whose slots are, durably when this returns; what was noted of one before is replaced. One that is gone stays so.
    pub(super) fn note(&self, notes: &[SlotNote]) -> Result<(), SlotError> {
        let file = self.file()?;
        let header = self.header();
        if self.is_gone {
            return Ok(());
        }
        for page in 0..header.pages {
            let notes: Vec<_> = notes.iter().filter(|note| page_of(note.slot) == page).collect();
            if !notes.is_empty() {
                self.note_page(&file, page, &notes)?;
            }
        }
        drop(header);
        file.sync().map_err(|error| self.at.failed("cannot sync", &error))
    }

    fn note_page(
        &self,
        file: &SegmentFile,
        page: u8,
        notes: &[&SlotNote],
    ) -> Result<(), SlotError> {
        let failed = |error: io::Error| self.at.failed("cannot write", &error);
        let mut slots = vec![0; OWNERS_AT];
        file.read(&mut slots, page_at(page)).map_err(failed)?;
        let is_there = |note: &SlotNote| {
            let at = within_page(note.slot) * KEY_BYTES;
            slots[at..at + KEY_BYTES] != [0; KEY_BYTES]
        };
        let mut again = BTreeSet::new();
        let owners_at = page_at(page) + OWNERS_AT as u64;
        rewrite(file, owners_at, PAGE_SLOTS * OWNER, |owners| {
            for note in notes.iter().filter(|note| is_there(note)) {
                let at = within_page(note.slot) * OWNER;
                let owner = &mut owners[at..at + OWNER];
                if *owner != [0; OWNER] {
                    again.insert(note.slot);
                }
                owner.copy_from_slice(&note.owner);
            }
        })
        .map_err(failed)?;
        let traces = notes
            .iter()
            .filter(|note| is_there(note))
            .flat_map(|note| note.tags.iter().map(|tag| trace(note.slot, *tag)));
        self.add_traces(file, page, &again, traces.collect())
    }

    /// Writes traces into their page, and where that has no room behind the pages.
    fn add_traces(
        &self,
        file: &SegmentFile,
        page: u8,
        again: &BTreeSet<KeySlot>,
        traces: Vec<[u8; TRACE]>,
    ) -> Result<(), SlotError> {
        let failed = |error: io::Error| self.at.failed("cannot write", &error);
        if !again.is_empty() {
            for at in self.more_traces(file).map_err(failed)? {
                rewrite(file, at, TRACES_BYTES, |traces| forget(traces, self.at.number, again))
                    .map_err(failed)?;
            }
        }
        let mut traces = traces.into_iter().peekable();
        let mut places = std::iter::once(traces_at(page)).chain((0..MOST_MORE_TRACES).map(more_at));
        while traces.peek().is_some() {
            let Some(at) = places.next() else {
                return Err(self.at.damaged("it has no room for more traces"));
            };
            rewrite(file, at, TRACES_BYTES, |area| {
                forget(area, self.at.number, again);
                for free in area.as_chunks_mut().0.iter_mut().filter(|it| **it == [0; TRACE]) {
                    let Some(trace) = traces.next() else { break };
                    *free = trace;
                }
            })
            .map_err(failed)?;
        }
        Ok(())
    }

    /// The slots that one of these addresses left a trace of, with whose they are. Others may be among them.
    pub(super) fn find(&self, addresses: &[&str]) -> Result<Vec<(KeySlot, OwnerId)>, SlotError> {
        let failed = |error: io::Error| self.at.failed("cannot read", &error);
        let file = self.file()?;
        if self.is_gone {
            return Ok(Vec::new());
        }
        let tags: Vec<PersonTag> = addresses.iter().map(|address| self.tag(address)).collect();
        let mut found = BTreeSet::new();
        let places = (0..self.pages()).map(traces_at);
        for at in places.chain(self.more_traces(&file).map_err(failed)?) {
            let area = file.read_up_to(TRACES_BYTES, at).map_err(failed)?;
            let traces =
                area.as_chunks::<TRACE>().0.iter().filter_map(|it| traced(self.at.number, it));
            found.extend(traces.filter(|(_, tag)| tags.contains(tag)).map(|(slot, _)| slot));
        }
        let with_owner = |slot: KeySlot| {
            let mut owner = [0; OWNER];
            file.read(&mut owner, owner_at(slot)).map_err(failed)?;
            Ok((slot, owner))
        };
        let found: Result<Vec<_>, SlotError> = found.into_iter().map(with_owner).collect();
        Ok(found?.into_iter().filter(|(_, owner)| *owner != [0; OWNER]).collect())
    }

    /// The slots that were noted as somebody's and are not gone, with whose they are.
    pub(super) fn owned(&self) -> Result<Vec<(KeySlot, OwnerId)>, SlotError> {
        let mut owned = Vec::new();
        if self.is_gone {
            return Ok(owned);
        }
        let file = self.file()?;
        let mut columns = vec![0; TRACES_AT];
        for page in 0..self.pages() {
            file.read(&mut columns, page_at(page))
                .map_err(|error| self.at.failed("cannot read", &error))?;
            let (slots, owners) = columns.split_at(OWNERS_AT);
            let slots = slots.as_chunks::<KEY_BYTES>().0.iter();
            let first = u16::from(page) * PAGE_SLOTS as u16;
            let of_page = (first..).zip(slots.zip(owners.as_chunks::<OWNER>().0));
            owned.extend(of_page.filter_map(|(index, (slot, owner))| {
                let is_owned = *slot != [0; KEY_BYTES] && *owner != [0; OWNER];
                is_owned.then(|| (KeySlot::new(self.at.number, index), *owner))
            }));
        }
        Ok(owned)
    }

    /// Seals the secret anew, durably when this returns.
    pub(super) fn seal_anew(&self, wrap: &dyn Wrap) -> Result<(), SlotError> {
        let file = self.file()?;
        seal_header_anew(&file, &self.at, &mut self.header(), wrap)
    }

    /// Ends it: its secret is overwritten, durably, and then the file is removed. What its keys sealed opens no more.
    /// Cut off before the end, it is a segment that is gone.
    pub(super) fn retire(&self) -> Result<(), SlotError> {
        let file = self.file()?;
        let mut header = self.header();
        let mut gone = SegmentHeader { is_gone: true, ..header.clone() };
        write_both(&file, &self.at, &mut gone, &[])?;
        *header = gone;
        let removed = self.at.folder.remove(&self.at.name());
        removed.map_err(|error| self.at.failed("cannot remove", &error))
    }

    /// Whether its file is gone, where these are there, and was not retired. What is open of it may still be read.
    pub(super) fn is_lost(&self, names: &BTreeSet<String>) -> bool {
        !names.contains(&self.at.name()) && !self.header().is_gone
    }

    /// Whether it was retired: no key of it is left, and none is made in it.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Seals the secret of a file anew that is no segment to be used: cut off behind its header, for instance.
    pub(super) fn seal_file_anew(
        folder: &Arc<dyn KeyFolder>,
        (family, number): (Family, u32),
        wrap: &dyn Wrap,
    ) -> Result<(), SlotError> {
        let at = SegmentPlace::new(folder, (family, number));
        let opened = at.open(FileAccess::Overwrite);
        let file = opened.map_err(|error| at.failed("cannot open", &error))?;
        let head =
            file.read_up_to(2 * SECTOR, 0).map_err(|error| at.failed("cannot read", &error))?;
        let mut header = SegmentHeader::read(&head, family, number).map_err(|problem| {
            match SegmentHeader::is_of_another_version(&head) {
                // A newer program can, with the key that it is sealed with.
                true => SlotError::Refused(format!("{}: {problem}", at.called())),
                false => at.damaged(problem),
            }
        })?;
        seal_header_anew(&file, &at, &mut header, wrap)
    }

    /// The file as it stands, without the keys of slots from this one on.
    pub(super) fn image(&self, not_given: KeySlot) -> Result<Vec<u8>, SlotError> {
        let file = self.file()?;
        let _writing = self.header();
        let mut bytes = file
            .read_up_to(KEY_FILE_BYTES, 0)
            .map_err(|error| self.at.failed("cannot read", &error))?;
        let slots = (0..u16::from(PAGES) * PAGE_SLOTS as u16)
            .map(|index| KeySlot::new(self.at.number, index))
            .filter(|slot| *slot >= not_given);
        for slot in slots {
            let at = slot_at(slot) as usize;
            if let Some(masked) = bytes.get_mut(at..at + KEY_BYTES) {
                masked.fill(0);
            }
        }
        Ok(bytes)
    }

    /// The first slot behind the pages that count.
    pub(super) fn behind(&self) -> KeySlot {
        let slots = u64::from(self.pages()) * PAGE_SLOTS as u64;
        KeySlot(KeySlot::new(self.at.number, 0).0 + slots)
    }

    /// Its number in its family.
    pub(super) fn number(&self) -> u32 {
        self.at.number
    }

    /// Gives the open file back; each use opens it from then on.
    pub(super) fn rest(&self) {
        self.open_file().take();
    }

    #[cfg(test)]
    pub(super) fn recorded(&self) -> SegmentFile {
        self.file().unwrap()
    }

    fn file(&self) -> Result<SegmentFile, SlotError> {
        if let Some(file) = &*self.open_file() {
            return Ok(file.clone());
        }
        self.at.open(self.access).map_err(|error| self.at.failed("cannot open", &error))
    }

    /// Where traces stand behind the pages, as far as there are any.
    fn more_traces(&self, file: &SegmentFile) -> io::Result<impl Iterator<Item = u64> + use<>> {
        let behind = file.length()?.saturating_sub(MORE_TRACES_AT);
        Ok((0..behind.div_ceil(TRACES_BYTES as u64).min(MOST_MORE_TRACES)).map(more_at))
    }

    // What is held is whole, whatever panicked.
    fn header(&self) -> MutexGuard<'_, SegmentHeader> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_file(&self) -> MutexGuard<'_, Option<SegmentFile>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seals the secret in a header anew, in both copies, one after the other: cut off anywhere, one of them is
/// whole, and opens with the key of before or the one of now.
fn seal_header_anew(
    file: &SegmentFile,
    at: &SegmentPlace,
    header: &mut SegmentHeader,
    wrap: &dyn Wrap,
) -> Result<(), SlotError> {
    if header.is_gone {
        return Ok(());
    }
    let place = place(header.family, header.segment);
    let secret = wrap.open(&place, &header.sealed).map_err(|why| at.sealed(why))?;
    wrap.seal(&place, &secret, &mut |sealed| write_both(file, at, header, sealed))
}

/// Writes a header with this for its sealed secret into both of its places, one after the other, each durably.
fn write_both(
    file: &SegmentFile,
    at: &SegmentPlace,
    header: &mut SegmentHeader,
    sealed: &[u8],
) -> Result<(), SlotError> {
    for _ in 0..2 {
        let generation = header.generation + 1;
        let anew = SegmentHeader { generation, sealed: sealed.to_vec(), ..header.clone() };
        let copy = anew.encode().ok_or_else(|| at.sealed(WrapError::Failed))?;
        if let Err(error) = file.write(&copy, anew.place()).and_then(|()| file.sync()) {
            // The next one is newer than what this may have left, and stands in its place.
            header.generation += 2;
            return Err(at.failed("cannot write", &error));
        }
        *header = anew;
    }
    Ok(())
}

/// Reads what stands at a place, has it changed, and writes as much of it as differs. What the file does not
/// hold yet are zeros.
fn rewrite(
    file: &SegmentFile,
    at: u64,
    length: usize,
    change: impl FnOnce(&mut [u8]),
) -> io::Result<()> {
    let mut before = file.read_up_to(length, at)?;
    before.resize(length, 0);
    let mut after = before.clone();
    change(&mut after);
    let differs = |at: &usize| before[*at] != after[*at];
    let (Some(first), Some(last)) = ((0..length).find(differs), (0..length).rfind(differs)) else {
        return Ok(());
    };
    file.write(&after[first..=last], at + first as u64)
}

/// Clears the traces of these slots.
fn forget(traces: &mut [u8], segment: u32, slots: &BTreeSet<KeySlot>) {
    if slots.is_empty() {
        return;
    }
    for one in traces.as_chunks_mut::<TRACE>().0 {
        if traced(segment, one).is_some_and(|(slot, _)| slots.contains(&slot)) {
            *one = [0; TRACE];
        }
    }
}

/// The index begins at 1, so that no trace is all zeros.
fn trace(slot: KeySlot, tag: PersonTag) -> [u8; TRACE] {
    let ([a, b], [c, d, e, f]) = ((slot.index() + 1).to_le_bytes(), tag.0.to_le_bytes());
    [a, b, c, d, e, f]
}

fn traced(segment: u32, [a, b, c, d, e, f]: &[u8; TRACE]) -> Option<(KeySlot, PersonTag)> {
    let index = u16::from_le_bytes([*a, *b]).checked_sub(1)?;
    Some((KeySlot::new(segment, index), PersonTag(u32::from_le_bytes([*c, *d, *e, *f]))))
}

/// Slots that lie side by side in a page: the first, and how many.
fn runs(slots: &BTreeSet<KeySlot>) -> Vec<(KeySlot, usize)> {
    let mut runs: Vec<(KeySlot, usize)> = Vec::new();
    for slot in slots {
        match runs.last_mut() {
            Some((first, count))
                if first.0 + *count as u64 == slot.0 && page_of(*first) == page_of(*slot) =>
            {
                *count += 1;
            }
            Some(_) | None => runs.push((*slot, 1)),
        }
    }
    runs
}

fn page_of(slot: KeySlot) -> u8 {
    (usize::from(slot.index()) / PAGE_SLOTS) as u8
}

fn within_page(slot: KeySlot) -> usize {
    usize::from(slot.index()) % PAGE_SLOTS
}

fn page_at(page: u8) -> u64 {
    PAGES_AT + u64::from(page) * PAGE_BYTES as u64
}

fn slot_at(slot: KeySlot) -> u64 {
    page_at(page_of(slot)) + (within_page(slot) * KEY_BYTES) as u64
}

fn owner_at(slot: KeySlot) -> u64 {
    page_at(page_of(slot)) + (OWNERS_AT + within_page(slot) * OWNER) as u64
}

fn traces_at(page: u8) -> u64 {
    page_at(page) + TRACES_AT as u64
}

fn more_at(number: u64) -> u64 {
    MORE_TRACES_AT + number * TRACES_BYTES as u64
}

/// What a segment's secrets are sealed for.
fn place(family: Family, number: u32) -> String {
    format!("contents/{}", family.file_name(number))
}
