//! What a server and a milter agree on when they meet, and what of a session goes without saying after it.

use alloc::string::String;
use alloc::vec::Vec;

use super::macros::Symbols;
use super::message::Piece;
use super::wire::{Packet, Reader, VERSION, VERSION_MIN, action, command, put, reply, step};
use crate::outcome::Failure;

/// Commands that are answered alike, are left out together and are answered or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Helo,
    Mail,
    Rcpt,
    Data,
    Unknown,
    Piece(Piece),
}

/// What negotiation gave.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    pub(crate) version: u32,
    pub(crate) actions: u32,
    pub(crate) steps: u32,
    pub(crate) symbols: Symbols,
}

/// What the milter has said that holds on.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// It accepted the connection: no more is asked until the next.
    pub(crate) is_connection_done: bool,
    pub(crate) message: Message,
    /// It wants no more of these in this message.
    pub(crate) skipped: Vec<Kind>,
}

/// Where the milter is in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Message {
    /// In none.
    #[default]
    None,
    /// It knows of one that has not had its end.
    Open,
    /// It has decided before the end: no more is asked until the next.
    Decided,
    /// *Continue* at the end was the last that it said.
    Continued,
}

impl Agreed {
    /// Everything is offered.
    pub(crate) fn put_offer(out: &mut Vec<u8>) {
        let offer = [VERSION.to_be_bytes(), action::ALL.to_be_bytes(), step::ALL.to_be_bytes()];
        put(out, command::NEGOTIATE, &[offer.as_flattened()]);
    }

    /// Takes in a packet of the milter's answer; `true` when that was all of it.
    pub(crate) fn hear(&mut self, packet: &Packet) -> Result<bool, Failure> {
        let mut reader = Reader(&packet.data);
        match packet.letter {
            reply::SET_SYMBOLS => return self.symbols.read(&mut reader).map(|()| false),
            command::NEGOTIATE => {}
            // Its start-up has failed (`SMFIS_REJECT` of its negotiation).
            reply::REJECT | reply::TEMPFAIL => {
                return Err(Failure::Reported(String::from("it does not want to start")));
            }
            _ => return Err(Failure::Protocol("no answer to the offer of options")),
        }
        let (version, actions, steps) = (reader.number()?, reader.number()?, reader.number()?);
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Err(Failure::Protocol("another version than 2 to 6"));
        }
        if actions & !action::ALL != 0 {
            return Err(Failure::Protocol("actions that were not offered"));
        }
        if steps & !step::ALL != 0 {
            return Err(Failure::Protocol("protocol steps that were not offered"));
        }
        while !reader.is_empty() {
            self.symbols.read(&mut reader)?;
        }
        if self.symbols != Symbols::default() && actions & action::SET_SYMBOLS == 0 {
            return Err(Failure::Protocol("a list of macros that was not agreed on"));
        }
        (self.version, self.actions, self.steps) = (version, actions, steps);
        Ok(true)
    }

    /// Whether a step was agreed on.
    pub(crate) const fn has(&self, step: u32) -> bool {
        self.steps & step != 0
    }

    /// Whether the milter does not want to hear of these.
    pub(crate) const fn leaves_out(&self, kind: Kind) -> bool {
        self.has(match kind {
            Kind::Connect => step::NO_CONNECT,
            Kind::Helo => step::NO_HELO,
            Kind::Mail => step::NO_MAIL,
            Kind::Rcpt => step::NO_RCPT,
            Kind::Data => step::NO_DATA,
            Kind::Unknown => step::NO_UNKNOWN,
            Kind::Piece(Piece::Field) => step::NO_HEADERS,
            Kind::Piece(Piece::HeaderEnd) => step::NO_HEADER_END,
            Kind::Piece(Piece::Body) => step::NO_BODY,
            Kind::Piece(Piece::End) => 0,
        })
    }

    /// Whether the milter does not answer these.
    pub(crate) const fn is_unanswered(&self, kind: Kind) -> bool {
        self.has(match kind {
            Kind::Connect => step::NO_REPLY_CONNECT,
            Kind::Helo => step::NO_REPLY_HELO,
            Kind::Mail => step::NO_REPLY_MAIL,
            Kind::Rcpt => step::NO_REPLY_RCPT,
            Kind::Data => step::NO_REPLY_DATA,
            Kind::Unknown => step::NO_REPLY_UNKNOWN,
            Kind::Piece(Piece::Field) => step::NO_REPLY_HEADER,
            Kind::Piece(Piece::HeaderEnd) => step::NO_REPLY_HEADER_END,
            Kind::Piece(Piece::Body) => step::NO_REPLY_BODY,
            Kind::Piece(Piece::End) => 0,
        })
    }
}
