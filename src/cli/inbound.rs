//! `dispatch inbound`: what persons write to senders.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{
    CommandFailure, RemoteArgs, TenantFilter,
    remote::{connect, refused},
    show,
};
use crate::pb::v1::{
    self, Address, ContentsState, InboundMessage, StreamInboundResponse, StreamStart,
    address::Endpoint, message::Content, stream_inbound_request::Start,
};

#[derive(Debug, Subcommand)]
pub(super) enum InboundCommand {
    /// List what is kept, oldest first.
    List(ListInboundArgs),
    /// Follow what comes from now on, live.
    Watch(WatchInboundArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListInboundArgs {
    /// How many.
    #[arg(long, default_value_t = 1000)]
    limit: usize,
    #[command(flatten)]
    tenant_filter: TenantFilter,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct WatchInboundArgs {
    /// Go on behind this token.
    #[arg(long, value_name = "TOKEN")]
    resume: Option<String>,
    #[command(flatten)]
    tenant_filter: TenantFilter,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(super) async fn run(command: InboundCommand) -> Result<ExitCode, CommandFailure> {
    match command {
        InboundCommand::List(args) => list(args).await,
        InboundCommand::Watch(args) => watch(args).await,
    }
}

async fn list(args: ListInboundArgs) -> Result<ExitCode, CommandFailure> {
    let client = connect(&args.remote).await?.of_tenant(args.tenant_filter.tenant);
    let start = Start::Position(StreamStart::Beginning as i32);
    let (mut left, mut is_masked) = (args.limit, false);
    if left == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let see = |response: &StreamInboundResponse| {
        let Some(message) = &response.message else { return !response.up_to_date };
        is_masked |= message.contents() == ContentsState::Masked;
        show::answer(args.remote.output, message, row);
        left -= 1;
        left > 0
    };
    client.watch_inbound(start, see).await.map_err(refused)?;
    show::tell_of_masks(args.remote.output, is_masked);
    Ok(ExitCode::SUCCESS)
}

async fn watch(args: WatchInboundArgs) -> Result<ExitCode, CommandFailure> {
    let client = connect(&args.remote).await?.of_tenant(args.tenant_filter.tenant);
    let start = match args.resume {
        Some(token) => Start::ResumeToken(token),
        None => Start::Position(StreamStart::Now as i32),
    };
    let output = args.remote.output;
    let mut has_told = false;
    let see = |response: &StreamInboundResponse| {
        if let Some(message) = &response.message {
            let is_masked = message.contents() == ContentsState::Masked;
            show::tell_of_masks(output, is_masked && !has_told);
            has_told |= is_masked;
            show::answer(output, response, |it| it.message.as_ref().map_or(String::new(), row));
        }
        true
    };
    client.watch_inbound(start, see).await.map_err(refused)?;
    Ok(ExitCode::SUCCESS)
}

fn row(message: &InboundMessage) -> String {
    let address = |address: &Option<Address>| match address.as_ref().map(|it| &it.endpoint) {
        Some(Some(Endpoint::Id(text) | Endpoint::Number(text))) => text.clone(),
        Some(None) | None => String::new(),
    };
    let channel = message.from_address.as_ref().map_or("", |address| &address.channel);
    let when = message.create_time.as_ref().map_or(String::new(), ToString::to_string);
    let (from, to) = (address(&message.from_address), address(&message.to_address));
    let said: Vec<_> = message.content.iter().map(said).collect();
    let quoted = match message.workflow_id.as_str() {
        "" => String::new(),
        workflow => format!("  answers {workflow}"),
    };
    format!("{when}  {channel}  {from} to {to}  {}{quoted}", said.join(" "))
}

/// What people read of it.
fn said(message: &v1::Message) -> String {
    let file = |kind: &str, url: &str, caption: &str| match caption {
        "" => format!("[{kind} {url}]"),
        caption => format!("[{kind} {url}] {caption}"),
    };
    match &message.content {
        Some(Content::Text(text)) => text.clone(),
        Some(Content::Image(it)) => file("image", &it.url, &it.caption),
        Some(Content::Audio(it)) => file("audio", &it.url, &it.caption),
        Some(Content::Video(it)) => file("video", &it.url, &it.caption),
        Some(Content::File(it)) => file("file", &it.url, &it.caption),
        Some(Content::Location(it)) => format!("[location {}, {}]", it.latitude, it.longitude),
        Some(Content::Template(it)) => format!("[template {}]", it.name),
        Some(Content::Code(_)) => "[code]".to_owned(),
        Some(Content::Custom(_)) => "[custom]".to_owned(),
        Some(Content::Masked(it)) => format!("[{}, {} characters]", it.kind, it.characters),
        None => String::new(),
    }
}
