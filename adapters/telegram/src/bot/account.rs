//! What a bot's account has to hold, and what is read from it.

use dispatch_contract::{Account, Setting, SettingRule, SettingsForm};
use dispatch_kit::codes::{self, CODES};

const DEFAULT_BASE_URL: &str = "https://api.telegram.org";
/// The longest secret token that Telegram takes.
const SECRET_BYTES: usize = 256;
/// The ports that Telegram posts to.
const PORTS: [u16; 4] = [443, 80, 88, 8443];

/// The form, as people read it.
pub(super) const FORM: SettingsForm = SettingsForm(&[
    Setting::secret("bot_token", "the bot's token, as BotFather gave it").required().of(
        SettingRule::Custom { wanted: "a bot's token, such as 123456789:AA…", admits: is_token },
    ),
    Setting::secret(
        "secret_token",
        "what Telegram shows with every update that it posts, made up by you; without it no update is taken, and what \
         people write to the bot is not heard",
    )
    .of(SettingRule::Custom {
        wanted: "1 to 256 of A-Z, a-z, 0-9, _ and -",
        admits: is_secret,
    }),
    Setting::plain(
        "sender",
        "what messages name the bot by, as their sender: who writes to the bot writes to that sender, and no message \
         under another name is sent; needed with secret_token",
    ),
    Setting::plain(
        "webhook",
        "who tells Telegram where updates go, where there is a secret_token: set, this service does, once it runs; own, \
         you do",
    )
    .or("set")
    .of(SettingRule::OneOf(&["set", "own"])),
    CODES,
    Setting::plain("base_url", "where the API is").or(DEFAULT_BASE_URL).of(SettingRule::Url),
]);

/// What is wrong with an account that fits the form.
pub(super) fn problems(account: &Account) -> Vec<String> {
    let is_code = |text: &str| text.len() == 3 && text.starts_with('4');
    let wanted = "an error code of the Bot API's, such as 403";
    let mut problems = codes::problems(account, is_code, wanted);
    if account.secret("secret_token").is_some() && sender(account).is_none() {
        problems.push(
            "setting sender is missing: updates do not say which bot they are for, so with secret_token it must be what \
             messages name the bot by"
                .to_owned(),
        );
    }
    problems
}

/// What keeps updates from coming to `url`, with what to set.
pub(super) fn callback_problem(account: &Account, url: Option<&str>) -> Option<String> {
    secret_token(account).filter(|_| is_set_by_us(account))?;
    let Some(url) = url else {
        return Some(
            "listen.public_url is empty, so Telegram cannot be told where to post what people write to the bot: nobody \
             is heard, and no message will count as replied; set it to the address at which Telegram reaches this \
             service, or leave secret_token out"
                .to_owned(),
        );
    };
    // A server that stands in for Telegram takes any.
    let is_telegram_s_own = base_url(account).starts_with("https");
    (is_telegram_s_own && !is_reached(url)).then(|| {
        "listen.public_url must be an https address, on port 443, 80, 88 or 8443: Telegram posts updates to no other; set \
         it to one"
            .to_owned()
    })
}

fn is_reached(url: &str) -> bool {
    let Some((host, _)) =
        url.strip_prefix("https://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))
    else {
        return false;
    };
    let after_address = host.rsplit_once(']').map_or(host, |(_, port)| port);
    let port = after_address.rsplit_once(':').map_or(Ok(443), |(_, port)| port.parse());
    port.is_ok_and(|port| PORTS.contains(&port))
}

/// Whether this service tells Telegram where updates go.
pub(super) fn is_set_by_us(account: &Account) -> bool {
    account.setting("webhook") != Some("own")
}

/// What messages name the bot by.
pub(super) fn sender(account: &Account) -> Option<&str> {
    account.setting("sender")
}

/// What Telegram shows with every update. An empty one would let anyone in.
pub(super) fn secret_token(account: &Account) -> Option<&str> {
    account.secret("secret_token").filter(|token| is_secret(token))
}

/// The bot's own id: its token begins with that.
pub(super) fn bot_id(account: &Account) -> Option<&str> {
    let token = account.secret("bot_token").filter(|token| is_token(token))?;
    token.split_once(':').map(|(bot, _)| bot)
}

/// Where a method is called: the token stands in the path. `None` without one.
pub(super) fn url(account: &Account, method: &str) -> Option<String> {
    let token = account.secret("bot_token").filter(|token| is_token(token))?;
    Some(format!("{}/bot{token}/{method}", base_url(account)))
}

fn base_url(account: &Account) -> &str {
    let base = account.setting("base_url").unwrap_or(DEFAULT_BASE_URL);
    base.trim().trim_end_matches('/')
}

/// `123456789:AA…`: what may stand in a path.
fn is_token(text: &str) -> bool {
    text.split_once(':').is_some_and(|(bot, secret)| {
        (1..=20).contains(&bot.len())
            && bot.bytes().all(|byte| byte.is_ascii_digit())
            && (1..=128).contains(&secret.len())
            && secret.bytes().all(is_known)
    })
}

fn is_secret(text: &str) -> bool {
    (1..=SECRET_BYTES).contains(&text.len()) && text.bytes().all(is_known)
}

fn is_known(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}
