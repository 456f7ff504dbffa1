//! One channel through an adapter in a program of its own.

use std::sync::Arc;

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, AdapterError, AddressForm, Capabilities, Channel, ChannelAdapter, Content,
    ContentKind, Correlation, ErrorKind, Fault, Field, Limits, Message, OptionsForm, Recall, Retry,
    SendContext, Status, UnixMillis, Violation, cannot_recall, check,
};

use crate::{
    call::{request, within},
    description::ChannelDescription,
    read,
    remote::Remote,
    write,
};

/// Sends on one channel through an adapter in a program of its own.
///
/// Until that has told what the channel can do, it takes no new workflow, and says why; what is open waits for it,
/// as for an adapter that is down.
pub(crate) struct RemoteAdapter {
    name: String,
    channel: Channel,
    remote: Arc<Remote>,
    /// What holds for open workflows until the adapter has told: none of them goes another way for it.
    untold: Capabilities,
}

impl RemoteAdapter {
    /// The adapter of a channel, as routes name it.
    pub(crate) fn name_of(provider: &str, channel: &Channel) -> String {
        match channel.as_str() == provider {
            true => provider.to_owned(),
            false => format!("{provider}-{channel}"),
        }
    }

    /// The channel of an adapter that routes name so, if it is one of this provider's.
    pub(crate) fn channel_of(provider: &str, name: &str) -> Option<Channel> {
        let rest = name.strip_prefix(provider)?;
        match rest.strip_prefix('-') {
            Some(channel) => channel.parse().ok(),
            None if rest.is_empty() => provider.parse().ok(),
            None => None,
        }
    }

    pub(crate) fn new(remote: Arc<Remote>, channel: Channel) -> RemoteAdapter {
        let name = RemoteAdapter::name_of(&remote.name, &channel);
        RemoteAdapter { name, channel, remote, untold: untold() }
    }

    fn description(&self) -> Option<&ChannelDescription> {
        self.remote.description()?.channel(&self.channel)
    }

    /// Why nothing can be asked of it now.
    fn ready(&self) -> Result<&ChannelDescription, AdapterError> {
        if let Some(down) = self.remote.down() {
            let detail = format!("adapter {} is down: {}", self.remote.name, down.why);
            let error = not_made(detail);
            return Err(match down.cause {
                Some(cause) => error.with_cause(cause),
                None => error,
            });
        }
        self.description().ok_or_else(|| not_made(self.untold_problem()))
    }

    /// Why nothing is known of the channel.
    fn untold_problem(&self) -> String {
        let (name, place, channel) = (&self.remote.name, self.remote.place(), &self.channel);
        match (self.remote.description(), self.remote.down()) {
            (Some(_), _) => format!("adapter {name} at {place} brings no channel {channel}"),
            (None, Some(down)) => format!(
                "adapter {name} at {place} is down ({}), and has never told what channel {channel} can do",
                down.why
            ),
            (None, None) => {
                format!("adapter {name} at {place} has not told yet what channel {channel} can do")
            }
        }
    }
}

fn not_made(detail: String) -> AdapterError {
    let retry = Retry::Temporary { after: None };
    AdapterError::new(ErrorKind::Unreachable, Fault::Provider, retry, detail)
}

/// Everything, so that nothing open is held to be impossible.
fn untold() -> Capabilities {
    let limits = Limits { text_chars: u32::MAX, caption_chars: u32::MAX, url_bytes: u32::MAX };
    let forms = vec![
        AddressForm::Id,
        AddressForm::E164,
        AddressForm::ShortCode,
        AddressForm::Alphanumeric,
        AddressForm::Email,
    ];
    let above_pending = Status::ALL.into_iter().filter(|status| *status > Status::Pending);
    Capabilities {
        condition_statuses: above_pending.collect(),
        content: ContentKind::ALL.to_vec(),
        captions: ContentKind::ALL.to_vec(),
        limits,
        to: forms.clone(),
        from: forms,
        idempotent_for: None,
        correlation: Correlation::AttemptId,
        options: OptionsForm::NONE,
        recall: false,
        parts: false,
        watermarks: false,
        ids_name_recipients: false,
    }
}

#[async_trait]
impl ChannelAdapter for RemoteAdapter {
    fn name(&self) -> &str {
        &self.name
    }

    fn provider(&self) -> &str {
        &self.remote.name
    }

    fn channel(&self) -> &Channel {
        &self.channel
    }

    fn capabilities(&self) -> &Capabilities {
        self.description().map_or(&self.untold, |described| &described.capabilities)
    }

    fn check(&self, message: &Message, _now: UnixMillis) -> Vec<Violation> {
        let Some(described) = self.description() else {
            return vec![Violation::new(Field::Content, self.untold_problem())];
        };
        let mut found = check(&described.capabilities, message);
        for (field, wrong) in [
            (Field::From, described.wrong_sender(&message.from)),
            (Field::To, described.wrong_recipient(&message.to)),
        ] {
            if let Some(wrong) = wrong
                && found.iter().all(|violation| violation.field != field)
            {
                found.push(Violation::new(field, wrong));
            }
        }
        if let Content::Custom(json) = &message.content
            && serde_json::from_str::<serde_json::Map<_, _>>(json).is_err()
        {
            found.push(Violation::new(Field::Within("custom"), "must be a JSON object"));
        }
        found
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        self.ready()?;
        let made = async {
            let asked = request(write::send(context, message), context.timeout);
            within(context.timeout, self.remote.client()?.send(asked)).await
        };
        match made.await {
            Ok(told) => read::sent(told),
            Err(problem) => {
                if problem.may_mean_down() {
                    self.remote.lost.notify_one();
                }
                Err(problem.error(&self.remote.name))
            }
        }
    }

    async fn recall(
        &self,
        context: &SendContext<'_>,
        provider_id: &str,
    ) -> Result<Recall, AdapterError> {
        if !self.ready()?.capabilities.recall {
            return Err(cannot_recall());
        }
        let made = async {
            let asked = write::recall(context, self.channel.as_str(), provider_id);
            let asked = request(asked, context.timeout);
            within(context.timeout, self.remote.client()?.recall(asked)).await
        };
        match made.await {
            Ok(told) => read::recalled(told),
            Err(problem) => Err(problem.error(&self.remote.name)),
        }
    }
}
