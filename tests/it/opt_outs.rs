//! Who wants no messages gets none: the list, as callers, the command line and a start after another see it.

use std::time::Duration;

use dispatch::{
    client::Client,
    pb::v1::{
        Address, BatchCreateOptOutsRequest, DeleteOptOutsRequest, ListAuditRequest,
        ListOptOutsRequest, OptOut, OptOutSource, OutcomeReason, StepState, Workflow,
        address::Endpoint,
    },
};
use tonic::{Code, Status};

use crate::{
    access::{ALL, House, key, outcome, reason},
    no_recipient,
    support::{FREE, Process, Running, in_memory, messenger_sms},
};

const ANN: &str = "447700900001";
const PERSON: &str = "1000";
const US: &str = "DISPATCH";

fn sms(number: &str) -> Address {
    let endpoint = Some(Endpoint::Number(number.to_owned()));
    Address { channel: "sms".to_owned(), endpoint }
}

fn opt_out(recipient: Address, sender: &str) -> OptOut {
    OptOut { recipient: Some(recipient), sender: sender.to_owned(), ..OptOut::default() }
}

async fn add(client: &Client, opt_outs: Vec<OptOut>) -> Result<i32, Status> {
    let request = BatchCreateOptOutsRequest { opt_outs, tenant: String::new() };
    Ok(client.opt_outs().batch_create_opt_outs(request).await?.into_inner().created_count)
}

async fn remove(client: &Client, recipient: Address) -> Result<i32, Status> {
    let request = DeleteOptOutsRequest { recipient: Some(recipient), ..Default::default() };
    Ok(client.opt_outs().delete_opt_outs(request).await?.into_inner().deleted_count)
}

async fn list(client: &Client, request: ListOptOutsRequest) -> Vec<OptOut> {
    client.opt_outs().list_opt_outs(request).await.unwrap().into_inner().opt_outs
}

fn of_last_step(workflow: &Workflow) -> (StepState, OutcomeReason) {
    let step = workflow.steps.last().unwrap();
    (step.state(), workflow.outcome.as_ref().unwrap().reason())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_on_the_list_is_sent_nothing_and_an_open_workflow_leads_on_at_once() {
    let running = Running::start(&in_memory()).await;
    running.script(PERSON, "accept; deliver 1s").await;
    running.script(ANN, "accept; deliver 1s").await;
    // The workflow is open, and waits for its first message, when the person says no.
    let open = running.create(messenger_sms(PERSON, ANN, "600s")).await;
    assert_eq!(add(&running.client, vec![opt_out(sms(ANN), "")]).await.unwrap(), 1);
    assert_eq!(add(&running.client, vec![opt_out(sms(ANN), "")]).await.unwrap(), 0);
    running.advance(Duration::from_secs(601)).await;
    let ended = running.get(&open).await;
    assert_eq!(of_last_step(&ended), (StepState::Failed, OutcomeReason::OptedOut), "{ended:?}");
    let told = format!("{:?}", ended.outcome);
    assert!(told.contains("wants no messages") && !told.contains(ANN), "{told}");
    assert_eq!(running.sent().await.len(), 1, "nothing went out by SMS");
    // What is lifted counts no more.
    assert_eq!(remove(&running.client, sms(ANN)).await.unwrap(), 1);
    let gone = remove(&running.client, sms(ANN)).await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::NotFound, "OPT_OUT_NOT_FOUND"));
    let after = running.create(messenger_sms(PERSON, ANN, "600s")).await;
    running.advance(Duration::from_secs(610)).await;
    let ended = running.get(&after).await;
    assert_eq!(of_last_step(&ended), (StepState::Met, OutcomeReason::ConditionMet), "{ended:?}");
    // About one sender: another may still write.
    assert_eq!(add(&running.client, vec![opt_out(sms(ANN), "Other")]).await.unwrap(), 1);
    let after = running.create(messenger_sms(PERSON, ANN, "600s")).await;
    running.advance(Duration::from_secs(610)).await;
    assert_eq!(of_last_step(&running.get(&after).await).0, StepState::Met);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_refuses_for_it_is_asked_once() {
    let running = Running::start(&in_memory()).await;
    running.script(PERSON, "reject 1240").await;
    running.script(ANN, "accept; deliver 1s").await;
    let states = async |id: &str| {
        let workflow = running.get(id).await;
        workflow.steps.iter().map(|step| step.state()).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        let id = running.create(messenger_sms(PERSON, ANN, "600s")).await;
        running.advance(Duration::from_secs(5)).await;
        assert_eq!(states(&id).await, [StepState::Failed, StepState::Met]);
    }
    let calls = running.sent().await.iter().filter(|sent| sent.recipient == PERSON).count();
    assert!(calls <= 1, "the second was not called: {calls}");
    let listed = list(&running.client, ListOptOutsRequest::default()).await;
    let [listed] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(listed.source(), OptOutSource::Provider);
    assert_eq!((listed.tenant.as_str(), listed.account.is_empty()), ("", false));
    // It counts for every tenant, and is lifted as such.
    let recipient = listed.recipient.clone();
    let mut request = DeleteOptOutsRequest { recipient, ..Default::default() };
    let mine = running.client.opt_outs().delete_opt_outs(request.clone()).await.unwrap_err();
    assert_eq!(reason(&mine), "OPT_OUT_NOT_FOUND");
    request.of_every_tenant = true;
    let lifted = running.client.opt_outs().delete_opt_outs(request).await.unwrap().into_inner();
    assert_eq!(lifted.deleted_count, 1);
    let metrics = format!("http://{}/metrics", running.service.internal_http);
    let metrics = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    let count = "dispatch_opt_outs_total{source=\"provider\",change=\"listed\"} 1";
    assert!(metrics.contains(count), "{metrics}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_an_entry_is_said_and_none_of_the_others_is_taken() {
    let mut config = in_memory();
    config.access.most_opt_outs = 2;
    let running = Running::start(&config).await;
    let nowhere = Address { channel: "pigeon".to_owned(), ..sms(ANN) };
    let wrong = vec![
        opt_out(sms(ANN), ""),
        opt_out(sms("+447700900001"), ""),
        opt_out(nowhere, ""),
        opt_out(sms(ANN), "\u{200b}"),
        OptOut::default(),
    ];
    let refused = add(&running.client, wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let text = format!("{refused:?}");
    for field in ["opt_outs[1].recipient", "opt_outs[2].recipient.channel", "opt_outs[3].sender"] {
        assert!(refused.message().contains(field), "{field}: {text}");
    }
    assert!(refused.message().contains("and 1 more"), "{text}");
    assert!(!refused.message().contains("4477"), "{text}");
    let too_many = (0..1001).map(|n| opt_out(sms(&format!("4477{n:08}")), "")).collect();
    for (opt_outs, code) in [(vec![], Code::InvalidArgument), (too_many, Code::InvalidArgument)] {
        assert_eq!(add(&running.client, opt_outs).await.unwrap_err().code(), code);
    }
    let three = (0..3).map(|n| opt_out(sms(&format!("44770090000{n}")), "")).collect();
    let refused = add(&running.client, three).await.unwrap_err();
    assert_eq!(reason(&refused), "TOO_MANY_OPT_OUTS");
    assert_eq!(list(&running.client, ListOptOutsRequest::default()).await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_s_list_is_its_own_and_an_operator_sees_them_all() {
    let mut config = in_memory();
    config.access.keys = vec![
        key("operator", "default", &["operator"]),
        key("acme", "acme", &ALL),
        key("beta", "beta", &ALL),
    ];
    let house = House::new(&config).await;
    let (operator, acme, beta) = (house.of("operator"), house.of("acme"), house.of("beta"));
    assert_eq!(add(&acme, vec![opt_out(sms(ANN), "")]).await.unwrap(), 1);
    assert_eq!(add(&beta, vec![opt_out(sms(ANN), US)]).await.unwrap(), 1);
    let all = ListOptOutsRequest::default();
    let of_acme = ListOptOutsRequest { tenant: "acme".to_owned(), ..all.clone() };
    assert_eq!(list(&acme, all.clone()).await.len(), 1);
    assert_eq!(list(&acme, all.clone()).await, list(&operator, of_acme.clone()).await);
    assert_eq!(list(&operator, all.clone()).await.len(), 2);
    let asked = beta.opt_outs().list_opt_outs(of_acme).await;
    assert_eq!(outcome(asked).0, Code::PermissionDenied);
    let for_beta = BatchCreateOptOutsRequest {
        opt_outs: vec![opt_out(sms(ANN), "")],
        tenant: "beta".to_owned(),
    };
    let refused = acme.opt_outs().batch_create_opt_outs(for_beta.clone()).await;
    assert_eq!(outcome(refused).0, Code::PermissionDenied);
    operator.opt_outs().batch_create_opt_outs(for_beta).await.unwrap();
    // Page by page, each once.
    let mut request = ListOptOutsRequest { page_size: 1, ..all };
    let mut seen = Vec::new();
    loop {
        let page = operator.opt_outs().list_opt_outs(request.clone()).await.unwrap().into_inner();
        seen.extend(page.opt_outs.into_iter().map(|it| (it.tenant, it.sender)));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let wanted = [("acme", ""), ("beta", ""), ("beta", US)];
    assert_eq!(seen, wanted.map(|(tenant, sender)| (tenant.to_owned(), sender.to_owned())));
    assert_eq!(remove(&acme, sms(ANN)).await.unwrap(), 1, "its own alone");
    let none = remove(&operator, sms(ANN)).await.unwrap_err();
    assert_eq!(reason(&none), "OPT_OUT_NOT_FOUND", "its own tenant's alone, too");
    let of_beta = DeleteOptOutsRequest {
        recipient: Some(sms(ANN)),
        tenant: "beta".to_owned(),
        ..Default::default()
    };
    let lifted = operator.opt_outs().delete_opt_outs(of_beta).await.unwrap().into_inner();
    assert_eq!(lifted.deleted_count, 2);
    let every = DeleteOptOutsRequest {
        recipient: Some(sms(ANN)),
        of_every_tenant: true,
        ..Default::default()
    };
    let refused = acme.opt_outs().delete_opt_outs(every).await;
    assert_eq!(outcome(refused).0, Code::PermissionDenied);
    // It is written down who did it, and of whom nothing.
    let audit = acme.access().list_audit(ListAuditRequest::default()).await.unwrap().into_inner();
    let told = format!("{audit:?}");
    assert!(told.contains("opt_outs.created") && told.contains("opt_outs.deleted"), "{told}");
    assert!(!told.contains(ANN), "{told}");
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_keeps_the_list_and_it_outlives_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (folder.path().join("dispatch.toml"), folder.path().join("data"));
    std::fs::write(&config, "[log]\nlevel = \"warn\"\n").unwrap();
    let file = folder.path().join("people.txt");
    let people: Vec<_> = (0..1500).map(|n| format!("4477{n:08}")).collect();
    std::fs::write(&file, format!("# from the old system\n\n{}\n", people.join("\n"))).unwrap();
    let wrong = folder.path().join("wrong.txt");
    std::fs::write(&wrong, "447700900001\n+447700900002\n").unwrap();
    let process = Process::serve(&config, &data, FREE, FREE).await;
    let run = async |server: std::net::SocketAddr, arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dispatch"));
        command.arg("opt-outs").args(arguments).args(["--server", &format!("http://{server}")]);
        let output = command.output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let at = process.grpc;
    let (_, told, problem) = run(at, &["add", "sms", ANN]).await;
    assert_eq!(told, "on the list\n", "{problem}");
    assert_eq!(run(at, &["add", "sms", ANN]).await.1, "on the list already\n");
    assert_eq!(run(at, &["add", "messenger", PERSON, "--sender", "page"]).await.0, Some(0));
    let (_, told, problem) = run(at, &["import", "sms", file.to_str().unwrap()]).await;
    assert_eq!(told, "1500 are on the list, 1500 of them new\n", "{problem}");
    let (code, told, problem) = run(at, &["import", "sms", wrong.to_str().unwrap()]).await;
    assert_eq!((code, told.as_str()), (Some(3), ""));
    assert!(problem.contains("lines 1 to 2 none was taken"), "{problem}");
    assert!(problem.contains("opt_outs[1].recipient"), "{problem}");
    process.kill().await;

    let process = Process::serve(&config, &data, FREE, FREE).await;
    let at = process.grpc;
    let (_, told, _) = run(at, &["list", "--channel", "sms", "--recipient", ANN]).await;
    assert!(told.starts_with(&format!("sms  {ANN}  from nobody  said a caller  ")), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    let (_, told, _) = run(at, &["list", "--limit", "5000"]).await;
    assert_eq!(told.lines().count(), 1502);
    let (_, told, _) = run(at, &["list", "--channel", "messenger"]).await;
    assert!(told.contains(&format!("messenger  {PERSON}  not from page  ")), "{told}");
    assert_eq!(run(at, &["remove", "sms", ANN]).await.1, "one entry is off the list\n");
    let (code, _, problem) = run(at, &["remove", "sms", ANN]).await;
    assert_eq!(code, Some(4));
    assert!(problem.contains("[OPT_OUT_NOT_FOUND]"), "{problem}");
    assert_eq!(process.terminate().await, Some(0));
}
