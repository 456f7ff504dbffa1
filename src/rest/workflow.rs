//! One workflow by its id, which the old API could not show: `GET` and `DELETE`.
//!
//! No address and no text of a message is in the answer.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    extract::{Path, Request, State},
    http::{StatusCode, request::Parts},
    response::Response,
};
use dispatch_contract::{Failure, UnixMillis};
use serde_json::{Map, Value, json};

use super::{
    Problem, Rest,
    body::{accepts_json, answer},
    caller::caller,
};
use crate::{
    access::{Caller, Scope},
    api::{ShownContents, cancel_for_caller, read_for_caller},
    machine::{
        EndState, Progress, ProgressState, StepProgress, TimelineEvent, Workflow, WorkflowId,
        message_uuid,
    },
    store::{ApiDialect, Record, Row},
};

/// `GET /v0.1/dispatch/{uuid}` and `GET /workflows/{uuid}`
pub(super) async fn get(
    State(rest): State<Arc<Rest>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    rest.answer(show(&rest, &id, &request.into_parts().0).await)
}

/// `DELETE /v0.1/dispatch/{uuid}` and `DELETE /workflows/{uuid}`
pub(super) async fn delete(
    State(rest): State<Arc<Rest>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    rest.answer(cancel(&rest, &id, &request.into_parts().0).await)
}

async fn show(rest: &Rest, id: &str, head: &Parts) -> Result<Response, Problem> {
    let caller = caller(rest, head)?;
    accepts_json(&head.headers)?;
    let stored = found(rest, &caller, named(id)?).await?;
    Ok(answer(StatusCode::OK, &Value::Object(stored.body(rest, &caller))))
}

async fn cancel(rest: &Rest, id: &str, head: &Parts) -> Result<Response, Problem> {
    let caller = caller(rest, head)?;
    accepts_json(&head.headers)?;
    let id = named(id)?;
    let canceled = cancel_for_caller(&rest.turns, &rest.engine, &rest.access, &caller, id).await?;
    let stored = found(rest, &caller, id).await?;
    let started = canceled.started.iter();
    let steps: BTreeSet<_> = started
        .filter_map(|attempt| stored.workflow.attempt(attempt.number))
        .map(|attempt| attempt.step)
        .collect();
    let messages: Vec<_> =
        steps.into_iter().map(|step| message_uuid(id, step).to_string()).collect();
    let mut body =
        if caller.may(Scope::Read) { stored.body(rest, &caller) } else { stored.outline() };
    body.insert("may_still_arrive".to_owned(), json!(messages));
    Ok(answer(StatusCode::OK, &Value::Object(body)))
}

fn named(id: &str) -> Result<WorkflowId, Problem> {
    id.parse().map_err(|_| nobody())
}

fn nobody() -> Problem {
    Problem::not_found("There is no workflow of this id, or you do not have access")
}

/// A workflow as the store has it.
struct StoredWorkflow {
    record: Arc<Record>,
    workflow: Workflow,
    rows: Vec<Arc<Row>>,
}

async fn found(rest: &Rest, caller: &Caller, id: WorkflowId) -> Result<StoredWorkflow, Problem> {
    let found = read_for_caller(&rest.turns, &rest.engine, &caller.tenant, move |reader| {
        // The state first: a timeline that is a little newer is better than one that is older.
        let Some(workflow) = reader.workflow(id)? else { return Ok(None) };
        let Some(record) = reader.record(id)? else { return Ok(None) };
        let rows = reader.timeline(id)?;
        Ok(Some(StoredWorkflow { record, workflow, rows }))
    });
    let found = found.await?.filter(|found| caller.sees(&found.record.tenant));
    found.ok_or_else(nobody)
}

impl StoredWorkflow {
    /// What a caller is told that may cancel and not read.
    fn outline(&self) -> Map<String, Value> {
        let state = Value::from(ProgressState::from(self.workflow.phase).as_str());
        let id = Value::from(self.workflow.id.to_string());
        [(name(self.record.requester.dialect), id), ("state", state)]
            .map(|(key, value)| (key.to_owned(), value))
            .into_iter()
            .collect()
    }

    fn body(&self, rest: &Rest, caller: &Caller) -> Map<String, Value> {
        let StoredWorkflow { record, workflow, rows } = self;
        let contents = ShownContents::of(&rest.engine, caller, record, workflow.has_ended());
        let progress = Progress::of(workflow, rows.iter().flat_map(|row| &row.facts));
        let timeline = rows.iter().flat_map(|row| {
            let at = |(sequence, fact)| TimelineEvent::of(workflow, sequence, row.at, fact);
            row.numbered().map(at)
        });
        let id = progress.id;
        let mut body = Map::new();
        let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
        put(name(record.requester.dialect), json!(id.to_string()));
        put("template", json!("failover"));
        put("state", json!(progress.state.as_str()));
        if let ProgressState::Ended(end) = progress.state {
            put("status", json!(report(end)));
        }
        if let Some(outcome) = &progress.outcome {
            put("reason", json!(outcome.reason.as_str()));
            put("detail", json!(outcome.detail));
        }
        let personal = contents.words().and_then(|(_, client_ref)| client_ref);
        match record.plan.client_ref.as_deref().or(personal) {
            Some(client_ref) => put("client_ref", json!(client_ref)),
            None if contents.is_client_ref_personal() => put("personal_client_ref", json!(true)),
            None => None,
        };
        put("contents", json!(contents.state().short_name()));
        put("created_at", time(record.created_at.wall));
        put("updated_at", time(progress.updated_at.wall));
        if let Some(ended_at) = progress.ended_at {
            put("ended_at", time(ended_at.wall));
        }
        put("workflow", progress.steps().map(|it| step(id, &it)).collect());
        put("timeline", timeline.map(|it| event(&it)).collect());
        put("_links", json!({ "self": { "href": format!("/v0.1/dispatch/{id}") } }));
        body
    }
}

/// What the API that it was asked through calls a workflow's id.
fn name(facade: ApiDialect) -> &'static str {
    match facade {
        ApiDialect::WorkflowsBeta => "workflow_uuid",
        ApiDialect::Grpc
        | ApiDialect::DispatchV01
        | ApiDialect::MessagesV1
        | ApiDialect::MessagesV01 => "dispatch_uuid",
    }
}

/// The end, as a final report tells it.
fn report(end: EndState) -> &'static str {
    match end {
        EndState::Succeeded => "completed",
        EndState::Failed | EndState::Unconfirmed | EndState::Canceled => "error",
    }
}

fn step(id: WorkflowId, step: &StepProgress<'_>) -> Value {
    // A failure yields to any later status, and says more than `submitted`.
    let failure = step.attempts().last().and_then(|attempt| attempt.failure);
    let mut shown = json!({
        "message_uuid": message_uuid(id, step.index).to_string(),
        "channel": step.channel.as_str(),
        "state": step.state.as_str(),
        "status": failure.map_or(step.status.as_str(), Failure::as_str),
    });
    if let Some(reason) = step.reason {
        shown["reason"] = json!(reason.as_str());
    }
    for (key, at) in [
        ("started_at", step.started_at.map(|at| at.wall)),
        ("status_at", step.status_at.map(|at| at.wall)),
        ("expires_at", step.expires_at),
    ] {
        if let Some(at) = at {
            shown[key] = time(at);
        }
    }
    shown
}

fn event(event: &TimelineEvent<'_>) -> Value {
    let mut shown = json!({
        "sequence": event.sequence,
        "timestamp": time(event.at.wall),
        "kind": event.fact.kind(),
        "description": event.description(),
    });
    if let Some(step) = event.step {
        // Counted from 1, as in the descriptions.
        shown["step"] = json!(u32::from(step) + 1);
    }
    shown
}

/// A time as the old API writes it: `2020-01-01T14:00:00.000Z`. `null` behind the year 9999.
fn time(at: UnixMillis) -> Value {
    let at = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or(Value::Null, |at| json!(format!("{at:.3}")))
}
