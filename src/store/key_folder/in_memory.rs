//! The tables of a folder of keys in memory. As strict as the contract lets them be: before a sync nothing is durable,
//! and who has a file open that is gone has nothing.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    ops::Range,
    sync::Mutex,
};

use super::in_rows::{KeyBlocks, KeyTables};

#[derive(Default)]
pub(super) struct TablesInMemory(Mutex<Tables>);

#[derive(Clone, Default)]
struct Tables {
    names: BTreeMap<String, u64>,
    files: BTreeMap<u64, (u64, KeyBlocks)>,
    last: u64,
}

impl TablesInMemory {
    /// As another process has them when this one is cut off now.
    pub(super) fn after_crash(&self) -> TablesInMemory {
        TablesInMemory(Mutex::new(self.0.lock().unwrap().clone()))
    }
}

impl KeyTables for TablesInMemory {
    fn place(&self) -> String {
        "rows in memory".to_owned()
    }

    fn names(&self) -> io::Result<BTreeMap<String, u64>> {
        Ok(self.0.lock().unwrap().names.clone())
    }

    fn put(&self, name: &str, blocks: &KeyBlocks, length: u64) -> io::Result<u64> {
        let mut tables = self.0.lock().unwrap();
        tables.last += 1;
        let number = tables.last;
        tables.files.insert(number, (length, blocks.clone()));
        if let Some(before) = tables.names.insert(name.to_owned(), number) {
            tables.files.remove(&before);
        }
        Ok(number)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut tables = self.0.lock().unwrap();
        let number = tables.names.remove(name).ok_or(ErrorKind::NotFound)?;
        tables.files.remove(&number);
        Ok(())
    }

    fn read(&self, file: u64, blocks: Range<u64>) -> io::Result<(u64, KeyBlocks)> {
        let tables = self.0.lock().unwrap();
        let (length, held) = tables.files.get(&file).ok_or(ErrorKind::NotFound)?;
        let found = held.range(blocks).map(|(number, block)| (*number, block.clone()));
        Ok((*length, found.collect()))
    }

    fn overwrite(&self, file: u64, blocks: &KeyBlocks, length: u64) -> io::Result<()> {
        let mut tables = self.0.lock().unwrap();
        let (held_length, held) = tables.files.get_mut(&file).ok_or(ErrorKind::NotFound)?;
        held.extend(blocks.iter().map(|(number, block)| (*number, block.clone())));
        *held_length = length.max(*held_length);
        Ok(())
    }
}
