//! Micro-benchmarks of the hot paths, one by one: `cargo bench --bench micro`.
//!
//! `cargo test --bench micro` runs each once, as a smoke test; so does `cargo bench` with `-- --test`.

#![expect(unreachable_pub, reason = "nothing of a benchmark is reachable")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and stands outside of the service"
)]

mod lives;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dispatch::{
    engine::RouteTable,
    grpc::parse_create,
    machine::{self, Event, SendResult, Update, Workflow},
    store::{
        JournalStore, MemoryStore, Record, RequirementInterner, Row, SledOptions, decode, encode,
    },
};
use dispatch_contract::{AttemptId, Report, Status, UnixMillis, Verdict};

/// How many workflows are open while the store is measured.
const OPEN: u128 = 100_000;
/// The same in a smoke test.
const OPEN_IN_A_SMOKE_TEST: u128 = 1000;

fn transitions(c: &mut Criterion) {
    let parts = lives::parts();
    let routes: &RouteTable = &parts.routes;
    let record = lives::record(1, &lives::asked(&parts));
    let accepted = |attempt: u16| Event::SendResult {
        attempt,
        call: 1,
        result: SendResult::Accepted {
            provider_ids: vec![lives::provider_id(AttemptId {
                workflow: record.id.0,
                number: attempt,
            })],
        },
    };
    let delivered = |attempt: u16| Event::Update {
        attempt,
        up_since: UnixMillis(0),
        update: Update {
            report: Report::Reached(Status::Delivered),
            provider_id: None,
            part: None,
            provider_time: None,
            code: None,
            detail: None,
            usage: None,
        },
    };
    // Each step of a life, with the state that it begins in.
    let mut workflow = RequirementInterner::default().workflow(&record);
    let mut group = c.benchmark_group("transition");
    group.bench_function("create", |b| {
        let make = || workflow.clone();
        let run = |mut workflow: Workflow| {
            let facts = machine::create(&mut workflow, lives::at(0), routes);
            (workflow, facts)
        };
        b.iter_batched(make, run, BatchSize::SmallInput);
    });
    machine::create(&mut workflow, lives::at(0), routes);
    let expired = lives::EXPIRY_MS + 1;
    let steps = [
        ("permit", 0, Event::PermitGranted { attempt: 1 }),
        ("accepted", 1, accepted(1)),
        ("expired", expired, Event::Wake { up_since: lives::at(0).engine, hold: false }),
        ("permit of the second", expired, Event::PermitGranted { attempt: 2 }),
        ("accepted, the second", expired + 1, accepted(2)),
        ("receipt and end", expired + 5, delivered(2)),
    ];
    for (name, ms, event) in steps {
        group.bench_function(name, |b| {
            let make = || (workflow.clone(), event.clone());
            let run = |(mut workflow, event): (Workflow, Event)| {
                let facts = machine::handle(&mut workflow, lives::at(ms), event, routes);
                (workflow, facts)
            };
            b.iter_batched(make, run, BatchSize::SmallInput);
        });
        let facts = machine::handle(&mut workflow, lives::at(ms), event, routes);
        assert!(!facts.is_empty(), "{name} did nothing");
    }
    group.finish();
}

fn codec(c: &mut Criterion) {
    let parts = lives::parts();
    let plan = lives::asked(&parts);
    let mut store = MemoryStore::new();
    let mut processor = lives::processor(&store, &parts);
    let rows = lives::live(&mut store, &mut processor, &plan, 0..1, 0);
    let record = lives::record(1, &plan);
    let mut group = c.benchmark_group("codec");
    let longest = rows.iter().max_by_key(|row| row.facts.len()).expect("a journal");
    let row = encode(&**longest).expect("it can be encoded");
    group.throughput(Throughput::Bytes(row.len() as u64));
    group.bench_function("encode a row", |b| b.iter(|| encode(black_box(&**longest))));
    group.bench_function("decode a row", |b| {
        b.iter(|| decode::<Row>(black_box(&row), String::new).expect("it is sound"));
    });
    let bytes = encode(&record).expect("it can be encoded");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode a record", |b| b.iter(|| encode(black_box(&record))));
    group.bench_function("decode a record", |b| {
        b.iter(|| decode::<Record>(black_box(&bytes), String::new).expect("it is sound"));
    });
    group.finish();
}

fn validation(c: &mut Criterion) {
    let parts = lives::parts();
    let request = lives::request();
    c.bench_function("validation/create request of two steps", |b| {
        b.iter(|| {
            parse_create(black_box(&request), &parts.routes, lives::at(0).wall).expect("good")
        });
    });
}

fn receipts(c: &mut Criterion) {
    let parts = lives::parts();
    let route = parts.routes.get("sms").expect("a route");
    let receipt = lives::SignedReceipt::new();
    let request = receipt.request();
    let reader = parts.registry.provider(route.adapter.provider()).expect("registered");
    let read = || reader.webhook(black_box(&request), &route.account, lives::at(0).wall);
    assert_eq!(read().verdict, Verdict::Understood);
    assert_eq!(read().inbound.len(), 1);
    c.bench_function("receipt/verify and read a signed webhook", |b| b.iter(read));
}

fn commits(c: &mut Criterion) {
    // As criterion tells it: `cargo bench` says so, `cargo test` does not.
    let given = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    let is_smoke_test = given("--test") || !given("--bench");
    let open = if is_smoke_test { OPEN_IN_A_SMOKE_TEST } else { OPEN };
    let parts = lives::parts();
    let plan = lives::asked(&parts);
    // Not the system's folder for such things, which may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let options = SledOptions { folder: folder.path().to_owned(), cache_bytes: 256 * 1024 * 1024 };
    let mut store = options.open().expect("a store");
    let mut processor = lives::processor(&store, &parts);
    let mut resting = plan;
    resting.plan.send_at = Some(lives::at(3_600_000).wall);
    let mut next = 0;
    let mut batch = |store: &JournalStore, size: u128| {
        let creates = (next..next + size).map(|number| lives::create(number, &resting)).collect();
        next += size;
        processor.run(store, lives::at(0), creates).expect("the store can be read")
    };
    for _ in 0..open / 1000 {
        let out = batch(&store, 1000);
        lives::settle(&mut store, out);
    }
    let mut group = c.benchmark_group(format!("commit with {open} open"));
    group.sample_size(10).measurement_time(Duration::from_secs(4));
    for size in [1_u32, 16, 128, 1024] {
        group.throughput(Throughput::Elements(u64::from(size)));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter_custom(|rounds| {
                let mut took = Duration::ZERO;
                for _ in 0..rounds {
                    let out = batch(&store, u128::from(size));
                    let began = Instant::now();
                    lives::settle(&mut store, out);
                    took += began.elapsed();
                }
                took
            });
        });
    }
    group.finish();
}

criterion_group!(micro, transitions, codec, validation, receipts, commits);
criterion_main!(micro);
