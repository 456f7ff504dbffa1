//! What every front shares: the provider, whoever posts its webhooks, and how a call is read and answered.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use dispatch_contract::{Recall, Receipt};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::webhook_sender::{WebhookDraft, WebhookPost, WebhookSender};
use crate::{
    provider::{SendCall, SimulatedProvider},
    record::CallResult,
};

/// The longest body of a call, in bytes.
const BODY_LIMIT: usize = 256 * 1024;

/// How long a caller may take to send its body. Real time, as all that concerns sockets.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes dates as HTTP wants them.
static DATES: DateTimePrinter = DateTimePrinter::new();

/// How long a connection is kept open on which nothing will be answered: longer than any caller
/// waits, and short enough not to gather them.
const SILENCE_LIMIT: Duration = Duration::from_secs(300);

/// Where a call is played.
pub(super) struct SharedServer {
    pub(super) provider: Arc<SimulatedProvider>,
    pub(super) webhook_sender: Arc<WebhookSender>,
    /// The end of the server.
    pub(super) cancel: CancellationToken,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug)]
pub(super) enum UnreadBody {
    /// It broke off, or is too long.
    TooLong,
    /// It took too long.
    TooSlow,
}

impl SharedServer {
    /// Lets the provider react, and sees to it that its receipts go out, as `webhook` writes each; where it
    /// writes none, nobody is told.
    pub(super) async fn play(
        &self,
        call: &SendCall<'_>,
        webhook: impl Fn(&Receipt) -> Option<WebhookDraft>,
    ) -> CallResult {
        let reaction = self.provider.react(call);
        let Some(message) =
            reaction.receipts.first().and_then(|planned| planned.receipt.provider_id.clone())
        else {
            return reaction.answered;
        };
        let (early, later): (Vec<_>, Vec<_>) = reaction
            .receipts
            .into_iter()
            .filter_map(|planned| {
                let draft = webhook(&planned.receipt)?;
                let post = WebhookPost::new(&message, draft, planned.signing, planned.due);
                Some((planned.early, (planned.due, post)))
            })
            .partition(|(early, _)| *early);
        // First what must not get lost if the caller hangs up meanwhile.
        self.webhook_sender.plan(&message, later.into_iter().map(|(_, post)| post)).await;
        for (_, (_, post)) in early {
            self.webhook_sender.post_now(&message, post).await;
        }
        reaction.answered
    }

    /// Takes a message back that nobody has yet; nothing more is told of it then.
    pub(super) fn recall(&self, message: &str) -> Recall {
        let recall = self.provider.recall(message);
        if recall == Recall::Recalled {
            self.webhook_sender.forget(message);
        }
        recall
    }

    /// Waits until the caller gives up, which ends this future, or has waited beyond all measure.
    pub(super) async fn silence(&self) -> Response {
        let waited = tokio::time::timeout(SILENCE_LIMIT, self.cancel.cancelled()).await;
        let status = match waited {
            Ok(()) => StatusCode::SERVICE_UNAVAILABLE,
            Err(_) => StatusCode::GATEWAY_TIMEOUT,
        };
        status.into_response()
    }
}

/// A call's body.
pub(super) async fn read(body: Body) -> Result<Bytes, UnreadBody> {
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, BODY_LIMIT)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(UnreadBody::TooLong),
        Err(_) => Err(UnreadBody::TooSlow),
    }
}

/// Whether webhooks can be posted there.
pub(super) fn is_web_address(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()))
}

/// The same answer with a `Date`, by the provider's own clock: what it tells of is by that one, too.
pub(super) fn dated(
    provider: &SimulatedProvider,
    mut response: Response,
) -> impl Future<Output = Response> + use<> {
    let wall = i64::try_from(provider.clock().wall().0).ok();
    let now = wall.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let date = now.and_then(|now| DATES.timestamp_to_rfc9110_string(&now).ok());
    if let Some(date) = date.and_then(|date| HeaderValue::from_str(&date).ok()) {
        response.headers_mut().insert(header::DATE, date);
    }
    std::future::ready(response)
}

/// An answer in JSON.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
