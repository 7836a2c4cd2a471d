//! The engine from outside: against a plain model, through crashes and damage, and in the order it promises.

mod crash;
mod damage;
mod folder;
mod format;
mod kill;
mod model;
mod order;
mod shards;
mod support;
