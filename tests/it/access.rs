//! Who may do what, over real sockets: rights, tenants, limits, keys.

use dispatch::{
    access::{self, Application},
    builtin,
    client::{Client, Credential, Watch},
    config::{AccessKeyConfig, Config, TenantConfig},
    pb::v1::{
        self, AdvanceClockRequest, ApplicationSpec, BackupRequest, BatchCreateWorkflowsRequest,
        CancelWorkflowRequest, CreateAccountRequest, CreateApplicationRequest, CreateKeyRequest,
        CreateWorkflowRequest, GetMasterKeyRotationRequest, GetWorkflowRequest, ListAuditRequest,
        ListChannelsRequest, ListKeysRequest, ListScriptsRequest, ListSentMessagesRequest,
        ListWorkflowsRequest, OpenWorkflows, ResumeRequest, RevokeKeyRequest, RotateKeyRequest,
        RotateMasterKeyRequest, SetScriptRequest, StreamStart, StreamStatusRequest,
        admin_service_client::AdminServiceClient,
        batch_create_result,
        dispatch_service_client::DispatchServiceClient,
        sandbox_service_client::SandboxServiceClient,
        stream_status_request::{Start, Target},
        stream_status_response::Kind,
    },
    service::Service,
    store::{self, SettingChange},
};
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::{
    no_recipient,
    support::{FREE, Process, batch_reason, in_memory, messenger_sms, request},
};

pub const SECRET: &str = "a secret of the tests";
pub const MISSING: &str = "0190a1b2-0000-7000-8000-000000000000";
pub const ALL: [&str; 4] = ["create", "read", "cancel", "admin"];

/// A service with keys in its configuration.
pub struct House {
    pub service: Service,
    pub channel: Channel,
}

pub fn key(id: &str, tenant: &str, scopes: &[&str]) -> AccessKeyConfig {
    AccessKeyConfig {
        id: id.to_owned(),
        secret: SECRET.into(),
        tenant: tenant.to_owned(),
        name: String::new(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
    }
}

fn config() -> Config {
    let mut config = in_memory();
    config.access.keys = vec![
        key("operator", "default", &["create", "operator"]),
        key("default", "default", &ALL),
        key("acme", "acme", &ALL),
        key("other", "other", &ALL),
        key("creates", "acme", &["create"]),
        key("reads", "acme", &["read"]),
        key("cancels", "acme", &["cancel"]),
    ];
    config
}

impl House {
    pub async fn new(config: &Config) -> House {
        let started = no_recipient::start(config, |clock, _| builtin::parts(config, clock)).await;
        House::of_service(started.unwrap()).await
    }

    pub async fn of_service(service: Service) -> House {
        let endpoint = Endpoint::from_shared(format!("http://{}", service.grpc)).unwrap();
        House { channel: endpoint.connect().await.unwrap(), service }
    }

    pub fn client(&self, credential: &Credential) -> Client {
        Client::over(self.channel.clone()).with(credential.clone())
    }

    pub fn of(&self, key: &str) -> Client {
        self.client(&holder(key))
    }
}

pub fn holder(key: &str) -> Credential {
    Credential::key(&format!("{key}:{SECRET}")).unwrap()
}

pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

pub fn outcome<T>(result: Result<T, Status>) -> (Code, String) {
    match result {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), reason(&status)),
    }
}

/// Calls every method of ours; what each answered, by its name.
async fn calls(house: &House, credential: &Credential) -> Vec<(&'static str, (Code, String))> {
    let client = house.client(credential);
    let (raw, access) = (|| client.raw(), || client.access());
    let known = tonic::service::interceptor::InterceptedService::new(
        house.channel.clone(),
        credential.clone(),
    );
    let admin = || AdminServiceClient::new(known.clone());
    let sandbox = || SandboxServiceClient::new(known.clone());
    let id = MISSING.to_owned();
    let target = Some(Target::WorkflowId(id.clone()));
    let stream = StreamStatusRequest { target, ..Default::default() };
    let resume = ResumeRequest { open: OpenWorkflows::Continue as i32 };
    let get = GetWorkflowRequest { workflow_id: id.clone(), view: 0 };
    vec![
        ("create", outcome(raw().create_workflow(CreateWorkflowRequest::default()).await)),
        (
            "create",
            outcome(raw().batch_create_workflows(BatchCreateWorkflowsRequest::default()).await),
        ),
        ("read", outcome(raw().get_workflow(get).await)),
        ("read", outcome(raw().stream_status(stream).await)),
        ("read", outcome(raw().list_workflows(ListWorkflowsRequest::default()).await)),
        ("read", outcome(raw().list_channels(ListChannelsRequest::default()).await)),
        (
            "cancel",
            outcome(raw().cancel_workflow(CancelWorkflowRequest { workflow_id: id.clone() }).await),
        ),
        ("admin", outcome(access().create_key(CreateKeyRequest::default()).await)),
        ("admin", outcome(access().list_keys(ListKeysRequest::default()).await)),
        (
            "admin",
            outcome(
                access()
                    .rotate_key(RotateKeyRequest { key_id: id.clone(), end_others: true })
                    .await,
            ),
        ),
        ("admin", outcome(access().revoke_key(RevokeKeyRequest { key_id: id.clone() }).await)),
        (
            "operator",
            outcome(access().get_master_key_rotation(GetMasterKeyRotationRequest {}).await),
        ),
        ("operator", outcome(access().rotate_master_key(RotateMasterKeyRequest {}).await)),
        (
            "admin",
            outcome(
                access().list_audit(ListAuditRequest { page_size: -1, ..Default::default() }).await,
            ),
        ),
        ("operator", outcome(admin().backup(BackupRequest::default()).await)),
        ("operator", outcome(admin().resume(resume).await)),
        ("operator", outcome(sandbox().advance_clock(AdvanceClockRequest { by: None }).await)),
        ("operator", outcome(sandbox().set_script(SetScriptRequest::default()).await)),
        ("operator", outcome(sandbox().list_scripts(ListScriptsRequest::default()).await)),
        (
            "operator",
            outcome(sandbox().list_sent_messages(ListSentMessagesRequest::default()).await),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_asks_for_its_right_and_says_which_is_missing() {
    let house = House::new(&config()).await;
    let may: [(&str, &[&str]); 6] = [
        ("operator", &["create", "read", "cancel", "admin", "operator"]),
        ("acme", &["create", "read", "cancel", "admin"]),
        // Its tenant's name says nothing.
        ("default", &["create", "read", "cancel", "admin"]),
        ("creates", &["create"]),
        ("reads", &["read"]),
        ("cancels", &["cancel"]),
    ];
    for (who, rights) in may {
        for (right, (code, reason)) in calls(&house, &holder(who)).await {
            let is_let_in = !matches!(code, Code::Unauthenticated | Code::PermissionDenied);
            assert_eq!(is_let_in, rights.contains(&right), "{who} {right}: {code:?} {reason}");
            if !is_let_in {
                assert_eq!(code, Code::PermissionDenied, "{who} {right}");
                assert_eq!(reason, "SCOPE_MISSING", "{who} {right}");
            }
        }
    }
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_credentials_are_refused_everywhere_and_health_and_reflection_ask_for_none() {
    let house = House::new(&config()).await;
    let application = Application {
        id: Uuid::new_v4(),
        tenant: "acme".to_owned(),
        name: String::new(),
        public_key: None,
        messages: None,
        other_capabilities: String::new(),
        improve_ai: false,
        create_time_ms: 0,
    };
    let row = store::encode(&application).unwrap();
    let row = SettingChange::put(store::Kind::Application, *application.id.as_bytes(), row);
    house.service.engine.settings().write(vec![row]).unwrap();
    let none = "eyJhbGciOiJub25lIn0.eyJhcHBsaWNhdGlvbl9pZCI6ImEifQ.";
    let cases = [
        ("nobody", Credential::none(), "CREDENTIALS_MISSING"),
        ("a wrong secret", Credential::key("acme:wrong").unwrap(), "CREDENTIALS_INVALID"),
        ("an unknown key", Credential::key(&format!("x:{SECRET}")).unwrap(), "CREDENTIALS_INVALID"),
        ("alg none", Credential::token(none).unwrap(), "CREDENTIALS_INVALID"),
        ("a header of 9 KB", Credential::token(&"a".repeat(9000)).unwrap(), "CREDENTIALS_INVALID"),
    ];
    let mut told = Vec::new();
    for (name, credential, wanted) in cases {
        for (method, answer) in calls(&house, &credential).await {
            assert_eq!(answer, (Code::Unauthenticated, wanted.to_owned()), "{name}: {method}");
        }
        let refused = house.client(&credential).channels().await.unwrap_err();
        told.push((name, refused.message().to_owned()));
    }
    assert_eq!(told[1].1, told[2].1, "a key that is there and one that is not");

    // Twice, and bytes that are no text: an adversary's client writes what it likes.
    let right: MetadataValue<_> = {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(format!("acme:{SECRET}"));
        format!("Basic {text}").parse().unwrap()
    };
    let ask = |values: Vec<MetadataValue<_>>| {
        let mut request = Request::new(ListChannelsRequest::default());
        for value in values {
            request.metadata_mut().append("authorization", value);
        }
        let mut client = DispatchServiceClient::new(house.channel.clone());
        async move { outcome(client.list_channels(request).await) }
    };
    let bytes = MetadataValue::try_from(&b"Basic \xff\xfe"[..]).unwrap();
    assert_eq!(ask(vec![right.clone()]).await.0, Code::Ok);
    let invalid = (Code::Unauthenticated, "CREDENTIALS_INVALID".to_owned());
    assert_eq!(ask(vec![right.clone(), right.clone()]).await, invalid);
    assert_eq!(ask(vec![bytes, right]).await, invalid);

    let mut health = tonic_health::pb::health_client::HealthClient::new(house.channel.clone());
    assert!(health.check(tonic_health::pb::HealthCheckRequest::default()).await.is_ok());
    let huge = house.client(&Credential::token(&"a".repeat(100_000)).unwrap()).channels().await;
    assert!(huge.is_err(), "more than a header may have");
    let refused = outcome(
        DispatchServiceClient::with_origin(
            house.channel.clone(),
            "http://localhost/dispatch.v1.DispatchService/ListChannels?api_key=acme"
                .parse()
                .unwrap(),
        )
        .list_channels(ListChannelsRequest::default())
        .await,
    );
    assert_ne!(refused.0, Code::Ok, "nothing in a URL is a credential");
    assert!(
        house.of("acme").list(ListWorkflowsRequest::default()).await.unwrap().workflows.is_empty()
    );
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tenant_sees_another_s_workflows() {
    let house = House::new(&config()).await;
    let (acme, other) = (house.of("acme"), house.of("other"));
    let mut asked = request(messenger_sms("1000", "447700900001", "600s"));
    asked.request_id = "the-same".to_owned();
    asked.workflow.as_mut().unwrap().labels.insert("kind".to_owned(), "test".to_owned());
    let created = acme.create(asked.clone()).await.unwrap().workflow.unwrap();
    assert_eq!(created.tenant, "acme");
    let id = created.workflow_id.clone();

    // As if there were none: the same words as for an id that nobody has.
    let said = |status: Status| {
        (status.code(), status.message().replace(&id, "ID").replace(MISSING, "ID"))
    };
    let (theirs, none) = (other.get(&id).await, other.get(MISSING).await);
    assert_eq!(said(theirs.unwrap_err()), said(none.unwrap_err()));
    let (theirs, none) = (other.cancel(&id).await, other.cancel(MISSING).await);
    assert_eq!(said(theirs.unwrap_err()), said(none.unwrap_err()));
    let watched = other.watch(Watch::Workflow(id.clone()), None, false, |_| false).await;
    assert_eq!(watched.unwrap_err().code(), Code::NotFound);
    assert!(other.list(ListWorkflowsRequest::default()).await.unwrap().workflows.is_empty());
    let page =
        acme.list(ListWorkflowsRequest { page_size: 1, ..Default::default() }).await.unwrap();
    assert_eq!(page.workflows.len(), 1);

    // A place in acme's history: it opens nothing of it.
    let mut token = None;
    let own = acme.watch(Watch::Workflow(id.clone()), None, false, |event| {
        token = Some(event.resume_token);
        false
    });
    own.await.unwrap();
    let watched = other.watch(Watch::Workflow(id.clone()), token.clone(), false, |_| false).await;
    assert_eq!(watched.unwrap_err().code(), Code::NotFound);

    // The same request id is another's own.
    let theirs = other.create(asked.clone()).await.unwrap();
    assert!(!theirs.already_existed);
    let their_id = theirs.workflow.unwrap().workflow_id;
    assert_ne!(their_id, id);
    let all = || Target::All(Default::default());
    let labels = || {
        Target::Labels(dispatch::pb::v1::LabelFilter {
            labels: [("kind".to_owned(), "test".to_owned())].into(),
        })
    };
    for (target, from) in [
        (all(), Start::Position(StreamStart::Beginning as i32)),
        (labels(), Start::Position(StreamStart::Beginning as i32)),
    ] {
        let asked =
            StreamStatusRequest { target: Some(target), start: Some(from), ..Default::default() };
        let mut stream = other.raw().stream_status(asked).await.unwrap().into_inner();
        loop {
            match stream.message().await.unwrap().unwrap().kind {
                Some(Kind::Event(event)) => {
                    assert_eq!(event.workflow_id, their_id);
                    break;
                }
                Some(Kind::Bookmark(_)) | None => {}
            }
        }
    }
    let asked = StreamStatusRequest {
        target: Some(all()),
        start: Some(Start::ResumeToken(token.unwrap())),
        ..Default::default()
    };
    let refused = other.raw().stream_status(asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "another tenant's token is none");
    assert_eq!(acme.get(&id).await.unwrap().state(), created.state(), "nothing happened to it");
    // Who may cancel and not read learns that it is done, and nothing of what it was.
    let canceled = house.of("cancels").cancel(&id).await.unwrap().workflow.unwrap();
    assert_eq!((canceled.workflow_id.as_str(), canceled.spec), (id.as_str(), None));
    assert!(acme.cancel(&id).await.unwrap().workflow.unwrap().spec.is_some());
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_for_one_tenant_and_say_when_to_ask_again() {
    let mut config = config();
    let none = TenantConfig::default();
    let fast = TenantConfig { creates_per_s: Some(1), creates_burst: Some(2), ..none.clone() };
    let few = TenantConfig { open_workflows: Some(2), ..none };
    config.access.tenants = [("acme".to_owned(), fast), ("other".to_owned(), few)].into();
    let house = House::new(&config).await;
    let spec = || request(messenger_sms("1000", "447700900001", "600s"));
    let (acme, other) = (house.of("acme"), house.of("other"));
    let batch = BatchCreateWorkflowsRequest { requests: vec![spec(), spec(), spec()] };
    let results = acme.raw().batch_create_workflows(batch).await.unwrap().into_inner().results;
    let reasons: Vec<_> = results
        .into_iter()
        .map(|result| match result.result.unwrap() {
            batch_create_result::Result::Created(_) => String::new(),
            batch_create_result::Result::Error(error) => batch_reason(&error),
        })
        .collect();
    assert_eq!(reasons.iter().filter(|reason| *reason == "RATE_LIMITED").count(), 1, "{reasons:?}");
    let refused = acme.create(spec()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::ResourceExhausted, "RATE_LIMITED")
    );
    let delay = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(delay.as_millis() <= 1000, "{delay:?}");

    let first = other.create(spec()).await.unwrap().workflow.unwrap().workflow_id;
    other.create(spec()).await.unwrap();
    let refused = other.create(spec()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::ResourceExhausted, "QUOTA_EXCEEDED")
    );
    other.cancel(first).await.unwrap();
    other.create(spec()).await.unwrap();

    for _ in 0..5 {
        house.of("operator").create(spec()).await.unwrap();
    }
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_tenant_has_keeps_no_other_from_having_as_much() {
    let mut config = config();
    config.access.most_keys = 5;
    config.access.most_applications = 2;
    config.access.most_accounts = 2;
    let more = TenantConfig { most_accounts: Some(3), ..TenantConfig::default() };
    config.access.tenants = [("other".to_owned(), more)].into();
    let house = House::new(&config).await;
    let page = |name: &str| CreateAccountRequest {
        provider: "messenger".to_owned(),
        external_id: name.to_owned(),
        access_token: "token-of-the-page".to_owned(),
        ..Default::default()
    };
    let application = || CreateApplicationRequest {
        application: Some(ApplicationSpec { name: "one".to_owned(), ..Default::default() }),
    };
    // Four of its keys stand in the configuration.
    let (mut made, mut refused) = ([0; 3], Vec::new());
    let acme = house.of("acme");
    for number in 0..6 {
        let key = CreateKeyRequest { scopes: vec![v1::Scope::Read as i32], ..Default::default() };
        let asked = [
            acme.access().create_key(key).await.map(drop),
            acme.applications().create_application(application()).await.map(drop),
            acme.accounts().create_account(page(&format!("page-{number}"))).await.map(drop),
        ];
        for (made, asked) in made.iter_mut().zip(asked) {
            match asked {
                Ok(()) => *made += 1,
                Err(status) => refused.push(status),
            }
        }
    }
    assert_eq!(made, [1, 2, 2]);
    for status in &refused {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(reason(status).starts_with("TOO_MANY_"), "{status}");
        assert!(status.message().contains("raise most_"), "{status}");
    }
    // The operator and others are as free as before, one by a limit of its own.
    let (operator, other) = (house.of("operator"), house.of("other"));
    let key = CreateKeyRequest { scopes: vec![v1::Scope::Read as i32], ..Default::default() };
    operator.access().create_key(key.clone()).await.unwrap();
    other.access().create_key(key).await.unwrap();
    other.applications().create_application(application()).await.unwrap();
    for number in 0..3 {
        other.accounts().create_account(page(&format!("page-{number}"))).await.unwrap();
    }
    let refused = other.accounts().create_account(page("one-too-many")).await.unwrap_err();
    assert_eq!(reason(&refused), "TOO_MANY_ACCOUNTS");
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_s_token_opens_its_tenant_and_names_it_in_what_it_creates() {
    const PRIVATE: &str = include_str!("../../adapters/sandbox/tests/sandbox/http/private_key.pem");
    const PUBLIC: &str = include_str!("../../adapters/sandbox/tests/sandbox/http/public_key.pem");
    let house = House::new(&config()).await;
    let application = Application {
        id: Uuid::new_v4(),
        tenant: "acme".to_owned(),
        name: String::new(),
        public_key: Some(PUBLIC.to_owned()),
        messages: None,
        other_capabilities: String::new(),
        improve_ai: false,
        create_time_ms: 0,
    };
    let settings = house.service.engine.settings();
    let row = store::encode(&application).unwrap();
    let row = SettingChange::put(store::Kind::Application, *application.id.as_bytes(), row);
    settings.write(vec![row]).unwrap();
    let now = house.service.engine.clock().real_wall();
    let token = access::token(application.id, PRIVATE, 900, now).unwrap();
    let client = house.client(&Credential::token(&token).unwrap());
    let spec = request(messenger_sms("1000", "447700900001", "600s"));
    let created = client.create(spec).await.unwrap().workflow.unwrap();
    assert_eq!(created.tenant, "acme");
    let id = dispatch::machine::WorkflowId(created.workflow_id.parse().unwrap());
    let record = house.service.engine.reader().record(id).unwrap().unwrap();
    assert_eq!(record.requester.application, Some(application.id));
    let refused = client.access().list_keys(ListKeysRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused), "SCOPE_MISSING");
    let gone = SettingChange::remove(store::Kind::Application, *application.id.as_bytes());
    settings.write(vec![gone]).unwrap();
    assert_eq!(client.channels().await.unwrap_err().code(), Code::Unauthenticated);
    no_recipient::stop(house.service).await;
}

/// Whoever follows what happens does not go on for ever with a key that is ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_secret_it_was_opened_with() {
    let house = House::new(&config()).await;
    let operator = house.of("operator");
    let scopes = vec![v1::Scope::Read as i32];
    let asked = CreateKeyRequest {
        tenant: "acme".to_owned(),
        name: String::new(),
        scopes,
        ..CreateKeyRequest::default()
    };
    let made = operator.access().create_key(asked).await.unwrap().into_inner();
    let id = made.key.unwrap().key_id;
    let reader = house.client(&Credential::key(&format!("{id}:{}", made.secret)).unwrap());
    let follow = async |client: &Client| {
        let target = Some(Target::All(Default::default()));
        let asked = StreamStatusRequest { target, ..Default::default() };
        let mut stream = client.raw().stream_status(asked).await.unwrap().into_inner();
        assert!(matches!(stream.message().await.unwrap().unwrap().kind, Some(Kind::Bookmark(_))));
        stream
    };
    let (mut theirs, mut ours) = (follow(&reader).await, follow(&house.of("acme")).await);
    let rotate = RotateKeyRequest { key_id: id, end_others: true };
    operator.access().rotate_key(rotate).await.unwrap();
    let timeout = std::time::Duration::from_secs(20);
    let end = tokio::time::timeout(timeout, theirs.message()).await.expect("it goes on");
    assert_eq!(end.unwrap_err().code(), Code::Unauthenticated);
    let quiet = tokio::time::timeout(std::time::Duration::from_secs(6), ours.message()).await;
    assert!(quiet.is_err(), "the other goes on: {quiet:?}");
    no_recipient::stop(house.service).await;
}

/// From nothing to a key, as an operator does it at a terminal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_key_is_made_at_a_terminal_and_opens_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dispatch.toml");
    std::fs::write(&file, "[log]\nlevel = \"warn\"\n").unwrap();
    let data = folder.path().join("data");
    let process = Process::serve(&file, &data, FREE, FREE).await;
    let server = format!("http://{}", process.grpc);
    let run = async |arguments: &[&str], key: Option<&str>| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dispatch"));
        command.args(arguments).env_remove("DISPATCH_KEY");
        if let Some(key) = key {
            command.env("DISPATCH_KEY", key);
        }
        if arguments[0] != "token" {
            command.args(["--server", &server]);
        }
        let output = command.output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(run(&["list"], None).await.0, Some(0), "open while there is no key");
    let weak = run(&["keys", "create", "--scope", "create,read,cancel,admin"], None).await;
    assert_eq!(weak.0, Some(5), "{weak:?}");
    let (code, key, advice) = run(&["keys", "create", "--name", "first"], None).await;
    assert_eq!(code, Some(0), "{advice}");
    assert!(advice.contains("not shown again"), "{advice}");
    let (id, secret) = key.split_once(':').unwrap();

    let shut = run(&["list"], None).await;
    assert_eq!(shut.0, Some(7), "{shut:?}");
    assert!(shut.2.contains("wants to know who calls"), "{shut:?}");
    assert_eq!(run(&["list"], Some(&format!("{id}:wrong"))).await.0, Some(7));
    assert_eq!(run(&["list"], Some(&key)).await.0, Some(0));
    let listed = run(&["keys", "list"], Some(&key)).await;
    assert!(listed.1.contains(id) && listed.1.contains("first") && !listed.1.contains(secret));
    let last = run(&["keys", "revoke", id], Some(&key)).await;
    assert_eq!(last.0, Some(5), "{last:?}");
    let rotated = run(&["keys", "rotate", id, "--end-others"], Some(&key)).await;
    assert_eq!(run(&["list"], Some(&key)).await.0, Some(7), "the old secret");
    let key = rotated.1;
    let made =
        run(&["keys", "create", "--tenant", "acme", "--scope", "create,read"], Some(&key)).await;
    assert_eq!(run(&["audit"], Some(&made.1)).await.0, Some(7));
    let audit = run(&["audit"], Some(&key)).await;
    let told: Vec<_> = audit.1.lines().collect();
    assert!(
        told.len() == 3 && told[0].contains("key.created") && told[0].contains("acme"),
        "{audit:?}"
    );
    assert!(told[2].contains("anonymous") && !audit.1.contains(secret), "{audit:?}");

    let private =
        concat!(env!("CARGO_MANIFEST_DIR"), "/adapters/sandbox/tests/sandbox/http/private_key.pem");
    let token = run(&["token", "--app-id", MISSING, "--private-key", private], None).await;
    assert_eq!(token.1.split('.').count(), 3, "{token:?}");

    // Keys outlive a restart.
    assert_eq!(process.terminate().await, Some(0));
    let process = Process::serve(&file, &data, FREE, FREE).await;
    let server = format!("http://{}", process.grpc);
    let client = Client::connect(server).await.unwrap();
    assert_eq!(client.channels().await.unwrap_err().code(), Code::Unauthenticated);
    assert!(client.with(Credential::key(&key).unwrap()).channels().await.is_ok());
    assert_eq!(process.terminate().await, Some(0));
}
