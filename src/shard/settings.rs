//! What an operator has set, in the form the services need. `admin` reads it from the file.

use std::sync::Arc;

use crate::{Inbound, Outbound, OwnPolicies, Reporting, SlowSettings};

/// The settings that all shards share, unchanged until a reload makes new ones.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our name in greetings and in Received.
    pub hostname: String,
    /// The domain of a login name without one, if there is a default.
    pub default_domain: Option<String>,
    /// Bytes of messages that one shard holds while they come in and are stored.
    pub content_bytes_max: usize,
    /// What the flight recorder takes down.
    pub slow: SlowSettings,
    /// Mail that goes elsewhere.
    pub outbound: Arc<Outbound>,
    /// What is looked at before mail is taken.
    pub inbound: Arc<Inbound>,
    /// Reports about mail.
    pub reporting: Arc<Reporting>,
    /// The MTA-STS policies of our domains.
    pub policies: Arc<OwnPolicies>,
    /// MX listeners.
    pub mx: Arc<smtp::Config>,
    /// Submission listeners.
    pub submission: Arc<smtp::Config>,
    /// LMTP listeners.
    pub lmtp: Arc<smtp::Config>,
    /// IMAP listeners.
    pub imap: Arc<imap::Config>,
    /// POP3 listeners.
    pub pop3: Arc<pop3::Config>,
}
