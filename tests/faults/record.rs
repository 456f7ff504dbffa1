//! The shim's record, read back, and the disk that a power cut would have left.
//!
//! A file keeps what was written before its last sync began. Of what came later each sector may be
//! there or not, in any order. Names, too: a creation, a renaming or a removal is durable once its
//! folder was synced. Until then they are kept in order up to some point, as ext4 keeps them, or
//! each by chance, which is all that POSIX promises.

use std::{collections::BTreeMap, fs, path::Path};

use crate::world::Dice;

/// One operation on the data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    Opened { name: &'a str },
    Wrote { name: &'a str, offset: usize, bytes: &'a [u8] },
    Truncated { name: &'a str, len: usize },
    Renamed { name: &'a str, to: &'a str },
    Unlinked { name: &'a str },
    SyncBegins { name: &'a str, data_only: bool },
    SyncEnds { name: &'a str, data_only: bool },
    Range,
}

const HEAD: usize = 24;

/// The record's entries, each with where it ends.
pub fn entries(record: &[u8]) -> impl Iterator<Item = (Entry<'_>, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let head = record.get(at..at + HEAD)?;
        let short = |from: usize| u32::from_le_bytes(head[from..from + 4].try_into().unwrap());
        let long = |from: usize| u64::from_le_bytes(head[from..from + 8].try_into().unwrap());
        let (op, names, offset, len) = (short(0), short(4) as usize, long(8), long(16));
        let name = record.get(at + HEAD..at + HEAD + names)?;
        let name = std::str::from_utf8(name).unwrap();
        let bytes = record.get(at + HEAD + names..at + HEAD + names + len as usize)?;
        at += HEAD + names + len as usize;
        let offset = offset as usize;
        let data_only = offset == 1;
        let entry = match op {
            1 => Entry::Opened { name },
            2 => Entry::Wrote { name, offset, bytes },
            3 => Entry::Truncated { name, len: offset },
            4 => {
                let (name, to) = name.split_once('\n').unwrap();
                Entry::Renamed { name, to }
            }
            5 => Entry::Unlinked { name },
            6 => Entry::SyncBegins { name, data_only },
            7 => Entry::SyncEnds { name, data_only },
            8 => Entry::Range,
            _ => panic!("the record has an operation {op}"),
        };
        Some((entry, at))
    })
}

/// Which syncs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    All,
    /// As if `fdatasync` did nothing: what the product would be without it.
    WithoutData,
}

/// How a cut treats names that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    InOrder,
    ByChance,
}

#[derive(Clone, Copy, Debug)]
enum Change<'a> {
    Write { offset: usize, bytes: &'a [u8] },
    Truncate { len: usize },
}

#[derive(Clone, Debug, Default)]
struct Inode<'a> {
    durable: Vec<u8>,
    pending: Vec<Change<'a>>,
    /// For each sync under way: how much of `pending` it makes durable.
    syncing: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
enum NameChange<'a> {
    Link { name: &'a str, inode: usize },
    Rename { name: &'a str, to: &'a str },
    Unlink { name: &'a str },
}

/// A disk while the record is played.
pub struct Disk<'a> {
    syncs: Syncs,
    inodes: Vec<Inode<'a>>,
    /// As the running program sees them.
    names: BTreeMap<&'a str, usize>,
    durable_names: BTreeMap<&'a str, usize>,
    pending_names: Vec<NameChange<'a>>,
    /// Of each sync of a folder that is under way: which, and how many of `pending_names` it may make durable.
    syncing_names: Vec<(&'a str, usize)>,
    /// What the record goes on calling a file by that was renamed while it was open.
    former_names: BTreeMap<&'a str, usize>,
}

/// The folder of its own within the data folder, whose names are durable once it was synced.
const FOLDER: &str = "contents";

/// In whose sync a name becomes durable.
fn folder_of(name: &str) -> &str {
    if name.starts_with("contents/") { FOLDER } else { "." }
}

impl<'a> Disk<'a> {
    /// An empty folder.
    pub fn new(syncs: Syncs) -> Disk<'a> {
        Disk {
            syncs,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            syncing_names: Vec::new(),
            former_names: BTreeMap::new(),
        }
    }

    pub fn play(&mut self, entry: Entry<'a>) {
        match entry {
            Entry::Opened { name } => {
                self.inodes.push(Inode::default());
                let inode = self.inodes.len() - 1;
                self.change_names(NameChange::Link { name, inode });
            }
            Entry::Wrote { name, offset, bytes } => {
                self.inode(name).pending.push(Change::Write { offset, bytes });
            }
            Entry::Truncated { name, len } => {
                self.inode(name).pending.push(Change::Truncate { len });
            }
            Entry::Renamed { name, to } => self.change_names(NameChange::Rename { name, to }),
            Entry::Unlinked { name } => self.change_names(NameChange::Unlink { name }),
            Entry::SyncBegins { name: folder @ ("." | FOLDER), .. } => {
                self.syncing_names.push((folder, self.pending_names.len()))
            }
            Entry::SyncEnds { name: folder @ ("." | FOLDER), .. } => self.folder_synced(folder),
            Entry::SyncBegins { data_only: true, .. } | Entry::SyncEnds { data_only: true, .. }
                if self.syncs == Syncs::WithoutData => {}
            Entry::SyncBegins { name, .. } => {
                let inode = self.inode(name);
                inode.syncing.push(inode.pending.len());
            }
            Entry::SyncEnds { name, .. } => {
                let inode = self.inode(name);
                // The oldest, whichever it was: it covers least.
                let count = inode.syncing.remove(0).min(inode.pending.len());
                for change in inode.pending.drain(..count) {
                    apply(&mut inode.durable, change);
                }
                for left in &mut inode.syncing {
                    *left = left.saturating_sub(count);
                }
            }
            Entry::Range => {}
        }
    }

    /// What a power cut at this moment leaves, written to `folder`.
    pub fn cut(&self, folder: &Path, dice: &mut Dice) -> String {
        let order = dice.pick(&[Names::InOrder, Names::ByChance]);
        let mut names = self.durable_names.clone();
        let kept = dice.below(self.pending_names.len() as u64 + 1) as usize;
        for (at, change) in self.pending_names.iter().enumerate() {
            let stays = match order {
                Names::InOrder => at < kept,
                Names::ByChance => dice.one_in(2),
            };
            if stays {
                apply_name(&mut names, *change);
            }
        }
        let (fate, sector) = (dice.below(4), dice.pick(&[512, 4096]));
        for (name, inode) in names {
            let inode = &self.inodes[inode];
            let mut bytes = inode.durable.clone();
            for change in &inode.pending {
                match fate {
                    // Nothing, everything, whole writes by chance, sectors by chance.
                    0 => {}
                    1 => apply(&mut bytes, *change),
                    2 if dice.one_in(2) => apply(&mut bytes, *change),
                    2 => {}
                    _ => apply_sectors(&mut bytes, *change, sector, dice),
                }
            }
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        format!("names {order:?}, fate {fate}, sectors of {sector}")
    }

    fn inode(&mut self, name: &str) -> &mut Inode<'a> {
        let inode = self.names.get(name).or_else(|| self.former_names.get(name));
        let inode = *inode.unwrap_or_else(|| panic!("nobody opened {name}"));
        &mut self.inodes[inode]
    }

    /// The oldest sync of this folder that is under way has ended.
    fn folder_synced(&mut self, folder: &str) {
        let at = self.syncing_names.iter().position(|(of, _)| *of == folder).unwrap();
        let (_, count) = self.syncing_names.remove(at);
        let pending = std::mem::take(&mut self.pending_names);
        let under_way = self.syncing_names.clone();
        for (at, change) in pending.into_iter().enumerate() {
            let (NameChange::Link { name, .. }
            | NameChange::Rename { name, .. }
            | NameChange::Unlink { name }) = change;
            if at < count && folder_of(name) == folder {
                apply_name(&mut self.durable_names, change);
                for ((_, left), (_, counted)) in self.syncing_names.iter_mut().zip(&under_way) {
                    *left -= usize::from(at < *counted);
                }
            } else {
                self.pending_names.push(change);
            }
        }
    }

    fn change_names(&mut self, change: NameChange<'a>) {
        if let NameChange::Rename { name, .. } = change
            && let Some(inode) = self.names.get(name)
        {
            self.former_names.insert(name, *inode);
        }
        apply_name(&mut self.names, change);
        self.pending_names.push(change);
    }
}

fn apply_name<'a>(names: &mut BTreeMap<&'a str, usize>, change: NameChange<'a>) {
    match change {
        NameChange::Link { name, inode } => {
            names.insert(name, inode);
        }
        NameChange::Rename { name, to } => {
            if let Some(inode) = names.remove(name) {
                names.insert(to, inode);
            }
        }
        NameChange::Unlink { name } => {
            names.remove(name);
        }
    }
}

fn apply(file: &mut Vec<u8>, change: Change<'_>) {
    match change {
        Change::Truncate { len } => file.resize(len, 0),
        Change::Write { offset, bytes } => {
            let end = offset + bytes.len();
            if file.len() < end {
                file.resize(end, 0);
            }
            file[offset..end].copy_from_slice(bytes);
        }
    }
}

/// Each sector of the write, as the disk counts them, is kept or not.
fn apply_sectors(file: &mut Vec<u8>, change: Change<'_>, sector: usize, dice: &mut Dice) {
    let Change::Write { offset, bytes } = change else {
        return if dice.one_in(2) {
            apply(file, change)
        };
    };
    let mut at = 0;
    while at < bytes.len() {
        let len = (sector - (offset + at) % sector).min(bytes.len() - at);
        if dice.one_in(2) {
            apply(file, Change::Write { offset: offset + at, bytes: &bytes[at..at + len] });
        }
        at += len;
    }
}
