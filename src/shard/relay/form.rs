//! The form in which a message goes to a host: as it came, or converted for one that does not take it so (RFC 6152 §3,
//! RFC 3030 §3).

use std::cell::OnceCell;
use std::sync::Arc;

use mime::{Target, Unconvertible, convert};
use queue::Body;
use smtp::{BodyKind, Extensions};

use super::parcel::Parcel;
use crate::Shard;
use crate::limits::CONVERTED_AT_ONCE_BYTES_MAX;

/// What is sent, and how it is declared.
pub(super) struct Form {
    pub(super) content: Arc<Vec<u8>>,
    pub(super) body: BodyKind,
}

/// What conversion made of a message: once, however many hosts are tried.
#[derive(Default)]
pub(super) struct Converted {
    to_seven_bit: OnceCell<Made>,
    to_eight_bit: OnceCell<Made>,
}

type Made = Result<Arc<Vec<u8>>, Unconvertible>;

/// How a host takes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As it came, declared so.
    AsItIs(BodyKind),
    Converted(Target),
}

impl Converted {
    /// The form for a host; or the reply that it cannot have any. What a host takes as it is is not looked at.
    pub(super) async fn form(
        &self,
        shard: &Shard,
        offered: &Extensions,
        parcel: &Parcel,
    ) -> Result<Form, String> {
        let (target, cell) = match way(offered, parcel) {
            Way::AsItIs(body) => return Ok(Form { content: Arc::clone(&parcel.content), body }),
            Way::Converted(Target::SevenBit) => (Target::SevenBit, &self.to_seven_bit),
            Way::Converted(Target::EightBit) => (Target::EightBit, &self.to_eight_bit),
        };
        if let Some(made) = cell.get() {
            return form_of(target, made);
        }
        let made = made(shard, &parcel.content, target).await;
        form_of(target, cell.get_or_init(|| made))
    }
}

fn way(offered: &Extensions, parcel: &Parcel) -> Way {
    // RFC 6531 §3.1: who takes SMTPUTF8 takes 8-bit content, whether it says so or not.
    let takes_8bit = offered.eight_bit_mime || (parcel.envelope.is_smtputf8 && offered.smtputf8);
    match parcel.envelope.body {
        Body::BinaryMime if offered.takes_binary(parcel.content.len()) => Way::AsItIs(BodyKind::BinaryMime),
        Body::BinaryMime if takes_8bit => Way::Converted(Target::EightBit),
        Body::EightBitMime if takes_8bit => Way::AsItIs(BodyKind::EightBitMime),
        Body::SevenBit if takes_8bit => Way::AsItIs(BodyKind::SevenBit),
        // Much is declared that is not there, and the other way round.
        Body::SevenBit | Body::EightBitMime if parcel.content.is_ascii() => Way::AsItIs(BodyKind::SevenBit),
        Body::SevenBit | Body::EightBitMime | Body::BinaryMime => Way::Converted(Target::SevenBit),
    }
}

/// What is large is converted off the shard, which has others to serve meanwhile.
async fn made(shard: &Shard, content: &Arc<Vec<u8>>, target: Target) -> Made {
    let work = move |content: &[u8]| convert(content, target).map(Arc::new);
    if content.len() > CONVERTED_AT_ONCE_BYTES_MAX {
        let own = Arc::clone(content);
        if let Ok(made) = shard.off_shard(move || work(&own)).await {
            return made;
        }
    }
    work(content)
}

fn form_of(target: Target, made: &Made) -> Result<Form, String> {
    let (body, lacks) = match target {
        Target::SevenBit => (BodyKind::SevenBit, "8BITMIME"),
        Target::EightBit => (BodyKind::EightBitMime, "BINARYMIME"),
    };
    match made {
        Ok(content) => Ok(Form { content: Arc::clone(content), body }),
        // RFC 3463 §3.7: conversion is required and not to be had.
        Err(why) => Err(format!(
            "554 5.6.3 the host does not support {lacks}, and the message cannot be converted: {why}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use queue::{Envelope, Origin, Terms};

    use super::*;
    use crate::relay::route::Route;

    fn parcel(content: &str, body: Body, is_smtputf8: bool) -> Parcel {
        Parcel {
            route: Route::LOCAL,
            envelope: Arc::new(Envelope {
                id: 1,
                sender: None,
                recipients: Vec::new(),
                body,
                is_smtputf8,
                ret: None,
                envid: None,
                requires_tls: false,
                terms: Terms::default(),
                route: None,
                moderation: None,
                here: None,
                received: base::Timestamp::from_s(0),
                origin: Origin::default(),
            }),
            recipients: Vec::new(),
            content: Arc::new(content.as_bytes().to_vec()),
            urgency: crate::relay::parcel::Urgency::new(0, base::Timestamp::from_s(0)),
        }
    }

    #[test]
    fn a_host_gets_what_it_takes() {
        let plain = "Subject: x\r\n\r\nx\r\n";
        let umlauts = "Subject: x\r\n\r\nein schönes Wort\r\n";
        let nothing = Extensions::default();
        let eight = Extensions { eight_bit_mime: true, ..nothing.clone() };
        let binary = Extensions { binary_mime: true, chunking: true, pipelining: true, ..eight.clone() };
        let unchunked = Extensions { chunking: false, ..binary.clone() };
        let utf8 = Extensions { smtputf8: true, ..nothing.clone() };
        for (offered, content, body, is_smtputf8, expected) in [
            (&eight, umlauts, Body::SevenBit, false, Way::AsItIs(BodyKind::SevenBit)),
            (&eight, umlauts, Body::EightBitMime, false, Way::AsItIs(BodyKind::EightBitMime)),
            (&nothing, plain, Body::SevenBit, false, Way::AsItIs(BodyKind::SevenBit)),
            (&nothing, plain, Body::EightBitMime, false, Way::AsItIs(BodyKind::SevenBit)),
            (&nothing, umlauts, Body::SevenBit, false, Way::Converted(Target::SevenBit)),
            (&nothing, umlauts, Body::EightBitMime, false, Way::Converted(Target::SevenBit)),
            (&utf8, umlauts, Body::EightBitMime, false, Way::Converted(Target::SevenBit)),
            (&utf8, umlauts, Body::EightBitMime, true, Way::AsItIs(BodyKind::EightBitMime)),
            (&nothing, umlauts, Body::BinaryMime, false, Way::Converted(Target::SevenBit)),
            (&eight, umlauts, Body::BinaryMime, false, Way::Converted(Target::EightBit)),
            (&binary, umlauts, Body::BinaryMime, false, Way::AsItIs(BodyKind::BinaryMime)),
            (&unchunked, umlauts, Body::BinaryMime, false, Way::Converted(Target::EightBit)),
        ] {
            let parcel = parcel(content, body, is_smtputf8);
            assert_eq!(way(offered, &parcel), expected, "{offered:?} {content} {body:?}");
        }
    }

    #[test]
    fn what_cannot_be_converted_says_what_the_host_lacks() {
        for (target, lacks) in [(Target::SevenBit, "8BITMIME"), (Target::EightBit, "BINARYMIME")] {
            let reply = form_of(target, &Err(Unconvertible::Header)).err().expect("there is no form");
            assert!(reply.starts_with(&format!("554 5.6.3 the host does not support {lacks}")), "{reply}");
        }
    }
}
