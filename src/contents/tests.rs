//! The folder of keys, cut off and put together again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use uuid::Uuid;

use super::{
    key_segment::{KeySegment, PAGE_SLOTS, PageKeys, SlotNote},
    segment_file::WriteStep,
    *,
};
use crate::store::{
    Backup, Cursor, FileAccess, Incarnation, JournalStore, KEY_FOLDER, KeyFiles, KeyFolder,
    KeyFolderOnDisk, KeySlot, OpenKeyFile, SledOptions, Store, StoreLives, TriedFolder,
    check_backup, file_bytes, over_each_folder,
};

const WORKFLOW: Family = Family::Workflow;

/// Seals with one key, as a vault would.
pub(super) struct OneKey(u8, RandomizedNonceKey);

impl OneKey {
    pub(super) fn new(byte: u8) -> OneKey {
        OneKey(byte, RandomizedNonceKey::new(&AES_256_GCM, &[byte; 32]).unwrap())
    }
}

impl Wrap for OneKey {
    fn seal(
        &self,
        place: &str,
        plain: &[u8],
        keep: &mut dyn FnMut(&[u8]) -> Result<(), SlotError>,
    ) -> Result<(), SlotError> {
        let mut sealed = plain.to_vec();
        let nonce = self.1.seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut sealed);
        keep(&[&[self.0], &nonce.unwrap().as_ref()[..], &sealed].concat())
    }

    fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, WrapError> {
        let (byte, rest) = sealed.split_first().ok_or(WrapError::Damaged)?;
        if *byte != self.0 {
            return Err(WrapError::OtherKey);
        }
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(WrapError::Damaged)?;
        let mut bytes = rest.to_vec();
        let (nonce, place) = (Nonce::assume_unique_for_key(*nonce), Aad::from(place.as_bytes()));
        let opened = self.1.open_in_place(nonce, place, &mut bytes);
        opened.map(|plain| plain.to_vec()).map_err(|_| WrapError::Damaged)
    }
}

over_each_folder! {
    a_segment_gives_each_key_once_and_reads_it_again
    a_stolen_file_holds_no_key_and_opens_under_no_other_master_key_or_name
    a_header_torn_in_either_copy_opens_by_the_other_and_both_torn_are_refused
    a_page_that_counts_is_whole_whenever_the_power_went
    a_destroyed_slot_is_gone_with_its_owner_and_traces_and_no_other_is
    what_is_noted_is_found_by_each_of_its_addresses_also_when_it_is_noted_again
    what_no_file_of_keys_holds_is_said_and_never_a_panic
    no_slot_is_given_out_twice_however_often_it_is_cut_off
    no_slot_is_given_out_twice_over_a_thousand_cuts
    a_folder_that_is_older_or_another_s_or_not_whole_is_refused_in_words
    the_keys_of_a_former_life_are_the_store_s_from_then_on_and_what_was_noted_later_is_not
    keys_that_are_only_read_are_all_there_and_nothing_is_written
    a_file_of_keys_that_nobody_can_read_is_in_a_backup_as_it_is
    a_segment_that_is_sealed_anew_opens_with_one_of_the_two_keys_wherever_that_is_cut_off
    all_files_are_sealed_anew_and_those_that_no_key_opens_stand_in_nobody_s_way
    a_file_that_a_newer_program_may_open_keeps_the_key_of_before
    a_segment_that_is_lost_or_damaged_costs_its_own_keys_alone
    the_number_of_a_lost_segment_is_never_used_again
    what_is_noted_is_written_with_how_far_and_found_in_the_next_life
    who_waits_is_told_when_no_key_can_be_made_and_gets_one_when_it_can
    a_file_that_is_missing_among_others_is_told_of_until_it_is_past_retention
    so_many_missing_files_are_told_of_and_no_more
    keys_in_memory_and_in_files_do_the_same
    retired_segments_leave_nothing_and_the_others_open_after_a_restart
    a_segment_that_is_being_retired_is_whole_or_gone_whenever_the_power_went
    what_is_durable_when_a_call_returns_outlives_a_crash
    a_file_that_goes_while_it_is_open_is_lost_and_comes_back_by_nothing
}

fn incarnation(number: u128) -> Incarnation {
    Incarnation(Uuid::from_u128(number))
}

fn lives(number: u128) -> StoreLives {
    StoreLives { incarnation: incarnation(number), former: Vec::new(), newest: Cursor(1000) }
}

/// A store that goes on from these lives, at this row.
fn goes_on(number: u128, former: &[u128], newest: u64) -> StoreLives {
    let former = former.iter().map(|number| incarnation(*number)).collect();
    StoreLives { former, newest: Cursor(newest), ..lives(number) }
}

fn opened(folder: &Arc<dyn KeyFolder>) -> Result<OpenedKeys, SlotError> {
    KeyRing::open(Arc::clone(folder), &lives(1), Arc::new(OneKey::new(1)))
}

fn ring(folder: &Arc<dyn KeyFolder>) -> KeyRing {
    opened(folder).unwrap().begin(&[]).unwrap()
}

fn segment(folder: &Arc<dyn KeyFolder>, number: u32) -> Result<KeySegment, SlotError> {
    KeySegment::open(folder, (WORKFLOW, number), &OneKey::new(1), FileAccess::Overwrite)
}

fn new_segment(folder: &Arc<dyn KeyFolder>, pages: u8) -> (KeySegment, BTreeMap<KeySlot, SlotKey>) {
    folder.prepare().unwrap();
    let made = KeySegment::create(folder, (WORKFLOW, 3), &OneKey::new(1), pages).unwrap();
    (made.0, all_of(made.1))
}

fn all_of(pages: Vec<PageKeys>) -> BTreeMap<KeySlot, SlotKey> {
    let all = pages.into_iter().flat_map(|mut page| std::iter::from_fn(move || page.take()));
    all.collect()
}

fn owner(number: u64) -> OwnerId {
    Uuid::from_u128(0xaaaa_0000_0000_0000_0000_0000_0000_0000 + u128::from(number)).into_bytes()
}

fn slots(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<KeySlot> {
    numbers.into_iter().map(|number| KeySlot((3 << 14) + number)).collect()
}

fn damaged(error: Option<SlotError>) -> String {
    match error {
        Some(SlotError::Damaged { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

/// A file, as it is.
fn bytes_of(folder: &Arc<dyn KeyFolder>, name: &str) -> Vec<u8> {
    file_bytes(&**folder, name)
}

/// A file, as something else makes it.
fn put_file(folder: &Arc<dyn KeyFolder>, name: &str, bytes: &[u8]) {
    folder.put(name, bytes).unwrap();
}

/// Whose the slot is and where, as the file has it: its 32 bytes, its owner, and whether a trace of it is left.
fn on_the_disk(folder: &Arc<dyn KeyFolder>, slot: KeySlot) -> (Vec<u8>, Vec<u8>, bool) {
    let file = bytes_of(folder, "w.00000003");
    let (page, within) =
        (usize::from(slot.index()) / PAGE_SLOTS, usize::from(slot.index()) % PAGE_SLOTS);
    let at = 4096 + page * 122_880;
    let traces = |at: usize| file.get(at..).unwrap_or_default().chunks_exact(6).take(4096);
    let index = (slot.index() + 1).to_le_bytes();
    let is_traced = (0..8)
        .map(|page| 4096 + page * 122_880 + 98_304)
        .chain((0..30).map(|more| 987_136 + more * 24_576))
        .flat_map(traces)
        .any(|trace| trace[..2] == index);
    (
        file[at + within * 32..][..32].to_vec(),
        file[at + 65_536 + within * 16..][..16].to_vec(),
        is_traced,
    )
}

fn a_segment_gives_each_key_once_and_reads_it_again(tried: &TriedFolder) {
    let folder = &tried.folder;
    let (made, mut keys) = new_segment(folder, 1);
    keys.extend(all_of(made.add_pages(2).unwrap()));
    let again = segment(folder, 3).unwrap();
    assert_eq!(keys.len(), 3 * PAGE_SLOTS);
    let different: BTreeSet<_> = keys.values().map(|key| key.derived(b"", b"")).collect();
    assert_eq!(different.len(), keys.len());
    for (slot, key) in &keys {
        assert_eq!(again.key(*slot).unwrap().as_ref(), Some(key));
    }
    again.rest();
    assert_eq!(again.key(KeySlot::new(3, 9)).unwrap(), made.key(KeySlot::new(3, 9)).unwrap());
    let behind = KeySlot::new(3, 3 * PAGE_SLOTS as u16);
    assert_eq!(again.key(behind), Err(SlotError::NotGiven(WORKFLOW, behind)));
    // Never more than it has room for.
    assert_eq!(all_of(made.add_pages(8).unwrap()).len(), 5 * PAGE_SLOTS);
    assert!(made.add_pages(1).unwrap().is_empty());
}

fn a_stolen_file_holds_no_key_and_opens_under_no_other_master_key_or_name(tried: &TriedFolder) {
    let folder = &tried.folder;
    let (_, keys) = new_segment(folder, 1);
    let file = bytes_of(folder, "w.00000003");
    let on_disk: BTreeSet<&[u8]> = file[4096..4096 + 65_536].chunks_exact(32).collect();
    for (slot, key) in keys {
        let (bytes, ..) = on_the_disk(folder, slot);
        assert!(on_disk.contains(&bytes[..]));
        assert_ne!(SlotKey::new(bytes.try_into().unwrap()), key, "it is masked");
    }
    let other = KeySegment::open(folder, (WORKFLOW, 3), &OneKey::new(2), FileAccess::Read).err();
    let place = folder.place_of("w.00000003");
    assert_eq!(other, Some(SlotError::Sealed { place, why: WrapError::OtherKey }));
    assert!(other.unwrap().to_string().contains("access.master_key"));
    put_file(folder, "w.00000004", &file);
    assert!(damaged(segment(folder, 4).err()).contains("under another name"));
}

fn a_header_torn_in_either_copy_opens_by_the_other_and_both_torn_are_refused(tried: &TriedFolder) {
    let folder = &tried.folder;
    let (made, keys) = new_segment(folder, 1);
    made.add_pages(1).unwrap();
    let whole = bytes_of(folder, "w.00000003");
    for (copy, pages) in [(0, 2), (512, 1)] {
        let mut torn = whole.clone();
        torn[copy + 40] ^= 1;
        put_file(folder, "w.00000003", &torn);
        let read = segment(folder, 3).unwrap();
        assert_eq!(read.pages(), pages);
        let slot = KeySlot::new(3, 77);
        assert_eq!(read.key(slot).unwrap().as_ref(), keys.get(&slot));
        torn[(copy + 512) % 1024 + 40] ^= 1;
        put_file(folder, "w.00000003", &torn);
        assert!(damaged(segment(folder, 3).err()).contains("neither"));
    }
    put_file(folder, "w.00000003", &whole[..whole.len() - 1]);
    assert!(damaged(segment(folder, 3).err()).contains("cut off"));
}

/// Every file that a power cut could leave while pages are added: what was synced, and of what was not any
/// write or none.
fn a_page_that_counts_is_whole_whenever_the_power_went(tried: &TriedFolder) {
    let folder = &tried.folder;
    let (made, mut keys) = new_segment(folder, 1);
    let mut durable = bytes_of(folder, "w.00000003");
    made.recorded().take_written();
    keys.extend(all_of(made.add_pages(2).unwrap()));
    keys.extend(all_of(made.add_pages(1).unwrap()));
    let steps = made.recorded().take_written();
    assert_eq!(steps.iter().filter(|it| **it == WriteStep::Synced).count(), 4, "{}", steps.len());
    let (mut pending, mut pages) = (Vec::new(), BTreeSet::new());
    for step in steps {
        match step {
            WriteStep::At(at, bytes) => pending.push((at, bytes)),
            WriteStep::Synced => {
                for (at, bytes) in pending.drain(..) {
                    put(&mut durable, at, &bytes);
                }
            }
        }
        for chosen in 0..1_u32 << pending.len() {
            let mut file = durable.clone();
            for (number, (at, bytes)) in pending.iter().enumerate() {
                if chosen >> number & 1 == 1 {
                    put(&mut file, *at, bytes);
                }
            }
            put_file(folder, "w.00000003", &file);
            let found = segment(folder, 3).unwrap();
            let counted = keys.iter().filter(|(slot, _)| found.counts(**slot));
            for (slot, key) in counted {
                assert_eq!(found.key(*slot).unwrap().as_ref(), Some(key), "{slot:?}");
            }
            pages.insert(found.pages());
        }
    }
    assert_eq!(pages.into_iter().collect::<Vec<_>>(), [1, 3, 4]);
}

fn put(file: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let end = at as usize + bytes.len();
    file.resize(file.len().max(end), 0);
    file[at as usize..end].copy_from_slice(bytes);
}

fn a_destroyed_slot_is_gone_with_its_owner_and_traces_and_no_other_is(tried: &TriedFolder) {
    let folder = &tried.folder;
    let (made, keys) = new_segment(folder, 2);
    let note = |slot: KeySlot| {
        let address = |step: u64| made.tag(&format!("44770090{:06}", slot.0 % 50 + step));
        SlotNote { slot, owner: owner(slot.0), tags: (0..3).map(address).collect() }
    };
    // Three addresses a slot are more than its page has room for.
    made.note(&keys.keys().map(|slot| note(*slot)).collect::<Vec<_>>()).unwrap();
    assert!(made.recorded().length().unwrap() > 987_136);
    let gone = slots([0, 1, 2, 7, 2046, 2047, 2048, 4095]);
    for slot in &gone {
        assert_eq!(
            (on_the_disk(folder, *slot).1, on_the_disk(folder, *slot).2),
            (owner(slot.0).to_vec(), true)
        );
    }
    made.recorded().take_written();
    made.destroy(&gone).unwrap();
    let steps = made.recorded().take_written();
    assert_eq!(steps.last(), Some(&WriteStep::Synced));
    made.destroy(&gone).unwrap();
    // A note that comes late brings nothing back.
    made.note(&[note(KeySlot::new(3, 7))]).unwrap();
    let again = segment(folder, 3).unwrap();
    for slot in &gone {
        assert_eq!(again.key(*slot), Ok(None));
        assert_eq!(on_the_disk(folder, *slot), (vec![0; 32], vec![0; 16], false));
    }
    for (slot, key) in keys.iter().filter(|(slot, _)| !gone.contains(*slot)) {
        assert_eq!(again.key(*slot).unwrap().as_ref(), Some(key));
    }
    let left = on_the_disk(folder, KeySlot::new(3, 3));
    assert!(left.0 != [0; 32] && left.1 == owner((3 << 14) + 3) && left.2);
    let behind = slots([4096]);
    assert!(matches!(again.destroy(&behind), Err(SlotError::NotGiven(..))));
}

fn what_is_noted_is_found_by_each_of_its_addresses_also_when_it_is_noted_again(
    tried: &TriedFolder,
) {
    let folder = &tried.folder;
    let (made, keys) = new_segment(folder, 1);
    let note = |slot: KeySlot, of: u64| SlotNote {
        slot,
        owner: owner(of),
        tags: ["+44 7700 900001", "anna@example.org"].iter().map(|it| made.tag(it)).collect(),
    };
    let first: Vec<_> = keys.keys().take(5).map(|slot| note(*slot, slot.0)).collect();
    made.note(&first).unwrap();
    // As after a crash: the same again, and one of them is another's meanwhile.
    made.note(&first[1..3]).unwrap();
    made.note(&[note(first[4].slot, 4711)]).unwrap();
    let again = segment(folder, 3).unwrap();
    let expected: Vec<_> = first[..4]
        .iter()
        .map(|note| (note.slot, note.owner))
        .chain([(first[4].slot, owner(4711))])
        .collect();
    for address in ["447700900001", "ANNA@example.org"] {
        assert_eq!(again.find(&[address]).unwrap(), expected);
    }
    assert_eq!(again.find(&["447700900002"]).unwrap(), []);
    let traces = bytes_of(folder, "w.00000003");
    let traces = traces[4096 + 98_304..].chunks_exact(6).filter(|it| **it != [0; 6]).count();
    assert_eq!(traces, 10, "none twice");
}

fn what_no_file_of_keys_holds_is_said_and_never_a_panic(tried: &TriedFolder) {
    use proptest::prelude::*;
    let folder = &tried.folder;
    new_segment(folder, 1);
    let head = bytes_of(folder, "w.00000003")[..1024].to_vec();
    proptest!(|(junk in proptest::collection::vec(any::<u8>(), 0..5000), has_head: bool)| {
        let file = if has_head { [&head[..], &junk].concat() } else { junk };
        put_file(folder, "w.00000003", &file);
        let refused = segment(folder, 3).err();
        prop_assert!(!damaged(refused).is_empty());
    });
}

fn no_slot_is_given_out_twice_however_often_it_is_cut_off(tried: &TriedFolder) {
    let mut crashed: Option<TriedFolder> = None;
    let mut seen: BTreeMap<KeySlot, SlotKey> = BTreeMap::new();
    let mut last = None;
    for life in 0..60_u64 {
        let used: Vec<_> = last.map(|slot| (WORKFLOW, slot)).into_iter().collect();
        let tried = crashed.as_ref().unwrap_or(tried);
        let ring = opened(&tried.folder).unwrap().begin(&used).unwrap();
        for _ in 0..life * 37 % 90 {
            let (slot, key) = ring.take(WORKFLOW).unwrap();
            assert!(last < Some(slot), "{slot:?} after {last:?}");
            last = Some(slot);
            assert_eq!(seen.insert(slot, key), None);
        }
        if life % 2 == 0 {
            ring.kill();
            crashed = Some(tried.after_crash());
        }
    }
    let ring = ring(&crashed.as_ref().unwrap().folder);
    for (slot, key) in &seen {
        assert_eq!(ring.key(WORKFLOW, *slot).unwrap().as_ref(), Some(key));
    }
}

/// A thousand power cuts: the folder as it was made durable at some moment, and a file that was being made.
fn no_slot_is_given_out_twice_over_a_thousand_cuts(tried: &TriedFolder) {
    let folder = &tried.folder;
    let (made, keys) = new_segment(folder, 1);
    drop(made);
    let mut seen: BTreeSet<KeySlot> = keys.into_keys().collect();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut lives = 0;
    for number in 4.. {
        let mut segment = segment(folder, number - 1).unwrap();
        while segment.pages() < 8 && lives < 1000 {
            lives += 1;
            let before = bytes_of(folder, &WORKFLOW.file_name(number - 1));
            segment.recorded().take_written();
            let keys = segment.add_pages(1).unwrap();
            let (mut file, mut pending) = (before, Vec::new());
            let steps = segment.recorded().take_written();
            let cut = next(steps.len() + 1);
            for step in &steps[..cut] {
                match step {
                    WriteStep::At(at, bytes) => pending.push((*at, bytes)),
                    WriteStep::Synced => {
                        for (at, bytes) in pending.drain(..) {
                            put(&mut file, at, bytes);
                        }
                    }
                }
            }
            // What was not synced is there as far as it pleases.
            for (at, bytes) in pending {
                put(&mut file, at, &bytes[..next(bytes.len() + 1)]);
            }
            let is_whole = cut == steps.len();
            if is_whole {
                // Given out, since both syncs returned.
                for slot in all_of(keys).into_keys() {
                    assert!(seen.insert(slot), "{slot:?} twice");
                }
            }
            put_file(folder, &WORKFLOW.file_name(number - 1), &file);
            let again = self::segment(folder, number - 1).unwrap();
            assert!(!is_whole || again.pages() == segment.pages(), "a page that was used counts");
            segment = again;
        }
        if lives >= 1000 {
            break;
        }
        let at = (WORKFLOW, number);
        let (_, keys) = KeySegment::create(folder, at, &OneKey::new(1), 1).unwrap();
        for slot in all_of(keys).into_keys() {
            assert!(seen.insert(slot), "{slot:?} twice");
        }
    }
    assert!(seen.len() > 100 * PAGE_SLOTS);
}

#[test]
fn a_folder_is_its_owners_alone_and_holds_no_rests() {
    let folder = tempfile::tempdir().unwrap();
    let contents = folder.path().join("contents");
    let on_disk = KeyFolderOnDisk::at(&contents);
    let ring = ring(&on_disk);
    ring.take(WORKFLOW).unwrap();
    ring.take(Family::Day).unwrap();
    ring.close().unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&contents), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&contents).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(names, ["d.00000000", "index", "w.00000000"]);
    // What a start that was cut off left is no segment.
    fs::write(contents.join("w.00000001.new"), "half").unwrap();
    fs::write(contents.join("index.new"), "half").unwrap();
    fs::write(contents.join("notes.new"), "somebody else's").unwrap();
    drop(opened(&on_disk).unwrap());
    assert!(!contents.join("w.00000001.new").exists() && !contents.join("index.new").exists());
    assert!(contents.join("notes.new").exists());
}

fn a_folder_that_is_older_or_another_s_or_not_whole_is_refused_in_words(tried: &TriedFolder) {
    let folder = &tried.folder;
    let taken = {
        let ring = ring(folder);
        ring.take(WORKFLOW).unwrap().0
    };
    let refused = |used: KeySlot| opened(folder).unwrap().begin(&[(WORKFLOW, used)]).err();
    assert!(refused(taken).is_none());
    let pages = u64::from(segment(folder, 0).unwrap().pages());
    for unknown in [KeySlot(pages * PAGE_SLOTS as u64), KeySlot::new(1, 0), KeySlot(u64::MAX)] {
        let error = refused(unknown).map(|it| it.to_string()).unwrap_or_default();
        assert!(error.contains("older than the store"), "{unknown:?}: {error}");
    }
    let other = KeyRing::open(Arc::clone(folder), &lives(2), Arc::new(OneKey::new(1))).err();
    assert!(matches!(other, Some(SlotError::Refused(why)) if why.contains("another store")));
    let other = KeyRing::open(Arc::clone(folder), &lives(1), Arc::new(OneKey::new(2))).err();
    assert!(matches!(other, Some(SlotError::Sealed { why: WrapError::OtherKey, .. })));
    let index = bytes_of(folder, "index");
    folder.remove("index").unwrap();
    let none = opened(folder).err();
    assert!(matches!(none, Some(SlotError::Refused(why)) if why.contains("no index")));
    for at in [0, 512] {
        let mut torn = index.clone();
        torn[at + 30] ^= 1;
        put_file(folder, "index", &torn);
        assert!(opened(folder).is_ok(), "by the other copy");
        torn[(at + 512) % 1024 + 30] ^= 1;
        put_file(folder, "index", &torn);
        assert!(damaged(opened(folder).err()).contains("neither"));
    }
}

/// The row up to which a store's keys are noted, as the next start reads it.
fn cursor_of(folder: &Arc<dyn KeyFolder>, store: &StoreLives) -> Result<Cursor, SlotError> {
    KeyRing::open(Arc::clone(folder), store, Arc::new(OneKey::new(1))).map(|opened| opened.cursor())
}

fn the_keys_of_a_former_life_are_the_store_s_from_then_on_and_what_was_noted_later_is_not(
    tried: &TriedFolder,
) {
    let folder = &tried.folder;
    let first = ring(folder);
    let (slot, key) = first.take(WORKFLOW).unwrap();
    first.noted_through(Cursor(70));
    first.close().unwrap();
    assert!(cursor_of(folder, &goes_on(2, &[3, 4], 50)).is_err(), "of none of its lives");
    assert_eq!(cursor_of(folder, &goes_on(2, &[3, 1], 50)), Ok(Cursor(50)));
    // It does not need to be told twice, and the former life has it no longer.
    assert_eq!(cursor_of(folder, &goes_on(2, &[], 60)), Ok(Cursor(50)));
    assert!(cursor_of(folder, &lives(1)).is_err());
    let second = KeyRing::open(Arc::clone(folder), &lives(2), Arc::new(OneKey::new(1))).unwrap();
    let second = second.begin(&[(WORKFLOW, slot)]).unwrap();
    assert_eq!(second.key(WORKFLOW, slot).unwrap(), Some(key));
    drop(second);
    assert_eq!(cursor_of(folder, &goes_on(5, &[2], 90)), Ok(Cursor(50)), "no further than it was");
}

/// Each file of a folder, as it is.
fn all_files(folder: &Arc<dyn KeyFolder>) -> BTreeMap<String, Vec<u8>> {
    let names = folder.names().unwrap().unwrap();
    names.into_iter().map(|name| (name.clone(), bytes_of(folder, &name))).collect()
}

/// A folder that can be closed: then it takes nothing, as a disk that is full or was mounted to be read.
struct ClosedFolder {
    folder: Arc<dyn KeyFolder>,
    is_closed: AtomicBool,
}

impl ClosedFolder {
    fn over(tried: &TriedFolder) -> Arc<ClosedFolder> {
        let folder = Arc::clone(&tried.folder);
        Arc::new(ClosedFolder { folder, is_closed: AtomicBool::new(false) })
    }

    fn close(&self, is_closed: bool) {
        self.is_closed.store(is_closed, Ordering::Relaxed);
    }

    fn taken(&self) -> io::Result<()> {
        let is_closed = self.is_closed.load(Ordering::Relaxed);
        if is_closed { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }
}

impl KeyFolder for ClosedFolder {
    fn place(&self) -> String {
        self.folder.place()
    }

    fn names(&self) -> io::Result<Option<BTreeSet<String>>> {
        self.folder.names()
    }

    fn prepare(&self) -> io::Result<()> {
        self.taken().and_then(|()| self.folder.prepare())
    }

    fn open(&self, name: &str, access: FileAccess) -> io::Result<Arc<dyn OpenKeyFile>> {
        let taken = if access == FileAccess::Read { Ok(()) } else { self.taken() };
        taken.and_then(|()| self.folder.open(name, access))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<Arc<dyn OpenKeyFile>> {
        self.taken().and_then(|()| self.folder.put(name, bytes))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.taken().and_then(|()| self.folder.remove(name))
    }
}

fn keys_that_are_only_read_are_all_there_and_nothing_is_written(tried: &TriedFolder) {
    let closing = ClosedFolder::over(tried);
    let folder = &(Arc::clone(&closing) as Arc<dyn KeyFolder>);
    let read = |store: &StoreLives| {
        KeyRing::open_to_read(Arc::clone(folder), store, Arc::new(OneKey::new(1)))
    };
    let none = read(&lives(1)).unwrap();
    assert_eq!(none.take(WORKFLOW).map(|_| ()), Err(SlotError::ReadOnly));
    assert_eq!(none.key(WORKFLOW, KeySlot(0)), Err(SlotError::Lost(WORKFLOW, KeySlot(0))));
    assert_eq!(KeyFiles::names(&none), Ok(BTreeSet::new()));
    drop(none);
    assert_eq!(folder.names().unwrap(), None);
    // As a start leaves it that was cut off in its first moment.
    folder.prepare().unwrap();
    assert_eq!(KeyFiles::names(&read(&lives(1)).unwrap()), Ok(BTreeSet::new()));

    let first = ring(folder);
    let (slot, key) = first.take(WORKFLOW).unwrap();
    first.note(WORKFLOW, slot, owner(7), first.tags(WORKFLOW, slot, &["447700900001"]).unwrap());
    let lasting = first.lasting_hash(LastingKey::OptOuts, b"x");
    drop(first);
    put_file(folder, "w.00000009.new", b"the rest of a segment");
    let before = all_files(folder);
    closing.close(true);
    for store in [lives(1), goes_on(2, &[1], 0)] {
        let read = read(&store).unwrap();
        assert_eq!(read.key(WORKFLOW, slot).unwrap().as_ref(), Some(&key));
        assert_eq!(read.find(WORKFLOW, &["447700900001"]).unwrap(), [(slot, owner(7))]);
        assert_eq!(read.lasting_hash(LastingKey::OptOuts, b"x"), lasting);
        assert!(read.try_take(WORKFLOW).is_none());
        assert_eq!(read.take(WORKFLOW).map(|_| ()), Err(SlotError::ReadOnly));
        assert_eq!(read.destroy(WORKFLOW, &[slot]), Err(SlotError::ReadOnly));
        read.note(WORKFLOW, slot, owner(8), Box::default());
        read.noted_through(Cursor(99));
        assert_eq!((read.figures().notes, read.expect(&[])), (0, BTreeMap::new()));
        read.close().unwrap();
    }
    assert_eq!(all_files(folder), before);
    assert!(read(&lives(3)).is_err(), "another store's");
}

#[test]
fn a_restored_store_opens_every_key_that_was_given_out_and_has_none_that_was_not() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let data = SledOptions { folder: folder.path().join("data"), cache_bytes: 1 << 24 };
    let store = data.open().unwrap();
    let opened = |store: &JournalStore, data: &SledOptions| {
        let lives = StoreLives::of(&*store.reader());
        KeyRing::open(
            KeyFolderOnDisk::at(data.folder.join(KEY_FOLDER)),
            &lives,
            Arc::new(OneKey::new(1)),
        )
        .unwrap()
    };
    // Of two lives, and more than a page of the second.
    let (mut given, mut rings) = (BTreeMap::new(), Vec::new());
    for count in [5, 3000] {
        drop(rings.pop());
        let ring = opened(&store, &data).begin(&[]).unwrap();
        given.extend((0..count).map(|_| ring.take(WORKFLOW).unwrap()));
        rings.push(ring);
    }
    let ring = Arc::new(rings.remove(0));
    let (first, last) = (*given.keys().next().unwrap(), *given.keys().last().unwrap());
    let tags = ring.tags(WORKFLOW, last, &["447700900001"]).unwrap();
    ring.note(WORKFLOW, last, owner(7), tags);
    ring.find(WORKFLOW, &["447700900001"]).unwrap();
    ring.destroy(WORKFLOW, &[first]).unwrap();
    ring.take(Family::OptOut).unwrap();
    let lasting = ring.lasting_hash(LastingKey::OptOuts, b"x");

    let keys: Arc<dyn KeyFiles> = Arc::clone(&ring) as Arc<dyn KeyFiles>;
    let frames = Backup::of(store.reader(), store.settings(), Some(keys)).unwrap();
    let bytes: Vec<u8> = frames.flat_map(|frame| frame.unwrap()).collect();
    let backup = folder.path().join("one.backup");
    for cut in (0..bytes.len()).step_by(bytes.len() / 20) {
        fs::write(&backup, &bytes[..cut]).unwrap();
        assert!(!check_backup(&backup).is_sound(), "cut at {cut}");
    }
    fs::write(&backup, &bytes).unwrap();
    let checked = check_backup(&backup);
    assert_eq!(checked.findings, []);
    let unused = KeySlot(last.0 + 1);
    assert!(ring.key(WORKFLOW, unused).unwrap().is_some(), "made, and not given out");

    let into = SledOptions { folder: folder.path().join("restored"), cache_bytes: 1 << 24 };
    into.restore(&backup).unwrap();
    let restored = into.open().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&into.folder.join("contents")), 0o700);
    assert_eq!(mode(&into.folder.join("contents/w.00000000")), 0o600);
    let files = fs::read_dir(into.folder.join("contents")).unwrap().count() as u64;
    assert!(files == checked.key_files && files >= 3, "{files}");
    let again = opened(&restored, &into);
    assert!(!again.is_new() && again.expect(&[]).is_empty());
    let again = again.begin(&[(WORKFLOW, last)]).unwrap();
    assert_eq!(again.key(WORKFLOW, first), Ok(None), "destroyed is destroyed");
    for (slot, key) in given.iter().skip(1) {
        assert_eq!(again.key(WORKFLOW, *slot).unwrap().as_ref(), Some(key), "{slot:?}");
    }
    assert_eq!(again.key(WORKFLOW, unused), Ok(None), "what is created later is not in it");
    assert_eq!(again.find(WORKFLOW, &["447700900001"]).unwrap(), [(last, owner(7))]);
    assert_eq!(again.lasting_hash(LastingKey::OptOuts, b"x"), lasting);
    assert!(again.take(WORKFLOW).unwrap().0 > unused);
}

fn a_file_of_keys_that_nobody_can_read_is_in_a_backup_as_it_is(tried: &TriedFolder) {
    let folder = &tried.folder;
    contents_made(folder);
    put_file(folder, "w.00000001", b"junk");
    put_file(folder, "w.00000002.new", b"half");
    let read =
        KeyRing::open_to_read(Arc::clone(folder), &lives(1), Arc::new(OneKey::new(1))).unwrap();
    let names: Vec<_> = KeyFiles::names(&read).unwrap().into_iter().collect();
    assert_eq!(names, ["index", "w.00000001"]);
    assert_eq!(KeyFiles::read(&read, "w.00000001").unwrap().unwrap(), b"junk");
    let index = bytes_of(folder, "index");
    assert_eq!(KeyFiles::read(&read, "index").unwrap(), Some(index));
    for none in ["w.00000007", "../contents/index", "w.00000002.new"] {
        assert_eq!(KeyFiles::read(&read, none), Ok(None), "{none}");
    }
}

/// Seals with the first key, and opens with both.
struct TwoKeys(OneKey, OneKey);

impl Wrap for TwoKeys {
    fn seal(
        &self,
        place: &str,
        plain: &[u8],
        keep: &mut dyn FnMut(&[u8]) -> Result<(), SlotError>,
    ) -> Result<(), SlotError> {
        self.0.seal(place, plain, keep)
    }

    fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, WrapError> {
        self.0.open(place, sealed).or_else(|_| self.1.open(place, sealed))
    }
}

fn two_keys() -> TwoKeys {
    TwoKeys(OneKey::new(2), OneKey::new(1))
}

fn a_segment_that_is_sealed_anew_opens_with_one_of_the_two_keys_wherever_that_is_cut_off(
    tried: &TriedFolder,
) {
    let folder = &tried.folder;
    let (made, keys) = new_segment(folder, 1);
    let mut file = bytes_of(folder, "w.00000003");
    let slot = *keys.keys().next().unwrap();
    let opens = |file: &[u8], wrap: &dyn Wrap| {
        put_file(folder, "w.00000003", file);
        let segment = KeySegment::open(folder, (WORKFLOW, 3), wrap, FileAccess::Read);
        segment.map(|segment| segment.key(slot).unwrap().as_ref() == keys.get(&slot))
    };
    made.recorded().take_written();
    made.seal_anew(&two_keys()).unwrap();
    let mut is_synced = true;
    for written in made.recorded().take_written() {
        let WriteStep::At(at, copy) = written else {
            is_synced = true;
            continue;
        };
        assert!(is_synced, "the other copy is durable before this one is written");
        is_synced = false;
        let at = at as usize;
        for torn in [1, 60, copy.len() / 2] {
            let mut file = file.clone();
            file[at..at + torn].copy_from_slice(&copy[..torn]);
            assert_eq!(opens(&file, &two_keys()), Ok(true), "{torn} bytes at {at}");
        }
        file[at..at + copy.len()].copy_from_slice(&copy);
        assert_eq!(opens(&file, &two_keys()), Ok(true), "the copy at {at}");
    }
    assert!(is_synced, "durable when it returns");
    // With the new key alone, by either copy: nothing is left that the old one opens.
    for at in [0, 512] {
        let mut torn = file.clone();
        torn[at + 40] ^= 1;
        assert_eq!(opens(&torn, &OneKey::new(2)), Ok(true), "without the copy at {at}");
        assert!(opens(&torn, &OneKey::new(1)).is_err());
    }
}

fn all_files_are_sealed_anew_and_those_that_no_key_opens_stand_in_nobody_s_way(
    tried: &TriedFolder,
) {
    let folder = &tried.folder;
    let first = ring(folder);
    let given = first.take(WORKFLOW).unwrap();
    let opt_out = first.take(Family::OptOut).unwrap();
    let lasting = first.lasting_hash(LastingKey::OptOuts, b"x");
    drop(first);
    // One of another key, one torn in both copies, and one that is cut off behind its header.
    KeySegment::create(folder, (Family::Day, 0), &OneKey::new(3), 1).unwrap();
    put_file(folder, "d.00000001", b"junk");
    KeySegment::create(folder, (Family::Day, 2), &OneKey::new(1), 1).unwrap();
    let short = bytes_of(folder, "d.00000002");
    put_file(folder, "d.00000002", &short[..4096]);
    let open = |wrap: Arc<dyn Wrap>| KeyRing::open(Arc::clone(folder), &lives(1), wrap).unwrap();
    let second = open(Arc::new(two_keys()));
    assert_eq!(second.expect(&[]).len(), 3);
    let second = second.begin(&[]).unwrap();
    assert_eq!([Family::Day, WORKFLOW].map(|family| second.unreadable_segments(family)), [3, 0]);
    let told = Mutex::new(Vec::new());
    second.seal_anew(&|is_open| told.lock().unwrap().push(is_open)).unwrap();
    let told = told.into_inner().unwrap();
    // One more may be made meanwhile.
    assert!(told.len() >= 6 && second.sealed() >= told.len() as u64, "{told:?}");
    assert_eq!(told.iter().filter(|is_open| !**is_open).count(), 2, "{told:?}");
    // A page that is made later is counted beside what is sealed anew.
    let later: Vec<_> = (0..3 * PAGE_SLOTS).map(|_| second.take(WORKFLOW).unwrap()).collect();
    drop(second);

    let third = open(Arc::new(OneKey::new(2)));
    assert_eq!(third.expect(&[]).len(), 3);
    let problems = third.expect(&[]).values().map(SlotError::to_string).collect::<Vec<_>>();
    let is_cut_off =
        |problem: &String| problem.contains("d.00000002") && problem.contains("cut off");
    assert!(problems.iter().any(is_cut_off), "no longer sealed with the old key: {problems:?}");
    let third = third.begin(&[]).unwrap();
    for (family, (slot, key)) in [(WORKFLOW, &given), (Family::OptOut, &opt_out)] {
        assert_eq!(third.key(family, *slot).unwrap().as_ref(), Some(key));
    }
    for (slot, key) in &later {
        assert_eq!(third.key(WORKFLOW, *slot).unwrap().as_ref(), Some(key));
    }
    assert_eq!(third.lasting_hash(LastingKey::OptOuts, b"x"), lasting);
}

fn a_file_that_a_newer_program_may_open_keeps_the_key_of_before(tried: &TriedFolder) {
    let folder = &tried.folder;
    contents_made(folder);
    KeySegment::create(folder, (WORKFLOW, 0), &OneKey::new(1), 1).unwrap();
    KeySegment::create(folder, (WORKFLOW, 1), &OneKey::new(1), 1).unwrap();
    let mut newer = bytes_of(folder, "w.00000000");
    let magic = b"dispatch keys\n".len();
    let end = magic + 14 + usize::from(newer[magic + 12]);
    newer[magic] = 2;
    let sum = crc32fast::hash(&newer[..end]).to_le_bytes();
    newer[end..end + 4].copy_from_slice(&sum);
    put_file(folder, "w.00000000", &newer);
    let ring = KeyRing::open(Arc::clone(folder), &lives(1), Arc::new(two_keys())).unwrap();
    let ring = ring.begin(&[]).unwrap();
    let why = ring.seal_anew(&|_| {}).unwrap_err().to_string();
    assert!(why.contains("version 2"), "{why}");
    drop(ring);
    let others = KeyRing::open(Arc::clone(folder), &lives(1), Arc::new(OneKey::new(2))).unwrap();
    assert_eq!(others.expect(&[]).len(), 1, "the others are sealed anew all the same");
    let read =
        KeyRing::open_to_read(Arc::clone(folder), &lives(1), Arc::new(OneKey::new(2))).unwrap();
    assert_eq!(read.seal_anew(&|_| {}), Err(SlotError::ReadOnly));
}

fn a_segment_that_is_lost_or_damaged_costs_its_own_keys_alone(tried: &TriedFolder) {
    let folder = &tried.folder;
    for number in 0..3 {
        contents_made(folder);
        KeySegment::create(folder, (WORKFLOW, number), &OneKey::new(1), 1).unwrap();
    }
    folder.remove("w.00000000").unwrap();
    put_file(folder, "w.00000001", b"junk");
    let opened = opened(folder).unwrap();
    assert!(damaged(opened.expect(&[]).pop_first().map(|(_, error)| error)).contains("neither"));
    let highest = KeySlot::new(2, 2047);
    let used = [KeySlot::new(0, 5), KeySlot::new(1, 5), highest].map(|slot| (WORKFLOW, slot));
    let ring = opened.begin(&used).unwrap();
    let lost = KeySlot::new(0, 5);
    assert_eq!(ring.key(WORKFLOW, lost), Err(SlotError::Lost(WORKFLOW, lost)));
    assert!(matches!(ring.key(WORKFLOW, KeySlot::new(1, 5)), Err(SlotError::Damaged { .. })));
    assert!(ring.key(WORKFLOW, highest).unwrap().is_some());
    assert!(ring.take(WORKFLOW).unwrap().0 > highest);
    // What can be destroyed is, and what cannot is said.
    let all = [KeySlot::new(1, 5), lost, highest];
    assert!(matches!(ring.destroy(WORKFLOW, &all), Err(SlotError::Damaged { .. })));
    assert_eq!(ring.key(WORKFLOW, highest), Ok(None));
    let figures = ring.figures();
    assert_eq!((figures.segments, figures.unreadable), (2, 1));
}

fn the_number_of_a_lost_segment_is_never_used_again(tried: &TriedFolder) {
    let folder = &tried.folder;
    let first = ring(folder);
    let (slot, _) = first.take(WORKFLOW).unwrap();
    first.kill();
    folder.remove("w.00000000").unwrap();
    let opened = opened(folder).unwrap();
    // The index tells that it was there.
    let lost = SlotError::Lost(WORKFLOW, KeySlot::new(0, 0));
    assert_eq!(opened.expect(&[(WORKFLOW, 0)]), [((WORKFLOW, 0), lost)].into());
    let second = opened.begin(&[(WORKFLOW, slot)]).unwrap();
    assert_eq!(second.take(WORKFLOW).unwrap().0, KeySlot::new(1, 0));
    assert!(matches!(second.key(WORKFLOW, slot), Err(SlotError::Lost(..))));
    second.destroy(WORKFLOW, &[slot]).unwrap();
}

/// A folder with an index and nothing else.
fn contents_made(folder: &Arc<dyn KeyFolder>) {
    drop(opened(folder).unwrap());
}

fn what_is_noted_is_written_with_how_far_and_found_in_the_next_life(tried: &TriedFolder) {
    let folder = &tried.folder;
    let first = ring(folder);
    let taken: Vec<_> = (0..10).map(|_| first.take(WORKFLOW).unwrap().0).collect();
    let note = |ring: &KeyRing, slot: KeySlot| {
        let tags = ring.tags(WORKFLOW, slot, &["447700900001", "+447700900001", "a"]).unwrap();
        assert_eq!(tags.len(), 2, "the same address twice is one");
        ring.note(WORKFLOW, slot, owner(slot.0), tags);
    };
    taken.iter().for_each(|slot| note(&first, *slot));
    first.noted_through(Cursor(10));
    // Destroyed before it was ever written.
    first.destroy(WORKFLOW, &taken[..2]).unwrap();
    let of = |slots: &[KeySlot]| slots.iter().map(|it| (*it, owner(it.0))).collect::<Vec<_>>();
    assert_eq!(first.find(WORKFLOW, &["+44 7700 900001"]).unwrap(), of(&taken[2..]));
    assert_eq!(first.find(Family::Inbound, &["447700900001"]).unwrap(), []);
    let hash = first.lasting_hash(LastingKey::OptOuts, b"x");
    drop(first);
    let opened = opened(folder).unwrap();
    assert_eq!((opened.cursor(), opened.is_new()), (Cursor(10), false));
    let second = opened.begin(&[]).unwrap();
    assert_eq!(second.find(WORKFLOW, &["447700900001"]).unwrap(), of(&taken[2..]));
    assert_eq!(second.lasting_hash(LastingKey::OptOuts, b"x"), hash);
    assert_ne!(second.lasting_hash(LastingKey::Pseudonyms, b"x"), hash);
    assert_eq!(second.key(WORKFLOW, taken[1]), Ok(None));
    // One that is yet to be given out must not be dead then.
    let next = KeySlot(second.take(WORKFLOW).unwrap().0.0 + 1);
    assert_eq!(second.destroy(WORKFLOW, &[next]), Err(SlotError::NotGiven(WORKFLOW, next)));
    assert_eq!(second.take(WORKFLOW).unwrap().0, next);
}

fn who_waits_is_told_when_no_key_can_be_made_and_gets_one_when_it_can(tried: &TriedFolder) {
    let closing = ClosedFolder::over(tried);
    let folder = &(Arc::clone(&closing) as Arc<dyn KeyFolder>);
    let ring = ring(folder);
    closing.close(true);
    // Whatever was made before that is given out.
    let failed = (0..4 * 8 * PAGE_SLOTS).find_map(|_| ring.take(WORKFLOW).err());
    assert!(matches!(failed, Some(SlotError::Io(_))), "{failed:?}");
    assert!(ring.figures().failures > 0 && ring.figures().waits > 0);
    closing.close(false);
    let (slot, key) = ring.take(WORKFLOW).unwrap();
    assert_eq!(ring.key(WORKFLOW, slot), Ok(Some(key)));
    ring.close().unwrap();
    while ring.try_take(WORKFLOW).is_some() {}
    assert_eq!(ring.take(WORKFLOW), Err(SlotError::Closed));
    ring.close().unwrap();
    // None of those that could not be made is missed.
    let again = opened(folder).unwrap();
    assert_eq!(again.expect(&[(WORKFLOW, 0)]), BTreeMap::new());
}

/// A folder that was copied without some of its files says which, until nobody needs them any more.
fn a_file_that_is_missing_among_others_is_told_of_until_it_is_past_retention(tried: &TriedFolder) {
    let folder = &tried.folder;
    contents_made(folder);
    for number in 0..5 {
        KeySegment::create(folder, (WORKFLOW, number), &OneKey::new(1), 1).unwrap();
    }
    KeySegment::create(folder, (Family::OptOut, 1), &OneKey::new(1), 1).unwrap();
    for name in ["w.00000000", "w.00000002"] {
        folder.remove(name).unwrap();
    }
    let lost =
        |family, number| ((family, number), SlotError::Lost(family, KeySlot::new(number, 0)));
    let from = [(WORKFLOW, 1), (Family::OptOut, 0)];
    let wanted = BTreeMap::from([lost(WORKFLOW, 2), lost(Family::OptOut, 0)]);
    let read =
        KeyRing::open_to_read(Arc::clone(folder), &lives(1), Arc::new(OneKey::new(1))).unwrap();
    assert_eq!((read.expect(&from), read.figures().unreadable), (wanted.clone(), 2));
    let opened = opened(folder).unwrap();
    assert_eq!(opened.expect(&[(WORKFLOW, 3), (Family::OptOut, 1)]), BTreeMap::new());
    assert_eq!(opened.expect(&from), wanted);
    assert_eq!(opened.has_key(WORKFLOW, KeySlot::new(1, 5)), Ok(true));
    assert!(matches!(opened.has_key(WORKFLOW, KeySlot::new(2, 5)), Err(SlotError::Lost(..))));
    let ring = opened.begin(&[]).unwrap();
    assert_eq!(ring.names().unwrap().iter().filter(|name| name.starts_with("w.")).count(), 3);
    assert!(matches!(KeyFiles::read(&ring, "w.00000002"), Ok(None)), "a backup goes on without");
    assert_eq!(ring.retire_before(WORKFLOW, 3), Ok(1));
    assert_eq!(ring.figures().unreadable, 1, "of another family");
    ring.seal_anew(&|_| {}).unwrap();
    // One that goes while it is in use is noticed before it is needed.
    folder.remove("w.00000003").unwrap();
    assert_eq!(ring.figures().unreadable, 2);
    assert_eq!(ring.tables()[1], ("unreadable_key_segments", 2));
}

/// However far the number of a stray file is from all others.
fn so_many_missing_files_are_told_of_and_no_more(tried: &TriedFolder) {
    let folder = &tried.folder;
    contents_made(folder);
    KeySegment::create(folder, (WORKFLOW, 4_000_000_000), &OneKey::new(1), 1).unwrap();
    let missing = opened(folder).unwrap().expect(&[(WORKFLOW, 0)]);
    assert_eq!(missing.len(), 4096);
}

/// Both kinds of keys keep the same promises.
fn keys_in_memory_and_in_files_do_the_same(tried: &TriedFolder) {
    let folder = &tried.folder;
    let kinds: [Box<dyn ContentKeys>; 2] =
        [Box::new(ring(folder)), Box::new(MemoryKeys::new([7; 32]))];
    for keys in kinds {
        let [(one, one_s), (other, other_s)] = [(); 2].map(|()| keys.take(WORKFLOW).unwrap());
        assert!(one < other && one_s != other_s);
        assert_eq!(keys.key(WORKFLOW, one), Ok(Some(one_s)));
        let (of_day, day_s) = keys.take(Family::Day).unwrap();
        assert_ne!(keys.key(WORKFLOW, of_day).unwrap(), Some(day_s));
        for slot in [one, other] {
            let tags = keys.tags(WORKFLOW, slot, &["447700900001"]).unwrap();
            keys.note(WORKFLOW, slot, owner(slot.0), tags);
        }
        keys.noted_through(Cursor(2));
        let found = |keys: &dyn ContentKeys| keys.find(WORKFLOW, &["+447700900001"]).unwrap();
        assert_eq!(found(&*keys), [one, other].map(|slot| (slot, owner(slot.0))));
        keys.destroy(WORKFLOW, &[one]).unwrap();
        keys.destroy(WORKFLOW, &[one]).unwrap();
        assert_eq!(keys.key(WORKFLOW, one), Ok(None));
        assert_eq!(keys.key(WORKFLOW, other), Ok(Some(other_s)));
        assert_eq!(found(&*keys), [(other, owner(other.0))]);
        let never = KeySlot(1 << 50);
        assert_eq!(keys.key(WORKFLOW, never), Err(SlotError::NotGiven(WORKFLOW, never)));
        assert_ne!(
            keys.lasting_hash(LastingKey::OptOuts, b"x"),
            keys.lasting_hash(LastingKey::Pseudonyms, b"x")
        );
    }
}

#[test]
fn keys_in_memory_follow_from_their_seed_and_outlive_a_life() {
    let (one, same) = (MemoryKeys::new([7; 32]), MemoryKeys::new([7; 32]));
    assert_eq!(one.take(WORKFLOW), same.take(WORKFLOW));
    assert_ne!(MemoryKeys::new([8; 32]).take(WORKFLOW), one.take(WORKFLOW));
    let next_life = one.clone();
    assert!(next_life.take(WORKFLOW).unwrap().0 > KeySlot(1));
    next_life.destroy(WORKFLOW, &[KeySlot(0)]).unwrap();
    next_life.noted_through(Cursor(4));
    assert_eq!(
        (one.key(WORKFLOW, KeySlot(0)), one.destroyed(), one.noted()),
        (Ok(None), 1, Cursor(4))
    );
}

/// What is past retention needs no keys: whole files of them go, and the others stay.
fn retired_segments_leave_nothing_and_the_others_open_after_a_restart(tried: &TriedFolder) {
    let folder = &tried.folder;
    let begun = || ring(folder);
    let mut kept = Vec::new();
    for _ in 0..3 {
        // Each life begins another page; eight of them fill a segment.
        for _ in 0..8 {
            let ring = begun();
            kept.push(ring.take(WORKFLOW).unwrap());
        }
    }
    let ring = begun();
    let last = kept.last().unwrap().0.segment();
    assert!(last >= 2, "{last}");
    let files = || {
        let names = folder.names().unwrap().unwrap();
        names.into_iter().filter(|name| name.starts_with("w.")).count()
    };
    let before = files();
    assert_eq!(ring.retire_before(WORKFLOW, last), Ok(last as usize));
    assert_eq!(ring.retire_before(WORKFLOW, last), Ok(0), "once");
    assert!(files() <= before + 1 - last as usize, "one may be made meanwhile");
    let opens = |ring: &KeyRing, slot| ring.key(WORKFLOW, slot).ok().flatten();
    let same = |ring: &KeyRing| {
        for (slot, key) in &kept {
            let wanted = (slot.segment() >= last).then_some(key);
            assert_eq!(opens(ring, *slot).as_ref(), wanted, "{slot:?}");
        }
    };
    same(&ring);
    drop(ring);
    same(&begun());
}

#[test]
fn a_segment_that_cannot_be_made_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing can be renamed to that.
    fs::create_dir_all(folder.path().join("w.00000000/in-the-way")).unwrap();
    let made =
        KeySegment::create(&KeyFolderOnDisk::at(folder.path()), (WORKFLOW, 0), &OneKey::new(1), 1);
    assert!(matches!(made, Err(SlotError::Io(_))));
    let left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["w.00000000"]);
}

/// Wherever it is cut off, a segment that is retired opens whole or is gone, and is retired by the next who tries.
fn a_segment_that_is_being_retired_is_whole_or_gone_whenever_the_power_went(tried: &TriedFolder) {
    let folder = &tried.folder;
    folder.prepare().unwrap();
    let is_there = || folder.names().unwrap().unwrap_or_default().contains("w.00000000");
    let (made, pages) = KeySegment::create(folder, (WORKFLOW, 0), &OneKey::new(1), 1).unwrap();
    let (slot, key) = all_of(pages).pop_first().unwrap();
    let mut file = bytes_of(folder, "w.00000000");
    made.recorded().take_written();
    made.retire().unwrap();
    assert!(!is_there());
    let mut keys = Vec::new();
    for step in made.recorded().take_written() {
        if let WriteStep::At(at, bytes) = step {
            put(&mut file, at, &bytes);
        }
        put_file(folder, "w.00000000", &file);
        keys.push(segment(folder, 0).unwrap().key(slot).unwrap());
    }
    assert!(keys.iter().flatten().all(|found| *found == key));
    assert_eq!(keys.last(), Some(&None));
    let gone = segment(folder, 0).unwrap();
    assert!(gone.is_gone());
    gone.retire().unwrap();
    assert!(!is_there());
}

/// Each promise at the moment that its call returns.
fn what_is_durable_when_a_call_returns_outlives_a_crash(tried: &TriedFolder) {
    let folder = &tried.folder;
    contents_made(folder);
    let (made, mut keys) = new_segment(folder, 1);
    let again = || segment(&tried.after_crash().folder, 3).unwrap();
    keys.extend(all_of(made.add_pages(1).unwrap()));
    let found = again();
    assert_eq!(found.pages(), 2);
    for (slot, key) in &keys {
        assert_eq!(found.key(*slot).unwrap().as_ref(), Some(key));
    }
    let noted = |number: u64| {
        let tags = Box::from([made.tag("447700900001")]);
        SlotNote { slot: KeySlot::new(3, number as u16), owner: owner(number), tags }
    };
    // At rest each use opens the file for itself.
    for is_at_rest in [false, true] {
        if is_at_rest {
            made.rest();
        }
        let number = 1 + u64::from(is_at_rest);
        let slot = noted(number).slot;
        made.note(&[noted(number)]).unwrap();
        assert_eq!(again().find(&["447700900001"]).unwrap(), [(slot, owner(number))]);
        made.destroy(&BTreeSet::from([slot])).unwrap();
        assert_eq!((again().key(slot), again().owned().unwrap()), (Ok(None), Vec::new()));
    }
    made.seal_anew(&two_keys()).unwrap();
    let left = tried.after_crash().folder;
    assert!(KeySegment::open(&left, (WORKFLOW, 3), &OneKey::new(2), FileAccess::Read).is_ok());
    // The index with each segment, and its cursor at the end.
    let ring = ring(folder);
    let (slot, _) = ring.take(Family::Day).unwrap();
    let left = opened(&tried.after_crash().folder).unwrap();
    assert_eq!(left.has_key(Family::Day, slot), Ok(true));
    assert_eq!(left.expect(&[(Family::Day, 0)]).len(), 1, "the one that is sealed anew");
    ring.noted_through(Cursor(10));
    // Written, and not synced by that.
    ring.find(Family::Day, &["a"]).unwrap();
    ring.close().unwrap();
    assert_eq!(opened(&tried.after_crash().folder).unwrap().cursor(), Cursor(10));
}

/// On a disk what is open of it may still be read, and never by whoever opens it.
fn a_file_that_goes_while_it_is_open_is_lost_and_comes_back_by_nothing(tried: &TriedFolder) {
    let folder = &tried.folder;
    let (made, keys) = new_segment(folder, 1);
    let (slot, key) = keys.into_iter().next().unwrap();
    let names = || folder.names().unwrap().unwrap_or_default();
    let lost = SlotError::Lost(WORKFLOW, KeySlot::new(3, 0));
    assert!(!made.is_lost(&names()));
    folder.remove("w.00000003").unwrap();
    let note = [SlotNote { slot, owner: owner(1), tags: Box::default() }];
    for is_at_rest in [false, true] {
        if is_at_rest {
            made.rest();
            assert_eq!(made.key(slot), Err(lost.clone()));
        }
        assert!([Ok(Some(key.clone())), Err(lost.clone())].contains(&made.key(slot)));
        let done = [
            made.note(&note),
            made.add_pages(1).map(drop),
            made.seal_anew(&OneKey::new(1)),
            made.find(&["447700900001"]).map(drop),
            made.owned().map(drop),
            made.image(slot).map(drop),
        ];
        for done in done {
            assert!(done == Ok(()) && !is_at_rest || done == Err(lost.clone()), "{done:?}");
        }
        assert!(made.is_lost(&names()) && names().is_empty());
    }
    assert_eq!(made.retire(), Err(lost.clone()));
    let again = KeySegment::seal_file_anew(folder, (WORKFLOW, 3), &OneKey::new(1));
    assert_eq!(again, Err(lost));
}
