//! A provider from outside to whom tenants bring pages of their own: each page sends under its own token, and
//! its token signs what is told of it.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, extract::State, http::HeaderMap, routing::post};
use dispatch::{
    builtin,
    client::{Client, Credential},
    config::Config,
    pb::v1::{GetAccountRequest, Workflow, WorkflowState},
    service::Service,
};
use dispatch_contract::{
    Accepted, Account, AdapterError, AddressForm, Capabilities, Channel, ChannelAdapter,
    ChannelSender, Content, ContentKind, Correlation, ExternalFields, Inbound, Limits, Message,
    OptionsForm, Provider, Receipt, RegistrationError, Registry, Report, SendContext, Setting,
    SettingRule, SettingsForm, Status, UnixMillis, WebhookOutcome, WebhookRequest,
};
use dispatch_kit::http::{HttpClient, HttpRequest};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use crate::{
    no_recipient,
    support::{FREE, eventually, request},
};

static PAGES: Channel = Channel::named("pages");
const HOUSE: &str = "token-of-the-house";
const PATH: &str = "/beta/chatapp-accounts/pages";

const FORM: SettingsForm = SettingsForm(&[
    Setting::secret("page_token", "what calls are authorised with, and webhooks signed").required(),
    Setting::plain("base_url", "where the API is").required().of(SettingRule::Url),
]);

struct Pages {
    adapter: Arc<PagesAdapter>,
    /// In which secret a page's own token goes.
    field: &'static str,
}

fn provider(field: &'static str) -> Pages {
    let capabilities = Capabilities {
        condition_statuses: vec![Status::Submitted, Status::Delivered],
        content: vec![ContentKind::Text],
        captions: vec![],
        limits: Limits { text_chars: 1_000, caption_chars: 0, url_bytes: 0 },
        to: vec![AddressForm::Id],
        from: vec![AddressForm::Id],
        idempotent_for: None,
        correlation: Correlation::AttemptId,
        recall: false,
        parts: false,
        watermarks: false,
        ids_name_recipients: false,
        options: OptionsForm::NONE,
    };
    Pages { adapter: Arc::new(PagesAdapter { capabilities, client: HttpClient::new() }), field }
}

impl Provider for Pages {
    fn name(&self) -> &str {
        "pages"
    }

    fn settings(&self) -> SettingsForm {
        FORM
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        vec![Arc::clone(&self.adapter) as _]
    }

    fn external_fields(&self, _: &Channel) -> Option<ExternalFields> {
        Some(ExternalFields { access_token: self.field })
    }

    fn webhook_sender(&self, request: &WebhookRequest<'_>) -> Option<ChannelSender> {
        let body: Value = serde_json::from_slice(request.body).ok()?;
        Some(ChannelSender { channel: PAGES.clone(), id: body["page"].as_str()?.to_owned() })
    }

    fn webhook(
        &self,
        request: &WebhookRequest<'_>,
        account: &Account,
        _: UnixMillis,
    ) -> WebhookOutcome {
        let token = account.secret("page_token").unwrap_or_default();
        if request.header("x-page-signature") != Some(&signature(token, request.body)) {
            return WebhookOutcome::forged();
        }
        let Ok(body) = serde_json::from_slice::<Value>(request.body) else {
            return WebhookOutcome::not_understood();
        };
        WebhookOutcome::understood(vec![Inbound::Receipt(Receipt {
            attempt: body["attempt"].as_str().and_then(|attempt| attempt.parse().ok()),
            provider_id: body["message"].as_str().map(str::to_owned),
            report: Report::Reached(Status::Delivered),
            provider_time: None,
            code: None,
            detail: None,
            usage: None,
        })])
    }
}

/// As this provider signs.
fn signature(token: &str, body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(token).chain_update([0]).chain_update(body).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct PagesAdapter {
    capabilities: Capabilities,
    client: HttpClient,
}

#[async_trait::async_trait]
impl ChannelAdapter for PagesAdapter {
    fn name(&self) -> &str {
        "pages"
    }

    fn provider(&self) -> &str {
        "pages"
    }

    fn channel(&self) -> &Channel {
        &PAGES
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        let account = context.account;
        let Content::Text(text) = &message.content else { panic!("only text is declared") };
        let url = format!("{}/send", account.setting("base_url").unwrap());
        let token = account.secret("page_token").unwrap().to_owned();
        let body = json!({
            "page": message.from.value(), "to": message.to.value(), "text": text,
            "attempt": context.attempt.to_string(),
        });
        let call = HttpRequest {
            authorization: Some(&token),
            body: body.to_string().into_bytes(),
            ..HttpRequest::json(&url, context)
        };
        let answer = self.client.call(call).await?;
        let provider_id = String::from_utf8(answer.body).unwrap();
        Ok(Accepted::under(provider_id))
    }
}

/// A call that the provider had.
#[derive(Clone, Debug)]
struct Call {
    token: String,
    page: String,
    attempt: String,
    message: String,
}

/// The provider's server: what it was asked, and whom it tells of a message before it answers.
#[derive(Default)]
struct Server {
    calls: Mutex<Vec<Call>>,
    count: AtomicUsize,
    hasty: OnceLock<String>,
}

async fn send(State(server): State<Arc<Server>>, headers: HeaderMap, body: String) -> String {
    let body: Value = serde_json::from_str(&body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    let message = format!("message-{}", server.count.fetch_add(1, Ordering::SeqCst));
    let token = headers["authorization"].to_str().unwrap().to_owned();
    let call =
        Call { token, page: text("page"), attempt: text("attempt"), message: message.clone() };
    if text("to") == "early" {
        let webhooks = server.hasty.get().unwrap();
        let early = json!({ "page": call.page, "message": message });
        // Whoever knows another page's token can say so too, and it is not for them to say.
        let theirs = json!({ "page": "page-of-bolt", "message": message });
        assert_eq!(tell(webhooks, &theirs, "token-of-bolt").await, 200);
        if body["text"] == "told early" {
            assert_eq!(tell(webhooks, &early, &call.token).await, 200);
        }
    }
    server.calls.lock().unwrap().push(call);
    message
}

/// Tells something, signed with a token; the HTTP status of the answer.
async fn tell(webhooks: &str, body: &Value, token: &str) -> u16 {
    let body = body.to_string();
    let call = reqwest::Client::new().post(webhooks);
    let call = call.header("x-page-signature", signature(token, body.as_bytes())).body(body);
    call.send().await.unwrap().status().as_u16()
}

/// The service with this provider, for two tenants that share its one route.
struct World {
    service: Service,
    server: Arc<Server>,
    webhooks: String,
}

impl World {
    async fn start() -> World {
        let server = Arc::new(Server::default());
        let socket = TcpListener::bind(FREE).await.unwrap();
        let base_url = format!("http://{}", socket.local_addr().unwrap());
        let router = Router::new().route("/send", post(send)).with_state(Arc::clone(&server));
        tokio::spawn(async move { axum::serve(socket, router).await });
        let key = |tenant: &str| {
            format!(
                "[[access.keys]]\nid = \"{tenant}\"\nsecret = \"a secret of the tests\"\n\
                 tenant = \"{tenant}\"\nscopes = [\"create\", \"read\", \"admin\"]\n"
            )
        };
        let config = Config::parse(&format!(
            r#"
[listen]
grpc = "127.0.0.1:0"
http = "127.0.0.1:0"
internal_http = "127.0.0.1:0"
[store]
kind = "memory"
{}{}
[[accounts]]
name = "main"
provider = "pages"
settings = {{ base_url = "{base_url}" }}
secrets = {{ page_token = "{HOUSE}" }}
[[routes]]
name = "pages"
adapter = "pages"
account = "main"
tenants = ["acme", "bolt"]
"#,
            key("acme"),
            key("bolt")
        ))
        .unwrap();
        let mut providers = Registry::new();
        providers.add(provider("page_token")).unwrap();
        let parts = |clock: &_, _| builtin::parts_of(&providers, &config, clock);
        let service = no_recipient::start(&config, parts).await.unwrap();
        let webhooks = format!("http://{}/receipts/pages/main", service.http);
        server.hasty.set(webhooks.clone()).unwrap();
        World { service, server, webhooks }
    }

    async fn call(&self, tenant: &str, method: &str, path: &str, body: Value) -> u16 {
        let url = format!("http://{}{PATH}{path}", self.service.http);
        let call = reqwest::Client::new().request(method.parse().unwrap(), url);
        let call = call.basic_auth(tenant, Some("a secret of the tests"));
        let call = call.header("content-type", "application/json").body(body.to_string());
        call.send().await.unwrap().status().as_u16()
    }

    /// Brings a tenant's page along.
    async fn bring(&self, tenant: &str, page: &str, token: &str) {
        let body = json!({ "external_id": page, "access_token": token });
        assert_eq!(self.call(tenant, "POST", "", body).await, 201);
    }

    async fn client(&self, tenant: &str) -> Client {
        let client = Client::connect(format!("http://{}", self.service.grpc)).await.unwrap();
        let key = format!("{tenant}:a secret of the tests");
        client.with(Credential::key(&key).unwrap())
    }

    async fn create(
        &self,
        tenant: &str,
        page: &str,
        to: &str,
        text: &str,
    ) -> Result<String, String> {
        let spec = dispatch::pb::from_yaml(&format!(
            "
steps:
  - sender: {{ channel: pages, id: '{page}' }}
    recipient: {{ channel: pages, id: '{to}' }}
    message: {{ text: '{text}' }}
    failover: {{ expiry_time: 600s, condition_status: delivered }}
  - sender: {{ channel: pages, id: '{page}' }}
    recipient: {{ channel: pages, id: 'never' }}
    message: {{ text: 'once more' }}
"
        ));
        let created = self.client(tenant).await.create(request(spec.unwrap())).await;
        let created = created.map_err(|error| format!("{error:?}"))?;
        Ok(created.workflow.unwrap().workflow_id)
    }

    /// Sends, and returns the workflow with the call that it made.
    async fn send(&self, tenant: &str, page: &str, to: &str, text: &str) -> (String, Call) {
        let before = self.server.calls.lock().unwrap().len();
        let id = self.create(tenant, page, to, text).await.unwrap();
        let is_out = async || self.server.calls.lock().unwrap().len() > before;
        assert!(eventually(std::time::Duration::from_secs(10), is_out).await);
        let is_taken = async || {
            let workflow = self.get(tenant, &id).await;
            !workflow.steps[0].attempts[0].provider_message_ids.is_empty()
        };
        assert!(eventually(std::time::Duration::from_secs(10), is_taken).await);
        let call = self.server.calls.lock().unwrap()[before].clone();
        (id, call)
    }

    async fn get(&self, tenant: &str, id: &str) -> Workflow {
        self.client(tenant).await.get(id).await.unwrap()
    }

    async fn state(&self, tenant: &str, id: &str) -> WorkflowState {
        self.get(tenant, id).await.state()
    }

    async fn tell(&self, body: &Value, token: &str) -> u16 {
        tell(&self.webhooks, body, token).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_page_sends_under_its_own_token_and_a_change_counts_from_the_next_call_on() {
    let world = World::start().await;
    world.bring("acme", "page-of-acme", "token-of-acme").await;
    world.bring("bolt", "page-of-bolt", "token-of-bolt").await;
    let token = async |tenant: &str, page: &str| {
        let (_, call) = world.send(tenant, page, "ana", "hello").await;
        assert_eq!(call.page, page);
        call.token
    };
    assert_eq!(token("acme", "page-of-acme").await, "token-of-acme");
    assert_eq!(token("bolt", "page-of-bolt").await, "token-of-bolt");
    assert_eq!(token("acme", "page-of-the-house").await, HOUSE, "it has no account of its own");

    let provider = "pages".to_owned();
    let shown = GetAccountRequest { provider, external_id: "page-of-acme".to_owned() };
    let shown = world.client("acme").await.accounts().get_account(shown).await.unwrap();
    assert_eq!(shown.into_inner().account.unwrap().routes, ["pages"]);

    // Another tenant's page is no sender of one's own, not even for whoever brings it too.
    assert!(world.create("bolt", "page-of-acme", "ana", "hello").await.is_err());
    world.bring("bolt", "page-of-acme", "a-token-that-bolt-made-up").await;
    assert!(world.create("bolt", "page-of-acme", "ana", "hello").await.is_err());
    assert_eq!(token("acme", "page-of-acme").await, "token-of-acme");

    let renewed = json!({ "access_token": "renewed" });
    assert_eq!(world.call("acme", "PATCH", "/page-of-acme", renewed).await, 200);
    assert_eq!(token("acme", "page-of-acme").await, "renewed");
    assert_eq!(world.call("bolt", "DELETE", "/page-of-acme", Value::Null).await, 204);
    assert_eq!(world.call("acme", "DELETE", "/page-of-acme", Value::Null).await, 204);
    assert_eq!(token("acme", "page-of-acme").await, HOUSE);
    no_recipient::stop(world.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_page_s_own_token_signs_counts_for_that_page_s_messages_alone() {
    let world = World::start().await;
    world.bring("acme", "page-of-acme", "token-of-acme").await;
    world.bring("bolt", "page-of-bolt", "token-of-bolt").await;
    let (acme, call) = world.send("acme", "page-of-acme", "ana", "hello").await;
    let (house, house_call) = world.send("acme", "page-of-the-house", "ana", "hello").await;
    let of = |page: &str, call: &Call| {
        let by_attempt = json!({ "page": page, "attempt": call.attempt });
        [by_attempt, json!({ "page": page, "message": call.message })]
    };

    // Bolt's token is genuine for bolt's page, whatever it names; for another page it is none.
    for call in [&call, &house_call] {
        for body in of("page-of-bolt", call) {
            assert_eq!(world.tell(&body, "token-of-bolt").await, 200);
        }
    }
    for body in of("page-of-acme", &call) {
        assert_eq!(world.tell(&body, "token-of-bolt").await, 401);
    }
    // Nor does the same page become another tenant's by its bringing it too.
    world.bring("bolt", "page-of-acme", "token-that-bolt-made-up").await;
    for body in of("page-of-acme", &call) {
        assert_eq!(world.tell(&body, "token-that-bolt-made-up").await, 200);
    }
    assert_eq!(world.state("acme", &acme).await, WorkflowState::Running);
    assert_eq!(world.state("acme", &house).await, WorkflowState::Running);

    let [by_attempt, by_message] = of("page-of-acme", &call);
    assert_eq!(world.tell(&by_attempt, "token-of-acme").await, 200);
    assert_eq!(world.state("acme", &acme).await, WorkflowState::Succeeded);
    let (second, call) = world.send("acme", "page-of-acme", "ana", "hello again").await;
    assert_eq!(world.tell(&of("page-of-acme", &call)[1], "token-of-acme").await, 200);
    assert_eq!(world.state("acme", &second).await, WorkflowState::Succeeded);
    // What the configured account signs goes for all that was sent by it.
    assert_eq!(world.tell(&of("page-of-the-house", &house_call)[0], HOUSE).await, 200);
    assert_eq!(world.state("acme", &house).await, WorkflowState::Succeeded);

    // From then on nobody speaks for it.
    assert_eq!(world.call("acme", "DELETE", "/page-of-acme", Value::Null).await, 204);
    assert_eq!(world.tell(&by_message, "token-of-acme").await, 401);
    no_recipient::stop(world.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_s_receipt_that_comes_before_the_answer_is_kept_for_its_messages_alone() {
    let world = World::start().await;
    world.bring("acme", "page-of-acme", "token-of-acme").await;
    world.bring("bolt", "page-of-bolt", "token-of-bolt").await;
    // Told of too early by bolt alone, and then by both.
    let (forged, _) = world.send("acme", "page-of-acme", "early", "not told").await;
    let (genuine, _) = world.send("acme", "page-of-acme", "early", "told early").await;
    let is_over = async || world.state("acme", &genuine).await == WorkflowState::Succeeded;
    assert!(eventually(std::time::Duration::from_secs(10), is_over).await);
    assert_eq!(world.state("acme", &forged).await, WorkflowState::Running);
    no_recipient::stop(world.service).await;
}

#[test]
fn a_page_s_token_goes_only_where_the_settings_form_has_a_secret() {
    let mut providers = Registry::new();
    for field in ["access_token", "base_url"] {
        let refused = providers.add(provider(field)).unwrap_err();
        let provider = "pages".to_owned();
        assert_eq!(refused, RegistrationError::ExternalField { provider, field });
    }
}
