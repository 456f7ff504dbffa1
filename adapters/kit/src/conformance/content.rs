//! Checks what is accepted and refused when a workflow is created.

use dispatch_contract::{
    ChannelAdapter, Content, ContentKind, Endpoint, Field, Media, Message, Options, UnixMillis,
    Violation,
};
use serde_json::{Map, Value};

use super::{ConformanceSubject, Findings, Promise, any_sample};

/// When workflows are created here: no rule of the suite has a day.
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
/// Two bytes in UTF-8: a limit in characters that is counted in bytes shows at once.
const WIDE: &str = "ж";

pub(super) fn check(subject: &dyn ConformanceSubject) -> Findings {
    let mut found = Findings::default();
    check_into(subject, &mut found);
    found
}

fn check_into(subject: &dyn ConformanceSubject, findings: &mut Findings) {
    let adapter = subject.adapter();
    for &kind in &adapter.capabilities().content {
        match subject.sample(kind) {
            Some(message) => declared(adapter, &message, kind, findings),
            None => findings.check(Promise::Content(kind), false, || {
                format!("{kind} is declared, and there is no sample of it")
            }),
        }
    }
    let Some(sample) = any_sample(subject) else { return };
    undeclared(adapter, &sample, findings);
    addresses(adapter, &sample, findings);
    options(adapter, &sample, findings);
}

fn declared(
    adapter: &dyn ChannelAdapter,
    message: &Message,
    kind: ContentKind,
    findings: &mut Findings,
) {
    findings.check(Promise::Content(kind), message.content.kind() == kind, || {
        format!("the sample of {kind} is of another kind")
    });
    let violations = adapter.check(message, NOW);
    findings.check(Promise::Content(kind), violations.is_empty(), || {
        format!("the sample of {kind} is refused: {}", list(&violations))
    });
    let limits = adapter.capabilities().limits;
    match &message.content {
        Content::Text(_) => {
            edge(adapter, Field::Within("text"), limits.text_chars, findings, |length| {
                with(message, Content::Text(WIDE.repeat(length)))
            });
            for (text, what) in [(" \n\u{200b} ", "a blank text"), ("a\0b", "a text with a NUL")] {
                let message = with(message, Content::Text(text.to_owned()));
                refused(adapter, &message, Field::Within("text"), what, findings);
            }
        }
        Content::Image(media) => {
            file(adapter, message, media, Content::Image, "image.url", "image.caption", findings);
        }
        Content::Audio(media) => {
            file(adapter, message, media, Content::Audio, "audio.url", "audio.caption", findings);
        }
        Content::Video(media) => {
            file(adapter, message, media, Content::Video, "video.url", "video.caption", findings);
        }
        Content::File(media) => {
            file(adapter, message, media, Content::File, "file.url", "file.caption", findings);
        }
        Content::Location { name, address, .. } => {
            let moved = with(
                message,
                Content::Location {
                    latitude: "90.5".to_owned(),
                    longitude: "0".to_owned(),
                    name: name.clone(),
                    address: address.clone(),
                },
            );
            refused(adapter, &moved, Field::Within("location.latitude"), "north of 90", findings);
        }
        Content::Template { parameters, .. } => {
            let unnamed = Content::Template { name: String::new(), parameters: parameters.clone() };
            let field = Field::Within("template.name");
            refused(adapter, &with(message, unnamed), field, "without a name", findings);
            let parameters = vec!["a\0b".to_owned()];
            let name = "name".to_owned();
            let message = with(message, Content::Template { name, parameters });
            refused(adapter, &message, Field::Parameter(0), "a parameter with a NUL", findings);
        }
        Content::Code { text, .. } => {
            for code in ["", "123", "1234567890123456", "12 34", "１２３４"] {
                let said = Content::Code { code: code.to_owned(), text: text.clone() };
                let field = Field::Within("code.code");
                refused(adapter, &with(message, said), field, "what is no code", findings);
            }
            let text = Some("a sentence without its blank".to_owned());
            let said = Content::Code { code: "1234".to_owned(), text };
            let field = Field::Within("code.text");
            refused(adapter, &with(message, said), field, "a sentence without the code", findings);
        }
        Content::Custom(_) => {
            for text in ["", "[]", "7", "{"] {
                let violations =
                    adapter.check(&with(message, Content::Custom(text.to_owned())), NOW);
                findings.check(Promise::Content(kind), !violations.is_empty(), || {
                    format!("custom content that is no JSON object ({text:?}) is accepted")
                });
            }
        }
    }
}

fn file(
    adapter: &dyn ChannelAdapter,
    message: &Message,
    media: &Media,
    wrap: fn(Media) -> Content,
    url_field: &'static str,
    caption_field: &'static str,
    findings: &mut Findings,
) {
    let limits = adapter.capabilities().limits;
    let remade = |url: String, caption: Option<String>| with(message, wrap(Media { url, caption }));
    edge(adapter, Field::Within(url_field), limits.url_bytes, findings, |length| {
        let start = "https://example.com/";
        let rest = "a".repeat(length.saturating_sub(start.len()));
        remade(
            if length == 0 { String::new() } else { format!("{start}{rest}") },
            media.caption.clone(),
        )
    });
    for url in [
        "ftp://example.com/a.png",
        "example.com/a.png",
        "file:///etc/passwd",
        "https://[::1/a.png",
        "https://example.com:99999/a.png",
        "https://example.com/a b.png",
        "https://someone@example.com/a.png",
    ] {
        let message = remade(url.to_owned(), media.caption.clone());
        refused(adapter, &message, Field::Within(url_field), url, findings);
    }
    let field = Field::Within(caption_field);
    if adapter.capabilities().captions.contains(&message.content.kind()) {
        edge(adapter, field, limits.caption_chars, findings, |length| {
            remade(media.url.clone(), Some(WIDE.repeat(length)))
        });
    } else {
        let message = remade(media.url.clone(), Some("caption".to_owned()));
        refused(adapter, &message, field, "an undeclared caption", findings);
    }
}

/// The limit itself is accepted; one more, and none at all, are refused with the field named.
fn edge(
    adapter: &dyn ChannelAdapter,
    field: Field,
    most: u32,
    findings: &mut Findings,
    message: impl Fn(usize) -> Message,
) {
    let most = most as usize;
    let violations = adapter.check(&message(most), NOW);
    findings.check(Promise::Limits, violations.is_empty(), || {
        format!("{field} of exactly {most} is refused: {}", list(&violations))
    });
    for (length, what) in [(most + 1, "one more than the limit"), (0, "nothing")] {
        refused_as(Promise::Limits, adapter, &message(length), field, what, findings);
    }
}

fn undeclared(adapter: &dyn ChannelAdapter, sample: &Message, findings: &mut Findings) {
    for kind in ContentKind::ALL {
        if !adapter.capabilities().sends(kind) {
            let message = with(sample, plain(kind));
            refused(adapter, &message, Field::Content, kind.as_str(), findings);
        }
    }
}

/// An address that no declared form admits is refused. One that is admitted may be refused all the same: an
/// adapter may know better what its addresses look like.
fn addresses(adapter: &dyn ChannelAdapter, sample: &Message, findings: &mut Findings) {
    let texts = [
        "",
        "+447700900000",
        "00447700900000",
        "0447700900000",
        "447700900000",
        "4477009",
        "447700",
        "12345",
        "4477009000001234",
        "Acme Ltd",
        "Acme Limited Co",
        "a\nb",
        "107\u{200b}083",
        "107\u{202e}083",
        "\u{3000}",
        " Acme",
        "４４７７００９０",
    ];
    let long_id = "1".repeat(51);
    let endpoints: Vec<_> = texts
        .into_iter()
        .chain([long_id.as_str()])
        .flat_map(|text| [Endpoint::Number(text.to_owned()), Endpoint::Id(text.to_owned())])
        .collect();
    let declared = adapter.capabilities();
    for endpoint in endpoints {
        let to = Message { to: endpoint.clone(), ..sample.clone() };
        let admitted = declared.to.iter().any(|form| form.admits(&endpoint));
        address(adapter, &to, Field::To, admitted, &endpoint, findings);
        let from = Message { from: endpoint.clone(), ..sample.clone() };
        let admitted = declared.from.iter().any(|form| form.admits(&endpoint));
        address(adapter, &from, Field::From, admitted, &endpoint, findings);
    }
}

fn address(
    adapter: &dyn ChannelAdapter,
    message: &Message,
    field: Field,
    admitted: bool,
    endpoint: &Endpoint,
    findings: &mut Findings,
) {
    let violations = adapter.check(message, NOW);
    let is_refused = violations.iter().any(|violation| violation.field == field);
    findings.check(Promise::Addresses, is_refused || admitted, || {
        let kind = match endpoint {
            Endpoint::Id(_) => "id",
            Endpoint::Number(_) => "number",
        };
        // The suite's own addresses are nobody's, so they may be shown.
        format!("{field} {kind} {:?} should be refused", endpoint.value())
    });
    findings.check(
        Promise::Addresses,
        violations.iter().all(|violation| {
            endpoint.value().len() < 4 || !violation.problem.contains(endpoint.value())
        }),
        || format!("a violation of {field} shows the address"),
    );
}

/// An option that nobody declared is refused, and a declared one that is nothing.
fn options(adapter: &dyn ChannelAdapter, sample: &Message, findings: &mut Findings) {
    let given = |path: &str, value: Value| {
        let (outer, inner) = path.split_once('.').unwrap_or((path, ""));
        let value = match inner {
            "" => value,
            inner => Value::Object(Map::from_iter([(inner.to_owned(), value)])),
        };
        let mut document = sample.options.to_document();
        document.insert(outer.to_owned(), value);
        Message { options: Options::document(document), ..sample.clone() }
    };
    let unknown = given("no_such_option", Value::Bool(true));
    let mut refused = |message: &Message, field, what| {
        refused_as(Promise::Options, adapter, message, field, what, findings);
    };
    refused(&unknown, Field::Option(""), "an option that is not declared");
    for field in adapter.capabilities().options.0 {
        let message = given(field.path, Value::Null);
        refused(&message, Field::Option(field.path), "an option that is null");
    }
}

fn refused(
    adapter: &dyn ChannelAdapter,
    message: &Message,
    field: Field,
    what: &str,
    findings: &mut Findings,
) {
    refused_as(Promise::Content(message.content.kind()), adapter, message, field, what, findings);
}

fn refused_as(
    promise: Promise,
    adapter: &dyn ChannelAdapter,
    message: &Message,
    field: Field,
    what: &str,
    findings: &mut Findings,
) {
    let violations = adapter.check(message, NOW);
    let named = violations.iter().any(|violation| violation.field == field);
    findings.check(promise, named, || {
        format!("{what} should be refused at {field}, and is: {}", list(&violations))
    });
}

fn with(message: &Message, content: Content) -> Message {
    Message { content, ..message.clone() }
}

fn plain(kind: ContentKind) -> Content {
    let media = Media { url: "https://example.com/a".to_owned(), caption: None };
    match kind {
        ContentKind::Text => Content::Text("text".to_owned()),
        ContentKind::Image => Content::Image(media),
        ContentKind::Audio => Content::Audio(media),
        ContentKind::Video => Content::Video(media),
        ContentKind::File => Content::File(media),
        ContentKind::Location => Content::Location {
            latitude: "51.5".to_owned(),
            longitude: "-0.1".to_owned(),
            name: None,
            address: None,
        },
        ContentKind::Template => {
            Content::Template { name: "template".to_owned(), parameters: Vec::new() }
        }
        ContentKind::Code => Content::Code { code: "123456".to_owned(), text: None },
        ContentKind::Custom => Content::Custom("{}".to_owned()),
    }
}

fn list(violations: &[Violation]) -> String {
    if violations.is_empty() {
        return "not at all".to_owned();
    }
    let each: Vec<_> = violations.iter().map(|v| format!("{} {}", v.field, v.problem)).collect();
    each.join("; ")
}
