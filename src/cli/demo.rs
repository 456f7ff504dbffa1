//! `dispatch demo`: the main job, for real, in half a minute.
//!
//! The whole service in one process on free ports, with simulated providers that speak Vonage's, Meta's and
//! Twilio's APIs over HTTP: real adapters, real webhooks, signed, and a store in a folder that is removed
//! afterwards.

use std::{net::SocketAddr, process::ExitCode};

use anstyle::{AnsiColor, Style};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{CommandFailure, show, undo::TempFolder};
use crate::{
    builtin,
    client::{Client, Watch},
    config::Config,
    pb::{
        from_yaml,
        v1::{CreateWorkflowRequest, Event, EventKind, WorkflowState},
    },
    service::Service,
};

/// Messenger, to be read within four seconds, else SMS.
const WORKFLOW: &str = include_str!("demo.yaml");
/// WhatsApp by Meta, to be read within four seconds, else SMS by Twilio.
const OWN_ACCOUNTS: &str = include_str!("demo-own-accounts.yaml");
/// Gets the message, and never looks at it.
const NEVER_READS: &str = "1000000000000001";
/// Reads it after two seconds.
const READS: &str = "1000000000000002";

pub(super) async fn run() -> Result<ExitCode, CommandFailure> {
    let colour = show::wants_colour();
    let folder = TempFolder::new(&std::env::temp_dir(), "dispatch-demo");
    let folder =
        folder.map_err(|error| CommandFailure::new(format!("cannot make a folder: {error}")))?;
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config::default();
    config.listen.grpc = free;
    config.listen.http = free;
    config.listen.internal_http = free;
    config.store.data = folder.path().to_owned();
    config.sandbox.default_script = "accept; deliver 700ms".to_owned();
    config.sandbox.scripts = [
        (NEVER_READS.to_owned(), "accept; deliver 700ms".to_owned()),
        (READS.to_owned(), "accept; deliver 700ms; read 2s".to_owned()),
    ]
    .into();

    let stop = CancellationToken::new();
    let listener = TcpListener::bind(free).await;
    let listener =
        listener.map_err(|error| CommandFailure::new(format!("cannot listen: {error}")))?;
    let provider = listener.local_addr().map_err(|error| CommandFailure::new(error.to_string()))?;
    let started = Service::start(&config, |clock, http| {
        builtin::over_http(&config, clock, http, listener, stop.clone())
    });
    let service = started.await.map_err(|error| CommandFailure::new(error.to_string()))?;

    show::line(&format!(
        "A Dispatch service is listening on {}; its data is in {}.",
        service.grpc,
        folder.path().display()
    ));
    show::line(&format!(
        "Simulated providers speak Vonage's, Meta's and Twilio's APIs on {provider}. Nothing is really sent."
    ));
    let client = Client::connect(format!("http://{}", service.grpc)).await;
    let client = client.map_err(|error| CommandFailure::new(error.to_string()))?;

    title("1. The person never looks at Messenger: after four seconds an SMS goes out", colour);
    let first = live(&client, &WORKFLOW.replace("RECIPIENT", NEVER_READS), colour).await?;
    title("2. The person reads it in time: no SMS", colour);
    let second = live(&client, &WORKFLOW.replace("RECIPIENT", READS), colour).await?;
    title("3. On accounts of one's own: WhatsApp by Meta, not read, then an SMS by Twilio", colour);
    let third = live(&client, OWN_ACCOUNTS, colour).await?;

    show::line("");
    show::line("Now run the service itself:   dispatch serve");
    show::line(
        "and talk to it:               dispatch create -f docs/workflows/messenger-sms.yaml --watch",
    );
    stop.cancel();
    service.stop().await.map_err(|error| CommandFailure::new(error.to_string()))?;
    let told = [(first, 2), (second, 1), (third, 2)];
    if told.iter().all(|(seen, sends)| seen.end == WorkflowState::Succeeded && seen.sends == *sends)
    {
        return Ok(ExitCode::SUCCESS);
    }
    Err(CommandFailure::new("the demonstration did not go as it should have"))
}

/// What was seen of a workflow.
struct DemoRun {
    end: WorkflowState,
    sends: usize,
}

async fn live(client: &Client, workflow: &str, colour: bool) -> Result<DemoRun, CommandFailure> {
    let failed = |status: tonic::Status| CommandFailure::new(status.message().to_owned());
    let spec = from_yaml(workflow).map_err(CommandFailure::new)?;
    let request =
        CreateWorkflowRequest { workflow: Some(spec), ..CreateWorkflowRequest::default() };
    let created = client.create(request).await.map_err(failed)?;
    let id = created.workflow.map(|workflow| workflow.workflow_id).unwrap_or_default();
    let mut began = None;
    let mut seen = DemoRun { end: WorkflowState::Unspecified, sends: 0 };
    let see = |event: Event| {
        match event.kind() {
            EventKind::Created => began = event.time.map(|time| show::millis(&time)),
            EventKind::AttemptStarted => seen.sends += 1,
            EventKind::Ended => seen.end = event.state(),
            _ => {}
        }
        show::line(&show::event(&event, began, colour));
        true
    };
    client.watch(Watch::Workflow(id), None, false, see).await.map_err(failed)?;
    Ok(seen)
}

fn title(text: &str, colour: bool) {
    let style = if colour {
        Style::new().bold().fg_color(Some(AnsiColor::Magenta.into()))
    } else {
        Style::new()
    };
    show::line(&format!("\n{style}{text}{style:#}\n"));
}
