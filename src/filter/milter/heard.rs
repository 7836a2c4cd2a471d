//! What a filter says, understood: decisions, and changes gathered until the decision.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::wire::{Packet, Reader, action, reply};
use crate::limits::{
    ADDRESS_BYTES_MAX, FIELD_NAME_BYTES_MAX, MODIFICATION_BYTES_MAX, MODIFICATIONS_MAX, PARAMETERS_BYTES_MAX,
    REASON_BYTES_MAX,
};
use crate::outcome::{Failure, Modification, Outcome, Verdict, Which};
use crate::reply::Reply;

/// The last word on a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Continue,
    Accept,
    Discard,
    Refuse(Reply),
    /// Nothing more of this kind in this message.
    Skip,
}

/// One packet of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Decision(Decision),
    /// Still at it: the time begins anew.
    Progress,
    /// A change, which the command allows and the filter has asked leave for.
    Noted,
}

/// What was agreed on, as far as an answer needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leave {
    /// `SMFIF_` bits.
    pub(crate) actions: u32,
    /// Whether it may pass over the rest of a kind.
    pub(crate) may_skip: bool,
    /// Whether values come with the space after the colon.
    pub(crate) has_leading_space: bool,
    /// Whether it is the message's end: changes come there and nowhere else.
    pub(crate) is_end: bool,
    /// The largest new body, in bytes.
    pub(crate) body_bytes_max: usize,
}

/// Changes asked for so far.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    modifications: Vec<Modification>,
    body: Option<Vec<u8>>,
    quarantine: Option<String>,
    bytes: usize,
}

impl Gathered {
    /// Understands one packet.
    pub(crate) fn hear(&mut self, packet: &Packet, leave: Leave) -> Result<Heard, Failure> {
        let decision = match packet.letter {
            reply::CONTINUE => Decision::Continue,
            reply::ACCEPT => Decision::Accept,
            reply::DISCARD => Decision::Discard,
            reply::SKIP if leave.may_skip => Decision::Skip,
            reply::SKIP => return Err(Failure::Protocol("a skip that was not agreed on")),
            reply::REJECT => Decision::Refuse(Reply::new(550, "5.7.1", "Refused by a filter")),
            reply::TEMPFAIL => {
                Decision::Refuse(Reply::new(451, "4.7.1", "Refused by a filter for now, try again later"))
            }
            reply::SHUTDOWN => Decision::Refuse(Reply::new(421, "4.7.0", "Closed by a filter")),
            reply::REPLY_CODE => {
                let text = Reader(&packet.data).string()?;
                Decision::Refuse(Reply::parse(text).ok_or(Failure::Protocol("a reply that refuses nothing"))?)
            }
            reply::PROGRESS => return Ok(Heard::Progress),
            reply::CONNECTION_FAILURE => {
                return Err(Failure::Reported("it asks to fail the connection".to_string()));
            }
            _ => {
                self.note(packet, leave)?;
                return Ok(Heard::Noted);
            }
        };
        Ok(Heard::Decision(decision))
    }

    /// The decision with what was gathered.
    pub(crate) fn outcome(self, decision: Decision) -> Outcome {
        let mut modifications = self.modifications;
        modifications.extend(self.body.map(Modification::ReplaceBody));
        let verdict = match (decision, self.quarantine) {
            (Decision::Refuse(reply), _) if reply.is_permanent() => {
                return Outcome::of(Verdict::Reject(reply));
            }
            (Decision::Refuse(reply), _) => return Outcome::of(Verdict::TempFail(reply)),
            (Decision::Discard, _) => return Outcome::of(Verdict::Discard),
            (_, Some(reason)) => Verdict::Quarantine(reason),
            (Decision::Continue | Decision::Skip, None) => Verdict::Continue,
            (Decision::Accept, None) => Verdict::Accept,
        };
        Outcome { verdict, modifications }
    }

    fn note(&mut self, packet: &Packet, leave: Leave) -> Result<(), Failure> {
        let needed = match packet.letter {
            reply::ADD_HEADER | reply::INSERT_HEADER => action::ADD_HEADERS,
            reply::CHANGE_HEADER => action::CHANGE_HEADERS,
            reply::REPLACE_BODY => action::CHANGE_BODY,
            reply::ADD_RCPT => action::ADD_RCPT,
            reply::ADD_RCPT_PARAMETERS => action::ADD_RCPT_PARAMETERS,
            reply::DELETE_RCPT => action::DELETE_RCPT,
            reply::CHANGE_FROM => action::CHANGE_FROM,
            reply::QUARANTINE => action::QUARANTINE,
            _ => return Err(Failure::Protocol("a letter that is no reply")),
        };
        if !leave.is_end {
            return Err(Failure::Protocol("a change before the end of the message"));
        }
        if leave.actions & needed == 0 {
            return Err(Failure::Protocol("a change that was not agreed on"));
        }
        if packet.letter == reply::REPLACE_BODY {
            return self.more_body(&packet.data, leave.body_bytes_max);
        }
        self.bytes += packet.data.len();
        if self.modifications.len() >= MODIFICATIONS_MAX || self.bytes > MODIFICATION_BYTES_MAX {
            return Err(Failure::Protocol("too many changes"));
        }
        let mut reader = Reader(&packet.data);
        if packet.letter == reply::QUARANTINE {
            let reason = String::from_utf8_lossy(reader.string()?);
            self.quarantine =
                Some(reason.chars().filter(|c| !c.is_control()).take(REASON_BYTES_MAX).collect());
            return Ok(());
        }
        self.modifications.push(modification(packet.letter, &mut reader, leave)?);
        Ok(())
    }

    fn more_body(&mut self, piece: &[u8], bytes_max: usize) -> Result<(), Failure> {
        let body = self.body.get_or_insert_default();
        if body.len() + piece.len() > bytes_max {
            return Err(Failure::Protocol("the new body is too long"));
        }
        body.extend_from_slice(piece);
        Ok(())
    }
}

fn modification(letter: u8, reader: &mut Reader<'_>, leave: Leave) -> Result<Modification, Failure> {
    Ok(match letter {
        reply::ADD_HEADER => {
            let (name, value) = field(reader, leave)?;
            Modification::AddHeader { name, value }
        }
        reply::INSERT_HEADER => {
            let index = i32::try_from(reader.number()?).unwrap_or(i32::MAX);
            let (name, value) = field(reader, leave)?;
            Modification::InsertHeader { index, name, value }
        }
        reply::CHANGE_HEADER => {
            let index = reader.number()?;
            let (name, value) = field(reader, leave)?;
            // An empty value takes the field out, with or without the space that would be put in front of it.
            if value.trim_ascii().is_empty() {
                Modification::RemoveHeader { name, which: Which::Nth(index) }
            } else {
                Modification::ChangeHeader { index, name, value }
            }
        }
        reply::ADD_RCPT | reply::ADD_RCPT_PARAMETERS => {
            let address = address(reader)?;
            if address.is_empty() {
                return Err(Failure::Protocol("a recipient without an address"));
            }
            let parameters =
                if reader.is_empty() { String::new() } else { reader.text(PARAMETERS_BYTES_MAX)? };
            Modification::AddRecipient { address, parameters }
        }
        reply::DELETE_RCPT => Modification::RemoveRecipient(address(reader)?),
        _ => {
            let address = address(reader)?;
            let parameters =
                if reader.is_empty() { String::new() } else { reader.text(PARAMETERS_BYTES_MAX)? };
            Modification::ChangeSender { address, parameters }
        }
    })
}

fn field(reader: &mut Reader<'_>, leave: Leave) -> Result<(String, Vec<u8>), Failure> {
    let name = reader.string()?;
    let value = reader.string()?;
    if !is_field_name(name) {
        return Err(Failure::Protocol("a header field's name that is none"));
    }
    let mut text = Vec::with_capacity(value.len() + 1);
    if !leave.has_leading_space {
        text.push(b' ');
    }
    text.extend_from_slice(value);
    Ok((String::from_utf8_lossy(name).into_owned(), text))
}

/// RFC 5322 §2.2.
pub(crate) fn is_field_name(name: &[u8]) -> bool {
    (1..=FIELD_NAME_BYTES_MAX).contains(&name.len())
        && name.iter().all(|byte| matches!(byte, 33..=57 | 59..=126))
}

fn address(reader: &mut Reader<'_>) -> Result<String, Failure> {
    Ok(bare_address(&reader.text(ADDRESS_BYTES_MAX)?))
}

/// Without angle brackets and the space around them.
pub(crate) fn bare_address(text: &str) -> String {
    let text = text.trim();
    text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text).to_string()
}
