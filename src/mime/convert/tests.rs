use base::Random;

use super::*;
use crate::decode_transfer_strictly;

fn converted(message: &str) -> String {
    let out = convert(message.as_bytes(), Target::SevenBit).expect("it can be converted");
    String::from_utf8(out).expect("it is ASCII")
}

#[test]
fn text_without_mime_says_that_nobody_knows_its_charset() {
    assert_eq!(
        converted("Received: x\r\nSubject: x\r\n\r\nGrüße an alle\r\n"),
        "Received: x\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe an alle\r\n"
    );
    // One that says what it is keeps that; a field that says 8bit is changed in its place.
    assert_eq!(
        converted(
            "MIME-Version: 1.0\r\ncontent-transfer-encoding: 8BIT (yes)\r\nContent-Type: text/html; charset=utf-8\r\n\
             \r\n<p>Grüße, alle \r\n"
        ),
        "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Type: text/html; charset=utf-8\r\n\
         \r\n<p>Gr=C3=BC=C3=9Fe, alle=20\r\n"
    );
    // What nobody could read in quoted-printable is shorter in base64.
    assert_eq!(
        converted("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nпривет\r\n"),
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
         0L/RgNC40LLQtdGCDQo=\r\n"
    );
}

#[test]
fn parts_are_encoded_and_what_holds_them_is_not() {
    let message = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
        Präambel\r\n--o\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße an alle\r\n\
        --o\r\nContent-Type: application/x-a\r\nContent-Transfer-Encoding: binary\r\n\r\nä\u{0}\n\r\n\
        --o\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: inner\r\n\r\nein schönes Wort\r\n\
        --o\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\nplain\r\n--o--\r\nEpilog\r\n";
    assert_eq!(
        converted(message),
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
         \r\n--o\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         Gr=C3=BC=C3=9Fe an alle\r\n\
         --o\r\nContent-Type: application/x-a\r\nContent-Transfer-Encoding: base64\r\n\r\nw6QACg==\r\n\
         --o\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: inner\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         ein sch=C3=B6nes Wort\r\n\
         --o\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\nplain\r\n--o--\r\nEpilog\r\n"
    );
}

#[test]
fn what_may_not_be_changed_is_not_converted() {
    let signed = |text: &str| {
        format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\
             Content-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n--s\r\n\r\nsignature\r\n--s--\r\n"
        )
    };
    let part = |fields: &str| format!("MIME-Version: 1.0\r\n{fields}\r\n\r\nGrüße\r\n");
    for (message, why) in [
        (format!("Subject: {}\r\n\r\nx\r\n", "x".repeat(2000)), Unconvertible::Header),
        ("Subject: a\rb\r\n\r\nx\r\n".to_owned(), Unconvertible::Header),
        (signed("Grüße"), Unconvertible::Sealed),
        (part("Content-Transfer-Encoding: x-uuencode"), Unconvertible::Part),
        (part("Content-Type: message/partial; id=x; number=1"), Unconvertible::Part),
        (part("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64"), Unconvertible::Part),
        (part("Content-Type: multipart/mixed; boundary=b"), Unconvertible::Structure),
        (part("Content-Type: multipart/mixed"), Unconvertible::Structure),
        (
            format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}é", "--b\r\n\r\n".repeat(3000)),
            Unconvertible::Structure,
        ),
    ] {
        assert_eq!(convert(message.as_bytes(), Target::SevenBit), Err(why), "{message}");
    }
    // Nor need it be: as long as it is 7-bit it goes, fields and all.
    let fine = signed("plain");
    assert_eq!(converted(&fine), fine);
    assert!(converted(&fine).contains("Content-Transfer-Encoding: 8bit"));
    // A signed part beside one that is converted stays what it is.
    let mixed = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n{fine}\r\n--m\r\n\r\nein schönes Wort\r\n--m--\r\n"
    );
    assert!(converted(&mixed).contains(&fine));
}

#[test]
fn an_eight_bit_host_gets_lines_and_utf8_fields() {
    let message = "Subject: Grüße\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\
        Content-Transfer-Encoding: binary\r\n\r\n--b\r\n\r\nGrüße\r\n--b\r\nContent-Type: image/x\r\n\
        Content-Transfer-Encoding: binary\r\n\r\n\u{0}\u{1}\r\n--b--\r\n";
    let out = convert(message.as_bytes(), Target::EightBit).expect("it can be converted");
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "Subject: Grüße\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\n\r\nGrüße\r\n--b\r\nContent-Type: image/x\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nAAE=\r\n--b--\r\n"
    );
    assert_eq!(
        converted(message),
        "Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\
         Content-Transfer-Encoding: 7bit\r\n\r\n--b\r\nContent-Type: text/plain; charset=unknown-8bit\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nR3LDvMOfZQ==\r\n--b\r\nContent-Type: image/x\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nAAE=\r\n--b--\r\n"
    );
}

#[test]
fn fields_are_encoded_in_every_header_or_go_as_they_are() {
    let message = "Subject: ü\r\nMessage-ID: <ü@x>\r\nMIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n\
        From: Ö <o@x>\r\nSubject: plain\r\nX-Long: ";
    let message = format!("{message}{}\r\n\r\nein Wort\r\n", "ä ".repeat(2000));
    let out = String::from_utf8(convert(message.as_bytes(), Target::SevenBit).unwrap()).unwrap();
    let start = "Subject: =?utf-8?B?w7w=?=\r\nMessage-ID: <ü@x>\r\nMIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n\
        From: =?utf-8?B?w5Y=?= <o@x>\r\nSubject: plain\r\nX-Long: =?utf-8?B?";
    assert!(out.starts_with(start), "{out}");
    assert!(out.ends_with("?=\r\n\r\nein Wort\r\n") && out.lines().all(|line| line.len() <= 90), "{out}");
}

#[test]
fn a_message_in_utf8_is_encoded_within_another() {
    let message =
        "MIME-Version: 1.0\r\nContent-Type: message/global\r\n\r\nSubject: Grüße\r\n\r\nein Wort\r\n";
    let out = converted(message);
    assert!(out.contains("Content-Transfer-Encoding: base64\r\n"), "{out}");
    let body = &out[out.find("\r\n\r\n").unwrap() + 4..];
    let decoded = decode_transfer_strictly(Encoding::Base64, body.as_bytes()).unwrap();
    assert_eq!(decoded, "Subject: Grüße\r\n\r\nein Wort\r\n".as_bytes());
}

#[test]
fn lines_that_are_too_long_are_broken() {
    let words = "word ".repeat(500);
    let out = converted(&format!("References: {words}\r\n\r\n{words}\r\n"));
    assert!(is_line_safe(out.as_bytes()));
    let header = &out[..out.find("MIME-Version").unwrap()];
    assert_eq!(
        crate::unfold(header.as_bytes()).trim_ascii(),
        format!("References: {words}").trim().as_bytes()
    );
    // Bare line ends are the header's lines too, and binary content elsewhere.
    assert_eq!(
        converted("Subject: x\nContent-Type: a/b\n\n\n"),
        "Subject: x\r\nContent-Type: a/b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nCg==\r\n"
    );
}

const PIECES: [&str; 22] = [
    "MIME-Version: 1.0\r\n",
    "Content-Type: multipart/mixed; boundary=a\r\n",
    "Content-Type: multipart/alternative; boundary=\"b b\"\r\n",
    "Content-Type: multipart/signed; boundary=s\r\n",
    "Content-Type: message/rfc822\r\n",
    "Content-Type: text/plain; charset=utf-8\r\n",
    "Content-Type: image/png\r\n",
    "Content-Transfer-Encoding: 8bit\r\n",
    "Content-Transfer-Encoding: binary\r\n",
    "Content-Transfer-Encoding: quoted-printable\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Subject: x\r\n y\r\n",
    "\r\n",
    "\r\n--a\r\n",
    "\r\n--b b\r\n",
    "\r\n--s \r\n",
    "\r\n--a--\r\n",
    "--b b--\r\n",
    "Grüße, =C3=BC und mehr \r\n",
    "w7zDtg== \r\n",
    "привет\r\n",
    "\0\r\n\u{1}\n\ra\r\n",
];

/// Messages that are mostly MIME, with parts in parts, and wrong in every way.
fn some_message(random: &mut Random) -> Vec<u8> {
    let mut message = Vec::new();
    for _ in 0..=random.below(24) {
        message.extend_from_slice(PIECES[random.below(PIECES.len() as u64) as usize].as_bytes());
    }
    for _ in 0..random.below(3) {
        let at = random.below(message.len() as u64) as usize;
        message[at] = random.next_u64() as u8;
    }
    if random.below(8) == 0 {
        message.extend("wort ".repeat(300).bytes());
    }
    message.extend_from_slice(b"\r\n");
    message
}

/// Whether a part has fields that go as they are, though they are not ASCII.
fn has_foreign_fields(message: &[u8]) -> bool {
    let tree = scan(message);
    tree.parts().iter().any(|part| !part.header_of(message).is_ascii())
}

/// What every leaf holds, and of which type it is.
fn leaves(message: &[u8]) -> Vec<(String, Vec<u8>)> {
    let tree = scan(message);
    let leaves = tree.parts().iter().filter(|part| part.children.is_empty());
    leaves
        .map(|part| {
            let content = decode_transfer(part.encoding, part.body_of(message));
            (format!("{}/{}", part.content_type.kind, part.content_type.subtype), content)
        })
        .collect()
}

#[test]
fn every_leaf_keeps_its_content_and_nothing_is_changed_twice() {
    let mut random = Random::new(41);
    let (mut done, mut encoded) = (0, 0);
    for round in 0..30_000 {
        let message = some_message(&mut random);
        let target = if round % 3 == 0 { Target::EightBit } else { Target::SevenBit };
        let Ok(out) = convert(&message, target) else { continue };
        let shown =
            || format!("{:?}\n{:?}", String::from_utf8_lossy(&message), String::from_utf8_lossy(&out));
        done += 1;
        encoded += usize::from(out.len() > message.len());
        assert!(is_line_safe(&out) && out.ends_with(b"\r\n"), "{}", shown());
        let body = &out[crate::end_of_headers(&out)..];
        assert!(target == Target::EightBit || body.is_ascii() || has_foreign_fields(&out), "{}", shown());
        assert_eq!(leaves(&out), leaves(&message), "{}", shown());
        assert_eq!(convert(&out, target).as_ref(), Ok(&out), "{}", shown());
    }
    assert!(done > 5000 && encoded > 2000, "only {done} were converted, {encoded} of them changed");
}

#[test]
fn the_time_grows_with_the_size() {
    // A delimiter in each line, headers without end, and no line end at all: a second pass a line would be felt.
    let parts = "--b\r\n\r\nü ü ü ü\r\n".repeat(1900);
    for message in [
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}"),
        format!("\r\n{}", "ü--b\r\n".repeat(400_000)),
        format!("X: {}\r\n\r\nü", "a ".repeat(1_500_000)),
        format!("\r\nü{}", "x".repeat(3_000_000)),
    ] {
        assert!(convert(message.as_bytes(), Target::SevenBit).is_ok());
    }
}
