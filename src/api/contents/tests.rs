use dispatch_contract::Channel;
use serde_json::json;

use super::*;
use crate::shared::plans;

fn caller(scopes: &[Scope]) -> Caller {
    Caller { scopes: scopes.to_vec(), ..Caller::anonymous() }
}

/// This said on each step, to one number.
fn saying(said: Vec<Content>) -> Contents {
    let plan = plans::plan(vec![plans::step(Channel::SMS, None); said.len()]);
    let mut contents = plans::request(plan, "").contents;
    for (step, content) in contents.steps.iter_mut().zip(said) {
        step.content = content;
    }
    contents
}

fn code(code: &str, text: Option<&str>) -> Content {
    Content::Code { code: code.to_owned(), text: text.map(str::to_owned) }
}

/// Everything that is shown of contents whose workflow has ended.
fn after_the_end(contents: Contents) -> Contents {
    match ShownContents::to(&caller(&Scope::ALL), contents, true) {
        ShownContents::Shown(contents) => contents,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_shows_its_ends_and_a_short_one_nothing() {
    let number = |text: &str| Showing::Masked.address(&Endpoint::Number(text.to_owned()));
    let id = |text: &str| Showing::Masked.address(&Endpoint::Id(text.to_owned()));
    assert_eq!(number("447700900001").value(), "44…001");
    assert_eq!(id("9123456780012345").value(), "9…45");
    assert_eq!(id("anna@example.org").value(), "a…rg");
    assert_eq!(id("Zoë-Ünïcödé").value(), "Z…dé");
    assert_eq!(number("4477009").value(), "44…009");
    for short in ["", "1", "447700"] {
        assert_eq!((number(short).value(), id(short).value()), ("…", "…"), "{short}");
    }
    let whole = Endpoint::Id("9123456780012345".to_owned());
    assert_eq!(Showing::Whole.address(&whole), whole);
}

#[test]
fn of_what_is_said_its_kind_and_length_are_told() {
    let media = |caption: Option<&str>| Media {
        url: "https://example.org/a.png".to_owned(),
        caption: caption.map(str::to_owned),
    };
    let place = Content::Location {
        latitude: "51.5".to_owned(),
        longitude: "0".to_owned(),
        name: Some("Pier".to_owned()),
        address: Some("Ürün".to_owned()),
    };
    let template = Content::Template {
        name: "hello".to_owned(),
        parameters: vec!["Ann".into(), "7pm".into()],
    };
    for (content, kind, wanted) in [
        (Content::Text("Zoë".to_owned()), ContentKind::Text, 3),
        (Content::Image(media(Some("look"))), ContentKind::Image, 4),
        (Content::File(media(None)), ContentKind::File, 0),
        (place, ContentKind::Location, 8),
        (template, ContentKind::Template, 6),
        (code("271828", Some("It is {code}.")), ContentKind::Code, 13),
        (code("271828", None), ContentKind::Code, 0),
        (Content::Custom("{}".to_owned()), ContentKind::Custom, 2),
    ] {
        let ShownContent::Masked(told) = Showing::Masked.content(&content) else {
            panic!("{kind}")
        };
        assert_eq!(told, ContentOutline { kind, characters: wanted });
        assert!(
            matches!(Showing::Whole.content(&content), ShownContent::Whole(it) if *it == content)
        );
    }
}

#[test]
fn no_scope_but_its_own_shows_contents() {
    for scope in Scope::ALL {
        let shown = ShownContents::to(&caller(&[scope]), saying(vec![code("271828", None)]), false);
        let is_shown = scope == Scope::Contents;
        assert_eq!(shown.state() == ContentsState::Shown, is_shown, "{scope:?}");
        match shown.step(0) {
            Some(ShownStep::Whole(_)) => assert!(is_shown, "{scope:?}"),
            Some(ShownStep::Masked(recipient, said)) => {
                assert!(!is_shown, "{scope:?}");
                assert_eq!(recipient.value(), "44…000");
                assert_eq!(said.kind, ContentKind::Code);
            }
            None => panic!("{scope:?}"),
        }
        assert!(shown.step(1).is_none());
    }
    for brought in [Scope::TENANT.as_slice(), &Scope::FIRST, &Scope::APPLICATION] {
        assert_eq!(Showing::to(&caller(brought)), Showing::Masked, "{brought:?}");
    }
    assert_eq!(Showing::to(&Caller::anonymous()), Showing::Whole, "what is simulated is shown");
}

#[test]
fn a_code_is_shown_to_nobody_once_its_workflow_has_ended() {
    let everywhere = || {
        let url = || "https://example.org/login?code=271828".to_owned();
        let mut contents = saying(vec![
            code("271828", Some("Your code is {code}, yes 271828.")),
            code("271828", None),
            Content::Text("271828 is your code".to_owned()),
            Content::Template { name: "otp".to_owned(), parameters: vec!["271828".to_owned()] },
            Content::Image(Media { url: url(), caption: Some("271828".to_owned()) }),
            Content::Custom(json!({ "a": ["271828"], "b": { "c": 271828 } }).to_string()),
            Content::Location {
                latitude: "51.5".to_owned(),
                longitude: "0".to_owned(),
                name: Some("271828".to_owned()),
                address: None,
            },
        ]);
        let Value::Object(options) = json!({ "action": { "url": url(), "text": "go" } }) else {
            panic!("an object")
        };
        contents.steps[2].options = Options::document(options);
        contents
    };
    let bytes = |contents: &Contents| postcard::to_stdvec(contents).unwrap();
    let holds = |bytes: &[u8]| bytes.windows(6).any(|part| part == b"271828");
    let shown = after_the_end(everywhere());
    assert!(holds(&bytes(&everywhere())) && !holds(&bytes(&shown)));
    assert_eq!(shown.steps[0].content, code("", Some("Your code is {code}, yes {code}.")));
    assert_eq!(shown.steps[1].content, code("", Some("{code}")));
    assert_eq!(shown.steps[2].content, Content::Text("{code} is your code".to_owned()));
    assert_eq!(shown.steps[2].options.to_document()["action"]["text"], "go");
    assert_eq!(shown.steps[0].recipient, everywhere().steps[0].recipient);

    // Until then it is.
    match ShownContents::to(&caller(&Scope::ALL), everywhere(), false) {
        ShownContents::Shown(contents) => assert_eq!(contents, everywhere()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_two_codes_the_longer_is_not_left_in_part_and_without_one_nothing_changes() {
    let two = saying(vec![
        code("1234", None),
        code("12345", None),
        Content::Text("12345, and 1234".to_owned()),
    ]);
    let said = after_the_end(two).steps.swap_remove(2).content;
    assert_eq!(said, Content::Text("{code}, and {code}".to_owned()));
    let none = || saying(vec![Content::Text("1234".to_owned())]);
    assert_eq!(after_the_end(none()), none());
}
