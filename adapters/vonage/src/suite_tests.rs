//! The suite itself, tried on an adapter that conforms and on others that break a promise each.

use std::sync::Arc;

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, Account, AdapterError, AddressForm, Capabilities, Channel, ChannelAdapter, Content,
    ContentKind, Correlation, Endpoint, Gateway, Limits, Message, Options, Provider, SendContext,
    SettingsForm, Status, UnixMillis, Violation, WebhookOutcome, WebhookRequest, check,
};
use dispatch_kit::conformance::{
    ConformanceSubject, ExpectedReport, RefusalSample, StubAnswer, run,
};

use crate::{ApiVersion, VonageGateway, VonageSubject};

fn honest() -> Capabilities {
    Capabilities {
        condition_statuses: vec![Status::Submitted, Status::Delivered],
        content: vec![ContentKind::Text],
        captions: vec![],
        limits: Limits { text_chars: 100, caption_chars: 0, url_bytes: 0 },
        to: vec![AddressForm::E164],
        from: vec![AddressForm::Alphanumeric],
        idempotent_for: None,
        correlation: Correlation::AttemptId,
        recall: false,
        batch: 1,
    }
}

/// Declares what it is told to, and sends through Vonage.
struct Declaring(Capabilities, VonageGateway);

#[async_trait]
impl ChannelAdapter for Declaring {
    fn name(&self) -> &str {
        "vonage-test"
    }

    fn provider(&self) -> &str {
        self.1.provider()
    }

    fn channel(&self) -> &Channel {
        &Channel::SMS
    }

    fn capabilities(&self) -> &Capabilities {
        &self.0
    }

    fn check(&self, message: &Message, _now: UnixMillis) -> Vec<Violation> {
        check(&self.0, message)
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        self.1.send(context, message).await
    }
}

fn subject(capabilities: Capabilities) -> VonageSubject {
    let sample = Message {
        channel: Channel::SMS,
        from: Endpoint::Number("Acme".to_owned()),
        to: Endpoint::Number("447700900000".to_owned()),
        content: Content::Text("a text that nobody may see".to_owned()),
        options: Options::default(),
    };
    let subject = VonageSubject::new(&Channel::SMS, ApiVersion::V1, vec![sample]).expect("sms");
    subject.with(Arc::new(Declaring(capabilities, VonageGateway::default())))
}

async fn failures(capabilities: Capabilities) -> String {
    run(&subject(capabilities)).await.to_string()
}

#[tokio::test]
async fn an_honest_adapter_passes_many_checks() {
    let findings = run(&subject(honest())).await;
    assert_eq!(findings.failures, Vec::<String>::new());
    assert!(findings.checks > 1_000, "{findings}");
}

#[tokio::test]
async fn a_declared_status_without_a_webhook_fails() {
    let mut capabilities = honest();
    capabilities.condition_statuses.push(Status::Replied);
    assert!(failures(capabilities).await.contains("replied is declared, and no webhook tells it"));
}

#[tokio::test]
async fn declared_content_without_a_sample_fails() {
    let mut capabilities = honest();
    capabilities.content.push(ContentKind::Video);
    assert!(failures(capabilities).await.contains("video is declared, and there is no sample"));
}

#[tokio::test]
async fn declared_idempotence_recall_and_batches_have_to_be_proven() {
    let capabilities = Capabilities {
        idempotent_for: Some(std::time::Duration::from_secs(60)),
        recall: true,
        batch: 10,
        ..honest()
    };
    let failures = failures(capabilities).await;
    for promise in ["idempotent_for is declared", "recall is declared", "batch must be 1"] {
        assert!(failures.contains(promise), "{promise} in {failures}");
    }
}

/// Keeps none of the promises: accepts every message and every webhook, takes every send for
/// accepted.
struct Careless(VonageSubject);

#[async_trait]
impl ChannelAdapter for Careless {
    fn name(&self) -> &str {
        "careless"
    }

    fn provider(&self) -> &str {
        self.0.adapter().provider()
    }

    fn channel(&self) -> &Channel {
        self.0.adapter().channel()
    }

    fn capabilities(&self) -> &Capabilities {
        self.0.adapter().capabilities()
    }

    fn check(&self, _message: &Message, _now: UnixMillis) -> Vec<Violation> {
        Vec::new()
    }

    async fn send(
        &self,
        _context: &SendContext<'_>,
        _message: &Message,
    ) -> Result<Accepted, AdapterError> {
        Ok(Accepted { provider_id: "id".to_owned() })
    }
}

impl Provider for Careless {
    fn name(&self) -> &str {
        self.0.provider().name()
    }

    fn settings(&self) -> SettingsForm {
        self.0.provider().settings()
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        Vec::new()
    }

    fn webhook(
        &self,
        request: &WebhookRequest<'_>,
        account: &Account,
        now: UnixMillis,
    ) -> WebhookOutcome {
        let headers = self.0.sign(request.body);
        let signed = WebhookRequest { headers: &headers, ..*request };
        self.0.provider().webhook(&signed, account, now)
    }
}

impl ConformanceSubject for Careless {
    fn adapter(&self) -> &dyn ChannelAdapter {
        self
    }

    fn provider(&self) -> &dyn Provider {
        self
    }

    fn account(&self, base_url: &str) -> Account {
        self.0.account(base_url)
    }

    fn sample(&self, kind: ContentKind) -> Option<Message> {
        self.0.sample(kind)
    }

    fn webhooks(&self, told: &ExpectedReport) -> Vec<Vec<u8>> {
        self.0.webhooks(told)
    }

    fn sign(&self, body: &[u8]) -> Vec<(String, Vec<u8>)> {
        self.0.sign(body)
    }

    fn accepted(&self, provider_id: &str) -> StubAnswer {
        self.0.accepted(provider_id)
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        self.0.refusals()
    }
}

#[tokio::test]
async fn a_careless_adapter_fails_in_every_area() {
    let failures = run(&Careless(subject(honest()))).await.to_string();
    for problem in [
        "one more than the limit should be refused at message.text",
        "image should be refused at message",
        "recipient number \"+447700900000\" should be refused",
        "another channel's options should be refused at message.messenger",
        "a webhook without its headers is taken as Understood",
        "a webhook cut short is taken as",
        "text was not sent",
        "text does not carry it",
        "no answer in time should be Some(Timeout)",
        "a refused connection should be Some(Unreachable)",
        "HTTP 500",
    ] {
        assert!(failures.contains(problem), "{problem} is missing");
    }
}
