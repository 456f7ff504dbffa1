//! `dispatch accounts`: a tenant's external accounts, and whether the configured ones work.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use dispatch_contract::Registry;

use super::{
    CommandFailure, Output, RemoteArgs, read_text,
    remote::{connect, refused},
    serve, show,
};
use crate::pb::v1::{
    CreateAccountRequest, DeleteAccountRequest, ExternalAccount, GetAccountRequest,
    LinkApplicationRequest, ListAccountsRequest, UnlinkApplicationRequest, UpdateAccountRequest,
};

#[derive(Debug, Subcommand)]
pub(super) enum AccountsCommand {
    /// Create an account: messages whose sender is its id go out with its token.
    Create(CreateAccountArgs),
    /// List accounts.
    List(ListAccountsArgs),
    /// Show an account.
    Show(AccountArgs),
    /// Change what is given of an account.
    Update(UpdateAccountArgs),
    /// Take an account away.
    Delete(AccountArgs),
    /// Link an account to the application that is told of messages to it.
    Link(LinkArgs),
    /// Unlink an account from an application: its token is used for nothing until it is linked again.
    Unlink(LinkArgs),
    /// Ask the providers whether they take the accounts of a configuration, without sending anything. Prints
    /// a line an account: works, refused, or cannot be asked, and why. Exit code 1 if one is refused.
    Probe(ProbeArgs),
}

#[derive(Debug, Args)]
pub(super) struct ProbeArgs {
    /// Only the accounts of this name.
    name: Option<String>,
    /// The configuration file of the service.
    #[arg(long, env = "DISPATCH_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct AccountName {
    /// messenger, viber_service_msg, whatsapp, or a channel whose provider takes accounts.
    provider: String,
    /// The page's id, the service's id, or the number.
    external_id: String,
}

/// A token is no argument: those are seen by everybody on the machine.
#[derive(Debug, Args)]
pub(super) struct AccountTokenArgs {
    /// The file that holds the provider's access token; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CreateAccountArgs {
    #[command(flatten)]
    account: AccountName,
    /// For people.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    token: AccountTokenArgs,
    /// The id of the application to link it to.
    #[arg(long, value_name = "ID")]
    application: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListAccountsArgs {
    /// Only those at this provider.
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct AccountArgs {
    #[command(flatten)]
    account: AccountName,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct UpdateAccountArgs {
    #[command(flatten)]
    account: AccountName,
    /// For people; an empty one takes it away.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    token: AccountTokenArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct LinkArgs {
    #[command(flatten)]
    account: AccountName,
    /// The application's id.
    application: String,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(super) async fn run(
    command: AccountsCommand,
    providers: &Registry,
) -> Result<ExitCode, CommandFailure> {
    match command {
        AccountsCommand::Probe(args) => {
            serve::probe::run(args.config, args.name.as_deref(), providers).await
        }
        AccountsCommand::Create(args) => create(args).await,
        AccountsCommand::List(args) => list(args).await,
        AccountsCommand::Show(args) => show(args).await,
        AccountsCommand::Update(args) => update(args).await,
        AccountsCommand::Delete(args) => delete(args).await,
        AccountsCommand::Link(args) => link(args).await,
        AccountsCommand::Unlink(args) => unlink(args).await,
    }
}

async fn create(args: CreateAccountArgs) -> Result<ExitCode, CommandFailure> {
    let AccountName { provider, external_id } = args.account;
    let access_token = args.token.read()?.unwrap_or_default();
    let (name, application_id) =
        (args.name.unwrap_or_default(), args.application.unwrap_or_default());
    let request =
        CreateAccountRequest { provider, external_id, name, access_token, application_id };
    let client = connect(&args.remote).await?;
    let answer = client.accounts().create_account(request).await.map_err(refused)?;
    print(answer.into_inner().account, args.remote.output)
}

async fn list(args: ListAccountsArgs) -> Result<ExitCode, CommandFailure> {
    let client = connect(&args.remote).await?;
    let provider = args.provider.unwrap_or_default();
    let mut request = ListAccountsRequest { provider, page_size: 100, page_token: String::new() };
    loop {
        let page = client.accounts().list_accounts(request.clone()).await.map_err(refused)?;
        let page = page.into_inner();
        for account in page.accounts {
            print(Some(account), args.remote.output)?;
        }
        if page.next_page_token.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        request.page_token = page.next_page_token;
    }
}

async fn show(args: AccountArgs) -> Result<ExitCode, CommandFailure> {
    let AccountName { provider, external_id } = args.account;
    let client = connect(&args.remote).await?;
    let request = GetAccountRequest { provider, external_id };
    let answer = client.accounts().get_account(request).await.map_err(refused)?;
    print(answer.into_inner().account, args.remote.output)
}

async fn update(args: UpdateAccountArgs) -> Result<ExitCode, CommandFailure> {
    let AccountName { provider, external_id } = args.account;
    let access_token = args.token.read()?;
    let given = [("name", args.name.is_some()), ("access_token", access_token.is_some())];
    let request = UpdateAccountRequest {
        provider,
        external_id,
        name: args.name.unwrap_or_default(),
        access_token: access_token.unwrap_or_default(),
        update_mask: Some(show::mask(&given)),
    };
    let client = connect(&args.remote).await?;
    let answer = client.accounts().update_account(request).await.map_err(refused)?;
    print(answer.into_inner().account, args.remote.output)
}

async fn delete(args: AccountArgs) -> Result<ExitCode, CommandFailure> {
    let AccountName { provider, external_id } = args.account;
    let gone = format!("{provider} {external_id} is gone");
    let client = connect(&args.remote).await?;
    let request = DeleteAccountRequest { provider, external_id };
    let answer = client.accounts().delete_account(request).await.map_err(refused)?;
    show::answer(args.remote.output, &answer.into_inner(), |_| gone);
    Ok(ExitCode::SUCCESS)
}

async fn link(args: LinkArgs) -> Result<ExitCode, CommandFailure> {
    let AccountName { provider, external_id } = args.account;
    let client = connect(&args.remote).await?;
    let request =
        LinkApplicationRequest { provider, external_id, application_id: args.application };
    let answer = client.accounts().link_application(request).await.map_err(refused)?;
    print(answer.into_inner().account, args.remote.output)
}

async fn unlink(args: LinkArgs) -> Result<ExitCode, CommandFailure> {
    let AccountName { provider, external_id } = args.account;
    let client = connect(&args.remote).await?;
    let request =
        UnlinkApplicationRequest { provider, external_id, application_id: args.application };
    let answer = client.accounts().unlink_application(request).await.map_err(refused)?;
    print(answer.into_inner().account, args.remote.output)
}

impl AccountTokenArgs {
    /// The token, without the line break behind it.
    fn read(&self) -> Result<Option<String>, CommandFailure> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let text = read_text(path).map_err(|error| CommandFailure {
            code: 2,
            text: format!("cannot read the token from {}: {error}", path.display()),
        })?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn print(account: Option<ExternalAccount>, output: Output) -> Result<ExitCode, CommandFailure> {
    show::answer(output, &account.unwrap_or_default(), |account| {
        let ExternalAccount { provider, external_id, name, application_id, .. } = account;
        let ExternalAccount { access_token, routes, unlinked, .. } = account;
        let linked = match application_id.as_str() {
            "" => String::new(),
            id => format!("  linked to {id}"),
        };
        let unused = match (access_token.as_str(), routes.as_slice()) {
            ("", _) | (_, [_, ..]) => "",
            (_, []) if *unlinked => "  unlinked: its token is not used until it is linked again",
            (_, []) => "  no route uses its token",
        };
        format!("{provider}  {external_id}  {name}{linked}{unused}").trim_end().to_owned()
    });
    Ok(ExitCode::SUCCESS)
}
