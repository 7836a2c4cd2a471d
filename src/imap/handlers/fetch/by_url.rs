//! What a URL means of a message (RFC 5092 §6): the bytes that FETCH would send for the same section.

use alloc::vec::Vec;

use account::{Account, Error, Message};

use super::content::{Content, Need};
use super::sections;
use crate::command::fetch::{Item, Section};

/// The bytes of a section; `None` when the message has no such part.
pub(in crate::handlers) async fn section_bytes(
    account: &Account,
    message: &Message,
    section: &Section,
) -> Result<Option<Vec<u8>>, Error> {
    let need = Need::of(&[Item::Section(section.clone())]);
    let mut content = Content::load(account, message, need).await?;
    content.complete().await?;
    sections::bytes(section, &mut content).await
}
