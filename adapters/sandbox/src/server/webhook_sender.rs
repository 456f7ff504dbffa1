//! Takes status webhooks to their receivers: has them signed, posts, and repeats what was not taken.
//!
//! Repeated by the injected clock: after 5, 10, 20, … 640 s, then every 900 s, for 24 h. Each time it is
//! signed anew.

use std::{sync::Arc, time::Duration};

use dispatch_contract::UnixMillis;
use reqwest::header;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ServerConfigError;
use crate::{provider::SimulatedProvider, queue::Queue, script::ReceiptSigning};

/// How long a receiver may take to answer. Real time, as all that concerns sockets.
const TIMEOUT: Duration = Duration::from_secs(10);

/// For how long after the first try a webhook is repeated.
const HORIZON: Duration = Duration::from_secs(24 * 3600);

/// Webhooks of one message are posted one after the other, those of different messages may go side
/// by side; so many at most.
const LANES: usize = 8;

/// Posts webhooks when they are due.
pub(super) struct WebhookSender {
    provider: Arc<SimulatedProvider>,
    client: reqwest::Client,
    lanes: [Queue<WebhookPost>; LANES],
}

/// Signs webhooks as one provider does.
pub(super) trait WebhookSigner: Send + Sync {
    /// The headers that make a webhook to `url` with this body genuine; none if that failed.
    fn sign(&self, url: &str, body: &[u8]) -> Vec<(&'static str, String)>;
}

/// A webhook, before it is signed.
pub(super) struct WebhookDraft {
    pub(super) url: String,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    /// `None`: it is not signed.
    pub(super) signer: Option<Arc<dyn WebhookSigner>>,
}

/// A webhook on its way. Its body is personal data.
pub(super) struct WebhookPost {
    /// The id of the message that it is about.
    message: String,
    draft: WebhookDraft,
    signing: ReceiptSigning,
    /// How often it has been posted in vain.
    tries: u32,
    /// When it was due first.
    since: UnixMillis,
}

impl WebhookPost {
    pub(super) fn new(
        message: &str,
        draft: WebhookDraft,
        signing: ReceiptSigning,
        due: UnixMillis,
    ) -> Self {
        WebhookPost { message: message.to_owned(), draft, signing, tries: 0, since: due }
    }
}

impl WebhookSender {
    #[expect(clippy::disallowed_methods, reason = "a provider is no part of the service")]
    pub(super) fn new(provider: Arc<SimulatedProvider>) -> Result<Self, ServerConfigError> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            // A webhook goes where it was asked to go, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| ServerConfigError::client(&error))?;
        let lanes = std::array::from_fn(|_| Queue::new());
        Ok(WebhookSender { provider, client, lanes })
    }

    /// Keeps webhooks about a message until they are due.
    pub(super) async fn plan(
        &self,
        message: &str,
        posts: impl IntoIterator<Item = (UnixMillis, WebhookPost)>,
    ) {
        self.lane(message).add(self.provider.clock(), posts).await;
    }

    /// Posts nothing more about a message.
    pub(super) fn forget(&self, message: &str) {
        self.lane(message).remove(|post| post.message == message);
    }

    /// Posts a webhook about a message at once; if it is not taken, it is planned anew.
    pub(super) async fn post_now(&self, message: &str, post: WebhookPost) {
        self.try_post(self.lane(message), post).await;
    }

    /// Posts what is due until `cancel`.
    pub(super) async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let mut lanes = JoinSet::new();
        for at in 0..LANES {
            let (webhook_sender, cancel) = (Arc::clone(&self), cancel.clone());
            lanes.spawn(async move {
                cancel
                    .run_until_cancelled(webhook_sender.run_lane(&webhook_sender.lanes[at]))
                    .await;
            });
        }
        while lanes.join_next().await.is_some() {}
    }

    async fn run_lane(&self, lane: &Queue<WebhookPost>) {
        let mut attendance = lane.attend();
        loop {
            for post in attendance.due(self.provider.clock()).await {
                self.try_post(lane, post).await;
            }
        }
    }

    async fn try_post(&self, lane: &Queue<WebhookPost>, mut post: WebhookPost) {
        let problem = match self.request(&post).send().await {
            Ok(response) if response.status().is_success() => return,
            Ok(response) => format!("answered {}", response.status().as_u16()),
            // Without the address: it may carry a secret of the receiver's.
            Err(error) => error.without_url().to_string(),
        };
        let now = self.provider.clock().now();
        let delay = retry_delay(post.tries);
        post.tries += 1;
        if now + delay > post.since + HORIZON {
            tracing::warn!(tries = post.tries, %problem, "a status webhook was given up");
            return;
        }
        tracing::debug!(tries = post.tries, %problem, ?delay, "a status webhook will be repeated");
        lane.add(self.provider.clock(), [(now + delay, post)]).await;
    }

    fn request(&self, post: &WebhookPost) -> reqwest::RequestBuilder {
        let WebhookDraft { url, content_type, body, signer } = &post.draft;
        let request =
            self.client.post(url).header(header::CONTENT_TYPE, *content_type).body(body.clone());
        let signs = match post.signing {
            ReceiptSigning::Signed => true,
            ReceiptSigning::SignedWhenRepeated => post.tries > 0,
            ReceiptSigning::Unsigned => false,
        };
        let signer = signer.as_ref().filter(|_| signs);
        let headers = signer.map(|signer| signer.sign(url, body)).unwrap_or_default();
        headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    fn lane(&self, message: &str) -> &Queue<WebhookPost> {
        let sum = message.bytes().map(usize::from).sum::<usize>();
        &self.lanes[sum % LANES]
    }
}

/// How long after the `tries`-th repeat the next one follows: 5 s, doubled up to 640 s, then 900 s.
fn retry_delay(tries: u32) -> Duration {
    match tries {
        0..=7 => first_retry() * 2_u32.pow(tries),
        8.. => Duration::from_secs(900),
    }
}

/// How long after a webhook in vain it is repeated for the first time.
pub(crate) const fn first_retry() -> Duration {
    Duration::from_secs(5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_come_at_the_providers_own_intervals() {
        let seconds: Vec<_> = (0..10).map(|tries| retry_delay(tries).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
    }
}
