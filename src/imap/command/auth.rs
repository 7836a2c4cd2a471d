//! Commands before and just after login: AUTHENTICATE, LOGIN, ENABLE.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base::Secret;

use crate::capability::Enabled;
use crate::parse::{Cursor, ParseError};

/// `authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]` (RFC 9051 §6.2.2, RFC 4959).
#[derive(Clone, Debug)]
pub struct Authenticate {
    /// The SASL mechanism's name in upper case.
    pub mechanism: String,
    /// The initial response as sent, in base64; `=` is the empty one.
    pub initial: Option<Secret<Vec<u8>>>,
}

/// `login = "LOGIN" SP userid SP password` (RFC 9051 §6.2.3).
#[derive(Clone, Debug)]
pub struct Login {
    /// Who.
    pub username: String,
    /// And the proof.
    pub password: Secret<String>,
}

/// `enable = "ENABLE" 1*(SP capability)` (RFC 5161 §3.1): those we know, the others are ignored.
#[derive(Clone, Debug)]
pub struct Enable {
    /// What is asked for and can be had.
    pub wanted: Enabled,
}

pub(super) fn authenticate(cursor: &mut Cursor<'_>) -> Result<Authenticate, ParseError> {
    cursor.sp()?;
    let mechanism = cursor.atom()?.to_ascii_uppercase();
    if !cursor.skip(b' ') {
        return Ok(Authenticate { mechanism, initial: None });
    }
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let initial = cursor.take_while(is_base64);
    if initial.is_empty() {
        return cursor.fail("an initial response in base64, or =");
    }
    Ok(Authenticate { mechanism, initial: Some(Secret::new(initial.to_vec())) })
}

pub(super) fn login(cursor: &mut Cursor<'_>) -> Result<Login, ParseError> {
    cursor.sp()?;
    let username = utf8(cursor)?;
    cursor.sp()?;
    let password = Secret::new(utf8(cursor)?);
    Ok(Login { username, password })
}

fn utf8(cursor: &mut Cursor<'_>) -> Result<String, ParseError> {
    let at = cursor.position();
    let bytes = cursor.astring()?;
    core::str::from_utf8(&bytes).map(ToString::to_string).map_err(|_| ParseError { at, expected: "UTF-8" })
}

pub(super) fn enable(cursor: &mut Cursor<'_>) -> Result<Enable, ParseError> {
    let mut wanted = Enabled::NONE;
    cursor.sp()?;
    loop {
        wanted = wanted.with(Enabled::from_capability(cursor.atom()?));
        if !cursor.skip(b' ') {
            return Ok(Enable { wanted });
        }
    }
}
