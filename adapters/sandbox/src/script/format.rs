//! A script written back as its text.

use std::{fmt, time::Duration};

use super::{Cue, ReceiptSigning, Says, Scene, Script, ScriptedAnswer};

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scene) in self.scenes.iter().enumerate() {
            if at > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{scene}")?;
        }
        Ok(())
    }
}

impl From<Script> for String {
    fn from(script: Script) -> String {
        script.to_string()
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(throttle) = self.throttle {
            write!(f, "throttle {}", throttle.count)?;
            if let Some(after) = throttle.after {
                write!(f, " {}", Span(after))?;
            }
            f.write_str("; ")?;
        }
        write!(f, "{}", self.answer)?;
        for cue in &self.receipts {
            write!(f, "; {cue}")?;
        }
        if self.answer.acts() && self.receipts.is_empty() {
            f.write_str("; never")?;
        }
        let odd = &self.oddities;
        if !odd.late.is_zero() {
            write!(f, "; late {}", Span(odd.late))?;
        }
        if !odd.jitter.is_zero() {
            write!(f, "; jitter {}", Span(odd.jitter))?;
        }
        for (given, verb) in
            [(odd.twice, "twice"), (odd.out_of_order, "out-of-order"), (odd.early, "early")]
        {
            if given {
                write!(f, "; {verb}")?;
            }
        }
        match odd.signing {
            ReceiptSigning::Signed => Ok(()),
            ReceiptSigning::SignedWhenRepeated => f.write_str("; unsigned first"),
            ReceiptSigning::Unsigned => f.write_str("; unsigned"),
        }
    }
}

impl fmt::Display for ScriptedAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScriptedAnswer::Accept => f.write_str("accept"),
            ScriptedAnswer::Reject(code) => write!(f, "reject {code}"),
            ScriptedAnswer::SilentAfterActing => f.write_str("no-answer"),
            ScriptedAnswer::SilentBeforeActing => f.write_str("hang"),
            ScriptedAnswer::FailAfterActing => f.write_str("500 after acting"),
            ScriptedAnswer::FailBeforeActing => f.write_str("500 before acting"),
        }
    }
}

impl fmt::Display for Cue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = Span(self.after);
        match self.says {
            Says::Submitted => write!(f, "submitted {after}"),
            Says::Delivered => write!(f, "deliver {after}"),
            Says::Read => write!(f, "read {after}"),
            Says::Replied => write!(f, "reply {after}"),
            Says::Undeliverable(None) => write!(f, "undeliverable {after}"),
            Says::Undeliverable(Some(code)) => write!(f, "undeliverable {after} {code}"),
            Says::Rejected(None) => write!(f, "rejected {after}"),
            Says::Rejected(Some(code)) => write!(f, "rejected {after} {code}"),
        }
    }
}

/// A duration in the largest unit that divides it.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        if ms == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            if ms.is_multiple_of(size) {
                return write!(f, "{}{unit}", ms / size);
            }
        }
        write!(f, "{ms}ms")
    }
}
