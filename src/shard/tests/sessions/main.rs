//! Sessions with their services on two shards: who may log in and stay, and what peers may make a shard
//! hold.

#[path = "../common/alone.rs"]
mod alone;
mod identity;
mod logins;
mod rig;
#[path = "../common/settings.rs"]
mod settings;
mod standing;
mod urls;
mod web;
