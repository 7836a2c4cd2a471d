//! What is remembered between connections. Each machine is a value: it is told the time and what
//! happened, it holds at most a named number of entries, and it can be written to bytes and read
//! again. The oldest entries give way to new ones.

mod bounded;
mod concurrent;
mod greylist;
mod key;
mod pregreet;
mod rate;
mod reputation;
mod tarpit;

pub use bounded::Broken;
pub use concurrent::Concurrent;
pub use greylist::{Greylist, GreylistSettings};
pub use key::{Key, KeyMaker};
pub use pregreet::{Heard, PreGreet, PreGreetStep};
pub use rate::{Rate, Rates, Taken};
pub use reputation::{Conduct, Reputation, ReputationSettings};
pub use tarpit::Tarpit;
