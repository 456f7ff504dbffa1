//! Requests over gRPC that are compressed, too large, or not what the method reads: on every service.

use dispatch::pb::v1::{
    BatchCreateWorkflowsRequest, CreateWorkflowRequest, GetWorkflowRequest, ListAccountsRequest,
    ListApplicationsRequest, ListCallbacksRequest, ListChannelsRequest, ListKeysRequest,
    ListScriptsRequest, ResumeRequest, WorkflowSpec, access_service_client::AccessServiceClient,
    account_service_client::AccountServiceClient, admin_service_client::AdminServiceClient,
    application_service_client::ApplicationServiceClient,
    callback_service_client::CallbackServiceClient, dispatch_service_client::DispatchServiceClient,
    sandbox_service_client::SandboxServiceClient,
};
use prost::Message;
use tonic::{
    Code, Status,
    codec::CompressionEncoding::Gzip,
    codegen::{Body as _, Service, http},
    transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

use crate::support::{Running, in_memory, messenger_sms};

const MIB: usize = 1024 * 1024;

async fn channel(running: &Running) -> Channel {
    let address = format!("http://{}", running.service.grpc);
    Channel::from_shared(address).unwrap().connect().await.unwrap()
}

/// What a method answers to a message of these bytes.
async fn raw(running: &Running, method: &str, message: &[u8], encoding: Option<&str>) -> Status {
    let mut frame = vec![u8::from(encoding.is_some())];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(message);
    let mut request = http::Request::post(format!("http://{}{method}", running.service.grpc))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let body = tonic::body::Body::new(axum::body::Body::from(frame));
    let mut channel = channel(running).await;
    std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
    let mut response = channel.call(request.body(body).unwrap()).await.unwrap();
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    loop {
        let body = std::pin::Pin::new(response.body_mut());
        let mut body = body;
        let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await;
        let frame = frame.expect("an end").unwrap();
        if let Some(trailers) = frame.trailers_ref() {
            return Status::from_header_map(trailers).unwrap();
        }
    }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// Which field is told to be wrong, and why.
fn violation(status: &Status) -> (String, String) {
    let details = status.get_details_bad_request().expect("details");
    let [violation] = &details.field_violations[..] else { panic!("{status:?}") };
    (violation.field.clone(), violation.description.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_service_takes_gzip_and_answers_in_it() {
    let running = Running::start(&in_memory()).await;
    let channel = channel(&running).await;
    macro_rules! gzip {
        ($client:ident) => {
            $client::new(channel.clone()).send_compressed(Gzip).accept_compressed(Gzip)
        };
    }
    let mut dispatch = gzip!(DispatchServiceClient);
    let spec = messenger_sms("1000000000000001", "447700900001", "600s");
    let request = CreateWorkflowRequest { workflow: Some(spec), ..Default::default() };
    let created = dispatch.create_workflow(request.clone()).await.unwrap();
    assert_eq!(created.metadata().get("grpc-encoding").unwrap(), "gzip");
    let id = created.into_inner().workflow.unwrap().workflow_id;
    let batch = BatchCreateWorkflowsRequest { requests: vec![request; 3] };
    let created = dispatch.batch_create_workflows(batch).await.unwrap().into_inner();
    assert_eq!(created.results.len(), 3);
    let got = dispatch.get_workflow(GetWorkflowRequest { workflow_id: id, view: 0 }).await.unwrap();
    assert!(got.into_inner().workflow.is_some());
    dispatch.list_channels(ListChannelsRequest::default()).await.unwrap();
    gzip!(AccessServiceClient).list_keys(ListKeysRequest::default()).await.unwrap();
    gzip!(ApplicationServiceClient)
        .list_applications(ListApplicationsRequest::default())
        .await
        .unwrap();
    gzip!(AccountServiceClient).list_accounts(ListAccountsRequest::default()).await.unwrap();
    gzip!(CallbackServiceClient).list_callbacks(ListCallbacksRequest::default()).await.unwrap();
    gzip!(SandboxServiceClient).list_scripts(ListScriptsRequest::default()).await.unwrap();
    gzip!(HealthClient).check(HealthCheckRequest::default()).await.unwrap();
    let resumed = gzip!(AdminServiceClient).resume(ResumeRequest { open: 1 }).await.unwrap_err();
    assert_eq!(resumed.code(), Code::FailedPrecondition, "it was read: {resumed:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_too_large_is_told_so_packed_or_not() {
    let running = Running::start(&in_memory()).await;
    let told = |status: Status| {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert_eq!(reason(&status), "REQUEST_TOO_LARGE");
        assert!(status.message().contains("at most 4 MiB"), "{status:?}");
    };
    let spec = WorkflowSpec { client_ref: "a".repeat(5 * MIB), ..Default::default() };
    let request = CreateWorkflowRequest { workflow: Some(spec), ..Default::default() };
    let batch = BatchCreateWorkflowsRequest { requests: vec![request.clone()] };
    for compresses in [false, true] {
        let mut client = DispatchServiceClient::new(channel(&running).await);
        if compresses {
            client = client.send_compressed(Gzip);
        }
        told(client.create_workflow(request.clone()).await.unwrap_err());
        told(client.batch_create_workflows(batch.clone()).await.unwrap_err());
        let id = "a".repeat(5 * MIB);
        told(
            client.get_workflow(GetWorkflowRequest { workflow_id: id, view: 0 }).await.unwrap_err(),
        );
    }
    // On a service that is not ours too, and on one whose methods stream.
    let service = "a".repeat(5 * MIB);
    let mut health = HealthClient::new(channel(&running).await);
    told(health.check(HealthCheckRequest { service: service.clone() }).await.unwrap_err());
    told(health.watch(HealthCheckRequest { service }).await.unwrap_err());
    let large = vec![0; 5 * MIB];
    told(raw(&running, "/dispatch.v1.DispatchService/StreamStatus", &large, None).await);
    told(raw(&running, "/dispatch.v1.AccessService/CreateKey", &large, None).await);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_text_is_the_caller_s_fault_and_named() {
    let running = Running::start(&in_memory()).await;
    let spoiled = |message: Vec<u8>, text: &str| {
        let at = message.windows(text.len()).position(|part| part == text.as_bytes()).unwrap();
        let mut message = message;
        message[at] = 0xff;
        message
    };
    let spec = WorkflowSpec {
        client_ref: "order-17".to_owned(),
        ..messenger_sms("1000000000000001", "447700900001", "600s")
    };
    let create = CreateWorkflowRequest {
        workflow: Some(spec),
        request_id: "request-17".to_owned(),
        ..Default::default()
    };
    let batch = BatchCreateWorkflowsRequest { requests: vec![create.clone(), create.clone()] };
    let (create, batch) = (create.encode_to_vec(), batch.encode_to_vec());
    let create_method = "/dispatch.v1.DispatchService/CreateWorkflow";
    let batch_method = "/dispatch.v1.DispatchService/BatchCreateWorkflows";
    let named = prost_bytes("name-17");
    let cases = [
        (create_method, spoiled(create.clone(), "order-17"), "client_ref"),
        (create_method, spoiled(create.clone(), "request-17"), "request_id"),
        (create_method, spoiled(create.clone(), "447700900001"), "steps.recipient"),
        (batch_method, spoiled(batch, "order-17"), "requests.workflow.client_ref"),
        ("/dispatch.v1.DispatchService/GetWorkflow", named.clone(), "workflow_id"),
        ("/dispatch.v1.DispatchService/StreamStatus", named.clone(), ""),
        ("/dispatch.v1.AccessService/CreateKey", named.clone(), ""),
        ("/dispatch.v1.CallbackService/ResendCallback", named.clone(), ""),
        ("/grpc.health.v1.Health/Check", named, "service"),
    ];
    for (method, message, field) in cases {
        let status = raw(&running, method, &message, None).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{method}: {status:?}");
        assert_eq!(reason(&status), "INVALID_REQUEST", "{method}");
        let (at, why) = violation(&status);
        assert!(
            at.starts_with(field) && why.contains("must be text in UTF-8"),
            "{method}: {at} {why}"
        );
    }
    for (message, encoding) in [(&[0xff; 16][..], None), (&[1, 2, 3][..], Some("gzip"))] {
        let status = raw(&running, create_method, message, encoding).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(violation(&status).0, "request");
    }
    let status = raw(&running, create_method, &create, Some("br")).await;
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    assert!(status.message().contains("br"), "{status:?}");
    running.stop().await;
}

/// Field 1 with a text that is none.
fn prost_bytes(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x0a, u8::try_from(text.len()).unwrap()];
    bytes.extend_from_slice(text.as_bytes());
    bytes[2] = 0xff;
    bytes
}
