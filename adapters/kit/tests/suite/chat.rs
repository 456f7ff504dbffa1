//! A chat provider: its webhooks are forms, signed with their URL and a time; it makes sure of a URL by a
//! handshake; and it tells what people write. It sends as [`Push`] does.

use std::{sync::Arc, time::Duration};

use dispatch_contract::{
    Account, Channel, ChannelAdapter, ChannelSender, Content, ContentKind, Endpoint, Failure,
    Inbound, InboundMessage, Message, OptOut, Provider, Receipt, Report, Secret, SettingsForm,
    Status, UnixMillis, Watermark, WebhookOutcome, WebhookRequest,
};
use dispatch_kit::conformance::{
    ConformanceSubject, ExpectedReport, Handshake, NOW, RefusalSample, SampleWebhook, SignedPart,
    StubAnswer,
};

use crate::{
    Mistake,
    push::{Push, SIGNING, signed},
};

const TOKEN: &str = "a-token-to-verify";
const WINDOW_S: u64 = 300;

/// A chat provider.
pub(crate) struct Chat(pub(crate) Push);

impl Chat {
    pub(crate) fn honest() -> Chat {
        let mut push = Push::with_receipts();
        push.can.recall = false;
        push.can.condition_statuses.extend([Status::Read, Status::Replied]);
        push.can.watermarks = true;
        Chat(push)
    }

    pub(crate) fn with(mistake: Mistake) -> Chat {
        let mut chat = Chat::honest();
        chat.0.mistake = Some(mistake);
        chat
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.0.makes(mistake)
    }

    fn handshake(&self, request: &WebhookRequest<'_>, account: &Account) -> WebhookOutcome {
        let token = field(request.query, "token");
        let is_genuine = token.is_some() && token == account.secret("token");
        let Some(challenge) = field(request.query, "challenge") else {
            return WebhookOutcome::forged();
        };
        if !is_genuine && !self.makes(Mistake::HandshakeWithAnybody) {
            return WebhookOutcome::forged();
        }
        let answer = if self.makes(Mistake::HandshakeUnanswered) { "" } else { challenge };
        let body = answer.as_bytes().to_vec();
        WebhookOutcome { body, ..WebhookOutcome::understood(Vec::new()) }
    }

    /// What is signed: the time, the URL, the body.
    fn covered(&self, at: &str, url: &str, body: &[u8]) -> Vec<u8> {
        let url = if self.makes(Mistake::UrlNotSigned) { "" } else { url };
        [at.as_bytes(), url.as_bytes(), body].concat()
    }

    fn is_genuine(&self, request: &WebhookRequest<'_>, account: &Account, now: UnixMillis) -> bool {
        let header = request.header("x-signature").unwrap_or_default();
        let Some((at, signature)) = header.split_once(' ') else { return false };
        let Ok(at_s) = at.parse::<u64>() else { return false };
        let is_late = self.makes(Mistake::ReplayForTenYears);
        let window_s = if is_late { 10 * 365 * 86_400 } else { WINDOW_S };
        let covered = self.covered(at, request.url, request.body);
        now.0.saturating_sub(at_s * 1_000) <= window_s * 1_000
            && account.secret("signing").is_some_and(|it| signature == signed(it, &covered))
    }

    fn read(&self, body: &str) -> Option<Vec<Inbound>> {
        let text = |name| field(body, name).filter(|text| !text.is_empty()).map(str::to_owned);
        if text("typing").is_some() {
            return Some(Vec::new());
        }
        if let Some(said) = text("body") {
            let is_told = text("by")? == "person" || self.makes(Mistake::EchoTold);
            let message = self.message(&text, said);
            return Some(message.filter(|_| is_told).map(Inbound::Message).into_iter().collect());
        }
        // A receipt, told as what a person answers.
        let answered = || {
            let (sender, recipient) = (Some("us".to_owned()), Some("person".to_owned()));
            let (id, quoted) = (text("id"), text("id"));
            let fields = |name| match name {
                "id" => id.clone(),
                "answers" => quoted.clone(),
                "from" => recipient.clone(),
                _ => sender.clone(),
            };
            Some(vec![Inbound::Message(self.message(&fields, "Yes".to_owned())?)])
        };
        if let Some(until) = text("read_until") {
            return self.watermark(&until, text("from")?, text("to")?).map(|told| vec![told]);
        }
        if let Some(word) = text("says") {
            let sender = ChannelSender { channel: Channel::SMS, id: text("to")? };
            let person = if self.makes(Mistake::StopOfAnother) { "to" } else { "from" };
            let recipient = Endpoint::Id(text(person)?);
            let is_lifted = word == "start" || self.makes(Mistake::StopIsStart);
            return Some(vec![Inbound::OptOut(OptOut { sender, recipient, is_lifted })]);
        }
        let report = match &*text("status")? {
            "delivered" if self.makes(Mistake::MessageOfReceipt) => return answered(),
            "delivered" => Report::Reached(Status::Delivered),
            "failed" => Report::Failed(Failure::Undeliverable),
            _ if self.makes(Mistake::MessageOfJunk) => return answered(),
            _ => return None,
        };
        Some(vec![Inbound::Receipt(Receipt {
            attempt: text("ref").and_then(|text| text.parse().ok()),
            provider_id: Some(text("id")?),
            report,
            provider_time: None,
            code: None,
            detail: None,
            usage: None,
        })])
    }
}

impl Chat {
    /// What a person wrote.
    fn message(
        &self,
        text: &impl Fn(&'static str) -> Option<String>,
        said: String,
    ) -> Option<InboundMessage> {
        let is_made = |mistake| self.makes(mistake);
        let turned = is_made(Mistake::MessageTurnedRound);
        let (from, to) = if turned { ("to", "from") } else { ("from", "to") };
        let quoted = text("answers").filter(|_| !is_made(Mistake::QuoteDropped));
        let id = match self.0.mistake {
            Some(Mistake::MessageIdLeftOut) => String::new(),
            Some(Mistake::MessageIdForAll) => "in-1".to_owned(),
            _ => text("id")?,
        };
        let says = (!is_made(Mistake::MessageTextLost)).then_some(Content::Text(said));
        Some(InboundMessage {
            quoted_id: quoted.or_else(|| is_made(Mistake::QuoteMadeUp).then(|| id.clone())),
            id,
            from: Endpoint::Id(text(from)?),
            to: ChannelSender { channel: Channel::SMS, id: text(to)? },
            content: says.into_iter().collect(),
            quoted_attempt: None,
            provider_time: None,
        })
    }

    /// All that is told of what was read.
    fn watermark(&self, until_s: &str, from: String, to: String) -> Option<Inbound> {
        let until = UnixMillis(until_s.parse::<u64>().ok()?.checked_mul(1000)?);
        let id = if self.makes(Mistake::WatermarkOfOthers) { to.clone() } else { from };
        let sender = ChannelSender { channel: Channel::SMS, id };
        let recipient = Endpoint::Id(to);
        Some(Inbound::Watermark(Watermark { sender, recipient, status: Status::Read, until }))
    }
}

/// A field of a form of which nothing needs decoding.
fn field<'a>(form: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = form.split('&').filter_map(|field| field.split_once('='));
    fields.find_map(|(key, value)| (key == name).then_some(value))
}

impl Provider for Chat {
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
        now: UnixMillis,
    ) -> WebhookOutcome {
        if request.method == "GET" {
            return self.handshake(request, account);
        }
        if !self.is_genuine(request, account, now) {
            return WebhookOutcome::forged();
        }
        match self.read(&String::from_utf8_lossy(request.body)) {
            Some(told) => WebhookOutcome::understood(told),
            None => WebhookOutcome::not_understood(),
        }
    }
}

impl ConformanceSubject for Chat {
    fn adapter(&self) -> &dyn ChannelAdapter {
        &self.0
    }

    fn provider(&self) -> &dyn Provider {
        self
    }

    fn account(&self, base_url: &str) -> Account {
        let mut account = self.0.account(base_url);
        account.secrets.insert("token".to_owned(), Secret::new(TOKEN));
        account
    }

    fn sample(&self, kind: ContentKind) -> Option<Message> {
        self.0.sample(kind)
    }

    fn webhooks(&self, told: &ExpectedReport) -> Vec<SampleWebhook> {
        let ExpectedReport { attempt, provider_id: id, report } = told;
        let status = match report {
            Report::Reached(Status::Delivered) => "delivered",
            Report::Failed(Failure::Undeliverable) => "failed",
            Report::Reached(_) | Report::Failed(Failure::Rejected) => return Vec::new(),
        };
        vec![SampleWebhook::form(format!("id={id}&status={status}&ref={attempt}"))]
    }

    fn watermarks(&self, told: &Watermark) -> Vec<SampleWebhook> {
        if told.status != Status::Read || self.makes(Mistake::WatermarkNeverTold) {
            return Vec::new();
        }
        let (until, from, to) = (told.until.0 / 1000, &told.sender.id, told.recipient.value());
        vec![SampleWebhook::form(format!("read_until={until}&from={from}&to={to}"))]
    }

    fn opt_outs(&self, told: &OptOut) -> Vec<SampleWebhook> {
        let word = if told.is_lifted { "start" } else { "stop" };
        let (from, to) = (told.recipient.value(), &told.sender.id);
        vec![SampleWebhook::form(format!("says={word}&from={from}&to={to}"))]
    }

    fn inbound_messages(&self, told: &InboundMessage) -> Vec<SampleWebhook> {
        let (from, to, id) = (told.from.value(), &told.to.id, &told.id);
        let [Content::Text(text)] = told.content.as_slice() else { return Vec::new() };
        let quoted = told.quoted_id.as_deref().unwrap_or_default();
        let form = format!("by=person&id={id}&from={from}&to={to}&answers={quoted}&body={text}");
        vec![SampleWebhook::form(form)]
    }

    fn unrelated(&self) -> Vec<SampleWebhook> {
        ["typing=1&from=person&to=us", "by=us&id=in-2&from=us&to=person&body=Hello"]
            .map(SampleWebhook::form)
            .into()
    }

    fn handshakes(&self) -> Vec<Handshake> {
        let webhook = SampleWebhook::get(&format!("token={TOKEN}&challenge=1158201444"));
        vec![Handshake { webhook, answer: b"1158201444".to_vec() }]
    }

    fn sign(&self, webhook: &mut SampleWebhook) {
        let at = (NOW.0 / 1_000).to_string();
        let signature = signed(SIGNING, &self.covered(&at, &webhook.url, &webhook.body));
        let header = format!("{at} {signature}").into_bytes();
        webhook.headers.push(("x-signature".to_owned(), header));
    }

    fn signed_part(&self) -> SignedPart {
        SignedPart::UrlAndBody
    }

    fn replay_window(&self) -> Option<Duration> {
        Some(Duration::from_secs(WINDOW_S))
    }

    fn accepted(&self, provider_id: &str) -> StubAnswer {
        self.0.accepted(provider_id)
    }

    fn accepted_in_parts(&self, provider_ids: &[&str]) -> Option<StubAnswer> {
        self.0.accepted_in_parts(provider_ids)
    }

    fn duplicate(&self, provider_id: &str) -> Option<StubAnswer> {
        self.0.duplicate(provider_id)
    }

    fn idempotency_key(&self, request: &str) -> Option<String> {
        self.0.idempotency_key(request)
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        self.0.refusals()
    }
}
