//! Echo on the executor's own sockets.

use std::net::TcpListener as Listener;
use std::os::fd::{FromRawFd, IntoRawFd};

use futures_io::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};
use std::future::poll_fn;
use std::pin::Pin;

use super::SERVER_CPU;

const IO_MEMORY_BYTES: usize = 64 * 1024;

#[allow(unsafe_code)]
pub(crate) fn serve(listener: Listener) {
    let executor =
        LocalExecutorBuilder::new(Placement::Fixed(SERVER_CPU)).io_memory(IO_MEMORY_BYTES).make().unwrap();
    executor.run(async {
        // SAFETY: an open, listening descriptor that is given away here.
        let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
        loop {
            let stream = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            glommio::spawn_local(echo(stream)).detach();
        }
    });
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut buffer)).await;
        let Ok(count @ 1..) = read else { return };
        let mut done = 0;
        while done < count {
            let written = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, &buffer[done..count])).await;
            let Ok(more @ 1..) = written else { return };
            done += more;
        }
    }
}
