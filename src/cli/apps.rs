//! `dispatch apps`: a tenant's applications.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand, ValueEnum};

use super::{
    CommandFailure, Output, RemoteArgs,
    keyfile::KeyFile,
    remote::{connect, refused},
    show,
};
use crate::pb::v1::{
    Application, ApplicationSpec, CallbackPayloadVersion, CallbackSigning,
    CreateApplicationRequest, DeleteApplicationRequest, GetApplicationRequest,
    GetCallbackSecretRequest, ListApplicationsRequest, MessagesCapability,
    RotateCallbackSecretRequest, RotateKeyPairRequest, UpdateApplicationRequest,
};

#[derive(Debug, Subcommand)]
pub(super) enum AppsCommand {
    /// Create an application. Without a public key a pair is made, and the private key written to a
    /// file: it is shown nowhere else.
    Create(CreateAppArgs),
    /// List applications, oldest first.
    List(RemoteArgs),
    /// Show an application.
    Show(AppArgs),
    /// Change what is given of an application.
    Update(UpdateAppArgs),
    /// Take an application away: its tokens are no longer taken, and nobody is told anything any more.
    Delete(AppArgs),
    /// Show the secret that an application's callbacks are signed with.
    Secret(AppArgs),
    /// Make a new secret to sign its callbacks with; the old one signs no longer.
    RotateSecret(AppArgs),
    /// Make a new key pair and write the private key to a file; tokens of the old key are no longer taken.
    RotateKey(RotateAppKeyArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateAppArgs {
    /// Its name, for people.
    name: String,
    /// Where the private key is written; the file must not be there yet.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "private.key",
        conflicts_with = "public_keyfile"
    )]
    keyfile: PathBuf,
    /// Its public key (PEM); then no pair is made.
    #[arg(long, value_name = "FILE")]
    public_keyfile: Option<PathBuf>,
    /// Make it the tenant's default: it is told of workflows whose caller speaks for no application.
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    messages: MessagesArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct MessagesArgs {
    /// The URL that is told of people's answers.
    #[arg(long, value_name = "URL")]
    messages_inbound_url: Option<String>,
    /// The URL that is told of statuses and final reports.
    #[arg(long, value_name = "URL")]
    messages_status_url: Option<String>,
    /// The words of callbacks.
    #[arg(long, value_enum)]
    messages_version: Option<Version>,
    /// How callbacks are signed.
    #[arg(long, value_enum)]
    signing: Option<SigningArg>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Version {
    /// Messages v0.1 statuses and the final report of the old Dispatch API.
    #[value(name = "v0.1")]
    V01,
    /// Messages v1 statuses.
    #[value(name = "v1")]
    V1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SigningArg {
    /// A JWT over the body's hash.
    Jwt,
    /// The headers of the Standard Webhooks specification.
    StandardWebhooks,
}

#[derive(Debug, Args)]
pub(super) struct AppArgs {
    /// The application's id.
    id: String,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct UpdateAppArgs {
    /// The application's id.
    id: String,
    /// Its new name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Its new public key (PEM).
    #[arg(long, value_name = "FILE")]
    public_keyfile: Option<PathBuf>,
    /// Make it the tenant's default, or (false) no longer.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    default: Option<bool>,
    #[command(flatten)]
    messages: MessagesArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct RotateAppKeyArgs {
    /// The application's id.
    id: String,
    /// Where the private key is written; the file must not be there yet.
    #[arg(long, value_name = "FILE", default_value = "private.key")]
    keyfile: PathBuf,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(super) async fn run(command: AppsCommand) -> Result<ExitCode, CommandFailure> {
    match command {
        AppsCommand::Create(args) => create(args).await,
        AppsCommand::List(args) => list(args).await,
        AppsCommand::Show(args) => show(args).await,
        AppsCommand::Update(args) => update(args).await,
        AppsCommand::Delete(args) => delete(args).await,
        AppsCommand::Secret(args) => secret(args).await,
        AppsCommand::RotateSecret(args) => rotate_secret(args).await,
        AppsCommand::RotateKey(args) => rotate_key(args).await,
    }
}

async fn create(args: CreateAppArgs) -> Result<ExitCode, CommandFailure> {
    let public_key = public_key(args.public_keyfile.as_deref())?;
    let mut keyfile = match &args.public_keyfile {
        None => Some(KeyFile::begin(&args.keyfile)?),
        Some(_) => None,
    };
    let messages = args.messages.capability();
    let application = Some(ApplicationSpec {
        name: args.name,
        public_key,
        messages,
        tenant_default: args.default,
    });
    let client = connect(&args.remote).await?;
    let request = CreateApplicationRequest { application };
    let answer = client.applications().create_application(request).await.map_err(refused)?;
    let answer = answer.into_inner();
    let application = answer.application.unwrap_or_default();
    let kept = keyfile.take().map(|file| file.keep(&answer.private_key)).transpose();
    // Without its key it is of no use, and would only stay.
    if let Err(failure) = kept {
        let request = DeleteApplicationRequest { application_id: application.application_id };
        client.applications().delete_application(request).await.map_err(refused)?;
        return Err(failure);
    }
    print(&application, args.remote.output);
    if args.public_keyfile.is_none() && args.remote.output == Output::Text {
        show::line(&format!("private key: {}", args.keyfile.display()));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: RemoteArgs) -> Result<ExitCode, CommandFailure> {
    let client = connect(&args).await?;
    let mut request = ListApplicationsRequest { page_size: 100, page_token: String::new() };
    loop {
        let page = client.applications().list_applications(request.clone()).await;
        let page = page.map_err(refused)?.into_inner();
        for application in &page.applications {
            show::answer(args.output, application, head);
        }
        if page.next_page_token.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        request.page_token = page.next_page_token;
    }
}

async fn show(args: AppArgs) -> Result<ExitCode, CommandFailure> {
    let client = connect(&args.remote).await?;
    let request = GetApplicationRequest { application_id: args.id };
    let answer = client.applications().get_application(request).await.map_err(refused)?;
    print(&answer.into_inner().application.unwrap_or_default(), args.remote.output);
    Ok(ExitCode::SUCCESS)
}

async fn update(args: UpdateAppArgs) -> Result<ExitCode, CommandFailure> {
    let messages = &args.messages;
    let given = [
        ("name", args.name.is_some()),
        ("public_key", args.public_keyfile.is_some()),
        ("tenant_default", args.default.is_some()),
        ("messages.inbound_url", messages.messages_inbound_url.is_some()),
        ("messages.status_url", messages.messages_status_url.is_some()),
        ("messages.payload_version", messages.messages_version.is_some()),
        ("messages.signing", messages.signing.is_some()),
    ];
    let application = Some(ApplicationSpec {
        public_key: public_key(args.public_keyfile.as_deref())?,
        name: args.name.unwrap_or_default(),
        messages: args.messages.capability(),
        tenant_default: args.default.unwrap_or_default(),
    });
    let update_mask = Some(show::mask(&given));
    let client = connect(&args.remote).await?;
    let request = UpdateApplicationRequest { application_id: args.id, application, update_mask };
    let answer = client.applications().update_application(request).await.map_err(refused)?;
    print(&answer.into_inner().application.unwrap_or_default(), args.remote.output);
    Ok(ExitCode::SUCCESS)
}

async fn rotate_key(args: RotateAppKeyArgs) -> Result<ExitCode, CommandFailure> {
    let keyfile = KeyFile::begin(&args.keyfile)?;
    let client = connect(&args.remote).await?;
    let request = RotateKeyPairRequest { application_id: args.id };
    let answer = client.applications().rotate_key_pair(request).await.map_err(refused)?;
    let answer = answer.into_inner();
    keyfile.keep(&answer.private_key)?;
    print(&answer.application.unwrap_or_default(), args.remote.output);
    if args.remote.output == Output::Text {
        show::line(&format!("private key: {}", args.keyfile.display()));
    }
    Ok(ExitCode::SUCCESS)
}

async fn delete(args: AppArgs) -> Result<ExitCode, CommandFailure> {
    let client = connect(&args.remote).await?;
    let request = DeleteApplicationRequest { application_id: args.id.clone() };
    let answer = client.applications().delete_application(request).await.map_err(refused)?;
    show::answer(args.remote.output, &answer.into_inner(), |_| format!("{} is gone", args.id));
    Ok(ExitCode::SUCCESS)
}

async fn rotate_secret(args: AppArgs) -> Result<ExitCode, CommandFailure> {
    let client = connect(&args.remote).await?;
    let request = RotateCallbackSecretRequest { application_id: args.id };
    let answer = client.applications().rotate_callback_secret(request).await.map_err(refused)?;
    show::answer(args.remote.output, &answer.into_inner(), |told| told.callback_secret.clone());
    Ok(ExitCode::SUCCESS)
}

async fn secret(args: AppArgs) -> Result<ExitCode, CommandFailure> {
    let client = connect(&args.remote).await?;
    let request = GetCallbackSecretRequest { application_id: args.id };
    let answer = client.applications().get_callback_secret(request).await.map_err(refused)?;
    show::answer(args.remote.output, &answer.into_inner(), |told| told.callback_secret.clone());
    Ok(ExitCode::SUCCESS)
}

impl MessagesArgs {
    /// What is given; `None` if nothing is.
    fn capability(self) -> Option<MessagesCapability> {
        let MessagesArgs { messages_inbound_url, messages_status_url, messages_version, signing } =
            self;
        let is_given = messages_inbound_url.is_some()
            || messages_status_url.is_some()
            || messages_version.is_some()
            || signing.is_some();
        let payload_version = match messages_version {
            Some(Version::V01) => CallbackPayloadVersion::V01,
            Some(Version::V1) => CallbackPayloadVersion::V1,
            None => CallbackPayloadVersion::Unspecified,
        };
        let signing = match signing {
            Some(SigningArg::Jwt) => CallbackSigning::Jwt,
            Some(SigningArg::StandardWebhooks) => CallbackSigning::StandardWebhooks,
            None => CallbackSigning::Unspecified,
        };
        is_given.then(|| MessagesCapability {
            inbound_url: messages_inbound_url.unwrap_or_default(),
            status_url: messages_status_url.unwrap_or_default(),
            payload_version: payload_version as i32,
            signing: signing as i32,
        })
    }
}

fn public_key(path: Option<&Path>) -> Result<String, CommandFailure> {
    let Some(path) = path else { return Ok(String::new()) };
    std::fs::read_to_string(path).map_err(|error| CommandFailure {
        code: 2,
        text: format!("cannot read the public key {}: {error}", path.display()),
    })
}

fn print(application: &Application, output: Output) {
    show::answer(output, application, shown);
}

fn head(application: &Application) -> String {
    let Application { application_id: id, name, tenant_default, .. } = application;
    let default = if *tenant_default { "  (default)" } else { "" };
    format!("{id}  {name}{default}")
}

fn shown(application: &Application) -> String {
    let mut text = head(application);
    if let Some(messages) = &application.messages {
        for (what, url) in [("inbound", &messages.inbound_url), ("status", &messages.status_url)] {
            if !url.is_empty() {
                text.push_str(&format!("\n  {what:<8} {url}"));
            }
        }
        let version = match messages.payload_version() {
            CallbackPayloadVersion::Unspecified | CallbackPayloadVersion::V01 => "v0.1",
            CallbackPayloadVersion::V1 => "v1",
        };
        let signing = match messages.signing() {
            CallbackSigning::Unspecified | CallbackSigning::Jwt => "jwt",
            CallbackSigning::StandardWebhooks => "standard-webhooks",
        };
        text.push_str(&format!("\n  version  {version}\n  signing  {signing}"));
    }
    text
}
