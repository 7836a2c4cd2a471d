//! The engine from outside: against a plain model, through crashes and damage, and in the order it promises.

mod crash;
mod damage;
mod descriptors;
mod folder;
mod format;
mod full;
mod holes;
mod kill;
mod model;
mod order;
mod pace;
mod paging;
mod recent;
mod rot;
mod shards;
mod speed;
mod stale;
mod support;
