//! The requests of `docs/moving-from-nexmo-dispatch.md` are run, and answered as it says.

use std::time::Duration;

use serde_json::Value;

use super::{Answer, url};
use crate::support::{Running, in_memory};

const PAGE: &str = include_str!("../../../docs/moving-from-nexmo-dispatch.md");

/// The blocks of the page: each request and then its answer.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let block = |text: &'static str| text.split("\n```").next().unwrap().trim();
    let found: Vec<_> = PAGE.split("```http\n").skip(1).map(block).collect();
    assert!(found.len() % 2 == 0 && found.len() >= 10, "{}", found.len());
    found.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

/// A first line, and the JSON below it.
fn parts(block: &str) -> (&str, Option<Value>) {
    let (line, body) = block.split_once('\n').unwrap_or((block, ""));
    let body = body.trim();
    (line, (!body.is_empty()).then(|| serde_json::from_str(body).unwrap()))
}

/// Puts `…` where the page has it.
fn blur(told: &mut Value, page: &Value) {
    match (told, page) {
        (Value::String(told), Value::String(page)) => {
            if let Some((begin, end)) = page.split_once('…')
                && told.starts_with(begin)
                && told.ends_with(end)
            {
                told.clone_from(page);
            }
        }
        (Value::Object(told), Value::Object(page)) => {
            for (key, told) in told {
                blur(told, page.get(key).unwrap_or(&Value::Null));
            }
        }
        (Value::Array(told), Value::Array(page)) => {
            for (told, page) in told.iter_mut().zip(page) {
                blur(told, page);
            }
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_the_page_is_answered_as_it_says() {
    let running = Running::start(&in_memory()).await;
    let mut last = String::new();
    let mut wrong = Vec::new();
    for (request, answer) in blocks() {
        let (line, body) = parts(request);
        let (method, path) = line.split_once(' ').unwrap();
        let path = path.replace("{uuid}", &last);
        let mut call =
            reqwest::Client::new().request(method.parse().unwrap(), url(&running, &path));
        if let Some(body) = body {
            call = call.header("content-type", "application/json").body(body.to_string());
        }
        let told = Answer::of(call.send().await.unwrap()).await;
        if let Some(id) = told.body["dispatch_uuid"].as_str() {
            last = id.to_owned();
        }
        let (status, wanted) = parts(answer);
        let wanted = wanted.unwrap();
        let mut body = told.body.clone();
        blur(&mut body, &wanted);
        if told.status.to_string() != status || body != wanted {
            wrong.push(format!(
                "{line}\n{}\n{}",
                told.status,
                serde_json::to_string_pretty(&body).unwrap()
            ));
        }
        running.advance(Duration::from_secs(60)).await;
    }
    assert!(wrong.is_empty(), "the page should say:\n{}", wrong.join("\n\n"));
    running.stop().await;
}
