//! An echo protocol and a server for it: the smallest session that uses every word of the contract.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::future::pending;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{Handled, Line, Next, Out, Service, Session, ShardId, Timestamp, TlsInfo, take_line};
use runtime::{
    Address, Certificate, Certificates, Conn, ConnectionLimits, DetachedConn, DriveContext, End, Gate,
    Listener, Local, Queue, ShardSetup, Shards, ShardsConfig, TlsAcceptor, accept, bind_all, drive, now,
    secure,
};

/// Input that one session keeps.
pub const INPUT_BYTES_MAX: usize = 1000;
/// What `BIG` answers with, repeated.
pub const BIG_LINE: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n";

#[derive(Debug)]
pub enum Request {
    Echo(Vec<u8>),
    Big(usize),
    Move(u16),
    Panic,
    Where,
}

#[derive(Debug)]
pub struct Reply(Vec<u8>);

#[derive(Debug)]
pub struct Echo {
    input: Vec<u8>,
    output: Vec<u8>,
    deadline: Timestamp,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Open,
    Watching,
    Closing,
}

impl Echo {
    pub fn new(patience: Duration) -> Self {
        let output = b"hello\r\n".to_vec();
        Self { input: Vec::new(), output, deadline: now() + patience, state: State::Open }
    }

    fn say(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    fn command(&mut self, line: Vec<u8>) -> Option<Next<Request>> {
        let text = String::from_utf8_lossy(&line).into_owned();
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match word {
            "QUIT" => {
                self.say("bye");
                self.state = State::Closing;
                return None;
            }
            "WATCH" => {
                self.say("watching");
                self.state = State::Watching;
                return None;
            }
            "STARTTLS" => {
                self.say("go");
                return Some(Next::StartTls);
            }
            "PANIC" => return Some(Next::Run(Request::Panic)),
            "WHERE" => return Some(Next::Run(Request::Where)),
            "BIG" => return Some(Next::Run(Request::Big(rest.parse().unwrap()))),
            "MOVE" => return Some(Next::Run(Request::Move(rest.parse().unwrap()))),
            _ => {}
        }
        Some(Next::Run(Request::Echo(line)))
    }
}

impl Session for Echo {
    type Request = Request;
    type Reply = Reply;

    fn input(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.room(), "a session is given no more than it has room for");
        self.input.extend_from_slice(bytes);
    }

    fn room(&self) -> usize {
        INPUT_BYTES_MAX - self.input.len()
    }

    fn next(&mut self, now: Timestamp) -> Next<Request> {
        if self.state != State::Closing && now >= self.deadline {
            self.say("too slow");
            self.state = State::Closing;
        }
        loop {
            if self.state == State::Closing {
                return Next::Close;
            }
            match take_line(&mut self.input, INPUT_BYTES_MAX) {
                Ok(Line::Complete(line)) => {
                    self.state = State::Open;
                    if let Some(next) = self.command(line) {
                        return next;
                    }
                }
                Ok(Line::Partial) if self.state == State::Watching => return Next::Watch,
                Ok(Line::Partial) => return Next::Read,
                Err(_) => {
                    self.say("bad line");
                    self.state = State::Closing;
                }
            }
        }
    }

    fn reply(&mut self, reply: Reply) {
        self.output.extend_from_slice(&reply.0);
        self.output.extend_from_slice(b"\r\n");
    }

    fn deadline(&self) -> Timestamp {
        self.deadline
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn secured(&mut self, tls: TlsInfo) {
        // RFC 3207 §4.2: what was said before the handshake does not count.
        self.input.clear();
        let bindings =
            tls.bindings.iter().map(|binding| format!("{}={}", binding.name, hex(binding.data.reveal())));
        let bindings: Vec<_> = bindings.collect();
        let name = tls.server_name.unwrap_or_default();
        self.say(&format!("secured {} [{name}] {}", tls.version, bindings.join(" ")));
    }

    fn changed(&mut self) {
        self.say("changed");
        self.state = State::Open;
    }

    fn drain(&mut self) {
        self.say("draining");
        self.state = State::Closing;
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The handlers, and what the tests look at.
pub struct Handlers {
    pub context: Rc<Context>,
    pub is_changed: bool,
}

impl Service<Echo> for Handlers {
    async fn handle(&mut self, _: &mut Echo, request: Request, out: &mut Out<'_>) -> Handled<Reply> {
        match request {
            Request::Echo(line) => Handled::Reply(Reply(line)),
            Request::Where => {
                Handled::Reply(Reply(format!("shard {}", self.context.local.id()).into_bytes()))
            }
            Request::Panic => panic!("on purpose"),
            Request::Move(shard) => {
                Handled::Move(ShardId(shard), Reply(format!("moved to {shard}").into_bytes()))
            }
            Request::Big(lines) => {
                for _ in 0..lines {
                    out.buffer.extend_from_slice(BIG_LINE);
                    self.context.shared.buffered_max.fetch_max(out.buffer.len(), Ordering::Relaxed);
                    if out.room().await.is_err() {
                        break;
                    }
                    self.context.shared.lines.fetch_add(1, Ordering::Relaxed);
                }
                Handled::Reply(Reply(b"end".to_vec()))
            }
        }
    }

    async fn changed(&mut self) {
        if !std::mem::replace(&mut self.is_changed, true) {
            self.context.local.timers().sleep(Duration::from_millis(20)).await;
            return;
        }
        pending::<()>().await;
    }
}

#[derive(Debug, Default)]
pub struct Shared {
    pub buffered_max: AtomicUsize,
    pub lines: AtomicUsize,
    pub ended: AtomicUsize,
}

pub struct Context {
    pub local: Local,
    pub router: router::Router<Context>,
    pub drive: DriveContext,
    pub shared: Arc<Shared>,
    pub patience: Duration,
}

impl Context {
    pub async fn serve(self: Rc<Self>, conn: Conn, session: Echo) {
        let handlers = Handlers { context: Rc::clone(&self), is_changed: false };
        match drive(conn, session, handlers, self.drive.clone()).await {
            End::Closed => {
                self.shared.ended.fetch_add(1, Ordering::Relaxed);
            }
            End::Move { conn, session, reply, shard } => self.carry(conn, session, reply, shard).await,
        }
    }

    async fn carry(&self, conn: DetachedConn, mut session: Echo, reply: Reply, shard: ShardId) {
        let arrive = move |there: Rc<Self>| async move {
            session.reply(reply);
            let local = there.local.clone();
            let conn = Conn::attach(conn);
            local.spawn_connection(Queue::Interactive, there.serve(conn, session));
        };
        self.router.send(shard, arrive).await.unwrap();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    Plain,
    Tls,
}

#[derive(Clone)]
pub struct Plan {
    pub shards: u16,
    pub begin: Begin,
    pub patience: Duration,
    pub limits: ConnectionLimits,
    pub address: Address,
    /// Instead of one with the server's own certificate.
    pub tls: Option<TlsAcceptor>,
}

impl Plan {
    pub fn new(shards: u16, begin: Begin) -> Self {
        let address = Address::Tcp("127.0.0.1:0".parse().unwrap());
        Self {
            shards,
            begin,
            patience: Duration::from_mins(10),
            limits: ConnectionLimits::default(),
            address,
            tls: None,
        }
    }
}

pub struct Server {
    pub shards: Option<Shards<Context>>,
    pub address: Address,
    pub shared: Arc<Shared>,
    pub gate: Arc<Gate>,
    pub certificate: Certificate,
    pub folder: PathBuf,
}

impl Server {
    pub fn start(plan: &Plan) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("runtime-{}-{number}", std::process::id()));
        let names = ["mail.example".to_owned(), "127.0.0.1".to_owned()];
        let certificate = Certificate::self_signed(&folder, &names).unwrap();
        let certificates = Certificates::new(certificate.clone(), Vec::new());
        let tls = plan.tls.clone().unwrap_or_else(|| TlsAcceptor::new(certificates).unwrap());
        let listeners = bind_all(&plan.address, plan.shards).unwrap();
        let address = listeners[0].address().clone();
        let listeners = Arc::new(Mutex::new(listeners));
        let (shared, gate) = (Arc::<Shared>::default(), Gate::new(plan.limits));
        let mut config = ShardsConfig::new(plan.shards);
        config.tick = Duration::from_millis(10);
        let (patience, begin) = (plan.patience, plan.begin);
        let (shared_, gate_) = (Arc::clone(&shared), Arc::clone(&gate));
        let make = move |setup: ShardSetup<Context>| {
            let listener = listeners.lock().unwrap().pop().unwrap();
            let ShardSetup { router, local, .. } = setup;
            let drive = DriveContext { timers: local.timers().clone(), tls: Some(tls.clone()) };
            let shared = Arc::clone(&shared_);
            let context = Rc::new(Context { local: local.clone(), router, drive, shared, patience });
            let accepting = listen(Rc::clone(&context), listener, Arc::clone(&gate_), begin);
            local.spawn(Queue::Interactive, accepting);
            std::future::ready(Ok::<_, String>(context))
        };
        let shards = Shards::start(&config, make).unwrap();
        Self { shards: Some(shards), address, shared, gate, certificate, folder }
    }

    pub fn connect(&self) -> TcpStream {
        let Address::Tcp(address) = self.address else { panic!("not over TCP") };
        connect(address)
    }

    pub fn panics(&self) -> u64 {
        self.shards.as_ref().unwrap().panics()
    }

    pub fn stop(mut self) {
        self.shards.take().unwrap().stop(Duration::from_secs(5));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(shards) = self.shards.take() {
            shards.stop(Duration::from_millis(50));
        }
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

async fn listen(context: Rc<Context>, listener: Listener, gate: Arc<Gate>, begin: Begin) {
    let local = context.local.clone();
    let say_no = {
        let local = local.clone();
        move |mut conn: Conn, _| {
            local.spawn(Queue::Interactive, async move {
                conn.give(&mut b"too many\r\n".to_vec());
                let _gone = std::future::poll_fn(|cx| conn.poll_finish(cx)).await;
            });
        }
    };
    let each = |mut conn: Conn| {
        let context = Rc::clone(&context);
        local.spawn_connection(Queue::Interactive, async move {
            let mut session = Echo::new(context.patience);
            if begin == Begin::Tls {
                let acceptor = context.drive.tls.clone().unwrap();
                if secure(&mut conn, &mut session, &acceptor, &context.drive.timers).await.is_err() {
                    return;
                }
            }
            context.serve(conn, session).await;
        });
    };
    accept(listener, &local, &gate, say_no, each).await;
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Reads up to and including CRLF, byte by byte: nothing beyond it may be taken.
pub fn line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => line.push(byte[0]),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&line)),
        }
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).unwrap()
}

pub fn ask(stream: &mut (impl Read + Write), command: &str) -> String {
    stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    line(stream)
}

/// Waits for something that other threads bring about, a bounded time.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("never: {what}");
}
