//! What the scanner finds, shown as one line a part: its section number, type, body and line count.

use super::*;

/// Every part by its section number, as a client would ask for it; embedded messages' own headers as
/// `HEADER`. Each tree also passes through the cache format.
fn show(message: &str) -> Vec<String> {
    let tree = scan(message.as_bytes());
    assert_eq!(PartTree::deserialize(&tree.serialize()).as_ref(), Some(&tree));
    let mut out = Vec::new();
    show_message(message, &tree, &mut Vec::new(), &mut out);
    out
}

fn show_message(message: &str, tree: &PartTree, path: &mut Vec<u32>, out: &mut Vec<String>) {
    let id = tree.message_in(path).expect("an embedded message");
    let is_multipart = tree.part(id).is_multipart();
    if is_multipart {
        out.push(format!("{} {}", name(path, "TEXT"), type_of(tree.part(id))));
    }
    let count = if is_multipart { tree.part(id).children.len() } else { 1 };
    show_parts(message, tree, path, count, out);
}

fn show_parts(message: &str, tree: &PartTree, path: &mut Vec<u32>, count: usize, out: &mut Vec<String>) {
    for number in 1..=count as u32 {
        path.push(number);
        let part = tree.part(tree.section(path).expect("a part"));
        if part.is_multipart() && !is_whole_message(tree, path) {
            out.push(format!("{} {}", name(path, ""), type_of(part)));
            show_parts(message, tree, path, part.children.len(), out);
        } else {
            let body = String::from_utf8_lossy(part.body_of(message.as_bytes())).into_owned();
            let shown =
                if part.is_message() { format!("{} bytes", part.size()) } else { format!("{body:?}") };
            out.push(format!("{} {} {shown} {}", name(path, ""), type_of(part), part.lines));
            if part.is_message() {
                show_message(message, tree, path, out);
            }
        }
        path.pop();
    }
    path.push(count as u32 + 1);
    assert_eq!(tree.section(path), None);
    path.pop();
}

fn is_whole_message(tree: &PartTree, path: &[u32]) -> bool {
    let (_, above) = path.split_last().expect("a number");
    tree.message_in(above) == tree.section(path)
}

fn name(path: &[u32], last: &str) -> String {
    let mut names: Vec<String> = path.iter().map(u32::to_string).collect();
    names.extend((!last.is_empty()).then(|| last.to_owned()));
    names.join(".")
}

fn type_of(part: &Part) -> String {
    format!("{}/{}", part.content_type.kind, part.content_type.subtype)
}

fn multipart(boundary: &str, body: &str) -> String {
    format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n{body}")
}

#[test]
fn the_example_of_rfc_2046_has_two_parts() {
    let message = "From: Nathaniel Borenstein <nsb@bellcore.com>\r\nMIME-Version: 1.0\r\n\
        Content-type: multipart/mixed; boundary=\"simple boundary\"\r\n\r\n\
        This is the preamble.\r\n\r\n--simple boundary\r\n\r\n\
        It does NOT end with a line break.\r\n--simple boundary\r\n\
        Content-type: text/plain; charset=us-ascii\r\n\r\n\
        It DOES end with a line break.\r\n\r\n--simple boundary--\r\n\r\nThis is the epilogue.\r\n";
    assert_eq!(
        show(message),
        [
            "TEXT multipart/mixed",
            "1 text/plain \"It does NOT end with a line break.\" 0",
            "2 text/plain \"It DOES end with a line break.\\r\\n\" 1",
        ]
    );
    let root = scan(message.as_bytes());
    let body = root.root().body_of(message.as_bytes());
    assert!(body.starts_with(b"This is the preamble") && body.ends_with(b"epilogue.\r\n"));
}

#[test]
fn sections_are_numbered_as_in_rfc_9051() {
    // The tree of RFC 9051 §6.4.5.1.
    let inner = "Subject: three\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\n3.1\r\n\
        --i\r\nContent-Type: application/octet-stream\r\n\r\n3.2\r\n--i--";
    let four_two = "Subject: 4.2\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\n4.2.1\r\n\
        --m\r\nContent-Type: multipart/alternative; boundary=n\r\n\r\n--n\r\n\r\n4.2.2.1\r\n\
        --n\r\nContent-Type: text/richtext\r\n\r\n4.2.2.2\r\n--n--\r\n--m--";
    let message = multipart(
        "o",
        &format!(
            "--o\r\n\r\n1\r\n--o\r\nContent-Type: application/octet-stream\r\n\r\n2\r\n\
             --o\r\nContent-Type: message/rfc822\r\n\r\n{inner}\r\n\
             --o\r\nContent-Type: multipart/mixed; boundary=p\r\n\r\n--p\r\nContent-Type: image/gif\r\n\r\n4.1\r\n\
             --p\r\nContent-Type: MESSAGE/RFC822\r\n\r\n{four_two}\r\n--p--\r\n--o--\r\n"
        ),
    );
    assert_eq!(
        show(&message),
        [
            "TEXT multipart/mixed".to_owned(),
            "1 text/plain \"1\" 0".to_owned(),
            "2 application/octet-stream \"2\" 0".to_owned(),
            format!("3 message/rfc822 {} bytes 10", inner.len()),
            "3.TEXT multipart/mixed".to_owned(),
            "3.1 text/plain \"3.1\" 0".to_owned(),
            "3.2 application/octet-stream \"3.2\" 0".to_owned(),
            "4 multipart/mixed".to_owned(),
            "4.1 image/gif \"4.1\" 0".to_owned(),
            format!("4.2 message/rfc822 {} bytes 17", four_two.len()),
            "4.2.TEXT multipart/mixed".to_owned(),
            "4.2.1 text/plain \"4.2.1\" 0".to_owned(),
            "4.2.2 multipart/alternative".to_owned(),
            "4.2.2.1 text/plain \"4.2.2.1\" 0".to_owned(),
            "4.2.2.2 text/richtext \"4.2.2.2\" 0".to_owned(),
        ]
    );
    let tree = scan(message.as_bytes());
    let three = tree.part(tree.section(&[3]).expect("3"));
    assert_eq!(three.envelope.as_ref().and_then(|e| e.subject.as_deref()), Some(&b"three"[..]));
    let header = tree.part(tree.message_in(&[3]).expect("3 is a message")).header_of(message.as_bytes());
    assert_eq!(header, &inner.as_bytes()[..header.len()]);
    assert!(header.ends_with(b"boundary=i\r\n\r\n"));
    assert_eq!(tree.message_in(&[1]), None);
    for path in [&[0][..], &[1, 1], &[5], &[3, 1, 1], &[u32::MAX], &[4, 2, 2, 3]] {
        assert_eq!(tree.section(path), None, "{path:?}");
    }
}

#[test]
fn a_message_of_one_part_is_its_part_1() {
    assert_eq!(show("Subject: x\r\n\r\none\r\ntwo"), ["1 text/plain \"one\\r\\ntwo\" 1"]);
    assert_eq!(show(""), ["1 text/plain \"\" 0"]);
    assert_eq!(show("no header, no body"), ["1 text/plain \"\" 0"]);
    assert_eq!(show("\r\nbody\r\n"), ["1 text/plain \"body\\r\\n\" 1"]);
    assert_eq!(
        show("Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx"),
        ["1 message/rfc822 16 bytes 2", "1.1 text/plain \"x\" 0"]
    );
}

#[test]
fn delimiters_are_whole_lines_and_own_the_line_end_before() {
    let text = |body: &str| format!("1 text/plain {body:?} {}", body.matches('\n').count());
    for (boundary, body, first) in [
        ("a", "--a\r\n\r\none\r\n--ab\r\n--a--x\r\nx--a\r\n--a--", "one\r\n--ab\r\n--a--x\r\nx--a"),
        ("a", "--a \t\r\n\r\none\r\n--a-- \t\r\n", "one"),
        ("a", "--a\r\n\r\none", "one"),
        ("a", "--a\r\n\r\none\r\n--a", "one"),
        ("a", "--a\r\n\r\n\r\n--a--", ""),
        ("a", "--a\r\n\r\n--a--", ""),
        ("a", "--a\r\n--a--", ""),
        ("a", "--a", ""),
        ("a", "--a\r\nContent-Type: text/plain\r\n--a--", ""),
        ("a", "--a\n\none\n\n--a--\n", "one\n"),
        ("a", "--a\r\n\r\none\r\r\n--a--", "one\r"),
        ("a ", "--a\r\n\r\none\r\n--a--", "one"),
        (
            "-",
            "---\r\n\r\n-- \r\nsignature\r\n--- a/file\r\n------",
            "-- \r\nsignature\r\n--- a/file\r\n------",
        ),
        ("a", "preamble --a\r\n --a\r\n--a\r\n\r\none\r\n--a--\r\n--a\r\n\r\nno part\r\n", "one"),
    ] {
        let shown = show(&multipart(boundary, body));
        let parts: Vec<&String> = shown.iter().filter(|line| line.starts_with("1 ")).collect();
        assert_eq!(parts, [&text(first)], "{body:?}");
    }
}

#[test]
fn a_boundary_may_begin_another() {
    for (outer, inner) in [("a", "ab"), ("ab", "a"), ("x", "x--"), ("a=b", "a=b_1")] {
        let message = multipart(
            outer,
            &format!(
                "--{outer}\r\nContent-Type: multipart/mixed; boundary=\"{inner}\"\r\n\r\n\
                 --{inner}\r\n\r\n1.1\r\n--{inner}\r\n\r\n1.2\r\n--{inner}--\r\nepilogue\r\n--{outer}\r\n\r\n2\r\n--{outer}--\r\n"
            ),
        );
        assert_eq!(
            show(&message),
            [
                "TEXT multipart/mixed",
                "1 multipart/mixed",
                "1.1 text/plain \"1.1\" 0",
                "1.2 text/plain \"1.2\" 0",
                "2 text/plain \"2\" 0"
            ],
            "{outer} around {inner}"
        );
    }
}

#[test]
fn an_outer_delimiter_ends_all_that_is_open_inside() {
    let message = multipart(
        "o",
        "--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\nContent-Type: message/rfc822\r\n\r\n\
         Subject: in\r\nContent-Type: multipart/mixed; boundary=d\r\n\r\n--d\r\n\r\ndeep\r\n--o\r\n\r\n2\r\n",
    );
    assert_eq!(
        show(&message),
        [
            "TEXT multipart/mixed",
            "1 multipart/mixed",
            "1.1 message/rfc822 69 bytes 5",
            "1.1.TEXT multipart/mixed",
            "1.1.1 text/plain \"deep\" 0",
            "2 text/plain \"2\\r\\n\" 1"
        ]
    );
}

#[test]
fn a_multipart_without_parts_shows_its_body_as_its_part() {
    for (header, body) in [
        ("Content-Type: multipart/mixed; boundary=a", "no delimiter\r\n"),
        ("Content-Type: multipart/mixed", "--a\r\n\r\nx\r\n"),
        ("Content-Type: multipart/mixed; boundary=\"\"", "--\r\n"),
        ("Content-Type: multipart/mixed; boundary=a", "--a--\r\n"),
        ("Content-Type: multipart/mixed; boundary=a", ""),
    ] {
        let lines = body.matches('\n').count();
        assert_eq!(
            show(&format!("{header}\r\n\r\n{body}")),
            ["TEXT multipart/mixed".to_owned(), format!("1 text/plain {body:?} {lines}")]
        );
    }
}

#[test]
fn parts_of_a_digest_are_messages_unless_they_say_otherwise() {
    // RFC 2046 §5.1.5.
    let message = "Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: one\r\n\r\nbody\r\n\
        --d\r\nContent-Type: text/plain\r\n\r\ntext\r\n--d\r\nContent-Type: broken\r\n\r\nx\r\n--d--\r\n";
    assert_eq!(
        show(message),
        [
            "TEXT multipart/digest",
            "1 message/rfc822 20 bytes 2",
            "1.1 text/plain \"body\" 0",
            "2 text/plain \"text\" 0",
            "3 text/plain \"x\" 0"
        ]
    );
}

#[test]
fn an_encoded_message_stays_closed() {
    let message = multipart(
        "b",
        "--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA0KDQp5\r\n\
         --b\r\n\r\n2\r\n--b--\r\n",
    );
    assert_eq!(
        show(&message),
        [
            "TEXT multipart/mixed",
            "1 message/rfc822 20 bytes 0",
            "1.1 application/octet-stream \"U3ViamVjdDogeA0KDQp5\" 0",
            "2 text/plain \"2\" 0"
        ]
    );
    let tree = scan(message.as_bytes());
    let inner = tree.part(tree.section(&[1, 1]).expect("1.1"));
    assert_eq!((inner.encoding, inner.encoding_token.as_str()), (Encoding::Base64, "base64"));
}

#[test]
fn fields_of_a_part_are_kept() {
    let message = "Content-Type: Text/HTML; Charset=\"utf-8\"\r\nCONTENT-ID: <a@b>\r\nContent-Description: =?utf-8?q?x?=\r\n y\r\n\
        Content-Transfer-Encoding: Quoted-Printable (c)\r\nContent-MD5: Q2hlY2s=\r\nContent-Language: de, en\r\n\
        Content-Location: http://x/y\r\nContent-Disposition: INLINE; filename=f\r\nContent-Type: image/png\r\n\
        Content-Id: <second>\r\nContent-Unknown: z\r\nContent: q\r\n\r\n";
    let tree = scan(message.as_bytes());
    let part = tree.root();
    assert_eq!(part.content_type.params, [("Charset".to_owned(), "utf-8".to_owned())]);
    assert_eq!(type_of(part), "text/html");
    assert_eq!(part.id.as_deref(), Some(&b"<a@b>"[..]));
    assert_eq!(part.description.as_deref(), Some(&b"=?utf-8?q?x?= y"[..]));
    assert_eq!(
        (part.encoding, part.encoding_token.as_str()),
        (Encoding::QuotedPrintable, "Quoted-Printable")
    );
    assert_eq!(part.md5.as_deref(), Some(&b"Q2hlY2s="[..]));
    assert_eq!(part.language, ["de", "en"]);
    assert_eq!(part.location.as_deref(), Some(&b"http://x/y"[..]));
    assert_eq!(part.disposition.as_ref().map(|d| d.kind.as_str()), Some("inline"));
    assert_eq!(PartTree::deserialize(&tree.serialize()), Some(tree));
}

#[test]
fn ten_thousand_parts_end_in_one_that_takes_the_rest() {
    let body = "--b\r\nContent-Type: image/png\r\n\r\nx\r\n".repeat(10_000);
    let message = multipart("b", &body);
    let tree = scan(message.as_bytes());
    assert_eq!(tree.parts().len(), PARTS_MAX);
    let last = tree.parts().last().expect("parts");
    assert_eq!(type_of(last), "application/octet-stream");
    assert_eq!(last.body.end as usize, message.len());
    assert_eq!(tree.root().children.len(), PARTS_MAX - 1);
    assert_eq!(PartTree::deserialize(&tree.serialize()), Some(tree));
}

#[test]
fn nesting_is_bounded_and_what_is_too_deep_stays_closed() {
    let nested_multiparts = (0..1000).fold(String::new(), |message, n| {
        message + &format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")
    });
    let nested_messages = "Content-Type: message/rfc822\r\n\r\n".repeat(1000);
    let empty_multiparts = multipart("b", &"--b\r\nContent-Type: multipart/mixed\r\n\r\n".repeat(5000));
    for message in [nested_multiparts, nested_messages] {
        let tree = scan(message.as_bytes());
        assert_eq!(tree.parts().len(), DEPTH_MAX);
        let deepest = tree.parts().last().expect("parts");
        assert_eq!(type_of(deepest), "application/octet-stream");
        assert!(!deepest.is_message() && deepest.children.is_empty());
        assert_eq!(deepest.body.end as usize, message.len());
        assert_eq!(PartTree::deserialize(&tree.serialize()), Some(tree));
    }
    for before in ["", "--b\r\n\r\nx\r\n"] {
        let message = empty_multiparts.replacen("--b\r\n", &format!("{before}--b\r\n"), 1);
        let tree = scan(message.as_bytes());
        assert_eq!(tree.parts().len(), PARTS_MAX);
        assert_eq!(PartTree::deserialize(&tree.serialize()), Some(tree));
    }
}

#[test]
fn envelopes_of_embedded_messages_are_bounded() {
    let part = format!("--b\r\nContent-Type: message/rfc822\r\n\r\nTo: {}\r\n\r\n\r\n", "a,".repeat(50_000));
    let message = multipart("b", &part.repeat(20));
    let tree = scan(message.as_bytes());
    let addresses: Vec<usize> =
        tree.parts().iter().filter_map(|part| part.envelope.as_ref()).map(|e| e.to.len()).collect();
    assert_eq!(addresses.len(), 20);
    assert!(addresses[0] > 9000 && addresses[19] == 0);
}

#[test]
fn a_cache_of_other_bytes_is_refused() {
    let message =
        multipart("b", "--b\r\n\r\nx\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nTo: a@b\r\n\r\n--b--");
    let bytes = scan(message.as_bytes()).serialize();
    for length in 0..bytes.len() {
        assert_eq!(PartTree::deserialize(&bytes[..length]), None, "cut at {length}");
    }
    let mut other = bytes.clone();
    other[0] += 1;
    assert_eq!(PartTree::deserialize(&other), None);
    other.clone_from(&bytes);
    other.push(0);
    assert_eq!(PartTree::deserialize(&other), None);
}
