//! Page tokens of every list, and resume tokens: they say nothing, and open for nobody else and nothing else.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dispatch::{
    builtin,
    client::{Client, Credential},
    config::{AccessKeyConfig, Config},
    pb::v1::{
        ApplicationSpec, CreateAccountRequest, CreateApplicationRequest, ListAccountsRequest,
        ListApplicationsRequest, ListCallbacksRequest, ListWorkflowsRequest, StreamStatusRequest,
        stream_status_request::{Start, Target},
    },
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    no_recipient,
    support::{in_memory, messenger_sms, request},
};

const SECRET: &str = "a secret of the tests";

fn config() -> Config {
    let mut config = in_memory();
    let key = |id: &str| AccessKeyConfig {
        id: id.to_owned(),
        secret: SECRET.into(),
        tenant: id.to_owned(),
        name: String::new(),
        scopes: ["create", "read", "admin"].map(str::to_owned).to_vec(),
    };
    config.access.keys = vec![key("acme"), key("beta")];
    config
}

/// Refused as a token that is none, with words.
fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Status>, field: &str) {
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let violation = &refused.get_details_bad_request().unwrap().field_violations[0];
    assert_eq!(violation.field, field);
    assert!(violation.description.contains("must be"), "{violation:?}");
}

/// Whether a token shows any of some bytes: as it is, or decoded.
fn shows(token: &str, bytes: &[u8]) -> bool {
    let decoded = URL_SAFE_NO_PAD.decode(token).unwrap();
    let holds = |text: &[u8]| text.windows(4).any(|part| bytes.windows(4).any(|of| of == part));
    holds(token.as_bytes()) || holds(&decoded)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_in_its_own_list_of_its_own_tenant_and_says_nothing() {
    let config = config();
    let started = no_recipient::start(&config, |clock, _| builtin::parts(&config, clock)).await;
    let service = started.unwrap();
    let client = Client::connect(format!("http://{}", service.grpc)).await.unwrap();
    let of = |key: &str| client.clone().with(Credential::key(&format!("{key}:{SECRET}")).unwrap());
    let (acme, beta) = (of("acme"), of("beta"));
    let mut ids = Vec::new();
    for _ in 0..3 {
        let made = acme.create(request(messenger_sms("someone", "447700900000", "600s"))).await;
        ids.push(made.unwrap().workflow.unwrap().workflow_id);
    }

    // Workflows.
    let plain = ListWorkflowsRequest { page_size: 1, ..Default::default() };
    let first = acme.list(plain.clone()).await.unwrap();
    let token = first.next_page_token;
    let next = ListWorkflowsRequest { page_token: token.clone(), ..plain.clone() };
    let second = acme.list(next.clone()).await.unwrap();
    let (one, other) = (&first.workflows[0].workflow_id, &second.workflows[0].workflow_id);
    assert!(one != other && ids.contains(one) && ids.contains(other));
    let larger = ListWorkflowsRequest { page_size: 2, ..next.clone() };
    assert_eq!(
        acme.list(larger).await.unwrap().workflows.len(),
        2,
        "another size is no other list"
    );
    for id in &ids {
        let bytes = uuid::Uuid::parse_str(id).unwrap();
        assert!(!shows(&token, bytes.as_bytes()) && !shows(&token, id.as_bytes()));
    }
    assert_refused(beta.list(next.clone()).await, "page_token");
    let filtered = ListWorkflowsRequest { client_ref: "x".to_owned(), ..next };
    assert_refused(acme.list(filtered).await, "page_token");
    // As they were before: the kind, the id of a workflow, a checksum. Anybody could make those.
    let id = uuid::Uuid::parse_str(&ids[1]).unwrap();
    let mut forged = [&[2], &id.as_bytes()[..]].concat();
    forged.extend(crc32fast::hash(&forged).to_be_bytes());
    let forged = URL_SAFE_NO_PAD.encode(forged);
    assert_refused(
        acme.list(ListWorkflowsRequest { page_token: forged, ..plain }).await,
        "page_token",
    );

    // Applications.
    for name in ["one", "two"] {
        let application = ApplicationSpec { name: name.to_owned(), ..Default::default() };
        let request = CreateApplicationRequest { application: Some(application) };
        acme.applications().create_application(request).await.unwrap();
    }
    let plain = ListApplicationsRequest { page_size: 1, ..Default::default() };
    let first = acme.applications().list_applications(plain.clone()).await.unwrap().into_inner();
    let of_applications = first.next_page_token;
    let next = ListApplicationsRequest { page_token: of_applications.clone(), ..plain };
    let second = acme.applications().list_applications(next.clone()).await.unwrap().into_inner();
    assert_eq!(second.applications[0].name, "two");
    assert!(!shows(&of_applications, first.applications[0].application_id.as_bytes()));
    assert_refused(beta.applications().list_applications(next.clone()).await, "page_token");
    // An id was a token once.
    let plain_id = ListApplicationsRequest {
        page_token: first.applications[0].application_id.clone(),
        ..next
    };
    assert_refused(acme.applications().list_applications(plain_id).await, "page_token");

    // External accounts.
    for external_id in ["442079460001", "442079460002"] {
        let request = CreateAccountRequest {
            provider: "whatsapp".to_owned(),
            external_id: external_id.to_owned(),
            ..Default::default()
        };
        acme.accounts().create_account(request).await.unwrap();
    }
    let plain = ListAccountsRequest { page_size: 1, ..Default::default() };
    let first = acme.accounts().list_accounts(plain.clone()).await.unwrap().into_inner();
    let next = ListAccountsRequest { page_token: first.next_page_token.clone(), ..plain.clone() };
    let second = acme.accounts().list_accounts(next.clone()).await.unwrap().into_inner();
    assert_eq!(second.accounts[0].external_id, "442079460002");
    assert!(!shows(&first.next_page_token, b"447700900001"));
    assert_refused(beta.accounts().list_accounts(next).await, "page_token");
    let plain_id = "whatsapp/447700900001".to_owned();
    let forged = ListAccountsRequest { page_token: plain_id, ..plain.clone() };
    assert_refused(acme.accounts().list_accounts(forged).await, "page_token");

    // A token of one list in another.
    let other = ListAccountsRequest { page_token: of_applications, ..plain };
    assert_refused(acme.accounts().list_accounts(other).await, "page_token");
    let callbacks = ListCallbacksRequest { page_token: token, ..Default::default() };
    assert_refused(acme.callbacks().list_callbacks(callbacks).await, "page_token");

    // A stream's tokens would tell how much all tenants do.
    let shown = acme.get(&ids[0]).await.unwrap();
    let resume = |token: &str, id: &str| StreamStatusRequest {
        target: Some(Target::WorkflowId(id.to_owned())),
        start: Some(Start::ResumeToken(token.to_owned())),
        ..Default::default()
    };
    let token = &shown.timeline[0].resume_token;
    let mut stream = acme.raw().stream_status(resume(token, &ids[0])).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some(), "it goes on behind the first event");
    let made = beta.create(request(messenger_sms("other", "447700900003", "600s"))).await.unwrap();
    let own = made.workflow.unwrap().workflow_id;
    assert_refused(beta.raw().stream_status(resume(token, &own)).await, "resume_token");
    let decoded = URL_SAFE_NO_PAD.decode(token).unwrap();
    assert!(!decoded.windows(7).any(|part| part == [0; 7]), "no cursor in clear");
    no_recipient::stop(service).await;
}
