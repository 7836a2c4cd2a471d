//! Who is at the other end of a Unix socket.

use std::os::fd::{AsRawFd, BorrowedFd};

/// The user whose process connected, as the kernel noted it then.
#[allow(unsafe_code)]
pub(super) fn peer_user(socket: BorrowedFd<'_>) -> Option<u32> {
    let mut found = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut bytes = size_of::<libc::ucred>() as libc::socklen_t;
    let (place, length) = ((&raw mut found).cast(), &raw mut bytes);
    // SAFETY: the descriptor is open as long as it is borrowed; `place` is valid for writes of the bytes that `length` names,
    // and both live until the call has returned.
    let failed =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, place, length) };
    // The kernel's words for nobody.
    (failed == 0 && found.uid != u32::MAX).then_some(found.uid)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_kernel_says_who_connected() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own =
            std::fs::metadata("/proc/self").map(|about| std::os::unix::fs::MetadataExt::uid(&about)).unwrap();
        assert_eq!(peer_user(one.as_fd()), Some(own));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(peer_user(tcp.as_fd()), None);
    }
}
