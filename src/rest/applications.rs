//! `/v2/applications`, as the old Application API had it: create, list, get, update, delete.
//!
//! An application's `messages` capability is used; the others are kept as they were given. Beyond the
//! old API there is `capabilities.messages.signing`.

mod parse;
mod render;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{StatusCode, request::Parts},
    routing::get,
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Problem, Rest,
    caller::caller,
    request::{Faults, JsonAnswer, beside, number, object, query},
};
use crate::{
    access::{ApplicationError, ApplicationSpec, Caller},
    api::Error,
};

/// The page size when none is asked for, and the largest.
const PAGE_USUAL: usize = 10;
const PAGE_MOST: usize = 100;

/// The paths.
pub(super) fn routes() -> Router<Arc<Rest>> {
    let all = get(list).post(create);
    let one = get(show).put(update).delete(delete);
    Router::new()
        .route("/v2/applications", all.clone())
        .route("/v2/applications/", all)
        .route("/v2/applications/{id}", one)
}

async fn create(
    State(rest): State<Arc<Rest>>,
    head: Parts,
    body: Body,
) -> Result<JsonAnswer, Problem> {
    let caller = caller(&rest, &head)?;
    let body = object(&head.headers, body, rest.body_timeout).await?;
    let spec = spec(&rest, &body)?;
    if parse::echoed(&body).callback_secret.is_some() {
        let mut faults = Faults::default();
        let place = "capabilities.messages.signing.secret";
        faults.add(place, "is made by the service; leave it out");
        return Err(invalid(faults));
    }
    let now = rest.engine.clock().wall();
    let applications = Arc::clone(&rest.applications);
    let name = spec.name.as_str().to_owned();
    let create = move |tenant: &str| applications.create(tenant, spec, now);
    let written = change(&rest, caller, "application.created", &name, create).await?;
    Ok(JsonAnswer(StatusCode::CREATED, render::written(&written)))
}

async fn list(State(rest): State<Arc<Rest>>, head: Parts) -> Result<JsonAnswer, Problem> {
    let caller = caller(&rest, &head)?;
    let (query, mut faults) = (query(&head.uri), Faults::default());
    let size = number(&query, "page_size", PAGE_USUAL, PAGE_MOST, &mut faults);
    let page = number(&query, "page", 1, usize::MAX, &mut faults);
    if !faults.0.is_empty() {
        let kind = "https://developer.nexmo.com/api-errors/application#list-validation";
        return Err(bad_request(kind, faults));
    }
    let (applications, tenant) = (Arc::clone(&rest.applications), Arc::clone(&caller.tenant));
    let list = move || {
        let ids = applications.ids(&caller.tenant);
        let behind = size.saturating_mul(page - 1).min(ids.len());
        let shown = &ids[behind..ids.len().min(behind + size)];
        Ok((applications.of_ids(&caller.tenant, shown)?, ids.len()))
    };
    let (shown, count) =
        beside(&rest.turns, &tenant, list).await?.map_err(|error| refused(error, ""))?;
    Ok(JsonAnswer(StatusCode::OK, render::page(&shown, count, page, size)))
}

async fn show(
    State(rest): State<Arc<Rest>>,
    head: Parts,
    Path(id): Path<String>,
) -> Result<JsonAnswer, Problem> {
    let caller = caller(&rest, &head)?;
    let application = parsed(&id)?;
    let (applications, tenant) = (Arc::clone(&rest.applications), Arc::clone(&caller.tenant));
    let get = move || applications.get(&caller.tenant, application);
    let found = beside(&rest.turns, &tenant, get).await?.map_err(|error| refused(error, &id))?;
    Ok(JsonAnswer(StatusCode::OK, render::application(&found)))
}

async fn update(
    State(rest): State<Arc<Rest>>,
    head: Parts,
    Path(id): Path<String>,
    body: Body,
) -> Result<JsonAnswer, Problem> {
    let caller = caller(&rest, &head)?;
    let application = parsed(&id)?;
    let body = object(&head.headers, body, rest.body_timeout).await?;
    let spec = spec(&rest, &body)?;
    let echoed = parse::echoed(&body);
    let applications = Arc::clone(&rest.applications);
    let update = move |tenant: &str| {
        applications.check_returned(tenant, application, &echoed)?;
        applications.update(tenant, application, spec)
    };
    let written = change(&rest, caller, "application.updated", &id, update).await?;
    Ok(JsonAnswer(StatusCode::OK, render::written(&written)))
}

/// The old clients send a body with it, which is not looked at.
async fn delete(
    State(rest): State<Arc<Rest>>,
    head: Parts,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let caller = caller(&rest, &head)?;
    let application = parsed(&id)?;
    let accounts = Arc::clone(&rest.accounts);
    let delete = move |tenant: &str| accounts.delete_application(tenant, application);
    change(&rest, caller, "application.deleted", &id, delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a body asks for, if its statuses may go where they are to.
fn spec(rest: &Rest, body: &Map<String, Value>) -> Result<ApplicationSpec, Problem> {
    let spec = parse::application(body).map_err(invalid)?;
    spec.check_status_url(&rest.destinations.get()).map_err(|why| {
        let mut faults = Faults::default();
        faults.add("capabilities.messages.webhooks.status_url.address", why.to_string());
        invalid(faults)
    })?;
    Ok(spec)
}

/// Does a change beside the runtime, and writes down who did it.
async fn change<T: Send + 'static>(
    rest: &Rest,
    caller: Caller,
    what: &'static str,
    target: &str,
    change: impl FnOnce(&str) -> Result<T, ApplicationError> + Send + 'static,
) -> Result<T, Problem> {
    let (access, now) = (Arc::clone(&rest.access), rest.engine.clock().wall());
    let (of, tenant) = (target.to_owned(), Arc::clone(&caller.tenant));
    let change = move || access.audited(&caller, (what, &of), now, || change(&caller.tenant));
    beside(&rest.turns, &tenant, change).await?.map_err(|error| refused(error, target))
}

/// What is no id is the id of none.
fn parsed(id: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(id).map_err(|_| refused(ApplicationError::NotFound, id))
}

fn refused(error: ApplicationError, id: &str) -> Problem {
    match error {
        ApplicationError::NotFound => {
            let shown: String = id.chars().take(50).collect();
            let detail = format!("ID '{shown}' does not exist, or you do not have access");
            Problem { detail, ..Error::Application(error).into() }
        }
        ApplicationError::OtherSecret(field) => {
            let mut faults = Faults::default();
            faults.add(field, error.to_string());
            invalid(faults)
        }
        ApplicationError::TooMany { .. }
        | ApplicationError::Store(_)
        | ApplicationError::Vault(_) => Error::from(error).into(),
    }
}

fn invalid(faults: Faults) -> Problem {
    let kind = "https://developer.nexmo.com/api-errors/application#payload-validation";
    bad_request(kind, faults)
}

fn bad_request(kind: &'static str, faults: Faults) -> Problem {
    let detail = "The request failed due to validation errors".to_owned();
    let problem = Problem::new(StatusCode::BAD_REQUEST, kind, "Bad Request", detail);
    Problem { invalid_parameters: faults.0, ..problem }
}
