//! Power cuts. The real program runs under load with every operation on its folder recorded, and
//! customers note how long the record was when an acknowledgement reached them. Then the folder is
//! rebuilt as a power cut at any moment could have left it, opened by the real store, and asked for
//! all that was acknowledged by then.
//!
//! The length of the record is the clock: what was recorded before an acknowledgement is in every
//! cut behind it, and nothing needs to agree about the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    str::FromStr,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use dispatch::{
    access::{MasterKeys, Vault},
    client::Client,
    contents::{ContentsKeeper, KeyRing},
    machine::{self, WorkflowId},
    pb::v1::WorkflowSpec,
    store::{Filter, KEY_FOLDER, KeyFolderOnDisk, Reader, SledOptions, Store, StoreLives},
};
use uuid::Uuid;

use crate::{
    record::{Disk, Syncs, entries},
    report,
    server::Place,
    shim::Faults,
    world::{Dice, config_without_provider, messenger_sms, request, setting},
};

/// An acknowledgement, and how long the record was when it came.
#[derive(Clone, Debug)]
struct Acked {
    at: usize,
    life: usize,
    request_id: String,
    id: WorkflowId,
    /// Of a cancel; else of a create.
    is_cancel: bool,
}

/// A run, recorded.
struct Run {
    record: Vec<u8>,
    acked: Vec<Acked>,
    /// Where in the record each life began.
    lives: Vec<usize>,
}

/// As large as a create may be: twenty messages of 12,000 bytes, in which nothing repeats itself that
/// the store could compress.
fn large() -> WorkflowSpec {
    let mut state = 1_u64;
    let mut step = |rule: &str| {
        let text: String = (0..4000)
            .map(|_| {
                // Knuth's multiplier and increment; the signs are those of Chinese.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
                char::from_u32(0x4E00 + (state >> 50) as u32).unwrap()
            })
            .collect();
        format!(
            "
  - sender: {{ channel: whatsapp, number: '447700900000' }}
    recipient: {{ channel: whatsapp, number: '447700900001' }}
    message: {{ text: '{text}' }}{rule}"
        )
    };
    let rule = "\n    failover: { expiry_time: 60s, condition_status: read }";
    let steps: String = (0..20).map(|at| step(if at < 19 { rule } else { "" })).collect();
    dispatch::pb::from_yaml(&format!("steps:{steps}")).unwrap()
}

async fn customer(
    client: Client,
    record: std::path::PathBuf,
    acked: Arc<Mutex<Vec<Acked>>>,
    life: usize,
    number: u64,
    mut dice: Dice,
) {
    let until = Instant::now() + Duration::from_millis(1500);
    for count in 0.. {
        if Instant::now() > until {
            return;
        }
        let request_id = format!("{life}-{number}-{count}");
        let mut asked = match dice.below(40) {
            0 => request(&request_id, large()),
            _ => request(&request_id, messenger_sms("somebody")),
        };
        if dice.one_in(3) {
            let later = SystemTime::now() + Duration::from_secs(80 * 86_400);
            asked.workflow.as_mut().unwrap().send_at = Some(later.into());
        }
        let created = client.create(asked).await.unwrap().workflow.unwrap().workflow_id;
        let id = WorkflowId(Uuid::from_str(&created).unwrap());
        let note = |is_cancel| {
            let at = fs::metadata(&record).unwrap().len() as usize;
            let request_id = request_id.clone();
            acked.lock().unwrap().push(Acked { at, life, request_id, id, is_cancel });
        };
        note(false);
        if dice.one_in(2) {
            client.cancel(&created).await.unwrap();
            note(true);
        }
    }
}

/// Three lives, each two days after the last, so that retention has something to drop, and each
/// start has a log to put into a snapshot.
async fn run(folder: &Path, seed: u64) -> Run {
    let text = config_without_provider() + "[store]\nretention_s = 86400\n";
    let place = Place::new(folder, &text).await;
    let record = folder.join("record");
    let acked = Arc::new(Mutex::new(Vec::new()));
    let mut lives = Vec::new();
    for life in 0..3 {
        lives.push(fs::metadata(&record).map_or(0, |file| file.len() as usize));
        let ahead_ms = life as u64 * 2 * 86_400_000;
        let faults = Faults { ahead_ms, ..Faults::recorded(&record) };
        let server = place.start_with(Some(&faults), &[]).await.unwrap();
        let mut customers = Vec::new();
        for number in 0..8 {
            customers.push(tokio::spawn(customer(
                server.client().await,
                record.clone(),
                Arc::clone(&acked),
                life,
                number,
                Dice::new(seed, life as u64 * 100 + number),
            )));
        }
        for customer in customers {
            customer.await.unwrap();
        }
        // Not killed: an operation that was done and not yet recorded would be missing here.
        assert_eq!(server.terminate().await, Some(0));
    }
    let acked = std::mem::take(&mut *acked.lock().unwrap());
    Run { record: fs::read(record).unwrap(), acked, lives }
}

/// What opens contents in this folder.
fn keeper(folder: &Path, reader: &dyn Reader) -> Result<ContentsKeeper, String> {
    let keys = MasterKeys::kept_in(&folder.join(MasterKeys::FILE))?;
    let vault = Vault::with(&keys.current, &keys.previous).map_err(|error| format!("{error:?}"))?;
    let lives = StoreLives::of(reader);
    let ring = KeyRing::open_to_read(
        KeyFolderOnDisk::at(folder.join(KEY_FOLDER)),
        &lives,
        Arc::new(vault),
    );
    ring.map(|ring| ContentsKeeper::new(Arc::new(ring))).map_err(|error| error.to_string())
}

/// What is wrong with the folder that a cut left behind; nothing, it is to be hoped.
fn examine(folder: &Path, run: &Run, cut: usize) -> Result<u64, String> {
    let options = SledOptions { folder: folder.to_owned(), cache_bytes: 64 * 1024 * 1024 };
    let store = options.open().map_err(|error| format!("it does not open: {error}"))?;
    let reader = store.reader();
    let life = run.lives.iter().filter(|begin| **begin <= cut).count() - 1;
    let told = |acked: &&Acked| acked.at <= cut;
    // What was canceled in an earlier life may be past retention, whether that was told or not.
    let canceled: BTreeSet<_> = run
        .acked
        .iter()
        .filter(|acked| acked.is_cancel)
        .map(|acked| (acked.life, acked.id))
        .collect();
    let mut asked = 0;
    let keeper = keeper(folder, &*reader)?;
    for acked in run.acked.iter().filter(told) {
        if acked.life < life && canceled.contains(&(acked.life, acked.id)) {
            continue;
        }
        asked += 1;
        let Acked { id, request_id, .. } = acked;
        let read = |error| format!("{request_id} cannot be read: {error}");
        let workflow = reader.workflow(*id).map_err(read)?;
        let workflow = workflow.ok_or_else(|| format!("the workflow of {request_id} is lost"))?;
        if acked.is_cancel && !workflow.has_ended() {
            return Err(format!("the cancel of {request_id} is lost"));
        }
        let record = reader.record(*id).map_err(read)?;
        let Some(record) = record.filter(|it| it.request_id() == Some(request_id.as_str())) else {
            return Err(format!("the record of {request_id} is lost"));
        };
        if let Err(error) = keeper.open(&record) {
            return Err(format!("the contents of {request_id} do not open: {error}"));
        }
        let found = store.find_request("default", request_id).map_err(read)?;
        if found.is_none_or(|found| found.id != *id) {
            return Err(format!("the request id {request_id} is lost"));
        }
    }
    let filter = Filter { tenant: Some(Arc::from("default")), ..Filter::default() };
    let mut after = None;
    loop {
        let page = reader.list(&filter, after, 500).map_err(|error| error.to_string())?;
        for (record, workflow) in &page.workflows {
            let broken = machine::check(workflow);
            if !broken.is_empty() {
                return Err(format!("workflow {} breaks {broken:?}", record.id));
            }
            let rows = reader.timeline(record.id).map_err(|error| error.to_string())?;
            let mut next = 1;
            for row in rows {
                if row.sequence != next {
                    return Err(format!("workflow {} has a gap at {next}", record.id));
                }
                next += row.facts.len() as u32;
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(asked);
        }
    }
}

/// What a number of cuts came to.
#[derive(Debug, Default)]
struct Cuts {
    cuts: u64,
    asked: u64,
    /// Why each bad one is bad.
    bad: Vec<String>,
}

/// Cuts at `count` moments, or until `enough` of them were bad.
fn cut(run: &Run, count: u64, enough: usize, syncs: Syncs, dice: &mut Dice) -> Cuts {
    let ends: Vec<usize> = entries(&run.record).map(|(_, end)| end).collect();
    // Half anywhere, half right behind an acknowledgement, where most is at stake.
    let mut at: Vec<usize> = (0..count)
        .map(|number| match number % 2 {
            0 => ends[dice.below(ends.len() as u64) as usize],
            _ => run.acked[dice.below(run.acked.len() as u64) as usize].at,
        })
        .collect();
    at.sort_unstable();
    let mut disk = Disk::new(syncs);
    let mut cuts = Cuts::default();
    let mut at = at.into_iter().peekable();
    for (entry, end) in entries(&run.record) {
        disk.play(entry);
        while at.next_if(|at| *at <= end).is_some() {
            let folder = tempfile::tempdir().unwrap();
            let how = disk.cut(folder.path(), dice);
            cuts.cuts += 1;
            match examine(folder.path(), run, end) {
                Ok(asked) => cuts.asked += asked,
                Err(why) => cuts.bad.push(format!("at {end}, {how}: {why}")),
            }
            if cuts.bad.len() == enough {
                return cuts;
            }
        }
    }
    cuts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_moment_loses_nothing_acknowledged_and_this_check_can_fail() {
    let seed = Dice::seed();
    let count = setting("DISPATCH_POWER_CUTS").unwrap_or(10);
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path(), seed).await;
    let mut kinds: BTreeMap<_, u64> = BTreeMap::new();
    for (entry, _) in entries(&run.record) {
        let text = format!("{entry:?}");
        let kind = text.split_whitespace().next().unwrap().to_owned();
        *kinds.entry(kind).or_default() += 1;
    }
    println!(
        "{} bytes recorded, {} acknowledgements: {kinds:?}",
        run.record.len(),
        run.acked.len()
    );
    assert!(run.acked.len() > 50, "there is too little to lose");

    let tried = tokio::task::spawn_blocking(move || {
        let cuts = cut(&run, count, 10, Syncs::All, &mut Dice::new(seed, 7));
        assert_eq!(cuts.bad, [""; 0], "DISPATCH_SEED={seed}");
        // The proof that the check can fail: the same record, as if nobody had called fdatasync.
        let mut dice = Dice::new(seed, 8);
        let without = cut(&run, count.clamp(40, 60), 5, Syncs::WithoutData, &mut dice);
        println!("without fdatasync {} of {} cuts are bad", without.bad.len(), without.cuts);
        println!("{:#?}", without.bad.iter().take(3).collect::<Vec<_>>());
        assert!(!without.bad.is_empty(), "nothing is lost without fdatasync: this proves nothing");
        (run, cuts, without)
    });
    let (run, cuts, without) = tried.await.unwrap();
    report::row(&report::Tried {
        name: "50-power",
        what: "power cuts, rebuilt from a record of every write and sync of the real program",
        counts: vec![
            (cuts.cuts, "cuts"),
            (run.acked.len() as u64, "acknowledgements"),
            (cuts.asked, "of them asked for after a cut"),
            (without.cuts, "cuts as if without fdatasync"),
            (without.bad.len() as u64, "of those found bad, as they must be"),
        ],
        found: format!("{} bad cuts", cuts.bad.len()),
        seed: format!("DISPATCH_SEED={seed}"),
    });
}
