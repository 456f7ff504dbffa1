//! Who has not the scope `contents` is shown no number and no text, whatever they ask for and however; and a one-time
//! code is shown to nobody once its workflow has ended.

use std::collections::BTreeMap;

use dispatch::{
    access::all_rights,
    config::{Config, TenantConfig},
    pb::{
        self,
        v1::{
            ContentsState, CreateWorkflowRequest, LabelFilter, ListOptOutsRequest,
            ListWorkflowsRequest, StreamInboundRequest, StreamStart, StreamStatusRequest, Workflow,
            WorkflowSpec, WorkflowView,
            address::Endpoint as Address,
            message::Content as Said,
            stream_inbound_request::Start,
            stream_status_request::{self, Target},
            stream_status_response::Kind as Told,
        },
    },
};
use dispatch_contract::{
    Channel as Kind, ChannelSender, Content, Endpoint, Inbound, InboundMessage,
};
use prost::{
    Message,
    bytes::{Buf, BufMut},
};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use tokio::process::Command;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    service::interceptor::InterceptedService,
};

use crate::{
    access::{House, MISSING, SECRET, holder, key},
    facade, no_recipient,
    rights::request_of,
    support::in_memory,
};

const NUMBER: &str = "447700900871";
const PERSON: &str = "9123456780012345";
const TEXT: &str = "zebra-quince, Ann";
const WROTE: &str = "walrus-medlar, Ben";
const LABEL: &str = "quagga-sorrel, Cleo";
const MARKS: [&str; 5] = [NUMBER, PERSON, TEXT, WROTE, LABEL];

/// May do everything, and see no contents.
const BLIND: &str = "blind";
/// Sees them.
const SEEING: &str = "seeing";

/// A message as the bytes that it is.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, bytes: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&bytes);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; from.remaining()];
        from.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

/// The bytes of a request to a method, written as JSON.
fn request(method: &str, asked: &Value) -> Vec<u8> {
    let pool = DescriptorPool::decode(pb::DESCRIPTORS).unwrap();
    let (service, name) = method.split_once('/').unwrap();
    let service = pool.get_service_by_name(&format!("dispatch.v1.{service}")).unwrap();
    let method = service.methods().find(|it| it.name() == name).unwrap();
    DynamicMessage::deserialize(method.input(), asked).unwrap().encode_to_vec()
}

/// All that a method answers, up to so many messages, or why it refuses.
async fn answered(house: &House, who: &str, method: &str, asked: (Value, usize)) -> Vec<u8> {
    let mut grpc = Grpc::new(InterceptedService::new(house.channel.clone(), holder(who)));
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/dispatch.v1.{method}")).unwrap();
    let (asked, most) = asked;
    let refused = |status: Status| {
        assert!(!matches!(status.code(), Code::PermissionDenied | Code::Unimplemented), "{status}");
        [status.message().as_bytes(), status.details()].concat()
    };
    let called = grpc.server_streaming(Request::new(request(method, &asked)), path, Raw).await;
    let mut stream = match called {
        Ok(stream) => stream.into_inner(),
        Err(status) => return refused(status),
    };
    let mut told = Vec::new();
    for _ in 0..most {
        match stream.message().await {
            Ok(Some(message)) => told.extend(message),
            Ok(None) => break,
            Err(status) => told.extend(refused(status)),
        }
    }
    told
}

fn marked(bytes: &[u8]) -> Vec<&'static str> {
    let stands = |mark: &&str| bytes.windows(mark.len()).any(|part| part == mark.as_bytes());
    MARKS.into_iter().filter(stands).collect()
}

fn spec() -> Value {
    json!({ "steps": [
        {
            "sender": { "id": "107083064136738" },
            "recipient": { "channel": "messenger", "id": PERSON },
            "message": { "text": TEXT },
            "failover": { "expiry_time": "600s", "condition_status": "read" },
        },
        {
            "sender": { "number": "Dispatch" },
            "recipient": { "channel": "sms", "number": NUMBER },
            "message": { "text": TEXT },
        },
    ],
    "labels": { "kind": "reminder", "customer": LABEL },
    "personal_labels": ["customer"],
    "client_ref": format!("for {NUMBER}") })
}

/// What each method is asked, and how many messages its answer has: of a stream those that there are.
fn asked(method: &str, ended: &str, open: &str) -> (Value, usize) {
    let (spec, person) = (spec(), json!({ "channel": "whatsapp", "number": NUMBER }));
    let ask = match method {
        "DispatchService/CreateWorkflow" => {
            json!({ "workflow": spec, "view": "WORKFLOW_VIEW_FULL" })
        }
        "DispatchService/BatchCreateWorkflows" => json!({ "requests": [
            { "workflow": spec, "view": "WORKFLOW_VIEW_BASIC" },
            { "workflow": spec },
            { "workflow": spec, "validate_only": true },
        ] }),
        "DispatchService/GetWorkflow" => {
            json!({ "workflow_id": ended, "view": "WORKFLOW_VIEW_FULL" })
        }
        "DispatchService/StreamStatus" => return (json!({ "workflow_id": ended }), 1000),
        "DispatchService/CancelWorkflow" => json!({ "workflow_id": open }),
        "OptOutService/BatchCreateOptOuts" => json!({ "opt_outs": [{ "recipient": person }] }),
        "OptOutService/ListOptOuts" => json!({ "recipient": person }),
        "OptOutService/DeleteOptOuts" => {
            json!({ "recipient": { "channel": "mms", "number": NUMBER } })
        }
        "InboundService/StreamInbound" => return (json!({ "position": 2 }), 2),
        // What is personal is sealed in it: tests/it/sealed.rs.
        "AdminService/Backup" => return (json!({}), 0),
        // What it would do, and nothing is erased: the other subjects are tests/it/erasure.rs's.
        "ErasureService/Erase" => {
            json!({ "person": { "recipients": [NUMBER, PERSON] }, "dry_run": true })
        }
        "ErasureService/VerifyErasure" => json!({}),
        "SandboxService/AdvanceClock" => json!({ "by": "1s" }),
        "SandboxService/SetScript" => json!({ "recipient": "4711", "script": "accept" }),
        "DispatchService/ListWorkflows"
        | "DispatchService/ListChannels"
        | "CallbackService/ListCallbacks"
        | "SandboxService/ListScripts"
        | "SandboxService/ListSentMessages"
        | "AccessService/ListKeys"
        | "AccessService/ListAudit"
        | "ApplicationService/ListApplications"
        | "AccountService/ListAccounts"
        | "AccessService/GetMasterKeyRotation" => json!({}),
        // They are about keys, applications and accounts, and are refused as they are asked here.
        "AccessService/CreateKey" => json!({ "scopes": [0] }),
        "AccessService/RotateKey"
        | "AccessService/RevokeKey"
        | "AccessService/RotateMasterKey"
        | "ApplicationService/CreateApplication"
        | "ApplicationService/GetApplication"
        | "ApplicationService/UpdateApplication"
        | "ApplicationService/DeleteApplication"
        | "ApplicationService/RotateKeyPair"
        | "ApplicationService/GetCallbackSecret"
        | "ApplicationService/RotateCallbackSecret"
        | "AccountService/CreateAccount"
        | "AccountService/GetAccount"
        | "AccountService/UpdateAccount"
        | "AccountService/DeleteAccount"
        | "AccountService/LinkApplication"
        | "AccountService/UnlinkApplication"
        | "CallbackService/ResendCallback"
        | "AdminService/Resume" => json!({}),
        new => panic!("say what {new} is asked, so that its answer is searched"),
    };
    (ask, 1)
}

/// A service that holds all that is personal: two workflows, one of which has ended, an opt-out, and what a person wrote.
async fn house() -> (House, String, String) {
    let mut config = in_memory();
    let all = ["create", "read", "cancel", "admin", "operator"];
    config.access.keys = vec![
        key(BLIND, "default", &all),
        key(SEEING, "default", &[&all[..], &["contents"]].concat()),
    ];
    let house = House::new(&config).await;
    let create = async || {
        let workflow = Some(pb::from_json::<WorkflowSpec>(&spec().to_string()).unwrap());
        let request = CreateWorkflowRequest { workflow, ..Default::default() };
        house.of(SEEING).create(request).await.unwrap().workflow.unwrap().workflow_id
    };
    let (ended, open) = (create().await, create().await);
    // It is sent, and then nothing further is.
    let leap = (json!({ "by": "1s" }), 1);
    answered(&house, SEEING, "SandboxService/AdvanceClock", leap).await;
    house.of(SEEING).cancel(&ended).await.unwrap();
    let opt_out = asked("OptOutService/BatchCreateOptOuts", "", "");
    answered(&house, SEEING, "OptOutService/BatchCreateOptOuts", opt_out).await;
    let wrote = InboundMessage {
        id: "m-1".to_owned(),
        from: Endpoint::Number(NUMBER.to_owned()),
        to: ChannelSender { channel: Kind::SMS, id: "Dispatch".to_owned() },
        content: vec![Content::Text(WROTE.to_owned())],
        quoted_id: None,
        quoted_attempt: None,
        provider_time: None,
    };
    let heard = vec![Inbound::Message(wrote)];
    house.service.engine.inbound("sandbox", "sandbox", heard).await.unwrap();
    (house, ended, open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_method_shows_a_number_or_a_text_to_a_key_without_the_scope() {
    let (house, ended, open) = house().await;
    for (_, method, _) in all_rights() {
        let told = answered(&house, BLIND, method, asked(method, &ended, &open)).await;
        assert_eq!(marked(&told), Vec::<&str>::new(), "{method}");
    }
    no_recipient::stop(house.service).await;
}

/// Else the search above would find nothing whatever is shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_scope_each_of_them_shows_what_it_has() {
    let (house, ended, open) = house().await;
    let mut showing = Vec::new();
    for (_, method, _) in all_rights() {
        let told = answered(&house, SEEING, method, asked(method, &ended, &open)).await;
        showing.extend((!marked(&told).is_empty()).then_some(method));
    }
    let wanted = [
        "DispatchService/CreateWorkflow",
        "DispatchService/BatchCreateWorkflows",
        "DispatchService/GetWorkflow",
        "DispatchService/ListWorkflows",
        "DispatchService/CancelWorkflow",
        "OptOutService/ListOptOuts",
        "InboundService/StreamInbound",
        "SandboxService/ListSentMessages",
    ];
    assert_eq!(showing, wanted);
    no_recipient::stop(house.service).await;
}

/// What is shown, masked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_scope_addresses_show_their_ends_and_texts_their_kind_and_length() {
    let (house, ended, open) = house().await;
    let blind = house.of(BLIND);
    for id in [&ended, &open] {
        let workflow = blind.get(id).await.unwrap();
        assert_eq!(workflow.contents(), ContentsState::Masked);
        let spec = workflow.spec.unwrap();
        assert_eq!(spec.labels, [("kind".to_owned(), "reminder".to_owned())].into());
        assert_eq!(spec.personal_labels, ["customer"]);
        assert!(spec.client_ref.is_empty() && spec.personal_client_ref);
        let steps = spec.steps;
        let told: Vec<_> = steps.iter().map(whom_and_what).collect();
        let said = ("text".to_owned(), TEXT.chars().count() as u32);
        assert_eq!(told, [("9…45".to_owned(), said.clone()), ("44…871".to_owned(), said)]);
        assert!(steps[0].sender.is_some() && steps[0].failover.is_some(), "the rest is shown");
    }
    let listed = blind.list(Default::default()).await.unwrap().workflows;
    assert!(listed.iter().all(|it| it.contents() == ContentsState::Masked) && listed.len() == 2);

    let request = ListOptOutsRequest::default();
    let listed = blind.opt_outs().list_opt_outs(request).await.unwrap().into_inner().opt_outs;
    assert_eq!(told(&listed[0].recipient), "44…871");

    let start = Some(Start::Position(StreamStart::Beginning as i32));
    let request = StreamInboundRequest { start, tenant: String::new() };
    let mut stream = blind.inbound().stream_inbound(request).await.unwrap().into_inner();
    let message = stream.message().await.unwrap().unwrap().message.unwrap();
    assert_eq!(message.contents(), ContentsState::Masked);
    assert_eq!(told(&message.from_address), "44…871");
    assert_eq!(told(&message.to_address), "Dispatch", "a sender is nobody's secret");
    let Some(Said::Masked(said)) = &message.content[0].content else { panic!("not masked") };
    assert_eq!((&*said.kind, said.characters), ("text", WROTE.chars().count() as u32));
    no_recipient::stop(house.service).await;
}

fn told(address: &Option<pb::v1::Address>) -> &str {
    match address.as_ref().and_then(|address| address.endpoint.as_ref()) {
        Some(Address::Id(text) | Address::Number(text)) => text,
        None => panic!("no address"),
    }
}

fn whom_and_what(step: &pb::v1::Step) -> (String, (String, u32)) {
    let (Address::Id(to) | Address::Number(to)) = step.recipient.clone().unwrap().endpoint.unwrap();
    match step.message.clone().unwrap().content {
        Some(Said::Masked(said)) => (to, (said.kind, said.characters)),
        _ => panic!("it is not masked"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_of_the_old_apis_shows_them_either() {
    let (house, ended, _) = house().await;
    let body = facade::messenger_sms().to_string();
    let body = body.replace("1234567890", PERSON).replace("447700900000", NUMBER);
    let body = body.replace("Your table is ready.", TEXT);
    let body = facade::with(body.parse().unwrap(), "/client_ref", json!(format!("for {NUMBER}")));
    let body = body.to_string();
    for (_, _, lines) in all_rights() {
        for line in lines {
            let (method, url) = request_of(line, &house);
            let url = url.replace(MISSING, &ended);
            let call = reqwest::Client::new().request(method, url).basic_auth(BLIND, Some(SECRET));
            let call = call.header("content-type", "application/json").body(body.clone());
            let answer = call.send().await.unwrap();
            let head = format!("{:?}", answer.headers());
            let told = head + &answer.text().await.unwrap();
            assert_eq!(marked(told.as_bytes()), Vec::<&str>::new(), "{line}: {told}");
            if line.starts_with("GET") && line.contains("{id}") && line.contains("dispatch") {
                assert!(told.contains(r#""contents":"MASKED""#), "{told}");
                assert!(told.contains(r#""personal_client_ref":true"#), "{told}");
                let (method, url) = request_of(line, &house);
                let url = url.replace(MISSING, &ended);
                let call = reqwest::Client::new().request(method, url);
                let call = call.basic_auth(SEEING, Some(SECRET)).send().await.unwrap();
                let told: Value = call.json().await.unwrap();
                assert_eq!(told["client_ref"], format!("for {NUMBER}"), "{told}");
            }
        }
    }
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_shows_them_masked_and_says_what_would_show_them() {
    let (house, ended, open) = house().await;
    let server = format!("http://{}", house.service.grpc);
    let run = async |who: &str, arguments: &[&str]| -> String {
        let key = format!("{who}:{SECRET}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dispatch"));
        let command = command.args(arguments).args(["--server", &server, "--key", &key]);
        let output = command.output().await.unwrap();
        let told = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&told));
        String::from_utf8(told).unwrap()
    };
    let commands: [(&[&str], bool); 8] = [
        (&["get", &ended], true),
        (&["why", &open], true),
        (&["list"], true),
        (&["inbound", "list"], true),
        (&["opt-outs", "list"], false),
        (&["callbacks", "list"], false),
        (&["audit"], false),
        (&["cancel", &open], false),
    ];
    for (arguments, says_so) in commands {
        for output in ["text", "json"] {
            let told = run(BLIND, &[arguments, &["--output", output]].concat()).await;
            assert_eq!(marked(told.as_bytes()), Vec::<&str>::new(), "{arguments:?}: {told}");
            let says = told.contains("a key with the scope contents is shown it");
            assert_eq!(says, says_so && output == "text", "{arguments:?} {output}: {told}");
        }
        let told = run(SEEING, arguments).await;
        assert!(!told.contains("scope contents"), "{arguments:?}: {told}");
    }
    let shown = run(SEEING, &["inbound", "list"]).await;
    assert_eq!(marked(shown.as_bytes()), [NUMBER, WROTE], "{shown}");
    no_recipient::stop(house.service).await;
}

fn code_of(workflow: &Workflow) -> (String, String) {
    let message = workflow.spec.as_ref().unwrap().steps[0].message.clone().unwrap();
    match message.content {
        Some(Said::Code(code)) => (code.code, code.text),
        _ => panic!("it says no code"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_shown_to_nobody_once_its_workflow_has_ended() {
    let (house, _, _) = house().await;
    let seeing = house.of(SEEING);
    let spec = json!({ "steps": [{
        "sender": { "number": "Dispatch" },
        "recipient": { "channel": "sms", "number": NUMBER },
        "message": { "code": { "code": "271828", "text": "Your code is {code}." } },
    }] });
    let workflow = Some(pb::from_json::<WorkflowSpec>(&spec.to_string()).unwrap());
    let view = WorkflowView::Full as i32;
    let request = CreateWorkflowRequest {
        workflow,
        view,
        request_id: "code-1".to_owned(),
        ..Default::default()
    };
    let open = seeing.create(request.clone()).await.unwrap().workflow.unwrap();
    let sentence = || "Your code is {code}.".to_owned();
    assert_eq!(code_of(&open), ("271828".to_owned(), sentence()));
    let canceled = seeing.cancel(&open.workflow_id).await.unwrap().workflow.unwrap();
    let repeated = seeing.create(request).await.unwrap();
    assert!(repeated.already_existed);
    for ended in
        [canceled, repeated.workflow.unwrap(), seeing.get(&open.workflow_id).await.unwrap()]
    {
        assert_eq!(ended.contents(), ContentsState::Shown);
        assert_eq!(code_of(&ended), (String::new(), sentence()));
    }
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_that_are_personal_match_no_filter() {
    let (house, ended, _) = house().await;
    let seeing = house.of(SEEING);
    let label = |key: &str, value: &str| -> BTreeMap<String, String> {
        [(key.to_owned(), value.to_owned())].into()
    };
    let found = async |labels: BTreeMap<String, String>, client_ref: &str| {
        let client_ref = client_ref.to_owned();
        let request = ListWorkflowsRequest { labels, client_ref, ..Default::default() };
        seeing.list(request).await.unwrap().workflows.len()
    };
    assert_eq!(found(label("kind", "reminder"), "").await, 2);
    assert_eq!(found(label("customer", LABEL), "").await, 0);
    assert_eq!(found(BTreeMap::new(), &format!("for {NUMBER}")).await, 0);

    // The first of a stream is what it chose by: where no label fits, its bookmark.
    for (labels, fits) in [(label("kind", "reminder"), true), (label("customer", LABEL), false)] {
        let target = Some(Target::Labels(LabelFilter { labels }));
        let start = Some(stream_status_request::Start::Position(StreamStart::Beginning as i32));
        let request = StreamStatusRequest { target, start, ..Default::default() };
        let mut stream = seeing.raw().stream_status(request).await.unwrap().into_inner();
        if fits {
            let first = stream.message().await.unwrap().unwrap();
            let Some(Told::Event(event)) = first.kind else { panic!("no event") };
            assert_eq!(event.workflow_id, ended);
            continue;
        }
        // Another workflow comes behind them, and is the first that it tells of.
        let mut spec = pb::from_json::<WorkflowSpec>(&spec().to_string()).unwrap();
        spec.personal_labels.clear();
        let request = CreateWorkflowRequest { workflow: Some(spec), ..Default::default() };
        let last = seeing.create(request).await.unwrap().workflow.unwrap().workflow_id;
        let first = stream.message().await.unwrap().unwrap();
        let Some(Told::Event(event)) = first.kind else { panic!("no event") };
        assert_eq!(event.workflow_id, last);
    }
    no_recipient::stop(house.service).await;
}

/// As for the old APIs, which have no word for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_says_what_is_personal_where_a_request_cannot() {
    let mut config = in_memory();
    config.access.personal_labels = vec!["customer".to_owned()];
    let own = TenantConfig {
        personal_labels: Some(Vec::new()),
        personal_client_ref: Some(true),
        ..TenantConfig::default()
    };
    config.access.tenants = [("acme".to_owned(), own)].into();
    let all = ["create", "read", "contents"];
    config.access.keys = vec![key("usual", "default", &all), key("own", "acme", &all)];
    let text = "[[routes]]\nname = \"all-sms\"\nadapter = \"sandbox-sms\"\naccount = \"sandbox\"\n\
                tenants = [\"*\"]\n[[routes]]\nname = \"all-messenger\"\n\
                adapter = \"sandbox-messenger\"\naccount = \"sandbox\"\ntenants = [\"*\"]\n";
    config.routes = Config::parse(text).unwrap().routes;
    let house = House::new(&config).await;
    for (who, personal_labels, is_client_ref_personal) in
        [("usual", vec!["customer"], false), ("own", vec![], true)]
    {
        let mut spec = pb::from_json::<WorkflowSpec>(&spec().to_string()).unwrap();
        spec.personal_labels.clear();
        spec.client_ref = "order-17".to_owned();
        let request_id = "once".to_owned();
        let request =
            CreateWorkflowRequest { workflow: Some(spec), request_id, ..Default::default() };
        let made = house.of(who).create(request).await.unwrap().workflow.unwrap();
        let shown = made.spec.unwrap();
        assert_eq!(shown.personal_labels, personal_labels, "{who}");
        assert_eq!(shown.personal_client_ref, is_client_ref_personal, "{who}");
        assert_eq!((&*shown.client_ref, &*shown.labels["customer"]), ("order-17", LABEL));

        let body = facade::with(facade::messenger_sms(), "/client_ref", json!("order-18"));
        let url = format!("http://{}/v0.1/dispatch", house.service.http);
        let call = reqwest::Client::new().post(url).basic_auth(who, Some(SECRET)).json(&body);
        let made: Value = call.send().await.unwrap().json().await.unwrap();
        let id = made["dispatch_uuid"].as_str().unwrap_or_else(|| panic!("{made}"));
        let spec = house.of(who).get(id).await.unwrap().spec.unwrap();
        assert_eq!(spec.client_ref, "order-18");
        assert_eq!(spec.personal_client_ref, is_client_ref_personal, "{who}");
    }
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_for_a_request_that_contains_its_recipient_is_refused_by_every_api() {
    let (house, ..) = house().await;
    let workflow = Some(pb::from_json::<WorkflowSpec>(&spec().to_string()).unwrap());
    let request_id = format!("sms-{NUMBER}");
    let request = CreateWorkflowRequest { workflow, request_id, ..Default::default() };
    let refused = house.of(SEEING).create(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("request_id: must not contain a recipient"), "{refused}");
    assert!(!refused.message().contains(NUMBER), "{refused}");

    let body = facade::messenger_sms().to_string().replace("447700900000", NUMBER);
    let url = format!("http://{}/v0.1/dispatch", house.service.http);
    let call = reqwest::Client::new().post(url).basic_auth(SEEING, Some(SECRET));
    let call = call.header("content-type", "application/json");
    let call = call.header("idempotency-key", format!("+{NUMBER}")).body(body);
    let answer = call.send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let told = answer.text().await.unwrap();
    assert!(
        told.contains("Idempotency-Key") && told.contains("must not contain a recipient"),
        "{told}"
    );
    assert!(!told.contains(NUMBER), "{told}");
    no_recipient::stop(house.service).await;
}
