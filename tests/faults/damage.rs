//! Rot: bytes of the data folder flip, or its end is missing. Either that is refused with a place,
//! or everything acknowledged is there; never are there silently fewer workflows.

use std::{
    collections::BTreeMap,
    fs,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
};

use dispatch::{
    machine::WorkflowId,
    store::{JournalStore, SledOptions, Store, StoreError},
};

use crate::{
    report,
    server::Place,
    shim::Faults,
    world::{Dice, config_without_provider, messenger_sms, messenger_sms_saying, request, setting},
};

/// What is kept: how many rows each timeline has, by request id.
type Content = BTreeMap<String, (WorkflowId, Vec<dispatch::store::Row>)>;

/// What damage came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused,
    RefusedAfterPanic,
    /// The folder opens; some of it says, when asked for, that it cannot be read.
    ToldWhenAsked,
    Intact,
}

/// A folder with several lives in it, all but the last killed.
async fn lived(folder: &Path, lives: u64, count: u64, text: &str) -> PathBuf {
    let place = Place::new(folder, &config_without_provider()).await;
    for life in 0..lives {
        let server = place.start_with(None::<&Faults>, &[]).await.unwrap();
        let client = server.client().await;
        for number in 0..count {
            let spec = match number % 2 {
                0 => messenger_sms("somebody"),
                _ => messenger_sms_saying("somebody", text),
            };
            let asked = request(&format!("{life}-{number}"), spec);
            let id = client.create(asked).await.unwrap().workflow.unwrap().workflow_id;
            if number % 3 == 0 {
                client.cancel(id).await.unwrap();
            }
        }
        if life + 1 < lives {
            server.kill().await;
        } else {
            // Not killed: a row that is durable and not yet noted, nor acknowledged, may be lost.
            assert_eq!(server.terminate().await, Some(0));
        }
    }
    place.data
}

fn options(folder: &Path) -> SledOptions {
    SledOptions { folder: folder.to_owned(), cache_bytes: 64 * 1024 * 1024 }
}

/// Everything that can be asked for by request id. `None` where something is silently missing.
fn content(store: &JournalStore, of: &[String]) -> Result<Option<Content>, StoreError> {
    let reader = store.reader();
    let mut content = Content::new();
    for request_id in of {
        let Some(made) = store.find_request("default", request_id)? else { return Ok(None) };
        let id = made.id;
        if reader.record(id)?.is_none() || reader.workflow(id)?.is_none() {
            return Ok(None);
        }
        let rows = reader.timeline(id)?.iter().map(|row| (**row).clone()).collect();
        content.insert(request_id.clone(), (id, rows));
    }
    Ok(Some(content))
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Damages one file, and says how.
fn damage(folder: &Path, dice: &mut Dice) -> String {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    // Mostly the log: there is most of it.
    let name = if dice.one_in(4) {
        names[dice.below(names.len() as u64) as usize].clone()
    } else {
        "db".to_owned()
    };
    let path = folder.join(&name);
    let mut bytes = fs::read(&path).unwrap();
    let len = bytes.len() as u64;
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |at| at as u64 + 1);
    let at = dice.below(used) as usize;
    let how = match dice.below(4) {
        0 => {
            bytes.truncate(at);
            format!("{name} of {len} bytes cut to {at}")
        }
        1 => {
            let end = (at + 512).min(bytes.len());
            bytes[at..end].fill(0);
            format!("{name} zeroed from {at} to {end}")
        }
        _ => {
            bytes[at] ^= 1 << dice.below(8);
            format!("{name} flipped at {at} of {len}")
        }
    };
    fs::write(path, bytes).unwrap();
    how
}

/// `Err`: something is silently missing.
fn examine(folder: &Path, whole: &Content) -> Result<Outcome, String> {
    let of: Vec<_> = whole.keys().cloned().collect();
    let store = match options(folder).open() {
        Ok(store) => store,
        Err(StoreError::Corrupt { problem, .. }) if problem.contains("panicked") => {
            return Ok(Outcome::RefusedAfterPanic);
        }
        Err(_) => return Ok(Outcome::Refused),
    };
    let read = std::panic::catch_unwind(AssertUnwindSafe(|| content(&store, &of)));
    match read {
        Err(_) | Ok(Err(_)) => Ok(Outcome::ToldWhenAsked),
        Ok(Ok(Some(content))) if content == *whole => Ok(Outcome::Intact),
        Ok(Ok(Some(_))) => Err("a timeline is not what it was".to_owned()),
        Ok(Ok(None)) => Err("something is missing".to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_told_of_or_does_no_harm() {
    let seed = Dice::seed();
    let count = setting("DISPATCH_DAMAGES").unwrap_or(24);
    let small = tempfile::tempdir().unwrap();
    let large = tempfile::tempdir().unwrap();
    let folders = [
        lived(small.path(), 2, 30, "short").await,
        lived(large.path(), 2, 2500, &"long ".repeat(120)).await,
    ];
    let outcomes = tokio::task::spawn_blocking(move || {
        let mut dice = Dice::new(seed, 3);
        let mut outcomes: BTreeMap<Outcome, u64> = BTreeMap::new();
        let mut silent = Vec::new();
        for (folder, of) in folders.iter().zip([60, 5000]) {
            let whole = tempfile::tempdir().unwrap();
            copy(folder, whole.path());
            println!("{} bytes", fs::metadata(folder.join("db")).unwrap().len());
            let request_ids: Vec<_> = (0..2)
                .flat_map(|life| (0..of / 2).map(move |number| format!("{life}-{number}")))
                .collect();
            let store = options(whole.path()).open().unwrap();
            let whole = content(&store, &request_ids).unwrap().unwrap();
            for _ in 0..count.div_ceil(2) {
                let damaged = tempfile::tempdir().unwrap();
                copy(folder, damaged.path());
                let how = damage(damaged.path(), &mut dice);
                match examine(damaged.path(), &whole) {
                    Ok(outcome) => *outcomes.entry(outcome).or_default() += 1,
                    Err(what) => silent.push(format!("{how}: {what}")),
                }
            }
        }
        println!("{outcomes:?}");
        assert_eq!(silent, [""; 0], "DISPATCH_SEED={seed}");
        outcomes
    });
    let outcomes = outcomes.await.unwrap();
    let of = |outcome| outcomes.get(&outcome).copied().unwrap_or(0);
    report::row(&report::Tried {
        name: "41-damage",
        what: "flipped, zeroed and missing bytes in a data folder",
        counts: vec![
            (outcomes.values().sum(), "damaged folders"),
            (of(Outcome::Refused), "refused"),
            (of(Outcome::RefusedAfterPanic), "refused after a panic of sled"),
            (of(Outcome::ToldWhenAsked), "told when asked"),
            (of(Outcome::Intact), "intact all the same"),
        ],
        found: "none opened with something silently missing".to_owned(),
        seed: format!("DISPATCH_SEED={seed}"),
    });
}
