//! Connections that we open to Unix sockets: also where others wait in front of us, and behind long paths.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::ShardId;
use runtime::{Conn, ConnError, block_on};
use support::{Begin, Context, Plan, Server};

const LIMIT: Duration = Duration::from_secs(20);

/// Connects on a shard, says hello and hears what comes back.
fn talk(server: &Server, path: &Path, limit: Duration) -> Result<Vec<u8>, ConnError> {
    let path = path.to_owned();
    let work = move |context: std::rc::Rc<Context>| async move {
        let mut conn = Conn::connect_local(&path, context.local.timers(), limit).await?;
        conn.write(&mut b"hello".to_vec()).await?;
        let mut answer = Vec::new();
        poll_fn(|cx| conn.poll_read(cx, 100, &mut |bytes| answer.extend_from_slice(bytes))).await?;
        Ok(answer)
    };
    block_on(server.shards.as_ref().unwrap().router().on(ShardId(0), work)).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("runtime-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Answers connections until one has said something.
fn serve(listener: UnixListener) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 5];
            if stream.read_exact(&mut bytes).is_ok() {
                return stream.write_all(b"hello to you").unwrap();
            }
        }
    })
}

#[test]
fn a_full_queue_is_waited_for() {
    let (server, folder) = (Server::start(&Plan::new(1, Begin::Plain)), folder("full"));
    let path = folder.join("socket");
    let address = socket2::SockAddr::unix(&path).unwrap();
    let socket = || socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&address).unwrap();
    listener.listen(1).unwrap();
    let mut waiting = Vec::new();
    loop {
        let one = socket();
        one.set_nonblocking(true).unwrap();
        match one.connect(&address) {
            Ok(()) => waiting.push(one),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(talk(&server, &path, Duration::from_millis(200)), Err(ConnError::TimedOut));
    drop(waiting);
    let serving = serve(UnixListener::from(std::os::fd::OwnedFd::from(listener)));
    assert_eq!(talk(&server, &path, LIMIT).unwrap(), b"hello to you");
    serving.join().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_long_path_is_reached_and_a_missing_one_is_an_error() {
    let (server, folder) = (Server::start(&Plan::new(1, Begin::Plain)), folder("long"));
    let deep = folder.join("x".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    std::env::set_current_dir(&deep).unwrap();
    let serving = serve(UnixListener::bind("socket").unwrap());
    assert_eq!(talk(&server, &deep.join("socket"), LIMIT).unwrap(), b"hello to you");
    serving.join().unwrap();
    let missing = talk(&server, &deep.join("nothing"), LIMIT);
    assert_eq!(missing, Err(ConnError::Io(ErrorKind::NotFound)));
    std::fs::remove_dir_all(folder).unwrap();
}
