//! The bytes of one message, as much of them as the items of a FETCH need, read once.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::Range;

use account::{Account, Error, Message};
use mime::{Encoding, PartTree, TransferError};

use crate::command::fetch::{Item, Label, Section, What};
use crate::handlers::walk::{header_end, read_header};
use crate::limits::{HEADER_BYTES_MAX, HEADER_READ_BYTES, WHOLE_BODY_BYTES_MAX};

/// What of a message's bytes the items of a FETCH need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Need {
    /// The message's own header.
    header: bool,
    /// Bytes behind the header, as they lie.
    bytes: bool,
    /// The parts.
    tree: bool,
}

impl Need {
    pub(super) fn of(items: &[Item]) -> Self {
        items.iter().fold(Self::default(), |need, item| {
            let more = Self::of_item(item);
            Self {
                header: need.header | more.header,
                bytes: need.bytes | more.bytes,
                tree: need.tree | more.tree,
            }
        })
    }

    fn of_item(item: &Item) -> Self {
        let (header, bytes, tree) = match item {
            Item::Property(_) => (false, false, false),
            Item::Envelope => (true, false, false),
            Item::Body | Item::BodyStructure | Item::BinarySize(_) => (false, false, true),
            Item::Section(section) if !section.path.is_empty() => (false, true, true),
            Item::Section(section) => match section.what {
                What::All => (false, true, false),
                What::Text => (true, true, false),
                What::Header | What::Fields(_) | What::FieldsNot(_) | What::Mime => (true, false, false),
            },
        };
        Self { header, bytes, tree }
    }

    /// Bytes that are read of a message together with others, at most: what a header has beyond
    /// is read when the message is told of.
    pub(super) fn bytes_of(self, message: &Message) -> u32 {
        let is_whole = self.tree || self.bytes && message.size <= WHOLE_BODY_BYTES_MAX;
        if is_whole { message.size } else { message.size.min(HEADER_READ_BYTES) }
    }

    /// Whether any byte is needed.
    pub(super) const fn any(self) -> bool {
        self.header || self.bytes || self.tree
    }
}

impl Item {
    /// Whether a message's row and its summary tell it.
    pub(super) const fn is_in_summary(&self) -> bool {
        matches!(self, Self::Property(_) | Self::Envelope | Self::BodyStructure)
    }

    /// Whether asking for it sets `\Seen` (RFC 9051 §6.4.5).
    pub(super) fn sets_seen(&self) -> bool {
        matches!(self, Self::Section(Section { sets_seen: true, .. }))
    }
}

impl Section {
    /// Whether the transfer encoding is to be undone. The message as a whole has none.
    pub(super) fn is_decoded(&self) -> bool {
        self.label == Label::Binary && !self.path.is_empty()
    }
}

/// One message's bytes, and what was found in them.
#[derive(Debug)]
pub(super) struct Content<'a> {
    account: &'a Account,
    message: &'a Message,
    /// The message's first bytes: all of them, its header, or none.
    held: Vec<u8>,
    /// Whether all of the header has been read, if it is needed.
    has_header: bool,
    header_end: u32,
    tree: Option<PartTree>,
    /// The part decoded last, by its path: items often ask for one part piece by piece.
    decoded: Option<Decoded>,
}

/// What undoing the transfer encoding of the part of a path came to.
#[derive(Debug)]
struct Decoded {
    path: Vec<u32>,
    made: Result<Vec<u8>, TransferError>,
}

impl<'a> Content<'a> {
    /// Reads what is needed, but for what a long header has beyond its first bytes: that is for
    /// [`Content::complete`]. A message above [`WHOLE_BODY_BYTES_MAX`] is let go of as soon as its
    /// parts are known: its bytes are read again, in pieces, as they are sent.
    pub(super) async fn load(account: &'a Account, message: &'a Message, need: Need) -> Result<Self, Error> {
        let mut content = Self {
            account,
            message,
            held: Vec::new(),
            has_header: true,
            header_end: 0,
            tree: None,
            decoded: None,
        };
        if need.tree || need.bytes && content.is_small() {
            content.held = account.body(&message.body).await?;
        } else if need.header {
            content.has_header = read_header(account, message, &mut content.held, HEADER_READ_BYTES).await?;
        }
        if need.tree {
            content.tree = Some(mime::scan(&content.held));
        }
        if need.header {
            content.header_end = header_end(&content.held) as u32;
        }
        content.settle();
        Ok(content)
    }

    /// Reads what is still missing. Not done for several messages at a time, for a header can have
    /// up to [`HEADER_BYTES_MAX`].
    pub(super) async fn complete(&mut self) -> Result<(), Error> {
        if !self.has_header {
            self.has_header =
                read_header(self.account, self.message, &mut self.held, HEADER_BYTES_MAX).await?;
            self.header_end = header_end(&self.held) as u32;
            self.settle();
        }
        Ok(())
    }

    const fn is_small(&self) -> bool {
        self.message.size <= WHOLE_BODY_BYTES_MAX
    }

    /// Of a large message no more than the header is kept, if that is needed.
    fn settle(&mut self) {
        if self.has_header && !self.is_small() {
            self.held.truncate(self.header_end as usize);
            self.held.shrink_to_fit();
        }
    }

    /// Undoes the transfer encoding of the part of that path, whose body is `range`, unless that
    /// is what was done last; what it comes to is for [`Content::decoded`].
    pub(super) async fn decode(
        &mut self,
        path: &[u32],
        encoding: Encoding,
        range: &Range<u32>,
    ) -> Result<(), Error> {
        if self.decoded(path).is_some() {
            return Ok(());
        }
        // Two decoded parts at a time would be one too many.
        self.decoded = None;
        let made = {
            let bytes = self.bytes(range).await?;
            mime::decode_transfer_strictly(encoding, &bytes)
        };
        self.decoded = Some(Decoded { path: path.to_vec(), made });
        Ok(())
    }

    /// What [`Content::decode`] made last, or why it could not, if it was of that path.
    pub(super) fn decoded(&self, path: &[u32]) -> Option<Result<&[u8], TransferError>> {
        let decoded = self.decoded.as_ref().filter(|decoded| decoded.path == path)?;
        Some(decoded.made.as_deref().map_err(|error| *error))
    }

    pub(super) const fn message(&self) -> &'a Message {
        self.message
    }

    /// The message's own header with the empty line that ends it.
    pub(super) fn header(&self) -> &[u8] {
        self.held.get(..self.header_end as usize).unwrap_or(&self.held)
    }

    /// Where the message's body begins.
    pub(super) const fn header_end(&self) -> u32 {
        self.header_end
    }

    pub(super) fn tree(&self) -> &PartTree {
        self.tree.as_ref().expect("an item that needs the parts has said so in its Need")
    }

    /// The bytes of a range if they are held.
    pub(super) fn held(&self, range: &Range<u32>) -> Option<&[u8]> {
        self.held.get(range.start as usize..range.end as usize)
    }

    /// The bytes of a range, read if they are not held.
    pub(super) async fn bytes(&self, range: &Range<u32>) -> Result<Cow<'_, [u8]>, Error> {
        match self.held(range) {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => self.read(range.start, range.end.saturating_sub(range.start)).await.map(Cow::Owned),
        }
    }

    /// Bytes from the store.
    pub(super) async fn read(&self, offset: u32, length: u32) -> Result<Vec<u8>, Error> {
        self.account.body_range(&self.message.body, offset, length).await
    }
}
