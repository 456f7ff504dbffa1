//! Calls that are begun and not ended: by those whom nobody knows, and by a tenant that takes all it
//! gets. Others find room, and what is held for them is bounded.

use std::time::{Duration, Instant};

use dispatch::{
    client::{Client, Credential},
    pb::v1::{AllWorkflows, StreamStatusRequest, stream_status_request::Target},
};
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse,
    server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt;

use crate::{
    ALONE,
    chance::setting,
    overload::{Server, create_sms, raise_open_files},
    report,
    support::eventually,
};

const SECRET: &str = "a secret of the tests";
const A_CONNECTION: u64 = 100;

/// A service with a key for each of these tenants, of the same name.
pub async fn with_keys(tenants: &[&str], config: &str) -> Server {
    let key = |tenant: &&str| {
        format!(
            "[[access.keys]]\nid = \"{tenant}\"\nsecret = \"{SECRET}\"\ntenant = \"{tenant}\"\n\
             scopes = [\"create\", \"read\", \"cancel\", \"admin\"]\n"
        )
    };
    let keys: String = tenants.iter().map(key).collect();
    Server::start(&format!("{config}\n{keys}")).await
}

/// A connection of its own, for a tenant.
pub async fn of(server: &Server, tenant: &str) -> Client {
    let credential = Credential::key(&format!("{tenant}:{SECRET}")).unwrap();
    server.connect().await.with(credential)
}

/// Begins to ask what there is; asks nothing if `question` is none, and ends in no case.
async fn reflect(
    channel: &Channel,
    question: Option<MessageRequest>,
) -> Result<Streaming<ServerReflectionResponse>, Status> {
    let question = question.map(|message_request| ServerReflectionRequest {
        message_request: Some(message_request),
        ..Default::default()
    });
    let asked = futures_util::StreamExt::chain(
        futures_util::stream::iter(question),
        futures_util::stream::pending(),
    );
    let mut client = ServerReflectionClient::new(channel.clone());
    Ok(client.server_reflection_info(asked).await?.into_inner())
}

/// `DISPATCH_CROWD` sets how many calls: a hundred on a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_nobody_are_few_and_over_when_they_are_quiet() {
    let _alone = ALONE.lock().await;
    let calls = setting("DISPATCH_CROWD", 200) * 10;
    raise_open_files(4096);
    let server = with_keys(&["default", "acme"], "").await;
    let acme = of(&server, "acme").await;
    let before_mib = server.rss_mib();
    let (mut open, mut refused, mut longest) = (Vec::new(), 0, Duration::ZERO);
    let began = Instant::now();
    for _ in 0..calls.div_ceil(A_CONNECTION) {
        let endpoint = Client::endpoint(format!("http://{}", server.process.grpc)).unwrap();
        let channel = endpoint.connect().await.unwrap();
        for _ in 0..A_CONNECTION {
            match reflect(&channel, None).await {
                Ok(stream) => open.push((channel.clone(), stream)),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                    assert!(status.get_details_retry_info().is_some(), "{status:?}");
                    refused += 1;
                }
            }
        }
        let asking = Instant::now();
        acme.create(create_sms()).await.unwrap();
        longest = longest.max(asking.elapsed());
    }
    let held_mib = server.rss_mib() - before_mib;
    println!("{} open, {refused} refused, {held_mib} MiB, {longest:?} a create", open.len());
    // Half of all for one peer, and as many again whenever those have been quiet for too long.
    let most = 128 * (1 + began.elapsed().as_secs() as usize / 10);
    assert!(open.len() <= most, "{} calls of one peer are held", open.len());
    assert!(held_mib < 60, "{held_mib} MiB are held");
    assert!(longest < Duration::from_secs(4), "a create took {longest:?}");
    // They ask nothing, so they end, and there is room for whoever does.
    let (channel, mut first) = open.swap_remove(0);
    let ended = tokio::time::timeout(Duration::from_secs(30), first.message()).await.unwrap();
    assert_eq!(ended.unwrap_err().code(), Code::DeadlineExceeded);
    let is_answered = eventually(Duration::from_secs(30), || async {
        let list = MessageRequest::ListServices(String::new());
        let Ok(mut stream) = reflect(&channel, Some(list)).await else { return false };
        stream.message().await.is_ok_and(|answer| answer.is_some())
    });
    assert!(is_answered.await, "there is no room, though all are quiet");
    report::row(&report::Tried {
        name: "76-network-calls",
        what: "calls of those whom nobody knows, begun and not ended",
        counts: vec![
            (calls, "calls"),
            (refused, "refused"),
            (held_mib, "MiB for the others"),
            (longest.as_millis() as u64, "ms for the slowest create beside them"),
        ],
        found: "few are held, and not for long".to_owned(),
        seed: format!("DISPATCH_CROWD={}", calls / 10),
    });
    drop(open);
    server.stop().await;
}

/// Opens status streams until one is refused.
async fn all_it_gets(client: &Client) -> (Vec<impl Sized>, Status) {
    let target = Some(Target::All(AllWorkflows {}));
    let mut open = Vec::new();
    loop {
        let request = StreamStatusRequest { target: target.clone(), ..Default::default() };
        match client.raw().stream_status(request).await {
            Ok(stream) => open.push(stream),
            Err(status) => return (open, status),
        }
        assert!(open.len() < 1000, "there is no end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_takes_all_the_streams_it_gets_leaves_as_many_for_others() {
    let _alone = ALONE.lock().await;
    let limits = "[listen]\ncalls = 64\n[access]\nopen_streams = 40\n\
                  [access.tenants]\nmodest = { open_streams = 3 }\n";
    let server = with_keys(&["default", "greedy", "another", "modest"], limits).await;
    let reason = |status: &Status| status.get_details_error_info().unwrap().reason;
    let greedy = of(&server, "greedy").await;
    let (open, refused) = all_it_gets(&greedy).await;
    assert_eq!((open.len(), refused.code()), (32, Code::ResourceExhausted));
    assert_eq!(reason(&refused), "TOO_MANY_CALLS");
    assert!(refused.get_details_retry_info().is_some());
    let another = of(&server, "another").await;
    another.create(create_sms()).await.unwrap();
    let (of_another, _) = all_it_gets(&another).await;
    assert_eq!(of_another.len(), 16);
    let modest = of(&server, "modest").await;
    let (of_modest, refused) = all_it_gets(&modest).await;
    assert_eq!((of_modest.len(), reason(&refused).as_str()), (3, "TOO_MANY_STREAMS"));
    assert!(refused.message().contains("raise open_streams in [access]"), "{refused}");
    assert!(refused.get_details_retry_info().is_some());
    // What is given up is there again.
    drop(open);
    let again =
        eventually(Duration::from_secs(10), || async { greedy.create(create_sms()).await.is_ok() });
    assert!(again.await);
    drop((of_another, of_modest));
    server.stop().await;
}
