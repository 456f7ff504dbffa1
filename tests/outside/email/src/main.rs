//! Dispatch, with e-mail.
mod email;

dispatch::main!(|providers| providers.add_proven(email::provider(), email::subjects));
