//! RESETKEY, GENURLAUTH and URLFETCH (RFC 4467 §7), and what a URL is worth on the account that it names.

use alloc::vec::Vec;

use account::{Account, MailboxName, Message};
use base::{Charge, Secret, Timestamp};

use super::Context;
use super::fetch::{section_bytes, stand_in_for_nul};
use crate::command::{ResetKey, Rump};
use crate::limits::BODY_PIECE_BYTES;
use crate::reply::{Code, Failure, Success};
use crate::response::text::{write_literal_head, write_string};
use crate::url::{INTERNAL, Url, hex};

/// Bytes that a URL means, and what covers them.
#[derive(Debug)]
pub struct UrlBytes {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their memory.
    pub charge: Charge,
}

/// Why a URL gives nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// It is not proven, or holds no more, or its mailbox is not there: which of these is not told (RFC 4467 §6).
    Denied,
    /// It may be used, and its message is not there.
    Missing,
    /// The message has no such part.
    NoPart,
    /// What the account says.
    Account(account::Error),
}

impl From<account::Error> for UrlError {
    fn from(error: account::Error) -> Self {
        Self::Account(error)
    }
}

/// What proves that somebody may have what a URL means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlProof {
    /// Its token.
    Token,
    /// The account is theirs: a URL without a grant will do.
    Owner,
}

/// The size of the message that a URL means, of which it means all or a part. The URL's user is this account's.
pub fn url_size(account: &Account, url: &Url, proof: UrlProof, now: Timestamp) -> Result<u32, UrlError> {
    find(account, url, proof, now).map(|message| message.size)
}

/// The bytes that a URL means. The URL's user is this account's.
pub async fn url_bytes(
    account: &Account,
    url: &Url,
    proof: UrlProof,
    now: Timestamp,
) -> Result<Vec<u8>, UrlError> {
    let message = find(account, url, proof, now)?;
    match section_bytes(account, &message, &url.section).await {
        Ok(bytes) => bytes.ok_or(UrlError::NoPart),
        Err(account::Error::NotFound) => Err(UrlError::Missing),
        Err(error) => Err(UrlError::Account(error)),
    }
}

fn find(account: &Account, url: &Url, proof: UrlProof, now: Timestamp) -> Result<Message, UrlError> {
    let mailbox = MailboxName::new(&url.mailbox).ok().and_then(|name| account.mailbox(&name).ok());
    let is_there = url.uid_validity.is_none_or(|uid_validity| {
        mailbox.as_ref().is_some_and(|mailbox| mailbox.uid_validity == uid_validity)
    });
    let is_proven = match &url.grant {
        Some(grant) => {
            // RFC 4467 §6: without a key the sum is made all the same, so that its time tells no names.
            let key = mailbox.as_ref().and_then(|mailbox| account.access_key(mailbox.id));
            let has_key = key.is_some();
            let key = key.unwrap_or_else(|| Secret::new([0; 32]));
            grant.verifier.as_ref().is_some_and(|verifier| {
                let is_right = auth::is_url_token(&key, verifier.rump.as_bytes(), verifier.token.reveal());
                is_right && has_key && verifier.mechanism == INTERNAL
            })
        }
        None => proof == UrlProof::Owner,
    };
    if !is_proven || url.is_expired(now) {
        return Err(UrlError::Denied);
    }
    let mailbox = mailbox.filter(|_| is_there).ok_or(UrlError::Missing)?;
    account.message(mailbox.id, url.uid).ok_or(UrlError::Missing)
}

/// Deviates from RFC 4467 §7: other sessions that have the mailbox selected are not told, for all that they would be
/// told is that the mechanism is INTERNAL.
pub(super) async fn reset_key(request: ResetKey, context: &mut Context<'_, '_>) -> Result<Success, Failure> {
    let Some(mailbox) = request.mailbox else {
        context.account.remove_access_keys().await?;
        return Ok(Success::plain("all keys are removed"));
    };
    let mailbox = context.account.mailbox(&context.name(&mailbox)?)?;
    context.account.reset_access_key(mailbox.id, fresh_key(context)).await?;
    Ok(Success::with(Code::Word("URLMECH INTERNAL"), "the key is another one"))
}

pub(super) async fn gen_url_auth(
    rumps: Vec<Rump>,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    let mut answer = b"* GENURLAUTH".to_vec();
    for Rump { mut text, url, .. } in rumps {
        // RFC 4467 §7: whoever has the account, and nobody else, gives access to it.
        if !context.around.is_own(url.user.as_deref().unwrap_or_default()).await? {
            return Err(Failure::Bad("the URL's user is somebody else"));
        }
        let mailbox =
            MailboxName::new(&url.mailbox).ok().and_then(|name| context.account.mailbox(&name).ok());
        let is_it = |validity| url.uid_validity.is_none_or(|it| it == validity);
        let Some(mailbox) = mailbox.filter(|mailbox| is_it(mailbox.uid_validity)) else {
            return Err(Failure::Bad("the URL's mailbox is not there"));
        };
        let key = match context.account.access_key(mailbox.id) {
            Some(key) => key,
            None => context.account.provide_access_key(mailbox.id, fresh_key(context)).await?,
        };
        let token = hex(&auth::url_token(&key, text.as_bytes()));
        text.extend([":", INTERNAL, ":", &token]);
        answer.push(b' ');
        write_string(&mut answer, text.as_bytes());
    }
    answer.extend_from_slice(b"\r\n");
    context.out.buffer.extend_from_slice(&answer);
    Ok(Success::plain("they give access"))
}

fn fresh_key(context: &Context<'_, '_>) -> Secret<[u8; 32]> {
    let mut key = [0; 32];
    context.around.random(&mut key);
    Secret::new(key)
}

/// One response a URL, so that no more than one is held at a time.
pub(super) async fn url_fetch(
    urls: Vec<Secret<Vec<u8>>>,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    for text in urls {
        let text = text.reveal();
        let url = core::str::from_utf8(text).ok().and_then(|text| Url::parse(text).ok());
        let found = match &url {
            Some(url) => context.around.fetch(url).await?,
            None => None,
        };
        context.out.buffer.extend_from_slice(b"* URLFETCH ");
        write_string(&mut context.out.buffer, text);
        context.out.buffer.push(b' ');
        match found {
            Some(mut found) => {
                // What a literal cannot hold is stood in for, as in FETCH.
                stand_in_for_nul(&mut found.bytes);
                write_literal_head(&mut context.out.buffer, found.bytes.len() as u64);
                for piece in found.bytes.chunks(BODY_PIECE_BYTES as usize) {
                    context.out.room().await?;
                    context.out.buffer.extend_from_slice(piece);
                }
            }
            None => context.out.buffer.extend_from_slice(b"NIL"),
        }
        context.out.buffer.extend_from_slice(b"\r\n");
        context.out.room().await?;
    }
    Ok(Success::plain("fetched"))
}
