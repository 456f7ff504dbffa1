//! Tells Telegram where updates go: `setWebhook`, when the service starts and when an account changes.
//!
//! What stands there already Telegram leaves as it is, so that it is told at every start: it does not say which secret it
//! has. What failed is tried again, each time later. Every hour it is asked whether that is still so, and told again where
//! another program has said otherwise. Nothing is ever taken away (`deleteWebhook`): who wants updates elsewhere says so
//! in the account.
//!
//! By the machine's own time, as all that concerns sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use dispatch_contract::{Account, AdapterError, Clock, ProviderAccounts, UnixMillis, is_printable};
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
/// How long after it was told or asked it is asked whether that is still so.
const LOOK: Duration = Duration::from_secs(60 * 60);
/// How much of what Telegram says is logged, in characters.
const SHOWN: usize = 200;

/// Sees to it that each account's updates come here, for ever.
pub(super) async fn keep(client: &HttpClient, accounts: &dyn ProviderAccounts, clock: &dyn Clock) {
    let (mut done, mut deaf) = (BTreeMap::new(), BTreeSet::new());
    let mut rest = REST;
    loop {
        name_deaf(accounts, &mut deaf);
        let is_done = subscribe(client, accounts, clock, &mut done).await;
        let (wait, next) = match is_done {
            true => (LOOK, REST),
            false => (rest, (rest * 2).min(LONGEST_REST)),
        };
        tokio::select! {
            () = accounts.changed() => rest = REST,
            () = tokio::time::sleep(wait) => rest = next,
        }
    }
}

/// Tells the log, once, of each account whose bot can hear nobody.
fn name_deaf(accounts: &dyn ProviderAccounts, deaf: &mut BTreeSet<String>) {
    let now = accounts.now();
    let without = now.iter().filter(|account| account::secret_token(account).is_none());
    let without: BTreeSet<_> = without.map(|account| account.name.clone()).collect();
    for account in without.difference(deaf) {
        tracing::info!(
            account,
            "the account has no secret_token: what people write to the bot is not heard"
        );
    }
    *deaf = without;
}

/// Tells it of each account of which it was not told yet, and asks after those whose time has come. Whether all is told.
async fn subscribe(
    client: &HttpClient,
    accounts: &dyn ProviderAccounts,
    clock: &dyn Clock,
    done: &mut BTreeMap<String, Done>,
) -> bool {
    let wanted = accounts.now().into_iter().filter_map(|account| {
        let url = accounts.callback_url(&account.name)?;
        Some((account.name.clone(), Subscription::of(&account, url)?))
    });
    let wanted: BTreeMap<_, _> = wanted.collect();
    done.retain(|name, told| wanted.get(name) == Some(&told.subscription));
    for (name, subscription) in wanted.iter() {
        let is_told = match done.get(name) {
            Some(told) if Instant::now() < told.look_at => continue,
            told => told.is_some(),
        };
        match subscription.make(client, clock, is_told).await {
            Ok(found) => {
                found.log(name, is_told);
                let look_at = Instant::now() + LOOK;
                done.insert(name.clone(), Done { subscription: subscription.clone(), look_at });
            }
            Err(problem) => {
                done.remove(name);
                tracing::warn!(
                    account = name,
                    "Telegram was not told where the bot's updates go, so that nobody may be heard; it is told again \
                     later: {problem}"
                );
            }
        }
    }
    wanted.keys().all(|name| done.contains_key(name))
}

/// What was told, and when it is to be asked whether it is still so.
struct Done {
    subscription: Subscription,
    look_at: Instant,
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

/// What Telegram said of a bot's updates, before it was told anything.
#[derive(Debug, PartialEq, Eq)]
struct FoundWebhook {
    before: Before,
    /// Why it could not post one lately.
    last_error: Option<String>,
}

impl FoundWebhook {
    fn log(&self, account: &str, is_told: bool) {
        match (self.before, is_told) {
            (Before::Elsewhere, false) => tracing::warn!(
                account,
                "the bot's updates went elsewhere, and come here from now on; setting webhook = own leaves them where they \
                 are"
            ),
            (Before::Nowhere | Before::Here, false) => {
                tracing::info!(account, "the bot's updates come here");
            }
            (Before::Nowhere | Before::Elsewhere, true) => tracing::warn!(
                account,
                "another program has told Telegram that the bot's updates do not come here; they do again, and what came \
                 meanwhile may be lost; setting webhook = own leaves them where they are"
            ),
            (Before::Here, true) => {}
        }
        if let Some(why) = &self.last_error {
            tracing::warn!(account, "Telegram could not post an update of the bot's here: {why}");
        }
    }
}

impl Subscription {
    /// `None` where nothing is to be told.
    fn of(account: &Account, url: String) -> Option<Self> {
        let secret_token = account::secret_token(account)?.to_owned();
        let method = |name| account::url(account, name).filter(|_| account::is_set_by_us(account));
        let (ask, set) = (method("getWebhookInfo")?, method("setWebhook")?);
        Some(Subscription { ask, set, url, secret_token })
    }

    /// Asks, and tells it, unless it was told and it is still so. What it said, or why updates do not come here: one
    /// sentence.
    async fn make(
        &self,
        client: &HttpClient,
        clock: &dyn Clock,
        is_told: bool,
    ) -> Result<FoundWebhook, String> {
        let info = self.call(client, clock, &self.ask, Vec::new()).await?;
        let found = self.found(Json::of(&info.body), clock.wall());
        if is_told && found.before == Before::Here {
            return Ok(found);
        }
        let body = json!({
            "url": self.url,
            "secret_token": self.secret_token,
            "allowed_updates": UPDATES,
        });
        self.call(client, clock, &self.set, body.to_string().into_bytes()).await?;
        Ok(found)
    }

    fn found(&self, answer: Json<'_>, now: UnixMillis) -> FoundWebhook {
        let url = answer.read("result", |it| it.read("url", Json::text)).unwrap_or_default();
        let before = match &*url {
            "" => Before::Nowhere,
            url if url == self.url => Before::Here,
            _ => Before::Elsewhere,
        };
        let last_error = answer.read("result", |it| {
            // Telegram tells of the last one for ever, in seconds.
            let at: u64 = it.read("last_error_date", Json::scalar)?.parse().ok()?;
            let since = u128::from(now.0).saturating_sub(u128::from(at) * 1_000);
            it.read("last_error_message", shown).filter(|_| since < LOOK.as_millis())
        });
        FoundWebhook { before, last_error }
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
    let said = Json::of(&answer.body).read("description", shown);
    said.map_or_else(String::new, |text| format!(": {text}"))
}

fn shown(text: Json<'_>) -> Option<String> {
    let shown: String = text.text()?.chars().take(SHOWN).collect();
    is_printable(&shown).then_some(shown)
}

#[cfg(test)]
mod tests;
