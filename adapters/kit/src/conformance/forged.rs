//! Checks that nobody but the provider is believed, and nobody late.

use std::time::Duration;

use dispatch_contract::{Account, Secret, UnixMillis, Verdict, WebhookOutcome};

use super::{
    ConformanceSubject, Findings, Handshake, NOW, Promise, SampleWebhook, SignedPart,
    calls::{call_as, signed},
    webhooks::samples,
};

/// No adapter takes a webhook that is signed with a time for longer than this.
const LONGEST_WINDOW: Duration = Duration::from_secs(8 * 86_400);

pub(super) fn check(subject: &dyn ConformanceSubject) -> Findings {
    let mut findings = Findings::default();
    if subject.signed_part() != SignedPart::Nothing {
        for webhook in samples(subject) {
            forged(subject, &webhook, &mut findings);
        }
    }
    for one in subject.handshakes() {
        handshake(subject, &one, &mut findings);
    }
    findings
}

/// Webhooks that differ from a genuine one in what its signature covers, or in the signature.
fn forged(subject: &dyn ConformanceSubject, unsigned: &SampleWebhook, findings: &mut Findings) {
    let genuine = signed(subject, unsigned);
    let mut judge = Judge { subject, account: subject.account("http://127.0.0.1:9"), findings };
    judge.forged("without what signs it", unsigned);
    match subject.signed_part() {
        SignedPart::Nothing | SignedPart::ShownSecret => {}
        SignedPart::Body => judge.body(&genuine),
        SignedPart::UrlAndBody => {
            judge.body(&genuine);
            judge.url(&genuine);
        }
    }
    judge.signature(unsigned, &genuine);
    for account in [judge.with_other_secrets(), judge.without_secrets()] {
        judge.forged_at(Promise::Forgery, "for another secret", &account, &genuine, NOW);
    }
    judge.window(&genuine);
}

/// A handshake is answered as it must be, and to nobody who does not know the secret.
fn handshake(subject: &dyn ConformanceSubject, handshake: &Handshake, findings: &mut Findings) {
    let Handshake { webhook, answer } = handshake;
    let mut judge = Judge { subject, account: subject.account("http://127.0.0.1:9"), findings };
    let outcome = call_as(subject, &judge.account, webhook, NOW);
    let is_answered = outcome.verdict == Verdict::Understood
        && (outcome.status, &outcome.body) == (200, answer)
        && outcome.inbound.is_empty();
    judge.findings.check(Promise::Handshakes, is_answered, || {
        format!("{webhook:?} is answered {} with {:?}", outcome.status, outcome.body)
    });
    for account in [judge.with_other_secrets(), judge.without_secrets()] {
        judge.forged_at(Promise::Handshakes, "for another secret", &account, webhook, NOW);
    }
    let secrets: Vec<_> = judge.account.secrets.values().cloned().collect();
    for secret in secrets.iter().map(Secret::expose).filter(|text| webhook.url.contains(*text)) {
        let almost = format!("{}~", &secret[..secret.len() - 1]);
        let url = webhook.url.replace(secret, &almost);
        judge.forged("with almost the secret", &SampleWebhook { url, ..webhook.clone() });
    }
    let query = webhook.query();
    for length in (0..query.len()).filter(|at| query.is_char_boundary(*at)) {
        let cut = call_as(subject, &judge.account, &webhook.with_query(&query[..length]), NOW);
        judge.findings.check(
            Promise::Handshakes,
            cut.status != 500 && cut.inbound.is_empty(),
            || format!("a handshake cut short is answered {}", cut.status),
        );
    }
}

struct Judge<'a> {
    subject: &'a dyn ConformanceSubject,
    account: Account,
    findings: &'a mut Findings,
}

impl Judge<'_> {
    fn forged(&mut self, what: &str, webhook: &SampleWebhook) {
        let account = self.account.clone();
        self.forged_at(Promise::Forgery, what, &account, webhook, NOW);
    }

    fn forged_at(
        &mut self,
        promise: Promise,
        what: &str,
        account: &Account,
        webhook: &SampleWebhook,
        now: UnixMillis,
    ) {
        let WebhookOutcome { status, verdict, inbound, .. } =
            call_as(self.subject, account, webhook, now);
        let nothing_happened = verdict == Verdict::Forged && status == 401 && inbound.is_empty();
        self.findings.check(promise, nothing_happened, || {
            format!("a webhook {what} is taken as {verdict:?}, and answered {status}")
        });
    }

    fn body(&mut self, genuine: &SampleWebhook) {
        let body = &genuine.body;
        let with = |body: Vec<u8>| SampleWebhook { body, ..genuine.clone() };
        for length in 0..body.len() {
            self.forged("cut short", &with(body[..length].to_vec()));
        }
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 1;
            self.forged("changed in one bit", &with(changed));
        }
        self.forged("with something added", &with([body, b"}".as_slice()].concat()));
    }

    /// Beyond the host: that it came here is known.
    fn url(&mut self, genuine: &SampleWebhook) {
        let url = &genuine.url;
        let path = url.find("://").and_then(|at| Some(at + 3 + url[at + 3..].find('/')?));
        let with = |url: String| SampleWebhook { url, ..genuine.clone() };
        for at in path.unwrap_or(url.len())..url.len() {
            self.forged("with its URL cut short", &with(url[..at].to_owned()));
            let other = if url[at..].starts_with('0') { "1" } else { "0" };
            let changed = format!("{}{other}{}", &url[..at], &url[at + 1..]);
            self.forged("changed in its URL", &with(changed));
        }
    }

    /// What signing added: headers, or a tail of the URL.
    fn signature(&mut self, unsigned: &SampleWebhook, genuine: &SampleWebhook) {
        for (at, header) in genuine.headers.iter().enumerate() {
            if unsigned.headers.contains(header) {
                continue;
            }
            for length in 0..header.1.len() {
                let mut cut = genuine.clone();
                cut.headers[at].1.truncate(length);
                self.forged("with a header cut short", &cut);
            }
        }
        for length in unsigned.url.len()..genuine.url.len() {
            let url = genuine.url[..length].to_owned();
            self.forged("with its signature cut short", &SampleWebhook { url, ..genuine.clone() });
        }
    }

    fn window(&mut self, genuine: &SampleWebhook) {
        let Some(window) = self.subject.replay_window() else { return };
        self.findings.check(Promise::ReplayWindow, window <= LONGEST_WINDOW, || {
            format!("a replay window of {window:?} is none")
        });
        let after = |by: Duration| UnixMillis(NOW.0 + by.as_millis() as u64);
        let late = after(window + Duration::from_secs(1));
        let account = self.account.clone();
        self.forged_at(Promise::ReplayWindow, "repeated after its window", &account, genuine, late);
        let in_time = call_as(self.subject, &account, genuine, after(window));
        self.findings.check(Promise::ReplayWindow, in_time.verdict != Verdict::Forged, || {
            "a webhook repeated within its window is taken for forged".to_owned()
        });
    }

    fn with_other_secrets(&self) -> Account {
        self.with_secrets(|secret| Some(Secret::new(format!("not {secret}"))))
    }

    fn without_secrets(&self) -> Account {
        self.with_secrets(|_| None)
    }

    fn with_secrets(&self, change: fn(&str) -> Option<Secret>) -> Account {
        let secrets = self.account.secrets.iter();
        let changed =
            secrets.filter_map(|(name, secret)| Some((name.clone(), change(secret.expose())?)));
        Account { secrets: changed.collect(), ..self.account.clone() }
    }
}
