//! What a send is answered.

use std::time::Duration;

use dispatch_contract::{Channel, Clock, Secret};
use dispatch_sandbox::{SandboxServer, ServerConfig};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{APPLICATION, HttpWorld, PERSON, sms, sms_v0_1};
use crate::clock::{START, secs};

#[tokio::test]
async fn an_accepted_send_is_answered_with_the_id_of_what_was_sent() {
    let world = HttpWorld::new().await;
    for (path, body) in [("/v1/messages", sms()), ("/v0.1/messages", sms_v0_1())] {
        let (status, _, answer) = world.send(path, &body).await;
        assert_eq!(status, 202, "{path}");
        let sent = world.provider.sent().pop().unwrap();
        assert_eq!(answer, json!({ "message_uuid": sent.provider_id }));
        assert_eq!(sent.client_ref.as_deref(), Some("order-17"));
        assert_eq!((sent.recipient.value(), sent.channel), (PERSON, Channel::SMS));
    }
}

#[tokio::test]
async fn every_channel_is_taken_in_both_versions() {
    let world = HttpWorld::new().await;
    for (channel, to, from) in [
        ("mms", PERSON, "447700900000"),
        ("whatsapp", PERSON, "447700900000"),
        ("viber_service", PERSON, "12345"),
        ("messenger", "psid", "page"),
    ] {
        let image = json!({ "url": "https://example.com/a.png" });
        let body = json!({
            "channel": channel, "message_type": "image", "image": image, "to": to, "from": from,
        });
        let (status, _, answer) = world.send("/v1/messages", &body).await;
        assert_eq!(status, 202, "{channel}: {answer}");

        let kind = if channel == "viber_service" { "viber_service_msg" } else { channel };
        let to_key = if channel == "messenger" { "id" } else { "number" };
        let from_key =
            if ["messenger", "viber_service"].contains(&channel) { "id" } else { "number" };
        let body = json!({
            "to": { "type": kind, to_key: to },
            "from": { "type": kind, from_key: from },
            "message": { "content": { "type": "image", "image": image } },
        });
        let (status, _, answer) = world.send("/v0.1/messages", &body).await;
        assert_eq!(status, 202, "{channel}: {answer}");
    }
    let [.., first, second] = world.provider.sent().try_into().map(|sent: [_; 8]| sent).unwrap();
    assert_eq!((first.channel, second.channel), (Channel::MESSENGER, Channel::MESSENGER));
}

#[tokio::test]
async fn a_scripted_refusal_names_its_code_as_each_version_does() {
    let world = HttpWorld::scripted("reject 1340").await;
    for (path, body, expected) in
        [("/v1/messages", sms(), 422), ("/v0.1/messages", sms_v0_1(), 400)]
    {
        let (status, headers, answer) = world.send(path, &body).await;
        assert_eq!(status, expected, "{path}");
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(answer["type"], "https://developer.vonage.com/api-errors/messages#1340");
        assert_eq!(answer["title"], "1340");
        assert!(answer["detail"].is_string() && answer["instance"].is_string());
    }
    assert_eq!(world.provider.sent_count(), 0);
}

#[tokio::test]
async fn throttling_tells_when_to_come_back_in_whole_seconds() {
    let world = HttpWorld::scripted("throttle 1 1500ms | throttle 1; accept").await;
    let (status, headers, _) = world.send("/v1/messages", &sms()).await;
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (429, "2"));
    assert_eq!(world.send("/v1/messages", &sms()).await.0, 202);
    let (status, headers, _) = world.send("/v1/messages", &sms()).await;
    assert_eq!((status, headers.get("retry-after")), (429, None));
}

#[tokio::test]
async fn a_failure_may_come_before_or_after_the_message_went_out() {
    for (script, sent) in [("500 before acting", 0), ("500 after acting", 1)] {
        let world = HttpWorld::scripted(script).await;
        let (status, _, answer) = world.send("/v1/messages", &sms()).await;
        assert_eq!((status, answer["title"].as_str()), (500, Some("Internal error")));
        assert_eq!(world.provider.sent_count(), sent);
        world.clock.advance(secs(60)).await;
        assert_eq!(world.heard().len() as u64, sent);
    }
}

#[tokio::test]
async fn silence_lasts_until_the_caller_gives_up_or_the_server_stops() {
    for (script, sent) in [("hang", 0), ("no-answer; deliver 1s", 1)] {
        let world = HttpWorld::scripted(script).await;
        let request = world.request("/v1/messages", &sms()).basic_auth("some", Some("body"));
        let error =
            request.timeout(Duration::from_millis(200)).send().await.expect_err("no answer");
        assert!(error.is_timeout());
        assert_eq!(world.provider.sent_count(), sent);
        world.clock.advance(secs(60)).await;
        assert_eq!(world.heard().len() as u64, sent);

        let request = world.request("/v1/messages", &sms()).basic_auth("some", Some("body"));
        let waiting = tokio::spawn(request.send());
        while world.provider.calls().len() < 2 {
            tokio::task::yield_now().await;
        }
        world.stop.cancel();
        assert_eq!(waiting.await.unwrap().unwrap().status().as_u16(), 503);
        world.serving.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_malformed_send_is_told_which_parameters_are_wrong() {
    let world = HttpWorld::new().await;
    let changed = |key: &str, value: Value| {
        let mut body = sms();
        body[key] = value;
        body
    };
    for (body, fragment, name) in [
        (changed("channel", json!("pigeon")), "1100", "channel"),
        (changed("channel", Value::Null), "1100", "channel"),
        (changed("to", json!("+447700900001")), "110", "to"),
        (changed("from", json!("far too long a sender")), "1120", "from"),
        (changed("message_type", json!("image")), "1140", "message_type"),
        (changed("client_ref", json!("x".repeat(101))), "1060", "client_ref"),
        (changed("text", json!("")), "1150", "text"),
        (changed("webhook_version", json!("v2")), "1150", "webhook_version"),
        (changed("webhook_url", json!("ftp://example.com")), "1150", "webhook_url"),
    ] {
        let (status, _, answer) = world.send("/v1/messages", &body).await;
        assert_eq!(status, 422, "{name}");
        assert!(answer["type"].as_str().unwrap().ends_with(&format!("#{fragment}")), "{answer}");
        assert_eq!(answer["invalid_parameters"][0]["name"], name);
    }
    let body = json!({
        "channel": "whatsapp", "message_type": "image", "image": {}, "to": PERSON, "from": "1",
    });
    let (_, _, answer) = world.send("/v1/messages", &body).await;
    let names: Vec<_> = answer["invalid_parameters"].as_array().unwrap().iter().collect();
    assert_eq!(
        (names[0]["name"].as_str(), names[1]["name"].as_str()),
        (Some("image.url"), Some("from"))
    );

    for (pointer, value, name) in [
        ("/to", Value::Null, "to"),
        ("/to/number", Value::Null, "to.number"),
        ("/from/type", json!("mms"), "from.type"),
        ("/message/content", Value::Null, "message.content"),
        ("/message/content/type", json!("image"), "message.content.type"),
        ("/message/content/text", json!(7), "message.content.text"),
        ("/client_ref", json!("x".repeat(41)), "client_ref"),
    ] {
        let mut body = sms_v0_1();
        *body.pointer_mut(pointer).unwrap() = value;
        let (status, _, answer) = world.send("/v0.1/messages", &body).await;
        assert_eq!((status, &answer["invalid_parameters"][0]["name"]), (400, &json!(name)));
        assert_eq!(answer["type"], "https://www.nexmo.com/messages/Errors#InvalidParams");
    }

    for (path, expected) in [("/v1/messages", 422), ("/v0.1/messages", 400)] {
        let (status, _, answer) = world.send(path, &json!(["no object"])).await;
        assert_eq!(status, expected);
        assert!(answer["type"].as_str().unwrap().ends_with("#invalid-json"));
    }
    assert_eq!(world.provider.calls(), []);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let world = HttpWorld::new().await;
    let mut body = sms();
    body["text"] = json!("x".repeat(300_000));
    assert_eq!(world.send("/v1/messages", &body).await.0, 413);
}

#[tokio::test]
async fn without_a_configured_credential_any_will_do_but_one_there_must_be() {
    let world = HttpWorld::new().await;
    let response = world.request("/v1/messages", &sms()).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 401);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["detail"], "Request header 'Authorization' missing");
    for value in ["Basic eDp5", "Bearer any"] {
        let request = world.request("/v1/messages", &sms()).header("authorization", value);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 202, "{value}");
    }
    for value in ["Digest x", "Basic"] {
        let request = world.request("/v1/messages", &sms()).header("authorization", value);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 401, "{value}");
    }
}

#[tokio::test]
async fn a_configured_key_and_secret_must_be_right() {
    let world = HttpWorld::with(ServerConfig {
        api_key: "abcd1234".into(),
        api_secret: Some(Secret::new("right")),
        ..ServerConfig::default()
    })
    .await;
    for (key, secret, expected) in
        [("abcd1234", "right", 202), ("abcd1234", "wrong", 401), ("other", "right", 401)]
    {
        let request = world.request("/v1/messages", &sms()).basic_auth(key, Some(secret));
        assert_eq!(request.send().await.unwrap().status().as_u16(), expected, "{key}:{secret}");
    }
    let request = world.request("/v1/messages", &sms()).bearer_auth("any");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 401);
}

#[tokio::test]
async fn a_token_must_be_signed_by_the_application_and_be_in_time() {
    let world = HttpWorld::with(ServerConfig {
        application_id: Some(APPLICATION.into()),
        public_key_pem: Some(include_str!("public_key.pem").into()),
        ..ServerConfig::default()
    })
    .await;
    let now = START.0 / 1000;
    assert_eq!(world.clock.now(), START);
    let right = json!({ "application_id": APPLICATION, "iat": now, "jti": "1" });
    let changed = |key: &str, value: Value| {
        let mut claims = right.clone();
        claims[key] = value;
        claims
    };
    for (claims, expected) in [
        (right.clone(), 202),
        (changed("exp", json!(now + 900)), 202),
        (changed("iat", json!(now - 900)), 202),
        (changed("iat", json!(now - 901)), 401),
        (changed("iat", json!(now + 61)), 401),
        (changed("iat", Value::Null), 401),
        (changed("exp", json!(now - 1)), 401),
        (changed("jti", Value::Null), 401),
        (changed("application_id", json!("another")), 401),
        (changed("application_id", Value::Null), 401),
    ] {
        let key = EncodingKey::from_rsa_pem(include_bytes!("private_key.pem")).unwrap();
        let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).unwrap();
        let request = world.request("/v1/messages", &sms()).bearer_auth(token);
        assert_eq!(request.send().await.unwrap().status().as_u16(), expected, "{claims}");
    }
    // A token of the right form, under a key that everybody knows.
    let key = EncodingKey::from_secret(include_bytes!("public_key.pem"));
    let forged = jsonwebtoken::encode(&Header::default(), &right, &key).unwrap();
    let request = world.request("/v1/messages", &sms()).bearer_auth(forged);
    assert_eq!(request.send().await.unwrap().status().as_u16(), 401);
    let request = world.request("/v1/messages", &sms()).basic_auth("abcd1234", Some(""));
    assert_eq!(request.send().await.unwrap().status().as_u16(), 401);
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_at_the_start() {
    let world = HttpWorld::new().await;
    for (config, expected) in [
        (
            ServerConfig { public_key_pem: Some("no key".into()), ..ServerConfig::default() },
            "the public key must be an RSA public key in PEM form",
        ),
        (
            ServerConfig { status_url: Some("example.com".into()), ..ServerConfig::default() },
            "the status URL must be an http or https URL",
        ),
        (
            ServerConfig { inbound_url: Some("example.com".into()), ..ServerConfig::default() },
            "the inbound URL must be an http or https URL",
        ),
    ] {
        let error = SandboxServer::new(world.provider.clone(), config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn scripts_and_messages_can_be_seen_and_set_while_it_runs() {
    let world = HttpWorld::new().await;
    let scripts = format!("{}/sandbox/scripts", world.base);
    let own = format!("{scripts}/whatsapp:{PERSON}");
    let put = async |url: &str, text: &'static str| {
        let response = world.client.put(url).body(text).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(put(&own, "reject 1340").await, (204, String::new()));
    assert_eq!(put(&scripts, "never").await, (204, String::new()));
    let (status, body) = put(&own, "bounce").await;
    assert_eq!(status, 400);
    assert!(body.contains("`bounce` is no verb"), "{body}");

    let get = async |url: &str| -> Value {
        world.client.get(url).send().await.unwrap().json().await.unwrap()
    };
    let expected = json!({
        "default": "accept; never",
        "scripts": { format!("whatsapp:{PERSON}"): "reject 1340" },
    });
    assert_eq!(get(&scripts).await, expected);

    let (_, _, answer) = world.send("/v1/messages", &sms()).await;
    let expected = json!({
        "sent_count": 1,
        "messages": [{
            "message_uuid": answer["message_uuid"],
            "client_ref": "order-17",
            "channel": "sms",
            "to": PERSON,
            "at_ms": START.0,
        }],
    });
    assert_eq!(get(&format!("{}/sandbox/messages", world.base)).await, expected);

    let delete = async |url: &str| world.client.delete(url).send().await.unwrap().status().as_u16();
    assert_eq!(delete(&own).await, 204);
    assert_eq!(delete(&own).await, 404);
    assert_eq!(delete(&scripts).await, 204);
}

#[tokio::test]
async fn the_same_seed_and_calls_give_the_same_ids() {
    let (one, other) = (HttpWorld::new().await, HttpWorld::new().await);
    for _ in 0..3 {
        let (_, _, first) = one.send("/v1/messages", &sms()).await;
        let (_, _, second) = other.send("/v1/messages", &sms()).await;
        assert_eq!(first, second);
    }
}

#[tokio::test]
async fn an_rcs_message_is_taken_back_until_it_is_delivered() {
    let world = HttpWorld::scripted("deliver 2s; read 4s").await;
    let rcs = json!({
        "channel": "rcs", "message_type": "text", "text": "Hello", "to": PERSON, "from": "Shop",
    });
    let revoke = async |id: &str, body: Value| {
        let url = format!("{}/v1/messages/{id}", world.base);
        let request = world.client.patch(url).json(&body).basic_auth("some", Some("body"));
        request.send().await.unwrap().status().as_u16()
    };
    let sent = async |body: &Value| {
        let (status, _, answer) = world.send("/v1/messages", body).await;
        assert_eq!(status, 202, "{answer}");
        answer["message_uuid"].as_str().unwrap().to_owned()
    };
    let revoked = || json!({ "status": "revoked" });
    let id = sent(&rcs).await;
    assert_eq!(revoke(&id, json!({ "status": "read" })).await, 422);
    world.clock.advance(secs(1)).await;
    assert_eq!(revoke(&id, revoked()).await, 202);
    world.clock.advance(secs(10)).await;
    assert_eq!(world.heard().len(), 0, "nothing more is told of it");
    assert!(world.provider.sent().pop().unwrap().is_recalled);

    let id = sent(&rcs).await;
    world.clock.advance(secs(3)).await;
    assert_eq!(revoke(&id, revoked()).await, 422, "it is delivered");
    world.clock.advance(secs(3)).await;
    assert_eq!(world.heard().len(), 2);
    let id = sent(&sms()).await;
    assert_eq!(revoke(&id, revoked()).await, 422, "only RCS is");
    assert_eq!(revoke("nobody", revoked()).await, 404);
}
