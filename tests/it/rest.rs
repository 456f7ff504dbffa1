//! What the tests of the REST edge share: calls, and their answers as status and JSON.

use reqwest::Method;
use serde_json::Value;

use crate::support::Running;

/// Calls a running service.
pub struct Api {
    base: String,
    client: reqwest::Client,
}

impl Api {
    pub fn of(running: &Running) -> Api {
        Api::at(running.service.http)
    }

    pub fn at(address: std::net::SocketAddr) -> Api {
        Api { base: format!("http://{address}"), client: reqwest::Client::new() }
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> (u16, Value) {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string());
        self.raw(method, path, "application/json", body.unwrap_or_default().into_bytes()).await
    }

    /// An empty answer is null.
    pub async fn raw(&self, method: Method, path: &str, kind: &str, body: Vec<u8>) -> (u16, Value) {
        let request = self.client.request(method, format!("{}{path}", self.base));
        let answer = request.header("content-type", kind).body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let json = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| panic!("{status}: {text}")),
        };
        (status, json)
    }
}

/// The names in a problem's list of wrong parameters, with their reasons.
pub fn wrong(problem: &Value, list: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = problem[list].as_array().unwrap_or_else(|| panic!("no {list} in {problem}"));
    all.iter().map(|one| (text(&one["name"]), text(&one["reason"]))).collect()
}
