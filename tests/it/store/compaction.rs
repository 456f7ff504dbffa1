//! Files that are many times what they hold are given back at a start, and a death in the midst of that
//! leaves one whole store.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::*;

const MIB: u64 = 1024 * 1024;

/// A text that compression leaves as large as it is.
fn noise(seed: u64) -> String {
    let mut state = seed;
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + ((state >> 33) % 90) as u8)
    };
    std::iter::repeat_with(next).take(250_000).collect()
}

fn size(folder: &Path) -> u64 {
    fs::metadata(folder.join("db")).unwrap().len()
}

fn options(folder: &Path) -> SledOptions {
    SledOptions { folder: folder.to_owned(), cache_bytes: 64 << 20 }
}

/// Large workflows that ended and were swept, and a few that are open.
fn mostly_empty(folder: &Path) -> (u64, Vec<Arc<Row>>) {
    let mut driver = Driver::new(Box::new(open(folder).unwrap()));
    let settings = driver.store.settings();
    settings.write(vec![SettingChange::put(Kind::Key, *b"a", encode(&7).unwrap())]).unwrap();
    for number in 1..=320 {
        let id = driver.create(number, &noise(number as u64));
        driver.tell(id, Event::Cancel);
    }
    driver.now += 1000;
    let now = UnixMillis(driver.now);
    while driver.store.sweep(now, now, 1000).unwrap().has_more {}
    driver.rows.clear();
    for number in 9001..=9010 {
        let id = driver.create(number, "open");
        driver.accept(id);
    }
    (driver.store.reader().newest().0, driver.rows)
}

/// Whether what was kept is all there.
fn same(folder: &Path, newest: u64, rows: &[Arc<Row>]) {
    let mut driver = Driver::new(Box::new(open(folder).unwrap()));
    let reader = driver.store.reader();
    assert_eq!(reader.newest().0, newest);
    assert_eq!(reader.after(reader.oldest(), 1000).unwrap(), rows);
    assert_eq!(driver.store.settings().get(Kind::Key, b"a").unwrap(), Some(encode(&7).unwrap()));
    assert_eq!(driver.store.open_count(), 10);
    // And it goes on.
    driver.now += 1_000_000;
    let id = driver.create(10_000, "later");
    assert_eq!(driver.timeline(id).len(), 1);
    drop((reader, driver));
    assert_eq!(options(folder).check().unwrap().findings, []);
    assert!(!folder.join("compacted").exists());
}

/// The files that `is_wanted`, by their names.
fn copy(from: &Path, to: &Path, is_wanted: impl Fn(&str) -> bool) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() && is_wanted(entry.file_name().to_str().unwrap()) {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn is_snapshot(name: &str) -> bool {
    name.starts_with("snap.")
}

fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| is_snapshot(path.file_name().unwrap().to_str().unwrap())).collect()
}

#[test]
fn what_was_swept_is_given_back_at_a_start_and_a_death_meanwhile_loses_nothing() {
    let place = tempfile::tempdir().unwrap();
    let folder = |name: &str| place.path().join(name);
    let data = folder("data");
    let (newest, rows) = mostly_empty(&data);
    let before = size(&data);
    assert!(before >= 64 * MIB, "{} MiB: there is nothing to give back", before / MIB);
    copy(&data, &folder("large"), |_| true);
    // Whoever only looks leaves it as large as it is.
    assert_eq!(options(&data).check().unwrap().findings, []);
    drop(options(&data).open_to_read().unwrap());
    assert!(size(&data) >= before);

    drop(open(&data).unwrap());
    assert!(size(&data) <= 32 * MIB, "{} MiB are left", size(&data) / MIB);
    copy(&data, &folder("small"), |_| true);
    same(&data, newest, &rows);

    // What a death may leave: a beginning of a copy, which is nothing.
    let torn = folder("torn");
    copy(&folder("large"), &torn, |_| true);
    fs::create_dir(torn.join("compacted")).unwrap();
    fs::write(torn.join("compacted/db"), vec![7; 100_000]).unwrap();
    same(&torn, newest, &rows);

    // A copy that is whole, before each step of putting it in place.
    for step in 0..5 {
        let broken_off = folder(&format!("step {step}"));
        copy(&folder("large"), &broken_off, |name| match name {
            "db" => step < 2,
            _ => step < 1 || !is_snapshot(name),
        });
        let copied = broken_off.join("compacted");
        copy(&folder("small"), &copied, |name| ["db", "conf"].contains(&name) || is_snapshot(name));
        fs::write(copied.join("whole"), "").unwrap();
        let put = |file: &Path| {
            fs::rename(file, broken_off.join(file.file_name().unwrap())).unwrap();
        };
        if step >= 2 {
            put(&copied.join("db"));
        }
        if step >= 3 {
            snapshots(&copied).iter().for_each(|path| put(path));
        }
        if step >= 4 {
            put(&copied.join("conf"));
        }
        // Whoever opens it first finishes, also if that is not the service.
        if step % 2 == 0 {
            assert_eq!(options(&broken_off).check().unwrap().findings, []);
            assert!(size(&broken_off) <= 32 * MIB, "step {step}");
        }
        same(&broken_off, newest, &rows);
        assert!(size(&broken_off) <= 32 * MIB, "step {step}");
        fs::remove_dir_all(&broken_off).unwrap();
    }
}
