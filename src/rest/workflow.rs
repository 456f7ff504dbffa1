//! One workflow by its id, which the old API could not show: `GET` and `DELETE`.
//!
//! No address and no text of a message is in the answer.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    extract::{Path, Request, State},
    http::{StatusCode, request::Parts},
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{
    Problem, Rest,
    body::{accepts_json, answer},
    caller::caller,
};
use crate::{
    access::{Caller, Scope},
    grpc::{cancel_for_caller, read_for_caller, render},
    machine::{EndState, Phase, Progress, TimelineEvent, Workflow, WorkflowId, message_uuid},
    pb::v1::{self, MessageFailure, OutcomeReason},
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
    let shown = found(rest, &caller, named(id)?).await?;
    Ok(answer(StatusCode::OK, &Value::Object(shown.body())))
}

async fn cancel(rest: &Rest, id: &str, head: &Parts) -> Result<Response, Problem> {
    let caller = caller(rest, head)?;
    accepts_json(&head.headers)?;
    let id = named(id)?;
    let canceled = cancel_for_caller(&rest.turns, &rest.engine, &rest.access, &caller, id).await?;
    let shown = found(rest, &caller, id).await?;
    let started = canceled.started.iter();
    let steps: BTreeSet<_> = started
        .filter_map(|attempt| shown.workflow.attempt(attempt.number))
        .map(|attempt| attempt.step)
        .collect();
    let messages: Vec<_> =
        steps.into_iter().map(|step| message_uuid(id, step).to_string()).collect();
    let mut body = if caller.may(Scope::Read) { shown.body() } else { shown.outline() };
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
struct Shown {
    record: Arc<Record>,
    workflow: Workflow,
    rows: Vec<Arc<Row>>,
}

async fn found(rest: &Rest, caller: &Caller, id: WorkflowId) -> Result<Shown, Problem> {
    let found = read_for_caller(&rest.turns, &rest.engine, &caller.tenant, move |reader| {
        // The state first: a timeline that is a little newer is better than one that is older.
        let Some(workflow) = reader.workflow(id)? else { return Ok(None) };
        let Some(record) = reader.record(id)? else { return Ok(None) };
        let rows = reader.timeline(id)?;
        Ok(Some(Shown { record, workflow, rows }))
    });
    let found = found.await?.filter(|found| caller.sees(&found.record.tenant));
    found.ok_or_else(nobody)
}

impl Shown {
    /// What a caller is told that may cancel and not read.
    fn outline(&self) -> Map<String, Value> {
        let state = Value::from(self.workflow.phase.as_str());
        let id = Value::from(self.workflow.id.to_string());
        [(name(self.record.requester.dialect), id), ("state", state)]
            .map(|(key, value)| (key.to_owned(), value))
            .into_iter()
            .collect()
    }

    fn body(&self) -> Map<String, Value> {
        let record = &*self.record;
        let facts = self.rows.iter().flat_map(|row| &row.facts);
        let progress = Progress::of(&self.workflow, facts);
        let events = self.rows.iter().flat_map(|row| {
            let event = |(number, fact)| {
                let event = TimelineEvent::of(&self.workflow, number, row.at, fact);
                render::event(&event, String::new())
            };
            row.numbered().map(event).collect::<Vec<_>>()
        });
        let workflow = render::workflow(record, &progress, events.collect());
        let id = self.workflow.id;
        let mut body = Map::new();
        let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
        put(name(record.requester.dialect), json!(workflow.workflow_id));
        put("template", json!("failover"));
        put("state", json!(workflow.state().short_name()));
        if let Phase::Ended(end, _) = self.workflow.phase {
            put("status", json!(report(end)));
        }
        if let Some(outcome) = &workflow.outcome {
            put("reason", json!(outcome.reason().short_name()));
            put("detail", json!(outcome.detail));
        }
        if let Some(client_ref) = &record.plan.client_ref {
            put("client_ref", json!(client_ref));
        }
        put("created_at", time(workflow.create_time));
        put("updated_at", time(workflow.update_time));
        if workflow.end_time.is_some() {
            put("ended_at", time(workflow.end_time));
        }
        let steps = (0_u8..).zip(&workflow.steps);
        put("workflow", steps.map(|(index, it)| step(id, index, it)).collect());
        put("timeline", workflow.timeline.iter().map(event).collect());
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

fn step(id: WorkflowId, index: u8, step: &v1::StepProgress) -> Value {
    // A failure yields to any later rung, and says more than `submitted`.
    let failure = step.attempts.last().map(v1::Attempt::failure).unwrap_or_default();
    let status = match failure {
        MessageFailure::Unspecified => step.status.clone(),
        failure => failure.short_name().to_ascii_lowercase(),
    };
    let mut shown = json!({
        "message_uuid": message_uuid(id, index).to_string(),
        "channel": step.channel,
        "state": step.state().short_name(),
        "status": status,
    });
    if step.reason() != OutcomeReason::Unspecified {
        shown["reason"] = json!(step.reason().short_name());
    }
    for (key, at) in [
        ("started_at", step.start_time),
        ("status_at", step.status_time),
        ("expires_at", step.expire_time),
    ] {
        if at.is_some() {
            shown[key] = time(at);
        }
    }
    shown
}

fn event(event: &v1::Event) -> Value {
    let mut shown = json!({
        "sequence": event.sequence,
        "timestamp": time(event.time),
        "kind": event.kind().short_name(),
        "description": event.description,
    });
    // Counted from 1, as in the descriptions.
    if event.step != 0 {
        shown["step"] = json!(event.step);
    }
    shown
}

/// A time as the old API writes it: `2020-01-01T14:00:00.000Z`.
fn time(at: Option<prost_types::Timestamp>) -> Value {
    let at = at.and_then(|at| jiff::Timestamp::new(at.seconds, at.nanos).ok());
    at.map_or(Value::Null, |at| json!(format!("{at:.3}")))
}
