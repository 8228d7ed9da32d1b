//! Scripts: what happens, in which order, and when, to the millisecond. A message takes 10 ms from
//! one side to the other, so the preflight, the handshake and the first answer take 20 ms each; the
//! store takes 5 ms.

mod connections;
mod liveness;
mod requests;
mod sessions;
