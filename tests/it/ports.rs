//! The command line at the wrong port, with TLS and without: it says which it is and what to write.

use std::path::Path;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use crate::{
    support::{FREE, Process},
    tls::Authority,
};

/// What the command says, and its exit code.
async fn run(arguments: &[&str], server: &str, ca: Option<&Path>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatch"));
    command.args(arguments).args(["--server", server]).kill_on_drop(true);
    if let Some(ca) = ca {
        command.arg("--ca").arg(ca);
    }
    let output = command.output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

async fn serve(folder: &Path, tls: &str) -> Process {
    let config = folder.join("dispatch.toml");
    std::fs::write(&config, format!("[log]\nlevel = \"error\"\n{tls}")).unwrap();
    Process::serve(&config, &folder.join("data"), FREE, FREE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_address_is_told_from_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("somebody");
    authority.serve(folder.path());
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &authority.certificate).unwrap();
    let tls = format!(
        "[listen.tls]\ncertificate = \"{0}/certificate.pem\"\nkey = \"{0}/key.pem\"\n",
        folder.path().display()
    );
    let plain = serve(folder.path(), "").await;
    let inner = tempfile::tempdir().unwrap();
    let secret = serve(inner.path(), &tls).await;
    let at = |scheme: &str, port: u16| format!("{scheme}://localhost:{port}");
    let wrong_port = "is the wrong port";
    let no_tls = "speaks no TLS: write http://";
    let write_tls = "speaks TLS: write https://";
    let cases = [
        ("http", plain.http.port(), wrong_port),
        ("http", plain.internal_http.port(), wrong_port),
        ("https", plain.grpc.port(), no_tls),
        ("https", plain.http.port(), wrong_port),
        ("http", secret.grpc.port(), write_tls),
        ("http", secret.http.port(), write_tls),
        ("https", secret.http.port(), wrong_port),
        ("https", secret.internal_http.port(), wrong_port),
    ];
    for (scheme, port, wanted) in cases {
        let server = at(scheme, port);
        let ca = (scheme == "https").then_some(&*ca);
        for arguments in [&["list"][..], &["watch"], &["keys", "list"], &["callbacks", "list"]] {
            let (code, said) = run(arguments, &server, ca).await;
            assert_eq!(code, Some(6), "{server} {arguments:?}: {said}");
            assert!(said.contains(&format!("{server} {wanted}")), "{arguments:?}: {said}");
            assert!(!said.contains("run this again"), "{said}");
        }
    }
    for (scheme, port, ca) in
        [("http", plain.grpc.port(), None), ("https", secret.grpc.port(), Some(&*ca))]
    {
        let (code, said) = run(&["list"], &at(scheme, port), ca).await;
        assert_eq!(code, Some(0), "{said}");
    }
    // Nobody at all, and somebody who is not vouched for.
    let free = crate::support::free_port().await;
    let (code, said) = run(&["list"], &format!("http://{free}"), None).await;
    assert!(code == Some(6) && said.contains("is `dispatch serve` running there?"), "{said}");
    let other = folder.path().join("other.pem");
    std::fs::write(&other, &Authority::new("other").certificate).unwrap();
    let (code, said) = run(&["list"], &at("https", secret.grpc.port()), Some(&other)).await;
    assert!(code == Some(6) && said.contains("cannot reach"), "{said}");
    assert_eq!(plain.terminate().await, Some(0));
    assert_eq!(secret.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_at_the_port_of_grpc_is_told_where_it_is_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let process = serve(folder.path(), "").await;
    for begin in ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "POST /v0.1/dispatch HTTP/1.1\r\n", "PUT"] {
        let mut stream = TcpStream::connect(process.grpc).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
        assert!(body.contains("speaks gRPC") && body.contains("listen.http"), "{answer}");
    }
    assert_eq!(process.terminate().await, Some(0));
}
