//! What a running adapter declares, proven as far as that goes from outside.
//!
//! The suite's own parts look at what it declares. What it does is tried with the provider played on a loopback
//! socket, to which the settings that hold a URL lead: there an answer that fails, none at all, or nobody. What only
//! a provider could tell that is spoken as its API has it, its receipts before all, is not tried, and named.

mod subject;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dispatch_contract::{
    Accepted, Account, AdapterError, ChannelAdapter, Content, ContentKind, Correlation, ErrorKind,
    Message, Provider, Recall, Retry, Secret, SendContext, Status, WebhookRequest,
};
use dispatch_kit::conformance::{
    Behaviour, ConformanceSubject, Findings, NOW, Part, PlayedProvider, Promise, Stub, StubAnswer,
    attempt, run_parts,
};

use subject::LiveSubject;
use tokio_stream::StreamExt;
use tonic::Code;

use crate::{DialTarget, RemoteProvider, call::request, pb, write};

/// How long the adapter may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// For a call that is answered, and for one that is not.
const TIMEOUT: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_secs(2);
/// How much longer than its timeout a call may take.
const GRACE: Duration = Duration::from_secs(1);

/// What the account of a check holds, where what the form says is not enough.
#[derive(Clone, Debug, Default)]
pub struct GivenAccount {
    /// Settings, by name; `{provider}` in one is where the played provider is.
    pub settings: BTreeMap<String, String>,
    /// Secrets, by name.
    pub secrets: BTreeMap<String, Secret>,
}

/// What was found of one adapter.
pub type ProvenAdapter = (Arc<dyn ChannelAdapter>, Findings);

/// Proves what the adapter at `target` declares, channel by channel. Nothing is sent but to the played provider.
///
/// # Errors
/// If it does not answer, or what it tells of itself cannot be used.
pub async fn prove(target: DialTarget, given: &GivenAccount) -> Result<Vec<ProvenAdapter>, String> {
    let provider = RemoteProvider::found(target, PATIENCE).await?;
    let mut proven = Vec::new();
    for adapter in provider.channels() {
        let subject = LiveSubject { provider: &provider, adapter: Arc::clone(&adapter), given };
        let mut findings = run_parts(&subject, &[Part::Declared, Part::Content]).await;
        LiveCheck { subject: &subject, findings: &mut findings }.check().await;
        proven.push((adapter, findings));
    }
    Ok(proven)
}

/// What is tried of one channel while the adapter runs.
struct LiveCheck<'a> {
    subject: &'a LiveSubject<'a>,
    findings: &'a mut Findings,
}

/// A call that is declared, and may not be there.
#[derive(Clone, Copy)]
enum DeclaredCall {
    Probes,
    Listens,
    Recalls,
}

/// What a call gave, and the requests that came to the played provider.
struct LiveCall {
    result: Result<Accepted, AdapterError>,
    requests: Vec<String>,
    ended: bool,
}

impl LiveCheck<'_> {
    async fn check(&mut self) {
        self.calls().await;
        self.sending().await;
        self.webhooks().await;
        self.recall().await;
        self.beyond();
    }

    /// What is declared is there, and told again as it was.
    async fn calls(&mut self) {
        let provider = self.subject.provider;
        let again = provider.remote.describe(PATIENCE).await;
        let is_same = again.as_ref().ok() == provider.told();
        self.say(Promise::Declaration, is_same, "asked again it describes itself otherwise");
        let account = self.subject.account("http://127.0.0.1:9");
        for (call, declared) in [
            ("probes", DeclaredCall::Probes),
            ("listens", DeclaredCall::Listens),
            ("recalls", DeclaredCall::Recalls),
        ] {
            let is_declared = match declared {
                DeclaredCall::Probes => provider.told().is_some_and(|told| told.probes),
                DeclaredCall::Listens => provider.told().is_some_and(|told| told.listens),
                DeclaredCall::Recalls => self.subject.adapter.capabilities().recall,
            };
            if is_declared {
                let is_there = self.is_there(declared, &account).await;
                let problem = format!("it declares {call}, and has no such call");
                self.say(Promise::Declaration, is_there, &problem);
            }
        }
    }

    /// Whether it has a call at all. What it answers there is another matter.
    async fn is_there(&self, declared: DeclaredCall, account: &Account) -> bool {
        let Ok(mut client) = self.subject.provider.remote.client() else { return false };
        let account = write::account(account);
        let code = match declared {
            DeclaredCall::Probes => {
                let asked = request(pb::ProbeRequest { account: Some(account) }, SHORT);
                client.probe(asked).await.map(drop).map_err(|status| status.code())
            }
            DeclaredCall::Recalls => {
                let account = self.subject.account("http://127.0.0.1:9");
                let asked = write::recall(
                    &context(&account, SHORT),
                    self.subject.adapter.channel().as_str(),
                    "one",
                );
                client.recall(request(asked, SHORT)).await.map(drop).map_err(|status| status.code())
            }
            DeclaredCall::Listens => {
                let accounts = pb::Accounts { accounts: vec![account] };
                let first = pb::ListenRequest {
                    request: Some(pb::listen_request::Request::Accounts(accounts)),
                };
                let requests = tokio_stream::iter([first]).chain(tokio_stream::pending());
                let heard = async { client.listen(requests).await?.into_inner().message().await };
                // One that has nothing to tell says nothing.
                match tokio::time::timeout(SHORT, heard).await {
                    Ok(heard) => heard.map(drop).map_err(|status| status.code()),
                    Err(_) => Ok(()),
                }
            }
        };
        code != Err(Code::Unimplemented)
    }

    /// What a message comes to whose provider fails, says nothing, or is not there.
    async fn sending(&mut self) {
        let kinds = self.subject.adapter.capabilities().content.clone();
        let Some(message) = kinds.iter().find_map(|kind| self.subject.sample(*kind)) else {
            return;
        };
        if self.subject.account("http://a.example").settings
            == self.subject.account("http://b.example").settings
        {
            let why = "no setting holds a URL, so the provider cannot be played: give one with {provider} \
                       in it (--settings)";
            for promise in
                [Promise::Errors, Promise::Timeouts, Promise::Redirects, Promise::Discretion]
            {
                self.findings.not_tried(promise, why.to_owned());
            }
            return;
        }
        let answer = |status, body: &str| Behaviour::Answer(StubAnswer::new(status, body));
        for (promise, what, behaviour, timeout, wanted) in [
            (
                Promise::Timeouts,
                "no answer in time",
                Behaviour::Hang,
                SHORT,
                ExpectedFailure::Unknown,
            ),
            (
                Promise::Errors,
                "a connection closed unanswered",
                Behaviour::HangUp,
                TIMEOUT,
                ExpectedFailure::Unknown,
            ),
            (
                Promise::Errors,
                "a refused connection",
                Behaviour::Absent,
                TIMEOUT,
                ExpectedFailure::NotLeft,
            ),
            (Promise::Errors, "HTTP 500", answer(500, "{}"), TIMEOUT, ExpectedFailure::Unknown),
            (
                Promise::Errors,
                "HTTP 200 with nothing to read",
                answer(200, "<html>"),
                TIMEOUT,
                ExpectedFailure::Unknown,
            ),
            (Promise::Errors, "HTTP 401", answer(401, "{}"), TIMEOUT, ExpectedFailure::NotAccepted),
            (Promise::Errors, "HTTP 429", answer(429, ""), TIMEOUT, ExpectedFailure::NotLeft),
        ] {
            let Some(made) = self.made(&message, behaviour, timeout).await else { continue };
            let in_time = format!("{what}: the call does not end at its deadline");
            self.say(Promise::Timeouts, made.ended, &in_time);
            let problem = format!("{what} should be {wanted:?}, and gives {:?}", made.result);
            self.say(promise, wanted.holds(&made.result), &problem);
        }
        self.leaving(&kinds).await;
        self.redirects(&message).await;
        self.discretion(&message).await;
    }

    /// One call is one request, and carries who is written to and what is said.
    async fn leaving(&mut self, kinds: &[ContentKind]) {
        for kind in kinds {
            let Some(message) = self.subject.sample(*kind) else { continue };
            let failing = Behaviour::Answer(StubAnswer::new(500, "{}"));
            let Some(made) = self.made(&message, failing, TIMEOUT).await else { continue };
            let problem = format!("one call is one request, and {} came", made.requests.len());
            let [request] = made.requests.as_slice() else {
                self.say(Promise::Content(*kind), made.requests.is_empty(), &problem);
                self.findings.not_tried(Promise::Content(*kind), "no request came".to_owned());
                continue;
            };
            let said = match &message.content {
                Content::Text(text) => Some(text.as_str()),
                Content::Code { code, .. } => Some(code.as_str()),
                content => content.media().map(|media| media.url.as_str()),
            };
            let is_carried = request.contains(message.to.value())
                && said.is_none_or(|said| request.contains(said));
            match is_carried {
                true => self.say(Promise::Content(*kind), true, ""),
                false => self.findings.not_tried(
                    Promise::Content(*kind),
                    "that what leaves is the message: the request does not show it as it stands"
                        .to_owned(),
                ),
            }
            if self.subject.adapter.capabilities().correlation == Correlation::AttemptId {
                let problem =
                    "our attempt id is declared to come back, and the request does not carry it";
                self.say(Promise::Correlation, request.contains(&attempt().to_string()), problem);
            }
        }
    }

    async fn redirects(&mut self, message: &Message) {
        for status in [302, 307] {
            let Ok(elsewhere) = Stub::start(Behaviour::Answer(StubAnswer::new(500, "{}"))) else {
                return;
            };
            let answer = StubAnswer::new(status, "").with_header("Location", elsewhere.address());
            let Some(made) = self.made(message, Behaviour::Answer(answer), TIMEOUT).await else {
                return;
            };
            let problem = format!("HTTP {status} is followed to another address");
            let is_kept = made.result.is_err() && elsewhere.requests().is_empty();
            self.say(Promise::Redirects, is_kept, &problem);
        }
    }

    async fn discretion(&mut self, message: &Message) {
        let account = self.subject.account("http://127.0.0.1:9");
        let mut private = vec![message.to.value().to_owned()];
        private.extend(account.secrets.values().map(|secret| secret.expose().to_owned()));
        if let Content::Text(text) = &message.content {
            private.push(text.clone());
        }
        let said = private.join(" ");
        for status in [400, 401, 429, 500] {
            let answer =
                StubAnswer::new(status, format!("{{\"title\":\"{said}\",\"code\":\"{said}\"}}"));
            let Some(made) = self.made(message, Behaviour::Answer(answer), TIMEOUT).await else {
                return;
            };
            let shown = format!("{:?}", made.result);
            let problem = format!("the failure for HTTP {status} repeats what the provider said");
            self.say(Promise::Discretion, private.iter().all(|it| !shown.contains(it)), &problem);
        }
    }

    /// What anybody could post is answered, and tells nothing.
    async fn webhooks(&mut self) {
        if !self.subject.provider.told().is_some_and(|told| told.reads_webhooks) {
            return;
        }
        let account = self.subject.account("http://127.0.0.1:9");
        for (method, body) in
            [("POST", &b"{}"[..]), ("POST", b"\xff\0not json"), ("POST", b""), ("GET", b"")]
        {
            let request = WebhookRequest {
                method,
                url: "https://dispatch.example/receipts/conformance",
                query: "",
                headers: &[("content-type".to_owned(), b"application/json".to_vec())],
                body,
            };
            let told = self.subject.provider.take_webhook(&request, &account, NOW).await;
            let problem = format!("{method} of {} bytes that nobody signed: {told:?}", body.len());
            let is_nothing = told.is_ok_and(|outcome| outcome.inbound.is_empty());
            self.say(Promise::Forgery, is_nothing, &problem);
        }
    }

    async fn recall(&mut self) {
        if !self.subject.adapter.capabilities().recall {
            return;
        }
        let Ok(nobody) = Stub::start(Behaviour::Absent) else { return };
        let account = self.subject.account(&nobody.address());
        let asked = self.subject.adapter.recall(&context(&account, SHORT), "one").await;
        let problem = "a provider that is not there took a message back";
        self.say(Promise::Recall, asked != Ok(Recall::Recalled), problem);
        self.findings.not_tried(
            Promise::Recall,
            "that a message is taken back: only its provider can tell".to_owned(),
        );
    }

    /// What needs somebody who speaks the provider's API.
    fn beyond(&mut self) {
        let can = self.subject.adapter.capabilities();
        let only = "only its provider can tell that".to_owned();
        let above = can.condition_statuses.iter().filter(|status| **status > Status::Submitted);
        let mut promises: Vec<_> = above.map(|status| Promise::Status(*status)).collect();
        promises.extend([Promise::Failures, Promise::Reading]);
        let declared = [
            (can.idempotent_for.is_some(), Promise::Idempotence),
            (can.watermarks, Promise::Watermarks),
            (can.parts, Promise::Parts),
        ];
        promises.extend(declared.into_iter().filter(|(is, _)| *is).map(|(_, promise)| promise));
        for promise in promises {
            self.findings.not_tried(promise, only.clone());
        }
    }

    /// A call, with the provider played so. `None` if it could not be played.
    async fn made(
        &mut self,
        message: &Message,
        behaviour: Behaviour,
        timeout: Duration,
    ) -> Option<LiveCall> {
        let provider = match Stub::start(behaviour) {
            Ok(provider) => provider,
            Err(error) => {
                self.findings
                    .not_tried(Promise::Errors, format!("the provider cannot be played: {error}"));
                return None;
            }
        };
        let account = self.subject.account(&provider.address());
        let context = context(&account, timeout);
        let call = self.subject.adapter.send(&context, message);
        let (result, ended) = match tokio::time::timeout(timeout + GRACE, call).await {
            Ok(result) => (result, true),
            Err(_) => (Err(late()), false),
        };
        Some(LiveCall { result, requests: provider.requests(), ended })
    }

    fn say(&mut self, promise: Promise, holds: bool, problem: &str) {
        self.findings.check(promise, holds, || problem.to_owned());
    }
}

fn late() -> AdapterError {
    let (fault, retry) = (dispatch_contract::Fault::Provider, Retry::Unknown);
    AdapterError::new(ErrorKind::Timeout, fault, retry, "the call did not end")
}

fn context(account: &Account, timeout: Duration) -> SendContext<'_> {
    SendContext {
        attempt: attempt(),
        account,
        callback_url: Some("https://dispatch.example/receipts/conformance"),
        useful_for: None,
        now: NOW,
        timeout,
    }
}

/// What a call that failed has to be.
#[derive(Clone, Copy, Debug)]
enum ExpectedFailure {
    /// Of unknown outcome: it may have left.
    Unknown,
    /// Not accepted, and not refused for good.
    NotLeft,
    /// Anything but accepted.
    NotAccepted,
}

impl ExpectedFailure {
    fn holds(self, result: &Result<Accepted, AdapterError>) -> bool {
        let Err(error) = result else { return false };
        match self {
            ExpectedFailure::Unknown => error.retry == Retry::Unknown,
            ExpectedFailure::NotLeft => error.retry != Retry::Permanent,
            ExpectedFailure::NotAccepted => true,
        }
    }
}
