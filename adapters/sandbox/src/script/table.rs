//! The verbs of a script, for people: the CLI and the handbook print this table.

/// One verb of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    /// How it is written: `N` is a whole number, `D` a duration, `CODE` a provider code, and what
    /// stands in brackets may be left out.
    pub usage: &'static str,
    /// What it does, in one sentence.
    pub meaning: &'static str,
    /// A whole script that uses it.
    pub example: &'static str,
}

/// Every verb, in the order of a script: answers, receipts, then what is odd about the receipts.
pub const TABLE: &[Verb] = &[
    Verb {
        usage: "accept",
        meaning: "The send is accepted; so it is where no other answer is named.",
        example: "accept",
    },
    Verb {
        usage: "reject CODE",
        meaning: "The send is refused under this provider code, for good or for now as the provider means it; nothing is sent.",
        example: "reject 1340",
    },
    Verb {
        usage: "throttle N [D]",
        meaning: "The first N sends are turned away, to be repeated after D if it is given; then the scene goes on.",
        example: "throttle 2 1s; accept; deliver 1s",
    },
    Verb {
        usage: "no-answer",
        meaning: "The message is sent, but the caller waits in vain for an answer.",
        example: "no-answer; deliver 2s",
    },
    Verb {
        usage: "hang",
        meaning: "The message is not sent, and the caller waits in vain for an answer.",
        example: "hang | accept",
    },
    Verb {
        usage: "500 after acting",
        meaning: "The message is sent, but the caller is answered 500.",
        example: "500 after acting; deliver 2s",
    },
    Verb {
        usage: "500 before acting",
        meaning: "The message is not sent, and the caller is answered 500.",
        example: "500 before acting | accept",
    },
    Verb {
        usage: "submitted D",
        meaning: "A receipt `submitted`, D after the send.",
        example: "submitted 100ms; deliver 1s",
    },
    Verb {
        usage: "deliver D",
        meaning: "A receipt `delivered`, D after the send.",
        example: "accept; deliver 30s",
    },
    Verb {
        usage: "read D",
        meaning: "A receipt `read`, D after the send, on channels that report reading.",
        example: "accept; deliver 1s; read 4s",
    },
    Verb {
        usage: "reply D",
        meaning: "The person answers and quotes the message, D after the send, on channels whose provider tells what is quoted.",
        example: "accept; deliver 1s; reply 5s",
    },
    Verb {
        usage: "undeliverable D [CODE]",
        meaning: "A receipt `undeliverable`, D after the send, with this provider code if one is given.",
        example: "undeliverable 2s 1260",
    },
    Verb {
        usage: "rejected D [CODE]",
        meaning: "A receipt `rejected`, D after the send, with this provider code if one is given.",
        example: "rejected 2s 1340",
    },
    Verb {
        usage: "never",
        meaning: "No receipts; where neither this nor a receipt is named, it is `deliver 1s; read 3s`.",
        example: "accept; never",
    },
    Verb {
        usage: "late D",
        meaning: "Every receipt comes D later than it says that things happened.",
        example: "deliver 1s; late 1h",
    },
    Verb {
        usage: "jitter D",
        meaning: "Every receipt comes up to D later, by the provider's seed.",
        example: "deliver 1s; jitter 500ms",
    },
    Verb { usage: "twice", meaning: "Every receipt comes twice.", example: "deliver 1s; twice" },
    Verb {
        usage: "out-of-order",
        meaning: "The receipts come at the times of the script, but the last one first.",
        example: "deliver 1s; read 3s; out-of-order",
    },
    Verb {
        usage: "early",
        meaning: "The first receipt comes before the answer to the send.",
        example: "deliver 0s; read 4s; early",
    },
    Verb {
        usage: "unsigned",
        meaning: "The receipts carry no signature; in process, where nothing is signed, they do not come.",
        example: "deliver 1s; unsigned",
    },
    Verb {
        usage: "unsigned first",
        meaning: "The receipts carry no signature at first; where that is refused they come again 5 s later, signed.",
        example: "deliver 1s; unsigned first",
    },
];

/// [`TABLE`] as Markdown, under a head of its own.
pub fn table() -> String {
    let mut text = String::from("| verb | meaning | example |\n|---|---|---|\n");
    for verb in TABLE {
        text.push_str(&format!("| `{}` | {} | `{}` |\n", verb.usage, verb.meaning, verb.example));
    }
    text
}
