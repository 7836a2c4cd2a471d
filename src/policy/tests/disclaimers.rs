//! Disclaimers in messages of every form: `golden/NAME.eml` becomes `golden/NAME.after.eml`. Both have LF
//! for CRLF. `UPDATE=1` writes the second files anew; look at the difference then.

use std::fs;
use std::path::{Path, PathBuf};

use mime::{decode_text, decode_transfer, decode_transfer_strictly, scan};

use crate::tests::crlf;
use crate::{
    Disclaimed, Disclaimer, Fallback, Journal, JournalRecipient, Message, Place, RecipientKind, disclaim,
    journal_report,
};

const TEXT: &str = "Grüße, ACME Ltd.\nFor you <alone> & nobody else.\n";

fn ours(place: Place, fallback: Fallback) -> Disclaimer {
    Disclaimer { text: TEXT.into(), html: String::new(), place, fallback }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read(name: &str) -> Vec<u8> {
    let path = golden(&format!("{name}.eml"));
    crlf(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Compares with a golden file, or writes it.
fn compare(name: &str, found: &[u8]) {
    let path = golden(&format!("{name}.after.eml"));
    let text = String::from_utf8(found.to_vec()).unwrap().replace("\r\n", "\n");
    assert!(!text.contains('\r'), "{name} has a line that ends otherwise");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, expected, "{name}");
}

/// All texts of a message, decoded, by type.
fn texts(message: &[u8]) -> Vec<(String, String)> {
    let tree = scan(message);
    let text = |part: &mime::Part| {
        let body = decode_transfer(part.encoding, part.body_of(message));
        let charset = part.content_type.param("charset").unwrap_or_default();
        (part.content_type.subtype.clone(), decode_text(&charset, &body))
    };
    tree.parts().iter().filter(|part| part.is_text()).map(text).collect()
}

#[test]
fn each_form_of_the_text_gets_it_in_its_own_encoding() {
    for (name, place, forms) in [
        ("plain-ascii", Place::End, 1),
        ("plain-utf8", Place::End, 1),
        ("plain-utf8-quoted", Place::Start, 1),
        ("plain-latin1-quoted", Place::End, 1),
        ("plain-base64", Place::End, 1),
        ("plain-iso2022jp", Place::End, 1),
        ("html-latin1", Place::End, 1),
        ("html-start", Place::Start, 1),
        ("mixed-alternative", Place::End, 2),
        ("related", Place::End, 2),
        ("invitation", Place::End, 2),
    ] {
        let before = read(name);
        let Disclaimed::Added(after) = disclaim(&before, &ours(place, Fallback::Reject), 7) else {
            panic!("{name} was not changed")
        };
        compare(name, &after);
        let all = texts(&after);
        let with_text = all.iter().filter(|(subtype, text)| match subtype.as_str() {
            "html" => text
                .contains("Gr&#252;&#223;e, ACME Ltd.<br>\r\nFor you &lt;alone&gt; &amp; nobody else.</p>"),
            _ => text.contains("Grüße, ACME Ltd.\r\nFor you <alone> & nobody else."),
        });
        assert_eq!(with_text.count(), forms, "{name}: {all:?}");
        for ((_, old), (_, new)) in texts(&before).iter().zip(&all) {
            let first: String = old.lines().next().unwrap_or_default().chars().take(20).collect();
            assert!(new.contains(&first), "{name} lost {first:?}");
        }
        every_part_decodes(&after);
    }
}

fn every_part_decodes(message: &[u8]) {
    let tree = scan(message);
    assert!(!tree.parts().is_empty());
    for part in tree.parts() {
        decode_transfer_strictly(part.encoding, part.body_of(message)).expect("a body in its encoding");
    }
}

#[test]
fn without_a_text_a_part_is_made_for_it() {
    let before = read("file-alone");
    let Disclaimed::Added(after) = disclaim(&before, &ours(Place::End, Fallback::Reject), 7) else {
        panic!()
    };
    compare("file-alone", &after);
    assert_eq!(Message::of(&after).attachments(), Message::of(&before).attachments());
}

#[test]
fn what_is_signed_or_closed_is_wrapped_left_or_refused() {
    for name in ["signed", "pgp", "smime", "unknown-charset", "broken-base64", "file-without-text"] {
        let before = read(name);
        assert_eq!(
            disclaim(&before, &ours(Place::End, Fallback::Ignore), 7),
            Disclaimed::Unchanged,
            "{name}"
        );
        assert_eq!(disclaim(&before, &ours(Place::End, Fallback::Reject), 7), Disclaimed::Refused, "{name}");
        let wrapped = disclaim(&before, &ours(Place::End, Fallback::Wrap), 7);
        let Disclaimed::Wrapped(after) = wrapped else { panic!("{name} was not wrapped") };
        compare(name, &after);
        let tree = scan(&after);
        let inner = tree.parts().iter().find(|part| part.content_type.is("message", "rfc822")).unwrap();
        assert_eq!(inner.body_of(&after), before, "{name} is inside as it was");
        assert!(Message::of(&after).text().contains("Grüße, ACME"), "{name}");
    }
}

#[test]
fn reports_are_never_changed() {
    let report = read("report");
    for fallback in [Fallback::Wrap, Fallback::Reject] {
        assert_eq!(disclaim(&report, &ours(Place::End, fallback), 7), Disclaimed::Unchanged);
    }
}

#[test]
fn a_boundary_is_never_in_the_message() {
    let seed = 7;
    let mail =
        format!("Content-Type: application/pkcs7-mime\r\n\r\n--=_{seed:016x}\r\n--=_{:016x}\r\n", seed + 1);
    let Disclaimed::Wrapped(after) = disclaim(mail.as_bytes(), &ours(Place::End, Fallback::Wrap), seed)
    else {
        panic!()
    };
    assert_eq!(scan(&after).root().content_type.param("boundary").unwrap(), format!("=_{:016x}", seed + 2));
}

#[test]
fn a_journal_report_has_the_envelope_and_the_message() {
    let message = read("plain-utf8");
    let recipient = |address: &str, kind, expanded: Option<&str>| JournalRecipient {
        address: address.into(),
        kind,
        expanded_from: expanded.map(str::to_owned),
    };
    let journal = Journal {
        sender: "ann@example.org",
        on_behalf_of: Some("boss@example.org"),
        recipients: &[
            recipient("bob@example.com", RecipientKind::To, None),
            recipient("carl@example.org", RecipientKind::Cc, Some("staff@example.org")),
            recipient("eve@example.org", RecipientKind::Bcc, None),
        ],
        from: "journal-reports@example.org",
        to: "journal@example.net",
        now: base::Timestamp::from_s(1_795_500_000),
        seed: 9,
    };
    let report = journal_report(&journal, &message);
    let path = golden("journal.after.eml");
    let text = String::from_utf8(report.clone()).unwrap().replace("\r\n", "\n");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap());
    let tree = scan(&report);
    assert_eq!(tree.parts()[2].body_of(&report), message);
}
