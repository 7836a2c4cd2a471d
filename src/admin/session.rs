//! The server's side of the control socket, in the shape of every line protocol: a session value
//! and a service behind it.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use base::{Handled, Next, Out, Service, Session, Timestamp, TlsInfo};
use shard::Shard;

use crate::control::{encode_answer, lengths};
use crate::limits::{CONTROL_IDLE_MS_MAX, JSON_BYTES_MAX, PAYLOAD_BYTES_MAX};
use crate::{Exit, Failure, Request, Response, execute};

/// One request with its payload.
pub struct Call {
    request: Request,
    payload: Vec<u8>,
}

/// The payload is people's mail: its length will do.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("request", &self.request).field("bytes", &self.payload.len()).finish()
    }
}

/// One control connection.
#[derive(Debug, Default)]
pub struct ControlSession {
    input: Vec<u8>,
    output: Vec<u8>,
    is_closing: bool,
    last_input: Timestamp,
}

impl ControlSession {
    /// A connection that has just been accepted.
    pub const fn new(now: Timestamp) -> Self {
        Self { input: Vec::new(), output: Vec::new(), is_closing: false, last_input: now }
    }

    fn refuse(&mut self, message: String) {
        self.output.extend(encode_answer(Err(Failure::new(Exit::Data, message))));
        self.is_closing = true;
    }
}

impl Session for ControlSession {
    type Request = Call;
    type Reply = Result<Response, Failure>;

    fn input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    fn room(&self) -> usize {
        (8 + JSON_BYTES_MAX + PAYLOAD_BYTES_MAX).saturating_sub(self.input.len())
    }

    fn next(&mut self, now: Timestamp) -> Next<Call> {
        if self.is_closing || now >= self.deadline() {
            return Next::Close;
        }
        let Some(head) = self.input.first_chunk().copied() else { return Next::Read };
        let (json_bytes, payload_bytes) = lengths(head);
        if json_bytes > JSON_BYTES_MAX || payload_bytes > PAYLOAD_BYTES_MAX {
            self.refuse("the request is larger than the control protocol allows".to_owned());
            return Next::Close;
        }
        if self.input.len() < 8 + json_bytes + payload_bytes {
            return Next::Read;
        }
        self.last_input = now;
        let mut json: Vec<u8> = self.input.drain(..8 + json_bytes + payload_bytes).skip(8).collect();
        let payload = json.split_off(json_bytes);
        match serde_json::from_slice(&json) {
            Ok(request) => Next::Run(Call { request, payload }),
            Err(error) => {
                self.refuse(format!("the request cannot be read: {error}"));
                Next::Close
            }
        }
    }

    fn reply(&mut self, reply: Self::Reply) {
        self.output.extend(encode_answer(reply));
    }

    fn deadline(&self) -> Timestamp {
        self.last_input + Duration::from_millis(CONTROL_IDLE_MS_MAX.unsigned_abs())
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// The socket is a Unix socket: never under TLS.
    fn secured(&mut self, _: TlsInfo) {}

    fn drain(&mut self) {
        self.is_closing = true;
    }
}

/// Executes calls on a shard.
#[derive(Debug)]
pub struct ControlService(pub Rc<Shard>);

impl Service<ControlSession> for ControlService {
    async fn handle(
        &mut self,
        _: &mut ControlSession,
        call: Call,
        _: &mut Out<'_>,
    ) -> Handled<Result<Response, Failure>> {
        Handled::Reply(execute(&self.0, call.request, call.payload).await)
    }

    async fn changed(&mut self) {
        std::future::pending::<()>().await;
    }
}
