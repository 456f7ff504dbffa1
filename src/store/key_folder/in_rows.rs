//! A folder of keys in memory, in the manner of rows: blocks, and what is staged until it is synced. As strict as the
//! contract lets it be: before a sync nothing is durable, and who has a file open that is gone has nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    ops::Range,
    sync::{Arc, Mutex, Weak},
};

use super::{FileAccess, KEY_BLOCK, KeyFolder, OpenKeyFile};

type Blocks = BTreeMap<u64, Vec<u8>>;

/// The folder, for as long as its process lives.
#[derive(Default)]
pub(super) struct KeyFolderInRows {
    tables: Arc<Mutex<KeyTables>>,
    /// What this process has open: all who do share it.
    open: Mutex<BTreeMap<u64, Weak<StagedFile>>>,
}

/// What the database holds.
#[derive(Clone, Default)]
struct KeyTables {
    /// Which file has a name. A number belongs to one file for ever.
    names: BTreeMap<String, u64>,
    files: BTreeMap<u64, Blocks>,
    last: u64,
}

struct StagedFile {
    number: u64,
    tables: Arc<Mutex<KeyTables>>,
    staged: Mutex<Blocks>,
}

struct RowFile(Arc<StagedFile>, FileAccess);

impl KeyFolderInRows {
    /// The folder as another process has it when this one is cut off now.
    pub(super) fn after_crash(&self) -> KeyFolderInRows {
        let tables = self.tables.lock().unwrap().clone();
        KeyFolderInRows { tables: Arc::new(Mutex::new(tables)), open: Mutex::default() }
    }

    fn opened(&self, number: u64, access: FileAccess) -> Arc<dyn OpenKeyFile> {
        let mut open = self.open.lock().unwrap();
        open.retain(|_, file| file.strong_count() > 0);
        let file = open.get(&number).and_then(Weak::upgrade).unwrap_or_else(|| {
            let tables = Arc::clone(&self.tables);
            Arc::new(StagedFile { number, tables, staged: Mutex::default() })
        });
        open.insert(number, Arc::downgrade(&file));
        Arc::new(RowFile(file, access))
    }
}

impl KeyFolder for KeyFolderInRows {
    fn place(&self) -> String {
        "rows in memory".to_owned()
    }

    fn names(&self) -> io::Result<Option<BTreeSet<String>>> {
        let tables = self.tables.lock().unwrap();
        Ok((!tables.names.is_empty()).then(|| tables.names.keys().cloned().collect()))
    }

    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, name: &str, access: FileAccess) -> io::Result<Arc<dyn OpenKeyFile>> {
        let number = self.tables.lock().unwrap().names.get(name).copied().ok_or_else(not_found)?;
        Ok(self.opened(number, access))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<Arc<dyn OpenKeyFile>> {
        let mut tables = self.tables.lock().unwrap();
        tables.last += 1;
        let number = tables.last;
        let blocks = (0..).zip(bytes.chunks(KEY_BLOCK)).map(|(at, bytes)| (at, bytes.to_vec()));
        tables.files.insert(number, blocks.collect());
        if let Some(before) = tables.names.insert(name.to_owned(), number) {
            tables.files.remove(&before);
        }
        drop(tables);
        Ok(self.opened(number, FileAccess::Overwrite))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut tables = self.tables.lock().unwrap();
        let number = tables.names.remove(name).ok_or_else(not_found)?;
        tables.files.remove(&number);
        Ok(())
    }
}

impl StagedFile {
    /// The file as it reads now: what is staged before what is durable.
    fn blocks<T>(&self, with: impl FnOnce(&Blocks, &mut Blocks) -> T) -> io::Result<T> {
        let tables = self.tables.lock().unwrap();
        let durable = tables.files.get(&self.number).ok_or_else(not_found)?;
        Ok(with(durable, &mut self.staged.lock().unwrap()))
    }
}

impl OpenKeyFile for RowFile {
    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let filled = self.length()?.saturating_sub(at).min(bytes.len() as u64) as usize;
        self.0.blocks(|durable, staged| {
            for (number, within, of_bytes) in pieces(at, filled) {
                let block = staged.get(&number).or(durable.get(&number));
                let held = block.and_then(|block| block.get(within..)).unwrap_or_default();
                let piece = &mut bytes[of_bytes];
                piece.fill(0);
                let held = &held[..held.len().min(piece.len())];
                piece[..held.len()].copy_from_slice(held);
            }
            filled
        })
    }

    fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if self.1 == FileAccess::Read {
            return Err(ErrorKind::PermissionDenied.into());
        }
        self.0.blocks(|durable, staged| {
            for (number, within, of_bytes) in pieces(at, bytes.len()) {
                let before = || durable.get(&number).cloned().unwrap_or_default();
                let block = staged.entry(number).or_insert_with(before);
                let end = within + of_bytes.len();
                block.resize(block.len().max(end), 0);
                block[within..end].copy_from_slice(&bytes[of_bytes]);
            }
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut tables = self.0.tables.lock().unwrap();
        let durable = tables.files.get_mut(&self.0.number).ok_or_else(not_found)?;
        durable.append(&mut self.0.staged.lock().unwrap());
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.0.blocks(|durable, staged| {
            let last = [durable.last_key_value(), staged.last_key_value()];
            let last = last.into_iter().flatten().max_by_key(|(number, _)| **number);
            last.map_or(0, |(number, block)| number * KEY_BLOCK as u64 + block.len() as u64)
        })
    }
}

/// So many bytes from a place on, block by block: its number, where within it, and which of the bytes.
fn pieces(at: u64, length: usize) -> impl Iterator<Item = (u64, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = at + done as u64;
        let within = (at % KEY_BLOCK as u64) as usize;
        let piece = done..length.min(done + KEY_BLOCK - within);
        done = piece.end;
        (!piece.is_empty()).then_some((at / KEY_BLOCK as u64, within, piece))
    })
}

fn not_found() -> io::Error {
    ErrorKind::NotFound.into()
}
