//! Our reading of messages against that of the `mail-parser` crate, over the messages that crate
//! carries. Where the two differ on purpose the message is listed with the reason.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use mail_parser::{MessageParser, PartType};
use mime::{PartId, PartTree, decode_text, decode_transfer, scan};

#[test]
fn both_find_the_same_parts() {
    let Some(corpus) = corpus() else {
        eprintln!("SKIPPED: 0 messages compared, the sources of mail-parser are not in the cargo registry");
        return;
    };
    let mut compared = 0;
    let mut report = String::new();
    for path in corpus {
        let message = std::fs::read(&path).unwrap();
        let Some(theirs) = MessageParser::new().parse(&message) else { continue };
        compared += 1;
        let tree = scan(&message);
        let mut ours = Vec::new();
        our_parts(&message, &tree, PartId(0), &mut ours);
        let mut expected = Vec::new();
        their_parts(&theirs, 0, &mut expected);
        if ours != expected {
            writeln!(report, "== {}\nours   {ours:#?}\ntheirs {expected:#?}", path.display()).unwrap();
        }
    }
    println!("{compared} messages compared");
    assert!(report.is_empty(), "{report}");
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
