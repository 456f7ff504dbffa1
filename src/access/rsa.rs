//! Key pairs of applications: RSA, as the old clients sign with.
//!
//! A public key is kept, as PEM; a private one is handed out once and forgotten. Nothing is signed or
//! verified here.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeySize, PrivateDecryptingKey, PublicEncryptingKey},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use dispatch_contract::Secret;

use super::VaultError;

/// The largest key taken, in bits: what the verification of a token takes.
const BITS_MOST: usize = 8192;
/// The longest PEM looked at, in bytes: a key of 8192 bits needs 1,400.
const PEM_BYTES: usize = 8 * 1024;
/// How long a line of PEM is.
const LINE: usize = 64;

/// The public half of a key pair: RSA, 2048 to 8192 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(String);

/// A new key pair.
#[derive(Debug)]
pub struct KeyPair {
    /// What is kept.
    pub public: PublicKey,
    /// PKCS#8, PEM: whoever has it speaks for the application.
    pub private: Secret,
}

impl PublicKey {
    /// Reads PEM: `BEGIN PUBLIC KEY`, an RSA key.
    ///
    /// # Errors
    /// If it is none; the text says what would be right, and shows nothing of it.
    pub fn parse(pem: &str) -> Result<PublicKey, &'static str> {
        let wanted = "must be an RSA public key in PEM: -----BEGIN PUBLIC KEY-----, base64, -----END \
                      PUBLIC KEY-----";
        if pem.contains("PRIVATE KEY-----") {
            return Err("is a private key, which stays with you; give its public half: \
                        `openssl pkey -in private.key -pubout`");
        }
        if pem.contains("BEGIN RSA PUBLIC KEY") {
            return Err("is in the older form RSA PUBLIC KEY; convert it: `openssl rsa \
                        -RSAPublicKey_in -in public.key -pubout`");
        }
        if pem.contains("BEGIN CERTIFICATE") {
            return Err(
                "is a certificate; give its public key: `openssl x509 -in cert.pem -pubkey \
                        -noout`",
            );
        }
        if pem.len() > PEM_BYTES {
            return Err(wanted);
        }
        let text = pem
            .trim()
            .strip_prefix("-----BEGIN PUBLIC KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
            .ok_or(wanted)?;
        let text: String = text.split_whitespace().collect();
        let der = BASE64_STANDARD.decode(text).map_err(|_| wanted)?;
        let key = PublicEncryptingKey::from_der(&der)
            .map_err(|_| "must be an RSA public key of 2048 to 8192 bits")?;
        if key.key_size_bits() > BITS_MOST {
            return Err("must be an RSA public key of 2048 to 8192 bits");
        }
        Ok(PublicKey(armoured("PUBLIC KEY", &der)))
    }

    /// As PEM.
    pub fn as_pem(&self) -> &str {
        &self.0
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.0
    }
}

impl KeyPair {
    /// Makes one of 2048 bits; takes about a tenth of a second.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn generate() -> Result<KeyPair, VaultError> {
        let key =
            PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(|_| VaultError::Failed)?;
        let private: Pkcs8V1Der<'_> = key.as_der().map_err(|_| VaultError::Failed)?;
        let public: PublicKeyX509Der<'_> =
            key.public_key().as_der().map_err(|_| VaultError::Failed)?;
        Ok(KeyPair {
            public: PublicKey(armoured("PUBLIC KEY", public.as_ref())),
            private: Secret::new(armoured("PRIVATE KEY", private.as_ref())),
        })
    }
}

/// Whether a private key, PKCS#8 in PEM, is the other half of a public one.
pub(super) fn belongs(private: &Secret, public_pem: &str) -> bool {
    let text = private.expose().trim();
    let text = text
        .strip_prefix("-----BEGIN PRIVATE KEY-----")
        .and_then(|rest| rest.strip_suffix("-----END PRIVATE KEY-----"));
    let text: String = text.unwrap_or_default().split_whitespace().collect();
    let der = BASE64_STANDARD.decode(text).unwrap_or_default();
    let public = PrivateDecryptingKey::from_pkcs8(&der)
        .ok()
        .and_then(|key| -> Option<PublicKeyX509Der<'_>> { key.public_key().as_der().ok() });
    public.is_some_and(|der| armoured("PUBLIC KEY", der.as_ref()) == public_pem)
}

fn armoured(what: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {what}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str(&format!("-----END {what}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_halves_of_a_new_pair_belong_together() {
        let pair = KeyPair::generate().unwrap();
        assert_eq!(PublicKey::parse(pair.public.as_pem()), Ok(pair.public.clone()));
        assert!(belongs(&pair.private, pair.public.as_pem()));
        let other = KeyPair::generate().unwrap();
        for stranger in [other.private.expose(), pair.public.as_pem(), "", "private"] {
            assert!(!belongs(&Secret::new(stranger), pair.public.as_pem()));
        }
        let claims = serde_json::json!({ "iat": 1 });
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(pair.private.expose().as_bytes());
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
        let token = jsonwebtoken::encode(&header, &claims, &key.unwrap()).unwrap();
        let key = jsonwebtoken::DecodingKey::from_rsa_pem(pair.public.as_pem().as_bytes());
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        let read = jsonwebtoken::decode::<serde_json::Value>(&token, &key.unwrap(), &rules);
        assert_eq!(read.unwrap().claims, claims);
    }

    #[test]
    fn a_key_on_one_line_or_with_carriage_returns_is_the_same_key() {
        let pair = KeyPair::generate().unwrap();
        let pem = pair.public.as_pem();
        for odd in [pem.replace('\n', "\r\n"), pem.replace('\n', " "), format!("\n\n{pem}\n")] {
            assert_eq!(PublicKey::parse(&odd), Ok(pair.public.clone()));
        }
    }

    #[test]
    fn every_refusal_says_what_would_be_right() {
        let pair = KeyPair::generate().unwrap();
        let public = pair.public.as_pem();
        let ec = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\nq9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n-----END PUBLIC KEY-----";
        let cases = [
            ("", "in PEM"),
            ("hello", "in PEM"),
            (pair.private.expose(), "openssl pkey"),
            (&public.replace("BEGIN PUBLIC", "BEGIN RSA PUBLIC"), "RSAPublicKey_in"),
            ("-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----", "openssl x509"),
            (&public.replace("-----END PUBLIC KEY-----", ""), "in PEM"),
            (&public.replacen("MII", "M!!", 1), "in PEM"),
            (&public.replacen("MIIB", "MIIC", 1), "2048 to 8192"),
            (ec, "RSA public key of 2048"),
            (&"A".repeat(10_000), "in PEM"),
        ];
        for (pem, part) in cases {
            let told = PublicKey::parse(pem).unwrap_err();
            assert!(told.contains(part), "{pem}: {told}");
        }
    }
}
