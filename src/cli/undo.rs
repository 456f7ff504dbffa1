//! What a command leaves behind is undone however it ends: by itself, because its reader went away
//! (`| head`), or by SIGINT, SIGTERM or SIGHUP. Only SIGKILL leaves it.

use std::{
    io,
    path::{Path, PathBuf},
    process::exit,
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};

use crate::owned_files;

type Work = Box<dyn FnOnce() + Send>;

/// What is still to be undone, in the order in which it was done. Of the whole process, as signals are.
static TO_UNDO: Mutex<Vec<(u64, Work)>> = Mutex::new(Vec::new());
static SIGNALS: Once = Once::new();

/// Undoes something when it is dropped, or when the program ends before.
#[must_use]
pub struct Undo(u64);

/// A folder of a command's own, which only this user may look into, and which goes with the command.
pub struct TempFolder {
    path: PathBuf,
    _undo: Undo,
}

impl Undo {
    /// Must be called on a tokio runtime: from now on signals end the program in this way.
    pub fn new(work: impl FnOnce() + Send + 'static) -> Undo {
        SIGNALS.call_once(|| {
            for (kind, code) in [
                (SignalKind::hangup(), 129),
                (SignalKind::interrupt(), 130),
                (SignalKind::terminate(), 143),
            ] {
                // Without a handler the signal does what it usually does.
                let Ok(mut heard) = signal(kind) else { continue };
                tokio::spawn(async move {
                    heard.recv().await;
                    leave(code);
                });
            }
        });
        let mut to_undo = to_undo();
        let number = to_undo.last().map_or(0, |(number, _)| number + 1);
        to_undo.push((number, Box::new(work)));
        Undo(number)
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let mut to_undo = to_undo();
        let place = to_undo.iter().position(|(number, _)| *number == self.0);
        let work = place.map(|place| to_undo.remove(place));
        drop(to_undo);
        if let Some((_, work)) = work {
            work();
        }
    }
}

impl TempFolder {
    /// A new one in `within`, whose name begins with `name`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(within: &Path, name: &str) -> io::Result<TempFolder> {
        let path = within.join(format!("{name}-{}", uuid::Uuid::now_v7().simple()));
        let removed = path.clone();
        let undo = Undo::new(move || remove(&removed));
        owned_files::make_folder(&path)?;
        Ok(TempFolder { path, _undo: undo })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Undoes everything, the last first, and ends the program.
pub(super) fn leave(code: i32) -> ! {
    loop {
        let last = to_undo().pop();
        let Some((_, work)) = last else { exit(code) };
        work();
    }
}

/// Removes a folder that somebody may still be writing into.
fn remove(folder: &Path) {
    for _ in 0..100 {
        match std::fs::remove_dir_all(folder) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    eprintln!("dispatch: {} could not be removed", folder.display());
}

fn to_undo() -> MutexGuard<'static, Vec<(u64, Work)>> {
    TO_UNDO.lock().unwrap_or_else(PoisonError::into_inner)
}
