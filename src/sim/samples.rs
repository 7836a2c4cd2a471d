//! A dozen messages written by hand (RFC 5322), wire-ready: every line ends at CRLF.

/// The message of that name, as transcripts call it.
pub fn named(name: &str) -> Option<&'static [u8]> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

/// Every message with its name.
pub const ALL: &[(&str, &[u8])] = &[
    ("plain", PLAIN),
    ("alternative", ALTERNATIVE),
    ("attachment", ATTACHMENT),
    ("nested", NESTED),
    ("encoded", ENCODED),
    ("utf8", UTF8),
    ("eight-bit", EIGHT_BIT),
    ("empty-body", EMPTY_BODY),
    ("no-body", NO_BODY),
    ("dots", DOTS),
    ("no-final-line-end", NO_FINAL_LINE_END),
    ("folded", FOLDED),
    ("reply", REPLY),
];

/// One line of plain text.
pub const PLAIN: &[u8] = b"From: Bob <bob@example.org>\r\n\
To: Ann <ann@example.org>\r\n\
Subject: Lunch\r\n\
Date: Thu, 1 Jan 2026 11:30:00 +0100\r\n\
Message-ID: <plain.1@example.org>\r\n\
\r\n\
At noon?\r\n";

/// Text and HTML of the same (RFC 2046 §5.1.4).
pub const ALTERNATIVE: &[u8] = b"From: Bob <bob@example.org>\r\n\
To: ann@example.org\r\n\
Subject: The plan\r\n\
Date: Thu, 1 Jan 2026 12:00:00 +0000\r\n\
Message-ID: <alternative.1@example.org>\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/alternative; boundary=\"sep\"\r\n\
\r\n\
For programs that know no MIME.\r\n\
--sep\r\n\
Content-Type: text/plain; charset=utf-8\r\n\
Content-Transfer-Encoding: quoted-printable\r\n\
\r\n\
The caf=C3=A9 at noon, and a line that is long enough to be =\r\n\
folded.\r\n\
--sep\r\n\
Content-Type: text/html; charset=utf-8\r\n\
\r\n\
<p>The <b>caf&eacute;</b> at noon.</p>\r\n\
--sep--\r\n";

/// Text with a file in base64 (RFC 2045 §6.8, RFC 2183).
pub const ATTACHMENT: &[u8] = b"From: \"Bob B.\" <bob@example.org>\r\n\
To: Ann <ann@example.org>, carl@example.net\r\n\
Cc: Dora <dora@example.net>\r\n\
Subject: Figures\r\n\
Date: Fri, 2 Jan 2026 08:15:30 +0000\r\n\
Message-ID: <attachment.1@example.org>\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=outer\r\n\
\r\n\
--outer\r\n\
Content-Type: text/plain\r\n\
\r\n\
See the file.\r\n\
--outer\r\n\
Content-Type: application/octet-stream; name=\"figures.bin\"\r\n\
Content-Disposition: attachment; filename=\"figures.bin\"\r\n\
Content-Transfer-Encoding: base64\r\n\
\r\n\
AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v\r\n\
MDEyMzQ1Njc4OTo7PD0+Pw==\r\n\
--outer--\r\n";

/// A message in a message (RFC 2046 §5.2.1), itself of several parts.
pub const NESTED: &[u8] = b"From: Ann <ann@example.org>\r\n\
To: Bob <bob@example.org>\r\n\
Subject: Fwd: The plan\r\n\
Date: Sat, 3 Jan 2026 09:00:00 +0000\r\n\
Message-ID: <nested.1@example.org>\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=one\r\n\
\r\n\
--one\r\n\
\r\n\
Here it is.\r\n\
--one\r\n\
Content-Type: message/rfc822\r\n\
Content-Description: the plan\r\n\
\r\n\
From: Carl <carl@example.net>\r\n\
Subject: The plan\r\n\
Date: Fri, 2 Jan 2026 20:00:00 -0500\r\n\
Message-ID: <inner.1@example.net>\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/alternative; boundary=two\r\n\
\r\n\
--two\r\n\
Content-Type: text/plain; charset=us-ascii\r\n\
\r\n\
Inner text.\r\n\
--two\r\n\
Content-Type: text/html; charset=us-ascii\r\n\
\r\n\
<i>Inner text.</i>\r\n\
--two--\r\n\
--one--\r\n";

/// Names and words in RFC 2047's form, in two charsets.
pub const ENCODED: &[u8] = b"From: =?utf-8?Q?J=C3=BCrgen_M=C3=BCller?= <jm@example.net>\r\n\
To: =?ISO-8859-1?Q?Andr=E9?= <andre@example.org>\r\n\
Subject: =?utf-8?B?R3LDvMOfZQ==?= =?utf-8?B?IGF1cyBLw7Zsbg==?=\r\n\
Date: Sun, 4 Jan 2026 10:00:00 +0100\r\n\
Message-ID: <encoded.1@example.net>\r\n\
MIME-Version: 1.0\r\n\
Content-Type: text/plain; charset=iso-8859-1\r\n\
Content-Transfer-Encoding: quoted-printable\r\n\
\r\n\
Gr=FC=DFe!\r\n";

/// UTF-8 in the header itself (RFC 6532).
pub const UTF8: &[u8] = "From: Jürgen <jürgen@example.org>\r\n\
To: ann@example.org\r\n\
Subject: Grüße ✉\r\n\
Date: Mon, 5 Jan 2026 10:00:00 +0000\r\n\
Message-ID: <utf8.1@example.org>\r\n\
MIME-Version: 1.0\r\n\
Content-Type: text/plain; charset=utf-8\r\n\
Content-Transfer-Encoding: 8bit\r\n\
\r\n\
Schöne Grüße.\r\n"
    .as_bytes();

/// 8-bit text in a charset that is not UTF-8.
pub const EIGHT_BIT: &[u8] = b"From: bob@example.org\r\n\
Subject: latin one\r\n\
Date: Tue, 6 Jan 2026 10:00:00 +0000\r\n\
MIME-Version: 1.0\r\n\
Content-Type: text/plain; charset=iso-8859-1\r\n\
Content-Transfer-Encoding: 8bit\r\n\
\r\n\
caf\xE9 \xFC\xDF\r\n";

/// A header section, the empty line, and nothing after it.
pub const EMPTY_BODY: &[u8] = b"From: bob@example.org\r\n\
To: ann@example.org\r\n\
Subject: nothing to say\r\n\
Date: Wed, 7 Jan 2026 10:00:00 +0000\r\n\
\r\n";

/// A header section that ends with the message: no empty line (RFC 5322 §3.5).
pub const NO_BODY: &[u8] = b"From: bob@example.org\r\n\
Subject: header only\r\n\
Date: Wed, 7 Jan 2026 11:00:00 +0000\r\n";

/// Lines that begin with dots (RFC 1939 §3, RFC 5321 §4.5.2).
pub const DOTS: &[u8] = b"From: bob@example.org\r\n\
Subject: dots\r\n\
Date: Thu, 8 Jan 2026 10:00:00 +0000\r\n\
\r\n\
.\r\n\
..\r\n\
.hidden\r\n\
a.b\r\n\
.\r\n";

/// The last line has no CRLF, as IMAP APPEND may store it.
pub const NO_FINAL_LINE_END: &[u8] = b"From: bob@example.org\r\n\
Subject: cut short\r\n\
Date: Fri, 9 Jan 2026 10:00:00 +0000\r\n\
\r\n\
The last line has no end";

/// Folded header fields (RFC 5322 §2.2.3), an empty one, a group address, an odd order.
pub const FOLDED: &[u8] = b"Received: from mx.example.net (mx.example.net [192.0.2.7])\r\n\
\tby mail.example.org with ESMTPS id 1;\r\n\
\tSat, 10 Jan 2026 10:00:00 +0000\r\n\
Subject: a subject\r\n \
that is folded\r\n\t\
twice\r\n\
X-Empty:\r\n\
To: friends: ann@example.org, \"Bob, B.\" <bob@example.org>;, (nobody) carl@example.net\r\n\
From: dora@example.net (Dora)\r\n\
Date: Sat, 10 Jan 2026 09:59:00 +0000\r\n\
\r\n\
Body.\r\n";

/// An answer in a thread (RFC 5322 §3.6.4).
pub const REPLY: &[u8] = b"From: Ann <ann@example.org>\r\n\
To: Bob <bob@example.org>\r\n\
Subject: Re: Lunch\r\n\
Date: Thu, 1 Jan 2026 11:45:00 +0100\r\n\
Message-ID: <reply.1@example.org>\r\n\
In-Reply-To: <plain.1@example.org>\r\n\
References: <plain.1@example.org>\r\n\
\r\n\
> At noon?\r\n\
Yes.\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_wire_ready() {
        for (name, bytes) in ALL {
            let bare = bytes.windows(2).filter(|w| (w[1] == b'\n') != (w[0] == b'\r')).count();
            assert_eq!(bare, 0, "{name} has a bare CR or LF");
            assert_eq!(named(name), Some(*bytes));
        }
        assert!(named("nosuch").is_none());
    }
}
