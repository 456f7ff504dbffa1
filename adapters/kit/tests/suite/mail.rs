//! A provider that speaks no HTTP: a line protocol over TCP, as SMTP is one, without receipts and without a
//! word for repeats.
//!
//! ```text
//! < 220 ready
//! > TO <recipient>
//! > TEXT <text>
//! < 250 <id>, or a refusal: 450, 535, 550
//! ```

use std::{
    io::{self, BufRead, BufReader, Write},
    net,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, Account, AdapterError, AddressForm, Capabilities, Channel, ChannelAdapter, Content,
    ContentKind, Correlation, Endpoint, ErrorKind, Fault, Limits, Message, Options, OptionsForm,
    Provider, Retry, SendContext, SettingsForm, Status,
};
use dispatch_kit::conformance::{
    Behaviour, ConformanceSubject, PlayedProvider, RefusalSample, Stub, StubAnswer,
    stub::StubProtocol,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as Lines},
    net::TcpStream,
    time::timeout,
};

use crate::Mistake;

static MAIL: Channel = Channel::named("mail");

const PROTOCOL: StubProtocol = StubProtocol { read, rendered };

fn read(stream: &mut net::TcpStream) -> io::Result<String> {
    stream.write_all(b"220 ready\r\n")?;
    let mut lines = BufReader::new(stream);
    let mut request = String::new();
    while !request.contains("TEXT ") {
        if lines.read_line(&mut request)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(request)
}

fn rendered(answer: &StubAnswer) -> Vec<u8> {
    format!("{} {}\r\n", answer.status, answer.body.replace('\n', " ")).into_bytes()
}

/// What sends mail.
pub(crate) struct Mail {
    can: Capabilities,
    mistake: Option<Mistake>,
}

impl Mail {
    pub(crate) fn honest() -> Mail {
        let can = Capabilities {
            condition_statuses: vec![Status::Submitted],
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
        Mail { can, mistake: None }
    }

    pub(crate) fn with(mistake: Mistake) -> Mail {
        Mail { mistake: Some(mistake), ..Mail::honest() }
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    async fn call(&self, address: &str, message: &Message) -> Result<Accepted, AdapterError> {
        let stream = TcpStream::connect(address).await.map_err(|_| unsent())?;
        let mut lines = Lines::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line).await.map_err(|_| unsent())?;
        let Content::Text(text) = &message.content else { panic!("only text is declared") };
        let request = format!("TO {}\r\nTEXT {text}\r\n", message.to.value());
        let cut = || match self.makes(Mistake::CutRetried) {
            true => unsent(),
            false => unknown(ErrorKind::ProviderFailure),
        };
        lines.write_all(request.as_bytes()).await.map_err(|_| cut())?;
        line.clear();
        if self.makes(Mistake::TimeoutForEachByte) {
            while !line.ends_with('\n') {
                let byte = timeout(Duration::from_millis(300), lines.read_u8()).await;
                let byte = byte.map_err(|_| unknown(ErrorKind::Timeout))?.map_err(|_| cut())?;
                line.push(char::from(byte));
            }
            return self.decode(&line);
        }
        let length = lines.read_line(&mut line).await.map_err(|_| cut())?;
        if length == 0 {
            return Err(cut());
        }
        self.decode(&line)
    }

    fn decode(&self, line: &str) -> Result<Accepted, AdapterError> {
        let error = |kind, fault, retry| {
            let detail = if self.makes(Mistake::BodyLeaked) { line } else { "refused" };
            Err(AdapterError::new(kind, fault, retry, detail))
        };
        let temporary = Retry::Temporary { after: None };
        match line.trim().split_once(' ') {
            Some(("250", id)) => Ok(Accepted::under(id)),
            Some(("450", _)) => error(ErrorKind::Throttled, Fault::Provider, temporary),
            Some(("535", _)) => error(ErrorKind::Unauthorized, Fault::Account, Retry::Permanent),
            Some(("550", _)) => {
                error(ErrorKind::InvalidRecipient, Fault::Recipient, Retry::Permanent)
            }
            _ => error(ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown),
        }
    }
}

fn unsent() -> AdapterError {
    let retry = Retry::Temporary { after: None };
    AdapterError::new(ErrorKind::Unreachable, Fault::Provider, retry, "nothing was sent")
}

fn unknown(kind: ErrorKind) -> AdapterError {
    AdapterError::new(kind, Fault::Provider, Retry::Unknown, "no answer")
}

#[async_trait]
impl ChannelAdapter for Mail {
    fn name(&self) -> &str {
        "mail"
    }

    fn provider(&self) -> &str {
        "mail"
    }

    fn channel(&self) -> &Channel {
        &MAIL
    }

    fn capabilities(&self) -> &Capabilities {
        &self.can
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        let address = context.account.setting("address").unwrap_or_default();
        let mut ends = context.timeout;
        if self.makes(Mistake::TimeoutIgnored) || self.makes(Mistake::TimeoutForEachByte) {
            ends = Duration::from_secs(60);
        }
        let sent = timeout(ends, self.call(address, message)).await;
        sent.unwrap_or_else(|_| Err(unknown(ErrorKind::Timeout)))
    }
}

impl Provider for Mail {
    fn name(&self) -> &str {
        "mail"
    }

    fn settings(&self) -> SettingsForm {
        SettingsForm(&[])
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        Vec::new()
    }
}

impl ConformanceSubject for Mail {
    fn adapter(&self) -> &dyn ChannelAdapter {
        self
    }

    fn provider(&self) -> &dyn Provider {
        self
    }

    fn account(&self, address: &str) -> Account {
        let address = address.trim_start_matches("http://").to_owned();
        Account {
            name: "main".to_owned(),
            revision: 1,
            settings: [("address".to_owned(), address)].into(),
            secrets: [].into(),
        }
    }

    fn play(&self, behaviour: Behaviour) -> io::Result<Box<dyn PlayedProvider>> {
        Ok(Box::new(Stub::speaking(PROTOCOL, behaviour)?))
    }

    fn speaks_http(&self) -> bool {
        false
    }

    fn sample(&self, kind: ContentKind) -> Option<Message> {
        (kind == ContentKind::Text).then(|| Message {
            channel: MAIL.clone(),
            from: Endpoint::Id("desk".to_owned()),
            to: Endpoint::Id("ann.of.anywhere".to_owned()),
            content: Content::Text("a text that nobody may see".to_owned()),
            options: Options::default(),
        })
    }

    fn accepted(&self, provider_id: &str) -> StubAnswer {
        StubAnswer::new(250, provider_id)
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        let refusal = |status, kind, fault, retry| RefusalSample {
            answer: StubAnswer::new(status, "no"),
            kind,
            fault,
            retry,
        };
        let temporary = Retry::Temporary { after: None };
        vec![
            refusal(450, ErrorKind::Throttled, Fault::Provider, temporary),
            refusal(535, ErrorKind::Unauthorized, Fault::Account, Retry::Permanent),
            refusal(550, ErrorKind::InvalidRecipient, Fault::Recipient, Retry::Permanent),
            refusal(554, ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown),
        ]
    }
}
