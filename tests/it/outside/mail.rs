//! E-mail by SMTP: no HTTP, no receipts, and no idempotence.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use dispatch::client::Client;
use dispatch_contract::{
    Account, AttemptId, Channel, Content, Endpoint, ErrorKind, Fault, Message, Options, Provider,
    Retry, SendContext, UnixMillis,
};
use dispatch_kit::conformance::assert_conforms;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::Command,
};

use super::{assert_failed_over, built, by_itself, check, configuration, in_process, sent};
use crate::{no_recipient, support::FREE};

/// Compiled here too, so that each run of this suite tries it.
#[path = "../../outside/email/src/email.rs"]
mod email;

/// Whom its workflow is written to.
const ADA: &str = "ada@example.com";

/// The mails that were taken, as they came.
type Mails = Arc<Mutex<Vec<String>>>;

/// A mail server that answers by the name of the recipient.
async fn stub(mails: Mails) -> SocketAddr {
    let socket = TcpListener::bind(FREE).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(session(stream, Arc::clone(&mails)));
        }
    });
    address
}

/// One connection; ends with its first error, as with a hung-up client.
async fn session(stream: TcpStream, mails: Mails) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut to = String::new();
    stream.write_all(b"220 stub ESMTP\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.split([' ', '\r']).next().unwrap().to_owned();
        let answer = match verb.as_str() {
            "EHLO" => "250-stub\r\n250 AUTH PLAIN",
            // \0dispatch\0a password of the tests
            "AUTH" if line.contains("AGRpc3BhdGNoAGEgcGFzc3dvcmQgb2YgdGhlIHRlc3Rz") => {
                "235 2.7.0 in"
            }
            "AUTH" => "535 5.7.8 no",
            "MAIL" if line.contains("<forged@") => "553 5.1.8 not yours",
            "MAIL" => "250 2.1.0 ok",
            "RCPT" => {
                to = line.split(['<', '@']).nth(1).unwrap().to_owned();
                match to.as_str() {
                    "nobody" => "550 5.1.1 <nobody@example.com>: no such user",
                    "full" => "552 5.2.2 over quota",
                    "barred" => "550 5.7.1 policy",
                    "plain" => "550 no",
                    "busy" => "451 4.3.0 try again",
                    "gray" => "450 4.7.1 greylisted",
                    "hangs-up" => return Ok(()),
                    _ => "250 2.1.5 ok",
                }
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") && stream.read_line(&mut text).await? > 0 {}
                match to.as_str() {
                    "cut" => return Ok(()),
                    "spam" => "554 5.7.1 spam",
                    "late" => "451 4.3.2 shutting down",
                    _ => {
                        mails.lock().unwrap().push(text);
                        "250 2.0.0 queued"
                    }
                }
            }
            _ => "221 2.0.0 bye",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

/// Its own configuration, with the stub for the mail server.
fn at(address: SocketAddr) -> String {
    let port = address.port();
    let host = format!("host = \"127.0.0.1\", port = \"{port}\", tls = \"none\"");
    let edits = [
        ("host = \"mail.example.com\"", host.as_str()),
        ("env:SMTP_PASSWORD", "a password of the tests"),
    ];
    configuration("email", &edits)
}

/// Ada gets a mail, nobody an SMS.
async fn goes_out_or_fails_over(client: &Client, mails: &Mails) {
    let taken = sent(client, "email", ADA, ADA).await;
    assert!(taken.steps[1].attempts.is_empty());
    assert_failed_over(&sent(client, "email", ADA, "nobody@example.com").await);
    let mails = mails.lock().unwrap();
    let [mail] = mails.as_slice() else { panic!("{mails:?}") };
    let id = &taken.steps[0].attempts[0].provider_message_ids[0];
    for part in [
        &format!("Message-ID: <{id}>\r\n"),
        "From: \"The Green Table\" <table@example.com>\r\n",
        "To: ada@example.com\r\n",
        "Subject: Your table\r\n",
        "\r\n\r\nYour table is ready.",
    ] {
        assert!(mail.contains(part), "{part} in {mail}");
    }
    assert!(id.ends_with("@example.com"), "{id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_without_http_sends_and_fails_over_to_a_channel_of_ours() {
    let mails = Mails::default();
    let configuration = at(stub(Arc::clone(&mails)).await);
    let (service, client) = in_process(email::provider(), &configuration).await;
    goes_out_or_fails_over(&client, &mails).await;
    no_recipient::stop(service).await;
}

pub async fn its_program_is_configured_as_ours_and_fails_over_to_a_channel_of_ours() {
    let program = built("email").await;
    let mails = Mails::default();
    let folder = tempfile::tempdir().unwrap();
    let address = stub(Arc::clone(&mails)).await;
    let wrong = at(address).replace("127.0.0.1", "192.0.2.1").replace("username =", "user =");
    let told = check(&program, folder.path(), &wrong).await;
    assert!(
        told.contains("account main: there is no setting user; there are host, port"),
        "{told}"
    );
    let wrong = at(address).replace("127.0.0.1", "192.0.2.1");
    let told = check(&program, folder.path(), &wrong).await;
    assert!(told.contains("setting tls may be none only where host is this machine"), "{told}");

    for name in ["smtp-email", "sandbox-email"] {
        let proven =
            Command::new(&program).args(["adapter", "check", name]).output().await.unwrap();
        let told = String::from_utf8_lossy(&proven.stdout).into_owned();
        assert!(proven.status.success() && told.contains("| content text | proven"), "{told}");
    }

    let (process, client) = by_itself(&program, folder.path(), &at(address)).await;
    goes_out_or_fails_over(&client, &mails).await;
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test]
async fn what_it_declares_is_proven() {
    for subject in email::subjects() {
        assert_conforms(&*subject).await;
    }
}

/// One call of the adapter, to the stub.
async fn call(
    address: SocketAddr,
    from: &str,
    to: &str,
) -> Result<String, dispatch_contract::AdapterError> {
    let settings =
        [("host", "127.0.0.1"), ("tls", "none")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let mut account = Account {
        name: "main".to_owned(),
        revision: 1,
        settings: settings.into(),
        secrets: [].into(),
    };
    account.settings.insert("port".to_owned(), address.port().to_string());
    let message = Message {
        channel: Channel::named("email"),
        from: Endpoint::Id(format!("{from}@example.com")),
        to: Endpoint::Id(format!("{to}@example.com")),
        content: Content::Text("Готово.\n.\nA line with a dot alone stands above.".to_owned()),
        options: Options::NONE,
    };
    let context = SendContext {
        attempt: AttemptId { workflow: uuid::Uuid::from_u128(7), number: 1 },
        account: &account,
        callback_url: None,
        useful_for: None,
        now: UnixMillis(1_700_000_000_000),
        timeout: Duration::from_secs(20),
    };
    let adapter = email::provider().channels().remove(0);
    assert_eq!(adapter.check(&message, context.now), []);
    adapter.send(&context, &message).await.map(|accepted| accepted.provider_ids.concat())
}

#[tokio::test]
async fn what_a_mail_server_says_is_told_apart_and_none_of_its_text_is_kept() {
    let address = stub(Mails::default()).await;
    let temporary = Retry::Temporary { after: None };
    for (from, to, kind, fault, retry, code) in [
        (
            "table",
            "nobody",
            ErrorKind::InvalidRecipient,
            Fault::Recipient,
            Retry::Permanent,
            "550 5.1.1",
        ),
        ("table", "plain", ErrorKind::InvalidRecipient, Fault::Recipient, Retry::Permanent, "550"),
        ("table", "full", ErrorKind::Unreached, Fault::Recipient, Retry::Permanent, "552 5.2.2"),
        ("table", "barred", ErrorKind::Forbidden, Fault::Account, Retry::Permanent, "550 5.7.1"),
        (
            "table",
            "spam",
            ErrorKind::ContentRejected,
            Fault::Content,
            Retry::Permanent,
            "554 5.7.1",
        ),
        ("forged", "ada", ErrorKind::Forbidden, Fault::Account, Retry::Permanent, "553 5.1.8"),
        ("table", "busy", ErrorKind::ProviderFailure, Fault::Provider, temporary, "451 4.3.0"),
        ("table", "gray", ErrorKind::Throttled, Fault::Account, temporary, "450 4.7.1"),
        ("table", "late", ErrorKind::ProviderFailure, Fault::Provider, temporary, "451 4.3.2"),
        // It hung up: before it had the text, and after.
        ("table", "hangs-up", ErrorKind::Unreachable, Fault::Provider, temporary, ""),
        ("table", "cut", ErrorKind::Timeout, Fault::Provider, Retry::Unknown, ""),
    ] {
        let error = call(address, from, to).await.unwrap_err();
        let told =
            (error.kind, error.fault, error.retry, error.code.as_deref().unwrap_or_default());
        assert_eq!(told, (kind, fault, retry, code), "{to}");
        for part in ["example.com", "no such user", "spam"] {
            assert!(!error.to_string().contains(part), "{error}");
        }
    }
}

#[tokio::test]
async fn a_repeat_bears_the_id_of_the_first_and_a_text_arrives_whole() {
    let mails = Mails::default();
    let address = stub(Arc::clone(&mails)).await;
    let ids = [
        call(address, "table", "ada").await.unwrap(),
        call(address, "table", "ada").await.unwrap(),
    ];
    assert_eq!(ids[0], ids[1]);
    let mails = mails.lock().unwrap();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0], mails[1], "equal calls, equal mails");
    for part in
        ["Date: Tue, 14 Nov 2023 22:13:20 +0000", "Subject: A message for you", "charset=utf-8"]
    {
        assert!(mails[0].contains(part), "{part} in {}", mails[0]);
    }
}
