//! What the conformance suite has to know about mail servers. Each answer says after what it comes: the last
//! thing that the server heard.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    sync::Arc,
};

use dispatch_contract::{
    Account, ChannelAdapter, Content, ContentKind, Endpoint, ErrorKind, Fault, Message, Options,
    Provider, Retry, Secret,
};
use dispatch_kit::conformance::{
    Behaviour, ConformanceSubject, PlayedProvider, RefusalSample, Stub, StubAnswer,
    stub::StubProtocol,
};

use super::{EMAIL, EmailAdapter, Smtp};

/// After what an answer comes; the text where nothing is said.
const AFTER: &str = "after";

/// What the conformance suite has to know about e-mail.
pub fn subjects() -> Vec<Box<dyn ConformanceSubject>> {
    vec![Box::new(EmailSubject(Smtp(Arc::new(EmailAdapter::new()))))]
}

struct EmailSubject(Smtp);

/// A mail server; what a mail is called is ours to say, and stands in it.
struct MailServer(Stub);

impl PlayedProvider for MailServer {
    fn address(&self) -> String {
        self.0.address()
    }

    fn requests(&self) -> Vec<String> {
        self.0.requests()
    }

    fn given_id(&self) -> Option<String> {
        let named =
            |line: &str| Some(line.strip_prefix("Message-ID: <")?.strip_suffix('>')?.to_owned());
        self.0.request()?.lines().find_map(named)
    }
}

/// A session as far as that command, or the end of the text.
fn session(stream: &mut TcpStream, until: &str) -> io::Result<String> {
    let mut answers = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    let mut heard = String::new();
    let mut next = |heard: &mut String| match lines.read_line(heard)? {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        _ => Ok(()),
    };
    answers.write_all(b"220 played ESMTP\r\n")?;
    loop {
        let start = heard.len();
        next(&mut heard)?;
        let command = &heard[start..];
        let answer = match command.split([' ', '\r']).next() {
            Some(verb) if verb == until => return Ok(heard),
            Some("EHLO") => "250-played\r\n250 AUTH PLAIN",
            Some("AUTH") => "235 2.7.0 in",
            Some("DATA") => break,
            _ => "250 2.1.0 ok",
        };
        answers.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    answers.write_all(b"354 go on\r\n")?;
    while !heard.ends_with("\r\n.\r\n") {
        next(&mut heard)?;
    }
    Ok(heard)
}

fn rendered(answer: &StubAnswer) -> Vec<u8> {
    format!("{} {}\r\n", answer.status, answer.body.replace(['\r', '\n'], " ")).into_bytes()
}

impl ConformanceSubject for EmailSubject {
    fn adapter(&self) -> &dyn ChannelAdapter {
        &*self.0.0
    }

    fn provider(&self) -> &dyn Provider {
        &self.0
    }

    fn account(&self, address: &str) -> Account {
        let port = address.rsplit(':').next().unwrap_or_default();
        let settings =
            [("host", "127.0.0.1"), ("port", port), ("tls", "none"), ("username", "dispatch")];
        Account {
            name: "main".to_owned(),
            revision: 1,
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            secrets: [("password".to_owned(), Secret::new("a password of the suite"))].into(),
        }
    }

    fn play(&self, behaviour: Behaviour) -> io::Result<Box<dyn PlayedProvider>> {
        let after = match &behaviour {
            Behaviour::Answer(answer) => answer.headers.first().map(|(_, after)| after.as_str()),
            Behaviour::Trickle(_) | Behaviour::Hang | Behaviour::HangUp | Behaviour::Absent => None,
        };
        let read: fn(&mut TcpStream) -> io::Result<String> = match after {
            Some("AUTH") => |stream| session(stream, "AUTH"),
            Some("MAIL") => |stream| session(stream, "MAIL"),
            Some("RCPT") => |stream| session(stream, "RCPT"),
            Some(_) | None => |stream| session(stream, "."),
        };
        let stub = Stub::speaking(StubProtocol { read, rendered }, behaviour)?;
        Ok(Box::new(MailServer(stub)))
    }

    fn speaks_http(&self) -> bool {
        false
    }

    fn sample(&self, kind: ContentKind) -> Option<Message> {
        (kind == ContentKind::Text).then(|| Message {
            channel: EMAIL.clone(),
            from: Endpoint::Id("table@example.com".to_owned()),
            to: Endpoint::Id("ada.lovelace@example.com".to_owned()),
            content: Content::Text("Your table is ready.".to_owned()),
            options: Options::NONE,
        })
    }

    fn accepted(&self, provider_id: &str) -> StubAnswer {
        StubAnswer::new(250, format!("2.0.0 taken, and queued as {provider_id}"))
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        let refusal = |after, code, said: &str, kind, fault, retry| RefusalSample {
            answer: StubAnswer::new(code, said).with_header(AFTER, after),
            kind,
            fault,
            retry,
        };
        let (never, later) = (Retry::Permanent, Retry::Temporary { after: None });
        let (account, recipient) = (Fault::Account, Fault::Recipient);
        vec![
            refusal("AUTH", 535, "5.7.8 no", ErrorKind::Unauthorized, account, never),
            refusal("AUTH", 454, "4.7.0 later", ErrorKind::Throttled, account, later),
            refusal("MAIL", 553, "5.1.8 not yours", ErrorKind::Forbidden, account, never),
            refusal("MAIL", 421, "closing", ErrorKind::ProviderFailure, Fault::Provider, later),
            refusal("RCPT", 550, "5.1.1 nobody", ErrorKind::InvalidRecipient, recipient, never),
            refusal("RCPT", 550, "no", ErrorKind::InvalidRecipient, recipient, never),
            refusal("RCPT", 552, "5.2.2 full", ErrorKind::Unreached, recipient, never),
            refusal("RCPT", 450, "4.7.1 greylisted", ErrorKind::Throttled, account, later),
            refusal("DATA", 554, "5.7.1 spam", ErrorKind::ContentRejected, Fault::Content, never),
            refusal("DATA", 451, "4.3.2 later", ErrorKind::ProviderFailure, Fault::Provider, later),
        ]
    }
}
