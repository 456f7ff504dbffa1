//! What is personal is erased: by workflow, by person, a tenant's and everybody's; and what an erasure does not touch.

use std::{os::unix::fs::FileExt, path::Path, sync::Arc, time::Duration};

use dispatch::{
    access::{PayloadVersion, Signing},
    client::Client,
    config::{Config, StoreKind},
    contents::{
        AllUntil, ErasedSlot, Erasure, ErasureAuthor, ErasureExtent, Family, erasures,
        kept_erasure, newest_row_slot,
    },
    engine::ResumePolicy,
    machine::WorkflowId,
    pb::v1::{
        Address, BackupRequest, BatchCreateOptOutsRequest, ContentsState, EraseRequest,
        EraseResponse, ErasureCertificate, EventKind, EverybodyToErase, ListAuditRequest,
        ListOptOutsRequest, OpenWhenErased, OptOut, PersonToErase, TenantToErase,
        VerifyErasureRequest, Workflow, WorkflowSpec, WorkflowState, WorkflowsToErase, address,
        erase_request::Subject,
    },
    store::{ApiDialect, SledOptions},
};
use dispatch_contract::{Channel, ChannelSender, Content, Endpoint, Inbound, InboundMessage};
use tonic::Code;
use uuid::Uuid;

use crate::{
    access::{House, MISSING, holder, key, outcome},
    callbacks::{
        helper::{Told, allowing, app},
        receiver::{Answer, Receiver},
    },
    no_recipient,
    support::{Running, eventually, in_memory, kinds, messenger_sms, request},
};

/// All that a tenant's key may, and to see contents besides.
const SEEING: [&str; 5] = ["create", "read", "cancel", "admin", "contents"];
const NUMBER: &str = "447700900871";
const PERSON: &str = "9123456780012345";
const TEXT: &str = "Your table is ready.";
const PATIENCE: Duration = Duration::from_secs(20);

fn on(folder: &Path) -> Config {
    let mut config = in_memory();
    config.store.kind = StoreKind::Sled;
    config.store.data = folder.to_owned();
    config
}

fn workflows(ids: &[&str]) -> EraseRequest {
    let workflow_ids = ids.iter().map(|&id| id.to_owned()).collect();
    of(Subject::Workflows(WorkflowsToErase { workflow_ids }))
}

fn of(subject: Subject) -> EraseRequest {
    EraseRequest { subject: Some(subject), ..EraseRequest::default() }
}

async fn erase(client: &Client, request: EraseRequest) -> EraseResponse {
    client.erasures().erase(request).await.unwrap().into_inner()
}

async fn certificate(client: &Client, request: EraseRequest) -> ErasureCertificate {
    erase(client, request).await.certificate.unwrap()
}

async fn refusal(client: &Client, request: EraseRequest) -> (Code, String) {
    outcome(client.erasures().erase(request).await)
}

/// To be read in a minute, and the SMS behind it is delivered.
async fn failed_over(running: &Running) -> String {
    running.script(PERSON, "accept; deliver 1s").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "60s")).await;
    running.advance(Duration::from_secs(600)).await;
    assert_eq!(running.get(&id).await.state(), WorkflowState::Succeeded);
    id
}

/// Accepted on Messenger, and waits for a day to be read.
async fn open(running: &Running, request_id: &str) -> String {
    running.script(PERSON, "accept; deliver 1s").await;
    let mut asked = request(messenger_sms(PERSON, NUMBER, "86400s"));
    asked.request_id = request_id.to_owned();
    let created = running.client.create(asked).await.unwrap();
    running.advance(Duration::from_secs(60)).await;
    created.workflow.unwrap().workflow_id
}

fn is_shown(workflow: &Workflow) -> bool {
    let shown = dispatch::pb::to_json(workflow);
    shown.contains(NUMBER) || shown.contains(PERSON) || shown.contains(TEXT)
}

async fn metric(running: &Running, name: &str) -> f64 {
    let url = format!("http://{}/metrics", running.service.internal_http);
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    let line = format!("dispatch_{name}_total ");
    metrics.lines().find_map(|it| it.strip_prefix(&line)?.parse().ok()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_personal_of_a_workflow_is_gone_and_its_timeline_stays() {
    let folder = tempfile::tempdir().unwrap();
    let config = on(&folder.path().join("data"));
    let running = Running::start(&config).await;
    let id = failed_over(&running).await;
    let other = failed_over(&running).await;
    let before = running.get(&id).await;
    assert!(is_shown(&before));

    let told = certificate(&running.client, workflows(&[&id])).await;
    assert_eq!((told.workflow_count, told.canceled_count, told.may_still_arrive_count), (1, 0, 0));
    assert_eq!((told.subject.as_str(), told.workflows.len()), ("workflows", 1));
    assert_eq!(told.workflows[0].workflow_id, id);
    let printed = dispatch::pb::to_json(&told);
    assert!(!printed.contains(NUMBER) && !printed.contains(PERSON), "{printed}");

    is_erased(&running, &before, &told).await;
    assert!(is_shown(&running.get(&other).await), "nobody else's is gone");
    // Twice: nothing is there any more.
    let again = certificate(&running.client, workflows(&[&id])).await;
    assert_eq!((again.workflow_count, again.workflows.len()), (0, 0));
    is_erased(&running, &before, &told).await;
    running.stop().await;

    let running = Running::start(&config).await;
    is_erased(&running, &before, &told).await;
    assert!(is_shown(&running.get(&other).await));
    running.stop().await;
}

/// That nothing personal is left of a workflow, which was like this, and all else is; and the certificate tells of it.
async fn is_erased(running: &Running, before: &Workflow, told: &ErasureCertificate) {
    let after = running.get(&before.workflow_id).await;
    assert!(!is_shown(&after), "{after:?}");
    assert_eq!(after.state(), before.state());
    let mut expected = kinds(&before.timeline);
    expected.push(EventKind::ContentsErased);
    assert_eq!(kinds(&after.timeline), expected);
    assert_eq!(after.steps, before.steps, "statuses, times and attempts stay");
    assert_eq!(after.timeline.last().unwrap().description, "contents erased");
    assert_eq!(after.contents(), ContentsState::Erased);

    let asked = VerifyErasureRequest { certificate: Some(told.clone()) };
    let looked = running.client.erasures().verify_erasure(asked).await.unwrap().into_inner();
    assert!(looked.is_genuine && looked.remaining.is_empty(), "{looked:?}");
    assert_eq!(looked.destroyed_count, 1);
    let audit = running.client.access().list_audit(ListAuditRequest::default()).await.unwrap();
    let entries = audit.into_inner().entries;
    let mut of_it = entries.iter().filter(|entry| entry.target == told.erasure_id);
    let entry = of_it.next().unwrap();
    assert_eq!((entry.action.as_str(), of_it.next()), ("contents.erased", None));
    assert!(entry.result.ends_with(&told.digest), "{entry:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_is_canceled_or_refused_and_nothing_of_it_is_sent_any_more() {
    let running = Running::start(&in_memory()).await;
    let id = open(&running, "the-same").await;
    let refuses = EraseRequest { open: OpenWhenErased::Refuse as i32, ..workflows(&[&id]) };
    let (code, reason) = refusal(&running.client, refuses).await;
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "WORKFLOWS_OPEN"));
    assert!(is_shown(&running.get(&id).await), "nothing was erased");

    let told = certificate(&running.client, workflows(&[&id])).await;
    assert_eq!((told.workflow_count, told.canceled_count), (1, 1));
    // Messenger has it, and it may still be seen.
    assert_eq!(told.may_still_arrive_count, 1);
    assert!(told.may_still_arrive[0].starts_with(&id.replace('-', "")), "{told:?}");
    let sent = running.sent().await.len();
    running.advance(Duration::from_secs(100_000)).await;
    assert_eq!(running.sent().await.len(), sent, "no SMS follows");
    let after = running.get(&id).await;
    assert_eq!(after.state(), WorkflowState::Canceled);
    assert!(!is_shown(&after));

    // A repeat meets it, whatever it asks for: nobody can compare.
    for spec in [messenger_sms(PERSON, NUMBER, "86400s"), messenger_sms("1000", NUMBER, "10s")] {
        let mut repeat = request(spec);
        repeat.request_id = "the-same".to_owned();
        let met = running.client.create(repeat).await.unwrap();
        assert_eq!(met.workflow.unwrap().workflow_id, id);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_there_or_another_tenant_s_is_not_found_and_nobody_is_wrong() {
    let mut config = in_memory();
    config.access.keys = vec![
        key("operator", "default", &["create", "operator"]),
        key("acme", "acme", &SEEING),
        key("reads", "acme", &["read", "create", "cancel"]),
        key("other", "other", &SEEING),
    ];
    let house = House::new(&config).await;
    let (acme, other, operator) = (house.of("acme"), house.of("other"), house.of("operator"));
    let spec = messenger_sms(PERSON, NUMBER, "86400s");
    let id = acme.create(request(spec)).await.unwrap().workflow.unwrap().workflow_id;

    let not_found = (Code::NotFound, "WORKFLOW_NOT_FOUND".to_owned());
    for client in [&other, &operator] {
        assert_eq!(refusal(client, workflows(&[&id])).await, not_found, "as one that is not there");
        assert_eq!(refusal(client, workflows(&[MISSING])).await, not_found);
    }
    // One that is not there: none of them is erased.
    assert_eq!(refusal(&acme, workflows(&[&id, MISSING])).await, not_found);
    assert!(is_shown(&acme.get(&id).await.unwrap()));

    let operator_only = (Code::PermissionDenied, "SCOPE_MISSING".to_owned());
    let named = EraseRequest { tenant: "acme".to_owned(), ..workflows(&[&id]) };
    assert_eq!(refusal(&other, named.clone()).await, operator_only);
    assert_eq!(refusal(&house.of("reads"), workflows(&[&id])).await, operator_only);
    let everybody = EverybodyToErase { confirm: "erase everybody".to_owned() };
    assert_eq!(refusal(&acme, of(Subject::Everybody(everybody))).await, operator_only);

    let invalid = Code::InvalidArgument;
    for wrong in [
        EraseRequest::default(),
        workflows(&[]),
        workflows(&["no-id"]),
        of(Subject::Person(PersonToErase::default())),
        of(Subject::Person(PersonToErase { recipients: vec![" ".to_owned()] })),
        of(Subject::Person(PersonToErase { recipients: vec!["1".repeat(257)] })),
        of(Subject::EntireTenant(TenantToErase { confirm: String::new() })),
        of(Subject::EntireTenant(TenantToErase { confirm: "other".to_owned() })),
    ] {
        assert_eq!(refusal(&acme, wrong.clone()).await.0, invalid, "{wrong:?}");
    }
    for confirm in ["", "acme", "Erase everybody", "erase everybody "] {
        let everybody = EverybodyToErase { confirm: confirm.to_owned() };
        let wrong = of(Subject::Everybody(everybody));
        assert_eq!(refusal(&operator, wrong).await.0, invalid, "{confirm}");
    }
    let everybody = EverybodyToErase { confirm: "erase everybody".to_owned() };
    let of_one = EraseRequest { tenant: "acme".to_owned(), ..of(Subject::Everybody(everybody)) };
    assert_eq!(refusal(&operator, of_one).await.0, invalid);
    assert!(is_shown(&acme.get(&id).await.unwrap()), "after all of that");
    assert_eq!(certificate(&operator, named).await.workflow_count, 1);
    assert!(!is_shown(&acme.get(&id).await.unwrap()));
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_erased_as_a_whole_and_no_other_and_then_everybody() {
    let mut config = in_memory();
    config.access.keys = vec![
        key("operator", "default", &["create", "operator"]),
        key("acme", "acme", &SEEING),
        key("other", "other", &SEEING),
    ];
    let house = House::new(&config).await;
    let (acme, other, operator) = (house.of("acme"), house.of("other"), house.of("operator"));
    let create = async |client: &Client| {
        let spec = messenger_sms(PERSON, NUMBER, "86400s");
        client.create(request(spec)).await.unwrap().workflow.unwrap().workflow_id
    };
    let (mine, theirs) = ([create(&acme).await, create(&acme).await], create(&other).await);
    let tenant =
        |confirm: &str| of(Subject::EntireTenant(TenantToErase { confirm: confirm.into() }));

    let dry = EraseRequest { dry_run: true, ..tenant("") };
    let preview = erase(&acme, dry).await.preview.unwrap();
    assert_eq!(preview.workflow_count, 2);
    assert_eq!((preview.by_state.len(), preview.by_state[0].count), (1, 2));
    assert_eq!(preview.by_state[0].state(), WorkflowState::Running);
    assert!(is_shown(&acme.get(&mine[0]).await.unwrap()), "nothing was erased");

    let told = certificate(&acme, tenant("acme")).await;
    assert_eq!((told.workflow_count, told.canceled_count), (2, 2));
    assert_eq!((told.subject.as_str(), told.tenant.as_str()), ("tenant", "acme"));
    for id in &mine {
        let after = acme.get(id).await.unwrap();
        assert!(!is_shown(&after) && after.state() == WorkflowState::Canceled);
    }
    assert!(is_shown(&other.get(&theirs).await.unwrap()));
    let asked = VerifyErasureRequest { certificate: Some(told.clone()) };
    let looked = acme.erasures().verify_erasure(asked.clone()).await.unwrap().into_inner();
    assert_eq!((looked.is_genuine, looked.destroyed_count, looked.remaining.len()), (true, 2, 0));
    let denied = other.erasures().verify_erasure(asked).await;
    assert_eq!(denied.unwrap_err().code(), Code::PermissionDenied);

    // Who comes back is somebody new.
    let back = create(&acme).await;
    assert!(is_shown(&acme.get(&back).await.unwrap()));
    let everybody = EverybodyToErase { confirm: "erase everybody".to_owned() };
    let told = certificate(&operator, of(Subject::Everybody(everybody))).await;
    assert_eq!((told.workflow_count, told.subject.as_str()), (2, "everybody"));
    assert!(!is_shown(&other.get(&theirs).await.unwrap()));
    assert!(!is_shown(&acme.get(&back).await.unwrap()));
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_was_changed_is_not_genuine() {
    let running = Running::start(&in_memory()).await;
    let ids = [failed_over(&running).await, failed_over(&running).await];
    let told = certificate(&running.client, workflows(&[&ids[0]])).await;
    let verify = async |certificate: ErasureCertificate| {
        let asked = VerifyErasureRequest { certificate: Some(certificate) };
        running.client.erasures().verify_erasure(asked).await.unwrap().into_inner()
    };
    let fewer = ErasureCertificate { canceled_count: 7, ..told.clone() };
    assert!(!verify(fewer).await.is_genuine);
    // As if somebody had made it up, of a slot whose key is there.
    let mut forged = told.clone();
    forged.workflows[0].key_slot += 1;
    forged.workflows[0].workflow_id.clone_from(&ids[1]);
    let looked = verify(forged).await;
    assert!(!looked.is_genuine);
    assert_eq!((looked.destroyed_count, &looked.remaining[..]), (0, &ids[1..]));
    assert!(verify(told).await.is_genuine);
    running.stop().await;
}

/// What is written down of an erasure that was begun, of these workflows.
async fn begun(running: &Running, ids: &[&str]) -> Arc<Erasure> {
    let engine = &running.service.engine;
    let slot = |id: &&str| {
        let workflow = id.parse().unwrap();
        let record = engine.reader().record(workflow).unwrap().unwrap();
        ErasedSlot { slot: record.contents.slot, workflow }
    };
    let now = engine.clock().moment();
    Arc::new(Erasure {
        id: Uuid::now_v7(),
        tenant: Some(Arc::from("default")),
        begun_at: now.wall,
        kept_since: now.engine,
        author: ErasureAuthor {
            name: "somebody".to_owned(),
            source: "192.0.2.1".to_owned(),
            is_operator: false,
        },
        extent: ErasureExtent::Named(ids.iter().map(slot).collect()),
        certificate: None,
    })
}

/// Cut off behind each step: what it had done is durable, and what it had not is done by the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_death_cut_off_the_next_start_ends() {
    for steps in 0..=3 {
        let folder = tempfile::tempdir().unwrap();
        let config = on(&folder.path().join("data"));
        let running = Running::start(&config).await;
        let (ended, open) = (failed_over(&running).await, open(&running, "one").await);
        let other = failed_over(&running).await;
        let erasure = begun(&running, &[&ended, &open]).await;
        let engine = &running.service.engine;
        if steps > 0 {
            engine.write_down(Arc::clone(&erasure)).await.unwrap();
        }
        if steps > 1 {
            engine.mark_erased(erasure.id, erasure.slots()).await.unwrap();
        }
        if steps > 2 {
            engine.destroy(erasure.slots()).await.unwrap();
        }
        running.stop().await;

        let running = Running::start(&config).await;
        let settings = running.service.engine.settings();
        if steps == 0 {
            assert!(erasures(&**settings).unwrap().is_empty());
            assert!(is_shown(&running.get(&ended).await), "it was not begun");
            running.stop().await;
            continue;
        }
        let is_done = || {
            let kept = kept_erasure(&**settings, erasure.id).unwrap().unwrap();
            kept.certificate.is_some()
        };
        assert!(eventually(PATIENCE, async || is_done()).await, "after {steps} steps");
        for (id, state) in [(&ended, WorkflowState::Succeeded), (&open, WorkflowState::Canceled)] {
            let after = running.get(id).await;
            assert!(!is_shown(&after), "after {steps} steps");
            assert_eq!(after.state(), state);
            let erased = kinds(&after.timeline);
            let count = erased.iter().filter(|kind| **kind == EventKind::ContentsErased).count();
            assert_eq!(count, 1, "after {steps} steps");
        }
        assert!(is_shown(&running.get(&other).await));
        let audit = running.client.access().list_audit(ListAuditRequest::default()).await.unwrap();
        let entries = audit.into_inner().entries;
        let entry = entries.iter().find(|entry| entry.action == "contents.erased").unwrap();
        assert_eq!((entry.actor.as_str(), entry.source.as_str()), ("somebody", "192.0.2.1"));
        running.stop().await;
    }
}

/// Has a workflow's key noted under these addresses, whatever stands in its contents.
fn noted(running: &Running, id: &str, addresses: &[&str]) {
    let engine = &running.service.engine;
    let id = id.parse().unwrap();
    let WorkflowId(owner) = id;
    let record = engine.reader().record(id).unwrap().unwrap();
    let (keys, slot) = (engine.contents().keys(), record.contents.slot);
    let tags = keys.tags(Family::Workflow, slot, addresses).unwrap();
    keys.note(Family::Workflow, slot, *owner.as_bytes(), tags);
}

fn person(recipients: &[&str]) -> EraseRequest {
    let recipients = recipients.iter().map(|&it| it.to_owned()).collect();
    of(Subject::Person(PersonToErase { recipients }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_found_by_any_address_in_any_form_and_nobody_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let config = on(&folder.path().join("data"));
    let running = Running::start(&config).await;
    let mine = [failed_over(&running).await, failed_over(&running).await];
    let waits = open(&running, "one").await;
    let create = async |spec: WorkflowSpec| running.create(spec).await;
    let other = create(messenger_sms("1000000000000001", "447700900001", "86400s")).await;
    // As if their tags were the same: it is opened, and compared.
    noted(&running, &other, &["1000000000000001", "447700900001", NUMBER]);

    let forms = ["+44 7700 900871", "00447700900871", "44-7700-900871"];
    for form in forms {
        let dry = EraseRequest { dry_run: true, ..person(&[form]) };
        let preview = erase(&running.client, dry).await.preview.unwrap();
        assert_eq!((preview.workflow_count, preview.other_address_count), (3, 1), "{form}");
        let count = |state: WorkflowState| {
            let of = preview.by_state.iter().find(|some| some.state() == state);
            of.map_or(0, |some| some.count)
        };
        assert_eq!((count(WorkflowState::Succeeded), count(WorkflowState::Running)), (2, 1));
    }
    let refuses = EraseRequest { open: OpenWhenErased::Refuse as i32, ..person(&[NUMBER]) };
    let (code, _) = refusal(&running.client, refuses).await;
    assert_eq!(code, Code::FailedPrecondition);
    let nobody = certificate(&running.client, person(&["447700900999"])).await;
    assert_eq!(nobody.workflow_count, 0);

    let told = certificate(&running.client, person(&["+44 7700 900871", PERSON])).await;
    assert_eq!((told.workflow_count, told.canceled_count), (3, 1));
    assert_eq!(told.subject, "person");
    let printed = dispatch::pb::to_json(&told);
    assert!(!printed.contains("7700900") && !printed.contains(PERSON), "{printed}");
    for id in mine.iter().chain([&waits]) {
        assert!(!is_shown(&running.get(id).await));
    }
    let shown = dispatch::pb::to_json(&running.get(&other).await);
    assert!(shown.contains("447700900001"), "somebody else's");
    let again = certificate(&running.client, person(&[NUMBER])).await;
    assert_eq!(again.workflow_count, 0);
    running.stop().await;

    let running = Running::start(&config).await;
    let asked = VerifyErasureRequest { certificate: Some(told) };
    let looked = running.client.erasures().verify_erasure(asked).await.unwrap().into_inner();
    assert_eq!((looked.is_genuine, looked.destroyed_count), (true, 3));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenant_s_messages_to_the_same_person_are_not_theirs_to_erase() {
    let mut config = in_memory();
    config.access.keys = vec![
        key("operator", "default", &["create", "operator"]),
        key("acme", "acme", &SEEING),
        key("other", "other", &SEEING),
    ];
    let running = Running::start(&config).await;
    let of_key = |id: &str| running.client.clone().with(holder(id));
    let (acme, other) = (of_key("acme"), of_key("other"));
    let create = async |client: &Client| {
        let spec = messenger_sms(PERSON, NUMBER, "86400s");
        client.create(request(spec)).await.unwrap().workflow.unwrap().workflow_id
    };
    let (mine, theirs) = (create(&acme).await, create(&other).await);
    let told = certificate(&acme, person(&[NUMBER])).await;
    assert_eq!((told.workflow_count, told.workflows[0].workflow_id.as_str()), (1, &*mine));
    assert!(is_shown(&other.get(&theirs).await.unwrap()));
    let of_other = EraseRequest { tenant: "other".to_owned(), ..person(&[NUMBER]) };
    assert_eq!(certificate(&of_key("operator"), of_other).await.workflow_count, 1);
    assert!(!is_shown(&other.get(&theirs).await.unwrap()));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_of_what_was_erased_are_counted_and_not_kept() {
    let running = Running::start(&in_memory()).await;
    running.script(PERSON, "accept; deliver 60s; read 90s").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    running.advance(Duration::from_secs(10)).await;
    let told = certificate(&running.client, workflows(&[&id])).await;
    assert_eq!(told.may_still_arrive_count, 1);
    let before = running.get(&id).await;
    assert_eq!(metric(&running, "receipts_after_erasure").await, 0.0);
    running.advance(Duration::from_secs(600)).await;
    assert_eq!(metric(&running, "receipts_after_erasure").await, 2.0);
    assert_eq!(running.get(&id).await, before, "nothing of it changed");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_being_sent_may_still_arrive_and_the_answer_says_so() {
    let mut config = in_memory();
    config.sandbox.virtual_clock = false;
    config.engine.drain_s = 1;
    let running = Running::over_http(&config).await;
    running.script(PERSON, "no-answer; deliver 1s").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    let is_out = async || {
        let shown = running.get(&id).await;
        shown.steps[0].attempts.iter().any(|attempt| attempt.call_count > 0)
    };
    assert!(eventually(PATIENCE, is_out).await);
    let told = certificate(&running.client, workflows(&[&id])).await;
    assert_eq!((told.canceled_count, told.may_still_arrive_count), (1, 1));
    assert_eq!(told.may_still_arrive, [format!("{}.1", id.replace('-', ""))]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_that_wait_are_dropped_and_counted() {
    let receiver = Receiver::start().await;
    receiver.always(Answer::status(500));
    let told = Told::start(&allowing(in_memory())).await;
    let application = app(&receiver.url("/status"), PayloadVersion::V1, Signing::Jwt);
    told.keep(&application);
    let id = told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    told.advance(Duration::from_secs(2)).await;
    assert!(!told.list(Some(&id)).await.is_empty(), "some wait");
    let erased = certificate(&told.running.client, workflows(&[&id])).await;
    assert_eq!(erased.workflow_count, 1);
    receiver.always(Answer::status(200));
    let before = receiver.received().len();
    told.advance(Duration::from_secs(86_400)).await;
    assert_eq!(receiver.received().len(), before, "nobody is told any more");
    assert!(told.list(Some(&id)).await.is_empty());
    let metrics = told.metrics().await;
    let dropped =
        metrics.lines().find(|it| it.contains("dispatch_callbacks_total{outcome=\"dropped\"}"));
    assert!(dropped.is_some_and(|it| !it.ends_with(" 0")), "{dropped:?}");
    told.stop().await;
}

/// A backup has the keys as they are at its end, and the row of what was begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_store_ends_what_was_begun_when_the_backup_was_taken() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let running = Running::start(&on(&data)).await;
    let (ended, open) = (failed_over(&running).await, open(&running, "one").await);
    let (before, other) = (failed_over(&running).await, failed_over(&running).await);
    certificate(&running.client, workflows(&[&before])).await;
    let erasure = begun(&running, &[&ended, &open]).await;
    running.service.engine.write_down(Arc::clone(&erasure)).await.unwrap();
    let mut backup = Vec::new();
    let taken = running.client.backup(Default::default(), |piece| -> Result<(), ()> {
        backup.extend_from_slice(piece);
        Ok(())
    });
    taken.await.unwrap().unwrap();
    running.stop().await;
    let file = folder.path().join("one.backup");
    std::fs::write(&file, &backup).unwrap();

    let restored = folder.path().join("restored");
    let options = SledOptions { folder: restored.clone(), cache_bytes: 1 << 24 };
    options.restore(&file).unwrap();
    std::fs::copy(data.join("master.key"), restored.join("master.key")).unwrap();
    let running = Running::start(&on(&restored)).await;
    assert!(running.service.engine.is_restore_locked(), "nothing is sent, and erasures are ended");
    let settings = running.service.engine.settings();
    let is_done = || {
        let kept = kept_erasure(&**settings, erasure.id).unwrap().unwrap();
        kept.certificate.is_some()
    };
    assert!(eventually(PATIENCE, async || is_done()).await);
    for id in [&before, &ended, &open] {
        assert!(!is_shown(&running.get(id).await));
    }
    assert!(is_shown(&running.get(&other).await));
    running.stop().await;
}

/// The real program, over a real connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_erases_and_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let told = Told::start(&allowing(on(&folder.path().join("data")))).await;
    let (one, two) = (failed_over(&told.running).await, failed_over(&told.running).await);
    let would = told.cli(&["erase", "--workflow", &one, "--workflow", &two, "--dry-run"]).await;
    assert_eq!(would, "would be erased: the contents of 2 workflows\n  2 SUCCEEDED\n");
    assert!(is_shown(&told.running.get(&one).await));
    let erased = told.cli(&["erase", "--workflow", &one]).await;
    assert!(erased.starts_with("erased: the contents of 1 workflows, 0 of them open"), "{erased}");
    assert!(!is_shown(&told.running.get(&one).await));
    let why = told.cli(&["why", &one]).await;
    assert!(why.contains("contents erased") && !why.contains(NUMBER), "{why}");

    let json = told.cli(&["erase", "--workflow", &two, "--output", "json"]).await;
    assert!(!json.contains(NUMBER) && !json.contains(PERSON), "{json}");
    let file = folder.path().join("erased.json");
    std::fs::write(&file, &json).unwrap();
    let file = file.to_str().unwrap();
    let verified = told.cli(&["erase", "--verify", file]).await;
    assert_eq!(verified, "1 keys are destroyed\n");
    let changed = json.replacen("workflow_count\":1", "workflow_count\":2", 1);
    assert_ne!(changed, json);
    std::fs::write(file, changed).unwrap();

    let server = format!("http://{}", told.running.service.grpc);
    for (arguments, code, says) in [
        (&["--verify", file][..], 1, "is not as it was answered"),
        (&["--verify", "no-such-file"], 2, "no-such-file"),
        (&[], 2, "required"),
        (&["--all"], 3, "erase everybody"),
        (&["--tenant", "default"], 3, "must be `default`"),
        (&["--recipient", " "], 3, "must be an address"),
        (&["--workflow", MISSING], 4, "there is no workflow"),
        (&["--workflow", MISSING, "--all"], 2, "cannot be used with"),
    ] {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_dispatch"))
            .arg("erase")
            .args(arguments)
            .args(["--server", &server])
            .output()
            .await
            .unwrap();
        let all = [output.stdout, output.stderr].concat();
        let all = String::from_utf8_lossy(&all);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {all}");
        assert!(all.contains(says), "{arguments:?}: {all}");
    }
    let third = failed_over(&told.running).await;
    let all = told.cli(&["erase", "--all", "--confirm", "erase everybody"]).await;
    assert!(all.contains("the contents of 1 workflows"), "{all}");
    assert!(!is_shown(&told.running.get(&third).await));
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_is_kept_as_it_was_done() {
    let running = Running::start(&in_memory()).await;
    let id = failed_over(&running).await;
    let told = certificate(&running.client, workflows(&[&id])).await;
    let settings = running.service.engine.settings();
    let kept: Vec<_> = erasures(&**settings).unwrap();
    assert_eq!(kept.iter().map(Uuid::to_string).collect::<Vec<_>>(), [told.erasure_id]);
    let kept = kept_erasure(&**settings, kept[0]).unwrap().unwrap();
    assert_eq!(kept.slots().len(), 1);
    let digest = kept.certificate.unwrap().map(|byte| format!("{byte:02x}")).concat();
    assert_eq!(digest, told.digest);
    // Of nobody's nothing is written down, and it is audited all the same.
    certificate(&running.client, workflows(&[&id])).await;
    assert_eq!(erasures(&**settings).unwrap().len(), 1);
    running.stop().await;
}

/// A backup that was taken before an erasure still holds whom it erased: the certificate has that erased of what is restored,
/// and of nothing that its numbers may mean there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_erased_since_a_backup_is_erased_of_what_is_restored_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let config = on(&path("data"));
    let running = Running::start(&config).await;
    let (gone, stays) = (failed_over(&running).await, failed_over(&running).await);
    let (whole, bare) = (path("whole.backup"), path("bare.backup"));
    for (file, without_keys) in [(&whole, false), (&bare, true)] {
        let mut bytes = Vec::new();
        let asked = BackupRequest { without_keys };
        let taken = running.client.backup(asked, |piece| -> Result<(), ()> {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        taken.await.unwrap().unwrap();
        std::fs::write(file, &bytes).unwrap();
    }
    // Created behind the backup: in what is restored its slot may be another's.
    let later = failed_over(&running).await;
    let told = erase(&running.client, workflows(&[&gone, &later])).await;
    std::fs::write(path("erased.json"), dispatch::pb::to_json(&told)).unwrap();
    running.stop().await;

    let restore = |file: &Path, data: &str, erasures: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dispatch"));
        command.arg("restore").arg(file).arg("--data").arg(path(data));
        command.arg("--master-key").arg(path("data/master.key"));
        command.arg("--erasures").arg(path(erasures)).output().unwrap()
    };
    let spoiled = dispatch::pb::to_json(&told).replace(&gone, &stays);
    std::fs::write(path("spoiled.json"), spoiled).unwrap();
    let refused = restore(&whole, "none", "spoiled.json");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("not as it was answered"), "{said}");
    assert!(!path("none").exists());
    let restored = restore(&whole, "restored", "erased.json");
    let said = String::from_utf8_lossy(&restored.stdout).into_owned();
    assert!(restored.status.success() && said.contains("1 workflows are in it"), "{restored:?}");

    let running = Running::start(&on(&path("restored"))).await;
    let is_gone = || async { running.get(&gone).await.contents() == ContentsState::Erased };
    assert!(eventually(PATIENCE, is_gone).await);
    assert!(!is_shown(&running.get(&gone).await) && is_shown(&running.get(&stays).await));
    running.service.engine.resume(ResumePolicy::Continue).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let new = failed_over(&running).await;
    assert!(is_shown(&running.get(&new).await));
    running.stop().await;

    // Without its keys a backup holds nobody.
    let restored = restore(&bare, "bare", "erased.json");
    let said = String::from_utf8_lossy(&restored.stdout).into_owned();
    assert!(
        restored.status.success() && said.contains("holds no keys of contents"),
        "{restored:?}"
    );
    assert!(!path("bare/contents").exists());
}

/// An SMS that a person wrote.
fn wrote(from: &str, id: &str) -> Inbound {
    Inbound::Message(InboundMessage {
        id: id.to_owned(),
        from: Endpoint::Number(from.to_owned()),
        to: ChannelSender { channel: Channel::SMS, id: "DISPATCH".to_owned() },
        content: vec![Content::Text(format!("from {from}"))],
        quoted_id: None,
        quoted_attempt: None,
        provider_time: None,
    })
}

/// A caller says that these want no SMS.
async fn stopped(running: &Running, numbers: &[&str]) {
    let stop = |number: &&str| {
        let endpoint = Some(address::Endpoint::Number((*number).to_owned()));
        let recipient = Some(Address { channel: "sms".to_owned(), endpoint });
        OptOut { recipient, ..OptOut::default() }
    };
    let opt_outs = numbers.iter().map(stop).collect();
    let asked = BatchCreateOptOutsRequest { opt_outs, tenant: String::new() };
    running.client.opt_outs().batch_create_opt_outs(asked).await.unwrap();
}

/// How many opt-outs there are, and who stands in those of which that is still known.
async fn listed(running: &Running) -> (usize, Vec<String>) {
    let listed = running.client.opt_outs().list_opt_outs(ListOptOutsRequest::default()).await;
    let listed = listed.unwrap().into_inner().opt_outs;
    let shown = |row: &OptOut| match row.recipient.as_ref()?.endpoint.as_ref()? {
        address::Endpoint::Number(number) => Some(number.clone()),
        _ => None,
    };
    (listed.len(), listed.iter().filter_map(shown).collect())
}

/// Who wrote what is still read.
fn writers(running: &Running) -> Vec<String> {
    let page = running.service.engine.inbound_messages().after(None, 0, 1000).unwrap();
    page.messages.iter().map(|(_, message)| message.from.value().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_tenant_goes_what_persons_wrote_to_it_and_who_stands_in_its_opt_outs() {
    let folder = tempfile::tempdir().unwrap();
    let config = on(&folder.path().join("data"));
    let running = Running::start(&config).await;
    let hear = async |running: &Running, from: &str, id: &str| {
        let heard = vec![wrote(from, id)];
        running.service.engine.inbound("sandbox", "sandbox", heard).await.unwrap();
    };
    let all = |confirm: &str| of(Subject::EntireTenant(TenantToErase { confirm: confirm.into() }));
    for (from, id) in [(NUMBER, "1"), ("447700900002", "2"), (NUMBER, "3")] {
        hear(&running, from, id).await;
    }
    stopped(&running, &[NUMBER, "447700900003"]).await;
    let nobody = EraseRequest { tenant: "other".to_owned(), ..all("other") };
    let told = certificate(&running.client, nobody).await;
    assert_eq!((told.inbound_message_count, told.opt_out_count), (0, 0), "another tenant's");
    assert_eq!(writers(&running).len(), 3);

    let dry = EraseRequest { dry_run: true, ..all("") };
    let preview = erase(&running.client, dry.clone()).await.preview.unwrap();
    assert_eq!((preview.inbound_message_count, preview.opt_out_count), (3, 2));
    let told = certificate(&running.client, all("default")).await;
    let counts = (told.workflow_count, told.inbound_message_count, told.opt_out_count);
    assert_eq!((counts, told.unreadable_count), ((0, 3, 2), 0));
    assert_eq!((writers(&running), listed(&running).await), (vec![], (2, vec![])));
    hear(&running, NUMBER, "1").await;
    assert_eq!(writers(&running), [""; 0], "told again in vain");
    let preview = erase(&running.client, dry).await.preview.unwrap();
    assert_eq!((preview.inbound_message_count, preview.opt_out_count), (0, 0));

    // Begun, and cut off; what comes before the next start is not meant.
    hear(&running, "447700900004", "4").await;
    stopped(&running, &["447700900005"]).await;
    let engine = &running.service.engine;
    let until = AllUntil {
        time: engine.clock().now(),
        opt_out: newest_row_slot(&**engine.settings(), Family::OptOut).unwrap(),
    };
    let begun = begun(&running, &[]).await;
    let erasure = Arc::new(Erasure { extent: ErasureExtent::All(until), ..(*begun).clone() });
    engine.write_down(Arc::clone(&erasure)).await.unwrap();
    running.advance(Duration::from_secs(1)).await;
    hear(&running, "447700900006", "5").await;
    stopped(&running, &["447700900007"]).await;
    running.stop().await;
    let running = Running::start(&config).await;
    let settings = running.service.engine.settings();
    let is_done = || kept_erasure(&**settings, erasure.id).unwrap().unwrap().certificate.is_some();
    assert!(eventually(PATIENCE, async || is_done()).await);
    assert_eq!(writers(&running), ["447700900006"]);
    assert_eq!(listed(&running).await, (4, vec!["447700900007".to_owned()]));
    running.stop().await;
}

/// Who cannot be read for a while is not passed over without a word: the answer counts them, and they are found once they can
/// be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_looked_at_is_told_and_found_when_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let told = Told::start(&allowing(on(&data))).await;
    let running = &told.running;
    let (hidden, found) = (failed_over(running).await, failed_over(running).await);
    let id: WorkflowId = hidden.parse().unwrap();
    let slot = running.service.engine.reader().record(id).unwrap().unwrap().contents.slot;
    assert!(slot.segment() == 0 && slot.index() < 2048, "in the first page");
    // A sector of the keys reads otherwise than it was written.
    let at = 4096 + 32 * u64::from(slot.index());
    let keys = || {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).open(data.join("contents/w.00000000")).unwrap()
    };
    let mut right = [0; 32];
    keys().read_exact_at(&mut right, at).unwrap();
    keys().write_all_at(&right.map(|byte| !byte), at).unwrap();

    let would = told.cli(&["erase", "--recipient", NUMBER, "--dry-run"]).await;
    assert!(
        would.contains("contents of 1 workflows") && would.contains("NOT looked at: 1"),
        "{would}"
    );
    let server = format!("http://{}", running.service.grpc);
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_dispatch"))
        .args(["erase", "--recipient", NUMBER, "--server", &server])
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "nobody takes it for done: {said}");
    assert!(
        said.contains("contents of 1 workflows") && said.contains("NOT looked at: 1"),
        "{said}"
    );
    assert!(!is_shown(&running.get(&found).await));
    let again = certificate(&running.client, person(&[NUMBER])).await;
    assert_eq!((again.workflow_count, again.unreadable_count), (0, 1), "of nothing, too");

    keys().write_all_at(&right, at).unwrap();
    assert!(is_shown(&running.get(&hidden).await));
    let again = certificate(&running.client, person(&[NUMBER])).await;
    assert_eq!((again.workflow_count, again.unreadable_count), (1, 0));
    assert!(!is_shown(&running.get(&hidden).await));
    told.stop().await;
}

/// What a person wrote goes with them, and that they want no messages counts on without anybody knowing who they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_wrote_is_erased_and_their_stop_counts_on_without_their_address() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&on(&folder.path().join("data"))).await;
    let id = failed_over(&running).await;
    let other = "447700900999";
    let heard = vec![wrote(NUMBER, "1"), wrote(other, "2")];
    running.service.engine.inbound("sandbox", "sandbox", heard).await.unwrap();
    stopped(&running, &[NUMBER, other]).await;

    let looked = EraseRequest { dry_run: true, ..person(&[NUMBER]) };
    let preview = erase(&running.client, looked).await.preview.unwrap();
    let counts = (preview.workflow_count, preview.inbound_message_count, preview.opt_out_count);
    assert_eq!(counts, (1, 1, 1));
    let told = certificate(&running.client, person(&["+44 7700 900871"])).await;
    let counts = (told.workflow_count, told.inbound_message_count, told.opt_out_count);
    assert_eq!(counts, (1, 1, 1));
    assert!(!is_shown(&running.get(&id).await));
    let again = certificate(&running.client, person(&[NUMBER])).await;
    let counts = (again.workflow_count, again.inbound_message_count, again.opt_out_count);
    assert_eq!(counts, (0, 0, 0), "it is done");

    let messages = running.service.engine.inbound_messages();
    assert!(messages.of_person(None, &[NUMBER]).unwrap().ids.is_empty());
    assert_eq!(messages.of_person(None, &[other]).unwrap().ids.len(), 1, "nobody else's is gone");
    assert_eq!(listed(&running).await, (2, vec![other.to_owned()]), "the other one alone");
    // Told again by its provider it stays gone, and the SMS to them is held back.
    running.service.engine.inbound("sandbox", "sandbox", vec![wrote(NUMBER, "1")]).await.unwrap();
    assert!(messages.of_person(None, &[NUMBER]).unwrap().ids.is_empty());
    running.script(PERSON, "accept; deliver 1s").await;
    let held_back = running.create(messenger_sms(PERSON, NUMBER, "60s")).await;
    running.advance(Duration::from_secs(600)).await;
    assert_eq!(running.get(&held_back).await.state(), WorkflowState::Failed);
    running.stop().await;
}
