//! What an application's token claims.

use serde::Deserialize;
use uuid::Uuid;

/// What a token claims. Times are seconds of the Unix epoch; some clients write fractions.
#[derive(Deserialize)]
pub(super) struct AccessTokenClaims {
    pub(super) application_id: Uuid,
    pub(super) iat: f64,
    pub(super) exp: Option<f64>,
    pub(super) nbf: Option<f64>,
    pub(super) jti: Option<String>,
}

/// The application that a token names, unproved.
pub(super) fn claimed(token: &str) -> Option<Uuid> {
    let claims = jsonwebtoken::dangerous::insecure_decode_claims::<AccessTokenClaims>(token);
    Some(claims.ok()?.application_id)
}
