//! Nothing: it is there for its dependencies.
