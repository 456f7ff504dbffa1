//! Turns an adapter's declared capabilities into tests.
//!
//! The suite reads [`ChannelAdapter::capabilities`] and adds the checks that they promise. What is
//! declared and cannot be proven fails: a declared status with no webhook that tells it, a declared
//! kind of content with no sample that is accepted and sent. What is *not* declared must be refused
//! when a workflow is created, with the field named.
//!
//! An adapter's crate implements [`ConformanceSubject`] and calls [`assert_conforms`] in one test. A program that it
//! is registered in with its subjects proves it, too: `dispatch adapter check NAME`. The suite
//! plays the provider on a loopback socket, so the adapter's real client is what runs.
//!
//! What it deliberately does not do: compare requests byte by byte with the provider's published
//! ones. Golden tests in the adapter's crate do that; this suite knows no provider.

mod calls;
mod content;
mod declared;
mod errors;
mod findings;
mod forged;
mod heard;
mod inbound;
mod played;
mod recall;
mod samples;
mod sending;
mod spoil;
pub mod stub;
mod table;
mod webhooks;

use std::{io, time::Duration};

use dispatch_contract::{
    Account, AttemptId, ChannelAdapter, ContentKind, InboundMessage, Message, OptOut, Provider,
    Report, UnixMillis, Watermark,
};

pub use findings::{Findings, Promise, Proof};
pub use heard::clock;
pub use inbound::written;
pub use samples::{
    ExpectedReport, Handshake, RecallSample, RefusalSample, SampleWebhook, SignedPart, StubAnswer,
    UnderstoodRequest,
};
pub use spoil::spoiled;
pub use stub::{Behaviour, PlayedProvider, Stub};
pub use table::table;

/// An adapter under test, and what only its author knows: samples of everything it declares.
pub trait ConformanceSubject: Sync {
    /// The adapter.
    fn adapter(&self) -> &dyn ChannelAdapter;

    /// Its provider, which reads its webhooks.
    fn provider(&self) -> &dyn Provider;

    /// An account whose calls go to `address` ([where](PlayedProvider::address) the played provider is;
    /// `http://127.0.0.1:…` by default), and whose webhooks are authenticated as [`sign`](Self::sign) does it.
    fn account(&self, address: &str) -> Account;

    /// Plays the provider: over HTTP, as by default, or over what the adapter speaks. Another protocol over
    /// TCP, where a request has one answer, is a [`StubProtocol`](stub::StubProtocol) to a [`Stub`].
    ///
    /// # Errors
    /// If it cannot be played; that fails. What it has no way to do at all ([`io::ErrorKind::Unsupported`], and
    /// why) is not tried, and named beside what was proven.
    fn play(&self, behaviour: Behaviour) -> io::Result<Box<dyn PlayedProvider>> {
        Ok(Box::new(Stub::start(behaviour)?))
    }

    /// [`play`](Self::play) for a recall: of the message that the played provider
    /// [gave an id](PlayedProvider::given_id), if it has one by then.
    ///
    /// # Errors
    /// As [`play`](Self::play).
    fn play_recall(&self, behaviour: Behaviour) -> io::Result<Box<dyn PlayedProvider>> {
        self.play(behaviour)
    }

    /// Plays the provider that takes a message and then tells `report` of it by what [`Provider::run`] hears: an
    /// answer to whoever asks for receipts, a line of a connection that is kept. `None`, as by default, if it
    /// tells that by a webhook or not at all. May be called to see which.
    fn play_report(&self, _report: Report) -> Option<io::Result<Box<dyn PlayedProvider>>> {
        None
    }

    /// Why the requests, as the played provider has them, do not show what a message says. `None`, as by default,
    /// where they do. That it is what leaves is then not tried, and named.
    fn hidden_content(&self) -> Option<&'static str> {
        None
    }

    /// Whether answers are HTTP's: then what every provider means by 401, 429, 500 or a redirect is checked
    /// beside [`refusals`](Self::refusals), which otherwise have to say all of it.
    fn speaks_http(&self) -> bool {
        true
    }

    /// A message of this kind that the adapter sends; needed for every declared kind.
    fn sample(&self, kind: ContentKind) -> Option<Message>;

    /// The webhooks in which the provider tells `told`, one for each shape it has, before they are signed.
    /// None if it cannot tell that, as by default; this or [`play_report`](Self::play_report) is needed for every
    /// declared status above `submitted`, which is told by accepting, and for a failure where one of those is
    /// declared. `replied` is also told by [`inbound_messages`](Self::inbound_messages)
    /// that quote.
    fn webhooks(&self, _told: &ExpectedReport) -> Vec<SampleWebhook> {
        Vec::new()
    }

    /// Whether the provider ever tells that a message which it took has failed, as by default. Where it does not,
    /// only the end of its time leads on from such a message.
    fn tells_failures(&self) -> bool {
        true
    }

    /// The webhooks in which the provider tells `told`, one for each shape it has, before they are signed.
    /// None if it cannot tell that, as by default; needed for one status at least where the adapter declares
    /// `watermarks`. A declared status is proven by these or by [`webhooks`](Self::webhooks).
    fn watermarks(&self, _told: &Watermark) -> Vec<SampleWebhook> {
        Vec::new()
    }

    /// The webhooks in which the provider tells `told`, one for each shape it has, before they are signed: that a
    /// person wants no messages any more, or wants them again. Where it tells it of further channels of the sender, too,
    /// that may be read beside it. None, as by default, if it does not tell that.
    fn opt_outs(&self, _told: &OptOut) -> Vec<SampleWebhook> {
        Vec::new()
    }

    /// The webhooks in which the provider tells that a person wrote `told`, one for each shape it has, before they are
    /// signed: a text from a sample's recipient to its sender, which quotes a message of ours or does not. Who wrote to
    /// whom, its id, the text and the quote have to be read; beside the text there may be what makes it one of the
    /// channel's, as a file does. None of what it cannot tell, as by default; one that quotes tells `replied`.
    fn inbound_messages(&self, _told: &InboundMessage) -> Vec<SampleWebhook> {
        Vec::new()
    }

    /// Webhooks, before they are signed, that are genuine and tell nothing of ours: a typing notice, a page's own words
    /// told again. None, as by default, where the provider makes no such calls.
    fn unrelated(&self) -> Vec<SampleWebhook> {
        Vec::new()
    }

    /// The requests by which the provider makes sure of the URL. None, as by default, if it makes none.
    fn handshakes(&self) -> Vec<Handshake> {
        Vec::new()
    }

    /// Makes a webhook genuine, as the provider does: adds a header, a field of the query. It is a function of
    /// the whole request, which it may look at. Not called, and empty by default, where the provider never
    /// calls; a handshake is not signed.
    fn sign(&self, _webhook: &mut SampleWebhook) {}

    /// What [`sign`](Self::sign) covers: the body, as by default.
    fn signed_part(&self) -> SignedPart {
        SignedPart::Body
    }

    /// For how long after its signing a webhook is taken, where a signature holds its time, as signed at
    /// [`NOW`]. `None`, as by default: for ever.
    fn replay_window(&self) -> Option<Duration> {
        None
    }

    /// An id as the provider's messages have them: what [`accepted`](Self::accepted) and
    /// [`webhooks`](Self::webhooks) are asked to give. A UUID by default; otherwise where the adapter makes an id of several
    /// things.
    fn sample_id(&self) -> &str {
        "11111111-2222-4333-8444-555555555555"
    }

    /// The provider's answer to an accepted message.
    fn accepted(&self, provider_id: &str) -> StubAnswer;

    /// The provider's answer to a message that it accepted in several parts, under these ids; needed where the
    /// adapter declares `parts`.
    fn accepted_in_parts(&self, _provider_ids: &[&str]) -> Option<StubAnswer> {
        None
    }

    /// The provider's answer to a repeated call under the same id, of which the message is `provider_id`;
    /// needed where the adapter declares `idempotent_for`. The adapter has to take it for accepted, and
    /// for that message.
    fn duplicate(&self, _provider_id: &str) -> Option<StubAnswer> {
        None
    }

    /// What in a request, head and body, tells the provider that a call is a repeat; needed where the
    /// adapter declares `idempotent_for`.
    fn idempotency_key(&self, _request: &str) -> Option<String> {
        None
    }

    /// Whether a request, head and body, carries this text: a recipient, a message, the URL of a file. By
    /// default as it stands; otherwise where the provider wants it encoded.
    fn carries(&self, request: &str, text: &str) -> bool {
        request.contains(text)
    }

    /// What the provider makes of a request: by default nobody knows. With it an image that is sent as text,
    /// or on another channel, shows.
    fn understood(&self, _request: &str) -> Option<UnderstoodRequest> {
        None
    }

    /// The provider's answers to a recall, and what the adapter has to make of each; needed where it declares
    /// `recall`: of one that took the message back, and of one that was asked too late.
    fn recalls(&self) -> Vec<RecallSample> {
        Vec::new()
    }

    /// Refusals in the provider's own words, and what the adapter has to make of each.
    fn refusals(&self) -> Vec<RefusalSample>;
}

/// A part of the suite, which runs by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The declaration agrees with itself.
    Declared,
    /// What is taken and refused when a workflow is created.
    Content,
    /// What is read from the provider's calls. The provider's, and so the same for all its channels.
    Webhooks,
    /// What is heard of the provider otherwise.
    Heard,
    /// What is not believed of its calls.
    Forgery,
    /// What leaves is the message, once.
    Sending,
    /// What a repeated call comes to.
    Idempotence,
    /// What is made of calls that fail.
    Errors,
    /// An accepted message is taken back, or not.
    Recall,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 9] = [
        Part::Declared,
        Part::Content,
        Part::Webhooks,
        Part::Heard,
        Part::Forgery,
        Part::Sending,
        Part::Idempotence,
        Part::Errors,
        Part::Recall,
    ];
}

/// What proves adapters, made when it is asked for: `pub fn subjects() -> Vec<Box<dyn ConformanceSubject>>`.
pub type Subjects = fn() -> Vec<Box<dyn ConformanceSubject>>;

/// Makes every check that the subject's capabilities promise. Needs a tokio runtime with I/O and
/// time.
pub async fn run(subject: &dyn ConformanceSubject) -> Findings {
    run_parts(subject, &Part::ALL).await
}

/// [`run`], of some parts.
pub async fn run_parts(subject: &dyn ConformanceSubject, parts: &[Part]) -> Findings {
    let mut findings = Findings::default();
    for part in parts {
        let found = match part {
            Part::Declared => Ok(declared::check(subject)),
            Part::Content => Ok(content::check(subject)),
            Part::Webhooks => Ok(webhooks::check(subject)),
            Part::Heard => heard::check(subject).await,
            Part::Forgery => Ok(forged::check(subject)),
            Part::Sending => sending::check(subject).await,
            Part::Idempotence => sending::idempotence(subject).await,
            Part::Errors => errors::check(subject).await,
            Part::Recall => recall::check(subject).await,
        };
        match found {
            Ok(found) => findings.add(found),
            Err(error) => findings.check(Promise::Declaration, false, || {
                format!("the provider cannot be played: {error}")
            }),
        }
    }
    findings
}

/// [`run`], for a test.
///
/// # Panics
/// If anything failed; the text lists all of it.
pub async fn assert_conforms(subject: &dyn ConformanceSubject) {
    let findings = run(subject).await;
    assert!(findings.failures().is_empty(), "{}: {findings}", subject.adapter().name());
}

/// [`run_parts`], for a test.
///
/// # Panics
/// As [`assert_conforms`].
pub async fn assert_parts(subject: &dyn ConformanceSubject, parts: &[Part]) {
    let findings = run_parts(subject, parts).await;
    assert!(findings.failures().is_empty(), "{}: {findings}", subject.adapter().name());
}

/// The time at which the suite calls: 2023-11-14T22:13:20Z.
pub const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// The attempt that the suite sends and hears of: `0198c0ffee007000800000000000beef.7`.
pub fn attempt() -> AttemptId {
    AttemptId {
        workflow: uuid::Uuid::from_u128(0x0198_c0ff_ee00_7000_8000_0000_0000_beef),
        number: 7,
    }
}

/// A sample of any declared kind, for checks that are not about content.
fn any_sample(subject: &dyn ConformanceSubject) -> Option<Message> {
    subject.adapter().capabilities().content.iter().find_map(|kind| subject.sample(*kind))
}
