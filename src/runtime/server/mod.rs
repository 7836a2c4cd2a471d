//! Everything joined: the configuration's listeners, the shards' contexts, the protocols behind
//! the driver, the control socket, and the [`admin::Host`] that the command line asks.
//!
//! - `machine`: the host; `running`: a store with its shards, with or without listeners;
//! - `doors`: listeners, the control socket, and how many may come in;
//! - `context`: one shard's start and end; `connections`: from an accepted socket to a session;
//!   `proxied`: who is behind a load balancer; `crowd`: the memory of those that have gone;
//! - `exposition`: the metrics endpoint; `submit`: mail of local programs;
//! - `control`: the ways to have a request executed; `world`: time, chance and the pool for shards.

mod certificates;
mod connections;
mod context;
mod control;
mod crowd;
mod doors;
mod exposition;
mod machine;
mod proxied;
mod running;
mod submit;
mod world;

pub use machine::Machine;
