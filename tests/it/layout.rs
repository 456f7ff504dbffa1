//! The arrows of the house run one way: `use` lines and manifests keep to it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Which rooms of `src/` a room may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("machine", &[]),
    ("owned_files", &[]),
    ("terminal", &[]),
    ("store", &["machine", "owned_files"]),
    ("contents", &["machine", "owned_files", "store"]),
    ("telemetry", &["machine", "terminal"]),
    ("config", &[]),
    ("pb", &[]),
    ("access", &["owned_files", "store"]),
    ("engine", &["contents", "machine", "store", "telemetry"]),
    ("fair", &[]),
    ("tls", &[]),
    ("callbacks", &["access", "contents", "engine", "machine", "store", "telemetry"]),
    ("api", &["access", "contents", "engine", "fair", "machine", "store", "pb"]),
    (
        "grpc",
        &[
            "access",
            "api",
            "callbacks",
            "contents",
            "engine",
            "fair",
            "machine",
            "store",
            "pb",
            "tls",
        ],
    ),
    ("http", &["access", "fair", "telemetry", "tls"]),
    ("rest", &["access", "api", "contents", "engine", "fair", "machine", "store", "pb"]),
    ("client", &["pb"]),
];

/// Crates that decide nothing by themselves and would make the machine impure.
const IMPURE: &[&str] =
    &["tokio", "std::time::Instant", "std::time::SystemTime", "std::fs", "std::net", "tracing"];

fn files(of: &Path, found: &mut Vec<PathBuf>) {
    if of.is_file() {
        found.push(of.to_owned());
    }
    for entry in fs::read_dir(of).into_iter().flatten().flatten() {
        files(&entry.path(), found);
    }
}

/// The source of a room: `room.rs`, and all in `room/`.
fn source(room: &str) -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&src.join(format!("{room}.rs")), &mut found);
    files(&src.join(room), &mut found);
    found.retain(|path| path.extension().is_some_and(|ending| ending == "rs"));
    assert!(!found.is_empty(), "there is no room {room}");
    found
        .into_iter()
        .map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The rooms that a source names after `crate::`, in braces too.
fn named(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    for rest in code.split("crate::").skip(1) {
        let word = |text: &str| -> String {
            text.trim_start().chars().take_while(|c| is_word(*c)).collect()
        };
        match rest.strip_prefix('{') {
            Some(list) => {
                let mut depth = 0;
                let mut at_start = true;
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => at_start = true,
                        c if at_start && c.is_alphabetic() => {
                            rooms.push(word(&list[at..]));
                            at_start = false;
                        }
                        _ => {}
                    }
                }
            }
            None => rooms.push(word(rest)),
        }
    }
    rooms
}

#[test]
fn arrows_run_one_way() {
    for (room, may_use) in ARROWS {
        for (path, text) in source(room) {
            for used in named(&text) {
                let is_allowed = used == *room || may_use.contains(&used.as_str());
                let is_room = ARROWS.iter().any(|(room, _)| *room == used)
                    || ["cli", "builtin", "service"].contains(&used.as_str());
                assert!(
                    is_allowed || !is_room,
                    "{path} uses {used}, and {room} may use {may_use:?}"
                );
            }
        }
    }
}

/// Callbacks are given a clock, a reader, settings, the feed and metrics: whoever holds an engine can create
/// workflows, and would be a hall that everybody passes.
#[test]
fn callbacks_hold_no_engine() {
    for (path, text) in source("callbacks") {
        let names_engine = imported(&text).iter().any(|path| path == "crate::engine::Engine");
        assert!(!names_engine, "{path} names the engine");
    }
}

/// What a store promises stands above the seam, and what keeps the bytes below it: neither the journal nor the seam
/// knows which backends there are.
#[test]
fn the_journal_knows_no_backend() {
    for room in ["store/journal", "store/backend"] {
        for (path, text) in source(room) {
            let names_one = imported(&text).iter().any(|path| path.contains("::sled"));
            assert!(!names_one, "{path} names a backend");
        }
    }
}

/// The full paths that the `use` declarations of a source name, braces opened.
fn imported(text: &str) -> Vec<String> {
    fn open(prefix: &str, tree: &str, found: &mut Vec<String>) {
        let (mut depth, mut start) = (0, 0);
        for (at, c) in tree.char_indices().chain([(tree.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    let one = tree[start..at].trim();
                    start = at + 1;
                    match one.split_once('{') {
                        Some((head, inner)) => {
                            let inner = inner.strip_suffix('}').unwrap_or(inner);
                            open(&format!("{prefix}{head}"), inner, found);
                        }
                        None if one.is_empty() => {}
                        None => found.push(format!("{prefix}{one}")),
                    }
                }
                _ => {}
            }
        }
    }
    let code: Vec<&str> = text.lines().filter(|it| !it.trim_start().starts_with("//")).collect();
    let mut found = Vec::new();
    for declaration in code.join(" ").split(';') {
        // Attributes, visibility and what ended without a semicolon stand before it.
        if let Some((before, tree)) = declaration.rsplit_once("use ")
            && before.chars().next_back().is_none_or(char::is_whitespace)
        {
            open("", tree.trim(), &mut found);
        }
    }
    found
}

#[test]
fn imports_are_found_in_braces_too() {
    let text = "//! use std::fs;\nuse std::{collections::{BTreeMap, HashMap as H}, time::Instant};\n\
                pub use a::b;\n#[cfg(test)]\nmod tests { use tokio::{self}; }";
    let wanted = [
        "std::collections::BTreeMap",
        "std::collections::HashMap as H",
        "std::time::Instant",
        "a::b",
        "tokio::self",
    ];
    assert_eq!(imported(text), wanted);
}

/// Each file of a crate's `src`, by the path of the module that it is.
fn modules(src: &Path) -> BTreeMap<Vec<String>, PathBuf> {
    let mut found = Vec::new();
    files(src, &mut found);
    let of = |file: PathBuf| {
        let within = file.strip_prefix(src).ok()?.with_extension("");
        let mut path: Vec<String> =
            within.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        if matches!(path.last()?.as_str(), "mod" | "lib" | "main") {
            path.pop();
        }
        let is_code = file.extension()? == "rs" && !path.iter().any(|name| name == "tests");
        is_code.then_some((path, file))
    };
    found.into_iter().filter_map(of).collect()
}

/// Which modules a module's imports lead to, but for those around it and within it: between a parent and
/// its children there are arrows both ways.
fn led_to(module: &[String], text: &str, all: &BTreeMap<Vec<String>, PathBuf>) -> Vec<Vec<String>> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let mut found = Vec::new();
    for import in imported(text) {
        let mut names = import.split("::").map(str::trim).peekable();
        let mut target: Vec<String> = module.to_vec();
        match names.peek() {
            Some(&"crate") => {
                target.clear();
                names.next();
            }
            Some(&"self") => {
                names.next();
            }
            Some(&"super") => {
                while names.next_if_eq(&"super").is_some() {
                    target.pop();
                }
            }
            Some(_) | None => {}
        }
        for name in names {
            target.push(name.to_owned());
            if !all.contains_key(&target) {
                target.pop();
                break;
            }
        }
        if !target.starts_with(module) && !module.starts_with(&target) {
            found.push(target);
        }
    }
    found
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = fs::read_dir(root.join("adapters")).unwrap().flatten();
    let sources = crates.map(|one| one.path().join("src")).chain([root.join("src")]);
    for src in sources.filter(|src| src.is_dir()) {
        let all = modules(&src);
        let mut arrows: BTreeMap<_, _> = all
            .iter()
            .map(|(module, file)| {
                (module, led_to(module, &fs::read_to_string(file).unwrap(), &all))
            })
            .collect();
        // What leads nowhere, or only to what was taken away before, is in no circle.
        loop {
            let ends: Vec<_> = arrows
                .iter()
                .filter(|(_, to)| !to.iter().any(|to| arrows.contains_key(to)))
                .map(|(module, _)| *module)
                .collect();
            if ends.is_empty() {
                break;
            }
            arrows.retain(|module, _| !ends.contains(module));
        }
        assert!(
            arrows.is_empty(),
            "in {}, in circles or leading to one: {arrows:#?}",
            src.display()
        );
    }
}

#[test]
fn the_machine_is_pure() {
    for (path, text) in source("machine") {
        for impure in IMPURE {
            let is_within =
                |it: &String| it.strip_prefix(impure).is_some_and(|it| !it.starts_with(is_word));
            assert!(!imported(&text).iter().any(is_within), "{path} imports {impure}");
            assert!(!text.contains(&format!("{impure}::")), "{path} uses {impure}");
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn the_contract_needs_no_runtime_and_no_client() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters/contract/Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    for unwanted in ["tokio", "reqwest", "hyper", "tonic"] {
        assert!(!manifest.contains(unwanted), "{unwanted}");
    }
}

#[test]
fn one_room_names_concrete_adapters() {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    for path in found.iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs")) {
        let text = fs::read_to_string(path).unwrap();
        let names =
            |crates: &[&str]| crates.iter().any(|it| text.contains(&format!("dispatch_{it}::")));
        let is_test = path.ends_with("tests.rs") || path.ends_with("tests/mod.rs");
        let is_room_s = path.ends_with("builtin.rs") || path.ends_with("builtin/over_http.rs");
        let is_legal = is_test || is_room_s;
        assert!(
            !names(&["sandbox", "meta", "telegram", "twilio", "vonage"]) || is_legal,
            "{}",
            path.display()
        );
        // The API has messages of its own for the options of these: read in one file, written in another.
        let is_legal = is_legal || path.ends_with("options.rs");
        let channels = ["sms", "mms", "viber", "whatsapp", "messenger", "rcs"];
        assert!(!names(&channels) || is_legal, "{}", path.display());
    }
}

/// Whoever opens what is personal is named here, so that it can be found.
#[test]
fn contents_are_opened_in_few_places() {
    const OPEN: [&str; 9] = [
        "src/callbacks/delivery.rs",
        "src/callbacks/follower.rs",
        "src/engine/dispatch.rs",
        "src/engine/dispatch/recall.rs",
        "src/engine/erasure.rs",
        "src/engine/handle.rs",
        "src/engine/inbound_messages.rs",
        "src/engine/opt_outs.rs",
        "src/service/key_check.rs",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(&root.join("src"), &mut found);
    let opens = |path: &PathBuf| {
        let text: String = fs::read_to_string(path).unwrap().split_whitespace().collect();
        ["contents.open(", "contents().open(", "keys.open("].iter().any(|it| text.contains(it))
    };
    found.retain(|path| path.extension().is_some_and(|ending| ending == "rs") && opens(path));
    let mut found: Vec<_> =
        found.iter().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect();
    found.sort();
    assert_eq!(found, OPEN);
}
