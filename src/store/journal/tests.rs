//! The journal over a backend that is not sled: how much is asked of one, and what happens meanwhile.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use dispatch_contract::{Channel, UnixMillis};
use uuid::Uuid;

use super::*;
use crate::{
    machine::{self, Event, Moment, NoRoutes, Partition, Plan},
    shared::plans,
    store::{
        Filter, Fingerprint, KeySlot, MemoryStore, Question, RequirementInterner,
        backend::{ChunkPart, EntryPlace, KeyedRow, RawChunk, Scanned},
    },
};

/// Keeps bytes in memory, counts what is asked of it, and lets something happen before it answers.
#[derive(Default)]
struct CountingBackend {
    is_partitioned: bool,
    chunks: Mutex<BTreeMap<Cursor, BTreeMap<Option<Partition>, Bytes>>>,
    rows: Mutex<BTreeMap<Vec<u8>, Bytes>>,
    checkpoint: Mutex<Vec<Vec<u8>>>,
    asked: Mutex<u64>,
    before_chunks: Mutex<Option<Happens>>,
    after_commit: Mutex<Option<Happens>>,
}

/// Something that happens once, and what comes of what was asked then.
type Happens = Box<dyn FnOnce() -> Result<(), StoreError> + Send>;

fn happens(slot: &Mutex<Option<Happens>>) -> Result<(), StoreError> {
    let happens = slot.lock().unwrap().take();
    happens.map_or(Ok(()), |happens| happens())
}

impl CountingBackend {
    fn count(&self) {
        *self.asked.lock().unwrap() += 1;
    }

    /// How often it was asked for something since this was last called.
    fn take_asked(&self) -> u64 {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn raw(first: Cursor, parts: &BTreeMap<Option<Partition>, Bytes>) -> RawChunk {
    let part = |(partition, bytes): (&Option<Partition>, &Bytes)| ChunkPart {
        partition: *partition,
        bytes: bytes.clone(),
    };
    RawChunk { first, parts: parts.iter().map(part).collect() }
}

/// One that keeps partitions together, and one that keeps them apart.
fn backends() -> [Arc<CountingBackend>; 2] {
    [false, true]
        .map(|is_partitioned| Arc::new(CountingBackend { is_partitioned, ..Default::default() }))
}

impl Backend for CountingBackend {
    fn is_partitioned(&self) -> bool {
        self.is_partitioned
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn check_owned(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.count();
        let rows = self.rows.lock().unwrap();
        Ok(keys.iter().map(|key| rows.get(key).cloned()).collect())
    }

    fn page(
        &self,
        range: Range<Vec<u8>>,
        from: RangeEnd,
        limit: usize,
    ) -> Result<Vec<KeyedRow>, StoreError> {
        self.count();
        let rows = self.rows.lock().unwrap();
        let rows = rows.range(range).map(|(key, value)| (key.clone(), value.clone()));
        Ok(match from {
            RangeEnd::First => rows.take(limit).collect(),
            RangeEnd::Last => rows.rev().take(limit).collect(),
        })
    }

    fn chunks(&self, from: Cursor, bytes: usize) -> Result<Vec<RawChunk>, StoreError> {
        self.count();
        let chunks = self.chunks.lock().unwrap();
        let first = chunks.range(..=from).next_back().map_or(from, |(first, _)| *first);
        let mut room = bytes;
        let some = chunks.range(first..).take_while(|(at, parts)| {
            let has_room = room > 0 || chunks.range(first..**at).count() < 2;
            room = room.saturating_sub(parts.values().map(Bytes::len).sum());
            has_room
        });
        Ok(some.map(|(first, parts)| raw(*first, parts)).collect())
    }

    fn chunks_with(&self, places: &[EntryPlace]) -> Result<Vec<RawChunk>, StoreError> {
        self.count();
        happens(&self.before_chunks)?;
        let chunks = self.chunks.lock().unwrap();
        let mut with: BTreeMap<Cursor, BTreeMap<_, _>> = BTreeMap::new();
        for place in places {
            let mut behind = chunks.range(..=place.cursor).rev();
            let part = self.is_partitioned.then_some(place.partition);
            if let Some((first, parts)) = behind.find(|(_, parts)| parts.contains_key(&part)) {
                with.entry(*first).or_default().insert(part, parts[&part].clone());
            }
        }
        Ok(with.iter().map(|(first, parts)| raw(*first, parts)).collect())
    }

    fn commit(&self, writes: Writes, _newest: Cursor) -> Result<(), StoreError> {
        let mut chunks = self.chunks.lock().unwrap();
        for RawChunk { first, parts } in writes.chunks {
            chunks.insert(first, parts.into_iter().map(|it| (it.partition, it.bytes)).collect());
        }
        if let Some(last) = writes.trim_to {
            chunks.retain(|first, _| *first > last);
        }
        let mut rows = self.rows.lock().unwrap();
        for (key, value) in writes.rows {
            match value {
                Some(value) => rows.insert(key, value.into()),
                None => rows.remove(&key),
            };
        }
        drop((chunks, rows));
        happens(&self.after_commit)
    }

    fn scan(&self, show: &mut dyn FnMut(Scanned)) {
        for (first, parts) in self.chunks.lock().unwrap().iter() {
            show(Scanned::Chunk(raw(*first, parts)));
        }
        for (key, value) in self.rows.lock().unwrap().iter() {
            show(Scanned::Row((key.clone(), value.clone())));
        }
    }

    fn note_clock(&self, _note: ClockNote) -> Result<(), StoreError> {
        Ok(())
    }

    fn write_checkpoint(
        &self,
        blocks: &mut dyn Iterator<Item = Result<Vec<u8>, StoreError>>,
    ) -> Result<(), StoreError> {
        *self.checkpoint.lock().unwrap() = blocks.collect::<Result<_, _>>()?;
        Ok(())
    }

    fn checkpoint(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        let blocks = self.checkpoint.lock().unwrap().clone();
        Box::new(blocks.into_iter())
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

const LIFE: Incarnation = Incarnation(Uuid::max());
const START: u64 = 1_700_000_000_000;

fn open(backend: &Arc<CountingBackend>) -> JournalStore {
    let checkpoint = Checkpoint::of_this_life(&**backend, Some(LIFE));
    let rebuilt = rebuild(&**backend, checkpoint).unwrap();
    let settings = MemoryStore::new().settings();
    JournalStore::new(Arc::clone(backend) as _, settings, LIFE, None, rebuilt).unwrap()
}

fn id(number: u128) -> WorkflowId {
    WorkflowId::new(Uuid::from_u128(number << 8 | (number % 16) << 4), "default", None)
}

fn at(ms: u64) -> Moment {
    Moment::both(UnixMillis(START + ms))
}

/// One that waits for its time.
fn create(store: &mut JournalStore, number: u128, label: &str) {
    commit(store, creation(number, label));
}

fn creation(number: u128, label: &str) -> Change {
    let plan = Plan {
        labels: BTreeMap::from([("team".to_owned(), label.to_owned())]),
        client_ref: Some(format!("ref-{number}")),
        send_at: Some(UnixMillis(START + 1_000_000_000)),
        ..plans::plan(vec![plans::step(Channel::SMS, None)])
    };
    let at = at(number as u64);
    let record = plans::record(id(number), at, plan);
    let mut state = RequirementInterner::default().workflow(&record);
    let facts = machine::create(&mut state, at, &NoRoutes);
    let tenant = Arc::clone(&record.tenant);
    let (record, messages) = (Some(Arc::new(record)), Vec::new());
    Change { record, tenant, at, expected: 0, facts, state, messages }
}

fn cancel(store: &mut JournalStore, number: u128, ms: u64) {
    let change = cancellation(store, number, ms);
    commit(store, change);
}

fn cancellation(store: &JournalStore, number: u128, ms: u64) -> Change {
    let mut state = store.load(id(number)).unwrap().unwrap();
    let expected = state.sequence;
    let facts = machine::handle(&mut state, at(ms), Event::Cancel, &NoRoutes);
    let (tenant, at) = (Arc::from("default"), at(ms));
    Change { record: None, tenant, at, expected, facts, state, messages: Vec::new() }
}

fn commit(store: &mut JournalStore, change: Change) {
    commit_all(store, vec![change]);
}

fn commit_all(store: &mut JournalStore, changes: Vec<Change>) {
    store.commit(ChangeSet { changes, ..ChangeSet::default() }).unwrap();
}

/// Each kind of backend with so many workflows, a chunk a transition, of which all but every tenth have ended.
fn with_lives(count: u128) -> impl Iterator<Item = (Arc<CountingBackend>, JournalStore)> {
    backends().into_iter().map(move |backend| {
        let store = lives(&backend, count);
        (backend, store)
    })
}

fn lives(backend: &Arc<CountingBackend>, count: u128) -> JournalStore {
    let mut store = open(backend);
    for number in 0..count {
        create(&mut store, number, if number % 50 == 0 { "blue" } else { "red" });
        if number % 10 != 0 {
            cancel(&mut store, number, number as u64 + 1);
        }
    }
    backend.take_asked();
    store
}

#[test]
fn a_start_asks_little_and_finds_all() {
    for (backend, store) in with_lives(400) {
        drop(store);
        backend.take_asked();
        let store = open(&backend);
        assert_eq!(store.open_count(), 40);
        let asked = backend.take_asked();
        assert!(asked <= 20, "{asked} questions for 400 workflows");
    }
}

/// More than one chunk has room for, all in two commits.
#[test]
fn a_batch_of_all_partitions_is_read_whole_and_in_order() {
    for backend in backends() {
        let mut store = open(&backend);
        commit_all(&mut store, (0..1000).map(|number| creation(number, "red")).collect());
        let ends: Vec<_> =
            (0..1000).rev().map(|number| cancellation(&store, number, 2000)).collect();
        commit_all(&mut store, ends);
        let check = |store: &JournalStore| {
            let reader = store.reader();
            let rows = reader.after(Cursor(0), 10_000).unwrap();
            let cursors: Vec<_> = rows.iter().map(|row| row.cursor.0).collect();
            assert_eq!(cursors, (1..=2000).collect::<Vec<_>>());
            for number in 0..1000 {
                let timeline = reader.timeline(id(number)).unwrap();
                let places: Vec<_> = timeline.iter().map(|row| row.cursor.0).collect();
                assert_eq!(places, [number as u64 + 1, 2000 - number as u64]);
            }
        };
        check(&store);
        drop(store);
        let store = open(&backend);
        assert_eq!(store.open_count(), 0);
        check(&store);
        let chunks = backend.chunks.lock().unwrap();
        assert!(chunks.len() > 2, "some are full");
        let parts = if backend.is_partitioned { 16 } else { 1 };
        assert!(chunks.values().all(|it| it.len() == parts), "all partitions");
    }
}

#[test]
fn many_are_read_with_few_questions() {
    for (backend, store) in with_lives(400) {
        let reader = store.reader();
        let entries = reader.entries(None, 64).unwrap();
        assert_eq!(entries.len(), 64);
        for (number, entry) in (0..).zip(&entries) {
            let rows: Vec<_> = reader.timeline(id(number)).unwrap();
            assert_eq!(rows.iter().map(|row| (**row).clone()).collect::<Vec<_>>(), entry.rows);
        }
        backend.take_asked();
        reader.entries(None, 64).unwrap();
        let asked = backend.take_asked();
        assert!(asked <= 8, "{asked} questions for 64 workflows of two transitions");
    }
}

#[test]
fn who_follows_hears_every_row_once_and_of_news_with_one_question() {
    for (backend, store) in with_lives(2000) {
        let (reader, newest) = (store.reader(), store.reader().newest());
        let follow = |behind, limit| {
            backend.take_asked();
            let rows = reader.after(behind, limit).unwrap();
            let cursors: Vec<_> = rows.iter().map(|row| row.cursor.0).collect();
            (cursors, backend.take_asked())
        };
        let (cursors, asked) = follow(Cursor(0), 10_000);
        assert_eq!(cursors, (1..=newest.0).collect::<Vec<_>>());
        assert!(
            (2..=20).contains(&asked),
            "{asked} questions: more than one page of chunks, and few"
        );
        assert_eq!(follow(Cursor(1000), 7).0, (1001..=1007).collect::<Vec<_>>());
        assert_eq!(follow(Cursor(newest.0 - 1), 256), (vec![newest.0], 1));
        assert_eq!(follow(newest, 256).0, Vec::<u64>::new());
    }
}

#[test]
fn what_is_about_to_be_asked_for_is_asked_for_at_once() {
    for backend in backends() {
        let mut store = open(&backend);
        let made = |number: u64| ExistingRequest {
            id: id(u128::from(number)),
            slot: KeySlot(number),
            fingerprint: Fingerprint([7; 16]),
        };
        let request_id = |number: u64| format!("request-{number}");
        for number in 0..50 {
            let row = codec::encode(&made(number)).unwrap();
            let key = keys::request("acme", &request_id(number));
            backend.rows.lock().unwrap().insert(key, row.into());
        }
        let ids: Vec<_> = (0..100).map(request_id).collect();
        let questions =
            || ids.iter().map(|request_id| Question::Request { tenant: "acme", request_id });
        backend.take_asked();
        store.read_ahead(&mut questions()).unwrap();
        for number in 0..100 {
            let found = store.find_request("acme", &request_id(number)).unwrap();
            assert_eq!(found, (number < 50).then(|| made(number)));
        }
        assert_eq!(backend.take_asked(), 1);
        // What was read ahead holds until something is written.
        let key = keys::request("acme", &request_id(1));
        backend.rows.lock().unwrap().remove(&key);
        create(&mut store, 1, "red");
        assert_eq!(store.find_request("acme", &request_id(1)).unwrap(), None);
    }
}

#[test]
fn states_of_many_are_loaded_with_few_questions() {
    for (backend, store) in with_lives(400) {
        let ids: Vec<_> = (0..100).chain([1_000]).map(id).collect();
        let one_by_one: Vec<_> = ids.iter().map(|id| store.load(*id).unwrap()).collect();
        backend.take_asked();
        assert_eq!(store.load_all(&ids).unwrap(), one_by_one);
        assert!(one_by_one[100].is_none() && one_by_one.iter().flatten().count() == 100);
        let asked = backend.take_asked();
        assert!(asked <= 12, "{asked} questions for 100 workflows of two transitions");
        let reader = store.reader();
        let one_by_one: Vec<_> = ids.iter().map(|id| reader.record(*id).unwrap()).collect();
        backend.take_asked();
        assert_eq!(reader.records(&ids).unwrap(), one_by_one);
        assert_eq!(one_by_one.iter().flatten().count(), 100);
        let asked = backend.take_asked();
        assert!(asked <= 4, "{asked} questions for the records of 100 workflows");
    }
}

#[test]
fn a_list_by_state_asks_little_and_reads_what_it_shows() {
    for (backend, store) in with_lives(2000) {
        let reader = store.reader();
        let list = |filter: &Filter| {
            backend.take_asked();
            let page = reader.list(filter, None, 20).unwrap();
            let ids: Vec<_> = page.workflows.iter().map(|(record, _)| record.id).collect();
            (ids, page.next.is_some(), backend.take_asked())
        };
        let open = Filter { states: vec!["SCHEDULED"], ..Filter::default() };
        let newest: Vec<_> = (0..20).map(|number| id(1990 - number * 10)).collect();
        let (ids, has_next, asked) = list(&open);
        assert_eq!((ids, has_next), (newest, true));
        assert!(asked <= 6, "{asked} questions for 20 open among 200");

        let labels = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
        let blue = Filter { labels, states: vec!["SCHEDULED"], ..Filter::default() };
        let newest: Vec<_> = (0..20).map(|number| id(1950 - number * 50)).collect();
        let (ids, has_next, asked) = list(&blue);
        assert_eq!((ids, has_next), (newest, true));
        assert!(asked <= 12, "{asked} questions for 20 blue ones among 1000");

        // One that has ended, by its reference.
        let of = Filter { client_ref: Some("ref-1777".to_owned()), ..Filter::default() };
        let (ids, _, asked) = list(&of);
        assert_eq!(ids, [id(1777)]);
        assert!(asked <= 60, "{asked} questions for one reference among 2000");

        // Far back, and there is none: what is passed over is not read.
        let none = Filter { states: vec!["FAILED"], ..Filter::default() };
        let (ids, has_next, asked) = list(&none);
        assert_eq!((ids, has_next), (Vec::new(), false));
        assert!(asked <= 10, "{asked} questions to find that nothing failed");
    }
}

#[test]
fn a_list_looks_again_where_a_chunk_could_not_be_read() {
    for (backend, store) in with_lives(100) {
        let reader = store.reader();
        let read = |filter: &Filter| {
            let page = reader.list(filter, None, 50).unwrap();
            page.workflows.iter().map(|(record, _)| record.id).collect::<Vec<_>>()
        };
        for states in [vec!["SCHEDULED"], vec!["CANCELED"]] {
            let filter = Filter { states, ..Filter::default() };
            let wanted = read(&filter);
            assert!(wanted.len() >= 10);
            // As it is where its pieces are taken away while it is put together.
            *backend.before_chunks.lock().unwrap() = Some(Box::new(|| {
                let (place, problem) =
                    ("a chunk".to_owned(), "a piece of it is missing".to_owned());
                Err(StoreError::Corrupt { place, problem })
            }));
            assert_eq!(read(&filter), wanted);
            assert!(backend.before_chunks.lock().unwrap().is_none(), "it happened");
        }
    }
}

/// A sweep is durable, and where it put what is open is not said yet.
#[test]
fn what_is_moved_while_it_becomes_durable_is_found() {
    for backend in backends() {
        let mut store = open(&backend);
        create(&mut store, 1, "red");
        let reader = store.reader();
        let before = reader.timeline(id(1)).unwrap();
        // The chunk that was read last would be at hand.
        create(&mut store, 2, "red");
        reader.timeline(id(2)).unwrap();
        let (found, wanted) = std::sync::mpsc::channel();
        let asked = Arc::clone(&backend);
        *backend.after_commit.lock().unwrap() = Some(Box::new(move || {
            asked.take_asked();
            std::thread::spawn(move || found.send(reader.timeline(id(1))));
            while *asked.asked.lock().unwrap() == 0 {
                std::thread::yield_now();
            }
            // It has looked where nothing is any more.
            std::thread::sleep(std::time::Duration::from_millis(50));
            Ok(())
        }));
        let swept = store.sweep(at(1_000_000).engine, at(500_000).engine, 1000).unwrap();
        assert_eq!(swept.compacted, 2);
        assert_eq!(wanted.recv().unwrap().unwrap(), before);
    }
}

/// Retention puts what must stay elsewhere while somebody reads it.
#[test]
fn what_is_moved_while_it_is_read_is_found_where_it_is_now() {
    for backend in backends() {
        let mut store = open(&backend);
        // Ended long after they began: the edge does not wait for them.
        for number in 0..20 {
            create(&mut store, number, "red");
        }
        for number in 0..10 {
            cancel(&mut store, number, 900_000);
        }
        let reader = store.reader();
        let before: Vec<_> = (0..20).map(|number| reader.timeline(id(number)).unwrap()).collect();
        let mut store = store;
        *backend.before_chunks.lock().unwrap() = Some(Box::new(move || {
            let (now, past) = (at(1_000_000).engine, at(500_000).engine);
            let swept = store.sweep(now, past, 1000).unwrap();
            assert_eq!((swept.rows, swept.compacted), (20, 20));
            Ok(())
        }));
        let entries = reader.entries(None, 64).unwrap();
        let read: Vec<_> = entries.into_iter().map(|entry| entry.rows).collect();
        let before = before.iter().map(|rows| rows.iter().map(|row| (**row).clone()).collect());
        assert_eq!(read, before.collect::<Vec<Vec<_>>>());
        assert!(backend.before_chunks.lock().unwrap().is_none(), "it happened");
    }
}

/// Damage that nobody comes to yet ends no service.
#[test]
fn retention_looks_at_no_chunk_behind_the_first_that_stays() {
    for (backend, mut store) in with_lives(100) {
        let newest = store.reader().newest();
        let damaged = BTreeMap::from([(None, Bytes::from_static(b"damaged"))]);
        backend.chunks.lock().unwrap().insert(newest, damaged);
        let swept = store.sweep(at(1_000_000).engine, at(50).engine, 1000).unwrap();
        assert!(swept.forgotten.len() > 40, "{swept:?}");
        let damaged = store.sweep(at(1_000_000).engine, at(500_000).engine, 1000);
        assert!(matches!(damaged, Err(StoreError::Corrupt { .. })), "{damaged:?}");
    }
}

#[test]
fn retention_leaves_nothing_that_leads_to_what_is_gone() {
    for (backend, mut store) in with_lives(400) {
        let swept = store.sweep(at(2_000_000).engine, at(1_000_000).engine, 100_000).unwrap();
        assert_eq!((swept.forgotten.len(), swept.compacted), (360, 40));
        let rows = backend.rows.lock().unwrap();
        assert!(rows.keys().all(|key| key.starts_with(b"m")), "nothing leads to what is gone");
        drop(rows);
        let reader = store.reader();
        drop(store);
        let again = open(&backend);
        assert_eq!(again.open_count(), 40);
        let timelines = |reader: &dyn Reader| {
            (0..40).map(|number| reader.timeline(id(number * 10)).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(timelines(&*again.reader()), timelines(&*reader));
    }
}
