//! What every folder of keys promises, tried on each kind; and what only the disk's does.

use std::os::unix::fs::PermissionsExt;

use super::{in_memory::TablesInMemory, in_rows::KeyFolderInRows, *};
use crate::{
    shared::postgres::{self, Cluster},
    store::{PostgresOptions, postgres::PostgresKeys},
};

/// A folder of keys to try something on. A test that takes one goes into [`over_each_folder`].
pub(crate) struct TriedFolder {
    pub(crate) folder: Arc<dyn KeyFolder>,
    crash: Box<dyn Fn() -> TriedFolder>,
}

impl TriedFolder {
    /// In memory where there is such a folder: a thousand syncs take their time on a disk, and prove nothing here. What a
    /// power cut leaves is tried by what was written and synced, in order; see `tests/faults` too.
    pub(crate) fn on_disk() -> TriedFolder {
        let kept = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        TriedFolder::within(Arc::new(kept))
    }

    fn within(kept: Arc<tempfile::TempDir>) -> TriedFolder {
        let folder = KeyFolderOnDisk::at(kept.path().join("contents"));
        TriedFolder { folder, crash: Box::new(move || TriedFolder::within(Arc::clone(&kept))) }
    }

    pub(crate) fn in_rows() -> TriedFolder {
        TriedFolder::of_rows(TablesInMemory::default())
    }

    /// In a database of its own, which is gone with what is returned beside it; `None` where PostgreSQL is not installed.
    fn in_postgres() -> Option<(TriedFolder, Arc<Cluster>)> {
        let cluster = postgres::shared()?;
        let connection = cluster.database();
        let options = PostgresOptions { connection, connections: 4, name: "test".to_owned() };
        Some((TriedFolder::of_database(options.open_keys().unwrap()), cluster))
    }

    fn of_database(tables: Arc<PostgresKeys>) -> TriedFolder {
        let folder = Arc::new(KeyFolderInRows::new(Arc::clone(&tables)));
        let crash = Box::new(move || TriedFolder::of_database(Arc::clone(&tables)));
        TriedFolder { folder, crash }
    }

    fn of_rows(tables: TablesInMemory) -> TriedFolder {
        let tables = Arc::new(tables);
        let folder = Arc::new(KeyFolderInRows::new(Arc::clone(&tables)));
        TriedFolder { folder, crash: Box::new(move || TriedFolder::of_rows(tables.after_crash())) }
    }

    /// The folder as the next process has it when this one dies now: what was synced, at least. On a disk it is the same
    /// one.
    pub(crate) fn after_crash(&self) -> TriedFolder {
        (self.crash)()
    }
}

/// A whole file, as it reads now.
pub(crate) fn file_bytes(folder: &dyn KeyFolder, name: &str) -> Vec<u8> {
    read_all(&*folder.open(name, FileAccess::Read).unwrap())
}

fn read_all(file: &dyn OpenKeyFile) -> Vec<u8> {
    let length = file.length().unwrap() as usize;
    let mut bytes = vec![1; length + 10];
    assert_eq!(file.read(&mut bytes, 0).unwrap(), length);
    bytes.truncate(length);
    bytes
}

/// Each of these functions is a test of every kind of folder.
macro_rules! over_each_folder {
    ($($test:ident)*) => {
        mod on_disk {
            $(#[test] fn $test() { super::$test(&crate::store::TriedFolder::on_disk()); })*
        }
        mod in_rows {
            $(#[test] fn $test() { super::$test(&crate::store::TriedFolder::in_rows()); })*
        }
    };
}
pub(crate) use over_each_folder;

over_each_folder! {
    what_was_put_is_whole_and_durable_and_found_by_its_name
    what_is_written_is_seen_at_once_and_durable_once_it_is_synced
    a_sync_is_of_one_file_and_of_whoever_wrote_it
    a_file_that_is_not_there_is_told_apart
    what_is_open_is_the_file_and_not_its_name
    what_is_put_again_is_the_one_or_the_other_at_every_moment
    what_is_opened_to_be_read_is_not_written
}

/// The same over a database. (What is above the folder is tried over the others.)
macro_rules! in_postgres {
    ($($test:ident)*) => {
        mod in_postgres {
            $(#[test] fn $test() {
                let Some((tried, _cluster)) = super::TriedFolder::in_postgres() else { return };
                super::$test(&tried);
            })*
        }
    };
}

in_postgres! {
    what_was_put_is_whole_and_durable_and_found_by_its_name
    what_is_written_is_seen_at_once_and_durable_once_it_is_synced
    a_sync_is_of_one_file_and_of_whoever_wrote_it
    a_file_that_is_not_there_is_told_apart
    what_is_open_is_the_file_and_not_its_name
    what_is_put_again_is_the_one_or_the_other_at_every_moment
    what_is_opened_to_be_read_is_not_written
}

/// A folder that is ready, with one file of a block and a half.
fn prepared(tried: &TriedFolder) -> (&dyn KeyFolder, Arc<dyn OpenKeyFile>) {
    let folder = &*tried.folder;
    folder.prepare().unwrap();
    let file = folder.put("w.00000000", &[7; 6000]).unwrap();
    (folder, file)
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn what_was_put_is_whole_and_durable_and_found_by_its_name(tried: &TriedFolder) {
    assert_eq!(tried.folder.names().unwrap(), None);
    let (folder, file) = prepared(tried);
    for name in ["index", "w.00000001"] {
        folder.put(name, name.as_bytes()).unwrap();
    }
    folder.put("w.00000001", b"").unwrap();
    assert_eq!(read_all(&*file), [7; 6000]);
    file.write(&[8], 0).unwrap();
    // Again, as a start does that comes upon a folder.
    folder.prepare().unwrap();
    for folder in [&tried.folder, &tried.after_crash().folder] {
        let names = folder.names().unwrap().unwrap();
        assert_eq!(names.iter().collect::<Vec<_>>(), ["index", "w.00000000", "w.00000001"]);
        assert_eq!(file_bytes(&**folder, "index"), b"index");
        assert_eq!(file_bytes(&**folder, "w.00000001"), b"");
    }
}

fn what_is_written_is_seen_at_once_and_durable_once_it_is_synced(tried: &TriedFolder) {
    let (folder, file) = prepared(tried);
    // Across two blocks, behind the end, and leaving one out.
    file.write(&[1, 2, 3, 4], 4094).unwrap();
    file.write(&[5; 10], 20_000).unwrap();
    let mut wanted = vec![7; 6000];
    wanted[4094..4098].copy_from_slice(&[1, 2, 3, 4]);
    wanted.resize(20_000, 0);
    wanted.extend([5; 10]);
    assert_eq!(read_all(&*file), wanted);
    assert_eq!(file_bytes(folder, "w.00000000"), wanted, "whoever reads it");
    let mut some = [1; 20];
    assert_eq!(file.read(&mut some, 19_990).unwrap(), 20);
    assert_eq!(some, [[0; 10], [5; 10]].concat()[..]);
    assert_eq!(file.read(&mut some, 20_005).unwrap(), 5);
    assert_eq!(file.read(&mut some, 20_010).unwrap(), 0);
    assert_eq!(file.read(&mut some, 1 << 40).unwrap(), 0);
    file.sync().unwrap();
    file.write(&[9], 0).unwrap();
    let left = file_bytes(&*tried.after_crash().folder, "w.00000000");
    assert!(left[1..] == wanted[1..] && [7, 9].contains(&left[0]));
}

/// In rows: what a disk may do at any time, and nobody counts on.
fn a_sync_is_of_one_file_and_of_whoever_wrote_it(tried: &TriedFolder) {
    let (folder, file) = prepared(tried);
    let other = folder.put("w.00000001", &[7; 10]).unwrap();
    let again = folder.open("w.00000000", FileAccess::Overwrite).unwrap();
    // Both in one block: neither takes away what the other wrote.
    file.write(&[1], 0).unwrap();
    again.write(&[2], 1).unwrap();
    other.write(&[3], 0).unwrap();
    drop(file);
    again.sync().unwrap();
    let left = tried.after_crash().folder;
    assert_eq!(file_bytes(&*left, "w.00000000")[..3], [1, 2, 7]);
    assert_eq!(file_bytes(folder, "w.00000001")[0], 3);
    let is_durable = file_bytes(&*left, "w.00000001")[0] == 3;
    assert!(!is_durable || folder.place().starts_with('/'), "of another file");
    other.sync().unwrap();
    assert_eq!(file_bytes(&*tried.after_crash().folder, "w.00000001")[0], 3);
}

fn a_file_that_is_not_there_is_told_apart(tried: &TriedFolder) {
    let nothing = Some(ErrorKind::NotFound);
    let open = |name| kind(tried.folder.open(name, FileAccess::Read).map(drop));
    assert_eq!(open("w.00000000"), nothing, "no folder");
    let (folder, _file) = prepared(tried);
    assert_eq!((open("w.00000000"), open("w.00000001")), (None, nothing));
    folder.remove("w.00000000").unwrap();
    assert_eq!((open("w.00000000"), kind(folder.remove("w.00000000"))), (nothing, nothing));
}

fn what_is_open_is_the_file_and_not_its_name(tried: &TriedFolder) {
    for is_put_again in [true, false] {
        let (folder, before) = prepared(tried);
        before.write(&[1], 0).unwrap();
        if is_put_again {
            folder.put("w.00000000", &[8; 10]).unwrap();
        } else {
            folder.remove("w.00000000").unwrap();
        }
        for done in [before.write(&[2], 1), before.sync(), before.write(&[3], 5000)] {
            assert!([None, Some(ErrorKind::NotFound)].contains(&kind(done)));
        }
        let mut bytes = [0; 3];
        match before.read(&mut bytes, 0) {
            Ok(count) => assert_eq!((count, bytes), (3, [1, 2, 7]), "the one that is open"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
        for folder in [&tried.folder, &tried.after_crash().folder] {
            match is_put_again {
                true => assert_eq!(file_bytes(&**folder, "w.00000000"), [8; 10]),
                false => assert!(folder.names().unwrap().is_none_or(|it| it.is_empty())),
            }
        }
    }
}

fn what_is_put_again_is_the_one_or_the_other_at_every_moment(tried: &TriedFolder) {
    let (folder, _file) = prepared(tried);
    let look = |folder: &dyn KeyFolder| {
        let file = folder.open("w.00000000", FileAccess::Read).unwrap();
        let mut bytes = [0; 6000];
        match file.read(&mut bytes, 0) {
            Ok(count) => assert!(count == 6000 && bytes.iter().all(|byte| *byte == bytes[0])),
            // Another was put since it was opened.
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
    };
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| (0..200).for_each(|_| look(folder)));
        for number in 0.. {
            folder.put("w.00000000", &[number as u8; 6000]).unwrap();
            look(&*tried.after_crash().folder);
            if looking.is_finished() {
                break;
            }
        }
    });
}

fn what_is_opened_to_be_read_is_not_written(tried: &TriedFolder) {
    let (folder, _file) = prepared(tried);
    let file = folder.open("w.00000000", FileAccess::Read).unwrap();
    assert!(file.write(&[1], 0).is_err());
    assert_eq!(read_all(&*file), [7; 6000]);
}

#[test]
fn a_folder_on_the_disk_is_its_owner_s_alone_and_loses_its_rests_and_nothing_else() {
    let kept = tempfile::tempdir().unwrap();
    let path = kept.path().join("a/contents");
    let folder = KeyFolderOnDisk::at(&path);
    assert!(folder.put("index", b"").is_err(), "it is made by nothing but what is for that");
    assert_eq!(folder.names().unwrap(), None);
    folder.prepare().unwrap();
    folder.put("index", b"1").unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&path), mode(&path.join("index"))), (0o700, 0o600));
    for name in ["index.new", "w.00000001.new", "notes.new"] {
        fs::write(path.join(name), "half").unwrap();
    }
    // Nothing can be renamed to a folder.
    fs::create_dir_all(path.join("w.00000000/in-the-way")).unwrap();
    assert!(folder.put("w.00000000", b"2").is_err());
    folder.prepare().unwrap();
    let names = folder.names().unwrap().unwrap();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["index", "notes.new", "w.00000000"]);
    // Where the new one cannot be written, the one before stays.
    fs::create_dir(path.join("index.new")).unwrap();
    assert!(folder.put("index", b"2").is_err());
    assert_eq!(file_bytes(&*folder, "index"), b"1");
    assert_eq!(folder.place(), path.display().to_string());
}
