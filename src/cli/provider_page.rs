//! A provider's page, written from what it declares: its channels, and what its accounts have to hold.

use std::fmt::Write;

use dispatch_contract::{Capabilities, ContentKind, OptionField, Provider, Setting, Status};
use dispatch_kit::codes::{self, CODES};

/// The page of a provider, in Markdown.
pub fn provider_page(provider: &dyn Provider) -> String {
    let name = provider.name();
    let mut page = format!(
        "# {name}\n\nWritten by `dispatch config --provider {name}`.\n\n## Channels\n\n\
         | channel | adapter | condition statuses | content | possible duplicates |\n|---|---|---|---|---|\n"
    );
    for adapter in provider.channels() {
        let can = adapter.capabilities();
        let statuses: Vec<_> =
            can.condition_statuses.iter().map(|it| Status::as_str(*it)).collect();
        let content: Vec<_> = can.content.iter().map(|it| ContentKind::as_str(*it)).collect();
        let (channel, adapter) = (adapter.channel(), adapter.name());
        let (statuses, content) = (statuses.join(", "), content.join(", "));
        let repeats = repeats(can);
        // Writing to a text cannot fail.
        let _ =
            writeln!(page, "| `{channel}` | `{adapter}` | {statuses} | {content} | {repeats} |");
    }
    page.push_str(&options(provider));
    let form = provider.settings();
    page.push_str("\n## Accounts\n\n");
    for (title, is_secret) in [("settings", false), ("secrets", true)] {
        let fields: Vec<_> = form.0.iter().filter(|it| it.is_secret == is_secret).collect();
        if fields.is_empty() {
            let _ = writeln!(page, "An account here has no {title}.\n");
            continue;
        }
        let _ = writeln!(page, "| {title} | what it is | must be | default |\n|---|---|---|---|");
        for field in fields {
            let Setting { name, sentence, rule, .. } = field;
            let default = match field.default {
                Some(default) => format!("`{default}`"),
                None if field.is_required => "required".to_owned(),
                None => String::new(),
            };
            let _ = writeln!(page, "| `{name}` | {sentence} | {rule} | {default} |");
        }
        page.push('\n');
    }
    page.push_str(&codes_of(provider));
    page.push_str(&external_accounts(provider));
    page.push_str(&format!(
        "As it stands in the configuration; webhooks of this account come to `/receipts/{name}/main`:\n\n\
         ```toml\n{}```\n",
        account(provider)
    ));
    page
}

/// What only one channel knows, of each that has such options.
fn options(provider: &dyn Provider) -> String {
    let mut table = String::new();
    for adapter in provider.channels() {
        for field in adapter.capabilities().options.0 {
            let OptionField { path, sentence, rule, is_required } = field;
            let needed = if *is_required { "required" } else { "" };
            let channel = adapter.channel();
            let _ = writeln!(table, "| `{channel}` | `{path}` | {sentence} | {rule} | {needed} |");
        }
    }
    if table.is_empty() {
        return String::new();
    }
    format!(
        "\n## Options of a message\n\n| channel | option | what it is | must be | |\n|---|---|---|---|---|\n{table}"
    )
}

/// What an account may say of the provider's codes, and why one would.
fn codes_of(provider: &dyn Provider) -> String {
    match provider.settings().get(CODES.name) {
        None => String::new(),
        Some(_) => format!(
            "What a code means stands in the adapter's table. Much of it is our reading of short descriptions, or \
             what others report and nobody wrote down, and providers change it; so an account may say otherwise, \
             and a reload applies it:\n\n\
             ```toml\n[accounts.settings]\n{} = \"\"\"\n1234 = temporary\n1235 = permanent recipient opted_out\n\"\"\"\n```\n\n\
             A code has one or more words, at most one of each group; what is not said stays as it is: {}. \
             What is said counts more than the HTTP status of a refusal. It does not count for an \
             answer of a failed server (5xx). A failure that is told later ends the message all the same; where the provider \
             says only that it failed, the fault tells rejected (content, account) from undeliverable.\n\n",
            CODES.name,
            codes::words()
        ),
    }
}

/// On which channels tenants' own accounts are taken, and where their tokens go.
fn external_accounts(provider: &dyn Provider) -> String {
    let taken = provider.channels().into_iter().filter_map(|adapter| {
        let channel = adapter.channel();
        let field = provider.external_fields(channel)?.access_token;
        Some(format!("on `{channel}` in secret `{field}`"))
    });
    let taken: Vec<_> = taken.collect();
    match taken.as_slice() {
        [] => "External accounts: their tokens are used by no channel here.\n\n".to_owned(),
        taken => format!("External accounts: their tokens go {}.\n\n", taken.join(", ")),
    }
}

/// What becomes of a call whose outcome nobody knows.
fn repeats(can: &Capabilities) -> String {
    match can.idempotent_for {
        Some(time) => format!("none within {} s", time.as_secs()),
        None => "after an unknown outcome".to_owned(),
    }
}

/// An account with every field, and a route for each channel.
fn account(provider: &dyn Provider) -> String {
    let name = provider.name();
    let mut text = format!("[[accounts]]\nname = \"main\"\nprovider = \"{name}\"\n");
    for (table, is_secret) in [("settings", false), ("secrets", true)] {
        let fields: Vec<_> =
            provider.settings().0.iter().filter(|it| it.is_secret == is_secret).collect();
        if !fields.is_empty() {
            let _ = writeln!(text, "[accounts.{table}]");
        }
        for field in fields {
            let value = match field.default {
                Some(default) => default.to_owned(),
                None if is_secret => {
                    let variable =
                        format!("{name}_{}", field.name).to_uppercase().replace('-', "_");
                    format!("env:{variable}")
                }
                None => String::new(),
            };
            let off = if field.is_required { "" } else { "# " };
            let _ = writeln!(text, "{off}{} = \"{value}\"", field.name);
        }
    }
    for adapter in provider.channels() {
        let (route, adapter) = (adapter.channel(), adapter.name());
        let _ = write!(
            text,
            "\n[[routes]]\nname = \"{route}\"\nadapter = \"{adapter}\"\naccount = \"main\"\n"
        );
    }
    text
}
