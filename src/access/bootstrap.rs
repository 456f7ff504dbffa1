//! How the first key is made where nobody is let in without one: by a secret in a file that only whoever
//! runs the service can read.
//!
//! The file is written at a start that finds no key, each time with another secret, and removed when
//! there is a key, or the service stops. In memory only the secret's hash is kept.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    Caller, DEFAULT_TENANT, Scope,
    secret::{SecretHash, random_secret},
};

/// The file's name within its folder.
const FILE: &str = "bootstrap.key";
/// What stands before the secret, as a key's id does. No key has it.
pub(super) const BOOTSTRAP: &str = "bootstrap";

/// The secret that makes the first key.
#[derive(Debug)]
pub(super) struct Bootstrap {
    file: PathBuf,
    /// A folder of its own, which goes with the file.
    folder: Option<PathBuf>,
    hash: SecretHash,
}

/// Where the file is to be.
#[derive(Clone, Copy, Debug)]
pub enum BootstrapIn<'a> {
    /// In the data folder.
    Data(&'a Path),
    /// In a new folder among the system's temporary ones: nothing else is kept on the disk.
    NewFolder,
}

impl Bootstrap {
    /// Writes the file, readable by its owner only, in place of one of an earlier life.
    pub(super) fn write(place: BootstrapIn<'_>) -> io::Result<Self> {
        let (path, folder) = match place {
            BootstrapIn::Data(path) => (path.to_owned(), None),
            BootstrapIn::NewFolder => {
                let name = format!("dispatch-{}", uuid::Uuid::new_v4().simple());
                let path = std::env::temp_dir().join(name);
                DirBuilder::new().mode(0o700).create(&path)?;
                (path.clone(), Some(path))
            }
        };
        remove(&path)?;
        let secret = random_secret()
            .map_err(|_| io::Error::other("the system has no randomness to give"))?;
        let file = path.join(FILE);
        let this = Bootstrap { file, folder, hash: SecretHash::of(secret.expose()) };
        let mut opened =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&this.file)?;
        writeln!(opened, "{BOOTSTRAP}:{}", secret.expose())?;
        Ok(this)
    }

    /// The folder that the file is in.
    pub(super) fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }

    /// Whether this is its secret.
    pub(super) fn has(&self, given: &SecretHash) -> bool {
        self.hash.is_of_the_same(given)
    }

    /// Whoever brings it: as an operator, who alone makes the first key.
    pub(super) fn caller() -> Caller {
        Caller {
            tenant: DEFAULT_TENANT.into(),
            scopes: vec![Scope::Operator],
            application: None,
            name: BOOTSTRAP.into(),
            source: None,
        }
    }
}

impl Drop for Bootstrap {
    fn drop(&mut self) {
        // What is left opens nothing: the next start writes another, or there is a key.
        let _ = fs::remove_file(&self.file);
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Removes the file that an earlier life left in its data folder.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What makes the first key of the service whose folder this is, as `ID:SECRET`; `None` if it has a key
/// already, or needs none to make one.
///
/// # Errors
/// If the file cannot be read: mostly because another user runs the service.
pub fn bootstrap_key(folder: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(folder.join(FILE)) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
