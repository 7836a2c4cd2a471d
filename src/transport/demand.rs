//! What a connection to a host must prove.

use crate::dane::Tlsa;

/// Whose the other end's certificate must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Anybody's.
    Anyone,
    /// One that a public authority has issued for one of these names (RFC 8461 §4.1, RFC 8689 §4.2.1).
    Authority {
        /// Lower case; a wildcard of the certificate covers one label.
        names: Vec<String>,
    },
    /// One that satisfies a TLSA record.
    Dane {
        /// At least one, proven by DNSSEC.
        records: Vec<Tlsa>,
        /// For records about an authority (RFC 7672 §3.2.2).
        names: Vec<String>,
    },
}

/// What TLS on a connection must bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The name to ask the server for; one that is no host name is not sent.
    pub server_name: String,
    /// Whose certificate it must be.
    pub identity: Identity,
    /// Without the proof there is no connection. Otherwise it is only told that it lacks.
    pub is_required: bool,
}

impl Demand {
    /// Any certificate will do.
    pub fn anyone(server_name: &str) -> Self {
        Self { server_name: server_name.to_owned(), identity: Identity::Anyone, is_required: false }
    }

    /// A public authority's certificate for this name, or no connection.
    pub fn authority(server_name: &str) -> Self {
        let identity = Identity::Authority { names: vec![server_name.to_owned()] };
        Self { server_name: server_name.to_owned(), identity, is_required: true }
    }
}

/// What the other end has proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing was asked for.
    Nothing,
    /// A name, by a public authority.
    Authority,
    /// A TLSA record.
    Dane,
}
