//! Dispatch, with LINE.
mod line;

dispatch::main!(|providers| providers.add_proven(line::provider(), line::subjects));
