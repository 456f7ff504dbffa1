//! Nobody is named where nobody should be.
//!
//! With `DISPATCH_NO_RECIPIENT` set, every service of these tests keeps its store in a folder, and as it stops, all
//! that its workflows' contents, its inbound messages and its list of opt-outs hold is searched for: in that folder,
//! in its rows as they are read, in a backup, in its metrics, and in all that was logged while it ran, with the texts
//! of what it refused. So no test has to mark what is personal in it. Of a program that runs as a process of its own
//! it is its folder and its log.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, Once},
};

use aho_corasick::AhoCorasick;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use dispatch::{
    builtin,
    config::{Config, ConfigError, StoreKind},
    contents::Contents,
    engine::{Engine, OptOutFilter, ReceivedMessage},
    service::{Components, Service, ServiceClock, StartError},
    store::{Backup, Kind, all_rows},
};
use tempfile::{NamedTempFile, TempDir};
use tokio::process::Command;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{report, support::in_memory};

/// What is shorter is found by chance, and in what the service says itself.
const SHORTEST: usize = 8;
/// So many rows are read at a time.
const ROWS: usize = 500;

/// `word in place`, and what is around it.
pub type Found = BTreeMap<String, String>;

/// The services that run, by where they listen.
static WATCHED: Mutex<BTreeMap<SocketAddr, Watched>> = Mutex::new(BTreeMap::new());
static LOG: LazyLock<Log> = LazyLock::new(Log::default);

pub struct Watched {
    pub folder: PathBuf,
    /// Where nobody else makes and removes the folder.
    _made: Option<TempDir>,
    /// How much was logged when it started.
    logged: usize,
}

/// All that was logged in this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

/// Whether all that runs is to be searched.
pub fn is_asked() -> bool {
    env::var_os("DISPATCH_NO_RECIPIENT").is_some()
}

/// Starts a service; [`stop`] searches what it leaves, if that is asked for.
///
/// # Errors
/// As [`Service::start`].
pub async fn start(
    config: &Config,
    components: impl FnOnce(&ServiceClock, SocketAddr) -> Result<Components, ConfigError>,
) -> Result<Service, StartError> {
    if !is_asked() {
        return Service::start(config, components).await;
    }
    let (service, watched) = start_watched(config, components).await?;
    WATCHED.lock().unwrap().insert(service.grpc, watched);
    Ok(service)
}

/// The same, to be searched in any case.
///
/// # Errors
/// As [`Service::start`].
pub async fn start_watched(
    config: &Config,
    components: impl FnOnce(&ServiceClock, SocketAddr) -> Result<Components, ConfigError>,
) -> Result<(Service, Watched), StartError> {
    let (mut config, mut made) = (config.clone(), None);
    if config.store.kind == StoreKind::Memory {
        let folder = tempfile::tempdir().unwrap();
        config.store.kind = StoreKind::Sled;
        config.store.data = folder.path().join("data");
        // Nothing but zeros.
        config.store.ballast_mib = 0;
        made = Some(folder);
    }
    let logged = LOG.listen();
    let service = Service::start(&config, components).await?;
    Ok((service, Watched { folder: config.store.data, _made: made, logged }))
}

/// Stops a service, and searches what it leaves, if that is asked for.
pub async fn stop(service: Service) {
    let watched = WATCHED.lock().unwrap().remove(&service.grpc);
    let Some(watched) = watched else { return service.stop().await.unwrap() };
    nobody_is_named(found_behind(service, watched).await);
}

/// Stops a service. Where what is personal of what it held stands, and how many words that were.
pub async fn found_behind(service: Service, watched: Watched) -> (Found, usize) {
    let engine = service.engine.clone();
    let held = tokio::task::spawn_blocking(move || (words(&engine), told(&engine)));
    let (words, told) = held.await.unwrap();
    service.stop().await.unwrap();
    let searched = tokio::task::spawn_blocking(move || {
        let search = Search::of(&words);
        let mut found = search.found("the log", &LOG.since(watched.logged));
        for (place, bytes) in &told {
            found.append(&mut search.found(place, bytes));
        }
        found.append(&mut search.below(&watched.folder));
        (found, words.len())
    });
    searched.await.unwrap()
}

/// Fails if somebody is; else it counts for the report.
fn nobody_is_named((found, words): (Found, usize)) {
    assert!(found.is_empty(), "somebody is named where nobody should be: {found:#?}");
    // Others start a few services by the same helpers.
    if env!("CARGO_CRATE_NAME") != "it" {
        return;
    }
    static COUNTS: Mutex<(u64, u64)> = Mutex::new((0, 0));
    let mut counts = COUNTS.lock().unwrap();
    let (services, looked_for) = (counts.0 + 1, counts.1 + words as u64);
    *counts = (services, looked_for);
    report::row(&report::Tried {
        name: "65-no-recipient",
        what: "every service of the integration tests, searched for whom it reached and what it said: its folder, its \
               rows as they are read, a backup, its metrics, all that was logged",
        counts: vec![(services, "services"), (looked_for, "numbers, texts and other words")],
        found: "none stands anywhere".to_owned(),
        seed: "none: nothing is left to chance".to_owned(),
    });
}

/// What a program leaves that runs as a process of its own.
pub struct Left {
    folder: PathBuf,
    log: Option<NamedTempFile>,
}

impl Left {
    /// Of what will be started. Its log is kept, if it is to be searched.
    pub fn of(program: &mut Command, folder: &Path) -> Left {
        let log = is_asked().then(|| NamedTempFile::new().unwrap());
        if let Some(log) = &log {
            program.stderr(log.reopen().unwrap());
        }
        Left { folder: folder.to_owned(), log }
    }

    /// Searches it, if that is asked for: for what a service finds in it that is started to read.
    pub async fn search(&self) {
        let Some(log) = self.log.as_ref().filter(|_| self.folder.join("db").is_file()) else {
            return;
        };
        // What is only read loses its ballast, and the test may go on with it.
        let copy = tempfile::tempdir().unwrap();
        copy_files(&self.folder, copy.path());
        fs::copy(log.path(), copy.path().join("log")).unwrap();
        let mut config = in_memory();
        config.store.kind = StoreKind::Sled;
        config.store.data = copy.path().to_owned();
        config.store.read_only = true;
        let logged = LOG.listen();
        let service =
            Service::start(&config, |clock, _| builtin::parts(&config, clock)).await.unwrap();
        let watched = Watched { folder: copy.path().to_owned(), _made: None, logged };
        nobody_is_named(found_behind(service, watched).await);
    }
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            fs::create_dir(to.join(&name)).unwrap();
            copy_files(&path, &to.join(name));
        } else if name != "ballast" {
            fs::copy(path, to.join(name)).unwrap();
        }
    }
}

/// What is personal of all that a service holds.
fn words(engine: &Engine) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    // What a caller lets stand in clear: labels, references. A sender writes to itself in some tests.
    let mut chosen = BTreeSet::new();
    let mut after = None;
    loop {
        let entries = engine.reader().entries(after, ROWS).unwrap();
        let Some(last) = entries.last() else { break };
        after = Some(last.record.id);
        for record in entries.iter().map(|entry| &entry.record) {
            chosen.extend(record.plan.labels.values().chain(&record.plan.client_ref).cloned());
            let senders = record.plan.steps.iter().map(|step| step.sender.value().to_owned());
            chosen.extend(senders);
            if let Ok(contents) = engine.contents().open(record) {
                words.extend(personal(&contents));
            }
        }
    }
    let messages = engine.inbound_messages();
    let kept = *messages.kept().borrow();
    let mut number = kept.gone;
    while number < kept.last {
        let page = messages.after(None, number, ROWS).unwrap();
        number = page.until;
        words.extend(page.messages.into_iter().flat_map(|(_, message)| written(&message)));
    }
    let mut next = None;
    loop {
        let page = engine.opt_outs().list(&OptOutFilter::default(), next, ROWS).unwrap();
        let recipients = page.rows.into_iter().filter_map(|(_, row)| row.recipient);
        words.extend(recipients.map(|recipient| recipient.value().to_owned()));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    words.retain(|word| word.len() >= SHORTEST && !chosen.contains(word));
    words
}

/// Every text in the contents of a workflow.
fn personal(contents: &Contents) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for step in &contents.steps {
        texts(&serde_json::to_value((&step.recipient, &step.content)).unwrap(), &mut words);
    }
    let labels = contents.labels.values().chain(&contents.client_ref).chain(&contents.webhook_url);
    words.extend(labels.cloned());
    words
}

/// Who wrote, and what.
fn written(message: &ReceivedMessage) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    texts(&serde_json::to_value((&message.from, &message.content)).unwrap(), &mut words);
    words
}

fn texts(value: &serde_json::Value, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => {
            into.insert(text.clone());
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
        serde_json::Value::Object(values) => values.values().for_each(|value| texts(value, into)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

/// What a service tells of itself, and its rows as they are read, each with where that is.
fn told(engine: &Engine) -> Vec<(String, Vec<u8>)> {
    let (reader, settings) = (engine.reader(), engine.settings());
    // Without what the service says itself, which some tests say, too.
    let metrics = engine.metrics().render();
    let metrics: Vec<&str> = metrics.lines().filter(|line| !line.starts_with('#')).collect();
    let mut told = vec![("the metrics".to_owned(), metrics.join("\n").into_bytes())];
    let mut after = None;
    loop {
        let entries = reader.entries(after, ROWS).unwrap();
        let Some(last) = entries.last() else { break };
        after = Some(last.record.id);
        for entry in &entries {
            let place = format!("the rows of {}", entry.record.id);
            told.push((place, format!("{:?} {:?}", entry.record, entry.rows).into_bytes()));
        }
    }
    let held = reader.held_receipts().unwrap();
    told.push(("receipts that are held".to_owned(), format!("{held:?}").into_bytes()));
    for kind in Kind::ALL {
        for row in all_rows(&**settings, kind) {
            let (key, value) = row.unwrap();
            told.push((format!("a row of {kind:?}"), [key, value].concat()));
        }
    }
    let backup = Backup::of(Arc::clone(reader), Arc::clone(settings), None).unwrap();
    let backup: Vec<u8> = backup.flat_map(|frame| frame.unwrap()).collect();
    told.push(("a backup".to_owned(), backup));
    told
}

/// Looks for words, however they are spelled.
pub struct Search {
    words: Vec<String>,
    /// Of each pattern, which word it is of.
    of: Vec<usize>,
    automaton: AhoCorasick,
}

impl Search {
    pub fn of<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> Search {
        let words: Vec<String> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        let (mut of, mut patterns) = (Vec::new(), Vec::new());
        for (index, word) in words.iter().enumerate() {
            for spelled in spellings(word) {
                of.push(index);
                patterns.push(spelled);
            }
        }
        Search { words, of, automaton: AhoCorasick::new(patterns).unwrap() }
    }

    /// Which stand there: `word in place`, with what is around.
    pub fn found(&self, place: &str, bytes: &[u8]) -> Found {
        let mut found = BTreeMap::new();
        for hit in self.automaton.find_overlapping_iter(bytes) {
            let word = &self.words[self.of[hit.pattern().as_usize()]];
            found.entry(format!("{word} in {place}")).or_insert_with(|| {
                let around = hit.start().saturating_sub(80)..bytes.len().min(hit.end() + 40);
                String::from_utf8_lossy(&bytes[around]).into_owned()
            });
        }
        found
    }

    /// The same anywhere below a folder, in a file.
    pub fn below(&self, folder: &Path) -> Found {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.append(&mut match path.is_dir() {
                true => self.below(&path),
                false => self.found(&path.display().to_string(), &fs::read(&path).unwrap()),
            });
        }
        found
    }
}

/// Whether these words stand anywhere below a folder, in a file, however they are spelled.
pub fn stands_in(folder: &Path, words: &[&str]) -> Vec<String> {
    Search::of(words).below(folder).into_keys().collect()
}

/// How a word may stand somewhere: as it is, in hexadecimal, in UTF-16, and in base64, wherever in that it begins.
fn spellings(word: &str) -> Vec<Vec<u8>> {
    let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    let wide = word.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut spellings = vec![word.as_bytes().to_vec(), hex.into_bytes(), wide];
    for phase in 0..3 {
        let behind = [&[b'x'; 2][..phase], word.as_bytes()].concat();
        let text = STANDARD_NO_PAD.encode(behind).into_bytes();
        // Without the characters that its neighbours are part of.
        let from = [0, 2, 3][phase];
        spellings.push(text[from..text.len() - 1].to_vec());
    }
    spellings
}

impl Log {
    /// Has everything that this service would log at its most talkative written down from now on, and says how much
    /// there is.
    fn listen(&self) -> usize {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let logs = tracing_subscriber::fmt()
                .with_env_filter(EnvFilter::new("info,dispatch=trace"))
                .with_ansi(false)
                .with_writer(self.clone());
            logs.try_init().unwrap();
        });
        self.0.lock().unwrap().len()
    }

    fn since(&self, from: usize) -> Vec<u8> {
        self.0.lock().unwrap()[from..].to_vec()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}
