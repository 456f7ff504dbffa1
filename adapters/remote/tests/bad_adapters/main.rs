//! Adapters that die, hang, answer late or lie: what becomes of what was sent to them, and of what they tell.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, and stands outside of the service"
)]

mod played;
mod service;

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use dispatch_contract::{
    Cause, Channel, ChannelSender, Content, Endpoint, ErrorKind, Inbound, InboundMessage, Provider,
    Retry, UnixMillis, Verdict, WebhookRequest,
};
use dispatch_remote::{
    GivenAccount,
    pb::{self, adapter_service_server::AdapterServiceServer},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use played::{Manner, Mortal, PATIENCE, PlayedAdapter, SHORT, described};
use service::{
    Main, account, batch, dialled, eventually, fax, message, receipt, run, run_with, send, target,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_left_is_unknown_and_what_certainly_did_not_comes_again() {
    let temporary = Retry::Temporary { after: None };
    for (manner, kind, retry) in [
        (Manner::Fail, ErrorKind::ProviderFailure, Retry::Unknown),
        (Manner::Hang, ErrorKind::Timeout, Retry::Unknown),
        (Manner::Late, ErrorKind::Timeout, Retry::Unknown),
        (Manner::Nothing, ErrorKind::ProviderFailure, Retry::Unknown),
        (Manner::Compressed, ErrorKind::ProviderFailure, Retry::Unknown),
        (Manner::Stranger, ErrorKind::Unauthorized, temporary),
    ] {
        let (at, _) = PlayedAdapter::new(manner).serve(None).await;
        let provider = dialled(at, None, PATIENCE).await;
        let error = send(&*fax(&provider), SHORT).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (kind, retry), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let (at, _) = PlayedAdapter::new(Manner::Accept).serve(None).await;
    let provider = dialled(at, None, PATIENCE).await;
    assert_eq!(send(&*fax(&provider), PATIENCE).await, Ok(vec!["one".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_in_the_middle_of_a_call_leaves_it_unknown_and_is_down_until_it_is_back() {
    let hanging = PlayedAdapter::new(Manner::Hang);
    let came = Arc::clone(&hanging.came);
    let mut adapter = Mortal::serve(hanging, None).await;
    let at = adapter.at;
    let provider = dialled(at, None, PATIENCE).await;
    run(&provider);
    let fax = fax(&provider);
    let (sent, ()) = tokio::join!(send(&*fax, PATIENCE), async {
        came.notified().await;
        adapter.kill();
    });
    let error = sent.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::ProviderFailure, Retry::Unknown), "{error}");

    let refused = "the connection was refused";
    eventually(|| provider.down().as_deref() == Some(refused)).await;
    let error = send(&*fax, PATIENCE).await.unwrap_err();
    assert_eq!(error.retry, Retry::Temporary { after: None }, "{error}");
    assert_eq!(error.cause, Some(Cause::Refused), "{error}");
    assert!(error.detail.contains("adapter fax"), "{error}");

    let _back = Mortal::serve(PlayedAdapter::new(Manner::Accept), Some(at)).await;
    eventually(|| provider.down().is_none()).await;
    assert_eq!(send(&*fax, PATIENCE).await, Ok(vec!["one".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_acknowledged_is_told_again_and_what_nobody_can_take_is_left_out() {
    let mut played = PlayedAdapter::new(Manner::Accept);
    played.loses_first = true;
    played.tells = vec![
        batch(1, "main", vec![receipt(pb::Status::Delivered.into())]),
        batch(2, "another's", vec![receipt(pb::Status::Delivered.into())]),
        batch(3, "main", vec![receipt(99), receipt(pb::Status::Read.into())]),
        batch(4, "main", Vec::new()),
    ];
    let acknowledged = Arc::clone(&played.acknowledged);
    let (at, _) = played.serve(None).await;
    let provider = dialled(at, None, PATIENCE).await;
    let sink = run(&provider);
    eventually(|| acknowledged.lock().unwrap().len() == 4).await;
    assert_eq!(*acknowledged.lock().unwrap(), [1, 2, 3, 4]);
    let own = ("main".to_owned(), 1);
    // Again, because the first time was not heard of; and never under the account of somebody else.
    let taken = sink.0.lock().unwrap();
    assert!(taken.len() > 2 && taken.iter().all(|it| *it == own), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_minor_is_understood_as_far_as_nothing_of_it_is_declared() {
    let mut later = PlayedAdapter::new(Manner::Accept);
    later.described.minor = 7;
    let (at, _) = later.serve(None).await;
    let provider = dialled(at, None, PATIENCE).await;
    assert_eq!(send(&*fax(&provider), PATIENCE).await, Ok(vec!["one".to_owned()]));

    let mut declaring = PlayedAdapter::new(Manner::Accept);
    declaring.described.minor = 7;
    declaring.described.channels[0].content_kinds.push(42);
    let (at, _) = declaring.serve(None).await;
    let provider = dialled(at, None, PATIENCE).await;
    run(&provider);
    eventually(|| provider.down().is_some()).await;
    let why = provider.down().unwrap();
    assert!(why.contains("channel fax: content kind 42 is not known here"), "{why}");
    assert!(why.contains("minor 7"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_of_a_description_is_named() {
    type Spoil = fn(&mut pb::DescribeResponse);
    let spoilt: [(Spoil, &str); 8] = [
        (|it| it.provider = "vonage".to_owned(), "it says that it is provider vonage"),
        (|it| it.channels.clear(), "it declares no channel"),
        (|it| it.channels[0].name = "Fax!".to_owned(), "channel Fax!: a channel name has"),
        (|it| it.channels[0].condition_statuses.reverse(), "condition_statuses must rise"),
        (|it| it.channels[0].max_text_chars = 0, "max_text_chars must be given"),
        (|it| it.channels[0].sender_forms.clear(), "sender_forms must have one at least"),
        (
            |it| it.channels[0].sender_forms[0].form = None,
            "sender_forms: a form of a kind that is not known here",
        ),
        (
            |it| it.settings.extend(vec![it.settings[0].clone(); 64]),
            "settings must be at most 64, and are 65",
        ),
    ];
    for (spoil, why) in spoilt {
        let mut played = PlayedAdapter::new(Manner::Accept);
        spoil(&mut played.described);
        let (at, _) = played.serve(None).await;
        let provider = dialled(at, None, PATIENCE).await;
        run(&provider);
        eventually(|| provider.down().is_some()).await;
        assert!(provider.down().unwrap().contains(why), "{:?}", provider.down());
        let error = send(&*fax(&provider), PATIENCE).await.unwrap_err();
        assert_eq!(error.retry, Retry::Temporary { after: None });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_never_there_is_named_to_whoever_needs_it_and_served_once_it_answers() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("adapters/fax.description");
    let mut adapter = Mortal::serve(PlayedAdapter::new(Manner::Accept), None).await;
    let at = adapter.at;
    adapter.kill();
    let provider = dialled(at, Some(kept.clone()), SHORT).await;
    let fax = fax(&provider);
    let problem = fax.check(&message(), UnixMillis(0)).remove(0).problem;
    assert!(problem.contains(&format!("adapter fax at http://{at}")), "{problem}");
    let error = send(&*fax, PATIENCE).await.unwrap_err();
    assert_eq!(error.retry, Retry::Temporary { after: None }, "{error}");

    run(&provider);
    let mut adapter = Mortal::serve(PlayedAdapter::new(Manner::Accept), Some(at)).await;
    eventually(|| fax.check(&message(), UnixMillis(0)).is_empty()).await;
    assert_eq!(fax.capabilities().limits.text_chars, 100);
    eventually(|| provider.down().is_none()).await;
    assert_eq!(send(&*fax, PATIENCE).await, Ok(vec!["one".to_owned()]));
    eventually(|| kept.exists()).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&kept), mode(kept.parent().unwrap())), (0o600, 0o700));

    // The next life knows it by what it told, and takes workflows for it although it is not there.
    adapter.kill();
    let provider = dialled(at, Some(kept), SHORT).await;
    let fax = self::fax(&provider);
    assert!(fax.check(&message(), UnixMillis(0)).is_empty());
    assert_eq!(fax.capabilities().limits.text_chars, 100);
    assert_eq!(send(&*fax, PATIENCE).await.unwrap_err().retry, Retry::Temporary { after: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_serving_when_first_met_is_known_by_what_it_told() {
    let (told, health) = tonic_health::server::health_reporter();
    told.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let served = Server::builder()
        .add_service(AdapterServiceServer::new(PlayedAdapter::new(Manner::Accept)))
        .add_service(health)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(served);
    let provider = dialled(at, None, PATIENCE).await;
    let fax = fax(&provider);
    assert!(fax.check(&message(), UnixMillis(0)).is_empty());
    assert_eq!(provider.down().as_deref(), Some("it says that it is not serving"));
    run(&provider);
    told.set_service_status("", tonic_health::ServingStatus::Serving).await;
    eventually(|| provider.down().is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_endpoint_is_dialled_while_it_runs() {
    let mut first = Mortal::serve(PlayedAdapter::new(Manner::Accept), None).await;
    let provider = dialled(first.at, None, PATIENCE).await;
    run(&provider);
    first.kill();
    eventually(|| provider.down().is_some()).await;
    let (at, _) = PlayedAdapter::new(Manner::Accept).serve(None).await;
    provider.handle().redial(target(at));
    eventually(|| provider.down().is_none()).await;
    assert_eq!(send(&*fax(&provider), PATIENCE).await, Ok(vec!["one".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_of_a_webhook_is_left_out_and_the_rest_counts() {
    let of = |attempt_id: &str, provider_message_id: &str| {
        let receipt = pb::Receipt {
            attempt_id: attempt_id.to_owned(),
            provider_message_id: provider_message_id.to_owned(),
            report: Some(pb::receipt::Report::Reached(pb::Status::Read.into())),
            ..Default::default()
        };
        pb::Inbound { item: Some(pb::inbound::Item::Receipt(receipt)) }
    };
    let mut played = PlayedAdapter::new(Manner::Accept);
    played.described.reads_webhooks = true;
    played.reads = pb::ReadWebhookResponse {
        verdict: pb::Verdict::Understood.into(),
        // Another system may send by the same account.
        inbound: vec![receipt(99), of("theirs", ""), of("theirs", "two"), of("", "three")],
        ..Default::default()
    };
    let (at, _) = played.serve(None).await;
    let provider = dialled(at, None, PATIENCE).await;
    let call =
        WebhookRequest { method: "POST", url: "https://h/", query: "", headers: &[], body: b"" };
    let told = provider.take_webhook(&call, &account("main"), UnixMillis(0)).await.unwrap();
    assert_eq!((told.status, told.verdict), (200, Verdict::Understood));
    let ids = told.inbound.iter().map(|item| match item {
        Inbound::Receipt(it) => (it.attempt, it.provider_id.as_deref()),
        other => panic!("{other:?}"),
    });
    assert_eq!(ids.collect::<Vec<_>>(), [(None, Some("two")), (None, Some("three"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_writes_is_told_and_what_lacks_who_or_what_is_left_out() {
    let id =
        |id: &str| Some(pb::Endpoint { endpoint: Some(pb::endpoint::Endpoint::Id(id.to_owned())) });
    let part = |content| pb::Content { content: Some(content) };
    let text = |text: &str| part(pb::content::Content::Text(text.to_owned()));
    let usual = pb::InboundMessage {
        message_id: "in-1".to_owned(),
        channel: "fax".to_owned(),
        from_endpoint: id("person"),
        to_endpoint: id("us"),
        content: vec![text("Yes.")],
        quoted_attempt_id: "0198c0ffee007000800000000000beef.3".to_owned(),
        quoted_provider_message_id: "one".to_owned(),
        provider_time: None,
    };
    let with = |change: &dyn Fn(&mut pb::InboundMessage)| {
        let mut message = usual.clone();
        change(&mut message);
        pb::Inbound { item: Some(pb::inbound::Item::Message(message)) }
    };
    let says = |said: &pb::Content| with(&|it| it.content = vec![text("Look"), said.clone()]);
    let nowhere = pb::Media { url: String::new(), caption: String::new() };
    let custom = |json: &str| part(pb::content::Content::CustomJson(json.to_owned()));
    let mut played = PlayedAdapter::new(Manner::Accept);
    played.described.reads_webhooks = true;
    played.reads = pb::ReadWebhookResponse {
        verdict: pb::Verdict::Understood.into(),
        inbound: vec![
            with(&|_| {}),
            with(&|it| it.message_id.clear()),
            with(&|it| it.message_id = "x".repeat(1_025)),
            with(&|it| it.channel.clear()),
            with(&|it| it.from_endpoint = None),
            with(&|it| it.to_endpoint = id("")),
            // Told without the part that is none.
            says(&part(pb::content::Content::Image(nowhere))),
            says(&part(pb::content::Content::Location(pb::Location::default()))),
            says(&part(pb::content::Content::Code(pb::Code::default()))),
            says(&custom("[]")),
            // A quote of another system's message, by the same account.
            with(&|it| {
                it.quoted_attempt_id = "theirs".to_owned();
                it.quoted_provider_message_id.clear();
            }),
            // Told, and cut.
            with(&|it| it.content = vec![text(&"a".repeat(20_000)); 20]),
            says(&custom(&format!("{{\"a\":\"{}\"}}", "a".repeat(20_000)))),
            says(&pb::Content { content: None }),
            says(&custom("{\"a\":1}")),
        ],
        ..Default::default()
    };
    let (at, _) = played.serve(None).await;
    let provider = dialled(at, None, PATIENCE).await;
    let call =
        WebhookRequest { method: "POST", url: "https://h/", query: "", headers: &[], body: b"" };
    let told = provider.take_webhook(&call, &account("main"), UnixMillis(0)).await.unwrap();
    let whole = InboundMessage {
        id: "in-1".to_owned(),
        from: Endpoint::Id("person".to_owned()),
        to: ChannelSender { channel: Channel::named("fax"), id: "us".to_owned() },
        content: vec![Content::Text("Yes.".to_owned())],
        quoted_id: Some("one".to_owned()),
        quoted_attempt: "0198c0ffee007000800000000000beef.3".parse().ok(),
        provider_time: None,
    };
    let saying = |content| Inbound::Message(InboundMessage { content, ..whole.clone() });
    let look = Content::Text("Look".to_owned());
    let cut = Content::Text("a".repeat(16 * 1_024));
    assert_eq!(
        told.inbound,
        [
            Inbound::Message(whole.clone()),
            saying(vec![look.clone()]),
            saying(vec![look.clone()]),
            saying(vec![look.clone()]),
            saying(vec![look.clone()]),
            Inbound::Message(InboundMessage {
                quoted_id: None,
                quoted_attempt: None,
                ..whole.clone()
            }),
            saying(vec![cut; 4]),
            saying(vec![look.clone()]),
            saying(vec![look.clone()]),
            saying(vec![look, Content::Custom("{\"a\":1}".to_owned())]),
        ]
    );
}

/// Leads to an adapter. Once told to, the connections that there are by then fall silent.
async fn way_to(at: SocketAddr, silenced: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let way = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut from, _) = listener.accept().await.unwrap();
            let mut silenced = silenced.clone();
            let is_new = *silenced.borrow();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(at).await.unwrap();
                let silent = async {
                    let _ = silenced.wait_for(|silenced| *silenced && !is_new).await;
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut from, &mut to) => return,
                    () = silent => {}
                }
                // Open on both sides, and nothing goes through.
                std::future::pending::<()>().await;
            });
        }
    });
    way
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_without_a_word_is_made_again() {
    let (at, _) = PlayedAdapter::new(Manner::Accept).serve(None).await;
    let (silence, silenced) = watch::channel(false);
    let provider = dialled(way_to(at, silenced).await, None, PATIENCE).await;
    run(&provider);
    let fax = fax(&provider);
    assert_eq!(send(&*fax, PATIENCE).await, Ok(vec!["one".to_owned()]));
    silence.send(true).unwrap();
    let error = send(&*fax, SHORT).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Timeout, Retry::Unknown), "{error}");
    eventually(|| provider.down().as_deref() == Some("no answer came in time")).await;
    eventually(|| provider.down().is_none()).await;
    assert_eq!(send(&*fax, PATIENCE).await, Ok(vec!["one".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_accounts_are_named_to_one_that_has_not_begun_its_answer() {
    let mut played = PlayedAdapter::new(Manner::Accept);
    played.holds_back = true;
    let streams = Arc::clone(&played.streams);
    let (at, _) = played.serve(None).await;
    let provider = dialled(at, None, PATIENCE).await;
    let accounts = Arc::new(Main::default());
    run_with(&provider, Arc::clone(&accounts));
    eventually(|| *streams.lock().unwrap() == 1).await;
    accounts.0.notify_one();
    eventually(|| *streams.lock().unwrap() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_at_the_start_is_sent_nothing_and_keeps_no_webhook_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("fax.description");
    let described = pb::DescribeResponse { reads_webhooks: true, ..described() };
    std::fs::write(&kept, prost::Message::encode_to_vec(&described)).unwrap();
    let hanging = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let provider = dialled(hanging.local_addr().unwrap(), Some(kept), SHORT).await;
    let error = send(&*fax(&provider), SHORT).await.unwrap_err();
    assert_eq!(error.retry, Retry::Temporary { after: None }, "{error}");
    let call =
        WebhookRequest { method: "POST", url: "https://h/", query: "", headers: &[], body: b"" };
    let told = provider.take_webhook(&call, &account("main"), UnixMillis(0)).await;
    assert_eq!(told.unwrap_err(), "the adapter is down: no answer came in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_answers_a_message_late_is_asked_at_once_whether_it_is_there() {
    let played = PlayedAdapter::new(Manner::Hang);
    let asked = Arc::clone(&played.asked);
    let (at, _) = played.serve(None).await;
    let provider = dialled(at, None, PATIENCE).await;
    run(&provider);
    eventually(|| *asked.lock().unwrap() == 2).await;
    let sent = Instant::now();
    send(&*fax(&provider), SHORT).await.unwrap_err();
    eventually(|| *asked.lock().unwrap() == 3).await;
    assert!(sent.elapsed() < Duration::from_secs(4), "it waited for the next ping of its own");
}

/// What a check of it says failed.
async fn failures(played: PlayedAdapter) -> String {
    let (at, _) = played.serve(None).await;
    let proven = dispatch_remote::prove(target(at), &GivenAccount::default()).await.unwrap();
    proven.iter().map(|(_, findings)| findings.failures().join("\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_what_is_declared_and_is_not_so() {
    let mut liar = PlayedAdapter::new(Manner::Accept);
    liar.described.probes = true;
    liar.described.reads_webhooks = true;
    liar.described.channels[0].recalls = true;
    liar.described.settings[0].rule = Some(pb::setting::Rule::Url(true));
    let found = failures(liar).await;
    for lie in [
        "it declares probes, and has no such call",
        "it declares recalls, and has no such call",
        "forgery: POST of 2 bytes that nobody signed",
        "timeouts: no answer in time should be Unknown",
        "errors: a connection closed unanswered should be Unknown",
        "errors: a refused connection should be NotLeft",
    ] {
        assert!(found.contains(lie), "{lie} in {found}");
    }
    // It has no URL, and so nobody can be played to it; and it keeps what is left.
    assert_eq!(failures(PlayedAdapter::new(Manner::Fail)).await, "");
}
