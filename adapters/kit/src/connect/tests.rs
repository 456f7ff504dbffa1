//! Every cause, from a real socket.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use dispatch_contract::{AdapterError, Cause, ErrorKind, Retry, UnixMillis};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::http::{HttpClient, HttpRequest, Method};

/// Who vouches for the certificates of the tests.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for `name` that is valid for these years.
    fn certify(
        &self,
        name: &str,
        years: std::ops::Range<i32>,
    ) -> (CertificateDer<'static>, KeyPair) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), key)
    }

    /// A client that trusts it and nobody else.
    fn client(&self) -> HttpClient {
        let root = reqwest::Certificate::from_der(self.0.der()).unwrap();
        HttpClient::built(HttpClient::settings().tls_certs_only([root]))
    }
}

/// Shakes hands with whoever comes, under a certificate.
async fn tls_server((certificate, key): (CertificateDer<'static>, KeyPair)) -> SocketAddr {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ =
                    stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

/// Answers whoever comes with `answer`, and hangs up.
async fn plain_server(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer).await;
        }
    });
    address
}

async fn call(client: &HttpClient, url: &str) -> Result<u16, AdapterError> {
    let call = HttpRequest {
        method: Method::POST,
        url,
        authorization: Some("Bearer a-secret"),
        content_type: "application/json",
        headers: &[],
        body: b"{}".to_vec(),
        timeout: Duration::from_secs(30),
        now: UnixMillis(0),
    };
    client.call(call).await.map(|answer| answer.status)
}

/// The cause of the failure, which is one where nothing was sent, and names `host`.
async fn cause(client: &HttpClient, url: &str, host: &str) -> Cause {
    let error = call(client, url).await.expect_err("no connection");
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert_eq!(error.retry, Retry::Temporary { after: None }, "{error}");
    assert!(error.detail.contains(host), "{error}");
    assert!(error.detail.contains("nothing was sent"), "{error}");
    assert!(!error.detail.contains("path") && !error.detail.contains("secret"), "{error}");
    let cause = error.cause.expect("a cause");
    assert!(error.detail.contains(cause.in_words()), "{error}");
    cause
}

#[tokio::test]
async fn a_refused_port_a_name_that_is_none_and_who_speaks_no_tls_are_told_apart() {
    let client = HttpClient::new();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let (url, host) = (format!("http://{address}/path"), address.to_string());
    assert_eq!(cause(&client, &url, &host).await, Cause::Refused);

    let url = "https://no-such-host.invalid/path";
    assert_eq!(cause(&client, url, "no-such-host.invalid").await, Cause::NameNotResolved);

    let address = plain_server(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let (url, host) = (format!("https://{address}/path"), address.to_string());
    assert_eq!(cause(&client, &url, &host).await, Cause::NotTls);

    let address = plain_server(b"").await;
    let (url, host) = (format!("https://{address}/path"), address.to_string());
    assert_eq!(cause(&client, &url, &host).await, Cause::HungUp);
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told() {
    let authority = Authority::new("Test Authority");
    let client = authority.client();
    let localhost = |address: SocketAddr| format!("https://localhost:{}/path", address.port());

    let good = localhost(tls_server(authority.certify("localhost", 2020..2100)).await);
    assert_eq!(call(&client, &good).await, Ok(202), "nothing else is wrong");
    let stranger = HttpClient::new();
    assert_eq!(cause(&stranger, &good, "localhost").await, Cause::CertificateUnknownIssuer);
    let other = Authority::new("Other Authority").client();
    assert_eq!(cause(&other, &good, "localhost").await, Cause::CertificateUnknownIssuer);

    for (name, years, wanted) in [
        ("localhost", 2010..2020, Cause::CertificateExpired),
        ("localhost", 2095..2100, Cause::CertificateNotYetValid),
        ("elsewhere.example", 2020..2100, Cause::CertificateWrongName),
    ] {
        let url = localhost(tls_server(authority.certify(name, years)).await);
        assert_eq!(cause(&client, &url, "localhost").await, wanted);
    }
}

#[tokio::test]
async fn who_does_not_answer_in_the_time_for_connecting_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The handshake is begun and never gone on with.
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let settings = HttpClient::settings().connect_timeout(Duration::from_millis(300));
    let client = HttpClient::built(settings);
    let (url, host) = (format!("https://{address}/path"), address.to_string());
    assert_eq!(cause(&client, &url, &host).await, Cause::TimedOut);
}
