//! The `dispatch` program.

dispatch::main!(|_| Ok::<_, std::convert::Infallible>(()));
