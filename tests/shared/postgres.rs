//! A PostgreSQL of the tests' own: in a temporary folder, reached by a socket in it, gone with the process.
//!
//! The binaries are those on PATH, else where Debian's packages put them. Where there are none, CI fails and everybody
//! else skips by name.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Runs until its input ends, which it does however whoever started it dies.
const KEEPER: &str = r#"
"$1/initdb" -D "$2/data" -U dispatch -A trust -E UTF8 --no-locale --no-sync >"$2/log" 2>&1 || exit
serve() {
    "$1/postgres" -D "$2/data" -k "$2" -h '' -c max_connections=300 -c shared_buffers=64MB >>"$2/log" 2>&1 </dev/null
}
# Begun again where it is killed and somebody wants that, once nothing is left of the one before.
( serve "$@"; while [ -e "$2/again" ]; do serve "$@"; sleep 0.1; done ) &
read -r _
kill -INT "$(head -1 "$2/data/postmaster.pid")"
wait
"#;

/// A server.
pub struct Cluster {
    folder: TempDir,
    binaries: PathBuf,
    keeper: Child,
    databases: AtomicU64,
}

/// The one that all tests of this process share while one of them needs it.
static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// The shared server; `None` where PostgreSQL is not installed.
pub fn shared() -> Option<Arc<Cluster>> {
    let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(cluster) = shared.upgrade() {
        return Some(cluster);
    }
    let cluster = Arc::new(Cluster::start()?);
    *shared = Arc::downgrade(&cluster);
    Some(cluster)
}

impl Cluster {
    /// A new server; `None` where PostgreSQL is not installed.
    pub fn start() -> Option<Cluster> {
        let Some(binaries) = binaries() else {
            let must = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!must, "postgres and initdb are not on PATH: Debian has them in postgresql");
            println!("SKIPPED: postgres and initdb are not on PATH");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("dispatch-pg").tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(&binaries).arg(folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some((user, group)) = somebody_else() {
            chown(folder.path(), Some(user), Some(group)).unwrap();
            command.uid(user).gid(group).current_dir(folder.path());
        }
        let keeper = command.spawn().unwrap();
        let cluster = Cluster { folder, binaries, keeper, databases: AtomicU64::new(0) };
        cluster.wait();
        Some(cluster)
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        while !self.sql("postgres", "SELECT 1") {
            assert!(Instant::now() < until, "PostgreSQL does not start: {}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// A new, empty database: how it is connected to.
    pub fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        assert!(self.sql("postgres", &format!("CREATE DATABASE {name}")), "{}", self.log());
        self.connection(&name)
    }

    /// How a database is connected to.
    pub fn connection(&self, name: &str) -> String {
        format!("host={} user=dispatch dbname={name}", self.folder.path().display())
    }

    /// Runs a statement, and says whether it could.
    pub fn sql(&self, database: &str, statement: &str) -> bool {
        self.answer(&self.connection(database), statement).is_some()
    }

    /// What a statement answers, unadorned.
    pub fn answer(&self, connection: &str, statement: &str) -> Option<String> {
        let psql = Command::new(self.binaries.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                connection,
                "-c",
                statement,
            ])
            .stderr(Stdio::null())
            .output()
            .ok()?;
        psql.status.success().then(|| String::from_utf8_lossy(&psql.stdout).trim().to_owned())
    }

    /// As a power cut does, and whoever starts it again. Returns when it is there again.
    pub fn kill_and_restart(&self) {
        let pid = fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().to_owned();
        let again = self.folder.path().join("again");
        fs::write(&again, "").unwrap();
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        self.wait();
        fs::remove_file(again).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Where the programs are.
fn binaries() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&on_path).collect();
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(packaged.map(|version| version.path().join("bin")));
    let has_all = |folder: &&PathBuf| {
        ["postgres", "initdb", "psql"].iter().all(|name| folder.join(name).exists())
    };
    folders.iter().find(has_all).cloned()
}

/// A server does not run as root: whose it is then.
fn somebody_else() -> Option<(u32, u32)> {
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let users = fs::read_to_string(Path::new("/etc/passwd")).unwrap_or_default();
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    is_root.then(|| ids("postgres").or_else(|| ids("nobody")).unwrap_or((65_534, 65_534)))
}
