//! Every bad credential by name, and what is told to whoever brings it.

use std::{sync::Arc, time::Instant};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{
    Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD,
};
use dispatch_contract::{Secret, UnixMillis};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::store::{MemoryStore, SettingChange, Store, encode};

const PRIVATE: &str = include_str!("../../adapters/sandbox/tests/sandbox/http/private_key.pem");
const PUBLIC: &str = include_str!("../../adapters/sandbox/tests/sandbox/http/public_key.pem");
const NOW_S: u64 = 1_800_000_000;
const NOW: UnixMillis = UnixMillis(NOW_S * 1000);
const APP: Uuid = Uuid::from_u128(0xaaaa_aaaa_aaaa_4aaa_8aaa_aaaa_aaaa_aaaa);

/// A service with a key, an application, and what opens both.
struct House {
    settings: Arc<dyn Settings>,
    access: Access,
    key: KeyId,
    secret: Secret,
}

fn house(rules: TokenRules) -> House {
    let settings = MemoryStore::new().settings();
    let options = AccessOptions { tokens: rules, ..AccessOptions::default() };
    let access = Access::with(Arc::clone(&settings), options);
    let (view, secret) =
        access.create_key(&Caller::anonymous(), new("", &Scope::ALL), NOW).unwrap();
    put(&settings, &application("acme", PUBLIC));
    House { settings, access, key: view.id, secret }
}

fn new(tenant: &str, scopes: &[Scope]) -> NewKey {
    NewKey::parse(tenant, "a test's", scopes.iter().map(|scope| scope.as_str())).unwrap()
}

fn application(tenant: &str, public_key: &str) -> Application {
    Application {
        id: APP,
        tenant: tenant.to_owned(),
        name: "an application".to_owned(),
        public_key: Some(public_key.to_owned()),
        messages: None,
        other_capabilities: String::new(),
        improve_ai: false,
        create_time_ms: 0,
    }
}

fn put(settings: &Arc<dyn Settings>, application: &Application) {
    let row = encode(application).unwrap();
    let key = application.id.as_bytes().as_slice();
    settings.write(vec![SettingChange::put(Kind::Application, key, row)]).unwrap();
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn claims() -> Value {
    json!({"application_id": APP, "iat": NOW_S, "jti": Uuid::new_v4()})
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn signed(claims: &Value) -> String {
    signed_by(PRIVATE, &Header::new(Algorithm::RS256), claims)
}

fn signed_by(private: &str, header: &Header, claims: &Value) -> String {
    let key = EncodingKey::from_rsa_pem(private.as_bytes()).unwrap();
    format!("Bearer {}", jsonwebtoken::encode(header, claims, &key).unwrap())
}

/// A token whose header and signature are made by hand.
fn forged(header: &Value, signature: impl FnOnce(&str) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(&claims()));
    let signature = URL_SAFE_NO_PAD.encode(signature(&message));
    format!("Bearer {message}.{signature}")
}

fn hmac(secret: &str, message: &str) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    aws_lc_rs::hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
}

fn another_pair() -> KeyPair {
    KeyPair::generate(KeySize::Rsa2048).unwrap()
}

fn private_pem(pair: &KeyPair) -> String {
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    pem("PRIVATE KEY", der.as_ref())
}

fn public_pem(pair: &KeyPair) -> String {
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    pem("PUBLIC KEY", der.as_ref())
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n")
}

#[test]
fn every_bad_credential_is_refused_and_none_learns_which_part_was_wrong() {
    let House { access, key, secret, settings } = &house(TokenRules::default());
    let (id, right) = (key.as_str(), secret.expose());
    let rs256 = Header::new(Algorithm::RS256);
    let other = private_pem(&another_pair());
    let headed = |change: fn(&mut Header)| {
        let mut header = rs256.clone();
        change(&mut header);
        signed_by(PRIVATE, &header, &claims())
    };
    let good = signed(&claims());
    let (_, token) = good.split_once(' ').unwrap();
    let flipped = {
        let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
        parts[1] = URL_SAFE_NO_PAD.encode(with("sub", "more").to_string());
        format!("Bearer {}", parts.join("."))
    };
    let cases = [
        ("an unknown key", basic("00000000", right)),
        ("a wrong secret", basic(id, "wrong")),
        ("an empty secret", basic(id, "")),
        ("a secret and more", basic(id, &format!("{right}x"))),
        ("the secret's hash", basic(id, &format!("{:?}", secret::SecretHash::of(secret.expose())))),
        ("an empty key", basic("", right)),
        ("a key of odd letters", basic("../../a", right)),
        ("a key with a line break", basic(&format!("{id}\r\nx: y"), right)),
        ("a key in capitals", basic(&id.to_uppercase().replace(char::is_numeric, "F"), right)),
        ("no colon", format!("Basic {}", STANDARD.encode(id))),
        ("no base64", "Basic ;;;".to_owned()),
        ("no text", format!("Basic {}", STANDARD.encode([0xff, 0xfe]))),
        ("no scheme", right.to_owned()),
        ("an unknown scheme", format!("Digest {right}")),
        ("nothing", String::new()),
        ("only a scheme", "Bearer".to_owned()),
        ("a header that is too long", format!("Bearer {}", "a".repeat(9000))),
        ("a token of nothing", "Bearer ..".to_owned()),
        ("a token of two parts", "Bearer a.b".to_owned()),
        ("a token of four parts", format!("{good}.x")),
        ("a token and more", format!("{good} {good}")),
        ("a token as a secret", basic(id, token)),
        ("alg none", forged(&json!({"alg": "none"}), |_| Vec::new())),
        ("alg None", forged(&json!({"alg": "None", "typ": "JWT"}), |_| Vec::new())),
        ("no alg", forged(&json!({"typ": "JWT"}), |_| Vec::new())),
        ("alg none with a signature", forged(&json!({"alg": "none"}), |it| hmac(PUBLIC, it))),
        ("HS256 with the public key", forged(&json!({"alg": "HS256"}), |it| hmac(PUBLIC, it))),
        ("RS256 with an HMAC", forged(&json!({"alg": "RS256"}), |it| hmac(PUBLIC, it))),
        ("no signature", forged(&json!({"alg": "RS256"}), |_| Vec::new())),
        ("another's private key", signed_by(&other, &rs256, &claims())),
        ("RS384", signed_by(PRIVATE, &Header::new(Algorithm::RS384), &claims())),
        ("PS256", signed_by(PRIVATE, &Header::new(Algorithm::PS256), &claims())),
        ("a kid of another", headed(|it| it.kid = Some(Uuid::nil().to_string()))),
        ("a kid that is a path", headed(|it| it.kid = Some("../../dev/null".to_owned()))),
        ("a critical header", headed(|it| it.crit = Some(vec!["b64".to_owned()]))),
        ("claims that were changed", flipped),
        ("an unknown application", signed(&with("application_id", Uuid::nil().to_string()))),
        ("an application that is a text", signed(&with("application_id", "acme"))),
        ("no application", signed(&without("application_id"))),
        ("no iat", signed(&without("iat"))),
        ("an iat that is a text", signed(&with("iat", NOW_S.to_string()))),
        ("an iat of the far future", signed(&with("iat", NOW_S + 61))),
        ("an iat of the far past", signed(&with("iat", NOW_S - 961))),
        ("expired", signed(&with("exp", NOW_S - 60))),
        ("an exp that is a text", signed(&with("exp", "never"))),
        ("an exp that never comes", signed(&with("exp", 1e300))),
        ("valid for more than a day", signed(&with("exp", NOW_S + 86_401))),
        ("not yet valid", signed(&with("nbf", NOW_S + 61))),
    ];
    let before = settings.list(Kind::Key, None, 10).unwrap();
    for (name, header) in &cases {
        let denied = access.authenticate(Some(header), NOW).expect_err(name);
        let Denied::Invalid(told) = &denied else { panic!("{name}: {denied:?}") };
        assert!(
            !told.contains(right) && !told.contains(id) && !told.contains("acme"),
            "{name}: {told}"
        );
    }
    assert_eq!(access.authenticate(None, NOW), Err(Denied::Missing));
    // What is told of a key that is there, of one that is not, and of an application, is the same.
    let told = |name: &str| {
        let (_, header) = cases.iter().find(|(of, _)| *of == name).unwrap();
        access.authenticate(Some(header), NOW).unwrap_err()
    };
    assert_eq!(told("an unknown key"), told("a wrong secret"));
    assert_eq!(told("an unknown application"), told("another's private key"));
    assert_eq!(told("an unknown application"), told("HS256 with the public key"));
    assert_eq!(settings.list(Kind::Key, None, 10).unwrap(), before, "nothing changed");
    assert!(access.authenticate(Some(&good), NOW).is_ok());
    assert!(access.authenticate(Some(&basic(id, right)), NOW).is_ok());
}

#[test]
fn a_token_is_good_for_many_calls_until_it_expires() {
    let House { access, .. } = &house(TokenRules::default());
    let at = |token: &str, s: u64| access.authenticate(Some(token), UnixMillis(s * 1000)).is_ok();
    let old_client_s = signed(&claims());
    assert!(at(&old_client_s, NOW_S) && at(&old_client_s, NOW_S), "twice");
    assert!(at(&old_client_s, NOW_S + 959), "15 minutes and the tolerance");
    assert!(!at(&old_client_s, NOW_S + 960));
    assert!(
        at(&old_client_s, NOW_S - 60) && !at(&old_client_s, NOW_S - 61),
        "a clock that is behind"
    );
    let day = signed(&with("exp", NOW_S + 86_400));
    assert!(at(&day, NOW_S + 86_000));
    assert!(at(&signed(&with("nbf", NOW_S + 60)), NOW_S));
    assert!(at(&signed(&with("iat", NOW_S as f64 + 0.25)), NOW_S), "fractions");
    assert!(at(&signed(&without("jti")), NOW_S), "only the strict rule needs it");
    assert!(at(&old_client_s.replace("Bearer", "bearer"), NOW_S));
    let made = token(APP, PRIVATE, 60, NOW).unwrap();
    assert!(at(&format!("Bearer {made}"), NOW_S + 100));
    let caller = access.authenticate(Some(&old_client_s), NOW).unwrap();
    assert_eq!((&*caller.tenant, caller.application), ("acme", Some(APP)));
    assert!(caller.may(Scope::Create) && !caller.may(Scope::Admin) && !caller.is_operator());
}

#[test]
fn under_the_strict_rule_each_token_is_taken_once() {
    let rules = TokenRules { tolerance_s: 60, is_once: true };
    let House { access, settings, .. } = &house(rules);
    let (one, other) = (signed(&with("jti", "a")), signed(&with("jti", "b")));
    assert!(access.authenticate(Some(&one), NOW).is_ok());
    assert_eq!(access.authenticate(Some(&one), NOW), Err(Denied::Invalid(token::USED)));
    assert!(access.authenticate(Some(&other), NOW).is_ok());
    for bad in [without("jti"), with("jti", "")] {
        assert_eq!(
            access.authenticate(Some(&signed(&bad)), NOW),
            Err(Denied::Invalid(token::NO_JTI))
        );
    }
    let options = AccessOptions { tokens: rules, ..AccessOptions::default() };
    let next_life = Access::with(Arc::clone(settings), options);
    assert_eq!(
        next_life.authenticate(Some(&one), NOW),
        Err(Denied::Invalid(token::USED)),
        "over a restart"
    );
    // One that is not genuine uses nothing up.
    let header = Header::new(Algorithm::RS256);
    let forged = signed_by(&private_pem(&another_pair()), &header, &with("jti", "c"));
    assert!(access.authenticate(Some(&forged), NOW).is_err());
    assert!(access.authenticate(Some(&signed(&with("jti", "c"))), NOW).is_ok());
}

#[test]
fn what_was_deleted_or_changed_counts_from_the_next_call_on() {
    let House { access, settings, .. } = &house(TokenRules::default());
    let token = signed(&claims());
    let ask = || access.authenticate(Some(&token), NOW).map(|caller| caller.tenant.to_string());
    assert_eq!(ask(), Ok("acme".to_owned()));
    let caller = access.authenticate(Some(&token), NOW).unwrap();
    let much_later = UnixMillis(NOW.0 + 1_000_000_000);
    let goes_on = || access.still_authorized(&caller, Some(&token), much_later).is_ok();
    assert!(goes_on(), "a call that began with a good token");
    put(settings, &application("other", PUBLIC));
    assert_eq!(ask(), Ok("other".to_owned()));
    assert!(!goes_on(), "another tenant's now");
    put(settings, &application("other", "no key"));
    assert!(ask().is_err());
    let another = another_pair();
    put(settings, &application("other", &public_pem(&another)));
    assert!(ask().is_err(), "its key is another now");
    let newer = signed_by(&private_pem(&another), &Header::new(Algorithm::RS256), &claims());
    assert!(access.authenticate(Some(&newer), NOW).is_ok());
    put(settings, &Application { public_key: None, ..application("other", "") });
    assert!(ask().is_err());
    put(settings, &application("other", PUBLIC));
    assert!(ask().is_ok());
    let gone = SettingChange::remove(Kind::Application, APP.as_bytes().as_slice());
    settings.write(vec![gone]).unwrap();
    assert_eq!(ask(), Err(Denied::Invalid(token::WRONG)), "as if it had never been");
}

#[test]
fn two_secrets_are_valid_at_once_and_the_third_ends_the_first() {
    let House { access, key, secret: first, .. } = &house(TokenRules::default());
    let operator = Caller::anonymous();
    let valid = |secret: &Secret| {
        access.authenticate(Some(&basic(key.as_str(), secret.expose())), NOW).is_ok()
    };
    let rotate =
        |ends_others| access.rotate_key(&operator, key.as_str(), ends_others, NOW).unwrap().1;
    let second = rotate(false);
    assert_eq!([valid(first), valid(&second)], [true, true]);
    let third = rotate(false);
    assert_eq!([valid(first), valid(&second), valid(&third)], [false, true, true]);
    let fourth = rotate(true);
    assert_eq!([valid(&second), valid(&third), valid(&fourth)], [false, false, true]);
    let (last, _) = access.create_key(&operator, new("", &Scope::ALL), NOW).unwrap();
    access.revoke_key(&operator, key.as_str(), NOW).unwrap();
    assert!(!valid(&fourth));
    assert_eq!(access.revoke_key(&operator, last.id.as_str(), NOW), Err(KeyError::LastOperator));
    let entries = access.audit_page(&AuditFilter::default(), None, 3).unwrap().entries;
    let told: Vec<_> = entries.iter().map(|it| (it.action.as_str(), it.target.as_str())).collect();
    let (key, last) = (key.as_str(), last.id.as_str());
    assert_eq!(told, [("key.revoked", key), ("key.created", last), ("key.rotated", key)]);
}

#[test]
fn secrets_are_kept_as_hashes_and_shown_nowhere() {
    let House { access, secret, settings, .. } = &house(TokenRules::default());
    for (_, row) in settings.list(Kind::Key, None, 10).unwrap() {
        let text = String::from_utf8_lossy(&row).into_owned();
        assert!(!text.contains(secret.expose()));
    }
    let shown = format!("{secret:?} {:?}", access.keys(&Caller::anonymous()).unwrap());
    assert!(shown.contains("Secret(…)") && shown.contains("Hash(…)"));
    assert!(!shown.contains(secret.expose()), "{shown}");
    assert!(secret.expose().len() >= 43);
}

#[test]
fn an_administrator_of_a_tenant_sees_and_makes_keys_of_that_tenant_only() {
    let House { access, key, .. } = &house(TokenRules::default());
    let operator = Caller::anonymous();
    let (acme, _) = access.create_key(&operator, new("acme", &[Scope::Admin]), NOW).unwrap();
    let admin = Caller {
        tenant: "acme".into(),
        name: acme.id.as_str().into(),
        scopes: vec![Scope::Admin],
        application: None,
        source: None,
    };
    let seen: Vec<_> = access.keys(&admin).unwrap().into_iter().map(|view| view.id).collect();
    assert_eq!(seen, std::slice::from_ref(&acme.id));
    let refused = access.create_key(&admin, new("other", &[Scope::Read]), NOW);
    assert_eq!(refused.map(|_| ()), Err(KeyError::OtherTenant));
    assert_eq!(access.revoke_key(&admin, key.as_str(), NOW), Err(KeyError::NotFound));
    assert_eq!(
        access.rotate_key(&admin, key.as_str(), true, NOW).map(|_| ()),
        Err(KeyError::NotFound)
    );
    assert!(access.create_key(&admin, new("acme", &[Scope::Read]), NOW).is_ok());
    // Nothing within its tenant makes it more than that.
    let refused = access.create_key(&admin, new("acme", &[Scope::Read, Scope::Operator]), NOW);
    assert_eq!(refused.map(|_| ()), Err(KeyError::OperatorsScope));
    let (above, _) = access.create_key(&operator, new("acme", &[Scope::Operator]), NOW).unwrap();
    let stolen = access.rotate_key(&admin, above.id.as_str(), true, NOW).map(|_| ());
    assert_eq!(stolen, Err(KeyError::NotFound));
    assert_eq!(access.revoke_key(&admin, above.id.as_str(), NOW), Err(KeyError::NotFound));
    assert!(access.keys(&admin).unwrap().iter().all(|view| view.id != above.id));
    let own = AuditFilter { tenant: Some("acme".into()), ..AuditFilter::default() };
    assert!(!access.audit_page(&own, None, 10).unwrap().entries.is_empty());
    access.revoke_key(&admin, acme.id.as_str(), NOW).unwrap();
}

#[test]
fn the_keys_of_one_tenant_keep_nobody_else_from_making_one() {
    let few = TenantLimits { keys: 3, ..TenantLimits::default() };
    let limits = LimitsByTenant::new(few, BTreeMap::new());
    let options = AccessOptions { limits, ..AccessOptions::default() };
    let access = Access::with(MemoryStore::new().settings(), options);
    let operator = Caller::anonymous();
    access.create_key(&operator, new("", &Scope::ALL), NOW).unwrap();
    let scopes = Scope::TENANT.to_vec();
    let admin = Caller { tenant: "acme".into(), scopes, ..operator.clone() };
    let make = |caller, tenant| access.create_key(caller, new(tenant, &[Scope::Read]), NOW);
    let made: Vec<_> = (0..3).map(|_| make(&admin, "acme").unwrap().0.id).collect();
    let refused = make(&admin, "acme").unwrap_err();
    assert_eq!(refused, KeyError::TooMany { most: 3 });
    assert!(refused.to_string().contains("raise most_keys in [access]"), "{refused}");
    make(&operator, "").unwrap();
    make(&operator, "another").unwrap();
    access.revoke_key(&admin, made[0].as_str(), NOW).unwrap();
    make(&admin, "acme").unwrap();
}

#[test]
fn without_a_key_anybody_is_anonymous_but_for_tokens_once_there_is_an_application() {
    let settings = MemoryStore::new().settings();
    let access = Access::new(Arc::clone(&settings));
    let ask = |header: Option<&str>| {
        access.authenticate(header, NOW).map(|caller| caller.name.to_string())
    };
    let anonymous = Ok("anonymous".to_owned());
    let (key, token) = (basic("a", "b"), signed(&without("iat")));
    assert_eq!(
        [ask(None), ask(Some(&key)), ask(Some(&token))],
        [(); 3].map(|()| anonymous.clone())
    );
    assert_eq!(access.without_anonymous().authenticate(None, NOW), Err(Denied::NoKey));
    put(&settings, &application("default", PUBLIC));
    assert_eq!([ask(None), ask(Some(&key))], [(); 2].map(|()| anonymous.clone()));
    assert!(ask(Some(&token)).is_err());
    let first = access.create_key(&Caller::anonymous(), new("", &Scope::TENANT), NOW);
    assert_eq!(first.map(|_| ()), Err(KeyError::FirstIsNoOperator));
    access.create_key(&Caller::anonymous(), new("", &Scope::ALL), NOW).unwrap();
    assert_eq!(ask(None).map_err(|_| ()), Err(()));
}

#[test]
fn the_file_in_the_data_folder_makes_the_first_key_and_nothing_after_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let place = BootstrapIn::Data(folder.path());
    let access = Access::new(MemoryStore::new().settings());
    let shut = access.without_anonymous();
    let header = || {
        let key = bootstrap_key(folder.path()).unwrap()?;
        Some(format!("Basic {}", STANDARD.encode(key)))
    };
    assert_eq!(header(), None);
    assert_eq!(access.offer_first_key(place).unwrap().as_deref(), Some(folder.path()));
    let file = folder.path().join("bootstrap.key");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let old = header().unwrap();
    // Another start, another secret.
    access.offer_first_key(place).unwrap();
    let bootstrap = header().unwrap();
    assert_eq!(shut.authenticate(Some(&old), NOW), Err(Denied::NoKey));
    assert_eq!(shut.authenticate(Some(&basic("bootstrap", "x")), NOW), Err(Denied::NoKey));
    assert_eq!(shut.authenticate(None, NOW), Err(Denied::NoKey));
    let caller = shut.authenticate(Some(&bootstrap), NOW).unwrap();
    assert!(caller.is_operator() && !caller.may(Scope::Create));
    access.create_key(&caller, new("", &Scope::ALL), NOW).unwrap();
    assert_eq!(header(), None, "the file is gone");
    assert!(matches!(shut.authenticate(Some(&bootstrap), NOW), Err(Denied::Invalid(_))));
    assert_eq!(
        access.audit_page(&AuditFilter::default(), None, 1).unwrap().entries[0].actor,
        "bootstrap"
    );
    // A file that an earlier life left opens nothing, and goes at the next start.
    std::fs::write(&file, "bootstrap:left").unwrap();
    assert_eq!(access.offer_first_key(place).unwrap(), None);
    assert!(!file.exists());
}

#[test]
fn a_folder_of_its_own_goes_with_its_file() {
    let access = Access::new(MemoryStore::new().settings());
    let folder = access.offer_first_key(BootstrapIn::NewFolder).unwrap().unwrap();
    assert!(bootstrap_key(&folder).unwrap().is_some());
    drop(access);
    assert!(!folder.exists());
}

#[test]
fn a_key_of_the_configuration_opens_and_is_changed_there_only() {
    let settings = MemoryStore::new().settings();
    let id = KeyId::parse("abcd1234").unwrap();
    let key = ConfiguredKey::new(id, new("", &Scope::ALL), "an old api secret");
    let options = AccessOptions { keys: vec![key], ..AccessOptions::default() };
    let access = Access::with(settings, options);
    let operator = access.authenticate(Some(&basic("abcd1234", "an old api secret")), NOW).unwrap();
    assert!(operator.is_operator());
    assert!(access.authenticate(None, NOW).is_err());
    assert_eq!(access.revoke_key(&operator, "abcd1234", NOW), Err(KeyError::Configured));
    let (made, _) = access.create_key(&operator, new("", &Scope::ALL), NOW).unwrap();
    access.revoke_key(&operator, made.id.as_str(), NOW).unwrap();
}

/// Prints what a call costs; holds it to a bound that only a mistake exceeds.
#[test]
fn knowing_a_caller_costs_little() {
    let House { access, key, secret, .. } = &house(TokenRules::default());
    let rounds = 500;
    let basic = vec![basic(key.as_str(), secret.expose())];
    let fresh: Vec<_> = (0..rounds).map(|_| signed(&claims())).collect();
    let cases = [
        ("Basic", basic),
        ("Bearer, a token used before", vec![signed(&claims())]),
        ("Bearer, a token used once", fresh),
    ];
    for (name, headers) in cases {
        let began = Instant::now();
        for header in headers.iter().cycle().take(rounds) {
            access.authenticate(Some(header), NOW).unwrap();
        }
        let each = began.elapsed() / rounds as u32;
        println!("authenticate {name}: {each:?}");
        assert!(each.as_millis() < 20, "{name}: {each:?}");
    }
}
