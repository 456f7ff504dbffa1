//! Any plan, any routes, any event.

use proptest::prelude::*;

use super::*;

pub(super) fn report() -> impl Strategy<Value = Report> {
    prop_oneof![
        prop::sample::select(&Status::ALL[1..]).prop_map(Report::Reached),
        Just(Report::Failed(Failure::Rejected)),
        Just(Report::Failed(Failure::Undeliverable)),
    ]
}

pub(super) fn any_answer() -> impl Strategy<Value = SendResult> {
    let fault = prop::sample::select(&[Fault::Provider, Fault::Recipient][..]);
    prop_oneof![
        3 => Just(SendResult::Accepted { provider_ids: vec!["p".to_owned()] }),
        1 => Just(SendResult::Accepted { provider_ids: vec!["p".to_owned(), "q".to_owned()] }),
        1 => fault.clone().prop_map(|fault| SendResult::Rejected(failure(fault))),
        2 => (fault.clone(), prop::option::of(0..120_000_u64)).prop_map(|(fault, after_ms)| {
            SendResult::RetryLater { failure: failure(fault), after_ms }
        }),
        2 => fault.prop_map(|fault| SendResult::Unknown(failure(fault))),
    ]
}

pub(super) fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(WAKE),
        2 => (0..60 * MINUTE, any::<bool>())
            .prop_map(|(ms, hold)| Event::Wake { up_since: UnixMillis(START + ms), hold }),
        6 => (0..6_u16).prop_map(|attempt| Event::PermitGranted { attempt }),
        6 => (0..6_u16, 0..4_u16, any_answer())
            .prop_map(|(attempt, call, answer)| Event::SendResult { attempt, call, result: answer }),
        1 => (0..6_u16).prop_map(|attempt| Event::Lost { attempt }),
        2 => (0..6_u16, any_recall(), 0..60 * MINUTE).prop_map(|(attempt, result, ms)| {
            Event::RecallResult { attempt, result, up_since: UnixMillis(START + ms) }
        }),
        4 => (0..6_u16, report(), prop::option::of(0..4_u16), 0..60 * MINUTE).prop_map(
            |(attempt, report, part, ms)| {
                let up_since = UnixMillis(START + ms);
                Event::Update { attempt, update: Update { part, ..update(report) }, up_since }
            },
        ),
        1 => Just(Event::Rerouted),
        1 => Just(Event::Cancel),
        1 => (0..2_u128).prop_map(|id| Event::Erase { erasure: Uuid::from_u128(id) }),
    ]
}

fn any_recall() -> impl Strategy<Value = RecallResult> {
    let status = prop::option::of(prop::sample::select(&Status::ALL[1..]));
    prop_oneof![
        Just(RecallResult::Recalled),
        status.prop_map(RecallResult::TooLate),
        Just(RecallResult::Failed(failure(Fault::Provider))),
    ]
}

/// How far the wall clock is set before an event: mostly not at all.
pub(super) fn any_step() -> impl Strategy<Value = i64> {
    let far = [1000, 3_600_000, 30 * 86_400_000].map(|most: i64| -most..=most);
    prop_oneof![8 => Just(0), 1 => far[0].clone(), 1 => far[1].clone(), 1 => far[2].clone()]
}

pub(super) fn any_plan() -> impl Strategy<Value = Plan> {
    let expiry = prop::option::weighted(0.8, 1000..20 * MINUTE);
    let status = prop::sample::select(&[Status::Submitted, Status::Delivered, Status::Read][..]);
    let rule = (status, expiry)
        .prop_map(|(condition, expiry_ms)| FailoverCondition { condition, expiry_ms });
    let last = prop::option::of(rule.clone());
    let options = (
        prop::option::of(0..30 * MINUTE),
        prop::option::of(0..30 * MINUTE),
        prop::option::of(1000..20 * MINUTE),
        any::<bool>(),
        0..3,
    );
    (prop::collection::vec(rule, 0..3), last, options).prop_map(|(rules, last, options)| {
        let (send_at, valid_until, send_within_ms, stop, on_unknown) = options;
        let rules: Vec<_> = rules.into_iter().map(Some).chain([last]).collect();
        Plan {
            send_at: send_at.map(|ms| UnixMillis(START + ms)),
            valid_until: valid_until.map(|ms| UnixMillis(START + ms)),
            send_within_ms,
            on_late_success: if stop { OnLateSuccess::Stop } else { OnLateSuccess::Continue },
            on_unknown: [OnUnknown::WaitReceipt, OnUnknown::Resend, OnUnknown::FailOver]
                [on_unknown as usize],
            ..plan(&rules)
        }
    })
}

pub(super) fn any_routes() -> impl Strategy<Value = Vec<RouteProperties>> {
    let promises = (prop::option::of(0..10 * MINUTE), any::<[bool; 5]>());
    let properties = promises.prop_map(|(idempotent_for_ms, can)| {
        let [correlates_receipts, reports_delivered, recalls, in_parts, watermarks] = can;
        RouteProperties {
            idempotent_for_ms,
            correlates_receipts,
            reports_delivered,
            recalls,
            in_parts,
            watermarks,
        }
    });
    prop::collection::vec(properties, 0..3)
}
