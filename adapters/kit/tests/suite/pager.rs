//! A provider in the process, without a connection that could be cut and without webhooks: it tells what became of
//! a message to whoever listens.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, Account, AdapterError, AddressForm, Capabilities, Channel, ChannelAdapter, Clock,
    Content, ContentKind, Correlation, Endpoint, ErrorKind, Failure, Fault, Inbound, InboundSink,
    Limits, Message, Options, OptionsForm, Provider, ProviderAccounts, Receipt, Report, Retry,
    SendContext, SettingsForm, Shutdown, Status,
};
use dispatch_kit::conformance::{
    Behaviour, ConformanceSubject, PlayedProvider, RefusalSample, SignedPart, StubAnswer,
};
use tokio::sync::Notify;

use crate::Mistake;

static PAGE: Channel = Channel::named("page");

/// What pages.
pub(crate) struct Pager {
    can: Capabilities,
    mistake: Option<Mistake>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// What is answered, and reported of what is taken.
    answer: Mutex<String>,
    report: Mutex<Option<Report>>,
    requests: Mutex<Vec<String>>,
    receipts: Mutex<Vec<Receipt>>,
    is_told: Notify,
}

impl Pager {
    pub(crate) fn honest() -> Pager {
        let can = Capabilities {
            condition_statuses: vec![Status::Submitted, Status::Delivered],
            content: vec![ContentKind::Text],
            captions: vec![],
            limits: Limits { text_chars: 100, caption_chars: 0, url_bytes: 0 },
            to: vec![AddressForm::Id],
            from: vec![AddressForm::Id],
            idempotent_for: None,
            correlation: Correlation::ProviderId,
            recall: false,
            parts: false,
            watermarks: false,
            ids_name_recipients: false,
            options: OptionsForm::NONE,
        };
        Pager { can, mistake: None, state: Arc::default() }
    }

    pub(crate) fn with(mistake: Mistake) -> Pager {
        Pager { mistake: Some(mistake), ..Pager::honest() }
    }

    /// It declares what it does not tell.
    pub(crate) fn reading() -> Pager {
        let mut pager = Pager::honest();
        pager.can.condition_statuses.push(Status::Read);
        pager
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn playing(&self, answer: &str, report: Option<Report>) -> Box<dyn PlayedProvider> {
        answer.clone_into(&mut lock(&self.state.answer));
        *lock(&self.state.report) = report;
        lock(&self.state.requests).clear();
        Box::new(PlayedPager(Arc::clone(&self.state)))
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

struct PlayedPager(Arc<State>);

impl PlayedProvider for PlayedPager {
    fn address(&self) -> String {
        String::new()
    }

    fn requests(&self) -> Vec<String> {
        lock(&self.0.requests).clone()
    }

    fn given_id(&self) -> Option<String> {
        Some("page 1".to_owned())
    }
}

#[async_trait]
impl ChannelAdapter for Pager {
    fn name(&self) -> &str {
        "pager"
    }

    fn provider(&self) -> &str {
        "pager"
    }

    fn channel(&self) -> &Channel {
        &PAGE
    }

    fn capabilities(&self) -> &Capabilities {
        &self.can
    }

    async fn send(&self, _: &SendContext<'_>, message: &Message) -> Result<Accepted, AdapterError> {
        lock(&self.state.requests).push(format!("page {}", message.to.value()));
        match lock(&self.state.answer).as_str() {
            "taken" => {}
            "silent" => {
                let retry = Retry::Unknown;
                return Err(AdapterError::new(
                    ErrorKind::Timeout,
                    Fault::Provider,
                    retry,
                    "silent",
                ));
            }
            _ => {
                let (kind, fault) = (ErrorKind::InvalidRecipient, Fault::Recipient);
                return Err(AdapterError::new(kind, fault, Retry::Permanent, "no such pager"));
            }
        }
        let id = if self.makes(Mistake::IdMadeUp) { "page 2" } else { "page 1" };
        if let Some(report) = *lock(&self.state.report) {
            lock(&self.state.receipts).push(Receipt {
                attempt: None,
                provider_id: Some("page 1".to_owned()),
                report,
                provider_time: None,
                code: None,
                detail: None,
                usage: None,
            });
            self.state.is_told.notify_one();
        }
        Ok(Accepted::under(id))
    }
}

#[async_trait]
impl Provider for Pager {
    fn name(&self) -> &str {
        "pager"
    }

    fn settings(&self) -> SettingsForm {
        SettingsForm(&[])
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        Vec::new()
    }

    async fn run(
        &self,
        accounts: Arc<dyn ProviderAccounts>,
        sink: Arc<dyn InboundSink>,
        _: Arc<dyn Clock>,
        _: Shutdown,
    ) {
        if self.makes(Mistake::HeardNever) {
            return;
        }
        loop {
            self.state.is_told.notified().await;
            let mut told = std::mem::take(&mut *lock(&self.state.receipts));
            if self.makes(Mistake::HeardTwice) {
                told.extend(told.clone());
            }
            if self.makes(Mistake::HeardAsDelivered) {
                told.iter_mut().for_each(|it| it.report = Report::Reached(Status::Delivered));
            }
            let is_other = self.makes(Mistake::HeardForAnother);
            let ours = accounts.now().remove(0);
            let account = if is_other { "another" } else { &ours.name };
            let told = told.into_iter().map(Inbound::Receipt).collect();
            if sink.deliver(account, told).await.is_err() {
                return;
            }
        }
    }
}

impl ConformanceSubject for Pager {
    fn adapter(&self) -> &dyn ChannelAdapter {
        self
    }

    fn provider(&self) -> &dyn Provider {
        self
    }

    fn account(&self, _: &str) -> Account {
        Account { name: "main".to_owned(), revision: 1, settings: [].into(), secrets: [].into() }
    }

    fn play(&self, behaviour: Behaviour) -> io::Result<Box<dyn PlayedProvider>> {
        match behaviour {
            Behaviour::Answer(answer) => Ok(self.playing(&answer.body, None)),
            Behaviour::Hang => Ok(self.playing("silent", None)),
            Behaviour::Trickle(_) | Behaviour::HangUp | Behaviour::Absent => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "there is no connection"))
            }
        }
    }

    fn play_report(&self, report: Report) -> Option<io::Result<Box<dyn PlayedProvider>>> {
        let is_told = matches!(
            report,
            Report::Reached(Status::Delivered) | Report::Failed(Failure::Undeliverable)
        );
        is_told.then(|| Ok(self.playing("taken", Some(report))))
    }

    fn hidden_content(&self) -> Option<&'static str> {
        Some("nobody writes down what is said")
    }

    fn speaks_http(&self) -> bool {
        false
    }

    fn signed_part(&self) -> SignedPart {
        SignedPart::Nothing
    }

    fn sample(&self, kind: ContentKind) -> Option<Message> {
        (kind == ContentKind::Text).then(|| Message {
            channel: PAGE.clone(),
            from: Endpoint::Id("desk".to_owned()),
            to: Endpoint::Id("ann.of.anywhere".to_owned()),
            content: Content::Text("come down".to_owned()),
            options: Options::default(),
        })
    }

    fn accepted(&self, _: &str) -> StubAnswer {
        StubAnswer::new(1, "taken")
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        vec![RefusalSample {
            answer: StubAnswer::new(2, "nobody"),
            kind: ErrorKind::InvalidRecipient,
            fault: Fault::Recipient,
            retry: Retry::Permanent,
        }]
    }
}
