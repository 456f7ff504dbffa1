//! Bad requests over real gRPC, against one running service: each is refused with the code, the
//! field and a sentence that says what would be right, and leaves nothing behind.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dispatch::pb::v1::{
    self, AdvanceClockRequest, BatchCreateWorkflowsRequest, CancelWorkflowRequest,
    CreateWorkflowRequest, GetWorkflowRequest, ListSentMessagesRequest, ListWorkflowsRequest,
    SetScriptRequest, StreamStatusRequest, WorkflowSpec, address, batch_create_result,
    message::Content, stream_status_request,
};
use prost::Message;
use prost_types::{Duration, Timestamp};
use tonic::{Code, Request, Status, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_types::{RpcStatusExt, StatusExt};

use crate::support::{Running, batch_reason, in_memory, messenger_sms, request};

mod good;
mod spoiled;

use good::*;
use spoiled::*;

/// A request around a workflow, and the other requests.
#[derive(Clone)]
enum Call {
    Create(Box<CreateWorkflowRequest>),
    Get(GetWorkflowRequest),
    Cancel(CancelWorkflowRequest),
    List(ListWorkflowsRequest),
    Stream(StreamStatusRequest),
    Batch(BatchCreateWorkflowsRequest),
    Advance(AdvanceClockRequest),
    Script(SetScriptRequest),
    Sent(ListSentMessagesRequest),
}

impl Call {
    async fn make(self, running: &Running) -> Result<(), Status> {
        let (mut client, mut sandbox) = (running.client.raw(), running.sandbox.clone());
        match self {
            Call::Create(request) => client.create_workflow(*request).await.map(drop),
            Call::Get(request) => client.get_workflow(request).await.map(drop),
            Call::Cancel(request) => client.cancel_workflow(request).await.map(drop),
            Call::List(request) => client.list_workflows(request).await.map(drop),
            Call::Stream(request) => client.stream_status(request).await.map(drop),
            Call::Batch(request) => client.batch_create_workflows(request).await.map(drop),
            Call::Advance(request) => sandbox.advance_clock(request).await.map(drop),
            Call::Script(request) => sandbox.set_script(request).await.map(drop),
            Call::Sent(request) => sandbox.list_sent_messages(request).await.map(drop),
        }
    }

    /// Only what the API itself refuses is counted; the sandbox is for tests.
    fn is_counted(&self) -> bool {
        !matches!(self, Call::Advance(_) | Call::Script(_) | Call::Sent(_))
    }
}

/// A call that is to be refused: its name, itself, the code, and, where a field is wrong, which.
struct Refused {
    name: String,
    call: Call,
    code: Code,
    field: Option<&'static str>,
    says: &'static str,
}

fn refused(name: &str, call: Call, field: &'static str, says: &'static str) -> Refused {
    let name = name.to_owned();
    Refused { name, call, code: Code::InvalidArgument, field: Some(field), says }
}

fn spoiled(table: &[Spoiled]) -> Vec<Refused> {
    let spoil = |(name, spoil, field, says): &Spoiled| {
        let mut spec = good();
        spoil(&mut spec);
        refused(name, Call::Create(Box::new(request(spec))), field, says)
    };
    table.iter().map(spoil).collect()
}

/// Whatever is wrong around a workflow.
fn around() -> Vec<Refused> {
    let create = |change: fn(&mut CreateWorkflowRequest)| {
        let mut request = request(good());
        change(&mut request);
        Call::Create(Box::new(request))
    };
    let of = |requests| Call::Batch(BatchCreateWorkflowsRequest { requests });
    let key = "at most 128 printable ASCII characters, no spaces";
    vec![
        refused("no workflow", create(|r| r.workflow = None), "workflow", "must be given"),
        refused(
            "a request_id of 129",
            create(|r| r.request_id = "k".repeat(129)),
            "request_id",
            key,
        ),
        refused(
            "a request_id with a line break",
            create(|r| r.request_id = "private\n1".into()),
            "request_id",
            key,
        ),
        refused(
            "a request_id with a NUL",
            create(|r| r.request_id = "private\0".into()),
            "request_id",
            key,
        ),
        refused(
            "a request_id with a space",
            create(|r| r.request_id = "private 1".into()),
            "request_id",
            key,
        ),
        refused(
            "a request_id that is not ASCII",
            create(|r| r.request_id = "privaté".into()),
            "request_id",
            key,
        ),
        refused(
            "a request over 256 KiB",
            create(|r| {
                let spec = r.workflow.as_mut().unwrap();
                say(spec, 1, text("private ".repeat(32 * 1024)));
            }),
            "workflow",
            "at most 256 KiB in all",
        ),
        refused(
            "a bad workflow that is only to be checked",
            create(|r| {
                r.validate_only = true;
                r.workflow.as_mut().unwrap().priority = 4;
            }),
            "priority",
            "PRIORITY_HIGH",
        ),
        refused("an empty batch", of(Vec::new()), "requests", "1 to 1000 requests, and holds 0"),
        refused(
            "a batch of 1,001",
            of(vec![request(good()); 1001]),
            "requests",
            "1 to 1000 requests, and holds 1001",
        ),
    ]
}

/// Reads, cancels and streams.
fn others() -> Vec<Refused> {
    use stream_status_request::{Start, Target};
    let get = |id: &str| Call::Get(GetWorkflowRequest { workflow_id: id.to_owned(), view: 0 });
    let cancel = |id: &str| Call::Cancel(CancelWorkflowRequest { workflow_id: id.to_owned() });
    let list = |request| Call::List(request);
    let page = |token: String| {
        Call::List(ListWorkflowsRequest { page_token: token, ..Default::default() })
    };
    let stream = |target: Option<Target>, start: Option<Start>| {
        Call::Stream(StreamStatusRequest { target, start, ..Default::default() })
    };
    let one = |id: &str| Some(Target::WorkflowId(id.to_owned()));
    let all = || Some(Target::All(v1::AllWorkflows {}));
    let resume = |token: String| stream(all(), Some(Start::ResumeToken(token)));
    let states = |states: &[i32]| {
        Call::List(ListWorkflowsRequest { states: states.to_vec(), ..Default::default() })
    };
    let id = "must be a workflow's id as CreateWorkflow answered it, a UUID";
    let page_wanted = "must be empty, or the next_page_token of an earlier answer";
    let resume_wanted = "must be a resume_token as an event or a bookmark carries it";
    let mut cases = vec![
        refused("a get of nothing", get(""), "workflow_id", id),
        refused("a get of no id", get("private"), "workflow_id", id),
        refused("a get of half an id", get(&NOBODY[..20]), "workflow_id", id),
        refused("a get of an endless id", get(&"private".repeat(10_000)), "workflow_id", id),
        refused(
            "a view there is not",
            Call::Get(GetWorkflowRequest { workflow_id: NOBODY.to_owned(), view: 9 }),
            "view",
            "WORKFLOW_VIEW_ and one of SUMMARY, BASIC and FULL",
        ),
        refused("a cancel of nothing", cancel(""), "workflow_id", id),
        refused("a cancel of no id", cancel("../private"), "workflow_id", id),
        refused("a stream of nothing", stream(None, None), "target", "one of workflow_id, labels"),
        refused("a stream of no id", stream(one("private"), None), "workflow_id", id),
        refused(
            "a stream of no label",
            stream(Some(Target::Labels(v1::LabelFilter::default())), None),
            "labels.labels",
            "at least one label",
        ),
        refused(
            "a start there is not",
            stream(all(), Some(Start::Position(3))),
            "position",
            "STREAM_START_NOW or STREAM_START_BEGINNING",
        ),
        refused("an empty resume_token", resume(String::new()), "resume_token", resume_wanted),
        refused("a bad resume_token", resume("private!".into()), "resume_token", resume_wanted),
        refused(
            "a page_token that is to resume",
            resume(token(0x12, &[7; 32])),
            "resume_token",
            resume_wanted,
        ),
        refused(
            "a resume_token too short",
            resume(token(0x11, &[7; 43])),
            "resume_token",
            resume_wanted,
        ),
        refused(
            "a resume_token too long",
            resume(token(0x11, &[7; 45])),
            "resume_token",
            resume_wanted,
        ),
        refused(
            "a negative page_size",
            list(ListWorkflowsRequest { page_size: -1, ..Default::default() }),
            "page_size",
            "1 to 500",
        ),
        refused("a bad page_token", page("private".into()), "page_token", page_wanted),
        refused("an endless page_token", page("A".repeat(100_000)), "page_token", page_wanted),
        refused(
            "a resume_token that is to page",
            page(token(0x11, &[7; 44])),
            "page_token",
            page_wanted,
        ),
        refused("a page_token too short", page(token(0x12, &[7; 15])), "page_token", page_wanted),
        refused("a state there is not", states(&[1, 7]), "states[1]", "SCHEDULED, RUNNING"),
        refused("a state that is not given", states(&[0]), "states[0]", "SCHEDULED, RUNNING"),
        refused(
            "a leap of the clock backwards",
            Call::Advance(AdvanceClockRequest { by: span(-1, 0) }),
            "by",
            "0 s to",
        ),
        refused(
            "a leap of the clock too far",
            Call::Advance(AdvanceClockRequest { by: span(400 * DAY_S, 0) }),
            "by",
            "days",
        ),
        refused(
            "a script for nobody",
            Call::Script(SetScriptRequest { recipient: String::new(), script: "never".into() }),
            "recipient",
            "1 to 50 bytes",
        ),
        refused(
            "a script that is none",
            Call::Script(SetScriptRequest { recipient: NUMBER.into(), script: "reject me".into() }),
            "script",
            "",
        ),
        refused(
            "a negative page_size of sent messages",
            Call::Sent(ListSentMessagesRequest { page_size: -1, ..Default::default() }),
            "page_size",
            "1 to 1000",
        ),
        refused(
            "a bad page_token of sent messages",
            Call::Sent(ListSentMessagesRequest {
                page_token: "private".into(),
                ..Default::default()
            }),
            "page_token",
            page_wanted,
        ),
    ];
    let unknown = [
        ("a get of nobody", get(NOBODY), Code::NotFound, "there is no workflow"),
        ("a cancel of nobody", cancel(NOBODY), Code::NotFound, "there is no workflow"),
        ("a stream of nobody", stream(one(NOBODY), None), Code::NotFound, "there is no workflow"),
        (
            "a resume_token of another store",
            resume(token(0x11, &[7; 46])),
            Code::FailedPrecondition,
            "another life of this service's store",
        ),
    ];
    cases.extend(unknown.map(|(name, call, code, says)| {
        let name = name.to_owned();
        Refused { name, call, code, field: None, says }
    }));
    cases
}

/// Something of the outer form of a token.
fn token(kind: u8, body: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([&[kind], body].concat())
}

/// All that a caller is told: message and details.
fn told(status: &Status) -> String {
    let details = String::from_utf8_lossy(status.details()).into_owned();
    format!("{}\n{details}\n{:?}", status.message(), status.metadata())
}

fn tells_nothing_personal(name: &str, told: &str) {
    let repeated: Vec<_> = PERSONAL.iter().filter(|text| told.contains(**text)).collect();
    assert!(repeated.is_empty(), "{name}: repeats {repeated:?}: {told}");
}

/// Makes all of them; how many the service is to count, by code.
async fn make(running: &Running, cases: Vec<Refused>) -> Vec<(Code, usize)> {
    let mut counted = Vec::new();
    for Refused { name, call, code, field, says } in cases {
        let is_counted = call.is_counted();
        let status = match call.make(running).await {
            Ok(()) => panic!("{name}: was taken"),
            Err(status) => status,
        };
        assert_eq!(status.code(), code, "{name}: {status:?}");
        tells_nothing_personal(&name, &told(&status));
        assert!(!status.message().is_empty(), "{name}");
        let info = status.get_details_error_info();
        assert!(info.is_some_and(|info| info.domain == "dispatch"), "{name}: {status:?}");
        match field {
            Some(field) => {
                let wrong = status.get_details_bad_request();
                let wrong = wrong.map(|wrong| wrong.field_violations).unwrap_or_default();
                let fields: Vec<_> = wrong.iter().map(|it| it.field.as_str()).collect();
                assert_eq!(fields, [field], "{name}");
                let description = &wrong[0].description;
                assert!(description.contains(says), "{name}: {description}");
            }
            None => assert!(status.message().contains(says), "{name}: {status:?}"),
        }
        if is_counted {
            counted.push(code);
        }
    }
    let by_code = |code: Code| (code, counted.iter().filter(|it| **it == code).count());
    [Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition].map(by_code).to_vec()
}

/// What is wrong before anybody reads it: no such method, too large, not Protobuf.
async fn calls_that_are_none(running: &Running) {
    async fn call<M: Message + Default + 'static>(
        channel: &Channel,
        path: &'static str,
        message: M,
    ) -> Status {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<M, v1::ListChannelsResponse>::default();
        let path = PathAndQuery::from_static(path);
        grpc.unary(Request::new(message), path, codec).await.map(drop).unwrap_err()
    }
    const CREATE: &str = "/dispatch.v1.DispatchService/CreateWorkflow";
    let address = format!("http://{}", running.service.grpc);
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();

    for path in [
        "/dispatch.v1.DispatchService/Nothing",
        "/dispatch.v1.DispatchService/createworkflow",
        "/dispatch.v2.DispatchService/CreateWorkflow",
        "/Nothing/Nothing",
        "/",
    ] {
        let status = call(&channel, path, v1::ListChannelsRequest::default()).await;
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
    }

    // A number where a message belongs, and a text that is not UTF-8.
    let number = ListWorkflowsRequest { page_size: 7, ..Default::default() };
    let status = call(&channel, CREATE, number).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let bytes = prost_types::Any { type_url: String::new(), value: vec![0xff, 0xfe] };
    let status = call(&channel, CREATE, bytes).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");

    let mut spec = good();
    say(&mut spec, 1, text("private ".repeat(1024 * 1024)));
    let status = call(&channel, CREATE, request(spec)).await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("4 MiB"), "{status:?}");
    tells_nothing_personal("a message over 4 MiB", &told(&status));
}

async fn count(running: &Running, code: &str) -> Option<usize> {
    let url = format!("http://{}/metrics", running.service.internal_http);
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    tells_nothing_personal("the metrics", &metrics);
    let name = format!("dispatch_requests_refused_total{{code=\"{code}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
}

/// Nothing is stored, nothing was sent; and a good request succeeds.
async fn is_untouched(running: &Running) {
    let listed = running.client.list(ListWorkflowsRequest::default()).await.unwrap();
    assert!(listed.workflows.is_empty(), "{:?}", listed.workflows);
    running.advance(std::time::Duration::from_secs(3600)).await;
    assert!(running.sent().await.is_empty());
    let id = running.create(good()).await;
    running.advance(std::time::Duration::from_secs(60)).await;
    assert_eq!(running.get(&id).await.state(), v1::WorkflowState::Succeeded);
    assert_eq!(running.sent().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_request_is_refused_with_its_field_and_what_would_be_right_and_leaves_nothing() {
    let running = Running::start(&in_memory()).await;
    let mut cases = Vec::new();
    for table in [STEPS, ADDRESSES, MESSAGES, ENUMS, WHOLE, RULES] {
        cases.extend(spoiled(table));
    }
    cases.extend(around());
    cases.extend(others());
    let names: BTreeSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "two cases of one name");
    assert!(cases.len() >= 70, "{} cases", cases.len());

    let counted = make(&running, cases).await;
    calls_that_are_none(&running).await;
    for (code, wanted) in counted {
        let name = match code {
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::NotFound => "NOT_FOUND",
            _ => "FAILED_PRECONDITION",
        };
        assert_eq!(count(&running, name).await, Some(wanted), "{name}");
    }
    is_untouched(&running).await;
    running.stop().await;
}

/// The same tables through the adapters that speak to a provider.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_adapters_refuse_the_same_as_the_sandbox_in_their_place() {
    let running = Running::over_http(&in_memory()).await;
    let tables = [STEPS, ADDRESSES, MESSAGES, ENUMS, WHOLE, RULES];
    let cases: Vec<_> = tables.into_iter().flat_map(spoiled).collect();
    let counted = make(&running, cases).await;
    assert_eq!(count(&running, "INVALID_ARGUMENT").await, Some(counted[0].1));
    is_untouched(&running).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_at_a_limit_is_taken() {
    let running = Running::start(&in_memory()).await;
    let mut requests = Vec::new();
    for (name, change) in AT_THE_LIMIT {
        let mut spec = good();
        change(&mut spec);
        let mut asked = request(spec);
        asked.validate_only = true;
        let taken = running.client.create(asked.clone()).await;
        assert!(taken.is_ok(), "{name}: {taken:?}");
        requests.push(asked);
    }
    requests.resize(1000, requests[0].clone());
    requests[999].request_id = "!".repeat(128);
    let batch = BatchCreateWorkflowsRequest { requests };
    let results = running.client.raw().batch_create_workflows(batch).await.unwrap().into_inner();
    assert_eq!(results.results.len(), 1000);
    let created = |it: &v1::BatchCreateResult| {
        matches!(it.result, Some(batch_create_result::Result::Created(_)))
    };
    assert!(results.results.iter().all(created));
    is_untouched(&running).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_tells_of_each_request_in_its_order_and_good_ones_are_created() {
    let running = Running::start(&in_memory()).await;
    let keyed = |key: &str, spec: WorkflowSpec| {
        let mut request = request(spec);
        request.request_id = key.to_owned();
        request
    };
    let other = messenger_sms(PERSON, NUMBER, "601s");
    let mut unread = good();
    rule(&mut unread).condition_status = "seen".to_owned();
    let mut twice_wrong = good();
    to(&mut twice_wrong, 1).endpoint = number("+447700900001");
    twice_wrong.priority = 9;
    running.client.create(keyed("before", good())).await.unwrap();
    let requests = vec![
        keyed("one", good()),
        request(unread),
        keyed("before", good()),
        keyed("before", other),
        CreateWorkflowRequest::default(),
        keyed("a b", good()),
        request(twice_wrong),
        keyed("two", good()),
    ];
    let batch = BatchCreateWorkflowsRequest { requests };
    let answer = running.client.raw().batch_create_workflows(batch).await.unwrap().into_inner();
    let told: Vec<_> = answer
        .results
        .iter()
        .map(|result| match result.result.as_ref().unwrap() {
            batch_create_result::Result::Created(created) => {
                let key = created.workflow.as_ref().unwrap().request_id.clone();
                format!("created {key}, {}", created.already_existed)
            }
            batch_create_result::Result::Error(error) => {
                let mut all = error.message.clone();
                let details = error.get_error_details();
                let wrong = details.bad_request().map_or(&[][..], |it| &it.field_violations);
                wrong.iter().for_each(|it| all.push_str(&it.description));
                tells_nothing_personal("the batch", &all);
                let fields: Vec<_> = wrong.iter().map(|it| it.field.as_str()).collect();
                let reason = batch_reason(error);
                format!("{} {reason} {}", error.code, fields.join(" ")).trim().to_owned()
            }
        })
        .collect();
    let wanted = [
        "created one, false",
        "3 INVALID_REQUEST steps[0].failover.condition_status",
        "created before, true",
        "6 REQUEST_ID_REUSED",
        "3 INVALID_REQUEST workflow",
        "3 INVALID_REQUEST request_id",
        "3 INVALID_REQUEST steps[1].recipient priority",
        "created two, false",
    ];
    assert_eq!(told, wanted);
    let listed = running.client.list(ListWorkflowsRequest::default()).await.unwrap();
    let mut keys: Vec<_> = listed.workflows.into_iter().map(|it| it.request_id).collect();
    keys.sort();
    assert_eq!(keys, ["before", "one", "two"]);
    running.advance(std::time::Duration::from_secs(60)).await;
    assert_eq!(running.sent().await.len(), 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_wrong_is_told_at_once() {
    let running = Running::start(&in_memory()).await;
    let mut spec = good();
    spec.steps = vec![v1::Step::default()];
    let status = running.client.create(request(spec)).await.unwrap_err();
    let wrong = status.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = wrong.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(fields, ["steps[0].recipient", "steps[0].sender", "steps[0].message"]);
    running.stop().await;
}

/// A status travels in a header, and clients take 16 KiB of those.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_much_is_wrong_the_answer_arrives() {
    let running = Running::start(&in_memory()).await;
    // All that can be wrong with a step at once, twenty times.
    let mut spec = good();
    let step = &mut spec.steps[0];
    step.sender.as_mut().unwrap().channel = "mms".to_owned();
    step.recipient.as_mut().unwrap().channel = "mesenger".to_owned();
    step.failover = Some(v1::Failover { expiry_time: span(0, 0), condition_status: String::new() });
    let content = Some(image("private", ""));
    let action = Some(v1::ViberAction::default());
    step.message = Some(v1::Message {
        content,
        sms: Some(v1::SmsOptions { encoding: 9, ..v1::SmsOptions::default() }),
        mms: None,
        messenger: Some(v1::MessengerOptions { category: 9, tag: String::new() }),
        whatsapp: Some(v1::WhatsAppOptions { policy: 9, ..v1::WhatsAppOptions::default() }),
        viber_service_msg: Some(v1::ViberServiceMsgOptions {
            category: 9,
            ttl: span(0, 0),
            action,
            video: Some(v1::ViberVideo::default()),
            file_name: "private".to_owned(),
            r#type: "private".to_owned(),
        }),
        rcs: Some(v1::RcsOptions { category: 9, ttl: span(0, 0) }),
        options: Some(prost_types::Struct::default()),
    });
    spec.steps = vec![spec.steps[0].clone(); 20];
    let status = running.client.create(request(spec)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let wrong = status.get_details_bad_request().unwrap().field_violations;
    assert!(wrong.len() >= 20, "{status:?}");

    let script = SetScriptRequest { recipient: NUMBER.into(), script: "private".repeat(10_000) };
    let status = running.sandbox.clone().set_script(script).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    running.stop().await;
}
