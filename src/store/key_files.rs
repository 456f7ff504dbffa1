//! The files of keys beside a store, as a backup takes them and a restore puts them.
//!
//! The store knows nothing of them but their names: what is in them is sealed, and stays so. In a backup they
//! stand last, each whole, the index before all others: it says up to where they are complete, so what is read
//! after it is at least that.

use std::{
    collections::{BTreeSet, VecDeque},
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::owned_files;

/// The folder of them, within the data folder.
pub const KEY_FOLDER: &str = "contents";
/// The file that holds for all others.
const INDEX: &str = "index";
/// The largest piece, in bytes.
const PIECE: usize = 1024 * 1024;
/// No such file is larger, in bytes.
pub const KEY_FILE_BYTES: usize = 4 * 1024 * 1024;

/// The files of keys beside a store.
pub trait KeyFiles: Send + Sync {
    /// Their names: `index`, and a letter, a dot and at least eight digits for each other.
    ///
    /// # Errors
    /// If the folder cannot be read.
    fn names(&self) -> Result<BTreeSet<String>, StoreError>;

    /// One of them, as of one moment, at most [`KEY_FILE_BYTES`] long; `None` if it is gone by now.
    ///
    /// # Errors
    /// If it cannot be read.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
}

/// A piece of one file, in a backup.
#[derive(Serialize, Deserialize)]
pub(super) struct KeyPiece {
    name: String,
    /// Where in the file it stands.
    at: u32,
    is_last: bool,
    bytes: Vec<u8>,
}

/// The files that a backup is still to take.
pub(super) struct KeysToTake {
    from: Arc<dyn KeyFiles>,
    /// `None` until the first is taken: before that it is not their moment.
    names: Option<VecDeque<String>>,
    taken: u64,
}

impl KeysToTake {
    pub(super) fn new(from: Arc<dyn KeyFiles>) -> KeysToTake {
        KeysToTake { from, names: None, taken: 0 }
    }

    /// How many were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The pieces of the next one; `None` if that was all.
    pub(super) fn next(&mut self) -> Result<Option<Vec<KeyPiece>>, StoreError> {
        if self.names.is_none() {
            self.names = Some(in_order(self.from.names()?));
        }
        while let Some(name) = self.names.as_mut().and_then(VecDeque::pop_front) {
            if let Some(bytes) = self.from.read(&name)? {
                self.taken += 1;
                if name == INDEX {
                    // Looked at again: each file that the index counts must be among them.
                    let mut names = self.from.names()?;
                    names.remove(INDEX);
                    self.names = Some(names.into_iter().collect());
                }
                return Ok(Some(pieces(&name, &bytes)));
            }
        }
        Ok(None)
    }
}

/// The index first.
fn in_order(mut names: BTreeSet<String>) -> VecDeque<String> {
    let index = names.take(INDEX);
    index.into_iter().chain(names).collect()
}

fn pieces(name: &str, bytes: &[u8]) -> Vec<KeyPiece> {
    let piece = |number: usize, bytes: &[u8]| KeyPiece {
        name: name.to_owned(),
        at: (number * PIECE) as u32,
        is_last: false,
        bytes: bytes.to_vec(),
    };
    let chunks = bytes.chunks(PIECE).enumerate();
    let mut pieces: Vec<_> = chunks.map(|(number, bytes)| piece(number, bytes)).collect();
    if pieces.is_empty() {
        pieces.push(piece(0, &[]));
    }
    if let Some(last) = pieces.last_mut() {
        last.is_last = true;
    }
    pieces
}

/// The files of a backup that is read: looked at, and written where that was said.
#[derive(Default)]
pub(super) struct KeysRead {
    into: Option<PathBuf>,
    /// The newest that was begun.
    last: Option<String>,
    /// Of the one that is being read: how many bytes there were, and where they are written.
    open: Option<(usize, Option<File>)>,
    files: u64,
    is_ended: bool,
}

/// Why the keys in a backup are not taken.
pub(super) enum KeysUnread {
    /// They are not as a backup has them.
    Wrong(String),
    /// The disk failed.
    Io(String),
}

impl KeysRead {
    /// Those that are written into this folder, which is made for the first.
    pub(super) fn into_folder(folder: PathBuf) -> KeysRead {
        KeysRead { into: Some(folder), ..KeysRead::default() }
    }

    /// How many there were.
    pub(super) fn files(&self) -> u64 {
        self.files
    }

    /// Whether there was a piece of one.
    pub(super) fn has_begun(&self) -> bool {
        self.last.is_some() || self.is_ended
    }

    /// Whether all that began has its end.
    pub(super) fn is_whole(&self) -> bool {
        self.is_ended || self.last.is_none()
    }

    /// Takes the next piece.
    pub(super) fn piece(&mut self, piece: KeyPiece) -> Result<(), KeysUnread> {
        let KeyPiece { name, at, is_last, bytes } = piece;
        if self.is_ended {
            return wrong("something stands behind the end of its keys".to_owned());
        }
        let (before, mut file) = match (self.open.take(), &self.last) {
            (Some(open), Some(last)) if *last == name => open,
            (Some(_), _) => return wrong(format!("a file of keys is cut off before {name:?}")),
            (None, _) => (0, self.begin(&name)?),
        };
        if at as usize != before {
            return wrong(format!("a piece of {name} is missing, or twice there"));
        }
        let length = before + bytes.len();
        if length > KEY_FILE_BYTES {
            return wrong(format!("{name} is longer than a file of keys can be"));
        }
        let written = file.as_mut().map_or(Ok(()), |file| {
            file.write_all(&bytes)?;
            if is_last { file.sync_all() } else { Ok(()) }
        });
        written.map_err(|error| self.failed(&error))?;
        if is_last {
            self.files += 1;
        } else {
            self.open = Some((length, file));
        }
        Ok(())
    }

    /// Begins a file, under a name that leads nowhere else.
    fn begin(&mut self, name: &str) -> Result<Option<File>, KeysUnread> {
        if !is_key_file(name) {
            return wrong(format!("{name:?} is not the name of a file of keys"));
        }
        let is_next = match &self.last {
            None => name == INDEX,
            Some(last) => name != INDEX && (last == INDEX || last.as_str() < name),
        };
        if !is_next {
            return wrong(format!("{name} is not where it should be, or twice there"));
        }
        let is_first = self.last.replace(name.to_owned()).is_none();
        let Some(folder) = &self.into else { return Ok(None) };
        let made = if is_first { owned_files::make_folder(folder) } else { Ok(()) };
        let made = made.and_then(|()| owned_files::create_new(&folder.join(name)));
        made.map(Some).map_err(|error| self.failed(&error))
    }

    /// That was all, and so many.
    pub(super) fn end(&mut self, files: u64) -> Result<(), KeysUnread> {
        if self.is_ended || self.open.is_some() || self.files != files || files == 0 {
            return wrong("the end of its keys does not count what it holds".to_owned());
        }
        self.is_ended = true;
        let Some(folder) = &self.into else { return Ok(()) };
        sync(folder).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> KeysUnread {
        let folder = self.into.as_deref().unwrap_or(Path::new(KEY_FOLDER));
        KeysUnread::Io(format!("cannot write {}: {error}", folder.display()))
    }
}

fn wrong<T>(problem: String) -> Result<T, KeysUnread> {
    Err(KeysUnread::Wrong(problem))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether a file of keys may have this name: nothing in it leads out of its folder.
pub(super) fn is_key_file(name: &str) -> bool {
    let is_segment = name.split_once('.').is_some_and(|(letter, number)| {
        letter.len() == 1
            && letter.bytes().all(|byte| byte.is_ascii_lowercase())
            && (8..=10).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    is_segment || name == INDEX
}

impl std::fmt::Debug for KeyPiece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPiece({}, {} bytes)", self.name, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

    use super::*;

    struct SomeFiles(BTreeMap<String, Vec<u8>>);

    impl KeyFiles for SomeFiles {
        fn names(&self) -> Result<BTreeSet<String>, StoreError> {
            // One more, which is gone when it is read.
            Ok(self.0.keys().cloned().chain(["z.00000000".to_owned()]).collect())
        }

        fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
            Ok(self.0.get(name).cloned())
        }
    }

    fn files() -> BTreeMap<String, Vec<u8>> {
        let lengths = [
            ("index", 1024),
            ("d.00000000", 0),
            ("o.00000007", PIECE),
            ("w.00000000", 2 * PIECE + 1),
            ("w.00000001", KEY_FILE_BYTES),
        ];
        lengths.map(|(name, length)| (name.to_owned(), vec![length as u8 | 5; length])).into()
    }

    fn taken() -> Vec<KeyPiece> {
        let mut all = Vec::new();
        let mut keys = KeysToTake::new(Arc::new(SomeFiles(files())));
        while let Some(pieces) = keys.next().unwrap() {
            all.extend(pieces);
        }
        assert_eq!(keys.taken(), 5);
        all
    }

    fn problem(pieces: Vec<KeyPiece>) -> String {
        let mut read = KeysRead::default();
        let done = pieces.into_iter().try_for_each(|piece| read.piece(piece));
        match done.and_then(|()| read.end(5)) {
            Ok(()) => String::new(),
            Err(KeysUnread::Wrong(problem) | KeysUnread::Io(problem)) => problem,
        }
    }

    #[test]
    fn files_of_keys_are_put_as_they_were_taken_in_bounded_pieces_and_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join(KEY_FOLDER);
        let mut read = KeysRead::into_folder(into.clone());
        assert!(!read.has_begun() && read.is_whole());
        for piece in taken() {
            assert!(piece.bytes.len() <= PIECE);
            assert!(read.piece(piece).is_ok());
            assert!(!read.is_whole());
        }
        assert!(read.end(5).is_ok() && read.is_whole());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&into), 0o700);
        for (name, bytes) in files() {
            assert!(std::fs::read(into.join(&name)).unwrap() == bytes, "{name}");
            assert_eq!(mode(&into.join(&name)), 0o600);
        }
        assert_eq!(std::fs::read_dir(&into).unwrap().count(), 5);
    }

    /// As its index is read, one more file is made, which that counts.
    struct FilesBeingMade(std::sync::Mutex<BTreeMap<String, Vec<u8>>>);

    impl KeyFiles for FilesBeingMade {
        fn names(&self) -> Result<BTreeSet<String>, StoreError> {
            Ok(self.0.lock().unwrap().keys().cloned().collect())
        }

        fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
            let mut files = self.0.lock().unwrap();
            if name == INDEX {
                files.insert("w.00000002".to_owned(), vec![7]);
            }
            Ok(files.get(name).cloned())
        }
    }

    #[test]
    fn each_file_that_the_index_counts_is_taken_with_it() {
        let making = FilesBeingMade(std::sync::Mutex::new(files()));
        let mut keys = KeysToTake::new(Arc::new(making));
        let mut names = BTreeSet::new();
        while let Some(pieces) = keys.next().unwrap() {
            names.extend(pieces.into_iter().map(|piece| piece.name));
        }
        assert_eq!((names.len(), keys.taken()), (6, 6));
        assert!(names.contains("w.00000002"));
    }

    #[test]
    fn pieces_that_are_missing_doubled_or_in_another_place_are_found() {
        assert_eq!(problem(taken()), "");
        let count = taken().len();
        for at in 0..count {
            let mut without = taken();
            without.remove(at);
            assert_ne!(problem(without), "", "without piece {at}");
            if at > 0 {
                let mut swapped = taken();
                swapped.swap(at - 1, at);
                assert_ne!(problem(swapped), "", "piece {at} too early");
            }
        }
        // A whole file that is there twice, and one that follows the end.
        let doubled = taken().into_iter().chain(taken().into_iter().skip(count - 4)).collect();
        assert!(problem(doubled).contains("twice"));
        let mut read = KeysRead::default();
        assert!(taken().into_iter().all(|piece| read.piece(piece).is_ok()));
        assert!(read.end(4).is_err() && read.end(5).is_ok() && read.end(5).is_err());
        assert!(taken().into_iter().all(|piece| read.piece(piece).is_err()));
        assert!(KeysRead::default().end(0).is_err());
        let mut long = taken();
        if let Some(last) = long.last_mut() {
            last.bytes.push(0);
        }
        assert!(problem(long).contains("longer"));
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join(KEY_FOLDER);
        for name in [
            "../w.00000001",
            "/w.00000001",
            "w.00000001/x",
            "w.0000001",
            "w.00000000001",
            "W.00000001",
            "ww.00000001",
            "w.0000000a",
            "w.00000001.new",
            "index.new",
            "master.key",
            "",
            ".",
            "..",
            "é.00000001",
            "w.+0000001",
        ] {
            let mut read = KeysRead::into_folder(into.clone());
            let piece = |name: &str| KeyPiece {
                name: name.to_owned(),
                at: 0,
                is_last: true,
                bytes: vec![],
            };
            assert!(read.piece(piece(name)).is_err(), "{name:?} first");
            assert!(!into.exists());
            let mut read = KeysRead::default();
            assert!(read.piece(piece(INDEX)).is_ok());
            assert!(read.piece(piece(name)).is_err(), "{name:?}");
        }
        assert!(is_key_file("w.4294967295"));
    }
}
