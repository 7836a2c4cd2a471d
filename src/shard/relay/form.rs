//! The form in which a message goes to a host: as it came, or converted for one that does not take it so (RFC 6152 §3,
//! RFC 3030 §3).

use std::cell::OnceCell;
use std::sync::Arc;

use mime::{Target, Unconvertible, convert};
use queue::Body;
use smtp::{BodyKind, Extensions};

use super::parcel::Parcel;

/// What is sent, and how it is declared.
pub(super) struct Form {
    pub(super) content: Arc<Vec<u8>>,
    pub(super) body: BodyKind,
}

/// What conversion made of a message: once, however many hosts are tried.
#[derive(Default)]
pub(super) struct Converted {
    to_seven_bit: OnceCell<Result<Arc<Vec<u8>>, Unconvertible>>,
    to_eight_bit: OnceCell<Result<Arc<Vec<u8>>, Unconvertible>>,
}

impl Converted {
    /// The form for a host; or the reply that it cannot have any. What a host takes as it is is not looked at.
    pub(super) fn form(&self, offered: &Extensions, parcel: &Parcel) -> Result<Form, String> {
        let as_it_is = |body| Ok(Form { content: Arc::clone(&parcel.content), body });
        // RFC 6531 §3.1: who takes SMTPUTF8 takes 8-bit content, whether it says so or not.
        let takes_8bit = offered.eight_bit_mime || (parcel.envelope.is_smtputf8 && offered.smtputf8);
        match parcel.envelope.body {
            Body::BinaryMime if offered.takes_binary(parcel.content.len()) => as_it_is(BodyKind::BinaryMime),
            Body::BinaryMime => self.converted(takes_8bit, parcel),
            Body::EightBitMime if takes_8bit => as_it_is(BodyKind::EightBitMime),
            Body::SevenBit if takes_8bit => as_it_is(BodyKind::SevenBit),
            // Much is declared that is not there, and the other way round.
            _ if parcel.content.is_ascii() => as_it_is(BodyKind::SevenBit),
            _ => self.converted(false, parcel),
        }
    }

    fn converted(&self, takes_8bit: bool, parcel: &Parcel) -> Result<Form, String> {
        let (made, target, body) = if takes_8bit {
            (&self.to_eight_bit, Target::EightBit, BodyKind::EightBitMime)
        } else {
            (&self.to_seven_bit, Target::SevenBit, BodyKind::SevenBit)
        };
        let made = made.get_or_init(|| convert(&parcel.content, target).map(Arc::new));
        match made {
            Ok(content) => Ok(Form { content: Arc::clone(content), body }),
            // RFC 3463 §3.7: conversion is required and not to be had.
            Err(why) => {
                let lacks = if takes_8bit { "BINARYMIME" } else { "8BITMIME" };
                Err(format!(
                    "554 5.6.3 the host does not support {lacks}, and the message cannot be converted: {why}"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use queue::{Envelope, Origin, Terms};

    use super::*;
    use crate::relay::route::Route;

    fn parcel(content: &str, body: Body, is_smtputf8: bool) -> Parcel {
        Parcel {
            route: Route::Local,
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
                received: base::Timestamp::from_s(0),
                origin: Origin::default(),
            }),
            recipients: Vec::new(),
            content: Arc::new(content.as_bytes().to_vec()),
        }
    }

    /// How it is declared, and whether it is as it came.
    fn form(offered: &Extensions, parcel: &Parcel) -> Result<(BodyKind, bool), String> {
        let converted = Converted::default();
        let form = converted.form(offered, parcel)?;
        let again = converted.form(offered, parcel)?;
        assert!(Arc::ptr_eq(&form.content, &again.content), "it is converted once");
        Ok((form.body, Arc::ptr_eq(&form.content, &parcel.content)))
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
        for (offered, content, body, is_smtputf8, kind, is_as_it_came) in [
            (&eight, umlauts, Body::SevenBit, false, BodyKind::SevenBit, true),
            (&eight, umlauts, Body::EightBitMime, false, BodyKind::EightBitMime, true),
            (&nothing, plain, Body::SevenBit, false, BodyKind::SevenBit, true),
            (&nothing, plain, Body::EightBitMime, false, BodyKind::SevenBit, true),
            (&nothing, umlauts, Body::SevenBit, false, BodyKind::SevenBit, false),
            (&nothing, umlauts, Body::EightBitMime, false, BodyKind::SevenBit, false),
            (&utf8, umlauts, Body::EightBitMime, false, BodyKind::SevenBit, false),
            (&utf8, umlauts, Body::EightBitMime, true, BodyKind::EightBitMime, true),
            (&nothing, umlauts, Body::BinaryMime, false, BodyKind::SevenBit, false),
            (&eight, umlauts, Body::BinaryMime, false, BodyKind::EightBitMime, false),
            (&binary, umlauts, Body::BinaryMime, false, BodyKind::BinaryMime, true),
            (&unchunked, umlauts, Body::BinaryMime, false, BodyKind::EightBitMime, false),
        ] {
            let parcel = parcel(content, body, is_smtputf8);
            assert_eq!(form(offered, &parcel), Ok((kind, is_as_it_came)), "{offered:?} {content} {body:?}");
        }
        let reply =
            form(&nothing, &parcel("Subject: Grüße\r\n\r\nx\r\n", Body::SevenBit, false)).unwrap_err();
        assert!(reply.starts_with("554 5.6.3 the host does not support 8BITMIME"), "{reply}");
        let reply = form(&eight, &parcel("Subject: a\rb\r\n\r\nx\r\n", Body::BinaryMime, false)).unwrap_err();
        assert!(reply.starts_with("554 5.6.3 the host does not support BINARYMIME"), "{reply}");
    }
}
