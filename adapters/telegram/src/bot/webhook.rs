//! Reads what Telegram posts: updates, each of which tells one thing that happened to the bot.
//!
//! A header shows the account's `secret_token`; nothing else says that it was Telegram, so without that secret nothing is
//! taken. What is genuine and not understood is answered 200, because a repeat would not be understood either.
//!
//! - A `message` of a person's is what they wrote; one that quotes a message of the bot's says which. A file comes as
//!   ids that only the bot's token fetches, so it is told in Telegram's words, and so is all else that is neither a text
//!   nor a place.
//! - A `callback_query` is a button that was tapped under a message, which it quotes. What stands in it was written by
//!   whoever made the button, so that it is no text of the person's. To answer it is the application's.
//! - In a group only what quotes a message of the bot's is taken, as the group's: messages name that as their recipient.
//!   All that is written in a topic "replies" to the note that somebody made it, which is no message.
//! - STOP and START, as words or as commands, are of persons. A group has many.
//! - An edit is no new message. That a person blocked the bot is told by `my_chat_member`, and is no word of theirs.
//!   Channels have no readers that one writes to, and what Telegram notes in a chat, as that somebody came, nobody wrote.
//!   All of them are understood, and say nothing here.

use dispatch_contract::{
    Account, ChannelSender, Content, Endpoint, Inbound, InboundMessage, OptOut, UnixMillis,
    WebhookOutcome, WebhookRequest,
};
use dispatch_kit::{
    inbound::{custom, payload, place, text, told, words},
    json::Json,
    opt_out::{self, Said},
    signature::{is_sha256_of, sha256_hex},
};
use serde_json::{Map, Value};

use super::{TELEGRAM_BOT, account, ids};

/// The header that shows the secret, in lower case.
pub(super) const SECRET_HEADER: &str = "x-telegram-bot-api-secret-token";
/// The updates that are read, and asked for.
pub(super) const UPDATES: [&str; 2] = ["message", "callback_query"];

/// What a message may hold beside a text and a place.
const IN_ITS_WORDS: [&str; 18] = [
    "animation",
    "audio",
    "document",
    "live_photo",
    "paid_media",
    "photo",
    "sticker",
    "story",
    "video",
    "video_note",
    "voice",
    "checklist",
    "contact",
    "dice",
    "poll",
    "web_app_data",
    "users_shared",
    "chat_shared",
];
/// What is told of a button.
const OF_A_BUTTON: [&str; 4] = ["id", "from", "data", "game_short_name"];

/// The bot that updates are for.
struct Bot<'a> {
    /// As messages name it.
    sender: ChannelSender,
    id: &'a str,
}

/// Where something was written.
struct Chat {
    id: String,
    kind: ChatKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ChatKind {
    /// A person's with the bot.
    Private,
    /// Of several people.
    Group,
    /// Of nobody who writes: a channel, and what there may be.
    Other,
}

/// Checks and reads one call of Telegram's.
pub(super) fn read(request: &WebhookRequest<'_>, account: &Account) -> WebhookOutcome {
    let bot = Bot::of(account).filter(|_| is_genuine(request, account));
    let Some(bot) = bot else { return WebhookOutcome::forged() };
    let mut inbound = Vec::new();
    let mut is_understood = false;
    for update in Json::items(request.body) {
        let read = bot.update(update);
        is_understood |= read.is_some();
        inbound.extend(read.into_iter().flatten());
    }
    match is_understood {
        true => WebhookOutcome::understood(inbound),
        false => WebhookOutcome::not_understood(),
    }
}

fn is_genuine(request: &WebhookRequest<'_>, account: &Account) -> bool {
    let shown = request.header(SECRET_HEADER);
    shown.zip(account::secret_token(account)).is_some_and(|(shown, known)| {
        // Hashed, so that what is compared is of one length and says nothing by the time it takes.
        is_sha256_of(shown.as_bytes(), &sha256_hex(known.as_bytes()))
    })
}

impl<'a> Bot<'a> {
    fn of(account: &'a Account) -> Option<Self> {
        let id = account::sender(account)?.to_owned();
        let sender = ChannelSender { channel: TELEGRAM_BOT.clone(), id };
        Some(Bot { sender, id: account::bot_id(account)? })
    }

    /// What an update tells, perhaps nothing for us; `None` if it is not understood.
    fn update(&self, update: Json<'_>) -> Option<Vec<Inbound>> {
        let message = update.read("message", |message| self.written(message));
        let told = message.or_else(|| update.read("callback_query", |query| self.tapped(query)));
        let is_other = UPDATES.iter().all(|name| update.read(name, Some).is_none());
        told.or_else(|| update.read("update_id", Json::number).filter(|_| is_other).map(|_| vec![]))
    }

    /// What a message says, and what it asks for.
    fn written(&self, message: Json<'_>) -> Option<Vec<Inbound>> {
        let (chat, id) = (Chat::of(message)?, ids::message(message)?);
        let quoted_id = message
            .read("reply_to_message", |quoted| ids::message(quoted).filter(|_| self.wrote(quoted)));
        let wish = message
            .read("text", |text| wish(&text.text()?))
            .filter(|_| chat.kind == ChatKind::Private);
        let opt_out = wish.map(|is_lifted| {
            Inbound::OptOut(OptOut {
                sender: self.sender.clone(),
                recipient: Endpoint::Id(chat.id.clone()),
                is_lifted,
            })
        });
        let provider_time = message.read("date", seconds);
        let said = self.heard(chat, id, content(message), quoted_id, provider_time);
        Some(said.into_iter().chain(opt_out).collect())
    }

    /// A button that was tapped.
    fn tapped(&self, query: Json<'_>) -> Option<Vec<Inbound>> {
        let id = format!("callback_query:{}", query.read("id", words)?);
        let under = query.read("message", |under| Some((Chat::of(under)?, ids::message(under)?)));
        // What was sent by way of the bot into a chat of others has no message.
        let Some((chat, quoted)) = under else { return Some(Vec::new()) };
        let button = told_of(query, &OF_A_BUTTON).map(|(name, value)| (name.to_owned(), value));
        let button: Map<_, _> = button.collect();
        let content = custom([("callback_query", Value::Object(button))]);
        let said = self.heard(chat, id, content.into_iter().collect(), Some(quoted), None);
        Some(said.into_iter().collect())
    }

    /// What a person said in a chat; in a group only if it quotes a message of the bot's.
    fn heard(
        &self,
        chat: Chat,
        id: String,
        content: Vec<Content>,
        quoted_id: Option<String>,
        provider_time: Option<UnixMillis>,
    ) -> Option<Inbound> {
        let is_heard = match chat.kind {
            ChatKind::Private => quoted_id.is_some() || !content.is_empty(),
            ChatKind::Group => quoted_id.is_some(),
            ChatKind::Other => false,
        };
        let said = InboundMessage {
            id,
            from: Endpoint::Id(chat.id),
            to: self.sender.clone(),
            content,
            quoted_id,
            quoted_attempt: None,
            provider_time,
        };
        told(said).filter(|_| is_heard).map(Inbound::Message)
    }

    fn wrote(&self, message: Json<'_>) -> bool {
        let author = message.read("from", |from| from.read("id", Json::scalar));
        let is_note = message.read("forum_topic_created", Some).is_some();
        author.is_some_and(|author| author == self.id) && !is_note
    }
}

impl Chat {
    /// Where a message is.
    fn of(message: Json<'_>) -> Option<Chat> {
        message.read("chat", |chat| {
            let kind = match &*chat.read("type", Json::text)? {
                "private" => ChatKind::Private,
                "group" | "supergroup" => ChatKind::Group,
                _ => ChatKind::Other,
            };
            Some(Chat { id: chat.read("id", ids::chat)?, kind })
        })
    }
}

/// What a message says, in its order: a caption stands below its file.
fn content(message: Json<'_>) -> Vec<Content> {
    let written = message.read("text", text);
    let in_its_words = custom(told_of(message, &IN_ITS_WORDS));
    let caption = message.read("caption", text);
    let venue = message.read("venue", |venue| {
        let named = |name| venue.read(name, words);
        venue.read("location", |at| location(at, named("title"), named("address")))
    });
    // A venue's place is told beside it once more.
    let place = venue.or_else(|| message.read("location", |at| location(at, None, None)));
    [written, in_its_words, caption, place].into_iter().flatten().collect()
}

fn location(at: Json<'_>, name: Option<String>, address: Option<String>) -> Option<Content> {
    let degrees = |name| at.read(name, Json::number);
    place(degrees("latitude")?, degrees("longitude")?, name, address)
}

/// Those of the fields that are there.
fn told_of<'a>(
    of: Json<'a>,
    names: &'a [&'static str],
) -> impl Iterator<Item = (&'static str, Value)> + 'a {
    names.iter().filter_map(move |name| Some((*name, of.read(name, payload)?)))
}

/// Whether a text is nothing but a word for it, or a command: `Some(false)` ends messages, `Some(true)` begins them again.
/// Whoever opens a bot sends `/start`, and behind it what stood in the link that they followed.
fn wish(text: &str) -> Option<bool> {
    let Some(command) = text.trim().strip_prefix('/') else {
        return opt_out::is_lifted_by(text, Said::Written);
    };
    let (command, behind) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let name = command.split_once('@').map_or(command, |(name, _)| name);
    match name.to_ascii_lowercase().as_str() {
        "stop" if behind.is_empty() => Some(false),
        "start" => Some(true),
        _ => None,
    }
}

/// Seconds since 1970. It decides nothing, so what cannot be read is left out.
fn seconds(value: Json<'_>) -> Option<UnixMillis> {
    let seconds: u64 = value.scalar()?.parse().ok()?;
    seconds.checked_mul(1_000).map(UnixMillis)
}

#[cfg(test)]
mod tests;
