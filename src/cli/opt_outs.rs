//! `dispatch opt-outs`: who wants no messages.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use dispatch_contract::AddressForm;

use super::{
    CommandFailure, RemoteArgs, TenantFilter, read_text,
    remote::{connect, refused},
    show,
};
use crate::{
    client::Client,
    pb::v1::{
        Address, BatchCreateOptOutsRequest, BatchCreateOptOutsResponse, DeleteOptOutsRequest,
        ListChannelsRequest, ListOptOutsRequest, OptOut, OptOutSource, address::Endpoint,
    },
};

/// How many one call takes.
const AT_ONCE: usize = 1000;

#[derive(Debug, Subcommand)]
pub(super) enum OptOutsCommand {
    /// List who wants no messages.
    List(ListOptOutsArgs),
    /// Put a person on the list: no message goes out to them on the channel any more.
    Add(OptOutArgs),
    /// Take a person off the list.
    Remove(RemoveArgs),
    /// Put the persons of a file on the list, one a line. What stands there already stays; after an error the
    /// file may be imported again.
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListOptOutsArgs {
    /// Only on this channel.
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,
    /// Only of this person.
    #[arg(long, value_name = "ADDRESS", requires = "channel")]
    recipient: Option<String>,
    #[command(flatten)]
    about: AboutArgs,
    /// How many.
    #[arg(long, default_value_t = 1000)]
    limit: usize,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct OptOutArgs {
    /// The channel.
    channel: String,
    /// The person, as workflows name them: a number, or an id.
    recipient: String,
    #[command(flatten)]
    about: AboutArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// Those entries that count for every tenant, and no others: what the person said to a sender, or a provider
    /// by refusing a message. For operators.
    #[arg(long)]
    of_every_tenant: bool,
    #[command(flatten)]
    opt_out: OptOutArgs,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The channel.
    channel: String,
    /// The file: a number or an id a line, as workflows name recipients; `-` is standard input. Empty lines and
    /// those that begin with # are passed over.
    file: PathBuf,
    #[command(flatten)]
    about: AboutArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
struct AboutArgs {
    /// About this sender only, as workflows name it; without it about every one.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "SENDER")]
    sender: String,
    #[command(flatten)]
    tenant_filter: TenantFilter,
}

pub(super) async fn run(command: OptOutsCommand) -> Result<ExitCode, CommandFailure> {
    match command {
        OptOutsCommand::List(args) => list(args).await,
        OptOutsCommand::Add(args) => add(args).await,
        OptOutsCommand::Remove(args) => remove(args).await,
        OptOutsCommand::Import(args) => import(args).await,
    }
}

async fn list(args: ListOptOutsArgs) -> Result<ExitCode, CommandFailure> {
    let client = connect(&args.remote).await?;
    let channel = args.channel.unwrap_or_default();
    let recipient = match &args.recipient {
        Some(recipient) => Some(Addresses::of(&client, &channel).await?.address(recipient)),
        None => None,
    };
    let mut request = ListOptOutsRequest {
        channel,
        recipient,
        sender: args.about.sender,
        tenant: args.about.tenant_filter.tenant,
        page_size: 0,
        page_token: String::new(),
    };
    let mut left = args.limit;
    while left > 0 {
        request.page_size = i32::try_from(left.min(AT_ONCE)).unwrap_or_default();
        let page = client.opt_outs().list_opt_outs(request.clone()).await.map_err(refused)?;
        let page = page.into_inner();
        for opt_out in page.opt_outs.iter().take(left) {
            show::answer(args.remote.output, opt_out, row);
        }
        left = left.saturating_sub(page.opt_outs.len());
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(args: OptOutArgs) -> Result<ExitCode, CommandFailure> {
    let client = connect(&args.remote).await?;
    let addresses = Addresses::of(&client, &args.channel).await?;
    let opt_outs = vec![addresses.opt_out(&args.recipient, &args.about.sender)];
    let request = BatchCreateOptOutsRequest { opt_outs, tenant: args.about.tenant_filter.tenant };
    let answer = client.opt_outs().batch_create_opt_outs(request).await.map_err(refused)?;
    show::answer(args.remote.output, &answer.into_inner(), |answer| match answer.created_count {
        0 => "on the list already".to_owned(),
        _ => "on the list".to_owned(),
    });
    Ok(ExitCode::SUCCESS)
}

async fn remove(args: RemoveArgs) -> Result<ExitCode, CommandFailure> {
    let RemoveArgs { of_every_tenant, opt_out: args } = args;
    let client = connect(&args.remote).await?;
    let addresses = Addresses::of(&client, &args.channel).await?;
    let request = DeleteOptOutsRequest {
        recipient: Some(addresses.address(&args.recipient)),
        sender: args.about.sender,
        tenant: args.about.tenant_filter.tenant,
        of_every_tenant,
    };
    let answer = client.opt_outs().delete_opt_outs(request).await.map_err(refused)?;
    show::answer(args.remote.output, &answer.into_inner(), |answer| match answer.deleted_count {
        1 => "one entry is off the list".to_owned(),
        count => format!("{count} entries are off the list"),
    });
    Ok(ExitCode::SUCCESS)
}

async fn import(args: ImportArgs) -> Result<ExitCode, CommandFailure> {
    let text = read_text(&args.file).map_err(|error| CommandFailure {
        code: 2,
        text: format!("cannot read {}: {error}", args.file.display()),
    })?;
    let client = connect(&args.remote).await?;
    let addresses = Addresses::of(&client, &args.channel).await?;
    let lines = text.lines().map(str::trim).enumerate();
    let lines: Vec<_> =
        lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect();
    let mut all = BatchCreateOptOutsResponse::default();
    for some in lines.chunks(AT_ONCE) {
        let opt_outs = some.iter().map(|(_, line)| addresses.opt_out(line, &args.about.sender));
        let request = BatchCreateOptOutsRequest {
            opt_outs: opt_outs.collect(),
            tenant: args.about.tenant_filter.tenant.clone(),
        };
        match client.opt_outs().batch_create_opt_outs(request).await {
            Ok(answer) => all.created_count += answer.into_inner().created_count,
            Err(status) => {
                let (first, last) = (some[0].0 + 1, some[some.len() - 1].0 + 1);
                let failure = refused(status);
                let text = format!(
                    "of lines {first} to {last} none was taken, those before were: {}",
                    failure.text
                );
                return Err(CommandFailure { text, ..failure });
            }
        }
    }
    let count = lines.len();
    show::answer(args.remote.output, &all, |answer| {
        format!("{count} are on the list, {} of them new", answer.created_count)
    });
    Ok(ExitCode::SUCCESS)
}

/// How addresses of a channel are written.
struct Addresses {
    channel: String,
    has_numbers: bool,
}

impl Addresses {
    async fn of(client: &Client, channel: &str) -> Result<Addresses, CommandFailure> {
        let answer = client.raw().list_channels(ListChannelsRequest::default()).await;
        let channels = answer.map_err(refused)?.into_inner().channels;
        let of_channel = channels.iter().filter(|it| it.name == channel);
        let mut forms = of_channel.flat_map(|it| &it.adapters).flat_map(|it| &it.recipient_forms);
        let has_numbers = forms.any(|form| form.name == AddressForm::E164.name());
        Ok(Addresses { channel: channel.to_owned(), has_numbers })
    }

    fn address(&self, text: &str) -> Address {
        let is_number = self.has_numbers && text.bytes().all(|byte| byte.is_ascii_digit());
        let endpoint = match is_number {
            true => Endpoint::Number(text.to_owned()),
            false => Endpoint::Id(text.to_owned()),
        };
        Address { channel: self.channel.clone(), endpoint: Some(endpoint) }
    }

    fn opt_out(&self, recipient: &str, sender: &str) -> OptOut {
        let (recipient, sender) = (Some(self.address(recipient)), sender.to_owned());
        OptOut { recipient, sender, ..OptOut::default() }
    }
}

fn row(opt_out: &OptOut) -> String {
    let recipient = opt_out.recipient.clone().unwrap_or_default();
    let who = match &recipient.endpoint {
        Some(Endpoint::Id(text) | Endpoint::Number(text)) => text.as_str(),
        None => "(forgotten)",
    };
    let sender = match opt_out.sender.as_str() {
        "" => "from nobody".to_owned(),
        sender => format!("not from {sender}"),
    };
    let by = match opt_out.account.as_str() {
        "" => String::new(),
        account => format!(" by {account}"),
    };
    let said = match opt_out.source() {
        OptOutSource::Unspecified | OptOutSource::Caller => "said a caller",
        OptOutSource::Person => "said the person",
        OptOutSource::Provider => "said the provider",
    };
    let tenant = match opt_out.tenant.as_str() {
        "" => "  every tenant's",
        _ => "",
    };
    let when = opt_out.create_time.as_ref().map_or(String::new(), |time| format!("  {time}"));
    format!("{}  {who}  {sender}{by}  {said}{when}{tenant}", recipient.channel)
}
