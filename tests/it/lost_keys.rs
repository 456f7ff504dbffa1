//! Keys that are lost: a data folder without some of its files of keys is noticed when it is started, before anything is
//! lost by it, and goes on without them where that is said.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use dispatch::{
    config::Config,
    pb::v1::{
        Address, BatchCreateOptOutsRequest, ContentsState, OptOut, WorkflowState, address::Endpoint,
    },
    store::KeySlot,
};
use tokio::process::Command;

use crate::{
    sealed::{on, refusal},
    support::{FREE, Process, Running, eventually, messenger_sms},
};

/// Who is reached by SMS where a workflow failed over.
const NUMBERS: [&str; 4] = ["447700900881", "447700900882", "447700900883", "447700900884"];
const PERSON: &str = "9123456780012381";
const LONG: Duration = Duration::from_secs(200_000);

/// A data folder with two files of keys of workflows.
struct Made {
    folder: tempfile::TempDir,
    /// In the first file: one that ended.
    ended: String,
    /// In the first file: one that is open.
    open: String,
    /// In the second: one that is open.
    younger: String,
}

/// Where a workflow's key is.
fn slot(running: &Running, id: &str) -> KeySlot {
    let id = dispatch::machine::WorkflowId(id.parse().unwrap());
    running.service.engine.reader().record(id).unwrap().unwrap().contents.slot
}

/// One that is failed over to SMS after a day.
async fn open(running: &Running, number: &str) -> String {
    running.script(PERSON, "accept; deliver 1s").await;
    let id = running.create(messenger_sms(PERSON, number, "86400s")).await;
    running.advance(Duration::from_secs(60)).await;
    assert_eq!(running.get(&id).await.state(), WorkflowState::Running);
    id
}

impl Made {
    async fn new() -> Made {
        let folder = tempfile::tempdir().unwrap();
        let config = on(&folder.path().join("data"));
        let running = Running::start(&config).await;
        running.script(PERSON, "accept; deliver 1s; read 2s").await;
        let ended = running.create(messenger_sms(PERSON, NUMBERS[0], "60s")).await;
        running.advance(Duration::from_secs(60)).await;
        assert_eq!(running.get(&ended).await.state(), WorkflowState::Succeeded);
        let open_one = open(&running, NUMBERS[1]).await;
        assert_eq!([&ended, &open_one].map(|id| slot(&running, id).segment()), [0, 0]);
        say_no(&running).await;
        running.stop().await;
        // Each life begins other pages.
        for _ in 0..2 {
            Running::start(&config).await.stop().await;
        }
        let running = Running::start(&config).await;
        let younger = open(&running, NUMBERS[2]).await;
        assert_eq!(slot(&running, &younger).segment(), 1);
        running.stop().await;
        Made { folder, ended, open: open_one, younger }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn config(&self) -> Config {
        on(&self.data())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.data().join("contents").join(name)
    }

    /// Moves a file of keys away, and hands back what puts it there again.
    fn without(&self, name: &str) -> impl FnOnce() + use<> {
        let (file, aside) = (self.file(name), self.folder.path().join(name));
        fs::rename(&file, &aside).unwrap();
        move || fs::rename(aside, file).unwrap()
    }

    async fn check(&self, further: &[&str]) -> (bool, String) {
        let data = self.data().display().to_string();
        let output = run(&[&["check", &data], further].concat()).await;
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }
}

async fn say_no(running: &Running) {
    let endpoint = Some(Endpoint::Number("447700900889".to_owned()));
    let recipient = Some(Address { channel: "sms".to_owned(), endpoint });
    let opt_out = OptOut { recipient, ..OptOut::default() };
    let request = BatchCreateOptOutsRequest { opt_outs: vec![opt_out], tenant: String::new() };
    running.client.opt_outs().batch_create_opt_outs(request).await.unwrap();
}

async fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dispatch")).args(arguments).output().await.unwrap()
}

/// All files of a folder, and what they hold.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|it| read(it.unwrap())).collect();
    files.sort();
    files
}

/// To whom something was sent by SMS.
async fn reached(running: &Running) -> Vec<String> {
    let sent = running.sent().await;
    let mut reached: Vec<_> = sent.into_iter().map(|sent| sent.recipient).collect();
    reached.retain(|recipient| recipient != PERSON);
    reached.sort();
    reached
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_waits_for_its_keys_until_they_are_put_back() {
    let made = Made::new().await;
    let put_back = made.without("w.00000000");
    let before = files(&made.data().join("contents"));
    let told = refusal(&made.config()).await;
    for said in [
        "contents/w.00000000 (the file is not there)",
        &format!("open workflows that wait for them: 1 ({})", made.open),
        "Nothing is sent",
        "--accept-lost-keys",
        "--read-only",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    assert!(files(&made.data().join("contents")) == before, "a refused start leaves no trace");
    let mut config = made.config();
    config.store.read_only = true;
    let running = Running::start(&config).await;
    assert_eq!(running.get(&made.open).await.contents(), ContentsState::Unreadable);
    assert_eq!(running.get(&made.younger).await.contents(), ContentsState::Shown);
    running.stop().await;

    put_back();
    let running = Running::start(&made.config()).await;
    running.advance(LONG).await;
    assert_eq!(reached(&running).await, NUMBERS[1..3], "nothing was lost");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lost_its_keys_sends_nothing_and_all_else_goes_on_where_that_was_said() {
    let made = Made::new().await;
    // Both copies of a header.
    let file = fs::File::options().write(true).open(made.file("w.00000000")).unwrap();
    file.write_all_at(&[0; 1024], 0).unwrap();
    let told = refusal(&made.config()).await;
    assert!(told.contains("w.00000000 (neither of the two copies of its header"), "{told}");

    let mut config = made.config();
    config.store.accept_lost_keys = true;
    let running = Running::start(&config).await;
    let new = open(&running, NUMBERS[3]).await;
    running.advance(LONG).await;
    assert_eq!(reached(&running).await, NUMBERS[2..], "but for the one");
    for id in [&made.younger, &new] {
        assert_eq!(running.get(id).await.state(), WorkflowState::Succeeded);
    }
    let failed = running.get(&made.open).await;
    assert_eq!(failed.state(), WorkflowState::Failed);
    let timeline = dispatch::pb::to_json(&failed);
    assert!(timeline.contains("its contents could not be opened"), "{timeline}");
    running.stop().await;

    // Nothing that is open waits for them any more: nobody need say it again.
    let running = Running::start(&made.config()).await;
    assert_eq!(running.get(&made.ended).await.contents(), ContentsState::Unreadable);
    let metrics = || async { running.service.engine.metrics().render() };
    let wanted = "dispatch_table_entries{room=\"contents\",table=\"unreadable_key_segments\"} 1";
    assert!(
        eventually(Duration::from_secs(20), || async { metrics().await.contains(wanted) }).await
    );
    assert!(metrics().await.contains("dispatch_content_key_failures_total 0"));
    running.stop().await;
}

/// The log of the program on this data folder, once it serves, or why it does not.
async fn log_of(made: &Made, flag: &str) -> String {
    let (config, log) = (made.folder.path().join("dispatch.toml"), made.folder.path().join("log"));
    fs::write(&config, "").unwrap();
    let mut program = Command::new("sh");
    let command = format!("exec \"$0\" \"$@\" {flag} 2> '{}'", log.display());
    program.args(["-c", &command, env!("CARGO_BIN_EXE_dispatch")]);
    let process = Process::serve_by(program, &config, &made.data(), FREE, FREE).await;
    assert_eq!(process.terminate().await, Some(0));
    fs::read_to_string(log).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_nothing_open_waits_for_are_told_of_and_the_start_goes_on() {
    let made = Made::new().await;
    assert!(!log_of(&made, "").await.contains("lost"), "all is there");
    let put_back = made.without("o.00000000");
    let log = log_of(&made, "").await;
    let told = "keys of contents are lost: contents/o.00000000 (the file is not there)";
    assert!(log.contains(told) && log.contains("opt_outs=1"), "{log}");
    put_back();

    let _aside = made.without("w.00000000");
    let data = made.data().display().to_string();
    let serve = ["serve", "--data", &data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let refused = run(&[&serve[..], &["--internal-http", "127.0.0.1:0"]].concat()).await;
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("w.00000000"), "{said}");
    let log = log_of(&made, "--accept-lost-keys").await;
    assert!(log.contains("open_workflows=1") && log.contains("gone on without"), "{log}");
    let running = {
        let mut config = made.config();
        config.store.accept_lost_keys = true;
        Running::start(&config).await
    };
    running.client.cancel(&made.open).await.unwrap();
    running.stop().await;
    let log = log_of(&made, "").await;
    assert!(log.contains("w.00000000 (the file is not there)"), "{log}");
    assert!(log.contains("open_workflows=0") && !log.contains("gone on without"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_keys_that_are_lost_and_what_they_cost() {
    let made = Made::new().await;
    let key = made.data().join("master.key").display().to_string();
    let (is_sound, said) = made.check(&[]).await;
    assert!(is_sound && said.contains("sound; 3 workflows, 2 of them open"), "{said}");
    // One more than are in use where the next was made ahead already.
    let files = fs::read_dir(made.data().join("contents")).unwrap().count();
    assert!(files >= 4 && said.contains(&format!("{files} files of keys")), "{said}");
    let names = ["o.00000000", "w.00000000"];
    let put_back = names.map(|name| made.without(name));
    let (is_sound, said) = made.check(&[]).await;
    let lost = "contents/w.00000000: the file is not there; 1 open workflows wait for its keys, 1 have ended";
    assert!(!is_sound && said.contains(lost), "{said}");
    assert!(said.contains("contents/o.00000000: the file is not there; 1 opt-outs"), "{said}");
    put_back.into_iter().for_each(|put_back| put_back());

    // One key alone: destroyed, and damaged.
    let running = Running::start(&made.config()).await;
    let at = slot(&running, &made.younger);
    assert_eq!(at.segment(), 1);
    running.stop().await;
    let whole = fs::read(made.file("w.00000001")).unwrap();
    let (page, within) = (usize::from(at.index()) / 2048, usize::from(at.index()) % 2048);
    let at = 4096 + page * 122_880 + within * 32;
    let (mut gone, mut flipped) = (whole.clone(), whole.clone());
    gone[at..at + 32].fill(0);
    flipped[at] ^= 1;
    let place = format!("workflow {}: what it is to send cannot be opened", made.younger);
    fs::write(made.file("w.00000001"), gone).unwrap();
    let (is_sound, said) = made.check(&[]).await;
    assert!(!is_sound && said.contains(&format!("{place}: its key was destroyed")), "{said}");
    fs::write(made.file("w.00000001"), flipped).unwrap();
    assert!(made.check(&[]).await.1.contains(&place));

    // Without its master key that cannot be seen, and is said; all else is.
    fs::rename(&key, made.folder.path().join("away.key")).unwrap();
    let (is_sound, said) = made.check(&[]).await;
    assert!(is_sound && said.contains("without its master key"), "{said}");
    let elsewhere = made.folder.path().join("away.key").display().to_string();
    let (is_sound, said) = made.check(&["--master-key", &elsewhere]).await;
    assert!(!is_sound && said.contains(&place), "{said}");
    fs::write(made.file("w.00000001"), &whole[..1000]).unwrap();
    let (is_sound, said) = made.check(&[]).await;
    assert!(!is_sound && said.contains("contents/w.00000001: it is cut off"), "{said}");
    fs::write(made.file("w.00000001"), whole).unwrap();

    // Another's master key, no index, no folder.
    fs::write(&elsewhere, "bm90IHRoZSByaWdodCBvbmUsIG5vdCB0aGUgcmlnaHQ=\n").unwrap();
    let (is_sound, said) = made.check(&["--master-key", &elsewhere]).await;
    assert!(!is_sound && said.contains("contents: it was encrypted with another"), "{said}");
    let put_back = made.without("index");
    let (is_sound, said) = made.check(&[]).await;
    assert!(!is_sound && said.contains("no index"), "{said}");
    put_back();
    fs::rename(made.data().join("contents"), made.folder.path().join("contents")).unwrap();
    let (is_sound, said) = made.check(&[]).await;
    assert!(!is_sound && said.contains("contents: it is missing"), "{said}");
}
