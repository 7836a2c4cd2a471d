//! Whole messages that are in memory already: each is read straight into the answer, at once, where others
//! are read ahead and copied. Most FETCH commands of clients that open a message are such.

use alloc::vec::Vec;

use account::Message;
use base::Out;

use super::Job;
use super::sections::stand_in_for_nul;
use crate::command::fetch::{Item, Label, Section, What};
use crate::limits::{ANSWER_ROOM_BYTES, BODY_PIECE_BYTES};
use crate::reply::Failure;
use crate::response::fetch::{write_end, write_property, write_start};
use crate::response::section::write_label;
use crate::response::text::write_literal_head;

/// Whether the items are what rows tell and, once, a whole message as it is.
pub(super) fn is_whole(items: &[Item]) -> bool {
    let mut bodies = 0;
    let is_plain = |item: &Item| match item {
        Item::Property(_) => true,
        Item::Section(section) => {
            bodies += 1;
            is_all(section)
        }
        Item::Envelope | Item::Body | Item::BodyStructure | Item::BinarySize(_) => false,
    };
    items.iter().all(is_plain) && bodies == 1
}

/// BINARY may have to be another kind of literal, which its bytes tell too late.
fn is_all(section: &Section) -> bool {
    let is_message = section.path.is_empty() && section.what == What::All && section.label != Label::Binary;
    is_message && section.partial.is_none()
}

impl Job<'_> {
    /// Tells of messages up to the first one that is not in memory, or is larger than what is sent at a time; gives how
    /// many there were before it.
    pub(super) async fn tell_at_hand(
        &mut self,
        numbered: &[(u32, &Message)],
        out: &mut Out<'_>,
    ) -> Result<usize, Failure> {
        for (at, (number, message)) in numbered.iter().enumerate() {
            if message.size > BODY_PIECE_BYTES || !self.write_whole(*number, message, &mut out.buffer) {
                return Ok(at);
            }
            self.sent(message);
            self.pace.spend(message.size as usize).await;
            out.room().await?;
        }
        Ok(numbered.len())
    }

    /// Writes an answer; false, and nothing is written, when the message has to be waited for.
    fn write_whole(&mut self, number: u32, message: &Message, buffer: &mut Vec<u8>) -> bool {
        let start = buffer.len();
        buffer.reserve(message.size as usize + ANSWER_ROOM_BYTES);
        self.learn_keywords(message);
        write_start(buffer, number);
        for (index, item) in self.request.items.iter().enumerate() {
            if index > 0 {
                buffer.push(b' ');
            }
            match item {
                Item::Section(section) => {
                    write_label(buffer, section);
                    buffer.push(b' ');
                    write_literal_head(buffer, u64::from(message.size));
                    let body = buffer.len();
                    if !self.account.append_body(&message.body, buffer) {
                        buffer.truncate(start);
                        return false;
                    }
                    stand_in_for_nul(buffer.get_mut(body..).unwrap_or_default());
                }
                Item::Property(property) => write_property(buffer, *property, message, &self.names),
                // None is among them: see `is_whole`.
                Item::Envelope | Item::Body | Item::BodyStructure | Item::BinarySize(_) => {}
            }
        }
        write_end(buffer);
        true
    }
}
