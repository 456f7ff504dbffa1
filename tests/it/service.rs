//! The whole service under the test clock: real sockets, virtual time.

use std::time::{Duration, Instant};

use dispatch::{
    client::Watch,
    pb::v1::{
        CreateWorkflowRequest, EventKind, ListWorkflowsRequest, OutcomeReason, StreamStart,
        StreamStatusRequest, Workflow, WorkflowState, WorkflowView, stream_status_request,
        stream_status_response::Kind,
    },
};
use tonic::Code;

use crate::support::{Running, in_memory, kinds, messenger_sms, request};

const PERSON: &str = "1000000000000001";
const NUMBER: &str = "447700900001";
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_read_in_ten_minutes_an_sms_goes_out() {
    let running = Running::start(&in_memory()).await;
    running.script(PERSON, "accept; deliver 41s").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    running.advance(10 * MINUTE - Duration::from_millis(1)).await;
    assert_eq!(running.sent().await.len(), 1, "not a millisecond early");
    running.advance(Duration::from_millis(1)).await;
    assert_eq!(running.sent().await.len(), 2);
    running.advance(MINUTE).await;
    let workflow = running.get(&id).await;
    assert_eq!(workflow.state(), WorkflowState::Succeeded);
    let told: Vec<_> = workflow.timeline.iter().map(|event| event.description.as_str()).collect();
    let why = "not read within 600 s; last status delivered, 41 s after submission";
    assert!(told.contains(&why), "{told:#?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_in_time_no_sms_goes_out() {
    let running = Running::start(&in_memory()).await;
    running.script(PERSON, "accept; deliver 1s; read 90s").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    running.advance(24 * 60 * MINUTE).await;
    let workflow = running.get(&id).await;
    assert_eq!(workflow.state(), WorkflowState::Succeeded);
    assert_eq!(running.sent().await.len(), 1);
    let reason = workflow.outcome.map(|outcome| outcome.reason());
    assert_eq!(reason, Some(OutcomeReason::ConditionMet));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_passes_in_milliseconds() {
    let running = Running::start(&in_memory()).await;
    running.script(PERSON, "accept; never").await;
    running.script(NUMBER, "accept; deliver 5h").await;
    let began = Instant::now();
    let id = running.create(messenger_sms(PERSON, NUMBER, "68400s")).await;
    running.advance(24 * 60 * MINUTE).await;
    let took = began.elapsed();
    let workflow = running.get(&id).await;
    assert_eq!(workflow.state(), WorkflowState::Succeeded);
    let (created, ended) = (workflow.create_time.unwrap(), workflow.end_time.unwrap());
    assert_eq!(ended.seconds - created.seconds, 24 * 3600);
    assert!(took < Duration::from_secs(5), "a day took {took:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_oddity_of_a_provider_ends_as_it_should() {
    use WorkflowState::{Failed, Succeeded};
    // The script of the first step's recipient; how it ends; how many messages went out.
    let cases = [
        ("accept; deliver 1s; read 2s", Succeeded, 1),
        ("accept; deliver 1s; read 2s; twice", Succeeded, 1),
        ("accept; deliver 1s; read 2s; out-of-order", Succeeded, 1),
        ("accept; deliver 1s; read 2s; early", Succeeded, 1),
        ("accept; never", Succeeded, 2),
        ("accept; deliver 1s; read 2s; late 20m", Succeeded, 2),
        ("accept; undeliverable 3s 1310", Succeeded, 2),
        ("reject 1340", Succeeded, 1),
        ("throttle 2 3s; accept; deliver 1s; read 2s", Succeeded, 1),
        ("no-answer; deliver 2s; read 4s", Succeeded, 1),
        ("no-answer; never", Succeeded, 2),
        ("hang", Succeeded, 1),
        ("500 after acting; deliver 1s; read 2s", Succeeded, 1),
        ("500 before acting", Succeeded, 1),
    ];
    for over_http in [false, true] {
        for (script, end, sends) in &cases {
            // A caller that waits in vain waits in real time, over HTTP.
            if over_http && (script.contains("no-answer") || script.contains("hang")) {
                continue;
            }
            let running = if over_http {
                Running::over_http(&in_memory()).await
            } else {
                Running::start(&in_memory()).await
            };
            running.script(PERSON, script).await;
            let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
            running.advance(60 * MINUTE).await;
            let workflow = running.get(&id).await;
            let told: Vec<_> =
                workflow.timeline.iter().map(|event| event.description.as_str()).collect();
            let place = format!("{script}, over HTTP: {over_http}: {told:#?}");
            assert_eq!(workflow.state(), *end, "{place}");
            assert_eq!(running.sent().await.len(), *sends, "{place}");
            running.stop().await;
        }
    }
    let running = Running::start(&in_memory()).await;
    running.script(PERSON, "reject 1340").await;
    running.script(NUMBER, "reject 1300").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    running.advance(MINUTE).await;
    let workflow = running.get(&id).await;
    assert_eq!(workflow.state(), Failed);
    assert_eq!(workflow.outcome.map(|outcome| outcome.provider_code).as_deref(), Some("1300"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_after_an_acknowledged_cancel() {
    let running = Running::start(&in_memory()).await;
    running.script(PERSON, "accept; never").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    running.advance(MINUTE).await;
    let canceled = running.client.cancel(&id).await.unwrap();
    assert_eq!(canceled.started_attempt_ids.len(), 1);
    assert_eq!(canceled.workflow.unwrap().state(), WorkflowState::Canceled);
    running.advance(60 * MINUTE).await;
    assert_eq!(running.sent().await.len(), 1);
    running.client.cancel(&id).await.expect("canceling a canceled one is fine");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_workflow_cannot_be_canceled_and_says_how_it_ended() {
    let running = Running::start(&in_memory()).await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    running.advance(MINUTE).await;
    let refused = running.client.cancel(&id).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("SUCCEEDED, CONDITION_MET"), "{}", refused.message());
    let unknown = running.client.cancel("0190a1b2-0000-7000-8000-000000000000").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_makes_a_create_safe_to_repeat() {
    let running = Running::start(&in_memory()).await;
    let mut asked = request(messenger_sms(PERSON, NUMBER, "600s"));
    asked.request_id = "order-17".to_owned();
    let calls = (0..50).map(|_| running.client.create(asked.clone()));
    let created: Vec<_> = futures_util::future::join_all(calls).await;
    let ids: std::collections::BTreeSet<_> = created
        .iter()
        .map(|created| created.as_ref().unwrap().workflow.clone().unwrap().workflow_id)
        .collect();
    assert_eq!(ids.len(), 1);
    let new = created.iter().filter(|created| !created.as_ref().unwrap().already_existed).count();
    assert_eq!(new, 1);
    let mut other = asked.clone();
    other.workflow = Some(messenger_sms(PERSON, NUMBER, "601s"));
    assert_eq!(running.client.create(other).await.unwrap_err().code(), Code::AlreadyExists);
    running.advance(MINUTE).await;
    assert_eq!(running.sent().await.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_may_be_repeated_after_its_times_have_passed() {
    let running = Running::start(&in_memory()).await;
    let mut asked = request(messenger_sms(PERSON, NUMBER, "600s"));
    asked.request_id = "order-18".to_owned();
    let now = running.service.engine.clock().now();
    let send_at = prost_types::Timestamp { seconds: (now.0 / 1000) as i64 + 30, nanos: 0 };
    let valid_until = prost_types::Timestamp { seconds: send_at.seconds + 20, nanos: 0 };
    let spec = asked.workflow.as_mut().unwrap();
    (spec.send_at, spec.valid_until) = (Some(send_at), Some(valid_until));
    let first = running.client.create(asked.clone()).await.unwrap();
    assert_eq!(first.workflow.unwrap().state(), WorkflowState::Scheduled);
    running.advance(MINUTE).await;
    let again = running.client.create(asked.clone()).await.unwrap();
    assert!(again.already_existed);
    assert_eq!(running.sent().await.len(), 1);
    asked.request_id = "order-19".to_owned();
    let late = running.client.create(asked).await.unwrap_err();
    assert_eq!(late.code(), Code::InvalidArgument, "a new one is too late");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validate_only_keeps_nothing() {
    let running = Running::start(&in_memory()).await;
    let mut asked = request(messenger_sms(PERSON, NUMBER, "600s"));
    asked.validate_only = true;
    running.client.create(asked).await.unwrap();
    let listed = running.client.list(ListWorkflowsRequest::default()).await.unwrap();
    assert!(listed.workflows.is_empty());
    assert!(running.sent().await.is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_tells_what_was_then_what_comes_and_ends() {
    let running = Running::start(&in_memory()).await;
    running.script(PERSON, "accept; deliver 1s").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    running.advance(MINUTE).await;
    let client = running.client.clone();
    let watched = id.clone();
    let watching = tokio::spawn(async move {
        let mut seen = Vec::new();
        let see = |event| {
            seen.push(event);
            true
        };
        client.watch(Watch::Workflow(watched), None, false, see).await.unwrap();
        seen
    });
    running.advance(20 * MINUTE).await;
    let seen = watching.await.unwrap();
    let workflow = running.get(&id).await;
    assert_eq!(seen, workflow.timeline, "the stream and the timeline tell the same");
    assert_eq!(kinds(&seen).first(), Some(&EventKind::Created));
    assert_eq!(kinds(&seen).last(), Some(&EventKind::Ended));
    let sequences: Vec<_> = seen.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=seen.len() as u32).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_behind_any_token_without_gap_or_repeat() {
    let running = Running::start(&in_memory()).await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    running.advance(MINUTE).await;
    let all = running.get(&id).await.timeline;
    for (at, event) in all.iter().enumerate() {
        let mut rest = Vec::new();
        let see = |event| {
            rest.push(event);
            true
        };
        let token = Some(event.resume_token.clone());
        running.client.watch(Watch::Workflow(id.clone()), token, false, see).await.unwrap();
        assert_eq!(rest, all[at + 1..], "behind event {}", at + 1);

        let from = Some(stream_status_request::Start::ResumeToken(event.resume_token.clone()));
        let target = Some(stream_status_request::Target::All(Default::default()));
        let asked = StreamStatusRequest { target, start: from, ..Default::default() };
        let mut stream = running.client.raw().stream_status(asked).await.unwrap().into_inner();
        for wanted in &all[at + 1..] {
            let Some(Kind::Event(event)) = stream.message().await.unwrap().unwrap().kind else {
                panic!("a bookmark before the events");
            };
            assert_eq!(event, *wanted);
        }
    }
    running.stop().await;
}

/// A thousand readers, one of whom does not read: each of the others sees all, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_readers_see_everything_and_one_that_does_not_read_holds_nobody_up() {
    const READERS: usize = 1000;
    const WORKFLOWS: usize = 40;
    let running = Running::start(&in_memory()).await;
    let from = Some(stream_status_request::Start::Position(StreamStart::Beginning as i32));
    let target = Some(stream_status_request::Target::All(Default::default()));
    let asked = StreamStatusRequest { target, start: from, ..Default::default() };
    let _unread = running.client.raw().stream_status(asked.clone()).await.unwrap();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut stream =
            running.client.raw().stream_status(asked.clone()).await.unwrap().into_inner();
        readers.push(tokio::spawn(async move {
            let (mut ended, mut next) = (0, std::collections::BTreeMap::new());
            while ended < WORKFLOWS {
                let Some(Kind::Event(event)) = stream.message().await.unwrap().unwrap().kind else {
                    continue;
                };
                let next = next.entry(event.workflow_id.clone()).or_insert(1);
                assert_eq!(event.sequence, *next, "a gap or a repeat");
                *next += 1;
                ended += usize::from(event.kind() == EventKind::Ended);
            }
            next.values().sum::<u32>()
        }));
    }
    for _ in 0..WORKFLOWS {
        running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    }
    running.advance(MINUTE).await;
    let mut counts = std::collections::BTreeSet::new();
    for reader in readers {
        let seen =
            tokio::time::timeout(Duration::from_secs(60), reader).await.expect("it is held up");
        counts.insert(seen.unwrap());
    }
    assert_eq!(counts.len(), 1, "all saw the same: {counts:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_shows_as_much_as_it_is_asked_for() {
    let running = Running::start(&in_memory()).await;
    let asked = |view: WorkflowView, validate_only: bool| CreateWorkflowRequest {
        view: view as i32,
        validate_only,
        request_id: format!("views-{}", view as i32),
        ..request(messenger_sms(PERSON, NUMBER, "600s"))
    };
    let steps = |workflow: &Workflow| workflow.spec.as_ref().map_or(0, |spec| spec.steps.len());
    use WorkflowView::{Basic, Full, Summary, Unspecified};
    for (view, spec_steps, has_timeline) in
        [(Unspecified, 0, false), (Summary, 0, false), (Basic, 2, false), (Full, 2, true)]
    {
        // The second is a repeat, and shows the same.
        for repeats in [false, true] {
            let created = running.client.create(asked(view, false)).await.unwrap();
            assert_eq!(created.already_existed, repeats);
            let shown = created.workflow.unwrap();
            assert_eq!(steps(&shown), spec_steps, "{view:?}: {shown:#?}");
            assert_eq!(!shown.timeline.is_empty(), has_timeline, "{view:?}: {shown:#?}");
            assert_eq!(shown.steps.len(), 2, "{view:?}");
            assert!(!shown.workflow_id.is_empty() && shown.create_time.is_some(), "{view:?}");
        }
    }
    let checked = running.client.create(asked(Unspecified, true)).await.unwrap();
    assert_eq!(steps(&checked.workflow.unwrap()), 2, "the defaults are what a check shows");
    running.stop().await;
}
