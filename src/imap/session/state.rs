//! The states of a connection (RFC 9051 §3). Each owns what is valid in it and nothing else.

use alloc::boxed::Box;
use alloc::string::String;

use auth::{Exchange, Identity};

use crate::view::Selected;

/// Where a connection is.
pub(super) enum State {
    /// Nobody is logged in.
    NotAuthenticated,
    /// STARTTLS was answered; the handshake comes next.
    Handshake,
    /// The client's next line belongs to a SASL exchange.
    Authenticating(Authenticating),
    /// A question about a login is out.
    LoggingIn(LoggingIn),
    /// The login is right; its account is being made ready.
    Opening(Opening),
    /// Somebody is logged in and no mailbox is selected.
    Authenticated(Identity),
    /// A mailbox is selected.
    Selected(Identity, Box<Selected>),
    /// A command runs; its handler has the view.
    Running(Running),
    /// The client waits for news (RFC 2177).
    Idle(Idle),
    /// BYE was said.
    Logout,
}

/// A SASL exchange that waits for its client.
pub(super) struct Authenticating {
    pub(super) tag: String,
    pub(super) exchange: Box<Exchange>,
}

/// A login that waits for an answer.
pub(super) struct LoggingIn {
    pub(super) tag: String,
    /// None for LOGIN, which is one question.
    pub(super) exchange: Option<Box<Exchange>>,
}

/// A login that waits for its account.
pub(super) struct Opening {
    pub(super) tag: String,
    pub(super) identity: Identity,
}

/// A command that waits for its handler.
pub(super) struct Running {
    pub(super) identity: Identity,
    /// The update of an IDLE, which goes on afterwards, rather than a command of its own.
    pub(super) is_idle: bool,
}

/// IDLE.
pub(super) struct Idle {
    pub(super) identity: Identity,
    pub(super) tag: String,
    pub(super) selected: Option<Box<Selected>>,
    /// There may be something the client has not been told.
    pub(super) is_behind: bool,
}

impl State {
    pub(super) const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::NotAuthenticated
            | Self::Handshake
            | Self::Authenticating(_)
            | Self::LoggingIn(_)
            | Self::Logout => None,
            Self::Opening(Opening { identity, .. })
            | Self::Authenticated(identity)
            | Self::Selected(identity, _)
            | Self::Running(Running { identity, .. })
            | Self::Idle(Idle { identity, .. }) => Some(identity),
        }
    }

    /// Whether a request is out.
    pub(super) const fn is_waiting(&self) -> bool {
        matches!(self, Self::LoggingIn(_) | Self::Running(_))
    }

    /// For logs: no secrets are in it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::NotAuthenticated => "not authenticated",
            Self::Handshake => "handshake",
            Self::Authenticating(_) => "authenticating",
            Self::LoggingIn(_) => "logging in",
            Self::Opening(_) => "opening",
            Self::Authenticated(_) => "authenticated",
            Self::Selected(..) => "selected",
            Self::Running(_) => "running",
            Self::Idle(_) => "idle",
            Self::Logout => "logout",
        }
    }

    /// Somebody logged in, with or without a selected mailbox.
    pub(super) fn resting(identity: Identity, selected: Option<Box<Selected>>) -> Self {
        match selected {
            Some(view) => Self::Selected(identity, view),
            None => Self::Authenticated(identity),
        }
    }
}
