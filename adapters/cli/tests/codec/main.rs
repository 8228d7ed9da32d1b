//! `wwr decode` and `wwr encode`, run as a user runs them.

mod decode;
mod encode;
mod support;
mod vectors;
