//! A receipt counts only for what was sent under the account that it came by.

use dispatch::config::StoreKind;

use super::*;

const FOREIGN: &str = "dispatch_receipts_of_other_accounts_total";
const OTHER_SECRET: &str = "another secret of that length....";

fn another(name: &str, secret: Option<&str>) -> AccountConfig {
    let mut settings = vec![("api_key", KEY)];
    let mut secrets = vec![("api_secret", SECRET)];
    match secret {
        Some(secret) => secrets.push(("signature_secret", secret)),
        None => settings.push(("unsigned_webhooks", "accept")),
    }
    let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    AccountConfig {
        name: name.to_owned(),
        formerly: Vec::new(),
        provider: "vonage".to_owned(),
        settings: settings.collect(),
        secrets: secrets.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_by_another_account_changes_nothing_whatever_attempt_it_names() {
    let told = Told::start_with(Shape::V1, in_memory(), |config| {
        config.accounts.push(another("other", Some(OTHER_SECRET)));
        config.accounts.push(another("test", None));
    });
    let told = told.await;
    let (id, attempt) = told.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    let before = told.get(&id).await;
    let claims = json!({ "iss": "Vonage", "iat": 1_800_000_000, "api_key": KEY });
    let mut posted = 0;
    for status in ["read", "undeliverable", "delivered"] {
        let body = told.body(&attempt, status).to_string();
        let signed = signed_with(OTHER_SECRET, claims.clone(), body.as_bytes());
        let foreign = [("/receipts/vonage/other", signed.as_str()), ("/receipts/vonage/test", "")];
        for (path, authorization) in foreign {
            assert_eq!(told.post_to(path, body.clone(), authorization).await, 200, "{path}");
            posted += 1;
        }
    }
    assert_eq!(told.get(&id).await, before);
    assert_eq!(told.count(FOREIGN).await, posted);
    // By the provider's id alone: other accounts may call other messages so.
    let mut body = told.body(&attempt, "read");
    body.as_object_mut().unwrap().remove("client_ref");
    assert_eq!(told.post_to("/receipts/vonage/test", body.to_string(), "").await, 200);
    assert_eq!(told.get(&id).await, before);
    assert_eq!(told.count("dispatch_receipts_unmatched_total").await, 1);

    told.report(&attempt, "read").await;
    assert_eq!(told.get(&id).await.state(), WorkflowState::Succeeded);
    assert_eq!(told.count(FOREIGN).await, posted);
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_account_s_receipts_count_and_its_old_url_goes_on_working() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = in_memory();
    config.store.kind = StoreKind::Sled;
    config.store.data = folder.path().to_owned();
    let told = Told::start_with(Shape::V1, config.clone(), |_| {}).await;
    let mut sent = Vec::new();
    for expiry in ["3600s", "3601s", "3602s"] {
        let (id, attempt) = told.create(messenger_sms(PERSON, NUMBER, expiry)).await;
        sent.push((id, told.body(&attempt, "read")));
    }
    told.stop().await;

    let renamed = |formerly: &'static [&'static str]| {
        move |config: &mut Config| {
            config.accounts[0].name = "primary".to_owned();
            config.accounts[0].formerly = formerly.iter().map(|name| (*name).to_owned()).collect();
            // The routes are called otherwise too.
            for route in &mut config.routes {
                route.name = format!("{}-of-primary", route.adapter);
                route.account = "primary".to_owned();
            }
        }
    };
    // Without a word about its name it is another account.
    let told = Told::start_with(Shape::V1, config.clone(), renamed(&[])).await;
    let body = sent[0].1.to_string();
    let signature = signed(body.as_bytes());
    assert_eq!(told.post(body.clone(), &signature).await, 404);
    assert_eq!(told.post_to("/receipts/vonage/primary", body, &signature).await, 200);
    assert_eq!(told.count(FOREIGN).await, 1);
    assert_eq!(told.get(&sent[0].0).await.state(), WorkflowState::Running);
    told.stop().await;

    let told = Told::start_with(Shape::V1, config, renamed(&["first", "main"])).await;
    // By our id, by the provider's alone, and at the new URL.
    sent[1].1.as_object_mut().unwrap().remove("client_ref");
    let paths = ["/receipts/vonage/main", "/receipts/vonage/main", "/receipts/vonage/primary"];
    for ((id, body), path) in sent.iter().zip(paths) {
        let body = body.to_string();
        let signature = signed(body.as_bytes());
        assert_eq!(told.post_to(path, body, &signature).await, 200, "{path}");
        assert_eq!(told.get(id).await.state(), WorkflowState::Succeeded, "{path}");
    }
    // Two names of one account are no two accounts to choose from.
    assert_eq!(told.post_to("/receipts/vonage", "{}", &signed(b"{}")).await, 200);
    assert_eq!(told.count(FOREIGN).await, 0);
    told.stop().await;
}

#[test]
fn a_former_name_belongs_to_one_account_and_fits_into_a_url() {
    let clock = ServiceClock::Test(Arc::new(TestClock::new(dispatch_contract::UnixMillis(1))));
    let refusal = |formerly: [&[&str]; 2]| {
        let mut config = in_memory();
        for (name, formerly) in ["one", "two"].into_iter().zip(formerly) {
            let mut account = another(name, Some(SECRET));
            account.formerly = formerly.iter().map(|name| (*name).to_owned()).collect();
            config.accounts.push(account);
        }
        builtin::parts(&config, &clock).err().map(|error| error.to_string())
    };
    assert_eq!(refusal([&["zero"], &["nil", "none"]]), None);
    for (formerly, part) in [
        ([&["two"][..], &[]], "account one: formerly two: another account has this name"),
        ([&["zero"], &["zero"]], "account two: formerly zero: another account"),
        ([&["one"], &[]], "account one: formerly one: another account"),
        ([&["a/b"], &[]], "account one: formerly a/b: an account's name stands in webhook URLs"),
    ] {
        let refusal = refusal(formerly).unwrap();
        assert!(refusal.contains(part), "{refusal}");
    }
}
