//! What a data folder survives: being opened again, by a checkpoint or without, retention, backups,
//! and other people's files.

use super::*;

#[test]
fn sled_opens_again_with_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    for number in 1..=30_u128 {
        let id = driver.create(number, "x");
        if number % 2 == 0 {
            driver.accept(id);
        }
        if number % 3 == 0 {
            driver.tell(id, Event::Cancel);
        }
        if number % 6 == 0 {
            driver.reach(id, Status::Delivered);
        }
    }
    let ids: Vec<_> = (1..=30).map(id).collect();
    let before: Vec<_> =
        ids.iter().map(|id| (driver.store.load(*id).unwrap(), driver.timeline(*id))).collect();
    let all_due = |driver: &Driver| {
        [ClockKind::Engine, ClockKind::Wall]
            .map(|clock| driver.store.due(clock, None, UnixMillis(u64::MAX), 100))
    };
    let due = all_due(&driver);
    let (time, newest) = (driver.store.last_time(), driver.store.reader().newest());
    let incarnation = driver.store.reader().incarnation();
    drop(driver);

    let driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    let after: Vec<_> =
        ids.iter().map(|id| (driver.store.load(*id).unwrap(), driver.timeline(*id))).collect();
    assert_eq!(after, before);
    assert_eq!(all_due(&driver), due);
    assert_eq!((driver.store.last_time(), driver.store.reader().newest()), (time, newest));
    assert_eq!(driver.store.reader().incarnation(), incarnation);
}

#[test]
fn sled_opens_again_after_retention_moved_everything() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    let id = driver.create(1, "x");
    driver.accept(id);
    let only_made = driver.create(2, "x");
    let its_row = driver.timeline(only_made);
    let before =
        (driver.store.load(id).unwrap(), driver.timeline(id), driver.store.reader().newest());
    driver.store.sweep(UnixMillis(driver.now), UnixMillis(driver.now), 100).unwrap();
    drop(driver);
    let mut driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    assert_eq!((driver.store.load(id).unwrap(), driver.timeline(id)), (before.0, before.1));
    assert_eq!(driver.timeline(only_made), its_row, "a first row is carried by itself, too");
    assert!(driver.store.reader().newest() > before.2, "a cursor is never used twice");
    driver.tell(id, Event::Cancel);
    assert!(driver.store.load(id).unwrap().unwrap().has_ended());
}

#[test]
fn retention_carries_an_old_open_workflow_once_and_not_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    let id = driver.create(1, "x");
    driver.accept(id);
    let now = UnixMillis(driver.now + 1_000_000);
    let before = UnixMillis(driver.now + 500_000);
    let first = driver.store.sweep(now, before, 2).unwrap();
    let second = driver.store.sweep(now, before, 2).unwrap();
    assert_eq!((first.rows, first.compacted), (2, 1));
    assert_eq!((second.rows, second.compacted), (1, 0), "its last old row needs no second copy");
    assert_eq!(driver.store.sweep(now, before, 100).unwrap().rows, 0);
    assert_eq!(driver.timeline(id), driver.remembered(id));
    assert_eq!(driver.store.last_time().engine, now);
    drop(driver);
    let store = open(folder.path()).unwrap();
    assert_eq!(store.last_time().engine, now, "engine time never falls behind the journal");
}

/// A simple generator: what it gives is all that the histories below hang on.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn a_start_from_a_checkpoint_is_a_start_from_the_whole_journal() {
    let folder = tempfile::tempdir().unwrap();
    let options = SledOptions { folder: folder.path().to_owned(), cache_bytes: 1 << 24 };
    let checkpoint = folder.path().join("checkpoint");
    let half = tempfile::tempdir().unwrap();
    let (mut dice, mut ids, mut now) = (Dice(7), Vec::new(), START);
    let (mut seen, mut early) = (0, Vec::new());
    for life in 0..12 {
        let mut store = options.open().unwrap();
        // Several while the writer works, in most lives.
        store.checkpoint_after(if life % 3 == 0 { u64::MAX } else { 60 });
        let mut driver = Driver { now, ..Driver::new(Box::new(store)) };
        for _ in 0..400 {
            let number = ids.len() as u128 + 1;
            let some =
                |dice: &mut Dice, ids: &[WorkflowId]| ids[dice.roll(ids.len() as u64) as usize];
            match dice.roll(8) {
                0..3 => ids.push(driver.create(number, "x")),
                _ if ids.is_empty() => {}
                3..5 => {
                    let id = some(&mut dice, &ids);
                    let state = driver.store.load(id).unwrap();
                    if state.is_some_and(|state| state.wants_permit().is_some()) {
                        driver.accept(id);
                    }
                }
                5 => {
                    let id = some(&mut dice, &ids);
                    if driver.store.load(id).unwrap().is_some() {
                        driver.tell(id, Event::Cancel);
                    }
                }
                6 => {
                    let id = some(&mut dice, &ids);
                    let state = driver.store.load(id).unwrap();
                    if state.is_some_and(|state| state.attempt(1).is_some()) {
                        driver.reach(id, Status::Delivered);
                    }
                }
                _ => {
                    let before = UnixMillis(driver.now - 300);
                    driver.store.sweep(UnixMillis(driver.now), before, 5).unwrap();
                }
            }
        }
        now = driver.now;
        drop(driver);
        seen += usize::from(checkpoint.exists());
        if life == 1 {
            early = std::fs::read(&checkpoint).unwrap();
        }
        if life == 6 {
            let copied = std::process::Command::new("cp")
                .arg("-r")
                .args([folder.path(), &half.path().join("data")])
                .status();
            assert!(copied.unwrap().success());
        }
        // Compares both starts, workflow by workflow.
        assert_eq!(options.check().unwrap().findings, [], "life {life}");
    }
    assert!(seen > 8, "there were checkpoints to start from: {seen}");

    // One that retention has gone past is none to start from.
    let whole = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &early).unwrap();
    assert_eq!(options.check().unwrap().findings, [], "an early one");
    std::fs::write(&checkpoint, &whole).unwrap();
    // A torn one is no hindrance, whatever is left of it.
    let open = options.open().unwrap().open_count();
    for cut in (0..whole.len()).step_by(whole.len() / 50) {
        std::fs::write(&checkpoint, &whole[..cut]).unwrap();
        assert_eq!(options.open().unwrap().open_count(), open, "cut at {cut}");
    }
    // One of another store is no hindrance either.
    std::fs::write(&checkpoint, &whole).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = SledOptions { folder: elsewhere.path().to_owned(), ..options.clone() };
    drop(other.open().unwrap());
    std::fs::copy(&checkpoint, elsewhere.path().join("checkpoint")).unwrap();
    assert_eq!(other.open().unwrap().open_count(), 0);
    // One that has seen what the journal does not have is a witness.
    let older = SledOptions { folder: half.path().join("data"), ..options.clone() };
    std::fs::copy(&checkpoint, older.folder.join("checkpoint")).unwrap();
    std::fs::remove_file(older.folder.join("dispatch.mark")).unwrap();
    let refused = older.open().map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("rows of the journal") && refused.contains("are lost"), "{refused}");

    // Whoever accepts the loss begins another life: nothing of the lost one comes back in it.
    let store = older.open_after_loss().unwrap();
    let life = store.reader().incarnation();
    let before = store.open_count();
    let mut driver = Driver { now, ..Driver::new(Box::new(store)) };
    let new: Vec<_> = (10_000..13_000).map(|number| driver.create(number, "x")).collect();
    drop(driver);
    let store = older.open().unwrap();
    assert_eq!(store.open_count(), before + new.len());
    assert_eq!(store.reader().open_of("default"), store.open_count());
    assert_eq!(store.reader().incarnation(), life);
    let first = options.open().unwrap().reader().incarnation();
    assert_ne!(life, first, "whoever followed what is lost is told");
    assert_eq!(store.reader().former_incarnations(), [first], "and what belongs to it is known");
    drop(store);
    assert_eq!(older.check().unwrap().findings, []);
}

/// Ended while its call was out, and carried by retention between that and the call's answer.
#[test]
fn a_workflow_is_kept_until_no_row_of_it_needs_it_in_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    let id = driver.create(1, "x");
    let attempt = driver.store.load(id).unwrap().unwrap().wants_permit().unwrap();
    driver.tell(id, Event::PermitGranted { attempt });
    driver.now += 1000;
    driver.tell(id, Event::Cancel);
    let ended = driver.now;
    driver.now += 1000;
    let before = UnixMillis(ended - 500);
    assert_eq!(driver.store.sweep(UnixMillis(driver.now), before, 10).unwrap().compacted, 1);
    driver.tell(id, Event::Lost { attempt });
    assert_eq!(driver.store.open_count(), 0);
    driver.store.sweep(UnixMillis(driver.now), UnixMillis(ended + 1), 10).unwrap();
    drop(driver);
    let mut store = open(folder.path()).unwrap();
    assert_eq!(store.open_count(), 0);
    // And then it goes.
    let late = UnixMillis(ended + 1_000_000);
    store.sweep(late, late, 10).unwrap();
    assert_eq!(store.reader().record(id).unwrap(), None);
}

/// A value that compression does not get below what sled may be given is cut, and put together again.
#[test]
fn what_cannot_be_compressed_is_cut_and_whole_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = 1_u64;
    let text: String = (0..100_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
            char::from_u32(0x4E00 + (state >> 50) as u32).unwrap()
        })
        .collect();
    let mut driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    let id = driver.create(1, &text);
    let (record, rows) = (driver.store.reader().record(id).unwrap(), driver.timeline(id));
    assert!(record.is_some() && !rows.is_empty());
    drop(driver);
    let mut driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    assert_eq!(driver.store.reader().record(id).unwrap(), record);
    assert_eq!(driver.timeline(id), rows);
    // Carried, it is cut once more, and what was there is gone with its pieces.
    let late = UnixMillis(driver.now + 1_000_000);
    assert_eq!(driver.store.sweep(late, late, 10).unwrap().compacted, 1);
    assert_eq!(driver.store.reader().record(id).unwrap(), record);
    driver.now = late.0;
    driver.tell(id, Event::Cancel);
    drop(driver);
    let options = SledOptions { folder: folder.path().to_owned(), cache_bytes: 1 << 24 };
    assert_eq!(options.check().unwrap().findings, []);
}

/// One commit with many changes: several chunks, with rows of one workflow in more than one.
#[test]
fn a_large_batch_is_kept_row_by_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Driver::new(Box::new(MemoryStore::new()));
    let mut batch = ChangeSet::default();
    let ids: Vec<_> = (1..=300)
        .map(|number| {
            let id = model.create(number, &plans::noise(2000));
            model.accept(id);
            if number % 3 == 0 {
                model.tell(id, Event::Cancel);
            }
            id
        })
        .collect();
    // The model's rows, told once more as one batch: the states in between are the model's too.
    let reader = model.store.reader();
    let mut states: BTreeMap<WorkflowId, Workflow> = BTreeMap::new();
    for row in &model.rows {
        let id = row.workflow;
        let record = reader.record(id).unwrap().unwrap();
        let is_first = row.sequence == 1;
        let state = states.entry(id).or_insert_with(|| model.needs.workflow(&record));
        row.facts.iter().for_each(|fact| state.apply(row.at, fact));
        let messages = named(id, &row.facts, row.at);
        batch.changes.push(Change {
            record: is_first.then(|| Arc::clone(&record)),
            tenant: Arc::clone(&row.tenant),
            at: row.at,
            expected: row.sequence - 1,
            facts: row.facts.clone(),
            state: state.clone(),
            messages,
        });
    }
    let mut store = open(folder.path()).unwrap();
    assert_eq!(store.commit(batch).unwrap(), model.rows);
    let same = |store: &JournalStore| {
        let kept = store.reader();
        assert_eq!(kept.after(Cursor(0), 10_000).unwrap(), model.rows);
        assert_eq!(kept.after(Cursor(500), 7).unwrap(), model.rows[500..507]);
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(kept.record(*id).unwrap(), reader.record(*id).unwrap(), "{number}");
            assert_eq!(kept.timeline(*id).unwrap(), reader.timeline(*id).unwrap());
            assert_eq!(kept.workflow(*id).unwrap(), reader.workflow(*id).unwrap());
        }
        let all = Filter { tenant: Some(Arc::from("default")), ..Filter::default() };
        let (page, wanted) = (kept.list(&all, None, 250), reader.list(&all, None, 250));
        assert_eq!(page.unwrap().workflows, wanted.unwrap().workflows);
        assert_eq!(kept.entries(None, 10_000).unwrap(), reader.entries(None, 10_000).unwrap());
    };
    same(&store);
    drop(store);
    same(&open(folder.path()).unwrap());
    let options = SledOptions { folder: folder.path().to_owned(), cache_bytes: 1 << 24 };
    assert_eq!(options.check().unwrap().findings, []);

    // Retention takes whole chunks; as long as it took what it might, there may be more.
    let (mut store, now) = (open(folder.path()).unwrap(), UnixMillis(model.now));
    let mut rounds = 0;
    while store.sweep(now, now, 10).unwrap().has_more {
        rounds += 1;
    }
    assert!(rounds > 3, "{rounds}");
    let reader = store.reader();
    assert_eq!(reader.after(reader.oldest(), 10).unwrap(), [], "only what is open was carried");
    assert_eq!(store.open_count(), 200);
    for (number, id) in (1..).zip(&ids) {
        let rows =
            if number % 3 == 0 { Vec::new() } else { model.store.reader().timeline(*id).unwrap() };
        assert_eq!(reader.timeline(*id).unwrap(), rows, "{number}");
    }
    drop((reader, store));
    assert_eq!(open(folder.path()).unwrap().open_count(), 200);
    assert_eq!(options.check().unwrap().findings, []);
}

/// Written twice is only what lives longer than a tenth of the retention.
#[test]
fn the_edge_waits_a_while_for_what_ended_after_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    let id = driver.create(1, "x");
    driver.accept(id);
    driver.now += 50_000;
    driver.tell(id, Event::Cancel);
    let ended = driver.now - 1;
    let retention = 1_000_000;
    let mut sweep_at = |now: u64| {
        let swept = driver.store.sweep(UnixMillis(now), UnixMillis(now - retention), 100).unwrap();
        (swept.rows, swept.forgotten.len(), swept.compacted)
    };
    assert_eq!(sweep_at(ended + retention - 10_000), (0, 0, 0), "old, and it waits");
    assert_eq!(sweep_at(ended + retention), (0, 0, 0), "it ended not before, but at that time");
    assert_eq!(sweep_at(ended + retention + 1), (4, 1, 0), "all at once");
    assert_eq!(driver.store.reader().record(id).unwrap(), None);
    assert_eq!(driver.store.find_message("p/main", "p-1-1").unwrap(), None);

    let id = driver.create(2, "x");
    driver.now += 200_000;
    driver.tell(id, Event::Cancel);
    let ended = driver.now - 1;
    let rows = driver.timeline(id);
    let now = ended + retention - 50_000;
    let swept = driver.store.sweep(UnixMillis(now), UnixMillis(now - retention), 100).unwrap();
    assert_eq!(
        (swept.rows, swept.forgotten.len(), swept.compacted),
        (1, 0, 1),
        "longer than a tenth"
    );
    assert_eq!(driver.timeline(id), rows);
    drop(driver);
    let mut driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    driver.now = now;
    assert_eq!((driver.timeline(id), driver.store.open_count()), (rows, 0));
    let mut sweep_at = |now: u64| {
        let swept = driver.store.sweep(UnixMillis(now), UnixMillis(now - retention), 100).unwrap();
        (swept.rows, swept.forgotten.len(), swept.compacted)
    };
    assert_eq!(sweep_at(ended + retention + 1), (1, 1, 0), "and then in its time");
    assert_eq!(driver.store.reader().record(id).unwrap(), None);
    drop(driver);
    assert_eq!(open(folder.path()).unwrap().open_count(), 0);
    let options = SledOptions { folder: folder.path().to_owned(), cache_bytes: 1 << 24 };
    assert_eq!(options.check().unwrap().findings, []);
}

fn backed_up(frames: Backup, into: &Path) -> Result<JournalStore, StoreError> {
    let bytes: Vec<u8> = frames.flat_map(|frame| frame.unwrap()).collect();
    let file = into.join("one.backup");
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(check_backup(&file).findings, []);
    let options = SledOptions { folder: into.join("restored"), cache_bytes: 1 << 24 };
    options.restore(&file)?;
    assert_eq!(options.check().unwrap().findings, []);
    options.open()
}

#[test]
fn a_backup_whose_newest_row_is_of_a_forgotten_workflow_restores() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::new(Box::new(open(&folder.path().join("data")).unwrap()));
    let id = driver.create(1, "x");
    driver.accept(id);
    driver.tell(id, Event::Cancel);
    let kept = driver.create(2, "x");
    driver.reach(id, Status::Delivered);
    driver.now += 1000;
    driver.store.sweep(UnixMillis(driver.now), UnixMillis(driver.now - 500), 10).unwrap();
    assert_eq!(driver.store.reader().record(id).unwrap(), None);
    let restored = backed_up(
        Backup::of(driver.store.reader(), driver.store.settings(), None).unwrap(),
        folder.path(),
    )
    .unwrap();
    assert_eq!(restored.open_ids(None, 10), [kept]);
    // What stands beside the store is known to be its own, however often it is opened.
    let taken_of = driver.store.reader().incarnation();
    assert_eq!(restored.reader().former_incarnations(), [taken_of]);
    drop(restored);
    let again = open(&folder.path().join("restored")).unwrap();
    assert_eq!(again.reader().former_incarnations(), [taken_of]);
}

#[test]
fn a_backup_that_retention_overtakes_keeps_what_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::new(Box::new(open(&folder.path().join("data")).unwrap()));
    let id = driver.create(1, "x");
    driver.accept(id);
    let frames = Backup::of(driver.store.reader(), driver.store.settings(), None).unwrap();
    for _ in 0..3 {
        driver.now += 1000;
        driver.store.sweep(UnixMillis(driver.now), UnixMillis(driver.now - 10), 10).unwrap();
    }
    let restored = backed_up(frames, folder.path()).unwrap();
    assert_eq!(restored.open_ids(None, 10), [id]);
    assert_eq!(
        restored
            .reader()
            .timeline(id)
            .unwrap()
            .iter()
            .map(|row| Row::clone(row))
            .collect::<Vec<_>>(),
        driver.remembered(id)
    );
}

/// Whatever this program writes, its check knows.
#[test]
fn a_store_with_every_kind_of_row_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let options = SledOptions { folder: folder.path().to_owned(), cache_bytes: 1 << 24 };
    let mut driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    for number in 1..=3 {
        let id = driver.create(number, "x");
        driver.accept(id);
    }
    driver.tell(id(1), Event::Cancel);
    let held = ChangeSet {
        hold_receipts: vec![parked(1)],
        grace_given_ms: Some(700),
        ..ChangeSet::default()
    };
    driver.store.commit(held).unwrap();
    let now = UnixMillis(driver.now + 1);
    driver.store.sweep(now, now, 1).unwrap();
    drop(driver);
    assert_eq!(options.check().unwrap().findings, []);
}

#[test]
fn a_folder_in_use_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path()).unwrap();
    // As sled names a snapshot that it is writing just now.
    let unfinished = folder.path().join("snap.0000000000000001.generating");
    std::fs::write(&unfinished, "half").unwrap();
    let options = SledOptions { folder: folder.path().to_owned(), cache_bytes: 1 << 24 };
    let in_use = Some(StoreError::InUse(folder.path().display().to_string()));
    assert_eq!(open(folder.path()).err(), in_use);
    assert_eq!(options.check().err(), in_use);
    assert!(unfinished.exists(), "whoever does not hold the folder takes nothing away");
}

#[test]
fn a_restore_that_is_at_work_is_left_alone_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let driver = Driver::new(Box::new(MemoryStore::new()));
    let frames = Backup::of(driver.store.reader(), driver.store.settings(), None).unwrap();
    let file = folder.path().join("one.backup");
    std::fs::write(&file, frames.flat_map(|frame| frame.unwrap()).collect::<Vec<_>>()).unwrap();
    let at_work = folder.path().join("data.restoring");
    let first = open(&at_work).unwrap();
    let options = SledOptions { folder: folder.path().join("data"), cache_bytes: 1 << 24 };
    assert!(matches!(options.restore(&file), Err(StoreError::InUse(_))));
    assert!(at_work.join("db").exists());
    drop(first);
    options.restore(&file).unwrap();
}

#[test]
fn a_folder_with_blobs_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("blobs")).unwrap();
    std::fs::write(folder.path().join("blobs/7"), "x").unwrap();
    assert!(matches!(open(folder.path()), Err(StoreError::Refused(_))));
}

/// A workflow of one row, which no other row names: only the count of rows tells that it is gone.
#[test]
fn a_row_that_is_missing_within_the_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    for number in 1..=5 {
        driver.create(number, "x");
    }
    drop(driver);
    {
        let config = ::sled::Config::new().path(folder.path()).segment_size(8 << 20);
        // sled lets go of its files a little after it was dropped.
        let began = std::time::Instant::now();
        let db = loop {
            match config.open() {
                Ok(db) => break db,
                Err(error) => assert!(began.elapsed().as_secs() < 20, "{error}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        let tree = db.open_tree("dispatch").unwrap();
        let third = [&b"j"[..], &3_u64.to_be_bytes()].concat();
        assert!(tree.remove(third).unwrap().is_some(), "a chunk begins with the third row");
        tree.flush().unwrap();
    }
    let refused = open(folder.path()).err().expect("a row is missing");
    let StoreError::Corrupt { problem, .. } = &refused else { panic!("{refused}") };
    assert!(problem.contains("row 3 should come next"), "{problem}");
}
