//! From an accepted socket to a session with its service, and from one shard to another.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use admin::{ControlService, ControlSession, Listen};
use base::{Secret, Service, Session, ShardId};
use http::Http;
use imap::Imap;
use pop3::Pop3;
use shard::{ConnectionMeter, ImapService, Measured, Pop3Service, Protocol, Shard, SmtpService, WebService};
use smtp::Smtp;

use super::context::refusal;
use super::crowd::Present;
use super::proxied::{Unannounced, announce};
use super::world::random;
use crate::{
    Conn, DetachedConn, DriveContext, End, Local, Meter, Peer, Queue, TlsAcceptor, clock, drive,
    drive_metered, secure,
};

/// What a listener's connections begin with.
#[derive(Clone, Debug)]
pub(super) struct Front {
    pub(super) listen: Listen,
    pub(super) tls: TlsAcceptor,
}

/// A connection's whole life as one future on the heap. Each `async fn` on the way that took the
/// session by value would keep a copy of it for as long as the connection is idle.
type Life = Pin<Box<dyn Future<Output = ()>>>;

/// Serves one connection of a listener to its end, on this shard or wherever it moves.
pub(super) fn serve(shard: Rc<Shard>, conn: Conn, front: Front) -> Life {
    let settings = shard.settings();
    let is_proxied = conn.peer().ip().is_some_and(|peer| settings.inbound.is_proxy(peer));
    // Whoever speaks LMTP has accepted the mail itself: nothing depends on where it is.
    if is_proxied && front.listen != Listen::Lmtp {
        return Box::pin(serve_proxied(shard, conn, front));
    }
    welcome(shard, conn, front)
}

/// Serves who is behind a load balancer.
async fn serve_proxied(shard: Rc<Shard>, mut conn: Conn, front: Front) {
    let Some(local) = Local::current() else { return };
    match announce(&mut conn, local.timers()).await {
        // A task of its own, so that what the header needed is given back.
        Ok(()) => local.spawn_boxed_connection(Queue::Interactive, welcome(shard, conn, front)),
        Err(Unannounced::Refused(why)) => {
            tracing::info!(event = "runtime.connection_refused", ?why);
            let _gone = conn.write(&mut refusal(front.listen).to_vec()).await;
        }
        Err(error) => {
            shard.metrics.count_proxy_refused(protocol(front.listen));
            tracing::info!(event = "runtime.proxy_header_refused", proxy = %conn.peer(), %error);
        }
    }
}

fn welcome(shard: Rc<Shard>, conn: Conn, front: Front) -> Life {
    let settings = shard.settings();
    match front.listen {
        Listen::Smtp => smtp(shard, conn, front, &settings.mx),
        Listen::Submission | Listen::Submissions => smtp(shard, conn, front, &settings.submission),
        Listen::Lmtp => smtp(shard, conn, front, &settings.lmtp),
        Listen::Imap | Listen::Imaps => {
            let session = Imap::new(Arc::clone(&settings.imap), Secret::new(nonces()));
            let session = session.with_budget(Arc::clone(&shard.content));
            begin::<ImapService>(shard, conn, front, session)
        }
        Listen::Pop3 | Listen::Pop3s => {
            let entropy = pop3::Entropy { nonces: Secret::new(nonces()) };
            begin::<Pop3Service>(shard, conn, front, Pop3::new(Arc::clone(&settings.pop3), entropy))
        }
        Listen::Https => {
            let session = WebService::session(&shard);
            begin::<WebService>(shard, conn, front, session)
        }
    }
}

fn smtp(shard: Rc<Shard>, conn: Conn, front: Front, config: &Arc<smtp::Config>) -> Life {
    let peer = smtp::Peer {
        address: source(conn.peer()),
        // A Unix socket's permissions say who may use it.
        is_trusted: matches!(conn.peer(), Peer::Unix),
    };
    let mut ids = [0; 8];
    random(&mut ids);
    let entropy = smtp::Entropy { ids: u64::from_ne_bytes(ids), nonces: Secret::new(nonces()) };
    let settings = shard.settings();
    let is = |allowed: &dyn Fn(IpAddr) -> bool| conn.peer().ip().is_some_and(allowed);
    let rights = smtp::Rights {
        may_prioritise: is(&|peer| settings.outbound.may_relay(peer)),
        may_verp: is(&|peer| settings.outbound.may_relay(peer)),
        may_announce: front.listen == Listen::Smtp && is(&|peer| settings.inbound.may_announce(peer)),
    };
    let session = Smtp::new(Arc::clone(config), peer, entropy).with_rights(rights);
    let session = session.with_budget(Arc::clone(&shard.content));
    let is_tested = front.listen == Listen::Smtp
        && !rights.may_prioritise
        && is(&|peer| settings.inbound.tests_greeting(peer));
    let session = if is_tested { session.with_test() } else { session };
    begin::<SmtpService>(shard, conn, front, session)
}

/// What a connection that has moved comes with, and where it comes from.
type Arrival<'a, S> = (&'a <S as Session>::Reply, ShardId);

/// A service that can be made where its connection is.
trait Stand<S: Session>: Service<S> + Sized + 'static {
    fn stand(shard: &Rc<Shard>, source: String, arrival: Option<Arrival<'_, S>>) -> Self;
}

impl Stand<Smtp> for SmtpService {
    fn stand(shard: &Rc<Shard>, source: String, _: Option<Arrival<'_, Smtp>>) -> Self {
        Self::new(Rc::clone(shard), source)
    }
}

impl Stand<Imap> for ImapService {
    fn stand(shard: &Rc<Shard>, source: String, arrival: Option<Arrival<'_, Imap>>) -> Self {
        match arrival {
            Some((reply, from)) => Self::moved(Rc::clone(shard), source, reply, from),
            None => Self::new(Rc::clone(shard), source),
        }
    }
}

impl Stand<Pop3> for Pop3Service {
    fn stand(shard: &Rc<Shard>, source: String, arrival: Option<Arrival<'_, Pop3>>) -> Self {
        match arrival {
            Some((reply, from)) => Self::moved(Rc::clone(shard), source, reply, from),
            None => Self::new(Rc::clone(shard), source),
        }
    }
}

impl Stand<Http> for WebService {
    fn stand(shard: &Rc<Shard>, source: String, _: Option<Arrival<'_, Http>>) -> Self {
        Self::new(Rc::clone(shard), source)
    }
}

fn begin<V: Kind>(shard: Rc<Shard>, conn: Conn, front: Front, session: V::Session) -> Life {
    let Some(local) = Local::current() else { return Box::pin(std::future::ready(())) };
    let meter = Meter::new(ConnectionMeter::opened(&shard.metrics, protocol(front.listen)));
    let mut stage = Stage { source: source(conn.peer()), conn, session, tls: front.tls, meter };
    let service = V::stand(&shard, stage.source.clone(), None);
    if !front.listen.is_implicit_tls() {
        return run(&local, shard, stage, service);
    }
    Box::pin(async move {
        let secured = secure(&mut stage.conn, &mut stage.session, &stage.tls, local.timers()).await;
        stage.meter.handshake(secured.is_ok());
        if let Err(error) = secured {
            tracing::debug!(event = "runtime.handshake_failed", %error);
            return;
        }
        // A task of its own, so that what the handshake needed is given back.
        local.spawn_boxed_connection(Queue::Interactive, run(&local, shard, stage, service));
    })
}

/// A service with the one session that it stands behind.
trait Kind: Stand<Self::Session> {
    type Session: Measured<Request: 'static, Reply: Send + 'static> + 'static;
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

impl Kind for WebService {
    type Session = Http;
}

/// What drives a session on: at its begin, or on the shard where it has arrived.
struct Stage<S: Session> {
    conn: Conn,
    session: S,
    source: String,
    tls: TlsAcceptor,
    meter: Meter<S>,
}

/// Drives a session with its service, and hands it to another shard when it belongs there.
fn run<V: Kind>(local: &Local, shard: Rc<Shard>, stage: Stage<V::Session>, service: V) -> Life {
    let Stage { conn, session, source, tls, meter } = stage;
    let protocol = meter.protocol();
    let ctx = DriveContext { timers: local.timers().clone(), tls: Some(tls.clone()) };
    let driving = Box::pin(drive_metered(conn, session, service, ctx, Some(meter)));
    let present = Present::new(local, &shard);
    Box::pin(async move {
        let _present = present;
        let End::Move { conn, session, reply, shard: target } = driving.await else { return };
        let from = shard.id;
        let there = move |shard: Rc<Shard>| async move {
            arrive::<V>(shard, Moved { conn, session, reply, from, source, tls, protocol });
        };
        if shard.router.send(target, there).await.is_err() {
            tracing::warn!(event = "runtime.move_failed", shard = target.0);
        }
    })
}

/// A connection on its way between shards.
struct Moved<S: Session> {
    conn: DetachedConn,
    session: S,
    reply: S::Reply,
    from: ShardId,
    source: String,
    tls: TlsAcceptor,
    protocol: Protocol,
}

fn arrive<V: Kind>(shard: Rc<Shard>, moved: Moved<V::Session>) {
    let Some(local) = Local::current() else { return };
    let Moved { conn, mut session, reply, from, source, tls, protocol } = moved;
    let service = V::stand(&shard, source.clone(), Some((&reply, from)));
    session.reply(reply);
    let conn = Conn::attach(conn);
    let meter = Meter::new(ConnectionMeter::arrived(&shard.metrics, protocol, conn.is_tls()));
    let stage = Stage { conn, session, source, tls, meter };
    local.spawn_boxed_connection(Queue::Interactive, run(&local, shard, stage, service));
}

/// Serves one control connection to its end.
pub(super) async fn control(shard: Rc<Shard>, conn: Conn) {
    let Some(local) = Local::current() else { return };
    let ctx = DriveContext { timers: local.timers().clone(), tls: None };
    drive(conn, ControlSession::new(clock::now()), ControlService(shard), ctx).await;
}

/// What is counted for a listener's connections.
const fn protocol(listen: Listen) -> Protocol {
    match listen {
        Listen::Smtp => Protocol::Smtp,
        Listen::Submission | Listen::Submissions => Protocol::Submission,
        Listen::Lmtp => Protocol::Lmtp,
        Listen::Imap | Listen::Imaps => Protocol::Imap,
        Listen::Pop3 | Listen::Pop3s => Protocol::Pop3,
        Listen::Https => Protocol::Https,
    }
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
