//! ENVELOPE's value (RFC 9051 §7.5.2, §9 `envelope`).

use alloc::vec::Vec;

use mime::{Address, Envelope};

use super::text::write_nstring;

/// Writes the ten fields of an envelope in their order.
pub(crate) fn write_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    out.push(b'(');
    write_nstring(out, envelope.date.as_deref());
    out.push(b' ');
    write_nstring(out, envelope.subject.as_deref());
    let start = out.len();
    out.push(b' ');
    write_addresses(out, &envelope.from);
    let from = start..out.len();
    for list in [&envelope.sender, &envelope.reply_to] {
        // RFC 9051 §7.5.2: From when absent or empty, which is most often so.
        if list.is_empty() {
            out.extend_from_within(from.clone());
        } else {
            out.push(b' ');
            write_addresses(out, list);
        }
    }
    for list in [&envelope.to, &envelope.cc, &envelope.bcc] {
        out.push(b' ');
        write_addresses(out, list);
    }
    out.push(b' ');
    write_nstring(out, envelope.in_reply_to.as_deref());
    out.push(b' ');
    write_nstring(out, envelope.message_id.as_deref());
    out.push(b')');
}

/// RFC 9051 §9 `env-from`: at least one address in parentheses, nothing between them, or NIL.
fn write_addresses(out: &mut Vec<u8>, addresses: &[Address]) {
    if addresses.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for address in addresses {
        let parts = [&address.name, &address.adl, &address.mailbox, &address.host];
        let mut before = b'(';
        for part in parts {
            out.push(before);
            write_nstring(out, part.as_deref());
            before = b' ';
        }
        out.push(b')');
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn written(envelope: &Envelope) -> String {
        let mut out = Vec::new();
        write_envelope(&mut out, envelope);
        String::from_utf8(out).unwrap()
    }

    fn address(name: &str, mailbox: &str, host: &str) -> Address {
        Address {
            name: Some(name.into()).filter(|name: &Vec<u8>| !name.is_empty()),
            adl: None,
            mailbox: Some(mailbox.into()),
            host: Some(host.into()),
        }
    }

    #[test]
    fn an_empty_envelope_is_all_nil() {
        assert_eq!(written(&Envelope::default()), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    }

    #[test]
    fn sender_and_reply_to_default_to_from_and_groups_keep_their_marks() {
        let group = Address { mailbox: Some(b"friends".to_vec()), ..Address::default() };
        let envelope = Envelope {
            date: Some(b"Mon, 7 Feb 1994 21:52:25 -0800".to_vec()),
            subject: Some(b"say \"hi\"".to_vec()),
            from: Vec::from([address("Ann", "ann", "a.example")]),
            to: Vec::from([group, address("", "bob", "b.example"), Address::default()]),
            message_id: Some(b"<1@a.example>".to_vec()),
            ..Envelope::default()
        };
        assert_eq!(
            written(&envelope),
            "(\"Mon, 7 Feb 1994 21:52:25 -0800\" \"say \\\"hi\\\"\" \
             ((\"Ann\" NIL \"ann\" \"a.example\")) ((\"Ann\" NIL \"ann\" \"a.example\")) \
             ((\"Ann\" NIL \"ann\" \"a.example\")) \
             ((NIL NIL \"friends\" NIL)(NIL NIL \"bob\" \"b.example\")(NIL NIL NIL NIL)) \
             NIL NIL NIL \"<1@a.example>\")"
        );
    }

    #[test]
    fn eight_bit_text_is_a_literal() {
        let envelope = Envelope { subject: Some(b"caf\xe9".to_vec()), ..Envelope::default() };
        let mut out = Vec::new();
        write_envelope(&mut out, &envelope);
        assert!(out.starts_with(b"(NIL {4}\r\ncaf\xe9 NIL"));
    }
}
