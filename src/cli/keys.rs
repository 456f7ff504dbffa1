//! `dispatch keys …`, `dispatch audit`, `dispatch token`: who may do what.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use dispatch_contract::UnixMillis;
use uuid::Uuid;

use super::{
    Failure, Hidden, LookArgs, Output, RemoteArgs, Whose,
    remote::{connect, refused},
    show,
};
use crate::{
    access,
    config::Config,
    pb::v1::{
        ApiKey, AuditEntry, CreateKeyRequest, ListAuditRequest, ListKeysRequest, RevokeKeyRequest,
        RotateKeyRequest,
    },
};

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key. Its secret is shown once.
    Create(CreateKeyArgs),
    /// List the keys.
    List(LookArgs),
    /// Give a key a new secret; the one before stays valid until the next time.
    Rotate(RotateArgs),
    /// End a key.
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateKeyArgs {
    /// For people.
    #[arg(long, default_value = "", value_name = "TEXT")]
    name: String,
    /// Whose it is [default: the caller's own].
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    tenant: String,
    /// What its holder may do: of create, read, cancel, admin, and operator, which runs the service for
    /// every tenant [default: the first four; of the first key, all].
    #[arg(long = "scope", value_delimiter = ',', value_name = "SCOPE")]
    scopes: Vec<String>,
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
pub(super) struct AuditArgs {
    /// How many.
    #[arg(long, default_value_t = 100)]
    limit: u16,
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
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

pub(super) async fn keys(command: KeysCommand) -> Result<ExitCode, Failure> {
    match command {
        KeysCommand::Create(args) => create(args).await,
        KeysCommand::List(args) => list(args).await,
        KeysCommand::Rotate(args) => rotate(args).await,
        KeysCommand::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: CreateKeyArgs) -> Result<ExitCode, Failure> {
    let CreateKeyArgs { name, tenant, scopes, application, data, config, mut remote } = args;
    if remote.key.is_none() && remote.token.is_none() {
        remote.key = first_key(data, config)?;
    }
    let request = CreateKeyRequest { tenant, name, scopes, application_id: application };
    let made = connect(&remote).await?.access().create_key(request).await.map_err(refused)?;
    let made = made.into_inner();
    show::answer(remote.output, &made, |made| with_secret(made.key.as_ref(), &made.secret));
    tell_to_keep(remote.output);
    Ok(ExitCode::SUCCESS)
}

/// What makes the first key of a service on this machine, if its data folder holds that.
fn first_key(data: Option<PathBuf>, config: Option<PathBuf>) -> Result<Option<Hidden>, Failure> {
    let folder = match (data, config) {
        (Some(folder), _) => folder,
        (None, Some(file)) => {
            let config = Config::read(&file);
            config.map_err(|error| Failure { code: 2, text: error.to_string() })?.store.data
        }
        (None, None) => Config::default().store.data,
    };
    access::bootstrap_key(&folder).map(|key| key.map(Hidden)).map_err(|error| Failure {
        code: 7,
        text: format!(
            "cannot read the file in {} that makes the first key: {error}; run this as the user that \
             runs the service",
            folder.display()
        ),
    })
}

async fn list(args: LookArgs) -> Result<ExitCode, Failure> {
    let request = ListKeysRequest { tenant: args.whose.tenant };
    let listed = connect(&args.remote).await?.access().list_keys(request).await;
    let listed = listed.map_err(refused)?.into_inner();
    for key in &listed.keys {
        show::answer(args.remote.output, key, row);
    }
    Ok(ExitCode::SUCCESS)
}

async fn rotate(args: RotateArgs) -> Result<ExitCode, Failure> {
    let RotateArgs { id, end_others, remote } = args;
    let request = RotateKeyRequest { id, end_others };
    let rotated = connect(&remote).await?.access().rotate_key(request).await.map_err(refused)?;
    let rotated = rotated.into_inner();
    show::answer(remote.output, &rotated, |rotated| {
        with_secret(rotated.key.as_ref(), &rotated.secret)
    });
    tell_to_keep(remote.output);
    Ok(ExitCode::SUCCESS)
}

async fn revoke(args: RevokeArgs) -> Result<ExitCode, Failure> {
    let RevokeArgs { id, remote } = args;
    let client = connect(&remote).await?;
    let revoked = client.access().revoke_key(RevokeKeyRequest { id: id.clone() }).await;
    let revoked = revoked.map_err(refused)?.into_inner();
    show::answer(remote.output, &revoked, |_| format!("{id} revoked"));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn audit(args: AuditArgs) -> Result<ExitCode, Failure> {
    let request = ListAuditRequest { limit: args.limit.into(), tenant: args.whose.tenant };
    let listed = connect(&args.remote).await?.access().list_audit(request).await;
    for entry in listed.map_err(refused)?.into_inner().entries {
        show::answer(args.remote.output, &entry, act);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn token(args: TokenArgs) -> Result<ExitCode, Failure> {
    let shown = args.private_key.display();
    let private_key = std::fs::read_to_string(&args.private_key)
        .map_err(|error| Failure { code: 2, text: format!("cannot read {shown}: {error}") })?;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = UnixMillis(since.unwrap_or_default().as_millis() as u64);
    let token = access::token(args.app_id, &private_key, args.expires_in, now)
        .map_err(|problem| Failure { code: 2, text: format!("{shown}: {problem}") })?;
    show::line(&token);
    Ok(ExitCode::SUCCESS)
}

/// In the form that `--key` and `DISPATCH_KEY` take.
fn with_secret(key: Option<&ApiKey>, secret: &str) -> String {
    format!("{}:{secret}", key.map_or("", |key| &key.id))
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
    let AuditEntry { tenant, who, what, target, .. } = entry;
    format!("{time}  {tenant:<12}  {who:<12}  {what:<16}  {target}")
}

fn row(key: &ApiKey) -> String {
    let made = match &key.created_at {
        Some(time) => time.to_string(),
        None => "configuration".to_owned(),
    };
    let secrets = if key.valid_secrets == 1 { "" } else { "  (two secrets valid)" };
    let (id, tenant, scopes) = (&key.id, &key.tenant, key.scopes.join(","));
    format!("{id:<8}  {tenant:<12}  {scopes:<24}  {made}  {}{secrets}", key.name)
}
