//! What a crowd may do with its connections, at each listener.

use std::time::Duration;

use dispatch::{builtin, client::Client, config::Config, service::Service};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tonic::transport::{Certificate, ClientTlsConfig};

use super::{Crowd, ELSEWHERE, HERE, PREFACE, ask_for, http_answers};
use crate::{
    ALONE,
    chance::setting,
    overload::raise_open_files,
    report,
    support::{Running, in_memory},
};

const LONG: Duration = Duration::from_secs(1);
/// What somebody may wait beside a crowd. It takes a fraction of a second on a machine that is not busy;
/// without order among the connections it took as long as the listener's timeout, and longer.
const BOUND: Duration = Duration::from_secs(4);

const HEAD: &[u8] = b"POST /receipts/vonage/sandbox HTTP/1.1\r\nhost: localhost\r\nx-a: ";
const BODY: &[u8] =
    b"POST /receipts/vonage/sandbox HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999\r\n\r\n{";
const WHOLE: &[u8] = b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn few_places() -> (u64, Config) {
    let crowd = setting("DISPATCH_CROWD", 200);
    raise_open_files(4 * crowd + 512);
    let mut config = in_memory();
    config.listen.grpc_connections = crowd as usize * 2 / 5;
    config.listen.http_connections = crowd as usize * 2 / 5;
    (crowd, config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_is_answered_beside_a_crowd_that_does_not() {
    let _alone = ALONE.lock().await;
    let (crowd, config) = few_places();
    let running = Running::over_http(&config).await;
    let (grpc, http) = (running.service.grpc, running.service.http);
    let cases = [
        ("HTTP, heads without end", ELSEWHERE, http, HEAD),
        ("HTTP, heads without end", HERE, http, HEAD),
        ("HTTP, bodies without end", HERE, http, BODY),
        ("HTTP, silent", HERE, http, b"".as_slice()),
        ("HTTP, answered and at rest", HERE, http, WHOLE),
        ("gRPC, silent", HERE, grpc, b""),
        ("gRPC, without a call", ELSEWHERE, grpc, PREFACE),
        ("gRPC, without a call", HERE, grpc, PREFACE),
    ];
    let (mut came, mut asked, mut longest) = (0, 0, Duration::ZERO);
    for (what, from, to, begin) in cases {
        let gathered = Crowd::gather(crowd, from, to, begin).await;
        let (answers, waited) = match to == http {
            true => ask_for(LONG, || http_answers(http, "/workflows/none")).await,
            false => {
                ask_for(LONG, || async {
                    let client = Client::connect(format!("http://{grpc}")).await;
                    let Ok(client) = client else { return false };
                    client.channels().await.is_ok()
                })
                .await
            }
        };
        let of_crowd = gathered.came();
        println!("{what}, {from}: {of_crowd} came, {answers} answers, {waited:?} at most");
        assert!(waited < BOUND, "{what}, {from}: an answer after {waited:?}");
        came += of_crowd;
        asked += answers;
        longest = longest.max(waited);
    }
    // Whoever had called before was let be, and whoever had not may come again.
    running.client.channels().await.unwrap();
    report::row(&report::Tried {
        name: "75-network-crowd",
        what: "crowds of connections that never get to the end of asking",
        counts: vec![
            (crowd, "at once, on two places in five"),
            (came, "connections in all"),
            (asked, "answers beside them"),
            (longest.as_millis() as u64, "ms for the slowest"),
        ],
        found: "everybody answered".to_owned(),
        seed: format!("DISPATCH_CROWD={crowd}"),
    });
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_does_not_shake_hands_keeps_nobody_out() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    let (crowd, mut config) = few_places();
    let tls = &mut config.listen.tls;
    (tls.certificate, tls.key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&tls.certificate, certificate).unwrap();
    std::fs::write(&tls.key, key.serialize_pem()).unwrap();
    let service = Service::start(&config, |clock, _| builtin::parts(&config, clock)).await.unwrap();

    let trusted = reqwest::Certificate::from_pem(ca.as_bytes()).unwrap();
    let url = format!("https://localhost:{}/receipts/none", service.http.port());
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&ca));
    let endpoint = Client::endpoint(format!("https://localhost:{}", service.grpc.port())).unwrap();
    let endpoint = endpoint.tls_config(tls).unwrap();
    for (what, to) in [("HTTP", service.http), ("gRPC", service.grpc)] {
        // Beyond it, gRPC had a bound on handshakes, which a crowd filled for as long as its timeout.
        let gathered = Crowd::gather(2 * crowd, HERE, to, b"").await;
        let (answers, waited) = ask_for(LONG, || async {
            if what == "gRPC" {
                let Ok(channel) = endpoint.connect().await else { return false };
                return Client::over(channel).channels().await.is_ok();
            }
            let client = reqwest::Client::builder().tls_certs_only([trusted.clone()]);
            client.build().unwrap().get(&url).send().await.is_ok()
        })
        .await;
        let came = gathered.came();
        println!("{what} over TLS: {came} came, {answers} answers, {waited:?} at most");
        assert!(waited < BOUND, "{what}: an answer after {waited:?}");
    }
    service.stop().await.unwrap();
}
