//! Any bytes are a message: nothing panics, offsets stay in the message, trees stay trees.
//!
//! `FUZZ_ROUNDS` sets the number of rounds, `FUZZ_SEED` where they begin; a failure names its seed.

use base::Random;
use mime::{
    Headers, Needle, PartId, PartTree, Target, addresses, body_matches, convert, decode_param, decode_text,
    decode_transfer, decode_transfer_strictly, decode_words, encode_word, end_of_headers, envelope, fold,
    is_line_safe, parse_date, parse_imap_date_time, scan, text_matches, unfold,
};

const SEEDS: [&str; 4] = [
    "From: \"A B\" <a@b>, g: c@d (x), \"e\\\"f\"@[1.2.3.4];\r\nTo: <@r,@s:t@u>\r\nSubject: =?utf-8?q?x=C3=A9?=\r\n =?iso-2022-jp?B?GyRCJUYbKEI=?=\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600 (x)\r\n\r\nbody\r\n",
    "Content-Type: multipart/mixed; boundary=\"ab\"\r\n\r\npre\r\n--ab\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\n\r\nx\r\n--a\r\nContent-Type: text/plain; charset*=utf-8''iso-8859-1; n*0*=a''%41; n*1=b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=41=\r\n=C3 \r\n--a--\r\n--ab\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: text/plain; charset=shift_jis\r\nContent-Transfer-Encoding: base64\r\n\r\ng2U=\r\n--ab--\r\nepi\r\n",
    "Content-Type: multipart/digest; boundary=d\n\n--d\n\nA: b\n\nx\n--d\nContent-Type: message/global\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"x\"\nContent-Language: a, b\nContent-ID: <x>\n\neA==\n--d--\n",
    "01-Jan-2026 10:00:00 +0000: Thu Feb 13 23:32:54 1969 GMT+0100\r\n\r\n--\r\n--a--\r\n",
];

#[test]
fn mutated_messages_never_break_anything() {
    let rounds = number("FUZZ_ROUNDS", 3000);
    let first = number("FUZZ_SEED", 1);
    for seed in first..first + rounds {
        let message = mutated(&mut Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let outcome = std::panic::catch_unwind(|| check(&message));
        assert!(outcome.is_ok(), "FUZZ_SEED={seed} breaks on {:?}", String::from_utf8_lossy(&message));
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn mutated(random: &mut Random) -> Vec<u8> {
    let mut bytes = SEEDS[random.below(SEEDS.len() as u64) as usize].as_bytes().to_vec();
    for _ in 0..=random.below(12) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let end = (at + random.below(40) as usize).min(bytes.len());
        match random.below(6) {
            0 => drop(bytes.drain(at..end)),
            1 => {
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len() as u64 + 1) as usize;
                bytes.splice(to..to, piece);
            }
            2 => bytes.insert(at, random.next_u64() as u8),
            3 => {
                const TOKENS: [&str; 16] = [
                    "\r\n",
                    "\n",
                    "\r",
                    "--a",
                    "--ab--",
                    "=?",
                    "?=",
                    "\"",
                    "(",
                    "<",
                    ":;",
                    "=",
                    "*0*",
                    "\0",
                    "é",
                    "\u{1f600}",
                ];
                let token = TOKENS[random.below(16) as usize].bytes();
                bytes.splice(at..at, token);
            }
            4 => {
                let other = SEEDS[random.below(SEEDS.len() as u64) as usize].as_bytes();
                let from = random.below(other.len() as u64) as usize;
                bytes.splice(at..at, other[from..].iter().copied());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    bytes
}

fn check(message: &[u8]) {
    let tree = scan(message);
    check_tree(&tree, message);
    let cached = tree.serialize();
    assert_eq!(PartTree::deserialize(&cached).as_ref(), Some(&tree));
    for (at, step) in [(3, 1), (7, 128), (cached.len() / 2, 7)] {
        let mut damaged = cached.clone();
        if let Some(byte) = damaged.get_mut(at) {
            *byte = byte.wrapping_add(step);
        }
        if let Some(tree) = PartTree::deserialize(&damaged) {
            walk(&tree, PartId(0), 1);
        }
    }
    let end = end_of_headers(message);
    assert_eq!(end, tree.root().body.start as usize);
    let mut at = 0;
    for header in Headers::of(message) {
        assert_eq!(header.range.start, at);
        at = header.range.end;
        check_value(header.value);
    }
    assert!(at <= end && end - at <= 2);
    envelope(message);
    for target in [Target::SevenBit, Target::EightBit] {
        if let Ok(converted) = convert(message, target) {
            assert!(is_line_safe(&converted));
            // Fields may go as they are.
            let tree = scan(&converted);
            let headers = |part: &mime::Part| part.header_of(&converted).is_ascii();
            let is_ascii = !tree.parts().iter().all(headers) || converted.is_ascii();
            assert!(is_ascii || target == Target::EightBit);
        }
    }
    check_value(message);
    for needle in ["x", "ä", "in", "subject: in"] {
        let needle = Needle::new(needle);
        assert!(text_matches(message, &tree, &needle) || !body_matches(message, &tree, &needle));
    }
}

fn check_tree(tree: &PartTree, message: &[u8]) {
    assert_eq!(walk(tree, PartId(0), 1), tree.parts().len());
    for part in tree.parts() {
        assert!(part.header.start <= part.header.end && part.header.end <= part.body.start);
        assert!(part.body.start <= part.body.end && part.body.end as usize <= message.len());
        let lines = part.body_of(message).split(|&byte| byte == b'\n').count() - 1;
        assert_eq!(part.lines as usize, lines);
        assert_eq!(part.is_multipart() || part.is_message(), !part.children.is_empty());
        for child in &part.children {
            let child = tree.part(*child);
            assert!(part.body.start <= child.header.start && child.body.end <= part.body.end);
        }
        for siblings in part.children.windows(2) {
            assert!(tree.part(siblings[0]).body.end <= tree.part(siblings[1]).header.start);
        }
        for name in ["charset", "n", "boundary"] {
            let _ = part.content_type.param(name);
            let _ = decode_param(&part.content_type.params, name);
        }
        let body = part.body_of(message);
        let decoded = decode_transfer(part.encoding, body);
        if let Ok(strict) = decode_transfer_strictly(part.encoding, body) {
            assert_eq!(strict, decoded);
        }
        let _ = decode_text(&part.content_type.param("charset").unwrap_or_default(), &decoded);
    }
}

/// The number of parts below and with `id`.
fn walk(tree: &PartTree, id: PartId, depth: usize) -> usize {
    assert!(depth <= mime::DEPTH_MAX);
    1 + tree.part(id).children.iter().map(|&child| walk(tree, child, depth + 1)).sum::<usize>()
}

fn check_value(value: &[u8]) {
    let text = decode_words(value);
    assert_eq!(decode_words(encode_word(&text).as_bytes()), text);
    let field = fold("A", &text);
    assert!(field.ends_with("\r\n") && !unfold(field.as_bytes()).contains(&b'\n'));
    let mut is_in_group = false;
    for address in addresses(value) {
        assert!(!address.is_group_end() || is_in_group);
        is_in_group = address.is_group_start() || (is_in_group && !address.is_group_end());
    }
    assert!(!is_in_group);
    let _ = (parse_date(value), parse_imap_date_time(value), mime::sent_on(value));
}
