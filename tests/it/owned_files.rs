//! What lies on the disk holds people's numbers and texts, and secrets: nobody but its owner reads it,
//! whatever the umask of whoever starts the program.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use dispatch::client::Client;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::support::{messenger_sms, request};

/// Everything under a path, itself included, that others have any right to.
fn open_to_others(path: &Path) -> Vec<(PathBuf, u32)> {
    let mode = fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    let mut found = Vec::new();
    if mode & 0o077 != 0 {
        found.push((path.to_owned(), mode));
    }
    for entry in fs::read_dir(path).into_iter().flatten() {
        found.extend(open_to_others(&entry.unwrap().path()));
    }
    found
}

/// The program, under the widest umask.
fn program(arguments: &str) -> Command {
    let mut command = Command::new("sh");
    let line = format!("umask 0; exec {} {arguments}", env!("CARGO_BIN_EXE_dispatch"));
    command.arg("-c").arg(line).kill_on_drop(true);
    command
}

async fn run(arguments: &str) -> Output {
    program(arguments).output().await.unwrap()
}

/// Serves in `data` until `meanwhile` is done with its address, and gives back what was logged.
async fn serve(data: &Path, meanwhile: impl AsyncFnOnce(String)) -> String {
    let any = "--grpc 127.0.0.1:0 --http 127.0.0.1:0 --internal-http 127.0.0.1:0";
    let mut child = program(&format!("serve --data {} {any}", data.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = loop {
        let line = lines.next_line().await.unwrap().expect("the service starts");
        if let Some(address) = line.trim().strip_prefix("gRPC") {
            break address.trim().to_owned();
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    meanwhile(format!("http://{address}")).await;
    let id = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let ended = child.wait_with_output().await.unwrap();
    assert!(ended.status.success());
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_reads_what_the_program_writes_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, backup, restored, key) =
        (at("new/data"), at("a.backup"), at("restored"), at("app.key"));
    let logged = serve(&data, async |server| {
        let client = Client::connect(server.clone()).await.unwrap();
        client.create(request(messenger_sms("someone", "447700900000", "600s"))).await.unwrap();
        let create = format!("apps create shop --keyfile {} --server {server}", key.display());
        assert!(run(&create).await.status.success());
        let taken = run(&format!("backup {} --server {server}", backup.display())).await;
        assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    })
    .await;
    assert!(!logged.contains("others could read"), "a new folder was never open: {logged}");
    let restore = format!("restore {} --data {}", backup.display(), restored.display());
    assert!(run(&restore).await.status.success());
    for path in [&data, &backup, &restored, &key] {
        assert_eq!(open_to_others(path), []);
    }

    // An older folder, and one that was copied by hand.
    for path in [data.join("db"), data.join("conf"), data.join("master.key")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let logged = serve(&data, async |_| {}).await;
    assert_eq!(open_to_others(&data), []);
    assert!(
        logged.contains("others could read in the data folder; they no longer can"),
        "{logged}"
    );
    assert!(logged.contains("count=4"), "{logged}");
}
