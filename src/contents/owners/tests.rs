use std::{sync::Arc, time::Duration};

use dispatch_contract::{Channel, UnixMillis};
use uuid::Uuid;

use super::*;
use crate::{
    contents::{ContentKeys, KeyRing, damaged::DamagedReader, tests::OneKey},
    machine::Moment,
    shared::{engines, plans},
    store::{KeyFolder, KeyFolderOnDisk, MemoryStore, Store, StoreLives, TriedFolder},
};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const HERE: &str = "447700900000";

fn ring(folder: &Arc<dyn KeyFolder>, store: &MemoryStore) -> Arc<KeyRing> {
    let lives = StoreLives::of(&*store.reader());
    let opened = KeyRing::open(Arc::clone(folder), &lives, Arc::new(OneKey::new(1))).unwrap();
    Arc::new(opened.begin(&[]).unwrap())
}

/// A workflow that reaches [`HERE`], in the journal.
fn create(store: &mut MemoryStore, keeper: &ContentsKeeper, number: u128) -> WorkflowId {
    let id = WorkflowId(Uuid::from_u128((u128::from(NOW.0) << 80) | number));
    let request = plans::request(plans::plan(vec![plans::step(Channel::SMS, None)]), "x");
    let record = plans::sealed(keeper, id, Moment::both(NOW), request, None);
    engines::create(store, record, true);
    id
}

/// A life of the keys, and who seals with them.
fn begun(folder: &Arc<dyn KeyFolder>, store: &MemoryStore) -> (Arc<KeyRing>, ContentsKeeper) {
    let ring = ring(folder, store);
    let keeper = ContentsKeeper::new(Arc::clone(&ring) as Arc<_>);
    (ring, keeper)
}

fn found(keys: &dyn ContentKeys) -> Vec<WorkflowId> {
    let found = keys.find(Family::Workflow, &[HERE]).unwrap();
    found.into_iter().map(|(_, owner)| workflow(owner)).collect()
}

#[test]
fn what_a_killed_process_did_not_write_is_noted_again_out_of_the_journal() {
    let kinds = || [TriedFolder::on_disk(), TriedFolder::in_rows()];
    let cases = [false, true].into_iter().flat_map(|it| kinds().map(|tried| (it, tried)));
    for (is_trimmed, tried) in cases {
        let mut store = MemoryStore::new();
        let (ring, keeper) = begun(&tried.folder, &store);
        let written = create(&mut store, &keeper, 1);
        keeper.note_journal(&*store.reader()).unwrap();
        ring.close().unwrap();
        drop((ring, keeper));

        let (ring, keeper) = begun(&tried.folder, &store);
        assert_eq!(ring.noted(), store.reader().newest());
        let unwritten = create(&mut store, &keeper, 2);
        drop(keeper);
        Arc::into_inner(ring).unwrap().kill();

        let (ring, keeper) = begun(&tried.after_crash().folder, &store);
        assert_eq!(found(&*ring), [written]);
        if is_trimmed {
            // Its rows left the journal, and it is still open.
            store.sweep(NOW, NOW.plus(Duration::from_secs(1)), 1000).unwrap();
            assert!(ring.noted() < store.reader().oldest());
        }
        keeper.note_journal(&*store.reader()).unwrap();
        assert_eq!(found(&*ring), [written, unwritten]);
        assert_eq!(ring.noted(), store.reader().newest());
    }
}

#[test]
fn a_workflow_that_is_damaged_keeps_no_others_from_being_noted() {
    let (folder, mut store) = (tempfile::tempdir().unwrap(), MemoryStore::new());
    let (ring, keeper) = begun(&KeyFolderOnDisk::at(folder.path()), &store);
    let [damaged, sound] = [1, 2].map(|number| create(&mut store, &keeper, number));
    drop(keeper);
    Arc::into_inner(ring).unwrap().kill();
    let (ring, keeper) = begun(&KeyFolderOnDisk::at(folder.path()), &store);
    let reader = DamagedReader { inner: store.reader(), damaged };
    keeper.note_journal(&reader).unwrap();
    assert_eq!(found(&*ring), [sound]);
    assert_eq!(ring.noted(), store.reader().newest());
    // Whoever looks for somebody is told, and finds it once it can be read.
    let look = |reader: &dyn Reader| {
        let FoundOwners { candidates, unreadable, .. } = keeper.find(reader, &[HERE]).unwrap();
        let candidates = candidates.into_iter().map(|(_, id)| id);
        (candidates.collect::<Vec<_>>(), unreadable.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(look(&reader), (vec![sound], vec![damaged]));
    assert_eq!(look(&*store.reader()), (vec![damaged, sound], vec![]));
}

/// To take it for nothing would hide the person from every erasure.
#[test]
fn a_key_that_cannot_be_read_for_a_moment_is_noted_when_it_can() {
    let (folder, mut store) = (tempfile::tempdir().unwrap(), MemoryStore::new());
    let (ring, keeper) = begun(&KeyFolderOnDisk::at(folder.path()), &store);
    let id = create(&mut store, &keeper, 1);
    drop(keeper);
    Arc::into_inner(ring).unwrap().kill();
    let (ring, keeper) = begun(&KeyFolderOnDisk::at(folder.path()), &store);
    let file = folder.path().join("w.00000000");
    let whole = std::fs::read(&file).unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_len(4096).unwrap();
    let failed = keeper.note_journal(&*store.reader());
    assert!(matches!(failed, Err(NoteError::Keys(SlotError::Io(_)))), "{failed:?}");
    // In place: it is the same file that the ring has open.
    std::fs::write(&file, &whole).unwrap();
    keeper.note_journal(&*store.reader()).unwrap();
    assert_eq!(found(&*ring), [id]);
}
