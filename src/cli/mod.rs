//! The command line: the service itself, a demonstration, and a gRPC client to any address.

mod accounts;
mod adapters;
mod admin;
mod apps;
mod callbacks;
mod demo;
mod erase;
mod inbound;
mod keyfile;
mod keys;
mod opt_outs;
mod provider_page;
mod reach;
mod remote;
mod serve;
mod show;
pub mod undo;

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

pub use provider_page::provider_page;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::{
    builtin::{self, Providers},
    config::Config,
    engine::SystemClock,
    owned_files,
    service::ServiceClock,
};

/// Reaches a person over the channels they read: "send on Messenger; if not read in ten minutes,
/// Viber; if that is not read either, SMS."
///
/// Exit codes: 0 done; 1 something failed; 2 wrong usage; 3 the request is wrong; 4 not found;
/// 5 the workflow's state does not allow it; 6 the server cannot be reached or is too busy;
/// 7 not let in.
/// `watch` of one workflow: 0 SUCCEEDED, 10 FAILED, 11 UNCONFIRMED, 12 CANCELED.
#[derive(Debug, Parser)]
#[command(name = "dispatch", version)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run the service.
    Serve(ServeArgs),
    /// Watch three workflows against simulated providers: two fail over, one is read in time.
    Demo,
    /// Create a workflow from a file.
    Create(CreateWorkflowArgs),
    /// Show a workflow.
    Get(WorkflowArgs),
    /// Tell what happened to a workflow, and why.
    Why(WorkflowArgs),
    /// Follow what happens, live.
    Watch(WatchArgs),
    /// List workflows, newest first.
    List(ListWorkflowsArgs),
    /// Cancel a workflow: nothing of it starts any more.
    Cancel(WorkflowArgs),
    /// List the channels that are served, and what they can do.
    Channels(ListInTenantArgs),
    /// Manage applications: who is told what becomes of workflows, and who may speak for you.
    #[command(subcommand)]
    Apps(apps::AppsCommand),
    /// Manage external accounts, your own pages, services and numbers on chat channels; try whether
    /// providers take the configured accounts.
    #[command(subcommand)]
    Accounts(accounts::AccountsCommand),
    /// Look after the callbacks to applications: those that wait, and those that were given up.
    #[command(subcommand)]
    Callbacks(callbacks::CallbacksCommand),
    /// Look after the list of persons who want no messages.
    #[command(name = "opt-outs", subcommand)]
    OptOuts(opt_outs::OptOutsCommand),
    /// Read what persons write to senders.
    #[command(subcommand)]
    Inbound(inbound::InboundCommand),
    /// Erase what is personal of workflows: who was reached and what was said. Timelines, states and counts stay.
    Erase(erase::EraseArgs),
    /// Take a backup of a running service: one file, consistent, while it goes on working.
    Backup(BackupArgs),
    /// Make a new data folder from a backup. A service started on it has a restore lock: nothing is
    /// sent until `dispatch resume` says what becomes of what was open.
    Restore(RestoreArgs),
    /// Lift the restore lock of a restored service.
    Resume(ResumeArgs),
    /// Check a data folder or a backup: every row, every index, every invariant; of a folder the keys of contents, too.
    Check(CheckArgs),
    /// Make, list, rotate and revoke API keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// List administrative acts, newest first.
    Audit(keys::AuditArgs),
    /// Make a token of an application, for `Authorization: Bearer …`.
    Token(keys::AppTokenArgs),
    /// Prove what adapters declare.
    #[command(subcommand)]
    Adapter(adapters::AdapterCommand),
    /// Print the complete default configuration, with comments.
    Config {
        /// Print a provider's page instead: its channels, and what its accounts have to hold.
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
    },
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Where commands look for a service that are not told.
const DEFAULT_SERVER: &str = "http://127.0.0.1:50051";

/// Settings of `serve`: a flag wins over the environment, that over the file.
#[derive(Debug, Default, Args)]
struct ServeArgs {
    /// Configuration file (TOML); see `dispatch config`.
    #[arg(long, env = "DISPATCH_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where gRPC listens [default: 127.0.0.1:50051].
    #[arg(long, env = "DISPATCH_GRPC", value_name = "ADDRESS")]
    grpc: Option<SocketAddr>,
    /// Where providers' webhooks arrive [default: 127.0.0.1:8080].
    #[arg(long, env = "DISPATCH_HTTP", value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Where health and metrics are [default: 127.0.0.1:9090].
    #[arg(long, env = "DISPATCH_INTERNAL_HTTP", value_name = "ADDRESS")]
    internal_http: Option<SocketAddr>,
    /// The data folder [default: data].
    #[arg(long, env = "DISPATCH_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Go on with a data folder that lost its newest rows, once; without this it is refused. Workflows
    /// will be missing, and messages may be sent again.
    #[arg(long)]
    accept_loss: bool,
    /// Go on although keys of what is to be sent are lost, as long as workflows wait for them; without this it is
    /// refused. Those workflows send nothing more, and fail; all others go on.
    #[arg(long)]
    accept_lost_keys: bool,
    /// Serve what is there and change nothing: lists, timelines, streams, metrics. For a disk that is
    /// full, too.
    #[arg(long)]
    read_only: bool,
    /// Log one JSON object a line.
    #[arg(long, env = "DISPATCH_LOG_JSON")]
    log_json: bool,
    /// Start nothing: say whether the configuration is right (exit code 0, else 1), what in it is not as
    /// by default, and which of that a running service takes up by `kill -HUP`.
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Debug, Args)]
struct RemoteArgs {
    /// The service's gRPC address.
    #[arg(
        long,
        env = "DISPATCH_SERVER",
        default_value = DEFAULT_SERVER,
        value_name = "URL"
    )]
    server: String,
    /// A key and its secret; better in the environment than on the command line.
    #[arg(
        long,
        env = "DISPATCH_KEY",
        hide_env_values = true,
        value_name = "ID:SECRET",
        conflicts_with = "token"
    )]
    key: Option<Hidden>,
    /// A token of an application: see `dispatch token`.
    #[arg(long, env = "DISPATCH_TOKEN", hide_env_values = true, value_name = "JWT")]
    token: Option<Hidden>,
    /// Who vouches for an `https://` service, a PEM file [default: whom the system trusts].
    #[arg(long, env = "DISPATCH_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The certificate to show to a service that asks for one, a PEM file.
    #[arg(long, env = "DISPATCH_CERT", value_name = "FILE", requires = "cert_key")]
    cert: Option<PathBuf>,
    /// Its private key, a PEM file.
    #[arg(long, env = "DISPATCH_CERT_KEY", value_name = "FILE", requires = "cert")]
    cert_key: Option<PathBuf>,
    /// Text for people, or JSON for scripts.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// A secret on the command line or in the environment.
#[derive(Clone)]
struct Hidden(String);

impl std::str::FromStr for Hidden {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Hidden(text.to_owned()))
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden(…)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For scripts: proto3 JSON; streams print one object a line.
    Json,
}

#[derive(Debug, Args)]
struct CreateWorkflowArgs {
    /// The workflow: JSON or YAML, in the shape of WorkflowSpec; `-` is standard input.
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Makes it safe to repeat the call: the same id and workflow give the same workflow again.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Check only; nothing is kept.
    #[arg(long)]
    validate_only: bool,
    /// Follow it until it ends.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
struct WorkflowArgs {
    /// The workflow's id.
    id: String,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
struct WatchArgs {
    /// The workflow's id; without one, everything is followed from now on.
    id: Option<String>,
    /// Only workflows with this label; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "id")]
    label: Vec<String>,
    /// Go on behind this token.
    #[arg(long, value_name = "TOKEN")]
    resume: Option<String>,
    /// Follow one workflow after its end too, for late receipts.
    #[arg(long, requires = "id")]
    late: bool,
    #[command(flatten)]
    tenant_filter: TenantFilter,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// For commands that list, as all of them must say it alike.
#[derive(Debug, Args)]
struct TenantFilter {
    /// Only of this tenant; without it, all that the key may see: an operator's sees everybody's.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    tenant: String,
}

/// For commands that list, and ask for nothing else.
#[derive(Debug, Args)]
struct ListInTenantArgs {
    #[command(flatten)]
    tenant_filter: TenantFilter,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
struct BackupArgs {
    /// The file to write; it must not be there yet.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Leave out the keys of contents: it restores timelines, and nobody can read in it who was reached and what was said.
    /// Then an erasure need not reach it.
    #[arg(long)]
    without_keys: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data folder to make; it must be new or empty.
    #[arg(long, env = "DISPATCH_DATA", value_name = "FOLDER")]
    data: PathBuf,
    /// The `master.key` of the folder that the backup was taken of, to be copied into the new one: no backup
    /// holds it. Not needed where the configuration gives the key (access.master_key).
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
    /// What was erased since the backup was taken, or may have been: certificates, as `erase --output json` wrote them. May
    /// be given several times. Before the restored service does anything else it erases that once more.
    #[arg(long, value_name = "FILE")]
    erasures: Vec<PathBuf>,
    /// Restore it although `dispatch check` finds something wrong with some workflow.
    #[arg(long)]
    despite_findings: bool,
}

#[derive(Debug, Args)]
struct ResumeArgs {
    /// What becomes of the workflows that were open when the backup was taken.
    #[arg(long, value_enum)]
    open: OpenWorkflowsArg,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OpenWorkflowsArg {
    /// They go on as after a restart; what was sent after the backup may be sent a second time.
    Continue,
    /// They are canceled; nothing of them is sent any more.
    Cancel,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The backup, or the data folder: no service may have that open, and a copy of it is checked, in
    /// the system's temporary folder (TMPDIR), so that nothing of it changes.
    path: PathBuf,
    /// The master key of the data folder, where that is not its `master.key`: with it, it is looked whether what is
    /// open can be sent.
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ListWorkflowsArgs {
    /// Only in this state (SCHEDULED, RUNNING, SUCCEEDED, FAILED, UNCONFIRMED, CANCELED); may be
    /// given several times.
    #[arg(long)]
    state: Vec<String>,
    /// Only with this label; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Only with this reference.
    #[arg(long, value_name = "TEXT")]
    client_ref: Option<String>,
    #[command(flatten)]
    tenant_filter: TenantFilter,
    /// How many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// The text of a file; `-` is standard input.
fn read_text(path: &Path) -> io::Result<String> {
    if path == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) }
}

/// Why a command did not do it, and with which code it exits.
struct CommandFailure {
    code: u8,
    text: String,
}

impl CommandFailure {
    fn new(text: impl Into<String>) -> CommandFailure {
        CommandFailure { code: 1, text: text.into() }
    }
}

/// Runs the command line over these providers; another binary hands in its own beside ours. Not generic, so
/// that none of it is compiled again with each binary.
pub(crate) fn run(providers: &Providers) -> ExitCode {
    owned_files::restrict_umask();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            show::error(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command(cli.command, providers)) {
        Ok(code) => code,
        Err(CommandFailure { code, text }) => {
            show::error(&text);
            ExitCode::from(code)
        }
    }
}

/// Says why the program cannot run at all.
pub(crate) fn refuse(problem: &str) -> ExitCode {
    show::error(problem);
    ExitCode::FAILURE
}

async fn command(command: CliCommand, providers: &Providers) -> Result<ExitCode, CommandFailure> {
    match command {
        CliCommand::Serve(args) => serve::run(args, &providers.registry).await,
        CliCommand::Demo => demo::run().await,
        CliCommand::Create(args) => remote::create(args).await,
        CliCommand::Get(args) => remote::get(args).await,
        CliCommand::Why(args) => remote::why(args).await,
        CliCommand::Watch(args) => remote::watch(args).await,
        CliCommand::List(args) => remote::list(args).await,
        CliCommand::Cancel(args) => remote::cancel(args).await,
        CliCommand::Channels(args) => remote::channels(args).await,
        CliCommand::Apps(command) => apps::run(command).await,
        CliCommand::Accounts(command) => accounts::run(command, &providers.registry).await,
        CliCommand::OptOuts(command) => opt_outs::run(command).await,
        CliCommand::Inbound(command) => inbound::run(command).await,
        CliCommand::Callbacks(command) => callbacks::run(command).await,
        CliCommand::Erase(args) => erase::run(args).await,
        CliCommand::Backup(args) => admin::backup(args).await,
        CliCommand::Restore(args) => admin::restore(args),
        CliCommand::Resume(args) => admin::resume(args).await,
        CliCommand::Check(args) => admin::check(args),
        CliCommand::Keys(command) => keys::keys(command).await,
        CliCommand::Audit(args) => keys::audit(args).await,
        CliCommand::Token(args) => keys::token(args),
        CliCommand::Adapter(command) => adapters::run(command, &providers.subjects()).await,
        CliCommand::Config { provider: None } => {
            show::line(crate::config::DEFAULT_TOML.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Config { provider: Some(name) } => {
            let clock = ServiceClock::System(Arc::new(SystemClock::new()));
            let parts = builtin::parts_of(&providers.registry, &Config::default(), &clock);
            let registry = parts.map_err(|error| CommandFailure::new(error.to_string()))?.registry;
            let Some(provider) = registry.provider(&name) else {
                let known: Vec<_> = registry.providers().map(|it| it.name()).collect();
                let known = known.join(", ");
                return Err(CommandFailure::new(format!("no provider {name}; there are {known}")));
            };
            show::line(provider_page(&**provider).trim_end());
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "dispatch", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}
