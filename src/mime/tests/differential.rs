//! Our reading of messages against that of the `mail-parser` crate, over the messages that crate
//! carries. Where the two differ on purpose the message is listed with the reason.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use mail_parser::{MessageParser, PartType};
use mime::{PartId, PartTree, decode_text, decode_transfer, scan};

/// Messages that are read differently on purpose: what ours does.
const DIFFERENT: [(&str, &str); 22] = [
    ("legacy/026", "a charset of another vendor is windows-1252, not U+FFFD"),
    ("legacy/052", "8-bit bytes under us-ascii are windows-1252, not U+FFFD"),
    ("malformed/000", "a delimiter ends a header, so there are parts"),
    ("malformed/001", "the innermost of two equal boundaries takes its delimiters"),
    ("malformed/002", "a multipart without delimiter shows its body as its part"),
    ("malformed/004", "a line that only begins with the delimiter is text"),
    ("malformed/007", "a line that only begins with the delimiter is text"),
    ("malformed/008", "the innermost of two equal boundaries takes its delimiters"),
    ("malformed/009", "an outer delimiter ends an inner multipart"),
    ("malformed/011", "an outer delimiter ends an inner multipart"),
    ("malformed/012", "an outer delimiter ends an inner multipart"),
    ("malformed/013", "a delimiter at the very end begins an empty part"),
    ("malformed/014", "a delimiter at the very end begins an empty part"),
    ("malformed/016", "an outer delimiter ends an inner multipart"),
    ("malformed/020", "an outer delimiter ends an inner multipart"),
    ("malformed/021", "an outer delimiter ends an inner multipart"),
    ("malformed/022", "message/rfc822 is a message whatever is in it"),
    ("rfc/000", "base64 skips what is no digit (RFC 2045 §6.8)"),
    ("rfc/008", "an encoded message stays closed: offsets cannot show what is in it"),
    ("thirdparty/002", "base64 skips what is no digit (RFC 2045 §6.8)"),
    ("thirdparty/005", "a delimiter begins a line"),
    ("thirdparty/015", "a delimiter ends a header, so there are parts"),
];

#[test]
fn both_find_the_same_parts() {
    let Some(corpus) = corpus() else {
        eprintln!("SKIPPED: 0 messages compared, the sources of mail-parser are not in the cargo registry");
        return;
    };
    let mut compared = 0;
    let mut wrong = String::new();
    for path in corpus {
        let message = std::fs::read(&path).unwrap();
        let Some(theirs) = MessageParser::new().parse(&message) else { continue };
        compared += 1;
        let tree = scan(&message);
        let mut ours = Vec::new();
        our_parts(&message, &tree, PartId(0), &mut ours);
        let mut expected = Vec::new();
        their_parts(&theirs, 0, &mut expected);
        let name = path.with_extension("").display().to_string();
        let reason = DIFFERENT.iter().find(|(listed, _)| name.ends_with(listed)).map(|(_, reason)| reason);
        if (ours != expected) != reason.is_some() {
            writeln!(wrong, "== {name}, listed as {reason:?}\nours   {ours:#?}\ntheirs {expected:#?}")
                .unwrap();
        }
    }
    println!("{compared} messages compared, {} read differently on purpose", DIFFERENT.len());
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn both_read_the_same_fields() {
    let mut wrong = String::new();
    for path in corpus().into_iter().flatten() {
        let message = std::fs::read(&path).unwrap();
        let Some(theirs) = MessageParser::new().parse(&message) else { continue };
        let subject = mime::field(&message, "subject").map(|field| mime::decode_words(field.value));
        if mime::Headers::of(&message).filter(|field| field.is("date")).count() > 1 {
            // We take the first, they the last.
            continue;
        }
        let date = mime::field(&message, "date").and_then(|field| mime::parse_date(field.value));
        let from =
            mime::field(&message, "from").map(|field| mime::addresses(field.value)).unwrap_or_default();
        let their_subject = theirs.subject().map(|text| text.trim().to_owned()).unwrap_or_default();
        let mut our_subject = subject.map(|text| text.trim().to_owned()).unwrap_or_default();
        if their_subject.contains('\u{fffd}') {
            // Raw 8-bit text is windows-1252 for us and unreadable for them.
            our_subject = our_subject.replace(|character: char| !character.is_ascii(), "\u{fffd}");
        }
        let ours = (
            our_subject,
            date.map(base::Timestamp::as_s),
            from.iter().find_map(|address| {
                let (mailbox, host) = (address.mailbox.as_ref()?, address.host.as_ref()?);
                if host.is_empty() {
                    return None;
                }
                Some(String::from_utf8_lossy(&[&mailbox[..], b"@", host].concat()).into_owned())
            }),
        );
        let theirs = (
            their_subject,
            theirs.date().map(mail_parser::DateTime::to_timestamp),
            theirs
                .from()
                .and_then(|from| from.first())
                .and_then(|first| first.address())
                .filter(|address| address.contains('@'))
                .map(str::to_owned),
        );
        if ours != theirs {
            writeln!(wrong, "== {}\nours   {ours:?}\ntheirs {theirs:?}", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn corpus() -> Option<Vec<PathBuf>> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))?;
    let mut files = Vec::new();
    for registry in std::fs::read_dir(home.join("registry/src")).ok()?.flatten() {
        collect(&registry.path().join("mail-parser-0.11.9/resources/eml"), &mut files);
    }
    files.sort();
    if files.is_empty() { None } else { Some(files) }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "eml") {
            files.push(path);
        }
    }
}

fn our_parts(message: &[u8], tree: &PartTree, id: PartId, out: &mut Vec<String>) {
    let part = tree.part(id);
    if part.is_multipart() {
        out.push(format!("multipart {}", part.children.len()));
    } else if part.is_message() {
        out.push("message".into());
    } else {
        let decoded = decode_transfer(part.encoding, part.body_of(message));
        let text = if part.is_text() {
            decode_text(&part.content_type.param("charset").unwrap_or_default(), &decoded)
        } else {
            String::from_utf8_lossy(&decoded).into_owned()
        };
        out.push(format!("leaf {text:?}"));
    }
    for &child in &part.children {
        our_parts(message, tree, child, out);
    }
}

fn their_parts(message: &mail_parser::Message<'_>, id: usize, out: &mut Vec<String>) {
    match &message.parts[id].body {
        PartType::Multipart(children) => {
            out.push(format!("multipart {}", children.len()));
            for &child in children {
                their_parts(message, child as usize, out);
            }
        }
        PartType::Message(inner) => {
            out.push("message".into());
            their_parts(inner, 0, out);
        }
        PartType::Text(text) | PartType::Html(text) => out.push(format!("leaf {text:?}")),
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) => {
            out.push(format!("leaf {:?}", String::from_utf8_lossy(bytes)));
        }
    }
}
