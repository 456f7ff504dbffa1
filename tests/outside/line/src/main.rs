//! Dispatch, with LINE.
mod line;

dispatch::main!(|providers| providers.add(line::provider()));
