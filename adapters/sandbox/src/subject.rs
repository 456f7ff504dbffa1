//! What the conformance suite has to know about the sandbox in the process: its words are scripts.
//!
//! What it has no words for is not played, and the suite names it: there is no connection that could be refused
//! or cut, and no text that could be repeated in an error.

use std::{fmt, io, sync::Arc, time::Duration};

use dispatch_contract::{
    Account, ChannelAdapter, ContentKind, ErrorKind, Failure, Fault, Message, Provider, Recall,
    Report, Retry, Status,
};
use dispatch_kit::conformance::{
    Behaviour, ConformanceSubject, PlayedProvider, RecallSample, RefusalSample, SignedPart,
    StubAnswer, attempt, clock,
};

use crate::{
    CallResult, ProviderConfig, SandboxAdapter, SandboxProvider, Script, SimulatedProvider,
};

/// The sandbox in place of an adapter, with that one's samples.
pub struct SandboxSubject {
    real: Box<dyn ConformanceSubject>,
    adapter: Arc<SandboxAdapter>,
    provider: SandboxProvider,
    simulated: Arc<SimulatedProvider>,
}

impl SandboxSubject {
    /// In place of the adapter that `real` proves, with references honoured for so long. `None` if its provider
    /// has no such adapter.
    pub fn in_place_of(
        real: Box<dyn ConformanceSubject>,
        idempotent_for: Option<Duration>,
    ) -> Option<Self> {
        let name = real.adapter().name();
        let adapter = real.provider().channels().into_iter().find(|it| it.name() == name)?;
        let config = ProviderConfig { idempotent_for, ..ProviderConfig::default() };
        let simulated = Arc::new(SimulatedProvider::new(clock(), config));
        let adapter = Arc::new(SandboxAdapter::in_place_of(adapter, Arc::clone(&simulated)));
        let provider = SandboxProvider::of(vec![Arc::clone(&adapter)]);
        Some(SandboxSubject { real, adapter, provider, simulated })
    }

    fn set(&self, script: &str) -> io::Result<()> {
        let script = script.parse::<Script>().map_err(|_| not_played("no script says that"))?;
        self.simulated.set_default(script);
        Ok(())
    }

    /// What comes from here on.
    fn played(&self) -> Box<dyn PlayedProvider> {
        Box::new(PlayedScript {
            simulated: Arc::clone(&self.simulated),
            calls: self.simulated.calls().len(),
            recalls: self.simulated.recalls().len(),
        })
    }

    fn playing(&self, script: &str) -> io::Result<Box<dyn PlayedProvider>> {
        self.set(script).map(|()| self.played())
    }
}

/// The suite names it beside what was proven.
fn not_played(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, why)
}

/// The simulated provider, and how much it had been asked before.
struct PlayedScript {
    simulated: Arc<SimulatedProvider>,
    calls: usize,
    recalls: usize,
}

impl PlayedProvider for PlayedScript {
    fn address(&self) -> String {
        "in this process".to_owned()
    }

    fn requests(&self) -> Vec<String> {
        let calls = self.simulated.calls().into_iter().skip(self.calls);
        let calls = calls.map(|call| {
            let reference = call.client_ref.unwrap_or_default();
            format!("send {reference} on {} to {}", call.channel, call.recipient.value())
        });
        let recalls = self.simulated.recalls().into_iter().skip(self.recalls);
        calls.chain(recalls.map(|recall| format!("recall {}", recall.provider_id))).collect()
    }

    fn given_id(&self) -> Option<String> {
        match self.simulated.calls().pop()?.answered {
            CallResult::Accepted { provider_id } | CallResult::AcceptedBefore { provider_id } => {
                Some(provider_id)
            }
            CallResult::Rejected(_)
            | CallResult::Throttled { .. }
            | CallResult::Failed
            | CallResult::Nothing => None,
        }
    }
}

impl ConformanceSubject for SandboxSubject {
    fn adapter(&self) -> &dyn ChannelAdapter {
        &*self.adapter
    }

    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    fn account(&self, _: &str) -> Account {
        Account {
            name: "conformance".to_owned(),
            revision: 1,
            settings: [].into(),
            secrets: [].into(),
        }
    }

    fn play(&self, behaviour: Behaviour) -> io::Result<Box<dyn PlayedProvider>> {
        match behaviour {
            Behaviour::Answer(answer) => self.playing(&answer.body),
            Behaviour::Hang => self.playing("no-answer; never"),
            Behaviour::Trickle(_) => Err(not_played("an answer comes whole or not at all")),
            Behaviour::HangUp | Behaviour::Absent => {
                Err(not_played("it is in the same process, so there is no connection"))
            }
        }
    }

    fn play_recall(&self, behaviour: Behaviour) -> io::Result<Box<dyn PlayedProvider>> {
        match behaviour {
            Behaviour::Answer(answer) => {
                self.set(&answer.body)?;
                let declared = &self.adapter.capabilities().content;
                if let Some(message) = declared.iter().find_map(|kind| self.sample(*kind)) {
                    let reference = attempt().to_string();
                    self.simulated.take(&message.channel, &message.to, &reference);
                }
                Ok(self.played())
            }
            Behaviour::Hang | Behaviour::HangUp | Behaviour::Absent | Behaviour::Trickle(_) => {
                Err(not_played("a recall is always answered"))
            }
        }
    }

    fn play_report(&self, report: Report) -> Option<io::Result<Box<dyn PlayedProvider>>> {
        let script = match report {
            Report::Reached(Status::Delivered) => "deliver 0s",
            Report::Reached(Status::Read) => "read 0s",
            Report::Failed(Failure::Rejected) => "rejected 0s 1340",
            Report::Failed(Failure::Undeliverable) => "undeliverable 0s 1260",
            Report::Reached(Status::Replied) => "reply 0s",
            Report::Reached(Status::Pending | Status::Submitted) => return None,
        };
        // What cannot be waited for here does not come.
        let is_told = match report {
            Report::Reached(status) => self.adapter.capabilities().tells(status),
            Report::Failed(_) => true,
        };
        is_told.then(|| self.playing(script))
    }

    fn hidden_content(&self) -> Option<&'static str> {
        Some("the sandbox keeps to whom a message went, and not what it says")
    }

    fn sample(&self, kind: ContentKind) -> Option<Message> {
        self.real.sample(kind)
    }

    /// It makes no calls, and believes none.
    fn signed_part(&self) -> SignedPart {
        SignedPart::Nothing
    }

    fn accepted(&self, _: &str) -> StubAnswer {
        StubAnswer::new(202, "accept; never")
    }

    fn duplicate(&self, provider_id: &str) -> Option<StubAnswer> {
        Some(self.accepted(provider_id))
    }

    fn idempotency_key(&self, request: &str) -> Option<String> {
        request.split(' ').nth(1).map(str::to_owned)
    }

    fn recalls(&self) -> Vec<RecallSample> {
        let recall = |script, recall| RecallSample { answer: StubAnswer::new(200, script), recall };
        vec![
            recall("accept; never", Recall::Recalled),
            recall("submitted 0s; deliver 1h", Recall::Recalled),
            recall("deliver 0s", Recall::TooLate(Some(Status::Delivered))),
        ]
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        let refusal = |script, kind, fault, retry| RefusalSample {
            answer: StubAnswer::new(400, script),
            kind,
            fault,
            retry,
        };
        let (account, provider) = (Fault::Account, Fault::Provider);
        let after = |after| Retry::Temporary { after };
        vec![
            refusal("reject 1120", ErrorKind::Forbidden, account, Retry::Permanent),
            refusal("reject 1150", ErrorKind::InvalidRequest, Fault::Content, Retry::Permanent),
            refusal("throttle 1; never", ErrorKind::Throttled, provider, after(None)),
            refusal(
                "throttle 1 7s; never",
                ErrorKind::Throttled,
                provider,
                after(Some(Duration::from_secs(7))),
            ),
            refusal("500 before acting", ErrorKind::ProviderFailure, provider, Retry::Unknown),
            refusal(
                "500 after acting; never",
                ErrorKind::ProviderFailure,
                provider,
                Retry::Unknown,
            ),
            refusal("hang", ErrorKind::Timeout, provider, Retry::Unknown),
        ]
    }

    fn speaks_http(&self) -> bool {
        false
    }
}

impl fmt::Debug for SandboxSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SandboxSubject").field(&self.adapter.name()).finish()
    }
}
