//! `dispatch erase`: what is personal can be forgotten.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};

use super::{
    CommandFailure, RemoteArgs, read_text,
    remote::{connect, refused},
    show,
};
use crate::{
    api::is_as_answered,
    client::Client,
    pb::{
        self,
        v1::{
            EraseRequest, EraseResponse, ErasureCertificate, ErasurePreview, EverybodyToErase,
            OpenWhenErased, PersonToErase, TenantToErase, VerifyErasureRequest,
            VerifyErasureResponse, WorkflowState, WorkflowsToErase, erase_request::Subject,
        },
    },
};

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = true)]
pub(super) struct EraseArgs {
    /// Of this workflow; may be given several times.
    #[arg(long, value_name = "ID", group = "what", conflicts_with_all = ["recipient", "all", "verify"])]
    workflow: Vec<String>,
    /// Of every workflow in which a person with this address is reached: a number, an id, an e-mail address. May be
    /// given several times, for all addresses of one person.
    #[arg(long, value_name = "ADDRESS", group = "what", conflicts_with_all = ["all", "verify"])]
    recipient: Vec<String>,
    /// This tenant's, if it is not your own; without a workflow or a recipient, all of it.
    #[arg(long, value_name = "NAME", group = "what", conflicts_with_all = ["all", "verify"])]
    tenant: Option<String>,
    /// Of everybody. For operators.
    #[arg(long, group = "what", conflicts_with = "verify")]
    all: bool,
    /// Needed to erase all of a tenant, whose name it is, and of everybody: "erase everybody".
    #[arg(long, value_name = "WORDS", default_value = "", hide_default_value = true)]
    confirm: String,
    /// Erase nothing; say what would be.
    #[arg(long)]
    dry_run: bool,
    /// What becomes of workflows that are open.
    #[arg(long, value_enum, default_value_t = OpenArg::Cancel)]
    open: OpenArg,
    /// Look whether the keys that a certificate names are destroyed; a file that `--output json` wrote.
    #[arg(long, value_name = "FILE", group = "what")]
    verify: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OpenArg {
    /// They are canceled, and erased.
    Cancel,
    /// If there is one, nothing is erased.
    Refuse,
}

pub(super) async fn run(args: EraseArgs) -> Result<ExitCode, CommandFailure> {
    let client = connect(&args.remote).await?;
    if let Some(file) = &args.verify {
        let text = read_text(file).map_err(|error| wrong_file(file, &error.to_string()))?;
        return verify(&client, &args, file, &text).await;
    }
    let (request, mut is_complete) = (request(&args), true);
    loop {
        let answer = client.erasures().erase(request.clone()).await.map_err(refused)?.into_inner();
        let has_more = answer.has_more;
        show::answer(args.remote.output, &answer, text);
        is_complete &= answer.certificate.as_ref().is_none_or(is_complete_erasure);
        // Each takes as many as one erasure does.
        if args.dry_run || !has_more {
            return Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
}

/// Whether all could be looked at.
fn is_complete_erasure(certificate: &ErasureCertificate) -> bool {
    certificate.unreadable_count == 0 && certificate.unreadable_key_file_count == 0
}

fn request(args: &EraseArgs) -> EraseRequest {
    let confirm = args.confirm.clone();
    let subject = match args {
        _ if !args.workflow.is_empty() => {
            Subject::Workflows(WorkflowsToErase { workflow_ids: args.workflow.clone() })
        }
        _ if !args.recipient.is_empty() => {
            Subject::Person(PersonToErase { recipients: args.recipient.clone() })
        }
        _ if args.all => Subject::Everybody(EverybodyToErase { confirm }),
        _ => Subject::EntireTenant(TenantToErase { confirm }),
    };
    let open = match args.open {
        OpenArg::Cancel => OpenWhenErased::Cancel,
        OpenArg::Refuse => OpenWhenErased::Refuse,
    };
    EraseRequest {
        tenant: args.tenant.clone().unwrap_or_default(),
        open: open as i32,
        dry_run: args.dry_run,
        subject: Some(subject),
    }
}

/// Asks of each certificate in a file.
async fn verify(
    client: &Client,
    args: &EraseArgs,
    file: &Path,
    text: &str,
) -> Result<ExitCode, CommandFailure> {
    let mut is_sound = true;
    for certificate in certificates(file, text)? {
        let request = VerifyErasureRequest { certificate: Some(certificate) };
        let looked = client.erasures().verify_erasure(request).await.map_err(refused)?;
        let looked = looked.into_inner();
        is_sound &= looked.is_genuine && looked.remaining.is_empty();
        show::answer(args.remote.output, &looked, verified);
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The certificates in these files, each of them as it was answered.
pub(super) fn certificates_in(
    files: &[PathBuf],
) -> Result<Vec<ErasureCertificate>, CommandFailure> {
    let mut all = Vec::new();
    for file in files {
        let text =
            std::fs::read_to_string(file).map_err(|error| wrong_file(file, &error.to_string()))?;
        for certificate in certificates(file, &text)? {
            if !is_as_answered(&certificate) {
                let id = &certificate.erasure_id;
                let problem = format!("the certificate of erasure {id} is not as it was answered");
                return Err(wrong_file(file, &problem));
            }
            all.push(certificate);
        }
    }
    Ok(all)
}

/// One certificate a line, or one alone in several.
fn certificates(file: &Path, text: &str) -> Result<Vec<ErasureCertificate>, CommandFailure> {
    let read = |text: &str| pb::from_json::<EraseResponse>(text);
    let answers = match read(text) {
        Ok(answer) => vec![answer],
        Err(error) => {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            let each: Result<Vec<_>, _> = lines.map(read).collect();
            each.map_err(|_| wrong_file(file, &error.to_string()))?
        }
    };
    let certificates = answers.into_iter().map(|answer| {
        answer.certificate.ok_or_else(|| wrong_file(file, "no certificate stands in it"))
    });
    certificates.collect()
}

fn wrong_file(file: &Path, problem: &str) -> CommandFailure {
    CommandFailure { code: 2, text: format!("{}: {problem}", file.display()) }
}

fn text(answer: &EraseResponse) -> String {
    match (&answer.certificate, &answer.preview) {
        (Some(certificate), _) => certified(certificate),
        (None, Some(preview)) => would_be(preview, answer.has_more),
        (None, None) => String::new(),
    }
}

fn certified(certificate: &ErasureCertificate) -> String {
    let ErasureCertificate { workflow_count, canceled_count, may_still_arrive_count, .. } =
        certificate;
    let mut text = format!(
        "erased: the contents of {workflow_count} workflows, {canceled_count} of them open and canceled"
    );
    text.push_str(&beside(certificate.inbound_message_count, certificate.opt_out_count));
    let unreadable = (certificate.unreadable_count, certificate.unreadable_key_file_count);
    text.push_str(&not_looked_at(unreadable));
    if *may_still_arrive_count > 0 {
        text.push_str(&format!("\n{may_still_arrive_count} messages may still arrive:"));
        for attempt in &certificate.may_still_arrive {
            text.push_str(&format!("\n  {attempt}"));
        }
    }
    let (id, digest) = (&certificate.erasure_id, &certificate.digest);
    text.push_str(&format!("\nerasure {id}, certificate {digest} (--output json shows it)"));
    text
}

fn would_be(preview: &ErasurePreview, has_more: bool) -> String {
    let count = preview.workflow_count;
    let more = if has_more { ", and more" } else { "" };
    let mut text = format!("would be erased: the contents of {count} workflows{more}");
    for some in &preview.by_state {
        let state = WorkflowState::try_from(some.state).unwrap_or_default();
        let name = state.as_str_name().trim_start_matches("WORKFLOW_STATE_");
        text.push_str(&format!("\n  {} {name}", some.count));
    }
    if preview.other_address_count > 0 {
        let others = preview.other_address_count;
        text.push_str(&format!("\nand with them {others} other addresses in those workflows"));
    }
    text.push_str(&beside(preview.inbound_message_count, preview.opt_out_count));
    text.push_str(&not_looked_at((preview.unreadable_count, preview.unreadable_key_file_count)));
    text
}

/// What nobody can say of whether it was meant.
fn not_looked_at((items, key_files): (u32, u32)) -> String {
    let mut text = String::new();
    if items > 0 {
        text.push_str(&format!(
            "\nNOT looked at: {items} that cannot be read now, and may be of those that are meant; ask again once they can be"
        ));
    }
    if key_files > 0 {
        text.push_str(&format!(
            "\nNOT looked at: what {key_files} files of keys seal, which cannot be read now (`dispatch check` says which)"
        ));
    }
    text
}

/// What there is beside workflows.
fn beside(messages: u32, opt_outs: u32) -> String {
    let mut text = String::new();
    if messages > 0 {
        text.push_str(&format!("\nand {messages} messages that persons wrote"));
    }
    if opt_outs > 0 {
        text.push_str(&format!("\nand who stands in {opt_outs} opt-outs, which go on counting"));
    }
    text
}

fn verified(looked: &VerifyErasureResponse) -> String {
    let mut text = format!("{} keys are destroyed", looked.destroyed_count);
    if !looked.is_genuine {
        text.push_str("\nthe certificate is not as it was answered");
    }
    for workflow in &looked.remaining {
        text.push_str(&format!("\nnot destroyed: {workflow}"));
    }
    text
}
