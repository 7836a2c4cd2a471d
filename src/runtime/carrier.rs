//! SMTP as a client: one connection to another mail system, as `shard` sees it. Every wait has the bound of
//! RFC 5321 §4.5.3.2.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use base::Timestamp;
use shard::{Carried, Carrier, Hop, LocalFuture, Unopened};
use smtp::{Awaited, Client, ClientError, ClientNext, Extensions, Mail};
use transport::{Demand, Fault};

use crate::limits::{
    CLIENT_ACCEPTANCE, CLIENT_COMMAND, CLIENT_CONNECT, CLIENT_FAREWELL, CLIENT_GREETING,
    CLIENT_READ_BYTES_MAX, HANDSHAKE, WRITE_STALL,
};
use crate::{Conn, ConnError, Local, Queue, TlsConnector, clock};

/// Connects and introduces us.
pub(crate) async fn open(
    local: Local,
    connector: TlsConnector,
    hop: Hop,
) -> Result<Box<dyn Carrier>, Unopened> {
    let Hop { address, source, client, is_implicit_tls, demand } = hop;
    let conn =
        Conn::connect_within(source, address, local.timers(), CLIENT_CONNECT).await.map_err(network)?;
    let mut line = Line { conn, client: Client::new(client), local };
    let mut tls = String::new();
    if is_implicit_tls {
        tls = line.secure(&connector, demand.clone()).await?;
        line.client.secured();
    }
    loop {
        match line.advance().await? {
            ClientNext::Ready => break,
            ClientNext::StartTls => {
                tls = line.secure(&connector, demand.clone()).await?;
                line.client.secured();
            }
            next => return Err(unexpected(next)),
        }
    }
    Ok(Box::new(SmtpCarrier { line, tls }))
}

/// A connection with its client.
struct Line {
    conn: Conn,
    client: Client,
    local: Local,
}

struct SmtpCarrier {
    line: Line,
    tls: String,
}

impl Carrier for SmtpCarrier {
    fn extensions(&self) -> &Extensions {
        self.line.client.extensions()
    }

    fn tls(&self) -> &str {
        &self.tls
    }

    fn lacks(&self) -> Option<Fault> {
        self.line.conn.proof().and_then(Result::err)
    }

    fn send(mut self: Box<Self>, mail: Mail) -> LocalFuture<Carried> {
        Box::pin(async move {
            if self.line.has_ended().await || !self.line.client.is_clean() {
                let why = Unopened::Network("the connection had ended".to_owned());
                return Carried::Lost { why, is_in_doubt: false };
            }
            self.line.client.send(mail);
            let next = self.line.advance().await;
            if let Some(sent) = self.line.client.verdict() {
                return Carried::Answered(sent, None);
            }
            match next {
                Ok(ClientNext::Sent(sent)) => Carried::Answered(sent, Some(self)),
                // A refusal is no doubt; what is no reply says nothing.
                Ok(next) => {
                    let is_in_doubt = self.line.client.is_in_doubt();
                    Carried::Lost { why: unexpected(next), is_in_doubt }
                }
                Err(why) => Carried::Lost { why, is_in_doubt: self.line.client.is_in_doubt() },
            }
        })
    }

    fn quit(self: Box<Self>) {
        let (local, mut line) = (self.line.local.clone(), self.line);
        local.spawn(Queue::Delivery, async move {
            line.client.quit();
            // Whether the other side says goodbye is its own affair.
            let _said = line.advance().await;
            let mut deadline = line.local.timers().deadline();
            let end = clock::now() + CLIENT_FAREWELL;
            poll_fn(|cx| match line.conn.poll_finish(cx) {
                Poll::Pending => deadline.poll(cx, end).map(|()| ()),
                Poll::Ready(_) => Poll::Ready(()),
            })
            .await;
        });
    }
}

impl Line {
    /// Writes and reads until the client wants something else.
    async fn advance(&mut self) -> Result<ClientNext, Unopened> {
        // A wait is for a whole reply: one that comes in drops does not make it longer.
        let mut wait: Option<(u64, Timestamp)> = None;
        loop {
            let next = self.client.step();
            self.write().await?;
            match next {
                ClientNext::Read => {
                    let answers = self.client.answers();
                    let end = match wait {
                        Some((known, end)) if known == answers => end,
                        _ => clock::now() + self.limit(),
                    };
                    wait = Some((answers, end));
                    self.read(end).await?;
                }
                ClientNext::Write => {}
                other => return Ok(other),
            }
        }
    }

    /// Writes what the client has said; a peer that takes nothing for too long is given up.
    async fn write(&mut self) -> Result<(), Unopened> {
        if self.client.output().is_empty() {
            return Ok(());
        }
        self.conn.give(self.client.output());
        let mut deadline = self.local.timers().deadline();
        let (mut written, mut end) = (self.conn.written(), clock::now() + WRITE_STALL);
        let conn = &mut self.conn;
        poll_fn(|cx| match conn.poll_flush(cx) {
            Poll::Pending => {
                if conn.written() != written {
                    (written, end) = (conn.written(), clock::now() + WRITE_STALL);
                }
                deadline.poll(cx, end).map(|()| Err(ConnError::TimedOut))
            }
            done @ Poll::Ready(_) => done,
        })
        .await
        .map_err(network)
    }

    /// How long the reply that is due may take.
    fn limit(&self) -> Duration {
        match self.client.awaits() {
            Awaited::Greeting => CLIENT_GREETING,
            Awaited::Command => CLIENT_COMMAND,
            Awaited::Acceptance => CLIENT_ACCEPTANCE,
        }
    }

    async fn read(&mut self, end: Timestamp) -> Result<(), Unopened> {
        let mut deadline = self.local.timers().deadline();
        let (conn, client) = (&mut self.conn, &mut self.client);
        let read =
            poll_fn(|cx| match conn.poll_read(cx, CLIENT_READ_BYTES_MAX, &mut |bytes| client.input(bytes)) {
                Poll::Pending => deadline.poll(cx, end).map(|()| Err(ConnError::TimedOut)),
                done @ Poll::Ready(_) => done,
            });
        match read.await.map_err(network)? {
            0 => Err(Unopened::Network("the connection was closed".to_owned())),
            _ => Ok(()),
        }
    }

    /// Whether a connection that was idle is over, or has been told something nobody asked for: a goodbye.
    async fn has_ended(&mut self) -> bool {
        poll_fn(|cx| {
            let look = self.conn.poll_read(cx, CLIENT_READ_BYTES_MAX, &mut |_| {});
            Poll::Ready(look.is_ready())
        })
        .await
    }

    async fn secure(&mut self, connector: &TlsConnector, demand: Demand) -> Result<String, Unopened> {
        let secured = self.conn.secure(connector, demand, self.local.timers(), HANDSHAKE).await;
        let info = secured.map_err(|error| match error {
            ConnError::Unproven(fault) => Unopened::Tls(error.to_string(), fault),
            ConnError::TimedOut => Unopened::TimedOut,
            // Also a peer that goes away in the middle: what need not be protected is then tried without.
            other => Unopened::Tls(other.to_string(), Fault::ValidationFailure),
        })?;
        Ok(format!("{} {}", info.version, info.cipher))
    }
}

fn network(error: ConnError) -> Unopened {
    match error {
        ConnError::TimedOut => Unopened::TimedOut,
        other => Unopened::Network(other.to_string()),
    }
}

/// What the client has come to, where it should have been ready.
fn unexpected(next: ClientNext) -> Unopened {
    match next {
        ClientNext::Failed(ClientError::Refused(reply)) => Unopened::Refused(reply),
        ClientNext::Failed(ClientError::NoTls) => Unopened::NoTls,
        ClientNext::Failed(ClientError::NoAuth) => Unopened::NoAuth,
        ClientNext::Closed => Unopened::Network("the connection was closed".to_owned()),
        ClientNext::Failed(ClientError::Protocol)
        | ClientNext::Read
        | ClientNext::Write
        | ClientNext::StartTls
        | ClientNext::Ready
        | ClientNext::Sent(_) => Unopened::Protocol,
    }
}
