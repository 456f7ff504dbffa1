use super::*;

fn parse(text: &str) -> Script {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn problem(text: &str) -> String {
    match text.parse::<Script>() {
        Ok(script) => panic!("{text} was read as {script}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_example_of_the_table_uses_its_verb_and_comes_back_the_same() {
    for verb in TABLE {
        let script = parse(verb.example);
        assert_eq!(parse(&script.to_string()), script, "{}", verb.example);
        let name = verb.usage.split(' ').next().unwrap();
        assert!(verb.example.contains(name), "{} does not show {name}", verb.example);
    }
}

#[test]
fn the_table_in_the_documentation_is_the_table() {
    let documentation = include_str!("mod.rs");
    for verb in TABLE {
        let row = format!("//! | `{}` | {} |\n", verb.usage, verb.meaning);
        assert!(documentation.contains(&row), "missing: {row}");
        assert!(table().contains(verb.usage));
    }
    let rows = documentation.lines().filter(|line| line.starts_with("//! | `")).count();
    assert_eq!(rows, TABLE.len());
}

#[test]
fn what_was_left_to_defaults_is_written_out() {
    for (text, written) in [
        ("accept", "accept; deliver 1s; read 3s"),
        ("twice", "accept; deliver 1s; read 3s; twice"),
        ("never", "accept; never"),
        (" deliver  60s ;", "accept; deliver 1m"),
        ("read 1500ms; deliver 0ms", "accept; read 1500ms; deliver 0s"),
        ("hang|accept;never", "hang | accept; never"),
        ("throttle 3; reject 1000", "throttle 3; reject 1000"),
        (
            "early; jitter 5ms; undeliverable 2d 1260; late 48h; rejected 1h",
            "accept; undeliverable 2d 1260; rejected 1h; late 2d; jitter 5ms; early",
        ),
    ] {
        assert_eq!(parse(text).to_string(), written, "{text}");
        assert_eq!(parse(written), parse(text), "{text}");
    }
    assert_eq!(Script::default().to_string(), "accept; deliver 1s; read 3s");
}

#[test]
fn serde_reads_and_writes_the_text() {
    let script: Script = serde_json::from_str(r#""deliver 2s; twice""#).unwrap();
    assert_eq!(serde_json::to_string(&script).unwrap(), r#""accept; deliver 2s; twice""#);
    let error = serde_json::from_str::<Script>(r#""delivered""#).unwrap_err().to_string();
    assert!(error.contains("`delivered` is no verb"), "{error}");
}

#[test]
fn the_last_scene_repeats() {
    let script = parse("hang | reject 1340");
    assert_eq!(script.scene(0).answer, ScriptedAnswer::SilentBeforeActing);
    assert_eq!(script.scene(1).answer, ScriptedAnswer::Reject(1340));
    assert_eq!(script.scene(7).answer, ScriptedAnswer::Reject(1340));
    assert!(script.has_memory());
    assert!(!parse("reject 1340").has_memory());
    assert!(parse("throttle 1").has_memory());
}

#[test]
fn a_mistake_is_answered_with_what_would_be_right() {
    for (text, expected) in [
        ("", "a verb is missing here; `accept; deliver 1s` is a whole script"),
        ("accept;; twice", "a verb is missing here"),
        ("accept |", "a verb is missing here"),
        ("bounce", "`bounce` is no verb; there are: accept, reject CODE, throttle N [D]"),
        ("reject", "`reject` should read `reject CODE`"),
        ("reject me", "in `reject me` the code must be a whole number from 1 to 9999"),
        ("reject 0", "from 1 to 9999, as in `reject 1340`"),
        ("reject +7", "from 1 to 9999"),
        ("500", "`500` should read `500 after acting` or `500 before acting`"),
        ("throttle 0", "a whole number of at least 1, as in `throttle 2 1s`"),
        ("deliver", "`deliver` should read `deliver D`"),
        ("deliver 2", "in `deliver 2` the duration must be a whole number of ms, s, m, h or d"),
        ("deliver soon", "as in `deliver 2s`"),
        ("deliver 1.5s", "as in `deliver 2s`"),
        ("deliver 91d", "from 0s to 90d"),
        ("deliver 99999999999999999999s", "from 0s to 90d"),
        ("deliver s", "as in `deliver 2s`"),
        ("accept; reject 1340", "a send has one answer, so `accept` and `reject 1340` cannot"),
        ("reject 1340; deliver 1s", "after `reject 1340` nothing is sent, so no receipts follow"),
        ("hang; twice", "after `hang` nothing is sent"),
        ("never; deliver 1s", "`never` means no receipts"),
        ("never; early", "`never` means no receipts"),
        ("twice; twice", "`twice` may stand once in a scene"),
        ("unsigned; unsigned first", "`unsigned` may stand once in a scene"),
        ("deliver 1s; out-of-order", "`out-of-order` needs two receipts"),
    ] {
        let problem = problem(text);
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}
