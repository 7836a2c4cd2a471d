//! Mail authentication as values: SPF, DKIM, ARC, DMARC, iprev, and what is said about them.
//!
//! Nothing here does I/O. The name system is asked through [`Lookup`], which the composition provides;
//! moments and messages come in as arguments. [`verify`] runs all checks of an incoming message;
//! [`dkim::Signer`] and [`arc::Sealer`] sign what goes out; [`report`] tells domain owners and reads what they are told.

pub mod arc;
mod both;
mod canon;
pub mod dkim;
pub mod dmarc;
pub mod iprev;
mod key;
pub mod limits;
mod lookup;
mod message;
pub mod name;
pub mod report;
pub mod results;
pub mod spf;
mod tags;
mod text;
mod trouble;
mod verify;

pub use key::{Algorithm, BadKey, PrivateKey, Service};
pub use lookup::{Lookup, reverse_name};
pub use message::{Field, Message};
pub use trouble::Trouble;
pub use verify::{Checks, Verdicts, evidence, verify};
