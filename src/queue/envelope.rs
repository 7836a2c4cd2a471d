//! The envelope: what was said before the content, kept with it until the last recipient is done.

use base::{Notify, Return, Timestamp, VerpSigns};

use crate::Destination;
use crate::codec::{Reader, Writer};

const VERSION: u8 = 4;

/// From whom, to whom, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The transaction's id, as it stands in our Received field.
    pub id: u64,
    /// `local@domain`; `None` is the null path of bounces.
    pub sender: Option<String>,
    /// Everybody it is queued for. An entry is for those of one destination.
    pub recipients: Vec<Recipient>,
    /// BODY (RFC 6152 §3, RFC 3030 §3).
    pub body: Body,
    /// SMTPUTF8 (RFC 6531 §3.4).
    pub is_smtputf8: bool,
    /// RET (RFC 3461 §4.3).
    pub ret: Option<Return>,
    /// ENVID, decoded (RFC 3461 §4.4).
    pub envid: Option<String>,
    /// REQUIRETLS (RFC 8689 §2).
    pub requires_tls: bool,
    /// When it may go, and by when it is to be there.
    pub terms: Terms,
    /// The route that a rule has named, instead of the one that its addresses have.
    pub route: Option<String>,
    /// When it was received.
    pub received: Timestamp,
    /// How it came.
    pub origin: Origin,
    /// Who has to approve it before it goes, if anybody has.
    pub moderation: Option<Moderation>,
    /// It is for these accounts' own mailboxes and goes nowhere else.
    pub here: Option<Here>,
}

/// What could not be put into mailboxes of ours when all else of a message was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Here {
    /// It goes into Junk.
    pub is_junk: bool,
}

/// Who has to approve a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moderation {
    /// One of these, by their addresses.
    pub by: Vec<String>,
    /// The sender is told when it is rejected.
    pub tells_sender: bool,
}

/// A recipient elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// `local@domain`.
    pub address: String,
    /// ORCPT, `type;xtext`, still encoded (RFC 3461 §4.2).
    pub orcpt: Option<String>,
    /// NOTIFY; `None` when it was not given (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// Where it went when it was queued: recipients with the same number share an entry.
    pub group: Destination,
}

/// What the content may hold (RFC 6152 §3, RFC 3030 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// Declared 7-bit, or nothing declared.
    #[default]
    SevenBit,
    /// Lines of any octet but NUL.
    EightBitMime,
    /// Any octets.
    BinaryMime,
}

/// What the sender asked of its turn, its time and its return path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Higher goes first (RFC 6710 §4: -9 to 9).
    pub priority: i8,
    /// Not before then (RFC 4865 §3).
    pub release_at: Option<Timestamp>,
    /// By then (RFC 2852).
    pub deliver_by: Option<DeliverBy>,
    /// Each recipient gets it from an address that names it.
    pub verp: Option<VerpSigns>,
}

/// By when a message is to be delivered, and what follows when it is not (RFC 2852).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliverBy {
    /// The moment.
    pub at: Timestamp,
    /// It is given up then; otherwise the sender is told, and it is tried on.
    pub is_returned: bool,
    /// The sender wants to hear of each hop.
    pub is_traced: bool,
}

impl Terms {
    /// When the sender is to be told that it waits still, if that was asked for.
    pub fn late_at(&self) -> Option<Timestamp> {
        self.deliver_by.filter(|by| !by.is_returned).map(|by| by.at)
    }

    /// When it is given up, if that was asked for.
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.deliver_by.filter(|by| by.is_returned).map(|by| by.at)
    }

    fn write(&self, out: &mut Writer) {
        let by = self.deliver_by;
        out.u8(self.priority.cast_unsigned()).time(self.release_at.unwrap_or(Timestamp::NEVER));
        out.time(by.map_or(Timestamp::NEVER, |by| by.at));
        out.u8(by.map_or(0, |by| u8::from(by.is_returned) | u8::from(by.is_traced) << 1));
        let signs = self.verp.map(|signs| String::from_iter([signs.start(), signs.at()]));
        out.maybe(signs.as_deref());
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let is_set = |at: &Timestamp| *at != Timestamp::NEVER;
        let priority = from.u8()?.cast_signed();
        let release_at = Some(from.time()?).filter(is_set);
        let (at, flags) = (Some(from.time()?).filter(is_set), from.u8()?);
        let deliver_by =
            at.map(|at| DeliverBy { at, is_returned: flags & 1 != 0, is_traced: flags & 2 != 0 });
        let verp = match from.maybe()? {
            None => None,
            Some(signs) => Some(VerpSigns::parse(&signs)?),
        };
        Some(Self { priority, release_at, deliver_by, verp })
    }
}

/// How a message came to us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The peer's address, `unix`, or empty for what we wrote ourselves.
    pub peer: String,
    /// Its name for itself.
    pub helo: String,
    /// The account it was submitted by, if somebody logged in.
    pub account: Option<u64>,
    /// The Message-ID field's value, if there is one.
    pub message_id: Option<String>,
}

impl Envelope {
    /// The destinations of its entries, each once.
    pub fn groups(&self) -> Vec<Destination> {
        let mut groups: Vec<_> = self.recipients.iter().map(|recipient| recipient.group).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// The bytes in front of the content.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        out.u64(self.id).maybe(self.sender.as_deref()).time(self.received);
        out.u8(match self.body {
            Body::SevenBit => 0,
            Body::EightBitMime => 1,
            Body::BinaryMime => 2,
        });
        out.u8(u8::from(self.is_smtputf8) | u8::from(self.requires_tls) << 1);
        out.u8(match self.ret {
            None => 0,
            Some(Return::Full) => 1,
            Some(Return::Headers) => 2,
        });
        out.maybe(self.envid.as_deref());
        out.text(&self.origin.peer).text(&self.origin.helo);
        out.u64(self.origin.account.unwrap_or(u64::MAX)).maybe(self.origin.message_id.as_deref());
        out.u32(self.recipients.len() as u32);
        for recipient in &self.recipients {
            out.text(&recipient.address).maybe(recipient.orcpt.as_deref()).u8(notify_bits(recipient.notify));
            out.u64(recipient.group.0);
        }
        self.terms.write(&mut out);
        out.maybe(self.route.as_deref());
        let moderation = self.moderation.clone().unwrap_or_default();
        out.u8(u8::from(self.moderation.is_some()) | u8::from(moderation.tells_sender) << 1);
        out.u32(moderation.by.len() as u32);
        for address in &moderation.by {
            out.text(address);
        }
        out.u8(self.here.map_or(0, |here| 1 | u8::from(here.is_junk) << 1));
        out.finish()
    }

    /// `None` when the bytes are no envelope.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let (id, sender, received) = (from.u64()?, from.maybe()?, from.time()?);
        let body = match from.u8()? {
            0 => Body::SevenBit,
            1 => Body::EightBitMime,
            2 => Body::BinaryMime,
            _ => return None,
        };
        let flags = from.u8()?;
        let ret = match from.u8()? {
            0 => None,
            1 => Some(Return::Full),
            2 => Some(Return::Headers),
            _ => return None,
        };
        let envid = from.maybe()?;
        let (peer, helo) = (from.text()?, from.text()?);
        let account = Some(from.u64()?).filter(|account| *account != u64::MAX);
        let origin = Origin { peer, helo, account, message_id: from.maybe()? };
        let mut recipients = Vec::new();
        for _ in 0..from.count(RECIPIENT_BYTES_MIN)? {
            let (address, orcpt) = (from.text()?, from.maybe()?);
            let (notify, group) = (notify_of(from.u8()?), Destination(from.u64()?));
            recipients.push(Recipient { address, orcpt, notify, group });
        }
        let terms = Terms::read(&mut from)?;
        let route = from.maybe()?;
        let moderated = from.u8()?;
        let by = (0..from.count(TEXT_BYTES_MIN)?).map(|_| from.text()).collect::<Option<Vec<_>>>()?;
        let moderation = (moderated & 1 != 0).then_some(Moderation { by, tells_sender: moderated & 2 != 0 });
        let here = from.u8()?;
        let here = (here & 1 != 0).then_some(Here { is_junk: here & 2 != 0 });
        let (is_smtputf8, requires_tls) = (flags & 1 != 0, flags & 2 != 0);
        Some(Self {
            id,
            sender,
            recipients,
            body,
            is_smtputf8,
            ret,
            envid,
            requires_tls,
            terms,
            route,
            received,
            origin,
            moderation,
            here,
        })
    }
}

/// An empty address, no ORCPT, the byte of NOTIFY, and the group.
const RECIPIENT_BYTES_MIN: usize = 14;

/// An empty text.
const TEXT_BYTES_MIN: usize = 4;

fn notify_bits(notify: Option<Notify>) -> u8 {
    notify.map_or(0, |notify| {
        1 | u8::from(notify.on_success) << 1
            | u8::from(notify.on_failure) << 2
            | u8::from(notify.on_delay) << 3
    })
}

const fn notify_of(bits: u8) -> Option<Notify> {
    if bits & 1 == 0 {
        return None;
    }
    Some(Notify { on_success: bits & 2 != 0, on_failure: bits & 4 != 0, on_delay: bits & 8 != 0 })
}
