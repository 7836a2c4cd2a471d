//! `[listen]`: where connections are taken, and from whom they may come through others.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

/// `[listen]`: addresses by protocol, `HOST:PORT` or, for LMTP, `unix:PATH`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listeners {
    /// Mail from other servers (port 25), STARTTLS.
    pub smtp: Vec<Spanned<String>>,
    /// Mail from users (port 587), STARTTLS.
    pub submission: Vec<Spanned<String>>,
    /// Mail from users (port 465), TLS from the start.
    pub submissions: Vec<Spanned<String>>,
    /// Mail from systems beside us, already accepted by them.
    pub lmtp: Vec<Spanned<String>>,
    /// Port 143, STARTTLS.
    pub imap: Vec<Spanned<String>>,
    /// Port 993, TLS from the start.
    pub imaps: Vec<Spanned<String>>,
    /// Port 110, STLS.
    pub pop3: Vec<Spanned<String>>,
    /// Port 995, TLS from the start.
    pub pop3s: Vec<Spanned<String>>,
    /// HTTP (port 443), TLS from the start: the MTA-STS policies of our domains.
    pub https: Vec<Spanned<String>>,
    /// The mode of Unix sockets in octal: who may write to one may connect.
    pub unix_socket_mode: String,
    /// The Unix socket that every local user hands mail in on; empty is `run/submit.sock` in the store's folder.
    pub sendmail: PathBuf,
    /// Networks of load balancers, such as `192.0.2.0/24`: their connections begin with a PROXY header.
    pub proxy_from: Vec<Spanned<String>>,
    /// Networks of gateways that may say XCLIENT on port 25.
    pub xclient_from: Vec<Spanned<String>>,
}

impl Default for Listeners {
    fn default() -> Self {
        let all =
            |port: u16| ["0.0.0.0", "[::]"].map(|host| Spanned::new(0..0, format!("{host}:{port}"))).to_vec();
        Self {
            smtp: all(25),
            submission: all(587),
            submissions: all(465),
            lmtp: Vec::new(),
            imap: all(143),
            imaps: all(993),
            pop3: all(110),
            pop3s: all(995),
            https: Vec::new(),
            unix_socket_mode: "0660".to_owned(),
            sendmail: PathBuf::new(),
            proxy_from: Vec::new(),
            xclient_from: Vec::new(),
        }
    }
}
