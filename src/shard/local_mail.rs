//! Mail of programs on this machine, as `sendmail` hands it in: what it lacks is added, and then it goes the way of mail that
//! a user submits.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use base::{Timestamp, VerpSigns};
use directory::{EmailAddress, Resolution};
use mime::{Headers, addresses, end_of_headers, rfc5322_date};
use smtp::{
    BodyKind, Envelope, Message, Mode, Notify, Outcome, Path, Peer, Recipient, Return, Terms, TransactionId,
};

use crate::{Shard, SmtpService};

/// A message that a local user hands in.
#[derive(Clone, Debug)]
pub struct LocalMail {
    /// The user, by name.
    pub user: String,
    /// The sender; `None` is the user's own address, an empty one is nobody.
    pub sender: Option<String>,
    /// The name for a From that is made; empty for none.
    pub full_name: String,
    /// The recipients, with or without a domain.
    pub recipients: Vec<String>,
    /// To, Cc and Bcc name recipients too.
    pub header_names_recipients: bool,
    /// When the sender wants to be told.
    pub notify: Option<Notify>,
    /// How much a bounce gives back.
    pub ret: Option<Return>,
    /// The sender's own mark for notices.
    pub envid: Option<String>,
    /// A return path for each recipient.
    pub verp: Option<VerpSigns>,
    /// Lines that end at LF or CRLF.
    pub content: Vec<u8>,
}

/// Why nothing of it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// No recipient at all.
    NoRecipients,
    /// More than one message may have.
    TooManyRecipients,
    /// A return path for each recipient is wanted, and there is no sender.
    NoReturnPath,
    /// It is no address.
    BadAddress(String),
    /// Nobody here has this address.
    UnknownUser(String),
    /// It is larger than messages may be.
    TooLarge,
    /// It will not be taken; why, for people.
    Refused(String),
    /// It may be taken later; why, for people.
    Later(&'static str),
}

/// Takes a message: when it returns its id, the message is durable for all recipients.
pub async fn submit_local(shard: &Rc<Shard>, mail: LocalMail) -> Result<TransactionId, Unsent> {
    let settings = shard.settings();
    let limits = &settings.submission.limits;
    let content = lines(&mail.content);
    if content.len() > limits.message_bytes_max {
        return Err(Unsent::TooLarge);
    }
    let host = settings.default_domain.as_deref().unwrap_or(&settings.hostname);
    let (mut recipients, mut known_already) = (Vec::new(), HashSet::new());
    let named = if mail.header_names_recipients { named_in(&content) } else { Vec::new() };
    for text in mail.recipients.iter().chain(&named) {
        let address = whole(text, host)?;
        if known_already.insert(address.clone()) {
            recipients.push(address);
        }
        if recipients.len() > limits.recipients_max {
            return Err(Unsent::TooManyRecipients);
        }
    }
    if recipients.is_empty() {
        return Err(Unsent::NoRecipients);
    }
    for address in &recipients {
        known(shard, address).await?;
    }
    let sender = sender(&mail, &settings.hostname)?;
    if mail.verp.is_some() && sender.is_none() {
        return Err(Unsent::NoReturnPath);
    }
    if mail.verp.is_some() && !settings.outbound.verp {
        return Err(Unsent::Refused("this server makes no return paths for each recipient".to_owned()));
    }
    let now = shard.world.now();
    let message = message(shard, &mail, &content, (sender, recipients), now);
    let id = message.envelope.id;
    let mut way = SmtpService::new(Rc::clone(shard), "unix".to_owned());
    let outcomes = Box::pin(way.deliver(message)).await;
    let outcomes = outcomes.map_err(|refused| match refused.code {
        400..500 => Unsent::Later("it was put off: see the server's log"),
        _ => Unsent::Refused(refused.text),
    })?;
    tracing::info!(event = "local.taken", %id, user = mail.user, recipients = outcomes.len());
    outcomes.into_iter().try_for_each(judged).map(|()| id)
}

fn judged(outcome: Outcome) -> Result<(), Unsent> {
    match outcome {
        Outcome::Stored => Ok(()),
        Outcome::TooLarge => Err(Unsent::TooLarge),
        Outcome::TooManyRecipients => Err(Unsent::TooManyRecipients),
        Outcome::OverQuota => Err(Unsent::Refused("a recipient's mailbox is full".to_owned())),
        Outcome::Disabled => Err(Unsent::Refused("a recipient takes no mail".to_owned())),
        Outcome::Rejected => Err(Unsent::Refused("a recipient's address cannot be used".to_owned())),
        Outcome::NoSpace => Err(Unsent::Later("the server has no room now")),
        Outcome::Unavailable => Err(Unsent::Later("the server cannot store it now")),
    }
}

/// Whether mail to an address would be taken.
async fn known(shard: &Rc<Shard>, address: &str) -> Result<(), Unsent> {
    let parsed = EmailAddress::parse(address).map_err(|_| Unsent::BadAddress(address.to_owned()))?;
    match shard.people.resolve(shard, &parsed).await {
        Ok(Resolution::Local(_)) => Ok(()),
        Ok(Resolution::NotLocal | Resolution::Forwarded(_)) if shard.settings().outbound.is_enabled => Ok(()),
        Ok(Resolution::Forwarded(forwarded)) if forwarded.is_of_accounts() => Ok(()),
        Ok(Resolution::NotLocal | Resolution::Forwarded(_)) => {
            Err(Unsent::Refused("this server sends no mail to other systems".to_owned()))
        }
        Ok(Resolution::UnknownUser | Resolution::Disabled) => Err(Unsent::UnknownUser(address.to_owned())),
        Ok(Resolution::AliasLoop) => Err(Unsent::Refused(format!("the alias {address} leads in a circle"))),
        Err(_) => Err(Unsent::Later("the server cannot look the recipients up now")),
    }
}

/// An address with a domain, whoever left it out, without brackets.
fn whole(text: &str, domain: &str) -> Result<String, Unsent> {
    let bad = || Unsent::BadAddress(text.to_owned());
    let bare = text.trim();
    let bare = bare.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(bare);
    let whole = if bare.contains('@') { bare.to_owned() } else { format!("{bare}@{domain}") };
    Path::parse(&whole).map(Path::into_string).map_err(|_| bad())
}

fn sender(mail: &LocalMail, hostname: &str) -> Result<Option<Path>, Unsent> {
    let text = match mail.sender.as_deref().map(str::trim) {
        Some("" | "<>") => return Ok(None),
        Some(text) => whole(text, hostname)?,
        None => format!("{}@{hostname}", mail.user),
    };
    Path::parse(&text).map(Some).map_err(|_| Unsent::BadAddress(text))
}

/// Lines that end at CRLF, whatever they ended at: a CR alone ends one too. NUL is left out (RFC 5322 §4).
fn lines(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 16);
    let mut rest = content.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            0 => {}
            b'\r' => {
                rest.next_if_eq(&b'\n');
                out.extend_from_slice(b"\r\n");
            }
            b'\n' => out.extend_from_slice(b"\r\n"),
            byte => out.push(byte),
        }
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// How many bytes in front are header fields, and whether the empty line behind them is there. What begins like a mailbox
/// file's line (`From `) is taken for no field.
fn header(content: &[u8]) -> (usize, bool) {
    let mut at = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if line == b"\r\n" {
            return (at, true);
        }
        let is_continued = at > 0 && matches!(line.first(), Some(b' ' | b'\t'));
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let is_field = name.len() < line.len() && !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        if !is_continued && !is_field {
            return (at, false);
        }
        at += line.len();
    }
    (at, false)
}

/// The addresses in To, Cc and Bcc (RFC 5322 §3.6.3).
fn named_in(content: &[u8]) -> Vec<String> {
    let (end, _) = header(content);
    let header = content.get(..end).unwrap_or_default();
    let is_recipients = |field: &mime::Header<'_>| ["To", "Cc", "Bcc"].iter().any(|name| field.is(name));
    let mut all = Vec::new();
    for field in Headers::of(header).filter(is_recipients) {
        for address in addresses(field.value) {
            let (Some(local), Some(host)) = (address.mailbox, address.host) else { continue };
            let (local, host) = (String::from_utf8_lossy(&local), String::from_utf8_lossy(&host));
            let local = quoted(&local);
            all.push(if host.is_empty() { local } else { format!("{local}@{host}") });
        }
    }
    all
}

/// A local part as paths have it.
pub(crate) fn quoted(local: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    if local.chars().all(is_plain) {
        return local.to_owned();
    }
    format!("\"{}\"", local.replace('\\', "\\\\").replace('"', "\\\""))
}

fn message(
    shard: &Shard,
    mail: &LocalMail,
    content: &[u8],
    (sender, recipients): (Option<Path>, Vec<String>),
    now: Timestamp,
) -> Message {
    let hostname = &shard.settings().hostname;
    let mut id = [0; 8];
    shard.world.random(&mut id);
    let id = TransactionId(u64::from_ne_bytes(id));
    let user = word(&mail.user);
    let mut data =
        format!("Received: by {hostname} (local user {user}) id {id};\r\n\t{}\r\n", rfc5322_date(now, 0))
            .into_bytes();
    let received_field_bytes = data.len();
    let (end, is_ended) = header(content);
    let fields = content.get(..end).unwrap_or_default();
    if mime::field(fields, "From").is_none() {
        data.extend_from_slice(author(mail, sender.as_ref(), hostname).as_bytes());
    }
    data.extend_from_slice(fields);
    if !is_ended {
        data.extend_from_slice(b"\r\n");
    }
    let body = content.get(end..).unwrap_or_default();
    data.extend_from_slice(body);
    let head = data.get(..end_of_headers(&data)).unwrap_or(&data);
    let is_smtputf8 = !head.is_ascii()
        || recipients.iter().any(|recipient| !recipient.is_ascii())
        || sender.as_ref().is_some_and(|sender| !sender.is_ascii());
    let body = if data.is_ascii() { BodyKind::SevenBit } else { BodyKind::EightBitMime };
    let recipient = |address| Recipient { address, orcpt: None, notify: mail.notify };
    let envelope = Envelope {
        id,
        mode: Mode::Submission,
        helo: Arc::from(hostname.as_str()),
        is_extended: true,
        peer: Arc::new(Peer { address: "unix".to_owned(), is_trusted: true }),
        tls: None,
        identity: None,
        sender,
        recipients: recipients.into_iter().map(recipient).collect(),
        body,
        is_smtputf8,
        ret: mail.ret,
        envid: mail.envid.clone(),
        terms: Terms { verp: mail.verp, ..Terms::default() },
        received: now,
        received_field_bytes,
    };
    Message { envelope, data }
}

/// A From field for who hands it in.
fn author(mail: &LocalMail, sender: Option<&Path>, hostname: &str) -> String {
    let own = format!("{}@{hostname}", mail.user);
    let address = sender.map_or(own.as_str(), Path::as_str);
    let name: String = mail.full_name.chars().filter(|c| !c.is_control()).collect();
    if name.trim().is_empty() {
        return format!("From: {address}\r\n");
    }
    let name = name.trim().replace('\\', "\\\\").replace('"', "\\\"");
    format!("From: \"{name}\" <{address}>\r\n")
}

/// A user's name that cannot end a comment.
fn word(user: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    user.chars().map(|c| if is_plain(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_crlf_whatever_they_ended_at() {
        for (given, expected) in [
            (&b""[..], &b""[..]),
            (b"a\nb", b"a\r\nb\r\n"),
            (b"a\r\nb\r\n", b"a\r\nb\r\n"),
            (b"a\rb\r", b"a\r\nb\r\n"),
            (b"\0a\0\n\n", b"a\r\n\r\n"),
            (b"\r\r\n\n", b"\r\n\r\n\r\n"),
        ] {
            assert_eq!(lines(given), expected, "{given:?}");
        }
    }

    #[test]
    fn a_header_ends_where_no_field_is() {
        for (content, end, is_ended) in [
            ("To: x\r\n y\r\nA: b\r\n\r\nbody\r\n", 17, true),
            ("To: x\r\nhello there\r\n", 7, false),
            ("hello\r\n", 0, false),
            ("\r\nhello: x\r\n", 0, true),
            (" To: x\r\n", 0, false),
            ("From ann Tue\r\n", 0, false),
            ("A: b\r\n", 6, false),
            ("two words: x\r\n", 0, false),
            ("", 0, false),
        ] {
            assert_eq!(header(content.as_bytes()), (end, is_ended), "{content:?}");
        }
    }

    #[test]
    fn recipients_stand_in_three_fields() {
        let content = "to: Ann <ann@example.org>, bob\r\nCc: friends: \"c d\"@example.org;\r\n\
            Subject: eve@example.org\r\nBcc: fay@example.org\r\n\r\nTo: no@example.org\r\n";
        let expected = ["ann@example.org", "bob", "\"c d\"@example.org", "fay@example.org"];
        assert_eq!(named_in(content.as_bytes()), expected);
    }

    #[test]
    fn addresses_get_a_domain_and_nothing_else() {
        for (text, expected) in [
            ("ann", Some("ann@example.org")),
            (" <ann@example.net> ", Some("ann@example.net")),
            ("", None),
            ("a b", None),
            ("ann@", None),
            ("ann@example.org>\r\nRCPT TO:<x", None),
        ] {
            assert_eq!(whole(text, "example.org").ok().as_deref(), expected, "{text:?}");
        }
    }
}
