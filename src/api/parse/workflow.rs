//! The workflow as a whole.

use std::{collections::BTreeMap, time::Duration};

use super::{Found, Rules, personal, step, time, values};
use crate::{
    api::violation::{FieldAt, RequestViolation},
    contents::{Contents, StepContents, WorkflowRequest},
    machine::{MAX_PLANNED_LIFE, MAX_STEPS, Plan, StepPlan},
    pb::v1,
};
use dispatch_contract::{UnixMillis, is_printable};

const DAY: Duration = Duration::from_secs(86_400);
/// How far ahead a workflow may be scheduled.
const SEND_AT_AHEAD: Duration = Duration::from_secs(90 * 86_400);
const LABELS_MOST: usize = 32;
const LABEL_KEY_MOST_BYTES: usize = 63;
const LABEL_VALUE_MOST_BYTES: usize = 255;
const CLIENT_REF_MOST_CHARS: usize = 100;
/// What is said of a text that looks like another, or like nothing.
const PRINTABLE: &str = "must hold printable characters only: none that is invisible (zero-width, \
                         direction mark), no line break, no blank at its ends";

/// What a spec asks for, judged by `rules` and at `now`.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn parse_spec(
    spec: &v1::WorkflowSpec,
    rules: &dyn Rules,
    now: UnixMillis,
) -> Result<WorkflowRequest, Vec<RequestViolation>> {
    let mut found = Found::default();
    let template =
        values::value::<v1::WorkflowTemplate>(spec.template, FieldAt::of("template"), &mut found);
    let steps = steps(&spec.steps, rules, now, &mut found);
    let (send_at, valid_until) = times(spec, now, &mut found);
    let send_within_ms = spec.send_within.as_ref().and_then(|given| {
        time::span(given, Duration::from_secs(1), 30 * DAY, FieldAt::of("send_within"), &mut found)
    });
    let on_late_success = values::value::<v1::OnLateSuccess>(
        spec.on_late_success,
        FieldAt::of("on_late_success"),
        &mut found,
    );
    let on_unknown =
        values::value::<v1::OnUnknown>(spec.on_unknown, FieldAt::of("on_unknown"), &mut found);
    let priority =
        values::value::<v1::Priority>(spec.priority, FieldAt::of("priority"), &mut found);
    labels(&spec.labels, &mut found);
    personal::check(spec, &mut found);
    if spec.client_ref.chars().count() > CLIENT_REF_MOST_CHARS {
        found.note("client_ref", format!("must have at most {CLIENT_REF_MOST_CHARS} characters"));
    } else if !is_printable(&spec.client_ref) {
        found.note("client_ref", PRINTABLE);
    }

    let asked = || {
        let (steps, contents) = steps?.into_iter().unzip();
        let plan = Plan {
            template: template?,
            steps,
            send_at,
            valid_until,
            send_within_ms,
            on_late_success: on_late_success?,
            on_unknown: on_unknown?,
            priority: priority?,
            labels: spec.labels.clone(),
            client_ref: Some(spec.client_ref.clone()).filter(|text| !text.is_empty()),
        };
        let contents = Contents { steps: contents, ..Contents::default() };
        Some(WorkflowRequest { plan, contents })
    };
    let mut asked = asked();
    if let Some(asked) = &mut asked {
        personal::seal_words(asked, spec, rules, &mut found);
    }
    let too_long = |asked: &WorkflowRequest| {
        u128::from(asked.plan.planned_life_ms()) > MAX_PLANNED_LIFE.as_millis()
    };
    if asked.as_ref().is_some_and(too_long) {
        let most = MAX_PLANNED_LIFE.as_secs() / DAY.as_secs();
        found.note("steps", format!("the steps' expiry_time must be at most {most} days together"));
    }
    found.or(asked)
}

fn steps(
    given: &[v1::Step],
    rules: &dyn Rules,
    now: UnixMillis,
    found: &mut Found,
) -> Option<Vec<(StepPlan, StepContents)>> {
    if !(1..=MAX_STEPS).contains(&given.len()) {
        found.note("steps", format!("must hold 1 to {MAX_STEPS} steps, and holds {}", given.len()));
        return None;
    }
    let last = given.len() - 1;
    let field = FieldAt::of("steps");
    let parsed: Vec<_> = given
        .iter()
        .enumerate()
        .map(|(index, step)| step::step(step, field.index(index), index == last, rules, now, found))
        .collect();
    parsed.into_iter().collect()
}

/// When it begins (`None` and the past are now) and until when its messages are of use.
fn times(
    spec: &v1::WorkflowSpec,
    now: UnixMillis,
    found: &mut Found,
) -> (Option<UnixMillis>, Option<UnixMillis>) {
    let send_at =
        spec.send_at.as_ref().and_then(|given| time::point(given, FieldAt::of("send_at"), found));
    // A time past means now; it is kept as given, so that a repeat of the request is the same plan.
    if send_at.is_some_and(|at| at.since(now) > SEND_AT_AHEAD) {
        let most = SEND_AT_AHEAD.as_secs() / DAY.as_secs();
        found.note("send_at", format!("must be at most {most} days ahead"));
    }
    let valid_until = spec
        .valid_until
        .as_ref()
        .and_then(|given| time::point(given, FieldAt::of("valid_until"), found));
    // Whether it has passed is asked where a repeated request is told from a new one: the answer to
    // a repeat is the workflow that there is.
    if let (Some(until), Some(at)) = (valid_until, send_at)
        && until <= at
    {
        found.note("valid_until", "must be after send_at, or nothing would be sent");
    }
    (send_at, valid_until)
}

fn labels(labels: &BTreeMap<String, String>, found: &mut Found) {
    if labels.len() > LABELS_MOST {
        found.note(
            "labels",
            format!("must hold at most {LABELS_MOST} labels, and holds {}", labels.len()),
        );
        return;
    }
    // Which label it is would repeat what the caller wrote; how long it is finds it as well.
    if let Some(key) = labels.keys().find(|key| !(1..=LABEL_KEY_MOST_BYTES).contains(&key.len())) {
        let has = key.len();
        found.note(
            "labels",
            format!("each key must have 1 to {LABEL_KEY_MOST_BYTES} bytes, and one has {has}"),
        );
    }
    if let Some(value) = labels.values().find(|value| value.len() > LABEL_VALUE_MOST_BYTES) {
        let has = value.len();
        found.note(
            "labels",
            format!(
                "each value must have at most {LABEL_VALUE_MOST_BYTES} bytes, and one has {has}"
            ),
        );
    }
    if !labels.iter().all(|(key, value)| is_printable(key) && is_printable(value)) {
        found.note("labels", format!("each key and each value {PRINTABLE}"));
    }
}
