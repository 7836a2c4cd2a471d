//! Macros: what a filter may know about a connection and a message beyond the commands, each at its stage. Sendmail gave
//! them their names; Postfix sends the same ones.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::wire::{Reader, command, put, put_string};
use crate::Failure;
use crate::limits::{MILTER_MACRO_BYTES_MAX, MILTER_SYMBOLS_MAX};

/// Stages that have a list of macros; the numbers are those of `SMFIM_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Connect,
    Helo,
    Mail,
    Rcpt,
    Data,
    BodyEnd,
    HeaderEnd,
}

const STAGES: usize = 7;

/// Sent where the filter has not asked for others.
const USUAL: [&[&str]; STAGES] = [
    &[
        "j",
        "{daemon_name}",
        "{daemon_addr}",
        "{daemon_port}",
        "{if_name}",
        "{if_addr}",
        "v",
        "_",
        "{client_addr}",
        "{client_name}",
        "{client_port}",
        "{client_ptr}",
        "{client_resolve}",
        "{client_connections}",
    ],
    &[
        "{tls_version}",
        "{cipher}",
        "{cipher_bits}",
        "{cert_subject}",
        "{cert_issuer}",
        "{verify}",
        "{client_addr}",
        "{client_name}",
        "{client_port}",
        "{client_ptr}",
    ],
    &[
        "i",
        "b",
        "r",
        "s",
        "{auth_type}",
        "{auth_authen}",
        "{auth_ssf}",
        "{auth_author}",
        "{mail_addr}",
        "{mail_host}",
        "{mail_mailer}",
        "{client_addr}",
        "{client_name}",
        "{client_port}",
        "{client_ptr}",
    ],
    &["i", "b", "r", "s", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"],
    &["i"],
    &["i", "{msg_id}", "{auth_type}", "{auth_authen}"],
    &["i"],
];

impl Stage {
    const ALL: [Self; STAGES] =
        [Self::Connect, Self::Helo, Self::Mail, Self::Rcpt, Self::Data, Self::BodyEnd, Self::HeaderEnd];

    /// The command that the macros go in front of.
    const fn letter(self) -> u8 {
        match self {
            Self::Connect => command::CONNECT,
            Self::Helo => command::HELO,
            Self::Mail => command::MAIL,
            Self::Rcpt => command::RCPT,
            Self::Data => command::DATA,
            Self::BodyEnd => command::BODY_END,
            Self::HeaderEnd => command::HEADER_END,
        }
    }
}

/// Values by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Macros(BTreeMap<String, Vec<u8>>);

impl Macros {
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        let name = bare(name);
        let value = value.get(..value.len().min(MILTER_MACRO_BYTES_MAX)).unwrap_or_default();
        self.0.insert(name, value.to_vec());
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.0.remove(&bare(name));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Writes the stage's packet, when there is anything in it.
    pub(crate) fn put(&self, out: &mut Vec<u8>, stage: Stage, symbols: &Symbols) {
        let mut data = Vec::new();
        let mut add = |name: &str| {
            if let Some(value) = self.0.get(name) {
                put_string(&mut data, name.as_bytes());
                put_string(&mut data, value);
            }
        };
        match symbols.0.get(stage as usize) {
            Some(Some(asked)) => asked.iter().for_each(|name| add(name)),
            _ => USUAL.get(stage as usize).copied().unwrap_or_default().iter().for_each(|name| add(name)),
        }
        if !data.is_empty() {
            put(out, command::MACRO, &[&[stage.letter()], &data]);
        }
    }
}

/// Lists that a filter asked for in place of the usual ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Symbols([Option<Vec<String>>; STAGES]);

impl Symbols {
    /// One list: the stage's number and names divided by spaces.
    pub(crate) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Failure> {
        let stage = reader.number()? as usize;
        let names = reader.text(MILTER_SYMBOLS_MAX * 64)?;
        // A stage of a later version is nothing to us.
        let Some(list) = Stage::ALL.get(stage).and_then(|stage| self.0.get_mut(*stage as usize)) else {
            return Ok(());
        };
        let names: Vec<String> = names
            .split(' ')
            .filter(|name| !name.is_empty())
            .take(MILTER_SYMBOLS_MAX + 1)
            .map(str::to_string)
            .collect();
        if names.len() > MILTER_SYMBOLS_MAX {
            return Err(Failure::Protocol("more macros asked for than 50"));
        }
        *list = Some(names.iter().map(|name| bare(name)).collect());
        Ok(())
    }
}

/// A name of one letter needs no braces: `{i}` is `i`.
fn bare(name: &str) -> String {
    match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
        Some(short) if short.len() == 1 => short.to_string(),
        _ => name.to_string(),
    }
}
