use dispatch_contract::{Channel, ChannelAdapter, ContentKind, Field, Options, UnixMillis};
use dispatch_kit::{
    conformance::{ConformanceSubject, assert_conforms},
    golden::{GoldenMessage, assert_golden},
};

use super::*;
use crate::MetaSubject;

fn subject() -> MetaSubject {
    MetaSubject::usual(&Channel::MESSENGER).expect("one of Meta's")
}

fn sample(kind: ContentKind) -> Message {
    subject().sample(kind).expect("a sample")
}

fn under(category: MessengerCategory, tag: Option<&str>) -> Message {
    let options = MessengerOptions { category: Some(category), tag: tag.map(str::to_owned) };
    Message { options: Options::of(&options), ..sample(ContentKind::Text) }
}

fn fields(message: &Message) -> Vec<Field> {
    // 2027-01-15, when the old tags are gone.
    let found = adapter(&Arc::default()).check(message, UnixMillis(1_800_000_000_000));
    found.into_iter().map(|it| it.field).collect()
}

#[tokio::test]
async fn it_keeps_what_it_declares() {
    assert_conforms(&subject()).await;
}

#[tokio::test]
async fn what_leaves_is_as_its_golden_file_has_it() {
    use ContentKind::{Audio, Code, File, Image, Text, Video};

    let usual = |name, kind| GoldenMessage::new(name, sample(kind));
    let messages = [
        usual("text", Text),
        usual("image", Image),
        usual("audio", Audio),
        usual("video", Video),
        usual("file", File),
        usual("code", Code),
        GoldenMessage::new("text-as-update", under(MessengerCategory::Update, None)),
        GoldenMessage::new(
            "text-of-a-human-agent",
            under(MessengerCategory::MessageTag, Some("HUMAN_AGENT")),
        ),
    ];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
    assert_golden(&subject(), folder, &["authorization", "content-type"], &messages).await;
}

#[test]
fn a_tag_that_is_gone_and_a_page_that_is_none_are_refused() {
    let tagged = |tag| under(MessengerCategory::MessageTag, Some(tag));
    assert_eq!(fields(&tagged("HUMAN_AGENT")), []);
    for gone in ["CONFIRMED_EVENT_UPDATE", "ACCOUNT_UPDATE", "POST_PURCHASE_UPDATE"] {
        assert_eq!(fields(&tagged(gone)), [Field::Option("tag")], "{gone}");
    }
    for page in ["me", "107083064136738/feed", ""] {
        let message = Message { from: Endpoint::Id(page.to_owned()), ..tagged("HUMAN_AGENT") };
        assert_eq!(fields(&message), [Field::From], "{page}");
    }
}
