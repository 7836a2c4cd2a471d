//! Echo through `accept` and `Conn`, as the server's sessions use them.

use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use runtime::{
    Address, Conn, ConnectionLimits, Gate, Queue, ShardSetup, Shards, ShardsConfig, accept, bind_all,
};

use super::SERVER_CPU;

const READ_BYTES_MAX: usize = 64 * 1024;

pub(crate) fn serve(address: SocketAddr, spin: Duration) {
    let listener = bind_all(&Address::Tcp(address), 1).unwrap().pop().unwrap();
    println!("{}", listener.address());
    let listener = std::sync::Arc::new(Mutex::new(Some(listener)));
    let limits = ConnectionLimits { connections_max: 100_000, per_source_max: 100_000 };
    let gate = Gate::new(limits);
    let mut config = ShardsConfig::new(1);
    config.cpus = vec![SERVER_CPU];
    config.spin = spin;
    let make = move |setup: ShardSetup<()>| {
        let local = setup.local;
        let (listener, gate) = (listener.lock().unwrap().take().unwrap(), gate.clone());
        let spawner = local.clone();
        local.clone().spawn(Queue::Interactive, async move {
            let each = |conn| spawner.spawn_connection(Queue::Interactive, echo(conn));
            accept(listener, &local, &gate, |_, _| {}, each).await;
        });
        ready(Ok::<_, Infallible>(Rc::new(())))
    };
    let _shards = Shards::start(&config, make).unwrap();
    loop {
        std::thread::park();
    }
}

async fn echo(mut conn: Conn) {
    let mut bytes = Vec::new();
    loop {
        let read =
            poll_fn(|cx| conn.poll_read(cx, READ_BYTES_MAX, &mut |piece| bytes.extend_from_slice(piece)));
        match read.await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if conn.write(&mut bytes).await.is_err() {
            return;
        }
    }
}
