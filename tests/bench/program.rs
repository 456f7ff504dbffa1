//! `dispatch-bench`: how fast the service is on this machine, and how close to what the machine
//! can do.
//!
//! Load comes from this process, over gRPC and HTTP; the service is a process of its own, the
//! ordinary `dispatch serve`. The providers are a stub in this process that takes every message at
//! once. Every scenario measures its ceilings beside itself (see [`ceilings`]) and prints ratios:
//! those can be compared between machines and days, the figures alone cannot.

#![expect(
    clippy::disallowed_methods,
    reason = "it measures by the machine's clock, and is its own client"
)]

mod batch;
mod ceilings;
mod create;
mod erase;
mod latency;
mod life;
mod load;
mod pace;
mod peer;
mod pending;
mod progress;
mod provider;
mod receipts;
mod report;
mod server;
mod store;
mod streams;
mod timers;
mod usage;
mod waiting;
mod webhooks;
mod workflow;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Parser, ValueEnum};
use dispatch::{
    builtin,
    client::Known,
    config::{Config, ConfigError},
    engine::{RouteTable, SystemClock},
    service::ServiceClock,
};

use self::{
    ceilings::Writing,
    peer::PeerArgs,
    provider::Provider,
    report::{Report, Row},
    server::Server,
};

/// As the program that is measured has it: some of what is measured runs in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many connections load comes over, with more in flight than `FEW`.
const CONNECTIONS: usize = 8;
const FEW: usize = 8;

/// Measures the service on this machine, and what the machine could do.
///
/// Exit codes: 0 measured; 1 something failed; 2 wrong usage.
#[derive(Clone, Debug, Parser)]
#[command(name = "dispatch-bench", version)]
struct BenchArgs {
    /// What is measured.
    #[arg(value_enum)]
    scenario: Scenario,
    /// How long each measurement lasts, in seconds.
    #[arg(long, default_value_t = 5.0, value_name = "S")]
    seconds: f64,
    /// How many calls are out at once; several, separated by commas, are measured one after the
    /// other [create: 1,8,64,256,1024; batch: 1,4,8; elsewhere 64]. In a batch [store: 128].
    #[arg(long, value_delimiter = ',', value_name = "N")]
    in_flight: Vec<usize>,
    /// How many: lives, workflows that wait, subscribers, open workflows, timers armed beside those
    /// that come due, or creates in a batch [life, receipts, timers: 10000; streams: 1000; pending,
    /// erase, store: 100000; batch: 500].
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// How many a second, whatever the answers: lives, webhooks, or timers that come due [life: as
    /// fast as they are taken; receipts: half of that; streams, timers: 1000].
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// How long a life waits for its first message's receipt, in seconds.
    #[arg(long, default_value_t = 2, value_name = "S")]
    expiry_s: u64,
    /// How many calls to the provider may be out at once, on each of the two routes.
    #[arg(long, default_value_t = 256, value_name = "N")]
    route_concurrency: u32,
    /// Where data are kept meanwhile, in a folder that is removed afterwards. It should be on the
    /// disk in question, and not in memory as some systems' /tmp.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    folder: PathBuf,
    /// Has the service keep its workflows in this PostgreSQL: how it is connected to. The database should be empty.
    #[arg(long, value_name = "CONNECTION")]
    postgres: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    peer: PeerArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Durable CreateWorkflow calls of workflows that rest for an hour.
    Create,
    /// The same by BatchCreateWorkflows.
    Batch,
    /// Whole lives: first message, no receipt, expiry, second message, receipt, end.
    Life,
    /// A webhook comes in, is decided on durably, and the next message goes out.
    Receipts,
    /// Many subscribers, each on its own workflow, and ten that follow everything.
    Streams,
    /// A person among many workflows: found, and erased.
    Erase,
    /// Many open workflows: memory, disk, and the restart after a crash.
    Pending,
    /// Many due every second, with others armed: how late they are.
    Timers,
    /// The store alone: commits of batches, with many open.
    Store,
}

/// What a scenario works with.
struct Bench {
    args: BenchArgs,
    server: Server,
    provider: Provider,
    /// The routes that the service has, if it is ours.
    routes: Option<Arc<RouteTable>>,
    report: Report,
}

/// Why nothing was measured, or not all, and with which code the program exits.
struct CommandFailure {
    code: u8,
    text: String,
}

impl CommandFailure {
    fn new(text: impl Into<String>) -> CommandFailure {
        CommandFailure { code: 1, text: text.into() }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(BenchArgs::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandFailure { code, text }) => {
            eprintln!("dispatch-bench: {text}");
            ExitCode::from(code)
        }
    }
}

async fn run(args: BenchArgs) -> Result<(), CommandFailure> {
    if args.seconds <= 0.0 || args.in_flight.contains(&0) || args.count == Some(0) {
        let text = "nothing would be measured: --seconds, --in-flight and --count begin at 1";
        return Err(CommandFailure { code: 2, text: text.to_owned() });
    }
    let provider = Provider::start(args.peer.provider).await;
    let provider =
        provider.map_err(|error| CommandFailure::new(format!("cannot listen: {error}")))?;
    let server = match &args.peer {
        PeerArgs { peer_receipts: Some(receipts), peer_pids, .. } => {
            if args.scenario != Scenario::Life {
                return Err(CommandFailure {
                    code: 2,
                    text: "another system can live, and nothing else".to_owned(),
                });
            }
            Server::elsewhere(&args.folder, receipts.clone(), peer_pids.clone())?
        }
        _ => {
            let store = args.postgres.as_deref();
            Server::start(&args.folder, store, provider.address, args.route_concurrency).await?
        }
    };
    let routes = routes(&server).map_err(|ConfigError(text)| CommandFailure::new(text))?;
    let report = Report::new(args.scenario.name());
    let mut bench = Bench { args, server, provider, routes, report };
    match bench.args.scenario {
        Scenario::Create => create::run(&mut bench).await?,
        Scenario::Batch => batch::run(&mut bench).await?,
        Scenario::Life => life::run(&mut bench).await?,
        Scenario::Receipts => receipts::run(&mut bench).await?,
        Scenario::Erase => erase::run(&mut bench).await?,
        Scenario::Streams => streams::run(&mut bench).await?,
        Scenario::Pending => pending::run(&mut bench).await?,
        Scenario::Timers => timers::run(&mut bench).await?,
        Scenario::Store => store::run(&mut bench).await?,
    }
    // The store alone is in this process, and the server has nothing to do.
    if bench.args.scenario != Scenario::Store {
        let used = bench.server.usage();
        bench.report.memory(used);
    }
    let Bench { args, report, .. } = bench;
    if args.json {
        let json = serde_json::to_string_pretty(&report);
        println!("{}", json.map_err(|error| CommandFailure::new(error.to_string()))?);
    } else {
        println!("{}", report.table());
    }
    match report.first_error {
        None => Ok(()),
        Some(first) => {
            Err(CommandFailure::new(format!("{} failed; the first: {first}", report.errors)))
        }
    }
}

/// The same routes as the service's, for this process to send by.
fn routes(server: &Server) -> Result<Option<Arc<RouteTable>>, ConfigError> {
    let Some(file) = server.config() else { return Ok(None) };
    let clock = ServiceClock::System(Arc::new(SystemClock::new()));
    Ok(Some(Arc::new(builtin::parts(&Config::read(&file)?, &clock)?.routes)))
}

impl Bench {
    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.args.seconds.clamp(0.1, 3600.0))
    }

    /// Ceilings are steadier than what they bound: a third of the time will do.
    fn ceiling_time(&self) -> Duration {
        (self.time() / 3).max(Duration::from_millis(300))
    }

    /// For scenarios with one level only.
    fn in_flight(&self) -> usize {
        self.args.in_flight.first().copied().unwrap_or(64).max(1)
    }

    async fn channels(&self, in_flight: usize) -> Result<Vec<Known>, CommandFailure> {
        self.server.connect(if in_flight > FEW { CONNECTIONS } else { 1 }).await
    }

    async fn empty_rpc(&mut self, channels: &[Known], in_flight: usize) -> Row {
        let before = self.server.usage();
        let outcome = ceilings::empty_rpc(channels, in_flight, self.ceiling_time()).await;
        let used = before.zip(self.server.usage());
        self.report.ceiling(format!("empty RPC, {in_flight} in flight"), outcome, used)
    }

    /// A bare file, of which the growing one is returned.
    async fn append(&mut self, batch: usize, bytes_each: u64) -> Row {
        self.write(Writing::Overwrite, "overwrite", batch, bytes_each).await;
        self.write(Writing::Append, "append", batch, bytes_each).await
    }

    async fn write(&mut self, writing: Writing, verb: &str, batch: usize, bytes_each: u64) -> Row {
        let (batch, time) = (batch as u64, self.ceiling_time());
        let folder = self.server.folder();
        let (outcome, operations) = ceilings::write(folder, writing, batch, bytes_each, time).await;
        let name = format!("{verb} and sync, batches of {batch} x {bytes_each} bytes");
        let row = self.report.ceiling(name, outcome, None);
        // A sync serves a whole batch.
        let row = Row { operations, per_second: operations as f64 / row.seconds.max(1e-9), ..row };
        self.report.ceilings.pop();
        self.report.ceilings.push(row.clone());
        row
    }

    async fn provider_ceiling(&mut self) -> Option<Row> {
        let routes = self.routes.clone()?;
        let outcome = ceilings::provider(&routes, PROVIDER_IN_FLIGHT, self.ceiling_time()).await;
        self.provider.forget();
        let name = format!("provider directly, {PROVIDER_IN_FLIGHT} in flight");
        Some(self.report.ceiling(name, outcome, None))
    }
}

const PROVIDER_IN_FLIGHT: usize = 64;

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Scenario::Create => "create",
            Scenario::Batch => "batch",
            Scenario::Life => "life",
            Scenario::Receipts => "receipts",
            Scenario::Erase => "erase",
            Scenario::Streams => "streams",
            Scenario::Pending => "pending",
            Scenario::Timers => "timers",
            Scenario::Store => "store",
        }
    }
}
