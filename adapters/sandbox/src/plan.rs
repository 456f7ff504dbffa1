//! Turns a scene into receipts with a time. Pure.

use std::time::Duration;

use dispatch_contract::{Failure, Receipt, Report, Status, UnixMillis, Usage};

use crate::{
    codes::of_receipt,
    record::SentMessage,
    script::{Cue, ReceiptSigning, Says, Scene},
    seed::Seed,
};

/// What the provider tells of a channel's messages, beside what it tells of all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChannelTells {
    /// Whether it reports reading.
    pub(crate) reads: bool,
    /// Whether what a person writes names the message that it quotes.
    pub(crate) quotes: bool,
}

/// A receipt that is going to come.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// When it comes, in engine time.
    pub(crate) due: UnixMillis,
    /// Whether it comes before the caller is answered.
    pub(crate) early: bool,
    pub(crate) signing: ReceiptSigning,
    pub(crate) receipt: Receipt,
}

/// What is reported about `message`, in the order in which it comes where times are equal.
///
/// It comes in engine time, of which it is `now`; what it tells of is dated as the message is.
pub(crate) fn plan(
    scene: &Scene,
    message: &SentMessage,
    now: UnixMillis,
    tells: ChannelTells,
    seed: Seed,
) -> Vec<Planned> {
    let odd = &scene.oddities;
    let is_told = |cue: &Cue| match cue.says {
        Says::Read => tells.reads,
        Says::Replied => tells.quotes,
        Says::Submitted | Says::Delivered | Says::Undeliverable(_) | Says::Rejected(_) => true,
    };
    let mut cues: Vec<Cue> = scene.receipts.iter().copied().filter(is_told).collect();
    cues.sort_by_key(|cue| cue.after);
    let mut says: Vec<Says> = cues.iter().map(|cue| cue.says).collect();
    if odd.out_of_order {
        says.reverse();
    }
    let mut planned = Vec::new();
    for (place, (cue, says)) in (0_u64..).zip(cues.iter().zip(says)) {
        let early = odd.early && place == 0;
        // What is reported before the answer has happened by then.
        let after = if early { Duration::ZERO } else { cue.after };
        let due = if early {
            now
        } else {
            now + after + odd.late + seed.jitter(place, &message.provider_id, odd.jitter)
        };
        let receipt = receipt(message, says, message.at + after);
        for _ in 0..if odd.twice { 2 } else { 1 } {
            planned.push(Planned { due, early, signing: odd.signing, receipt: receipt.clone() });
        }
    }
    planned
}

fn receipt(message: &SentMessage, says: Says, happened: UnixMillis) -> Receipt {
    let (report, code) = match says {
        Says::Submitted => (Report::Reached(Status::Submitted), None),
        Says::Delivered => (Report::Reached(Status::Delivered), None),
        Says::Read => (Report::Reached(Status::Read), None),
        Says::Replied => (Report::Reached(Status::Replied), None),
        Says::Undeliverable(code) => (Report::Failed(Failure::Undeliverable), code),
        Says::Rejected(code) => (Report::Failed(Failure::Rejected), code),
    };
    // One of the two statuses at which providers charge; a second charge would be a lie.
    let usage = (says == Says::Delivered)
        .then(|| Usage { currency: "EUR".to_owned(), price: "0.0333".to_owned() });
    Receipt {
        attempt: message.attempt(),
        provider_id: Some(message.provider_id.clone()),
        report,
        provider_time: Some(happened),
        code: code.map(|code| code.to_string()),
        detail: code.map(|code| of_receipt(code).to_owned()),
        usage,
    }
}
