//! The REST facade over real HTTP: the old Dispatch API, its predecessor, and the Messages API's
//! failover.

use dispatch::pb::v1::{ListWorkflowsRequest, Workflow, WorkflowState};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::support::Running;

mod attacks;
mod bad;
mod clients;
mod document;
mod good;
mod messages;
mod quirks;
mod tenants;

/// How the warning begins that there is no place for callbacks.
const NOBODY_IS_TOLD: &str = "nobody is told";

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text:?}"));
        Answer { status, headers, body }
    }

    /// Whether it warns that nobody will be told what becomes of the workflow.
    pub fn warns_that_nobody_is_told(&self) -> bool {
        self.all_warnings().any(|text| text.starts_with(NOBODY_IS_TOLD))
    }

    /// The texts of its warnings, but for that one: most tests ask for no callbacks.
    pub fn warnings(&self) -> Vec<String> {
        self.all_warnings().filter(|text| !text.starts_with(NOBODY_IS_TOLD)).collect()
    }

    fn all_warnings(&self) -> impl Iterator<Item = String> {
        let values = self.headers.get_all("warning").iter();
        values.map(|value| {
            let text = value.to_str().unwrap();
            let text = text.strip_prefix("299 - \"").unwrap().strip_suffix('"').unwrap();
            assert!(!text.contains(['"', '\\']), "{text}");
            text.to_owned()
        })
    }

    /// What is wrong: name and reason.
    pub fn wrong(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let told = self.body["invalid_parameters"].as_array().cloned().unwrap_or_default();
        told.iter().map(|it| (text(&it["name"]), text(&it["reason"]))).collect()
    }
}

pub fn url(running: &Running, path: &str) -> String {
    format!("http://{}{path}", running.service.http)
}

pub async fn post(running: &Running, path: &str, body: &Value) -> Answer {
    let call = reqwest::Client::new().post(url(running, path)).body(body.to_string());
    Answer::of(call.header("content-type", "application/json").send().await.unwrap()).await
}

pub async fn get(running: &Running, path: &str) -> Answer {
    Answer::of(reqwest::get(url(running, path)).await.unwrap()).await
}

pub async fn delete(running: &Running, path: &str) -> Answer {
    Answer::of(reqwest::Client::new().delete(url(running, path)).send().await.unwrap()).await
}

/// How many workflows there are.
pub async fn count(running: &Running) -> usize {
    let mut client = running.client.raw();
    let listed = client.list_workflows(ListWorkflowsRequest::default()).await;
    listed.unwrap().into_inner().workflows.len()
}

/// The workflow as gRPC shows it.
pub async fn workflow(running: &Running, answer: &Answer) -> Workflow {
    assert_eq!(answer.status, 202, "{answer:?}");
    let key = ["dispatch_uuid", "workflow_uuid", "workflow_id"];
    let id = key.iter().find_map(|key| answer.body[key].as_str()).unwrap();
    running.get(id).await
}

pub fn state(workflow: &Workflow) -> &'static str {
    workflow.state().as_str_name().trim_start_matches("WORKFLOW_STATE_")
}

pub fn is_ended(workflow: &Workflow) -> bool {
    !matches!(workflow.state(), WorkflowState::Scheduled | WorkflowState::Running)
}

/// The old documentation's example: Messenger, and if that is not read in ten minutes, an SMS.
pub fn messenger_sms() -> Value {
    json!({
        "template": "failover",
        "workflow": [
            {
                "from": { "type": "messenger", "id": "107083064136738" },
                "to": { "type": "messenger", "id": "1234567890" },
                "message": { "content": { "type": "text", "text": "Your table is ready." } },
                "failover": { "expiry_time": 600, "condition_status": "read" }
            },
            {
                "from": { "type": "sms", "number": "Dispatch" },
                "to": { "type": "sms", "number": "447700900000" },
                "message": { "content": { "type": "text", "text": "Your table is ready." } }
            }
        ]
    })
}

/// Changes what stands at a JSON pointer; `null` takes it away.
pub fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (place, key) = pointer.rsplit_once('/').unwrap();
    let place = body.pointer_mut(place).unwrap_or_else(|| panic!("no {place}"));
    match place {
        Value::Object(object) if value.is_null() => {
            object.remove(key);
        }
        Value::Object(object) => {
            object.insert(key.to_owned(), value);
        }
        Value::Array(items) => match key.parse::<usize>() {
            Ok(index) if value.is_null() => drop(items.remove(index)),
            Ok(index) => items[index] = value,
            Err(_) => items.push(value),
        },
        other => panic!("{pointer} leads into {other}"),
    }
    body
}
