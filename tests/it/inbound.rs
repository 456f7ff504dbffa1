//! What persons write to senders: streamed to whose it is, told to an application's inbound URL, and kept across a
//! restart.

use std::{sync::Arc, time::Duration};

use dispatch::{
    access::{Application, PayloadVersion, Signing, Webhook},
    client::Client,
    config::Config,
    engine::ReceiptScope,
    pb::v1::{
        AllWorkflows, CreateAccountRequest, InboundMessage, StreamInboundRequest,
        StreamInboundResponse, StreamStart, StreamStatusRequest, stream_inbound_request::Start,
        stream_status_request::Target, stream_status_response::Kind,
    },
    store::{self, ApiDialect, SettingChange, SledOptions, Store, encode},
};
use dispatch_contract::{Channel, ChannelSender, Content, Endpoint, Inbound, Media};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use crate::{
    access::{ALL, House, key, reason},
    callbacks::{
        helper::{PERSON, Told, allowing, app, sealed},
        receiver::Receiver,
    },
    no_recipient,
    support::{Running, in_memory},
};

const PATIENCE: Duration = Duration::from_secs(20);
const US: &str = "DISPATCH";
const ANN: &str = "447700900001";

/// What a person wrote by SMS.
fn said(id: &str, content: Vec<Content>) -> dispatch_contract::InboundMessage {
    dispatch_contract::InboundMessage {
        id: id.to_owned(),
        from: Endpoint::Number(ANN.to_owned()),
        to: ChannelSender { channel: Channel::SMS, id: US.to_owned() },
        content,
        quoted_id: None,
        quoted_attempt: None,
        provider_time: None,
    }
}

fn text(id: &str) -> Inbound {
    Inbound::Message(said(id, vec![Content::Text(format!("text {id}"))]))
}

async fn hears(running: &Running, items: Vec<Inbound>) {
    running.service.engine.inbound("sandbox", "sandbox", items).await.unwrap();
}

async fn stream(
    client: &Client,
    start: Option<Start>,
    tenant: &str,
) -> Result<Streaming<StreamInboundResponse>, Status> {
    let request = StreamInboundRequest { start, tenant: tenant.to_owned() };
    Ok(client.inbound().stream_inbound(request).await?.into_inner())
}

async fn next(stream: &mut Streaming<StreamInboundResponse>) -> StreamInboundResponse {
    timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap()
}

const BEGINNING: Option<Start> = Some(Start::Position(StreamStart::Beginning as i32));

/// All that is kept, as a client reads it.
async fn all(client: &Client) -> Vec<InboundMessage> {
    let mut stream = stream(client, BEGINNING, "").await.unwrap();
    let mut all = Vec::new();
    while let Some(message) = next(&mut stream).await.message {
        all.push(message);
    }
    all
}

fn ids(messages: &[InboundMessage]) -> Vec<&str> {
    messages.iter().map(|message| &*message.provider_message_id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_writes_is_told_once_and_a_stream_goes_on_behind_what_it_told() {
    let running = Running::start(&in_memory()).await;
    let mut live = stream(&running.client, None, "").await.unwrap();
    let begin = next(&mut live).await;
    assert!(begin.message.is_none() && begin.up_to_date, "where it begins is told at once");
    let picture = Media { url: "https://example.com/cat.jpg".to_owned(), caption: None };
    let content = vec![Content::Text("Look".to_owned()), Content::Image(picture)];
    hears(&running, vec![text("1"), Inbound::Message(said("2", content)), text("1")]).await;
    hears(&running, vec![text("2"), text("3")]).await;
    let told = [next(&mut live).await, next(&mut live).await, next(&mut live).await];
    let messages: Vec<_> = told.iter().filter_map(|it| it.message.clone()).collect();
    assert_eq!(ids(&messages), ["1", "2", "3"]);
    let second = format!("{:?}", dispatch::pb::to_json(&messages[1]));
    for part in ["cat.jpg", "Look", ANN, US, "sandbox/sandbox"] {
        assert!(second.contains(part), "{part}: {second}");
    }
    assert!(!format!("{:?}", told[1]).contains("Look"), "personal data is in no log");
    for (from, rest) in [(&begin, vec!["1", "2", "3"]), (&told[0], vec!["2", "3"])] {
        let token = Some(Start::ResumeToken(from.resume_token.clone()));
        let mut again = stream(&running.client, token, "").await.unwrap();
        for id in rest {
            assert_eq!(next(&mut again).await.message.unwrap().provider_message_id, id);
        }
    }
    // A token of the stream of statuses is none of this one.
    let all =
        StreamStatusRequest { target: Some(Target::All(AllWorkflows {})), ..Default::default() };
    let mut statuses = running.client.raw().stream_status(all).await.unwrap().into_inner();
    let Some(Kind::Bookmark(other)) = statuses.message().await.unwrap().unwrap().kind else {
        panic!("no bookmark")
    };
    for foreign in [other.resume_token, "junk".to_owned()] {
        let foreign = Some(Start::ResumeToken(foreign));
        let refused = stream(&running.client, foreign, "").await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    running.stop().await;
}

/// The routes of the sandbox's SMS, for these tenants alone.
fn sms_for(mut config: Config, tenants: &[&str]) -> Config {
    let names: Vec<_> = tenants.iter().map(|tenant| format!("{tenant:?}")).collect();
    let text = format!(
        "[[routes]]\nname = \"sms\"\nadapter = \"sandbox-sms\"\naccount = \"sandbox\"\ntenants = [{}]\n",
        names.join(", ")
    );
    config.routes = Config::parse(&text).unwrap().routes;
    config
}

async fn whose(house: &House) -> Vec<(String, String)> {
    let messages = all(&house.of("operator")).await;
    messages.into_iter().map(|it| (it.provider_message_id, it.tenant)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_its_tenant_s_alone_and_where_nothing_tells_it_the_configured_one_s() {
    let mut config = in_memory();
    config.inbound.tenant = "other".to_owned();
    config.access.keys = vec![
        key("operator", "default", &["create", "operator"]),
        key("acme", "acme", &ALL),
        key("other", "other", &ALL),
        key("creates", "acme", &["create"]),
    ];
    let house = House::new(&sms_for(config.clone(), &["acme"])).await;
    house.service.engine.inbound("sandbox", "sandbox", vec![text("1")]).await.unwrap();
    assert_eq!(whose(&house).await, [("1".to_owned(), "acme".to_owned())]);
    assert_eq!(ids(&all(&house.of("acme")).await), ["1"]);
    assert_eq!(all(&house.of("other")).await, []);
    let (client, acme) = (house.of("other"), house.of("acme"));
    let refused = stream(&client, None, "acme").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    let refused = stream(&house.of("creates"), None, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    // By a number that has routes for SMS alone, a picture that is told as MMS is written to the same sender.
    let mut picture = said("2", vec![]);
    picture.to.channel = Channel::MMS;
    let told = vec![Inbound::Message(picture)];
    house.service.engine.inbound("sandbox", "sandbox", told).await.unwrap();
    let heard = all(&house.of("acme")).await;
    let address = heard[1].to_address.clone().unwrap();
    assert_eq!((ids(&heard), &*address.channel), (vec!["1", "2"], "sms"));
    // A tenant's token is of no use to another.
    let token = next(&mut stream(&acme, BEGINNING, "").await.unwrap()).await.resume_token;
    let refused = stream(&client, Some(Start::ResumeToken(token)), "").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    no_recipient::stop(house.service).await;

    let house = House::new(&sms_for(config, &["acme", "default"])).await;
    house.service.engine.inbound("sandbox", "sandbox", vec![text("1")]).await.unwrap();
    assert_eq!(
        whose(&house).await,
        [("1".to_owned(), "other".to_owned())],
        "of two it is neither's"
    );
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_registered_a_sender_or_has_a_route_for_it_is_told_of_it_beside_a_route_for_all() {
    let mut config = in_memory();
    config.access.keys = vec![
        key("operator", "default", &["create", "operator"]),
        key("acme", "acme", &ALL),
        key("other", "other", &ALL),
    ];
    let route = |name: &str, channel: &str, more: &str| {
        format!(
            "[[routes]]\nname = \"{name}\"\nadapter = \"sandbox-{channel}\"\naccount = \"sandbox\"\n{more}\n"
        )
    };
    let own = format!("sender = \"{US}\"\ntenants = [\"other\"]");
    let all = "tenants = [\"*\"]";
    let routes =
        [route("own", "sms", &own), route("sms", "sms", all), route("m", "messenger", all)];
    config.routes = Config::parse(&routes.concat()).unwrap().routes;
    let house = House::new(&config).await;
    let page = "107083064136738";
    let account = CreateAccountRequest {
        provider: "messenger".to_owned(),
        external_id: page.to_owned(),
        access_token: "a-token".to_owned(),
        ..CreateAccountRequest::default()
    };
    house.of("acme").accounts().create_account(account).await.unwrap();
    let to = |id: &str, page: &str| {
        let to = ChannelSender { channel: Channel::MESSENGER, id: page.to_owned() };
        let from = Endpoint::Id("2384965291561984".to_owned());
        Inbound::Message(dispatch_contract::InboundMessage { to, from, ..said(id, vec![]) })
    };
    let items = vec![text("1"), to("2", page), to("3", "20708306413673")];
    house.service.engine.inbound("sandbox", "sandbox", items).await.unwrap();
    let expected = [("1", "other"), ("2", "acme"), ("3", "")];
    let whose = whose(&house).await;
    assert!(whose.iter().map(|(id, whose)| (&**id, &**whose)).eq(expected), "{whose:?}");
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sender_s_own_account_heard_is_for_its_tenants_and_that_sender_alone() {
    let mut config = in_memory();
    config.access.keys = vec![key("operator", "default", &["create", "operator"])];
    let house = House::new(&config).await;
    let scope = |sender: &str| {
        let sender = ChannelSender { channel: Channel::SMS, id: sender.to_owned() };
        ReceiptScope::new(["acme", "other"].map(Arc::from).to_vec(), sender)
    };
    for (id, sender) in [("1", US), ("2", "ANOTHER")] {
        let told = house.service.engine.inbound_of(
            "sandbox",
            "sandbox",
            Some(scope(sender)),
            vec![text(id)],
        );
        told.await.unwrap();
    }
    let expected = [("1", "acme"), ("1", "other")];
    let whose = whose(&house).await;
    assert!(whose.iter().map(|(id, whose)| (&**id, &**whose)).eq(expected), "{whose:?}");
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_quotes_one_of_ours_names_its_workflow_and_counts_as_its_answer() {
    let running = Running::start(&in_memory()).await;
    running.script(PERSON, "accept; deliver 1s").await;
    let id = running.create(crate::support::messenger_sms(PERSON, ANN, "600s")).await;
    running.advance(Duration::from_secs(2)).await;
    let attempt = running.get(&id).await.steps[0].attempts[0].attempt_id.clone();
    let mut quoting = said("1", vec![Content::Text("Yes".to_owned())]);
    quoting.quoted_attempt = Some(attempt.parse().unwrap());
    hears(&running, vec![Inbound::Message(quoting)]).await;
    running.advance(Duration::from_secs(1)).await;
    let workflow = running.get(&id).await;
    assert_eq!(workflow.steps[0].status, "replied", "{workflow:?}");
    assert!(workflow.outcome.is_some(), "who answers has read it");
    let [message] = &all(&running.client).await[..] else { panic!("not one") };
    assert_eq!((&message.workflow_id, message.step), (&id, 1));
    assert_eq!(message.attempt_id, attempt);
    // What quotes a message that is none of ours is a message all the same.
    let mut strange = said("2", vec![]);
    strange.quoted_id = Some("somebody-else-s".to_owned());
    hears(&running, vec![Inbound::Message(strange)]).await;
    let kept = all(&running.client).await;
    assert_eq!((ids(&kept), &*kept[1].workflow_id), (vec!["1", "2"], ""));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_tokens_outlive_a_restart_and_retention_says_what_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = in_memory();
    config.store.kind = dispatch::config::StoreKind::Sled;
    config.store.data = folder.path().join("data");
    config.inbound.retention_s = 60;
    let running = Running::start(&config).await;
    hears(&running, vec![text("1"), text("2")]).await;
    let mut live = stream(&running.client, BEGINNING, "").await.unwrap();
    let first = next(&mut live).await;
    drop(live);
    running.stop().await;

    let running = Running::start(&config).await;
    hears(&running, vec![text("1"), text("3")]).await;
    let resume = || Some(Start::ResumeToken(first.resume_token.clone()));
    let mut live = stream(&running.client, resume(), "").await.unwrap();
    for id in ["2", "3"] {
        assert_eq!(next(&mut live).await.message.unwrap().provider_message_id, id);
    }
    running.advance(Duration::from_secs(61)).await;
    let messages = Arc::clone(running.service.engine.inbound_messages());
    messages.trim(running.service.engine.clock().now()).unwrap();
    let refused = stream(&running.client, resume(), "").await.unwrap_err();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::OutOfRange, "RESUME_TOKEN_TOO_OLD"));
    assert_eq!(all(&running.client).await, []);
    running.stop().await;
}

/// An application that is told of inbound messages at `address`.
fn told_at(address: &str, version: PayloadVersion) -> Application {
    let mut application = app(address, version, Signing::Jwt);
    let messages = application.messages.as_mut().unwrap();
    messages.status = None;
    messages.inbound = Some(Webhook { address: address.to_owned() });
    application
}

fn as_default(running: &Running, application: &Application) {
    let row = encode(&application.id).unwrap();
    let change = SettingChange::put(store::Kind::DefaultApplication, &*application.tenant, row);
    running.service.engine.settings().write(vec![change]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_is_told_at_its_inbound_url_signed_and_again_until_it_takes_it() {
    let receiver = Receiver::start().await;
    receiver.answer([crate::callbacks::receiver::Answer::status(500)]);
    let told = Told::start(&allowing(in_memory())).await;
    let application = told_at(&receiver.url("/inbound"), PayloadVersion::V1);
    told.keep(&application);
    as_default(&told.running, &application);
    let picture = Media { url: "https://example.com/cat.jpg".to_owned(), caption: None };
    let content = vec![Content::Text("Look".to_owned()), Content::Image(picture)];
    hears(&told.running, vec![Inbound::Message(said("1", content))]).await;
    told.advance(Duration::from_secs(60)).await;
    let got = receiver.received();
    assert_eq!(got.len(), 2, "it was not taken at first");
    assert_eq!(got[0].body, got[1].body);
    got[0].is_signed_by(crate::callbacks::helper::SECRET);
    let [message] = &all(&told.running.client).await[..] else { panic!("not one") };
    let body = got[1].json();
    assert_eq!(body["message_uuid"], *message.message_id);
    assert_eq!((&body["from"], &body["to"]), (&ANN.into(), &US.into()));
    assert_eq!((&body["channel"], &body["message_type"]), (&"sms".into(), &"image".into()));
    assert_eq!(body["image"]["caption"], "Look");
    assert_eq!(body["parts"].as_array().unwrap().len(), 2);
    assert_eq!(got[1].header("webhook-id"), format!("{}.0", message.message_id));
    // Told again by the provider, it is the same message.
    hears(&told.running, vec![text("1")]).await;
    told.advance(Duration::from_secs(60)).await;
    assert_eq!(receiver.received().len(), 2);
    told.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asked_for_the_message_that_is_quoted_is_told_before_the_tenant_s_default() {
    let (usual, own) = (Receiver::start().await, Receiver::start().await);
    let told = Told::start(&allowing(in_memory())).await;
    let default = told_at(&usual.url("/usual"), PayloadVersion::V01);
    let application = told_at(&own.url("/own"), PayloadVersion::V01);
    told.keep(&default);
    told.keep(&application);
    as_default(&told.running, &default);
    told.running.script(PERSON, "accept; deliver 1s").await;
    let id = told.create(ApiDialect::Grpc, Some(application.id), None, "600s").await;
    told.advance(Duration::from_secs(2)).await;
    let attempt = told.running.get(&id).await.steps[0].attempts[0].attempt_id.clone();
    let mut quoting = said("1", vec![Content::Text("Yes".to_owned())]);
    quoting.quoted_attempt = Some(attempt.parse().unwrap());
    hears(&told.running, vec![Inbound::Message(quoting), text("2")]).await;
    told.advance(Duration::from_secs(1)).await;
    let [answer] = &own.received()[..] else { panic!("not one") };
    let body = answer.json();
    assert_eq!(body["message"]["content"], serde_json::json!({ "type": "text", "text": "Yes" }));
    assert_eq!(body["_links"]["workflow"]["dispatch_uuid"], *id);
    assert_eq!(body["from"], serde_json::json!({ "type": "sms", "number": ANN }));
    let [other] = &usual.received()[..] else { panic!("not one") };
    assert_eq!(other.json()["message"]["content"]["text"], "text 2");
    told.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_lists_what_is_kept_and_names_callbacks_that_wait() {
    let receiver = Receiver::start().await;
    receiver.always(crate::callbacks::receiver::Answer::status(503));
    let told = Told::start(&allowing(in_memory())).await;
    let application = told_at(&receiver.url("/inbound"), PayloadVersion::V1);
    told.keep(&application);
    as_default(&told.running, &application);
    hears(&told.running, vec![text("1"), text("2")]).await;
    told.advance(Duration::from_secs(1)).await;
    let listed = told.cli(&["inbound", "list"]).await;
    let lines: Vec<_> = listed.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with("447700900001 to DISPATCH  text 1"), "{listed}");
    assert_eq!(told.cli(&["inbound", "list", "--limit", "1"]).await.lines().count(), 1);
    let waiting = told.cli(&["callbacks", "list"]).await;
    assert!(waiting.lines().all(|line| line.contains("inbound message")), "{waiting}");
    assert_eq!(waiting.lines().count(), 2, "{waiting}");
    let id = waiting.split_whitespace().next().unwrap();
    let shown = told.cli(&["callbacks", "show", id]).await;
    assert!(shown.contains("message ") && !shown.contains("workflow "), "{shown}");
    told.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_is_made_after_a_restart_is_not_told_of_what_came_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = allowing(in_memory());
    config.store.kind = dispatch::config::StoreKind::Sled;
    config.store.data = folder.path().join("data");
    let told = Told::start(&config).await;
    hears(&told.running, vec![text("1")]).await;
    told.advance(Duration::from_millis(1)).await;
    told.running.stop().await;

    let receiver = Receiver::start().await;
    let application = told_at(&receiver.url("/inbound"), PayloadVersion::V1);
    // Before anybody looks: as one that a start finds.
    let store = SledOptions { folder: config.store.data.clone(), cache_bytes: 1 << 24 }.open();
    let store = store.unwrap();
    let kept = |kind, key: &[u8], row| SettingChange::put(kind, key, row);
    let rows = vec![
        kept(
            store::Kind::Application,
            application.id.as_bytes(),
            encode(&sealed(&application)).unwrap(),
        ),
        kept(store::Kind::DefaultApplication, b"default", encode(&application.id).unwrap()),
    ];
    store.settings().write(rows).unwrap();
    drop(store);
    let told = Told::start(&config).await;
    hears(&told.running, vec![text("2")]).await;
    told.advance(Duration::from_secs(60)).await;
    let texts: Vec<_> = receiver.received().iter().map(|it| it.json()["text"].clone()).collect();
    assert_eq!(texts, ["text 2"]);
    told.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_is_told_after_a_restart_of_what_came_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = allowing(in_memory());
    config.store.kind = dispatch::config::StoreKind::Sled;
    config.store.data = folder.path().join("data");
    let receiver = Receiver::start().await;
    receiver.answer([crate::callbacks::receiver::Answer::status(503)]);
    let told = Told::start(&config).await;
    let application = told_at(&receiver.url("/inbound"), PayloadVersion::V1);
    told.keep(&application);
    as_default(&told.running, &application);
    hears(&told.running, vec![text("1")]).await;
    told.advance(Duration::from_millis(1)).await;
    hears(&told.running, vec![text("2")]).await;
    told.running.stop().await;

    let told = Told::start(&config).await;
    told.advance(Duration::from_secs(3600)).await;
    let mut texts: Vec<_> =
        receiver.received().iter().map(|it| it.json()["text"].clone()).collect();
    texts.sort_by_key(ToString::to_string);
    texts.dedup();
    assert_eq!(texts, ["text 1", "text 2"]);
    assert_eq!(told.list(None).await, [], "nothing waits");
    told.running.stop().await;
}
