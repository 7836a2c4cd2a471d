//! Signing (RFC 6376 §5) with all active keys of a domain.

use base::Timestamp;

use super::fold_base64;
use crate::canon::Form;
use crate::key::PrivateKey;
use crate::limits::SIGNING_KEYS_MAX;
use crate::message::{Field, Message};
use crate::name;
use crate::tags::to_base64;
use crate::text::put;

/// The fields that are signed when they are there (RFC 6376 §5.4.1), and the lists' own.
const SIGNED: [&str; 22] = [
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "content-id",
    "content-description",
    "list-id",
    "list-help",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-subscribe",
    "list-post",
    "list-owner",
];

/// Named once more than they are there, so that another one, added on the way, breaks the signature
/// (RFC 6376 §8.15).
const OVERSIGNED: [&str; 9] =
    ["from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "content-type"];

/// Whether a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, and not used yet: name servers elsewhere may not know it.
    Waiting,
    /// It signs.
    Active,
    /// Published, and no longer used: mail that it signed is still on its way.
    Retiring,
}

/// One key of a domain.
#[derive(Debug)]
pub struct DomainKey {
    /// Its selector.
    pub selector: String,
    /// Whether it signs.
    pub state: KeyState,
    /// The key.
    pub key: PrivateKey,
}

/// The keys of one domain.
#[derive(Debug)]
pub struct Signer {
    domain: String,
    keys: Vec<DomainKey>,
}

/// Why there is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignError {
    /// The domain or a selector is no name, or there are too many keys.
    BadKeys,
    /// The message has no From, or more than one (RFC 6376 §5.4, RFC 5322 §3.6).
    BadFrom,
    /// The key did not sign.
    KeyFailed,
}

/// How to sign.
#[derive(Clone, Copy, Debug)]
pub struct SignOptions {
    /// `t=`.
    pub now: Timestamp,
    /// `x=`, so many seconds after now; without an end when 0.
    pub valid_s: u32,
}

impl Signer {
    /// The keys of a domain, [`SIGNING_KEYS_MAX`] at most.
    pub fn new(domain: &str, keys: Vec<DomainKey>) -> Result<Self, SignError> {
        let domain =
            name::normal(domain).filter(|name| name::is_host_like(name)).ok_or(SignError::BadKeys)?;
        let are_selectors = keys.iter().all(|key| name::is_host_like(&key.selector));
        if !are_selectors || keys.len() > SIGNING_KEYS_MAX {
            return Err(SignError::BadKeys);
        }
        Ok(Self { domain, keys })
    }

    /// The domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// All keys, also those that do not sign: each has a record to publish.
    pub fn keys(&self) -> &[DomainKey] {
        &self.keys
    }

    /// The fields to put in front of the message: one for each active key. Empty when no key is active. An RSA
    /// signature takes some 0.2 ms.
    pub async fn sign(&self, message: &Message<'_>, options: SignOptions) -> Result<Vec<u8>, SignError> {
        if message.named("from").count() != 1 {
            return Err(SignError::BadFrom);
        }
        let (hash, _) = Form::Relaxed.body_hash(message.body, None).await;
        let names = signed_names(message);
        let mut fields = Vec::new();
        for key in self.keys.iter().filter(|key| key.state == KeyState::Active) {
            let head = self.head(key, options, &hash);
            fields.extend(sign_field("DKIM-Signature", &head, &names, (message, &key.key))?);
        }
        Ok(fields)
    }

    fn head(&self, key: &DomainKey, options: SignOptions, hash: &[u8; 32]) -> String {
        let now_s = options.now.as_s();
        let algorithm = key.key.algorithm().word();
        let (domain, selector) = (&self.domain, &key.selector);
        let mut head =
            format!("v=1; a={algorithm}; c=relaxed/relaxed;\r\n d={domain}; s={selector};\r\n t={now_s};");
        if options.valid_s > 0 {
            put(&mut head, format_args!(" x={};", now_s.saturating_add(i64::from(options.valid_s))));
        }
        put(&mut head, format_args!(" bh={};", to_base64(hash)));
        head
    }
}

/// The names for `h=`: each as often as it is there, some once more.
pub(crate) fn signed_names(message: &Message<'_>) -> Vec<&'static str> {
    let mut names = Vec::new();
    for name in SIGNED {
        let count = message.named(name).count() + usize::from(OVERSIGNED.contains(&name));
        names.extend(std::iter::repeat_n(name, count));
    }
    names.truncate(crate::limits::DKIM_SIGNED_FIELDS_MAX);
    names
}

/// A whole field `NAME: head; h=...; b=...` over the message.
pub(crate) fn sign_field(
    title: &str,
    head: &str,
    names: &[&str],
    (message, key): (&Message<'_>, &PrivateKey),
) -> Result<Vec<u8>, SignError> {
    let mut text = format!("{title}: {head}\r\n h=");
    let mut line = 3;
    for (i, name) in names.iter().enumerate() {
        if i > 0 {
            text.push(':');
        }
        if line + name.len() > 72 {
            text.push_str("\r\n ");
            line = 1;
        }
        text.push_str(name);
        line += name.len() + 1;
    }
    text.push_str(";\r\n b=");
    let mut data = Vec::with_capacity(2048);
    for field in message.signed(names.iter().map(|name| name.as_bytes())) {
        Form::Relaxed.header(&field, &mut data);
    }
    finish_field(text, data, key)
}

/// Signs `data` and the field so far, and appends the signature to the field.
pub(crate) fn finish_field(
    mut text: String,
    mut data: Vec<u8>,
    key: &PrivateKey,
) -> Result<Vec<u8>, SignError> {
    let colon = text.find(':').unwrap_or(0);
    let (name, value) = text.as_bytes().split_at(colon);
    let own = Field { name, raw: text.as_bytes(), value: value.get(1..).unwrap_or_default() };
    Form::Relaxed.own_header(&own, &mut data);
    let signature = key.sign(&data).map_err(|_| SignError::KeyFailed)?;
    fold_base64(&to_base64(&signature), 3, &mut text);
    text.push_str("\r\n");
    Ok(text.into_bytes())
}
