//! Prism, by the providers' own OpenAPI descriptions, judges every request that the adapters of Twilio and of
//! WhatsApp at Meta send.
//!
//! What is sent is in the golden files, and goes out once more from the adapters themselves, so that headers are
//! judged too. Where a description lags or is wrong, an overlay beside it says how and why. There is none of
//! Messenger; requests to Vonage are held against its description in `wire`.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use dispatch_contract::{ContentKind, SendContext, UnixMillis};
use dispatch_kit::conformance::ConformanceSubject;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{
    node,
    support::{eventually, free_port},
};

const PRISM: &str = "@stoplight/prism-cli";
const PATIENCE: Duration = Duration::from_secs(60);

/// Prism before one description.
struct Prism {
    url: String,
    description: Value,
    _child: Child,
    _folder: TempDir,
}

impl Prism {
    /// Before `NAME.json` with its overlay; `None` where it is not installed.
    async fn before(name: &str) -> Option<Prism> {
        if !node::is_here("node", &[PRISM]).await {
            return None;
        }
        let read = |file: String| -> Value {
            let path = root().join("tests/it/fixtures/openapi").join(file);
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
        };
        let mut description = read(format!("{name}.json"));
        overlay(&mut description, &read(format!("{name}.overlay.json")));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("openapi.json");
        std::fs::write(&file, description.to_string()).unwrap();
        let address = free_port().await;
        let child = Command::new("node")
            .arg(node::packages().join(PRISM).join("dist/index.js"))
            .args(["mock", "--errors", "--host", "127.0.0.1", "--port"])
            .arg(address.port().to_string())
            .arg(&file)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let listens = || async { TcpStream::connect(address).await.is_ok() };
        assert!(eventually(PATIENCE, listens).await, "Prism does not start");
        Some(Prism {
            url: format!("http://{address}"),
            description,
            _child: child,
            _folder: folder,
        })
    }

    /// What it says of a request: its status, and of one that it refuses why.
    async fn judge(&self, request: &GoldenRequest) -> (u16, String) {
        let said = request.to(&self.url).send().await.unwrap();
        (said.status().as_u16(), reasons(said).await)
    }

    /// Each golden file of an adapter is right.
    async fn take_golden(&self, folder: &str) {
        let requests = GoldenRequest::all(folder);
        assert!(!requests.is_empty(), "{folder}");
        for request in requests {
            let (status, why) = self.judge(&request).await;
            assert!((200..300).contains(&status), "{folder}/{}: {status} {why}", request.name);
            let unknown = self.unknown_fields(&request);
            assert!(unknown.is_empty(), "{folder}/{}: {unknown:?}", request.name);
        }
    }

    /// The fields of a form that the description does not have. Prism looks past them.
    fn unknown_fields(&self, request: &GoldenRequest) -> Vec<String> {
        let GoldenBody::Form(fields) = &request.body else { return Vec::new() };
        let path = "/2010-04-01/Accounts/{AccountSid}/Messages.json".replace('/', "~1");
        let form = "requestBody/content/application~1x-www-form-urlencoded/schema/properties";
        let known = self.description.pointer(&format!("/paths/{path}/post/{form}")).unwrap();
        let unknown = fields.iter().filter(|(name, _)| known.get(name).is_none());
        unknown.map(|(name, _)| name.clone()).collect()
    }

    /// A message of each kind, sent by the adapter, is accepted.
    async fn take_samples(&self, subject: &dyn ConformanceSubject) {
        let adapter = subject.adapter();
        let account = subject.account(&self.url);
        let context = context(&account);
        for kind in &adapter.capabilities().content {
            let message = subject.sample(*kind).unwrap();
            let sent = adapter.send(&context, &message).await;
            assert!(sent.is_ok(), "{} {}: {sent:?}", adapter.name(), ContentKind::as_str(*kind));
        }
    }

    /// Refuses a request, and names what is wrong with it.
    async fn refuses(&self, request: &GoldenRequest, named: &str) {
        let (status, why) = self.judge(request).await;
        assert!(
            matches!(status, 401 | 404 | 422) && why.contains(named),
            "{named}: {status} {why}"
        );
    }
}

fn context(account: &dispatch_contract::Account) -> SendContext<'_> {
    SendContext {
        attempt: "0198c0ffee007000800000000000beef.3".parse().unwrap(),
        account,
        callback_url: Some("https://dispatch.example.com/receipts/of/main"),
        useful_for: Some(Duration::from_secs(600)),
        now: UnixMillis(1_800_000_000_000),
        timeout: Duration::from_secs(20),
    }
}

/// What was wrong, a line each; all of the body where it is no list of that.
async fn reasons(said: Response) -> String {
    let text = said.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    match body["validation"].as_array() {
        Some(found) => {
            let lines = found.iter().map(|it| format!("{}: {}", it["location"], it["message"]));
            lines.collect::<Vec<_>>().join("\n")
        }
        None => text,
    }
}

/// A request as a golden file has it.
#[derive(Clone, Debug)]
struct GoldenRequest {
    name: String,
    path: String,
    authorization: Option<String>,
    body: GoldenBody,
}

#[derive(Clone, Debug)]
enum GoldenBody {
    Json(Value),
    Form(Vec<(String, String)>),
}

impl GoldenRequest {
    fn all(folder: &str) -> Vec<GoldenRequest> {
        let entries = std::fs::read_dir(root().join("adapters").join(folder)).unwrap();
        entries.map(|entry| GoldenRequest::read(&entry.unwrap().path())).collect()
    }

    fn of(folder: &str, name: &str) -> GoldenRequest {
        let file = root().join("adapters").join(folder).join(name).with_extension("http");
        GoldenRequest::read(&file)
    }

    fn read(file: &Path) -> GoldenRequest {
        let text = std::fs::read_to_string(file).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap();
        let path = head.lines().next().unwrap().strip_prefix("POST ").unwrap();
        let authorization = head.lines().find_map(|line| line.strip_prefix("authorization: "));
        GoldenRequest {
            name: file.file_stem().unwrap().to_str().unwrap().to_owned(),
            path: path.to_owned(),
            authorization: authorization.map(str::to_owned),
            body: match serde_json::from_str(body) {
                Ok(json) => GoldenBody::Json(json),
                Err(_) => GoldenBody::Form(fields(body)),
            },
        }
    }

    fn to(&self, url: &str) -> RequestBuilder {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.request(Method::POST, format!("{url}{}", self.path));
        // Not every file keeps the headers: that they leave is seen by what the adapters send themselves.
        let usual = "Basic QUMwMTIzOnQwa2Vu";
        let authorization = self.authorization.as_deref().unwrap_or(usual);
        let request = request.header("user-agent", "dispatch/0.1.0");
        let request = match authorization {
            "" => request,
            authorization => request.header("authorization", authorization),
        };
        match &self.body {
            GoldenBody::Json(json) => {
                request.header("content-type", "application/json").body(json.to_string())
            }
            GoldenBody::Form(fields) => {
                // A query is written as a form is.
                let mut form = Url::parse("http://form.example/").unwrap();
                form.query_pairs_mut().extend_pairs(fields);
                let form = form.query().unwrap().to_owned();
                request.header("content-type", "application/x-www-form-urlencoded").body(form)
            }
        }
    }

    fn json(mut self, spoil: impl FnOnce(&mut Map<String, Value>)) -> GoldenRequest {
        let GoldenBody::Json(Value::Object(body)) = &mut self.body else { panic!("{self:?}") };
        spoil(body);
        self
    }

    fn form(mut self, spoil: impl FnOnce(&mut Vec<(String, String)>)) -> GoldenRequest {
        let GoldenBody::Form(fields) = &mut self.body else { panic!("{self:?}") };
        spoil(fields);
        self
    }
}

/// The fields of a form, one a line; a value may have further lines.
fn fields(body: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in body.trim_end_matches('\n').split('\n') {
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_uppercase())
                && name.bytes().all(|byte| byte.is_ascii_alphabetic())
        };
        match line.split_once('=').filter(|(name, _)| is_name(name)) {
            Some((name, value)) => fields.push((name.to_owned(), value.to_owned())),
            None => {
                let last = &mut fields.last_mut().unwrap().1;
                last.push('\n');
                last.push_str(line);
            }
        }
    }
    fields
}

/// Applies an OpenAPI overlay whose targets name one place each.
fn overlay(description: &mut Value, overlay: &Value) {
    for action in overlay["actions"].as_array().unwrap() {
        let target = action["target"].as_str().unwrap();
        let pointer = pointer(target);
        if action["remove"] == true {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let parent = description.pointer_mut(parent).and_then(Value::as_object_mut);
            assert!(parent.is_some_and(|it| it.remove(key).is_some()), "{target} is not there");
            continue;
        }
        let place = description.pointer_mut(&pointer);
        merge(place.unwrap_or_else(|| panic!("{target} is not there")), &action["update"]);
    }
}

/// A path such as `$.a.b['c/d'][1]` as a JSON pointer.
fn pointer(target: &str) -> String {
    let mut pointer = String::new();
    let mut rest = target.strip_prefix('$').unwrap();
    while !rest.is_empty() {
        let (key, after) = if let Some(quoted) = rest.strip_prefix("['") {
            quoted.split_once("']").unwrap()
        } else if let Some(index) = rest.strip_prefix('[') {
            index.split_once(']').unwrap()
        } else {
            let name = rest.strip_prefix('.').unwrap();
            name.split_at(name.find(['.', '[']).unwrap_or(name.len()))
        };
        pointer.push('/');
        pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
        rest = after;
    }
    pointer
}

fn merge(into: &mut Value, update: &Value) {
    match (into, update) {
        (Value::Object(into), Value::Object(update)) => {
            for (key, value) in update {
                merge(into.entry(key.as_str()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(update)) => into.extend(update.iter().cloned()),
        (into, update) => *into = update.clone(),
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twilio_s_description_admits_every_request_to_twilio() {
    let Some(prism) = Prism::before("twilio-messages").await else { return };
    for subject in dispatch_twilio::subjects() {
        prism.take_golden(&format!("twilio/golden/{}", subject.adapter().name())).await;
        prism.take_samples(&*subject).await;
        let account = subject.account(&prism.url);
        let id = "SM0123456789abcdef0123456789abcdef";
        let recalled = subject.adapter().recall(&context(&account), id).await;
        assert!(recalled.is_ok(), "{recalled:?}");
    }

    // It can refuse.
    let text = || GoldenRequest::of("twilio/golden/twilio-sms", "timed");
    let without = |name: &'static str| {
        move |fields: &mut Vec<(String, String)>| fields.retain(|(own, _)| own != name)
    };
    let with = |name: &str, value: &str| {
        let field = (name.to_owned(), value.to_owned());
        move |fields: &mut Vec<(String, String)>| fields.push(field)
    };
    prism.refuses(&text().form(without("To")), "To").await;
    assert_eq!(prism.unknown_fields(&text().form(with("Bodi", "x"))), ["Bodi"]);
    prism.refuses(&text().form(with("ContentSid", "XX1")), "ContentSid").await;
    let elsewhere = GoldenRequest { path: text().path.replace("AC0", "AC-"), ..text() };
    prism.refuses(&elsewhere, "accountsid").await;
    let unknown = GoldenRequest { authorization: Some(String::new()), ..text() };
    prism.refuses(&unknown, "UNAUTHORIZED").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meta_s_description_admits_every_request_to_whatsapp() {
    let Some(prism) = Prism::before("whatsapp-messages").await else { return };
    let subjects = dispatch_meta::subjects();
    let whatsapp = subjects.iter().find(|it| it.adapter().name() == "meta-whatsapp").unwrap();
    prism.take_golden("meta/golden/meta-whatsapp").await;
    prism.take_samples(&**whatsapp).await;

    // It can refuse.
    let of = |name| GoldenRequest::of("meta/golden/meta-whatsapp", name);
    let text = || of("text");
    prism.refuses(&text().json(|body| drop(body.remove("to"))), "to").await;
    prism
        .refuses(&text().json(|body| drop(body.remove("messaging_product"))), "messaging_product")
        .await;
    prism.refuses(&text().json(|body| body["text"]["body"] = 7.into()), "body").await;
    prism.refuses(&text().json(|body| body["text"]["bodi"] = "x".into()), "bodi").await;
    let id = "US.13491208655302741918";
    let both = text().json(|body| drop(body.insert("recipient".to_owned(), id.into())));
    prism.refuses(&both, "exactly one schema").await;
    let template = of("template").json(|body| drop(body["template"]["language"].take()));
    prism.refuses(&template, "language").await;
    let unknown = GoldenRequest { authorization: Some("token".to_owned()), ..text() };
    prism.refuses(&unknown, "UNAUTHORIZED").await;
}

#[test]
fn an_overlay_updates_and_removes_what_its_paths_name() {
    let mut description = serde_json::json!({ "a": { "b/c": [{ "d": [1] }, { "e": 2, "f": 3 }] } });
    let actions = serde_json::json!({ "actions": [
        { "target": "$.a['b/c'][1].e", "remove": true },
        { "target": "$.a['b/c'][1]", "update": { "f": { "g": 4 } } },
        { "target": "$.a['b/c'][0]", "update": { "d": [2] } },
    ]});
    overlay(&mut description, &actions);
    let wanted = serde_json::json!({ "a": { "b/c": [{ "d": [1, 2] }, { "f": { "g": 4 } }] } });
    assert_eq!(description, wanted);
}
