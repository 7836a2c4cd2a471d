//! A message as mail-flow rules look at it: parts are found once, text and attachments when a rule first
//! asks for them.

use std::cell::OnceCell;

use mime::{Encoding, Part, PartTree, decode_text, decode_transfer, decode_words, field, scan};

use crate::edit::text_of;
use crate::limits::{ATTACHMENTS_MAX, TEXT_BYTES_MAX};

/// A message, taken apart as far as rules need it.
#[derive(Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    tree: PartTree,
    subject: OnceCell<String>,
    text: OnceCell<String>,
    lower_text: OnceCell<String>,
    attachments: OnceCell<Vec<Attachment>>,
}

/// A part of a message that is a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name; empty when it has none.
    pub name: String,
    /// What stands behind the name's last dot, in lower case.
    pub extension: String,
    /// Type and subtype in lower case.
    pub kind: String,
    /// Bytes of the file itself, decoded.
    pub bytes: u64,
}

impl<'a> Message<'a> {
    /// Any bytes are a message.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            tree: scan(bytes),
            subject: OnceCell::new(),
            text: OnceCell::new(),
            lower_text: OnceCell::new(),
            attachments: OnceCell::new(),
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The header.
    pub fn header(&self) -> &'a [u8] {
        self.tree.root().header_of(self.bytes)
    }

    pub(crate) fn tree(&self) -> &PartTree {
        &self.tree
    }

    /// The subject, decoded.
    pub fn subject(&self) -> &str {
        self.subject.get_or_init(|| self.value("Subject"))
    }

    /// A field's value, decoded; empty when there is none.
    pub(crate) fn value(&self, name: &str) -> String {
        field(self.header(), name)
            .map(|field| decode_words(field.value).trim().to_owned())
            .unwrap_or_default()
    }

    /// The words of all text parts, decoded, of HTML without its tags; the first [`TEXT_BYTES_MAX`] bytes.
    pub fn text(&self) -> &str {
        self.text.get_or_init(|| {
            let mut all = String::new();
            for part in self.tree.parts().iter().filter(|part| part.is_text()) {
                if all.len() >= TEXT_BYTES_MAX {
                    break;
                }
                all.push_str(&self.text_of_part(part));
                all.push('\n');
            }
            all.truncate(all.floor_char_boundary(TEXT_BYTES_MAX));
            all
        })
    }

    pub(crate) fn lower_text(&self) -> &str {
        self.lower_text.get_or_init(|| self.text().to_lowercase())
    }

    fn text_of_part(&self, part: &Part) -> String {
        let body = part.body_of(self.bytes);
        let body = body.get(..TEXT_BYTES_MAX).unwrap_or(body);
        let charset =
            part.content_type.param("charset").filter(|name| !name.eq_ignore_ascii_case("us-ascii"));
        let text = decode_text(&charset.unwrap_or_default(), &decode_transfer(part.encoding, body));
        if part.content_type.is("text", "html") { text_of(&text) } else { text }
    }

    /// The files; the first [`ATTACHMENTS_MAX`].
    pub fn attachments(&self) -> &[Attachment] {
        self.attachments.get_or_init(|| {
            let files = self.tree.parts().iter().filter_map(|part| self.attachment(part));
            files.take(ATTACHMENTS_MAX).collect()
        })
    }

    /// A part that is a file: it is to be saved, it has a name, or it is no text. The parts of signatures
    /// are none.
    fn attachment(&self, part: &Part) -> Option<Attachment> {
        if part.is_multipart() {
            return None;
        }
        let kind = &part.content_type;
        let disposition = part.disposition.as_ref();
        let name = disposition
            .and_then(|how| how.param("filename"))
            .or_else(|| kind.param("name"))
            .unwrap_or_default();
        let is_saved = disposition.is_some_and(|how| how.kind == "attachment");
        let is_signature = ["pgp-signature", "pkcs7-signature", "x-pkcs7-signature", "pgp-encrypted"];
        if is_signature.contains(&kind.subtype.as_str()) || (!is_saved && name.is_empty() && part.is_text()) {
            return None;
        }
        let extension = name.rsplit_once('.').map(|(_, extension)| extension.trim().to_lowercase());
        Some(Attachment {
            extension: extension.unwrap_or_default(),
            kind: format!("{}/{}", kind.kind, kind.subtype),
            bytes: decoded_bytes(part, part.body_of(self.bytes)),
            name,
        })
    }
}

/// The size of a part's content; of base64 counted by its digits, without decoding it.
fn decoded_bytes(part: &Part, body: &[u8]) -> u64 {
    match part.encoding {
        Encoding::Base64 => {
            let digits = body
                .iter()
                .filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
                .count();
            digits as u64 * 3 / 4
        }
        Encoding::QuotedPrintable => decode_transfer(part.encoding, body).len() as u64,
        _ => body.len() as u64,
    }
}
