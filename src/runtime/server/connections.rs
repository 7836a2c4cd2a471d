//! From an accepted socket to a session with its service, and from one shard to another.

use std::rc::Rc;

use admin::{ControlService, ControlSession, Listen};
use base::{Secret, Service, Session};
use imap::Imap;
use pop3::Pop3;
use shard::{ImapService, Pop3Service, Shard, SmtpService};
use smtp::Smtp;

use super::world::random;
use crate::{Conn, DetachedConn, DriveContext, End, Local, Peer, Queue, TlsAcceptor, clock, drive, secure};

/// What a listener's connections begin with.
#[derive(Clone, Debug)]
pub(super) struct Front {
    pub(super) listen: Listen,
    pub(super) tls: TlsAcceptor,
}

/// Serves one connection of a listener to its end, on this shard or wherever it moves.
pub(super) async fn serve(shard: Rc<Shard>, conn: Conn, front: Front) {
    let settings = shard.settings();
    match front.listen {
        Listen::Smtp => smtp(shard, conn, front, settings.mx.clone()).await,
        Listen::Submission | Listen::Submissions => {
            smtp(shard, conn, front, settings.submission.clone()).await
        }
        Listen::Lmtp => smtp(shard, conn, front, settings.lmtp.clone()).await,
        Listen::Imap | Listen::Imaps => {
            begin::<ImapService>(shard, conn, front, Imap::new(settings.imap.clone(), Secret::new(nonces())))
                .await;
        }
        Listen::Pop3 | Listen::Pop3s => {
            let entropy = pop3::Entropy { nonces: Secret::new(nonces()) };
            begin::<Pop3Service>(shard, conn, front, Pop3::new(settings.pop3.clone(), entropy)).await;
        }
    }
}

async fn smtp(shard: Rc<Shard>, conn: Conn, front: Front, config: std::sync::Arc<smtp::Config>) {
    let peer = smtp::Peer {
        address: source(conn.peer()),
        // A Unix socket's permissions say who may use it.
        is_trusted: matches!(conn.peer(), Peer::Unix),
    };
    let mut ids = [0; 8];
    random(&mut ids);
    let entropy = smtp::Entropy { ids: u64::from_ne_bytes(ids), nonces: Secret::new(nonces()) };
    begin::<SmtpService>(shard, conn, front, Smtp::new(config, peer, entropy)).await;
}

/// A service that can be made where its connection is.
trait Stand<S: Session>: Service<S> + Sized + 'static {
    fn stand(shard: &Rc<Shard>, source: String, reply: Option<&S::Reply>) -> Self;
}

impl Stand<Smtp> for SmtpService {
    fn stand(shard: &Rc<Shard>, source: String, _: Option<&smtp::Reply>) -> Self {
        Self::new(Rc::clone(shard), source)
    }
}

impl Stand<Imap> for ImapService {
    fn stand(shard: &Rc<Shard>, source: String, reply: Option<&imap::Reply>) -> Self {
        match reply {
            Some(reply) => Self::moved(Rc::clone(shard), source, reply),
            None => Self::new(Rc::clone(shard), source),
        }
    }
}

impl Stand<Pop3> for Pop3Service {
    fn stand(shard: &Rc<Shard>, source: String, reply: Option<&pop3::Reply>) -> Self {
        match reply {
            Some(reply) => Self::moved(Rc::clone(shard), source, reply),
            None => Self::new(Rc::clone(shard), source),
        }
    }
}

async fn begin<V>(shard: Rc<Shard>, mut conn: Conn, front: Front, mut session: V::Session)
where
    V: Kind,
{
    let Some(local) = Local::current() else { return };
    if front.listen.is_implicit_tls() {
        let secured = secure(&mut conn, &mut session, &front.tls, local.timers()).await;
        if let Err(error) = secured {
            tracing::debug!(event = "runtime.handshake_failed", %error);
            return;
        }
    }
    let source = source(conn.peer());
    let service = V::stand(&shard, source.clone(), None);
    let ctx = DriveContext { timers: local.timers().clone(), tls: Some(front.tls.clone()) };
    let end = drive(conn, session, service, &ctx).await;
    carry::<V>(&shard, end, source, front.tls).await;
}

/// A service with the one session that it stands behind.
trait Kind: Stand<Self::Session> {
    type Session: Session<Request: 'static, Reply: Send + 'static> + 'static;
}

impl Kind for SmtpService {
    type Session = Smtp;
}

impl Kind for ImapService {
    type Session = Imap;
}

impl Kind for Pop3Service {
    type Session = Pop3;
}

/// Hands a connection that belongs elsewhere to its shard, which drives it on.
async fn carry<V: Kind>(shard: &Rc<Shard>, end: End<V::Session>, source: String, tls: TlsAcceptor) {
    let End::Move { conn, session, reply, shard: target } = end else { return };
    let there = move |shard: Rc<Shard>| async move {
        if let Some(local) = Local::current() {
            let arrival = Arrival { conn, session, reply, source, tls };
            local.spawn_connection(Queue::Interactive, Box::pin(arrive::<V>(shard, arrival)));
        }
    };
    if shard.router.send(target, there).await.is_err() {
        tracing::warn!(event = "runtime.move_failed", shard = target.0);
    }
}

struct Arrival<S: Session> {
    conn: DetachedConn,
    session: S,
    reply: S::Reply,
    source: String,
    tls: TlsAcceptor,
}

async fn arrive<V: Kind>(shard: Rc<Shard>, arrival: Arrival<V::Session>) {
    let Some(local) = Local::current() else { return };
    let Arrival { conn, mut session, reply, source, tls } = arrival;
    let service = V::stand(&shard, source.clone(), Some(&reply));
    session.reply(reply);
    let ctx = DriveContext { timers: local.timers().clone(), tls: Some(tls.clone()) };
    let end = drive(Conn::attach(conn), session, service, &ctx).await;
    // Boxed, for a connection may move more than once.
    Box::pin(carry::<V>(&shard, end, source, tls)).await;
}

/// Serves one control connection to its end.
pub(super) async fn control(shard: Rc<Shard>, conn: Conn) {
    let Some(local) = Local::current() else { return };
    let ctx = DriveContext { timers: local.timers().clone(), tls: None };
    drive(conn, ControlSession::new(clock::now()), ControlService(shard), &ctx).await;
}

/// The peer as the throttle and the Received field name it.
fn source(peer: Peer) -> String {
    peer.ip().map_or_else(|| "unix".to_owned(), |address| address.to_string())
}

fn nonces<const N: usize>() -> [[u8; 18]; N] {
    let mut nonces = [[0; 18]; N];
    random(nonces.as_flattened_mut());
    nonces
}
