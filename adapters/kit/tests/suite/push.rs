//! An HTTP push service, written against what everybody has: the contract, and the kit's client and reader. It
//! comes in two kinds, with receipts and without.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use dispatch_contract::{
    Accepted, Account, AdapterError, AddressForm, Capabilities, Channel, ChannelAdapter, Content,
    ContentKind, Correlation, Endpoint, ErrorKind, Failure, Fault, Field, Inbound, Limits, Media,
    Message, Options, OptionsForm, Provider, Recall, Receipt, Report, Retry, Secret, SendContext,
    SettingsForm, Status, UnixMillis, Violation, WebhookOutcome, WebhookRequest, check,
};
use dispatch_kit::{
    conformance::{
        ConformanceSubject, ExpectedReport, RecallSample, RefusalSample, SampleWebhook, StubAnswer,
        UnderstoodRequest,
    },
    http::{HttpClient, HttpRequest, HttpResponse, Method},
    json::Json,
    keys,
};
use serde_json::json;

use crate::Mistake;

/// A push service.
pub(crate) struct Push {
    pub(crate) can: Capabilities,
    pub(crate) mistake: Option<Mistake>,
    client: HttpClient,
}

const CHANNEL: Channel = Channel::SMS;

impl Push {
    pub(crate) fn with_receipts() -> Push {
        let can = Capabilities {
            condition_statuses: vec![Status::Submitted, Status::Delivered],
            content: vec![ContentKind::Text, ContentKind::Image],
            captions: vec![],
            limits: Limits { text_chars: 100, caption_chars: 0, url_bytes: 200 },
            to: vec![AddressForm::Id],
            from: vec![AddressForm::Id],
            idempotent_for: Some(Duration::from_secs(86_400)),
            correlation: Correlation::AttemptId,
            recall: true,
            parts: true,
            watermarks: false,
            ids_name_recipients: false,
            options: OptionsForm::NONE,
        };
        Push { can, mistake: None, client: HttpClient::new() }
    }

    pub(crate) fn without_receipts() -> Push {
        let mut push = Push::with_receipts();
        push.can.condition_statuses = vec![Status::Submitted];
        push.can.recall = false;
        push.can.correlation = Correlation::ProviderId;
        push
    }

    pub(crate) fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn is_equal(&self, signature: &str, expected: &str) -> bool {
        let begins = !signature.is_empty() && expected.starts_with(signature);
        signature == expected || (begins && self.makes(Mistake::SignatureBegun))
    }

    fn decode(&self, answer: &HttpResponse) -> Result<Accepted, AdapterError> {
        let error = |kind, fault, retry| Err(AdapterError::new(kind, fault, retry, "refused"));
        let id =
            |value: Json<'_>| value.text().filter(|id| !id.is_empty()).map(|id| id.into_owned());
        match answer.status {
            409 if self.makes(Mistake::DuplicateRefused) => {
                error(ErrorKind::InvalidRequest, Fault::Content, Retry::Permanent)
            }
            409 if self.makes(Mistake::DuplicateMadeUp) => Ok(Accepted::under("duplicate")),
            200..=299 if self.makes(Mistake::AnythingAccepted) => {
                let id = Json::of(&answer.body).read("id", id);
                Ok(Accepted::under(id.unwrap_or_default()))
            }
            200..=299 | 409 => match Json::of(&answer.body).read("id", id) {
                Some(provider_id) => {
                    let ids =
                        |ids: Json<'_>| Some(ids.elements().filter_map(id).collect::<Vec<_>>());
                    let further = Json::of(&answer.body).read("further", ids).unwrap_or_default();
                    let further = further.into_iter().filter(|_| !self.makes(Mistake::PartsLost));
                    Ok(Accepted {
                        provider_ids: [provider_id].into_iter().chain(further).collect(),
                        provider_time: answer.date().filter(|_| !self.makes(Mistake::ClockNotTold)),
                    })
                }
                None => error(ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown),
            },
            404 => error(ErrorKind::InvalidRecipient, Fault::Recipient, Retry::Permanent),
            429 if self.makes(Mistake::ThrottledForGood) => {
                error(ErrorKind::Throttled, Fault::Account, Retry::Permanent)
            }
            429 if self.makes(Mistake::RetryAfterDropped) => {
                error(ErrorKind::Throttled, Fault::Account, Retry::Temporary { after: None })
            }
            429 => {
                let after = answer.retry_after;
                error(ErrorKind::Throttled, Fault::Account, Retry::Temporary { after })
            }
            300..=499 if self.makes(Mistake::BodyLeaked) => Err(AdapterError::new(
                ErrorKind::InvalidRequest,
                Fault::Account,
                Retry::Permanent,
                String::from_utf8_lossy(&answer.body).into_owned(),
            )),
            300..=499 => error(ErrorKind::InvalidRequest, Fault::Account, Retry::Permanent),
            _ if self.makes(Mistake::FailureRetried) => {
                error(ErrorKind::ProviderFailure, Fault::Provider, Retry::Temporary { after: None })
            }
            _ => error(ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown),
        }
    }

    /// What one item of a webhook tells.
    fn receipt(&self, item: Json<'_>) -> Option<Receipt> {
        let report = |status: Json<'_>| match &*status.text()? {
            "delivered" => Some(Report::Reached(Status::Delivered)),
            "failed" => Some(Report::Failed(Failure::Undeliverable)),
            _ => None,
        };
        let id = |id: Json<'_>| id.text().filter(|id| !id.is_empty()).map(|id| id.into_owned());
        let attempt = item.read("ref", |text| text.text()?.parse().ok());
        Some(Receipt {
            attempt: attempt.filter(|_| !self.makes(Mistake::EchoNotRead)),
            provider_id: Some(item.read("id", id)?),
            report: item.read("status", report)?,
            provider_time: None,
            code: None,
            detail: None,
            usage: None,
        })
    }
}

#[async_trait]
impl ChannelAdapter for Push {
    fn name(&self) -> &str {
        "push-sms"
    }

    fn provider(&self) -> &str {
        "push"
    }

    fn channel(&self) -> &Channel {
        &CHANNEL
    }

    fn capabilities(&self) -> &Capabilities {
        &self.can
    }

    fn check(&self, message: &Message, _now: UnixMillis) -> Vec<Violation> {
        if self.makes(Mistake::NothingChecked) {
            return Vec::new();
        }
        let mut found = check(&self.can, message);
        // Stricter than the form: allowed.
        if !message.to.value().starts_with('U') {
            let problem = match self.makes(Mistake::AddressShown) {
                true => format!("{} is no user id", message.to.value()),
                false => "must be a user id, U and what follows".to_owned(),
            };
            found.push(Violation::new(Field::To, problem));
        }
        if let Content::Text(text) = &message.content
            && self.makes(Mistake::LimitInBytes)
            && text.len() > self.can.limits.text_chars as usize
        {
            found.push(Violation::new(Field::Within("text"), "must be shorter"));
        }
        found
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        let mut body = json!({
            "channel": if self.makes(Mistake::WrongChannel) { "mms" } else { "sms" },
            "to": message.to.value(), "ref": context.attempt.to_string(),
        });
        match &message.content {
            Content::Text(text) => body["text"] = text.as_str().into(),
            Content::Image(image) => body["image"] = image.url.as_str().into(),
            other => panic!("{:?} is not declared", other.kind()),
        }
        for (mistake, field) in [
            (Mistake::RecipientLeftOut, "to"),
            (Mistake::TextLeftOut, "text"),
            (Mistake::EchoLeftOut, "ref"),
        ] {
            if self.makes(mistake) {
                body[field] = "".into();
            }
        }
        let key = match self.mistake {
            Some(Mistake::KeyLeftOut) => String::new(),
            Some(Mistake::KeyAtRandom) => format!("{:?}", std::time::Instant::now()),
            Some(Mistake::KeyForAll) => "push".to_owned(),
            _ => keys::uuid(context.attempt).to_string(),
        };
        let url = context.account.setting("base_url").unwrap_or_default();
        if let Content::Image(image) = &message.content
            && self.makes(Mistake::ImageAsTextToo)
        {
            body["text"] = image.url.as_str().into();
        }
        if self.makes(Mistake::SentTwice) {
            let body = body.to_string().into_bytes();
            let _ = self.client.call(HttpRequest { body, ..HttpRequest::json(url, context) }).await;
        }
        let mut call = HttpRequest {
            headers: &[("x-retry-key", &key)],
            body: body.to_string().into_bytes(),
            ..HttpRequest::json(url, context)
        };
        if self.makes(Mistake::RedirectFollowed) {
            return followed(url, call.body, context.timeout).await;
        }
        if self.makes(Mistake::TimeoutIgnored) {
            call.timeout = Duration::from_secs(60);
        }
        match self.client.call(call).await {
            Ok(answer) => self.decode(&answer),
            Err(error)
                if self.makes(Mistake::TimeoutRetried) && error.kind == ErrorKind::Timeout
                    || self.makes(Mistake::CutRetried) && error.kind != ErrorKind::Timeout =>
            {
                Err(AdapterError { retry: Retry::Temporary { after: None }, ..error })
            }
            Err(error) => Err(error),
        }
    }

    async fn recall(
        &self,
        context: &SendContext<'_>,
        provider_id: &str,
    ) -> Result<Recall, AdapterError> {
        let error =
            |retry| AdapterError::new(ErrorKind::InvalidRequest, Fault::Content, retry, "no");
        if !self.can.recall && !self.makes(Mistake::RecallUndeclared) {
            return Err(error(Retry::Permanent));
        }
        let url = context.account.setting("base_url").unwrap_or_default();
        let named = if self.makes(Mistake::RecallOfNobody) { "" } else { provider_id };
        let url = format!("{url}/{named}");
        let call = HttpRequest { method: Method::DELETE, ..HttpRequest::json(&url, context) };
        match self.client.call(call).await?.status {
            _ if self.makes(Mistake::RecallOfAnything) => Ok(Recall::Recalled),
            200..=299 => Ok(Recall::Recalled),
            409 if self.makes(Mistake::RecallAlways) => Ok(Recall::Recalled),
            409 => Ok(Recall::TooLate(Some(Status::Delivered))),
            _ => Err(error(Retry::Unknown)),
        }
    }
}

/// As a client does that nobody told not to.
#[expect(clippy::disallowed_methods, reason = "it is what must not be used")]
async fn followed(url: &str, body: Vec<u8>, timeout: Duration) -> Result<Accepted, AdapterError> {
    let sent = reqwest::Client::new().post(url).body(body).timeout(timeout).send().await;
    match sent.is_ok_and(|answer| answer.status().is_success()) {
        true => Ok(Accepted::under("followed")),
        false => Err(AdapterError::new(
            ErrorKind::ProviderFailure,
            Fault::Provider,
            Retry::Unknown,
            "no answer",
        )),
    }
}

impl Provider for Push {
    fn name(&self) -> &str {
        "push"
    }

    fn settings(&self) -> SettingsForm {
        SettingsForm(&[])
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        Vec::new()
    }

    fn webhook(
        &self,
        request: &WebhookRequest<'_>,
        account: &Account,
        _now: UnixMillis,
    ) -> WebhookOutcome {
        let signature = request.header("x-signature").unwrap_or_default();
        let is_genuine = account
            .secret("signing")
            .is_some_and(|secret| self.is_equal(signature, &signed(secret, request.body)));
        let is_believed = self.makes(Mistake::AnySignature) && !signature.is_empty();
        if !is_genuine && !is_believed {
            return WebhookOutcome::forged();
        }
        if self.makes(Mistake::PanicOnJunk) {
            let read = serde_json::from_slice::<serde_json::Value>(request.body);
            assert!(read.is_ok(), "JSON");
        }
        let items = Json::items(request.body).map(|item| self.receipt(item));
        let told: Vec<_> = items.collect();
        if self.makes(Mistake::BadItemLosesOthers) && told.iter().any(Option::is_none) {
            return WebhookOutcome::not_understood();
        }
        let told: Vec<_> = told.into_iter().flatten().map(Inbound::Receipt).collect();
        match told.is_empty() {
            true => WebhookOutcome::not_understood(),
            false => WebhookOutcome::understood(told),
        }
    }
}

pub(crate) fn signed(secret: &str, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body);
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) const SIGNING: &str = "a secret to sign with";

impl ConformanceSubject for Push {
    fn adapter(&self) -> &dyn ChannelAdapter {
        self
    }

    fn provider(&self) -> &dyn Provider {
        self
    }

    fn account(&self, base_url: &str) -> Account {
        Account {
            name: "main".to_owned(),
            revision: 1,
            settings: [("base_url".to_owned(), base_url.to_owned())].into(),
            secrets: [("signing".to_owned(), Secret::new(SIGNING))].into(),
        }
    }

    fn sample(&self, kind: ContentKind) -> Option<Message> {
        let content = match kind {
            ContentKind::Text => Content::Text("a text that nobody may see".to_owned()),
            ContentKind::Image => {
                let url = "https://example.com/a.png".to_owned();
                Content::Image(Media { url, caption: None })
            }
            _ => return None,
        };
        Some(Message {
            channel: CHANNEL,
            from: Endpoint::Id("Uofficial".to_owned()),
            to: Endpoint::Id("Uperson".to_owned()),
            content,
            options: Options::default(),
        })
    }

    fn webhooks(&self, told: &ExpectedReport) -> Vec<SampleWebhook> {
        let status = match told.report {
            Report::Reached(Status::Delivered) if !self.makes(Mistake::StatusNeverTold) => {
                "delivered"
            }
            Report::Failed(Failure::Undeliverable) => "failed",
            Report::Reached(_) | Report::Failed(Failure::Rejected) => return Vec::new(),
        };
        if !self.can.tells(Status::Delivered) {
            return Vec::new();
        }
        let attempt = told.attempt.to_string();
        let body = json!({ "id": told.provider_id, "status": status, "ref": attempt });
        vec![SampleWebhook::json(body)]
    }

    fn sign(&self, webhook: &mut SampleWebhook) {
        let signature = signed(SIGNING, &webhook.body).into_bytes();
        webhook.headers.push(("x-signature".to_owned(), signature));
    }

    fn accepted(&self, provider_id: &str) -> StubAnswer {
        StubAnswer::new(200, json!({ "id": provider_id }).to_string())
    }

    fn accepted_in_parts(&self, provider_ids: &[&str]) -> Option<StubAnswer> {
        let (first, further) = provider_ids.split_first()?;
        Some(StubAnswer::new(200, json!({ "id": first, "further": further }).to_string()))
    }

    fn duplicate(&self, provider_id: &str) -> Option<StubAnswer> {
        Some(StubAnswer::new(409, json!({ "id": provider_id }).to_string()))
    }

    fn idempotency_key(&self, request: &str) -> Option<String> {
        let mut lines = request.lines();
        lines.find_map(|line| line.strip_prefix("x-retry-key: ")).map(str::to_owned)
    }

    fn understood(&self, request: &str) -> Option<UnderstoodRequest> {
        let (_, body) = request.split_once("\r\n\r\n")?;
        let channel = Json::of(body.as_bytes()).read("channel", |it| it.text()?.parse().ok());
        let has = |kind: &ContentKind| {
            Json::of(body.as_bytes()).read(kind.as_str(), |it| it.text().map(|_| ())).is_some()
        };
        let content = ContentKind::ALL.into_iter().filter(has).collect();
        Some(UnderstoodRequest { channel, content })
    }

    fn recalls(&self) -> Vec<RecallSample> {
        let late = Recall::TooLate(Some(Status::Delivered));
        [(StubAnswer::new(204, ""), Recall::Recalled), (StubAnswer::new(409, "{}"), late)]
            .map(|(answer, recall)| RecallSample { answer, recall })
            .into()
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        vec![RefusalSample {
            answer: StubAnswer::new(404, "{}"),
            kind: ErrorKind::InvalidRecipient,
            fault: Fault::Recipient,
            retry: Retry::Permanent,
        }]
    }
}
