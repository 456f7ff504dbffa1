//! `dispatch keys …`, `dispatch audit`, `dispatch token`: who may do what.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use dispatch_contract::UnixMillis;
use uuid::Uuid;

use super::{
    CommandFailure, Hidden, ListInTenantArgs, Output, RemoteArgs, TenantFilter,
    remote::{connect, refused},
    show,
};
use crate::{
    access,
    config::Config,
    pb::v1::{
        ApiKey, AuditEntry, CreateKeyRequest, GetMasterKeyRotationRequest, ListAuditRequest,
        ListKeysRequest, MasterKeyRotation, RevokeKeyRequest, RotateKeyRequest,
        RotateMasterKeyRequest, Scope,
    },
};

/// How often it is asked how far a change of the master key is.
const POLL_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key. Its secret is shown once.
    Create(CreateKeyArgs),
    /// List the keys.
    List(ListInTenantArgs),
    /// Give a key a new secret; the one before stays valid until the next time.
    Rotate(RotateArgs),
    /// End a key.
    Revoke(RevokeArgs),
    /// Change the master key that secrets in the store are encrypted with, and encrypt them anew.
    RotateMaster(RotateMasterArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateKeyArgs {
    /// For people.
    #[arg(long, default_value = "", value_name = "TEXT")]
    name: String,
    /// TenantFilter it is [default: the caller's own].
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    tenant: String,
    /// What its holder may do: of create, read, cancel, admin, operator, which runs the service for every tenant,
    /// and contents, which shows who is reached and what is said [default: the first four; of the first key,
    /// operator too].
    #[arg(long = "scope", value_delimiter = ',', value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<Scope>,
    /// The application whose callbacks tell what becomes of workflows created with it.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    application: String,
    /// The service's data folder, for the first key: a file in it makes that [default: the
    /// configuration's, or data].
    #[arg(long, env = "DISPATCH_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The service's configuration, which says where its data folder is.
    #[arg(long, env = "DISPATCH_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// The key's id.
    id: String,
    /// End every other secret now: for one that was given away.
    #[arg(long)]
    end_others: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    /// The key's id.
    id: String,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct RotateMasterArgs {
    /// Change nothing: tell how far the last change is.
    #[arg(long)]
    status: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// How many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Only what this key or application did.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    who: String,
    /// Only what was done since then, as in 2030-01-31T09:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<jiff::Timestamp>,
    #[command(flatten)]
    tenant_filter: TenantFilter,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct AppTokenArgs {
    /// The application's id.
    #[arg(long, value_name = "UUID")]
    app_id: Uuid,
    /// The application's private key, a PEM file.
    #[arg(long, value_name = "FILE")]
    private_key: PathBuf,
    /// How long the token is valid, in seconds.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    expires_in: u64,
}

fn scope(text: &str) -> Result<Scope, String> {
    let known = Scope::from_str_name(&format!("SCOPE_{}", text.to_ascii_uppercase()));
    let known = known.filter(|scope| *scope != Scope::Unspecified);
    known.ok_or_else(|| "must be one of create, read, cancel, admin, operator, contents".to_owned())
}

pub(super) async fn keys(command: KeysCommand) -> Result<ExitCode, CommandFailure> {
    match command {
        KeysCommand::Create(args) => create(args).await,
        KeysCommand::List(args) => list(args).await,
        KeysCommand::Rotate(args) => rotate(args).await,
        KeysCommand::Revoke(args) => revoke(args).await,
        KeysCommand::RotateMaster(args) => rotate_master(args).await,
    }
}

async fn create(args: CreateKeyArgs) -> Result<ExitCode, CommandFailure> {
    let CreateKeyArgs { name, tenant, scopes, application, data, config, mut remote } = args;
    if remote.key.is_none() && remote.token.is_none() {
        remote.key = first_key(data, config)?;
    }
    let scopes = scopes.into_iter().map(|scope| scope as i32).collect();
    let request = CreateKeyRequest { tenant, name, scopes, application_id: application };
    let made = connect(&remote).await?.access().create_key(request).await.map_err(refused)?;
    let made = made.into_inner();
    show::answer(remote.output, &made, |made| with_secret(made.key.as_ref(), &made.secret));
    tell_to_keep(remote.output);
    Ok(ExitCode::SUCCESS)
}

/// What makes the first key of a service on this machine, if its data folder holds that.
fn first_key(
    data: Option<PathBuf>,
    config: Option<PathBuf>,
) -> Result<Option<Hidden>, CommandFailure> {
    let folder = match (data, config) {
        (Some(folder), _) => folder,
        (None, Some(file)) => {
            let config = Config::read(&file);
            config.map_err(|error| CommandFailure { code: 2, text: error.to_string() })?.store.data
        }
        (None, None) => Config::default().store.data,
    };
    access::bootstrap_key(&folder).map(|key| key.map(Hidden)).map_err(|error| CommandFailure {
        code: 7,
        text: format!(
            "cannot read the file in {} that makes the first key: {error}; run this as the user that \
             runs the service",
            folder.display()
        ),
    })
}

async fn list(args: ListInTenantArgs) -> Result<ExitCode, CommandFailure> {
    let client = connect(&args.remote).await?;
    let tenant = args.tenant_filter.tenant;
    let mut request = ListKeysRequest { tenant, page_size: 1000, ..ListKeysRequest::default() };
    loop {
        let page = client.access().list_keys(request.clone()).await.map_err(refused)?.into_inner();
        for key in &page.keys {
            show::answer(args.remote.output, key, row);
        }
        if page.next_page_token.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        request.page_token = page.next_page_token;
    }
}

async fn rotate(args: RotateArgs) -> Result<ExitCode, CommandFailure> {
    let RotateArgs { id, end_others, remote } = args;
    let request = RotateKeyRequest { key_id: id, end_others };
    let rotated = connect(&remote).await?.access().rotate_key(request).await.map_err(refused)?;
    let rotated = rotated.into_inner();
    show::answer(remote.output, &rotated, |rotated| {
        with_secret(rotated.key.as_ref(), &rotated.secret)
    });
    tell_to_keep(remote.output);
    Ok(ExitCode::SUCCESS)
}

async fn revoke(args: RevokeArgs) -> Result<ExitCode, CommandFailure> {
    let RevokeArgs { id, remote } = args;
    let client = connect(&remote).await?;
    let revoked = client.access().revoke_key(RevokeKeyRequest { key_id: id.clone() }).await;
    let revoked = revoked.map_err(refused)?.into_inner();
    show::answer(remote.output, &revoked, |_| format!("{id} revoked"));
    Ok(ExitCode::SUCCESS)
}

/// Begins it, and tells how far it is until it is done. Cut off, the service goes on all the same.
async fn rotate_master(args: RotateMasterArgs) -> Result<ExitCode, CommandFailure> {
    let RotateMasterArgs { status, remote } = args;
    let client = connect(&remote).await?;
    let ask = async || {
        let asked = client.access().get_master_key_rotation(GetMasterKeyRotationRequest {}).await;
        Ok::<_, CommandFailure>(asked.map_err(refused)?.into_inner().rotation.unwrap_or_default())
    };
    let mut rotation = match status {
        true => ask().await?,
        false => {
            let begun = client.access().rotate_master_key(RotateMasterKeyRequest {}).await;
            begun.map_err(refused)?.into_inner().rotation.unwrap_or_default()
        }
    };
    let mut told = None;
    while !status && rotation.under_way {
        if remote.output == Output::Text && told != Some(rotation.done) {
            show::answer(remote.output, &rotation, how_far);
            told = Some(rotation.done);
        }
        tokio::time::sleep(POLL_EVERY).await;
        rotation = ask().await?;
    }
    show::answer(remote.output, &rotation, |rotation| match rotation.total {
        0 if status && !rotation.under_way => {
            "nothing changed the master key since the service started".to_owned()
        }
        _ => how_far(rotation),
    });
    Ok(ExitCode::SUCCESS)
}

fn how_far(rotation: &MasterKeyRotation) -> String {
    let MasterKeyRotation { under_way, done, total, unreadable } = rotation;
    if *under_way {
        return format!("{done} of {total} secrets looked at");
    }
    let lost = match unreadable {
        0 => String::new(),
        _ => format!("; {unreadable} of them no key decrypts: they were lost before"),
    };
    format!(
        "{done} secrets are encrypted with the new master key, and the old one is gone from the data \
         folder{lost}.\nA backup taken before still needs the old one: take a new backup, and a copy of \
         master.key."
    )
}

pub(super) async fn audit(args: AuditArgs) -> Result<ExitCode, CommandFailure> {
    let AuditArgs { limit, who, since, tenant_filter: TenantFilter { tenant }, remote } = args;
    let since = since.map(|since| prost_types::Timestamp {
        seconds: since.as_second(),
        nanos: since.subsec_nanosecond(),
    });
    let mut request =
        ListAuditRequest { tenant, actor: who, start_time: since, ..ListAuditRequest::default() };
    let client = connect(&remote).await?;
    let mut left = limit;
    while left > 0 {
        request.page_size = left.min(1000) as i32;
        let page = client.access().list_audit(request.clone()).await.map_err(refused)?.into_inner();
        for entry in &page.entries {
            show::answer(remote.output, entry, act);
        }
        left = left.saturating_sub(page.entries.len());
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::disallowed_methods, reason = "a command has no clock but the machine's")]
pub(super) fn token(args: AppTokenArgs) -> Result<ExitCode, CommandFailure> {
    let shown = args.private_key.display();
    let private_key = std::fs::read_to_string(&args.private_key).map_err(|error| {
        CommandFailure { code: 2, text: format!("cannot read {shown}: {error}") }
    })?;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = UnixMillis(since.unwrap_or_default().as_millis() as u64);
    let token = access::token(args.app_id, &private_key, args.expires_in, now)
        .map_err(|problem| CommandFailure { code: 2, text: format!("{shown}: {problem}") })?;
    show::line(&token);
    Ok(ExitCode::SUCCESS)
}

/// In the form that `--key` and `DISPATCH_KEY` take.
fn with_secret(key: Option<&ApiKey>, secret: &str) -> String {
    format!("{}:{secret}", key.map_or("", |key| &key.key_id))
}

/// The advice goes where scripts do not read.
fn tell_to_keep(output: Output) {
    if output == Output::Text {
        eprintln!(
            "Keep it now: the secret is not shown again. DISPATCH_KEY or --key takes it as it is."
        );
    }
}

fn act(entry: &AuditEntry) -> String {
    let time = entry.time.map(|time| time.to_string()).unwrap_or_default();
    let AuditEntry { tenant, actor: who, action: what, target, source, result, .. } = entry;
    let result = if result == "done" { String::new() } else { format!("  {result}") };
    format!("{time}  {source:<15}  {tenant:<12}  {who:<12}  {what:<16}  {target}{result}")
}

fn row(key: &ApiKey) -> String {
    let made = match &key.create_time {
        Some(time) => time.to_string(),
        None => "configuration".to_owned(),
    };
    let secrets = if key.valid_secrets == 1 { "" } else { "  (two secrets valid)" };
    let scopes: Vec<_> =
        key.scopes().map(|scope| scope.short_name().to_ascii_lowercase()).collect();
    let (id, tenant, scopes) = (&key.key_id, &key.tenant, scopes.join(","));
    format!("{id:<8}  {tenant:<12}  {scopes:<24}  {made}  {}{secrets}", key.name)
}
