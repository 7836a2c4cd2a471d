//! BURL (RFC 4468): a piece of the message lies in a mailbox here, and a URL says where. What comes of it is content
//! like a chunk's (RFC 3030 §2), under the same law.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::mem;

use base::{Next, Secret};

use super::Smtp;
use super::content::recipients_refusal;
use super::state::{State, UrlWait, Wait};
use crate::config::Mode;
use crate::reply::{Order, Refusal};
use crate::request::{Request, UrlFault, UrlRequest};

impl Smtp {
    pub(super) fn burl(&mut self, url: &str, is_last: bool) -> Option<Next<Request>> {
        if let Some(refusal) = self.burl_refusal() {
            self.refuse(refusal);
            return None;
        }
        let State::Mail { client, mut transaction } = mem::replace(&mut self.state, State::Fresh) else {
            unreachable!("BURL outside a transaction was refused");
        };
        let Some(identity) = client.identity.clone() else {
            unreachable!("who submits has logged in before MAIL");
        };
        let (content, began) = match transaction.chunks.take() {
            Some(chunks) => chunks,
            None => (self.begin_content(&mut transaction), self.now),
        };
        let request = UrlRequest {
            url: Secret::new(url.to_string()),
            identity,
            server_name: self.tls.as_ref().and_then(|tls| tls.server_name.clone()),
            bytes_max: content.bytes_left(),
        };
        let wait = UrlWait { client, transaction, content, is_last, began };
        Some(self.ask(Wait::Url(Box::new(wait)), Request::Url(Box::new(request))))
    }

    fn burl_refusal(&self) -> Option<Refusal> {
        // RFC 4468 §3.1: an extension of submission.
        if self.config.mode != Mode::Submission {
            return Some(Refusal::NotImplemented);
        }
        let order = recipients_refusal(&self.state).map(|order| match order {
            Order::NoRecipients => Order::NoRecipientsForUrl,
            other => other,
        });
        order.map(Refusal::Order).or_else(|| self.chunk_refusal())
    }

    pub(super) fn url_answer(&mut self, wait: UrlWait, answer: Result<Vec<u8>, UrlFault>) {
        let UrlWait { client, transaction, mut content, is_last, began } = wait;
        match answer {
            Ok(bytes) => {
                content.push_chunk(&bytes);
                self.piece_done(client, transaction, (content, began), bytes.len() as u64, is_last);
            }
            Err(fault) => {
                // RFC 4468 §3.2: the transaction fails with its URL.
                self.state = State::Ready(client);
                self.refuse(Refusal::Url(fault));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::limits::{BURL_LINE_BYTES_MAX, COMMAND_BYTES_MAX};
    use crate::tests::{NOW, Stored, session, talk};
    use crate::{Mode, Smtp};

    #[test]
    fn a_url_may_be_longer_than_other_commands() {
        let say = |smtp: &mut Smtp, verb: &str, bytes: usize| {
            let line = format!("{verb} {}\r\n", "x".repeat(bytes - verb.len() - 3));
            talk(smtp, line.as_bytes(), NOW, &Stored::default()).0
        };
        let mut smtp = session(Mode::Submission);
        talk(&mut smtp, b"EHLO c\r\n", NOW, &Stored::default());
        assert!(say(&mut smtp, "burl", BURL_LINE_BYTES_MAX).starts_with("503 "));
        assert!(say(&mut smtp, "burl", BURL_LINE_BYTES_MAX + 1).starts_with("500 5.5.2 line too long"));
        assert!(say(&mut smtp, "noop", COMMAND_BYTES_MAX + 1).starts_with("500 5.5.2 line too long"));
    }
}
