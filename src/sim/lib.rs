//! What tests run on: transcripts of line protocols and a player for them, sessions driven in
//! memory, a clock that is told the time, an executor whose order of things is a seed's, sample
//! messages, and a world of accounts on a simulated disk. Only tests import it.
//!
//! ```text
//! transcripts/*.txt -> Transcript --play--> Peer <- SessionPeer <- (a Session, a Service)
//!                          |                  ^
//!                          +-- cut, mutate ---+      World: accounts, directory, real logins
//! ```
//!
//! A protocol's tests are three calls: [`play_folder`], [`cut_folder`] and [`noise_folder`].
//! `UPDATE=1` makes the first rewrite the `S:` lines in place; the notation is in [`Transcript`].

mod clock;
mod cut;
mod executor;
mod folder;
mod pattern;
mod peer;
mod play;
mod ready;
mod record;
pub mod samples;
mod session_peer;
#[cfg(test)]
mod tests;
mod transcript;
mod world;

pub use clock::Clock;
pub use cut::{Cut, cuts, mutate};
pub use executor::{Executor, Group, Progress, Sleep};
pub use folder::{cut_folder, load_folder, noise_folder, play_folder};
pub use pattern::{Bindings, Pattern};
pub use peer::Peer;
pub use play::{Mismatch, play, play_cut};
pub use ready::ready;
pub use record::record;
pub use session_peer::{FromFn, SessionPeer, from_fn};
pub use transcript::{Action, Step, Transcript};
pub use world::World;
