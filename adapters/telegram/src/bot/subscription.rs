//! Tells Telegram where updates go: `setWebhook`, when the service starts and when an account changes.
//!
//! What stands there already Telegram leaves as it is, so that it is told at every start: it does not say which secret it
//! has. What failed is tried again, each time later. Nothing is ever taken away (`deleteWebhook`): who wants updates
//! elsewhere says so to Telegram.
//!
//! By the machine's own time, as all that concerns sockets.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use dispatch_contract::{Account, AdapterError, Clock, ProviderAccounts, is_printable};
use dispatch_kit::{
    http::{HttpClient, HttpRequest, HttpResponse, Method},
    json::Json,
};
use serde_json::json;

use super::{account, webhook::UPDATES};

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long after one that failed it is made again, each time longer.
const REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(600);
/// How much of what Telegram says is logged, in characters.
const SHOWN: usize = 200;

/// Sees to it that each account's updates come here, for ever.
pub(super) async fn keep(client: &HttpClient, accounts: &dyn ProviderAccounts, clock: &dyn Clock) {
    let mut done = BTreeMap::new();
    let mut rest = REST;
    loop {
        let is_done = subscribe(client, accounts, clock, &mut done).await;
        let again = async {
            match is_done {
                true => std::future::pending().await,
                false => tokio::time::sleep(rest).await,
            }
        };
        tokio::select! {
            () = accounts.changed() => rest = REST,
            () = again => rest = (rest * 2).min(LONGEST_REST),
        }
    }
}

/// Tells it of each account of which it was not told yet. Whether all is told.
async fn subscribe(
    client: &HttpClient,
    accounts: &dyn ProviderAccounts,
    clock: &dyn Clock,
    done: &mut BTreeMap<String, Subscription>,
) -> bool {
    let wanted = accounts.now().into_iter().filter_map(|account| {
        let url = accounts.callback_url(&account.name)?;
        Some((account.name.clone(), Subscription::of(&account, url)?))
    });
    let wanted: BTreeMap<_, _> = wanted.collect();
    done.retain(|name, told| wanted.get(name) == Some(told));
    for (name, subscription) in &wanted {
        if done.contains_key(name) {
            continue;
        }
        let account = name.as_str();
        match subscription.make(client, clock).await {
            Ok(before) => {
                done.insert(name.clone(), subscription.clone());
                match before {
                    Before::Elsewhere => tracing::warn!(
                        account,
                        "the bot's updates went elsewhere, and come here from now on; setting webhook = own leaves them \
                         where they are"
                    ),
                    Before::Nowhere | Before::Here => {
                        tracing::info!(account, "the bot's updates come here");
                    }
                }
            }
            Err(problem) => tracing::warn!(
                account,
                "Telegram was not told where the bot's updates go, so that nobody may be heard; it is told again later: \
                 {problem}"
            ),
        }
    }
    wanted.keys().all(|name| done.contains_key(name))
}

/// Where the updates of a bot are to go.
#[derive(Clone, PartialEq, Eq)]
struct Subscription {
    /// Where the methods are called; the token stands in it.
    ask: String,
    set: String,
    /// Where updates go.
    url: String,
    secret_token: String,
}

/// Where they went before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nowhere,
    Here,
    Elsewhere,
}

impl Subscription {
    /// `None` where nothing is to be told.
    fn of(account: &Account, url: String) -> Option<Self> {
        let secret_token = account::secret_token(account)?.to_owned();
        let method = |name| account::url(account, name).filter(|_| account::is_set_by_us(account));
        let (ask, set) = (method("getWebhookInfo")?, method("setWebhook")?);
        Some(Subscription { ask, set, url, secret_token })
    }

    /// Tells it. Where updates went before, or why they do not come here: one sentence.
    async fn make(&self, client: &HttpClient, clock: &dyn Clock) -> Result<Before, String> {
        let info = self.call(client, clock, &self.ask, Vec::new()).await?;
        let is_ours = |url: Cow<'_, str>| match &*url {
            "" => Before::Nowhere,
            url if url == self.url => Before::Here,
            _ => Before::Elsewhere,
        };
        let before = Json::of(&info.body).read("result", |it| it.read("url", Json::text));
        let body = json!({
            "url": self.url,
            "secret_token": self.secret_token,
            "allowed_updates": UPDATES,
        });
        self.call(client, clock, &self.set, body.to_string().into_bytes()).await?;
        Ok(before.map_or(Before::Nowhere, is_ours))
    }

    async fn call(
        &self,
        client: &HttpClient,
        clock: &dyn Clock,
        url: &str,
        body: Vec<u8>,
    ) -> Result<HttpResponse, String> {
        let call = HttpRequest {
            method: if body.is_empty() { Method::GET } else { Method::POST },
            url,
            authorization: None,
            content_type: "application/json",
            headers: &[],
            body,
            timeout: TIMEOUT,
            now: clock.wall(),
        };
        let unanswered = |error: AdapterError| match error.cause {
            Some(cause) => format!("it cannot be reached: {}", cause.in_words()),
            None => "it did not answer".to_owned(),
        };
        let answer = client.call(call).await.map_err(unanswered)?;
        match answer.status {
            200..=299 => Ok(answer),
            status => Err(format!("it answered HTTP {status}{}", said(&answer))),
        }
    }
}

/// What Telegram says is wrong, which is about addresses and tokens, and no person.
fn said(answer: &HttpResponse) -> String {
    let text = Json::of(&answer.body).read("description", Json::text);
    let shown = text.map(|text| text.chars().take(SHOWN).collect::<String>());
    shown.filter(|text| is_printable(text)).map_or_else(String::new, |text| format!(": {text}"))
}

#[cfg(test)]
mod tests;
