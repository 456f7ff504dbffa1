//! The shim: compiled once, and set up for one process.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// What the shim does to a process; see `shim.c` for the words.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Where, as in `hook 3, sync/db 1`.
    pub at: Option<String>,
    /// What: `kill`, `stall 500`, `fail 5`, `always fail 28`, `always short`.
    pub act: Option<&'static str>,
    /// Where every operation on the folder is recorded.
    pub record: Option<PathBuf>,
    /// The provider and the program's own listener for webhooks.
    pub ports: Option<(SocketAddr, SocketAddr)>,
    /// How far ahead the wall clock is, in milliseconds.
    pub ahead_ms: u64,
}

pub const EIO: &str = "fail 5";
pub const ALWAYS_EIO: &str = "always fail 5";
pub const FULL: &str = "always fail 28";
pub const READ_ONLY: &str = "always fail 30";

impl Faults {
    pub fn at(at: impl Into<String>, act: &'static str) -> Faults {
        Faults { at: Some(at.into()), act: Some(act), ..Faults::default() }
    }

    pub fn kill(at: impl Into<String>) -> Faults {
        Faults::at(at, "kill")
    }

    pub fn recorded(file: &Path) -> Faults {
        Faults { record: Some(file.to_owned()), ..Faults::default() }
    }

    /// The environment of a process whose data folder is `folder`.
    pub fn environment(&self, folder: &Path) -> Vec<(&'static str, String)> {
        let shown = |path: &Path| path.display().to_string();
        let mut all = vec![("LD_PRELOAD", shown(library())), ("FAULTS_FOLDER", shown(folder))];
        all.extend(self.at.clone().map(|at| ("FAULTS_AT", at)));
        all.extend(self.act.map(|act| ("FAULTS_DO", act.to_owned())));
        all.extend(self.record.as_deref().map(|file| ("FAULTS_RECORD", shown(file))));
        if let Some((provider, webhooks)) = self.ports {
            all.push(("FAULTS_PROVIDER", provider.port().to_string()));
            all.push(("FAULTS_WEBHOOKS", webhooks.port().to_string()));
        }
        if self.ahead_ms > 0 {
            all.push(("FAULTS_AHEAD_MS", self.ahead_ms.to_string()));
        }
        all
    }
}

/// The shim, compiled.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        // Named after this process: two runs side by side do not write over each other's.
        let name = format!("faults-{}.so", std::process::id());
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .expect("these tests need a C compiler, named cc, to put a disk that fails under the program");
        let said = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "the shim does not compile: {said}");
        library
    })
}
