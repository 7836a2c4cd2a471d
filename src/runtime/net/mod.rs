//! Sockets. What lies below (glommio's readiness sockets today) shows in no public item here, so
//! that it can be exchanged by changing this folder alone.

mod conn;
mod gate;
mod listen;
mod local_path;
mod pending;
mod scratch;

pub use conn::{Conn, ConnError, DetachedConn};
pub use gate::{Gate, Peer, Place, Refusal};
pub use listen::{Address, ListenError, Listener, accept, bind_all, bind_local};
pub(crate) use local_path::SocketPath;
