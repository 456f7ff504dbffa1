//! `dispatch callbacks`: what applications were not yet told.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::{
    CommandFailure, RemoteArgs, TenantFilter,
    remote::{connect, refused},
    show,
};
use crate::{
    client::Client,
    pb::v1::{
        Callback, CallbackState, CallbackSubject, ListCallbacksRequest, ResendCallbackRequest,
        resend_callback_request::Which,
    },
};

#[derive(Debug, Subcommand)]
pub(super) enum CallbacksCommand {
    /// List callbacks that are not delivered, those of older workflows first.
    List(ListCallbacksArgs),
    /// Show one callback.
    Show(CallbackArgs),
    /// Send callbacks once more: one, or all dead letters of an application.
    Resend(ResendArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListCallbacksArgs {
    /// Only of this workflow.
    #[arg(long, value_name = "ID")]
    workflow: Option<String>,
    /// Only of this application.
    #[arg(long, value_name = "ID")]
    application: Option<String>,
    /// Only those that wait, or those that were given up.
    #[arg(long, value_enum)]
    state: Option<WhichState>,
    #[command(flatten)]
    tenant_filter: TenantFilter,
    /// How many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WhichState {
    /// To be delivered.
    Waiting,
    /// Given up, and kept.
    DeadLettered,
}

#[derive(Debug, Args)]
pub(super) struct CallbackArgs {
    /// The callback's id.
    id: String,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct ResendArgs {
    /// The callback's id.
    #[arg(required_unless_present = "application")]
    id: Option<String>,
    /// All dead letters of this application.
    #[arg(long, value_name = "ID", conflicts_with = "id")]
    application: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(super) async fn run(command: CallbacksCommand) -> Result<ExitCode, CommandFailure> {
    match command {
        CallbacksCommand::List(args) => list(args).await,
        CallbacksCommand::Show(args) => show_one(args).await,
        CallbacksCommand::Resend(args) => resend(args).await,
    }
}

async fn list(args: ListCallbacksArgs) -> Result<ExitCode, CommandFailure> {
    let state = match args.state {
        None => CallbackState::Unspecified,
        Some(WhichState::Waiting) => CallbackState::Waiting,
        Some(WhichState::DeadLettered) => CallbackState::DeadLettered,
    };
    let request = ListCallbacksRequest {
        workflow_id: args.workflow.unwrap_or_default(),
        application_id: args.application.unwrap_or_default(),
        state: state as i32,
        tenant: args.tenant_filter.tenant,
        ..ListCallbacksRequest::default()
    };
    let output = args.remote.output;
    let client = connect(&args.remote).await?;
    let see = |callback: Callback| {
        show::answer(output, &callback, row);
        true
    };
    each(&client, request, args.limit, see).await?;
    Ok(ExitCode::SUCCESS)
}

async fn show_one(args: CallbackArgs) -> Result<ExitCode, CommandFailure> {
    let workflow = args.id.split_once('.').map_or("", |(workflow, _)| workflow);
    if workflow.is_empty() {
        let text = format!("{} is no callback's id; `dispatch callbacks list` tells them", args.id);
        return Err(CommandFailure { code: 3, text });
    }
    let request = ListCallbacksRequest {
        workflow_id: workflow.to_owned(),
        ..ListCallbacksRequest::default()
    };
    let client = connect(&args.remote).await?;
    let mut found = None;
    let see = |callback: Callback| {
        if callback.callback_id == args.id {
            found = Some(callback);
        }
        found.is_none()
    };
    each(&client, request, usize::MAX, see).await?;
    let Some(callback) = found else {
        let text =
            format!("there is no callback {}: it was delivered, or there never was one", args.id);
        return Err(CommandFailure { code: 4, text });
    };
    show::answer(args.remote.output, &callback, whole);
    Ok(ExitCode::SUCCESS)
}

async fn resend(args: ResendArgs) -> Result<ExitCode, CommandFailure> {
    let which = match (args.id, args.application) {
        (Some(id), _) => Some(Which::CallbackId(id)),
        (None, Some(application)) => Some(Which::ApplicationId(application)),
        (None, None) => None,
    };
    let client = connect(&args.remote).await?;
    let resent = client.callbacks().resend_callback(ResendCallbackRequest { which }).await;
    let resent = resent.map_err(refused)?.into_inner();
    show::answer(args.remote.output, &resent, |told| format!("{} sent once more", told.resent));
    Ok(ExitCode::SUCCESS)
}

/// Hands up to `limit` callbacks to `see`, until that returns `false`.
async fn each(
    client: &Client,
    mut request: ListCallbacksRequest,
    limit: usize,
    mut see: impl FnMut(Callback) -> bool,
) -> Result<(), CommandFailure> {
    let mut left = limit;
    while left > 0 {
        request.page_size = left.min(500) as i32;
        let page = client.callbacks().list_callbacks(request.clone()).await.map_err(refused)?;
        let page = page.into_inner();
        for callback in page.callbacks.into_iter().take(left) {
            left -= 1;
            if !see(callback) {
                return Ok(());
            }
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = page.next_page_token;
    }
    Ok(())
}

fn row(callback: &Callback) -> String {
    let Callback { callback_id: id, attempt_count, last_error, .. } = callback;
    let times = if *attempt_count == 1 { "time" } else { "times" };
    let tried = match attempt_count {
        0 => "not tried".to_owned(),
        count => format!("tried {count} {times}"),
    };
    let colon = if last_error.is_empty() { "" } else { ": " };
    format!("{id}  {}  {}  {tried}{colon}{last_error}", state(callback), subject(callback))
}

fn whole(callback: &Callback) -> String {
    let mut lines = vec![
        ("id", callback.callback_id.clone()),
        ("workflow", callback.workflow_id.clone()),
        ("message", callback.message_id.clone()),
        ("application", callback.application_id.clone()),
        ("tells", subject(callback).to_owned()),
        ("state", state(callback).to_owned()),
        ("attempts", callback.attempt_count.to_string()),
    ];
    let times = [
        ("created", &callback.create_time),
        ("next attempt", &callback.next_attempt_time),
        ("given up", &callback.dead_letter_time),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            lines.push((name, time.to_string()));
        }
    }
    lines.push(("last error", callback.last_error.clone()));
    let shown = lines.iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("{name:<12} {value}")).collect::<Vec<_>>().join("\n")
}

fn state(callback: &Callback) -> &'static str {
    match callback.state() {
        CallbackState::Unspecified | CallbackState::Waiting => "WAITING",
        CallbackState::DeadLettered => "DEAD_LETTERED",
    }
}

fn subject(callback: &Callback) -> &'static str {
    match callback.subject() {
        CallbackSubject::Unspecified | CallbackSubject::MessageStatus => "message status",
        CallbackSubject::FinalReport => "final report",
        CallbackSubject::InboundMessage => "inbound message",
    }
}
