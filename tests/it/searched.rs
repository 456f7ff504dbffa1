//! What no recipient is looked for with finds one.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use dispatch::{
    builtin,
    client::Client,
    pb::v1::message::Content,
    store::{Kind, SettingChange},
};

use crate::{
    no_recipient::{found_behind, stands_in, start_watched},
    support::{in_memory, messenger_sms, request},
};

#[test]
fn a_word_is_found_however_it_is_spelled() {
    let folder = tempfile::tempdir().unwrap();
    let (number, person) = ("447700900871", "9123456780012345");
    for before in 0..4 {
        let text = format!("{}{number}and more", "x".repeat(before));
        fs::write(folder.path().join("file"), STANDARD_NO_PAD.encode(text)).unwrap();
        assert_eq!(stands_in(folder.path(), &[number]).len(), 1, "{before}");
        assert_eq!(stands_in(folder.path(), &[person]), [] as [&str; 0]);
    }
}

/// What is looked for is found wherever it is left: else it would prove nothing that it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_named_is_found() {
    let config = in_memory();
    let (to, text) = ("447700900871", "quagga-sorrel-4711");
    for is_named in [false, true] {
        let started = start_watched(&config, |clock, _| builtin::parts(&config, clock)).await;
        let (service, watched) = started.unwrap();
        let client = Client::connect(format!("http://{}", service.grpc)).await.unwrap();
        let mut spec = messenger_sms("9123456780012345", to, "60s");
        for step in &mut spec.steps {
            step.message.as_mut().unwrap().content = Some(Content::Text(text.to_owned()));
        }
        client.create(request(spec)).await.unwrap();
        if is_named {
            tracing::debug!(target: "dispatch", text, "said by a test");
            let in_it = format!("x{to}").into_bytes();
            fs::write(watched.folder.join("file"), STANDARD_NO_PAD.encode(in_it)).unwrap();
            let row = SettingChange::put(Kind::Service, b"test", text.as_bytes().to_vec());
            service.engine.settings().write(vec![row]).unwrap();
        }
        let folder = watched.folder.clone();
        let (found, words) = found_behind(service, watched).await;
        assert_eq!(words, 3, "two numbers and a text");
        let found: Vec<_> = found.into_keys().collect();
        if !is_named {
            assert_eq!(found, Vec::<String>::new());
            continue;
        }
        let places =
            ["the log", "a row of Service", "a backup"].map(|it| format!("{text} in {it}"));
        let file = format!("{to} in {}", folder.join("file").display());
        for place in places.into_iter().chain([file]) {
            assert!(found.contains(&place), "{place} is not among {found:#?}");
        }
    }
}
