//! A tenant's own page or number, as it does its work: added over each API, it sends through Meta's simulated
//! server under its own token, is told what became of its messages, and stops when it is taken away.

use std::{process::Stdio, time::Duration};

use dispatch::{
    client::{Client, Credential},
    pb::v1::{
        CreateAccountRequest, DeleteAccountRequest, LinkApplicationRequest, StepState,
        UnlinkApplicationRequest, UpdateAccountRequest,
    },
};
use serde_json::{Value, json};
use tokio::process::Command;
use tonic::Code;

use crate::{
    at_providers::KEY,
    meta::{ACME_KEY, OWN_NUMBER_ID, OWN_PAGE, OWN_TOKEN, World, went_by_meta},
    support::eventually,
};

const ACCOUNTS: &str = "/beta/chatapp-accounts";
const PERSON: &str = "2384965291561984";

impl World {
    /// A call over HTTP as the old API's clients make them.
    async fn call_as(&self, key: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (id, secret) = key.split_once(':').unwrap();
        let url = format!("http://{}{path}", self.process.http);
        let call = reqwest::Client::new().request(method.parse().unwrap(), url);
        let call = call.basic_auth(id, Some(secret)).header("content-type", "application/json");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = call.body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.call_as(KEY, method, path, body).await
    }

    /// Has the page's message sent by the old API, to reach `status`, and returns the workflow's id.
    async fn sent_by_page(&self, status: &str) -> String {
        let content = json!({ "content": { "type": "text", "text": "Your table is ready." } });
        let body = json!({ "template": "failover", "workflow": [
            {
                "from": { "type": "messenger", "id": OWN_PAGE },
                "to": { "type": "messenger", "id": PERSON }, "message": content,
                "failover": { "expiry_time": 600, "condition_status": status },
            },
            {
                "from": { "type": "sms", "number": "Dispatch" },
                "to": { "type": "sms", "number": "447700900000" }, "message": content,
            },
        ] });
        let (status, told) = self.call("POST", "/v0.1/dispatch", body).await;
        assert_eq!(status, 202, "{told}");
        told["dispatch_uuid"].as_str().unwrap().to_owned()
    }

    /// Whether the page's next message goes out and is delivered. Where it does not, Meta refused it: under the route's
    /// own token nothing is sent for this page.
    async fn goes(&self) -> bool {
        let id = self.sent_by_page("delivered").await;
        let step = self.first_step(&id).await;
        match step.state() {
            StepState::Met => assert!(went_by_meta(&step), "{step:?}"),
            _ => assert_eq!((step.state(), went_by_meta(&step)), (StepState::Failed, false)),
        }
        step.state() == StepState::Met
    }

    async fn application(&self) -> String {
        let body = json!({ "name": "Shop", "capabilities": { "messages": {} } });
        let (status, made) = self.call("POST", "/v2/applications", body).await;
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    /// `dispatch accounts …`, with `input` on its standard input; what it printed.
    async fn accounts(&self, arguments: &[&str], input: &str) -> String {
        use tokio::io::AsyncWriteExt;
        let mut command = Command::new(env!("CARGO_BIN_EXE_dispatch"));
        command.arg("accounts").args(arguments).env("DISPATCH_KEY", KEY);
        command.args(["--server", &format!("http://{}", self.process.grpc)]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let ran = child.wait_with_output().await.unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }
}

fn page(token: &str) -> Value {
    json!({ "external_id": OWN_PAGE, "access_token": token })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_added_over_the_old_api_sends_under_its_own_token_until_it_is_unlinked_or_deleted() {
    let world = World::start().await;
    world.server.provider.set_default("accept; submitted 0s; deliver 0s".parse().unwrap());
    let (all, one) = (format!("{ACCOUNTS}/messenger"), format!("{ACCOUNTS}/messenger/{OWN_PAGE}"));
    assert!(!world.goes().await, "it is nobody's yet");

    assert_eq!(world.call("POST", &all, page("another-token")).await.0, 201);
    assert!(!world.goes().await, "its token is another's");
    assert_eq!(world.call("PATCH", &one, json!({ "access_token": OWN_TOKEN })).await.0, 200);
    assert!(world.goes().await, "the next call has the new token");
    assert_eq!(world.call("PATCH", &one, json!({ "access_token": "spent" })).await.0, 200);
    assert!(!world.goes().await, "and what is replaced is used no more");
    assert_eq!(world.call("PATCH", &one, json!({ "access_token": OWN_TOKEN })).await.0, 200);

    let app = world.application().await;
    let link = format!("{one}/applications");
    let linked = async || {
        let (status, told) = world.call("POST", &link, json!({ "application": app })).await;
        assert_eq!((status, &told["applications"]), (200, &json!([app])));
        world.goes().await
    };
    assert!(linked().await);
    assert_eq!(world.call("DELETE", &format!("{link}/{app}"), Value::Null).await.0, 204);
    assert!(!world.goes().await, "unlinked, it is out of use");
    let (_, shown) = world.call("GET", &one, Value::Null).await;
    assert_eq!((&shown["applications"], &shown["access_token"]), (&json!([]), &json!("***")));
    assert_eq!(world.call("PATCH", &one, shown).await.0, 200);
    assert!(!world.goes().await, "what was read and is written back changes nothing");
    assert!(linked().await);
    assert_eq!(world.call("PATCH", &one, json!({ "applications": [] })).await.0, 200);
    assert!(!world.goes().await);
    assert!(linked().await);
    let gone = format!("/v2/applications/{app}");
    assert_eq!(world.call("DELETE", &gone, Value::Null).await.0, 204);
    assert!(!world.goes().await, "with its application it is unlinked");

    assert_eq!(world.call("DELETE", &one, Value::Null).await.0, 204);
    assert_eq!(world.call("POST", &all, page(OWN_TOKEN)).await.0, 201);
    assert!(world.goes().await, "made anew, it was never linked");
    assert_eq!(world.call("DELETE", &one, Value::Null).await.0, 204);
    assert!(!world.goes().await);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_added_over_the_old_api_sends_under_its_own_token_until_it_is_deleted() {
    let world = World::start().await;
    let sender = format!("{{ channel: whatsapp, id: '{OWN_NUMBER_ID}' }}");
    world.server.provider.set_default("accept; deliver 0s; read 0s".parse().unwrap());
    let went = async || {
        let recipient = "{ channel: whatsapp, number: '447700900010' }";
        let id = world.create(&sender, recipient, "read").await;
        let step = world.first_step(&id).await;
        went_by_meta(&step) && step.state() == StepState::Met
    };
    let all = format!("{ACCOUNTS}/whatsapp");
    assert!(!went().await, "the account's own token is not taken for it");
    let account = json!({ "external_id": OWN_NUMBER_ID, "access_token": OWN_TOKEN });
    assert_eq!(world.call("POST", &all, account).await.0, 201);
    assert!(went().await, "it sends under its own token, and its receipts are taken");
    let one = format!("{all}/{OWN_NUMBER_ID}");
    assert_eq!(world.call("DELETE", &one, Value::Null).await.0, 204);
    assert!(!went().await);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_added_over_grpc_does_the_same() {
    let world = World::start().await;
    world.server.provider.set_default("accept; deliver 0s".parse().unwrap());
    let mut accounts = world.client.accounts();
    let (provider, external_id) = ("messenger".to_owned(), OWN_PAGE.to_owned());
    let create = CreateAccountRequest {
        provider: provider.clone(),
        external_id: external_id.clone(),
        access_token: OWN_TOKEN.to_owned(),
        ..Default::default()
    };
    let made = accounts.create_account(create).await.unwrap().into_inner().account.unwrap();
    assert_eq!((made.routes, made.unlinked), (vec!["messenger".to_owned()], false));
    assert!(world.goes().await);

    let application_id = world.application().await;
    let link = LinkApplicationRequest {
        provider: provider.clone(),
        external_id: external_id.clone(),
        application_id: application_id.clone(),
    };
    let unlink = UnlinkApplicationRequest {
        provider: provider.clone(),
        external_id: external_id.clone(),
        application_id,
    };
    accounts.link_application(link.clone()).await.unwrap();
    let unlinked = accounts.unlink_application(unlink).await.unwrap().into_inner().account.unwrap();
    assert_eq!((unlinked.routes, unlinked.unlinked), (Vec::<String>::new(), true));
    assert!(!world.goes().await);
    let linked = accounts.link_application(link).await.unwrap().into_inner().account.unwrap();
    assert_eq!((linked.routes, linked.unlinked), (vec!["messenger".to_owned()], false));
    assert!(world.goes().await);

    let update = UpdateAccountRequest {
        provider: provider.clone(),
        external_id: external_id.clone(),
        access_token: "spent".to_owned(),
        update_mask: Some(prost_types::FieldMask { paths: vec!["access_token".to_owned()] }),
        ..Default::default()
    };
    accounts.update_account(update).await.unwrap();
    assert!(!world.goes().await);
    accounts.delete_account(DeleteAccountRequest { provider, external_id }).await.unwrap();
    assert!(!world.goes().await);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_added_by_the_command_line_does_the_same() {
    let world = World::start().await;
    world.server.provider.set_default("accept; deliver 0s".parse().unwrap());
    let made =
        world.accounts(&["create", "messenger", OWN_PAGE, "--token-file", "-"], OWN_TOKEN).await;
    assert_eq!(made, format!("messenger  {OWN_PAGE}\n"));
    assert!(world.goes().await);
    let app = world.application().await;
    world.accounts(&["link", "messenger", OWN_PAGE, &app], "").await;
    let told = world.accounts(&["unlink", "messenger", OWN_PAGE, &app], "").await;
    assert!(told.contains("unlinked: its token is not used until it is linked again"), "{told}");
    assert!(!world.goes().await);
    world.accounts(&["link", "messenger", OWN_PAGE, &app], "").await;
    assert!(world.goes().await);
    world.accounts(&["delete", "messenger", OWN_PAGE], "").await;
    assert!(!world.goes().await);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_began_under_a_page_s_token_counts_though_the_page_is_taken_away_meanwhile() {
    let world = World::start().await;
    let (all, one) = (format!("{ACCOUNTS}/messenger"), format!("{ACCOUNTS}/messenger/{OWN_PAGE}"));
    assert_eq!(world.call("POST", &all, page(OWN_TOKEN)).await.0, 201);

    // Accepted before, delivered and read after.
    world.server.provider.set_default("accept; deliver 500ms; read 1s".parse().unwrap());
    let accepted = world.sent_by_page("read").await;
    world.until(&accepted, |it| it.steps[0].status == "submitted").await;
    assert_eq!(world.call("DELETE", &one, Value::Null).await.0, 204);
    let step = world.first_step(&accepted).await;
    assert_eq!((step.state(), &*step.status), (StepState::Met, "read"));

    // The call is out: it ends under the token that it began with, and its echo is matched.
    assert_eq!(world.call("POST", &all, page(OWN_TOKEN)).await.0, 201);
    world.server.provider.set_default("no-answer; submitted 500ms; deliver 600ms".parse().unwrap());
    let before = world.server.provider.sent().len();
    let out = world.sent_by_page("read").await;
    assert!(
        eventually(Duration::from_secs(5), async || world.server.provider.sent().len() > before)
            .await
    );
    assert_eq!(world.call("DELETE", &one, Value::Null).await.0, 204);
    world.until(&out, |it| it.steps[0].status == "delivered").await;
    assert!(!world.goes().await, "the next one is not sent for it");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_two_tenants_is_sent_for_by_the_first_alone() {
    let world = World::start().await;
    world.server.provider.set_default("accept; deliver 0s".parse().unwrap());
    let (all, one) = (format!("{ACCOUNTS}/messenger"), format!("{ACCOUNTS}/messenger/{OWN_PAGE}"));
    let acme = Client::connect(format!("http://{}", world.process.grpc)).await.unwrap();
    let acme = acme.with(Credential::key(ACME_KEY).unwrap());
    assert_eq!(world.call("POST", &all, page(OWN_TOKEN)).await.0, 201);
    // It may say so, and whose it is already it is not told; but nothing of its goes out as that page, whatever
    // token it brings.
    assert_eq!(world.call_as(ACME_KEY, "POST", &all, page("a-guess")).await.0, 201);
    let spec = || {
        let spec = dispatch::pb::from_yaml(&format!(
            "steps: [{{ sender: {{ channel: messenger, id: '{OWN_PAGE}' }}, \
             recipient: {{ channel: messenger, id: '{PERSON}' }}, message: {{ text: Hello }} }}]"
        ));
        crate::support::request(spec.unwrap())
    };
    let refused = acme.create(spec()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert!(world.goes().await, "the first is served as before");

    // What the other adds or takes away is not the first one's, and once that leaves it is the other's turn.
    assert_eq!(world.call_as(ACME_KEY, "DELETE", &one, Value::Null).await.0, 204);
    assert!(world.goes().await);
    assert_eq!(world.call_as(ACME_KEY, "POST", &all, page(OWN_TOKEN)).await.0, 201);
    assert_eq!(world.call("DELETE", &one, Value::Null).await.0, 204);
    acme.create(spec()).await.unwrap();
    world.stop().await;
}
