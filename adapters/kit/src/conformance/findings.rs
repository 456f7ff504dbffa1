//! What the suite found, by what was promised.

use std::{collections::BTreeMap, fmt};

use dispatch_contract::{ContentKind, Status};

/// What an adapter promises, by declaring it or by being one: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// The declaration agrees with itself.
    Declaration,
    /// A status that a failover condition may wait for.
    Status(Status),
    /// That a message will advance no further is told.
    Failures,
    /// How receipts are matched with attempts.
    Correlation,
    /// What is told of everything that was sent in a conversation until a certain time.
    Watermarks,
    /// Who wants no messages any more, or wants them again, is told.
    OptOuts,
    /// What persons write is told: who to whom, under which id, what, and what it quotes.
    InboundMessages,
    /// A message in several parts has an id for each.
    Parts,
    /// A kind of content that is sent, or refused when a workflow is created.
    Content(ContentKind),
    /// How long things may be.
    Limits,
    /// Whose addresses are taken.
    Addresses,
    /// Options of another channel are refused.
    Options,
    /// A repeated call sends no second message.
    Idempotence,
    /// An accepted message is taken back.
    Recall,
    /// What each failure means: what happened, whose fault it was, whether it may be tried again.
    Errors,
    /// A call ends when it has to, and says that nobody knows.
    Timeouts,
    /// A redirect is not followed.
    Redirects,
    /// No error shows what is private.
    Discretion,
    /// Nobody but the provider is believed.
    Forgery,
    /// A webhook is not believed for ever.
    ReplayWindow,
    /// The provider makes sure of the URL.
    Handshakes,
    /// What a webhook says is read whatever stands beside it, and nothing is made up.
    Reading,
}

/// What came of one promise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// How many checks were made.
    pub checks: u32,
    /// What failed, a sentence each.
    pub failures: Vec<String>,
    /// What could not be tried, and why, a sentence each.
    pub not_tried: Vec<String>,
}

/// What the suite found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What was tried.
    pub proofs: BTreeMap<Promise, Proof>,
}

impl Findings {
    /// How many checks were made.
    pub fn checks(&self) -> u32 {
        self.proofs.values().map(|proof| proof.checks).sum()
    }

    /// What could not be tried, as `promise: sentence`.
    pub fn not_tried_ones(&self) -> Vec<String> {
        self.sentences(|proof| &proof.not_tried)
    }

    /// What failed, as `promise: sentence`.
    pub fn failures(&self) -> Vec<String> {
        self.sentences(|proof| &proof.failures)
    }

    fn sentences(&self, of: fn(&Proof) -> &Vec<String>) -> Vec<String> {
        let all = self.proofs.iter();
        all.flat_map(|(promise, proof)| of(proof).iter().map(move |it| format!("{promise}: {it}")))
            .collect()
    }

    /// Keeps what could not be tried, once.
    pub fn not_tried(&mut self, promise: Promise, what: String) {
        let proof = self.proofs.entry(promise).or_default();
        if !proof.not_tried.contains(&what) {
            proof.not_tried.push(what);
        }
    }

    /// Counts a check, and keeps `problem` if it failed.
    pub fn check(&mut self, promise: Promise, holds: bool, problem: impl FnOnce() -> String) {
        let proof = self.proofs.entry(promise).or_default();
        proof.checks += 1;
        if !holds {
            proof.failures.push(problem());
        }
    }

    /// Adds what another part found.
    pub(super) fn add(&mut self, other: Findings) {
        for (promise, proof) in other.proofs {
            let ours = self.proofs.entry(promise).or_default();
            ours.checks += proof.checks;
            ours.failures.extend(proof.failures);
            ours.not_tried.extend(proof.not_tried);
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Promise::Status(status) => return write!(f, "condition status {status}"),
            Promise::Content(kind) => return write!(f, "content {kind}"),
            Promise::Declaration => "declaration",
            Promise::Failures => "failures",
            Promise::Correlation => "correlation",
            Promise::Watermarks => "watermarks",
            Promise::OptOuts => "opt-outs",
            Promise::InboundMessages => "inbound messages",
            Promise::Parts => "parts",
            Promise::Limits => "limits",
            Promise::Addresses => "addresses",
            Promise::Options => "options",
            Promise::Idempotence => "idempotence",
            Promise::Recall => "recall",
            Promise::Errors => "errors",
            Promise::Timeouts => "timeouts",
            Promise::Redirects => "redirects",
            Promise::Discretion => "discretion",
            Promise::Forgery => "forgery",
            Promise::ReplayWindow => "replay window",
            Promise::Handshakes => "handshakes",
            Promise::Reading => "reading",
        };
        f.write_str(name)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures = self.failures();
        write!(f, "{} of {} checks failed", failures.len(), self.checks())?;
        failures.iter().try_for_each(|failure| write!(f, "\n- {failure}"))
    }
}
