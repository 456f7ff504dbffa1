//! Lists without end by one tenant, that match nothing: another tenant's streams begin as soon as ever.

use std::time::{Duration, Instant};

use dispatch::pb::v1::{
    AllWorkflows, BatchCreateWorkflowsRequest, ListWorkflowsRequest, StreamStatusRequest,
    stream_status_request::Target,
};
use tokio::task::JoinSet;

use super::{Times, create_sms};
use crate::{
    ALONE,
    chance::setting,
    crowd::calls::{of, with_keys},
    report,
};

const LOOPS: usize = 24;
const LONG: Duration = Duration::from_secs(3);

/// `DISPATCH_READ_WORKFLOWS` sets how many workflows there are to look through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tenant_s_lists_without_end_do_not_hold_up_another_s_streams() {
    let _alone = ALONE.lock().await;
    let workflows = setting("DISPATCH_READ_WORKFLOWS", 1000);
    let server = with_keys(&["default", "greedy", "modest"], "").await;
    let (greedy, modest) = (of(&server, "greedy").await, of(&server, "modest").await);
    for _ in 0..workflows.div_ceil(500) {
        let mut one = create_sms();
        // It waits, and nothing else happens here.
        let in_a_month = std::time::SystemTime::now() + Duration::from_secs(30 * 86_400);
        one.workflow.as_mut().unwrap().send_at = Some(in_a_month.into());
        let requests = vec![one; 500];
        greedy
            .raw()
            .batch_create_workflows(BatchCreateWorkflowsRequest { requests })
            .await
            .unwrap();
    }
    let start = || async {
        let target = Some(Target::All(AllWorkflows {}));
        let request = StreamStatusRequest { target, ..Default::default() };
        let mut stream = modest.raw().stream_status(request).await.unwrap().into_inner();
        // Where "now" is, is told at once.
        stream.message().await.unwrap().unwrap();
        let id = modest.create(create_sms()).await.unwrap().workflow.unwrap().workflow_id;
        let target = Some(Target::WorkflowId(id));
        let request = StreamStatusRequest { target, ..Default::default() };
        let mut stream = modest.raw().stream_status(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
    };
    let mut alone = Times::default();
    for _ in 0..10 {
        let asking = Instant::now();
        start().await;
        alone.add(asking);
    }
    let mut lists = JoinSet::new();
    for _ in 0..LOOPS {
        let client = greedy.clone();
        lists.spawn(async move {
            let labels = [("nobody".to_owned(), "has this".to_owned())].into();
            let request = ListWorkflowsRequest { labels, page_size: 500, ..Default::default() };
            loop {
                client.list(request.clone()).await.unwrap();
            }
        });
    }
    let (began, mut beside, mut starts) = (Instant::now(), Times::default(), 0);
    while began.elapsed() < LONG {
        let asking = Instant::now();
        start().await;
        beside.add(asking);
        starts += 1;
    }
    lists.shutdown().await;
    let (alone, beside) = (alone.at(50), beside.at(100));
    println!("{starts} streams begun: {alone:?} alone, {beside:?} at most beside {LOOPS} lists");
    assert!(beside < 10 * alone + Duration::from_millis(1500), "a stream began after {beside:?}");
    report::row(&report::Tried {
        name: "86-overload-reads",
        what: "streams of one tenant beside another's lists without end that match nothing",
        counts: vec![
            (workflows, "workflows to look through"),
            (LOOPS as u64, "lists at once"),
            (starts, "streams begun, each with a create"),
            (alone.as_millis() as u64, "ms alone"),
            (beside.as_millis() as u64, "ms for the slowest beside them"),
        ],
        found: "nobody waits behind another's reads".to_owned(),
        seed: format!("DISPATCH_READ_WORKFLOWS={workflows}"),
    });
    server.stop().await;
}
