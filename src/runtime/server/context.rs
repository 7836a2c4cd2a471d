//! One shard's start: its engine, its context, its listeners.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use admin::{Exit, Failure, Listen};
use base::{ShardId, Timestamp};
use shard::{Settings, Shard};
use storage_engine::{Disk, Engine, Options};

use super::connections::{self, Front};
use super::world::{Here, random};
use crate::vitals::Watch;
use crate::{
    Blocking, Conn, Gate, Listener, Local, Queue, Refusal, ShardSetup, TlsAcceptor, accept, start_store,
};

/// What all shards are started with.
pub(super) struct Plan {
    pub(super) disk: Disk,
    pub(super) options: Options,
    pub(super) settings: Arc<Settings>,
    pub(super) tls: TlsAcceptor,
    pub(super) gate: Arc<Gate>,
    /// Of the control socket alone.
    pub(super) control_gate: Arc<Gate>,
    pub(super) blocking: Blocking,
    /// Each shard's listeners, taken by it at its start.
    pub(super) fronts: Mutex<Vec<Vec<(Listen, Listener)>>>,
    /// The control socket, served by shard 0.
    pub(super) control: Mutex<Option<Listener>>,
    pub(super) data: PathBuf,
    /// When the process was.
    pub(super) started: Timestamp,
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
    });
    let shard = Shard::new(id, engine, router, Arc::clone(&plan.settings), world, process_key);
    listen(plan, id, &shard, &local);
    Ok(shard)
}

pub(super) fn store(plan: &Plan, error: &storage_engine::Error) -> Failure {
    Failure::new(Exit::Unavailable, format!("the store in {}: {error}", plan.data.display()))
}

fn listen(plan: &Plan, id: ShardId, shard: &Rc<Shard>, local: &Local) {
    let mut fronts = plan.fronts.lock().unwrap_or_else(PoisonError::into_inner);
    let own = fronts.get_mut(usize::from(id.0)).map(std::mem::take).unwrap_or_default();
    drop(fronts);
    for (listen, listener) in own {
        let front = Front { listen, tls: plan.tls.clone() };
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
const fn refusal(listen: Listen) -> &'static [u8] {
    match listen {
        Listen::Smtp | Listen::Submission | Listen::Lmtp => {
            b"421 4.3.2 Too many connections, try again later\r\n"
        }
        Listen::Imap => b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
        Listen::Pop3 => b"-ERR [SYS/TEMP] Too many connections, try again later\r\n",
        Listen::Submissions | Listen::Imaps | Listen::Pop3s => b"",
    }
}
