//! The server's side of its own sockets, in the shape of every line protocol: a session value and a service behind it. One
//! socket is for control, one takes mail of local programs; both speak in frames.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::{Budget, Charge, Handled, Next, Out, Service, Session, Timestamp, TlsInfo};
use serde::de::DeserializeOwned;
use shard::Shard;

use crate::control::{encode_answer, lengths};
use crate::limits::{CONTROL_IDLE_MS_MAX, JSON_BYTES_MAX, PAYLOAD_BYTES_MAX, SUBMIT_IDLE_MS_MAX};
use crate::{Exit, Failure, Request, Response, Submission, execute, sendmail};

/// One request with its payload.
pub struct Call<R> {
    request: R,
    payload: Vec<u8>,
}

/// The payload is people's mail: its length will do.
impl<R: fmt::Debug> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("request", &self.request).field("bytes", &self.payload.len()).finish()
    }
}

/// One connection that brings requests of this kind.
#[derive(Debug)]
pub struct FrameSession<R> {
    input: Vec<u8>,
    output: Vec<u8>,
    is_closing: bool,
    last_input: Timestamp,
    payload_bytes_max: usize,
    idle_ms_max: i64,
    /// What its requests hold of the memory for messages that come in.
    charge: Charge,
    request: PhantomData<fn() -> R>,
}

/// One control connection.
pub type ControlSession = FrameSession<Request>;

/// One connection of a local program with mail.
pub type SubmitSession = FrameSession<Submission>;

impl ControlSession {
    /// A connection that has just been accepted.
    pub fn new(now: Timestamp) -> Self {
        Self::bounded(now, PAYLOAD_BYTES_MAX, CONTROL_IDLE_MS_MAX, Charge::default())
    }
}

impl SubmitSession {
    /// A connection that has just been accepted. Its message may have so many bytes, and they are taken of this budget.
    pub fn for_mail(now: Timestamp, bytes_max: usize, budget: Arc<Budget>) -> Self {
        Self::bounded(now, bytes_max, SUBMIT_IDLE_MS_MAX, Charge::new(Some(budget)))
    }
}

impl<R> FrameSession<R> {
    const fn bounded(now: Timestamp, payload_bytes_max: usize, idle_ms_max: i64, charge: Charge) -> Self {
        Self {
            input: Vec::new(),
            output: Vec::new(),
            is_closing: false,
            last_input: now,
            payload_bytes_max,
            idle_ms_max,
            charge,
            request: PhantomData,
        }
    }

    fn refuse(&mut self, exit: Exit, message: &str) -> Next<Call<R>> {
        self.output.extend(encode_answer(Err(Failure::new(exit, message))));
        self.is_closing = true;
        Next::Close
    }
}

impl<R: DeserializeOwned> Session for FrameSession<R> {
    type Request = Call<R>;
    type Reply = Result<Response, Failure>;

    fn input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    fn room(&self) -> usize {
        (8 + JSON_BYTES_MAX + self.payload_bytes_max).saturating_sub(self.input.len())
    }

    fn next(&mut self, now: Timestamp) -> Next<Call<R>> {
        if self.is_closing || now >= self.deadline() {
            return Next::Close;
        }
        let Some(head) = self.input.first_chunk().copied() else { return Next::Read };
        let (json_bytes, payload_bytes) = lengths(head);
        if json_bytes > JSON_BYTES_MAX || payload_bytes > self.payload_bytes_max {
            return self.refuse(Exit::Data, "it is larger than the server takes");
        }
        if !self.charge.cover(json_bytes + payload_bytes) {
            return self.refuse(Exit::TempFail, "the server has no memory for it now; try again later");
        }
        if self.input.len() < 8 + json_bytes + payload_bytes {
            return Next::Read;
        }
        self.last_input = now;
        let mut json: Vec<u8> = self.input.drain(..8 + json_bytes + payload_bytes).skip(8).collect();
        let payload = json.split_off(json_bytes);
        match serde_json::from_slice(&json) {
            Ok(request) => Next::Run(Call { request, payload }),
            Err(error) => self.refuse(Exit::Data, &format!("the request cannot be read: {error}")),
        }
    }

    fn reply(&mut self, reply: Self::Reply) {
        self.output.extend(encode_answer(reply));
        self.charge.release();
    }

    fn deadline(&self) -> Timestamp {
        self.last_input + Duration::from_millis(self.idle_ms_max.unsigned_abs())
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
        call: Call<Request>,
        _: &mut Out<'_>,
    ) -> Handled<Result<Response, Failure>> {
        Handled::Reply(execute(&self.0, call.request, call.payload).await)
    }

    async fn changed(&mut self) {
        std::future::pending::<()>().await;
    }
}

/// Takes mail of the local user who has connected.
#[derive(Debug)]
pub struct SubmitService {
    /// Where.
    pub shard: Rc<Shard>,
    /// Whose program it is, by the kernel's word.
    pub user: String,
}

impl Service<SubmitSession> for SubmitService {
    async fn handle(
        &mut self,
        _: &mut SubmitSession,
        call: Call<Submission>,
        _: &mut Out<'_>,
    ) -> Handled<Result<Response, Failure>> {
        Handled::Reply(sendmail::take(&self.shard, &self.user, call.request, call.payload).await)
    }

    async fn changed(&mut self) {
        std::future::pending::<()>().await;
    }
}
