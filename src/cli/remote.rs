//! The commands that talk to a service.

use std::{collections::BTreeMap, path::Path, process::ExitCode, time::Duration};

use tonic::{
    Code, Request, Status,
    transport::{Certificate, ClientTlsConfig, Identity},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

use super::{
    CommandFailure, CreateWorkflowArgs, ListInTenantArgs, ListWorkflowsArgs, Output, RemoteArgs,
    WatchArgs, WorkflowArgs, reach, read_text, show,
};
use crate::{
    client::{Client, Credential, Watch},
    pb::{
        from_json, from_yaml,
        v1::{
            ContentsState, CreateWorkflowRequest, Event, EventKind, ListChannelsResponse,
            ListWorkflowsRequest, WorkflowSpec, WorkflowState,
        },
    },
    terminal,
};

/// How long the first answer may take until it is left to the call itself.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn create(args: CreateWorkflowArgs) -> Result<ExitCode, CommandFailure> {
    let spec = read_spec(&args.file).map_err(|text| CommandFailure { code: 3, text })?;
    let client = connect(&args.remote).await?;
    let request = CreateWorkflowRequest {
        workflow: Some(spec),
        request_id: args.request_id.unwrap_or_default(),
        validate_only: args.validate_only,
        ..CreateWorkflowRequest::default()
    };
    let created = client.create(request).await.map_err(refused)?;
    let workflow = created.workflow.clone().unwrap_or_default();
    show::answer(args.remote.output, &created, |created| {
        let id = created.workflow.as_ref().map_or("", |workflow| &workflow.workflow_id);
        let warnings = created.warnings.iter();
        let warnings = warnings.map(|it| format!("\nwarning: {}: {}", it.field, it.description));
        match created.already_existed {
            _ if args.validate_only => {
                format!("valid; nothing was created{}", warnings.collect::<String>())
            }
            true => format!("{id}  (created before)"),
            false => id.to_owned(),
        }
    });
    if args.watch && !args.validate_only {
        let watch = Watch::Workflow(workflow.workflow_id);
        return follow(&client, watch, None, false, args.remote.output).await;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn get(args: WorkflowArgs) -> Result<ExitCode, CommandFailure> {
    let workflow = connect(&args.remote).await?.get(args.id).await.map_err(refused)?;
    show::answer(args.remote.output, &workflow, show::workflow);
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn why(args: WorkflowArgs) -> Result<ExitCode, CommandFailure> {
    let workflow = connect(&args.remote).await?.get(args.id).await.map_err(refused)?;
    let colour = show::wants_colour();
    show::answer(args.remote.output, &workflow, |workflow| show::story(workflow, colour));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn watch(args: WatchArgs) -> Result<ExitCode, CommandFailure> {
    let labels = labels(&args.label)?;
    let client = connect(&args.remote).await?;
    let what = match args.id {
        Some(id) => Watch::Workflow(id),
        None if labels.is_empty() => Watch::All,
        None => Watch::Labels(labels),
    };
    let client = client.of_tenant(args.tenant_filter.tenant);
    follow(&client, what, args.resume, args.late, args.remote.output).await
}

pub(super) async fn list(args: ListWorkflowsArgs) -> Result<ExitCode, CommandFailure> {
    let mut states = Vec::new();
    for name in &args.state {
        let full = format!("WORKFLOW_STATE_{}", name.to_uppercase());
        let state = WorkflowState::from_str_name(&full).ok_or_else(|| CommandFailure {
            code: 2,
            text: format!(
                "{name} is no state; there are SCHEDULED, RUNNING, SUCCEEDED, FAILED, UNCONFIRMED, CANCELED"
            ),
        })?;
        states.push(state as i32);
    }
    let client = connect(&args.remote).await?;
    let mut request = ListWorkflowsRequest {
        states,
        labels: labels(&args.label)?,
        client_ref: args.client_ref.unwrap_or_default(),
        tenant: args.tenant_filter.tenant,
        ..ListWorkflowsRequest::default()
    };
    let (mut left, mut is_masked) = (args.limit, false);
    while left > 0 {
        request.page_size = left.min(500) as i32;
        let page = client.list(request.clone()).await.map_err(refused)?;
        for workflow in page.workflows.iter().take(left) {
            is_masked |= workflow.contents() == ContentsState::Masked;
            show::answer(args.remote.output, workflow, show::row);
        }
        left = left.saturating_sub(page.workflows.len());
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    show::tell_of_masks(args.remote.output, is_masked);
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn cancel(args: WorkflowArgs) -> Result<ExitCode, CommandFailure> {
    let canceled = connect(&args.remote).await?.cancel(args.id).await.map_err(refused)?;
    show::answer(args.remote.output, &canceled, |canceled| {
        let id = canceled.workflow.as_ref().map_or("", |workflow| &workflow.workflow_id);
        match canceled.started_attempt_ids.len() {
            0 => format!("{id} canceled; nothing of it was sent"),
            1 => format!(
                "{id} canceled; one message had started before and is recorded, not taken back"
            ),
            count => format!(
                "{id} canceled; {count} messages had started before and are recorded, not taken back"
            ),
        }
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn channels(args: ListInTenantArgs) -> Result<ExitCode, CommandFailure> {
    let ListInTenantArgs { tenant_filter, remote } = args;
    let client = connect(&remote).await?.of_tenant(tenant_filter.tenant);
    let channels = client.channels().await.map_err(refused)?;
    show::answer(remote.output, &ListChannelsResponse { channels }, |listed| {
        let shown: Vec<_> = listed.channels.iter().map(show::channel).collect();
        shown.join("\n\n")
    });
    Ok(ExitCode::SUCCESS)
}

async fn follow(
    client: &Client,
    what: Watch,
    resume: Option<String>,
    late: bool,
    output: Output,
) -> Result<ExitCode, CommandFailure> {
    let colour = show::wants_colour();
    let is_one = matches!(what, Watch::Workflow(_));
    let mut began = None;
    let mut end = WorkflowState::Unspecified;
    let see = |event: Event| {
        if event.kind() == EventKind::Created && is_one {
            began = event.time.map(|time| show::millis(&time));
        }
        if event.kind() == EventKind::Ended {
            end = event.state();
        }
        show::answer(output, &event, |event| match is_one {
            true => show::event(event, began, colour),
            false => format!("{}  {}", event.workflow_id, show::event(event, None, colour)),
        });
        true
    };
    client.watch(what.clone(), resume, late, see).await.map_err(refused)?;
    // Resumed behind its end, the stream had nothing to tell.
    match what {
        Watch::Workflow(id) if end == WorkflowState::Unspecified => {
            end = client.get(id).await.map_err(refused)?.state();
        }
        Watch::Workflow(_) => {}
        Watch::Labels(_) | Watch::All => return Ok(ExitCode::SUCCESS),
    }
    Ok(ExitCode::from(match end {
        WorkflowState::Unspecified
        | WorkflowState::Scheduled
        | WorkflowState::Running
        | WorkflowState::Succeeded => 0,
        WorkflowState::Failed => 10,
        WorkflowState::Unconfirmed => 11,
        WorkflowState::Canceled => 12,
    }))
}

pub(super) async fn connect(args: &RemoteArgs) -> Result<Client, CommandFailure> {
    let wrong = |text: String| CommandFailure { code: 2, text };
    let credential = match (&args.key, &args.token) {
        (Some(key), _) => Credential::key(&key.0)
            .ok_or_else(|| wrong("--key (DISPATCH_KEY) must be ID:SECRET".to_owned()))?,
        (None, Some(token)) => Credential::token(token.0.trim())
            .ok_or_else(|| wrong("--token (DISPATCH_TOKEN) must be one line".to_owned()))?,
        (None, None) => Credential::none(),
    };
    // grpcurl's form works as well.
    let has_scheme = args.server.contains("://");
    let server = if has_scheme { args.server.clone() } else { format!("http://{}", args.server) };
    let is_tls = server.starts_with("https://");
    if !(server.starts_with("http://") || is_tls) {
        return Err(wrong(format!("{server} is no address; write http://HOST:PORT or https://…")));
    }
    let mut endpoint = Client::endpoint(server.clone())
        .map_err(|_| wrong(format!("{} is no address; write http://HOST:PORT", args.server)))?;
    if is_tls {
        endpoint = endpoint
            .tls_config(tls(args)?)
            .map_err(|error| wrong(format!("--ca, --cert or --cert-key is not right: {error}")))?;
    }
    let channel = match endpoint.connect().await {
        Ok(channel) => channel,
        Err(error) => {
            let text = match reach::explain(&server, &error).await {
                Some(text) => text,
                None => format!(
                    "cannot reach {}; is `dispatch serve` running there? (--server or DISPATCH_SERVER \
                     says where){}",
                    args.server,
                    if is_tls { because(&error) } else { String::new() }
                ),
            };
            return Err(CommandFailure { code: 6, text });
        }
    };
    // A connection is not yet somebody who speaks gRPC.
    let mut probe = Request::new(HealthCheckRequest::default());
    probe.set_timeout(PROBE_PATIENCE);
    if let Err(status) = HealthClient::new(channel.clone()).check(probe).await
        && is_lost(&status)
        && let Some(text) = reach::explain(&server, &status).await
    {
        return Err(CommandFailure { code: 6, text });
    }
    Ok(Client::over(channel).with(credential))
}

/// Whom to trust, and what to show.
fn tls(args: &RemoteArgs) -> Result<ClientTlsConfig, CommandFailure> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| CommandFailure {
            code: 2,
            text: format!("cannot read {}: {error}", path.display()),
        })
    };
    let mut tls = ClientTlsConfig::new();
    tls = match &args.ca {
        Some(ca) => tls.ca_certificate(Certificate::from_pem(read(ca)?)),
        None => tls.with_native_roots(),
    };
    if let (Some(cert), Some(key)) = (&args.cert, &args.cert_key) {
        tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(tls)
}

/// The last reason of a failed connection: of TLS's, the one that tells something.
fn because(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    format!("\n  {last}")
}

/// A workflow file: JSON is YAML too, but says more clearly where it is wrong.
fn read_spec(path: &Path) -> Result<WorkflowSpec, String> {
    let shown = path.display();
    let text = read_text(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let is_json = text.trim_start().starts_with('{');
    let spec = if is_json { from_json(&text) } else { from_yaml(&text) };
    spec.map_err(|error| format!("{shown}: {error}"))
}

fn labels(given: &[String]) -> Result<BTreeMap<String, String>, CommandFailure> {
    let parsed = given.iter().map(|label| label.split_once('=').ok_or(label));
    let pairs: Result<Vec<_>, _> = parsed.collect();
    pairs
        .map(|pairs| {
            pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
        })
        .map_err(|label| CommandFailure {
            code: 2,
            text: format!("{label} is no label; write KEY=VALUE"),
        })
}

/// Whether this is the connection's own error and not a server's answer: those have no source.
fn is_lost(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// A refusal as a person reads it: each wrong field on a line of its own.
pub(super) fn refused(status: Status) -> CommandFailure {
    if is_lost(&status) {
        let text = "the service went away before it answered; when it is back, run this again: nothing \
                    that it acknowledged is lost";
        return CommandFailure { code: 6, text: text.to_owned() };
    }
    let code = match status.code() {
        Code::InvalidArgument | Code::OutOfRange => 3,
        Code::NotFound => 4,
        Code::FailedPrecondition | Code::AlreadyExists => 5,
        Code::Unauthenticated | Code::PermissionDenied => 7,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => 6,
        _ => 1,
    };
    // A server's words are somebody else's, too.
    let mut text = terminal::escaped(status.message()).into_owned();
    if status.code() == Code::Unauthenticated {
        text.push_str(" (--key or DISPATCH_KEY, --token or DISPATCH_TOKEN)");
    }
    if let Some(request) = status.get_details_bad_request()
        && request.field_violations.len() > 1
    {
        text = "the request is wrong:".to_owned();
        for violation in request.field_violations {
            let (field, description) =
                (terminal::escaped(&violation.field), terminal::escaped(&violation.description));
            text.push_str(&format!("\n  {field}: {description}"));
        }
    }
    // What is wrong with a request says itself; any other reason is looked up in docs/errors.md.
    if let Some(reason) = status.get_details_error_info().map(|info| info.reason)
        && reason != "INVALID_REQUEST"
    {
        text.push_str(&format!(" [{}]", terminal::escaped(&reason)));
    }
    CommandFailure { code, text }
}
