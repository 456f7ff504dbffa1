//! Who is let in over HTTP, and that nobody sees what is another tenant's.

use dispatch::{access::token, config::AccessKeyConfig};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::messenger_sms;
use crate::support::{Running, in_memory};

const SECRET: &str = "a secret of the tests";

/// A caller, as its `Authorization` header.
struct Caller(Option<String>);

impl Caller {
    fn key(id: &str, secret: &str) -> Caller {
        use base64::{Engine, prelude::BASE64_STANDARD};
        Caller(Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{secret}")))))
    }

    async fn call(
        &self,
        running: &Running,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let url = format!("http://{}{path}", running.service.http);
        let mut request = reqwest::Client::new().request(method, url);
        if let Some(header) = &self.0 {
            request = request.header("authorization", header);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

async fn start() -> Running {
    let mut config = in_memory();
    let key = |id: &str, tenant: &str, scopes: &[&str]| AccessKeyConfig {
        id: id.to_owned(),
        secret: SECRET.into(),
        tenant: tenant.to_owned(),
        name: String::new(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
    };
    let all = ["create", "read", "cancel", "admin"];
    config.access.keys = vec![
        key("acme", "acme", &all),
        key("other", "other", &all),
        key("reads", "acme", &["read"]),
        key("operator", "default", &all),
    ];
    Running::start(&config).await
}

fn application() -> Value {
    json!({ "name": "Orders", "capabilities": {} })
}

fn page() -> Value {
    json!({ "external_id": "107083064136738", "access_token": "token", "name": "Page" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenant_s_workflows_applications_and_accounts_are_not_there() {
    let running = start().await;
    let (acme, other) = (Caller::key("acme", SECRET), Caller::key("other", SECRET));
    let (status, made) =
        acme.call(&running, Method::POST, "/v0.1/dispatch", Some(messenger_sms())).await;
    assert_eq!(status, 202);
    let workflow = format!("/v0.1/dispatch/{}", made["dispatch_uuid"].as_str().unwrap());
    let (status, made) =
        acme.call(&running, Method::POST, "/v2/applications", Some(application())).await;
    assert_eq!(status, 201);
    let own = format!("/v2/applications/{}", made["id"].as_str().unwrap());
    let accounts = "/beta/chatapp-accounts/messenger";
    let (status, made) = acme.call(&running, Method::POST, accounts, Some(page())).await;
    assert_eq!(status, 201, "{made}");
    let account = format!("{accounts}/107083064136738");

    for path in [&workflow, &own, &account] {
        for method in [Method::GET, Method::DELETE] {
            let (status, told) = other.call(&running, method.clone(), path, None).await;
            assert_eq!(status, 404, "{method} {path}: {told}");
        }
    }
    for (method, path, body) in [
        (Method::PUT, own.clone(), application()),
        (Method::PATCH, account.clone(), json!({ "name": "Mine" })),
        (Method::POST, format!("{account}/applications"), json!({ "application": own })),
    ] {
        let (status, told) = other.call(&running, method.clone(), &path, Some(body)).await;
        assert!(matches!(status.as_u16(), 400 | 404), "{method} {path}: {status} {told}");
    }
    for path in ["/v2/applications", "/beta/chatapp-accounts"] {
        let (_, told) = other.call(&running, Method::GET, path, None).await;
        assert!(!told.to_string().contains("Orders") && !told.to_string().contains("Page"));
    }
    // All of it is as it was.
    for path in [&workflow, &own, &account] {
        assert_eq!(acme.call(&running, Method::GET, path, None).await.0, 200, "{path}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_known_or_may_not_is_refused_and_nothing_happens() {
    let running = start().await;
    let acme = Caller::key("acme", SECRET);
    let (_, made) =
        acme.call(&running, Method::POST, "/v2/applications", Some(application())).await;
    let id = made["id"].as_str().unwrap().parse().unwrap();
    let pem = made["keys"]["private_key"].as_str().unwrap();
    let now = running.service.engine.clock().real_wall();
    let bearer = |token: &str| Caller(Some(format!("Bearer {token}")));
    let none = "eyJhbGciOiJub25lIn0.eyJhcHBsaWNhdGlvbl9pZCI6IngifQ.";
    let strangers = [
        ("nobody", Caller(None), 401),
        ("a wrong secret", Caller::key("acme", "another secret of the tests"), 401),
        ("a key that is not there", Caller::key("nobody", SECRET), 401),
        ("an unsigned token", bearer(none), 401),
        ("a broken token", bearer("a.b.c"), 401),
        ("another scheme", Caller(Some("Digest x".to_owned())), 401),
        ("a key that only reads", Caller::key("reads", SECRET), 403),
    ];
    for (who, caller, wanted) in &strangers {
        for (method, path, body) in [
            (Method::POST, "/v0.1/dispatch", messenger_sms()),
            (Method::POST, "/beta/workflows", messenger_sms()),
            (Method::POST, "/v1/messages", json!({})),
            (Method::POST, "/v2/applications", application()),
            (Method::POST, "/beta/chatapp-accounts/messenger", page()),
        ] {
            let (status, told) = caller.call(&running, method, path, Some(body)).await;
            assert_eq!(status.as_u16(), *wanted, "{who} at {path}: {told}");
            assert!(!told.to_string().contains("acme"), "{who}: {told}");
        }
    }
    // A token of the application is one for many calls; without the right to administer.
    let good = bearer(&token(id, pem, 60, now).unwrap());
    for _ in 0..2 {
        let (status, told) =
            good.call(&running, Method::POST, "/v0.1/dispatch", Some(messenger_sms())).await;
        assert_eq!(status, 202, "{told}");
    }
    let (status, _) =
        good.call(&running, Method::POST, "/v2/applications", Some(application())).await;
    assert_eq!(status, 403);
    let (_, listed) = acme.call(&running, Method::GET, "/v2/applications", None).await;
    assert_eq!(listed["total_items"], 1, "{listed}");
    running.stop().await;
}
