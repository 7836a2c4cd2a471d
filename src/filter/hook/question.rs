//! What a hook is told.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde::Serialize;

use super::{HookShare, HookStage};
use crate::exchange::Content;
use crate::facts::Facts;
use crate::http::Part;
use crate::limits::HOOK_FIELD_BYTES_MAX;
use crate::message::field_at;

#[derive(Serialize)]
struct Question<'a> {
    version: u32,
    stage: &'static str,
    queue_id: Option<&'a str>,
    server: Option<&'a str>,
    client: Client<'a>,
    tls: Option<Tls<'a>>,
    user: Option<&'a str>,
    sender: Option<&'a str>,
    recipients: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message>,
}

#[derive(Serialize)]
struct Client<'a> {
    address: Option<String>,
    port: Option<u16>,
    name: Option<&'a str>,
    helo: Option<&'a str>,
}

#[derive(Serialize)]
struct Tls<'a> {
    version: &'a str,
    cipher: Option<&'a str>,
}

#[derive(Serialize)]
struct Message {
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Vec<(String, String)>>,
    /// Filled while the request is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'static str>,
}

/// Where the content goes. The question's last string ends with it, so that nothing a client sent is taken for it.
const MARK: &str = "\"\"}}";

/// The body's parts. The content is the last member of the last object, and is put in while it is sent.
pub(super) fn parts(
    stage: HookStage,
    facts: &Facts,
    message: Option<&Content>,
    share: HookShare,
) -> Vec<Part> {
    let shown = |content: &Content| Message {
        size: content.shown().len(),
        headers: (share != HookShare::Size).then(|| fields(content.shown())),
        content: (share == HookShare::All).then_some(""),
    };
    let question = Question {
        version: 1,
        stage: name(stage),
        queue_id: facts.queue_id.as_deref(),
        server: facts.server_name.as_deref(),
        client: Client {
            address: facts.client_address.map(|address| address.to_string()),
            port: facts.client_port,
            name: facts.client_name.as_deref(),
            helo: facts.helo.as_deref(),
        },
        tls: facts.tls_version.as_deref().map(|version| Tls { version, cipher: facts.tls_cipher.as_deref() }),
        user: facts.user.as_deref(),
        sender: facts.sender.as_deref(),
        recipients: &facts.recipients,
        message: message.map(shown),
    };
    let mut json = serde_json::to_vec(&question).expect("strings and numbers have a form in JSON");
    match message.filter(|_| share == HookShare::All) {
        Some(content) if json.ends_with(MARK.as_bytes()) => {
            json.truncate(json.len() - MARK.len() + 1);
            let end = b"\"}}".to_vec();
            Vec::from([Part::Bytes(json), Part::MessageBase64(content.clone()), Part::Bytes(end)])
        }
        _ => Vec::from([Part::Bytes(json)]),
    }
}

const fn name(stage: HookStage) -> &'static str {
    match stage {
        HookStage::Connect => "connect",
        HookStage::Helo => "helo",
        HookStage::Mail => "mail",
        HookStage::Rcpt => "rcpt",
        HookStage::Data => "data",
    }
}

/// Names and values, up to a bound. Values are unfolded and without the space around them; bytes that are no UTF-8 are
/// lost.
fn fields(message: &[u8]) -> Vec<(String, String)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(field) = field_at(message, at).filter(|field| field.end <= HOOK_FIELD_BYTES_MAX) {
        let text = |range| String::from_utf8_lossy(message.get(range).unwrap_or_default()).into_owned();
        let value = text(field.value).replace("\r\n", "");
        found.push((text(field.name), value.trim().to_string()));
        at = field.end;
    }
    found
}
