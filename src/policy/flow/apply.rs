//! The changes of a message that mail-flow rules order, made.

use std::borrow::Cow;

use crate::edit::{Disclaimed, FieldEdit, disclaim, edit_fields};
use crate::flow::{Effect, FlowAction};
use crate::rules::action::Reply;

/// A message after its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// As it goes on; the same bytes when nothing changes them.
    Message(Vec<u8>),
    /// A disclaimer had to be in it and cannot be: it is refused.
    Refused(Reply),
}

/// Makes the changes of the effects in their order: header fields, To and Cc, disclaimers. The others are not
/// about the bytes. `seed` makes boundaries: by chance, another one for each message.
pub fn apply(message: &[u8], effects: &[Effect], seed: u64) -> Applied {
    let mut now = Cow::Borrowed(message);
    for (at, effect) in effects.iter().enumerate() {
        let edits = match &effect.action {
            FlowAction::Field(edit) => vec![edit.clone()],
            FlowAction::To(addresses) => added("To", addresses),
            FlowAction::Cc(addresses) => added("Cc", addresses),
            FlowAction::Disclaim(disclaimer) => {
                match disclaim(&now, disclaimer, seed.wrapping_add(at as u64)) {
                    Disclaimed::Added(changed) | Disclaimed::Wrapped(changed) => {
                        now = Cow::Owned(changed);
                        continue;
                    }
                    Disclaimed::Unchanged => continue,
                    Disclaimed::Refused => {
                        let text = "A text that the organisation requires cannot be put into this message";
                        return Applied::Refused(Reply {
                            code: 550,
                            enhanced: (5, 6, 0),
                            text: text.to_owned(),
                        });
                    }
                }
            }
            _ => continue,
        };
        now = Cow::Owned(edit_fields(&now, &edits));
    }
    Applied::Message(now.into_owned())
}

fn added(name: &str, addresses: &[String]) -> Vec<FieldEdit> {
    let edit = |address: &String| FieldEdit::AddAddress { name: name.to_owned(), address: address.clone() };
    addresses.iter().map(edit).collect()
}
