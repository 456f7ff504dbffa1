//! An acknowledged request that is repeated is answered with the workflow that there is, whatever stands in
//! the way of a new one: over gRPC, in a batch, over REST.

use dispatch::{
    client::Client,
    config::{AccessKeyConfig, Config, RouteConfig, StoreKind, TenantConfig},
    pb::v1::{
        BatchCreateWorkflowsRequest, CreateWorkflowRequest, WorkflowSpec,
        batch_create_result::Result::{Created, Error},
    },
};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    access::{ALL, House, SECRET, key, outcome},
    no_recipient,
    support::{batch_reason, in_memory, messenger_sms, request},
};

fn config() -> Config {
    let mut config = in_memory();
    config.access.keys = vec![key("acme", "acme", &ALL)];
    config.routes = ["messenger", "sms"].map(|channel| route(channel, channel)).into();
    config
}

fn route(name: &str, channel: &str) -> RouteConfig {
    RouteConfig {
        name: name.to_owned(),
        adapter: format!("sandbox-{channel}"),
        account: "sandbox".to_owned(),
        tenants: vec!["*".to_owned()],
        sender: "*".to_owned(),
        concurrency: 4,
        timeout_s: 1,
    }
}

/// At most so many open workflows.
fn limited(config: &Config, open_workflows: u64) -> Config {
    let few = TenantConfig { open_workflows: Some(open_workflows), ..TenantConfig::default() };
    let mut config = config.clone();
    config.access.tenants = [("acme".to_owned(), few)].into();
    config
}

fn asked(request_id: &str, person: &str) -> CreateWorkflowRequest {
    let spec: WorkflowSpec = messenger_sms(person, "447700900001", "600s");
    CreateWorkflowRequest { request_id: request_id.to_owned(), ..request(spec) }
}

async fn create(client: &Client, request_id: &str, person: &str) -> (String, bool) {
    let made = client.create(asked(request_id, person)).await.unwrap();
    (made.workflow.unwrap().workflow_id, made.already_existed)
}

fn body(text: &str) -> Value {
    json!({
        "template": "failover",
        "workflow": [{
            "from": { "type": "sms", "number": "Dispatch" },
            "to": { "type": "sms", "number": "447700900001" },
            "message": { "content": { "type": "text", "text": text } },
        }],
    })
}

/// `POST /v0.1/dispatch` under an idempotency key.
async fn post(house: &House, id: &str, body: &Value) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let AccessKeyConfig { id: user, .. } = key("acme", "acme", &ALL);
    let asked = client
        .post(format!("http://{}/v0.1/dispatch", house.service.http))
        .basic_auth(user, Some(SECRET))
        .header("idempotency-key", id)
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = asked.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

/// What `acme` asked for in an earlier life, each under its key: by gRPC and by REST.
struct Acknowledged {
    grpc: String,
    rest: String,
}

impl Acknowledged {
    async fn by(house: &House) -> Acknowledged {
        let (grpc, existed) = create(&house.of("acme"), "one", "1000").await;
        assert!(!existed);
        let (status, answer) = post(house, "two", &body("Your table is ready.")).await;
        assert_eq!(status, 202, "{answer}");
        Acknowledged { grpc, rest: answer["dispatch_uuid"].as_str().unwrap().to_owned() }
    }

    /// Both are known; another plan under the same key is refused as such, and nothing new is taken,
    /// for `why`.
    async fn are_known_while_new_ones_are_refused(&self, house: &House, why: (Code, &str)) {
        let acme = house.of("acme");
        assert_eq!(create(&acme, "one", "1000").await, (self.grpc.clone(), true));
        let other = outcome(acme.create(asked("one", "2000")).await);
        assert_eq!(other, (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
        let new = outcome(acme.create(asked("new", "1000")).await);
        assert_eq!(new, (why.0, why.1.to_owned()));

        let requests = vec![asked("new", "1000"), asked("one", "1000"), asked("one", "2000")];
        let batch = BatchCreateWorkflowsRequest { requests };
        let results = acme.raw().batch_create_workflows(batch).await.unwrap().into_inner().results;
        let results: Vec<_> = results
            .into_iter()
            .map(|result| match result.result.unwrap() {
                Created(made) => made.workflow.unwrap().workflow_id,
                Error(error) => batch_reason(&error),
            })
            .collect();
        assert_eq!(results, [why.1, &self.grpc, "REQUEST_ID_REUSED"]);

        let (status, answer) = post(house, "two", &body("Your table is ready.")).await;
        assert_eq!((status, &answer["dispatch_uuid"]), (202, &json!(self.rest)), "{answer}");
        let (status, answer) = post(house, "two", &body("Your table is taken.")).await;
        assert_eq!(status, 409, "{answer}");
        let (status, answer) = post(house, "new", &body("Your table is ready.")).await;
        assert!(status >= 400 && status != 409, "{status}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_quota() {
    let house = House::new(&limited(&config(), 2)).await;
    let known = Acknowledged::by(&house).await;
    let why = (Code::ResourceExhausted, "QUOTA_EXCEEDED");
    known.are_known_while_new_ones_are_refused(&house, why).await;
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_rate_limit() {
    let mut config = config();
    let slow =
        TenantConfig { creates_per_s: Some(1), creates_burst: Some(2), ..TenantConfig::default() };
    config.access.tenants = [("acme".to_owned(), slow)].into();
    // Its clock stands, so that the rate allows nothing more.
    let house = House::new(&config).await;
    let known = Acknowledged::by(&house).await;
    let why = (Code::ResourceExhausted, "RATE_LIMITED");
    known.are_known_while_new_ones_are_refused(&house, why).await;
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_route_serves_it_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.store.kind = StoreKind::Sled;
    config.store.data = folder.path().to_owned();
    let house = House::new(&config).await;
    let known = Acknowledged::by(&house).await;
    no_recipient::stop(house.service).await;

    config.routes = vec![route("whatsapp", "whatsapp")];
    let house = House::new(&config).await;
    let why = (Code::InvalidArgument, "INVALID_REQUEST");
    known.are_known_while_new_ones_are_refused(&house, why).await;
    no_recipient::stop(house.service).await;
}

#[test]
fn what_has_ended_is_kept_for_the_day_that_its_request_id_is_promised() {
    let mut config = Config::default();
    config.store.retention_s = 86_399;
    let told = config.check().unwrap_err().to_string();
    assert!(told.contains("store.retention_s must be 86400 to"), "{told}");
    config.store.retention_s = 86_400;
    config.check().unwrap();
}
