//! Tokens of applications: JWTs, signed with the application's private key.
//!
//! The algorithm is RS256 and nothing else, whatever the token says: it is neither `none` nor an HMAC
//! whose secret would be the public key. The key is that of the application the token names; no header
//! of the token may bring or choose another.

use std::sync::Arc;

use dispatch_contract::UnixMillis;
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Caller, Denied, TokenRules,
    claims::{AccessTokenClaims, claimed},
    key_cache::{KeyCache, KeyCacheEntry},
    replay::UsedTokenStore,
    verified::{TokenDigest, VerifiedTokens},
};
use crate::{
    current::Current,
    store::{Settings, StoreError},
};

/// How long a token without an end of its own lives after it was made, in seconds: the old API's rule,
/// and the old clients set none.
const LIFE_S: f64 = 900.0;
/// The longest life of a token, in seconds.
const LIFE_MOST_S: f64 = 86_400.0;
/// One sentence for all of it: who tries tokens does not learn which part of one was wrong.
pub(super) const WRONG: &str = "the token is not a valid one of an application: it must be a JWT signed with RS256 \
                     by the private key of the application that its claim application_id names, with \
                     the claim iat";
/// Said only of a token whose signature fits.
const EXPIRED: &str = "the token has expired; make a new one, and see that the clock is right";
const NOT_YET: &str = "the token is not valid yet; see that the clock it was made by is right";
const TOO_LONG: &str = "the token would be valid for more than 24 hours after its claim iat; make one \
                        with an earlier exp";
pub(super) const NO_JTI: &str = "the token needs a claim jti: this service takes each token once";
pub(super) const USED: &str =
    "the token was used before, and this service takes each once; make a new one";

/// Verifies tokens: signature, times and single use.
pub(super) struct TokenVerifier {
    rules: Current<TokenRules>,
    validation: Validation,
    key_cache: KeyCache,
    replays: UsedTokenStore,
    verified: VerifiedTokens,
}

/// The header of a token, as far as it decides anything.
#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

impl TokenVerifier {
    pub(super) fn new(rules: TokenRules) -> Self {
        let mut validation = Validation::new(Algorithm::RS256);
        // Times are judged below, by the clock that is handed in.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        // The old clients set no audience, and where one is set it says nothing to us.
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let (key_cache, replays, verified) =
            (KeyCache::default(), UsedTokenStore::default(), VerifiedTokens::default());
        TokenVerifier { rules: Current::new(rules), validation, key_cache, replays, verified }
    }

    /// Judges by other rules from now on.
    pub(super) fn reload(&self, rules: TokenRules) {
        self.rules.set(rules);
    }

    /// Whom a token speaks for.
    pub(super) fn caller(
        &self,
        settings: &dyn Settings,
        token: &str,
        now: UnixMillis,
    ) -> Result<Caller, Denied> {
        let digest = TokenDigest::of(token);
        if let Some((entry, claims)) = self.verified.get(&digest)
            && self.is_current(settings, &entry, &claims)?
        {
            self.judge(settings, &claims, now)?;
            return Ok(entry.caller.clone());
        }
        let (entry, claims) = self.verify(settings, token)?;
        let claims = Arc::new(claims);
        self.verified.put(digest, Arc::clone(&entry), Arc::clone(&claims));
        self.judge(settings, &claims, now)?;
        Ok(entry.caller.clone())
    }

    /// How many keys are cached, and how many tokens whose signature fitted.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.key_cache.len(), self.verified.len())
    }

    /// What is kept of used tokens.
    pub(super) fn replays(&self) -> &UsedTokenStore {
        &self.replays
    }

    /// Checks the signature of a token.
    fn verify(
        &self,
        settings: &dyn Settings,
        token: &str,
    ) -> Result<(Arc<KeyCacheEntry>, AccessTokenClaims), Denied> {
        let wrong = Denied::Invalid(WRONG);
        let head = head(token).ok_or_else(|| wrong.clone())?;
        if head.alg != "RS256" || head.crit.is_some() {
            return Err(wrong);
        }
        let application_id = claimed(token).ok_or_else(|| wrong.clone())?;
        if head.kid.is_some_and(|kid| Uuid::parse_str(&kid) != Ok(application_id)) {
            return Err(wrong);
        }
        let entry =
            self.key_cache.get(settings, application_id).map_err(|error| unreadable(&error))?;
        let entry = entry.ok_or_else(|| wrong.clone())?;
        let Some(key) = &entry.key else { return Err(wrong) };
        let read = jsonwebtoken::decode::<AccessTokenClaims>(token, key, &self.validation);
        let Ok(read) = read else { return Err(wrong) };
        Ok((entry, read.claims))
    }

    /// Whether an application is the same as when a token was checked against it.
    fn is_current(
        &self,
        settings: &dyn Settings,
        then: &Arc<KeyCacheEntry>,
        claims: &AccessTokenClaims,
    ) -> Result<bool, Denied> {
        let now = self
            .key_cache
            .get(settings, claims.application_id)
            .map_err(|error| unreadable(&error))?;
        Ok(now.is_some_and(|now| Arc::ptr_eq(&now, then)))
    }

    /// Whether an application is still there, and still that tenant's.
    pub(super) fn still_authorized(
        &self,
        settings: &dyn Settings,
        id: Uuid,
        tenant: &str,
    ) -> Result<(), Denied> {
        match self.key_cache.get(settings, id).map_err(|error| unreadable(&error))? {
            Some(entry) if entry.key.is_some() && *entry.caller.tenant == *tenant => Ok(()),
            Some(_) | None => Err(Denied::Invalid(WRONG)),
        }
    }

    /// Judges the claims of a token whose signature fits.
    fn judge(
        &self,
        settings: &dyn Settings,
        claims: &AccessTokenClaims,
        now: UnixMillis,
    ) -> Result<(), Denied> {
        let (now_s, tolerance_s) = (now.0 as f64 / 1000.0, self.rules.get().tolerance_s as f64);
        let AccessTokenClaims { iat, exp, nbf, .. } = *claims;
        let end = exp.unwrap_or(iat + LIFE_S);
        if now_s >= end + tolerance_s {
            return Err(Denied::Invalid(EXPIRED));
        }
        if iat.max(nbf.unwrap_or(iat)) > now_s + tolerance_s {
            return Err(Denied::Invalid(NOT_YET));
        }
        if end > iat + LIFE_MOST_S {
            return Err(Denied::Invalid(TOO_LONG));
        }
        if !self.rules.get().is_once {
            return Ok(());
        }
        let jti = claims.jti.as_deref().filter(|jti| !jti.is_empty());
        let jti = jti.ok_or(Denied::Invalid(NO_JTI))?;
        let until_s = (end + tolerance_s).ceil() as u64;
        let (id, now_s) = (claims.application_id, now.0 / 1000);
        let is_new = self.replays.is_new(settings, id, jti, until_s, now_s);
        match is_new.map_err(|error| unreadable(&error))? {
            Some(true) => Ok(()),
            Some(false) => Err(Denied::Invalid(USED)),
            // Not one is forgotten before its end: rather none is taken for a while.
            None => Err(Denied::TooMany { retry_after_ms: 60_000 }),
        }
    }
}

/// Whether a token was refused for what it says, and not for its signature: then its holder has the key.
pub(super) fn is_of_its_own(why: &str) -> bool {
    [EXPIRED, NOT_YET, TOO_LONG, NO_JTI, USED].contains(&why)
}

/// Answered as "later", because it says nothing about the caller.
pub(super) fn unreadable(error: &StoreError) -> Denied {
    tracing::error!(%error, "keys and applications cannot be read; nobody is let in");
    Denied::TooMany { retry_after_ms: 1000 }
}

fn head(token: &str) -> Option<TokenHeader> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut parts = token.split('.');
    let head = parts.next()?;
    if parts.count() != 2 {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).ok()?).ok()
}

/// Makes a token for an application, valid from `now` for `life_s` seconds.
///
/// # Errors
/// If `private_key` is no RSA private key in PEM form. The sentence does not show it.
pub fn token(
    application: Uuid,
    private_key: &str,
    life_s: u64,
    now: UnixMillis,
) -> Result<String, &'static str> {
    #[derive(Serialize)]
    struct IssuedTokenClaims {
        application_id: Uuid,
        iat: u64,
        exp: u64,
        jti: Uuid,
    }
    let wrong = |_| "the private key must be an RSA key in PEM form, line breaks included";
    let key = EncodingKey::from_rsa_pem(private_key.as_bytes()).map_err(wrong)?;
    let iat = now.0 / 1000;
    let exp = iat.saturating_add(life_s);
    let claims = IssuedTokenClaims { application_id: application, iat, exp, jti: Uuid::new_v4() };
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).map_err(wrong)
}
