//! One shard's start: its engine, its context, its listeners.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use admin::{Exit, Failure, Listen};
use base::{ShardId, Timestamp};
use shard::{Settings, Shard};
use storage_engine::{Disk, Engine, Options};

use super::connections::{self, Front};
use super::submit;
use super::world::{Connector, Here, random};
use crate::vitals::Watch;
use crate::{
    Asker, Authorities, Blocking, Certificates, Conn, Gate, Listener, Local, Queue, Refusal, Resolver,
    ShardSetup, Sidecar, TlsAcceptor, TlsError, accept, start_store,
};

/// What all shards are started with.
pub(super) struct Plan {
    pub(super) disk: Disk,
    pub(super) options: Options,
    pub(super) settings: Arc<Settings>,
    pub(super) certificates: Arc<Certificates>,
    /// Made by whoever needs it first; see [`Plan::tls`].
    pub(super) tls: OnceLock<Result<TlsAcceptor, TlsError>>,
    pub(super) gate: Arc<Gate>,
    /// Of the control socket alone.
    pub(super) control_gate: Arc<Gate>,
    /// Of the socket for local programs alone.
    pub(super) submit_gate: Arc<Gate>,
    pub(super) blocking: Blocking,
    pub(super) sidecar: Sidecar,
    pub(super) asker: Asker,
    /// Instead of the system's.
    pub(super) authorities: Option<Authorities>,
    /// Each shard's listeners, taken by it at its start.
    pub(super) fronts: Mutex<Vec<Vec<(Listen, Listener)>>>,
    /// The control socket, served by shard 0.
    pub(super) control: Mutex<Option<Listener>>,
    /// The socket for local programs, served by shard 0.
    pub(super) submit: Mutex<Option<Listener>>,
    pub(super) data: PathBuf,
    /// When the process was.
    pub(super) started: Timestamp,
    /// It serves: mail that waits is sent. The command line opens a store for itself.
    pub(super) serves: bool,
}

impl Plan {
    /// What begins TLS. The first random numbers of a process take the library for it 20 ms of gathering, so this is
    /// asked for aside while the shards read their journals.
    pub(super) fn tls(&self) -> Result<TlsAcceptor, Failure> {
        let made = self.tls.get_or_init(|| TlsAcceptor::new(Arc::clone(&self.certificates)));
        made.clone().map_err(|error| Failure::new(Exit::Config, format!("TLS: {error}")))
    }
}

/// Starts one shard on its own thread.
pub(super) fn start(plan: &Plan, setup: ShardSetup<Shard>) -> Result<Rc<Shard>, Failure> {
    let ShardSetup { id, shards, router, local } = setup;
    let engine =
        Engine::open(&plan.disk, &plan.options, id.0, shards).map_err(|error| store(plan, &error))?;
    start_store(&local, &engine, &plan.blocking);
    let mut process_key = [0; 32];
    random(&mut process_key);
    let world = Rc::new(Here {
        blocking: plan.blocking.clone(),
        local: local.clone(),
        watch: Watch::default(),
        started: plan.started,
        connector: Rc::new(Connector::new(plan.authorities.clone())),
        resolver: Resolver::new(local.clone(), plan.sidecar.clone(), plan.asker.clone()),
    });
    let shard = Shard::new(id, engine, router, Arc::clone(&plan.settings), world, process_key);
    listen(plan, id, &shard, &local)?;
    if plan.serves {
        let kept = Rc::clone(&shard);
        local.at_stop(async move { shard::remember::write_down(&kept).await });
        local.spawn(Queue::Delivery, shard::relay::run(Rc::clone(&shard)));
        local.at_stop(shard::reporting::finish(Rc::clone(&shard)));
    }
    Ok(shard)
}

pub(super) fn store(plan: &Plan, error: &storage_engine::Error) -> Failure {
    Failure::new(Exit::Unavailable, format!("the store in {}: {error}", plan.data.display()))
}

fn listen(plan: &Plan, id: ShardId, shard: &Rc<Shard>, local: &Local) -> Result<(), Failure> {
    let tls = plan.tls()?;
    let mut fronts = plan.fronts.lock().unwrap_or_else(PoisonError::into_inner);
    let own = fronts.get_mut(usize::from(id.0)).map(std::mem::take).unwrap_or_default();
    drop(fronts);
    for (listen, listener) in own {
        let front = Front { listen, tls: tls.clone() };
        spawn_accept(local, listener, &plan.gate, refusal(listen), {
            let (shard, local) = (Rc::clone(shard), local.clone());
            move |conn| {
                let serving = connections::serve(Rc::clone(&shard), conn, front.clone());
                local.spawn_boxed_connection(Queue::Interactive, serving);
            }
        });
    }
    let control = plan.control.lock().unwrap_or_else(PoisonError::into_inner).take_if(|_| id == ShardId(0));
    if let Some(listener) = control {
        spawn_accept(local, listener, &plan.control_gate, b"", {
            let (shard, local) = (Rc::clone(shard), local.clone());
            move |conn| {
                local.spawn_connection(Queue::Interactive, connections::control(Rc::clone(&shard), conn));
            }
        });
    }
    let submit = plan.submit.lock().unwrap_or_else(PoisonError::into_inner).take_if(|_| id == ShardId(0));
    if let Some(listener) = submit {
        spawn_accept(local, listener, &plan.submit_gate, b"", {
            let (shard, local) = (Rc::clone(shard), local.clone());
            move |conn| {
                local.spawn_connection(Queue::Interactive, submit::serve(Rc::clone(&shard), conn));
            }
        });
    }
    Ok(())
}

fn spawn_accept(
    local: &Local,
    listener: Listener,
    gate: &Arc<Gate>,
    refusal: &'static [u8],
    each: impl FnMut(Conn) + 'static,
) {
    let (accepting, gate, refusing) = (local.clone(), Arc::clone(gate), local.clone());
    local.spawn(Queue::Interactive, async move {
        let refuse = move |mut conn: Conn, why: Refusal| {
            tracing::info!(event = "runtime.connection_refused", ?why);
            refusing.spawn(Queue::Interactive, async move {
                let _gone = conn.write(&mut refusal.to_vec()).await;
            });
        };
        accept(listener, &accepting, &gate, refuse, each).await;
    });
}

/// What a peer hears when there is no room for it. Before TLS there is nothing it would understand.
pub(super) const fn refusal(listen: Listen) -> &'static [u8] {
    match listen {
        Listen::Smtp | Listen::Submission | Listen::Lmtp => {
            b"421 4.3.2 Too many connections, try again later\r\n"
        }
        Listen::Imap => b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
        Listen::Pop3 => b"-ERR [SYS/TEMP] Too many connections, try again later\r\n",
        Listen::Submissions | Listen::Imaps | Listen::Pop3s | Listen::Https => b"",
    }
}
