//! What is remembered between connections. Each machine is a value: it is told the time and what
//! happened, it holds at most a named number of entries, and what outlives a restart says what is to be
//! written down. The oldest entries give way to new ones.

mod bounded;
mod concurrent;
mod greylist;
mod key;
mod pregreet;
mod rate;
mod remembered;
mod reputation;
mod tarpit;

pub use concurrent::Concurrent;
pub use greylist::{Greylist, GreylistSettings};
pub use key::{Home, Key, KeyMaker};
pub use pregreet::{Passes, PreGreet};
pub use rate::{Rate, Rates, Taken};
pub use remembered::{Change, Remembered};
pub use reputation::{Conduct, Reputation, ReputationSettings};
pub use tarpit::Tarpit;
