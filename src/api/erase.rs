//! Erasures for callers: what is asked for is found, erased, certified and written down.

use std::sync::Arc;

use dispatch_contract::UnixMillis;
use prost::Message;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Error;
use crate::{
    access::{Access, Author, Caller},
    contents::{
        AllUntil, ErasedSlot, Erasure, ErasureAuthor, ErasureExtent, Unreadable, erasure_done,
        erasures, kept_erasure,
    },
    engine::{Engine, EngineError, ErasedContents, ErasureError, ErasureSubject, FoundContents},
    machine::WorkflowId,
    pb::v1::{ErasedWorkflow, ErasureCertificate, VerifyErasureResponse},
    store::{KeySlot, Reader, StoreError},
};

/// How many keys are destroyed together at a start.
const DESTROYED_TOGETHER: usize = 100_000;

/// What a caller has erased.
#[derive(Clone, Debug)]
pub(crate) struct EraseOrder {
    /// Whose; `None`: everybody's.
    pub(crate) tenant: Option<Arc<str>>,
    /// What.
    pub(crate) subject: ErasureSubject,
    /// Whether nothing is to be erased if some of it is open.
    pub(crate) refuses_open: bool,
}

/// What would be erased.
///
/// # Errors
/// If a workflow is named that is not there, or the store or the keys cannot be read.
pub(crate) async fn preview_for_caller(
    engine: &Engine,
    order: &EraseOrder,
) -> Result<FoundContents, Error> {
    let (engine, order) = (engine.clone(), order.clone());
    let find = move || engine.find_contents(order.tenant.as_deref(), &order.subject);
    let found = tokio::task::spawn_blocking(find).await;
    found.map_err(|_| Error::Engine(EngineError::Unavailable))?.map_err(Error::from)
}

/// Erases, and returns the certificate, and whether there is more; durable. Goes on although the caller may leave.
///
/// # Errors
/// As [`preview_for_caller`]; if something is open and that is refused; if it did not come to its end.
pub(crate) async fn erase_for_caller(
    engine: &Engine,
    access: &Access,
    caller: Caller,
    order: EraseOrder,
) -> Result<(ErasureCertificate, bool), Error> {
    let found = preview_for_caller(engine, &order).await?;
    if order.refuses_open && found.open > 0 {
        return Err(Error::StillOpen { open: found.open });
    }
    let now = engine.clock().moment();
    let has_more = found.has_more;
    let (is_nothing, unreadable) = (found.is_empty(), found.unreadable);
    let erasure = Arc::new(Erasure {
        id: new_id(now.engine),
        tenant: order.tenant,
        begun_at: now.wall,
        kept_since: now.engine,
        author: ErasureAuthor {
            name: caller.name.to_string(),
            source: caller.source.map_or(String::new(), |address| address.to_string()),
            is_operator: caller.is_operator(),
        },
        extent: match order.subject {
            ErasureSubject::Person(_) => ErasureExtent::Person(found.traces),
            ErasureSubject::Named(_) => ErasureExtent::Named(found.traces.slots),
            ErasureSubject::All => ErasureExtent::All(found.until),
        },
        certificate: None,
    });
    let (engine, access) = (engine.clone(), access.clone());
    let erased = tokio::spawn(async move {
        let erased = match is_nothing {
            // Nothing to be taken up again by anybody.
            true => ErasedContents { unreadable, ..ErasedContents::default() },
            false => engine.erase(Arc::clone(&erasure)).await?,
        };
        certify(&engine, &access, &erasure, &erased, !is_nothing).await
    });
    let certificate = erased.await.map_err(|_| Error::Engine(EngineError::Unavailable))??;
    Ok((certificate, has_more))
}

/// Ends what an earlier life of the service had begun, and destroys once more what was destroyed: an older copy of the keys
/// may have been put back.
///
/// # Errors
/// The first failure; the others were ended all the same.
pub(crate) async fn finish_erasures(
    engine: &Engine,
    access: &Access,
) -> Result<usize, ErasureError> {
    let settings = Arc::clone(engine.settings());
    let ids = tokio::task::spawn_blocking(move || erasures(&*settings)).await;
    let ids = ids.map_err(|_| ErasureError::Engine(EngineError::Unavailable))??;
    let (mut ended, mut failed, mut destroyed) = (0, Ok(()), Vec::new());
    for id in ids {
        match finish_erasure(engine, access, id, &mut destroyed).await {
            Ok(was_begun) => ended += usize::from(was_begun),
            Err(error) => failed = failed.and(Err(error)),
        }
        if destroyed.len() >= DESTROYED_TOGETHER {
            failed = failed.and(engine.destroy_again(&std::mem::take(&mut destroyed)).await);
        }
    }
    failed = failed.and(engine.destroy_again(&destroyed).await);
    failed.map(|()| ended)
}

/// Whether it had been begun, and not ended. Of one that was ended the slots go to `destroyed`.
async fn finish_erasure(
    engine: &Engine,
    access: &Access,
    id: Uuid,
    destroyed: &mut Vec<ErasedSlot>,
) -> Result<bool, ErasureError> {
    let settings = Arc::clone(engine.settings());
    let kept = tokio::task::spawn_blocking(move || kept_erasure(&*settings, id)).await;
    let kept = kept.map_err(|_| ErasureError::Engine(EngineError::Unavailable))??;
    let Some(erasure) = kept.map(Arc::new) else { return Ok(false) };
    let is_done = erasure.certificate.is_some();
    if is_done && !matches!(erasure.extent, ErasureExtent::All(_)) {
        destroyed.extend_from_slice(erasure.slots());
        return Ok(false);
    }
    let erased = engine.finish_erasure(&erasure).await?;
    if is_done {
        return Ok(false);
    }
    certify(engine, access, &erasure, &erased, true).await?;
    tracing::info!(erasure = %id, workflows = erased.workflows, "an erasure that was begun is ended");
    Ok(true)
}

/// The certificate, and the audit row that has its digest; with the row that says that the erasure is done, if it was
/// written down.
async fn certify(
    engine: &Engine,
    access: &Access,
    erasure: &Arc<Erasure>,
    erased: &ErasedContents,
    is_written_down: bool,
) -> Result<ErasureCertificate, ErasureError> {
    let now = engine.clock().wall();
    let mut certificate = certificate_of(engine, erasure, erased, now);
    let digest = digest(&certificate);
    certificate.digest = hex(&digest);
    let Unreadable { items, key_files } = erased.unreadable;
    let unreadable = match items + key_files {
        0 => String::new(),
        _ => format!("; not looked at: {items}, and {key_files} files of keys"),
    };
    let result = format!(
        "{} workflows, {} of them canceled{unreadable}; certificate {}",
        erased.workflows, erased.canceled, certificate.digest
    );
    let (access, erasure) = (access.clone(), Arc::clone(erasure));
    let written = tokio::task::spawn_blocking(move || {
        let change = is_written_down.then(|| erasure_done(&erasure, digest)).transpose()?;
        let ErasureAuthor { name, source, is_operator } = &erasure.author;
        let by = Author { name, source, is_operator: *is_operator };
        let (tenant, target) =
            (erasure.tenant.as_deref().unwrap_or_default(), erasure.id.to_string());
        access.audit_finished(&by, tenant, ("contents.erased", &target), result, now, change)
    });
    written.await.map_err(|_| EngineError::Unavailable)??;
    Ok(certificate)
}

fn certificate_of(
    engine: &Engine,
    erasure: &Erasure,
    erased: &ErasedContents,
    now: UnixMillis,
) -> ErasureCertificate {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let subject = match (&erasure.extent, &erasure.tenant) {
        (ErasureExtent::Person(_), _) => "person",
        (ErasureExtent::Named(_), _) => "workflows",
        (ErasureExtent::All(_), Some(_)) => "tenant",
        (ErasureExtent::All(_), None) => "everybody",
    };
    let workflows = erasure.slots().iter().map(|erased| ErasedWorkflow {
        workflow_id: erased.workflow.to_string(),
        key_slot: erased.slot.0,
    });
    ErasureCertificate {
        erasure_id: erasure.id.to_string(),
        incarnation: engine.reader().incarnation().0.to_string(),
        time: Some(timestamp(now)),
        actor: erasure.author.name.clone(),
        tenant: erasure.tenant.as_deref().unwrap_or_default().to_owned(),
        subject: subject.to_owned(),
        workflow_count: count(erased.workflows),
        canceled_count: count(erased.canceled),
        inbound_message_count: count(erased.messages),
        opt_out_count: count(erased.opt_outs),
        unreadable_count: count(erased.unreadable.items),
        unreadable_key_file_count: count(erased.unreadable.key_files),
        may_still_arrive_count: count(erased.may_arrive_count),
        may_still_arrive: erased.may_arrive.iter().map(ToString::to_string).collect(),
        workflows: workflows.collect(),
        digest: String::new(),
    }
}

/// Looks whether the keys that a certificate names are destroyed. Waits for the disk.
///
/// # Errors
/// If a workflow's id in it is none, or the store cannot be read.
pub(crate) fn verify_certificate(
    engine: &Engine,
    certificate: &ErasureCertificate,
) -> Result<VerifyErasureResponse, Error> {
    let own = digest(&ErasureCertificate { digest: String::new(), ..certificate.clone() });
    let kept = match Uuid::parse_str(&certificate.erasure_id) {
        Ok(id) => kept_erasure(&**engine.settings(), id).map_err(Error::Store)?,
        Err(_) => None,
    };
    let is_known_so = kept.as_ref().is_none_or(|kept| kept.certificate == Some(own));
    let mut answer = VerifyErasureResponse {
        is_genuine: is_as_answered(certificate) && is_known_so,
        ..VerifyErasureResponse::default()
    };
    let mut look = |workflow: String, slot: KeySlot| match engine.is_destroyed(slot) {
        true => answer.destroyed_count += 1,
        false => answer.remaining.push(workflow),
    };
    match kept.map(|kept| (kept.extent, kept.tenant)) {
        Some((ErasureExtent::All(until), tenant)) => {
            each_of_all(engine, tenant.as_deref(), until.time, &mut look).map_err(Error::Store)?;
        }
        Some(_) | None => {
            for erased in &certificate.workflows {
                look(erased.workflow_id.clone(), KeySlot(erased.key_slot));
            }
        }
    }
    Ok(answer)
}

/// Each workflow of a tenant's, or of everybody's, that was created by then.
fn each_of_all(
    engine: &Engine,
    tenant: Option<&str>,
    until: UnixMillis,
    look: &mut dyn FnMut(String, KeySlot),
) -> Result<(), StoreError> {
    let mut after: Option<WorkflowId> = None;
    loop {
        let page = engine.all_contents(tenant, after)?;
        for (record, _) in page.workflows.iter().filter(|(it, _)| it.created_at.engine <= until) {
            look(record.id.to_string(), record.contents.slot);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// Whether a certificate is as it was answered: its digest fits.
pub(crate) fn is_as_answered(certificate: &ErasureCertificate) -> bool {
    let own = digest(&ErasureCertificate { digest: String::new(), ..certificate.clone() });
    hex(&own) == certificate.digest
}

/// What a certificate says was erased, to be erased once more of a store that was restored from a backup. What the store does
/// not hold, or under another slot, is none of it: its numbers may be given out anew.
///
/// # Errors
/// If its id is none, or the store cannot be read.
pub(crate) fn restored_erasure(
    certificate: &ErasureCertificate,
    reader: &dyn Reader,
) -> Result<Erasure, StoreError> {
    let wrong = |what: &str| StoreError::Refused(format!("{what} in a certificate is no id"));
    let id = Uuid::parse_str(&certificate.erasure_id).map_err(|_| wrong("erasure_id"))?;
    // It is of engine time, as workflows' are.
    let begun_at = WorkflowId(id).made_at();
    let mut slots = Vec::new();
    for erased in &certificate.workflows {
        let workflow = erased.workflow_id.parse().map_err(|_| wrong("workflow_id"))?;
        let slot = KeySlot(erased.key_slot);
        let record = reader.record(workflow)?;
        if record.is_some_and(|record| record.contents.slot == slot) {
            slots.push(ErasedSlot { slot, workflow });
        }
    }
    let is_all = ["tenant", "everybody"].contains(&certificate.subject.as_str());
    let author = ErasureAuthor {
        name: certificate.actor.clone(),
        source: String::new(),
        is_operator: certificate.tenant.is_empty(),
    };
    Ok(Erasure {
        id,
        tenant: (!certificate.tenant.is_empty()).then(|| Arc::from(certificate.tenant.as_str())),
        begun_at,
        kept_since: begun_at,
        author,
        extent: match is_all {
            // Keys of opt-outs are counted anew in what was restored.
            true => ErasureExtent::All(AllUntil { time: begun_at, opt_out: None }),
            false => ErasureExtent::Named(slots),
        },
        certificate: None,
    })
}

/// Of a certificate without its digest.
fn digest(certificate: &ErasureCertificate) -> [u8; 32] {
    Sha256::digest(certificate.encode_to_vec()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn new_id(now: UnixMillis) -> Uuid {
    let (seconds, ms) = (now.0 / 1000, (now.0 % 1000) as u32);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, ms * 1_000_000))
}

fn timestamp(at: UnixMillis) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: (at.0 / 1000) as i64,
        nanos: (at.0 % 1000) as i32 * 1_000_000,
    }
}
