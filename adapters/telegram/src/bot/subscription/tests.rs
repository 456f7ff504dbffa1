use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use dispatch_contract::Secret;
use dispatch_kit::conformance::{Behaviour, PlayedProvider, Stub, StubAnswer, clock};
use serde_json::Value;
use tokio::{sync::Notify, time::timeout};

use super::*;

const URL: &str = "https://dispatch.example/receipts/telegram_bot/main";
const PATIENCE: Duration = Duration::from_secs(20);

/// Accounts of a service with a public address.
#[derive(Default)]
struct Accounts {
    now: Mutex<Vec<Arc<Account>>>,
    changed: Notify,
}

impl Accounts {
    fn set(&self, account: Account) {
        *self.now.lock().unwrap() = vec![Arc::new(account)];
        self.changed.notify_one();
    }
}

#[async_trait]
impl ProviderAccounts for Accounts {
    fn now(&self) -> Vec<Arc<Account>> {
        self.now.lock().unwrap().clone()
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    fn callback_url(&self, account: &str) -> Option<String> {
        (account == "main").then(|| URL.to_owned())
    }
}

fn account(base_url: &str, secret_token: &str) -> Account {
    let secret = |name: &str, text: &str| (name.to_owned(), Secret::new(text));
    Account {
        name: "main".to_owned(),
        revision: 1,
        settings: [("base_url".to_owned(), base_url.to_owned())].into(),
        secrets: [secret("bot_token", "123456789:AA-x"), secret("secret_token", secret_token)]
            .into(),
    }
}

/// A server at which a bot's updates go to `url`.
fn telegram(url: &str) -> Stub {
    let answer = json!({ "ok": true, "result": { "url": url, "pending_update_count": 0 } });
    Stub::start(Behaviour::Answer(StubAnswer::new(200, answer.to_string()))).unwrap()
}

/// The requests, once there are so many; they are the first of them.
async fn requests(stub: &Stub, count: usize) -> Vec<String> {
    let come = async {
        while stub.requests().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, come).await.expect("the calls");
    stub.requests()
}

/// While accounts are kept.
async fn kept(accounts: &Accounts, meanwhile: impl Future<Output = ()>) {
    let (client, clock) = (HttpClient::new(), clock());
    tokio::select! {
        () = keep(&client, accounts, &*clock) => unreachable!("it never ends"),
        () = meanwhile => {}
    }
}

fn body(request: &str) -> Value {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn telegram_is_told_at_the_start_and_again_when_the_account_says_something_else() {
    let stub = telegram("");
    let accounts = Accounts::default();
    accounts.set(account(&stub.url(), "first"));
    kept(&accounts, async {
        let told = requests(&stub, 2).await;
        assert!(told[0].starts_with("GET /bot123456789:AA-x/getWebhookInfo "), "{}", told[0]);
        assert!(told[1].starts_with("POST /bot123456789:AA-x/setWebhook "), "{}", told[1]);
        let expected = json!({
            "url": URL, "secret_token": "first", "allowed_updates": ["message", "callback_query"],
        });
        assert_eq!(body(&told[1]), expected);

        accounts.set(account(&stub.url(), "second"));
        let told = requests(&stub, 4).await;
        assert_eq!(body(&told[3])["secret_token"], "second");
    })
    .await;
}

#[tokio::test]
async fn an_account_that_says_the_same_is_told_of_once_in_a_life() {
    let stub = telegram(URL);
    let accounts = Accounts::default();
    let mut done = BTreeMap::new();
    for revision in [1, 2] {
        accounts.set(Account { revision, ..account(&stub.url(), "first") });
        assert!(subscribe(&HttpClient::new(), &accounts, &*clock(), &mut done).await);
        assert_eq!(stub.requests().len(), 2);
    }
    // One that went is forgotten, and told of once it is back.
    accounts.now.lock().unwrap().clear();
    assert!(subscribe(&HttpClient::new(), &accounts, &*clock(), &mut done).await);
    assert!(done.is_empty());
}

#[tokio::test]
async fn after_an_hour_it_is_asked_and_told_again_where_another_program_said_otherwise() {
    for (url, calls) in [(URL, 1), ("https://else.example/", 2), ("", 2)] {
        let stub = telegram(url);
        let accounts = Accounts::default();
        accounts.set(account(&stub.url(), "first"));
        let subscription = Subscription::of(&account(&stub.url(), "first"), URL.to_owned());
        let told = Done { subscription: subscription.unwrap(), look_at: Instant::now() };
        let mut done = BTreeMap::from([("main".to_owned(), told)]);
        // The second time its hour has just begun.
        for _ in 0..2 {
            assert!(subscribe(&HttpClient::new(), &accounts, &*clock(), &mut done).await);
            assert_eq!(stub.requests().len(), calls, "{url}");
        }
        assert_eq!(stub.requests().iter().any(|it| it.contains("/setWebhook ")), calls == 2);
    }
}

#[tokio::test]
async fn why_telegram_could_not_post_lately_is_known() {
    let now = clock().wall().0 / 1_000;
    let why = "Wrong response from the webhook: 401 Unauthorized";
    for (at, known) in [(now, Some(why)), (now - 3_601, None)] {
        let result = json!({ "url": URL, "last_error_date": at, "last_error_message": why });
        let answer = json!({ "ok": true, "result": result });
        let answer = StubAnswer::new(200, answer.to_string());
        let stub = Stub::start(Behaviour::Answer(answer)).unwrap();
        let wanted = Subscription::of(&account(&stub.url(), "first"), URL.to_owned()).unwrap();
        let found = wanted.make(&HttpClient::new(), &*clock(), true).await.unwrap();
        assert_eq!(found.last_error.as_deref(), known, "{at}");
    }
}

#[test]
fn a_bot_that_hears_nobody_is_named_once() {
    let accounts = Accounts::default();
    let mut deaf = BTreeSet::new();
    accounts.set(account("https://a.example", "first"));
    name_deaf(&accounts, &mut deaf);
    assert!(deaf.is_empty());
    let mut without = account("https://a.example", "first");
    without.secrets.remove("secret_token");
    accounts.set(without);
    name_deaf(&accounts, &mut deaf);
    assert_eq!(deaf.iter().collect::<Vec<_>>(), ["main"]);
}

#[tokio::test]
async fn what_failed_is_tried_again() {
    let refusal = json!({ "ok": false, "error_code": 429, "description": "Too Many Requests" });
    let refused = StubAnswer::new(429, refusal.to_string());
    let stub = Stub::start(Behaviour::Answer(refused)).unwrap();
    let accounts = Accounts::default();
    accounts.set(account(&stub.url(), "first"));
    kept(&accounts, async {
        let asked = requests(&stub, 2).await;
        assert!(asked.iter().all(|asked| asked.contains("/getWebhookInfo ")), "{asked:?}");
    })
    .await;
}

#[tokio::test]
async fn where_updates_went_before_is_known() {
    for (url, before) in
        [("", Before::Nowhere), (URL, Before::Here), ("https://else.example/", Before::Elsewhere)]
    {
        let stub = telegram(url);
        let wanted = Subscription::of(&account(&stub.url(), "first"), URL.to_owned()).unwrap();
        let told = wanted.make(&HttpClient::new(), &*clock(), false).await;
        assert_eq!(told, Ok(FoundWebhook { before, last_error: None }), "{url}");
    }
}

#[tokio::test]
async fn why_it_was_not_told_is_said_in_telegram_s_words_and_without_the_token() {
    let said = "Bad Request: bad webhook: An HTTPS URL must be provided for webhook";
    let refusal = json!({ "ok": false, "error_code": 400, "description": said });
    let refused = Behaviour::Answer(StubAnswer::new(400, refusal.to_string()));
    for (behaviour, why) in [
        (refused, format!("it answered HTTP 400: {said}")),
        (Behaviour::HangUp, "it did not answer".to_owned()),
    ] {
        let stub = Stub::start(behaviour).unwrap();
        let wanted = Subscription::of(&account(&stub.url(), "first"), URL.to_owned()).unwrap();
        assert_eq!(wanted.make(&HttpClient::new(), &*clock(), false).await, Err(why));
    }
}

#[tokio::test]
async fn only_who_has_a_secret_and_a_public_address_is_told_of_and_only_by_us() {
    let stub = telegram("");
    let mut theirs = account(&stub.url(), "first");
    theirs.settings.insert("webhook".to_owned(), "own".to_owned());
    let mut unheard = account(&stub.url(), "first");
    unheard.secrets.remove("secret_token");
    let elsewhere = Account { name: "other".to_owned(), ..account(&stub.url(), "first") };
    for account in [theirs, unheard, elsewhere] {
        let accounts = Accounts::default();
        accounts.set(account);
        let mut done = BTreeMap::new();
        assert!(subscribe(&HttpClient::new(), &accounts, &*clock(), &mut done).await);
        assert!(done.is_empty());
    }
    assert!(stub.requests().is_empty());
}
