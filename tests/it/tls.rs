//! TLS over real sockets: certificates that vouch, those that do not, and new ones while it runs.

use std::{path::Path, time::Duration};

use dispatch::{builtin, client::Client, config::Config, service::Service};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::AsyncReadExt;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{
    no_recipient,
    support::{eventually, in_memory},
};

/// Somebody who vouches for others.
pub struct Authority {
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `localhost`, and its key.
    fn vouch(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub fn serve(&self, folder: &Path) {
        let (certificate, key) = self.vouch();
        // The key first: a look in between finds a pair that does not fit, and keeps the last good one.
        std::fs::write(folder.join("key.pem"), key).unwrap();
        std::fs::write(folder.join("certificate.pem"), certificate).unwrap();
    }
}

fn config(folder: &Path) -> Config {
    let mut config = in_memory();
    config.listen.tls.certificate = folder.join("certificate.pem");
    config.listen.tls.key = folder.join("key.pem");
    config
}

async fn start(config: &Config) -> Service {
    no_recipient::start(config, |clock, _| builtin::parts(config, clock)).await.unwrap()
}

/// Calls a service, trusting `authority`, showing a certificate if there is one to show.
async fn call(
    service: &Service,
    authority: &Authority,
    identity: Option<(String, String)>,
) -> Result<(), String> {
    let mut tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.certificate));
    if let Some((certificate, key)) = identity {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let endpoint = Client::endpoint(format!("https://localhost:{}", service.grpc.port())).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await;
    let channel = channel.map_err(|error| format!("{error:?}"))?;
    Client::over(channel).channels().await.map(|_| ()).map_err(|status| status.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_and_http_speak_tls_and_take_new_certificates_while_they_run() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    first.serve(folder.path());
    let service = start(&config(folder.path())).await;
    call(&service, &first, None).await.unwrap();
    assert!(
        call(&service, &second, None).await.is_err(),
        "nobody the client trusts vouches for it"
    );
    let plain = Client::connect(format!("http://{}", service.grpc)).await;
    let is_refused = match plain {
        Ok(client) => client.channels().await.is_err(),
        Err(_) => true,
    };
    assert!(is_refused, "without TLS");

    let trusting = reqwest::Certificate::from_pem(first.certificate.as_bytes()).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([trusting]).build().unwrap();
    let url = |scheme: &str| format!("{scheme}://localhost:{}/receipts/none", service.http.port());
    assert_eq!(http.get(url("https")).send().await.unwrap().status(), 404);
    assert!(http.get(url("http")).send().await.is_err(), "without TLS");
    let inside = format!("http://{}/readyz", service.internal_http);
    assert_eq!(reqwest::get(inside).await.unwrap().status(), 200, "the inside speaks none");

    // One that says nothing holds nobody up, and is let go of.
    let mut silent = tokio::net::TcpStream::connect(service.grpc).await.unwrap();
    call(&service, &first, None).await.unwrap();
    let gone = tokio::time::timeout(Duration::from_secs(15), silent.read(&mut [0; 8])).await;
    assert!(matches!(gone, Ok(Ok(0) | Err(_))), "{gone:?}");

    // Rubbish changes nothing; what is right is taken.
    std::fs::write(folder.path().join("certificate.pem"), "rubbish").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    call(&service, &first, None).await.unwrap();
    second.serve(folder.path());
    let is_taken = eventually(Duration::from_secs(20), || async {
        call(&service, &second, None).await.is_ok()
    });
    assert!(is_taken.await);
    assert!(call(&service, &first, None).await.is_err());
    no_recipient::stop(service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_1_2_and_1_3_are_spoken_and_nothing_that_is_not_grpc() {
    use tokio_rustls::{
        TlsConnector,
        rustls::{
            ClientConfig, ProtocolVersion, RootCertStore,
            crypto::aws_lc_rs,
            pki_types::{CertificateDer, pem::PemObject},
            version::{TLS12, TLS13},
        },
    };
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    authority.serve(folder.path());
    let service = start(&config(folder.path())).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap()).unwrap();
    let shake = async |version, protocol: &[u8]| {
        let builder = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into());
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let mut config = builder.with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = tokio::net::TcpStream::connect(service.grpc).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let shaken = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await;
        shaken.ok().and_then(|stream| stream.get_ref().1.protocol_version())
    };
    assert_eq!(shake(&TLS12, b"h2").await, Some(ProtocolVersion::TLSv1_2));
    assert_eq!(shake(&TLS13, b"h2").await, Some(ProtocolVersion::TLSv1_3));
    assert_eq!(shake(&TLS13, b"http/1.1").await, None);
    no_recipient::stop(service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_client_ca_only_its_clients_get_in() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    ours.serve(folder.path());
    std::fs::write(folder.path().join("clients.pem"), &ours.certificate).unwrap();
    let mut config = config(folder.path());
    config.listen.tls.client_ca = folder.path().join("clients.pem");
    let service = start(&config).await;
    assert!(call(&service, &ours, None).await.is_err(), "no certificate");
    assert!(call(&service, &ours, Some(others.vouch())).await.is_err(), "another's");
    call(&service, &ours, Some(ours.vouch())).await.unwrap();
    no_recipient::stop(service).await;
}

#[tokio::test]
async fn files_that_are_not_right_are_named_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let (path, authority) = (folder.path(), Authority::new("ours"));
    let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
    let mut with_clients = config(path);
    with_clients.listen.tls.client_ca = path.join("clients.pem");
    let mut half = config(path);
    half.listen.tls.key = "".into();
    let refused = async |config: &Config| {
        let started = no_recipient::start(config, |clock, _| builtin::parts(config, clock)).await;
        started.unwrap_err().to_string()
    };
    assert!(refused(&half).await.contains("go together: set both"));
    assert!(refused(&config(path)).await.contains("cannot read"));
    let ((certificate, key), (_, other_key)) = (authority.vouch(), authority.vouch());
    write("certificate.pem", &key);
    write("key.pem", &key);
    let told = refused(&config(path)).await;
    assert!(told.contains("certificate.pem must hold the server's certificate chain"), "{told}");
    write("certificate.pem", &certificate);
    write("key.pem", &certificate);
    let told = refused(&config(path)).await;
    assert!(told.contains("key.pem must hold the certificate's private key"), "{told}");
    write("key.pem", &other_key);
    let told = refused(&config(path)).await;
    assert!(told.contains("do not go together"), "{told}");
    write("key.pem", &key);
    write("clients.pem", "");
    let told = refused(&with_clients).await;
    assert!(told.contains("clients.pem must hold the certificates"), "{told}");
}
