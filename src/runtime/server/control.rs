//! The command line's ways to have a request executed: by a running server over its socket, or by
//! a store opened for it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use admin::{Control, Exit, Failure, Request, Response, decode_answer, execute, frame, lengths};
use router::Router;
use shard::{DIRECTORY_PARTITION, Shard};

use super::running::Running;
use crate::{SocketPath, block_on};

/// Where a server's control socket is.
pub(super) fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// How long a server may take over one request.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(5);

/// A running server.
pub(super) struct Socket(UnixStream);

impl Socket {
    /// The server that has this store open, if one answers. A socket may outlive its server for a moment:
    /// only an answer counts.
    pub(super) fn connect(data: &Path) -> Option<Self> {
        let place = SocketPath::new(&path(data)).ok()?;
        let stream = UnixStream::connect(place.as_path()).ok()?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
        let mut socket = Self(stream);
        socket.call(&Request::Ping, &[]).ok().map(|_| socket)
    }

    fn exchange(&mut self, json: &[u8], payload: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
        self.0.write_all(&frame(json, payload))?;
        let mut head = [0; 8];
        self.0.read_exact(&mut head)?;
        let (json_bytes, payload_bytes) = lengths(head);
        let (mut json, mut payload) = (vec![0; json_bytes], vec![0; payload_bytes]);
        self.0.read_exact(&mut json)?;
        self.0.read_exact(&mut payload)?;
        Ok((json, payload))
    }
}

impl Control for Socket {
    fn call(&mut self, request: &Request, payload: &[u8]) -> Result<Response, Failure> {
        let json = serde_json::to_vec(request).expect("a request is made of plain values");
        let (json, payload) = self.exchange(&json, payload).map_err(|error| {
            Failure::new(Exit::Unavailable, format!("the server's control socket: {error}"))
        })?;
        decode_answer(&json, payload)
    }
}

/// The shards of this process.
pub(super) struct Direct<'a>(pub(super) &'a Router<Shard>);

impl Control for Direct<'_> {
    fn call(&mut self, request: &Request, payload: &[u8]) -> Result<Response, Failure> {
        let (request, payload) = (request.clone(), payload.to_vec());
        let owner = self.0.partition_shard(DIRECTORY_PARTITION);
        let work = move |shard| async move { execute(&shard, request, payload).await };
        block_on(self.0.on(owner, work)).map_err(|gone| Failure::new(Exit::Internal, gone.to_string()))?
    }
}

/// A store opened for the command line, closed in good order when it is dropped.
pub(super) struct Workshop(pub(super) Option<Running>);

impl Control for Workshop {
    fn call(&mut self, request: &Request, payload: &[u8]) -> Result<Response, Failure> {
        let running = self.0.as_ref().expect("taken by the drop alone");
        Direct(running.router()).call(request, payload)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            running.stop();
        }
    }
}
