//! The audit log, over the real edges: who did what, from where, page by page; and what failed at the entrance.

use std::time::Duration;

use dispatch::{
    builtin,
    client::{Client, Credential},
    config::{AccessKeyConfig, Config},
    pb::v1::{self, AuditEntry, CreateKeyRequest, ListAuditRequest, ListAuditResponse},
    service::Service,
};
use tonic::{Code, Status};

use crate::{no_recipient, support::in_memory};

const SECRET: &str = "a secret of the tests";

fn key(id: &str, tenant: &str, scopes: &[&str]) -> AccessKeyConfig {
    AccessKeyConfig {
        id: id.to_owned(),
        secret: SECRET.into(),
        tenant: tenant.to_owned(),
        name: String::new(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
    }
}

struct House {
    service: Service,
    client: Client,
}

impl House {
    async fn new() -> House {
        let mut config: Config = in_memory();
        config.access.failed_logins = 20;
        config.access.keys = vec![
            key("operator", "default", &["read", "operator"]),
            key("acme", "acme", &["read", "admin"]),
            key("beta", "beta", &["read", "admin"]),
        ];
        let started = no_recipient::start(&config, |clock, _| builtin::parts(&config, clock)).await;
        let service = started.unwrap();
        let client = Client::connect(format!("http://{}", service.grpc)).await.unwrap();
        House { service, client }
    }

    fn of(&self, key: &str) -> Client {
        self.with(key, SECRET)
    }

    fn with(&self, key: &str, secret: &str) -> Client {
        self.client.clone().with(Credential::key(&format!("{key}:{secret}")).unwrap())
    }

    async fn list(
        &self,
        key: &str,
        request: ListAuditRequest,
    ) -> Result<ListAuditResponse, Status> {
        Ok(self.of(key).access().list_audit(request).await?.into_inner())
    }

    async fn make_key(&self, by: &str, name: &str) {
        let scopes = vec![v1::Scope::Read as i32];
        let request = CreateKeyRequest { name: name.to_owned(), scopes, ..Default::default() };
        self.of(by).access().create_key(request).await.unwrap();
    }

    async fn metric(&self, name: &str) -> String {
        let url = format!("http://{}/metrics", self.service.internal_http);
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        text.lines().filter(|line| line.starts_with(name)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acts_are_listed_page_by_page_each_with_its_source_and_none_of_another_tenant() {
    let house = House::new().await;
    for at in 0..5 {
        house.make_key("acme", &format!("key {at}")).await;
    }
    house.make_key("beta", "its own").await;

    let mut request = ListAuditRequest { page_size: 2, ..Default::default() };
    let (mut seen, mut pages): (Vec<AuditEntry>, _) = (Vec::new(), 0);
    loop {
        let page = house.list("acme", request.clone()).await.unwrap();
        assert!(page.entries.len() <= 2);
        seen.extend(page.entries);
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!((seen.len(), pages), (5, 3));
    for act in &seen {
        let told = [&act.tenant, &act.actor, &act.action, &act.source, &act.result].map(|it| &**it);
        assert_eq!(told, ["acme", "acme", "key.created", "127.0.0.1", "done"]);
    }

    let of_beta = ListAuditRequest { tenant: "beta".to_owned(), ..Default::default() };
    let refused = house.list("acme", of_beta.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(house.list("operator", of_beta).await.unwrap().entries.len(), 1);
    let all = house.list("operator", ListAuditRequest::default()).await.unwrap();
    assert_eq!((all.entries.len(), all.entries[0].tenant.as_str()), (6, "beta"));
    let by = ListAuditRequest { actor: "acme".to_owned(), ..Default::default() };
    assert_eq!(house.list("operator", by).await.unwrap().entries.len(), 5);
    let since = all.entries[0].time;
    let late = ListAuditRequest { start_time: since, ..Default::default() };
    assert_eq!(house.list("operator", late).await.unwrap().entries[0].tenant, "beta");
    let future = since.map(|time| prost_types::Timestamp { seconds: time.seconds + 9, ..time });
    let future = ListAuditRequest { start_time: future, ..Default::default() };
    assert_eq!(house.list("operator", future).await.unwrap(), ListAuditResponse::default());
    // Another's token, and one of other filters.
    let foreign = house.list("beta", request.clone()).await.unwrap_err();
    assert_eq!(foreign.code(), Code::InvalidArgument);
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_is_slowed_counted_and_written_down_and_the_rightful_go_on() {
    let house = House::new().await;
    // Let in once before: behind the same address it goes on.
    house.of("acme").channels().await.unwrap();
    let began = std::time::Instant::now();
    let mut codes = Vec::new();
    for at in 0..200 {
        codes.push(house.with("beta", &format!("guess {at}")).channels().await.unwrap_err());
    }
    assert!(codes[..20].iter().all(|status| status.code() == Code::Unauthenticated));
    let slowed: Vec<_> =
        codes.iter().filter(|status| status.code() == Code::ResourceExhausted).collect();
    // One more is looked at after 1 s, 2 s, 4 s …
    let looked_at = codes.len() - slowed.len();
    assert!(looked_at <= 20 + began.elapsed().as_secs() as usize + 1, "{looked_at}");
    let last = slowed.last().unwrap();
    assert!(last.message().contains("too many wrong credentials"), "{last:?}");
    let info = tonic_types::StatusExt::get_error_details(*last);
    assert_eq!(info.error_info().unwrap().reason, "TOO_MANY_FAILED_LOGINS");
    assert!(info.retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);

    // The REST edge has the same entrance.
    let url = format!("http://{}/v2/applications", house.service.http);
    let http = reqwest::Client::new();
    let guess = http.get(&url).basic_auth("other", Some("guess")).send().await.unwrap();
    assert_eq!(guess.status(), 429);
    assert!(guess.headers().contains_key("retry-after"));
    let right = http.get(&url).basic_auth("acme", Some(SECRET)).send().await.unwrap();
    assert_eq!(right.status(), 200, "who was let in before goes on");
    house.of("acme").channels().await.unwrap();

    let metric = house.metric("dispatch_logins_failed_total").await;
    assert!(
        metric.contains("outcome=\"wrong\"") && metric.contains("outcome=\"slowed\""),
        "{metric}"
    );
    let now = dispatch_contract::UnixMillis(1_800_000_000_000);
    house.service.access.report(now, now).unwrap();
    // The operator comes from elsewhere.
    let seen = house.service.access.audit_page(&Default::default(), None, 10).unwrap().entries;
    let told: Vec<_> = seen.iter().map(|act| [&act.action, &act.actor, &act.source]).collect();
    for what in [["login.failed", "beta", "127.0.0.1"], ["login.slowed", "various", "127.0.0.1"]] {
        assert!(told.iter().any(|told| told.map(|it| &**it) == what), "{told:?}");
    }
    no_recipient::stop(house.service).await;
}
