//! `SandboxService`: the simulated provider and the test clock, by remote control. It is there only
//! where a sandbox serves.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dispatch_contract::{Endpoint, UnixMillis};
use tonic::{Request, Response, Status};

use super::{guard::caller, render};
use crate::{
    api::{Error, PageSize, Showing, token::PAGE_WANTED},
    pb::v1::{
        AdvanceClockRequest, AdvanceClockResponse, ListScriptsRequest, ListScriptsResponse,
        ListSentMessagesRequest, ListSentMessagesResponse, Script, ScriptWord, SentMessage,
        SetScriptRequest, SetScriptResponse, sandbox_service_server,
    },
};

/// The longest leap of the test clock.
const LEAP_MOST: Duration = Duration::from_secs(100 * 86_400);
/// The longest script, in bytes.
const SCRIPT_MOST_BYTES: usize = 1000;

/// A simulated provider, as far as its remote control needs it.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Moves the test clock and returns when all that became due is done; `None` if the clock is a
    /// real one.
    async fn advance(&self, by: Duration) -> Option<UnixMillis>;

    /// Sets, or with `None` clears, what happens to messages for `recipient`.
    ///
    /// # Errors
    /// If the script cannot be read; the text says what would be right.
    fn set_script(&self, recipient: &str, script: Option<&str>) -> Result<(), String>;

    /// Sets what happens to messages for whoever has no script.
    ///
    /// # Errors
    /// As [`set_script`](Self::set_script).
    fn set_default_script(&self, script: &str) -> Result<(), String>;

    /// The scripts by recipient.
    fn scripts(&self) -> Vec<(String, String)>;

    /// The words of the scripts' language, each with its meaning.
    fn words(&self) -> Vec<(String, String)>;

    /// The messages that were really sent, oldest first.
    fn sent(&self) -> Vec<Sent>;
}

/// A message that the simulated provider sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When, in engine time.
    pub at: UnixMillis,
    /// The channel's name.
    pub channel: String,
    /// The recipient.
    pub to: String,
    /// The provider's id of it.
    pub provider_id: String,
    /// What the caller called it: our attempt's id.
    pub attempt_id: String,
}

/// The service, in front of a sandbox.
#[derive(Clone)]
pub struct SandboxService(Arc<dyn Sandbox>);

impl SandboxService {
    /// In front of `sandbox`.
    pub fn new(sandbox: Arc<dyn Sandbox>) -> Self {
        SandboxService(sandbox)
    }
}

#[tonic::async_trait]
impl sandbox_service_server::SandboxService for SandboxService {
    async fn advance_clock(
        &self,
        request: Request<AdvanceClockRequest>,
    ) -> Result<Response<AdvanceClockResponse>, Status> {
        let by = Duration::try_from(request.into_inner().by.unwrap_or_default()).ok();
        let Some(by) = by.filter(|by| *by <= LEAP_MOST) else {
            return Err(Error::invalid("by", "must be a duration of 0 s to 100 days").into());
        };
        match self.0.advance(by).await {
            Some(now) => {
                Ok(Response::new(AdvanceClockResponse { now: Some(render::timestamp(now)) }))
            }
            None => Err(Error::RealClock.into()),
        }
    }

    async fn set_script(
        &self,
        request: Request<SetScriptRequest>,
    ) -> Result<Response<SetScriptResponse>, Status> {
        let SetScriptRequest { recipient, script } = request.into_inner();
        if !(1..=50).contains(&recipient.len()) {
            return Err(
                Error::invalid("recipient", "must be an id or a number of 1 to 50 bytes").into()
            );
        }
        if script.len() > SCRIPT_MOST_BYTES {
            let wanted = format!("must have at most {SCRIPT_MOST_BYTES} bytes");
            return Err(Error::invalid("script", wanted).into());
        }
        let script = Some(script.as_str()).filter(|script| !script.is_empty());
        match self.0.set_script(&recipient, script) {
            Ok(()) => Ok(Response::new(SetScriptResponse {})),
            Err(problem) => Err(Error::invalid("script", problem).into()),
        }
    }

    async fn list_scripts(
        &self,
        request: Request<ListScriptsRequest>,
    ) -> Result<Response<ListScriptsResponse>, Status> {
        let ListScriptsRequest { page_size, page_token } = request.into_inner();
        let size = PageSize::OF_SMALL.of(page_size)?;
        // The last recipient, so that scripts that come and go move nothing.
        let after = match page_token.as_str() {
            "" => None,
            token => {
                let read = URL_SAFE_NO_PAD.decode(token).ok();
                let read = read.and_then(|bytes| String::from_utf8(bytes).ok());
                Some(read.ok_or_else(|| Error::invalid("page_token", PAGE_WANTED))?)
            }
        };
        let mut scripts = self.0.scripts();
        scripts.sort();
        scripts.retain(|(recipient, _)| after.as_ref().is_none_or(|after| recipient > after));
        let has_more = scripts.len() > size;
        scripts.truncate(size);
        let last = scripts.last().filter(|_| has_more);
        let next = last.map(|(recipient, _)| URL_SAFE_NO_PAD.encode(recipient));
        let scripts = scripts.into_iter();
        let words = self.0.words().into_iter();
        Ok(Response::new(ListScriptsResponse {
            scripts: scripts.map(|(recipient, script)| Script { recipient, script }).collect(),
            next_page_token: next.unwrap_or_default(),
            words: words.map(|(word, meaning)| ScriptWord { word, meaning }).collect(),
        }))
    }

    async fn list_sent_messages(
        &self,
        request: Request<ListSentMessagesRequest>,
    ) -> Result<Response<ListSentMessagesResponse>, Status> {
        let showing = Showing::to(&caller(&request)?);
        let request = request.into_inner();
        let size = PageSize::OF_SMALL.of(request.page_size)?;
        let skip: usize = match request.page_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| Error::invalid("page_token", PAGE_WANTED))?,
        };
        let of = request.recipient;
        let sent = self.0.sent().into_iter().filter(|sent| of.is_empty() || sent.to == of);
        let shown = |sent| shown(sent, showing);
        let mut messages: Vec<_> = sent.skip(skip).take(size + 1).map(shown).collect();
        let has_more = messages.len() > size;
        messages.truncate(size);
        let next_page_token = if has_more { (skip + size).to_string() } else { String::new() };
        Ok(Response::new(ListSentMessagesResponse { messages, next_page_token }))
    }
}

fn shown(sent: Sent, showing: Showing) -> SentMessage {
    let is_number = sent.to.bytes().all(|byte| byte.is_ascii_digit());
    let recipient = if is_number { Endpoint::Number(sent.to) } else { Endpoint::Id(sent.to) };
    SentMessage {
        time: Some(render::timestamp(sent.at)),
        channel: sent.channel,
        recipient: showing.address(&recipient).value().to_owned(),
        provider_message_id: sent.provider_id,
        attempt_id: sent.attempt_id,
    }
}

impl std::fmt::Debug for SandboxService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SandboxService")
    }
}
