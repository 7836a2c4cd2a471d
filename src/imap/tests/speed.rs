//! What a summary costs a delivery, for a release build:
//! `cargo test --release -p imap --test speed -- --ignored --nocapture`.

use std::hint::black_box;

use imap::summarize;

const ROUNDS: u32 = 100_000;

/// As much of a header as mail from a list has by the time that it is stored.
const HEADER: &str = "Return-Path: <bounce-4711@lists.example.net>\r\n\
    Received: from mx.example.net (mx.example.net [192.0.2.7])\r\n\tby mail.example.org with ESMTPS id 1a2b3c\r\n\
    \tfor <ann@example.org>; Mon, 2 Mar 2026 09:00:01 +0000\r\n\
    DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=s1; h=from:to:subject:date;\r\n\
    \tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\
    \tb=dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzRdzdVyOfAKCdLXdJOc9G2q8Lo=\r\n\
    From: \"Terry Gray, of the list\" <terry@example.net>\r\n\
    To: A list <list@lists.example.net>, \"Ann, herself\" <ann@example.org>\r\nCc: carl@example.com\r\n\
    Subject: =?utf-8?q?The_caf=C3=A9_at_noon=2C_and_a_subject?=\r\n =?utf-8?q?_that_is_folded?=\r\n\
    Date: Mon, 2 Mar 2026 09:00:00 +0000\r\nMessage-ID: <20260302090000.4711@example.net>\r\n\
    In-Reply-To: <20260301080000.4710@example.net>\r\nReferences: <20260301080000.4710@example.net>\r\n\
    List-Id: A list <list.example.net>\r\nList-Unsubscribe: <mailto:leave@lists.example.net>\r\nMIME-Version: 1.0\r\n";

#[test]
#[ignore = "a measurement, meaningful in a release build alone"]
fn a_summary_costs_little_beside_a_delivery() {
    let line = "The quick brown fox jumps over the lazy dog, as it has done many times before\r\n";
    let plain = format!("{HEADER}Content-Type: text/plain; charset=utf-8\r\n\r\n");
    let parts = format!("{HEADER}Content-Type: multipart/alternative; boundary=\"=_b\"\r\n\r\n");
    let part =
        |kind, text: &str| format!("--=_b\r\nContent-Type: text/{kind}; charset=utf-8\r\n\r\n{text}\r\n");
    for (size, count) in [("4 KB", 35), ("64 KB", 800), ("1 MB", 13_000)] {
        let text = line.repeat(count);
        let half = line.repeat(count / 2);
        let multipart = format!("{parts}{}{}--=_b--\r\n", part("plain", &half), part("html", &half));
        measure(&format!("{size} plain"), &format!("{plain}{text}"));
        measure(&format!("{size} in two parts"), &multipart);
    }
}

#[expect(clippy::disallowed_methods, reason = "this measures time")]
fn measure(name: &str, message: &str) {
    let rounds = ROUNDS / (message.len() as u32 / 4_000).max(1);
    let start = std::time::Instant::now();
    let mut bytes = 0;
    for _ in 0..rounds {
        bytes = summarize(black_box(message.as_bytes())).len();
    }
    let each = start.elapsed() / rounds;
    println!("{name:20} {:8} bytes, a summary of {bytes}: {each:?}", message.len());
    assert!(bytes > 500);
}
