//! Who is told where the caller speaks for no application, and that nothing goes out unsigned.

use std::time::{Duration, Instant};

use dispatch::{
    access::{PayloadVersion, Signing},
    client::Client,
    config::Config,
    pb::v1::{
        Application, ApplicationSpec, CreateApplicationRequest, CreateKeyRequest,
        DeleteApplicationRequest, GetCallbackSecretRequest, ListApplicationsRequest,
        MessagesCapability,
    },
    store::{ApiDialect, Requester},
};
use serde_json::{Value, json};

use super::{
    HOUR,
    helper::{NUMBER, PERSON, Told, allowing, app, statuses},
    receiver::{Answer, Receiver},
};
use crate::{
    facade,
    support::{eventually, in_memory, messenger_sms},
};

/// One SMS, as the Messages API words it, told at `webhook_url` if that is given.
fn sms(webhook_url: Option<String>) -> Value {
    let mut body = json!({
        "channel": "sms", "message_type": "text", "text": "Hi", "to": "447700900001", "from": "Dispatch",
        "failover": [{
            "channel": "sms", "message_type": "text", "text": "Hi", "to": "447700900001", "from": "Dispatch"
        }]
    });
    if let Some(url) = webhook_url {
        body["webhook_url"] = url.into();
    }
    body
}

/// Once there is a key, a virtual clock is moved only by whoever holds one.
fn in_real_time() -> Config {
    let mut config = allowing(in_memory());
    config.sandbox.virtual_clock = false;
    config.sandbox.default_script = "accept; deliver 1s".to_owned();
    config
}

async fn create_application(
    client: &Client,
    status_url: String,
    tenant_default: bool,
) -> (String, String) {
    let messages = MessagesCapability { status_url, ..MessagesCapability::default() };
    let application = ApplicationSpec {
        name: "orders".to_owned(),
        messages: Some(messages),
        tenant_default,
        ..ApplicationSpec::default()
    };
    let request = CreateApplicationRequest { application: Some(application) };
    let made = client.applications().create_application(request).await.unwrap().into_inner();
    (made.application.unwrap().application_id, made.callback_secret)
}

/// A key that speaks for an application.
fn key_for(application: &str) -> CreateKeyRequest {
    CreateKeyRequest { application_id: application.to_owned(), ..CreateKeyRequest::default() }
}

async fn applications(client: &Client) -> Vec<Application> {
    let request = ListApplicationsRequest::default();
    client.applications().list_applications(request).await.unwrap().into_inner().applications
}

/// Basic auth and a `webhook_url`, as the old scripts have it: there is no application.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_in_the_request_is_told_signed_though_the_caller_has_no_application() {
    let receiver = Receiver::start().await;
    let told = Told::start(&allowing(in_memory())).await;
    let (running, client) = (&told.running, &told.running.client);
    let body = sms(Some(receiver.url("/mine")));
    let answer = facade::post(running, "/v1/messages", &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert!(!answer.warns_that_nobody_is_told());
    facade::post(running, "/v1/messages", &body).await;
    told.advance(HOUR).await;
    let made = applications(client).await;
    assert_eq!(made.len(), 1, "one for all requests: {made:?}");
    assert!(made[0].tenant_default);
    let request = GetCallbackSecretRequest { application_id: made[0].application_id.clone() };
    let secret = client.applications().get_callback_secret(request).await.unwrap().into_inner();
    let received = receiver.received();
    assert_eq!(received.len(), 4, "{:?}", statuses(&received));
    for callback in &received {
        callback.is_signed_by(&secret.callback_secret);
    }
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tenant_s_default_application_is_told_over_every_edge_and_a_warning_says_where_none_is()
{
    let receiver = Receiver::start().await;
    let told = Told::start(&allowing(in_memory())).await;
    let (running, client) = (&told.running, &told.running.client);
    let answer = facade::post(running, "/v1/messages", &sms(None)).await;
    assert!(answer.warns_that_nobody_is_told(), "{answer:?}");
    told.advance(HOUR).await;
    let (first, _) = create_application(client, "https://example.org/first".to_owned(), true).await;
    // The latest is it.
    let (id, secret) = create_application(client, receiver.url("/status"), true).await;
    let answer = facade::post(running, "/v1/messages", &sms(None)).await;
    assert!(!answer.warns_that_nobody_is_told(), "{answer:?}");
    running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    told.advance(HOUR).await;
    let received = receiver.received();
    assert!(received.len() >= 6, "of both, and nothing of the one before: {received:?}");
    for callback in &received {
        callback.is_signed_by(&secret);
    }
    let is_default = |all: &[Application], id: &str| {
        all.iter().any(|application| application.application_id == id && application.tenant_default)
    };
    let all = applications(client).await;
    assert!(is_default(&all, &id) && !is_default(&all, &first), "{all:?}");
    // Without it nobody is told again.
    let request = DeleteApplicationRequest { application_id: id };
    client.applications().delete_application(request).await.unwrap();
    let answer = facade::post(running, "/v1/messages", &sms(None)).await;
    assert!(answer.warns_that_nobody_is_told(), "{answer:?}");
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_speaks_for_the_application_that_it_was_made_for() {
    let [usual, own] = [Receiver::start().await, Receiver::start().await];
    let told = Told::start(&in_real_time()).await;
    let client = &told.running.client;
    create_application(client, usual.url("/usual"), true).await;
    let (own_id, secret) = create_application(client, own.url("/own"), false).await;
    let wrong = client.access().create_key(key_for(&uuid::Uuid::nil().to_string())).await;
    assert_eq!(
        wrong.unwrap_err().code(),
        tonic::Code::NotFound,
        "an application that is not there"
    );
    let made = client.access().create_key(key_for(&own_id)).await.unwrap().into_inner();
    let shown = made.key.unwrap();
    assert_eq!(shown.application_id, own_id);
    let call = reqwest::Client::new()
        .post(format!("http://{}/v1/messages", told.running.service.http))
        .basic_auth(&shown.key_id, Some(&made.secret))
        .json(&sms(None));
    assert_eq!(call.send().await.unwrap().status(), 202);
    let is_told = || async { own.received().len() >= 2 };
    assert!(eventually(Duration::from_secs(60), is_told).await);
    assert_eq!(usual.received().len(), 0);
    let received = own.received();
    assert_eq!(statuses(&received), ["submitted", "delivered"]);
    received.iter().for_each(|callback| callback.is_signed_by(&secret));
    told.stop().await;
}

/// Its secret went with it: what goes to an address of the request's own would be unsigned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_its_application_is_deleted_nothing_goes_out_unsigned() {
    let receiver = Receiver::start().await;
    receiver.always(Answer::status(500));
    let told = Told::start(&allowing(in_memory())).await;
    let client = &told.running.client;
    let (id, secret) = create_application(client, receiver.url("/status"), false).await;
    let application = Some(id.parse().unwrap());
    let url = receiver.url("/mine");
    told.create(ApiDialect::MessagesV1, application, Some(url), "600s").await;
    told.advance(Duration::from_secs(60)).await;
    let before = receiver.received();
    assert!(!before.is_empty());
    before.iter().for_each(|callback| callback.is_signed_by(&secret));
    client
        .applications()
        .delete_application(DeleteApplicationRequest { application_id: id })
        .await
        .unwrap();
    told.advance(HOUR).await;
    assert_eq!(receiver.received().len(), before.len(), "repeats, and what happened later");
    assert_eq!(told.list(None).await.len(), 0, "none is left waiting");
    told.stop().await;
}

/// An application that does nothing with messages has no secret; the tenant's default signs for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_without_the_messages_capability_leaves_it_to_the_default() {
    let receiver = Receiver::start().await;
    let told = Told::start(&in_real_time()).await;
    let client = &told.running.client;
    let bare = ApplicationSpec { name: "bare".to_owned(), ..ApplicationSpec::default() };
    let request = CreateApplicationRequest { application: Some(bare) };
    let bare = client.applications().create_application(request).await.unwrap().into_inner();
    let (_, secret) = create_application(client, receiver.url("/status"), true).await;
    let made = client
        .access()
        .create_key(key_for(&bare.application.unwrap().application_id))
        .await
        .unwrap();
    let made = made.into_inner();
    let call = reqwest::Client::new()
        .post(format!("http://{}/v1/messages", told.running.service.http))
        .basic_auth(made.key.unwrap().key_id, Some(&made.secret))
        .json(&sms(Some(receiver.url("/mine"))));
    assert_eq!(call.send().await.unwrap().status(), 202);
    let is_told = || async { receiver.received().len() >= 2 };
    assert!(eventually(Duration::from_secs(60), is_told).await);
    let received = receiver.received();
    assert_eq!(statuses(&received), ["submitted", "delivered"]);
    received.iter().for_each(|callback| callback.is_signed_by(&secret));
    told.stop().await;
}

/// In real time: a tenant with two hundred destinations that hang, and another one's first callback.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tenant_s_hanging_destinations_do_not_delay_another_s_first_callback() {
    let [hanging, well] = [Receiver::start().await, Receiver::start().await];
    hanging.always(Answer::status(200).after(Duration::from_secs(60)));
    let mut config = in_real_time();
    config.callbacks.timeout_s = 10;
    let told = Told::start(&config).await;
    let keep = |tenant: &str, receiver: &Receiver| {
        let mut application = app(&receiver.url("/status"), PayloadVersion::V01, Signing::Jwt);
        application.tenant = tenant.to_owned();
        told.keep(&application);
        Requester { application: Some(application.id), dialect: ApiDialect::DispatchV01 }
    };
    for _ in 0..200 {
        let requester = keep("flood", &hanging);
        told.create_for("flood", requester, "600s").await;
    }
    let is_flooded = || async { hanging.received().len() >= 20 };
    assert!(eventually(Duration::from_secs(30), is_flooded).await);
    let began = Instant::now();
    told.create_for("acme", keep("acme", &well), "600s").await;
    let is_told = || async { !well.received().is_empty() };
    assert!(eventually(Duration::from_secs(60), is_told).await);
    let took = began.elapsed();
    println!("first callback beside 200 hanging destinations of another tenant: {took:?}");
    // The flood alone takes a minute: six rounds of ten seconds.
    assert!(took < Duration::from_secs(9), "{took:?}");
    told.stop().await;
}
