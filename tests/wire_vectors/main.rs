//! The codec against the vectors: what the reference implementations composed, parsed and refused.
//!
//! `tests/vectors/README.md` describes the formats of the files.

mod compose;
mod parse;
mod text;
mod vectors;
