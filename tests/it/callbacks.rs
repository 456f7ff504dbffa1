//! Callbacks over real HTTP: who is told what, in what order, and what becomes of it when nobody
//! listens.

mod bounds;
pub mod helper;
mod official;
mod panics;
pub mod receiver;
mod receivers;

use std::time::{Duration, Instant, UNIX_EPOCH};

use dispatch::{
    access::{AuditFilter, Caller, NewKey, PayloadVersion, Signing, Webhook},
    client::Credential,
    config::Config,
    pb::v1::{ListCallbacksRequest, ResendCallbackRequest, resend_callback_request::Which},
    store::{ApiDialect, Requester},
};

use dispatch_contract::UnixMillis;

use self::{
    helper::{NUMBER, PERSON, Told, allowing, app, statuses},
    receiver::{Answer, Receiver},
};
use crate::support::{eventually, in_memory, messenger_sms};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_is_told_every_status_in_order_and_the_end_once() {
    let receiver = Receiver::start().await;
    let told = Told::start(&allowing(in_memory())).await;
    let application = app(&receiver.url("/status"), PayloadVersion::V01, Signing::Jwt);
    told.keep(&application);
    let id = told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    told.advance(HOUR).await;
    let got = receiver.received();
    assert_eq!(statuses(&got), ["submitted", "delivered", "read", "completed"]);
    let report = got[3].json();
    assert_eq!(report["dispatch_uuid"], id.as_str());
    assert_eq!(report["_links"]["messages"].as_array().unwrap().len(), 1);
    for callback in &got {
        assert_eq!(callback.path, "/status");
        callback.is_signed_by(helper::SECRET);
    }
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_told_of_both_messages() {
    let receiver = Receiver::start().await;
    let told = Told::start(&allowing(in_memory())).await;
    told.running.script(PERSON, "accept; deliver 1s").await;
    let application = app(&receiver.url("/status"), PayloadVersion::V01, Signing::StandardWebhooks);
    told.keep(&application);
    told.create(ApiDialect::WorkflowsBeta, Some(application.id), None, "600s").await;
    told.advance(HOUR).await;
    let got = receiver.received();
    let wanted = ["submitted", "delivered", "submitted", "delivered", "completed"];
    assert_eq!(statuses(&got), wanted);
    assert!(got[4].json()["workflow_uuid"].is_string());
    assert_eq!(got[4].json()["_links"]["messages"].as_array().unwrap().len(), 2);
    let mut ids: Vec<_> = got.iter().map(|callback| callback.header("webhook-id")).collect();
    assert!(got.iter().all(|callback| callback.header("webhook-signature").starts_with("v1,")));
    ids.dedup();
    assert_eq!(ids.len(), 5);
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_its_own_address_is_told_there_in_the_words_of_messages_v1() {
    let (usual, own) = (Receiver::start().await, Receiver::start().await);
    let told = Told::start(&allowing(in_memory())).await;
    let application = app(&usual.url("/status"), PayloadVersion::V01, Signing::Jwt);
    told.keep(&application);
    let url = own.url("/mine?order=17");
    told.create(ApiDialect::MessagesV1, Some(application.id), Some(url.clone()), "600s").await;
    // Nobody is told of a workflow behind which no application stands: nothing could sign it.
    told.create(ApiDialect::MessagesV1, None, None, "600s").await;
    told.create(ApiDialect::MessagesV1, None, Some(url), "600s").await;
    told.advance(HOUR).await;
    let got = own.received();
    assert_eq!(statuses(&got), ["submitted", "delivered", "read"], "v1 has no final report");
    assert_eq!(got[0].path, "/mine?order=17");
    assert_eq!(got[0].json()["workflow"]["items_total"], "2");
    assert_eq!(usual.received().len(), 0);
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_taken_is_repeated_under_the_same_id_and_the_rest_waits() {
    let receiver = Receiver::start().await;
    receiver.answer([Answer::status(500), Answer::status(503).retry_after(7), Answer::status(302)]);
    let told = Told::start(&allowing(in_memory())).await;
    let application = app(&receiver.url("/status"), PayloadVersion::V01, Signing::Jwt);
    told.keep(&application);
    told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    // In which second each came; signatures tell real time, which stands still here.
    let mut came = vec![0; receiver.received().len()];
    for second in 1..60 {
        told.advance(Duration::from_secs(1)).await;
        came.resize(receiver.received().len(), second);
    }
    told.advance(HOUR).await;
    let got = receiver.received();
    let wanted =
        ["submitted", "submitted", "submitted", "submitted", "delivered", "read", "completed"];
    assert_eq!(statuses(&got), wanted);
    let ids: Vec<_> = got.iter().map(|callback| callback.header("webhook-id")).collect();
    assert!(ids[..4].iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(got[..4].iter().all(|callback| callback.body == got[0].body));
    assert!(got.iter().all(|callback| callback.path == "/status"), "a redirect was followed");
    let waits: Vec<_> = came.windows(2).map(|two| two[1] - two[0]).collect();
    println!("waits between the tries, in seconds: {:?}", &waits[..3]);
    let now_s = UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(
        got.iter().all(|callback| callback.issued_s().abs_diff(now_s) < 600),
        "not the real time"
    );
    assert!((2..=6).contains(&waits[0]), "{waits:?}");
    assert!((7..=11).contains(&waits[1]), "{waits:?}");
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_was_away_gets_everything_in_order() {
    let address = crate::support::free_port().await;
    let told = Told::start(&allowing(in_memory())).await;
    let application = app(&format!("http://{address}/status"), PayloadVersion::V01, Signing::Jwt);
    told.keep(&application);
    told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    told.advance(2 * HOUR).await;
    let waiting = told.list(None).await;
    assert_eq!(waiting.len(), 4, "{waiting:?}");
    assert!(waiting[0].last_error.contains("could not be reached"));
    assert_eq!(waiting[1].attempt_count, 0, "the second waits for the first");
    let receiver = Receiver::at(address).await;
    told.advance(HOUR).await;
    assert_eq!(statuses(&receiver.received()), ["submitted", "delivered", "read", "completed"]);
    assert_eq!(told.list(None).await.len(), 0);
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_day_they_are_dead_and_the_command_line_resends_them() {
    let receiver = Receiver::start().await;
    receiver.always(Answer::status(500));
    let told = Told::start(&allowing(in_memory())).await;
    let application = app(&receiver.url("/status"), PayloadVersion::V01, Signing::Jwt);
    told.keep(&application);
    told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    told.advance(30 * HOUR).await;
    let listed = told.cli(&["callbacks", "list", "--state", "dead-lettered"]).await;
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(listed.contains("the receiver answered 500"), "{listed}");
    let tries = receiver.received().len();
    println!("{tries} tries of 4 callbacks before they were given up:\n{listed}");
    let id = listed.split_whitespace().next().unwrap().to_owned();
    let shown = told.cli(&["callbacks", "show", &id]).await;
    assert!(shown.contains("DEAD_LETTERED") && shown.contains("given up"), "{shown}");

    receiver.always(Answer::status(200));
    let application = application.id.to_string();
    let resent = told.cli(&["callbacks", "resend", "--application", &application]).await;
    assert_eq!(resent.trim(), "4 sent once more");
    assert!(
        eventually(Duration::from_secs(10), || async { told.list(None).await.is_empty() }).await
    );
    let got = receiver.received();
    assert_eq!(statuses(&got[tries..]), ["submitted", "delivered", "read", "completed"]);
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_gone_is_not_asked_again() {
    let receiver = Receiver::start().await;
    receiver.always(Answer::status(410));
    let told = Told::start(&allowing(in_memory())).await;
    let application = app(&receiver.url("/status"), PayloadVersion::V01, Signing::Jwt);
    told.keep(&application);
    let id = told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    told.advance(HOUR).await;
    assert_eq!(receiver.received().len(), 4, "each once");
    let dead = told.list(Some(&id)).await;
    assert_eq!(dead.len(), 4);
    receiver.always(Answer::status(204));
    told.cli(&["callbacks", "resend", &dead[3].callback_id]).await;
    assert!(
        eventually(Duration::from_secs(10), || async { told.list(None).await.len() == 3 }).await
    );
    assert_eq!(statuses(&receiver.received()[4..]), ["completed"]);
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_goes_to_the_address_that_the_application_has_by_then() {
    let (old, new) = (Receiver::start().await, Receiver::start().await);
    old.always(Answer::status(410));
    let told = Told::start(&allowing(in_memory())).await;
    let mut application = app(&old.url("/status"), PayloadVersion::V01, Signing::Jwt);
    told.keep(&application);
    told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    told.advance(HOUR).await;
    application.messages.as_mut().unwrap().status = Some(Webhook { address: new.url("/moved") });
    application.messages.as_mut().unwrap().payload_version = PayloadVersion::V1;
    told.keep(&application);
    let id = application.id.to_string();
    told.cli(&["callbacks", "resend", "--application", &id]).await;
    assert!(
        eventually(Duration::from_secs(10), || async { told.list(None).await.is_empty() }).await
    );
    let got = new.received();
    assert_eq!(statuses(&got), ["submitted", "delivered", "read", "completed"]);
    assert_eq!(got[0].json()["channel"], "messenger", "in the words it has by then");
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tenant_sees_or_uses_what_is_another_s() {
    let receiver = Receiver::start().await;
    receiver.always(Answer::status(410));
    let told = Told::start(&allowing(in_memory())).await;
    let mut theirs = app(&receiver.url("/theirs"), PayloadVersion::V01, Signing::Jwt);
    theirs.tenant = "other".to_owned();
    told.keep(&theirs);
    let requester = || Requester { application: Some(theirs.id), dialect: ApiDialect::DispatchV01 };
    // Ours names their application: nobody is told.
    told.create_for("default", requester(), "600s").await;
    told.advance(HOUR).await;
    assert_eq!(receiver.received().len(), 0);
    // Theirs are dead-lettered, and we neither see them nor send them once more.
    let id = told.create_for("other", requester(), "600s").await;
    told.advance(HOUR).await;
    let got = receiver.received();
    assert_eq!(got.len(), 4);
    assert!(got.iter().all(|callback| callback.header("webhook-id").starts_with(&id)));
    // Without a key the tests run the service, and see everybody's.
    assert_eq!(told.list(None).await.len(), 4);
    let anonymous = Caller::anonymous();
    let holder = |scopes: &[&str]| {
        let new = NewKey::parse("default", "", scopes.iter().copied()).unwrap();
        let made = told.running.service.access.create_key(&anonymous, new, UnixMillis(0));
        let (view, secret) = made.unwrap();
        Credential::key(&format!("{}:{}", view.id, secret.expose())).unwrap()
    };
    let mut operator = told.running.client.clone().with(holder(&["operator"])).callbacks();
    let mut ours = told.running.client.clone().with(holder(&["read", "admin"])).callbacks();
    let asked = ListCallbacksRequest::default;
    assert_eq!(ours.list_callbacks(asked()).await.unwrap().into_inner().callbacks.len(), 0);
    let which = Some(Which::ApplicationId(theirs.id.to_string()));
    let resent = ours.resend_callback(ResendCallbackRequest { which }).await.unwrap();
    assert_eq!(resent.into_inner().resent, 0);
    let which = Some(Which::CallbackId(got[0].header("webhook-id")));
    let asked_again = ResendCallbackRequest { which };
    let refused = ours.resend_callback(asked_again.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);
    let of = |tenant: &str| ListCallbacksRequest { tenant: tenant.to_owned(), ..asked() };
    let listed = operator.list_callbacks(of("other")).await.unwrap().into_inner().callbacks;
    assert_eq!(listed.len(), 4);
    assert!(listed.iter().all(|callback| callback.tenant == "other"));
    assert_eq!(operator.list_callbacks(of("default")).await.unwrap().into_inner().callbacks, []);
    operator.resend_callback(asked_again).await.unwrap();
    let other = AuditFilter { tenant: Some("other".into()), ..AuditFilter::default() };
    let entries = told.running.service.access.audit_page(&other, None, 1).unwrap().entries;
    assert_eq!(entries[0].action, "callback.resent");
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_address_is_not_called_unless_the_configuration_allows_it() {
    let receiver = Receiver::start().await;
    let mut config: Config = in_memory();
    config.access.master_key = helper::MASTER_KEY.into();
    config.callbacks.allow_http = true;
    let told = Told::start(&config).await;
    let port = receiver.address.port();
    for url in
        [receiver.url("/"), format!("http://localhost:{port}/"), format!("http://[::1]:{port}/")]
    {
        let application = app(&url, PayloadVersion::V01, Signing::Jwt);
        told.keep(&application);
        told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    }
    told.advance(Duration::from_secs(60)).await;
    assert_eq!(receiver.received().len(), 0);
    let waiting = told.list(None).await;
    let refused = waiting.iter().filter(|it| it.last_error.contains("could not be reached"));
    assert_eq!(refused.count(), 3, "{waiting:?}");
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_delivers_everything() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = allowing(in_memory());
    config.store.kind = dispatch::config::StoreKind::Sled;
    config.store.data = folder.path().join("data");
    config.engine.recovery_grace_s = 0;
    let receiver = Receiver::start().await;
    // Three are taken; then nobody listens any more.
    receiver.answer([200, 200, 200].map(Answer::status));
    receiver.always(Answer::status(503));
    let told = Told::start(&config).await;
    let application = app(&receiver.url("/status"), PayloadVersion::V01, Signing::Jwt);
    told.keep(&application);
    for _ in 0..5 {
        told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    }
    // In the middle: delivered by the provider, and not read yet.
    told.advance(Duration::from_secs(2)).await;
    assert!(!told.list(None).await.is_empty());
    let workflows = told.workflows();
    told.stop().await;

    receiver.always(Answer::status(200));
    let before = receiver.received().len();
    let told = Told::start(&config).await;
    told.advance(2 * HOUR).await;
    let got = receiver.received();
    let reports = got[before..].iter().filter(|callback| !callback.json()["template"].is_null());
    assert_eq!(reports.count(), 5, "one final report each");
    for taken in &got[..3] {
        let again =
            got[before..].iter().any(|it| it.header("webhook-id") == taken.header("webhook-id"));
        assert!(!again, "taken before a clean stop, and repeated");
    }
    for workflow in workflows {
        let of_it: Vec<_> = got
            .iter()
            .filter(|callback| callback.header("webhook-id").starts_with(&workflow))
            .cloned()
            .collect();
        let statuses = statuses(&of_it);
        assert_eq!(statuses.first(), Some(&"submitted"), "{statuses:?}");
        assert!(["completed", "error"].contains(statuses.last().unwrap()), "{statuses:?}");
        assert!(statuses.contains(&"delivered"), "{statuses:?}");
    }
    assert_eq!(told.list(None).await.len(), 0);
    told.stop().await;
}

/// In real time: forty applications whose receivers accept connections and never answer, and two whose
/// receivers are well, one of them new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_receivers_delay_neither_others_nor_sending() {
    const EACH: usize = 20;
    let silent = Receiver::start().await;
    silent.always(Answer::status(200).after(Duration::from_secs(60)));
    let mut config = allowing(in_memory());
    config.sandbox.virtual_clock = false;
    config.sandbox.default_script = "accept; deliver 1s; read 1s".to_owned();
    config.callbacks.timeout_s = 3;
    let told = Told::start(&config).await;
    let [known, new] = [Receiver::start().await, Receiver::start().await];
    let keep = |receiver: &Receiver| {
        let application = app(&receiver.url("/status"), PayloadVersion::V01, Signing::Jwt);
        told.keep(&application);
        application.id
    };
    let [known_id, new_id] = [keep(&known), keep(&new)];
    told.create(ApiDialect::DispatchV01, Some(known_id), None, "600s").await;
    for _ in 0..40 {
        let dead = keep(&silent);
        for _ in 0..3 {
            told.create(ApiDialect::DispatchV01, Some(dead), None, "600s").await;
        }
    }
    // Until the dead ones have had their first try.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let mut longest = Duration::ZERO;
    for (receiver, id, name) in [(&known, known_id, "known"), (&new, new_id, "new")] {
        let began = Instant::now();
        let before = statuses(&receiver.received()).iter().filter(|it| **it == "completed").count();
        for _ in 0..EACH {
            let asked = Instant::now();
            told.create(ApiDialect::DispatchV01, Some(id), None, "600s").await;
            longest = longest.max(asked.elapsed());
        }
        let ended = || async {
            let told = statuses(&receiver.received());
            told.iter().filter(|it| **it == "completed").count() == before + EACH
        };
        assert!(eventually(Duration::from_secs(30), ended).await, "{name}");
        let took = began.elapsed();
        println!("beside 40 hanging receivers: {EACH} workflows of a {name} one told in {took:?}");
        assert!(took < Duration::from_secs(10), "{name}: {took:?}");
    }
    println!("longest create {longest:?}; tries at the hanging ones {}", silent.received().len());
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_question_about_callbacks_is_refused_with_what_would_be_right() {
    let told = Told::start(&allowing(in_memory())).await;
    let mut client = told.running.client.callbacks();
    let wrong = [
        ListCallbacksRequest { workflow_id: "x".to_owned(), ..Default::default() },
        ListCallbacksRequest { application_id: "x".to_owned(), ..Default::default() },
        ListCallbacksRequest { page_size: -1, ..Default::default() },
        ListCallbacksRequest { state: 9, ..Default::default() },
        ListCallbacksRequest { page_token: "x".to_owned(), ..Default::default() },
    ];
    for request in wrong {
        let refused = client.list_callbacks(request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{request:?}");
    }
    let none = Which::CallbackId("0190a1b2-0000-7000-8000-000000000000.3".to_owned());
    let resend = |which| ResendCallbackRequest { which };
    let missing = client.resend_callback(resend(Some(none))).await.unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound);
    let nothing = client.resend_callback(resend(None)).await.unwrap_err();
    assert_eq!(nothing.code(), tonic::Code::InvalidArgument);
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_without_a_webhook_is_told_nothing() {
    let told = Told::start(&allowing(in_memory())).await;
    let mut application = app("http://127.0.0.1:9/", PayloadVersion::V01, Signing::Jwt);
    application.messages.as_mut().unwrap().status = None;
    told.keep(&application);
    told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    let spec = messenger_sms(PERSON, NUMBER, "600s");
    told.running.create(spec).await;
    told.advance(HOUR).await;
    assert_eq!(told.list(None).await.len(), 0);
    let metrics = told.metrics().await;
    assert!(!metrics.contains("dispatch_callbacks_total{"), "{metrics}");
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_signed_waits_and_never_goes_out_without_a_signature() {
    let receiver = Receiver::start().await;
    let told = Told::start(&allowing(in_memory())).await;
    let application = app(&receiver.url("/status"), PayloadVersion::V01, Signing::Jwt);
    // As with a master key that is not the one it was sealed with.
    told.keep_as_it_is(&application);
    told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    told.advance(HOUR).await;
    assert!(receiver.received().is_empty(), "unsigned");
    told.keep(&application);
    told.advance(HOUR).await;
    let received = receiver.received();
    assert_eq!(statuses(&received).last(), Some(&"completed"));
    for callback in &received {
        callback.is_signed_by(helper::SECRET);
    }
    told.stop().await;
}
