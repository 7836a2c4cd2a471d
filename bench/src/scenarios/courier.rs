//! A connection that delivers, for all scenarios that do.

use std::sync::Arc;

use base::Secret;
use smtp::{BodyKind, Client, ClientConfig, ClientNext, Mail, Sent, StartTls};

use crate::cli::Via;
use crate::wrong::Wrong;

/// How couriers go about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) via: Via,
    /// By STARTTLS.
    pub(super) wants_tls: bool,
    /// From the first byte on.
    pub(super) has_tls: bool,
}

/// A client of SMTP or LMTP that takes no for an error.
pub(super) struct Courier {
    client: Client,
    is_ready: bool,
    has_quit: bool,
}

/// What a courier has to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// A TLS handshake is due, then [`Courier::secured`].
    StartTls,
    Ready,
    Delivered,
    /// The server has answered [`Courier::quit`].
    Closed,
}

impl Courier {
    /// With a name and a password where it has to log in.
    pub(super) fn new(manner: Manner, login: Option<(String, String)>) -> Self {
        let mut client = Client::new(ClientConfig {
            hostname: "load.example.org".into(),
            is_lmtp: manner.via == Via::Lmtp,
            tls: if manner.wants_tls { StartTls::Required } else { StartTls::Never },
            // Every server is sent to in the same way.
            may_chunk: false,
            login: login.map(|(name, password)| (name, Secret::new(password))),
        });
        if manner.has_tls {
            client.secured();
        }
        Self { client, is_ready: false, has_quit: false }
    }

    pub(super) fn secured(&mut self, output: &mut Vec<u8>) {
        self.client.secured();
        output.append(self.client.output());
    }

    /// Sends a message, by nobody in particular where no `sender` is named.
    pub(super) fn send(
        &mut self,
        sender: Option<String>,
        message: &[u8],
        recipients: Vec<String>,
        output: &mut Vec<u8>,
    ) {
        self.client.send(Mail {
            sender: Some(sender.unwrap_or_else(|| "load@example.org".into())),
            recipients: recipients.into_iter().map(Into::into).collect(),
            data: Arc::new(message.to_vec()),
            body: BodyKind::SevenBit,
            is_smtputf8: false,
            requires_tls: false,
            priority: 0,
            by: None,
            ret: None,
            envid: None,
        });
        output.append(self.client.output());
    }

    pub(super) fn input(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<Option<News>, Wrong> {
        self.client.input(bytes);
        let mut next = self.client.step();
        while matches!(next, ClientNext::Write) {
            next = self.client.step();
        }
        output.append(self.client.output());
        match next {
            ClientNext::Read | ClientNext::Write => Ok(None),
            ClientNext::Closed => Ok(Some(News::Closed)),
            ClientNext::Ready if self.is_ready => Ok(None),
            ClientNext::Ready => {
                self.is_ready = true;
                Ok(Some(News::Ready))
            }
            ClientNext::Sent(sent) => check(&sent).map(|()| Some(News::Delivered)),
            ClientNext::StartTls => Ok(Some(News::StartTls)),
            ClientNext::Failed(_) if self.has_quit => Ok(None),
            ClientNext::Failed(error) => Err(Wrong::Answer(format!("the delivery failed: {error:?}"))),
        }
    }

    pub(super) fn quit(&mut self, output: &mut Vec<u8>) {
        self.has_quit = true;
        self.client.quit();
        output.append(self.client.output());
    }
}

fn check(sent: &Sent) -> Result<(), Wrong> {
    match sent.replies.iter().find(|reply| reply.code / 100 != 2) {
        None => Ok(()),
        Some(reply) => Err(Wrong::Answer(format!("a recipient got {} {}", reply.code, reply.text))),
    }
}
