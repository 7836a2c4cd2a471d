//! RESETKEY, GENURLAUTH and URLFETCH (RFC 4467 §7, §9).

use alloc::string::String;
use alloc::vec::Vec;

use base::Secret;

use crate::limits::URLS_MAX;
use crate::parse::{Cursor, ParseError};
use crate::url::{Grant, Url, mechanism};

/// RESETKEY.
#[derive(Clone, Debug)]
pub struct ResetKey {
    /// The mailbox's name as sent; `None` is all of them.
    pub mailbox: Option<Vec<u8>>,
    /// The mechanisms that a key is asked for, in upper case; none is INTERNAL.
    pub mechanisms: Vec<String>,
}

/// One URL of a GENURLAUTH.
#[derive(Clone, Debug)]
pub struct Rump {
    /// Up to its access identifier, as sent: what is proven.
    pub text: String,
    /// What it says.
    pub url: Url,
    /// The mechanism asked for, in upper case.
    pub mechanism: String,
}

/// `resetkey = "RESETKEY" [SP mailbox *(SP mechanism)]`
pub(super) fn reset_key(cursor: &mut Cursor<'_>) -> Result<ResetKey, ParseError> {
    let (mut mailbox, mut mechanisms) = (None, Vec::new());
    if cursor.skip(b' ') {
        mailbox = Some(cursor.mailbox()?);
        while cursor.skip(b' ') {
            mechanisms.push(mechanism(cursor)?);
        }
    }
    Ok(ResetKey { mailbox, mechanisms })
}

/// `genurlauth = "GENURLAUTH" 1*(SP url-rump SP mechanism)`
pub(super) fn gen_url_auth(cursor: &mut Cursor<'_>) -> Result<Vec<Rump>, ParseError> {
    let mut rumps = Vec::new();
    while rumps.is_empty() || !cursor.is_end() {
        if rumps.len() == URLS_MAX {
            return cursor.fail("fewer URLs");
        }
        cursor.sp()?;
        let at = cursor.position();
        let (text, url) = rump(&cursor.astring()?, at)?;
        cursor.sp()?;
        rumps.push(Rump { text, url, mechanism: mechanism(cursor)? });
    }
    Ok(rumps)
}

/// `authimapurlrump`: with its owner and an access identifier, and without a proof.
fn rump(text: &[u8], at: usize) -> Result<(String, Url), ParseError> {
    let fail = |expected| Err(ParseError { at, expected });
    let Ok(text) = core::str::from_utf8(text) else { return fail("a URL") };
    let url = Url::parse(text).map_err(|error| ParseError { at, expected: error.expected })?;
    match &url.grant {
        None => fail("an access identifier in the URL"),
        Some(Grant { verifier: Some(_), .. }) => fail("a URL that has no token yet"),
        Some(_) if url.user.is_none() => fail("the mailbox's owner in the URL"),
        Some(_) => Ok((String::from(text), url)),
    }
}

/// `urlfetch = "URLFETCH" 1*(SP url-full)`. What is no URL is for the answer to say.
pub(super) fn url_fetch(cursor: &mut Cursor<'_>) -> Result<Vec<Secret<Vec<u8>>>, ParseError> {
    let mut urls = Vec::new();
    while urls.is_empty() || !cursor.is_end() {
        if urls.len() == URLS_MAX {
            return cursor.fail("fewer URLs");
        }
        cursor.sp()?;
        urls.push(Secret::new(cursor.astring()?.into_owned()));
    }
    Ok(urls)
}
