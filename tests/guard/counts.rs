//! What cannot flake about speed: how often memory is asked for, how much is written, and how many
//! instructions the hot paths take ([`instructions`]).
//!
//! Only optimised code is worth counting: `cargo test --release -p dispatch-guard`. Anything else leaves it out.
//!
//! The figures are the present ones; each may be missed by its margin and no more, in either
//! direction: what has become cheaper is written down, so that it stays so.

#![expect(unreachable_pub, reason = "nothing of a test binary is reachable")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and stands outside of the service"
)]

mod instructions;
#[path = "../micro/lives.rs"]
mod lives;

use dispatch::{
    engine::{Command, Processor, SendOrder},
    service::Components,
    store::{MemoryStore, SledOptions, Store, encode},
};

/// How many lives are stepped at once.
const LIVES: u128 = 256;

/// Allocations for each workflow in one turn of [`LIVES`], by what happens in it.
const ALLOCATIONS: [(&str, f64); 5] = [
    ("create", 17.2),
    ("first accepted", 7.2),
    ("expired", 9.1),
    ("second accepted", 7.2),
    ("receipt and end", 10.1),
];
const ALLOCATIONS_MARGIN: f64 = 0.05;

/// What the journal's rows and the record of one life take, encoded. Its two texts are alike, and what is sealed is compressed
/// before.
const ENCODED_BYTES_A_LIFE: f64 = 663.0;
const ENCODED_MARGIN: f64 = 0.02;

/// What a life leaves on the disk, with [`LIVES`] a batch. Wider: a file grows by segments of 8 MiB,
/// of which each is a fifth of this.
const DISK_BYTES_A_LIFE: f64 = 1638.0;
const DISK_MARGIN: f64 = 0.25;

/// A figure, and what is written down here about it.
struct Counted {
    what: String,
    is: f64,
    should: f64,
    margin: f64,
}

/// All are printed before the first is judged.
fn assert_near(counted: &[Counted]) {
    for Counted { what, is, .. } in counted {
        println!("{what}: {is:.2}");
    }
    for Counted { what, is, should, margin } in counted {
        assert!(
            (should * (1.0 - margin)..=should * (1.0 + margin)).contains(is),
            "{what}: {is:.2}, and {should:.2} is written down here, give or take {:.0} %. If that \
             is meant, write the new figure down.",
            margin * 100.0
        );
    }
}

/// Runs one turn, and tells its allocations for each life.
fn counted(
    processor: &mut Processor,
    store: &mut MemoryStore,
    ms: u64,
    commands: Vec<Command>,
) -> (f64, Vec<SendOrder>) {
    let mut out = None;
    let counted = allocation_counter::measure(|| {
        out = Some(processor.run(store, lives::at(ms), commands).expect("the store can be read"));
    });
    let (_, sends) = lives::settle(store, out.expect("it ran"));
    (counted.count_total as f64 / LIVES as f64, sends)
}

fn started() -> (Components, MemoryStore, Processor) {
    let parts = lives::parts();
    let store = MemoryStore::new();
    let processor = lives::processor(&store, &parts);
    (parts, store, processor)
}

#[test]
#[cfg_attr(debug_assertions, ignore = "for optimised code: cargo test --release -p dispatch-guard")]
fn a_turn_allocates_as_little_as_is_written_down() {
    let (parts, mut store, mut processor) = started();
    let plan = lives::asked(&parts);
    // What is made once and kept is not counted.
    lives::live(&mut store, &mut processor, &plan, 0..LIVES, 0);
    let base = 10_000;
    let creates = (LIVES..2 * LIVES).map(|number| lives::create(number, &plan)).collect();
    let (create, sends) = counted(&mut processor, &mut store, base, creates);
    let answers = sends.into_iter().map(lives::accepted).collect();
    let (first, _) = counted(&mut processor, &mut store, base + 1, answers);
    let (expired, sends) = counted(&mut processor, &mut store, base + 1 + lives::EXPIRY_MS, vec![]);
    assert_eq!(sends.len(), LIVES as usize);
    let attempts: Vec<_> = sends.iter().map(|order| order.attempt).collect();
    let answers = sends.into_iter().map(lives::accepted).collect();
    let (second, _) = counted(&mut processor, &mut store, base + 2 + lives::EXPIRY_MS, answers);
    let receipts = attempts.into_iter().map(lives::delivered).collect();
    let (end, _) = counted(&mut processor, &mut store, base + 7 + lives::EXPIRY_MS, receipts);
    assert_eq!(store.open_count(), 0);
    let figures = ALLOCATIONS.into_iter().zip([create, first, expired, second, end]);
    let counted: Vec<_> = figures
        .map(|((name, should), is)| Counted {
            what: format!("allocations, {name}"),
            is,
            should,
            margin: ALLOCATIONS_MARGIN,
        })
        .collect();
    assert_near(&counted);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "for optimised code: cargo test --release -p dispatch-guard")]
fn a_life_writes_as_little_as_is_written_down() {
    let parts = lives::parts();
    let plan = lives::asked(&parts);
    let folder = tempfile::tempdir().expect("a folder");
    let options = SledOptions { folder: folder.path().to_owned(), cache_bytes: 64 * 1024 * 1024 };
    let mut store = options.open().expect("a store");
    let empty = bytes(folder.path());
    let mut processor = lives::processor(&store, &parts);
    let rounds = 100;
    let mut encoded = 0;
    for round in 0..rounds {
        let numbers = round * LIVES..(round + 1) * LIVES;
        let rows = lives::live(&mut store, &mut processor, &plan, numbers, round as u64 * 10_000);
        encoded += rows.iter().map(|row| encode(&**row).expect("encoded").len()).sum::<usize>();
    }
    assert_eq!(store.open_count(), 0);
    let count = (rounds * LIVES) as f64;
    let record = encode(&lives::record(1, &plan)).expect("encoded").len() as f64;
    let encoded = encoded as f64 / count + record;
    drop(store);
    let disk = (bytes(folder.path()) - empty) as f64 / count;
    let counted = |what: &str, is, should, margin| {
        let what = what.to_owned();
        Counted { what, is, should, margin }
    };
    assert_near(&[
        counted("encoded bytes a life", encoded, ENCODED_BYTES_A_LIFE, ENCODED_MARGIN),
        counted("bytes on disk a life", disk, DISK_BYTES_A_LIFE, DISK_MARGIN),
    ]);
}

fn bytes(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries
        .map(|entry| match entry.metadata().expect("a file") {
            about if about.is_dir() => bytes(&entry.path()),
            about => about.len(),
        })
        .sum()
}
