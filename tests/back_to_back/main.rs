//! Clients and a server in one small world: the real machines, wired back to back through a network
//! and over a store that are models. Time is virtual and chance comes from a seed, so a run is the
//! same bit for bit whenever it is repeated.
//!
//! * `fabric`: time, the queue of what is going to happen, and the network between the nodes.
//! * `client`, `server`: a node each, machine and host; `application` is what the server serves.
//! * `reference`: clients made by hand, after those of the references.
//! * `store`: where sessions are kept, slow and unreliable as the world wants it.
//! * `world`: puts them together; `checks`: what holds in every world at rest.
//! * `scenarios`: scripts with exact expectations; `matrix`: every version with every other.

mod application;
mod checks;
mod client;
mod dice;
mod fabric;
mod matrix;
mod reference;
mod scenarios;
mod server;
mod store;
mod world;
