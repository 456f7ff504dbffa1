//! What stands in the documents is what the code says.

#[test]
fn the_sandbox_s_table_is_the_code_s() {
    let page = include_str!("../../docs/sandbox.md");
    let table = dispatch_sandbox::script::table();
    assert!(page.contains(&table), "docs/sandbox.md should hold:\n{table}");
}

/// `DISPATCH_WRITE_PAGES=1 cargo it docs::` writes them anew. What to do at the provider is not declared: it stands
/// behind a line of its own, and is kept.
#[test]
fn each_provider_s_page_is_what_it_declares() {
    const GUIDE: &str = "\n## Set it up\n";
    let mut providers = dispatch::builtin::Providers::default();
    dispatch::builtin::add(&mut providers).unwrap();
    for provider in providers.registry.providers() {
        let declared = dispatch::cli::provider_page(&**provider);
        let file = format!("docs/providers/{}.md", provider.name());
        let page = std::fs::read_to_string(&file).unwrap();
        let guide = page.split_once(GUIDE).map(|(_, guide)| format!("{GUIDE}{guide}"));
        let wanted = declared + guide.as_deref().unwrap_or_default();
        if std::env::var_os("DISPATCH_WRITE_PAGES").is_some() {
            std::fs::write(&file, &wanted).unwrap();
        } else {
            assert_eq!(page, wanted, "{file}");
        }
    }
}

/// A row for each channel of each provider, by channel; written anew as the pages are.
#[test]
fn the_readme_s_table_of_channels_is_what_is_declared() {
    const HEAD: &str = "| channel | through | condition statuses | content | taken back |\n|---|---|---|---|---|\n";
    let mut providers = dispatch::builtin::Providers::default();
    dispatch::builtin::add(&mut providers).unwrap();
    let mut rows: Vec<_> = (providers.registry.iter())
        .map(|adapter| {
            let can = adapter.capabilities();
            let statuses: Vec<_> =
                can.condition_statuses.iter().map(ToString::to_string).collect();
            let content: Vec<_> = can.content.iter().map(ToString::to_string).collect();
            let (channel, provider) = (adapter.channel(), adapter.provider());
            let (statuses, content) = (statuses.join(", "), content.join(", "));
            let recall = if can.recall { "yes" } else { "" };
            format!("| `{channel}` | [{provider}](docs/providers/{provider}.md) | {statuses} | {content} | {recall} |\n")
        })
        .collect();
    rows.sort();
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (before, rest) = readme.split_once(HEAD).expect("the table");
    let after = rest.split_once("\n\n").expect("its end").1;
    let wanted = format!("{before}{HEAD}{}\n{after}", rows.concat());
    if std::env::var_os("DISPATCH_WRITE_PAGES").is_some() {
        std::fs::write("README.md", &wanted).unwrap();
    } else {
        assert_eq!(readme, wanted);
    }
}

/// Whoever follows `adapters/README.md` writes what is built and run here; its commands are run in
/// `outside/push.rs`.
#[test]
fn every_snippet_of_the_guide_stands_in_a_provider_that_is_run() {
    let guide = include_str!("../../adapters/README.md");
    let sources = [
        include_str!("../outside/line/src/main.rs"),
        include_str!("../outside/line/src/line.rs"),
        include_str!("../outside/line/Cargo.toml"),
        include_str!("../outside/line/dispatch.toml"),
        include_str!("../outside/line/workflow.yaml"),
    ];
    let snippets = guide.split("```").skip(1).step_by(2);
    let snippets: Vec<_> = snippets.filter(|snippet| !snippet.starts_with("sh\n")).collect();
    assert!(snippets.len() >= 7, "{snippets:?}");
    for snippet in snippets {
        let (_, snippet) = snippet.split_once('\n').unwrap();
        assert!(sources.iter().any(|source| source.contains(snippet)), "{snippet}");
    }
}

/// Every path that the README names is there.
#[test]
fn the_readme_names_only_what_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = include_str!("../../README.md");
    let named = readme.split(['`', '(', ')', ' ', '\n']).filter(|word| {
        ["docs/", "src/", "tests/", "adapters/"].iter().any(|folder| word.starts_with(folder))
    });
    let mut count = 0;
    for path in named.filter(|path| !path.contains("NAME")) {
        let path = path.trim_end_matches([':', '.', ',', ';']);
        assert!(root.join(path).exists(), "{path}");
        count += 1;
    }
    assert!(count >= 5, "{count}");
}

/// The committed report is whole: a row for every suite, and all that was found.
#[test]
fn the_reliability_report_has_a_row_for_every_suite() {
    let report = include_str!("../../docs/reliability.md");
    assert!(report.contains(include_str!("../report/head.md").trim_end()));
    assert!(report.contains(include_str!("../report/found.md").trim_end()));
    let rows = report.lines().filter(|line| line.starts_with("| ")).count();
    assert!(rows >= 16, "{rows} rows: run tests/reliability.sh");
}

/// A metric that the documents name is one of the table (a family of which nothing was counted yet is not
/// rendered, so the table itself is read).
#[test]
fn the_documents_name_only_metrics_that_there_are() {
    let tables = [
        include_str!("../../src/telemetry/metrics/families.rs"),
        include_str!("../../src/telemetry/tenants.rs"),
        include_str!("../../src/telemetry/about.rs"),
    ];
    let pages = [
        include_str!("../../README.md"),
        include_str!("../../CHANGELOG.md"),
        include_str!("../../docs/errors.md"),
        include_str!("../../docs/performance.md"),
        include_str!("../../docs/reliability.md"),
    ];
    let words =
        pages.iter().flat_map(|page| page.split(|c: char| !(c.is_alphanumeric() || c == '_')));
    let mut count = 0;
    // `dispatch_uuid` is a field of the old API.
    for word in words.filter(|word| *word != "dispatch_uuid") {
        let Some(name) = word.strip_prefix("dispatch_").filter(|name| !name.is_empty()) else {
            continue;
        };
        let ends = ["", "_total", "_bucket", "_sum", "_count"];
        let families = ends.iter().filter_map(|end| name.strip_suffix(end));
        let is_told = families
            .map(|family| format!("\"{family}\""))
            .any(|family| tables.iter().any(|table| table.contains(&family)));
        assert!(is_told, "there is no metric dispatch_{name}");
        count += 1;
    }
    assert!(count > 10, "{count}");
}
