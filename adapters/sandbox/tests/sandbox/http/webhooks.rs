//! What receivers of status webhooks get.

use dispatch_contract::{Channel, Clock};
use serde_json::json;

use super::{APPLICATION, HttpWorld, PERSON, sms, sms_v0_1};
use crate::clock::{START, secs};

#[tokio::test]
async fn a_webhook_of_v1_is_signed_and_says_what_happened_to_which_message() {
    let world = HttpWorld::scripted("deliver 2s").await;
    let (message, heard) = world.play().await;
    let [webhook] = heard.try_into().unwrap();
    assert_eq!(webhook.at, secs(2));
    assert_eq!(
        webhook.json(),
        json!({
            "message_uuid": message,
            "channel": "sms",
            "to": PERSON,
            "from": "Shop",
            "timestamp": "2023-11-14T22:13:22Z",
            "status": "delivered",
            "client_ref": "order-17",
            "usage": { "currency": "EUR", "price": "0.0333" },
            "destination": { "network_code": "12345" },
            "sms": { "count_total": "1" },
        })
    );
    let claims = webhook.verified();
    assert_eq!(claims["iat"], START.0 / 1000 + 2);
    assert_eq!(claims["api_key"], "abcd1234");
    assert_eq!(claims["application_id"], APPLICATION);
    assert!(claims["jti"].is_string());
}

#[tokio::test]
async fn a_webhook_of_v0_1_has_the_older_form() {
    let world = HttpWorld::scripted("rejected 2500ms 1340").await;
    let (_, _, answer) = world.send("/v0.1/messages", &sms_v0_1()).await;
    world.clock.advance(secs(3)).await;
    let [webhook] = world.heard().try_into().unwrap();
    webhook.verified();
    assert_eq!(
        webhook.json(),
        json!({
            "message_uuid": answer["message_uuid"],
            "to": { "type": "sms", "number": PERSON },
            "from": { "type": "sms", "number": "Shop" },
            "timestamp": "2023-11-14T22:13:22.500Z",
            "status": "rejected",
            "client_ref": "order-17",
            "error": {
                "code": 1340,
                "reason": "the person did not write recently enough",
            },
        })
    );
}

#[tokio::test]
async fn a_message_chooses_the_form_and_the_place_of_its_webhooks() {
    let world = HttpWorld::scripted("undeliverable 1s 1260").await;
    let mut body = sms();
    body["channel"] = json!("viber_service");
    body["webhook_version"] = json!("v0.1");
    world.send("/v1/messages", &body).await;
    body["webhook_version"] = json!("v1");
    world.send("/v1/messages", &body).await;
    body["webhook_url"] = json!(format!("{}/nowhere", world.base));
    world.send("/v1/messages", &body).await;
    world.clock.advance(secs(2)).await;
    let mut heard: Vec<_> = world.heard().iter().map(super::ReceivedWebhook::json).collect();
    // Different messages are posted side by side.
    heard.sort_by_key(|body| body["channel"].is_string());
    let [older, newer] = heard.try_into().unwrap();
    assert_eq!(older["to"], json!({ "type": "viber_service_msg", "number": PERSON }));
    assert_eq!(older["from"], json!({ "type": "viber_service_msg", "id": "Shop" }));
    assert_eq!(newer["channel"], "viber_service");
    assert_eq!(newer["error"]["title"], "1260");
    let kind = newer["error"]["type"].as_str().unwrap();
    assert!(kind.ends_with("/messages#1260"), "{kind}");
}

#[tokio::test]
async fn whatsapp_is_read_and_names_its_conversation() {
    let world = HttpWorld::new().await;
    let mut body = sms();
    body["channel"] = json!("whatsapp");
    world.send("/v1/messages", &body).await;
    world.clock.advance(secs(4)).await;
    let [delivered, read] = world.heard().try_into().unwrap();
    assert_eq!(delivered.heard(), (1, "delivered".into()));
    assert!(delivered.json()["whatsapp"]["conversation"]["id"].is_string());
    assert_eq!(read.heard(), (3, "read".into()));
    assert_eq!(world.provider.sent()[0].channel, Channel::WHATSAPP);
}

#[tokio::test]
async fn who_answers_on_whatsapp_or_viber_quotes_the_message_at_the_url_for_inbound_messages() {
    let world = HttpWorld::scripted("reply 2500ms").await;
    world.send("/v1/messages", &sms()).await;
    let mut body = sms();
    body["channel"] = json!("whatsapp");
    let (_, _, whatsapp) = world.send("/v1/messages", &body).await;
    let party = |id: &str| json!({ "type": "viber_service_msg", id: "447700900001" });
    let viber = json!({
        "to": party("number"),
        "from": { "type": "viber_service_msg", "id": "Shop" },
        "message": { "content": { "type": "text", "text": "hello" } },
    });
    let (_, _, viber) = world.send("/v0.1/messages", &viber).await;
    world.clock.advance(secs(3)).await;
    let mut heard = world.heard();
    // Different messages are posted side by side.
    heard.sort_by_key(|webhook| webhook.json()["channel"].is_null());
    let [newer, older] = heard.try_into().expect("of an SMS nobody quotes anything");
    for webhook in [&newer, &older] {
        assert_eq!(webhook.path, "/inbound");
        webhook.verified();
    }
    let (newer, older) = (newer.json(), older.json());
    assert_eq!(
        newer,
        json!({
            "channel": "whatsapp",
            "message_uuid": newer["message_uuid"],
            "to": "Shop",
            "from": PERSON,
            "timestamp": "2023-11-14T22:13:22Z",
            "message_type": "text",
            "text": "Thank you.",
            "context": { "message_uuid": whatsapp["message_uuid"] },
            "context_status": "available",
        })
    );
    assert_ne!(newer["message_uuid"], whatsapp["message_uuid"]);
    assert_eq!(
        older,
        json!({
            "message_uuid": older["message_uuid"],
            "to": { "type": "viber_service_msg", "id": "Shop" },
            "from": party("number"),
            "timestamp": "2023-11-14T22:13:22.500Z",
            "message": {
                "content": { "type": "text", "text": "Thank you." },
                "context": { "message_uuid": viber["message_uuid"] },
            },
        })
    );
}

#[tokio::test]
async fn receipts_can_come_twice_and_each_is_signed_anew() {
    let (_, heard) = HttpWorld::scripted("deliver 1s; twice").await.play().await;
    let [first, second] = heard.try_into().unwrap();
    assert_eq!(first.body, second.body);
    assert_ne!(first.verified()["jti"], second.verified()["jti"]);
}

#[tokio::test]
async fn receipts_can_come_out_of_order() {
    let script = "submitted 1s; deliver 3s; out-of-order";
    let (_, heard) = HttpWorld::scripted(script).await.play().await;
    let heard: Vec<_> = heard.iter().map(super::ReceivedWebhook::heard).collect();
    assert_eq!(heard, [(1, "delivered".into()), (3, "submitted".into())]);
}

#[tokio::test]
async fn receipts_can_come_unsigned_for_good_or_until_they_are_refused() {
    let (_, heard) = HttpWorld::scripted("deliver 1s; unsigned").await.play().await;
    let [unsigned] = heard.try_into().unwrap();
    assert_eq!(unsigned.authorization, None);

    let world = HttpWorld::scripted("deliver 1s; unsigned first").await;
    *world.receiver.refuse.lock().unwrap() = 1;
    let (_, heard) = world.play().await;
    let [unsigned, signed] = heard.try_into().unwrap();
    assert_eq!((unsigned.at, unsigned.authorization), (secs(1), None));
    assert_eq!(signed.at, secs(6));
    signed.verified();
}

#[tokio::test]
async fn an_early_receipt_is_heard_before_the_send_is_answered() {
    let world = HttpWorld::scripted("deliver 5s; early").await;
    let (status, _, answer) = world.send("/v1/messages", &sms()).await;
    assert_eq!(status, 202);
    let [webhook] = world.heard().try_into().unwrap();
    assert_eq!(webhook.heard(), (0, "delivered".into()));
    assert_eq!(webhook.json()["message_uuid"], answer["message_uuid"]);
}

#[tokio::test]
async fn a_late_receipt_keeps_the_time_at_which_it_happened() {
    let (_, heard) = HttpWorld::scripted("deliver 1s; late 10m").await.play().await;
    let [webhook] = heard.try_into().unwrap();
    assert_eq!(webhook.at, secs(601));
    assert_eq!(webhook.json()["timestamp"], "2023-11-14T22:13:21Z");
}

#[tokio::test]
async fn a_webhook_that_is_not_taken_is_repeated_until_it_is() {
    let world = HttpWorld::scripted("deliver 1s").await;
    *world.receiver.refuse.lock().unwrap() = 3;
    let (_, heard) = world.play().await;
    let times: Vec<_> = heard.iter().map(|webhook| webhook.at.as_secs()).collect();
    assert_eq!(times, [1, 6, 16, 36]);
    assert!(heard.iter().all(|webhook| webhook.body == heard[0].body));
    let tokens: std::collections::BTreeSet<_> =
        heard.iter().map(|webhook| webhook.verified()["jti"].to_string()).collect();
    assert_eq!(tokens.len(), 4);
}

#[tokio::test]
async fn a_webhook_that_nobody_takes_is_given_up_after_a_day() {
    let world = HttpWorld::scripted("deliver 1s").await;
    *world.receiver.refuse.lock().unwrap() = usize::MAX;
    world.send("/v1/messages", &sms()).await;
    world.clock.advance(secs(2 * 86_400)).await;
    let last = world.heard().pop().unwrap();
    assert!(last.at <= secs(1 + 86_400) && last.at > secs(86_400 - 900), "{:?}", last.at);
    assert_eq!(world.clock.now(), START + secs(2 * 86_400));
}
