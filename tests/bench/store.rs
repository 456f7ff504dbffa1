//! `store`: the store alone, without network, parsing or calls. What the commit of a batch takes,
//! beside a bare file to which as many bytes are appended in the same batches.
//!
//! Workflows come to rest until so many are open. Then up to as many more are created, and as many
//! canceled again, in no order. Only commits are timed: what is in them is decided by the turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    Bench,
    load::Outcome,
    progress::Progress,
    workflow::{self, Shape},
};
use crate::CommandFailure;
use dispatch::{
    contents::ContentsKeeper,
    engine::{Command, Effects, EngineClock, Grace, Processor, RouteTable, SystemClock},
    grpc::parse_create,
    machine::{Moment, PolicySnapshot, WorkflowId},
    store::{JournalStore, Record, Requester, SledOptions, Store, StoreError, encode},
};

/// Workflows in a batch, unless the command line says otherwise.
const BATCH: usize = 128;
/// So many at once while the store is filled.
const FILL: usize = 1000;
const CACHE_BYTES: u64 = 256 * 1024 * 1024;
const TENANT: &str = "bench";

pub(super) async fn run(bench: &mut Bench) -> Result<(), CommandFailure> {
    let Some(routes) = bench.routes.clone() else { return Ok(()) };
    let count = bench.args.count.unwrap_or(100_000) as usize;
    let batch = bench.args.in_flight.first().copied().unwrap_or(BATCH);
    let options =
        SledOptions { folder: bench.server.folder().join("store"), cache_bytes: CACHE_BYTES };
    let failed = |error: StoreError| CommandFailure::new(error.to_string());
    let mut alone = Alone::open(&options, &routes).map_err(failed)?;

    let progress = Progress::of("workflows that come to rest");
    let counter = progress.counter();
    while alone.open.len() < count {
        let many = FILL.min(count - alone.open.len());
        let out = alone.creates(many).map_err(failed)?;
        alone.store.commit(out.change_set).map_err(failed)?;
        (0..many).for_each(|_| counter.one());
    }
    drop(progress);

    let enough = (count / batch).max(1);
    let mut creates = Commits::default();
    while creates.count < enough && creates.outcome.elapsed < bench.time() {
        let out = alone.creates(batch).map_err(failed)?;
        creates.time(&mut alone.store, out).map_err(failed)?;
    }
    let mut cancels = Commits::default();
    while cancels.count < creates.count {
        let out = alone.cancels(batch).map_err(failed)?;
        cancels.time(&mut alone.store, out).map_err(failed)?;
    }
    drop(alone);

    for (what, Commits { outcome, count: commits, bytes }) in
        [("create", creates), ("cancel", cancels)]
    {
        let workflows = (commits * batch).max(1);
        let name = format!("commit of {batch} {what}s, {count} open");
        let row = bench.report.measured(name, outcome, None);
        let per_second = workflows as f64 / row.seconds.max(1e-9);
        bench.report.figure(format!("{what}s per second"), per_second, "1/s");
        let append = bench.append(batch, (bytes / workflows) as u64).await;
        let name = format!("{what}s / append and sync");
        bench.report.ratio(name, per_second / append.per_second);
    }
    Ok(())
}

/// A store, and the turn that decides what is written to it.
struct Alone {
    store: JournalStore,
    processor: Processor,
    routes: Arc<RouteTable>,
    now: Moment,
    /// What is open, in no order.
    open: Vec<WorkflowId>,
    next: u64,
    keeper: ContentsKeeper,
}

impl Alone {
    fn open(options: &SledOptions, routes: &Arc<RouteTable>) -> Result<Self, StoreError> {
        let store = options.open()?;
        let now = SystemClock::new().moment();
        let keeper = ContentsKeeper::in_memory([7; 32]);
        let processor =
            Processor::new(&store, routes.clone(), Grace::new(now.engine, Duration::ZERO, 0));
        Ok(Alone {
            store,
            processor,
            routes: Arc::clone(routes),
            now,
            open: Vec::new(),
            next: 0,
            keeper,
        })
    }

    fn creates(&mut self, many: usize) -> Result<Effects, StoreError> {
        let commands: Result<_, _> = (0..many).map(|_| self.create()).collect();
        self.processor.run(&self.store, self.now, commands?)
    }

    fn create(&mut self) -> Result<Command, StoreError> {
        self.next += 1;
        let shape = Shape::resting(Duration::from_secs(86_400));
        let asked =
            parse_create(&workflow::request(self.next, &shape), &self.routes, self.now.wall)
                .map_err(|_| StoreError::Io("the workflow to be measured is none".to_owned()))?;
        let id = WorkflowId(Uuid::now_v7());
        self.open.push(id);
        let failed = |error: String| StoreError::Io(error);
        let key = self.keeper.take().map_err(|error| failed(error.to_string()))?;
        let contents = self.keeper.seal(key, id, &asked.contents);
        let contents = contents.map_err(|error| failed(error.to_string()))?;
        let record = Record {
            id,
            tenant: TENANT.into(),
            created_at: self.now,
            contents,
            plan: asked.plan,
            policy: PolicySnapshot::default(),
            request: None,
            requester: Requester::default(),
        };
        Ok(Command::Create { record: Box::new(record), reply: Box::new(drop) })
    }

    fn cancels(&mut self, many: usize) -> Result<Effects, StoreError> {
        let commands = (0..many).map(|_| self.cancel()).collect();
        self.processor.run(&self.store, self.now, commands)
    }

    fn cancel(&mut self) -> Command {
        self.next = workflow::shuffled(self.next);
        let id = self.open.swap_remove((self.next >> 33) as usize % self.open.len());
        Command::Cancel { tenant: TENANT.into(), id, reply: Box::new(drop) }
    }
}

/// What commits took.
#[derive(Default)]
struct Commits {
    outcome: Outcome,
    count: usize,
    /// What was in them, encoded.
    bytes: usize,
}

impl Commits {
    fn time(&mut self, store: &mut JournalStore, out: Effects) -> Result<(), StoreError> {
        let records: Vec<_> =
            out.change_set.changes.iter().filter_map(|change| change.record.clone()).collect();
        let began = Instant::now();
        let rows = store.commit(out.change_set)?;
        let took = began.elapsed();
        for record in records {
            self.bytes += encode(&*record)?.len();
        }
        for row in rows {
            self.bytes += encode(&*row)?.len();
        }
        self.outcome.take(Ok(()), took);
        self.outcome.elapsed += took;
        self.count += 1;
        Ok(())
    }
}
