//! Signals become values that one thread waits for.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

/// The exit code after a second request to stop, as a shell gives it for SIGINT.
const INTERRUPTED: i32 = 130;

/// What the process is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: stop in good order. A second one ends the process at once.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The process's signals, from the moment this is made.
#[derive(Debug)]
pub struct Signals {
    /// A byte arrives with each signal; which it was is in the flags.
    pipe: UnixStream,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    /// Takes the signals over. Taken again after a start that failed, the first signal is a signal and
    /// the second ends the process, as ever.
    pub fn take() -> io::Result<Self> {
        let (pipe, writer) = UnixStream::pair()?;
        let (stop, reload, is_second) = (Arc::default(), Arc::default(), Arc::default());
        for signal in [SIGTERM, SIGINT] {
            // In the order in which they are called: the first signal only arms the exit.
            flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&is_second))?;
            flag::register(signal, Arc::clone(&is_second))?;
            flag::register(signal, Arc::clone(&stop))?;
            pipe::register(signal, writer.try_clone()?)?;
        }
        flag::register(SIGHUP, Arc::clone(&reload))?;
        pipe::register(SIGHUP, writer)?;
        Ok(Self { pipe, stop, reload })
    }

    /// Waits for the next one. Several of a kind that arrive together are one.
    pub fn wait(&mut self) -> io::Result<Signal> {
        loop {
            if self.stop.swap(false, Ordering::SeqCst) {
                return Ok(Signal::Stop);
            }
            if self.reload.swap(false, Ordering::SeqCst) {
                return Ok(Signal::Reload);
            }
            let mut bytes = [0; 16];
            match self.pipe.read(&mut bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_values_in_the_order_of_their_weight() {
        drop(Signals::take().unwrap());
        let mut signals = Signals::take().unwrap();
        signal_hook::low_level::raise(SIGHUP).unwrap();
        assert_eq!(signals.wait().unwrap(), Signal::Reload);
        signal_hook::low_level::raise(SIGTERM).unwrap();
        assert_eq!(signals.wait().unwrap(), Signal::Stop);
    }
}
