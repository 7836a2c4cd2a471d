//! The driver of `runtime` without its sockets: a session with its service, here or wherever it moves.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use base::{Handled, Next, Out, Secret, Service, Session, ShardId};
use imap::Imap;
use pop3::Pop3;
use shard::{ImapService, Pop3Service, Shard, SmtpService};
use sim::Executor;
use smtp::Smtp;

use crate::wire::{Pipe, Wire};

/// Where all clients come from: a system of ours, which is not throttled.
const SOURCE: &str = "192.0.2.1";

/// What a client connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Mx,
    Lmtp,
    Imap,
    Pop3,
}

/// What all connections of a process share.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) wire: Arc<Wire>,
    /// The process is about to stop.
    pub(crate) drain: Arc<AtomicBool>,
}

type Moved<'a, S> = Option<(&'a <S as Session>::Reply, ShardId)>;

/// A service, and the session that it stands behind.
trait Front: Service<Self::Session> + Sized + 'static {
    type Session: Session<Request: 'static, Reply: Send + 'static> + 'static;

    /// `moved`: the reply that the session brings along, and the shard it comes from.
    fn stand(shard: &Rc<Shard>, moved: Moved<'_, Self::Session>) -> Self;
}

impl Front for SmtpService {
    type Session = Smtp;

    fn stand(shard: &Rc<Shard>, _: Moved<'_, Smtp>) -> Self {
        Self::new(Rc::clone(shard), SOURCE.to_owned())
    }
}

impl Front for ImapService {
    type Session = Imap;

    fn stand(shard: &Rc<Shard>, moved: Moved<'_, Imap>) -> Self {
        match moved {
            Some((reply, from)) => Self::moved(Rc::clone(shard), SOURCE.to_owned(), reply, from),
            None => Self::new(Rc::clone(shard), SOURCE.to_owned()),
        }
    }
}

impl Front for Pop3Service {
    type Session = Pop3;

    fn stand(shard: &Rc<Shard>, moved: Moved<'_, Pop3>) -> Self {
        match moved {
            Some((reply, from)) => Self::moved(Rc::clone(shard), SOURCE.to_owned(), reply, from),
            None => Self::new(Rc::clone(shard), SOURCE.to_owned()),
        }
    }
}

/// Begins a connection on the caller's shard.
pub(crate) fn accept(shard: Rc<Shard>, door: Door, line: Line) {
    let settings = shard.settings();
    match door {
        Door::Mx => smtp(shard, &settings.mx, line),
        Door::Lmtp => smtp(shard, &settings.lmtp, line),
        Door::Imap => {
            let session = Imap::new(Arc::clone(&settings.imap), Secret::new(nonces(&shard)));
            begin::<ImapService>(shard, session, line);
        }
        Door::Pop3 => {
            let entropy = pop3::Entropy { nonces: Secret::new(nonces(&shard)) };
            begin::<Pop3Service>(shard, Pop3::new(Arc::clone(&settings.pop3), entropy), line);
        }
    }
}

fn smtp(shard: Rc<Shard>, config: &Arc<smtp::Config>, line: Line) {
    let peer = smtp::Peer { address: SOURCE.to_owned(), is_trusted: true };
    let entropy = smtp::Entropy { ids: 1, nonces: Secret::new(nonces(&shard)) };
    begin::<SmtpService>(shard, Smtp::new(Arc::clone(config), peer, entropy), line);
}

fn nonces<const N: usize>(shard: &Shard) -> [[u8; 18]; N] {
    let mut nonces = [[0; 18]; N];
    shard.world.random(nonces.as_flattened_mut());
    nonces
}

fn begin<V: Front>(shard: Rc<Shard>, session: V::Session, line: Line) {
    let service = V::stand(&shard, None);
    go_on(shard, session, service, line);
}

/// Spawned in the caller's group, which is its shard's.
fn go_on<V: Front>(shard: Rc<Shard>, session: V::Session, service: V, line: Line) {
    let (executor, group) = Executor::current().expect("connections are tasks");
    let at = executor.clone();
    executor.spawn(group, async move {
        let mut driver = Driver { executor: at, line, is_told: false };
        let Some((target, session, reply)) = driver.run(session, service).await else {
            return driver.line.wire.close();
        };
        let wire = Arc::clone(&driver.line.wire);
        let Line { wire: moving, drain } = driver.line;
        let from = shard.id;
        let there = move |shard: Rc<Shard>| async move {
            arrive::<V>(shard, session, (reply, from), Line { wire: moving, drain });
        };
        if shard.router.send(target, there).await.is_err() {
            wire.close();
        }
    });
}

fn arrive<V: Front>(
    shard: Rc<Shard>,
    mut session: V::Session,
    (reply, from): (<V::Session as Session>::Reply, ShardId),
    line: Line,
) {
    let service = V::stand(&shard, Some((&reply, from)));
    session.reply(reply);
    go_on(shard, session, service, line);
}

struct Driver {
    executor: Executor,
    line: Line,
    is_told: bool,
}

/// For waiting without looking for changes.
const NEWS_OF_NOTHING: Option<Pin<&mut std::future::Pending<()>>> = None;

/// Where a session goes, and with what.
type Move<S> = (ShardId, S, <S as Session>::Reply);

enum Woken {
    Input,
    Left,
    Changed,
    Due,
    Drain,
}

impl Driver {
    async fn run<S: Session, V: Service<S>>(&mut self, mut session: S, mut service: V) -> Option<Move<S>> {
        loop {
            if self.executor.one_in(3) {
                self.executor.pass().await;
            }
            match session.next(self.executor.clock().now()) {
                Next::Run(request) => match self.handle(&mut session, &mut service, request).await {
                    Handled::Reply(reply) => session.reply(reply),
                    Handled::Move(shard, reply) => return Some((shard, session, reply)),
                },
                Next::Read => {
                    self.say(&mut session).await?;
                    self.wait(&mut session, NEWS_OF_NOTHING).await?;
                }
                Next::Watch => {
                    self.say(&mut session).await?;
                    let changed = pin!(service.changed());
                    self.wait(&mut session, Some(changed)).await?;
                }
                Next::StartTls => panic!("no client starts TLS"),
                Next::Close => {
                    self.say(&mut session).await?;
                    return None;
                }
            }
        }
    }

    async fn handle<S: Session, V: Service<S>>(
        &mut self,
        session: &mut S,
        service: &mut V,
        request: S::Request,
    ) -> Handled<S::Reply> {
        let mut pipe = Pipe(Arc::clone(&self.line.wire));
        let mut out = Out::new(mem::take(session.output()), &mut pipe);
        let handled = service.handle(session, request, &mut out).await;
        let mut left = out.buffer;
        left.append(session.output());
        *session.output() = left;
        handled
    }

    async fn say<S: Session>(&mut self, session: &mut S) -> Option<()> {
        let mut bytes = mem::take(session.output());
        self.executor.note(&bytes);
        poll_fn(|cx| self.line.wire.poll_say(cx, &mut bytes)).await.ok()
    }

    /// `None` when the client has gone.
    async fn wait<S: Session>(
        &mut self,
        session: &mut S,
        mut changed: Option<Pin<&mut impl Future<Output = ()>>>,
    ) -> Option<()> {
        let mut due = pin!(self.executor.until(session.deadline()));
        let woken = poll_fn(|cx| {
            if self.line.drain.load(Ordering::Relaxed) && !self.is_told {
                return Poll::Ready(Woken::Drain);
            }
            let room = session.room();
            if room > 0 {
                let read = self.line.wire.poll_read(&self.executor, cx, room, |bytes| session.input(bytes));
                match read {
                    Poll::Ready(0) => return Poll::Ready(Woken::Left),
                    Poll::Ready(_) => return Poll::Ready(Woken::Input),
                    Poll::Pending => {}
                }
            }
            if let Some(changed) = &mut changed
                && changed.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Woken::Changed);
            }
            due.as_mut().poll(cx).map(|()| Woken::Due)
        })
        .await;
        match woken {
            Woken::Input | Woken::Due => {}
            Woken::Left => return None,
            Woken::Changed => session.changed(),
            Woken::Drain => {
                self.is_told = true;
                session.drain();
            }
        }
        Some(())
    }
}
