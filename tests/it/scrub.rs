//! What providers say of a message is kept without what was said in it, and to whom: an adapter of somebody else's that
//! repeats it all, and the sentences of ours, which go through as they are.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
};

use async_trait::async_trait;
use dispatch::{
    client::Client,
    contents::scrub,
    pb::v1::{Event, StepState, Workflow},
};
use dispatch_meta::errors::GraphCode;
use dispatch_remote::pb::{
    self,
    adapter_service_server::{AdapterService, AdapterServiceServer},
};
use tokio::{net::TcpListener, sync::broadcast};
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::{
    at_providers::{PATIENCE, states},
    support::{FREE, Process, eventually, request},
};

const TEXT: &str = "Ann, your table at The Three Oaks is ready.";
/// Whose fax is refused, at once or later.
const REFUSED: &str = "442079460002";
const GIVEN_UP: &str = "442079460003";
const ACCOUNT: &str = "main";

/// An adapter that says of whatever fails to whom it went and what it said, in its sentences and in its codes.
struct Parrot(broadcast::Sender<pb::ListenResponse>);

fn repeated(number: &str, text: &str) -> String {
    format!("the gateway would not fax '{text}' to +{number}")
}

impl Parrot {
    /// Tells of a fax before its call is answered: whose it is, nobody knows by then.
    fn tells_early(&self, fax: &str, number: &str) {
        let receipt = pb::Receipt {
            provider_message_id: fax.to_owned(),
            report: Some(pb::receipt::Report::Failed(pb::MessageFailure::Undeliverable.into())),
            code: number.to_owned(),
            detail: format!("+{number} is no fax"),
            ..Default::default()
        };
        let told = pb::ListenResponse {
            batch_id: 1,
            account: ACCOUNT.to_owned(),
            inbound: vec![pb::Inbound { item: Some(pb::inbound::Item::Receipt(receipt)) }],
        };
        self.0.send(told).expect("the service listens");
    }
}

#[async_trait]
impl AdapterService for Parrot {
    async fn describe(
        &self,
        _: Request<pb::DescribeRequest>,
    ) -> Result<Response<pb::DescribeResponse>, Status> {
        let number = pb::AddressForm {
            form: Some(pb::address_form::Form::Common(pb::CommonForm::E164.into())),
        };
        let channel = pb::Channel {
            name: "fax".to_owned(),
            condition_statuses: vec![pb::Status::Submitted.into(), pb::Status::Delivered.into()],
            content_kinds: vec![pb::ContentKind::Text.into()],
            max_text_chars: 100,
            sender_forms: vec![number.clone()],
            recipient_forms: vec![number],
            ..Default::default()
        };
        Ok(Response::new(pb::DescribeResponse {
            provider: "parrot".to_owned(),
            channels: vec![channel],
            listens: true,
            ..Default::default()
        }))
    }

    async fn probe(
        &self,
        _: Request<pb::ProbeRequest>,
    ) -> Result<Response<pb::ProbeResponse>, Status> {
        Err(Status::unimplemented("none"))
    }

    async fn send(
        &self,
        request: Request<pb::SendRequest>,
    ) -> Result<Response<pb::SendResponse>, Status> {
        let fax = request.into_inner();
        let to = match fax.recipient.and_then(|it| it.endpoint) {
            Some(pb::endpoint::Endpoint::Number(number)) => number,
            _ => return Err(Status::invalid_argument("whom?")),
        };
        let text = match fax.content.and_then(|it| it.content) {
            Some(pb::content::Content::Text(text)) => text,
            _ => return Err(Status::invalid_argument("what?")),
        };
        let result = if to == REFUSED {
            pb::send_response::Result::Failure(pb::CallFailure {
                kind: pb::FailureKind::InvalidRecipient.into(),
                fault: pb::Fault::Recipient.into(),
                retry: pb::Retry::Permanent.into(),
                code: format!("no-{to}"),
                detail: repeated(&to, &text),
                ..Default::default()
            })
        } else {
            self.tells_early(&fax.attempt_id, &to);
            pb::send_response::Result::Accepted(pb::Accepted {
                provider_message_ids: vec![fax.attempt_id],
                provider_time: None,
            })
        };
        Ok(Response::new(pb::SendResponse { result: Some(result) }))
    }

    async fn recall(
        &self,
        _: Request<pb::RecallRequest>,
    ) -> Result<Response<pb::RecallResponse>, Status> {
        Err(Status::unimplemented("none"))
    }

    async fn read_webhook(
        &self,
        _: Request<pb::ReadWebhookRequest>,
    ) -> Result<Response<pb::ReadWebhookResponse>, Status> {
        Err(Status::unimplemented("none"))
    }

    type ListenStream = Pin<Box<dyn Stream<Item = Result<pb::ListenResponse, Status>> + Send>>;

    async fn listen(
        &self,
        _: Request<Streaming<pb::ListenRequest>>,
    ) -> Result<Response<Self::ListenStream>, Status> {
        let told = futures_util::stream::unfold(self.0.subscribe(), async |mut told| {
            let next = told.recv().await.ok()?;
            Some((Ok(next), told))
        });
        Ok(Response::new(Box::pin(told)))
    }
}

/// Where the parrot is, and whether anybody listens to it.
async fn parrot() -> (String, broadcast::Sender<pb::ListenResponse>) {
    let (told, _) = broadcast::channel(16);
    let listener = TcpListener::bind(FREE).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let served = Server::builder()
        .add_service(AdapterServiceServer::new(Parrot(told.clone())))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(served);
    (endpoint, told)
}

/// A fax, and an SMS where it does not arrive.
async fn faxed(client: &Client, to: &str) -> Workflow {
    let spec = format!(
        "
steps:
  - sender: {{ channel: fax, number: '442079460000' }}
    recipient: {{ channel: fax, number: '{to}' }}
    message: {{ text: '{TEXT}' }}
    failover: {{ expiry_time: 600s, condition_status: delivered }}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900001' }}
    message: {{ text: '{TEXT}' }}
"
    );
    let created = client.create(request(dispatch::pb::from_yaml(&spec).unwrap())).await.unwrap();
    let id = created.workflow.unwrap().workflow_id;
    let has_ended = async || client.get(&id).await.unwrap().outcome.is_some();
    assert!(eventually(PATIENCE, has_ended).await, "{:?}", client.get(&id).await);
    client.get(&id).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_repeats_what_it_was_handed_has_none_of_it_kept() {
    let (endpoint, told) = parrot().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dispatch.toml");
    let text = format!(
        r#"
[[adapters]]
name = "parrot"
endpoint = "{endpoint}"
[[accounts]]
name = "{ACCOUNT}"
provider = "parrot"
[[routes]]
name = "fax"
adapter = "parrot-fax"
account = "{ACCOUNT}"
[[routes]]
name = "sms"
adapter = "sandbox-sms"
account = "sandbox"
[[access.keys]]
id = "me"
secret = "a secret of the tests"
scopes = ["create", "read"]
"#
    );
    std::fs::write(&config, text).unwrap();
    let process = Process::serve(&config, &folder.path().join("data"), FREE, FREE).await;
    let client = Client::connect(format!("http://{}", process.grpc)).await.unwrap();
    let key = dispatch::client::Credential::key("me:a secret of the tests").unwrap();
    let client = client.with(key);
    assert!(eventually(PATIENCE, async || told.receiver_count() > 0).await);
    for to in [REFUSED, GIVEN_UP] {
        let workflow = faxed(&client, to).await;
        assert_eq!(states(&workflow)[0].0, StepState::Failed, "{workflow:?}");
        let shown = |event: &Event| dispatch::pb::to_json(event);
        let told: String = workflow.timeline.iter().map(shown).collect();
        assert!(told.contains(scrub::NOT_KEPT), "{told}");
        for repeated in [to, "Three Oaks", "is no fax"] {
            assert!(!told.contains(repeated), "{repeated} in {told}");
        }
    }
    assert_eq!(process.terminate().await, Some(0));
}

/// The files in which our adapters' sentences and codes stand.
fn tables() -> Vec<PathBuf> {
    fn within(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_table =
                ["errors.rs", "refusal.rs", "send_result.rs", "codes.rs"].contains(&name);
            match path.is_dir() {
                true if name != "tests" && name != "target" => within(&path, found),
                false if is_table => found.push(path),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    within(&Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters"), &mut found);
    found
}

/// The texts in quotes of a program's source, without its tests and its comments.
fn quoted(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    // A text that goes on over the end of a line.
    let code: String = code.map(|line| format!("{}\n", line.trim())).collect();
    let code = code.replace("\\\n", "");
    code.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_sentences_and_codes_of_our_adapters_are_kept_as_they_are() {
    let tables = tables();
    let mut sentences = 0;
    for table in &tables {
        for said in quoted(&std::fs::read_to_string(table).unwrap()) {
            let kept = scrub::detail(said.clone(), None);
            assert_eq!(kept, said, "{}", table.display());
            sentences += usize::from(said.contains(' '));
        }
    }
    assert!(tables.len() >= 8 && sentences > 150, "{} {sentences}", tables.len());

    let is_kept = |code: String| scrub::code(Some(code.clone()), None) == Some(code);
    for code in 0..200_000 {
        let subcodes = [None, Some(2_018_000 + code % 1_000), Some(1_545_041)];
        for subcode in subcodes {
            let code = GraphCode { code, subcode };
            assert!(code.meaning().is_none() || is_kept(code.to_string()), "{code}");
        }
        assert!(dispatch_twilio::errors::meaning(code).is_none() || is_kept(code.to_string()));
    }
    for code in ["low-balance", "PHONE_NUMBER_NOT_AVAILABLE", "expired", "1340", "551/1545041"] {
        assert!(is_kept(code.to_owned()), "{code}");
    }
}
