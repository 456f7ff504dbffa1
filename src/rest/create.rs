//! Creates, in the words of whichever old API: read, judge, ask the engine, answer.
//!
//! What a workflow may be is judged where gRPC's requests are judged; an old API adds its own bounds
//! and its own names.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use dispatch_contract::UnixMillis;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    InvalidParameter, Problem, Rest,
    asked::Asked,
    body::{self, accepts_json},
    caller::caller,
    diagnostics::Diagnostics,
    request::beside,
    v01, v1,
};
use crate::{
    access::{Admitted, Caller, Destinations, check_url},
    api::{Error, RequestViolation, parse},
    contents::WorkflowRequest,
    machine::{WorkflowId, message_uuid},
    pb::v1::{CreateWorkflowRequest, WorkflowSpec},
    store::{ApiDialect, Requester},
};

/// The header that makes a repeat of a request the same request.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// How one of the old APIs asks, and is answered.
struct Api {
    dialect: ApiDialect,
    read: fn(&Value, &mut Diagnostics) -> Option<Asked>,
    name: fn(&RequestViolation, &WorkflowSpec) -> Option<InvalidParameter>,
    refuse: fn(Vec<InvalidParameter>) -> Problem,
    answer: fn(WorkflowId) -> Value,
}

const DISPATCH: Api = Api {
    dialect: ApiDialect::DispatchV01,
    read: v01::asked,
    name: v01::parameter,
    refuse: Problem::invalid,
    answer: |id| json!({ "dispatch_uuid": id.to_string() }),
};

const WORKFLOWS: Api = Api {
    dialect: ApiDialect::WorkflowsBeta,
    answer: |id| json!({ "workflow_uuid": id.to_string() }),
    ..DISPATCH
};

const MESSAGES_V01: Api = Api {
    dialect: ApiDialect::MessagesV01,
    read: v01::message,
    name: v01::message_parameter,
    answer: |id| json!({ "message_uuid": message_uuid(id, 0).to_string() }),
    ..DISPATCH
};

const MESSAGES: Api = Api {
    dialect: ApiDialect::MessagesV1,
    read: v1::asked,
    name: v1::parameter,
    refuse: Problem::invalid_v1,
    // The Messages API tells of a workflow where there is failover only; nobody minds one more.
    answer: |id| json!({ "message_uuid": message_uuid(id, 0).to_string(), "workflow_id": id.to_string() }),
};

/// `POST /v0.1/dispatch`
pub(super) async fn dispatch(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    rest.answer(create(&rest, request, &DISPATCH).await)
}

/// `POST /beta/workflows`
pub(super) async fn workflows(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    rest.answer(create(&rest, request, &WORKFLOWS).await)
}

/// `POST /v0.1/messages` and `POST /beta/messages`: the old clients' `channel.send`
pub(super) async fn message(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    rest.answer(create(&rest, request, &MESSAGES_V01).await)
}

/// `POST /v1/messages`
pub(super) async fn messages(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    rest.answer(create(&rest, request, &MESSAGES).await)
}

async fn create(rest: &Rest, request: Request, api: &Api) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let caller = caller(rest, &head)?;
    accepts_json(&head.headers)?;
    let mut diagnostics = Diagnostics::default();
    let request_id = idempotency_key(&head.headers, &mut diagnostics);
    // What is no key names no request.
    let key = request_id.as_deref().filter(|_| !diagnostics.is_wrong());
    let known = || rest.engine.existing_request(&caller.tenant, key?);
    // Before any work is put into it: a refusal must be cheap. Only a repeat is read in spite of it.
    let place = match place(rest, &caller) {
        Err(refusal) if known().is_none() => return Err(refusal),
        place => place,
    };
    let (judged, asked_for) = {
        // Let go of before anything is waited for: a tree is many times its text.
        let body = body::json(&head.headers, body, rest.body_timeout).await?;
        let (routes, destinations) = (rest.engine.routes(), rest.destinations.get());
        let rules = parse::TenantRoutes::of(&rest.engine, &rest.access, &routes, &caller.tenant);
        let by: (&dyn parse::Rules, _) = (&rules, &*destinations);
        let (asked, now) = (request_id.as_deref(), rest.engine.clock().wall());
        let judged = judge(api, &body, asked, by, now, &mut diagnostics);
        let asked_for = key.and_then(|key| match &judged {
            Ok(judged) => Some(judged.request.clone()),
            Err(_) => repeated(api, &body, key),
        });
        (judged, asked_for)
    };
    let created = match (place, judged) {
        (Ok(_place), Ok(judged)) => {
            new(rest, &caller, judged, request_id.clone(), &mut diagnostics).await
        }
        (Err(refusal), _) | (Ok(_), Err(refusal)) => Err(refusal),
    };
    let id = match created {
        Ok(id) => id,
        Err(refusal) => match known().zip(asked_for) {
            Some((known, asked)) => rest.engine.repeated(known, &asked)?,
            None => return Err(refusal),
        },
    };
    let mut response = body::answer(StatusCode::ACCEPTED, &(api.answer)(id));
    diagnostics.warn(response.headers_mut());
    Ok(response)
}

/// A place for one create more of the caller's tenant.
fn place(rest: &Rest, caller: &Caller) -> Result<Admitted, Problem> {
    rest.engine.check_capacity(&caller.tenant)?;
    let now = rest.engine.clock().now();
    let admitted = rest.access.admit(caller, &**rest.engine.reader(), now);
    Ok(admitted.map_err(Error::from)?)
}

async fn new(
    rest: &Rest,
    caller: &Caller,
    judged: Judged,
    request_id: Option<String>,
    diagnostics: &mut Diagnostics,
) -> Result<WorkflowId, Problem> {
    let Judged { request, dialect } = judged;
    let has_webhook = request.contents.webhook_url.is_some();
    let application = receiver(rest, caller, has_webhook, diagnostics).await?;
    let requester = Requester { application, dialect };
    let tenant = Arc::clone(&caller.tenant);
    Ok(rest.engine.create(tenant, request, request_id, requester).await?.id)
}

/// The application whose callbacks tell what becomes of it. One of the tenant's own is made where the
/// request names an address, so that what goes there is signed; a caller that is told nothing learns it.
async fn receiver(
    rest: &Rest,
    caller: &Caller,
    has_webhook: bool,
    diagnostics: &mut Diagnostics,
) -> Result<Option<Uuid>, Problem> {
    let known = rest.access.receiver(caller).map_err(Error::Store)?;
    if !has_webhook && !known.has_status_url {
        diagnostics.say(
            "nobody is told what becomes of this: give a webhook_url, or name a status URL for all by \
             dispatch apps create NAME --default --messages-status-url URL",
        );
    }
    if !has_webhook || known.has_secret {
        return Ok(known.application);
    }
    let (applications, tenant) = (Arc::clone(&rest.applications), Arc::clone(&caller.tenant));
    let now = rest.engine.clock().wall();
    let ensure = move || applications.ensure_default(&tenant, now);
    let made = beside(&rest.turns, &caller.tenant, ensure).await?;
    made.map(Some).map_err(|error| {
        tracing::error!(%error, "a tenant's default application could not be made");
        Problem::internal()
    })
}

/// What a body asks for, and nothing is wrong with it.
struct Judged {
    request: WorkflowRequest,
    /// The words it is told in.
    dialect: ApiDialect,
}

/// What a body asks for, judged by what can be sent and where callbacks may go.
fn judge(
    api: &Api,
    body: &Value,
    request_id: Option<&str>,
    (rules, destinations): (&dyn parse::Rules, &Destinations),
    now: UnixMillis,
    diagnostics: &mut Diagnostics,
) -> Result<Judged, Problem> {
    let Some(Asked { spec, webhook_url, dialect }) = (api.read)(body, diagnostics) else {
        return Err((api.refuse)(diagnostics.take_wrong()));
    };
    if let Some(Err(why)) = webhook_url.as_deref().map(|url| check_url(url, destinations)) {
        diagnostics.wrong("webhook_url", why.to_string());
    }
    let request = create_request(spec, request_id);
    match parse::create_request(&request, rules, now) {
        Ok(mut asked) if !diagnostics.is_wrong() => {
            let spec = request.workflow.unwrap_or_default();
            for warning in parse::warnings(&asked, rules, now) {
                if let Some(told) = (api.name)(&warning, &spec) {
                    diagnostics.coerced(&told.name, &told.reason);
                }
            }
            asked.contents.webhook_url = webhook_url;
            Ok(Judged { request: asked, dialect: dialect.unwrap_or(api.dialect) })
        }
        parsed => {
            let spec = request.workflow.unwrap_or_default();
            let found = parsed.err().unwrap_or_default();
            diagnostics.add(found, |violation| (api.name)(violation, &spec));
            Err((api.refuse)(diagnostics.take_wrong()))
        }
    }
}

/// What a body asks for, if it was accepted before.
fn repeated(api: &Api, body: &Value, request_id: &str) -> Option<WorkflowRequest> {
    let Asked { spec, .. } = (api.read)(body, &mut Diagnostics::default())?;
    parse::repeated(&create_request(spec, Some(request_id)))
}

fn create_request(spec: WorkflowSpec, request_id: Option<&str>) -> CreateWorkflowRequest {
    CreateWorkflowRequest {
        workflow: Some(spec),
        request_id: request_id.unwrap_or_default().to_owned(),
        ..CreateWorkflowRequest::default()
    }
}

/// What a body's text asks for, with the warnings.
///
/// # Errors
/// As the caller would be told.
#[cfg(any(test, fuzzing))]
pub(crate) fn asked_for(
    is_v1: bool,
    text: &[u8],
    rules: &dyn parse::Rules,
    now: UnixMillis,
) -> Result<(WorkflowRequest, HeaderMap), Box<Problem>> {
    let api = if is_v1 { &MESSAGES } else { &DISPATCH };
    let body = super::json::read(text).map_err(Problem::invalid_json)?;
    let (mut diagnostics, mut headers) = (Diagnostics::default(), HeaderMap::new());
    let rules = (rules, &Destinations::default());
    let judged = judge(api, &body, None, rules, now, &mut diagnostics)?;
    diagnostics.warn(&mut headers);
    Ok((judged.request, headers))
}

/// The caller's idempotency key. Its form is judged behind this; the quotes that the header's draft
/// specification puts around it are not part of it.
fn idempotency_key(headers: &HeaderMap, diagnostics: &mut Diagnostics) -> Option<String> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let first = given.next()?;
    let key = first.to_str().unwrap_or_default();
    let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
    if key.is_empty() || given.next().is_some() {
        diagnostics
            .wrong("Idempotency-Key", "must be given once, with 1 to 128 printable characters");
    }
    Some(key.to_owned())
}
