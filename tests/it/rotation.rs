//! Another master key, while the real program runs and dies.

use std::{fs, path::Path, time::Duration};

use dispatch::{
    client::Client,
    pb::v1::{
        Address, ApplicationSpec, BatchCreateOptOutsRequest, CreateAccountRequest,
        CreateApplicationRequest, GetCallbackSecretRequest, GetMasterKeyRotationRequest,
        ListAuditRequest, ListOptOutsRequest, MessagesCapability, OptOut, RotateMasterKeyRequest,
        address::Endpoint,
    },
};
use tokio::process::Command;
use tonic::Code;

use crate::support::{FREE, Process, eventually};

const PUBLIC: &str = include_str!("../../adapters/sandbox/tests/sandbox/http/public_key.pem");
const APPLICATIONS: usize = 40;

async fn start(config: &Path, data: &Path) -> (Process, Client) {
    let process = Process::serve(config, data, FREE, FREE).await;
    let client = Client::connect(format!("http://{}", process.grpc)).await.unwrap();
    (process, client)
}

/// Makes what is sealed; the ids and secrets of the applications.
async fn fill(client: &Client) -> Vec<(String, String)> {
    let mut made = Vec::new();
    for at in 0..APPLICATIONS {
        let application = Some(ApplicationSpec {
            name: format!("application {at}"),
            public_key: PUBLIC.to_owned(),
            messages: Some(MessagesCapability::default()),
            ..Default::default()
        });
        let request = CreateApplicationRequest { application };
        let answer = client.applications().create_application(request).await.unwrap().into_inner();
        made.push((answer.application.unwrap().application_id, answer.callback_secret));
    }
    let account = CreateAccountRequest {
        provider: "whatsapp".to_owned(),
        external_id: "442079460001".to_owned(),
        access_token: "a-token".to_owned(),
        ..Default::default()
    };
    client.accounts().create_account(account).await.unwrap();
    let request = BatchCreateOptOutsRequest { opt_outs: vec![opt_out()], tenant: String::new() };
    client.opt_outs().batch_create_opt_outs(request).await.unwrap();
    made
}

fn opt_out() -> OptOut {
    let endpoint = Some(Endpoint::Number("447700900001".to_owned()));
    let recipient = Some(Address { channel: "sms".to_owned(), endpoint });
    OptOut { recipient, ..OptOut::default() }
}

async fn assert_all_there(client: &Client, made: &[(String, String)]) {
    for (id, secret) in made {
        let request = GetCallbackSecretRequest { application_id: id.clone() };
        let told = client.applications().get_callback_secret(request).await.unwrap().into_inner();
        assert_eq!(told.callback_secret, *secret);
    }
    let listed = client.opt_outs().list_opt_outs(ListOptOutsRequest::default()).await.unwrap();
    let listed: Vec<_> = listed.into_inner().opt_outs.into_iter().map(|it| it.recipient).collect();
    assert_eq!(listed, [opt_out().recipient], "who wants no messages is shown");
}

async fn is_done(client: &Client) -> bool {
    let asked = client.access().get_master_key_rotation(GetMasterKeyRotationRequest {}).await;
    !asked.unwrap().into_inner().rotation.unwrap().under_way
}

async fn run(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_dispatch")).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_key_is_changed_while_the_service_runs_and_over_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (config, data, backup) = (at("dispatch.toml"), at("data"), at("before.backup"));
    fs::write(&config, "[log]\nlevel = \"warn\"\n").unwrap();
    let (process, client) = start(&config, &data).await;
    let made = fill(&client).await;
    let old = fs::read_to_string(data.join("master.key")).unwrap();
    let server = format!("http://{}", process.grpc);
    run(&["backup", backup.to_str().unwrap(), "--server", &server]).await;

    // Begun, and killed at some moment of it.
    let begun = client.access().rotate_master_key(RotateMasterKeyRequest {}).await;
    assert!(begun.unwrap().into_inner().rotation.unwrap().under_way);
    process.kill().await;
    let (process, client) = start(&config, &data).await;
    assert_all_there(&client, &made).await;
    assert!(eventually(Duration::from_secs(60), || is_done(&client)).await);
    let kept = fs::read_to_string(data.join("master.key")).unwrap();
    assert_eq!(kept.lines().count(), 1);
    assert_ne!(kept, old);
    assert_all_there(&client, &made).await;

    // At a terminal.
    let server = format!("http://{}", process.grpc);
    let told = run(&["keys", "rotate-master", "--server", &server]).await;
    assert!(told.contains("44 secrets are encrypted with the new master key"), "{told}");
    assert_ne!(fs::read_to_string(data.join("master.key")).unwrap(), kept);
    assert_all_there(&client, &made).await;
    let everything = ListAuditRequest { page_size: 1000, ..Default::default() };
    let audit = client.access().list_audit(everything).await.unwrap();
    let what: Vec<_> = audit.into_inner().entries.into_iter().map(|act| act.action).collect();
    for act in ["master_key.rotation_begun", "master_key.rotated"] {
        assert_eq!(what.iter().filter(|what| **what == act).count(), 2, "{act}: {what:?}");
    }
    assert_eq!(process.terminate().await, Some(0));

    // A backup of before opens with the key of its time, as the previous one too.
    let restored = at("restored");
    run(&["restore", backup.to_str().unwrap(), "--data", restored.to_str().unwrap()]).await;
    fs::write(at("old.key"), &old).unwrap();
    let text = format!(
        "[log]\nlevel = \"warn\"\n[access]\nmaster_key_previous = \"file:{}\"\n",
        at("old.key").display()
    );
    fs::write(&config, text).unwrap();
    let (process, client) = start(&config, &restored).await;
    assert!(eventually(Duration::from_secs(60), || is_done(&client)).await);
    assert_eq!(process.terminate().await, Some(0));
    fs::write(&config, "[log]\nlevel = \"warn\"\n").unwrap();
    let (process, client) = start(&config, &restored).await;
    assert_all_there(&client, &made).await;
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_the_configuration_gives_is_changed_there() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (config, data) = (at("dispatch.toml"), at("data"));
    let configure = |keys: &[(&str, &str)]| {
        let mut text = "[log]\nlevel = \"warn\"\n[access]\n".to_owned();
        for (setting, file) in keys {
            text.push_str(&format!("{setting} = \"file:{}\"\n", at(file).display()));
        }
        fs::write(&config, text).unwrap();
    };
    fs::write(at("one"), "b25lb25lb25lb25lb25lb25lb25lb25lb25lb25lb24=\n").unwrap();
    fs::write(at("two"), "dHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHdvdHc=\n").unwrap();

    configure(&[("master_key", "one")]);
    let (process, client) = start(&config, &data).await;
    let made = fill(&client).await;
    let refused = client.access().rotate_master_key(RotateMasterKeyRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("access.master_key_previous"), "{refused:?}");
    assert_eq!(process.terminate().await, Some(0));

    configure(&[("master_key", "two"), ("master_key_previous", "one")]);
    let (process, client) = start(&config, &data).await;
    assert_all_there(&client, &made).await;
    assert!(eventually(Duration::from_secs(60), || is_done(&client)).await);
    assert_eq!(process.terminate().await, Some(0));

    configure(&[("master_key", "two")]);
    let (process, client) = start(&config, &data).await;
    assert_all_there(&client, &made).await;
    assert_eq!(process.terminate().await, Some(0));
    assert!(!data.join("master.key").exists());
}
