//! Instructions of the hot paths, counted by valgrind: the same on a busy machine as on a quiet one.
//!
//! This program runs itself under callgrind, once doing a thing few times and once many times; the
//! difference is the thing's own.

use std::{hint::black_box, process::Command};

use dispatch::{
    grpc::parse_create,
    store::{MemoryStore, Record, Row, decode, encode},
};

use crate::{Counted, assert_near, lives};

/// Instructions each.
const INSTRUCTIONS: [(&str, f64); 7] = [
    ("a whole life in turns", 248_900.0),
    ("encode a row", 3_400.0),
    ("decode a row", 3_910.0),
    ("encode a record", 5_100.0),
    ("decode a record", 5_470.0),
    ("parse and check a create", 20_100.0),
    ("verify and read a signed webhook", 82_700.0),
];
/// Hash tables make a difference below one per cent; what a processor can copy and hash at once, which
/// valgrind passes on in part, may make more.
const MARGIN: f64 = 0.10;

const FEW: usize = 20;
const MANY: usize = 120;

/// What the program does under callgrind: its number in the list, and how often.
const ASKED: &str = "DISPATCH_GUARD";

#[test]
#[cfg_attr(debug_assertions, ignore = "for optimised code: cargo test --release -p dispatch-guard")]
fn hot_paths_take_as_few_instructions_as_are_written_down() {
    if let Ok(asked) = std::env::var(ASKED) {
        let (number, times) = asked.split_once(' ').expect("a number, and how often");
        return repeat(number.parse().expect("a number"), times.parse().expect("how often"));
    }
    let counted = INSTRUCTIONS.into_iter().enumerate().map(|(number, (what, should))| {
        let is = (counted(number, MANY) - counted(number, FEW)) / (MANY - FEW) as f64;
        Counted { what: format!("instructions, {what}"), is, should, margin: MARGIN }
    });
    assert_near(&counted.collect::<Vec<_>>());
}

/// All instructions of a run of this program.
fn counted(number: usize, times: usize) -> f64 {
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "instructions::hot_paths_take_as_few_instructions_as_are_written_down"])
        .args(["--test-threads=1", "--nocapture"])
        .env(ASKED, format!("{number} {times}"))
        .output()
        .expect("valgrind can be run: install the package valgrind");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}\n{}", String::from_utf8_lossy(&ran.stdout));
    let count =
        told.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.unwrap_or_else(|| panic!("valgrind counted nothing: {told}"))
}

fn repeat(number: usize, times: usize) {
    let parts = lives::parts();
    let plan = lives::asked(&parts);
    let mut store = MemoryStore::new();
    let mut processor = lives::processor(&store, &parts);
    let journal = lives::live(&mut store, &mut processor, &plan, 0..1, 0);
    let longest = journal.iter().max_by_key(|row| row.facts.len()).expect("a journal");
    let record = lives::record(1, &plan);
    let row_bytes = encode(&**longest).expect("it can be encoded");
    let record_bytes = encode(&record).expect("it can be encoded");
    let request = lives::request();
    let route = parts.routes.get("sms").expect("a route");
    let reader = parts.registry.provider(route.adapter.provider()).expect("registered");
    let receipt = lives::SignedReceipt::new();
    let webhook = receipt.request();
    match INSTRUCTIONS[number].0 {
        "a whole life in turns" => {
            let numbers = 1..1 + times as u128;
            lives::live(&mut store, &mut processor, &plan, numbers, 10_000);
        }
        "encode a row" => (0..times).for_each(|_| drop(black_box(encode(black_box(&**longest))))),
        "decode a row" => (0..times)
            .for_each(|_| drop(black_box(decode::<Row>(black_box(&row_bytes), String::new)))),
        "encode a record" => (0..times).for_each(|_| drop(black_box(encode(black_box(&record))))),
        "decode a record" => (0..times)
            .for_each(|_| drop(black_box(decode::<Record>(black_box(&record_bytes), String::new)))),
        "parse and check a create" => (0..times).for_each(|_| {
            drop(black_box(parse_create(black_box(&request), &parts.routes, lives::at(0).wall)));
        }),
        "verify and read a signed webhook" => (0..times).for_each(|_| {
            let read = reader.webhook(black_box(&webhook), &route.account, lives::at(0).wall);
            drop(black_box(read));
        }),
        other => panic!("{other} cannot be repeated"),
    }
}
