//! E-mail: a text with a subject, handed to a mail server by SMTP.
//!
//! Once a server took a mail nothing more is known of it here, so `submitted` is all that a rule can wait for;
//! what it cannot deliver comes back as mail to the sender. SMTP knows no repeats, so a mail whose end was not
//! answered is of unknown outcome. Its `Message-ID` is made of the attempt, so a mailbox may know a second one.
//! Each mail has a connection of its own.

use std::{
    error::Error as _,
    net::IpAddr,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, Account, AdapterError, AddressForm, Capabilities, Channel, ChannelAdapter, Content,
    ContentKind, Correlation, ErrorKind, Fault, Field, Limits, Message, OptionField, OptionRule,
    OptionsForm, Provider, Retry, SendContext, Setting, SettingRule, SettingsForm, Status,
    UnixMillis, Violation, check, is_printable,
};
use dispatch_kit::keys;
use lettre::{
    Address,
    message::{Mailbox, MessageBuilder, header::ContentType},
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::ClientId,
    },
};
use tokio::time::{Instant, timeout, timeout_at};

#[path = "subject.rs"]
mod subject;

pub use subject::subjects;

static EMAIL: Channel = Channel::named("email");
const SUBJECT: &str = "A message for you";
const PORT: &str = "587";

const FORM: SettingsForm = SettingsForm(&[
    Setting::plain("host", "the mail server").required().of(SettingRule::Custom {
        wanted: "a host's name or IP address, without a port",
        admits: is_host,
    }),
    Setting::plain("port", "where it listens").or(PORT).of(SettingRule::Custom {
        wanted: "a port, 1 to 65535",
        admits: |port| port.parse::<u16>().is_ok_and(|port| port > 0),
    }),
    Setting::plain("tls", "from the first byte, by STARTTLS, or on this machine none")
        .or("starttls")
        .of(SettingRule::OneOf(&["starttls", "tls", "none"])),
    Setting::plain("username", "whom the server knows us as"),
    Setting::secret("password", "what the server knows us by"),
    Setting::plain("from_name", "what stands before the sender's address").of(ONE_LINE),
    Setting::plain("subject", "the subject of a mail that has none").or(SUBJECT).of(ONE_LINE),
]);

const ONE_LINE: SettingRule =
    SettingRule::Custom { wanted: "one line of 1 to 200 characters", admits: is_line };

const OPTIONS: OptionsForm = OptionsForm(&[OptionField::new(
    "subject",
    "the subject; the account's if it is left out",
    OptionRule::Custom {
        wanted: "one line of 1 to 200 characters",
        admits: |value| value.as_str().is_some_and(is_line),
    },
)]);

/// E-mail, ready to be registered.
pub fn provider() -> impl Provider + 'static {
    Smtp(Arc::new(EmailAdapter::new()))
}

struct Smtp(Arc<EmailAdapter>);

impl Provider for Smtp {
    fn name(&self) -> &str {
        "smtp"
    }

    fn settings(&self) -> SettingsForm {
        FORM
    }

    fn check(&self, account: &Account) -> Vec<String> {
        let host = account.setting("host").unwrap_or_default();
        let is_near =
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
        let mut found = Vec::new();
        if account.setting("tls") == Some("none") && !is_near {
            found.push("setting tls may be none only where host is this machine".to_owned());
        }
        if account.setting("username").is_some() != account.secret("password").is_some() {
            found.push("setting username and secret password need each other".to_owned());
        }
        found
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        vec![Arc::clone(&self.0) as _]
    }
}

struct EmailAdapter {
    capabilities: Capabilities,
}

impl EmailAdapter {
    fn new() -> Self {
        let capabilities = Capabilities {
            condition_statuses: vec![Status::Submitted],
            content: vec![ContentKind::Text],
            captions: vec![],
            limits: Limits { text_chars: 100_000, caption_chars: 0, url_bytes: 0 },
            to: vec![AddressForm::Email],
            from: vec![AddressForm::Email],
            idempotent_for: None,
            correlation: Correlation::ProviderId,
            recall: false,
            parts: false,
            watermarks: false,
            ids_name_recipients: false,
            options: OPTIONS,
        };
        EmailAdapter { capabilities }
    }
}

#[async_trait]
impl ChannelAdapter for EmailAdapter {
    fn name(&self) -> &str {
        "smtp-email"
    }

    fn provider(&self) -> &str {
        "smtp"
    }

    fn channel(&self) -> &Channel {
        &EMAIL
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn check(&self, message: &Message, _now: UnixMillis) -> Vec<Violation> {
        let mut found = check(&self.capabilities, message);
        for (field, address) in [(Field::From, &message.from), (Field::To, &message.to)] {
            // Not every server takes others; a host has a form in ASCII.
            if !address.value().is_ascii() {
                found.push(Violation::new(field, "must be in ASCII: a host as in xn--…"));
            }
        }
        found
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        let until = Instant::now() + context.timeout;
        let mail = SealedMail::of(context, message)
            .ok_or_else(|| permanent(ErrorKind::InvalidRequest, Fault::Content, "it is no mail"))?;
        // Nothing of the mail has left until here: whatever it was, it was not sent.
        let offered = timeout_at(until, offer(context.account, &mail)).await;
        let mut connection = offered.unwrap_or_else(|_| Err(not_reached()))?;
        match timeout_at(until, connection.message(&mail.text)).await {
            Ok(Ok(_)) => {
                // It is taken, whatever becomes of a good-bye.
                let _ = timeout(Duration::from_secs(1), connection.quit()).await;
                Ok(Accepted::under(mail.id))
            }
            Ok(Err(error)) => Err(refused(Said::Text, &error)),
            Err(_) => Err(not_answered()),
        }
    }
}

/// A mail as it goes out.
struct SealedMail {
    id: String,
    from: Address,
    to: Address,
    text: Vec<u8>,
}

impl SealedMail {
    /// `None` if it holds what [`ChannelAdapter::check`] refuses.
    fn of(context: &SendContext<'_>, message: &Message) -> Option<SealedMail> {
        let Content::Text(text) = &message.content else { return None };
        let from: Address = message.from.value().parse().ok()?;
        let to: Address = message.to.value().parse().ok()?;
        let id = format!("{}@{}", keys::uuid(context.attempt), from.domain());
        let options = message.options.to_document();
        let subject = options.get("subject").and_then(|subject| subject.as_str());
        let of_account = |name| context.account.setting(name);
        let mail = MessageBuilder::new()
            .date(UNIX_EPOCH + Duration::from_millis(context.now.0))
            .message_id(Some(format!("<{id}>")))
            .from(Mailbox::new(of_account("from_name").map(str::to_owned), from.clone()))
            .to(Mailbox::new(None, to.clone()))
            .subject(subject.or(of_account("subject")).unwrap_or(SUBJECT))
            .header(ContentType::TEXT_PLAIN)
            .body(text.clone())
            .ok()?;
        Some(SealedMail { id, from, to, text: mail.formatted() })
    }
}

/// Goes as far as the server's word that it will take the text.
async fn offer(account: &Account, mail: &SealedMail) -> Result<AsyncSmtpConnection, AdapterError> {
    let of = |said| move |error| refused(said, &error);
    let greeted = of(Said::Greeting);
    let host = account.setting("host").unwrap_or_default();
    let port = account.setting("port").unwrap_or(PORT).parse().unwrap_or_default();
    let server: (&str, u16) = (host, port);
    let mode = account.setting("tls").unwrap_or("starttls");
    let tls = || TlsParameters::new_rustls(host.to_owned());
    let from_the_first_byte = (mode == "tls").then(tls).transpose().map_err(greeted)?;
    let us = ClientId::default();
    let mut connection =
        AsyncSmtpConnection::connect_tokio1(server, None, &us, from_the_first_byte, None)
            .await
            .map_err(greeted)?;
    if mode == "starttls" {
        connection.starttls(tls().map_err(greeted)?, &us).await.map_err(greeted)?;
    }
    if let Some((name, password)) = account.setting("username").zip(account.secret("password")) {
        let login = Credentials::new(name.to_owned(), password.to_owned());
        let ways = [Mechanism::Plain, Mechanism::Login];
        connection.auth(&ways, &login).await.map_err(of(Said::Login))?;
    }
    let sender = Mail::new(Some(mail.from.clone()), vec![]);
    connection.command(sender).await.map_err(of(Said::Sender))?;
    let recipient = Rcpt::new(mail.to.clone(), vec![]);
    connection.command(recipient).await.map_err(of(Said::Recipient))?;
    connection.command(Data).await.map_err(of(Said::Recipient))?;
    Ok(connection)
}

/// What the server was told last.
#[derive(Clone, Copy, PartialEq)]
enum Said {
    Greeting,
    Login,
    Sender,
    Recipient,
    Text,
}

/// Every answer of a mail server's, and what it means: the reply code (RFC 5321), and where there is one the
/// enhanced code (RFC 3463), which is all that is read of its text.
fn refused(said: Said, error: &lettre::transport::smtp::Error) -> AdapterError {
    let Some(code) = error.status() else {
        return match said {
            Said::Text => not_answered(),
            _ if error.is_client() => permanent(
                ErrorKind::Unauthorized,
                Fault::Account,
                "the server offers no STARTTLS, or no way to log in that is known here",
            ),
            _ => not_reached(),
        };
    };
    let text = error.source().map(ToString::to_string).unwrap_or_default();
    let enhanced = text.split_whitespace().next().and_then(subject_and_detail);
    let code = u16::from(code);
    let answer = match (code, enhanced) {
        (400..=499, enhanced) => postponed(said, enhanced),
        (530 | 534 | 535 | 538, _) => {
            permanent(ErrorKind::Unauthorized, Fault::Account, "the login is not taken")
        }
        (_, Some((1, 7 | 8))) => {
            permanent(ErrorKind::Forbidden, Fault::Account, "the sender's address is not taken")
        }
        (_, Some((1, _))) => no_such_mailbox(),
        (_, Some((2, 1 | 2))) => permanent(
            ErrorKind::Unreached,
            Fault::Recipient,
            "the mailbox is full, or takes nothing",
        ),
        (552, _) | (_, Some((2, 3) | (3, 4) | (6, _))) => not_this_text(),
        // A policy: of the text, if that is what it heard last.
        (_, Some((7, _))) if said != Said::Text => {
            permanent(ErrorKind::Forbidden, Fault::Account, "the server's policy refuses it")
        }
        (_, _) => match said {
            Said::Greeting | Said::Login | Said::Sender => {
                permanent(ErrorKind::Forbidden, Fault::Account, "the server takes no mail from us")
            }
            Said::Recipient => no_such_mailbox(),
            Said::Text => not_this_text(),
        },
    };
    answer.with_code(match enhanced {
        Some((subject, detail)) => format!("{code} {}.{subject}.{detail}", code / 100),
        None => code.to_string(),
    })
}

/// 4xx: the server says itself that it did not take the mail, and that it might.
fn postponed(said: Said, enhanced: Option<(u16, u16)>) -> AdapterError {
    let (kind, fault, detail) = match enhanced {
        Some((7, _)) => (ErrorKind::Throttled, Fault::Account, "the server takes it later"),
        Some((2, _)) => (ErrorKind::Unreached, Fault::Recipient, "the mailbox takes nothing now"),
        _ if said == Said::Login => {
            (ErrorKind::ProviderFailure, Fault::Provider, "the server cannot see to logins now")
        }
        _ => (ErrorKind::ProviderFailure, Fault::Provider, "the server cannot take it now"),
    };
    AdapterError::new(kind, fault, Retry::Temporary { after: None }, detail)
}

fn no_such_mailbox() -> AdapterError {
    permanent(ErrorKind::InvalidRecipient, Fault::Recipient, "there is no such mailbox")
}

fn not_this_text() -> AdapterError {
    permanent(ErrorKind::ContentRejected, Fault::Content, "the server does not take this text")
}

fn not_reached() -> AdapterError {
    let retry = Retry::Temporary { after: None };
    let detail = "the mail server could not be reached, or hung up before it had the mail";
    AdapterError::new(ErrorKind::Unreachable, Fault::Provider, retry, detail)
}

fn not_answered() -> AdapterError {
    let detail = "the server had the mail, and did not say whether it took it";
    AdapterError::new(ErrorKind::Timeout, Fault::Provider, Retry::Unknown, detail)
}

fn permanent(kind: ErrorKind, fault: Fault, detail: &str) -> AdapterError {
    AdapterError::new(kind, fault, Retry::Permanent, detail)
}

/// `5.1.1` is (1, 1).
fn subject_and_detail(code: &str) -> Option<(u16, u16)> {
    let mut parts = code.splitn(3, '.');
    let _class = parts.next().filter(|class| matches!(*class, "4" | "5"))?;
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn is_line(text: &str) -> bool {
    (1..=200).contains(&text.chars().count()) && is_printable(text)
}

fn is_host(host: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.chars().all(is_name))
}
