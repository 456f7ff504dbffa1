//! `erase`: a person among many workflows that rest. How long it takes to find them, and to erase them, durably; and
//! a workflow that is named, which is what an erasure takes without the search.

use std::{ops::Range, time::Duration};

use dispatch::{
    client::Known,
    pb::v1::{
        EraseRequest, PersonToErase, WorkflowsToErase,
        dispatch_service_client::DispatchServiceClient, erase_request::Subject,
        erasure_service_client::ErasureServiceClient,
    },
};

use super::{
    Bench, create,
    load::{self, Until},
    workflow::{self, Shape},
};
use crate::CommandFailure;

/// In flight for creates, unless the command line says otherwise.
const IN_FLIGHT: usize = 256;
/// How many persons are erased, and how many workflows that are named, one after the other.
const ERASED: u64 = 100;

pub(super) async fn run(bench: &mut Bench) -> Result<(), CommandFailure> {
    let count = bench.args.count.unwrap_or(100_000).max(10 * ERASED);
    let in_flight = bench.args.in_flight.first().copied().unwrap_or(IN_FLIGHT);
    let shape = Shape::resting(Duration::from_secs(86_400));
    let channels = bench.channels(in_flight).await?;
    let until = Until::Count(count);
    let outcome = create::creates("create", &channels, in_flight, until, 0, &shape).await;
    bench.report.measured("create", outcome, None);
    // Notes of whose keys are are written each second.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let channel = channels[0].clone();
    // From all over the store, and each once.
    let apart = count / (2 * ERASED);
    persons(bench, &channel, "find a person", true, apart, 0..ERASED).await;
    persons(bench, &channel, "erase a person", false, apart, 0..ERASED).await;
    named(bench, &channel, &shape, count..count + ERASED).await
}

/// One after the other: each has one workflow.
async fn persons(
    bench: &mut Bench,
    channel: &Known,
    what: &str,
    dry_run: bool,
    apart: u64,
    numbers: Range<u64>,
) {
    let (channel, first) = (channel.clone(), numbers.start);
    let erase = move |index: u64| {
        let channel = channel.clone();
        async move {
            let recipients = workflow::recipients((first + index) * apart).to_vec();
            let subject = Subject::Person(PersonToErase { recipients });
            let found = erase(&channel, subject, dry_run).await?;
            if found == 1 { Ok(()) } else { Err(format!("{found} workflows and not 1")) }
        }
    };
    let until = Until::Count(numbers.end - numbers.start);
    let outcome = load::closed(what, 1, until, erase).await;
    bench.report.measured(what, outcome, None);
}

/// New ones, by their ids: without a search.
async fn named(
    bench: &mut Bench,
    channel: &Known,
    shape: &Shape,
    numbers: Range<u64>,
) -> Result<(), CommandFailure> {
    let mut ids = Vec::new();
    for number in numbers {
        let request = workflow::request(number, shape);
        let created = DispatchServiceClient::new(channel.clone()).create_workflow(request).await;
        let created = created.map_err(|status| CommandFailure::new(status.to_string()))?;
        ids.extend(created.into_inner().workflow.map(|workflow| workflow.workflow_id));
    }
    let (channel, until) = (channel.clone(), Until::Count(ids.len() as u64));
    let erase = move |index: u64| {
        let (channel, id) = (channel.clone(), ids[index as usize].clone());
        async move {
            let subject = Subject::Workflows(WorkflowsToErase { workflow_ids: vec![id] });
            let found = erase(&channel, subject, false).await?;
            if found == 1 { Ok(()) } else { Err(format!("{found} workflows and not 1")) }
        }
    };
    let what = "erase a workflow";
    let outcome = load::closed(what, 1, until, erase).await;
    bench.report.measured(what, outcome, None);
    Ok(())
}

/// How many workflows were erased, or would be.
async fn erase(channel: &Known, subject: Subject, dry_run: bool) -> Result<u32, String> {
    let request = EraseRequest { subject: Some(subject), dry_run, ..EraseRequest::default() };
    let answer = ErasureServiceClient::new(channel.clone()).erase(request).await;
    let answer = answer.map_err(|status| status.to_string())?.into_inner();
    let certified = answer.certificate.map(|certificate| certificate.workflow_count);
    Ok(certified.or(answer.preview.map(|preview| preview.workflow_count)).unwrap_or_default())
}
