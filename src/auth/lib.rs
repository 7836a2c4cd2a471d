//! Who is it? SASL exchanges as plain values, password hashes, and what keeps guessing slow.
//!
//! Layer L2: no I/O, no clock, no threads. A session of any line protocol starts an [`Exchange`],
//! feeds it what the client says and does what each [`Step`] tells it. When an exchange needs to know
//! something it asks a [`Query`]; the session hands that outside as any other request and brings
//! the [`Answer`] back (docs/design/0004-sasl.md says why it is not a library's callback).
//!
//! ```text
//! client bytes -> Exchange::step -> Challenge -> client
//!                                -> Ask(Query) -> handler -> Answer -> Exchange::answer -> ...
//!                                -> Granted(Identity) | Failed(Failure)
//! ```
//!
//! - `exchange`: the order of every mechanism; `scram`: its messages and its sums;
//! - `answer`: from the directory's entry to an answer; `password`: slow hashes, for the blocking pool;
//! - `verified`: passwords that were found right a moment ago; `throttle`: penalties for failures;
//! - `url_token`: what proves that an IMAP URL was made here.

mod answer;
mod exchange;
pub mod limits;
mod password;
mod query;
mod scram;
mod throttle;
mod url_token;
mod verified;

pub use answer::{answer_password, answer_scram};
pub use exchange::{Exchange, mechanisms};
pub use password::{hash_password, verify_absent, verify_password};
pub use query::{Answer, Failure, Identity, Policy, Query, ScramCredential, ScramHash, Step, Unsupported};
pub use throttle::{Attempt, Throttle, Turn};
pub use url_token::{is_url_token, url_token};
pub use verified::{Fingerprint, Verified, VerifiedCache};
