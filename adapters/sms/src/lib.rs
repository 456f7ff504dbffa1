//! SMS: plain text to a phone number.
//!
//! Receipts end at `delivered`: a phone does not tell that a text was read. Some carriers never
//! send one, so a rule that waits for `delivered` may fail over although the text arrived.

use dispatch_contract::{
    AddressForm, Capabilities, Content, ContentKind, Correlation, Field, Limits, Message,
    SmsEncoding, Status, Violation,
};

mod adapter;

pub use adapter::SmsAdapter;

/// Seconds a carrier may be asked to try for; no carrier keeps a text for longer than a week.
const TTL_S: std::ops::RangeInclusive<u32> = 1..=604_800;
/// GSM 03.38, beside ASCII letters and digits: the basic alphabet and its extension.
const GSM: &str =
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà\u{c}^{}\\[~]|€";

/// What SMS can do at most, through any provider; a provider may do less. Idempotence, correlation by our
/// id and recall are a provider's to promise, and are not among it.
pub fn capabilities() -> Capabilities {
    Capabilities {
        condition_statuses: vec![Status::Submitted, Status::Delivered],
        content: vec![ContentKind::Text],
        captions: vec![],
        // 1,000 characters (Messages API v0.1 and v1) go out as up to 7 GSM or 15 UCS-2 segments.
        limits: Limits { text_chars: 1_000, caption_chars: 0, url_bytes: 0 },
        to: vec![AddressForm::E164],
        from: vec![AddressForm::E164, AddressForm::ShortCode, AddressForm::Alphanumeric],
        idempotent_for: None,
        correlation: Correlation::ProviderId,
        recall: false,
        batch: 1,
    }
}

/// Adds what is wrong with a message beyond the capabilities: the time to live, and a text that cannot
/// be encoded as it is asked to be.
pub(crate) fn rules(message: &Message, found: &mut Vec<Violation>) {
    let Some(options) = &message.options.sms else { return };
    if options.ttl_s.is_some_and(|ttl_s| !TTL_S.contains(&ttl_s)) {
        let problem = format!("must be {} to {} seconds", TTL_S.start(), TTL_S.end());
        found.push(Violation::new(Field::Options("sms.ttl"), problem));
    }
    if let (SmsEncoding::Text, Content::Text(text)) = (options.encoding, &message.content)
        && let Some(at) = text.chars().position(|c| !is_gsm(c))
    {
        let problem = format!(
            "must be unicode or auto: character {} of the text is not in the GSM 7-bit alphabet",
            at + 1
        );
        found.push(Violation::new(Field::Options("sms.encoding"), problem));
    }
}

fn is_gsm(c: char) -> bool {
    c.is_ascii_alphanumeric() || GSM.contains(c)
}
