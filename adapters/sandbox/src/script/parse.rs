//! A script read from its text.
//!
//! What cannot happen is refused here (receipts of a message that is never sent, two answers), so
//! that the provider plays whatever it is handed.

use std::{fmt, str::FromStr, time::Duration};

use super::{Cue, Oddities, ReceiptSigning, Says, Scene, Script, ScriptedAnswer, TABLE, Throttle};

/// A text that is no [`Script`]. Its own text says what is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidScript(String);

/// The longest duration in a script: nothing in Dispatch is planned further ahead.
const LONGEST: Duration = Duration::from_secs(90 * 86_400);

impl FromStr for Script {
    type Err = InvalidScript;

    fn from_str(text: &str) -> Result<Self, InvalidScript> {
        let scenes = text.split('|').map(scene).collect::<Result<_, _>>()?;
        Ok(Script { scenes })
    }
}

impl TryFrom<String> for Script {
    type Error = InvalidScript;

    fn try_from(text: String) -> Result<Self, InvalidScript> {
        text.parse()
    }
}

impl fmt::Display for InvalidScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidScript {}

/// A scene as far as it has been read.
#[derive(Default)]
struct Draft {
    throttle: Option<Throttle>,
    answer: Option<ScriptedAnswer>,
    receipts: Vec<Cue>,
    never: bool,
    late: Option<Duration>,
    jitter: Option<Duration>,
    twice: bool,
    out_of_order: bool,
    early: bool,
    signing: Option<ReceiptSigning>,
}

fn scene(text: &str) -> Result<Scene, InvalidScript> {
    let mut draft = Draft::default();
    // One `;` too many at the end of a scene is no mistake worth a word.
    let text = text.trim();
    for part in text.strip_suffix(';').unwrap_or(text).split(';') {
        draft.take(part.trim())?;
    }
    draft.finish()
}

impl Draft {
    fn take(&mut self, part: &str) -> Result<(), InvalidScript> {
        let words: Vec<&str> = part.split_whitespace().collect();
        match words.as_slice() {
            ["accept"] => self.answer(ScriptedAnswer::Accept),
            ["reject", code] => self.answer(ScriptedAnswer::Reject(parse_code(part, code)?)),
            ["no-answer"] => self.answer(ScriptedAnswer::SilentAfterActing),
            ["hang"] => self.answer(ScriptedAnswer::SilentBeforeActing),
            ["500", "after", "acting"] => self.answer(ScriptedAnswer::FailAfterActing),
            ["500", "before", "acting"] => self.answer(ScriptedAnswer::FailBeforeActing),
            ["throttle", count] => self.throttle(part, count, None),
            ["throttle", count, after] => self.throttle(part, count, Some(after)),
            ["submitted", after] => self.receipt(part, Says::Submitted, after),
            ["deliver", after] => self.receipt(part, Says::Delivered, after),
            ["read", after] => self.receipt(part, Says::Read, after),
            ["reply", after] => self.receipt(part, Says::Replied, after),
            ["undeliverable", after] => self.receipt(part, Says::Undeliverable(None), after),
            ["undeliverable", after, code] => {
                self.receipt(part, Says::Undeliverable(Some(parse_code(part, code)?)), after)
            }
            ["rejected", after] => self.receipt(part, Says::Rejected(None), after),
            ["rejected", after, code] => {
                self.receipt(part, Says::Rejected(Some(parse_code(part, code)?)), after)
            }
            ["never"] => flag("never", &mut self.never),
            ["late", by] => once("late", &mut self.late, parse_duration(part, by)?),
            ["jitter", by] => once("jitter", &mut self.jitter, parse_duration(part, by)?),
            ["twice"] => flag("twice", &mut self.twice),
            ["out-of-order"] => flag("out-of-order", &mut self.out_of_order),
            ["early"] => flag("early", &mut self.early),
            ["unsigned"] => once("unsigned", &mut self.signing, ReceiptSigning::Unsigned),
            ["unsigned", "first"] => {
                once("unsigned", &mut self.signing, ReceiptSigning::SignedWhenRepeated)
            }
            [] => refuse("a verb is missing here; `accept; deliver 1s` is a whole script"),
            [verb, ..] => Err(unknown(verb, part)),
        }
    }

    fn answer(&mut self, answer: ScriptedAnswer) -> Result<(), InvalidScript> {
        match self.answer {
            None => {
                self.answer = Some(answer);
                Ok(())
            }
            Some(first) => refuse(format!(
                "a send has one answer, so `{first}` and `{answer}` cannot both be it; `|` \
                 separates the scenes of successive sends"
            )),
        }
    }

    fn throttle(
        &mut self,
        part: &str,
        count: &str,
        after: Option<&str>,
    ) -> Result<(), InvalidScript> {
        let count = match number(count) {
            Some(count @ 1..) => count,
            Some(0) | None => {
                return refuse(format!(
                    "in `{part}` the count must be a whole number of at least 1, as in \
                     `throttle 2 1s`"
                ));
            }
        };
        let after = after.map(|after| parse_duration(part, after)).transpose()?;
        once("throttle", &mut self.throttle, Throttle { count, after })
    }

    fn receipt(&mut self, part: &str, says: Says, after: &str) -> Result<(), InvalidScript> {
        self.receipts.push(Cue { says, after: parse_duration(part, after)? });
        Ok(())
    }

    fn finish(self) -> Result<Scene, InvalidScript> {
        let oddities = Oddities {
            late: self.late.unwrap_or_default(),
            jitter: self.jitter.unwrap_or_default(),
            twice: self.twice,
            out_of_order: self.out_of_order,
            early: self.early,
            signing: self.signing.unwrap_or_default(),
        };
        let plain = oddities == Oddities::default();
        let answer = self.answer.unwrap_or(ScriptedAnswer::Accept);
        if !answer.acts() {
            if self.never || !self.receipts.is_empty() || !plain {
                return refuse(format!(
                    "after `{answer}` nothing is sent, so no receipts follow; leave out what is \
                     said about them"
                ));
            }
            return Ok(Scene { throttle: self.throttle, answer, receipts: Vec::new(), oddities });
        }
        if self.never && !(self.receipts.is_empty() && plain) {
            return refuse(
                "`never` means no receipts; leave out either it or what is said about receipts",
            );
        }
        let receipts = match (self.never, self.receipts) {
            (true, _) => Vec::new(),
            (false, named) if named.is_empty() => Scene::default().receipts,
            (false, named) => named,
        };
        if oddities.out_of_order && receipts.len() < 2 {
            return refuse(
                "`out-of-order` needs two receipts, as in `deliver 1s; read 3s; out-of-order`",
            );
        }
        Ok(Scene { throttle: self.throttle, answer, receipts, oddities })
    }
}

fn once<T>(verb: &str, place: &mut Option<T>, value: T) -> Result<(), InvalidScript> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => refuse(format!("`{verb}` may stand once in a scene")),
    }
}

fn flag(verb: &str, place: &mut bool) -> Result<(), InvalidScript> {
    if std::mem::replace(place, true) {
        return refuse(format!("`{verb}` may stand once in a scene"));
    }
    Ok(())
}

fn parse_code(part: &str, code: &str) -> Result<u16, InvalidScript> {
    match number(code) {
        // The cast cannot cut: the range has been checked.
        Some(code @ 1..=9999) => Ok(code as u16),
        Some(_) | None => refuse(format!(
            "in `{part}` the code must be a whole number from 1 to 9999, as in `reject 1340`"
        )),
    }
}

fn parse_duration(part: &str, text: &str) -> Result<Duration, InvalidScript> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        // Not one of our own names, but whatever somebody wrote.
        _ => None,
    };
    unit_ms
        .zip(number(count))
        .map(|(unit_ms, count)| Duration::from_millis(unit_ms * u64::from(count)))
        .filter(|duration| *duration <= LONGEST)
        .map_or_else(
            || {
                refuse(format!(
                    "in `{part}` the duration must be a whole number of ms, s, m, h or d, from 0s \
                     to 90d, as in `deliver 2s`"
                ))
            },
            Ok,
        )
}

/// A whole number in decimal digits alone: `parse` would take a sign, too.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn unknown(verb: &str, part: &str) -> InvalidScript {
    let known = |row: &&super::Verb| row.usage.split(' ').next() == Some(verb);
    let usages: Vec<_> = TABLE.iter().filter(known).map(|row| format!("`{}`", row.usage)).collect();
    if usages.is_empty() {
        let verbs: Vec<_> = TABLE.iter().map(|row| row.usage).collect();
        InvalidScript(format!("`{verb}` is no verb; there are: {}", verbs.join(", ")))
    } else {
        InvalidScript(format!("`{part}` should read {}", usages.join(" or ")))
    }
}

fn refuse<T>(problem: impl Into<String>) -> Result<T, InvalidScript> {
    Err(InvalidScript(problem.into()))
}
