//! Sockets, and the ring (`ring`) on which a shard waits for them and for everything else. What lies below
//! shows in no public item here, so that it can be exchanged by changing this folder alone.

mod conn;
mod credentials;
mod gate;
mod listen;
mod local_path;
mod outgoing;
mod pending;
mod ring;
mod scratch;
mod socket;

pub use conn::{Conn, ConnError, DetachedConn};
pub use gate::{Gate, Peer, Place, Refusal};
pub use listen::{Address, ListenError, Listener, accept, bind_all, bind_local};
pub(crate) use local_path::SocketPath;
pub(crate) use outgoing::within;
pub(crate) use ring::{Ring, Source};
