//! How things look to a person: colours on a terminal, plain lines elsewhere.
//!
//! Everything that is printed goes through here. What a service answered goes through [`answer`], which
//! takes from it whatever could command a terminal; [`line`] and [`error`] let through line breaks and
//! colours and nothing else, wherever a text comes from.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};

use prost::{Message, Name};

use super::Output;
use crate::{
    pb::{
        self, to_json,
        v1::{
            self, Channel, ContentsState, Deadline, DeadlineKind, Event, EventKind, OutcomeReason,
            StepProgress, StepState, Workflow, WorkflowState,
        },
    },
    terminal,
};

/// Prints what a service answered: as JSON, or as `text` writes it, which is handed a copy in which nothing
/// hidden stands, so that a line break in it is one that `text` made.
pub(super) fn answer<M: Message + Name + Default>(
    output: Output,
    message: &M,
    text: impl FnOnce(&M) -> String,
) {
    match output {
        Output::Json => line(&terminal::json(&to_json(message))),
        Output::Text => {
            let harmless = pb::with_texts(message, |text| terminal::escaped(text).into_owned());
            line(&text(&harmless));
        }
    }
}

/// An update mask of the fields that are given.
pub(super) fn mask(fields: &[(&str, bool)]) -> prost_types::FieldMask {
    let given = fields.iter().filter(|(_, is_given)| *is_given);
    prost_types::FieldMask { paths: given.map(|(field, _)| (*field).to_owned()).collect() }
}

/// Prints what went wrong.
pub(super) fn error(text: &str) {
    eprintln!("dispatch: {}", terminal::lines(text));
}

/// Prints a line. A reader that has seen enough (`| head`) ends the program quietly.
pub(super) fn line(text: &str) {
    let text = terminal::lines(text);
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        super::undo::leave(0);
    }
}

/// Whether standard output is a terminal that wants colours.
pub(super) fn wants_colour() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none()
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// One event as a line. `began_ms` is when the workflow began.
pub(super) fn event(event: &Event, began_ms: Option<i128>, colour: bool) -> String {
    let at = match (event.time.map(|time| millis(&time)), began_ms) {
        (Some(at), Some(began)) => format!("{:>9.3} s", (at - began) as f64 / 1000.0),
        (Some(_), None) | (None, _) => event.time.map(|time| time.to_string()).unwrap_or_default(),
    };
    let (sign, style) = sign(event.kind());
    let channel =
        if event.channel.is_empty() { String::new() } else { format!("[{}] ", event.channel) };
    let text = format!("{channel}{}", event.description);
    if colour {
        let faint = Style::new().dimmed();
        format!("{faint}{at}{faint:#}  {style}{sign} {text}{style:#}")
    } else {
        format!("{at}  {sign} {text}")
    }
}

pub(super) fn millis(time: &prost_types::Timestamp) -> i128 {
    i128::from(time.seconds) * 1000 + i128::from(time.nanos) / 1_000_000
}

fn sign(kind: EventKind) -> (&'static str, Style) {
    let plain = Style::new();
    let of = |colour: AnsiColor| plain.fg_color(Some(colour.into()));
    match kind {
        EventKind::Created | EventKind::StepStarted => ("●", of(AnsiColor::Cyan).bold()),
        EventKind::AttemptPlanned | EventKind::AttemptDue => ("·", plain.dimmed()),
        EventKind::AttemptStarted => ("→", of(AnsiColor::Blue)),
        EventKind::AttemptAccepted => ("✓", of(AnsiColor::Blue)),
        EventKind::StatusReached | EventKind::LateStatus | EventKind::PartReached => {
            ("✓", of(AnsiColor::Green))
        }
        EventKind::StepMet | EventKind::LateSuccess => ("★", of(AnsiColor::Green).bold()),
        EventKind::RecallStarted | EventKind::RecallEnded => ("↶", of(AnsiColor::Yellow)),
        EventKind::AttemptRetryScheduled | EventKind::AttemptRepeated => {
            ("↻", of(AnsiColor::Yellow))
        }
        EventKind::AttemptUnknown => ("?", of(AnsiColor::Yellow)),
        EventKind::StepExpired => ("⏱", of(AnsiColor::Yellow).bold()),
        EventKind::AttemptRejected
        | EventKind::StatusFailed
        | EventKind::StepFailed
        | EventKind::LateFailure => ("✗", of(AnsiColor::Red)),
        EventKind::Ended => ("■", plain.bold()),
        EventKind::ContentsErased => ("∅", plain.bold()),
        EventKind::Unspecified
        | EventKind::StepSkipped
        | EventKind::StepCanceled
        | EventKind::LateAnswer => ("·", plain.dimmed()),
    }
}

/// What is said of masked contents, and what would show them.
const MASKED: &str = "who is reached and what is said is masked; a key with the scope contents is shown it: \
                      dispatch keys create --scope read,contents";

/// Says that something in an answer is masked, where scripts do not read.
pub(super) fn tell_of_masks(output: Output, is_masked: bool) {
    if is_masked && output == Output::Text {
        eprintln!("{MASKED}");
    }
}

/// Why not all is shown of who was reached and what was said; nothing where it is.
fn hidden(contents: ContentsState) -> Option<&'static str> {
    match contents {
        ContentsState::Unspecified | ContentsState::Shown => None,
        ContentsState::Masked => Some(MASKED),
        ContentsState::Dropped => {
            Some("who was reached and what was said is gone with its retention")
        }
        ContentsState::Erased => Some("who was reached and what was said was erased on request"),
        ContentsState::Unreadable => Some(
            "who was reached and what was said cannot be read: its key is lost, or it is damaged; the service's \
             log says which",
        ),
    }
}

/// A workflow in a few lines.
pub(super) fn workflow(workflow: &Workflow) -> String {
    let mut lines = vec![format!("{}  {}", workflow.workflow_id, state(workflow.state()))];
    lines.extend(hidden(workflow.contents()).map(|why| format!("  {why}")));
    if let Some(outcome) = &workflow.outcome {
        lines.push(format!("  {}: {}", outcome.reason().short_name(), outcome.detail));
    }
    for step in &workflow.steps {
        let status =
            if step.status.is_empty() { String::new() } else { format!(", {}", step.status) };
        let reason = match step.reason() {
            OutcomeReason::Unspecified => String::new(),
            reason => format!(", {}", reason.short_name()),
        };
        let step_state = step_state(step.state());
        lines.push(format!(
            "  step {} {:<18} {step_state}{status}{reason}",
            step.number, step.channel
        ));
    }
    if let Some(deadline) = &workflow.next_deadline {
        let at = deadline.time.map(|time| time.to_string()).unwrap_or_default();
        lines.push(format!("  next: {} at {at}", deadline_name(deadline)));
    }
    lines.join("\n")
}

/// A workflow in one line.
pub(super) fn row(workflow: &Workflow) -> String {
    let channels: Vec<_> = workflow.steps.iter().map(|step| step.channel.as_str()).collect();
    let reason = workflow.outcome.as_ref().map_or("", |outcome| outcome.reason().short_name());
    let created = workflow.create_time.map(|time| time.to_string()).unwrap_or_default();
    format!(
        "{}  {created}  {:<11} {:<20} {:<12} {}",
        workflow.workflow_id,
        state(workflow.state()),
        reason,
        workflow.tenant,
        channels.join(" → ")
    )
}

/// What happened, told as sentences, and what follows from it.
pub(super) fn story(workflow: &Workflow, colour: bool) -> String {
    let created = workflow.create_time.map(|time| time.to_string()).unwrap_or_default();
    let mut lines = vec![format!("{}  created {created}", workflow.workflow_id)];
    if let Some(spec) = &workflow.spec {
        match (spec.client_ref.as_str(), spec.personal_client_ref) {
            ("", false) => {}
            ("", true) => lines.push("  client_ref …".to_owned()),
            (client_ref, _) => lines.push(format!("  client_ref {client_ref}")),
        }
        lines.extend(spec.labels.iter().map(|(key, value)| format!("  {key}={value}")));
        let hidden = spec.personal_labels.iter().filter(|key| !spec.labels.contains_key(*key));
        lines.extend(hidden.map(|key| format!("  {key}=…")));
    }
    lines.extend(hidden(workflow.contents()).map(|why| format!("  {why}")));
    lines.push(String::new());
    let began = workflow.create_time.map(|time| millis(&time));
    lines.extend(workflow.timeline.iter().map(|told| event(told, began, colour)));
    lines.push(String::new());
    lines.extend(workflow.steps.iter().map(|step| step_story(step, workflow)));
    lines.push(match (&workflow.outcome, &workflow.next_deadline) {
        (Some(outcome), _) => {
            format!(
                "It ended {}, {}: {}.",
                state(workflow.state()),
                outcome.reason().short_name(),
                outcome.detail
            )
        }
        (None, Some(deadline)) => waiting(workflow.state(), deadline),
        (None, None) => format!("It is {}, and waits for the provider.", state(workflow.state())),
    });
    lines.join("\n")
}

/// How a step fared, and by which of the provider's ids it can be looked up there.
fn step_story(step: &StepProgress, workflow: &Workflow) -> String {
    let left = workflow.timeline.iter().rev().find(|event| {
        let is_its_end = matches!(event.kind(), EventKind::StepFailed | EventKind::StepExpired);
        event.step == step.number && is_its_end
    });
    let why = left.map_or(String::new(), |event| format!(": {}", event.description));
    let ids: Vec<_> = step
        .attempts
        .iter()
        .filter(|attempt| !attempt.provider_message_ids.is_empty())
        .map(|attempt| {
            format!(" [{} id {}]", attempt.route, attempt.provider_message_ids.join(", "))
        })
        .collect();
    let (state, status) = (step_state(step.state()), &step.status);
    format!("Step {}, {}, {state}, {status}{why}{}", step.number, step.channel, ids.concat())
}

#[expect(clippy::disallowed_methods, reason = "a command has no clock but the machine's")]
fn waiting(now: WorkflowState, deadline: &Deadline) -> String {
    let what = match deadline.kind() {
        DeadlineKind::SendAt => "its time to be sent",
        DeadlineKind::Retry => "the next try",
        DeadlineKind::SendWithin | DeadlineKind::ValidUntil => "a provider to take it",
        DeadlineKind::ExpiryTime
        | DeadlineKind::UnknownWait
        | DeadlineKind::UnconfirmedAfter
        | DeadlineKind::Unspecified => "a receipt",
        DeadlineKind::RecallWait => "the answer to a recall",
    };
    let at = deadline.time.map(|time| time.to_string()).unwrap_or_default();
    let ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let is_past = deadline.time.is_some_and(|time| millis(&time) < ms.as_millis() as i128);
    let held = if is_past {
        "; that has passed: after a start it is held a while, because receipts may be on their way"
    } else {
        ""
    };
    format!(
        "It is {}, and waits for {what} until {at} ({}){held}.",
        state(now),
        deadline_name(deadline)
    )
}

/// What is waited for, as the spec and the configuration call it.
fn deadline_name(deadline: &Deadline) -> String {
    deadline.kind().short_name().to_ascii_lowercase()
}

/// A channel and what its adapters can do.
pub(super) fn channel(channel: &Channel) -> String {
    let mut lines = vec![channel.name.clone()];
    for adapter in &channel.adapters {
        lines.push(format!("  {}", adapter.name));
        lines.push(format!("    conditions  {}", adapter.condition_statuses.join(", ")));
        lines.push(format!("    content     {}", adapter.content_kinds.join(", ")));
        lines.push(format!("    text        1 to {} characters", adapter.max_text_chars));
    }
    for route in &channel.routes {
        let whose = match route.tenants.as_slice() {
            [] => String::new(),
            tenants => format!(" for {}", tenants.join(", ")),
        };
        let v1::Route { name, adapter, account, .. } = route;
        lines.push(format!("  route {name} by {adapter} under {account}{whose}"));
    }
    lines.join("\n")
}

/// A state without its prefix.
pub(super) fn state(state: WorkflowState) -> &'static str {
    state.short_name()
}

fn step_state(state: StepState) -> &'static str {
    state.short_name()
}
