//! Genuine receipts with something odd where nobody looks: the status counts all the same.

use super::*;

/// A receipt's fields without their braces, and what providers put beside them.
fn spoiled(fields: &str) -> Vec<Vec<u8>> {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let beside: [&[u8]; 8] = [
        br#""profile":{"name":"Ana \ud83d"}"#,
        b"\"profile\":{\"name\":\"Ana M\xfc\xfci\"}",
        b"\"profile\":{\"name\":\"Ana\n\x00\"}",
        br#""price":1e999999"#,
        br#""price":NaN"#,
        br#""status":null"#,
        br#""profile":{"status":"rejected"}"#,
        deep.as_bytes(),
    ];
    let whole = |parts: &[&[u8]]| parts.concat();
    let fields = fields.as_bytes();
    let mut bodies = vec![
        whole(&[b"\xef\xbb\xbf{", fields, b"}\n"]),
        whole(&[b"{", fields, b"}\0"]),
        // Only what is behind it is lost.
        whole(&[b"{", fields, br#","profile":{"name":"An"#]),
    ];
    for beside in beside {
        bodies.push(whole(&[b"{", beside, b",", fields, b"}"]));
        bodies.push(whole(&[b"{", fields, b",", beside, b"}"]));
        bodies.push(whole(&[b"[{", fields, b"},{", beside, b"}]"]));
        bodies.push(whole(&[b"[{", beside, b"},{", fields, b"}]"]));
    }
    bodies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_odd_beside_the_status_does_not_lose_it() {
    for shape in SHAPES {
        let told = Told::start(shape).await;
        let count = spoiled("").len();
        for at in 0..count {
            // A spec of its own for each: equal ones are told apart by nothing else.
            let expiry = format!("{}s", 600 + at);
            let (id, attempt) = told.create(messenger_sms(PERSON, NUMBER, &expiry)).await;
            let good = told.body(&attempt, "read").to_string();
            let body = &spoiled(&good[1..good.len() - 1])[at];
            let shown = String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned();
            assert_eq!(told.tell(body).await, 200, "{shape:?}: {shown}");
            let workflow = told.get(&id).await;
            assert_eq!(workflow.state(), WorkflowState::Succeeded, "{shape:?}: {shown}");
        }
        assert_eq!(told.verdicts("understood").await, count as u64);
        assert_eq!(told.provider.sent().len(), count, "no SMS went out");
        told.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_item_of_a_batch_does_not_lose_the_others_or_its_own_status() {
    let told = Told::start(Shape::V1).await;
    let (first, one) = told.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    let (second, two) = told.create(messenger_sms(PERSON, NUMBER, "601s")).await;
    let good = told.body(&one, "read").to_string();
    let bad = told.body(&two, " Read ").to_string();
    let bad = format!(r#"{},"profile":{{"name":"Ana \ud83d"}}}}"#, &bad[..bad.len() - 1]);
    assert_eq!(told.tell(format!("[{good},{bad}]").as_bytes()).await, 200);
    for id in [first, second] {
        assert_eq!(told.get(&id).await.state(), WorkflowState::Succeeded);
    }
    told.stop().await;
}
