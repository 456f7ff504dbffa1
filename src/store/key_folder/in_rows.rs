//! A folder of keys as rows: files in blocks, and what is written staged until it is synced.
//!
//! What the blocks are kept in is [`KeyTables`]: those of a database, or of a test. Only one process writes them at a
//! time, so what was read once is read from memory, as far as there is room.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{FileAccess, KEY_BLOCK, KeyFolder, OpenKeyFile};

/// Blocks of a file, by their numbers.
pub(in crate::store) type KeyBlocks = BTreeMap<u64, Vec<u8>>;

/// So many blocks of each file that is open are kept at hand: 128 keys each, of workflows that were made one after the
/// other and are mostly sent so.
const AT_HAND: usize = 64;

/// The tables of a folder of keys. Each call is one round trip, and one transaction.
pub(in crate::store) trait KeyTables: Send + Sync + 'static {
    /// What they are called in messages.
    fn place(&self) -> String;

    /// Which file has a name. A number belongs to one file for ever.
    ///
    /// # Errors
    /// If they cannot be read.
    fn names(&self) -> io::Result<BTreeMap<String, u64>>;

    /// A new file, under this name in the place of what was there; its number.
    ///
    /// # Errors
    /// If it could not be written: then nothing is changed.
    fn put(&self, name: &str, blocks: &KeyBlocks, length: u64) -> io::Result<u64>;

    /// Removes a file with its blocks.
    ///
    /// # Errors
    /// `NotFound` if it is not there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// How long a file is, and those of some blocks that it has.
    ///
    /// # Errors
    /// `NotFound` if it is not there any more.
    fn read(&self, file: u64, blocks: Range<u64>) -> io::Result<(u64, KeyBlocks)>;

    /// Puts blocks into a file, which is so long then at least.
    ///
    /// # Errors
    /// `NotFound` if it is not there any more.
    fn overwrite(&self, file: u64, blocks: &KeyBlocks, length: u64) -> io::Result<()>;
}

/// The folder, for as long as its process lives.
pub(in crate::store) struct KeyFolderInRows<T> {
    tables: Arc<T>,
    /// What this process has open: all who do share it.
    open: Mutex<BTreeMap<u64, Weak<SharedFile<T>>>>,
}

struct SharedFile<T> {
    number: u64,
    tables: Arc<T>,
    blocks: Mutex<FileBlocks>,
}

/// What of a file is in memory.
#[derive(Default)]
struct FileBlocks {
    /// Written and not synced.
    staged: KeyBlocks,
    /// How far what is staged goes.
    staged_length: u64,
    /// As they are in the tables.
    at_hand: KeyBlocks,
}

struct RowFile<T>(Arc<SharedFile<T>>, FileAccess);

impl<T: KeyTables> KeyFolderInRows<T> {
    pub(in crate::store) fn new(tables: Arc<T>) -> KeyFolderInRows<T> {
        KeyFolderInRows { tables, open: Mutex::default() }
    }

    fn opened(&self, number: u64, access: FileAccess) -> Arc<dyn OpenKeyFile> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, file| file.strong_count() > 0);
        let file = open.get(&number).and_then(Weak::upgrade).unwrap_or_else(|| {
            let tables = Arc::clone(&self.tables);
            Arc::new(SharedFile { number, tables, blocks: Mutex::default() })
        });
        open.insert(number, Arc::downgrade(&file));
        Arc::new(RowFile(file, access))
    }
}

impl<T: KeyTables> KeyFolder for KeyFolderInRows<T> {
    fn place(&self) -> String {
        self.tables.place()
    }

    fn names(&self) -> io::Result<Option<BTreeSet<String>>> {
        let names = self.tables.names()?;
        Ok((!names.is_empty()).then(|| names.into_keys().collect()))
    }

    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, name: &str, access: FileAccess) -> io::Result<Arc<dyn OpenKeyFile>> {
        let number = self.tables.names()?.get(name).copied().ok_or(ErrorKind::NotFound)?;
        Ok(self.opened(number, access))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<Arc<dyn OpenKeyFile>> {
        let blocks = (0..).zip(bytes.chunks(KEY_BLOCK)).map(|(at, bytes)| (at, bytes.to_vec()));
        let number = self.tables.put(name, &blocks.collect(), bytes.len() as u64)?;
        Ok(self.opened(number, FileAccess::Overwrite))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.tables.remove(name)
    }
}

impl<T: KeyTables> SharedFile<T> {
    // Each change is one step, or is made again.
    fn blocks(&self) -> MutexGuard<'_, FileBlocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that these blocks are in memory, those that there are; how long the file is.
    fn fetch(&self, held: &mut FileBlocks, blocks: Range<u64>) -> io::Result<u64> {
        let (length, read) = self.tables.read(self.number, blocks)?;
        if held.at_hand.len() + read.len() > AT_HAND {
            held.at_hand.clear();
        }
        held.at_hand.extend(read);
        Ok(length.max(held.staged_length))
    }
}

impl FileBlocks {
    /// The block as it reads now: what is staged before what is durable.
    fn block(&self, number: u64) -> Option<&Vec<u8>> {
        self.staged.get(&number).or(self.at_hand.get(&number))
    }

    /// Whether a range can be read of what is in memory: it is within one whole block.
    fn has(&self, at: u64, length: usize) -> bool {
        let (number, within) = (at / KEY_BLOCK as u64, (at % KEY_BLOCK as u64) as usize);
        self.block(number)
            .is_some_and(|block| block.len() == KEY_BLOCK && within + length <= KEY_BLOCK)
    }
}

/// The blocks of a range of bytes.
fn blocks_of(at: u64, length: usize) -> Range<u64> {
    at / KEY_BLOCK as u64..(at + length as u64).div_ceil(KEY_BLOCK as u64)
}

impl<T: KeyTables> OpenKeyFile for RowFile<T> {
    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let mut held = self.0.blocks();
        let filled = if held.has(at, bytes.len()) {
            bytes.len()
        } else {
            let length = self.0.fetch(&mut held, blocks_of(at, bytes.len()))?;
            length.saturating_sub(at).min(bytes.len() as u64) as usize
        };
        for (number, within, of_bytes) in pieces(at, filled) {
            let found =
                held.block(number).and_then(|block| block.get(within..)).unwrap_or_default();
            let piece = &mut bytes[of_bytes];
            piece.fill(0);
            let found = &found[..found.len().min(piece.len())];
            piece[..found.len()].copy_from_slice(found);
        }
        Ok(filled)
    }

    fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if self.1 == FileAccess::Read {
            return Err(ErrorKind::PermissionDenied.into());
        }
        let mut held = self.0.blocks();
        let blocks = blocks_of(at, bytes.len());
        // A block of which all is written need not be known, but that its file is there.
        let in_part = pieces(at, bytes.len()).any(|(number, _, of_bytes)| {
            of_bytes.len() < KEY_BLOCK && held.block(number).is_none()
        });
        if in_part {
            self.0.fetch(&mut held, blocks)?;
        }
        for (number, within, of_bytes) in pieces(at, bytes.len()) {
            let mut block = held.block(number).cloned().unwrap_or_default();
            let end = within + of_bytes.len();
            block.resize(block.len().max(end), 0);
            block[within..end].copy_from_slice(&bytes[of_bytes]);
            held.staged.insert(number, block);
        }
        held.staged_length = held.staged_length.max(at + bytes.len() as u64);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut held = self.0.blocks();
        self.0.tables.overwrite(self.0.number, &held.staged, held.staged_length)?;
        let staged = std::mem::take(&mut held.staged);
        if held.at_hand.len() + staged.len() > AT_HAND {
            held.at_hand.clear();
        }
        held.at_hand.extend(staged.into_iter().take(AT_HAND));
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let mut held = self.0.blocks();
        self.0.fetch(&mut held, 0..0)
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
