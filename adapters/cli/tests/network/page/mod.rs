//! The page for browsers that `wwr serve` has at `/`.

mod browsing;
mod http;
