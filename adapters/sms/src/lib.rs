//! SMS: plain text to a phone number.
//!
//! Receipts end at `delivered`: a phone does not tell that a text was read. Some carriers never
//! send one, so a rule that waits for `delivered` may fail over although the text arrived.

use dispatch_contract::{
    AddressForm, Capabilities, ContentKind, Correlation, Field, Limits, Message, Status, Violation,
};

mod adapter;
mod options;

pub use adapter::SmsAdapter;
pub use options::{SmsEncoding, SmsOptions};

/// GSM 03.38, beside ASCII letters and digits: the basic alphabet and its extension.
const GSM: &str =
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà\u{c}^{}\\[~]|€";

/// What SMS can do at most, through any provider; a provider may do less. Idempotence, correlation by our
/// id and recall are a provider's to promise, and are not among it.
pub fn capabilities() -> Capabilities {
    Capabilities {
        condition_statuses: vec![Status::Submitted, Status::Delivered],
        content: vec![ContentKind::Text, ContentKind::Code],
        captions: vec![],
        // 1,000 characters (Messages API v0.1 and v1) go out as up to 7 GSM or 15 UCS-2 segments.
        limits: Limits { text_chars: 1_000, caption_chars: 0, url_bytes: 0 },
        to: vec![AddressForm::E164],
        from: vec![AddressForm::E164, AddressForm::ShortCode, AddressForm::Alphanumeric],
        idempotent_for: None,
        correlation: Correlation::ProviderId,
        options: options::FORM,
        recall: false,
        parts: false,
        watermarks: false,
        ids_name_recipients: false,
    }
}

/// Adds what is wrong with a message beyond the capabilities: a text that cannot be encoded as it is asked
/// to be.
pub(crate) fn rules(message: &Message, found: &mut Vec<Violation>) {
    let Some(SmsOptions { encoding: Some(SmsEncoding::Text), .. }) = message.options.read() else {
        return;
    };
    let text = message.content.spoken().unwrap_or_default();
    if let Some(at) = text.chars().position(|c| !is_gsm(c)) {
        let problem = format!(
            "must be unicode or auto: character {} of the text is not in the GSM 7-bit alphabet",
            at + 1
        );
        found.push(Violation::new(Field::Option("encoding"), problem));
    }
}

fn is_gsm(c: char) -> bool {
    c.is_ascii_alphanumeric() || GSM.contains(c)
}
