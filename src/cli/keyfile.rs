//! A private key's file: new, its owner's only, and there before the key is.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::CommandFailure;
use crate::owned_files;

/// A file for a private key, made before there is one: a key that could not be kept would be lost.
pub(super) struct KeyFile {
    path: PathBuf,
    file: std::fs::File,
    is_kept: bool,
}

impl KeyFile {
    /// Makes the file, for its owner only.
    pub(super) fn begin(path: &Path) -> Result<KeyFile, CommandFailure> {
        let shown = path.display();
        let file = owned_files::create_new(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => CommandFailure {
                code: 2,
                text: format!("{shown} is there already and is left alone; name a new file"),
            },
            _ => CommandFailure::new(format!("cannot write the private key to {shown}: {error}")),
        })?;
        Ok(KeyFile { path: path.to_owned(), file, is_kept: false })
    }

    /// Writes the key, durably. Without this the file is removed again.
    pub(super) fn keep(mut self, key: &str) -> Result<(), CommandFailure> {
        let written = self.file.write_all(key.as_bytes()).and_then(|()| self.file.sync_all());
        let shown = self.path.display();
        written.map_err(|error| {
            CommandFailure::new(format!("cannot write the private key to {shown}: {error}"))
        })?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
