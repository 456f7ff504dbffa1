//! Each planted fault of `tests/mutations` still has its one place in the code, and its tests are there:
//! whoever moves a line learns of it here, and not when the mutations are run.

use std::{fs, path::Path};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    mutation: Vec<Mutation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what only the tool reads is checked to be known")]
struct Mutation {
    name: String,
    row: Option<String>,
    breaks: String,
    at: String,
    old: String,
    new: String,
    package: Option<String>,
    suite: String,
    tests: Vec<String>,
    env: Option<std::collections::BTreeMap<String, String>>,
    hangs: Option<bool>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn mutations() -> Vec<Mutation> {
    let files = fs::read_dir(root().join("tests/mutations")).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|ending| ending == "toml"));
    let read = |path| toml::from_str::<File>(&fs::read_to_string(path).unwrap()).unwrap().mutation;
    tables.flat_map(read).collect()
}

/// A file, or all Rust below a folder, in one text.
fn rust(at: &Path) -> String {
    let mut text = String::new();
    if at.is_file() {
        return fs::read_to_string(at).unwrap();
    }
    for entry in fs::read_dir(at).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            text += &rust(&path);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

/// Whether the module that a unit test is named by is a file of its crate's.
fn has_module(package: Option<&str>, test: &str) -> bool {
    let source = match package.and_then(|package| package.strip_prefix("dispatch-")) {
        Some(of_adapters) => root().join("adapters").join(of_adapters).join("src"),
        None => root().join("src"),
    };
    let module: Vec<_> = test.split("::").take_while(|segment| *segment != "tests").collect();
    let file = source.join(module.join("/"));
    module.is_empty() || file.with_extension("rs").exists() || file.join("mod.rs").exists()
}

#[test]
fn every_planted_fault_has_its_one_place_and_its_tests() {
    let all_code: String = ["src", "tests", "adapters"].map(|it| rust(&root().join(it))).concat();
    let mut wrong = Vec::new();
    for mutation in mutations() {
        let Mutation { name, at, old, new, package, suite, tests, .. } = mutation;
        let (old, new) = (old.trim_matches('\n'), new.trim_matches('\n'));
        let count = rust(&root().join(&at)).matches(old).count();
        if count != 1 || old == new {
            wrong.push(format!("{name}: {count} places in {at}, not 1"));
        }
        if tests.is_empty() {
            wrong.push(format!("{name}: no test"));
        }
        for test in tests {
            let function = test.rsplit("::").next().unwrap_or(&test);
            let is_there = all_code.contains(&format!("fn {function}("));
            if !is_there || suite == "lib" && !has_module(package.as_deref(), &test) {
                wrong.push(format!("{name}: no test {test}"));
            }
        }
    }
    assert!(wrong.is_empty(), "tests/mutations:\n{}", wrong.join("\n"));
}
