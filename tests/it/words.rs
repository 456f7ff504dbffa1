//! The house's language: docs/GLOSSARY.md, and one meaning for each name of a type.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Names that several types have on purpose.
const SHARED_NAMES: &[(&str, &str)] = &[(
    "Credential",
    "a client presents it and the service reads it: one thing, at both ends of the wire",
)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder that end so, but for tests'.
fn sources(of: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(of).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_of_tests = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() {
            if !is_of_tests && path.file_name().is_some_and(|name| name != "target") {
                sources(&path, ending, found);
            }
        } else if !is_of_tests && path.extension().is_some_and(|it| it == ending) {
            found.push(path);
        }
    }
}

/// The types that a source defines outside of its tests, and not within a function or an impl.
fn types(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let defined = |line: &str| {
        let line = line
            .strip_prefix("pub(crate) ")
            .or(line.strip_prefix("pub(super) "))
            .or(line.strip_prefix("pub "))
            .unwrap_or(line);
        let name = ["struct ", "enum ", "trait ", "type ", "union "]
            .iter()
            .find_map(|word| line.strip_prefix(word))?;
        Some(name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
    };
    text.lines().filter_map(defined).collect()
}

/// Where each type of the service and its adapters is defined.
fn all_types() -> BTreeMap<String, Vec<PathBuf>> {
    let mut files = Vec::new();
    sources(&root().join("src"), "rs", &mut files);
    sources(&root().join("adapters"), "rs", &mut files);
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        for name in types(&fs::read_to_string(&file).unwrap()) {
            let within = file.strip_prefix(root()).unwrap().to_owned();
            found.entry(name).or_default().push(within);
        }
    }
    assert!(found.len() > 400, "only {} types were found", found.len());
    found
}

#[test]
fn definitions_are_found() {
    let text = "pub struct A;\nenum B {}\n    struct Within;\npub(super) trait C<T> {}\n\
                pub(crate) type D = u8;\n#[cfg(test)]\nmod tests {\nstruct E;\n}";
    assert_eq!(types(text), ["A", "B", "C", "D"]);
}

#[test]
fn no_name_of_a_type_means_two_things() {
    let all = all_types();
    let twice: BTreeMap<_, _> = all.iter().filter(|(_, places)| places.len() > 1).collect();
    let is_shared = |name: &str| SHARED_NAMES.iter().any(|(shared, _)| *shared == name);
    let wrong: Vec<_> = twice.iter().filter(|(name, _)| !is_shared(name)).collect();
    assert!(wrong.is_empty(), "name them apart, or say in SHARED_NAMES why not: {wrong:#?}");
    for (name, why) in SHARED_NAMES {
        assert!(twice.contains_key(&(*name).to_owned()), "{name} stands for one type only: {why}");
    }
    assert!(SHARED_NAMES.len() * 50 <= all.len(), "2 % of the names at most have two meanings");
}

/// The glossary's rows: the words, and those that are not used for them.
fn glossary() -> Vec<(Vec<String>, Vec<String>)> {
    let text = fs::read_to_string(root().join("docs/GLOSSARY.md")).unwrap();
    let words = |cell: &str| -> Vec<String> {
        cell.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    };
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [word, meaning, not] = cells[..] else { panic!("not three cells: {line}") };
        if word == "word" {
            continue;
        }
        assert!(!meaning.is_empty(), "{word} means nothing");
        rows.push((words(word), words(not)));
    }
    assert!(rows.len() > 50, "only {} words were found", rows.len());
    rows
}

/// `destination queue` as a type is called, and as a module or a field is.
fn as_names(word: &str) -> (String, String) {
    let words: Vec<String> = word.split([' ', '-']).map(str::to_lowercase).collect();
    let capital = |word: &String| word[..1].to_uppercase() + &word[1..];
    (words.iter().map(capital).collect(), words.join("_"))
}

#[test]
fn the_glossary_says_each_word_once() {
    let mut seen = BTreeSet::new();
    for word in glossary().into_iter().flat_map(|(words, _)| words) {
        assert!(seen.insert(word.clone()), "{word} is explained twice");
    }
}

#[test]
fn what_the_glossary_rules_out_is_the_name_of_nothing() {
    let all = all_types();
    let mut modules = Vec::new();
    sources(&root().join("src"), "rs", &mut modules);
    sources(&root().join("adapters"), "rs", &mut modules);
    let mut protos = Vec::new();
    sources(&root().join("proto/dispatch"), "proto", &mut protos);
    let fields: BTreeSet<String> = protos
        .iter()
        .flat_map(|path| {
            fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .filter_map(|line| line.split_once(" = ")?.0.split(' ').next_back().map(str::to_owned))
        .collect();
    assert!(fields.contains("workflow_id"), "the proto's fields were not found");
    let mut wrong = Vec::new();
    for (words, not) in glossary() {
        for old in not {
            let (of_type, of_module) = as_names(&old);
            if let Some(places) = all.get(&of_type) {
                wrong.push(format!("{of_type} in {places:?}: say {words:?}"));
            }
            if fields.contains(&of_module) {
                wrong.push(format!("a field {of_module} in proto: say {words:?}"));
            }
            let named = |path: &&PathBuf| {
                let of = if path.ends_with("mod.rs") { path.parent().unwrap() } else { path };
                of.file_stem().is_some_and(|stem| stem.to_str() == Some(&of_module))
            };
            if let Some(path) = modules.iter().find(named) {
                wrong.push(format!("{}: say {words:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/GLOSSARY.md:\n{}", wrong.join("\n"));
}
