//! External accounts: over HTTP as the old API had them, over gRPC, as rows, and in use by a send.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use dispatch::{
    access::{
        AccountChange, AccountError, AccountToken, Accounts, ApplicationSpec, Applications,
        ExternalId, LimitsByTenant, MasterKey, MessagesSpec, Name, NewAccount, TenantLimits, Vault,
        VaultError,
    },
    builtin,
    client::Client,
    config::{Config, StoreKind},
    engine::{Route, RouteTable},
    pb::v1::{
        CreateAccountRequest, EventKind, GetAccountRequest, LinkApplicationRequest,
        ListAccountsRequest, UnlinkApplicationRequest, UpdateAccountRequest,
    },
    service::{Components, Service},
    store::{KeyAndValue, Kind, MemoryStore, SettingChange, Settings, SledOptions, Store},
};
use dispatch_contract::{
    Accepted, Account, AdapterError, Capabilities, Channel, ChannelAdapter, ExternalFields,
    Message, SendContext, UnixMillis,
};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    no_recipient,
    rest::{Api, wrong},
    support::{FREE, Process, Running, eventually, in_memory, messenger_sms},
};

const PATH: &str = "/beta/chatapp-accounts";
const PAGE: &str = "107083064136738";
const TOKEN: &str = "EAAJaPageToken0123456789";
const FIELDS: ExternalFields = ExternalFields { access_token: "access_token" };
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

async fn application(api: &Api, name: &str) -> String {
    let body = json!({ "name": name, "capabilities": { "messages": {} } });
    let (status, created) = api.post("/v2/applications", body).await;
    assert_eq!(status, 201, "{created}");
    created["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_may_be_sent_back_as_it_is() {
    for show_tokens in [false, true] {
        let mut config = in_memory();
        config.access.show_tokens = show_tokens;
        let running = Running::start(&config).await;
        let api = Api::of(&running);
        let app = application(&api, "first").await;
        for (provider, id) in
            [("messenger", PAGE), ("viber_service_msg", "16273"), ("whatsapp", "442079460001")]
        {
            let body = json!({
                "external_id": id, "access_token": TOKEN, "name": "Ours", "applications": [app],
            });
            let (status, created) = api.post(&format!("{PATH}/{provider}"), body).await;
            assert_eq!(status, 201, "{created}");
            let one = format!("{PATH}/{provider}/{id}");
            let (status, updated) = api.patch(&one, created.clone()).await;
            assert_eq!((status, &updated), (200, &created));
            for (key, other) in [("external_id", "x"), ("provider", "fax"), ("api_key", "another")]
            {
                let mut body = created.clone();
                body[key] = json!(other);
                let (status, problem) = api.patch(&one, body).await;
                assert_eq!(status, 400, "{problem}");
                let told = wrong(&problem, "invalid_params");
                assert!(told[0].0 == key && told[0].1.contains("cannot be changed"), "{told:?}");
            }
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_messenger_account_lives_its_life_over_http() {
    let running = Running::start(&in_memory()).await;
    let api = Api::of(&running);
    let app = application(&api, "first").await;
    let body = json!({ "external_id": PAGE, "access_token": TOKEN, "name": "Our page" });
    let messenger = format!("{PATH}/messenger");
    let (status, created) = api.post(&messenger, body.clone()).await;
    let expected = json!({
        "external_id": PAGE,
        "api_key": "default",
        "provider": "messenger",
        "name": "Our page",
        "applications": [],
        "access_token": "***",
    });
    assert_eq!((status, &created), (201, &expected));
    let (status, problem) = api.post(&messenger, body).await;
    assert_eq!((status, &problem["title"]), (409, &json!("Account conflict")));

    let one = format!("{messenger}/{PAGE}");
    assert_eq!(api.get(&one).await, (200, expected.clone()));
    let (status, linked) =
        api.post(&format!("{one}/applications"), json!({ "application": app })).await;
    assert_eq!((status, &linked["applications"]), (200, &json!([app])));
    let again = api.post(&format!("{one}/applications"), json!({ "application": app })).await;
    assert_eq!(again, (200, linked), "linked as it was");

    let second = application(&api, "second").await;
    let (status, problem) =
        api.post(&format!("{one}/applications"), json!({ "application": second })).await;
    assert_eq!((status, &problem["title"]), (409, &json!("Application conflict")));
    assert_eq!(problem["type"], "https://www.nexmo.com/messages/Errors#Conflict");
    let (_, moved) = api.patch(&one, json!({ "applications": [second], "name": "" })).await;
    assert_eq!((&moved["applications"], &moved["name"]), (&json!([second]), &json!("")));

    let link = |id: &str| format!("{one}/applications/{id}");
    assert_eq!(api.delete(&link(&app)).await.0, 409, "it is linked to the other one");
    assert_eq!(api.delete(&link("nonsense")).await.0, 409);
    assert_eq!(api.delete(&link(&second)).await, (204, Value::Null));
    assert_eq!(api.delete(&link(&second)).await.0, 409);

    // One that is gone, one of no messages, and none.
    let (_, mute) = api.post("/v2/applications", json!({ "name": "mute" })).await;
    api.delete(&format!("/v2/applications/{second}")).await;
    for id in [&second, mute["id"].as_str().unwrap()] {
        let (status, problem) =
            api.post(&format!("{one}/applications"), json!({ "application": id })).await;
        assert_eq!((status, &problem["title"]), (403, &json!("Forbidden")));
        assert!(problem["detail"].as_str().unwrap().starts_with("Cannot link application"));
        assert_eq!(api.patch(&one, json!({ "applications": [id] })).await.0, 403);
    }
    assert_eq!(api.delete(&one).await, (204, Value::Null));
    for gone in [api.get(&one).await, api.delete(&one).await, api.patch(&one, json!({})).await] {
        assert_eq!(gone.0, 404);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_goes_leaves_its_accounts_unlinked() {
    let running = Running::start(&in_memory()).await;
    let api = Api::of(&running);
    let app = application(&api, "first").await;
    let body = json!({ "external_id": PAGE, "access_token": TOKEN, "applications": [app] });
    let (_, created) = api.post(&format!("{PATH}/messenger"), body).await;
    assert_eq!(created["applications"], json!([app]));
    assert_eq!(api.delete(&format!("/v2/applications/{app}")).await.0, 204);
    let (_, left) = api.get(&format!("{PATH}/messenger/{PAGE}")).await;
    assert_eq!(left["applications"], json!([]));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_of_all_providers_are_listed_in_pages() {
    let running = Running::start(&in_memory()).await;
    let api = Api::of(&running);
    let ids = [("viber_service_msg", "16273"), ("whatsapp", "447700900000")];
    for (provider, id) in ids {
        let (status, created) =
            api.post(&format!("{PATH}/{provider}"), json!({ "external_id": id })).await;
        assert_eq!((status, created.get("access_token")), (201, None), "it has none");
        assert_eq!(api.get(&format!("{PATH}/{provider}/{id}")).await.0, 200);
    }
    for number in 1..=3 {
        let body = json!({ "external_id": format!("page{number}"), "access_token": TOKEN });
        assert_eq!(api.post(&format!("{PATH}/messenger"), body).await.0, 201);
    }
    let (status, page) = api.get(&format!("{PATH}/?page_number=2&page_size=2")).await;
    assert_eq!((status, &page["page_number"], &page["page_size"]), (200, &json!(2), &json!(2)));
    let shown: Vec<_> = page["_embedded"].as_array().unwrap().iter().collect();
    assert_eq!((&shown[0]["external_id"], shown.len()), (&json!("page3"), 2));
    let href = |name: &str| page["_links"][name]["href"].as_str().unwrap().to_owned();
    assert_eq!(href("next"), format!("{PATH}?page_number=3&page_size=2"));
    assert_eq!((href("prev"), href("last")), (href("first"), href("next")));
    let (_, page) = api.get(&format!("{PATH}?provider=whatsapp")).await;
    assert_eq!(page["page_size"], 20);
    assert_eq!(page["_embedded"].as_array().unwrap().len(), 1);
    assert_eq!(
        page["_links"]["self"]["href"],
        format!("{PATH}?provider=whatsapp&page_number=1&page_size=20")
    );
    for query in ["provider=sms", "page_size=0", "page_size=x", "page_number=0"] {
        let (status, problem) = api.get(&format!("{PATH}?{query}")).await;
        assert_eq!(status, 400);
        let (name, _) = query.split_once('=').unwrap();
        assert_eq!(wrong(&problem, "invalid_params")[0].0, name);
    }
    assert_eq!(api.post(&format!("{PATH}/sms"), json!({})).await.0, 404);
    assert_eq!(api.put(&format!("{PATH}/messenger/page1"), json!({})).await.0, 405);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_field_is_named_with_what_would_be_right() {
    let running = Running::start(&in_memory()).await;
    let api = Api::of(&running);
    let two = json!(["x", "y"]);
    // At which provider, which field, what, and a part of which reason. Null: the field is left out.
    let cases = [
        ("messenger", "external_id", Value::Null, "Missing `external_id` field"),
        ("messenger", "external_id", json!(107), "must be a string"),
        ("messenger", "external_id", json!("a/b"), "1 to 50 letters"),
        ("messenger", "external_id", json!(""), "1 to 50 letters"),
        ("whatsapp", "external_id", json!("+447700900000"), "without +"),
        ("whatsapp", "external_id", json!("Dispatch"), "7 to 32 digits"),
        ("viber_service_msg", "external_id", json!("x".repeat(51)), "1 to 50 letters"),
        ("messenger", "access_token", Value::Null, "Missing `access_token` field"),
        ("messenger", "access_token", json!(""), "1 to 4096"),
        ("messenger", "access_token", json!("a b"), "no spaces"),
        ("messenger", "access_token", json!("a\r\nX-Injected: b"), "visible ASCII"),
        ("messenger", "access_token", json!("***"), "leave it out to keep it"),
        ("messenger", "access_token", json!("x".repeat(4097)), "1 to 4096"),
        ("messenger", "name", json!("a\u{7}b"), "printable characters"),
        ("messenger", "name", json!("a\u{200b}b"), "printable characters"),
        ("messenger", "applications", json!("x"), "at most one"),
        ("messenger", "applications", two, "at most one"),
    ];
    for (provider, field, value, reason) in cases {
        let mut body = json!({ "external_id": "447700900000", "access_token": TOKEN });
        body[field] = value;
        let (status, problem) = api.post(&format!("{PATH}/{provider}"), body).await;
        assert_eq!(status, 400, "{field}: {problem}");
        assert_eq!(problem["type"], "https://www.nexmo.com/messages/Errors#InvalidParams");
        assert_eq!(problem["detail"], "Found errors validating 1 of your submitted parameters.");
        let told = wrong(&problem, "invalid_params");
        assert_eq!(told[0].0, field);
        assert!(told[0].1.contains(reason), "{field}: {told:?}");
    }
    assert_eq!(api.get(PATH).await.1["_embedded"], json!([]), "and nothing was kept");

    let body = json!({ "external_id": PAGE, "access_token": TOKEN });
    api.post(&format!("{PATH}/messenger"), body).await;
    let changes = [
        (json!({ "external_id": "x" }), "external_id", "cannot be changed"),
        (json!({ "provider": "whatsapp" }), "provider", "cannot be changed"),
        (json!({ "access_token": 1 }), "access_token", "must be a string"),
        (json!({ "applications": ["x"] }), "applications[0]", "application's id"),
    ];
    for (body, name, reason) in changes {
        let (status, problem) = api.patch(&format!("{PATH}/messenger/{PAGE}"), body).await;
        let told = wrong(&problem, "invalid_params");
        assert_eq!((status, told[0].0.as_str()), (400, name));
        assert!(told[0].1.contains(reason), "{told:?}");
    }
    for body in [json!({}), json!({ "application": 1 }), json!({ "application": "x" })] {
        let link = format!("{PATH}/messenger/{PAGE}/applications");
        let (status, problem) = api.post(&link, body).await;
        assert_eq!(status, 400);
        assert_eq!(wrong(&problem, "invalid_params")[0].0, "application");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_made_over_http_is_the_same_over_grpc() {
    let running = Running::start(&in_memory()).await;
    let api = Api::of(&running);
    let mut grpc = running.client.accounts();
    let body = json!({ "external_id": PAGE, "access_token": TOKEN });
    api.post(&format!("{PATH}/messenger"), body).await;
    let (provider, external_id) = ("messenger".to_owned(), PAGE.to_owned());
    let request =
        GetAccountRequest { provider: provider.clone(), external_id: external_id.clone() };
    let shown = grpc.get_account(request).await.unwrap().into_inner().account.unwrap();
    assert_eq!((shown.external_id.as_str(), shown.access_token.as_str()), (PAGE, "***"));
    assert!(!format!("{shown:?}").contains(PAGE), "its Debug shows nothing");

    let request = CreateAccountRequest {
        provider: "whatsapp".to_owned(),
        external_id: "447700900000".to_owned(),
        access_token: "own".to_owned(),
        ..Default::default()
    };
    grpc.create_account(request.clone()).await.unwrap();
    assert_eq!(grpc.create_account(request).await.unwrap_err().code(), Code::AlreadyExists);
    let request = UpdateAccountRequest {
        provider: provider.clone(),
        external_id: external_id.clone(),
        name: "From gRPC".to_owned(),
        // Not named, and not looked at.
        access_token: "no\ntoken".to_owned(),
        update_mask: Some(prost_types::FieldMask { paths: vec!["name".to_owned()] }),
    };
    grpc.update_account(request).await.unwrap();
    assert_eq!(api.get(&format!("{PATH}/messenger/{PAGE}")).await.1["name"], "From gRPC");

    let app = application(&api, "linked").await;
    let request = LinkApplicationRequest {
        provider: provider.clone(),
        external_id: external_id.clone(),
        application_id: app.clone(),
    };
    let linked = grpc.link_application(request).await.unwrap().into_inner().account.unwrap();
    assert_eq!(linked.application_id, app);
    let request = UnlinkApplicationRequest { provider, external_id, application_id: app };
    grpc.unlink_application(request.clone()).await.unwrap();
    let refused = grpc.unlink_application(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "NOT_LINKED");

    let request = ListAccountsRequest { page_size: 1, ..Default::default() };
    let first = grpc.list_accounts(request.clone()).await.unwrap().into_inner();
    assert!(!first.next_page_token.contains(PAGE) && !first.next_page_token.is_empty());
    let request = ListAccountsRequest { page_token: first.next_page_token, ..request };
    let second = grpc.list_accounts(request).await.unwrap().into_inner();
    assert_eq!(second.accounts[0].provider, "whatsapp");
    assert_eq!(second.next_page_token, "");

    let request = CreateAccountRequest { provider: "messenger".to_owned(), ..Default::default() };
    let refused = grpc.create_account(request).await.unwrap_err();
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["external_id", "access_token"]);
    running.stop().await;
}

/// An adapter that remembers under which account it was called.
struct Remembering {
    inner: Arc<dyn ChannelAdapter>,
    calls: Arc<Mutex<Vec<Account>>>,
}

#[async_trait]
impl ChannelAdapter for Remembering {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn provider(&self) -> &str {
        self.inner.provider()
    }

    fn channel(&self) -> &Channel {
        self.inner.channel()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        self.calls.lock().unwrap().push(context.account.clone());
        self.inner.send(context, message).await
    }
}

/// A service whose adapters remember, and a client to it.
async fn remembering(config: &Config, calls: &Arc<Mutex<Vec<Account>>>) -> (Service, Client) {
    let remember = |route: &Route| {
        let inner = Arc::clone(&route.adapter);
        Route {
            adapter: Arc::new(Remembering { inner, calls: Arc::clone(calls) }),
            external_fields: Some(FIELDS),
            ..route.clone()
        }
    };
    let service = no_recipient::start(config, |clock, _| {
        let parts = builtin::parts(config, clock)?;
        let routes = RouteTable::new(parts.routes.iter().map(remember).collect());
        Ok(Components { routes, ..parts })
    });
    let service = service.await.unwrap();
    let client = Client::connect(format!("http://{}", service.grpc)).await.unwrap();
    (service, client)
}

/// The rows of external accounts in a data folder, before these take their places.
fn account_rows(data: &Path, put: Option<Vec<KeyAndValue>>) -> Vec<KeyAndValue> {
    let options = SledOptions { folder: data.to_owned(), cache_bytes: 1 << 24 };
    let store = options.open().unwrap();
    let settings = store.settings();
    let rows = settings.list(Kind::ExternalAccount, None, 100).unwrap();
    let put = put.into_iter().flatten();
    let put = put.map(|(key, value)| SettingChange::put(Kind::ExternalAccount, key, value));
    settings.write(put.collect()).unwrap();
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_waits_for_its_sender_s_account_and_goes_out_under_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = in_memory();
    config.sandbox.virtual_clock = false;
    config.store.kind = StoreKind::Sled;
    config.store.data = folder.path().join("data");
    config.store.cache_mib = 16;
    config.engine.recovery_grace_s = 0;
    let calls: Arc<Mutex<Vec<Account>>> = Arc::default();
    let (service, _) = remembering(&config, &calls).await;
    let body = json!({ "external_id": PAGE, "access_token": TOKEN });
    let api = Api::at(service.http);
    assert_eq!(api.post(&format!("{PATH}/messenger"), body).await.0, 201);
    no_recipient::stop(service).await;

    // What stands there now another service has sealed, with its own master key.
    let mut elsewhere = config.clone();
    elsewhere.store.data = folder.path().join("elsewhere");
    let (service, _) = remembering(&elsewhere, &calls).await;
    let body = json!({ "external_id": PAGE, "access_token": TOKEN });
    assert_eq!(Api::at(service.http).post(&format!("{PATH}/messenger"), body).await.0, 201);
    no_recipient::stop(service).await;
    let theirs = account_rows(&elsewhere.store.data, None);
    let ours = account_rows(&config.store.data, Some(theirs));
    let (service, client) = remembering(&config, &calls).await;
    let spec = messenger_sms("1000000000000001", "447700900001", "600s");
    let created = client.create(crate::support::request(spec)).await.unwrap();
    let id = created.workflow.unwrap().workflow_id;
    let is_deferred = || async {
        let timeline = client.get(id.clone()).await.unwrap().timeline;
        timeline.iter().any(|event| event.kind() == EventKind::AttemptRetryScheduled)
    };
    assert!(eventually(Duration::from_secs(10), is_deferred).await);
    assert!(calls.lock().unwrap().is_empty(), "nothing was sent");
    let (status, problem) = Api::at(service.http).get(&format!("{PATH}/messenger/{PAGE}")).await;
    assert_eq!(
        (status, &problem["access_token"]),
        (200, &json!("***")),
        "it is listed all the same"
    );
    no_recipient::stop(service).await;

    // It is put back.
    account_rows(&config.store.data, Some(ours));
    let (service, _client) = remembering(&config, &calls).await;
    let is_out = || async { !calls.lock().unwrap().is_empty() };
    assert!(eventually(Duration::from_secs(20), is_out).await);
    assert_eq!(calls.lock().unwrap()[0].secret("access_token"), Some(TOKEN));
    no_recipient::stop(service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_goes_out_under_its_sender_s_own_account() {
    let calls: Arc<Mutex<Vec<Account>>> = Arc::default();
    let mut config = in_memory();
    config.sandbox.virtual_clock = false;
    let (service, client) = remembering(&config, &calls).await;
    let api = Api::at(service.http);
    let send = async || {
        let before = calls.lock().unwrap().len();
        let spec = messenger_sms("1000000000000001", "447700900001", "600s");
        client.create(crate::support::request(spec)).await.unwrap();
        let is_out = || async { calls.lock().unwrap().len() > before };
        assert!(eventually(Duration::from_secs(10), is_out).await);
        calls.lock().unwrap()[before].clone()
    };

    let plain = send().await;
    assert_eq!(plain.secret("access_token"), None);

    let messenger = format!("{PATH}/messenger");
    let other = json!({ "external_id": "someone-else", "access_token": "not-this" });
    assert_eq!(api.post(&messenger, other).await.0, 201);
    assert_eq!(send().await, plain, "it is another sender's");

    let body = json!({ "external_id": PAGE, "access_token": TOKEN });
    assert_eq!(api.post(&messenger, body).await.0, 201);
    let own = send().await;
    assert_eq!(own.secret("access_token"), Some(TOKEN));
    assert_eq!(own.name, plain.name, "receipts still find it");
    assert_ne!(own.revision, plain.revision);
    assert_eq!(send().await, own, "the same until it changes");

    let one = format!("{messenger}/{PAGE}");
    assert_eq!(api.patch(&one, json!({ "access_token": "renewed" })).await.0, 200);
    let renewed = send().await;
    assert_eq!(renewed.secret("access_token"), Some("renewed"));
    assert_ne!(renewed.revision, own.revision);
    assert_eq!(api.delete(&one).await.0, 204);
    assert_eq!(send().await, plain);
    no_recipient::stop(service).await;
}

/// Rows in memory, and what is needed to make more of them.
struct Rows {
    settings: Arc<dyn Settings>,
    key: MasterKey,
}

impl Rows {
    fn new() -> Rows {
        Rows { settings: MemoryStore::new().settings(), key: MasterKey::random().unwrap() }
    }

    fn open(&self) -> (Arc<Applications>, Accounts) {
        self.open_with(&self.key)
    }

    fn open_with(&self, key: &MasterKey) -> (Arc<Applications>, Accounts) {
        let vault = Arc::new(Vault::new(key).unwrap());
        let limits = TenantLimits { accounts: 300, ..TenantLimits::default() };
        let limits = LimitsByTenant::new(limits, Default::default());
        let settings = || Arc::clone(&self.settings);
        let applications = Applications::open(settings(), Arc::clone(&vault), limits.clone());
        let applications = Arc::new(applications.unwrap());
        let accounts = Accounts::open(settings(), vault, Arc::clone(&applications), limits);
        (applications, accounts.unwrap())
    }
}

fn page(id: &str, token: &str) -> NewAccount {
    let channel = Channel::MESSENGER;
    NewAccount {
        external_id: ExternalId::parse(&channel, id).unwrap(),
        channel,
        name: None,
        token: Some(AccountToken::parse(token).unwrap()),
        application: None,
    }
}

fn base() -> Account {
    let (settings, secrets) = Default::default();
    Account { name: "main".to_owned(), revision: 1, settings, secrets }
}

#[test]
fn two_tenants_with_the_same_page_do_not_see_each_other() {
    let rows = Rows::new();
    let (applications, accounts) = rows.open();
    // One name is the beginning of the other.
    for tenant in ["a", "am"] {
        let new = page(PAGE, &format!("token-of-{tenant}"));
        accounts.create(tenant, new, NOW).unwrap();
    }
    accounts.create("am", page("another", "token"), NOW).unwrap();
    let messenger = &Channel::MESSENGER;
    let of = |tenant: &str| -> Vec<_> {
        let all = accounts.list(tenant, None).into_iter();
        all.map(|account| account.external_id.as_str().to_owned()).collect()
    };
    assert_eq!(of("a"), [PAGE]);
    assert_eq!(of("am"), [PAGE, "another"]);
    assert_eq!(of("amm"), [""; 0]);
    let spec = ApplicationSpec {
        name: Name::parse("theirs").unwrap(),
        public_key: None,
        renew_key: false,
        messages: Some(MessagesSpec::default()),
        other_capabilities: None,
        improve_ai: None,
        is_default: None,
    };
    let theirs = applications.create("am", spec, NOW).unwrap().application;
    let linked = accounts.link("a", messenger, PAGE, theirs.id);
    assert_eq!(linked, Err(AccountError::CannotLink), "the application is another tenant's");
    let none = Err(AccountError::NotFound);
    assert_eq!(accounts.get("a", messenger, "another"), none);
    assert_eq!(accounts.update("a", messenger, "another", AccountChange::default()), none);
    assert_eq!(accounts.delete("a", messenger, "another"), Err(AccountError::NotFound));
    accounts.delete("a", messenger, PAGE).unwrap();
    let left = accounts.get("am", messenger, PAGE).unwrap();
    assert_eq!(accounts.token(&left).unwrap().unwrap().expose(), "token-of-am");

    let over = |tenant: &str| {
        let account = accounts.over(&base(), FIELDS, tenant, &Channel::MESSENGER, PAGE).unwrap();
        account.map(|account| account.secret("access_token").unwrap().to_owned())
    };
    assert_eq!(over("am").as_deref(), Some("token-of-am"));
    assert_eq!(over("a"), None);
    let sms = accounts.over(&base(), FIELDS, "am", &Channel::SMS, PAGE).unwrap();
    assert_eq!(sms, None, "a page is no sender of SMS");
}

#[test]
fn what_is_kept_is_there_again_and_opens_with_its_own_master_key_only() {
    let rows = Rows::new();
    let (_, accounts) = rows.open();
    let made = accounts.create("a", page(PAGE, TOKEN), NOW).unwrap();
    for number in 0..300 {
        accounts.create("b", page(&format!("page{number}"), "token"), NOW).unwrap();
    }
    // So many and no more; another tenant's are not counted with them.
    let refused = accounts.create("b", page("one-too-many", "token"), NOW).unwrap_err();
    assert_eq!(refused, AccountError::TooMany { most: 300 });
    assert!(refused.to_string().contains("raise most_accounts in [access]"), "{refused}");
    drop(accounts);
    let (_, accounts) = rows.open();
    assert_eq!(accounts.get("a", &Channel::MESSENGER, PAGE), Ok(made.clone()));
    assert_eq!(accounts.token(&made).unwrap().unwrap().expose(), TOKEN);
    assert_eq!(accounts.list("b", None).len(), 300);

    let (_, accounts) = rows.open_with(&MasterKey::random().unwrap());
    let refused = accounts.over(&base(), FIELDS, "a", &Channel::MESSENGER, PAGE).unwrap_err();
    // One key in 256 has the same mark.
    let either = [VaultError::OtherKey, VaultError::Damaged].map(AccountError::Vault);
    assert!(either.contains(&refused), "{refused:?}");
    assert!(!refused.to_string().contains(TOKEN));
}

#[test]
fn every_version_of_every_account_has_a_revision_of_its_own() {
    let (_, accounts) = Rows::new().open();
    let mut seen = std::collections::BTreeSet::from([base().revision]);
    let mut next = |id: &str, tenant: &str| {
        let over =
            accounts.over(&base(), FIELDS, tenant, &Channel::MESSENGER, id).unwrap().unwrap();
        assert!(seen.insert(over.revision), "{id} of {tenant}");
    };
    for tenant in ["a", "b"] {
        for id in ["one", "two"] {
            accounts.create(tenant, page(id, TOKEN), NOW).unwrap();
            next(id, tenant);
            let token = Some(AccountToken::parse("renewed").unwrap());
            let change = AccountChange { token, ..Default::default() };
            accounts.update(tenant, &Channel::MESSENGER, id, change).unwrap();
            next(id, tenant);
        }
    }
    // Made anew at whatever time the clock shows.
    for now in [UnixMillis(NOW.0 + 10), NOW, UnixMillis(NOW.0 - 10), NOW] {
        accounts.delete("a", &Channel::MESSENGER, "one").unwrap();
        accounts.create("a", page("one", TOKEN), now).unwrap();
        next("one", "a");
    }
}

#[test]
fn a_sender_stays_with_the_first_who_registered_it_whatever_the_clock_said() {
    let rows = Rows::new();
    let (_, accounts) = rows.open();
    let messenger = &Channel::MESSENGER;
    for (tenant, now) in [("c", NOW), ("b", NOW), ("a", UnixMillis(NOW.0 - 3_600_000))] {
        accounts.create(tenant, page(PAGE, TOKEN), now).unwrap();
        assert_eq!(accounts.owner(messenger, PAGE).as_deref(), Some("c"));
    }
    for first in ["c", "b", "a"] {
        let (_, accounts) = rows.open();
        assert_eq!(accounts.owner(messenger, PAGE).as_deref(), Some(first));
        accounts.delete(first, messenger, PAGE).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_takes_tokens_from_a_file_or_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dispatch.toml");
    std::fs::write(&config, "[log]\nlevel = \"warn\"\n[access]\nshow_tokens = true\n").unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    let process = Process::serve(&config, &folder.path().join("data"), FREE, FREE).await;
    let server = format!("http://{}", process.grpc);
    let api = Api::at(process.http);
    let run = async |arguments: &[&str], input: &str| {
        use tokio::io::AsyncWriteExt;
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dispatch"));
        command.args(arguments).args(["--server", &server]);
        command.stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let page = ["messenger", PAGE];
    let (code, _, problem) = run(&[&["accounts", "create"], &page[..]].concat(), "").await;
    assert_eq!(code, Some(3));
    assert!(problem.contains("access_token: is required for messenger"), "{problem}");
    // The sandbox takes none, and whoever makes one is told so.
    let unused = "  no route uses its token";
    let path = token_file.display().to_string();
    let options = ["--name", "Our page", "--token-file", &path];
    let (code, told, problem) =
        run(&[&["accounts", "create"], &page[..], &options[..]].concat(), "").await;
    assert_eq!(
        (code, told),
        (Some(0), format!("messenger  {PAGE}  Our page{unused}\n")),
        "{problem}"
    );
    let one = format!("{PATH}/messenger/{PAGE}");
    assert_eq!(api.get(&one).await.1["access_token"], TOKEN);
    let options = ["--token-file", "-"];
    let (code, told, _) =
        run(&[&["accounts", "update"], &page[..], &options[..]].concat(), "renewed\r\n").await;
    assert_eq!(code, Some(0));
    assert!(!told.contains("renewed"), "{told}");
    assert_eq!(api.get(&one).await.1["access_token"], "renewed");

    let app = application(&api, "linked").await;
    let (_, told, _) = run(&[&["accounts", "link"], &page[..], &[&app]].concat(), "").await;
    assert_eq!(told, format!("messenger  {PAGE}  Our page  linked to {app}{unused}\n"));
    let (_, listed, _) = run(&["accounts", "list"], "").await;
    assert_eq!(listed, told);
    let (_, told, _) = run(&[&["accounts", "unlink"], &page[..], &[&app]].concat(), "").await;
    let unlinked = "  unlinked: its token is not used until it is linked again";
    assert_eq!(told, format!("messenger  {PAGE}  Our page{unlinked}\n"));
    assert_eq!(run(&[&["accounts", "show"], &page[..]].concat(), "").await.1, told);
    let (code, told, _) = run(&[&["accounts", "delete"], &page[..]].concat(), "").await;
    assert_eq!((code, told), (Some(0), format!("messenger {PAGE} is gone\n")));
    assert_eq!(run(&[&["accounts", "show"], &page[..]].concat(), "").await.0, Some(4));
    assert_eq!(process.terminate().await, Some(0));
}
