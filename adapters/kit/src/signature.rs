//! Whether bytes were signed by who has the key: HMAC as providers write it, in a header or a URL.
//!
//! - A signature is compared as bytes, in constant time, whatever it was written in; what is not written so is
//!   no signature, and nothing here says why.
//! - Which bytes are signed (a body, a URL and a form) is each provider's own, and not known here. So is what
//!   stands before the signature (`sha256=`).
//! - SHA-1 is here for who signs by nothing better. As a key's hash (HMAC) it still holds; nothing else here
//!   may use it.

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
    hmac,
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// How a provider signs: HMAC with this hash, written so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureScheme {
    /// HMAC-SHA1, standard base64.
    Sha1Base64,
    /// HMAC-SHA256, standard base64.
    Sha256Base64,
    /// HMAC-SHA1, hexadecimal.
    Sha1Hex,
    /// HMAC-SHA256, hexadecimal.
    Sha256Hex,
}

impl SignatureScheme {
    /// Whether `signature` is that of `bytes` under `key`. An empty key signs nothing: anyone has it.
    pub fn is_genuine(self, key: &[u8], bytes: &[u8], signature: &str) -> bool {
        let Some(given) = self.decoded(signature) else { return false };
        !key.is_empty() && hmac::verify(&self.key(key), bytes, &given).is_ok()
    }

    /// The signature of `bytes` under `key`; hexadecimal digits in lower case.
    pub fn sign(self, key: &[u8], bytes: &[u8]) -> String {
        let tag = hmac::sign(&self.key(key), bytes);
        match self {
            SignatureScheme::Sha1Base64 | SignatureScheme::Sha256Base64 => STANDARD.encode(tag),
            SignatureScheme::Sha1Hex | SignatureScheme::Sha256Hex => to_hex(tag.as_ref()),
        }
    }

    fn key(self, key: &[u8]) -> hmac::Key {
        let algorithm = match self {
            SignatureScheme::Sha1Base64 | SignatureScheme::Sha1Hex => {
                hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY
            }
            SignatureScheme::Sha256Base64 | SignatureScheme::Sha256Hex => hmac::HMAC_SHA256,
        };
        hmac::Key::new(algorithm, key)
    }

    fn decoded(self, signature: &str) -> Option<Vec<u8>> {
        match self {
            SignatureScheme::Sha1Base64 | SignatureScheme::Sha256Base64 => {
                STANDARD.decode(signature).ok()
            }
            SignatureScheme::Sha1Hex | SignatureScheme::Sha256Hex => from_hex(signature),
        }
    }
}

/// Whether `claimed`, hexadecimal digits of either case, is the SHA-256 of `bytes`.
pub fn is_sha256_of(bytes: &[u8], claimed: &str) -> bool {
    let hash = digest(&SHA256, bytes);
    from_hex(claimed).is_some_and(|given| verify_slices_are_equal(hash.as_ref(), &given).is_ok())
}

/// The SHA-256 of `bytes`, in lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    to_hex(digest(&SHA256, bytes).as_ref())
}

/// The SHA-256 of `bytes`, 32 of them: a key, where a provider signs under the hash of a token.
pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const ALL: [SignatureScheme; 4] = [
        SignatureScheme::Sha1Base64,
        SignatureScheme::Sha256Base64,
        SignatureScheme::Sha1Hex,
        SignatureScheme::Sha256Hex,
    ];

    /// What other programs signed.
    fn vectors() -> Value {
        let text = include_str!("../tests/vectors/signatures.json");
        serde_json::from_str(text).expect("JSON")
    }

    fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
        vector[name].as_str().expect("a text")
    }

    #[test]
    fn a_raw_body_is_signed_as_others_sign_it() {
        let vectors = vectors();
        for vector in vectors["meta"].as_array().expect("vectors") {
            let (key, body) = (text(vector, "app_secret").as_bytes(), text(vector, "body"));
            let signature = text(vector, "header").strip_prefix("sha256=").expect("a prefix");
            let scheme = SignatureScheme::Sha256Hex;
            assert!(scheme.is_genuine(key, body.as_bytes(), signature), "{body}");
            assert!(scheme.is_genuine(key, body.as_bytes(), &signature.to_uppercase()), "{body}");
            assert_eq!(scheme.sign(key, body.as_bytes()), signature);
        }
        for vector in vectors["appsecret_proof"].as_array().expect("vectors") {
            let (key, token) = (text(vector, "app_secret"), text(vector, "access_token"));
            let proof = SignatureScheme::Sha256Hex.sign(key.as_bytes(), token.as_bytes());
            assert_eq!(proof, text(vector, "proof"));
        }
    }

    #[test]
    fn a_url_and_its_sorted_form_are_signed_as_others_sign_them() {
        let vectors = vectors();
        let vectors = vectors["twilio"].as_array().expect("vectors");
        assert!(vectors.len() >= 3);
        for vector in vectors {
            // A document's keys are sorted here, as who signs sorts them.
            let params = vector["params"].as_object().expect("an object");
            let form: String = params
                .iter()
                .map(|(name, value)| name.clone() + value.as_str().expect("text"))
                .collect();
            let signed = format!("{}{form}", text(vector, "url"));
            let (key, signature) = (text(vector, "auth_token"), text(vector, "signature"));
            let scheme = SignatureScheme::Sha1Base64;
            assert!(scheme.is_genuine(key.as_bytes(), signed.as_bytes(), signature), "{vector}");
            assert_eq!(scheme.sign(key.as_bytes(), signed.as_bytes()), signature);
        }
    }

    #[test]
    fn another_key_other_bytes_and_another_scheme_are_not_genuine() {
        for scheme in ALL {
            let signature = scheme.sign(b"key", b"bytes");
            assert!(scheme.is_genuine(b"key", b"bytes", &signature));
            assert!(!scheme.is_genuine(b"another", b"bytes", &signature), "{scheme:?}");
            assert!(!scheme.is_genuine(b"key", b"byte", &signature), "{scheme:?}");
            for other in ALL.into_iter().filter(|other| *other != scheme) {
                assert!(!other.is_genuine(b"key", b"bytes", &signature), "{scheme:?} {other:?}");
            }
        }
    }

    #[test]
    fn what_is_no_signature_or_only_its_beginning_is_not_genuine() {
        for scheme in ALL {
            let signature = scheme.sign(b"key", b"bytes");
            let (half, _) = signature.split_at(signature.len() / 2);
            let blank = format!("{signature} ");
            for wrong in ["", " ", "0", "zz", "ä", "====", half, &blank, &signature.repeat(2)] {
                assert!(!scheme.is_genuine(b"key", b"bytes", wrong), "{scheme:?} {wrong:?}");
            }
        }
    }

    #[test]
    fn an_empty_key_signs_nothing() {
        for scheme in ALL {
            assert!(!scheme.is_genuine(b"", b"bytes", &scheme.sign(b"", b"bytes")));
        }
    }

    #[test]
    fn a_hash_is_lower_case_hex_sha_256_and_taken_in_either_case() {
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), hash);
        assert_eq!(to_hex(&sha256(b"abc")), hash);
        assert!(is_sha256_of(b"abc", hash) && is_sha256_of(b"abc", &hash.to_uppercase()));
        for wrong in ["", "00", &hash[1..], &hash[2..], &format!("{hash}00"), "+a"] {
            assert!(!is_sha256_of(b"abc", wrong), "{wrong}");
        }
    }
}
