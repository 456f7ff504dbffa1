//! Turns an adapter's declared capabilities into tests.
//!
//! The suite reads [`ChannelAdapter::capabilities`] and adds the checks that they promise. What is
//! declared and cannot be proven fails: a declared status with no webhook that tells it, a declared
//! kind of content with no sample that is accepted and sent. What is *not* declared must be refused
//! when a workflow is created, with the field named.
//!
//! An adapter's crate implements [`ConformanceSubject`] and calls [`assert_conforms`] in one test. The suite
//! plays the provider on a loopback socket, so the adapter's real client is what runs.
//!
//! What it deliberately does not do: compare requests byte by byte with the provider's published
//! ones. Golden tests in the adapter's crate do that; this suite knows no provider.

mod content;
mod declared;
mod sending;
mod spoil;
pub mod stub;
mod webhooks;

use std::fmt;

use dispatch_contract::{
    Account, AttemptId, ChannelAdapter, ContentKind, ErrorKind, Fault, Message, Provider, Report,
    Retry, UnixMillis,
};

pub use spoil::spoiled;

/// An adapter under test, and what only its author knows: samples of everything it declares.
pub trait ConformanceSubject: Sync {
    /// The adapter.
    fn adapter(&self) -> &dyn ChannelAdapter;

    /// Its provider, which reads its webhooks.
    fn provider(&self) -> &dyn Provider;

    /// An account whose calls go to `base_url` (`http://127.0.0.1:…`), and whose webhooks are
    /// authenticated as [`sign`](Self::sign) does it.
    fn account(&self, base_url: &str) -> Account;

    /// A message of this kind that the adapter sends; needed for every declared kind.
    fn sample(&self, kind: ContentKind) -> Option<Message>;

    /// The bodies in which the provider tells `told`, one for each shape it has. None if it cannot
    /// tell that, as by default; needed for every declared status above `submitted`, which is told by
    /// accepting, and for a failure where one of those is declared.
    fn webhooks(&self, _told: &ExpectedReport) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// The headers (names in lower case) that make a webhook with this body genuine. None, as by default,
    /// where the provider never calls.
    fn sign(&self, _body: &[u8]) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }

    /// Whether [`sign`](Self::sign) covers the whole body. `false` only for providers that sign
    /// nothing; the checks against forgery are left out then.
    fn signs(&self) -> bool {
        true
    }

    /// The provider's answer to an accepted message.
    fn accepted(&self, provider_id: &str) -> StubAnswer;

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

    /// Refusals in the provider's own words, and what the adapter has to make of each.
    fn refusals(&self) -> Vec<RefusalSample>;
}

/// What a webhook must report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedReport {
    /// The attempt that it is about.
    pub attempt: AttemptId,
    /// The provider's id of its message.
    pub provider_id: String,
    /// The status or failure.
    pub report: Report,
}

/// An answer that the suite gives in the provider's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StubAnswer {
    /// HTTP status.
    pub status: u16,
    /// Headers beside those that frame the body.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: String,
}

/// A refusal, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalSample {
    /// The provider's answer.
    pub answer: StubAnswer,
    /// What the adapter has to say happened.
    pub kind: ErrorKind,
    /// Whose fault it has to say it was.
    pub fault: Fault,
    /// Whether it has to say that it may be tried again.
    pub retry: Retry,
}

/// What the suite found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many checks were made.
    pub checks: u32,
    /// What failed, as `area: sentence`.
    pub failures: Vec<String>,
}

impl StubAnswer {
    /// An answer with a body and no further headers.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        StubAnswer { status, headers: Vec::new(), body: body.into() }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Findings {
    /// Counts a check, and keeps `problem` if it failed.
    fn check(&mut self, area: &str, holds: bool, problem: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds {
            self.failures.push(format!("{area}: {}", problem()));
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} checks failed", self.failures.len(), self.checks)?;
        self.failures.iter().try_for_each(|failure| write!(f, "\n- {failure}"))
    }
}

/// Makes every check that the subject's capabilities promise. Needs a tokio runtime with I/O and
/// time.
pub async fn run(subject: &dyn ConformanceSubject) -> Findings {
    let mut findings = Findings::default();
    declared::check(subject, &mut findings).await;
    content::check(subject, &mut findings);
    webhooks::check(subject, &mut findings);
    sending::check(subject, &mut findings).await;
    findings
}

/// [`run`], for a test.
///
/// # Panics
/// If anything failed; the text lists all of it.
pub async fn assert_conforms(subject: &dyn ConformanceSubject) {
    let findings = run(subject).await;
    assert!(findings.failures.is_empty(), "{}: {findings}", subject.adapter().name());
}

/// The time at which the suite calls: 2023-11-14T22:13:20Z.
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

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
