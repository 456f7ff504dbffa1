//! The provider as a channel adapter within the process.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, AdapterError, Capabilities, Channel, ChannelAdapter, ChannelSender, Clock, Content,
    Correlation, ErrorKind, Fault, Inbound, InboundMessage, InboundSink, Message, Recall, Receipt,
    Retry, SendContext, Shutdown, Status, UnixMillis, Violation, cannot_recall, check,
};
use tokio::sync::oneshot;

use crate::{
    codes::refusal,
    plan::{ChannelTells, Planned},
    provider::{SendCall, SimulatedProvider},
    queue::Queue,
    record::CallResult,
    reply,
    script::ReceiptSigning,
    server::first_retry,
};

/// Sends on one channel through a [`SimulatedProvider`] in the same process.
///
/// - `send` never sleeps. Where the provider stays silent it fails at once, as if the timeout had
///   passed: a test clock must not be held up, and the engine cannot tell the difference.
/// - Receipts come out of `run`, ordered by when they are due and then by when they were planned.
///   They are kept until it is called, and forgotten once it ends.
/// - With `early`, `send` answers only once the sink has taken the first receipt; if `run` does not
///   run, it does not wait.
/// - Nothing is signed here, so there is nothing a webhook could prove: each one is answered 401.
///   An `unsigned` receipt does not come; one that is `unsigned first` comes 5 s late.
pub struct SandboxAdapter {
    name: String,
    channel: Channel,
    capabilities: Capabilities,
    /// Whose rules it applies beyond what it declares.
    rules: Option<Arc<dyn ChannelAdapter>>,
    provider: Arc<SimulatedProvider>,
    due: Queue<Due>,
}

/// A receipt or an answer on its way.
struct Due {
    account: String,
    /// The provider's id of the message that it is about.
    message: Option<String>,
    inbound: Inbound,
    /// Told once the sink has taken it.
    taken: Option<oneshot::Sender<()>>,
}

impl SandboxAdapter {
    /// An adapter for `channel`, named `sandbox-` and the channel.
    ///
    /// `capabilities` are those of the channel's real adapter: what can be sent and waited for, and
    /// whether receipts repeat the attempt. One of them is the provider's to say, and is set here:
    /// [`idempotent_for`](Capabilities::idempotent_for) as it is configured.
    pub fn new(
        channel: Channel,
        mut capabilities: Capabilities,
        provider: Arc<SimulatedProvider>,
    ) -> Self {
        capabilities.idempotent_for = provider.idempotent_for();
        SandboxAdapter {
            name: format!("sandbox-{channel}"),
            channel,
            capabilities,
            rules: None,
            provider,
            due: Queue::new(),
        }
    }

    /// Stands in for `real`: its channel, its capabilities and its rules, so that what it would
    /// refuse when a workflow is created is refused here too.
    pub fn in_place_of(real: Arc<dyn ChannelAdapter>, provider: Arc<SimulatedProvider>) -> Self {
        let (channel, can) = (real.channel().clone(), real.capabilities().clone());
        SandboxAdapter { rules: Some(real), ..SandboxAdapter::new(channel, can, provider) }
    }

    /// Hands receipts over as they come due, until `shutdown`.
    pub async fn run(
        &self,
        sink: Arc<dyn InboundSink>,
        clock: Arc<dyn Clock>,
        mut shutdown: Shutdown,
    ) {
        let mut attendance = self.due.attend();
        loop {
            let due = tokio::select! {
                biased;
                () = &mut shutdown => return,
                due = attendance.due(&*clock) => due,
            };
            for Due { account, inbound, taken, .. } in due {
                if sink.deliver(&account, vec![inbound]).await.is_err() {
                    return;
                }
                if let Some(taken) = taken {
                    // Whoever sent may have given up waiting.
                    let _ = taken.send(());
                }
            }
        }
    }

    /// When a planned receipt comes, and what it says, as far as it comes at all.
    fn due(&self, planned: Planned) -> Option<(UnixMillis, bool, Receipt)> {
        let Planned { due, early, signing, mut receipt } = planned;
        match self.capabilities.correlation {
            Correlation::AttemptId => {}
            Correlation::ProviderId => receipt.attempt = None,
        }
        match signing {
            ReceiptSigning::Signed => Some((due, early, receipt)),
            ReceiptSigning::SignedWhenRepeated => Some((due + first_retry(), false, receipt)),
            ReceiptSigning::Unsigned => None,
        }
    }

    /// What the engine is told: a receipt as it is; an answer as what the person who has `ours` wrote.
    fn inbound(&self, receipt: Receipt, ours: &Message) -> Inbound {
        let Some(id) = reply::id(self.provider.seed(), &receipt) else {
            return Inbound::Receipt(receipt);
        };
        Inbound::Message(InboundMessage {
            id: id.to_string(),
            from: ours.to.clone(),
            to: ChannelSender { channel: self.channel.clone(), id: ours.from.value().to_owned() },
            content: vec![Content::Text(reply::TEXT.to_owned())],
            quoted_id: receipt.provider_id,
            quoted_attempt: None,
            provider_time: receipt.provider_time,
        })
    }
}

#[async_trait]
impl ChannelAdapter for SandboxAdapter {
    fn name(&self) -> &str {
        &self.name
    }

    fn provider(&self) -> &str {
        crate::SandboxProvider::NAME
    }

    fn channel(&self) -> &Channel {
        &self.channel
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn check(&self, message: &Message, now: UnixMillis) -> Vec<Violation> {
        match &self.rules {
            Some(real) => real.check(message, now),
            None => check(&self.capabilities, message),
        }
    }

    fn warnings(&self, message: &Message, now: UnixMillis) -> Vec<Violation> {
        self.rules.as_ref().map(|real| real.warnings(message, now)).unwrap_or_default()
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        let client_ref = context.attempt.to_string();
        let reaction = self.provider.react(&SendCall {
            channel: &self.channel,
            recipient: &message.to,
            client_ref: Some(&client_ref),
            tells: ChannelTells {
                reads: self.capabilities.tells(Status::Read),
                quotes: self.capabilities.tells(Status::Replied),
            },
        });
        let mut awaited = Vec::new();
        let entries: Vec<_> = reaction
            .receipts
            .into_iter()
            .filter_map(|planned| self.due(planned))
            .map(|(due, early, receipt)| {
                let taken = early.then(|| {
                    let (tell, told) = oneshot::channel();
                    awaited.push(told);
                    tell
                });
                let (account, about) = (context.account.name.clone(), receipt.provider_id.clone());
                let inbound = self.inbound(receipt, message);
                (due, Due { account, message: about, inbound, taken })
            })
            .collect();
        if !entries.is_empty() && self.due.add(self.provider.clock(), entries).await {
            for told in awaited {
                // An error means that `run` has ended: nobody is going to tell.
                let _ = told.await;
            }
        }
        answer(reaction.answered)
    }

    /// What was delivered stays so. What was not is not going to be, and nothing is told of it any more.
    async fn recall(&self, _: &SendContext<'_>, provider_id: &str) -> Result<Recall, AdapterError> {
        if !self.capabilities.recall {
            return Err(cannot_recall());
        }
        let recall = self.provider.recall(provider_id);
        if recall == Recall::Recalled {
            self.due.remove(|due| due.message.as_deref() == Some(provider_id));
        }
        Ok(recall)
    }
}

impl fmt::Debug for SandboxAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxAdapter")
            .field("name", &self.name)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

/// What the engine is told of an answer: the adapter's one table.
fn answer(answered: CallResult) -> Result<Accepted, AdapterError> {
    let error = match answered {
        CallResult::Accepted { provider_id } | CallResult::AcceptedBefore { provider_id } => {
            return Ok(Accepted::under(provider_id));
        }
        CallResult::Rejected(code) => {
            let meaning = refusal(code);
            AdapterError::new(meaning.kind, meaning.fault, meaning.retry, meaning.sentence)
                .with_code(code.to_string())
        }
        CallResult::Throttled { after } => AdapterError::new(
            ErrorKind::Throttled,
            Fault::Provider,
            Retry::Temporary { after },
            refusal(1000).sentence,
        )
        .with_code("1000"),
        CallResult::Failed => AdapterError::new(
            ErrorKind::ProviderFailure,
            Fault::Provider,
            Retry::Unknown,
            "the provider failed, and did not say whether it sent the message",
        )
        .with_code("500"),
        CallResult::Nothing => AdapterError::new(
            ErrorKind::Timeout,
            Fault::Provider,
            Retry::Unknown,
            "the provider did not answer in time",
        ),
    };
    Err(error)
}
