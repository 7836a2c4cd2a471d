//! What this server can do, in one table, and what a client has enabled.

use alloc::vec::Vec;

use base::TlsInfo;

use crate::config::Config;
use crate::response::text::write_number;

/// When a capability is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Always.
    Always,
    /// Before login only.
    BeforeLogin,
    /// After login only.
    AfterLogin,
}

/// A capability: its name, the RFC that defines it, and when it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// As listed.
    pub name: &'static str,
    /// The RFC's number.
    pub rfc: u16,
    /// When.
    pub listed: Listed,
}

const fn always(name: &'static str, rfc: u16) -> Capability {
    Capability { name, rfc, listed: Listed::Always }
}

const fn after_login(name: &'static str, rfc: u16) -> Capability {
    Capability { name, rfc, listed: Listed::AfterLogin }
}

/// Everything that is implemented, but for what depends on the connection: STARTTLS,
/// LOGINDISABLED, AUTH= and APPENDLIMIT=.
pub const CAPABILITIES: &[Capability] = &[
    always("IMAP4rev1", 3501),
    always("IMAP4rev2", 9051),
    always("LITERAL+", 7888),
    always("ID", 2971),
    always("ENABLE", 5161),
    Capability { name: "SASL-IR", rfc: 4959, listed: Listed::BeforeLogin },
    after_login("IDLE", 2177),
    after_login("NAMESPACE", 2342),
    after_login("CHILDREN", 3348),
    after_login("MULTIAPPEND", 3502),
    after_login("BINARY", 3516),
    after_login("UNSELECT", 3691),
    after_login("UIDPLUS", 4315),
    after_login("URLAUTH", 4467),
    after_login("CATENATE", 4469),
    after_login("ESEARCH", 4731),
    after_login("WITHIN", 5032),
    after_login("SEARCHRES", 5182),
    after_login("LIST-EXTENDED", 5258),
    after_login("LIST-STATUS", 5819),
    after_login("SPECIAL-USE", 6154),
    after_login("CREATE-SPECIAL-USE", 6154),
    after_login("MOVE", 6851),
    after_login("UTF8=ACCEPT", 6855),
    after_login("CONDSTORE", 7162),
    after_login("QRESYNC", 7162),
    after_login("STATUS=SIZE", 8438),
    after_login("OBJECTID", 8474),
    after_login("SAVEDATE", 8514),
];

/// Extensions that a client has turned on, as a set (RFC 5161).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Enabled(u8);

impl Enabled {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// CONDSTORE (RFC 7162 §3.1): MODSEQ is told.
    pub const CONDSTORE: Self = Self(1);
    /// QRESYNC (RFC 7162 §3.2): VANISHED instead of EXPUNGE. Always with CONDSTORE.
    pub const QRESYNC: Self = Self(2);
    /// UTF8=ACCEPT (RFC 6855 §3): names and strings are UTF-8.
    pub const UTF8: Self = Self(4);
    /// IMAP4rev2 (RFC 9051 §6.3.1).
    pub const REV2: Self = Self(8);

    /// Nothing a client enables: the command at hand names messages by UID, and so do all FETCH
    /// responses that come with it (RFC 9051 §6.4.9).
    pub(crate) const BY_UID: Self = Self(16);

    const NAMED: [(Self, &'static str); 4] = [
        (Self::CONDSTORE, "CONDSTORE"),
        (Self::QRESYNC, "QRESYNC"),
        (Self::UTF8, "UTF8=ACCEPT"),
        (Self::REV2, "IMAP4rev2"),
    ];

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` are on.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether FETCH responses that nobody asked for have UIDs: for UID commands, with QRESYNC
    /// (RFC 7162 §3.2.4) and with IMAP4rev2 (RFC 9051 §7.5.2).
    pub(crate) const fn tells_uids(self) -> bool {
        self.0 & (Self::BY_UID.0 | Self::QRESYNC.0 | Self::REV2.0) != 0
    }

    /// Whether mailbox names are UTF-8 rather than modified UTF-7 (RFC 6855 §3, RFC 9051 §5.1).
    pub const fn has_utf8(self) -> bool {
        self.0 & (Self::UTF8.0 | Self::REV2.0) != 0
    }

    /// What ENABLE with that argument turns on; nothing when it is unknown. QRESYNC takes
    /// CONDSTORE with it (RFC 7162 §3.2.3).
    pub fn from_capability(name: &str) -> Self {
        let known = Self::NAMED.iter().find(|(_, text)| text.eq_ignore_ascii_case(name));
        match known {
            Some(&(Self::QRESYNC, _)) => Self::QRESYNC.with(Self::CONDSTORE),
            Some(&(enabled, _)) => enabled,
            None => Self::NONE,
        }
    }

    /// The names of what is on.
    pub fn names(self) -> Vec<&'static str> {
        Self::NAMED.iter().filter(|(enabled, _)| self.has(*enabled)).map(|(_, name)| *name).collect()
    }
}

/// What a connection's capabilities depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'a> {
    pub(crate) config: &'a Config,
    pub(crate) tls: Option<&'a TlsInfo>,
    pub(crate) is_logged_in: bool,
}

/// `CAPABILITY IMAP4rev1 …`, for the response and the response code alike (RFC 9051 §7.2.2).
pub(crate) fn write_capabilities(out: &mut Vec<u8>, situation: Situation<'_>) {
    let Situation { config, tls, is_logged_in } = situation;
    out.extend_from_slice(b"CAPABILITY");
    for capability in CAPABILITIES {
        let is_listed = match capability.listed {
            Listed::Always => true,
            Listed::BeforeLogin => !is_logged_in,
            Listed::AfterLogin => is_logged_in,
        };
        if is_listed {
            push(out, capability.name);
        }
    }
    if is_logged_in {
        // RFC 7889 §2: the same for every mailbox.
        push(out, "APPENDLIMIT=");
        write_number(out, config.limits.append_bytes_max as u64);
        return;
    }
    if config.starttls && tls.is_none() {
        push(out, "STARTTLS");
    }
    if tls.is_none() && !config.auth.allow_plaintext_without_tls {
        push(out, "LOGINDISABLED");
    }
    for mechanism in auth::mechanisms(tls, &config.auth) {
        push(out, "AUTH=");
        out.extend_from_slice(mechanism.as_bytes());
    }
}

fn push(out: &mut Vec<u8>, name: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
}
