//! master.cf: which programs run, where they listen, and with which parameters of their own.

use std::collections::BTreeMap;

use super::lines::{logical, spaced, unbraced};

/// A line of master.cf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// `smtp`, `127.0.0.1:10025`, `pickup`, ...
    pub(super) name: String,
    /// `inet`, `unix`, `pass` or `fifo`.
    pub(super) kind: String,
    /// The column as it stands; `-` is the usual.
    chroot: String,
    /// The program.
    pub(super) command: String,
    /// What `-o` sets.
    pub(super) overrides: BTreeMap<String, String>,
}

impl Service {
    /// Whether it sees the queue's folder as the root, when `usual` is what the column's `-` means.
    pub(super) fn is_chrooted(&self, usual: bool) -> bool {
        match self.chroot.as_str() {
            "y" => true,
            "n" => false,
            _ => usual,
        }
    }

    /// As it is called in a report: `submission/inet`.
    pub(super) fn title(&self) -> String {
        format!("{}/{}", self.name, self.kind)
    }

    /// Where it listens on the network: host, which may be empty, and port.
    pub(super) fn address(&self) -> Option<(String, u16)> {
        let (host, port) = match self.name.rsplit_once(':') {
            Some((host, port)) => (host.trim_start_matches('[').trim_end_matches(']'), port),
            None => ("", self.name.as_str()),
        };
        Some((host.to_owned(), port_of(port)?))
    }
}

/// A port, by number or by the names that mail systems use.
pub(super) fn port_of(text: &str) -> Option<u16> {
    match text {
        "smtp" => Some(25),
        "submission" => Some(587),
        "smtps" | "submissions" | "ssmtp" | "urd" => Some(465),
        "lmtp" => Some(24),
        "qmqp" => Some(628),
        _ => text.parse().ok().filter(|port| *port > 0),
    }
}

/// The services of a file; lines that are none come back with their number.
pub(super) fn parse(text: &str) -> (Vec<Service>, Vec<(usize, String)>) {
    let (mut services, mut odd) = (Vec::new(), Vec::new());
    for line in logical(text) {
        match service(&spaced(&line.text)) {
            Some(service) => services.push(service),
            None => odd.push((line.number, line.text)),
        }
    }
    (services, odd)
}

fn service(words: &[&str]) -> Option<Service> {
    let [name, kind, _private, _unprivileged, chroot, _wakeup, _most, command, arguments @ ..] = words else {
        return None;
    };
    if !["inet", "unix", "unix-dgram", "pass", "fifo"].contains(kind) {
        return None;
    }
    let mut overrides = BTreeMap::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let setting = match argument.strip_prefix("-o") {
            Some("") => arguments.next().copied(),
            Some(setting) => Some(setting),
            None => None,
        };
        let setting = setting.map(unbraced).and_then(|setting| setting.split_once('='));
        if let Some((name, value)) = setting {
            overrides.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
    Some(Service {
        name: (*name).to_owned(),
        kind: (*kind).to_owned(),
        chroot: (*chroot).to_owned(),
        command: (*command).to_owned(),
        overrides,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_parameters_of_their_own() {
        let text = "smtp inet n - y - - smtpd\n#submission inet n - y - - smtpd\n\
                    submission inet n - - - - smtpd\n  -o syslog_name=postfix/submission\n# in between\n\
                    \x20 -osmtpd_tls_security_level=encrypt -o { smtpd_banner = our own server }\n\
                    \x20 -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject -v\n\
                    [::1]:10025 inet n - n - - smtpd\nbroken inet n\n\
                    dovecot unix - n n - - pipe flags=DRhu user=vmail argv=/usr/lib/dovecot/deliver -d ${recipient}\n";
        let (services, odd) = parse(text);
        assert_eq!(odd, [(9, "broken inet n".to_owned())]);
        let titles: Vec<_> = services.iter().map(Service::title).collect();
        assert_eq!(titles, ["smtp/inet", "submission/inet", "[::1]:10025/inet", "dovecot/unix"]);
        let submission = &services[1].overrides;
        assert_eq!(submission["smtpd_tls_security_level"], "encrypt");
        assert_eq!(submission["smtpd_banner"], "our own server");
        assert_eq!(submission["smtpd_recipient_restrictions"], "permit_sasl_authenticated,reject");
        assert!(services[0].is_chrooted(false) && services[1].is_chrooted(true));
        assert!(!services[2].is_chrooted(true));
        assert_eq!(services[1].address(), Some((String::new(), 587)));
        assert_eq!(services[2].address(), Some(("::1".to_owned(), 10025)));
        assert_eq!(services[3].command, "pipe");
    }
}
