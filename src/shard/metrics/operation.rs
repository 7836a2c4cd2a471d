//! What connections are about and what is done on them, by names that an operator knows.

use base::AccountId;
use http::Http;
use imap::Imap;
use pop3::Pop3;
use smtp::Smtp;

/// What a connection speaks, by its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP from other servers.
    Smtp,
    /// SMTP from users.
    Submission,
    /// LMTP.
    Lmtp,
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// HTTP.
    Https,
}

impl Protocol {
    /// All of them, each at the place of its number.
    pub const ALL: [Self; 6] =
        [Self::Smtp, Self::Submission, Self::Lmtp, Self::Imap, Self::Pop3, Self::Https];

    /// Of an SMTP listener's mode.
    pub(crate) const fn of_mode(mode: smtp::Mode) -> Self {
        match mode {
            smtp::Mode::Mx => Self::Smtp,
            smtp::Mode::Submission => Self::Submission,
            smtp::Mode::Lmtp => Self::Lmtp,
        }
    }

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Lmtp => "lmtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Https => "https",
        }
    }
}

macro_rules! operations {
    ($($variant:ident $name:literal $about:literal,)*) => {
        /// A request of a session: what somebody asked for that a session alone could not answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation {
            $(#[doc = $about] $variant,)*
        }

        impl Operation {
            /// All of them, each at the place of its number.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// Its name in metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

operations! {
    Greeting "greeting" "Whether a client is greeted, before and after it has waited.",
    Login "login" "Who is this? With a password, its slow hash too.",
    Proof "proof" "A SCRAM proof was found right.",
    Open "open" "The account is opened after a login.",
    Recipient "recipient" "Whether a recipient is accepted.",
    Deliver "deliver" "A message is made durable for its recipients.",
    Sync "sync" "What is new: NOOP, CHECK and IDLE.",
    Enable "enable" "ENABLE",
    Select "select" "SELECT and EXAMINE",
    Create "create" "CREATE",
    Delete "delete" "DELETE",
    Rename "rename" "RENAME",
    Subscribe "subscribe" "SUBSCRIBE and UNSUBSCRIBE",
    List "list" "LIST and LSUB",
    Status "status" "STATUS",
    Append "append" "APPEND",
    Close "close" "CLOSE",
    Expunge "expunge" "EXPUNGE",
    Fetch "fetch" "FETCH",
    Search "search" "SEARCH",
    Store "store" "STORE",
    Copy "copy" "COPY",
    Move "move" "MOVE",
    ResetKey "resetkey" "RESETKEY",
    GenUrlAuth "genurlauth" "GENURLAUTH",
    UrlFetch "urlfetch" "URLFETCH, and BURL in a submission.",
    Uidl "uidl" "UIDL",
    Retr "retr" "RETR",
    Top "top" "TOP",
    Dele "dele" "DELE",
    Quit "quit" "QUIT with deletions",
    Page "page" "Something is asked for over HTTP.",
}

/// A session whose requests can be named.
pub trait Measured: base::Session {
    /// What a request is.
    fn operation(request: &Self::Request) -> Operation;

    /// Whose session it is, once that is known.
    fn account(&self) -> Option<AccountId>;
}

impl Measured for Smtp {
    fn operation(request: &smtp::Request) -> Operation {
        match request {
            smtp::Request::Greeting(_) => Operation::Greeting,
            smtp::Request::Auth(_) => Operation::Login,
            smtp::Request::LoggedIn(_) => Operation::Proof,
            smtp::Request::Recipient(_) => Operation::Recipient,
            smtp::Request::Url(_) => Operation::UrlFetch,
            smtp::Request::Deliver(_) => Operation::Deliver,
        }
    }

    fn account(&self) -> Option<AccountId> {
        self.identity().map(|identity| identity.account)
    }
}

impl Measured for Imap {
    fn operation(request: &imap::Request) -> Operation {
        let act = match request {
            imap::Request::Auth(_) => return Operation::Login,
            imap::Request::Open => return Operation::Open,
            imap::Request::Act(act) => act,
        };
        match &act.action {
            imap::Action::Sync => Operation::Sync,
            imap::Action::Enable(_) => Operation::Enable,
            imap::Action::Select(_) => Operation::Select,
            imap::Action::Create(_) => Operation::Create,
            imap::Action::Delete(_) => Operation::Delete,
            imap::Action::Rename { .. } => Operation::Rename,
            imap::Action::Subscribe(_) | imap::Action::Unsubscribe(_) => Operation::Subscribe,
            imap::Action::List(_) => Operation::List,
            imap::Action::Status(_) => Operation::Status,
            imap::Action::Append(_) => Operation::Append,
            imap::Action::Close => Operation::Close,
            imap::Action::Expunge(_) => Operation::Expunge,
            imap::Action::Fetch(_) => Operation::Fetch,
            imap::Action::Search(_) => Operation::Search,
            imap::Action::Store(_) => Operation::Store,
            imap::Action::Copy(_) => Operation::Copy,
            imap::Action::Move(_) => Operation::Move,
            imap::Action::ResetKey(_) => Operation::ResetKey,
            imap::Action::GenUrlAuth(_) => Operation::GenUrlAuth,
            imap::Action::UrlFetch(_) => Operation::UrlFetch,
        }
    }

    fn account(&self) -> Option<AccountId> {
        self.identity().map(|identity| identity.account)
    }
}

impl Measured for Pop3 {
    fn operation(request: &pop3::Request) -> Operation {
        let act = match request {
            pop3::Request::Auth(_) => return Operation::Login,
            pop3::Request::Open => return Operation::Open,
            pop3::Request::Act(act) => act,
        };
        match act.action {
            pop3::Action::List | pop3::Action::ListOne(_) => Operation::List,
            pop3::Action::Uidl => Operation::Uidl,
            pop3::Action::Retr(_) => Operation::Retr,
            pop3::Action::Top(..) => Operation::Top,
            pop3::Action::Dele(_) => Operation::Dele,
            pop3::Action::Quit => Operation::Quit,
        }
    }

    fn account(&self) -> Option<AccountId> {
        self.identity().map(|identity| identity.account)
    }
}

impl Measured for Http {
    fn operation(_: &http::Request) -> Operation {
        Operation::Page
    }

    fn account(&self) -> Option<AccountId> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_stands_at_the_place_of_its_number_under_a_name_of_its_own() {
        assert!(Protocol::ALL.iter().enumerate().all(|(place, protocol)| *protocol as usize == place));
        assert!(Operation::ALL.iter().enumerate().all(|(place, operation)| *operation as usize == place));
        let names: HashSet<_> = Operation::ALL.iter().map(|operation| operation.name()).collect();
        assert_eq!(names.len(), Operation::ALL.len());
    }
}
