//! The driver: the one loop that carries bytes and requests between a connection, a session and its
//! handlers, the same for every line protocol.
//!
//! Its laws: one request at a time; a session is given no more than it has room for; what it says
//! before and with a reply goes out in one write; a peer that does not read stops its own answers
//! and nothing else.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use base::{Closed, Drain, Handled, Next, Out, Service, Session, ShardId, Timestamp};
use shard::Wait;

use crate::clock;
use crate::limits::{GATHERED_BYTES_MAX, HANDSHAKE, IDLE_BUFFER_BYTES_MAX, LINGER, WRITE_STALL};
use crate::local::yield_if_needed;
use crate::meter::{Meter, Timing};
use crate::net::{Conn, ConnError, DetachedConn};
use crate::timers::{Deadline, Timers};
use crate::tls::TlsAcceptor;

/// What connections of one kind share on one shard.
#[derive(Clone, Debug)]
pub struct DriveContext {
    /// The shard's timers; they also say when to drain.
    pub timers: Timers,
    /// For STARTTLS. A session without it must not offer STARTTLS.
    pub tls: Option<TlsAcceptor>,
}

/// How a connection ended here.
#[derive(Debug)]
pub enum End<S: Session> {
    /// Closed, or lost.
    Closed,
    /// To be driven on by another shard: attach the connection there, hand the session the reply,
    /// and drive. What the session has still to say goes along in its output.
    Move {
        /// The connection, with what was received but not yet taken.
        conn: DetachedConn,
        /// The session.
        session: S,
        /// The answer to the session's last request.
        reply: S::Reply,
        /// Where to.
        shard: ShardId,
    },
}

/// Does the handshake of a connection that begins with TLS and tells the session (RFC 8314 §3).
/// Such a session has said nothing before.
pub async fn secure<S: Session>(
    conn: &mut Conn,
    session: &mut S,
    acceptor: &TlsAcceptor,
    timers: &Timers,
) -> Result<(), ConnError> {
    conn.start_tls(acceptor)?;
    let mut deadline = timers.deadline();
    let end = clock::now() + HANDSHAKE;
    let info = poll_fn(|cx| match conn.poll_handshake(cx) {
        Poll::Pending if deadline.poll(cx, end).is_ready() => Poll::Ready(Err(ConnError::TimedOut)),
        other => other,
    })
    .await?;
    session.secured(info);
    Ok(())
}

/// As [`drive_metered`], for connections that nobody counts.
pub fn drive<S: Session, V: Service<S>>(
    conn: Conn,
    session: S,
    service: V,
    ctx: DriveContext,
) -> impl Future<Output = End<S>> {
    drive_metered(conn, session, service, ctx, None)
}

/// Drives a session until its connection is closed or belongs elsewhere.
///
/// The future holds connection, session and service once each; keep them out of further `async`
/// layers where many connections are idle.
pub fn drive_metered<S: Session, V: Service<S>>(
    conn: Conn,
    mut session: S,
    mut service: V,
    ctx: DriveContext,
    meter: Option<Meter<S>>,
) -> impl Future<Output = End<S>> {
    let mut driver = Driver { pipe: Pipe::new(conn, &ctx.timers), is_told: false, ctx, meter };
    // Not an `async fn`, which would hold its arguments and what is made of them.
    async move {
        let end = driver.run(&mut session, &mut service).await;
        driver.count_sent();
        match end {
            Ok(Some((shard, reply))) => match driver.pipe.conn.detach() {
                Ok(conn) => End::Move { conn, session, reply, shard },
                Err(error) => lost(&error),
            },
            Ok(None) => End::Closed,
            Err(error) => lost(&error),
        }
    }
}

fn lost<S: Session>(error: &ConnError) -> End<S> {
    tracing::debug!(event = "runtime.connection_lost", %error);
    End::Closed
}

struct Driver<S: Session> {
    pipe: Pipe,
    /// The session was told that the shard drains.
    is_told: bool,
    ctx: DriveContext,
    meter: Option<Meter<S>>,
}

/// Why a wait ended, apart from input that the session already has.
enum Woken {
    Input,
    End,
    Changed,
    Due,
    Drain,
}

type Watched<'a> = Option<Pin<&'a mut dyn Future<Output = ()>>>;

impl<S: Session> Driver<S> {
    async fn run<V: Service<S>>(
        &mut self,
        session: &mut S,
        service: &mut V,
    ) -> Result<Option<(ShardId, S::Reply)>, ConnError> {
        loop {
            // A client that sends or pipelines without end takes its turns like everybody else.
            yield_if_needed().await;
            self.count_sent();
            match session.next(clock::now()) {
                Next::Run(request) => {
                    if session.output().len() >= GATHERED_BYTES_MAX {
                        self.pipe.write(session).await?;
                    }
                    match self.handle(session, service, request).await {
                        Handled::Reply(reply) => session.reply(reply),
                        Handled::Move(shard, reply) => {
                            return self.pipe.flush().await.map(|()| Some((shard, reply)));
                        }
                    }
                }
                Next::Read => {
                    self.pipe.write(session).await?;
                    if self.wait(session, None).await? {
                        return Ok(None);
                    }
                }
                Next::Watch => {
                    self.pipe.write(session).await?;
                    let changed = pin!(service.changed());
                    if self.wait(session, Some(changed)).await? {
                        return Ok(None);
                    }
                }
                Next::StartTls => {
                    self.pipe.write(session).await?;
                    let Some(acceptor) = &self.ctx.tls else { return Ok(None) };
                    let secured = secure(&mut self.pipe.conn, session, acceptor, &self.ctx.timers).await;
                    if let Some(meter) = &mut self.meter {
                        meter.handshake(secured.is_ok());
                    }
                    secured?;
                }
                Next::Close => {
                    self.pipe.conn.begin_last_words();
                    self.pipe.write(session).await?;
                    return self.pipe.finish().await.map(|()| None);
                }
            }
        }
    }

    /// Has the request done. What the session said before stands in front of what the handler
    /// streams; what is left of both goes back, for the reply to follow in the same write.
    async fn handle<V: Service<S>>(
        &mut self,
        session: &mut S,
        service: &mut V,
        request: S::Request,
    ) -> Handled<S::Reply> {
        let mut timing = self.meter.as_ref().map(|meter| (meter.operation(&request), Timing::begin()));
        let mut out = Out::new(mem::take(session.output()), &mut self.pipe);
        let handled = {
            // In a box, which ends with the request: else every idle connection keeps room for the largest
            // of its handlers.
            let mut handling = Box::pin(service.handle(session, request, &mut out));
            poll_fn(|cx| match &mut timing {
                Some((_, timing)) => timing.poll(cx, handling.as_mut()),
                None => handling.as_mut().poll(cx),
            })
            .await
        };
        let mut left = out.buffer;
        if let (Some(meter), Some((operation, timing))) = (&self.meter, &timing) {
            meter.ended(*operation, timing, session);
        }
        // A handler may have made the session speak; that comes after what it streamed.
        left.append(session.output());
        *session.output() = left;
        handled
    }

    /// Waits for whatever comes first; true when the connection is over.
    async fn wait(&mut self, session: &mut S, changed: Watched<'_>) -> Result<bool, ConnError> {
        let mut changed = changed;
        let woken = poll_fn(|cx| self.poll_wait(cx, session, &mut changed)).await?;
        match woken {
            // `next` looks at the clock itself.
            Woken::Input | Woken::Due => {}
            Woken::End => return Ok(true),
            Woken::Changed => session.changed(),
            Woken::Drain => {
                self.is_told = true;
                session.drain();
            }
        }
        Ok(false)
    }

    fn count_sent(&mut self) {
        if let Some(meter) = &mut self.meter {
            meter.sent_in_all(self.pipe.conn.written());
        }
    }

    fn poll_wait(
        &mut self,
        cx: &mut Context<'_>,
        session: &mut S,
        changed: &mut Watched<'_>,
    ) -> Poll<Result<Woken, ConnError>> {
        if self.ctx.timers.is_draining() && !self.is_told {
            return Poll::Ready(Ok(Woken::Drain));
        }
        let room = session.room();
        if room > 0 {
            match self.pipe.conn.poll_read(cx, room, &mut |bytes| session.input(bytes)) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Woken::End)),
                Poll::Ready(Ok(bytes)) => {
                    if let Some(meter) = &self.meter {
                        meter.received(bytes);
                    }
                    return Poll::Ready(Ok(Woken::Input));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        if let Some(changed) = changed
            && changed.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ok(Woken::Changed));
        }
        self.pipe.deadline.poll(cx, session.deadline()).map(|()| Ok(Woken::Due))
    }
}

/// The connection's writing side, with a bound on how long a peer may leave it unread.
struct Pipe {
    conn: Conn,
    deadline: Deadline,
    /// While output waits: how much had gone at the last look, and when to give up.
    stall: Option<(u64, Timestamp)>,
    error: Option<ConnError>,
}

impl Pipe {
    fn new(conn: Conn, timers: &Timers) -> Self {
        Self { conn, deadline: timers.deadline(), stall: None, error: None }
    }

    /// Writes what the session has said. An idle session keeps no large buffer for it.
    async fn write<S: Session>(&mut self, session: &mut S) -> Result<(), ConnError> {
        if !session.output().is_empty() {
            self.conn.give(session.output());
            self.flush().await?;
            *session.output() = self.conn.reclaim();
        }
        if session.output().capacity() > IDLE_BUFFER_BYTES_MAX {
            *session.output() = Vec::new();
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ConnError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnError>> {
        if let Some(error) = &self.error {
            return Poll::Ready(Err(error.clone()));
        }
        let done = match self.conn.poll_flush(cx) {
            Poll::Ready(done) => done,
            Poll::Pending => match self.poll_stalled(cx) {
                Poll::Ready(()) => Err(ConnError::TimedOut),
                Poll::Pending => return Poll::Pending,
            },
        };
        self.stall = None;
        self.error = done.as_ref().err().cloned();
        Poll::Ready(done)
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let written = self.conn.written();
        let end = match self.stall {
            Some((known, end)) if known == written => end,
            _ => clock::now() + WRITE_STALL,
        };
        self.stall = Some((written, end));
        self.deadline.poll(cx, end)
    }

    async fn finish(&mut self) -> Result<(), ConnError> {
        let end = clock::now() + LINGER;
        poll_fn(|cx| match self.conn.poll_finish(cx) {
            Poll::Pending => self.deadline.poll(cx, end).map(Ok),
            done @ Poll::Ready(_) => done,
        })
        .await
    }
}

impl Drain for Pipe {
    fn poll_drain(&mut self, cx: &mut Context<'_>, bytes: &mut Vec<u8>) -> Poll<Result<(), Closed>> {
        if self.error.is_some() {
            bytes.clear();
            return Poll::Ready(Err(Closed));
        }
        self.conn.give(bytes);
        match self.poll_flush(cx) {
            Poll::Pending => {
                Wait::Network.begins();
                Poll::Pending
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(Closed)),
            Poll::Ready(Ok(())) => {
                if bytes.capacity() == 0 {
                    *bytes = self.conn.reclaim();
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}
