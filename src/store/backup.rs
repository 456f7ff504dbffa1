//! A backup: one file, one moment of a store that goes on working.
//!
//! The journal is numbered in commit order, so a moment is a cursor: whatever a workflow did up to
//! it is in the backup, whatever it did later is not, and no workflow is ahead of another. The file
//! belongs to no kind of store.
//!
//! ```text
//! "dispatch backup\n"  then frames: length (u32, little-endian) · row (as the codec writes them)
//! Head   Settings Settings …   Entry Entry Entry …   (Keys Keys … KeysEnd)   Tail
//! ```
//!
//! What is kept beside workflows changes apart from them: each row is as it was when it was read. Where there
//! are files of keys beside the store they come last, before the tail (`key_files.rs`): the later they are read,
//! the more of what was forgotten meanwhile is not in the backup. What seals them, the master key, is in none.
//!
//! A file without its tail is not a backup: it was cut off.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use dispatch_contract::UnixMillis;
use serde::{Deserialize, Serialize};

use super::{
    Cursor, Entry, HeldReceipt, Incarnation, KeyFiles, Kind, Reader, Settings, StoreError, codec,
    key_files::{KeyPiece, KeysRead, KeysToTake, KeysUnread},
    settings::stored_key,
};
use crate::machine::WorkflowId;

const MAGIC: &[u8] = b"dispatch backup\n";
/// How many workflows are read at once.
const PAGE: usize = 64;
/// No frame is larger: a length beyond it is not one. A timeline is bounded far below.
const FRAME_MOST: usize = 256 * 1024 * 1024;

/// One frame of the file.
#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    Head { taken_of: Incarnation, newest: Cursor, held_receipts: Vec<HeldReceipt> },
    Entry(Box<Entry>),
    Tail(Summary),
    Settings(Vec<SavedSetting>),
    Keys(KeyPiece),
    KeysEnd { files: u64 },
}

/// A row of what is kept beside workflows, with its key as it is stored.
pub(super) type SavedSetting = (Vec<u8>, Vec<u8>);

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The life of the store it was taken of.
    pub taken_of: Incarnation,
    /// How many workflows.
    pub workflows: u64,
    /// How many journal rows.
    pub rows: u64,
    /// The last row that is in it.
    pub newest: Cursor,
    /// The cursor behind which all rows are in it: retention may go on while it is taken.
    pub oldest: Cursor,
    /// The newest time in it.
    pub last_time: UnixMillis,
}

/// The frames of a backup that is being taken, the first with the magic before it. Reads beside the
/// writer, a page at a time: whoever asks for the next piece sets the pace.
pub struct Backup {
    reader: Arc<dyn Reader>,
    settings: Arc<dyn Settings>,
    /// Which settings come next: the kinds still to come, and the last key of the first of them.
    kinds: VecDeque<Kind>,
    after_key: Option<Vec<u8>>,
    summary: Summary,
    after: Option<WorkflowId>,
    has_entries: bool,
    /// Those that are still to be taken.
    keys: Option<KeysToTake>,
    ready: VecDeque<Result<Vec<u8>, StoreError>>,
    is_done: bool,
}

impl Backup {
    /// Of what is durable now, with the files of keys beside it. Without those, what is personal in it can be
    /// opened by nobody: so it is with a store in memory, whose keys go with it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn of(
        reader: Arc<dyn Reader>,
        settings: Arc<dyn Settings>,
        keys: Option<Arc<dyn KeyFiles>>,
    ) -> Result<Backup, StoreError> {
        // Before the moment is chosen: a receipt that finds its attempt in between is in both, and
        // a repeat changes nothing.
        let held_receipts = reader.held_receipts()?;
        let (taken_of, newest) = (reader.incarnation(), reader.newest());
        let summary = Summary {
            taken_of,
            workflows: 0,
            rows: 0,
            newest,
            oldest: reader.oldest(),
            last_time: UnixMillis(0),
        };
        let mut first = MAGIC.to_vec();
        first.extend(frame(&Frame::Head { taken_of, newest, held_receipts })?);
        let ready = VecDeque::from([Ok(first)]);
        Ok(Backup {
            reader,
            settings,
            kinds: Kind::ALL.into(),
            after_key: None,
            summary,
            after: None,
            has_entries: true,
            keys: keys.map(KeysToTake::new),
            ready,
            is_done: false,
        })
    }

    fn settings_page(&mut self, kind: Kind) -> Result<(), StoreError> {
        let rows = self.settings.list(kind, self.after_key.as_deref(), PAGE)?;
        if rows.is_empty() {
            self.kinds.pop_front();
            self.after_key = None;
            return Ok(());
        }
        self.after_key = rows.last().map(|(key, _)| key.clone());
        let rows = rows.into_iter().map(|(key, value)| (stored_key(kind, &key), value)).collect();
        self.ready.push_back(frame(&Frame::Settings(rows)));
        Ok(())
    }

    fn page(&mut self) -> Result<(), StoreError> {
        if let Some(kind) = self.kinds.front() {
            return self.settings_page(*kind);
        }
        if !self.has_entries {
            return self.keys_or_end();
        }
        let entries = self.reader.entries(self.after, PAGE)?;
        let Some(last) = entries.last() else {
            self.has_entries = false;
            return Ok(());
        };
        self.after = Some(last.record.id);
        for mut entry in entries {
            entry.cut(self.summary.newest);
            let Some(last) = entry.rows.last() else { continue };
            self.summary.last_time = self.summary.last_time.max(last.at.engine);
            self.summary.workflows += 1;
            self.summary.rows += entry.rows.len() as u64;
            self.ready.push_back(frame(&Frame::Entry(Box::new(entry))));
        }
        Ok(())
    }

    /// The next file of keys, or what ends the backup.
    fn keys_or_end(&mut self) -> Result<(), StoreError> {
        if let Some(keys) = &mut self.keys {
            if let Some(pieces) = keys.next()? {
                let frames = pieces.into_iter().map(|piece| frame(&Frame::Keys(piece)));
                self.ready.extend(frames);
                return Ok(());
            }
            let files = keys.taken();
            if files > 0 {
                self.ready.push_back(frame(&Frame::KeysEnd { files }));
            }
        }
        // Asked last: what retention took meanwhile lies before it.
        self.summary.oldest = self.reader.oldest().min(self.summary.newest);
        self.is_done = true;
        self.ready.push_back(frame(&Frame::Tail(self.summary)));
        Ok(())
    }
}

impl Iterator for Backup {
    type Item = Result<Vec<u8>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.is_done {
            if let Err(error) = self.page() {
                self.is_done = true;
                return Some(Err(error));
            }
        }
        self.ready.pop_front()
    }
}

fn frame(frame: &Frame) -> Result<Vec<u8>, StoreError> {
    let row = codec::encode(frame)?;
    Ok([&(row.len() as u32).to_le_bytes(), row.as_slice()].concat())
}

/// A backup that is read: entries, in the order of their workflows' ids.
pub struct BackupFile {
    path: PathBuf,
    from: BufReader<File>,
    held_receipts: Vec<HeldReceipt>,
    settings: Vec<SavedSetting>,
    keys: KeysRead,
    newest: Cursor,
    frames: u64,
    last: Option<WorkflowId>,
    counted: (u64, u64),
    tail: Option<Summary>,
}

impl BackupFile {
    /// Opens a backup.
    ///
    /// # Errors
    /// If it cannot be read, or is none.
    pub fn open(path: &Path) -> Result<BackupFile, StoreError> {
        let file = File::open(path)
            .map_err(|error| StoreError::Io(format!("cannot open {}: {error}", path.display())))?;
        let mut opened = BackupFile {
            path: path.to_owned(),
            from: BufReader::new(file),
            held_receipts: Vec::new(),
            settings: Vec::new(),
            keys: KeysRead::default(),
            newest: Cursor(0),
            frames: 0,
            last: None,
            counted: (0, 0),
            tail: None,
        };
        let mut magic = [0; MAGIC.len()];
        if opened.from.read_exact(&mut magic).is_err() || magic != MAGIC {
            return Err(StoreError::Refused(format!(
                "{} is no backup; `dispatch backup FILE` takes one",
                path.display()
            )));
        }
        match opened.frame()? {
            Frame::Head { held_receipts, newest, .. } => {
                (opened.held_receipts, opened.newest) = (held_receipts, newest);
                Ok(opened)
            }
            Frame::Entry(_)
            | Frame::Tail(_)
            | Frame::Settings(_)
            | Frame::Keys(_)
            | Frame::KeysEnd { .. } => Err(opened.corrupt("it does not begin with a head")),
        }
    }

    /// Receipts that waited for their attempt.
    pub fn held_receipts(&self) -> &[HeldReceipt] {
        &self.held_receipts
    }

    /// What was kept beside workflows: the rows read since this was last asked.
    pub(super) fn take_settings(&mut self) -> Vec<SavedSetting> {
        std::mem::take(&mut self.settings)
    }

    /// What it holds, once all entries were read.
    pub fn summary(&self) -> Option<Summary> {
        self.tail
    }

    /// How many files of keys it holds, once all entries were read.
    pub fn key_files(&self) -> u64 {
        self.keys.files()
    }

    /// Has the files of keys written into this folder as they are read; it is made if there are any. They are
    /// durable once all entries were read.
    pub(super) fn with_keys_into(self, folder: PathBuf) -> BackupFile {
        BackupFile { keys: KeysRead::into_folder(folder), ..self }
    }

    fn entry(&mut self) -> Result<Option<Entry>, StoreError> {
        loop {
            match self.frame()? {
                Frame::Settings(_) if self.last.is_some() || self.keys.has_begun() => {
                    return Err(self.corrupt("settings stand behind a workflow or a key"));
                }
                Frame::Settings(mut rows) => {
                    for (_, value) in &rows {
                        codec::payload(value, || self.place())?;
                    }
                    self.settings.append(&mut rows);
                }
                Frame::Entry(entry) => return self.next_in_order(*entry).map(Some),
                Frame::Keys(piece) => {
                    let taken = self.keys.piece(piece);
                    taken.map_err(|why| self.keys_unread(why))?;
                }
                Frame::KeysEnd { files } => {
                    let ended = self.keys.end(files);
                    ended.map_err(|why| self.keys_unread(why))?;
                }
                Frame::Tail(tail) => return self.end(tail).map(|()| None),
                Frame::Head { .. } => return Err(self.corrupt("it has a second head")),
            }
        }
    }

    fn next_in_order(&mut self, entry: Entry) -> Result<Entry, StoreError> {
        let id = entry.record.id;
        if self.keys.has_begun() {
            return Err(self.corrupt("a workflow stands behind the keys"));
        }
        if self.last.is_some_and(|last| last >= id) {
            return Err(self.corrupt("its workflows are not in order"));
        }
        if entry.rows.iter().any(|row| row.cursor > self.newest) {
            return Err(self.corrupt("a row is newer than the backup"));
        }
        self.last = Some(id);
        self.counted.0 += 1;
        self.counted.1 += entry.rows.len() as u64;
        Ok(entry)
    }

    fn end(&mut self, tail: Summary) -> Result<(), StoreError> {
        let mut rest = [0; 1];
        if !matches!(self.from.read(&mut rest), Ok(0)) {
            return Err(self.corrupt("something follows its end"));
        }
        if !self.keys.is_whole() {
            return Err(self.corrupt("its keys are cut off"));
        }
        let is_right = (tail.workflows, tail.rows) == self.counted
            && tail.newest == self.newest
            && tail.oldest <= tail.newest;
        if !is_right {
            return Err(self.corrupt("its end does not count what it holds"));
        }
        self.tail = Some(tail);
        Ok(())
    }

    fn keys_unread(&self, why: KeysUnread) -> StoreError {
        match why {
            KeysUnread::Wrong(problem) => self.corrupt(&problem),
            KeysUnread::Io(problem) => StoreError::Io(problem),
        }
    }

    fn frame(&mut self) -> Result<Frame, StoreError> {
        self.frames += 1;
        let mut length = [0; 4];
        self.from.read_exact(&mut length).map_err(|error| self.broken_off(&error))?;
        let length = u32::from_le_bytes(length) as usize;
        if length > FRAME_MOST {
            return Err(self.corrupt("a frame's length cannot be right"));
        }
        // Grown as bytes really come: a wrong length asks for no memory.
        let mut row = Vec::new();
        let taken = (&mut self.from).take(length as u64).read_to_end(&mut row);
        taken.map_err(|error| self.broken_off(&error))?;
        if row.len() < length {
            return Err(self.broken_off(&io::ErrorKind::UnexpectedEof.into()));
        }
        codec::decode(&row, || self.place())
    }

    fn broken_off(&self, error: &io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.corrupt("it was cut off: the backup was not finished, or not copied whole")
            }
            _ => StoreError::Io(format!("cannot read {}: {error}", self.path.display())),
        }
    }

    fn corrupt(&self, problem: &str) -> StoreError {
        StoreError::Corrupt { place: self.place(), problem: problem.to_owned() }
    }

    fn place(&self) -> String {
        format!("{}, frame {}", self.path.display(), self.frames)
    }
}

impl Iterator for BackupFile {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.tail.is_some() {
            return None;
        }
        self.entry().transpose()
    }
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backup").field("summary", &self.summary).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for BackupFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupFile").field("path", &self.path).finish_non_exhaustive()
    }
}
