//! Golden files: the request that leaves for each named message, as a person can read it.
//!
//! A crate keeps a folder `golden/ADAPTER/` with a file `NAME.http` for each message that it names. What
//! leaves is compared with it: the method, the path with its query, the headers that the test asks for, and the
//! body, a JSON body laid out and a form field by field. So a change of what is sent shows in review as what it
//! is. `DISPATCH_GOLDEN=write cargo test -p CRATE golden` writes the folder anew.
//!
//! A file without a message fails as a message without a file does, and so does a message that would be
//! refused when its workflow is created. What the requests have to be is not known here: that is for the
//! provider's own schemas, and for whoever reads the files.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use dispatch_contract::{Message, SendContext};
use reqwest::Url;
use serde_json::Value;

use crate::conformance::{Behaviour, ConformanceSubject, NOW, attempt};

/// What the provider is told that receipts go to.
const CALLBACK_URL: &str = "https://dispatch.example/webhooks/main";
const TIMEOUT: Duration = Duration::from_secs(5);
const ENDING: &str = "http";

/// A message whose request is kept in a file.
#[derive(Clone, Debug)]
pub struct GoldenMessage {
    /// The file's name, without its ending: a few words with `-` between them.
    pub name: &'static str,
    /// What is sent.
    pub message: Message,
    /// For how long it is of use, as [`SendContext::useful_for`].
    pub useful_for: Option<Duration>,
}

impl GoldenMessage {
    /// A message that is of use for any length of time.
    pub fn new(name: &'static str, message: Message) -> Self {
        GoldenMessage { name, message, useful_for: None }
    }

    /// The same, of use for so long.
    #[must_use]
    pub fn of_use_for(self, useful_for: Duration) -> Self {
        GoldenMessage { useful_for: Some(useful_for), ..self }
    }
}

/// Compares what leaves for `messages` with the files in `folder`, a crate's `golden/`; `headers` are the names,
/// in lower case, of those that matter. Under `DISPATCH_GOLDEN=write` it writes the files, and removes those of
/// no message. Needs a tokio runtime with I/O and time.
///
/// # Panics
/// With every difference, if there is one; and if a message is not sent, or a file cannot be written.
pub async fn assert_golden(
    subject: &dyn ConformanceSubject,
    folder: impl AsRef<Path>,
    headers: &[&str],
    messages: &[GoldenMessage],
) {
    let folder = folder.as_ref().join(subject.adapter().name());
    let is_writing = std::env::var_os("DISPATCH_GOLDEN").is_some_and(|how| how == "write");
    let mut sent = BTreeMap::new();
    let mut problems = Vec::new();
    for golden in messages {
        let file = folder.join(golden.name).with_extension(ENDING);
        let request = request(subject, golden, headers).await;
        let kept = request.map(|request| sent.insert(file, request));
        match kept {
            Ok(None) => {}
            Ok(Some(_)) => problems.push(format!("{}: two messages have this name", golden.name)),
            Err(problem) => problems.push(format!("{}: {problem}", golden.name)),
        }
    }
    let found = match is_writing && problems.is_empty() {
        true => write(&folder, &sent).map(|()| Vec::new()),
        false => compare(&folder, &sent),
    };
    problems.extend(found.unwrap_or_else(|error| vec![format!("{}: {error}", folder.display())]));
    assert!(
        problems.is_empty(),
        "{}\n\nDISPATCH_GOLDEN=write writes the files anew",
        problems.join("\n")
    );
}

/// The one request that leaves for a message, laid out.
async fn request(
    subject: &dyn ConformanceSubject,
    golden: &GoldenMessage,
    headers: &[&str],
) -> Result<String, String> {
    let adapter = subject.adapter();
    let wrong = adapter.check(&golden.message, NOW);
    if !wrong.is_empty() {
        return Err(format!("it would be refused when its workflow is created: {wrong:?}"));
    }
    let accepted = Behaviour::Answer(subject.accepted(subject.sample_id()));
    let provider = subject.play(accepted).map_err(|error| error.to_string())?;
    let account = subject.account(&provider.address());
    let context = SendContext {
        attempt: attempt(),
        account: &account,
        callback_url: Some(CALLBACK_URL),
        useful_for: golden.useful_for,
        now: NOW,
        timeout: TIMEOUT,
    };
    adapter.send(&context, &golden.message).await.map_err(|error| error.to_string())?;
    match provider.requests().as_slice() {
        [request] => Ok(laid_out(request, headers)),
        requests => Err(format!("one message is one request, and {} came", requests.len())),
    }
}

/// `POST /path`, the headers that matter in the order asked for, a blank line, the body.
fn laid_out(request: &str, headers: &[&str]) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
    let mut lines = head.lines();
    let start = lines.next().unwrap_or_default();
    let fields: Vec<_> = lines.filter_map(|line| line.split_once(':')).collect();
    let field = |name: &str| {
        let named = fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim())
    };
    let mut text = format!("{}\n", start.strip_suffix(" HTTP/1.1").unwrap_or(start));
    for name in headers {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{name}: {}", field(name).unwrap_or("(none)"));
    }
    let body = match field("content-type") {
        Some(kind) if kind.starts_with("application/x-www-form-urlencoded") => form(body),
        Some(_) | None => json(body).unwrap_or_else(|| body.to_owned()),
    };
    if !body.is_empty() {
        text.push('\n');
        text.push_str(body.trim_end());
        text.push('\n');
    }
    text
}

fn json(body: &str) -> Option<String> {
    let value: Value = serde_json::from_str(body).ok()?;
    serde_json::to_string_pretty(&value).ok()
}

/// A form's fields in their order, each decoded and on a line of its own.
fn form(body: &str) -> String {
    let Ok(url) = Url::parse(&format!("http://form/?{body}")) else { return body.to_owned() };
    url.query_pairs().map(|(name, value)| format!("{name}={value}\n")).collect()
}

fn write(folder: &Path, sent: &BTreeMap<PathBuf, String>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for file in files(folder)?.into_iter().filter(|file| !sent.contains_key(file)) {
        fs::remove_file(file)?;
    }
    sent.iter().try_for_each(|(file, request)| fs::write(file, request))
}

fn compare(folder: &Path, sent: &BTreeMap<PathBuf, String>) -> io::Result<Vec<String>> {
    let mut problems = Vec::new();
    for (file, request) in sent {
        match fs::read_to_string(file) {
            Ok(golden) if golden == *request => {}
            Ok(golden) => problems
                .push(format!("{}:\n--- golden\n{golden}--- leaves\n{request}", file.display())),
            Err(error) => problems.push(format!("{}: {error}", file.display())),
        }
    }
    let superfluous = files(folder)?.into_iter().filter(|file| !sent.contains_key(file));
    problems
        .extend(superfluous.map(|file| format!("{}: no message has this name", file.display())));
    Ok(problems)
}

/// Everything in a folder; nothing, where there is none.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &str = "POST /v1/messages?a=b HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n";

    #[test]
    fn a_request_is_laid_out_with_the_headers_that_matter() {
        let json = format!("{POST}Content-Type: application/json\r\n\r\n{{\"b\":1,\"a\":[\"x\"]}}");
        assert_eq!(
            laid_out(&json, &["authorization", "x-other"]),
            "POST /v1/messages?a=b\nauthorization: Bearer t\nx-other: (none)\n\n\
             {\n  \"a\": [\n    \"x\"\n  ],\n  \"b\": 1\n}\n"
        );
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let form = format!("{POST}{kind}\r\n\r\nTo=%2B4477&Body=a+b%26c&To=2");
        assert_eq!(laid_out(&form, &[]), "POST /v1/messages?a=b\n\nTo=+4477\nBody=a b&c\nTo=2\n");
        assert_eq!(laid_out("GET / HTTP/1.1\r\nHost: h\r\n\r\n", &[]), "GET /\n");
    }

    #[test]
    fn a_missing_a_changed_and_a_superfluous_file_are_told() {
        let folder = std::env::temp_dir().join(format!("golden-{}", std::process::id()));
        let sent = |files: &[(&str, &str)]| -> BTreeMap<PathBuf, String> {
            files.iter().map(|(name, text)| (folder.join(name), (*text).to_owned())).collect()
        };
        let problems = |files: &[_]| compare(&folder, &sent(files)).expect("a folder").len();
        assert_eq!(problems(&[("a.http", "1")]), 1, "there is no file");
        write(&folder, &sent(&[("a.http", "1"), ("b.http", "2")])).expect("writable");
        assert_eq!(problems(&[("a.http", "1"), ("b.http", "2")]), 0);
        assert_eq!(problems(&[("a.http", "1"), ("b.http", "3")]), 1, "changed");
        assert_eq!(problems(&[("a.http", "1")]), 1, "superfluous");
        write(&folder, &sent(&[("a.http", "1")])).expect("writable");
        assert_eq!(problems(&[("a.http", "1")]), 0, "what was superfluous is gone");
        fs::remove_dir_all(&folder).expect("removable");
    }
}
