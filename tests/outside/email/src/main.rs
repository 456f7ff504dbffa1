//! Dispatch, with e-mail.
mod email;

dispatch::main!(|providers| providers.add(email::provider()));
